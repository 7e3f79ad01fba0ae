"""How far the gradient of a particle filter is off: its bias and scatter, with resampling and without.

One trial of a neuron with noise on its potential, of 1.2 units of time and three spikes, and one of 10; the loss is
minus the log likelihood. The truth of the short one is that of the Fokker-Planck equation, which is solved in
tests/test_particle_filter.py (its numbers stand here), that of the long one the mean of filters of 1000 particles.

    python benchmarks/filter_gradient.py [repeats]
"""

from __future__ import annotations

import math
import sys

import numpy as np
from common import table

import ssnn_py as ssnn

SHORT = ssnn.SpikeTrains([[0.31, 0.5, 0.9217]], [[0, 0, 0]], 1, 0.0, 1.2)
#: Of SHORT, by the Fokker-Planck equation: the loss, and its derivatives in β and σ.
EXACT = np.array([-0.11012, 0.98066, 0.35308])
NAMES = ("beta", "sigma")


def neuron() -> ssnn.SLIFNetwork:
    intensity = ssnn.ExponentialIntensity(beta=3.0, tau=0.5)
    return ssnn.SLIFNetwork(
        [[0.0]], input_current=1.5, mu=(15.0, 0.0), sigma=0.6, v_reset=1.4, alpha=0.0, intensity=intensity
    )


def estimates(trains: ssnn.SpikeTrains, repeats: int, first_seed: int, **options: float) -> np.ndarray:
    """Loss and derivatives, (repeats, 3)."""
    run = dict(data=trains, t1=trains.t1, dt=0.02, num_samples=1, solver="exact_ou", threads=1)
    found = []
    for seed in range(first_seed, first_seed + repeats):
        value, gradients = ssnn.value_and_grad(ssnn.NegativeLogLikelihood(**options), neuron(), NAMES, seed=seed, **run)
        found.append([value, *(float(np.sum(gradients[name])) for name in NAMES)])
    return np.array(found)


def rows(trains: ssnn.SpikeTrains, truth: np.ndarray, error: np.ndarray, repeats: int, counts: tuple[int, ...]) -> list:
    cells = []
    for every, label in ((None, "filter"), (math.inf, "no resampling")):
        for particles in counts:
            found = estimates(trains, repeats, 1, particles=particles, resample_every=every)
            off, scatter = found.mean(axis=0) - truth, found.std(axis=0, ddof=1)
            errors = np.hypot(scatter / math.sqrt(repeats), error)
            cells.append(
                (
                    label,
                    particles,
                    *(f"{x:+.3f} ± {e:.3f} ({s:.2f})" for x, e, s in zip(off, errors, scatter, strict=True)),
                )
            )
    return cells


def main(repeats: int = 200) -> None:
    head = ("", "particles", "loss: bias (scatter)", "by β", "by σ")
    print(f"three spikes, truth {EXACT}")
    print(table(head, rows(SHORT, EXACT, np.zeros(3), repeats, (10, 40))), flush=True)
    trains = ssnn.simulate(neuron(), t1=10.0, dt=0.01, seed=4).spike_trains
    many = estimates(trains, 20, 1000, particles=1000)
    truth, error = many.mean(axis=0), many.std(axis=0, ddof=1) / math.sqrt(20)
    print(f"{trains.num_spikes[0]} spikes in 10 units of time, truth {truth} ± {error}")
    print(table(head, rows(trains, truth, error, repeats // 2, (40, 160))))


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
