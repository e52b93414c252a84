"""Bayesian optimisation: a surrogate learns from the trials which architecture promises the largest improvement.

Snoek, Larochelle, Adams: Practical Bayesian Optimization of Machine Learning Algorithms, arXiv 1206.2944, on the
encodings of architectures (``SearchSpaceSpec.encode``), so that it searches any space. What differs: the
hyper-parameters of the Gaussian process maximise the marginal likelihood instead of being integrated over, the kernel
has one length scale, and by default it learns the normal quantiles of the scores' ranks, which neither outliers nor
failures distort.

With several workers, architectures that are being evaluated count as if they had the mean score (constant liar). A
trial that failed, or was rejected for another reason than its repetition, counts as the worst score: whatever makes
trials fail or exceed a budget is avoided, too.
"""

from __future__ import annotations

from nasreg.mutators import MultiTrialMutator
from nasreg.specs import Proposal, Trial
from nasreg_bayes.config import BayesOptConfig
from nasreg_bayes.sampler import Encoding, Observation, Sampler, draw


class BayesOpt(MultiTrialMutator):
    """Proposes random architectures first, then what the acquisition function prefers.

    Attributes:
        sampler: Chooses architectures.
        observed: What it learns from.
        n_scored: How many of them have a score.
        pending: Encodings of the proposals that are being evaluated, by id.
        first: Id of the first proposal of each architecture, by encoding; no architecture is proposed twice.
    """

    config: BayesOptConfig

    def setup(self) -> None:
        """Begin with no observation."""
        self.sampler = Sampler(self.space, self.config)
        self.observed: list[Observation] = []
        self.n_scored = 0
        self.pending: dict[int, Encoding] = {}
        self.first: dict[Encoding, int] = {}

    def propose(self) -> Proposal:
        """Return a random architecture until ``initial`` trials have a score, then one that the sampler chooses."""
        if self.n_scored < self.config.initial:
            architecture = draw(self.space, self.rng, self.first)
        else:
            architecture = self.sampler.choose(self.rng, self.observed, self.pending.values(), self.first)
        proposal = self.proposal(architecture)
        encoding = self.pending[proposal.id] = self.space.encode(architecture)
        self.first.setdefault(encoding, proposal.id)
        return proposal

    def observe(self, trial: Trial) -> None:
        """Add an observation."""
        self.pending.pop(trial.id, None)
        encoding = self.space.encode(trial.architecture)
        is_repeated = self.first.setdefault(encoding, trial.id) != trial.id
        if not (is_repeated and trial.status == "rejected"):
            self.observed.append(Observation(trial.architecture, encoding, trial.score))
            self.n_scored += trial.done
