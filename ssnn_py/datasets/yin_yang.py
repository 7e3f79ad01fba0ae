"""The yin-yang data set: a small task that a linear readout cannot do."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..engine.reference_noise import threefry, uniform
from ..errors import ValidationError
from ..validation import as_float, as_int, as_real_array

Array = NDArray[np.float64]
Integers = NDArray[np.int64]

# Keeps these numbers apart from the noise of a simulation with the same seed (docs/numerics.md).
_PURPOSE = 13


def yin_yang(n: int, seed: int = 0, r_small: float = 0.1, r_big: float = 0.5) -> tuple[Array, Integers]:
    r"""Points of a yin-yang symbol, and in which of its three parts each is.

    The symbol is the disc of radius `r_big` around (`r_big`, `r_big`), its two dots have radius `r_small`. A point's
    class is drawn first, all three being equally likely, then the point, uniformly on that part. See
    :func:`yin_yang_class` for the parts.

    Parameters
    ----------
    n : int
        How many points, at least 1. The first of more points are the same points.
    seed : int
        Key of the random numbers, from 0 to 2^64 − 1.
    r_small, r_big : float
        Radii, with 0 < `r_small` < `r_big`/2 ≤ 1/4.

    Returns
    -------
    features : ndarray, shape (n, 4)
        x, y, 1 − x and 1 − y, between 0 and 1.
    labels : ndarray of int64, shape (n,)
        0, 1 or 2.

    Raises
    ------
    ValidationError
        If an argument is not in its range.

    References
    ----------
    Kriener, Göltz and Petrovici, "The Yin-Yang dataset", NICE 2022, arXiv:2102.08211.

    Examples
    --------
    >>> features, labels = yin_yang(300, seed=1)
    >>> features.shape, np.bincount(labels)
    ((300, 4), array([102, 105,  93]))
    """
    n, seed = as_int("n", n, 1, 2**31), as_int("seed", seed, 0, 2**64 - 1)
    small, big = _radii(r_small, r_big)
    index = np.arange(n, dtype=np.uint64)
    word = np.uint64(_PURPOSE << 36)
    labels = np.minimum((3.0 * uniform(threefry((seed, index), (0, word))[0])).astype(np.int64), 2)
    points, left, draw = np.empty((n, 2)), np.arange(n), 0
    while left.size:
        draw += 1
        tried = 2.0 * big * np.stack([uniform(w) for w in threefry((seed, index[left]), (draw, word))], axis=1)
        inside = np.hypot(*(tried - big).T) <= big
        there = inside & (_parts(tried, small, big) == labels[left])
        points[left[there]] = tried[there]
        left = left[~there]
    return np.concatenate([points, 1.0 - points], axis=1), labels


def yin_yang_class(points: ArrayLike, r_small: float = 0.1, r_big: float = 0.5) -> Integers:
    """In which part of the symbol points are: 1 in the upper half, 0 in the lower, 2 in a dot of either.

    The border between the halves is made of two half-circles of radius `r_big`/2: the upper half reaches below the
    middle on the left, the lower one above it on the right.

    Parameters
    ----------
    points : array_like, shape (..., 2)
        x and y; points beside the disc are classified as if the halves went on.
    r_small, r_big : float
        As for :func:`yin_yang`.

    Returns
    -------
    ndarray of int64, shape (...)

    Raises
    ------
    ValidationError
        If an argument is not what it should be.

    Examples
    --------
    >>> yin_yang_class([[0.5, 0.9], [0.5, 0.1], [0.25, 0.5], [0.75, 0.5], [0.25, 0.35], [0.75, 0.65]])
    array([1, 0, 2, 2, 1, 0])
    """
    array = as_real_array("points", points, range(1, 16), "of shape (..., 2)")
    if array.shape[-1] != 2:
        raise ValidationError(f"points must be of shape (..., 2), got shape {array.shape}")
    return _parts(array, *_radii(r_small, r_big))


def _radii(r_small: float, r_big: float) -> tuple[float, float]:
    small, big = as_float("r_small", r_small, positive=True), as_float("r_big", r_big, positive=True)
    if not small < big / 2 <= 0.25:
        raise ValidationError(f"r_small must be below r_big/2, and r_big at most 0.5, got {small} and {big}")
    return small, big


def _parts(points: Array, small: float, big: float) -> Integers:
    x, y = points[..., 0], points[..., 1]
    to_left, to_right = np.hypot(x - 0.5 * big, y - big), np.hypot(x - 1.5 * big, y - big)
    upper = (to_left <= 0.5 * big) | ((y > big) & (to_right > 0.5 * big))
    return np.where(np.minimum(to_left, to_right) <= small, 2, np.where(upper, 1, 0))
