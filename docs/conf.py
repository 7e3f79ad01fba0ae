"""Settings of the documentation: ``make docs``. Nothing is loaded from the internet, neither here nor by the pages."""

import importlib.util
import inspect
import os
import sys
from pathlib import Path

from sphinx_gallery.sorting import ExplicitOrder, FileNameSortKey

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE / "_ext")]
os.environ.setdefault("MPLBACKEND", "Agg")

import ssnn_py  # noqa: E402

project = "ssnn_py"
author = "The ssnn_py developers"
copyright = author
version = release = ssnn_py.__version__

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "numpydoc",
    "myst_parser",
    "sphinx_gallery.gen_gallery",
    "native_math",
]
html_math_renderer = "native_math"
templates_path = ["_templates"]
exclude_patterns = ["_build", "_ext", "tutorial", "howto", "auto/**/*.py", "auto/**/*.ipynb", "auto/**/*.zip"]
source_suffix = {".rst": "restructuredtext", ".md": "markdown"}
nitpicky = False

autosummary_generate = True
autosummary_generate_overwrite = True
autodoc_typehints = "none"
autodoc_member_order = "bysource"
numpydoc_show_class_members = False
numpydoc_xref_param_type = False

myst_heading_anchors = 4
myst_enable_extensions = ["deflist", "colon_fence"]
suppress_warnings = ["myst.header", "config.cache"]


def _has(module: str) -> bool:
    return importlib.util.find_spec(module) is not None


# What is not installed is described all the same.
autodoc_mock_imports = [module for module in ("torch", "jax") if not _has(module)]
# Pages whose packages are not installed are shown, but not run.
_SKIPPED = [page for page, module in (("plot_torch", "torch"), ("plot_jax", "jax")) if not _has(module)]

sphinx_gallery_conf = {
    "examples_dirs": ["tutorial", "howto", "../examples/gallery"],
    "gallery_dirs": ["auto/tutorial", "auto/howto", "auto/gallery"],
    "filename_pattern": r"plot_(?!" + "|".join(f"{page[5:]}\\." for page in _SKIPPED) + ")" if _SKIPPED else "plot_",
    "within_subsection_order": FileNameSortKey,
    "subsection_order": ExplicitOrder(["*"]),
    "abort_on_example_error": False,
    "download_all_examples": False,
    "show_signature": False,
    "show_memory": False,
    "write_computation_times": False,
    "remove_config_comments": True,
    "doc_module": ("ssnn_py",),
    "backreferences_dir": "auto/uses",
    "image_srcset": ["2x"],
    "nested_sections": False,
    "min_reported_time": 1e6,
}

html_theme = "pydata_sphinx_theme"
html_title = "ssnn_py"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_show_sourcelink = False
html_copy_source = False
html_context = {"default_mode": "auto"}
html_theme_options = {
    "show_prev_next": True,
    "navigation_with_keys": False,
    "navbar_align": "left",
    "header_links_before_dropdown": 6,
    "footer_start": ["copyright"],
    "footer_end": [],
    "secondary_sidebar_items": ["page-toc"],
    "show_toc_level": 2,
    "pygments_light_style": "tango",
    "pygments_dark_style": "monokai",
}
html_sidebars = {"index": [], "glossary": [], "faq": []}


def _links_of_the_site(app: object, name: str, source: list[str]) -> None:
    """What a page of the repository says of files outside docs/ has a page of its own here."""
    source[0] = source[0].replace("](../CONTRIBUTING.md)", "](contributing.md)")


def _signature_of_a_part(app: object, what: str, name: str, given: object, options: object, *shown: str | None):
    """Parts of models are made by a metaclass: their arguments are those of ``__init__``."""
    if what != "class" or "**named" not in (shown[0] or ""):
        return None
    own = inspect.signature(given.__init__)
    bare = [each.replace(annotation=inspect.Parameter.empty) for each in own.parameters.values()][1:]
    return str(inspect.Signature(bare)), None


def setup(app):
    app.connect("source-read", _links_of_the_site)
    app.connect("autodoc-process-signature", _signature_of_a_part)
