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


def linear_piece(neurons: Neurons, a: Dual, b: Dual, y: State, W: Array, h: float) -> tuple[State, State]:
    """The state at b along the line that starts from `y` at a, and its velocity; W is the noise of an interval of length h."""
    n1, n2 = neurons.driven(W / h)
    g, _ = neurons.factor(y.v)
    velocity = State(neurons.drift(a, y.v, y.i, "ito") + g * n1, n2 - neurons.mu2 * y.i, neurons.rate(y.v))
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
_SPREAD = 1 / math.sqrt(6) - 1 / math.sqrt(12)


def exact_ou(neurons: Neurons, interval: Interval, y: State, noise: Noise) -> State:
    """With x = u/h in [0, 1]: v′ = m1·(i − v) + p and i′ = −m2·i + q, where m = h·μ and p, q are linear in x."""
    h, (v, i, s) = interval.length, y
    (n1, n2), (a1, a2) = neurons.driven(noise[0]), neurons.driven(noise[1])
    left, right = (neurons.current(neurons.fixed(interval.start + x * h)) for x in GAUSS)
    slope = (right - left) / (GAUSS[1] - GAUSS[0])
    current, m1, nothing = left - GAUSS[0] * slope, h * neurons.mu1, v * 0.0
    driven = stack([nothing, nothing, n1 + 6.0 * a1, -12.0 * a1, n2 + 6.0 * a2, -12.0 * a2])
    undriven = stack([v, i, m1 * current, m1 * slope, nothing, nothing])
    transitions = neurons.transitions(h)

    def solution(z: Dual) -> Dual:
        """(v, i) at the two Gauss points and at h, shape (3, 2, n)."""
        value, in_m1, in_m2 = np.einsum("ndxrj,jn->dxrn", transitions, z.value)
        tangent = np.einsum("nxrj,pjn->pxrn", transitions[:, 0], z.tangent)
        moved = h * (in_m1 * neurons.mu1.tangent[:, None, None] + in_m2 * neurons.mu2.tangent[:, None, None])
        return Dual(value, tangent + moved)

    path = solution(driven + undriven)
    spread = _SPREAD * solution(driven)[2, 0]
    rates = neurons.rate(path[0, 0] - spread) + neurons.rate(path[1, 0] + spread)
    return State(path[2, 0], path[2, 1], s + h / 2 * rates)


class Transitions:
    """The flow of :func:`exact_ou` for every pair of rates in a network: computed once per length, as most neurons share theirs."""

    def __init__(self, mu1: Array, mu2: Array) -> None:
        self.pairs, kind = np.unique([mu1.ravel(), mu2.ravel()], axis=1, return_inverse=True)
        self.kind = kind.reshape(mu1.shape)
        self.known: dict[float, Array] = {}

    def __call__(self, at: At, h: float) -> Array:
        if h not in self.known:
            self.known[h] = _flow(*(h * self.pairs))
        return np.asarray(self.known[h][self.kind[at]])


def _flow(m1: Array, m2: Array) -> Array:
    """How (v, i) at the Gauss points and at 1 depend on (v, i, p(0), p′, q(0), q′), and how that depends on m1 and m2.

    Shape (n, 3, 3, 2, 6): the flow and its two derivatives; the three times; v and i; the six initial values. It is the exponential of
    ``[[M, ∂₁M, ∂₂M], [0, M, 0], [0, 0, M]]``, whose first row of blocks holds exp(M) and its two derivatives.
    """
    constant, in_m1, in_m2 = np.zeros((3, 6, 6))
    constant[[0, 2, 1, 4], [2, 3, 4, 5]] = 1.0
    in_m1[0, :2] = -1.0, 1.0
    in_m2[1, 1] = -1.0
    block = np.zeros((m1.size, 3, 6, 3, 6))
    for k in range(3):
        block[:, k, :, k] = constant + m1[:, None, None] * in_m1 + m2[:, None, None] * in_m2
    block[:, 0, :, 1], block[:, 0, :, 2] = in_m1, in_m2
    times = np.array([*GAUSS, 1.0])[:, None, None]
    flow = _exponential(times * block.reshape(-1, 1, 18, 18))
    return np.asarray(flow[..., :2, :].reshape(-1, 3, 2, 3, 6).transpose(0, 3, 1, 2, 4))


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
