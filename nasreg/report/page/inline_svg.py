"""SVG drawings inside the page: without colliding ids, in the colours of the theme, and with nothing that can act."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator

from markupsafe import Markup, escape

from nasreg.errors import RunDirectoryError
from nasreg.report.drawing.colours import (
    ARCH,
    FAINT,
    INK,
    INPUT_FILL,
    KINDS,
    NODE_FILL,
    PAPER,
    QUIET,
    REMOVED,
    SERIES,
    TEST,
    TRAIN,
    VALIDATION,
)

THEME = {
    INK: "ink",
    QUIET: "quiet",
    FAINT: "faint",
    PAPER: "card",
    REMOVED: "removed",
    NODE_FILL: "node",
    INPUT_FILL: "input",
    TRAIN: "train",
    ARCH: "arch",
    VALIDATION: "validation",
    TEST: "test",
    **{colour: f"series-{number}" for number, colour in enumerate(SERIES)},
    **{colour: f"kind-{number}" for number, (_, colour, _) in enumerate(KINDS.values())},
}
"""Colour in a drawing -> variable of the style sheet that replaces it; dark mode changes its value."""

_ELEMENTS = {
    "svg", "g", "defs", "clipPath", "path", "rect", "line", "circle", "ellipse", "polygon", "polyline",
    "text", "tspan", "use", "image",
}  # fmt: skip
_ATTRIBUTES = {
    "style", "transform", "d", "x", "y", "x1", "x2", "y1", "y2", "cx", "cy", "r", "rx", "ry", "width", "height",
    "points", "clip-path", "fill", "stroke", "preserveAspectRatio",
}  # fmt: skip
_FUNCTION = re.compile(r"\b(?:matrix|translate|scale|rotate|skewX|skewY)\(")
_REFERENCE = re.compile(r"url\(#([^)]+)\)")


def inline_svg(text: str, prefix: str, title: str) -> Markup:
    """Return an SVG drawing as an element of the page.

    Only its shapes and its text are kept, since the run directory may come from somebody else.

    Args:
        text: The text of the SVG file.
        prefix: Prefix of its ids, unique on the page.
        title: Description of the drawing for screen readers.

    Raises:
        RunDirectoryError: The text is not SVG.
    """
    try:
        root = ET.fromstring(text)  # noqa: S314  # expat resolves nothing external, and limits entities
    except ET.ParseError as error:
        raise RunDirectoryError(f"the drawing {title!r} is not SVG: {error}") from error
    used = {name for element in root.iter() for name in _references(element)}
    places = [element.get("id", "") for element in root.iter()]
    names = {name: f"{prefix}-{number}" for number, name in enumerate(name for name in places if name in used)}
    size = [f'{name}="{escape(root.get(name, ""))}"' for name in ("width", "height", "viewBox") if root.get(name)]
    opening = f'<svg role="img" aria-label="{escape(title)}" {" ".join(size)} class="drawing">'
    return Markup(f"{opening}{''.join(_write(child, names) for child in root)}</svg>")  # noqa: S704  # escaped above


def _references(element: ET.Element) -> Iterator[str]:
    for name, value in element.attrib.items():
        yield from _REFERENCE.findall(value)
        if _local(name) == "href" and value.startswith("#"):
            yield value[1:]


def _local(name: str) -> str:
    return name.rpartition("}")[2]


def _write(element: ET.Element, names: dict[str, str]) -> str:
    tag = _local(element.tag)
    if tag not in _ELEMENTS or tag == "svg":
        return ""
    written = [tag]
    if element.get("id") in names:
        written.append(f'id="{names[element.attrib["id"]]}"')
    for name, value in element.attrib.items():
        kept = _attribute(_local(name), value, names)
        if kept:
            written.append(f'{_local(name)}="{escape(kept)}"')
    inside = [escape((element.text or "").strip("\n")) if tag in ("text", "tspan") else ""]
    for child in element:
        inside.append(_write(child, names))
    body = "".join(inside)
    if tag == "g" and not body:
        return ""
    return f"<{' '.join(written)}>{body}</{tag}>"


def _attribute(name: str, value: str, names: dict[str, str]) -> str | None:
    """Return the value to keep of an attribute, None to drop it."""
    if name == "href":
        if value.startswith("#"):
            return f"#{names.get(value[1:], '')}"
        return "".join(value.split()) if value.startswith("data:image/png;base64,") else None
    if name not in _ATTRIBUTES:
        return None
    if name == "style":
        parts = [part.partition(":") for part in value.split(";")]
        return ";".join(f"{key.strip()}:{_style(style.strip(), names)}" for key, _, style in parts if _harmless(style))
    value = " ".join(value.split())
    return _renamed(value, names) if _harmless(value) else None


def _harmless(value: str) -> bool:
    """Return whether a value refers to nothing outside the drawing."""
    return bool(value.strip()) and "(" not in _REFERENCE.sub("", _FUNCTION.sub("", value)) and "\\" not in value


def _renamed(value: str, names: dict[str, str]) -> str:
    return _REFERENCE.sub(lambda match: f"url(#{names.get(match[1], '')})", value)


def _style(value: str, names: dict[str, str]) -> str:
    if value in THEME:
        return f"var(--{THEME[value]})"
    # Without DejaVu Sans any sans-serif font will do; the list of twelve fonts in each text only makes the page long.
    value = re.sub(r"('DejaVu Sans'), .*sans-serif$", r"\1, sans-serif", value)
    return _renamed(value, names)
