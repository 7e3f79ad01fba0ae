"""Data sets: their definition and law; numbers as spikes."""

import sys

import numpy as np
import pytest

import ssnn_py as ssnn
from ssnn_py.datasets import digits, latency_spikes, yin_yang, yin_yang_class


def test_yin_yang_points_are_in_the_part_that_their_label_says():
    features, labels = yin_yang(3000, seed=3)
    points = features[:, :2]
    np.testing.assert_array_equal(features[:, 2:], 1.0 - points)
    assert (np.hypot(*(points - 0.5).T) <= 0.5).all()
    np.testing.assert_array_equal(yin_yang_class(points), labels)
    to_dots = np.minimum(np.hypot(*(points - [0.25, 0.5]).T), np.hypot(*(points - [0.75, 0.5]).T))
    np.testing.assert_array_equal(to_dots <= 0.1, labels == 2)


def test_yin_and_yang_are_each_other_turned_by_half_a_turn():
    points = np.random.default_rng(0).random((4000, 2))
    here, turned = yin_yang_class(points), yin_yang_class(1.0 - points)
    np.testing.assert_array_equal(turned, np.array([1, 0, 2])[here])


def test_yin_yang_is_balanced_and_uniform_on_its_parts():
    """Against areas in closed form: of the upper half, right of the middle and left of it, and of the dots."""
    features, labels = yin_yang(30000, seed=1)
    for label in range(3):
        assert abs((labels == label).mean() - 1 / 3) < 4 * np.sqrt(2 / 9 / 30000)
    upper = features[labels == 1, :2]
    disc, small, dot = np.pi * 0.5**2, np.pi * 0.25**2, np.pi * 0.1**2
    # Left of the middle it is a quarter of the disc and a half of the small disc's lower part, less the left dot.
    left, right = disc / 4 + small / 2 - dot, disc / 4 - small / 2 - 0.0
    # On the right the upper half of the dot's disc belongs to the other half, and the dot with it.
    share = left / (left + right)
    assert abs((upper[:, 0] < 0.5).mean() - share) < 4 * np.sqrt(share * (1 - share) / len(upper))
    dots = features[labels == 2, :2]
    assert abs((dots[:, 0] < 0.5).mean() - 0.5) < 4 * np.sqrt(0.25 / len(dots))
    radii = np.minimum(np.hypot(*(dots - [0.25, 0.5]).T), np.hypot(*(dots - [0.75, 0.5]).T)) / 0.1
    assert abs((radii**2).mean() - 0.5) < 4 * np.sqrt(1 / 12 / len(dots)), "uniform on a disc"


def test_the_first_of_more_points_are_the_same_points():
    few, many = yin_yang(10, seed=4), yin_yang(500, seed=4)
    np.testing.assert_array_equal(few[0], many[0][:10])
    np.testing.assert_array_equal(few[1], many[1][:10])
    assert not np.array_equal(yin_yang(10, seed=5)[0], few[0])


def test_latency_spikes_have_every_feature_at_its_time():
    features = np.random.default_rng(1).random((6, 4))
    trains = latency_spikes(features, t1=3.0, earliest=0.5, latest=2.5, bias=[0.0, 1.0])
    assert trains == ssnn.SpikeTrains(trains.times, trains.neurons, 6, 0.0, 3.0), "in order"
    assert (trains.spike_counts == 1).all()
    times = np.empty((6, 6))
    np.put_along_axis(times, trains.neurons, trains.times, axis=1)
    np.testing.assert_allclose(times[:, :4], 2.5 - 2.0 * features)
    np.testing.assert_array_equal(times[:, 4:], [[0.0, 1.0]] * 6)


def test_features_that_are_silent_have_no_spike():
    trains = latency_spikes([[0.0, 0.2, 0.3], [0.0, 0.0, 1.0]], t1=1.0, silent=0.2)
    np.testing.assert_array_equal(trains.spike_counts, [[0, 0, 1], [0, 0, 1]])
    assert trains.times.shape == (2, 1)


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: yin_yang(0), "n must be between 1"),
        (lambda: yin_yang(5, r_small=0.3), "r_small must be below r_big/2"),
        (lambda: yin_yang(5, r_big=0.6), "r_big at most 0.5"),
        (lambda: yin_yang_class([0.5, 0.5, 0.5]), r"points must be of shape \(..., 2\)"),
        (lambda: latency_spikes([[1.5]], t1=1.0), "features must be from 0 to 1, got 1.5"),
        (lambda: latency_spikes([0.5], t1=1.0), r"features must be an array of shape \(S, M\)"),
        (lambda: latency_spikes([[0.5]], t1=0.5), "earliest must be before latest"),
        (lambda: latency_spikes([[0.5]], t1=1.0, bias=2.0), "bias must be within"),
    ],
)
def test_mistakes_are_named(call, says):
    with pytest.raises(ssnn.ValidationError, match=says):
        call()


def test_digits_are_scikit_learns():
    datasets = pytest.importorskip("sklearn.datasets", reason="scikit-learn is not installed")
    features, labels = digits(seed=2)
    assert features.shape == (1797, 64)
    assert features.min() == 0.0
    assert features.max() == 1.0
    given = datasets.load_digits()
    np.testing.assert_array_equal(np.bincount(labels), np.bincount(given.target))
    np.testing.assert_allclose(features[labels == 3].mean(axis=0), given.data[given.target == 3].mean(axis=0) / 16)
    assert not np.array_equal(labels, digits(seed=3)[1])


def test_digits_without_scikit_learn_say_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(ssnn.ValidationError, match="pip install scikit-learn"):
        digits()
