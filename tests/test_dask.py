"""Samples computed by a Dask cluster of this machine's processes."""

import os
import signal
import threading
import time

import numpy as np
import pytest
from helpers import random_network

import ssnn_py as ssnn

distributed = pytest.importorskip("distributed", reason="Dask is not installed")

RUN = dict(t1=2.0, dt=0.02, num_samples=64, seed=7)
pytestmark = pytest.mark.filterwarnings("default")  # what Dask's own threads leave open is no matter of this package


@pytest.fixture(scope="module")
def cluster():
    settings = dict(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None)
    with distributed.LocalCluster(**settings) as made:
        yield made


@pytest.fixture(scope="module")
def network():
    return random_network(2, per_sample=False, sampled=False)


def test_a_cluster_gives_the_same_numbers_to_two_clients(cluster, network):
    alone = ssnn.simulate(network, threads=1, **RUN)
    bars = np.ones(alone.spike_times.shape)
    for _ in range(2):
        with distributed.Client(cluster) as client:
            solution = ssnn.simulate(network, executor=client, **RUN)
            gradients = solution.vjp(bars)
        assert solution == alone
        expected = alone.vjp(bars)
        assert all(np.array_equal(gradients[name], expected[name]) for name in expected)


def test_more_workers_than_chunks(cluster, network):
    run = {**RUN, "num_samples": 1}
    with distributed.Client(cluster) as client:
        assert ssnn.simulate(network, executor=client, **run) == ssnn.simulate(network, threads=1, **run)


def test_a_worker_killed_in_the_middle_costs_no_number(cluster, network):
    run = {**RUN, "dt": 0.0005, "num_samples": 256}
    alone = ssnn.simulate(network, threads=1, **run)
    with distributed.Client(cluster) as client:
        ssnn.simulate(network, executor=client, **RUN)  # Julia runs everywhere
        victim = next(iter(client.run(os.getpid).values()))
        killer = threading.Timer(0.2, os.kill, (victim, signal.SIGKILL))
        killer.start()
        solution = ssnn.simulate(network, executor=client, **run)
        killer.join()
        begin = time.monotonic()
        while len(client.scheduler_info()["workers"]) < 2 and time.monotonic() - begin < 60:
            time.sleep(0.2)
    assert np.array_equal(solution.spike_times, alone.spike_times)
