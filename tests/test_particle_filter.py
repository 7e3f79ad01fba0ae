"""Likelihoods of hidden states: the particle filter against laws that are known."""

import dataclasses
import math

import numpy as np
import pytest
from helpers import formula_network, one_neuron

import ssnn_py as ssnn
from ssnn_py.particle_filter import filtered_gradients, systematic
from ssnn_py.simulation import prepare

TIMES, T1 = [0.31, 0.5, 0.9217], 1.2
TRAINS = ssnn.SpikeTrains([TIMES], [[0, 0, 0]], 1, 0.0, T1)


def noisy(sigma, **changes):
    intensity = ssnn.ExponentialIntensity(beta=3.0, tau=0.5)
    return one_neuron(**{"sigma": sigma, "alpha": 0.0, "intensity": intensity, **changes})


def fokker_planck(sigma, steps_per_unit, c=1.5, mu=15.0, v_reset=1.4, beta=3.0, v_th=1.0, tau=0.5):
    """log p(TIMES): the density of the potential of a neuron that has not fired, on a grid.

    Between spikes it moves by the exact law of the Ornstein-Uhlenbeck process and loses λ dt, in Strang's order; at a
    spike it is multiplied by λ, and shifted.
    """
    grid = np.linspace(-3.0, 4.0, 1401)
    width = grid[1] - grid[0]
    rate = np.exp(beta * np.minimum(grid - v_th, 10.0)) / tau
    density, first, last, total = None, 0.0, 0.0, 0.0
    for stop in [*TIMES, T1]:
        steps = max(1, round((stop - last) * steps_per_unit))
        h = (stop - last) / steps
        decay, deviation = math.exp(-mu * h), sigma * math.sqrt(-math.expm1(-2 * mu * h) / (2 * mu))
        half = np.exp(-0.5 * h * rate)

        def normal(at, deviation=deviation):
            return np.exp(-0.5 * ((grid[:, None] - at) / deviation) ** 2) / (deviation * math.sqrt(2 * math.pi))

        kernel = width * normal(c + (grid - c) * decay)
        for _ in range(steps):
            if density is None:  # it starts at one point
                start = math.exp(-0.5 * h * math.exp(beta * (first - v_th)) / tau)
                density = start * normal(np.array([c + (first - c) * decay]))[:, 0] * half
            else:
                density = half * (kernel @ (half * density))
        if stop < T1:
            density = np.interp(grid + v_reset, grid, density * rate, right=0.0)
        mass = density.sum() * width
        total, density, last = total + math.log(mass), density / mass, stop
    return total


@pytest.mark.parametrize("sigma", [0.25, 0.6, 1.2])
def test_the_likelihood_of_the_filter_is_unbiased(sigma):
    exact = fokker_planck(sigma, 400)
    assert exact == pytest.approx(fokker_planck(sigma, 200), abs=1e-3)
    found = ssnn.log_likelihood(
        noisy(sigma), TRAINS, 0.01, particles=16, filters=1000, solver="exact_ou", seed=3, resample_every=0.1
    )
    assert not found.exact
    # Of L itself, not of its logarithm.
    assert abs(math.exp(found.value - exact) - 1.0) < 4 * found.standard_error + 1e-3
    assert found.standard_error < 0.05


def test_without_resampling_the_gradient_of_the_filter_is_that_of_its_value():
    """Segments go on from each other, so that their derivatives must; so little noise leaves all weights alike."""
    net = noisy(0.05, mu=(15.0, 8.0))
    names = ("beta", "mu", "sigma", "input_current", "v_reset", "i0")
    loss = ssnn.NegativeLogLikelihood(particles=4, resample_every=0.11)
    run = dict(data=TRAINS, t1=T1, dt=0.04, num_samples=1, seed=5)
    _, gradients = ssnn.value_and_grad(loss, net, names, i0=0.2, **run)
    _, others = ssnn.value_and_grad(loss, net, names, i0=0.2, **run, engine="reference")
    for name in names:
        np.testing.assert_allclose(gradients[name], others[name], rtol=1e-9, atol=1e-12)
    for name in names:
        ends = []
        for step in (1e-5, -1e-5):
            moved = {"i0": 0.2} | ({"i0": 0.2 + step} if name == "i0" else {})
            at = net if name == "i0" else net.replace(**{name: net.parameters[name] + step})
            ends.append(ssnn.value_and_grad(loss, at, "beta", **moved, **run)[0])
        assert np.sum(gradients[name]) == pytest.approx((ends[0] - ends[1]) / 2e-5, rel=1e-6), name


def test_the_gradient_of_the_filter_is_unbiased_for_the_likelihood():
    """The derivative of an estimate of L is right on average, though particles have been resampled on the way."""
    sigma, h = 1.2, 0.01
    names, changes = ("beta", "sigma"), ((0.0, 3.0), (1.0, 3.0))
    exact = []
    for moves_sigma, beta in changes:
        ends = [
            fokker_planck(sigma + step * moves_sigma, 100, beta=beta + step * (1.0 - moves_sigma)) for step in (h, -h)
        ]
        exact.append((ends[0] - ends[1]) / (2 * h))
    net, filters, found, effective = noisy(sigma), 50, [], []
    one, engine = prepare(net, t0=0.0, t1=T1, dt=0.02, num_samples=1, solver="exact_ou", observed=TRAINS)
    for seed in range(12):
        problem = dataclasses.replace(one, seed=seed, num_samples=filters * 16)
        filtered, gradients = filtered_gradients(problem, engine, 1, filters, 16, 0.1, names)
        effective.append(filtered.effective)
        # That of the logarithm of a mean over many filters is, but for a small share of its error, ∂L/L.
        found.append([gradients[name] for name in names])
    mean, error = np.mean(found, axis=0), np.std(found, axis=0, ddof=1) / math.sqrt(12)
    assert max(effective) < 8.0  # below half of the particles: resampled
    assert np.all(np.abs(mean - exact) < 4 * error)
    assert np.all(error < 0.05 * np.abs(exact))


def test_trials_of_one_call_have_the_gradient_of_each_by_itself():
    """But for their noise: here it is too small to matter. Initial values of each trial have their own gradient."""
    net = noisy(1e-7)
    trains = ssnn.SpikeTrains([TIMES, [0.4, np.inf, np.inf]], [[0, 0, 0], [0, -1, -1]], 1, 0.0, T1)
    loss, v0 = ssnn.NegativeLogLikelihood(particles=3, resample_every=0.2), np.array([[0.1], [0.3]])
    run = dict(t1=T1, dt=0.02)
    _, both = ssnn.value_and_grad(loss, net, ["beta", "v0"], data=trains, num_samples=2, v0=v0, **run)
    alone = [
        ssnn.value_and_grad(loss, net, ["beta", "v0"], data=trains[s], num_samples=1, v0=v0[s], **run)[1]
        for s in range(2)
    ]
    assert both["beta"] == pytest.approx((alone[0]["beta"] + alone[1]["beta"]) / 2, abs=1e-5)
    np.testing.assert_allclose(both["v0"][:, 0], [alone[0]["v0"][0] / 2, alone[1]["v0"][0] / 2], atol=1e-5)


def test_fit_follows_the_filter_and_tests_by_it():
    net, run = noisy(0.4), dict(t1=3.0, dt=0.02, solver="exact_ou")
    trains = ssnn.simulate(net, num_samples=24, seed=1, **run).spike_trains
    loss = ssnn.NegativeLogLikelihood(particles=20)
    start = net.replace(input_current=1.2)
    found = ssnn.fit(start, trains[:12], loss, "input_current", 12, ssnn.Adam(3e-2), test_data=trains[12:], **run)
    meant = ssnn.log_likelihood(start, trains[12:], 0.02, particles=400, filters=2, solver="exact_ou")
    assert found.history["test_loss"][0] == pytest.approx(-meant.value / 12, abs=0.3)
    assert found.history["test_loss"][-1] < found.history["test_loss"][0] - 0.3


def test_a_gradient_that_the_filter_cannot_have_is_refused():
    run = dict(t1=T1, dt=0.02, num_samples=1)
    loss = ssnn.NegativeLogLikelihood(particles=10)
    early = ssnn.SpikeTrains([[0.31, 0.33]], [[0, 0]], 1, 0.0, T1)
    with pytest.raises(ssnn.NoGradientError, match=r"neuron 0 at t = 0\.33 is within its dead zone for \d+ particles"):
        ssnn.value_and_grad(loss, noisy(0.5, alpha=0.05), "beta", data=early, **run)
    with pytest.raises(ssnn.NoGradientError, match="a likelihood is no mean over samples"):
        ssnn.value_and_grad(loss, noisy(0.5), "beta", data=TRAINS, gradient="unbiased", **run)
    inputs = dict(input_spikes=ssnn.SpikeTrains([[0.3]], [[0]], 1, 0.0, T1))
    heard = noisy(0.5, inputs=ssnn.SpikeInput([[2.0]], target="v"))
    with pytest.raises(ssnn.NoGradientError, match="no gradient by input_times"):
        ssnn.value_and_grad(loss, heard, "input_times", data=TRAINS, **inputs, **run)
    with pytest.raises(ssnn.ValidationError, match="resample_every must be positive"):
        ssnn.NegativeLogLikelihood(particles=10, resample_every=0.0)


def test_without_noise_one_run_is_as_good_as_many():
    """A neuron that nothing reaches is hidden, and so there is a filter, with nothing to filter."""
    net = ssnn.SLIFNetwork(np.zeros((2, 2)), input_current=1.5, intensity=ssnn.ExponentialIntensity(beta=3.0, tau=0.5))
    found = ssnn.log_likelihood(net, TRAINS, 0.01, neurons=[0], particles=5, filters=2)
    alone = ssnn.SLIFNetwork([[0.0]], input_current=1.5, intensity=net.intensity)
    exact = ssnn.log_likelihood(alone, TRAINS, 0.01)
    # Runs that go on from each other have steps of their own at their ends.
    assert found.value == pytest.approx(exact.value, abs=1e-12)
    np.testing.assert_allclose(found.rescaled, exact.rescaled, atol=1e-12)
    np.testing.assert_allclose(found.log_intensities, exact.log_intensities, atol=1e-12)
    np.testing.assert_allclose(found.rescaled_end, exact.rescaled_end, atol=1e-12)
    assert found.standard_error == 0.0


def test_predictions_add_up_to_the_likelihood():
    net = ssnn.SLIFNetwork([[0.0, 0.4], [0.3, 0.0]], input_current=1.5, mu=(15.0, 8.0), sigma=0.3)
    trains = ssnn.simulate(net, t1=2.0, dt=0.01, num_samples=3, seed=1).spike_trains
    found = ssnn.log_likelihood(net, trains, 0.01, particles=50, filters=2, seed=2)
    mean = found.neurons.sum()
    # The mean over filters of the logarithm, a little below the logarithm of the mean.
    assert mean < found.value < mean + 3.0


def test_a_hidden_neuron_that_drives_another_is_averaged_over():
    """A hidden Poisson neuron that adds to the recorded one's current: L by quadrature over its first spikes."""
    rate, weight = 0.8, 3.0
    net = ssnn.SLIFNetwork(
        [[0.0, weight], [0.0, 0.0]],
        mu=np.array([[0.0, 0.0], [5.0, 0.0]]),
        v_reset=0.0,
        alpha=0.0,
        intensity=ssnn.ExponentialIntensity(beta=[0.0, 1.0], v_th=[0.0, 1.0], tau=[1 / rate, 1.0]),
    )
    silent = ssnn.SpikeTrains([[]], np.empty((1, 0), dtype=int), 1, 0.0, 1.0)
    found = ssnn.log_likelihood(net, silent, 0.01, neurons=[1], particles=200, filters=60, seed=1, solver="shark")
    # No spike of the recorded neuron in one unit of time; the hidden one's spikes are simulated here by themselves.
    rng, runs = np.random.default_rng(5), 40_000
    counts = rng.poisson(rate, runs)
    ts = np.linspace(0, 1, 401)
    v = np.zeros((runs, ts.size))
    for k in range(counts.max()):
        some = counts > k
        at = rng.uniform(size=some.sum())[:, None]
        v[some] += weight * np.where(ts > at, -np.expm1(-5.0 * np.maximum(ts - at, 0.0)), 0.0)
    chances = np.exp(-np.trapezoid(np.exp(v - 1.0), ts, axis=1))
    error = math.hypot(found.standard_error, chances.std() / chances.mean() / math.sqrt(runs))
    assert abs(found.value - math.log(chances.mean())) < 4 * error


def test_models_from_formulas_have_a_filter_too():
    net = formula_network()
    trains = ssnn.simulate(net, t1=1.0, dt=0.01, seed=1, num_samples=2).spike_trains
    found = [
        ssnn.log_likelihood(net, trains, 0.01, particles=40, filters=2, engine=engine, seed=1)
        for engine in ("julia", "reference")
    ]
    assert found[0].value == pytest.approx(found[1].value, abs=1e-8)
    np.testing.assert_allclose(found[0].rescaled, found[1].rescaled, atol=1e-8)


def test_the_filter_gives_the_same_numbers_on_any_number_of_threads():
    net = noisy(0.5)
    one, two = (
        ssnn.log_likelihood(net, TRAINS, 0.01, particles=64, filters=4, seed=7, threads=threads) for threads in (1, 2)
    )
    other = ssnn.log_likelihood(net, TRAINS, 0.01, particles=64, filters=4, seed=8)
    assert one.value == two.value
    assert one.value != other.value


def test_input_spikes_are_heard_once_by_every_particle():
    inputs = ssnn.SpikeInput([[2.0]], target="v")
    quiet, noisy_one = (noisy(sigma, inputs=inputs) for sigma in (0.0, 1e-9))
    spikes = ssnn.SpikeTrains([[0.3, 0.31, 0.6, 0.8]], [[0] * 4], 1, 0.0, T1)
    exact = ssnn.log_likelihood(quiet, TRAINS, 0.01, input_spikes=spikes)
    found = ssnn.log_likelihood(
        noisy_one, TRAINS, 0.01, input_spikes=spikes, particles=4, filters=2, resample_every=0.1
    )
    assert found.value == pytest.approx(exact.value, abs=1e-6)


def test_systematic_resampling_gives_each_particle_its_share():
    rng = np.random.default_rng(0)
    weights = rng.dirichlet(np.ones(50) * 0.2, 400)
    weights[0], weights[1] = np.eye(50)[49], np.eye(50)[0]
    parents = systematic(weights, rng.uniform(size=400))
    counts = np.stack([np.bincount(row, minlength=50) for row in parents])
    assert np.all(np.abs(counts - 50 * weights) < 1.0 + 1e-9)
    assert np.all(np.diff(parents, axis=1) >= 0)


def test_what_a_filter_cannot_do_is_refused():
    delayed = ssnn.SLIFNetwork([[0.0, 0.4], [0.3, 0.0]], mu=(15.0, 8.0), sigma=0.3, delays=0.1)
    trains = ssnn.SpikeTrains([[0.5]], [[0]], 2, 0.0, 1.0)
    rough = noisy(0.3, driver=ssnn.FractionalBrownianMotion(0.3))
    for given, recorded, message in (
        (delayed, trains, "delays must not be given .* under way where it is resampled"),
        (rough, TRAINS, "driver must be Brownian motion"),
    ):
        with pytest.raises(ssnn.ValidationError, match=message):
            ssnn.log_likelihood(given, recorded, 0.01, particles=10)
        run, loss = dict(t1=recorded.t1, dt=0.01, num_samples=1), ssnn.NegativeLogLikelihood(particles=10)
        with pytest.raises(ssnn.ValidationError, match=message):
            ssnn.value_and_grad(loss, given, "beta", data=recorded, **run)
    for arguments, message in (
        (dict(particles=1), "particles must be at least 2"),
        (dict(particles=10, filters=1), "filters must be at least 2"),
        (dict(particles=10, resample_every=0.0), "resample_every must be positive"),
        (dict(particles=10, num_samples=3), "num_samples is not an argument of log_likelihood"),
    ):
        with pytest.raises(ssnn.ValidationError, match=message):
            ssnn.log_likelihood(noisy(0.3), TRAINS, 0.01, **arguments)
