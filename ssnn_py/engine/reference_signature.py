"""Signatures in plain NumPy: Chen's identity, piece after piece, for all samples at once. The oracle of the tests."""

from __future__ import annotations

import itertools

import numpy as np
from numpy.typing import NDArray

from ..spike_trains import SpikeTrains

Array = NDArray[np.float64]


def _outer(a: Array, b: Array) -> Array:
    """a ⊗ b per sample, flat: (S, p) and (S, q) to (S, p·q)."""
    return np.asarray((a[:, :, None] * b[:, None, :]).reshape(a.shape[0], -1))


def _exponential(x: Array, depth: int) -> list[Array]:
    levels = [np.ones((x.shape[0], 1)), x]
    for level in range(2, depth + 1):
        levels.append(_outer(levels[-1], x) / level)
    return levels


def _product(a: list[Array], b: list[Array]) -> list[Array]:
    return [sum((_outer(a[k], b[level - k]) for k in range(level + 1)), np.zeros(())) for level in range(len(a))]


def _prefixes(points: Array, depth: int) -> list[list[Array]]:
    """Signatures of the path up to each of its points, level 0 included."""
    one = _exponential(np.zeros((points.shape[0], points.shape[2])), depth)
    out = [one]
    for increment in np.moveaxis(np.diff(points, axis=1), 1, 0):
        out.append(_product(out[-1], _exponential(increment, depth)))
    return out


def _points(X: SpikeTrains | Array, scales: Array | None) -> Array:
    points = X.marcus_lift() if isinstance(X, SpikeTrains) else X
    return points if scales is None else points * scales


def signatures(X: SpikeTrains | Array, depth: int, scales: Array | None = None) -> Array:
    """Signatures of a batch, shape (S, d + … + d^m)."""
    return np.concatenate(_prefixes(_points(X, scales), depth)[-1][1:], axis=1)


def signatures_backprop(X: SpikeTrains | Array, bar: Array, depth: int, scales: Array | None = None) -> Array:
    """Gradient of Σ ⟨bar, signature⟩ in the points, or in the times of the spikes."""
    points = _points(X, scales)
    samples, length, channels = points.shape
    offsets = np.cumsum([0, *(channels**level for level in range(1, depth + 1))])
    levels = [bar[:, a:b] for a, b in itertools.pairwise(offsets)]
    before = _prefixes(points, depth)
    backward = [_exponential(np.zeros((samples, channels)), depth)]
    increments = np.diff(points, axis=1)
    for k in range(length - 2, -1, -1):
        backward.append(_product(_exponential(increments[:, k], depth), backward[-1]))
    after = backward[::-1]
    increments_bar = np.zeros(increments.shape)
    for k in range(length - 1):
        for channel in range(channels):
            # ∂S/∂x_a of one piece: Chen's identity with the derivative of its exponential in the middle.
            inner = _exponential_derivative(increments[:, k], channel, depth)
            change = _product(_product(before[k], inner), after[k + 1])
            increments_bar[:, k, channel] = sum((b * c).sum(axis=1) for b, c in zip(levels, change[1:], strict=True))
    points_bar = np.zeros(points.shape)
    points_bar[:, 1:] += increments_bar
    points_bar[:, :-1] -= increments_bar
    if scales is not None:
        points_bar = points_bar * scales
    if not isinstance(X, SpikeTrains):
        return points_bar
    # A spike's time stands at both ends of its jump; spikes at one time share what moves them all.
    times_bar = points_bar[:, 1:-1:2, 0] + points_bar[:, 2:-1:2, 0]
    times_bar = np.where(X.neurons >= 0, times_bar, 0.0)
    for sample in np.flatnonzero(((X.times[:, 1:] == X.times[:, :-1]) & (X.neurons[:, 1:] >= 0)).any(axis=1)):
        for time in np.unique(X.times[sample][X.neurons[sample] >= 0]):
            group = X.times[sample] == time
            times_bar[sample, group] = times_bar[sample, group].mean()
    return times_bar


def _exponential_derivative(x: Array, channel: int, depth: int) -> list[Array]:
    """∂ exp(x)/∂x_a per level: Σ over the place that a takes among the factors."""
    samples, channels = x.shape
    unit = np.zeros((samples, channels))
    unit[:, channel] = 1.0
    levels = [np.zeros((samples, 1)), unit]
    powers = _exponential(x, depth)
    for level in range(2, depth + 1):
        levels.append((_outer(levels[-1], x) + _outer(powers[level - 1], unit)) / level)
    return levels
