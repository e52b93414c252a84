"""The base class of mutators, which decide the choices of a search space, and that of one-shot mutators."""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.utils.hooks import RemovableHandle

from nasreg.errors import IncompatibleError
from nasreg.nn.answers import Answer
from nasreg.nn.extract import extract_space, named_choices
from nasreg.specs.architecture import Architecture
from nasreg.specs.base import Config
from nasreg.specs.space import NONE, AnyChoiceSpec, CellSpec, SearchSpaceSpec


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
        """Return the best architecture so far."""

    def weights(self) -> Mapping[str, Sequence[Mapping[str, float]]]:
        """Return the present weight of every candidate, for reports; empty in an algorithm without such weights.

        Returns:
            Key of a choice -> rows of candidate name -> weight: for a cell a row for each edge, else one row.
            Candidates that were dropped are left out.
        """
        return {}

    def strengths(self) -> Mapping[str, tuple[float, ...]]:
        """Return the strength of each edge (cell) or of the best candidate (any other choice), for reports.

        It is the largest of ``weights``; on an edge of a cell ``none`` does not count where it cannot be chosen.
        """
        cut = {
            choice.key: NONE if isinstance(choice, CellSpec) and not choice.none_selectable else None
            for choice in self.space.choices
        }
        return {
            key: tuple(max((row[name] for name in row if name != cut[key]), default=0.0) for row in rows)
            for key, rows in self.weights().items()
        }

    def diagnostics(self, architecture: Architecture) -> Mapping[str, float]:
        """Return figures that show how a search goes, by name, for reports; none by default.

        Args:
            architecture: The architecture of the present epoch.
        """
        del architecture
        return {}

    def warnings(self, architecture: Architecture) -> Sequence[str]:
        """Return warnings about the architecture of the present epoch, one sentence each; none by default."""
        del architecture
        return ()


class OneShotMutator(nn.Module, Mutator):
    """Answers each choice during the forward pass of a supernet, and derives an architecture.

    It is an ``nn.Module`` so that its own parameters (the alphas of DARTS, a controller) move, save and load as any
    others; it is never a part of the model, so that they are not among the model's weights.

    Args:
        space: The search space.
        config: Options of the mutator.

    Attributes:
        asked: Keys of the choices that it has answered for a model that it is attached to.
    """

    def __init__(self, space: SearchSpaceSpec, config: Config) -> None:
        nn.Module.__init__(self)
        Mutator.__init__(self, space, config)
        self.asked: set[str] = set()

    @property
    def rng(self) -> random.Random:
        """A new generator, seeded from torch's, whose state is part of every checkpoint."""
        return random.Random(int(torch.randint(2**62, ())))

    def start_epoch(self, epoch: int, epochs: int) -> None:  # nothing to do is a good default
        """Follow a schedule, such as of a temperature; called before the first step of an epoch, also when resumed.

        Args:
            epoch: The epoch, counted from 0 as in the formulas of schedules; events count from 1.
            epochs: All epochs of the schedule.
        """

    def resample(self) -> None:
        """Prepare the answers of one forward pass, such as by sampling an architecture; does nothing by default.

        It is called once when a forward pass of the model begins that the mutator is attached to, before any
        ``answer``, and not again when activation checkpointing computes a choice once more in the backward pass.
        """

    @abstractmethod
    def answer(self, choice: AnyChoiceSpec) -> Answer:
        """Return the answer to a choice; called in each forward pass, by each module that has the choice's key.

        A value or a depth is asked for whenever a module reads it, and must not change within a forward pass.

        Returns:
            A decision (only what is chosen is computed); a tensor ``(n,)`` with the weights of all candidates of a
            layer or inputs of an input choice; or a mapping from the names of some of them to scalar weights (only
            those are computed). For a cell, ``(edges, candidates)``, one such tensor or mapping per edge, or
            ``CellWeights``, which has weights of the edges, too. For a value or a depth, a decision.
        """

    def attach(self, model: nn.Module) -> None:
        """Answer the choices of ``model`` from now on, in place of any other mutator.

        Raises:
            IncompatibleError: The model has another search space.
        """
        if extract_space(model).fingerprint != self.space.fingerprint:
            raise IncompatibleError("the model has another search space than the one the mutator was made for")
        self.detach(model)
        for key, _, choice, _ in named_choices(model):
            choice.bind(partial(self._answer, self.space[key]))
        hook = _Resample(self)
        hook.handle = model.register_forward_pre_hook(hook)

    def _answer(self, choice: AnyChoiceSpec) -> Answer:
        self.asked.add(choice.key)
        return self.answer(choice)

    def detach(self, model: nn.Module) -> None:
        """Leave the choices of ``model`` undecided again."""
        for _, _, choice, _ in named_choices(model):
            choice.bind(None)
        for hook in list(model._forward_pre_hooks.values()):  # torch lists hooks nowhere else
            if isinstance(hook, _Resample) and hook.handle is not None:
                hook.handle.remove()


class _Resample:
    """The forward pre-hook of a model that a mutator is attached to."""

    def __init__(self, mutator: OneShotMutator) -> None:
        self._mutator: OneShotMutator | None = mutator
        self.handle: RemovableHandle | None = None

    def __call__(self, *_: Any) -> None:
        if self._mutator is not None:
            self._mutator.resample()

    def __getstate__(self) -> dict[str, Any]:
        # A copied or pickled model is undecided: the mutator belongs to the original.
        return {"_mutator": None, "handle": None}
