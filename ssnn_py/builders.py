"""Weight matrices of common network shapes, to be given to :class:`SLIFNetwork`.

``weights[j, k]`` runs from neuron j to neuron k. A weight that happens to be drawn as exactly 0 would be no synapse;
the distributions here never do.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import ValidationError
from .validation import as_float, as_int, describe

Array = NDArray[np.float64]


def feedforward_weights(
    layer_sizes: Sequence[int], low: float = 0.5, high: float = 1.5, gain: float = 1.0, seed: int = 0
) -> Array:
    """Layers one after the other, each fully connected to the next.

    Parameters
    ----------
    layer_sizes : sequence of int
        Number of neurons per layer, at least two layers. Neurons are numbered layer by layer.
    low, high : float
        Weights are uniform between these two, times ``gain`` divided by the size of the sending layer.
    gain : float
        Sum of the weights into a neuron, up to the mean of low and high.
    seed : int

    Returns
    -------
    ndarray, shape (N, N)

    Raises
    ------
    ValidationError
        If there are fewer than two layers, a layer is empty, or low is not below high.

    Examples
    --------
    >>> weights = feedforward_weights([4, 16, 2])
    >>> weights.shape, int((weights != 0).sum())
    ((22, 22), 96)
    """
    sizes = [as_int("layer_sizes", size, 1) for size in layer_sizes]
    if len(sizes) < 2:
        raise ValidationError(f"layer_sizes must name at least two layers, got {describe(layer_sizes)}")
    low, high = _interval(low, high)
    gain = as_float("gain", gain, positive=True)
    rng = np.random.default_rng(as_int("seed", seed, 0))
    starts = np.cumsum([0, *sizes])
    weights = np.zeros((starts[-1], starts[-1]))
    for layer, (size, following) in enumerate(itertools.pairwise(sizes)):
        rows = slice(starts[layer], starts[layer + 1])
        columns = slice(starts[layer + 1], starts[layer + 2])
        weights[rows, columns] = rng.uniform(low, high, (size, following)) * (gain / size)
    return weights


def recurrent_weights(num_neurons: int, gain: float = 1.0, seed: int = 0) -> Array:
    """All to all without self-connections, Gaussian with mean 0 and standard deviation gain/√N.

    Sompolinsky, Crisanti and Sommers, Physical Review Letters 61, 1988.

    Examples
    --------
    >>> weights = recurrent_weights(5)
    >>> weights.shape, float(np.abs(np.diag(weights)).max())
    ((5, 5), 0.0)
    """
    n = as_int("num_neurons", num_neurons, 1)
    gain = as_float("gain", gain, positive=True)
    weights = np.random.default_rng(as_int("seed", seed, 0)).normal(0.0, gain / np.sqrt(n), (n, n))
    np.fill_diagonal(weights, 0.0)
    return weights


def random_weights(
    num_neurons: int, num_targets: int, low: float = 0.5, high: float = 1.5, gain: float = 1.0, seed: int = 0
) -> Any:
    """Every neuron sends to `num_targets` others drawn at random, as a sparse matrix.

    Parameters
    ----------
    num_neurons : int
    num_targets : int
        Out-degree, below `num_neurons`.
    low, high : float
        Weights are uniform between these two, times ``gain / num_targets``.
    gain : float
    seed : int

    Returns
    -------
    scipy.sparse.csr_matrix, shape (N, N)

    Raises
    ------
    ValidationError
        If an argument is out of range, or SciPy is not installed.

    Examples
    --------
    >>> random_weights(100, 10).nnz
    1000
    """
    try:
        from scipy.sparse import csr_matrix
    except ImportError:
        raise ValidationError("random_weights makes a sparse matrix and needs SciPy: pip install scipy") from None
    n = as_int("num_neurons", num_neurons, 2)
    degree = as_int("num_targets", num_targets, 1, n - 1)
    low, high = _interval(low, high)
    gain = as_float("gain", gain, positive=True)
    rng = np.random.default_rng(as_int("seed", seed, 0))
    targets = np.empty((n, degree), dtype=np.int32)
    for sender, row in enumerate(targets):
        # Numbers below N − 1, shifted past the sender, so that no neuron sends to itself.
        row[:] = rng.choice(n - 1, degree, replace=False, shuffle=False)
        row += row >= sender
        row.sort()
    values = rng.uniform(low, high, n * degree)
    values *= gain / degree
    return csr_matrix((values, targets.ravel(), np.arange(n + 1) * degree), shape=(n, n))


def _interval(low: float, high: float) -> tuple[float, float]:
    low, high = as_float("low", low), as_float("high", high)
    if low >= high:
        raise ValidationError(f"low must be below high, got {low} and {high}")
    return low, high
