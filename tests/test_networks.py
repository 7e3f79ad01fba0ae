"""Networks: the adjoint against the tangent, events at awkward times, conditions of the gradient, builders."""

import numpy as np
import pytest
from conftest import needs_julia
from helpers import one_neuron, random_network, run_arguments, scalar, with_parameter
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import ssnn_py as ssnn

QUICK = settings(max_examples=25, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])


def check_adjoint(solution, rng, tolerance=1e-10):
    """⟨x̄, J ẋ⟩ both ways, for a random direction of all parameters at once."""
    parameters = solution.problem.parameters
    direction = {name: rng.normal(size=value.shape) for name, value in parameters.items()}
    if parameters["weights"].ndim == 2:
        direction["weights"] = direction["weights"] * (parameters["weights"] != 0)
    tangents = solution.tangents(direction)
    bars = [rng.normal(size=part.shape) for part in (solution.spike_times, solution.v, solution.i)]
    forward = sum(
        (bar * np.nan_to_num(dot[0])).sum()
        for bar, dot in zip(bars, (tangents.spike_times, tangents.v, tangents.i), strict=True)
    )
    gradients = solution.vjp(bars[0], v_bar=bars[1], i_bar=bars[2])
    reverse = 0.0
    size = 0.0
    for name, dot in direction.items():
        gradient = gradients[name].data if hasattr(gradients[name], "tocsr") else gradients[name]
        reverse += (gradient * dot).sum()
        size += np.abs(gradient * dot).sum()
    assert abs(forward - reverse) <= tolerance * (size + 1e-300)


@needs_julia
@pytest.mark.parametrize("neurons", [2, 10, 50])
@pytest.mark.parametrize("matrix_noise", [False, True])
@pytest.mark.parametrize("sparse", [False, True])
def test_adjoint_is_the_transpose_of_the_tangent(neurons, matrix_noise, sparse):
    network = random_network(neurons, neurons, 3, density=min(1.0, 8 / neurons), matrix_noise=matrix_noise)
    if sparse:
        scipy_sparse = pytest.importorskip("scipy.sparse")
        p = network.parameters
        network = ssnn.SLIFNetwork(
            scipy_sparse.csr_matrix(p["weights"]),
            network.input_current,
            p["mu"],
            p["sigma"],
            p["v_reset"],
            p["alpha"],
            network.intensity,
        )
    solution = ssnn.simulate(network, **run_arguments(neurons, neurons, 3))
    assert solution.num_spikes.sum() > 5 * neurons
    check_adjoint(solution, np.random.default_rng(neurons))


@needs_julia
def test_fifty_neurons_and_hundreds_of_spikes_against_finite_differences():
    network = random_network(50, 50, 2, density=0.15)
    arguments = run_arguments(50, 50, 2) | {"t1": 1.6, "saveat": [0.0, 0.333, 1.6]}
    solution = ssnn.simulate(network, **arguments)
    assert solution.num_spikes.min() > 200
    rng = np.random.default_rng(5)
    bars = tuple(rng.normal(size=part.shape) for part in (solution.spike_times, solution.v, solution.i))
    gradients = solution.vjp(bars[0], v_bar=bars[1], i_bar=bars[2])
    for name, value in solution.problem.parameters.items():
        direction = rng.normal(size=value.shape) * (value != 0 if name == "weights" else 1.0)
        estimates = []
        for step in (4e-8, 2e-8):
            ahead, behind = (
                with_parameter(network, arguments, name, value + sign * step * direction) for sign in (1, -1)
            )
            assert np.array_equal(ahead.spike_neurons, behind.spike_neurons)
            estimates.append((scalar(ahead, bars) - scalar(behind, bars)) / (2 * step))
        wanted = (4 * estimates[1] - estimates[0]) / 3
        assert (gradients[name] * direction).sum() == pytest.approx(
            wanted, rel=1e-5, abs=1e-5 * np.abs(gradients[name]).max()
        ), name


@needs_julia
@QUICK
@given(
    seed=st.integers(0, 10**6),
    neurons=st.integers(1, 6),
    samples=st.integers(1, 3),
    dt=st.sampled_from([0.005, 0.02, 0.1]),
    max_spikes=st.sampled_from([None, 1, 5]),
    density=st.floats(0.1, 1.0),
)
def test_any_network_has_a_consistent_adjoint_and_equals_the_reference(seed, neurons, samples, dt, max_spikes, density):
    network = random_network(seed, neurons, samples, density, sampled=bool(seed % 2), matrix_noise=bool(seed % 3))
    arguments = run_arguments(seed, neurons, samples) | {
        "dt": dt,
        "max_spikes": max_spikes,
        "t1": 0.73,
        "saveat": [0.0, 0.1, 0.41, 0.73],
    }
    one, two = (ssnn.simulate(network, engine=name, **arguments) for name in ("julia", "reference"))
    assert np.array_equal(one.spike_neurons, two.spike_neurons)
    np.testing.assert_allclose(one.spike_times, two.spike_times, rtol=1e-9)
    np.testing.assert_allclose(one.v, two.v, rtol=1e-8, atol=1e-8)
    check_adjoint(one, np.random.default_rng(seed), tolerance=1e-9)


def spike_at(engine, tau, dt=0.1, t1=0.4, **changes):
    """A neuron at a constant rate, scaled so that sample 0's first spike is at `tau`."""
    network = one_neuron(
        intensity=ssnn.ExponentialIntensity(beta=0.0, tau=1.0), alpha=0.0, v_reset=0.5, mu=(3.0, 2.0), **changes
    )
    first = ssnn.simulate(network, t1=50.0, dt=dt, max_spikes=1, seed=7, engine=engine).spike_times[0, 0]
    return network.replace(tau=tau / first), {"t1": t1, "dt": dt, "seed": 7, "engine": engine, "saveat": [0.2, t1]}


@pytest.mark.parametrize("tau", [0.1, 0.2, 0.3, 0.4, 1e-9])
def test_spikes_at_the_ends_of_steps(engine, tau):
    """Whichever side of the boundary rounding puts it on, the spike is there once, and its derivative is τ/rate
    constant.
    """
    network, arguments = spike_at(engine, tau * (1 - 1e-15))
    arguments["max_spikes"] = 1 if tau < 0.1 else None  # at such a rate it would go on firing without end
    solution = ssnn.simulate(network, **arguments)
    near = np.abs(solution.spike_times[0] - tau) < 1e-12
    assert near.sum() == 1
    dot = solution.jvp({"tau": 1.0})[0][near]
    assert dot[0] == pytest.approx(tau / float(network.parameters["tau"]), rel=1e-9)


def test_a_spike_after_t1_does_not_happen(engine):
    network, arguments = spike_at(engine, 0.4 * (1 + 1e-9))
    assert ssnn.simulate(network, **arguments).num_spikes[0] == 0


def test_two_spikes_a_hair_apart_and_at_once(engine):
    """Two neurons whose first spikes are 1e-12 apart, either way round, or simultaneous: all three are solved alike."""
    times = []
    for ratio in (1 - 1e-12, 1.0, 1 + 1e-12):
        network = ssnn.SLIFNetwork(
            [[0.0, 0.3], [0.2, 0.0]],
            mu=(3.0, 2.0),
            v_reset=0.5,
            alpha=0.0,
            intensity=ssnn.ExponentialIntensity(beta=0.0, tau=[1.0, 1.0]),
        )
        run = {"t1": 50.0, "dt": 0.1, "seed": 7, "engine": engine}
        solution = ssnn.simulate(network, **run)
        first = [solution.spike_times[0][solution.spike_neurons[0] == k][0] for k in range(2)]
        network = network.replace(tau=[0.05 / first[0], 0.05 * ratio / first[1]])
        run = run | {"t1": 0.06, "saveat": [0.06]}
        solution = ssnn.simulate(network, **run)
        assert solution.num_spikes[0] >= 2
        np.testing.assert_allclose(solution.spike_times[0, :2], 0.05, atol=1e-11)
        check_adjoint(solution, np.random.default_rng(0), tolerance=1e-9)
        times.append(solution.i[0, 0])
    np.testing.assert_allclose(times[0], times[1], atol=1e-9)
    np.testing.assert_allclose(times[2], times[1], atol=1e-9)


def test_an_event_moves_the_neuron_and_its_targets_alone(engine):
    """A chain 0 → 1, and 2 apart: what 0 does reaches 1, never 2."""
    base = dict(input_current=[2.0, 1.0, 1.0], mu=(5.0, 3.0), sigma=0.2, v_reset=1.0)
    run = {"t1": 1.0, "dt": 0.01, "seed": 1, "engine": engine, "saveat": 0.1, "num_samples": 3}
    one = ssnn.simulate(ssnn.SLIFNetwork([[0, 0.5, 0], [0, 0, 0], [0, 0, 0]], **base), **run)
    two = ssnn.simulate(ssnn.SLIFNetwork(np.zeros((3, 3)), **base), **run)
    assert np.array_equal(one.v[..., [0, 2]], two.v[..., [0, 2]])
    assert not np.array_equal(one.v[..., 1], two.v[..., 1])


def test_each_event_has_the_jumps_of_the_model(engine):
    network = ssnn.SLIFNetwork([[0.3, -0.4], [0.0, 0.0]], [1.6, 0.0], (6.0, 4.0), 0.2, v_reset=1.1)
    run = {"dt": 0.01, "t1": 3.0, "seed": 2, "engine": engine}
    solution = ssnn.simulate(network, **run)
    tau = solution.spike_times[0][solution.spike_neurons[0] == 0][0]
    around = ssnn.simulate(network, saveat=[tau - 1e-10, tau], **run)
    jump_v, jump_i = np.diff(around.v[0], axis=0)[0], np.diff(around.i[0], axis=0)[0]
    np.testing.assert_allclose(jump_v, [-1.1, 0.0], atol=1e-7)
    np.testing.assert_allclose(jump_i, [0.3, -0.4], atol=1e-7)


@needs_julia
def test_long_runs_are_cut_into_segments_with_the_same_gradient(monkeypatch, julia):
    """With little memory for its record the adjoint recomputes between checkpoints, and gives the same gradient to the
    last bit.
    """
    network, arguments = random_network(6, 4, 3), run_arguments(6, 4, 3)
    solution = ssnn.simulate(network, **arguments)
    bar = np.random.default_rng(0).normal(size=solution.spike_times.shape)
    whole = solution.vjp(bar, v_bar=np.ones(solution.v.shape))
    julia.eval("SSNN.SEGMENT_BYTES[] = 1")
    try:
        cut = solution.vjp(bar, v_bar=np.ones(solution.v.shape))
    finally:
        julia.eval("SSNN.SEGMENT_BYTES[] = 32 * 2^20")
    for name, gradient in whole.items():
        assert np.array_equal(gradient, cut[name]), name


@pytest.mark.parametrize("reset", ["subtract", "hard"])
@pytest.mark.parametrize("event", ["hazard", "threshold"])
def test_other_models_and_their_gradients(engine, reset, event):
    """Without noise on v all four have gradients; with it only the stochastic intensity that subtracts has."""
    rng = np.random.default_rng(3)
    intensity = ssnn.ThresholdIntensity(1.0) if event == "threshold" else ssnn.ExponentialIntensity()
    quiet = ssnn.SLIFNetwork(
        rng.normal(0, 0.5, (3, 3)),
        [2.0, 1.8, 1.5],
        (6.0, 5.0),
        0.0,
        v_reset=0.9 if reset == "subtract" else 0.1,
        intensity=intensity,
        reset=reset,
    )
    arguments = {"t1": 1.03, "dt": 0.02, "num_samples": 2, "seed": 1, "saveat": [0.3, 1.03], "engine": engine}
    solution = ssnn.simulate(quiet, **arguments)
    assert solution.num_spikes.min() > 3
    check_adjoint(solution, rng)
    bars = (np.ones(solution.spike_times.shape), np.ones(solution.v.shape), np.ones(solution.i.shape))
    for name in ("input_current", "v_reset", "v_th", "v0", "weights"):
        value = solution.problem.parameters[name]
        ahead, behind = (with_parameter(quiet, arguments, name, value + sign * 1e-6) for sign in (1, -1))
        forward = solution.tangents({name: np.ones(value.shape)})
        dot = sum(part[0].sum() for part in (forward.spike_times, forward.v, forward.i))
        assert dot == pytest.approx((scalar(ahead, bars) - scalar(behind, bars)) / 2e-6, rel=1e-5), name
    noisy = quiet.replace(sigma=0.3)
    solution = ssnn.simulate(noisy, **arguments)
    assert solution.num_spikes.min() > 0
    if (reset, event) == ("subtract", "hazard"):
        noisy.check_gradients()
        return
    condition = r"condition \(i\)" if event == "threshold" else r"condition \(iii\)"
    for call in (noisy.check_gradients, lambda: solution.vjp(1.0), lambda: solution.jvp({"alpha": 1.0})):
        with pytest.raises(ssnn.NoGradientError, match=condition):
            call()
    with pytest.raises(ssnn.NoGradientError, match=condition):
        ssnn.value_and_grad(lambda s: (0.0, None), noisy, "alpha", **arguments)


def test_noise_on_the_synaptic_current_alone_keeps_the_gradient_of_a_hard_reset(engine):
    network = one_neuron(reset="hard", v_reset=0.0, sigma=[[0.0, 0.0], [0.0, 0.5]], mu=(15.0, 2.0))
    solution = ssnn.simulate(network, t1=2.0, dt=0.01, num_samples=2, seed=3, saveat=[1.0], engine=engine)
    assert solution.num_spikes.min() > 0
    check_adjoint(solution, np.random.default_rng(1))


def test_a_threshold_that_fires_again_at_once_has_no_gradient():
    for v_reset, reset in ((0.0, "subtract"), (1.0, "hard")):
        network = one_neuron(sigma=0.0, v_reset=v_reset, reset=reset, intensity=ssnn.ThresholdIntensity(1.0))
        with pytest.raises(ssnn.NoGradientError, match=r"condition \(iv\)"):
            network.check_gradients()


def test_builders_make_the_weights_that_they_promise_and_refuse_others():
    weights = ssnn.feedforward_weights([4, 16, 2], 0.5, 1.5, gain=3.0, seed=1)
    first, second = weights[:4, 4:20], weights[4:20, 20:]
    assert np.count_nonzero(weights) == first.size + second.size
    assert first.min() >= 0.5 * 3 / 4
    assert first.max() <= 1.5 * 3 / 4
    assert second.min() >= 0.5 * 3 / 16
    assert second.max() <= 1.5 * 3 / 16
    recurrent = ssnn.recurrent_weights(400, gain=2.0)
    assert recurrent.std() == pytest.approx(2.0 / 20, rel=0.02)
    assert not np.diag(recurrent).any()
    pytest.importorskip("scipy")
    random = ssnn.random_weights(50, 49, gain=2.0)
    assert random.nnz == 50 * 49
    assert not random.diagonal().any()
    np.testing.assert_allclose(random.sum(axis=1), 2.0, atol=0.4)
    assert (ssnn.random_weights(30, 5, seed=1) != ssnn.random_weights(30, 5, seed=2)).nnz > 0
    for call in (
        lambda: ssnn.feedforward_weights([4]),
        lambda: ssnn.feedforward_weights([4, 0]),
        lambda: ssnn.feedforward_weights([4, 2], 1.0, 1.0),
        lambda: ssnn.recurrent_weights(0),
        lambda: ssnn.random_weights(5, 5),
        lambda: ssnn.random_weights(5, 2, gain=-1.0),
    ):
        with pytest.raises(ssnn.ValidationError):
            call()
