"""What a loss changes by where one sample is exchanged, or fires once more: closed forms against the loss evaluated again."""

import numpy as np
import pytest
from helpers import random_trains

import ssnn_py as ssnn
from ssnn_py.recordings import with_spike_at_end

INF = np.inf
# Neurons, samples of the data (5 are generated), and a loss of them.
LOSSES = {
    "signature of one neuron": (1, 4, ssnn.ExpectedSignatureLoss(depth=4, match_spikes=False)),
    "signature": (3, 7, ssnn.ExpectedSignatureLoss(depth=3, match_spikes=False)),
    "signature, level 1": (3, 7, ssnn.ExpectedSignatureLoss(depth=1, match_spikes=False)),
    "signature, scaled": (3, 7, ssnn.ExpectedSignatureLoss(3, False, scales=[0.7, 2.0, 0.5, 1.3])),
    "signature of chosen neurons": (3, 7, ssnn.ExpectedSignatureLoss(2, False, neurons=[2, 0], scales=[0.7, 2.0, 0.5])),
    "signature, matched": (3, 5, ssnn.ExpectedSignatureLoss(depth=3)),
    "signature, matched, of chosen neurons": (3, 5, ssnn.ExpectedSignatureLoss(2, neurons=[2, 0], scales=0.5)),
    "mmd": (3, 3, ssnn.SignatureMMD()),
    "mmd of one neuron": (1, 3, ssnn.SignatureMMD(scales=[0.5, 0.7])),
    "mmd, biased, scaled": (3, 2, ssnn.SignatureMMD(unbiased=False, scales=[0.7, 1.2, 0.5, 0.9])),
    "mmd, normalised": (3, 3, ssnn.SignatureMMD(normalize=True)),
    "mmd, normalised, biased": (3, 3, ssnn.SignatureMMD(unbiased=False, normalize=True, scales=0.8)),
    "mmd to depth 2": (3, 3, ssnn.SignatureMMD(depth=2, scales=0.8)),
    "mmd to depth 3, normalised, biased": (3, 3, ssnn.SignatureMMD(depth=3, unbiased=False, normalize=True)),
    "mmd of chosen neurons": (3, 3, ssnn.SignatureMMD(neurons=[2, 0], scales=[0.7, 1.2, 0.5])),
    "first spikes": (3, 7, ssnn.FirstSpikeLoss(n=2)),
    "first spikes, absolute": (3, 7, ssnn.FirstSpikeLoss(n=2, kind="mae")),
    "first spikes of one neuron": (3, 7, ssnn.FirstSpikeLoss(n=3, neurons=[1])),
}


@pytest.fixture(autouse=True)
def _engine(engine, monkeypatch):
    monkeypatch.setenv("SSNN_ENGINE", engine)


def batches(name):
    """Generated samples, data and samples to exchange, and the loss. Kernels in NumPy are slow: fewer spikes."""
    neurons, recorded, loss = LOSSES[name]
    rng = np.random.default_rng(7)
    samples, spikes = (3, 3) if isinstance(loss, ssnn.SignatureMMD) else (5, 6)
    generated = random_trains(rng, samples, spikes, neurons, ties=neurons > 1)
    return generated, random_trains(rng, recorded, 4, neurons), random_trains(rng, samples, spikes + 1, neurons), loss


def assert_close(ours, wanted, size):
    np.testing.assert_allclose(ours, wanted, rtol=1e-12, atol=1e-12 * size)


@pytest.mark.parametrize("name", LOSSES)
def test_exchange_is_the_difference_of_the_loss_of_the_whole_batch(name):
    generated, data, other, loss = batches(name)
    wanted = ssnn.Loss.exchange(loss, generated, data, other)
    assert np.abs(wanted).max() > 1e-4
    assert_close(loss.exchange(generated, data, other), wanted, np.abs(wanted).max() + abs(loss(generated, data).value))


@pytest.mark.parametrize("name", LOSSES)
def test_entries_are_what_one_more_spike_at_the_end_changes(name):
    generated, data, _, loss = batches(name)
    result, plain = loss.with_entries(generated, data), loss(generated, data)
    wanted = np.transpose(
        [
            ssnn.Loss.exchange(loss, generated, data, with_spike_at_end(generated, k))
            for k in range(generated.num_neurons)
        ]
    )
    assert result.entries.shape == (generated.num_samples, generated.num_neurons)
    assert_close(result.entries, wanted, np.abs(wanted).max() + abs(plain.value))
    assert np.any(wanted != 0) != name.startswith("first spikes")
    assert result.value == pytest.approx(plain.value, rel=1e-13)
    if plain.spike_times_bar is None:
        assert result.spike_times_bar is None
    else:
        np.testing.assert_allclose(result.spike_times_bar, plain.spike_times_bar, rtol=1e-12, atol=1e-14)


def test_spikes_of_neurons_that_are_not_observed_change_nothing():
    for name in (name for name in LOSSES if "chosen" in name):
        generated, data, _, loss = batches(name)
        entries = loss.with_entries(generated, data).entries
        assert np.all(entries[:, 1] == 0)
        assert np.any(entries[:, [0, 2]] != 0)


def test_a_partner_without_a_spike_to_spare_changes_nothing():
    X = ssnn.SpikeTrains([[0.2, 0.6], [0.3, INF]], [[0, 0], [0, -1]], 1, 0.0, 1.0)
    Y = ssnn.SpikeTrains([[0.4, INF], [0.5, 0.9]], [[0, -1], [0, 0]], 1, 0.0, 1.0)
    entries = ssnn.ExpectedSignatureLoss(2).with_entries(X, Y).entries
    assert entries[0, 0] == 0.0
    assert entries[1, 0] != 0.0


def test_entries_of_silent_trains_by_hand():
    # E S¹ = (time, spikes): (1, 0) against (1, 1); a spike in one of two samples makes it (1, ½).
    silent = ssnn.SpikeTrains(np.empty((2, 0)), np.empty((2, 0), dtype=int), 1, 0.0, 1.0)
    loud = ssnn.SpikeTrains([[0.5]] * 3, [[0]] * 3, 1, 0.0, 1.0)
    value, _, _, _, entries, _ = ssnn.ExpectedSignatureLoss(1, match_spikes=False).with_entries(silent, loud)
    assert value == pytest.approx(1 / 2)
    np.testing.assert_allclose(entries, [[(0.25 - 1.0) / 2]] * 2)
