"""The equations of neurons in NumPy, written apart from the Julia core: SLIF by hand, any other from its formulas."""

from __future__ import annotations

import abc
import functools
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..formulas.calculus import Calculus
from ..formulas.event_sde import EventSDE
from ..formulas.numpy_code import NUMPY_FUNCTIONS, evaluator
from . import Array
from .reference_duals import Dual, chain, select
from .reference_noise import At

if TYPE_CHECKING:
    from ..network import Network

#: A state: one Dual (a plain number where it never moves) for every variable, recorded ones first.
State = list[Any]


class SlotsAt(dict[str, Dual]):
    """The parameters of the neurons `at`, each taken from those of all when it is first asked for.

    Attributes
    ----------
    shape : tuple
        Of a number for each of these neurons.
    directions : int
        How many there are.
    """

    def __init__(self, slots: dict[str, Dual], at: At, directions: int) -> None:
        super().__init__()
        self._slots, self._at = slots, at
        self.shape, self.directions = at[0].shape, directions

    def __missing__(self, name: str) -> Dual:
        self[name] = found = self._slots[name][self._at]
        return found


class Equations(abc.ABC):
    """The equations of some neurons: what every solver is made of. `slots` are their parameters."""

    additive: bool
    stratonovich: bool
    num_hazards = 1
    num_events = 1
    #: Whether increments and areas leave some of the driver's variance open.
    leaves_variance = True

    def __init__(self, network: Network, slots: SlotsAt) -> None:
        self.network, self.slots = network, slots

    def fixed(self, value: float | Array) -> Dual:
        """A number that does not move."""
        shape = self.slots.shape
        return Dual(np.full(shape, value, dtype=np.float64), np.zeros((self.slots.directions, *shape)))

    @abc.abstractmethod
    def initial(self, log_us: Sequence[Array]) -> State: ...

    @abc.abstractmethod
    def drift(self, time: Dual, y: State) -> State: ...

    @abc.abstractmethod
    def noise(self, y: State, w: Array) -> State:
        """Σ g_c·w_c, for w with a leading axis over the components."""

    @abc.abstractmethod
    def correction(self, y: State) -> State:
        """By how much the drift in Itô's sense exceeds that in Stratonovich's."""

    @abc.abstractmethod
    def iterated_noise(self, y: State, w: Array) -> State:
        """½·ΣΣ ∂g_c·g_d·w_c·w_d."""

    @abc.abstractmethod
    def event_values(self, y: State) -> list[Array]:
        """Of every kind of event the function that reaches 0 from below where it comes."""

    @abc.abstractmethod
    def event_time(self, event: int, a: Dual, b: Dual, y: State, velocity: State) -> Dual:
        """When it comes along the straight line from y at a, where it has come at b."""

    @abc.abstractmethod
    def transition(self, event: int, y: State, log_u: Array) -> State: ...

    @abc.abstractmethod
    def arrival(self, weight: Dual, y: State) -> State: ...

    @abc.abstractmethod
    def rates(self) -> tuple[Array, Array]:
        """The membrane's rate and the fastest one."""

    def hazard_of(self, event: int) -> int:
        """Which of the hazards drives the event; −1 for none."""
        return 0

    def rearmed(self, y: State) -> State:
        """The state at the end of a step, where crossings may come again."""
        return y

    def drift_in(self, sense: str, time: Dual, y: State) -> State:
        """The drift in the sense of "ito" or "stratonovich"."""
        f = self.drift(time, y)
        if self.additive or self.stratonovich == (sense == "stratonovich"):
            return f
        sign = -1.0 if sense == "stratonovich" else 1.0
        return [at + sign * more for at, more in zip(f, self.correction(y), strict=True)]

    def velocity(self, sense: str, time: Dual, y: State, slopes: Array) -> State:
        """ẏ where the path is linear, `slopes` its slopes."""
        return plus(self.drift_in(sense, time, y), self.noise(y, slopes))


def plus(one: State, other: State) -> State:
    return [a + b for a, b in zip(one, other, strict=True)]


def scaled(factor: Any, y: State) -> State:
    return [factor * part for part in y]


def values_of(y: State) -> list[Array]:
    return [part.value if isinstance(part, Dual) else part for part in y]


def current_of(network: Network, slots: SlotsAt, time: Dual) -> Dual:
    """I(t) of some neurons."""
    current = network.input_current
    values = {name: slots[name].value for name in current.parameters}
    slope, partial = current.derivatives(time.value, **values)
    change = slope * time.tangent
    for name, derivative in partial.items():
        moved = derivative * slots[name].tangent
        change = change + (moved.sum(axis=-1) if current.knots.size else moved)
    return Dual(current.value(time.value, **values), change)


class SLIFEquations(Equations):
    """Those of an SLIFNetwork; `transitions` are the flow of its linear part (``reference_solvers.Transitions``)."""

    network: Any

    def __init__(self, network: Network, slots: SlotsAt, transitions: Callable[[float], Array]) -> None:
        super().__init__(network, slots)
        self.transitions = transitions
        self.mu1, self.mu2 = slots["mu1"], slots["mu2"]
        self.additive = self.network.diffusion.additive

    def initial(self, log_us: Sequence[Array]) -> State:
        return [self.slots["v0"], self.slots["i0"], log_us[0] - self.slots["alpha"]]

    def drift(self, time: Dual, y: State) -> State:
        v, i, _ = y
        return [self.mu1 * (i + self.current(time) - v), -(self.mu2 * i), self.rate(v)]

    def noise(self, y: State, w: Array) -> State:
        n1, n2 = self.driven(w)
        return [self.factor(y[0])[0] * n1, n2, 0.0]

    def correction(self, y: State) -> State:
        g, slope = self.factor(y[0])
        one, two = self.slots["sigma11"], self.slots["sigma12"]
        return [0.5 * g * slope * (one * one + two * two), 0.0, 0.0]

    def iterated_noise(self, y: State, w: Array) -> State:
        (g, slope), (n1, _) = self.factor(y[0]), self.driven(w)
        return [0.5 * g * slope * (n1 * n1), 0.0, 0.0]

    def event_values(self, y: State) -> list[Array]:
        if self.network.intensity.event == "threshold":
            return [y[0].value - self.slots["v_th"].value]
        return [y[2].value]

    def event_time(self, event: int, a: Dual, b: Dual, y: State, velocity: State) -> Dual:
        if self.network.intensity.event == "threshold":
            ahead: Dual = (self.slots["v_th"] - y[0]) / velocity[0]
        else:
            ahead = -y[2] / velocity[2]
        return a + ahead

    def transition(self, event: int, y: State, log_u: Array) -> State:
        v_reset = self.slots["v_reset"]
        return [v_reset if self.network.reset == "hard" else y[0] - v_reset, y[1], log_u - self.slots["alpha"]]

    def arrival(self, weight: Dual, y: State) -> State:
        return [y[0], y[1] + weight, y[2]]

    def rates(self) -> tuple[Array, Array]:
        return self.mu1.value, np.maximum(self.mu1.value, self.mu2.value)

    def driven(self, normals: Array) -> tuple[Dual, Dual]:
        """Increments (n_1, n_2) made from W, or areas (a_1, a_2) from H."""
        v, i = ([self.slots[f"sigma{r}{c + 1}"] * z for c, z in enumerate(normals)] for r in (1, 2))
        return sum(v[1:], v[0]), sum(i[1:], i[0])

    def rate(self, v: Dual) -> Dual:
        intensity = self.network.intensity
        values = {name: self.slots[name].value for name in intensity.parameters}
        slope, partial = intensity.rate_derivatives(v.value, **values)
        parts = [(derivative, self.slots[name]) for name, derivative in partial.items()]
        return chain(intensity.rate(v.value, **values), (slope, v), *parts)

    def mean_rate(self, v: Dual, variance: Dual) -> Dual:
        """The rate's mean over noise of that variance around v."""
        intensity = self.network.intensity
        values = {name: self.slots[name].value for name in intensity.parameters}
        steepness = intensity.steepness(v.value, **values)
        if steepness is None:
            d = np.sqrt(3.0 * np.maximum(variance.value, 0.0))
            slope = np.divide(1.5, d, out=np.zeros_like(d), where=d > 0)
            spread = chain(d, (slope, variance))
            return (1 / 6) * (self.rate(v + -1.0 * spread) + self.rate(v + spread)) + (4 / 6) * self.rate(v)
        kappa, partial = steepness
        parts = [(derivative, self.slots[name]) for name, derivative in partial.items()]
        return self.rate(v + 0.5 * variance * chain(kappa, *parts))

    def current(self, time: Dual) -> Dual:
        return current_of(self.network, self.slots, time)

    def factor(self, v: Dual) -> tuple[Dual | float, Dual | float]:
        """g(v) and g′(v)."""
        diffusion = self.network.diffusion
        if diffusion.additive:
            return 1.0, 0.0
        values = {name: self.slots[name].value for name in diffusion.parameters}
        g, slope = diffusion.factor(v.value, **values)
        curvature, partial = diffusion.derivatives(v.value, **values)
        of_g, of_slope = ([(pair[k], self.slots[name]) for name, pair in partial.items()] for k in (0, 1))
        return chain(g, (slope, v), *of_g), chain(slope, (curvature, v), *of_slope)


# --- models from formulas ---------------------------------------------------------------------------------------------


def _smooth(function: Callable[..., Array], slope: Callable[[Array, Array], Array]) -> Callable[[Any], Any]:
    """A function of Duals or arrays from its values, and its slope at x where it is y."""

    def of(x: Any) -> Any:
        if not isinstance(x, Dual):
            return function(x)
        y = function(x.value)
        return chain(y, (slope(x.value, y), x))

    return of


def _dual_select(condition: Any, one: Any, other: Any) -> Any:
    if not isinstance(one, Dual) and not isinstance(other, Dual):
        return np.where(condition, one, other)
    zero = np.zeros(())
    a, b = (x if isinstance(x, Dual) else Dual(np.asarray(x), zero) for x in (one, other))
    return select(condition, a, b)


def _value(x: Any) -> Any:
    return x.value if isinstance(x, Dual) else x


def _counted(slope: Array, x: Any) -> Any:
    """What a slope makes of the tangent of x: nothing where that is 0, whatever the slope."""
    return np.where(x.tangent == 0.0, 0.0, slope * x.tangent) if isinstance(x, Dual) else 0.0


def _dual_power(x: Any, y: Any) -> Any:
    base, exponent = _value(x), _value(y)
    at = np.power(base, exponent)
    if not isinstance(x, Dual) and not isinstance(y, Dual):
        return at
    by_base = np.where(exponent == 0.0, 0.0, exponent * np.power(base, exponent - 1.0))
    by_exponent = np.where((base == 0.0) & (exponent > 0.0), 0.0, at * np.log(base))
    return Dual(at, _counted(by_base, x) + _counted(by_exponent, y))


def _dual_sqrt(x: Any) -> Any:
    root = np.sqrt(_value(x))
    return Dual(root, _counted(0.5 / root, x)) if isinstance(x, Dual) else root


def _extreme(function: Callable[..., Array], side: Callable[..., Array]) -> Callable[[Any, Any], Any]:
    """The larger or smaller of two, with the tangent of that one; where they are equal, the mean of both."""

    def of(x: Any, y: Any) -> Any:
        one, other = _value(x), _value(y)
        at = function(one, other)
        if not isinstance(x, Dual) and not isinstance(y, Dual):
            return at
        first, second = (part.tangent if isinstance(part, Dual) else 0.0 for part in (x, y))
        mean = 0.5 * (first + second)
        return Dual(at, np.where(side(one, other), first, np.where(side(other, one), second, mean)))

    return of


DUAL_FUNCTIONS: dict[str, Callable[..., Any]] = {
    **NUMPY_FUNCTIONS,
    "exp": _smooth(np.exp, lambda x, y: y),
    "log": _smooth(np.log, lambda x, y: 1.0 / x),
    "sqrt": _dual_sqrt,
    "sin": _smooth(np.sin, lambda x, y: np.cos(x)),
    "cos": _smooth(np.cos, lambda x, y: -np.sin(x)),
    "tanh": _smooth(np.tanh, lambda x, y: 1.0 - y * y),
    "Abs": _smooth(np.abs, lambda x, y: np.sign(x)),
    "sign": lambda x: np.sign(_value(x)),
    "Heaviside": lambda x: np.heaviside(_value(x), 0.5),
    "Min": _extreme(np.minimum, np.less),
    "Max": _extreme(np.maximum, np.greater),
    "power": _dual_power,
    "select": _dual_select,
    "value": _value,
}


class _Formulas:
    """The formulas of a model, ready to be computed; all take (state, parameters, t, I, and then what they need)."""

    def __init__(self, model: EventSDE) -> None:
        c = self.calculus = Calculus(model)
        self.common = (*c.states, *c.parameters, c.time, c.current)

        def ready(expressions: Sequence[Any], *more: Any) -> Callable[[Sequence[Any]], list[Any]]:
            return evaluator(expressions, [*self.common, *more], DUAL_FUNCTIONS)

        hazards = [event.function for event in c.events if event.kind == "hazard"]
        self.drift, self.rates = ready([*c.drift, *hazards]), ready(c.rates)
        self.noise, self.iterated_noise = ready(c.noise, *c.noise_symbols), ready(c.iterated_noise, *c.noise_symbols)
        self.correction, self.initial = ready(c.correction), ready(c.initial)
        self.crossings = [ready([event.function]) for event in c.events if event.kind == "crossing"]
        self.transitions = [ready(event.transition) for event in c.events]
        self.dead_zones = ready([event.dead_zone for event in c.events])
        self.arrival = ready(c.arrival, c.weight)
        #: Of every event, whether it leaves its own function as it is.
        self.stays = [c.stays(event) for event in c.events]


@functools.lru_cache(maxsize=32)
def _formulas(model: EventSDE) -> _Formulas:
    return _Formulas(model)


class FormulaEquations(Equations):
    """Those of a model from formulas. The state is (y₁, …, armed₁, …, s₁, …): the model's variables, for each crossing
    whether it may come (1 or 0), and the integrated hazards.
    """

    def __init__(self, network: Network, slots: SlotsAt) -> None:
        super().__init__(network, slots)
        model = network.model
        self.formulas = _formulas(model)
        self.parameters = [slots[name] for name in model.parameters]
        self.additive = model.has_additive_noise
        self.kinds = [event.kind for event in model.parsed_events]
        self.num_events = len(self.kinds)
        self.num_hazards, self.num_crossings = self.kinds.count("hazard"), self.kinds.count("crossing")
        self.num_states = len(model.states)

    def _given(self, y: State, time: Any = 0.0, current: Any = 0.0) -> list[Any]:
        return [*y[: self.num_states], *self.parameters, time, current]

    def _armed(self, y: State, crossing: int) -> Any:
        return _value(y[self.num_states + crossing])

    def _place(self, event: int) -> tuple[bool, int]:
        """Whether an event is a crossing, and its place among those of its kind."""
        return self.kinds[event] == "crossing", self.kinds[:event].count(self.kinds[event])

    def _crossing(self, crossing: int, y: State) -> Any:
        return self.formulas.crossings[crossing](self._given(y))[0]

    def hazard_of(self, event: int) -> int:
        is_crossing, place = self._place(event)
        return -1 if is_crossing else place

    def initial(self, log_us: Sequence[Array]) -> State:
        y = [self.fixed(0.0) + part for part in self.formulas.initial(self._given([0.0] * self.num_states))]
        y += [self.fixed(0.0)] * self.num_crossings
        zones = self._dead_zones()
        y += [self.fixed(log_u) - zone for log_u, zone in zip(log_us, zones, strict=True)]
        return self.rearmed(y)

    def _dead_zones(self) -> list[Any]:
        zones = self.formulas.dead_zones(self._given([0.0] * self.num_states))
        return [zone for zone, kind in zip(zones, self.kinds, strict=True) if kind == "hazard"]

    def drift(self, time: Dual, y: State) -> State:
        current = self.current(time) if self.network.model.uses_input else 0.0
        out = self.formulas.drift(self._given(y, time, current))
        return [*out[: self.num_states], *[0.0] * self.num_crossings, *out[self.num_states :]]

    def current(self, time: Dual) -> Dual:
        return current_of(self.network, self.slots, time)

    def _padded(self, values: Sequence[Any]) -> State:
        return [*values, *[0.0] * (self.num_crossings + self.num_hazards)]

    def noise(self, y: State, w: Array) -> State:
        return self._padded(self.formulas.noise([*self._given(y), *w[: len(self.network.model.noises)]]))

    def correction(self, y: State) -> State:
        return self._padded(self.formulas.correction(self._given(y)))

    def iterated_noise(self, y: State, w: Array) -> State:
        return self._padded(self.formulas.iterated_noise([*self._given(y), *w[: len(self.network.model.noises)]]))

    def event_values(self, y: State) -> list[Array]:
        out = []
        for event in range(self.num_events):
            is_crossing, place = self._place(event)
            if is_crossing:
                value = np.where(self._armed(y, place) > 0, _value(self._crossing(place, y)), -1.0)
            else:
                value = _value(y[self.num_states + self.num_crossings + place])
            out.append(np.broadcast_to(value, self.slots.shape))
        return out

    def event_time(self, event: int, a: Dual, b: Dual, y: State, velocity: State) -> Dual:
        is_crossing, place = self._place(event)
        if not is_crossing:
            s = self.num_states + self.num_crossings + place
            ahead: Dual = -y[s] / velocity[s]
            return a + ahead
        low, high = a.value.copy(), b.value.copy()
        start, speed = values_of(y), values_of(velocity)
        for _ in range(200):  # bisection, to rounding
            middle = 0.5 * (low + high)
            there = [at + (middle - a.value) * rate for at, rate in zip(start, speed, strict=True)]
            beyond = _value(self._crossing(place, there)) >= 0.0
            beyond = np.broadcast_to(beyond, middle.shape)
            if np.all((middle == low) | (middle == high)):
                break
            low, high = np.where(beyond, low, middle), np.where(beyond, middle, high)
        # How the function changes at that fixed time, and along the line.
        at_time = [part + (high - a) * rate for part, rate in zip(y, velocity, strict=True)]
        change = self._crossing(place, at_time)
        moving = [
            Dual(_value(part) * np.ones(high.shape), np.ones(high.shape)[None] * rate)
            for part, rate in zip(at_time, speed, strict=True)
        ]
        fixed = [Dual(p.value, np.zeros((1, *p.value.shape))) for p in self.parameters]
        slope = self.formulas.crossings[place]([*moving[: self.num_states], *fixed, 0.0, 0.0])[0].tangent[0]
        return Dual(high, -change.tangent / slope)

    def transition(self, event: int, y: State, log_u: Array) -> State:
        n, crossings = self.num_states, self.num_crossings
        out = [self.fixed(0.0) + part for part in self.formulas.transitions[event](self._given(y))] + list(y[n:])
        for place in range(crossings):
            value = _value(self._crossing(place, out))
            mine = self._place(event) == (True, place)
            kept = 0.0 if mine else self._armed(y, place)
            stays = mine and self.formulas.stays[event]
            out[n + place] = self.fixed(0.0 if stays else np.where(value < 0, 1.0, kept))
        hazard = self.hazard_of(event)
        if hazard >= 0:
            out[n + crossings + hazard] = self.fixed(log_u) - self._dead_zones()[hazard]
        return out

    def arrival(self, weight: Dual, y: State) -> State:
        return [*self.formulas.arrival([*self._given(y), weight]), *y[self.num_states :]]

    def rearmed(self, y: State) -> State:
        y = list(y)
        for place in range(self.num_crossings):
            below = _value(self._crossing(place, y)) < 0.0
            y[self.num_states + place] = self.fixed(np.where(below, 1.0, self._armed(y, place)))
        return y

    def rates(self) -> tuple[Array, Array]:
        start = self.formulas.initial(self._given([0.0] * self.num_states))
        one, fastest = self.formulas.rates(self._given(start))
        return tuple(np.broadcast_to(_value(rate), self.slots.shape) for rate in (one, fastest))  # type: ignore[return-value]
