"""A one-shot mutator that draws paths of a supernet uniformly (Guo et al., arXiv 1904.00420, section 3.2)."""

from __future__ import annotations

from nasreg.mutators.base import OneShotMutator
from nasreg.nn.answers import Answer
from nasreg.specs.architecture import Architecture
from nasreg.specs.base import Config
from nasreg.specs.space import AnyChoiceSpec, SearchSpaceSpec


class UniformMutator(OneShotMutator):
    """Lets a supernet compute one path at a time: an architecture drawn uniformly, each choice on its own.

    It learns nothing. A trainer calls ``draw`` once for each step, so that all pieces of a batch take the same path.

    Args:
        space: The search space.
        config: Options of the mutator; there are none.
    """

    def __init__(self, space: SearchSpaceSpec, config: Config | None = None) -> None:
        super().__init__(space, config or Config())
        self._path: Architecture | None = None

    def draw(self) -> Architecture:
        """Draw the path of the next forward passes, and return it."""
        self.take(self.space.sample(self.rng))
        return self.architecture()

    def take(self, path: Architecture) -> None:
        """Take a given path, until the next one is drawn."""
        self._path = path

    def answer(self, choice: AnyChoiceSpec) -> Answer:
        """Return the decision of the path."""
        decision: Answer = self.architecture().decisions[choice.key]
        return decision

    def architecture(self) -> Architecture:
        """Return the path that was drawn last."""
        return self.draw() if self._path is None else self._path
