"""The base of differentiable algorithms that sample their weights: one sample per choice and forward pass."""

from __future__ import annotations

from abc import abstractmethod

from nasreg.mutators.config import SoftmaxMutatorConfig
from nasreg.mutators.differentiable import SoftmaxMutator
from nasreg.nn.answers import Answer
from nasreg.specs.space import AnyChoiceSpec, SearchSpaceSpec


class SamplingMutator(SoftmaxMutator):
    """Answers with a sample that depends on the architecture parameters.

    All modules with the key of a choice get the same sample in a forward pass. Architectures are derived from
    ``probabilities``, without sampling.

    Args:
        space: The search space.
        config: Options.
    """

    def __init__(self, space: SearchSpaceSpec, config: SoftmaxMutatorConfig) -> None:
        super().__init__(space, config)
        self._answers: dict[str, Answer] = {}

    def resample(self) -> None:
        """Forget the samples of the last forward pass."""
        self._answers = {}

    def candidate_weights(self, choice: AnyChoiceSpec) -> Answer:
        """Return the sample of this forward pass, which is drawn when the choice is asked for first."""
        if choice.key not in self._answers:
            self._answers[choice.key] = self.draw(choice)
        return self._answers[choice.key]

    @abstractmethod
    def draw(self, choice: AnyChoiceSpec) -> Answer:
        """Draw an answer to a choice."""
