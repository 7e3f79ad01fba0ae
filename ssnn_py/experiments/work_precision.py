"""Work and precision of the solvers: what error each makes of a given step, and what that costs.

All solvers look at one Brownian path per sample, whatever their step (``noise_dt``), so that errors are pathwise
differences from a solve at a very fine step. Costs are timed in solves of their own, whose noise is laid out on the
solver's step.
"""

from __future__ import annotations

import csv
import itertools
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import engine as engines
from ..builders import recurrent_weights
from ..diffusions import AffineDiffusion
from ..engine import sciml
from ..engine.packages import sciml_installed
from ..errors import SSNNError
from ..intensities import ExponentialIntensity
from ..simulation import Solution, prepare
from ..slif import SLIFNetwork
from ..solvers import SCIML, SOLVERS
from . import figure1

Array = NDArray[np.float64]

#: Column titles by the name of the measured quantity.
QUANTITIES = {
    "potential": "error of v at fixed times",
    "spike_times": "error of spike times",
    "gradient": "error of the gradient",
    "spike_bias": "bias of spike times",
    "gradient_bias": "bias of the gradient",
}
STRONG = ("potential", "spike_times", "gradient")
# At which errors the costs of all solvers are compared.
_GOALS = {"spike_times": 1e-4, "gradient_bias": 1e-3}

# Those of DifferentialEquations.jl that join where they are installed, on fewer samples: they are made for other
# problems, and slow on small ones.
SCIML_CONTENDERS = ("EM", "EulerHeun", "RKMil", "SRA1", "SOSRA", "SOSRI")
_SCIML_SHARE = 20

# Samples of one solve: more would only take memory.
_CHUNK = 20_000


@dataclass(frozen=True)
class BenchmarkProblem:
    """A network, and at which steps it is solved: dt/2^k along one path laid out on steps of `dt`.

    Strong errors are means over `samples`. Biases need more samples: `bias_samples`, against a reference that is
    coarser but of high weak order, and at no finer steps than are needed to reach the goal.
    """

    name: str
    network: SLIFNetwork
    t1: float
    saveat: tuple[float, ...]
    spikes: int  # of each neuron are compared
    capacity: int  # for spikes of a sample: more than any has
    dt: float
    levels: int
    reference: str  # solver of the finest solves
    reference_level: int
    samples: int
    bias_samples: int
    bias_levels: int
    bias_reference_level: int

    @property
    def solvers(self) -> list[str]:
        """Solvers that take the problem's noise: the native ones, and those of DifferentialEquations.jl where they are
        installed.
        """
        additive = self.network.diffusion.additive
        names = [name for name, solver in SOLVERS.items() if additive or solver.multiplicative_order is not None]
        if sciml_installed():
            # The networks here have noise on v alone, which is diagonal.
            names += [SCIML + name for name in SCIML_CONTENDERS if additive or sciml.TABLE[name].noise != "additive"]
        return names


def theory(solver: str, quantity: str, additive: bool) -> float | None:
    """The order of an error that the tables of solvers state; None where they do not."""
    if solver.startswith(SCIML):
        return sciml.TABLE[solver.removeprefix(SCIML)].strong_order if quantity == "potential" and additive else None
    info = SOLVERS[solver]
    if not additive:
        return info.multiplicative_order if quantity in ("potential", "spike_times") else None
    return {
        "potential": info.strong_order,
        "spike_times": info.spike_time_order,
        "gradient": info.gradient_order,
    }.get(quantity, info.bias_order)


def problems(quick: bool = False) -> list[BenchmarkProblem]:
    """The neuron of figure 1, a recurrent network of 20 neurons, and a neuron with multiplicative noise."""
    fewer = 8 if quick else 1
    recurrent = SLIFNetwork(
        weights=recurrent_weights(20, gain=0.5, seed=1),
        input_current=1.2,
        mu=(15.0, 5.0),
        sigma=0.3,
        v_reset=1.0,
        alpha=0.03,
    )
    multiplicative = SLIFNetwork(
        weights=[[0.0]],
        input_current=1.0,
        mu=(4.0, 0.0),
        sigma=0.4,
        v_reset=0.0,
        alpha=0.03,
        intensity=ExponentialIntensity(beta=3.0, v_th=1.0, tau=0.5, cap=1.0),
        diffusion=AffineDiffusion(offset=0.5, slope=1.0),
    )
    return [
        BenchmarkProblem(
            name="figure-1 neuron",
            network=figure1.network(sigma=0.5, current=1.5),
            t1=3.0,
            saveat=(0.5, 1.0, 2.0),
            spikes=3,
            capacity=32,
            dt=0.1,
            levels=6 if quick else 12,
            reference="shark",
            reference_level=9 if quick else 14,
            samples=400 // fewer,
            bias_samples=120_000 // fewer,
            bias_levels=4 if quick else 6,
            bias_reference_level=6,
        ),
        BenchmarkProblem(
            name="20 recurrent neurons",
            network=recurrent,
            t1=1.0,
            saveat=(0.25, 0.5, 1.0),
            spikes=1,
            capacity=640,
            dt=0.05,
            levels=4 if quick else 9,
            reference="shark",
            reference_level=7 if quick else 11,
            samples=100 // fewer,
            bias_samples=4000 // fewer,
            bias_levels=3 if quick else 4,
            bias_reference_level=5,
        ),
        BenchmarkProblem(
            name="multiplicative noise",
            network=multiplicative,
            t1=2.0,
            saveat=(0.5, 1.0, 2.0),
            spikes=1,
            capacity=200,
            dt=0.1,
            levels=6 if quick else 11,
            reference="milstein",
            reference_level=9 if quick else 14,
            samples=600 // fewer,
            bias_samples=40_000 // fewer,
            bias_levels=3 if quick else 5,
            bias_reference_level=8,
        ),
    ]


@dataclass
class Point:
    """One solver at one step."""

    problem: str
    solver: str
    dt: float
    seconds: float  # of one sample, without and
    gradient_seconds: float  # with its tangent
    errors: dict[str, float] = field(default_factory=dict)
    standard_errors: dict[str, float] = field(default_factory=dict)

    def cost(self, name: str) -> float:
        """Seconds of one sample with what the quantity needs."""
        return self.gradient_seconds if "gradient" in name else self.seconds


@dataclass(frozen=True)
class _Measures:
    """What is compared of a solution."""

    v: Array  # (S, T, N)
    spikes: Array  # (S, N, n), t1 where there are fewer
    gradients: Array  # of these in the direction of all input currents


def _solve(
    problem: BenchmarkProblem, solver: str, level: int, samples: int, tangent: bool = True, **arguments: Any
) -> Solution:
    """One solve, with its tangent in the direction of all input currents."""
    # Without a limit on spikes the engine would solve twice, to find out.
    checked, engine = prepare(
        problem.network,
        problem.t1,
        problem.dt / 2**level,
        num_samples=samples,
        solver=solver,
        max_spikes=problem.capacity,
        **arguments,
    )
    directions = {"input_current": np.ones((1, *problem.network.parameters["input_current"].shape))}
    raw = engines.engine_for(engine, checked).solve(checked, directions if tangent else None)
    solution = Solution(checked, engine, raw)
    if solution.truncated.any():
        raise SSNNError(f"a sample of {problem.name} has more than {problem.capacity} spikes")
    return solution


def _measures(
    problem: BenchmarkProblem, solver: str, level: int, samples: int, seed: int, executor: Any = None
) -> _Measures:
    parts = []
    for first in range(0, samples, _CHUNK):
        count = min(_CHUNK, samples - first)
        solution = _solve(
            problem,
            solver,
            level,
            count,
            noise_dt=problem.dt,
            saveat=problem.saveat,
            seed=seed,
            first_sample=first,
            executor=executor,
        )
        assert solution.raw.tangents is not None
        trains = solution.spike_trains
        columns = trains.first_spike_columns(problem.spikes)
        tangents = np.pad(solution.raw.tangents.spike_times[0], ((0, 0), (0, 1)))  # the last column, −1, is zero
        gradients = np.take_along_axis(tangents, columns.reshape(count, -1), axis=1).reshape(columns.shape)
        parts.append((solution.v, trains.at_columns(columns), gradients))
    return _Measures(*(np.concatenate(part) for part in zip(*parts, strict=True)))


def _cost(problem: BenchmarkProblem, solver: str, level: int) -> tuple[float, float]:
    """Seconds for one sample on one thread, without and with a tangent: the best of a few runs."""
    samples = max(8, 4000 // (2**level * problem.network.num_neurons))
    best = []
    for tangent in (False, True):
        times = []
        for _ in range(6):  # the first warms up
            begin = time.perf_counter()
            _solve(problem, solver, level, samples, tangent, threads=1)
            times.append(time.perf_counter() - begin)
        best.append(min(times[1:]) / samples)
    return best[0], best[1]


def measure(
    problem: BenchmarkProblem,
    seed: int = 0,
    say: Callable[[str], None] = lambda line: None,
    executor: Any = None,
) -> list[Point]:
    """All solvers at all steps of one problem; errors by the workers of an `executor`, costs by this process."""
    say(f"{problem.name}: reference")
    exact = _measures(problem, problem.reference, problem.reference_level, problem.samples, seed, executor)
    fine = "exact_ou" if problem.network.diffusion.additive else problem.reference
    unbiased = _measures(problem, fine, problem.bias_reference_level, problem.bias_samples, seed + 1, executor)
    points = []
    for solver in problem.solvers:
        native = solver in SOLVERS
        samples = problem.samples if native else max(2, problem.samples // _SCIML_SHARE)
        for level in range(problem.levels):
            say(f"{problem.name}: {solver}, dt = {problem.dt / 2**level:.4g}")
            point = Point(problem.name, solver, problem.dt / 2**level, *_cost(problem, solver, level))
            points.append(point)
            near = _measures(problem, solver, level, samples, seed, executor)
            for name, difference in (
                ("potential", near.v - exact.v[:samples]),
                ("spike_times", near.spikes - exact.spikes[:samples]),
                ("gradient", near.gradients - exact.gradients[:samples]),
            ):
                _note(point, name, np.abs(difference).reshape(samples, -1).mean(axis=1))
            reached = any(
                _bound(other, "gradient_bias") < _GOALS["gradient_bias"]
                for other in points[:-2]
                if other.solver == solver
            )
            if native and level < problem.bias_levels and not reached:
                near = _measures(problem, solver, level, problem.bias_samples, seed + 1, executor)
                _note(point, "spike_bias", (near.spikes - unbiased.spikes).mean(axis=(1, 2)))
                _note(point, "gradient_bias", (near.gradients - unbiased.gradients).mean(axis=(1, 2)))
    return points


def _note(point: Point, name: str, per_sample: Array) -> None:
    point.errors[name] = abs(float(per_sample.mean()))
    point.standard_errors[name] = float(per_sample.std()) / math.sqrt(per_sample.size)


def _bound(point: Point, name: str) -> float:
    """The error, or two standard errors if it is hidden by noise; infinite where it was not measured."""
    return max(point.errors[name], 2 * point.standard_errors[name]) if name in point.errors else math.inf


def _seen(points: Sequence[Point], name: str) -> list[Point]:
    return [point for point in points if name in point.errors and point.errors[name] > 4 * point.standard_errors[name]]


def fitted_order(points: Sequence[Point], name: str) -> float:
    """Slope of log error over log step, by least squares; NaN where noise hides the errors.

    Only errors of at least four standard errors count: of these the strong ones at the four finest steps, and the
    biases, which are seen at coarse steps only, at all but the coarsest.
    """
    seen = _seen(points, name)
    seen = seen[-4:] if name in STRONG else seen[1:] if len(seen) > 3 else seen
    if len(seen) < 2:
        return math.nan
    x, y = (np.log([point.dt for point in seen]), np.log([point.errors[name] for point in seen]))
    weights = np.array([point.errors[name] / max(point.standard_errors[name], 1e-300) for point in seen])
    return float(np.polyfit(x, y, 1, w=np.minimum(weights, 50.0))[0])


def seconds_at(points: Sequence[Point], name: str, goal: float, additive: bool = True) -> tuple[float, bool]:
    """What a sample costs at the error `goal`, and whether that is an extrapolation to finer steps than were tried.

    Interpolated between steps on logarithmic scales. An error hidden by noise counts as two standard errors; NaN where
    this says nothing of the goal.
    """
    known = [p for p in points if 0.0 < _bound(p, name) < math.inf]
    costs = [math.log(p.cost(name)) for p in known]
    errors = [math.log(_bound(p, name) / goal) for p in known]
    if not known:
        return math.nan, False
    if errors[0] <= 0:
        return math.exp(costs[0]), False
    for place in range(1, len(known)):
        if errors[place] <= 0 < errors[place - 1]:
            part = errors[place - 1] / (errors[place - 1] - errors[place])
            return math.exp((1 - part) * costs[place - 1] + part * costs[place]), False
    # Beyond the finest error that can be seen: by the stated order, or else the fitted one, and at a constant cost of a
    # step.
    seen = _seen(points, name)
    order = theory(points[0].solver, name, additive) or fitted_order(points, name)
    if len(seen) < 2 or not order > 0:
        return math.nan, True
    earlier, last = seen[-2:]
    finer = (last.errors[name] / goal) ** (1 / order)
    return last.cost(name) + max(0.0, last.cost(name) - earlier.cost(name)) * 2 * (finer - 1), True


def table(points: Sequence[Point], problem: BenchmarkProblem) -> str:
    """Measured orders of one problem, in brackets those of theory, and costs at given errors."""
    additive = problem.network.diffusion.additive
    lines = [f"{problem.name}: fitted orders (theory)"]
    lines.append(f"{'':16}" + "".join(f"{name.replace('_', ' '):>16}" for name in QUANTITIES))
    for solver in problem.solvers:
        mine = [point for point in points if point.problem == problem.name and point.solver == solver]
        cells = []
        for name in QUANTITIES:
            order, stated = fitted_order(mine, name), theory(solver, name, additive)
            cells.append(
                ("–" if math.isnan(order) else f"{order:.2f}") + (f" ({stated:g})" if stated is not None else "")
            )
        lines.append(f"{solver:16}" + "".join(f"{cell:>16}" for cell in cells))
    for name, goal in _GOALS.items():
        measured = [point for point in points if point.problem == problem.name and name in point.errors]
        costs = {
            solver: seconds_at([point for point in measured if point.solver == solver], name, goal, additive)
            for solver in dict.fromkeys(point.solver for point in measured)
        }
        known = {solver: cost for solver, cost in costs.items() if not math.isnan(cost[0])}
        if not known:
            continue
        listed = ", ".join(f"{solver} {1e6 * cost:.3g}{'*' * far}" for solver, (cost, far) in known.items())
        hidden = ", ".join(solver for solver in costs if solver not in known)
        if hidden:
            verdict = f"noise hides that of {hidden}"
        else:
            best = min(known, key=lambda solver: known[solver][0])
            ratio = known["euler_maruyama"][0] / known[best][0]
            verdict = best if best == "euler_maruyama" else f"{best}, {ratio:.1f} × cheaper than euler_maruyama"
        lines.append(f"{QUANTITIES[name]} of {goal:g}: {verdict} (µs per sample: {listed}; * extrapolated)")
    return "\n".join(lines)


def save_points(points: Sequence[Point], path: Path) -> None:
    """One CSV row per problem, solver and step."""
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        names = [f"{name}{suffix}" for name in QUANTITIES for suffix in ("", "_standard_error")]
        writer.writerow(["problem", "solver", "dt", "seconds", "gradient_seconds", *names])
        for point in points:
            cells: list[Any] = [point.problem, point.solver, point.dt, point.seconds, point.gradient_seconds]
            for name in QUANTITIES:
                cells += [point.errors.get(name, ""), point.standard_errors.get(name, "")]
            writer.writerow([f"{cell:.6g}" if isinstance(cell, float) else cell for cell in cells])


def plot(points: Sequence[Point], chosen: Sequence[BenchmarkProblem], paths: Sequence[Path]) -> None:
    """A row per problem, a column per quantity: error against the cost of one sample."""
    from matplotlib import colormaps
    from matplotlib.ticker import NullFormatter

    from ..plotting import figure, save

    fig, axes = figure(len(chosen), len(QUANTITIES), width=3.4, height=2.8)
    names = dict.fromkeys(point.solver for point in points)
    markers = dict(zip(names, itertools.cycle("osD^v<>PXh")))
    colors = dict(zip(names, itertools.cycle(colormaps["tab10"].colors)))  # type: ignore[attr-defined]
    for row, problem in zip(axes, chosen, strict=True):
        for ax, (name, title) in zip(row, QUANTITIES.items(), strict=True):
            for solver in problem.solvers:
                mine = [p for p in points if p.problem == problem.name and p.solver == solver and name in p.errors]
                x = [1e6 * p.cost(name) for p in mine]
                y = [p.errors[name] for p in mine]
                ax.plot(x, y, marker=markers[solver], markersize=4, color=colors[solver], label=solver)
                if "bias" in name:
                    bars = [2 * p.standard_errors[name] for p in mine]
                    ax.errorbar(x, y, yerr=bars, fmt="none", color=colors[solver], linewidth=0.8)
            ax.set(xscale="log", yscale="log")
            ax.xaxis.set_minor_formatter(NullFormatter())
            ax.yaxis.set_minor_formatter(NullFormatter())
            if "bias" in name:
                low = min(p.standard_errors[name] for p in points if p.problem == problem.name and name in p.errors)
                ax.set_ylim(bottom=low)
            if problem is chosen[0]:
                ax.set_title(title)
            if problem is chosen[-1]:
                ax.set_xlabel("µs per sample" + (" and tangent" if "gradient" in name else ""))
        row[0].set_ylabel(problem.name)
    fig.legend(*axes[0][0].get_legend_handles_labels(), loc="outside right upper", fontsize=8, frameon=False)
    save(fig, paths)


def run(out: Path, quick: bool = False, seed: int = 0, progress: bool = True, executor: Any = None) -> list[Point]:
    """Measure all problems, print the tables, and write solvers.png and .csv to `out`; quick: solvers_quick.

    Errors are measured by the workers of an `executor`, if there is one, and costs by this process.
    """
    from tqdm import tqdm

    out.mkdir(parents=True, exist_ok=True)
    chosen = problems(quick)
    total = sum(1 + len(problem.solvers) * problem.levels for problem in chosen)
    points: list[Point] = []
    with tqdm(total=total, disable=not progress) as bar:

        def say(line: str) -> None:
            bar.set_description(line)
            bar.update()

        for problem in chosen:
            points += measure(problem, seed, say, executor)
            bar.write(table(points, problem) + "\n")
    stem = "solvers_quick" if quick else "solvers"
    plot(points, chosen, [out / f"{stem}.png"])
    save_points(points, out / f"{stem}.csv")
    print(f"{stem}.png and {stem}.csv are in {out}")
    return points
