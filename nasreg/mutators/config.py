"""Options of the mutators that come with the core. Imports no torch."""

from __future__ import annotations

from pydantic import Field

from nasreg.specs.base import Config


class SoftmaxMutatorConfig(Config):
    """Options of the architecture parameters."""

    init_std: float = Field(
        default=1e-3, ge=0, description="standard deviation of the architecture parameters at the start (mean 0)"
    )
    edge_normalization: bool = Field(
        default=False,
        description="weigh the edges into each node of a cell by a softmax of further parameters, which also decides"
        " what edges are kept (PC-DARTS)",
    )
