"""A Julia that runs in this process, however it was started: the core's entry points and its errors."""

from __future__ import annotations

import abc
import ctypes
import os
from collections.abc import Callable
from typing import Any

from ...errors import JuliaError
from . import core
from .signals import MemoryFaults

INTERRUPTED = 2
_MESSAGE_BYTES = 1 << 16


class JuliaRuntime(abc.ABC):
    """A Julia in this process with the core loaded.

    Attributes
    ----------
    how : str
        "juliacall" or "embedded".
    version : str
        Julia's version.
    threads : int
        Julia's threads.
    cpu_target : str
        The processor that code is compiled for.
    library : str
        Path of libjulia.
    instead_of : str
        Why one that comes first in the choice was not started; empty where this is the first.
    """

    instead_of = ""
    how: str
    version: str
    threads: int
    cpu_target: str
    library: str

    def __init__(self) -> None:
        self._pid = os.getpid()
        self._functions: dict[str, Callable[..., None]] = {}
        self._cancel = ctypes.c_int32(0)
        self._faults = MemoryFaults()

    def _connect(self) -> None:
        """Check that the core speaks this interface, and give it the flag that stops it."""
        self._buffer = ctypes.create_string_buffer(_MESSAGE_BYTES)
        self._written = ctypes.c_int64()
        error_type = ctypes.CFUNCTYPE(ctypes.c_int32, ctypes.c_void_p, ctypes.c_int64, ctypes.c_void_p)
        self._last_error = error_type(self._address("ssnn_last_error"))
        version = ctypes.c_int64()
        self.function("ssnn_interface_version", ctypes.c_void_p)(ctypes.addressof(version))
        if version.value != core.INTERFACE_VERSION:
            raise JuliaError(
                f"the Julia core in {core.source_dir()} has interface {version.value}, this package needs "
                f"{core.INTERFACE_VERSION}: reinstall ssnn_py"
            )
        self.function("ssnn_set_cancel_flag", ctypes.c_void_p)(ctypes.addressof(self._cancel))

    def function(self, name: str, *argtypes: Any) -> Callable[..., None]:
        """The core's entry point `name` as a Python callable.

        It raises :class:`JuliaError` with Julia's message where the core fails, and KeyboardInterrupt where it was
        stopped. Julia compiles an entry point when it is first called.
        """
        if name in self._functions:
            return self._functions[name]
        prototype = ctypes.CFUNCTYPE(ctypes.c_int32, *argtypes)
        pointer: Callable[..., int] | None = None

        def attempt(*arguments: Any) -> tuple[int, str]:
            assert pointer is not None
            status = pointer(*arguments)
            return status, self._message() if status not in (0, INTERRUPTED) else ""

        def call(*arguments: Any) -> None:
            nonlocal pointer
            if pointer is None:
                pointer = prototype(self._address(name))
            status, message = self._perform(attempt, arguments)
            if status == INTERRUPTED:
                raise KeyboardInterrupt
            if status != 0:
                raise JuliaError(message)

        self._functions[name] = call
        return call

    def _message(self) -> str:
        self._last_error(ctypes.addressof(self._buffer), _MESSAGE_BYTES, ctypes.addressof(self._written))
        return self._buffer.raw[: self._written.value].decode(errors="replace")

    def check_process(self) -> None:
        """Raise in a forked child, where Julia's threads do not exist."""
        if os.getpid() != self._pid:
            raise JuliaError(
                "Julia was started before this process was forked, and does not survive a fork: start worker processes "
                'with the "spawn" method (multiprocessing.set_start_method("spawn")), or set SSNN_ENGINE=reference in '
                "them"
            )

    @abc.abstractmethod
    def _address(self, name: str) -> int:
        """Address of the core's entry point `name`."""

    @abc.abstractmethod
    def _perform(self, task: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
        """Call `task` where Julia may be called."""

    @abc.abstractmethod
    def eval(self, code: str) -> None:
        """Evaluate Julia code in ``Main``.

        Raises
        ------
        JuliaError
            With Julia's message.
        """
