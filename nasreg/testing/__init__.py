"""For authors of plugins: the contracts of algorithms, evaluators and spaces as tests, and the small data they use.

The contracts need pytest; derive from one, name what is tested, run pytest. Everything else works without.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nasreg.testing.algorithm import AlgorithmContract
    from nasreg.testing.contents import differences, run_contents
    from nasreg.testing.evaluator import EvaluatorContract
    from nasreg.testing.small import short_evaluator_options, short_options, small_options, toy_images
    from nasreg.testing.space import SpaceContract

_HOME = {
    "AlgorithmContract": "nasreg.testing.algorithm",
    "EvaluatorContract": "nasreg.testing.evaluator",
    "SpaceContract": "nasreg.testing.space",
    "differences": "nasreg.testing.contents",
    "run_contents": "nasreg.testing.contents",
    "short_evaluator_options": "nasreg.testing.small",
    "short_options": "nasreg.testing.small",
    "small_options": "nasreg.testing.small",
    "toy_images": "nasreg.testing.small",
}

_ASSERTING = ("algorithm", "checks", "evaluator", "multi_trial", "space")

__all__ = [
    "AlgorithmContract",
    "EvaluatorContract",
    "SpaceContract",
    "differences",
    "run_contents",
    "short_evaluator_options",
    "short_options",
    "small_options",
    "toy_images",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if name.endswith("Contract"):
        import pytest

        # before they are imported, so that failures show their values
        pytest.register_assert_rewrite(*(f"{__name__}.{module}" for module in _ASSERTING))
    return getattr(importlib.import_module(_HOME[name]), name)
