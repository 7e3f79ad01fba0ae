"""The conditions for pathwise and for unbiased gradients, decided from formulas."""

import time

import numpy as np
import pytest

from ssnn_py.formulas.conditions import Report, report, unbiased
from ssnn_py.formulas.event_sde import Event, EventSDE

SPIKING = dict(hazard="exp(beta*(v - 1))")
LEAKY = dict(
    equations="dv/dt = (i + I - v)/tau_m + sigma*xi\ndi/dt = -i/tau_s + sigma*xi_2",
    synapse="i += w",
    parameters=dict(tau_m=0.1, tau_s=0.2, sigma=0.3, beta=5.0),
)


def leaky(then="v -= 1", **change):
    return EventSDE(**{**LEAKY, "events": Event(**SPIKING, then=then), **change})


def crossing(function, then, equations, parameters=None, **other):
    return EventSDE(equations, Event(crossing=function, then=then), parameters=parameters, **other)


def verdicts(made: Report):
    return {(row.condition, row.event): row.holds for row in made.rows}


def test_a_hazard_with_subtraction_and_additive_noise_satisfies_all_conditions():
    found = report(leaky())
    assert found.first_failure is None
    assert [row.condition for row in found.rows] == ["(i)", "(ii)", "(iii)", "(iii)", "(iv)", "(v)"]
    assert all(row.holds for row in found.rows)
    assert {row.how for row in found.rows} == {"symbolic"}


def test_a_hard_reset_does_not_commute_with_noise():
    failure = report(leaky("v = 0")).first_failure
    assert (failure.condition, failure.event, failure.how) == ("(iii)", 0, "symbolic")
    assert "turns what xi does to v, sigma, into 0, but after it that is sigma" in failure.explanation


def test_a_noise_whose_coefficient_is_zero_everywhere_is_none():
    hard = leaky("v = 0")
    assert report(hard, dict(sigma=0.0)).first_failure is None
    assert report(hard.replace(sigma=np.zeros((2, 3)))).first_failure is None
    assert report(hard, dict(sigma=[0.0, 0.1])).first_failure.condition == "(iii)"
    assert report(hard, dict(sigma=0.0, weights=np.ones((2, 2)))).first_failure is None


def test_one_noisy_neuron_among_many_is_seen():
    sigma = np.zeros((2, 500))
    hard = leaky("v = 0").replace(sigma=sigma, tau_m=np.linspace(0.1, 0.2, 500))
    assert report(hard).first_failure is None
    sigma[1, 333] = 0.1
    assert report(hard, dict(sigma=sigma)).first_failure.condition == "(iii)"


def test_a_crossing_of_a_noisy_variable_is_driven_by_noise():
    model = crossing("v - theta", "v -= 1", "dv/dt = -v + sigma*xi", dict(theta=1.0, sigma=0.1))
    failure = report(model).first_failure
    assert (failure.condition, failure.event) == ("(i)", 0)
    assert "xi drives the crossing -theta + v: dv has xi times sigma" in failure.explanation
    assert report(model, dict(sigma=0.0)).first_failure is None


def test_noise_that_cancels_in_a_crossing_does_not_drive_it():
    model = crossing("u - v", "v += 1", "dv/dt = -v + a*xi\ndu/dt = 2 - u + a*xi", dict(a=0.1))
    assert verdicts(report(model))["(i)", 0] is True
    model = crossing("u**2 - v**2", "v += 1", "dv/dt = -v + u*xi\ndu/dt = 2 - u + v*xi")
    assert verdicts(report(model))["(i)", 0] is True


def test_noise_of_an_input_does_not_drive_the_crossing_of_what_it_charges():
    model = crossing("v - 1", "v = 0", "dv/dt = i - v\ndi/dt = -i + sigma*xi", dict(sigma=0.1))
    found = report(model)
    assert found.first_failure is None
    # Whether it is crossed transversally, and how often, is seen only in a simulation.
    assert verdicts(found) == {
        ("(i)", 0): True,
        ("(ii)", 0): None,
        ("(iii)", 0): True,
        ("(iv)", 0): True,
        ("(v)", 0): None,
    }


@pytest.mark.parametrize("then", ["v -= 1", "v = 0", "v += 2*v"])
def test_multiplicative_noise_does_not_commute_with_a_reset_that_moves_it(then):
    scale = "v**2" if then == "v += 2*v" else "v"
    model = EventSDE(
        f"dv/dt = -v + sigma*{scale}*xi + 0.1*xi_2", Event(hazard="exp(v)", then=then), parameters={"sigma": 0.1}
    )
    assert report(model).first_failure.condition == "(iii)"


def test_a_transition_that_scales_commutes_with_noise_that_is_proportional():
    model = EventSDE("dv/dt = -v + sigma*v*xi", Event(hazard="exp(v)", then="v /= 2"), parameters=dict(sigma=0.1))
    assert report(model).first_failure is None


def test_noise_that_depends_on_what_a_spike_changes_does_not_commute_with_its_arrival():
    model = leaky(equations="dv/dt = (i + I - v)/tau_m + sigma*xi\ndi/dt = -i/tau_s + sigma*i*xi_2")
    failure = report(model).first_failure
    assert (failure.condition, failure.event) == ("(iii)", None)
    assert "the arrival of a spike turns what xi_2 does to i" in failure.explanation


def test_the_transition_must_commute_with_the_noise_where_events_happen_only():
    # Where v is 1, the noise of z is that before and after; elsewhere it is not.
    model = crossing("v - 1", "v = 1 - v", "dv/dt = 2 - v\ndz/dt = v*(v - 1)*xi")
    assert verdicts(report(model))["(iii)", 0] is True
    around = "dx/dt = 0.1*x - y\ndy/dt = x + 0.1*y\ndz/dt = (x**2 + y**2)*xi"
    circle = crossing("x**2 + y**2 - 4", "x /= 2; y /= 2; z /= 4", around)
    assert verdicts(report(circle))["(iii)", 0] is True
    circle = crossing("sqrt(x**2 + y**2) - 2", "x /= 2; y /= 2; z /= 5", around)
    failure = report(circle).first_failure
    assert (failure.condition, failure.how) == ("(iii)", "numeric")


def test_a_crossing_that_the_equations_never_move_is_not_transversal():
    model = crossing("a - 1", "a = 0", "dv/dt = -v\nda/dt = 0")
    assert report(model).first_failure.condition == "(ii)"
    model = crossing("v - u", "v = 0", "dv/dt = 1 - v\ndu/dt = 1 - u")
    assert report(model).first_failure.condition == "(ii)"


@pytest.mark.parametrize(
    ("hazard", "holds", "how"),
    [
        ("exp(v/a)", True, "symbolic"),
        ("a + v**2", True, "symbolic"),
        ("a*(1 + tanh(v))", True, "numeric"),
        ("max(v, 0)", True, "numeric"),
        ("where(v > 0, v, 0)", True, "numeric"),
        ("-a", False, "numeric"),
        ("v", None, "numeric"),
    ],
)
def test_a_hazard_is_positive_or_at_least_not_negative(hazard, holds, how):
    model = EventSDE("dv/dt = a - v", Event(hazard=hazard, then="v -= 1"), parameters=dict(a=0.5))
    row = next(row for row in report(model).rows if row.condition == "(ii)")
    assert (row.holds, row.how) == (holds, how)


@pytest.mark.parametrize(
    ("then", "holds"),
    [
        ("v = r", True),
        ("v -= theta - r", True),
        ("v += 1", False),
        ("v = 2*theta", False),
        ("v *= 0.5", True),
        ("", True),
        ("u += 1", True),
        ("v = theta + u", None),
        ("v = theta - exp(u)", True),
        ("v = theta + exp(u)", False),
    ],
)
def test_after_an_event_its_crossing_is_not_positive(then, holds):
    model = crossing("v - theta", then, "dv/dt = 2 - v + r\ndu/dt = -u", dict(theta=1.0, r=0.0))
    assert verdicts(report(model))["(iv)", 0] is holds


def test_a_reset_above_the_threshold_of_one_neuron_fails():
    model = crossing("v - theta", "v = r", "dv/dt = 2 - v", dict(theta=1.0, r=[0.5, 0.2, 1.5]))
    assert report(model).first_failure.condition == "(iv)"
    assert report(model, dict(theta=[1.0, 1.0, 2.0])).first_failure is None


def test_a_bouncing_ball_comes_back_only_after_it_has_left():
    ball = crossing("-h", "u = -c*u", "dh/dt = u\ndu/dt = -g", dict(c=0.9, g=9.81), initial=dict(h=1.0))
    found = report(ball)
    assert found.first_failure is None
    row = next(row for row in found.rows if row.condition == "(iv)")
    assert (row.holds, row.how) == (True, "symbolic")
    assert "comes again only after it has been negative" in row.explanation


def test_every_event_is_judged_by_itself():
    model = EventSDE(
        "dv/dt = 1 - v + s*xi\nda/dt = -a",
        events=[
            Event(hazard="exp(v)", then="v -= 1"),
            Event(crossing="v - 2", then="v = 0"),
            Event(hazard="1", then="a=0"),
        ],
        parameters=dict(s=0.1),
    )
    found = report(model)
    assert [row.event for row in found.rows if row.condition == "(i)"] == [0, 1, 2]
    assert [(row.condition, row.event) for row in found.rows if row.holds is False] == [("(i)", 1), ("(iii)", 1)]
    assert found.first_failure is found.rows[1]


def test_the_table_has_a_row_for_every_condition():
    found = report(leaky("v = 0"))
    lines = found.table().split("\n")
    assert len(lines) == 1 + len(found.rows)
    assert lines[0].split()[:2] == ["condition", "event"]
    assert any("(iii)" in line and "fails" in line and "symbolic" in line for line in lines)
    assert any("(iii)" in line and "arrival" in line and "holds" in line for line in lines)


def test_a_model_without_events_has_nothing_to_fail():
    assert report(EventSDE("dv/dt = -v + xi")).rows == ()


def test_large_models_are_judged_quickly():
    gates = ("m", "h", "n", "p", "q", "r")
    lines = [f"d{x}/dt = (1 - {x})*exp(-(v + {k})**12/9) - {x}/(1 + exp(v/{k + 1}))" for k, x in enumerate(gates)]
    model = EventSDE(
        "dv/dt = -(m**9*h*(v - 1) + (n + p + q + r)**30*(v + 1)) + s*xi*exp(-(m + n + p)**20)\n" + "\n".join(lines),
        Event(hazard="exp(v)*(1 + tanh(m))**9", then="v = v - exp(-(m + h)**9); m *= tanh(n)"),
        synapse="n += w*max(p, q)",
        parameters=dict(s=0.1),
    )
    started = time.perf_counter()
    assert report(model).first_failure.condition == "(iii)"
    assert time.perf_counter() - started < 20.0


# --- unbiased gradients -----------------------------------------------------------------------------------------------


def test_a_hazard_whose_transitions_commute_has_unbiased_gradients():
    assert unbiased(leaky()) is None
    assert unbiased(leaky("v = 0")) is None
    assert unbiased(leaky("v -= 1; i -= 2")) is None
    assert unbiased(leaky(synapse="")) is None
    assert unbiased(EventSDE("dv/dt = -v")) is None


@pytest.mark.parametrize(
    ("then", "synapse", "word"),
    [
        ("v = 0", "v += w", "an arrival and the transition of an event do not commute: v becomes"),
        ("i *= 0.5", "i += w", "an arrival and the transition of an event do not commute: i becomes"),
        ("v -= 1", "v *= 1 + w", "an arrival and the transition of an event do not commute: v becomes"),
        ("v -= i", "i += w", "an arrival and the transition of an event do not commute: v becomes"),
        ("v -= 1", "i = w", "two arrivals at one target do not commute: i becomes"),
        ("v -= 1", "i += w*(1 - i*i)", "two arrivals at one target do not commute: i becomes"),
    ],
)
def test_transitions_that_do_not_commute_have_no_unbiased_gradients(then, synapse, word):
    assert unbiased(leaky(then, synapse=synapse)).startswith(word)


@pytest.mark.parametrize(("then", "synapse"), [("i *= 0.5", "i *= exp(w)"), ("v -= 1", "i += w*(1 - i)")])
def test_transitions_that_are_not_sums_may_commute(then, synapse):
    assert unbiased(leaky(then, synapse=synapse)) is None


def test_events_other_than_one_hazard_have_no_unbiased_gradients():
    assert "event 0 is a deterministic crossing" in unbiased(crossing("v - 1", "v = 0", "dv/dt = 2 - v"))
    two = EventSDE("dv/dt = -v", [Event(hazard="1"), Event(hazard="exp(v)")])
    assert unbiased(two) == "a neuron must have one event, got 2"


def test_a_parameter_that_is_zero_may_let_transitions_commute():
    model = leaky("v = c*v", synapse="v += w*c", parameters={**LEAKY["parameters"], "c": 0.5})
    assert unbiased(model) is not None
    assert unbiased(model, dict(c=0.0)) is None
