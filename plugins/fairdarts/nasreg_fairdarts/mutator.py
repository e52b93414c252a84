"""The relaxation of FairDARTS (arXiv 1911.12126, section 4): operations that do not compete, near 0 or 1 in the end."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor

from nasreg.mutators import SigmoidMutator, SkipCountingMutator
from nasreg.specs import AnyChoiceSpec, Architecture, CellSpec, Decision, InputChoiceSpec
from nasreg_fairdarts.config import FairDartsMutatorConfig
from nasreg_fairdarts.threshold import sparse_cell, with_none


class FairDartsMutator(SkipCountingMutator, SigmoidMutator):
    """Answers with the sigmoid of each architecture parameter.

    A cell keeps the edges that DARTS would keep. In a space whose architectures can have ``none`` it takes the place
    of operations below the threshold; elsewhere they stay, and ``diagnostics`` counts those above it.
    """

    config: FairDartsMutatorConfig

    def decide(self, choice: AnyChoiceSpec) -> Decision:
        """Derive the decision of a choice."""
        if isinstance(choice, CellSpec):
            return with_none(choice, self.rows(choice), self.config.threshold)
        return super().decide(choice)

    def zero_one_loss(self, kind: Literal["l2", "l1"]) -> Tensor:
        """Return minus the mean distance of all weights from one half, squared (``l2``) or not (``l1``)."""
        choices = [choice for choice in self.space.choices if not isinstance(choice, InputChoiceSpec)]
        rows = [row.flatten() for choice in choices for row in self.probabilities(choice)]
        distance = torch.cat(rows) - 0.5
        return -(distance.square() if kind == "l2" else distance.abs()).mean()

    def diagnostics(self, architecture: Architecture) -> Mapping[str, float]:
        """Return for each cell the number of skip connections, and of the edges kept that reach the threshold."""
        found = dict(super().diagnostics(architecture))
        for cell in self.space.choices:
            if isinstance(cell, CellSpec):
                kept = sparse_cell(cell, self.rows(cell), self.config.threshold)
                found[f"above threshold in {cell.key}"] = float(len(kept))
        return found
