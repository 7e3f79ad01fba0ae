"""The private Julia: what goes wrong is said in a sentence, and the next try recovers."""

import hashlib
import os
import shutil
import subprocess

import pytest

import ssnn_py as ssnn
from ssnn_py import cli
from ssnn_py.engine import debian

pytestmark = pytest.mark.skipif(shutil.which("dpkg-deb") is None, reason="Debian's dpkg-deb is not here")


@pytest.fixture
def cache(tmp_path, monkeypatch):
    folder = tmp_path / "cache"
    monkeypatch.setenv("SSNN_CACHE_DIR", str(folder))
    return folder


@pytest.fixture
def debs(tmp_path):
    """A folder with a tiny package under every needed name."""
    folder = tmp_path / "debs"
    folder.mkdir()
    for name in debian.PACKAGES:
        root = tmp_path / "build" / name
        (root / "DEBIAN").mkdir(parents=True)
        (root / "usr/share/doc").mkdir(parents=True)
        (root / f"usr/{name}").write_text(name)
        control = f"Package: {name}\nVersion: 1.5.3+test\nArchitecture: all\nMaintainer: nobody\nDescription: test\n"
        (root / "DEBIAN/control").write_text(control)
        subprocess.run(
            ["dpkg-deb", "-b", str(root), str(folder / f"{name}_1.5.3+test_all.deb")], check=True, capture_output=True
        )
    sums = [f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {file.name}" for file in sorted(folder.glob("*.deb"))]
    (folder / "SHA256SUMS").write_text("\n".join(sums) + "\n")
    return folder


def test_setup_from_a_folder(cache, debs, capsys):
    assert debian.installed() is None
    assert cli.main(["setup", "--debs", str(debs)]) == 0
    assert "1.5.3+test" in capsys.readouterr().out
    found = debian.installed()
    assert found is not None
    assert found.version == "1.5.3+test"
    assert (found.root / "usr/libjulia1").read_text() == "libjulia1"
    assert not (found.root / "usr/share/doc").exists()
    assert sorted(entry.name for entry in cache.iterdir()) == ["debian-julia", "setup.lock"]


def test_a_damaged_package_is_named_and_the_next_try_recovers(cache, debs, capsys):
    victim = debs / "libllvm9_1.5.3+test_all.deb"
    whole = victim.read_bytes()
    victim.write_bytes(whole[: len(whole) // 2])
    assert cli.main(["setup", "--debs", str(debs)]) == 1
    said = capsys.readouterr().err
    assert "libllvm9" in said
    assert said.count("\n") == 1
    assert debian.installed() is None
    (debs / "SHA256SUMS").unlink()
    with pytest.raises(ssnn.JuliaError, match="libllvm9"):
        debian.setup(debs)
    victim.write_bytes(whole)
    assert debian.setup(debs).root.is_dir()


def test_a_missing_package_is_named(cache, debs):
    (debs / "libz3-4_1.5.3+test_all.deb").unlink()
    with pytest.raises(ssnn.JuliaError, match="libz3-4"):
        debian.setup(debs)
    with pytest.raises(ssnn.JuliaError, match="not a folder"):
        debian.setup(debs / "nowhere")


def test_a_half_finished_setup_does_not_count(cache, debs):
    (cache / "debian-julia").mkdir(parents=True)
    (cache / "debian-julia" / "usr").mkdir()
    (cache / "setup-killed").mkdir()
    assert debian.installed() is None
    assert debian.setup(debs).version == "1.5.3+test"
    assert not (cache / "setup-killed").exists()


def test_an_unwritable_cache_says_what_to_do(tmp_path, monkeypatch, debs):
    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    monkeypatch.setenv("SSNN_CACHE_DIR", str(blocked / "cache"))
    with pytest.raises(ssnn.JuliaError, match="SSNN_CACHE_DIR"):
        debian.setup(debs)


def test_no_network_is_an_error_and_the_next_try_recovers(cache, debs, tmp_path, monkeypatch):
    if shutil.which("apt-get") is None or not debian.KEYRING.is_file():
        pytest.skip("Debian's apt is not here")
    monkeypatch.setattr(debian, "_mirrors", lambda: [f"file://{tmp_path}/no-such-mirror"])
    with pytest.raises(ssnn.JuliaError, match="--debs"):
        debian.setup()
    assert debian.installed() is None
    assert debian.setup(debs).root.is_dir()


def test_where_there_is_no_debian(cache, monkeypatch):
    monkeypatch.setattr(debian.platform, "system", lambda: "Darwin")
    with pytest.raises(ssnn.JuliaError, match=r"1\.10"):
        debian.setup()


def test_the_cache_folder_follows_the_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("SSNN_CACHE_DIR", str(tmp_path / "mine"))
    assert debian.cache_dir() == tmp_path / "mine"
    monkeypatch.delenv("SSNN_CACHE_DIR")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert debian.cache_dir() == tmp_path / "ssnn_py"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert debian.cache_dir() == tmp_path / ".cache" / "ssnn_py"
    assert os.environ["HOME"] == str(tmp_path)
