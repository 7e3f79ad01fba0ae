"""Spike trains: what is counted, measured and cut out of them, and their Marcus lift."""

import itertools

import numpy as np
import pytest
from helpers import random_trains

import ssnn_py as ssnn

INF = np.inf


def test_marcus_lift_is_the_whole_path():
    trains = ssnn.SpikeTrains([[0.5, 1.0, INF]], [[1, 0, -1]], 2, 0.0, 3.0)
    path = [[0, 0, 0], [0.5, 0, 0], [0.5, 0, 1], [1, 0, 1], [1, 1, 1], [3, 1, 1], [3, 1, 1], [3, 1, 1]]
    assert np.array_equal(trains.marcus_lift()[0], path)
    assert np.array_equal(trains.marcus_lift([1])[0], np.array(path)[[0, 1, 2, -1], :][:, [0, 2]])


def test_simultaneous_spikes_go_along_one_line():
    trains = ssnn.SpikeTrains([[0.5, 0.5]], [[0, 1]], 2, 0.0, 1.0)
    path = trains.marcus_lift()[0]
    corners = path[np.r_[True, np.any(np.diff(path, axis=0) != 0, axis=1)]]
    assert np.array_equal(corners, [[0, 0, 0], [0.5, 0, 0], [0.5, 1, 1], [1, 1, 1]])


def test_counts_first_spikes_and_batches():
    trains = ssnn.SpikeTrains([[0.1, 0.2, 0.7], [0.4, INF, INF]], [[0, 1, 0], [1, -1, -1]], 2, 0.0, 1.0)
    assert np.array_equal(trains.spike_counts, [[2, 1], [0, 1]])
    assert np.array_equal(trains.num_spikes, [3, 1])
    assert np.array_equal(trains.first_spikes(2), [[[0.1, 0.7], [0.2, 1.0]], [[1.0, 1.0], [0.4, 1.0]]])
    assert np.array_equal(trains[1:].times, trains.times[1:])
    assert np.array_equal(trains[[1, 0]].neurons, trains.neurons[::-1])
    only = trains.select([1])
    assert np.array_equal(only.times, [[0.2], [0.4]])
    assert only.num_neurons == 1


def test_recordings_are_sorted_into_trains():
    trains = ssnn.SpikeTrains.from_lists([[[0.9, 0.2], []], [[], []]], 0.0, 1.0)
    assert np.array_equal(trains.times, [[0.2, 0.9], [INF, INF]])
    assert np.array_equal(trains.spike_counts, [[2, 0], [0, 0]])


def test_counts_agree_with_a_solution(engine):
    network = ssnn.SLIFNetwork([[0, 0.5], [0.2, 0]], [1.5, 1.0], sigma=0.2)
    solution = ssnn.simulate(network, t1=2.0, dt=0.01, num_samples=4, engine=engine)
    assert np.array_equal(solution.spike_counts.sum(axis=1), solution.num_spikes)
    assert np.array_equal(solution.marcus_lift()[:, -1, 1:], solution.spike_counts)
    checked = ssnn.SpikeTrains(solution.spike_times, solution.spike_neurons, 2, 0.0, 2.0)
    assert np.array_equal(checked.times, solution.spike_trains.times)


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (([[0.1]], [[0, 1]], 2, 0, 1), "same shape"),
        (([[0.1]], [[0.5]], 2, 0, 1), "integer"),
        (([0.1], [0], 2, 0, 1), "shape"),
        (([[0.1]], [[2]], 2, 0, 1), "neurons"),
        (([[0.1]], [[-1]], 2, 0, 1), "finite exactly"),
        (([[INF]], [[0]], 2, 0, 1), "finite exactly"),
        (([[np.nan]], [[0]], 2, 0, 1), "finite"),
        (([[1.1]], [[0]], 2, 0, 1), "within"),
        (([[0.2, 0.1]], [[0, 0]], 2, 0, 1), "decrease"),
        (([[0.1]], [[0]], 0, 0, 1), "num_neurons"),
        (([[0.1]], [[0]], 1, 1, 0), "t1"),
    ],
)
def test_arrays_that_are_no_spike_trains_are_refused(arguments, word):
    with pytest.raises(ssnn.ValidationError, match=word):
        ssnn.SpikeTrains(*arguments)


def test_neurons_that_do_not_exist_cannot_be_selected():
    trains = random_trains(np.random.default_rng(0), 3, 4, 2)
    for neurons in ([2], [-1], [0, 0], [], "a", [0.5]):
        with pytest.raises(ssnn.ValidationError, match="neurons"):
            trains.select(neurons)
    with pytest.raises(ssnn.ValidationError, match="samples"):
        ssnn.SpikeTrains.from_lists([[[]], [[], []]], 0.0, 1.0)


def poisson(rates, samples, t0, t1, seed=0):
    """Trains of independent Poisson processes."""
    rng = np.random.default_rng(seed)
    counts = [[rng.poisson(rate * (t1 - t0)) for rate in rates] for _ in range(samples)]
    return ssnn.SpikeTrains.from_lists([[rng.uniform(t0, t1, n) for n in sample] for sample in counts], t0, t1)


def test_rates_intervals_and_cv_of_poisson_processes_are_those_of_their_law():
    rates, samples, length = np.array([4.0, 9.0]), 200, 20.0
    trains = poisson(rates, samples, 1.0, 1.0 + length)
    error = np.sqrt(rates / (samples * length))
    assert np.all(np.abs(trains.mean_rates.mean(axis=0) - rates) < 4 * error)
    histogram = trains.psth(0.5)
    assert np.all(np.abs(histogram.values - rates) < 5 * np.sqrt(rates / (samples * 0.5)))
    assert histogram.standard_errors.mean(axis=0) == pytest.approx(np.sqrt(rates / (samples * 0.5)), rel=0.05)
    for rate, intervals, cv in zip(rates, trains.isi(), trains.cv(), strict=True):
        # Intervals of a window of length T are a little short: of two spikes of n, E[δ] = T/(n + 1), not 1/rate.
        assert intervals.mean() == pytest.approx(1 / rate, rel=2 / (rate * length) + 4 / np.sqrt(intervals.size))
        assert abs(cv - 1) < 4 / np.sqrt(intervals.size) + 2 / (rate * length)


def test_regular_trains_have_cv_0_and_what_has_no_cv_is_nan():
    regular = np.arange(1, 10) / 8
    trains = ssnn.SpikeTrains.from_lists([[regular, [0.5, 1.0], [], [0.5, 0.5, 0.5]]] * 2, 0.0, 2.0)
    assert np.array_equal(trains.cv()[:2], [0.0, 0.0])
    assert np.all(np.isnan(trains.cv()[2:]))
    assert np.isnan(trains.select([1], samples=[0]).cv()[0]), "one interval has no variation"


def test_intervals_are_those_of_each_sample_by_itself():
    trains = random_trains(np.random.default_rng(3), 6, 40, 3)
    expected = [
        np.concatenate([np.diff(trains.times[s][trains.neurons[s] == k]) for s in range(len(trains))]) for k in range(3)
    ]
    for mine, theirs in zip(trains.isi(), expected, strict=True):
        assert np.array_equal(mine, theirs)
    alone = [trains[s].isi()[1] for s in range(len(trains))]
    assert np.array_equal(np.concatenate(alone), trains.isi()[1])


@pytest.mark.parametrize("bin", [0.1, 0.25, 0.3, 2.0])
def test_every_spike_is_in_exactly_one_bin(bin):
    trains = random_trains(np.random.default_rng(1), 7, 60, 3)
    rates = trains.rates(bin)
    assert rates.values.shape == (7, rates.edges.size - 1, 3)
    assert rates.edges[0] == 0.0
    assert rates.edges[-1] == 2.0
    counts = np.rint(rates.values * np.diff(rates.edges)[:, None]).astype(int)
    assert np.array_equal(counts.sum(axis=1), trains.spike_counts)
    for s, k in ((0, 0), (3, 2), (6, 1)):
        mine = np.histogram(trains.times[s][trains.neurons[s] == k], rates.edges)[0]
        assert np.array_equal(counts[s, :, k], mine)
    assert rates.mean == pytest.approx(trains.mean_rates)


def test_spikes_on_an_edge_belong_to_the_bin_that_begins_there():
    times = [0.0, 0.1, 0.3, 0.6, 0.7, 1.0]  # multiples of 0.1 that differ from k · 0.1 in the last digit among them
    trains = ssnn.SpikeTrains([times], [[0] * 6], 1, 0.0, 1.0)
    assert np.array_equal(np.rint(trains.rates(0.1).values[0, :, 0] * 0.1), [1, 1, 0, 1, 0, 0, 1, 1, 0, 1])


def test_a_last_bin_that_is_shorter_is_divided_by_its_own_width():
    trains = ssnn.SpikeTrains([[0.2, 0.9]], [[0, 0]], 1, 0.0, 1.0)
    rates = trains.rates(0.4)
    assert rates.edges == pytest.approx([0.0, 0.4, 0.8, 1.0])
    assert rates.values[0, :, 0] == pytest.approx([2.5, 0.0, 5.0])


def test_the_psth_is_the_mean_of_the_rates_and_its_error_theirs():
    trains = random_trains(np.random.default_rng(2), 9, 50, 2)
    rates, histogram = trains.rates(0.3), trains.psth(0.3)
    assert np.array_equal(histogram.edges, rates.edges)
    assert histogram.values == pytest.approx(rates.values.mean(axis=0))
    assert histogram.standard_errors == pytest.approx(rates.values.std(axis=0, ddof=1) / 3)
    assert np.all(np.isnan(trains[0].psth(0.3).standard_errors))


def test_rates_and_histograms_cannot_be_changed_and_compare_by_what_they_hold():
    trains = random_trains(np.random.default_rng(2), 3, 5, 2)
    for made, again in ((trains.rates(0.5), trains.rates(0.5)), (trains.psth(0.5), trains.psth(0.5))):
        assert made == again
        assert made.centers == pytest.approx([0.25, 0.75, 1.25, 1.75])
        with pytest.raises(ValueError, match="read-only"):
            made.values[0] = 1.0


def test_windows_that_follow_each_other_share_no_spike_and_miss_none():
    trains = random_trains(np.random.default_rng(4), 5, 30, 2)
    edges = [0.0, *trains.times[0, [3, 7]], 1.5, 2.0]  # two of them at spikes
    windows = [trains.window(a, b) for a, b in itertools.pairwise(edges)]
    assert np.array_equal(sum(part.spike_counts for part in windows), trains.spike_counts)
    assert windows[1].times[0, 0] == edges[1], "a window includes its beginning"
    for part, (begin, end) in zip(windows, itertools.pairwise(edges), strict=True):
        assert (part.t0, part.t1) == (begin, end)
        assert ssnn.SpikeTrains(part.times, part.neurons, 2, begin, end) == part
    assert trains.window(0.0, 2.0).spike_counts.sum() == trains.num_spikes.sum()
    at_the_end = ssnn.SpikeTrains([[0.5, 2.0]], [[0, 0]], 1, 0.0, 2.0)
    assert np.array_equal(at_the_end.window(1.0, 2.0).times, [[2.0]]), "a spike at the very end is in the last window"


def test_what_is_taken_apart_and_put_together_is_the_same():
    trains = random_trains(np.random.default_rng(5), 8, 12, 3)
    parts = [trains.select(samples=slice(0, 3)), trains.select(samples=[3]), trains.select(samples=np.arange(8) > 3)]
    together = ssnn.SpikeTrains.concatenate(parts)
    assert together == trains
    for whole, part in zip(trains.isi(), together.isi(), strict=True):
        assert np.array_equal(whole, part)
    narrow = trains.select(samples=np.argsort(trains.num_spikes)[:2]).window(0.0, 2.0)
    joined = ssnn.SpikeTrains.concatenate([narrow, trains])
    assert np.array_equal(joined.spike_counts, np.concatenate([narrow.spike_counts, trains.spike_counts]))
    assert ssnn.SpikeTrains(joined.times, joined.neurons, 3, 0.0, 2.0) == joined


def test_neurons_and_samples_are_selected_together():
    trains = random_trains(np.random.default_rng(6), 5, 12, 3)
    both = trains.select(neurons=[2, 0], samples=[4, 1, 1])
    assert np.array_equal(both.spike_counts, trains.spike_counts[[4, 1, 1]][:, [2, 0]])
    assert both == trains[[4, 1, 1]].select([2, 0])
    assert trains.select() == trains


@pytest.mark.parametrize(
    ("call", "word"),
    [
        (lambda trains: trains.rates(0), "bin must be positive, got 0.0"),
        (lambda trains: trains.rates("wide"), "bin must be a number"),
        (lambda trains: trains.psth(2.5), "bin must be at most t1 − t0 = 2, got 2.5"),
        (lambda trains: trains.psth(1e-13), "wider bins"),
        (lambda trains: trains.select(samples=[]).psth(0.5), "at least one sample"),
        (lambda trains: trains.window(0.5, 0.5), "t0 and t1 must be in order and within .* got 0.5 and 0.5"),
        (lambda trains: trains.window(-0.5, 1.0), "from 0.0 to 2.0, got -0.5 and 1.0"),
        (lambda trains: trains.window(0.5, np.nan), "t1 must be finite"),
        (lambda trains: trains.window(None, 1.0), "t0 must be a number, got None"),
        (lambda trains: trains.select(samples=[4]), "samples must be from 0 to 3"),
        (lambda trains: trains.select(samples=[-1]), "samples must be from 0 to 3"),
        (lambda trains: trains.select(samples=[0.5]), "samples must be a list of indices"),
        (lambda trains: trains.select(samples=[True]), r"a mask of shape \(4,\)"),
        (lambda trains: trains.concatenate([]), "at least one, got"),
        (lambda trains: trains.concatenate(trains), "parts must be a list"),
        (lambda trains: trains.concatenate([trains, 3]), "but holds 3"),
        (lambda trains: trains.concatenate([trains, trains.select([0])]), "equal num_neurons, got 2 and 1"),
        (lambda trains: trains.concatenate([trains, trains.window(0.0, 1.0)]), "equal t1, got 2.0 and 1.0"),
    ],
)
def test_bins_windows_and_samples_that_do_not_exist_are_refused(call, word):
    with pytest.raises(ssnn.ValidationError, match=word):
        call(random_trains(np.random.default_rng(0), 4, 5, 2))
