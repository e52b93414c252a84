"""Proposes architectures that are drawn uniformly, each of them once (Li and Talwalkar, arXiv 1902.07638)."""

from __future__ import annotations

from nasreg.mutators import MultiTrialMutator
from nasreg.specs import Architecture


class RandomMutator(MultiTrialMutator):
    """Draws until it finds an architecture that it has not proposed before; scores do not matter to it."""

    def _propose(self) -> Architecture:
        rng = self.rng()
        proposed = [trial.architecture for trial in self.trials]
        while (architecture := self.space.sample(rng)) in proposed:
            pass  # there is another one: no search has more trials than its space has architectures
        return architecture
