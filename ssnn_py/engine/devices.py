"""Devices: samples computed by kernels on a GPU, or on the processor by the same kernels (docs/devices.md)."""

from __future__ import annotations

import ctypes
import functools
import re
import tempfile
from collections.abc import Callable, Mapping, Sequence
from ctypes import POINTER
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..currents import JuliaFunction
from ..errors import JuliaError, ValidationError
from ..solvers import SCIML
from ..validation import describe
from . import Array, Cotangents, Engine, Insertions, Problem, RawSolution, structs
from .boot import JuliaRuntime, runtime
from .device_arrays import ArrayLibrary
from .julia import JuliaEngine
from .packages import DEVICE_PACKAGES


@dataclass(frozen=True)
class Device:
    """One kind of device.

    Attributes
    ----------
    what : str
        What it is, in words.
    backend : str
        The Julia expression of its backend; empty for the one that the core's extension knows by itself.
    free : str
        That of how many bytes of its memory a call may take: half of what is free, or a quarter where nobody says.
    facts : str
        A Julia expression of a text: which one it is; of NVIDIA's its memory and driver, too.
    for_grids : str
        The expression of the backend for kernels of many lanes that do little each; the same where empty. With all
        calls inlined a lane has what it sees of each array in registers, not 18 to 60 KB of copies on its stack.
    wrap : str
        That of a function of a type, an address and a count: an array of memory that is somebody else's. Empty where
        other libraries' memory cannot be reached.
    no_double : str
        Why it computes in single precision only; empty where it has both.
    """

    what: str
    backend: str = ""
    free: str = ""
    facts: str = ""
    for_grids: str = ""
    wrap: str = ""
    no_double: str = ""

    @property
    def module(self) -> str:
        """The Julia package of its backend."""
        return self.backend.partition(".")[0]


#: What ``simulate(device=...)`` may name besides "cpu". The packages of each are in :data:`packages.DEVICE_PACKAGES`,
#: installed by the option of ``ssnn setup`` that is called like the device.
DEVICES: dict[str, Device] = {
    "kernels": Device(
        "the processor, by KernelAbstractions.jl",
        facts='string("KernelAbstractions ", pkgversion(KernelAbstractions), " on the processor")',
    ),
    "cuda": Device(
        "an NVIDIA GPU",
        "CUDA.CUDABackend()",
        "CUDA.free_memory() ÷ 2",
        'string(CUDA.name(CUDA.device()), ", ", CUDA.totalmem(CUDA.device()) >> 20, " MiB, driver for CUDA ", '
        "CUDA.driver_version())",
        "CUDA.CUDABackend(; always_inline = true)",
        "(T, address, count) -> unsafe_wrap(CUDA.CuArray, CUDA.CuPtr{T}(address), count)",
    ),
    "rocm": Device(
        "an AMD GPU",
        "AMDGPU.ROCBackend()",
        "(isdefined(AMDGPU, :free_memory) ? AMDGPU.free_memory() : AMDGPU.Mem.free()) ÷ 2",
        'repr("text/plain", AMDGPU.device())',
        wrap="(T, address, count) -> unsafe_wrap(AMDGPU.ROCArray, Ptr{T}(address), (count,); lock = false)",
    ),
    "oneapi": Device(
        "an Intel GPU",
        "oneAPI.oneAPIBackend()",
        "sum(part.totalSize for part in oneAPI.oneL0.memory_properties(oneAPI.device())) ÷ 4",
        'repr("text/plain", oneAPI.device())',
        "oneAPI.oneAPIBackend(; always_inline = true)",
    ),
    "metal": Device(
        "an Apple GPU",
        "Metal.MetalBackend()",
        "Int(Metal.device().recommendedMaxWorkingSetSize) ÷ 4",
        "String(Metal.device().name)",
        no_double="Apple's GPUs have no Float64, numbers of double precision; simulations there take "
        "precision='float32'",
    ),
}
#: What may be asked for.
NAMES = ("cpu", *DEVICES)
#: Of numbers that are computed with.
PRECISIONS = ("float64", "float32")
#: How many times of single precision a step must have in it, at least: else spikes could hardly be told apart.
LEAST_SPACINGS = 64


def is_emulation(device: str) -> bool:
    """Whether a device is that of tests."""
    return re.fullmatch(r"emulation:[1-9]\d*", device) is not None


def checked_device(device: Any, precision: Any = "float64") -> str:
    """`device`, if there is one of that name which computes with numbers of that precision."""
    if not (isinstance(precision, str) and precision in PRECISIONS):
        raise ValidationError(f"precision must be one of {', '.join(map(repr, PRECISIONS))}, got {describe(precision)}")
    single = [repr(name) for name in DEVICES]
    if precision == "float32" and isinstance(device, str) and device == "cpu":
        raise ValidationError(
            "precision must be 'float64', got 'float32': device 'cpu', the native engine, computes with no other. Give "
            f"one of the devices {', '.join(single)} with it"
        )
    double = [repr(name) for name in NAMES if name == "cpu" or not DEVICES[name].no_double]
    allowed = single if precision == "float32" else double
    if isinstance(device, str) and (repr(device) in allowed or is_emulation(device)):
        return device
    why = DEVICES[device].no_double if isinstance(device, str) and device in DEVICES else ""
    raise ValidationError(f"device must be one of {', '.join(allowed)}, got {describe(device)}{why and f': {why}'}")


def why_not(problem: Problem, engine: str = "julia") -> str:
    """What of a problem its device cannot do, and what can; nothing where it can do all."""
    network = problem.network
    if problem.solver.startswith(SCIML):
        return f"has no solver {problem.solver!r}, which is one of DifferentialEquations.jl; take one of ssnn.solvers()"
    if engine != "julia":
        return f"is reached through Julia, and the engine is {engine!r}"
    if problem.executor is not None:
        return "is one of this process: executor must not be given with it"
    if network.core.driver != "brownian" or network.driver_has_jumps:
        return f"takes networks driven by BrownianMotion(), and the driver is {network.driver!r}"
    if isinstance(network.input_current, JuliaFunction):
        return (
            f"runs no Julia code of your own, and input_current is {describe(network.input_current)}; take a "
            "FormulaCurrent or a SampledCurrent"
        )
    if problem.recording is not None:
        return "has no neurons that are clamped to a recording: observed, or a likelihood, must not be given with it"
    if problem.start is not None:
        return "has no runs that go on from another: simulate the whole time at once"
    if problem.precision == "float32":
        latest = max(abs(problem.t0), abs(problem.t1))
        least = LEAST_SPACINGS * float(np.spacing(np.float32(latest)))
        if problem.dt < least:
            return (
                f"tells times around {latest:g} apart by {least / LEAST_SPACINGS:.1e} with precision='float32', so "
                f"that dt must be at least {least:.1e}, and it is {problem.dt:g}; take precision='float64'"
            )
    return ""


def check(problem: Problem, engine: str = "julia") -> None:
    """Raise where the problem's device cannot do what the problem asks for."""
    why = why_not(problem, engine)
    if why:
        raise ValidationError(f"device {problem.device!r} {why}. device='cpu', the default, has no such limits")


def load_packages(julia: JuliaRuntime, name: str) -> None:
    """Load the packages of a device, and with them the core's extension; tell that of the GPU.

    Raises
    ------
    JuliaError
        If this Julia has no packages, those of the device are not installed, or there is no such GPU.
    """
    if is_emulation(name):
        return
    device, setup = DEVICES[name], f"`ssnn setup --{name}`"
    if julia.how != "juliacall":
        raise JuliaError(
            f"device {name!r} needs Julia 1.10 or newer started by juliacall, and this is the {julia.how} Julia "
            f"{julia.version}: run {setup} and set SSNN_JULIA=juliacall"
        )
    packages = ", ".join(package for package, _, _ in DEVICE_PACKAGES[name])
    try:
        julia.eval(f'import {packages}; SSNN.DEVICE_HOOK[] === nothing && error("the extension did not load")')
    except JuliaError as error:
        raise JuliaError(
            f"device {name!r} needs {packages}, which could not be loaded; run {setup} to install. Julia says: {error}"
        ) from error
    if device.backend:
        try:
            julia.eval(f'{device.module}.functional() || error("{device.module}.functional() is false")')
            backends = f"{device.backend}, () -> {device.free}, {device.for_grids or device.backend}"
            julia.eval(f'SSNN.DEVICE_HOOK[]("{name}", {backends}, {device.wrap or "nothing"})')
        except JuliaError as error:
            raise JuliaError(f"device {name!r} finds no usable GPU, {device.what}. Julia says: {error}") from error


@functools.cache
def function_on(device: str, name: str, *argtypes: Any) -> Callable[..., None]:
    """A function of the core whose last argument is the device, with its packages loaded; raises as they do."""
    julia = runtime()
    load_packages(julia, device)
    function, encoded = julia.function(name, *argtypes, ctypes.c_char_p), device.encode()
    return lambda *arguments: function(*arguments, encoded)


class DeviceEngine(Engine):
    """The core's kernels on one device.

    Parameters
    ----------
    device : str
        One of :data:`DEVICES`; or, for tests, ``"emulation:L"``: L lanes per sample, which the host runs as tasks.
    precision : str
        One of :data:`PRECISIONS`.
    library : ArrayLibrary, optional
        Whose arrays, in the device's memory, take the spikes and recorded values of solutions, and hold cotangents of
        these; then there are no tangents.
    """

    name = "device"

    def __init__(self, device: str, precision: str = "float64", library: ArrayLibrary | None = None) -> None:
        self.device, self.precision = checked_device(device, precision), precision
        self._library = library
        problem, outputs = POINTER(structs.Problem), POINTER(structs.Outputs)
        self._engine = JuliaEngine(
            self._function("ssnn_device_solve", problem, outputs, where=True),
            self._function("ssnn_device_tangent", problem, outputs, POINTER(structs.TangentOutputs)),
            self._function("ssnn_device_adjoint", problem, POINTER(structs.AdjointData), where=True),
            library,
        )

    def _function(self, name: str, *argtypes: Any, where: bool = False) -> Callable[..., None]:
        """A function of the core; one that is to know `where` its arrays are waits until the library is done there."""
        function = function_on(self.device, name, *argtypes, *([ctypes.c_int64] if where else []), ctypes.c_char_p)
        encoded, library = self.precision.encode(), self._library
        if not where:
            return lambda *arguments: function(*arguments, encoded)
        if library is None:
            return lambda *arguments: function(*arguments, 0, encoded)

        def there(*arguments: Any) -> None:
            library.wait()
            function(*arguments, 1, encoded)

        return there

    def solve(
        self, problem: Problem, directions: Mapping[str, Array] | None = None, insertions: Insertions | None = None
    ) -> RawSolution:
        check(problem)
        assert directions is None or self._library is None
        return self._engine.solve(problem, directions, insertions)

    def pull_back(self, problem: Problem, cotangents: Cotangents, wrt: Sequence[str]) -> dict[str, Array]:
        check(problem)
        if problem.insertions is not None or any(
            part is not None for part in (cotangents.at_end, cotangents.log_hazards, cotangents.hazards)
        ):
            raise ValidationError(
                f"device {self.device!r} has no gradients of runs with inserted spikes, of recorded spikes, or of the "
                "whole state at t1. device='cpu', the default, has"
            )
        return self._engine.pull_back(problem, cotangents, wrt)


def facts(julia: JuliaRuntime, name: str) -> str:
    """Which one a device is: of a GPU its name, and what else its package says; raises as :func:`load_packages`."""
    load_packages(julia, name)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "facts"
        julia.eval(f'write(raw"{file}", {DEVICES[name].facts})')
        return file.read_text(encoding="utf-8")
