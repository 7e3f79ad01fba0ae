"""Gram matrices of signature kernels with their gradients: accuracy and time, against pySigLib where it is installed.

128 × 128 pairs of spike trains like those of figure 1 (3 spikes of one neuron) and of figure 2 (up to 100 spikes of 22
neurons), with scales that keep the kernel moderate. pySigLib solves the Goursat problem on a dyadically refined grid,
or with polynomials of a given order. Run with ``python benchmarks/kernels.py``; for the comparison, in an environment
that has ``pysiglib`` and PyTorch.
"""

from __future__ import annotations

import importlib.util
import sys
from fractions import Fraction

import numpy as np
from common import milliseconds, table

import ssnn_py as ssnn
from ssnn_py.experiments import figure1, figure2


def figure_1_trains(samples: int, seed: int) -> ssnn.SpikeTrains:
    return ssnn.simulate(figure1.network(0.25, 1.5), num_samples=samples, seed=seed, **figure1.SIMULATION).spike_trains


def figure_2_trains(samples: int, seed: int) -> ssnn.SpikeTrains:
    net = figure2.network(ssnn.feedforward_weights(figure2.LAYERS, gain=3.0))
    return ssnn.simulate(net, num_samples=samples, seed=seed, **figure2.SIMULATION).spike_trains


def exact(x: np.ndarray, y: np.ndarray, depth: int = 90) -> float:
    """The kernel of two paths in rational arithmetic, level by level, for a few spikes in one channel of time and one
    of counts.

    ⟨S_n(X), S_n(Y)⟩ from the power series of every cell: coefficients of s^i t^j on a cell are those of its edges,
    folded with c^k.
    """
    dx = [[Fraction(float(value)) for value in row] for row in np.diff(x, axis=0)]
    dy = [[Fraction(float(value)) for value in row] for row in np.diff(y, axis=0)]
    top: list[list[Fraction]] = [[Fraction(1)] for _ in dy]
    for u in dx:
        left = [Fraction(1)]
        for column, w in enumerate(dy):
            c = sum(a * b for a, b in zip(u, w, strict=True))
            bottom = top[column]
            size = depth if c else max(len(left), len(bottom))
            grid = [[Fraction(0)] * size for _ in range(size)]
            for k in range(size):
                grid[k][0] = left[k] if k < len(left) else Fraction(0)
                grid[0][k] = bottom[k] if k < len(bottom) else Fraction(0)
            for i in range(1, size):
                for j in range(1, size):
                    grid[i][j] = c * grid[i - 1][j - 1] / (i * j)
            left = [sum(row) for row in grid]
            top[column] = [sum(grid[i][j] for i in range(size)) for j in range(size)]
            left, top[column] = [float_trim(v) for v in left], [float_trim(v) for v in top[column]]
    return float(sum(left))


def float_trim(value: Fraction) -> Fraction:
    """50 digits are plenty."""
    return value.limit_denominator(10**50) if value.denominator > 10**60 else value


def ours(X: ssnn.SpikeTrains, Y: ssnn.SpikeTrains, scales: np.ndarray, repeats: int) -> tuple[np.ndarray, float, float]:
    bar = np.ones((X.num_samples, Y.num_samples))
    gram = ssnn.signature_kernel_gram(X, Y, scales=scales)
    forward, _ = milliseconds(lambda: ssnn.signature_kernel_gram(X, Y, scales=scales), repeats, 1)
    both, _ = milliseconds(lambda: ssnn.signature_kernel_gram_backprop(X, Y, bar, scales=scales), repeats, 1)
    return gram, forward, both


def theirs(X: np.ndarray, Y: np.ndarray, setting: dict[str, object], repeats: int) -> tuple[np.ndarray, float, float]:
    import pysiglib

    bar = np.ones((len(X), len(Y)))
    options = {**setting, "n_jobs": 2}
    gram = np.asarray(pysiglib.sig_kernel_gram(X, Y, **options))
    forward, _ = milliseconds(lambda: pysiglib.sig_kernel_gram(X, Y, **options), repeats, 0)
    gradient = pysiglib.sig_kernel_gram_backprop
    both, _ = milliseconds(lambda: gradient(bar, X, Y, left_deriv=True, right_deriv=True, **options), repeats, 0)
    return gram, forward, both


POLYNOMIAL = [{"method": "polynomial", "order": order} for order in (4, 8, 16, 24)]
GRID = [{"method": "finite_difference", "dyadic_order": order} for order in (0, 2)]


def main(samples: int) -> None:
    rows = []
    peer = importlib.util.find_spec("pysiglib") is not None
    for name, make, settings in (
        ("figure 1", figure_1_trains, GRID + POLYNOMIAL),
        ("figure 2", figure_2_trains, GRID[:1] + POLYNOMIAL[:2]),
    ):
        X, Y = make(samples, 1), make(samples, 2)
        scales = ssnn.median_scales(X)
        gram, forward, both = ours(X, Y, scales, 5)
        spikes = float(X.num_spikes.mean())
        error: float | str = "-"
        if name == "figure 1":
            lifts = X.marcus_lift() * scales, Y.marcus_lift() * scales
            error = max(abs(gram[k, k] / exact(lifts[0][k], lifts[1][k], 40) - 1) for k in range(3))
        rows.append([name, "ssnn", "exact", spikes, forward, both, error, 1.0])
        for setting in settings if peer else []:
            lifts = X.marcus_lift() * scales, Y.marcus_lift() * scales
            other, their_forward, their_both = theirs(*lifts, setting, 1 if name == "figure 2" else 5)
            difference = float(np.abs(other / gram - 1).max())
            label = f"{setting['method']}, order {setting.get('order', setting.get('dyadic_order'))}"
            rows.append([name, "pySigLib", label, spikes, their_forward, their_both, difference, their_both / both])
    print(
        f"Gram matrix {samples} × {samples}; milliseconds; error: largest relative difference to exact arithmetic "
        "(ssnn), to ssnn (pySigLib)"
    )
    print(table(["trains", "library", "setting", "spikes", "gram", "gram and gradient", "error", "times ours"], rows))
    if not peer:
        print("pySigLib is not installed here: no comparison")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 128)
