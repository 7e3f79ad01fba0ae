"""Starting Julia, once in a process: the first of the choice that can be had."""

from __future__ import annotations

import contextlib
import os
import threading
import warnings
from pathlib import Path

from ...errors import JuliaError
from .. import debian
from . import core
from .cache import compiled_core
from .choice import ADVICE, EMBEDDABLE, MODERN, candidates, julia_version, look_around
from .embedded import EmbeddedRuntime
from .juliacall_host import JuliacallRuntime
from .libjulia import cpu_target, embedded_files, library_path
from .running import JuliaRuntime

_RUNTIME: JuliaRuntime | None = None
_EMBEDDED: EmbeddedRuntime | None = None
_BOOTING = threading.Lock()


def _unlock_after_fork() -> None:
    global _BOOTING
    _BOOTING = threading.Lock()


# A thread that was booting when the process forked does not exist in the child, and would never let go.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_unlock_after_fork)


def _start(candidate: str) -> JuliaRuntime:
    if candidate == "juliacall":
        return JuliacallRuntime()
    if candidate == "embedded":
        found = debian.installed()
        if found is None:
            raise JuliaError(f"no embedded Julia is set up in {debian.cache_dir()}: {ADVICE}")
        return _start_embedded(found.root / "usr/bin/julia", private=True)
    version = julia_version(candidate)
    if version == (0,):
        raise JuliaError(f"SSNN_JULIA names {candidate!r}, which does not run as a Julia executable")
    if version >= MODERN:
        return JuliacallRuntime(candidate)
    if version[:2] != EMBEDDABLE:
        number = ".".join(map(str, version))
        raise JuliaError(f"SSNN_JULIA names {candidate!r}, a Julia {number}; 1.10 or newer is needed, or 1.5")
    return _start_embedded(Path(candidate).resolve(), private=False)


def _start_embedded(executable: Path, private: bool) -> JuliaRuntime:
    global _EMBEDDED
    if _EMBEDDED is None:
        _EMBEDDED = EmbeddedRuntime()
    _EMBEDDED.start(executable, private)
    return _EMBEDDED


def runtime() -> JuliaRuntime:
    """The Julia of this process, started at the first call.

    Raises
    ------
    JuliaError
        If no Julia can be started, or not the one that ``SSNN_JULIA`` asks for, with what to do. A later call tries
        again.

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
            core.source_dir()
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
            libraries, image = embedded_files(executable)
            compiled_core(executable, image, cpu_target(), library_path(libraries))


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
