"""Small pictures as SVG, for notebooks: no drawing library is needed, and their ink is that of the page."""

from __future__ import annotations

import html

import numpy as np
from numpy.typing import NDArray

WIDTH, MOST_ROWS, MOST_MARKS = 480, 60, 4000


def beside_text(text: str, picture: str) -> str:
    """A text, and a picture below it."""
    return f'<div><pre style="white-space:pre-wrap">{html.escape(text)}</pre>{picture}</div>'


def raster(times: NDArray[np.float64], rows: NDArray[np.int64], num_rows: int, t0: float, t1: float, label: str) -> str:
    """Marks at times in [t0, t1], row 0 lowest; of many rows the first, of many marks the first.

    Examples
    --------
    >>> raster(np.array([0.5]), np.array([0]), 1, 0.0, 1.0, "neuron").count("<path")
    1
    """
    shown = min(num_rows, MOST_ROWS)
    height = max(4, min(16, 240 // max(1, shown)))
    kept = rows < shown
    x = 4 + (WIDTH - 8) * (times[kept][:MOST_MARKS] - t0) / (t1 - t0)
    y = height * (shown - 1 - rows[kept][:MOST_MARKS])
    marks = "".join(f"M{a:.1f} {b + 1}v{height - 2}" for a, b in zip(x, y, strict=True))
    named = f"{label}s 0 to {shown - 1}" if shown > 1 else f"{label} 0"
    if shown < num_rows or kept.sum() > MOST_MARKS:
        named += f" of {num_rows}, the first {min(int(kept.sum()), MOST_MARKS)} spikes"
    return _framed(f'<path d="{marks}"/>', shown * height, f"{t0:g}", named, f"{t1:g}")


def line(values: NDArray[np.float64], label: str) -> str:
    """Values from left to right; on a logarithmic axis where all are positive and spread over more than tenfold.

    Examples
    --------
    >>> "logarithmic" in line(np.array([1.0, 100.0]), "loss")
    True
    """
    values = values[np.isfinite(values)]
    if values.size < 2:
        return ""
    logarithmic = bool(values.min() > 0 and values.max() > 10 * values.min())
    drawn = np.log(values) if logarithmic else values
    drawn = drawn[:: -(-drawn.size // 1000)]
    low, high, height = float(drawn.min()), float(drawn.max()), 100
    x = np.linspace(4, WIDTH - 4, drawn.size)
    y = 3 + (height - 6) * (high - drawn) / (high - low if high > low else 1.0)
    points = "L".join(f"{a:.1f} {b:.1f}" for a, b in zip(x, y, strict=True))
    axis = f"{label}, {values.min():.3g} to {values.max():.3g}{', logarithmic' if logarithmic else ''}"
    return _framed(f'<path d="M{points}"/>', height, "0", axis, f"{values.size - 1}")


def _framed(inner: str, height: int, left: str, middle: str, right: str) -> str:
    """A picture in a frame, with three words below it."""
    words = "".join(
        f'<text x="{x}" y="{height + 13}" text-anchor="{anchor}" font-size="11" fill="currentColor" stroke="none">'
        f"{html.escape(word)}</text>"
        for x, anchor, word in ((2, "start", left), (WIDTH / 2, "middle", middle), (WIDTH - 2, "end", right))
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height + 18}" width="{WIDTH}" role="img" '
        f'aria-label="{html.escape(middle, quote=True)}" fill="none" stroke="currentColor">'
        f'<rect x="0.5" y="0.5" width="{WIDTH - 1}" height="{max(1, height - 1)}" stroke-opacity="0.3"/>'
        f"{inner}{words}</svg>"
    )
