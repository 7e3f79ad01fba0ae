"""Checks of arguments: each names the argument, what was given and what is allowed."""

from __future__ import annotations

import functools
import math
import operator
import os
from collections.abc import Collection, Iterable
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


def short(value: Any) -> str:
    """A value for a representation; of many numbers no more than how many there are, and their range.

    Examples
    --------
    >>> short(np.zeros((2, 100))), short([1.0, 2.0]), short(short)
    ('<2 × 100 numbers from 0 to 0>', '[1.0, 2.0]', 'short')
    """
    if isinstance(value, np.ndarray | list):
        array = np.asarray(value)
        if array.size > 8 and array.dtype.kind in "fiu":
            return f"<{' × '.join(map(str, array.shape))} numbers from {array.min():.4g} to {array.max():.4g}>"
        return repr(array.tolist())
    return str(getattr(value, "__name__", None) or repr(value))


def counted(number: int, what: str) -> str:
    """A number and what there are so many of.

    Examples
    --------
    >>> counted(1, "spike"), counted(0, "spike")
    ('1 spike', '0 spikes')
    """
    return f"{number} {what}{'' if number == 1 else 's'}"


def as_real_array(name: str, value: ArrayLike, ndims: Iterable[int] = (0, 1, 2), what: str = "") -> NDArray[np.float64]:
    """`value` as a finite, C-contiguous float64 array with one of the given numbers of dimensions."""
    try:
        if type(value) is np.ndarray and value.dtype == np.float64 and value.flags.c_contiguous:
            array: NDArray[np.float64] = value.view()
        else:
            given = np.asarray(value)
            if not is_real(given):
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


def is_real(array: NDArray[Any]) -> bool:
    """Whether an array holds numbers that are real; NumPy would make numbers of texts, too, and NaN of None."""
    return not (array.dtype.kind in "USMmc" or (array.dtype == object and any(map(_is_no_number, array.flat))))


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
        if isinstance(value, str | bytes | bool | np.bool_) or np.iscomplexobj(value):
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
        if isinstance(value, bool):
            raise TypeError
        number = operator.index(value)
    except TypeError:
        raise ValidationError(f"{name} must be an integer, got {describe(value)}") from None
    if number < minimum or (maximum is not None and number > maximum):
        allowed = f"at least {minimum}" if maximum is None else f"between {minimum} and {maximum}"
        raise ValidationError(f"{name} must be {allowed}, got {number}")
    return number


def as_names(name: str, value: Any, known: Collection[str]) -> tuple[str, ...]:
    """`value`, a name or a sequence of names, as a tuple of names that are `known`."""
    many = isinstance(value, Iterable) and not isinstance(value, str)
    names: tuple[str, ...] = tuple(value) if many else (value,)
    if not all(isinstance(each, str) for each in names):
        raise ValidationError(
            f"{name} must be the name of a parameter, or a sequence of names, got {describe(value)}; there are "
            f"{', '.join(known)}"
        )
    for each in names:
        if each not in known:
            raise ValidationError(f"{name} names an unknown parameter {each!r}; there are {', '.join(known)}")
    return names


def require(name: str, array: NDArray[np.float64], condition: Any, allowed: str) -> None:
    """Raise unless `condition` holds everywhere in `array`."""
    if not np.all(condition):
        worst = np.asarray(array)[~np.broadcast_to(condition, np.shape(array))]
        raise ValidationError(f"{name} must be {allowed}, got {worst.flat[0].item()!r}")


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
