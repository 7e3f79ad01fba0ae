"""Networks as estimators of scikit-learn: its own checks, its splits and searches, and what the score is."""

import pickle
import subprocess
import sys

import numpy as np
import pytest
from conftest import needs_julia

import ssnn_py as ssnn

pytest.importorskip("sklearn", minversion="1.6", reason="scikit-learn from 1.6 on is not installed")

from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, KFold, cross_val_score
from sklearn.utils.estimator_checks import check_estimator
from sklearn.utils.validation import check_is_fitted, validate_data

pytestmark = needs_julia

NET = ssnn.SLIFNetwork([[0.0]], input_current=1.5, alpha=0.0)
TRAINS = ssnn.SpikeTrains([[0.3, 0.8], [0.5, np.inf], [0.2, 0.9], [0.7, np.inf]], [[0, 0], [0, -1], [0, 0], [0, -1]],
                          num_neurons=1, t0=0.0, t1=1.0)  # fmt: skip


def model(**changes):
    return ssnn.SpikeTrainModel(**{**dict(network=NET, wrt="input_current", dt=0.1), **changes})


class OfMatrices(ssnn.SpikeTrainModel):
    """Trains from the rows of a matrix, which all of scikit-learn's checks give; the rest is the estimator's own."""

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = True
        return tags

    @staticmethod
    def trains(X):
        times = np.sort(X % 1.0, axis=1) + np.linspace(0.5, 1.0, X.shape[1])  # no two are equal
        return ssnn.SpikeTrains(times, np.zeros(times.shape, dtype=int), 1, 0.0, 2.0)

    def fit(self, X, y=None):
        return super().fit(self.trains(validate_data(self, X)), y)

    def score(self, X, y=None):
        check_is_fitted(self)
        return super().score(self.trains(validate_data(self, X, reset=False)), y)


def failures(estimator):
    results = check_estimator(estimator, on_fail=None, on_skip=None)
    assert len(results) > 35
    return {result["check_name"]: result["exception"] for result in results if result["status"] == "failed"}


def test_it_passes_every_check_of_scikit_learn_once_rows_are_trains():
    assert failures(OfMatrices(NET, "input_current", dt=0.1, steps=3)) == {}


def test_of_spike_trains_no_check_applies_that_gives_a_matrix():
    """scikit-learn leaves them out by itself; what it gives is refused in words."""
    with pytest.warns(match="Can't test estimator"):
        results = check_estimator(model())
    assert [result["check_name"] for result in results] == ["check_estimator_cloneable"]
    with pytest.raises(ssnn.ValidationError, match="X must be SpikeTrains, or a list of them, got an array of shape"):
        model().fit(np.zeros((3, 2)))


@pytest.mark.parametrize("loss", [None, ssnn.SpikeCountLoss(), ssnn.NegativeLogLikelihood()])
def test_a_clone_finds_the_same_and_knows_nothing_before(loss):
    first = model(loss=loss, steps=3).fit(TRAINS)
    other = clone(first)
    ours, theirs = ({**each.get_params(), "loss": repr(each.loss)} for each in (first, other))
    assert ours == theirs
    for call in (lambda: other.score(TRAINS), other.sample):
        with pytest.raises(NotFittedError):
            call()
    assert other.fit(TRAINS).network_ == first.network_
    assert other.score(TRAINS) == first.score(TRAINS)
    assert pickle.loads(pickle.dumps(first)).score(TRAINS) == first.score(TRAINS)


def test_without_a_loss_it_is_maximum_likelihood_and_the_score_is_the_mean_log_likelihood():
    fitted = model().fit(TRAINS[:3])
    assert fitted.network_ == ssnn.maximum_likelihood(NET, TRAINS[:3], "input_current", dt=0.1).network
    assert fitted.score(TRAINS) == ssnn.log_likelihood(fitted.network_, TRAINS, dt=0.1).value / 4


def test_with_a_loss_it_is_fit_and_the_score_is_minus_the_loss():
    loss, optimizer = ssnn.SpikeCountLoss(), ssnn.Adam(0.1)
    fitted = model(loss=loss, optimizer=optimizer, steps=5, seed=3, batch_size=2).fit(TRAINS)
    by_hand = ssnn.fit(NET, TRAINS, loss, "input_current", 5, optimizer, seed=3, batch_size=2, t1=1.0, dt=0.1)
    assert fitted.network_ == by_hand.network
    fresh = ssnn.simulate(by_hand.network, t1=1.0, dt=0.1, num_samples=4, seed=3)
    assert fitted.score(TRAINS) == -loss(fresh, TRAINS)[0]
    likelihood = model(loss=ssnn.NegativeLogLikelihood(), steps=5).fit(TRAINS)
    assert likelihood.score(TRAINS) == pytest.approx(
        ssnn.log_likelihood(likelihood.network_, TRAINS, dt=0.1).value / 4, rel=1e-12
    )


def test_the_score_of_a_noisy_network_is_that_of_the_particle_filter_which_fit_has():
    loss = ssnn.NegativeLogLikelihood(particles=8)
    fitted = model(network=NET.replace(sigma=0.3), loss=loss, steps=1).fit(TRAINS)
    run = dict(t1=1.0, dt=0.1, num_samples=4, seed=0)
    value, _ = ssnn.value_and_grad(loss, fitted.network_, "input_current", data=TRAINS, **run)
    assert fitted.score(TRAINS) == -value


def test_splits_and_searches_of_scikit_learn_take_trains():
    scores = cross_val_score(model(), TRAINS, cv=KFold(2))
    halves = [TRAINS[:2], TRAINS[2:]]
    assert scores.tolist() == [model().fit(halves[1 - k]).score(halves[k]) for k in range(2)]
    trains = ssnn.simulate(NET, t1=4.0, dt=0.05, num_samples=24, seed=1).spike_trains
    grid = {"network": [NET, NET.replace(beta=0.0)], "wrt": ["input_current", "v_th"]}
    found = GridSearchCV(model(dt=0.05), grid, cv=2).fit(trains)
    assert found.best_params_["network"] == NET
    assert found.best_estimator_.interval_ == (0.0, 4.0)


def test_samples_are_those_of_the_fitted_network_over_the_interval_of_the_trains():
    fitted = model(seed=5).fit(TRAINS)
    drawn = fitted.sample(7)
    assert drawn == ssnn.simulate(fitted.network_, t1=1.0, dt=0.1, num_samples=7, seed=5).spike_trains
    assert drawn != fitted.sample(7, seed=6)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (dict(wrt="v0"), "wrt must name parameters of the network, got 'v0'"),
        (dict(optimizer=ssnn.Adam(0.1)), "optimizer goes with a loss"),
        (dict(max_spikes=3), "max_spikes goes with a loss"),
        (dict(loss=lambda generated, data: 0.0), "loss must be a Loss, or None"),
        (dict(simulate_arguments=dict(t1=3.0)), "simulate_arguments must not have 't1'"),
        (dict(simulate_arguments=3), "simulate_arguments must be a mapping, got 3"),
        (dict(network=3), "network must be a Network"),
        (dict(network=NET.replace(sigma=0.3)), "needs a network without noise"),
    ],
)
def test_what_is_wrong_is_said_by_fit_and_never_by_the_constructor(changes, said):
    wrong = model(**changes)
    with pytest.raises(ssnn.ValidationError, match=said):
        wrong.fit(TRAINS)


def test_no_trains_are_refused():
    with pytest.raises(ssnn.ValidationError, match="at least one sample"):
        model().fit(TRAINS[:0])


def test_scikit_learn_is_loaded_by_nothing_else():
    code = "import sys, ssnn_py; assert 'sklearn' not in sys.modules; ssnn_py.SpikeTrainModel"
    subprocess.run([sys.executable, "-c", code], check=True)
