"""What spikes from outside and delays cost a forward run, against the same network driven by a current alone.

Run with ``python benchmarks/input_spikes.py``. Times are the process's own, of one thread.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
from common import table

import ssnn_py as ssnn

NEURONS, CHANNELS, RATE, DT = 1000, 100, 100.0, 1e-4


def processor_milliseconds(work: Callable[[], object], repeats: int = 3) -> float:
    """The smallest time of a call, in milliseconds of this process."""
    work()
    times = []
    for _ in range(repeats):
        begin = time.process_time()
        work()
        times.append(time.process_time() - begin)
    return 1e3 * min(times)


def network(inputs: ssnn.SpikeInput | None = None, delays: float | None = None) -> ssnn.SLIFNetwork:
    weights = ssnn.random_weights(NEURONS, num_targets=10, low=0.01, high=0.02, seed=1)
    return ssnn.SLIFNetwork(weights, 1.0, mu=(10.0, 50.0), sigma=0.3, delays=delays, inputs=inputs)


def trains() -> ssnn.SpikeTrains:
    rng = np.random.default_rng(0)
    times = np.sort(rng.uniform(0.0, 1.0, (1, rng.poisson(RATE * CHANNELS))), axis=1)
    return ssnn.SpikeTrains(times, rng.integers(0, CHANNELS, times.shape), num_neurons=CHANNELS, t0=0.0, t1=1.0)


def main() -> None:
    rng, spikes, rows = np.random.default_rng(2), trains(), []
    # Small weights of both signs: the output rate stays.
    inputs = {
        targets: ssnn.SpikeInput(rng.normal(0.0, 1e-3, (CHANNELS, NEURONS)) * (rng.random((CHANNELS, NEURONS)) < share))
        for targets, share in ((10, 0.01), (100, 0.1))
    }
    for solver in ("euler_maruyama", "exact_ou"):
        run = dict(t1=1.0, dt=DT, solver=solver, threads=1)
        base = 0.0
        for label, net, heard in (
            ("a current alone", network(), None),
            ("delays of 0.01", network(delays=0.01), None),
            ("100 channels at 100 Hz, 10 targets each", network(inputs[10]), spikes),
            ("100 channels at 100 Hz, 100 targets each", network(inputs[100]), spikes),
        ):
            solution = ssnn.simulate(net, input_spikes=heard, **run)
            cost = processor_milliseconds(
                lambda net=net, heard=heard, run=run: ssnn.simulate(net, input_spikes=heard, **run)
            )
            base = base or cost
            synapses = 0 if heard is None else net.inputs.synapses.targets.size
            arrivals = round(RATE * synapses)
            each = 1e6 * (cost - base) / arrivals if arrivals else ""
            rows.append([solver, label, int(solution.num_spikes.sum()), arrivals, cost, cost / base, each])
    print(f"One sample of {NEURONS} neurons with 10 targets each, {round(1 / DT)} steps of {1e3 * DT} ms; one thread")
    print(table(["solver", "driven by", "spikes", "arrivals", "ms", "against a current", "ns per arrival"], rows))


if __name__ == "__main__":
    main()
