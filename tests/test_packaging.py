"""Files that must agree with each other."""

import json
import re
from pathlib import Path

import ssnn_py
from ssnn_py.engine import boot

ROOT = Path(__file__).resolve().parents[1]


def test_versions_and_identities_agree():
    project = (ROOT / "julia" / "Project.toml").read_text()
    uuid = re.search(r'^uuid = "(.+)"$', project, re.MULTILINE).group(1)
    version = re.search(r'^version = "(.+)"$', project, re.MULTILINE).group(1)
    package = json.loads((ROOT / "juliapkg.json").read_text())["packages"]["SSNN"]
    assert package == {"uuid": uuid, "path": "julia", "dev": True}
    assert (ROOT / package["path"] / "src" / "SSNN.jl").is_file()
    assert version == ssnn_py.__version__
    assert f'version = "{version}"' in (ROOT / "pyproject.toml").read_text()


def test_both_sides_speak_the_same_interface():
    source = (ROOT / "julia" / "src" / "interface.jl").read_text()
    assert int(re.search(r"INTERFACE_VERSION = (\d+)", source).group(1)) == boot.INTERFACE_VERSION


def test_public_names_are_there_and_documented():
    for name in ssnn_py.__all__:
        assert (getattr(ssnn_py, name).__doc__ or "").strip(), name
