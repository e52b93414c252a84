"""The relaxation of DARTS (Liu, Simonyan, Yang, arXiv 1806.09055, sections 2.2 and 2.4), as the core provides it."""

from __future__ import annotations

from nasreg.mutators import SkipCountingMutator


class DartsMutator(SkipCountingMutator):
    """Answers every choice with the softmax of its architecture parameters (alphas)."""
