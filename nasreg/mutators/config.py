"""Options of the mutators that come with the core. Imports no torch."""

from __future__ import annotations

from pydantic import Field

from nasreg.specs.base import Config


class SoftmaxMutatorConfig(Config):
    """Options of the architecture parameters."""

    init_std: float = Field(
        default=1e-3, ge=0, description="standard deviation of the architecture parameters at the start (mean 0)"
    )
