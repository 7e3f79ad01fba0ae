r"""The conditions under which spike times and trajectories of a model have pathwise derivatives, and those under which
expectations have unbiased ones.

With E an event's function, T its transition, f the drift and g_c what multiplies noise c, the conditions are those of
Holberg and Salvi [1]_:

=====  ===========================  ====================================================================================
(i)    ∇E·g_c = 0                   the noise does not drive the event
(ii)   ∇E·f ≠ 0                     the event is crossed transversally
(iii)  ∇T g_c(y) = g_c(T(y))        the transition commutes with the noise, where events happen; arrivals of spikes, too
(iv)   E(T(y)) ≠ 0                  no event follows at once
(v)                                 events are finitely many
=====  ===========================  ====================================================================================

They are decided from the formulas where these say it plainly, and else at random states, with parameters at their
values. A parameter whose values are all 0 counts as 0.

References
----------
.. [1] C. Holberg and C. Salvi, "Exact gradients for stochastic spiking neural networks driven by rough signals",
   NeurIPS 2024.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike

from .analysis import ZERO, substituted
from .event_sde import EventSDE
from .grammar import Name, Node
from .symbolic import expanded, symbol, symbolic

#: How many random states are looked at where formulas do not tell, and how many of them must have finite values. Every
#: neuron has one of its own, up to a number.
_NUM_POINTS, _FEWEST_POINTS, _MOST_POINTS = 80, 8, 2000
#: What counts as 0, relative to the terms that cancel.
_TOLERANCE = 1e-9

How = Literal["symbolic", "numeric"]
_DURING_RUN = "the formulas do not tell; what happens in a simulation does"


@dataclass(frozen=True)
class Row:
    """One condition for one event.

    Attributes
    ----------
    condition : str
        "(i)" to "(v)".
    event : int or None
        The event's index; None for the arrival of a spike at a target.
    holds : bool or None
        None where it cannot be told from the formulas.
    how : "symbolic" or "numeric"
        Whether it was decided from formulas or at random states.
    explanation : str
        Why, naming the terms that clash.
    """

    condition: str
    event: int | None
    holds: bool | None
    how: How
    explanation: str


@dataclass(frozen=True)
class Report:
    """What is known of every condition.

    Attributes
    ----------
    rows : tuple of Row
    """

    rows: tuple[Row, ...]

    @property
    def first_failure(self) -> Row | None:
        """The first condition that does not hold, or None; one that cannot be told is none."""
        return next((row for row in self.rows if row.holds is False), None)

    def table(self) -> str:
        """All rows as text, one a line under a head."""
        verdict = {True: "holds", False: "fails", None: "open"}
        cells = [("condition", "event", "", "decided", "because")]
        for row in self.rows:
            event = "arrival" if row.event is None else str(row.event)
            cells.append((row.condition, event, verdict[row.holds], row.how, row.explanation))
        widths = [max(len(line[column]) for line in cells) for column in range(4)]
        padded = ([line[column].ljust(widths[column]) for column in range(4)] + [line[4]] for line in cells)
        return "\n".join("  ".join(line) for line in padded)


def report(model: EventSDE, parameter_values: Mapping[str, ArrayLike] | None = None) -> Report:
    """What is known of the conditions (i) to (v) of every event of a model.

    Parameters
    ----------
    model : EventSDE
    parameter_values : mapping of str to array_like, optional
        Values of the model's parameters; other names are passed over. Default: those that the model was made with.

    Returns
    -------
    Report

    Examples
    --------
    >>> from ssnn_py.formulas.event_sde import Event
    >>> hard = EventSDE("dv/dt = 1 - v + 0.2*xi", Event(hazard="exp(v)", then="v = 0"))
    >>> report(hard).first_failure.explanation
    'the transition turns what xi does to v, 0.2, into 0, but after it that is 0.2; ...'
    """
    facts = _Facts(model, parameter_values)
    rows: list[Row] = []
    for place in range(len(model.parsed_events)):
        rows += [
            _undriven(facts, place),
            _transversal(facts, place),
            _commutes_with_noise(facts, place),
            _settles(facts, place),
            _finitely_many(facts, place),
        ]
    if model.arrival:
        rows.append(_commutes_with_noise(facts, None))
    rows.sort(key=lambda row: ("(i)", "(ii)", "(iii)", "(iv)", "(v)").index(row.condition))
    return Report(tuple(rows))


def added(model: EventSDE, variable: str | None, parameter_values: Mapping[str, ArrayLike] | None = None) -> str | None:
    """Why the time of an arrival from outside has no pathwise derivative, or None if it has one: condition (iii).

    Parameters
    ----------
    model : EventSDE
    variable : str or None
        The variable to which the weight is added; None for what the model's synapse statement says.
    parameter_values : mapping of str to array_like, optional
        As for :func:`report`.

    Examples
    --------
    >>> added(EventSDE("dv/dt = -v + 0.1*v*xi"), "v")
    'the arrival of a spike turns what xi does to v, 0.1*v, into 0.1*v, but after it that is 0.1*v + 0.1*w; ...'
    """
    facts = _Facts(model, parameter_values)
    row = _commutes_with_noise(facts, None, facts.arrival_at(variable))
    return row.explanation if row.holds is False else None


def unbiased(
    model: EventSDE,
    parameter_values: Mapping[str, ArrayLike] | None = None,
    variables: Sequence[str | None] = (None,),
) -> str | None:
    """Why expectations of a model have no unbiased gradients, or None if they have them.

    They have them where a neuron has one event at most, which is driven by a hazard, and where it does not matter in
    which order transitions happen: A_w∘A_u = A_u∘A_w and T∘A_w = A_w∘T, with A_w the arrival of a spike through a
    weight w, and T the transition.

    Parameters
    ----------
    model : EventSDE
    parameter_values : mapping of str to array_like, optional
        As for :func:`report`.
    variables : sequence of str or None
        Of every way in which spikes arrive the variable to which the weight is added; None for what the model's synapse
        statement says, if it has one. They must commute with each other, too.

    Returns
    -------
    str or None

    Examples
    --------
    >>> from ssnn_py.formulas.event_sde import Event
    >>> unbiased(EventSDE("dv/dt = -v", Event(hazard="exp(v)", then="v = 0"), synapse="v += w"))
    'an arrival and the transition of an event do not commute: v becomes ...'
    """
    for place, event in enumerate(model.parsed_events):
        if event.kind == "crossing":
            return (
                f"event {place} is a deterministic crossing, and nothing is known of the density of spikes that appear "
                "or vanish: use a hazard"
            )
    if len(model.parsed_events) > 1:
        return f"a neuron must have one event, got {len(model.parsed_events)}"
    variables = [name for name in variables if name is not None or model.arrival]
    if not model.parsed_events or not variables:
        return None
    facts = _Facts(model, parameter_values)
    arrivals = [facts.arrival_at(name) for name in variables]
    for place, arrival in enumerate(arrivals):
        for one in arrivals[place:]:
            clash = facts.orders_differ(arrival, facts.substituted_in(one, {facts.weight: facts.other_weight}))
            if clash:
                return f"two arrivals at one target do not commute: {clash}"
        clash = facts.orders_differ(facts.transitions[0], arrival)
        if clash:
            return f"an arrival and the transition of an event do not commute: {clash}"
    return None


# --- the conditions ---------------------------------------------------------------------------------------------------


def _undriven(facts: _Facts, place: int) -> Row:
    """(i)"""
    if facts.is_hazard(place):
        return Row("(i)", place, True, "symbolic", "an integrated hazard has no noise")
    gradient, found = facts.gradient(place), _Verdicts()
    for noise in facts.model.noises:
        terms = {y: slope * facts.noise(y, noise) for y, slope in gradient.items()}
        terms = {y: term for y, term in terms.items() if term != 0}
        holds, how = facts.vanishes(list(terms.values()), place)
        driven = ", ".join(f"d{y} has {noise} times {facts.shown(facts.noise(y, noise))}" for y in terms)
        found.add(holds, how, f"{noise} drives the crossing {facts.shown(facts.functions[place])}: {driven}")
    return found.row("(i)", place, "no noise drives the crossing", "use a hazard, or no noise on these variables")


def _transversal(facts: _Facts, place: int) -> Row:
    """(ii)"""
    function = facts.functions[place]
    if facts.is_hazard(place):
        if facts.is_positive(function):
            return Row("(ii)", place, True, "symbolic", "the hazard is positive")
        values = facts.values(function, facts.points)
        if len(values) < _FEWEST_POINTS:
            return Row(
                "(ii)", place, None, "numeric", f"the hazard has no finite values at random states; {_DURING_RUN}"
            )
        if values.min() >= 0:
            what = "positive" if values.min() > 0 else "not negative, and events come only where it is positive"
            return Row("(ii)", place, True, "numeric", f"the hazard is {what}, at {len(values)} random states")
        negative = bool(values.max() < 0)
        what = "is negative at every one of the random states" if negative else "is negative at some states"
        return Row("(ii)", place, False if negative else None, "numeric", f"the hazard {facts.shown(function)} {what}")
    gradient = facts.gradient(place)
    speed = [slope * facts.drift[y] for y, slope in gradient.items()]
    holds, how = facts.vanishes(speed, place)
    if holds:
        return Row("(ii)", place, False, how, f"the equations never change the crossing {facts.shown(function)}")
    return Row("(ii)", place, None, how, _DURING_RUN)


def _commutes_with_noise(facts: _Facts, place: int | None, arrival: Mapping[str, Any] | None = None) -> Row:
    """(iii), where `place` is None for arrivals: the model's own, or `arrival`"""
    after = facts.transitions[place] if place is not None else arrival or facts.arrival
    moved, found, shown = dict(zip(facts.states, after.values(), strict=True)), _Verdicts(), facts.shown
    name = "the arrival of a spike" if place is None else "the transition"
    for noise in facts.model.noises:
        for y, value in after.items():
            turned = [facts.sympy.diff(value, facts.of[x]) * facts.noise(x, noise) for x in after]
            there = facts.replaced(facts.noise(y, noise), moved)
            holds, how = facts.vanishes([*turned, -there], place)
            found.add(
                holds,
                how,
                f"{name} turns what {noise} does to {y}, {shown(facts.noise(y, noise))}, into {shown(sum(turned))}, "
                f"but after it that is {shown(there)}",
            )
    good = f"{name} commutes with the noise" if facts.has_noise else "there is no noise"
    remedy = "let it add to variables whose noise does not depend on what it changes"
    return found.row("(iii)", place, good, remedy)


def _settles(facts: _Facts, place: int) -> Row:
    """(iv)"""
    if facts.is_hazard(place):
        return Row("(iv)", place, True, "symbolic", "after an event a hazard must collect a positive amount anew")
    function, after = facts.functions[place], facts.transitions[place]
    there = facts.replaced(function, dict(zip(facts.states, after.values(), strict=True)))
    if facts.vanishes([there, -function], place)[0]:
        why = "the event leaves its crossing at 0, and comes again only after it has been negative"
        return Row("(iv)", place, True, "symbolic", why)
    there = expanded(facts.on_surface(there, place))
    how: How = "numeric" if there.free_symbols & facts.moving else "symbolic"
    values, sizes = facts.sums(there.as_ordered_terms(), facts.surface_points(place))
    if len(values) < _FEWEST_POINTS:
        return Row("(iv)", place, None, how, _DURING_RUN)
    positive = values > _TOLERANCE * sizes
    what = f"after the event the crossing is {facts.shown(there)}"
    if not positive.any():
        return Row("(iv)", place, True, how, f"{what}, not positive")
    if positive.all() or how == "symbolic":
        why = f"{what}, positive, so that another event follows at once; let the event make it negative"
        return Row("(iv)", place, False, how, why)
    return Row("(iv)", place, None, how, f"{what}, positive at some states; {_DURING_RUN}")


def _finitely_many(facts: _Facts, place: int) -> Row:
    """(v)"""
    if facts.is_hazard(place):
        return Row("(v)", place, True, "symbolic", "a finite hazard has finitely many events")
    return Row("(v)", place, None, "symbolic", _DURING_RUN)


class _Verdicts:
    """What many identities say together: the first that fails, or one that cannot be told."""

    def __init__(self) -> None:
        self.how: How = "symbolic"
        self.clashes: list[str] = []
        self.is_open = False

    def add(self, holds: bool | None, how: How, clash: str) -> None:
        self.how = how if how == "numeric" else self.how
        self.is_open |= holds is None
        if holds is False:
            self.clashes.append(clash)

    def row(self, condition: str, event: int | None, good: str, remedy: str) -> Row:
        if self.clashes:
            return Row(condition, event, False, self.how, f"{'; '.join(self.clashes[:3])}; {remedy}")
        if self.is_open:
            return Row(condition, event, None, self.how, _DURING_RUN)
        return Row(condition, event, True, self.how, good)


# --- what is known of a model -----------------------------------------------------------------------------------------


class _Facts:
    """A model's formulas in SymPy, and random states with parameters at their values."""

    def __init__(self, model: EventSDE, parameter_values: Mapping[str, ArrayLike] | None) -> None:
        import sympy

        self.sympy, self.model = sympy, model
        given = {**model.parameters, **(parameter_values or {})}
        self.parameters = {name: np.asarray(given[name], dtype=np.float64) for name in model.parameters}
        self._zeros = {name: ZERO for name, value in self.parameters.items() if not value.any()}
        self.of = {name: symbol(name) for name in model.states}
        self.states = tuple(self.of.values())
        self.weight, self.other_weight = symbol("w"), sympy.Symbol("u", real=True)
        if self.other_weight in self.states or "u" in self.parameters:
            self.other_weight = sympy.Symbol("w_2", real=True)
        self.moving = {*self.states, self.weight, self.other_weight, symbol("t"), symbol("I")}
        self.drift = {name: self.expression(node) for name, node in model.drift.items()}
        self._noise = {key: self.expression(node) for key, node in model.diffusion.items()}
        self.functions = [self.expression(event.function) for event in model.parsed_events]
        self.transitions = [self.map(event.transition) for event in model.parsed_events]
        self.arrival = self.map(model.arrival)
        self.points = self._random_points()
        self._surface: dict[int, list[dict[Any, float]]] = {}

    def expression(self, node: Node) -> Any:
        """A formula without the parameters that are 0, where it has a value without them."""
        try:
            known = symbolic(substituted(node, self._zeros))
        except (TypeError, ValueError):  # where SymPy compares what is not a number, as log(0)
            return symbolic(node)
        undefined = (self.sympy.zoo, self.sympy.nan, self.sympy.oo, -self.sympy.oo)
        return symbolic(node) if known.has(*undefined) else known

    def map(self, changes: Mapping[str, Node]) -> dict[str, Any]:
        """What becomes of every state variable."""
        return {name: self.expression(changes.get(name, Name(name))) for name in self.model.states}

    def arrival_at(self, variable: str | None) -> Mapping[str, Any]:
        """What becomes of every state variable where a weight is added to one of them, or as the model says."""
        if variable is None:
            return self.arrival
        return {name: y + self.weight if name == variable else y for name, y in self.of.items()}

    def is_hazard(self, place: int) -> bool:
        return self.model.parsed_events[place].kind == "hazard"

    def noise(self, state: str, noise: str) -> Any:
        return self._noise.get((state, noise), self.sympy.Integer(0))

    @property
    def has_noise(self) -> bool:
        return any(value != 0 for value in self._noise.values())

    def gradient(self, place: int) -> dict[str, Any]:
        return {name: self.sympy.diff(self.functions[place], y) for name, y in self.of.items()}

    def replaced(self, expression: Any, values: Mapping[Any, Any]) -> Any:
        return expression.subs(values, simultaneous=True)

    def substituted_in(self, expressions: Mapping[str, Any], values: Mapping[Any, Any]) -> dict[str, Any]:
        return {name: self.replaced(expression, values) for name, expression in expressions.items()}

    def orders_differ(self, one: Mapping[str, Any], other: Mapping[str, Any]) -> str | None:
        """What tells the two orders of two maps apart, if something does."""
        first = self.substituted_in(one, dict(zip(self.states, other.values(), strict=True)))
        second = self.substituted_in(other, dict(zip(self.states, one.values(), strict=True)))
        for name in self.model.states:
            holds, _ = self.vanishes([first[name], -second[name]], None)
            if not holds:
                one_way, other_way = self.shown(second[name]), self.shown(first[name])
                return f"{name} becomes {one_way} or {other_way}, as the one or the other comes first"
        return None

    # --- deciding -----------------------------------------------------------------------------------------------------

    def vanishes(self, terms: Sequence[Any], place: int | None) -> tuple[bool | None, How]:
        """Whether terms cancel for every state, of a crossing for those where it is 0; and how that was found."""
        sum_of_terms = self.sympy.Add(*terms)
        if sum_of_terms == 0:
            return True, "symbolic"
        on_surface = place is not None and not self.is_hazard(place)
        for expression in (sum_of_terms, self.on_surface(sum_of_terms, place) if on_surface else sum_of_terms):
            written_out = expanded(expression)
            if written_out == 0:
                return True, "symbolic"
        # What is left may depend on parameters alone: then their values decide, and no state.
        how: How = "numeric" if written_out.free_symbols & self.moving else "symbolic"
        sums, sizes = self.sums(terms, self.surface_points(place) if on_surface and place is not None else self.points)
        if len(sums) < _FEWEST_POINTS:
            return None, how
        return bool(np.all(np.abs(sums) <= _TOLERANCE * sizes)), how

    def sums(self, terms: Sequence[Any], points: Sequence[dict[Any, float]]) -> tuple[Any, Any]:
        """The sum of terms at points where all are finite, and the sum of their absolute values."""
        columns = np.array([self.values(term, points, keep=True) for term in terms])
        columns = columns[:, np.isfinite(columns).all(axis=0)]
        return columns.sum(axis=0), np.abs(columns).sum(axis=0)

    def is_positive(self, expression: Any) -> bool:
        """Whether the formula of an expression says that it is positive, with the signs of parameters known."""
        signs = {}
        for name, value in self.parameters.items():
            if (value > 0).all() or (value < 0).all():
                signs[symbol(name)] = self.sympy.Dummy(**{"positive" if value.flat[0] > 0 else "negative": True})
        return bool(expression.xreplace(signs).is_positive)

    def shown(self, expression: Any) -> str:
        """An expression as text, with decimals rather than fractions."""
        fractions = {each: self.sympy.Float(each) for each in expression.atoms(self.sympy.Rational) if each.q != 1}
        text = str(self.sympy.sstr(expression.xreplace(fractions), full_prec=False))
        return text if len(text) <= 100 else f"{text[:100]}…"

    def on_surface(self, expression: Any, place: int | None) -> Any:
        """An expression where a crossing is 0, if the crossing can be solved for a state variable at once."""
        if place is None:
            return expression
        for name, slope in self.gradient(place).items():
            if slope != 0 and not slope.free_symbols & self.moving:
                y = self.of[name]
                solved = expanded(y - self.functions[place] / slope)
                if not solved.has(y):
                    return expanded(self.replaced(expression, {y: solved}))
        return expression

    # --- numbers ------------------------------------------------------------------------------------------------------

    def _random_points(self) -> list[dict[Any, float]]:
        """States around the initial one at several scales, each with the parameters of one neuron of one sample."""
        rng = np.random.default_rng(0)
        rows = self._parameter_rows()
        starts = [self.compiled(self.expression(node)) for node in self.model.initial.values()]
        points: list[dict[Any, float]] = []
        for place in _places(len(rows), rng):
            point = dict(zip(map(symbol, self.parameters), rows[place].tolist(), strict=True))
            scale = 10.0 ** int(rng.integers(-1, 3))
            for y, start in zip(self.states, starts, strict=True):
                center = start(point)
                point[y] = (center if math.isfinite(center) else 0.0) + scale * float(rng.standard_normal())
            for other in (self.weight, self.other_weight, symbol("t"), symbol("I")):
                point[other] = float(rng.standard_normal())
            points.append(point)
        return points

    def _parameter_rows(self) -> Any:
        """The parameters of every neuron of every sample, each as often as it differs."""
        columns = list(self.parameters.values())
        if not columns:
            return np.empty((1, 0))
        try:
            columns = list(np.broadcast_arrays(*columns))
        except ValueError:
            # They fit no network together: then what the first values say must do.
            columns = [column.ravel()[:1] for column in columns]
        table = np.array([column.ravel() for column in columns]).reshape(len(columns), -1).T
        return np.unique(table, axis=0)

    def values(self, expression: Any, points: Iterable[dict[Any, float]], keep: bool = False) -> Any:
        """The finite values of an expression, or all with NaN for the others, at points."""
        function = self.compiled(expression)
        out = np.array([function(point) for point in points], dtype=np.float64)
        return out if keep else out[np.isfinite(out)]

    def compiled(self, expression: Any) -> Callable[[Mapping[Any, float]], float]:
        """An expression as a function of a point."""
        symbols = sorted(expression.free_symbols, key=str)
        steps = {"Heaviside": lambda x, *_: float(x > 0), "sign": np.sign, "DiracDelta": lambda *_: 0.0}
        try:
            function = self.sympy.lambdify(symbols, expression, modules=[steps, "math"], dummify=True)
        except (TypeError, ValueError, SyntaxError, NotImplementedError):
            # Without an expression that can be computed nothing is known.
            return lambda point: math.nan

        def value(point: Mapping[Any, float]) -> float:
            try:
                return float(function(*(point[each] for each in symbols)))
            except (ArithmeticError, ValueError, TypeError, NameError):
                return math.nan

        return value

    def surface_points(self, place: int) -> list[dict[Any, float]]:
        """States where a crossing is 0, those among them where it grows if there are enough."""
        if place not in self._surface:
            function = self.compiled(self.functions[place])
            slopes = {self.of[name]: self.compiled(slope) for name, slope in self.gradient(place).items()}
            speed = self.compiled(
                self.sympy.Add(*(slope * self.drift[name] for name, slope in self.gradient(place).items()))
            )
            found = [point for start in self.points if (point := _projected(dict(start), function, slopes))]
            upward = [point for point in found if speed(point) > 0]
            self._surface[place] = upward if len(upward) >= _FEWEST_POINTS else found
        return self._surface[place]


def _places(num_rows: int, rng: np.random.Generator) -> Any:
    """Which rows are looked at: all of them, and some more than once, unless they are very many."""
    if num_rows > _MOST_POINTS:
        return rng.choice(num_rows, _MOST_POINTS, replace=False)
    return np.arange(max(_NUM_POINTS, num_rows)) % num_rows


def _projected(
    point: dict[Any, float],
    function: Callable[[Mapping[Any, float]], float],
    slopes: Mapping[Any, Callable[[Mapping[Any, float]], float]],
) -> dict[Any, float] | None:
    """A point nearby where a function is 0, by Newton's steps along its gradient."""
    for _ in range(50):
        value = function(point)
        if abs(value) <= 1e-12:
            return point
        gradient = {y: slope(point) for y, slope in slopes.items()}
        size = sum(slope**2 for slope in gradient.values())
        if not (math.isfinite(value) and math.isfinite(size) and size > 0):
            return None
        step = value / size
        point |= {y: point[y] - step * slope for y, slope in gradient.items()}
        moved = max(abs(step * slope) / (1.0 + abs(point[y])) for y, slope in gradient.items())
        if moved <= 1e-14:
            return point
    return None
