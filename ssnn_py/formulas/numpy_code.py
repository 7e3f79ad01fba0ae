"""Formulas in NumPy: what the reference engine computes with, written apart from the Julia code and without text."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from .symbolic import without_ite

Values = Sequence[Any]
#: What a formula may call, by SymPy's names, for plain arrays: `select(condition, a, b)` is a where it holds, else b.
NUMPY_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "exp": np.exp,
    "log": np.log,
    "sqrt": np.sqrt,
    "sin": np.sin,
    "cos": np.cos,
    "tanh": np.tanh,
    "Abs": np.abs,
    "sign": np.sign,
    "Heaviside": lambda x: np.heaviside(x, 0.5),
    "Min": np.minimum,
    "Max": np.maximum,
    "power": np.power,
    "guarded": lambda x, y: np.where((x == 0.0) | (y == 0.0), 0.0, x * y),
    "power_log": lambda x, y: np.where((x == 0.0) & (y > 0.0), 0.0, np.power(x, y) * np.log(x)),
    "select": np.where,
    "value": np.asarray,
}
_RELATIONS: dict[str, Callable[[Any, Any], Any]] = {
    "StrictLessThan": np.less,
    "LessThan": np.less_equal,
    "StrictGreaterThan": np.greater,
    "GreaterThan": np.greater_equal,
    "Equality": np.equal,
    "Unequality": np.not_equal,
}


def evaluator(
    expressions: Sequence[Any], symbols: Sequence[Any], functions: Mapping[str, Callable[..., Any]] = NUMPY_FUNCTIONS
) -> Callable[[Values], list[Any]]:
    """A function from values of the `symbols` to those of SymPy's `expressions`, common parts computed once.

    Values are whatever `functions` and the operators +, *, / take.

    Examples
    --------
    >>> import sympy
    >>> x, y = sympy.symbols("x y")
    >>> product, ratio = evaluator([sympy.exp(x) * y, x / y], [x, y])([0.0, 2.0])
    >>> float(product), ratio
    (2.0, 0.0)
    """
    import sympy

    shared, reduced = sympy.cse([without_ite(sympy.sympify(e)) for e in expressions], order="none")
    return straight_line(shared, reduced, symbols, functions)


def straight_line(
    steps: Sequence[tuple[Any, Any]],
    results: Sequence[Any],
    symbols: Sequence[Any],
    functions: Mapping[str, Callable[..., Any]] = NUMPY_FUNCTIONS,
) -> Callable[[Values], list[Any]]:
    """The same of expressions that are made of steps, each a name and what is computed for it from those before."""
    places = {symbol: place for place, symbol in enumerate(symbols)}
    computed = []
    for symbol, expression in steps:
        computed.append(_compiled(expression, places, functions))
        places[symbol] = len(places)
    made = [_compiled(expression, places, functions) for expression in results]

    def evaluate(values: Values) -> list[Any]:
        known = list(values)
        for step in computed:
            known.append(step(known))
        return [result(known) for result in made]

    return evaluate


def _compiled(
    e: Any, places: Mapping[Any, int], functions: Mapping[str, Callable[..., Any]]
) -> Callable[[Values], Any]:
    """One expression as a function of the list of known values."""

    def compiled(e: Any) -> Callable[[Values], Any]:
        if e in places:
            place = places[e]
            return lambda known: known[place]
        if e.is_number:
            number = float(e)
            return lambda known: number
        kind, arguments = type(e).__name__, e.args
        if e.is_Add or e.is_Mul:
            parts = [compiled(a) for a in arguments]
            return _folded(parts, (lambda a, b: a + b) if e.is_Add else (lambda a, b: a * b))
        if e.is_Pow:
            return power(*arguments)
        if kind == "Piecewise":
            return piecewise(arguments)
        if kind in _RELATIONS or kind in ("And", "Or", "Not"):
            return condition(e)
        if kind in ("Min", "Max"):
            return _folded([compiled(a) for a in arguments], functions[kind])
        function, inner = functions[kind], [compiled(a) for a in arguments[: 1 if kind == "Heaviside" else None]]
        return lambda known: function(*(part(known) for part in inner))

    def power(base: Any, exponent: Any) -> Callable[[Values], Any]:
        inner = compiled(base)
        if exponent.is_number and exponent < 0:
            below = compiled(base**-exponent)
            return lambda known: 1.0 / below(known)
        if 2 * exponent == 1:
            return lambda known: functions["sqrt"](inner(known))
        outer = compiled(exponent)
        return lambda known: functions["power"](inner(known), outer(known))

    def piecewise(pieces: Sequence[Any]) -> Callable[[Values], Any]:
        out: Callable[[Values], Any] = lambda known: np.nan  # noqa: E731
        for value, holds in reversed([tuple(piece.args) for piece in pieces]):
            out = _selected(condition(holds), compiled(value), out, functions["select"])
        return out

    def condition(c: Any) -> Callable[[Values], Any]:
        kind = type(c).__name__
        if c in (True, False):
            holds = bool(c)
            return lambda known: holds
        if c in places:  # a common part
            return compiled(c)
        if kind in _RELATIONS:
            relation, value = _RELATIONS[kind], functions["value"]
            left, right = map(compiled, c.args)
            return lambda known: relation(value(left(known)), value(right(known)))
        if kind in ("And", "Or"):
            return _folded([condition(part) for part in c.args], np.logical_and if kind == "And" else np.logical_or)
        if kind == "Not":
            inner = condition(c.args[0])
            return lambda known: np.logical_not(inner(known))
        raise NotImplementedError(f"no NumPy code for {kind}")

    return compiled(e)


def _folded(parts: Sequence[Callable[[Values], Any]], operation: Callable[[Any, Any], Any]) -> Callable[[Values], Any]:
    first, *rest = parts

    def fold(known: Values) -> Any:
        out = first(known)
        for part in rest:
            out = operation(out, part(known))
        return out

    return fold


def _selected(
    holds: Callable[[Values], Any],
    one: Callable[[Values], Any],
    other: Callable[[Values], Any],
    select: Callable[..., Any],
) -> Callable[[Values], Any]:
    return lambda known: select(holds(known), one(known), other(known))
