"""Runs that are written to disk: the numbers of `simulate`, whatever the windows, also after a run was killed."""

import json
import tracemalloc

import numpy as np
import pytest
from helpers import formula_network, one_neuron, random_network

import ssnn_py as ssnn
from ssnn_py import stored_runs

SAVES = np.array([0.0, 0.3, 0.5, 1.1, 1.95])


def assert_whole(run, solution):
    assert run.spike_trains() == solution.spike_trains
    assert np.array_equal(run.ts, solution.ts)
    for name, values in solution.states.items():
        assert np.array_equal(run.states[name], values)


@pytest.mark.parametrize("window", [None, 0.01, 0.37, 10.0])
def test_a_recorded_run_is_the_simulated_one(window, tmp_path):
    arguments = dict(dt=0.01, num_samples=3, seed=2, saveat=SAVES)
    network = random_network(1)
    run = ssnn.record(network, 1.995, out=tmp_path / "run", window=window, **arguments)
    assert_whole(run, ssnn.simulate(network, 1.995, **arguments))
    assert run.num_spikes == run.spike_times.size > 10
    assert np.array_equal(run.spike_trains([2]).times[0], run.spike_times[run.spike_samples == 2])
    assert "StoredRun(3 samples of 5 neurons from 0 to 1.995" in repr(run)


def test_a_run_goes_on_in_its_files(tmp_path):
    network, arguments = formula_network(), dict(dt=1 / 128, num_samples=2, seed=1)
    run = ssnn.record(network, 1.0, out=tmp_path / "run", saveat=0.25, **arguments)
    longer = ssnn.StoredRun.open(tmp_path / "run").continue_to(2.0, saveat=0.25)
    assert run.t1 == 1.0
    assert longer.t1 == 2.0
    assert_whole(longer, ssnn.simulate(network, 2.0, saveat=0.25, **arguments))
    assert_whole(run, ssnn.simulate(network, 1.0, saveat=0.25, **arguments))


def test_a_killed_run_goes_on_from_its_last_window(tmp_path, monkeypatch):
    """Killed after the arrays of a window were written, and before that was said."""
    network, arguments = random_network(1), dict(dt=0.01, num_samples=3, saveat=SAVES)
    commit, windows = stored_runs._commit, []

    def killed(folder, counts, solution):
        windows.append(solution)
        if len(windows) == 4:
            raise KeyboardInterrupt
        commit(folder, counts, solution)

    monkeypatch.setattr(stored_runs, "_commit", killed)
    with pytest.raises(KeyboardInterrupt):
        ssnn.record(network, 2.0, out=tmp_path / "run", window=0.25, **arguments)
    monkeypatch.undo()
    run = ssnn.StoredRun.open(tmp_path / "run")
    assert run.t1 == 0.75
    assert_whole(run, ssnn.simulate(network, 0.75, **{**arguments, "saveat": SAVES[SAVES <= 0.75]}))
    assert_whole(run.continue_to(2.0), ssnn.simulate(network, 2.0, **arguments))


def array_memory():
    """Bytes of NumPy's arrays alone: the interpreter's own tables grow when they please."""
    arrays = tracemalloc.DomainFilter(inclusive=True, domain=np.lib.tracemalloc_domain)
    return sum(trace.size for trace in tracemalloc.take_snapshot().filter_traces([arrays]).traces)


def test_memory_does_not_grow_with_the_run(tmp_path, monkeypatch):
    commit, held, peaks, network = stored_runs._commit, [], [], one_neuron()

    def measured(*arguments):
        held.append(array_memory())
        commit(*arguments)

    monkeypatch.setattr(stored_runs, "WINDOW_BYTES", 2**17)
    monkeypatch.setattr(stored_runs, "_commit", measured)
    for t1 in (10.0, 50.0):
        held.clear()
        tracemalloc.start()
        run = ssnn.record(network, t1, dt=0.05, num_samples=500, saveat=0.1, out=tmp_path / f"{t1:g}")
        tracemalloc.stop()
        peaks.append(max(held))
    assert run.states["v"].nbytes + 16 * run.num_spikes > 4 * peaks[0]
    assert peaks[1] < 1.3 * peaks[0]


@pytest.mark.parametrize("at_once", [1, 7, 2**20])
def test_some_spikes_of_a_run_are_those_of_its_window(at_once, tmp_path, monkeypatch):
    monkeypatch.setattr(stored_runs, "ROWS_AT_ONCE", at_once)
    arguments = dict(dt=0.01, num_samples=3, seed=2)
    network = random_network(1)
    run = ssnn.record(network, 2.0, out=tmp_path / "run", window=0.25, **arguments)
    trains = ssnn.simulate(network, 2.0, **arguments).spike_trains
    assert trains.num_spikes.min() > 3
    one, spike = trains[[1]], float(trains.times[1, 1])
    for t0, t1 in ((0.3, 1.1), (0.0, spike), (spike, 2.0), (1.0, 2.0)):
        assert run.spike_trains(t0=t0, t1=t1) == trains.window(t0, t1)
        assert run.spike_trains([1], t0=t0, t1=t1) == one.window(t0, t1)
    assert run.spike_trains([2, 0, 2], t1=1.5) == trains[[2, 0, 2]].window(0.0, 1.5)
    assert run.spike_trains(np.arange(0), t0=0.5).num_samples == 0
    with pytest.raises(ssnn.ValidationError, match=r"within the run's interval from 0\.0 to 2\.0, got 1\.0 and 3\.0"):
        run.spike_trains(t0=1.0, t1=3.0)


@pytest.mark.parametrize("at_once", [1, 31, 2**20])
@pytest.mark.parametrize("folder", ["run", "run.zarr"])
def test_some_states_of_a_run_are_those_of_their_times(folder, at_once, tmp_path, monkeypatch):
    if folder.endswith(".zarr"):
        pytest.importorskip("zarr", minversion="3")
    monkeypatch.setattr(stored_runs, "ROWS_AT_ONCE", at_once)
    arguments = dict(dt=0.01, num_samples=3, seed=2, saveat=SAVES)
    run = ssnn.record(random_network(1), 2.0, out=tmp_path / folder, window=0.25, **arguments)
    whole = ssnn.simulate(random_network(1), 2.0, **arguments)
    for samples, t0, t1, times in (
        (None, None, None, slice(None)),
        ([2, 0, 2], 0.3, 1.1, slice(1, 4)),
        ([1], 0.31, 1.09, slice(2, 3)),
        ([1], 0.6, 0.7, slice(0)),
    ):
        ts, states = run.states_between(samples, t0, t1)
        assert np.array_equal(ts, SAVES[times])
        for name, values in whole.states.items():
            assert np.array_equal(states[name], values[slice(None) if samples is None else samples][:, times])
    with pytest.raises(ssnn.ValidationError, match=r"samples must be from 0 to 2, got \[3\]"):
        run.states_between([3])
    with pytest.raises(ssnn.ValidationError, match=r"within the run's interval from 0\.0 to 2\.0, got 1\.0 and 3\.0"):
        run.states_between(t0=1.0, t1=3.0)


@pytest.mark.parametrize("folder", ["run", "run.zarr"])
def test_some_states_of_a_run_take_no_memory_for_the_others(folder, tmp_path, monkeypatch):
    if folder.endswith(".zarr"):
        pytest.importorskip("zarr", minversion="3")
    monkeypatch.setattr(stored_runs, "ROWS_AT_ONCE", 2**14)
    monkeypatch.setattr(stored_runs._ZarrFiles, "ROWS_OF_CHUNK", 2**14)
    run = ssnn.record(one_neuron(), 60.0, 0.05, out=tmp_path / folder, num_samples=1000, saveat=0.05)
    tracemalloc.start()
    run.states_between([17])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert 16 * 1000 * run.ts.size > 4 * peak


@pytest.mark.parametrize("folder", ["run", "run.zarr"])
def test_some_spikes_of_a_run_take_no_memory_for_the_others(folder, tmp_path, monkeypatch):
    if folder.endswith(".zarr"):
        pytest.importorskip("zarr", minversion="3")
    monkeypatch.setattr(stored_runs, "ROWS_AT_ONCE", 2**12)
    run = ssnn.record(one_neuron(), 200.0, 0.05, out=tmp_path / folder, num_samples=1000)
    asked = ssnn.simulate(one_neuron(), 200.0, 0.05, num_samples=1000).spike_trains[[17]].window(0.0, 200.0)
    tracemalloc.start()
    found = run.spike_trains([17])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found == asked
    assert 16 * run.num_spikes > 4 * peak


def test_a_run_without_spikes_has_empty_trains(tmp_path):
    run = ssnn.record(one_neuron(), 0.01, 0.01, out=tmp_path / "run", num_samples=2)
    assert run.num_spikes == 0
    assert run.spike_trains().times.shape == (2, 0)


def test_files_are_plain_arrays(tmp_path):
    run = ssnn.record(one_neuron(), 3.0, 0.01, out=tmp_path / "run", saveat=1.0)
    assert np.array_equal(np.load(tmp_path / "run" / "spike_times.npy"), run.spike_times)
    assert np.load(tmp_path / "run" / "state_v.npy").shape == (4, 1, 1)
    assert json.loads((tmp_path / "run" / "run.json").read_text())["rows"]["times"] == 4


def test_zarr_takes_the_same_numbers(tmp_path):
    pytest.importorskip("zarr", minversion="3")
    arguments = dict(dt=0.01, num_samples=3, seed=2)
    network = random_network(1)
    run = ssnn.record(network, 1.0, out=tmp_path / "run.zarr", window=0.3, saveat=SAVES[:3], **arguments)
    run = run.continue_to(2.0, saveat=SAVES[3:])
    assert_whole(run, ssnn.simulate(network, 2.0, saveat=SAVES, **arguments))


def test_what_cannot_be_recorded_is_refused(tmp_path):
    arguments = dict(t1=1.0, dt=0.1, engine="reference")
    (tmp_path / "here").mkdir()
    for more, words in (
        ({"out": tmp_path / "here"}, "out must not exist yet"),
        ({"out": tmp_path / "no" / "run"}, "out must be in an existing folder"),
        ({"out": 3}, "out must be the path of a folder"),
        ({"out": tmp_path / "run", "max_spikes": 3}, "it has max_spikes"),
        ({"out": tmp_path / "run", "window": 0.0}, "window must be positive"),
    ):
        with pytest.raises(ssnn.ValidationError, match=words):
            ssnn.record(one_neuron(), **arguments, **more)
    with pytest.raises(ssnn.ValidationError, match="path must be that of a recorded run"):
        ssnn.StoredRun.open(tmp_path / "here")
    run = ssnn.record(one_neuron(), out=tmp_path / "run", **arguments)
    with pytest.raises(ssnn.ValidationError, match=r"t1 must be after t = 1\.0"):
        run.continue_to(1.0)
    with pytest.raises(ssnn.ValidationError, match="samples must be from 0 to 0"):
        run.spike_trains([1])
