"""Successive halving and Hyperband: many architectures with little effort, the best of them with more, and so on.

- ``SuccessiveHalving``: Jamieson, Talwalkar: Non-stochastic Best Arm Identification and Hyperparameter Optimization,
  arXiv 1502.07943. Of the architectures in a rung the best 1/eta enter the next one, for eta times the effort; eta is
  2 in the paper.
- ``Hyperband``: Li, Jamieson, DeSalvo, Rostamizadeh, Talwalkar: Hyperband: A Novel Bandit-Based Approach to
  Hyperparameter Optimization, arXiv 1603.06560, algorithm 1. Brackets of successive halving, from that with the most
  architectures and the least effort to that which gives all of few architectures the full effort.

With ``sampler=bayes`` new architectures are chosen by a surrogate, as in BOHB (Falkner, Klein, Hutter, arXiv
1807.01774): it learns from the highest fidelity that has ``initial`` scores, and a third of the architectures is
random. What differs from BOHB: the surrogate is that of the options, by default a Gaussian process, not a
tree-structured Parzen estimator.

When all brackets are done they begin again, until ``trainer.max_trials``. A rung ends when all of its trials have: with
several workers some of them wait for the last. The effort is the proposal's fidelity, such as a share of the epochs. A
trial of a later rung starts anew, or with ``evaluator.inherit_weights`` from the weights of its earlier trial. A failed
trial enters no later rung; a rejected one is replaced.
"""

from __future__ import annotations

from abc import abstractmethod
from collections import deque
from collections.abc import Sequence
from operator import attrgetter

from nasreg.mutators import MultiTrialMutator
from nasreg.specs import Architecture, Proposal, Trial
from nasreg_bayes.brackets import Bracket, halving_bracket, hyperband_brackets
from nasreg_bayes.config import HalvingConfig, HyperbandConfig, SuccessiveHalvingConfig
from nasreg_bayes.sampler import Encoding, Observation, Sampler, draw


class Halving(MultiTrialMutator):
    """Proposes the architectures of one bracket after the other.

    Attributes:
        waiting: For each proposal that is left in this rung the earlier trial of its architecture; None for a new one.
        running: Ids of the proposals of this rung that are being evaluated.
        scored: Trials of this rung that have a score.
        members: Encodings of the architectures of this bracket.
        samplers: Choose architectures, each by the observations of a fidelity.
        observed: These observations.
        settled: Encodings that a surrogate does not choose again: evaluated with full effort, failed or rejected.
    """

    config: HalvingConfig

    @abstractmethod
    def brackets(self) -> Sequence[Bracket]:
        """Return the brackets, in their order."""

    def n_trials(self, bracket: Bracket) -> int:
        """Return the number of trials of a bracket; a rung has no more than the space has architectures."""
        return sum(min(rung.size, self.space.size()) for rung in bracket)

    def setup(self) -> None:
        """Begin with the first bracket."""
        self.samplers: dict[float, Sampler] = {}
        self.observed: dict[float, list[Observation]] = {}
        self.settled: set[Encoding] = set()
        self.n_brackets = 0
        self.next_bracket()

    def next_bracket(self) -> None:
        """Begin a bracket."""
        brackets = self.brackets()
        self.bracket = brackets[self.n_brackets % len(brackets)]
        self.n_brackets += 1
        self.rung = 0
        self.waiting: deque[Trial | None] = deque([None] * min(self.bracket[0].size, self.space.size()))
        self.running: set[int] = set()
        self.scored: list[Trial] = []
        self.members: set[Encoding] = set()

    def next_rung(self) -> None:
        """Let the best of this rung enter the next one; after the last begin a bracket."""
        self.rung += 1
        if self.rung == len(self.bracket) or not self.scored:
            self.next_bracket()
            return
        best = sorted(self.scored, key=attrgetter("score"), reverse=True)  # of equals the earlier one comes first
        self.waiting.extend(best[: self.bracket[self.rung].size])
        self.scored = []

    def propose(self) -> Proposal | None:
        """Return the next proposal of the rung; None while its last ones are being evaluated."""
        if not self.waiting:
            return None
        earlier = self.waiting.popleft()
        architecture = self.new_architecture() if earlier is None else earlier.architecture
        proposal = self.proposal(architecture, parent=earlier, fidelity=self.bracket[self.rung].fidelity)
        self.members.add(self.space.encode(architecture))
        self.running.add(proposal.id)
        return proposal

    def new_architecture(self) -> Architecture:
        """Return an architecture for the first rung that is not in this bracket yet."""
        enough = [level for level, each in self.observed.items() if _n_scored(each) >= self.config.initial]
        if self.config.sampler == "random" or not enough or self.rng.random() < self.config.random_fraction:
            return draw(self.space, self.rng, self.members)
        fidelity = max(enough)
        observed = self.observed[fidelity]
        sampler = self.samplers.setdefault(fidelity, Sampler(self.space, self.config))
        pending = self.members - {each.encoding for each in observed}
        return sampler.choose(self.rng, observed, sorted(pending), self.members | self.settled)

    def observe(self, trial: Trial) -> None:
        """Learn from a trial, and begin the next rung when this one has ended."""
        encoding = self.space.encode(trial.architecture)
        fidelity = trial.proposal.fidelity
        if trial.status != "rejected":
            self.observed.setdefault(fidelity, []).append(Observation(trial.architecture, encoding, trial.score))
        if fidelity == 1 or not trial.done:
            self.settled.add(encoding)
        if trial.id not in self.running:
            return  # an architecture that was given to the search beforehand
        self.running.remove(trial.id)
        if trial.done:
            self.scored.append(trial)
        elif trial.status == "rejected" and not self.rung and len(self.members) < self.space.size():
            self.waiting.append(None)
        if not self.waiting and not self.running:
            self.next_rung()


class SuccessiveHalving(Halving):
    """Brackets that are all the same."""

    config: SuccessiveHalvingConfig

    def brackets(self) -> Sequence[Bracket]:
        """Return the one bracket."""
        return [halving_bracket(self.config.architectures, self.config.eta, self.config.n_rungs)]


class Hyperband(Halving):
    """Brackets from many architectures with little effort to few with the full effort."""

    config: HyperbandConfig

    def brackets(self) -> Sequence[Bracket]:
        """Return the brackets, s from s_max down to 0."""
        return hyperband_brackets(self.config.max_resource, self.config.eta)


def _n_scored(observed: Sequence[Observation]) -> int:
    return sum(each.score is not None for each in observed)
