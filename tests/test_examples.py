"""Every example runs, and leaves a picture."""

import subprocess
import sys
from pathlib import Path

import pytest
from conftest import needs_julia

EXAMPLES = sorted((Path(__file__).resolve().parents[1] / "examples").glob("*.py"))


@needs_julia
@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_every_example_runs_and_ends_in_its_picture(example, tmp_path):
    if "torch" in example.stem:
        pytest.importorskip("torch", reason="PyTorch is not installed")
    done = subprocess.run(
        [sys.executable, str(example), "--out", str(tmp_path)], capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    assert list(tmp_path.glob("*.png"))
