"""Code that was made of formulas, kept in the user's cache, so that another process need not make it again."""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

_KEPT = 256
#: The files that make code.
_MAKERS = ("julia_code.py", "julia_parts.py", "julia_expressions.py", "derivatives.py", "calculus.py", "symbolic.py")


def _version() -> str:
    """What the code is made by: it is made anew where that has changed."""
    here = Path(__file__).parent
    makers = [(here / name).read_bytes() for name in _MAKERS]
    return hashlib.sha256(b"".join(makers)).hexdigest()[:8]


def stored(folder: Path, name: str, make: Callable[[], str]) -> str:
    """The text of that name in a folder, or what `make` returns, which is kept there if the folder can be written."""
    path = folder / f"{name}-{_version()}.jl"
    with contextlib.suppress(OSError, UnicodeDecodeError):
        text = path.read_text(encoding="utf-8")
        if text.endswith("# end\n"):
            os.utime(path)
            return text
    text = make() + "\n# end\n"
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=path.parent, suffix=".new", delete=False, encoding="utf-8") as file:
            file.write(text)
        Path(file.name).replace(path)
        for old in sorted(path.parent.glob("*.jl"), key=lambda kept: kept.stat().st_mtime)[:-_KEPT]:
            old.unlink(missing_ok=True)
    return text
