"""The structs that cross the boundary, field by field as the core has them, by the names that they have there.

A test compares their layouts with the core's.
"""

from __future__ import annotations

import ctypes
from ctypes import Structure, c_char_p, c_double, c_int64, c_uint64, c_void_p
from typing import Any, cast

from numpy.typing import NDArray

from ..spike_trains import SpikeTrains as Trains

BYTES = 8  # of a number


class Coefficient(Structure):
    """An array and its strides, in elements; a null pointer where there is none."""

    _fields_ = [
        ("pointer", c_void_p),
        ("stride_direction", c_int64),
        ("stride_sample", c_int64),
        ("stride_neuron", c_int64),
        ("stride_knot", c_int64),
    ]


class Insertions(Structure):
    """Spikes that the noise does not make."""

    _fields_ = [(name, c_void_p) for name in ("neurons", "spikes", "saves")]


class PerSynapse(Structure):
    """A number per synapse and its strides, in elements; a null pointer where there is none."""

    _fields_ = [("pointer", c_void_p), ("stride_direction", c_int64), ("stride", c_int64)]


class Synapses(Structure):
    """The synapses of neurons, then those of input channels, in compressed sparse rows."""

    _fields_ = [
        *((name, c_void_p) for name in ("indptr", "targets", "variables")),
        *((name, c_int64) for name in ("num_sources", "num_between_neurons", "num_synapses", "delayed")),
        ("weights", PerSynapse),
        ("delays", PerSynapse),
    ]


class Inputs(Structure):
    """Spikes from outside."""

    _fields_ = [
        ("num_channels", c_int64),
        ("channels", c_void_p),
        ("num_spikes", c_int64),
        ("stride_sample", c_int64),
        ("times", Coefficient),
    ]


class PathData(Structure):
    """A part of the driver: a path with knots."""

    _fields_ = [
        ("times", c_void_p),
        ("num_times", c_int64),
        ("values", c_void_p),
        ("brownian", c_void_p),
    ]


class JumpData(Structure):
    """The jumps of the driver."""

    _fields_ = [
        *((name, c_void_p) for name in ("times", "neurons", "sizes", "first", "counts")),
        ("num_jumps", c_int64),
    ]


class Recording(Structure):
    """Recorded spikes, and the neurons that are clamped to them."""

    _fields_ = [
        *((name, c_void_p) for name in ("times", "neurons", "clamped")),
        ("num_spikes", c_int64),
        ("stride_sample", c_int64),
    ]


class AtRecordedSpikes(Structure):
    """Log hazards at recorded spikes, and what the hazards have come to there."""

    _fields_ = [("log_hazards", c_void_p), ("hazards", c_void_p)]


class Start(Structure):
    """Where a run goes on from another."""

    _fields_ = [
        ("variables", c_void_p),
        ("step", c_int64),
        ("time", c_double),
        *((name, c_void_p) for name in ("fired", "spike_times", "spike_neurons")),
        ("num_spikes", c_int64),
    ]


class Problem(Structure):
    """A simulation."""

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
        ("solver", c_char_p),
        ("model", c_char_p),
        ("intensity", c_char_p),
        ("current", c_char_p),
        ("diffusion", c_char_p),
        ("coefficients", c_void_p),
        ("coefficient_names", c_char_p),
        ("settings", c_void_p),
        ("num_settings", c_int64),
        ("knots", c_void_p),
        ("num_knots", c_int64),
        ("synapses", Synapses),
        ("saveat", c_void_p),
        ("num_saves", c_int64),
        ("insertions", Insertions),
        ("inputs", Inputs),
        ("driver", c_char_p),
        ("path", PathData),
        ("jumps", JumpData),
        ("recording", Recording),
        ("start", Start),
    ]


class Outputs(Structure):
    """Where a solution goes."""

    _fields_ = [
        *((name, c_void_p) for name in ("spike_times", "spike_neurons", "num_spikes", "truncated", "spike_events")),
        ("recorded", c_void_p),
        ("num_recorded", c_int64),
        ("at_recorded_spikes", AtRecordedSpikes),
        ("last_state", c_void_p),
    ]


class TangentOutputs(Structure):
    """Directions, and where the tangents of a solution go."""

    _fields_ = [
        ("num_directions", c_int64),
        ("directions", c_void_p),
        ("weights", PerSynapse),
        ("delays", PerSynapse),
        ("input_times", Coefficient),
        ("spike_times", c_void_p),
        ("recorded", c_void_p),
        ("num_recorded", c_int64),
        ("s", c_void_p),
        ("s_at_saves", c_void_p),
        ("s_at_insertions", c_void_p),
        ("insertions", Insertions),
        ("path_values", c_void_p),
        ("jump_sizes", c_void_p),
        ("jump_times", c_void_p),
        ("at_recorded_spikes", AtRecordedSpikes),
    ]


class AdjointData(Structure):
    """Cotangents of a solution, and where the gradients go."""

    _fields_ = [
        ("spike_times", c_void_p),
        ("recorded", c_void_p),
        ("num_recorded", c_int64),
        ("gradients", c_void_p),
        ("weights", PerSynapse),
        ("delays", PerSynapse),
        ("input_times", Coefficient),
        ("entries", c_void_p),
        ("entries_at_saves", c_void_p),
        ("entries_at_insertions", c_void_p),
        ("insertions", Insertions),
        ("path_values", c_void_p),
        ("jump_sizes", c_void_p),
        ("jump_times", c_void_p),
        ("jump_rows", c_void_p),
        ("chunk_stops", c_void_p),
        ("num_chunks", c_int64),
        ("at_recorded_spikes", AtRecordedSpikes),
        ("at_end", c_void_p),
        ("at_start", c_void_p),
    ]


class SpikeTrains(Structure):
    """Spike trains of a batch."""

    _fields_ = [
        ("times", c_void_p),
        ("neurons", c_void_p),
        ("num_samples", c_int64),
        ("capacity", c_int64),
        ("num_neurons", c_int64),
        ("t0", c_double),
        ("t1", c_double),
        ("scales", c_void_p),
    ]

    @classmethod
    def of(cls, trains: Trains, scales: NDArray[Any] | None) -> SpikeTrains:
        """The arrays of `trains` as the core reads them; valid as long as both arguments live."""
        return cls(
            address(trains.times),
            address(trains.neurons),
            *trains.times.shape,
            trains.num_neurons,
            trains.t0,
            trains.t1,
            address(scales),
        )


class KernelJob(Structure):
    """Signature kernels to be computed, and where they and their gradients go."""

    _fields_ = [
        *((name, c_int64) for name in ("num_x", "num_y", "layout", "threads", "logarithmic")),
        *((name, c_void_p) for name in ("values", "exponents", "weights", "x_bar", "y_bar")),
        *((name, c_int64) for name in ("x_size", "y_size", "first_row", "stop_row", "row_step")),
    ]


#: All of them.
STRUCTS: tuple[type[Structure], ...] = (
    Coefficient,
    Insertions,
    PerSynapse,
    Synapses,
    Inputs,
    PathData,
    JumpData,
    Recording,
    AtRecordedSpikes,
    Start,
    Problem,
    Outputs,
    TangentOutputs,
    AdjointData,
    SpikeTrains,
    KernelJob,
)


_NOTHING = ctypes.c_char * 0


def address(array: NDArray[Any] | None) -> int | None:
    """Where an array's numbers begin; None for none."""
    if array is None:
        return None
    try:
        return ctypes.addressof(_NOTHING.from_buffer(cast(Any, array)))  # by far the quickest way
    except (TypeError, ValueError):  # read-only, or not contiguous
        return int(array.__array_interface__["data"][0])


def layout(struct: type[Structure]) -> list[tuple[str, int, int]]:
    """Name, offset and size in bytes of every field of a struct."""
    return [(name, getattr(struct, name).offset, getattr(struct, name).size) for name, *_ in struct._fields_]


def coefficient(view: NDArray[Any], stride_direction: int = 0) -> Coefficient:
    """A view of shape (S, N) or (S, N, M), as the core reads it; its strides may be 0."""
    strides = [stride // BYTES for stride in view.strides]
    return Coefficient(address(view), stride_direction, strides[0], strides[1], strides[2] if view.ndim == 3 else 0)


def core_layouts(function: Any) -> dict[str, tuple[list[tuple[str, int, int]], int]]:
    """Those of the core by the struct's name, each with the size of the whole; `function` is its ``ssnn_layouts``."""
    size = ctypes.c_int64()
    function(None, 0, ctypes.addressof(size))
    buffer = ctypes.create_string_buffer(size.value)
    function(ctypes.addressof(buffer), size.value, ctypes.addressof(size))
    layouts: dict[str, tuple[list[tuple[str, int, int]], int]] = {}
    fields: list[tuple[str, int, int]] = []
    for line in buffer.raw.decode().splitlines():
        name, field, *numbers = line.split()
        if field == "-":
            layouts[name], fields = (fields, int(numbers[1])), []
        else:
            fields.append((field, int(numbers[0]), int(numbers[1])))
    return layouts
