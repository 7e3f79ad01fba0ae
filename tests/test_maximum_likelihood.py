"""The most likely parameters, their standard errors, and what the data do not identify."""

import math
import pickle

import numpy as np
import pytest
from helpers import one_neuron

import ssnn_py as ssnn
from ssnn_py.maximum_likelihood import _newton

FINE = dict(dt=0.02, solver="exact_ou")
RUN = dict(t1=2.0, **FINE)
WRT = ["input_current", "mu", "beta", "v_th"]


def quiet(**changes):
    return one_neuron(**{"sigma": 0.0, "alpha": 0.0, **changes})


@pytest.fixture(scope="module")
def trials():
    return ssnn.simulate(quiet(), num_samples=200, seed=1, **RUN).spike_trains


@pytest.fixture(scope="module")
def found(trials):
    start = quiet(input_current=1.2, mu=(10.0, 0.0), intensity=ssnn.ExponentialIntensity(beta=3.0, v_th=0.8))
    return ssnn.maximum_likelihood(start, trials, WRT, **FINE)


def test_two_hundred_trials_give_back_what_made_them(found):
    truth = np.array([1.5, 15.0, 0.0, 5.0, 1.0])
    assert found.labels == ("input_current", "mu[0]", "mu[1]", "beta", "v_th")
    known = np.isfinite(found.standard_errors)
    assert known.tolist() == [True, True, False, True, True]
    assert np.all(np.abs(found.values - truth)[known] < 3 * found.standard_errors[known])
    assert found.converged
    # The rate μ2 of a current that nothing drives.
    assert found.unidentified == ("mu[1]",)
    assert "The data do not identify mu[1]." in repr(found)


def test_the_gradient_vanishes_there_and_the_covariance_is_the_inverse_information(found):
    known = np.isfinite(found.standard_errors)
    assert np.all(np.abs(found.gradient[known] * found.standard_errors[known]) < 1e-5)
    block = np.ix_(known, known)
    np.testing.assert_allclose(found.covariance[block] @ found.information[block], np.eye(4), atol=1e-6)
    intervals = found.confidence_intervals(0.95)[known]
    np.testing.assert_allclose(np.diff(intervals)[:, 0] / found.standard_errors[known] / 2, 1.959964, rtol=1e-6)


def test_newtons_step_leaves_a_parameter_that_nothing_identifies_at_its_bound():
    """Rounding would take it out of its range, where there is no likelihood."""
    information = np.array([[1e4, 1e-14], [1e-14, 0.0]])
    step = _newton(information, np.array([1.0, 0.0]), np.ones(2))
    assert step[0] == pytest.approx(-1e-4)
    assert step[1] == 0.0


def test_a_profile_is_the_parabola_of_the_standard_error_near_its_top(found):
    held = found.values[3] + found.standard_errors[3] * np.array([-0.1, 0.1])
    profile = found.profile("beta", held)
    drops = profile.maximum - profile.log_likelihoods
    assert drops.mean() == pytest.approx(0.5 * 0.1**2, rel=0.02)
    low, high = found.profile("beta").interval()
    assert low == pytest.approx(found.values[3] - 1.96 * found.standard_errors[3], abs=0.3 * found.standard_errors[3])
    assert high > found.values[3]
    assert found.profile("beta", held).interval() == (-math.inf, math.inf)


def test_a_combination_that_the_data_do_not_identify_is_named(trials):
    """exp(β(v − v_th))/τ: a lower threshold and a longer τ are the same."""
    found = ssnn.maximum_likelihood(quiet(), trials[:50], ["v_th", "tau"], **FINE)
    assert len(found.unidentified) == 1
    assert "v_th" in found.unidentified[0]
    assert "tau" in found.unidentified[0]
    assert not np.isfinite(found.standard_errors).any()


def test_weights_are_found_with_initial_values_beside_them():
    weights = np.array([[0.0, 0.8], [-0.5, 0.0]])
    net = ssnn.SLIFNetwork(weights, input_current=1.4, mu=(15.0, 8.0), alpha=0.0)
    run = dict(dt=0.01, v0=[0.4, 0.0])
    trains = ssnn.simulate(net, t1=2.0, num_samples=60, seed=2, **run).spike_trains
    start = net.replace(weights=0.1 * weights)
    found = ssnn.maximum_likelihood(start, trains, ["weights", "v0"], dt=0.01, v0=[0.1, 0.1])
    assert found.labels == ("weights[0, 1]", "weights[1, 0]", "v0[0]", "v0[1]")
    truth = np.array([0.8, -0.5, 0.4, 0.0])
    assert np.all(np.abs(found.values - truth) < 3.5 * found.standard_errors)
    again = ssnn.log_likelihood(found.network, trains, 0.01, v0=found.values[2:]).value
    assert again == pytest.approx(found.log_likelihood.value, abs=1e-9)


def test_a_result_comes_through_pickle_without_its_data(found):
    again = pickle.loads(pickle.dumps(found))
    assert again == found
    with pytest.raises(ssnn.ValidationError, match="fit it again"):
        again.profile("beta")


def test_standard_errors_say_where_a_dead_zone_makes_them_doubtful():
    net = quiet(alpha=0.03)
    trains = ssnn.simulate(net, num_samples=20, seed=1, **RUN).spike_trains
    found = ssnn.maximum_likelihood(net, trains, "beta", **FINE)
    assert found.has_dead_zone
    assert "Neurons have a dead zone" in repr(found)


@pytest.mark.parametrize(
    ("net", "wrt", "message"),
    [
        (quiet(), "alpha", "wrt must not name alpha, a dead zone"),
        (quiet(), "gamma", "unknown parameter 'gamma'"),
        (quiet(sigma=0.1), "beta", "without noise on its state"),
        (quiet(), "weights", "no synapse"),
    ],
)
def test_what_has_no_maximum_with_a_standard_error_is_refused(trials, net, wrt, message):
    with pytest.raises(ssnn.ValidationError, match=message):
        ssnn.maximum_likelihood(net, trials[:2], wrt, **FINE)


def test_labels_and_levels_are_checked(found):
    with pytest.raises(ssnn.ValidationError, match=r"label must be one of input_current"):
        found.profile("tau")
    with pytest.raises(ssnn.ValidationError, match="the data do not identify"):
        found.profile("mu[1]")
    with pytest.raises(ssnn.ValidationError, match="level must be between 0 and 1"):
        found.confidence_intervals(1.0)
