"""Functions of one variable with parameters, from formulas: intensities λ(v) and input currents I(t)."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import ValidationError
from .analysis import check_constants, meaning, names
from .grammar import Node, Source, closest, parse_expression

Array = NDArray[np.float64]


def read_function(argument: str, text: Any, variable: str, parameters: Iterable[str]) -> Node:
    """The formula that a text is, of `variable` and all of the `parameters`.

    Raises
    ------
    ValidationError
        If it is none, or a name is unknown, taken, or not used.
    """
    known = list(parameters)
    for name in known:
        if not name.isidentifier():
            raise ValidationError(f"{argument} must have parameters with names of letters, digits and _, got {name!r}")
        reason = f"the variable of {argument}" if name == variable else meaning(name)
        if reason:
            raise ValidationError(f"{argument} must not have a parameter named {name!r}, {reason}")
    node, source = parse_expression(text, argument), Source(argument, text)
    used = set()
    for each in names(node):
        if each.name not in (variable, "pi", *known):
            if reason := meaning(each.name):
                raise source.error(each, f"{each.name} is {reason}, which cannot stand here")
            hint = closest(each.name, [variable, *known]) or f"; it is neither {variable} nor a parameter"
            raise source.error(each, f"unknown name {each.name}{hint}")
        used.add(each.name)
    check_constants(source, node)
    unused = [name for name in known if name not in used]
    if unused:
        raise ValidationError(f"{argument} must use every parameter, and does not use {unused[0]!r}")
    return node


def kind_of(what: str, formula: Node, parameters: Iterable[str]) -> str:
    """The name under which the Julia core knows it, as an "intensity" or a "current"."""
    return f"formula_{what}_{hashlib.sha256(repr((formula, list(parameters))).encode()).hexdigest()[:16]}"


@functools.lru_cache(maxsize=64)
def _ready(formula: Node, variable: str, parameters: tuple[str, ...]) -> Any:
    """The function and its derivatives by the variable and by every parameter, in NumPy."""
    import sympy

    from .derivatives import Program
    from .numpy_code import evaluator, straight_line
    from .symbolic import symbol, symbolic

    expression, symbols = symbolic(formula), [symbol(name) for name in (variable, *parameters)]
    program = Program([expression])
    changes = program.pulled_back([sympy.Integer(1)], symbols)
    return evaluator([expression], symbols), straight_line(program.steps, changes, symbols)


def value(formula: Node, variable: str, at: Array, parameters: Mapping[str, Array]) -> Array:
    """The function at points of its variable, elementwise."""
    with np.errstate(all="ignore"):
        (out,) = _ready(formula, variable, tuple(parameters))[0]([at, *parameters.values()])
    return _like(out, at, parameters)


def derivatives(
    formula: Node, variable: str, at: Array, parameters: Mapping[str, Array]
) -> tuple[Array, dict[str, Array]]:
    """Its derivatives by the variable and by every parameter, elementwise."""
    with np.errstate(all="ignore"):
        slope, *others = _ready(formula, variable, tuple(parameters))[1]([at, *parameters.values()])
    named = zip(parameters, others, strict=True)
    return _like(slope, at, parameters), {name: _like(part, at, parameters) for name, part in named}


def _like(out: Any, at: Array, parameters: Mapping[str, Array]) -> Array:
    """An array of the shape that the arguments have together, also where the function does not depend on them."""
    shape = np.broadcast_shapes(np.shape(at), *map(np.shape, parameters.values()))
    return np.array(np.broadcast_to(out, shape), dtype=np.float64)
