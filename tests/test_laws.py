"""Distributions against exact laws. Seeds are fixed, and tolerances are multiples of the standard error."""

import numpy as np
from conftest import needs_julia
from helpers import one_neuron
from scipy import stats
from scipy.linalg import solve_banded

import ssnn_py as ssnn
from ssnn_py.engine import reference_noise


def test_known_answers_of_the_generator():
    """Random123's published vectors for threefry2x64 with 20 rounds."""
    ones = 2**64 - 1
    pi = (0x243F6A8885A308D3, 0x13198A2E03707344), (0xA4093822299F31D0, 0x082EFA98EC4E6C89)
    answers = {
        ((0, 0), (0, 0)): (0xC2B6E3A8C2C69865, 0x6F81ED42F350084D),
        ((ones, ones), (ones, ones)): (0xE02CB7C4D95D277A, 0xD06633D0893B8B68),
        pi: (0x263C7D30BB0F0AF1, 0x56BE8361D3311526),
    }
    many = reference_noise.FEW_BLOCKS + 1  # more are computed in another way
    for (counter, key), answer in answers.items():
        assert tuple(int(word) for word in reference_noise.threefry(key, counter)) == answer
        for shape in ((2, 3), (many,)):
            wide = (np.full(shape, counter[0], dtype=np.uint64), counter[1])
            for words, word in zip(reference_noise.threefry(key, wide), answer, strict=True):
                np.testing.assert_array_equal(words, np.full(shape, word, dtype=np.uint64))


def test_first_spike_at_a_constant_rate_is_exponential(engine):
    network = one_neuron(alpha=0.2, intensity=ssnn.ExponentialIntensity(beta=0.0, tau=0.5))
    times = ssnn.simulate(network, t1=50.0, dt=0.1, num_samples=2000, max_spikes=1, seed=4, engine=engine).spike_times
    # s runs from log U − α to 0 at rate 1/τ: exponential with mean τ, after the dead time ατ.
    assert stats.kstest(times[:, 0], stats.expon(loc=0.1, scale=0.5).cdf).pvalue > 0.01


def test_intervals_at_a_constant_rate_are_independent_and_exponential(engine):
    network = one_neuron(alpha=0.0, intensity=ssnn.ExponentialIntensity(beta=0.0, tau=0.5))
    samples = 60 if engine == "reference" else 200
    run = dict(t1=60.0, dt=0.1, num_samples=samples, max_spikes=20, seed=5, engine=engine)
    times = ssnn.simulate(network, **run).spike_times
    intervals = np.diff(times, axis=1)
    assert stats.kstest(intervals.ravel(), stats.expon(scale=0.5).cdf).pvalue > 0.01
    correlation = np.corrcoef(intervals[:, :-1].ravel(), intervals[:, 1:].ravel())[0, 1]
    assert abs(correlation) < 4 / np.sqrt(intervals[:, 1:].size)


def test_potential_has_the_mean_and_variance_of_the_scheme(engine):
    """Without spikes v is the Euler scheme of an Ornstein–Uhlenbeck process: Gaussian, its moments known in closed
    form.
    """
    samples, dt, mu, sigma, current = 4000, 0.05, 2.0, 0.7, 1.3
    quiet = ssnn.ExponentialIntensity(beta=0.0, tau=1e12)
    network = one_neuron(input_current=current, mu=(mu, 0.0), sigma=sigma, intensity=quiet)
    v = ssnn.simulate(network, t1=1.0, dt=dt, num_samples=samples, seed=6, saveat=[1.0], engine=engine).v[:, 0, 0]
    keep = 1 - mu * dt
    mean = current * (1 - keep**20)
    variance = sigma**2 * dt * (1 - keep**40) / (1 - keep**2)
    assert abs(v.mean() - mean) < 4 * np.sqrt(variance / samples)
    assert abs(v.var() - variance) < 4 * variance * np.sqrt(2 / samples)
    assert stats.kstest((v - mean) / np.sqrt(variance), stats.norm.cdf).pvalue > 0.01


def test_noise_components_and_neurons_are_independent(engine):
    quiet = ssnn.ExponentialIntensity(beta=0.0, tau=1e12)
    network = ssnn.SLIFNetwork(np.zeros((2, 2)), 0.0, (0.0, 0.0), np.eye(2), intensity=quiet)
    solution = ssnn.simulate(network, t1=0.5, dt=0.5, num_samples=4000, seed=8, saveat=[0.5], engine=engine)
    paths = np.concatenate([solution.v[:, 0], solution.i[:, 0]], axis=1)
    covariance = np.cov(paths.T)
    np.testing.assert_allclose(covariance, 0.5 * np.eye(4), atol=4 * 0.5 * np.sqrt(2 / 4000))


def test_a_shortened_last_step_sees_the_same_brownian_path(engine):
    quiet = ssnn.ExponentialIntensity(beta=0.0, tau=1e12)
    network = ssnn.SLIFNetwork([[0.0]], 0.0, (0.0, 0.0), 1.0, intensity=quiet)
    run = dict(dt=0.1, num_samples=4000, seed=10, engine=engine)
    whole = ssnn.simulate(network, t1=0.4, saveat=[0.3, 0.4], **run).v[:, :, 0]
    short = ssnn.simulate(network, t1=0.325, saveat=[0.3, 0.325], **run).v[:, :, 0]
    assert np.array_equal(short[:, 0], whole[:, 0])
    # Given B(0.4), the path at 0.325 is a bridge: mean a quarter of the way, variance h (dt − h)/dt.
    bridge = short[:, 1] - (0.75 * whole[:, 0] + 0.25 * whole[:, 1])
    variance = 0.025 * 0.075 / 0.1
    assert abs(bridge.mean()) < 4 * np.sqrt(variance / 4000)
    assert abs(bridge.var() - variance) < 4 * variance * np.sqrt(2 / 4000)


def test_a_noiseless_neuron_fires_when_its_hazard_says(engine):
    """σ = 0: v follows the scheme's own recursion, and the spike is where the summed rate meets the threshold."""
    network = one_neuron(sigma=0.0)
    solution = ssnn.simulate(network, t1=5.0, dt=0.01, num_samples=5, max_spikes=1, seed=2, engine=engine)
    for sample in range(5):
        word, _ = reference_noise.threefry((2, sample), (0, reference_noise.THRESHOLD << 36))
        s, v, t = float(np.log(reference_noise.uniform(word))) - 0.03, 0.0, 0.0
        while True:
            rate = np.exp(5 * (v - 1))
            if s + 0.01 * rate >= 0:
                break
            s, v, t = s + 0.01 * rate, v + 0.01 * 15 * (1.5 - v), t + 0.01
        assert abs(solution.spike_times[sample, 0] - (t - s / rate)) < 1e-12


def mean_first_spike(current, mu, sigma, beta, v_th, cells=4000):
    """Mean first-spike time of an Ornstein–Uhlenbeck neuron with λ(v) = exp(β(v − v_th)), started at v = 0, and its
    derivative in the current.

    The survival probability solves the Fokker–Planck equation with killing rate λ; the mean time u as a function of the
    start solves its adjoint, μ(c − v)u′ + σ²/2·u″ − λu = −1, and ∂u/∂c the same with −μu′ on the right. Central
    differences on a grid that λ and the drift confine.
    """
    v, h = np.linspace(-3.0, 4.0, cells + 1, retstep=True)
    drift, diffusion = mu * (current - v), np.full(v.size, sigma**2 / 2)
    upper, lower = diffusion / h**2 + drift / (2 * h), diffusion / h**2 - drift / (2 * h)
    diagonal = -2 * diffusion / h**2 - np.exp(beta * (v - v_th))
    # No flux through the ends.
    upper[0], lower[-1] = 2 * diffusion[0] / h**2, 2 * diffusion[-1] / h**2
    banded = np.zeros((3, v.size))
    banded[0, 1:], banded[1], banded[2, :-1] = upper[:-1], diagonal, lower[1:]
    u = solve_banded((1, 1), banded, -np.ones(v.size))
    du = solve_banded((1, 1), banded, -mu * np.gradient(u, h))
    return np.interp(0.0, v, u), np.interp(0.0, v, du)


@needs_julia
def test_first_spike_of_a_noisy_neuron_and_its_gradient_follow_fokker_planck():
    """Mean time and mean pathwise gradient against the equation: biased at order 1 in dt, and right within the Monte
    Carlo error as dt → 0.
    """
    mu, sigma, beta, v_th, current, samples = 3.0, 0.8, 3.0, 1.0, 1.2, 40000
    exact, exact_slope = mean_first_spike(current, mu, sigma, beta, v_th)
    coarse = mean_first_spike(current, mu, sigma, beta, v_th, cells=2000)
    assert abs(exact - coarse[0]) < 1e-4
    assert abs(exact_slope - coarse[1]) < 1e-4
    h = 1e-4
    differences = [mean_first_spike(current + sign * h, mu, sigma, beta, v_th)[0] for sign in (1, -1)]
    assert abs((differences[0] - differences[1]) / (2 * h) - exact_slope) < 1e-4
    network = one_neuron(
        input_current=current,
        mu=(mu, 0.0),
        sigma=sigma,
        alpha=0.0,
        intensity=ssnn.ExponentialIntensity(beta=beta, v_th=v_th),
    )
    biases, slope_biases = [], []
    for seed, dt in enumerate((0.2, 0.1, 0.005)):
        solution = ssnn.simulate(network, t1=60.0, dt=dt, num_samples=samples, max_spikes=1, seed=seed)
        assert solution.truncated.all()
        times, slopes = solution.spike_times[:, 0], solution.jvp({"input_current": 1.0})[:, 0]
        biases.append((times.mean() - exact, times.std() / np.sqrt(samples)))
        slope_biases.append((slopes.mean() - exact_slope, slopes.std() / np.sqrt(samples)))
    for parts in (biases, slope_biases):
        (first, e1), (second, e2), (last, e3) = parts
        assert abs(last) < 4 * e3
        assert abs(first) > 6 * e1, "the bias at a coarse step can be seen"
        # Halving the step halves a bias of order 1; its own next order and the Monte Carlo error are allowed for.
        assert abs(second) < 0.75 * abs(first) + 4 * np.hypot(e1, e2)


@needs_julia
def test_exact_ou_has_no_visible_bias_even_at_steps_of_the_membranes_time_constant():
    """Its hazard is the mean given the step's increment and area, so that coarse steps have the right law;
    Euler–Maruyama's bias is there to be seen.
    """
    mu, sigma, beta, v_th, current, samples = 3.0, 0.8, 3.0, 1.0, 1.2, 40000
    exact, exact_slope = mean_first_spike(current, mu, sigma, beta, v_th)
    intensity = ssnn.ExponentialIntensity(beta=beta, v_th=v_th)
    network = one_neuron(input_current=current, mu=(mu, 0.0), sigma=sigma, alpha=0.0, intensity=intensity)
    for solver, biased in (("exact_ou", False), ("euler_maruyama", True)):
        solution = ssnn.simulate(network, t1=60.0, dt=0.3, num_samples=samples, max_spikes=1, seed=11, solver=solver)
        assert solution.truncated.all()
        for values, truth in (
            (solution.spike_times[:, 0], exact),
            (solution.jvp({"input_current": 1.0})[:, 0], exact_slope),
        ):
            assert (abs(values.mean() - truth) > 4 * values.std() / np.sqrt(samples)) == biased
