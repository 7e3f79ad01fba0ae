"""Numbers as the times of spikes."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from ..errors import ValidationError
from ..spike_trains import SpikeTrains
from ..validation import as_float, as_real_array, describe, require


def latency_spikes(
    features: ArrayLike,
    t1: float,
    *,
    earliest: float = 0.0,
    latest: float = 1.0,
    silent: float | None = None,
    bias: ArrayLike | None = None,
    t0: float = 0.0,
) -> SpikeTrains:
    r"""One spike per feature, the earlier the larger it is: :math:`\tau = \text{latest} - x\,(\text{latest} -
    \text{earliest})`.

    Parameters
    ----------
    features : array_like, shape (S, M)
        x, from 0 to 1.
    t1 : float
        End of the trains, in the unit of time.
    earliest, latest : float
        When a feature of 1 fires and when one of 0; t0 ≤ `earliest` < `latest` ≤ t1.
    silent : float, optional
        Features up to this value do not fire; default: all do.
    bias : float or array_like of shape (B,), optional
        Times of further channels that fire once in every sample, after the M channels of the features; default none.
        They tell a network when a sample begins.
    t0 : float
        Start of the trains.

    Returns
    -------
    SpikeTrains
        S samples of M + B channels; to be given to :func:`simulate` as `input_spikes`.

    Raises
    ------
    ValidationError
        If a feature is not within [0, 1], or a time not within [t0, t1].

    Examples
    --------
    >>> trains = latency_spikes([[0.25, 1.0, 0.0]], t1=2.0, latest=1.0, silent=0.0, bias=0.5)
    >>> trains.times, trains.neurons
    (array([[0.  , 0.5 , 0.75]]), array([[1, 3, 0]]))
    """
    values = as_real_array("features", features, (2,), "an array of shape (S, M)")
    require("features", values, (values >= 0) & (values <= 1), "from 0 to 1")
    t0, t1 = as_float("t0", t0), as_float("t1", t1)
    earliest, latest = as_float("earliest", earliest), as_float("latest", latest)
    if not t0 <= earliest < latest <= t1:
        raise ValidationError(
            f"earliest must be before latest, both within [t0, t1] = [{t0}, {t1}], got {earliest} and {latest}"
        )
    more = np.empty(0) if bias is None else np.atleast_1d(as_real_array("bias", bias, (0, 1), "a time, or several"))
    require("bias", more, (more >= t0) & (more <= t1), f"within [t0, t1] = [{t0}, {t1}]")
    times = latest - values * (latest - earliest)
    if silent is not None:
        times = np.where(values > as_float("silent", silent), times, np.inf)
    times = np.concatenate([times, np.broadcast_to(more, (len(values), more.size))], axis=1)
    if not times.shape[1]:
        raise ValidationError(f"features must have a channel at least, or bias one, got {describe(values)}")
    order = np.argsort(times, axis=1, kind="stable")
    times = np.take_along_axis(times, order, axis=1)
    channels = np.where(np.isfinite(times), order, -1)
    most = int((channels >= 0).sum(axis=1).max(initial=0))
    return SpikeTrains(times[:, :most], channels[:, :most], values.shape[1] + more.size, t0, t1)
