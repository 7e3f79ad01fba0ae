"""Samples and gradients on every device that this machine has, beside the native engine: `ssnn setup --kernels`,
`--cuda` or another, on a modern Julia (docs/devices.md).

Run with ``python benchmarks/devices.py [SAMPLES ...]``.
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
from common import milliseconds, table

import ssnn_py as ssnn
from ssnn_py.engine import boot, devices
from ssnn_py.experiments import figure1, figure2


def available() -> list[str]:
    """The devices whose packages load here, with what they are."""
    found = ["cpu"]
    for name in devices.NAMES[1:]:
        try:
            print(f"{name}: {devices.facts(boot.runtime(), name)}")
        except ssnn.SSNNError as error:
            print(f"{name}: not here ({str(error).partition('. ')[0][:90]})")
        else:
            found.append(name)
    return found


def recurrent(neurons: int, targets: int) -> ssnn.SLIFNetwork:
    scipy_sparse = __import__("scipy.sparse").sparse
    rng = np.random.default_rng(0)
    rows = np.repeat(np.arange(neurons), targets)
    columns = np.concatenate([rng.choice(neurons, targets, replace=False) for _ in range(neurons)])
    weights = scipy_sparse.csr_array((rng.normal(0.0, 0.05, rows.size), (rows, columns)), (neurons, neurons))
    return ssnn.SLIFNetwork(weights, 1.2, mu=(6.0, 5.0), sigma=0.25, v_reset=1.2)


def measured(network: ssnn.SLIFNetwork, wrt: str, device: str, **run: Any) -> list[float]:
    """Medians, in milliseconds, of a forward run, and of that and the gradient of the sum of spike times."""
    solution = ssnn.simulate(network, device=device, **run)
    bar = np.where(np.isfinite(solution.spike_times), 1.0, 0.0)
    repeats = 5
    forward, _ = milliseconds(lambda: ssnn.simulate(network, device=device, **run), repeats)
    backward, _ = milliseconds(lambda: solution.vjp(bar, wrt), repeats)
    return [forward, forward + backward]


def losses_of(network: ssnn.SLIFNetwork, device: str, **run: Any) -> list[float]:
    """Medians, in milliseconds, of losses and their gradients in spike times, where the samples were."""
    data = ssnn.simulate(network, **{**run, "seed": 2}).spike_trains
    solution = ssnn.simulate(network, device=device, **run)
    last = [network.num_neurons - 1]
    losses = (ssnn.ExpectedSignatureLoss(3, neurons=last), ssnn.SignatureMMD(scales=0.3, neurons=last))
    return [milliseconds(lambda loss=loss: loss(solution, data), 5, 1)[0] for loss in losses]


def main(sizes: list[int]) -> None:
    julia = boot.runtime()
    print(f"Julia {julia.version}, {julia.threads} threads")
    here = available()
    truth = ssnn.feedforward_weights(figure2.LAYERS, gain=3.0)
    cases = [
        *((f"figure 1, {n}", figure1.network(0.25, 1.5), "input_current", {**figure1.SIMULATION}, n) for n in sizes),
        *((f"figure 2, {n}", figure2.network(truth), "weights", {**figure2.SIMULATION}, n) for n in sizes),
        ("1000 neurons × 100, 4", recurrent(1000, 100), "mu", {"t1": 0.5, "dt": 0.01}, 4),
        ("4000 neurons × 100, 1", recurrent(4000, 100), "mu", {"t1": 0.5, "dt": 0.01}, 1),
    ]
    rows = []
    for name, network, wrt, run, samples in cases:
        # Of a large network both ways: a group of lanes per sample, and kernels for each step.
        ways = {"": "nothing"} if network.num_neurons < 1000 else {", groups": "typemax(Int)", ", steps": "1"}
        for way, large_from in ways.items():
            julia.eval(f"SSNN.LARGE_FROM[] = {large_from}")
            times = [measured(network, wrt, device, num_samples=samples, seed=1, **run) for device in here]
            rows.append([name + way, *(each for of_device in times for each in of_device)])
        julia.eval("SSNN.LARGE_FROM[] = nothing")
    print("\nms: a forward run, and one with its gradient by reverse mode")
    print(table(["network, samples", *(f"{device}, {what}" for device in here for what in ("run", "both"))], rows))
    rows = []
    for name, network, _, run, samples in cases[: 2 * len(sizes)]:
        if samples <= 256:
            times = [losses_of(network, device, num_samples=samples, seed=1, **run) for device in here]
            rows.append([name, *(each for of_device in times for each in of_device)])
    print("\nms: losses of the last neuron: of expected signatures of depth 3, and SignatureMMD; with gradients")
    print(table(["network, samples", *(f"{device}, {what}" for device in here for what in ("depth 3", "MMD"))], rows))


if __name__ == "__main__":
    main([int(size) for size in sys.argv[1:]] or [128, 1024])
