"""Everything that determines the training of an architecture's network, resolved. Imports no torch."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from nasreg.specs.architecture import Architecture
from nasreg.specs.run import RunFile


class RetrainSpec(RunFile):
    """Everything that determines a retraining. ``run.yaml`` in the run directory holds it, no default left out."""

    kind: Literal["retrain"] = Field(default="retrain", description="retrain, or search for a search")
    source: str = Field(description="where the architecture comes from")
    architecture: Architecture = Field(description="the architecture that is trained")
    recipe: str | None = Field(default=None, description="recipe that the options started from")

    @property
    def headline(self) -> str:
        """A heading for the run."""
        return f"{self.source}, retrained on {self.dataset.title}"

    @property
    def title(self) -> str:
        """The run in one line."""
        return f"retrain {self.source}: space {self.space.title}, data set {self.dataset.title}"
