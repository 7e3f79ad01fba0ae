"""The Brownian path of docs/numerics.md in plain NumPy: random numbers, increments and Lévy areas, dyadic nodes.

Arrays over neurons are flat: entry k belongs to neuron ``at[1][k]`` of sample ``at[0][k]``. Increments W and space-time
Lévy areas H have a leading axis over the components of the noise.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import Array, Problem

Words = NDArray[np.uint64]
At = tuple[NDArray[np.intp], NDArray[np.intp]]
Noise = tuple[Array, Array]  # (W, H)

_PARITY = 0x1BD11BDAA9FC1A22
#: By how many bits each round turns a word to the left.
_ROTATIONS = (16, 42, 12, 31, 16, 32, 24, 21)
#: Up to so many blocks are computed one by one in Python's integers, which takes less time than NumPy's calls, and
#: remembered: every run with one seed draws the same.
FEW_BLOCKS = 16
INCREMENT, THRESHOLD, NODE, LAST_STEP, AREA = range(5)


def threefry(key: tuple[Any, Any], counter: tuple[Any, Any]) -> tuple[Words, Words]:
    """Threefry-2x64 with 20 rounds, elementwise (Salmon et al., SC 2011).

    Examples
    --------
    >>> [hex(int(word)) for word in threefry((0, 0), (0, 0))]
    ['0xc2b6e3a8c2c69865', '0x6f81ed42f350084d']
    """
    words = [np.asarray(word, dtype=np.uint64) for word in (*key, *counter)]
    grid = np.broadcast(*words)
    if not 0 < grid.size <= FEW_BLOCKS:
        with np.errstate(over="ignore"):
            return _rounds(np.uint64, lambda sums: sums, *words)
    few = np.array([_block(*map(int, block)) for block in grid], dtype=np.uint64).reshape(*grid.shape, 2)
    return few[..., 0], few[..., 1]


@functools.lru_cache(2**16)
def _block(*words: int) -> tuple[int, int]:
    """The two words of one block."""
    return _rounds(int, lambda sums: sums & 2**64 - 1, *words)


def _rounds(integer: Any, wrapped: Callable[[Any], Any], k0: Any, k1: Any, x0: Any, x1: Any) -> tuple[Any, Any]:
    """Of integers of one kind, made by `integer`; sums and what is turned to the left are `wrapped` to 64 bits."""
    keys = (k0, k1, k0 ^ k1 ^ integer(_PARITY))
    x0, x1 = wrapped(x0 + k0), wrapped(x1 + k1)
    for n in range(20):
        turn = _ROTATIONS[n % 8]
        x0 = wrapped(x0 + x1)
        turned = wrapped(x1 << integer(turn))
        turned |= x1 >> integer(64 - turn)
        x1 = turned ^ x0
        if n % 4 == 3:
            group = n // 4 + 1
            x0, x1 = wrapped(x0 + keys[group % 3]), wrapped(x1 + (keys[(group + 1) % 3] + integer(group)))
    return x0, x1


def uniform(word: Words) -> Array:
    """The 52 leading bits, as a number strictly between 0 and 1."""
    return np.asarray(((word >> np.uint64(12)).astype(np.float64) + 0.5) * 2.0**-52)


class BrownianPath:
    """All that is random in a problem, as a function of its indices.

    Parameters
    ----------
    problem : Problem
    areas : bool
        Whether anyone looks at the Lévy areas; they are left at 0 where not.
    """

    #: Whether increments and areas leave some of its variance open.
    leaves_variance = True

    def __init__(self, problem: Problem, areas: bool) -> None:
        self.seed, self.areas, self.noise_step = problem.seed, areas, problem.dt * 2.0**problem.noise_levels
        self.keys = np.arange(problem.first_sample, problem.first_sample + problem.num_samples, dtype=np.uint64)
        shape = (problem.num_samples, problem.network.num_neurons)
        rows, columns = np.indices(shape)
        self.everyone: At = (rows.ravel(), columns.ravel())
        self.components = np.arange(problem.network.num_noise_components, dtype=np.uint64)[:, None]
        #: The interval last asked for on every level: a step shares its ancestors with the step before.
        self.latest: dict[int, tuple[int, Noise]] = {}

    def words(self, at: At, purpose: int, draw: Any, component: Any = 0, level: int = 0) -> tuple[Words, Words]:
        rows, neurons = at
        word = neurons.astype(np.uint64) | (np.asarray(component, np.uint64) << np.uint64(32))
        return threefry((self.seed, self.keys[rows]), (draw, word | np.uint64(purpose << 36 | level << 40)))

    def log_uniforms(self, at: At, ordinal: Any, hazard: int = 0) -> Array:
        """log U of the threshold that a hazard has after the spike of that ordinal."""
        return np.log(uniform(self.words(at, THRESHOLD, ordinal, hazard)[0]))

    def normals(self, at: At, purpose: int, draw: int, level: int = 0) -> tuple[Array, Array]:
        """The two standard normals of a block, for each component."""
        word0, word1 = self.words(at, purpose, draw, self.components, level)
        radius, angle = np.sqrt(-2.0 * np.log(uniform(word0))), 2.0 * np.pi * uniform(word1)
        return radius * np.cos(angle), radius * np.sin(angle)

    def interval(self, level: int, position: int) -> Noise:
        """W and H of everyone on one interval of the dyadic grid."""
        if self.latest.get(level, (-1,))[0] != position:
            d = self.noise_step
            if level == 0:
                W = math.sqrt(d) * self.normals(self.everyone, INCREMENT, position // 2)[position % 2]
                H = np.zeros(W.shape)
                if self.areas:
                    H = math.sqrt(d / 12.0) * self.normals(self.everyone, AREA, position // 2)[position % 2]
                noise = W, H
            else:
                above = self.interval(level - 1, position // 2)
                noise = self.halves(self.everyone, level - 1, position // 2, d * 2.0 ** (1 - level), above)[
                    position % 2
                ]
            self.latest[level] = position, noise
        return self.latest[level][1]

    def halves(self, at: At, level: int, position: int, length: float, noise: Noise) -> tuple[Noise, Noise]:
        """Split an interval of that length by its dyadic node."""
        even, odd = self.normals(at, NODE, position, level)
        W, H = noise
        N1, N2 = math.sqrt(length / 16.0) * even, math.sqrt(length / 48.0) * odd
        W_left, middle = W / 2.0 + 1.5 * H + N1, H / 4.0 - N1 / 2.0
        return (W_left, middle + N2), (W - W_left, middle - N2)

    def shortened(self, level: int, position: int, dt: float, r: float) -> Noise:
        """W and H on the first fraction r of an interval of length dt."""
        W, H = self.interval(level, position)
        z1, z2 = self.normals(self.everyone, LAST_STEP, position, level)
        r = min(max(r, 0.0), 1.0)
        q, root = 1 - 3 * r * (1 - r), math.sqrt(dt * r * (1 - r))
        a, b, c = root * math.sqrt(q), -(r**2) / 2 * root / math.sqrt(q), (1 - r) * root / math.sqrt(12 * q)
        return r * W + 6 * r * (1 - r) * H + a * z1, r**2 * H + b * z1 + c * z2
