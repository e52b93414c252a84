"""Base classes of trainers: the loop, its events and its checkpoints. Imports torch only when a trainer is used."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nasreg.trainers.config import OneShotTrainerConfig

if TYPE_CHECKING:
    from nasreg.trainers.one_shot import Batch, OneShotTrainer, SearchTask

__all__ = ["Batch", "OneShotTrainer", "OneShotTrainerConfig", "SearchTask"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        from nasreg.trainers import one_shot

        return getattr(one_shot, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
