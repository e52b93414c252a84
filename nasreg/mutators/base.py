"""What the author of a one-shot algorithm builds a mutator on: something that answers every choice of a supernet."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from functools import partial

from torch import nn

from nasreg.errors import IncompatibleError
from nasreg.nn.choices import Answer
from nasreg.nn.extract import extract_space, named_choices
from nasreg.specs.architecture import Architecture
from nasreg.specs.base import Config
from nasreg.specs.space import CellSpec, InputChoiceSpec, LayerChoiceSpec, SearchSpaceSpec


class OneShotMutator(nn.Module, ABC):
    """Answers each choice during the forward pass of a supernet, and derives an architecture.

    It is an ``nn.Module`` so that its own parameters (the alphas of DARTS, a controller) move, save and load as any
    others; it is never a part of the model, so that they are not among the model's weights.

    Args:
        space: The search space.
        config: Options of the mutator.
    """

    def __init__(self, space: SearchSpaceSpec, config: Config) -> None:
        super().__init__()
        self.space = space
        self.config = config

    @abstractmethod
    def answer(self, choice: LayerChoiceSpec | InputChoiceSpec | CellSpec) -> Answer:
        """Decide a choice; called in each forward pass, once for each module that has the choice's key.

        Returns:
            A decision (only what is chosen is computed), or weights: a tensor ``(n,)`` over the candidates of a layer
            or the inputs of an input choice; for a cell, ``(edges, candidates)`` or one such vector per edge.
        """

    @abstractmethod
    def architecture(self) -> Architecture:
        """Derive the architecture that the mutator holds to be best now."""

    def strengths(self) -> Mapping[str, tuple[float, ...]]:
        """Return how strong each edge (cell) or the best candidate (layer, input) is held to be; for reports."""
        return {}

    def attach(self, model: nn.Module) -> None:
        """Answer the choices of ``model`` from now on.

        Raises:
            IncompatibleError: The model has another search space.
        """
        if extract_space(model).fingerprint != self.space.fingerprint:
            raise IncompatibleError("the model has another search space than the one the mutator was made for")
        for key, _, choice, _ in named_choices(model):
            choice.bind(partial(self.answer, self.space[key]))

    def detach(self, model: nn.Module) -> None:
        """Leave the choices of ``model`` undecided again."""
        for _, _, choice, _ in named_choices(model):
            choice.bind(None)
