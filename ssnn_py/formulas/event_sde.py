"""Models from formulas: stochastic differential equations with events, written as text."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import hashlib
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal, NoReturn

import numpy as np
from numpy.typing import ArrayLike

from ..components import PER_NEURON
from ..errors import ValidationError
from ..validation import as_float, as_real_array, describe
from ..values import Array, Arrays, Immutable
from .analysis import (
    FIXED,
    canonical,
    check_constants,
    check_rate,
    closed,
    constant,
    evaluated,
    is_noise,
    meaning,
    name_set,
    names,
    put_in,
    simultaneous,
    slope,
    split_noises,
)
from .grammar import (
    FUNCTIONS,
    Equation,
    FormulaError,
    Name,
    Node,
    Number,
    Source,
    Statement,
    closest,
    parse_equations,
    parse_expression,
    parse_statements,
)

INTERPRETATIONS = ("ito", "stratonovich")
#: How many noises and how many hazards a neuron may have: random numbers are counted so.
MAX_NOISES = MAX_HAZARDS = 15
#: Names by which networks take something else than a parameter of their model.
OF_NETWORKS = {
    "weights": "a parameter of networks",
    "input_current": "a parameter of networks",
    "n": "the number of neurons of a network",
    "driver": "the driver of a network",
    "driver_values": "a parameter of networks",
    "jump_times": "a parameter of networks",
    "jump_sizes": "a parameter of networks",
    **dict.fromkeys(("jump_rate", "jump_mean", "jump_std", "hurst", "path_scale"), "a parameter of networks"),
    "delays": "a parameter of networks",
    "inputs": "the input of a network",
    "input_weights": "a parameter of networks",
    "input_delays": "a parameter of networks",
    "input_times": "a parameter of simulations",
}


class Event(Immutable):
    r"""Something that happens to a neuron at random times or where its state reaches a surface, and what it changes.

    With a hazard λ(y) the event comes where :math:`\int λ(y)\,dt` since the neuron's last event of this kind reaches
    α + E, with α the dead zone, and E a standard exponential number that is drawn anew after each event. With a
    crossing E(y) it comes where E reaches 0 from below.

    Parameters
    ----------
    hazard : str, optional
        The rate λ(y) ≥ 0 per unit of time, a formula of state variables, subexpressions and parameters. Either this or
        `crossing` must be given.
    crossing : str, optional
        The event function E(y), a formula likewise.
    then : str, optional
        What the event does to its neuron: statements ``NAME = formula``, or with ``+=``, ``-=``, ``*=``, ``/=``, on
        lines of their own or with semicolons between them. They are carried out one after the other, and each sees what
        those before it have assigned. Default: nothing changes.
    dead_zone : float or str, optional
        α ≥ 0, of hazards only: what the integrated hazard must collect in addition after an event; a number, or a
        formula of parameters. Default 0.

    Attributes
    ----------
    hazard, crossing : str or None
    then : str
    dead_zone : float or str
        As given.

    Raises
    ------
    FormulaError
        A ValidationError that shows the line and the place: if a text is no formula.
    ValidationError
        If both or neither of `hazard` and `crossing` are given, if `dead_zone` is negative or given with a crossing, if
        a hazard is a constant that is not positive, or a crossing is a constant.

    References
    ----------
    .. [1] C. Holberg and C. Salvi, "Exact gradients for stochastic spiking neural networks driven by rough signals",
       NeurIPS 2024.

    Examples
    --------
    >>> Event(hazard="exp(beta*(v - v_th))", then="v -= v_reset", dead_zone=0.03)
    Event(hazard='exp(beta*(v - v_th))', then='v -= v_reset', dead_zone=0.03)
    """

    def __init__(
        self,
        hazard: str | None = None,
        crossing: str | None = None,
        then: str = "",
        dead_zone: float | str = 0.0,
    ) -> None:
        if (hazard is None) == (crossing is None):
            given = "neither" if hazard is None else f"hazard={describe(hazard)} and crossing={describe(crossing)}"
            raise ValidationError(f"an Event must have one of hazard and crossing, got {given}")
        self.hazard, self.crossing, self.then = hazard, crossing, then
        self.dead_zone = dead_zone if isinstance(dead_zone, str) else _as_dead_zone(dead_zone)
        function = parse_expression(self.function, self.kind)
        _check_function(Source(self.kind, self.function), self.kind, function)
        parse_statements(then, "then")
        if isinstance(dead_zone, str):
            _check_zone(Source("dead_zone", dead_zone), parse_expression(dead_zone, "dead_zone"))
        if self.kind == "crossing" and self.dead_zone != 0.0:
            raise ValidationError(f"dead_zone must not be given with a crossing, but with a hazard, got {dead_zone!r}")

    @property
    def kind(self) -> Literal["hazard", "crossing"]:
        """Which of the two it is."""
        return "crossing" if self.hazard is None else "hazard"

    @property
    def function(self) -> str:
        """The hazard or the crossing, whichever it has."""
        text = self.crossing if self.hazard is None else self.hazard
        assert text is not None
        return text

    def _refuse(self, name: str) -> NoReturn:
        raise AttributeError(f"an Event cannot be changed, and neither can its {name}: make another one")

    def __repr__(self) -> str:
        shown: dict[str, Any] = {self.kind: self.function}
        shown |= {"then": self.then} if self.then else {}
        shown |= {"dead_zone": self.dead_zone} if self.dead_zone != 0.0 else {}
        return f"Event({', '.join(f'{name}={value!r}' for name, value in shown.items())})"


def _as_dead_zone(value: Any) -> float:
    return as_float("dead_zone", value, nonnegative=True)


def _check_function(source: Source, kind: str, function: Node) -> None:
    """Raise for a hazard that is a constant and no rate, and for a crossing that is a constant."""
    check_constants(source, function)
    value = constant(function)
    if kind == "hazard":
        check_rate(source, function, "a hazard")
    elif value is not None:
        raise source.error(function, f"a crossing must depend on a state variable, and this is always {value:g}")


def _check_zone(source: Source, zone: Node) -> None:
    """Raise for a dead zone that is a negative constant."""
    check_constants(source, zone)
    value = constant(zone)
    if value is not None and value < 0:
        raise source.error(zone, f"a dead zone must not be negative, and this is {value:g}")


@dataclass(frozen=True)
class ParsedEvent:
    """An event as formulas of state variables and parameters.

    Attributes
    ----------
    kind : "hazard" or "crossing"
    function : Node
        The hazard or the crossing.
    transition : mapping of str to Node
        What becomes of the state variables that the event changes, as formulas of the state before it.
    dead_zone : Node or None
        A formula of parameters; None for a crossing.
    """

    kind: Literal["hazard", "crossing"]
    function: Node
    transition: Mapping[str, Node]
    dead_zone: Node | None


class EventSDE(Immutable):
    r"""The equations of a neuron as text: its state between events, its events, and what a spike does to a target.

    Formulas may use state variables, subexpressions, parameters and

    =====================  =========================================================================================
    ``t``, ``I``           the time and the input current, in `equations` only
    ``xi``, ``xi_NAME``    white noises, in `equations` only; the same name in two equations is the same noise
    ``w``                  the weight of a synapse, in `synapse` only
    ``pi``                 the number π
    functions              exp, log, sqrt, sin, cos, tanh, abs, min, max, clip(x, lowest, highest),
                           where(condition, x, otherwise), piecewise(condition, x, condition, y, ..., otherwise)
    operators              ``+ - * / **``, and in conditions ``< <= > >= == != and or not``
    =====================  =========================================================================================

    Equations are affine in the noises, dy = f(y, t, I) dt + Σ_c g_c(y) dB_c: what multiplies a noise depends neither on
    t nor on I. There are no units: all numbers are given in consistent units of one's own.

    A model never changes: :meth:`replace` makes another. Two are equal where their formulas and parameters are, however
    they were written.

    Parameters
    ----------
    equations : str
        Lines ``dX/dt = formula``, one for each state variable X, and ``name = formula``, subexpressions, which may
        stand in any order. ``#`` begins a comment; a line goes on in the next within parentheses or after a backslash.
    events : Event or sequence of Event, optional
        Default: none. At most 15 with a hazard.
    synapse : str, optional
        What a spike does to the state of a target, statements as those of :class:`Event`, with the weight w, as in
        ``"i += w"``. Default: nothing; then a network of the model has no synapses.
    parameters : mapping of str to array_like, optional
        The value of every name that is a parameter: of shape ``()``, ``(N,)`` for N neurons or ``(S, N)`` for S
        samples.
    initial : mapping of str to array_like or str, optional
        The state at the beginning by state variable: a number or an array, which then is a parameter itself, named like
        the variable with a 0 after it (``"v0"``), or a formula of parameters. Default: 0, a parameter, too.
    interpretation : {"ito", "stratonovich"}, optional
        In which sense the noise is meant. Default "ito".

    Attributes
    ----------
    states : tuple of str
        The state variables in the order of their equations.
    noises : tuple of str
        The noises in the order in which they appear.
    drift : mapping of str to Node
        By state variable, the formula f without noise.
    diffusion : mapping of (str, str) to Node
        By state variable and noise, the formula g that multiplies it; only those that are not 0.
    events : tuple of Event
        As given.
    parsed_events : tuple of ParsedEvent
    arrival : mapping of str to Node
        What becomes of the state variables of a target that a spike changes, as formulas of its state before and of w.
    parameters : mapping of str to ndarray
        The values of all parameters, initial values among them.
    initial : mapping of str to Node
        By state variable, the formula of its initial value.
    interpretation : str
    uses_input : bool
        Whether the equations have an I.
    key : str
        16 hexadecimal digits that tell models apart by all but the values of parameters.
    equations, synapse : str
        As given.

    Raises
    ------
    FormulaError
        A ValidationError that shows the line and the place: if a text is no formula, or a name in it has no meaning
        there.
    ValidationError
        If a parameter is not used, has a name with another meaning, a wrong shape or a value that is not finite.

    References
    ----------
    .. [1] C. Holberg and C. Salvi, "Exact gradients for stochastic spiking neural networks driven by rough signals",
       NeurIPS 2024.

    Examples
    --------
    >>> model = EventSDE(
    ...     '''
    ...     dv/dt = (i + I - v)/tau_m + sigma*xi
    ...     di/dt = -i/tau_s
    ...     ''',
    ...     events=Event(hazard="exp(beta*(v - 1))", then="v -= 1"),
    ...     synapse="i += w",
    ...     parameters=dict(tau_m=0.1, tau_s=0.05, sigma=0.2, beta=5.0),
    ... )
    >>> model.states, model.noises, list(model.parameters)
    (('v', 'i'), ('xi',), ['tau_m', 'tau_s', 'sigma', 'beta', 'v0', 'i0'])
    >>> EventSDE("dv/dt = -v/tua", parameters=dict(tau=1.0))
    Traceback (most recent call last):
    ssnn_py.formulas.grammar.FormulaError: equations, line 1: unknown name tua; did you mean tau?
        dv/dt = -v/tua
                   ^^^
    """

    def __init__(
        self,
        equations: str,
        events: Event | Sequence[Event] = (),
        synapse: str = "",
        parameters: Mapping[str, ArrayLike] | None = None,
        initial: Mapping[str, ArrayLike | str] | None = None,
        interpretation: str = "ito",
    ) -> None:
        self.equations, self.synapse = equations, synapse
        self.events = _as_events(events)
        if interpretation not in INTERPRETATIONS:
            raise ValidationError(f'interpretation must be "ito" or "stratonovich", got {describe(interpretation)}')
        self.interpretation = interpretation
        lines, source = parse_equations(equations), Source("equations", equations)
        self.states = _checked_states(source, lines)
        given, starts = _as_mapping("parameters", parameters), _as_mapping("initial", initial)
        _check_parameters(given, lines)
        self._starts = {state: text for state, text in starts.items() if isinstance(text, str)}
        own = self._initial_parameters(starts, {*given, *(line.name for line in lines)})
        reader = _Reader(source, self.states, lines, [*given, *own])
        self._read_equations(source, reader, lines)
        self.parsed_events = tuple(reader.event(place, event) for place, event in enumerate(self.events))
        self.arrival = reader.statements(synapse, "synapse", frozenset({"w"}))
        self.initial: Mapping[str, Node] = MappingProxyType(
            {state: reader.start(state, self._starts.get(state)) for state in self.states}
        )
        unused = [name for name in given if name not in reader.used]
        if unused:
            raise ValidationError(f"parameters must be used by a formula, but none has the name {unused[0]!r}")
        for name, value in given.items():
            if isinstance(value, str):
                raise ValidationError(
                    f'parameters["{name}"] must be {PER_NEURON}, got {describe(value)}: a formula belongs in '
                    f"equations, as a line {name} = formula"
                )
        values = {name: _value(f'parameters["{name}"]', value) for name, value in given.items()}
        self.parameters = Arrays(values, own)
        self.uses_input = any("I" in name_set(node) for node in self.drift.values())
        self.key = hashlib.sha256(self._canonical().encode()).hexdigest()[:16]

    def _initial_parameters(self, starts: Mapping[str, Any], taken: Iterable[str]) -> dict[str, Array]:
        """The initial values that are parameters, by name."""
        for name in starts:
            if name not in self.states:
                known = ", ".join(self.states)
                raise ValidationError(f"initial must have state variables as keys, which are {known}, got {name!r}")
        own = {}
        for state in self.states:
            if state in self._starts:
                continue
            name = f"{state}0"
            if name in taken or meaning(name):
                raise ValidationError(
                    f"initial must be a formula for {state}, or {name!r} must have no other meaning: an initial value "
                    "that is a number is a parameter of that name"
                )
            own[name] = _value(f'initial["{state}"]', starts.get(state, 0.0))
        return own

    def _read_equations(self, source: Source, reader: _Reader, lines: Iterable[Equation]) -> None:
        """Set what the equations between events are."""
        drift, diffusion = {}, {}
        for state, value in ((line.name, line.value) for line in lines if line.is_derivative):
            drift[state], coefficients = split_noises(source, reader.closed(source, value))
            for noise, coefficient in coefficients.items():
                for name in names(coefficient):
                    if name.name in ("t", "I"):
                        raise source.error(
                            name,
                            f"what multiplies a noise must not depend on {FIXED[name.name]}, but that of {noise} in "
                            f"the equation of {state} has {name.name}",
                        )
                diffusion[state, noise] = coefficient
        self.noises = tuple(dict.fromkeys(noise for _, noise in diffusion))
        if len(self.noises) > MAX_NOISES:
            raise ValidationError(f"equations must have at most {MAX_NOISES} noises, got {len(self.noises)}")
        self.drift: Mapping[str, Node] = MappingProxyType(drift)
        self.diffusion: Mapping[tuple[str, str], Node] = MappingProxyType(diffusion)

    # --- what it is ---------------------------------------------------------------------------------------------------

    @property
    def has_additive_noise(self) -> bool:
        """Whether what multiplies the noises depends on no state variable."""
        return not any(name_set(node) & set(self.states) for node in self.diffusion.values())

    @functools.cached_property
    def slopes(self) -> Mapping[str, Node]:
        """∂f/∂X by state variable X, of those whose equation is affine in X with a slope of parameters alone."""
        source, known, found = Source("equations", self.equations), {*self.parameters, "pi"}, {}
        for state, drift in self.drift.items():
            with contextlib.suppress(FormulaError):
                by_state = slope(source, drift, state)
                if name_set(by_state) <= known:
                    found[state] = by_state
        return MappingProxyType(found)

    def replace(self, /, **parameters: ArrayLike) -> EventSDE:
        """The same model with other values of some parameters.

        Parameters
        ----------
        **parameters : array_like, shape (), (N,) or (S, N)
            Any names of :attr:`parameters`.

        Returns
        -------
        EventSDE

        Raises
        ------
        ValidationError
            If a name is unknown or a value does not fit.

        Examples
        --------
        >>> decay = EventSDE("dv/dt = -v/tau", parameters=dict(tau=1.0))
        >>> decay.replace(tau=2.0, v0=0.5).parameters
        {'tau': array(2.), 'v0': array(0.5)}
        """
        for name in parameters:
            if name not in self.parameters:
                known = ", ".join(self.parameters) or "none"
                raise ValidationError(f"unknown parameter {name!r}; this model has {known}")
        return self._changed(parameters=Arrays(self.parameters, {n: _value(n, v) for n, v in parameters.items()}))

    def check_dead_zones(self, parameters: Mapping[str, Array]) -> None:
        """Raise where a dead zone that is a formula is negative or not finite at these values of its parameters."""
        for place, event in enumerate(self.parsed_events):
            used = set() if event.dead_zone is None else name_set(event.dead_zone) & set(self.parameters)
            if event.dead_zone is None or not used:
                continue
            try:
                *values, zone = np.broadcast_arrays(
                    *(parameters[name] for name in used), evaluated(event.dead_zone, parameters)
                )
            except ValueError:  # shapes of other numbers of samples, which no simulation takes
                continue
            wrong = np.argwhere(~(np.isfinite(zone) & (zone >= 0)))
            if len(wrong):
                where = tuple(wrong[0])
                at = ", ".join(sorted(f"{name}={float(v[where])!r}" for name, v in zip(used, values, strict=True)))
                text = " ".join(_lines(str(self.events[place].dead_zone)))
                raise ValidationError(
                    f"events[{place}].dead_zone must be finite and not negative, but {text} is {float(zone[where])!r} "
                    f"where {at}"
                )

    def _canonical(self) -> str:
        """A text that is the same for the same model, whatever the values of its parameters."""

        def shown(formulas: Mapping[Any, Node]) -> list[tuple[Any, str]]:
            return sorted((name, canonical(node)) for name, node in formulas.items())

        events = [
            (
                *(event.kind, canonical(event.function), shown(event.transition)),
                None if event.dead_zone is None else canonical(event.dead_zone),
            )
            for event in self.parsed_events
        ]
        formulas = (shown(self.drift), shown(self.diffusion), shown(self.arrival), shown(self.initial))
        return repr((self.states, self.noises, *formulas, events, tuple(self.parameters), self.interpretation))

    def _held(self) -> tuple[Any, ...]:
        return self.key, self.parameters

    def __reduce__(self) -> tuple[Any, ...]:
        numbers = {state: self.parameters[f"{state}0"] for state in self.states if state not in self._starts}
        given = {name: value for name, value in self.parameters.items() if name[:-1] not in numbers or name[-1] != "0"}
        starts = numbers | self._starts
        return type(self), (self.equations, self.events, self.synapse, given, starts, self.interpretation)

    def __repr__(self) -> str:
        lines = _lines(self.equations)
        for place, event in enumerate(self.events):
            then = f", then {'; '.join(_lines(event.then))}" if _lines(event.then) else ""
            zone = f", dead zone {event.dead_zone}" if event.dead_zone != 0.0 else ""
            lines.append(f"event {place + 1}: {event.kind} {' '.join(_lines(event.function))}{then}{zone}")
        lines += [f"synapse: {'; '.join(_lines(self.synapse))}"] if _lines(self.synapse) else []
        lines += [f"initial {state}: {' '.join(_lines(text))}" for state, text in self._starts.items()]
        lines += [f"parameters: {', '.join(self.parameters)}"] if self.parameters else []
        lines += ["interpretation: stratonovich"] if self.interpretation == "stratonovich" else []
        body = "".join(f"    {line}\n" for line in lines)
        return f"EventSDE(\n{body})"

    def _repr_latex_(self) -> str:
        from sympy import latex

        from .symbolic import symbol, symbolic

        def shown(part: Node | str) -> str:
            return str(latex(symbol(part) if isinstance(part, str) else symbolic(part)))

        rows = []
        sense = r"\circ " if self.interpretation == "stratonovich" else ""
        for state in self.states:
            terms = [rf"\left({shown(self.drift[state])}\right) dt"]
            for place, noise in enumerate(self.noises):
                if (state, noise) in self.diffusion:
                    index = f"_{{{place + 1}}}" if len(self.noises) > 1 else ""
                    terms.append(rf"\left({shown(self.diffusion[state, noise])}\right) {sense}dB{index}")
            rows.append(f"d{shown(state)} &= {' + '.join(terms)}")
        for place, event in enumerate(self.parsed_events):
            letter = "E" if event.kind == "crossing" else r"\lambda"
            rows.append(f"{letter}_{{{place + 1}}} &= {shown(event.function)}")
            rows += [rf"{shown(state)} &\to {shown(node)}" for state, node in event.transition.items()]
        rows += [rf"{shown(state)} &\to {shown(node)}" for state, node in self.arrival.items()]
        return "$$\\begin{aligned}\n" + " \\\\\n".join(rows) + "\n\\end{aligned}$$"


# --- reading texts ----------------------------------------------------------------------------------------------------


class _Reader:
    """Reads the texts of one model, and remembers which parameters they use."""

    def __init__(
        self, source: Source, states: tuple[str, ...], lines: Sequence[Equation], parameters: Iterable[str]
    ) -> None:
        self.states, self.parameters = states, frozenset(parameters)
        own = [line for line in lines if not line.is_derivative]
        self.subexpressions: Mapping[str, Node] = {line.name: line.value for line in own}
        self.used: set[str] = set()
        for line in lines:
            self.check_names(source, line.value, None)
            check_constants(source, line.value)
        self.subexpressions = closed(source, own)

    def check_names(self, source: Source, node: Node, allowed: frozenset[str] | None, states: bool = True) -> None:
        """Raise unless every name has a meaning here; `allowed` are fixed names, None for those of equations."""
        for name in names(node):
            text = name.name
            if text in self.parameters:
                self.used.add(text)
            elif text not in self.subexpressions:
                reason = self.reason_against(text, allowed, states)
                if reason:
                    raise source.error(name, reason)
            elif allowed is not None:
                for inner in sorted(name_set(self.subexpressions[text]) - self.parameters):
                    reason = self.reason_against(inner, allowed, states)
                    if reason:
                        raise source.error(name, f"the subexpression {text} has {inner}, but {reason}")

    def reason_against(self, name: str, allowed: frozenset[str] | None, states: bool) -> str | None:
        """Why a name that is neither a parameter nor a subexpression cannot stand in a formula, if it cannot."""
        if name in self.states:
            return None if states else f"{name} is a state variable, and only parameters can stand here"
        fixed = name in ("t", "I", "pi") or is_noise(name) if allowed is None else name in allowed or name == "pi"
        if fixed:
            return None
        if is_noise(name):
            return f"{name} is a white noise, which can stand in equations only"
        if name == "w":
            return "w is the weight of a synapse, which can stand in synapse only: give anything else another name"
        if name == "t":
            return "t is the time, which can stand in equations only: a state variable with ds/dt = 1 counts it"
        if name == "I":
            return "I is the input current, which can stand in equations only"
        if name == "dt":
            return "dt can stand only on the left, as in dX/dt: write what the derivative is"
        known = [*self.states, *self.subexpressions, *sorted(self.parameters), *FUNCTIONS, "pi"]
        hint = closest(name, known) or "; it is neither a state variable nor a subexpression nor a key of parameters"
        return f"unknown name {name}{hint}"

    def formula(self, source: Source, states: bool = True) -> Node:
        """The formula that a text is, with what stands for its subexpressions; its place is that in its text."""
        node = parse_expression(source.text, source.argument)
        self.check_names(source, node, frozenset(), states)
        return dataclasses.replace(self.closed(source, node), start=node.start, end=node.end)

    def closed(self, source: Source, node: Node) -> Node:
        """A formula whose names are checked, with what stands for its subexpressions."""
        check_constants(source, node)
        whole = put_in(source, node, self.subexpressions)
        if whole is not node:
            check_constants(source, whole, node)
        return whole

    def statements(self, text: str, argument: str, allowed: frozenset[str] = frozenset()) -> Mapping[str, Node]:
        """What statements make of the state variables that they change."""
        found, source = parse_statements(text, argument), Source(argument, text)
        for each in found:
            self.check_target(source, each)
            self.check_names(source, each.value, allowed)
            if constant(self.closed(source, each.value)) == 0.0 and each.operator == "/=":
                raise source.error(each.value, "this divides by zero")
        made = simultaneous(source, found, self.subexpressions)
        for value in made.values():
            check_constants(source, value, value)
        return MappingProxyType(made)

    def check_target(self, source: Source, statement: Statement) -> None:
        """Raise unless a statement assigns a state variable."""
        name = statement.name
        if name in self.states:
            return
        known = f"statements assign state variables, which are {', '.join(self.states)}"
        what = "a parameter" if name in self.parameters else meaning(name)
        what = "a subexpression" if name in self.subexpressions else what
        if what:
            raise source.error(statement.place, f"{name} is {what}, and cannot be assigned: {known}")
        raise source.error(statement.place, f"unknown name {name}{closest(name, self.states)}; {known}")

    def event(self, place: int, event: Event) -> ParsedEvent:
        """An event, the one at this place among all."""
        argument = f"events[{place}]"
        source = Source(f"{argument}.{event.kind}", event.function)
        function = self.formula(source)
        _check_function(source, event.kind, function)
        if event.kind == "crossing" and not name_set(function) & set(self.states):
            raise source.error(function, "a crossing must depend on a state variable, and this has parameters alone")
        transition = self.statements(event.then, f"{argument}.then")
        zone: Node | None = None
        if isinstance(event.dead_zone, str):
            source = Source(f"{argument}.dead_zone", event.dead_zone)
            zone = self.formula(source, states=False)
            _check_zone(source, zone)
        elif event.kind == "hazard":
            zone = Number(event.dead_zone, repr(event.dead_zone))
        return ParsedEvent(event.kind, function, transition, zone)

    def start(self, state: str, text: str | None) -> Node:
        """The formula of a variable's initial value; it is a parameter where there is no text."""
        return Name(f"{state}0") if text is None else self.formula(Source(f'initial["{state}"]', text), states=False)


def _checked_states(source: Source, lines: Sequence[Equation]) -> tuple[str, ...]:
    """The state variables, if every line defines a name of its own."""
    seen: dict[str, Equation] = {}
    for line in lines:
        what = "state variable" if line.is_derivative else "subexpression"
        if reason := meaning(line.name):
            raise source.error(line.place, f"{line.name} is {reason}: give this {what} another name")
        before = seen.setdefault(line.name, line)
        if before.is_derivative != line.is_derivative:
            raise source.error(line.place, f"{line.name} cannot be both a state variable and a subexpression")
        if before is not line:
            raise source.error(line.place, f"there must be one line for the {what} {line.name}, but this is the second")
    states = tuple(line.name for line in lines if line.is_derivative)
    if not states:
        raise ValidationError(f"equations must have at least one line dX/dt = formula, got {describe(source.text)}")
    return states


def _check_parameters(given: Mapping[Any, Any], lines: Iterable[Equation]) -> None:
    defined = {line.name: "a state variable" if line.is_derivative else "a subexpression" for line in lines}
    for name in given:
        if not isinstance(name, str) or not name.isidentifier():
            raise ValidationError(f"parameters must have names of letters, digits and _, got {describe(name)}")
        reason = OF_NETWORKS.get(name) or defined.get(name) or meaning(name)
        if reason:
            raise ValidationError(f"parameters must have names without another meaning, got {name!r}, {reason}")


def _as_events(events: Any) -> tuple[Event, ...]:
    if isinstance(events, Event):
        return (events,)
    if isinstance(events, str | Mapping) or not isinstance(events, Iterable):
        raise ValidationError(f"events must be an Event or a sequence of them, got {describe(events)}")
    given: tuple[Event, ...] = tuple(events)
    for event in given:
        if not isinstance(event, Event):
            raise ValidationError(f"events must be an Event or a sequence of them, got {describe(event)} among them")
    hazards = sum(event.kind == "hazard" for event in given)
    if hazards > MAX_HAZARDS:
        raise ValidationError(f"events must be at most {MAX_HAZARDS} with a hazard, got {hazards}")
    return given


def _as_mapping(argument: str, value: Any) -> dict[Any, Any]:
    if value is not None and not isinstance(value, Mapping):
        raise ValidationError(f"{argument} must be a mapping of names to values, got {describe(value)}")
    return {_normalized(name): each for name, each in (value or {}).items()}


def _normalized(name: Any) -> Any:
    """A name as the grammar reads it: the micro sign is the letter μ."""
    return unicodedata.normalize("NFKC", name) if isinstance(name, str) else name


def _value(argument: str, value: ArrayLike) -> Array:
    return as_real_array(argument, value, (0, 1, 2), PER_NEURON)


def _lines(text: str) -> list[str]:
    """The lines of a text that say something, without indentation and comments."""
    lines = (line.split("#", 1)[0].strip() for line in text.splitlines())
    return [line for line in lines if line]
