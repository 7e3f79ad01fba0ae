"""Expressions of SymPy's as Julia code, and the methods that are made of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .derivatives import needed
from .symbolic import without_ite

_FUNCTIONS = {
    "exp": "exp_of",
    "log": "log_of",
    "sin": "sin_of",
    "cos": "cos_of",
    "tanh": "tanh_of",
    "Abs": "abs_of",
    "sign": "sign_of",
    "Heaviside": "step_of",
    "guarded": "guarded",
    "power_log": "power_log",
}
_RELATIONS = {
    "StrictLessThan": "<",
    "LessThan": "<=",
    "StrictGreaterThan": ">",
    "GreaterThan": ">=",
    "Equality": "==",
    "Unequality": "!=",
}


def julia_expression(expression: Any, names: Mapping[Any, str]) -> str:
    """An expression of SymPy's as Julia code for numbers with or without tangents, fully in parentheses."""

    def text(e: Any) -> str:
        if e in names:
            return names[e]
        kind = type(e).__name__
        if e.is_Symbol:
            return str(e.name)
        if e.is_number:
            return _number(float(e))
        arguments = e.args
        if e.is_Add:
            return _sum(arguments)
        if e.is_Mul:
            return _product(arguments)
        if e.is_Pow:
            return _power(*arguments)
        if kind in _FUNCTIONS:
            number = 1 if kind == "Heaviside" else len(arguments)
            return f"{_FUNCTIONS[kind]}({', '.join(map(text, arguments[:number]))})"
        if kind in ("Min", "Max"):
            return _nested(f"{kind.lower()}_of", [text(a) for a in sorted(arguments, key=str)])
        if kind == "Piecewise":
            return _piecewise(arguments)
        if kind in _RELATIONS or kind in ("And", "Or", "Not"):
            return _condition(e)
        raise NotImplementedError(f"no Julia code for {kind}")

    def _sum(terms: Sequence[Any]) -> str:
        out = ""
        for term in terms:
            minus = term.could_extract_minus_sign() and not term.is_Add
            piece = text(-term) if minus else text(term)
            out = (f"{out} - {piece}" if minus else f"{out} + {piece}") if out else (f"-{piece}" if minus else piece)
        return f"({out})"

    def _product(factors: Sequence[Any]) -> str:
        above, below, minus = [], [], False
        for factor in factors:
            if factor == -1:
                minus = not minus
            elif factor.is_Pow and factor.args[1].is_number and factor.args[1] < 0:
                below.append(text(factor.args[0] ** -factor.args[1]))
            elif factor.is_Rational and not factor.is_Integer:
                above.append(_number(float(factor)))
            else:
                above.append(text(factor))
        out = " * ".join(above) if above else "1.0"
        if below:
            denominator = below[0] if len(below) == 1 else f"({' * '.join(below)})"
            out = f"{out} / {denominator}"
        return f"(-({out}))" if minus else f"({out})"

    def _power(base: Any, exponent: Any) -> str:
        if exponent.is_Integer:
            n = int(exponent)
            if n == -1:
                return f"(1.0 / {text(base)})"
            return f"integer_power({text(base)}, Val({n}))"
        if abs(2 * exponent) == 1:
            return f"sqrt_of({text(base)})" if exponent > 0 else f"(1.0 / sqrt_of({text(base)}))"
        return f"power_of({text(base)}, {text(exponent)})"

    def _piecewise(pieces: Sequence[Any]) -> str:
        out = ""
        for value, condition in reversed([tuple(piece.args) for piece in pieces]):
            always = not out and condition == True  # noqa: E712
            out = text(value) if always else f"choose({_condition(condition)}, {text(value)}, {out or 'NaN'})"
        return out

    def _condition(condition: Any) -> str:
        kind = type(condition).__name__
        if condition in (True, False):
            return str(condition).lower()
        if condition.is_Symbol:  # a common part
            return str(condition.name)
        if kind in _RELATIONS:
            left, right = condition.args
            return f"(value({text(left)}) {_RELATIONS[kind]} value({text(right)}))"
        if kind in ("And", "Or"):
            sign = " & " if kind == "And" else " | "
            return f"({sign.join(_condition(part) for part in condition.args)})"
        if kind == "Not":
            return f"(!{_condition(condition.args[0])})"
        raise NotImplementedError(f"no Julia code for {kind}")

    return text(without_ite(expression))


def _nested(function: str, arguments: Sequence[str]) -> str:
    out = arguments[0]
    for argument in arguments[1:]:
        out = f"{function}({out}, {argument})"
    return out


def _number(x: float) -> str:
    if x != x:
        return "NaN"
    if x in (float("inf"), float("-inf")):
        return "Inf" if x > 0 else "(-Inf)"
    return repr(x) if x >= 0 else f"({x!r})"


# --- methods ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Given:
    """What a method reads before it computes: `line`, if any of the `symbols` are used."""

    symbols: Sequence[Any]
    line: str


@dataclass(frozen=True)
class Method:
    """A method in Julia: what it is given, the steps that it takes, the statements that it makes, what it returns.

    Statements are pairs of a text with a place ``{}`` and the expression that belongs there. Those that are `optional`
    are made where the `condition` holds.
    """

    head: str
    given: Sequence[Given]
    steps: Sequence[tuple[Any, Any]]
    result: Any = None
    statements: Sequence[tuple[str, Any]] = ()
    optional: Sequence[tuple[str, Any]] = ()
    condition: str = ""
    names: Mapping[Any, str] = field(default_factory=dict)

    def text(self) -> str:
        results = [] if self.result is None else list(self.result) if self.is_tuple else [self.result]
        always = [*results, *(expression for _, expression in self.statements)]
        sometimes = [expression for _, expression in self.optional]
        steps, first = needed(self.steps, [*always, *sometimes]), needed(self.steps, always)
        used = set().union(*(e.free_symbols for e in (*always, *sometimes, *(e for _, e in steps))))
        lines = [given.line for given in self.given if used & set(given.symbols)]
        lines += self.assignments(first) + self.made(self.statements)
        if self.optional:
            done = {name for name, _ in first}
            block = self.assignments([step for step in steps if step[0] not in done]) + self.made(self.optional)
            lines += [f"if {self.condition}", *(f"    {line}" for line in block), "end"]
        shown = [self.julia(value) for value in results]
        lines.append("return " + (f"({', '.join(shown)},)" if self.is_tuple else "".join(shown) or "nothing"))
        body = "\n".join(f"    {line}" for line in lines)
        return f"@inline function {self.head}\n{body}\nend"

    @property
    def is_tuple(self) -> bool:
        return isinstance(self.result, tuple)

    def assignments(self, steps: Sequence[tuple[Any, Any]]) -> list[str]:
        return [f"{name} = {self.julia(expression)}" for name, expression in steps]

    def made(self, statements: Sequence[tuple[str, Any]]) -> list[str]:
        return [text.replace("{}", self.julia(expression)) for text, expression in statements]

    def julia(self, expression: Any) -> str:
        return julia_expression(expression, self.names)


def in_common(expressions: Sequence[Any], first: int = 0) -> tuple[list[tuple[Any, Any]], list[Any]]:
    """Steps, named from x`first` on, that compute what expressions have in common; the expressions in terms of them."""
    import sympy

    names = sympy.numbered_symbols("x", start=first)
    steps, reduced = sympy.cse([without_ite(sympy.sympify(e)) for e in expressions], names, order="none")
    return list(steps), list(reduced)


def unpacked(letter: str, count: int) -> str:
    """The left side of an assignment to `letter`1, `letter`2, …"""
    return f"({''.join(f'{letter}{place + 1}, ' for place in range(count))})"


def symbols(names: Iterable[str]) -> str:
    """A tuple of symbols in Julia."""
    return "(" + "".join(f'Symbol("{name}"), ' for name in names) + ")"
