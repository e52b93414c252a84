"""Options of DARTS, each with the value of the authors' published program as its default. Imports no torch."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from nasreg.trainers import BilevelTrainerConfig


class DartsTrainerConfig(BilevelTrainerConfig):
    """Options of the bilevel optimisation, and of its second order."""

    second_order: bool = Field(
        default=False,
        description="differentiate through one step of the weights (unrolled) instead of at their present value",
    )
    hessian_product: Literal["finite_difference", "exact"] = Field(
        default="finite_difference",
        description="how second_order computes the product of the mixed second derivative with a vector:"
        " the paper's central difference (noisy at the kinks of ReLU and max-pooling), or exactly",
    )
    finite_difference_step: float = Field(
        default=0.01, gt=0, description="the step of the central difference is this over the norm of the vector"
    )
