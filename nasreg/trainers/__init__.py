"""Trainers: the loop of every training, base classes of algorithms, their options. Imports torch when one is used."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from nasreg.trainers.config import (
    Beta,
    BilevelTrainerConfig,
    MultiTrialTrainerConfig,
    OneShotTrainerConfig,
    RetrainConfig,
    SinglePathTrainerConfig,
    TrainerConfig,
)

if TYPE_CHECKING:
    from nasreg.data.splits import Batch
    from nasreg.trainers.base import Trainer
    from nasreg.trainers.bilevel import BilevelTrainer, Gradients
    from nasreg.trainers.budget import Budget, ExpectedCost
    from nasreg.trainers.context import DataContext, MultiTrialContext, OneShotContext, RetrainContext, RunContext
    from nasreg.trainers.distributed import Processes, part_of
    from nasreg.trainers.functional import cosine_rate, trainable_parameters
    from nasreg.trainers.loop import EpochTrainer, LoopState, StepResult
    from nasreg.trainers.multi_trial import MultiTrialTrainer
    from nasreg.trainers.one_shot import OneShotTrainer
    from nasreg.trainers.retraining import RetrainTrainer
    from nasreg.trainers.single_path import SinglePathTrainer

_HOMES = {
    "nasreg.data.splits": ("Batch",),
    "nasreg.trainers.base": ("Trainer",),
    "nasreg.trainers.bilevel": ("BilevelTrainer", "Gradients"),
    "nasreg.trainers.budget": ("Budget", "ExpectedCost"),
    "nasreg.trainers.context": (
        "DataContext",
        "MultiTrialContext",
        "OneShotContext",
        "RetrainContext",
        "RunContext",
    ),
    "nasreg.trainers.functional": ("cosine_rate", "trainable_parameters"),
    "nasreg.trainers.loop": ("EpochTrainer", "LoopState", "StepResult"),
    "nasreg.trainers.multi_trial": ("MultiTrialTrainer",),
    "nasreg.trainers.one_shot": ("OneShotTrainer",),
    "nasreg.trainers.distributed": ("Processes", "part_of"),
    "nasreg.trainers.retraining": ("RetrainTrainer",),
    "nasreg.trainers.single_path": ("SinglePathTrainer",),
}
_HOME = {name: module for module, names in _HOMES.items() for name in names}

__all__ = [
    "Batch",
    "Beta",
    "BilevelTrainer",
    "BilevelTrainerConfig",
    "Budget",
    "DataContext",
    "EpochTrainer",
    "ExpectedCost",
    "Gradients",
    "LoopState",
    "MultiTrialContext",
    "MultiTrialTrainer",
    "MultiTrialTrainerConfig",
    "OneShotContext",
    "OneShotTrainer",
    "OneShotTrainerConfig",
    "Processes",
    "RetrainConfig",
    "RetrainContext",
    "RetrainTrainer",
    "RunContext",
    "SinglePathTrainer",
    "SinglePathTrainerConfig",
    "StepResult",
    "Trainer",
    "TrainerConfig",
    "cosine_rate",
    "part_of",
    "trainable_parameters",
]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(importlib.import_module(_HOME[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
