"""Every example runs, and leaves a picture."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import needs_julia

#: What else they need, and those that train for minutes unless they are told to be quick.
NEEDS = {"train_with_torch": "torch", "digits": "sklearn"}
LONG = {"yin_yang", "digits", "noise_levels"}
SHORTER = {name: ["--quick"] for name in LONG | {"train_by_mmd", "two_sample_test"}}
SHORTER["loss_along_a_line"] = ["--samples", "50"]
EXAMPLES = sorted((Path(__file__).resolve().parents[1] / "examples").glob("*.py"))


@needs_julia
@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_every_example_runs_and_ends_in_its_picture(example, tmp_path):
    if example.stem in NEEDS:
        pytest.importorskip(NEEDS[example.stem], reason=f"{NEEDS[example.stem]} is not installed")
    command = [sys.executable, str(example), "--out", str(tmp_path), *SHORTER.get(example.stem, ())]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    assert list(tmp_path.glob("*.png"))


def test_make_leaves_out_examples_that_need_what_is_not_there_and_shortens_long_ones():
    makefile = (Path(__file__).resolve().parents[1] / "Makefile").read_text(encoding="utf-8")
    needs = re.findall(r"\*(\w+)\*\) needs=(\w+);;", makefile)
    assert {path.stem: library for path in EXAMPLES for part, library in needs if part in path.stem} == NEEDS
    quick = re.search(r"case \$\$example in (\S+)\) quick=--quick;;", makefile).group(1)
    assert {path.stem for path in EXAMPLES for part in quick.split("|") if part.strip("*") in path.stem} == LONG
