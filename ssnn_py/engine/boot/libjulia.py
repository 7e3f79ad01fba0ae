"""libjulia of an older or distribution-made Julia: its files, and its C API."""

from __future__ import annotations

import contextlib
import ctypes
import os
import platform
import re
from collections.abc import Iterator
from pathlib import Path

from ...errors import JuliaError, ValidationError
from .. import default_threads
from .choice import ADVICE
from .core import julia_string
from .signals import kept_signal_handlers
from .symbols import keep_apart


class LibJulia:
    """libjulia, started through its C API by the thread that makes this, and called by no other.

    Attributes
    ----------
    path : str
        Where the library is.
    threads : int
        Julia's threads.
    cpu_target : str
        The processor that code is compiled for.
    """

    def __init__(self, libraries: Path, executable: Path, image: Path, private: bool) -> None:
        if hasattr(ctypes.CDLL(None), "jl_parse_opts"):
            raise JuliaError(
                "another Julia runs in this process already, and a second one cannot: if it is juliacall's, set "
                "SSNN_JULIA=juliacall"
            )
        keep_apart()
        if private:
            preload(libraries)
        self.path = str(libraries / "libjulia.so.1")
        try:
            library = ctypes.CDLL(self.path, mode=ctypes.RTLD_GLOBAL)
        except OSError as error:
            raise JuliaError(f"libjulia cannot be loaded ({error}): {ADVICE}") from None
        self.cpu_target = cpu_target()
        self.threads = default_threads()
        level = optimization_level()
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

        options = ["-C", self.cpu_target, f"-O{level}", f"--threads={self.threads}"]
        # What debuggers read of code takes a tenth of its compiler's time to make, and no error shows a stack trace.
        options += ["-g0", "--startup-file=no", "--history-file=no"]
        words = [word.encode() for word in (str(executable), *options)]
        vector = (ctypes.c_char_p * (len(words) + 1))(*words, None)
        count = ctypes.c_int(len(words))
        pointer = ctypes.cast(vector, ctypes.POINTER(ctypes.c_char_p))
        library.jl_parse_opts(ctypes.byref(count), ctypes.byref(pointer))
        with kept_signal_handlers(), _private_environment():
            library.jl_init_with_image__threading(str(executable.parent).encode(), str(image).encode())
        library.jl_eval_string(b'const __ssnn_failed = Ref(""); 0')
        self._library = library

    def evaluate(self, code: str) -> None:
        """Evaluate in Main; a failure becomes a JuliaError with Julia's message."""
        self.number(
            f'__ssnn_failed[] = ""; try; include_string(Main, {julia_string(code)}); '
            "catch err; __ssnn_failed[] = sprint(showerror, err); end; UInt64(0)"
        )
        message = self.text("__ssnn_failed[]")
        if message:
            raise JuliaError(message)

    def number(self, code: str) -> int:
        """The value of `code`, a UInt64."""
        boxed = self._library.jl_eval_string(code.encode())
        if boxed is None:
            raise JuliaError(f"Julia could not evaluate {code}")
        return int(self._library.jl_unbox_uint64(boxed))

    def text(self, code: str) -> str:
        """The value of `code`, a string."""
        address = self.number(f"global __ssnn_text = Vector{{UInt8}}({code}); UInt64(pointer(__ssnn_text))")
        length = self.number("UInt64(length(__ssnn_text))")
        return ctypes.string_at(address, length).decode(errors="replace")

    def end(self) -> None:
        """What Julia does at its end."""
        self._library.jl_atexit_hook(0)


def embedded_files(executable: Path) -> tuple[Path, Path]:
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


def library_path(libraries: Path) -> str:
    """``LD_LIBRARY_PATH`` with which the private Julia runs as a program."""
    return os.pathsep.join(str(folder) for folder in (*_library_folders(libraries), libraries / "julia"))


def preload(libraries: Path) -> None:
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


def optimization_level() -> int:
    """How much Julia optimises what it compiles: ``SSNN_JULIA_OPTIMIZE``, from 0 to 3, else 3.

    Raises
    ------
    ValidationError
        If that is set to something else.
    """
    given = os.environ.get("SSNN_JULIA_OPTIMIZE", "").strip() or "3"
    if given not in ("0", "1", "2", "3"):
        raise ValidationError(f"SSNN_JULIA_OPTIMIZE must be 0, 1, 2 or 3, got {given!r}")
    return int(given)


def cpu_target() -> str:
    """A processor that an old LLVM knows and that has this one's vector instructions."""
    try:
        information = Path("/proc/cpuinfo").read_text()
    except OSError:
        return "generic"
    flags = set(re.findall(r"\w+", next(iter(re.findall(r"^flags\s*:(.*)$", information, re.MULTILINE)), "")))
    if not {"avx2", "fma", "bmi2"} <= flags:
        return "generic"
    return "znver2" if {"clwb", "clzero", "sse4a", "rdpid"} <= flags else "haswell"


@contextlib.contextmanager
def _private_environment() -> Iterator[None]:
    """Keep a modern Julia's folders, which the user may have named, out of an old one's start."""
    names = ("JULIA_DEPOT_PATH", "JULIA_LOAD_PATH", "JULIA_PROJECT", "JULIA_NUM_THREADS")
    kept = {name: os.environ.pop(name) for name in names if name in os.environ}
    try:
        yield
    finally:
        os.environ.update(kept)
