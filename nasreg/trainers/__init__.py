"""Base classes of trainers: the loop, its events and its checkpoints. Imports torch only when a trainer is used."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from nasreg.trainers.config import LoopConfig, OneShotTrainerConfig, TrialTrainerConfig

if TYPE_CHECKING:
    from nasreg.data.parts import Batch
    from nasreg.trainers.loop import cosine_rate
    from nasreg.trainers.one_shot import OneShotTrainer
    from nasreg.trainers.search import SearchTrainer
    from nasreg.trainers.task import SearchTask
    from nasreg.trainers.trials import TrialTrainer

_HOME = {
    "Batch": "nasreg.data.parts",
    "OneShotTrainer": "nasreg.trainers.one_shot",
    "SearchTask": "nasreg.trainers.task",
    "SearchTrainer": "nasreg.trainers.search",
    "TrialTrainer": "nasreg.trainers.trials",
    "cosine_rate": "nasreg.trainers.loop",
}

__all__ = [
    "Batch",
    "LoopConfig",
    "OneShotTrainer",
    "OneShotTrainerConfig",
    "SearchTask",
    "SearchTrainer",
    "TrialTrainer",
    "TrialTrainerConfig",
    "cosine_rate",
]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(importlib.import_module(_HOME[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
