"""Three unbiased ways to the gradient of an expectation, by their standard error per unit of time; and what the entries
cost.

* unbiased: the pathwise derivative, and what spikes change that appear and vanish (docs/gradients.md);
* finite differences with common random numbers: same seed at θ ± h, nearly unbiased for small h, its variance of order
  1/h;
* score function (likelihood ratio): the loss times the derivative of the log density of the spikes given the noise. Its
  arithmetic is that of one forward tangent with the spikes held, so that it is charged the time of one.

All three differentiate in the input current c, which all neurons share. The networks have no dead zone: with one, where
spikes can be depends on the parameters, and the score function is biased. Run with ``python benchmarks/expectations.py
[repeats]``.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from common import milliseconds, table

import ssnn_py as ssnn
from ssnn_py.experiments import figure2

RUN = {"t1": 0.6, "dt": 0.01}
SAMPLES = 256
STEP = 0.02  # of the finite differences, c ± h


def network(neurons: int, current: float = 1.5) -> ssnn.SLIFNetwork:
    weights = np.zeros((1, 1)) if neurons == 1 else ssnn.random_weights(neurons, 4, 0.0, 0.4, seed=1).toarray()
    return ssnn.SLIFNetwork(weights, current, mu=(15.0, 5.0), sigma=0.25, v_reset=1.4, alpha=0.0)


def score(solution: ssnn.Solution) -> np.ndarray:
    """∂ log density of the spikes given the noise in c: Σ β ∂v(τ) − ∫ λ β ∂v dt, ∂v = 1 − (1 − μ1 h)^n after n steps,
    whatever the spikes.

    As in the scheme, the rate is that at the start of a step, or after a spike in it.
    """
    network, dt = solution.network, solution.problem.dt
    beta, mu = float(network.parameters["beta"]), float(network.parameters["mu"][0])
    rows, columns = np.nonzero(np.isfinite(solution.spike_times))
    times, fired = solution.spike_times[rows, columns], solution.spike_neurons[rows, columns]
    rate = np.exp(beta * np.minimum(solution.v[:, :-1] - float(network.parameters["v_th"]), 10.0))
    moved = 1.0 - (1.0 - dt * mu) ** np.arange(solution.ts.size - 1)
    step = np.minimum((times / dt).astype(int), moved.size - 1)
    fall = rate[rows, step, fired] * (1.0 - np.exp(-beta * float(network.parameters["v_reset"])))
    at_spikes = moved[step] * (1.0 + fall * (solution.ts[step + 1] - times))
    hazard = dt * np.einsum("stk,t->s", rate, moved)
    return beta * (np.bincount(rows, at_spikes, minlength=hazard.size) - hazard)


class Counts:
    """E[number of spikes of all neurons]."""

    title = "E[N]"
    loss = ssnn.SampleMean(lambda trains: (trains.num_spikes, None), order_matters=False)
    data = None

    def __init__(self, neurons: int) -> None:
        pass

    def per_sample(self, solution: ssnn.Solution) -> np.ndarray:
        """What the score is multiplied with: the derivative of the loss in the law."""
        return solution.num_spikes.astype(float)


class Signature:
    """The expected-signature loss against spike trains made with another current."""

    title = "expected signature"
    loss = ssnn.ExpectedSignatureLoss(depth=2, match_spikes=False)

    def __init__(self, neurons: int) -> None:
        other = ssnn.simulate(network(neurons, 1.2), num_samples=4096, seed=99, **RUN)
        self.data = other.spike_trains
        self.target = ssnn.expected_signature(self.data, 2)

    def per_sample(self, solution: ssnn.Solution) -> np.ndarray:
        words = ssnn.signature(solution.spike_trains, 2)
        return words @ (2.0 * (words.mean(axis=0) - self.target) / self.target.size)


def measure(estimate: Callable[[int], float], repeats: int) -> tuple[float, float, float]:
    """Mean over seeds, its standard error, and milliseconds of one estimate."""
    estimate(0)
    begin = time.perf_counter()
    values = np.array([estimate(seed) for seed in range(repeats)])
    elapsed = (time.perf_counter() - begin) / repeats
    return float(values.mean()), float(values.std(ddof=1) / np.sqrt(repeats)), 1e3 * elapsed


def compare(neurons: int, functional: Counts | Signature, repeats: int) -> list[list[object]]:
    net = network(neurons)

    def unbiased(seed: int) -> float:
        run = {"num_samples": SAMPLES, "seed": seed, "data": functional.data, "gradient": "unbiased", **RUN}
        return float(ssnn.value_and_grad(functional.loss, net, "input_current", **run)[1]["input_current"])

    def difference(seed: int) -> float:
        ends = (ssnn.simulate(network(neurons, 1.5 + h), num_samples=SAMPLES, seed=seed, **RUN) for h in (STEP, -STEP))
        ahead, behind = (functional.loss(solution, functional.data).value for solution in ends)
        return (ahead - behind) / (2.0 * STEP)

    def likelihood_ratio(seed: int) -> float:
        solution = ssnn.simulate(net, num_samples=SAMPLES, seed=seed, saveat=RUN["dt"], **RUN)
        values = functional.per_sample(solution)
        return float(((values - values.mean()) * score(solution)).mean() * SAMPLES / (SAMPLES - 1))

    def tangent(seed: int) -> float:
        ssnn.simulate(net, num_samples=SAMPLES, seed=seed, **RUN).jvp({"input_current": 1.0})
        return 0.0

    rows = []
    for name, estimate in (("unbiased", unbiased), ("differences", difference), ("score function", likelihood_ratio)):
        mean, error, cost = measure(estimate, repeats)
        if estimate is likelihood_ratio:
            cost = measure(tangent, max(3, repeats // 4))[2]
        # Error of a second of work: the error of one estimate, times the root of the seconds it takes.
        rows.append([neurons, functional.title, name, mean, error, cost, error * np.sqrt(repeats * 1e-3 * cost)])
    return [[*row, (row[-1] / rows[0][-1]) ** 2] for row in rows]


def costs_of(net: ssnn.SLIFNetwork, run: dict[str, Any]) -> list[list[object]]:
    """Milliseconds without and with entries, and their ratio: of reverse mode in all parameters, and of the loss."""
    solution, data = (ssnn.simulate(net, seed=seed, **run) for seed in (1, 2))
    trains, names = data.spike_trains, tuple(solution.problem.parameters)
    bar, entries = np.ones(solution.spike_times.shape), np.ones((len(trains), net.num_neurons))
    loss = ssnn.ExpectedSignatureLoss(depth=3, match_spikes=False)
    pairs = {
        "reverse mode": (lambda: solution.vjp(bar, names), lambda: solution.vjp(bar, names, entries=entries)),
        "loss": (lambda: loss(solution, trains), lambda: loss.with_entries(solution, trains)),
    }
    rows: list[list[object]] = []
    for what, (without, including) in pairs.items():
        plain, more = milliseconds(without, 100)[0], milliseconds(including, 100)[0]
        rows.append([what, plain, more, more / plain])
    return rows


def costs() -> list[list[object]]:
    """What entries add to reverse mode, to the loss, and to a training step."""
    rows: list[list[object]] = []
    truth = ssnn.feedforward_weights(figure2.LAYERS, gain=3.0)
    simulation = {**figure2.SIMULATION, "num_samples": 128}
    for name, net, run in (
        ("1 neuron, 3 spikes", network(1), {"t1": 5.0, "dt": 0.01, "num_samples": 128, "max_spikes": 3}),
        ("figure 2, 22 neurons", figure2.network(truth), simulation),
    ):
        rows += [[name, *row] for row in costs_of(net, run)]
    return rows


def main(repeats: int) -> None:
    rows = []
    for neurons in (1, 5, 50):
        for kind in (Counts, Signature):
            rows += compare(neurons, kind(neurons), repeats)
    print(f"Gradient in the input current, {SAMPLES} samples an estimate, {repeats} estimates each")
    head = ["neurons", "of", "by", "gradient", "std. error", "ms", "error of 1 s", "time for equal error"]
    print(table(head, rows))
    print("\nWhat entries add, in ms")
    print(table(["network", "what", "without", "with entries", "ratio"], costs()))


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 100)
