"""The shelf: every model against SciPy's integrators or a closed form, with exact derivatives, in both engines."""

import re
from pathlib import Path

import numpy as np
import pytest
from numpy import exp
from scipy.integrate import quad, solve_ivp

import ssnn_py as ssnn
from ssnn_py import models
from ssnn_py.formulas.analysis import evaluated
from ssnn_py.formulas.grammar import parse_expression

PAIR = np.array([[0.0, 1.0], [1.0, 0.0]])
# What is on the shelf, with noise that leaves gradients; arguments of the network; t1 and dt.
SHELF = {
    "lif": (models.lif(sigma=0.4), dict(weights=80 * PAIR, input_current=[240.0, 200.0]), 60.0, 0.2),
    "lif, conductances and a threshold": (
        models.lif("conductance", "threshold"), dict(weights=PAIR, input_current=[260.0, 240.0]), 60.0, 0.2,
    ),
    "qif": (models.qif(sigma=5.0), dict(weights=40 * PAIR, input_current=[150.0, 120.0]), 60.0, 0.1),
    "theta": (models.theta(sigma=0.05), dict(weights=0.3 * PAIR, input_current=[0.5, 0.3]), 90.0, 0.5),
    "eif": (models.eif(sigma=0.4), dict(weights=PAIR, input_current=[1.0, 0.8]), 30.0, 0.05),
    "adex": (models.adex(sigma=20.0), dict(weights=100 * PAIR, input_current=[800.0, 700.0]), 40.0, 0.05),
    "izhikevich": (models.izhikevich(sigma=0.3), dict(weights=4 * PAIR, input_current=[10.0, 8.0]), 40.0, 0.05),
    "glif": (models.glif(sigma=10.0), dict(weights=50 * PAIR, input_current=[350.0, 300.0]), 30.0, 0.1),
    "hodgkin_huxley": (models.hodgkin_huxley(sigma=0.5), dict(weights=2 * PAIR, input_current=[10.0, 8.0]), 20.0, 0.02),
    "bouncing_ball": (models.bouncing_ball(sigma=0.1, k=0.05), dict(n=2, h0=[1.0, 0.7]), 1.3, 0.01),
    "jump_diffusion": (models.jump_diffusion(rho=4.0, p=0.5), dict(n=2, s0=[1.0, 1.2]), 1.0, 0.01),
}  # fmt: skip
# The same events in other models' equations.
VARIANTS = {
    "lif, conductances": (models.lif("conductance", sigma=0.4), dict(weights=PAIR, input_current=200.0), 60.0, 0.2),
    "eif, threshold": (models.eif("threshold"), dict(weights=PAIR, input_current=[1.0, 0.8]), 30.0, 0.05),
    "adex, escape": (models.adex("escape", sigma=20.0), dict(weights=100 * PAIR, input_current=800.0), 40.0, 0.05),
}


def simulated(name, engine="julia", net=None, **changes):
    model, arguments, t1, dt = (SHELF | VARIANTS)[name]
    net = ssnn.Network(model, **arguments) if net is None else net
    run = dict(t1=t1, dt=dt, num_samples=2, seed=4, saveat=t1 / 3, solver="stochastic_heun", engine=engine)
    return ssnn.simulate(net, **run | changes)


def test_everything_on_the_shelf_is_tested_and_has_gradients():
    assert {name.partition(",")[0] for name in SHELF} == set(models.__all__)
    for model, arguments, _, _ in (SHELF | VARIANTS).values():
        ssnn.Network(model, **arguments).check_gradients()
    for model in (models.lif(firing="threshold", sigma=0.1), models.eif("threshold", sigma=0.1)):
        with pytest.raises(ssnn.NoGradientError, match=r"condition \(i\)"):
            ssnn.Network(model).check_gradients()


# --- derivatives ------------------------------------------------------------------------------------------------------


def directions(solution, rng):
    """A random direction in all parameters, each moved in proportion to its size."""
    out = {}
    for name, array in solution.problem.parameters.items():
        size = np.where(array == 0, 0.0 if name == "weights" else 1.0, 0.1 * np.abs(array))
        out[name] = size * rng.normal(size=array.shape)
    return out


def scalar(solution, bars):
    times = np.where(np.isfinite(solution.spike_times), solution.spike_times, 0.0)
    return (times * bars[""]).sum() + sum((values * bars[name]).sum() for name, values in solution.states.items())


@pytest.mark.parametrize("name", SHELF)
def test_modes_agree_with_each_other_and_with_finite_differences(name, julia):
    """To rounding: forward and reverse are derivatives of one and the same map, with the noise frozen."""
    solution, rng = simulated(name), np.random.default_rng(1)
    assert solution.num_spikes.min() >= 2
    bars = {"": rng.normal(size=solution.spike_times.shape) * np.isfinite(solution.spike_times)}
    bars |= {state: rng.normal(size=values.shape) for state, values in solution.states.items()}
    direction = directions(solution, rng)
    tangents = solution.tangents(direction)
    terms = [tangents.spike_times[0] * bars[""]]
    terms += [tangents.states[state][0] * bars[state] for state in solution.states]
    forward, size = sum(term.sum() for term in terms), sum(np.abs(term).sum() for term in terms)
    gradients = solution.vjp(bars[""], states_bar={state: bars[state] for state in solution.states})
    reverse = sum((gradients[key] * direction[key]).sum() for key in direction)
    assert reverse == pytest.approx(forward, rel=1e-10)
    errors, net = [], solution.network
    for step in (1e-7, 3e-8, 1e-8):  # so small that no spike leaves its leaf, where the map is smooth
        ahead, behind = (
            simulated(name, net=net.replace(**{key: net.parameters[key] + move * direction[key] for key in direction}))
            for move in (step, -step)
        )
        difference = (scalar(ahead, bars) - scalar(behind, bars)) / (2 * step)
        errors.append(abs(difference - forward) / size)  # terms of both signs may nearly cancel
    assert min(errors) < 1e-6


@pytest.mark.parametrize("name", [*SHELF, *VARIANTS])
def test_engines_agree(name, julia):
    """Long enough for a spike to come and to reach the other neuron."""
    t1 = float(np.sort(simulated(name).spike_times[0])[0]) + 10 * (SHELF | VARIANTS)[name][3]
    mine, theirs = (simulated(name, engine, t1=t1, num_samples=1, saveat=[t1]) for engine in ("reference", "julia"))
    assert theirs.num_spikes[0] >= 1
    np.testing.assert_array_equal(mine.spike_neurons, theirs.spike_neurons)
    np.testing.assert_allclose(mine.spike_times, theirs.spike_times, rtol=0, atol=1e-9)
    for state, values in mine.states.items():
        np.testing.assert_allclose(values, theirs.states[state], rtol=1e-9, atol=1e-9)


# --- spike times without noise: SciPy's integrator, from the equations of the papers ---------------------------------


def linoid(x):
    return x / (1 - exp(-x)) if x else 1.0


def hodgkin_huxley_rates(v, m, h, n):
    return (
        120 * m**3 * h * (50 - v) + 36 * n**4 * (-77 - v) + 0.3 * (-54.4 - v) + 10,
        linoid((v + 40) / 10) * (1 - m) - 4 * exp(-(v + 65) / 18) * m,
        0.07 * exp(-(v + 65) / 20) * (1 - h) - h / (1 + exp(-(v + 35) / 10)),
        0.1 * linoid((v + 55) / 10) * (1 - n) - 0.125 * exp(-(v + 65) / 80) * n,
    )


# Model, current, t1 and a step; rates, event function, reset (None: nothing changes), and the state at the start.
DETERMINISTIC = {
    "adex": (
        models.adex(), 800.0, 150.0, 0.01,
        lambda v, w: ((30 * (-70.6 - v) + 60 * exp((v + 50.4) / 2) - w + 800) / 281, (4 * (v + 70.6) - w) / 144),
        lambda v, w: v + 40.4, lambda v, w: (-70.6, w + 80.5), (-70.6, 0.0),
    ),
    "hodgkin_huxley": (
        models.hodgkin_huxley(), 10.0, 40.0, 0.02,
        hodgkin_huxley_rates, lambda v, m, h, n: v, None, (-65.0, 0.0529, 0.5961, 0.3177),
    ),
    "lif": (
        models.lif("conductance", "threshold"), 250.0, 100.0, 0.1,
        lambda v: ((10 * (-70 - v) + 250) / 200,), lambda v: v + 50, lambda v: (-70.0,), (-70.0,),
    ),
    "qif": (
        models.qif(), 150.0, 110.0, 0.01,
        lambda v: ((0.7 * (v + 60) * (v + 40) + 150) / 100,), lambda v: v - 35, lambda v: (-50.0,), (-60.0,),
    ),
    "eif": (
        models.eif("threshold"), 1.0, 60.0, 0.01,
        lambda v: (0.1 * (-65 - v) + 0.348 * exp((v + 59.9) / 3.48) + 1,),
        lambda v: v + 42.5, lambda v: (-68.0,), (-65.0,),
    ),
    "izhikevich": (
        models.izhikevich(), 10.0, 150.0, 0.01,
        lambda v, u: (0.04 * v**2 + 5 * v + 140 - u + 10, 0.02 * (0.2 * v - u)),
        lambda v, u: v - 30, lambda v, u: (-65.0, u + 8), (-65.0, -13.0),
    ),
    "glif": (
        models.glif(), 350.0, 100.0, 0.02,
        lambda v, x, y, a, b: (
            (9.43 * (-78.85 - v) + a + b + 350) / 58.72,
            0.005 * (v + 78.85) - 0.09 * x, -0.009 * y, -0.003 * a, -0.1 * b,
        ),
        lambda v, x, y, a, b: v - (-51.68 + x + y),
        lambda v, x, y, a, b: (-78.85 + 0.2 * (v + 78.85) + 18.51, x, y + 0.37, a - 9.18, b - 198.94),
        (-78.85, 0.0, 0.0, 0.0, 0.0),
    ),
}  # fmt: skip


def integrated(rates, event, reset, state, t1):
    """The times at which the event function passes 0 from below."""
    times, t = [], 0.0

    def meets(_, y):
        return event(*y)

    meets.terminal, meets.direction = reset is not None, 1
    while True:
        out = solve_ivp(lambda _, y: rates(*y), (t, t1), state, "DOP853", events=meets, rtol=1e-10, atol=1e-10)
        times += list(out.t_events[0])
        if out.status != 1:
            return np.array(times)
        t, state = times[-1], reset(*out.y_events[0][0])


@pytest.mark.parametrize(
    ("name", "solver", "order"),
    [(name, "stochastic_heun", 2) for name in DETERMINISTIC]
    + [(name, "euler_maruyama", 1) for name in ("adex", "hodgkin_huxley")],
)
def test_spike_times_converge_to_those_of_scipy(name, solver, order, julia):
    """At the solver's order, to an error of 0.1 µs or 20 µs."""
    model, current, t1, dt, *equations = DETERMINISTIC[name]
    expected, net, errors = integrated(*equations, t1), ssnn.Network(model, input_current=current), []
    assert expected.size >= 3
    steps = dt / 2.0 ** np.arange(4 if order == 2 else 3)
    for step in steps:
        times = ssnn.simulate(net, t1=t1, dt=step, solver=solver, engine="julia").spike_times[0]
        assert times.shape == expected.shape
        errors.append(np.abs(times - expected).max())
    np.testing.assert_allclose(np.log2(np.divide(errors[:-1], errors[1:])), order, atol=0.1)
    assert errors[-1] < (1e-4 if order == 2 else 2e-2)


# --- closed forms ----------------------------------------------------------------------------------------------------


def test_the_theta_neuron_has_its_period(julia):
    """θ passes π half a period after 0, and comes back once a period; so do the derivatives by the current."""
    current = np.array([0.2, 0.5])
    net = ssnn.Network(models.theta(), n=2, input_current=current)
    period = np.pi * 10 / np.sqrt(current)
    solution = ssnn.simulate(net, t1=150.0, dt=0.05, solver="stochastic_heun", engine="julia")
    slopes = solution.jvp({"input_current": 1.0})[0]
    for k in (0, 1):
        mine = solution.spike_neurons[0] == k
        expected = period[k] * (np.arange(mine.sum()) + 0.5)
        assert expected[-1] + period[k] > 150.0
        np.testing.assert_allclose(solution.spike_times[0][mine], expected, rtol=1e-5)
        np.testing.assert_allclose(slopes[mine], -expected / (2 * current[k]), rtol=1e-4)


def test_a_ball_bounces_when_it_should(julia):
    """Heun's scheme is exact for a parabola; the straight leaves are 2^16 times as short as a step."""
    net = ssnn.Network(models.bouncing_ball(), n=2, h0=[1.0, 2.0], c=0.9)
    solution = ssnn.simulate(net, t1=10.0, dt=1e-3, max_spikes=16, solver="stochastic_heun", engine="julia")
    slopes = solution.jvp({"h0": 1.0})[0]
    for k, h0 in enumerate([1.0, 2.0]):
        mine = solution.spike_neurons[0] == k
        between = 0.9 ** np.arange(1, mine.sum())
        expected = np.sqrt(2 * h0 / 9.81) * (1 + 2 * np.append(0.0, np.cumsum(between)))
        assert expected.size >= 5
        np.testing.assert_allclose(solution.spike_times[0][mine], expected, rtol=1e-10)
        np.testing.assert_allclose(slopes[mine], expected / (2 * h0), rtol=1e-5)


def test_a_price_that_jumps_has_the_moments_of_merton(julia):
    samples, t1, mu, sigma, rho, jump = 20_000, 2.0, 0.1, 0.2, 1.5, -0.15
    net = ssnn.Network(models.jump_diffusion(mu=mu, sigma=sigma, rho=rho, J=jump))
    run = dict(t1=t1, dt=0.02, num_samples=samples, seed=3, saveat=[t1], solver="stochastic_heun", engine="julia")
    log_price = np.log(ssnn.simulate(net, **run).states["s"].ravel())
    size = np.log1p(jump)
    mean, variance = (mu - sigma**2 / 2 + rho * size) * t1, (sigma**2 + rho * size**2) * t1
    assert abs(log_price.mean() - mean) < 4 * np.sqrt(variance / samples)
    assert abs(log_price.var() - variance) < 4 * np.sqrt((2 * variance**2 + rho * size**4 * t1) / samples)


def test_a_spike_by_escape_has_its_survival_function(julia):
    """P(no spike before t) = exp(−∫λ(v)), with v of the neuron without noise."""
    samples, current = 10_000, 230.0
    net = ssnn.Network(models.lif(), input_current=current)
    run = dict(t1=80.0, dt=0.1, num_samples=samples, seed=2, max_spikes=1, solver="stochastic_heun", engine="julia")
    times = ssnn.simulate(net, **run).spike_times[:, 0]

    def rate(t):
        return 0.1 * exp(0.5 * (-70 + current / 10 * (1 - exp(-t / 20)) + 50))

    for t in (20.0, 30.0, 35.0, 40.0, 50.0):
        survival = exp(-quad(rate, 0.0, t)[0])
        assert abs((times > t).mean() - survival) < 4 * np.sqrt(survival * (1 - survival) / samples)


def test_a_step_too_long_for_the_upswing_does_not_overflow(julia):
    for model, current in (
        *((models.eif(firing), 5.0) for firing in ("threshold", "escape")),
        *((models.adex(firing), 2000.0) for firing in ("threshold", "escape")),
    ):
        solution = ssnn.simulate(ssnn.Network(model, input_current=current), t1=50.0, dt=1.0, engine="julia")
        assert solution.num_spikes[0] >= 3


# --- defaults ---------------------------------------------------------------------------------------------------------


def table_of_defaults():
    """By model, what docs/shelf.md says of each parameter: a number, or a formula of others."""
    text = (Path(__file__).parent.parent / "docs" / "shelf.md").read_text(encoding="utf-8")
    table = text.split("| model | parameters | at the start |\n")[1].split("\n\n")[0]
    rows = [row.split("`", 2)[1:] for row in table.splitlines()[1:]]
    return {name: dict(re.findall(r"`(\w+)=([^`]+)`", cells)) for name, cells in rows}


def test_the_documented_defaults_are_those_of_the_code():
    documented = table_of_defaults()
    assert set(documented) == set(models.__all__)
    ways = {
        "lif": [(synapse, firing) for synapse in ("current", "conductance") for firing in ("escape", "threshold")],
        "eif": [("escape",), ("threshold",)],
        "adex": [("escape",), ("threshold",)],
    }
    for name, said in documented.items():
        seen = set()
        for arguments in ways.get(name, [()]):
            values = getattr(models, name)(*arguments).parameters
            seen |= set(values)
            for parameter, value in values.items():
                assert float(value) == pytest.approx(float(evaluated(parse_expression(said[parameter]), values)), 1e-12)
        assert seen == set(said)


# --- arguments -------------------------------------------------------------------------------------------------------


def test_values_are_given_by_name():
    model = models.eif("threshold", v_T=[-60.0, -55.0], Delta_T=2.0)
    np.testing.assert_array_equal(model.parameters["v_peak"], [-50.0, -45.0])
    assert models.adex(v_peak=0.0).parameters["v_peak"] == 0.0
    assert models.lif(E_L=-65.0).parameters["v0"] == -65.0
    assert models.lif(E_L=-65.0, v0=-60.0).parameters["v0"] == -60.0


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: models.lif("chemical"), 'synapse must be "current" or "conductance", got \'chemical\''),
        (lambda: models.lif(firing="poisson"), 'firing must be "escape" or "threshold"'),
        (lambda: models.adex("hard"), 'firing must be "escape" or "threshold"'),
        (lambda: models.eif(["escape"]), "firing must be"),
        (lambda: models.lif(tau_m=20.0), "unknown parameter 'tau_m'; this model has C, g_L"),
        (lambda: models.lif(v_peak=0.0), "unknown parameter 'v_peak'"),
        (lambda: models.lif(firing="threshold", beta=1.0), "unknown parameter 'beta'"),
        (lambda: models.lif(E_s=0.0), "unknown parameter 'E_s'"),
        (lambda: models.lif(E_L="rest"), "E_L must be"),
        (lambda: models.lif(E_L=np.inf), "E_L must be finite"),
        (lambda: models.lif(C="a lot"), "C must be"),
        (lambda: models.eif(v_T="low"), "v_T must be"),
        (lambda: models.eif(v_T=[-60.0, -55.0], Delta_T=[1.0, 2.0, 3.0]), "v_T and Delta_T"),
        (lambda: models.theta(theta=0.0), "unknown parameter 'theta'"),
        (lambda: models.jump_diffusion(J=np.nan), "J must be finite"),
        (lambda: ssnn.Network(models.bouncing_ball(), [[0.0]]), "without a synapse statement"),
        (lambda: ssnn.Network(models.jump_diffusion(), input_current=1.0), "input_current must not be given"),
    ],
)
def test_bad_arguments_are_named(make, message):
    with pytest.raises(ssnn.ValidationError, match=message):
        make()
