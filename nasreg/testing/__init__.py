"""For authors of plugins: the contract of an algorithm as tests, and the small searches and data that they use.

``AlgorithmContract`` needs pytest; derive from it, name the algorithm, run pytest. Everything else works without.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nasreg.testing.algorithm import AlgorithmContract
    from nasreg.testing.contents import differences, run_contents
    from nasreg.testing.small import short_options, small_options, toy_images

_HOME = {
    "AlgorithmContract": "nasreg.testing.algorithm",
    "differences": "nasreg.testing.contents",
    "run_contents": "nasreg.testing.contents",
    "short_options": "nasreg.testing.small",
    "small_options": "nasreg.testing.small",
    "toy_images": "nasreg.testing.small",
}

__all__ = ["AlgorithmContract", "differences", "run_contents", "short_options", "small_options", "toy_images"]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if name == "AlgorithmContract":
        import pytest

        pytest.register_assert_rewrite(_HOME[name])  # before it is imported, so that failures show their values
    return getattr(importlib.import_module(_HOME[name]), name)
