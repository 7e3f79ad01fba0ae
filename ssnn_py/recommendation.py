"""Which solver, and which step: measured on the user's own network."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import SSNNError, ValidationError
from .network import Network
from .simulation import MAX_NOISE_LEVELS, Solution, solved
from .solver_checks import check_refinable, objection
from .solvers import SOLVERS, SolverInfo
from .validation import as_float, as_int, describe

Array = NDArray[np.float64]

# Steps beyond what a pilot run tries are reached by extrapolation, no further than this.
_EXTRAPOLATED_LEVELS = 8


@dataclass(frozen=True)
class SolverChoice:
    """One solver with the largest step that meets a tolerance.

    Attributes
    ----------
    solver : str
    dt : float
    error : float
        Estimated error at that step.
    seconds : float
        Estimated time of one sample on one thread of this machine.
    extrapolated : bool
        Whether `dt` is finer than the steps that were tried.
    """

    solver: str
    dt: float
    error: float
    seconds: float
    extrapolated: bool


@dataclass(frozen=True)
class Recommendation(SolverChoice):
    """What :func:`recommend_solver` returns: the cheapest choice, and all of them.

    Attributes
    ----------
    choices : tuple of SolverChoice
        Every solver that takes the network's noise, the cheapest first.
    """

    choices: tuple[SolverChoice, ...] = ()

    def __str__(self) -> str:
        lines = [f"{'solver':18}{'dt':>12}{'error':>12}{'µs/sample':>12}"]
        for choice in self.choices:
            far = " (extrapolated)" if choice.extrapolated else ""
            lines.append(f"{choice.solver:18}{choice.dt:12.3g}{choice.error:12.2g}{1e6 * choice.seconds:12.3g}{far}")
        return "\n".join(lines)


def recommend_solver(
    network: Network,
    tol: float,
    t1: float,
    *,
    quantity: str = "spike_times",
    num_samples: int = 64,
    max_steps: int = 2000,
    seed: int = 0,
    progress: bool = False,
    **simulate_arguments: Any,
) -> Recommendation:
    r"""The cheapest native solver and step for which a mean pathwise error is below `tol`.

    Every solver that takes the network's noise is run at steps h, h/2, h/4, … along the same Brownian paths, and
    compared with the solver of highest order at a step finer still. The largest step from which on errors stay below
    `tol` is timed on one thread, and the fastest wins. Where no step tried is fine enough, one that would be follows
    from the solver's order.

    Parameters
    ----------
    network : Network
    tol : float
        Mean absolute error: of the spike times (each neuron's first spike, t1 where there is none) in units of time, of
        the potentials at t1 in units of potential, or of the derivative of these spike times in the direction of all
        input currents.
    t1 : float
        End of the interval.
    quantity : {"spike_times", "potential", "gradient"}
    num_samples : int
        Samples of the pilot runs.
    max_steps : int
        Pilot runs take no more steps than this.
    seed : int
    progress : bool
        Show a progress bar, which says the solver that is tried.
    **simulate_arguments
        As for :func:`simulate`: ``t0``, ``v0``, ``i0``, ``max_spikes``, ``engine``.

    Returns
    -------
    Recommendation

    Raises
    ------
    ValidationError
        If an argument is not what it should be.
    NoGradientError
        If the gradient is asked for and does not exist.
    SSNNError
        If no solver can meet the tolerance within the steps that are allowed.

    Examples
    --------
    >>> import ssnn_py as ssnn
    >>> net = ssnn.SLIFNetwork([[0.0]], input_current=1.5, sigma=0.5)
    >>> choice = recommend_solver(net, tol=1e-3, t1=2.0)
    >>> choice.error < 1e-3
    True
    """

    check_refinable(network, "recommend_solver")
    tol = as_float("tol", tol, positive=True)
    num_samples = as_int("num_samples", num_samples, 2)
    max_steps = as_int("max_steps", max_steps, 16)
    if quantity not in ("spike_times", "potential", "gradient"):
        raise ValidationError(f'quantity must be "spike_times", "potential" or "gradient", got {describe(quantity)}')
    for name in ("dt", "noise_dt", "solver", "num_samples", "saveat"):
        if name in simulate_arguments:
            raise ValidationError(f"{name} is chosen by recommend_solver itself")
    if quantity == "gradient":
        network.check_gradients()
        if "input_current" not in network.parameters:
            raise ValidationError('quantity must not be "gradient" for a network without input_current, whose it is')
    if quantity == "potential" and "v" not in network.states:
        raise ValidationError('quantity must not be "potential" for a model without a variable v')
    t0 = as_float("t0", simulate_arguments.get("t0", 0.0))
    interval = as_float("t1", t1) - t0
    if interval <= 0:
        raise ValidationError(f"t1 must be after t0 = {t0}, got {t1}")
    levels = min(MAX_NOISE_LEVELS, int(math.log2(max_steps / 4)))
    pilot = _Pilot(network, quantity, float(t1), interval / 4, num_samples, seed, simulate_arguments)
    allowed = [solver for solver in SOLVERS.values() if not objection(solver, network)]
    finest = max(allowed, key=pilot.order)
    reference = pilot.measured(finest.name, levels)
    if reference is None:
        raise SSNNError(f"{max_steps} steps are too few for this network: allow more (max_steps)")
    found = [pilot.choose(solver, tol, reference, levels, solver is finest) for solver in _followed(allowed, progress)]
    choices = [choice for choice in found if choice is not None]
    if not choices:
        raise SSNNError(
            f"no solver meets tol = {tol} within {max_steps} steps, nor within {2**_EXTRAPOLATED_LEVELS} times as "
            "many by "
            "extrapolation: allow a larger error or more steps (max_steps)"
        )
    choices.sort(key=lambda choice: choice.seconds)
    best = choices[0]
    return Recommendation(best.solver, best.dt, best.error, best.seconds, best.extrapolated, tuple(choices))


def _followed(solvers: list[SolverInfo], progress: bool) -> Iterable[SolverInfo]:
    """One after the other, with a bar that says which is tried."""
    from tqdm.auto import tqdm

    with tqdm(solvers, unit="solver", disable=not progress) as bar:
        for solver in bar:
            bar.set_postfix_str(solver.name)
            yield solver


@dataclass(frozen=True)
class _Pilot:
    network: Network
    quantity: str
    t1: float
    noise_dt: float
    num_samples: int
    seed: int
    arguments: dict[str, Any]

    def order(self, solver: SolverInfo) -> float:
        if not self.network.has_additive_noise:
            order = solver.multiplicative_order or 0.5
            return order / 2 if self.quantity == "gradient" else order
        return {
            "spike_times": solver.spike_time_order,
            "potential": solver.strong_order,
            "gradient": solver.gradient_order,
        }[self.quantity]

    def solve(self, solver: str, level: int, samples: int, **arguments: Any) -> Solution:
        return solved(
            self.network,
            self.t1,
            self.noise_dt / 2**level,
            num_samples=samples,
            seed=self.seed,
            solver=solver,
            **{**self.arguments, **arguments},
        )

    def measured(self, solver: str, level: int) -> Array | None:
        """The quantity, per sample and neuron; None where the step is too large for the solver."""
        try:
            solution = self.solve(solver, level, self.num_samples, noise_dt=self.noise_dt, saveat=[self.t1])
        except ValidationError:
            raise
        except SSNNError:
            return None
        if self.quantity == "potential":
            return solution.v[:, 0]
        trains = solution.spike_trains
        columns = trains.first_spike_columns(1)
        if self.quantity == "spike_times":
            return np.asarray(trains.at_columns(columns)[:, :, 0])
        tangents = np.pad(solution.jvp({"input_current": 1.0}), ((0, 0), (0, 1)))  # the last column, −1, is zero
        return np.take_along_axis(tangents, columns[:, :, 0], axis=1)

    def choose(
        self, solver: SolverInfo, tol: float, reference: Array, levels: int, is_reference: bool
    ) -> SolverChoice | None:
        errors = []
        for level in range(levels):
            near = self.measured(solver.name, level)
            # Where samples end at max_spikes there is no potential at t1.
            error = math.inf if near is None else float(np.nanmean(np.abs(near - reference)))
            errors.append(error if math.isfinite(error) else math.inf)
        order = self.order(solver)
        if is_reference:  # compared with itself at half the step, an error is seen in part
            errors[-1] /= 1 - 2.0**-order
        good = [level for level in range(levels) if max(errors[level:]) <= tol]
        if good:
            return self.timed(solver, good[0], errors[good[0]], False)
        if not math.isfinite(errors[-1]):
            return None
        further = math.ceil(math.log2(errors[-1] / tol) / order)
        if further > _EXTRAPOLATED_LEVELS:
            return None
        return self.timed(solver, levels - 1 + further, errors[-1] / 2 ** (order * further), True)

    def timed(self, solver: SolverInfo, level: int, error: float, extrapolated: bool) -> SolverChoice:
        """Time of one sample; for steps finer than those tried, in proportion to the finest of them."""
        tried = min(level, MAX_NOISE_LEVELS, 12)
        # The pilot's samples, as parameters may be given per sample; again and again until that is long enough to be
        # timed.
        repeats = max(3, 4000 // (2**tried * self.num_samples))
        times = []
        for _ in range(repeats):
            begin = time.perf_counter()
            solution = self.solve(solver.name, tried, self.num_samples, threads=1)
            if self.quantity == "gradient":
                solution.jvp({"input_current": 1.0})
            times.append((time.perf_counter() - begin) / self.num_samples)
        seconds = min(times) * 2 ** (level - tried)
        return SolverChoice(solver.name, self.noise_dt / 2**level, error, seconds, extrapolated)
