"""How far single precision is from double, with the same noise: spike times and gradients of the networks of figures 1
and 2, on one device (docs/devices.md).

Run with ``python benchmarks/single_precision.py [DEVICE] [SAMPLES]``; without a device the kernels run as tasks on the
processor, for which there need be no package.
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
from common import table

import ssnn_py as ssnn
from ssnn_py.engine import boot
from ssnn_py.experiments import figure1, figure2

SOLVERS = ("euler_maruyama", "shark", "exact_ou")
QUANTILES = (0.5, 0.9, 0.99, 1.0)


def compared(network: ssnn.SLIFNetwork, device: str, samples: int, run: dict[str, Any]) -> tuple[list[Any], list[Any]]:
    """Of spike times and of each sample's gradient by the input currents: how many samples have the same spikes, and
    quantiles of the errors in these; of gradients also the standard deviation over all samples in single precision,
    relative to that in double, and the error of the mean, in standard errors.
    """
    shape = (samples, network.num_neurons)
    network = network.replace(input_current=np.broadcast_to(network.parameters["input_current"], shape))
    double, single = (
        ssnn.simulate(network, num_samples=samples, seed=1, **run, **more)
        for more in ({"device": device}, {"device": device, "precision": "float32"})
    )
    size = min(double.spike_times.shape[1], single.spike_times.shape[1])
    same = np.all(double.spike_neurons[:, :size] == single.spike_neurons[:, :size], axis=1)
    same &= double.num_spikes == single.num_spikes
    there = np.isfinite(double.spike_times[same, :size])
    times = np.abs(double.spike_times[same, :size][there] - single.spike_times[same, :size][there])
    of_double, of_single = (
        solution.vjp(np.isfinite(solution.spike_times).astype(float), "input_current")["input_current"].reshape(
            samples, -1
        )
        for solution in (double, single)
    )
    sizes = np.linalg.norm(of_double, axis=1)
    moved = same & (sizes > 0)
    gradients = np.linalg.norm(of_double - of_single, axis=1)[moved] / sizes[moved]
    deviations = of_double.std(axis=0)
    moving = deviations > 0
    spread = np.max(of_single.std(axis=0)[moving] / deviations[moving])
    of_mean = np.max(np.abs((of_single - of_double).mean(axis=0)[moving]) / deviations[moving]) * np.sqrt(samples)
    share = f"{100 * np.mean(same):.2f} %"
    return [share, *map(float, np.quantile(times, QUANTILES))], [
        *map(float, np.quantile(gradients, QUANTILES)),
        float(spread),
        float(of_mean),
    ]


def main(device: str, samples: int) -> None:
    print(f"Julia {boot.runtime().version}, device {device!r}, {samples} samples")
    weights = ssnn.feedforward_weights(figure2.LAYERS, gain=3.0)
    cases = [
        ("figure 1", figure1.network(0.25, 1.5), {**figure1.SIMULATION}),
        ("figure 1, dt 0.001", figure1.network(0.25, 1.5), {**figure1.SIMULATION, "dt": 0.001}),
        ("figure 1, t1 50", figure1.network(0.25, 1.5), {**figure1.SIMULATION, "t1": 50.0, "max_spikes": None}),
        ("figure 2", figure2.network(weights), {**figure2.SIMULATION}),
    ]
    times, gradients = [], []
    for name, network, run in cases:
        for solver in SOLVERS:
            of_times, of_gradients = compared(network, device, samples, {**run, "solver": solver})
            times.append([name, solver, *of_times])
            gradients.append([name, solver, *of_gradients])
    quantiles = ["median", "90 %", "99 %", "largest"]
    print("\nspike times: samples with the same spikes, and errors in these")
    print(table(["network", "solver", "same", *quantiles], times))
    print("\ngradients of the sum of spike times by the input currents, of each sample with the same spikes: relative")
    print("errors; over all samples, their standard deviation, relative to that in double precision; and the error of")
    print("their mean, in its standard errors")
    print(table(["network", "solver", *quantiles, "deviation", "of the mean"], gradients))


if __name__ == "__main__":
    given = sys.argv[1:]
    main(given[0] if given else "emulation:1", int(given[1]) if len(given) > 1 else 1024)
