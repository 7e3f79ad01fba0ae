"""The Julia engine: hands a problem's arrays to the core's C-callable functions, without copies."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import math
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from ctypes import POINTER
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import JuliaError
from ..spike_trains import SpikeTrains
from ..synapses import SYNAPTIC, Synapses, of_synapses
from ..validation import require_memory
from . import (
    Array,
    AtRecordedSpikes,
    Cotangents,
    Engine,
    Insertions,
    Problem,
    RawSolution,
    Start,
    Tangents,
    not_finite_because,
    structs,
    with_cause_of_runaway,
)
from .boot import runtime
from .device_arrays import ArrayLibrary
from .driver_paths import DriverJumps, DriverPath, driver_jumps, driver_path
from .julia_functions import define
from .structs import BYTES, Coefficient, PerSynapse, address, coefficient

_ZERO = np.zeros(())
_SMALL = 2**14
# Fields of the structs, in the order in which an engine's results and cotangents name them.
_OUTPUTS = ("spike_times", "spike_neurons", "num_spikes", "truncated")
_LARGE = ("spike_times", "spike_neurons")  # of the outputs, with the recorded variables
_AT_RECORDED = ("log_hazards", "hazards")
_BLANKS = (np.inf, -1, 0, False)  # in the outputs, where nothing happens
_TANGENTS = ("spike_times", "s", "s_at_saves", "s_at_insertions")
_COTANGENTS = ("entries", "entries_at_saves", "entries_at_insertions")


class _Table:
    """Coefficients of neurons by name for one problem shape: those of the named parameters' arrays, and `default`, or
    null, where no parameter stands for them.

    It remembers of each parameter which array it was filled from, and fills anew only what has changed.
    """

    def __init__(self, rows: Sequence[str], default: Coefficient, directions: bool = False) -> None:
        self.rows = {name: row for row, name in enumerate(rows)}
        self.entries = (Coefficient * len(rows))(*[default] * len(rows))
        self.directions = directions  # arrays have a leading axis over directions
        # Of each parameter: its array, shape and strides, and where in the array its coefficients begin.
        self._filled: dict[str, tuple[weakref.ref[Array], Any, Any, list[tuple[Coefficient, int]]]] = {}

    def fill(self, problem: Problem, arrays: Mapping[str, Array]) -> None:
        """Point to `arrays`, of the same parameters every time."""
        for name, array in arrays.items():
            if name in SYNAPTIC or name == "input_times":
                continue
            filled = self._filled.get(name)
            if filled is not None:
                if filled[0]() is array:
                    continue
                if array.shape == filled[1] and array.strides == filled[2]:
                    start = address(array) or 0
                    for entry, offset in filled[3]:
                        entry.pointer = start + offset
                    self._filled[name] = (weakref.ref(array), *filled[1:])
                    continue
            self._filled[name] = (weakref.ref(array), array.shape, array.strides, self._views(problem, name, array))

    def _views(self, problem: Problem, name: str, array: Array) -> list[tuple[Coefficient, int]]:
        start, stride = address(array) or 0, array.strides[0] // BYTES if self.directions else 0
        slots = problem.network.slots(name, array[0, ...] if self.directions else array, problem.num_samples)
        offsets = []
        for slot, view in slots.items():
            row = self.rows[slot]
            self.entries[row] = coefficient(view, stride)
            offsets.append((self.entries[row], (address(view) or 0) - start))
        return offsets


class _Wiring:
    """The synapses of a network and, after them, of its inputs, in one list as the core has them."""

    def __init__(self, problem: Problem) -> None:
        network = problem.network
        inputs = None if problem.input_spikes is None else network.inputs
        self.synapses, self.inputs = network.synapses, None if inputs is None else inputs.synapses
        self.target = None if inputs is None else inputs.target
        self.indptr, self.targets, self.variables = self.synapses.indptr, self.synapses.targets, None
        self.between = self.count = self.targets.size
        if inputs is not None:
            coming = inputs.synapses
            self.indptr = np.concatenate([self.indptr, self.between + coming.indptr[1:]])
            self.targets = np.concatenate([self.targets, coming.targets])
            self.variables = np.repeat(inputs.variables(network.states), np.diff(coming.indptr)).astype(np.int8)
            self.count = self.targets.size

    def is_of(self, problem: Problem) -> bool:
        """Whether it would be the same for this problem."""
        network = problem.network
        inputs = None if problem.input_spikes is None else network.inputs
        coming, target = (None, None) if inputs is None else (inputs.synapses, inputs.target)
        return network.synapses is self.synapses and coming is self.inputs and target == self.target

    def parts(self, name: str, arrays: Mapping[str, Array]) -> list[tuple[Array, Synapses, slice]]:
        """Of the parameters `name` and, of inputs, ``input_`` `name` those that are there: arrays, synapses, places."""
        found = []
        for key, synapses, places in (
            (name, self.synapses, slice(0, self.between)),
            (f"input_{name}", self.inputs, slice(self.between, self.count)),
        ):
            if synapses is not None and synapses.targets.size and key in arrays:
                found.append((arrays[key], synapses, places))
        return found

    def numbers(self, name: str, arrays: Mapping[str, Array], directions: bool = False) -> tuple[Array, PerSynapse]:
        """The numbers of all synapses, 0 where there is no such parameter: an array, and what the core has of it.

        Parameters have a leading axis over `directions`.
        """
        parts = self.parts(name, arrays)
        if not parts:
            return _ZERO, PerSynapse()
        blocks = [array if directions else array[np.newaxis] for array, _, _ in parts]
        if self.inputs is None:
            if blocks[0].ndim == 1:  # one number for all
                return blocks[0], PerSynapse(address(blocks[0]), 1, 0)
            joined = np.ascontiguousarray(self.synapses.rows_at(blocks[0]))
        else:
            joined = np.zeros((len(blocks[0]), self.count))
            for block, (_, synapses, places) in zip(blocks, parts, strict=True):
                joined[:, places] = synapses.rows_at(block)
        return joined, PerSynapse(address(joined), self.count, 1)

    def sums(self, name: str, gradients: Mapping[str, Array]) -> tuple[Array, PerSynapse]:
        """Where the core adds up gradients (C, *shape) by numbers of synapses, for :meth:`put_down`; null for none."""
        parts = self.parts(name, gradients)
        if not parts:
            return _ZERO, PerSynapse()
        array, synapses, _ = parts[0]
        in_place = self.inputs is None and synapses.are_list_of(array[0, ...])
        own = array if in_place else np.zeros((len(array), self.count))
        return own, PerSynapse(address(own), self.count, 1)

    def put_down(self, name: str, sums: Array, gradients: Mapping[str, Array]) -> None:
        """Add sums to the gradients, unless they are those themselves."""
        for array, synapses, places in self.parts(name, gradients):
            if array is not sums:
                for chunk, numbers in enumerate(sums):
                    synapses.add_to(array[chunk, ...], numbers[places])


class _Plan:
    """The structs of one problem shape, which another problem of that shape fills with its own arrays and noise."""

    def __init__(self, name: tuple[Any, ...], problem: Problem, directions: int) -> None:
        self.name = name
        network = problem.network
        define(network)
        core, names = network.core, network.coefficient_names
        self.table = _Table(names, Coefficient(address(_ZERO)))
        self.moving = _Table(names, Coefficient(), directions=True)  # directions,
        # or gradients, of the same parameters every time: of chunks of samples, or one, where directions have an axis
        self.gradients = _Table(names, Coefficient(), directions=True)
        self.settings = np.array(core.settings, dtype=np.float64)
        self._structure: tuple[Any, ...] = ()
        self._wiring: _Wiring | None = None
        # Numbers of synapses, and sums of gradients by them, for the call at hand.
        self._held: list[Array] = []
        self._sums: dict[str, Array] = {}
        self.outputs: _Results
        self.tangents: _Results
        self.struct = structs.Problem(
            num_neurons=network.num_neurons,
            num_samples=problem.num_samples,
            t0=problem.t0,
            t1=problem.t1,
            dt=problem.dt,
            num_steps=problem.num_steps,
            threads=problem.threads,
            num_components=network.num_noise_components,
            noise_levels=problem.noise_levels,
            hard_reset=int(core.hard_reset),
            stratonovich=int(problem.stratonovich),
            solver=problem.solver.encode(),
            model=core.model.encode(),
            intensity=core.intensity.encode(),
            current=core.current.encode(),
            diffusion=core.diffusion.encode(),
            coefficients=ctypes.addressof(self.table.entries),
            coefficient_names="\n".join(names).encode(),
            settings=address(self.settings),
            num_settings=self.settings.size,
            driver=core.driver.encode(),
        )
        self.path: DriverPath | None = None
        self.jumps: DriverJumps | None = None
        self.directions, self.capacity = directions, -1  # the capacity of the outputs
        if problem.recording is not None:
            self.clamped = problem.recording.clamped.astype(np.uint8)
            self.struct.recording.clamped = address(self.clamped)
        self.states = network.states
        self.bars = (ctypes.c_void_p * len(self.states))()
        self.data = structs.AdjointData(
            gradients=ctypes.addressof(self.gradients.entries),
            recorded=ctypes.addressof(self.bars),
            num_recorded=len(self.states),
        )

    def make_results(self, problem: Problem) -> None:
        """Have outputs for as many spikes as samples may have."""
        capacity = self.struct.max_spikes
        if capacity == self.capacity:
            return
        samples, neurons, directions = problem.num_samples, problem.network.num_neurons, self.directions
        trains, states = (samples, capacity), (samples, problem.saveat.size, neurons)
        values = list(zip(_OUTPUTS, (trains, trains, (samples,), (samples,)), _BLANKS, strict=True))
        values.append(("last_state", (problem.network.num_variables, samples, neurons), np.nan))
        if problem.network.num_events > 1:
            values.append(("spike_events", trains, -1))
        recorded = None if problem.recording is None else (samples, problem.recording.trains.times.shape[1])
        if recorded is not None:
            values += [(f"at_recorded_spikes.{x}", recorded, 0.0) for x in _AT_RECORDED]
        self.outputs = _Results(structs.Outputs(), values, [(states, np.nan)] * len(self.states))
        shapes = [*zip(_TANGENTS, (trains, (samples, neurons), states, (samples,)), strict=True)]
        if recorded is not None:
            shapes += [(f"at_recorded_spikes.{name}", recorded) for name in _AT_RECORDED]
        self.tangents = _Results(
            structs.TangentOutputs(num_directions=directions, directions=ctypes.addressof(self.moving.entries)),
            [(name, (directions, *shape), 0.0) for name, shape in shapes],
            [((directions, *states), 0.0)] * len(self.states),
        )
        self.capacity = capacity

    @staticmethod
    def key(problem: Problem) -> tuple[Any, ...]:
        """What two problems must have in common to share a plan."""
        network = problem.network
        return (
            network.core,
            network.driver_has_jumps,
            network.coefficient_names,
            network.num_neurons,
            network.num_noise_components,
            problem.num_samples,
            problem.t0,
            problem.t1,
            problem.dt,
            problem.num_steps,
            problem.threads,
            problem.noise_levels,
            problem.solver,
            problem.saveat.size,
            *of_synapses(network.parameters),
            problem.input_spikes is None,
            None if network.inputs is None else network.inputs.num_channels,
            None
            if problem.recording is None
            else (problem.recording.trains.times.shape, problem.recording.clamped.tobytes()),
        )

    def fill(self, problem: Problem, capacity: int) -> None:
        """Point to the arrays of `problem`, which live as long as it does; samples have `capacity` spikes at most."""
        self.struct.max_spikes = capacity
        struct, network = self.struct, problem.network
        struct.seed, struct.first_sample = problem.seed, problem.first_sample
        self.table.fill(problem, problem.parameters)
        knots, saveat = network.input_current.knots, problem.saveat
        held = self._structure
        if not held or held[0]() is not knots or held[1]() is not saveat:
            struct.knots, struct.num_knots = address(knots), knots.size
            struct.saveat, struct.num_saves = address(saveat), saveat.size
            self._structure = tuple(weakref.ref(part) for part in (knots, saveat))
        self._fill_synapses(problem)
        struct.insertions = _insertions(problem.insertions)
        if network.inputs is not None and problem.input_spikes is not None:
            times = _input_times(problem.parameters["input_times"])
            struct.inputs = _inputs(network.inputs.num_channels, problem.input_spikes, times)
        if struct.driver != b"brownian":
            self.path = driver_path(problem)
            self._point_to_path(self.path, problem)
        if problem.network.driver_has_jumps:
            self.jumps = jumps = driver_jumps(problem)
            assert jumps is not None
            parts = (jumps.times, jumps.neurons, jumps.sizes, jumps.first, jumps.counts)
            struct.jumps = structs.JumpData(*map(address, parts), jumps.times.size)
        if problem.recording is not None:
            trains = problem.recording.trains
            samples, count = trains.times.shape
            struct.recording.times, struct.recording.neurons = address(trains.times), address(trains.neurons)
            struct.recording.num_spikes, struct.recording.stride_sample = count, count if samples > 1 else 0
        struct.start = _start(problem.start)

    def _fill_synapses(self, problem: Problem) -> None:
        synapses, wiring = self.struct.synapses, self._wiring
        if wiring is None or not wiring.is_of(problem):
            self._wiring = wiring = _Wiring(problem)
            parts = (wiring.indptr, wiring.targets, wiring.variables)
            synapses.indptr, synapses.targets, synapses.variables = map(address, parts)
            synapses.num_sources, synapses.num_synapses = wiring.indptr.size - 1, wiring.count
            synapses.num_between_neurons, synapses.delayed = wiring.between, int("delays" in problem.parameters)
        if wiring.count:
            weights, synapses.weights = wiring.numbers("weights", problem.parameters)
            delays, synapses.delays = wiring.numbers("delays", problem.parameters)
            self._held += weights, delays

    def fill_moving(self, problem: Problem, directions: Mapping[str, Array]) -> Any:
        """Point to directions of parameters, with a leading axis over them."""
        self.moving.fill(problem, directions)
        tangents: Any = self.tangents.struct
        assert self._wiring is not None
        weights, tangents.weights = self._wiring.numbers("weights", directions, True)
        delays, tangents.delays = self._wiring.numbers("delays", directions, True)
        tangents.input_times = _input_times(directions.get("input_times"), True)
        self._held += weights, delays
        return tangents

    def fill_gradients(self, problem: Problem, gradients: Mapping[str, Array]) -> structs.AdjointData:
        """Point to gradients (C, *shape), to which the call adds; those of synapses are complete after
        :meth:`put_down`.
        """
        self.gradients.fill(problem, gradients)
        data = self.data
        assert self._wiring is not None
        weights, data.weights = self._wiring.sums("weights", gradients)
        delays, data.delays = self._wiring.sums("delays", gradients)
        data.input_times = _input_times(gradients.get("input_times"), True)
        self._sums = {"weights": weights, "delays": delays}
        return data

    def put_down(self, gradients: Mapping[str, Array]) -> None:
        """Add what the call has summed up of synapses."""
        assert self._wiring is not None
        for name, sums in self._sums.items():
            self._wiring.put_down(name, sums, gradients)

    def let_go(self) -> None:
        """Of what the call needed alone."""
        self._held.clear()
        self._sums = {}

    def _point_to_path(self, path: DriverPath | None, problem: Problem) -> None:
        assert path is not None
        self._times, self._brownian = path.times, np.array(path.brownian, dtype=np.int64)
        self._values = _path_table(path, path.values, problem)
        self.struct.path = structs.PathData(
            times=address(self._times),
            num_times=self._times.size,
            values=ctypes.addressof(self._values),
            brownian=address(self._brownian),
        )


def _path_table(path: DriverPath, values: Array, problem: Problem) -> ctypes.Array[Coefficient]:
    """Of every component the values at the knots, of shape ([P,] S or 1, N or 1, C or 1, M), as the core reads them."""
    spread = path.spread(values, problem.num_samples, problem.network.num_neurons)
    stride = spread.strides[0] // BYTES if spread.ndim == 5 else 0
    first = spread[0] if spread.ndim == 5 else spread
    entries = [coefficient(first[:, :, c], stride) for c in range(first.shape[2])]
    table: ctypes.Array[Coefficient] = (Coefficient * len(entries))(*entries)
    return table


class _Results:
    """A struct that points to arrays which a call fills and the user keeps: made anew for every call, each with one
    value everywhere. Some are fields of the struct, and some, of recorded variables, entries of its table `recorded`.
    """

    def __init__(
        self,
        struct: ctypes.Structure,
        fields: Sequence[tuple[str, tuple[int, ...], float]],
        recorded: Sequence[tuple[tuple[int, ...], float]],
    ) -> None:
        self.struct, self._count = struct, len(fields)
        self._table = (ctypes.c_void_p * len(recorded))()
        struct.recorded, struct.num_recorded = ctypes.addressof(self._table), len(recorded)  # type: ignore[attr-defined]
        self._parts: list[tuple[int, Callable[[], NDArray[Any]]]] = []
        self._arrays: list[NDArray[Any]] = []
        # What may be another library's: shape and value by place.
        self._large: dict[int, tuple[tuple[int, ...], float]] = {}
        # Where each array's address goes: a field of the struct or of a part of it, or an entry of the table.
        self._places: list[tuple[Any, str]] = []
        for place, (name, shape, value) in enumerate([*fields, *(("", *part) for part in recorded)]):
            *inner, last = name.split(".")
            self._places.append((functools.reduce(getattr, inner, struct), last))
            size = math.prod(shape)
            if name in _LARGE or not name:
                self._large[place] = shape, value
            if size == 0:  # the same for all: there is nothing in it
                self._arrays.append(np.full(shape, value))
                self._point(place, address(self._arrays[-1]))
            elif size <= _SMALL:  # to copy is quicker than to fill
                self._arrays.append(np.full(shape, value))
                self._parts.append((place, self._arrays[-1].copy))
            else:
                self._arrays.append(_ZERO)
                self._parts.append((place, functools.partial(np.full, shape, value)))

    def _point(self, place: int, start: int | None) -> None:
        struct, field = self._places[place]
        if field:
            setattr(struct, field, start)
        else:
            self._table[place - self._count] = start

    def fresh(self, library: ArrayLibrary | None = None) -> tuple[list[Any], list[Any]]:
        """New arrays, of the fields and of the recorded variables, to which the struct points from now on; the large
        ones of a `library`.
        """
        arrays: list[Any] = self._arrays.copy()
        theirs = () if library is None else self._large
        for place, make in self._parts:
            if place not in theirs:
                arrays[place] = array = make()
                self._point(place, address(array))
        if library is not None:
            for place, (shape, value) in self._large.items():
                arrays[place] = array = library.full(shape, value)
                if math.prod(shape):  # else the struct goes on pointing to its own, for calls without a library
                    self._point(place, library.address(array))
        return arrays[: self._count], arrays[self._count :]


# Plans that no call is using, from the least to the most recently used. Operations of a dict are whole: no thread needs
# a lock, and none gets a plan that another has.
_PLANS: dict[tuple[Any, ...], _Plan] = {}
MAX_PLANS = 8


def _take_plan(problem: Problem, capacity: int, directions: int, moving: Sequence[str]) -> _Plan:
    """A plan for this problem, to be given back after its call; `moving` says what the tables of directions or
    gradients are of.
    """
    key = (*_Plan.key(problem), directions, moving)
    plan = _PLANS.pop(key, None) or _Plan(key, problem, directions)
    plan.fill(problem, capacity)
    return plan


def _give_back(plan: _Plan) -> None:
    """Keep a plan whose call has not failed."""
    plan.let_go()
    _PLANS[plan.name] = plan
    while len(_PLANS) > MAX_PLANS:
        with contextlib.suppress(RuntimeError, StopIteration):  # of another thread that is doing the same
            _PLANS.pop(next(iter(_PLANS)), None)


def _insertions(given: Insertions | None) -> structs.Insertions:
    if given is None:
        return structs.Insertions()
    return structs.Insertions(*(address(part) for part in (given.neurons, given.spikes, given.saves)))


def _start(given: Start | None) -> structs.Start:
    if given is None:
        return structs.Start(time=-math.inf)
    count = 0 if given.spike_times is None else given.spike_times.shape[1]
    spikes = given.fired, given.spike_times, given.spike_neurons
    return structs.Start(address(given.variables), given.step, given.time, *map(address, spikes), count)


def _inputs(num_channels: int, spikes: SpikeTrains, times: Coefficient) -> structs.Inputs:
    samples, count = spikes.times.shape
    return structs.Inputs(num_channels, address(spikes.neurons), count, count if samples > 1 else 0, times)


def _input_times(array: Array | None, directions: bool = False) -> Coefficient:
    """Those of spikes from outside, ([P,] S or 1, K), as the core reads them; knots count spikes."""
    if array is None:
        return Coefficient()
    stride = array.strides[0] // BYTES if directions else 0
    return Coefficient(address(array), stride, array.shape[-1] if array.shape[-2] > 1 else 0, 0, 1)


@contextlib.contextmanager
def _blaming(problem: Problem) -> Iterator[None]:
    """Say so where the input current is why a solution is no longer finite, or weights are why spikes explode."""
    try:
        yield
    except JuliaError as error:
        if " times within the step from " in str(error):
            raise JuliaError(with_cause_of_runaway(str(error), problem)) from None
        subject, found, _ = str(error).partition(" is no longer finite: ")
        because = not_finite_because(problem) if found else ""
        if not because:
            raise
        raise JuliaError(f"{subject}{found}{because}") from None


#: Tangents of spike times, in all directions, that are made room for before the spikes have been counted.
_MOST_UNCOUNTED = 2**20


class JuliaEngine(Engine):
    """The core in ``julia/src``, called in this process through three of its entry points.

    Parameters
    ----------
    solve, solve_tangent, adjoint : callable
        Take the structs that ``ssnn_solve``, ``ssnn_solve_tangent`` and ``ssnn_adjoint`` take.
    library : ArrayLibrary, optional
        Whose arrays spikes, recorded values and cotangents of these are, if not NumPy's; then there are no tangents.
    """

    name = "julia"

    def __init__(
        self,
        solve: Callable[..., None],
        solve_tangent: Callable[..., None],
        adjoint: Callable[..., None],
        library: ArrayLibrary | None = None,
    ) -> None:
        self._solve, self._solve_tangent, self._adjoint = solve, solve_tangent, adjoint
        self._library = library

    def solve(
        self, problem: Problem, directions: Mapping[str, Array] | None = None, insertions: Insertions | None = None
    ) -> RawSolution:
        if problem.num_columns is not None:
            return self._solve_with_capacity(problem, problem.num_columns, directions, insertions)
        most = math.inf if problem.max_spikes is None else problem.max_spikes
        # A guess that is generous for most networks; where a sample outgrows it, all is computed again with more.
        recorded = 0 if problem.recording is None else problem.recording.trains.times.shape[1]
        capacity = min(64 + 4 * problem.network.num_neurons + recorded, most)
        # Tangents come along where they take little memory beyond what is needed; else spikes are counted before.
        count = len(next(iter(directions.values()))) if directions else 0
        at_once = count * problem.num_samples * capacity <= _MOST_UNCOUNTED
        along = (directions, insertions) if at_once else ()
        while True:
            solution = self._solve_with_capacity(problem, int(capacity), *along)
            if capacity == most or not solution.truncated.any():
                break
            capacity = min(4 * capacity, most)
        longest = int(solution.num_spikes.max(initial=0))
        if directions is not None and not at_once:
            solution = self._solve_with_capacity(problem, int(min(longest + 1, most)), directions, insertions)
        tangents = solution.tangents
        return RawSolution(
            spike_times=self._contiguous(solution.spike_times[:, :longest]),
            spike_neurons=self._contiguous(solution.spike_neurons[:, :longest]),
            num_spikes=solution.num_spikes,
            truncated=solution.truncated,
            states=solution.states,
            spike_events=None
            if solution.spike_events is None
            else np.ascontiguousarray(solution.spike_events[:, :longest]),
            tangents=tangents and replace(tangents, spike_times=tangents.spike_times[..., :longest]),
            at_recorded=solution.at_recorded,
            last_state=solution.last_state,
        )

    def _contiguous(self, array: Any) -> Any:
        return np.ascontiguousarray(array) if self._library is None else self._library.contiguous(array)

    def _cotangent(self, array: Any) -> tuple[Any, int | None]:
        """A cotangent that may be the library's, as the core reads it, and its address."""
        if array is None:
            return None, None
        if self._library is None:
            array = np.ascontiguousarray(array, dtype=np.float64)
            return array, address(array)
        array = self._library.contiguous(array)
        return array, self._library.address(array)

    def _widened(self, array: Any, columns: int) -> Any:
        """A cotangent of spikes with more columns of zeros, as many as `columns` in all."""
        shape = (array.shape[0], columns)
        wide = np.zeros(shape) if self._library is None else self._library.full(shape, 0.0)
        wide[:, : array.shape[1]] = array
        return wide

    def _solve_with_capacity(
        self,
        problem: Problem,
        capacity: int,
        directions: Mapping[str, Array] | None = None,
        insertions: Insertions | None = None,
    ) -> RawSolution:
        require_memory("the spikes", 16.0 * problem.num_samples * capacity, "give max_spikes, or fewer samples")
        blocks = directions and {
            name: np.ascontiguousarray(block, dtype=np.float64) for name, block in directions.items()
        }
        count = next(iter(blocks.values())).shape[0] if blocks else 0
        plan = _take_plan(problem, capacity, count, () if blocks is None else ("directions", *blocks))
        plan.make_results(problem)
        fields, recorded = plan.outputs.fresh(self._library)
        at_recorded = None
        if problem.recording is not None:
            *fields, log_hazards, hazards_there = fields
            at_recorded = AtRecordedSpikes(log_hazards, hazards_there, fields[len(_OUTPUTS)][-1])
        spike_times, spike_neurons, num_spikes, truncated, last_state, *events = fields
        states = dict(zip(plan.states, recorded, strict=True))
        kept = (events[0] if events else None, at_recorded, last_state)
        if blocks is None:
            with _blaming(problem):
                self._solve(plan.struct, plan.outputs.struct)
            _give_back(plan)
            return RawSolution(spike_times, spike_neurons, num_spikes, truncated, states, None, *kept)
        (times_dot, *hazards), recorded = plan.tangents.fresh()
        dots = Tangents(times_dot, dict(zip(plan.states, recorded, strict=True)), *hazards)
        tangents = plan.fill_moving(problem, blocks)
        tangents.insertions = _insertions(insertions)
        moved = None if plan.path is None else plan.path.moved(blocks)
        along_path = None if moved is None or plan.path is None else _path_table(plan.path, moved, problem)
        tangents.path_values = None if along_path is None else ctypes.addressof(along_path)
        moved_sizes = None if plan.jumps is None else plan.jumps.moved_sizes(blocks)
        moved_times = None if plan.jumps is None else plan.jumps.moved_times(blocks)
        tangents.jump_sizes, tangents.jump_times = address(moved_sizes), address(moved_times)
        with _blaming(problem):
            self._solve_tangent(plan.struct, plan.outputs.struct, tangents)
        _give_back(plan)
        return RawSolution(spike_times, spike_neurons, num_spikes, truncated, states, dots, *kept)

    def pull_back(self, problem: Problem, cotangents: Cotangents, wrt: Sequence[str]) -> dict[str, Array]:
        shapes = {name: problem.parameters[name].shape for name in wrt}
        if "input_times" in shapes:  # samples that share their inputs add to one array each
            shapes["input_times"] = _own_shape(problem, "input_times")
        gradients = self._pull_back(problem, cotangents, shapes)
        if "input_times" in gradients and len(problem.parameters["input_times"]) == 1:
            gradients["input_times"] = gradients["input_times"].sum(axis=0, keepdims=True)
        return gradients

    def pull_back_to_start(
        self, problem: Problem, cotangents: Cotangents, wrt: Sequence[str]
    ) -> tuple[dict[str, Array], Array]:
        shapes = {name: problem.parameters[name].shape for name in wrt}
        at_start = np.zeros((len(problem.network.states) + 1, problem.num_samples, problem.network.num_neurons))
        return self._pull_back(problem, cotangents, shapes, at_start=at_start), at_start

    def sums_of_chunks(
        self, problem: Problem, cotangents: Cotangents, wrt: Sequence[str], stops: Sequence[int]
    ) -> dict[str, Array]:
        shapes = {name: _own_shape(problem, name) for name in wrt}
        return self._pull_back(problem, cotangents, shapes, np.array(stops, dtype=np.int64))

    def _pull_back(
        self,
        problem: Problem,
        cotangents: Cotangents,
        shapes: Mapping[str, tuple[int, ...]],
        stops: NDArray[np.int64] | None = None,
        at_start: Array | None = None,
    ) -> dict[str, Array]:
        """Gradients of these shapes, or with a leading axis over chunks of samples that end before `stops` those of
        each, unless samples have parameters of their own. Puts the cotangent of the state at t0 into `at_start`.
        """
        chunks = 1 if stops is None else stops.size
        apart = {name for name in shapes if stops is not None and not problem.samples_own(name)}
        gradients = {name: np.zeros((chunks if name in apart else 1, *shape)) for name, shape in shapes.items()}
        spike_bar = cotangents.spike_times
        capacity = problem.num_columns
        if capacity is None:
            longest = 0 if spike_bar is None else spike_bar.shape[1]
            # One more than there are spikes, so that no sample stops at its last one before it should.
            capacity = longest + (longest != problem.max_spikes)
            if spike_bar is not None:
                spike_bar = self._widened(spike_bar, capacity)
        spike_bar, start = self._cotangent(spike_bar)
        bars = (cotangents.entries, cotangents.entries_at_saves, cotangents.entries_at_insertions)
        given = [None if bar is None else np.ascontiguousarray(bar, dtype=np.float64) for bar in bars]
        of_states = {name: self._cotangent(bar) for name, bar in cotangents.states.items()}
        plan = _take_plan(problem, capacity, 0, ("gradients", *gradients))
        data = plan.fill_gradients(problem, gradients)
        data.insertions = _insertions(cotangents.insertions)
        data.chunk_stops, data.num_chunks = address(stops), chunks
        data.spike_times = start
        for name, bar in zip(_COTANGENTS, given, strict=True):
            setattr(data, name, address(bar))
        at_recorded = [getattr(cotangents, name) for name in _AT_RECORDED]
        at_recorded = [None if bar is None else np.ascontiguousarray(bar, dtype=np.float64) for bar in at_recorded]
        data.at_recorded_spikes = structs.AtRecordedSpikes(*map(address, at_recorded))
        at_end = None if cotangents.at_end is None else np.ascontiguousarray(cotangents.at_end, dtype=np.float64)
        data.at_end, data.at_start = address(at_end), address(at_start)
        for place, name in enumerate(plan.states):
            plan.bars[place] = of_states.get(name, (None, None))[1]
        path, path_bar, data.path_values = plan.path, None, None
        if path is not None and not set(path.parameters).isdisjoint(gradients):
            size = 8.0 * problem.num_samples * path.values[0].size
            require_memory("the driver's gradient", size, "simulate fewer samples at once")
            path_bar = np.zeros((problem.num_samples, *path.values.shape[1:]))
            along_path = _path_table(path, path_bar, problem)
            data.path_values = ctypes.addressof(along_path)
        jumps, jump_bars, data.jump_sizes, data.jump_times = plan.jumps, None, None, None
        if jumps is not None and not set(jumps.parameters).isdisjoint(gradients):
            jump_bars = jumps.room_for_gradients(tuple(gradients))
            data.jump_sizes, data.jump_times, data.jump_rows = map(address, jump_bars)
        self._adjoint(plan.struct, data)
        plan.put_down(gradients)
        _give_back(plan)
        if path is not None and path_bar is not None:
            for name, gradient in path.pulled_back(path_bar, gradients).items():
                gradients[name] += gradient
        if jumps is not None and jump_bars is not None:
            for name, gradient in jumps.pulled_back(*jump_bars[:2]).items():
                if name in gradients:
                    gradients[name] += gradient
        return {name: array if name in apart else array[0, ...] for name, array in gradients.items()}


def _own_shape(problem: Problem, name: str) -> tuple[int, ...]:
    """The shape of a parameter of which every neuron, or every synapse, has its own value."""
    network, array = problem.network, problem.parameters[name]
    if name == "input_times":
        return problem.num_samples, array.shape[1]
    if name in SYNAPTIC:
        return problem.parameters[name.replace("delays", "weights")].shape
    tail = network.tail(name, array)
    before = array.shape[: array.ndim - len(tail)]
    knots = 0 if name in problem.initial else network.knot_axes(name, array)
    return (*before, *([network.num_neurons] if len(before) <= knots else []), *tail)


def native() -> JuliaEngine:
    """The engine of the core's own solvers; starts Julia where it does not run."""
    problem, outputs = POINTER(structs.Problem), POINTER(structs.Outputs)
    julia = runtime()
    return JuliaEngine(
        julia.function("ssnn_solve", problem, outputs),
        julia.function("ssnn_solve_tangent", problem, outputs, POINTER(structs.TangentOutputs)),
        julia.function("ssnn_adjoint", problem, POINTER(structs.AdjointData)),
    )
