"""From files and recordings with gaps to likelihoods: the same numbers as from the arrays."""

import datetime

import numpy as np
import pytest
from helpers import one_neuron

import ssnn_py as ssnn

#: Milliseconds; a neuron of which nothing but the threshold is random.
LENGTH, RUN = 200.0, dict(dt=1.0, solver="exact_ou")


def neuron(**changes):
    intensity = ssnn.ExponentialIntensity(beta=5.0, tau=20.0)
    given = dict(sigma=0.0, alpha=0.0, mu=(0.05, 0.0), intensity=intensity)
    return one_neuron(**{**given, **changes})


@pytest.fixture(scope="module")
def arrays():
    """Spike times in ms of two trials, drawn once."""
    trains = ssnn.simulate(neuron(), t1=LENGTH, num_samples=2, seed=3, **RUN).spike_trains
    assert trains.num_spikes.min() > 2
    return [sample[0] for sample in trains.to_lists()]


def expected(arrays):
    trains = ssnn.SpikeTrains.from_lists([[times] for times in arrays], 0.0, LENGTH)
    return ssnn.log_likelihood(neuron(), trains, **RUN)


def recorded_file(pynwb):
    return pynwb.NWBFile("recorded", "1", datetime.datetime(2024, 5, 1, tzinfo=datetime.timezone.utc))


def test_an_nwb_file_has_the_likelihood_of_the_arrays_it_was_made_of(arrays, tmp_path):
    pynwb = pytest.importorskip("pynwb", reason="PyNWB is not installed")
    starts, file = (3.0, 7.5), recorded_file(pynwb)
    for start in starts:
        file.add_trial(start_time=start, stop_time=start + LENGTH / 1000)
    between = [5.0]  # a spike of no trial
    session = np.sort(np.concatenate([*(a + times / 1000 for a, times in zip(starts, arrays, strict=True)), between]))
    file.add_unit(spike_times=session)
    with pynwb.NWBHDF5IO(str(tmp_path / "recorded.nwb"), "w") as io:
        io.write(file)
    trains = ssnn.SpikeTrains.from_nwb(tmp_path / "recorded.nwb", unit="ms")
    found, meant = ssnn.log_likelihood(neuron(), trains, **RUN), expected(arrays)
    np.testing.assert_allclose(found.samples, meant.samples, rtol=1e-9)
    np.testing.assert_allclose(found.rescaled, meant.rescaled, rtol=1e-7, atol=1e-9)


def test_neo_trains_from_a_file_have_the_likelihood_of_the_arrays_they_were_made_of(arrays, tmp_path):
    neo = pytest.importorskip("neo", reason="Neo is not installed")
    block = neo.Block()
    for times in arrays:
        segment = neo.Segment()
        segment.spiketrains.append(neo.SpikeTrain(times / 1000, units="s", t_start=0.0, t_stop=LENGTH / 1000))
        block.segments.append(segment)
    neo.io.PickleIO(str(tmp_path / "recorded.pkl")).write_block(block)
    read = neo.io.PickleIO(str(tmp_path / "recorded.pkl")).read_block()
    found = ssnn.log_likelihood(neuron(), ssnn.SpikeTrains.from_neo(read, unit="ms"), **RUN)
    np.testing.assert_allclose(found.samples, expected(arrays).samples, rtol=1e-9)


def test_invalid_times_of_an_nwb_file_are_not_silence(arrays):
    pynwb = pytest.importorskip("pynwb", reason="PyNWB is not installed")
    file = recorded_file(pynwb)
    file.add_unit(spike_times=[0.1, 0.35, 0.9])
    file.add_invalid_time_interval(start_time=0.4, stop_time=0.55)
    with pytest.raises(ssnn.ValidationError, match=r"invalid_times, but 0\.2 s from 0\.3 s .* from 0\.4 to 0\.55 s"):
        ssnn.SpikeTrains.from_nwb(file, "ms", trials=[[0.0, 0.2], [0.3, 0.5]])
    clear = ssnn.observed_windows(0.0, 1.0, [[0.4, 0.55]], 0.2)
    trains = ssnn.SpikeTrains.from_nwb(file, "ms", trials=clear)
    assert [np.round(times, 9).tolist() for (times,) in trains.to_lists()] == [[100.0], [150.0], [], [150.0]]


def test_windows_keep_clear_of_gaps():
    gaps = [[7.0, 8.0], [-1.0, 0.5], [2.5, 3.0], [7.2, 7.5], [9.8, 12.0]]
    windows = ssnn.observed_windows(0.0, 10.0, gaps, 0.9)
    assert np.allclose(np.diff(windows), 0.9)
    for a, b in gaps:
        assert np.all((windows[:, 1] <= a + 1e-9) | (windows[:, 0] >= b - 1e-9))
    # 2 of 0.5 to 2.5, 4 of 3 to 7, 2 of 8 to 9.8.
    assert len(windows) == 8
    assert ssnn.observed_windows(0.0, 1.0, [], 0.1).shape == (10, 2)


def test_a_recording_with_gaps_has_the_likelihood_of_its_parts():
    """Each part is a run of its own, at its own stimulus; a spike where a part begins is no spike of that part."""
    rng = np.random.default_rng(0)
    grid = np.arange(0.0, 601.0, 10.0)
    values = 1.4 + 0.3 * rng.normal(size=grid.size)
    net = neuron(input_current=ssnn.SampledCurrent(grid, values))
    trains = ssnn.simulate(net, t1=600.0, num_samples=2, seed=1, **RUN).spike_trains
    windows = ssnn.observed_windows(0.0, 600.0, [[230.0, 250.0]], 100.0)
    assert windows[:, 0].tolist() == [0.0, 100.0, 250.0, 350.0, 450.0]
    pieces = trains.cut(windows)
    assert (pieces.t0, pieces.t1, len(pieces)) == (0.0, 100.0, 10)
    own = np.stack([np.interp(np.arange(0.0, 101.0, 10.0) + a, grid, values) for a, _ in windows])
    heard = ssnn.SampledCurrent(np.arange(0.0, 101.0, 10.0), np.tile(own, (2, 1))[:, :, None])
    found = ssnn.log_likelihood(net.replace(input_current=heard), pieces, **RUN)
    alone = [ssnn.log_likelihood(net, trains.window(a, b), **RUN).samples for a, b in windows]
    np.testing.assert_allclose(found.samples.reshape(2, 5), np.stack(alone, axis=1), rtol=1e-9)
    whole = ssnn.SpikeTrains([[100.0, 150.0]], [[0, 0]], 1, 0.0, 200.0)
    assert whole.cut([[100.0, 200.0], [0.0, 100.0]]).times.tolist() == [[50.0], [100.0]]


@pytest.mark.parametrize(
    ("windows", "message"),
    [
        ([[0.0, 100.0], [100.0, 150.0]], "windows must have equal lengths"),
        ([[0.0, 300.0]], r"within the trains' interval from 0\.0 to 200\.0"),
        ([[50.0, 50.0]], "windows must end after they begin"),
        ([0.0, 100.0], "windows must be an array of shape"),
        ([], "windows must be an array of shape"),
    ],
)
def test_windows_that_are_none_are_refused(windows, message):
    trains = ssnn.SpikeTrains([[100.0]], [[0]], 1, 0.0, 200.0)
    with pytest.raises(ssnn.ValidationError, match=message):
        trains.cut(windows)
    with pytest.raises(ssnn.ValidationError, match="length must be at most 150, the longest stretch"):
        ssnn.observed_windows(0.0, 200.0, [[150.0, 180.0]], 151.0)
