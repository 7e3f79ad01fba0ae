"""The documentation: its tutorial runs and draws; the built pages load nothing from elsewhere, and every link leads
somewhere.

`make docs-test` builds the pages before; where they are not built, what looks at them is skipped.
"""

import ast
import functools
import html.parser
import http.server
import json
import re
import runpy
import shutil
import subprocess
import threading
import urllib.parse
from pathlib import Path

import pytest
from conftest import needs_julia

import ssnn_py as ssnn

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
SITE = DOCS / "_build" / "html"
GALLERY = sorted((ROOT / "examples" / "gallery").glob("plot_*.py"))
TUTORIAL = sorted((DOCS / "tutorial").glob("plot_*.py"))
PAGES = [*TUTORIAL, *sorted((DOCS / "howto").glob("plot_*.py"))]
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")

needs_site = pytest.mark.skipif(not (SITE / "index.html").exists(), reason="the pages are not built (make docs)")


@needs_julia
@pytest.mark.parametrize("script", TUTORIAL, ids=lambda path: path.stem)
def test_the_tutorial_runs(script, monkeypatch):
    plt = pytest.importorskip("matplotlib.pyplot")
    plt.switch_backend("agg")
    monkeypatch.setattr(plt, "show", lambda: None)
    try:
        runpy.run_path(str(script), run_name="__main__")
        assert plt.get_fignums(), "a step of the tutorial ends in a picture"
    finally:
        plt.close("all")


@pytest.mark.parametrize("script", [*GALLERY, *PAGES], ids=lambda path: path.stem)
def test_scripts_use_what_there_is(script):
    # `make docs` runs all of them, which takes minutes.
    tree = ast.parse(script.read_text(encoding="utf-8"))
    used = [node for node in ast.walk(tree) if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)]
    for node in used:
        if node.value.id == "ssnn" and node.attr not in ("torch", "jax", "SpikeTrainModel"):
            assert hasattr(ssnn, node.attr), f"ssnn.{node.attr}"


def test_the_gallery_has_at_least_fifteen_examples_of_less_than_sixty_lines():
    assert len(GALLERY) >= 15
    for script in GALLERY:
        lines = script.read_text(encoding="utf-8").splitlines()
        assert len(lines) < 60, script.name
        assert "plt.show()" in lines, script.name


def test_everything_public_is_in_the_reference():
    text = "\n".join(page.read_text(encoding="utf-8") for page in (DOCS / "reference").glob("*.md"))
    listed = set(re.findall(r"^   (\w+)$", text, re.MULTILINE))
    assert set(ssnn.__all__) - {"models", *_modules()} <= listed
    assert set(ssnn.models.__all__) <= listed


def _modules():
    return {name for name in ssnn.__all__ if type(getattr(ssnn, name)).__name__ == "module"}


def test_no_line_of_a_page_is_longer_than_120_characters():
    for page in [ROOT / "README.md", *DOCS.glob("*.md"), *(DOCS / "reference").glob("*.md")]:
        for line in page.read_text(encoding="utf-8").splitlines():
            assert len(line) <= 120 or line.lstrip().startswith("|"), f"{page.name}: {line}"


class _Page(html.parser.HTMLParser):
    """What a page refers to, and the anchors that it has."""

    LOADED = frozenset({("script", "src"), ("link", "href"), ("img", "src"), ("iframe", "src"), ("source", "src")})

    def __init__(self, path):
        super().__init__()
        self.links, self.loads, self.anchors = [], [], {""}
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attributes):
        given = dict(attributes)
        self.anchors.update(given[name] for name in ("id", "name") if given.get(name))
        for name, value in attributes:
            if (tag, name) in self.LOADED:
                self.loads.append(value)
            elif tag == "a" and name == "href":
                self.links.append(value)
            elif name == "srcset" and value:
                self.loads += [part.split()[0] for part in value.split(",")]


@functools.cache
def _pages():
    return {path: _Page(path) for path in SITE.rglob("*.html") if "_static" not in path.parts}


@needs_site
def test_pages_load_nothing_from_elsewhere():
    assert len(_pages()) > 50
    outside = {
        (path.name, target) for path, page in _pages().items() for target in page.loads if re.match(r"\w+:|//", target)
    }
    assert {(name, target) for name, target in outside if not target.startswith("data:")} == set()
    for sheet in SITE.glob("_static/**/*.css"):
        found = re.findall(r"url\(['\"]?((?:https?:)?//[^)'\"]+)", sheet.read_text(encoding="utf-8"))
        assert not found, f"{sheet.name}: {found}"


@needs_site
def test_every_internal_link_and_anchor_resolves():
    broken = []
    for path, page in _pages().items():
        for target in [*page.links, *page.loads]:
            parts = urllib.parse.urlsplit(target)
            if parts.scheme or parts.netloc:
                continue
            file = (path.parent / urllib.parse.unquote(parts.path)).resolve() if parts.path else path
            anchor = urllib.parse.unquote(parts.fragment)
            known = _pages().get(file)
            if not file.exists() or (anchor and known is not None and anchor not in known.anchors):
                broken.append(f"{path.relative_to(SITE)}: {target}")
    assert not broken


@needs_site
def test_the_search_finds_simulate():
    text = (SITE / "searchindex.js").read_text(encoding="utf-8")
    index = json.loads(text[text.index("(") + 1 : text.rindex(")")])
    assert "simul" in index["terms"]
    names = [entry[4] for entries in index["objects"].values() for entry in entries]
    assert "simulate" in names


@pytest.fixture
def served():
    """The address at which the site is served while the test runs."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *arguments):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(SITE)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    thread.join()
    server.server_close()


def _opened(address, tmp_path):
    """The page after its scripts have run, and what they wrote to the console."""
    done = subprocess.run(
        [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", "--v=0",
         f"--user-data-dir={tmp_path}", "--virtual-time-budget=20000", "--dump-dom", address],
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    # The theme tells that it has chosen a colour scheme, and where the focus is.
    said = [line for line in done.stderr.splitlines() if ":CONSOLE" in line and '"[PST]: ' not in line]
    return done.stdout, said


@needs_site
@pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")
def test_every_page_opens_without_an_error_on_the_console(served, tmp_path):
    names = sorted(path.relative_to(SITE).as_posix() for path in _pages())
    # One page that shows one after the other: a browser is started once.
    driver = SITE / "_opened.html"
    driver.write_text(
        "<iframe id=f width=1200 height=800></iframe><p id=seen></p><script>\n"
        f"const names = {json.dumps(names)}; let k = 0; const frame = document.getElementById('f');\n"
        "frame.onload = () => { if (k > 0 && frame.contentDocument.querySelector('.bd-article, .bd-main, h1'))"
        " document.getElementById('seen').append(names[k - 1] + ' ');\n"
        " if (k < names.length) frame.src = names[k++]; };\n"
        "frame.src = names[k++];\n</script>",
        encoding="utf-8",
    )
    try:
        dom, console = _opened(f"{served}/_opened.html", tmp_path)
    finally:
        driver.unlink()
    assert not console
    seen = re.search(r'id="seen">([^<]*)<', dom).group(1).split()
    assert set(names) - set(seen) == set()


@needs_site
@pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")
def test_the_search_page_shows_results_for_simulate(served, tmp_path):
    dom, console = _opened(f"{served}/search.html?q=simulate", tmp_path)
    assert not console
    assert "ssnn_py.simulate.html" in dom
