"""Recordings to which neurons are clamped: whether they fit the network, and its model allows it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .engine import Recording
from .errors import ValidationError
from .network import Network
from .spike_trains import SpikeTrains, different_indices
from .validation import describe


def check_clampable(network: Network) -> None:
    """Raise unless neurons of the network have a density of spikes: one event, which a hazard drives.

    Raises
    ------
    ValidationError
    """
    if network.has_crossings or network.num_events > 1:
        raise ValidationError(
            "observed needs a network whose neurons have one event, driven by a hazard: a deterministic crossing has "
            "no density of spikes, and a recording does not say which of several events a spike is"
        )


def checked_recording(
    network: Network,
    observed: Any,
    neurons: ArrayLike | None,
    num_samples: int,
    t0: float,
    t1: float,
) -> Recording | None:
    """What `observed` and `observed_neurons` of :func:`simulate` say; None where nothing was recorded."""
    if observed is None:
        if neurons is not None:
            raise ValidationError("observed_neurons must not be given without observed")
        return None
    if not isinstance(observed, SpikeTrains):
        raise ValidationError(f"observed must be SpikeTrains, got {describe(observed)}")
    check_clampable(network)
    chosen: NDArray[np.int64]
    if neurons is None:
        if observed.num_neurons != network.num_neurons:
            raise ValidationError(
                f"observed must be of the network's {network.num_neurons} neurons, got {observed.num_neurons}: say "
                "with observed_neurons which of the network's they are"
            )
        chosen = np.arange(network.num_neurons, dtype=np.int64)
    else:
        chosen = different_indices(neurons, network.num_neurons).astype(np.int64)
        if chosen.size != observed.num_neurons:
            raise ValidationError(
                f"observed_neurons must name one neuron of the network for each of the {observed.num_neurons} of "
                f"observed, got {chosen.size}"
            )
    if observed.num_samples not in (1, num_samples):
        raise ValidationError(
            f"observed must have {num_samples} samples, as many as are simulated, or one for all, got "
            f"{observed.num_samples}"
        )
    if (observed.t0, observed.t1) != (t0, t1):
        raise ValidationError(
            f"observed must be observed over the interval that is simulated, [{t0}, {t1}], got [{observed.t0}, "
            f"{observed.t1}]: where nothing was recorded nothing is known, and not that there is no spike"
        )
    _check_spikes(observed)
    labels = np.append(chosen, -1)[observed.neurons]
    times = np.ascontiguousarray(observed.times)
    trains = SpikeTrains.unchecked(times, np.ascontiguousarray(labels), network.num_neurons, t0, t1)
    return Recording(trains, chosen)


def _check_spikes(observed: SpikeTrains) -> None:
    """Raise where a neuron has a spike at t0, or two at once: neither has a density."""
    if observed.times.size and observed.times.min() <= observed.t0:
        sample = int(np.argmin(observed.times.min(axis=1)))
        raise ValidationError(
            f"observed must have spikes after t0 = {observed.t0} only, got one at t0 in sample {sample}: neurons start "
            "there as if they had just fired"
        )
    rows, columns = np.nonzero(observed.neurons >= 0)
    labels, times = observed.neurons[rows, columns], observed.times[rows, columns]
    order = np.lexsort((times, labels, rows))
    same = np.flatnonzero((np.diff(rows[order]) == 0) & (np.diff(labels[order]) == 0) & (np.diff(times[order]) == 0))
    if same.size:
        place = order[same[0]]
        raise ValidationError(
            f"observed must not have two spikes of one neuron at one time, got two of neuron {labels[place]} at "
            f"{times[place]} in sample {rows[place]}"
        )
