"""Options of the controller, of the search and of both spaces. Imports no torch."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from nasreg.errors import did_you_mean
from nasreg.specs import SKIP, Config
from nasreg.trainers import OneShotTrainerConfig

MICRO_OPERATIONS = ("sep_conv_3x3", "sep_conv_5x5", "avg_pool_3x3", "max_pool_3x3", SKIP)
"""The operations of a cell, in the order of their numbers in the authors' program."""

MACRO_OPERATIONS = ("conv_3x3", "sep_conv_3x3", "conv_5x5", "sep_conv_5x5", "avg_pool_3x3", "max_pool_3x3")
"""The operations of a layer, in the order of their numbers in the authors' program."""

Decay = Annotated[float, Field(ge=0, lt=1)]
Operation = Annotated[str, Field(min_length=1)]


class EnasMutatorConfig(Config):
    """Options of the controller; the defaults are those of the authors' search of cells."""

    hidden: int = Field(default=64, ge=1, le=10_000, description="size of the LSTM")
    lstm_layers: int = Field(default=1, ge=1, le=16, description="layers of the LSTM")
    init_range: float = Field(
        default=0.1, ge=0, description="parameters start uniformly in [-init_range, init_range], but for biases"
    )
    temperature: float = Field(default=1.0, gt=0, description="what logits are divided by")
    tanh_constant: float | None = Field(
        default=1.1, gt=0, description="bound of the logits, by a tanh; null for none, also of those of operations"
    )
    op_tanh_reduce: float = Field(
        default=2.5,
        gt=0,
        description="what the tanh constant is divided by for the operations of cells and layers",
    )
    favoured: tuple[Operation, ...] = Field(
        default=("sep_conv_3x3", "sep_conv_5x5"),
        description="operations that learned_bias and fixed_bias favour",
    )
    learned_bias: float | None = Field(
        default=10.0,
        ge=0,
        description="what the learned bias of a favoured operation starts at, that of others at 0; null for no bias",
    )
    fixed_bias: float = Field(
        default=0.25,
        ge=0,
        description="added to the bounded logits of favoured operations, taken from those of others, but not in"
        " reduction cells",
    )
    entropy: Literal["full", "sampled"] = Field(
        default="full",
        description="full: the entropy of each softmax; sampled: -p log p of the option taken, as the authors' search"
        " of whole networks has it",
    )


class EnasTrainerConfig(OneShotTrainerConfig):
    """Options of the search; the defaults are those of the authors' search of cells."""

    epochs: int = Field(default=150, ge=1, description="passes over the train split, each followed by controller steps")
    batch_size: int = Field(
        default=160, ge=2, description="samples in a step, and of the arch split in the reward of an architecture"
    )
    lr: float = Field(
        default=0.05, gt=0, description="largest learning rate of the weights (SGD with Nesterov momentum)"
    )
    lr_min: float = Field(default=5e-4, ge=0, description="learning rate that each of its cosines ends at")
    restart: int | None = Field(
        default=10, ge=1, description="epochs of the first cosine; null for one cosine over all epochs"
    )
    restart_factor: int = Field(default=2, ge=1, description="by what each cosine is longer than the one before")
    momentum: float = Field(default=0.9, gt=0, lt=1, description="momentum of SGD")
    weight_decay: float = Field(default=2e-4, ge=0, description="weight decay: twice the factor of the squared norm")
    grad_clip: float | None = Field(
        default=None, gt=0, description="maximum norm of the gradient of the weights; null for no limit"
    )
    controller_steps: int = Field(default=30, ge=1, description="updates of the controller after each epoch")
    aggregate: int = Field(default=10, ge=1, description="architectures that an update of the controller learns from")
    controller_lr: float = Field(default=3.5e-3, gt=0, description="learning rate of the controller (Adam)")
    controller_betas: tuple[Decay, Decay] = Field(default=(0.0, 0.999), description="betas of Adam")
    controller_epsilon: float = Field(
        default=1e-3, gt=0, description="epsilon of Adam, as TensorFlow adds it: without the correction of bias"
    )
    entropy_weight: float = Field(
        default=1e-4, ge=0, description="factor of the entropy of an architecture's decisions in its reward"
    )
    baseline_decay: Decay = Field(default=0.99, description="decay of the moving average of the rewards, from 0")
    skip_target: float = Field(
        default=0.4,
        gt=0,
        lt=1,
        description="wanted probability of a skip connection, in a space that has choices of them",
    )
    skip_weight: float = Field(
        default=0.8, ge=0, description="factor of the distance from skip_target in the loss of the controller"
    )
    samples: int = Field(
        default=10, ge=1, description="architectures drawn after an epoch, the best of which on one batch is derived"
    )

    @model_validator(mode="after")
    def _rates(self) -> EnasTrainerConfig:
        if self.lr_min > self.lr:
            raise ValueError(f"lr_min {self.lr_min:g} must not be above lr {self.lr:g}")
        return self


class _SpaceConfig(Config):
    """Options that both spaces have."""

    dropout: float = Field(default=0.1, ge=0, lt=1, description="rate of the dropout before the classifier")
    phase: Literal["search", "retrain"] = Field(
        default="search", description="retrain: the network that the authors' program trains from the start"
    )


def _known(value: tuple[str, ...], known: tuple[str, ...]) -> tuple[str, ...]:
    for name in value:
        if name not in known:
            raise ValueError(f"there is no operation {name!r}.{did_you_mean(name, known)}")
    return value


class MicroConfig(_SpaceConfig):
    """Options of the space of cells."""

    cells: int = Field(default=6, ge=1, le=100, description="normal cells; two reduction cells stand between them")
    channels: int = Field(
        default=20, ge=2, le=4096, description="channels of a node; doubled at each of the two reductions"
    )
    nodes: int = Field(default=5, ge=1, le=16, description="nodes of a cell")
    candidates: tuple[Operation, ...] = Field(
        default=MICRO_OPERATIONS, min_length=1, description="operations to choose from, in order"
    )
    auxiliary: bool = Field(
        default=False,
        description="a second classifier after the cell that follows the second reduction; the network then gives its"
        " logits and those of the second one",
    )

    @field_validator("candidates")
    @classmethod
    def _operations(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return _known(value, MICRO_OPERATIONS)


class MacroConfig(_SpaceConfig):
    """Options of the space of whole networks."""

    layers: int = Field(
        default=12, ge=1, le=100, description="layers; after one and two thirds of them the image is halved"
    )
    channels: int = Field(
        default=36,
        ge=2,
        le=4096,
        description="channels of a layer; with phase='retrain' those of the first, doubled where the image is halved",
    )
    candidates: tuple[Operation, ...] = Field(
        default=MACRO_OPERATIONS, min_length=1, description="operations to choose from, in order"
    )

    @field_validator("candidates")
    @classmethod
    def _operations(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return _known(value, MACRO_OPERATIONS)
