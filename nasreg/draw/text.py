"""Text in a picture: its font, its sizes in points, and how wide it will be."""

from __future__ import annotations

from functools import lru_cache

FONT = "DejaVu Sans"  # comes with matplotlib, so that a picture is the same everywhere
BODY, NOTE, HEADING = 8.5, 7.0, 10.0


@lru_cache(maxsize=4096)  # a report measures the same few names in each of its pictures
def text_width(text: str, size: float, *, bold: bool = False, math: bool = False) -> float:
    """Return the width of a line in points."""
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import text_to_path

    font = FontProperties(family=FONT, weight="bold" if bold else "normal", size=size)
    width = text_to_path.get_text_width_height_descent(text, font, ismath=math and "$" in text)[0]
    return 1.03 * float(width)  # hinting makes letters of a png a little wider


def printable(text: str) -> str:
    """Return a text with blanks for what has no shape."""
    return "".join(letter if letter.isprintable() else " " for letter in text)


def short(text: str, most: int = 30) -> str:
    """Return a text cut to so many letters."""
    text = printable(text)
    return text if len(text) <= most else f"{text[: most - 3]}..."
