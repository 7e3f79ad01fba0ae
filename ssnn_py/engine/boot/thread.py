"""Threads of Python's on which Julia lives: one that lasts, and one that callers hand their calls over to."""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import queue
import threading
from collections.abc import Callable
from typing import Any


class LastingThread:
    """A thread that stays as long as the process, and does what it is given.

    Julia ties to the thread that started it what must happen there again at the end: its event loop can only be closed
    by the thread that runs it. So what registers itself for the exit while it is started here is called here too.
    """

    def __init__(self) -> None:
        self._tasks: queue.SimpleQueue[tuple[Callable[[], Any], queue.SimpleQueue[Any]]] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._serve, name="julia", daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            task, outcome = self._tasks.get()
            try:
                outcome.put((task(), None))
            except BaseException as error:
                outcome.put((None, error))
            del task, outcome

    def call(self, task: Callable[[], Any]) -> Any:
        """Result of `task`, or what it raises."""
        outcome: queue.SimpleQueue[tuple[Any, BaseException | None]] = queue.SimpleQueue()
        self._tasks.put((task, outcome))
        result, error = outcome.get()
        if error is not None:
            raise error
        return result

    def start(self, task: Callable[[], Any]) -> Any:
        """The same; what `task` registers with :mod:`atexit` will be called on this thread."""
        return self.call(lambda: self._registering(task))

    def _registering(self, task: Callable[[], Any]) -> Any:
        register = atexit.register

        def here(function: Callable[..., Any], *arguments: Any, **named: Any) -> Callable[..., Any]:
            if threading.current_thread() is not self._thread:
                return register(function, *arguments, **named)
            register(self.call, lambda: function(*arguments, **named))
            return function

        atexit.register = here  # type: ignore[assignment]
        try:
            return task()
        finally:
            atexit.register = register


class _Call:
    """A task for Julia's thread; `done` is held until it has run."""

    __slots__ = ("arguments", "done", "error", "result", "state", "task")

    def __init__(self, task: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
        self.task, self.arguments = task, arguments
        self.state = "waiting"  # then "running" and "finished", or "withdrawn"
        self.result: Any = None
        self.error: BaseException | None = None
        self.done = threading.Lock()
        self.done.acquire()


class CallingThread:
    """A thread of its own for what only one thread may call.

    Callers hand their calls over and wait; waiting, unlike a call into C, can be interrupted by Ctrl-C, which then asks
    the core to stop.

    Parameters
    ----------
    cancel : c_int32
        The flag that makes the core stop.
    at_end : callable
        What is called on the thread when it ends.
    """

    def __init__(self, cancel: ctypes.c_int32, at_end: Callable[[], None]) -> None:
        self._cancel, self._at_end = cancel, at_end
        self._calls: queue.SimpleQueue[_Call | None] = queue.SimpleQueue()
        self._switch = threading.Lock()  # guards the states of calls, and whom the cancel flag is meant for
        self._closing = False
        self._thread = threading.Thread(target=self._serve, name="julia", daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while (call := self._calls.get()) is not None:
            with self._switch:
                if self._closing:
                    break
                if call.state == "withdrawn":
                    continue
                call.state = "running"
                self._cancel.value = 0
            try:
                call.result = call.task(*call.arguments)
            except BaseException as error:
                call.error = error
            with self._switch:
                call.state = "finished"
            call.done.release()
            del call  # or the caller's arrays would live until the next call
        self._at_end()

    def call(self, task: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
        """Result of `task`, or what it raises."""
        call = _Call(task, arguments)
        try:
            self._calls.put(call)
            call.done.acquire()
        except BaseException:
            # A running core still writes into the caller's arrays: stop it, and wait until it has stopped.
            while True:
                with contextlib.suppress(BaseException):
                    if self._withdraw(call):
                        break
                    call.done.acquire()
            raise
        if call.error is not None:
            raise call.error
        return call.result

    def _withdraw(self, call: _Call) -> bool:
        """Whether `call` is out of the way; asks it to stop where it runs."""
        with self._switch:
            if call.state == "running":
                self._cancel.value = 1
            elif call.state == "waiting":
                call.state = "withdrawn"
            return call.state != "running"

    def stop(self) -> None:
        """End the thread, and the call that it is at; waits some seconds at most."""
        with self._switch:
            self._closing = True
            self._cancel.value = 1
        self._calls.put(None)
        self._thread.join(timeout=5)
