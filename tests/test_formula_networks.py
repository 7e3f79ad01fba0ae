"""Networks of models from formulas: the same numbers as the tuned model, exact derivatives, refusals."""

import copy
import os
import pickle
import subprocess
import sys

import numpy as np
import pytest

import ssnn_py as ssnn
from ssnn_py.engine import debian

WEIGHTS = np.array([[0.0, 0.15], [0.1, 0.0]])
SOLVERS = ("euler_maruyama", "milstein", "stochastic_heun", "shark")

SLIF = ssnn.EventSDE(
    """
    dv/dt = mu1*(i + I - v) + sigma*xi
    di/dt = -mu2*i
    """,
    events=ssnn.Event(hazard="exp(beta*min(v - v_th, 10))/tau", then="v -= v_reset", dead_zone="alpha"),
    synapse="i += w",
    parameters=dict(mu1=15.0, mu2=20.0, sigma=0.25, beta=5.0, v_th=1.0, tau=1.0, v_reset=1.4, alpha=0.03),
)
ADEX = ssnn.EventSDE(
    """
    dv/dt = (E_L - v + Delta*exp((v - v_T)/Delta) - a + i + I)/tau_m + sigma*xi
    da/dt = (c*(v - E_L) - a)/tau_a + sigma_a*xi_a
    di/dt = -i/tau_s
    """,
    events=ssnn.Event(hazard="exp(beta*(v - v_th))", then="v -= v_reset; a += b", dead_zone=0.03),
    synapse="i += w",
    parameters=dict(
        E_L=0.0, Delta=0.2, v_T=1.0, tau_m=0.1, c=0.3, tau_a=0.5, tau_s=0.05, sigma=0.3, sigma_a=0.1, beta=8.0,
        v_th=0.9, v_reset=1.1, b=0.1,
    ),
    initial=dict(v=0.1, a="c*0.2"),
)  # fmt: skip
# Multiplicative noises that do not commute, synapses that depend on the target's state, conditions.
ROUGH = ssnn.EventSDE(
    """
    dv/dt = (mu - v)*2 + s1*sqrt(1 + v**2)*xi_1
    di/dt = g - i*3 + s2*i*xi_1 + s3*cos(i)*xi_2
    dg/dt = -5*g
    """,
    events=ssnn.Event(hazard="5*where(v > 0.3, v + 0.1, 0.1 + v**2)", dead_zone=0.01),
    synapse="g += w*(1 - g)",
    parameters=dict(mu=1.0, s1=0.2, s2=0.3, s3=0.1),
    interpretation="stratonovich",
    initial=dict(v=0.2, i=0.5),
)
TWO_EVENTS = ssnn.EventSDE(
    """
    dv/dt = -v*3 + 4 + i + sigma*xi
    di/dt = -2*i + sigma*xi
    """,
    events=[
        ssnn.Event(hazard="2*exp(v - 1)", then="i -= r"),
        ssnn.Event(hazard="3/(1 + exp(-3*i))", then="v -= 0.5*r", dead_zone="z"),
    ],
    synapse="v += w; i += w/2",
    parameters=dict(sigma=0.2, r=0.7, z=0.05),
)
# A crossing of a curve, after which the state is below it again; and a crossing that changes nothing.
BALL = ssnn.EventSDE(
    """
    dh/dt = u
    du/dt = -g - k*u*abs(u)
    """,
    events=ssnn.Event(crossing="0.1*sin(3*h) - h", then="u = -c*u; h = 0.002"),
    parameters=dict(g=9.81, c=0.9, k=0.05),
    initial=dict(h=1.0),
)
OSCILLATOR = ssnn.EventSDE(
    """
    dx/dt = y
    dy/dt = -omega**2*x + I
    """,
    events=ssnn.Event(crossing="x - a*y"),
    parameters=dict(omega=6.0, a=0.05),
    initial=dict(x=-1.0),
)
MODELS = {
    "slif": (SLIF, dict(weights=WEIGHTS, input_current=[1.5, 1.2])),
    "adex": (ADEX, dict(weights=WEIGHTS, input_current=[1.5, 1.2])),
    "rough": (ROUGH, dict(weights=WEIGHTS)),
    "two events": (TWO_EVENTS, dict(weights=WEIGHTS)),
    "ball": (BALL, dict(n=1)),
    "oscillator": (OSCILLATOR, dict(n=2)),
}
RUN = dict(t1=2.0, dt=0.01, num_samples=2, seed=3, saveat=0.5)


def network(name):
    model, arguments = MODELS[name]
    return ssnn.Network(model, **arguments)


def takes(name):
    """The solvers that take a model."""
    return [solver for solver in SOLVERS if name != "rough" or solver not in ("milstein", "shark")]


CASES = [(name, solver) for name in MODELS for solver in takes(name)]


@pytest.mark.parametrize("solver", SOLVERS)
def test_slif_from_text_is_the_tuned_one(engine, solver):
    """Same noise, same thresholds; the records and gradients too."""
    tuned = ssnn.SLIFNetwork(WEIGHTS, input_current=[1.5, 1.2], mu=(15.0, 20.0), sigma=0.25)
    run = RUN | dict(solver=solver, engine=engine, t1=1.0 if engine == "reference" else 2.0)
    one, other = ssnn.simulate(tuned, **run), ssnn.simulate(network("slif"), **run)
    assert one.num_spikes.sum() > 10
    np.testing.assert_array_equal(one.spike_neurons, other.spike_neurons)
    np.testing.assert_allclose(one.spike_times, other.spike_times, rtol=0, atol=1e-9)
    for name in ("v", "i"):
        np.testing.assert_allclose(one.states[name], other.states[name], rtol=0, atol=1e-9)
    if engine == "julia":
        mine, theirs = (x.vjp(1.0, v_bar=1.0) for x in (one, other))
        for name in ("weights", "input_current", "sigma", "beta", "v_th", "tau", "v_reset", "alpha", "v0", "i0"):
            np.testing.assert_allclose(mine[name], theirs[name], rtol=1e-9, atol=1e-9)
        np.testing.assert_allclose(mine["mu"], [theirs["mu1"], theirs["mu2"]], rtol=1e-9)


def directions(solution, rng):
    """A random direction in all parameters; of weights, along the synapses."""
    out = {name: rng.normal(size=array.shape) for name, array in solution.problem.parameters.items()}
    if "weights" in out:
        out["weights"] *= solution.network.parameters["weights"] != 0
    return out


def scalar(solution, bars):
    finite = np.isfinite(solution.spike_times)
    times = np.where(finite, solution.spike_times, 0.0)
    return (times * bars[""]).sum() + sum((values * bars[name]).sum() for name, values in solution.states.items())


@pytest.mark.parametrize(("name", "solver"), CASES)
def test_modes_agree_with_each_other_and_with_finite_differences(name, solver, julia):
    """To rounding: forward and reverse are derivatives of one and the same map, with the noise frozen."""
    run, rng = RUN | dict(solver=solver, engine="julia"), np.random.default_rng(1)
    net = network(name)
    solution = ssnn.simulate(net, **run)
    assert solution.num_spikes.min() >= 2
    bars = {"": rng.normal(size=solution.spike_times.shape) * np.isfinite(solution.spike_times)}
    bars |= {state: rng.normal(size=values.shape) for state, values in solution.states.items()}
    direction = directions(solution, rng)
    tangents = solution.tangents(direction)
    forward = (tangents.spike_times[0] * bars[""]).sum()
    forward += sum((tangents.states[state][0] * bars[state]).sum() for state in solution.states)
    gradients = solution.vjp(bars[""], states_bar={state: bars[state] for state in solution.states})
    reverse = sum((gradients[key] * direction[key]).sum() for key in direction)
    assert reverse == pytest.approx(forward, rel=1e-10)
    errors = []
    for step in (3e-8, 1e-8, 3e-9):  # so small that no spike leaves its leaf, where the map is smooth
        ahead, behind = (
            ssnn.simulate(
                net.replace(**{key: net.parameters[key] + sign * step * direction[key] for key in direction}), **run
            )
            for sign in (1, -1)
        )
        difference = (scalar(ahead, bars) - scalar(behind, bars)) / (2 * step)
        errors.append(abs(difference / forward - 1))
    assert min(errors) < 1e-6


@pytest.mark.parametrize(("name", "solver"), [case for case in CASES if case[1] != "milstein"])
def test_engines_agree(name, solver, julia):
    run, rng = RUN | dict(solver=solver, t1=0.7, saveat=0.3), np.random.default_rng(2)
    one, other = (ssnn.simulate(network(name), engine=engine, **run) for engine in ("reference", "julia"))
    np.testing.assert_array_equal(one.spike_neurons, other.spike_neurons)
    np.testing.assert_array_equal(one.spike_events, other.spike_events)
    np.testing.assert_allclose(one.spike_times, other.spike_times, rtol=0, atol=1e-9)
    direction = directions(one, rng)
    mine, theirs = one.tangents(direction), other.tangents(direction)
    scale = 1 + max(np.abs(values).max(initial=0.0) for values in mine.states.values())
    np.testing.assert_allclose(mine.spike_times, theirs.spike_times, rtol=1e-7, atol=1e-7)
    for state, values in one.states.items():
        np.testing.assert_allclose(values, other.states[state], rtol=0, atol=1e-9)
        np.testing.assert_allclose(mine.states[state], theirs.states[state], rtol=0, atol=1e-9 * scale)


def test_spikes_say_which_event_made_them(julia):
    solution = ssnn.simulate(network("two events"), engine="julia", **RUN)
    assert set(solution.spike_events[solution.spike_neurons >= 0]) == {0, 1}
    assert set(solution.spike_events[solution.spike_neurons < 0]) <= {-1}
    only = ssnn.simulate(network("slif"), engine="julia", **RUN)
    assert set(only.spike_events[only.spike_neurons >= 0]) == {0}


def test_two_constant_hazards_are_independent_poisson_processes(engine):
    model = ssnn.EventSDE(
        "dx/dt = 0",
        events=[ssnn.Event(hazard="a"), ssnn.Event(hazard="b", then="x += 1")],
        parameters=dict(a=3.0, b=2.0),
    )
    samples = 300 if engine == "reference" else 1200
    run = dict(t1=1.0, dt=0.25, num_samples=samples, seed=7, saveat=[1.0], engine=engine)
    solution = ssnn.simulate(ssnn.Network(model), **run)
    counts = np.array([(solution.spike_events == event).sum(axis=1) for event in (0, 1)])
    for count, rate in zip(counts, (3.0, 2.0), strict=True):
        assert abs(count.mean() - rate) < 4 * np.sqrt(rate / samples)
        assert abs(count.var() - rate) < 4 * np.sqrt((rate + 2 * rate**2) / samples)
    assert abs(np.cov(counts)[0, 1]) < 4 * np.sqrt(6.0 / samples)
    np.testing.assert_array_equal(solution.states["x"][:, 0, 0], counts[1])


def test_a_crossing_that_changes_nothing_comes_once_a_period(engine):
    """It comes from below only, and not again before the state has been below the curve."""
    solution = ssnn.simulate(
        ssnn.Network(OSCILLATOR), t1=5.0, dt=0.01, solver="stochastic_heun", engine=engine, saveat=[5.0]
    )
    times = solution.spike_times[0]
    period = 2 * np.pi / 6.0
    assert len(times) == np.floor((5.0 - times[0]) / period) + 1
    np.testing.assert_allclose(np.diff(times), period, rtol=1e-3)
    # x = −cos ωt meets a·y = a·ω·sin ωt where tan ωt = −1/(aω).
    first = (np.pi - np.arctan(1 / (0.05 * 6.0))) / 6.0
    assert times[0] == pytest.approx(first, rel=1e-3)


def test_a_synapse_can_push_a_target_over_its_threshold(julia):
    model = ssnn.EventSDE(
        "dv/dt = I - v",
        events=ssnn.Event(crossing="v - 1", then="v = 0"),
        synapse="v += w",
    )
    net = ssnn.Network(model, [[0.0, 2.0], [0.0, 0.0]], input_current=[2.0, 0.0])
    solution = ssnn.simulate(net, t1=1.0, dt=0.01, engine="julia")
    assert solution.spike_neurons[0].tolist() == [0, 1]
    assert solution.spike_times[0, 0] == solution.spike_times[0, 1]


def test_parameters_per_neuron_and_per_sample(engine):
    """Each neuron and sample is as it were alone with its values."""
    rate = np.array([[2.0, 20.0], [5.0, 0.5]])
    model = ssnn.EventSDE("dv/dt = -v*k", events=ssnn.Event(hazard="r"), parameters=dict(k=[1.0, 2.0], r=1.0))
    net = ssnn.Network(model, n=2, r=rate, v0=3.0)
    solution = ssnn.simulate(net, t1=1.0, dt=0.01, num_samples=2, saveat=[1.0], engine=engine, solver="shark")
    np.testing.assert_allclose(solution.states["v"][:, 0], 3 * np.exp([[-1, -2]] * 2), rtol=3e-4)
    gradient = solution.vjp(states_bar={"v": 1.0})
    assert gradient["r"].shape == (2, 2)
    assert gradient["k"].shape == (2,)
    np.testing.assert_allclose(gradient["v0"], 2 * (np.exp(-1) + np.exp(-2)), rtol=1e-4)
    with pytest.raises(ssnn.ValidationError, match="r has shape"):
        ssnn.simulate(net, t1=1.0, dt=0.01, num_samples=3, engine=engine)


def test_unbiased_gradients_are_those_of_the_tuned_model(julia):
    tuned = ssnn.SLIFNetwork(WEIGHTS, input_current=[1.5, 1.2], mu=(15.0, 20.0), sigma=0.25)
    loss = ssnn.SampleMean(lambda trains: (trains.num_spikes, None), order_matters=False)
    run = dict(t1=1.0, dt=0.01, num_samples=64, seed=5, saveat=0.5, engine="julia", gradient="unbiased")
    value, mine = ssnn.value_and_grad(loss, tuned, ["v_reset", "beta", "weights"], **run)
    same, theirs = ssnn.value_and_grad(loss, network("slif"), ["v_reset", "beta", "weights"], **run)
    assert same == pytest.approx(value, rel=1e-12)
    for name, gradient in mine.items():
        np.testing.assert_allclose(theirs[name], gradient, rtol=1e-9, atol=1e-12)


def test_the_unbiased_gradient_is_that_of_the_expectation(julia):
    """E[events in (0, 1)] at the rate r·x, dx/dt = −k·x, x0 = 1, is r·(1 − exp(−k))/k."""
    model = ssnn.EventSDE("dx/dt = -k*x", events=ssnn.Event(hazard="r*x"), parameters=dict(k=1.5, r=6.0))
    net = ssnn.Network(model, x0=1.0)
    counts = ssnn.SampleMean(lambda trains: (trains.num_spikes, None))
    run = dict(t1=1.0, dt=0.01, num_samples=20_000, seed=1, engine="julia", solver="shark", gradient="unbiased")
    value, gradient = ssnn.value_and_grad(counts, net, ["r", "k", "x0"], **run)
    k, r = 1.5, 6.0
    integral = (1 - np.exp(-k)) / k
    slope = (np.exp(-k) * (k + 1) - 1) / k**2
    assert abs(value - r * integral) < 4 * np.sqrt(r * integral / 20_000)
    assert gradient["r"] == pytest.approx(integral, rel=0.03)
    assert gradient["k"] == pytest.approx(r * slope, rel=0.03)
    assert gradient["x0"] == pytest.approx(r * integral, rel=0.03)


def test_what_has_no_gradient_says_why(julia):
    noisy_threshold = ssnn.EventSDE(
        "dv/dt = I - v + 0.2*xi", events=ssnn.Event(crossing="v - 1", then="v = 0"), synapse="v += w"
    )
    solution = ssnn.simulate(ssnn.Network(noisy_threshold, input_current=2.0), t1=1.0, dt=0.01, engine="julia")
    with pytest.raises(ssnn.NoGradientError, match=r"condition \(i\) fails for events\[0\].*xi"):
        solution.vjp(1.0)
    hard = ssnn.EventSDE("dv/dt = 1 - v + s*xi", ssnn.Event(hazard="exp(v)", then="v = 0"), parameters=dict(s=0.2))
    with pytest.raises(ssnn.NoGradientError, match=r"condition \(iii\) fails for events\[0\]"):
        ssnn.Network(hard).check_gradients()
    ssnn.Network(hard, s=0.0).check_gradients()  # without noise there is nothing to forget
    with pytest.raises(ssnn.NoGradientError, match="crossing"):
        ssnn.Network(BALL).check_unbiased_gradients()
    with pytest.raises(ssnn.NoGradientError, match="one event"):
        ssnn.Network(TWO_EVENTS).check_unbiased_gradients()
    # Conditions on synapses count where there are some.
    saturating = ssnn.EventSDE("dv/dt = 0.2*xi", ssnn.Event(hazard="1"), synapse="v += w*(1 - v)")
    ssnn.Network(saturating).check_gradients()
    with pytest.raises(ssnn.NoGradientError, match=r"condition \(iii\) fails for the synapse"):
        ssnn.Network(saturating, WEIGHTS).check_gradients()


def test_conditions_are_explained(capsys):
    network("adex").check_gradients(explain=True)
    table = capsys.readouterr().out
    for condition in ("(i)", "(ii)", "(iii)", "(iv)", "(v)"):
        assert condition in table
    ssnn.SLIFNetwork(WEIGHTS).check_gradients(explain=True)
    assert capsys.readouterr().out.count("holds") == 5


def test_solvers_refuse_what_they_cannot_do():
    for name, solver, why in (
        ("slif", "exact_ou", "linear drift of an SLIFNetwork"),
        ("rough", "shark", "additive noise only"),
        ("rough", "milstein", "noises that commute"),
    ):
        with pytest.raises(ssnn.ValidationError, match=f"{solver}.*{why}.*take one of euler_maruyama"):
            ssnn.simulate(network(name), solver=solver, **RUN)


def test_sciml_refuses_a_model_before_it_asks_for_a_julia():
    crossing = r"takes models from formulas with one event, which is a hazard's, and this one has 1 \(crossing\)"
    for solver in ("sciml:EM", "sciml:Tsit5"):
        with pytest.raises(ssnn.ValidationError, match=r"one event.* has 2 \(hazard, hazard\); take a native solver"):
            ssnn.simulate(network("two events"), solver=solver, **RUN)
        with pytest.raises(ssnn.ValidationError, match=crossing):
            ssnn.simulate(network("ball"), solver=solver, **RUN)


def zoned(**parameters):
    events = [ssnn.Event(hazard="1"), ssnn.Event(hazard="1", dead_zone="zone + log(c)")]
    model = ssnn.EventSDE("dv/dt = -v\nzone = a - b", events=events, parameters=dict(a=2.0, b=1.0, c=1.0))
    return ssnn.Network(model, **parameters)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: zoned(b=3), "is -1.0 where a=2.0, b=3.0, c=1.0"),
        (lambda: zoned(c=-1.0), "is nan where a=2.0, b=1.0, c=-1.0"),
        (lambda: zoned(n=2, b=[2.0, 4.0]), "is -2.0 where a=2.0, b=4.0, c=1.0"),
        (lambda: zoned(n=2, b=[2.0, 4.0], a=[[5.0], [3.0]]), "is -1.0 where a=3.0, b=4.0, c=1.0"),
        (lambda: zoned().replace(b=3.0), "is -1.0 where a=2.0, b=3.0, c=1.0"),
    ],
)
def test_a_dead_zone_that_is_negative_at_the_values_of_parameters_is_refused(make, message):
    with pytest.raises(ssnn.ValidationError) as caught:
        make()
    start = "events[1].dead_zone must be finite and not negative, but zone + log(c) "
    assert str(caught.value) == start + message


def test_a_dead_zone_that_is_not_negative_is_taken():
    zoned(b=2.0)
    zoned().replace(a=5.0, b=3.0)
    zoned(n=2, b=[[2.0], [1.0]], a=[2.0, 3.0])


#: Names of arguments, and of what formulas are computed with in Python, SymPy and Julia.
NAMES = (
    *("self", "cls", "model", "formula", "text", "name", "value", "weight", "s", "t0", "seed", "intensity", "alpha"),
    *("np", "E", "S", "beta", "Symbol", "end", "function", "nothing", "y", "p", "out", "x1"),
)


def test_parameters_may_have_any_name(engine):
    squares = " + ".join(f"{name}**2" for name in NAMES)
    values = dict.fromkeys(NAMES, 0.1)
    model = ssnn.EventSDE(f"dv/dt = 1 - ({squares})*v", ssnn.Event(hazard="1"), parameters=values)
    model = model.replace(**dict.fromkeys(NAMES, 0.2))
    net = ssnn.Network(model, **dict.fromkeys(NAMES, 0.3)).replace(**values)
    gradients = ssnn.simulate(net, 0.5, 0.1, saveat=0.5, engine=engine).vjp(wrt=NAMES, v_bar=1.0)
    assert len({float(value) for value in gradients.values()}) == 1


def test_parameters_of_an_intensity_and_of_a_current_may_have_any_name(engine):
    names = [name for name in NAMES if name not in ("alpha", "beta", "intensity")]  # the network's own
    rate, current = names[::2], names[1::2]
    squares = [" + ".join(f"{name}**2" for name in part) for part in (rate, current)]
    net = ssnn.SLIFNetwork(
        [[0.0]],
        ssnn.FormulaCurrent(f"({squares[1]})*t", **dict.fromkeys(current, 0.2)).replace(**dict.fromkeys(current, 0.3)),
        intensity=ssnn.FormulaIntensity(f"exp(({squares[0]})*v)", **dict.fromkeys(rate, 0.2)),
    ).replace(**dict.fromkeys(names, 0.4))
    solution = ssnn.simulate(net, 1.0, 0.1, max_spikes=1, engine=engine)
    gradients = solution.vjp(1.0, wrt=names)
    assert solution.num_spikes[0] == 1
    assert len({float(gradients[name]) for name in rate}) == 1
    assert len({float(gradients[name]) for name in current}) == 1


def test_a_parameter_with_the_name_of_another_part_is_refused():
    with pytest.raises(ssnn.ValidationError, match="input_current must not have a parameter named 'intensity'"):
        ssnn.SLIFNetwork([[0.0]], ssnn.FormulaCurrent("intensity*t", intensity=1.0))
    for name in ("input_current", "diffusion"):
        with pytest.raises(ssnn.ValidationError, match=f"must not have a parameter named '{name}'"):
            ssnn.SLIFNetwork([[0.0]], 1.0, intensity=ssnn.FormulaIntensity(f"exp({name}*v)", **{name: 1.0}))
    net = ssnn.SLIFNetwork([[0.0]], ssnn.FormulaCurrent("input_current*t", input_current=1.0))
    assert net.replace(input_current=2.0).parameters["input_current"] == 2.0


def test_parts_by_formula_show_how_they_are_made():
    for part in (ssnn.FormulaIntensity("exp(a*v)", a=2.0), ssnn.FormulaCurrent("formula*t", formula=2.0)):
        assert eval(repr(part), {type(part).__name__: type(part)}) == part


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ssnn.Network("dv/dt = -v"), "model must be an EventSDE"),
        (lambda: ssnn.Network(BALL, WEIGHTS), "without a synapse statement"),
        (lambda: ssnn.Network(BALL, input_current=1.0), "input_current must not be given"),
        (lambda: ssnn.Network(BALL, mass=1.0), "unknown parameter 'mass'; this model has g, c, k"),
        (lambda: ssnn.Network(BALL, g=np.ones(3), n=2), "g has shape"),
        (lambda: ssnn.Network(BALL, g=np.nan), "g must be finite"),
        (lambda: ssnn.Network(SLIF, WEIGHTS, n=3), "n must be the number of neurons of weights, 2"),
        (lambda: ssnn.Network(SLIF, n=0), "n must be"),
        (lambda: ssnn.Network(SLIF).replace(weights=WEIGHTS), "unknown parameter 'weights'"),
        (lambda: ssnn.simulate(ssnn.Network(BALL), 1.0, 0.1, v0=1.0), "v0 is not an initial value"),
        (lambda: ssnn.simulate(ssnn.Network(BALL), 1.0, 0.1, engine="julia").vjp(v_bar=1.0), "v_bar must be of a var"),
        (lambda: ssnn.simulate(ssnn.Network(BALL), 1.0, 0.1, engine="julia").vjp(states_bar={"z": 1.0}), "unknown var"),
    ],
)
def test_bad_arguments_are_named(make, message, julia):
    with pytest.raises(ssnn.ValidationError, match=message):
        make()


def test_a_model_without_v_says_what_it_has(julia):
    solution = ssnn.simulate(ssnn.Network(BALL), 1.0, 0.1, engine="julia")
    with pytest.raises(AttributeError, match="no variable v: states has h, u"):
        _ = solution.v


def test_initial_values_are_parameters(julia):
    net = ssnn.Network(ADEX, input_current=1.5)
    assert {"v0", "i0"} <= set(net.parameters)
    assert "a0" not in net.parameters  # a formula of c
    one = ssnn.simulate(net.replace(v0=0.4), engine="julia", **RUN)
    other = ssnn.simulate(net, engine="julia", v0=0.4, **RUN)
    assert one == other
    assert one.states["v"][0, 0, 0] == 0.4
    assert one.states["a"][0, 0, 0] == pytest.approx(0.06)


def test_networks_are_values(tmp_path, julia):
    net = network("adex")
    solution = ssnn.simulate(net, engine="julia", **RUN)
    for twin in (copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
        assert twin == net
        assert hash(twin) == hash(net)
        assert ssnn.simulate(twin, engine="julia", **RUN) == solution
    assert net.replace(b=0.2) != net
    assert pickle.loads(pickle.dumps(solution)).vjp(1.0)["b"] == solution.vjp(1.0)["b"]


def test_a_fit_finds_a_parameter_of_a_formula(julia):
    truth = ssnn.Network(SLIF, input_current=1.5)
    data = ssnn.simulate(truth, t1=1.0, dt=0.01, num_samples=128, seed=11, max_spikes=5, engine="julia").spike_trains
    result = ssnn.fit(
        truth.replace(input_current=1.1), data, ssnn.ExpectedSignatureLoss(depth=3), "input_current", 60,
        ssnn.Adam(0.02), t1=1.0, dt=0.01, max_spikes=5, engine="julia",
    )  # fmt: skip
    assert abs(float(result.parameters["input_current"]) - 1.5) < 0.15


@pytest.mark.parametrize("solver", ["euler_maruyama", "stochastic_heun", "exact_ou"])
def test_an_intensity_and_a_current_of_ones_own(solver, julia):
    """Both engines, both modes; the softplus intensity and the current are in none of them."""
    net = ssnn.SLIFNetwork(
        WEIGHTS,
        input_current=ssnn.FormulaCurrent("a + b*sin(2*pi*f*t)", a=1.3, b=0.4, f=[1.0, 2.0]),
        mu=(15.0, 20.0),
        sigma=0.25,
        intensity=ssnn.FormulaIntensity("s*log(1 + exp(beta*(v - v_th)))", beta=5.0, v_th=0.8, s=3.0),
    )
    run, rng = RUN | dict(solver=solver, t1=1.0), np.random.default_rng(3)
    one, other = (ssnn.simulate(net, engine=engine, **run) for engine in ("reference", "julia"))
    np.testing.assert_allclose(one.spike_times, other.spike_times, rtol=0, atol=1e-9)
    np.testing.assert_allclose(one.v, other.v, rtol=0, atol=1e-9)
    direction = directions(one, rng)
    mine, theirs = one.tangents(direction), other.tangents(direction)
    np.testing.assert_allclose(mine.spike_times, theirs.spike_times, rtol=1e-8, atol=1e-9)
    finite = np.isfinite(one.spike_times)
    gradients = one.vjp(finite.astype(float), v_bar=1.0)
    forward = mine.spike_times[0][finite].sum() + mine.v.sum()
    assert sum((gradients[key] * direction[key]).sum() for key in direction) == pytest.approx(forward, rel=1e-10)


def test_a_formula_that_is_a_known_intensity_is_it(julia):
    exponential = ssnn.ExponentialIntensity(beta=5.0, v_th=1.0, tau=2.0)
    text = ssnn.FormulaIntensity("exp(beta*min(v - v_th, 10))/tau", beta=5.0, v_th=1.0, tau=2.0)
    v = np.linspace(-1, 2, 7)
    np.testing.assert_allclose(text(v), exponential(v), rtol=1e-14)
    one, other = (
        ssnn.simulate(ssnn.SLIFNetwork(WEIGHTS, 1.5, sigma=0.3, intensity=x), engine="julia", **RUN)
        for x in (exponential, text)
    )
    np.testing.assert_allclose(one.spike_times, other.spike_times, rtol=1e-13)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ssnn.FormulaIntensity("exp(u)"), "unknown name u"),
        (lambda: ssnn.FormulaIntensity("exp(v)", beta=1.0), "must use every parameter, and does not use 'beta'"),
        (lambda: ssnn.FormulaIntensity("exp(v"), "formula"),
        (lambda: ssnn.FormulaIntensity("-1"), "formula, line 1: an intensity is a rate, which must be positive"),
        (lambda: ssnn.FormulaIntensity("0"), "formula, line 1: an intensity is a rate, which must be positive"),
        (lambda: ssnn.FormulaIntensity("1 - pi"), "formula, line 1: an intensity is a rate, which must be positive"),
        (lambda: ssnn.FormulaIntensity("(-2)**v"), "a negative number has powers at whole exponents only"),
        (lambda: ssnn.FormulaIntensity("w*v"), "w is the weight of a synapse, which cannot stand here"),
        (lambda: ssnn.FormulaIntensity("xi_1*v", xi_1=1.0), "parameter named 'xi_1', a white noise"),
        (lambda: ssnn.FormulaIntensity("dt*v", dt=1.0), "parameter named 'dt', a part of dX/dt"),
        (lambda: ssnn.FormulaIntensity("if*v", **{"if": 1.0}), "parameter named 'if', a word of Python's"),
        (lambda: ssnn.FormulaIntensity("v", v=1.0), "parameter named 'v', the variable of formula"),
        (lambda: ssnn.FormulaIntensity("a", **{"a b": 1.0}), "names of letters, digits and _, got 'a b'"),
        (lambda: ssnn.FormulaCurrent("I*t", I=1.0), "parameter named 'I', the input current"),
        (lambda: ssnn.FormulaIntensity("v*beta", beta=np.nan), "beta must be finite"),
        (lambda: ssnn.FormulaCurrent("sin(t*v)"), "unknown name v"),
        (lambda: ssnn.FormulaCurrent("exp*t", exp=1.0), "formula must not have a parameter named 'exp', a function"),
        (lambda: ssnn.FormulaCurrent(3.0), "formula must be a text"),
    ],
)
def test_bad_formulas_of_parts_are_named(make, message):
    with pytest.raises(ssnn.ValidationError, match=message):
        make()


def test_networks_show_their_equations():
    net = network("adex")
    assert set(net.equations.drift) == {"v", "a", "i"}
    assert "dB" in net._repr_latex_()
    assert "v, a, i" in repr(net)


def test_sympy_is_imported_only_where_it_is_needed(tmp_path, julia):
    """Not with the package; nor by a process that finds the code of its model in the cache."""
    program = """
import sys
import ssnn_py as ssnn
model = ssnn.EventSDE("dx/dt = -x*k", ssnn.Event(hazard="x**2"), parameters=dict(k=1.0), initial=dict(x=1.0))
net = ssnn.Network(model)
before = "sympy" in sys.modules
ssnn.simulate(net, 1.0, 0.1, engine="julia")
print(before, "sympy" in sys.modules)
"""
    said = []
    for _ in range(2):
        environment = {**os.environ, "SSNN_CACHE_DIR": str(tmp_path), "PYTHONPATH": os.pathsep.join(sys.path)}
        shelf = debian.cache_dir()
        for name in ("compiled", *(path.name for path in shelf.glob("*julia*"))):
            if (shelf / name).exists() and not (tmp_path / name).exists():
                (tmp_path / name).symlink_to(shelf / name)
        done = subprocess.run(
            [sys.executable, "-c", program], env=environment, capture_output=True, text=True, timeout=300, check=True
        )
        said.append(done.stdout.split())
    assert said == [["False", "True"], ["False", "False"]]


@pytest.mark.parametrize("solver", SOLVERS)
def test_a_model_may_have_no_parameters(solver, julia):
    """Nor a current with any."""
    model = ssnn.EventSDE(
        "dx/dt = 2*(I - x) + 0.2*xi", ssnn.Event(hazard="exp(x)", then="x -= 1"), initial=dict(x="0.5")
    )
    current = ssnn.JuliaFunction("t -> 1 + t", derivative="t -> 1.0")
    net = ssnn.Network(model, n=2, input_current=current)
    assert not net.parameters
    run = dict(t1=1.0, dt=0.01, seed=3, solver=solver, engine="julia", saveat=[1.0])
    solution = ssnn.simulate(net, **run)
    assert solution.vjp(1.0) == {}
    same = ssnn.Network(model, n=2, input_current=ssnn.FormulaCurrent("a + t", a=1.0))
    np.testing.assert_allclose(ssnn.simulate(same, **run).spike_times, solution.spike_times, rtol=1e-12)


def test_a_crossing_where_a_step_and_a_record_end(engine):
    """It comes there, once; rounding may make it the next step's. The state is that after it, or just before."""
    model = ssnn.EventSDE("dx/dt = 1", ssnn.Event(crossing="x - 1", then="x = 0"))
    for start, times, states in ((0.0, [1, 2, 3], [0, 0, 0]), (-1e-16, [1, 2], [1, 1, 1]), (1.0, [], [2, 3, 4])):
        solution = ssnn.simulate(ssnn.Network(model, x0=start), 3.0, 0.25, saveat=[1.0, 2.0, 3.0], engine=engine)
        np.testing.assert_allclose(solution.spike_times[0], times, rtol=1e-15)
        np.testing.assert_allclose(solution.states["x"].ravel(), states, rtol=1e-15, atol=1e-15)


# Spikes at multiples of 1/8, where steps, leaves and records end: v moves in numbers without rounding.
ON_THE_GRID = ssnn.EventSDE(
    """
    du/dt = -u
    dv/dt = I
    """,
    ssnn.Event(crossing="v - a", then="v -= b; u += c"),
    synapse="v += w; u += w",
    parameters=dict(a=1.0, b=1.0, c=0.5),
)


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize(("dt", "max_spikes"), [(0.125, None), (2.0, None), (0.125, 2)])
def test_a_spike_where_a_step_ends_moves_as_any_other(dt, max_spikes, solver, engine):
    """That is spike k at (a + k·b − v0)/I, and v = v0 + I·t − b·(spikes until t), also where a sample ends there."""
    saveat = np.array([0.5, 1.0, 1.25, 2.0, 3.0])
    run = dict(t1=3.0, dt=dt, solver=solver, saveat=saveat, max_spikes=max_spikes, engine=engine)
    solution = ssnn.simulate(ssnn.Network(ON_THE_GRID, input_current=1.0), **run)
    times = np.array([1.0, 2.0, 3.0])[:max_spikes]
    reached = saveat <= (3.0 if max_spikes is None else times[-1])
    counts = (times[:, None] <= saveat).sum(axis=0)
    np.testing.assert_array_equal(solution.spike_times, [times])
    v = np.where(reached, saveat - counts, np.nan)
    np.testing.assert_allclose(solution.v[0, :, 0], v, rtol=0, atol=1e-14)
    expected = {
        "a": (np.ones(times.size), np.zeros(5)),
        "b": (np.arange(times.size), -counts),
        "v0": (-np.ones(times.size), np.ones(5)),
        "input_current": (-times, saveat),
    }
    times_bar, v_bar = np.arange(1.0, 1.0 + times.size), np.arange(2.0, 7.0)
    gradients = solution.vjp(times_bar, v_bar=v_bar[None, :, None])
    for name, (dtimes, dv) in expected.items():
        assert gradients[name].item() == pytest.approx(times_bar @ dtimes + (v_bar * dv)[reached].sum(), abs=1e-9)
    direction = dict(zip(expected, (0.3, -0.7, 1.1, 0.9), strict=True))
    dtimes, dv = (sum(direction[name] * pair[k] for name, pair in expected.items()) for k in (0, 1))
    tangents = solution.tangents(direction)
    np.testing.assert_allclose(tangents.spike_times[0, 0], dtimes, rtol=0, atol=1e-9)
    np.testing.assert_allclose(tangents.states["v"][0, 0, reached, 0], dv[reached], rtol=0, atol=1e-9)


# Weights, currents, and how many neurons fire at time 1.
COUPLED = {
    "two": ([[0.0, 0.25], [0.25, 0.0]], [1.0, 1.0], 2),
    "a chain": ([[0.0, 0.75, 0.0], [0.0, 0.0, 0.5], [0.25, 0.0, 0.25]], [1.0, 0.5, 0.5], 3),
    "apart": (np.zeros((3, 3)), [1.0, 1.0, 1.0], 3),
    "a target that does not fire": ([[0.0, 0.25], [0.0, 0.0]], [1.0, 0.5], 1),
}


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize(
    ("name", "dt"),
    [
        ("two", 0.125),
        ("two", 2.0),
        ("a chain", 0.25),
        ("apart", 0.125),
        (list(COUPLED)[-1], 0.5),
        (list(COUPLED)[-1], 2.0),
    ],
)
def test_several_spikes_where_a_step_ends(name, dt, solver, julia):
    """All at that very time, in both engines; derivatives are those from the side on which neuron 0 comes first."""
    weights, current, at_once = COUPLED[name]
    net = ssnn.Network(ON_THE_GRID, weights, input_current=current)
    run = dict(t1=1.75, dt=dt, solver=solver, saveat=[0.5, 1.0, 1.5, 1.75])
    full = ssnn.simulate(net, engine="julia", **run)
    assert (full.spike_times == 1.0).sum() == at_once
    rng = np.random.default_rng(4)
    ahead = -np.sort(-rng.uniform(size=net.num_neurons))
    direction = {"input_current": ahead, "a": -0.25, "b": -0.5, "c": 0.75, "u0": 0.5, "v0": 0.25}
    direction["weights"] = 0.5 * (net.parameters["weights"] != 0)
    for max_spikes in (None, 1, 2):
        one, other = (
            ssnn.simulate(net, engine=engine, max_spikes=max_spikes, **run) for engine in ("reference", "julia")
        )
        np.testing.assert_array_equal(one.spike_neurons, other.spike_neurons)
        np.testing.assert_allclose(one.spike_times, other.spike_times, rtol=0, atol=1e-9)
        mine, theirs = one.tangents(direction), other.tangents(direction)
        np.testing.assert_allclose(mine.spike_times, theirs.spike_times, rtol=0, atol=1e-9)
        bars = {state: rng.normal(size=values.shape) for state, values in one.states.items()}
        times_bar = rng.normal(size=one.spike_times.shape) * np.isfinite(one.spike_times)
        forward = (times_bar * mine.spike_times[0]).sum()
        for state, values in one.states.items():
            np.testing.assert_allclose(values, other.states[state], rtol=0, atol=1e-9)
            np.testing.assert_allclose(mine.states[state], theirs.states[state], rtol=0, atol=1e-9)
            forward += (bars[state] * np.where(np.isfinite(values), mine.states[state][0], 0.0)).sum()
        for solution in (one, other):
            gradients = solution.vjp(times_bar, states_bar=bars)
            reverse = sum(np.sum(gradients[key] * direction[key]) for key in direction)
            assert reverse == pytest.approx(forward, rel=1e-9, abs=1e-9)
        if max_spikes is None:
            step = 1e-7
            moved = {key: net.parameters[key] + step * direction[key] for key in direction}
            after = ssnn.simulate(net.replace(**moved), engine="julia", **run)
            np.testing.assert_array_equal(after.spike_neurons, other.spike_neurons)
            finite = np.isfinite(other.spike_times)
            difference = (after.spike_times - other.spike_times)[finite] / step
            np.testing.assert_allclose(mine.spike_times[0][finite], difference, rtol=0, atol=1e-5)
            # Where a solver has refined u, its value makes a jump as a spike leaves an edge (docs/numerics.md).
            for state in ("u", "v") if solver == "euler_maruyama" else "v":
                difference = (after.states[state] - other.states[state]) / step
                np.testing.assert_allclose(mine.states[state][0], difference, rtol=0, atol=1e-5)


def test_a_hazard_that_is_reached_where_a_step_ends(engine):
    """At the constant rate r the spike is at E/r, E that of r = 1."""
    model = ssnn.EventSDE("dv/dt = I", ssnn.Event(hazard="r", then="v -= b"), parameters=dict(r=1.0, b=0.5))
    net = ssnn.Network(model, input_current=2.0)
    rate = ssnn.simulate(net, t1=20.0, dt=20.0, max_spikes=1, seed=5, engine=engine).spike_times[0, 0]
    solution = ssnn.simulate(net.replace(r=rate), t1=2.0, dt=1.0, max_spikes=1, saveat=[1.0], seed=5, engine=engine)
    assert solution.spike_times[0, 0] == 1.0
    assert solution.v.item() == 1.5
    gradients = solution.vjp(1.0, v_bar=1.0)
    assert gradients["r"] == pytest.approx(-1 / rate, rel=1e-12)
    assert gradients["b"] == pytest.approx(-1.0, rel=1e-12)
    assert gradients["input_current"] == pytest.approx(1.0, rel=1e-12)
