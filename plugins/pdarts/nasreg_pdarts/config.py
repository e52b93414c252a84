"""Options of P-DARTS, each with the value of the authors' published program as its default. Imports no torch."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from nasreg.mutators import SoftmaxMutatorConfig
from nasreg.trainers import BilevelTrainerConfig

Rate = Annotated[float, Field(ge=0, lt=1)]


class PdartsMutatorConfig(SoftmaxMutatorConfig):
    """Options of the architecture parameters, and of the architecture derived from them."""

    max_skips: int | None = Field(
        default=2, ge=0, description="maximum number of skip_connect in a normal cell; null for no limit"
    )


class PdartsTrainerConfig(BilevelTrainerConfig):
    """Options of the stages and of the bilevel optimisation in each."""

    epochs: int = Field(default=25, ge=1, description="epochs of each stage")
    batch_size: int = Field(default=96, ge=1, description="samples in a step, of the train split and of the arch split")
    lr_min: float = Field(default=0.0, ge=0, description="learning rate that the cosine of each stage ends at")
    arch_lr: float = Field(default=6e-4, gt=0, description="learning rate of the architecture parameters (Adam)")
    arch_grad_clip: float | None = Field(
        default=5.0,
        gt=0,
        description="maximum norm of the gradient of the architecture parameters; null for no limit",
    )
    warmup_epochs: int = Field(default=10, ge=0, description="first epochs of each stage, which train weights only")
    added_cells: tuple[Annotated[int, Field(ge=0)], ...] = Field(
        default=(0, 6, 12), min_length=1, description="cells that each stage has more than the space's own number"
    )
    kept: tuple[Annotated[int, Field(ge=2)], ...] = Field(
        default=(5, 3), description="candidates that stay on each edge after each stage but the last, which leaves one"
    )
    dropout: tuple[Rate, ...] = Field(
        default=(0.1, 0.4, 0.7),
        description="dropout after skip_connect of stride 1 at the start of each stage; it decays within the stage",
    )
    dropout_decay: float = Field(
        default=0.2, ge=0, description="after the warm-up the dropout falls by exp(-this) an epoch; before, linearly"
    )

    @model_validator(mode="after")
    def _one_per_stage(self) -> PdartsTrainerConfig:
        stages = len(self.added_cells)
        if len(self.dropout) != stages or len(self.kept) != stages - 1:
            raise ValueError(
                f"added_cells has {stages} stages, so that dropout must have {stages} values and kept {stages - 1},"
                f" not {len(self.dropout)} and {len(self.kept)}"
            )
        return self

    @model_validator(mode="after")
    def _learns(self) -> PdartsTrainerConfig:
        if self.warmup_epochs >= self.epochs:
            raise ValueError(
                f"warmup_epochs={self.warmup_epochs}, but a stage has epochs={self.epochs}: no architecture parameter"
                " would be learned, and candidates would be dropped at random. Lower warmup_epochs, or raise epochs"
            )
        return self
