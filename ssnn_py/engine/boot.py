"""How Julia is started: the only module that knows.

Two ways, one interface. **juliacall** starts a modern Julia (1.10 or newer) that juliapkg finds or installs. **Embedded** loads the libjulia of an
older or distribution-made Julia through its C API. Either way the core's functions are reached as plain C pointers.
"""

from __future__ import annotations

import abc
import atexit
import contextlib
import ctypes
import importlib.util
import os
import queue
import re
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import JuliaError
from . import debian, default_threads

INTERFACE_VERSION = 1
MODERN = (1, 10)
_INTERRUPTED = 2
_MESSAGE_BYTES = 1 << 16
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
    managed = Path(sys.prefix) / "julia_env" / "pyjuliapkg" / "install" / "bin" / "julia"
    named = [os.environ.get(name, "") for name in ("PYTHON_JULIACALL_EXE", "PYTHON_JULIAPKG_EXE")]
    for candidate in (*named, str(managed), shutil.which("julia") or ""):
        if candidate and julia_version(candidate) >= MODERN:
            return Path(candidate)
    return None


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
    """

    how: str
    version: str
    threads: int
    cpu_target: str

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


class _JuliacallRuntime(JuliaRuntime):
    """Julia as juliacall starts it; called on the caller's own thread, one call at a time."""

    how = "juliacall"

    def __init__(self, executable: str | None = None) -> None:
        super().__init__()
        # Julia's multithreaded collector needs its signal handlers.
        defaults = {
            "PYTHON_JULIACALL_HANDLE_SIGNALS": "yes",
            "PYTHON_JULIACALL_THREADS": str(default_threads()),
            "PYTHON_JULIACALL_OPTIMIZE": "3",
        }
        if executable is not None:
            defaults["PYTHON_JULIAPKG_EXE"] = executable
        for name, value in defaults.items():
            os.environ.setdefault(name, value)
        self._lock = threading.Lock()
        try:
            from juliacall import Main  # type: ignore[import-not-found, import-untyped, unused-ignore]
        except ImportError as error:
            raise JuliaError(f"juliacall cannot be imported ({error}): pip install juliacall") from error
        except Exception as error:
            raise JuliaError(f"juliacall could not start Julia: {error}") from error
        self._main = Main
        version = str(Main.seval("string(VERSION)"))
        if tuple(int(part) for part in version.split(".")[:2]) < MODERN:
            raise JuliaError(f"juliacall has started Julia {version}; ssnn_py needs 1.10 or newer in it")
        self.version = version
        self.threads = int(Main.seval("Threads.nthreads()"))
        self.cpu_target = str(Main.seval("Sys.CPU_NAME"))
        try:
            Main.seval("import SSNN")
        except Exception as error:
            raise JuliaError(f"the core could not be loaded by juliacall's Julia: {error}") from error
        self._connect()

    def _address(self, name: str) -> int:
        try:
            return int(self._main.SSNN.entry_point(name))
        except Exception as error:
            raise JuliaError(f"the core has no function {name!r}: {error}") from error

    def _perform(self, task: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
        self.check_process()
        with self._lock:
            return task(*arguments)

    def eval(self, code: str) -> None:
        self.check_process()
        try:
            self._main.seval(f"begin\n{code}\nnothing\nend")
        except Exception as error:
            raise JuliaError(str(error)) from error


class _EmbeddedRuntime(JuliaRuntime):
    """libjulia through its C API, owned by one thread of its own.

    An older Julia can be called only by the thread that started it. Callers hand their calls over and wait; waiting, unlike a call
    into C, can be interrupted by Ctrl-C, which then asks the core to stop.
    """

    how = "embedded"

    def __init__(self, root: Path) -> None:
        super().__init__()
        self._root = root
        self._calls: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._serve, name="julia", daemon=True)
        self._thread.start()
        self._perform(self._boot, ())
        self._connect()
        atexit.register(self._stop)

    def _serve(self) -> None:
        while True:
            call = self._calls.get()
            if call is None:
                return
            task, arguments, outcome, done = call
            try:
                outcome.append(task(*arguments))
            except BaseException as error:
                outcome.append(error)
            finally:
                del task, arguments, call
                done.release()

    def _perform(self, task: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
        self.check_process()
        outcome: list[Any] = []
        done = threading.Lock()
        done.acquire()
        self._calls.put((task, arguments, outcome, done))
        interrupted: BaseException | None = None
        while True:
            try:
                done.acquire()
                break
            except BaseException as interrupt:
                # The core still writes into the caller's arrays: stop it, and wait until it has.
                interrupted = interrupt
                self._cancel.value = 1
        if interrupted is not None:
            self._cancel.value = 0
            raise interrupted
        result = outcome[0]
        if isinstance(result, BaseException):
            raise result
        return result

    def _stop(self) -> None:
        if os.getpid() == self._pid and self._thread.is_alive():
            with contextlib.suppress(Exception):
                self._perform(self._library.jl_atexit_hook, (0,))
            self._calls.put(None)
            self._thread.join(timeout=5)

    def _boot(self) -> None:
        libraries, executable, image = _embedded_files(self._root)
        _preload(libraries)
        try:
            library = ctypes.CDLL(str(libraries / "libjulia.so.1"), mode=ctypes.RTLD_GLOBAL)
        except OSError as error:
            raise JuliaError(f"libjulia cannot be loaded ({error}): {ADVICE}") from None
        self._library = library
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

        options = [
            executable,
            "-C",
            self.cpu_target,
            "-O3",
            f"--threads={self.threads}",
            "--startup-file=no",
            "--history-file=no",
        ]
        words = [str(option).encode() for option in options]
        vector = (ctypes.c_char_p * (len(words) + 1))(*words, None)
        count = ctypes.c_int(len(words))
        pointer = ctypes.cast(vector, ctypes.POINTER(ctypes.c_char_p))
        library.jl_parse_opts(ctypes.byref(count), ctypes.byref(pointer))
        with _kept_signal_handlers(), _private_environment():
            library.jl_init_with_image__threading(str(executable.parent).encode(), str(image).encode())
        core = source_dir() / "src" / "SSNN.jl"
        self._evaluate(f"include({_julia_string(str(core))})")
        self.version = self._text("string(VERSION)")

    def _evaluate(self, code: str) -> None:
        """Evaluate in Main; a failure becomes a JuliaError with Julia's message."""
        guarded = ('const __ssnn_failed = Ref(""); ' if not getattr(self, "_guarded", False) else "") + (
            f'__ssnn_failed[] = ""; try; include_string(Main, {_julia_string(code)}); '
            "catch err; __ssnn_failed[] = sprint(showerror, err); end; 0"
        )
        self._guarded = True
        if self._library.jl_eval_string(guarded.encode()) is None:
            raise JuliaError("Julia could not evaluate its own start-up code")
        message = self._text("__ssnn_failed[]")
        if message:
            raise JuliaError(message)

    def _number(self, code: str) -> int:
        boxed = self._library.jl_eval_string(code.encode())
        if boxed is None:
            raise JuliaError(f"Julia could not evaluate {code}")
        return int(self._library.jl_unbox_uint64(boxed))

    def _text(self, code: str) -> str:
        address = self._number(f"global __ssnn_text = Vector{{UInt8}}({code}); UInt64(pointer(__ssnn_text))")
        length = self._number("UInt64(length(__ssnn_text))")
        return ctypes.string_at(address, length).decode(errors="replace")

    def _address(self, name: str) -> int:
        return int(self._perform(self._number, (f"UInt64(SSNN.entry_point({_julia_string(name)}))",)))

    def eval(self, code: str) -> None:
        self._perform(self._evaluate, (code,))


def _julia_string(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("$", "\\$")
    return f'"{escaped}"'


def _embedded_files(root: Path) -> tuple[Path, Path, Path]:
    """Folder of libraries, executable and system image of a Julia laid out like a distribution's."""
    import platform

    executable = root / "usr/bin/julia"
    for libraries in (root / "usr/lib" / f"{platform.machine()}-linux-gnu", root / "usr/lib64", root / "usr/lib"):
        image = libraries / "julia" / "sys.so"
        if image.is_file() and (libraries / "libjulia.so.1").exists():
            return libraries, executable, image
    raise JuliaError(f"{root} holds no libjulia.so.1 with its system image: run `ssnn setup` again")


def _preload(libraries: Path) -> None:
    """Load what libjulia needs by absolute path, so that no search path has to name the private folder."""
    here = [libraries, libraries.parents[2] / "lib" / libraries.name]
    waiting = sorted(
        path
        for folder in here
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
    given = os.environ.get("JULIA_CPU_TARGET", "").strip()
    if given:
        return given
    try:
        information = Path("/proc/cpuinfo").read_text()
    except OSError:
        return "generic"
    flags = set(re.findall(r"\w+", next(iter(re.findall(r"^flags\s*:(.*)$", information, re.MULTILINE)), "")))
    if not {"avx2", "fma", "bmi2"} <= flags:
        return "generic"
    return "znver2" if {"clwb", "clzero", "sse4a", "rdpid"} <= flags else "haswell"


@contextlib.contextmanager
def _kept_signal_handlers() -> Iterator[None]:
    """Leave Ctrl-C and its like to Python, which Julia's start would take over."""
    libc = ctypes.CDLL(None)
    kept = {}
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGQUIT, signal.SIGPIPE):
        action = ctypes.create_string_buffer(512)
        if libc.sigaction(int(number), None, action) == 0:
            kept[number] = action
    yield
    for number, action in kept.items():
        libc.sigaction(int(number), action, None)


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
_BOOTING = threading.Lock()


def _start(candidate: str) -> JuliaRuntime:
    if candidate == "juliacall":
        return _JuliacallRuntime()
    if candidate == "embedded":
        found = debian.installed()
        if found is None:
            raise JuliaError(f"no embedded Julia is set up in {debian.cache_dir()}: {ADVICE}")
        return _EmbeddedRuntime(found.root)
    version = julia_version(candidate)
    if version == (0,):
        raise JuliaError(f"SSNN_JULIA names {candidate!r}, which does not run as a Julia executable")
    if version >= MODERN:
        return _JuliacallRuntime(candidate)
    return _EmbeddedRuntime(Path(candidate).resolve().parents[2])


def runtime() -> JuliaRuntime:
    """The Julia of this process, started at the first call.

    Raises
    ------
    JuliaError
        If no Julia can be started, with what to do. A later call tries again.
    """
    global _RUNTIME
    if _RUNTIME is not None:
        _RUNTIME.check_process()
        return _RUNTIME
    with _BOOTING:
        if _RUNTIME is None:
            failures = []
            for candidate in candidates(look_around()):
                try:
                    _RUNTIME = _start(candidate)
                    break
                except JuliaError as error:
                    failures.append(str(error))
            if _RUNTIME is None:
                said = "; ".join(failures) or "no Julia was found"
                raise JuliaError(said if "ssnn setup" in said else f"{said}: {ADVICE}")
        return _RUNTIME


def available() -> tuple[bool, str]:
    """Whether there seems to be a Julia to start, and how or why not; starts nothing."""
    if _RUNTIME is not None:
        return True, _RUNTIME.how
    try:
        order = candidates(look_around())
    except JuliaError as error:
        return False, str(error)
    return (True, order[0]) if order else (False, f"no Julia was found: {ADVICE}")
