"""How Julia is started: the only module that knows.

Two ways, one interface. **juliacall** starts a modern Julia (1.10 or newer) that juliapkg finds or installs. **Embedded** loads the libjulia of an
older or distribution-made Julia through its C API. Either way the core's functions are reached as plain C pointers.
"""

from __future__ import annotations

import abc
import atexit
import contextlib
import ctypes
import hashlib
import importlib.util
import os
import platform
import queue
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import JuliaError
from . import debian, default_threads

INTERFACE_VERSION = 5
MODERN = (1, 10)  # what juliacall may start
EMBEDDABLE = (1, 5)
_INTERRUPTED = 2
_MESSAGE_BYTES = 1 << 16
_COMPILED_KEPT = 8
ADVICE = "run `ssnn setup` (Linux), or install Julia 1.10 or newer, or choose SSNN_ENGINE=reference; `ssnn doctor` tells more"


def source_dir() -> Path:
    """The folder of the Julia core: inside an installed package, or beside it in a checkout."""
    package = Path(__file__).resolve().parents[1]
    for folder in (package / "julia", package.parent / "julia"):
        if (folder / "src" / "SSNN.jl").is_file():
            return folder
    raise JuliaError(f"the Julia core is missing: neither {package / 'julia'} nor {package.parent / 'julia'} holds it")


# --- which Julia -----------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Surroundings:
    """What there is to choose from."""

    requested: str = ""  # SSNN_JULIA
    juliacall_imported: bool = False
    juliacall_installed: bool = False
    modern_julia: bool = False  # found, without asking any server
    embedded_installed: bool = False


def candidates(found: Surroundings) -> tuple[str, ...]:
    """Ways to start Julia in the order in which to try them: "juliacall", "embedded", or a path.

    Raises
    ------
    JuliaError
        If ``SSNN_JULIA`` names something that cannot be.
    """
    requested = found.requested
    if requested in ("juliacall", "embedded"):
        return (requested,)
    if requested:
        if not Path(requested).expanduser().exists():
            raise JuliaError(
                f'SSNN_JULIA must be "juliacall", "embedded" or the path of a Julia executable, but there is no {requested!r}'
            )
        return (str(Path(requested).expanduser()),)
    if found.juliacall_imported:
        return ("juliacall",)
    order = []
    if found.modern_julia and found.juliacall_installed:
        order.append("juliacall")
    if found.embedded_installed:
        order.append("embedded")
    if found.juliacall_installed and not order:
        order.append("juliacall")  # juliapkg will try to download a Julia
    return tuple(order)


def look_around() -> Surroundings:
    """The choices on this machine."""
    return Surroundings(
        requested=os.environ.get("SSNN_JULIA", "").strip(),
        juliacall_imported="juliacall" in sys.modules,
        juliacall_installed=importlib.util.find_spec("juliacall") is not None,
        modern_julia=_modern_julia() is not None,
        embedded_installed=debian.installed() is not None,
    )


def _modern_julia() -> Path | None:
    """A Julia that juliacall can use, where one can be seen at once."""
    named = [os.environ.get(name, "") for name in ("PYTHON_JULIACALL_EXE", "PYTHON_JULIAPKG_EXE")]
    for candidate in (*named, str(juliapkg_project() / "pyjuliapkg/install/bin/julia"), shutil.which("julia") or ""):
        if candidate and julia_version(candidate) >= MODERN:
            return Path(candidate)
    return None


def juliapkg_project() -> Path:
    """Where juliapkg keeps its project and the Julia that it has downloaded."""
    given = os.environ.get("PYTHON_JULIAPKG_PROJECT", "").strip()
    if given:
        return Path(given)
    prefix = sys.prefix if sys.prefix != sys.base_prefix else os.environ.get("CONDA_PREFIX")
    if prefix:
        return Path(prefix) / "julia_env"
    depot = os.environ.get("JULIA_DEPOT_PATH", "").split(os.pathsep)[0]
    return (Path(depot) if depot else Path.home() / ".julia") / "environments" / "pyjuliapkg"


def julia_version(executable: str) -> tuple[int, ...]:
    """Version of a Julia executable; (0,) if it does not run."""
    try:
        said = subprocess.run([executable, "--version"], capture_output=True, text=True, timeout=30, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return (0,)
    numbers = re.search(r"(\d+)\.(\d+)\.(\d+)", said)
    return tuple(int(part) for part in numbers.groups()) if numbers else (0,)


# --- the running Julia -----------------------------------------------------------------------------------------------------------


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

    def _connect(self) -> None:
        """Check that the core speaks this interface, and give it the flag that stops it."""
        self._buffer = ctypes.create_string_buffer(_MESSAGE_BYTES)
        self._written = ctypes.c_int64()
        error_type = ctypes.CFUNCTYPE(ctypes.c_int32, ctypes.c_void_p, ctypes.c_int64, ctypes.c_void_p)
        self._last_error = error_type(self._address("ssnn_last_error"))
        version = ctypes.c_int64()
        self.function("ssnn_interface_version", ctypes.c_void_p)(ctypes.addressof(version))
        if version.value != INTERFACE_VERSION:
            raise JuliaError(
                f"the Julia core in {source_dir()} has interface {version.value}, this package needs {INTERFACE_VERSION}: "
                "reinstall ssnn_py"
            )
        self.function("ssnn_set_cancel_flag", ctypes.c_void_p)(ctypes.addressof(self._cancel))

    def function(self, name: str, *argtypes: Any) -> Callable[..., None]:
        """The core's entry point `name` as a Python callable.

        It raises :class:`JuliaError` with Julia's message where the core fails, and KeyboardInterrupt where it was stopped.
        """
        if name in self._functions:
            return self._functions[name]
        pointer = ctypes.CFUNCTYPE(ctypes.c_int32, *argtypes)(self._address(name))

        def attempt(*arguments: Any) -> tuple[int, str]:
            status = pointer(*arguments)
            return status, self._message() if status not in (0, _INTERRUPTED) else ""

        def call(*arguments: Any) -> None:
            status, message = self._perform(attempt, arguments)
            if status == _INTERRUPTED:
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
                "Julia was started before this process was forked, and does not survive a fork: start worker processes with the "
                '"spawn" method (multiprocessing.set_start_method("spawn")), or set SSNN_ENGINE=reference in them'
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


def juliacall_defaults() -> dict[str, str]:
    """Settings of juliacall, read at its import, that suit the core; they yield to those that the user has made.

    Not among them is the level of optimisation: packages are compiled at Julia's own, and for a higher one Julia would compile all
    of them again.
    """
    defaults = {
        # With several threads Julia's collector stops them by signals of its own; Ctrl-C is given back to Python after the start.
        "PYTHON_JULIACALL_HANDLE_SIGNALS": "yes",
        "PYTHON_JULIACALL_AUTOLOAD_IPYTHON_EXTENSION": "no",
    }
    if "JULIA_NUM_THREADS" not in os.environ:
        alone = os.environ.get("PYTHON_JULIACALL_HANDLE_SIGNALS") == "no"
        defaults["PYTHON_JULIACALL_THREADS"] = "1" if alone else str(default_threads())
    return defaults


class _CtrlC:
    """Raises a flag when Ctrl-C comes while Python's main thread is inside a call of C, where no Python handler can run.

    Python's handler at the level of C runs all the same, and writes the signal's number to a file descriptor, which a thread watches.
    `borrowed` says that the handler is not Python's outside such calls.
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
            with _kept_signal_handlers() if self._borrowed else contextlib.nullcontext():
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


class _LastingThread:
    """A thread that stays as long as the process, and does what it is given.

    Julia ties to the thread that started it what must happen there again at the end: its event loop can only be closed by the
    thread that runs it. So what registers itself for the exit while it is started here is called here too.
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


class _JuliacallRuntime(JuliaRuntime):
    """Julia as juliacall starts it; called on the caller's own thread, one call at a time.

    The thread that starts Julia counts for it as running Julia for ever. A collection that another thread begins would wait for it, for
    ever if it waits in Python for that other thread: so threads, once they have called Julia, are marked as outside of it. Entry
    points mark a thread as inside for as long as they run.
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
            module = self._import() if stays else _LastingThread().start(self._import)
        except JuliaError:
            raise
        except ImportError as error:
            raise JuliaError(f"juliacall cannot be imported ({error}): pip install juliacall") from error
        except Exception as error:
            raise JuliaError(f"juliacall could not start Julia: {error}{_advice_on_copies(error)}") from error
        self.library = str(module.CONFIG.get("libpath") or "")
        if imported_first and self.threads < default_threads():
            warnings.warn(
                f"juliacall was imported before ssnn_py started Julia, so Julia has {self.threads} of {default_threads()} threads: simulate "
                "something before that import, or set PYTHON_JULIACALL_THREADS and PYTHON_JULIACALL_HANDLE_SIGNALS=yes yourself",
                RuntimeWarning,
                stacklevel=2,
            )
        # Who imports juliacall first may leave Ctrl-C to Julia; it then is Julia's still, except while the core computes.
        julias = imported_first and module.CONFIG.get("opt_handle_signals") == "yes"
        self._ctrl_c = _CtrlC(self._cancel, borrowed=julias)
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
                with _kept_signal_mask(), _kept_signal_handlers():
                    import juliacall  # type: ignore[import-not-found, import-untyped, unused-ignore]
            else:
                import juliacall
        self._main = juliacall.Main
        library = juliacall.CONFIG.get("lib") if inside else None
        # The last is no part of Julia's documented interface: where a version lacks it, threads stay as they are.
        facts = "VERSION, Threads.nthreads(), Sys.CPU_NAME, try UInt(cglobal(:jl_gc_safe_enter)) catch; UInt(0) end"
        self.version, threads, self.cpu_target, leave = self._ask(library, f"join(({facts}), '\\n')").split("\n")
        self.threads = int(threads)
        self._leave_julia = ctypes.CFUNCTYPE(ctypes.c_int8)(int(leave)) if int(leave) else lambda: 0
        if tuple(int(part) for part in self.version.split(".")[:2]) < MODERN:
            raise JuliaError(f"juliacall has started Julia {self.version}; ssnn_py needs 1.10 or newer in it")
        self._load_core(library)
        addresses = 'SSNN.entry_point(name) for name in ("ssnn_evaluate", "ssnn_entry_point")'
        evaluate, find = map(int, self._ask(library, f"join(({addresses}), '\\n')").split("\n"))
        # Without giving up Python's lock: what is loaded may itself call Python.
        self._evaluate_text = ctypes.PYFUNCTYPE(ctypes.c_int32, ctypes.c_char_p)(evaluate)
        self._find_entry = ctypes.CFUNCTYPE(ctypes.c_int32, ctypes.c_char_p, ctypes.c_void_p)(find)
        self._mark_outside()
        return juliacall

    def _ask(self, library: Any, code: str) -> str:
        """The text that `code` evaluates to, before the core is there.

        juliacall's own `seval` compiles its conversions at its first call, which takes longer than all else that the start asks of
        Julia. So where this thread has just started Julia, and is inside it, libjulia is asked itself: `library`.
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
        core = source_dir()
        entry, folder = _julia_string(str(core / "src" / "SSNN.jl")), _julia_string(str(core))
        try:
            # First on the load path while it is loaded, then last: Julia 1.10 looks for the extensions of packages in the first place
            # only, which has to be the project with the SciML packages.
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
        if status == _INTERRUPTED:
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


def _advice_on_copies(error: Exception) -> str:
    """juliapkg looks at all folders of ``sys.path`` and one level below, and accepts only one path for a package."""
    if "not unique" not in str(error):
        return ""
    return " (several copies of ssnn_py are visible: start Python in another folder, or remove or install anew the one that is not wanted)"


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


class _EmbeddedRuntime(JuliaRuntime):
    """libjulia through its C API, owned by one thread of its own.

    An older Julia can be called only by the thread that started it. Callers hand their calls over and wait; waiting, unlike a call
    into C, can be interrupted by Ctrl-C, which then asks the core to stop. There is one in a process: libjulia can be started once.
    """

    how = "embedded"

    def __init__(self) -> None:
        super().__init__()
        self._library: ctypes.CDLL | None = None
        self._calls: queue.SimpleQueue[_Call | None] = queue.SimpleQueue()
        self._switch = threading.Lock()  # guards the states of calls, and whom the cancel flag is meant for
        self._closing = False
        self._thread = threading.Thread(target=self._serve, name="julia", daemon=True)
        self._thread.start()
        atexit.register(self._stop)

    def start(self, executable: Path, private: bool) -> None:
        """Start libjulia unless it runs, and load the core; may be tried again after a failure."""
        self._perform(self._boot, (executable, private))
        self._connect()

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
        if self._library is not None:
            self._library.jl_atexit_hook(0)

    def _perform(self, task: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
        self.check_process()
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

    def _stop(self) -> None:
        if os.getpid() != self._pid:
            return
        with self._switch:
            self._closing = True
            self._cancel.value = 1
        self._calls.put(None)
        self._thread.join(timeout=5)

    def _boot(self, executable: Path, private: bool) -> None:
        libraries, image = _embedded_files(executable)
        if self._library is None:
            self._library = self._load_library(libraries, executable, image, private)
            self.version = self._text("string(VERSION)")
        compiled = _compiled_core(executable, image, self.cpu_target, _library_path(libraries) if private else "")
        if compiled is not None:
            try:
                self._evaluate(_load_compiled(compiled))
                return
            except JuliaError:
                pass  # stale after all: the source will do
        self._evaluate(f"include({_julia_string(str(source_dir() / 'src' / 'SSNN.jl'))})")

    def _load_library(self, libraries: Path, executable: Path, image: Path, private: bool) -> ctypes.CDLL:
        if hasattr(ctypes.CDLL(None), "jl_parse_opts"):
            raise JuliaError(
                "another Julia runs in this process already, and a second one cannot: if it is juliacall's, set SSNN_JULIA=juliacall"
            )
        if private:
            _preload(libraries)
        self.library = str(libraries / "libjulia.so.1")
        try:
            library = ctypes.CDLL(self.library, mode=ctypes.RTLD_GLOBAL)
        except OSError as error:
            raise JuliaError(f"libjulia cannot be loaded ({error}): {ADVICE}") from None
        self.cpu_target = _cpu_target()
        self.threads = default_threads()
        library.jl_parse_opts.argtypes = [ctypes.c_void_p, ctypes.c_void_p]
        library.jl_parse_opts.restype = None
        library.jl_init_with_image__threading.argtypes = [ctypes.c_char_p, ctypes.c_char_p]
        library.jl_init_with_image__threading.restype = None
        library.jl_eval_string.argtypes = [ctypes.c_char_p]
        library.jl_eval_string.restype = ctypes.c_void_p
        library.jl_unbox_uint64.argtypes = [ctypes.c_void_p]
        library.jl_unbox_uint64.restype = ctypes.c_uint64
        library.jl_atexit_hook.argtypes = [ctypes.c_int]
        library.jl_atexit_hook.restype = None

        options = ["-C", self.cpu_target, "-O3", f"--threads={self.threads}", "--startup-file=no", "--history-file=no"]
        words = [word.encode() for word in (str(executable), *options)]
        vector = (ctypes.c_char_p * (len(words) + 1))(*words, None)
        count = ctypes.c_int(len(words))
        pointer = ctypes.cast(vector, ctypes.POINTER(ctypes.c_char_p))
        library.jl_parse_opts(ctypes.byref(count), ctypes.byref(pointer))
        with _kept_signal_handlers(), _private_environment():
            library.jl_init_with_image__threading(str(executable.parent).encode(), str(image).encode())
        library.jl_eval_string(b'const __ssnn_failed = Ref(""); 0')
        return library

    def _evaluate(self, code: str) -> None:
        """Evaluate in Main; a failure becomes a JuliaError with Julia's message."""
        self._number(
            f'__ssnn_failed[] = ""; try; include_string(Main, {_julia_string(code)}); '
            "catch err; __ssnn_failed[] = sprint(showerror, err); end; UInt64(0)"
        )
        message = self._text("__ssnn_failed[]")
        if message:
            raise JuliaError(message)

    def _number(self, code: str) -> int:
        assert self._library is not None
        boxed = self._library.jl_eval_string(code.encode())
        if boxed is None:
            raise JuliaError(f"Julia could not evaluate {code}")
        return int(self._library.jl_unbox_uint64(boxed))

    def _text(self, code: str) -> str:
        address = self._number(f"global __ssnn_text = Vector{{UInt8}}({code}); UInt64(pointer(__ssnn_text))")
        length = self._number("UInt64(length(__ssnn_text))")
        return ctypes.string_at(address, length).decode(errors="replace")

    def _address(self, name: str) -> int:
        return int(self._perform(self._number_of_entry, (name,)))

    def _number_of_entry(self, name: str) -> int:
        self._evaluate(f"global __ssnn_address = UInt64(SSNN.entry_point({_julia_string(name)}))")
        return self._number("__ssnn_address")

    def eval(self, code: str) -> None:
        self._perform(self._evaluate, (code,))


def _julia_string(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("$", "\\$")
    return f'"{escaped}"'


def _embedded_files(executable: Path) -> tuple[Path, Path]:
    """Folder of libraries and system image of the Julia with that executable."""
    prefix = executable.parent.parent
    for libraries in (prefix / "lib" / f"{platform.machine()}-linux-gnu", prefix / "lib64", prefix / "lib"):
        image = libraries / "julia" / "sys.so"
        if image.is_file() and (libraries / "libjulia.so.1").exists():
            return libraries, image
    raise JuliaError(f"{prefix} holds no libjulia.so.1 with its system image: {ADVICE}")


def _library_folders(libraries: Path) -> tuple[Path, Path]:
    """The private Julia's two folders of libraries: below ``usr/lib`` and below ``lib``."""
    return libraries, libraries.parents[2] / "lib" / libraries.name


def _library_path(libraries: Path) -> str:
    """``LD_LIBRARY_PATH`` with which the private Julia runs as a program."""
    return os.pathsep.join(str(folder) for folder in (*_library_folders(libraries), libraries / "julia"))


def _preload(libraries: Path) -> None:
    """Load what libjulia needs by absolute path, so that no search path has to name the private folder."""
    waiting = sorted(
        path
        for folder in _library_folders(libraries)
        for path in folder.glob("lib*.so.*")
        if path.is_symlink() or len(path.name.split(".so.")[1].split(".")) == 1
        if not path.name.startswith(("libjulia", "libunwind-", "libpcreposix", "libpcre32", "libpcre16", "libpcrecpp"))
    )
    # Each may need others of them: go round until no more can be loaded.
    while waiting:
        left = []
        for path in waiting:
            try:
                ctypes.CDLL(str(path), mode=ctypes.RTLD_GLOBAL)
            except OSError:
                left.append(path)
        if len(left) == len(waiting):
            return
        waiting = left


def _cpu_target() -> str:
    """A processor that an old LLVM knows and that has this one's vector instructions."""
    try:
        information = Path("/proc/cpuinfo").read_text()
    except OSError:
        return "generic"
    flags = set(re.findall(r"\w+", next(iter(re.findall(r"^flags\s*:(.*)$", information, re.MULTILINE)), "")))
    if not {"avx2", "fma", "bmi2"} <= flags:
        return "generic"
    return "znver2" if {"clwb", "clzero", "sse4a", "rdpid"} <= flags else "haswell"


def _compiled_core(executable: Path, image: Path, cpu_target: str, library_path: str) -> Path | None:
    """A depot with the core as Julia precompiles it, which loads much faster than its source; made where there is none.

    None where it cannot be made, for instance because the cache is not writable. It is found again by what it was made from.
    """
    core = source_dir()
    try:
        sources = [core / "Project.toml", *sorted(path for path in (core / "src").rglob("*") if path.is_file()), image]
        made_from = [(str(path), path.stat().st_size, path.stat().st_mtime_ns) for path in sources]
        key = hashlib.sha256(repr((cpu_target, made_from)).encode()).hexdigest()[:16]
        shelf = debian.cache_dir() / "compiled"
        depot = shelf / key
        if depot.is_dir():
            return depot
        shelf.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="new-", dir=shelf) as scratch:
            environment = {name: value for name, value in os.environ.items() if not name.startswith("JULIA_")}
            environment |= {"JULIA_DEPOT_PATH": f"{scratch}/depot", "JULIA_LOAD_PATH": f"{core}{os.pathsep}@stdlib"}
            if library_path:
                environment["LD_LIBRARY_PATH"] = library_path
            options = [
                "-J",
                str(image),
                "-C",
                cpu_target,
                "--startup-file=no",
                "--history-file=no",
                "-e",
                "import SSNN",
            ]
            subprocess.run(
                [str(executable), *options],
                env=environment,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=300,
                check=True,
            )
            with contextlib.suppress(OSError):  # another process may have been first
                Path(scratch, "depot").rename(depot)
        for old in sorted(shelf.glob("[!n]*"), key=lambda path: path.stat().st_mtime)[:-_COMPILED_KEPT]:
            shutil.rmtree(old, ignore_errors=True)
        return depot if depot.is_dir() else None
    except (OSError, subprocess.SubprocessError):
        return None


def _load_compiled(depot: Path) -> str:
    """Julia code that loads the core from `depot`, and fails rather than compile it anew."""
    core = source_dir()
    uuid = re.search(r'^uuid = "(.+)"$', (core / "Project.toml").read_text(), re.MULTILINE)
    assert uuid is not None
    return f"""
        pushfirst!(DEPOT_PATH, {_julia_string(str(depot))})
        try
            Base._require_search_from_serialized(Base.PkgId(Base.UUID("{uuid[1]}"), "SSNN"), {_julia_string(str(core / "src" / "SSNN.jl"))})
        finally
            popfirst!(DEPOT_PATH)
        end
        const SSNN = Base.loaded_modules[Base.PkgId(Base.UUID("{uuid[1]}"), "SSNN")]
    """


@contextlib.contextmanager
def _kept_signal_handlers() -> Iterator[None]:
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
def _kept_signal_mask() -> Iterator[None]:
    """Keep this thread open to Ctrl-C and its like, which Julia's start would leave to a thread of Julia's."""
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_BLOCK, blocked)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT, signal.SIGTERM, signal.SIGQUIT} - blocked)


@contextlib.contextmanager
def _private_environment() -> Iterator[None]:
    """Keep a modern Julia's folders, which the user may have named, out of an old one's start."""
    names = ("JULIA_DEPOT_PATH", "JULIA_LOAD_PATH", "JULIA_PROJECT", "JULIA_NUM_THREADS")
    kept = {name: os.environ.pop(name) for name in names if name in os.environ}
    try:
        yield
    finally:
        os.environ.update(kept)


# --- starting it, once -----------------------------------------------------------------------------------------------------------

_RUNTIME: JuliaRuntime | None = None
_EMBEDDED: _EmbeddedRuntime | None = None
_BOOTING = threading.Lock()


def _unlock_after_fork() -> None:
    global _BOOTING
    _BOOTING = threading.Lock()


# A thread that was booting when the process forked does not exist in the child, and would never let go.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_unlock_after_fork)


def _start(candidate: str) -> JuliaRuntime:
    if candidate == "juliacall":
        return _JuliacallRuntime()
    if candidate == "embedded":
        found = debian.installed()
        if found is None:
            raise JuliaError(f"no embedded Julia is set up in {debian.cache_dir()}: {ADVICE}")
        return _start_embedded(found.root / "usr/bin/julia", private=True)
    version = julia_version(candidate)
    if version == (0,):
        raise JuliaError(f"SSNN_JULIA names {candidate!r}, which does not run as a Julia executable")
    if version >= MODERN:
        return _JuliacallRuntime(candidate)
    if version[:2] != EMBEDDABLE:
        number = ".".join(map(str, version))
        raise JuliaError(f"SSNN_JULIA names {candidate!r}, a Julia {number}; 1.10 or newer is needed, or 1.5")
    return _start_embedded(Path(candidate).resolve(), private=False)


def _start_embedded(executable: Path, private: bool) -> JuliaRuntime:
    global _EMBEDDED
    if _EMBEDDED is None:
        _EMBEDDED = _EmbeddedRuntime()
    _EMBEDDED.start(executable, private)
    return _EMBEDDED


def runtime() -> JuliaRuntime:
    """The Julia of this process, started at the first call.

    Raises
    ------
    JuliaError
        If no Julia can be started, or not the one that ``SSNN_JULIA`` asks for, with what to do. A later call tries again.

    Warns
    -----
    RuntimeWarning
        If the Julia that comes first in the choice cannot be started, and another one is.
    """
    global _RUNTIME
    if _RUNTIME is not None:
        _RUNTIME.check_process()
        return _RUNTIME
    with _BOOTING:
        if _RUNTIME is None:
            source_dir()
            found, failures = look_around(), []
            for candidate in candidates(found):
                try:
                    _RUNTIME = _start(candidate)
                    break
                except JuliaError as error:
                    failures.append(str(error))
            said = "; ".join(failures) or "no Julia was found"
            if _RUNTIME is None:
                if found.requested:
                    said = f"SSNN_JULIA asks for {found.requested!r}, which cannot be had: {said}"
                raise JuliaError(said if "ssnn setup" in said else f"{said}: {ADVICE}")
            if failures:
                _RUNTIME.instead_of = said
                warnings.warn(
                    f"Julia {_RUNTIME.version}, {_RUNTIME.how}, is used, because a newer one could not be: {said}",
                    RuntimeWarning,
                    stacklevel=2,
                )
        return _RUNTIME


def prepare() -> None:
    """Compile the core for the private Julia ahead of its first start, where that is possible."""
    found = debian.installed()
    with contextlib.suppress(JuliaError):
        if found is not None:
            executable = found.root / "usr/bin/julia"
            libraries, image = _embedded_files(executable)
            _compiled_core(executable, image, _cpu_target(), _library_path(libraries))


def available() -> tuple[bool, str]:
    """Whether there seems to be a Julia to start, and how or why not; starts nothing."""
    if _RUNTIME is not None:
        return True, _RUNTIME.how
    try:
        found = look_around()
        order = candidates(found)
    except JuliaError as error:
        return False, str(error)
    if order and order[0] == "juliacall" and not (found.modern_julia or found.juliacall_imported):
        return False, "juliacall has no Julia 1.10 or newer yet, and would have to download one: run `ssnn setup`"
    return (True, order[0]) if order else (False, f"no Julia was found: {ADVICE}")
