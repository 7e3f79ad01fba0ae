"""Poisson spike trains with given rates: input for networks, and what trains without any structure look like."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .engine.reference_noise import threefry, uniform
from .errors import ValidationError
from .spike_trains import SpikeTrains
from .validation import as_float, as_int, as_real_array, require, require_memory

Array = NDArray[np.float64]
Integers = NDArray[np.int64]

# Keeps these numbers apart from the noise of a simulation with the same seed (docs/numerics.md).
_PURPOSE = 14
# Draws of the first round of a train; each round has twice those of the one before.
_FIRST_ROUND = 8


def poisson_trains(
    rates: ArrayLike,
    t1: float,
    *,
    times: ArrayLike | None = None,
    num_samples: int | None = None,
    num_channels: int | None = None,
    seed: int = 0,
    t0: float = 0.0,
    first_sample: int = 0,
) -> SpikeTrains:
    r"""Independent Poisson spike trains with rates that are constant, or piecewise constant in time.

    A channel of rate r(t) fires at :math:`\tau_n = \Lambda^{-1}(E_1 + \dots + E_n)`, n = 1, 2, …, as long as that is
    before t1, with :math:`\Lambda(t) = \int_{t_0}^t r(u)\,du` and independent exponential numbers E of mean 1. The law
    is exact: there is no grid but that of the rates.

    Parameters
    ----------
    rates : array_like
        Spikes per unit of time, at least 0. Without `times` a number, (M,) per channel or (S, M) per sample and
        channel; with them (T,), (T, M) or (S, T, M).
    t1 : float
        End, in the unit of time.
    times : array_like, shape (T,), optional
        From when on each of the rates holds, increasing; the first holds before, too, and the last one until t1, as
        in ``SampledCurrent(times, values, interpolation="previous")``. Default: rates are constant.
    num_samples, num_channels : int, optional
        S and M; default those of `rates`, or 1.
    seed : int
        Key of the random numbers, from 0 to 2^64 − 1.
    t0 : float
        Start.
    first_sample : int
        Index of the first sample: two calls with samples 0…63 and 64…127 give what one call gives with 0…127. A train
        is a function of the seed, of its sample and channel, and of its own rates: not of how many there are.

    Returns
    -------
    SpikeTrains
        S samples of M channels, from t0 to t1.

    Raises
    ------
    ValidationError
        If a rate is negative, times do not increase, shapes do not fit each other, t1 is not after t0, or so many
        spikes would not fit into memory.

    References
    ----------
    Change of time: Daley and Vere-Jones, *An Introduction to the Theory of Point Processes* I, 2nd ed. 2003, section
    7.4. Random numbers: docs/numerics.md.

    Examples
    --------
    Two channels, of 20 and 5 spikes per unit of time:

    >>> trains = poisson_trains([20.0, 5.0], t1=1.0, num_samples=1000, seed=3)
    >>> trains.spike_counts.mean(axis=0).round()
    array([20.,  5.])

    A channel that is silent up to 0.5:

    >>> bool(poisson_trains([0.0, 50.0], t1=1.0, times=[0.0, 0.5]).times.min() > 0.5)
    True
    """
    t0, t1 = as_float("t0", t0), as_float("t1", t1)
    if t1 <= t0:
        raise ValidationError(f"t1 must be after t0 = {t0}, got {t1}")
    seed, first_sample = as_int("seed", seed, 0, 2**64 - 1), as_int("first_sample", first_sample, 0, 2**62)
    pieces, edges = _pieces(rates, times, t0, t1)
    samples = _size("num_samples", "samples", pieces.shape[0], num_samples)
    channels = _size("num_channels", "channels", pieces.shape[1], num_channels)
    pieces = np.broadcast_to(pieces, (samples, channels, edges.size - 1))
    # Λ at the edges, of the trains that differ in their rates alone.
    steps = pieces * np.diff(edges)
    expected = float(steps.sum())
    require_memory("the spikes", 100.0 * expected, "take lower rates, or fewer samples at once")
    cumulative = np.concatenate([np.zeros((samples, channels, 1)), np.cumsum(steps, axis=2)], axis=2)
    trains, arrivals = _unit_arrivals(cumulative[:, :, -1].ravel(), channels, seed, first_sample)
    spikes = _inverse(cumulative.reshape(-1, edges.size), pieces, edges, trains, arrivals)
    return _packed(spikes, *np.divmod(trains, channels), (samples, channels), t0, t1)


def _pieces(rates: ArrayLike, times: ArrayLike | None, t0: float, t1: float) -> tuple[Array, Array]:
    """Rates (S or 1, M or 1, B), and the edges (B + 1,) between which each holds."""
    if times is None:
        shapes, ndims = "a number, or of shape (M,) or (S, M)", (0, 1, 2)
        values = as_real_array("rates", rates, ndims, shapes)
        pieces, edges = values.reshape((1,) * (2 - values.ndim) + (*values.shape, 1)), np.array([t0, t1])
    else:
        knots = as_real_array("times", times, (1,), "an array of shape (T,)")
        if knots.size == 0 or np.any(np.diff(knots) <= 0):
            raise ValidationError("times must be strictly increasing and not empty")
        values = as_real_array("rates", rates, (1, 2, 3), "of shape (T,), (T, M) or (S, T, M), as times are given")
        if values.shape[-2 if values.ndim > 1 else 0] != knots.size:
            raise ValidationError(
                f"rates must be of shape (T,), (T, M) or (S, T, M), with one for each of the T = {knots.size} times, "
                f"got shape {values.shape}"
            )
        whole = values[:, None] if values.ndim == 1 else values
        whole = np.swapaxes(whole if whole.ndim == 3 else whole[None], 1, 2)
        first = max(int(np.searchsorted(knots, t0, side="right")) - 1, 0)
        last = max(int(np.searchsorted(knots, t1, side="left")), first + 1)
        pieces, edges = whole[:, :, first:last], np.concatenate([[t0], knots[first + 1 : last], [t1]])
    require("rates", values, values >= 0, "at least 0")
    return pieces, edges


def _size(name: str, what: str, here: int, given: Any) -> int:
    """How many samples or channels there are, by the rates and by an argument."""
    if given is None:
        return here
    number = as_int(name, given, 0 if name == "num_samples" else 1, 2**31)
    if here not in (1, number):
        raise ValidationError(f"{name} must be {here}, as rates are given for {here} {what}, got {number}")
    return number


def _unit_arrivals(totals: Array, channels: int, seed: int, first_sample: int) -> tuple[Integers, Array]:
    """Arrivals of unit-rate Poisson processes before `totals`: of which train each is, and when.

    The n-th exponential number of a train, n = 0, 1, …, is that of word n mod 2 of the block with counter ⌊n/2⌋.
    """
    active = np.flatnonzero(totals > 0)
    reached, draws, size = np.zeros(active.size), 0, _FIRST_ROUND
    trains: list[Integers] = [np.empty(0, dtype=np.int64)]
    arrivals: list[Array] = [np.empty(0)]
    while active.size:
        sample, channel = np.divmod(active.astype(np.uint64), np.uint64(channels))
        block = np.arange(draws // 2, (draws + size) // 2, dtype=np.uint64)
        key = (seed, (sample + np.uint64(first_sample))[:, None])
        words = threefry(key, (block, (channel | np.uint64(_PURPOSE << 36))[:, None]))
        steps = -np.log(uniform(np.stack(words, axis=2).reshape(active.size, size)))
        steps[:, 0] += reached
        unit = np.cumsum(steps, axis=1)
        before = unit < totals[active, None]
        trains.append(np.repeat(active, before.sum(axis=1)))
        arrivals.append(unit[before])
        goes_on = before[:, -1]
        active, reached = active[goes_on], unit[goes_on, -1]
        draws, size = draws + size, 2 * size
    return np.concatenate(trains), np.concatenate(arrivals)


def _inverse(cumulative: Array, pieces: Array, edges: Array, trains: Integers, arrivals: Array) -> Array:
    """Λ⁻¹ of every arrival: by bisection the piece in which it is, there along a line."""
    low = np.zeros(trains.size, dtype=np.int64)
    high = np.full(trains.size, edges.size - 1)
    for _ in range(math.ceil(math.log2(max(edges.size - 1, 1)))):
        middle = (low + high) // 2
        later = cumulative[trains, middle] <= arrivals
        low, high = np.where(later, middle, low), np.where(later, high, middle)
    sample, channel = np.divmod(trains, pieces.shape[1])
    times = edges[low] + (arrivals - cumulative[trains, low]) / pieces[sample, channel, low]
    return np.asarray(np.minimum(times, edges[low + 1]))


def _packed(
    times: Array, sample: Integers, channel: Integers, shape: tuple[int, int], t0: float, t1: float
) -> SpikeTrains:
    order = np.lexsort((channel, times, sample))
    times, sample, channel = times[order], sample[order], channel[order]
    counts = np.bincount(sample, minlength=shape[0])
    width = int(counts.max(initial=0))
    require_memory("the spikes", 16.0 * shape[0] * width, "take lower rates, or fewer samples at once")
    place = np.arange(times.size) - np.repeat(np.cumsum(counts) - counts, counts)
    rows, labels = np.full((shape[0], width), np.inf), np.full((shape[0], width), -1, dtype=np.int64)
    rows[sample, place], labels[sample, place] = times, channel
    return SpikeTrains.unchecked(rows, labels, shape[1], t0, t1)
