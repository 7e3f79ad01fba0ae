"""Losses on recorded membrane potentials, and sums of losses: spikes, potentials, or both."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .errors import NoGradientError, ValidationError
from .losses import Loss, LossValue, change_of_square
from .recordings import with_spike_at_end
from .signature_kernels import (
    SignatureKernel,
    mmd_exchange,
    mmd_weights,
    signature_kernel_gram,
    signature_kernel_gram_backprop,
)
from .signatures import expected_signature, expected_signature_backprop, signature
from .validation import as_float, as_int, as_real_array, describe

Array = NDArray[np.float64]


class PotentialLoss(Loss):
    r"""A signature loss on the paths (t, v_1, …, v_n) of recorded potentials, piecewise linear between the times of
    ``saveat``.

    Parameters
    ----------
    kind : {"mmd", "expected_signature"}
        The squared MMD of the signature kernel, or the mean squared difference of expected signatures to `depth`.
    depth : int
        For "expected_signature".
    neurons : array_like of int, optional
        Observe these neurons only; default all.
    scales : array_like, shape () or (1 + n,), optional
        Factors for the channels (time, potentials). Kernels grow like exp(2·√(lengths of both paths)), and a recorded
        potential is rough: its length grows with the number of recorded times, so that small scales or few times are
        advised (:func:`median_scales` of the paths).
    unbiased : bool
        For "mmd": leave out the kernels of samples with themselves; the loss may then be negative. With them, and for
        "expected_signature", the loss of S samples exceeds the distance of the laws by a variance over S, which pulls a
        fit of few samples towards quiet models.

    Notes
    -----
    Generated and recorded solutions must be recorded at the same times. Data may be a Solution, or an array of
    potentials (S, T, N).

    References
    ----------
    Holberg and Salvi, NeurIPS 2024, section 4.

    Examples
    --------
    >>> import ssnn_py as ssnn
    >>> net = ssnn.SLIFNetwork([[0.0]], input_current=1.0, sigma=0.2)
    >>> solution = ssnn.simulate(net, t1=1.0, dt=0.01, num_samples=4, saveat=0.2)
    >>> bool(abs(PotentialLoss(unbiased=False)(solution, solution).value) < 1e-12)
    True
    """

    order_matters = False
    observes_states = True

    def __init__(
        self,
        kind: str = "mmd",
        depth: int = 3,
        neurons: ArrayLike | None = None,
        scales: ArrayLike | None = None,
        unbiased: bool = True,
    ) -> None:
        if kind not in ("mmd", "expected_signature"):
            raise ValidationError(f'kind must be "mmd" or "expected_signature", got {describe(kind)}')
        self.kind = kind
        self.depth = as_int("depth", depth, 1, 64)
        self.neurons = None if neurons is None else np.atleast_1d(np.asarray(neurons))
        self.scales = None if scales is None else as_real_array("scales", scales, (0, 1))
        self.unbiased = bool(unbiased)

    def __call__(self, generated: Any, data: Any) -> LossValue:
        X, Y = self._both(generated, data)
        value, bar = self._mmd(X, Y) if self.kind == "mmd" else self._expected(X, Y)
        v_bar = np.zeros(generated.v.shape)
        columns = slice(None) if self.neurons is None else self.neurons
        v_bar[..., columns] = bar[..., 1:]
        return LossValue(value, None, v_bar)

    def with_entries(self, generated: Any, data: Any) -> LossValue:
        """The loss with its ``entries``: where the potentials at t1 are recorded, a spike there lowers the one of the
        neuron that fires.
        """
        result = self(generated, data)
        potentials, entries = generated.v, np.zeros(generated.v[:, 0].shape)
        change = self._exchange(*self._both(generated, data))
        observed = range(entries.shape[1]) if self.neurons is None else [int(k) for k in self.neurons]
        for k in observed:
            after = with_spike_at_end(generated, k).v
            if not np.array_equal(after, potentials):
                entries[:, k] = change(self._paths("generated", generated.ts, after))
        return result._replace(entries=entries)

    def exchange(self, generated: Any, data: Any, other: Any) -> Array:
        """By how much the loss changes where sample s of `generated` is replaced by that of `other`; see
        :meth:`Loss.exchange`.
        """
        return self._exchange(*self._both(generated, data))(self._paths("other", generated.ts, other.v))

    def _exchange(self, X: Array, Y: Array) -> Callable[[Array], Array]:
        if self.kind == "mmd":
            return mmd_exchange(SignatureKernel(scales=self.scales), X, Y, mmd_weights(len(X), len(Y), self.unbiased))
        here = signature(X, self.depth, scales=self.scales)
        difference = here.mean(axis=0) - expected_signature(Y, self.depth, scales=self.scales)
        return lambda Z: change_of_square(difference, signature(Z, self.depth, scales=self.scales) - here, len(here))

    def _both(self, generated: Any, data: Any) -> tuple[Array, Array]:
        """The paths of the generated potentials and of the data's."""
        if not hasattr(generated, "v") or generated.ts.size < 2:
            raise ValidationError("generated must be a Solution recorded at two times or more (saveat)")
        times = generated.ts
        if hasattr(data, "ts") and not np.array_equal(data.ts, times):
            raise ValidationError("data must be recorded at the same times as the generated solution (saveat)")
        return self._paths("generated", times, generated.v), self._paths("data", times, getattr(data, "v", data))

    def _paths(self, name: str, times: Array, potentials: Any) -> Array:
        v = _potentials(name, potentials)
        if v.ndim != 3 or v.shape[1] != times.size:
            raise ValidationError(f"{name} must hold potentials of shape (S, {times.size}, N), got shape {v.shape}")
        if not np.isfinite(v).all():
            raise ValidationError(
                f"{name} must be recorded to the end: potentials of a sample cut short by max_spikes are NaN"
            )
        if self.neurons is not None:
            if self.neurons.dtype.kind not in "iu" or self.neurons.min() < 0 or self.neurons.max() >= v.shape[2]:
                raise ValidationError(f"neurons must be from 0 to {v.shape[2] - 1}, got {describe(self.neurons)}")
            v = v[..., self.neurons]
        clock = np.broadcast_to(times[None, :, None], (*v.shape[:2], 1))
        return np.concatenate([clock, v], axis=2)

    def _mmd(self, X: Array, Y: Array) -> tuple[float, Array]:
        weights = mmd_weights(len(X), len(Y), self.unbiased)
        pairs = ((X, None), (Y, None), (X, Y))
        grams = (signature_kernel_gram(*pair, scales=self.scales) for pair in pairs)
        value = float(sum((w * K).sum() for w, K in zip(weights, grams, strict=True)))
        own, _ = signature_kernel_gram_backprop(X, None, weights[0], scales=self.scales)
        cross, _ = signature_kernel_gram_backprop(X, Y, weights[2], scales=self.scales)
        return value, own + cross

    def _expected(self, X: Array, Y: Array) -> tuple[float, Array]:
        means = (expected_signature(paths, self.depth, scales=self.scales) for paths in (X, Y))
        difference = next(means) - next(means)
        bar = expected_signature_backprop(X, 2.0 * difference / difference.size, self.depth, scales=self.scales)
        return float((difference**2).mean()), bar


class SumLoss(Loss):
    """A weighted sum of losses, for instance one on spikes and one on potentials.

    Parameters
    ----------
    losses : sequence of Loss or callable
        With a function ``(generated, data) -> LossValue`` among them, nothing is known of what one more spike changes:
        the sum has pathwise gradients only (`has_entries` is False).
    weights : sequence of float, optional
        Default 1 each.

    Examples
    --------
    >>> import ssnn_py as ssnn
    >>> one = ssnn.SpikeTrains([[0.5], [1.5]], [[0], [0]], num_neurons=1, t0=0.0, t1=2.0)
    >>> other = ssnn.SpikeTrains([[0.5]], [[0]], num_neurons=1, t0=0.0, t1=2.0)
    >>> SumLoss([ssnn.FirstSpikeLoss(n=1), ssnn.FirstSpikeLoss(n=1, kind="mae")], [1.0, 10.0])(one, other).value
    5.25
    """

    def __init__(self, losses: Sequence[Callable[..., Any]], weights: Sequence[float] | None = None) -> None:
        if not losses or not all(callable(loss) for loss in losses):
            raise ValidationError(f"losses must be losses, at least one, got {describe(losses)}")
        self.losses = tuple(losses)
        self.weights = tuple(as_float("weights", w) for w in (weights if weights is not None else [1.0] * len(losses)))
        if len(self.weights) != len(self.losses):
            raise ValidationError(
                f"weights must have one number per loss ({len(self.losses)}), got {len(self.weights)}"
            )
        known = [loss for loss in self.losses if isinstance(loss, Loss)]
        self.has_entries = len(known) == len(self.losses) and all(loss.has_entries for loss in known)
        self.order_matters = not self.has_entries or any(loss.order_matters for loss in known)
        self.observes_states = any(loss.observes_states for loss in known)
        self.pathwise_by_design = any(loss.pathwise_by_design for loss in known)
        self.edges = tuple(sorted({edge for loss in known for edge in loss.edges}))

    def __call__(self, generated: Any, data: Any) -> LossValue:
        return self._sum([loss(generated, data) for loss in self.losses])

    def with_entries(self, generated: Any, data: Any) -> LossValue:
        """The loss with its ``entries``, the weighted sum of its parts'.

        Raises
        ------
        NoGradientError
            If a part is no :class:`Loss`.
        """
        return self._sum([loss.with_entries(generated, data) for loss in self._parts()])

    def exchange(self, generated: Any, data: Any, other: Any) -> Array:
        """By how much the loss changes where sample s of `generated` is replaced by that of `other`; see
        :meth:`Loss.exchange`.
        """
        changes = (loss.exchange(generated, data, other) for loss in self._parts())
        return np.asarray(sum(w * change for w, change in zip(self.weights, changes, strict=True)))

    def _parts(self) -> list[Loss]:
        parts = [loss for loss in self.losses if isinstance(loss, Loss)]
        if not self.has_entries:
            strangers = [loss for loss in self.losses if not (isinstance(loss, Loss) and loss.has_entries)]
            raise NoGradientError(
                f"what one more spike changes is known of each Loss, but not of {describe(strangers[0])}"
            )
        return parts

    def _sum(self, results: Sequence[Any]) -> LossValue:
        value = sum(w * result[0] for w, result in zip(self.weights, results, strict=True))
        full = [LossValue(*result) for result in results]
        states = dict.fromkeys(name for result in full for name in result.states_bar or {})
        named = {name: self._total([(result.states_bar or {}).get(name) for result in full]) for name in states}
        arrays = {
            name: self._total([getattr(result, name) for result in full])
            for name in LossValue._fields
            if name not in ("value", "states_bar")
        }
        others = {name: bar for name, bar in named.items() if bar is not None}
        return LossValue(float(value), states_bar=others or None, **arrays)

    def _total(self, bars: Sequence[Any]) -> Array | None:
        """The weighted sum of those that are there."""
        terms = [w * np.asarray(bar) for w, bar in zip(self.weights, bars, strict=True) if bar is not None]
        return np.asarray(np.sum(terms, axis=0)) if terms else None


def _potentials(name: str, value: Any) -> Array:
    try:
        return np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError):
        raise ValidationError(
            f"{name} must be a Solution with recorded potentials, or an array of them, got {describe(value)}"
        ) from None
