"""A modern Julia, 1.10 or newer, that juliapkg finds or installs and juliacall starts."""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import os
import sys
import threading
import warnings
from collections.abc import Callable
from typing import Any

from ...errors import JuliaError
from .. import default_threads
from . import core
from .choice import MODERN
from .core import julia_string
from .running import INTERRUPTED, JuliaRuntime
from .signals import CtrlC, kept_signal_handlers, kept_signal_mask
from .thread import LastingThread


def juliacall_defaults() -> dict[str, str]:
    """Settings of juliacall, read at its import, that suit the core; they yield to those that the user has made.

    Not among them is the level of optimisation: packages are compiled at Julia's own, and for a higher one Julia would
    compile all of them again.
    """
    defaults = {
        # With several threads Julia's collector stops them by signals of its own; Ctrl-C is given back to Python after
        # the start.
        "PYTHON_JULIACALL_HANDLE_SIGNALS": "yes",
        "PYTHON_JULIACALL_AUTOLOAD_IPYTHON_EXTENSION": "no",
    }
    if "JULIA_NUM_THREADS" not in os.environ:
        alone = os.environ.get("PYTHON_JULIACALL_HANDLE_SIGNALS") == "no"
        defaults["PYTHON_JULIACALL_THREADS"] = "1" if alone else str(default_threads())
    return defaults


class JuliacallRuntime(JuliaRuntime):
    """Julia as juliacall starts it; called on the caller's own thread, one call at a time.

    The thread that starts Julia counts for it as running Julia for ever. A collection that another thread begins would
    wait for it, for ever if it waits in Python for that other thread: so threads, once they have called Julia, are
    marked as outside of it. Entry points mark a thread as inside for as long as they run.
    """

    how = "juliacall"

    def __init__(self, executable: str | None = None) -> None:
        super().__init__()
        self._lock = threading.Lock()
        self._closing = False
        self._thread = threading.local()
        imported_first = "juliacall" in sys.modules
        for name, value in juliacall_defaults().items():
            os.environ.setdefault(name, value)
        if executable is not None:
            # juliacall asks juliapkg, unless it is given both a Julia and a project.
            explicit = "PYTHON_JULIACALL_EXE" in os.environ and "PYTHON_JULIACALL_PROJECT" in os.environ
            os.environ["PYTHON_JULIACALL_EXE" if explicit else "PYTHON_JULIAPKG_EXE"] = executable
        try:
            # Julia does not survive the end of the thread that started it.
            stays = imported_first or threading.current_thread() is threading.main_thread()
            module = self._import() if stays else LastingThread().start(self._import)
        except JuliaError:
            raise
        except ImportError as error:
            raise JuliaError(f"juliacall cannot be imported ({error}): pip install juliacall") from error
        except Exception as error:
            raise JuliaError(f"juliacall could not start Julia: {error}{advice_on_copies(error)}") from error
        self.library = str(module.CONFIG.get("libpath") or "")
        if imported_first and self.threads < default_threads():
            warnings.warn(
                f"juliacall was imported before ssnn_py started Julia, so Julia has {self.threads} of "
                f"{default_threads()} threads: simulate something before that import, or set PYTHON_JULIACALL_THREADS "
                "and PYTHON_JULIACALL_HANDLE_SIGNALS=yes yourself",
                RuntimeWarning,
                stacklevel=2,
            )
        # Who imports juliacall first may leave Ctrl-C to Julia; it then is Julia's still, except while the core
        # computes.
        julias = imported_first and module.CONFIG.get("opt_handle_signals") == "yes"
        self._ctrl_c = CtrlC(self._cancel, borrowed=julias)
        self._connect()
        atexit.register(self._stop)  # after juliacall's own, and so called before it

    def _import(self) -> Any:
        """The module juliacall; its first import starts Julia on this thread. The core is loaded here, too."""
        # juliapkg reports on standard output, which belongs to the program.
        with contextlib.redirect_stdout(sys.stderr), warnings.catch_warnings():
            # Not to be made an error of, which would leave juliacall half imported.
            warnings.filterwarnings("default", message="torch was imported before juliacall")
            inside = "juliacall" not in sys.modules
            if inside:
                with kept_signal_mask(), kept_signal_handlers():
                    import juliacall  # type: ignore[import-not-found, import-untyped, unused-ignore]
            else:
                import juliacall
        self._faults.remember()
        self._main = juliacall.Main
        library = juliacall.CONFIG.get("lib") if inside else None
        self.version = self._ask(library, "string(VERSION)")
        if tuple(int(part) for part in self.version.split(".")[:2]) < MODERN:
            raise JuliaError(f"juliacall has started Julia {self.version}; ssnn_py needs 1.10 or newer in it")
        self._load_core(library)
        # One question, whose answer is compiled with the core.
        threads, self.cpu_target, *addresses = self._ask(library, "SSNN.start_facts()").split("\n")
        self.threads = int(threads)
        leave, evaluate, find = map(int, addresses)
        self._leave_julia = ctypes.CFUNCTYPE(ctypes.c_int8)(leave) if leave else lambda: 0
        # Without giving up Python's lock: what is loaded may itself call Python.
        self._evaluate_text = ctypes.PYFUNCTYPE(ctypes.c_int32, ctypes.c_char_p)(evaluate)
        self._find_entry = ctypes.CFUNCTYPE(ctypes.c_int32, ctypes.c_char_p, ctypes.c_void_p)(find)
        self._mark_outside()
        return juliacall

    def _ask(self, library: Any, code: str) -> str:
        """The text that `code` evaluates to, before the core is there.

        juliacall's own `seval` compiles its conversions at its first call, which takes longer than all else that the
        start asks of Julia. So where this thread has just started Julia, and is inside it, libjulia is asked itself:
        `library`.
        """
        if library is not None:
            library.jl_eval_string.argtypes, library.jl_eval_string.restype = [ctypes.c_char_p], ctypes.c_void_p
            library.jl_string_ptr.argtypes, library.jl_string_ptr.restype = [ctypes.c_void_p], ctypes.c_char_p
            text = library.jl_eval_string(code.encode())
            if text is not None:
                return bytes(library.jl_string_ptr(text)).decode()
        return str(self._main.seval(code))  # which says what went wrong, too

    def _mark_outside(self) -> None:
        """Let Julia collect garbage while this thread, which has called Julia, is in Python."""
        if not getattr(self._thread, "outside", False):
            self._leave_julia()
            self._thread.outside = True

    def _load_core(self, library: Any) -> None:
        """Import the core that belongs to this package, also where Julia's project has none or another one."""
        root = core.source_dir()
        entry, folder = julia_string(str(root / "src" / "SSNN.jl")), julia_string(str(root))
        try:
            # First on the load path while it is loaded, then last: Julia 1.10 looks for the extensions of packages in
            # the first place only, which has to be the project with the SciML packages.
            self._ask(
                library,
                f"""let found = Base.find_package("SSNN"), known = found !== nothing && samefile(found, {entry})
                    known || pushfirst!(LOAD_PATH, {folder})
                    try
                        Base.eval(Main, :(import SSNN))
                    finally
                        known || push!(LOAD_PATH, popfirst!(LOAD_PATH))
                    end
                    "loaded"
                end""",
            )
        except Exception as error:
            raise JuliaError(f"the core could not be loaded by juliacall's Julia: {self._words(error)}") from error

    def _words(self, error: Exception) -> str:
        """Julia's message, without the stack that juliacall adds."""
        with contextlib.suppress(Exception):
            return str(self._main.sprint(self._main.showerror, error.exception))  # type: ignore[attr-defined]
        return str(error)

    def _address(self, name: str) -> int:
        return int(self._perform(self._address_of_entry, (name,)))

    def _address_of_entry(self, name: str) -> int:
        address = ctypes.c_uint64()
        if self._find_entry(name.encode(), ctypes.addressof(address)) != 0:
            raise JuliaError(f"the core has no function {name!r}: {self._message()}")
        return address.value

    def _perform(self, task: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
        self.check_process()
        with self._lock:
            self._faults.restore()
            self._cancel.value = 0  # before the look at `_closing`, which may come with a flag that is to stay
            if self._closing:
                raise JuliaError("Python is about to end, and Julia with it")
            try:
                with self._ctrl_c.watched():
                    return task(*arguments)
            finally:
                self._mark_outside()

    def eval(self, code: str) -> None:
        self._perform(self._evaluate, (code,))

    def _evaluate(self, code: str) -> None:
        status = self._evaluate_text(code.encode())
        if status == INTERRUPTED:
            raise KeyboardInterrupt
        if status != 0:
            raise JuliaError(self._message())

    def _stop(self) -> None:
        """Let no thread be inside Julia when juliacall ends it."""
        if os.getpid() != self._pid:
            return
        self._closing = True
        self._cancel.value = 1
        self._lock.acquire(timeout=5)


def advice_on_copies(error: Exception) -> str:
    """juliapkg looks at all folders of ``sys.path`` and one level below, and accepts only one path for a package."""
    if "not unique" not in str(error):
        return ""
    return (
        " (several copies of ssnn_py are visible: start Python in another folder, or remove or install anew the one "
        "that is not wanted)"
    )
