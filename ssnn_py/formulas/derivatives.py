"""Formulas as straight lines of steps, each one operation, and their derivatives in reverse mode.

Where a slope is infinite or undefined but does not count, because what it multiplies is exactly 0, the product is 0:
``sqrt(max(x, 0))`` has the slope 0 at x < 0, and the branch that ``where`` does not take has none. At the kinks of
``abs``, ``min`` and ``max`` the slope is the mean of those on both sides; ``where`` has that of the branch it takes.
The numbers with tangents of both engines have the same rules.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from .symbolic import without_ite

#: Names of the steps: of the formulas, and of the way back.
_FORWARD, _BACK = "x", "r"


class _Bar(NamedTuple):
    """A part of the derivative by something.

    It may be `infinite` where what multiplies it is 0, or it is `masked`: 0 where what multiplies it may be infinite.
    """

    value: Any
    infinite: bool = False
    masked: bool = False


class Program:
    """Formulas as steps, of which each is one operation on inputs, numbers and earlier steps.

    Parameters
    ----------
    expressions : sequence of sympy.Basic

    Attributes
    ----------
    steps : list of (Symbol, sympy.Basic)
        In their order.
    values : list of sympy.Basic
        Of the expressions: inputs, numbers or steps.

    Examples
    --------
    >>> import sympy
    >>> x, y, bar = sympy.symbols("x y bar")
    >>> program = Program([sympy.exp(x) * y])
    >>> program.steps
    [(x0, exp(x)), (x1, x0*y)]
    >>> by_x, by_y = program.pulled_back([bar], [x, y])
    >>> by_x, by_y, program.steps[2:]
    (r0*x0, bar*x0, [(r0, bar*y)])
    """

    def __init__(self, expressions: Sequence[Any]) -> None:
        import sympy

        self.sympy = sympy
        self.steps: list[tuple[Any, Any]] = []
        self._known: dict[Any, Any] = {}
        self._names = {letter: sympy.numbered_symbols(letter) for letter in (_FORWARD, _BACK)}
        names = sympy.numbered_symbols(cls=sympy.Dummy)
        common, reduced = sympy.cse([without_ite(sympy.sympify(e)) for e in expressions], names, order="none")
        for name, expression in common:
            self._known[name] = self._atom(expression)
        self.values = [self._atom(expression) for expression in reduced]

    # --- formulas -----------------------------------------------------------------------------------------------------

    def _step(self, expression: Any, letter: str = _FORWARD) -> Any:
        """The name of a step that computes an expression."""
        name = next(self._names[letter])
        self.steps.append((name, expression))
        return name

    def _atom(self, e: Any) -> Any:
        """An expression as a name or a number, or such a name's multiple or reciprocal."""
        if e.is_Symbol or e.is_number:
            return self._known.get(e, e)
        if e not in self._known:
            self._known[e] = self._made(e)
        return self._known[e]

    def _made(self, e: Any) -> Any:
        sympy = self.sympy
        if isinstance(e, sympy.logic.boolalg.Boolean):
            return self._step(self._condition(e))
        number, rest = e.as_coeff_Mul()
        if number != 1:
            return number * self._atom(rest)
        if e.is_Pow and e.exp.is_number and e.exp.is_negative:
            return 1 / self._atom(e.base**-e.exp)
        if isinstance(e, sympy.Piecewise):
            pairs = [(self._atom(value), self._condition(holds)) for value, holds in e.args]
            return self._step(sympy.Piecewise(*pairs, evaluate=False))
        if isinstance(e, sympy.Min | sympy.Max):
            first, *others = (self._atom(a) for a in sorted(e.args, key=str))
            for other in others:
                first = self._step(e.func(first, other, evaluate=False))
            return first
        return self._step(e.func(*map(self._atom, e.args)))

    def _condition(self, e: Any) -> Any:
        """A condition on names and numbers."""
        if e in (True, False):
            return e
        if e.is_Symbol:
            return self._known.get(e, e)
        parts = self._condition if isinstance(e, self.sympy.logic.boolalg.BooleanFunction) else self._atom
        return e.func(*map(parts, e.args), evaluate=False)

    # --- derivatives --------------------------------------------------------------------------------------------------

    def pulled_back(self, bars: Sequence[Any], inputs: Sequence[Any]) -> list[Any]:
        """Derivatives of Σ bar·value by each of the inputs; their common parts become steps.

        Parameters
        ----------
        bars : sequence of sympy.Basic
            What multiplies each value: names or numbers.
        inputs : sequence of Symbol

        Returns
        -------
        list of sympy.Basic
        """
        found: dict[Any, list[_Bar]] = {}
        for bar, value in zip(bars, self.values, strict=True):
            if bar != 0:
                self._push(value, _Bar(bar), found)
        for name, expression in reversed(list(self.steps)):
            if name in found:
                self._push(expression, self._total(found.pop(name)), found, name)
        return [self.sympy.Add(*(bar.value for bar in found.get(each, ()))) for each in inputs]

    def _total(self, bars: Sequence[_Bar]) -> _Bar:
        """The sum of bars, as a step unless it is a name or a number."""
        total = self.sympy.Add(*(bar.value for bar in bars))
        _, rest = total.as_coeff_Mul()
        if not (total.is_number or rest.is_Symbol):
            total = self._step(total, _BACK)
        return _Bar(total, any(bar.infinite for bar in bars), any(bar.masked for bar in bars))

    def _push(self, e: Any, bar: _Bar, found: dict[Any, list[_Bar]], name: Any = None) -> None:
        """Add to the bars in `found` what that of an expression, which is the step `name`, says of its parts."""
        sympy, kind = self.sympy, type(e).__name__
        if e.is_Symbol:
            found.setdefault(e, []).append(bar)
        elif e.is_number or kind in ("sign", "Heaviside"):
            return
        elif e.is_Add:
            for part in e.args:
                self._push(part, bar, found)
        elif e.is_Mul:
            for place, factor in enumerate(e.args):
                others = sympy.Mul(*e.args[:place], *e.args[place + 1 :])
                self._push(factor, _times(sympy, bar, others), found)
        elif e.is_Pow:
            self._push_power(e, bar, found, name)
        elif kind in ("Min", "Max"):
            one, other = e.args
            first = sympy.Heaviside(one - other if kind == "Max" else other - one)
            for part, share in ((one, first), (other, 1 - first)):
                self._push(part, _times(sympy, bar._replace(infinite=True), share)._replace(masked=True), found)
        elif kind == "Piecewise":
            self._push_branches(e, bar, found)
        else:
            (inner,) = e.args
            self._push(inner, _times(sympy, bar, _SLOPES[kind](sympy, inner, name)), found)

    def _push_power(self, e: Any, bar: _Bar, found: dict[Any, list[_Bar]], name: Any) -> None:
        sympy, (base, exponent) = self.sympy, e.args
        if exponent == -1:
            self._push(base, _times(sympy, bar, -(e**2)), found)
        elif exponent == sympy.Rational(1, 2):
            self._push(base, _steep(sympy, bar, 1 / (2 * name)), found)
        elif exponent.is_number and (exponent.is_Integer or exponent > 1):
            self._push(base, _times(sympy, bar, exponent * base ** (exponent - 1)), found)
        else:
            if not base.is_number:
                slope = guarded(sympy, exponent, base ** (exponent - 1))
                self._push(base, _steep(sympy, bar, slope), found)
            if not exponent.is_number:
                self._push(exponent, _steep(sympy, bar, sympy.Function("power_log")(base, exponent)), found)

    def _push_branches(self, e: Any, bar: _Bar, found: dict[Any, list[_Bar]]) -> None:
        taken: list[Any] = []
        for value, holds in e.args:
            if not value.is_number:
                pairs = [*((0, before) for before in taken), (bar.value, holds), (0, True)]
                share = self.sympy.Piecewise(*pairs, evaluate=False)
                self._push(value, bar._replace(value=share, masked=True), found)
            taken.append(holds)


def _times(sympy: Any, bar: _Bar, factor: Any) -> _Bar:
    """A bar times a factor; where one is 0 and the other may be infinite, 0."""
    harmless = factor.is_number or (factor.is_Symbol and factor.is_real and not bar.infinite)
    if harmless or not (bar.infinite or bar.masked):
        return bar._replace(value=bar.value * factor)
    return bar._replace(value=guarded(sympy, bar.value, factor))


def _steep(sympy: Any, bar: _Bar, slope: Any) -> _Bar:
    """A bar times a slope that may be infinite."""
    return _Bar(guarded(sympy, bar.value, slope), True, bar.masked)


def guarded(sympy: Any, one: Any, other: Any) -> Any:
    """The product of two expressions, 0 where one of them is, also where the other is infinite or undefined."""
    return sympy.Function("guarded")(one, other)


#: Slopes of functions at x, where they are `at`.
_SLOPES: Mapping[str, Any] = {
    "exp": lambda sympy, x, at: at,
    "log": lambda sympy, x, at: 1 / x,
    "sin": lambda sympy, x, at: sympy.cos(x),
    "cos": lambda sympy, x, at: -sympy.sin(x),
    "tanh": lambda sympy, x, at: 1 - at**2,
    "Abs": lambda sympy, x, at: sympy.sign(x),
}


def needed(steps: Sequence[tuple[Any, Any]], results: Sequence[Any]) -> list[tuple[Any, Any]]:
    """Those of the steps on which results depend."""
    wanted = set().union(*(result.free_symbols for result in results))
    kept = []
    for name, expression in reversed(steps):
        if name in wanted:
            wanted |= expression.free_symbols
            kept.append((name, expression))
    return kept[::-1]
