"""Formulas as MathML, which browsers draw themselves: no script, no font, no LaTeX."""

from docutils import nodes
from docutils.utils.math import MathError
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx.util import logging

logger = logging.getLogger(__name__)


def _mathml(text: str, node: nodes.Node, display: bool) -> str:
    # What the converter does not know: the browser sizes delimiters itself, and columns need an environment.
    code = (
        text.replace(r"\big(", "(").replace(r"\big)", ")").replace(r"\dots", r"\ldots").replace("∘", r"\circ ").strip()
    )
    if display and ("&" in code or r"\\" in code) and r"\begin" not in code:
        code = rf"\begin{{aligned}}{code}\end{{aligned}}"
    try:
        return tex2mathml(code, as_block=display)
    except (MathError, SyntaxError) as error:
        logger.warning("a formula is not understood (%s): %s", error, text, location=node)
        return f"<code>{text}</code>"


def visit_math(self, node: nodes.math) -> None:
    self.body.append(f'<span class="math">{_mathml(node.astext(), node, False)}</span>')
    raise nodes.SkipNode


def visit_math_block(self, node: nodes.math_block) -> None:
    self.body.append(self.starttag(node, "div", CLASS="math"))
    self.body.append(_mathml(node.astext(), node, True))
    self.body.append("</div>\n")
    raise nodes.SkipNode


def setup(app):
    app.add_html_math_renderer("native_math", (visit_math, None), (visit_math_block, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
