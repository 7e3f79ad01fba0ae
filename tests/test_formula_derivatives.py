"""Derivatives of formulas where slopes are infinite, undefined or one-sided: both modes and both engines agree, with
what is true there; and what has no derivative says so.
"""

import re

import numpy as np
import pytest

import ssnn_py as ssnn

# A formula, values of its parameters, its value, and its derivatives by the parameters in their order.
CASES = [
    ("h**p/(h**p + 1)", dict(h=0.0, p=2.0), 0.0, [0.0, 0.0]),
    ("h**p", dict(h=0.0, p=1.0), 0.0, [1.0, 0.0]),
    ("h**p", dict(h=0.0, p=1.5), 0.0, [0.0, 0.0]),
    ("h**p + h", dict(h=2.0, p=0.0), 3.0, [1.0, np.log(2.0)]),
    ("h**2.5", dict(h=0.0), 0.0, [0.0]),
    ("(h - 3)**3", dict(h=1.0), -8.0, [12.0]),
    ("2**p", dict(p=3.0), 8.0, [8.0 * np.log(2.0)]),
    ("h**-2", dict(h=2.0), 0.25, [-0.25]),
    ("1/(h*k)", dict(h=2.0, k=4.0), 0.125, [-0.0625, -0.03125]),
    ("sqrt(max(h, 0))", dict(h=-1.0), 0.0, [0.0]),
    ("sqrt(max(h, 0))", dict(h=4.0), 2.0, [0.25]),
    ("max(h, 0)**p", dict(h=-1.0, p=0.5), 0.0, [0.0, 0.0]),
    ("sqrt(h*k)*k", dict(h=0.0, k=0.0), 0.0, [0.0, 0.0]),
    ("where(h > 0, log(h), 0)", dict(h=0.0), 0.0, [0.0]),
    ("where(h > 0, log(h), 0)", dict(h=-1.0), 0.0, [0.0]),
    ("where(h > 0, log(h)*k, k)", dict(h=2.0, k=3.0), 3.0 * np.log(2.0), [1.5, np.log(2.0)]),
    ("where(abs(h) < 1e-6, 1 + h/2, h/(1 - exp(-h)))", dict(h=0.0), 1.0, [0.5]),
    ("where(h != 0, h/h**2*k, k)", dict(h=0.0, k=2.0), 2.0, [0.0, 1.0]),
    ("max(log(h), 0)", dict(h=0.0), 0.0, [0.0]),
    ("abs(h)", dict(h=-2.0), 2.0, [-1.0]),
    ("abs(h)", dict(h=0.0), 0.0, [0.0]),
    ("max(h, 0)", dict(h=0.0), 0.0, [0.5]),
    ("min(h, k)", dict(h=1.0, k=1.0), 1.0, [0.5, 0.5]),
    ("clip(h, 0, 1)", dict(h=1.0), 1.0, [0.5]),
    ("clip(h, 0, 1)", dict(h=0.5), 0.5, [1.0]),
    ("min(h, k, 3*h - 1)", dict(h=1.0, k=5.0), 1.0, None),
    ("piecewise(h < 0, 1, h < k, h*k, k**2)", dict(h=0.5, k=1.0), 0.5, [1.0, 0.5]),
    ("piecewise(h < 0, 1, h < k, h*k, k**2)", dict(h=2.0, k=1.0), 1.0, [0.0, 2.0]),
    ("where(h >= where(k > 1, 2, 3), h*k, 0)", dict(h=2.5, k=2.0), 5.0, [2.0, 2.5]),
    ("where(h >= where(k > 1, 2, 3), h*k, 0)", dict(h=2.5, k=1.0), 0.0, [0.0, 0.0]),
    ("where(h >= 2 and k < where(h > 2, 3, 1), h, k)", dict(h=2.5, k=2.0), 2.5, [1.0, 0.0]),
    ("where(h >= 2 and k < where(h > 2, 3, 1), h, k)", dict(h=2.0, k=2.0), 2.0, [0.0, 1.0]),
    ("tanh(h)*sin(k) + cos(h*k)", dict(h=0.3, k=0.7), None, None),
    ("exp(-h)*log(k) + sqrt(k)", dict(h=0.3, k=0.7), None, None),
]


def solved(formula, parameters, engine):
    net = ssnn.Network(ssnn.EventSDE(f"dv/dt = {formula}", parameters=parameters))
    return ssnn.simulate(net, t1=1.0, dt=1.0, saveat=[1.0], solver="euler_maruyama", engine=engine)


def together(cases, engine, moved=None):
    """The values of formulas as states of one network, in which their parameters have names of their own."""
    lines, values = [], {}
    for place, (formula, parameters, *_) in enumerate(cases):
        for name, value in parameters.items():
            formula = re.sub(rf"\b{name}\b", f"{name}_{place}", formula)
            values[f"{name}_{place}"] = value
        lines.append(f"dv_{place}/dt = {formula}")
    net = ssnn.Network(ssnn.EventSDE("\n".join(lines), parameters={**values, **(moved or {})}))
    return ssnn.simulate(net, t1=1.0, dt=1.0, saveat=[1.0], solver="euler_maruyama", engine=engine)


def by_vjp(solution, place, names):
    gradients = solution.vjp(states_bar={f"v_{place}": np.ones((1, 1, 1))}, wrt=names)
    return [float(gradients[name]) for name in names]


def by_jvp(solution, place, names):
    return [float(solution.tangents({name: 1.0}).states[f"v_{place}"].item()) for name in names]


@pytest.mark.parametrize("first", range(0, len(CASES), 8))
def test_slopes_at_singular_points(first, julia):
    cases = CASES[first : first + 8]
    solutions = [together(cases, engine) for engine in ("julia", "reference")]
    for place, (formula, parameters, value, slopes) in enumerate(cases):
        names, tolerance = tuple(f"{name}_{place}" for name in parameters), 1e-12
        if slopes is None:
            slopes, tolerance = [differences(cases, place, name, parameters[name]) for name in parameters], 1e-7
        for solution in solutions:
            if value is not None:
                assert solution.states[f"v_{place}"].item() == pytest.approx(value, abs=1e-12), formula
            assert by_vjp(solution, place, names) == pytest.approx(slopes, abs=tolerance), formula
            assert by_jvp(solution, place, names) == pytest.approx(slopes, abs=tolerance), formula


def differences(cases, place, name, value, h=1e-6):
    ends = [together(cases, "julia", {f"{name}_{place}": value + shift}) for shift in (h, -h)]
    high, low = (solution.states[f"v_{place}"].item() for solution in ends)
    return (high - low) / (2 * h)


@pytest.mark.parametrize("case", [CASES[16], CASES[22]], ids=lambda case: case[0])
def test_parts_have_the_same_slopes(case, julia):
    formula, parameters, value, slopes = case
    current = ssnn.FormulaCurrent(formula, **parameters)
    assert current.value(np.zeros(1), **current.parameters).item() == pytest.approx(value, abs=1e-12)
    _, partial = current.derivatives(np.zeros(1), **current.parameters)
    assert [float(partial[name][0]) for name in parameters] == pytest.approx(slopes, abs=1e-12)
    net, names = ssnn.Network(ssnn.EventSDE("dv_0/dt = I"), input_current=current), tuple(parameters)
    for engine in ("julia", "reference"):
        solution = ssnn.simulate(net, t1=1.0, dt=1.0, saveat=[1.0], solver="euler_maruyama", engine=engine)
        assert by_vjp(solution, 0, names) == pytest.approx(slopes, abs=1e-12)
        assert by_jvp(solution, 0, names) == pytest.approx(slopes, abs=1e-12)


def test_a_slope_that_does_not_exist_is_an_error(engine):
    cases = [
        ("sqrt(h)", dict(h=0.0), "h"),
        ("h**p", dict(h=0.0, p=0.5), "h"),
        ("h**p", dict(h=-2.0, p=2.0), "p"),
        ("sqrt(max(h, 0))", dict(h=0.0), "h"),
    ]
    solution = together(cases, engine)
    for place, (*_, name) in enumerate(cases):
        name = f"{name}_{place}"
        with pytest.raises(ssnn.NoGradientError, match=rf"the gradient by {name} is not finite"):
            by_vjp(solution, place, (name,))
        with pytest.raises(ssnn.NoGradientError, match=rf"in the direction of {name} is not finite"):
            by_jvp(solution, place, (name,))


def test_a_whole_power_of_a_negative_number_has_a_value(engine):
    for exponent in (2.0, 3.0, -1.0, 0.0):
        solution = together([("h**p", dict(h=-2.0, p=exponent))], engine)
        assert solution.states["v_0"].item() == pytest.approx((-2.0) ** exponent, rel=1e-14)
        slope = exponent * (-2.0) ** (exponent - 1.0)
        assert by_vjp(solution, 0, ("h_0",)) == pytest.approx([slope], abs=1e-14)
        assert by_jvp(solution, 0, ("h_0",)) == pytest.approx([slope], abs=1e-14)
    with pytest.raises(ssnn.SSNNError, match="a formula has no value at a state"):
        solved("h**p", dict(h=-2.0, p=0.5), engine)


def test_noise_that_vanishes_at_zero_has_a_correction(engine):
    # dv = a dt + s √max(v, 0) dB has the correction s²/4, also where v = 0.
    feller = ssnn.EventSDE("dv/dt = a + s*sqrt(max(v, 0))*xi", parameters=dict(a=1.0, s=0.5))
    power = ssnn.EventSDE("dv/dt = a + s*v**p*xi", parameters=dict(a=1.0, s=0.5, p=0.75), initial=dict(v=0.0))
    for each in (feller, power):
        solution = ssnn.simulate(
            ssnn.Network(each), t1=0.5, dt=0.125, solver="milstein", saveat=0.125, seed=3, engine=engine
        )
        assert np.isfinite(solution.states["v"]).all()
        assert np.isfinite(solution.vjp(states_bar={"v": np.ones((1, 5, 1))}, wrt="s")["s"])


@pytest.mark.parametrize("undefined", ["min(log(c - 1), 0)", "max(1, sqrt(c - 1))"])
def test_a_state_without_a_value_is_an_error_though_an_event_resets_it(undefined, engine):
    model = ssnn.EventSDE(
        f"da/dt = {undefined}\ndv/dt = 1", ssnn.Event(crossing="v - 0.5", then="v -= 1; a = 0"), parameters=dict(c=0.5)
    )
    with pytest.raises(ssnn.SSNNError, match="no longer finite"):
        ssnn.simulate(ssnn.Network(model), t1=0.75, dt=0.25, solver="euler_maruyama", engine=engine)


@pytest.mark.parametrize("formula", ["1/(v - v)", "c/(0*v)", "(v - v)**-2"])
def test_a_division_by_what_is_always_zero_is_named(formula):
    net = ssnn.Network(ssnn.EventSDE(f"dv/dt = {formula} + c", parameters=dict(c=1.0)))
    for engine in ("julia", "reference"):
        with pytest.raises(ssnn.ValidationError, match="the equation of v divides by what is 0"):
            ssnn.simulate(net, t1=1.0, dt=0.5, engine=engine)


def test_long_powers_do_not_take_long(engine):
    # Written out, the thirtieth power of four terms has 5456.
    model = ssnn.EventSDE(
        "dv/dt = (v + u + a + b)**30\ndu/dt = -u",
        ssnn.Event(crossing="(v + u + a + b)**30 - 1", then="v = (v + u + a)**20 - 2"),
        synapse="v += w*(v + u + a)**25",
        parameters=dict(a=0.1, b=0.1),
    )
    net = ssnn.Network(model, weights=[[0.0, 0.1], [0.1, 0.0]])
    solution = ssnn.simulate(net, t1=0.1, dt=0.05, saveat=[0.1], engine=engine)
    assert solution.states["v"] == pytest.approx(0.1 * 0.2**30, rel=1e-6, abs=1e-30)
