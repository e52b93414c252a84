"""Options of the evaluators that train. Imports no torch."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator

from nasreg.trainers.config import SinglePathTrainerConfig, TrainerConfig


class TrainingEvaluatorConfig(TrainerConfig):
    """Options of the evaluator that trains the network of each proposal."""

    epochs: int = Field(default=20, ge=1, description="epochs of a trial; one of less fidelity has that share of them")
    optimizer: Literal["sgd", "adamw"] = Field(default="sgd", description="optimiser of the weights")
    lr: float = Field(default=0.025, gt=0, description="learning rate at the start of each trial")
    lr_min: float = Field(default=0.0, ge=0, description="learning rate that schedule cosine or linear ends at")
    schedule: Literal["cosine", "linear", "constant"] = Field(
        default="cosine", description="how the learning rate falls from epoch to epoch of a trial"
    )
    momentum: float = Field(default=0.9, ge=0, lt=1, description="momentum of SGD")
    weight_decay: float = Field(default=3e-4, ge=0, description="weight decay")
    grad_clip: float = Field(default=5.0, gt=0, description="maximum norm of the gradient")
    inherit_weights: bool = Field(
        default=False,
        description="start a trial from the weights of its parent where names and shapes agree, if the algorithm names"
        " one; keeps the weights of all trials",
    )
    inherit_function: str | None = Field(
        default=None,
        pattern=r"^[A-Za-z_][\w.]*:[A-Za-z_][\w.]*$",
        description="'package.module:name' of a function with which inherit_weights makes the weights of a trial:"
        " name(parent, child, weights) takes both architectures and the parent's weights by name, and returns those for"
        " the child",
    )
    keep_weights: bool = Field(
        default=False, description="keep the weights of every trial, in trials/ID/weights.pt of the run directory"
    )


class SupernetEvaluatorConfig(SinglePathTrainerConfig):
    """Options of the evaluator that scores with the weights of a supernet, and of the training of that supernet."""

    run: str | None = Field(
        default=None,
        min_length=1,
        description="directory of a finished run whose supernet is used: of a one-shot algorithm, or of a search with"
        " this evaluator; null to train one first, along uniformly drawn paths, as the other options say",
    )
    recalibration_images: int = Field(
        default=25_600,
        ge=2,
        description="images of the train split that the BatchNorm statistics of each architecture are computed on; all"
        " of them where there are fewer",
    )

    @field_validator("run")
    @classmethod
    def _absolute(cls, value: str | None) -> str | None:
        return None if value is None else str(Path(value).expanduser().absolute())
