"""Values: objects that never change, and are equal where all that they hold is equal, arrays element by element."""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Callable, Hashable, Mapping
from typing import Any, Generic, NoReturn, TypeVar

import numpy as np
from numpy.typing import NDArray

from .errors import UnknownNameError

Array = NDArray[np.float64]
T = TypeVar("T")
Same = TypeVar("Same", bound="Immutable")
AnyArray = TypeVar("AnyArray", bound=NDArray[Any])


def frozen(array: AnyArray) -> AnyArray:
    """`array` itself where it is read-only and its numbers are its own, else a read-only copy.

    Examples
    --------
    >>> mine = np.zeros(2)
    >>> kept = frozen(mine)
    >>> kept.flags.writeable, mine.flags.writeable, frozen(kept) is kept
    (False, True, True)
    """
    if array.flags.writeable or array.base is not None:
        array = array.copy()
        array.flags.writeable = False
    return array


class Named(dict[str, Array]):
    """Arrays by name, a dict; asked for another name it says which there are.

    Raises
    ------
    UnknownNameError
        A ValidationError and a KeyError.

    Examples
    --------
    >>> Named(v=np.zeros(2))["u"]
    Traceback (most recent call last):
    ssnn_py.errors.UnknownNameError: unknown variable 'u'; there are v
    """

    what = "variable"

    def __missing__(self, name: object) -> NoReturn:
        raise UnknownNameError(f"unknown {self.what} {name!r}; there are {', '.join(self) or 'none'}")


class Arrays(Named):
    """Read-only arrays by name, a dict that cannot be written to; arrays that are given are copied, not frozen.

    Copies and pickles are read-only, too.

    Raises
    ------
    TypeError
        Where it is written to.
    """

    what = "parameter"

    def __init__(self, *parts: Mapping[str, Array]) -> None:
        super().__init__()
        write = super().__setitem__
        for part in parts:
            if type(part) is Arrays:
                super().update(part)
            else:
                for name, array in part.items():
                    write(name, frozen(array))

    def _refuse(self, *_: Any, **__: Any) -> NoReturn:
        raise TypeError("parameters cannot be changed in place: make another object with replace(name=value)")

    __setitem__ = __delitem__ = __ior__ = update = setdefault = pop = popitem = clear = _refuse  # type: ignore[assignment]

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (dict(self),)


def equal(one: Any, other: Any) -> bool:
    """Whether two values are equal, arrays element by element, with NaN equal to NaN.

    Examples
    --------
    >>> equal((np.array([1.0, np.nan]), None), (np.array([1.0, np.nan]), None))
    True
    """
    if one is other:
        return True
    if isinstance(one, np.ndarray) or isinstance(other, np.ndarray):
        if not (isinstance(one, np.ndarray) and isinstance(other, np.ndarray)) or one.shape != other.shape:
            return False
        floats = one.dtype.kind == other.dtype.kind == "f"
        return bool(np.array_equal(one, other, equal_nan=floats))
    if isinstance(one, tuple | list) and isinstance(other, tuple | list):
        return len(one) == len(other) and all(map(equal, one, other))
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return one.keys() == other.keys() and all(equal(value, other[name]) for name, value in one.items())
    return bool(one == other)


def fingerprint(value: Any) -> Any:
    """Something hashable that is equal where values are; of arrays that may change it is their shape alone."""
    if isinstance(value, np.ndarray):
        return value.shape
    if isinstance(value, Arrays):
        return frozenset((name, *array.shape, *array.ravel()[:1].tolist()) for name, array in value.items())
    if isinstance(value, Mapping):
        return frozenset((name, fingerprint(part)) for name, part in value.items())
    if isinstance(value, tuple | list):
        return tuple(map(fingerprint, value))
    return value if isinstance(value, Hashable) else type(value)


class Compared:
    """Base of objects that are equal where they are of one class and hold equal values; their hash agrees with it."""

    def _held(self) -> tuple[Any, ...]:
        """All that the object is."""
        raise NotImplementedError

    def __eq__(self, other: object) -> bool:
        if other.__class__ is not self.__class__:
            return NotImplemented
        assert isinstance(other, Compared)
        return self is other or equal(self._held(), other._held())

    def __hash__(self) -> int:
        return hash((type(self), fingerprint(self._held())))


class Record(Compared):
    """Base of frozen dataclasses that hold arrays, to be declared with ``eq=False``.

    What a ``functools.cached_property`` has computed of the fields belongs neither to copies nor to pickles; nor do
    fields that are declared with ``compare=False``.
    """

    def _held(self) -> tuple[Any, ...]:
        return tuple(self.__getstate__().values())

    def __getstate__(self) -> dict[str, Any]:
        fields = dataclasses.fields(self)  # type: ignore[arg-type]
        return {field.name: getattr(self, field.name) for field in fields if field.compare}


class _Sealing(abc.ABCMeta):
    """Objects of such a class are sealed when they are made, by whichever constructor of a subclass."""

    def __call__(cls, /, *arguments: Any, **named: Any) -> Any:
        made = super().__call__(*arguments, **named)
        made._seal()
        return made


class Immutable(Compared, metaclass=_Sealing):
    """Base of objects whose attributes are set by their constructors and never again; with the arrays among them."""

    def _seal(self) -> None:
        """End the construction: from now on attributes are refused."""
        for name, value in self.__dict__.items():
            if isinstance(value, np.ndarray):
                object.__setattr__(self, name, frozen(value))
        object.__setattr__(self, "_sealed", True)

    def _changed(self: Same, /, **attributes: Any) -> Same:
        """A copy with other values of some attributes, which are neither checked nor frozen."""
        new = object.__new__(type(self))
        vars(new).update(vars(self), **attributes)
        return new

    def _held(self) -> tuple[Any, ...]:
        return tuple(value for _, value in sorted(self.__dict__.items()))

    def __setattr__(self, name: str, value: Any) -> None:
        if "_sealed" in self.__dict__:
            self._refuse(name)
        object.__setattr__(self, name, value)

    def __delattr__(self, name: str) -> None:
        self._refuse(name)

    def _refuse(self, name: str) -> NoReturn:
        raise AttributeError(f"{type(self).__name__} cannot be changed: make another one with replace({name}=...)")

    def __setstate__(self, state: dict[str, Any]) -> None:
        for name, value in state.items():
            object.__setattr__(self, name, frozen(value) if isinstance(value, np.ndarray) else value)


class Remembered(Generic[T]):
    """One result, kept as long as it is asked for of the same objects; copies and pickles of its owner forget it."""

    def __init__(self) -> None:
        self._of: tuple[Any, ...] | None = None
        self._result: T

    def __call__(self, compute: Callable[[], T], *objects: Any) -> T:
        """The result of `compute` for these very objects."""
        if self._of is None or any(one is not other for one, other in zip(self._of, objects, strict=True)):
            self._result = compute()
            self._of = objects
        return self._result
