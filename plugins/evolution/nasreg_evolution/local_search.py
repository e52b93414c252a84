"""Local search: climbs to a local optimum over the neighbours of an architecture, then starts anew.

White, Nolen, Savani: Exploring the Loss Landscape in Neural Architecture Search, arXiv 2005.02960, algorithm 1, as in
the authors' program (naszilla, ``local_search`` with ``stop_at_minimum``): neighbours are evaluated in random order, no
architecture twice, and a climb that finds no better neighbour is followed by one from new random architectures. With
several workers the neighbours that are already being evaluated when a better one is found count as neighbours of it.
"""

from __future__ import annotations

from nasreg.mutators import MultiTrialMutator
from nasreg.specs import Architecture, Proposal, Trial
from nasreg_evolution.config import LocalSearchConfig


class LocalSearch(MultiTrialMutator):
    """Climbs from random architectures to local optima.

    Attributes:
        current: Where the climb is; None until it has begun.
        better: The best trial since then that is better than ``current``.
        left: Architectures to evaluate next, the last one first: neighbours of ``current``, or before the climb those
            of which the best is its beginning.
        seen: The keys of all architectures that were proposed.
    """

    config: LocalSearchConfig

    def setup(self) -> None:
        """Draw where the first climb begins."""
        self.current: Trial | None = None
        self.better: Trial | None = None
        self.left: list[Architecture] = []
        self.seen: set[tuple[object, ...]] = set()
        self._restart()

    def propose(self) -> Proposal | None:
        """Return the next architecture, or None while the next step depends on trials that are not observed yet."""
        if not self.left:
            return None
        architecture = self.left.pop()
        self.seen.add(_key(architecture))
        return self.proposal(architecture, parent=self.current)

    def observe(self, trial: Trial) -> None:
        """Move to a better neighbour, or restart at a local optimum."""
        if _key(trial.architecture) not in self.seen:
            self._note_given(trial.architecture)
        if trial.is_better_than(self.better or self.current):
            self.better = trial
        whole = self.config.improvement == "best" or self.current is None
        if whole and (self.left or self._running):
            return
        if self.better is not None:
            self._climb(self.better)
        if not self.left and not self._running:  # a local optimum
            self._restart()

    @property
    def _running(self) -> bool:
        """Whether proposals are being evaluated."""
        return self.n_proposed > self.n_observed

    def _climb(self, trial: Trial) -> None:
        """Continue with the neighbours of a trial that were not evaluated yet, in random order."""
        self.current, self.better = trial, None
        self.left = [each for each in self.space.neighbours(trial.architecture) if _key(each) not in self.seen]
        self.rng.shuffle(self.left)

    def _restart(self) -> None:
        """Prepare a climb from random architectures that were not proposed yet; from none where all were."""
        self.current = self.better = None
        drawn: dict[tuple[object, ...], Architecture] = {}
        while len(drawn) < self.config.initial and len(drawn) + len(self.seen) < self.space.size():
            architecture = self.space.sample(self.rng)
            if _key(architecture) not in self.seen:
                drawn[_key(architecture)] = architecture
        self.left = list(drawn.values())

    def _note_given(self, architecture: Architecture) -> None:
        """Note an architecture that the user wanted to be evaluated first."""
        key = _key(self.space.canonical(architecture))
        self.seen.add(key)
        self.left = [each for each in self.left if _key(each) != key]


def _key(architecture: Architecture) -> tuple[object, ...]:
    """Return what tells an architecture in canonical order from the others."""
    return tuple(architecture.decisions.values())
