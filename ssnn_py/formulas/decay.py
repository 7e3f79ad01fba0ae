"""How fast an equation pulls its variable back, read off its formula without SymPy, whose import takes a while."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .grammar import Name, Negative, Node, Number, Operation

Array = NDArray[np.float64]
# The value of a formula, and its slope by the variable: None where nothing is known, and 0, the integer, where it does
# not depend on the variable.
_Line = tuple[Any, Any]


def slope(formula: Node, variable: str, parameters: Mapping[str, Array]) -> Any:
    """The slope of a formula by a variable, where the formula is a line in it whose slope depends on parameters alone.

    Parameters
    ----------
    formula : Node
    variable : str
    parameters : mapping of str to ndarray
        Their values; any other name is unknown.

    Returns
    -------
    float, ndarray or None
        None where it is no such line, or where that is not seen: functions and powers are not looked into.

    Examples
    --------
    >>> from ssnn_py.formulas.grammar import parse_expression
    >>> float(slope(parse_expression("(I - v)/tau + u**2"), "v", {"tau": np.array(0.5)}))
    -2.0
    >>> slope(parse_expression("I - v**2"), "v", {}) is None
    True
    """
    known: dict[int, _Line] = {}

    def of(node: Node) -> _Line:
        if id(node) not in known:
            known[id(node)] = line(node)
        return known[id(node)]

    def line(node: Node) -> _Line:
        if isinstance(node, Number):
            return node.value, 0
        if isinstance(node, Name):
            if node.name == variable:
                return None, 1.0
            return parameters.get(node.name, math.pi if node.name == "pi" else None), 0
        if isinstance(node, Negative):
            value, rise = of(node.operand)
            return None if value is None else -value, None if rise is None else -rise
        if isinstance(node, Operation):
            return _combined(node.operator, of(node.left), of(node.right))
        parts = [of(part) for part in _parts(node)]
        return None, 0 if all(_constant(rise) for _, rise in parts) else None

    try:
        with np.errstate(all="ignore"):
            return of(formula)[1]
    except RecursionError:  # a formula of thousands of operations
        return None


def _parts(node: Node) -> list[Node]:
    """The formulas within a call, a comparison or a condition."""
    found = []
    for value in vars(node).values():
        found += [part for part in (value if isinstance(value, tuple) else (value,)) if isinstance(part, Node)]
    return found


def _constant(rise: Any) -> bool:
    return type(rise) is int


def _combined(operator: str, left: _Line, right: _Line) -> _Line:
    (a, rise), (b, other) = left, right
    known = a is not None and b is not None
    if operator in ("+", "-"):
        sign = 1 if operator == "+" else -1
        together = None if rise is None or other is None else rise + sign * other
        return a + sign * b if known else None, together
    if _constant(rise) and _constant(other):
        results = {"*": lambda: a * b, "/": lambda: np.divide(a, b), "**": lambda: np.power(a, b)}
        return results[operator]() if known and operator in results else None, 0
    if operator == "*" and _constant(rise):
        (a, rise), (b, other) = right, left
    if operator in ("*", "/") and rise is not None and _constant(other) and b is not None:
        return None, rise * b if operator == "*" else np.divide(rise, b)
    return None, None
