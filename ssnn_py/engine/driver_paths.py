"""What of a problem's driver is given as a path with knots, laid out for engines: sampled paths as they are, fractional
Brownian motions drawn as docs/numerics.md says.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..drivers import (
    BrownianMotion,
    Driver,
    FractionalBrownianMotion,
    GivenJumps,
    JumpProcess,
    SampledPath,
    spread,
    stem,
)
from ..validation import require_memory
from . import Array, Problem
from .reference_noise import threefry, uniform

#: The purposes of draws, as parts of their counters: fractional Brownian motion, times of jumps, their sizes.
FRACTIONAL, JUMP_TIME, JUMP_SIZE = 8, 9, 10
#: Draws that are made at once.
_BLOCK = 2**18


#: Values at the merged knots, (S or 1, N or 1, C or 1, M), with the components that they belong to.
_Piece = tuple[Array, tuple[int, ...]]


@dataclass(frozen=True, eq=False)
class _OnKnots:
    """Where the merged knots lie between a term's own."""

    left: NDArray[np.intp]
    right_weight: Array
    num_knots: int
    jumps: NDArray[np.bool_] | None = None  # between its knots, where it has any

    def at_knots(self, values: Array) -> Array:
        """Values at the merged knots, (…, M), from those at its own."""
        if self.jumps is not None:
            steps = np.where(self.jumps, 0.0, np.diff(values))
            kept = np.append(True, ~self.jumps)
            values = np.concatenate([np.zeros((*values.shape[:-1], 1)), np.cumsum(steps, axis=-1)], axis=-1)[..., kept]
        if self.left.size == self.num_knots and not self.right_weight[:-1].any():
            return values
        return np.asarray(
            values[..., self.left] * (1.0 - self.right_weight) + values[..., self.left + 1] * self.right_weight
        )

    def transposed(self, bar: Array) -> Array:
        """Cotangents of its own values from those at the merged knots."""
        own = np.zeros((self.num_knots, *bar.shape[:-1]))
        for knots, weight in ((self.left, 1.0 - self.right_weight), (self.left + 1, self.right_weight)):
            np.add.at(own, knots, np.moveaxis(bar * weight, -1, 0))
        own = np.moveaxis(own, 0, -1)
        if self.jumps is None:
            return own
        kept = np.append(True, ~self.jumps)
        every = np.zeros((*own.shape[:-1], kept.size))
        every[..., kept] = own
        steps = np.where(self.jumps, 0.0, np.cumsum(every[..., :0:-1], axis=-1)[..., ::-1])
        return np.diff(np.pad(-steps, [(0, 0)] * (own.ndim - 1) + [(1, 1)]))


@dataclass(frozen=True, eq=False)
class _Sampled:
    """A sampled path in the sum: the values at its knots are a parameter of that name and shape."""

    name: str
    shape: tuple[int, ...]
    components: tuple[int, ...]
    knots: _OnKnots

    @property
    def names(self) -> tuple[str, ...]:
        return (self.name,)

    def along(self, xs: Array) -> _Piece:
        """The path that has these values."""
        values = self.knots.at_knots(spread(xs))
        if values.shape[2] > 1:
            values = values[:, :, list(self.components)]
        return values, self.components

    def moved(self, directions: Mapping[str, Array]) -> list[_Piece]:
        """A tangent of the path for each one of the parameters."""
        return [self.along(xs) for xs in directions[self.name]]

    def pulled_back(self, bar: Array, wanted: Collection[str], num_components: int) -> dict[str, Array]:
        """Gradients by the wanted parameters from those by its components' values at the merged knots."""
        own, like = self.knots.transposed(bar), spread(np.empty(self.shape))
        if like.shape[2] > 1 and own.shape[2] != like.shape[2]:  # of components that are driven otherwise
            padded = np.zeros((*own.shape[:2], num_components, own.shape[3]))
            padded[:, :, list(self.components)] = own
            own = padded
        axes = tuple(axis for axis in range(3) if like.shape[axis] == 1)
        own = np.broadcast_to(own.sum(axis=axes, keepdims=True), like.shape)
        return {self.name: _unspread(own, self.shape)}


@dataclass(frozen=True, eq=False)
class _Fractional:
    """A fractional Brownian motion in the sum, of one noise: `draw` gives it for a scale of 1 on a grid of spacing 1,
    or its derivative by H; `known` says how its parameters are named in the network.
    """

    term: FractionalBrownianMotion
    known: Mapping[str, str]
    components: tuple[int, ...]
    knots: _OnKnots
    step: float
    draw: Callable[[float, bool], Array]

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self.known.values())

    def along(self) -> _Piece:
        scale = self.term.scale * self.step**self.term.hurst
        return self.knots.at_knots(scale * self.draw(self.term.hurst, False)), self.components

    def _slopes(self, names: Collection[str]) -> dict[str, Array]:
        """Derivatives of its values at its own knots, by those of its parameters that are named."""
        return {known: self._slope(own) for own, known in self.known.items() if known in names}

    def _slope(self, name: str) -> Array:
        hurst, scale = self.term.hurst, self.step**self.term.hurst
        by_scale = np.asarray(scale * self.draw(hurst, False))
        if name == "path_scale":
            return by_scale
        return np.asarray(self.term.scale * (scale * self.draw(hurst, True) + math.log(self.step) * by_scale))

    def moved(self, directions: Mapping[str, Array]) -> list[_Piece]:
        slopes = self._slopes(directions)
        count = len(directions[next(iter(slopes))])
        along = [sum(float(directions[name][p]) * slope for name, slope in slopes.items()) for p in range(count)]
        return [(self.knots.at_knots(np.asarray(values)), self.components) for values in along]

    def pulled_back(self, bar: Array, wanted: Collection[str], num_components: int) -> dict[str, Array]:
        own = self.knots.transposed(bar)
        return {name: np.asarray(np.sum(own * slope)) for name, slope in self._slopes(wanted).items()}


@dataclass(frozen=True, eq=False)
class DriverPath:
    """A path that is linear between knots, constant beyond both ends.

    Attributes
    ----------
    times : ndarray, shape (M,)
        The knots, at least two.
    values : ndarray, shape (S or 1, N or 1, C or 1, M)
    brownian : tuple of bool
        Which components have a Brownian motion added to them.
    """

    times: Array
    values: Array
    brownian: tuple[bool, ...]
    _terms: tuple[_Sampled | _Fractional, ...]

    @property
    def parameters(self) -> tuple[str, ...]:
        """What of the network's parameters it is made of."""
        return tuple(dict.fromkeys(name for term in self._terms for name in term.names))

    def spread(self, values: Array, num_samples: int, num_neurons: int) -> Array:
        """A view of (…, S or 1, N or 1, C or 1, M) as (…, S, N, C, M)."""
        shape = (num_samples, num_neurons, len(self.brownian), self.times.size)
        return np.broadcast_to(values, (*values.shape[:-4], *shape))

    def moved(self, directions: Mapping[str, Array]) -> Array | None:
        """Tangents of the values, (P, S or 1, N or 1, C or 1, M), from those of parameters; None where none moves."""
        moving = [term.moved(directions) for term in self._terms if not directions.keys().isdisjoint(term.names)]
        if not moving:
            return None
        return np.stack([_sum_of(list(pieces), len(self.brownian)) for pieces in zip(*moving, strict=True)])

    def pulled_back(self, bar: Array, names: Collection[str]) -> dict[str, Array]:
        """Gradients by those of the parameters that are named, from those by the values, (S, N or 1, C or 1, M)."""
        gradients: dict[str, Array] = {}
        for term in self._terms:
            wanted = [name for name in term.names if name in names]
            if not wanted:
                continue
            part = bar if bar.shape[2] == 1 else bar[:, :, list(term.components)]
            for name, gradient in term.pulled_back(part, wanted, len(self.brownian)).items():
                gradients[name] = gradients.get(name, 0.0) + gradient
        return gradients


def _unspread(values: Array, shape: tuple[int, ...]) -> Array:
    """The inverse of :func:`spread`."""
    if len(shape) == 1:
        return np.asarray(values[0, 0, 0])
    if len(shape) == 2:
        return np.asarray(values[0, :, 0].T)
    moved = np.moveaxis(values, -1, 1)
    return np.asarray(moved if len(shape) == 4 else moved[..., 0])


def _sum_of(parts: list[_Piece], num_components: int) -> Array:
    """Their sum over all components; each comes with those that it belongs to."""
    shapes = [values.shape for values, _ in parts]
    everywhere = all(len(components) == num_components for _, components in parts)
    alike = everywhere and all(shape[2] == 1 for shape in shapes)
    outer = tuple(max(shape[axis] for shape in shapes) for axis in range(2))
    if len(parts) == 1 and everywhere:
        return np.ascontiguousarray(parts[0][0])
    total = np.zeros((*outer, 1 if alike else num_components, shapes[0][3]))
    for values, components in parts:
        if alike:
            total += values
        else:
            total[:, :, list(components)] += values
    return total


def driver_path(problem: Problem) -> DriverPath | None:
    """The path that the problem's driver has besides Brownian motion and jumps; None where it has none."""
    network = problem.network
    if network.core.driver == "brownian":
        return None
    noises = network.noise_names
    # A sampled path of several noises is one term, on all their components; of fractional Brownian motions each has its
    # own, and its place among those of its noise.
    found: dict[tuple[str, int, int], tuple[Driver, dict[str, str], list[int]]] = {}
    brownian = [False] * len(noises)
    for c, noise in enumerate(noises):
        fractional = 0
        for term, names in network.driver.named_terms(noise):
            if isinstance(term, BrownianMotion):
                brownian[c] = True
            elif isinstance(term, FractionalBrownianMotion):
                found["", c, fractional] = (term, names, [c])
                fractional += 1
            elif isinstance(term, SampledPath) and term.flows:
                found.setdefault((names["driver_values"], 0, 0), (term, names, []))[2].append(c)
    if not found:  # a path that stands still between its jumps
        still = np.zeros((1, 1, 1, 2))
        return DriverPath(np.array([problem.t0, problem.t1]), still, tuple(brownian), ())
    grid = _noise_grid(problem)
    knots = [_knots(term) if isinstance(term, SampledPath) else grid for term, *_ in found.values()]
    times = knots[0] if all(np.array_equal(part, knots[0]) for part in knots) else np.unique(np.concatenate(knots))
    parts: list[_Piece] = []
    terms: list[_Sampled | _Fractional] = []
    for ((_, c, ordinal), (term, names, components)), own in zip(found.items(), knots, strict=True):
        on_knots = _OnKnots(*_places(own, times), own.size, _jumps_of(term))
        if isinstance(term, FractionalBrownianMotion):
            one = _fractional(problem, term, names, c, ordinal, grid.size - 1, on_knots)
            parts.append(one.along())
            terms.append(one)
        else:
            xs = term.parameters["driver_values"]
            sampled = _Sampled(names["driver_values"], xs.shape, tuple(components), on_knots)
            terms.append(sampled)
            parts.append(sampled.along(xs))
    return DriverPath(times, _sum_of(parts, len(noises)), tuple(brownian), tuple(terms))


def _knots(term: SampledPath) -> Array:
    """The knots of what is continuous of a path."""
    return term.ts[np.append(True, ~term.jumps)] if term.has_jumps else term.ts


def _jumps_of(term: Driver) -> NDArray[np.bool_] | None:
    """Whether it jumps from a knot to the next one; None where it never does."""
    return term.jumps if isinstance(term, SampledPath) and term.has_jumps else None


def _places(own: Array, times: Array) -> tuple[NDArray[np.intp], Array]:
    """Of each time the knot to its left, and the weight of the next one."""
    left = np.clip(np.searchsorted(own, times, side="right") - 1, 0, own.size - 2)
    weight = np.clip((times - own[left]) / (own[left + 1] - own[left]), 0.0, 1.0)
    if own is times:
        left, weight = np.arange(own.size), np.zeros(own.size)
        left[-1], weight[-1] = own.size - 2, 1.0
    return left, weight


# --- jumps ------------------------------------------------------------------------------------------------------------


class _Source(NamedTuple):
    """What jumps have of a parameter: their places among all jumps, the noise, where in the parameter, and how much."""

    name: str
    shape: tuple[int, ...]
    entries: NDArray[np.int64]
    component: int
    places: NDArray[np.int64]
    factors: Array


@dataclass(frozen=True, eq=False)
class DriverJumps:
    """The jumps of a driver within (t0, t1], those of one sample after the other, in the order of time and of neurons.

    Attributes
    ----------
    times : ndarray, shape (J,)
    neurons : ndarray of int64, shape (J,)
    sizes : ndarray, shape (J, C)
        How far the path of every noise jumps.
    first, counts : ndarray of int64, shape (S,)
        Where those of a sample begin, and how many there are; samples may share theirs.
    """

    times: Array
    neurons: NDArray[np.int64]
    sizes: Array
    first: NDArray[np.int64]
    counts: NDArray[np.int64]
    _sizes: tuple[_Source, ...]
    _times: tuple[_Source, ...]
    _fixed: NDArray[np.int64]  # jumps whose times nothing moves

    @property
    def parameters(self) -> tuple[str, ...]:
        """What of the network's parameters they are made of."""
        return tuple(dict.fromkeys(source.name for source in self._sizes + self._times))

    def moved_sizes(self, directions: Mapping[str, Array]) -> Array | None:
        """Tangents of the sizes, (P, J, C), from those of parameters; None where none moves."""
        return _moved(self._sizes, self.sizes.shape, directions)

    def moved_times(self, directions: Mapping[str, Array]) -> Array | None:
        """The same of the times, (P, J)."""
        moved = _moved(self._times, (self.times.size, 1), directions)
        return None if moved is None else moved[..., 0]

    def room_for_gradients(self, names: Sequence[str]) -> tuple[Array | None, Array | None, NDArray[np.int64]]:
        """Zeros for gradients by the sizes, (R, C), and by the times, (R,), if `names` ask for them, and the first row
        of every sample: none shares one with another.
        """
        total, num_components = int(self.counts.sum()), self.sizes.shape[1]
        require_memory("the driver's gradient", 8.0 * total * (num_components + 1), "simulate fewer samples at once")
        wanted = (not {source.name for source in part}.isdisjoint(names) for part in (self._sizes, self._times))
        sizes, times = (
            np.zeros(shape) if one else None
            for shape, one in zip(((total, num_components), (total,)), wanted, strict=True)
        )
        return sizes, times, np.cumsum(self.counts) - self.counts

    def pulled_back(self, sizes_bar: Array | None, times_bar: Array | None) -> dict[str, Array]:
        """Gradients by the parameters from those that :meth:`room_for_gradients` has room for."""
        gradients: dict[str, Array] = {}
        for sources, bar in ((self._sizes, sizes_bar), (self._times, times_bar)):
            if bar is None:
                continue
            bar = bar.reshape(len(bar), -1)
            if len(bar) != self.times.size:  # samples that share their jumps
                bar = bar.reshape(len(self.counts), self.times.size, -1).sum(axis=0)
            for name, shape, entries, component, places, factors in sources:
                flat = gradients.setdefault(name, np.zeros(shape)).reshape(-1)
                np.add.at(flat, places, factors * bar[entries, component])
        return gradients

    def tie(self, name: str) -> int | None:
        """A jump of which an element of the parameter `name` moves only a part in time: two jumps of a neuron that come
        at one time are one. None if there is none.
        """
        times = np.bincount(
            np.concatenate([self._fixed, *(source.entries for source in self._times)]), minlength=self.times.size
        )
        mine = (source.entries for source in self._times if source.name == name)
        return next((int(entry) for entries in mine for entry in entries[times[entries] > 1]), None)


def _moved(sources: tuple[_Source, ...], shape: tuple[int, int], directions: Mapping[str, Array]) -> Array | None:
    moving = [source for source in sources if source.name in directions]
    if not moving:
        return None
    tangents = np.zeros((len(directions[moving[0].name]), *shape))
    for name, _, entries, component, places, factors in moving:
        for tangent, direction in zip(tangents, directions[name], strict=True):
            np.add.at(tangent[:, component], entries, factors * direction.reshape(-1)[places])
    return tangents


class _Found(NamedTuple):
    """Jumps of one noise: samples (or 0 for all), times, neurons, sizes; the place in a parameter of which a size is,
    and of that whose value is subtracted from it (−1 for none); the place of the parameter that moves a time (−1 for
    none), and its derivative.
    """

    rows: NDArray[np.int64]
    times: Array
    neurons: NDArray[np.int64]
    sizes: Array
    plus: NDArray[np.int64]
    minus: NDArray[np.int64]
    mover: NDArray[np.int64]
    speed: Array

    def at(self, which: Any) -> _Found:
        return _Found(*(column[which] for column in self))


class _Part(NamedTuple):
    """Jumps of one term of one noise, whether samples share them, and by which parameters they are made; `slopes` are
    the derivatives of their sizes by parameters that are numbers.
    """

    component: int
    shared: bool
    found: _Found
    size_name: str = ""
    size_shape: tuple[int, ...] = ()
    time_name: str = ""
    time_shape: tuple[int, ...] = ()
    slopes: Mapping[str, Array] = {}


def driver_jumps(problem: Problem) -> DriverJumps | None:
    """The jumps that the problem's driver has; None where it can have none."""
    network = problem.network
    if not network.driver_has_jumps:
        return None
    parts = [part for c, noise in enumerate(network.noise_names) for part in _parts(problem, noise, c)]
    shared = all(part.shared for part in parts)
    samples = 1 if shared else problem.num_samples
    founds = [_repeated(part.found, samples if part.shared else 1) for part in parts]
    rows, times, neurons = (np.concatenate([found[n] for found in founds]) for n in range(3))
    order = np.lexsort((neurons, times, rows))
    keys = np.stack([rows[order], times[order], neurons[order]])
    begins = np.append(True, (keys[:, 1:] != keys[:, :-1]).any(axis=0)) if order.size else np.zeros(0, dtype=bool)
    entry = np.empty(order.size, dtype=np.int64)
    entry[order] = np.cumsum(begins) - 1
    kept = order[begins]
    sizes = np.zeros((kept.size, len(network.noise_names)))
    of_sizes: list[_Source] = []
    of_times: dict[str, list[tuple[NDArray[np.int64], _Part, _Found]]] = {}
    fixed, start = [np.zeros(0, dtype=np.int64)], 0
    for part, found in zip(parts, founds, strict=True):
        entries = entry[start : start + found.times.size]
        start += found.times.size
        np.add.at(sizes[:, part.component], entries, found.sizes)
        if part.size_name:
            for places, sign in ((found.plus, 1.0), (found.minus, -1.0)):
                of, where = entries[places >= 0], places[places >= 0]
                one = part.size_name, part.size_shape, of, part.component, where, np.full(of.size, sign)
                of_sizes.append(_Source(*one))
        first_place = np.zeros(entries.size, dtype=np.int64)
        of_sizes += [_Source(name, (), entries, part.component, first_place, s) for name, s in part.slopes.items()]
        if part.time_name:
            of_times.setdefault(part.time_name, []).append((entries, part, found))
        else:
            fixed.append(entries)
    counts = np.bincount(rows[kept], minlength=samples).astype(np.int64)
    first = np.cumsum(counts) - counts
    if shared:
        first, counts = (np.repeat(part, problem.num_samples) for part in (first, counts))
    moving, still = tuple(_mover(name, jumps) for name, jumps in of_times.items()), np.concatenate(fixed)
    where = neurons[kept].astype(np.int64)
    return DriverJumps(times[kept], where, sizes, first, counts, tuple(of_sizes), moving, still)


def _mover(name: str, jumps: list[tuple[NDArray[np.int64], _Part, _Found]]) -> _Source:
    """What moves jumps in time; of several noises of a neuron that jump at one time of one parameter, once."""
    entries = np.concatenate([entries for entries, *_ in jumps])
    places, speeds = (np.concatenate([found[n] for *_, found in jumps]) for n in (6, 7))
    _, once = np.unique(np.stack([entries, places]), axis=1, return_index=True)
    return _Source(name, jumps[0][1].time_shape, entries[once], 0, places[once], speeds[once])


def _parts(problem: Problem, noise: str, component: int) -> Iterator[_Part]:
    """Of one noise."""
    ordinal = 0
    for term, names in problem.network.driver.named_terms(noise):
        if isinstance(term, JumpProcess):
            found, slopes = _drawn_jumps(problem, term, component, ordinal)
            rate = names["jump_rate"], term.rate.shape
            yield _Part(component, False, found, "", (), *rate, {names[own]: slope for own, slope in slopes.items()})
            ordinal += 1
        elif isinstance(term, SampledPath) and term.has_jumps:
            xs = term.parameters["driver_values"]
            found = _jumps_of_path(problem, term, component)
            yield _Part(component, spread(xs).shape[0] == 1, found, names["driver_values"], xs.shape)
        elif isinstance(term, GivenJumps):
            found, shape = _given_jumps(problem, term), term.times.shape
            yield _Part(component, len(shape) < 3, found, names["jump_sizes"], shape, names["jump_times"], shape)


def _repeated(found: _Found, samples: int) -> _Found:
    """Jumps that samples share, once for each of them."""
    if samples == 1:
        return found
    count = found.times.size
    return found.at(np.tile(np.arange(count), samples))._replace(rows=np.repeat(np.arange(samples), count))


def _within(problem: Problem, found: _Found) -> _Found:
    return found.at((found.times > problem.t0) & (found.times <= problem.t1))


def _jumps_of_path(problem: Problem, term: SampledPath, component: int) -> _Found:
    xs, neurons = term.parameters["driver_values"], problem.network.num_neurons
    every: Any = np.arange(xs.size).reshape(xs.shape)
    places = spread(every)
    places = places[:, :, component if places.shape[2] > 1 else 0]
    before = np.flatnonzero(term.jumps)
    shape = (places.shape[0], neurons, before.size)
    ends: list[Any] = [np.broadcast_to(places[:, :, m], shape).ravel() for m in (before, before + 1)]
    rows, columns, jump = (part.ravel() for part in np.indices(shape))
    sizes = xs.reshape(-1)[ends[1]] - xs.reshape(-1)[ends[0]]
    nothing, still = np.full(rows.size, -1), np.zeros(rows.size)
    return _within(problem, _Found(rows, term.ts[before + 1][jump], columns, sizes, ends[1], ends[0], nothing, still))


def _given_jumps(problem: Problem, term: GivenJumps) -> _Found:
    sizes, neurons = term.parameters["jump_sizes"], problem.network.num_neurons
    lead = term.times.shape[0] if term.times.ndim == 3 else 1
    shape = (lead, neurons, term.times.shape[-1])
    rows, columns, _ = np.indices(shape)
    place = np.broadcast_to(np.arange(sizes.size).reshape(sizes.shape), shape).ravel()
    times = np.broadcast_to(term.times, shape).ravel()
    nothing, alike = np.full(place.size, -1), np.ones(place.size)
    return _within(
        problem, _Found(rows.ravel(), times, columns.ravel(), sizes.reshape(-1)[place], place, nothing, place, alike)
    )


def _drawn_jumps(problem: Problem, term: JumpProcess, component: int, ordinal: int) -> tuple[_Found, dict[str, Array]]:
    """Of every neuron a Poisson process from t0 on, its waiting times one after the other; and the derivatives of its
    sizes by the law's parameters.
    """
    shape = (problem.num_samples, problem.network.num_neurons)
    rows, columns = (part.ravel() for part in np.indices(shape))
    rates = np.broadcast_to(term.rate, shape)[rows, columns]
    mean = float(rates.max(initial=0.0)) * (problem.t1 - problem.t0)
    block = int(mean + 6.0 * np.sqrt(mean)) + 8
    require_memory("the driver's jumps", 64.0 * rows.size * block, "simulate fewer samples at once")
    key = (problem.seed, np.uint64(problem.first_sample) + rows.astype(np.uint64)[:, None])
    parts, last, start = [], np.full(rows.size, problem.t0), 0
    while (last < problem.t1).any():
        draws = np.arange(start, start + block, dtype=np.uint64)
        words = [
            columns.astype(np.uint64)[:, None] | np.uint64(component << 32 | purpose << 36 | ordinal << 40)
            for purpose in (JUMP_TIME, JUMP_SIZE)
        ]
        with np.errstate(divide="ignore"):
            waits = -np.log(uniform(threefry(key, (draws, words[0]))[0])) / rates[:, None]
        waits[:, 0] += last
        times = np.cumsum(waits, axis=1)
        u, other = (uniform(word) for word in threefry(key, (draws, words[1])))
        who, which = np.nonzero(times <= problem.t1)
        parts.append((rows[who], times[who, which], columns[who], u[who, which], other[who, which]))
        last, start = times[:, -1], start + block
    who, when, where, u, other = (np.concatenate([part[n] for part in parts]) for n in range(5))
    sizes, slopes = term.sizes(u, other)
    nothing, mover = np.full(who.size, -1), where if term.rate.ndim and term.rate.size > 1 else np.zeros_like(where)
    speed = (problem.t0 - when) / np.broadcast_to(term.rate, shape[1:])[where]  # t − t0 is inverse to the rate
    return _Found(who, when, where, sizes, nothing, nothing, mover, speed), slopes


def movers_of_jumps(problem: Problem, names: Iterable[str]) -> list[str]:
    """Those of `names` that move jumps of the driver in time."""
    mine = problem.network.driver.parameters
    return [name for name in names if name in mine and stem(name) in ("jump_times", "jump_rate")]


def time_objection(problem: Problem, names: Iterable[str]) -> str:
    """Why there is no pathwise derivative by those of `names` that move jumps in time, or nothing."""
    network, moving = problem.network, movers_of_jumps(problem, names)
    if not moving:
        return ""
    terms = [term for noise in network.noise_names for term in network.driver.of_noise(noise).terms]
    rough = any(isinstance(term, (BrownianMotion, FractionalBrownianMotion)) for term in terms)
    if rough and not network.has_commutative_noise:
        return (
            f"no gradient in {moving[0]!r}: the noises of this model do not commute, so that it matters on which side "
            "of a jump a rough path moves, and of that there is no derivative by the time of the jump"
        )
    jumps = driver_jumps(problem)
    for name in moving if jumps is not None else ():
        assert jumps is not None
        tied = jumps.tie(name)
        if tied is not None:
            return (
                f"no gradient in {name!r}: neuron {jumps.neurons[tied]} jumps more than once at t = "
                f"{jumps.times[tied]:g}, where the state has a kink as one jump passes another; give other times, or "
                "one jump of the sum of the sizes"
            )
    return ""


# --- fractional Brownian motion ---------------------------------------------------------------------------------------


def _noise_grid(problem: Problem) -> Array:
    steps = -(-problem.num_steps >> problem.noise_levels)
    return np.asarray(problem.t0 + np.arange(steps + 1.0) * (problem.dt * 2.0**problem.noise_levels))


def _fractional(
    problem: Problem,
    term: FractionalBrownianMotion,
    known: Mapping[str, str],
    component: int,
    ordinal: int,
    steps: int,
    knots: _OnKnots,
) -> _Fractional:
    """That of a noise, among whose fractional ones it has that place."""
    shape = (problem.num_samples, problem.network.num_neurons)
    require_memory("the fractional paths", 16.0 * shape[0] * shape[1] * (steps + 1), "simulate fewer samples at once")
    place = (problem.seed, problem.first_sample, *shape, component, ordinal, steps)

    def draw(hurst: float, derivative: bool) -> Array:
        return _fractional_paths(hurst, derivative, *place)[:, :, None, :]

    return _Fractional(term, known, (component,), knots, problem.dt * 2.0**problem.noise_levels, draw)


@functools.lru_cache(maxsize=2)
def _fractional_paths(
    hurst: float,
    derivative: bool,
    seed: int,
    first_sample: int,
    num_samples: int,
    num_neurons: int,
    component: int,
    ordinal: int,
    steps: int,
) -> Array:
    """On a grid of spacing 1, shape (S, N, L + 1), or the derivative by H; kept for the gradient of the same solve."""
    half = 1 << (steps - 1).bit_length()
    roots = _embedding(hurst, half)[int(derivative)]
    values = np.zeros((num_samples, num_neurons, steps + 1))
    draws = np.arange(half + 1, dtype=np.uint64)
    pairs = max(1, _BLOCK // (half + 1))
    flat = values.reshape(-1, steps + 1)
    for start in range(0, len(flat), pairs):
        rows = np.arange(start, min(start + pairs, len(flat)))
        samples, neurons = (part.astype(np.uint64)[:, None] for part in np.divmod(rows, num_neurons))
        word = neurons | np.uint64(component << 32 | FRACTIONAL << 36 | ordinal << 40)
        word0, word1 = threefry((seed, np.uint64(first_sample) + samples), (draws, word))
        radius, angle = np.sqrt(-2.0 * np.log(uniform(word0))), 2.0 * np.pi * uniform(word1)
        z = radius * np.cos(angle) + 1j * (radius * np.sin(angle))
        z[:, 1:half] *= np.sqrt(0.5)
        z[:, [0, half]] = z[:, [0, half]].real
        increments = np.fft.irfft(roots * z, 2 * half, axis=1)[:, :steps]
        flat[rows, 1:] = np.cumsum(increments, axis=1)
    values.flags.writeable = False
    return values


@functools.lru_cache(maxsize=16)
def _embedding(hurst: float, half: int) -> tuple[Array, Array]:
    """The square roots of the eigenvalues of the circulant covariance of 2·half increments, times that of their number,
    as :func:`numpy.fft.irfft` takes them; and their derivatives by H.
    """
    lags = np.arange(2.0, half + 1.0)
    up, down, power = np.log1p(1 / lags), np.log1p(-1 / lags), lags ** (2 * hurst)
    later = 0.5 * power
    later *= np.expm1(2 * hurst * up) + np.expm1(2 * hurst * down)
    eigenvalues = _circulant(np.concatenate([[1.0, 2.0 ** (2 * hurst - 1) - 1.0], later]), half)
    later = 2 * np.log(lags) * later + power * (up * np.exp(2 * hurst * up) + down * np.exp(2 * hurst * down))
    slopes = _circulant(np.concatenate([[0.0, np.log(2.0) * 2.0 ** (2 * hurst)], later]), half)
    roots = np.sqrt(2 * half * np.maximum(eigenvalues, 0.0))
    return roots, np.divide(half * slopes, roots, out=np.zeros_like(roots), where=roots > 0)


def _circulant(covariance: Array, half: int) -> Array:
    """The eigenvalues of the circulant matrix of these covariances at the lags up to `half`."""
    return np.asarray(np.fft.rfft(np.concatenate([covariance, covariance[half - 1 : 0 : -1]])).real)
