"""Figure 1 of Holberg and Salvi (NeurIPS 2024): recover the input current of one neuron from its spike trains.

For two noise levels and four sample sizes, the constant current c is fitted by stochastic gradient descent on the
expected-signature loss, every step with fresh noise.
"""

from __future__ import annotations

import csv
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..intensities import ExponentialIntensity
from ..losses import ExpectedSignatureLoss, FirstSpikeLoss, Loss
from ..optimizers import RMSProp
from ..simulation import simulate
from ..slif import SLIFNetwork
from ..training import FitResult, fit

TRUE_CURRENT = 1.5
SIGMAS = (0.25, 0.5)
SAMPLE_SIZES = (16, 32, 64, 128)
STEPS, QUICK_STEPS = 1500, 150
NUM_SPIKES = 3
SIMULATION: dict[str, Any] = {"t1": 5.0, "dt": 0.01, "max_spikes": NUM_SPIKES}
LOSSES = ("signature", "first_spikes")


@dataclass(frozen=True)
class Run:
    """One line of the figure: a noise level and a sample size."""

    sigma: float
    num_samples: int
    start: float
    result: FitResult

    @property
    def estimates(self) -> NDArray[np.float64]:
        """c before every step, and at last."""
        last = self.result.network.parameters["input_current"]
        return np.append(self.result.history["input_current"], last)

    @property
    def test_loss(self) -> NDArray[np.float64]:
        return self.result.history["test_loss"]


def network(sigma: float, current: float) -> SLIFNetwork:
    """The neuron of figure 1."""
    return SLIFNetwork(
        weights=np.zeros((1, 1)),
        input_current=current,
        mu=(15.0, 0.0),
        sigma=sigma,
        v_reset=1.4,
        alpha=0.03,
        intensity=ExponentialIntensity(beta=5.0, v_th=1.0, tau=1.0, cap=10.0),
    )


def run(
    quick: bool = False,
    loss: str = "signature",
    seed: int = 0,
    sigmas: Sequence[float] = SIGMAS,
    sample_sizes: Sequence[int] = SAMPLE_SIZES,
    progress: bool = True,
    gradient: str = "pathwise",
    executor: Any = None,
) -> list[Run]:
    """Fit every setting, each from a start of its own.

    `gradient` "pathwise" is the published setting, whose signature loss matches spikes; "unbiased" compares all of
    them. The workers of an `executor`, if there is one, simulate.
    """
    criterion: Loss = FirstSpikeLoss(n=NUM_SPIKES)
    if loss == "signature":
        criterion = ExpectedSignatureLoss(depth=3, match_spikes=gradient == "pathwise")
    runs = []
    for sigma in sigmas:
        for size in sample_sizes:
            start = float(np.random.default_rng([seed, size, round(100 * sigma)]).uniform(0.5, 2.5))
            truth = network(sigma, TRUE_CURRENT)
            # Data and hold-out are samples of one solution, so they never share noise with each other.
            recorded = simulate(truth, num_samples=2 * size, seed=2**32 + seed, **SIMULATION).spike_trains
            result = fit(
                network(sigma, start),
                recorded[:size],
                criterion,
                wrt="input_current",
                gradient=gradient,
                steps=QUICK_STEPS if quick else STEPS,
                # The quick version takes ten times the rate: a tenth of the steps, the same distance.
                optimizer=RMSProp(1e-2 if quick else 1e-3, decay=0.7, momentum=0.3),
                seed=seed,
                test_loss=FirstSpikeLoss(n=NUM_SPIKES, kind="mae"),
                test_data=recorded[size:],
                progress=progress,
                executor=executor,
                **SIMULATION,
            )
            runs.append(Run(sigma, size, start, result))
    return runs


def save_histories(runs: Sequence[Run], path: Path) -> None:
    """One CSV row per setting and step."""
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["sigma", "num_samples", "step", "loss", "test_loss", "c"])
        for line in runs:
            history = line.result.history
            for step, values in enumerate(zip(history["loss"], line.test_loss, line.estimates, strict=False)):
                writer.writerow([line.sigma, line.num_samples, step, *(f"{value:.10g}" for value in values)])


def plot(runs: Sequence[Run], paths: Sequence[Path]) -> None:
    """Left the test loss, right the estimate of c; a row per noise level, a line per sample size."""
    from ..plotting import figure, legend_beside, running_mean, sample_size_color, save

    sigmas = sorted({line.sigma for line in runs})
    fig, axes = figure(len(sigmas), 2)
    for row, sigma in zip(axes, sigmas, strict=True):
        for line in (line for line in runs if line.sigma == sigma):
            color = sample_size_color(line.num_samples, SAMPLE_SIZES)
            smooth = running_mean(line.test_loss, max(1, line.test_loss.size // 75))
            row[0].plot(smooth, color=color)
            row[1].plot(line.estimates, color=color, label=f"{line.num_samples} samples")
        row[0].set(yscale="log", ylabel=f"σ = {sigma}")
        row[1].axhline(TRUE_CURRENT, color="0.3", linewidth=0.8, linestyle="--", zorder=0, label="true value")
    legend_beside(axes[0][1])
    axes[0][0].set_title(f"Test loss (first {NUM_SPIKES} mean spike times)")
    axes[0][1].set_title("Estimate of the input current c")
    for ax in axes[-1]:
        ax.set_xlabel("training step")
    save(fig, paths)


def table(runs: Sequence[Run]) -> str:
    """Final estimate and test loss per setting, as the mean over the last fiftieth of the steps."""
    lines = [f"{'sigma':>6} {'samples':>8} {'start':>8} {'final c':>9} {'|c - 1.5|':>10} {'test loss':>10}"]
    for line in runs:
        tail = max(1, line.test_loss.size // 50)
        final = line.estimates[-tail:].mean()
        lines.append(
            f"{line.sigma:6.2f} {line.num_samples:8d} {line.start:8.4f} {final:9.4f} {abs(final - TRUE_CURRENT):10.4f} "
            f"{line.test_loss[-tail:].mean():10.5f}"
        )
    return "\n".join(lines)


def reproduce(
    out: Path,
    quick: bool = False,
    loss: str = "signature",
    seed: int = 0,
    progress: bool = True,
    gradient: str = "pathwise",
    executor: Any = None,
) -> list[Run]:
    """Run all settings, print the table, and write figure1.png, .pdf and .csv to `out`; quick: figure1_quick."""
    out.mkdir(parents=True, exist_ok=True)
    begin = time.perf_counter()
    runs = run(quick, loss, seed, progress=progress, gradient=gradient, executor=executor)
    seconds = time.perf_counter() - begin
    stem = "figure1" if loss == "signature" else f"figure1_{loss}"
    stem += "" if gradient == "pathwise" else f"_{gradient}"
    stem += "_quick" if quick else ""
    plot(runs, [out / f"{stem}.png", out / f"{stem}.pdf"])
    save_histories(runs, out / f"{stem}.csv")
    print(table(runs))
    steps = runs[0].test_loss.size
    print(f"{len(runs)} settings of {steps} steps in {seconds:.1f} s; {stem}.png, .pdf and .csv are in {out}")
    return runs
