"""Code that is the user's own, and how the core gets to know it: models, intensities and input currents from formulas,
and input currents that are Julia functions.
"""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Callable
from typing import Any

from ..currents import FormulaCurrent, JuliaFunction
from ..formulas.julia_code import model_code
from ..formulas.store import stored
from ..intensities import FormulaIntensity
from ..network import Network
from .boot import runtime
from .debian import cache_dir


def define(network: Network) -> None:
    """Have the core compile what is the user's own in a network, each once.

    Raises
    ------
    JuliaError
        With Julia's message, if the source of a current is not a function.
    """
    current, intensity = network.input_current, getattr(network, "intensity", None)
    if network.model is not None:
        _define(network.core.model, lambda: model_code(network.model))
    if isinstance(intensity, FormulaIntensity):
        _define(intensity.kind, lambda: intensity.code)
    if isinstance(current, FormulaCurrent):
        _define(current.kind, lambda: current.code)
    if isinstance(current, JuliaFunction):
        _define_current(current.kind, current.source, current.derivative)


# What the core of this process knows, by name.
_KNOWN: set[str] = set()


def _define(name: str, code: Callable[[], str]) -> None:
    if name not in _KNOWN:
        text, source = ctypes.c_char_p, stored(cache_dir() / "formulas", name, code)
        runtime().function("ssnn_define", text, text)(name.encode(), source.encode())
        _KNOWN.add(name)


@functools.cache
def _define_current(kind: str, source: str, derivative: str | None) -> None:
    text = ctypes.c_char_p
    given: Any = None if derivative is None else derivative.encode()
    runtime().function("ssnn_define_current", text, text, text)(kind.encode(), source.encode(), given)
