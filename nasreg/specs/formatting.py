"""Numbers, durations, sizes and names as short text: the one place where their form is decided. Imports no torch."""

from __future__ import annotations

import math
from typing import Any

_LARGEST_EXACT_COUNT = 1_000_000


def format_number(value: float) -> str:
    """Return a number with three digits after the point, without them above 1,000, and in full where it is tiny.

    Examples: ``0.663``, ``2.000``, ``-208600``, ``1.5e-05``.
    """
    size = abs(value)
    if not math.isfinite(value) or size >= 1e15:
        return f"{value:.3g}"
    if size >= 1000:
        return f"{value:.0f}"
    return f"{value:.3f}" if size >= 0.001 or value == 0 else f"{value:.2g}"


def format_plain(value: float) -> str:
    """Return a whole number without a point, and any other as ``format_number`` does."""
    return f"{value:.0f}" if math.isfinite(value) and value == round(value) else format_number(value)


def format_percent(share: float, decimals: int = 1) -> str:
    """Return a share as a percentage: ``97.0%`` for 0.97."""
    return f"{share:.{decimals}%}"


def format_count(number: int) -> str:
    """Return a count, such as that of the architectures of a space: ``1,234``, from a million on ``~1.2e9``.

    The number may be too large for a float.
    """
    if number < _LARGEST_EXACT_COUNT:
        return f"{number:,}"
    exponent = math.floor(math.log10(number))
    mantissa = f"{10 ** (math.log10(number) - exponent):.1f}"
    return f"~1.0e{exponent + 1}" if mantissa == "10.0" else f"~{mantissa}e{exponent}"


def format_bytes(size: float) -> str:
    """Return a number of bytes: ``3 KiB``, ``1.5 MiB``, ``812 MiB``, ``1.5 GiB``."""
    if size < 2**20:
        return f"{size / 2**10:.0f} KiB"
    if size < 2**30:
        return f"{size / 2**20:.1f} MiB" if size < 10 * 2**20 else f"{size / 2**20:.0f} MiB"
    return f"{size / 2**30:.1f} GiB"


def format_duration(seconds: float) -> str:
    """Return a duration in its two largest units: ``40 ms``, ``1.5 s``, ``3 min 20 s``, ``2 h 5 min``, ``3 d 4 h``."""
    if seconds < 0.9995:
        return f"{1000 * seconds:.0f} ms"
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours < 24 else f"{hours // 24} d {hours % 24} h"


def plural(number: int, noun: str, nouns: str | None = None) -> str:
    """Return a number with its noun: ``1 epoch``, ``2 epochs``, ``12,000 images``.

    Args:
        number: How many.
        noun: The singular.
        nouns: The plural, where it is not the singular and an s.
    """
    return f"{number:,} {noun if number == 1 else nouns or f'{noun}s'}"


def option_text(value: Any) -> str:
    """Return the value of an option as ``--set`` takes it: ``null``, ``true``, ``[none, skip_connect]``."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return f"[{', '.join(map(option_text, value))}]" if isinstance(value, list | tuple) else str(value)


def printable(text: str) -> str:
    """Return a text in one line: a space in place of each control character."""
    return "".join(letter if letter.isprintable() else " " for letter in text)


def shorten(text: str, max_length: int = 30) -> str:
    """Return a text in one line and cut to a length, with ``...`` at its end where something is missing."""
    text = printable(text)
    return text if len(text) <= max_length else f"{text[: max_length - 3]}..."
