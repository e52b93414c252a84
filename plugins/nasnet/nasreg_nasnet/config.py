"""Options of the controllers and of the space. Imports no torch."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from nasreg.errors import did_you_mean
from nasreg.specs import Config

OPERATIONS = (
    "skip_connect",
    "conv_1x3_3x1",
    "conv_1x7_7x1",
    "dil_conv_3x3",
    "avg_pool_3x3",
    "max_pool_3x3",
    "max_pool_5x5",
    "max_pool_7x7",
    "conv_1x1",
    "conv_3x3",
    "sep_conv_3x3",
    "sep_conv_5x5",
    "sep_conv_7x7",
)
"""The 13 operations of the paper (section 3.1), in its order; ``skip_connect`` is the identity."""


class ControllerConfig(Config):
    """Options that both algorithms have."""

    policy: Literal["recurrent", "tabular"] = Field(
        default="recurrent",
        description="recurrent: an LSTM decides, knowing the decisions before; tabular: each decision has logits of its"
        " own",
    )
    hidden: int = Field(default=100, ge=1, le=10_000, description="size of the LSTM of the recurrent policy")
    init_range: float = Field(
        default=0.1, ge=0, description="parameters of the recurrent policy start uniformly in [-init_range, init_range]"
    )
    init_std: float = Field(
        default=1e-3, ge=0, description="standard deviation of the logits that the tabular policy starts with"
    )
    temperature: float = Field(default=1.0, gt=0, description="what logits of the recurrent policy are divided by")
    tanh_constant: float | None = Field(
        default=None, gt=0, description="bound of the logits of the recurrent policy, by a tanh; null for none"
    )
    children: int = Field(
        default=20,
        ge=1,
        description="number of scored architectures that each update of the policy learns from",
    )
    lr: float = Field(default=3.5e-4, gt=0, description="learning rate of the policy (Adam)")
    entropy: float = Field(
        default=1e-5, ge=0, description="factor of the entropy of the decisions, which is maximised with the reward"
    )
    reward_scale: float = Field(
        default=1.0, gt=0, description="what scores are multiplied by; 100 makes percent of accuracies"
    )
    baseline_decay: float = Field(default=0.95, ge=0, lt=1, description="decay of the moving average of the rewards")
    baseline_order: Literal["before", "after"] = Field(
        default="after",
        description="before: the average is updated with a reward before it is subtracted from it; after: afterwards",
    )
    baseline_bias_correction: bool = Field(
        default=False,
        description="start the average at 0 and divide it by the sum of its weights, instead of at the first reward",
    )


class NasnetConfig(ControllerConfig):
    """Options of the controller of NASNet; the defaults are those of the paper where it names them."""

    update: Literal["ppo", "reinforce"] = Field(
        default="ppo", description="ppo: several clipped steps on the same architectures; reinforce: one step"
    )
    clip: float = Field(
        default=0.2,
        gt=0,
        lt=1,
        description="of PPO: how far from 1 the ratio of probabilities counts",
    )
    ppo_epochs: int = Field(default=4, ge=1, le=1000, description="of PPO: steps on the same architectures")


class ReinforceConfig(ControllerConfig):
    """Options of REINFORCE; the defaults are those of NATS-Bench, but for the scale of the reward."""

    policy: Literal["recurrent", "tabular"] = Field(
        default="tabular",
        description="recurrent: an LSTM decides, knowing the decisions before; tabular: each decision has logits of its"
        " own",
    )
    children: int = Field(
        default=1,
        ge=1,
        description="number of scored architectures that each update of the policy learns from",
    )
    lr: float = Field(default=0.01, gt=0, description="learning rate of the policy (Adam)")
    entropy: float = Field(
        default=0.0, ge=0, description="factor of the entropy of the decisions, which is maximised with the reward"
    )
    baseline_decay: float = Field(default=0.9, ge=0, lt=1, description="decay of the moving average of the rewards")
    baseline_order: Literal["before", "after"] = Field(
        default="before",
        description="before: the average is updated with a reward before it is subtracted from it; after: afterwards",
    )
    baseline_bias_correction: bool = Field(
        default=True,
        description="start the average at 0 and divide it by the sum of its weights, instead of at the first reward",
    )


Operation = Annotated[str, Field(min_length=1)]
States = tuple[Annotated[int, Field(ge=0)], ...]


class SpaceConfig(Config):
    """Options of the space of NASNet cells."""

    cells: int = Field(default=2, ge=1, le=100, description="normal cells in each of the three stages (N in the paper)")
    channels: int = Field(
        default=32, ge=1, le=4096, description="channels C of a node in the first stage; doubled in each stage"
    )
    nodes: int = Field(default=5, ge=1, le=16, description="nodes of a cell (B in the paper)")
    candidates: tuple[Operation, ...] = Field(
        default=OPERATIONS, min_length=1, description="operations to choose from, in order"
    )
    normal_concat: States | None = Field(
        default=None,
        description="states that make the output of a normal cell: 0 and 1 are its inputs, then come the nodes; by"
        " default the nodes that no other node reads",
    )
    reduce_concat: States | None = Field(
        default=None, description="states that make the output of a reduction cell, as normal_concat"
    )
    stem: Literal["auto", "cifar", "imagenet"] = Field(
        default="auto",
        description="cifar: one 3x3 convolution; imagenet: one of stride 2 and two reduction cells with C/4 and C/2"
        " channels; auto: imagenet for images of 96 pixels and more",
    )
    stem_channels: int | None = Field(
        default=None,
        ge=1,
        le=4096,
        description="channels of the first convolution; by default 3C, and 32 with the stem imagenet",
    )
    skip_reductions: bool = Field(
        default=False,
        description="the first cell after a reduction cell reads what that one reads, two cells back, as NASNet-A for"
        " images of 331 pixels",
    )
    phase: Literal["search", "retrain"] = Field(
        default="search", description="retrain: operations are followed by drop-path, whose rate the training sets"
    )
    auxiliary: bool = Field(
        default=False,
        description="retrain only: a second classifier after the second stage; the network then gives its logits and"
        " those of the second one",
    )

    @field_validator("candidates")
    @classmethod
    def _known(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for name in value:
            if name not in OPERATIONS:
                raise ValueError(f"there is no operation {name!r}.{did_you_mean(name, OPERATIONS)}")
        return value

    @model_validator(mode="after")
    def _consistent(self) -> SpaceConfig:
        for name in ("normal_concat", "reduce_concat"):
            states = getattr(self, name)
            if states is not None and not (states and max(states) < 2 + self.nodes and len(set(states)) == len(states)):
                raise ValueError(f"{name} must name different states below {2 + self.nodes}")
        if self.reduce_concat is not None and min(self.reduce_concat) < 2:
            raise ValueError("reduce_concat must name nodes, from state 2: the inputs of a reduction cell are larger")
        if self.auxiliary and self.phase != "retrain":
            raise ValueError("auxiliary is for phase='retrain' only")
        return self
