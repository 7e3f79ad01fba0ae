"""The table of solvers: what each is called, how accurate it is, and which noise it takes."""

from __future__ import annotations

from dataclasses import dataclass

from .errors import ValidationError
from .validation import describe


@dataclass(frozen=True)
class SolverInfo:
    """What one solver can do.

    Attributes
    ----------
    name : str
        As given to ``simulate(solver=...)``.
    strong_order : float
        Strong order of potentials with additive noise.
    spike_time_order, gradient_order : float
        Strong orders of spike times and of their pathwise gradients.
    noise : str
        The noise it takes.
    engines : tuple of str
        The engines that have it.
    reference : str
        Where it is from.
    """

    name: str
    strong_order: float
    spike_time_order: float
    gradient_order: float
    noise: str
    engines: tuple[str, ...]
    reference: str


SOLVERS: dict[str, SolverInfo] = {
    solver.name: solver
    for solver in (
        SolverInfo(
            name="euler_maruyama",
            strong_order=1.0,
            spike_time_order=1.0,
            gradient_order=0.5,
            noise="additive",
            engines=("julia", "reference"),
            reference="Kloeden and Platen, Numerical Solution of Stochastic Differential Equations, section 10.2",
        ),
    )
}


def solvers() -> list[SolverInfo]:
    """All solvers that `simulate` knows by name.

    Examples
    --------
    >>> [solver.name for solver in solvers()]
    ['euler_maruyama']
    """
    return list(SOLVERS.values())


def check_solver(name: object, engine: str) -> str:
    """`name` itself if that solver exists and the engine has it."""
    if not isinstance(name, str) or name not in SOLVERS:
        raise ValidationError(f"solver must be one of {', '.join(SOLVERS)}, got {describe(name)}")
    if engine not in SOLVERS[name].engines:
        raise ValidationError(f"solver {name!r} is not one of the {engine} engine; it has {SOLVERS[name].engines}")
    return name
