"""The table of nasreg's own plugin packages, so that an unknown name is answered with what to install.

``known_packages.json`` maps kind and name to the distribution, and names the default algorithm and the baseline of
studies. It is the only place in the core that names algorithms. It holds packages of this project only, since users
install what it names.
"""

from __future__ import annotations

import difflib
import functools
import json
from pathlib import Path
from typing import Any

from nasreg.specs.entries import Kind


@functools.cache
def _table() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(Path(__file__).with_name("known_packages.json").read_text(encoding="utf-8"))
    return found


def known_packages() -> dict[Kind, dict[str, str]]:
    """Return the distribution of each known name, by kind."""
    packages: dict[Kind, dict[str, str]] = _table()["packages"]
    return packages


def default_algorithm() -> str:
    """Return the name of the algorithm of a search that names none."""
    return str(_table()["default_algorithm"])


def baseline_algorithm() -> str:
    """Return the name of the algorithm that every study includes, unless the user does without it: random search."""
    return str(_table()["baseline_algorithm"])


def install_hint(kind: Kind, name: str, installed: set[str]) -> str | None:
    """Return a sentence that says which package to install for a name, or None.

    Args:
        kind: Kind of the entry that was looked for.
        name: What the user wrote; a misspelt name is recognised.
        installed: Normalised names of the distributions that are installed, which it cannot be.
    """
    names = {known: package for known, package in known_packages().get(kind, {}).items() if package not in installed}
    if name in names:
        return f" Install it with: pip install {names[name]}."
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.8)
    return f" Did you mean {near[0]!r}? Install it with: pip install {names[near[0]]}." if near else None
