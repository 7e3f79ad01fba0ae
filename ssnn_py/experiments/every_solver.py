"""Every solver of DifferentialEquations.jl on the neuron of figure 1, beside the native ones: error against cost.

With fixed steps, and with adaptive ones where a solver has them. All follow the Brownian paths of a native solve at a
very fine step; times are processor times of solves of their own on one thread, whose noise is laid out on the solver's
step.
"""

from __future__ import annotations

import csv
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..engine import sciml
from ..simulation import simulate
from ..solvers import SCIML, SOLVERS
from . import work_precision
from .work_precision import Array, BenchmarkProblem

#: Levels of fixed steps, dt/2^level of the problem's dt; the first is also the level of the first adaptive step.
LEVELS = (3, 6)
#: abstol and reltol of adaptive steps.
TOLERANCES = (1e-2, 1e-3, 1e-4)


@dataclass(frozen=True)
class Setting:
    """A step, fixed or the first one of adaptive ones; `tolerance` is abstol and reltol of these."""

    dt: float
    tolerance: float | None = None

    @property
    def options(self) -> dict[str, Any]:
        """What :func:`simulate` is given for it."""
        if self.tolerance is None:
            return {"dt": self.dt}
        return {"dt": self.dt, "adaptive": True, "abstol": self.tolerance, "reltol": self.tolerance}

    def __str__(self) -> str:
        return f"dt = {self.dt:.4g}" if self.tolerance is None else f"tolerance {self.tolerance:g}"


@dataclass(frozen=True)
class Row:
    """One solver in one setting: mean error of spike times and of potentials, and processor seconds of a sample."""

    solver: str
    setting: Setting
    spike_times: float
    standard_error: float
    potential: float
    seconds: float


def settings(problem: BenchmarkProblem) -> list[Setting]:
    """Fixed steps first."""
    steps = [problem.dt / 2**level for level in LEVELS]
    return [Setting(dt) for dt in steps] + [Setting(steps[0], tolerance) for tolerance in TOLERANCES]


def takes(solver: str, setting: Setting) -> bool:
    """Whether a solver can be run like that."""
    return setting.tolerance is None or (solver.startswith(SCIML) and sciml.TABLE[solver.removeprefix(SCIML)].adaptive)


def _solve(problem: BenchmarkProblem, solver: str, samples: int, seed: int, **options: Any) -> tuple[Array, Array]:
    """Spike times that are compared, (S, N, n), and potentials at fixed times, (S, T, N)."""
    solution = simulate(
        problem.network,
        t1=problem.t1,
        num_samples=samples,
        solver=solver,
        seed=seed,
        saveat=problem.saveat,
        max_spikes=problem.capacity,
        **options,
    )
    trains = solution.spike_trains
    assert solution.v is not None
    return trains.at_columns(trains.first_spike_columns(problem.spikes)), solution.v


def _seconds(problem: BenchmarkProblem, solver: str, samples: int, seed: int, setting: Setting) -> float:
    """Processor seconds of one sample: the best of a few runs, after one that warms up."""
    times = []
    for _ in range(4):
        begin = time.process_time()
        _solve(problem, solver, samples, seed, threads=1, **setting.options)
        times.append(time.process_time() - begin)
    return min(times[1:]) / samples


def measure(
    problem: BenchmarkProblem,
    solvers: Sequence[str],
    samples: int,
    seed: int = 0,
    say: Callable[[str], None] = lambda line: None,
) -> list[Row]:
    """All solvers in all settings that they take."""
    say("reference")
    fine = problem.dt / 2**problem.reference_level
    exact = _solve(problem, problem.reference, samples, seed, dt=fine, noise_dt=problem.dt)
    rows = []
    for solver in solvers:
        say(solver)
        for setting in settings(problem):
            if not takes(solver, setting):
                continue
            near = _solve(problem, solver, samples, seed, noise_dt=problem.dt, **setting.options)
            spikes, potentials = (
                np.abs(a - b).reshape(samples, -1).mean(axis=1) for a, b in zip(near, exact, strict=True)
            )
            rows.append(
                Row(
                    solver,
                    setting,
                    float(spikes.mean()),
                    float(spikes.std()) / math.sqrt(samples),
                    float(potentials.mean()),
                    _seconds(problem, solver, min(samples, 8), seed, setting),
                )
            )
    return rows


def table(rows: Sequence[Row], problem: BenchmarkProblem) -> str:
    """A line per solver, and per setting the error of spike times and the time of a sample."""
    columns = settings(problem)
    lines = ["", f"{problem.name}: error of spike times, µs per sample"]
    lines.append(f"{'':24}" + "".join(f"{setting!s:>20}" for setting in columns))
    for solver in dict.fromkeys(row.solver for row in rows):
        cells = {row.setting: f"{row.spike_times:.1e} {1e6 * row.seconds:8.0f}" for row in rows if row.solver == solver}
        lines.append(f"{solver:24}" + "".join(f"{cells.get(setting, '–'):>20}" for setting in columns))
    return "\n".join(lines)


def save_rows(rows: Sequence[Row], path: Path) -> None:
    """One CSV row per solver and setting."""
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["solver", "dt", "tolerance", "spike_times", "standard_error", "potential", "seconds"])
        for row in rows:
            numbers = (row.spike_times, row.standard_error, row.potential, row.seconds)
            tolerance = "" if row.setting.tolerance is None else f"{row.setting.tolerance:g}"
            writer.writerow([row.solver, f"{row.setting.dt:g}", tolerance, *(f"{number:.6g}" for number in numbers)])


def read_rows(path: Path) -> list[Row]:
    """What :func:`save_rows` wrote."""
    with path.open(newline="") as file:
        return [
            Row(
                row["solver"],
                Setting(float(row["dt"]), float(row["tolerance"]) if row["tolerance"] else None),
                *(float(row[name]) for name in ("spike_times", "standard_error", "potential", "seconds")),
            )
            for row in csv.DictReader(file)
        ]


# Solvers whose lines are named and coloured; the others are grey.
_NAMED = ("EM", "RKMil", "SRIW1", "SOSRI", "SRA1", "SOSRA2", "ImplicitEM", "SKenCarp")


def plot(rows: Sequence[Row], paths: Sequence[Path]) -> None:
    """Error of spike times against the cost of a sample: fixed steps to the left, adaptive ones to the right."""
    from matplotlib import colormaps

    from ..plotting import figure, save

    fig, axes = figure(1, 2, width=5.4, height=4.4)
    colors = iter([*colormaps["tab10"].colors, *colormaps["Dark2"].colors])  # type: ignore[attr-defined]
    names = dict.fromkeys(row.solver for row in rows)
    style: dict[str, dict[str, Any]] = {}
    for name in sorted(names, key=lambda name: (name.startswith(SCIML), name)):
        if name in SOLVERS:
            style[name] = {"color": next(colors), "marker": "o", "linewidth": 2.0, "label": name, "zorder": 3}
        elif name.removeprefix(SCIML) in _NAMED:
            style[name] = {"color": next(colors), "marker": "^", "linewidth": 1.2, "label": name, "zorder": 2}
        else:
            style[name] = {"color": "0.75", "marker": ".", "linewidth": 0.8, "zorder": 1}
    for ax, kind, title in zip(axes[0], (False, True), ("fixed steps", "adaptive steps"), strict=True):
        for name, options in style.items():
            mine = [row for row in rows if row.solver == name and bool(row.setting.tolerance) is kind]
            if kind and name in SOLVERS:  # for comparison
                mine, options = [row for row in rows if row.solver == name], {**options, "linestyle": ":", "alpha": 0.6}
            ax.plot([1e6 * row.seconds for row in mine], [row.spike_times for row in mine], markersize=4.5, **options)
        ax.set(xscale="log", yscale="log", xlabel="µs per sample", title=title)
    axes[0][1].sharex(axes[0][0])
    axes[0][1].sharey(axes[0][0])
    axes[0][0].set_ylabel("mean error of spike times")
    axes[0][0].plot([], [], color="0.75", marker=".", label="other sciml solvers")
    handles, labels = axes[0][0].get_legend_handles_labels()
    fig.legend(handles, labels, loc="outside right center", fontsize=8, frameon=False)
    save(fig, paths)


def run(out: Path, quick: bool = False, seed: int = 0, progress: bool = True) -> list[Row]:
    """Measure, print the table, and write every_solver.png and .csv to `out`; quick: every_solver_quick."""
    from tqdm import tqdm

    out.mkdir(parents=True, exist_ok=True)
    problem = work_precision.problems(quick)[0]
    solvers = [*SOLVERS, *(SCIML + name for name in sciml.TABLE)]
    with tqdm(total=1 + len(solvers), disable=not progress) as bar:

        def say(line: str) -> None:
            bar.set_description(line)
            bar.update()

        rows = measure(problem, solvers, 20 if quick else 100, seed, say)
    print(table(rows, problem))
    stem = "every_solver_quick" if quick else "every_solver"
    save_rows(rows, out / f"{stem}.csv")
    plot(rows, [out / f"{stem}.png"])
    return rows
