"""The solvers' formulas of docs/numerics.md, written once for values and tangents together, over any equations."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from . import Array
from .reference_duals import Dual, stack
from .reference_models import Equations, SLIFEquations, State, plus, scaled
from .reference_noise import At, Noise


class Interval(NamedTuple):
    """From `start` to `stop`; `length` is the same but for rounding, and what the noise belongs to."""

    start: float
    stop: float
    length: float


def linear_piece(
    neurons: Equations, a: Dual, b: Dual, y: State, W: Array, h: float, leaf_end: float | None = None
) -> tuple[State, State]:
    """The state at b along the line that starts from `y` at a, and its velocity; W is the noise of an interval of
    length h.

    In a leaf, whose end is given, the velocity is the mean of those at a and there.
    """
    sense = "ito" if leaf_end is None else "stratonovich"
    velocity = neurons.velocity(sense, a, y, W / h)
    if leaf_end is not None:
        there = plus(y, scaled(leaf_end - a, velocity))
        velocity = scaled(0.5, plus(velocity, neurons.velocity(sense, neurons.fixed(leaf_end), there, W / h)))
    return plus(y, scaled(b - a, velocity)), velocity


def milstein(neurons: Equations, interval: Interval, y: State, noise: Noise) -> State:
    f = neurons.drift_in("stratonovich", neurons.fixed(interval.start), y)
    after = plus(plus(y, scaled(interval.length, f)), neurons.noise(y, noise[0]))
    return after if neurons.additive else plus(after, neurons.iterated_noise(y, noise[0]))


def stochastic_heun(neurons: Equations, interval: Interval, y: State, noise: Noise) -> State:
    def change(time: float, y: State) -> State:
        f = neurons.drift_in("stratonovich", neurons.fixed(time), y)
        return plus(scaled(interval.length, f), neurons.noise(y, noise[0]))

    early = change(interval.start, y)
    return plus(y, scaled(0.5, plus(early, change(interval.stop, plus(y, early)))))


def shark(neurons: Equations, interval: Interval, y: State, noise: Noise) -> State:
    h, n, a = interval.length, neurons.noise(y, noise[0]), neurons.noise(y, noise[1])
    y1 = plus(y, a)
    f1 = neurons.drift(neurons.fixed(interval.start), y1)
    y2 = plus(y1, scaled(5 / 6, plus(scaled(h, f1), n)))
    f2 = neurons.drift(neurons.fixed(interval.start + 5 / 6 * h), y2)
    return plus(plus(y, n), scaled(h, plus(scaled(2 / 5, f1), scaled(3 / 5, f2))))


GAUSS = (0.5 - 1 / math.sqrt(12), 0.5 + 1 / math.sqrt(12))
HAZARD_POINTS = np.array([0.5 - math.sqrt(0.15), 0.5, 0.5 + math.sqrt(0.15)])
HAZARD_WEIGHTS = (5 / 18, 8 / 18, 5 / 18)


def exact_ou(neurons: Equations, interval: Interval, y: State, noise: Noise) -> State:
    """With x = u/h in [0, 1]: v′ = m1·(i − v) + p and i′ = −m2·i + q, where m = h·μ and p, q are linear in x."""
    assert isinstance(neurons, SLIFEquations)
    h, (v, i, s) = interval.length, y
    (n1, n2), (a1, a2) = neurons.driven(noise[0]), neurons.driven(noise[1])
    left, right = (neurons.current(neurons.fixed(interval.start + x * h)) for x in GAUSS)
    slope = (right - left) / (GAUSS[1] - GAUSS[0])
    m1 = h * neurons.mu1
    current = left - GAUSS[0] * slope
    causes = stack([v, i, m1 * current + n1 + 6.0 * a1, m1 * slope - 12.0 * a1, n2 + 6.0 * a2, -12.0 * a2])
    # (v, i) at the points of the hazard and at h, shape (4, 2, n).
    transitions = neurons.transitions(h)
    value, in_m1, in_m2 = np.einsum("ndxrj,jn->dxrn", transitions, causes.value)
    tangent = np.einsum("nxrj,pjn->pxrn", transitions[:, 0], causes.tangent)
    m2 = h * neurons.mu2
    path = Dual(value, tangent + in_m1 * m1.tangent[:, None, None] + in_m2 * m2.tangent[:, None, None])
    one, two = neurons.slots["sigma11"], neurons.slots["sigma12"]
    factor, variances = h * (one * one + two * two), _residual_variances(transitions, m1)
    if not neurons.leaves_variance:
        variances = [0.0 * variance for variance in variances]
    rates = [
        weight * neurons.mean_rate(path[n, 0], factor * variance)
        for n, (weight, variance) in enumerate(zip(HAZARD_WEIGHTS, variances, strict=True))
    ]
    return [path[3, 0], path[3, 1], s + h * (rates[0] + rates[1] + rates[2])]


def _residual_variances(transitions: Array, m1: Dual) -> list[Dual]:
    """Of v at the points of the hazard, with noise of variance 1 on v alone, given W and H."""
    x = HAZARD_POINTS[:, None] * m1.value
    # The variance ∫exp(−2·m1·t) dt over [0, point], and its derivative in m1.
    whole, in_m1 = (
        HAZARD_POINTS[:, None] ** k * part for k, part in ((1, _mean_decay(2 * x)), (2, 2 * _mean_decay_slope(2 * x)))
    )
    flow = transitions[:, :2, :3, 0]
    of_w, of_h = (np.moveaxis(part, 0, -1) for part in (flow[..., 2], 6 * flow[..., 2] - 12 * flow[..., 3]))
    value = whole - of_w[0] ** 2 - of_h[0] ** 2 / 12
    slope = in_m1 - 2 * of_w[0] * of_w[1] - of_h[0] * of_h[1] / 6
    return [Dual(at, in_m1_at * m1.tangent) for at, in_m1_at in zip(value, slope, strict=True)]


def _mean_decay(x: Array) -> Array:
    """(1 − exp(−x))/x."""
    safe = np.where(x == 0.0, 1.0, x)
    return np.where(x == 0.0, 1.0, -np.expm1(-safe) / safe)


def _mean_decay_slope(x: Array) -> Array:
    """Its derivative, −∫t·exp(−x·t) dt over [0, 1]."""
    series = -sum((-x) ** k / (math.factorial(k) * (k + 2)) for k in range(18))
    safe = np.where(x < 1.0, 1.0, x)
    return np.where(x < 1.0, series, ((1.0 + safe) * np.exp(-safe) - 1.0) / safe**2)


class Transitions:
    """The flow of :func:`exact_ou` for every pair of rates in a network: computed once per length, as most neurons
    share theirs.
    """

    def __init__(self, mu1: Array, mu2: Array) -> None:
        self.pairs, kind = np.unique([mu1.ravel(), mu2.ravel()], axis=1, return_inverse=True)
        self.kind = kind.reshape(mu1.shape)
        self.known: dict[float, Array] = {}

    def __call__(self, at: At, h: float) -> Array:
        if h not in self.known:
            self.known[h] = _flow(*(h * self.pairs))
        return np.asarray(self.known[h][self.kind[at]])


def _flow(m1: Array, m2: Array) -> Array:
    """How (v, i) at the points of the hazard and at 1 depend on (v, i, p(0), p′, q(0), q′), and how that depends on m1
    and m2.

    Shape (n, 3, 4, 2, 6): the flow and its two derivatives; the four times; v and i; the six initial values. It is the
    exponential of ``[[M, ∂₁M, ∂₂M], [0, M, 0], [0, 0, M]]``, whose first row of blocks holds exp(M) and its two
    derivatives.
    """
    constant, in_m1, in_m2 = np.zeros((3, 6, 6))
    constant[[0, 2, 1, 4], [2, 3, 4, 5]] = 1.0
    in_m1[0, :2] = -1.0, 1.0
    in_m2[1, 1] = -1.0
    block = np.zeros((m1.size, 3, 6, 3, 6))
    for k in range(3):
        block[:, k, :, k] = constant + m1[:, None, None] * in_m1 + m2[:, None, None] * in_m2
    block[:, 0, :, 1], block[:, 0, :, 2] = in_m1, in_m2
    times = np.array([*HAZARD_POINTS, 1.0])[:, None, None]
    flow = _exponential(times * block.reshape(-1, 1, 18, 18))
    return np.asarray(flow[..., :2, :].reshape(-1, 4, 2, 3, 6).transpose(0, 3, 1, 2, 4))


def _exponential(M: Array) -> Array:
    """exp(M) of matrices (…, n, n), by Taylor's series, scaling and squaring."""
    squarings = max(0, math.frexp(float(np.abs(M).sum(axis=-1).max(initial=0.0)))[1] + 1)
    M = M * 2.0**-squarings
    term = total = np.broadcast_to(np.eye(M.shape[-1]), M.shape)
    for k in range(1, 17):
        term = term @ M / k
        total = total + term
    for _ in range(squarings):
        total = total @ total
    return np.asarray(total)


#: One step of each solver over an interval; euler_maruyama knows linear pieces only.
STEPS: dict[str, Callable[[Equations, Interval, State, Noise], State]] = {
    "milstein": milstein,
    "stochastic_heun": stochastic_heun,
    "shark": shark,
    "exact_ou": exact_ou,
}
