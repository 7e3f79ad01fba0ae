"""What is made of parsed formulas: their names, what stands for subexpressions, the parts that noises multiply, and
simultaneous maps.
"""

from __future__ import annotations

import dataclasses
import keyword
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from .grammar import (
    FUNCTIONS,
    MAX_DEPTH,
    Call,
    Comparison,
    Equation,
    FormulaError,
    Logic,
    Name,
    Negative,
    Node,
    Number,
    Operation,
    Source,
    Statement,
    children,
    measure,
    parts,
)

#: How many nodes a formula may have once its subexpressions are put in.
MAX_SIZE = 20_000

ZERO, ONE = Number(0.0, "0"), Number(1.0, "1")

#: Names with a meaning of their own, besides noises and functions.
FIXED = {
    "t": "the time",
    "I": "the input current",
    "w": "the weight of a synapse",
    "pi": "the number π",
    "dt": "a part of dX/dt",
}


def is_noise(name: str) -> bool:
    """Whether a name is that of a white noise, ``xi`` or ``xi_NAME``."""
    return name == "xi" or name.startswith("xi_")


def meaning(name: str) -> str | None:
    """What a name that is not the user's stands for, or None for names that are.

    Examples
    --------
    >>> meaning("I"), meaning("v")
    ('the input current', None)
    """
    if is_noise(name):
        return "a white noise"
    if name in FUNCTIONS:
        return "a function"
    return "a word of Python's" if keyword.iskeyword(name) else FIXED.get(name)


def names(node: Node) -> Iterator[Name]:
    """Every name in a formula, from left to right, as often as it is there.

    Examples
    --------
    >>> from ssnn_py.formulas.grammar import parse_expression
    >>> [name.name for name in names(parse_expression("v*exp(u) - v"))]
    ['v', 'u', 'v']
    """
    stack = [node]
    while stack:
        top = stack.pop()
        if isinstance(top, Name):
            yield top
        stack += reversed(children(top))


def name_set(node: Node) -> frozenset[str]:
    """The names in a formula.

    Examples
    --------
    >>> from ssnn_py.formulas.grammar import parse_expression
    >>> sorted(name_set(parse_expression("v*exp(u) - v")))
    ['u', 'v']
    """
    return frozenset(part.name for part in parts(node) if isinstance(part, Name))


def substituted(node: Node, values: Mapping[str, Node]) -> Node:
    """A formula with other formulas in the place of names; what does not change is shared.

    Examples
    --------
    >>> from ssnn_py.formulas.grammar import parse_expression
    >>> there = substituted(parse_expression("v - v_T"), {"v": parse_expression("2*u")})
    >>> there == parse_expression("2*u - v_T")
    True
    """
    known: dict[int, Node] = {}

    def of(node: Node) -> Node:
        if id(node) not in known:
            known[id(node)] = _with_children(node, of, values)
        return known[id(node)]

    return of(node)


def _with_children(node: Node, of: Callable[[Node], Node], values: Mapping[str, Node]) -> Node:
    if isinstance(node, Name):
        return values.get(node.name, node)
    before = children(node)
    after = tuple([of(child) for child in before])
    if all(one is other for one, other in zip(before, after, strict=True)):
        return node
    if isinstance(node, Operation | Comparison):
        return dataclasses.replace(node, left=after[0], right=after[1])
    if isinstance(node, Call):
        return dataclasses.replace(node, arguments=after)
    if isinstance(node, Logic):
        return dataclasses.replace(node, operands=after)
    assert isinstance(node, Negative)
    return dataclasses.replace(node, operand=after[0])


def canonical(node: Node) -> str:
    """A text that is the same for the same formula, however it was written.

    Examples
    --------
    >>> from ssnn_py.formulas.grammar import parse_expression
    >>> canonical(parse_expression("-(v + 1.50)"))
    '(neg (+ v 1.5))'
    """
    if isinstance(node, Number):
        return repr(node.value)
    if isinstance(node, Name):
        return node.name
    if isinstance(node, Call):
        head = node.function
    else:
        head = node.operator if isinstance(node, Operation | Comparison | Logic) else "neg"
    return f"({' '.join([head, *map(canonical, children(node))])})"


# --- numbers ----------------------------------------------------------------------------------------------------------


def _piecewise(*arguments: Any) -> Any:
    out = arguments[-1]
    for condition, value in reversed(list(zip(arguments[:-1:2], arguments[1::2], strict=True))):
        out = np.where(condition, value, out)
    return out


_FUNCTIONS: dict[str, Callable[..., Any]] = {
    **{name: getattr(np, name) for name in ("exp", "log", "sqrt", "sin", "cos", "tanh", "abs")},
    "min": lambda *arguments: np.minimum.reduce(np.broadcast_arrays(*arguments)),
    "max": lambda *arguments: np.maximum.reduce(np.broadcast_arrays(*arguments)),
    "clip": lambda x, lowest, highest: np.minimum(np.maximum(x, lowest), highest),
    "where": _piecewise,
    "piecewise": _piecewise,
}

_OPERATORS: dict[str, Callable[..., Any]] = {
    **{"+": np.add, "-": np.subtract, "*": np.multiply, "/": np.divide, "**": np.float_power},
    **{"<": np.less, "<=": np.less_equal, ">": np.greater, ">=": np.greater_equal},
    **{"==": np.equal, "!=": np.not_equal, "and": np.logical_and, "or": np.logical_or, "not": np.logical_not},
}


def evaluated(node: Node, values: Mapping[str, Any]) -> Any:
    """The value of a formula where names have these values, numbers or arrays that broadcast; NaN where it has none.

    Examples
    --------
    >>> from ssnn_py.formulas.grammar import parse_expression
    >>> float(evaluated(parse_expression("where(v > 1, v**2, 0)"), {"v": 3.0}))
    9.0
    """
    known: dict[int, Any] = {}
    with np.errstate(all="ignore"):
        for part in parts(node):
            arguments = [known[id(child)] for child in children(part)]
            if isinstance(part, Number):
                known[id(part)] = np.float64(part.value)
            elif isinstance(part, Name):
                known[id(part)] = np.float64(math.pi) if part.name == "pi" else values[part.name]
            elif isinstance(part, Negative):
                known[id(part)] = np.negative(*arguments)
            elif isinstance(part, Call):
                known[id(part)] = _FUNCTIONS[part.function](*arguments)
            else:
                assert isinstance(part, Operation | Comparison | Logic)
                known[id(part)] = _OPERATORS[part.operator](*arguments)
    return known[id(node)]


def constant(node: Node) -> float | None:
    """The value of a formula without names but pi, NaN where it has none; None for a formula with names."""
    return float(evaluated(node, {})) if name_set(node) <= {"pi"} else None


def check_constants(source: Source, node: Node, place: Node | None = None) -> None:
    """Raise for a part of a formula that has no finite real value whatever names stand for, ``1/0`` or ``sqrt(-1)``;
    or for nearly all that its exponent may be, ``(-2)**v`` or ``0**v``.

    The part is marked, or `place` where it is given.
    """
    for part in parts(node):
        if isinstance(part, Operation) and part.operator == "**" and constant(part.right) is None:
            base = constant(part.left)
            if base is not None and base <= 0:
                why = "a negative number has powers at whole exponents" if base else "0 has powers from exponent 0 up"
                remedy = "take a positive base, or write where(condition, x, otherwise)"
                raise source.error(place or part, f"{why} only, and this exponent is no constant: {remedy}")
        value = constant(part)
        if isinstance(part, Operation) and part.operator == "/" and constant(part.right) == 0.0:
            raise source.error(place or part, "this divides by zero")
        if value is not None and not math.isfinite(value):
            raise source.error(place or part, "this has no finite real value")


def check_rate(source: Source, node: Node, what: str) -> None:
    """Raise for a rate that is a constant and not positive; `what` is rate."""
    value = constant(node)
    if value is not None and value <= 0:
        raise source.error(node, f"{what} is a rate, which must be positive")


# --- subexpressions ---------------------------------------------------------------------------------------------------


def closed(source: Source, lines: Sequence[Equation]) -> dict[str, Node]:
    """What subexpressions stand for, with the subexpressions within them put in.

    Raises
    ------
    FormulaError
        If one needs itself, or if the result would be too large.
    """
    own = {line.name: line for line in lines}
    done: dict[str, Node] = {}
    for name in own:
        path = [] if name in done else [name]
        while path:
            top = own[path[-1]]
            missing = next((each for each in names(top.value) if each.name in own and each.name not in done), None)
            if missing is None:
                done[path.pop()] = put_in(source, top.value, done)
            elif missing.name in path:
                circle = " -> ".join([*path[path.index(missing.name) :], missing.name])
                raise source.error(missing, f"a subexpression must not need itself: {circle}")
            else:
                path.append(missing.name)
    return done


def put_in(source: Source, node: Node, subexpressions: Mapping[str, Node]) -> Node:
    """A formula with what its subexpressions stand for, if that is not too large."""
    whole = substituted(node, subexpressions)
    depth, size = measure(whole)
    if depth > MAX_DEPTH or size > MAX_SIZE:
        limit = f"{MAX_DEPTH} deep" if depth > MAX_DEPTH else f"{MAX_SIZE} names, numbers and operators"
        raise source.error(node, f"this formula, with what its names stand for, is over {limit}")
    return whole


# --- noises -----------------------------------------------------------------------------------------------------------


def split_noises(source: Source, node: Node) -> tuple[Node, dict[str, Node]]:
    """The part of a formula without noise, and what multiplies each of its noises.

    Raises
    ------
    FormulaError
        If the formula is not affine in its noises.

    Examples
    --------
    >>> from ssnn_py.formulas.grammar import parse_expression
    >>> rest, coefficients = split_noises(Source("equations", ""), parse_expression("-v + (a*xi - xi_1)/tau"))
    >>> canonical(rest), {name: canonical(each) for name, each in coefficients.items()}
    ('(neg v)', {'xi': '(/ a tau)', 'xi_1': '(/ (neg 1.0) tau)'})
    """
    return _affine(source, node, is_noise)


def slope(source: Source, node: Node, variable: str) -> Node:
    """What multiplies a variable in a formula that is affine in it, zero where nothing does.

    Raises
    ------
    FormulaError
        If the formula is not affine in the variable, or that is not seen: functions and powers are not looked into.

    Examples
    --------
    >>> from ssnn_py.formulas.grammar import parse_expression
    >>> canonical(slope(Source("equations", ""), parse_expression("(I - v)/tau + u**2"), "v"))
    '(/ (neg 1.0) tau)'
    """
    return _affine(source, node, lambda name: name == variable)[1].get(variable, ZERO)


def _affine(source: Source, node: Node, is_wanted: Callable[[str], bool]) -> tuple[Node, dict[str, Node]]:
    """The part of a formula without the names that are wanted, and what multiplies each of these."""
    wanted: set[int] = set()
    for part in parts(node):
        if (isinstance(part, Name) and is_wanted(part.name)) or any(id(child) in wanted for child in children(part)):
            wanted.add(id(part))
    rest, coefficients = _split(source, node, wanted)
    return rest, {name: each for name, each in coefficients.items() if each != ZERO}


def _split(source: Source, node: Node, noisy: set[int]) -> tuple[Node, dict[str, Node]]:
    """The same, with zeros, where the formulas with noise are known."""
    if id(node) not in noisy:
        return node, {}
    if isinstance(node, Name):
        return ZERO, {node.name: ONE}
    if isinstance(node, Negative):
        rest, coefficients = _split(source, node.operand, noisy)
        return _negative(rest), {name: _negative(each) for name, each in coefficients.items()}
    if not isinstance(node, Operation):
        raise _not_affine(source, node, "a noise cannot stand in a function or condition")
    in_left, in_right = id(node.left) in noisy, id(node.right) in noisy
    if node.operator == "**":
        raise _not_affine(source, node, "a noise cannot stand in a power")
    if node.operator == "/" and in_right:
        raise _not_affine(source, node, "nothing can be divided by a noise")
    if node.operator == "*" and in_left and in_right:
        raise _not_affine(source, node, "a noise cannot multiply a noise")
    if node.operator in ("*", "/"):
        rest, coefficients = _split(source, node.left if in_left else node.right, noisy)

        def scaled(part: Node) -> Node:
            return _product(node, part, node.right) if in_left else _product(node, node.left, part)

        return scaled(rest), {name: scaled(each) for name, each in coefficients.items()}
    rest, coefficients = _split(source, node.left, noisy)
    other, others = _split(source, node.right, noisy)
    added = {name: _total(node, coefficients.get(name, ZERO), each) for name, each in others.items()}
    return _total(node, rest, other), coefficients | added


def _not_affine(source: Source, node: Node, sentence: str) -> FormulaError:
    allowed = "noises must be multiplied by formulas without noise and added, as in sigma*xi + b*xi_2"
    return source.error(node, f"{sentence}: {allowed}")


def _product(node: Operation, left: Node, right: Node) -> Node:
    """The product or quotient that `node` is, of other formulas."""
    if left == ZERO or (node.operator == "*" and right == ZERO):
        return ZERO
    if right == ONE:
        return left
    if left == ONE and node.operator == "*":
        return right
    return dataclasses.replace(node, left=left, right=right)


def _total(node: Operation, left: Node, right: Node) -> Node:
    """The sum or difference that `node` is, of other formulas."""
    if right == ZERO or left == ZERO:
        return left if right == ZERO else right if node.operator == "+" else _negative(right)
    if node.operator == "-" and left == right:
        return ZERO
    return dataclasses.replace(node, left=left, right=right)


def _negative(node: Node) -> Node:
    if isinstance(node, Negative):
        return node.operand
    return ZERO if node == ZERO else Negative(node, start=node.start, end=node.end)


# --- statements -------------------------------------------------------------------------------------------------------


def simultaneous(
    source: Source, statements: Sequence[Statement], subexpressions: Mapping[str, Node]
) -> dict[str, Node]:
    """What statements that are carried out one after the other make of the variables that they change, as formulas of
    the variables before the first.

    Examples
    --------
    >>> from ssnn_py.formulas.grammar import parse_statements
    >>> text = "a += v; v = a - v"
    >>> after = simultaneous(Source("then", text), parse_statements(text), {})
    >>> {name: canonical(formula) for name, formula in after.items()}
    {'a': '(+ a v)', 'v': '(- (+ a v) v)'}
    """
    now: dict[str, Node] = {}
    for each in statements:
        value = put_in(source, each.value, subexpressions)
        if each.operator != "=":
            start, end = each.place
            before = Name(each.name, start=start, end=end)
            value = Operation(each.operator[0], before, value, start=start, end=each.value.end)
        # Names stand for what statements before this one have assigned, within subexpressions, too.
        now[each.name] = put_in(source, dataclasses.replace(value, start=each.place[0], end=each.value.end), now)
    return {name: value for name, value in now.items() if value != Name(name)}
