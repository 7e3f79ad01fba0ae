"""Samples shared among the workers of an executor: the same numbers to the last bit, whatever happens to a worker."""

import multiprocessing
import os
import pickle
import platform
import re
import signal
import time
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor

import numpy as np
import pytest
from helpers import formula_network, random_network, random_trains, run_arguments

import ssnn_py as ssnn
from ssnn_py import losses
from ssnn_py.engine import executors, workers
from ssnn_py.errors import JuliaError


class Immediate:
    """The least that an executor may be; keeps what it was asked to do, and how many bytes were sent with it."""

    def __init__(self):
        self.calls, self.bytes = [], []

    def submit(self, work, *arguments):
        self.calls.append(arguments[0].__name__)
        self.bytes.append(len(pickle.dumps(arguments)))
        future = Future()
        try:
            future.set_result(work(*arguments))
        except Exception as error:
            future.set_exception(error)
        return future


def outcomes(network, run, **more):
    """Everything that a simulation and both modes give, as a list of arrays."""
    solution = ssnn.simulate(network, **run, **more)
    rng = np.random.default_rng(0)
    bars = rng.normal(size=solution.spike_times.shape)
    states = {name: rng.normal(size=values.shape) for name, values in solution.states.items()}
    if solution.problem.recording is None:
        gradients = solution.vjp(bars, states_bar=states)
    else:
        bars = rng.normal(size=solution.log_hazards.shape)
        gradients = solution.vjp(log_hazards_bar=bars, hazards_bar=bars, states_bar=states)
    parameters = solution.problem.parameters
    tangents = solution.tangents({name: rng.normal(size=x.shape) for name, x in parameters.items()})
    found = [solution.spike_times, solution.spike_neurons, solution.num_spikes, solution.truncated]
    found += [*solution.states.values(), tangents.spike_times, *tangents.states.values(), tangents.s]
    return found + [x.data if hasattr(x, "tocsr") else x for x in gradients.values()]


def per_sample(samples):
    return random_network(1), run_arguments(1, samples=3)


def shared(samples):
    """Every parameter one for all samples, some for all neurons."""
    network = random_network(2, per_sample=False)
    network = network.replace(mu=[6.0, 4.0], sigma=[[0.3, 0.1], [0.0, 0.2]], beta=3.0, alpha=0.05)
    rng = np.random.default_rng(4)
    spikes = ssnn.SpikeTrains(np.sort(rng.uniform(0, 1, (1, 6)), axis=1), rng.integers(0, 2, (1, 6)), 2, 0.0, 2.0)
    inputs = ssnn.SpikeInput(rng.uniform(0.1, 0.5, (2, 5)), delays=0.05)
    network = ssnn.SLIFNetwork(
        network.weights,
        network.input_current,
        delays=0.1,
        inputs=inputs,
        intensity=network.intensity,
        **{name: network.parameters[name] for name in ("mu", "sigma", "v_reset", "alpha")},
    )
    return network, dict(t1=1.0, dt=0.05, num_samples=samples, saveat=[0.3, 1.0], input_spikes=spikes, v0=0.2)


def drivers(samples):
    """A path of each sample's own, jumps that are drawn, and jumps that are given."""
    rng = np.random.default_rng(6)
    path = ssnn.SampledPath(np.linspace(0, 1, 5), rng.normal(size=(samples, 5, 2)))
    drawn = ssnn.JumpProcess(2.0, ssnn.NormalJumps(0.1, 0.3))
    driver = path + drawn + ssnn.GivenJumps([0.3, 0.55], [0.2, 0.4]) + ssnn.FractionalBrownianMotion(0.3)
    network = ssnn.SLIFNetwork([[0.0, 0.3], [0.2, 0.0]], 1.2, mu=(6.0, 4.0), sigma=0.3, driver=driver)
    return network, dict(t1=1.0, dt=0.05, num_samples=samples, saveat=[0.5], seed=3)


def clamped(samples):
    """A recording of one neuron, of each sample its own; the others run free."""
    rng = np.random.default_rng(8)
    times = np.sort(rng.uniform(0.1, 0.9, (samples, 4)), axis=1)
    observed = ssnn.SpikeTrains(times, np.zeros(times.shape, dtype=int), num_neurons=1, t0=0.0, t1=1.0)
    network = random_network(3, per_sample=False)
    return network, dict(t1=1.0, dt=0.05, num_samples=samples, observed=observed, observed_neurons=[2])


def formulas(samples):
    return formula_network(), dict(t1=1.0, dt=0.05, num_samples=samples, saveat=[0.5], seed=3)


@pytest.mark.parametrize("make", [per_sample, shared, drivers, clamped, formulas])
@pytest.mark.parametrize("samples", [1, 7, 200])
def test_numbers_are_the_same_to_the_last_bit(make, samples):
    network, run = make(samples)
    alone = outcomes(network, run)
    with ThreadPoolExecutor(3) as pool:
        for more in ({"executor": Immediate()}, {"executor": pool}, {"threads": 2}):
            for a, b in zip(alone, outcomes(network, run, **more), strict=True):
                assert np.array_equal(a, b, equal_nan=True)


def test_reverse_mode_goes_out_once_for_all_parameters():
    network, run = shared(40)
    executor = Immediate()
    solution = ssnn.simulate(network, executor=executor, **run)
    tasks = len(executor.calls)
    solution.vjp(np.ones(solution.spike_times.shape), ("mu", "beta", "weights", "delays"))
    assert executor.calls == ["_solve"] * tasks + ["_pull_back"] * tasks


@pytest.mark.parametrize("particles", [None, 4])
def test_likelihoods_are_computed_by_the_workers(particles):
    network = random_network(3, per_sample=False, matrix_noise=False).replace(alpha=0.0)
    if particles is None:
        network = network.replace(sigma=0.0)
    trains = ssnn.simulate(network, t1=0.5, dt=0.05, num_samples=3).spike_trains
    executor = Immediate()
    alone, shared_out = (
        ssnn.log_likelihood(network, trains, dt=0.05, particles=particles, filters=2, executor=one)
        for one in (None, executor)
    )
    assert executor.calls
    assert np.array_equal(alone.samples, shared_out.samples)


def test_gram_matrices_are_the_same_to_the_last_bit():
    rng = np.random.default_rng(0)
    X, Y = random_trains(rng, 23, 9, 3, ties=True), random_trains(rng, 11, 12, 3)
    paths = np.cumsum(rng.normal(0.0, 0.3, (14, 8, 2)), axis=1)
    kinds = {"normalize": True}, {"lift": "rbf"}, {"depth": 2}, {"scales": 0.3, "engine": "reference"}, {"scales": 2.0}
    for options in kinds:
        for pair in ((X, None), (X, Y), (paths, None), (paths, paths[:5])):
            alone, shared_out = (
                ssnn.signature_kernel_gram(*pair, executor=executor, **options) for executor in (None, Immediate())
            )
            assert np.array_equal(alone, shared_out)
    executor = Immediate()
    assert ssnn.two_sample_test(X, Y, 50, executor=executor) == ssnn.two_sample_test(X, Y, 50, progress=True)
    assert ssnn.signature_mmd(X, Y, normalize=True, executor=executor) == ssnn.signature_mmd(X, Y, normalize=True)
    assert set(executor.calls) == {"_block"}


@pytest.mark.parametrize(
    "options", [{}, {"normalize": True}, {"lift": "rbf", "dyadic_order": 1}, {"depth": 2}, {"scales": 0.5}]
)
def test_gradients_of_gram_matrices_are_the_same_to_the_last_bit(options):
    rng = np.random.default_rng(1)
    X, Y = random_trains(rng, 23, 9, 3, ties=True), random_trains(rng, 11, 12, 3)
    paths = np.cumsum(rng.normal(0.0, 0.3, (19, 8, 2)), axis=1)
    executor = Immediate()
    for x, y in ((X, None), (X, Y), (X[:2], Y), (paths, None), (paths, paths[:5])):
        cotangent = rng.normal(size=(len(x), len(x if y is None else y)))
        alone, shared_out = (
            ssnn.signature_kernel_gram_backprop(x, y, cotangent, executor=one, **options) for one in (None, executor)
        )
        assert all(a is b is None or np.array_equal(a, b) for a, b in zip(alone, shared_out, strict=True))
        assert np.any(alone[0] != 0.0)
    assert ("_group" in executor.calls) == ("depth" not in options)
    assert np.array_equal(
        *(ssnn.signature_mmd_backprop(X, Y, 2.0, executor=one, **options) for one in (None, executor))
    )


@pytest.mark.parametrize("normalize", [False, True])
def test_kernel_losses_of_shared_samples_are_computed_by_the_workers(monkeypatch, normalize):
    monkeypatch.setattr(losses, "CELLS_TO_SHARE", 0)
    network = random_network(2, per_sample=False, sampled=False).replace(input_current=1.3)
    data = ssnn.simulate(network, seed=5, **RUN).spike_trains[:20]
    loss, executor = ssnn.SignatureMMD(scales=0.3, normalize=normalize), Immediate()
    for gradient in ("pathwise", "unbiased"):
        (value, found), (expected, gradients) = (
            ssnn.value_and_grad(loss, network, "mu", data=data, gradient=gradient, executor=one, **RUN)
            for one in (executor, None)
        )
        assert value == expected
        assert np.array_equal(found["mu"], gradients["mu"])
    assert executor.calls.count("_group") >= 2 * 2 * 16


def test_kernels_of_few_spikes_stay_with_this_process():
    network = random_network(2, per_sample=False, sampled=False)
    data, executor = ssnn.simulate(network, seed=5, **RUN).spike_trains[:5], Immediate()
    ssnn.fit(network, data, ssnn.SignatureMMD(scales=0.3), "mu", 1, t1=2.0, dt=0.02, executor=executor)
    assert set(executor.calls) == {"_solve", "_pull_back"}


def test_multilevel_estimates_are_computed_by_the_workers():
    executor, network = Immediate(), random_network(1, per_sample=False, sampled=False)
    alone, shared_out = (
        ssnn.multilevel(network, first_spikes, 1.0, 0.1, 0.1, pilot_samples=20, max_levels=2, executor=one)
        for one in (None, executor)
    )
    assert executor.calls
    assert alone == shared_out


def first_spikes(solution):
    return (
        np.minimum(solution.spike_times[:, 0], 1.0) if solution.spike_times.size else np.ones(len(solution.truncated))
    )


# --- what travels -----------------------------------------------------------------------------------------------------


def test_a_large_network_travels_once(monkeypatch):
    monkeypatch.setattr(workers, "_KEPT", {})
    rng = np.random.default_rng(0)
    network = ssnn.SLIFNetwork(rng.uniform(0.0, 0.01, (100, 100)), 1.5, mu=(6.0, 5.0), sigma=0.3)
    run, executor = dict(t1=0.2, dt=0.05, num_samples=20), Immediate()
    alone = ssnn.simulate(network, threads=1, **run)
    assert ssnn.simulate(network, executor=executor, **run) == alone
    size, tasks = network.weights.nbytes, len(executor.calls)
    assert min(executor.bytes) > 2.5 * size  # weights, targets of half their size and where they stand
    ssnn.simulate(network.replace(input_current=1.2), executor=executor, **run)
    assert len(executor.calls) == 2 * tasks
    assert max(executor.bytes[tasks:]) < size / 4
    bars = np.ones(alone.spike_times.shape)
    gradients = ssnn.simulate(network, executor=executor, **run).vjp(bars, "mu")
    assert np.array_equal(gradients["mu"], alone.vjp(bars, "mu")["mu"])


def test_a_worker_that_has_not_seen_an_array_asks_for_it(monkeypatch):
    monkeypatch.setattr(workers, "_KEPT", {})
    network = ssnn.SLIFNetwork(np.full((60, 60), 0.01), 1.5, mu=(6.0, 5.0), sigma=0.3)
    run, executor = dict(t1=0.2, dt=0.05, num_samples=20), Immediate()
    alone = ssnn.simulate(network, executor=executor, **run)
    tasks = len(executor.calls)
    workers._KEPT.clear()  # as of another worker, or one that was started again
    assert np.array_equal(ssnn.simulate(network, executor=executor, **run).spike_times, alone.spike_times)
    assert 2 * tasks < len(executor.calls) <= 3 * tasks


def test_workers_let_go_of_what_is_too_much(monkeypatch):
    monkeypatch.setattr(workers, "_KEPT", {})
    monkeypatch.setattr(workers, "MAX_KEPT_BYTES", 10 * 60**2 * 8)
    executor = Immediate()
    for value in range(6):
        network = ssnn.SLIFNetwork(np.full((60, 60), 0.01 * value), 1.5, mu=(6.0, 5.0), sigma=0.3)
        ssnn.simulate(network, t1=0.1, dt=0.05, num_samples=2, executor=executor)
    assert sum(array.nbytes for array in workers._KEPT.values()) <= workers.MAX_KEPT_BYTES


def test_arrays_that_may_change_travel_every_time(monkeypatch):
    monkeypatch.setattr(workers, "_KEPT", {})
    mine = np.zeros(2**13)
    view = mine.view()
    view.flags.writeable = False
    shared_out = workers.Workers(Immediate())
    for value in range(3):
        mine[:] = value
        assert shared_out.map(np.sum, [(mine,), (view,)]) == [2**13 * value] * 2


# --- other processes --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def pool():
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as made:
        yield made


RUN = dict(t1=2.0, dt=0.02, num_samples=33)


def count(solution):
    """The mean number of spikes, with what one more would change."""
    shape = len(solution.num_spikes), solution.network.num_neurons
    return solution.num_spikes.mean(), None, None, None, np.full(shape, 1 / shape[0])


@pytest.mark.parametrize("gradient", ["pathwise", "unbiased"])
@pytest.mark.parametrize("wrt", ["input_current", ("weights", "mu")])
def test_losses_and_training_by_processes_are_the_same(pool, gradient, wrt):
    network = random_network(2, per_sample=False, sampled=False).replace(input_current=1.3)
    a, b = (
        ssnn.value_and_grad(count, network, wrt, gradient=gradient, executor=executor, **RUN)
        for executor in (None, pool)
    )
    assert a[0] == b[0]
    assert all(np.array_equal(a[1][name], b[1][name]) for name in a[1])
    if gradient == "pathwise":
        data = ssnn.simulate(network, seed=5, **RUN).spike_trains
        fits = [
            ssnn.fit(network, data, ssnn.ExpectedSignatureLoss(depth=2), wrt, 2, t1=2.0, dt=0.02, executor=executor)
            for executor in (None, pool)
        ]
        assert all(np.array_equal(fits[0].history[name], fits[1].history[name]) for name in fits[0].parameters)


def test_a_killed_worker_costs_no_number():
    network = random_network(2, per_sample=False, sampled=False)
    expected = ssnn.simulate(network, **RUN)
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(2, mp_context=context) as doomed:
        list(doomed.map(time.sleep, [0.5, 0.5]))  # both are there: CPython's pool may hang if it breaks as it grows
        victim = doomed.submit(os.getpid).result()
        os.kill(victim, signal.SIGKILL)
        with pytest.warns(ssnn.WorkerLostWarning, match="this process computes what is missing"):
            solution = ssnn.simulate(network, executor=doomed, **RUN)
    assert np.array_equal(solution.spike_times, expected.spike_times)


# --- what goes wrong --------------------------------------------------------------------------------------------------


def test_errors_name_the_sample_as_without_workers():
    network = random_network(1, per_sample=False, sampled=False)
    start = np.zeros((40, 5))
    start[29, 2] = 1e308
    run = dict(t1=1.0, dt=0.02, num_samples=40, v0=start)
    messages = []
    for executor in (None, Immediate()):
        with pytest.raises(ssnn.SSNNError, match="solution of sample 29 is no longer finite") as caught:
            ssnn.simulate(network, executor=executor, **run)
        messages.append(str(caught.value))
    assert messages[0] == messages[1]


def test_a_worker_without_julia_is_named_once(monkeypatch):
    def no_julia(name):
        raise JuliaError("libjulia is not there")

    monkeypatch.setattr(executors, "load", no_julia)
    network, executor = random_network(1, per_sample=False), Immediate()
    name = re.escape(f"the worker {platform.node()}, process {os.getpid()}, has no Julia: libjulia is not there")
    with pytest.raises(JuliaError, match=name):
        ssnn.simulate(network, t1=1.0, dt=0.1, num_samples=3, executor=executor)


class Interrupted(Immediate):
    """An executor that Ctrl-C comes to while its second task runs."""

    def __init__(self):
        super().__init__()
        self.futures = []

    def submit(self, work, *arguments):
        self.futures.append(super().submit(work, *arguments) if not self.futures else Future())
        if len(self.futures) == 2:
            self.futures[1].set_exception(KeyboardInterrupt())
        return self.futures[-1]


def test_ctrl_c_cancels_what_has_not_begun():
    executor = Interrupted()
    with pytest.raises(KeyboardInterrupt):
        ssnn.simulate(random_network(1, per_sample=False), t1=1.0, dt=0.1, num_samples=16, executor=executor)
    assert all(future.cancelled() for future in executor.futures[2:])
    assert len(executor.futures) > 2


def test_progress_is_that_of_the_whole(capsys):
    network = random_network(1, per_sample=False)
    ssnn.simulate(network, t1=1.0, dt=0.1, num_samples=16, executor=Immediate(), progress=True)
    assert "16/16" in capsys.readouterr().err
    with pytest.raises(ssnn.ValidationError, match="progress is shown with an executor"):
        ssnn.simulate(network, t1=1.0, dt=0.1, progress=True)


def test_what_is_no_executor_is_refused():
    with pytest.raises(ssnn.ValidationError, match="executor must have the method submit"):
        ssnn.simulate(random_network(1, per_sample=False), t1=1.0, dt=0.1, executor=4)


def test_an_executor_belongs_to_no_file_copy_or_comparison(tmp_path):
    network, run = formulas(3)
    run["threads"] = 1
    solution, alone = ssnn.simulate(network, executor=Immediate(), **run), ssnn.simulate(network, **run)
    assert solution == alone
    ssnn.save(tmp_path / "solution", solution)
    assert ssnn.load(tmp_path / "solution") == alone
