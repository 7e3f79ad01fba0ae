"""Julia code of models from formulas: the methods of the core's protocol (``julia/src/models/formula.jl``).

Names of the user's are not names of the code's: state variables are ``y1, y2, …``, parameters ``p1, p2, …``.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from .calculus import Calculus, SymbolicEvent
from .derivatives import Program
from .event_sde import EventSDE
from .julia_expressions import Given, Method, in_common, symbols, unpacked


def model_code(model: EventSDE) -> str:
    """The source text that ``ssnn_define`` takes for a model."""
    return _Code(Calculus(model)).text()


class _Code:
    """The methods of one model.

    The state has the user's variables, then one for each crossing, then one for each hazard.
    """

    def __init__(self, c: Calculus) -> None:
        self.c, self.sympy = c, c.sympy
        self.key = f"Formula{{:formula_{c.model.key}}}"
        self.any = f"AnyFormula{{:formula_{c.model.key}}}"
        self.crossings = [event for event in c.events if event.kind == "crossing"]
        self.hazards = [event for event in c.events if event.kind == "hazard"]
        self.total = len(c.states) + len(self.crossings) + len(self.hazards)
        self.names = {symbol: f"y{place + 1}" for place, symbol in enumerate(c.states)}
        self.names |= {symbol: f"p{place + 1}" for place, symbol in enumerate(c.parameters)}
        self.names |= {c.time: "t", c.current: "input", c.weight: "weight"}
        self.zero = self.sympy.Float(0.0)

    def text(self) -> str:
        parts = [
            *self.facts(),
            *self.initial(),
            *self.drift(),
            *self.noise(),
            *self.event_functions(),
            *self.transitions(),
            *self.arrival(),
            self.rates(),
            f'MODELS["formula_{self.c.model.key}"] = problem -> {self.key}(problem)',
        ]
        return "\n\n".join(parts) + "\n"

    # --- methods ------------------------------------------------------------------------------------------------------

    def method(self, head: str, given: Sequence[str], result: Any, before: Sequence[tuple[Any, Any]] = ()) -> str:
        """A method that returns an expression, or a tuple of them, with names for what is computed `before`."""
        values = result if isinstance(result, tuple) else (result,)
        first, named = in_common([expression for _, expression in before])
        steps = [*first, *zip((name for name, _ in before), named, strict=True)]
        more, reduced = in_common(values, len(first))
        shown = tuple(reduced) if isinstance(result, tuple) else reduced[0]
        return self.written(head, given, [*steps, *more], shown)

    def at(self, values: Sequence[Any], expressions: Sequence[Any]) -> tuple[list[tuple[Any, Any]], list[Any]]:
        """Names of these values of the state variables, and expressions in terms of these names.

        SymPy sees no numbers, which it might compare where they are none, as in max(log(0), 0).
        """
        named = [(self.sympy.Symbol(f"z{place + 1}", real=True), value) for place, value in enumerate(values)]
        there = {state: name for state, (name, _) in zip(self.c.states, named, strict=True)}
        return named, [expression.xreplace(there) for expression in expressions]

    def adjoint(
        self,
        head: str,
        given: Sequence[str],
        terms: Sequence[tuple[Any, Any]],
        rest: Sequence[Any] | None,
        *more: Any,
        condition: str = "",
    ) -> str:
        """A method that adds the derivatives of Σ bar·expression, over pairs of these, by every parameter and what
        `more` there is, to the gradients.

        It returns those by the state variables, followed by the `rest`; where that is None, nothing. Those by
        parameters are left out where there is a `condition` that does not hold.
        """
        program = Program([expression for _, expression in terms])
        states = () if rest is None else self.c.states
        by = [*states, *self.c.parameters, *more]
        changes = program.pulled_back([bar for bar, _ in terms], by)
        result = None if rest is None else (*changes[: len(states)], *rest)
        added = zip(by[len(states) :], changes[len(states) :], strict=True)
        statements: dict[bool, list[tuple[str, Any]]] = {True: [], False: []}
        for each, change in added:
            if change != 0:
                optional = bool(condition) and each in self.c.parameters
                statements[optional].append((self.accumulation(each), change))
        return self.written(head, given, program.steps, result, statements[False], statements[True], condition)

    def derivative(self, head: str, given: Sequence[str], terms: Sequence[tuple[Any, Any]], by: Sequence[Any]) -> str:
        """A method that returns the derivatives of Σ bar·expression, padded to the length of the state."""
        program = Program([expression for _, expression in terms])
        changes = program.pulled_back([bar for bar, _ in terms], by)
        return self.written(head, given, program.steps, self.padded(changes))

    def written(
        self,
        head: str,
        given: Sequence[str],
        steps: Sequence[tuple[Any, Any]],
        result: Any,
        statements: Sequence[tuple[str, Any]] = (),
        optional: Sequence[tuple[str, Any]] = (),
        condition: str = "",
    ) -> str:
        read = [each for name in given for each in self.given(name)]
        return Method(self.filled(head), read, steps, result, statements, optional, condition, self.names).text()

    def given(self, name: str) -> list[Given]:
        c = self.c
        if name == "parameters":
            return [Given(c.parameters, f"{unpacked('p', len(c.parameters))} = coefficients_at(θ, k)")]
        if name == "y":
            return [Given(c.states, f"{unpacked('y', len(c.states))} = y")]
        if name == "input":
            return [Given([c.current], "input = input_current(θ, k, t)")]
        if name == "weight":
            return [Given([c.weight], "weight = synapse_weight(θ, e)")]
        if name == "input_rate":
            return [Given([self.symbol(name)], "input_rate = current_rate(θ.current, k, t)")]
        elements = c.noise_symbols if name == "w" else c.bars
        return [Given([symbol], f"{symbol} = {name}[{place + 1}]") for place, symbol in enumerate(elements)]

    def accumulation(self, symbol: Any) -> str:
        """The statement that adds to the gradient by a parameter, the weight or the current."""
        c = self.c
        if symbol == c.weight:
            return "@inbounds θ̄.weights[e] += {}"
        if symbol == c.current:
            return "wanted.current && current_adjoint!(θ̄.current, θ.current, k, t, {})"
        return f"@inbounds θ̄.values[{c.parameters.index(symbol) + 1}][k] += {{}}"

    def dispatched(self, head: str, index: str, call: str, count: int) -> str:
        """A method that calls the one of a running index."""
        lines = [f"    {index} == {n} && return {call.format(n)}" for n in range(1, count)]
        body = "\n".join([*lines, f"    return {call.format(count)}"])
        return f"@inline function {self.filled(head)}\n{body}\nend"

    def filled(self, head: str) -> str:
        return head.replace("{key}", self.key).replace("{any}", self.any)

    def symbol(self, name: str) -> Any:
        return self.sympy.Symbol(name)

    def padded(self, values: Sequence[Any]) -> tuple[Any, ...]:
        """Values of the user's variables, with zeros for the others."""
        return (*values, *(self.zero,) * (self.total - len(values)))

    def with_bars(self, values: Iterable[Any], offset: int = 0) -> list[tuple[Any, Any]]:
        return [(self.c.bars[offset + place], value) for place, value in enumerate(values)]

    @property
    def hazard_offset(self) -> int:
        return len(self.c.states) + len(self.crossings)

    # --- the protocol -------------------------------------------------------------------------------------------------

    def facts(self) -> list[str]:
        c = self.c
        kinds = []
        for event in c.events:
            peers = self.crossings if event.kind == "crossing" else self.hazards
            place = next(place for place, peer in enumerate(peers) if peer is event)
            kinds.append(f"({str(event.kind == 'crossing').lower()}, {place + 1})")
        chain = "".join(f"event == {place + 1} ? {kind} : " for place, kind in enumerate(kinds[:-1]))
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
            f"coefficient_names(::Type{{<:{self.key}}}) = {symbols(c.model.parameters)}",
            f"@inline event_kind(::Type{{<:{self.key}}}, event) = {chain}{kinds[-1] if kinds else '(false, 1)'}",
        ]

    def initial(self) -> list[str]:
        c = self.c
        start, crossings = self.at(c.initial, [event.function for event in self.crossings])
        armed = [c.where(value < 0) for value in crossings]
        thresholds = [self.symbol(f"log_u[{place + 1}]") for place in range(len(self.hazards))]
        hazards = [log_u - event.dead_zone for log_u, event in zip(thresholds, self.hazards, strict=True)]
        values = (*(name for name, _ in start), *armed, *hazards)
        terms = self.with_bars(c.initial) + self.with_bars(hazards, self.hazard_offset)
        head = "initial_state_adjoint!(θ̄::{key}, θ::{key}, k, bar)"
        return [
            self.method("initial_state(θ::{any}, k, log_u)", ["parameters"], values, start),
            self.adjoint(head, ["parameters", "bar"], terms, None),
        ]

    def rates(self) -> str:
        """At the initial state, t = 0 and I = 0."""
        c = self.c
        start, rates = self.at(c.initial, c.rates)
        start += [(self.sympy.Symbol(f"z_{name}", real=True), self.zero) for name in ("t", "I")]
        there = {c.time: start[-2][0], c.current: start[-1][0]}
        result = tuple(rate.xreplace(there) for rate in rates)
        return self.method("time_scale_rates(θ::{key}, k)", ["parameters"], result, start)

    def drift(self) -> list[str]:
        c, given = self.c, ["parameters", "y", "input"]
        rates = [event.function for event in self.hazards]
        values = (*c.drift, *(self.zero for _ in self.crossings), *rates)
        terms = self.with_bars(c.drift) + self.with_bars(rates, self.hazard_offset)
        head = "drift_adjoint!(θ̄::{key}, θ::{key}, k, y, t, bar, wanted)"
        rest = self.padded(())[len(c.states) :]
        adjoint = self.adjoint(head, [*given, "bar"], terms, rest, c.current, condition="wanted.drift")
        program = Program([expression for _, expression in terms])
        by_time, by_current = program.pulled_back([bar for bar, _ in terms], [c.time, c.current])
        time = by_time + by_current * self.symbol("input_rate")
        head = "drift_time_adjoint(θ::{key}, k, y, t, bar)"
        return [
            self.method("drift(θ::{any}, k, y, t)", given, values),
            adjoint,
            self.written(head, [*given, "input_rate", "bar"], program.steps, time),
        ]

    def noise(self) -> list[str]:
        c = self.c
        texts = self.noise_term("noise", "k, y, w", c.noise, "wanted.noise")
        if not c.model.has_additive_noise:
            texts += self.noise_term("correction", "k, y", c.correction)
            texts += self.noise_term("iterated_noise", "k, y, w", c.iterated_noise)
        return texts

    def noise_term(self, name: str, arguments: str, values: Sequence[Any], condition: str = "") -> list[str]:
        """A part of the noise, and its adjoint."""
        given = ["parameters", "y", "w"] if "w" in arguments else ["parameters", "y"]
        head = f"{name}_adjoint!(θ̄::{{key}}, θ::{{key}}, {arguments}, bar{', wanted' if condition else ''})"
        rest = self.padded(())[len(self.c.states) :]
        return [
            self.method(f"{name}(θ::{{any}}, {arguments})", given, self.padded(values)),
            self.adjoint(head, [*given, "bar"], self.with_bars(values), rest, condition=condition),
        ]

    def event_functions(self) -> list[str]:
        """The crossings; hazards are the last variables of the state."""
        c, given, texts = self.c, ["parameters", "y"], []
        adjoint = "crossing_parameters_adjoint!"
        calls = (
            ("crossing(θ::{any}, k, {}, y)", "crossing(θ, k, Val({0}), y)"),
            ("crossing_gradient(θ::{key}, k, {}, y)", "crossing_gradient(θ, k, Val({0}), y)"),
            (f"{adjoint}(θ̄::{{key}}, θ::{{key}}, k, {{}}, y, bar)", f"{adjoint}(θ̄, θ, k, Val({{0}}), y, bar)"),
        )
        for number, event in enumerate(self.crossings, start=1):
            value, gradient, adjoint = (head.replace("{}", f"::Val{{{number}}}") for head, _ in calls)
            one = [(self.sympy.Integer(1), event.function)]
            texts += [
                self.method(value, given, event.function),
                self.derivative(gradient, given, one, c.states),
                self.adjoint(adjoint, given, [(self.symbol("bar"), event.function)], None),
            ]
        for head, call in calls if self.crossings else ():
            texts.append(self.dispatched(head.replace("{}", "c::Int"), "c", call, len(self.crossings)))
        return texts

    def transitions(self) -> list[str]:
        texts = [text for number, event in enumerate(self.c.events, start=1) for text in self.transition(number, event)]
        if not self.c.events:
            texts.append(f"@inline transition(θ::{self.any}, k, ::Val{{1}}, y, log_u) = y")
            texts.append(f"@inline transition_adjoint!(θ̄::{self.key}, θ::{self.key}, k, ::Val{{1}}, y, bar) = bar")
        for head, call in (
            ("transition(θ::{any}, k, event::Int, y, log_u)", "transition(θ, k, Val({0}), y, log_u)"),
            (
                "transition_adjoint!(θ̄::{key}, θ::{key}, k, event::Int, y, bar)",
                "transition_adjoint!(θ̄, θ, k, Val({0}), y, bar)",
            ),
        ):
            texts.append(self.dispatched(head, "event", call, max(len(self.c.events), 1)))
        return texts

    def transition(self, number: int, event: SymbolicEvent) -> list[str]:
        """What one event makes of the state, and its adjoint."""
        log_u, given = self.symbol("log_u"), ["parameters", "y"]
        after, crossings = self.at(event.transition, [other.function for other in self.crossings])
        armed = [
            self.armed_after(event, place, other, value)
            for place, (other, value) in enumerate(zip(self.crossings, crossings, strict=True))
        ]
        hazards = [
            log_u - other.dead_zone if other is event else self.symbol(f"y[{self.hazard_offset + place + 1}]")
            for place, other in enumerate(self.hazards)
        ]
        bars = self.c.bars[self.hazard_offset :]
        kept = [self.zero if other is event else bar for other, bar in zip(self.hazards, bars, strict=False)]
        pairs = zip(self.hazards, bars, strict=False)
        zones = [(bar, -other.dead_zone) for other, bar in pairs if other is event]
        head = f"transition_adjoint!(θ̄::{{key}}, θ::{{key}}, k, ::Val{{{number}}}, y, bar)"
        rest = (*(self.zero for _ in self.crossings), *kept)
        return [
            self.method(
                f"transition(θ::{{any}}, k, ::Val{{{number}}}, y, log_u)",
                given,
                (*(name for name, _ in after), *armed, *hazards),
                after,
            ),
            self.adjoint(head, [*given, "bar"], [*self.with_bars(event.transition), *zones], rest),
        ]

    def armed_after(self, event: SymbolicEvent, place: int, other: SymbolicEvent, value: Any) -> Any:
        """Whether the crossing `other`, the one at that place, may come after an event that makes it this value."""
        if other is event and self.c.stays(event):
            return self.zero
        kept = self.zero if other is event else self.symbol(f"y[{len(self.c.states) + place + 1}]")
        return self.sympy.Piecewise((self.sympy.Float(1.0), value < 0), (kept, True))

    def arrival(self) -> list[str]:
        c, given = self.c, ["parameters", "y", "weight"]
        others = range(len(c.states) + 1, self.total + 1)
        kept, bars = ([self.symbol(f"{name}[{place}]") for place in others] for name in ("y", "bar"))
        head = "arrival_adjoint!(θ̄::{key}, θ::{key}, e, k, y, bar)"
        return [
            self.method("arrival(θ::{any}, e, k, y)", given, (*c.arrival, *kept)),
            self.adjoint(head, [*given, "bar"], self.with_bars(c.arrival), bars, c.weight),
        ]
