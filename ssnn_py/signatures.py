"""Truncated signatures of paths and of spike trains, with their gradients.

A signature to depth m of a path in d channels is returned flat: levels 1, …, m one after the other, the words of a
level in lexicographic order, d + d² + … + d^m numbers.
"""

from __future__ import annotations

import ctypes
from ctypes import POINTER, c_double, c_int64, c_void_p
from typing import Any, TypeGuard

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import engine as engines
from .engine import core_function, default_threads, reference_signature, structs
from .errors import ValidationError
from .spike_trains import SpikeTrains
from .validation import as_int, as_real_array, describe, require, require_memory

Array = NDArray[np.float64]


def signature_length(channels: int, depth: int) -> int:
    """d + d² + … + d^m.

    Examples
    --------
    >>> signature_length(2, 3)
    14
    """
    return sum(channels**level for level in range(1, depth + 1))


def as_path_input(
    X: Any, depth: int, scales: ArrayLike | None, name: str = "path"
) -> tuple[SpikeTrains | Array, int, int, Array | None]:
    """Spike trains or points (S, L, d), the number of channels, the depth and the scales, all checked."""
    X = getattr(X, "spike_trains", X)
    depth = as_int("depth", depth, 1, 64)
    if isinstance(X, SpikeTrains):
        channels, samples = X.num_neurons + 1, X.num_samples
        if samples == 0:
            raise ValidationError(f"{name} must have at least one sample, got none")
    else:
        X = as_real_array(name, X, (2, 3), "points of shape (L, d) or (S, L, d)")
        X = X[None] if X.ndim == 2 else X
        if 0 in X.shape:
            raise ValidationError(f"{name} must have at least one sample, point and channel, got shape {X.shape}")
        channels, samples = X.shape[2], X.shape[0]
    require_memory(
        "the signature",
        8.0 * signature_length(channels, depth) * min(samples, 64),
        "take a smaller depth or fewer channels",
    )
    factors = None
    if scales is not None:
        factors = as_real_array("scales", scales, (0, 1), f"a number or one per channel ({channels})")
        if factors.ndim and factors.size != channels:
            raise ValidationError(f"scales must have one number per channel ({channels}), got shape {factors.shape}")
        require("scales", factors, factors > 0, "positive")
        factors = np.ascontiguousarray(np.broadcast_to(factors, channels))
    return X, channels, depth, factors


def signature(path: Any, depth: int, *, scales: ArrayLike | None = None, engine: str = "auto") -> Array:
    r"""Signature to depth m: all iterated integrals :math:`\int_{t_1<\dots<t_l} dX^{i_1}\cdots dX^{i_l}`, l ≤ m.

    Parameters
    ----------
    path : array_like of shape (L, d) or (S, L, d), SpikeTrains or Solution
        Points of a piecewise-linear path, or spike trains, which stand for their Marcus lift with the channels (time,
        neuron 0, …).
    depth : int
        m ≥ 1.
    scales : array_like, shape () or (d,), optional
        Factors for the channels.
    engine : {"auto", "julia", "reference"}

    Returns
    -------
    ndarray, shape (S, d + … + d^m), or without the leading axis for one path of shape (L, d)

    Raises
    ------
    ValidationError
        If the path or the depth is not what it should be.

    Examples
    --------
    One straight piece: level l is x^{⊗l}/l!.

    >>> signature([[0.0, 0.0], [1.0, 2.0]], depth=2)
    array([1. , 2. , 0.5, 1. , 1. , 2. ])
    """
    X, channels, depth, factors = as_path_input(path, depth, scales)
    samples = X.num_samples if isinstance(X, SpikeTrains) else X.shape[0]
    require_memory("the signatures", 8.0 * signature_length(channels, depth) * samples, "use expected_signature")
    single = not isinstance(X, SpikeTrains) and np.ndim(path) == 2
    if engines.resolve(engine) == "reference":
        out = reference_signature.signatures(X, depth, factors)
    else:
        out = np.zeros((samples, signature_length(channels, depth)))
        if isinstance(X, SpikeTrains):
            run = core_function("ssnn_train_signatures", POINTER(structs.SpikeTrains), c_int64, c_int64, c_void_p)
            run(structs.SpikeTrains.of(X, factors), depth, default_threads(), structs.address(out))
        else:
            points = X if factors is None else X * factors
            run = core_function("ssnn_path_signatures", c_void_p, *[c_int64] * 5, c_void_p)
            run(structs.address(points), *points.shape, depth, default_threads(), structs.address(out))
    return out[0] if single else out


def signature_backprop(
    path: Any, cotangent: ArrayLike, depth: int, *, scales: ArrayLike | None = None, engine: str = "auto"
) -> Array:
    r"""Gradient of :math:`\sum_s \langle \bar S_s, S(X_s) \rangle` in the points of a path, or in the times of spikes.

    Parameters
    ----------
    path, depth, scales, engine
        As for :func:`signature`.
    cotangent : array_like
        Shaped like the result of :func:`signature`.

    Returns
    -------
    ndarray
        Shaped like the path, or (S, K) like the spike times (0 where there is no spike).

    Examples
    --------
    >>> signature_backprop([[0.0], [3.0]], [1.0, 1.0], depth=2)     # S = (x, x²/2)
    array([[-4.],
           [ 4.]])
    """
    X, channels, depth, factors = as_path_input(path, depth, scales)
    samples = X.num_samples if isinstance(X, SpikeTrains) else X.shape[0]
    bar = as_real_array("cotangent", cotangent, (1, 2))
    size = signature_length(channels, depth)
    bar = bar[None] if bar.ndim == 1 else bar
    if bar.shape != (samples, size):
        raise ValidationError(f"cotangent must have shape {(samples, size)}, got {np.shape(cotangent)}")
    if engines.resolve(engine) == "reference":
        out = reference_signature.signatures_backprop(X, bar, depth, factors)
    elif isinstance(X, SpikeTrains):
        out = _train_backprop(X, bar, depth, factors, per_sample=1)
    else:
        points = X if factors is None else X * factors
        out = np.zeros(X.shape)
        run = core_function("ssnn_path_signatures_backprop", c_void_p, *[c_int64] * 5, c_void_p, c_void_p)
        run(
            structs.address(points), *points.shape, depth, default_threads(), structs.address(bar), structs.address(out)
        )
        out = out if factors is None else out * factors
    return out[0] if not isinstance(X, SpikeTrains) and np.ndim(path) == 2 else out


def _train_backprop(X: SpikeTrains, bar: Array, depth: int, factors: Array | None, per_sample: int) -> Array:
    out = np.zeros(X.times.shape)
    run = core_function(
        "ssnn_train_signatures_backprop", POINTER(structs.SpikeTrains), c_int64, c_int64, c_void_p, c_int64, c_void_p
    )
    run(
        structs.SpikeTrains.of(X, factors),
        depth,
        default_threads(),
        structs.address(bar),
        per_sample,
        structs.address(out),
    )
    return out


def on_device(
    X: SpikeTrains | Array, device: Any, engine: str, what: str = "signatures", name: str = "X"
) -> TypeGuard[SpikeTrains]:
    """Whether `what` there is of X is computed on a device, which has that of spike trains alone."""
    if engines.checked_device(device) == "cpu":
        return False
    if not isinstance(X, SpikeTrains):
        raise ValidationError(
            f"device {device!r} has {what} of spike trains alone, and {name} are points of paths. device='cpu', the "
            "default, has theirs"
        )
    if engines.resolve(engine) != "julia":
        raise ValidationError(f"device {device!r} is reached through Julia, and the engine is {engine!r}")
    return True


def expected_signature(
    X: Any, depth: int, *, scales: ArrayLike | None = None, engine: str = "auto", device: str = "cpu"
) -> Array:
    """Mean of the signatures of a batch of paths or spike trains.

    Parameters
    ----------
    X, depth, scales, engine
        As for :func:`signature`.
    device : {"cpu", "kernels", "cuda", "rocm", "oneapi"}
        Where signatures of spike trains are computed; docs/devices.md.

    Returns
    -------
    ndarray, shape (d + … + d^m,)

    Raises
    ------
    ValidationError
        As for :func:`signature`; and if the `device` has none of paths.
    JuliaError
        If the `device` cannot be had.

    Examples
    --------
    >>> trains = SpikeTrains([[0.5], [1.5]], [[0], [0]], num_neurons=1, t0=0.0, t1=2.0)
    >>> expected_signature(trains, depth=1)         # the mean of (t1 − t0, number of spikes)
    array([2., 1.])
    """
    Y, channels, depth, factors = as_path_input(X, depth, scales)
    if on_device(Y, device, engine):
        out = np.zeros(signature_length(channels, depth))
        run = engines.device_function(
            device, "ssnn_device_expected_signature", POINTER(structs.SpikeTrains), c_int64, c_void_p
        )
        run(structs.SpikeTrains.of(Y, factors), depth, structs.address(out))
        return out
    if isinstance(Y, SpikeTrains) and engines.resolve(engine) == "julia":
        out = np.zeros(signature_length(channels, depth))
        run = core_function("ssnn_expected_signature", POINTER(structs.SpikeTrains), c_int64, c_int64, c_void_p)
        run(structs.SpikeTrains.of(Y, factors), depth, default_threads(), structs.address(out))
        return out
    return np.asarray(np.atleast_2d(signature(Y, depth, scales=factors, engine=engine)).mean(axis=0))


def expected_signature_backprop(
    X: Any,
    cotangent: ArrayLike,
    depth: int,
    *,
    scales: ArrayLike | None = None,
    engine: str = "auto",
    device: str = "cpu",
) -> Array:
    """Gradient of ⟨cotangent, expected signature⟩ in the points of the paths or in the times of the spikes.

    Parameters
    ----------
    X, depth, scales, engine, device
        As for :func:`expected_signature`.
    cotangent : array_like, shape (d + … + d^m,)

    Returns
    -------
    ndarray
        Shaped like the paths, or (S, K) like the spike times.
    """
    Y, channels, depth, factors = as_path_input(X, depth, scales)
    bar = as_real_array("cotangent", cotangent, (1,))
    samples = Y.num_samples if isinstance(Y, SpikeTrains) else Y.shape[0]
    if bar.size != signature_length(channels, depth):
        raise ValidationError(f"cotangent must have shape ({signature_length(channels, depth)},), got {describe(bar)}")
    if on_device(Y, device, engine):
        out, shares = np.zeros(Y.times.shape), bar / samples
        run = engines.device_function(
            device, "ssnn_device_signatures_backprop", POINTER(structs.SpikeTrains), c_int64, c_void_p, c_void_p
        )
        run(structs.SpikeTrains.of(Y, factors), depth, structs.address(shares), structs.address(out))
        return out
    if isinstance(Y, SpikeTrains) and engines.resolve(engine) == "julia":
        return _train_backprop(Y, bar / samples, depth, factors, per_sample=0)
    everyone = np.tile(bar / samples, (samples, 1))
    return signature_backprop(Y, everyone, depth, scales=factors, engine=engine)


_LOSS_ARGUMENTS = (*[POINTER(structs.SpikeTrains)] * 2, c_void_p, *[c_int64] * 3, *[c_void_p] * 3)


def expected_signature_loss(
    X: SpikeTrains, Y: SpikeTrains | Array, depth: int, factors: Array | None, matched: bool, with_entries: bool = False
) -> tuple[float, Array, Array | None]:
    """Mean over words of (E S(X) − E S(Y))² and its gradient in the times of X, in Julia.

    Y is a batch, or its expected signature. With `with_entries` also what one more spike at t1 changes, (S, N).
    """
    value = c_double()
    times_bar = np.zeros(X.times.shape)
    entries = np.zeros((X.num_samples, X.num_neurons)) if with_entries else None
    batch = isinstance(Y, SpikeTrains)
    core_function("ssnn_expected_signature_loss", *_LOSS_ARGUMENTS)(
        structs.SpikeTrains.of(X, factors),
        structs.SpikeTrains.of(Y, factors) if isinstance(Y, SpikeTrains) else None,
        None if isinstance(Y, SpikeTrains) else structs.address(Y),
        depth,
        int(batch and matched),
        default_threads(),
        ctypes.addressof(value),
        structs.address(times_bar),
        structs.address(entries),
    )
    return value.value, times_bar, entries


def expected_signature_exchange(
    X: SpikeTrains, Z: SpikeTrains, difference: Array, depth: int, factors: Array | None
) -> Array:
    """By how much that loss of X changes where sample s is replaced by that of Z, (S,), in Julia; `difference` is that
    of the expected signatures.
    """
    changes = np.zeros(X.num_samples)
    batches = [POINTER(structs.SpikeTrains)] * 2
    core_function("ssnn_expected_signature_exchange", *batches, c_void_p, c_int64, c_int64, c_void_p)(
        structs.SpikeTrains.of(X, factors),
        structs.SpikeTrains.of(Z, factors),
        structs.address(difference),
        depth,
        default_threads(),
        structs.address(changes),
    )
    return changes
