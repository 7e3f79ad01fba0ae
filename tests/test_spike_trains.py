"""Spike trains and their Marcus lift."""

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
