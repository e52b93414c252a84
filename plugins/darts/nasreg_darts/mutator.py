"""The relaxation of DARTS (Liu, Simonyan, Yang, arXiv 1806.09055, sections 2.2 and 2.4), as the core provides it.

Added is what users want to see of it: how many skip connections each cell keeps, since searches collapse into them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from nasreg.mutators import SoftmaxMutator, collapse_warnings, count_operation
from nasreg.specs import SKIP, Architecture


class DartsMutator(SoftmaxMutator):
    """Answers every choice with the softmax of its architecture parameters (alphas)."""

    def diagnostics(self, architecture: Architecture) -> Mapping[str, float]:
        """Return the number of skip connections in each cell."""
        counts = count_operation(self.space, architecture, SKIP)
        return {f"{SKIP} in {key}": float(count) for key, (count, _) in counts.items()}

    def warnings(self, architecture: Architecture) -> Sequence[str]:
        """Return a warning for each normal cell that collapses into skip connections."""
        return collapse_warnings(self.space, architecture, SKIP)
