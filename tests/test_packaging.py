"""Files that must agree with each other, and what juliapkg makes of them."""

import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import ssnn_py
from ssnn_py.engine import boot, packages
from ssnn_py.engine.boot import juliacall_host

ROOT = Path(__file__).resolve().parents[1]


def test_versions_and_identities_agree():
    project = (ROOT / "julia" / "Project.toml").read_text()
    uuid = re.search(r'^uuid = "(.+)"$', project, re.MULTILINE).group(1)
    version = re.search(r'^version = "(.+)"$', project, re.MULTILINE).group(1)
    package = json.loads((ROOT / "juliapkg.json").read_text())["packages"]["SSNN"]
    assert package == {"uuid": uuid, "path": "julia", "dev": True}
    assert (ROOT / package["path"] / "src" / "SSNN.jl").is_file()
    assert version == ssnn_py.__version__
    # Written in `ssnn_py/__init__.py` alone, for Python: the build reads it there.
    assert 'dynamic = ["version"]' in (ROOT / "pyproject.toml").read_text()
    citation = (ROOT / "CITATION.cff").read_text()
    assert re.search(r'^version: "(.+)"$', citation, re.MULTILINE).group(1) == version
    assert (ROOT / "CHANGELOG.md").read_text().startswith(f"# Changelog\n\n## {version}, ")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The names and texts in the wheel that this checkout makes."""
    builder = pytest.importorskip("hatchling.builders.wheel", reason="hatchling, which builds the wheel, is not here")
    folder = tmp_path_factory.mktemp("wheel")
    (path,) = builder.WheelBuilder(str(ROOT)).build(directory=str(folder), versions=["standard"])
    with zipfile.ZipFile(path) as file:
        return {name: file.read(name) for name in file.namelist()}


def test_a_wheel_has_the_version_of_the_package(wheel):
    (metadata,) = (text.decode() for name, text in wheel.items() if name.endswith(".dist-info/METADATA"))
    assert re.search(r"^Version: (.+)$", metadata, re.MULTILINE).group(1) == ssnn_py.__version__


def test_a_wheel_tells_type_checkers_that_it_has_types(wheel):
    assert wheel["ssnn_py/py.typed"] == b""


def test_a_wheel_has_the_package_and_the_whole_core_and_nothing_else(wheel):
    files = {name for name in wheel if ".dist-info/" not in name}
    package = {
        str(path.relative_to(ROOT))
        for path in (ROOT / "ssnn_py").rglob("*.*")
        if path.is_file() and path.suffix != ".pyc"
    }
    core = {str(path.relative_to(ROOT)) for part in ("src", "ext") for path in (ROOT / "julia" / part).rglob("*.*")}
    assert files == package | {f"ssnn_py/{name}" for name in core | {"julia/Project.toml"}}
    assert all(wheel[f"ssnn_py/{name}"] == (ROOT / name).read_bytes() for name in core)


def test_both_sides_speak_the_same_interface():
    source = (ROOT / "julia" / "src" / "host" / "boundary.jl").read_text()
    assert int(re.search(r"INTERFACE_VERSION = (\d+)", source).group(1)) == boot.INTERFACE_VERSION


def test_public_names_are_there_and_documented():
    for name in ssnn_py.__all__:
        assert (getattr(ssnn_py, name).__doc__ or "").strip(), name


# What juliapkg would hand to Julia, where the given folders alone are on the path.
ASK_JULIAPKG = """
import sys
from juliapkg import deps
from semver import Version
sys.path[:] = sys.argv[1:]
try:
    compat, packages = deps.find_requirements()
    print(*(package.path for package in packages if package.name == "SSNN" and package.dev))
    assert Version(1, 10, 3) in compat and Version(1, 9, 4) not in compat
except Exception as error:
    print(error)
"""


def ask_juliapkg(tmp_path, *folders):
    pytest.importorskip("juliapkg")
    done = subprocess.run(
        [sys.executable, "-c", ASK_JULIAPKG, *map(str, folders)],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=tmp_path,
        env={**os.environ, "PYTHON_JULIAPKG_PROJECT": str(tmp_path / "project")},
    )
    assert done.returncode == 0, done.stderr
    return "\n".join(line for line in done.stdout.splitlines() if not line.startswith("[juliapkg]"))


def test_juliapkg_finds_the_core_once(tmp_path):
    """A checkout names it. A wheel does not, nor does an editable installation, into whose folder the same files are
    copied: juliapkg would
    see them beside the checkout's, and refuse both. The core is found without.
    """
    assert Path(ask_juliapkg(tmp_path, ROOT)) == ROOT / "julia"
    (tmp_path / "around").mkdir()
    (tmp_path / "around" / "checkout").symlink_to(ROOT)
    assert (
        Path(ask_juliapkg(tmp_path, tmp_path / "around")).resolve() == ROOT / "julia"
    )  # one level below is enough for it
    assert "juliapkg.json" not in (ROOT / "pyproject.toml").read_text()
    (tmp_path / "copy").mkdir()
    shutil.copy(ROOT / "juliapkg.json", tmp_path / "copy")
    said = ask_juliapkg(tmp_path, ROOT, tmp_path / "copy")
    assert "SSNN" not in said.split("\n")[0]
    assert juliacall_host.advice_on_copies(Exception(said))


def test_solvers_in_a_julia_project_of_ones_own_are_found(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHON_JULIACALL_PROJECT", str(tmp_path))
    assert not packages.sciml_installed()
    (tmp_path / "Project.toml").write_text('[deps]\nPythonCall = "6099a3de-0909-46bc-b1f4-468b9a2dfc0d"\n')
    assert not packages.sciml_installed()
    with (tmp_path / "Project.toml").open("a") as file:
        file.writelines(f'{name} = "{uuid}"\n' for name, uuid, _ in packages.SCIML_PACKAGES)
    assert packages.sciml_installed()
    with pytest.raises(ssnn_py.JuliaError, match=re.escape(f"--project={tmp_path}")):
        packages.install_sciml()


@pytest.mark.parametrize("started_before", [False, True])
def test_installing_solvers_adds_them_to_juliacalls_project(tmp_path, monkeypatch, started_before):
    juliapkg = pytest.importorskip("juliapkg")
    # Whatever the settings of whoever runs the tests.
    monkeypatch.delenv("PYTHON_JULIACALL_PROJECT", raising=False)
    monkeypatch.setattr(juliapkg, "offline", lambda value=None: False)
    done = []
    monkeypatch.setattr(juliapkg, "add", lambda name, **options: done.append((name, options)))
    monkeypatch.setattr(juliapkg, "resolve", lambda: done.append("resolve"))
    monkeypatch.setitem(sys.modules, "juliacall", object())
    if started_before:
        with pytest.warns(RuntimeWarning, match="start Python again"):
            packages.install_sciml()
    else:
        monkeypatch.delitem(sys.modules, "juliacall")
        packages.install_sciml()
    assert done == [(name, {"uuid": uuid, "version": version}) for name, uuid, version in packages.SCIML_PACKAGES] + [
        "resolve"
    ]
    monkeypatch.setattr(juliapkg, "offline", lambda value=None: True)
    with pytest.raises(ssnn_py.JuliaError, match="offline"):
        packages.install_sciml()
