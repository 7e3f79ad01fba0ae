"""The Julia core that every way of starting loads: where its source is, and which interface it must have."""

from __future__ import annotations

from pathlib import Path

from ...errors import JuliaError

INTERFACE_VERSION = 17


def source_dir() -> Path:
    """The folder of the Julia core: inside an installed package, or beside it in a checkout."""
    package = Path(__file__).resolve().parents[2]
    for folder in (package / "julia", package.parent / "julia"):
        if (folder / "src" / "SSNN.jl").is_file():
            return folder
    raise JuliaError(f"the Julia core is missing: neither {package / 'julia'} nor {package.parent / 'julia'} holds it")


def julia_string(text: str) -> str:
    """A literal of Julia's that stands for `text`."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("$", "\\$")
    return f'"{escaped}"'
