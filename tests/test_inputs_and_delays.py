"""Spikes from outside, and spikes that take their time: exact arrivals, and gradients in all that moves them."""

import numpy as np
import pytest

import ssnn_py as ssnn

SOLVERS = ("euler_maruyama", "milstein", "stochastic_heun", "shark", "exact_ou")
CHANNELS, NEURONS, SAMPLES = 4, 3, 3


def trains(seed=0, samples=SAMPLES):
    """Arrivals at t0, at the ends of steps, several at once, near the end, and one after it."""
    rng = np.random.default_rng(seed)
    times = np.full((samples, 13), np.inf)
    for s, row in enumerate(times):
        given = [0.0, 0.1, 0.1, 0.2, 0.30000000000000004, 0.99, 1.7, *rng.uniform(0.05, 0.95, 4 + s)]
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


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("name", NETWORKS)
def test_engines_agree_and_modes_are_transposes(name, solver):
    network = NETWORKS[name]()
    if solver == "exact_ou" and name == "formulas":
        pytest.skip("exact_ou solves SLIF networks only")
    rng = np.random.default_rng(1)
    a, b = (ssnn.simulate(network, solver=solver, engine=engine, **arguments()) for engine in ("julia", "reference"))
    assert a.num_spikes.sum() > 10
    assert np.array_equal(a.spike_neurons, b.spike_neurons)
    np.testing.assert_allclose(a.spike_times, b.spike_times, rtol=1e-9)
    for variable in network.states:
        np.testing.assert_allclose(a.states[variable], b.states[variable], rtol=1e-9, atol=1e-9)
    directions = {key: rng.normal(size=value.shape) for key, value in a.problem.parameters.items()}
    here, there = a.tangents(directions), b.tangents(directions)
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
    # No two arrivals at once, and none at the end of a step or at a record: there outputs have a left and a right slope.
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
