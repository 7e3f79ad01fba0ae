"""The table of solvers, as plain data: what each is called, how accurate it is, and which noise it takes."""

from __future__ import annotations

import math
from dataclasses import dataclass

#: What a solver of DifferentialEquations.jl is called by: this and its name there.
SCIML = "sciml:"


@dataclass(frozen=True)
class SolverInfo:
    """What one solver can do.

    Attributes
    ----------
    name : str
        As given to ``simulate(solver=...)``.
    strong_order : float
        Strong order of potentials with additive noise.
    multiplicative_order : float or None
        Strong order of potentials with state-dependent noise; None where the solver takes additive noise only.
    spike_time_order, gradient_order : float
        Strong orders of spike times and of their pathwise gradients, additive noise.
    bias_order : float
        Order of the bias of mean spike times and mean gradients.
    noise : str
        The noise it takes.
    gradients : tuple of str
        Modes of differentiation: "forward", "reverse".
    stages : int
        Evaluations of drift and intensity in a step: its cost.
    engines : tuple of str
        The engines that have it.
    reference : str
        Where it is from.
    linear_drift : bool
        Whether it takes the linear drift of SLIF neurons only.
    commutative_noise : bool
        Whether several noises must commute, ∂g_c·g_d = ∂g_d·g_c.
    continuous_below : float
        Largest step, in units of the fastest time constant 1/max(μ1, μ2), at which the discretised map is as good as
        continuous in its parameters, so that its gradients are those of its expectations to about a per cent; inf where
        it is continuous (docs/gradients.md).
    """

    name: str
    strong_order: float
    multiplicative_order: float | None
    spike_time_order: float
    gradient_order: float
    bias_order: float
    noise: str
    stages: int
    reference: str
    continuous_below: float = math.inf
    linear_drift: bool = False
    commutative_noise: bool = False
    gradients: tuple[str, ...] = ("forward", "reverse")
    engines: tuple[str, ...] = ("julia", "reference")


SOLVERS: dict[str, SolverInfo] = {
    solver.name: solver
    for solver in (
        SolverInfo(
            name="euler_maruyama",
            strong_order=1.0,
            multiplicative_order=0.5,
            spike_time_order=1.0,
            gradient_order=0.5,
            bias_order=1.0,
            noise="additive, multiplicative",
            stages=1,
            reference="Kloeden and Platen, Numerical Solution of Stochastic Differential Equations, section 10.2",
        ),
        SolverInfo(
            name="milstein",
            strong_order=1.0,
            multiplicative_order=1.0,
            spike_time_order=1.0,
            gradient_order=0.5,
            bias_order=1.0,
            noise="additive, multiplicative",
            stages=1,
            reference="Kloeden and Platen, Numerical Solution of Stochastic Differential Equations, section 10.3",
            continuous_below=0.01,
            commutative_noise=True,
        ),
        SolverInfo(
            name="stochastic_heun",
            strong_order=1.0,
            multiplicative_order=1.0,
            spike_time_order=1.0,
            gradient_order=0.5,
            bias_order=2.0,
            noise="additive, multiplicative",
            stages=2,
            reference="Rüemelin, SIAM Journal on Numerical Analysis 19, 1982",
            continuous_below=0.2,
        ),
        SolverInfo(
            name="shark",
            strong_order=1.5,
            multiplicative_order=None,
            spike_time_order=1.5,
            gradient_order=0.75,
            bias_order=2.0,
            noise="additive",
            stages=2,
            reference="Foster, dos Reis and Strange, SIAM Journal on Numerical Analysis 62, 2024",
            continuous_below=0.2,
        ),
        SolverInfo(
            name="exact_ou",
            strong_order=1.5,
            multiplicative_order=None,
            spike_time_order=1.5,
            gradient_order=0.75,
            bias_order=2.0,
            noise="additive",
            stages=3,
            reference="docs/numerics.md; the Brownian parabola is of Foster, Lyons and Oberhauser, "
            "SIAM J. Numer. Anal. 58, 2020",
            linear_drift=True,
        ),
    )
}


def solvers() -> list[SolverInfo]:
    """All native solvers that `simulate` knows by name; those of DifferentialEquations.jl are called ``"sciml:NAME"``.

    Examples
    --------
    >>> [solver.name for solver in solvers()]
    ['euler_maruyama', 'milstein', 'stochastic_heun', 'shark', 'exact_ou']
    """
    return list(SOLVERS.values())
