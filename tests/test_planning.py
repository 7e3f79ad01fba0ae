"""What `estimate` says of a run comes true."""

import json
import subprocess
import sys

import numpy as np
import pytest
from helpers import one_neuron, random_network

import ssnn_py as ssnn

# In a process of its own: what of its memory a run has taken, beyond what a small one had. `getrusage` would begin with
# the peak of the process which started it.
MEASURED = """
import ctypes, json, re, sys
from pathlib import Path
import numpy as np, scipy.sparse as sparse
import ssnn_py as ssnn

def matrix(neurons, targets):
    if targets == 0:
        return [[0.0]]
    columns = np.sort((np.arange(neurons)[:, None] + 7 * np.arange(targets)) % neurons, axis=1).ravel()
    rows = np.arange(neurons + 1) * targets
    return sparse.csr_matrix((np.full(columns.size, 1e-4), columns.astype(np.int32), rows), (neurons, neurons))

neurons, targets, samples, t1, saveat = json.loads(sys.argv[1])
run = dict(t1=t1, dt=0.05, num_samples=samples, saveat=saveat, threads=1)
network = lambda weights: ssnn.SLIFNetwork(weights, 1.5, mu=(15.0, 5.0), sigma=0.3)
peak = lambda: 1024 * int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1])
ssnn.simulate(network(matrix(2, 1 if targets else 0)), **{**run, "t1": 0.1, "saveat": None, "num_samples": 1})
weights = matrix(neurons, targets)
ctypes.CDLL(None).malloc_trim(0)  # what is free goes back, so that nothing takes it unseen
Path("/proc/self/clear_refs").write_text("5")  # the peak is what there is now
before = peak()
large = network(weights)
print(json.dumps([ssnn.simulate(large, **run).num_spikes.sum().item(), peak() - before]))
plan = ssnn.estimate(large, **run)
print(json.dumps([plan.spikes, plan.total_memory]))
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="peaks of memory are read from Linux's /proc")
@pytest.mark.parametrize("shape", [(1, 0, 10_000, 20.0, 0.1), (4001, 500, 1, 0.5, 0.1)], ids=["samples", "synapses"])
def test_memory_and_events_come_true(shape):
    found = subprocess.run([sys.executable, "-c", MEASURED, json.dumps(shape)], check=True, stdout=subprocess.PIPE)
    (spikes, memory), (expected_spikes, expected_memory) = map(json.loads, found.stdout.splitlines()[-2:])
    assert spikes > 1000
    assert expected_spikes == pytest.approx(spikes, rel=0.1)
    assert 0.5 < expected_memory / memory < 2


def test_a_plan_counts_steps_arrivals_and_limits():
    network = random_network(2, per_sample=False, sampled=False)
    run = dict(t1=40.0, dt=0.01, num_samples=20, seed=1)
    plan, solution = ssnn.estimate(network, **run), ssnn.simulate(network, **run)
    assert (plan.steps, plan.neuron_steps) == (4000, 4000 * 20 * 5)
    assert plan.spikes == pytest.approx(solution.num_spikes.sum(), rel=0.1)
    fan_out = np.diff(network.synapses.indptr)
    assert plan.arrivals == pytest.approx((solution.spike_counts * fan_out).sum(), rel=0.1)
    limited = ssnn.estimate(network, max_spikes=10, **run)
    assert limited.spikes == pytest.approx(200)
    assert limited.memory["spikes"] == 16 * 10 * 20


def test_spikes_from_outside_arrive():
    inputs = ssnn.SpikeInput([[0.1, 0.1], [0.0, 0.2]])
    spikes = ssnn.SpikeTrains([[0.1, 0.2, 0.3]], [[0, 1, 0]], 2, 0.0, 1.0)
    network = ssnn.SLIFNetwork(np.zeros((2, 2)), inputs=inputs)
    assert ssnn.estimate(network, 1.0, 0.1, num_samples=3, input_spikes=spikes).arrivals == 5 * 3


def test_what_does_not_fit_is_estimated_too():
    plan = ssnn.estimate(one_neuron(), 1e6, 0.01, num_samples=10_000, saveat=0.01)
    assert plan.memory["states"] > 1e13
    words = repr(plan)
    assert "100000000 steps of 1 neuron in 10000 samples" in words
    assert " TB (" in words
    assert "from a pilot of" in words
    run = ssnn.simulate(one_neuron(), 1000.0, 0.01)
    assert plan.rate == pytest.approx(run.num_spikes[0] / 1000, rel=0.1)
    with pytest.raises(ssnn.ValidationError, match="dt must be positive"):
        ssnn.estimate(one_neuron(), 1.0, -0.1)
