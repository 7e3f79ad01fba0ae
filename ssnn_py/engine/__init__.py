"""Who computes: the Julia core, or plain NumPy where no Julia can be had. All give the same numbers.

An engine turns a :class:`Problem` into a :class:`RawSolution`, with tangents where directions are given, and pulls
cotangents back to parameters. Nothing above this package knows how.
"""

from __future__ import annotations

import abc
import functools
import itertools
import math
import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..errors import JuliaError, NoGradientError, ValidationError
from ..spike_trains import SpikeTrains
from ..synapses import SYNAPTIC
from ..validation import all_finite, describe
from ..values import Named, Record

if TYPE_CHECKING:
    from ..network import Network
    from .device_arrays import ArrayLibrary

Array = NDArray[np.float64]
ENGINES = ("julia", "reference")


#: Up to here a limit of spikes is the length of a solution's arrays; a larger one is a guard, and they are as long as
#: the most spikes of any sample.
LONGEST_LIMIT = 10_000
#: Of a gradient by forward mode.
DIRECTIONS_AT_ONCE = 64


def grid_tolerance(steps: float) -> float:
    """By how much a number of steps may miss a whole number through rounding; so in ``julia/src/modes/run.jl``."""
    return 1e-9 + 4 * float(np.finfo(np.float64).eps) * steps


@dataclass(frozen=True, eq=False)
class Insertions(Record):
    """One spike per sample that the noise does not make: where another spike could come, and what then follows.

    Attributes
    ----------
    neurons : ndarray of int64, shape (S,)
        Which neuron fires; −1 for none.
    spikes, saves : ndarray of int64, shape (S,)
        Right after which spike of the sample, or at which of the times of ``saveat`` (right after it is recorded); −1
        where not.
    """

    neurons: NDArray[np.int64]
    spikes: NDArray[np.int64]
    saves: NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Recording(Record):
    """Recorded spikes of some neurons, which fire when it says so, and only then.

    Attributes
    ----------
    trains : SpikeTrains
        Of every sample, or one for all; neurons are those of the network.
    neurons : ndarray of int64, shape (R,)
        The neurons that were recorded, in the order in which the user has them.
    """

    trains: SpikeTrains
    neurons: NDArray[np.int64]

    @functools.cached_property
    def clamped(self) -> NDArray[np.bool_]:
        """Of every neuron whether it was recorded, shape (N,)."""
        return np.isin(np.arange(self.trains.num_neurons), self.neurons)


@dataclass(frozen=True, eq=False)
class AtRecordedSpikes(Record):
    """What belongs to the spikes of a recording, and to the end.

    Attributes
    ----------
    log_hazards, hazards : ndarray, shape (S, K)
        Of each recorded spike log λ just before it, and the hazard since its neuron's last spike less the dead zone,
        Λ − α. Tangents have a leading axis over directions. 0 where there is no spike.
    s : ndarray, shape (S, N)
        Λ − α of each clamped neuron at t1, of others less the threshold, too.
    """

    log_hazards: Array
    hazards: Array
    s: Array


@dataclass(frozen=True, eq=False)
class Start(Record):
    """Where a run goes on from another; nothing of it moves with any parameter.

    Attributes
    ----------
    variables : ndarray, shape (M, S, N)
        ``states``, of each crossing whether it is armed, then the integrated hazards less their thresholds.
    step : int
        How many steps of the grid have been taken.
    time : float
        Up to when everything has happened that no neuron's state decides; −inf at t0.
    fired : ndarray of int64, shape (S, N), or None
        How often each neuron has fired; None for not at all.
    spike_times, spike_neurons : ndarray, shape (S, P), or None
        The last spikes, which may still be under way, in the order of time; inf and −1 after the last.
    """

    variables: Array
    step: int = 0
    time: float = -math.inf
    fired: NDArray[np.int64] | None = None
    spike_times: Array | None = None
    spike_neurons: NDArray[np.int64] | None = None


@dataclass(frozen=True, eq=False)
class Problem(Record):
    """One validated simulation: a network, a grid of times, and the noise's key.

    Attributes
    ----------
    network : Network
    t0, t1, dt : float
        The interval and the base step; ``num_steps`` base steps, the last one perhaps shorter (docs/numerics.md).
    num_samples, first_sample : int
        Samples ``first_sample, …, first_sample + num_samples − 1`` are computed; the index is the noise's key.
    seed : int
        0 ≤ seed < 2^64.
    max_spikes : int or None
        A sample stops at its `max_spikes`-th spike; None for no limit.
    initial : mapping of str to ndarray, shape (), (N,) or (S, N)
        Initial values that are not parameters of the network: those that its ``initial_names`` say.
    saveat : ndarray, shape (T,)
        Increasing times at which the network's ``states`` are recorded; may be empty.
    solver : str
    noise_levels : int
        The Brownian path is laid out on noise steps of ``dt · 2^noise_levels``.
    threads : int
        How many threads may compute; the numbers do not depend on it.
    options : mapping
        Further arguments of a solver of DifferentialEquations.jl.
    insertions : Insertions or None
        Spikes that happen besides those of the noise; only where nothing is differentiated.
    input_spikes : SpikeTrains or None
        The spikes on the network's input channels: of every sample, or one for all.
    recording : Recording or None
        To which some of the neurons are clamped.
    start : Start or None
        For a run that goes on from another: where it stands, in the place of the model's state at t0.
    device : str
        Where samples are computed: "cpu", or one of ``engine/devices.py``.
    precision : str
        Of the numbers that a device computes with: "float64" or "float32". Those of the boundary are of double
        precision.
    executor : object or None
        Whose workers compute the samples; none of it belongs to what the problem is.
    """

    network: Network
    t0: float
    t1: float
    dt: float
    num_steps: int
    num_samples: int
    first_sample: int
    seed: int
    max_spikes: int | None
    initial: Mapping[str, Array]
    saveat: Array
    solver: str
    threads: int
    noise_levels: int = 0
    options: Mapping[str, Any] = field(default_factory=dict)
    insertions: Insertions | None = None
    input_spikes: SpikeTrains | None = None
    recording: Recording | None = None
    start: Start | None = None
    device: str = "cpu"
    precision: str = "float64"
    executor: Any = field(default=None, compare=False, repr=False)

    @property
    def stratonovich(self) -> bool:
        """In whose sense solvers take a diffusion that depends on the state. Along paths that have no quadratic
        variation the senses are one: then it is that of the solver's own formula, which needs no correction.
        """
        core = self.network.core
        return core.stratonovich if "brownian" in core.driver else self.solver != "euler_maruyama"

    @property
    def begin(self) -> float:
        """Where what is computed begins: t0, or where a run goes on from another."""
        return self.t0 if self.start is None or self.start.step == 0 else self.start.time

    @property
    def last_is_shorter(self) -> bool:
        """Whether the last step of the grid is shorter than the others."""
        steps = (self.t1 - self.t0) / self.dt
        return self.num_steps - steps > grid_tolerance(steps)

    @property
    def num_columns(self) -> int | None:
        """K, the length of a solution's arrays of spikes; None where it is the most spikes of any sample."""
        limit = self.max_spikes
        return limit if limit is not None and limit <= LONGEST_LIMIT else None

    @property
    def parameters(self) -> dict[str, Array]:
        """All that one may differentiate with respect to: the network's parameters, initial values, times of inputs."""
        times = {} if self.input_spikes is None else {"input_times": self.input_spikes.times}
        return {**self.network.parameters, **self.initial, **times}

    def samples_own(self, name: str) -> bool:
        """Whether the gradient by that parameter is of each sample by itself."""
        if name in self.initial:
            return self.initial[name].ndim == 2
        if name == "input_times":
            return True
        return name not in SYNAPTIC and self.network.has_sample_axis(name, self.network.parameters[name])


@dataclass(frozen=True, eq=False)
class Tangents(Record):
    """Derivatives of a solution in P directions.

    Attributes
    ----------
    spike_times : ndarray, shape (P, S, K)
        0 where there is no spike.
    states : mapping of str to ndarray, shape (P, S, T, N)
        Of the recorded variables.
    s : ndarray, shape (P, S, N)
        Of each neuron's integrated hazard at t1, where a spike could come there: where the hazard Λ since its last
        spike exceeds its dead zone α. 0 elsewhere, and in truncated samples.
    s_at_saves : ndarray, shape (P, S, T, N)
        Likewise at the times of ``saveat``.
    s_at_insertions : ndarray, shape (P, S)
        Likewise of the neuron of ``insertions``, at the spike named there.
    log_hazards, hazards : ndarray, shape (P, S, K), or None
        At the spikes of a recording (:class:`AtRecordedSpikes`).
    at_end : ndarray, shape (P, M, S, N), or None
        Of the whole state at t1, laid out as `Problem.start`; where `start` moves.
    """

    spike_times: Array
    states: Mapping[str, Array]
    s: Array
    s_at_saves: Array
    s_at_insertions: Array
    log_hazards: Array | None = None
    hazards: Array | None = None
    at_end: Array | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "states", Named(self.states))

    @property
    def v(self) -> Array:
        return self.states["v"]

    @property
    def i(self) -> Array:
        return self.states["i"]


@dataclass(frozen=True, eq=False)
class RawSolution(Record):
    """What an engine returns. K is `Problem.num_columns`, or the most spikes of any sample where that is None."""

    spike_times: Array  # (S, K), inf where there is no spike
    spike_neurons: NDArray[np.int64]  # (S, K), −1 where there is no spike
    num_spikes: NDArray[np.int64]  # (S,)
    truncated: NDArray[np.bool_]  # (S,)
    states: Mapping[str, Array]  # of every recorded variable, (S, T, N)
    tangents: Tangents | None = field(default=None)
    spike_events: NDArray[np.int64] | None = field(default=None)  # (S, K), where neurons have several events
    at_recorded: AtRecordedSpikes | None = field(default=None)  # where neurons are clamped
    last_state: Array | None = field(default=None)  # `Start.variables` at t1; NaN in truncated samples

    def __post_init__(self) -> None:
        object.__setattr__(self, "states", Named(self.states))

    @property
    def v(self) -> Array:
        return self.states["v"]

    @property
    def i(self) -> Array:
        return self.states["i"]


@dataclass(frozen=True, eq=False)
class Cotangents(Record):
    """Derivatives of a scalar with respect to a solution; None where it does not depend on that part.

    ``entries`` (S, N), ``entries_at_saves`` (S, T, N) and ``entries_at_insertions`` (S,) belong to the integrated
    hazards of :class:`Tangents`: what a spike would change that comes there (docs/gradients.md). ``log_hazards`` and
    ``hazards`` (S, K) belong to the spikes of a recording. ``at_end`` (M, S, N) belongs to the whole state at t1, laid
    out as `Problem.start`: what a run that goes on from there makes of it.
    """

    spike_times: Array | None = None  # (S, K)
    states: Mapping[str, Array] = field(default_factory=dict)  # of recorded variables, (S, T, N)
    entries: Array | None = None
    entries_at_saves: Array | None = None
    entries_at_insertions: Array | None = None
    insertions: Insertions | None = None
    log_hazards: Array | None = None
    hazards: Array | None = None
    at_end: Array | None = None


def not_finite_because(problem: Problem) -> str:
    """Why a solution is no longer finite where the input current is to blame, or may be; else nothing."""
    network, shape = problem.network, (problem.num_samples, problem.network.num_neurons)
    current = network.input_current
    slots = {name: current.slots(name, array, *shape) for name, array in current.parameters.items()}
    for n in range(min(problem.num_steps, 10_000)):
        t = problem.t0 + n * problem.dt
        try:
            value = np.asarray(current.value(np.asarray(t), **slots))
        except ValidationError:  # Julia alone can compute it
            return (
                f"input_current gives no number somewhere, {describe(current)}, or dt = {problem.dt} is too large for "
                "the rates of the equations, or a parameter is too large"
            )
        if not np.isfinite(value).all():
            wrong = value[~np.isfinite(value)].flat[0]
            return f"input_current is {wrong} at t = {t:.6g}, {describe(current)}"
    return ""


#: As in ``julia/src/modes/run.jl``: neurons that excite each other may have so many spikes in a step, on average, or as
#: many more as cost no more than this work.
MAX_MEAN_SPIKES_IN_STEP, RUNAWAY_WORK = 5, 1_000_000


def spike_limit(problem: Problem) -> float:
    """How many spikes all neurons of a sample together may have within one step."""
    neurons, targets = problem.network.num_neurons, problem.network.synapses.targets.size
    if targets == 0:
        return math.inf
    return max(MAX_MEAN_SPIKES_IN_STEP * neurons, RUNAWAY_WORK // (neurons + -(-targets // neurons)))


def with_cause_of_runaway(said: str, problem: Problem) -> str:
    """An error of too many spikes in a step, and what lets them be so many where neurons excite each other."""
    network = problem.network
    if not network.synapses.targets.size:
        return said
    values = network.weight_values
    sources = np.repeat(np.arange(network.num_neurons), np.diff(network.synapses.indptr))
    sums = np.bincount(sources, values, network.num_neurons)
    slif = network.core.model == "slif"
    decay, pause = ("larger mu2", "a larger alpha") if slif else ("synapses that decay faster", "a larger dead zone")
    perhaps = "" if said.startswith("excitation runs away") else "excitation may run away, where "
    return (
        f"{said}: {perhaps}each spike lets others follow at once. The largest of the weights is {values.max():.4g}, "
        f"and all that leave a neuron add up to {sums.max():.4g}: take smaller weights, or negative ones for "
        f"inhibition, {decay}, {pause}, or a smaller dt, which allows as many spikes in a shorter time. max_spikes "
        "ends a sample without an error"
    )


class Engine(abc.ABC):
    """Base class of engines."""

    name: str

    @abc.abstractmethod
    def solve(
        self, problem: Problem, directions: Mapping[str, Array] | None = None, insertions: Insertions | None = None
    ) -> RawSolution:
        """Solve, and differentiate in P directions where `directions` maps names of parameters to arrays (P, *shape).

        Parameters that are not named do not move. `insertions` says at which spikes hazards are differentiated, too.
        """

    def pull_back(self, problem: Problem, cotangents: Cotangents, wrt: Sequence[str]) -> dict[str, Array]:
        """Gradient with respect to the parameters `wrt`, each shaped like the parameter.

        This general version differentiates forward, in the directions of all coordinates, many in one solve.
        """
        shapes = [problem.parameters[name].shape for name in wrt]
        edges = np.cumsum([0, *map(math.prod, shapes)])
        gradient = np.zeros(edges[-1])
        for start in range(0, gradient.size, DIRECTIONS_AT_ONCE):
            chunk = np.arange(start, min(start + DIRECTIONS_AT_ONCE, gradient.size))
            directions = {}
            for name, shape, (first, stop) in zip(wrt, shapes, itertools.pairwise(edges), strict=True):
                if first <= chunk[-1] and chunk[0] < stop:
                    block = chunk[:, np.newaxis] == np.arange(first, stop)
                    directions[name] = block.astype(np.float64).reshape(-1, *shape)
            tangents = self.solve(problem, directions, cotangents.insertions).tangents
            assert tangents is not None
            gradient[chunk] = contract(cotangents, tangents)
        return {
            name: gradient[first:stop].reshape(shape)
            for name, shape, (first, stop) in zip(wrt, shapes, itertools.pairwise(edges), strict=True)
        }

    def pull_back_to_start(
        self, problem: Problem, cotangents: Cotangents, wrt: Sequence[str]
    ) -> tuple[dict[str, Array], Array]:
        """The same, and the cotangent of the state at t0, laid out as the variables of `Problem.start`, which must be
        given for that: 0 where it is not. Of problems all of whose neurons are clamped.
        """
        gradients, shape = self.pull_back(problem, cotangents, wrt), (problem.num_samples, problem.network.num_neurons)
        at_start = np.zeros((len(problem.network.states) + 1, *shape))
        if problem.start is None:
            return gradients, at_start
        # Samples do not know of each other: each direction moves one variable of one neuron in all of them.
        places = list(np.ndindex(len(at_start), shape[1]))
        for start in range(0, len(places), DIRECTIONS_AT_ONCE):
            variables, neurons = np.transpose(places[start : start + DIRECTIONS_AT_ONCE])
            block = np.zeros((variables.size, *at_start.shape))
            block[np.arange(variables.size), variables, :, neurons] = 1.0
            tangents = self.solve(problem, {"start": block}).tangents
            assert tangents is not None
            at_start[variables, :, neurons] = _of_samples(cotangents, tangents)
        return gradients, at_start

    def sums_of_chunks(
        self, problem: Problem, cotangents: Cotangents, wrt: Sequence[str], stops: Sequence[int]
    ) -> dict[str, Array]:
        """The gradients summed over chunks of samples that end before `stops`, the last of which is their number: of a
        chunk one sample after the other, of neurons that share a parameter each its own. With a leading axis over
        chunks, unless each sample has its own parameter.
        """
        from .executors import sums_one_by_one

        return sums_one_by_one(self, problem, cotangents, wrt, stops)


# What of the tangents belongs to which cotangents.
_DUALS = (
    ("spike_times", "spike_times"),
    ("entries", "s"),
    ("entries_at_saves", "s_at_saves"),
    ("entries_at_insertions", "s_at_insertions"),
    ("log_hazards", "log_hazards"),
    ("hazards", "hazards"),
    ("at_end", "at_end"),
)


def _of_samples(cotangents: Cotangents, tangents: Tangents) -> Array:
    """⟨cotangents, tangents⟩ of each sample by itself, (P, S), of what belongs to clamped neurons."""
    assert tangents.log_hazards is not None
    assert tangents.hazards is not None
    assert tangents.at_end is not None
    total = np.zeros(tangents.log_hazards.shape[:2])
    for bar, dot in ((cotangents.log_hazards, tangents.log_hazards), (cotangents.hazards, tangents.hazards)):
        total += 0.0 if bar is None else (bar * dot).sum(axis=2)
    return total if cotangents.at_end is None else total + (cotangents.at_end * tangents.at_end).sum(axis=(1, 3))


def contract(cotangents: Cotangents, tangents: Tangents) -> Array:
    """The derivative of the scalar in each of the P directions: ⟨cotangents, tangents⟩."""
    total = np.zeros(tangents.spike_times.shape[0])
    pairs = [(getattr(cotangents, bar), getattr(tangents, dot)) for bar, dot in _DUALS]
    pairs += [(bar, tangents.states[name]) for name, bar in cotangents.states.items()]
    for bar, dot in pairs:
        if bar is not None:
            part = _product(dot, bar)
            if not all(map(math.isfinite, part.flat)):
                # Where there is no spike, or nothing was recorded after a truncation, nothing moves.
                part = _product(dot, np.where(np.isfinite(bar), bar, 0.0))
            total += part
    return total


def check_finite(derivatives: Mapping[str, Array], what: str = "the gradient by") -> None:
    """Raise NoGradientError where derivatives of a solution, which is finite, are not."""
    for name, array in derivatives.items():
        if not all_finite(array):
            raise NoGradientError(
                f"{what} {name} is not finite, though the solution is: a slope of its equations is infinite or "
                "undefined at a state that it comes through, as that of sqrt(x) at 0, an event is met without speed, "
                "or derivatives have grown beyond all numbers"
            )


def _product(dot: Array, bar: Array) -> Array:
    """The inner product of `bar` with each of the P arrays of its shape."""
    count = len(dot)
    return np.asarray(np.dot(dot.reshape(count, bar.size), bar.reshape(bar.size, 1)).reshape(count))


def default_threads() -> int:
    """``SSNN_NUM_THREADS``, else the number of cores that this process may use."""
    given = os.environ.get("SSNN_NUM_THREADS", "").strip()
    if given:
        if not given.isdigit() or int(given) == 0:
            raise ValidationError(f"SSNN_NUM_THREADS must be a positive integer, got {given!r}")
        return int(given)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def resolve(engine: str = "auto") -> str:
    """The name of the engine that `engine` stands for: "julia" or "reference".

    "auto" is ``SSNN_ENGINE`` where that is set, else Julia, else, after one warning, NumPy.

    Raises
    ------
    JuliaError
        If ``SSNN_JULIA`` names a Julia, which then is no matter of choice, and it cannot be started.
    """
    if engine == "auto":
        engine = os.environ.get("SSNN_ENGINE", "").strip().lower() or "auto"
    if engine == "auto":
        return _best_engine()
    if engine not in ENGINES:
        raise ValidationError(f'engine must be "auto" or one of {", ".join(ENGINES)}, got {describe(engine)}')
    return engine


@functools.cache
def _best_engine() -> str:
    from .boot import runtime

    try:
        runtime()
    except JuliaError as error:
        if os.environ.get("SSNN_JULIA", "").strip():
            raise
        warnings.warn(
            f"No Julia: computing with NumPy instead, which gives the same numbers much more slowly. {error} "
            "Run `ssnn setup`, or set SSNN_ENGINE=reference to choose NumPy without this warning.",
            RuntimeWarning,
            stacklevel=4,
        )
        return "reference"
    return "julia"


@functools.cache
def load(name: str) -> Engine:
    """The engine of that name."""
    if name == "reference":
        from .reference import ReferenceEngine

        return ReferenceEngine()
    if name == "sciml":
        from .sciml import SciMLEngine

        return SciMLEngine()
    from .julia import native

    return native()


def checked_device(device: Any, precision: Any = "float64") -> str:
    """`device`, if there is one of that name which computes with numbers of that precision."""
    if isinstance(device, str) and device == "cpu" and isinstance(precision, str) and precision == "float64":
        return device
    from . import devices

    return devices.checked_device(device, precision)


def is_emulation(device: str) -> bool:
    """Whether a device is that of tests."""
    from . import devices

    return devices.is_emulation(device)


def has_double(device: str) -> bool:
    """Whether a device, one that there is, computes with numbers of double precision, too."""
    from . import devices

    return device not in devices.DEVICES or not devices.DEVICES[device].no_double


def check_device(problem: Problem, engine: str) -> None:
    """Raise where the problem's device cannot do what the problem asks of that engine."""
    if problem.device != "cpu":
        from . import devices

        devices.check(problem, engine)


@functools.cache
def _load_device(device: str, precision: str, library: ArrayLibrary | None = None) -> Engine:
    from .devices import DeviceEngine

    return DeviceEngine(device, precision, library)


def engine_for(name: str, problem: Problem, library: ArrayLibrary | None = None) -> Engine:
    """The engine of that name, on the problem's device, or with the workers of its executor where it has one. On a
    device, spikes and recorded values may be arrays of a `library`.
    """
    if problem.device != "cpu":
        check_device(problem, name)
        return _load_device(problem.device, problem.precision, library)
    if problem.executor is None:
        return load(name)
    from .executors import ExecutorEngine

    return ExecutorEngine(name, problem.executor)


def sciml_solvers() -> tuple[str, ...]:
    """Names of the solvers of DifferentialEquations.jl that the engine "sciml" has."""
    from .sciml import SCIML_SOLVERS

    return SCIML_SOLVERS


def core_function(name: str, *argtypes: Any) -> Callable[..., None]:
    """A C-callable function of the core, which ``julia/src/host/boundary.jl`` declares; starts Julia where it does
    not run.

    Raises
    ------
    JuliaError
        If there is no Julia; and, where the function is called, with Julia's message if it fails.
    """
    from .boot import runtime

    return runtime().function(name, *argtypes)


def device_function(device: str, name: str, *argtypes: Any) -> Callable[..., None]:
    """The same of a function whose last argument is the device, which is given, and made ready for it.

    Raises
    ------
    JuliaError
        As :func:`core_function`; and if the device cannot be had.
    """
    from . import devices

    return devices.function_on(device, name, *argtypes)
