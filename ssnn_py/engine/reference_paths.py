"""Drivers with knots in plain NumPy: a path that is linear between knots, with or without a Brownian motion added."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from ..errors import SSNNError
from . import Array, Problem
from .driver_paths import DriverPath
from .reference_duals import Dual
from .reference_models import Equations, State, plus, scaled
from .reference_noise import At, BrownianPath, Noise


class PathNoise:
    """What :class:`BrownianPath` is for Brownian motion; `moved` are tangents of the values at the knots."""

    def __init__(self, problem: Problem, brownian: BrownianPath, path: DriverPath, moved: Array | None) -> None:
        self.problem, self.brownian, self.path = problem, brownian, path
        self.leaves_variance = any(path.brownian)
        self.everyone, self.words, self.log_uniforms = brownian.everyone, brownian.words, brownian.log_uniforms
        #: Which components have a Brownian motion, as a factor of it.
        self.factor = np.array(path.brownian, dtype=np.float64)[:, None]
        size = problem.num_samples, problem.network.num_neurons
        self.values = path.spread(path.values, *size)
        self.tangents = None if moved is None else path.spread(moved, *size)

    def interval(self, level: int, position: int) -> Noise:
        """W and H of everyone over a step."""
        start, stop = (self.problem.t0 + n * self.problem.dt for n in (position, position + 1))
        return self.plus(self.brownian.interval(level, position), self.over(self.everyone, start, stop))

    def shortened(self, level: int, position: int, dt: float, r: float) -> Noise:
        own = self.over(self.everyone, self.problem.t0 + position * dt, self.problem.t1)
        return self.plus(self.brownian.shortened(level, position, dt, r), own)

    def halves(self, at: At, level: int, position: int, length: float, noise: Noise) -> tuple[Noise, Noise]:
        """Of an interval of that length, the Brownian part of which is what the path's own leaves of `noise`."""
        depth = level - self.problem.noise_levels
        step, place = position >> depth, position & ((1 << depth) - 1)
        begin = self.problem.t0 + step * self.problem.dt
        start = begin + place * length
        stop = start + length
        if place + 1 == 1 << depth:
            last = step == self.problem.num_steps - 1
            stop = self.problem.t1 if last else self.problem.t0 + (step + 1) * self.problem.dt
        middle = start + 0.5 * length
        parts = self.over(at, start, middle), self.over(at, middle, stop)
        if not self.leaves_variance:
            return parts
        whole = self.over(at, start, stop)
        left = noise[0] - whole[0], noise[1] - whole[1]
        values = tuple(part.value if isinstance(part, Dual) else part for part in left)
        brownian = self.brownian.halves(at, level, position, length, (values[0], values[1]))
        return self.plus(brownian[0], parts[0]), self.plus(brownian[1], parts[1])

    def plus(self, brownian: Noise, own: Noise) -> Noise:
        return own[0] + self.factor * brownian[0], own[1] + self.factor * brownian[1]

    def over(self, at: At, a: float, b: float) -> Noise:
        """Increment and area of the path over [a, b], of some neurons, with a leading axis over components."""
        times = self.path.times
        points = np.concatenate([[a], times[(times > a) & (times < b)], [b]])
        left = np.clip(np.searchsorted(times, points, side="right") - 1, 0, times.size - 2)
        right = np.clip((points - times[left]) / (times[left + 1] - times[left]), 0.0, 1.0)

        def of(values: Array) -> tuple[Array, Array]:
            """W and H of values (…, n, C, M), each of shape (…, C, n)."""
            x = values[..., left] * (1.0 - right) + values[..., left + 1] * right
            x = np.swapaxes(x, -2, -3)
            mean = 0.5 * ((x[..., 1:] + x[..., :-1]) * np.diff(points)).sum(axis=-1)
            span = b - a if b > a else 1.0
            increment: Array = x[..., -1] - x[..., 0]
            area: Array = mean / span - 0.5 * (x[..., -1] + x[..., 0])
            return increment, area

        W, H = of(self.values[at])
        if self.tangents is None:
            return W, H
        dW, dH = of(self.tangents[:, at[0], at[1]])
        moved: tuple[Any, Any] = Dual(W, dW), Dual(H, dH)
        return moved


def after_jump(neurons: Equations, y: State, sizes: Any) -> State:
    """The state after a jump of the driver by `sizes`, shape (C, n), in Marcus's sense (docs/numerics.md)."""
    if neurons.additive:
        return plus(y, neurons.noise(y, sizes))
    part = sizes * 0.125
    for _ in range(8):
        ends = {n: _midpoints(neurons, y, part, n) for n in (2, 4, 6, 8, 10, 12)}
        before, y = y, _extrapolated(ends)
        _check_resolved(before, y, _extrapolated({n: end for n, end in ends.items() if n > 2}))
    return y


def _midpoints(neurons: Equations, y: State, sizes: Any, n: int) -> State:
    """Along ẏ = g(y)·sizes for a unit of time, by n steps of the midpoint rule."""
    before, at = y, plus(y, scaled(1 / n, neurons.noise(y, sizes)))
    for _ in range(n - 1):
        before, at = at, plus(before, scaled(2 / n, neurons.noise(at, sizes)))
    return scaled(0.5, plus(plus(before, at), scaled(1 / n, neurons.noise(at, sizes))))


def _extrapolated(ends: Mapping[int, State]) -> State:
    weighted = [scaled(math.prod(n**2 / (n**2 - m**2) for m in ends if m != n), end) for n, end in ends.items()]
    return functools.reduce(plus, weighted)


def _check_resolved(before: State, y: State, other: State) -> None:
    """Raise unless two extrapolations agree."""
    values = [
        np.array([part.value if isinstance(part, Dual) else part for part in state]) for state in (before, y, other)
    ]
    size = np.abs(values[0]).sum(axis=0) + np.abs(values[1]).sum(axis=0)
    if (np.abs(values[1] - values[2]).sum(axis=0) > 1e-8 * size).any():
        raise SSNNError(
            "a jump of the driver moves a neuron so far that the flow of g(y) along it is not resolved: give smaller "
            "jumps, one shortly after the other"
        )
