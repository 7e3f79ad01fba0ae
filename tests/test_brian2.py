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
    b.defaultclock.dt = 0.1 * b.ms
    b.BrianLogger.suppress_name("unused_brian_object")


def spikes(group, end, dt, *others):
    """Times and neurons of Brian 2's own run, in seconds."""
    b.defaultclock.dt = dt
    monitor = b.SpikeMonitor(group)
    b.Network(group, monitor, *others).run(end)
    return np.asarray(monitor.t / b.second), np.asarray(monitor.i)


def difference(group, end, dt, *synapses):
    """The largest difference of a spike time from ours at the same step, and how many spikes there are.

    Brian 2 puts a spike at the beginning of the step in which it comes, and resets at its end. So the first is early by
    up to a step, and with every other the neuron's phase is late by up to one more.
    """
    b.defaultclock.dt = dt
    net = ssnn.from_brian2(group, *synapses, namespace={})
    ours = ssnn.simulate(net, t1=float(end), dt=float(dt), solver="stochastic_heun", engine="julia")
    times, neurons = spikes(group, end, dt, *synapses)
    assert len(times) == ours.num_spikes[0]
    largest = 0.0
    for k in range(len(group)):
        mine = ours.spike_times[0][ours.spike_neurons[0] == k]
        apart = np.abs(np.sort(times[neurons == k]) - mine)
        assert (apart <= float(dt) * (1 + np.arange(len(apart)))).all()
        largest = max(largest, apart.max(initial=0.0))
    return largest, len(times)


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


def connected(group, on_pre, condition, weights):
    synapses = b.Synapses(group, group, "wt : 1", on_pre=on_pre)
    synapses.connect(condition=condition)
    synapses.wt = weights
    return group, synapses


def with_adaptive_threshold():
    """The threshold is a parameter that the reset changes."""
    group = b.NeuronGroup(
        2, "dv/dt = (2 - v)/(10*ms) : 1\nth : 1\nc : 1", threshold="v > th", reset="v = 0; th = th + 0.1*c",
        method="exact",
    )  # fmt: skip
    group.th, group.c = 1, [1, 0.5]
    return (group,)


def pushed_while_refractory():
    """Neuron 1 is refractory when neuron 0 fires, at 11 and 32 ms: to Brian 2 what is written then is lost."""
    group = b.NeuronGroup(
        2, "dv/dt = (c - v)/(10*ms) : 1 (unless refractory)\nc : 1", threshold="v > 1", reset="v = 0",
        refractory=10 * b.ms, method="exact",
    )  # fmt: skip
    group.v, group.c = [0, 0.9], [1.5, 1.25]
    return connected(group, "v_post += wt", "i == 0 and j == 1", 0.5)


def refractory_above():
    group = hodgkin_huxley()
    above = "v > -20*mV"
    twin = b.NeuronGroup(
        1, group.user_equations, threshold=above, refractory=above, method="rk4", namespace=group.namespace
    )
    twin.v, twin.h, twin.I = group.v[:], group.h[:], group.I[:]
    return (twin,)


CASES = {
    "lif": (lambda: (lif(),), 100, (0.1, 0.025)),
    "lif, refractory": (lambda: (lif(5 * b.ms),), 100, (0.1, 0.025)),
    "lif, refractory by a formula": (lambda: (lif("3*ms + 5*ms*I/nA"),), 100, (0.1, 0.025)),
    "adex": (lambda: (adex(),), 100, (0.02, 0.005)),
    "hodgkin_huxley": (lambda: (hodgkin_huxley(),), 50, (0.02, 0.005)),
    "hodgkin_huxley, refractory above": (refractory_above, 50, (0.02, 0.005)),
    "five neurons": (lambda: connected(network(), "g_post += wt", "i != j", "0.2*(i + 1)/5"), 100, (0.1, 0.025)),
    "themselves": (lambda: connected(network(), "g += wt", "True", 0.05), 100, (0.1, 0.025)),
    "adaptive threshold": (with_adaptive_threshold, 100, (0.1, 0.025)),
    "pushed while refractory": (pushed_while_refractory, 35, (0.1, 0.025)),
}


@pytest.mark.parametrize("case", CASES)
def test_spikes_are_those_of_brian2_up_to_its_steps(case, julia):
    """The smaller its steps, the more so."""
    make, end, steps = CASES[case]
    found = []
    for dt in steps:
        b.start_scope()
        group, *synapses = make()
        apart, count = difference(group, end * b.ms, dt * b.ms, *synapses)
        assert count > 1
        found.append(apart)
    assert found[-1] < 0.5 * found[0]


def test_weights_are_sparse():
    net = ssnn.from_brian2(*connected(network(), "g_post += wt", "i != j", "0.2*(i + 1)/5"))
    assert net.weights[2, 4] == pytest.approx(0.12)
    assert net.weights.nnz == 20


def test_a_run_goes_on_where_brian2_is(julia):
    """In the middle of a refractory period, too."""
    b.defaultclock.dt = 0.025 * b.ms
    group = lif(5 * b.ms)
    monitor = b.SpikeMonitor(group)
    whole = b.Network(group, monitor)
    whole.run(20 * b.ms)
    net = ssnn.from_brian2(group)
    since = net.parameters["since_spike0"]
    assert since.min() < 5e-3 < since.max()
    ours = ssnn.simulate(net, t1=0.02, dt=2.5e-5, solver="stochastic_heun", engine="julia")
    whole.run(20 * b.ms)
    times, neurons = np.asarray(monitor.t / b.second), np.asarray(monitor.i)
    later = times >= 0.02
    assert ours.num_spikes[0] == later.sum()
    for k in range(3):
        theirs = times[later & (neurons == k)]
        mine = 0.02 + ours.spike_times[0][ours.spike_neurons[0] == k]
        np.testing.assert_allclose(mine, theirs, rtol=0, atol=2.5e-5 * (1 + len(mine)))


def test_a_constant_is_a_weight_of_one():
    group = network()
    synapses = b.Synapses(group, group, on_pre="g += 3*drive_post")
    synapses.connect(i=[0, 1], j=[1, 2])
    net = ssnn.from_brian2(group, synapses)
    assert net.weights.toarray().sum() == 2.0
    assert "drive" in net.parameters


def test_several_synapses_between_two_neurons_add_up():
    group = network()
    synapses = b.Synapses(group, group, "wt : 1\nunit : 1 (shared)", on_pre="g += 2*wt*unit/tau", namespace={"tau": 4})
    synapses.connect(i=[0, 0, 1], j=[1, 1, 2])
    synapses.wt, synapses.unit = [0.1, 0.2, 0.3], 7
    net = ssnn.from_brian2(group, synapses)
    np.testing.assert_allclose(net.weights.toarray()[:2, 1:3], [[0.3, 0], [0, 0.3]])
    assert (float(net.parameters["unit"]), float(net.parameters["tau"])) == (7.0, 4.0)


def test_one_name_may_have_two_values():
    group = b.NeuronGroup(
        2, "dv/dt = -v/tau : 1", threshold="v > 1", reset="v = 0", namespace={"tau": 1 * b.ms}
    )  # fmt: skip
    synapses = b.Synapses(group, group, on_pre="v += tau/second", namespace={"tau": 3 * b.ms})
    synapses.connect(i=0, j=1)
    net = ssnn.from_brian2(group, synapses)
    assert (float(net.parameters["tau"]), float(net.parameters["tau_"])) == (1e-3, 3e-3)


def test_units_names_and_values():
    group = adex()
    net = ssnn.from_brian2(group)
    assert net.states == ("vm", "w_")  # w is the weight of a synapse
    np.testing.assert_allclose(net.parameters["I_"], [1e-9, 0.8e-9])  # per neuron, in amperes
    assert net.parameters["C"] == pytest.approx(281e-12)
    assert net.parameters["vm0"] == pytest.approx(-70.6e-3)


def test_names_that_mean_something_here_get_an_underscore():
    group = b.NeuronGroup(2, "dv/dt = (v0 - v + I + weights + where)/ms : 1\nv0 : 1\nI : 1\nweights : 1\nwhere : 1")
    group.v, group.v0 = [5, 6], [1, 2]
    net = ssnn.from_brian2(group)
    assert set(net.parameters) == {"v0", "v0_", "I_", "weights_", "where_"}
    np.testing.assert_array_equal(net.parameters["v0"], [5, 6])
    np.testing.assert_array_equal(net.parameters["v0_"], [1, 2])


def test_a_parameter_cannot_be_called_n_and_a_variable_can():
    group = b.NeuronGroup(1, "dv/dt = -v**n/ms : 1\nn : 1")
    group.n = 2
    assert ssnn.from_brian2(group).parameters["n_"] == 2
    group = b.NeuronGroup(1, "dn/dt = (1 - n)/ms : 1")
    assert ssnn.from_brian2(group).states == ("n",)


def test_units_are_numbers_where_all_of_brian2_is_imported():
    everything = {}
    exec("from brian2 import *", everything)
    group = b.NeuronGroup(1, "dv/dt = (sin(2*pi*10*Hz*t)*10*mV - v)/(10*ms) : volt")
    assert set(ssnn.from_brian2(group, namespace=everything).parameters) == {"v0"}


def test_truth_values():
    group = b.NeuronGroup(
        2, "dv/dt = (int(on)*int(high or not on) - v)/ms : 1\nhigh = v > 0.5 : boolean\non : boolean\nn : integer"
    )
    group.on = [True, False]
    np.testing.assert_array_equal(ssnn.from_brian2(group).parameters["on"], [1, 0])


def test_functions_by_other_names(julia):
    """The values of Brian 2's own run, of which Euler's step is the same."""
    group = b.NeuronGroup(
        5, "dv/dt = (exprel(v) + expm1(v)*sign(v) + tan(v) + cosh(v) - sinh(v) + log10(2 + v))/second : 1",
        method="euler",
    )  # fmt: skip
    group.v = [-1, -1e-8, 0, 0.5, 1.3]
    net = ssnn.from_brian2(group)
    ours = ssnn.simulate(net, t1=1e-4, dt=1e-4, saveat=[1e-4], engine="julia").v[0, 0]
    b.Network(group).run(0.1 * b.ms)
    np.testing.assert_allclose(ours, np.asarray(group.v), rtol=1e-12, atol=1e-15)


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


def test_noise_stands_still_while_refractory(engine):
    """The law of Euler's steps, of which the first half come before the period of 9.75 ms is over."""
    group = b.NeuronGroup(
        4000, "dv/dt = -v/tau + s*sqrt(2/tau)*xi : 1 (unless refractory)", threshold="v > 100", reset="v = 0",
        refractory=9.75 * b.ms, namespace={"tau": 10 * b.ms, "s": 0.3},
    )  # fmt: skip
    group.v, group.lastspike = 1.0, 0 * b.ms
    net = ssnn.from_brian2(group)
    v = ssnn.simulate(net, t1=0.02, dt=0.0005, seed=3, solver="euler_maruyama", saveat=[0.0097, 0.02], engine=engine).v
    np.testing.assert_array_equal(v[0, 0], 1.0)
    decay = 1 - 0.05
    mean, variance = decay**20, 0.09 * 2 * 0.05 * (1 - decay**40) / (1 - decay**2)
    assert abs(v[0, 1].mean() - mean) < 4 * np.sqrt(variance / 4000)
    assert abs(v[0, 1].var() - variance) < 4 * variance * np.sqrt(2 / 4000)


@pytest.mark.parametrize("interpretation", ["ito", "stratonovich"])
def test_the_sense_of_noise_is_chosen(interpretation):
    group = b.NeuronGroup(1, "dv/dt = -v/second + 0.1*v*xi*second**-0.5 : 1")
    net = ssnn.from_brian2(group, interpretation=interpretation)
    assert net.model.interpretation == interpretation
    assert not net.has_additive_noise


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


def group(equations="dv/dt = -v/second : 1", threshold="v > 1", reset="v = 0", **more):
    return b.NeuronGroup(2, equations, threshold=threshold, reset=reset, **more)


def synapses(on_pre="v += wt", equations="wt : 1", i=(0,), j=(1,), of=None, wt=None, **more):
    own = group() if of is None else of
    made = b.Synapses(own, own, equations, on_pre=on_pre, **more)
    made.connect(i=i, j=j)
    if wt is not None:
        made.wt = wt
    return own, made


def at_threshold():
    made = group()
    made.v = [0.5, 1.5]
    return made


def linked():
    made = group("dv/dt = -v*y/second : 1\ny : 1 (linked)")
    made.y = b.linked_var(made, "v")
    return made


def infinite():
    made = group("dv/dt = (c - v)/second : 1\nc : 1")
    made.c = [1, np.inf]
    return made


def regularly():
    made = group()
    made.run_regularly("v += 1")
    return made


def two_weights():
    own, made = synapses("v += wt*x", "wt : 1\nx : 1", i=[0, 1], j=[1, 0], wt=[1, 2])
    made.x = [3, 4]
    return own, made


def unconnected():
    made = group()
    return made, b.Synapses(made, made, on_pre="v += 1")


EQUATION = "in the equation of v: "
ONLY_ADDING = "synapses: several of them between two neurons add up only where on_pre adds"
REFUSED = [
    (lambda: group("dv/dt = -v/second + i*Hz : 1"), f"i {EQUATION}a variable of Brian 2's own"),
    (lambda: group("dv/dt = -v/second/N : 1"), f"N {EQUATION}a variable of Brian 2's own"),
    (lambda: group("dv/dt = -v*dt/second**2 : 1"), f"dt {EQUATION}a variable of Brian 2's own"),
    (lambda: group("dv/dt = floor(v)/second : 1"), f"floor() {EQUATION}a function that formulas do not have"),
    (lambda: group("dv/dt = rand()/second : 1"), f"rand() {EQUATION}a function that formulas do not have"),
    (
        lambda: group("dv/dt = x(t)/second : 1", namespace={"x": b.TimedArray([1, 2], dt=b.ms)}),
        f"x() {EQUATION}a TimedArray",
    ),
    (
        lambda: group("dv/dt = max(v)/second : 1", namespace={"max": b.check_units(v=1, result=1)(lambda v: v)}),
        f"max() {EQUATION}a function of one's own",
    ),
    (lambda: group("dv/dt = -v/lost : 1"), f"lost {EQUATION}a name without a value"),
    (lambda: group("dv/dt = -v/a : 1", namespace={"a": np.ones(2)}), f"a {EQUATION}its value is of type ndarray"),
    (lambda: group("dv/dt = -v/a : 1", namespace={"a": np.inf}), f"a {EQUATION}numbers must be finite"),
    (lambda: group("dv/dt = -(v % 2)/second : 1"), f"'v % 2' {EQUATION}not in the notation of formulas"),
    (lambda: group("dv/dt = sqrt(t)*xi/second : 1"), "what multiplies a noise must not depend on the time"),
    (infinite, "values of c: they must be finite"),
    (linked, "(linked) of y: a flag that has no counterpart"),
    (lambda: group("dv/dt = x/second : 1\nx = 2*v : 1 (constant over dt)"), "(constant over dt) of x: a flag"),
    (lambda: group(events={"other": "v > 2"}), "event 'other': events other than spikes"),
    (regularly, "what runs besides the equations"),
    (lambda: group(threshold="v > 1 or v < -1"), "threshold 'v > 1 or v < -1': only one comparison a > b has"),
    (lambda: group(threshold="v > t/second"), "t in threshold: the time stands in equations only"),
    (lambda: group(threshold="rand() < dt*Hz"), "rand() in threshold: a function that formulas do not have"),
    (lambda: group(reset=None), "Brian 2 fires at every step"),
    (at_threshold, "threshold 'v > 1': neuron 1 is at or above it now"),
    (lambda: group(reset="v = t/second"), "t in reset: the time stands in equations only"),
    (lambda: group(reset="v = rand()"), "rand() in reset: a function that formulas do not have"),
    (lambda: group(reset="x = v; v = 0"), "x in reset: only variables and parameters of the neuron itself"),
    (
        lambda: group("dv/dt = -v/second : 1\nn : integer", reset="v = 0; n += 1"),
        "n in reset: a parameter that changes must be a float per neuron, not integer",
    ),
    (lambda: group(refractory="v > 0.5"), "refractory 'v > 0.5': a condition is carried over only if"),
    (
        lambda: group("dv/dt = -v/second : 1 (unless refractory)", refractory="v > 1"),
        "refractory 'v > 1': a condition is carried over only if",
    ),
    (lambda: group("dv/dt = (t - lastspike)/second**2 : 1"), f"lastspike {EQUATION}"),
    (lambda: synapses(delay=1 * b.ms), "delay of the synapses: spikes arrive at once"),
    (lambda: synapses(on_post="v += 1"), "pathway 'post' of the synapses: only one on_pre"),
    (lambda: synapses({"a": "v += wt", "b": "v -= wt"}), "pathway 'b' of the synapses: only one on_pre"),
    (
        lambda: synapses(of=group(events={"other": "v > 2"}), on_event="other"),
        "on_event 'other' of the synapses: events other than spikes",
    ),
    (lambda: synapses("v += wt*v_pre"), "v_pre in on_pre: a target does not see the neuron that fires"),
    (lambda: synapses("v += wt; wt += 1"), "wt in on_pre: only variables and parameters of the neuron itself"),
    (lambda: synapses("v += wt*rand()"), "rand() in on_pre: a function that formulas do not have"),
    (
        lambda: synapses(equations="wt : 1\ndx/dt = -x/ms : 1 (clock-driven)"),
        "x of the synapses: a differential equation",
    ),
    (
        lambda: synapses(equations="wt : 1\ny_post = wt : 1 (summed)", of=group("dv/dt = -v/ms : 1\ny : 1")),
        "y_post of the synapses: a summed variable",
    ),
    (
        two_weights,
        "wt, x in on_pre: a synapse has one number, its weight",
    ),
    (unconnected, "they are not connected yet"),
    (lambda: synapses("v = wt", i=[0, 0], j=[1, 1]), ONLY_ADDING),
    (lambda: synapses("v += wt*(1 - v)", i=[0, 0], j=[1, 1]), ONLY_ADDING),
    (lambda: synapses("v += wt**2", i=[0, 0], j=[1, 1]), ONLY_ADDING),
    (lambda: synapses(i=[0], j=[0]), "synapses of neurons with themselves: on_pre comes before the reset in Brian 2"),
]  # fmt: skip


@pytest.mark.parametrize(("make", "what"), REFUSED, ids=[what[:40] for _, what in REFUSED])
def test_single_obstacles(make, what):
    made = make()
    with pytest.raises(ssnn.ValidationError) as error:
        ssnn.from_brian2(*(made if isinstance(made, tuple) else (made,)), namespace={})
    assert str(error.value).startswith("from_brian2 cannot carry over:\n  - ")
    assert what in str(error.value)
    assert what.startswith(("rand() in threshold", "on_event")) or str(error.value).count("\n  - ") == 1


def test_other_arguments_are_refused():
    with pytest.raises(ssnn.ValidationError, match="group must be a NeuronGroup"):
        ssnn.from_brian2("dv/dt = -v")
    with pytest.raises(ssnn.ValidationError, match="synapses must be a Synapses"):
        ssnn.from_brian2(network(), 3)
    whole = network()
    with pytest.raises(ssnn.ValidationError, match="got a Subgroup"):
        ssnn.from_brian2(whole[:2])
    with pytest.raises(ssnn.ValidationError, match='interpretation must be "ito" or "stratonovich"'):
        ssnn.from_brian2(network(), interpretation="heun")
    other = b.NeuronGroup(1, "v : 1")
    with pytest.raises(ssnn.ValidationError, match="from the group to itself"):
        ssnn.from_brian2(network(), b.Synapses(other, other))
