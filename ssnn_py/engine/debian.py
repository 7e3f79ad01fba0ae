"""A private Julia from Debian's packages, for machines that cannot reach Julia's own servers.

Debian 11's ``julia`` 1.5.3 and the libraries it loads are unpacked into a folder of the user's cache. Nothing is
installed: the system's packages, sources and status stay as they are, and no root is needed.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import platform
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ..errors import JuliaError

SUITE = "bullseye"
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
PACKAGES = [
    "julia",
    "julia-common",
    "libjulia1",
    "libllvm9",
    "libz3-4",
    "libedit2",
    "libbsd0",
    "libmd0",
    "libffi7",
    "libgfortran5",
    "libquadmath0",
    "libgit2-1.1",
    "libgmp10",
    "libhttp-parser2.9",
    "libmbedcrypto3",
    "libmbedtls12",
    "libmbedx509-0",
    "libmpfr6",
    "libopenlibm3",
    "libpcre2-8-0",
    "libpcre3",
    "libdsfmt-19937-1",
    "libtinfo6",
    "libunwind8",
    "libutf8proc2",
]
# What a run does not read.
UNNEEDED = ("usr/share/doc", "usr/share/man", "usr/share/icons", "usr/share/lintian", "usr/share/metainfo")
MARKER = "ssnn-setup.json"
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


@dataclass(frozen=True)
class DebianJulia:
    """An unpacked Julia: `root` holds ``usr``, ``etc`` and ``lib``."""

    root: Path
    version: str

    @property
    def library_dir(self) -> Path:
        return self.root / "usr/lib" / f"{platform.machine()}-linux-gnu"


def cache_dir() -> Path:
    """The package's cache folder: ``SSNN_CACHE_DIR``, else the user's cache; not made here."""
    given = os.environ.get("SSNN_CACHE_DIR", "").strip()
    if given:
        return Path(given).expanduser().resolve()
    base = os.environ.get("XDG_CACHE_HOME", "").strip()
    return (Path(base) if base else Path.home() / ".cache") / "ssnn_py"


def installed() -> DebianJulia | None:
    """The private Julia, if a setup has finished."""
    root = cache_dir() / "debian-julia"
    try:
        marker = json.loads((root / MARKER).read_text())
        return DebianJulia(root, marker["version"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def possible() -> bool:
    """Whether this machine has what it takes to fetch the private Julia: Linux with Debian's tools."""
    return (
        platform.system() == "Linux"
        and platform.machine() in _ARCHITECTURES
        and all(shutil.which(tool) for tool in ("apt-get", "dpkg-deb"))
    )


def setup(debs: Path | None = None) -> DebianJulia:
    """Install the private Julia unless it is there: from Debian's archive with apt, or from a folder of ``.deb`` files.

    Raises
    ------
    JuliaError
        With what to do: no apt, no network, a missing or damaged package, an unwritable cache.
    """
    machine = platform.machine()
    if platform.system() != "Linux" or machine not in _ARCHITECTURES:
        raise JuliaError(
            f"the private Julia is Debian's, for Linux on x86_64 or aarch64; this is {platform.system()} on {machine}. "
            "Install Julia 1.10 or newer, and ssnn_py will find it."
        )
    if shutil.which("dpkg-deb") is None:
        raise JuliaError("dpkg-deb was not found; it unpacks the packages. Install dpkg, or Julia 1.10 or newer.")
    with _writable_cache() as cache, _lock(cache / "setup.lock"):
        for abandoned in cache.glob("setup-*"):
            shutil.rmtree(abandoned, ignore_errors=True)
        present = installed()
        if present is not None and debs is None:
            return present
        with tempfile.TemporaryDirectory(prefix="setup-", dir=cache) as scratch:
            files = _given(debs) if debs is not None else _download(Path(scratch))
            return _unpack(files, Path(scratch), cache)


@contextlib.contextmanager
def _writable_cache() -> Iterator[Path]:
    cache = cache_dir()
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=cache):
            pass
    except OSError as error:
        raise JuliaError(
            f"the cache folder {cache} cannot be written ({error.strerror}): set SSNN_CACHE_DIR to a folder that can"
        ) from None
    try:
        yield cache
    except OSError as error:
        raise JuliaError(f"setup failed in {cache}: {error}. Free some room there (350 MB) and try again.") from error


@contextlib.contextmanager
def _lock(path: Path) -> Iterator[None]:
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _run(command: list[str], what: str, cwd: Path | None = None) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL, cwd=cwd)
    except FileNotFoundError:
        raise JuliaError(
            f"{command[0]} was not found, which is needed to {what}: use `ssnn setup --debs DIR`"
        ) from None
    if done.returncode != 0:
        said = (done.stderr or done.stdout).strip().splitlines()
        raise JuliaError(f"could not {what}: {' '.join(said[-3:]) or f'{command[0]} failed'}")
    return done.stdout


def _mirrors() -> list[str]:
    """Debian mirrors to try: those that this machine's apt is configured for."""
    # Without release information the listing is complete even where `apt-get update` was never run.
    listing = _run(
        ["apt-get", "indextargets", "--no-release-info", "--format", "$(REPO_URI)"], "read apt's configuration"
    )
    configured = [uri for uri in listing.split() if uri.rstrip("/").endswith("/debian")]
    if not configured:
        raise JuliaError("apt on this machine is configured for no Debian mirror: use `ssnn setup --debs DIR`")
    return list(dict.fromkeys(configured))


def _download(scratch: Path) -> list[Path]:
    """Debian's packages from the first mirror that has them."""
    if not KEYRING.is_file():
        raise JuliaError(
            f"{KEYRING} is missing: install the package debian-archive-keyring, or use `ssnn setup --debs DIR`"
        )
    failures = []
    for number, mirror in enumerate(_mirrors()):
        folder = scratch / f"apt{number}"
        try:
            return _download_from(mirror, folder)
        except JuliaError as error:
            failures.append(error)
    raise failures[0]


def _download_from(mirror: str, folder: Path) -> list[Path]:
    """The packages, their signatures checked by apt, in a folder with lists, cache and status of their own."""
    for name in ("lists/partial", "cache/archives/partial", "debs"):
        (folder / name).mkdir(parents=True)
    (folder / "status").touch()
    (folder / "sources.list").write_text(f"deb [signed-by={KEYRING}] {mirror} {SUITE} main\n")
    options = {
        "Dir::Etc::sourcelist": folder / "sources.list",
        "Dir::Etc::sourceparts": "/dev/null",
        "Dir::Etc::preferencesparts": "/dev/null",
        "Dir::State": folder,
        "Dir::State::lists": folder / "lists",
        "Dir::State::status": folder / "status",
        "Dir::Cache": folder / "cache",
        "APT::Sandbox::User": "root",  # apt's own user may not enter a private folder
        "APT::Architecture": _ARCHITECTURES[platform.machine()],
        "APT::Update::Error-Mode": "any",
        "Acquire::Languages": "none",
        "Acquire::Check-Valid-Until": "false",  # an archived suite is no longer renewed; its signature still counts
        "Acquire::Retries": "2",
        "Acquire::http::Timeout": "30",
        "Acquire::https::Timeout": "30",
    }
    flags = [part for key, value in options.items() for part in ("-o", f"{key}={value}")]
    apt = ["apt-get", "-q", *flags]
    advice = f"fetch {{}} from Debian's mirror {mirror} (is there a network? else `ssnn setup --debs DIR`)"
    _run([*apt, "update"], advice.format("the package lists"))
    _run([*apt, "download", *PACKAGES], advice.format("the packages"), cwd=folder / "debs")
    return _given(folder / "debs")


def _given(folder: Path) -> list[Path]:
    """The needed packages in a folder, checked against its SHA256SUMS where there is one."""
    if not folder.is_dir():
        raise JuliaError(f"{folder} is not a folder with Debian packages")
    files = []
    for package in PACKAGES:
        found = sorted(folder.glob(f"{package}_*.deb"))
        if not found:
            raise JuliaError(f"package {package} is missing in {folder}: all of these are needed: {' '.join(PACKAGES)}")
        files.append(found[-1])
    sums = folder / "SHA256SUMS"
    if sums.is_file():
        pairs = (line.split(maxsplit=1) for line in sums.read_text().splitlines() if line.strip())
        wanted = {name.strip().lstrip("*"): digest for digest, name in pairs}
        for file in files:
            if wanted.get(file.name, _checksum(file)) != _checksum(file):
                raise JuliaError(f"{file} is damaged or incomplete: its checksum is not the one in {sums}")
    return files


def _checksum(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def _unpack(files: list[Path], scratch: Path, cache: Path) -> DebianJulia:
    root = scratch / "debian-julia"
    root.mkdir()
    for file in files:
        _run(["dpkg-deb", "-x", str(file), str(root)], f"unpack {file.name} (damaged or incomplete?)")
    for folder in UNNEEDED:
        shutil.rmtree(root / folder, ignore_errors=True)
    julia = next(file for file in files if file.name.startswith("julia_"))
    version = _run(["dpkg-deb", "-f", str(julia), "Version"], f"read {julia.name}").strip()
    # The marker comes last and the folder moves in one step: what is not whole is never taken for a setup.
    marker = {"version": version, "packages": {file.name: _checksum(file) for file in sorted(files)}}
    (root / MARKER).write_text(json.dumps(marker, indent=1))
    final = cache / "debian-julia"
    if final.exists():
        final.rename(scratch / "replaced")
    root.rename(final)
    return DebianJulia(final, version)
