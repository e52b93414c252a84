"""Options of DARTS, each with the value of the authors' published program as its default. Imports no torch."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from nasreg.specs import Config
from nasreg.trainers import OneShotTrainerConfig

Beta = Annotated[float, Field(ge=0, lt=1)]


class DartsMutatorConfig(Config):
    """Options of the alphas."""

    init_std: float = Field(default=1e-3, ge=0, description="standard deviation of the alphas at the start (mean 0)")


class BilevelTrainerConfig(OneShotTrainerConfig):
    """Options of the bilevel optimisation, first order."""

    weights_lr: float = Field(default=0.025, gt=0, description="learning rate of the weights in the first epoch (SGD)")
    weights_lr_min: float = Field(default=0.001, ge=0, description="learning rate that its cosine ends at")
    weights_momentum: float = Field(default=0.9, ge=0, lt=1, description="momentum of SGD")
    weights_decay: float = Field(default=3e-4, ge=0, description="weight decay of the weights")
    grad_clip: float = Field(default=5.0, gt=0, description="largest norm of the weights' gradient")
    alphas_lr: float = Field(default=3e-4, gt=0, description="learning rate of the alphas (Adam)")
    alphas_betas: tuple[Beta, Beta] = Field(default=(0.5, 0.999), description="betas of Adam")
    alphas_decay: float = Field(default=1e-3, ge=0, description="weight decay of the alphas")
    max_parameters: int | None = Field(
        default=None,
        ge=1,
        description="budget: architectures that are expected to have more weights (at the size of the search) are"
        " penalised, not excluded; see budget_weight",
    )
    budget_weight: float = Field(
        default=1.0, ge=0, description="factor of the penalty, which is the share by which max_parameters is exceeded"
    )


class DartsTrainerConfig(BilevelTrainerConfig):
    """Options of DARTS, which has a second order too."""

    second_order: bool = Field(
        default=False,
        description="differentiate through one step of the weights (unrolled) instead of at their present value",
    )
    hessian_product: Literal["finite_difference", "exact"] = Field(
        default="finite_difference",
        description="how second_order takes the product of the mixed second derivative with a vector:"
        " the paper's central difference (noisy at the kinks of ReLU and max-pooling), or exactly",
    )
    finite_difference_step: float = Field(
        default=0.01, gt=0, description="the step of the central difference is this over the norm of the vector"
    )
