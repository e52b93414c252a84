"""Options of ProxylessNAS, each with the value of the authors' published program as its default. Imports no torch."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from nasreg.trainers import Beta, BilevelTrainerConfig


class ProxylessTrainerConfig(BilevelTrainerConfig):
    """Options of the search; the source is ``search/imagenet_arch_search.py`` of mit-han-lab/proxylessnas."""

    epochs: int = Field(default=160, ge=1, description="passes over the train split, those of the warm-up among them")
    warmup_epochs: int = Field(
        default=40, ge=0, description="epochs at the beginning that train the weights alone, along sampled paths"
    )
    batch_size: int = Field(default=256, ge=1, description="samples in a step, of the train and of the arch split")
    lr: float = Field(default=0.025, gt=0, description="learning rate of the weights after the warm-up (SGD)")
    lr_min: float = Field(default=0.0, ge=0, description="learning rate that its cosine ends at")
    warmup_lr: float = Field(default=0.05, gt=0, description="learning rate in the first epoch of the warm-up")
    weight_decay: float = Field(default=4e-5, ge=0, description="weight decay of the weights")
    arch_lr: float = Field(default=1e-3, gt=0, description="learning rate of the architecture parameters (Adam)")
    arch_betas: tuple[Beta, Beta] = Field(default=(0.0, 0.999), description="betas of Adam")
    arch_weight_decay: float = Field(default=0.0, ge=0, description="weight decay of the architecture parameters")
    arch_every: int = Field(
        default=5, ge=1, description="steps of the weights between two steps of the architecture parameters"
    )
    label_smoothing: float = Field(
        default=0.1, ge=0, lt=1, description="label smoothing of the loss of the weights, not of the architecture"
    )
    gradient: Literal["two", "full", "reinforce"] = Field(
        default="full",
        description="what the gradient of the architecture parameters is made of. two: the gates of two sampled paths;"
        " full: the gates of all paths, of which one is open; reinforce: rewards of sampled networks",
    )
    cost: Literal["latency_ms", "macs", "parameters"] = Field(
        default="latency_ms", description="the cost of a network that the search takes into account"
    )
    reference: float | None = Field(
        default=None,
        gt=0,
        description="cost that a network should have, in milliseconds, multiply-accumulates or parameters; null: costs"
        " do not matter",
    )
    cost_loss: Literal["product", "sum"] = Field(
        default="product",
        description="with E the expected cost: product: cost_alpha * loss * (log E / log reference) ** cost_beta; sum:"
        " loss + cost_lambda * (E - reference) / reference",
    )
    cost_alpha: float = Field(default=0.2, gt=0, description="factor of the loss in the product")
    cost_beta: float = Field(default=0.3, gt=0, description="exponent of the cost in the product")
    cost_lambda: float = Field(default=0.1, ge=0, description="factor of the cost in the sum")
    samples: int = Field(default=10, ge=1, description="reinforce: networks that are sampled for a step")
    baseline_decay: float = Field(
        default=0.99, ge=0, lt=1, description="reinforce: weight of the past in the average of the rewards"
    )
    reward_exponent: float = Field(
        default=0.1, ge=0, description="reinforce: the reward is accuracy * (reference / cost) ** this"
    )

    @model_validator(mode="after")
    def _fit(self) -> ProxylessTrainerConfig:
        product = self.gradient != "reinforce" and self.cost_loss == "product"
        if self.reference is not None and product and self.reference <= 1:
            raise ValueError(
                f"reference={self.reference:g}: the product divides by its logarithm, which is 0 or negative; choose"
                " cost_loss=sum"
            )
        return self
