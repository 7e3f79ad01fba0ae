"""Tangents and adjoints are the derivatives of the discretised map."""

import numpy as np
import pytest
from conftest import needs_julia
from helpers import one_neuron, random_network, run_arguments, scalar, with_parameter

import ssnn_py as ssnn
from ssnn_py import engine

NAMES = ["weights", "input_current", "mu", "sigma", "v_reset", "alpha", "beta", "v_th", "tau", "v0", "i0"]


def central_difference(network, arguments, name, direction, bars, step):
    value = {**network.parameters, **{k: np.asarray(arguments.get(k, 0.0)) for k in ("v0", "i0")}}[name]
    ahead, behind = (with_parameter(network, arguments, name, value + sign * step * direction) for sign in (1, -1))
    assert np.array_equal(ahead.spike_neurons, behind.spike_neurons), "the step crosses a change of spikes"
    return (scalar(ahead, bars) - scalar(behind, bars)) / (2 * step)


def check_all(network, arguments, names, tolerance=1e-6):
    solution = ssnn.simulate(network, **arguments)
    assert solution.num_spikes.sum() > 0
    rng = np.random.default_rng(7)
    bars = tuple(rng.normal(size=part.shape) for part in (solution.spike_times, solution.v, solution.i))
    reverse = solution.vjp(bars[0], v_bar=bars[1], i_bar=bars[2])
    for name in names:
        value = solution.problem.parameters[name]
        direction = rng.normal(size=value.shape)
        if name == "weights":
            direction = direction * (value != 0)
        tangents = solution.tangents({name: direction})
        forward = sum(
            (bar * np.nan_to_num(dot[0])).sum()
            for bar, dot in zip(bars, (tangents.spike_times, tangents.v, tangents.i), strict=True)
        )
        assert (reverse[name] * direction).sum() == pytest.approx(forward, rel=1e-10, abs=1e-10)
        # Richardson's extrapolation of two central differences: truncation and rounding both below the tolerance.
        coarse, fine = (central_difference(network, arguments, name, direction, bars, h) for h in (4e-6, 2e-6))
        assert (4 * fine - coarse) / 3 == pytest.approx(forward, rel=tolerance, abs=tolerance), name


@pytest.mark.parametrize("name", [name for name in NAMES if name != "weights"])
def test_one_neuron_against_finite_differences(engine, name):
    dt = 0.03 if engine == "reference" else 0.01
    arguments = dict(t1=2.0, dt=dt, num_samples=3, seed=5, engine=engine, v0=0.1, i0=0.2, saveat=[0.5, 0.777, 2.0])
    check_all(one_neuron(mu=(15.0, 3.0), sigma=[[0.25, 0.1], [0.05, 0.1]]), arguments, [name])


def test_random_networks_against_finite_differences(engine):
    for seed in range(1 if engine == "reference" else 4):
        arguments = run_arguments(seed) | {"engine": engine}
        check_all(random_network(seed), arguments, NAMES, tolerance=3e-6)


def test_truncated_samples_against_finite_differences(engine):
    arguments = run_arguments(3) | {"engine": engine, "max_spikes": 6}
    check_all(random_network(3), arguments, NAMES, tolerance=3e-6)


def test_noiseless_network_against_finite_differences(engine):
    network = random_network(1).replace(sigma=0.0)
    check_all(
        network, run_arguments(1) | {"engine": engine}, [name for name in NAMES if name != "sigma"], tolerance=3e-6
    )


@pytest.mark.parametrize("solver_step", [0.01, 0.003])
def test_the_limit_of_constant_intensity_is_exact(engine, solver_step):
    """With β = 0 the rate is 1/τ: the first spike is τ·(α − log U), so ∂/∂τ = first spike/τ, and ∂/∂α = τ."""
    network = one_neuron(intensity=ssnn.ExponentialIntensity(beta=0.0, tau=0.7))
    solution = ssnn.simulate(network, t1=20.0, dt=solver_step, num_samples=20, max_spikes=1, seed=3, engine=engine)
    first = solution.spike_times[:, 0]
    np.testing.assert_allclose(solution.jvp({"tau": 1.0})[:, 0], first / 0.7, rtol=1e-10)
    np.testing.assert_allclose(solution.jvp({"alpha": 1.0})[:, 0], 0.7, rtol=1e-10)
    rate_gradient = solution.jvp({"tau": -(0.7**2)})[:, 0]
    np.testing.assert_allclose(rate_gradient, -first * 0.7, rtol=1e-10)  # ∂τ/∂rate = −τ/rate


def test_value_and_grad_takes_the_cheaper_mode_with_the_same_result(engine):
    network, arguments = random_network(0), run_arguments(0) | {"engine": engine}

    def loss(solution):
        finite = np.isfinite(solution.spike_times)
        return np.where(finite, solution.spike_times, 0).sum(), finite * 1.0, solution.v * 0 + 0.5

    arguments["gradient"] = "pathwise"
    _, few = ssnn.value_and_grad(loss, network.replace(alpha=0.05), "alpha", **arguments)
    _, many = ssnn.value_and_grad(loss, network.replace(alpha=0.05), ["alpha", "beta", "mu"], **arguments)
    np.testing.assert_allclose(few["alpha"], many["alpha"], rtol=1e-11)
    assert many["mu"].shape == (5, 2)


def test_sparse_weights_have_a_sparse_gradient(engine):
    sparse = pytest.importorskip("scipy.sparse")
    dense = random_network(2)
    arguments = run_arguments(2) | {"engine": engine}
    matrix = sparse.csr_matrix(dense.parameters["weights"])
    network = ssnn.SLIFNetwork(matrix, dense.input_current, dense.parameters["mu"], intensity=dense.intensity)
    same = ssnn.SLIFNetwork(matrix.toarray(), dense.input_current, dense.parameters["mu"], intensity=dense.intensity)
    one, two = ssnn.simulate(network, **arguments), ssnn.simulate(same, **arguments)
    assert np.array_equal(one.spike_times, two.spike_times)
    bar = np.ones(one.spike_times.shape)
    gradient, full = one.vjp(bar, "weights")["weights"], two.vjp(bar, "weights")["weights"]
    assert sparse.issparse(gradient)
    np.testing.assert_allclose(gradient.toarray(), full, rtol=1e-12)
    assert np.all(full[matrix.toarray() == 0] == 0)
    np.testing.assert_allclose(one.jvp({"weights": gradient}), two.jvp({"weights": full}), rtol=1e-10)


def test_cotangents_of_missing_spikes_are_ignored(engine):
    network = one_neuron(input_current=0.8)
    solution = ssnn.simulate(network, t1=2.0, dt=0.01, num_samples=8, max_spikes=5, seed=0, engine=engine)
    missing = np.isinf(solution.spike_times)
    assert missing.any()
    bar = np.where(missing, np.nan, 1.0)
    wanted = solution.vjp(np.where(missing, 0.0, 1.0), "input_current")
    assert solution.vjp(bar, "input_current") == wanted


@pytest.mark.parametrize(
    ("call", "word"),
    [
        (lambda s: s.vjp(np.ones((1, 1)) * np.nan, "alpha"), "spike_times_bar"),
        (lambda s: s.vjp(np.ones((7, 7)), "alpha"), "spike_times_bar"),
        (lambda s: s.vjp(v_bar="x", wrt="alpha"), "v_bar"),
        (lambda s: s.vjp(wrt="gamma"), "gamma"),
        (lambda s: s.jvp({"gamma": 1.0}), "gamma"),
        (lambda s: s.jvp({}), "directions"),
        (lambda s: s.jvp({"mu": np.ones(3)}), "mu"),
        (lambda s: s.jvp({"mu": np.nan}), "mu"),
    ],
)
def test_cotangents_and_directions_that_do_not_fit_are_named(call, word):
    solution = ssnn.simulate(one_neuron(), t1=1.0, dt=0.01, num_samples=2, max_spikes=2, engine="reference")
    with pytest.raises(ssnn.ValidationError, match=word):
        call(solution)


@pytest.mark.parametrize(
    ("loss", "wrt", "word"),
    [
        (lambda s: None, "alpha", "loss"),
        (lambda s: ("a", None), "alpha", "loss"),
        (lambda s: (1.0, np.ones(3)), "alpha", "spike_times_bar"),
        (lambda s: (1.0, None), "gamma", "gamma"),
        (lambda s: (1.0, None), [], "wrt"),
        (lambda s: (1.0, None), ["alpha", "alpha"], "wrt"),
    ],
)
def test_what_a_loss_returns_and_wrt_names_is_checked(loss, wrt, word):
    with pytest.raises(ssnn.ValidationError, match=word):
        ssnn.value_and_grad(loss, one_neuron(), wrt, t1=1.0, dt=0.01, num_samples=2, max_spikes=2, engine="reference")


@needs_julia
def test_entries_at_the_start_count_for_nothing_whatever_was_computed_before():
    network = one_neuron()
    run = {"t1": 1.0, "dt": 0.02, "num_samples": 3, "seed": 2, "max_spikes": 20}
    for saveat in ([0.5, 1.0], [0.0, 1.0]):  # one shape, so that the second call computes with what the first one made
        one, two = (ssnn.simulate(network, engine=name, saveat=saveat, **run) for name in ("julia", "reference"))
        entries = np.ones(one.v.shape)
        gradients, theirs = (s.vjp(0.0, wrt="alpha", entries_at_saves=entries)["alpha"] for s in (one, two))
        np.testing.assert_allclose(gradients, theirs, rtol=1e-9)


@needs_julia
@pytest.mark.parametrize("t1", [1.0, 30.0], ids=["as expected", "more spikes than expected"])
def test_tangents_come_along_or_after_spikes_were_counted(t1, monkeypatch):
    net = ssnn.SLIFNetwork([[0.0, 0.3], [-0.2, 0.0]], [4.0, 3.0], mu=(15.0, 5.0), sigma=0.4)

    problem = ssnn.simulate(net, t1, 0.01, num_samples=3).problem

    def solve():
        return engine.load("julia").solve(problem, {"sigma": np.ones((1,))})

    along = solve()
    assert (along.num_spikes.max() > 72) == (t1 == 30.0)  # 64 and 4 per neuron are expected
    monkeypatch.setattr("ssnn_py.engine.julia._MOST_UNCOUNTED", 0)
    counted = solve()
    assert np.array_equal(along.spike_times, counted.spike_times)
    assert np.array_equal(along.tangents.spike_times, counted.tangents.spike_times)
    assert along.tangents.spike_times.shape == (1, *along.spike_times.shape)
