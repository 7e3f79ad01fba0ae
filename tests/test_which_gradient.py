"""Which gradient is taken, what is said where the unbiased one is not to be had, and what training says of it."""

import itertools
import warnings
from dataclasses import replace

import numpy as np
import pytest
from helpers import one_neuron

import ssnn_py as ssnn

RUN = dict(t1=1.0, dt=0.05, num_samples=6, engine="reference")
COUNT = ssnn.SampleMean(lambda trains: (trains.num_spikes, None))


def deterministic(**changes):
    intensity = ssnn.ThresholdIntensity(v_th=1.0)
    return one_neuron(**{"sigma": 0.0, "v_reset": 1.0, "intensity": intensity, **changes})


def two_neurons():
    return ssnn.SLIFNetwork([[0.0, 0.2], [0.2, 0.0]], 1.5, mu=(15.0, 5.0), sigma=0.25, v_reset=1.4)


def last_spike(solution):
    return 1.0, np.ones(solution.spike_times.shape)


def last_potential(solution):
    return 1.0, None, np.ones(solution.v.shape), None, None, np.ones(solution.v.shape)


@pytest.mark.parametrize(
    ("loss", "network", "changes", "reason"),
    [
        (COUNT, deterministic(), {}, "deterministic crossing"),
        (last_spike, one_neuron(), {}, "returns no entries"),
        (ssnn.SumLoss([COUNT, lambda a, b: ssnn.LossValue(0.0)]), one_neuron(), {}, "returns no entries"),
        (last_potential, one_neuron(), {"saveat": [0.9], "max_spikes": 1}, "cut at max_spikes"),
        (
            lambda s: (1.0, None, None, None, np.zeros((6, 2))),
            two_neurons(),
            {"max_spikes": 2},
            "cut at max_spikes",
        ),
    ],
)
def test_the_unbiased_gradient_is_refused_with_its_reason_or_auto_falls_back_with_one_warning(
    loss, network, changes, reason
):
    arguments = {**RUN, **changes}
    with pytest.raises(ssnn.NoGradientError, match=reason):
        ssnn.value_and_grad(loss, network, "input_current", gradient="unbiased", **arguments)
    with pytest.warns(ssnn.PathwiseGradientWarning, match=reason) as caught:
        _, taken = ssnn.value_and_grad(loss, network, "input_current", **arguments)
    assert len(caught) == 1
    _, pathwise = ssnn.value_and_grad(loss, network, "input_current", gradient="pathwise", **arguments)  # silently
    assert taken == pathwise


def test_entries_of_a_network_without_hazards_are_refused():
    solution = ssnn.simulate(deterministic(), **RUN)
    with pytest.raises(ssnn.NoGradientError, match="deterministic crossing"):
        solution.vjp(entries=np.ones((6, 1)))
    with pytest.raises(ssnn.NoGradientError, match="native solver"):
        replace(ssnn.simulate(one_neuron(), **RUN), engine="sciml").vjp(entries=np.ones((6, 1)))


@pytest.mark.parametrize(
    ("call", "word"),
    [
        (lambda s: s.vjp(entries=np.ones((6, 2))), "entries"),
        (lambda s: s.vjp(entries=np.full((6, 1), np.nan)), "entries"),
        (lambda s: s.vjp(entries_at_saves=np.ones((6, 3, 1))), "entries_at_saves"),
        (lambda s: ssnn.value_and_grad(COUNT, s.network, "alpha", gradient="exact", **RUN), "gradient"),
        (lambda s: ssnn.value_and_grad(last_spike, s.network, "alpha", data=1, **RUN), "data"),
        (lambda s: ssnn.fit(s.network, None, COUNT, "alpha", steps=1, t1=1.0, dt=0.1), "num_samples"),
        (lambda s: ssnn.SampleMean(3), "function"),
        (lambda s: ssnn.SampleMean(lambda trains: trains.num_spikes)(s), "values, spike_times_bar"),
        (lambda s: ssnn.SampleMean(lambda trains: (np.ones(5), None))(s), "one value per sample"),
        (lambda s: ssnn.SampleMean(lambda trains: (np.ones(6), np.ones((2, 9))))(s), "derivatives of shape"),
    ],
)
def test_wrong_arguments_are_named(call, word):
    with pytest.raises(ssnn.ValidationError, match=word):
        call(ssnn.simulate(one_neuron(), **RUN))


def test_a_loss_of_ones_own_that_looks_at_states_must_say_so():
    class Silent(ssnn.Loss):
        def __call__(self, generated, data):
            return ssnn.LossValue(0.0, None, np.ones(generated.v.shape))

    with pytest.raises(ssnn.ValidationError, match="observes_states"):
        ssnn.value_and_grad(Silent(), one_neuron(), "alpha", saveat=[0.5], **RUN)


def test_entries_of_a_function_are_those_of_a_loss(engine):
    """E[N]: one spike more at t1 counts 1."""

    def function(solution):
        return solution.num_spikes.mean(), None, None, None, np.full((6, 1), 1.0 / 6.0)

    arguments = {**RUN, "engine": engine}
    for wrt in ("input_current", ["mu", "input_current", "alpha"]):
        _, one = ssnn.value_and_grad(function, one_neuron(), wrt, gradient="unbiased", **arguments)
        _, two = ssnn.value_and_grad(COUNT, one_neuron(), wrt, **arguments)
        for name in one:
            np.testing.assert_allclose(one[name], two[name], rtol=1e-12)
            assert np.any(one[name] != 0)


@pytest.mark.parametrize("name", ["input_current", "alpha", "beta", "v_reset", "v_th"])
def test_gradients_of_single_samples_sum_to_the_shared_one(engine, name):
    network, arguments = two_neurons(), {**RUN, "engine": engine, "saveat": [0.333]}
    loss = ssnn.SampleMean(lambda trains: (trains.num_spikes * (trains.neurons[:, 0] == 0), None))
    wide = network.replace(**{name: np.broadcast_to(network.parameters[name], (6, 2))})
    _, shared = ssnn.value_and_grad(loss, network, [name, "mu", "tau"], **arguments)
    _, single = ssnn.value_and_grad(loss, wide, [name, "mu", "tau"], **arguments)
    assert single[name].shape == (6, 2)
    assert single[name].sum() == pytest.approx(shared[name].sum(), rel=1e-10)
    assert shared[name].sum() != 0


def test_a_step_at_which_the_solver_jumps_is_warned_of():
    """docs/gradients.md has the biases; milstein's is of first order."""
    for solver, dt in (("stochastic_heun", 0.025), ("shark", 0.025), ("milstein", 0.005)):
        with pytest.warns(ssnn.DiscontinuousStepWarning, match="exact_ou"):
            ssnn.value_and_grad(COUNT, one_neuron(), "tau", **RUN | {"solver": solver, "dt": dt, "t1": 0.1})
    for solver, dt in (("exact_ou", 0.1), ("euler_maruyama", 0.05), ("shark", 0.0125)):
        ssnn.value_and_grad(COUNT, one_neuron(), "tau", **RUN | {"solver": solver, "dt": dt, "t1": 0.1})


def test_matched_spikes_are_followed_pathwise_without_a_word():
    data = ssnn.simulate(one_neuron(), **RUN | {"seed": 1}).spike_trains
    loss = ssnn.ExpectedSignatureLoss(depth=2, match_spikes=True)
    result = ssnn.fit(one_neuron(), data, loss, "input_current", steps=2, **RUN)
    assert result.gradient == "pathwise"


def test_training_says_which_gradient_it_followed(tmp_path):
    run = {key: value for key, value in RUN.items() if key != "num_samples"}
    data = ssnn.simulate(one_neuron(), **RUN | {"seed": 1}).spike_trains
    loss = ssnn.ExpectedSignatureLoss(depth=2)
    for gradient in ("auto", "unbiased", "pathwise"):
        result = ssnn.fit(one_neuron(), data, loss, "input_current", steps=2, gradient=gradient, **run)
        assert result.gradient == ("pathwise" if gradient == "pathwise" else "unbiased")
        result.save(tmp_path / gradient)
        assert ssnn.FitResult.load(tmp_path / gradient, one_neuron()).gradient == result.gradient
    with pytest.warns(ssnn.PathwiseGradientWarning) as caught:
        result = ssnn.fit(deterministic(), data, loss, "input_current", steps=3, **run)
    assert result.gradient == "pathwise"
    assert len(caught) == 1
    with pytest.raises(ssnn.NoGradientError, match="deterministic"):
        ssnn.fit(deterministic(), data, loss, "input_current", steps=3, gradient="unbiased", **run)


def test_a_checkpoint_of_another_gradient_is_refused(tmp_path):
    run = {key: value for key, value in RUN.items() if key != "num_samples"}
    data = ssnn.simulate(one_neuron(), **RUN).spike_trains
    arguments = dict(loss=ssnn.ExpectedSignatureLoss(2), wrt="input_current", checkpoint=tmp_path / "run", **run)
    ssnn.fit(one_neuron(), data, steps=1, **arguments)
    with pytest.raises(ssnn.ValidationError, match="gradient"):
        ssnn.fit(one_neuron(), data, steps=2, gradient="pathwise", **arguments)


def test_an_expectation_is_trained_without_data():
    """E[N] of a constant rate is t1/τ: descent on it makes τ larger."""
    network = one_neuron(alpha=0.0, intensity=ssnn.ExponentialIntensity(beta=0.0, tau=0.5))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        result = ssnn.fit(network, None, COUNT, "tau", steps=3, optimizer=ssnn.SGD(0.01), **RUN)
    taus = [*result.history["tau"], float(result.network.parameters["tau"])]
    for before, after in itertools.pairwise(taus):
        assert after - before == pytest.approx(0.01 / before**2, rel=1e-10)


def test_no_choice_of_places_depends_on_how_samples_are_grouped(engine):
    """Each sample has its own place, a function of the seed and the sample."""
    pairs = ssnn.SampleMean(lambda trains: ((trains.neurons[:, :2] == [0, 1]).all(axis=1), None))
    run = {**RUN, "engine": engine}
    whole = ssnn.value_and_grad(pairs, two_neurons(), ["mu", "weights"], **run)[1]
    parts = [
        ssnn.value_and_grad(pairs, two_neurons(), ["mu", "weights"], **run | {"num_samples": 2, "first_sample": first})[
            1
        ]
        for first in (0, 2, 4)
    ]
    for name, gradient in whole.items():
        np.testing.assert_allclose(sum(part[name] for part in parts) / 3, gradient, rtol=1e-11, atol=1e-13)


def test_entries_that_a_loss_gives_at_recorded_times_are_kept(engine):
    """Also where another place is chosen because the order of spikes may matter: of several neurons."""

    class Additive(ssnn.Loss):
        def __call__(self, generated, data=None):
            share = np.full(generated.v.shape, 1.0 / len(generated.v))
            return ssnn.LossValue(generated.v.sum(axis=(1, 2)).mean(), None, share)

        def with_entries(self, generated, data=None):
            fall = np.full(generated.v.shape, -1.4 / len(generated.v))
            return self(generated)._replace(entries_at_saves=fall)

        def exchange(self, generated, data, other):
            return np.zeros(len(generated.v))

    arguments = {**RUN, "engine": engine, "saveat": [0.3, 0.333, 0.8]}
    _, unbiased = ssnn.value_and_grad(Additive(), two_neurons(), ["mu", "weights"], **arguments)
    solution = ssnn.simulate(two_neurons(), **arguments)
    share = np.full(solution.v.shape, 1.0 / 6.0)
    wanted = solution.vjp(v_bar=share, entries_at_saves=-1.4 * share)
    for name, gradient in unbiased.items():
        np.testing.assert_allclose(gradient, wanted[name], rtol=1e-12)


def test_warnings_name_the_line_that_called_the_package():
    network, run = one_neuron(), dict(t1=0.5, dt=0.01, num_samples=2, engine="reference")
    data = ssnn.simulate(network, **run).spike_trains

    def loss(generated, data=None):
        return 0.0, np.zeros(generated.spike_times.shape)

    with pytest.warns(ssnn.PathwiseGradientWarning) as one:
        ssnn.value_and_grad(loss, network, "alpha", **run)
    del run["num_samples"]
    with pytest.warns(ssnn.PathwiseGradientWarning) as two:
        ssnn.fit(network, data, loss, "alpha", steps=1, **run)
    assert {warning.filename for warning in (*one, *two)} == {__file__}
