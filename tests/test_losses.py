"""Losses: values by hand, cotangents by finite differences."""

import numpy as np
import pytest
from helpers import random_trains

import ssnn_py as ssnn
from ssnn_py.losses import matched_trains

INF = np.inf
LOSSES = {
    "signature": ssnn.ExpectedSignatureLoss(depth=3),
    "signature, matched": ssnn.ExpectedSignatureLoss(depth=3, match_spikes=True),
    "signature of one neuron, scaled": ssnn.ExpectedSignatureLoss(depth=2, neurons=[1], scales=[0.5, 2.0]),
    "signature of one neuron, matched": ssnn.ExpectedSignatureLoss(depth=2, neurons=[1], match_spikes=True),
    "first spikes": ssnn.FirstSpikeLoss(n=2),
    "first spikes, absolute": ssnn.FirstSpikeLoss(n=2, kind="mae"),
    "first spikes of one neuron": ssnn.FirstSpikeLoss(n=3, neurons=[1]),
}


@pytest.fixture(autouse=True)
def _engine(engine, monkeypatch):
    monkeypatch.setenv("SSNN_ENGINE", engine)


@pytest.mark.parametrize("name", LOSSES)
def test_cotangents_against_finite_differences(name):
    rng = np.random.default_rng(5)
    generated, data = random_trains(rng, 5, 5, 2), random_trains(rng, 5, 4, 2)
    loss = LOSSES[name]
    bar = loss(generated, data).spike_times_bar
    assert bar.shape == generated.times.shape
    assert np.any(bar != 0)
    step = 1e-6
    for sample, column in zip(*np.nonzero(generated.neurons >= 0), strict=True):
        values = []
        for sign in (1, -1):
            times = generated.times.copy()
            times[sample, column] += sign * step
            values.append(loss(ssnn.SpikeTrains(times, generated.neurons, 2, 0.0, 2.0), data).value)
        assert bar[sample, column] == pytest.approx((values[0] - values[1]) / (2 * step), rel=1e-5, abs=1e-8)


@pytest.mark.parametrize("name", LOSSES)
def test_no_loss_against_itself(name):
    trains = random_trains(np.random.default_rng(1), 5, 5, 2)
    assert LOSSES[name](trains, trains).value == pytest.approx(0.0, abs=1e-28)


def test_first_spike_loss_by_hand():
    generated = ssnn.SpikeTrains([[0.5, 1.0], [0.7, INF]], [[0, 0], [0, -1]], 1, 0.0, 2.0)
    data = ssnn.SpikeTrains([[0.2, 0.8]], [[0, 0]], 1, 0.0, 2.0)
    # Means of the first and second spike: 0.6 and (1.0 + 2.0)/2; differences 0.4 and 0.7.
    value, bar, *_ = ssnn.FirstSpikeLoss(n=2)(generated, data)
    assert value == pytest.approx((0.4**2 + 0.7**2) / 2)
    np.testing.assert_allclose(bar, [[0.2, 0.35], [0.2, 0.0]])
    assert ssnn.FirstSpikeLoss(n=2, kind="mae")(generated, data).value == pytest.approx(0.55)


def test_matched_trains_keep_the_smaller_count_of_each_neuron():
    X = ssnn.SpikeTrains([[0.1, 0.2, 0.3, 0.4]], [[0, 1, 0, 0]], 2, 0.0, 1.0)
    Y = ssnn.SpikeTrains([[0.5, 0.6, INF, INF]], [[0, 0, -1, -1]], 2, 0.0, 1.0)
    one, two, columns = matched_trains(X, Y)
    assert np.array_equal(columns, [[0, 2, -1, -1]])
    assert np.array_equal(one.times, [[0.1, 0.3, INF, INF]])
    assert np.array_equal(two.spike_counts, [[2, 0]])
    bar = ssnn.ExpectedSignatureLoss(depth=2, match_spikes=True)(X, Y).spike_times_bar
    assert bar[0, 1] == bar[0, 3] == 0.0
    assert bar[0, 0] != 0.0


def test_expected_signature_loss_is_the_mean_square_over_words():
    rng = np.random.default_rng(3)
    X, Y = random_trains(rng, 6, 4, 2), random_trains(rng, 6, 4, 2)
    difference = ssnn.expected_signature(X, 3) - ssnn.expected_signature(Y, 3)
    assert ssnn.ExpectedSignatureLoss(depth=3)(X, Y).value == pytest.approx((difference**2).mean())
    capped = matched_trains(X, Y)
    difference = ssnn.expected_signature(capped[0], 3) - ssnn.expected_signature(capped[1], 3)
    assert ssnn.ExpectedSignatureLoss(depth=3, match_spikes=True)(X, Y).value == pytest.approx((difference**2).mean())


def test_silent_trains_have_a_loss_and_no_gradient():
    silent = ssnn.SpikeTrains(np.empty((3, 0)), np.empty((3, 0), dtype=int), 1, 0.0, 1.0)
    loud = ssnn.SpikeTrains([[0.5]] * 3, [[0]] * 3, 1, 0.0, 1.0)
    for loss in (ssnn.ExpectedSignatureLoss(2), ssnn.FirstSpikeLoss(1)):
        value, bar, *_ = loss(silent, loud)
        assert value > 0
        assert bar.shape == (3, 0)


@pytest.mark.parametrize(
    ("call", "word"),
    [
        (lambda X: ssnn.ExpectedSignatureLoss(depth=0), "depth"),
        (lambda X: ssnn.ExpectedSignatureLoss(scales=-1.0), "scales"),
        (lambda X: ssnn.ExpectedSignatureLoss(scales=[1.0, 1.0])(X, X), "scales"),
        (lambda X: ssnn.ExpectedSignatureLoss(match_spikes=True)(X, X[:1]), "match_spikes"),
        (lambda X: ssnn.ExpectedSignatureLoss(neurons=[5])(X, X), "neurons"),
        (lambda X: ssnn.ExpectedSignatureLoss()(X, 3.0), "data"),
        (lambda X: ssnn.ExpectedSignatureLoss()("x", X), "generated"),
        (lambda X: ssnn.FirstSpikeLoss(n=0), "n must"),
        (lambda X: ssnn.FirstSpikeLoss(kind="rms"), "kind"),
        (lambda X: ssnn.FirstSpikeLoss()(X, X.select([0])), "neurons"),
        (lambda X: ssnn.FirstSpikeLoss()(X, ssnn.SpikeTrains.unchecked(X.times, X.neurons, 2, 0.0, 9.0)), "interval"),
    ],
)
def test_what_losses_refuse_they_name(call, word):
    with pytest.raises(ssnn.ValidationError, match=word):
        call(random_trains(np.random.default_rng(0), 3, 4, 2))
