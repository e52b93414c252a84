"""Options of DrNAS, each with the value of the authors' published program as its default. Imports no torch."""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated

from pydantic import Field, model_validator

from nasreg.trainers import BilevelTrainerConfig


class DrnasTrainerConfig(BilevelTrainerConfig):
    """Options of the bilevel optimisation, of its regularisation, and of its stages."""

    epochs: int = Field(default=100, ge=1, description="passes over the train split, in all stages together")
    warmup_epochs: int = Field(
        default=0, ge=0, description="first epochs of each stage, which train weights only, no architecture parameters"
    )
    arch_weight_decay: float = Field(
        default=1e-3,
        ge=0,
        description="weight decay of the architecture parameters: the l2 regularisation of the program; see kl_weight",
    )
    kl_weight: float = Field(
        default=0.0,
        ge=0,
        description="weight of the Kullback-Leibler divergence to the flat Dirichlet distribution in the loss of the"
        " architecture parameters, the other regularisation (then set arch_weight_decay=0); 0 for none",
    )
    kept: tuple[Annotated[int, Field(ge=2)], ...] = Field(
        default=(),
        description="candidates that stay on each edge after each stage but the last; empty for a single stage",
    )
    stage_partial_channels: tuple[Annotated[int, Field(ge=1)], ...] = Field(
        default=(),
        description="K of each stage in place of partial_channels; it may only fall, and the candidates grow wider",
    )

    @property
    def stages(self) -> int:
        """The number of stages, which are equally long."""
        return len(self.kept) + 1

    @property
    def stage_epochs(self) -> int:
        """The number of epochs of a stage."""
        return self.epochs // self.stages

    @model_validator(mode="after")
    def _in_stages(self) -> DrnasTrainerConfig:
        if self.epochs % self.stages:
            raise ValueError(
                f"kept={list(self.kept)} makes {self.stages} stages of one length, but epochs={self.epochs} does not"
                " divide into them"
            )
        if self.warmup_epochs >= self.stage_epochs:
            raise ValueError(
                f"warmup_epochs={self.warmup_epochs}, but a stage has {self.stage_epochs} epochs: no architecture"
                " parameter would be learned, and candidates would be dropped at random. Lower warmup_epochs, or raise"
                " epochs"
            )
        if any(one <= other for one, other in pairwise(self.kept)):
            raise ValueError(f"kept={list(self.kept)} must fall from stage to stage")
        return self

    @model_validator(mode="after")
    def _widens(self) -> DrnasTrainerConfig:
        given = self.stage_partial_channels
        if given and len(given) != self.stages:
            raise ValueError(
                f"stage_partial_channels={list(given)} must have a number for each of the {self.stages} stages, which"
                " kept makes"
            )
        if given and self.partial_channels != 1:
            raise ValueError("stage_partial_channels and partial_channels exclude each other: leave one out")
        if any(one < other for one, other in pairwise(given)):
            raise ValueError(f"stage_partial_channels={list(given)} must not rise: candidates only grow wider")
        return self
