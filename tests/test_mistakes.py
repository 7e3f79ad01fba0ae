"""Mistakes of a first hour: what is asked for and cannot be is said, and what would be lost or wasted is not."""

import resource
from pathlib import Path

import numpy as np
import pytest
from helpers import formula_network, one_neuron
from scipy import sparse

import ssnn_py as ssnn
from ssnn_py import cli

RUN = dict(t1=1.0, dt=0.05)


@pytest.fixture(scope="module")
def solution():
    return ssnn.simulate(one_neuron(), num_samples=2, max_spikes=3, engine="reference", **RUN)


# --- cotangents, directions and names ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["v_bar", "i_bar", "entries_at_saves"])
def test_cotangents_of_values_that_were_not_recorded_are_refused(solution, name):
    """Their gradient would be zero, and look like one."""
    for bar in (1.0, np.ones((2, 1, 1))):
        with pytest.raises(ssnn.ValidationError, match=f"{name} must not be given.* give saveat"):
            solution.vjp(wrt="alpha", **{name: bar})
    assert solution.vjp(wrt="alpha", **{name: np.ones((2, 0, 1))})["alpha"] == 0.0
    with pytest.raises(ssnn.ValidationError, match=r"v_bar must not be given.* give saveat"):
        solution.vjp(states_bar={"v": 1.0})


@pytest.mark.parametrize("bar", [1j, np.ones((2, 3)) + 0j, np.complex64(1), "1", None, [[None] * 3] * 2])
def test_cotangents_are_real_numbers(solution, bar):
    if bar is None:
        bar = np.full((2, 3), None)
    with pytest.raises(ssnn.ValidationError, match=r"spike_times_bar must be real numbers of shape \(2, 3\), got"):
        solution.vjp(bar, "alpha")


@pytest.mark.parametrize("wrt", [3, [3], [["alpha"]], b"alpha", {"alpha", 3}, True])
def test_wrt_is_names(solution, wrt):
    net, message = one_neuron(), "wrt must be the name of a parameter, or a sequence of names, got"
    with pytest.raises(ssnn.ValidationError, match=message):
        solution.vjp(1.0, wrt)
    with pytest.raises(ssnn.ValidationError, match=message):
        ssnn.value_and_grad(ssnn.FirstSpikeLoss(1), net, wrt, data=solution, engine="reference", **RUN)
    with pytest.raises(ssnn.ValidationError, match=message):
        ssnn.fit(net, solution, ssnn.FirstSpikeLoss(1), wrt, 1, engine="reference", **RUN)


@pytest.mark.parametrize("directions", ["input_current", ["input_current"], None, 1.0])
def test_directions_are_a_mapping(solution, directions):
    with pytest.raises(ssnn.ValidationError, match=r"directions must map names of parameters to tangents.*got"):
        solution.jvp(directions)
    with pytest.raises(ssnn.ValidationError, match="states_bar must map names of variables"):
        solution.vjp(states_bar=directions or [])


@pytest.mark.parametrize("name", [3, (), ("alpha",)])
def test_a_direction_has_a_name(solution, name):
    with pytest.raises(ssnn.ValidationError, match="directions"):
        solution.jvp({name: 1.0})


# --- arguments --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["num_samples", "max_spikes", "seed", "threads", "first_sample", "t1", "dt", "saveat"])
def test_truth_values_are_no_numbers(name):
    with pytest.raises(ssnn.ValidationError, match=rf"{name} must be an? (integer|number), got True"):
        ssnn.simulate(one_neuron(), **{**RUN, "engine": "reference", name: True})


@pytest.mark.parametrize("t1", [1j, np.complex128(1), "1", None])
def test_complex_numbers_and_texts_are_no_times(t1):
    with pytest.raises(ssnn.ValidationError, match="t1 must be a number, got"):
        ssnn.simulate(one_neuron(), t1, 0.1, engine="reference")


@pytest.mark.parametrize("current", [None, "1", [None]])
def test_a_current_is_a_number(current):
    with pytest.raises(ssnn.ValidationError, match=r"input_current must be a number or an array of shape .*, got"):
        ssnn.SLIFNetwork([[0.0]], input_current=current)


@pytest.mark.parametrize("weights", [None, sparse.csr_matrix((0, 0)), sparse.csr_matrix((2, 3))])
def test_weights_that_are_no_square_matrix_are_refused(weights):
    with pytest.raises(ssnn.ValidationError, match="weights must be a matrix of shape"):
        ssnn.SLIFNetwork(weights)


@pytest.mark.parametrize(
    ("saveat", "message"),
    [
        ([0.5, 0.2], "saveat must be strictly increasing, got 0.5 and then 0.2"),
        ([0.1, 0.3, 0.3], "saveat must be strictly increasing, got 0.3 and then 0.3"),
        ([0.5, 1.25], r"saveat must lie within \[t0, t1\] = \[0.0, 1.0\], got 1.25"),
        ([-0.5, 0.5], r"saveat must lie within \[t0, t1\] = \[0.0, 1.0\], got -0.5"),
        (-1, "saveat must be positive, got -1.0"),
    ],
)
def test_refused_times_of_saveat_are_shown(saveat, message):
    with pytest.raises(ssnn.ValidationError, match=message):
        ssnn.simulate(one_neuron(), saveat=saveat, engine="reference", **RUN)


def test_shapes_of_a_sampled_current_are_named_in_their_order():
    times = [0.0, 1.0, 2.0, 3.0]
    with pytest.raises(
        ssnn.ValidationError, match=r"values must be .*\(S, M, N\), .* M = 4 times, got shape \(2, 3, 4"
    ):
        ssnn.SampledCurrent(times, np.ones((2, 3, 4)))
    with pytest.raises(ssnn.ValidationError, match=r"\(2, 4, 2\).*\(S, M, N\), with M = 4 times and N = 3 neurons"):
        ssnn.SLIFNetwork(np.zeros((3, 3)), input_current=ssnn.SampledCurrent(times, np.ones((2, 4, 2))))
    net = ssnn.SLIFNetwork(np.zeros((3, 3)), input_current=ssnn.SampledCurrent(times, np.ones((2, 4, 3))))
    with pytest.raises(ssnn.ValidationError, match=r"\(2, 4, 3\), which does not fit 5 samples.*\(S, M, N\)"):
        ssnn.simulate(net, num_samples=5, engine="reference", **RUN)


def test_negative_noise_is_mirrored_noise():
    """The deviation from the path without noise changes its sign, and nothing else."""
    silent = ssnn.ExponentialIntensity(v_th=100.0)
    runs = [
        ssnn.simulate(one_neuron(sigma=sigma, intensity=silent), saveat=0.1, engine="reference", **RUN).v
        for sigma in (-0.25, 0.0, 0.25)
    ]
    assert np.abs(runs[2] - runs[1]).max() > 0.01
    assert np.allclose(runs[0] - runs[1], runs[1] - runs[2], rtol=0, atol=1e-14)


def test_solutions_can_be_compared(engine):
    def solve(seed):
        return ssnn.simulate(one_neuron(), num_samples=2, seed=seed, saveat=0.25, max_spikes=2, engine=engine, **RUN)

    assert solve(1) == solve(1)
    assert solve(1) != solve(2)
    assert solve(1) != 1


# --- memory -----------------------------------------------------------------------------------------------------------


def test_a_large_limit_of_spikes_takes_memory_for_those_that_come(engine):
    same = dict(num_samples=3, seed=4, engine=engine, saveat=0.25, **RUN)
    unlimited = ssnn.simulate(one_neuron(), **same)
    limited = ssnn.simulate(one_neuron(), max_spikes=10**9, **same)
    assert limited.spike_times.shape == unlimited.spike_times.shape
    assert np.array_equal(limited.spike_times, unlimited.spike_times)
    assert np.array_equal(limited.v, unlimited.v)
    assert not limited.truncated.any()
    bar = np.ones(limited.spike_times.shape)
    assert np.array_equal(limited.vjp(bar, "mu")["mu"], unlimited.vjp(bar, "mu")["mu"])
    assert np.array_equal(limited.jvp({"tau": 1.0}), unlimited.jvp({"tau": 1.0}))


def test_a_large_limit_of_spikes_is_kept(engine, monkeypatch):
    """Where it is reached, after the arrays have grown more than once."""
    monkeypatch.setattr("ssnn_py.engine.LONGEST_LIMIT", 5)
    limit, tau = (300, 1e-3) if engine == "julia" else (8, 0.02)
    fast = one_neuron(intensity=ssnn.ExponentialIntensity(beta=0.0, tau=tau), alpha=0.0, v_reset=0.0)
    solution = ssnn.simulate(fast, t1=1.0, dt=0.005, max_spikes=limit, engine=engine)
    assert solution.truncated.all()
    assert solution.spike_times.shape == (1, limit)
    assert np.isfinite(solution.spike_times).all()
    # At a constant rate 1/tau spike times are proportional to tau.
    assert tau * solution.vjp(1.0, "tau")["tau"] == pytest.approx(solution.spike_times.sum(), rel=1e-9)
    assert np.allclose(tau * solution.jvp({"tau": 1.0}), solution.spike_times, rtol=1e-9)
    cut = ssnn.simulate(fast, t1=0.02 + solution.spike_times[0, -2], dt=0.005, max_spikes=limit, engine=engine)
    assert (cut.spike_times[0, : limit - 1] == solution.spike_times[0, :-1]).all()


def memory_in_use():
    """Bytes of this process's address space."""
    statm = Path("/proc/self/statm")
    if not statm.exists():
        pytest.skip("there is no /proc to tell how much memory is in use")
    return int(statm.read_text().split()[0]) * resource.getpagesize()


def test_large_sparse_weights_are_read_without_a_dense_matrix():
    """200,000² truth values alone would take 40 GB."""
    n = 200_000
    weights = sparse.csr_matrix((np.ones(3), ([0, 5, n - 1], [1, 0, 7])), shape=(n, n))
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (memory_in_use() + 2**33, before[1]))
    try:
        net = ssnn.SLIFNetwork(weights)
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)
    assert (net.num_neurons, net.synapses.targets.tolist()) == (n, [1, 0, 7])


# --- training ---------------------------------------------------------------------------------------------------------


def count_loss():
    return ssnn.SampleMean(lambda trains: (trains.num_spikes, None))


def test_ctrl_c_keeps_the_training_up_to_there(tmp_path):
    def ctrl_c(step, record):
        if step == 4:
            raise KeyboardInterrupt

    same = dict(wrt=["input_current", "mu"], num_samples=4, engine="reference", record_every=2, **RUN)
    whole = ssnn.fit(one_neuron(), None, count_loss(), steps=8, **same)
    with pytest.raises(KeyboardInterrupt, match=r"after 5 of 8 steps.*run.npz") as caught:
        ssnn.fit(one_neuron(), None, count_loss(), steps=8, callback=ctrl_c, checkpoint=tmp_path / "run", **same)
    assert isinstance(caught.value, ssnn.TrainingInterrupted)
    result = caught.value.result
    assert (result.stopped, result.num_steps) == ("interrupted", 5)
    assert np.array_equal(result.history["loss"], whole.history["loss"][:5])
    assert np.array_equal(result.history["mu"], whole.history["mu"][:3])
    assert np.array_equal(result.network.parameters["mu"], result.parameters["mu"])
    kept = ssnn.FitResult.load(tmp_path / "run", one_neuron())
    assert (kept.stopped, kept.num_steps) == ("interrupted", 5)
    assert np.array_equal(kept.parameters["mu"], result.parameters["mu"])
    resumed = ssnn.fit(one_neuron(), None, count_loss(), steps=8, checkpoint=tmp_path / "run", **same)
    assert np.array_equal(resumed.history["loss"], whole.history["loss"])
    assert resumed.stopped == "steps"


@pytest.mark.parametrize("calls", [1, 4])
def test_ctrl_c_within_a_step_leaves_the_step_out(calls, tmp_path):
    """Whenever it comes: here within the loss, of the first step or of a later one."""
    made = []

    def loss(generated, data):
        made.append(1)
        if len(made) == calls:
            raise KeyboardInterrupt
        return 1.0, np.ones(generated.spike_times.shape)

    path = tmp_path / "run.npz"
    with pytest.raises(ssnn.TrainingInterrupted) as caught:
        ssnn.fit(
            *(one_neuron(), None, loss, "input_current", 9),
            **dict(num_samples=2, gradient="pathwise", engine="reference", checkpoint=path, **RUN),
        )
    result = caught.value.result
    assert result.num_steps == calls - 1
    assert {name: len(column) for name, column in result.history.items()} == dict.fromkeys(result.history, calls - 1)
    assert path.exists() == (calls > 1)


def test_a_loss_without_a_value_is_not_blamed_on_the_training():
    """Neither on the step nor on the learning rate: at the first step it is the loss itself."""
    with pytest.raises(ssnn.DivergedError, match=r"step 0: the loss is nan, though the simulation is finite") as caught:
        ssnn.fit(
            *(one_neuron(), None, lambda generated, data: (np.nan, None), "mu", 3),
            **dict(num_samples=2, gradient="pathwise", engine="reference", **RUN),
        )
    assert "rate" not in str(caught.value)
    assert "dt" not in str(caught.value)


@pytest.mark.parametrize("gradient", ["pathwise", "unbiased"])
def test_a_function_of_a_sample_without_a_value_is_named(gradient):
    """Samples that have fewer spikes than the others end in inf."""
    late = ssnn.SampleMean(lambda trains: (trains.times.sum(axis=1), None))
    run = dict(num_samples=8, gradient=gradient, engine="reference", **RUN)
    with pytest.raises(ssnn.ValidationError, match=r"function must return finite values, got inf for sample \d; is it"):
        ssnn.value_and_grad(late, one_neuron(), "mu", **run)


def test_a_current_without_a_value_is_not_blamed_on_dt(engine):
    current = ssnn.FormulaCurrent("1 + log(0.5 - t)")
    with pytest.raises(ssnn.SSNNError, match=r"input_current is (nan|-inf) at t = 0.5, FormulaCurrent") as caught:
        ssnn.simulate(one_neuron(input_current=current), engine=engine, **RUN)
    assert "too large" not in str(caught.value)


@pytest.mark.usefixtures("julia")
def test_a_function_in_julia_without_a_value_is_named():
    with pytest.raises(ssnn.JuliaError, match=r"input_current gives no number somewhere, JuliaFunction"):
        ssnn.simulate(one_neuron(input_current=ssnn.JuliaFunction("t -> NaN")), engine="julia", **RUN)


# --- the package ------------------------------------------------------------------------------------------------------


def test_the_command_line_tells_its_version(capsys):
    with pytest.raises(SystemExit) as done:
        cli.main(["--version"])
    assert done.value.code == 0
    assert capsys.readouterr().out == f"ssnn_py {ssnn.__version__}\n"


def test_type_checkers_are_told_that_the_package_has_types():
    """In the folder that the wheel takes whole."""
    folder = Path(ssnn.__file__).parent
    assert (folder / "py.typed").is_file()
    assert 'packages = ["ssnn_py"]' in (folder.parent / "pyproject.toml").read_text()


def test_networks_of_formulas_refuse_the_same(engine):
    solution = ssnn.simulate(formula_network(), engine=engine, **RUN)
    with pytest.raises(ssnn.ValidationError, match=r"a_bar must not be given.* give saveat"):
        solution.vjp(states_bar={"a": 1.0})
