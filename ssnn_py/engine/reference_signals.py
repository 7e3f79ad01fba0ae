"""Spikes under way in plain NumPy: every arrival by itself, in the order of docs/numerics.md."""

from __future__ import annotations

import heapq
from collections.abc import Callable

import numpy as np

from ..synapses import Synapses
from . import Array, Problem
from .reference_duals import Dual

# Time, source (a neuron, or N + a channel), index of the spike, delay, synapse, target.
_Arrival = tuple[float, int, int, float, int, int]


class Signals:
    """What is on its way to neurons, by sample.

    Parameters
    ----------
    problem : Problem
    values : callable
        The values of a parameter at every synapse.

    Attributes
    ----------
    delayed : bool
        Whether spikes of neurons take their time.
    weights, delays : Dual, shape (nnz,)
        Of the synapses between neurons, and then of those of the inputs.
    """

    def __init__(self, problem: Problem, values: Callable[[str, Synapses], Dual]) -> None:
        self.problem, network = problem, problem.network
        self.delayed = "delays" in network.parameters
        groups = [("", network.synapses)]
        if network.inputs is not None:
            groups.append(("input_", network.inputs.synapses))
        self.weights, self.delays = (
            _joined([values(prefix + name, synapses) for prefix, synapses in groups]) for name in ("weights", "delays")
        )
        # Of every source its synapses, by number.
        self.rows: list[list[tuple[int, int]]] = []
        first = 0
        for _, synapses in groups:
            for begin, end in zip(synapses.indptr[:-1], synapses.indptr[1:], strict=True):
                self.rows.append([(first + e, int(synapses.targets[e])) for e in range(begin, end)])
            first += synapses.targets.size
        self.targets = None if network.inputs is None else network.inputs.variables(network.states)
        self.under_way: list[list[_Arrival]] = [[] for _ in range(problem.num_samples)]

    def send(self, sample: int, source: int, index: int, time: float) -> None:
        """Let a spike be under way to those whom it has not reached."""
        after = -np.inf if self.problem.start is None else self.problem.start.time
        for synapse, target in self.rows[source]:
            delay = float(self.delays.value[synapse])
            if time + delay <= after:
                continue
            heapq.heappush(self.under_way[sample], (time + delay, source, index, delay, synapse, target))

    def send_inputs(self) -> None:
        spikes, n = self.problem.input_spikes, self.problem.network.num_neurons
        assert spikes is not None
        for sample in range(self.problem.num_samples):
            row = sample if spikes.num_samples > 1 else 0
            for index, (time, channel) in enumerate(zip(spikes.times[row], spikes.neurons[row], strict=True)):
                if channel >= 0:
                    self.send(sample, n + int(channel), index, float(time))

    def next_arrival(self, sample: int) -> float:
        return self.under_way[sample][0][0] if self.under_way[sample] else np.inf

    def next_arrivals(self) -> Array:
        return np.array([self.next_arrival(sample) for sample in range(len(self.under_way))])

    def take(self, sample: int) -> tuple[int, int, int, int]:
        """Source, index, synapse and target of the arrival that comes first, which is no longer under way."""
        _, source, index, _, synapse, target = heapq.heappop(self.under_way[sample])
        return source, index, synapse, target

    def variable(self, source: int) -> int | None:
        """The state variable to which a source's weights are added; None for what the model's synapses do."""
        n = self.problem.network.num_neurons
        place = 0 if source < n or self.targets is None else int(self.targets[source - n])
        return None if place == 0 else place - 1


def _joined(parts: list[Dual]) -> Dual:
    return Dual(np.concatenate([p.value for p in parts]), np.concatenate([p.tangent for p in parts], axis=1))
