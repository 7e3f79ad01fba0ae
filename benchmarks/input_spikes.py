"""What spikes from outside and delays cost a forward run, against the same network without them.

Run with ``python benchmarks/input_spikes.py``.
"""

from __future__ import annotations

import numpy as np
from common import milliseconds, table

import ssnn_py as ssnn

NEURONS, CHANNELS, RATE, TARGETS = 100, 100, 100.0, 10


def network(inputs: ssnn.SpikeInput | None, delays: float | None) -> ssnn.SLIFNetwork:
    weights = ssnn.random_weights(NEURONS, num_targets=TARGETS, low=0.01, high=0.02, seed=1)
    return ssnn.SLIFNetwork(weights, 1.0, mu=(10.0, 50.0), sigma=0.3, delays=delays, inputs=inputs)


def trains(samples: int, t1: float) -> ssnn.SpikeTrains:
    rng = np.random.default_rng(0)
    counts = rng.poisson(RATE * CHANNELS * t1, samples)
    times = np.full((samples, counts.max()), np.inf)
    for row, count in zip(times, counts, strict=True):
        row[:count] = np.sort(rng.uniform(0.0, t1, count))
    channels = np.where(np.isfinite(times), rng.integers(0, CHANNELS, times.shape), -1)
    return ssnn.SpikeTrains(times, channels, num_neurons=CHANNELS, t0=0.0, t1=t1)


def main() -> None:
    rng = np.random.default_rng(2)
    dense = 0.001 * (rng.random((CHANNELS, NEURONS)) < TARGETS / NEURONS)
    inputs, t1, samples = ssnn.SpikeInput(dense), 1.0, 8
    spikes = trains(samples, t1)
    arrivals = int(np.isfinite(spikes.times).sum() * inputs.synapses.targets.size / CHANNELS)
    rows = []
    for solver in ("euler_maruyama", "exact_ou"):
        run = dict(t1=t1, dt=0.001, num_samples=samples, solver=solver, threads=1)
        base, first = None, None
        for label, net, more in (
            ("neither", network(None, None), {}),
            ("delays of 0.01", network(None, 0.01), {}),
            ("100 channels at 100 Hz", network(inputs, None), {"input_spikes": spikes}),
            ("both", network(inputs, 0.01), {"input_spikes": spikes}),
        ):
            median, least = milliseconds(lambda net=net, more=more, run=run: ssnn.simulate(net, **run, **more), 7, 1)
            base = least if base is None else base
            first = int(ssnn.simulate(net, **run, **more).num_spikes.sum())
            rows.append([solver, label, first, arrivals if more else 0, median, least, least / base])
    print(f"{samples} samples of {NEURONS} neurons, {TARGETS} targets each; 1000 steps of 1 ms; one thread")
    head = ["solver", "with", "spikes", "arrivals from outside", "ms, median", "least", "least / neither"]
    print(table(head, rows))


if __name__ == "__main__":
    main()
