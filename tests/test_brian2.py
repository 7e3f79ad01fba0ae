"""Models of Brian 2: the same spikes as its own runs, up to its steps; what cannot be carried over is named."""

import numpy as np
import pytest

import ssnn_py as ssnn

b = pytest.importorskip("brian2", reason="Brian 2 is not installed")
pytestmark = pytest.mark.filterwarnings("ignore")  # of Brian 2 and what it imports


@pytest.fixture(autouse=True)
def fresh():
    b.start_scope()
    b.prefs.codegen.target = "numpy"


def spikes(group, end, dt, *others):
    """Times and neurons of Brian 2's own run, in seconds."""
    b.defaultclock.dt = dt
    monitor = b.SpikeMonitor(group)
    b.Network(group, monitor, *others).run(end)
    return np.asarray(monitor.t / b.second), np.asarray(monitor.i)


def difference(group, end, dt, *synapses):
    """The largest difference of a spike time from ours at the same step, and how many spikes there are; Brian 2 puts a
    spike at the beginning of the step in which it comes.
    """
    net = ssnn.from_brian2(group, *synapses, namespace={})
    run = dict(t1=float(end), dt=float(dt), solver="stochastic_heun", engine="julia")
    ours = ssnn.simulate(net, **run)
    times, neurons = spikes(group, end, dt, *synapses)
    assert len(times) == ours.num_spikes[0]
    each = [np.sort(times[neurons == k]) - ours.spike_times[0][ours.spike_neurons[0] == k] for k in range(len(group))]
    return max(np.abs(part).max(initial=0.0) for part in each), len(times)


def lif(refractory=False):
    group = b.NeuronGroup(
        3,
        """dv/dt = (EL - v + R*I)/tau : volt (unless refractory)
        I : amp
        R : ohm (shared)""",
        threshold="v > v_th",
        reset="v = EL",
        refractory=refractory,
        method="exponential_euler",
        namespace={"tau": 10 * b.ms, "v_th": -50 * b.mV, "EL": -70 * b.mV},
    )
    group.v, group.I, group.R = -70 * b.mV, [0.3, 0.4, 0.5] * b.nA, 100 * b.Mohm
    return group


def adex():
    group = b.NeuronGroup(
        2,
        """dvm/dt = (gL*(EL - vm) + gL*DT*exp((vm - VT)/DT) - w + I)/C : volt
        dw/dt = (a*(vm - EL) - w)/tauw : amp
        I : amp""",
        threshold="vm > -40*mV",
        reset="vm = Vr; w += step",
        method="rk4",
        namespace=dict(
            C=281 * b.pF, gL=30 * b.nS, EL=-70.6 * b.mV, VT=-50.4 * b.mV, DT=2 * b.mV, tauw=144 * b.ms, a=4 * b.nS,
            step=0.0805 * b.nA, Vr=-70.6 * b.mV,
        ),
    )  # fmt: skip
    group.vm, group.I = -70.6 * b.mV, [1.0, 0.8] * b.nA
    return group


def hodgkin_huxley():
    group = b.NeuronGroup(
        1,
        """dv/dt = (gl*(El - v) - gNa*m**3*h*(v - ENa) - gK*n**4*(v - EK) + I)/Cm : volt
        dm/dt = 0.32*4/exprel((13 - u)/4)/ms*(1 - m) - 0.28*5/exprel((u - 40)/5)/ms*m : 1
        dn/dt = 0.032*5/exprel((15 - u)/5)/ms*(1 - n) - 0.5*exp((10 - u)/40)/ms*n : 1
        dh/dt = 0.128*exp((17 - u)/18)/ms*(1 - h) - 4/(1 + exp((40 - u)/5))/ms*h : 1
        u = (v + 63*mV)/mV : 1
        I : amp""",
        threshold="v > -20*mV",
        method="rk4",
        refractory=3 * b.ms,
        namespace=dict(
            Cm=200 * b.pF, gl=10 * b.nS, El=-60 * b.mV, EK=-90 * b.mV, ENa=50 * b.mV, gNa=20 * b.uS, gK=6 * b.uS
        ),
    )
    group.v, group.h, group.I = -65 * b.mV, 0.9, 0.3 * b.nA
    return group


@pytest.mark.parametrize(
    ("make", "end", "steps"),
    [
        (lif, 100, (0.1, 0.025)),
        (lambda: lif(5 * b.ms), 100, (0.1, 0.025)),
        (adex, 100, (0.02, 0.005)),
        (hodgkin_huxley, 50, (0.02, 0.01)),
    ],
    ids=["lif", "lif, refractory", "adex", "hodgkin_huxley"],
)
def test_spikes_are_those_of_brian2_up_to_its_steps(make, end, steps, julia):
    """Each spike of Brian 2 is late by up to a step, and so is the neuron's phase from then on."""
    for dt in steps:
        b.start_scope()
        found, count = difference(make(), end * b.ms, dt * b.ms)
        assert count > 1
        assert found < 1.5e-3 * dt * count


def network():
    group = b.NeuronGroup(
        5,
        """dv/dt = (drive - v + g)/(10*ms) : 1
        dg/dt = -g/(5*ms) : 1
        drive : 1""",
        threshold="v >= 1",
        reset="v -= 1",
        method="exact",
    )
    group.drive, group.v = [1.5, 0.9, 0.8, 1.2, 0.5], "0.1*i"
    return group


@pytest.mark.parametrize("dt", [0.1, 0.025])
def test_synapses_too(dt, julia):
    group = network()
    synapses = b.Synapses(group, group, "wt : 1", on_pre="g_post += wt")
    synapses.connect(condition="i != j")
    synapses.wt = "0.2*(i + 1)/5"
    net = ssnn.from_brian2(group, synapses)
    assert net.weights[2, 4] == pytest.approx(0.12)
    assert net.weights.nnz == 20
    found, count = difference(group, 100 * b.ms, dt * b.ms, synapses)
    assert found < 1.5e-3 * dt * count


def test_a_constant_is_a_weight_of_one():
    group = network()
    synapses = b.Synapses(group, group, on_pre="g += 3*drive_post")
    synapses.connect(i=[0, 1], j=[1, 2])
    net = ssnn.from_brian2(group, synapses)
    assert net.weights.toarray().sum() == 2.0
    assert "drive" in net.parameters


def test_units_names_and_values():
    group = adex()
    net = ssnn.from_brian2(group)
    assert net.states == ("vm", "w_")  # w is the weight of a synapse
    np.testing.assert_allclose(net.parameters["I_"], [1e-9, 0.8e-9])  # per neuron, in amperes
    assert net.parameters["C"] == pytest.approx(281e-12)
    assert net.parameters["vm0"] == pytest.approx(-70.6e-3)


def test_names_of_the_caller():
    tau, level = 20 * b.ms, 1.25
    group = b.NeuronGroup(2, "dv/dt = (level - v)/tau : 1")
    net = ssnn.from_brian2(group)
    assert float(net.parameters["tau"]) == pytest.approx(float(tau))
    assert float(net.parameters["level"]) == level
    assert float(ssnn.from_brian2(group, namespace={"tau": 1 * b.second, "level": 3}).parameters["tau"]) == 1.0


def test_noise_has_its_law(engine):
    """The stationary Ornstein–Uhlenbeck process dv = −v/τ dt + σ√(2/τ) dB."""
    group = b.NeuronGroup(4000, "dv/dt = -v/tau + s*sqrt(2/tau)*xi : 1", namespace={"tau": 10 * b.ms, "s": 0.3})
    group.v = 1.0
    net = ssnn.from_brian2(group)
    run = dict(t1=0.02, dt=0.001, seed=3, solver="shark", saveat=[0.02], engine=engine)
    v = ssnn.simulate(net, **run).v[0, 0]
    mean, variance = np.exp(-2.0), 0.09 * (1 - np.exp(-4.0))
    assert abs(v.mean() - mean) < 4 * np.sqrt(variance / 4000)
    assert abs(v.var() - variance) < 4 * variance * np.sqrt(2 / 4000)


def test_gradients_of_what_came_from_brian2(julia):
    """Along a deterministic run to its first spike, τ·log(c/(c − 1)) for dv/dt = (c − v)/τ."""
    group = b.NeuronGroup(
        1, "dv/dt = (c - v)/tau : 1", threshold="v > 1", reset="v = 0", namespace={"tau": 10 * b.ms, "c": 1.5}
    )
    solution = ssnn.simulate(
        ssnn.from_brian2(group), t1=0.02, dt=1e-4, max_spikes=1, solver="stochastic_heun", engine="julia"
    )
    gradient = solution.vjp(1.0)
    assert float(gradient["tau"]) == pytest.approx(np.log(3), rel=1e-4)
    assert float(gradient["c"]) == pytest.approx(0.01 * (1 / 1.5 - 1 / 0.5), rel=1e-4)


def test_what_cannot_be_carried_over_is_named_all_at_once():
    table = b.TimedArray([1, 2], dt=1 * b.ms)  # noqa: F841
    group = b.NeuronGroup(
        2, "dv/dt = (table(t) - v + rand())/(10*ms) : 1", threshold="v > 1 and v < 2", reset="v = 0", method="euler"
    )
    synapses = b.Synapses(
        group, group, "wt : 1\ndx/dt = -x/(10*ms) : 1 (event-driven)", on_pre="v_post += wt*x*v_pre",
        on_post="x += 1", delay=1 * b.ms,
    )  # fmt: skip
    synapses.connect()
    with pytest.raises(ssnn.ValidationError) as error:
        ssnn.from_brian2(group, synapses)
    for what in (
        "table() in the equation of v", "rand() in the equation of v", "threshold 'v > 1 and v < 2'", "pathway 'post'",
        "delay of the synapses", "x of the synapses", "v_pre in on_pre",
    ):  # fmt: skip
        assert what in str(error.value)


@pytest.mark.parametrize(
    ("make", "what"),
    [
        (lambda: b.NeuronGroup(1, "dv/dt = -v/second + i*Hz : 1"), "i in the equation of v"),
        (lambda: b.NeuronGroup(1, "dv/dt = floor(v)/second : 1"), "floor() in the equation of v"),
        (lambda: b.NeuronGroup(1, "dv/dt = -v/lost : 1"), "lost in the equation of v: a name without a value"),
        (
            lambda: b.NeuronGroup(1, "dv/dt = -v/second : 1", events={"other": "v > 2"}),
            "event 'other': events other than spikes",
        ),
        (
            lambda: b.NeuronGroup(
                1, "dv/dt = -v/second + xi*Hz**0.5 : 1 (unless refractory)", threshold="v > 1", refractory=1 * b.ms,
                method="euler",
            ),
            "its noise would have to stand still",
        ),
    ],
)  # fmt: skip
def test_single_obstacles(make, what):
    with pytest.raises(ssnn.ValidationError, match="cannot carry over") as error:
        ssnn.from_brian2(make())
    assert what in str(error.value)


def test_other_arguments_are_refused():
    with pytest.raises(ssnn.ValidationError, match="group must be a NeuronGroup"):
        ssnn.from_brian2("dv/dt = -v")
    with pytest.raises(ssnn.ValidationError, match="synapses must be a Synapses"):
        ssnn.from_brian2(network(), 3)
    other = b.NeuronGroup(1, "v : 1")
    with pytest.raises(ssnn.ValidationError, match="from the group to itself"):
        ssnn.from_brian2(network(), b.Synapses(other, other))
