"""Handwritten digits, as scikit-learn has them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..errors import ValidationError
from ..validation import as_int


def digits(seed: int = 0) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """The 1797 handwritten digits that scikit-learn comes with, in random order; it must be installed.

    :func:`latency_spikes` makes spikes of them, dark pixels the earlier ones.

    Parameters
    ----------
    seed : int
        Of the order, from 0 to 2^64 − 1.

    Returns
    -------
    features : ndarray, shape (1797, 64)
        Pixels of 8 × 8 images, row by row, from 0 to 1.
    labels : ndarray of int64, shape (1797,)
        Which digit it is.

    Raises
    ------
    ValidationError
        If scikit-learn is not installed, or `seed` is not in its range.

    References
    ----------
    Alpaydin and Kaynak, "Optical Recognition of Handwritten Digits", UCI Machine Learning Repository, 1998; the test
    set of it.

    Examples
    --------
    >>> from ssnn_py.datasets import latency_spikes
    >>> features, labels = digits()                                          # doctest: +SKIP
    >>> trains = latency_spikes(features, t1=2.0, silent=0.0)                # doctest: +SKIP
    """
    try:
        from sklearn.datasets import load_digits
    except ImportError:
        raise ValidationError("digits are those of scikit-learn, which is not here: pip install scikit-learn") from None
    given = load_digits()
    order = np.random.default_rng(as_int("seed", seed, 0, 2**64 - 1)).permutation(len(given.target))
    features, labels = given.data[order] / 16.0, given.target[order]
    return features, labels.astype(np.int64)
