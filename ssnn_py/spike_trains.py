"""Spike trains of many samples as plain arrays: counts, rates, intervals, first spikes, Marcus lift."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import interop, sketches
from .errors import ValidationError
from .validation import as_float, as_int, as_real_array, counted, describe, require_memory
from .values import Record, frozen

Array = NDArray[np.float64]
Integers = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class _Histogram(Record):
    """Values in bins of time, which never change."""

    edges: Array
    values: Array

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            object.__setattr__(self, field.name, frozen(getattr(self, field.name)))

    @property
    def centers(self) -> Array:
        """The middle of each bin, shape (B,)."""
        return np.asarray((self.edges[1:] + self.edges[:-1]) / 2)


@dataclass(frozen=True, eq=False)
class Rates(_Histogram):
    """Firing rates of every sample in bins of time, in spikes per unit of time; see :meth:`SpikeTrains.rates`.

    Attributes
    ----------
    edges : ndarray, shape (B + 1,)
        Where bins begin and end.
    values : ndarray, shape (S, B, N)
        Number of spikes in a bin divided by its width.
    """

    @property
    def mean(self) -> Array:
        """Mean rates over the interval, shape (S, N): :attr:`SpikeTrains.mean_rates`."""
        widths = np.diff(self.edges)
        return np.asarray(np.einsum("sbn,b->sn", self.values, widths) / widths.sum())


@dataclass(frozen=True, eq=False)
class PSTH(_Histogram):
    """Peristimulus time histogram: rates in bins of time, averaged over samples; see :meth:`SpikeTrains.psth`.

    Attributes
    ----------
    edges : ndarray, shape (B + 1,)
        Where bins begin and end.
    values : ndarray, shape (B, N)
        Mean over samples of the number of spikes in a bin, divided by its width: spikes per unit of time.
    standard_errors : ndarray, shape (B, N)
        Of `values`, from the variance between samples; NaN where there is a single sample.
    """

    standard_errors: Array


# By how much of its width a bin begins early, so that a spike on an edge is in the bin that begins there whatever the
# last digit of either.
_ON_EDGE = 1e-9


@dataclass(frozen=True, eq=False)
class SpikeTrains(Record):
    """Spikes of N neurons in S independent samples, observed from t0 to t1.

    Two are equal where their arrays, their number of neurons and their intervals are.

    Parameters
    ----------
    times : array_like, shape (S, K)
        Times of the spikes of all neurons, not decreasing within a sample; inf where there is no spike.
    neurons : array_like of int, shape (S, K)
        Which neuron fired; −1 where there is no spike.
    num_neurons : int
    t0, t1 : float

    Raises
    ------
    ValidationError
        If the shapes differ, a time is NaN, outside [t0, t1] or out of order, or a neuron does not exist.

    Examples
    --------
    >>> trains = SpikeTrains([[0.5, 1.0, np.inf]], [[0, 1, -1]], num_neurons=2, t0=0.0, t1=2.0)
    >>> trains.spike_counts
    array([[1, 1]])
    """

    times: Array
    neurons: Integers
    num_neurons: int
    t0: float
    t1: float

    def __post_init__(self) -> None:
        try:
            times = np.array(self.times, dtype=np.float64, order="C", copy=True)
            given = np.asarray(self.neurons)
            neurons = np.array(given, dtype=np.int64, order="C", copy=True)
        except (TypeError, ValueError):
            raise ValidationError("times and neurons must be arrays of shape (S, K)") from None
        if times.ndim != 2 or times.shape != neurons.shape or not np.array_equal(neurons, given):
            raise ValidationError(
                f"times and neurons must be real and integer arrays of the same shape (S, K), got {times.shape} and "
                f"{neurons.shape}"
            )
        num_neurons = as_int("num_neurons", self.num_neurons, 1)
        t0, t1 = as_float("t0", self.t0), as_float("t1", self.t1)
        there = neurons >= 0
        if t1 <= t0:
            raise ValidationError(f"t1 must be after t0 = {t0}, got {t1}")
        if neurons.max(initial=-1) >= num_neurons or neurons.min(initial=0) < -1:
            raise ValidationError(f"neurons must be −1 (no spike) or from 0 to {num_neurons - 1}")
        if not np.array_equal(there, np.isfinite(times)) or np.any(times[~there] != np.inf):
            raise ValidationError("times must be finite exactly where neurons names one, and inf elsewhere")
        if np.any((times[there] < t0) | (times[there] > t1)):
            raise ValidationError(f"times must lie within [t0, t1] = [{t0}, {t1}]")
        if times.shape[1] and np.any(times[:, 1:] < times[:, :-1]):
            raise ValidationError("times must not decrease within a sample, and all inf must come last")
        self._set(times, neurons, num_neurons, t0, t1)

    def _set(self, *values: Any) -> None:
        for name, value in zip(("times", "neurons", "num_neurons", "t0", "t1"), values, strict=True):
            object.__setattr__(self, name, value)

    @classmethod
    def unchecked(cls, times: Array, neurons: Integers, num_neurons: int, t0: float, t1: float) -> SpikeTrains:
        """Spike trains from arrays that are known to be right; no copies, no checks."""
        trains = object.__new__(cls)
        trains._set(times, neurons, num_neurons, t0, t1)
        return trains

    @classmethod
    def from_lists(cls, samples: Sequence[Sequence[ArrayLike]], t0: float, t1: float) -> SpikeTrains:
        """Spike trains from recordings: for each sample, one array of times per neuron.

        Parameters
        ----------
        samples : sequence of sequences of array_like
            ``samples[s][k]`` are the times at which neuron k fired in sample s, in any order; empty where it was
            silent. All samples have the same neurons.
        t0, t1 : float
            The interval over which all of them were observed, in the unit of the times.

        Returns
        -------
        SpikeTrains

        Raises
        ------
        ValidationError
            If samples have different numbers of neurons, or a time is not a number within [t0, t1].

        Examples
        --------
        >>> trains = SpikeTrains.from_lists([[[0.2, 0.9], [0.5]], [[], [0.1]]], t0=0.0, t1=1.0)
        >>> trains.times
        array([[0.2, 0.5, 0.9],
               [0.1, inf, inf]])
        """
        sizes = {len(sample) for sample in samples}
        if len(sizes) != 1 or not sizes - {0}:
            raise ValidationError("samples must be a list of samples with the same number of neurons, at least one")
        rows = []
        for sample in samples:
            times = [as_real_array("a neuron's times", neuron, (1,), "an array of times") for neuron in sample]
            labels = np.repeat(np.arange(len(times)), [part.size for part in times])
            joined = np.concatenate(times)
            order = np.argsort(joined, kind="stable")
            rows.append((joined[order], labels[order]))
        return cls(*padded(rows), sizes.pop(), t0, t1)

    def __repr__(self) -> str:
        size = f"{counted(self.num_samples, 'sample')} of {counted(self.num_neurons, 'neuron')}"
        spikes = int((self.neurons >= 0).sum())
        rate = spikes / (max(1, self.num_samples) * self.num_neurons * (self.t1 - self.t0))
        return (
            f"SpikeTrains({size} from {self.t0:g} to {self.t1:g}: {counted(spikes, 'spike')}, "
            f"on average {rate:.3g} per neuron and unit of time)"
        )

    def _repr_html_(self) -> str:
        """For notebooks: what it is, and a raster."""
        return sketches.beside_text(repr(self), self.sketch())

    def sketch(self) -> str:
        """A small raster as SVG: of the first sample, or of all samples of a single neuron; nothing of no sample."""
        one = self.num_neurons == 1 and self.num_samples > 1
        shown = self.times if one else self.times[:1]
        there = np.isfinite(shown)
        rows = np.nonzero(there)[0] if one else self.neurons[:1][there]
        count, label = (self.num_samples, "sample") if one else (self.num_neurons, "neuron")
        return sketches.raster(shown[there], rows, count, self.t0, self.t1, label) if len(shown) else ""

    @property
    def num_samples(self) -> int:
        return int(self.times.shape[0])

    def __len__(self) -> int:
        return self.num_samples

    def __getitem__(self, index: Any) -> SpikeTrains:
        """Some of the samples: a slice, an array of indices or a mask, or one index."""
        rows = np.arange(self.num_samples)[index]
        rows = np.atleast_1d(rows)
        return SpikeTrains.unchecked(
            np.ascontiguousarray(self.times[rows]),
            np.ascontiguousarray(self.neurons[rows]),
            self.num_neurons,
            self.t0,
            self.t1,
        )

    @functools.cached_property
    def num_spikes(self) -> Integers:
        """Number of spikes of each sample, shape (S,)."""
        return np.asarray((self.neurons >= 0).sum(axis=1))

    @functools.cached_property
    def spike_counts(self) -> Integers:
        """Number of spikes of each neuron, shape (S, N)."""
        flat = np.arange(self.num_samples)[:, None] * self.num_neurons + self.neurons
        counts = np.bincount(flat[self.neurons >= 0], minlength=self.num_samples * self.num_neurons)
        return counts.reshape(self.num_samples, self.num_neurons).astype(np.int64)

    @functools.cached_property
    def mean_rates(self) -> Array:
        """Firing rate of each neuron over the whole interval: spike_counts / (t1 − t0), shape (S, N).

        Examples
        --------
        >>> SpikeTrains([[0.5, 1.0, 1.5]], [[0, 1, 0]], num_neurons=2, t0=0.0, t1=2.0).mean_rates
        array([[1. , 0.5]])
        """
        return frozen(self.spike_counts / (self.t1 - self.t0))

    def rates(self, bin: float) -> Rates:
        """Firing rates over time, of every sample by itself: the number of spikes in a bin divided by its width.

        Bins begin at t0. Each includes its beginning and not its end, the last one its end, too, so that every spike is
        in exactly one. The last is shorter where `bin` does not divide the interval, and divided by its own width.

        Parameters
        ----------
        bin : float
            Width of a bin, from above 0 to t1 − t0, in the unit of time of the trains.

        Returns
        -------
        Rates
            `edges` (B + 1,), `values` (S, B, N), `centers` (B,), and `mean` (S, N), which are the
            :attr:`mean_rates`; in spikes per unit of time.

        Raises
        ------
        ValidationError
            If `bin` is not within that range, or its bins would not fit into memory.

        Examples
        --------
        >>> trains = SpikeTrains([[0.25, 0.5, 1.5]], [[0, 0, 0]], num_neurons=1, t0=0.0, t1=2.0)
        >>> trains.rates(0.5).values[0, :, 0]
        array([2., 2., 0., 2.])
        >>> trains.rates(0.5).mean
        array([[1.5]])
        """
        edges = self._edges(bin)
        shape = (self.num_samples, edges.size - 1, self.num_neurons)
        require_memory(f"rates in {shape[1]} bins", 16.0 * np.prod(np.array(shape, dtype=float)), "take wider bins")
        samples, bins, neurons = self._binned(edges)
        flat = np.ravel_multi_index((samples, bins, neurons), shape)
        counts = np.bincount(flat, minlength=int(np.prod(shape))).reshape(shape)
        return Rates(edges, counts / np.diff(edges)[:, None])

    def psth(self, bin: float) -> PSTH:
        r"""Peristimulus time histogram: the rates over time, averaged over samples.

        With n_s the number of a neuron's spikes in a bin of width w in sample s,

        .. math:: \hat r = \frac{1}{S w} \sum_s n_s, \qquad
                  \mathrm{SE}^2 = \frac{1}{S (S - 1)} \sum_s \left(\frac{n_s}{w} - \hat r\right)^2 .

        Parameters
        ----------
        bin : float
            Width of a bin, as for :meth:`rates`.

        Returns
        -------
        PSTH
            `edges` (B + 1,), `values` and `standard_errors` (B, N), in spikes per unit of time.

        Raises
        ------
        ValidationError
            If there is no sample, or as for :meth:`rates`.

        Examples
        --------
        >>> trains = SpikeTrains([[0.5, 1.5], [0.25, np.inf]], [[0, 0], [0, -1]], num_neurons=1, t0=0.0, t1=2.0)
        >>> trains.psth(1.0).values[:, 0]
        array([1. , 0.5])
        >>> trains.psth(1.0).standard_errors[:, 0]
        array([0. , 0.5])
        """
        if self.num_samples == 0:
            raise ValidationError("psth needs at least one sample, got trains of none")
        edges = self._edges(bin)
        shape, count = (edges.size - 1, self.num_neurons), self.num_samples
        require_memory(f"rates in {shape[0]} bins", 64.0 * shape[0] * shape[1], "take wider bins")
        samples, bins, neurons = self._binned(edges)
        cells = bins * shape[1] + neurons
        # How many spikes each sample has where it has any; empty cells add to neither sum.
        full, spikes = np.unique(samples * (shape[0] * shape[1]) + cells, return_counts=True)
        cell, size = full % (shape[0] * shape[1]), shape[0] * shape[1]
        sums = np.bincount(cell, spikes, minlength=size).reshape(shape)
        squares = np.bincount(cell, spikes.astype(np.float64) ** 2, minlength=size).reshape(shape)
        widths = np.diff(edges)[:, None]
        errors = np.full(shape, np.nan)
        if count > 1:
            errors = np.sqrt(np.maximum(squares - sums**2 / count, 0.0) / (count * (count - 1))) / widths
        return PSTH(edges, sums / (count * widths), errors)

    def _edges(self, bin: float) -> Array:
        width, length = as_float("bin", bin, positive=True), self.t1 - self.t0
        if width > length * (1 + _ON_EDGE):
            raise ValidationError(f"bin must be at most t1 − t0 = {length:g}, got {width}")
        require_memory("edges of bins", 8.0 * length / width, "take wider bins")
        return np.append(self.t0 + width * np.arange(max(1, math.ceil(length / width - _ON_EDGE))), self.t1)

    def _binned(self, edges: Array) -> tuple[NDArray[np.intp], NDArray[np.intp], Integers]:
        """Sample, bin and neuron of every spike."""
        rows, columns = np.nonzero(self.neurons >= 0)
        begins = edges[:-1] - _ON_EDGE * (edges[1] - edges[0])
        bins = np.searchsorted(begins, self.times[rows, columns], side="right") - 1
        return rows, np.maximum(bins, 0), self.neurons[rows, columns]

    def isi(self) -> tuple[Array, ...]:
        """Interspike intervals: for each neuron, the times between its successive spikes, in all samples.

        An interval lies between two spikes of one sample; the times before the first and after the last spike are none.
        Long intervals are therefore rarer than in endless trains: those longer than t1 − t0 cannot be seen.

        Returns
        -------
        tuple of N ndarrays
            Sample after sample, in the order of time within each; a sample's own are those of ``trains[s].isi()``.

        Examples
        --------
        >>> trains = SpikeTrains([[0.1, 0.2, 0.5], [0.25, 1.0, np.inf]], [[0, 1, 0], [0, 0, -1]], 2, 0.0, 1.0)
        >>> trains.isi()
        (array([0.4 , 0.75]), array([], dtype=float64))
        """
        rows, columns = np.nonzero(self.neurons >= 0)
        neurons, times = self.neurons[rows, columns], self.times[rows, columns]
        order = np.lexsort((columns, rows, neurons))
        neurons, rows, times = neurons[order], rows[order], times[order]
        same = (np.diff(neurons) == 0) & (np.diff(rows) == 0)
        intervals, owners = np.diff(times)[same], neurons[1:][same]
        return tuple(np.split(intervals, np.searchsorted(owners, np.arange(1, self.num_neurons))))

    def cv(self) -> Array:
        r"""Coefficient of variation of each neuron's interspike intervals, shape (N,).

        .. math:: \mathrm{CV} = \frac{1}{\bar\delta} \left(\frac{1}{m} \sum_l (\delta_l - \bar\delta)^2\right)^{1/2}

        over the m intervals δ of all samples (:meth:`isi`): 0 for regular firing, 1 for a Poisson process. NaN where a
        neuron has fewer than two intervals, or only intervals of length 0.

        Examples
        --------
        >>> SpikeTrains([[1.0, 2.0, 3.0, 4.0]], [[0, 0, 0, 0]], num_neurons=1, t0=0.0, t1=5.0).cv()
        array([0.])
        """
        values = np.full(self.num_neurons, np.nan)
        for neuron, intervals in enumerate(self.isi()):
            if intervals.size > 1 and intervals.any():
                values[neuron] = intervals.std() / intervals.mean()
        return values

    def followed_by(self, later: SpikeTrains) -> SpikeTrains:
        """These and what the same samples did afterwards, as of a run that was continued.

        Parameters
        ----------
        later : SpikeTrains
            Of as many samples and neurons, observed from where these end.

        Raises
        ------
        ValidationError
            If it is not.

        Examples
        --------
        >>> early = SpikeTrains([[0.5]], [[0]], num_neurons=1, t0=0.0, t1=1.0)
        >>> late = SpikeTrains([[1.2, 1.9]], [[0, 0]], num_neurons=1, t0=1.0, t1=2.0)
        >>> early.followed_by(late).times
        array([[0.5, 1.2, 1.9]])
        """
        same = isinstance(later, SpikeTrains) and (later.num_samples, later.num_neurons, later.t0) == (
            self.num_samples,
            self.num_neurons,
            self.t1,
        )
        if not same:
            raise ValidationError(
                f"later must be {self.num_samples} samples of {self.num_neurons} neurons from t = {self.t1}, got "
                f"{describe(later)}"
            )
        times = np.concatenate([self.times, later.times], axis=1)
        neurons = np.concatenate([self.neurons, later.neurons], axis=1)
        times, neurons, _ = packed_spikes(times, neurons, neurons >= 0)
        return SpikeTrains.unchecked(times, neurons, self.num_neurons, self.t0, later.t1)

    def window(self, t0: float, t1: float) -> SpikeTrains:
        """What is seen from t0 to t1: the spikes t0 ≤ t < t1, and those at t1, too, where the trains end there.

        Windows that follow each other share no spike and miss none. Times stay as they are, counted from the same
        origin.

        Parameters
        ----------
        t0, t1 : float
            The window, within the interval of the trains.

        Returns
        -------
        SpikeTrains

        Raises
        ------
        ValidationError
            If the window is empty or not within the interval of the trains.

        Examples
        --------
        >>> trains = SpikeTrains([[0.5, 1.0, 2.0]], [[0, 0, 0]], num_neurons=1, t0=0.0, t1=2.0)
        >>> trains.window(0.0, 1.0).times, trains.window(1.0, 2.0).times
        (array([[0.5]]), array([[1., 2.]]))
        """
        begin, end = checked_window(t0, t1, self.t0, self.t1, "trains'")
        within = (self.neurons >= 0) & seen(self.times, begin, end, self.t1)
        times, neurons, _ = packed_spikes(self.times, self.neurons, within)
        return SpikeTrains.unchecked(times, neurons, self.num_neurons, begin, end)

    def cut(self, windows: ArrayLike) -> SpikeTrains:
        r"""Pieces of the recording as samples of their own, whose time begins at 0: those of the first sample, then of
        the second.

        A window from a to b has the spikes a < t ≤ b, at t − a: what is at its beginning is what its neuron has just
        done. So a recording with gaps becomes trials without: cut it where it was observed (:func:`observed_windows`).
        A network knows nothing of what was before a piece, and starts each of them in its initial state; take pieces
        that are long beside its memory. What it hears must be cut likewise: values of a
        :class:`SampledCurrent` of shape (S, M, N), `input_spikes` by this method.

        Parameters
        ----------
        windows : array_like, shape (W, 2)
            Beginnings and ends, of equal length, within [t0, t1].

        Returns
        -------
        SpikeTrains
            S·W samples, from 0 to the length of the windows.

        Raises
        ------
        ValidationError
            If a window is empty or outside of the trains' interval, or their lengths differ.

        Examples
        --------
        >>> trains = SpikeTrains([[0.5, 1.0, 2.5]], [[0, 0, 0]], num_neurons=1, t0=0.0, t1=3.0)
        >>> trains.cut([[0.0, 1.0], [2.0, 3.0]]).times
        array([[0.5, 1. ],
               [0.5, inf]])
        """
        given = as_windows("windows", windows)
        lengths = np.diff(given)[:, 0]
        outside = (given[:, 0] < self.t0) | (given[:, 1] > self.t1)
        if outside.any():
            a, b = given[int(outside.argmax())]
            raise ValidationError(
                f"windows must be within the trains' interval from {self.t0} to {self.t1}, got one from {a} to {b}"
            )
        if np.ptp(lengths) > interop.SAME_LENGTH * lengths.max():
            raise ValidationError(
                f"windows must have equal lengths, as samples have, got {lengths.min():g} to {lengths.max():g}"
            )
        length, parts = float(lengths.min()), []
        for a, b in given:
            inside = (self.neurons >= 0) & (self.times > a) & (self.times <= b)
            times, labels, _ = packed_spikes(self.times, self.neurons, inside)
            times = np.minimum(times - a, np.where(labels < 0, np.inf, length))  # whatever rounding has made of it
            parts.append(SpikeTrains.unchecked(times, labels, self.num_neurons, 0.0, length))
        order = np.arange(len(given) * self.num_samples).reshape(len(given), self.num_samples).T.ravel()
        return SpikeTrains.concatenate(parts)[order]

    @classmethod
    def concatenate(cls, parts: Sequence[SpikeTrains]) -> SpikeTrains:
        """The samples of all parts, one after the other.

        Parameters
        ----------
        parts : sequence of SpikeTrains
            At least one; of the same number of neurons, observed over the same interval.

        Raises
        ------
        ValidationError
            If there is no part, one is no SpikeTrains, or they differ in neurons or interval.

        Examples
        --------
        >>> one = SpikeTrains([[0.5, 1.0]], [[0, 0]], num_neurons=1, t0=0.0, t1=2.0)
        >>> other = SpikeTrains([[0.25]], [[0]], num_neurons=1, t0=0.0, t1=2.0)
        >>> SpikeTrains.concatenate([one, other]).times
        array([[0.5 , 1.  ],
               [0.25,  inf]])
        """
        if isinstance(parts, SpikeTrains) or not isinstance(parts, Sequence) or not parts:
            raise ValidationError(f"parts must be a list of SpikeTrains, at least one, got {describe(parts)}")
        first = parts[0]
        for part in parts:
            if not isinstance(part, SpikeTrains):
                raise ValidationError(f"parts must be a list of SpikeTrains, but holds {describe(part)}")
            for name in ("num_neurons", "t0", "t1"):
                if getattr(part, name) != getattr(first, name):
                    raise ValidationError(
                        f"parts must have equal {name}, got {getattr(first, name)} and {getattr(part, name)}"
                    )
        width = max(part.times.shape[1] for part in parts)
        total = sum(part.num_samples for part in parts)
        times = np.full((total, width), np.inf)
        neurons = np.full((total, width), -1, dtype=np.int64)
        begin = 0
        for part in parts:
            rows = slice(begin, begin + part.num_samples)
            times[rows, : part.times.shape[1]] = part.times
            neurons[rows, : part.times.shape[1]] = part.neurons
            begin = rows.stop
        return cls.unchecked(times, neurons, first.num_neurons, first.t0, first.t1)

    def select(self, neurons: ArrayLike | None = None, samples: ArrayLike | slice | None = None) -> SpikeTrains:
        """Some neurons and some samples only.

        Parameters
        ----------
        neurons : array_like of int, optional
            Different neurons, renumbered in the order given; default all.
        samples : array_like of int, array_like of bool of shape (S,), or slice, optional
            Samples in the order given, the same one as often as one likes; default all.

        Raises
        ------
        ValidationError
            If a neuron or a sample does not exist, or a neuron is named twice.

        Examples
        --------
        >>> trains = SpikeTrains([[0.5, 1.0], [0.25, np.inf]], [[0, 1], [1, -1]], num_neurons=2, t0=0.0, t1=2.0)
        >>> trains.select(neurons=[1], samples=[1, 0]).times
        array([[0.25],
               [1.  ]])
        """
        chosen = self if samples is None else self[self._sample_indices(samples)]
        return chosen if neurons is None else chosen.masked(*chosen.selection(neurons))

    def _sample_indices(self, samples: ArrayLike | slice) -> Any:
        if isinstance(samples, slice):
            return samples
        try:
            given = np.atleast_1d(np.asarray(samples))
        except ValueError:  # lists of different lengths
            given = np.empty(0, dtype=object)
        if given.dtype == bool and given.shape == (self.num_samples,):
            return given
        if given.ndim != 1 or not (given.dtype.kind in "iu" or (given.size == 0 and given.dtype.kind == "f")):
            raise ValidationError(
                f"samples must be a list of indices, a mask of shape ({self.num_samples},) or a slice, got "
                f"{describe(samples)}"
            )
        if given.size and (given.min() < 0 or given.max() >= self.num_samples):
            raise ValidationError(f"samples must be from 0 to {self.num_samples - 1}, got {describe(samples)}")
        return given.astype(np.intp)

    def selection(self, neurons: ArrayLike) -> tuple[NDArray[np.intp], Integers, int]:
        """Where the spikes of `neurons` stand, packed to the left: column indices (S, K′) or −1, new labels, and how
        many neurons.
        """
        chosen = different_indices(neurons, self.num_neurons)
        label = np.full(self.num_neurons + 1, -1, dtype=np.int64)
        label[chosen] = np.arange(chosen.size)
        new = label[self.neurons]
        columns = packed(new >= 0)
        return columns, taken(new, columns, -1), int(chosen.size)

    def masked(self, columns: NDArray[np.intp], neurons: Integers, num_neurons: int) -> SpikeTrains:
        """The spikes at `columns` (see :meth:`selection`)."""
        times = taken(self.times, columns, np.inf)
        return SpikeTrains.unchecked(
            np.ascontiguousarray(times), np.ascontiguousarray(neurons), num_neurons, self.t0, self.t1
        )

    def first_spikes(self, n: int) -> Array:
        """Times of each neuron's first n spikes, shape (S, N, n); t1 where there are fewer."""
        return self.at_columns(self.first_spike_columns(n))

    def at_columns(self, columns: NDArray[np.intp]) -> Array:
        """Times of the spikes at the given columns, any shape (S, …); t1 where a column is −1."""
        flat = columns.reshape(self.num_samples, -1)
        if self.times.shape[1] == 0:
            return np.full(columns.shape, self.t1)
        times = np.take_along_axis(self.times, np.maximum(flat, 0), axis=1)
        return np.where(flat >= 0, times, self.t1).reshape(columns.shape)

    def first_spike_columns(self, n: int) -> NDArray[np.intp]:
        """Where each neuron's first n spikes stand in `times`, shape (S, N, n); −1 where there are fewer."""
        n = as_int("n", n, 1)
        columns = np.full((self.num_samples, self.num_neurons, n), -1, dtype=np.intp)
        rows, places = np.nonzero((self.ranks < n) & (self.neurons >= 0))
        columns[rows, self.neurons[rows, places], self.ranks[rows, places]] = places
        return columns

    @functools.cached_property
    def ranks(self) -> NDArray[np.intp]:
        """How many spikes of the same neuron come before each spike in its sample, shape (S, K)."""
        samples, width = self.times.shape
        if self.num_neurons == 1:
            return np.cumsum(self.neurons >= 0, axis=1) - 1
        train = (np.arange(samples)[:, None] * (self.num_neurons + 1) + self.neurons).ravel()
        order = np.argsort(train, kind="stable")
        grouped = train[order]
        begins = np.flatnonzero(np.diff(grouped, prepend=-2))
        ranks = np.empty(samples * width, dtype=np.intp)
        ranks[order] = np.arange(samples * width) - np.repeat(begins, np.diff(begins, append=samples * width))
        return ranks.reshape(samples, width)

    def marcus_lift(self, neurons: ArrayLike | None = None) -> Array:
        """Marcus lift of the càdlàg path (t, N¹, …, Nⁿ): each jump becomes a straight line in fictitious time.

        The path runs through (t0, 0), (τ1, 0), (τ1, e_j), (τ2, e_j), …, (t1, counts); simultaneous spikes go along one
        line. This is the whole path; the published code's lift has 2K points and loses the last jump of a sample that
        uses all K of its slots.

        Parameters
        ----------
        neurons : array_like of int, optional
            Observe these neurons only; default all.

        Returns
        -------
        ndarray, shape (S, 2K + 2, 1 + N)
            Time and counts along the path; unused points repeat the last one.

        References
        ----------
        Holberg and Salvi, NeurIPS 2024, section 4.

        Examples
        --------
        >>> SpikeTrains([[0.5]], [[0]], num_neurons=1, t0=0.0, t1=2.0).marcus_lift()[0]
        array([[0. , 0. ],
               [0.5, 0. ],
               [0.5, 1. ],
               [2. , 1. ]])
        """
        trains = self.select(neurons)
        samples, width = trains.times.shape
        jumps = (trains.neurons[:, :, None] == np.arange(trains.num_neurons)).astype(np.float64)
        after = np.cumsum(jumps, axis=1)
        times = np.minimum(trains.times, trains.t1)
        # A spike at the time of the one before continues its line: both ends of the joint line are taken by all its
        # spikes.
        same = np.zeros((samples, width), dtype=bool)
        same[:, 1:] = (trains.times[:, 1:] == trains.times[:, :-1]) & (trains.neurons[:, 1:] >= 0)
        before = after - jumps
        for column in range(1, width):
            before[:, column] = np.where(same[:, column, None], before[:, column - 1], before[:, column])
        for column in range(width - 2, -1, -1):
            after[:, column] = np.where(same[:, column + 1, None], after[:, column + 1], after[:, column])
        # Points between spikes of one joint line all lie at its far end, except the first spike's near end.
        before = np.where(same[..., None], after, before)
        lift = np.zeros((samples, 2 * width + 2, 1 + trains.num_neurons))
        lift[:, 0, 0] = trains.t0
        lift[:, 1:-1:2, 0] = lift[:, 2:-1:2, 0] = times
        lift[:, 1:-1:2, 1:] = before
        lift[:, 2:-1:2, 1:] = after
        lift[:, -1, 0] = trains.t1
        lift[:, -1, 1:] = trains.spike_counts
        return lift

    # --- in and out: other libraries (docs/data.md) -------------------------------------------------------------------

    def to_lists(self) -> list[list[Array]]:
        """For each sample one array of times per neuron; what :meth:`from_lists` takes, with t0 and t1.

        Examples
        --------
        >>> SpikeTrains([[0.2, 0.5, 0.9]], [[0, 1, 0]], num_neurons=2, t0=0.0, t1=1.0).to_lists()
        [[array([0.2, 0.9]), array([0.5])]]
        """
        return interop.lists(self)

    def to_dataframe(self) -> Any:
        """A pandas DataFrame with one row per spike, ordered by sample and time.

        Times keep their unit. Samples and neurons without a spike have no row: `t0`, `t1`, `num_samples` and
        `num_neurons` are in ``frame.attrs``, which many operations of pandas and most files drop.

        Returns
        -------
        pandas.DataFrame
            With the columns ``sample``, ``neuron`` (counted from 0) and ``time``.

        Raises
        ------
        ValidationError
            If pandas is not installed.

        Examples
        --------
        >>> frame = SpikeTrains([[0.5, 1.0]], [[0, 1]], num_neurons=2, t0=0.0, t1=2.0).to_dataframe()  # doctest: +SKIP
        >>> frame.groupby("neuron").time.count()  # doctest: +SKIP
        """
        from .interop import pandas

        return pandas.write(self)

    @classmethod
    def from_dataframe(
        cls,
        frame: Any,
        t0: float | None = None,
        t1: float | None = None,
        *,
        num_samples: int | None = None,
        num_neurons: int | None = None,
        sample: str = "sample",
        neuron: str = "neuron",
        time: str = "time",
    ) -> SpikeTrains:
        """Spike trains from a pandas DataFrame with one row per spike, in any order.

        Parameters
        ----------
        frame : pandas.DataFrame
        t0, t1 : float, optional
            The interval of observation; default what :meth:`to_dataframe` has left in ``frame.attrs``.
        num_samples, num_neurons : int, optional
            Likewise; rows cannot tell of samples and neurons that were silent.
        sample, neuron, time : str, optional
            Names of the columns: indices from 0, indices from 0, and times in the unit that one goes on with.

        Raises
        ------
        ValidationError
            If pandas is not installed, a column does not exist or does not fit, an argument is missing that
            ``frame.attrs`` does not have, or a time is outside [t0, t1].

        Examples
        --------
        >>> SpikeTrains.from_dataframe(trains.to_dataframe()) == trains  # doctest: +SKIP
        True
        """
        from .interop import pandas

        return cls.from_lists(*pandas.read(frame, t0, t1, num_samples, num_neurons, (sample, neuron, time)))

    def to_neo(self, unit: str | float) -> Any:
        """A Neo block: a segment for each sample, in it a train for each neuron, both in order.

        Elephant's functions take ``block.segments[s].spiketrains``, or single trains of it.

        Parameters
        ----------
        unit : str or float
            The unit that times have here: "ns", "us", "ms", "s", "min" or "h", or a number of seconds. Neo's trains
            have the named unit; that of a number is converted to seconds.

        Returns
        -------
        neo.Block
            ``t_start`` and ``t_stop`` of every train are t0 and t1; its annotation ``neuron`` is the index.

        Raises
        ------
        ValidationError
            If Neo is not installed, or `unit` is none.

        Examples
        --------
        >>> block = SpikeTrains([[50.0]], [[0]], num_neurons=1, t0=0.0, t1=100.0).to_neo("ms")  # doctest: +SKIP
        >>> elephant.statistics.mean_firing_rate(block.segments[0].spiketrains[0])  # doctest: +SKIP
        array(0.01) * 1/ms
        """
        from .interop import neo

        return neo.write(self, unit)

    @classmethod
    def from_neo(cls, given: Any, unit: str | float, t0: float | None = None, t1: float | None = None) -> SpikeTrains:
        """Spike trains from those of Neo, converted to `unit`.

        Parameters
        ----------
        given : neo.Block, neo.Segment, or list
            A block, whose segments are the samples; a segment, one sample; or a list of segments, or of lists of
            ``neo.SpikeTrain``. Neurons are numbered by their place in each sample: names, annotations, waveforms are
            not read.
        unit : str or float
            The unit of times to go on with, as in :meth:`to_neo`.
        t0, t1 : float, optional
            The window, in `unit`, within the interval of every train; spikes outside are left out. Default: from
            ``t_start`` to ``t_stop``, if all trains have the same.

        Raises
        ------
        ValidationError
            If Neo is not installed, samples differ in their number of neurons, or trains are not all observed over
            [t0, t1].

        Examples
        --------
        >>> SpikeTrains.from_neo(trains.to_neo("ms"), unit="ms") == trains  # doctest: +SKIP
        True
        """
        from .interop import neo

        return cls.from_lists(*neo.read(given, unit, t0, t1))

    def to_pynapple(self, unit: str | float, *, gap: float | None = None) -> Any:
        """A group of pynapple, on one axis of time in seconds, with one epoch of its time support for each sample.

        Sample s begins ``s (t1 − t0 + gap)`` after 0. Pynapple rounds times to nanoseconds.

        Parameters
        ----------
        unit : str or float
            The unit that times have here: "ns", "us", "ms", "s", "min" or "h", or a number of seconds.
        gap : float, optional
            Between samples, in that unit; default t1 − t0.

        Returns
        -------
        pynapple.TsGroup
            With the neurons' indices as keys.

        Raises
        ------
        ValidationError
            If pynapple is not installed, or an argument is out of range.

        Examples
        --------
        >>> SpikeTrains([[50.0]], [[0]], num_neurons=1, t0=0.0, t1=100.0).to_pynapple("ms")  # doctest: +SKIP
          Index    rate
        -------  ------
              0      10
        """
        from .interop import pynapple

        return pynapple.write(self, unit, gap)

    @classmethod
    def from_pynapple(
        cls, group: Any, unit: str | float, trials: Any = None, t0: float = 0.0, t1: float | None = None
    ) -> SpikeTrains:
        """Spike trains from a group of pynapple: one sample for each trial, its time counted from the trial's begin.

        Parameters
        ----------
        group : pynapple.TsGroup
            Neurons are numbered in the order of its keys; the keys themselves are not kept.
        unit : str or float
            The unit of times to go on with, as in :meth:`to_pynapple`.
        trials : pynapple.IntervalSet, optional
            Within the group's time support; default that. Spikes between trials are left out.
        t0 : float, optional
            The time at which every trial begins, in `unit`; default 0.
        t1 : float, optional
            The end of the window, which must be given where trials have different lengths: none may be shorter.

        Raises
        ------
        ValidationError
            If pynapple is not installed, trials are outside the time support, or have no common window.

        Examples
        --------
        >>> SpikeTrains.from_pynapple(group, unit="ms", trials=stimuli, t1=200.0)  # doctest: +SKIP
        """
        from .interop import pynapple

        return cls.from_lists(*pynapple.read(group, unit, trials, t0, t1))

    def to_nwb(
        self, unit: str | float, *, gap: float | None = None, file: Any = None, session_start_time: Any = None
    ) -> Any:
        """An NWB file in memory: neurons are units, samples are trials on one axis of time in seconds.

        Trial s begins ``s (t1 − t0 + gap)`` after 0, and every unit's ``obs_intervals`` are the trials.
        ``pynwb.NWBHDF5IO(path, "w")`` writes it.

        Parameters
        ----------
        unit : str or float
            The unit that times have here: "ns", "us", "ms", "s", "min" or "h", or a number of seconds.
        gap : float, optional
            Between samples, in that unit; default t1 − t0.
        file : pynwb.NWBFile, optional
            Where to put units and trials; default a new one.
        session_start_time : datetime.datetime, optional
            Of a new file, which must have one; default now.

        Returns
        -------
        pynwb.NWBFile

        Raises
        ------
        ValidationError
            If PyNWB is not installed, an argument is out of range, or `file` has units or trials already.

        Examples
        --------
        >>> with pynwb.NWBHDF5IO("simulated.nwb", "w") as io:  # doctest: +SKIP
        ...     io.write(trains.to_nwb("ms"))
        """
        from .interop import nwb

        return nwb.write(self, unit, gap, file, session_start_time)

    @classmethod
    def from_nwb(
        cls,
        file: Any,
        unit: str | float,
        trials: ArrayLike | None = None,
        t0: float = 0.0,
        t1: float | None = None,
    ) -> SpikeTrains:
        """Spike trains from an NWB file: one sample for each trial, its time counted from the trial's begin.

        Parameters
        ----------
        file : pynwb.NWBFile or path
            Neurons are numbered in the order of its table of units; ids and further columns are not kept.
        unit : str or float
            The unit of times to go on with, as in :meth:`to_nwb`.
        trials : array_like, shape (S, 2), optional
            Where trials begin and end, in seconds; default those of the file, or, where it has none, the units'
            ``obs_intervals``, if they are the same for all. Spikes between trials are left out.
        t0 : float, optional
            The time at which every trial begins, in `unit`; default 0.
        t1 : float, optional
            The end of the window, which must be given where trials have different lengths: none may be shorter.

        Raises
        ------
        ValidationError
            If PyNWB is not installed, the file cannot be read, there are no trials, they have no common window, a unit
            was not observed throughout it, or it meets the file's ``invalid_times`` (:func:`observed_windows`).

        Examples
        --------
        >>> SpikeTrains.from_nwb("recorded.nwb", unit="ms", t1=500.0)  # doctest: +SKIP
        """
        from .interop import nwb

        return cls.from_lists(*nwb.read(file, unit, trials, t0, t1))


def observed_windows(t0: float, t1: float, gaps: ArrayLike, length: float) -> Array:
    """Windows of one length that keep clear of the gaps of a recording: for :meth:`SpikeTrains.cut`.

    Each stretch between gaps has as many as fit into it, one after the other from its beginning; what is left at its
    end is lost.

    Parameters
    ----------
    t0, t1 : float
        The interval of the recording.
    gaps : array_like, shape (G, 2)
        Beginnings and ends of what was not observed, in any order; they may overlap, and reach beyond the interval.
    length : float
        Of the windows, in the same unit.

    Returns
    -------
    ndarray, shape (W, 2)

    Raises
    ------
    ValidationError
        If an argument is not what it should be, or no window fits.

    Examples
    --------
    >>> observed_windows(0.0, 10.0, gaps=[[4.5, 5.0]], length=2.0)
    array([[0., 2.],
           [2., 4.],
           [5., 7.],
           [7., 9.]])
    """
    first, last, span = as_float("t0", t0), as_float("t1", t1), as_float("length", length, positive=True)
    missing = as_windows("gaps", gaps, empty=True)
    missing = missing[np.argsort(missing[:, 0], kind="stable")]
    begins = np.append(first, np.maximum.accumulate(np.maximum(missing[:, 1], first)))
    ends = np.minimum(np.append(missing[:, 0], last), last)
    counts = np.maximum(np.floor((ends - begins) / span + interop.SAME_LENGTH), 0.0).astype(int)
    if not counts.any():
        longest = max(0.0, float((ends - begins).max()))
        raise ValidationError(f"length must be at most {longest:g}, the longest stretch without a gap, got {span:g}")
    found = np.concatenate([a + span * np.arange(n) for a, n in zip(begins, counts, strict=True)])
    return np.stack([found, np.minimum(found + span, last)], axis=1)


def checked_window(t0: float, t1: float, first: float, last: float, whose: str) -> tuple[float, float]:
    """The window from t0 to t1, which must be within somebody's interval from `first` to `last`."""
    begin, end = as_float("t0", t0), as_float("t1", t1)
    if not first <= begin < end <= last:
        raise ValidationError(
            f"t0 and t1 must be in order and within the {whose} interval from {first} to {last}, got {begin} and {end}"
        )
    return begin, end


def seen(times: Array, t0: float, t1: float, last: float) -> NDArray[np.bool_]:
    """Which times are within a window, to which t1 belongs where it is the `last` time."""
    within: NDArray[np.bool_] = (times >= t0) & ((times < t1) | (t1 == last))
    return within


def as_windows(name: str, given: ArrayLike, empty: bool = False) -> Array:
    """Beginnings and ends as an array of shape (W, 2).

    Raises
    ------
    ValidationError
        If it is none, or one ends before it begins, or there is none and must be.
    """
    what = "an array of shape (W, 2): beginnings and ends"
    if empty and np.size(given) == 0:
        return np.empty((0, 2))
    windows = as_real_array(name, given, (2,), what)
    if windows.shape[1] != 2 or not len(windows):
        raise ValidationError(f"{name} must be {what}, got shape {windows.shape}")
    wrong = windows[:, 1] <= windows[:, 0]
    if wrong.any():
        a, b = windows[int(wrong.argmax())]
        raise ValidationError(f"{name} must end after they begin, got one from {a} to {b}")
    return windows


def different_indices(neurons: ArrayLike, count: int) -> NDArray[np.integer[Any]]:
    """Indices of different ones among `count` neurons, at least one, as an array.

    Raises
    ------
    ValidationError
        If they are none.
    """
    chosen = np.atleast_1d(np.asarray(neurons))
    if chosen.ndim != 1 or chosen.dtype.kind not in "iu" or chosen.size == 0 or np.unique(chosen).size < chosen.size:
        raise ValidationError(f"neurons must be a list of different indices, got {describe(neurons)}")
    if chosen.min() < 0 or chosen.max() >= count:
        raise ValidationError(f"neurons must be from 0 to {count - 1}, got {describe(neurons)}")
    return chosen


def padded(rows: Sequence[tuple[NDArray[Any], NDArray[Any]]]) -> tuple[Array, Integers]:
    """Times and neurons of samples, each a row of its own length, as arrays; inf and −1 after the last."""
    shape = len(rows), max((row.size for row, _ in rows), default=0)
    times, neurons = np.full(shape, np.inf), np.full(shape, -1, dtype=np.int64)
    for n, (own_times, own_neurons) in enumerate(rows):
        times[n, : own_times.size], neurons[n, : own_times.size] = own_times, own_neurons
    return times, neurons


def packed_spikes(
    times: NDArray[Any], neurons: NDArray[Any], there: NDArray[np.bool_]
) -> tuple[NDArray[Any], NDArray[Any], NDArray[np.intp]]:
    """Times and neurons of the spikes that are `there`, and the columns in which they stood, as :func:`packed` has it;
    inf and −1 after the last.
    """
    columns = packed(there)
    return taken(times, columns, np.inf), taken(neurons, columns, -1), columns


def taken(values: NDArray[Any], columns: NDArray[np.intp], nothing: float) -> NDArray[Any]:
    """In each row the values at these columns; `nothing` where a column is −1."""
    return np.where(columns >= 0, np.take_along_axis(values, np.maximum(columns, 0), axis=1), nothing)


def packed(there: NDArray[np.bool_]) -> NDArray[np.intp]:
    """Where each row is true, packed to the left, shape (S, largest number of them in a row); −1 where no more is."""
    columns = np.argsort(~there, axis=1, kind="stable")
    counts = there.sum(axis=1)
    width = int(counts.max(initial=0))
    return np.where(np.arange(width) < counts[:, None], columns[:, :width], -1)
