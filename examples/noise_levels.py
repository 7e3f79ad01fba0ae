"""Test accuracy on the yin-yang data set against the level of noise: trained with exact gradients of the stochastic
network, and with surrogate gradients of the same network on a grid. Ends in noise_levels.png and noise_levels.csv.
"""

from __future__ import annotations

import argparse
import csv
import functools
import itertools
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from yin_yang import FINE, T1, WEIGHTS, classifier, exact_gradients, loss_of, predictions, train
from yin_yang import encode as wider

import ssnn_py as ssnn
from ssnn_py import datasets, plotting

SLOPES = (10.0, 30.0)
INPUTS = (1.5, 3.35 / 5**0.5)


def encode(features: np.ndarray) -> ssnn.SpikeTrains:
    return wider(features, latest=1.6)


def falling(rate: float, steps: int) -> Callable[[int], float]:
    """A schedule in three parts."""
    return ssnn.piecewise_constant({0: rate, steps * 6 // 10 + 1: rate / 3, steps * 85 // 100 + 2: rate / 10})


class OnGrid:
    """The classifier on a grid of time: at most one spike of a neuron in a step, at its end.

    The same equations by Euler and Maruyama's scheme, with the same hazards and thresholds. What has no derivative,
    that a neuron fires, is given that of a fast sigmoid of its potential, 1/(1 + k|v − v_th|)², and resets have none
    (Zenke and Ganguli, Neural Computation 30, 2018; Neftci, Mostafa and Zenke, IEEE Signal Process. Mag. 36, 2019).
    """

    def __init__(self, net: ssnn.SLIFNetwork, trains: ssnn.SpikeTrains, classes: int, seed: int, dt: float) -> None:
        self.dt, self.steps = dt, round(T1 / dt)
        self.hidden, self.samples = net.num_neurons - classes, len(trains)
        self.inputs, self.weights = net.inputs.weights[:, : self.hidden], net.weights[: self.hidden, self.hidden :]
        rows, columns = np.nonzero(trains.neurons >= 0)
        steps = np.minimum((trains.times[rows, columns] / self.dt).astype(int), self.steps - 1)
        self.arrivals = np.zeros((self.steps, self.samples, trains.num_neurons))
        np.add.at(self.arrivals, (steps, rows, trains.neurons[rows, columns]), 1.0)
        self._run(net, np.random.default_rng(seed))

    def _run(self, net: ssnn.SLIFNetwork, rng: np.random.Generator) -> None:
        given = {name: float(net.parameters[name]) for name in ("sigma", "v_reset", "alpha", "beta", "v_th", "tau")}
        self.mu1, self.mu2 = net.parameters["mu"]
        self.v_th, shape = given["v_th"], (self.samples, net.num_neurons)
        v, i, s = np.zeros(shape), np.zeros(shape), -given["alpha"] - rng.exponential(size=shape)
        self.potentials, self.spikes = np.empty((self.steps, *shape)), np.empty((self.steps, *shape))
        for n in range(self.steps):
            s += self.dt * np.exp(given["beta"] * (v - given["v_th"])) / given["tau"]
            v = v + self.dt * self.mu1 * (i + net.parameters["input_current"] - v)
            v += given["sigma"] * np.sqrt(self.dt) * rng.normal(size=shape)
            i = (1.0 - self.dt * self.mu2) * i
            i[:, : self.hidden] += self.arrivals[n] @ self.inputs
            fires = s >= 0
            self.potentials[n], self.spikes[n] = v, fires
            v = v - given["v_reset"] * fires
            s = np.where(fires, -given["alpha"] - rng.exponential(size=shape), s)
            i[:, self.hidden :] += fires[:, : self.hidden] @ self.weights

    def first_steps(self, rank: int) -> np.ndarray:
        """The step of each class's first spike (rank 1), or second; the number of steps where there is none."""
        counts = self.spikes[:, :, self.hidden :].cumsum(axis=0)
        return np.where(counts[-1] >= rank, (counts >= rank).argmax(axis=0), self.steps)

    def gradients(self, times_bar: np.ndarray, slope: float) -> dict[str, np.ndarray]:
        """Surrogate gradients in the weights of what has derivatives `times_bar` (S, C) in first spike times.

        The time is dt·Σ_n Π_{m≤n} (1 − z_m), and so has derivatives in every z.
        """
        first, second = self.first_steps(1), self.first_steps(2)
        inputs_bar, weights_bar = np.zeros_like(self.inputs), np.zeros_like(self.weights)
        v_bar, i_bar = np.zeros(self.spikes.shape[1:]), np.zeros(self.spikes.shape[1:])
        for n in reversed(range(self.steps)):
            weights_bar += self.spikes[n, :, : self.hidden].T @ i_bar[:, self.hidden :]
            inputs_bar += self.arrivals[n].T @ i_bar[:, : self.hidden]
            here = np.where(n < first, first - n, np.where(n == first, second - first, 0))
            z_bar = np.concatenate([i_bar[:, self.hidden :] @ self.weights.T, -self.dt * here * times_bar], axis=1)
            v_bar = v_bar + z_bar / (1.0 + slope * np.abs(self.potentials[n] - self.v_th)) ** 2
            i_bar = (1.0 - self.dt * self.mu2) * i_bar + self.dt * self.mu1 * v_bar
            v_bar = (1.0 - self.dt * self.mu1) * v_bar
        whole = {"inputs": np.zeros((len(self.inputs), v_bar.shape[1])), "weights": np.zeros((v_bar.shape[1],) * 2)}
        whole["inputs"][:, : self.hidden] = inputs_bar
        whole["weights"][: self.hidden, self.hidden :] = weights_bar
        return {"weights": whole["weights"], "input_weights": whole["inputs"]}


def surrogate_gradients(
    slope: float,
    net: ssnn.SLIFNetwork,
    trains: ssnn.SpikeTrains,
    labels: np.ndarray,
    loss: ssnn.FirstSpikeCrossEntropy,
    seed: int,
    dt: float,
) -> tuple[float, dict[str, np.ndarray]]:
    """The same loss as :func:`exact_gradients`, of the network on the grid, and its surrogate gradient."""
    grid = OnGrid(net, trains, loss.neurons.size, seed, dt)
    logits = -grid.first_steps(1) * dt / loss.time_scale
    p = np.exp(logits - np.logaddexp.reduce(logits, axis=1)[:, None])
    rows = np.arange(len(labels))
    value = -np.log(p[rows, labels]).mean() - loss.earliness * logits[rows, labels].mean()
    slopes = -p
    slopes[rows, labels] += 1.0 + loss.earliness
    return value, grid.gradients(slopes / (len(labels) * loss.time_scale), slope)


def accuracy(net: ssnn.SLIFNetwork, test: ssnn.SpikeTrains, truth: np.ndarray, draws: int) -> float:
    """Mean over several draws of the noise, at half the step at which training ends."""
    return float(np.mean([predictions(net, test, 3, 2**40 + d, dt=FINE / 2) == truth for d in range(draws)]))


def accuracy_on_grid(net: ssnn.SLIFNetwork, test: ssnn.SpikeTrains, truth: np.ndarray, draws: int) -> float:
    """The same of the network on its grid."""
    hits = []
    for draw in range(draws):
        grid = OnGrid(net, test, 3, 2**40 + draw, FINE)
        first = grid.first_steps(1)
        hits.append((first.argmin(axis=1) == truth) & (first.min(axis=1) < grid.steps))
    return float(np.mean(hits))


METHODS = {"exact": exact_gradients}
METHODS |= {f"surrogate, k = {slope:g}": functools.partial(surrogate_gradients, slope) for slope in SLOPES}


def picture(rows: list[dict[str, Any]], path: Path) -> None:
    fig, ((ax,),) = plotting.figure(1, 1, width=6.8, height=3.6)
    for method, color, marker in zip(METHODS, ("tab:blue", "tab:orange", "tab:red"), "os^", strict=True):
        mine = [row for row in rows if row["gradient"] == method]
        sigmas = sorted({row["sigma"] for row in mine})
        means = [np.mean([row["accuracy"] for row in mine if row["sigma"] == sigma]) for sigma in sigmas]
        ax.plot([row["sigma"] for row in mine], [row["accuracy"] for row in mine], marker, color=color, alpha=0.4)
        ax.plot(sigmas, means, color=color, label=method)
    ax.axhline(1 / 3, color="0.6", linewidth=0.8, linestyle="--", label="chance")
    ax.set(xlabel="σ, noise on the potential (the threshold is 1)", ylabel="test accuracy", ylim=(0.3, 1.0))
    ax.set_title("Yin-yang, trained and tested with the same noise")
    plotting.legend_beside(ax, title="gradients")
    plotting.save(fig, [path])


def alignment(exact_draws: int, surrogate_draws: int) -> None:
    """How gradients of one mini-batch with different noise agree, and their means: cosines, after 60 training steps."""

    def cosine(a: np.ndarray, b: np.ndarray) -> float:
        return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))

    features, labels = datasets.yin_yang(1100, seed=1)
    trains = encode(features)
    print("cosines of two draws, of the means of even and odd draws, and of the mean and that of exact gradients")
    for sigma in (0.0, 0.2, 0.4):
        net = classifier(5, 40, 3, INPUTS, sigma=sigma)
        loss = loss_of(net, 3, 0.07, 0.03)
        net, _ = train(net, trains[:1000], labels[:1000], loss, 6, 0.02, schedule=falling)
        means: dict[str, np.ndarray] = {}
        for method, gradients_of in METHODS.items():
            draws = []
            for draw in range(exact_draws if method == "exact" else surrogate_draws):
                _, parts = gradients_of(net, trains[1000:], labels[1000:], loss, 10**7 + draw, FINE)
                draws.append(np.concatenate([parts[name].ravel() for name in WEIGHTS]))
            means[method] = np.mean(draws, axis=0)
            pairs = [cosine(a, b) for a, b in zip(draws[::2], draws[1::2], strict=True)]
            halves = cosine(np.mean(draws[::2], axis=0), np.mean(draws[1::2], axis=0))
            norms, to_exact = np.linalg.norm(draws, axis=1), cosine(means[method], means["exact"])
            print(
                f"{sigma:4.1f} {method:>19} {np.mean(pairs):6.2f} {halves:6.2f} {to_exact:6.2f}"
                f"   norms: median {np.median(norms):.2f}, largest {norms.max():.2f}",
                flush=True,
            )


def main(out: Path, quick: bool) -> None:
    sigmas, seeds = ((0.0, 0.4), (0,)) if quick else ((0.0, 0.1, 0.2, 0.4, 0.8), (0, 1))
    hidden, epochs, points = (20, 2, 500) if quick else (40, 12, 3000)
    features, labels = datasets.yin_yang(points, seed=1)
    test, truth = datasets.yin_yang(200 if quick else 1000, seed=2)
    trains, tests, draws = encode(features), encode(test), 1 if quick else 5
    rows, begin = [], time.perf_counter()
    print(f"{'sigma':>5} {'seed':>4} {'gradients':>19} {'last loss':>9} {'accuracy':>8} {'on grid':>7} {'CPU s':>5}")
    for sigma, seed, method in itertools.product(sigmas, seeds, METHODS):
        start = time.process_time()
        net = classifier(5, hidden, 3, INPUTS, sigma=sigma, seed=seed)
        net, losses = train(
            net,
            trains,
            labels,
            loss_of(net, 3, 0.07, 0.03),
            epochs,
            0.02,
            seed=seed,
            schedule=falling,
            gradients_of=METHODS[method],
        )
        seconds, last = time.process_time() - start, losses[-len(losses) // 10 :].mean()
        shares = accuracy(net, tests, truth, draws), accuracy_on_grid(net, tests, truth, draws)
        names = ("sigma", "seed", "gradient", "last_loss", "accuracy", "accuracy_on_grid", "cpu_seconds")
        rows.append(dict(zip(names, (sigma, seed, method, last, *shares, seconds), strict=True)))
        share, on_grid = (f"{value:.1%}" for value in shares)
        print(f"{sigma:5.2f} {seed:4d} {method:>19} {last:9.3f} {share:>8} {on_grid:>7} {seconds:5.0f}", flush=True)
    out.mkdir(parents=True, exist_ok=True)
    with (out / "noise_levels.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    picture(rows, out / "noise_levels.png")
    print(f"{time.perf_counter() - begin:.0f} s; noise_levels.png and noise_levels.csv are in {out}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("out"))
    parser.add_argument("--quick", action="store_true", help="two levels, fewer neurons and steps: about 20 seconds")
    parser.add_argument("--alignment", action="store_true", help="compare gradients of one mini-batch instead")
    arguments = parser.parse_args()
    if arguments.alignment:
        alignment(exact_draws=150, surrogate_draws=40)
    else:
        main(arguments.out, arguments.quick)
