"""Losses on numbers of spikes: squared differences, and classification."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .errors import ValidationError
from .losses import Loss, LossValue, as_trains, observed_pair, spread_entries
from .spike_trains import SpikeTrains
from .validation import as_float, as_real_array, describe, require
from .values import Remembered

Array = NDArray[np.float64]


class _CountLoss(Loss):
    """What losses on counts share: chosen neurons, windows, and what one more spike at t1 adds."""

    order_matters = False

    def __init__(self, neurons: ArrayLike | None, windows: Sequence[tuple[float, float]] | None) -> None:
        self.neurons = neurons
        self.windows: Array | None = None
        if windows is not None:
            self.windows = as_real_array("windows", windows, (2,), "a sequence of pairs (start, stop)")
            if self.windows.shape[1] != 2 or not len(self.windows):
                raise ValidationError(
                    f"windows must be pairs (start, stop), at least one, got shape {self.windows.shape}"
                )
            stops = self.windows[:, 1]
            require("windows", stops, stops > self.windows[:, 0], "pairs (start, stop) with start before stop")
            self.edges = tuple(np.unique(self.windows).tolist())

    def _observed(self, trains: SpikeTrains) -> SpikeTrains:
        return trains.select(self.neurons)

    def _counts(self, trains: SpikeTrains) -> Array:
        """Spikes of each neuron in each window, (S, N, W)."""
        if self.windows is None:
            return trains.spike_counts[:, :, None].astype(np.float64)
        if self.windows.min() < trains.t0 or self.windows.max() > trains.t1:
            raise ValidationError(
                f"windows must lie within [t0, t1] = [{trains.t0}, {trains.t1}], got {self.windows.tolist()}"
            )
        shape = (trains.num_samples, trains.num_neurons)
        flat = np.arange(shape[0])[:, None] * shape[1] + trains.neurons
        counts = np.empty((*shape, len(self.windows)))
        for w, (start, stop) in enumerate(self.windows):
            before = trains.times <= stop if stop == trains.t1 else trains.times < stop
            inside = (trains.times >= start) & before & (trains.neurons >= 0)
            counts[:, :, w] = np.bincount(flat[inside], minlength=shape[0] * shape[1]).reshape(shape)
        return counts

    def _at_end(self, trains: SpikeTrains) -> Array:
        """1 for each window that a spike at t1 is in, else 0."""
        return np.ones(1) if self.windows is None else (self.windows[:, 1] == trains.t1).astype(np.float64)

    def _check_edges(self, generated: Any, trains: SpikeTrains) -> None:
        """Raise unless a spike that crosses the edge of a window is seen: by the recorded times."""
        recorded = np.asarray(getattr(generated, "ts", ()))
        missing = [edge for edge in self.edges if trains.t0 < edge < trains.t1 and edge not in recorded]
        if missing:
            raise ValidationError(
                f"the unbiased gradient needs the edges of windows among the recorded times: add {missing} to saveat"
            )


class SpikeCountLoss(_CountLoss):
    r"""Mean squared difference of numbers of spikes: of their means, or of paired samples.

    With :math:`C_{skw}` the number of spikes of neuron k in window w of generated sample s, and C′ that of the data,
    "mean" is :math:`\frac1{NW}\sum_{kw}(\frac1S\sum_sC_{skw}-\frac1{S'}\sum_sC'_{skw})^2` and "mse"
    :math:`\frac1{SNW}\sum_{skw}(C_{skw}-C'_{skw})^2`. Its pathwise gradient is zero: what moves it is spikes that
    appear and vanish, so it needs unbiased gradients.

    Parameters
    ----------
    kind : {"mean", "mse"}
    neurons : array_like of int, optional
        Observe these neurons only.
    windows : sequence of (start, stop), optional
        Count in [start, stop), and up to t1 included where that is the stop; default all spikes. A spike that crosses
        an edge within (t0, t1) moves from one window to the next: for unbiased gradients such edges must be among the
        recorded times (``saveat``).

    Notes
    -----
    Data may be a Solution, SpikeTrains, or an array of counts: (S, N), with windows (S, N, W), N the observed neurons
    or all.

    Raises
    ------
    ValidationError
        If an argument or the data is not what it should be, a window is not within [t0, t1], or, of
        :meth:`with_entries`, an edge is not in ``saveat``.

    Examples
    --------
    Two and no spikes against one in each sample: right on average.

    >>> trains = SpikeTrains([[0.5, 1.5], [np.inf, np.inf]], [[0, 0], [-1, -1]], num_neurons=1, t0=0.0, t1=2.0)
    >>> target = np.array([[1], [1]])
    >>> SpikeCountLoss("mean")(trains, target).value, SpikeCountLoss("mse")(trains, target).value
    (0.0, 1.0)
    """

    def __init__(
        self,
        kind: str = "mean",
        neurons: ArrayLike | None = None,
        windows: Sequence[tuple[float, float]] | None = None,
    ) -> None:
        if kind not in ("mean", "mse"):
            raise ValidationError(f'kind must be "mean" or "mse", got {describe(kind)}')
        super().__init__(neurons, windows)
        self.kind = kind
        self._target: Remembered[Array] = Remembered()

    def __call__(self, generated: Any, data: Any) -> LossValue:
        counts, target = self._compared(generated, data)
        return LossValue(float(((self._mean(counts) - target) ** 2).mean()))

    def with_entries(self, generated: Any, data: Any) -> LossValue:
        """The loss with its ``entries``: one more spike at t1 is one more in the windows that end there."""
        trains = as_trains("generated", generated)
        counts, target = self._compared(generated, data)
        self._check_edges(generated, trains)
        entries = self._changes(counts, target, np.broadcast_to(self._at_end(trains), counts.shape)).mean(axis=2)
        entries = spread_entries(entries / counts.shape[1], self.neurons, trains.num_neurons)
        return self(generated, data)._replace(entries=entries)

    def exchange(self, generated: Any, data: Any, other: Any) -> Array:
        """By how much the loss changes where sample s is replaced by that of `other`; see :meth:`Loss.exchange`."""
        counts, target = self._compared(generated, data)
        after = self._counts(self._observed(as_trains("other", other)))
        return np.asarray(self._changes(counts, target, after - counts).mean(axis=(1, 2)))

    def _compared(self, generated: Any, data: Any) -> tuple[Array, Array]:
        """The generated counts (S, N, W), and what they, or their mean, (1, N, W), are compared with."""
        counts = self._counts(self._observed(as_trains("generated", generated)))
        target = self._target(lambda: self._mean(self._data_counts(generated, data, counts.shape)), data)
        if self.kind == "mse" and len(target) != len(counts):
            raise ValidationError(
                f'kind "mse" pairs the samples of both batches: data must have {len(counts)} samples, got {len(target)}'
            )
        return counts, target

    def _mean(self, counts: Array) -> Array:
        return counts if self.kind == "mse" else counts.mean(axis=0, keepdims=True)

    def _changes(self, counts: Array, target: Array, more: Array) -> Array:
        """By how much the square changes, per sample, neuron and window, where the sample has `more` spikes."""
        if self.kind == "mse":
            return np.asarray(more * (2.0 * (counts - target) + more) / len(counts))
        share = more / len(counts)
        return np.asarray(share * (2.0 * (self._mean(counts) - target) + share))

    def _data_counts(self, generated: Any, data: Any, shape: tuple[int, ...]) -> Array:
        if isinstance(getattr(data, "spike_trains", data), SpikeTrains):
            return self._counts(observed_pair(generated, data, self.neurons)[2])
        what = "a Solution, SpikeTrains, or counts of shape (S, N), with windows (S, N, W)"
        counts = as_real_array("data", data, (2, 3), what)
        require("data", counts, counts >= 0, "numbers of spikes, not negative")
        counts = counts[:, :, None] if counts.ndim == 2 else counts
        total = as_trains("generated", generated).num_neurons
        if self.neurons is not None and counts.shape[1] == total:
            counts = counts[:, np.atleast_1d(np.asarray(self.neurons))]
        if not len(counts) or counts.shape[1:] != shape[1:]:
            raise ValidationError(
                f"data must be counts of the {shape[1]} observed neurons in {shape[2]} windows, "
                f"(S, {shape[1]}, {shape[2]}), got shape {np.shape(data)}"
            )
        return counts


class CountCrossEntropy(_CountLoss):
    r"""Classification by numbers of spikes: the cross-entropy of labels and softmax of counts.

    :math:`-\frac1S\sum_s\log\frac{e^{z_{s,y_s}}}{\sum_ke^{z_{sk}}}` with :math:`z_{sk}` the number of spikes of the
    k-th chosen neuron times `scale`, and :math:`y_s` the label of sample s. Its pathwise gradient is zero: what moves
    it is spikes that appear and vanish, so it needs unbiased gradients.

    Parameters
    ----------
    neurons : array_like of int, optional
        One neuron per class, at least two; default all.
    windows : sequence of (start, stop), optional
        Count in these windows, all taken together; as for :class:`SpikeCountLoss`.
    scale : float
        What one spike counts for.

    Notes
    -----
    Data are integer labels from 0 to C − 1, shape (S,), one per generated sample.

    Raises
    ------
    ValidationError
        If an argument or the data is not what it should be, a window is not within [t0, t1], or, of
        :meth:`with_entries`, an edge is not in ``saveat``.

    Examples
    --------
    >>> trains = SpikeTrains([[0.5, 1.5]], [[0, 0]], num_neurons=2, t0=0.0, t1=2.0)
    >>> round(CountCrossEntropy()(trains, np.array([0])).value, 6)             # log(1 + exp(−2))
    0.126928
    """

    def __init__(
        self,
        neurons: ArrayLike | None = None,
        windows: Sequence[tuple[float, float]] | None = None,
        scale: float = 1.0,
    ) -> None:
        super().__init__(neurons, windows)
        self.scale = as_float("scale", scale, positive=True)

    def __call__(self, generated: Any, data: Any) -> LossValue:
        logits = self._logits(as_trains("generated", generated))
        return LossValue(float(cross_entropies(logits, checked_labels(data, logits.shape)).mean()))

    def with_entries(self, generated: Any, data: Any) -> LossValue:
        """The loss with its ``entries``.

        With p the softmax and c what a spike at t1 counts for, :math:`(\\log(1+p_{sk}(e^c-1))-c1_{k=y_s})/S`.
        """
        trains = as_trains("generated", generated)
        self._check_edges(generated, trains)
        logits, more = self._logits(trains), self.scale * float(self._at_end(trains).sum())
        labels = checked_labels(data, logits.shape)
        log_p = logits - log_sum(logits)[:, None]
        with np.errstate(divide="ignore"):  # of what is certain, nothing is left
            changes = np.logaddexp(np.log1p(-np.exp(log_p)), log_p + more)
        changes[np.arange(len(labels)), labels] -= more
        entries = spread_entries(changes / len(labels), self.neurons, trains.num_neurons)
        return self(generated, data)._replace(entries=entries)

    def exchange(self, generated: Any, data: Any, other: Any) -> Array:
        """By how much the loss changes where sample s is replaced by that of `other`; see :meth:`Loss.exchange`."""
        before, after = (self._logits(as_trains("trains", batch)) for batch in (generated, other))
        labels = checked_labels(data, before.shape)
        return (cross_entropies(after, labels) - cross_entropies(before, labels)) / len(labels)

    def _logits(self, trains: SpikeTrains) -> Array:
        observed = self._observed(trains)
        if observed.num_neurons < 2:
            raise ValidationError(f"neurons must be one per class, at least two, got {observed.num_neurons}")
        return np.asarray(self.scale * self._counts(observed).sum(axis=2))


def checked_labels(data: Any, shape: tuple[int, ...]) -> NDArray[np.int64]:
    """Labels of samples, if they are ones for logits of that shape (S, C)."""
    labels = np.asarray(data)
    if labels.dtype.kind not in "iu" or labels.shape != shape[:1]:
        raise ValidationError(
            f"data must be integer labels, one for each of the {shape[0]} samples, got {describe(data)}"
        )
    if labels.size and (labels.min() < 0 or labels.max() >= shape[1]):
        raise ValidationError(f"data must be labels from 0 to {shape[1] - 1}, got {labels.min()} to {labels.max()}")
    return labels.astype(np.int64)


def log_sum(logits: Array) -> Array:
    """log Σ exp over classes."""
    return np.asarray(np.logaddexp.reduce(logits, axis=1))


def cross_entropies(logits: Array, labels: NDArray[np.int64]) -> Array:
    """−log softmax at the labels, per sample."""
    return log_sum(logits) - logits[np.arange(len(labels)), labels]
