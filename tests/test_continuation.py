"""A run that goes on from its last state has the numbers of one run over the whole time, to the last bit."""

import subprocess
import sys

import numpy as np
import pytest
from helpers import formula_network, one_neuron, random_network

import ssnn_py as ssnn

T, DT = 2.0, 1 / 64
SAVES = np.array([0.25, 0.5, 0.51, 1.0, 1.3, 2.0])


def refractory():
    """Crossings that are armed again only below the threshold, two kinds of events, and a variable of adaptation."""
    model = ssnn.EventSDE(
        "dv/dt = (1.6*I - v - a)/0.1 + 0.4*xi\nda/dt = -a/0.3",
        events=[
            ssnn.Event(crossing="v - 1", then="a += 0.2"),
            ssnn.Event(hazard="exp(4*(v - 0.8))", then="v -= 0.7; a += 0.1", dead_zone=0.05),
        ],
        synapse="v += w",
    )
    return ssnn.Network(model, np.full((3, 3), 0.05) - 0.05 * np.eye(3), input_current=1.0), {}


def heard():
    """Spikes of neurons and from outside that are under way for longer than a part of the run."""
    rng = np.random.default_rng(1)
    times = np.sort(rng.uniform(0.0, T, (4, 12)), axis=1)
    times[:, 5] = 0.5  # at the end of a part
    spikes = ssnn.SpikeTrains(np.sort(times, axis=1), rng.integers(0, 2, (4, 12)), 2, 0.0, T)
    inputs = ssnn.SpikeInput(rng.uniform(0.1, 0.5, (2, 5)), delays=rng.choice([0.0, 0.1, 0.5, 0.9], (2, 5)))
    network = random_network(2, per_sample=False)
    delays = rng.choice([0.0, 0.2, 0.7, 1.1], (5, 5)) * (network.weights != 0)
    parts = dict(intensity=network.intensity, mu=network.parameters["mu"], sigma=network.parameters["sigma"])
    network = ssnn.SLIFNetwork(network.weights, network.input_current, delays=delays, inputs=inputs, **parts)
    return network, dict(input_spikes=spikes)


def driven():
    path = ssnn.SampledPath(np.linspace(0, T, 9), np.random.default_rng(6).normal(size=(4, 9, 2)))
    jumps = ssnn.JumpProcess(3.0, ssnn.NormalJumps(0.1, 0.3)) + ssnn.GivenJumps([0.3, 0.5, 0.55, 1.6], 0.4)
    driver = path + jumps + ssnn.BrownianMotion()
    return ssnn.SLIFNetwork([[0.0, 0.3], [0.2, 0.0]], 1.2, mu=(6.0, 4.0), sigma=0.3, driver=driver), {}


NETWORKS = {
    "plain": lambda: (random_network(1, samples=4), {}),
    "one neuron": lambda: (one_neuron(), {}),
    "formulas": lambda: (formula_network(), {}),
    "refractory": refractory,
    "heard": heard,
    "driven": driven,
}


def assert_joined(network, ends, engine, solver="euler_maruyama", **more):
    run = dict(dt=DT, num_samples=4, seed=3, engine=engine, solver=solver, **more)
    whole = ssnn.simulate(network, T, saveat=SAVES, **run)
    solution = ssnn.simulate(network, ends[0], saveat=SAVES[ends[0] >= SAVES], **run)
    trains, states = solution.spike_trains, [solution.states]
    for begin, end in zip(ends, [*ends[1:], T], strict=True):
        solution = solution.continue_to(end, saveat=SAVES[(begin < SAVES) & (end >= SAVES)])
        assert solution.spike_trains.t0 == begin
        trains = trains.followed_by(solution.spike_trains)
        states.append(solution.states)
    assert trains == whole.spike_trains
    assert whole.num_spikes.sum() > 8
    for name, values in whole.states.items():
        assert np.array_equal(np.concatenate([part[name] for part in states], axis=1), values)
    assert np.array_equal(solution.raw.last_state, whole.raw.last_state)


@pytest.mark.parametrize("what", NETWORKS)
@pytest.mark.parametrize("engine", ["julia", "reference"])
def test_parts_are_the_whole(what, engine):
    network, more = NETWORKS[what]()
    assert_joined(network, (0.5, 0.75, 1.53125), engine, **more)


@pytest.mark.parametrize("solver", ["milstein", "shark", "exact_ou"])
def test_parts_are_the_whole_by_every_kind_of_solver(solver):
    assert_joined(one_neuron(), (0.5, 1.0), "julia", solver, noise_dt=4 * DT)
    network, more = heard()
    assert_joined(network, (0.5, 1.0), "julia", solver, **more)


def test_later_inputs_may_be_given_later():
    network, more = heard()
    spikes, run = more["input_spikes"], dict(dt=DT, num_samples=4)
    early, late = spikes.window(0.0, 1.0), spikes.window(1.0, T)
    whole = ssnn.simulate(network, T, input_spikes=spikes, **run)
    first = ssnn.simulate(network, 1.0, input_spikes=early, **run)
    later = first.continue_to(T, input_spikes=late)
    assert first.spike_trains.followed_by(later.spike_trains) == whole.spike_trains
    with pytest.raises(ssnn.ValidationError, match=r"input_spikes must come after t = 1, .* got one at 0\."):
        first.continue_to(T, input_spikes=spikes)


def test_a_spacing_of_saveat_goes_on_as_from_t0():
    run = dict(dt=0.01, seed=1)
    whole, first = (ssnn.simulate(one_neuron(), t1, saveat=0.15, **run) for t1 in (2.0, 1.0))
    later = first.continue_to(2.0, saveat=0.15)
    assert np.array_equal(np.append(first.ts, later.ts), whole.ts)
    assert np.array_equal(np.concatenate([first.v, later.v], axis=1), whole.v)


def test_where_no_float_is_the_end_of_a_step_parts_are_the_whole_to_rounding():
    run = dict(dt=0.1, num_samples=50)
    assert 3 * 0.1 != 0.3
    first, whole = (ssnn.simulate(one_neuron(), t1, **run) for t1 in (0.3, 3.0))
    trains = first.spike_trains.followed_by(first.continue_to(3.0).spike_trains)
    np.testing.assert_allclose(trains.times, whole.spike_times, rtol=1e-12)


def test_workers_and_threads_go_on_to_the_same_numbers():
    class Immediate:
        def submit(self, work, *arguments):
            from concurrent.futures import Future

            future = Future()
            future.set_result(work(*arguments))
            return future

    network, more = heard()
    run = dict(dt=DT, num_samples=4, **more)
    first = ssnn.simulate(network, 1.0, **run)
    alone = first.continue_to(T, threads=1)
    for one in (first.continue_to(T, executor=Immediate()), first.continue_to(T, threads=2)):
        assert np.array_equal(one.spike_times, alone.spike_times)
        assert np.array_equal(one.raw.last_state, alone.raw.last_state)


def test_another_process_goes_on_from_a_file(tmp_path):
    network, more = heard()
    run = dict(dt=DT, num_samples=4, **more)
    first = ssnn.simulate(network, 0.5, **run).continue_to(1.0)
    ssnn.save(tmp_path / "first", first)
    assert ssnn.load(tmp_path / "first") == first
    file, to = str(tmp_path / "first"), str(tmp_path / "later")
    there = f"import ssnn_py as s; s.save({to!r}, s.load({file!r}).continue_to({T}))"
    subprocess.run([sys.executable, "-c", there], check=True)
    assert ssnn.load(tmp_path / "later") == first.continue_to(T)


def refused(**changes):
    run = dict(t1=1.0, dt=0.1, engine="reference") | changes
    return ssnn.simulate(run.pop("network", one_neuron()), **run)


FRACTIONAL = ssnn.SLIFNetwork([[0.0]], sigma=0.3, driver=ssnn.FractionalBrownianMotion(0.3))
RECORDED = ssnn.SpikeTrains([[0.5]], [[0]], 1, 0.0, 1.0)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"max_spikes": 3}, "it has max_spikes"),
        ({"observed": RECORDED}, "it has observed"),
        ({"network": FRACTIONAL}, "it has fractional Brownian motion"),
        ({"t1": 0.95}, r"it has a last step that is shorter .* end it at t1 = 0.9"),
    ],
)
def test_what_cannot_go_on_is_refused_by_name(changes, words):
    with pytest.raises(ssnn.ValidationError, match=words):
        refused(**changes).continue_to(2.0)


def test_wrong_arguments_are_refused():
    solution = refused()
    for arguments, words in (
        ({"t1": 1.0}, "t1 must be after t = 1.0"),
        ({"t1": 2.0, "saveat": [0.5, 1.5]}, "saveat must come after t = 1.0"),
    ):
        with pytest.raises(ssnn.ValidationError, match=words):
            solution.continue_to(**arguments)
    with pytest.raises(ssnn.ValidationError, match=r"later must be 1 samples of 1 neurons from t = 1\.0"):
        solution.spike_trains.followed_by(solution.spike_trains)


def test_a_run_that_goes_on_has_no_gradients():
    later = refused().continue_to(2.0)
    for ask in (lambda: later.vjp(np.ones(later.spike_times.shape)), lambda: later.jvp({"alpha": 1.0})):
        with pytest.raises(ssnn.NoGradientError, match="no gradient of a run that goes on from another"):
            ask()
