"""Proposes architectures that are drawn uniformly (Li and Talwalkar, arXiv 1902.07638)."""

from __future__ import annotations

from nasreg.mutators import MultiTrialMutator
from nasreg.specs import Proposal


class RandomMutator(MultiTrialMutator):
    """Draws each architecture anew; scores do not matter to it."""

    def propose(self) -> Proposal:
        """Return an architecture drawn uniformly."""
        return self.proposal(self.space.sample(self.rng))
