"""Whether a solver, an engine and a network go together."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from . import engine as engines
from .errors import ValidationError
from .network import Network
from .solvers import SCIML, SOLVERS, SolverInfo
from .validation import describe


def engine_of(solver: object, engine: str) -> str:
    """The engine to use: that of a solver of DifferentialEquations.jl, else what `engine` stands for."""
    if isinstance(solver, str) and solver.startswith(SCIML):
        if engine not in ("auto", "sciml"):
            raise ValidationError(f'engine must be "auto" or "sciml" for solver {solver!r}, got {describe(engine)}')
        return "sciml"
    if engine == "sciml":
        raise ValidationError(f'solver must be "{SCIML}NAME" for engine "sciml", got {describe(solver)}')
    return engines.resolve(engine)


def check_solver(name: object, engine: str, network: Network, options: Mapping[str, Any]) -> str:
    """`name` itself if that solver exists, the engine has it, and it takes the network's noise and the options."""
    if engine == "sciml":
        if network.inputs is not None or "delays" in network.parameters:
            raise ValidationError(
                f"solver {name!r}, as every solver of DifferentialEquations.jl, takes no inputs and no delays; take a "
                "native solver (ssnn.solvers())"
            )
        if network.model is not None and (network.has_crossings or network.num_events > 1):
            kinds = [event.kind for event in network.model.events]
            raise ValidationError(
                f"solver {name!r}, as every solver of DifferentialEquations.jl, takes models from formulas with one "
                f"event, which is a hazard's, and this one has {len(kinds)} ({', '.join(kinds)}); take a native solver "
                "(ssnn.solvers())"
            )
        known_there = engines.sciml_solvers()
        short = name.removeprefix(SCIML) if isinstance(name, str) else name
        if short not in known_there or short == name:
            allowed = ", ".join(SCIML + known for known in known_there)
            raise ValidationError(f"solver must be one of {allowed} for engine 'sciml', got {describe(name)}")
        return str(name)
    if not isinstance(name, str) or name not in SOLVERS:
        raise ValidationError(f"solver must be one of {', '.join(SOLVERS)}, or {SCIML}NAME, got {describe(name)}")
    solver = SOLVERS[name]
    if engine not in solver.engines:
        raise ValidationError(f"solver {name!r} is not one of the {engine} engine; it has {solver.engines}")
    if options:
        raise ValidationError(f"{next(iter(options))} is not an argument of simulate with solver {name!r}")
    why = objection(solver, network)
    if why:
        takes = ", ".join(other.name for other in SOLVERS.values() if not objection(other, network))
        raise ValidationError(f"solver {name!r} {why}; take one of {takes}")
    return name


def objection(solver: SolverInfo, network: Network) -> str:
    """Why a native solver does not take a network, or nothing."""
    if solver.linear_drift and not network.has_linear_drift:
        return "takes the linear drift of an SLIFNetwork only, and this model is one from formulas"
    if solver.multiplicative_order is None and not network.has_additive_noise:
        return "takes additive noise only, and this network's diffusion depends on the state"
    if solver.commutative_noise and not network.has_commutative_noise:
        return "takes noises that commute only, and those of this model do not"
    return ""
