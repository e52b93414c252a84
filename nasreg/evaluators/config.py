"""Options of the evaluator that trains. Imports no torch."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from nasreg.trainers.config import TrainerConfig


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
