"""What a proposal is worth: the base class of evaluators, those that train, and that of tables of results.

Imports torch when one is used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from nasreg.evaluators.config import SupernetEvaluatorConfig, TrainingEvaluatorConfig

if TYPE_CHECKING:
    from nasreg.evaluators.base import Evaluator, EvaluatorContext
    from nasreg.evaluators.package_data import package_file
    from nasreg.evaluators.plain_pickle import NUMPY_SCALARS, load_plain_pickle
    from nasreg.evaluators.random_baseline import BestOfRandom, expected_best_of_random
    from nasreg.evaluators.supernet import SupernetEvaluator
    from nasreg.evaluators.table import Table, TableEvaluator, cached_table
    from nasreg.evaluators.training import TrainingEvaluator
    from nasreg.runs.cache import cached_file

_HOME = {
    "NUMPY_SCALARS": "nasreg.evaluators.plain_pickle",
    "BestOfRandom": "nasreg.evaluators.random_baseline",
    "Evaluator": "nasreg.evaluators.base",
    "EvaluatorContext": "nasreg.evaluators.base",
    "SupernetEvaluator": "nasreg.evaluators.supernet",
    "Table": "nasreg.evaluators.table",
    "TableEvaluator": "nasreg.evaluators.table",
    "TrainingEvaluator": "nasreg.evaluators.training",
    "cached_file": "nasreg.runs.cache",
    "cached_table": "nasreg.evaluators.table",
    "expected_best_of_random": "nasreg.evaluators.random_baseline",
    "load_plain_pickle": "nasreg.evaluators.plain_pickle",
    "package_file": "nasreg.evaluators.package_data",
}

__all__ = [
    "NUMPY_SCALARS",
    "BestOfRandom",
    "Evaluator",
    "EvaluatorContext",
    "SupernetEvaluator",
    "SupernetEvaluatorConfig",
    "Table",
    "TableEvaluator",
    "TrainingEvaluator",
    "TrainingEvaluatorConfig",
    "cached_file",
    "cached_table",
    "expected_best_of_random",
    "load_plain_pickle",
    "package_file",
]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(importlib.import_module(_HOME[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
