"""Architecture parameters of one stage of P-DARTS, and the derivation of its cells (Chen et al., arXiv 1904.12760)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch

from nasreg.mutators import SoftmaxMutator, collapse_warnings, count_operation
from nasreg.specs import SKIP, AnyChoiceSpec, Architecture, CellSpec, Decision, SearchSpaceSpec
from nasreg_pdarts.config import PdartsMutatorConfig
from nasreg_pdarts.shrink import derive_cell, keep_strongest, restrict_skips


class PdartsMutator(SoftmaxMutator):
    """Softmax weights of the candidates left in a stage; normal cells are derived with a limit on skip connections.

    Args:
        space: The space of the stage.
        config: Options.

    Attributes:
        full_space: The space of the run, with all candidates, to which architectures belong.
    """

    config: PdartsMutatorConfig

    def __init__(self, space: SearchSpaceSpec, config: PdartsMutatorConfig) -> None:
        super().__init__(space, config)
        self.full_space = space

    @torch.no_grad()
    def architecture(self) -> Architecture:
        """Derive the architecture, with at most ``max_skips`` skip connections in a normal cell."""
        return self.restricted(self.config.max_skips)

    @torch.no_grad()
    def restricted(self, max_skips: int | None) -> Architecture:
        """Derive the architecture with another limit on the skip connections of normal cells; None for no limit."""
        return self.full_space.architecture(
            {choice.key: self._derive(choice, max_skips) for choice in self.space.choices}
        )

    def _derive(self, choice: AnyChoiceSpec, max_skips: int | None) -> Decision:
        if not isinstance(choice, CellSpec):
            return self.decide(choice)
        rows = self.rows(choice)
        if max_skips is None or choice.reduction:
            return derive_cell(choice, rows)
        return restrict_skips(choice, rows, max_skips)

    def diagnostics(self, architecture: Architecture) -> Mapping[str, float]:
        """Return the number of skip connections in each cell."""
        counts = count_operation(self.full_space, architecture, SKIP)
        return {f"{SKIP} in {key}": float(count) for key, (count, _) in counts.items()}

    def warnings(self, architecture: Architecture) -> Sequence[str]:
        """Return a warning for each normal cell that collapses into skip connections."""
        return collapse_warnings(self.full_space, architecture, SKIP)

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
