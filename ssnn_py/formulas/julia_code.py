"""Julia code of formulas: the methods of the core's protocols for models (``julia/src/models/formula.jl``), intensities
and input currents of the user's own.

Every derivative is SymPy's, with common subexpressions computed once. Names of the user's are not names of the code's:
state variables are ``y1, y2, …``, parameters ``p1, p2, …``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from .calculus import Calculus
from .event_sde import EventSDE
from .grammar import Node
from .symbolic import symbol, symbolic

#: Version of the code, so that what was kept of an older one is not used.
VERSION = 1


def model_code(model: EventSDE) -> str:
    """The source text that ``ssnn_define`` takes for a model."""
    return _Code(Calculus(model)).text()


class _Code:
    def __init__(self, c: Calculus) -> None:
        self.c = c
        self.key = f"Formula{{:formula_{c.model.key}}}"
        self.any = f"AnyFormula{{:formula_{c.model.key}}}"
        self.crossings = [event for event in c.events if event.kind == "crossing"]
        self.hazards = [event for event in c.events if event.kind == "hazard"]
        self.total = len(c.states) + len(self.crossings) + len(self.hazards)
        self.names = {symbol: f"y{place + 1}" for place, symbol in enumerate(c.states)}
        self.names |= {symbol: f"p{place + 1}" for place, symbol in enumerate(c.parameters)}
        self.names |= {c.time: "t", c.current: "input", c.weight: "weight"}

    def text(self) -> str:
        c = self.c
        parts = [
            *self.sizes(),
            self.initial(),
            *self.drift(),
            *self.noise(),
            *self.events(),
            *self.transitions(),
            *self.arrival(),
            self.function("time_scale_rates(θ::{key}, k)", ["parameters"], c.rates),
            f'MODELS["formula_{c.model.key}"] = problem -> {self.key}(problem)',
        ]
        return "\n\n".join(parts) + "\n"

    # --- small pieces -------------------------------------------------------------------------------------------------

    def sizes(self) -> list[str]:
        c = self.c
        kinds = [*((True, place) for place in range(1, len(self.crossings) + 1))]
        order = {id(event): (True, place + 1) for place, event in enumerate(self.crossings)}
        order |= {id(event): (False, place + 1) for place, event in enumerate(self.hazards)}
        kinds = [order[id(event)] for event in c.events]
        chain = "".join(
            f"event == {place + 1} ? ({str(crossing).lower()}, {index}) : "
            for place, (crossing, index) in enumerate(kinds[:-1])
        )
        last = f"({str(kinds[-1][0]).lower()}, {kinds[-1][1]})" if kinds else "(false, 1)"
        names = _symbols(c.model.parameters)
        facts = {
            "num_variables": self.total,
            "num_states": len(c.states),
            "num_crossings": len(self.crossings),
            "num_hazards": len(self.hazards),
            "num_events": len(c.events),
            "arrivals_add": str(c.arrival_adds).lower(),
            "is_additive": str(c.model.has_additive_noise).lower(),
        }
        return [
            "\n".join(f"{name}(::Type{{<:{self.key}}}) = {value}" for name, value in facts.items()),
            f"coefficient_names(::Type{{<:{self.key}}}) = ({names})",
            f"@inline event_kind(::Type{{<:{self.key}}}, event) = {chain}{last}",
            f"is_stratonovich(::{self.key}) = {str(c.model.interpretation == 'stratonovich').lower()}",
        ]

    def function(self, head: str, given: Sequence[str], result: Any, adjoint: Mapping[Any, Any] | None = None) -> str:
        """A method that returns the tuple of expressions `result`, and before that adds to gradients by parameter."""
        c, adjoint = self.c, {} if adjoint is None else adjoint
        single = not isinstance(result, tuple)
        values = (result,) if single else result
        wanted = {symbol: value for symbol, value in adjoint.items() if value != 0}
        shared, reduced = c.sympy.cse(
            [c.sympify(value) for value in (*values, *wanted.values())],
            symbols=(c.sympy.Symbol(f"x{n}") for n in range(10**9)),
            order="none",
        )
        used = set().union(*(expression.free_symbols for expression in reduced), *(e.free_symbols for _, e in shared))
        lines = []
        for name in given:
            if name == "parameters" and used & set(c.parameters):
                lines.append(f"({_names('p', len(c.parameters))}) = coefficients_at(θ, k)")
            elif name == "input" and c.current in used:
                lines.append("input = input_current(θ, k, t)")
            elif name == "weight" and c.weight in used:
                lines.append("weight = synapse_weight(θ, e)")
            elif name == "y" and used & set(c.states):
                lines.append(f"({_names('y', len(c.states))}) = y")
            elif name in ("w", "bar"):
                symbols = c.noise_symbols if name == "w" else c.bars
                lines += [f"{symbol} = {name}[{place + 1}]" for place, symbol in enumerate(symbols) if symbol in used]
        lines += [f"{name} = {self.julia(expression)}" for name, expression in shared]
        gradients = list(zip(wanted, reduced[len(values) :], strict=True))
        lines += [self.accumulation(parameter, expression) for parameter, expression in gradients]
        out = [self.julia(expression) for expression in reduced[: len(values)]]
        lines.append(f"return {out[0]}" if single else f"return ({', '.join(out)},)")
        body = "\n".join(f"    {line}" for line in lines)
        return f"@inline function {self.filled(head)}\n{body}\nend"

    def filled(self, head: str) -> str:
        return head.replace("{key}", self.key).replace("{any}", self.any)

    def accumulation(self, symbol: Any, expression: Any) -> str:
        c, value = self.c, self.julia(expression)
        if symbol == c.weight:
            return f"@inbounds θ̄.weights[e] += {value}"
        if symbol == c.current:
            return f"wanted.current && current_adjoint!(θ̄.current, θ.current, k, t, {value})"
        return f"@inbounds θ̄.values[{c.parameters.index(symbol) + 1}][k] += {value}"

    def julia(self, expression: Any) -> str:
        return julia_expression(expression, self.names)

    def padded(self, values: Sequence[Any]) -> tuple[Any, ...]:
        """Values of the user's variables, with zeros for the others."""
        return (*values, *(0.0,) * (self.total - len(self.c.states)))

    def pulled_back(self, scalar: Any, extra: Sequence[Any] = ()) -> tuple[tuple[Any, ...], dict[Any, Any]]:
        """Derivatives of ⟨bar, formula⟩ by the state, padded, and by every parameter."""
        diff = self.c.sympy.diff
        by_parameter = {symbol: diff(scalar, symbol) for symbol in (*self.c.parameters, *extra)}
        return self.padded([diff(scalar, symbol) for symbol in self.c.states]), by_parameter

    def contracted(self, values: Sequence[Any]) -> Any:
        return sum(bar * value for bar, value in zip(self.c.bars, values, strict=False))

    def optional(self, text: str, condition: str) -> str:
        """Additions to gradients of parameters only where they are wanted."""
        lines = text.split("\n")
        gradients = [line.strip() for line in lines if line.lstrip().startswith("@inbounds θ̄.values")]
        if not gradients:
            return text
        kept = [line for line in lines if not line.lstrip().startswith("@inbounds θ̄.values")]
        block = [f"    if {condition}", *(f"        {line}" for line in gradients), "    end"]
        return "\n".join([*kept[:-2], *block, *kept[-2:]])

    # --- the protocol -------------------------------------------------------------------------------------------------

    def initial(self) -> str:
        c = self.c
        armed = [
            c.where(event.function.subs(dict(zip(c.states, c.initial, strict=True))) < 0) for event in self.crossings
        ]
        thresholds = [c.sympy.Symbol(f"log_u[{place + 1}]") for place in range(len(self.hazards))]
        hazards = [log_u - event.dead_zone for log_u, event in zip(thresholds, self.hazards, strict=True)]
        values = (*c.initial, *armed, *hazards)
        primal = self.function("initial_state(θ::{any}, k, log_u)", ["parameters"], values)
        bars = [*self.contracted_terms(c.initial, 0), *self.contracted_terms(hazards, self.hazard_offset)]
        gradients = {symbol: c.sympy.diff(sum(bars), symbol) for symbol in c.parameters}
        head = "initial_state_adjoint!(θ̄::{key}, θ::{key}, k, bar)"
        return primal + "\n\n" + self.function(head, ["parameters", "bar"], (0.0,), gradients)

    @property
    def hazard_offset(self) -> int:
        return len(self.c.states) + len(self.crossings)

    def contracted_terms(self, values: Sequence[Any], offset: int) -> list[Any]:
        return [self.c.bars[offset + place] * value for place, value in enumerate(values)]

    def drift(self) -> list[str]:
        c = self.c
        rates = [event.function for event in self.hazards]
        values = (*c.drift, *(0.0 for _ in self.crossings), *rates)
        given = ["parameters", "y", "input"]
        scalar = sum(self.contracted_terms(c.drift, 0) + self.contracted_terms(rates, self.hazard_offset))
        by_state, by_parameter = self.pulled_back(scalar, [c.current])
        by_time = c.sympy.diff(scalar, c.time) + c.sympy.diff(scalar, c.current) * c.sympy.Symbol("input_rate")
        adjoint = self.function(
            "drift_adjoint!(θ̄::{key}, θ::{key}, k, y, t, bar, wanted)", [*given, "bar"], by_state, by_parameter
        )
        time = self.function("drift_time_adjoint(θ::{key}, k, y, t, bar)", [*given, "bar"], by_time)
        if "input_rate" in time:
            head, _, rest = time.partition("\n")
            time = f"{head}\n    input_rate = current_rate(θ.current, k, t)\n{rest}"
        return [
            self.function("drift(θ::{any}, k, y, t)", given, values),
            self.optional(adjoint, "wanted.drift"),
            time,
        ]

    def noise(self) -> list[str]:
        c = self.c
        given = ["parameters", "y", "w"]

        def both(name: str, values: Sequence[Any], given: Sequence[str]) -> list[str]:
            by_state, by_parameter = self.pulled_back(self.contracted(values))
            arguments = "k, y, w" if "w" in given else "k, y"
            more, wanted = (", wanted", "wanted.noise") if name == "noise" else ("", "")
            adjoint = self.function(
                f"{name}_adjoint!(θ̄::{{key}}, θ::{{key}}, {arguments}, bar{more})",
                [*given, "bar"],
                by_state,
                by_parameter,
            )
            return [
                self.function(f"{name}(θ::{{any}}, {arguments})", given, self.padded(values)),
                self.optional(adjoint, wanted) if wanted else adjoint,
            ]

        texts = both("noise", c.noise, given)
        if not c.model.has_additive_noise:
            texts += both("correction", c.correction, given[:2])
            texts += both("iterated_noise", c.iterated_noise, given)
        return texts

    def events(self) -> list[str]:
        if not self.crossings:
            return []
        texts = []
        for place, event in enumerate(self.crossings):
            number = place + 1
            by_state, by_parameter = self.pulled_back(event.function * self.c.bars[0])
            gradient = self.padded([self.c.sympy.diff(event.function, symbol) for symbol in self.c.states])
            given = ["parameters", "y"]
            texts += [
                self.function(f"crossing(θ::{{any}}, k, ::Val{{{number}}}, y)", given, event.function),
                self.function(f"crossing_gradient(θ::{{key}}, k, ::Val{{{number}}}, y)", given, gradient),
                self.function(
                    f"crossing_adjoint!(θ̄::{{key}}, θ::{{key}}, k, ::Val{{{number}}}, y, bar)",
                    [*given, "bar"],
                    by_state,
                    by_parameter,
                ),
            ]
        for head, call in (
            ("crossing(θ::{any}, k, c::Int, y)", "crossing(θ, k, Val({0}), y)"),
            ("crossing_gradient(θ::{key}, k, c::Int, y)", "crossing_gradient(θ, k, Val({0}), y)"),
            (
                "crossing_adjoint!(θ̄::{key}, θ::{key}, k, c::Int, y, bar)",
                "crossing_adjoint!(θ̄, θ, k, Val({0}), y, (bar,))",
            ),
        ):
            texts.append(self.dispatched(head, "c", call, len(self.crossings)))
        return texts

    def dispatched(self, head: str, index: str, call: str, count: int) -> str:
        """A method that calls the one of a running index."""
        lines = [f"    {index} == {n} && return {call.format(n)}" for n in range(1, count)]
        body = "\n".join([*lines, f"    return {call.format(count)}"])
        return f"@inline function {self.filled(head)}\n{body}\nend"

    def transitions(self) -> list[str]:
        c, texts = self.c, []
        log_u = c.sympy.Symbol("log_u")
        for number, event in enumerate(c.events, start=1):
            after = event.transition
            mapped = dict(zip(c.states, after, strict=True))
            armed: list[Any] = []
            for place, other in enumerate(self.crossings):
                here = other.function.subs(mapped, simultaneous=True)
                kept = c.sympy.Symbol(f"y[{len(c.states) + place + 1}]")
                if other is event:
                    unchanged = c.sympy.expand(here - other.function) == 0
                    armed.append(c.sympify(0.0) if unchanged else c.where(here < 0))
                else:
                    armed.append(c.sympy.Piecewise((c.sympify(1.0), here < 0), (kept, True)))
            hazards: list[Any] = []
            for place, other in enumerate(self.hazards):
                kept = c.sympy.Symbol(f"y[{self.hazard_offset + place + 1}]")
                hazards.append(log_u - other.dead_zone if other is event else kept)
            given = ["parameters", "y"]
            texts.append(
                self.function(
                    f"transition(θ::{{any}}, k, ::Val{{{number}}}, y, log_u)", given, (*after, *armed, *hazards)
                )
            )
            scalar = sum(self.contracted_terms(after, 0))
            bars = c.bars[self.hazard_offset :]
            kept_bars = [0.0 if other is event else bar for other, bar in zip(self.hazards, bars, strict=False)]
            dead = sum(-bar * other.dead_zone for other, bar in zip(self.hazards, bars, strict=False) if other is event)
            diff = c.sympy.diff
            by_state = [diff(scalar, symbol) for symbol in c.states]
            gradients = {symbol: diff(scalar + dead, symbol) for symbol in c.parameters}
            texts.append(
                self.function(
                    f"transition_adjoint!(θ̄::{{key}}, θ::{{key}}, k, ::Val{{{number}}}, y, bar)",
                    [*given, "bar"],
                    (*by_state, *(0.0 for _ in self.crossings), *kept_bars),
                    gradients,
                )
            )
        count = max(len(c.events), 1)
        if not c.events:
            texts.append(f"@inline transition(θ::{self.any}, k, ::Val{{1}}, y, log_u) = y")
            texts.append(f"@inline transition_adjoint!(θ̄::{self.key}, θ::{self.key}, k, ::Val{{1}}, y, bar) = bar")
        for head, call in (
            ("transition(θ::{any}, k, event::Int, y, log_u)", "transition(θ, k, Val({0}), y, log_u)"),
            (
                "transition_adjoint!(θ̄::{key}, θ::{key}, k, event::Int, y, bar)",
                "transition_adjoint!(θ̄, θ, k, Val({0}), y, bar)",
            ),
        ):
            texts.append(self.dispatched(head, "event", call, count))
        return texts

    def arrival(self) -> list[str]:
        c = self.c
        rest = range(len(c.states) + 1, self.total + 1)
        kept = [c.sympy.Symbol(f"y[{place}]") for place in rest]
        given = ["parameters", "y", "weight"]
        scalar = self.contracted(c.arrival)
        diff = c.sympy.diff
        by_state = (
            *(diff(scalar, symbol) for symbol in c.states),
            *(c.sympy.Symbol(f"bar[{place}]") for place in rest),
        )
        gradients = {symbol: diff(scalar, symbol) for symbol in (*c.parameters, c.weight)}
        return [
            self.function("arrival(θ::{any}, e, k, y)", given, (*c.arrival, *kept)),
            self.function("arrival_adjoint!(θ̄::{key}, θ::{key}, e, k, y, bar)", [*given, "bar"], by_state, gradients),
        ]


def _names(letter: str, count: int) -> str:
    return "".join(f"{letter}{place + 1}, " for place in range(count))


def intensity_code(kind: str, formula: Node, names: Sequence[str]) -> str:
    """The source text that ``ssnn_define`` takes for an intensity λ(v) with parameters of these names."""
    part = _Part("λ", f"FormulaIntensity{{:{kind}}}", "v", formula, names)
    diff, rate, v = part.sympy.diff, part.formula, part.variable
    return "\n\n".join(
        (
            part.names_code(),
            part.method("rate(λ::{key}, k, v)", rate),
            part.method("slope(λ::{key}, k, v, rate)", diff(rate, v)),
            part.tangent("rate_tangent(λ::{key}, dλ::{key}, k, v, rate)"),
            part.adjoint("rate_adjoint!(λ̄::{key}, λ::{key}, k, v, rate, bar)"),
            f'INTENSITIES["{kind}"] = (n, settings) -> {part.key}(n)',
        )
    )


def current_code(kind: str, formula: Node, names: Sequence[str]) -> str:
    """The source text that ``ssnn_define`` takes for an input current I(t) with parameters of these names."""
    part = _Part("c", f"FormulaCurrent{{:{kind}}}", "t", formula, names)
    return "\n\n".join(
        (
            part.names_code(),
            part.method("current(c::{key}, k, t)", part.formula),
            part.method("current_rate(c::{key}, k, t)", part.sympy.diff(part.formula, part.variable)),
            part.tangent("current_tangent(c::{key}, dc::{key}, k, t)"),
            part.adjoint("current_adjoint!(c̄::{key}, c::{key}, k, t, bar)"),
            f'CURRENTS["{kind}"] = (n, knots) -> {part.key}(n)',
        )
    )


class _Part:
    """Code of a function of one variable with parameters, `letter` their owner's name in it."""

    def __init__(self, letter: str, key: str, variable: str, formula: Node, names: Sequence[str]) -> None:
        import sympy

        self.sympy, self.letter, self.key, self.names = sympy, letter, key, names
        self.variable, self.parameters = symbol(variable), [symbol(name) for name in names]
        self.formula = symbolic(formula)
        self.shown = {symbol(variable): variable}
        self.shown |= {parameter: f"p{place + 1}" for place, parameter in enumerate(self.parameters)}
        self.changes = [self.sympy.diff(self.formula, parameter) for parameter in self.parameters]

    def names_code(self) -> str:
        return f"coefficient_names(::Type{{<:{self.key}}}) = ({_symbols(self.names)})"

    def method(self, head: str, *results: Any, line: Callable[[Sequence[str]], Sequence[str]] | None = None) -> str:
        shared, reduced = self.sympy.cse(
            [self.sympy.sympify(value) for value in results],
            symbols=(self.sympy.Symbol(f"x{n}") for n in range(10**9)),
            order="none",
        )
        body = [f"({_names('p', len(self.names))}) = coefficients_at({self.letter}, k)"] if self.names else []
        body += [f"{name} = {julia_expression(value, self.shown)}" for name, value in shared]
        texts = [julia_expression(value, self.shown) for value in reduced]
        body += [f"return {texts[0]}"] if line is None else line(texts)
        lines = "\n".join(f"    {text}" for text in body)
        return f"@inline function {head.replace('{key}', self.key)}\n{lines}\nend"

    def tangent(self, head: str) -> str:
        d = f"d{self.letter}"
        return self.method(
            head,
            *self.changes,
            line=lambda texts: [
                "return "
                + (" + ".join(f"@inbounds({d}.values[{n + 1}][k]) * {text}" for n, text in enumerate(texts)) or "0.0")
            ],
        )

    def adjoint(self, head: str) -> str:
        bar = f"{self.letter}̄"
        return self.method(
            head,
            *self.changes,
            line=lambda texts: [
                *(f"@inbounds {bar}.values[{n + 1}][k] += bar * {text}" for n, text in enumerate(texts)),
                "return nothing",
            ],
        )


# --- expressions ------------------------------------------------------------------------------------------------------

_FUNCTIONS = {
    "exp": "exp_of",
    "log": "log_of",
    "sin": "sin_of",
    "cos": "cos_of",
    "tanh": "tanh_of",
    "Abs": "abs_of",
    "sign": "sign_of",
    "Heaviside": "step_of",
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
            return f"{_FUNCTIONS[kind]}({text(arguments[0])})"
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
        if exponent in (0.5, -0.5):
            return f"sqrt_of({text(base)})" if exponent > 0 else f"(1.0 / sqrt_of({text(base)}))"
        return f"power_of({text(base)}, {text(exponent)})"

    def _piecewise(pieces: Sequence[Any]) -> str:
        out, sympy_true = "", _true()
        for value, condition in reversed([tuple(piece.args) for piece in pieces]):
            always = not out and condition == sympy_true
            out = text(value) if always else f"choose({_condition(condition)}, {text(value)}, {out or 'NaN'})"
        return out

    def _condition(condition: Any) -> str:
        kind = type(condition).__name__
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
        return "true" if bool(condition) else "false"

    return text(expression)


def _symbols(names: Iterable[str]) -> str:
    return "".join(f'Symbol("{name}"), ' for name in names)


def _true() -> Any:
    import sympy

    return sympy.true


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
