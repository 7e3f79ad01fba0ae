"""Samples computed by the workers of an executor: in the same chunks as by threads, summed in the same order."""

from __future__ import annotations

import functools
import itertools
import os
import platform
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, replace
from typing import Any

import numpy as np

from ..errors import JuliaError, SSNNError
from ..synapses import SYNAPTIC
from ..values import frozen
from . import (
    Array,
    AtRecordedSpikes,
    Cotangents,
    Engine,
    Insertions,
    Problem,
    RawSolution,
    Recording,
    Start,
    Tangents,
    load,
)
from .workers import Workers

# As in ``julia/src/host/threads.jl``.
_NUM_CHUNKS, _LEAST_CHUNKS, _MOST_SUMMED = 64, 16, 2**18
#: Steps of neurons that make a task of a second or so: no more than a worker loses, or goes on with after Ctrl-C.
TASK_STEPS = 2**25


class ExecutorEngine(Engine):
    """An engine whose samples are computed by the workers of an executor, to the same numbers.

    Parameters
    ----------
    name : str
        Of the engine that the workers use.
    workers : Workers
    """

    def __init__(self, name: str, workers: Workers) -> None:
        self.name, self.workers = name, workers

    def solve(
        self, problem: Problem, directions: Mapping[str, Array] | None = None, insertions: Insertions | None = None
    ) -> RawSolution:
        parts = []
        for chunks in self._groups(problem):
            rows = slice(chunks[0].start, chunks[-1].stop)
            moved = None if directions is None else _rows_of(problem, directions, rows, 1)
            parts.append((self.name, rows.start, part_of(problem, rows), moved, _insertions_of(insertions, rows)))
        return _joined(problem, self.workers.map(_solve, parts))

    def pull_back(self, problem: Problem, cotangents: Cotangents, wrt: Sequence[str]) -> dict[str, Array]:
        # A driver's own sums over samples are this process's.
        here = [name for name in wrt if name in problem.network.driver.parameters]
        gradients = load(self.name).pull_back(replace(problem, executor=None), cotangents, here) if here else {}
        gradients |= self._shared(problem, cotangents, tuple(name for name in wrt if name not in here))
        return {name: gradients[name] for name in wrt}

    def _shared(self, problem: Problem, cotangents: Cotangents, wrt: tuple[str, ...]) -> dict[str, Array]:
        """The gradients that workers compute."""
        if not wrt:
            return {}
        calls = []
        for chunks in self._groups(problem):
            rows = slice(chunks[0].start, chunks[-1].stop)
            stops = [chunk.stop - rows.start for chunk in chunks]
            bars = _cotangents_of(cotangents, rows)
            calls.append((self.name, rows.start, part_of(problem, rows), bars, wrt, stops))
        sums = self.workers.map(_pull_back, calls)
        return {name: _gathered(problem, name, np.concatenate([part[name] for part in sums])) for name in wrt}

    def _groups(self, problem: Problem) -> list[list[range]]:
        """Chunks of samples, the consecutive ones of each task."""
        chunks = chunk_ranges(problem)
        steps = problem.num_samples * problem.num_steps * problem.network.num_neurons
        count = min(max(self.workers.count, steps // TASK_STEPS), len(chunks))
        return [chunks[c * len(chunks) // count : (c + 1) * len(chunks) // count] for c in range(count)]


# --- what a worker does -----------------------------------------------------------------------------------------------


def _solve(
    name: str,
    start: int,
    problem: Problem,
    directions: Mapping[str, Array] | None,
    insertions: Insertions | None,
) -> RawSolution:
    """The solution of a part of the samples, which begins with sample `start` of all."""
    engine = _engine(name)
    found: RawSolution = _counted_from(start, functools.partial(engine.solve, problem, directions, insertions))
    return found


def _pull_back(
    name: str, start: int, problem: Problem, bars: Cotangents, wrt: Sequence[str], stops: Sequence[int]
) -> dict[str, Array]:
    """The sums of gradients over chunks of a part of the samples, which begins with sample `start` of all."""
    engine = _engine(name)
    found: dict[str, Array] = _counted_from(start, functools.partial(engine.sums_of_chunks, problem, bars, wrt, stops))
    return found


def sums_one_by_one(
    engine: Engine, problem: Problem, bars: Cotangents, wrt: Sequence[str], stops: Sequence[int]
) -> dict[str, Array]:
    """:meth:`Engine.sums_of_chunks` of an engine that sums over all samples, chunk by chunk."""

    def total(rows: slice) -> dict[str, Array]:
        return engine.pull_back(part_of(problem, rows), _cotangents_of(bars, rows), wrt)

    chunks = [slice(start, stop) for start, stop in itertools.pairwise([0, *stops])]
    sums = [_counted_from(rows.start, functools.partial(total, rows)) for rows in chunks]
    join = {name: np.concatenate if problem.samples_own(name) else np.stack for name in wrt}
    return {name: join[name]([chunk[name] for chunk in sums]) for name in wrt}


def _engine(name: str) -> Engine:
    try:
        return load(name)
    except JuliaError as error:
        raise JuliaError(f"the worker {platform.node()}, process {os.getpid()}, has no Julia: {error}") from None


def _counted_from(start: int, work: Callable[[], Any]) -> Any:
    """The result; a sample that an error names is counted as among all."""
    try:
        return work()
    except SSNNError as error:
        if type(error) not in (SSNNError, JuliaError):
            raise
        message = re.sub(r"\bsample (\d+)\b", lambda found: f"sample {int(found[1]) + start}", str(error))
        raise type(error)(message) from None


# --- parts of a problem -----------------------------------------------------------------------------------------------


def chunk_ranges(problem: Problem) -> list[range]:
    """The chunks of samples over which the core sums gradients."""
    network, samples = problem.network, problem.num_samples
    synapses = network.synapses.targets.size
    synapses += 0 if network.inputs is None else network.inputs.synapses.targets.size
    limit = min(max(_MOST_SUMMED // (synapses + 1), _LEAST_CHUNKS), _NUM_CHUNKS)
    chunks = min(limit, samples)
    return [range(c * samples // chunks, (c + 1) * samples // chunks) for c in range(chunks)]


def part_of(problem: Problem, rows: slice) -> Problem:
    """The problem of some of the samples."""
    network, spikes, given = problem.network, problem.input_spikes, problem.insertions
    own = {name: x[rows] for name, x in network.parameters.items() if problem.samples_own(name)}
    return replace(
        problem,
        network=network.replace(**own) if own else network,
        num_samples=rows.stop - rows.start,
        first_sample=problem.first_sample + rows.start,
        initial={name: frozen(x[rows]) if x.ndim == 2 else x for name, x in problem.initial.items()},
        input_spikes=spikes if spikes is None or spikes.num_samples == 1 else spikes[rows],
        insertions=_insertions_of(given, rows),
        recording=_recording_of(problem.recording, rows),
        start=_start_of(problem.start, rows),
        executor=None,
    )


def _rows_of(problem: Problem, arrays: Mapping[str, Array], rows: slice, axis: int) -> dict[str, Array]:
    """Of arrays of parameters, with `axis` axes before them, those of some samples."""
    taken, found = (slice(None),) * axis + (rows,), {}
    for name, array in arrays.items():
        like = problem.parameters[name]
        own = len(like) > 1 if name == "input_times" else problem.samples_own(name)
        found[name] = np.ascontiguousarray(array[taken]) if own else array
    return found


def _insertions_of(given: Insertions | None, rows: slice) -> Insertions | None:
    return given and Insertions(*(np.ascontiguousarray(getattr(given, part.name)[rows]) for part in fields(given)))


def _start_of(given: Start | None, rows: slice) -> Start | None:
    if given is None:
        return None
    spikes: dict[str, Any] = {
        name: None if part is None else np.ascontiguousarray(part[rows])
        for name in ("fired", "spike_times", "spike_neurons")
        for part in (getattr(given, name),)
    }
    return replace(given, variables=np.ascontiguousarray(given.variables[:, rows]), **spikes)


def _recording_of(given: Recording | None, rows: slice) -> Recording | None:
    if given is None or given.trains.num_samples == 1:
        return given
    return Recording(given.trains[rows], given.neurons)


def _cotangents_of(bars: Cotangents, rows: slice) -> Cotangents:
    arrays = {
        name: bar if bar is None else np.ascontiguousarray(bar[rows])
        for name in (
            *("spike_times", "entries", "entries_at_saves", "entries_at_insertions"),
            *("log_hazards", "hazards"),
        )
        for bar in (getattr(bars, name),)
    }
    states = {name: np.ascontiguousarray(bar[rows]) for name, bar in bars.states.items()}
    return Cotangents(states=states, insertions=_insertions_of(bars.insertions, rows), **arrays)


# --- and of results ---------------------------------------------------------------------------------------------------


def _joined(problem: Problem, parts: Sequence[RawSolution]) -> RawSolution:
    width = max(part.spike_times.shape[1] for part in parts)

    def trains(name: str, blank: float) -> Any:
        arrays = [getattr(part, name) for part in parts]
        return np.concatenate([_widened(array, width, blank) for array in arrays])

    def of_states(get: Callable[[RawSolution], Mapping[str, Array]], axis: int) -> dict[str, Array]:
        return {name: np.concatenate([get(part)[name] for part in parts], axis) for name in get(parts[0])}

    tangents = None
    if parts[0].tangents is not None:
        moved = [part.tangents for part in parts if part.tangents is not None]
        tangents = Tangents(
            spike_times=np.concatenate([_widened(each.spike_times, width, 0.0) for each in moved], 1),
            states=of_states(lambda part: part.tangents.states, 1),  # type: ignore[union-attr]
            **{
                name: np.concatenate([getattr(each, name) for each in moved], 1)
                for name in ("s", "s_at_saves", "s_at_insertions", "log_hazards", "hazards")
                if getattr(moved[0], name) is not None
            },
        )
    return RawSolution(
        spike_times=trains("spike_times", np.inf),
        spike_neurons=trains("spike_neurons", -1),
        num_spikes=np.concatenate([part.num_spikes for part in parts]),
        truncated=np.concatenate([part.truncated for part in parts]),
        states=of_states(lambda part: part.states, 0),
        tangents=tangents,
        at_recorded=_at_recorded([part.at_recorded for part in parts]),
        last_state=_last_states([part.last_state for part in parts]),
        spike_events=None if parts[0].spike_events is None else trains("spike_events", -1),
    )


def _last_states(parts: Sequence[Array | None]) -> Array | None:
    there = [part for part in parts if part is not None]
    return np.concatenate(there, 1) if there else None


def _at_recorded(parts: Sequence[AtRecordedSpikes | None]) -> AtRecordedSpikes | None:
    there = [part for part in parts if part is not None]
    if not there:
        return None
    return AtRecordedSpikes(
        *(np.concatenate([getattr(part, each.name) for part in there]) for each in fields(AtRecordedSpikes))
    )


def _widened(array: Any, width: int, blank: float) -> Any:
    missing = [(0, 0)] * (array.ndim - 1) + [(0, width - array.shape[-1])]
    return np.pad(array, missing, constant_values=blank)


def _gathered(problem: Problem, name: str, sums: Array) -> Array:
    """The gradient by a parameter from the sums over chunks, in their order, shaped like it."""
    like, network = problem.parameters[name], problem.network
    if name == "input_times":
        return sums.sum(axis=0, keepdims=True) if len(like) == 1 else sums
    if problem.samples_own(name):
        return sums
    total = np.zeros(sums.shape[1:])
    for chunk in sums:
        total += chunk
    if total.shape == like.shape:
        return total
    # Neuron after neuron, or synapse after synapse, as the core adds them.
    if name in SYNAPTIC:
        total = network.synapses_of(name).at(total)
        axis = 0
    else:
        axis = total.ndim - 1 - len(network.tail(name, like))
    return np.asarray(np.add.accumulate(total, axis).take(-1, axis).reshape(like.shape))
