"""The Julia engine: hands a problem's arrays to the core's C-callable functions, without copies."""

from __future__ import annotations

import ctypes
from collections.abc import Mapping, Sequence
from ctypes import POINTER, Structure, c_double, c_int64, c_uint64, c_void_p
from dataclasses import replace
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from ..network import Synapses
from ..validation import require_memory
from . import Array, Cotangents, Engine, Insertions, Problem, RawSolution, Tangents
from .boot import runtime
from .julia_functions import define


class _Coefficient(Structure):
    """`Coefficient` of julia/src/network.jl: an array and its strides, in elements."""

    _fields_ = [
        ("pointer", c_void_p),
        ("stride_direction", c_int64),
        ("stride_sample", c_int64),
        ("stride_neuron", c_int64),
        ("stride_knot", c_int64),
    ]


class _Insertions(Structure):
    """`Insertions` of julia/src/network.jl."""

    _fields_ = [(name, c_void_p) for name in ("neurons", "spikes", "saves")]


class _Problem(Structure):
    _fields_ = [
        ("num_neurons", c_int64),
        ("num_samples", c_int64),
        ("first_sample", c_int64),
        ("seed", c_uint64),
        ("t0", c_double),
        ("t1", c_double),
        ("dt", c_double),
        ("num_steps", c_int64),
        ("max_spikes", c_int64),
        ("threads", c_int64),
        ("num_components", c_int64),
        ("noise_levels", c_int64),
        ("hard_reset", c_int64),
        ("stratonovich", c_int64),
        ("solver", ctypes.c_char_p),
        ("intensity", ctypes.c_char_p),
        ("current", ctypes.c_char_p),
        ("diffusion", ctypes.c_char_p),
        ("coefficients", c_void_p),
        ("weights", _Coefficient),
        ("settings", c_void_p),
        ("num_settings", c_int64),
        ("knots", c_void_p),
        ("num_knots", c_int64),
        ("indptr", c_void_p),
        ("targets", c_void_p),
        ("positions", c_void_p),
        ("saveat", c_void_p),
        ("num_saves", c_int64),
        ("insertions", _Insertions),
    ]


class _Outputs(Structure):
    _fields_ = [(name, c_void_p) for name in ("spike_times", "spike_neurons", "num_spikes", "truncated", "v", "i")]


class _TangentOutputs(Structure):
    _fields_ = [
        ("num_directions", c_int64),
        ("directions", c_void_p),
        ("weights", _Coefficient),
        ("spike_times", c_void_p),
        ("v", c_void_p),
        ("i", c_void_p),
        ("s", c_void_p),
        ("s_at_saves", c_void_p),
        ("s_at_insertions", c_void_p),
        ("insertions", _Insertions),
    ]


class _AdjointData(Structure):
    _fields_ = [
        ("spike_times", c_void_p),
        ("v", c_void_p),
        ("i", c_void_p),
        ("gradients", c_void_p),
        ("weights", _Coefficient),
        ("entries", c_void_p),
        ("entries_at_saves", c_void_p),
        ("entries_at_insertions", c_void_p),
        ("insertions", _Insertions),
    ]


# The order in which the core expects the coefficients; those of the intensity, the current and the diffusion follow.
_SLOTS = ("mu1", "mu2", "sigma11", "sigma12", "sigma21", "sigma22", "v_reset", "alpha", "v0", "i0")
_ZERO = np.zeros(())
_BYTES = 8
# Coefficients of parameters' arrays, for a network and those made of it by `replace`: they share their synapses.
_REMEMBERED: WeakKeyDictionary[Synapses, dict[Any, Any]] = WeakKeyDictionary()


def _coefficient(view: Array, stride_direction: int = 0) -> _Coefficient:
    """A view of shape (S, N) or (S, N, M), as the core reads it; its strides may be 0."""
    strides = [stride // _BYTES for stride in view.strides]
    return _Coefficient(view.ctypes.data, stride_direction, strides[0], strides[1], strides[2] if view.ndim == 3 else 0)


class _Marshalled:
    """A problem as the core's struct; keeps every array that the struct points to alive."""

    def __init__(self, problem: Problem, capacity: int) -> None:
        self.problem = problem
        network = problem.network
        define(network.input_current)
        parts = (network.intensity, network.input_current, network.diffusion)
        self.slot_names = (*_SLOTS, *(name for part in parts for name in part.parameters))
        parameters = problem.parameters
        self.coefficients = self.table(parameters, default=_Coefficient(_ZERO.ctypes.data))
        self.settings = np.array(network.intensity.settings, dtype=np.float64)
        self.keep: list[Any] = [parameters]
        self.struct = _Problem(
            num_neurons=network.num_neurons,
            num_samples=problem.num_samples,
            first_sample=problem.first_sample,
            seed=problem.seed,
            t0=problem.t0,
            t1=problem.t1,
            dt=problem.dt,
            num_steps=problem.num_steps,
            max_spikes=capacity,
            threads=problem.threads,
            num_components=network.num_noise_components,
            noise_levels=problem.noise_levels,
            hard_reset=int(network.reset == "hard"),
            stratonovich=int(network.interpretation == "stratonovich"),
            solver=problem.solver.encode(),
            intensity=network.intensity.kind.encode(),
            current=network.input_current.kind.encode(),
            diffusion=network.diffusion.kind.encode(),
            coefficients=ctypes.addressof(self.coefficients),
            weights=self.weights(parameters),
            settings=self.settings.ctypes.data,
            num_settings=self.settings.size,
            knots=network.input_current.knots.ctypes.data,
            num_knots=network.input_current.knots.size,
            indptr=network.synapses.indptr.ctypes.data,
            targets=network.synapses.targets.ctypes.data,
            positions=network.synapses.position.ctypes.data,
            saveat=problem.saveat.ctypes.data,
            num_saves=problem.saveat.size,
            insertions=_insertions(problem.insertions),
        )

    def table(
        self, arrays: Mapping[str, Array], default: _Coefficient | None = None, directions: bool = False
    ) -> ctypes.Array[_Coefficient]:
        """Coefficients of the named parameters' arrays, in the core's order; `default`, or null, where one is not named.

        With `directions` the arrays have a leading axis over directions.
        """
        slots: dict[str, _Coefficient] = {}
        memory = _REMEMBERED.setdefault(self.problem.network.synapses, {})
        for name, array in arrays.items():
            if name == "weights":
                continue
            if directions:
                slots |= self.views(name, array[0, ...], array.strides[0] // _BYTES)
                continue
            if default is None:
                slots |= self.views(name, array)
                continue
            # Training asks again and again for the same parameters: they are remembered.
            key = (name, self.problem.num_samples)
            remembered = memory.get(key)
            if remembered is None or remembered[0] is not array:
                remembered = memory[key] = (array, self.views(name, array))
            slots |= remembered[1]
        missing = default if default is not None else _Coefficient()
        return (_Coefficient * len(self.slot_names))(*(slots.get(slot, missing) for slot in self.slot_names))

    def views(self, name: str, array: Array, stride_direction: int = 0) -> dict[str, _Coefficient]:
        """The scalar coefficients that `array` stands for."""
        slots = self.problem.network.slots(name, array, self.problem.num_samples)
        return {slot: _coefficient(view, stride_direction) for slot, view in slots.items()}

    @staticmethod
    def weights(arrays: Mapping[str, Array], directions: bool = False) -> _Coefficient:
        """The weights of `arrays` as one coefficient whose knots are the parameter's elements; null where not named."""
        if "weights" not in arrays:
            return _Coefficient()
        array = arrays["weights"]
        stride = array.strides[0] // _BYTES if directions else 0
        return _Coefficient(array.ctypes.data, stride, 0, 0, 1)


def _address(array: NDArray[Any] | None) -> int | None:
    return None if array is None else array.ctypes.data


def _insertions(given: Insertions | None) -> _Insertions:
    if given is None:
        return _Insertions()
    return _Insertions(*(_address(part) for part in (given.neurons, given.spikes, given.saves)))


class JuliaEngine(Engine):
    """The core in ``julia/src``, called in this process."""

    name = "julia"

    def __init__(self) -> None:
        julia = runtime()
        self._solve = julia.function("ssnn_solve", POINTER(_Problem), POINTER(_Outputs))
        self._solve_tangent = julia.function(
            "ssnn_solve_tangent", POINTER(_Problem), POINTER(_Outputs), POINTER(_TangentOutputs)
        )
        self._adjoint = julia.function("ssnn_adjoint", POINTER(_Problem), POINTER(_AdjointData))

    def solve(
        self, problem: Problem, directions: Mapping[str, Array] | None = None, insertions: Insertions | None = None
    ) -> RawSolution:
        if problem.max_spikes is not None:
            return self._solve_with_room(problem, problem.max_spikes, directions, insertions)
        # A guess that is generous for most networks; where a sample outgrows it, all is computed again with more room.
        room = 64 + 4 * problem.network.num_neurons
        while True:
            solution = self._solve_with_room(problem, room)
            if not solution.truncated.any():
                break
            room *= 4
        longest = int(solution.num_spikes.max(initial=0))
        if directions is not None:
            solution = self._solve_with_room(problem, longest + 1, directions, insertions)
        tangents = solution.tangents
        return RawSolution(
            spike_times=np.ascontiguousarray(solution.spike_times[:, :longest]),
            spike_neurons=np.ascontiguousarray(solution.spike_neurons[:, :longest]),
            num_spikes=solution.num_spikes,
            truncated=solution.truncated,
            v=solution.v,
            i=solution.i,
            tangents=tangents and replace(tangents, spike_times=tangents.spike_times[..., :longest]),
        )

    def _solve_with_room(
        self,
        problem: Problem,
        room: int,
        directions: Mapping[str, Array] | None = None,
        insertions: Insertions | None = None,
    ) -> RawSolution:
        samples, neurons, times = problem.num_samples, problem.network.num_neurons, problem.saveat.size
        require_memory("the spikes", 16.0 * samples * room, "give max_spikes, or fewer samples")
        spike_times = np.full((samples, room), np.inf)
        spike_neurons = np.full((samples, room), -1, dtype=np.int64)
        num_spikes = np.zeros(samples, dtype=np.int64)
        truncated = np.zeros(samples, dtype=np.bool_)
        v = np.full((samples, times, neurons), np.nan)
        i = np.full((samples, times, neurons), np.nan)
        outputs = _Outputs(*(part.ctypes.data for part in (spike_times, spike_neurons, num_spikes, truncated, v, i)))
        marshalled = _Marshalled(problem, room)
        if directions is None:
            self._solve(marshalled.struct, outputs)
            return RawSolution(spike_times, spike_neurons, num_spikes, truncated, v, i)

        blocks = {name: np.ascontiguousarray(block, dtype=np.float64) for name, block in directions.items()}
        count = next(iter(blocks.values())).shape[0] if blocks else 0
        shapes = ((samples, room), v.shape, i.shape, (samples, neurons), v.shape, (samples,))
        dots = [np.zeros((count, *shape)) for shape in shapes]
        table = marshalled.table(blocks, directions=True)
        tangents = _TangentOutputs(
            count,
            ctypes.addressof(table),
            marshalled.weights(blocks, directions=True),
            *(part.ctypes.data for part in dots),
            _insertions(insertions),
        )
        self._solve_tangent(marshalled.struct, outputs, tangents)
        return RawSolution(spike_times, spike_neurons, num_spikes, truncated, v, i, Tangents(*dots))

    def pull_back(self, problem: Problem, cotangents: Cotangents, wrt: Sequence[str]) -> dict[str, Array]:
        spike_bar = cotangents.spike_times
        room = problem.max_spikes
        if room is None:
            # One more than there are spikes, so that no sample stops at its last one.
            room = (0 if spike_bar is None else spike_bar.shape[1]) + 1
            if spike_bar is not None:
                spike_bar = np.pad(spike_bar, ((0, 0), (0, 1)))
        bars, entries = (
            [None if bar is None else np.ascontiguousarray(bar, dtype=np.float64) for bar in group]
            for group in (
                (spike_bar, cotangents.v, cotangents.i),
                (cotangents.entries, cotangents.entries_at_saves, cotangents.entries_at_insertions),
            )
        )
        marshalled = _Marshalled(problem, room)
        parameters = problem.parameters
        gradients = {name: np.zeros(parameters[name].shape) for name in wrt}
        table = marshalled.table(gradients)
        data = _AdjointData(
            *(_address(bar) for bar in bars),
            ctypes.addressof(table),
            marshalled.weights(gradients),
            *(_address(entry) for entry in entries),
            _insertions(cotangents.insertions),
        )
        self._adjoint(marshalled.struct, data)
        return gradients
