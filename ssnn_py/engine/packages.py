"""Julia packages beyond the core: the solvers of DifferentialEquations.jl, installed only where someone asks for them."""

from __future__ import annotations

import contextlib
import json
import sys

from ..errors import JuliaError
from . import boot

#: What the engine "sciml" loads: name, UUID and the versions that julia/Project.toml allows. It brings the other packages that the extension uses.
SCIML_PACKAGES = (("StochasticDiffEq", "789caeaf-c7a9-5a7d-9973-96adeb23e2a0", "7"),)


def sciml_installed() -> bool:
    """Whether juliapkg's project names the SciML packages; asks no server and starts nothing."""
    try:
        named = json.loads((boot.juliapkg_project() / "pyjuliapkg" / "juliapkg.json").read_text()).get("packages", {})
    except (OSError, ValueError, AttributeError):
        return False
    return all(name in named for name, _, _ in SCIML_PACKAGES)


def install_sciml() -> None:
    """Add the solvers of DifferentialEquations.jl to the Julia project that juliacall uses, and compile them.

    They then serve ``simulate(..., solver="sciml:NAME")``. About 150 packages are downloaded and compiled, which takes some minutes,
    once. The same as ``ssnn setup --sciml``.

    Raises
    ------
    JuliaError
        If juliacall is not installed, or its Julia or the packages cannot be had; the project is left as it was.
    """
    try:
        import juliapkg  # type: ignore[import-not-found, import-untyped, unused-ignore]
    except ImportError as error:
        raise JuliaError("the SciML packages need juliacall: pip install juliacall") from error
    # juliapkg reports on standard output, which belongs to the program.
    with contextlib.redirect_stdout(sys.stderr):
        fresh = not sciml_installed()
        try:
            for name, uuid, version in SCIML_PACKAGES:
                juliapkg.add(name, uuid=uuid, version=version)
            juliapkg.resolve()
        except Exception as error:
            if fresh:
                with contextlib.suppress(Exception):
                    for name, _, _ in SCIML_PACKAGES:
                        juliapkg.rm(name)
            raise JuliaError(f"the SciML packages could not be installed: {error}") from error
