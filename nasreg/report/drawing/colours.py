"""The colours and line styles of all drawings; the page of a run maps each colour to one of its theme."""

from __future__ import annotations

INK, QUIET, FAINT, PAPER = "#222222", "#777777", "#b0b0b0", "#ffffff"
NODE_FILL, INPUT_FILL = "#e9eef5", "#f3efe4"
REMOVED = "#eeeeee"
"""Background of a candidate that has been removed."""

TRAIN, ARCH, VALIDATION, TEST = "#1f5fa9", "#8a3f90", "#c8500b", "#1b7f5d"
"""Curves of the four splits."""

SERIES = ("#1f5fa0", "#c8500c", "#1b7f50", "#8a3f91", "#8c6d10", "#b0306a", "#2a7f8f", "#5a5a5a")
"""Algorithms that are compared, in the order in which they were given."""

Dashes = tuple[float, ...]
SOLID: Dashes = ()
UNUSED: tuple[str, Dashes] = (FAINT, (3, 2))
"""Frame of a state from which no path leads to the output."""

KINDS: dict[str, tuple[tuple[str, ...], str, Dashes]] = {
    "skip connection": (("skip", "identity"), "#c8500a", (5, 2)),
    "pooling": (("max_pool", "avg_pool", "pool"), "#1b7f5c", (1.5, 1.5)),
    "separable convolution": (("sep",), "#1f5fa8", SOLID),
    "dilated convolution": (("dil",), "#8a3f8f", (7, 1.5, 1.5, 1.5)),
    "other operation": (("",), "#4d4d4d", SOLID),
}
"""Kind of operation -> prefixes of its names, its colour, its dashes (which tell kinds apart in black and white)."""


def operation_kind(operation: str) -> str:
    """Return the kind of an operation, a key of ``KINDS``."""
    return next(kind for kind, (prefixes, _, _) in KINDS.items() if operation.startswith(prefixes))
