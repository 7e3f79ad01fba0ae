"""Notebooks of the tutorial, the how-to pages and the gallery: the same code as their scripts, and it runs."""

import ast
import importlib.util
from pathlib import Path

import pytest
from conftest import needs_julia

pytest.importorskip("jupytext", reason="jupytext, which makes the notebooks, is not installed")
pytest.importorskip("nbclient", reason="nbclient, which runs the notebooks, is not installed")

ROOT = Path(__file__).resolve().parents[1]
_spec = importlib.util.spec_from_file_location("notebooks", ROOT / "docs" / "notebooks.py")
notebooks = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(notebooks)

SCRIPTS = [path for folder in notebooks.FOLDERS for path in sorted((ROOT / folder).glob("plot_*.py"))]
QUICK = [ROOT / "docs" / "tutorial" / "plot_1_simulate.py", ROOT / "examples" / "gallery" / "plot_slif_neuron.py"]


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_a_notebook_has_the_code_of_its_script_and_its_text_as_markdown(script):
    cells = notebooks.notebook(script).cells
    code = "\n".join(cell.source for cell in cells if cell.cell_type == "code")
    expected = ast.parse(script.read_text(encoding="utf-8"))
    assert ast.dump(ast.parse(code)) == ast.dump(ast.Module(expected.body[1:], type_ignores=[]))
    assert cells[0].cell_type == "markdown"
    for cell in cells:
        if cell.cell_type == "code":
            assert ast.parse(cell.source).body, f"a cell of comments alone: {cell.source}"
        else:
            assert ":`" not in cell.source
            assert "::\n" not in cell.source


@needs_julia
@pytest.mark.parametrize("script", QUICK, ids=lambda path: path.stem)
def test_a_notebook_runs_and_shows_its_picture(script):
    pytest.importorskip("ipykernel", reason="ipykernel, in which notebooks run, is not installed")
    outputs = [output for cell in notebooks.executed(script).cells for output in cell.get("outputs", [])]
    assert any("image/png" in output.get("data", {}) for output in outputs)
