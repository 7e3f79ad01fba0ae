"""Networks in JAX."""

from functools import partial

import numpy as np
import pytest
from helpers import LastStateAndCount, formula_network, one_neuron, random_network, run_arguments

import ssnn_py as ssnn

jax = pytest.importorskip("jax", reason="JAX is not installed")
layer = pytest.importorskip("ssnn_py.jax")
jax.config.update("jax_enable_x64", True)

RUN = {"t1": 2.0, "dt": 0.01, "num_samples": 4, "max_spikes": 3, "saveat": [0.5, 2.0]}


def loss(parameters, seed, engine):
    out = layer.simulate(one_neuron(), parameters, seed=seed, engine=engine, **RUN)
    return jax.numpy.minimum(out.spike_times, 2.0).sum() + jax.numpy.nan_to_num(out.v).sum()


def test_value_and_gradient_equal_numpy_with_and_without_jit(engine):
    parameters = {"input_current": 1.4, "mu": np.array([14.0, 1.0])}
    solution = ssnn.simulate(one_neuron().replace(**parameters), seed=5, engine=engine, **RUN)
    spikes = np.isfinite(solution.spike_times)
    wanted = solution.vjp(spikes * 1.0, ("input_current", "mu"), v_bar=np.isfinite(solution.v) * 1.0)
    for transform in (lambda f: f, jax.jit):
        value, gradient = transform(jax.value_and_grad(lambda p, s: loss(p, s, engine)))(parameters, 5)
        assert float(value) == pytest.approx(np.minimum(solution.spike_times, 2.0).sum() + np.nansum(solution.v))
        for name, array in wanted.items():
            np.testing.assert_allclose(gradient[name], array, rtol=1e-10)


def test_vmap_over_seeds(engine):
    seeds = jax.numpy.arange(3)
    gradient = jax.grad(lambda c, seed: loss({"input_current": c}, seed, engine))
    together = jax.vmap(gradient, in_axes=(None, 0))(1.5, seeds)
    apart = [gradient(1.5, seed) for seed in range(3)]
    np.testing.assert_allclose(together, apart, rtol=1e-12)


def test_gradient_against_finite_differences(engine):
    from jax.test_util import check_grads

    check_grads(lambda c: loss({"input_current": c}, 2, engine), (1.5,), order=1, modes=["rev"], eps=1e-6, rtol=1e-5)


def test_what_simulate_refuses_it_names():
    with pytest.raises(ssnn.ValidationError, match="gamma"):
        layer.simulate(one_neuron(), {"gamma": 1.0}, **RUN)
    with pytest.raises(ssnn.ValidationError, match="dt"):
        layer.simulate(one_neuron(), {"alpha": 1.0}, **{**RUN, "dt": -1.0})


# --- expectations
# -------------------------------------------------------------------------------------------------------------------

jnp = jax.numpy
PLAIN_AND_JIT = pytest.mark.parametrize("transform", [lambda f: f, jax.jit], ids=["plain", "jit"])


def number(solution):
    return solution.spike_counts.sum(1)


def squares(solution):
    times = solution.spike_times
    return (jnp.where(jnp.isfinite(times), times, 0.0) ** 2).sum(1)


def pairs(solution):
    """How often neuron 0 fires before neuron 1; weighted by when, so that the pathwise part counts, too."""
    times, neurons = solution.spike_times, solution.spike_neurons
    times = jnp.where(jnp.isfinite(times), times, 0.0)
    first, second = (neurons == 0)[:, :, None], (neurons == 1)[:, None, :]
    return (first * second * (times[:, :, None] < times[:, None, :]) * (1 + times[:, :, None])).sum((1, 2))


def sample_mean(function, **settings):
    """The same expectation as a loss of the package: `function` of trains, differentiated by JAX."""

    def in_numpy(trains):
        nothing = np.zeros((*trains.times.shape[:1], 0, trains.num_neurons))

        def values(times):
            return function(layer.JaxSolution(times, jnp.asarray(trains.neurons), {"v": nothing, "i": nothing})) * 1.0

        value, pull_back = jax.vjp(values, jnp.asarray(trains.times))
        return np.asarray(value), np.where(np.isfinite(trains.times), pull_back(jnp.ones(len(value)))[0], 0.0)

    return ssnn.SampleMean(in_numpy, **settings)


def check_gradients(found, wanted, tolerance=1e-10):
    for name, gradient in wanted.items():
        assert np.abs(gradient).max() > 1e-3
        np.testing.assert_allclose(found[name], gradient, rtol=tolerance, atol=tolerance)


@PLAIN_AND_JIT
def test_the_mean_count_at_a_constant_rate_has_its_closed_form(engine, transform):
    """Of t1/τ: −t1/τ², in every sample."""
    network = ssnn.SLIFNetwork([[0.0]], alpha=0.0, intensity=ssnn.ExponentialIntensity(beta=0.0))
    run = {"t1": 3.0, "dt": 0.1, "num_samples": 5, "engine": engine, "max_spikes": 40}
    mean = transform(
        jax.value_and_grad(lambda tau, seed: layer.expectation(number, network, {"tau": tau}, seed=seed, **run))
    )
    value, gradient = mean(0.5, 3)
    assert float(value) == pytest.approx(ssnn.simulate(network.replace(tau=0.5), seed=3, **run).num_spikes.mean())
    assert float(gradient) == pytest.approx(-12.0, rel=1e-12)


@PLAIN_AND_JIT
@pytest.mark.parametrize("function", [number, squares])
def test_expectations_of_one_neuron_equal_sample_mean(engine, function, transform):
    run = {"t1": 0.6, "dt": 0.01, "num_samples": 20, "engine": engine, "max_spikes": 4}
    network, names = one_neuron(), ["input_current", "mu"]
    parameters = {name: network.parameters[name] for name in names}
    mean = transform(
        jax.value_and_grad(partial(layer.expectation, function, network, seed=2, order_matters=False, **run))
    )
    value, found = mean(parameters)
    loss = sample_mean(function, order_matters=False)
    wanted, gradients = ssnn.value_and_grad(loss, network, names, gradient="unbiased", seed=2, **run)
    assert float(value) == pytest.approx(wanted, rel=1e-12)
    check_gradients(found, gradients)


@PLAIN_AND_JIT
@pytest.mark.parametrize("capacity", [40, 4])
@pytest.mark.parametrize("order_matters", [True, False])
def test_expectations_of_coupled_neurons_equal_sample_mean(engine, transform, capacity, order_matters):
    run = run_arguments(0, 3, 8) | {"dt": 0.04, "engine": engine, "max_spikes": capacity, "saveat": None}
    network, names, function = random_network(0, 3, 8), ["weights", "beta", "v0"], pairs if order_matters else squares
    parameters = {name: {**network.parameters, "v0": run["v0"]}[name] for name in names}
    without = {name: value for name, value in run.items() if name != "v0"}
    mean = partial(layer.expectation, function, network, order_matters=order_matters, **without)
    value, found = transform(jax.value_and_grad(mean))(parameters)
    loss = sample_mean(function, order_matters=order_matters)
    wanted, gradients = ssnn.value_and_grad(loss, network, names, gradient="unbiased", **run)
    assert float(value) == pytest.approx(wanted, rel=1e-12)
    check_gradients(found, gradients)


def in_window(solution):
    times = solution.spike_times
    return ((times >= 0.3) & (times < 0.7)).sum(1) ** 2


@pytest.mark.parametrize("capacity", [40, 3])
@pytest.mark.parametrize("double", [True, False])
def test_counts_in_a_window_whose_edges_are_recorded(engine, capacity, double):
    network, names = random_network(0, 2, 8, per_sample=False), ["weights", "mu", "v_reset"]
    run = {
        "t1": 1.0,
        "dt": 0.02,
        "num_samples": 8,
        "seed": 3,
        "saveat": [0.3, 0.7],
        "engine": engine,
        "max_spikes": capacity,
    }
    loss = sample_mean(in_window, order_matters=False)
    loss.edges = (0.3, 0.7)
    _, gradients = ssnn.value_and_grad(loss, network, names, gradient="unbiased", **run)
    check_gradients(
        gradient_of(in_window, network, names, double, order_matters=False, **run), gradients, 1e-10 if double else 1e-3
    )


@pytest.mark.parametrize("capacity", [40, 4])
def test_expectations_in_single_precision(engine, capacity):
    """Spikes that are inserted next to others do not coincide with them."""
    network, names = random_network(0, 3, 8), ["weights", "beta"]
    run = {"t1": 1.0, "dt": 0.02, "num_samples": 8, "max_spikes": capacity, "engine": engine}
    _, gradients = ssnn.value_and_grad(sample_mean(pairs), network, names, gradient="unbiased", **run)
    check_gradients(gradient_of(pairs, network, names, False, **run), gradients, 1e-3)


def gradient_of(function, network, names, double, **arguments):
    """Gradients of the expectation in double or single precision, compiled."""
    jax.config.update("jax_enable_x64", double)
    try:
        found = jax.jit(jax.grad(partial(layer.expectation, function, network, **arguments)))(
            {name: network.parameters[name] for name in names}
        )
    finally:
        jax.config.update("jax_enable_x64", True)
    assert found[names[0]].dtype == (np.float64 if double else np.float32)
    return found


def test_expectations_over_seeds(engine):
    """Gradients of maps and maps of gradients: those of a loop."""
    network = random_network(0, 3, 3)
    run = {"t1": 0.4, "dt": 0.04, "num_samples": 3, "max_spikes": 8, "engine": engine}

    def mean(weights, seed):
        return layer.expectation(pairs, network, {"weights": weights}, seed=seed, **run)

    weights, seeds = network.parameters["weights"], jnp.arange(3)
    one = jax.jit(jax.grad(mean))
    apart = np.array([one(weights, seed) for seed in range(3)])
    together = jax.vmap(jax.grad(mean), in_axes=(None, 0))
    np.testing.assert_allclose(jax.jit(together)(weights, seeds), apart, rtol=1e-10, atol=1e-12)
    over_all = jax.grad(lambda w: jax.vmap(mean, in_axes=(None, 0))(w, seeds).sum())
    np.testing.assert_allclose(over_all(weights), apart.sum(0), rtol=1e-10, atol=1e-12)


class EnergyOfPotentials(ssnn.Loss):
    """Mean over samples of Σ v² + Σ i² at the recorded times, and of the product of v at the first two times."""

    order_matters = False
    observes_states = True

    def __call__(self, generated, data=None):
        v, i = generated.v, generated.i
        value = ((v**2 + i**2).sum((1, 2)) + (v[:, 0] * v[:, 1]).sum(1)).mean()
        v_bar = 2 * v
        v_bar[:, 0] += v[:, 1]
        v_bar[:, 1] += v[:, 0]
        return ssnn.LossValue(value, None, v_bar / len(v), 2 * i / len(v))


def energy(solution):
    v, i = solution.v, solution.i
    return (v**2 + i**2).sum((1, 2)) + (v[:, 0] * v[:, 1]).sum(1)


@PLAIN_AND_JIT
@pytest.mark.parametrize("neurons", [1, 2])
def test_expectations_of_recorded_values_equal_those_of_a_loss_that_observes_states(engine, transform, neurons):
    network, names = random_network(1, neurons, 8, per_sample=False), ["weights", "mu", "v_reset"]
    run = {"t1": 1.0, "dt": 0.02, "num_samples": 8, "saveat": [0.3, 0.55, 1.0], "engine": engine, "max_spikes": 40}
    parameters = {name: network.parameters[name] for name in names}
    mean = partial(layer.expectation, energy, network, seed=3, order_matters=False, **run)
    value, found = transform(jax.value_and_grad(mean))(parameters)
    wanted, gradients = ssnn.value_and_grad(EnergyOfPotentials(), network, names, gradient="unbiased", seed=3, **run)
    assert float(value) == pytest.approx(wanted, rel=1e-12)
    check_gradients(found, gradients)


def test_several_expectations_at_once(engine):
    network, run = (
        random_network(0, 3, 6),
        {"t1": 0.8, "dt": 0.05, "num_samples": 6, "max_spikes": 20, "engine": engine},
    )

    def mean(weights, function):
        return layer.expectation(function, network, {"weights": weights}, seed=1, **run)

    weights = network.parameters["weights"]
    wanted = sum(jax.grad(lambda w, f=f: mean(w, f) ** 2)(weights) for f in (pairs, squares))
    both = jax.grad(lambda w: (mean(w, lambda s: jnp.stack([pairs(s), squares(s)], 1)) ** 2).sum())(weights)
    np.testing.assert_allclose(both, wanted, rtol=1e-10, atol=1e-12)


def test_cross_entropy_by_counts_with_a_trained_readout(engine):
    """Counts have no pathwise gradient; the readout, which the function closes over, has its ordinary one."""
    network, run = random_network(1, 3, 6), {"t1": 0.8, "dt": 0.02, "num_samples": 6, "seed": 1, "engine": engine}
    labels = jnp.array([0, 1, 1, 0, 1, 0])

    def entropy(counts, readout):
        scores = jax.nn.log_softmax(counts @ readout)
        return -jnp.take_along_axis(scores, labels[:, None], 1)[:, 0]

    @partial(jax.jit, static_argnums=2)
    @partial(jax.grad, argnums=(0, 1))
    def gradient(parameters, readout, order_matters):
        return layer.expectation(
            lambda s: entropy(s.spike_counts, readout),
            network,
            parameters,
            order_matters=order_matters,
            max_spikes=30,
            **run,
        )

    readout = jnp.array([[0.3, -0.2], [0.1, 0.4], [-0.5, 0.2]])
    found, of_readout = gradient({"weights": network.parameters["weights"]}, readout, False)
    counts = ssnn.simulate(network, **run).spike_counts
    np.testing.assert_allclose(of_readout, jax.grad(lambda r: entropy(counts, r).mean())(readout), rtol=1e-10)
    loss = sample_mean(lambda s: entropy(s.spike_counts, readout), order_matters=False)
    _, gradients = ssnn.value_and_grad(loss, network, "weights", gradient="unbiased", **run)
    check_gradients(found, gradients)


def test_a_compiled_expectation_without_gradient_simulates_once(monkeypatch):
    solves = []
    load = layer.engines.load
    monkeypatch.setattr(layer.engines, "load", lambda name: solves.append(name) or load(name))
    network = random_network(0, 3, 4)
    run = {"t1": 0.4, "dt": 0.05, "num_samples": 4, "max_spikes": 12, "engine": "reference"}
    jax.jit(partial(layer.expectation, pairs, network, **run))({"alpha": 0.1}).block_until_ready()
    assert len(solves) == 1


def test_expectations_without_gradients_take_every_network(engine):
    run = {"t1": 1.0, "dt": 0.02, "num_samples": 4, "engine": engine, "max_spikes": 9}
    network = one_neuron(sigma=0.0, intensity=ssnn.ThresholdIntensity(0.5))
    mean = layer.expectation(number, network, {"alpha": 0.1}, **run)
    assert float(mean) == ssnn.simulate(network, **run).num_spikes.mean()


def test_expectations_that_have_no_unbiased_gradient(monkeypatch):
    run = {"t1": 1.0, "dt": 0.05, "num_samples": 4, "engine": "reference", "max_spikes": 9}

    def gradient(function, network, **more):
        return jax.grad(lambda c: layer.expectation(function, network, {"input_current": c}, **{**run, **more}))(1.5)

    with pytest.raises(ssnn.NoGradientError, match="ThresholdIntensity"):
        gradient(number, one_neuron(sigma=0.0, intensity=ssnn.ThresholdIntensity(0.5)))
    with pytest.raises(Exception, match=r"NoGradientError.*hard"):
        gradient(number, one_neuron(reset="hard"))
    with pytest.raises(Exception, match=r"NoGradientError.*max_spikes"):
        gradient(lambda s: jnp.nan_to_num(s.v).sum((1, 2)), one_neuron(), max_spikes=1, saveat=[0.05, 1.0])
    prepare = layer.prepare
    monkeypatch.setattr(layer, "prepare", lambda *args, **options: (prepare(*args, **options)[0], "sciml"))
    with pytest.raises(ssnn.NoGradientError, match="native solver"):
        gradient(number, one_neuron())


@pytest.mark.parametrize(
    ("function", "word"),
    [(None, "callable"), (lambda solution: 1.0, "shape"), (lambda solution: jnp.zeros(3), "shape")],
)
def test_what_an_expectation_cannot_take_it_names(function, word):
    with pytest.raises(ssnn.ValidationError, match=word):
        layer.expectation(function, one_neuron(), {"alpha": 0.1}, t1=1.0, dt=0.05, num_samples=4, max_spikes=9)


def test_models_from_formulas(julia):
    """Pathwise and unbiased gradients of what they record by name are those of NumPy's."""
    net, run = formula_network(), dict(t1=1.0, dt=0.01, num_samples=50, seed=1, saveat=0.25, engine="julia")

    def weighted(tau):
        out = layer.simulate(net, {"tau": tau}, max_spikes=200, **run)
        return out.states["x"][..., 0].sum() + 2 * out.states["a"].sum()

    bars = {"x": [1.0, 0.0], "a": 2.0}
    wanted = float(ssnn.simulate(net, **run).vjp(states_bar=bars, wrt="tau")["tau"])
    assert float(jax.grad(weighted)(0.1)) == pytest.approx(wanted)

    def mean(tau):
        function = lambda batch: batch.states["a"][:, -1].sum(-1) + batch.spike_counts.sum(-1)  # noqa: E731
        return layer.expectation(function, net, {"tau": tau}, order_matters=False, max_spikes=200, **run)

    _, wanted = ssnn.value_and_grad(LastStateAndCount(), net, "tau", gradient="unbiased", **run)
    assert float(jax.grad(mean)(0.1)) == pytest.approx(float(wanted["tau"]), rel=1e-9)


# --- spikes that come in ----------------------------------------------------------------------------------------------

INPUTS = ssnn.SpikeInput([[0.8, 0.2], [0.3, 0.9]], delays=0.05, target="v")


def test_gradients_go_through_the_times_of_another_network(engine):
    first = ssnn.SLIFNetwork(np.zeros((2, 2)), 1.5, sigma=0.2)
    second = ssnn.SLIFNetwork(np.zeros((2, 2)), 0.8, mu=(6.0, 5.0), sigma=0.2, inputs=INPUTS)
    run = dict(t1=2.0, dt=0.02, num_samples=3, max_spikes=12, engine=engine)

    @jax.jit
    def number(c, w):
        hidden = layer.simulate(first, {"input_current": c}, **run, seed=1)
        out = layer.simulate(second, {"input_weights": w}, input_spikes=hidden, **run, seed=2)
        return jnp.square(jnp.where(jnp.isfinite(out.spike_times), out.spike_times, 0.0)).sum()

    point = jnp.array([1.5, 1.3]), jnp.asarray(INPUTS.weights)
    gradients = jax.grad(number, argnums=(0, 1))(*point)
    for which, place in ((0, 0), (0, 1), (1, (0, 0)), (1, (1, 1))):
        ends = [list(point), list(point)]
        for end, step in zip(ends, (1e-6, -1e-6), strict=True):
            end[which] = end[which].at[place].add(step)
        slope = (float(number(*ends[0])) - float(number(*ends[1]))) / 2e-6
        assert abs(slope) > 1e-3
        assert float(gradients[which][place]) == pytest.approx(slope, rel=1e-5)


def test_input_times_are_a_parameter(engine):
    trains = ssnn.SpikeTrains([[0.2, 0.7, 0.9]], [[0, 1, 0]], num_neurons=2, t0=0.0, t1=2.0)
    network = ssnn.SLIFNetwork(np.zeros((2, 2)), 0.8, mu=(6.0, 5.0), sigma=0.2, inputs=INPUTS)
    run = dict(input_spikes=trains, t1=2.0, dt=0.02, num_samples=4, max_spikes=20, engine=engine)

    def number(times):
        out = layer.simulate(network, {"input_times": times}, **run)
        return jnp.where(jnp.isfinite(out.spike_times), out.spike_times, 0.0).sum()

    slopes = jax.grad(number)(jnp.asarray(trains.times))
    solution = ssnn.simulate(network, **run)
    expected = solution.vjp(np.ones(solution.spike_times.shape), "input_times")["input_times"]
    np.testing.assert_allclose(slopes, expected, rtol=1e-12)
