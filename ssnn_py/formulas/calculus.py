"""What solvers need of a model from formulas beyond its text: its equations in SymPy, with what follows from them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ..errors import ValidationError
from .event_sde import EventSDE
from .grammar import Node
from .symbolic import expanded, symbol, symbolic


@dataclass(frozen=True)
class SymbolicEvent:
    """One event: its function or rate, the state after it, and its dead zone (0 for a crossing)."""

    kind: str
    function: Any
    transition: tuple[Any, ...]
    dead_zone: Any


class Calculus:
    """The equations of a model as SymPy's expressions.

    Attributes
    ----------
    states, parameters : tuple of Symbol
        In the order of the model's.
    drift, initial, arrival : tuple of expressions
        Of every state variable; `arrival` is the state of a target after a spike has come.
    diffusion : tuple of tuples
        Row by state, column by noise.
    events : tuple of SymbolicEvent
    correction : tuple of expressions
        ½ Σ_c Σ_j ∂g_ic/∂y_j·g_jc, by which the drift in Itô's sense exceeds that in Stratonovich's.
    noise, iterated_noise : tuple of expressions
        Σ_c g_ic·w_c, and ½ Σ_cd Σ_j ∂g_ic/∂y_j·g_jd·w_c·w_d, in `noise_symbols` w.
    rates : pair of expressions
        How fast the first variable and the fastest one change, |∂f_j/∂y_j|.
    """

    def __init__(self, model: EventSDE) -> None:
        import sympy

        self.sympy, self.model = sympy, model
        self.states = tuple(map(symbol, model.states))
        self.parameters = tuple(map(symbol, model.parameters))
        self.time, self.current, self.weight = symbol("t"), symbol("I"), symbol("w")
        zero = sympy.Integer(0)
        self.drift = tuple(self._read(f"the equation of {name}", model.drift[name]) for name in model.states)
        self.diffusion = tuple(
            tuple(
                self._read(f"the noise of {name}", model.diffusion[name, xi]) if (name, xi) in model.diffusion else zero
                for xi in model.noises
            )
            for name in model.states
        )
        self.initial = tuple(self._read(f"initial {name}", model.initial[name]) for name in model.states)
        self.arrival = self._mapped("synapse", model.arrival)
        self.events = tuple(
            SymbolicEvent(
                event.kind,
                self._read(f"the {event.kind} of event {place}", event.function),
                self._mapped(f"event {place}", event.transition),
                zero if event.dead_zone is None else self._read(f"the dead zone of event {place}", event.dead_zone),
            )
            for place, event in enumerate(model.parsed_events)
        )
        hidden = sum(1 for _ in self.events)
        self.bars = tuple(sympy.Symbol(f"b{place + 1}") for place in range(len(self.states) + hidden))
        self.noise_symbols = tuple(sympy.Symbol(f"w{place + 1}") for place in range(len(model.noises)))
        self.noise = tuple(
            sum((g * w for g, w in zip(row, self.noise_symbols, strict=True)), zero) for row in self.diffusion
        )
        slopes = [[[sympy.diff(g, y) for y in self.states] for g in row] for row in self.diffusion]
        # Powers of one base are joined: x**(2*n)/x has no value at 0, x**(2*n - 1) has.
        self.correction = tuple(
            sum(
                (
                    sympy.powsimp(slope * self.diffusion[j][c]) / 2
                    for c in range(len(model.noises))
                    for j, slope in enumerate(by_noise[c])
                ),
                zero,
            )
            for by_noise in slopes
        )
        self.iterated_noise = tuple(
            sum(
                (
                    sympy.powsimp(slope * other) * self.noise_symbols[c] * self.noise_symbols[d] / 2
                    for c in range(len(model.noises))
                    for j, slope in enumerate(by_noise[c])
                    for d, other in enumerate(self.diffusion[j])
                ),
                zero,
            )
            for by_noise in slopes
        )
        self.rates = self._rates()

    def _read(self, what: str, formula: Node) -> Any:
        expression = symbolic(formula)
        if expression.has(self.sympy.zoo, self.sympy.nan):
            raise ValidationError(f"{what} divides by what is 0 whatever its names stand for, as in 1/(v - v)")
        return expression

    def _mapped(self, what: str, changes: Any) -> tuple[Any, ...]:
        return tuple(
            self._read(what, changes[name]) if name in changes else y
            for name, y in zip(self.model.states, self.states, strict=True)
        )

    def _rates(self) -> tuple[Any, Any]:
        sympy = self.sympy
        own = [sympy.Abs(sympy.powsimp(sympy.diff(f, y))) for f, y in zip(self.drift, self.states, strict=True)]
        return own[0], sympy.Max(*own) if len(own) > 1 else own[0]

    @property
    def arrival_adds(self) -> bool:
        """Whether a spike that comes adds something to its target, whatever the target's state."""
        changes = [after - before for after, before in zip(self.arrival, self.states, strict=True)]
        return not any(expanded(change).has(*self.states) for change in changes)

    def stays(self, event: SymbolicEvent) -> bool:
        """Whether an event leaves its own function as it is, as far as that can be told soon."""
        moved = dict(zip(self.states, event.transition, strict=True))
        try:
            after = event.function.subs(moved, simultaneous=True)
        except (TypeError, ValueError):  # where SymPy compares what is not a number, as log(0)
            return False
        return bool(expanded(after - event.function) == 0)

    def where(self, condition: Any) -> Any:
        """1 where the condition holds, else 0."""
        return self.sympy.Piecewise((self.sympy.Float(1.0), condition), (self.sympy.Float(0.0), True))

    def noises_commute(self) -> bool:
        """Whether ∂g_c·g_d = ∂g_d·g_c for every pair of noises, as Milstein's scheme asks."""
        sympy, columns = self.sympy, list(zip(*self.diffusion, strict=True))

        def along(column: Sequence[Any], direction: Sequence[Any]) -> list[Any]:
            pairs = list(zip(self.states, direction, strict=True))
            return [sum((sympy.diff(g, y) * d for y, d in pairs), sympy.Integer(0)) for g in column]

        return all(
            all(sympy.simplify(a - b) == 0 for a, b in zip(along(one, other), along(other, one), strict=True))
            for place, one in enumerate(columns)
            for other in columns[:place]
        )
