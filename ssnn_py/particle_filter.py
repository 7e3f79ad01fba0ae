"""A bootstrap particle filter: the likelihood of recorded spikes where noise or unrecorded neurons hide the state."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from . import engine as engines
from .engine import Problem, RawSolution, Recording, Start
from .engine.reference_noise import threefry, uniform
from .spike_trains import SpikeTrains, packed, taken

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
    run = _Filter(problem, engine, samples, filters, particles)
    steps = max(1, round(resample_every / problem.dt))
    for segment, first in enumerate(range(0, problem.num_steps, steps)):
        run.advance(segment, first, min(first + steps, problem.num_steps))
    return run.result()


class _Filter:
    """Filters on their way. Arrays of particles have the shape (G, P), G = S·R filters."""

    def __init__(self, problem: Problem, engine: str, samples: int, filters: int, particles: int) -> None:
        assert problem.recording is not None
        self.problem, self.recording = problem, problem.recording
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
        self._resample(segment)

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

    def _resample(self, segment: int) -> None:
        weights = np.exp(self.log_weights)
        effective = 1.0 / (weights**2).sum(axis=1)
        self.effective = min(self.effective, float(effective.min()))
        g = np.flatnonzero(effective < self.particles / 2)
        if not g.size or self.start is None:
            return
        words = threefry(
            (np.uint64(self.problem.seed), np.uint64(_RESAMPLING)),
            (np.full(g.size, segment, np.uint64), g.astype(np.uint64)),
        )
        parents = systematic(weights[g], uniform(words[0]))
        start = self.start.reshape(len(self.start), self.groups, self.particles, -1)
        start[:, g] = np.take_along_axis(start[:, g], parents[None, :, :, None], axis=2)
        self.log_weights[g] = -math.log(self.particles)

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
    columns = packed(inside)
    times, neurons = taken(trains.times, columns, np.inf), taken(trains.neurons, columns, -1)
    return SpikeTrains.unchecked(times, neurons, trains.num_neurons, a, b), columns
