"""The solvers' formulas of docs/numerics.md, written once for values and tangents together."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from . import Array
from .reference_noise import At, Noise

if TYPE_CHECKING:
    from ..network import SLIFNetwork


class Dual:
    """Values with their derivatives in P directions, which have a leading axis over these.

    Examples
    --------
    >>> x = Dual(np.array([3.0]), np.array([[1.0]]))
    >>> (x * x / (x + 1.0)).tangent
    array([[0.9375]])
    """

    # Makes NumPy leave `array * dual` to us.
    __array_ufunc__ = None

    def __init__(self, value: Array, tangent: Array) -> None:
        self.value, self.tangent = value, tangent

    def __getitem__(self, index: Any) -> Dual:
        return Dual(self.value[index], self.tangent[_directions_first(index)])

    def __setitem__(self, index: Any, other: Dual) -> None:
        self.value[index], self.tangent[_directions_first(index)] = other.value, other.tangent

    def __add__(self, other: Operand) -> Dual:
        if isinstance(other, Dual):
            return Dual(self.value + other.value, self.tangent + other.tangent)
        return Dual(self.value + other, self.tangent)

    def __mul__(self, other: Operand) -> Dual:
        if isinstance(other, Dual):
            return Dual(self.value * other.value, self.tangent * other.value + self.value * other.tangent)
        return Dual(self.value * other, self.tangent * other)

    def __truediv__(self, other: Operand) -> Dual:
        if isinstance(other, Dual):
            ratio = self.value / other.value
            return Dual(ratio, (self.tangent - ratio * other.tangent) / other.value)
        return Dual(self.value / other, self.tangent / other)

    def __neg__(self) -> Dual:
        return Dual(-self.value, -self.tangent)

    def __sub__(self, other: Operand) -> Dual:
        return self + (-other)

    def __rsub__(self, other: Array | float) -> Dual:
        return -self + other

    __radd__, __rmul__ = __add__, __mul__


Operand = Dual | Array | float


def _directions_first(index: Any) -> Any:
    return (slice(None), *index) if isinstance(index, tuple) else (slice(None), index)


def select(condition: Any, one: Dual, other: Dual) -> Dual:
    return Dual(np.where(condition, one.value, other.value), np.where(condition, one.tangent, other.tangent))


def stack(duals: Sequence[Dual]) -> Dual:
    """Duals of one shape on a new first axis of the values."""
    return Dual(np.stack([x.value for x in duals]), np.stack([x.tangent for x in duals], axis=1))


def _chain(value: Array, *parts: tuple[Array, Dual]) -> Dual:
    """A function of Duals from its value and its partial derivatives."""
    return Dual(value, sum((partial * dual.tangent for partial, dual in parts), np.zeros(())))


class State(NamedTuple):
    v: Dual
    i: Dual
    s: Dual


class Interval(NamedTuple):
    """From `start` to `stop`; `length` is the same but for rounding, and what the noise belongs to."""

    start: float
    stop: float
    length: float


class Neurons:
    """The equations of some neurons: what every solver is made of. `slots` are their parameters."""

    def __init__(self, network: SLIFNetwork, slots: dict[str, Dual], transitions: Callable[[float], Array]) -> None:
        self.network, self.slots, self.transitions = network, slots, transitions
        self.mu1, self.mu2 = slots["mu1"], slots["mu2"]

    def driven(self, normals: Array) -> tuple[Dual, Dual]:
        """Increments (n_1, n_2) made from W, or areas (a_1, a_2) from H."""
        v, i = ([self.slots[f"sigma{r}{c + 1}"] * z for c, z in enumerate(normals)] for r in (1, 2))
        return sum(v[1:], v[0]), sum(i[1:], i[0])

    def fixed(self, time: float) -> Dual:
        """A time that does not move."""
        return Dual(np.full(self.mu1.value.shape, time), np.zeros(self.mu1.tangent.shape))

    def rate(self, v: Dual) -> Dual:
        intensity = self.network.intensity
        values = {name: self.slots[name].value for name in intensity.parameters}
        slope, partial = intensity.rate_derivatives(v.value, **values)
        parts = [(derivative, self.slots[name]) for name, derivative in partial.items()]
        return _chain(intensity.rate(v.value, **values), (slope, v), *parts)

    def mean_rate(self, v: Dual, variance: Dual) -> Dual:
        """The rate's mean over noise of that variance around v."""
        intensity = self.network.intensity
        values = {name: self.slots[name].value for name in intensity.parameters}
        steepness = intensity.steepness(v.value, **values)
        if steepness is None:
            d = np.sqrt(3.0 * np.maximum(variance.value, 0.0))
            slope = np.divide(1.5, d, out=np.zeros_like(d), where=d > 0)
            spread = _chain(d, (slope, variance))
            return (1 / 6) * (self.rate(v + -1.0 * spread) + self.rate(v + spread)) + (4 / 6) * self.rate(v)
        kappa, partial = steepness
        parts = [(derivative, self.slots[name]) for name, derivative in partial.items()]
        return self.rate(v + 0.5 * variance * _chain(kappa, *parts))

    def current(self, time: Dual) -> Dual:
        current = self.network.input_current
        values = {name: self.slots[name].value for name in current.parameters}
        slope, partial = current.derivatives(time.value, **values)
        change = slope * time.tangent
        for name, derivative in partial.items():
            moved = derivative * self.slots[name].tangent
            change = change + (moved.sum(axis=-1) if current.knots.size else moved)
        return Dual(current.value(time.value, **values), change)

    def factor(self, v: Dual) -> tuple[Dual | float, Dual | float]:
        """g(v) and g′(v)."""
        diffusion = self.network.diffusion
        if diffusion.additive:
            return 1.0, 0.0
        values = {name: self.slots[name].value for name in diffusion.parameters}
        g, slope = diffusion.factor(v.value, **values)
        curvature, partial = diffusion.derivatives(v.value, **values)
        of_g, of_slope = ([(pair[k], self.slots[name]) for name, pair in partial.items()] for k in (0, 1))
        return _chain(g, (slope, v), *of_g), _chain(slope, (curvature, v), *of_slope)

    def correction(self, v: Dual, square: Dual | float = 0.0) -> Dual | float:
        """½·g·g′·(σ11² + σ12² − square): what Itô's and Stratonovich's drifts differ by, where there is no square."""
        if self.network.diffusion.additive:
            return 0.0
        g, slope = self.factor(v)
        one, two = self.slots["sigma11"], self.slots["sigma12"]
        return 0.5 * g * slope * (one * one + two * two - square)

    def drift(self, time: Dual, v: Dual, i: Dual, sense: str = "") -> Dual:
        """f, or the drift in the sense of "ito" or "stratonovich"."""
        f = self.mu1 * (i + self.current(time) - v)
        if sense in ("", self.network.interpretation):
            return f
        return f + self.correction(v) if sense == "ito" else f - self.correction(v)


def linear_piece(
    neurons: Neurons, a: Dual, b: Dual, y: State, W: Array, h: float, leaf_end: float | None = None
) -> tuple[State, State]:
    """The state at b along the line that starts from `y` at a, and its velocity; W is the noise of an interval of
    length h.

    In a leaf, whose end is given, the velocity is the mean of those at a and there.
    """
    n1, n2 = neurons.driven(W / h)

    def velocity_at(t: Dual, y: State) -> State:
        f = neurons.drift(t, y.v, y.i, "ito" if leaf_end is None else "stratonovich")
        return State(f + neurons.factor(y.v)[0] * n1, n2 - neurons.mu2 * y.i, neurons.rate(y.v))

    velocity = velocity_at(a, y)
    if leaf_end is not None:
        there = State(*(at_a + (leaf_end - a) * speed for at_a, speed in zip(y, velocity, strict=True)))
        ends = velocity, velocity_at(neurons.fixed(leaf_end), there)
        velocity = State(*(0.5 * (one + two) for one, two in zip(*ends, strict=True)))
    length = b - a
    return State(*(at_a + length * speed for at_a, speed in zip(y, velocity, strict=True))), velocity


def milstein(neurons: Neurons, interval: Interval, y: State, noise: Noise) -> State:
    h, (v, i, s) = interval.length, y
    n1, n2 = neurons.driven(noise[0])
    g, _ = neurons.factor(v)
    f = neurons.drift(neurons.fixed(interval.start), v, i, "ito")
    # The correction is linear in the variance: per unit of time here, so that n_1² is too.
    return State(
        v + h * (f - neurons.correction(v, n1 * n1 / h)) + g * n1, i - h * neurons.mu2 * i + n2, s + h * neurons.rate(v)
    )


def stochastic_heun(neurons: Neurons, interval: Interval, y: State, noise: Noise) -> State:
    h, (v, i, s) = interval.length, y
    n1, n2 = neurons.driven(noise[0])
    f, g = neurons.drift(neurons.fixed(interval.start), v, i, "stratonovich"), neurons.factor(v)[0]
    v_hat, i_hat = v + h * f + g * n1, i - h * neurons.mu2 * i + n2
    f_hat = neurons.drift(neurons.fixed(interval.stop), v_hat, i_hat, "stratonovich")
    return State(
        v + h / 2 * (f + f_hat) + 0.5 * (g + neurons.factor(v_hat)[0]) * n1,
        i - h / 2 * neurons.mu2 * (i + i_hat) + n2,
        s + h / 2 * (neurons.rate(v) + neurons.rate(v_hat)),
    )


def shark(neurons: Neurons, interval: Interval, y: State, noise: Noise) -> State:
    h, (v, i, s), mu2 = interval.length, y, neurons.mu2
    (n1, n2), (a1, a2) = neurons.driven(noise[0]), neurons.driven(noise[1])
    v1, i1 = v + a1, i + a2
    f1 = neurons.drift(neurons.fixed(interval.start), v1, i1)
    v2, i2 = v1 + 5 / 6 * (h * f1 + n1), i1 + 5 / 6 * (n2 - h * mu2 * i1)
    f2 = neurons.drift(neurons.fixed(interval.start + 5 / 6 * h), v2, i2)
    return State(
        v + h * (2 / 5 * f1 + 3 / 5 * f2) + n1,
        i - h * mu2 * (2 / 5 * i1 + 3 / 5 * i2) + n2,
        s + h * (2 / 5 * neurons.rate(v1) + 3 / 5 * neurons.rate(v2)),
    )


GAUSS = (0.5 - 1 / math.sqrt(12), 0.5 + 1 / math.sqrt(12))
HAZARD_POINTS = np.array([0.5 - math.sqrt(0.15), 0.5, 0.5 + math.sqrt(0.15)])
HAZARD_WEIGHTS = (5 / 18, 8 / 18, 5 / 18)


def exact_ou(neurons: Neurons, interval: Interval, y: State, noise: Noise) -> State:
    """With x = u/h in [0, 1]: v′ = m1·(i − v) + p and i′ = −m2·i + q, where m = h·μ and p, q are linear in x."""
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
    rates = [
        weight * neurons.mean_rate(path[n, 0], factor * variance)
        for n, (weight, variance) in enumerate(zip(HAZARD_WEIGHTS, variances, strict=True))
    ]
    return State(path[3, 0], path[3, 1], s + h * (rates[0] + rates[1] + rates[2]))


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
STEPS: dict[str, Callable[[Neurons, Interval, State, Noise], State]] = {
    "milstein": milstein,
    "stochastic_heun": stochastic_heun,
    "shark": shark,
    "exact_ou": exact_ou,
}
