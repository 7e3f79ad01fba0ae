"""Executors: what Dask adds to the figure-2 training and to kernels, and runs in which a worker is killed.

``python benchmarks/executors.py [overhead] [kernels] [killed]``; needs Dask. The first one compares the training step
of figure 2, with a batch of 1024 on two workers, with the ideal, in which each does half of all but the loss and
nothing is added: the client's time and that of the busier worker, which follow each other, with that of the loss and of
half of the rest in one process. It does so with Dask as it comes, and as the docs say for short steps (``QUIET``), and
says what as many tasks cost that do nothing. All are processor times, since a shared machine's clock says little. The
second one is of `SignatureMMD` with its gradient, the loss of a training by signature kernels, in the same way; all of
it is shared. The third one kills a worker at a random time in each of 20 runs, and compares the numbers with those of a
run without workers.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import threading
import time
import warnings

import dask
import numpy as np
from distributed import Client, LocalCluster

import ssnn_py as ssnn
from ssnn_py.experiments import figure2

BATCH, STEPS, REPEATS, KILLS = 1024, 20, 6, 20
KERNEL_BATCHES = 64, 256
QUIET = {
    "distributed.worker.profile.enabled": False,
    "distributed.admin.tick.interval": "1s",
    "distributed.admin.system-monitor.interval": "10s",
    "distributed.worker.memory.monitor-interval": "1s",
}


def training(executor=None, steps=STEPS):
    truth = ssnn.feedforward_weights(figure2.LAYERS, 0.5, 1.5, gain=3.0, seed=0)
    data = ssnn.simulate(figure2.network(truth), num_samples=BATCH, seed=2**32, threads=1, **figure2.SIMULATION)
    start = np.where(truth != 0, np.random.default_rng(1).uniform(0.0, 1.0, truth.shape), 0.0)
    arguments = dict(threads=1, executor=executor, gradient="pathwise", **figure2.SIMULATION)
    loss = ssnn.ExpectedSignatureLoss(depth=3, match_spikes=True)

    def run():
        return ssnn.fit(figure2.network(start), data.spike_trains, loss, "weights", steps, **arguments)

    return run, lambda: loss(data, data.spike_trains)


def times_by_both(client, work, *arguments):
    """Processor times of this process and of the busier worker, and the result."""
    here, there = time.process_time(), client.run(time.process_time)
    result = work(*arguments)
    now, later = time.process_time(), client.run(time.process_time)
    return np.array([now - here, max(later[name] - there[name] for name in there)]), result


def overhead():
    """In rounds, of which the least times count, since a machine's speed changes."""
    run, loss = training()
    run()
    loss()
    kinds = {"as it comes": {}, "for short steps": QUIET}
    totals, losses, shared, empty = [], [], {name: [] for name in kinds}, {name: [] for name in kinds}
    for _ in range(REPEATS):
        total, expected = timed(run)
        totals.append(total)
        losses.append(timed(lambda: [loss() for _ in range(STEPS)])[0])
        for name, settings in kinds.items():
            with dask.config.set(settings):
                *times, result = by_workers()
            shared[name].append(times[0])
            empty[name].append(times[1])
            assert all(np.array_equal(result.history[part], expected.history[part]) for part in ("loss", "weights"))
    ideal = 1e3 * (min(totals) + min(losses)) / 2
    print(
        f"ms a step: one process {1e3 * min(totals):.0f}, of which the loss {1e3 * min(losses):.0f}; ideal {ideal:.0f}"
    )
    for name in kinds:
        (client, worker), nothing = min(shared[name], key=sum), 1e3 * sum(min(empty[name], key=sum))
        both = 1e3 * (client + worker)
        print(
            f"Dask {name}: client and scheduler {1e3 * client:.0f}, busier worker {1e3 * worker:.0f}, together "
            f"{both:.0f}, over the ideal by {100 * (both / ideal - 1):.0f} %; tasks that do nothing {nothing:.0f}"
        )


def empty_task(data, size):
    return np.zeros(size // 8)


def timed(work):
    """Processor time a step, and the result."""
    begin = time.process_time()
    result = work()
    return (time.process_time() - begin) / STEPS, result


def by_workers():
    """The client's and the busier worker's time a step, the same for two rounds of tasks in which as much travels but
    nothing is computed, and the result of the former.
    """

    def nothing():
        for _ in range(STEPS):
            for size, answer in ((2**13, 2**20), (2**19, 2**17)):  # bytes, of the solution and of the gradients
                for future in [executor.submit(empty_task, bytes(size), answer) for _ in range(2)]:
                    future.result()

    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster, Client(cluster) as client:
        run, _ = training(client)
        run()
        times, result = times_by_both(client, run)
        executor = client.get_executor(pure=False)
        executor.submit(empty_task, bytes(1), 8).result()
        return times / STEPS, times_by_both(client, nothing)[0] / STEPS, result


def kernels():
    network = figure2.network(ssnn.feedforward_weights(figure2.LAYERS, 0.5, 1.5, gain=3.0, seed=0))
    loss = ssnn.SignatureMMD(normalize=True)
    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster, Client(cluster) as client:
        for batch in KERNEL_BATCHES:
            data, alone, shared = (
                ssnn.simulate(network, num_samples=batch, seed=seed, threads=1, executor=one, **figure2.SIMULATION)
                for seed, one in ((1, None), (2, None), (2, client))
            )
            expected, found = loss(alone, data.spike_trains), loss(shared, data.spike_trains)
            assert expected.value == found.value
            assert np.array_equal(expected.spike_times_bar, found.spike_times_bar)
            begin = time.process_time()
            loss(alone, data.spike_trains)
            one = time.process_time() - begin
            (here, there), _ = times_by_both(client, loss, shared, data.spike_trains)
            print(
                f"kernels of {batch} samples: one process {one:.2f} s; two workers: client and scheduler "
                f"{here:.2f} s, the busier worker {there:.2f} s; together over the half by "
                f"{100 * (2 * (here + there) / one - 1):.0f} %"
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
    parts = {"overhead": overhead, "kernels": kernels, "killed": killed}
    for name in sys.argv[1:] or parts:
        parts[name]()
