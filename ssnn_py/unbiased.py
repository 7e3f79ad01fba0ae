"""What pathwise derivatives do not see: spikes that appear and vanish, and what they would change.

The expectation of a loss depends on the parameters in two ways: spikes move, and spikes come or go. The thresholds are
exponential, so that the density of a spike where the loss jumps is known, and the second part is a cotangent of the
integrated hazards there (docs/gradients.md). Where the jump concerns the end of the interval, the loss before and after
it is known at once. Where it is in the middle (a recorded time; the spike of another neuron, if it matters which comes
first), the sample must go on after a spike that the noise did not make: one such place per sample is chosen at random,
and the sample is run again with that spike.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from . import engine as engines
from .engine import Insertions, Problem, RawSolution
from .engine.reference_noise import threefry, uniform
from .recordings import Recordings
from .spike_trains import SpikeTrains

if TYPE_CHECKING:
    from .simulation import Solution

Array = NDArray[np.float64]
Integers = NDArray[np.int64]

# Keeps these choices apart from the noise, which counts from 0.
_PLACE = 15


def choose_insertions(
    solution: Solution, at_spikes: bool, at_saves: bool, edges: Sequence[float] = ()
) -> tuple[Insertions | None, Array]:
    """One place per sample where a spike could come in the middle, uniformly at random, and the weight that it then
    has.

    Parameters
    ----------
    solution : Solution
    at_spikes : bool
        At each spike one of another neuron could come.
    at_saves : bool
        At each recorded time within (t0, t1) one of any neuron could come.
    edges : sequence of float
        Or at these of them alone.

    Returns
    -------
    insertions : Insertions or None
        None where no sample has such a place.
    weights : ndarray, shape (S,)
        What the jump of the loss there is multiplied with, so that it stands for all places of its sample.
    """
    problem, neurons = solution.problem, solution.network.num_neurons
    # Where a sample is cut at its last spike, it always matters whose that is.
    last = solution.truncated.astype(np.int64)
    spikes = (solution.num_spikes if at_spikes else last) * (neurons - 1)
    inner = _inner_times(problem, at_saves, edges)
    counts = spikes + inner.size * neurons
    if not counts.any():
        return None, np.zeros(counts.shape)
    place = np.minimum((_uniforms(problem) * counts).astype(np.int64), np.maximum(counts - 1, 0))
    at_spike, there = place < spikes, counts > 0
    spike, rank = np.divmod(place, max(neurons - 1, 1))
    if not at_spikes:
        spike = solution.num_spikes - 1
    if solution.spike_neurons.shape[1]:
        fired = np.take_along_axis(
            solution.spike_neurons, np.maximum(spike, 0)[:, None] % solution.spike_neurons.shape[1], 1
        )[:, 0]
        rank = rank + (rank >= fired)  # any neuron but the one that fires
    save, neuron = np.divmod(np.maximum(place - spikes, 0), neurons)
    insertions = Insertions(
        neurons=np.where(there, np.where(at_spike, rank, neuron), -1),
        spikes=np.where(there & at_spike, spike, -1),
        saves=np.where(there & ~at_spike, np.append(inner, -1)[save], -1),
    )
    # Where two neurons fire at once, each of the two spikes is a place for the other: half of the jump belongs to
    # either.
    return insertions, np.where(insertions.spikes >= 0, 0.5, 1.0) * counts


def _inner_times(problem: Problem, at_saves: bool, edges: Sequence[float]) -> Integers:
    """Which recorded times within (t0, t1) are looked at: all, or those that are edges."""
    if not problem.saveat.size or not (at_saves or len(edges)):
        return np.zeros(0, dtype=np.int64)
    within = (problem.saveat > problem.t0) & (problem.saveat < problem.t1)
    return np.flatnonzero(within & (at_saves | np.isin(problem.saveat, np.asarray(edges, dtype=np.float64))))


def at_places(insertions: Insertions, entries: Array, recorded: tuple[int, ...]) -> dict[str, Any]:
    """Cotangents of the hazards at one place per sample; `recorded` is the shape (S, T, N) of recorded values."""
    at_saves, rows = np.zeros(recorded), np.flatnonzero(insertions.saves >= 0)
    at_saves[rows, insertions.saves[rows], insertions.neurons[rows]] = entries[rows]
    at_spikes = insertions.spikes >= 0
    return {
        "insertions": insertions if at_spikes.any() else None,
        "entries_at_insertions": np.where(at_spikes, entries, 0.0) if at_spikes.any() else None,
        "entries_at_saves": at_saves if rows.size else None,
    }


def _uniforms(problem: Problem) -> Array:
    """One number in (0, 1) per sample, a function of the seed and the sample alone."""
    samples = np.arange(problem.first_sample, problem.first_sample + problem.num_samples, dtype=np.uint64)
    return uniform(threefry((problem.seed, samples), (0, _PLACE << 36))[0])


def with_insertions(solution: Solution, insertions: Insertions) -> tuple[Recordings, Recordings]:
    """The samples as they go on where a spike is inserted: with it just before the event, or the recorded time, and
    just after it.
    """
    problem = replace(solution.problem, insertions=insertions)
    raw = engines.engine_for(solution.engine, problem).solve(problem)
    states = solution.network.after_spikes(raw.states, insertions.saves, insertions.neurons)
    late, early = (_trains(solution, raw, insertions, early) for early in (False, True))
    return (
        Recordings(early, problem.saveat, states, solution.engine),
        Recordings(late, problem.saveat, raw.states, solution.engine),
    )


def _trains(solution: Solution, raw: RawSolution, insertions: Insertions, early: bool) -> SpikeTrains:
    """The spikes, the inserted one just before the spike at which it is inserted (`early`) or just after it."""
    times, neurons = raw.spike_times.copy(), raw.spike_neurons.copy()
    if early:
        # One at a recorded time comes just before it.
        saved = np.append(solution.ts, np.nan)[insertions.saves]
        there = (times == saved[:, None]) & (neurons == insertions.neurons[:, None])
        times[there] = np.nextafter(times[there], -np.inf)
    rows = np.flatnonzero(insertions.spikes >= 0)
    spike, k = insertions.spikes[rows], insertions.neurons[rows]
    # A sample that is cut at the very spike keeps only the earlier of the two.
    cut = spike + 1 == raw.num_spikes[rows]
    if early:
        neurons[rows[cut], spike[cut]] = k[cut]
    rows, spike, k = rows[~cut], spike[~cut], k[~cut]
    if early:
        neurons[rows, spike + 1], neurons[rows, spike] = neurons[rows, spike], k
        times[rows, spike] = np.nextafter(times[rows, spike], -np.inf)
    else:
        times[rows, spike + 1] = np.nextafter(times[rows, spike + 1], np.inf)
    trains = solution.spike_trains
    return SpikeTrains.unchecked(times, neurons, trains.num_neurons, trains.t0, trains.t1)
