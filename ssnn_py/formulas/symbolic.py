"""Formulas as expressions of SymPy, which is imported only when one is asked for."""

from __future__ import annotations

from typing import Any

from .grammar import Call, Comparison, Logic, Name, Negative, Node, Number, Operation

#: Formulas of more operations, or with larger powers, are not expanded.
_LARGE, _LARGE_POWER = 400, 6
#: Decimals of at most so many digits, and of at most such an exponent, become fractions; others are floats.
_EXACT_DIGITS, _EXACT_EXPONENT = 15, 22


def symbol(name: str) -> Any:
    """The real symbol that stands for a name in expressions.

    Examples
    --------
    >>> symbol("v").is_real
    True
    """
    import sympy

    return sympy.Symbol(name, real=True)


def symbolic(node: Node) -> Any:
    """A formula as an expression of SymPy, or a condition as one of its booleans.

    Integers become Integer, decimals of at most 15 digits Rational. Names become :func:`symbol`, but pi its number.

    Parameters
    ----------
    node : Node

    Returns
    -------
    sympy.Basic

    Examples
    --------
    >>> from ssnn_py.formulas.grammar import parse_expression
    >>> symbolic(parse_expression("0.5*v**2 + clip(u, 0, 1)"))
    v**2/2 + Min(1, Max(0, u))
    """
    import sympy

    known: dict[int, Any] = {}

    def of(node: Node) -> Any:
        if id(node) not in known:
            known[id(node)] = _symbolic(sympy, node, of)
        return known[id(node)]

    return of(node)


def without_ite(expression: Any) -> Any:
    """An expression without SymPy's if-then-else of conditions, which it makes of a piecewise within a condition.

    Examples
    --------
    >>> import sympy
    >>> a, b, c = sympy.symbols("a b c")
    >>> without_ite(sympy.ITE(a, b, c))
    (a & b) | (c & ~a)
    """
    import sympy

    if not expression.has(sympy.ITE):
        return expression
    return expression.replace(sympy.ITE, lambda c, a, b: sympy.Or(sympy.And(c, a), sympy.And(sympy.Not(c), b)))


def expanded(expression: Any) -> Any:
    """An expression with its products written out, unless that might take long.

    Examples
    --------
    >>> import sympy
    >>> a, b = sympy.symbols("a b")
    >>> expanded((a + b) * b), expanded((a + b) ** 30)
    (a*b + b**2, (a + b)**30)
    """
    import sympy

    powers = (power.exp for power in expression.atoms(sympy.Pow))
    large = any(exponent.is_Integer and abs(exponent) > _LARGE_POWER for exponent in powers)
    return expression if large or expression.count_ops() > _LARGE else sympy.expand(expression)


def _symbolic(sympy: Any, node: Node, of: Any) -> Any:
    if isinstance(node, Number):
        return _number(sympy, node.value)
    if isinstance(node, Name):
        return sympy.pi if node.name == "pi" else symbol(node.name)
    if isinstance(node, Negative):
        return -of(node.operand)
    if isinstance(node, Operation):
        left, right = of(node.left), of(node.right)
        if node.operator in ("+", "-"):
            return left + right if node.operator == "+" else left - right
        if node.operator in ("*", "/"):
            return left * right if node.operator == "*" else left / right
        return left**right
    if isinstance(node, Comparison):
        relations = {"<": "Lt", "<=": "Le", ">": "Gt", ">=": "Ge", "==": "Eq", "!=": "Ne"}
        return getattr(sympy, relations[node.operator])(of(node.left), of(node.right))
    if isinstance(node, Logic):
        return {"and": sympy.And, "or": sympy.Or, "not": sympy.Not}[node.operator](*map(of, node.operands))
    assert isinstance(node, Call)
    return _call(sympy, node.function, [of(argument) for argument in node.arguments])


def _number(sympy: Any, value: float) -> Any:
    mantissa, _, exponent = repr(value).partition("e")
    digits = mantissa.replace(".", "").strip("0")
    if len(digits) <= _EXACT_DIGITS and abs(int(exponent or 0)) <= _EXACT_EXPONENT:
        return sympy.Rational(repr(value))
    return sympy.Float(value)


def _call(sympy: Any, function: str, arguments: list[Any]) -> Any:
    if function == "clip":
        x, lowest, highest = arguments
        return sympy.Min(sympy.Max(x, lowest), highest)
    if function in ("where", "piecewise"):
        pairs = list(zip(arguments[1::2], arguments[:-1:2], strict=True))
        return sympy.Piecewise(*pairs, (arguments[-1], True))
    named = {"abs": "Abs", "min": "Min", "max": "Max"}
    return getattr(sympy, named.get(function, function))(*arguments)
