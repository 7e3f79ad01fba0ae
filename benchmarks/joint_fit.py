"""A joint fit of input currents, noise and weights of two neurons, from random starts, by the unbiased gradient and by
that of matched spikes.

Prints for each start the loss reached (mean over 100 fresh batches) as a multiple of the truth's own. Run with ``python
benchmarks/joint_fit.py [starts]``.
"""

from __future__ import annotations

import sys
import time

import numpy as np
from common import table

import ssnn_py as ssnn

RUN = {"t1": 1.0, "dt": 0.01}
SAMPLES = 128
RATES = ssnn.piecewise_constant({0: 2e-2, 700: 1e-2, 1200: 2e-3})


def network(current: np.ndarray, sigma: float, weights: np.ndarray) -> ssnn.SLIFNetwork:
    matrix = [[0.0, weights[0]], [weights[1], 0.0]]
    return ssnn.SLIFNetwork(matrix, current, mu=(15.0, 5.0), sigma=sigma, v_reset=1.4, alpha=0.03)


def start(trial: int) -> ssnn.SLIFNetwork:
    rng = np.random.default_rng(trial)
    return network(rng.uniform(0.8, 1.8, 2), rng.uniform(0.1, 0.5), rng.uniform(0.0, 0.8, 2))


def main(starts: int) -> None:
    truth = network(np.array([1.3, 1.1]), 0.25, np.array([0.4, 0.3]))
    data = ssnn.simulate(truth, num_samples=256, seed=10**6, **RUN).spike_trains
    loss = ssnn.ExpectedSignatureLoss(depth=3)

    def reached(net: ssnn.SLIFNetwork) -> float:
        batches = (ssnn.simulate(net, num_samples=SAMPLES, seed=77 + seed, **RUN) for seed in range(100))
        return float(np.mean([loss(batch, data).value for batch in batches]))

    best = reached(truth)
    rows: list[list[object]] = []
    for trial in range(starts):
        for match in (False, True):
            begin = time.perf_counter()
            result = ssnn.fit(
                start(trial),
                data,
                ssnn.ExpectedSignatureLoss(depth=3, match_spikes=match),
                ["input_current", "sigma", "weights"],
                steps=1500,
                batch_size=SAMPLES,
                num_samples=SAMPLES,
                optimizer=ssnn.Adam(RATES),
                clip_norm=1.0,
                bounds={"sigma": (0.01, None)},
                seed=trial,
                **RUN,
            )
            ratio = reached(result.network) / best
            rows.append([trial, result.gradient, reached(start(trial)) / best, ratio, time.perf_counter() - begin])
            print(f"start {trial}, {result.gradient}: {ratio:.3g}", flush=True)
    print(table(["start", "gradient", "loss/truth's, before", "after", "seconds"], rows))
    for gradient in ("unbiased", "pathwise"):
        count = sum(row[1] == gradient and float(str(row[3])) < 1.2 for row in rows)
        print(f"{gradient}: within 20 % of the truth's loss from {count} of {starts} starts")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 10)
