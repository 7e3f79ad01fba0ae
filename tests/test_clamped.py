"""Neurons clamped to a recording: their hazards, the likelihood made of them, and its derivatives."""

import math

import numpy as np
import pytest
from helpers import formula_network, one_neuron, random_network
from scipy.integrate import quad

import ssnn_py as ssnn
from ssnn_py.engine import boot

T1 = 1.0953


def recording(neurons, samples=3, seed=0, t1=T1):
    """Some spikes, apart from each other; two neurons at one time among them."""
    rng = np.random.default_rng(seed)
    slots = np.array([0.3, 0.55, 0.8])
    lists = [
        [(slots + rng.uniform(-0.1, 0.1, 3))[: rng.integers(0, 4)] for _ in range(neurons)] for _ in range(samples)
    ]
    lists[0][:2] = np.array([0.2, 0.44]), np.array([0.2, 0.5])
    return ssnn.SpikeTrains.from_lists(lists, 0.0, t1)


def quiet(**changes):
    """One neuron without noise, whose potential is known in closed form between its spikes."""
    return one_neuron(**{"sigma": 0.0, "intensity": ssnn.ExponentialIntensity(beta=3.0, tau=0.5), **changes})


def by_quadrature(times, t1, c, mu, v_reset, alpha, beta, v_th, tau):
    """log L of one train of a quiet neuron: its potential relaxes to c at the rate mu, and falls at spikes."""

    def rate(u, v):
        return math.exp(beta * (c + (v - c) * math.exp(-mu * u) - v_th)) / tau

    total, v, last = 0.0, 0.0, 0.0
    for t in [*times, t1]:
        hazard = quad(rate, 0.0, t - last, (v,), epsabs=1e-14, epsrel=1e-13, limit=200)[0]
        if t < t1:
            assert hazard > alpha
            total += math.log(rate(t - last, v)) - (hazard - alpha)
        else:
            total -= max(hazard - alpha, 0.0)
        v, last = c + (v - c) * math.exp(-mu * (t - last)) - v_reset, t
    return total


QUIET = dict(c=1.5, mu=15.0, v_reset=1.4, alpha=0.03, beta=3.0, v_th=1.0, tau=0.5)
TIMES = [0.31, 0.5, 0.9217]


def quiet_error(solver, dt):
    trains = ssnn.SpikeTrains([TIMES], [[0, 0, 0]], 1, 0.0, 1.2)
    found = ssnn.log_likelihood(quiet(), trains, dt, solver=solver)
    assert found.exact
    assert found.standard_error == 0.0
    return abs(found.value - by_quadrature(TIMES, 1.2, **QUIET))


@pytest.mark.parametrize(
    ("solver", "order", "dt"),
    [("euler_maruyama", 1, 0.002), ("milstein", 1, 0.002), ("stochastic_heun", 2, 0.002), ("shark", 2, 0.004)],
)
def test_the_likelihood_without_noise_is_that_of_quadrature_at_the_order_of_the_solver(solver, order, dt):
    coarse, fine = quiet_error(solver, dt), quiet_error(solver, dt / 8)
    assert math.log(coarse / fine, 8) > order - 0.2


def test_the_likelihood_without_noise_is_that_of_quadrature_to_ten_digits():
    assert quiet_error("exact_ou", 1e-4) < 1e-10


def test_each_spike_has_its_intensity_and_the_hazard_before_it():
    trains = ssnn.SpikeTrains([TIMES], [[0, 0, 0]], 1, 0.0, 1.2)
    found = ssnn.log_likelihood(quiet(), trains, 1e-3, solver="exact_ou")
    first = quad(lambda u: math.exp(3.0 * (1.5 - 1.5 * math.exp(-15.0 * u) - 1.0)) / 0.5, 0, 0.31)[0]
    assert found.rescaled[0, 0] == pytest.approx(first - 0.03, abs=1e-9)
    assert found.log_intensities[0, 0] == pytest.approx(
        3 * (0.5 - 1.5 * math.exp(-15 * 0.31)) - math.log(0.5), abs=1e-9
    )
    assert found.neurons.sum() == pytest.approx(found.value, abs=1e-12)


@pytest.mark.parametrize("solver", ["euler_maruyama", "shark", "exact_ou"])
def test_engines_and_modes_agree_on_clamped_runs(solver):
    """Two of four neurons are clamped, with noise on everything; the others run free, and all are connected."""
    net, rng = random_network(3, neurons=4), np.random.default_rng(1)
    run = dict(t1=T1, dt=0.02, num_samples=3, seed=1, solver=solver, saveat=[0.0, 0.3, T1])
    run |= dict(observed=recording(2), observed_neurons=[2, 0])
    one, other = (ssnn.simulate(net, engine=engine, **run) for engine in ("julia", "reference"))
    np.testing.assert_array_equal(one.spike_neurons, other.spike_neurons)
    for name in ("spike_times", "v", "i", "log_hazards", "hazards", "end_hazards"):
        np.testing.assert_allclose(getattr(one, name), getattr(other, name), atol=1e-9, rtol=0)
    bars = dict(
        spike_times_bar=rng.normal(size=one.spike_times.shape),
        log_hazards_bar=rng.normal(size=one.log_hazards.shape),
        hazards_bar=rng.normal(size=one.hazards.shape),
        entries=rng.normal(size=one.end_hazards.shape),
    )
    gradients = one.vjp(**bars)
    for name, gradient in other.vjp(wrt=["weights", "mu", "sigma", "alpha", "tau"], **bars).items():
        np.testing.assert_allclose(gradients[name], gradient, atol=1e-9, rtol=1e-9)


def observed_spikes(solution, neurons):
    """What the solution has of these neurons, sample by sample."""
    return [
        [sample[k] for k in neurons]
        for sample in ssnn.SpikeTrains(
            solution.spike_times, solution.spike_neurons, solution.network.num_neurons, 0.0, T1
        ).to_lists()
    ]


def test_clamped_neurons_fire_when_the_recording_says_so_and_only_then():
    trains, neurons = recording(2), [2, 0]
    net = random_network(3, neurons=4)
    solution = ssnn.simulate(net, t1=T1, dt=0.02, num_samples=3, observed=trains, observed_neurons=neurons)
    for found, meant in zip(observed_spikes(solution, neurons), trains.to_lists(), strict=True):
        for one, other in zip(found, meant, strict=True):
            np.testing.assert_array_equal(one, other)
    free = solution.spike_counts.sum(axis=0)
    assert free[1] > 0
    assert free[3] > 0


def test_a_recording_of_one_sample_is_that_of_every_sample():
    net, trains = random_network(3, neurons=2, per_sample=False), recording(2, samples=1)
    run = dict(t1=T1, dt=0.02, num_samples=3, seed=4)
    shared = ssnn.simulate(net, observed=trains, **run)
    repeated = ssnn.simulate(net, observed=ssnn.SpikeTrains.concatenate([trains] * 3), **run)
    np.testing.assert_array_equal(shared.hazards, repeated.hazards)
    np.testing.assert_array_equal(shared.end_hazards, repeated.end_hazards)


def signals_network():
    """Synapses with delays, channels of input with delays, no noise."""
    weights = np.array([[0.0, 0.6, -0.3], [0.4, 0.0, 0.5], [0.2, 0.3, 0.0]])
    return ssnn.SLIFNetwork(
        weights,
        input_current=[1.2, 1.4, 1.3],
        mu=(15.0, 8.0),
        sigma=0.0,
        alpha=1e-3,
        delays=np.array([[0.0, 0.0313, 0.0127], [0.0239, 0.0, 0.0418], [0.0577, 0.0223, 0.0]]),
        inputs=ssnn.SpikeInput([[0.5, 0.0, 0.2], [0.0, 0.7, 0.0]], delays=0.013, target="v"),
        intensity=ssnn.ExponentialIntensity(beta=3.0, tau=0.4),
    )


def quiet_random_network():
    net = random_network(5, neurons=3, samples=3, matrix_noise=False)
    return net.replace(sigma=0.0, alpha=np.array([1e-3, 2e-3, 3e-3]))


INPUTS = ssnn.SpikeTrains([[0.11, 0.4, 0.401, 0.8]], [[0, 1, 0, 1]], 2, 0.0, T1)


@pytest.mark.parametrize(
    ("net", "run"),
    [
        (quiet_random_network(), dict(v0=np.array([[0.1, 0.2, 0.3]] * 3), i0=0.2)),
        (signals_network(), dict(input_spikes=INPUTS)),
        (formula_network().replace(s=0.0), {}),
    ],
    ids=["every parameter", "delays and inputs", "formulas"],
)
@pytest.mark.parametrize("solver", ["euler_maruyama", "shark"])
def test_the_gradient_of_the_likelihood_is_that_of_finite_differences(net, run, solver):
    loss, names = ssnn.NegativeLogLikelihood(), [x for x in net.parameters if x not in ("sigma", "s")]
    trains = recording(net.num_neurons)
    run = dict(t1=T1, dt=0.01, num_samples=3, solver=solver, **run)
    names += [name for name in ("v0", "i0") if name in run]
    value, gradients = ssnn.value_and_grad(loss, net, names, data=trains, **run)
    assert math.isfinite(value)
    rng = np.random.default_rng(2)
    for name in names:
        given = run.get(name, net.parameters.get(name))
        direction = rng.normal(size=np.shape(given)) * (np.asarray(given) != 0)
        ends = []
        for step in (1e-6, -1e-6):
            moved = given + step * direction
            at, arguments = (net, {**run, name: moved}) if name in run else (net.replace(**{name: moved}), run)
            arguments = {key: x for key, x in arguments.items() if key not in ("t1", "num_samples")}
            ends.append(-ssnn.log_likelihood(at, trains, **arguments).value / 3)
        slope = (ends[0] - ends[1]) / 2e-6
        assert (gradients[name] * direction).sum() == pytest.approx(slope, rel=1e-6, abs=2e-7), name


def test_the_gradient_of_the_likelihood_is_that_of_finite_differences_with_exact_ou():
    trains = ssnn.SpikeTrains([TIMES], [[0, 0, 0]], 1, 0.0, 1.2)
    names = ("mu", "beta", "input_current", "v_th")
    _, gradients = ssnn.value_and_grad(
        ssnn.NegativeLogLikelihood(), quiet(), names, data=trains, t1=1.2, dt=0.01, solver="exact_ou"
    )
    exact = {}
    for name, key in zip(names, ("mu", "beta", "c", "v_th"), strict=True):
        ends = [by_quadrature(TIMES, 1.2, **{**QUIET, key: QUIET[key] + h}) for h in (1e-4, -1e-4)]
        exact[name] = -(ends[0] - ends[1]) / 2e-4
    for name in names:
        assert np.ravel(gradients[name])[0] == pytest.approx(exact[name], rel=1e-6), name


def test_long_runs_are_differentiated_in_segments_to_the_same_numbers():
    net, trains = quiet_random_network(), recording(3)
    run = dict(data=trains, t1=T1, dt=0.005, num_samples=3)
    _, whole = ssnn.value_and_grad(ssnn.NegativeLogLikelihood(), net, ["mu", "beta", "weights"], **run)
    julia = boot.runtime()
    julia.eval("SSNN.SEGMENT_BYTES[] = 1024")
    try:
        _, parts = ssnn.value_and_grad(ssnn.NegativeLogLikelihood(), net, ["mu", "beta", "weights"], **run)
    finally:
        julia.eval("SSNN.SEGMENT_BYTES[] = 32 * 2^20")
    for name, gradient in whole.items():
        np.testing.assert_allclose(parts[name], gradient, rtol=1e-12, atol=1e-12)


def test_a_spike_within_the_dead_zone_is_impossible():
    trains = ssnn.SpikeTrains([[0.5, 0.5001]], [[0, 0]], 1, 0.0, 1.0)
    net = quiet(alpha=0.1)
    assert ssnn.log_likelihood(net, trains, 0.01).value == -math.inf
    with pytest.raises(ssnn.NoGradientError, match=r"neuron 0 at t = 0\.5001 is within its dead zone"):
        ssnn.value_and_grad(ssnn.NegativeLogLikelihood(), net, "beta", data=trains, t1=1.0, dt=0.01)


def test_the_likelihood_of_a_dead_zone_grows_until_the_first_spike_within_it():
    trains = ssnn.SpikeTrains([TIMES], [[0, 0, 0]], 1, 0.0, 1.2)
    values = [ssnn.log_likelihood(quiet(alpha=alpha), trains, 1e-3).value for alpha in (0.0, 0.01, 0.02)]
    np.testing.assert_allclose(np.diff(values), 0.01 * 4)


def test_fit_climbs_the_likelihood_in_batches():
    net = quiet()
    run = dict(t1=1.5, dt=0.01)
    trains = ssnn.simulate(net, num_samples=60, seed=3, **run).spike_trains
    start = net.replace(input_current=1.2, alpha=0.0)
    result = ssnn.fit(
        start,
        trains[:40],
        ssnn.NegativeLogLikelihood(),
        ["input_current", "beta"],
        30,
        ssnn.Adam(3e-2),
        batch_size=20,
        test_data=trains[40:],
        **run,
    )
    tested = ssnn.log_likelihood(start, trains[40:], 0.01).value / 20
    assert result.history["test_loss"][0] == pytest.approx(-tested, abs=1e-12)
    assert result.history["test_loss"][-1] < result.history["test_loss"][0] - 0.2
    assert result.gradient == "pathwise"


def test_the_importance_sampled_loss_has_the_exact_gradient_of_itself():
    net = quiet(sigma=0.3)
    loss, trains = (
        ssnn.NegativeLogLikelihood(particles=7, resample_every=math.inf),
        ssnn.SpikeTrains([TIMES, TIMES], [[0, 0, 0]] * 2, 1, 0.0, 1.2),
    )
    run = dict(data=trains, t1=1.2, dt=0.01, num_samples=2, seed=5)
    _, gradients = ssnn.value_and_grad(loss, net, ["beta", "mu", "sigma"], **run)
    for name, h in (("beta", 1e-5), ("sigma", 1e-5)):
        at = net.parameters[name]
        up, down = (ssnn.value_and_grad(loss, net.replace(**{name: at + s * h}), "beta", **run)[0] for s in (1.0, -1.0))
        assert gradients[name] == pytest.approx((up - down) / (2 * h), rel=1e-6)


# --- what is refused --------------------------------------------------------------------------------------------------

ONE = ssnn.SpikeTrains([[0.5]], [[0]], 1, 0.0, 1.0)
RUN = dict(t1=1.0, dt=0.1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (dict(observed=[[0.5]]), "observed must be SpikeTrains"),
        (dict(observed=ONE[[0, 0]]), "observed must have 1 samples"),
        (dict(observed=ssnn.SpikeTrains([[0.5]], [[0]], 1, 0.0, 2.0)), "over the interval that is simulated"),
        (dict(observed=ssnn.SpikeTrains([[0.0]], [[0]], 1, 0.0, 1.0)), "spikes after t0"),
        (dict(observed=ssnn.SpikeTrains([[0.5, 0.5]], [[0, 0]], 1, 0.0, 1.0)), "two spikes of one neuron at one time"),
        (dict(observed=ssnn.SpikeTrains([[0.5]], [[1]], 2, 0.0, 1.0)), "say with observed_neurons"),
        (dict(observed=ONE, observed_neurons=[1]), "neurons must be from 0 to 0"),
        (dict(observed_neurons=[0]), "observed_neurons must not be given without observed"),
        (dict(observed=ONE, max_spikes=3), "max_spikes must not be given with observed"),
    ],
)
def test_recordings_that_do_not_fit_are_refused(arguments, message):
    with pytest.raises(ssnn.ValidationError, match=message):
        ssnn.simulate(one_neuron(), **RUN, **arguments)


def test_neurons_without_a_density_of_spikes_are_not_clamped():
    with pytest.raises(ssnn.ValidationError, match="driven by a hazard"):
        ssnn.simulate(one_neuron(sigma=0.0, intensity=ssnn.ThresholdIntensity()), **RUN, observed=ONE)


def test_a_hidden_state_needs_particles_and_a_hidden_neuron_has_no_gradient():
    with pytest.raises(ssnn.ValidationError, match=r"particles must be given .* noise drives it"):
        ssnn.log_likelihood(one_neuron(), ONE, 0.1)
    with pytest.raises(ssnn.ValidationError, match="particles must be at least 2"):
        ssnn.value_and_grad(ssnn.NegativeLogLikelihood(), one_neuron(), "beta", data=ONE, **RUN)
    two = ssnn.SLIFNetwork(np.zeros((2, 2)))
    with pytest.raises(ssnn.ValidationError, match="1 neuron of the network, such as 1, were not recorded"):
        ssnn.log_likelihood(two, ONE, 0.1, neurons=[0])
    with pytest.raises(ssnn.NoGradientError, match="may appear and vanish"):
        ssnn.value_and_grad(ssnn.NegativeLogLikelihood(neurons=[0]), two, "beta", data=ONE, **RUN)


def test_hazards_are_asked_for_where_something_was_observed():
    with pytest.raises(ssnn.ValidationError, match="nothing was observed"):
        _ = ssnn.simulate(one_neuron(), **RUN).hazards


def test_a_loss_of_likelihood_looks_at_clamped_runs_only():
    with pytest.raises(ssnn.ValidationError, match="clamped to data"):
        ssnn.NegativeLogLikelihood()(ssnn.simulate(quiet(), **RUN), ONE)
