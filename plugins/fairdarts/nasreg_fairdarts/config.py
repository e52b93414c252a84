"""Options of FairDARTS, each with the value of the authors' published program as its default. Imports no torch."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from nasreg.mutators import SoftmaxMutatorConfig
from nasreg.trainers import BilevelTrainerConfig

Beta = Annotated[float, Field(ge=0, lt=1)]


class FairDartsMutatorConfig(SoftmaxMutatorConfig):
    """Options of the architecture parameters, and of the architecture derived from them."""

    init_std: float = Field(
        default=0.0, ge=0, description="standard deviation of the architecture parameters at the start (mean 0)"
    )
    threshold: float = Field(
        default=0.85,
        gt=0,
        lt=1,
        description="weight from which a derived cell keeps an operation; none takes the place of others, in a space"
        " whose architectures can have it",
    )


class FairDartsTrainerConfig(BilevelTrainerConfig):
    """Options of the bilevel optimisation and of the zero-one loss."""

    batch_size: int = Field(
        default=128, ge=1, description="samples in a step, of the train split and of the arch split"
    )
    lr: float = Field(default=0.005, gt=0, description="learning rate of the weights in the first epoch (SGD)")
    arch_lr: float = Field(default=3e-3, gt=0, description="learning rate of the architecture parameters (Adam)")
    arch_betas: tuple[Beta, Beta] = Field(default=(0.9, 0.999), description="betas of Adam")
    zero_one: Literal["l2", "l1"] = Field(
        default="l2",
        description="the zero-one loss, which drives weights of operations to 0 or 1: minus the mean squared (l2) or"
        " absolute (l1) distance from one half",
    )
    zero_one_weight: float = Field(default=10.0, ge=0, description="factor of the zero-one loss; 0 for none")
