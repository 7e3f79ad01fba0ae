"""One call in, one solution out: :func:`simulate` and the :class:`Solution` it returns."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import continuation, sketches
from . import engine as engines
from .clamping import checked_recording
from .engine import AtRecordedSpikes, Cotangents, Problem, RawSolution
from .engine.driver_paths import movers_of_jumps, time_objection
from .engine.workers import Workers, checked_executor
from .errors import LikelyMistakeWarning, NoGradientError, ValidationError, warn_caller
from .network import Network
from .solver_checks import check_solver, engine_of
from .spike_trains import SpikeTrains
from .synapses import SYNAPTIC
from .validation import (
    all_finite,
    as_float,
    as_int,
    as_names,
    as_real_array,
    counted,
    describe,
    is_real,
    require_memory,
)
from .values import Record, frozen

Array = NDArray[np.float64]

# More steps than anyone can wait for; guards against a dt of the wrong unit.
MAX_STEPS = 10**12
# The dyadic nodes of the Brownian path are numbered by 64 bits: these, those below a step, and the steps.
MAX_NOISE_LEVELS = 20


@dataclass(frozen=True, eq=False)
class Solution(Record):
    """Spikes, recorded values and exact gradients of one call of :func:`simulate`.

    Two are equal where they are solutions of equal problems by the same engine, with equal arrays. Copies and pickles
    have the same gradients, in other processes too.

    S is the number of samples, N of neurons, T of recorded times; K is `max_spikes`, or the largest number of spikes of
    any sample where no limit was given, or one above 10,000, which is a guard rather than a length.

    Attributes
    ----------
    spike_times : ndarray, shape (S, K)
        Times of the spikes of all neurons in increasing order; inf where there is no spike.
    spike_neurons : ndarray of int64, shape (S, K)
        Which neuron fired; −1 where there is no spike.
    num_spikes : ndarray of int64, shape (S,)
    truncated : ndarray of bool, shape (S,)
        Whether the sample stopped at `max_spikes` before `t1`. Nothing is known of it after its last spike.
    ts : ndarray, shape (T,)
        The times of `saveat`.
    states : mapping of str to ndarray, shape (S, T, N)
        The state variables at these times, by name, continuous from the right; NaN after the end of a truncated sample.
    v, i : ndarray, shape (S, T, N)
        Membrane potential and synaptic current among them, where the model has variables of these names.
    spike_events : ndarray of int64, shape (S, K)
        Which of the model's events a spike is, from 0; −1 where there is no spike.
    """

    problem: Problem = field(repr=False)
    engine: str
    raw: RawSolution = field(repr=False)

    def __repr__(self) -> str:
        problem = self.problem
        size = f"{counted(problem.num_samples, 'sample')} of {counted(self.network.num_neurons, 'neuron')}"
        cut = int(self.truncated.sum())
        where = f"engine {self.engine!r}" if problem.device == "cpu" else f"device {problem.device!r}"
        where += "" if problem.precision == "float64" else f" with {problem.precision}"
        recorded = f"; {', '.join(self.states)} at {counted(self.ts.size, 'time')}" if self.ts.size else ""
        return (
            f"Solution({size} from {problem.begin:g} to {problem.t1:g} in steps of {problem.dt:g}, {problem.solver}, "
            f"{where}: {counted(int(self.num_spikes.sum()), 'spike')}"
            f"{f', {cut} of the samples cut at max_spikes' if cut else ''}{recorded})"
        )

    def _repr_html_(self) -> str:
        """For notebooks: what it is, and a raster."""
        return sketches.beside_text(repr(self), self.spike_trains.sketch())

    @property
    def spike_times(self) -> Array:
        return self.raw.spike_times

    @property
    def spike_neurons(self) -> NDArray[np.int64]:
        return self.raw.spike_neurons

    @property
    def num_spikes(self) -> NDArray[np.int64]:
        return self.raw.num_spikes

    @property
    def truncated(self) -> NDArray[np.bool_]:
        return self.raw.truncated

    @property
    def ts(self) -> Array:
        return self.problem.saveat

    @property
    def states(self) -> Mapping[str, Array]:
        return self.raw.states

    @property
    def v(self) -> Array:
        return self._state("v")

    @property
    def i(self) -> Array:
        return self._state("i")

    def _state(self, name: str) -> Array:
        if name not in self.states:
            raise AttributeError(f"this model has no variable {name}: states has {', '.join(self.states)}")
        return self.states[name]

    @property
    def spike_events(self) -> NDArray[np.int64]:
        given = self.raw.spike_events
        return np.where(self.spike_neurons < 0, -1, 0) if given is None else given

    @property
    def log_hazards(self) -> Array:
        """log λ just before each spike of `observed`, shape (S, K′), K′ the length of its arrays; 0 where there is
        none.

        Spikes of one time are looked at before any of them has come.
        """
        return self._at_recorded.log_hazards

    @property
    def hazards(self) -> Array:
        """Λ − α at each spike of `observed`, shape (S, K′): what its neuron's hazard has come to since its last spike
        (t0 for the first), less the dead zone; negative where the spike is within it.
        """
        return self._at_recorded.hazards

    @property
    def end_hazards(self) -> Array:
        """Λ − α of the observed neurons at t1, shape (S, N); of others Λ + log U − α, negative until they fire."""
        return self._at_recorded.s

    @property
    def _at_recorded(self) -> AtRecordedSpikes:
        if self.raw.at_recorded is None:
            raise ValidationError("nothing was observed: give simulate a recording (observed)")
        return self.raw.at_recorded

    @property
    def recorded_shape(self) -> tuple[int, int, int]:
        """(S, T, N)."""
        return self.problem.num_samples, self.ts.size, self.network.num_neurons

    @property
    def network(self) -> Network:
        """The network that was simulated."""
        return self.problem.network

    @functools.cached_property
    def spike_trains(self) -> SpikeTrains:
        """The spikes alone, without what made them."""
        return SpikeTrains.unchecked(
            self.spike_times, self.spike_neurons, self.network.num_neurons, self.problem.begin, self.problem.t1
        )

    @property
    def spike_counts(self) -> NDArray[np.int64]:
        """Number of spikes of each neuron, shape (S, N)."""
        return self.spike_trains.spike_counts

    def marcus_lift(self, neurons: ArrayLike | None = None) -> Array:
        """Marcus lift of the spike trains, see :meth:`SpikeTrains.marcus_lift`."""
        return self.spike_trains.marcus_lift(neurons)

    def to_xarray(self) -> Any:
        """The recorded states as an xarray Dataset with named axes; times keep their unit.

        Returns
        -------
        xarray.Dataset
            A variable for each of `states`, with the axes ``sample`` (numbered as the noise is, from `first_sample`),
            ``time`` (of `saveat`) and ``neuron`` (from 0); t0, t1, dt and solver as attributes. Values after the end of
            a truncated sample are NaN. Spikes are not in it.

        Raises
        ------
        ValidationError
            If xarray is not installed, or nothing was recorded (`saveat`).

        Examples
        --------
        >>> solution.to_xarray().v.sel(neuron=0).mean("sample").plot()  # doctest: +SKIP
        """
        from .interop import xarray

        return xarray.write(self)

    def continue_to(
        self,
        t1: float,
        *,
        saveat: ArrayLike | None = None,
        input_spikes: SpikeTrains | None = None,
        threads: int | None = None,
        executor: Any = None,
        progress: bool = False,
    ) -> Solution:
        """Go on from where this solution ends, to the numbers of one run over the whole time.

        The last state, spikes under way and how often each neuron has fired are where it starts from, and noise is
        that of the same steps: so the numbers are the same to the last bit. (Where t1 is a whole number of steps in
        decimal numbers and not in those of the machine, as 0.3 is of 0.1, to rounding.) A solution that was saved goes
        on likewise in another process.

        Parameters
        ----------
        t1 : float
            The new end.
        saveat : float or array_like of shape (T,), optional
            Times at which the state is recorded, after the old end: an increasing array, or a spacing, as from t0.
        input_spikes : SpikeTrains, optional
            Spikes on the input channels after the old end; default those that :func:`simulate` was given.
        threads, executor, progress
            As for :func:`simulate`; default as many threads as before.

        Returns
        -------
        Solution
            From the old end to the new one: ``a.spike_trains.followed_by(b.spike_trains)`` are those of the whole. It
            has no gradients.

        Raises
        ------
        ValidationError
            If the run has something that cannot go on (the message names it): a solver of DifferentialEquations.jl,
            `observed`, `max_spikes`, fractional Brownian motion, a shortened last step, a `device`; or if an argument
            is not what it should be.

        Examples
        --------
        >>> import ssnn_py as ssnn
        >>> net = ssnn.SLIFNetwork([[0.0]], input_current=1.5, sigma=0.25)
        >>> first = ssnn.simulate(net, t1=1.0, dt=0.01, num_samples=4)
        >>> later, whole = first.continue_to(3.0), ssnn.simulate(net, t1=3.0, dt=0.01, num_samples=4)
        >>> first.spike_trains.followed_by(later.spike_trains) == whole.spike_trains
        True
        """
        problem, begin = self.problem, self.problem.t1
        end = continuation.new_end(problem, self.engine, self.raw, t1, "solution")
        times = save_times(saveat, problem.t0, end)
        if saveat is not None and np.ndim(saveat) and times.size and times[0] <= begin:
            raise ValidationError(f"saveat must come after t = {begin}, where the solution ends, got {times[0]}")
        times = times[times > begin]
        _require_room(self.network, problem.num_samples, times)
        onward = continuation.continued(
            problem,
            self.raw,
            input_spikes,
            t1=end,
            num_steps=step_count(problem.t0, end, problem.dt),
            saveat=times,
            threads=problem.threads if threads is None and executor is None else _threads(threads, executor),
            executor=_workers(executor, progress),
        )
        return Solution(onward, self.engine, engines.engine_for(self.engine, onward).solve(onward))

    def _check_begin(self) -> None:
        """Raise where the solution is that of a run that goes on from another, which has no gradients."""
        if self.problem.start is not None:
            raise NoGradientError(
                "no gradient of a run that goes on from another: where it starts would not move with the parameters. "
                "Simulate the whole time at once"
            )

    def vjp(
        self,
        spike_times_bar: ArrayLike | None = None,
        wrt: str | Sequence[str] | None = None,
        *,
        v_bar: ArrayLike | None = None,
        i_bar: ArrayLike | None = None,
        states_bar: Mapping[str, ArrayLike] | None = None,
        entries: ArrayLike | None = None,
        entries_at_saves: ArrayLike | None = None,
        log_hazards_bar: ArrayLike | None = None,
        hazards_bar: ArrayLike | None = None,
    ) -> dict[str, Any]:
        r"""Reverse mode: the gradient of :math:`\sum \bar\tau\,\tau + \sum \bar v\,v + \sum \bar\imath\,i` in the
        parameters.

        With `entries` what spikes change that come or go, too: the gradient of an expectation (docs/gradients.md) gains
        :math:`\sum e_{sk}\,1\{\Lambda_k(t_1)>\alpha_k\}\,\partial_\theta s_k(t_1)`.

        The exact adjoint of the discretised solution, spikes included (docs/numerics.md; Holberg and Salvi, NeurIPS
        2024, theorem 3.2). The solution is computed again with the same noise; the cost does not depend on the number
        of parameters.

        Parameters
        ----------
        spike_times_bar : array_like, shape (S, K), optional
            Cotangents of the spike times; those where there is no spike are ignored.
        wrt : str or sequence of str, optional
            Parameters of the network, or initial values; default all of them, but for times of jumps where there is no
            derivative by them.
        v_bar, i_bar : array_like, shape (S, T, N), optional
            Cotangents of the recorded values; those after the end of a truncated sample are ignored.
        states_bar : mapping of str to array_like, shape (S, T, N), optional
            The same for variables of any name.
        entries : array_like, shape (S, N), optional
            By how much the scalar changes where neuron k of sample s fires once more, at t1.
        entries_at_saves : array_like, shape (S, T, N), optional
            By how much it changes where neuron k fires as the state is recorded, so that the record shows the state
            after its spike. Exact where the scalar is a sum over recorded times; see :func:`value_and_grad` for others.
        log_hazards_bar, hazards_bar : array_like, shape (S, K′), optional
            Cotangents of :attr:`log_hazards` and :attr:`hazards`, at the spikes of `observed`. Those of
            :attr:`end_hazards` of observed neurons, where these are positive, are `entries`.

        Returns
        -------
        dict of str to ndarray
            For each name an array shaped like the parameter (a sparse matrix for sparse weights).

        Raises
        ------
        ValidationError
            If a name is unknown, if a cotangent has the wrong shape, is complex or is not finite where it counts, or if
            one is of recorded values and nothing was recorded.
        NoGradientError
            If the model has no pathwise gradient, or, with `entries`, no unbiased one, or if it is not finite.
        """
        self._check_begin()
        known = self.problem.parameters
        names = tuple(known) if wrt is None else as_names("wrt", wrt, known)
        self.network.check_gradients(wrt=names)
        if wrt is not None:
            warn_where_no_synapse(self.network, names)
        why = time_objection(self.problem, names)
        if why and wrt is not None:
            raise NoGradientError(why)
        if why:
            moving = movers_of_jumps(self.problem, names)
            names = tuple(name for name in names if name not in moving)
        cotangents = self.cotangents(
            spike_times_bar, v_bar, i_bar, entries, entries_at_saves, states_bar, log_hazards_bar, hazards_bar
        )
        if cotangents.entries is not None or cotangents.entries_at_saves is not None:
            self.check_entries(recorded=cotangents.entries_at_saves is not None or bool(cotangents.states))
        gradients = engines.engine_for(self.engine, self.problem).pull_back(self.problem, cotangents, names)
        engines.check_finite(gradients)
        return self.presented(gradients)

    def jvp(self, directions: Mapping[str, Any]) -> Array:
        r"""Forward mode: the derivative of the spike times in one direction of the parameters.

        Parameters
        ----------
        directions : mapping of str to array_like
            For each parameter that moves (of the network, ``"v0"`` or ``"i0"``), its tangent; broadcast to the
            parameter's shape.

        Returns
        -------
        ndarray, shape (S, K)
            ∂τ for every spike; 0 where there is no spike.

        Raises
        ------
        ValidationError
            If a name is unknown or a tangent does not fit its parameter.
        NoGradientError
            If the model has no pathwise gradient, or it is not finite.

        Examples
        --------
        >>> import ssnn_py as ssnn
        >>> net = ssnn.SLIFNetwork([[0.0]], input_current=1.5, intensity=ssnn.ExponentialIntensity(beta=0.0))
        >>> solution = ssnn.simulate(net, t1=5.0, dt=0.01, max_spikes=1, engine="reference")
        >>> tau_dot = solution.jvp({"tau": 1.0})        # at a constant rate 1/τ the spike time is proportional to τ
        >>> bool(np.allclose(tau_dot, solution.spike_times))
        True
        """
        return np.asarray(self.tangents(directions).spike_times[0])

    def tangents(self, directions: Mapping[str, Any]) -> engines.Tangents:
        """Like :meth:`jvp`, for recorded values and integrated hazards too.

        Returns an object with ``spike_times`` (1, S, K), ``v`` and ``i`` (1, S, T, N), and ``s`` (1, S, N) and
        ``s_at_saves`` (1, S, T, N), the tangents of the integrated hazards at t1 and at the recorded times, 0 where no
        spike could come (:class:`engine.Tangents`).
        """
        if not isinstance(directions, Mapping):
            raise ValidationError(
                'directions must map names of parameters to tangents, as in {"alpha": 1.0}, got '
                f"{describe(directions)}"
            )
        self._check_begin()
        why = time_objection(self.problem, directions)
        if why:
            raise NoGradientError(why)
        blocks = {name: self._direction(name, value)[None] for name, value in directions.items()}
        if not blocks:
            raise ValidationError("directions must name at least one parameter")
        self.network.check_gradients(wrt=tuple(blocks))
        tangents = engines.engine_for(self.engine, self.problem).solve(self.problem, blocks).tangents
        assert tangents is not None
        along = "the derivative in the direction of"
        moved = {"spike_times": tangents.spike_times, **tangents.states, "s": tangents.s}
        for array in moved.values():
            engines.check_finite({", ".join(directions): array}, along)
        return tangents

    def _direction(self, name: str, value: Any) -> Array:
        as_names("directions", (name,), self.problem.parameters)
        shape = self.problem.parameters[name].shape
        if name in SYNAPTIC and hasattr(value, "tocsr"):
            value = _values_at_synapses(value, self.network, name)
        what = (
            f"of shape {shape}, as {name} is, or of one that broadcasts to it" if shape else f"a number, as {name} is"
        )
        array = as_real_array(f"the direction of {name}", value, range(len(shape) + 1), what)
        try:
            return np.ascontiguousarray(np.broadcast_to(array, shape)).reshape(shape)
        except ValueError:
            raise ValidationError(f"the direction of {name} must be {what}, got shape {array.shape}") from None

    @staticmethod
    def _cotangent(name: str, value: ArrayLike, like: Array) -> Array:
        try:
            array = np.asarray(value)
            if not is_real(array):
                raise TypeError
            array = np.asarray(array, dtype=np.float64)
            array = array if array.shape == like.shape else np.broadcast_to(array, like.shape)
        except (TypeError, ValueError):
            raise ValidationError(f"{name} must be real numbers of shape {like.shape}, got {describe(value)}") from None
        counted = np.where(np.isfinite(like), array, 0.0)
        if not all_finite(counted):
            raise ValidationError(f"{name} must be finite wherever there is a spike or a recorded value")
        return counted

    def check_entries(self, recorded: bool = False) -> None:
        """Raise NoGradientError where spikes that come or go have no known density (docs/gradients.md), or change what
        is `recorded` in a way that is not known.
        """
        self.network.check_unbiased_gradients()
        if recorded and self.network.has_delays:
            raise NoGradientError(
                "no unbiased gradient of recorded states with delays: a spike changes them when it arrives, not when "
                "it comes. Take a loss of spikes alone, or a network without delays"
            )
        if self.engine == "sciml":
            raise NoGradientError(
                f"solver {self.problem.solver!r} does not carry the tangents of the hazards that an unbiased gradient "
                "needs: "
                "take a native solver (ssnn.solvers())"
            )

    def cotangents(
        self,
        spike_times_bar: ArrayLike | None = None,
        v_bar: ArrayLike | None = None,
        i_bar: ArrayLike | None = None,
        entries: ArrayLike | None = None,
        entries_at_saves: ArrayLike | None = None,
        states_bar: Mapping[str, ArrayLike] | None = None,
        log_hazards_bar: ArrayLike | None = None,
        hazards_bar: ArrayLike | None = None,
    ) -> Cotangents:
        """Derivatives of a scalar with respect to this solution, checked against its shapes."""
        everywhere = None if entries is None else np.zeros((self.problem.num_samples, self.network.num_neurons))
        if not isinstance(states_bar, Mapping | None):
            raise ValidationError(f"states_bar must map names of variables to arrays, got {describe(states_bar)}")
        given = dict(states_bar or {})
        for name in given:
            if name not in self.states:
                known = ", ".join(self.states)
                raise ValidationError(f"states_bar names an unknown variable {name!r}; this model has {known}")
        for name, bar in (("v", v_bar), ("i", i_bar)) if v_bar is not None or i_bar is not None else ():
            if bar is not None:
                if name not in self.states or name in given:
                    why = "states_bar has it, too" if name in given else f"this model has {', '.join(self.states)}"
                    raise ValidationError(f"{name}_bar must be of a variable {name} of the model; {why}")
                given[name] = bar
        recorded = {f"{name}_bar": bar for name, bar in given.items()}
        if entries_at_saves is not None:
            recorded["entries_at_saves"] = entries_at_saves
        for name, bar in recorded.items() if not self.ts.size else ():
            if np.size(bar):  # what torch and JAX give has no numbers then
                raise ValidationError(f"{name} must not be given where nothing was recorded: give saveat to simulate")
        return Cotangents(
            # The engine learns from this array how many spikes to expect.
            self._cotangent("spike_times_bar", 0.0 if spike_times_bar is None else spike_times_bar, self.spike_times),
            {name: self._cotangent(f"{name}_bar", bar, self.states[name]) for name, bar in given.items()},
            None if entries is None or everywhere is None else self._cotangent("entries", entries, everywhere),
            None
            if entries_at_saves is None
            else self._cotangent("entries_at_saves", entries_at_saves, np.zeros(self.recorded_shape)),
            log_hazards=None
            if log_hazards_bar is None
            else self._cotangent("log_hazards_bar", log_hazards_bar, np.zeros(self.log_hazards.shape)),
            hazards=None
            if hazards_bar is None
            else self._cotangent("hazards_bar", hazards_bar, np.zeros(self.hazards.shape)),
        )

    def presented(self, gradients: dict[str, Array]) -> dict[str, Any]:
        """Gradients in the form in which the parameters were given: sparse weights as a sparse matrix."""
        return {name: self.network.like_parameter(name, gradient) for name, gradient in gradients.items()}


def _values_at_synapses(matrix: Any, network: Network, name: str) -> Array:
    """Entries of a sparse matrix at the synapses of a parameter, in its order."""
    if network.parameters[name].ndim == 2:
        return np.asarray(matrix.toarray(), dtype=np.float64)
    synapses = network.synapses_of(name)
    return np.asarray(matrix.tocsr()[synapses.sources, synapses.targets], dtype=np.float64).ravel()


def simulate(
    network: Network,
    t1: float,
    dt: float,
    *,
    num_samples: int = 1,
    max_spikes: int | None = None,
    seed: int = 0,
    t0: float = 0.0,
    v0: ArrayLike | None = None,
    i0: ArrayLike | None = None,
    solver: str = "euler_maruyama",
    engine: str = "auto",
    saveat: ArrayLike | None = None,
    threads: int | None = None,
    first_sample: int = 0,
    noise_dt: float | None = None,
    input_spikes: SpikeTrains | None = None,
    observed: SpikeTrains | None = None,
    observed_neurons: ArrayLike | None = None,
    device: str = "cpu",
    precision: str = "float64",
    executor: Any = None,
    progress: bool = False,
    **options: Any,
) -> Solution:
    r"""Simulate independent samples of a network from t0 to t1.

    The state follows the equations of :class:`SLIFNetwork`; each neuron starts with integrated hazard log U − α. Spikes
    are located inside the steps. The numbers depend on the seed and the step alone: not on threads, on the engine (to
    rounding), or on which other samples are computed.

    Parameters
    ----------
    network : Network
    t1 : float
        End, in the user's unit of time.
    dt : float
        Base step. If it does not divide t1 − t0 the last step is shorter.
    num_samples : int
        S, the number of independent samples.
    max_spikes : int, optional
        A sample stops at its `max_spikes`-th spike (of all neurons together) and is marked ``truncated``; default: no
        limit. Memory is taken for spikes as they come, so that a large limit costs nothing.
    seed : int
        Key of the noise, from 0 to 2^64 − 1.
    t0 : float
    v0, i0 : array_like, shape (), (N,) or (S, N), optional
        Initial potential and synaptic current; default 0. Of a model from formulas, the parameters of these names.
    solver : str
        A name from :func:`solvers`, or ``"sciml:NAME"`` for one of DifferentialEquations.jl (docs/engines.md).
    engine : {"auto", "julia", "reference", "sciml"}
        Who computes; "auto" is "sciml" for the solvers of that name, else ``SSNN_ENGINE`` where that is set, else
        Julia, else (after a warning) NumPy.
    saveat : float or array_like of shape (T,), optional
        Times at which the state is recorded: an increasing array within [t0, t1], or a spacing from t0. Default: none.
    threads : int, optional
        How many threads may compute, samples or, where there are fewer of them and the network is large, parts of
        each sample; default ``SSNN_NUM_THREADS``, else all of this process's cores. With an `executor`, of each of its
        workers; default 1.
    first_sample : int
        Index of the first sample: two calls with samples 0…63 and 64…127 give what one call gives with 0…127.
    noise_dt : float, optional
        Step on which the Brownian path is laid out, default `dt`; `dt` must be ``noise_dt / 2^k``. Solves with the same
        seed and noise_dt see one and the same path, whatever their dt and solver (docs/numerics.md); the end of a last
        step that is shorter excepted.
    input_spikes : SpikeTrains, optional
        The spikes on the channels of the network's `inputs`: of each of the `num_samples` samples, or one for all. None
        may come before t0.
    observed : SpikeTrains, optional
        A recording, of one sample for all or one for each, over [t0, t1]. Its neurons fire when it says so, and only
        then; their hazards are integrated along the way (:attr:`Solution.log_hazards`, :attr:`Solution.hazards`).
        Neurons that were not recorded run free. Needs neurons with one event, driven by a hazard, and no `max_spikes`.
    observed_neurons : array_like of int, optional
        Which of the network's neurons those of `observed` are; default all, in their order.
    device : {"cpu", "kernels", "cuda", "rocm", "oneapi", "metal"}
        Where samples are computed, and gradients of the solution: by threads on the processor, or by kernels, on the
        processor ("kernels") or a GPU of NVIDIA, AMD, Intel or Apple, once ``ssnn setup`` has installed what that
        takes. The numbers agree to rounding. Native solvers and Brownian motion only; no `executor`, no `observed`, no
        :class:`JuliaFunction`, and no continuation (docs/devices.md).
    precision : {"float64", "float32"}
        Of the numbers that a `device` computes with. In single precision, "float32", results come back in double
        precision, and differ by what docs/devices.md says; "cpu" has double precision only, and "metal" single.
    executor : concurrent.futures.Executor or similar, optional
        Whose workers, other processes or machines, compute the samples: anything with its ``submit``, as a
        ProcessPoolExecutor, a Dask Client or an MPIPoolExecutor. The numbers are the same to the last bit. Gradients of
        the solution are computed there, too. What is large and does not change, as a network's synapses, travels to a
        worker once.
    progress : bool
        Show a progress bar of the tasks of an `executor`.
    **options
        For a solver of DifferentialEquations.jl: its own keyword arguments (``adaptive=True, abstol=1e-6``),
        ``noise_depth``, and ``sensealg`` for reverse mode: "InterpolatingAdjoint", "GaussAdjoint", "QuadratureAdjoint"
        or "BacksolveAdjoint" (docs/engines.md).

    Returns
    -------
    Solution

    Raises
    ------
    ValidationError
        If an argument is not what it should be.
    JuliaError
        If the core fails, for instance because the solution blows up at this dt; or if the `device` cannot be had.

    Warns
    -----
    LikelyMistakeWarning
        Where a step of Euler–Maruyama's or Milstein's scheme is longer than a variable takes to decay, or where
        synaptic currents never do.

    References
    ----------
    Holberg and Salvi, "Exact Gradients for Stochastic Spiking Neural Networks Driven by Rough Signals", NeurIPS 2024.
    What exactly is computed: docs/numerics.md.

    Examples
    --------
    >>> import ssnn_py as ssnn
    >>> net = ssnn.SLIFNetwork([[0.0]], input_current=1.5, sigma=0.25)
    >>> solution = ssnn.simulate(net, t1=5.0, dt=0.01, num_samples=4, max_spikes=3, seed=1)
    >>> solution.spike_times.shape
    (4, 3)
    """
    return solved(
        network,
        t1,
        dt,
        num_samples=num_samples,
        max_spikes=max_spikes,
        seed=seed,
        t0=t0,
        v0=v0,
        i0=i0,
        solver=solver,
        engine=engine,
        saveat=saveat,
        threads=threads,
        first_sample=first_sample,
        noise_dt=noise_dt,
        input_spikes=input_spikes,
        observed=observed,
        observed_neurons=observed_neurons,
        device=device,
        precision=precision,
        executor=executor,
        progress=progress,
        warn=True,
        **options,
    )


def solved(network: Network, t1: float, dt: float, warn: bool = False, **arguments: Any) -> Solution:
    """Like :func:`simulate`; without a word on likely mistakes, for those who take coarse steps on purpose."""
    problem, name = prepare(network, t1, dt, **arguments)
    if warn:
        warn_of_likely_mistakes(problem)
    return Solution(problem, name, engines.engine_for(name, problem).solve(problem))


# Solvers whose step multiplies what decays at a rate r by 1 − r·dt, which is negative beyond r·dt = 1.
_FORWARD = ("euler_maruyama", "milstein")


NO_SYNAPSE = (
    "wrt names 'weights', but the network has no synapse, and so nothing to train: a weight of 0 is none. Start from "
    "small weights, or from a sparse matrix, whose stored zeros are synapses"
)


def warn_where_no_synapse(network: Network, names: Sequence[str]) -> None:
    """Warn of gradients by weights that are none."""
    if "weights" in names and not network.synapses.targets.size:
        warn_caller(f"{NO_SYNAPSE}: the gradient is 0", LikelyMistakeWarning)


def warn_of_likely_mistakes(problem: Problem) -> None:
    """Warn of what can be computed and is hardly meant."""
    network = problem.network
    for name, rates in network.decay_rates().items() if problem.solver in _FORWARD else ():
        fastest = float(np.max(rates, initial=0.0))
        if problem.dt * fastest > 1.0 + 1e-9:
            other = ", or solver='exact_ou'" if network.has_linear_drift and network.has_additive_noise else ""
            warn_caller(
                f"dt = {problem.dt:g} is too large for solver {problem.solver!r}: {name} decays at a rate of "
                f"{fastest:.4g}, so that a step of dt·rate = {problem.dt * fastest:.3g} > 1 overshoots its rest, and "
                f"spikes are far from those of the equations. Take dt = {0.1 / fastest:.1g} or less{other}",
                LikelyMistakeWarning,
            )
    for mistake in network.likely_mistakes():
        warn_caller(mistake, LikelyMistakeWarning)


def prepare(
    network: Network,
    t1: float,
    dt: float,
    *,
    num_samples: int = 1,
    max_spikes: int | None = None,
    seed: int = 0,
    t0: float = 0.0,
    v0: ArrayLike | None = None,
    i0: ArrayLike | None = None,
    solver: str = "euler_maruyama",
    engine: str = "auto",
    saveat: ArrayLike | None = None,
    threads: int | None = None,
    first_sample: int = 0,
    noise_dt: float | None = None,
    input_spikes: SpikeTrains | None = None,
    observed: SpikeTrains | None = None,
    observed_neurons: ArrayLike | None = None,
    device: str = "cpu",
    precision: str = "float64",
    executor: Any = None,
    progress: bool = False,
    any_size: bool = False,
    **options: Any,
) -> tuple[Problem, str]:
    """The checked problem that arguments of :func:`simulate` describe, and the name of the engine to solve it; of
    `any_size`, also if its results do not fit into memory.
    """
    if not isinstance(network, Network):
        raise ValidationError(f"network must be a Network, such as an SLIFNetwork, got {describe(network)}")
    t0, t1 = as_float("t0", t0), as_float("t1", t1)
    dt = as_float("dt", dt, positive=True)
    if t1 <= t0:
        raise ValidationError(f"t1 must be after t0 = {t0}, got {t1}")
    num_steps = step_count(t0, t1, dt)
    num_samples = as_int("num_samples", num_samples, 1, 2**40)
    times = save_times(saveat, t0, t1)
    if not any_size:
        _require_room(network, num_samples, times)
        require_memory("the samples", 64.0 * num_samples, "simulate fewer samples at once")
    network, initial = _initial_values(network, {"v0": v0, "i0": i0})
    network.check_samples(num_samples, initial)
    device = engines.checked_device(device, precision)
    name = engine_of(solver, engine)
    problem = Problem(
        network=network,
        t0=t0,
        t1=t1,
        dt=dt,
        num_steps=num_steps,
        num_samples=num_samples,
        first_sample=as_int("first_sample", first_sample, 0, 2**62),
        seed=as_int("seed", seed, 0, 2**64 - 1),
        max_spikes=None if max_spikes is None else as_int("max_spikes", max_spikes, 1, 2**40),
        initial=initial,
        saveat=times,
        solver=check_solver(solver, name, network, options),
        noise_levels=_noise_levels(dt, noise_dt),
        options=options,
        threads=_threads(threads, executor),
        input_spikes=_input_spikes(network, input_spikes, num_samples, t0),
        recording=checked_recording(network, observed, observed_neurons, num_samples, t0, t1),
        device=device,
        precision=precision,
        executor=_workers(executor, progress),
    )
    check_clamped_problem(problem, name)
    engines.check_device(problem, name)
    return problem, name


def step_count(t0: float, t1: float, dt: float) -> int:
    """How many steps there are from t0 to t1, if that is a number of steps that one can wait for."""
    steps = (t1 - t0) / dt
    if steps > MAX_STEPS or t0 + dt == t0 or t1 - dt == t1:
        raise ValidationError(f"dt must be large enough for the interval [{t0}, {t1}]: {dt} makes {steps:.1e} steps")
    return max(1, math.ceil(steps - engines.grid_tolerance(steps)))


def _require_room(network: Network, num_samples: int, times: Array) -> None:
    """Raise where the values that are to be recorded would not fit."""
    cells = 8.0 * len(network.states) * num_samples * times.size * network.num_neurons
    require_memory("the recorded values", cells, "record fewer times, or simulate fewer samples at once")


def check_clamped_problem(problem: Problem, engine: str) -> None:
    """Raise where a problem has a recording, and something that does not go with it."""
    if problem.recording is None:
        return
    if engine == "sciml":
        raise ValidationError(
            f"observed does not go with solver {problem.solver!r}: take a native solver (ssnn.solvers())"
        )
    if problem.max_spikes is not None:
        raise ValidationError(
            "max_spikes must not be given with observed: what was recorded after a sample's last spike would be lost"
        )


def _workers(executor: Any, progress: bool) -> Workers | None:
    if progress and executor is None:
        raise ValidationError("progress is shown with an executor: without one, all samples are one task")
    return checked_executor(executor, progress)


def _threads(threads: int | None, executor: Any) -> int:
    """How many threads may compute; of each worker of an executor one, if nothing is said."""
    if threads is not None:
        return as_int("threads", threads, 1)
    return engines.default_threads() if executor is None else 1


def _input_spikes(network: Network, given: Any, num_samples: int, t0: float) -> SpikeTrains | None:
    if network.inputs is None:
        if given is not None:
            raise ValidationError("input_spikes must not be given for a network without inputs (SpikeInput)")
        return None
    channels = network.inputs.num_channels
    if not isinstance(given, SpikeTrains):
        raise ValidationError(
            f"input_spikes must be SpikeTrains of the network's {channels} input channels, got {describe(given)}"
        )
    if given.num_neurons != channels or given.num_samples not in (1, num_samples):
        raise ValidationError(
            f"input_spikes must be {channels} channels in {num_samples} samples, or in one for all, got "
            f"{given.num_neurons} channels in {given.num_samples} samples"
        )
    first = float(given.times.min(initial=np.inf))
    if first < t0:
        raise ValidationError(f"input_spikes must not come before t0 = {t0}, got one at {first}")
    return SpikeTrains.unchecked(
        np.ascontiguousarray(given.times), np.ascontiguousarray(given.neurons), channels, given.t0, given.t1
    )


def with_input_times(arguments: Mapping[str, Any], times: ArrayLike | None) -> dict[str, Any]:
    """Arguments of :func:`simulate` whose input spikes come at these `times`, shape (S, K), in the same order."""
    spikes = arguments.get("input_spikes")
    if times is None:
        return dict(arguments)
    if not isinstance(spikes, SpikeTrains) or np.shape(times) != spikes.times.shape:
        what = f"of shape {spikes.times.shape}" if isinstance(spikes, SpikeTrains) else "given with input_spikes"
        raise ValidationError(f"input_times must be {what}, got {describe(times)}")
    moved = SpikeTrains(np.asarray(times, dtype=np.float64), spikes.neurons, spikes.num_neurons, spikes.t0, spikes.t1)
    return {**arguments, "input_spikes": moved}


def renewed(problem: Problem, network: Network, seed: int, initial: Mapping[str, ArrayLike]) -> Problem:
    """A checked problem with other noise and other values of parameters, and of the `initial` values that are named."""
    arrays = {**problem.initial, **{name: _initial(name, value) for name, value in initial.items()}}
    network.check_samples(problem.num_samples, arrays)
    return Problem(**{**vars(problem), "network": network, "seed": seed, "initial": arrays})


def _initial_values(network: Network, given: Mapping[str, ArrayLike | None]) -> tuple[Network, dict[str, Array]]:
    """The network, and its initial values that are no parameters of it; of others it has taken those that are given."""
    named = {name: value for name, value in given.items() if value is not None}
    for name in named:
        if name not in network.initial_names and name not in network.parameters:
            raise ValidationError(
                f"{name} is not an initial value of this network, whose variables are {', '.join(network.states)}"
            )
    own = {name: value for name, value in named.items() if name not in network.initial_names}
    initial = {name: _initial(name, named.get(name, 0.0)) for name in network.initial_names}
    return network.replace(**own) if own else network, initial


def _initial(name: str, value: ArrayLike) -> Array:
    return frozen(as_real_array(name, value, (0, 1, 2), "a number or an array of shape (N,) or (S, N)"))


def _noise_levels(dt: float, noise_dt: float | None) -> int:
    if noise_dt is None:
        return 0
    ratio = as_float("noise_dt", noise_dt, positive=True) / dt
    levels = round(math.log2(ratio))
    if not 0 <= levels <= MAX_NOISE_LEVELS or abs(ratio / 2**levels - 1) > 1e-9:
        raise ValidationError(
            f"noise_dt must be dt·2^k with k from 0 to {MAX_NOISE_LEVELS}, got {noise_dt} for dt = {dt}"
        )
    return levels


def save_times(saveat: ArrayLike | None, t0: float, t1: float) -> Array:
    if saveat is None:
        return np.empty(0)
    if np.ndim(saveat) == 0:
        spacing = as_float("saveat", saveat, positive=True)
        count = (t1 - t0) / spacing
        require_memory("the times of saveat", 8.0 * count, "take a larger spacing")
        return np.asarray(np.minimum(t0 + spacing * np.arange(math.floor(count + 1e-9) + 1), t1))
    times = frozen(as_real_array("saveat", saveat, (1,), "a spacing or an increasing array of times"))
    if times.size and (times[0] < t0 or times[-1] > t1):
        outside = times[0] if times[0] < t0 else times[-1]
        raise ValidationError(f"saveat must lie within [t0, t1] = [{t0}, {t1}], got {outside}")
    falls = np.flatnonzero(np.diff(times) <= 0)
    if falls.size:
        before, after = times[falls[0] : falls[0] + 2]
        raise ValidationError(f"saveat must be strictly increasing, got {before} and then {after}")
    return times
