"""Everything that determines the training of an architecture's network, resolved. Imports no torch."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from nasreg.specs.architecture import Architecture
from nasreg.specs.run import RunFile, Selection


class RetrainSpec(RunFile):
    """Everything that determines it. ``run.yaml`` in the run directory holds it, with no default left out."""

    format: Literal[1] = Field(default=1, description="version of this file format")
    kind: Literal["retrain"] = Field(default="retrain", description="tells it from the run.yaml of a search")
    source: str = Field(description="where the architecture is from")
    architecture: Architecture = Field(description="what is trained")
    preset: str | None = Field(default=None, description="preset that the options started from")
    space: Selection = Field(description="search space of the architecture, and how deep and wide the network is")
    dataset: Selection = Field(description="data set and its options")
    trainer: dict[str, Any] = Field(description="options of the training")
    seed: int = Field(default=0, ge=0, lt=2**32, description="seed of everything that is random")
    device: str = Field(default="auto", description="auto, cpu, cuda, cuda:N or mps")

    @property
    def headline(self) -> str:
        """What it is, for a heading."""
        return f"{self.source}, retrained on {self.dataset.name}"

    @property
    def title(self) -> str:
        """What it is, in a few words."""
        return f"retrain {self.source}: space {self.space.name}, data set {self.dataset.name}"
