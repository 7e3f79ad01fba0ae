"""Signals that Python and Julia share: Ctrl-C and its like stay Python's, and stop the core; faults are Julia's."""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import os
import signal
import socket
import threading
from collections.abc import Iterator
from typing import Any


class CtrlC:
    """Raises a flag when Ctrl-C comes while Python's main thread is inside a call of C, where no Python handler runs.

    Python's handler at the level of C runs all the same, and writes the signal's number to a file descriptor, which a
    thread watches. `borrowed` says that the handler is not Python's outside such calls.
    """

    def __init__(self, flag: ctypes.c_int32, borrowed: bool) -> None:
        self._flag = flag
        self._borrowed = borrowed
        self._receiver, self._sender = socket.socketpair()
        self._sender.setblocking(False)
        self._seen = b""
        self._reading = threading.Lock()  # so that a signal counts for the call in which it came, and for no later one
        threading.Thread(target=self._watch, name="ssnn-ctrl-c", daemon=True).start()

    def _watch(self) -> None:
        while self._receiver.recv(1, socket.MSG_PEEK):
            with self._reading:
                self._read()

    def _read(self) -> None:
        try:
            numbers = self._receiver.recv(256, socket.MSG_DONTWAIT)
        except BlockingIOError:  # the other reader was first
            return
        if signal.SIGINT in numbers:
            self._flag.value = 1
        self._seen += numbers

    @contextlib.contextmanager
    def watched(self) -> Iterator[None]:
        """For the time of a call; does nothing outside the main thread, where signals are no concern."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        previous = signal.set_wakeup_fd(self._sender.fileno(), warn_on_full_buffer=False)
        if previous == self._sender.fileno():  # left there by a call that a second Ctrl-C cut short
            previous = -1
        try:
            with kept_signal_handlers() if self._borrowed else contextlib.nullcontext():
                if self._borrowed and (handler := signal.getsignal(signal.SIGINT)) is not None:
                    # What it is for Python; at the level of C it need not be so.
                    signal.signal(signal.SIGINT, handler)
                yield
        finally:
            signal.set_wakeup_fd(previous)
            with self._reading:
                self._read()
                numbers, self._seen = self._seen, b""
            if numbers and previous != -1:
                with contextlib.suppress(OSError):
                    os.write(previous, numbers)  # whoever watched before, an event loop perhaps


class _Action(ctypes.Structure):
    """What is done at a signal: C's ``sigaction``, of which only the first word is looked at."""

    _fields_ = (("handler", ctypes.c_void_p), ("others", ctypes.c_char * 504))


class _Library(ctypes.Structure):
    """What ``dladdr`` says of an address; no path and no base where it lies in no library."""

    _fields_ = (
        ("path", ctypes.c_char_p),
        ("base", ctypes.c_void_p),
        ("symbol", ctypes.c_char_p),
        ("symbol_address", ctypes.c_void_p),
    )


class MemoryFaults:
    """Keeps Julia's handler of memory faults in its place.

    Julia stops its threads for a collection by such faults. Python's :mod:`faulthandler` takes them over where it is
    enabled after Julia's start; where it was enabled before and is disabled after, as pytest does at its end, it puts
    back what it found, and the next collection ends the process. So Julia's handler is put back before each call and
    before the exit, unless it was replaced by that of another library, which may pass on to Julia what is Julia's.
    """

    def __init__(self) -> None:
        self._libc = ctypes.CDLL(None)
        self._julias: _Action | None = None

    def remember(self) -> None:
        """To be called once Julia runs. Where it handles no such signal, there is nothing to keep."""
        action = self.action()
        if b"libjulia" in (_library_of(action).path or b""):
            self._julias = action
            atexit.register(self.restore)  # after Julia's own, and so called before it

    def restore(self) -> None:
        """Put Julia's handler back where there is none or Python's."""
        if self._julias is None:
            return
        now = self.action()
        if now.handler == self._julias.handler:
            return
        pythons = _library_of(ctypes.pythonapi.PyErr_CheckSignals).base
        if _library_of(now).base in (None, pythons):
            self._libc.sigaction(int(signal.SIGSEGV), ctypes.byref(self._julias), None)

    def action(self) -> _Action:
        """What is done at a memory fault now."""
        action = _Action()
        self._libc.sigaction(int(signal.SIGSEGV), None, ctypes.byref(action))
        return action


def _library_of(holder: Any) -> _Library:
    """The library with the address that `holder` begins with: a function of C, or the handler of an action."""
    found = _Library()
    ctypes.CDLL(None).dladdr(ctypes.c_void_p.from_buffer(holder), ctypes.byref(found))
    return found


@contextlib.contextmanager
def kept_signal_handlers() -> Iterator[None]:
    """Leave Ctrl-C and its like to Python, which Julia's start would take over."""
    libc = ctypes.CDLL(None)
    kept = {}
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGQUIT, signal.SIGPIPE):
        action = ctypes.create_string_buffer(512)
        if libc.sigaction(int(number), None, action) == 0:
            kept[number] = action
    try:
        yield
    finally:
        for number, action in kept.items():
            libc.sigaction(int(number), action, None)


@contextlib.contextmanager
def kept_signal_mask() -> Iterator[None]:
    """Keep this thread open to Ctrl-C and its like, which Julia's start would leave to a thread of Julia's."""
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_BLOCK, blocked)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT, signal.SIGTERM, signal.SIGQUIT} - blocked)
