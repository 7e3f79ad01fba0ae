"""What there is on this machine, what would be used, and what to do about what is missing."""

from __future__ import annotations

import json
import os
import platform
import ssl
import subprocess
import sys
from typing import Any

from .engine import boot, debian, packages

# Run in a process of its own, so that a Julia that crashes is reported and not suffered.
_PROBE = """
import json
from ssnn_py.engine import boot
from ssnn_py.errors import SSNNError
try:
    julia = boot.runtime()
    names = ("how", "version", "threads", "cpu_target", "library", "instead_of")
    found = {name: getattr(julia, name) for name in names}
except SSNNError as error:
    found = {"problem": " ".join(str(error).split())}
print(json.dumps(found))
"""


# Likewise, and with its name as an argument: which one a device is.
_DEVICE_PROBE = """
import sys
from ssnn_py.engine import boot, devices
from ssnn_py.errors import SSNNError
try:
    print(devices.facts(boot.runtime(), sys.argv[1]))
except SSNNError as error:
    print(" ".join(str(error).split()))
    sys.exit(1)
"""


def _openssl_limit(version: tuple[int, int]) -> str:
    """What Python's OpenSSL means for the Julia that juliapkg chooses: both load theirs into one process. Empty if
    nothing.
    """
    return "older than 3.5, so that juliacall takes no Julia newer than 1.11" if version < (3, 5) else ""


def examine(devices: bool = False) -> dict[str, Any]:
    """Facts about the installation; ``problems`` lists what is wrong, each with what to do. Where `devices` are asked
    for, those whose packages are installed are loaded, which may take a minute each.
    """
    facts: dict[str, Any] = {
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}",
        "openssl": ssl.OPENSSL_VERSION,
        "cache_folder": str(debian.cache_dir()),
        "problems": [],
    }
    try:
        facts["core_folder"] = str(boot.source_dir())
    except Exception as error:
        facts["core_folder"] = None
        facts["problems"].append(str(error))
    found = boot.look_around()
    facts["juliacall_installed"] = found.juliacall_installed
    facts["modern_julia"] = found.modern_julia
    facts["sciml_installed"] = packages.sciml_installed()
    facts["devices"] = {name: packages.device_installed(name) for name in packages.DEVICE_PACKAGES}
    facts["openssl_limit"] = _openssl_limit((ssl.OPENSSL_VERSION_INFO[0], ssl.OPENSSL_VERSION_INFO[1]))
    private = debian.installed()
    facts["private_julia"] = private and private.version
    ours = ("SSNN_ENGINE", "SSNN_JULIA", "SSNN_CACHE_DIR", "SSNN_NUM_THREADS", "SSNN_JULIA_OPTIMIZE")
    facts["settings"] = {
        name: value
        for name, value in sorted(os.environ.items())
        if name in ours or name.startswith(("PYTHON_JULIACALL_", "PYTHON_JULIAPKG_", "JULIA_"))
    }
    facts["julia"] = None
    try:
        done = subprocess.run([sys.executable, "-c", _PROBE], capture_output=True, text=True, timeout=600, check=False)
        said = json.loads(done.stdout.splitlines()[-1]) if done.returncode == 0 else None
        if said is None:
            lines = done.stderr.strip().splitlines()
            last = lines[-1] if lines else "silently"
            facts["problems"].append(f"starting Julia ended the process (status {done.returncode}): {last}")
        elif "problem" in said:
            facts["problems"].append(said["problem"])
        else:
            instead_of = said.pop("instead_of")
            facts["julia"] = said
            if instead_of:
                facts["problems"].append(f"{said['how']} was taken instead of a newer Julia: {instead_of}")
    except subprocess.TimeoutExpired:
        facts["problems"].append("starting Julia took more than ten minutes")
    for name, installed in facts["devices"].items():
        if devices and installed:
            _look_at_device(name, facts)
    requested = os.environ.get("SSNN_ENGINE", "").strip().lower() or "auto"
    # A Julia that SSNN_JULIA names is no matter of choice.
    fallback = "julia" if facts["julia"] or found.requested else "reference"
    facts["engine"] = requested if requested != "auto" else fallback
    return facts


def _look_at_device(name: str, facts: dict[str, Any]) -> None:
    """Put in the place of whether a device's packages are installed which one it is, or note a problem."""
    command = [sys.executable, "-c", _DEVICE_PROBE, name]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=1200, check=False)
    except subprocess.TimeoutExpired:
        facts["problems"].append(f"loading the packages of device {name!r} took more than twenty minutes")
        return
    said, complained = done.stdout.strip().splitlines(), done.stderr.strip().splitlines()
    if done.returncode == 0:
        facts["devices"][name] = said[-1]
    elif done.returncode == 1 and said:
        facts["problems"].append(said[-1])
    else:
        last = complained[-1] if complained else "silently"
        facts["problems"].append(f"device {name!r} ended the process (status {done.returncode}): {last}")


def _device(name: str, found: bool | str) -> str:
    """A device in words: whether its packages are installed, or, where it was looked at, which one it is."""
    if not found:
        return f"not installed; `ssnn setup --{name}` adds it"
    return "installed" if found is True else str(found)


def report(facts: dict[str, Any]) -> str:
    """The facts as lines for a person."""
    julia = facts["julia"]
    lines = [
        f"engine        {facts['engine']}",
        "julia         " + (f"{julia['version']}, {julia['how']}" if julia else "none could be started"),
    ]
    if julia:
        lines += [
            f"threads       {julia['threads']}",
            f"CPU target    {julia['cpu_target']}",
            f"libjulia      {julia['library']}",
        ]
    lines += [
        f"core          {facts['core_folder']}",
        f"cache         {facts['cache_folder']}",
        f"private Julia {facts['private_julia'] or 'not set up'}",
        f"juliacall     {'installed' if facts['juliacall_installed'] else 'not installed'}"
        + (", with a Julia of 1.10 or newer" if facts["modern_julia"] else ", no Julia of 1.10 or newer found"),
        "SciML         "
        + ("installed" if facts["sciml_installed"] else "not installed; `ssnn setup --sciml` adds its solvers"),
        *(f"device        {name}: {_device(name, found)}" for name, found in facts["devices"].items()),
        f"python        {facts['python']} on {facts['platform']}",
        f"OpenSSL       {facts['openssl']}" + (f"; {facts['openssl_limit']}" if facts["openssl_limit"] else ""),
    ]
    lines += [f"setting       {name}={value}" for name, value in facts["settings"].items()]
    lines += [f"problem       {problem}" for problem in facts["problems"]]
    if facts["engine"] == "reference" and not julia:
        lines.append("without Julia everything runs in NumPy, with the same numbers, much more slowly")
    return "\n".join(lines)
