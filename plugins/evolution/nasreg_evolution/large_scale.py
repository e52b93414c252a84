"""Large-scale evolution: of two members that are drawn the worse dies, and the better has a mutated child.

Real, Moore, Selle, Saxena, Suematsu, Tan, Le, Kurakin: Large-Scale Evolution of Image Classifiers, arXiv 1703.01041.
Networks begin small; the learning rate evolves with them; a child starts from the weights of its parent where names and
shapes agree (``evaluator.inherit_weights``). The mutations are the paper's on the space ``elastic-chain``, and those
that correspond to them on any other space: see ``LargeScaleEvolution.kinds``. What differs: a block is inserted and
removed at the end of a chain, where no other block loses its weights, and its width, kernel and skip connections are
random; a number moves to the next smaller or larger one of its choice; no layer is inserted that computes the identity.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from nasreg.mutators import MultiTrialMutator
from nasreg.specs import (
    AnyChoiceSpec,
    Architecture,
    Decision,
    InputChoiceSpec,
    Proposal,
    RepeatSpec,
    Trial,
    ValueChoiceSpec,
)
from nasreg_evolution.config import LargeScaleEvolutionConfig

LEARNING_RATE, IDENTITY, RESET_WEIGHTS = "learning rate", "identity", "reset weights"
"""The mutations that change no decision: another learning rate, training on, training anew."""


class LargeScaleEvolution(MultiTrialMutator):
    """Holds tournaments of two.

    Attributes:
        population: The members; those that are being evaluated come later.
    """

    config: LargeScaleEvolutionConfig

    def setup(self) -> None:
        """Begin with no member."""
        self.population: list[Trial] = []

    def propose(self) -> Proposal | None:
        """Return a first member until the population is complete, then a child; None if there is nobody to draw yet."""
        running = self.n_proposed - self.n_observed
        missing = self.config.population - len(self.population) - running
        if missing > 0 and self.n_proposed < self.config.population:
            return self.proposal(self.first(), options=self._options(self.config.lr))
        if len(self.population) < 2:
            return None if running or not self.population else self.child(self.population[0])
        one, other = sorted(self.rng.sample(range(len(self.population)), 2), key=self._score)
        parent = self.population[other]
        if missing <= 0:  # a member whose child has failed dies no second time
            del self.population[one]
        return self.child(parent)

    def _score(self, place: int) -> Any:
        return self.population[place].score

    def observe(self, trial: Trial) -> None:
        """Add a trial with a score to the population."""
        if trial.done:
            self.population.append(trial)

    def first(self) -> Architecture:
        """Return the architecture of a first member; decisions of blocks that it does not have yet are random."""
        architecture = self.space.sample(self.rng)
        if self.config.initial == "random":
            return architecture
        depths = [choice for choice in self.space.choices if isinstance(choice, RepeatSpec)]
        shallow = self._with_smallest(architecture, depths)
        return self._with_smallest(shallow, self.space.choices_in_effect(shallow))

    def _with_smallest(self, architecture: Architecture, choices: Sequence[AnyChoiceSpec]) -> Architecture:
        small = {choice.key: _smallest(choice) for choice in choices}
        known = {key: decision for key, decision in small.items() if decision is not None}
        return self.space.architecture({**architecture.decisions, **known})

    def kinds(self, architecture: Architecture) -> Mapping[str, list[AnyChoiceSpec]]:
        """Return the kinds of mutations of an architecture: name -> the choices of which one changes.

        Choices whose keys differ in numbers only are one kind, such as the widths of all blocks, as far as they have an
        effect. The other kinds change no decision, and the learning rate is one of them where it evolves.
        """
        found: dict[str, list[AnyChoiceSpec]] = {IDENTITY: [], RESET_WEIGHTS: []}
        if self.config.lr is not None:
            found[LEARNING_RATE] = []
        for choice in self.space.choices_in_effect(architecture):
            if choice.domain.size > 1:
                found.setdefault(re.sub(r"\d+", "", choice.key), []).append(choice)
        return found

    def child(self, parent: Trial) -> Proposal:
        """Return a child with one mutation of a kind drawn uniformly."""
        architecture, lr = parent.architecture, parent.proposal.options.get("lr", self.config.lr)
        kinds = self.kinds(architecture)
        kind = self.rng.choice(list(kinds))
        options: dict[str, Any] = {}
        if kind == LEARNING_RATE:
            lr *= self.config.lr_factor ** self.rng.uniform(-1, 1)
        elif kind == RESET_WEIGHTS:
            options["inherit_weights"] = False
        elif kinds[kind]:
            choice = self.rng.choice(kinds[kind])
            decisions = {**architecture.decisions, choice.key: self.changed(choice, architecture.decisions[choice.key])}
            architecture = self.space.architecture(decisions)
        return self.proposal(architecture, parent=parent, options={**self._options(lr), **options})

    def changed(self, choice: AnyChoiceSpec, decision: Decision) -> Decision:
        """Return another decision of a choice: the next larger or smaller number, else one elementary change."""
        numbers = _numbers(choice)
        if numbers:
            place = numbers.index(decision)
            near: list[Decision] = [*numbers[max(place - 1, 0) : place], *numbers[place + 1 : place + 2]]
            return self.rng.choice(near)
        found: Decision = choice.domain.mutate(choice.domain.canonical(decision), self.rng)
        return found

    def _options(self, lr: float | None) -> dict[str, Any]:
        return {} if lr is None else {"lr": lr}


def _numbers(choice: AnyChoiceSpec) -> list[Any]:
    """Return the numbers that a choice is between, in ascending order; none where it is not between numbers."""
    if isinstance(choice, RepeatSpec):
        return list(choice.depths)
    if isinstance(choice, ValueChoiceSpec) and not any(isinstance(value, str) for value in choice.values):
        return sorted(choice.values, key=float)
    return []


def _smallest(choice: AnyChoiceSpec) -> Decision | None:
    """Return the smallest decision of a choice; None where no decision is smaller than another."""
    if isinstance(choice, InputChoiceSpec):
        return () if choice.min_chosen == 0 else None
    numbers = _numbers(choice)
    return numbers[0] if numbers else None
