"""Whether a solver, an engine and a network go together."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from . import engine as engines
from .drivers import Driver, FractionalBrownianMotion
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
        if network.core.driver != "brownian" or network.driver_has_jumps:
            raise ValidationError(
                f"solver {name!r}, as every solver of DifferentialEquations.jl, is driven by Brownian motion here, and "
                f"this network by {network.driver!r}; take a native solver (ssnn.solvers())"
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
    meaningless = driver_objection(network)
    if meaningless:
        raise ValidationError(f"driver {meaningless}")
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
    return "" if network.core.driver == "brownian" else _driver_of_solver(solver, network)


def driver_objection(network: Network) -> str:
    """Why the network's driver makes no sense of its noise, whatever the solver, or nothing."""
    if network.core.driver == "brownian" or network.has_additive_noise:
        return ""
    roughest = min(_hursts(network), default=1.0)
    if roughest == 1.0:
        return ""
    if not network.core.stratonovich:
        return (
            "must not be a FractionalBrownianMotion where the noise depends on the state in Itô's sense: it is no "
            "semimartingale, and Itô's integral is not defined. State interpretation='stratonovich', which means the "
            "limit of smooth paths, or take BrownianMotion()"
        )
    if roughest <= 1 / 3:
        return (
            f"must not be a FractionalBrownianMotion with H = {roughest:g} ≤ 1/3 where the noise depends on the state: "
            "the solution depends on iterated integrals of third order, which no solver here has. Take H > 1/3, or "
            "additive noise"
        )
    if roughest <= 0.5 and not network.has_commutative_noise:
        return (
            f"must not be a FractionalBrownianMotion with H = {roughest:g} ≤ 1/2 for noises that depend on the state "
            "and do not commute: the solution depends on Lévy areas, which the path alone does not determine. Take "
            "H > 1/2, noises that commute, or additive noise"
        )
    return ""


def check_refinable(network: Network, who: str) -> None:
    """Raise where a path depends on the noise step, so that finer steps along one path would not be of the equation."""
    if _hursts(network):
        raise ValidationError(
            f"{who} compares finer and finer steps along one path, and a FractionalBrownianMotion is linear within the "
            "coarsest: compare solves with other noise_dt instead"
        )


def _driver_of_solver(solver: SolverInfo, network: Network) -> str:
    """Why a native solver does not take a network's driver, or nothing."""
    kinds = [any(term.kind == "brownian" for term in terms) for terms in _terms(network)]
    if solver.name == "exact_ou" and any(kinds) and not all(kinds):
        return (
            "knows the variance that a step leaves open of Brownian noise, and only some noises of this network have a "
            "BrownianMotion"
        )
    if network.has_additive_noise:
        return ""
    roughest, euler = min(_hursts(network), default=1.0), solver.name == "euler_maruyama"
    if roughest <= 0.5 and euler:
        return (
            f"does not converge for noise that depends on the state along fractional Brownian motion with H = "
            f"{roughest:g} ≤ 1/2"
        )
    if any(kinds) and not all(kinds) and network.core.stratonovich == euler:
        return (
            "needs the correction between Itô's and Stratonovich's sense, which is known where all noises have a "
            "BrownianMotion, and here only some have"
        )
    return ""


def _terms(network: Network) -> list[tuple[Driver, ...]]:
    return [network.driver.of_noise(noise).terms for noise in network.noise_names]


def _hursts(network: Network) -> list[float]:
    every = (term for terms in _terms(network) for term in terms)
    return [term.hurst for term in every if isinstance(term, FractionalBrownianMotion)]
