"""The SciML engine: solvers of DifferentialEquations.jl between spikes, the core's event rule at them."""

from __future__ import annotations

import ctypes
import re
from collections.abc import Callable, Mapping, Sequence
from ctypes import POINTER
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import JuliaError, ValidationError
from ..solvers import SCIML
from ..validation import describe
from . import Array, Cotangents, Engine, Insertions, Problem, RawSolution, structs
from .boot import JuliaRuntime, runtime, source_dir
from .julia import JuliaEngine

#: What ``simulate(sensealg=...)`` may name.
SENSEALGS = ("InterpolatingAdjoint", "GaussAdjoint", "QuadratureAdjoint", "BacksolveAdjoint")

# What the engine itself gives to a solve.
_RESERVED = ("callback", "dt", "noise", "saveat", "seed", "rng", "tstops", "save_everystep", "save_start", "save_end")


@dataclass(frozen=True)
class SciMLSolver:
    """What one solver of StochasticDiffEq.jl can do: a row of ``julia/src/sciml_solvers.txt``."""

    name: str
    strong_order: float
    noise: str  # "any", "diagonal" or "additive"
    adaptive: bool
    implicit: bool


def _read_table() -> dict[str, SciMLSolver]:
    lines = (source_dir() / "src" / "sciml_solvers.txt").read_text(encoding="utf-8").splitlines()
    rows = [line.split() for line in lines if line and not line.startswith("#")][1:]
    return {
        name: SciMLSolver(name, float(order), noise, adaptive == "yes", implicit == "yes")
        for name, order, noise, adaptive, implicit in rows
    }


TABLE = _read_table()
SCIML_SOLVERS: tuple[str, ...] = tuple(TABLE)


def encode_options(options: Mapping[str, Any]) -> str:
    """Keyword arguments as the core reads them: a line ``name=kind:value`` each.

    Raises
    ------
    ValidationError
        If one is the engine's own, or neither a number, a truth value nor a text.
    """
    lines = []
    for name, value in options.items():
        if name in _RESERVED:
            raise ValidationError(f"{name} cannot be passed to a SciML solver: the engine sets it itself")
        if isinstance(value, (bool, np.bool_)):
            text = f"b:{str(bool(value)).lower()}"
        elif isinstance(value, (int, np.integer)):
            text = f"i:{int(value)}"
        elif isinstance(value, (float, np.floating)) and np.isfinite(value):
            text = f"f:{float(value)!r}"
        elif isinstance(value, str) and value.isprintable():
            text = f"s:{value}"
        else:
            raise ValidationError(
                f"{name} must be a finite number, a truth value or a text, which becomes a Julia symbol; "
                f"got {describe(value)}"
            )
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
            raise ValidationError(f"{name!r} is not the name of a solver's keyword argument")
        lines.append(f"{name}={text}")
    return "\n".join(lines)


def has_diagonal_noise(problem: Problem, directions: Mapping[str, Array] | None = None) -> bool:
    """Whether each Brownian motion drives one variable: σ12 = σ21 = 0, along the directions too."""
    network, moving = problem.network, directions or {}
    count = next((len(block) for block in moving.values()), 0)
    values = [problem.parameters, *({name: block[p] for name, block in moving.items()} for p in range(count))]
    return all(network.noise_is_diagonal(each, problem.num_samples) for each in values)


def check(problem: Problem, directions: Mapping[str, Array] | None = None) -> bool:
    """Raise where the solver does not take the problem; returns whether the noise is diagonal."""
    solver = TABLE[problem.solver.removeprefix(SCIML)]
    diagonal = has_diagonal_noise(problem, directions)
    if solver.noise == "additive" and not problem.network.has_additive_noise:
        raise ValidationError(
            f"solver {problem.solver!r} takes additive noise only, and this network's diffusion depends on the state"
        )
    if solver.noise == "diagonal" and not diagonal:
        raise ValidationError(
            f"solver {problem.solver!r} takes diagonal noise only: sigma must be diagonal, in every direction of a "
            "derivative too"
        )
    if problem.options.get("adaptive", False) and not solver.adaptive:
        raise ValidationError(f"adaptive must be False for solver {problem.solver!r}, which takes fixed steps only")
    if directions is not None and solver.implicit:
        raise ValidationError(f"solver {problem.solver!r} is implicit and has no gradients here; take an explicit one")
    return diagonal


def load_packages(julia: JuliaRuntime) -> None:
    """Load StochasticDiffEq.jl, and with it the core's extension."""
    if julia.how != "juliacall":
        raise JuliaError(
            "solvers of DifferentialEquations.jl need Julia 1.10 or newer started by juliacall, and this is the "
            f"{julia.how} Julia {julia.version}: run `ssnn setup --sciml` and set SSNN_JULIA=juliacall"
        )
    _load(julia, "StochasticDiffEq", "SCIML_HOOK", "SSNNSciMLExt", "--sciml")


def load_sensitivity(julia: JuliaRuntime) -> None:
    """Load SciMLSensitivity.jl, which takes some seconds, and with it the core's extension."""
    _load(
        julia, "OrdinaryDiffEqTsit5, SciMLSensitivity", "PIECE_ADJOINT_HOOK", "SSNNSciMLSensitivityExt", "--sensitivity"
    )


def _load(julia: JuliaRuntime, names: str, hook: str, extension: str, option: str) -> None:
    """Load packages, and see that they have brought the extension, which sets the hook."""
    try:
        julia.eval(f'import {names}; SSNN.{hook}[] === nothing && error("the extension {extension} did not load")')
    except JuliaError as error:
        raise JuliaError(
            f"{names} could not be loaded; run `ssnn setup {option}` to install. Julia says: {error}"
        ) from error


def check_sensealg(problem: Problem) -> None:
    """Raise where SciMLSensitivity.jl is asked for what this engine cannot give it."""
    if problem.options["sensealg"] not in SENSEALGS:
        raise ValidationError(
            f"sensealg must be one of {', '.join(SENSEALGS)}, got {describe(problem.options['sensealg'])}"
        )
    if not problem.network.has_additive_noise:
        raise ValidationError(
            "sensealg needs additive noise, and this network's diffusion depends on the potential; leave it out"
        )
    check(problem, {})


class SciMLEngine(Engine):
    """Any solver of StochasticDiffEq.jl from event to event, in this process.

    Reverse mode goes through forward mode, in the direction of one coordinate after the other; with the option
    ``sensealg`` it is the adjoint of SciMLSensitivity.jl between spikes.
    """

    name = "sciml"

    def __init__(self) -> None:
        julia = self._julia = runtime()
        load_packages(julia)
        self._solve = julia.function(
            "ssnn_sciml_solve", POINTER(structs.Problem), POINTER(structs.Outputs), ctypes.c_char_p
        )
        self._solve_tangent = julia.function(
            "ssnn_sciml_tangent",
            POINTER(structs.Problem),
            POINTER(structs.Outputs),
            POINTER(structs.TangentOutputs),
            ctypes.c_char_p,
        )
        self._adjoint = julia.function(
            "ssnn_sciml_adjoint", POINTER(structs.Problem), POINTER(structs.AdjointData), ctypes.c_char_p
        )

    def solve(
        self, problem: Problem, directions: Mapping[str, Array] | None = None, insertions: Insertions | None = None
    ) -> RawSolution:
        if "sensealg" in problem.options:
            check_sensealg(problem)
        return self._bound(problem, check(problem, directions)).solve(problem, directions)

    def pull_back(self, problem: Problem, cotangents: Cotangents, wrt: Sequence[str]) -> dict[str, Array]:
        if "sensealg" not in problem.options:
            return super().pull_back(problem, cotangents, wrt)
        check_sensealg(problem)
        load_sensitivity(self._julia)
        return self._bound(problem, check(problem), adjoint=True).pull_back(problem, cotangents, wrt)

    def _bound(self, problem: Problem, diagonal: bool, adjoint: bool = False) -> JuliaEngine:
        """The Julia engine's marshalling around these entry points, with the problem's options."""
        named = {name: value for name, value in problem.options.items() if adjoint or name != "sensealg"}
        options = encode_options({**named, "diagonal_noise": diagonal}).encode()

        def with_options(function: Callable[..., None]) -> Callable[..., None]:
            return lambda *arguments: function(*arguments, options)

        return JuliaEngine(with_options(self._solve), with_options(self._solve_tangent), with_options(self._adjoint))
