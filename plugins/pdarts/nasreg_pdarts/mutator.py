"""The alphas of one stage of P-DARTS, and what is derived from them (Chen et al., arXiv 1904.12760)."""

from __future__ import annotations

import torch

from nasreg.specs import Architecture, CellSpec, Decision, InputChoiceSpec, LayerChoiceSpec, SearchSpaceSpec
from nasreg_darts.mutator import DartsMutator
from nasreg_pdarts.config import PdartsMutatorConfig
from nasreg_pdarts.shrink import derive_cell, keep_strongest, restrict_skips


class PdartsMutator(DartsMutator):
    """DARTS' alphas over the candidates that are left in a stage; normal cells are derived with few skip connections.

    Args:
        space: The space of the stage.
        config: Options.

    Attributes:
        whole: The space of the run, to which architectures belong; it has all the candidates.
    """

    config: PdartsMutatorConfig

    def __init__(self, space: SearchSpaceSpec, config: PdartsMutatorConfig) -> None:
        super().__init__(space, config)
        self.whole = space

    @torch.no_grad()
    def architecture(self) -> Architecture:
        """Derive the architecture, with ``max_skips`` skip connections in a normal cell at most."""
        return self.restricted(self.config.max_skips)

    @torch.no_grad()
    def restricted(self, most: int | None) -> Architecture:
        """Derive the architecture with another limit on the skip connections of normal cells; None for no limit."""
        return self.whole.architecture({choice.key: self._derive(choice, most) for choice in self.space.choices})

    def _derive(self, choice: LayerChoiceSpec | InputChoiceSpec | CellSpec, most: int | None) -> Decision:
        if not isinstance(choice, CellSpec):
            return self.decide(choice)
        rows = self.rows(choice)
        return derive_cell(choice, rows) if most is None or choice.reduction else restrict_skips(choice, rows, most)

    @torch.no_grad()
    def strongest(self, n: int) -> dict[str, tuple[tuple[str, ...], ...]]:
        """Return the ``n`` strongest candidates on each edge of each cell, by its key."""
        return {
            cell.key: tuple(
                keep_strongest(names, row, n) for names, row in zip(cell.candidates, self.rows(cell), strict=True)
            )
            for cell in self.space.choices
            if isinstance(cell, CellSpec)
        }
