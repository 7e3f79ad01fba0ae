"""One large network on several threads, and synapses without copies."""

import os
import subprocess
import sys
import tracemalloc

import numpy as np
import pytest
from conftest import needs_julia

import ssnn_py as ssnn

pytestmark = needs_julia
sparse = pytest.importorskip("scipy.sparse")


def network(neurons=2100, **more):
    """So many neurons that each of four threads has its share, with self-connections, and rows without a target."""
    rng = np.random.default_rng(1)
    weights = sparse.random(neurons, neurons, 0.02, "lil", random_state=2, data_rvs=lambda n: rng.uniform(-1.5, 1, n))
    weights[5] = 0
    weights[7, 7] = 0.5
    return ssnn.SLIFNetwork(
        weights.tocsr(),
        rng.uniform(0.9, 1.3, neurons),
        mu=(20.0, 100.0),
        sigma=0.5,
        intensity=ssnn.ExponentialIntensity(5.0, 1.0, 0.05),
        **more,
    )


def same(one, two):
    arrays = ("spike_times", "spike_neurons", "num_spikes", "truncated")
    assert all(np.array_equal(getattr(one, name), getattr(two, name)) for name in arrays)
    assert all(np.array_equal(one.states[name], two.states[name], equal_nan=True) for name in one.states)


def same_tangents(one, two):
    """In a direction that moves every parameter, each number in its own way."""
    rng = np.random.default_rng(4)
    moved = {name: rng.normal(size=array.shape) for name, array in one.problem.parameters.items()}
    first, second = one.tangents(moved), two.tangents(moved)
    assert np.abs(first.spike_times).max() > 0
    for name in ("spike_times", "s", "s_at_saves"):
        assert np.array_equal(getattr(first, name), getattr(second, name))
    assert all(np.array_equal(first.states[name], second.states[name], equal_nan=True) for name in first.states)


def same_gradients(one, two):
    """Of everything that a solution has, in every parameter; and the pathwise ones are the transpose of tangents."""
    rng = np.random.default_rng(6)
    times, v, saves = (rng.normal(size=part.shape) for part in (one.spike_times, one.v, one.v))
    what = {"entries": saves[:, 0]}
    if not one.network.has_delays:
        what |= {"v_bar": v, "entries_at_saves": saves}
    first, second = (part.vjp(times, **what) for part in (one, two))
    assert all(np.array_equal(stored(first[name]), stored(second[name])) for name in first)
    first, second = (part.vjp(times, v_bar=v) for part in (one, two))
    assert all(np.array_equal(stored(first[name]), stored(second[name])) for name in first)
    moved = {name: rng.normal(size=array.shape) for name, array in one.problem.parameters.items()}
    tangents = one.tangents(moved)
    forward = (times * tangents.spike_times[0]).sum() + np.nansum(v * tangents.states["v"][0])
    reverse = sum((stored(first[name]) * direction).sum() for name, direction in moved.items())
    assert reverse == pytest.approx(forward, rel=1e-9)


def stored(gradient):
    return gradient.data if hasattr(gradient, "tocsr") else gradient


def runs(net, **arguments):
    settings = {"t1": 0.1503, "dt": 0.001, "seed": 3, "saveat": [0.0, 0.0204, 0.1503], **arguments}
    return [ssnn.simulate(net, threads=threads, **settings) for threads in (1, 2)]


@pytest.mark.parametrize("solver", ["euler_maruyama", "exact_ou", "milstein"])
@pytest.mark.parametrize("delays", [None, 0.0015])
def test_a_sample_is_the_same_on_two_threads(solver, delays):
    one, other = runs(network(**({} if delays is None else {"delays": delays})), solver=solver)
    assert one.num_spikes[0] > 200
    same(one, other)
    same_tangents(one, other)
    if solver == "euler_maruyama":  # others have one thread per sample there
        same_gradients(one, other)


@pytest.mark.parametrize(
    "names", [("input_current", "v_th"), ("input_current", "v_th", "mu")], ids=["forward", "reverse"]
)
def test_so_is_an_unbiased_gradient_which_looks_at_hazards_between_spikes(names):
    def late_and_first(trains):  # it matters which neuron fires
        there = trains.neurons >= 0
        weights = there / (1.0 + trains.neurons + ~there)
        return (weights * np.where(there, trains.times, 0.0)).sum(axis=1), weights

    net = network().replace(input_current=1.1)
    (value, one), (same_value, two) = (
        ssnn.value_and_grad(*(ssnn.SampleMean(late_and_first), net, names), t1=0.15, dt=0.001, seed=3, threads=threads)
        for threads in (1, 2)
    )
    assert value == same_value
    assert all(np.array_equal(one[name], two[name]) for name in names)
    assert one["v_th"] != 0


MANY_THREADS = """
import numpy as np
import ssnn_py as ssnn
from ssnn_py.engine import boot

net = ssnn.SLIFNetwork(ssnn.random_weights(2200, 40, -1.5, 1.0, gain=40.0), 1.1, mu=(20.0, 100.0), sigma=0.5)
assert boot.runtime().threads == 4
one, *others = (ssnn.simulate(net, 0.2, 0.001, seed=3, threads=threads, saveat=[0.0204]) for threads in (1, 2, 3, 4))
assert one.num_spikes[0] > 20, one.num_spikes
assert all(np.array_equal(one.spike_times, other.spike_times) for other in others)
assert all(np.array_equal(one.v, other.v) for other in others)
tangents, *more = (each.tangents({"v_th": 1.0, "mu": [0.0, 1.0]}) for each in (one, *others))
assert all(np.array_equal(tangents.spike_times, other.spike_times) for other in more)
assert all(np.array_equal(tangents.v, other.v) for other in more)
bar = np.where(np.isfinite(one.spike_times), 1.0, 0.0)
gradient, *more = (each.vjp(bar, "weights")["weights"].data for each in (one, *others))
assert np.abs(gradient).max() > 0
assert all(np.array_equal(gradient, other) for other in more)
"""


def test_a_sample_is_the_same_on_more_threads_than_there_are_processors():
    names = "SSNN_NUM_THREADS", "JULIA_NUM_THREADS", "PYTHON_JULIACALL_THREADS"
    environment = {**os.environ, **dict.fromkeys(names, "4")}
    done = subprocess.run(
        [sys.executable, "-c", MANY_THREADS], env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr


def test_spikes_from_outside_reach_the_neurons_of_both_threads():
    rng = np.random.default_rng(4)
    inputs = ssnn.SpikeInput(sparse.random(3, 2100, 0.3, "csr", random_state=5) * 2)
    spikes = ssnn.SpikeTrains(
        [np.sort(rng.uniform(0, 0.05, 20))], [rng.integers(0, 3, 20)], num_neurons=3, t0=0.0, t1=0.1503
    )
    one, other = runs(network(inputs=inputs), input_spikes=spikes)
    silent = ssnn.simulate(network(), 0.1503, 0.001, seed=3, threads=2)
    assert one.num_spikes[0] != silent.num_spikes[0]
    same(one, other)
    same_tangents(one, other)
    same_gradients(one, other)


@pytest.mark.parametrize("then", ["v = 0", "v -= 1"])
def test_models_from_formulas_and_steps_of_finer_noise_are_shared_too(then):
    model = ssnn.EventSDE(
        "dv/dt = (a - v)/tau + s*xi/sqrt(tau)",
        ssnn.Event(hazard="r*exp(b*(v - 1))", then=then, dead_zone=0.01),
        synapse="v += w",
        parameters={"a": 0.9, "tau": 0.02, "s": 0.3, "r": 10.0, "b": 5.0},
    )
    net = ssnn.Network(model, weights=network().weights * 0.01)
    one, other = runs(net, noise_dt=0.004)
    assert one.num_spikes[0] > 100
    same(one, other)
    if then == "v -= 1":  # a reset forgets the potential, but not its noise: no derivatives
        same_tangents(one, other)
        same_gradients(one, other)


def test_a_sample_stops_at_its_last_spike_on_both_threads():
    one, other = runs(network(), max_spikes=50)
    assert one.truncated[0]
    assert one.num_spikes[0] == 50
    same(one, other)
    same_tangents(one, other)
    same_gradients(one, other)


def test_a_run_that_goes_on_is_the_same_on_two_threads():
    settings = {"dt": 0.001, "seed": 3}
    whole = ssnn.simulate(network(), 0.15, threads=1, **settings)
    later = ssnn.simulate(network(), 0.075, threads=2, **settings).continue_to(0.15)
    late = whole.spike_times[0] > 0.075
    assert np.array_equal(whole.spike_times[0][late], later.spike_times[0])
    assert np.array_equal(whole.spike_neurons[0][late], later.spike_neurons[0])


def test_an_error_in_one_thread_ends_the_others():
    weights = np.zeros(2100)
    weights[2000] = 1e308  # the current of one of the last thread's neurons
    net = network().replace(input_current=weights)
    with pytest.raises(ssnn.JuliaError, match="no longer finite"):
        ssnn.simulate(net, 0.05, 0.001, threads=2)
    count = ssnn.SampleMean(lambda trains: (trains.num_spikes, None))
    with pytest.raises(ssnn.JuliaError, match="no longer finite"):
        ssnn.value_and_grad(count, net, "v_th", t1=0.05, dt=0.001, threads=2)
    same(*runs(network()))


def test_synapses_of_a_sparse_network_are_read_where_they_are():
    net = network()
    assert net.synapses.targets.dtype == np.int32
    held = net.synapses.targets.nbytes + net.parameters["weights"].nbytes
    assert held == 12 * net.synapses.targets.size
    assert np.shares_memory(net.weight_values, net.parameters["weights"])


def most_bytes_allocated(work):
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_a_network_is_made_with_one_copy_of_its_synapses():
    weights = ssnn.random_weights(2000, 500)
    ssnn.SLIFNetwork(weights)
    assert most_bytes_allocated(lambda: ssnn.SLIFNetwork(weights)) < 14 * weights.nnz


def test_a_run_takes_no_memory_for_its_synapses():
    net = ssnn.SLIFNetwork(ssnn.random_weights(2000, 500), 1.5, mu=(20.0, 100.0), sigma=0.5)

    def run():
        ssnn.simulate(net, 0.01, 0.001)

    run()
    assert most_bytes_allocated(run) < net.synapses.targets.size


@pytest.mark.parametrize("form", ["canonical", "unsorted", "twice"])
def test_a_network_keeps_its_synapses_when_the_matrix_is_changed(form):
    weights = ssnn.random_weights(30, 4, seed=3)
    if form == "unsorted":
        weights = sparse.csr_matrix((weights.data[::-1], weights.indices[::-1], weights.indptr), shape=(30, 30))
    if form == "twice":
        weights = sparse.csr_matrix((np.ones(3), [1, 0, 1], [0] + [3] * 30), shape=(30, 30))
    dense, delays, given = weights.toarray(), weights.copy(), weights.indices.copy()
    delays.sum_duplicates()
    delays.data[:] = 0.5
    net = ssnn.SLIFNetwork(weights, mu=(5.0, 3.0), delays=delays)
    assert np.array_equal(weights.indices, given)
    weights.data[:], weights.indices[:], delays.data[:] = 7.0, 2, 9.0
    assert np.array_equal(net.weights.toarray(), dense)
    assert set(net.parameters["delays"]) == {0.5}


def test_the_builder_draws_distinct_targets_and_no_self_connections():
    weights = ssnn.random_weights(300, 40, seed=1)
    assert weights.indices.dtype == np.int32
    rows = weights.indices.reshape(300, 40)
    assert (np.diff(rows, axis=1) > 0).all()
    assert not (rows == np.arange(300)[:, None]).any()
    counts = np.bincount(weights.indices, minlength=300)
    assert counts.std() < 2 * np.sqrt(40)
