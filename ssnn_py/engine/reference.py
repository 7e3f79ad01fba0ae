"""The reference engine: docs/numerics.md in plain NumPy, all samples at once, one event after the other.

The independent oracle of the tests, and what computes where no Julia can be had. Everything is indexed by ``at =
(samples, neurons)``, two arrays of equal length; tangents have a leading axis over directions.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import SSNNError
from ..synapses import SYNAPTIC, Synapses
from . import (
    Array,
    AtRecordedSpikes,
    Engine,
    Insertions,
    Problem,
    RawSolution,
    Tangents,
    not_finite_because,
    spike_limit,
    with_cause_of_runaway,
)
from .driver_paths import driver_jumps, driver_path
from .reference_duals import Dual, chain, select
from .reference_models import Equations, FormulaEquations, SLIFEquations, SlotsAt, State
from .reference_noise import At, BrownianPath, Noise
from .reference_paths import PathNoise, after_jump
from .reference_signals import Signals
from .reference_solvers import STEPS, Interval, Transitions, linear_piece

MAX_SPIKES_IN_STEP = 1000
DEEPEST, SHALLOWEST = 16, 5


@dataclass
class _Passage:
    """Neurons on their way from their local times `start` to `end`: their states so far, and when they fired."""

    at: At
    start: Dual
    end: Dual
    y: State
    spike: Dual
    event: NDArray[np.int64]
    leaves: NDArray[np.int64]
    stops_at_spike: bool


class _Run:
    """One solve in progress."""

    def __init__(self, problem: Problem, directions: Mapping[str, Array], insertions: Insertions | None = None) -> None:
        self.problem, network = problem, problem.network
        self.shape = shape = (problem.num_samples, network.num_neurons)
        self.num_directions = next((block.shape[0] for block in directions.values()), 0)
        self.slots = {
            name: self.zeros() for name in network.coefficient_names if name not in network.input_current.parameters
        }
        others = (*SYNAPTIC, "input_times")
        for name, array in problem.parameters.items():
            for slot, view in network.slots(name, array, shape[0]).items() if name not in others else ():
                self.slots[slot] = Dual(view, np.zeros((self.num_directions, *view.shape)))
        for name, block in directions.items():
            for p in range(self.num_directions if name not in (*others, "start") else 0):
                for slot, view in network.slots(name, block[p], shape[0]).items():
                    self.slots[slot].tangent[p] = view
        self.weights = self.at_synapses("weights", directions, network.synapses)

        areas = problem.solver in STEPS or problem.noise_levels > 0 or problem.last_is_shorter
        brownian = BrownianPath(problem, areas)
        path = driver_path(problem)
        self.path = brownian if path is None else PathNoise(problem, brownian, path, path.moved(directions))
        self.transitions = None
        if network.core.model == "slif":
            self.transitions = Transitions(self.slots["mu1"].value, self.slots["mu2"].value)
        self.fired = np.zeros(shape, dtype=np.int64)
        self.a, self.spike = self.zeros(), self.zeros()
        self.event = np.zeros(shape, dtype=np.int64)
        everyone = self.path.everyone
        neurons = self.neurons(everyone)
        self.num_events = neurons.num_events
        recording = problem.recording
        self.clamped = np.zeros(shape[1], dtype=bool) if recording is None else recording.clamped
        start = neurons.initial([self.log_uniforms(everyone, 0, h) for h in range(neurons.num_hazards)])
        self.y, self.ahead = ([self.zeros() for _ in start] for _ in range(2))
        self.put(self.y, everyone, start)
        begin = problem.start
        if begin is not None:
            moved = directions.get("start", np.zeros((self.num_directions, *begin.variables.shape)))
            self.y = [Dual(values.copy(), moved[:, m].copy()) for m, values in enumerate(begin.variables)]
            if begin.fired is not None:
                self.fired += begin.fired
        number = (shape[0], 0 if recording is None else recording.trains.times.shape[1])
        self.log_hazards, self.hazards = self.zeros(number), self.zeros(number)
        self.next_recorded = np.zeros(shape[0], dtype=np.int64)
        self.alive = np.ones(shape[0], dtype=bool)
        self.spikes: list[list[tuple[float, int, Array, int]]] = [[] for _ in range(shape[0])]
        recorded = (shape[0], problem.saveat.size, shape[1])
        self.saved = [self.zeros(recorded, np.nan) for _ in network.states]
        self.signals = Signals(problem, lambda name, synapses: self.at_synapses(name, directions, synapses))
        self.sent: list[dict[int, Dual]] = [{} for _ in range(shape[0])]
        if begin is not None and begin.spike_times is not None and begin.spike_neurons is not None:
            for sample, n in np.argwhere(begin.spike_neurons >= 0):
                time, index = float(begin.spike_times[sample, n]), int(n) - begin.spike_times.shape[1]
                self.sent[sample][index] = self.zeros((1,), time)
                self.signals.send(sample, int(begin.spike_neurons[sample, n]), index, time)
        if problem.input_spikes is not None:
            times = problem.input_spikes.times
            moved = directions.get("input_times", np.zeros((self.num_directions, *times.shape)))
            self.input_times = Dual(
                np.broadcast_to(times, (shape[0], times.shape[1])),
                np.broadcast_to(moved, (self.num_directions, shape[0], times.shape[1])),
            )
            self.signals.send_inputs()
        self.jumps = driver_jumps(problem)
        self.next_jump = np.zeros(shape[0], dtype=np.int64)
        after = -np.inf if begin is None else begin.time
        for sample in range(shape[0]):
            while self.jump_time(sample) <= after:
                self.next_jump[sample] += 1
        if self.jumps is not None:
            jumps = self.jumps
            moved_sizes, moved_times = jumps.moved_sizes(directions), jumps.moved_times(directions)
            still = [np.zeros((self.num_directions, *array.shape)) for array in (jumps.sizes, jumps.times)]
            self.jump_sizes = Dual(jumps.sizes, still[0] if moved_sizes is None else moved_sizes)
            self.jump_times = Dual(jumps.times, still[1] if moved_times is None else moved_times)
        self.insertions, self.hazards_at_saves = insertions, np.zeros((self.num_directions, *recorded))
        self.hazards_at_insertions = np.zeros((self.num_directions, shape[0]))

    def at_synapses(self, name: str, directions: Mapping[str, Array], synapses: Synapses) -> Dual:
        """The values of a parameter at every synapse; 0 where there is no such parameter."""
        array = self.problem.parameters.get(name, np.zeros(()))
        block = directions.get(name, np.zeros((self.num_directions, *array.shape)))
        return Dual(synapses.at(array), synapses.rows_at(block))

    def zeros(self, shape: tuple[int, ...] | None = None, value: float = 0.0) -> Dual:
        shape = self.shape if shape is None else shape
        return Dual(np.full(shape, value), np.zeros((self.num_directions, *shape)))

    def put(self, y: State, at: tuple[Any, ...], new: State) -> None:
        """Write a state of some neurons into that of all."""
        for part, values in zip(y, new, strict=True):
            if isinstance(values, Dual):
                part[at] = values
            else:
                part.value[at] = values
                moved = part.tangent[:, at[0], at[1]] if len(at) == 2 else part.tangent[:, at[0]]
                part[at] = Dual(part.value[at], np.zeros_like(moved))

    def log_uniforms(self, at: At, spikes: Any, hazard: int = 0) -> Array:
        """log U of each neuron's threshold after so many spikes; 0 of clamped ones."""
        return np.where(self.clamped[at[1]], 0.0, self.path.log_uniforms(at, spikes, hazard))

    def hazard_tangents(self, at: At, s: Dual) -> Array:
        """∂s, where a spike could come: where Λ = s − log U + α exceeds α; else 0."""
        return np.where(s.value > self.log_uniforms(at, self.fired[at]), s.tangent, 0.0)

    def pairs(self, samples: Any, neurons: Any = None) -> At:
        """Every one of `samples` with every one of `neurons`, default all."""
        rows, columns = np.meshgrid(samples, np.arange(self.shape[1]) if neurons is None else neurons, indexing="ij")
        return rows.ravel(), columns.ravel()

    def neurons(self, at: At) -> Equations:
        network, slots = self.problem.network, SlotsAt(self.slots, at, self.num_directions)
        equations = (
            FormulaEquations(network, slots)
            if self.transitions is None
            else SLIFEquations(network, slots, functools.partial(self.transitions, at))
        )
        equations.stratonovich = self.problem.stratonovich
        equations.leaves_variance = self.path.leaves_variance
        return equations

    # --- refinement inside a step
    # ---------------------------------------------------------------------------------------------------

    def edge(self, depth: int, position: int) -> float:
        """Where an interval of the step's tree begins, and the one before it ends."""
        if position == 1 << depth:
            return self.step.stop
        return self.step.start + position * (self.step.length * 2.0**-depth)

    def leaf_depths(self, at: At) -> NDArray[np.int64]:
        if self.problem.solver not in STEPS:
            return np.zeros(at[0].size, dtype=np.int64)
        rates = self.neurons(at).rates()
        exponent, fastest = (np.frexp(self.step.length * rate)[1].astype(np.int64) - 1 for rate in rates)
        depth = np.maximum(np.maximum(SHALLOWEST, 4 - exponent // 2), np.where(fastest > 0, fastest + 2, 0))
        return np.where(rates[0] > 0.0, np.minimum(DEEPEST, depth), DEEPEST)

    def refine(self, at: At, end: Dual | float, stops_at_spike: bool = False) -> _Passage:
        """From the local times to `end`; nothing else moves."""
        end = end if isinstance(end, Dual) else self.zeros((at[0].size,), end)
        return self.passage(at, self.a[at], end, [part[at] for part in self.y], stops_at_spike)

    def passage(self, at: At, start: Dual, end: Dual, y: State, stops_at_spike: bool = False) -> _Passage:
        """From `y` at `start` to `end`."""
        number = (at[0].size,)
        spike, event = self.zeros(number, np.inf), np.zeros(number, dtype=np.int64)
        passage = _Passage(at, start, end, y, spike, event, self.leaf_depths(at), stops_at_spike)
        columns = at[0] * self.shape[1] + at[1]
        noise = self.noise[0][:, columns], self.noise[1][:, columns]
        self.visit(passage, np.arange(at[0].size), 0, 0, noise, np.zeros(number, dtype=bool))
        return passage

    def visit(
        self, passage: _Passage, k: NDArray[np.intp], depth: int, position: int, noise: Noise, firing: NDArray[np.bool_]
    ) -> NDArray[np.bool_]:
        """Take neurons `k` through one interval, as far as they have to go there; `noise` is theirs on it.

        Those `firing` are known to fire in one step here. Returns which of them one step has taken through.
        """
        start, stop = self.edge(depth, position), self.edge(depth, position + 1)
        a, b = passage.start.value[k], passage.end.value[k]
        # From an edge one goes on in the interval that begins there, if there is one; also to that edge itself, as both
        # times may move.
        begins, ends = (a < stop) | (stop == self.step.stop), (start < b) | (start == a)
        meets = begins & ends & ~np.isfinite(passage.spike.value[k])
        leaf = meets & (passage.leaves[k] == depth)
        whole = meets & ~leaf & (a <= start) & (stop <= b)
        interval = Interval(start, stop, self.step.length * 2.0**-depth)
        if leaf.any():
            self.cross_leaf(passage, k[leaf], interval, noise[0][:, leaf])
        direct, tried = np.zeros(k.size, dtype=bool), whole & ~firing
        if tried.any():
            direct[tried] = ~self.cross(passage, k[tried], interval, (noise[0][:, tried], noise[1][:, tried]))
        halved = meets & ~leaf & ~direct
        if not halved.any():
            return direct
        k, noise, firing = k[halved], (noise[0][:, halved], noise[1][:, halved]), whole[halved]
        at = passage.at[0][k], passage.at[1][k]
        level, index = self.problem.noise_levels + depth, (self.number << depth) + position
        halves = self.path.halves(at, level, index, interval.length, noise)
        first = self.visit(passage, k, depth + 1, 2 * position, halves[0], np.zeros(k.size, dtype=bool))
        self.visit(passage, k, depth + 1, 2 * position + 1, halves[1], firing & first)
        return direct

    def cross(self, passage: _Passage, k: NDArray[np.intp], interval: Interval, noise: Noise) -> NDArray[np.bool_]:
        """One step of the solver, for those that do not fire then; who does."""
        at = passage.at[0][k], passage.at[1][k]
        neurons, start, stop = self.neurons(at), interval.start, interval.stop
        y = self.at_edge(at, passage.start[k], neurons.fixed(start), [part[k] for part in passage.y])
        y = STEPS[self.problem.solver](neurons, interval, y, noise)
        fires = self.fires(neurons, y) & ~self.clamped[at[1]]
        y = self.at_edge(at, neurons.fixed(stop), passage.end[k], y)
        self.put(passage.y, (k[~fires],), [part[~fires] if isinstance(part, Dual) else part for part in y])
        return fires

    def at_edge(self, at: At, start: Dual, end: Dual, y: State) -> State:
        """The state at `end` from that at `start`, at one and the same edge, where one of the two moves."""
        moves = (start.value == end.value) & (start.tangent != end.tangent).any(axis=0)
        if moves.any():
            there = at[0][moves], at[1][moves]
            now = [part[moves] for part in y]
            self.put(y, (moves,), self.passage(there, start[moves], end[moves], now).y)
        return y

    def cross_leaf(self, passage: _Passage, k: NDArray[np.intp], interval: Interval, W: Array) -> None:
        neurons = self.neurons((passage.at[0][k], passage.at[1][k]))
        a, b, y = passage.start[k], passage.end[k], [part[k] for part in passage.y]
        a = select(a.value >= interval.start, a, neurons.fixed(interval.start))
        b = select(b.value <= interval.stop, b, neurons.fixed(interval.stop))
        leaf_end = interval.stop if self.problem.solver in STEPS else None
        new, velocity = linear_piece(neurons, a, b, y, W, interval.length, leaf_end)
        if passage.stops_at_spike:
            before, after = neurons.event_values(y), neurons.event_values(new)
            for event in range(self.num_events):
                fires = (after[event] >= 0.0) & ~self.clamped[passage.at[1][k]]
                if not fires.any():
                    continue
                with np.errstate(divide="ignore", invalid="ignore"):  # where it does not come, or is due at a already
                    time = neurons.event_time(event, a, b, y, velocity)
                time = select((before[event] >= 0.0) | (time.value < a.value), a, time)
                time.value = np.minimum(time.value, b.value)
                first = fires & (time.value < passage.spike.value[k])
                passage.spike[k[first]], passage.event[k[first]] = time[first], event
        self.put(passage.y, (k,), new)

    def fires(self, neurons: Equations, y: State) -> NDArray[np.bool_]:
        return np.asarray(np.any([value >= 0.0 for value in neurons.event_values(y)], axis=0))

    # --- steps and events
    # --------------------------------------------------------------------------------------------------------

    def take_step(self, n: int) -> None:
        problem = self.problem
        start, last = problem.t0 + n * problem.dt, n == problem.num_steps - 1
        stop = problem.t1 if last else problem.t0 + (n + 1) * problem.dt
        self.number = n
        if last and problem.last_is_shorter:
            self.step = Interval(start, stop, stop - start)
            r = self.step.length / problem.dt
            self.noise = self.path.shortened(problem.noise_levels, n, problem.dt, r)
        else:
            self.step = Interval(start, stop, problem.dt)
            self.noise = self.path.interval(problem.noise_levels, n)
        self.a.value[:], self.a.tangent[:] = start, 0.0
        self.fire_at_once(start)
        begin, end = np.searchsorted(problem.saveat, (start, stop), side="right")
        saves = [(index, problem.saveat[index]) for index in range(begin, end)]
        self.spike.value[:] = np.inf
        self.look_ahead(self.pairs(np.flatnonzero(self.alive)))
        eventful = np.isfinite(self.spike.value).any(axis=1)
        eventful |= self.alive & (self.signals.next_arrivals() <= stop)
        if self.jumps is not None:
            eventful |= self.alive & (np.array([self.jump_time(s) for s in range(self.shape[0])]) <= stop)
        if problem.recording is not None:
            eventful |= self.alive & ([self.recorded_time(sample) <= stop for sample in range(self.shape[0])])
        if problem.insertions is not None:
            eventful |= self.alive & np.isin(problem.insertions.saves, [index for index, _ in saves])
        for sample in np.flatnonzero(eventful):
            self.events(int(sample), saves)
        for index, t in saves:
            # Samples with events have recorded what came before their last one.
            self.save(np.flatnonzero(self.alive & np.isnan(self.saved[0].value[:, index, 0])), index, t)
        everyone = self.pairs(np.flatnonzero(self.alive))
        self.put(self.y, everyone, self.neurons(everyone).rearmed([ahead[everyone] for ahead in self.ahead]))

    def fire_at_once(self, start: float) -> None:
        """A spike that is inserted where a step ends comes as the next one begins."""
        given = self.problem.insertions
        if given is None:
            return
        times = np.append(self.problem.saveat, np.inf)[given.saves]
        rows = np.flatnonzero(self.alive & (given.saves >= 0) & (times == start))
        self.y[-1].value[rows, given.neurons[rows]] = 0.0

    def look_ahead(self, at: At) -> None:
        """When neurons fire before the step ends (inf: they do not), and where they would then be."""
        passage = self.refine(at, self.step.stop, stops_at_spike=True)
        self.spike[at], self.event[at] = passage.spike, passage.event
        for part, new in zip(self.ahead, passage.y, strict=True):
            part[at] = new

    def save(self, samples: Any, index: int, t: float) -> None:
        at = self.pairs(samples)
        passage = self.refine(at, t)
        for record, part in zip(self.saved, passage.y, strict=False):
            record[at[0], index, at[1]] = part
        self.hazards_at_saves[:, at[0], index, at[1]] = self.hazard_tangents(at, passage.y[-1])

    def insert(self, sample: int, k: int, time: Dual) -> None:
        """Let neuron k of a sample fire at `time`, whatever its threshold."""
        one = (np.array([sample]), np.array([k]))
        passage = self.refine(one, time)
        self.a[one] = self.spike[one] = time
        for part, new in zip(self.y, passage.y, strict=True):
            part[one] = new

    def save_before(self, sample: int, saves: list[tuple[int, float]], tau: float) -> bool:
        """Record what is to be recorded before tau, up to the first time at which a spike is inserted; whether there is
        one.
        """
        given = self.problem.insertions
        for index, t in saves:
            if t < tau and np.isnan(self.saved[0].value[sample, index, 0]):
                self.save([sample], index, t)
                if given is not None and given.saves[sample] == index and t < self.step.stop:
                    self.insert(sample, int(given.neurons[sample]), self.zeros((1,), t))
                    return True
        return False

    def see_hazard(self, sample: int, time: Dual) -> None:
        """The hazard of the neuron of `insertions`, at the spike named there."""
        given = self.insertions
        if given is not None and given.spikes[sample] == len(self.spikes[sample]):
            one = (np.array([sample]), given.neurons[[sample]])
            tangents = self.hazard_tangents(one, self.refine(one, time).y[-1])
            self.hazards_at_insertions[:, sample] = tangents[:, 0]

    def jump_time(self, sample: int) -> float:
        """When the driver jumps next in a sample; inf where it does not."""
        if self.jumps is None or self.next_jump[sample] >= self.jumps.counts[sample]:
            return np.inf
        return float(self.jumps.times[self.jumps.first[sample] + self.next_jump[sample]])

    def jump(self, sample: int) -> None:
        """Let the driver's next jump in a sample move its neuron."""
        assert self.jumps is not None
        n = self.jumps.first[sample] + self.next_jump[sample]
        self.next_jump[sample] += 1
        one, time = (np.array([sample]), self.jumps.neurons[[n]]), self.jump_times[[n]]
        passage = self.refine(one, time)
        self.a[one] = time
        self.put(self.y, one, after_jump(self.neurons(one), passage.y, self.jump_sizes[n][:, None]))
        self.look_ahead(one)

    def deliver(self, sample: int) -> None:
        """Let the spike that is next under way in this sample arrive at its target."""
        source, index, synapse, target = self.signals.take(sample)
        sent = self.sent[sample][index] if source < self.shape[1] else self.input_times[[sample], [index]]
        time = sent + self.signals.delays[[synapse]]
        one = (np.array([sample]), np.array([target]))
        passage = self.refine(one, time)
        self.a[one] = time
        weight = self.signals.weights[[synapse]]
        variable = self.signals.variable(source)
        if variable is None:
            after = self.neurons(one).arrival(weight, passage.y)
        else:
            after = [part + weight if n == variable else part for n, part in enumerate(passage.y)]
        self.put(self.y, one, after)
        self.look_ahead(one)

    def events(self, sample: int, saves: list[tuple[int, float]]) -> None:
        """All spikes of one sample within the step, in the order of time."""
        network, problem = self.problem.network, self.problem
        before, number, limit = self.fired[sample].copy(), len(self.spikes[sample]), spike_limit(problem)
        while True:
            j = int(np.argmin(self.spike.value[sample]))
            tau = float(self.spike.value[sample, j])
            arrival, jump = self.signals.next_arrival(sample), self.jump_time(sample)
            recorded = self.recorded_time(sample)
            if recorded <= min(tau, arrival, jump, self.step.stop):
                if not self.save_before(sample, saves, recorded):
                    self.fire_recorded(sample, recorded)
                continue
            if min(arrival, jump) <= min(tau, self.step.stop):
                if not self.save_before(sample, saves, min(arrival, jump)):
                    (self.jump if jump <= arrival else self.deliver)(sample)
                continue
            if self.save_before(sample, saves, tau):
                continue
            if not np.isfinite(tau):
                return
            time = self.spike[(np.array([sample]), np.array([j]))]
            self.see_hazard(sample, time)
            touched = self.fire(sample, j, int(self.event[sample, j]), time)
            if len(self.spikes[sample]) == problem.max_spikes:
                for index, t in saves:
                    if t == tau:
                        self.save([sample], index, t)
                self.alive[sample] = False
                return
            if self.fired[sample, j] - before[j] > MAX_SPIKES_IN_STEP:
                said = (
                    f"neuron {j} fires more than {MAX_SPIKES_IN_STEP} times within the step from t = "
                    f"{self.step.start}: dt is too large for its intensity"
                )
                raise SSNNError(with_cause_of_runaway(said, problem))
            if len(self.spikes[sample]) - number > limit:
                said = (
                    f"excitation runs away in sample {sample}: {network.num_neurons} neurons fire more than {limit} "
                    f"times within the step from t = {self.step.start}"
                )
                raise SSNNError(with_cause_of_runaway(said, problem))
            self.look_ahead(touched)
            given = problem.insertions
            if given is not None and given.spikes[sample] == len(self.spikes[sample]) - 1:
                self.insert(sample, int(given.neurons[sample]), time)

    def fire(self, sample: int, j: int, event: int, time: Dual) -> At:
        """Let neuron j of a sample fire at `time`; returns it and its targets."""
        network, problem = self.problem.network, self.problem
        synapses = slice(network.synapses.indptr[j], network.synapses.indptr[j + 1])
        if self.signals.delayed:
            synapses = slice(0, 0)
        targets = network.synapses.targets[synapses]
        touched = self.pairs([sample], np.union1d(targets, [j]))
        self.bring(touched, time[np.zeros(touched[0].size, dtype=np.intp)])
        one = (np.array([sample]), np.array([j]))
        if not all(np.isfinite(part.value[one]).all() for part in self.y):
            raise not_finite(problem, sample)  # what the transition resets would not show it
        self.fired[one] += 1
        neuron = self.neurons(one)
        log_u = self.log_uniforms(one, self.fired[one], max(neuron.hazard_of(event), 0))
        self.put(self.y, one, neuron.transition(event, [part[one] for part in self.y], log_u))
        here = self.pairs([sample], targets)
        arrived = self.neurons(here).arrival(self.weights[synapses], [part[here] for part in self.y])
        self.put(self.y, here, arrived)
        self.spikes[sample].append((float(time.value[0]), j, time.tangent[:, 0], event))
        if self.signals.delayed:
            self.sent[sample][len(self.spikes[sample]) - 1] = time
            self.signals.send(sample, j, len(self.spikes[sample]) - 1, float(time.value[0]))
        return touched

    def bring(self, at: At, times: Dual) -> None:
        """Bring neurons to these times."""
        passage = self.refine(at, times)
        self.a[at] = times
        for part, new in zip(self.y, passage.y, strict=True):
            part[at] = new

    # --- neurons that are clamped to a recording
    # ------------------------------------------------------------------------------------

    def recorded(self, sample: int, index: int) -> tuple[float, int]:
        """Time and neuron of a recorded spike; (inf, −1) after the last."""
        recording = self.problem.recording
        if recording is None or index >= recording.trains.times.shape[1]:
            return np.inf, -1
        row = sample if recording.trains.num_samples > 1 else 0
        return float(recording.trains.times[row, index]), int(recording.trains.neurons[row, index])

    def recorded_time(self, sample: int) -> float:
        """When the next one comes."""
        return self.recorded(sample, int(self.next_recorded[sample]))[0]

    def fire_recorded(self, sample: int, tau: float) -> None:
        """Let the recorded spikes of that time come; each finds its neuron as it is before any of them."""
        first = stop = int(self.next_recorded[sample])
        while self.recorded(sample, stop)[0] == tau:
            stop += 1
        time, firing = self.zeros((1,), tau), [self.recorded(sample, index)[1] for index in range(first, stop)]
        for index, k in zip(range(first, stop), firing, strict=True):
            one = (np.array([sample]), np.array([k]))
            self.bring(one, time)
            y = [part[one] for part in self.y]
            neuron = self.neurons(one)
            rate = neuron.drift(time, y)[-1]
            rate = rate if isinstance(rate, Dual) else neuron.fixed(rate)
            place = (np.array([sample]), np.array([index]))
            self.log_hazards[place] = chain(np.log(rate.value), (1.0 / rate.value, rate))
            self.hazards[place] = y[-1]
        for k in firing:
            self.look_ahead(self.fire(sample, k, 0, time))
        self.next_recorded[sample] = stop


def not_finite(problem: Problem, sample: int) -> SSNNError:
    with np.errstate(all="ignore"):
        because = not_finite_because(problem)
    if because:
        return SSNNError(f"the solution of sample {sample} is no longer finite: {because}")
    return SSNNError(
        f"the solution of sample {sample} is no longer finite: dt = {problem.dt} is too large for the rates of the "
        "equations, a parameter is too large, or a formula has no value at a state that was reached (the root or "
        "logarithm of a negative number)"
    )


class ReferenceEngine(Engine):
    """Plain NumPy: the same numbers as the Julia core, to rounding."""

    name = "reference"

    def solve(
        self, problem: Problem, directions: Mapping[str, Array] | None = None, insertions: Insertions | None = None
    ) -> RawSolution:
        run = _Run(problem, directions or {}, insertions)
        if problem.saveat.size and problem.saveat[0] == problem.t0:
            for record, part in zip(run.saved, run.y, strict=False):
                record[:, 0] = part
        # Where the solution blows up it says so itself, below; a neuron that does not fire may have no rate.
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            for n in range(0 if problem.start is None else problem.start.step, problem.num_steps):
                if not run.alive.any():
                    break
                run.take_step(n)
        finite = np.all([np.isfinite(part.value).all(axis=1) for part in run.y], axis=0)
        if not finite.all():
            raise not_finite(problem, int(np.argmin(finite)))
        counts = np.array([len(spikes) for spikes in run.spikes], dtype=np.int64)
        capacity = problem.num_columns or int(counts.max(initial=0))
        times = np.full((problem.num_samples, capacity), np.inf)
        neurons = np.full((problem.num_samples, capacity), -1, dtype=np.int64)
        events = np.full((problem.num_samples, capacity), -1, dtype=np.int64)
        dtimes = np.zeros((run.num_directions, problem.num_samples, capacity))
        for sample, spikes in enumerate(run.spikes):
            for k, (tau, j, dtau, event) in enumerate(spikes):
                times[sample, k], neurons[sample, k], dtimes[:, sample, k] = tau, j, dtau
                events[sample, k] = event
        recorded = dict(zip(problem.network.states, run.saved, strict=True))
        tangents = None
        if directions is not None:
            hazards = run.hazard_tangents(run.path.everyone, run.y[-1][run.path.everyone]).reshape(-1, *run.shape)
            hazards = np.where(run.alive[:, None], hazards, 0.0)
            moved = {name: part.tangent for name, part in recorded.items()}
            clamped = problem.recording is not None
            at_end = np.stack([part.tangent for part in run.y], axis=1)
            tangents = Tangents(
                dtimes,
                moved,
                hazards,
                run.hazards_at_saves,
                run.hazards_at_insertions,
                log_hazards=run.log_hazards.tangent if clamped else None,
                hazards=run.hazards.tangent if clamped else None,
                at_end=at_end,
            )
        states = {name: part.value for name, part in recorded.items()}
        at_recorded = None
        if problem.recording is not None:
            at_recorded = AtRecordedSpikes(run.log_hazards.value, run.hazards.value, run.y[-1].value)
        last_state = np.where(run.alive[:, None], np.stack([part.value for part in run.y]), np.nan)
        kept = (events if run.num_events > 1 else None, at_recorded, last_state)
        return RawSolution(times, neurons, counts, ~run.alive, states, tangents, *kept)
