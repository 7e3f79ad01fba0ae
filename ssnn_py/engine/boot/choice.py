"""Which Julia: what there is on this machine, and in which order to try it; starts nothing."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from ...errors import JuliaError
from .. import debian

MODERN = (1, 10)  # what juliacall may start
EMBEDDABLE = (1, 5)
ADVICE = (
    "run `ssnn setup` (Linux), or install Julia 1.10 or newer, or choose SSNN_ENGINE=reference; "
    "`ssnn doctor` tells more"
)


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
                'SSNN_JULIA must be "juliacall", "embedded" or the path of a Julia executable, but there is no '
                f"{requested!r}"
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
        modern_julia=modern_julia() is not None,
        embedded_installed=debian.installed() is not None,
    )


def modern_julia() -> Path | None:
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
