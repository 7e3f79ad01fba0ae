"""Losses between generated and recorded spike trains, with their exact cotangents.

A new loss is a subclass of :class:`Loss`, or any function ``(generated, data) -> LossValue``, in a file of its own.
"""

from __future__ import annotations

import abc
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import engine as engines
from .engine import reference_signature
from .errors import ValidationError
from .recordings import Recordings, with_spike_at_end
from .signature_kernels import GRAM, SYMMETRIC, SignatureKernel, mmd_exchange, mmd_weights
from .signatures import (
    expected_signature,
    expected_signature_backprop,
    expected_signature_exchange,
    expected_signature_loss,
    signature,
)
from .spike_trains import SpikeTrains
from .validation import as_int, as_real_array, describe, require, short
from .values import Remembered, equal, fingerprint

Array = NDArray[np.float64]


class LossValue(NamedTuple):
    """A loss, and its derivatives with respect to the generated solution; None where it does not depend on that part.

    The last two make gradients of expectations unbiased (docs/gradients.md): ``entries[s, k]`` is by how much the loss
    changes where neuron k of sample s fires once more, at t1; ``entries_at_saves[s, m, k]`` by how much it changes
    where the state recorded at the m-th time is that after a spike of k (for losses that are sums over recorded times).
    None where they were not asked for, or are not known.

    It is a tuple; two are equal where all their parts are, arrays element by element.
    """

    value: float
    spike_times_bar: Array | None = None  # (S, K)
    v_bar: Array | None = None  # (S, T, N)
    i_bar: Array | None = None
    entries: Array | None = None  # (S, N)
    entries_at_saves: Array | None = None  # (S, T, N)
    states_bar: Mapping[str, Array] | None = None  # (S, T, N) each, of recorded variables of other names
    log_hazards_bar: Array | None = None  # (S, K′), at the spikes of a recording to which neurons are clamped
    hazards_bar: Array | None = None

    def __eq__(self, other: object) -> bool:
        return isinstance(other, tuple) and equal(tuple(self), tuple(other))

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __hash__(self) -> int:
        return hash(fingerprint(tuple(self)))


class Loss(abc.ABC):
    """Base class of losses.

    A loss is equal to itself alone. Copies and pickles of it forget what it has remembered of its data
    (:class:`ssnn_py.values.Remembered`).

    A loss of its own writes :meth:`__call__`, which suffices for pathwise gradients and, slowly, for unbiased ones.
    :meth:`exchange` in closed form makes these fast, :meth:`with_entries` where one spike more at the end is cheaper
    than any other sample.

    Attributes
    ----------
    clamps : bool
        Whether it looks at runs that are clamped to its data, as :meth:`clamped` makes them.
    order_matters : bool
        Whether the loss depends on which of two spikes of different neurons comes first, not on their times alone.
    observes_states : bool
        Whether it depends on recorded potentials or currents.
    has_entries : bool
        Whether :meth:`exchange` and :meth:`with_entries` can be called. Without them a loss has pathwise gradients
        only.
    pathwise_by_design : bool
        Whether its pathwise gradient is the one to follow, not that of its mean; ``gradient="auto"`` then takes it.
    edges : tuple of float
        Times at which the loss jumps where a spike crosses them, as the ends of windows in which spikes are counted.
    """

    clamps: bool = False
    order_matters: bool = True
    observes_states: bool = False
    has_entries: bool = True
    pathwise_by_design: bool = False
    edges: tuple[float, ...] = ()

    def __repr__(self) -> str:
        shown, held = [], {**getattr(self, "options", {}), **self.__dict__}
        for name, argument in inspect.signature(type(self)).parameters.items():
            if name in held and not equal(held[name], argument.default):
                shown.append(f"{name}={short(held[name])}")
        return f"{type(self).__name__}({', '.join(shown)})"

    def __getstate__(self) -> dict[str, Any]:
        return {name: Remembered() if isinstance(x, Remembered) else x for name, x in self.__dict__.items()}

    @abc.abstractmethod
    def __call__(self, generated: Any, data: Any) -> LossValue:
        """The loss of `generated` (a Solution or SpikeTrains) against `data` (likewise)."""

    def clamped(self, problem: engines.Problem, data: Any) -> engines.Problem:
        """The problem whose solution the loss wants to see; itself, but for losses that clamp neurons to their data."""
        return problem

    def evaluated(
        self, problem: engines.Problem, data: Any, engine: str, wrt: Sequence[str]
    ) -> tuple[float, dict[str, Array], engines.Problem] | None:
        """Value and gradients of a loss that runs the network itself, and the problem of one run of each sample; None
        where the loss is a function of one solution, as almost all are.
        """
        return None

    def exchange(self, generated: Any, data: Any, other: Any) -> Array:
        """By how much the loss changes where sample s of `generated` is replaced by that of `other`, for each s by
        itself.

        Parameters
        ----------
        generated, other : Solution, Recordings or SpikeTrains
        data : as for the loss

        Returns
        -------
        ndarray, shape (S,)
        """
        mine, theirs = Recordings.of(generated), Recordings.of(other)
        here = self(generated, data)[0]
        return np.array([self(mine.replaced(theirs, [s]), data)[0] - here for s in range(len(mine.spike_trains))])

    def with_entries(self, generated: Any, data: Any) -> LossValue:
        """The loss with its ``entries``."""
        result = LossValue(*self(generated, data))
        trains = as_trains("generated", generated)
        entries = np.zeros((trains.num_samples, trains.num_neurons))
        for k in range(trains.num_neurons):
            entries[:, k] = self.exchange(generated, data, with_spike_at_end(generated, k))
        return result._replace(entries=entries)


def as_trains(name: str, value: Any) -> SpikeTrains:
    """`value` itself, or the spike trains of a solution."""
    trains = getattr(value, "spike_trains", value)
    if not isinstance(trains, SpikeTrains):
        raise ValidationError(f"{name} must be a Solution or SpikeTrains, got {describe(value)}")
    return trains


def _engine_of(generated: Any) -> str:
    return engines.resolve(getattr(generated, "engine", "auto"))


#: From how many cells of kernels on, pairs of spikes, workers compute them: those of a tenth of a second or so.
CELLS_TO_SHARE = 2**21


def workers_of(generated: Any, mine: SpikeTrains, theirs: SpikeTrains) -> Any:
    """The workers that generated a solution, where kernels of its trains with each other and with `theirs` are worth
    what travels; None where they are not, and where there are none.
    """
    workers = getattr(getattr(generated, "problem", None), "executor", None)
    if workers is None:
        return None
    own, others = (int((trains.neurons >= 0).sum()) + trains.num_samples for trains in (mine, theirs))
    return workers if own * (own // 2 + others) >= CELLS_TO_SHARE else None


def device_of(generated: Any) -> str:
    """Where trains were generated: of a solution its device, if it has the double precision that losses take."""
    device = str(getattr(getattr(generated, "problem", None), "device", "cpu"))
    return device if device == "cpu" or engines.has_double(device) else "cpu"


def change_of_square(mean: Array, changes: Array, count: int) -> Array:
    """By how much the mean square of `mean`, of `count` rows, changes with each row by itself: (R, W) to (R,)."""
    return np.asarray((changes @ mean * (2 / count) + (changes**2).sum(axis=1) / count**2) / mean.size)


def observed_pair(
    generated: Any, data: Any, neurons: ArrayLike | None
) -> tuple[SpikeTrains, SpikeTrains, SpikeTrains, Any]:
    """The generated trains as they are, those observed of both, and where the observed spikes stand (None: all)."""
    mine, theirs = as_trains("generated", generated), as_trains("data", data)
    if neurons is None:
        observed, columns = mine, None
    else:
        selection = mine.selection(neurons)
        observed, columns = mine.masked(*selection), selection[0]
        if theirs.num_neurons != observed.num_neurons:
            theirs = theirs.select(neurons)
    if theirs.num_neurons != observed.num_neurons:
        raise ValidationError(
            f"data must have the {observed.num_neurons} observed neurons of the generated trains, got "
            f"{theirs.num_neurons}"
        )
    if (theirs.t0, theirs.t1) != (mine.t0, mine.t1):
        raise ValidationError(
            f"data must be observed over the same interval [{mine.t0}, {mine.t1}], got [{theirs.t0}, {theirs.t1}]"
        )
    return mine, observed, theirs, columns


def _spread(times_bar: Array, columns: Any, shape: tuple[int, ...]) -> Array:
    """Cotangents of the observed spikes, at the places of all spikes."""
    if columns is None:
        return times_bar
    out = np.zeros(shape)
    rows, places = np.nonzero(columns >= 0)
    out[rows, columns[rows, places]] = times_bar[rows, places]
    return out


def spread_entries(entries: Array, neurons: ArrayLike | None, num_neurons: int) -> Array:
    """Entries of the observed neurons, among those of all; the loss does not see the others' spikes."""
    if neurons is None:
        return entries
    out = np.zeros((len(entries), num_neurons))
    out[:, np.atleast_1d(np.asarray(neurons))] = entries
    return out


def matched_trains(X: SpikeTrains, Y: SpikeTrains) -> tuple[SpikeTrains, SpikeTrains, NDArray[np.intp]]:
    """Pairs of samples in which both keep of each neuron only as many spikes as the other has.

    Returns
    -------
    X, Y : SpikeTrains
        Of the shapes that were given; the spikes that are kept come first.
    columns : ndarray of int, shape (S, K)
        Where the spikes of X stood; −1 where there is none.
    """
    caps = np.minimum(X.spike_counts, Y.spike_counts)

    def capped(trains: SpikeTrains) -> tuple[SpikeTrains, NDArray[np.intp]]:
        there = trains.neurons >= 0
        keep = there & (trains.ranks < np.take_along_axis(caps, np.where(there, trains.neurons, 0), axis=1))
        times, neurons = np.where(keep, trains.times, np.inf), np.where(keep, trains.neurons, -1)
        order = np.argsort(~keep, axis=1, kind="stable")
        packed = SpikeTrains.unchecked(
            np.take_along_axis(times, order, 1),
            np.take_along_axis(neurons, order, 1),
            trains.num_neurons,
            trains.t0,
            trains.t1,
        )
        return packed, np.where(np.take_along_axis(keep, order, 1), order, -1)

    (X, columns), (Y, _) = capped(X), capped(Y)
    return X, Y, columns


class ExpectedSignatureLoss(Loss):
    r"""Mean squared difference of expected signatures, :math:`\frac1W\sum_w(\mathbb E\,S^w(X)-\mathbb E\,S^w(Y))^2`.

    The sum runs over the W words of levels 1 to `depth`; X and Y are the Marcus lifts of generated and recorded trains.

    Parameters
    ----------
    depth : int
    match_spikes : bool
        Pair sample p of one batch with sample p of the other, and keep in both only as many spikes of each neuron as
        the one with fewer has: later spikes have no jump and no gradient. Needs batches of equal size. The published
        experiments do so, since pathwise gradients do not see spikes that come or go. The loss then speaks of spike
        times alone (a silent network would match anything), and ``gradient="auto"`` takes its pathwise gradient.
    neurons : array_like of int, optional
        Observe these neurons only.
    scales : array_like, shape () or (1 + N,), optional
        Factors for the channels (time, neurons).

    References
    ----------
    Holberg and Salvi, NeurIPS 2024, section 5.

    Examples
    --------
    >>> trains = SpikeTrains([[0.5]], [[0]], num_neurons=1, t0=0.0, t1=2.0)
    >>> ExpectedSignatureLoss(depth=3)(trains, trains).value
    0.0
    """

    def __init__(
        self,
        depth: int = 3,
        match_spikes: bool = False,
        neurons: ArrayLike | None = None,
        scales: ArrayLike | None = None,
    ) -> None:
        self.depth = as_int("depth", depth, 1, 64)
        self.match_spikes = self.pathwise_by_design = bool(match_spikes)
        self.neurons = neurons
        self.scales = None if scales is None else as_real_array("scales", scales, (0, 1))
        if self.scales is not None:
            require("scales", self.scales, self.scales > 0, "positive")
        self._target: Remembered[Array] = Remembered()
        self._difference: Remembered[Array] = Remembered()

    def __call__(self, generated: Any, data: Any) -> LossValue:
        return self._evaluate(generated, data, with_entries=False)

    def with_entries(self, generated: Any, data: Any) -> LossValue:
        r"""The loss with its ``entries``.

        A spike of neuron k at t1 makes :math:`S(X)` to :math:`S(X)\otimes e^{c_k e_k}`, :math:`c_k` its scale, and so
        changes :math:`S^w` by :math:`\Delta^w=\sum_{r\ge1}S^{w_r}(X)\,c_k^r/r!`, where :math:`w_r` is w without its
        last r letters, as long as these all are k. With d the difference of the expected signatures the loss changes by
        :math:`(2\langle d,\Delta\rangle/S+|\Delta|^2/S^2)/W`. With `match_spikes` the sample's partner gets one more
        spike as well, if it has one to spare, else nothing changes.
        """
        return self._evaluate(generated, data, with_entries=True)

    def exchange(self, generated: Any, data: Any, other: Any) -> Array:
        """By how much the loss changes where sample s is replaced by that of `other`; see :meth:`Loss.exchange`."""
        _, before, theirs, _ = self._pair(generated, data)
        after = observed_pair(other, data, self.neurons)[1]
        factors, engine = self._factors(before.num_neurons + 1), _engine_of(generated)
        if engine == "julia" and not self.match_spikes:

            def of_this_batch() -> Array:
                return expected_signature(before, self.depth, scales=factors) - self._mean_of(data, theirs, factors)

            # A batch's own difference is remembered: its samples are exchanged for some and for others in turn.
            difference = self._difference(of_this_batch, generated, data)
            return expected_signature_exchange(before, after, difference, self.depth, factors)

        def differences(trains: SpikeTrains) -> Array:
            """S(X_s) of each sample, less the target's, or its partner's."""
            if not self.match_spikes:
                return signature(trains, self.depth, scales=factors, engine=engine) - target
            X, Y = (
                signature(part, self.depth, scales=factors, engine=engine)
                for part in matched_trains(trains, theirs)[:2]
            )
            return X - Y

        target = 0.0 if self.match_spikes else self._mean_of(data, theirs, factors)
        here = differences(before)
        return change_of_square(here.mean(axis=0), differences(after) - here, len(here))

    def _pair(self, generated: Any, data: Any) -> tuple[SpikeTrains, SpikeTrains, SpikeTrains, Any]:
        mine, observed, theirs, columns = observed_pair(generated, data, self.neurons)
        if self.match_spikes and observed.num_samples != theirs.num_samples:
            raise ValidationError(
                f"match_spikes pairs the samples of both batches: data must have {observed.num_samples} samples, "
                f"got {theirs.num_samples}"
            )
        return mine, observed, theirs, columns

    def _evaluate(self, generated: Any, data: Any, with_entries: bool) -> LossValue:
        mine, observed, theirs, columns = self._pair(generated, data)
        factors, engine = self._factors(observed.num_neurons + 1), _engine_of(generated)
        device, entries = device_of(generated), None
        if engine == "julia" and device != "cpu" and not with_entries:
            value, times_bar = self._on_device(device, observed, theirs, factors, data)
        elif engine == "julia":
            target = theirs if self.match_spikes else self._mean_of(data, theirs, factors)
            value, times_bar, entries = expected_signature_loss(
                observed, target, self.depth, factors, self.match_spikes, with_entries
            )
        else:
            value, times_bar, entries = self._in_numpy(observed, theirs, factors, with_entries)
        if entries is not None:
            entries = spread_entries(entries, self.neurons, mine.num_neurons)
        return LossValue(value, _spread(times_bar, columns, mine.times.shape), entries=entries)

    def _factors(self, channels: int) -> Array | None:
        if self.scales is None:
            return None
        if self.scales.ndim and self.scales.size != channels:
            raise ValidationError(
                f"scales must have one number per channel ({channels}), got shape {self.scales.shape}"
            )
        return np.ascontiguousarray(np.broadcast_to(self.scales, channels))

    def _on_device(
        self, device: str, X: SpikeTrains, Y: SpikeTrains, factors: Array | None, data: Any
    ) -> tuple[float, Array]:
        whole, columns = X.times.shape, None
        if self.match_spikes:
            X, Y, columns = matched_trains(X, Y)
            target = expected_signature(Y, self.depth, scales=factors, device=device)
        else:
            target = self._mean_of(data, Y, factors)
        difference = expected_signature(X, self.depth, scales=factors, device=device) - target
        cotangent = 2.0 * difference / difference.size
        times_bar = expected_signature_backprop(X, cotangent, self.depth, scales=factors, device=device)
        return float((difference**2).mean()), _spread(times_bar, columns, whole)

    def _mean_of(self, data: Any, theirs: SpikeTrains, factors: Array | None) -> Array:
        """The data's expected signature, remembered as long as the data stays the same object."""
        return self._target(lambda: expected_signature(theirs, self.depth, scales=factors), data)

    def _in_numpy(
        self, X: SpikeTrains, Y: SpikeTrains, factors: Array | None, with_entries: bool
    ) -> tuple[float, Array, Array | None]:
        given, whole, columns = (X, Y), X.times.shape, None
        if self.match_spikes:
            X, Y, columns = matched_trains(X, Y)
        S, T = (reference_signature.signatures(part, self.depth, factors) for part in (X, Y))
        difference = S.mean(axis=0) - T.mean(axis=0)
        cotangent = np.tile(2.0 * difference / (difference.size * X.num_samples), (X.num_samples, 1))
        times_bar = reference_signature.signatures_backprop(X, cotangent, self.depth, factors)
        value, times_bar = float((difference**2).mean()), _spread(times_bar, columns, whole)
        if not with_entries:
            return value, times_bar, None
        entries = np.zeros((X.num_samples, X.num_neurons))
        for k in range(X.num_neurons):
            if self.match_spikes:
                longer = matched_trains(with_spike_at_end(given[0], k).spike_trains, given[1])[:2]
                after = (reference_signature.signatures(part, self.depth, factors) for part in longer)
                change = (next(after) - next(after)) - (S - T)
            else:
                height = 1.0 if factors is None else factors[k + 1]
                change = reference_signature.end_changes(S, k + 1, height, X.num_neurons + 1)
            entries[:, k] = change_of_square(difference, change, len(S))
        return value, times_bar, entries


class FirstSpikeLoss(Loss):
    r"""Difference of the average times of each neuron's first n spikes.

    :math:`\frac1{nN}\sum_{j,k}\ell(\frac1S\sum_s\tau^{(s)}_{jk}-\frac1{S'}\sum_s\tau'^{(s)}_{jk})` with ℓ the
    square ("mse") or the absolute value ("mae"). A missing spike counts as t1, and has no gradient.

    Parameters
    ----------
    n : int
    kind : {"mse", "mae"}
    neurons : array_like of int, optional
        Observe these neurons only.

    References
    ----------
    Holberg and Salvi, NeurIPS 2024, section 5.

    Examples
    --------
    >>> one = SpikeTrains([[0.5], [1.5]], [[0], [0]], num_neurons=1, t0=0.0, t1=2.0)
    >>> other = SpikeTrains([[0.5]], [[0]], num_neurons=1, t0=0.0, t1=2.0)
    >>> FirstSpikeLoss(n=1)(one, other).value
    0.25
    """

    order_matters = False

    def __init__(self, n: int = 3, kind: str = "mse", neurons: ArrayLike | None = None) -> None:
        self.n = as_int("n", n, 1)
        if kind not in ("mse", "mae"):
            raise ValidationError(f'kind must be "mse" or "mae", got {describe(kind)}')
        self.kind = kind
        self.neurons = neurons
        self._target: Remembered[Array] = Remembered()

    def __call__(self, generated: Any, data: Any) -> LossValue:
        mine, observed, theirs, columns = observed_pair(generated, data, self.neurons)
        places = observed.first_spike_columns(self.n)
        difference = observed.at_columns(places).mean(axis=0) - self._mean_of(data, theirs)
        square = self.kind == "mse"
        value = float((difference**2 if square else np.abs(difference)).mean())
        slope = (2.0 * difference if square else np.sign(difference)) / (difference.size * observed.num_samples)
        times_bar = np.zeros(observed.times.shape)
        rows, neurons, ranks = np.nonzero(places >= 0)
        times_bar[rows, places[rows, neurons, ranks]] = slope[neurons, ranks]
        return LossValue(value, _spread(times_bar, columns, mine.times.shape))

    def with_entries(self, generated: Any, data: Any) -> LossValue:
        """The loss with its ``entries``: zeros, as a spike at t1 and none are the same to it."""
        trains = as_trains("generated", generated)
        return self(generated, data)._replace(entries=np.zeros((trains.num_samples, trains.num_neurons)))

    def exchange(self, generated: Any, data: Any, other: Any) -> Array:
        """By how much the loss changes where sample s is replaced by that of `other`; see :meth:`Loss.exchange`."""
        _, before, theirs, _ = observed_pair(generated, data, self.neurons)
        here = before.first_spikes(self.n)
        change = (observed_pair(other, data, self.neurons)[1].first_spikes(self.n) - here) / before.num_samples
        difference = here.mean(axis=0) - self._mean_of(data, theirs)
        if self.kind == "mse":
            changes = change * (2.0 * difference + change)
        else:
            changes = np.abs(difference + change) - np.abs(difference)
        return np.asarray(changes.mean(axis=(1, 2)))

    def _mean_of(self, data: Any, theirs: SpikeTrains) -> Array:
        """The data's mean times, remembered as long as the data stays the same object."""
        return self._target(lambda: np.asarray(theirs.first_spikes(self.n).mean(axis=0)), data)


class SignatureMMD(Loss):
    r"""Squared maximum mean discrepancy of the signature kernel, :math:`\|\mathbb E\,S(X)-\mathbb E\,S(Y)\|^2` over all
    words.

    It vanishes only where both trains have the same distribution. See :func:`signature_mmd`; the number of samples may
    differ. Kernels are computed where the samples were: on a device, or, where there are many spikes, by the workers of
    an executor.

    Parameters
    ----------
    unbiased : bool
        Leave out the kernels of samples with themselves; the loss may then be negative.
    depth : int, optional
        Words up to this length only.
    scales : array_like, shape () or (1 + N,), optional
        Factors for the channels (time, neurons); :func:`median_scales` of the data is a good choice where there are
        many spikes.
    neurons : array_like of int, optional
        Observe these neurons only.
    normalize : bool
        Of the normalised kernel.

    References
    ----------
    Gretton et al., J. Mach. Learn. Res. 13, 2012; Salvi et al., SIAM J. Math. Data Sci. 3, 2021.

    Examples
    --------
    >>> trains = SpikeTrains([[0.5], [0.7]], [[0], [0]], num_neurons=1, t0=0.0, t1=2.0)
    >>> bool(abs(SignatureMMD(unbiased=False)(trains, trains).value) < 1e-12)
    True
    """

    def __init__(
        self,
        unbiased: bool = True,
        depth: int | None = None,
        scales: ArrayLike | None = None,
        neurons: ArrayLike | None = None,
        normalize: bool = False,
    ) -> None:
        self.unbiased = bool(unbiased)
        self.options: dict[str, Any] = {"depth": depth, "scales": scales, "normalize": bool(normalize)}
        SignatureKernel(**self.options)
        self.neurons = neurons
        self._own: Remembered[float] = Remembered()
        self._here: Remembered[Callable[[SpikeTrains], Array]] = Remembered()

    def __call__(self, generated: Any, data: Any) -> LossValue:
        mine, observed, theirs, columns = observed_pair(generated, data, self.neurons)
        kernel, weights = self._kernel(generated, observed, theirs)
        workers = workers_of(generated, observed, theirs)
        own = self._own_of(data, theirs, kernel, weights, workers)
        within, within_bar, _ = kernel.pull_back(observed, None, weights[0], SYMMETRIC, executor=workers)
        across, across_bar, _ = kernel.pull_back(observed, theirs, weights[2], GRAM, False, workers)
        value = float((weights[0] * within).sum() + (weights[2] * across).sum()) + own
        return LossValue(value, _spread(within_bar + across_bar, columns, mine.times.shape))

    def with_entries(self, generated: Any, data: Any) -> LossValue:
        """The loss with its ``entries``.

        One more spike at the end of a train is one more row of cells of its kernels, and in Julia costs little more
        than the loss. With `depth`, and in NumPy, the kernels are computed anew for every neuron.
        """
        mine, observed, theirs, columns = observed_pair(generated, data, self.neurons)
        kernel, weights = self._kernel(generated, observed, theirs)
        if engines.resolve(kernel.engine) == "julia" and kernel.depth is None:
            workers = workers_of(generated, observed, theirs)
            value, bar, entries = kernel.mmd_with_entries(observed, theirs, weights, workers)
            value += self._own_of(data, theirs, kernel, weights, workers)
            result = LossValue(value, _spread(bar, columns, mine.times.shape))
        else:
            result, change = self(generated, data), mmd_exchange(kernel, observed, theirs, weights)
            entries = np.transpose(
                [change(with_spike_at_end(observed, k).spike_trains) for k in range(observed.num_neurons)]
            )
        return result._replace(entries=spread_entries(entries, self.neurons, mine.num_neurons))

    def exchange(self, generated: Any, data: Any, other: Any) -> Array:
        """By how much the loss changes where sample s is replaced by that of `other`; see :meth:`Loss.exchange`."""

        def of_this_batch() -> Callable[[SpikeTrains], Array]:
            _, before, theirs, _ = observed_pair(generated, data, self.neurons)
            kernel, weights = self._kernel(generated, before, theirs)
            return mmd_exchange(kernel, before, theirs, weights, workers_of(generated, before, theirs))

        # A batch's own kernels are remembered: its samples are exchanged for some and for others in turn.
        exchanged = self._here(of_this_batch, generated, data)
        return exchanged(observed_pair(other, data, self.neurons)[1])

    def _kernel(
        self, generated: Any, observed: SpikeTrains, theirs: SpikeTrains
    ) -> tuple[SignatureKernel, tuple[Array, Array, Array]]:
        kernel = SignatureKernel(**self.options, engine=getattr(generated, "engine", "auto"))
        device = device_of(generated)
        if device != "cpu" and kernel.has_device_kernels:
            kernel = replace(kernel, device=device)
        return kernel, mmd_weights(observed.num_samples, theirs.num_samples, self.unbiased)

    def _own_of(
        self,
        data: Any,
        theirs: SpikeTrains,
        kernel: SignatureKernel,
        weights: tuple[Array, Array, Array],
        workers: Any,
    ) -> float:
        """The kernels of the data with itself, remembered as long as the data stays the same object."""
        return self._own(lambda: float((weights[1] * kernel.gram(theirs, None, workers)).sum()), data)
