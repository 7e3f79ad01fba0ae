"""A bootstrap particle filter: the likelihood of recorded spikes where noise or unrecorded neurons hide the state."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from . import engine as engines
from .engine import Cotangents, Problem, RawSolution, Recording, Start
from .engine.reference_noise import threefry, uniform
from .errors import NoGradientError
from .spike_trains import SpikeTrains, packed_spikes

Array = NDArray[np.float64]

# Keeps random numbers of the filter apart from those of simulations, whose samples count from 0.
_SEGMENTS, _RESAMPLING = 2**63 + 1, 2**63 + 2


@dataclass(frozen=True)
class Filtered:
    """What a filter returns, of S recorded samples, each looked at by R filters.

    Attributes
    ----------
    log_likelihoods : ndarray, shape (S, R)
    log_intensities, rescaled : ndarray, shape (S, K)
        Of each recorded spike the logarithm of its predicted intensity, and the integral of the predicted intensity
        since the neuron's last spike; means over the filters.
    rescaled_end : ndarray, shape (S, N)
        That integral from each recorded neuron's last spike to t1.
    effective : float
        The least effective number of particles that a filter had before it resampled.
    """

    log_likelihoods: Array
    log_intensities: Array
    rescaled: Array
    rescaled_end: Array
    effective: float


def filtered(
    problem: Problem, engine: str, samples: int, filters: int, particles: int, resample_every: float
) -> Filtered:
    """Run `filters` filters of `particles` particles for each of the `samples` recorded samples.

    Particles are runs of the network that are clamped to the recording. With W_p their weights, those of a neuron with
    Λ − α = s and λ at its spike, and none between, are multiplied by

        λ_p(τ) · exp(−(s_p(τ)⁺ − s_p(a)⁺))

    where a is the start of the segment or the neuron's last spike; after each segment the mean weight multiplies the
    estimate. Where the effective number 1/ΣW² of a filter has fallen below half of its particles, these are resampled
    systematically. The estimate of the likelihood is unbiased, whatever the number of particles (Del Moral,
    "Feynman-Kac Formulae", 2004, section 7.4), since the decision to resample depends on the past alone. Each segment
    has a key of noise of its own, made of the seed: no two runs see the same numbers.

    Of several neurons the predictions of a segment take its spikes in the order of time, and then that none followed:
    products of these are the likelihood, whatever the order.

    `problem` has ``samples · filters · particles`` samples, in this order, and the recording of `samples`, or one.
    """
    return _Filter(problem, engine, samples, filters, particles).run(resample_every).result()


def filtered_gradients(
    problem: Problem,
    engine: str,
    samples: int,
    filters: int,
    particles: int,
    resample_every: float,
    names: Sequence[str],
) -> tuple[Filtered, dict[str, Array]]:
    r"""The same, and the gradient of the sum over samples of the logarithm of the mean of its filters' estimates.

    With :math:`\ell_p` the log likelihood given the noise along the line of a particle that is there in the end, from
    its ancestor at t0 on, and w_p its share of all filters of its sample, the gradient is
    :math:`\sum_p w_p \, \partial\ell_p`, noise and ancestry frozen. That is Fisher's identity, and what comes of giving
    every child the weight w/⊥w of its parent, ⊥ a copy that does not move: the derivative that this makes of an
    estimate of the likelihood has the likelihood's derivative as its mean, since resampling keeps the means of weighted
    sums (Ścibior and Wood, "Differentiable particle filtering without modifying the forward pass", 2021). That of its
    logarithm has a bias that falls as one over the number of particles. All neurons must be clamped.

    Raises
    ------
    NoGradientError
        If a recorded spike is within the dead zone of a particle: derivatives along its path do not see it leave it.
    """
    run = _Filter(problem, engine, samples, filters, particles, []).run(resample_every)
    return run.result(), run.pull_back(names)


@dataclass(frozen=True, eq=False)
class _Segment:
    """A segment that was run, as its derivatives need it; of G·P particles."""

    problem: Problem
    fired: Array  # (G·P, K), 1 at each recorded spike
    num_spikes: int  # columns of the solution
    parents: NDArray[np.intp] | None  # (G, P), whose children go on after it; None where nothing was resampled


class _Filter:
    """Filters on their way. Arrays of particles have the shape (G, P), G = S·R filters."""

    def __init__(
        self,
        problem: Problem,
        engine: str,
        samples: int,
        filters: int,
        particles: int,
        segments: list[_Segment] | None = None,
    ) -> None:
        assert problem.recording is not None
        self.problem, self.recording, self.engine = problem, problem.recording, engine
        self.segments = segments  # kept for derivatives, where they are asked for
        self.solve: Callable[[Problem], RawSolution] = engines.engine_for(engine, problem).solve
        self.samples, self.filters, self.particles = samples, filters, particles
        self.groups = samples * filters
        self.log_weights = np.full((self.groups, particles), -math.log(particles))
        self.log_likelihoods = np.zeros(self.groups)
        trains, n = self.recording.trains, problem.network.num_neurons
        self.log_intensities, self.rescaled = np.zeros((2, self.groups, trains.times.shape[1]))
        self.since_spike = np.zeros((self.groups, n))
        self.start: Array | None = None
        self.effective = float(particles)

    def run(self, resample_every: float) -> _Filter:
        """To the end, segment after segment; returns itself."""
        problem = self.problem
        steps = max(1, round(min(resample_every, problem.t1 - problem.t0) / problem.dt))
        for segment, first in enumerate(range(0, problem.num_steps, steps)):
            self.advance(segment, first, min(first + steps, problem.num_steps))
        return self

    def advance(self, segment: int, first: int, stop: int) -> None:
        """From one step of the grid to another."""
        problem, last = self.problem, stop == self.problem.num_steps
        a = problem.t0 + first * problem.dt
        b = problem.t1 if last else problem.t0 + stop * problem.dt
        trains, columns = _within(self.recording.trains, a, b)
        rows = trains if len(trains) == 1 else trains[np.repeat(np.arange(self.samples), self.filters * self.particles)]
        inputs = problem.input_spikes
        piece = replace(
            problem,
            t0=a,
            t1=b,
            num_steps=stop - first,
            seed=_key(problem.seed, _SEGMENTS, segment),
            saveat=np.array([b]),
            recording=Recording(rows, self.recording.neurons),
            input_spikes=None if inputs is None else _within(inputs, a, b)[0],
            start=None if self.start is None else Start(self.start),
        )
        solution = self.solve(piece)
        assert solution.at_recorded is not None
        before = self._hazards(self.start)
        self.start = np.stack([*(values[:, 0] for values in solution.states.values()), solution.at_recorded.s])
        at = [
            part.reshape(*self.log_weights.shape, -1)
            for part in (solution.at_recorded.log_hazards, solution.at_recorded.hazards)
        ]
        self._weigh(trains, columns, at[0], at[1], before)
        parents = self._resample(segment, last)
        if self.segments is not None:
            _check_dead_zone(rows, solution.at_recorded.hazards)
            fired = np.broadcast_to(rows.neurons >= 0, solution.at_recorded.hazards.shape).astype(np.float64)
            self.segments.append(_Segment(piece, fired, solution.spike_times.shape[1], parents))

    def _hazards(self, start: Array | None) -> Array:
        """Λ − α of every neuron where it is positive, else 0, (G, P, N)."""
        shape = (*self.log_weights.shape, self.problem.network.num_neurons)
        return np.zeros(shape) if start is None else np.maximum(start[-1], 0.0).reshape(shape)

    def _weigh(
        self, trains: SpikeTrains, columns: NDArray[np.intp], log_hazards: Array, hazards: Array, done: Array
    ) -> None:
        """Multiply weights by what the spikes of a segment, and the lack of others, say of particles."""
        for place in range(trains.times.shape[1]):
            neurons = np.repeat(np.broadcast_to(trains.neurons[:, place], (self.samples,)), self.filters)
            g = np.flatnonzero(neurons >= 0)
            k, column = neurons[g], np.repeat(np.broadcast_to(columns[:, place], (self.samples,)), self.filters)[g]
            s = hazards[g, :, place]
            self._multiply(g, k, -(np.maximum(s, 0.0) - done[g, :, k]))
            done[g, :, k] = 0.0
            log_intensity = np.where(s > 0.0, log_hazards[g, :, place], -np.inf)
            self.log_intensities[g, column] = self._gain(g, log_intensity)
            self.rescaled[g, column], self.since_spike[g, k] = self.since_spike[g, k], 0.0
        ends, everyone = self._hazards(self.start), np.arange(self.groups)
        for k in self.recording.neurons:
            self._multiply(everyone, np.full(self.groups, k), -(ends[..., k] - done[..., k]))

    def _multiply(self, g: NDArray[np.intp], k: NDArray[np.int64], logarithms: Array) -> None:
        """Multiply weights of filters g by the chance of no spike of neuron k."""
        self.since_spike[g, k] -= self._gain(g, logarithms)

    def _gain(self, g: NDArray[np.intp], logarithms: Array) -> Array:
        """Multiply weights of filters g, and normalise them: the logarithm of their mean."""
        weights = self.log_weights[g] + logarithms
        gain = log_sum_exp(weights)
        self.log_likelihoods[g] += gain
        # Where no particle can have made the spike the likelihood is 0, and weights no longer matter.
        possible = np.isfinite(gain)
        weights[~possible], shift = -math.log(self.particles), np.where(possible, gain, 0.0)
        self.log_weights[g] = weights - shift[:, None]
        return gain

    def _resample(self, segment: int, last: bool) -> NDArray[np.intp] | None:
        """Resample where weights have degenerated and something is to come: every particle's parent, if any."""
        weights = np.exp(self.log_weights)
        effective = 1.0 / (weights**2).sum(axis=1)
        self.effective = min(self.effective, float(effective.min()))
        g = np.flatnonzero(effective < self.particles / 2)
        if last or not g.size or self.start is None:
            return None
        words = threefry(
            (np.uint64(self.problem.seed), np.uint64(_RESAMPLING)),
            (np.full(g.size, segment, np.uint64), g.astype(np.uint64)),
        )
        parents = systematic(weights[g], uniform(words[0]))
        start = self.start.reshape(len(self.start), self.groups, self.particles, -1)
        start[:, g] = np.take_along_axis(start[:, g], parents[None, :, :, None], axis=2)
        self.log_weights[g] = -math.log(self.particles)
        everyone = np.tile(np.arange(self.particles), (self.groups, 1))
        everyone[g] = parents
        return everyone

    def pull_back(self, names: Sequence[str]) -> dict[str, Array]:
        """The gradient of the sum over samples of the logarithm of the mean of the filters' estimates."""
        assert self.segments is not None
        assert self.start is not None
        by_sample = self.log_likelihoods.reshape(self.samples, self.filters)
        of_filters = np.exp(by_sample - log_sum_exp(by_sample)[:, None]).reshape(-1, 1)
        shares = of_filters * np.exp(self.log_weights)
        at_end = np.zeros_like(self.start)
        ends = self.start[-1]
        clamped = np.where(self.recording.clamped & (ends > 0.0), -shares.reshape(-1, 1), 0.0)
        at_end[-1] = clamped
        total = {name: np.zeros(self.problem.parameters[name].shape) for name in names}
        engine = engines.load(self.engine)
        for segment in reversed(self.segments):
            if segment.parents is not None:
                rows = segment.parents + np.arange(self.groups)[:, None] * self.particles
                shares, at_end = _to_parents(rows, shares), _to_parents(rows, at_end)
            each = segment.fired * shares.reshape(-1, 1)
            bars = Cotangents(np.zeros((len(each), segment.num_spikes)), log_hazards=each, hazards=-each, at_end=at_end)
            gradients, at_end = engine.pull_back_to_start(replace(segment.problem, executor=None), bars, names)
            for name, gradient in gradients.items():
                total[name] += gradient
        return total

    def result(self) -> Filtered:
        def mean(values: Array) -> Array:
            with np.errstate(invalid="ignore"):
                return np.asarray(values.reshape(self.samples, self.filters, -1).mean(axis=1))

        return Filtered(
            self.log_likelihoods.reshape(self.samples, self.filters),
            mean(self.log_intensities),
            mean(self.rescaled),
            mean(self.since_spike),
            self.effective,
        )


def _to_parents(rows: NDArray[np.intp], values: Array) -> Array:
    """Sums over the children of each particle: of shares (G, P), or of states (M, G·P, N)."""
    if values.ndim == 2:
        total = np.zeros(values.size)
        np.add.at(total, rows.ravel(), values.ravel())
        return total.reshape(values.shape)
    moved = np.zeros_like(values)
    np.add.at(moved.swapaxes(0, 1), rows.ravel(), values.swapaxes(0, 1))
    return moved


def _check_dead_zone(trains: SpikeTrains, hazards: Array) -> None:
    """Raise where a recorded spike is within the dead zone of a particle."""
    early = (trains.neurons >= 0) & (hazards <= 0.0)
    if early.any():
        place = early.any(axis=0).argmax()
        row = int(early[:, place].argmax())
        line = row if len(trains) > 1 else 0
        raise NoGradientError(
            f"the spike of neuron {trains.neurons[line, place]} at t = {trains.times[line, place]:.6g} is within its "
            f"dead zone for {int(early[:, place].sum())} particles: their likelihood is 0, and derivatives along a "
            "path do not see it leave the dead zone. Take a smaller alpha (dead_zone), as 0"
        )


def systematic(weights: Array, u: Array) -> NDArray[np.intp]:
    """Systematic resampling: parents (G, P) for normalised weights (G, P) and one uniform number for each row.

    Particle p has ⌊P·W_p⌋ or ⌈P·W_p⌉ children, on average P·W_p (Kitagawa, J. Comput. Graph. Stat. 5, 1996).

    Examples
    --------
    >>> systematic(np.array([[0.5, 0.0, 0.25, 0.25]]), np.array([0.5]))
    array([[0, 0, 2, 3]])
    """
    groups, particles = weights.shape
    ends = np.cumsum(weights, axis=1)
    ends[:, -1] = 1.0  # whatever rounding has made of it
    rows = np.arange(groups)[:, None]
    points = rows + (np.arange(particles) + u[:, None]) / particles
    found = np.searchsorted((rows + np.minimum(ends, 1.0)).ravel(), points.ravel(), side="right")
    return np.asarray(np.minimum(found.reshape(groups, particles) - rows * particles, particles - 1), dtype=np.intp)


def log_sum_exp(x: Array) -> Array:
    """log Σ exp(x) over the last axis; −inf where all are.

    Examples
    --------
    >>> log_sum_exp(np.array([[1000.0, 1000.0 + np.log(3.0)], [-np.inf, -np.inf]])) - 1000.0
    array([1.38629436,       -inf])
    """
    largest = x.max(axis=-1)
    shift = np.where(np.isfinite(largest), largest, 0.0)
    with np.errstate(divide="ignore"):
        return np.asarray(shift + np.log(np.exp(x - shift[..., None]).sum(axis=-1)))


def _key(seed: int, stream: int, index: int) -> int:
    """A seed of its own for every `index`."""
    words = threefry((np.uint64(seed), np.uint64(stream)), (np.uint64(index), np.uint64(0)))
    return int(words[0])


def _within(trains: SpikeTrains, a: float, b: float) -> tuple[SpikeTrains, NDArray[np.intp]]:
    """Those spikes that come after a, up to b (the first ones at a, too, if that is t0), and where they stood."""
    inside = (trains.times > a if a > trains.t0 else trains.times >= a) & (trains.times <= b) & (trains.neurons >= 0)
    times, neurons, columns = packed_spikes(trains.times, trains.neurons, inside)
    return SpikeTrains.unchecked(times, neurons, trains.num_neurons, a, b), columns
