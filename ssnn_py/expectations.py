"""Expectations of any function of spike trains, as losses."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import ValidationError
from .losses import Loss, LossValue, as_trains
from .spike_trains import SpikeTrains
from .validation import describe

Array = NDArray[np.float64]


class SampleMean(Loss):
    r"""The expectation :math:`\mathbb E\,f(\text{train})` of a function of one sample's spikes, estimated by the mean
    over samples.

    Its unbiased gradient needs no more than f itself: the library evaluates f on the trains with one spike more.

    Parameters
    ----------
    function : callable
        ``function(trains: SpikeTrains) -> (values, spike_times_bar)``: f of each sample, shape (S,), and its
        derivatives with respect to the spike times, shape (S, K), or None where f does not depend on when spikes are. f
        may jump where a spike comes or goes, and where two spikes of different neurons change their order; otherwise it
        must be differentiable in the spike times.
    order_matters : bool
        False where f never jumps as two spikes change their order (counts, sums over spikes): spares a second
        simulation where there are several neurons.

    Examples
    --------
    How the mean number of spikes depends on the rate; no spike that is there says so:

    >>> import ssnn_py as ssnn
    >>> net = ssnn.SLIFNetwork([[0.0]], alpha=0.0, intensity=ssnn.ExponentialIntensity(beta=0.0, tau=0.5))
    >>> count = SampleMean(lambda trains: (trains.num_spikes, None))
    >>> value, grads = ssnn.value_and_grad(count, net, "tau", t1=3.0, dt=0.1, num_samples=2000)
    >>> round(float(grads["tau"]), 6)               # of t1/τ: −t1/τ²
    -12.0
    """

    def __init__(self, function: Callable[[SpikeTrains], Any], order_matters: bool = True) -> None:
        if not callable(function):
            raise ValidationError(f"function must be callable, got {describe(function)}")
        self.function = function
        self.order_matters = bool(order_matters)

    def __call__(self, generated: Any, data: Any = None) -> LossValue:
        trains = as_trains("generated", generated)
        values, bar = self._evaluate(trains)
        if bar is not None:
            try:
                bar = np.broadcast_to(np.asarray(bar, dtype=np.float64), trains.times.shape) / trains.num_samples
            except (TypeError, ValueError):
                raise ValidationError(
                    f"function must return derivatives of shape {trains.times.shape}, got {describe(bar)}"
                ) from None
        return LossValue(float(values.mean()), bar)

    def exchange(self, generated: Any, data: Any, other: Any) -> Array:
        before, after = (self._evaluate(as_trains("trains", batch))[0] for batch in (generated, other))
        return (after - before) / before.size

    def _evaluate(self, trains: SpikeTrains) -> tuple[Array, Any]:
        result = self.function(trains)
        try:
            values, bar = result
            values = np.asarray(values, dtype=np.float64)
        except (TypeError, ValueError):
            raise ValidationError(f"function must return (values, spike_times_bar), got {describe(result)}") from None
        if values.shape != (trains.num_samples,):
            raise ValidationError(
                f"function must return one value per sample, shape ({trains.num_samples},), got shape {values.shape}"
            )
        if not np.isfinite(values).all():
            sample = int(np.flatnonzero(~np.isfinite(values))[0])
            raise ValidationError(
                f"function must return finite values, got {values[sample]} for sample {sample}; is it defined there? "
                "Spike times are inf where there is no spike"
            )
        return values, bar
