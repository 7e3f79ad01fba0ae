"""Truncated signatures and their gradients."""

import itertools
import math

import numpy as np
import pytest
from conftest import needs_julia
from helpers import random_trains

import ssnn_py as ssnn


def word(signature, letters, channels):
    """The entry of a flat signature that belongs to a word."""
    start = sum(channels**level for level in range(1, len(letters)))
    index = 0
    for letter in letters:
        index = index * channels + letter
    return signature[start + index]


def chen(one, two, channels, depth):
    """Product of two flat signatures in the tensor algebra."""
    out = []
    for level in range(1, depth + 1):
        for letters in itertools.product(range(channels), repeat=level):
            total = word(one, letters, channels) + word(two, letters, channels)
            total += sum(word(one, letters[:k], channels) * word(two, letters[k:], channels) for k in range(1, level))
            out.append(total)
    return np.array(out)


def test_one_straight_piece_is_an_exponential(engine):
    x = np.array([0.3, -1.2, 2.0])
    signature = ssnn.signature([np.zeros(3), x], depth=4, engine=engine)
    for level in range(1, 5):
        for letters in itertools.product(range(3), repeat=level):
            wanted = np.prod([x[letter] for letter in letters]) / math.factorial(level)
            assert word(signature, letters, 3) == pytest.approx(wanted, rel=1e-13)


def test_one_spike_in_closed_form(engine):
    """A spike at τ in [0, T]: time τ, jump 1, time T − τ."""
    tau, end = 0.6, 2.0
    trains = ssnn.SpikeTrains([[tau]], [[0]], 1, 0.0, end)
    signature = ssnn.signature(trains, depth=3, engine=engine)[0]
    wanted = {
        (0,): end,
        (1,): 1,
        (0, 1): tau,
        (1, 0): end - tau,
        (1, 1): 0.5,
        (0, 1, 0): tau * (end - tau),
        (0, 0, 1): tau**2 / 2,
    }
    for letters, value in wanted.items():
        assert word(signature, letters, 2) == pytest.approx(value, rel=1e-14)


def test_chen_and_reparametrisation(engine):
    rng = np.random.default_rng(0)
    path = rng.normal(size=(6, 2))
    whole, first, second = (ssnn.signature(part, 4, engine=engine) for part in (path, path[:4], path[3:]))
    np.testing.assert_allclose(chen(first, second, 2, 4), whole, rtol=1e-11, atol=1e-12)
    halfway = np.insert(path, 3, 0.3 * path[2] + 0.7 * path[3], axis=0)
    np.testing.assert_allclose(ssnn.signature(halfway, 4, engine=engine), whole, rtol=1e-11, atol=1e-12)
    there_and_back = np.concatenate([path, path[::-1]])
    np.testing.assert_allclose(ssnn.signature(there_and_back, 4, engine=engine), 0, atol=1e-11)


def test_shuffle_identity(engine):
    rng = np.random.default_rng(1)
    S = ssnn.signature(rng.normal(size=(5, 2)), 3, engine=engine)
    product = word(S, (0,), 2) * word(S, (0, 1), 2)
    assert product == pytest.approx(2 * word(S, (0, 0, 1), 2) + word(S, (0, 1, 0), 2), rel=1e-12)


def test_spike_trains_are_their_lifts(engine):
    rng = np.random.default_rng(2)
    trains = random_trains(rng, 6, 5, 2, ties=True)
    scales = np.array([0.5, 2.0, 1.5])
    for factors in (None, scales):
        direct = ssnn.signature(trains, 3, scales=factors, engine=engine)
        lifted = ssnn.signature(trains.marcus_lift(), 3, scales=factors, engine=engine)
        np.testing.assert_allclose(direct, lifted, rtol=1e-11, atol=1e-12)
    np.testing.assert_allclose(
        ssnn.expected_signature(trains, 3, engine=engine),
        ssnn.signature(trains, 3, engine=engine).mean(axis=0),
        rtol=1e-12,
    )


def test_backprop_against_finite_differences(engine):
    rng = np.random.default_rng(3)
    trains = random_trains(rng, 4, 4, 2)
    scales = np.array([0.7, 1.3, 0.9])
    bar = rng.normal(size=(4, 39))
    gradient = ssnn.signature_backprop(trains, bar, 3, scales=scales, engine=engine)
    assert np.all(gradient[trains.neurons < 0] == 0)
    step = 1e-6
    for sample, column in zip(*np.nonzero(trains.neurons >= 0), strict=True):
        values = []
        for sign in (1, -1):
            times = trains.times.copy()
            times[sample, column] += sign * step
            moved = ssnn.SpikeTrains(times, trains.neurons, 2, 0.0, 2.0)
            values.append((bar * ssnn.signature(moved, 3, scales=scales, engine=engine)).sum())
        assert gradient[sample, column] == pytest.approx((values[0] - values[1]) / (2 * step), rel=1e-6, abs=1e-7)
    path = rng.normal(size=(2, 4, 2))
    bar = rng.normal(size=(2, 14))
    gradient = ssnn.signature_backprop(path, bar, 3, engine=engine)
    direction = rng.normal(size=path.shape)
    change = (
        ssnn.signature(path + step * direction, 3, engine=engine)
        - ssnn.signature(path - step * direction, 3, engine=engine)
    ) / (2 * step)
    assert (gradient * direction).sum() == pytest.approx((bar * change).sum(), rel=1e-7)


@needs_julia
@pytest.mark.parametrize(("neurons", "depth"), [(1, 1), (1, 5), (2, 4), (4, 3), (7, 2)])
@pytest.mark.parametrize("ties", [False, True])
def test_julia_and_numpy_agree(neurons, depth, ties):
    rng = np.random.default_rng(neurons)
    trains = random_trains(rng, 5, 8, neurons, ties and neurons > 1)
    one, two = (ssnn.signature(trains, depth, engine=name) for name in ("julia", "reference"))
    np.testing.assert_allclose(one, two, rtol=1e-11, atol=1e-11)
    bar = rng.normal(size=one.shape)
    one, two = (ssnn.signature_backprop(trains, bar, depth, engine=name) for name in ("julia", "reference"))
    np.testing.assert_allclose(one, two, rtol=1e-10, atol=1e-10)
    one, two = (ssnn.expected_signature_backprop(trains, bar[0], depth, engine=name) for name in ("julia", "reference"))
    np.testing.assert_allclose(one, two, rtol=1e-10, atol=1e-10)
    path = rng.normal(size=(3, 5, neurons + 1))
    bar = rng.normal(size=(3, bar.shape[1]))
    one, two = (ssnn.signature_backprop(path, bar, depth, engine=name) for name in ("julia", "reference"))
    np.testing.assert_allclose(one, two, rtol=1e-10, atol=1e-9)


@pytest.mark.parametrize(
    ("call", "name"),
    [
        (lambda: ssnn.signature(np.zeros((2, 2)), 0), "depth"),
        (lambda: ssnn.signature(np.zeros((2, 2)), 1.5), "depth"),
        (lambda: ssnn.signature(np.zeros(3), 2), "path"),
        (lambda: ssnn.signature([[np.nan, 1.0]], 2), "path"),
        (lambda: ssnn.signature(np.zeros((1, 2, 1000)), 9), "signature"),
        (lambda: ssnn.signature(np.zeros((2, 2)), 2, scales=[1.0]), "scales"),
        (lambda: ssnn.signature(np.zeros((2, 2)), 2, scales=-1.0), "scales"),
        (lambda: ssnn.signature_backprop(np.zeros((2, 2)), np.zeros(3), 2), "cotangent"),
        (lambda: ssnn.expected_signature_backprop(np.zeros((2, 2)), np.zeros(3), 2), "cotangent"),
    ],
)
def test_what_signatures_refuse_they_name(call, name):
    with pytest.raises(ssnn.ValidationError, match=name):
        call()
