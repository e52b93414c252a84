"""Proposes architectures that are drawn uniformly, each of them once (Li and Talwalkar, arXiv 1902.07638)."""

from __future__ import annotations

from nasreg.mutators import TrialMutator
from nasreg.specs import Architecture


class RandomMutator(TrialMutator):
    """Draws until it finds what it has not proposed before; the scores do not matter to it."""

    def _propose(self) -> Architecture:
        rng = self.rng()
        tried = [trial.architecture for trial in self.trials]
        while (architecture := self.space.sample(rng)) in tried:
            pass  # there is another one: no search has more trials than its space has architectures
        return architecture
