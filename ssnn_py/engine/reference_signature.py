"""Signatures and their kernels in plain NumPy, piece after piece, for all samples at once. The oracle of the tests."""

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


def end_changes(S: Array, channel: int, height: float, channels: int) -> Array:
    """S ⊗ exp(height · e_channel) − S per sample: what a spike at the end of a train changes in its signature, (S, d +
    … + d^m).
    """
    levels, start = [np.ones((len(S), 1))], 0
    while start < S.shape[1]:
        size = channels ** len(levels)
        levels.append(S[:, start : start + size])
        start += size
    jump = np.zeros((1, channels))
    jump[0, channel] = height
    after = _product(levels, _exponential(jump, len(levels) - 1))
    return np.concatenate([b - a for a, b in zip(levels[1:], after[1:], strict=True)], axis=1)


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
    return times_bar(X, points_bar)


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


def times_bar(X: SpikeTrains, points_bar: Array) -> Array:
    """Gradient in the times of spikes from that in the points of their Marcus lift."""
    # A spike's time stands at both ends of its jump; spikes at one time share what moves them all.
    bar = points_bar[:, 1:-1:2, 0] + points_bar[:, 2:-1:2, 0]
    bar = np.where(X.neurons >= 0, bar, 0.0)
    for sample in np.flatnonzero(((X.times[:, 1:] == X.times[:, :-1]) & (X.neurons[:, 1:] >= 0)).any(axis=1)):
        for time in np.unique(X.times[sample][X.neurons[sample] >= 0]):
            group = X.times[sample] == time
            bar[sample, group] = bar[sample, group].mean()
    return bar


# --- kernels
# ---------------------------------------------------------------------------------------------------------------------


def _lifted(X: Array, Y: Array, sigma: float) -> Array:
    distance = ((X[:, :, None, :] - Y[:, None, :, :]) ** 2).sum(axis=-1)
    return np.asarray(np.exp(-distance / (2.0 * sigma**2)))


def _coefficients(X: Array, Y: Array, sigma: float | None) -> Array:
    """Inner products of the pieces of X and Y, (S, L − 1, L' − 1); of their lifted pieces where there is a `sigma`."""
    if sigma is None:
        return np.asarray(np.diff(X, axis=1) @ np.swapaxes(np.diff(Y, axis=1), 1, 2))
    return np.diff(np.diff(_lifted(X, Y, sigma), axis=1), axis=2)


def _series(c: Array) -> list[list[Array]]:
    """Per cell the coefficients of k = Σ a_mn s^m t^n, (S, terms, terms): a_{m+1,n+1} = c a_mn / ((m+1)(n+1))."""
    longest = max(np.abs(c).sum(axis=1).max(initial=0.0), np.abs(c).sum(axis=2).max(initial=0.0))
    terms = 8
    while terms * np.log(longest + 1e-300) - 2.0 * sum(np.log(np.arange(1, terms))) > -42.0:
        terms += 1
    samples, n, m = c.shape
    start = np.zeros((samples, terms))
    start[:, 0] = 1.0
    bottom = [start] * n
    cells: list[list[Array]] = [[] for _ in range(n)]
    for j in range(m):
        left = start
        for i in range(n):
            a = np.zeros((samples, terms, terms))
            a[:, :, 0], a[:, 0, :] = bottom[i], left
            for row in range(1, terms):
                a[:, row, 1:] = c[:, i, j, None] * a[:, row - 1, :-1] / (row * np.arange(1, terms))
            bottom[i], left = a.sum(axis=2), a.sum(axis=1)
            cells[i].append(a)
    return cells


def kernels(X: Array, Y: Array, sigma: float | None = None) -> Array:
    """Signature kernels of pairs of paths (S, L, d) and (S, L', d), shape (S,)."""
    c = _coefficients(X, Y, sigma)
    return np.ones(len(X)) if 0 in c.shape[1:] else np.asarray(_series(c)[-1][-1].sum(axis=(1, 2)))


def kernels_backprop(X: Array, Y: Array, bar: Array, sigma: float | None = None) -> tuple[Array, Array]:
    """Gradients of Σ bar · k in the points: ∂k/∂c is the cell's integral of k times the kernel of what follows."""
    c = _coefficients(X, Y, sigma)
    c_bar = np.zeros(c.shape)
    if c.size:
        ahead, back = _series(c), _series(c[:, ::-1, ::-1])
        terms = ahead[0][0].shape[1]
        # ∫₀¹ s^m (1 − s)^n ds = m! n! / (m + n + 1)!
        beta = np.ones((terms, terms))
        for m, n in itertools.product(range(terms), repeat=2):
            beta[m, n] = 1.0 / (m + 1) if n == 0 else beta[m, n - 1] * n / (m + n + 1)
        for i, j in np.ndindex(c.shape[1:]):
            a, b = ahead[i][j], back[-1 - i][-1 - j]
            c_bar[:, i, j] = bar * np.einsum("smn,smn->s", a, beta @ b @ beta.T)
    if sigma is None:
        x_bar, y_bar = c_bar @ np.diff(Y, axis=1), np.swapaxes(c_bar, 1, 2) @ np.diff(X, axis=1)
        return tuple(np.diff(np.pad(-part, ((0, 0), (1, 1), (0, 0))), axis=1) for part in (x_bar, y_bar))  # type: ignore[return-value]
    lifted_bar = np.diff(np.diff(np.pad(c_bar, ((0, 0), (1, 1), (1, 1))), axis=1), axis=2)
    pull = (-lifted_bar * _lifted(X, Y, sigma) / sigma**2)[..., None] * (X[:, :, None, :] - Y[:, None, :, :])
    return pull.sum(axis=2), -pull.sum(axis=1)
