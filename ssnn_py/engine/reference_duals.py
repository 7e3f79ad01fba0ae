"""Numbers with their derivatives in P directions: a formula written once gives its tangents, too."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from . import Array


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

    def __rtruediv__(self, other: Array | float) -> Dual:
        ratio = other / self.value
        return Dual(ratio, -ratio * self.tangent / self.value)

    def __neg__(self) -> Dual:
        return Dual(-self.value, -self.tangent)

    def __sub__(self, other: Operand) -> Dual:
        return self + (-other)

    def __rsub__(self, other: Array | float) -> Dual:
        return -self + other

    __radd__, __rmul__ = __add__, __mul__


Operand = Dual | Array | float


_EVERY = slice(None)


def _directions_first(index: Any) -> Any:
    return (_EVERY, *index) if isinstance(index, tuple) else (_EVERY, index)


def select(condition: Any, one: Dual, other: Dual) -> Dual:
    return Dual(np.where(condition, one.value, other.value), np.where(condition, one.tangent, other.tangent))


def stack(duals: Sequence[Dual]) -> Dual:
    """Duals of one shape on a new first axis of the values."""
    return Dual(np.stack([x.value for x in duals]), np.stack([x.tangent for x in duals], axis=1))


def chain(value: Array, *parts: tuple[Array, Dual]) -> Dual:
    """A function of Duals from its value and its partial derivatives."""
    return Dual(value, sum((partial * dual.tangent for partial, dual in parts), np.zeros(())))
