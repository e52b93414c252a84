"""Options of GDAS and SNAS, with the values of published programs as defaults. Imports no torch."""

from __future__ import annotations

from pydantic import Field

from nasreg.mutators import GumbelMutatorConfig
from nasreg.trainers import BilevelTrainerConfig


class GdasTrainerConfig(BilevelTrainerConfig):
    """Options of the two alternating steps; the defaults are those of the authors' program."""

    epochs: int = Field(default=250, ge=1, description="passes over the train split")
    nesterov: bool = Field(default=True, description="Nesterov's form of the momentum, which must be above 0")
    weight_decay: float = Field(default=5e-4, ge=0, description="weight decay of the weights")
    clip_with_arch: bool = Field(
        default=True,
        description="count the gradient of the architecture parameters, that of their last step included, in the norm"
        " that grad_clip bounds, as the authors' program does; without it a step takes less time",
    )


class SnasMutatorConfig(GumbelMutatorConfig):
    """Options of the architecture parameters and their samples."""

    temperature: float = Field(
        default=1.0, gt=0, description="temperature of the Gumbel-softmax in the first epoch; the higher, the flatter"
    )
    temperature_min: float = Field(default=0.03, gt=0, description="temperature of the last epoch")
