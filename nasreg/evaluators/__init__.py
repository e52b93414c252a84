"""What a proposal is worth: the base class of evaluators, and the one that trains. Imports torch when one is used."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from nasreg.evaluators.config import TrainingEvaluatorConfig

if TYPE_CHECKING:
    from nasreg.evaluators.base import Evaluator, EvaluatorContext
    from nasreg.evaluators.training import TrainingEvaluator

_HOME = {
    "Evaluator": "nasreg.evaluators.base",
    "EvaluatorContext": "nasreg.evaluators.base",
    "TrainingEvaluator": "nasreg.evaluators.training",
}

__all__ = ["Evaluator", "EvaluatorContext", "TrainingEvaluator", "TrainingEvaluatorConfig"]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(importlib.import_module(_HOME[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
