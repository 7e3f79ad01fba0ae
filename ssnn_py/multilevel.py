"""Multilevel Monte Carlo: expectations of spikes, most samples at a coarse step and few at fine ones."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .engine import grid_tolerance
from .errors import ValidationError
from .network import Network
from .simulation import MAX_NOISE_LEVELS, Solution, solved
from .solver_checks import check_refinable
from .solvers import SOLVERS
from .validation import as_float, as_int, describe

Array = NDArray[np.float64]

# Samples of different levels are independent: each level has a range of sample indices of its own.
_SAMPLES_PER_LEVEL = 2**40
_CHUNK = 2**13


@dataclass(frozen=True)
class Level:
    """One level of a multilevel estimate: solves at `dt`, minus solves at twice that along the same paths.

    Attributes
    ----------
    dt : float
    num_samples : int
    mean, variance : float
        Of the difference; on level 0 of the functional itself.
    steps : int
        Steps of one sample at both `dt` and twice that: its cost.
    """

    dt: float
    num_samples: int
    mean: float
    variance: float
    steps: int


@dataclass(frozen=True)
class MultilevelEstimate:
    """What :func:`multilevel` returns.

    Attributes
    ----------
    value : float
        The estimate of E[f].
    standard_error : float
        Of its Monte Carlo part.
    bias : float
        Estimate of what the finest step leaves out.
    converged : bool
        Whether both met the tolerance; False where `max_levels` came first.
    levels : tuple of Level
    """

    value: float
    standard_error: float
    bias: float
    converged: bool
    levels: tuple[Level, ...]

    @property
    def steps(self) -> int:
        """All steps that were taken, pilot samples included."""
        return sum(level.num_samples * level.steps for level in self.levels)


def multilevel(
    network: Network,
    functional: Callable[[Solution], Any],
    t1: float,
    dt: float,
    tol: float,
    *,
    solver: str = "euler_maruyama",
    max_levels: int = 10,
    pilot_samples: int = 500,
    seed: int = 0,
    **simulate_arguments: Any,
) -> MultilevelEstimate:
    r"""Estimate an expectation over a network's spikes to a root-mean-square error `tol`.

    With :math:`f_l` the functional of a solve with step dt/2^l,

    .. math:: E[f_L] = E[f_0] + \sum_{l=1}^{L} E[f_l - f_{l-1}]

    and each term is estimated on samples of its own, both solves of a difference along one Brownian path and with the
    same thresholds. Differences have a small variance, so that most samples are coarse ones. Numbers of samples follow
    from variances and steps, and levels are added until the estimated bias is below tol/√2 (Giles, "Multilevel Monte
    Carlo methods", Acta Numerica 2015, algorithm 1).

    Parameters
    ----------
    network : Network
        Its parameters must not be given per sample.
    functional : callable
        Takes a :class:`Solution`, returns one number per sample, shape (S,). The better it depends on the path
        continuously, the more levels help: spike times, capped at t1 where there is none, rather than counts.
    t1, dt : float
        End of the interval, and the step of the coarsest level.
    tol : float
        Root-mean-square error, half of its square for the bias and half for the Monte Carlo error.
    solver : str
        A native solver; see :func:`solvers`.
    max_levels : int
        Finest step: dt/2^max_levels.
    pilot_samples : int
        Samples from which a new level's variance is first estimated.
    seed : int
    **simulate_arguments
        As for :func:`simulate`; not ``num_samples``, ``first_sample`` or ``noise_dt``. The workers of an `executor`
        simulate, and this process evaluates the functional.

    Returns
    -------
    MultilevelEstimate

    Raises
    ------
    ValidationError
        If an argument is not what it should be, or the functional does not return one finite number per sample.

    Examples
    --------
    >>> import ssnn_py as ssnn
    >>> net = ssnn.SLIFNetwork([[0.0]], input_current=1.5, sigma=0.5)
    >>> def first_spike(solution):
    ...     return np.minimum(solution.spike_times[:, 0], 2.0)
    >>> estimate = multilevel(net, first_spike, t1=2.0, dt=0.1, tol=0.02, max_spikes=1)
    >>> estimate.converged, abs(estimate.value - 0.23) < 0.06
    (True, True)
    """
    check_refinable(network, "multilevel")
    tol = as_float("tol", tol, positive=True)
    dt = as_float("dt", dt, positive=True)
    max_levels = as_int("max_levels", max_levels, 2, MAX_NOISE_LEVELS)
    pilot = as_int("pilot_samples", pilot_samples, 10)
    if solver not in SOLVERS:
        raise ValidationError(f"solver must be one of {', '.join(SOLVERS)}, got {describe(solver)}")
    for name in ("num_samples", "first_sample", "noise_dt"):
        if name in simulate_arguments:
            raise ValidationError(f"{name} is chosen by multilevel itself")
    order = SOLVERS[solver].bias_order
    arguments = dict(simulate_arguments, t1=t1, seed=seed, solver=solver, noise_dt=dt)

    def values(level: int, first: int, count: int) -> Array:
        solution = solved(network, dt=dt / 2**level, num_samples=count, first_sample=first, **arguments)
        result = np.asarray(functional(solution), dtype=np.float64)
        if result.shape != (count,) or not np.isfinite(result).all():
            raise ValidationError(
                f"the functional must return one finite number per sample, shape ({count},), got {describe(result)}"
            )
        return result

    sums = [_Sums(level, t1 - float(arguments.get("t0", 0.0)), dt) for level in range(3)]
    wanted = [pilot] * 3
    while True:
        for part, count in zip(sums, wanted, strict=True):
            while part.count < count:
                chunk = min(count - part.count, _CHUNK)
                first = part.level * _SAMPLES_PER_LEVEL + part.count
                fine = values(part.level, first, chunk)
                part.add(fine - values(part.level - 1, first, chunk) if part.level else fine)
        # Half of the squared error for the variance.
        total = sum(math.sqrt(part.variance * part.steps) for part in sums)
        wanted = [
            max(part.count, math.ceil(2.0 / tol**2 * math.sqrt(part.variance / part.steps) * total)) for part in sums
        ]
        if any(count > 1.01 * part.count for part, count in zip(sums, wanted, strict=True)):
            continue
        # The last two levels tell the bias: the older one, if the newer is small by chance.
        bias = max(abs(sums[-1].mean), abs(sums[-2].mean) / 2**order) / (2**order - 1)
        small = bias <= tol / math.sqrt(2)
        if small or len(sums) > max_levels:
            break
        sums.append(_Sums(len(sums), sums[0].interval, dt))
        wanted.append(pilot)
    error = math.sqrt(sum(part.variance / part.count for part in sums))
    levels = tuple(Level(dt / 2**part.level, part.count, part.mean, part.variance, part.steps) for part in sums)
    return MultilevelEstimate(sum(part.mean for part in sums), error, bias, small, levels)


class _Sums:
    """Moments of one level, as samples come in."""

    def __init__(self, level: int, interval: float, dt: float) -> None:
        self.level, self.interval, self.count = level, interval, 0
        steps = interval / dt * 2**level
        self.steps = max(1, math.ceil(steps + (steps / 2 if level else 0.0) - grid_tolerance(steps)))
        self._first = self._second = 0.0

    def add(self, values: Array) -> None:
        self.count += values.size
        self._first += float(values.sum())
        self._second += float((values**2).sum())

    @property
    def mean(self) -> float:
        return self._first / self.count

    @property
    def variance(self) -> float:
        return max(0.0, self._second / self.count - self.mean**2) * self.count / (self.count - 1)
