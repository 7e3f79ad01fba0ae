"""Tests of a model against recorded spikes: right where it is true, and awake where it is not."""

import math

import numpy as np
import pytest
from helpers import one_neuron
from matplotlib.figure import Figure
from scipy import stats

import ssnn_py as ssnn
from ssnn_py.goodness_of_fit import joined_intervals, ks_band, ks_test, serial_test

RUN = dict(t1=2.0, dt=0.01)


def quiet(**changes):
    return one_neuron(**{"sigma": 0.0, "alpha": 0.0, **changes})


def recorded(net, samples=40, seed=1, **more):
    return ssnn.simulate(net, num_samples=samples, seed=seed, **{**RUN, **more}).spike_trains


def test_the_tests_are_those_of_scipy():
    rng = np.random.default_rng(0)
    u = rng.uniform(size=300) ** 1.05
    distance, p = ks_test(u)
    theirs = stats.kstest(u, "uniform")
    assert distance == pytest.approx(theirs.statistic, abs=1e-14)
    assert p == pytest.approx(theirs.pvalue, abs=3e-3)
    assert ks_band(300, 0.05) == pytest.approx(stats.kstwo.isf(0.05, 300), abs=1e-3)
    correlations, p = serial_test(u)
    g = stats.norm.ppf(u)
    g = g - g.mean()
    assert correlations[2] == pytest.approx((g[3:] * g[:-3]).sum() / (g * g).sum())
    n, lags = 300, np.arange(1, 11)
    assert p == pytest.approx(stats.chi2.sf(n * (n + 2) * (correlations**2 / (n - lags)).sum(), 10), rel=1e-9)


def test_p_values_are_uniform_where_the_model_is_true():
    """One call of a hundred recordings, each of which is tested by itself."""
    net, repeats, trials = quiet(alpha=0.05), 100, 20
    trains = recorded(net, repeats * trials, seed=4)
    found = ssnn.log_likelihood(net, trains, RUN["dt"])
    p_values = []
    for repeat in range(repeats):
        rows = slice(repeat * trials, (repeat + 1) * trials)
        part = ssnn.LogLikelihood(
            trains[rows], found.samples[rows], found.standard_errors[rows], found.log_intensities[rows],
            found.rescaled[rows], found.rescaled_end[rows],
        )  # fmt: skip
        u = -np.expm1(-joined_intervals(part, 0))
        p_values.append((ks_test(u)[1], serial_test(u)[1]))
    for column in np.array(p_values).T:
        assert stats.kstest(column, "uniform").pvalue > 0.01


def test_joined_samples_lose_no_interval_to_their_ends():
    net = quiet(input_current=0.8)
    found = ssnn.log_likelihood(net, recorded(net, 200, t1=0.5), 0.01)
    z = joined_intervals(found, 0)
    total = found.rescaled.sum() + found.rescaled_end.sum()
    assert z.size == found.trains.num_spikes.sum()
    assert total - z.sum() < 10.0
    assert abs(z.mean() - 1.0) < 4 / math.sqrt(z.size)


@pytest.mark.parametrize(
    ("wrong", "name"),
    [
        (dict(intensity=ssnn.ExponentialIntensity(beta=2.0)), "KS of neuron 0"),
        (dict(alpha=0.0), "KS of neuron 0"),
        (dict(v_reset=0.7), "KS of neuron 0"),
    ],
    ids=["beta", "dead zone", "reset"],
)
def test_a_wrong_model_is_rejected_by_the_test_that_sees_it(wrong, name):
    truth = quiet(alpha=0.3)
    trains = recorded(truth, 60)
    model = quiet(**{"alpha": 0.3, **wrong})
    found = ssnn.goodness_of_fit(model, trains, RUN["dt"], num_permutations=50)
    assert name in found.failures
    assert "is rejected" in found.verdict
    assert not ssnn.goodness_of_fit(truth, trains, RUN["dt"], num_permutations=200).failures


def test_missing_adaptation_shows_in_serial_correlation_or_intervals():
    def neuron(b):
        model = ssnn.EventSDE(
            "dv/dt = 15*(I - v - a)\nda/dt = -a/0.3",
            events=ssnn.Event(hazard="exp(5*(v - 1))", then="v -= 1.4; a += b"),
            parameters=dict(b=b),
        )
        return ssnn.Network(model, input_current=1.8)

    trains = recorded(neuron(0.4), 60)
    found = ssnn.goodness_of_fit(neuron(0.0), trains, RUN["dt"], num_permutations=20)
    assert found.failures
    assert not ssnn.goodness_of_fit(neuron(0.4), trains, RUN["dt"], num_permutations=100).failures


def test_the_table_has_a_row_per_neuron_and_bits_that_add_up():
    net = ssnn.SLIFNetwork([[0.0, 0.8], [-0.5, 0.0]], input_current=[1.5, 1.3], mu=(15.0, 8.0), alpha=0.0)
    trains = recorded(net, 30)
    found = ssnn.goodness_of_fit(net, trains, RUN["dt"], num_permutations=50)
    weighted = sum(one.bits_per_spike * one.num_spikes for one in found.neurons)
    assert weighted / trains.num_spikes.sum() == pytest.approx(found.likelihood.bits_per_spike, rel=1e-9)
    assert found.neurons[1].rate == pytest.approx(trains.mean_rates[:, 1].mean())
    assert abs(found.neurons[1].model_rate - found.neurons[1].rate) < 0.5
    lines = repr(found).splitlines()
    assert lines[0].split()[:3] == ["neuron", "spikes", "rate"]
    assert lines[2].split()[0] == "1"
    assert found.verdict in repr(found)
    assert np.all(found.psth_outside < 0.2)


def test_hidden_states_are_tested_by_the_predictions_of_the_filter():
    net = quiet(sigma=0.5)
    trains = recorded(net, 20)
    right = ssnn.goodness_of_fit(net, trains, RUN["dt"], particles=100, filters=2, num_permutations=50)
    assert not right.failures
    assert not right.likelihood.exact
    wrong = ssnn.goodness_of_fit(
        quiet(sigma=0.5, v_reset=0.6), trains, RUN["dt"], particles=100, filters=2, num_permutations=50
    )
    assert "KS of neuron 0" in wrong.failures


def test_one_figure_has_all_of_it():
    net = quiet()
    found = ssnn.goodness_of_fit(net, recorded(net), RUN["dt"], num_permutations=20)
    fig = found.plot()
    assert isinstance(fig, Figure)
    assert len(fig.axes) == 4
    assert found.verdict[:40] in fig.get_suptitle()
    with pytest.raises(ssnn.ValidationError, match="neuron must be"):
        found.plot(1)


def test_a_single_silent_trial_is_not_tested():
    silent = ssnn.SpikeTrains([[np.inf]], [[-1]], 1, 0.0, 2.0)
    found = ssnn.goodness_of_fit(quiet(), silent, RUN["dt"])
    assert found.p_values == {}
    assert "too few spikes to test it" in found.verdict
    assert "No signature MMD" in repr(found)
    assert found.plot().axes


def test_the_level_is_checked():
    with pytest.raises(ssnn.ValidationError, match="level must be between 0 and 1"):
        ssnn.goodness_of_fit(quiet(), recorded(quiet(), 2), RUN["dt"], level=2.0)
