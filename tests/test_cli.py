"""The command line: status, one line on standard error, and what `doctor` says."""

import argparse
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from ssnn_py import cli, doctor
from ssnn_py.engine import boot, debian
from ssnn_py.errors import ValidationError

ROOT = Path(__file__).resolve().parents[1]


def ssnn(*words, **environment):
    search_path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    return subprocess.run(
        [sys.executable, "-m", "ssnn_py", *words],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "PYTHONPATH": search_path, **environment},
    )


@pytest.mark.usefixtures("julia")
def test_doctor_with_julia():
    done = ssnn("doctor", "--json")
    facts = json.loads(done.stdout)
    assert done.returncode == 0
    assert facts["engine"] == os.environ.get("SSNN_ENGINE", "julia")
    assert facts["problems"] == []
    assert facts["julia"]["threads"] >= 1
    assert Path(facts["julia"]["library"]).is_file()
    assert Path(facts["core_folder"]).is_dir()
    assert facts["julia"]["version"] in doctor.report(facts)


def test_doctor_without_julia_says_what_to_do(tmp_path):
    nothing = {"SSNN_JULIA": "embedded", "SSNN_CACHE_DIR": str(tmp_path), "SSNN_ENGINE": "auto"}
    done = ssnn("doctor", **nothing)
    assert done.returncode == 1
    assert "none could be started" in done.stdout
    assert "ssnn setup" in done.stdout
    assert done.stderr == ""
    chosen = ssnn("doctor", "--json", **{**nothing, "SSNN_ENGINE": "reference"})
    assert (chosen.returncode, json.loads(chosen.stdout)["engine"]) == (0, "reference")


def test_a_wrong_setting_is_a_problem_that_doctor_names(tmp_path):
    done = ssnn("doctor", SSNN_NUM_THREADS="many", SSNN_JULIA="/nowhere/julia", SSNN_CACHE_DIR=str(tmp_path))
    assert done.returncode == 1
    assert "/nowhere/julia" in done.stdout


def test_errors_are_one_line_and_status_1(monkeypatch, capsys):
    def fail(problem):
        def setup(debs):
            raise problem

        monkeypatch.setattr(debian, "setup", setup)
        return cli.main(["setup", "--debs", "anywhere"])

    assert fail(ValidationError("two\nlines")) == 1
    assert capsys.readouterr().err == "ssnn: two lines\n"
    assert fail(OSError(28, "No space left on device")) == 1
    assert "No space left" in capsys.readouterr().err
    assert fail(KeyboardInterrupt()) == 1
    assert capsys.readouterr().err == "ssnn: interrupted\n"


def test_setup_says_which_julia_it_has_set_up(monkeypatch, capsys):
    """Also where juliacall was to set one up, and another one had to be taken."""
    monkeypatch.setattr(boot, "look_around", lambda: boot.Surroundings(juliacall_installed=True, modern_julia=True))
    julia = SimpleNamespace(how="juliacall", version="1.11.9", instead_of="")
    monkeypatch.setattr(boot, "runtime", lambda: julia)
    assert cli.main(["setup"]) == 0
    assert capsys.readouterr().out == "Julia 1.11.9, juliacall, is set up\n"
    julia.how, julia.version, julia.instead_of = "embedded", "1.5.3", "several copies of ssnn_py are visible"
    assert cli.main(["setup"]) == 0
    assert re.fullmatch(r"Julia 1\.5\.3, embedded, is set up.*several copies.*\n", capsys.readouterr().out)


def test_setup_sets_up_the_private_julia_where_that_is_asked_for(monkeypatch, capsys):
    asked = boot.Surroundings(requested="embedded", juliacall_installed=True, modern_julia=True)
    monkeypatch.setattr(boot, "look_around", lambda: asked)
    monkeypatch.setattr(debian, "setup", lambda debs: SimpleNamespace(version="1.5.3", root="a folder"))
    monkeypatch.setattr(boot, "prepare", lambda: None)
    assert cli.main(["setup"]) == 0
    assert capsys.readouterr().out == "Julia 1.5.3 is set up in a folder\n"


def test_doctor_says_what_an_old_openssl_means_for_julia():
    assert "no Julia newer than 1.11" in doctor._openssl_limit((3, 0))
    assert doctor._openssl_limit((3, 5)) == doctor._openssl_limit((4, 0)) == ""
    facts = doctor.examine()
    assert facts["openssl"] in doctor.report({**facts, "openssl_limit": ""})
    assert "no Julia newer" in doctor.report({**facts, "openssl_limit": doctor._openssl_limit((3, 4))})


@pytest.mark.parametrize("words", [[], ["dance"], ["reproduce", "figure3"]])
def test_unknown_commands_are_refused_with_the_usage(words, capsys):
    with pytest.raises(SystemExit) as refusal:
        cli.main(words)
    assert refusal.value.code == 2
    assert "usage: ssnn" in capsys.readouterr().err


def test_an_option_that_does_not_exist_is_refused(capsys):
    with pytest.raises(SystemExit, match="2"):
        cli.main(["setup", "--tpu"])
    assert "--tpu" in capsys.readouterr().err


def test_the_page_of_the_command_line_has_every_command_and_option():
    """Of each command its own options, and no others."""
    page = (ROOT / "docs" / "reference" / "command_line.md").read_text(encoding="utf-8")
    sections = dict(re.findall(r"^## `ssnn (\w+).*?`$(.*?)(?=^## |\Z)", page, re.MULTILINE | re.DOTALL))
    (commands,) = (part for part in cli.parser()._actions if isinstance(part, argparse._SubParsersAction))
    assert set(sections) == set(commands.choices)
    for name, command in commands.choices.items():
        options = {option for part in command._actions for option in part.option_strings} - {"-h", "--help"}
        assert set(re.findall(r"^\| `(--[\w-]+)", sections[name], re.MULTILINE)) == options
        for part in command._actions:
            for choice in part.choices or ():
                assert f"`{choice}`" in sections[name] or f"`ssnn {name} {choice}`" in page
