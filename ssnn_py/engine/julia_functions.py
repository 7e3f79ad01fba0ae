"""Input currents that are the user's own Julia functions: how the core gets to know them."""

from __future__ import annotations

import ctypes
import functools

from ..currents import InputCurrent, JuliaFunction
from .boot import runtime


def define(current: InputCurrent) -> None:
    """Have the core compile `current` under its `kind`, once, if it is a function of the user's own.

    Raises
    ------
    JuliaError
        With Julia's message, if its source is not such a function.
    """
    if isinstance(current, JuliaFunction):
        _define(current.kind, current.source, current.derivative)


@functools.cache
def _define(kind: str, source: str, derivative: str | None) -> None:
    text = ctypes.c_char_p
    given = None if derivative is None else derivative.encode()
    runtime().function("ssnn_define_current", text, text, text)(kind.encode(), source.encode(), given)
