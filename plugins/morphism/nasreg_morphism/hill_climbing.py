"""Hill climbing by network morphisms (Elsken, Metzen, Hutter, arXiv 1711.04528, algorithm 1).

In each step the best network so far is trained further, and so are networks that some morphs lead to from it, each with
its weights, briefly and with a learning rate that falls as a cosine (a restart for each). The best of them is the next.

What differs from the paper: the space is ``elastic-chain``, where a wider block has the next width that the space has,
not one drawn between two and four times the old; and the first network is trained as long as the others (17 epochs, not
20). With several workers the networks of a step are trained at once.
"""

from __future__ import annotations

from nasreg.mutators import MultiTrialMutator
from nasreg.specs import Proposal, SearchSpaceSpec, Trial
from nasreg_morphism.chain import ChainSpace, chain_of
from nasreg_morphism.config import HillClimbingConfig


class HillClimbingMutator(MultiTrialMutator):
    """Proposes the networks of a step, and starts the next with the best of them.

    Raises:
        ConfigError: The first network is not in the space.
        IncompatibleError: It is another space than ``elastic-chain``.
    """

    config: HillClimbingConfig

    def __init__(self, space: SearchSpaceSpec, config: HillClimbingConfig) -> None:
        super().__init__(space, config)
        self.chains = ChainSpace(space)
        self.start_chain = self.chains.start(config)

    def setup(self) -> None:
        """Begin with the first network."""
        self.current: Trial | None = None
        self.proposed_in_step = 0
        self.step_best: Trial | None = None

    def propose(self) -> Proposal | None:
        """Return the first network, then those of a step; None while the step waits for its trials."""
        if self.n_proposed == 0:
            return self.proposal(self.chains.architecture(self.start_chain))
        if self.current is None or self.proposed_in_step == self.config.neighbours:
            return None
        chain = chain_of(self.current.architecture)
        for _ in range(self.config.morphs if self.proposed_in_step else 0):  # the first of a step is the best itself
            chain = self.chains.morph(chain, self.rng) or chain
        self.proposed_in_step += 1
        return self.proposal(self.chains.architecture(chain), parent=self.current)

    def observe(self, trial: Trial) -> None:
        """Keep the best network of the step; after the last one the next step starts from it."""
        if trial.is_better_than(self.step_best):
            self.step_best = trial
        if self.n_observed == self.n_proposed and self.proposed_in_step in (0, self.config.neighbours):
            self.current = self.step_best or self.current
            self.step_best, self.proposed_in_step = None, 0
