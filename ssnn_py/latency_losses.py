"""Classification by who fires first."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .count_losses import checked_labels, cross_entropies, log_sum
from .errors import ValidationError
from .losses import Loss, LossValue, as_trains
from .spike_trains import SpikeTrains
from .validation import as_float

Array = NDArray[np.float64]


class FirstSpikeCrossEntropy(Loss):
    r"""Classification by first spikes: the cross-entropy of labels and softmax of negative times.

    With :math:`\tau_{sk}` the time of the first spike of the k-th chosen neuron in sample s, t1 where there is none,
    and :math:`y_s` the label,

    .. math:: -\frac1S\sum_s\log\frac{e^{-\tau_{s,y_s}/\xi}}{\sum_ke^{-\tau_{sk}/\xi}}
              + \frac\gamma S\sum_s\frac{\tau_{s,y_s}-t_0}{\xi} .

    A spike that enters or leaves the interval does so at t1, where it is as good as none: the loss is continuous, and
    its pathwise gradient is unbiased. Nothing pulls a neuron back that is silent in all samples, though: start from
    weights at which the chosen neurons fire.

    Parameters
    ----------
    time_scale : float
        ξ, positive: a neuron that fires ξ earlier is e times as likely, in the unit of time. Below the differences of
        times that the network can make, and above its jitter.
    neurons : array_like of int, optional
        One neuron per class, at least two; default all.
    earliness : float
        γ ≥ 0, by how much an early spike of the right neuron is wanted; default 0. Training otherwise delays the wrong
        neurons as much as it advances the right one, up to t1.

    Notes
    -----
    Data are integer labels from 0 to C − 1, shape (S,), one per generated sample.

    Raises
    ------
    ValidationError
        If an argument or the data is not what it should be.

    References
    ----------
    Göltz et al., "Fast and energy-efficient neuromorphic deep learning with first-spike times", Nature Machine
    Intelligence 3, 2021.

    Examples
    --------
    >>> trains = SpikeTrains([[0.5, 1.5]], [[0, 1]], num_neurons=2, t0=0.0, t1=2.0)
    >>> round(FirstSpikeCrossEntropy(time_scale=0.5)(trains, np.array([0])).value, 6)   # log(1 + exp(−2))
    0.126928
    """

    order_matters = False

    def __init__(self, time_scale: float, neurons: ArrayLike | None = None, earliness: float = 0.0) -> None:
        self.time_scale = as_float("time_scale", time_scale, positive=True)
        self.neurons = neurons
        self.earliness = as_float("earliness", earliness, nonnegative=True)

    def __call__(self, generated: Any, data: Any) -> LossValue:
        trains = as_trains("generated", generated)
        observed, columns = self._observed(trains)
        places = observed.first_spike_columns(1)[:, :, 0]
        times = observed.at_columns(places)
        labels = checked_labels(data, times.shape)
        value = float(self._values(times, labels, trains.t0).mean())
        logits, samples = -times / self.time_scale, np.arange(len(labels))
        slopes = -np.exp(logits - log_sum(logits)[:, None])
        slopes[samples, labels] += 1.0 + self.earliness
        bar = np.zeros(trains.times.shape)
        rows, classes = np.nonzero(places >= 0)
        at = places[rows, classes]
        bar[rows, at if columns is None else columns[rows, at]] = slopes[rows, classes] / (
            len(labels) * self.time_scale
        )
        return LossValue(value, bar)

    def with_entries(self, generated: Any, data: Any) -> LossValue:
        """The loss with its ``entries``: zeros, as a spike at t1 and none are the same to it."""
        trains = as_trains("generated", generated)
        return self(generated, data)._replace(entries=np.zeros((trains.num_samples, trains.num_neurons)))

    def exchange(self, generated: Any, data: Any, other: Any) -> Array:
        """By how much the loss changes where sample s is replaced by that of `other`; see :meth:`Loss.exchange`."""
        batches = [as_trains("trains", batch) for batch in (generated, other)]
        before, after = (self._observed(trains)[0].first_spikes(1)[:, :, 0] for trains in batches)
        labels, t0 = checked_labels(data, before.shape), batches[0].t0
        return np.asarray((self._values(after, labels, t0) - self._values(before, labels, t0)) / len(labels))

    def _observed(self, trains: SpikeTrains) -> tuple[SpikeTrains, NDArray[np.intp] | None]:
        """The trains of the chosen neurons, and where their spikes stand among all; None where all are chosen."""
        observed, columns = trains, None
        if self.neurons is not None:
            selection = trains.selection(self.neurons)
            observed, columns = trains.masked(*selection), selection[0]
        if observed.num_neurons < 2:
            raise ValidationError(f"neurons must be one per class, at least two, got {observed.num_neurons}")
        return observed, columns

    def _values(self, times: Array, labels: NDArray[np.int64], t0: float) -> Array:
        """The loss of each sample by itself."""
        right = times[np.arange(len(labels)), labels]
        return cross_entropies(-times / self.time_scale, labels) + self.earliness * (right - t0) / self.time_scale
