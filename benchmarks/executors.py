"""Executors: what Dask adds to the figure-2 training, and runs in which a worker is killed.

``python benchmarks/executors.py [overhead] [killed]``; needs Dask. The first one compares the training step of figure
2, with a batch of 1024 on two workers, with the ideal, in which each does half of the simulating and nothing is added:
the client's time and that of the busier worker, which follow each other, with that of the loss and of half of
simulation and gradient in one process. All are processor times, since a shared machine's clock says little. The second
one kills a worker at a random time in each of 20 runs, and compares the numbers with those of a run without workers.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import threading
import time
import warnings

import numpy as np
from distributed import Client, LocalCluster

import ssnn_py as ssnn
from ssnn_py.experiments import figure2

BATCH, STEPS, REPEATS, KILLS = 1024, 10, 2, 20


def training(executor=None, steps=STEPS):
    truth = ssnn.feedforward_weights(figure2.LAYERS, 0.5, 1.5, gain=3.0, seed=0)
    data = ssnn.simulate(figure2.network(truth), num_samples=BATCH, seed=2**32, threads=1, **figure2.SIMULATION)
    start = np.where(truth != 0, np.random.default_rng(1).uniform(0.0, 1.0, truth.shape), 0.0)
    arguments = dict(threads=1, executor=executor, gradient="pathwise", **figure2.SIMULATION)
    loss = ssnn.ExpectedSignatureLoss(depth=3, match_spikes=True)

    def run():
        return ssnn.fit(figure2.network(start), data.spike_trains, loss, "weights", steps, **arguments)

    return run, figure2.network(start)


def processor_times(client):
    """Of this process, and of every worker's."""
    return time.process_time(), client.run(time.process_time)


def overhead():
    run, network = training()
    run()
    alone, simulating = [], []
    for _ in range(REPEATS):
        begin = time.process_time()
        expected = run()
        alone.append((time.process_time() - begin) / STEPS)
        begin = time.process_time()
        for seed in range(STEPS):
            solution = ssnn.simulate(network, num_samples=BATCH, seed=seed, threads=1, **figure2.SIMULATION)
            solution.vjp(np.ones(solution.spike_times.shape), "weights")
        simulating.append((time.process_time() - begin) / STEPS)
    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster, Client(cluster) as client:
        run, _ = training(client)
        run()
        found = []
        for _ in range(REPEATS):
            here, there = processor_times(client)
            result = run()
            now, later = processor_times(client)
            busiest = max(later[name] - there[name] for name in there)
            found.append(((now - here) / STEPS, busiest / STEPS))
    assert all(np.array_equal(result.history[name], expected.history[name]) for name in ("loss", "weights"))
    total, part = min(alone), min(simulating)
    client_time, worker_time = min(found, key=sum)
    ideal = total - part / 2
    print(f"one process: {1e3 * total:.1f} ms a step, of which simulation and gradient {1e3 * part:.1f} ms")
    print(f"two workers: client and scheduler {1e3 * client_time:.1f} ms, the busier worker {1e3 * worker_time:.1f} ms")
    print(
        f"together {1e3 * (client_time + worker_time):.1f} ms; ideal {1e3 * ideal:.1f} ms, over it by "
        f"{100 * ((client_time + worker_time) / ideal - 1):.0f} %"
    )


def killed():
    network, rng = (
        figure2.network(ssnn.feedforward_weights(figure2.LAYERS, 0.5, 1.5, gain=3.0, seed=0)),
        random.Random(0),
    )
    run = dict(num_samples=512, threads=1, **{**figure2.SIMULATION, "dt": 0.002})
    alone = ssnn.simulate(network, **run)
    bars = np.ones(alone.spike_times.shape)
    gradient = alone.vjp(bars, "weights")["weights"]
    same = 0
    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster, Client(cluster) as client:
        ssnn.simulate(network, executor=client, **{**run, "num_samples": 8})
        begin = time.monotonic()
        ssnn.simulate(network, executor=client, **run)
        takes = time.monotonic() - begin
        for _ in range(KILLS):
            there: list[int] = []
            patience = time.monotonic() + 10.0
            while len(there) < 2:  # the one before may still be on its way out, or back
                there = list((client.run(os.getpid, on_error="ignore") or {}).values())
                time.sleep(0.2)
                if time.monotonic() > patience:  # a worker killed while it started is not replaced
                    cluster.scale(len(cluster.workers) + 1)
                    patience += 10.0
            victim = rng.choice(there)
            killer = threading.Timer(rng.uniform(0.0, 2 * takes), os.kill, (victim, signal.SIGKILL))
            killer.start()
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                solution = ssnn.simulate(network, executor=client, **run)
                found = solution.vjp(bars, "weights")["weights"]
            killer.join()
            same += np.array_equal(solution.spike_times, alone.spike_times) and np.array_equal(found, gradient)
            print(f"{same} runs with the same numbers", flush=True)
    print(f"{same} of {KILLS} runs in which a worker was killed gave the same numbers")


if __name__ == "__main__":
    for name in sys.argv[1:] or ("overhead", "killed"):
        {"overhead": overhead, "killed": killed}[name]()
