"""What losses look at: spikes and recorded values of a batch of samples, without what made them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .spike_trains import SpikeTrains
from .values import Record

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Recordings(Record):
    """Spikes, and membrane potentials and synaptic currents at some times.

    Attributes
    ----------
    spike_trains : SpikeTrains
    ts : ndarray, shape (T,)
        The recorded times.
    v, i : ndarray, shape (S, T, N)
    engine : str
        Who computes losses of it.
    """

    spike_trains: SpikeTrains
    ts: Array
    v: Array
    i: Array
    engine: str = "auto"

    @classmethod
    def of(cls, batch: Any) -> Recordings:
        """Those of a solution or of other recordings; of spike trains alone, nothing else is recorded."""
        if isinstance(batch, SpikeTrains):
            nothing = np.empty((batch.num_samples, 0, batch.num_neurons))
            return cls(batch, np.empty(0), nothing, nothing)
        return cls(batch.spike_trains, batch.ts, batch.v, batch.i, getattr(batch, "engine", "auto"))

    def __getitem__(self, rows: Any) -> Recordings:
        return Recordings(self.spike_trains[rows], self.ts, self.v[rows], self.i[rows], self.engine)

    def replaced(self, other: Recordings, rows: Any) -> Recordings:
        """These, with the samples `rows` of `other` in the place of their own."""
        mine, theirs = self.spike_trains, other.spike_trains
        width = max(mine.times.shape[1], theirs.times.shape[1])
        times, neurons = padded(mine, width)
        their_times, their_neurons = padded(theirs, width)
        times[rows], neurons[rows] = their_times[rows], their_neurons[rows]
        v, i = self.v.copy(), self.i.copy()
        v[rows], i[rows] = other.v[rows], other.i[rows]
        trains = SpikeTrains.unchecked(times, neurons, mine.num_neurons, mine.t0, mine.t1)
        return Recordings(trains, self.ts, v, i, self.engine)


def padded(trains: SpikeTrains, width: int) -> tuple[Array, NDArray[np.int64]]:
    """Copies of times and neurons, (S, width), with empty slots at the end."""
    more = ((0, 0), (0, width - trains.times.shape[1]))
    return (
        np.pad(trains.times, more, constant_values=np.inf),
        np.pad(trains.neurons, more, constant_values=-1),
    )


def with_spike_at_end(batch: Any, neuron: int) -> Recordings:
    """The batch with one more spike in every sample, of `neuron`, at t1; of a solution, what is recorded there shows
    the state after it.
    """
    recordings = Recordings.of(batch)
    trains = recordings.spike_trains
    times, labels = padded(trains, trains.times.shape[1] + 1)
    rows, place = np.arange(trains.num_samples), trains.num_spikes
    times[rows, place], labels[rows, place] = trains.t1, neuron
    longer = SpikeTrains.unchecked(times, labels, trains.num_neurons, trains.t0, trains.t1)
    v, i = recordings.v, recordings.i
    if hasattr(batch, "network") and recordings.ts.size and recordings.ts[-1] == trains.t1:
        last = np.full(trains.num_samples, recordings.ts.size - 1)
        v, i = after_spikes(batch, last, np.full(trains.num_samples, neuron))
    return Recordings(longer, recordings.ts, v, i, recordings.engine)


def after_spikes(solution: Any, saves: NDArray[np.int64], neurons: NDArray[np.int64]) -> tuple[Array, Array]:
    """Recorded potentials and currents of a solution, with those of sample s at the time ``saves[s]`` as they are after
    a spike of ``neurons[s]``.

    Samples with −1 stay as they are.
    """
    network = solution.network
    v, i = solution.v.copy(), solution.i.copy()
    slots = network.slots("v_reset", network.parameters["v_reset"], len(v))["v_reset"]
    values, synapses = network.parameters["weights"].ravel(), network.synapses
    rows = np.flatnonzero(saves >= 0)
    at, firing = saves[rows], neurons[rows]
    lowered = slots[rows, firing] if network.reset == "hard" else v[rows, at, firing] - slots[rows, firing]
    v[rows, at, firing] = lowered
    for k in np.unique(firing):
        outgoing = slice(synapses.indptr[k], synapses.indptr[k + 1])
        mine = rows[firing == k][:, None]
        i[mine, saves[mine], synapses.targets[outgoing]] += values[synapses.position[outgoing]]
    return v, i
