"""What losses look at: spikes and recorded values of a batch of samples, without what made them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .spike_trains import SpikeTrains
from .values import Named, Record

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Recordings(Record):
    """Spikes, and the values of state variables at some times.

    Attributes
    ----------
    spike_trains : SpikeTrains
    ts : ndarray, shape (T,)
        The recorded times.
    states : mapping of str to ndarray, shape (S, T, N)
        What is recorded, by the names of the state variables: of SLIF networks ``"v"`` and ``"i"``.
    engine : str
        Who computes losses of it.
    """

    spike_trains: SpikeTrains
    ts: Array
    states: Mapping[str, Array]
    engine: str = "auto"

    def __post_init__(self) -> None:
        object.__setattr__(self, "states", Named(self.states))

    @property
    def v(self) -> Array:
        return self.states["v"]

    @property
    def i(self) -> Array:
        return self.states["i"]

    @classmethod
    def of(cls, batch: Any) -> Recordings:
        """Those of a solution or of other recordings; of spike trains alone, nothing else is recorded."""
        if isinstance(batch, SpikeTrains):
            nothing = np.empty((batch.num_samples, 0, batch.num_neurons))
            return cls(batch, np.empty(0), {"v": nothing, "i": nothing})
        return cls(batch.spike_trains, batch.ts, batch.states, getattr(batch, "engine", "auto"))

    def __getitem__(self, rows: Any) -> Recordings:
        states = {name: values[rows] for name, values in self.states.items()}
        return Recordings(self.spike_trains[rows], self.ts, states, self.engine)

    def replaced(self, other: Recordings, rows: Any) -> Recordings:
        """These, with the samples `rows` of `other` in the place of their own."""
        mine, theirs = self.spike_trains, other.spike_trains
        width = max(mine.times.shape[1], theirs.times.shape[1])
        times, neurons = padded(mine, width)
        their_times, their_neurons = padded(theirs, width)
        times[rows], neurons[rows] = their_times[rows], their_neurons[rows]
        states = {name: values.copy() for name, values in self.states.items()}
        for name, values in states.items():
            values[rows] = other.states[name][rows]
        trains = SpikeTrains.unchecked(times, neurons, mine.num_neurons, mine.t0, mine.t1)
        return Recordings(trains, self.ts, states, self.engine)


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
    states = recordings.states
    if hasattr(batch, "network") and recordings.ts.size and recordings.ts[-1] == trains.t1:
        last = np.full(trains.num_samples, recordings.ts.size - 1)
        states = batch.network.after_spikes(states, last, np.full(trains.num_samples, neuron))
    return Recordings(longer, recordings.ts, states, recordings.engine)
