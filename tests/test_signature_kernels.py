"""Signature kernels: closed forms, exact and high-precision references, gradients, and what is built on them."""

import itertools
from decimal import Decimal, localcontext
from fractions import Fraction

import numpy as np
import pytest
from conftest import needs_julia
from helpers import random_trains
from scipy import special

import ssnn_py as ssnn
from ssnn_py.losses import SignatureMMD
from ssnn_py.recordings import with_spike_at_end
from ssnn_py.signature_kernels import (
    PAIRS,
    SignatureKernel,
    median_scales,
    mmd_exchange,
    mmd_weights,
    signature_kernel,
    signature_kernel_backprop,
    signature_kernel_gram,
    signature_kernel_gram_backprop,
    signature_mmd,
    signature_mmd_backprop,
    two_sample_test,
)

# Trains whose spikes are never closer than a difference quotient's step.
THREE = ssnn.SpikeTrains([[0.2, 0.7, 1.1], [0.4, 0.6, 1.9]], [[0, 0, 0], [0, 0, 0]], 1, 0.0, 2.0)


def uniform_trains(rng, samples, spikes, neurons, t1=1.0):
    times = np.sort(rng.uniform(0, t1, (samples, spikes)), axis=1)
    return ssnn.SpikeTrains(times, rng.integers(0, neurons, (samples, spikes)), neurons, 0.0, t1)


def differences(function, points, indices, step=1e-5):
    """Central differences of a scalar function in some entries of an array."""
    out = []
    for index in indices:
        low, high = points.copy(), points.copy()
        low[index] -= step
        high[index] += step
        out.append((function(high) - function(low)) / (2 * step))
    return np.array(out)


def moved(trains, times):
    return ssnn.SpikeTrains(times, trains.neurons, trains.num_neurons, trains.t0, trains.t1)


def decimal_kernel(x, y):
    """Kernel of two paths (L, d) in 40 digits: the series of k on every cell, 45 terms, none left out by size."""
    with localcontext() as context:
        context.prec = 40
        dx, dy = (
            [
                [Decimal(float(b)) - Decimal(float(a)) for a, b in zip(p, q, strict=True)]
                for p, q in itertools.pairwise(z)
            ]
            for z in (x, y)
        )
        terms = 45
        inverse = [Decimal(1)]
        for n in range(1, 2 * terms):
            inverse.append(inverse[-1] / n)
        zeros = [Decimal(0)] * (terms - 1)
        bottoms = [[Decimal(1), *zeros] for _ in dx]
        for v in dy:
            left = [Decimal(1), *zeros]
            for i, u in enumerate(dx):
                c = sum(a * b for a, b in zip(u, v, strict=True))
                p = bottoms[i]
                if c == 0:
                    rise, run = (
                        sum(a * b for a, b in zip(left[1:], inverse[1:], strict=False)),
                        sum(a * b for a, b in zip(p[1:], inverse[1:], strict=False)),
                    )
                    bottoms[i], left = [p[0] + rise, *p[1:]], [left[0] + run, *left[1:]]
                    continue
                powers = [c**n for n in range(terms)]
                # κ_mn = c^min(m, n) times the edge coefficient on the diagonal through (m, n).
                far = []
                for one, other in ((p, left), (left, p)):
                    edge = []
                    for m in range(terms):
                        near = sum(powers[n] * one[m - n] * inverse[n] for n in range(m + 1))
                        edge.append(near + powers[m] * sum(other[n] * inverse[m + n] for n in range(1, terms)))
                    far.append(edge)
                bottoms[i], left = far
        return float(sum(a * b for a, b in zip(left, inverse, strict=False)))


def rational_levels(trains, depth):
    """Signature levels of one train's Marcus lift in exact arithmetic, from words as tuples of letters."""
    points = [[Fraction(value) for value in point] for point in trains.marcus_lift()[0]]
    levels = [{(): Fraction(1)}] + [{} for _ in range(depth)]
    for a, b in itertools.pairwise(points):
        axis = [k for k, (low, high) in enumerate(zip(a, b, strict=True)) if low != high]
        if not axis:
            continue
        (letter,), step = axis, b[axis[0]] - a[axis[0]]
        new = [dict(level) for level in levels]
        factor = Fraction(1)
        for power in range(1, depth + 1):
            factor *= step / power
            for low in range(depth + 1 - power):
                for word, value in levels[low].items():
                    longer = word + (letter,) * power
                    new[low + power][longer] = new[low + power].get(longer, 0) + value * factor
        levels = new
    return levels


def test_a_path_of_one_point_has_kernel_one(engine):
    Y = [[0.0, 1.0], [2.0, 3.0]]
    assert signature_kernel([[1.0, 2.0]], Y, engine=engine).tolist() == [1.0]
    X_bar, Y_bar = signature_kernel_backprop([[1.0, 2.0]], Y, [1.0], engine=engine)
    assert not X_bar.any()
    assert not Y_bar.any()
    assert (X_bar.shape, Y_bar.shape) == ((1, 2), (2, 2))


@pytest.mark.parametrize("product", [1e-9, 0.3, 1.0, 7.5, 90.0, -0.3, -3.0])
def test_one_straight_piece_each(engine, product):
    expected = special.i0(2 * np.sqrt(product)) if product > 0 else special.j0(2 * np.sqrt(-product))
    k = signature_kernel([[0.0], [1.0]], [[0.0], [product]], engine=engine)[0]
    assert abs(k - expected) < 2e-14 * max(1, abs(expected))


def test_trains_without_spikes(engine):
    X = ssnn.SpikeTrains([[np.inf]], [[-1]], 1, 0.0, 3.0)
    k = signature_kernel(X, X, engine=engine)[0]
    assert abs(k / special.i0(6.0) - 1) < 1e-14
    assert signature_kernel_backprop(X, X, [1.0], engine=engine)[0].tolist() == [[0.0]]


def test_exact_rational_arithmetic_to_depth_12(engine):
    X = ssnn.SpikeTrains([[0.125, 0.5, 0.75]], [[0, 0, 0]], 1, 0.0, 1.0)
    Y = ssnn.SpikeTrains([[0.25, 0.375, 0.875]], [[0, 0, 0]], 1, 0.0, 1.0)
    one, other = (rational_levels(Z, 12) for Z in (X, Y))
    levels = [sum(value * b.get(word, 0) for word, value in a.items()) for a, b in zip(one, other, strict=True)]
    for depth in (1, 2, 5, 12):
        expected = float(sum(levels[: depth + 1]))
        assert abs(signature_kernel(X, Y, depth=depth, engine=engine)[0] / expected - 1) < 1e-14
    # With scales 1/2 level l is divided by 4^l, and what is beyond depth 12 is below rounding.
    small = float(sum(value / 4**level for level, value in enumerate(levels)))
    assert abs(signature_kernel(X, Y, scales=0.5, engine=engine)[0] / small - 1) < 1e-14


def test_truncations_approach_the_kernel(engine):
    rng = np.random.default_rng(1)
    X, Y = random_trains(rng, 4, 3, 1), random_trains(rng, 4, 3, 1)
    whole = signature_kernel(X, Y, scales=0.6, engine=engine)
    errors = [
        (whole - signature_kernel(X, Y, scales=0.6, depth=depth, engine=engine)).max() for depth in (1, 3, 5, 8, 11)
    ]
    assert all(late < early for early, late in itertools.pairwise(errors))
    assert errors[-1] < 1e-8


@needs_julia
@pytest.mark.parametrize(("spikes", "neurons", "t1"), [(3, 1, 5.0), (12, 3, 1.0), (40, 22, 1.0)])
def test_kernels_agree_with_arithmetic_in_forty_digits(spikes, neurons, t1):
    rng = np.random.default_rng(spikes)
    X, Y = uniform_trains(rng, 1, spikes, neurons, t1), uniform_trains(rng, 1, spikes, neurons, t1)
    expected = decimal_kernel(X.marcus_lift()[0], Y.marcus_lift()[0])
    assert abs(signature_kernel(X, Y)[0] / expected - 1) < 1e-13
    assert abs(signature_kernel(X.marcus_lift(), Y.marcus_lift())[0] / expected - 1) < 1e-13


@needs_julia
@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("neurons", [1, 4])
@pytest.mark.parametrize("normalize", [False, True])
def test_julia_and_numpy_agree_on_trains(ties, neurons, normalize):
    rng = np.random.default_rng(3)
    X, Y = random_trains(rng, 5, 7, neurons, ties), random_trains(rng, 6, 6, neurons, ties)
    options = {"scales": rng.uniform(0.3, 1.2, neurons + 1), "normalize": normalize}
    results = []
    for engine in ("julia", "reference"):
        cross, own = np.random.default_rng(0).normal(size=(5, 6)), np.random.default_rng(1).normal(size=(5, 5))
        results.append(
            (
                signature_kernel_gram(X, Y, engine=engine, **options),
                *signature_kernel_gram_backprop(X, Y, cross, engine=engine, **options),
                signature_kernel_gram_backprop(X, None, own, engine=engine, **options)[0],
                *signature_kernel_backprop(X, Y[:5], cross[:, 0], engine=engine, **options),
            )
        )
    for a, b in zip(*results, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-13 * np.abs(b).max())


@needs_julia
@pytest.mark.parametrize(
    "options",
    [{}, {"lift": "rbf", "sigma": 0.8}, {"lift": "rbf", "dyadic_order": 1}, {"depth": 3}, {"normalize": True}],
)
def test_julia_and_numpy_agree_on_paths(options):
    rng = np.random.default_rng(4)
    X, Y, cross = rng.normal(size=(3, 5, 2)), rng.normal(size=(5, 4, 2)), rng.normal(size=(3, 5))
    one, two = (
        signature_kernel_gram(X, Y, scales=[0.7, 0.5], engine=name, **options) for name in ("julia", "reference")
    )
    np.testing.assert_allclose(one, two, rtol=1e-12)
    one, two = (
        signature_kernel_gram_backprop(X, Y, cross, scales=[0.7, 0.5], engine=name, **options)
        for name in ("julia", "reference")
    )
    for a, b in zip(one, two, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-11, atol=1e-12 * np.abs(b).max())


@pytest.mark.parametrize("options", [{}, {"scales": [0.5, 1.2]}, {"normalize": True}, {"depth": 4}, {"lift": "rbf"}])
def test_gradients_in_spike_times(engine, options):
    Y = ssnn.SpikeTrains([[0.5, 0.9, np.inf], [0.1, 1.0, 1.5]], [[0, 0, -1], [0, 0, 0]], 1, 0.0, 2.0)
    indices = [(0, 0), (0, 2), (1, 1), (1, 2)]
    X_bar, Y_bar = signature_kernel_backprop(THREE, Y, [1.3, -0.4], engine=engine, **options)

    def value(X, Z):
        return float(np.array([1.3, -0.4]) @ signature_kernel(X, Z, engine=engine, **options))

    expected = differences(lambda times: value(moved(THREE, times), Y), THREE.times, indices)
    np.testing.assert_allclose(
        [X_bar[index] for index in indices], expected, rtol=1e-6, atol=1e-6 * np.abs(expected).max()
    )
    indices = [(0, 0), (1, 0), (1, 2)]
    expected = differences(lambda times: value(THREE, moved(Y, times)), Y.times, indices)
    np.testing.assert_allclose(
        [Y_bar[index] for index in indices], expected, rtol=1e-6, atol=1e-6 * np.abs(expected).max()
    )
    assert Y_bar[0, 2] == 0


@pytest.mark.parametrize(
    "options",
    [{}, {"normalize": True}, {"depth": 3}, {"lift": "rbf", "sigma": 0.7}, {"lift": "rbf", "dyadic_order": 2}],
)
def test_gradients_in_points(engine, options):
    rng = np.random.default_rng(5)
    X, Y, weights = rng.normal(size=(2, 4, 2)), rng.normal(size=(3, 3, 2)), rng.normal(size=(2, 3))
    X_bar, Y_bar = signature_kernel_gram_backprop(X, Y, weights, engine=engine, **options)
    own_bar = signature_kernel_gram_backprop(X, None, weights[:, :2], engine=engine, **options)[0]

    def value(x, y):
        return (weights[:, : len(x) if y is None else 3] * signature_kernel_gram(x, y, engine=engine, **options)).sum()

    for bar, points, function in (
        (X_bar, X, lambda x: value(x, Y)),
        (Y_bar, Y, lambda y: value(X, y)),
        (own_bar, X, lambda x: value(x, None)),
    ):
        indices = list(np.ndindex(points.shape))[::3]
        expected = differences(function, points, indices)
        np.testing.assert_allclose([bar[i] for i in indices], expected, rtol=1e-6, atol=1e-6 * np.abs(expected).max())


def test_speed_along_the_path_does_not_matter(engine):
    rng = np.random.default_rng(6)
    X, Y = rng.normal(size=(4, 2)), rng.normal(size=(5, 2))
    slower = np.insert(X, [1, 2], [0.3 * X[0] + 0.7 * X[1], 0.9 * X[1] + 0.1 * X[2]], axis=0)
    slower = np.insert(slower, 2, slower[2], axis=0)
    np.testing.assert_allclose(
        signature_kernel(slower, Y, engine=engine), signature_kernel(X, Y, engine=engine), rtol=1e-13
    )


def test_simultaneous_spikes_go_along_one_line(engine):
    X = ssnn.SpikeTrains([[0.5, 0.5, 0.9]], [[0, 1, 0]], 2, 0.0, 1.0)
    Y = ssnn.SpikeTrains([[0.3, 0.6, 0.6]], [[1, 0, 0]], 2, 0.0, 1.0)
    as_path = np.array([[0, 0, 0], [0.5, 0, 0], [0.5, 1, 1], [0.9, 1, 1], [0.9, 2, 1], [1.0, 2, 1]])
    as_other = np.array([[0, 0, 0], [0.3, 0, 0], [0.3, 0, 1], [0.6, 0, 1], [0.6, 2, 1], [1.0, 2, 1]])
    for one, other in ((as_path, as_other), (X, as_other), (as_path, Y)):
        np.testing.assert_allclose(
            signature_kernel(X, Y, engine=engine), signature_kernel(one, other, engine=engine), rtol=1e-13
        )

    def value(shift):
        return signature_kernel(moved(X, X.times + np.array([shift, shift, 0.0])), Y, engine=engine)[0]

    slope = (value(1e-5) - value(-1e-5)) / 2e-5
    X_bar, _ = signature_kernel_backprop(X, Y, [1.0], engine=engine)
    np.testing.assert_allclose([X_bar[0, 0], X_bar[0, 1]], slope / 2, rtol=1e-7)


def test_gram_matrices_are_symmetric_and_positive(engine):
    X = random_trains(np.random.default_rng(7), 9, 4, 2)
    K = signature_kernel_gram(X, engine=engine)
    assert np.array_equal(K, K.T)
    np.testing.assert_allclose(K, signature_kernel_gram(X, X, engine=engine), rtol=1e-13)
    assert np.linalg.eigvalsh(K).min() > -1e-13 * K.max()
    np.testing.assert_allclose(np.diag(K), signature_kernel(X, X, engine=engine), rtol=1e-13)
    normalized = signature_kernel_gram(X, normalize=True, engine=engine)
    np.testing.assert_allclose(normalized, K / np.sqrt(np.outer(np.diag(K), np.diag(K))), rtol=1e-13)


@needs_julia
def test_threads_do_not_change_a_bit(monkeypatch):
    rng = np.random.default_rng(8)
    X, Y, weights = random_trains(rng, 20, 6, 2), random_trains(rng, 21, 6, 2), rng.normal(size=(20, 21))
    results = []
    for threads in ("1", "2"):
        monkeypatch.setenv("SSNN_NUM_THREADS", threads)
        own_bar = signature_kernel_gram_backprop(X, None, weights[:, :20])[0]
        results.append((signature_kernel_gram(X, Y), *signature_kernel_gram_backprop(X, Y, weights), own_bar))
    assert all(np.array_equal(a, b) for a, b in zip(*results, strict=True))


@needs_julia
@pytest.mark.parametrize(("spikes", "scales"), [(110, [1.0, 0.4]), (340, [1.0, 1.0])])
def test_many_spikes_of_one_neuron(spikes, scales):
    """Beyond the size of the table, and beyond 2^900, where a lane is taken in larger units."""
    rng = np.random.default_rng(9)
    X, Y = uniform_trains(rng, 1, spikes, 1), uniform_trains(rng, 1, spikes, 1)
    k = signature_kernel(X, Y, scales=scales)
    np.testing.assert_allclose(k, signature_kernel(X.marcus_lift(), Y.marcus_lift(), scales=scales), rtol=1e-11)
    assert (k[0] > 2.0**900) == (spikes == 340)
    X_bar, _ = signature_kernel_backprop(X, Y, 1 / k, scales=scales)
    indices = [(0, 20), (0, 80)]
    expected = differences(
        lambda times: signature_kernel(moved(X, times), Y, scales=scales) / k, X.times, indices, 1e-6
    )
    np.testing.assert_allclose([[X_bar[i]] for i in indices], expected, rtol=1e-6, atol=1e-7)


@needs_julia
def test_kernels_too_large_for_floats():
    rng = np.random.default_rng(10)
    X = uniform_trains(rng, 2, 400, 1)
    with pytest.raises(ssnn.ValidationError, match="normalize"):
        signature_kernel_gram(X)
    K = signature_kernel_gram(X, normalize=True)
    np.testing.assert_allclose(np.diag(K), 1.0, rtol=1e-12)
    assert 0 < K[0, 1] < 1
    X_bar, _ = signature_kernel_gram_backprop(X, None, np.ones((2, 2)), normalize=True)
    indices = [(0, 100), (1, 300)]
    expected = differences(
        lambda times: signature_kernel_gram(moved(X, times), normalize=True).sum(), X.times, indices, 1e-7
    )
    np.testing.assert_allclose([X_bar[i] for i in indices], expected, rtol=1e-5, atol=1e-6)
    long = uniform_trains(rng, 2, 1000, 100)
    assert 0 < signature_kernel_gram(long, normalize=True)[0, 1] < 1
    with pytest.raises(ssnn.ValidationError, match="smaller scales"):
        signature_kernel_gram(X, scales=3.0)


def test_mmd_is_the_distance_of_expected_signatures(engine):
    rng = np.random.default_rng(11)
    X, Y = random_trains(rng, 5, 3, 2), random_trains(rng, 7, 3, 2)
    difference = ssnn.expected_signature(X, 4, engine=engine) - ssnn.expected_signature(Y, 4, engine=engine)
    assert signature_mmd(X, Y, unbiased=False, depth=4, engine=engine) == pytest.approx(
        (difference**2).sum(), rel=1e-10
    )
    K, L, M = (signature_kernel_gram(*pair, engine=engine) for pair in ((X,), (Y,), (X, Y)))
    unbiased = (K.sum() - np.trace(K)) / 20 + (L.sum() - np.trace(L)) / 42 - 2 * M.mean()
    assert signature_mmd(X, Y, engine=engine) == pytest.approx(unbiased, rel=1e-12)


@pytest.mark.parametrize("unbiased", [False, True])
@pytest.mark.parametrize("options", [{}, {"normalize": True}, {"depth": 3}])
def test_loss_and_its_gradient(engine, monkeypatch, unbiased, options):
    monkeypatch.setenv("SSNN_ENGINE", engine)
    data = ssnn.SpikeTrains([[0.3, 0.8], [0.6, np.inf], [0.2, 1.7]], [[0, 0], [0, -1], [0, 0]], 1, 0.0, 2.0)
    loss = SignatureMMD(unbiased=unbiased, scales=[0.5, 1.0], **options)
    value, bar = loss(THREE, data)[:2]
    options = {**options, "scales": [0.5, 1.0], "unbiased": unbiased}
    assert value == pytest.approx(signature_mmd(THREE, data, **options), rel=1e-12)
    np.testing.assert_allclose(bar, signature_mmd_backprop(THREE, data, **options), rtol=1e-12)
    indices = [(0, 0), (0, 1), (1, 2)]
    expected = differences(lambda times: loss(moved(THREE, times), data).value, THREE.times, indices)
    np.testing.assert_allclose([bar[i] for i in indices], expected, rtol=1e-6, atol=1e-7)


def test_loss_of_some_neurons(engine, monkeypatch):
    monkeypatch.setenv("SSNN_ENGINE", engine)
    rng = np.random.default_rng(12)
    X, Y = random_trains(rng, 4, 6, 3), random_trains(rng, 5, 6, 3)
    value, bar = SignatureMMD(neurons=[2, 0])(X, Y)[:2]
    assert value == pytest.approx(signature_mmd(X.select([2, 0]), Y.select([2, 0])), rel=1e-12)
    assert np.all(bar[X.neurons == 1] == 0)
    assert bar.shape == X.times.shape


def test_the_two_sample_test_tells_laws_apart():
    rng = np.random.default_rng(13)
    X, Y = uniform_trains(rng, 30, 3, 1), uniform_trains(rng, 30, 3, 1)
    late = ssnn.SpikeTrains(np.sqrt(Y.times), Y.neurons, 1, 0.0, 1.0)
    assert two_sample_test(X, late, num_permutations=200).p_value < 0.01
    same = two_sample_test(X, Y, num_permutations=200)
    assert same.p_value > 0.05
    assert same == two_sample_test(X, Y, num_permutations=200)
    both = ssnn.SpikeTrains(np.vstack([X.times, Y.times]), np.vstack([X.neurons, Y.neurons]), 1, 0.0, 1.0)
    scaled = signature_mmd(X, Y, scales=ssnn.median_scales(both))
    assert same.statistic == pytest.approx(scaled, rel=1e-10)
    plain = two_sample_test(X, Y, num_permutations=200, scales=1.0)
    assert plain.statistic == pytest.approx(signature_mmd(X, Y), rel=1e-10)


def test_p_values_of_equal_distributions_are_uniform():
    rng = np.random.default_rng(14)
    values = [
        two_sample_test(uniform_trains(rng, 8, 2, 1), uniform_trains(rng, 8, 2, 1), num_permutations=99).p_value
        for _ in range(100)
    ]
    assert 0.4 < np.mean(values) < 0.6
    assert np.mean(np.array(values) <= 0.1) < 0.2


def test_median_scales_give_unit_variation():
    X = ssnn.SpikeTrains([[0.5, 1.0, 1.5], [0.5, 0.7, np.inf]], [[0, 0, 1], [0, 0, -1]], 3, 0.0, 4.0)
    np.testing.assert_allclose(median_scales(X), [0.25, 0.5, 2.0, 1.0])
    np.testing.assert_allclose(median_scales([[0.0, 0.0], [2.0, 0.0], [1.0, 0.0]]), [1 / 3, 1.0])


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        ((THREE, THREE[0]), {}, "Y must have the 2 samples"),
        ((THREE[:0], THREE), {}, "X must have at least one sample"),
        ((THREE, [[0.0], [1.0]]), {}, "Y must have the 2 channels"),
        ((np.zeros(3), THREE), {}, "X must be points"),
        (([[0.0, np.nan], [1.0, 1.0]], THREE), {}, "X must be finite"),
        ((THREE, THREE), {"depth": 0}, "depth"),
        ((THREE, THREE), {"lift": "cubic"}, "lift"),
        ((THREE, THREE), {"lift": "rbf", "sigma": 0.0}, "sigma"),
        ((THREE, THREE), {"lift": "rbf", "depth": 3}, "depth"),
        ((THREE, THREE), {"dyadic_order": 1}, "dyadic_order"),
        ((THREE, THREE), {"scales": [1.0, 2.0, 3.0]}, "scales"),
        ((THREE, THREE), {"scales": -1.0}, "scales"),
    ],
)
def test_what_kernels_refuse_they_name(arguments, options, message):
    with pytest.raises(ssnn.ValidationError, match=message):
        signature_kernel(*arguments, **options)


def test_weights_and_samples_that_do_not_fit_are_refused():
    with pytest.raises(ssnn.ValidationError, match="cotangent must have shape"):
        signature_kernel_backprop(THREE, THREE, [1.0, 2.0, 3.0])
    with pytest.raises(ssnn.ValidationError, match="cotangent must have shape"):
        signature_kernel_gram_backprop(THREE, None, np.ones((2, 3)))
    with pytest.raises(ssnn.ValidationError, match="at least 2 samples"):
        signature_mmd(THREE, THREE[0])


@needs_julia
@pytest.mark.parametrize(("neurons", "spikes", "ties"), [(2, 40, False), (1, 100, False), (2, 40, True)])
def test_one_more_spike_at_the_end_of_trains_whose_kernels_exceed_float64(neurons, spikes, ties):
    # By tables of cells, by series as there are too many spikes of one neuron, and by series as spikes coincide.
    rng = np.random.default_rng(2)
    X, Y = (uniform_trains(rng, samples, spikes, neurons, t1=330.0) for samples in (2, 1))
    if ties:
        X.times[:, 10:30:3] = X.times[:, 11:31:3]
    kernel, weights = SignatureKernel(normalize=True, engine="julia"), mmd_weights(2, 1, unbiased=False)
    assert kernel._run(X, X, PAIRS).exponents.min() > 0
    entries = kernel.mmd_with_entries(X, Y, weights)[2]
    exchange = mmd_exchange(kernel, X, Y, weights)
    wanted = np.transpose([exchange(with_spike_at_end(X, k).spike_trains) for k in range(neurons)])
    assert np.abs(wanted).max() > 1e-6
    np.testing.assert_allclose(entries, wanted, rtol=1e-7, atol=1e-13)


@needs_julia
def test_one_more_spike_whose_kernels_exceed_float64_asks_for_scales():
    trains = uniform_trains(np.random.default_rng(2), 3, 60, 2, t1=360.0)
    with pytest.raises(ssnn.ValidationError, match="smaller scales"):
        SignatureMMD().with_entries(trains, trains)
