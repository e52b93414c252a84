"""PC-DARTS (Xu et al., arXiv 1907.05737): DARTS of first order with parts of the core, put together by these options.

Section 3.2 is ``partial_channels``, section 3.3 ``edge_normalization``; the first epochs train weights only. The
defaults are those of the authors' program for CIFAR-10 (yuhuixu1993/PC-DARTS, ``train_search.py``). Imports no torch.
"""

from __future__ import annotations

from pydantic import Field

from nasreg.mutators import SoftmaxMutatorConfig
from nasreg.trainers import BilevelTrainerConfig


class PcdartsMutatorConfig(SoftmaxMutatorConfig):
    """Options of the architecture parameters."""

    edge_normalization: bool = Field(
        default=True,
        description="weigh the edges into each node of a cell by a softmax of further parameters, which also decides"
        " what edges are kept",
    )


class PcdartsTrainerConfig(BilevelTrainerConfig):
    """Options of the bilevel optimisation."""

    batch_size: int = Field(
        default=256, ge=1, description="samples in a step, of the train split and of the arch split"
    )
    lr: float = Field(default=0.1, gt=0, description="learning rate of the weights in the first epoch (SGD)")
    lr_min: float = Field(default=0.0, ge=0, description="learning rate that its cosine ends at")
    arch_lr: float = Field(default=6e-4, gt=0, description="learning rate of the architecture parameters (Adam)")
    warmup_epochs: int = Field(
        default=15, ge=0, description="first epochs, which train weights only, no architecture parameters"
    )
    partial_channels: int = Field(
        default=4,
        ge=1,
        description="K: let 1/K of the channels through the candidates of a cell's edges and the others past them;"
        " 1 for all channels",
    )
