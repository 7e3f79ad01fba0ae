"""Cost of gradients: reverse mode against the forward solve, by network, by solver and step, and the number of
parameters; figure 2's training step, and memory on a long run.

Run with ``python benchmarks/reverse_mode.py``.
"""

from __future__ import annotations

import resource
import sys
from typing import Any

import numpy as np
from common import milliseconds, table

import ssnn_py as ssnn
from ssnn_py.experiments import figure2


def network(neurons: int, seed: int = 0) -> ssnn.SLIFNetwork:
    weights = ssnn.recurrent_weights(neurons, gain=0.5, seed=seed)
    return ssnn.SLIFNetwork(weights, 1.2, mu=(6.0, 5.0), sigma=0.25 * np.eye(2), v_reset=1.2)


def forward_and_reverse(
    net: ssnn.SLIFNetwork, run: dict[str, Any], names: list[str | None], repeats: int
) -> tuple[ssnn.Solution, float, list[float]]:
    """A solution, and the milliseconds of a forward run and of a gradient of its spike times by each of the names."""
    solution = ssnn.simulate(net, **run)
    bar = np.where(np.isfinite(solution.spike_times), 1.0, 0.0)
    forward, _ = milliseconds(lambda: ssnn.simulate(net, **run), repeats)
    return solution, forward, [milliseconds(lambda name=name: solution.vjp(bar, name), repeats)[0] for name in names]


def reverse_against_forward() -> None:
    rows = []
    cases = [
        ("figure 2", figure2.network(ssnn.feedforward_weights([4, 16, 2], gain=3.0)), 128, figure2.SIMULATION),
        ("22, all to all", network(22), 128, {"t1": 1.0, "dt": 0.01, "max_spikes": 200}),
        ("200, all to all", network(200), 16, {"t1": 1.0, "dt": 0.01, "max_spikes": 2000}),
    ]
    for name, net, samples, arguments in cases:
        run = {**arguments, "num_samples": samples, "seed": 1}
        solution, forward, (weights, one, everything) = forward_and_reverse(net, run, ["weights", "alpha", None], 30)
        synapses = net.synapses.targets.size
        spikes = float(solution.num_spikes.mean())
        rows.append([name, samples, spikes, synapses, forward, one, weights, everything, weights / forward])
    print("milliseconds, medians; reverse mode computes the solution again")
    head = [
        "network",
        "samples",
        "spikes/sample",
        "weights",
        "forward",
        "∂ one scalar",
        "∂ all weights",
        "∂ everything",
        "∂ weights/forward",
    ]
    print(table(head, rows))


def by_solver() -> None:
    one = ssnn.SLIFNetwork([[0.0]], input_current=1.5, mu=(15.0, 0.0), sigma=0.25, v_reset=1.4, alpha=0.03)
    rows = []
    for solver in ("euler_maruyama", "milstein", "stochastic_heun", "shark", "exact_ou"):
        row: list[object] = [solver]
        for net, dt in ((one, 0.01), (one, 0.001), (network(22), 0.01)):
            run = {"t1": 1.0, "dt": dt, "num_samples": 128, "seed": 1, "solver": solver}
            _, forward, (reverse,) = forward_and_reverse(net, run, [None], 15)
            row.append(reverse / forward)
        rows.append(row)
    print("\nreverse mode by everything, in forward solves")
    print(table(["solver", "figure 1's neuron, dt 0.01", "dt 0.001", "22 all to all, dt 0.01"], rows))


def training_step(gradient: str) -> None:
    truth = ssnn.feedforward_weights(figure2.LAYERS, gain=3.0)
    data = ssnn.simulate(figure2.network(truth), num_samples=128, seed=1, **figure2.SIMULATION).spike_trains
    result = ssnn.fit(
        figure2.network(truth * 0.7),
        data,
        ssnn.ExpectedSignatureLoss(3, match_spikes=gradient == "pathwise"),
        "weights",
        gradient=gradient,
        steps=150,
        optimizer=ssnn.RMSProp(1e-6),
        **figure2.SIMULATION,
    )
    times = np.sort(1e3 * result.history["seconds"][10:])
    print(
        f"\ntraining step of figure 2, {gradient} (128 samples, 22 neurons, all weights): median "
        f"{np.median(times):.1f} ms, min {times[0]:.1f} ms"
    )


def long_run(steps: int) -> None:
    net = network(100)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    solution = ssnn.simulate(net, t1=0.001 * steps, dt=0.001, seed=1)
    bar = np.ones(solution.spike_times.shape)
    gradient = solution.vjp(bar, "weights")["weights"]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(
        f"\n{steps} steps of 100 neurons, {int(solution.num_spikes[0])} spikes: gradient in all "
        f"{np.count_nonzero(gradient)} weights; "
        f"peak memory of the process {peak / 1024**2:.2f} GiB ({before / 1024**2:.2f} GiB before)"
    )


if __name__ == "__main__":
    reverse_against_forward()
    by_solver()
    training_step("pathwise")
    training_step("unbiased")
    long_run(10**6 if "--long" in sys.argv else 10**5)
