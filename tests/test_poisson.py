"""Poisson trains: their law, and that a train is a function of seed, sample and channel alone."""

import numpy as np
import pytest
from scipy import stats

import ssnn_py as ssnn
from ssnn_py import poisson_trains

TIMES = [-1.0, 0.3, 0.9, 1.4, 5.0]
RATES = np.array([8.0, 0.0, 40.0, 3.0, 99.0])


def mean_count(start, stop):
    """∫ of the rates above, held from TIMES on."""
    edges = np.append(TIMES, np.inf)
    lengths = np.minimum(edges[1:], np.asarray(stop)[..., None]) - np.maximum(edges[:-1], start)
    return np.clip(lengths, 0, None) @ RATES


def test_counts_have_the_poisson_law():
    counts = poisson_trains([0.5, 4.0, 0.0], t1=3.0, t0=1.0, num_samples=20000, seed=5).spike_counts
    for channel, mean in ((0, 1.0), (1, 8.0)):
        seen = np.bincount(counts[:, channel])
        expected = 20000 * stats.poisson(mean).pmf(np.arange(seen.size))
        common = expected > 5
        assert (
            stats.chisquare(
                np.append(seen[common], seen[~common].sum()),
                np.append(expected[common], 20000 - expected[common].sum()),
            ).pvalue
            > 1e-3
        )
    assert not counts[:, 2].any()
    assert abs(np.corrcoef(counts[:, 0], counts[:, 1])[0, 1]) < 4 / np.sqrt(20000), "channels are independent"


def test_intervals_are_exponential():
    trains = poisson_trains(200.0, t1=50.0, seed=9)
    intervals = np.diff(trains.times[0])
    assert stats.kstest(intervals, "expon", args=(0, 1 / 200)).pvalue > 1e-3
    assert abs(np.corrcoef(intervals[:-1], intervals[1:])[0, 1]) < 4 / np.sqrt(intervals.size)


def test_sampled_rates_are_exact_by_change_of_time():
    """Λ of the spikes of an inhomogeneous train are those of a train of rate 1."""
    trains = poisson_trains(RATES, t1=2.0, times=TIMES, num_samples=3000, seed=2)
    times = trains.times[np.isfinite(trains.times)]
    assert not ((times > 0.3) & (times < 0.9)).any(), "no spike where the rate is 0"
    scaled = mean_count(0.0, times) / mean_count(0.0, 2.0)
    assert stats.kstest(scaled, "uniform").pvalue > 1e-3
    total = 3000 * mean_count(0.0, 2.0)
    assert abs(times.size - total) < 4 * np.sqrt(total)
    first = np.where(np.isfinite(trains.times[:, 0]), trains.times[:, 0], 2.0)
    assert stats.kstest(mean_count(0.0, first), "expon").pvalue > 1e-3


def test_a_rate_that_is_constant_on_a_grid_is_a_constant_rate():
    constant = poisson_trains(30.0, t1=2.0, num_samples=5, num_channels=2, seed=4)
    grid = np.linspace(0, 1.9, 7)
    sampled = poisson_trains(np.full(7, 30.0), t1=2.0, times=grid, num_samples=5, num_channels=2, seed=4)
    np.testing.assert_array_equal(constant.neurons, sampled.neurons)
    np.testing.assert_allclose(constant.times, sampled.times, rtol=1e-12)


def test_a_train_is_a_function_of_seed_sample_and_channel():
    rates = np.linspace(1.0, 60.0, 8)[:, None] * [1.0, 0.5, 2.0]
    whole = poisson_trains(rates, t1=2.0, seed=7)
    parts = [poisson_trains(rates[rows], t1=2.0, seed=7, first_sample=rows[0]) for rows in ([0, 1, 2], [3, 4, 5, 6, 7])]
    for s in range(8):
        part, row = (parts[0], s) if s < 3 else (parts[1], s - 3)
        n = whole.num_spikes[s]
        assert n == part.num_spikes[row] > 0
        np.testing.assert_array_equal(whole.times[s, :n], part.times[row, :n])
        np.testing.assert_array_equal(whole.neurons[s, :n], part.neurons[row, :n])
    fewer = poisson_trains(rates[:, :2], t1=2.0, seed=7)
    for channel in (0, 1):
        np.testing.assert_array_equal(
            whole.times[whole.neurons == channel], fewer.times[fewer.neurons == channel], "the third changes nothing"
        )
    assert poisson_trains(rates, t1=2.0, seed=8) != whole


def test_a_longer_train_begins_like_the_shorter_one():
    short, long = (poisson_trains(40.0, t1=t1, seed=3, num_samples=2) for t1 in (1.0, 4.0))
    for s in range(2):
        n = short.num_spikes[s]
        np.testing.assert_array_equal(short.times[s, :n], long.times[s, :n])


def test_rates_are_those_of_a_sampled_current_of_the_same_times():
    """Before the first time the first value holds, after the last one the last."""
    current = ssnn.SampledCurrent([0.5, 1.0], [30.0, 5.0], interpolation="previous")
    counts = poisson_trains([30.0, 5.0], t1=2.0, times=[0.5, 1.0], num_samples=4000, seed=1).psth(0.25)
    expected = [current.value(np.array([[t]]), input_current=np.array([[[30.0, 5.0]]]))[0, 0] for t in counts.centers]
    assert (np.abs(counts.values[:, 0] - expected) < 4 * counts.standard_errors[:, 0]).all()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (dict(rates=-1.0), "rates must be at least 0, got -1.0"),
        (dict(rates=np.nan), "rates must be finite"),
        (dict(rates=np.zeros((2, 3, 4))), "rates must be a number, or of shape"),
        (dict(rates=[1.0, 2.0], times=[0.0]), "one for each of the T = 1 times, got shape"),
        (dict(rates=[1.0, 2.0], times=[0.0, 0.0]), "times must be strictly increasing"),
        (dict(rates=[1.0, 2.0], num_channels=3), "num_channels must be 2, as rates are given for 2 channels, got 3"),
        (dict(rates=[[1.0], [2.0]], num_samples=3), "num_samples must be 2"),
        (dict(rates=1.0, t0=1.0), "t1 must be after t0 = 1.0, got 1.0"),
        (dict(rates=1e12), "the spikes would need"),
        (dict(rates=1.0, seed=-1), "seed must be between"),
    ],
)
def test_mistakes_are_named(arguments, says):
    with pytest.raises(ssnn.ValidationError, match=says):
        poisson_trains(**{"t1": 1.0, **arguments})


def test_trains_of_silent_channels_are_empty():
    trains = poisson_trains([0.0, 0.0], t1=1.0, num_samples=3)
    assert trains.times.shape == (3, 0)
    assert trains.num_neurons == 2
