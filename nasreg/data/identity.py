"""Compares two descriptions of data, as ``RunData.describe`` returns them and run directories hold them. No torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

DIGITS = 8
"""Digits of the hash of an image in ``samples``."""


def changed_data(before: Mapping[str, Any], now: Mapping[str, Any]) -> str | None:
    """Return what has changed, for an error; None where the data are the same, as far as that can be known.

    Images that are random by themselves, or that one of the two could not read, are not compared.
    """
    if before["fingerprint"] == now["fingerprint"]:
        return None
    counts = [sum(each.get("splits", {}).values()) for each in (before, now)]
    if before.get("structure") != now["structure"]:
        return f" (its splits had {counts[0]:,} images and have {counts[1]:,})" if counts[0] != counts[1] else ""
    if not (before.get("repeatable", True) and now["repeatable"]):
        return None
    old, new = before.get("samples", {}), now["samples"]
    if not old or old.keys() != new.keys():  # held in memory now or then
        return ""
    pairs = [pair for part in old for pair in zip(_hashes(old[part]), _hashes(new[part]), strict=True)]
    compared = [one == two for one, two in pairs if "-" not in one + two]
    return None if all(compared) else f" ({compared.count(False):,} of {len(compared):,} images that were compared)"


def _hashes(text: str) -> list[str]:
    return [text[at : at + DIGITS] for at in range(0, len(text), DIGITS)]
