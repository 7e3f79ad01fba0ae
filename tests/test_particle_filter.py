"""Likelihoods of hidden states: the particle filter against laws that are known."""

import math

import numpy as np
import pytest
from helpers import formula_network, one_neuron

import ssnn_py as ssnn
from ssnn_py.particle_filter import systematic

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
    with pytest.raises(ssnn.ValidationError, match="delays must not be given"):
        ssnn.log_likelihood(delayed, trains, 0.01, particles=10)
    for arguments, message in (
        (dict(particles=1), "particles must be at least 2"),
        (dict(particles=10, filters=1), "filters must be at least 2"),
        (dict(particles=10, resample_every=0.0), "resample_every must be positive"),
        (dict(particles=10, num_samples=3), "num_samples is not an argument of log_likelihood"),
    ):
        with pytest.raises(ssnn.ValidationError, match=message):
            ssnn.log_likelihood(noisy(0.3), TRAINS, 0.01, **arguments)
