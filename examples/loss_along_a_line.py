"""Two losses along a line of parameters, with the noise frozen: what happens where the number of spikes changes. Ends in loss_along_a_line.png."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

import ssnn_py as ssnn
from ssnn_py import plotting

RUN = {"t1": 1.0, "dt": 0.01, "seed": 0}


def network(current: float) -> ssnn.SLIFNetwork:
    return ssnn.SLIFNetwork([[0.0]], input_current=current, mu=(15.0, 0.0), sigma=0.5, v_reset=1.4)


def curves(currents: np.ndarray, loss: ssnn.Loss, data: ssnn.SpikeTrains) -> tuple[np.ndarray, ...]:
    """Loss of one sample, its pathwise derivative, and the number of spikes, at every current."""
    values, slopes, counts = [], [], []
    for current in currents:
        solution = ssnn.simulate(network(current), **RUN)
        result = loss(solution, data)
        values.append(result.value)
        slopes.append(float(solution.vjp(result.spike_times_bar, "input_current")["input_current"]))
        counts.append(solution.num_spikes[0])
    return np.array(values), np.array(slopes), np.array(counts)


def main(out: Path) -> None:
    data = ssnn.simulate(network(1.5), num_samples=512, **{**RUN, "seed": 1}).spike_trains
    losses = {
        "Expected signature: jumps": ssnn.ExpectedSignatureLoss(depth=2, match_spikes=False),
        "First spikes: kinks": ssnn.FirstSpikeLoss(n=5),
    }
    currents = np.linspace(1.2, 1.9, 561)
    fig, axes = plotting.figure(1, 2, width=5.0, height=3.2)
    for ax, (title, loss) in zip(axes[0], losses.items(), strict=True):
        values, slopes, counts = curves(currents, loss, data)
        jumps = np.flatnonzero(np.diff(counts) != 0)
        for piece in np.split(np.arange(currents.size), jumps + 1):
            ax.plot(currents[piece], values[piece], color="0.2", linewidth=1.2)
        for jump in jumps:
            ax.axvline(currents[jump], color="0.85", linewidth=0.8, zorder=0)
        for k in range(40, currents.size, 60):
            ends = currents[k] + 0.02 * np.array([-1.0, 1.0])
            ax.plot(ends, values[k] + slopes[k] * (ends - currents[k]), color="tab:red", linewidth=2.0)
        ax.set(xlabel="input current c", ylabel="loss of one sample", title=title)
    out.mkdir(parents=True, exist_ok=True)
    plotting.save(fig, [out / "loss_along_a_line.png"])
    print(
        f"black: loss; red: pathwise derivative; grey: the number of spikes changes; loss_along_a_line.png is in {out}"
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("out"))
    main(parser.parse_args().out)
