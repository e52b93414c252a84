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
    "dil_sep_conv_3x3",
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
        description="scored architectures that an update of the policy learns from; those left at the end teach nothing",
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
        default=0.2, gt=0, lt=1, description="of PPO: how far from 1 the ratio of probabilities counts; not in the paper"
    )
    ppo_epochs: int = Field(
        default=4, ge=1, le=1000, description="of PPO: steps on the same architectures; not in the paper"
    )


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
        description="scored architectures that an update of the policy learns from; those left at the end teach nothing",
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
