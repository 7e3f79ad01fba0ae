"""Models from formulas: what is made of their texts."""

import copy
import math
import pickle
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ssnn_py.errors import ValidationError
from ssnn_py.formulas.analysis import evaluated
from ssnn_py.formulas.event_sde import Event, EventSDE
from ssnn_py.formulas.grammar import (
    Call,
    Comparison,
    Logic,
    Name,
    Negative,
    Number,
    Operation,
    parse_expression,
    parse_statements,
)
from ssnn_py.formulas.symbolic import symbol, symbolic


def slif(**change):
    arguments = dict(
        equations="""
            dv/dt = mu_1*(i + I - v) + sigma*xi_1   # the potential
            di/dt = -mu_2*i + sigma*xi_2            # the synaptic current
        """,
        events=Event(hazard="exp(beta*(v - v_th))", then="v -= v_reset", dead_zone=0.03),
        synapse="i += w",
        parameters=dict(mu_1=15.0, mu_2=10.0, sigma=0.25, beta=5.0, v_th=1.0, v_reset=1.4),
    )
    return EventSDE(**{**arguments, **change})


def adex():
    return EventSDE(
        """
        dv/dt = (g_L*(E_L - v) + g_L*Delta*exp((v - v_T)/Delta)
                 - a + I)/C + sigma*xi
        da/dt = (k*(v - E_L) - a)/tau_a
        """,
        events=Event(crossing="v - v_peak", then="v = v_r; a += b"),
        synapse="v += w",
        parameters=dict(
            **dict(g_L=30.0, E_L=-70.6, Delta=2.0, v_T=-50.4, C=281.0, sigma=0.5, k=4.0, tau_a=144.0),
            **dict(v_peak=20.0, v_r=-70.6, b=80.5),
        ),
        initial=dict(v="E_L"),
    )


def hodgkin_huxley():
    return EventSDE(
        """
        dv/dt = (I - i_Na - i_K - i_L)/C + sigma*xi
        i_Na = g_Na*m**3*h*(v - E_Na)
        i_K = g_K*n**4*(v - E_K)
        i_L = g_L*(v - E_L)
        dm/dt = alpha_m*(1 - m) - beta_m*m
        dh/dt = alpha_h*(1 - h) - beta_h*h
        dn/dt = alpha_n*(1 - n) - beta_n*n
        alpha_m = where(abs(v + 40) < 1e-6, 1, 0.1*(v + 40)/(1 - exp(-(v + 40)/10)))
        beta_m = 4*exp(-(v + 65)/18)
        alpha_h = 0.07*exp(-(v + 65)/20)
        beta_h = 1/(1 + exp(-(v + 35)/10))
        alpha_n = where(abs(v + 55) < 1e-6, 0.1, 0.01*(v + 55)/(1 - exp(-(v + 55)/10)))
        beta_n = 0.125*exp(-(v + 65)/80)
        """,
        events=Event(crossing="v"),
        parameters=dict(C=1.0, g_Na=120.0, E_Na=50.0, g_K=36.0, E_K=-77.0, g_L=0.3, E_L=-54.387, sigma=0.1),
        initial=dict(v=-65.0, m=0.05, h=0.6, n=0.32),
    )


def shared_noise():
    return EventSDE(
        "dx/dt = -x + a*xi + b*x*xi_common\ndy/dt = -y - xi_common/tau",
        events=[Event(hazard="max(x, 0)", then="x = 0"), Event(crossing="y - 1", then="y -= 1")],
        parameters=dict(a=0.1, b=0.2, tau=2.0),
        interpretation="stratonovich",
    )


def bouncing_ball():
    return EventSDE(
        "dh/dt = u\ndu/dt = -g",
        Event(crossing="-h", then="u *= -c"),
        parameters=dict(g=9.81, c=0.9),
        initial=dict(h=1.0),
    )


MODELS = (slif, adex, hodgkin_huxley, shared_noise, bouncing_ball)
some_model = pytest.mark.parametrize("model", [make() for make in MODELS], ids=[make.__name__ for make in MODELS])


def formula(text):
    return parse_expression(text)


# --- what is made of the texts ----------------------------------------------------------------------------------------


def test_the_slif_model_is_read():
    model = slif()
    assert (model.states, model.noises) == (("v", "i"), ("xi_1", "xi_2"))
    assert dict(model.drift) == {"v": formula("mu_1*(i + I - v)"), "i": formula("-mu_2*i")}
    assert dict(model.diffusion) == {("v", "xi_1"): Name("sigma"), ("i", "xi_2"): Name("sigma")}
    (event,) = model.parsed_events
    assert (event.kind, event.function) == ("hazard", formula("exp(beta*(v - v_th))"))
    assert dict(event.transition) == {"v": formula("v - v_reset")}
    assert event.dead_zone == Number(0.03)
    assert dict(model.arrival) == {"i": formula("i + w")}
    assert dict(model.initial) == {"v": Name("v0"), "i": Name("i0")}
    assert list(model.parameters) == ["mu_1", "mu_2", "sigma", "beta", "v_th", "v_reset", "v0", "i0"]
    assert (model.uses_input, model.has_additive_noise, model.interpretation) == (True, True, "ito")
    assert len(model.key) == 16
    assert int(model.key, 16) >= 0


def test_a_crossing_and_an_initial_value_by_formula_are_read():
    model = adex()
    (event,) = model.parsed_events
    assert (event.kind, event.dead_zone) == ("crossing", None)
    assert dict(event.transition) == {"v": Name("v_r"), "a": formula("a + b")}
    assert dict(model.initial) == {"v": Name("E_L"), "a": Name("a0")}
    assert "v0" not in model.parameters


def test_subexpressions_are_put_in_wherever_they_stand():
    model = hodgkin_huxley()
    assert model.states == ("v", "m", "h", "n")
    assert model.drift["h"] == formula("0.07*exp(-(v + 65)/20)*(1 - h) - 1/(1 + exp(-(v + 35)/10))*h")
    assert model.parsed_events[0].transition == {}
    assert model.arrival == {}
    event = Event(hazard="rate", then="v -= jump", dead_zone="zone")
    model = EventSDE(
        "dv/dt = -v\nrate = exp(shifted)\njump = 2*zone\nshifted = v - 1\nzone = 3*a",
        event,
        synapse="v += w*rate",
        parameters=dict(a=1.0),
        initial=dict(v="zone"),
    )
    (parsed,) = model.parsed_events
    assert parsed.function == formula("exp(v - 1)")
    assert parsed.transition == {"v": formula("v - 2*(3*a)")}
    assert parsed.dead_zone == formula("3*a") == model.initial["v"]
    assert model.arrival == {"v": formula("v + w*exp(v - 1)")}


def test_noises_are_shared_by_name():
    model = shared_noise()
    assert model.noises == ("xi", "xi_common")
    assert dict(model.diffusion) == {
        ("x", "xi"): Name("a"),
        ("x", "xi_common"): formula("b*x"),
        ("y", "xi_common"): Negative(formula("1/tau")),
    }
    assert not model.has_additive_noise
    assert [event.kind for event in model.parsed_events] == ["hazard", "crossing"]


@pytest.mark.parametrize(
    ("text", "drift", "diffusion"),
    [
        ("-v", "-v", {}),
        ("xi", "0", {"xi": "1"}),
        ("-xi", "0", {"xi": "-1"}),
        ("a*xi*v", "0", {"xi": "a*v"}),
        ("(v + a*xi)/2", "v/2", {"xi": "a/2"}),
        ("2*(v - (xi - v*xi_b))", "2*v", {"xi": "2*-1", "xi_b": "2*v"}),
        ("xi + a*xi", "0", {"xi": "1 + a"}),
        ("xi - xi", "0", {}),
        ("0*xi + v", "v", {}),
        ("v*(a + n)\nn = xi/a", "v*a", {"xi": "v*(1/a)"}),
        ("v**2*xi + exp(v)", "exp(v)", {"xi": "v**2"}),
    ],
)
def test_equations_are_split_into_drift_and_coefficients_of_noises(text, drift, diffusion):
    model = EventSDE(f"dv/dt = {text} + 0*a", parameters=dict(a=2.0))
    point = {"v": 0.7, "a": 2.0}
    found = {noise: float(evaluated(node, point)) for (_, noise), node in model.diffusion.items()}
    expected = {noise: float(evaluated(formula(part), point)) for noise, part in diffusion.items()}
    assert found == pytest.approx(expected)
    assert float(evaluated(model.drift["v"], point)) == pytest.approx(float(evaluated(formula(drift), point)))


@pytest.mark.parametrize(
    "text",
    [
        "v -= 1; a += b",
        "a += v; v = a - v; a *= v",
        "v = a; a = v",
        "v += 1\nv *= 2\n\nv /= a  # scaled",
        "a = 2*total; v -= total; a -= total",
        "v = v",
        "",
    ],
)
def test_statements_one_after_the_other_become_one_map_of_the_state_before(text):
    model = EventSDE(
        "dv/dt = -v\nda/dt = -a\ntotal = v + a + 0*b", Event(hazard="b", then=text), parameters=dict(b=0.3)
    )
    now = {"v": 0.7, "a": -1.3, "b": 0.3}
    before = dict(now)
    for each in parse_statements(text):
        now["total"] = now["v"] + now["a"]
        value = float(evaluated(each.value, now))
        old = now[each.name]
        changes = {"=": value, "+=": old + value, "-=": old - value, "*=": old * value}
        now[each.name] = old / value if each.operator == "/=" else changes[each.operator]
    transition = model.parsed_events[0].transition
    for name in model.states:
        after = float(evaluated(transition.get(name, Name(name)), before))
        assert after == pytest.approx(now[name], rel=1e-14)


def test_variables_that_statements_leave_as_they_are_are_not_changed():
    model = EventSDE("dv/dt = -v\nda/dt = 1", Event(hazard="1", then="v = v; a = v"))
    assert dict(model.parsed_events[0].transition) == {"a": Name("v")}


def test_initial_values_are_parameters_unless_they_are_formulas():
    starts = dict(v=[0.1, 0.2], u="2*a")
    model = EventSDE("dv/dt = -v\ndu/dt = -u\ndx/dt = a", initial=starts, parameters=dict(a=1.0))
    assert list(model.parameters) == ["a", "v0", "x0"]
    np.testing.assert_array_equal(model.parameters["v0"], [0.1, 0.2])
    assert model.parameters["x0"] == 0.0
    assert model.initial["u"] == formula("2*a")


def test_formulas_may_use_initial_values():
    model = EventSDE("dv/dt = -v", Event(hazard="1", then="v = v0"), initial=dict(v=0.5))
    assert model.parsed_events[0].transition == {"v": Name("v0")}


def test_a_name_of_the_form_of_an_initial_value_is_free_where_that_is_a_formula():
    model = EventSDE("dv/dt = -v", initial=dict(v="v0"), parameters=dict(v0=0.5))
    assert list(model.parameters) == ["v0"]
    assert pickle.loads(pickle.dumps(model)) == model


# --- what a model is --------------------------------------------------------------------------------------------------


@some_model
def test_models_are_values(model):
    for same in (copy.copy(model), copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert same == model
        assert hash(same) == hash(model)
        assert same.key == model.key
        assert same.events == model.events
        assert repr(same) == repr(model)
    with pytest.raises(AttributeError, match="cannot be changed"):
        model.states = ()
    with pytest.raises(TypeError):
        model.drift["v"] = Number(0.0)
    with pytest.raises(TypeError):
        model.parameters["v0"] = 0.0


def test_a_copy_of_a_model_with_other_values_keeps_them():
    model = adex().replace(a0=3.0, E_L=[-70.0, -60.0])
    same = pickle.loads(pickle.dumps(model))
    assert same == model != adex()
    assert same.key == adex().key
    np.testing.assert_array_equal(same.parameters["E_L"], [-70.0, -60.0])


def test_models_are_equal_however_they_were_written():
    other = slif(equations="dv/dt = (mu_1*((i + I) - v) + sigma*xi_1)\ndi/dt = -mu_2*i+sigma*xi_2")
    assert other == slif()
    assert other.key == slif().key
    assert len({other, slif()}) == 1


@pytest.mark.parametrize(
    "change",
    [
        dict(equations="dv/dt = mu_1*(i - v + I) + sigma*xi_1\ndi/dt = -mu_2*i + sigma*xi_2"),
        dict(equations="dv/dt = mu_1*(i + I - v) + sigma*xi_1\ndi/dt = -mu_2*i + sigma*xi_1"),
        dict(equations="di/dt = -mu_2*i + sigma*xi_2\ndv/dt = mu_1*(i + I - v) + sigma*xi_1"),
        dict(events=Event(hazard="exp(beta*(v - v_th))", then="v = v_reset", dead_zone=0.03)),
        dict(events=Event(hazard="exp(beta*(v - v_th))", then="v -= v_reset")),
        dict(events=Event(crossing="beta*(v - v_th)", then="v -= v_reset")),
        dict(synapse="v += w"),
        dict(synapse=""),
        dict(initial=dict(v="v_reset")),
        dict(interpretation="stratonovich"),
    ],
)
def test_the_key_tells_models_apart(change):
    assert slif(**change).key != slif().key
    assert slif(**change) != slif()


def test_the_key_does_not_know_values_but_equality_does():
    other = slif().replace(sigma=0.5)
    assert other.key == slif().key
    assert other != slif()
    assert slif(initial=dict(v=0.5)).key == slif().key
    with pytest.raises(ValidationError, match="unknown parameter 'tau'; this model has mu_1, "):
        slif().replace(tau=1.0)
    with pytest.raises(ValidationError, match="sigma must be finite"):
        slif().replace(sigma=np.nan)


def test_arrays_that_are_given_are_copied():
    mine = np.ones(3)
    model = EventSDE("dv/dt = -a*v", parameters=dict(a=mine))
    mine[0] = 5.0
    assert model.parameters["a"][0] == 1.0


def test_events_are_values():
    event = Event(hazard="exp(v)", then="v -= 1", dead_zone=0.1)
    assert pickle.loads(pickle.dumps(event)) == event == copy.deepcopy(event)
    assert event != Event(hazard="exp(v)", then="v -= 1")
    assert {event: 1}[Event(hazard="exp(v)", then="v -= 1", dead_zone=0.1)] == 1
    assert repr(event) == "Event(hazard='exp(v)', then='v -= 1', dead_zone=0.1)"
    assert repr(Event(crossing="v")) == "Event(crossing='v')"
    with pytest.raises(AttributeError, match="an Event cannot be changed"):
        event.then = ""


def test_a_model_shows_its_equations():
    assert repr(slif()) == (
        "EventSDE(\n"
        "    dv/dt = mu_1*(i + I - v) + sigma*xi_1\n"
        "    di/dt = -mu_2*i + sigma*xi_2\n"
        "    event 1: hazard exp(beta*(v - v_th)), then v -= v_reset, dead zone 0.03\n"
        "    synapse: i += w\n"
        "    parameters: mu_1, mu_2, sigma, beta, v_th, v_reset, v0, i0\n"
        ")"
    )
    assert "    initial v: E_L\n" in repr(adex())
    assert "    interpretation: stratonovich\n" in repr(shared_noise())


@some_model
def test_a_model_shows_its_mathematics(model):
    text = model._repr_latex_()
    assert text.startswith("$$\\begin{aligned}\n")
    assert text.endswith("\n\\end{aligned}$$")
    assert text.count("{") == text.count("}")
    assert text.count("&= ") == len(model.states) + len(model.events)
    assert (r"\circ" in text) == (model.interpretation == "stratonovich")


def test_making_a_model_does_not_import_sympy():
    code = (
        "import sys; from ssnn_py.formulas.event_sde import Event, EventSDE; "
        "repr(EventSDE('dv/dt = -v + xi', Event(hazard='exp(v)', then='v -= 1'))); "
        "sys.exit('sympy' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


# --- formulas as numbers and as symbols -------------------------------------------------------------------------------

NAMES = {"v": 0.7, "u": -1.3, "tau": 2.5}
PYTHON = {
    **{name: getattr(math, name) for name in ("exp", "log", "sqrt", "sin", "cos", "tanh", "pi")},
    **{"abs": abs, "min": min, "max": max},
    "clip": lambda x, lowest, highest: min(max(x, lowest), highest),
    "where": lambda condition, x, otherwise: x if condition else otherwise,
    "piecewise": lambda *a: next((x for c, x in zip(a[:-1:2], a[1::2], strict=True) if c), a[-1]),
}

numbers = st.sampled_from(["2", "0.5", "1e-1", ".25", "3.", "pi", "v", "u", "tau"])


def larger(part):
    """Formulas made of smaller ones; those with several parts in parentheses or not, as Python has them, too."""
    condition = st.tuples(part, st.sampled_from(["<", "<=", ">", ">=", "!="]), part).map(" ".join)
    condition = st.one_of(
        condition,
        condition.map(lambda one: f"not {one}"),
        st.tuples(condition, st.sampled_from(["and", "or"]), condition).map(" ".join),
    )
    return st.one_of(
        st.tuples(part, st.sampled_from(["+", "-", "*", "/"]), part).map(" ".join),
        part.map(lambda x: f"({x})"),
        part.map(lambda x: f"-{x}"),
        part.map(lambda x: f"({x})**2"),
        part.map(lambda x: f"-v**2*{x}"),
        part.map(lambda x: f"2**-v**2 - {x}"),
        st.tuples(st.sampled_from(["tanh", "sin", "cos", "abs"]), part).map(lambda x: f"{x[0]}({x[1]})"),
        st.tuples(st.sampled_from(["min", "max"]), part, part).map(lambda x: f"{x[0]}({x[1]}, {x[2]}, tau)"),
        part.map(lambda x: f"clip({x}, -1, 1.5)"),
        # Away from 0, where the root of a rounding error is no longer small.
        part.map(lambda x: f"exp(tanh({x})) + log(1 + sqrt(0.1 + abs({x})))"),
        st.tuples(condition, part, part).map(lambda x: f"where({x[0]}, {x[1]}, {x[2]})"),
        st.tuples(condition, part, condition, part).map(lambda x: f"piecewise({', '.join(x)}, u)"),
    )


@settings(max_examples=150, deadline=None)
@given(st.recursive(numbers, larger, max_leaves=8))
def test_formulas_mean_what_they_mean_in_python(text):
    node = parse_expression(text)
    try:
        expected = eval(text, {"__builtins__": {}}, PYTHON | NAMES)
    except ZeroDivisionError:
        return
    assert float(evaluated(node, NAMES)) == pytest.approx(expected, rel=1e-10, abs=1e-12)


@settings(max_examples=60, deadline=None)
@given(st.recursive(numbers, larger, max_leaves=5))
def test_symbols_mean_what_formulas_mean(text):
    try:
        expected = eval(text, {"__builtins__": {}}, PYTHON | NAMES)
    except ZeroDivisionError:
        return
    expression = symbolic(parse_expression(text))
    value = expression.subs({symbol(name): value for name, value in NAMES.items()}, simultaneous=True)
    assert float(value) == pytest.approx(expected, rel=1e-9, abs=1e-10)


def test_the_equations_of_hodgkin_and_huxley_as_symbols_are_those_of_python():
    model = hodgkin_huxley()
    state = dict(v=-60.0, m=0.1, h=0.5, n=0.4)
    p = {name: float(value) for name, value in model.parameters.items()}

    def rates(v):
        alpha_m = 0.1 * (v + 40) / (1 - math.exp(-(v + 40) / 10))
        alpha_n = 0.01 * (v + 55) / (1 - math.exp(-(v + 55) / 10))
        alpha_h, beta_h = 0.07 * math.exp(-(v + 65) / 20), 1 / (1 + math.exp(-(v + 35) / 10))
        beta_m, beta_n = 4 * math.exp(-(v + 65) / 18), 0.125 * math.exp(-(v + 65) / 80)
        return dict(m=(alpha_m, beta_m), h=(alpha_h, beta_h), n=(alpha_n, beta_n))

    v, m, h, n = state.values()
    currents = p["g_Na"] * m**3 * h * (v - p["E_Na"]) + p["g_K"] * n**4 * (v - p["E_K"]) + p["g_L"] * (v - p["E_L"])
    expected = {"v": (1.5 - currents) / p["C"]}
    expected |= {x: alpha * (1 - state[x]) - beta * state[x] for x, (alpha, beta) in rates(v).items()}
    values = {**p, **state, "I": 1.5}
    for name, node in model.drift.items():
        there = {symbol(each): value for each, value in values.items()}
        assert float(symbolic(node).subs(there, simultaneous=True)) == pytest.approx(expected[name], rel=1e-12)
        assert float(evaluated(node, values)) == pytest.approx(expected[name], rel=1e-12)


def test_numbers_become_exact_symbols():
    import sympy

    assert symbolic(formula("2")) is sympy.Integer(2)
    assert symbolic(formula("2.0")) is sympy.Integer(2)
    assert symbolic(formula("0.1")) == sympy.Rational(1, 10)
    assert symbolic(formula("1.5e3")) == 1500
    assert symbolic(formula("v**0.5")) == sympy.sqrt(symbol("v"))
    assert symbolic(formula("0.12345678901234567")).is_Float
    assert symbolic(formula("1e300")).is_Float
    assert symbolic(formula("pi")) is sympy.pi


def test_symbols_are_real_and_go_by_their_names():
    expression = symbolic(formula("max(v, E) + S*N*Q"))
    assert {each.name for each in expression.free_symbols} == {"v", "E", "S", "N", "Q"}
    assert all(each.is_real for each in expression.free_symbols)


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("a - b - c", "(a - b) - c"),
        ("a/b/c", "(a/b)/c"),
        ("a**b**c", "a**(b**c)"),
        ("-a**b", "-(a**b)"),
        ("-a*b", "(-a)*b"),
        ("a**-b*c", "(a**(-b))*c"),
        ("a + b*c**d", "a + (b*(c**d))"),
        ("+a", "a"),
        ("where(a < b and c > d or not e == f, a, b)", "where(((a < b) and (c > d)) or (not (e == f)), a, b)"),
        ("where(a + 1 < b*2, a, b)", "where((a + 1) < (b*2), a, b)"),
    ],
)
def test_operators_bind_as_in_python(text, same):
    assert formula(text) == formula(same)


def test_nodes_are_equal_wherever_they_stand_and_know_where_that_is():
    node = formula("  max(v, -2) + 1")
    assert node == Operation("+", Call("max", (Name("v"), Negative(Number(2.0)))), Number(1.0))
    assert (node.start, node.end) == (2, 16)
    assert node.right.text == "1"
    (condition, *_) = formula("where(v < 1 and not u > 2, 1, 0)").arguments
    inner = Logic("not", (Comparison(">", Name("u"), Number(2.0)),))
    assert condition == Logic("and", (Comparison("<", Name("v"), Number(1.0)), inner))
    assert hash(condition) == hash(Logic("and", condition.operands))
