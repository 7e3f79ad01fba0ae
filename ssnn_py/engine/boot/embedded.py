"""A Julia whose libjulia this process loads itself: an older one, or a distribution's."""

from __future__ import annotations

import atexit
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ...errors import JuliaError
from . import core
from .cache import compiled_core, load_compiled
from .core import julia_string
from .libjulia import LibJulia, embedded_files, library_path
from .running import JuliaRuntime
from .thread import CallingThread


class EmbeddedRuntime(JuliaRuntime):
    """libjulia through its C API, owned by one thread of its own.

    An older Julia can be called only by the thread that started it. There is one in a process: libjulia can be started
    once.
    """

    how = "embedded"

    def __init__(self) -> None:
        super().__init__()
        self._julia: LibJulia | None = None
        self._thread = CallingThread(self._cancel, self._end)
        atexit.register(self._stop)

    def start(self, executable: Path, private: bool) -> None:
        """Start libjulia unless it runs, and load the core; may be tried again after a failure."""
        self._perform(self._boot, (executable, private))
        self._connect()

    def _boot(self, executable: Path, private: bool) -> None:
        libraries, image = embedded_files(executable)
        if self._julia is None:
            self._julia = LibJulia(libraries, executable, image, private)
            self.library, self.cpu_target, self.threads = self._julia.path, self._julia.cpu_target, self._julia.threads
            self.version = self._julia.text("string(VERSION)")
            self._faults.remember()
        compiled = compiled_core(executable, image, self.cpu_target, library_path(libraries) if private else "")
        if compiled is not None:
            try:
                self._julia.evaluate(load_compiled(compiled))
                return
            except JuliaError:
                pass  # stale after all: the source will do
        self._julia.evaluate(f"include({julia_string(str(core.source_dir() / 'src' / 'SSNN.jl'))})")

    def _perform(self, task: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
        self.check_process()
        self._faults.restore()
        return self._thread.call(task, arguments)

    def _address(self, name: str) -> int:
        return int(self._perform(self._address_of_entry, (name,)))

    def _address_of_entry(self, name: str) -> int:
        assert self._julia is not None
        self._julia.evaluate(f"global __ssnn_address = UInt64(SSNN.entry_point({julia_string(name)}))")
        return self._julia.number("__ssnn_address")

    def eval(self, code: str) -> None:
        assert self._julia is not None
        self._perform(self._julia.evaluate, (code,))

    def _end(self) -> None:
        if self._julia is not None:
            self._julia.end()

    def _stop(self) -> None:
        if os.getpid() == self._pid:
            self._thread.stop()
