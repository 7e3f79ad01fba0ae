"""Networks of neurons: what every network is made of, and networks of a model from formulas."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, NamedTuple, TypeVar, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .components import PER_NEURON, Component
from .currents import InputCurrent, as_input_current
from .drivers import NUMBERS, PATH_SHAPES, BrownianMotion, Driver, NoiseDrivers, as_driver, stem
from .errors import NoGradientError, ValidationError
from .formulas.analysis import evaluated
from .formulas.event_sde import EventSDE
from .synapses import SYNAPTIC, SpikeInput, Synapses, like_matrix, longest_delay, read_delays, read_matrix
from .validation import as_int, as_real_array, counted, describe
from .values import Arrays, Immutable

Array = NDArray[np.float64]
Same = TypeVar("Same", bound="Network")


class Core(NamedTuple):
    """By which names the Julia core knows a network's model and its parts, and what they are made with."""

    model: str
    intensity: str
    current: str
    diffusion: str
    settings: tuple[float, ...]
    hard_reset: bool
    stratonovich: bool
    driver: str = "brownian"


class Network(Immutable):
    r"""A network of N neurons whose equations, events and synapses are those of a model from formulas.

    A network never changes: :meth:`replace` makes another. Attributes and arrays are read-only, and arrays that are
    given are copied. Two networks are equal where all their parameters, parts and synapses are; networks can be keys,
    be copied and be pickled.

    Parameters
    ----------
    model : EventSDE
    weights : array_like or scipy.sparse matrix, shape (N, N), optional
        ``weights[j, k]`` is the weight w of the synapse from neuron j to neuron k. A zero is no synapse, and has no
        gradient; an explicitly stored zero of a sparse matrix is a synapse. Default: no synapses.
    n : int, optional
        The number of neurons, where there are no weights; default 1.
    input_current : float, array_like of shape (N,) or (S, N), or InputCurrent
        I(t), for models whose equations have an ``I``. S is the number of samples of the simulation.
    delays : array_like or scipy.sparse matrix, shape () or (N, N), optional
        How long a spike takes to each target, at least 0; for all synapses, or in the form of the weights. Default: 0,
        and no parameter.
    inputs : SpikeInput, optional
        Channels of spikes from outside.
    driver : Driver or mapping of str to Driver, optional
        The paths whose increments are the noise, of all noises or by the name of the noise (``xi``, ``xi_1``, …);
        default :class:`BrownianMotion`.
    **parameters : array_like, shape (), (N,) or (S, N)
        Other values of the model's parameters, initial values among them, than those it was made with.

    Attributes
    ----------
    model : EventSDE
        As given, without the network's other values.
    num_neurons : int
    synapses : Synapses
    input_current : InputCurrent
    inputs : SpikeInput or None
    parameters : mapping of str to ndarray
        Every parameter one may differentiate with respect to, by name; read-only. Weights of a sparse matrix are its
        stored values.
    states : tuple of str
        The state variables that solutions record.

    Raises
    ------
    ValidationError
        If a parameter is unknown, has a wrong shape or is not finite, if a dead zone is negative at the parameters'
        values, or if there are weights and no synapse statement, or an input current and no ``I``.

    Examples
    --------
    >>> import ssnn_py as ssnn
    >>> leaky = ssnn.EventSDE(
    ...     "dv/dt = (I - v)/tau_m + sigma*xi",
    ...     events=ssnn.Event(hazard="exp(beta*(v - 1))", then="v -= 1"),
    ...     synapse="v += w",
    ...     parameters=dict(tau_m=0.1, sigma=0.2, beta=5.0),
    ... )
    >>> net = Network(leaky, weights=[[0.0, 0.3], [0.0, 0.0]], input_current=1.5)
    >>> net.num_neurons, sorted(net.parameters)
    (2, ['beta', 'input_current', 'sigma', 'tau_m', 'v0', 'weights'])
    """

    model: Any
    input_current: InputCurrent
    inputs: SpikeInput | None
    driver: Driver
    num_neurons: int
    synapses: Synapses
    states: tuple[str, ...]
    #: Every parameter one may differentiate with respect to, by name; read-only. Weights of a sparse matrix are its
    #: stored values.
    parameters: dict[str, Array]
    #: Initial values that are no parameters of the network, but arguments of a simulation.
    initial_names: ClassVar[tuple[str, ...]] = ()
    #: The chosen parts of the model, by the argument that names them.
    part_classes: ClassVar[Mapping[str, type[Component]]] = {
        "input_current": InputCurrent,
        "inputs": SpikeInput,
        "driver": Driver,
    }

    def __init__(
        self,
        model: EventSDE,
        /,
        weights: Any = None,
        n: int | None = None,
        input_current: Any = None,
        delays: Any = None,
        inputs: SpikeInput | None = None,
        driver: Any = None,
        **parameters: Any,
    ) -> None:
        if not isinstance(model, EventSDE):
            raise ValidationError(f"model must be an EventSDE, got {describe(model)}")
        self.model, self.states = model, model.states
        own: dict[str, Array] = {}
        if weights is None:
            self.num_neurons = 1 if n is None else as_int("n", n, 1, 2**31)
            self.synapses, self._sparse = Synapses(np.zeros(self.num_neurons + 1), (), ()), None
        else:
            if not model.arrival:
                raise ValidationError("weights must not be given for a model without a synapse statement")
            (self.num_neurons, _), self.synapses, own["weights"], self._sparse = read_matrix("weights", weights, True)
            if n is not None and as_int("n", n, 1, 2**31) != self.num_neurons:
                raise ValidationError(f"n must be the number of neurons of weights, {self.num_neurons}, got {n}")
        if input_current is not None and not model.uses_input:
            raise ValidationError("input_current must not be given for a model whose equations have no I")
        for name in parameters:
            if name not in model.parameters:
                known = ", ".join(model.parameters) or "none"
                raise ValidationError(f"unknown parameter {name!r}; this model has {known}")
        own.update({name: self._own(name, value) for name, value in {**model.parameters, **parameters}.items()})
        self.input_current = part("input_current", as_input_current(0.0 if input_current is None else input_current))
        self._connect(own, delays, inputs)
        self.driver = as_driver(driver)
        self._unite(own)
        model.check_dead_zones(self.parameters)

    def _connect(self, own: dict[str, Array], delays: Any, inputs: SpikeInput | None) -> None:
        """Have delays among these parameters of one's own, and inputs, where they are given."""
        if delays is not None:
            if "weights" not in own:
                raise ValidationError("delays must not be given for a network without weights")
            own["delays"] = read_delays("delays", delays, own["weights"], self.synapses, self._sparse)
        self.inputs = None if inputs is None else part("inputs", inputs)
        self._check_inputs(self.inputs)

    def _check_inputs(self, inputs: SpikeInput | None) -> None:
        if inputs is None:
            return
        if inputs.num_neurons != self.num_neurons:
            raise ValidationError(
                f"inputs must be for the network's {self.num_neurons} neurons, got weights for {inputs.num_neurons}"
            )
        if not inputs.variables(self.states).all() and not self._has_arrival:
            raise ValidationError("inputs must name a target: the model has no synapse statement")

    @property
    def _has_arrival(self) -> bool:
        """Whether the model says what a spike does to a target."""
        return bool(self.model.arrival)

    def _parts(self) -> dict[str, Component]:
        """The parts of the model by the argument that names them."""
        parts = {argument: getattr(self, argument) for argument in self.part_classes}
        return {argument: one for argument, one in parts.items() if one is not None}

    def _unite(self, own: Mapping[str, Array]) -> None:
        """Have these parameters of one's own and those of the parts."""
        self._own_names = tuple(own)
        self.parameters = self._united(own, self._parts())
        for name, array in self.parameters.items():
            self._check_shape(name, array)
        self._check_driver(self.driver)

    def _check_driver(self, driver: Driver) -> None:
        """Raise unless the noises that it names are the network's."""
        for name in driver.names if isinstance(driver, NoiseDrivers) else ():
            if name not in self.noise_names:
                known = ", ".join(self.noise_names)
                raise ValidationError(f"driver names the noise {name!r}, and this network has {known}")

    def _united(self, own: Mapping[str, Array], parts: Mapping[str, Component]) -> Arrays:
        """All parameters by name, if no two have the same; a current that nobody hears has none."""
        parts = {argument: one for argument, one in parts.items() if argument != "input_current" or self._hears_current}
        return united(own, self.initial_names, parts)

    @property
    def _hears_current(self) -> bool:
        return bool(self.model.uses_input)

    def _held(self) -> tuple[Any, ...]:
        synapses = self.synapses
        return (
            *(self.model, self.num_neurons, self._sparse, self.parameters),
            *(getattr(self, argument, None) for argument in self.part_classes),
            *synapses.held(),
        )

    # --- shapes -------------------------------------------------------------------------------------------------------

    def _own(self, name: str, value: ArrayLike) -> Array:
        """A value of one of the network's own parameters, checked."""
        return as_real_array(name, value, (0, 1, 2), PER_NEURON)

    def tail(self, name: str, array: Array) -> tuple[int, ...]:
        """Axes of a parameter that belong to one neuron."""
        return ()

    def _check_shape(self, name: str, array: Array) -> None:
        if name in SYNAPTIC:
            return
        try:
            self.slots(name, array, array.shape[0] if self.has_sample_axis(name, array) else 1)
        except ValueError:
            raise ValidationError(
                f"{name} has shape {array.shape}, which does not fit a network of {self.num_neurons} neurons: it must "
                f"be {self._meant(name, array)}"
            ) from None

    def _meant(self, name: str, array: Array) -> str:
        """The shapes that a parameter may have, in words."""
        if name in self.driver.parameters:
            if stem(name) in NUMBERS:
                return "a number"
            if stem(name) == "jump_rate":
                return "one value for all, or one per neuron"
            shapes = "of shape (J,), (N, J) or (S, N, J)" if stem(name) != "driver_values" else PATH_SHAPES
            return f"{shapes}, with N = {self.num_neurons} neurons and C = {self.num_noise_components} noises"
        if self.knot_axes(name, array):
            knots = self.input_current.knots.size
            return f"of shape (M,), (M, N) or (S, M, N), with M = {knots} times and N = {self.num_neurons} neurons"
        return "one value for all, one per neuron, or one per sample and neuron"

    def has_sample_axis(self, name: str, array: Array) -> bool:
        """Whether a parameter, of neurons, has a value for each sample."""
        if name in self.driver.parameters:
            return array.ndim > 2 and array.shape[0] > 1
        return array.ndim == 2 + len(self.tail(name, array)) + self.knot_axes(name, array)

    def knot_axes(self, name: str, array: Array) -> int:
        """How many axes a parameter has for the times of a sampled current: 0 or 1."""
        return int(name in self.input_current.parameters and self.input_current.knots.size > 0)

    def check_samples(self, num_samples: int, extra: Mapping[str, Array]) -> None:
        """Raise unless every parameter fits `num_samples` samples; `extra` are the initial values."""
        for name, array in {**self.parameters, **extra}.items():
            # What has no axis of samples was checked when the network was made.
            if array.ndim == 0 or name in SYNAPTIC or not (name in extra or self.has_sample_axis(name, array)):
                continue
            try:
                self.slots(name, array, num_samples)
            except ValueError:
                raise ValidationError(
                    f"{name} has shape {array.shape}, which does not fit {num_samples} samples of {self.num_neurons} "
                    f"neurons: it must be {self._meant(name, array)}"
                ) from None

    def slots(self, name: str, array: Array, num_samples: int) -> dict[str, Array]:
        """The scalar coefficients that parameter `name` stands for, as views of `array` of shape (S, N[, M]).

        Views, not copies: a broadcast axis has stride 0, so the same strides scatter a gradient back.
        """
        shape = (num_samples, self.num_neurons)
        if name in self.driver.parameters:  # no coefficient of an equation: engines ask the driver's path
            self.driver.check_fit(name, array, *shape, self.num_noise_components)
            return {}
        if name in self.input_current.parameters:
            return {name: self.input_current.slots(name, array, *shape)}
        return {name: np.broadcast_to(array, shape)}

    @property
    def equations(self) -> Any:
        """The model in its parsed form, an :class:`EventSDE`: its ``drift``, ``diffusion``, ``parsed_events``, …; None
        of an :class:`SLIFNetwork`.
        """
        return self.model

    def _repr_latex_(self) -> str | None:
        return None if self.model is None else self.model._repr_latex_()

    # --- what engines ask ---------------------------------------------------------------------------------------------

    @property
    def core(self) -> Core:
        """By which names the Julia core knows the model and its parts."""
        stratonovich = self.model.interpretation == "stratonovich"
        model, current = f"formula_{self.model.key}", self.input_current.kind
        return Core(model, "", current, "", (), False, stratonovich, self._core_driver)

    @property
    def _core_driver(self) -> str:
        """By which name the core knows what drives all noises."""
        if isinstance(self.driver, BrownianMotion):
            return "brownian"
        every = [self.driver.of_noise(noise).terms for noise in self.noise_names]
        brownian = [any(term.kind == "brownian" for term in terms) for terms in every]
        flows = any(term.flows and term.kind != "brownian" for terms in every for term in terms)
        # A path that stands still, between jumps, is one that is sampled.
        return "+".join(["brownian"] * any(brownian) + ["sampled"] * (flows or not all(brownian)))

    @property
    def driver_has_jumps(self) -> bool:
        """Whether the path of any noise jumps."""
        if isinstance(self.driver, BrownianMotion):
            return False
        return any(term.has_jumps for noise in self.noise_names for term in self.driver.of_noise(noise).terms)

    @property
    def noise_names(self) -> tuple[str, ...]:
        """The noises of a neuron by name, as :attr:`driver` may name them."""
        return self.model.noises or ("xi",)

    @property
    def coefficient_names(self) -> tuple[str, ...]:
        """The coefficients of one neuron by the core's names, in any order."""
        return (*self.model.parameters, *self.input_current.parameters)

    @property
    def num_noise_components(self) -> int:
        """How many independent Brownian motions each neuron has a coefficient for; at least 1."""
        return max(1, len(self.model.noises))

    @property
    def has_additive_noise(self) -> bool:
        """Whether the noise does not depend on the state."""
        return bool(self.model.has_additive_noise)

    @property
    def num_events(self) -> int:
        """How many kinds of events a neuron has."""
        return len(self.model.events)

    @property
    def num_variables(self) -> int:
        """How many numbers are a neuron's state: its recorded variables, and what each kind of event remembers."""
        return len(self.states) + self.num_events

    @property
    def has_linear_drift(self) -> bool:
        """Whether it is that of SLIF neurons, which ``exact_ou`` solves exactly."""
        return False

    @property
    def has_commutative_noise(self) -> bool:
        """Whether ∂g_c·g_d = ∂g_d·g_c for every pair of noises, as Milstein's scheme asks."""
        return self.has_additive_noise or _commutes(self.model)

    @property
    def has_crossings(self) -> bool:
        """Whether there is an event that is no hazard's."""
        return any(event.crossing is not None for event in self.model.events)

    def noise_is_diagonal(self, parameters: Mapping[str, Array], num_samples: int) -> bool:
        """Whether each Brownian motion drives one variable, at these values of parameters."""
        return False

    def time_rates(self) -> Array:
        """The fastest rates of neurons, per unit of time, by which steps are judged; empty where nothing is known."""
        return np.empty(0)

    def decay_rates(self) -> dict[str, Array]:
        """By variable, the rates per unit of time at which its equation pulls it back, where they depend on parameters
        alone.
        """
        return {name: -np.asarray(evaluated(node, self.parameters)) for name, node in self.model.slopes.items()}

    def likely_mistakes(self) -> list[str]:
        """What of the network is hardly meant, each with its remedy."""
        return []

    # --- weights ------------------------------------------------------------------------------------------------------

    @property
    def weights(self) -> Any:
        """The weights as they were given: a dense array, or a sparse matrix; None where there are none."""
        return self.like_weights(self.parameters["weights"]) if "weights" in self.parameters else None

    @property
    def weight_values(self) -> Array:
        """The weight of every synapse, in the order of ``synapses.targets``."""
        if "weights" not in self.parameters:
            return np.empty(0)
        return self.synapses.at(self.parameters["weights"])

    def like_weights(self, values: Array) -> Any:
        """Values of the parameters ``"weights"`` or ``"delays"`` in the form in which the weights were given."""
        return like_matrix(values, self.synapses, self._sparse)

    def synapses_of(self, name: str) -> Synapses:
        """The synapses that a parameter of ``SYNAPTIC`` has numbers for."""
        return self.synapses if name in ("weights", "delays") or self.inputs is None else self.inputs.synapses

    def own_entries(self, name: str, array: Array) -> NDArray[np.int64]:
        """Where in the flattened parameter its own numbers stand: of dense matrices those of synapses, else all."""
        if name in SYNAPTIC and array.ndim == 2:
            return self.synapses_of(name).position
        return np.arange(array.size)

    def like_parameter(self, name: str, values: Array) -> Any:
        """Values of a parameter as they were given: those of synapses dense or sparse."""
        if name in ("weights", "delays"):
            return self.like_weights(values)
        if self.inputs is not None and name in self.inputs.parameters:
            return self.inputs.like_weights(values)
        return values

    @property
    def delays(self) -> Any:
        """The delays: a number, or in the form of the weights; None where there are none."""
        return self.like_weights(self.parameters["delays"]) if "delays" in self.parameters else None

    def replace(self: Same, /, **parameters: Any) -> Same:
        """The same network with other values of some parameters.

        Parameters
        ----------
        **parameters : array_like
            Any names of :attr:`parameters`, or the name of a part of the model (``input_current``, ``driver``; of SLIF
            networks ``intensity`` and ``diffusion``, too). Weights of a sparse network may be given as a sparse matrix
            or as its stored values. Dense weights keep the network's synapses, also those whose weight becomes zero.

        Returns
        -------
        Network
            Of the same class.

        Raises
        ------
        ValidationError
            If a name is unknown or a value does not fit.

        Examples
        --------
        >>> import ssnn_py as ssnn
        >>> net = ssnn.SLIFNetwork(weights=np.zeros((2, 2)), input_current=1.0)
        >>> net.replace(input_current=[1.0, 2.0]).parameters["input_current"]
        array([1., 2.])
        """
        unknown = [name for name in parameters if name not in self.parameters and name not in self.part_classes]
        if unknown:
            raise ValidationError(f"unknown parameter {unknown[0]!r}; this network has {', '.join(self.parameters)}")
        if "input_current" in parameters and not self._hears_current:
            raise ValidationError("input_current must not be given for a model whose equations have no I")
        attributes: dict[str, Any] = {
            argument: self._other_part(argument, parameters) for argument in self.part_classes
        }
        if "inputs" in parameters:
            self._check_inputs(attributes["inputs"])
        own = {
            name: self._own(name, parameters[name])
            if name in parameters and name not in SYNAPTIC
            else self.parameters[name]
            for name in self._own_names
        }
        if "weights" in parameters:
            own["weights"], connections = self._other_weights(parameters["weights"])
            attributes |= connections
        if "delays" in own and ("weights" in parameters or "delays" in parameters):
            synapses, sparse = attributes.get("synapses", self.synapses), attributes.get("_sparse", self._sparse)
            own["delays"] = read_delays(
                "delays", parameters.get("delays", own["delays"]), own["weights"], synapses, sparse
            )
        everything = self._united(own, {name: one for name, one in attributes.items() if isinstance(one, Component)})
        if "driver" in parameters:
            self._check_driver(attributes["driver"])
        new = self._changed(**attributes, parameters=everything)
        for name, array in everything.items():
            before = self.parameters.get(name)
            if before is not array and (before is None or before.shape != array.shape):
                new._check_shape(name, array)
        if self.model is not None:
            self.model.check_dead_zones(everything)
        return new

    def _other_part(self, argument: str, parameters: Mapping[str, Any]) -> Component | None:
        """The part of the model with the values among `parameters` that are its own, or the one that stands there in
        its place.
        """
        here: Component | None = getattr(self, argument)
        if here is None:
            return None if argument not in parameters else part(argument, parameters[argument], self.part_classes)
        if parameters.keys().isdisjoint((argument, *here.parameters)):
            return here
        given = parameters.get(argument)
        if argument in parameters and (argument not in here.parameters or isinstance(given, Component)):
            if argument in ("input_current", "driver"):
                given = as_input_current(given) if argument == "input_current" else as_driver(given)
            here = part(argument, given, self.part_classes)
            parameters = {name: value for name, value in parameters.items() if name != argument}
        values = {name: value for name, value in parameters.items() if name in here.parameters}
        return here.replace(**values) if values else here

    def _other_weights(self, weights: Any) -> tuple[Array, dict[str, Any]]:
        """Weights for the same synapses; dense weights where there was no synapse make new ones, which are attributes
        to change.
        """
        values = self.parameters["weights"]
        if hasattr(weights, "tocsr") or (values.ndim == 2 and np.shape(weights) != values.shape):
            (n, _), synapses, values, sparse = read_matrix("weights", weights, True)
            if n != self.num_neurons:
                raise ValidationError(f"weights must keep the network's {self.num_neurons} neurons, got {n}")
            return values, {"synapses": synapses, "_sparse": sparse}
        array = as_real_array("weights", weights, (values.ndim,), f"an array of shape {values.shape}")
        if array.shape != values.shape:
            raise ValidationError(f"weights must have shape {values.shape}, got shape {array.shape}")
        if np.count_nonzero(array) > np.count_nonzero(self.synapses.at(array)):
            return array, {"synapses": read_matrix("weights", array, True)[1]}
        return array, {}

    # --- gradients ----------------------------------------------------------------------------------------------------

    def check_gradients(self, explain: bool = False, wrt: Sequence[str] = ()) -> None:
        """Raise unless spike times and trajectories have pathwise derivatives.

        The conditions (Holberg and Salvi, NeurIPS 2024, assumptions of theorem 3.2), with E the event function, T the
        transition, f the drift and σ the diffusion: (i) the noise does not drive the event, ∇E·σ = 0; (ii) E is crossed
        transversally, ∇E·f ≠ 0; (iii) the transition commutes with the noise, ∇T σ(y) = σ(T(y)); (iv) no event follows
        at once, E(T(y)) ≠ 0; (v) events are finitely many. They are decided from the formulas, by SymPy or, where it
        cannot, at random states.

        Parameters
        ----------
        explain : bool
            Print a table of the conditions first: which hold, and how that was decided.
        wrt : sequence of str, optional
            Parameters that move. Where arrivals of spikes from outside move with them (``"input_times"``,
            ``"input_delays"``), (iii) must hold for these, too.

        Raises
        ------
        NoGradientError
            Naming the condition that fails, the event, and the terms that clash.

        Examples
        --------
        >>> import ssnn_py as ssnn
        >>> hard = ssnn.EventSDE("dv/dt = 1 - v + 0.2*xi", ssnn.Event(hazard="exp(v)", then="v = 0"))
        >>> Network(hard).check_gradients()
        Traceback (most recent call last):
        ssnn_py.errors.NoGradientError: condition (iii) fails for events[0]: ...
        """
        rows = self._condition_rows()
        if explain:
            from .formulas.conditions import Report

            print(Report(rows).table() if rows else "this model has no events: there is nothing to hold")
        failure = next((row for row in rows if row.holds is False), None)
        if failure is not None:
            where = "the synapse" if failure.event is None else f"events[{failure.event}]"
            raise NoGradientError(f"condition {failure.condition} fails for {where}: {failure.explanation}")
        self._check_moving_inputs(wrt)

    def _check_moving_inputs(self, wrt: Sequence[str]) -> None:
        """Raise where arrivals from outside move with these parameters, and do not commute with the noise."""
        moving = [name for name in ("input_times", "input_delays") if name in wrt]
        if self.inputs is None or not moving:
            return
        why = next(filter(None, map(self._clash_of_arrival, self._input_targets())), None)
        if why:
            raise NoGradientError(
                f"condition (iii) fails for spikes from outside, which move with {' and '.join(moving)}: {why}"
            )

    def _input_targets(self) -> list[str | None]:
        """The variables to which spikes from outside are added; None where they do what the model's synapses do."""
        if self.inputs is None:
            return []
        variables = np.unique(self.inputs.variables(self.states))
        return [None if place == 0 else self.states[place - 1] for place in variables]

    def _clash_of_arrival(self, variable: str | None) -> str | None:
        """Why arrivals at a variable do not commute with the noise, if they do not."""
        return cast("str | None", _decided("added", self, variable))

    def _condition_rows(self) -> tuple[Any, ...]:
        """What is known of the conditions; that on arrivals counts where there are synapses."""
        return tuple(
            row for row in _decided("report", self).rows if row.event is not None or self.synapses.targets.size
        )

    def _decisive_values(self) -> tuple[bytes, ...]:
        """What of the parameters' values the conditions may depend on: of a model with crossings all, else which are
        0, ±1, positive or negative.
        """
        arrays = (self.parameters[name] for name in self.model.parameters)
        if self.has_crossings:
            return tuple(array.tobytes() for array in arrays)
        return tuple((np.sign(array) * (1 + (np.abs(array) == 1.0))).astype(np.int8).tobytes() for array in arrays)

    @property
    def longest_delay(self) -> float:
        """How long a spike of one of the neurons is under way to another at most."""
        return longest_delay(self.parameters.get("delays"), self.synapses)

    @property
    def has_delays(self) -> bool:
        """Whether a spike of one of the neurons takes its time to another."""
        return self.longest_delay > 0.0

    def check_unbiased_gradients(self) -> None:
        """Raise unless expectations have unbiased gradients: unless every event is driven by a hazard, and it does not
        matter in which order transitions and arrivals happen.

        A spike that enters or leaves an interval changes an expectation by its density there, which is known for the
        exponential thresholds of a hazard. A potential that reaches a threshold has none.

        Raises
        ------
        NoGradientError
        """
        variables = [*([None] if self.synapses.targets.size else []), *self._input_targets()]
        why = _decided("unbiased", self, *dict.fromkeys(variables))
        if why is not None:
            raise NoGradientError(f"no unbiased gradient: {why}")

    # --- what spikes do -----------------------------------------------------------------------------------------------

    def after_spikes(
        self, states: Mapping[str, Array], saves: NDArray[np.int64], neurons: NDArray[np.int64]
    ) -> dict[str, Array]:
        """Recorded states (S, T, N) with those of sample s at the time ``saves[s]`` as they are after a spike of
        ``neurons[s]``.

        Samples with −1 stay as they are. What spikes do at their targets is in it only where no delay is longer than 0.
        """
        after = {name: states[name].copy() for name in self.states}
        transition, arrival = _spike_formulas(self.model)
        samples = len(next(iter(after.values())))
        slots = {name: self.slots(name, self.parameters[name], samples)[name] for name in self.model.parameters}
        weights, synapses = self.weight_values, self.synapses
        for s in np.flatnonzero(saves >= 0):
            at, k = saves[s], neurons[s]
            targets = slice(synapses.indptr[k], synapses.indptr[k + 1])
            for formulas, who, more in (
                (transition, np.array([k]), []),
                *([] if self.has_delays else [(arrival, synapses.targets[targets], [weights[targets]])]),
            ):
                before = [values[s, at, who] for values in after.values()]
                given = [*before, *(slot[s, who] for slot in slots.values()), *more]
                for values, new in zip(after.values(), formulas(given), strict=True):
                    values[s, at, who] = new
        return after

    def __repr__(self) -> str:
        size = f"{counted(self.num_neurons, 'neuron')}, {counted(self.synapses.targets.size, 'synapse')}"
        return f"Network({size}, variables {', '.join(self.states)}{self._special()})"

    def _special(self) -> str:
        """What few networks have, for their text."""
        parts = ["with delays"] if "delays" in self.parameters else []
        parts += [] if self.inputs is None else [repr(self.inputs)]
        parts += [repr(self.driver)] if self.driver != BrownianMotion() else []
        return "".join(f", {part}" for part in parts)


def part(argument: str, given: Any, classes: Mapping[str, type[Component]] = Network.part_classes) -> Any:
    """`given` itself, if it is of the class that the argument needs."""
    kind = classes[argument]
    if not isinstance(given, kind):
        article = "an" if kind.__name__[0] in "AEIOU" else "a"
        raise ValidationError(f"{argument} must be {article} {kind.__name__}, got {describe(given)}")
    return given


def united(own: Mapping[str, Array], reserved: Sequence[str], parts: Mapping[str, Component]) -> Arrays:
    """All parameters by name, if no two have the same."""
    taken = {*own, *reserved, *parts}
    for argument, one in parts.items():
        taken.discard(argument)  # replace() tells the part and its parameter apart
        if not taken.isdisjoint(one.parameters):
            name = next(name for name in one.parameters if name in taken)
            raise ValidationError(
                f"{argument} must not have a parameter named {name!r}: the network has one of that name already, "
                f"and one value cannot stand for both; got {describe(one)}"
            )
        taken.update({argument, *one.parameters})
    return Arrays(own, *(one.parameters for one in parts.values()))


# What conditions have been found to hold, by question, model and what its parameters are.
_DECIDED: dict[tuple[Any, ...], Any] = {}
_MOST_DECIDED = 256


def _decided(question: str, network: Network, *arrivals: str | None) -> Any:
    """The report on a model from formulas; why it has no unbiased gradients, or an arrival's time has no derivative,
    spikes arriving in these ways. Remembered.
    """
    from .formulas import conditions

    model, parameters = network.model, network.parameters
    key = (question, arrivals, model.key, network._decisive_values())
    if key not in _DECIDED:
        if len(_DECIDED) >= _MOST_DECIDED:
            _DECIDED.clear()
        if question == "report":
            _DECIDED[key] = conditions.report(model, parameters)
        elif question == "added":
            _DECIDED[key] = conditions.added(model, arrivals[0], parameters)
        else:
            _DECIDED[key] = conditions.unbiased(model, parameters, arrivals)
    return _DECIDED[key]


@functools.lru_cache(maxsize=32)
def _spike_formulas(model: EventSDE) -> tuple[Any, Any]:
    """What a spike does to its neuron and to a target: functions of the state, the parameters and, of a target, w."""
    from .formulas.calculus import Calculus
    from .formulas.numpy_code import evaluator

    c = Calculus(model)
    known = [*c.states, *c.parameters]
    own = c.events[0].transition if c.events else c.states
    return evaluator(own, known), evaluator(c.arrival, [*known, c.weight])


@functools.lru_cache(maxsize=64)
def _commutes(model: EventSDE) -> bool:
    from .formulas.calculus import Calculus

    return Calculus(model).noises_commute()
