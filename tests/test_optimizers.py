"""Optimizers against steps worked by hand, with settings that keep the numbers short."""

import dataclasses

import numpy as np
import pytest

import ssnn_py as ssnn

RULES = [ssnn.SGD(0.1, momentum=0.5), ssnn.RMSProp(0.1, momentum=0.5), ssnn.Adam(0.1)]


def walk(rule, *gradients):
    """Where a parameter is after each of the gradients, from 1."""
    parameter, state, path = np.array(1.0), rule.init({"c": np.array(1.0)}), []
    for step, g in enumerate(gradients):
        changes, state = rule.update({"c": np.array(g)}, state, step)
        parameter = parameter + changes["c"]
        path.append(float(parameter))
    return path


def test_sgd_with_momentum_is_what_one_computes_by_hand():
    # m = -0.2, then -0.1 + 0.1 = 0, then 0 - 0.05
    assert walk(ssnn.SGD(0.1, momentum=0.5), 2.0, -1.0, 0.5) == pytest.approx([0.8, 0.8, 0.75], rel=1e-14)


def test_rmsprop_is_what_one_computes_by_hand():
    # ν = 0.75·0 + 0.25·4 = 1, then 0.75 + 0.25·1 = 1, then 0.75; m = -0.2, then -0.1 - 0.1 = -0.2, then -0.1
    rule = ssnn.RMSProp(0.1, decay=0.75, momentum=0.5, eps=1e-300)
    assert walk(rule, 2.0, 1.0, 0.0) == pytest.approx([0.8, 0.6, 0.5], rel=1e-14)


def test_eps_of_rmsprop_is_under_the_root():
    # ν + eps = 1 + 3 = 4
    assert walk(ssnn.RMSProp(0.1, decay=0.75, eps=3.0), 2.0) == pytest.approx([0.9], rel=1e-14)


def test_adam_is_what_one_computes_by_hand():
    # m = 1, 0, 1/4 and ν = 2, 3/2, 7/8; corrected 2, 0, 2/7 and 4, 2, 1
    rule = ssnn.Adam(0.1, b1=0.5, b2=0.5, eps=1e-300)
    assert walk(rule, 2.0, -1.0, 0.5) == pytest.approx([0.9, 0.9, 0.9 - 0.2 / 7], rel=1e-14)


def test_rates_follow_the_schedule():
    rate = ssnn.piecewise_constant({3: 0.25, 0: 1.0})
    assert [rate(step) for step in (0, 2, 3, 1000)] == [1.0, 1.0, 0.25, 0.25]
    assert walk(ssnn.SGD(rate), 1.0, 1.0, 1.0, 1.0) == [0.0, -1.0, -2.0, -2.25]


@pytest.mark.parametrize("rule", RULES)
def test_parameters_do_not_mix(rule):
    shapes = {"mu": (2,), "weights": (3, 3), "tau": ()}
    rng = np.random.default_rng(0)
    gradients = [{name: rng.normal(size=shape) for name, shape in shapes.items()} for _ in range(3)]
    joint = rule.init(gradients[0])
    alone = {name: rule.init({name: gradients[0][name]}) for name in shapes}
    for step, grads in enumerate(gradients):
        changes, joint = rule.update(grads, joint, step)
        for name, shape in shapes.items():
            change, alone[name] = rule.update({name: grads[name]}, alone[name], step)
            assert changes[name].shape == shape
            assert np.array_equal(changes[name], change[name])


@pytest.mark.parametrize("rule", RULES)
def test_a_zero_gradient_moves_nothing(rule):
    assert walk(rule, 0.0, 0.0) == [1.0, 1.0]


@pytest.mark.parametrize("rule", RULES)
def test_neither_settings_nor_memory_change_in_place(rule):
    state = rule.init({"c": np.array(1.0)})
    rule.update({"c": np.array(2.0)}, state, 0)
    assert all(not np.any(part) for part in state.values())
    with pytest.raises(dataclasses.FrozenInstanceError):
        rule.learning_rate = 1.0


@pytest.mark.parametrize(
    ("make", "word"),
    [
        (lambda: ssnn.RMSProp(0.0), "learning_rate"),
        (lambda: ssnn.SGD(np.nan), "learning_rate"),
        (lambda: ssnn.SGD("fast"), "learning_rate"),
        (lambda: ssnn.SGD(lambda step: -1.0).rate(7), "step 7"),
        (lambda: ssnn.RMSProp(0.1, decay=1.0), "decay"),
        (lambda: ssnn.RMSProp(0.1, momentum=1.0), "momentum"),
        (lambda: ssnn.RMSProp(0.1, eps=0.0), "eps"),
        (lambda: ssnn.Adam(0.1, b1=-0.1), "b1"),
        (lambda: ssnn.Adam(0.1, b2=1.0), "b2"),
        (lambda: ssnn.Adam(0.1, eps=-1.0), "eps"),
        (lambda: ssnn.piecewise_constant({5: 0.1}), "step 0"),
        (lambda: ssnn.piecewise_constant(0.1), "rates"),
        (lambda: ssnn.piecewise_constant({0: 0.1, -3: 0.1}), "step"),
        (lambda: ssnn.piecewise_constant({0: 0.1, 5: 0.0}), "step 5"),
    ],
)
def test_what_optimizers_refuse_they_name(make, word):
    with pytest.raises(ssnn.ValidationError, match=word):
        make()
