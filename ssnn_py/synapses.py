"""Connections: who reaches whom, how strongly, and after what time; between neurons, and from channels of input."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .components import Component
from .errors import ValidationError
from .validation import as_real_array, counted, describe, require
from .values import Arrays, Immutable

Array = NDArray[np.float64]
#: How to rebuild a sparse matrix: its class and shape.
Sparse = tuple[Any, tuple[int, int]]
Same = TypeVar("Same", bound="SpikeInput")

#: Parameters with a number per synapse, instead of one per neuron.
SYNAPTIC = ("weights", "delays", "input_weights", "input_delays")


class Synapses(Immutable):
    """Connections in compressed sparse rows: row j lists the targets of source j, a neuron or a channel of input.

    Networks made of each other by :meth:`Network.replace` share the object, as long as they have the same synapses.
    It is equal to itself alone, so that it can be a key.

    Attributes
    ----------
    indptr : ndarray of int64, shape (N + 1,)
        Where each row begins in `targets`.
    targets : ndarray of int32, shape (nnz,)
        The receiving neuron of each synapse, increasing within a row.
    """

    def __init__(self, indptr: ArrayLike, targets: ArrayLike, position: ArrayLike | None = None) -> None:
        self.indptr = np.ascontiguousarray(indptr, dtype=np.int64)
        self.targets = np.ascontiguousarray(targets, dtype=np.int32)
        self._position = None if position is None else np.ascontiguousarray(position, dtype=np.int64)

    @property
    def position(self) -> NDArray[np.int64]:
        """Where each synapse's weight stands in the flattened parameter, shape (nnz,)."""
        return np.arange(self.targets.size) if self._position is None else self._position

    def at(self, values: NDArray[Any]) -> NDArray[Any]:
        """The number of each synapse in a parameter of the shape of the weights, or of one number for all."""
        numbers: NDArray[Any] = self.rows_at(values[np.newaxis])[0]
        return numbers

    def rows_at(self, block: NDArray[Any]) -> NDArray[Any]:
        """The same for parameters with a leading axis, shape (P, nnz)."""
        if block.ndim == 1:
            return np.broadcast_to(block[:, np.newaxis], (block.size, self.targets.size))
        rows = block.reshape(len(block), math.prod(block.shape[1:]))
        return rows if self._position is None else rows[:, self._position]

    def are_list_of(self, values: NDArray[Any]) -> bool:
        """Whether the parameter is a contiguous list of what the synapses have."""
        return values.ndim == 1 and self._position is None and values.flags.c_contiguous

    def add_to(self, values: NDArray[Any], sums: NDArray[Any]) -> None:
        """Add a number per synapse to a contiguous array like the parameter, to one number one after the other."""
        if values.ndim == 0:
            values += np.add.accumulate(sums)[-1]
        else:
            values.reshape(-1)[slice(None) if self._position is None else self._position] += sums

    def held(self) -> tuple[Any, ...]:
        """All that they are, to be compared."""
        return self.indptr, self.targets, self._position

    @property
    def sources(self) -> NDArray[np.int64]:
        """The row of each synapse, shape (nnz,)."""
        return np.repeat(np.arange(self.indptr.size - 1), np.diff(self.indptr))

    __eq__ = object.__eq__
    __hash__ = object.__hash__


def read_matrix(name: str, matrix: Any, square: bool) -> tuple[tuple[int, int], Synapses, Array, Sparse | None]:
    """Shape, synapses and values of a matrix of weights, and how to rebuild it if it is sparse.

    Values are the dense matrix, in which a zero is no synapse, or the stored values of a sparse one.
    """
    shapes = "(N, N) with N ≥ 1" if square else "(M, N) with M, N ≥ 1"
    if hasattr(matrix, "tocsr"):
        rows = _canonical(matrix)
        values = as_real_array(name, rows.data, (1,))
        _check_matrix(name, rows.shape, shapes, square)
        # Copies, as the matrix may be changed.
        synapses = Synapses(np.array(rows.indptr, dtype=np.int64), np.array(rows.indices, dtype=np.int32))
        return rows.shape, synapses, values, (type(rows), rows.shape)
    values = as_real_array(name, matrix, (2,), f"a matrix of shape {shapes.split(' with')[0]}")
    _check_matrix(name, values.shape, shapes, square)
    sources, targets = np.nonzero(values)
    indptr = np.searchsorted(sources, np.arange(values.shape[0] + 1))
    shape = values.shape[0], values.shape[1]
    return shape, Synapses(indptr, targets, sources * shape[1] + targets), values, None


def _canonical(matrix: Any) -> Any:
    """A sparse matrix as rows with increasing columns, none of them twice: itself, where it is that already."""
    rows = matrix.tocsr()
    if rows.has_canonical_format:
        return rows
    rows = rows.copy()
    rows.sum_duplicates()
    return rows


def _check_matrix(name: str, shape: tuple[int, ...], shapes: str, square: bool) -> None:
    if len(shape) != 2 or 0 in shape or (square and shape[0] != shape[1]):
        raise ValidationError(f"{name} must be a matrix of shape {shapes}, got shape {shape}")


def like_matrix(values: Array, synapses: Synapses, sparse: Sparse | None) -> Any:
    """Values of a parameter of synapses in the form in which the weights were given, dense or sparse."""
    if sparse is None or values.ndim == 0:
        return values
    kind, shape = sparse
    return kind((values, synapses.targets, synapses.indptr), shape=shape)


def read_delays(name: str, delays: Any, values: Array, synapses: Synapses, sparse: Sparse | None) -> Array:
    """Delays as an array of shape () or of that of the weights' `values`."""
    shape = sparse[1] if sparse else values.shape
    what = f"a number, or a matrix of shape {shape}, as the weights are"
    if hasattr(delays, "tocsr"):
        if delays.shape != shape:
            raise ValidationError(f"{name} must be {what}, got shape {delays.shape}")
        rows = _canonical(delays)
        if sparse and not (
            np.array_equal(rows.indptr, synapses.indptr) and np.array_equal(rows.indices, synapses.targets)
        ):
            raise ValidationError(f"{name} must store a number for every synapse of the sparse weights, and no other")
        array = as_real_array(name, rows.data if sparse else rows.toarray(), (1, 2))
    else:
        array = as_real_array(name, delays, (0, 1, 2), what)
        if sparse and array.shape == shape:
            array = array[synapses.sources, synapses.targets]
        if array.ndim and array.shape != values.shape:
            raise ValidationError(f"{name} must be {what}, got shape {array.shape}")
    require(name, array, array >= 0, "at least 0")
    return array


def longest_delay(delays: Array | None, synapses: Synapses) -> float:
    """The longest of the delays of all synapses; 0 where there are none."""
    if delays is None or not synapses.targets.size:
        return 0.0
    return float(np.max(delays if delays.ndim == 0 else synapses.at(delays)))


class SpikeInput(Component):
    r"""Channels on which spikes come from outside, and their synapses to the neurons of a network.

    A spike of channel c at time τ, which :func:`simulate` is given (`input_spikes`), arrives at neuron k at
    :math:`\tau + d_{ck}` and adds :math:`w_{ck}` to its `target` there, or does what the model's synapses do. Arrivals
    are exact: inside steps, at their own times.

    Weights, delays and the times of the spikes can be differentiated with respect to, by the names
    ``"input_weights"``, ``"input_delays"`` and ``"input_times"``.

    Parameters
    ----------
    weights : array_like or scipy.sparse matrix, shape (M, N)
        ``weights[c, k]`` is the weight from channel c to neuron k. A zero is no synapse; an explicitly stored zero of a
        sparse matrix is one.
    delays : array_like or scipy.sparse matrix, shape () or (M, N), optional
        How long spikes are under way, at least 0, in the unit of time; default 0, and no parameter.
    target : str or sequence of str of length M, optional
        The state variable to which weights are added, for all channels or for each; of SLIF networks "v" or "i".
        Default: what a spike does at the model's synapses (``i += w`` of SLIF networks).

    Attributes
    ----------
    num_channels, num_neurons : int
        M and N.
    synapses : Synapses
    parameters : mapping of str to ndarray
        ``"input_weights"`` and, where delays were given, ``"input_delays"``; of a sparse matrix its stored values.

    Raises
    ------
    ValidationError
        If a shape is wrong, or a delay is negative.

    Examples
    --------
    >>> import ssnn_py as ssnn
    >>> inputs = SpikeInput(weights=[[0.8, 0.0], [0.0, 0.5], [0.3, 0.3]], delays=0.1)
    >>> inputs.num_channels, inputs.num_neurons, inputs.synapses.targets.size
    (3, 2, 4)
    >>> net = ssnn.SLIFNetwork(np.zeros((2, 2)), mu=(15.0, 5.0), inputs=inputs)
    >>> spikes = ssnn.SpikeTrains([[0.5, 0.7]], [[0, 2]], num_neurons=3, t0=0.0, t1=1.0)
    >>> solution = ssnn.simulate(net, t1=1.0, dt=0.01, input_spikes=spikes, saveat=[0.59, 0.61])
    >>> solution.i[0].round(3).tolist()
    [[0.0, 0.0], [0.76, 0.0]]
    """

    kind = "spike_input"

    def __init__(self, weights: Any, delays: Any = None, target: str | Sequence[str] | None = None) -> None:
        (self.num_channels, self.num_neurons), self.synapses, values, self._sparse = read_matrix(
            "input_weights", weights, square=False
        )
        parameters = {"input_weights": values}
        if delays is not None:
            parameters["input_delays"] = read_delays("input_delays", delays, values, self.synapses, self._sparse)
        self.parameters = Arrays(parameters)
        texts = isinstance(target, Sequence) and all(isinstance(name, str) for name in target)
        if target is not None and not texts:
            raise ValidationError(f"target must name a state variable, or one per channel, got {describe(target)}")
        self.target = target if target is None or isinstance(target, str) else tuple(target)
        if isinstance(self.target, tuple) and len(self.target) != self.num_channels:
            raise ValidationError(
                f"target must name one state variable, or one for each of the {self.num_channels} channels, got "
                f"{len(self.target)} names"
            )

    def checked(self, name: str, value: Any) -> Array:
        values = self.parameters["input_weights"]
        if name == "input_delays":
            return read_delays(name, value, values, self.synapses, self._sparse)
        if hasattr(value, "tocsr"):
            rows = value.tocsr()
            value = np.asarray(rows[self.synapses.sources, self.synapses.targets]).ravel() if self._sparse else rows
            value = value if self._sparse else value.toarray()
        what = f"an array of shape {values.shape}"
        array = as_real_array(name, value, (values.ndim,), what)
        if array.shape != values.shape:
            raise ValidationError(f"{name} must be {what}, got shape {array.shape}")
        if self._sparse is None and np.count_nonzero(array) > np.count_nonzero(self.synapses.at(array)):
            raise ValidationError(
                f"{name} must be 0 where there is no synapse: make another SpikeInput to have other synapses"
            )
        return array

    @property
    def weights(self) -> Any:
        """The weights as they were given: a dense array, or a sparse matrix."""
        return self.like_weights(self.parameters["input_weights"])

    @property
    def delays(self) -> Any:
        """The delays: a number, or in the form of the weights; None where there are none."""
        given = self.parameters.get("input_delays")
        return None if given is None else self.like_weights(given)

    @property
    def longest_delay(self) -> float:
        """How long a spike is under way to a neuron at most."""
        return longest_delay(self.parameters.get("input_delays"), self.synapses)

    def like_weights(self, values: Array) -> Any:
        """Values of a parameter in the form in which the weights were given, dense or sparse."""
        return like_matrix(values, self.synapses, self._sparse)

    def variables(self, states: Sequence[str]) -> NDArray[np.int64]:
        """Of each channel the place of its target among these state variables, from 1; 0 where none is named."""
        names = (self.target,) * self.num_channels if not isinstance(self.target, tuple) else self.target
        for name in names:
            if name is not None and name not in states:
                raise ValidationError(
                    f"target must be a state variable of the model, one of {', '.join(states)}, got {name!r}"
                )
        return np.array([0 if name is None else states.index(name) + 1 for name in names], dtype=np.int64)

    def _held(self) -> tuple[Any, ...]:
        synapses = self.synapses
        return (
            *(self.parameters, self.num_channels, self.num_neurons, self._sparse, self.target),
            *synapses.held(),
        )

    def __repr__(self) -> str:
        more = "" if self.delays is None else ", with delays"
        more += "" if self.target is None else f", target={self.target!r}" if isinstance(self.target, str) else ""
        size = f"{counted(self.num_channels, 'channel')}, {counted(self.num_neurons, 'neuron')}"
        return f"SpikeInput({size}, {counted(self.synapses.targets.size, 'synapse')}{more})"


def of_synapses(parameters: Mapping[str, Any]) -> list[str]:
    """The names among these that have a number per synapse."""
    return [name for name in parameters if name in SYNAPTIC]
