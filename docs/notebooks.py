"""The tutorial, the how-to pages and the gallery as notebooks, with what they print and draw: ``make notebooks``.

    python docs/notebooks.py --out out/notebooks [SCRIPT …]

jupytext makes them of the scripts that the pages are made of, and nbclient runs them.
"""

import argparse
import importlib.util
import re
from pathlib import Path

import jupytext
from nbclient import NotebookClient

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = ("docs/tutorial", "docs/howto", "examples/gallery")
NEEDS = {"plot_torch": "torch", "plot_jax": "jax", "plot_scikit_learn": "sklearn"}


def notebook(script):
    """The notebook that a script of sphinx-gallery is: its docstring, and comments that begin with ``# %%``, are text.

    jupytext's percent format says so of each cell, where sphinx-gallery goes by what follows the mark.
    """
    title, rest = re.fullmatch(r'r?"""\n(.*?)\n"""\n(.*)', script.read_text(encoding="utf-8"), re.DOTALL).groups()
    text = "# %%\n" + "".join(f"# {line}\n" for line in title.splitlines()) + rest
    text = re.sub(r"^# %%\n((?:#.*\n)+)", r"# %% [markdown]\n\1\n# %%\n", text, flags=re.MULTILINE)
    made = jupytext.reads(text, fmt="py:percent")
    made.cells = [cell for cell in made.cells if cell.source.strip()]
    for cell in made.cells:
        if cell.cell_type == "markdown":
            cell.source = _markdown(cell.source)
    made.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    return made


def _markdown(text):
    """What these scripts use of reStructuredText, in Markdown."""
    text = re.sub(r":math:`([^`]*)`", r"$\1$", text)
    text = re.sub(r":\w+:`([^`<]*) <[^`>]*>`", r"\1", text)
    text = re.sub(r":\w+:`[~/]?([^`]*)`", r"`\1`", text)
    return re.sub(r"::$", ":", text, flags=re.MULTILINE)


def executed(script):
    """The notebook of a script, run."""
    made = notebook(script)
    NotebookClient(made, timeout=600, kernel_name="python3").execute()
    return made


def main():
    parser = argparse.ArgumentParser(description="Write the pages' scripts as executed notebooks.")
    parser.add_argument("scripts", nargs="*", type=Path, help="default all of them")
    parser.add_argument("--out", type=Path, default=Path("out/notebooks"), help="the folder to write them to")
    given = parser.parse_args()
    scripts = given.scripts or [path for folder in FOLDERS for path in sorted((ROOT / folder).glob("plot_*.py"))]
    for script in scripts:
        needed = NEEDS.get(script.stem)
        if needed and importlib.util.find_spec(needed) is None:
            print(f"{script.name}: left out, {needed} is not installed")
            continue
        target = given.out / script.parent.name / f"{script.stem}.ipynb"
        target.parent.mkdir(parents=True, exist_ok=True)
        jupytext.write(executed(script), target)
        print(target)


if __name__ == "__main__":
    main()
