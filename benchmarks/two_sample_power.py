"""How often the default two-sample test finds 5 against 7 spikes per unit of time, and 5 against 5.

Poisson trains of unit length, 30 of each, as often as is asked for. Prints the power and the level at 0.05, each with
its standard error:

    python benchmarks/two_sample_power.py [REPEATS]
"""

from __future__ import annotations

import sys
import time

import numpy as np

import ssnn_py as ssnn

TRAINS, RATES = 30, (5.0, 7.0)


def poisson(rng: np.random.Generator, rate: float) -> ssnn.SpikeTrains:
    """Independent Poisson trains on [0, 1]."""
    samples = [[np.sort(rng.uniform(size=count))] for count in rng.poisson(rate, TRAINS)]
    return ssnn.SpikeTrains.from_lists(samples, 0.0, 1.0)


def rejections(repeats: int, rates: tuple[float, float], seed: int) -> float:
    """The fraction of tests with a p-value of at most 0.05."""
    found = 0
    for repeat in range(repeats):
        rng = np.random.default_rng([seed, repeat])
        found += ssnn.two_sample_test(*(poisson(rng, rate) for rate in rates), seed=repeat).p_value <= 0.05
    return found / repeats


def main() -> None:
    repeats = int(sys.argv[1]) if len(sys.argv) > 1 else 400
    print(f"{TRAINS} trains each, {repeats} repeats, default two_sample_test at 0.05")
    for what, rates in (("power", RATES), ("level", (RATES[0], RATES[0]))):
        begin = time.perf_counter()
        fraction = rejections(repeats, rates, seed=16)
        error = (fraction * (1 - fraction) / repeats) ** 0.5
        seconds = (time.perf_counter() - begin) / repeats
        print(
            f"{what}: {rates[0]:g} against {rates[1]:g}: {fraction:.3f} ± {error:.3f} ({seconds:.2f} s each)",
            flush=True,
        )


if __name__ == "__main__":
    main()
