"""Checks of arguments: each names the argument, what was given and what is allowed."""

from __future__ import annotations

import functools
import math
import operator
import os
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .errors import ValidationError


def describe(value: Any) -> str:
    """A short text for a wrong argument: its type, and its value where that is short."""
    if isinstance(value, np.ndarray):
        return f"an array of shape {value.shape} and type {value.dtype}"
    text = repr(value)
    return text if len(text) <= 60 else f"a {type(value).__name__} ({text[:50]}…)"


def as_real_array(name: str, value: ArrayLike, ndims: Iterable[int] = (0, 1, 2), what: str = "") -> NDArray[np.float64]:
    """`value` as a finite, C-contiguous float64 array with one of the given numbers of dimensions."""
    try:
        if type(value) is np.ndarray and value.dtype == np.float64 and value.flags.c_contiguous:
            array: NDArray[np.float64] = value.view()
        else:
            given = np.asarray(value)
            # NumPy would make numbers of texts and NaN of None.
            if given.dtype.kind in "USMmc" or (given.dtype == object and any(map(_is_no_number, given.flat))):
                raise TypeError
            array = np.ascontiguousarray(given, dtype=np.float64).reshape(given.shape)
    except (TypeError, ValueError):
        raise ValidationError(f"{name} must be {what or 'real numbers'}, got {describe(value)}") from None
    if array.ndim not in tuple(ndims):
        raise ValidationError(
            f"{name} must be {what or f'an array of {tuple(ndims)} dimensions'}, got {describe(array)}"
        )
    if not all_finite(array):
        raise ValidationError(f"{name} must be finite, but holds NaN or infinity")
    return array


def _is_no_number(value: Any) -> bool:
    return value is None or isinstance(value, str | bytes | complex)


def all_finite(array: NDArray[np.float64]) -> bool:
    """Whether no entry of `array` is NaN or infinite."""
    if array.ndim == 0:
        return math.isfinite(array.item())
    return bool(np.logical_and.reduce(np.isfinite(array), axis=None))


def as_float(name: str, value: Any, *, positive: bool = False, nonnegative: bool = False) -> float:
    """`value` as a finite float, optionally positive or not negative."""
    try:
        if isinstance(value, str | bytes):
            raise TypeError
        number = float(value)
    except (TypeError, ValueError):
        raise ValidationError(f"{name} must be a number, got {describe(value)}") from None
    if not math.isfinite(number):
        raise ValidationError(f"{name} must be finite, got {number}")
    if positive and number <= 0:
        raise ValidationError(f"{name} must be positive, got {number}")
    if nonnegative and number < 0:
        raise ValidationError(f"{name} must not be negative, got {number}")
    return number


def as_int(name: str, value: Any, minimum: int, maximum: int | None = None) -> int:
    """`value` as an integer of at least `minimum` and at most `maximum`."""
    try:
        number = operator.index(value)
    except TypeError:
        raise ValidationError(f"{name} must be an integer, got {describe(value)}") from None
    if number < minimum or (maximum is not None and number > maximum):
        allowed = f"at least {minimum}" if maximum is None else f"between {minimum} and {maximum}"
        raise ValidationError(f"{name} must be {allowed}, got {number}")
    return number


def require(name: str, array: NDArray[np.float64], condition: Any, allowed: str) -> None:
    """Raise unless `condition` holds everywhere in `array`."""
    if not np.all(condition):
        worst = np.asarray(array)[~np.broadcast_to(condition, np.shape(array))]
        raise ValidationError(f"{name} must be {allowed}, got {worst.flat[0].item()!r}")


def require_broadcastable(name: str, array: NDArray[Any], target: tuple[int, ...], meaning: str) -> None:
    """Raise unless `array` broadcasts to `target` without growing it; `meaning` spells the allowed shapes."""
    try:
        fits = np.broadcast_shapes(array.shape, target) == target
    except ValueError:
        fits = False
    if not fits:
        raise ValidationError(f"{name} must have shape {meaning}, got shape {array.shape}")


@functools.cache
def _machine_memory() -> float:
    """Bytes of memory of this machine; infinite where nobody says."""
    try:
        return float(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    except (AttributeError, ValueError, OSError):
        return math.inf


def require_memory(what: str, num_bytes: float, advice: str) -> None:
    """Raise where arrays of `num_bytes` would not fit into this machine's memory."""
    total = _machine_memory()
    if num_bytes > 0.8 * total:
        raise ValidationError(
            f"{what} would need {num_bytes / 1e9:.1f} GB, more than this machine's {total / 1e9:.1f} GB: {advice}"
        )
