"""Options that every one-shot trainer has. Imports no torch."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from nasreg.specs.base import Config


class OneShotTrainerConfig(Config):
    """Options of the loop; an algorithm's own config adds its optimisers and schedule."""

    epochs: int = Field(default=50, ge=1, description="passes over the weights' part of the train set")
    batch_size: int = Field(default=64, ge=1, description="images in a step, for the weights and again for the choices")
    accumulate: int = Field(
        default=1, ge=1, description="pieces that a batch is computed in, one after the other, to save memory"
    )
    precision: Literal["float32", "bfloat16"] = Field(
        default="float32", description="bfloat16: mixed precision by torch.autocast"
    )
    deterministic: bool = Field(
        default=True, description="use only algorithms that give the same bits each time; off may be faster on CUDA"
    )
    checkpoint_minutes: float = Field(
        default=10.0, gt=0, description="minutes between checkpoints within an epoch; there is one after each epoch too"
    )
