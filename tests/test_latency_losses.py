"""Classification by first spikes: values by hand, cotangents and gradients by finite differences."""

import numpy as np
import pytest
from helpers import random_trains

import ssnn_py as ssnn


@pytest.mark.parametrize("neurons", [None, [2, 0]])
def test_cotangents_against_finite_differences(neurons):
    rng = np.random.default_rng(5)
    generated, labels = random_trains(rng, 8, 6, 3), rng.integers(0, 2, 8)
    loss = ssnn.FirstSpikeCrossEntropy(0.3, neurons, earliness=0.4)
    bar, step = loss(generated, labels).spike_times_bar, 1e-6
    assert (bar != 0).sum() >= 8
    for sample, column in zip(*np.nonzero(generated.neurons >= 0), strict=True):
        values = []
        for sign in (1, -1):
            times = generated.times.copy()
            times[sample, column] += sign * step
            values.append(loss(ssnn.SpikeTrains(times, generated.neurons, 3, 0.0, 2.0), labels).value)
        assert bar[sample, column] == pytest.approx((values[0] - values[1]) / (2 * step), rel=1e-6, abs=1e-9)


def test_a_missing_spike_is_one_at_the_end_and_is_not_pulled():
    trains = ssnn.SpikeTrains([[0.5, 1.0]], [[0, 0]], 3, 0.0, 2.0)
    at_end = ssnn.SpikeTrains([[0.5, 2.0]], [[0, 1]], 3, 0.0, 2.0)
    loss = ssnn.FirstSpikeCrossEntropy(1.5)
    value, bar, *_ = loss(trains, [1])
    assert value == pytest.approx(loss(at_end, [1]).value) == pytest.approx(np.log(2.0 + np.exp(1.0)))
    np.testing.assert_allclose(bar, [[-np.exp(1.0) / (2.0 + np.exp(1.0)) / 1.5, 0.0]])


def test_earliness_adds_the_time_of_the_right_neuron():
    trains = ssnn.SpikeTrains([[1.5, 1.75], [1.25, np.inf]], [[0, 1], [1, -1]], 2, 1.0, 2.0)
    plain, early = (ssnn.FirstSpikeCrossEntropy(0.5, earliness=gamma)(trains, [0, 0]).value for gamma in (0.0, 0.2))
    assert early - plain == pytest.approx(0.2 * (0.5 + 1.0) / 2 / 0.5)


def test_gradients_in_input_and_hidden_weights_against_finite_differences(engine):
    """Channels of input, hidden neurons and classes, the noise frozen."""
    rng = np.random.default_rng(3)
    weights, given = np.zeros((6, 6)), np.zeros((2, 6))
    weights[:4, 4:], given[:, :4] = rng.uniform(0.5, 1.5, (4, 2)), rng.uniform(2.0, 4.0, (2, 4))
    net = ssnn.SLIFNetwork(weights, sigma=0.1, mu=(4.0, 8.0), input_current=0.9, inputs=ssnn.SpikeInput(given))
    spikes = ssnn.datasets.latency_spikes(rng.random((5, 2)), t1=1.5)
    loss, labels = ssnn.FirstSpikeCrossEntropy(0.2, neurons=[4, 5]), rng.integers(0, 2, 5)
    run = dict(data=labels, input_spikes=spikes, num_samples=5, t1=1.5, dt=0.05, seed=2, engine=engine)
    _, gradients = ssnn.value_and_grad(loss, net, ["weights", "input_weights"], gradient="unbiased", **run)
    for name, matrix in (("weights", weights), ("input_weights", given)):
        direction, step = rng.normal(size=matrix.shape) * (matrix != 0), 1e-6
        values = [
            ssnn.value_and_grad(loss, net.replace(**{name: matrix + sign * step * direction}), name, **run)[0]
            for sign in (1, -1)
        ]
        slope = (gradients[name] * direction).sum()
        assert abs(slope) > 1e-3
        assert slope == pytest.approx((values[0] - values[1]) / (2 * step), rel=1e-5)
