"""Arrays of other libraries in the memory of a device: results go into them, and derivatives come out of them, without
a way through the host's memory.
"""

from __future__ import annotations

import abc
from typing import Any


class ArrayLibrary(abc.ABC):
    """A library of arrays, such as PyTorch, in the memory of one device.

    What an engine keeps in its arrays is what grows with samples, spikes and recorded times: spike times, the neurons
    that fired, recorded values, and cotangents of these. They have a ``shape``, and slices that can be read and
    written.
    """

    @abc.abstractmethod
    def full(self, shape: tuple[int, ...], value: float) -> Any:
        """A new array with one value everywhere: of int64 where it is an int, else of float64."""

    @abc.abstractmethod
    def contiguous(self, array: Any) -> Any:
        """The same numbers one behind the other; real ones in double precision."""

    @abc.abstractmethod
    def address(self, array: Any) -> int:
        """Where a contiguous array begins in the device's memory."""

    @abc.abstractmethod
    def wait(self) -> None:
        """Return when all that the library has started on the device is done."""
