"""The core as an embedded Julia precompiles it, kept in the user's cache."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

from .. import debian
from . import core
from .core import julia_string

_COMPILED_KEPT = 8


def compiled_core(executable: Path, image: Path, cpu_target: str, library_path: str) -> Path | None:
    """A depot with the core as Julia precompiles it, which loads much faster than its source; made where there is none.

    None where it cannot be made, for instance because the cache is not writable. It is found again by what it was made
    from.
    """
    folder = core.source_dir()
    try:
        files = sorted(path for path in (folder / "src").rglob("*") if path.is_file())
        sources = [folder / "Project.toml", *files, image]
        made_from = [(str(path), path.stat().st_size, path.stat().st_mtime_ns) for path in sources]
        key = hashlib.sha256(repr((cpu_target, made_from)).encode()).hexdigest()[:16]
        shelf = debian.cache_dir() / "compiled"
        depot = shelf / key
        if depot.is_dir():
            return depot
        shelf.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="new-", dir=shelf) as scratch:
            environment = {name: value for name, value in os.environ.items() if not name.startswith("JULIA_")}
            environment |= {"JULIA_DEPOT_PATH": f"{scratch}/depot", "JULIA_LOAD_PATH": f"{folder}{os.pathsep}@stdlib"}
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


def load_compiled(depot: Path) -> str:
    """Julia code that loads the core from `depot`, and fails rather than compile it anew."""
    folder = core.source_dir()
    uuid = re.search(r'^uuid = "(.+)"$', (folder / "Project.toml").read_text(), re.MULTILINE)
    assert uuid is not None
    package = f'Base.PkgId(Base.UUID("{uuid[1]}"), "SSNN")'
    return f"""
        pushfirst!(DEPOT_PATH, {julia_string(str(depot))})
        try
            Base._require_search_from_serialized({package}, {julia_string(str(folder / "src" / "SSNN.jl"))})
        finally
            popfirst!(DEPOT_PATH)
        end
        const SSNN = Base.loaded_modules[{package}]
    """
