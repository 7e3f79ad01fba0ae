"""Spike trains and recorded potentials in the formats of other libraries, by those libraries."""

import builtins
import datetime

import numpy as np
import pytest
from helpers import random_trains

import ssnn_py as ssnn

FORMATS = ("pandas", "neo", "pynapple", "pynwb")
INF = np.inf
#: Ties within and between neurons, spikes at both ends, a silent neuron, and a sample without spikes.
TRAINS = ssnn.SpikeTrains(
    [[-1.0, 0.25, 0.25, 0.25, 3.0], [0.5, 1.0, 3.0, INF, INF], [INF] * 5],
    [[0, 0, 0, 2, 2], [2, 0, 0, -1, -1], [-1] * 5],
    num_neurons=4,
    t0=-1.0,
    t1=3.0,
)


def close(one, other, error=1e-12):
    """Whether trains are the same up to an error of times."""
    same = np.array_equal(one.neurons, other.neurons) and np.allclose(one.times, other.times, rtol=0, atol=error)
    return same and one.num_neurons == other.num_neurons and np.allclose((one.t0, one.t1), (other.t0, other.t1))


def test_lists_are_what_from_lists_takes():
    samples = TRAINS.to_lists()
    assert [[times.tolist() for times in sample] for sample in samples] == [
        [[-1.0, 0.25, 0.25], [], [0.25, 3.0], []],
        [[1.0, 3.0], [], [0.5], []],
        [[], [], [], []],
    ]
    assert ssnn.SpikeTrains.from_lists(samples, -1.0, 3.0) == TRAINS
    many = random_trains(np.random.default_rng(0), 7, 9, 3)
    assert ssnn.SpikeTrains.from_lists(many.to_lists(), many.t0, many.t1).spike_counts.tolist() == (
        many.spike_counts.tolist()
    )


@pytest.mark.parametrize("unit", ["seconds", "", None, 0, -1.0, True, np.nan])
def test_a_unit_is_a_name_or_a_number_of_seconds(unit):
    with pytest.raises(ssnn.ValidationError, match="unit must be"):
        ssnn.interop.seconds(unit)


@pytest.mark.parametrize("name", FORMATS)
def test_a_missing_library_is_named(name, monkeypatch):
    real = builtins.__import__

    def without(asked, *arguments, **more):
        if asked.split(".")[0] == name:
            raise ModuleNotFoundError(f"No module named {asked!r}", name=name)
        return real(asked, *arguments, **more)

    monkeypatch.setattr("importlib.import_module", lambda asked: without(asked) if asked == name else real(asked))
    method = {"pandas": "to_dataframe", "pynwb": "to_nwb"}.get(name, f"to_{name}")
    arguments = () if name == "pandas" else ("ms",)
    with pytest.raises(ssnn.ValidationError, match=f"{method} needs {name}: pip install {name}"):
        getattr(TRAINS, method)(*arguments)


@pytest.mark.parametrize("method", ["to_neo", "to_pynapple", "to_nwb"])
def test_the_unit_is_never_guessed(method):
    with pytest.raises(TypeError, match="unit"):
        getattr(TRAINS, method)()


# --- pandas -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def pandas():
    return pytest.importorskip("pandas", reason="pandas is not installed")


def test_a_dataframe_has_one_row_per_spike_and_comes_back(pandas):
    frame = TRAINS.to_dataframe()
    assert list(frame.columns) == ["sample", "neuron", "time"]
    assert frame.time.tolist() == [-1.0, 0.25, 0.25, 0.25, 3.0, 0.5, 1.0, 3.0]
    assert frame.groupby(["sample", "neuron"]).size().to_dict() == {(0, 0): 3, (0, 2): 2, (1, 0): 2, (1, 2): 1}
    assert ssnn.SpikeTrains.from_dataframe(frame) == TRAINS
    assert ssnn.SpikeTrains.from_dataframe(frame.sample(frac=1.0, random_state=1)) == TRAINS


def test_a_foreign_dataframe_must_say_what_rows_cannot(pandas):
    frame = pandas.DataFrame({"trial": [1, 0], "unit": [0, 1], "ms": [2.0, 1.0]})
    names = dict(sample="trial", neuron="unit", time="ms")
    read = ssnn.SpikeTrains.from_dataframe
    trains = read(frame, 0.0, 5.0, num_samples=3, num_neurons=2, **names)
    assert [[times.tolist() for times in sample] for sample in trains.to_lists()] == [
        [[], [1.0]],
        [[2.0], []],
        [[], []],
    ]
    with pytest.raises(ssnn.ValidationError, match="num_samples must be given"):
        read(frame, 0.0, 5.0, num_neurons=2, **names)
    with pytest.raises(ssnn.ValidationError, match=r"column 'unit' must be from 0 to num_neurons − 1 = 0, got 1"):
        read(frame, 0.0, 5.0, num_samples=3, num_neurons=1, **names)
    with pytest.raises(ssnn.ValidationError, match="sample must name a column of the frame, which has 'trial'"):
        read(frame, 0.0, 5.0, num_samples=3, num_neurons=2)
    with pytest.raises(ssnn.ValidationError, match=r"column of integers, but 'unit' has type .*factorize"):
        read(frame.assign(unit=["a", "b"]), 0.0, 5.0, num_samples=3, num_neurons=2, **names)
    with pytest.raises(ssnn.ValidationError, match=r"within \[t0, t1\]"):
        read(frame, 0.0, 1.5, num_samples=3, num_neurons=2, **names)


def test_no_spikes_at_all_make_an_empty_dataframe(pandas):
    silent = TRAINS[2:]
    assert len(silent.to_dataframe()) == 0
    assert ssnn.SpikeTrains.from_dataframe(silent.to_dataframe()).to_lists()[0][3].size == 0


# --- neo and elephant -------------------------------------------------------------------------------------------------


@pytest.fixture
def neo():
    return pytest.importorskip("neo", reason="Neo is not installed")


@pytest.mark.parametrize("unit", ["ms", "s", "us", "µs", "min", 0.02])
def test_neo_trains_have_units_and_come_back(neo, unit):
    block = TRAINS.to_neo(unit)
    assert [len(segment.spiketrains) for segment in block.segments] == [4, 4, 4]
    train = block.segments[0].spiketrains[2]
    scale = ssnn.interop.seconds(unit)
    assert np.allclose(train.rescale("s").magnitude, np.array([0.25, 3.0]) * scale)
    assert np.allclose([float(end.rescale("s")) for end in (train.t_start, train.t_stop)], [-scale, 3 * scale])
    back = ssnn.SpikeTrains.from_neo(block, unit)
    assert back == TRAINS if isinstance(unit, str) else close(back, TRAINS)


def test_units_of_neo_are_converted(neo):
    train = neo.SpikeTrain([0.1, 0.3], units="s", t_start=0.0, t_stop=0.5)
    for given in (train, 3, "text"):
        with pytest.raises(ssnn.ValidationError, match="given must be a neo Block"):
            ssnn.SpikeTrains.from_neo(given, "ms")
    with pytest.raises(ssnn.ValidationError, match="of one sample it is a list of one list"):
        ssnn.SpikeTrains.from_neo([train], "ms")
    trains = ssnn.SpikeTrains.from_neo([[train, train.rescale("ms")]], "ms")
    assert np.allclose(trains.times, [[100, 100, 300, 300]])
    assert (trains.t0, trains.t1, trains.num_neurons) == (0.0, 500.0, 2)


def test_neo_trains_of_different_windows_need_one(neo):
    one, other = (neo.SpikeTrain([2.0, 5.0], units="s", t_start=0.0, t_stop=end) for end in (6.0, 9.0))
    with pytest.raises(ssnn.ValidationError, match=r"t1 must be given .* from 0 to 6"):
        ssnn.SpikeTrains.from_neo([[one], [other]], "s")
    with pytest.raises(ssnn.ValidationError, match=r"within the interval .*\[0, 6\]"):
        ssnn.SpikeTrains.from_neo([[one], [other]], "s", t1=9.0)
    cut = ssnn.SpikeTrains.from_neo([[one], [other]], "s", t1=4.0)
    assert cut == ssnn.SpikeTrains([[2.0], [2.0]], [[0], [0]], 1, 0.0, 4.0)


@pytest.mark.filterwarnings("ignore")  # elephant's own, of what it calls
def test_elephant_works_on_what_to_neo_returns(neo):
    statistics = pytest.importorskip("elephant.statistics", reason="elephant is not installed")
    conversion = pytest.importorskip("elephant.conversion")
    network = ssnn.SLIFNetwork(np.zeros((2, 2)), [1.5, 1.2], sigma=0.25)
    trains = ssnn.simulate(network, t1=20.0, dt=0.02, num_samples=2, engine="reference").spike_trains
    block = trains.to_neo("ms")
    for s, sample in enumerate(trains.to_lists()):
        for k, times in enumerate(sample):
            train = block.segments[s].spiketrains[k]
            rate = statistics.mean_firing_rate(train).rescale("1/s")
            assert np.isclose(float(rate), times.size / 0.02)
            intervals = statistics.isi(train)
            assert np.allclose(intervals.rescale("ms").magnitude, np.diff(times))
            assert np.isclose(statistics.cv(intervals), np.std(np.diff(times)) / np.mean(np.diff(times)))
    import quantities

    binned = conversion.BinnedSpikeTrain(list(block.segments[0].spiketrains), bin_size=5 * quantities.ms)
    assert binned.to_array().sum(axis=1).tolist() == trains.spike_counts[0].tolist()
    psth = statistics.time_histogram(list(block.segments[1].spiketrains), bin_size=5 * quantities.ms)
    assert psth.magnitude.sum() == trains.num_spikes[1]


# --- pynapple ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def pynapple():
    return pytest.importorskip("pynapple", reason="pynapple is not installed")


@pytest.mark.parametrize(("unit", "gap"), [("s", None), ("ms", 0.5), ("min", 10.0), (0.02, None)])
def test_pynapple_has_samples_as_epochs_and_they_come_back(pynapple, unit, gap):
    group = TRAINS.to_pynapple(unit, gap=gap)
    scale, period = ssnn.interop.seconds(unit), 4.0 + (4.0 if gap is None else gap)
    assert list(group.keys()) == [0, 1, 2, 3]
    assert np.allclose(group.time_support.start, np.arange(3) * period * scale)
    assert np.allclose(group.time_support.end, (np.arange(3) * period + 4.0) * scale)
    assert np.allclose(group[0].times(), np.array([0, 1.25, 1.25, period + 2, period + 4]) * scale)
    assert close(ssnn.SpikeTrains.from_pynapple(group, unit, t0=-1.0), TRAINS, error=1e-9 / scale)


def test_trials_of_pynapple_are_samples_of_one_window(pynapple):
    times = np.array([0.1, 0.9, 1.2, 2.0, 2.4, 3.6])
    group = pynapple.TsGroup(
        {7: pynapple.Ts(times), 3: pynapple.Ts(times[:2])}, time_support=pynapple.IntervalSet(0, 4)
    )
    trials = pynapple.IntervalSet(start=[0.0, 2.0], end=[1.0, 3.5])
    with pytest.raises(ssnn.ValidationError, match=r"t1 must be given .* 1000 to 1500"):
        ssnn.SpikeTrains.from_pynapple(group, "ms", trials)
    with pytest.raises(ssnn.ValidationError, match="at most 1000, where the shortest trial ends, got 1200"):
        ssnn.SpikeTrains.from_pynapple(group, "ms", trials, t1=1200.0)
    trains = ssnn.SpikeTrains.from_pynapple(group, "ms", trials, t1=500.0)
    at = list(group.keys()).index(7)
    assert [np.round(sample[at], 6).tolist() for sample in trains.to_lists()] == [[100.0], [0.0, 400.0]]
    outside = pynapple.IntervalSet(start=[3.0], end=[5.0])
    with pytest.raises(ssnn.ValidationError, match="time support, but that from 3 to 5 s is not"):
        ssnn.SpikeTrains.from_pynapple(group, "ms", outside)


def test_a_single_spike_is_a_group_of_pynapple(pynapple):
    one = ssnn.SpikeTrains([[50.0]], [[0]], num_neurons=1, t0=0.0, t1=100.0)
    group = one.to_pynapple("ms")
    assert group.rates.tolist() == [10.0]
    assert ssnn.SpikeTrains.from_pynapple(group, "ms") == one


def test_trials_that_touch_would_be_one(pynapple):
    with pytest.raises(ssnn.ValidationError, match="gap must be positive"):
        TRAINS.to_pynapple("s", gap=0.0)


# --- NWB --------------------------------------------------------------------------------------------------------------


@pytest.fixture
def pynwb():
    return pytest.importorskip("pynwb", reason="PyNWB is not installed")


def new_file(pynwb):
    return pynwb.NWBFile("recorded", "1", datetime.datetime(2024, 5, 1, tzinfo=datetime.timezone.utc))


@pytest.mark.parametrize("unit", ["s", "ms", 0.02])
def test_an_nwb_file_has_units_and_trials_and_comes_back(pynwb, unit, tmp_path):
    file = TRAINS.to_nwb(unit)
    scale = ssnn.interop.seconds(unit)
    assert np.allclose(file.trials["start_time"][:], np.array([0.0, 8.0, 16.0]) * scale)
    assert np.allclose(file.units["obs_intervals"][1], np.array([[0, 4], [8, 12], [16, 20]]) * scale)
    assert np.allclose(file.units["spike_times"][0], np.array([0, 1.25, 1.25, 10, 12]) * scale)
    assert close(ssnn.SpikeTrains.from_nwb(file, unit, t0=-1.0), TRAINS)
    with pynwb.NWBHDF5IO(str(tmp_path / "trains.nwb"), "w") as io:
        io.write(file)
    assert close(ssnn.SpikeTrains.from_nwb(tmp_path / "trains.nwb", unit, t0=-1.0), TRAINS)


def test_units_and_trials_go_into_a_file_of_ones_own(pynwb):
    mine = new_file(pynwb)
    assert TRAINS.to_nwb("s", gap=1.0, file=mine) is mine
    assert len(mine.units) == 4
    with pytest.raises(ssnn.ValidationError, match="neither units nor trials yet"):
        TRAINS.to_nwb("s", file=mine)
    start = datetime.datetime(2024, 5, 1, tzinfo=datetime.timezone.utc)
    assert TRAINS.to_nwb("s", session_start_time=start).session_start_time == start


def test_a_unit_that_was_not_observed_is_not_silent(pynwb):
    mine = new_file(pynwb)
    mine.add_unit(spike_times=[0.5, 2.5], obs_intervals=[[0.0, 4.0]])
    mine.add_unit(spike_times=[0.7], obs_intervals=[[0.0, 1.5]])
    trials = [[0.0, 1.0], [2.0, 3.0]]
    with pytest.raises(ssnn.ValidationError, match="unit 1 is not observed over 1 s from 2 s on"):
        ssnn.SpikeTrains.from_nwb(mine, "s", trials)
    with pytest.raises(ssnn.ValidationError, match="trials must be given"):
        ssnn.SpikeTrains.from_nwb(mine, "s")
    assert ssnn.SpikeTrains.from_nwb(mine, "s", trials[:1]) == ssnn.SpikeTrains([[0.5, 0.7]], [[0, 1]], 2, 0.0, 1.0)
    assert close(
        ssnn.SpikeTrains.from_nwb(mine, "ms", [[0.0, 9.0]], t1=1500.0).select([1]),
        ssnn.SpikeTrains([[700.0]], [[0]], 1, 0.0, 1500.0),
        1e-9,
    )


def test_a_file_that_is_none_is_told(pynwb, tmp_path):
    (tmp_path / "text.nwb").write_text("no HDF5")
    for path, word in (
        (tmp_path / "text.nwb", "cannot be read as an NWB file"),
        (tmp_path / "none.nwb", "there is no"),
    ):
        with pytest.raises(ssnn.ValidationError, match=word):
            ssnn.SpikeTrains.from_nwb(path, "s")
    with pytest.raises(ssnn.ValidationError, match="table of units"):
        ssnn.SpikeTrains.from_nwb(new_file(pynwb), "s")


# --- xarray -----------------------------------------------------------------------------------------------------------


def test_recorded_states_have_named_axes(engine):
    pytest.importorskip("xarray", reason="xarray is not installed")
    network = ssnn.SLIFNetwork([[0, 0.5], [0.2, 0]], [1.5, 1.0], sigma=0.2)
    run = dict(t1=1.0, dt=0.01, num_samples=3, engine=engine)
    solution = ssnn.simulate(network, saveat=0.25, first_sample=5, **run)
    data = solution.to_xarray()
    assert data.v.dims == ("sample", "time", "neuron")
    assert data.sizes == {"sample": 3, "time": 5, "neuron": 2}
    assert np.array_equal(data.i.sel(time=0.5, neuron=1, sample=6), solution.i[1, 2, 1])
    assert (data.attrs["dt"], data.attrs["solver"]) == (0.01, "euler_maruyama")
    with pytest.raises(ssnn.ValidationError, match="give simulate a saveat"):
        ssnn.simulate(network, **run).to_xarray()
