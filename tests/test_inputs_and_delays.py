"""Spikes from outside, and spikes that take their time: exact arrivals, and gradients in all that moves them."""

import numpy as np
import pytest
from conftest import needs_julia
from helpers import by_reference

import ssnn_py as ssnn
from ssnn_py import engine as engines

SOLVERS = ("euler_maruyama", "milstein", "stochastic_heun", "shark", "exact_ou")
CHANNELS, NEURONS, SAMPLES = 4, 3, 3


def trains(seed=0, samples=SAMPLES):
    """Arrivals at t0, at the ends of steps, several at once, near the end, and one after it."""
    rng = np.random.default_rng(seed)
    times = np.full((samples, 16), np.inf)
    for s, row in enumerate(times):
        given = [0.0, 0.1, 0.1, 0.2, 0.3 - 1e-12, 0.3, 0.1 * 3, 0.3 + 1e-12, 0.99, 1.7, *rng.uniform(0.05, 0.95, 4 + s)]
        row[: len(given)] = np.sort(given)
    channels = np.where(np.isfinite(times), rng.integers(0, CHANNELS, times.shape), -1)
    return ssnn.SpikeTrains(times, channels, num_neurons=CHANNELS, t0=0.0, t1=2.0)


def slif(delays="per synapse", sparse=False, target=None, **changes):
    rng = np.random.default_rng(5)
    weights = np.array([[0.0, 0.4, -0.3], [0.5, 0.0, 0.0], [0.2, 0.3, 0.1]])
    w_in = rng.uniform(0.1, 0.6, (CHANNELS, NEURONS)) * (rng.random((CHANNELS, NEURONS)) < 0.8)
    d = rng.uniform(0.0, 0.35, weights.shape)  # up to more than three steps; one is 0, and two are equal
    d[0, 1] = 0.0
    d[2, 0] = d[2, 1]
    d_in = np.where(np.arange(NEURONS) == 0, 0.0, rng.uniform(0.0, 0.3, (CHANNELS, NEURONS)))
    if sparse:
        scipy = pytest.importorskip("scipy.sparse")
        weights, w_in = scipy.csr_array(weights), scipy.csr_array(w_in)
    given = {"per synapse": (d, d_in), "one": (0.15, 0.05), None: (None, None)}[delays]
    settings = dict(
        input_current=1.2,
        mu=[[7.0, 5.0], [6.0, 4.0], [5.0, 6.0]],
        sigma=0.2,
        intensity=ssnn.ExponentialIntensity(beta=2.0, tau=0.6),
    )
    inputs = ssnn.SpikeInput(w_in, given[1], target)
    return ssnn.SLIFNetwork(weights, delays=given[0], inputs=inputs, **{**settings, **changes})


def formula():
    """A conductance that an arrival raises more the lower it is, so that arrivals do not commute."""
    model = ssnn.EventSDE(
        "dv/dt = (I - v)/0.2 + g*(2 - v) + 0.2*xi\ndg/dt = -g/tau_g",
        events=ssnn.Event(hazard="exp(3*(v - 1))", then="v -= 1"),
        synapse="g += w*(1 - 0.2*g)",
        parameters=dict(tau_g=0.15),
    )
    like = slif()
    inputs = like.inputs.replace()
    return ssnn.Network(model, like.weights, input_current=1.1, delays=like.delays, inputs=inputs)


def arguments(**changes):
    # 0.1 divides neither t1 nor the records; arrivals at 0.1 and 0.2 are at the ends of steps
    settings = dict(
        t1=1.23, dt=0.1, num_samples=SAMPLES, seed=3, saveat=[0.0, 0.17, 0.2, 0.61, 1.23], input_spikes=trains()
    )
    return {**settings, **changes}


NETWORKS = {
    "delays per synapse": slif,
    "one delay": lambda: slif("one"),
    "no delays": lambda: slif(None),
    "sparse": lambda: slif(sparse=True),
    "into the potential": lambda: slif(target=["v", "i", "v", "i"]),
    "no noise, hard reset": lambda: slif(sigma=0.0, reset="hard", v_reset=0.1, target="v"),
    "formulas": formula,
}


def outputs(network, run, name, value):
    """All outputs as one vector where a parameter has another value; no spike may come or go or change its place."""
    if name == "input_times":
        like = run["input_spikes"]
        run = {**run, "input_spikes": ssnn.SpikeTrains(value, like.neurons, like.num_neurons, like.t0, like.t1)}
        solution = ssnn.simulate(network, **run)
    else:
        solution = ssnn.simulate(network.replace(**{name: value}), **run)
    return solution, np.concatenate(
        [np.where(solution.spike_neurons < 0, 0, solution.spike_times).ravel()]
        + [part.ravel() for part in solution.states.values()]
    )


# Every solver with all that arrivals do to SLIF and to formulas; two of them for each of the others.
PAIRS = [(name, solver) for name in ("delays per synapse", "formulas") for solver in SOLVERS]
PAIRS += [(name, SOLVERS[(n + shift) % 5]) for n, name in enumerate(list(NETWORKS)[1:-1], 1) for shift in (0, 2)]


@pytest.mark.parametrize(("name", "solver"), PAIRS)
def test_engines_agree_and_modes_are_transposes(name, solver):
    network = NETWORKS[name]()
    if solver == "exact_ou" and name == "formulas":
        pytest.skip("exact_ou solves SLIF networks only")
    rng = np.random.default_rng(1)
    a = ssnn.simulate(network, solver=solver, engine="julia", **arguments())
    directions = {key: rng.normal(size=value.shape) for key, value in a.problem.parameters.items()}
    here, (b, there) = a.tangents(directions), by_reference(a, directions)
    assert a.num_spikes.sum() > 10
    assert np.array_equal(a.spike_neurons, b.spike_neurons)
    np.testing.assert_allclose(a.spike_times, b.spike_times, rtol=1e-9)
    for variable in network.states:
        np.testing.assert_allclose(a.states[variable], b.states[variable], rtol=1e-9, atol=1e-9)
    scale = max(1.0, np.abs(there.spike_times).max())
    np.testing.assert_allclose(here.spike_times, there.spike_times, rtol=1e-9, atol=1e-9 * scale)
    for variable, values in here.states.items():
        np.testing.assert_allclose(values, there.states[variable], rtol=1e-9, atol=1e-9 * scale)
    bars = rng.normal(size=a.spike_times.shape)
    states_bar = {variable: rng.normal(size=values.shape) for variable, values in a.states.items()}
    back = a.vjp(bars, states_bar=states_bar)
    dense = {key: value.data if hasattr(value, "tocsr") else value for key, value in back.items()}
    forward = (bars * here.spike_times[0]).sum()
    forward += sum((states_bar[variable] * here.states[variable][0]).sum() for variable in network.states)
    reverse = sum((dense[key] * directions[key]).sum() for key in dense)
    assert abs(forward - reverse) <= 1e-10 * max(1.0, abs(forward))


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("parameter", ["weights", "delays", "input_weights", "input_delays", "input_times"])
def test_gradients_are_those_of_finite_differences(parameter, solver):
    network = slif()
    spikes = trains()
    # No two arrivals at once, and none at the end of a step or at a record: outputs have two slopes there.
    rng = np.random.default_rng(7)
    times = np.sort(np.where(np.isfinite(spikes.times), rng.uniform(0.03, 1.1, spikes.times.shape), np.inf), axis=1)
    run = arguments(
        input_spikes=ssnn.SpikeTrains(times, spikes.neurons, CHANNELS, 0.0, 2.0), solver=solver, saveat=[0.17, 0.61]
    )
    network = network.replace(delays=np.where(network.delays == 0, 0.033, network.delays))
    network = network.replace(input_delays=network.inputs.delays + 0.021)
    solution = ssnn.simulate(network, **run)
    value = solution.problem.parameters[parameter]
    there = np.isfinite(value)
    if parameter != "input_times":
        synapses = network.synapses if parameter in ("weights", "delays") else network.inputs.synapses
        there = np.zeros(value.shape, dtype=bool)
        there.ravel()[synapses.position] = True
    direction = np.where(there, rng.normal(size=value.shape), 0.0)
    step = 1e-6
    (after, plus), (before, minus) = (
        outputs(network, run, parameter, value + sign * np.where(there, step * direction, 0.0)) for sign in (1, -1)
    )
    assert np.array_equal(after.spike_neurons, before.spike_neurons)
    tangents = solution.tangents({parameter: direction})
    exact = np.concatenate([tangents.spike_times[0].ravel(), *(part[0].ravel() for part in tangents.states.values())])
    assert np.abs(exact).max() > 1e-3
    np.testing.assert_allclose((plus - minus) / (2 * step), exact, rtol=1e-6, atol=1e-6)


# --- what arrives, exactly --------------------------------------------------------------------------------------------


def silent(**changes):
    """A neuron that never fires and has no noise: arrivals alone move it."""
    settings = dict(mu=(2.0, 3.0), intensity=ssnn.ExponentialIntensity(beta=0.0, tau=1e12))
    return {**settings, **changes}


@pytest.mark.parametrize("delay", [0.0, 0.04, 0.1, 0.537])
def test_an_arrival_moves_the_state_from_its_own_time_on(delay, engine):
    inputs = ssnn.SpikeInput([[0.7, 0.0], [0.0, 0.7]], delays=delay, target=["v", "i"])
    network = ssnn.SLIFNetwork(np.zeros((2, 2)), inputs=inputs, **silent())
    spikes = ssnn.SpikeTrains([[0.123, 0.2]], [[0, 1]], num_neurons=2, t0=0.0, t1=1.0)
    first, second = np.array([0.123, 0.2]) + delay
    times = np.array([first - 1e-9, first, second - 1e-9, second, 0.97])
    run = dict(t1=1.0, dt=0.1, input_spikes=spikes, saveat=np.unique(times), engine=engine)
    solution = ssnn.simulate(network, solver="exact_ou", **run)
    ts = solution.ts
    expected = np.where(ts >= first, 0.7 * np.exp(-2.0 * (ts - first)), 0.0)
    # Whole steps are exact; within one, leaves of length dt/2^5 and more are right to the second order.
    np.testing.assert_allclose(solution.v[0, :, 0], expected, rtol=1e-5, atol=1e-12)
    expected = np.where(ts >= second, 0.7 * np.exp(-3.0 * (ts - second)), 0.0)
    np.testing.assert_allclose(solution.i[0, :, 1], expected, rtol=1e-5, atol=1e-12)
    assert np.all(solution.i[0, :, 0] == 0.0)


def test_the_mean_potential_under_poisson_inputs_has_its_closed_form():
    # dv = −μ v dt + w dN: mean w·r(1 − e^(−μ t))/μ, variance w²·r(1 − e^(−2μ t))/(2μ).
    rate, w, mu, samples = 30.0, 0.3, 2.0, 4000
    rng = np.random.default_rng(0)
    counts = rng.poisson(rate, samples)
    times = np.full((samples, counts.max()), np.inf)
    for row, count in zip(times, counts, strict=True):
        row[:count] = np.sort(rng.uniform(0.0, 1.0, count))
    spikes = ssnn.SpikeTrains(times, np.where(np.isfinite(times), 0, -1), num_neurons=1, t0=0.0, t1=1.0)
    network = ssnn.SLIFNetwork([[0.0]], inputs=ssnn.SpikeInput([[w]], target="v"), **silent())
    run = dict(t1=1.0, dt=0.25, num_samples=samples, input_spikes=spikes, saveat=[1.0], solver="exact_ou")
    v = ssnn.simulate(network, **run).v[:, 0, 0]
    variance = w**2 * rate * (1 - np.exp(-2 * mu)) / (2 * mu)
    assert abs(v.mean() - w * rate * (1 - np.exp(-mu)) / mu) < 4 * np.sqrt(variance / samples)
    assert abs(v.var() - variance) < 4 * variance * np.sqrt(2.2 / samples)


def test_a_delayed_synapse_is_an_undelayed_one_that_is_late(engine):
    delay = 0.237
    weights = np.array([[0.0, 0.6], [0.0, 0.0]])
    network = ssnn.SLIFNetwork(weights, [1.5, 0.0], mu=(6.0, 3.0), delays=delay)
    run = dict(t1=2.0, dt=0.05, saveat=np.linspace(0.31, 1.99, 29), engine=engine, solver="exact_ou")
    late = ssnn.simulate(network, **run)
    sent = late.spike_times[0][late.spike_neurons[0] == 0]
    assert sent.size > 2
    arrived = sent[:, None] + delay
    since = late.ts - arrived
    expected = 0.6 * np.where(since >= 0, np.exp(-3.0 * np.maximum(since, 0.0)), 0.0).sum(axis=0)
    np.testing.assert_allclose(late.i[0, :, 1], expected, rtol=1e-5, atol=1e-12)


def test_a_delay_of_zero_is_no_delay(engine):
    network = slif(None)
    zero = slif(None)
    zero = ssnn.SLIFNetwork(
        zero.weights,
        delays=0.0,
        inputs=ssnn.SpikeInput(zero.inputs.weights, 0.0),
        **{name: zero.parameters[name] for name in ("input_current", "mu", "sigma")},
        intensity=zero.intensity,
    )
    for solver in SOLVERS if engine == "julia" else ("euler_maruyama", "shark"):
        a, b = (ssnn.simulate(one, solver=solver, engine=engine, **arguments()) for one in (network, zero))
        np.testing.assert_allclose(a.spike_times, b.spike_times, rtol=1e-12)
        np.testing.assert_allclose(a.v, b.v, rtol=1e-11, atol=1e-12)


def test_numbers_do_not_depend_on_threads_or_on_chunks():
    network, run = slif(), arguments(num_samples=SAMPLES)
    one, two = (ssnn.simulate(network, threads=threads, **run) for threads in (1, 2))
    parts = [
        ssnn.simulate(network, **{**run, "num_samples": 1, "first_sample": s, "input_spikes": run["input_spikes"][s]})
        for s in range(SAMPLES)
    ]
    assert np.array_equal(one.spike_times, two.spike_times)
    for s, part in enumerate(parts):
        count = int(one.num_spikes[s])
        assert np.array_equal(part.spike_times[0, :count], one.spike_times[s, :count])
        assert np.array_equal(part.v[0], one.v[s])
    bars = np.ones(one.spike_times.shape)
    a, b = one.vjp(bars), two.vjp(bars)
    assert all(np.array_equal(a[name], b[name]) for name in a)


def test_a_kick_over_a_threshold_fires_at_its_own_time(engine):
    network = ssnn.SLIFNetwork(
        [[0.0]],
        mu=(2.0, 3.0),
        intensity=ssnn.ThresholdIntensity(1.0),
        inputs=ssnn.SpikeInput([[1.3]], target="v"),
        v_reset=1.2,
    )
    spikes = ssnn.SpikeTrains([[0.237, 0.8]], [[0, 0]], num_neurons=1, t0=0.0, t1=1.0)
    for solver in ("euler_maruyama", "exact_ou"):
        solution = ssnn.simulate(network, t1=1.0, dt=0.1, input_spikes=spikes, solver=solver, engine=engine)
        np.testing.assert_allclose(solution.spike_times[0], [0.237, 0.8], rtol=1e-12)
        slopes = solution.vjp(np.array([[1.0, 0.0]]), "input_times")["input_times"]
        np.testing.assert_allclose(slopes, [[1.0, 0.0]], atol=1e-12)


# --- gradients of expectations ----------------------------------------------------------------------------------------


def test_the_unbiased_gradient_of_a_count_is_that_of_its_expectation():
    inputs = ssnn.SpikeInput([[0.5, 0.3]], delays=0.1)
    network = ssnn.SLIFNetwork(
        [[0.0, 0.5], [0.4, 0.0]],
        0.9,
        mu=(8.0, 5.0),
        sigma=0.3,
        intensity=ssnn.ExponentialIntensity(beta=2.0),
        delays=[[0.0, 0.21], [0.15, 0.0]],
        inputs=inputs,
    )
    spikes = ssnn.SpikeTrains([[0.1, 0.35, 0.6]], [[0, 0, 0]], num_neurons=1, t0=0.0, t1=1.0)
    samples = 20_000
    run = dict(t1=1.0, dt=0.05, num_samples=samples, input_spikes=spikes, solver="exact_ou")

    def mean_count(solution):
        counts = solution.num_spikes.astype(float)
        return counts.mean(), None, None, None, np.full((samples, 2), 1 / samples)

    names = ("delays", "input_delays", "input_weights", "input_times")
    _, gradients = ssnn.value_and_grad(mean_count, network, names, gradient="unbiased", seed=1, **run)
    for name, entry, step in (
        ("delays", (0, 1), 0.1),
        ("input_delays", (), 0.05),
        ("input_weights", (0, 0), 0.2),
        ("input_times", (0, 1), 0.1),
    ):
        counts = []
        for sign in (1.0, -1.0):
            value = np.array(spikes.times if name == "input_times" else network.parameters[name])
            value[entry] += sign * step
            moved = {**run}
            if name == "input_times":
                moved["input_spikes"] = ssnn.SpikeTrains(value, spikes.neurons, 1, 0.0, 1.0)
                counts.append(ssnn.simulate(network, seed=2, **moved).num_spikes)
            else:
                counts.append(ssnn.simulate(network.replace(**{name: value}), seed=2, **moved).num_spikes)
        change = (counts[0] - counts[1]) / (2 * step)
        error = change.std() / np.sqrt(samples)
        # The gradient's own error, and that of the difference quotient: of its order, with steps this large.
        assert abs(gradients[name][entry] - change.mean()) < 5 * error + 0.01, name


def test_recorded_states_with_delays_have_no_unbiased_gradient():
    network, run = slif(), arguments()

    class Mean(ssnn.Loss):
        observes_states = True

        def __call__(self, generated, data=None):
            bar = np.full(generated.v.shape, 1 / generated.v.size)
            return ssnn.LossValue(generated.v.mean(), None, bar)

        def exchange(self, generated, data, other):
            return other.states["v"].mean((1, 2)) - generated.states["v"].mean((1, 2))

    with pytest.raises(ssnn.NoGradientError, match="recorded states with delays"):
        ssnn.value_and_grad(Mean(), network, "mu", gradient="unbiased", **run)
    ssnn.value_and_grad(Mean(), slif(None), "mu", gradient="unbiased", **run)


# --- conditions -------------------------------------------------------------------------------------------------------

MULTIPLICATIVE = ssnn.EventSDE(
    "dv/dt = -v + 0.3*v*xi\ndg/dt = -g", ssnn.Event(hazard="exp(v)", then="g = 0"), synapse="g += w"
)
SPIKES = ssnn.SpikeTrains([[0.2]], [[0]], num_neurons=1, t0=0.0, t1=1.0)


def test_arrivals_that_move_must_commute_with_the_noise():
    run = dict(t1=1.0, dt=0.1, input_spikes=SPIKES)
    for network, names in (
        (
            ssnn.SLIFNetwork(
                [[0.0]],
                1.5,
                sigma=0.3,
                v_reset=0.0,
                diffusion=ssnn.AffineDiffusion(1.0, 0.5),
                inputs=ssnn.SpikeInput([[0.5]], target="v", delays=0.1),
            ),
            ("input_times", "input_delays"),
        ),
        (ssnn.Network(MULTIPLICATIVE, v0=1.0, inputs=ssnn.SpikeInput([[0.5]], target="v")), ("input_times",)),
    ):
        solution = ssnn.simulate(network, **run)
        bars = np.ones(solution.spike_times.shape)
        for name in names:
            with pytest.raises(ssnn.NoGradientError, match=f"spikes from outside, which move with {name}"):
                solution.vjp(bars, name)
            with pytest.raises(ssnn.NoGradientError, match=f"spikes from outside, which move with {name}"):
                solution.jvp({name: 1.0})
        solution.vjp(bars, "input_weights")  # their times stay
    allowed = ssnn.Network(MULTIPLICATIVE, v0=1.0, inputs=ssnn.SpikeInput([[0.5]], target="g"))
    ssnn.simulate(allowed, **run).vjp(0.0, "input_times")


def test_where_the_order_of_arrival_and_event_matters_there_is_no_unbiased_gradient():
    run = dict(t1=1.0, dt=0.1, num_samples=2, input_spikes=SPIKES, data=None)
    hard = ssnn.SLIFNetwork([[0.0]], 1.5, reset="hard", inputs=ssnn.SpikeInput([[0.5]], target="v"))
    resets = ssnn.Network(MULTIPLICATIVE, v0=1.0, inputs=ssnn.SpikeInput([[0.5]], target="g"))
    for network, word in ((hard, "a hard reset forgets"), (resets, "do not commute")):
        with pytest.raises(ssnn.NoGradientError, match=word):
            ssnn.value_and_grad(
                ssnn.SampleMean(lambda s: s.num_spikes), network, "input_weights", gradient="unbiased", **run
            )


# --- training ---------------------------------------------------------------------------------------------------------


def test_each_batch_hears_the_spikes_of_its_samples():
    """Weights of two channels are told apart only where a sample's spikes are its own."""
    rng = np.random.default_rng(3)
    recorded = 60
    channel = rng.integers(0, 2, (recorded, 1))
    spikes = ssnn.SpikeTrains(np.full((recorded, 1), 0.1), channel, num_neurons=2, t0=0.0, t1=1.0)
    truth = ssnn.SLIFNetwork([[0.0]], inputs=ssnn.SpikeInput([[1.5], [0.5]], target="v"), **silent(mu=(3.0, 5.0)))
    run = dict(t1=1.0, dt=0.05, saveat=[0.5])
    data = ssnn.simulate(truth, num_samples=recorded, input_spikes=spikes, **run).v

    class Squared(ssnn.Loss):
        pathwise_by_design = True

        def __call__(self, generated, data):
            off = generated.v - data
            return ssnn.LossValue(np.square(off).mean(), None, 2 * off / off.size)

    start = truth.replace(input_weights=[[1.0], [1.0]])
    arguments = dict(steps=60, optimizer=ssnn.Adam(0.05), input_spikes=spikes, **run)
    fit = ssnn.fit(start, data, Squared(), "input_weights", batch_size=20, **arguments)
    np.testing.assert_allclose(fit.parameters["input_weights"].ravel(), [1.5, 0.5], atol=0.02)
    with pytest.raises(ssnn.ValidationError, match="num_samples must be the size of a batch, 20"):
        ssnn.fit(start, data, Squared(), "input_weights", batch_size=20, num_samples=10, **arguments)
    with pytest.raises(ssnn.ValidationError, match="test_data must not be given"):
        ssnn.fit(start, data, Squared(), "input_weights", batch_size=20, test_data=data, **arguments)
    with pytest.raises(ssnn.ValidationError, match="'input_times', which are data"):
        ssnn.fit(start, data, Squared(), "input_times", **arguments)


# --- what is refused --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "word"),
    [
        (lambda: ssnn.SpikeInput([1.0, 2.0]), r"input_weights must be .* \(M, N\)"),
        (lambda: ssnn.SpikeInput([[1.0]], delays=-0.1), "input_delays must be at least 0"),
        (lambda: ssnn.SpikeInput([[1.0, 2.0]], delays=[[0.1]]), "input_delays must be a number, or a matrix"),
        (lambda: ssnn.SpikeInput([[1.0]], target=3), "target must name a state variable"),
        (lambda: ssnn.SpikeInput([[1.0]], target=["v", "i"]), "one for each of the 1 channels, got 2"),
        (lambda: ssnn.SLIFNetwork([[0.0]], inputs=ssnn.SpikeInput([[1.0]], target="u")), "one of v, i, got 'u'"),
        (lambda: ssnn.SLIFNetwork([[0.0]], inputs=ssnn.SpikeInput([[1.0, 1.0]])), "the network's 1 neurons"),
        (lambda: ssnn.SLIFNetwork([[0.0]], inputs=[[1.0]]), "inputs must be a SpikeInput"),
        (lambda: ssnn.SLIFNetwork([[0.5]], delays=[[-1.0]]), "delays must be at least 0"),
        (lambda: ssnn.SLIFNetwork([[0.5]], delays=[0.1, 0.2]), "delays must be a number, or a matrix"),
        (lambda: ssnn.Network(MULTIPLICATIVE, delays=0.1), "without weights"),
        (
            lambda: ssnn.Network(ssnn.EventSDE("dv/dt = -v"), inputs=ssnn.SpikeInput([[1.0]])),
            "inputs must name a target",
        ),
        (lambda: ssnn.simulate(slif(), t1=1.0, dt=0.1), "input_spikes must be SpikeTrains .* 4 input channels"),
        (lambda: ssnn.simulate(slif(), t1=1.0, dt=0.1, input_spikes=SPIKES), "must be 4 channels in 1 samples"),
        (
            lambda: ssnn.simulate(slif(), t1=1.0, dt=0.1, num_samples=2, input_spikes=trains()),
            "4 channels in 3 samples",
        ),
        (lambda: ssnn.simulate(slif(), t0=0.5, t1=1.0, dt=0.1, input_spikes=trains(samples=1)), "before t0 = 0.5"),
        (
            lambda: ssnn.simulate(ssnn.SLIFNetwork([[0.0]]), t1=1.0, dt=0.1, input_spikes=SPIKES),
            "must not be given for a network without inputs",
        ),
        (lambda: ssnn.simulate(slif(), solver="sciml:EM", **arguments()), "delays|inputs"),
    ],
)
def test_bad_input_is_refused_at_the_call(make, word):
    with pytest.raises(ssnn.ValidationError, match=word):
        make()


# --- with all else ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("solver", SOLVERS)
def test_inputs_delays_drivers_and_a_recording_go_together(solver):
    rng, like = np.random.default_rng(0), slif()
    driver = (
        ssnn.BrownianMotion()
        + ssnn.SampledPath(np.linspace(0, 2, 9), rng.normal(size=(SAMPLES, 9, NEURONS)))
        + ssnn.GivenJumps([0.1, 0.3, 0.61], [0.2, -0.3, 0.4])
    )
    settings = {name: like.parameters[name] for name in ("input_current", "mu", "sigma", "delays")}
    network = ssnn.SLIFNetwork(like.weights, inputs=like.inputs, driver=driver, intensity=like.intensity, **settings)
    times = np.sort(rng.uniform(0.05, 1.2, (SAMPLES, 3)), axis=1)
    observed = ssnn.SpikeTrains(times, np.zeros(times.shape, dtype=int), num_neurons=1, t0=0.0, t1=1.23)
    run = arguments(observed=observed, observed_neurons=[1], solver=solver)
    a = ssnn.simulate(network, engine="julia", **run)
    directions = {name: rng.normal(size=value.shape) for name, value in a.problem.parameters.items()}
    here, (b, there) = a.tangents(directions), by_reference(a, directions)
    assert np.array_equal(a.spike_neurons, b.spike_neurons)
    scale = max(1.0, np.abs(there.spike_times).max())
    for one, other in (
        (a.spike_times, b.spike_times),
        (a.v, b.v),
        (a.log_hazards, b.at_recorded.log_hazards),
        (here.spike_times / scale, there.spike_times / scale),
        (here.log_hazards / scale, there.log_hazards / scale),
    ):
        np.testing.assert_allclose(one, other, rtol=1e-9, atol=1e-9)
    bars, of_hazards = rng.normal(size=a.spike_times.shape), rng.normal(size=a.log_hazards.shape)
    back = a.vjp(bars, log_hazards_bar=of_hazards, hazards_bar=of_hazards, v_bar=np.ones(a.v.shape))
    assert back.keys() == directions.keys()
    forward = (bars * here.spike_times[0]).sum() + here.v[0].sum()
    forward += (of_hazards * (here.log_hazards[0] + here.hazards[0])).sum()
    reverse = sum((back[name] * directions[name]).sum() for name in back)
    assert abs(forward - reverse) <= 1e-10 * max(1.0, abs(forward))


@needs_julia
@pytest.mark.parametrize("solver", ["euler_maruyama", "stochastic_heun"])
@pytest.mark.parametrize("name", NETWORKS)
def test_a_tangent_is_the_same_alone_and_beside_others(name, solver):
    """To the bit: the core takes the targets of a spike two directions at a time."""
    problem = ssnn.simulate(NETWORKS[name](), solver=solver, **arguments()).problem
    engine, rng = engines.engine_for("julia", problem), np.random.default_rng(0)
    names = [name for name, value in problem.parameters.items() if value.size]
    directions = {name: rng.normal(size=(3, *problem.parameters[name].shape)) for name in names}
    together = engine.solve(problem, directions).tangents
    assert np.abs(together.spike_times).max() > 0.0
    for p in range(3):
        alone = engine.solve(problem, {name: one[p : p + 1] for name, one in directions.items()}).tangents
        assert np.array_equal(alone.spike_times[0], together.spike_times[p])
        assert np.array_equal(alone.s[0], together.s[p])
        for variable, values in alone.states.items():
            assert np.array_equal(values[0], together.states[variable][p]), variable
