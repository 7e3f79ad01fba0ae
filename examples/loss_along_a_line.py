"""Two losses along a line of parameters: one sample with its noise frozen, and the mean over samples with both
gradients. Ends in loss_along_a_line.png.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

import ssnn_py as ssnn
from ssnn_py import plotting

RUN = {"t1": 1.0, "dt": 0.01}
COLORS = {"pathwise": "tab:red", "unbiased": "tab:blue"}
WIDTHS = {"pathwise": 4.5, "unbiased": 2.0}  # both are seen where they agree


def network(current: float) -> ssnn.SLIFNetwork:
    return ssnn.SLIFNetwork([[0.0]], input_current=current, mu=(15.0, 0.0), sigma=0.5, v_reset=1.4)


class OneByOne(ssnn.Loss):
    """The mean over samples of a loss of each sample by itself."""

    def __init__(self, loss: ssnn.Loss) -> None:
        self.loss = loss

    def each(self, generated: ssnn.SpikeTrains, data: ssnn.SpikeTrains) -> list[ssnn.LossValue]:
        return [self.loss(generated[s], data) for s in range(len(generated))]

    def __call__(self, generated: ssnn.Solution, data: ssnn.SpikeTrains) -> ssnn.LossValue:
        results = self.each(generated.spike_trains, data)
        bars = np.concatenate([result.spike_times_bar for result in results]) / len(results)
        return ssnn.LossValue(float(np.mean([result.value for result in results])), bars)

    def exchange(self, generated: ssnn.Solution, data: ssnn.SpikeTrains, other: ssnn.Solution) -> np.ndarray:
        before, after = (self.each(batch.spike_trains, data) for batch in (generated, other))
        return np.array([b.value - a.value for a, b in zip(before, after, strict=True)]) / len(before)


def one_sample(ax: plotting.Axes, currents: np.ndarray, loss: ssnn.Loss, data: ssnn.SpikeTrains) -> None:
    """The loss of one sample, its pathwise derivative, and where its number of spikes changes."""
    solutions = [ssnn.simulate(network(current), **RUN) for current in currents]
    results = [loss(solution, data) for solution in solutions]
    jumps = np.flatnonzero(np.diff([solution.num_spikes[0] for solution in solutions]) != 0)
    for piece in np.split(np.arange(currents.size), jumps + 1):
        ax.plot(currents[piece], [results[k].value for k in piece], color="0.2", linewidth=1.2)
    for jump in jumps:
        ax.axvline(currents[jump], color="0.85", linewidth=0.8, zorder=0)
    for k in range(40, currents.size, 60):
        slope = solutions[k].vjp(results[k].spike_times_bar, "input_current")["input_current"]
        tick(ax, currents[k], results[k].value, slope, "pathwise")


def mean_over_samples(
    ax: plotting.Axes, currents: np.ndarray, loss: ssnn.Loss, data: ssnn.SpikeTrains, samples: int
) -> None:
    """The mean of the loss over samples, with common noise, and what both gradients say of it."""
    mean, run = OneByOne(loss), RUN | {"num_samples": samples}
    ax.plot(
        currents,
        [mean(ssnn.simulate(network(current), **run), data).value for current in currents],
        color="0.2",
        linewidth=1.2,
    )
    for current in currents[1::3]:
        for gradient in COLORS:
            value, slopes = ssnn.value_and_grad(
                mean, network(current), "input_current", data=data, gradient=gradient, **run
            )
            tick(ax, current, value, slopes["input_current"], gradient)


def tick(ax: plotting.Axes, current: float, value: float, slope: float, gradient: str) -> None:
    ends = current + 0.02 * np.array([-1.0, 1.0])
    ax.plot(
        ends,
        value + slope * (ends - current),
        color=COLORS[gradient],
        linewidth=WIDTHS[gradient],
        solid_capstyle="butt",
    )


def main(out: Path, samples: int = 1000) -> None:
    data = ssnn.simulate(network(1.5), num_samples=512, seed=1, **RUN).spike_trains
    losses = {
        "Expected signature": ssnn.ExpectedSignatureLoss(depth=2, match_spikes=False),
        "First spikes": ssnn.FirstSpikeLoss(n=5),
    }
    fig, axes = plotting.figure(2, 2, width=5.0, height=3.0)
    for (above, below), (title, loss) in zip(axes.T, losses.items(), strict=True):
        one_sample(above, np.linspace(1.2, 1.9, 561), loss, data)
        mean_over_samples(below, np.linspace(1.2, 1.9, 22), loss, data, samples)
        above.set(title=title, ylabel="loss of one sample")
        below.set(xlabel="input current c", ylabel=f"mean over {samples} samples")
    ax = axes[0, 1]
    ax.plot([], [], color="0.2", linewidth=1.2, label="loss")
    for gradient, color in COLORS.items():
        ax.plot([], [], color=color, linewidth=WIDTHS[gradient], label=f"{gradient} gradient")
    ax.plot([], [], color="0.85", linewidth=0.8, label="number of spikes changes")
    plotting.legend_beside(ax)
    out.mkdir(parents=True, exist_ok=True)
    plotting.save(fig, [out / "loss_along_a_line.png"])
    print(f"loss_along_a_line.png is in {out}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("out"))
    parser.add_argument("--samples", type=int, default=1000, help="samples of the means")
    given = parser.parse_args()
    main(given.out, given.samples)
