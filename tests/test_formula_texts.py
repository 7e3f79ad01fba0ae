"""A text that is no formula gets an error that names the argument, shows the line and marks the place."""

import pickle

import numpy as np
import pytest

from ssnn_py.errors import ValidationError
from ssnn_py.formulas.event_sde import Event, EventSDE
from ssnn_py.formulas.grammar import (
    MAX_DEPTH,
    FormulaError,
    parse_equations,
    parse_expression,
    parse_statements,
)

#: Formulas, and what their errors say.
FORMULAS = {
    # numbers, signs and what Python has besides
    "v^2": "powers are written **, not ^",
    "1..2": "1..2 is neither a number nor a name",
    "3abc": "3abc is neither a number nor a name: write 3*abc",
    "2v": "write 2*v, if a product is meant",
    "1_000": "1_000 is neither a number nor a name",
    "1e5e": "1e5e is neither a number nor a name",
    "1e999": "1e999 is too large for a number",
    "v if v > 0 else 0": "there is no if: write where(condition, x, otherwise)",
    "where(v > 0, 1, 0) else 2": "there is no else",
    "lambda v: v": "there are no functions of one's own",
    "v in v": "in is a word of Python's, not of formulas",
    "True*v": "there is no True",
    "v.real": "there are no attributes",
    "v[0]": "square brackets have no meaning here",
    "{v}": "only round parentheses group",
    "'v'": "there are no quotes in formulas",
    'exp("v")': "there are no strings in formulas",
    "v − 1": "minus is written -",
    "2×v": "products are written *",
    "v²": "powers are written **, as in v**2",
    "v ≤ 1": "at most is written <=",
    "v ☃ 2": "SNOWMAN has no meaning in formulas",
    "v % 2": "there is no remainder %",
    "v // 2": "quotients are written /",
    "v & v": "conditions are joined with and, not &",
    "v <> 2": "comparisons are < <= > >= == !=",
    "v \\ 2": "a backslash belongs at the end of a line",
    # how they are put together
    "": "a formula is missing: the text is empty",
    "  # nothing": "a formula is missing: the text is empty",
    "v +": "a formula is missing after +",
    "v * / 2": "a formula is missing after *: / cannot stand here",
    "()": "a formula is missing between the parentheses",
    "(v + 1": "this parenthesis is never closed",
    "v + 1)": "this parenthesis closes none that is open",
    "exp((v)": "this parenthesis is never closed",
    "v v": "an operator is missing between v and v",
    "2(v + 1)": "an operator is missing between 2 and (",
    "v = 1": "= cannot stand within a formula: equality is written ==",
    "v += 1": "+= cannot stand within a formula",
    "1,5*v": "a comma belongs between the arguments of a function; decimals have a dot",
    "v\nv": "one formula must stand here",
    # conditions
    "v > 0": "a condition cannot stand where a number must: write where(condition, x, otherwise)",
    "2*(v > 0)": "a condition cannot stand where a number must",
    "where(0 < v < 1, v, 0)": "comparisons are not chained: join two with and",
    "where(v, 1, 0)": "a condition must stand here: compare numbers, as in v > 0",
    "where(v > 0 and v, 1, 0)": "a condition must stand here",
    "where(not v, 1, 0)": "a condition must stand here",
    # functions
    "expp(v)": "unknown function expp; did you mean exp?",
    "ln(v)": "unknown function ln; write log(x)",
    "maximum(v, 0)": "unknown function maximum; write max(x, y)",
    "pow(v, 2)": "unknown function pow; write x**y",
    "quux(v)": "unknown function quux; functions are exp, log, sqrt",
    "v*exp": "exp is a function: write exp(x)",
    "exp(v, v)": "exp takes 1 argument, got 2: write exp(x)",
    "exp()": "exp takes 1 argument, got 0",
    "max(v)": "max takes 2 or more arguments, got 1: write max(x, y)",
    "clip(v, 1)": "clip takes 3 arguments, got 2: write clip(x, lowest, highest)",
    "piecewise(v > 0, 1, v > 2, 3)": "piecewise takes an odd number, 3 or more arguments, got 4",
    "exp(v,)": "an argument is missing after the comma",
    "(" * 150 + "v" + ")" * 150: f"this formula is nested more than {MAX_DEPTH} deep",
    "*".join(["v"] * 150): f"this formula is nested more than {MAX_DEPTH} deep",
}


@pytest.mark.parametrize(("text", "message"), FORMULAS.items())
def test_what_is_no_formula_is_refused_with_what_is_allowed(text, message):
    with pytest.raises(FormulaError) as caught:
        parse_expression(text, "hazard")
    head, line, marks = str(caught.value).split("\n")
    assert message in head
    assert head.startswith("hazard, line ")
    assert line.startswith("    ")
    assert set(marks) == {" ", "^"}


@pytest.mark.parametrize(("text", "message"), FORMULAS.items())
def test_equations_and_statements_refuse_the_same_formulas(text, message):
    if not text.strip() or text.strip().startswith("#") or "\n" in text:
        return
    for parse, whole in ((parse_equations, f"dv/dt = {text}"), (parse_statements, f"v -= {text}")):
        with pytest.raises(FormulaError) as caught:
            parse(whole)
        assert message in str(caught.value)


EQUATIONS = {
    "v = -v": "equations must have at least one line dX/dt = formula",
    "": "equations must have at least one line dX/dt = formula",
    "# nothing\n\n": "equations must have at least one line dX/dt = formula",
    "-v/tau": "an equation is written dX/dt = formula, or name = formula for a subexpression",
    "dv/dt": "an equation is written dX/dt = formula",
    "dv/dt = ": "a formula is missing after =",
    "tau*dv/dt = -v": "divide the right side instead",
    "dv/dx = -v": "the left side must be dX/dt or a name",
    "d(v)/dt = -v": "only dX/dt may stand on the left",
    "2 = v": "the left side must be dX/dt or a name",
    "dv/dt += 1": "+= belongs to events and synapses",
    "v' = -v": "a derivative is written dX/dt",
    "dx/dt = 1\ndv = -x*dt": "dt can stand only on the left, as in dX/dt",
    "dv/dt = -v/tau : volt": "units do not belong here: leave out what follows the colon",
    "dv/dt = -v\ndv/dt = 1": "there must be one line for the state variable v, but this is the second",
    "dv/dt = -a\na = 1\na = 2": "there must be one line for the subexpression a, but this is the second",
    "dv/dt = -v\nv = 1": "v cannot be both a state variable and a subexpression",
    "dw/dt = -w": "w is the weight of a synapse: give this state variable another name",
    "dI/dt = -I": "I is the input current: give this state variable another name",
    "dt/dt = 1": "t is the time: give this state variable another name",
    "dxi/dt = 1": "xi is a white noise: give this state variable another name",
    "dv/dt = -v\npi = 3": "pi is the number π: give this subexpression another name",
    "dv/dt = -v\nexp = 3": "exp is a function: give this subexpression another name",
    "dv/dt = -v/tua": "unknown name tua; did you mean tau?",
    "dv/dt = -V/tau": "unknown name V; did you mean v?",
    "dv/dt = -v/quux": "unknown name quux; it is neither a state variable nor a subexpression nor a key of parameters",
    "dv/dt = w": "w is the weight of a synapse, which can stand in synapse only",
    "dv/dt = v/0": "this divides by zero",
    "dv/dt = v/(1 - 1.0)": "this divides by zero",
    "dv/dt = v/z\nz = 0": "this divides by zero",
    "dv/dt = v*sqrt(-1)": "this has no finite real value",
    "dv/dt = v*log(0)": "this has no finite real value",
    "dv/dt = (-8)**(1/3)": "this has no finite real value",
    "dv/dt = (-2)**0.5": "this has no finite real value",
    "dv/dt = (-2)**v": "a negative number has powers at whole exponents only, and this exponent is no constant: take",
    "dv/dt = (1 - pi)**tau": "a negative number has powers at whole exponents only",
    "dv/dt = base**v\nbase = -2": "a negative number has powers at whole exponents only",
    "dv/dt = 0**v": "0 has powers from exponent 0 up only, and this exponent is no constant: take a positive base, or",
    "dv/dt = (1-1)**v": "0 has powers from exponent 0 up only",
    "dv/dt = a\na = b\nb = 2*a": "a subexpression must not need itself: a -> b -> a",
    "dv/dt = a\na = a + 1": "a subexpression must not need itself: a -> a",
    "dv/dt = xi**2": "a noise cannot stand in a power",
    "dv/dt = exp(xi)": "a noise cannot stand in a function or condition",
    "dv/dt = where(v > 0, xi, 0)": "a noise cannot stand in a function or condition",
    "dv/dt = where(xi > 0, 1, 0)": "a noise cannot stand in a function or condition",
    "dv/dt = xi*xi_1": "a noise cannot multiply a noise",
    "dv/dt = noise*(v + xi)\nnoise = 2*xi": "a noise cannot multiply a noise",
    "dv/dt = v/xi": "nothing can be divided by a noise",
    "dv/dt = sin(t)*xi": "what multiplies a noise must not depend on the time, but that of xi",
    "dv/dt = gain*xi\ngain = 2*I": "what multiplies a noise must not depend on the input current",
    "dv/dt = " + " + ".join(f"xi_{place}" for place in range(16)): "equations must have at most 15 noises, got 16",
    "dv/dt = a1\n" + "\n".join(f"a{n} = a{n + 1}*a{n + 1}" for n in range(1, 20)) + "\na20 = v": "is over 20000 names",
    "dv/dt = a1\n" + "\n".join(f"a{n} = exp(a{n + 1})" for n in range(1, 200)) + "\na200 = v": "is over 100 deep",
}


@pytest.mark.parametrize(("text", "message"), EQUATIONS.items())
def test_equations_that_are_none_are_refused(text, message):
    parameters = {"tau": 1.0} if "tau" in text or "tua" in text else None
    with pytest.raises(ValidationError) as caught:
        EventSDE(text, parameters=parameters)
    assert message in str(caught.value)


#: Arguments besides the equations of v and i, which have the parameter tau and the subexpressions rate and driven.
ARGUMENTS = [
    (dict(events=dict(hazard="v + xi")), "events[0].hazard, line 1: xi is a white noise, which can stand in equations"),
    (dict(events=dict(hazard="exp(v - I)")), "events[0].hazard, line 1: I is the input current, which can stand in"),
    (dict(events=dict(hazard="driven")), "the subexpression driven has I, but I is the input current"),
    (dict(events=dict(hazard="exp(t)")), "t is the time, which can stand in equations only"),
    (dict(events=dict(hazard="w")), "w is the weight of a synapse, which can stand in synapse only"),
    (dict(events=dict(hazard="exp(u)")), "unknown name u"),
    (dict(events=dict(crossing="V - 1")), "events[0].crossing, line 1: unknown name V; did you mean v?"),
    (dict(events=dict(hazard="low")), "events[0].hazard, line 1: a hazard is a rate, which must be positive\n    low"),
    (dict(events=dict(crossing="low")), "a crossing must depend on a state variable, and this is always -1\n    low\n"),
    (
        dict(events=dict(crossing="tau - slow")),
        "events[0].crossing, line 1: a crossing must depend on a state variable, and this has parameters alone\n"
        "    tau - slow\n    ^^^^^^^^^^",
    ),
    (
        dict(events=dict(hazard="v", then="tau = 2")),
        "events[0].then, line 1: tau is a parameter, and cannot",
    ),
    (dict(events=dict(hazard="v", then="v0 = 2")), "v0 is a parameter, and cannot be assigned"),
    (dict(events=dict(hazard="v", then="rate = 2")), "rate is a subexpression, and cannot be assigned"),
    (dict(events=dict(hazard="v", then="t = 2")), "t is the time, and cannot be assigned"),
    (dict(events=dict(hazard="v", then="u = 2")), "unknown name u; statements assign state variables, which are v, i"),
    (dict(events=dict(hazard="v", then="v += xi")), "events[0].then, line 1: xi is a white noise"),
    (dict(events=dict(hazard="v", then="v += I")), "events[0].then, line 1: I is the input current"),
    (dict(events=dict(hazard="v", then="v += w")), "events[0].then, line 1: w is the weight of a synapse"),
    (dict(events=dict(hazard="v", then="v /= 0")), "this divides by zero"),
    (dict(events=dict(hazard="v", then="v = 1/0")), "events[0].then, line 1: this divides by zero"),
    (dict(events=dict(hazard="v", then="v = log(low)")), "this has no finite real value\n    v = log(low)\n"),
    (dict(events=dict(hazard="v", then="v = 0; i = 1/v")), "divides by zero\n    v = 0; i = 1/v\n           ^^^^"),
    (dict(synapse="i += (-2)**w"), "synapse, line 1: a negative number has powers at whole exponents only"),
    (dict(events=dict(hazard="v", dead_zone="low")), "events[0].dead_zone, line 1: a dead zone must not be neg"),
    (dict(events=dict(hazard="v", dead_zone="tau*v")), "events[0].dead_zone, line 1: v is a state variable, and only"),
    (dict(events=dict(hazard="v", dead_zone="rate")), "the subexpression rate has i, but i is a state variable"),
    (dict(synapse="i += w*I"), "synapse, line 1: I is the input current"),
    (dict(synapse="i += xi"), "synapse, line 1: xi is a white noise"),
    (dict(synapse="w += 1"), "w is the weight of a synapse, and cannot be assigned"),
    (dict(synapse="i + w"), "nothing is assigned here: a statement is written name = formula"),
    (dict(synapse="i == w"), "nothing is assigned here"),
    (dict(synapse="i*2 = w"), "one name must stand before ="),
    (dict(synapse="di/dt = w"), "one name must stand before ="),
    (dict(synapse="i **= w"), "statements assign with = += -= *= or /="),
    (dict(synapse="= w"), "one name must stand before ="),
    (dict(initial=dict(v="t")), 'initial["v"], line 1: t is the time'),
    (dict(initial=dict(v="2*i")), 'initial["v"], line 1: i is a state variable, and only parameters can stand here'),
    (dict(initial=dict(v="xi")), 'initial["v"], line 1: xi is a white noise'),
    (dict(initial=dict(v="w")), 'initial["v"], line 1: w is the weight of a synapse'),
    (dict(initial=dict(v="I")), 'initial["v"], line 1: I is the input current'),
    (dict(initial=dict(u=1.0)), "initial must have state variables as keys, which are v, i, got 'u'"),
    (dict(initial=dict(v=np.nan)), 'initial["v"] must be finite'),
    (dict(initial=dict(v=np.ones((1, 1, 1)))), 'initial["v"] must be a number or an array of shape (N,) or (S, N)'),
    (dict(initial=[1.0]), "initial must be a mapping of names to values"),
    (dict(parameters=dict(v0=1.0)), "initial must be a formula for v, or 'v0' must have no other meaning"),
    (dict(parameters=dict(unused=1.0)), "parameters must be used by a formula, but none has the name 'unused'"),
    (dict(parameters=dict(exp=1.0)), "parameters must have names without another meaning, got 'exp', a function"),
    (dict(parameters=dict(xi=1.0)), "got 'xi', a white noise"),
    (dict(parameters=dict(xi_2=1.0)), "got 'xi_2', a white noise"),
    (dict(parameters=dict(t=1.0)), "got 't', the time"),
    (dict(parameters=dict(I=1.0)), "got 'I', the input current"),
    (dict(parameters=dict(w=1.0)), "got 'w', the weight of a synapse"),
    (dict(parameters=dict(pi=1.0)), "got 'pi', the number π"),
    (dict(parameters=dict(v=1.0)), "got 'v', a state variable"),
    (dict(parameters=dict(rate=1.0)), "got 'rate', a subexpression"),
    (dict(parameters={"lambda": 1.0}), "got 'lambda', a word of Python's"),
    (dict(parameters=dict(weights=1.0)), "got 'weights', a parameter of networks"),
    (dict(parameters=dict(n=1.0)), "got 'n', the number of neurons of a network"),
    (dict(parameters={"a b": 1.0}), "parameters must have names of letters, digits and _, got 'a b'"),
    (dict(parameters={3: 1.0}), "parameters must have names of letters, digits and _, got 3"),
    (dict(parameters=dict(tau=np.nan)), 'parameters["tau"] must be finite'),
    (dict(parameters=dict(tau="fast")), 'parameters["tau"] must be a number or an array'),
    (dict(parameters=dict(tau="1")), "got '1': a formula belongs in equations, as a line tau = formula"),
    (dict(parameters=dict(tau=None)), 'parameters["tau"] must be a number or an array of shape (N,) or (S, N), got N'),
    (dict(parameters=dict(tau=[1.0, "2"])), 'parameters["tau"] must be a number or an array'),
    (dict(parameters=dict(tau=[1.0, None])), 'parameters["tau"] must be a number or an array'),
    (dict(parameters=[1.0]), "parameters must be a mapping of names to values"),
    (dict(interpretation="midpoint"), 'interpretation must be "ito" or "stratonovich", got \'midpoint\''),
    (dict(interpretation=None), 'interpretation must be "ito" or "stratonovich", got None'),
    (dict(synapse=3), "synapse must be a text, got 3"),
    (dict(equations=3), "equations must be a text, got 3"),
    (dict(equations=b"dv/dt = 1"), "equations must be a text"),
    (dict(events="v > 1"), "events must be an Event or a sequence of them, got 'v > 1'"),
    (dict(events=3), "events must be an Event or a sequence of them, got 3"),
    (dict(events=["v"]), "events must be an Event or a sequence of them, got 'v' among them"),
    (dict(events=[Event(hazard="v")] * 16), "events must be at most 15 with a hazard, got 16"),
]


@pytest.mark.parametrize(("change", "message"), ARGUMENTS)
def test_a_model_names_the_argument_it_refuses(change, message):
    equations = "dv/dt = rate + I\nrate = (i - v)/tau\ndi/dt = -i + sin(t)\ndriven = rate + I\nlow = -1\nslow = 2*tau"
    arguments = {"equations": equations, "parameters": {}, **change}
    if isinstance(arguments["parameters"], dict):
        arguments["parameters"] = {"tau": 1.0, **arguments["parameters"]}
    if isinstance(change.get("events"), dict):
        arguments["events"] = Event(**change["events"])
    with pytest.raises(ValidationError) as caught:
        EventSDE(**arguments)
    assert message in str(caught.value)


@pytest.mark.parametrize("text", ["0**2", "(-8)**3", "(-2)**(2 - 1)", "abs(-2)**v", "v**0", "(-v)**2", "2**v"])
def test_powers_that_have_a_value_are_read(text):
    EventSDE(f"dv/dt = {text}")


def test_a_hazard_may_be_constant_or_of_parameters_alone():
    for hazard in ("2", "rate"):
        EventSDE("dv/dt = -v/rate", Event(hazard=hazard, dead_zone="0"), parameters=dict(rate=1.0))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (dict(), "an Event must have one of hazard and crossing, got neither"),
        (
            dict(hazard="v", crossing="v"),
            "an Event must have one of hazard and crossing, got hazard='v' and",
        ),
        (dict(hazard=3.0), "hazard must be a text, got 3.0"),
        (dict(crossing=3.0), "crossing must be a text, got 3.0"),
        (dict(hazard="v", then=None), "then must be a text, got None"),
        (dict(hazard="-1.5"), "hazard, line 1: a hazard is a rate, which must be positive"),
        (dict(hazard="0"), "hazard, line 1: a hazard is a rate, which must be positive"),
        (dict(hazard="1/(v*0)*0/0"), "hazard, line 1: this divides by zero"),
        (dict(crossing="1"), "crossing, line 1: a crossing must depend on a state variable, and this is always 1"),
        (dict(crossing="0"), "crossing, line 1: a crossing must depend on a state variable, and this is always 0"),
        (dict(crossing="2*pi"), "crossing, line 1: a crossing must depend on a state variable, and this is always 6.2"),
        (dict(hazard="v >"), "hazard, line 1: a formula is missing after >"),
        (dict(crossing="v > 1"), "crossing, line 1: a condition cannot stand where a number must"),
        (dict(hazard="v", then="v"), "then, line 1: nothing is assigned here"),
        (dict(hazard="v", dead_zone=-1.0), "dead_zone must not be negative, got -1.0"),
        (dict(hazard="v", dead_zone="-0.1"), "dead_zone, line 1: a dead zone must not be negative, and this is -0.1"),
        (dict(hazard="v", dead_zone="0 - 0.1"), "dead_zone, line 1: a dead zone must not be negative, and this is"),
        (dict(hazard="v", dead_zone="1/0"), "dead_zone, line 1: this divides by zero"),
        (dict(hazard="v", dead_zone=np.inf), "dead_zone must be finite"),
        (dict(hazard="v", dead_zone=None), "dead_zone must be a number, got None"),
        (dict(hazard="v", dead_zone="2*"), "dead_zone, line 1: a formula is missing after *"),
        (dict(crossing="v", dead_zone=0.1), "dead_zone must not be given with a crossing, but with a hazard, got 0.1"),
        (dict(crossing="v", dead_zone="a"), "dead_zone must not be given with a crossing, but with a hazard, got 'a'"),
    ],
)
def test_an_event_names_the_argument_it_refuses(arguments, message):
    with pytest.raises(ValidationError) as caught:
        Event(**arguments)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "dv/dt = -v\ndi/dt = -i/tua  # decay",
            "equations, line 2: unknown name tua; did you mean tau?\n    di/dt = -i/tua  # decay\n               ^^^",
        ),
        (
            "\n    dv/dt = (v\n        + i^2)/tau\n    di/dt = -i",
            "equations, line 3: powers are written **, not ^\n    + i^2)/tau\n       ^",
        ),
        (
            "di/dt = -i/tau\ndv/dt = (i - (v + 1)\n",
            "equations, line 2: this parenthesis is never closed\n    dv/dt = (i - (v + 1)\n            ^",
        ),
        (
            "di/dt = -i/tau\n\tdv/dt =\t1 +\n",
            "equations, line 2: a formula is missing after +\n    dv/dt =\t1 +\n           \t   ^",
        ),
    ],
)
def test_the_place_of_an_error_is_marked_in_its_line(text, message):
    with pytest.raises(FormulaError) as caught:
        EventSDE(text, parameters=dict(tau=1.0))
    assert str(caught.value) == message


def test_of_a_long_line_the_surroundings_of_the_place_are_shown():
    with pytest.raises(FormulaError) as caught:
        EventSDE(f"dv/dt = {'v + ' * 500}u{' + v' * 500}")
    _, line, marks = str(caught.value).split("\n")
    assert len(line) < 200
    assert line[marks.index("^")] == "u"


def test_an_error_of_an_event_shows_the_line_of_its_own_text():
    event = Event(hazard="exp(v)", then="v -= 1\na += 2")
    with pytest.raises(FormulaError) as caught:
        EventSDE("dv/dt = -v", events=[Event(crossing="v"), event])
    assert str(caught.value) == (
        "events[1].then, line 2: unknown name a; statements assign state variables, which are v\n    a += 2\n    ^"
    )


@pytest.mark.parametrize(
    "text",
    [
        "dv/dt = -v",
        "d v/dt = -v",
        "d v / dt=-v",
        "  dv/dt=  - v  ",
        "dv/dt = (-\nv)",
        "dv/dt = \\\n  -v",
        "dv/dt = -v  # ^ ' \" : [",
        "# nothing\n\n\ndv/dt = -v;",
        "dv/dt = - + v",
        "dv/dt = -(((v)))",
        "dv/dt = -u\nu = v",
    ],
)
def test_the_same_equation_may_be_written_in_many_ways(text):
    assert EventSDE(text) == EventSDE("dv/dt = -v")


def test_long_texts_are_read():
    terms = " + ".join(f"{place}*v" for place in range(3000))
    lines = "\n".join(f"dx_{place}_/dt = -x_{place}_" for place in range(500))
    model = EventSDE(f"dv/dt = {terms} - v - (v - 2*v)\n{lines}")
    assert len(model.states) == 501


def test_errors_of_formulas_are_validation_errors_and_pickle():
    with pytest.raises(ValidationError) as caught:
        parse_expression("v^2")
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


def test_letters_of_mathematics_are_names():
    model = EventSDE("dv/dt = -v/τ + σ*xi", parameters={"τ": 1.0, "σ": 0.5})
    assert list(model.parameters) == ["τ", "σ", "v0"]
    # The micro sign is the letter mu.
    assert list(EventSDE("dv/dt = \u00b5", parameters={"\u03bc": 1.0}).parameters) == ["\u03bc", "v0"]
