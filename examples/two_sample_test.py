"""Do two sets of recordings differ? A permutation test by the signature MMD, and how its power grows with the data.
Ends in two_sample_test.png.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import ssnn_py as ssnn
from ssnn_py import plotting

RUN = {"t1": 1.0, "dt": 0.01}
SIZES = (10, 20, 40, 80)


def network(weight: float) -> ssnn.SLIFNetwork:
    """Two neurons; the first excites the second with the given weight."""
    return ssnn.SLIFNetwork([[0.0, weight], [0.0, 0.0]], [1.4, 1.0], (6.0, 5.0), 0.3, v_reset=1.2)


def power(weight: float, size: int, repeats: int, level: float = 0.05) -> float:
    """How often the test tells `weight` from no weight, with so many recordings of each."""
    trains = [
        ssnn.simulate(network(w), num_samples=size * repeats, seed=seed, **RUN).spike_trains
        for w, seed in ((0.0, 1), (weight, 2))
    ]
    scales = ssnn.median_scales(trains[0])
    found = 0
    for k in range(repeats):
        part = slice(k * size, (k + 1) * size)
        found += (
            ssnn.two_sample_test(trains[0][part], trains[1][part], num_permutations=200, seed=k, scales=scales).p_value
            <= level
        )
    return found / repeats


def main(out: Path, quick: bool) -> None:
    repeats = 2 if quick else 30
    fig, axes = plotting.figure(1, 1, width=6.4, height=3.2)
    ax = axes[0, 0]
    for weight, color in ((0.0, "0.6"), (0.5, "tab:blue"), (1.0, "tab:red")):
        rates = [power(weight, size, repeats) for size in SIZES]
        ax.plot(SIZES, rates, "o-", color=color, label=f"weight {weight} against 0")
        print(
            f"weight {weight}: found different in "
            f"{', '.join(f'{rate:.0%} of {size}' for size, rate in zip(SIZES, rates, strict=True))}"
        )
    ax.axhline(0.05, color="0.3", linewidth=0.8, linestyle="--", label="level of the test")
    ax.set(xlabel="recordings of each", ylabel="fraction of tests with p ≤ 0.05", xscale="log", ylim=(-0.03, 1.03))
    ax.set_xticks(SIZES, [str(size) for size in SIZES])
    ax.set_xticks([], minor=True)
    plotting.legend_beside(ax)
    out.mkdir(parents=True, exist_ok=True)
    plotting.save(fig, [out / "two_sample_test.png"])
    print(f"two_sample_test.png is in {out}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("out"))
    parser.add_argument("--quick", action="store_true", help="fewer tests: a few seconds")
    arguments = parser.parse_args()
    main(arguments.out, arguments.quick)
