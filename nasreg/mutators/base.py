"""What a mutator is to the core, and what the author of a one-shot algorithm builds one on."""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import nn

from nasreg.errors import IncompatibleError
from nasreg.nn.choices import Answer
from nasreg.nn.extract import extract_space, named_choices
from nasreg.specs.architecture import Architecture
from nasreg.specs.base import Config
from nasreg.specs.space import NONE, CellSpec, InputChoiceSpec, LayerChoiceSpec, SearchSpaceSpec


class Mutator(ABC):
    """Decides the choices of a search space.

    Args:
        space: The search space.
        config: Options of the mutator.
    """

    def __init__(self, space: SearchSpaceSpec, config: Config) -> None:
        self.space = space
        self.config = config

    @abstractmethod
    def architecture(self) -> Architecture:
        """Return the architecture that the mutator holds to be best now."""

    def rng(self) -> random.Random:
        """Return a generator that is seeded anew from torch's, whose state is a part of every checkpoint."""
        return random.Random(int(torch.randint(2**62, ())))

    def weights(self) -> Mapping[str, Sequence[Mapping[str, float]]]:
        """Return the weight of every candidate now, for reports; nothing in an algorithm that has no such weights.

        Returns:
            Key of a choice -> rows of candidate name -> weight: for a cell a row for each edge, else one row.
            Candidates that are no longer there are left out.
        """
        return {}

    def strengths(self) -> Mapping[str, tuple[float, ...]]:
        """Return how strong each edge (cell) or the best candidate (layer, input) is held to be; for reports.

        It is the largest of ``weights``, on an edge of a cell the largest but for ``none``'s.
        """
        cut = {choice.key: NONE if isinstance(choice, CellSpec) else None for choice in self.space.choices}
        return {
            key: tuple(max((row[name] for name in row if name != cut[key]), default=0.0) for row in rows)
            for key, rows in self.weights().items()
        }

    @abstractmethod
    def state_dict(self) -> dict[str, Any]:
        """Return what a checkpoint keeps: numbers, strings, tensors, and lists and dicts of them."""

    @abstractmethod
    def load_state_dict(self, state: dict[str, Any]) -> Any:
        """Set what ``state_dict`` returned."""


class OneShotMutator(nn.Module, Mutator):
    """Answers each choice during the forward pass of a supernet, and derives an architecture.

    It is an ``nn.Module`` so that its own parameters (the alphas of DARTS, a controller) move, save and load as any
    others; it is never a part of the model, so that they are not among the model's weights.

    Args:
        space: The search space.
        config: Options of the mutator.
    """

    def __init__(self, space: SearchSpaceSpec, config: Config) -> None:
        nn.Module.__init__(self)
        Mutator.__init__(self, space, config)

    @abstractmethod
    def answer(self, choice: LayerChoiceSpec | InputChoiceSpec | CellSpec) -> Answer:
        """Decide a choice; called in each forward pass, once for each module that has the choice's key.

        Returns:
            A decision (only what is chosen is computed), or weights: a tensor ``(n,)`` over the candidates of a layer
            or the inputs of an input choice; for a cell, ``(edges, candidates)`` or one such vector per edge.
        """

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
