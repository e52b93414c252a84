"""Options that trainers share. Imports no torch."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from nasreg.specs.base import Config


class LoopConfig(Config):
    """Options of the loop, which every trainer has."""

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


class OneShotTrainerConfig(LoopConfig):
    """Options of a one-shot trainer; an algorithm's own config adds its optimisers and schedule."""

    epochs: int = Field(default=50, ge=1, description="passes over the weights' part of the train set")
    execution: Literal["optimized", "plain"] = Field(
        default="optimized",
        description="how the supernet is computed: several times as fast, or candidate by candidate as in the paper's"
        " formula; the numbers are the same but for rounding",
    )
    activation_checkpointing: bool = Field(
        default=False,
        description="compute two of three cells or choices again in the backward pass, which takes a fraction of the"
        " memory and somewhat more time",
    )


class TrialTrainerConfig(LoopConfig):
    """Options of a multi-trial trainer: how many architectures are trained, and how each."""

    trials: int = Field(default=20, ge=1, description="number of architectures to train")
    epochs: int = Field(default=20, ge=1, description="epochs that each is trained for")
    lr: float = Field(default=0.025, gt=0, description="learning rate at the start of each trial (SGD)")
    lr_min: float = Field(default=0.0, ge=0, description="learning rate that its cosine ends at")
    momentum: float = Field(default=0.9, ge=0, lt=1, description="momentum of SGD")
    weight_decay: float = Field(default=3e-4, ge=0, description="weight decay")
    grad_clip: float = Field(default=5.0, gt=0, description="largest norm of the gradient")
    max_parameters: int | None = Field(
        default=None,
        ge=1,
        description="budget: an architecture whose network has more weights is not trained, and another one proposed",
    )
