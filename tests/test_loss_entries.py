"""What a loss changes by where one sample is exchanged, or fires once more: closed forms against the loss evaluated
again.
"""

import numpy as np
import pytest
from helpers import random_network, random_trains

import ssnn_py as ssnn
from ssnn_py.recordings import Recordings, with_spike_at_end

INF = np.inf
WINDOW_EDGES = (0.5, 1.0)
# Neurons, samples of the data (5 are generated), and a loss of them.
LOSSES = {
    "signature of one neuron": (1, 4, ssnn.ExpectedSignatureLoss(depth=4)),
    "signature": (3, 7, ssnn.ExpectedSignatureLoss(depth=3)),
    "signature, level 1": (3, 7, ssnn.ExpectedSignatureLoss(depth=1)),
    "signature, scaled": (3, 7, ssnn.ExpectedSignatureLoss(3, scales=[0.7, 2.0, 0.5, 1.3])),
    "signature of chosen neurons": (3, 7, ssnn.ExpectedSignatureLoss(2, neurons=[2, 0], scales=[0.7, 2.0, 0.5])),
    "signature, matched": (3, 5, ssnn.ExpectedSignatureLoss(depth=3, match_spikes=True)),
    "signature, matched, of chosen neurons": (3, 5, ssnn.ExpectedSignatureLoss(2, True, [2, 0], 0.5)),
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
    "first spikes of classes": (3, 5, ssnn.FirstSpikeCrossEntropy(0.4, earliness=0.3)),
    "first spikes of two classes": (3, 5, ssnn.FirstSpikeCrossEntropy(0.4, neurons=[2, 0])),
    "counts": (3, 7, ssnn.SpikeCountLoss()),
    "counts of chosen neurons": (3, 7, ssnn.SpikeCountLoss(neurons=[2, 0])),
    "counts in windows": (3, 7, ssnn.SpikeCountLoss(windows=[(0.0, 0.5), (0.5, 2.0), (1.0, 2.0)])),
    "counts, paired": (3, 5, ssnn.SpikeCountLoss("mse")),
    "counts of chosen neurons in windows, paired": (3, 5, ssnn.SpikeCountLoss("mse", [2, 0], [(0.5, 1.0), (1.0, 2.0)])),
    "classes": (3, 5, ssnn.CountCrossEntropy(scale=0.7)),
    "classes of chosen neurons in windows": (3, 5, ssnn.CountCrossEntropy([2, 0], [(0.0, 0.5), (0.5, 2.0)], 3.0)),
    "sum": (
        3,
        5,
        ssnn.SumLoss([ssnn.ExpectedSignatureLoss(2), ssnn.FirstSpikeLoss(2), ssnn.SpikeCountLoss()], [3.0, 1.0, 0.5]),
    ),
}


@pytest.fixture(autouse=True)
def _engine(engine, monkeypatch):
    monkeypatch.setenv("SSNN_ENGINE", engine)


def recorded_at(ts, trains):
    nothing = np.zeros((trains.num_samples, len(ts), trains.num_neurons))
    return Recordings(trains, np.array(ts), {"v": nothing, "i": nothing})


def batches(name):
    """Generated samples, data and samples to exchange, and the loss. Kernels in NumPy are slow: fewer spikes."""
    neurons, recorded, loss = LOSSES[name]
    rng = np.random.default_rng(7)
    samples, spikes = (3, 3) if isinstance(loss, ssnn.SignatureMMD) else (5, 6)
    generated = random_trains(rng, samples, spikes, neurons, ties=neurons > 1)
    data = random_trains(rng, recorded, 4, neurons)
    other = random_trains(rng, samples, spikes + 1, neurons)
    if isinstance(loss, ssnn.CountCrossEntropy | ssnn.FirstSpikeCrossEntropy):
        data = rng.integers(0, 2, samples)
    return recorded_at(WINDOW_EDGES, generated), data, recorded_at(WINDOW_EDGES, other), loss


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
            for k in range(generated.spike_trains.num_neurons)
        ]
    )
    assert result.entries.shape == (generated.spike_trains.num_samples, generated.spike_trains.num_neurons)
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
    entries = ssnn.ExpectedSignatureLoss(2, match_spikes=True).with_entries(X, Y).entries
    assert entries[0, 0] == 0.0
    assert entries[1, 0] != 0.0


def test_entries_of_silent_trains_by_hand():
    # E S¹ = (time, spikes): (1, 0) against (1, 1); a spike in one of two samples makes it (1, ½).
    silent = ssnn.SpikeTrains(np.empty((2, 0)), np.empty((2, 0), dtype=int), 1, 0.0, 1.0)
    loud = ssnn.SpikeTrains([[0.5]] * 3, [[0]] * 3, 1, 0.0, 1.0)
    result = ssnn.ExpectedSignatureLoss(1).with_entries(silent, loud)
    assert result.value == pytest.approx(1 / 2)
    np.testing.assert_allclose(result.entries, [[(0.25 - 1.0) / 2]] * 2)


def test_losses_on_counts_by_hand():
    # Spikes of neuron 0 and 1: (2, 0) and (1, 1).
    trains = ssnn.SpikeTrains([[0.2, 0.5], [0.7, 1.0]], [[0, 0], [1, 0]], 2, 0.0, 1.0)
    target = np.array([[1, 1], [1, 0]])
    assert ssnn.SpikeCountLoss()(trains, target).value == pytest.approx((0.5**2 + 0.0**2) / 2)
    assert ssnn.SpikeCountLoss("mse")(trains, target).value == pytest.approx((1 + 1 + 0 + 1) / 4)
    # [0, ½) does not hold the spike at ½, [½, 1] holds that at 1.
    windows = ssnn.SpikeCountLoss("mse", neurons=[0], windows=[(0.0, 0.5), (0.5, 1.0)])
    assert windows(trains, np.array([[[1, 1]], [[0, 1]]])).value == 0.0
    assert ssnn.CountCrossEntropy()(trains, [0, 1]).value == pytest.approx((np.log1p(np.exp(-2)) + np.log(2)) / 2)
    # In the first half: (1, 0) and (0, 0).
    early = ssnn.CountCrossEntropy(windows=[(0.0, 0.5)], scale=2.0)
    assert early(trains, [1, 1]).value == pytest.approx((np.log1p(np.exp(2)) + np.log(2)) / 2)


def test_counts_of_all_neurons_are_those_of_the_chosen_ones_too():
    trains = random_trains(np.random.default_rng(3), 4, 5, 3)
    loss = ssnn.SpikeCountLoss("mse", neurons=[2, 1])
    assert loss(trains, trains.spike_counts).value == loss(trains, trains.spike_counts[:, [2, 1]]).value == 0.0


def test_a_class_that_is_certain_gains_what_it_should():
    trains = ssnn.SpikeTrains(np.linspace(0, 1, 200)[None], np.zeros((1, 200)), 2, 0.0, 1.0)
    entries = ssnn.CountCrossEntropy().with_entries(trains, [1]).entries
    np.testing.assert_allclose(entries, [[1.0, -1.0]], rtol=1e-12)


@pytest.mark.parametrize(
    ("windows", "targets"), [([(0.0, 2.0)], [3.0]), ([(0.0, 0.8), (0.8, 2.0)], [1.0, 0.0])], ids=["all", "two windows"]
)
def test_mean_square_of_poisson_counts_has_the_gradient_in_closed_form(windows, targets):
    # Counts are Poisson with means λ = length/τ; E(C − T)² = λ + (λ − T)².
    net = ssnn.SLIFNetwork([[0.0]], alpha=0.0, intensity=ssnn.ExponentialIntensity(beta=0.0, tau=0.5))
    samples = 700
    _, grads = ssnn.value_and_grad(
        ssnn.SpikeCountLoss("mse", windows=windows),
        net,
        "tau",
        data=np.tile(targets, (samples, 1, 1)),
        gradient="unbiased",
        t1=2.0,
        dt=0.2,
        saveat=[0.8],
        num_samples=samples,
    )
    lengths = np.diff(windows)[:, 0]
    rates = lengths / 0.5
    wanted = ((1 + 2 * (rates - targets)) * -lengths / 0.5**2).mean()
    # Each entry is at most 2(C − T) + 1 in two windows, of standard deviation 2√λ, times the hazard's derivative.
    error = 4 * 2 * np.sqrt(rates.sum()) * 2.0 / 0.5**2 / np.sqrt(samples)
    assert error < 0.3 * abs(wanted)
    assert abs(float(grads["tau"]) - wanted) < error


def test_an_edge_of_a_window_must_be_recorded():
    trains = random_trains(np.random.default_rng(3), 4, 5, 2)
    for loss, data in (
        (ssnn.SpikeCountLoss(windows=[(0.0, 0.5), (0.5, 2.0)]), trains),
        (ssnn.CountCrossEntropy(windows=[(0.0, 0.5)]), [0, 1, 1, 0]),
    ):
        assert loss(trains, data).entries is None
        assert 0.5 in loss.edges
        assert loss.with_entries(recorded_at([0.5], trains), data).entries is not None
        with pytest.raises(ssnn.ValidationError, match=r"0\.5.* to saveat"):
            loss.with_entries(recorded_at([0.4], trains), data)
    assert ssnn.SpikeCountLoss(windows=[(0.0, 2.0)]).with_entries(trains, trains).entries is not None


RUN = {"t1": 0.6, "dt": 0.01, "saveat": [0.0, 0.15, 0.3, 0.45, 0.6], "num_samples": 4}
OF_POTENTIALS = {
    "mmd": ssnn.PotentialLoss(scales=0.5),
    "expected signature": ssnn.PotentialLoss("expected_signature", depth=3),
    "one neuron": ssnn.PotentialLoss(neurons=[1], scales=[1.0, 0.5]),
    "sum": ssnn.SumLoss([ssnn.PotentialLoss(scales=0.5), ssnn.ExpectedSignatureLoss(2)], [1.0, 0.1]),
}


def solutions(**changes):
    """Generated samples, data and samples to exchange."""
    networks = (random_network(seed, 2, 4, per_sample=False, sampled=False) for seed in (0, 1, 0))
    runs = (RUN | changes | {"seed": seed} for seed in (3, 9, 4))
    return [ssnn.simulate(network, **run) for network, run in zip(networks, runs, strict=True)]


@pytest.mark.parametrize("name", OF_POTENTIALS)
def test_losses_on_potentials_exchange_samples_and_see_a_spike_at_the_end(name):
    generated, data, other = solutions()
    loss = OF_POTENTIALS[name]
    wanted = ssnn.Loss.exchange(loss, generated, data, other)
    value = abs(loss(generated, data).value)
    assert np.abs(wanted).min() > 1e-9
    assert_close(loss.exchange(generated, data, other), wanted, value)
    result, wanted = loss.with_entries(generated, data), ssnn.Loss.with_entries(loss, generated, data)
    assert_close(result.entries, wanted.entries, value)
    assert np.all((result.entries != 0) == ([False, True] if name == "one neuron" else [True, True]))
    assert result.value == pytest.approx(wanted.value, rel=1e-12)
    np.testing.assert_allclose(result.v_bar, wanted.v_bar, rtol=1e-12, atol=1e-14)
    assert (loss.order_matters, loss.observes_states) == (name == "sum", True)


def test_a_spike_at_the_end_that_nothing_records_changes_no_potential():
    generated, data, _ = solutions(saveat=[0.0, 0.3, 0.5])
    assert np.all(ssnn.PotentialLoss(scales=0.5).with_entries(generated, data).entries == 0)


def test_a_sum_is_what_its_parts_are():
    signature, counts = ssnn.ExpectedSignatureLoss(2), ssnn.SpikeCountLoss(windows=[(0.0, 0.5), (0.5, 2.0)])
    assert ssnn.SumLoss([counts, signature]).edges == counts.edges
    assert ssnn.SumLoss([counts, signature]).order_matters
    assert not ssnn.SumLoss([counts, ssnn.FirstSpikeLoss()]).order_matters
    assert not ssnn.SumLoss([counts, signature]).observes_states
    assert ssnn.SumLoss([counts, ssnn.ExpectedSignatureLoss(2, match_spikes=True)]).pathwise_by_design
    trains = random_trains(np.random.default_rng(0), 3, 4, 2)
    stranger = ssnn.SumLoss([signature, lambda generated, data: signature(generated, data)])
    assert not stranger.has_entries
    assert stranger(trains, trains[:2]).value == 2 * signature(trains, trains[:2]).value
    for call in (lambda: stranger.with_entries(trains, trains), lambda: stranger.exchange(trains, trains, trains)):
        with pytest.raises(ssnn.NoGradientError, match="function"):
            call()


@pytest.mark.parametrize(
    ("call", "word"),
    [
        (lambda X: ssnn.SpikeCountLoss("rms"), "kind"),
        (lambda X: ssnn.SpikeCountLoss(windows=[0.0, 1.0]), "windows"),
        (lambda X: ssnn.SpikeCountLoss(windows=[(1.0, 0.5)]), "windows"),
        (lambda X: ssnn.SpikeCountLoss(windows=[(0.0, 2.5)])(X, X), "windows"),
        (lambda X: ssnn.SpikeCountLoss(neurons=[7])(X, X), "neurons"),
        (lambda X: ssnn.SpikeCountLoss("mse")(X, X[:2]), "mse"),
        (lambda X: ssnn.SpikeCountLoss()(X, np.zeros((3, 3))), "data"),
        (lambda X: ssnn.SpikeCountLoss()(X, -np.ones((3, 2))), "data"),
        (lambda X: ssnn.SpikeCountLoss()(X, "counts"), "data"),
        (lambda X: ssnn.CountCrossEntropy(scale=0.0), "scale"),
        (lambda X: ssnn.CountCrossEntropy(neurons=[1])(X, [0, 0, 0]), "neurons"),
        (lambda X: ssnn.FirstSpikeCrossEntropy(time_scale=-1.0), "time_scale must be positive"),
        (lambda X: ssnn.FirstSpikeCrossEntropy(1.0, earliness=-1.0), "earliness"),
        (lambda X: ssnn.FirstSpikeCrossEntropy(1.0, neurons=[1])(X, [0, 0, 0]), "neurons must be one per class"),
        (lambda X: ssnn.FirstSpikeCrossEntropy(1.0)(X, [0, 1, 7]), "data must be labels from 0"),
        (lambda X: ssnn.CountCrossEntropy()(X, [0, 1]), "data"),
        (lambda X: ssnn.CountCrossEntropy()(X, [0.0, 1.0, 1.0]), "data"),
        (lambda X: ssnn.CountCrossEntropy()(X, [0, 1, 2]), "data"),
    ],
)
def test_what_losses_on_counts_and_their_entries_refuse_they_name(call, word):
    with pytest.raises(ssnn.ValidationError, match=word):
        call(random_trains(np.random.default_rng(0), 3, 4, 2))
