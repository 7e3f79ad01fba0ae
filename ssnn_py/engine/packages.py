"""Julia packages beyond the core, installed where someone asks for them: the solvers of DifferentialEquations.jl, and
devices.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path

from ..errors import JuliaError
from . import boot

#: Name, UUID and the versions that julia/Project.toml allows; None where it allows any.
Package = tuple[str, str, str | None]

#: What the engine "sciml" loads. It brings the other packages that the extension uses. Before 7.1.3, version 7 has the
#: noise at a late stop, KomBurSROCK2 and RKMilGeneral wrong.
SCIML_PACKAGES: tuple[Package, ...] = (("StochasticDiffEq", "789caeaf-c7a9-5a7d-9973-96adeb23e2a0", "6.81, 7.1.3"),)
#: What its reverse mode by ``sensealg`` loads as well.
SENSITIVITY_PACKAGES: tuple[Package, ...] = (
    ("OrdinaryDiffEqTsit5", "b1df2697-797e-41e3-8120-5422d3b24e4a", "1, 2"),
    ("SciMLSensitivity", "1ed8b502-d754-442c-8d5d-10ac956f44a1", "7.87"),
)
_KERNELS = ("KernelAbstractions", "63c18a36-062a-441e-b654-da1e3ab1ce7c", "0.9.34")
#: What each device loads. KernelAbstractions.jl says which versions of a GPU's package go with it.
DEVICE_PACKAGES: dict[str, tuple[Package, ...]] = {
    "kernels": (_KERNELS,),
    "cuda": (_KERNELS, ("CUDA", "052768ef-5323-5732-b1bb-66c8b64840ba", None)),
    "rocm": (_KERNELS, ("AMDGPU", "21141c5a-9bdb-4563-92ae-f87d6854732e", None)),
    "oneapi": (_KERNELS, ("oneAPI", "8f75cd03-7ff8-4ecb-9b8f-daf728133b1b", None)),
    "metal": (_KERNELS, ("Metal", "dde4c033-4e86-420c-a63e-0dd931031962", None)),
}


def _own_project() -> Path | None:
    """The user's own Julia project, with which juliacall does not ask juliapkg."""
    given = os.environ.get("PYTHON_JULIACALL_PROJECT", "").strip()
    return Path(given) if given else None


def _named() -> list[str]:
    """The packages that the project names which juliacall uses."""
    own = _own_project()
    try:
        if own is not None:
            project = (own / "Project.toml").read_text(encoding="utf-8")
            section = re.search(r"^\[deps\]$(.*?)(?=^\[|\Z)", project, re.MULTILINE | re.DOTALL)
            return re.findall(r"^(\w+) *=", section[1] if section else "", re.MULTILINE)
        return list(json.loads((boot.juliapkg_project() / "pyjuliapkg" / "juliapkg.json").read_text())["packages"])
    except (OSError, ValueError, KeyError, TypeError):
        return []


def sciml_installed(sensitivity: bool = False) -> bool:
    """Whether the SciML packages are installed for juliacall; asks no server and starts nothing."""
    return _are_named(_wanted(sensitivity))


def device_installed(device: str) -> bool:
    """Whether the packages of a device are installed for juliacall; asks no server and starts nothing."""
    return _are_named(DEVICE_PACKAGES[device])


def _are_named(wanted: Sequence[Package]) -> bool:
    named = _named()
    return all(name in named for name, _, _ in wanted)


def _wanted(sensitivity: bool) -> tuple[Package, ...]:
    return SCIML_PACKAGES + (SENSITIVITY_PACKAGES if sensitivity else ())


def install_sciml(sensitivity: bool = False) -> None:
    """Add the solvers of DifferentialEquations.jl to the Julia project that juliacall uses, and compile them.

    They then serve ``simulate(..., solver="sciml:NAME")``. About 150 packages are downloaded and compiled, which takes
    some minutes, once. The same as ``ssnn setup --sciml``. Where Julia runs already, Python has to be started again
    afterwards: a warning says so.

    Parameters
    ----------
    sensitivity : bool
        SciMLSensitivity.jl too, for ``simulate(..., sensealg=...)``: some 200 packages more. The same as ``ssnn setup
        --sensitivity``.

    Raises
    ------
    JuliaError
        If juliacall is not installed, or its Julia or the packages cannot be had; the project is left as it was.
    """
    _install("SciML packages", _wanted(sensitivity), stacklevel=3)


def install_devices(devices: Sequence[str]) -> None:
    """Add the packages of devices, as ``simulate(device=...)`` names them, to the Julia project that juliacall uses,
    and compile them. The same as ``ssnn setup --kernels`` or ``--cuda``.

    Raises
    ------
    JuliaError
        As for :func:`install_sciml`.
    """
    packages = dict.fromkeys(package for device in devices for package in DEVICE_PACKAGES[device])
    _install(f"packages of device {' and '.join(map(repr, devices))}", tuple(packages), stacklevel=3)


def _install(what: str, wanted: Sequence[Package], stacklevel: int) -> None:
    """Add packages, all or none, and say of `what` they are where they cannot be had."""
    own = _own_project()
    if own is not None:
        names = ", ".join(f'"{name}"' for name, _, _ in wanted)
        raise JuliaError(
            f"PYTHON_JULIACALL_PROJECT names a Julia project of your own, which ssnn_py leaves alone: "
            f"julia --project={own} -e 'using Pkg; Pkg.add({names})'"
        )
    try:
        import juliapkg  # type: ignore[import-not-found, import-untyped, unused-ignore]
    except ImportError as error:
        raise JuliaError(f"the {what} need juliacall: pip install juliacall") from error
    if juliapkg.offline(None):
        # It would note the packages down, install nothing, and say nothing.
        raise JuliaError(f"the {what} could not be installed: juliapkg is offline (PYTHON_JULIAPKG_OFFLINE)")
    running = "juliacall" in sys.modules
    # juliapkg reports on standard output, which belongs to the program.
    with contextlib.redirect_stdout(sys.stderr):
        before = _named()
        try:
            for name, uuid, version in wanted:
                juliapkg.add(name, uuid=uuid, **({} if version is None else {"version": version}))
            juliapkg.resolve()
        except Exception as error:
            with contextlib.suppress(Exception):
                for name, _, _ in wanted:
                    if name not in before:
                        juliapkg.rm(name)
            raise JuliaError(f"the {what} could not be installed: {error}") from error
    if running:
        warnings.warn(
            f"the {what} are installed, but Julia was started before, with the packages of that time: start Python "
            "again",
            RuntimeWarning,
            stacklevel=stacklevel,
        )
