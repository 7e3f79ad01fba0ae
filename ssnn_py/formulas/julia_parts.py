"""Julia code of parts of a network from formulas: intensities and input currents, functions of one variable."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .derivatives import Program, guarded
from .grammar import Node
from .julia_expressions import Given, Method, in_common, symbols, unpacked
from .symbolic import symbol, symbolic


def intensity_code(kind: str, formula: Node, names: Sequence[str]) -> str:
    """The source text that ``ssnn_define`` takes for an intensity λ(v) with parameters of these names."""
    part = _Part("λ", f"FormulaIntensity{{:{kind}}}", "v", formula, names)
    heads = (
        "rate(λ::{key}, k, v)",
        "slope(λ::{key}, k, v, rate)",
        "rate_tangent(λ::{key}, dλ::{key}, k, v, rate)",
        "rate_adjoint!(λ̄::{key}, λ::{key}, k, v, rate, bar)",
    )
    return part.code(*heads, f'INTENSITIES["{kind}"] = (n, settings)')


def current_code(kind: str, formula: Node, names: Sequence[str]) -> str:
    """The source text that ``ssnn_define`` takes for an input current I(t) with parameters of these names."""
    part = _Part("c", f"FormulaCurrent{{:{kind}}}", "t", formula, names)
    heads = (
        "current(c::{key}, k, t)",
        "current_rate(c::{key}, k, t)",
        "current_tangent(c::{key}, dc::{key}, k, t)",
        "current_adjoint!(c̄::{key}, c::{key}, k, t, bar)",
    )
    return part.code(*heads, f'CURRENTS["{kind}"] = (n, knots)')


class _Part:
    """Code of a function of one variable with parameters, `letter` their owner's name in it."""

    def __init__(self, letter: str, key: str, variable: str, formula: Node, names: Sequence[str]) -> None:
        import sympy

        self.sympy, self.letter, self.key, self.names = sympy, letter, key, names
        self.variable, self.parameters = symbol(variable), [symbol(name) for name in names]
        self.formula = symbolic(formula)
        self.shown = {self.variable: variable}
        self.shown |= {parameter: f"p{place + 1}" for place, parameter in enumerate(self.parameters)}

    def code(self, value: str, slope: str, tangent: str, adjoint: str, registered: str) -> str:
        """Methods of these heads, and what is registered: a constructor from the number of neurons."""
        return "\n\n".join(
            (
                f"coefficient_names(::Type{{<:{self.key}}}) = {symbols(self.names)}",
                self.value(value),
                self.slope(slope),
                self.tangent(tangent),
                self.adjoint(adjoint),
                f"{registered} -> {self.key}(n)",
            )
        )

    def method(self, head: str, steps: Sequence[tuple[Any, Any]], result: Any, added: Sequence[Any] = ()) -> str:
        given = [Given(self.parameters, f"{unpacked('p', len(self.names))} = coefficients_at({self.letter}, k)")]
        statements = [(f"@inbounds {self.letter}̄.values[{n + 1}][k] += {{}}", each) for n, each in enumerate(added)]
        return Method(head.replace("{key}", self.key), given, steps, result, statements, names=self.shown).text()

    def value(self, head: str) -> str:
        steps, (value,) = in_common([self.formula])
        return self.method(head, steps, value)

    def derivatives(self, bar: Any, by: Sequence[Any]) -> tuple[Sequence[tuple[Any, Any]], list[Any]]:
        program = Program([self.formula])
        changes = program.pulled_back([bar], by)
        return program.steps, changes

    def slope(self, head: str) -> str:
        steps, (change,) = self.derivatives(self.sympy.Integer(1), [self.variable])
        return self.method(head, steps, change)

    def tangent(self, head: str) -> str:
        """Σ ∂/∂p·dp over the parameters."""
        steps, changes = self.derivatives(self.sympy.Integer(1), self.parameters)
        moved = [self.sympy.Symbol(f"@inbounds(d{self.letter}.values[{n + 1}][k])") for n in range(len(self.names))]
        # Nothing where a parameter does not move, also where its slope is infinite.
        products = (guarded(self.sympy, change, dp) for change, dp in zip(changes, moved, strict=True))
        return self.method(head, steps, self.sympy.Add(*products))

    def adjoint(self, head: str) -> str:
        steps, changes = self.derivatives(self.sympy.Symbol("bar"), self.parameters)
        return self.method(head, steps, None, changes)
