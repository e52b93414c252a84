"""The font of all drawings, its sizes in points, and the width of a text before it is drawn."""

from __future__ import annotations

from functools import lru_cache

FONT = "DejaVu Sans"
"""Comes with matplotlib, so that a drawing is the same on every machine."""

BODY, NOTE, HEADING = 8.5, 7.0, 10.0


@lru_cache(maxsize=4096)  # a page measures the same few names in each of its drawings
def text_width(text: str, size: float, *, bold: bool = False, math: bool = False) -> float:
    """Return the width of a line of text in points."""
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import text_to_path

    font = FontProperties(family=FONT, weight="bold" if bold else "normal", size=size)
    width = text_to_path.get_text_width_height_descent(text, font, ismath=math and "$" in text)[0]
    return 1.03 * float(width)  # hinting makes the letters of a PNG slightly wider
