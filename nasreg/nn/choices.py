"""The base of all choices, and ``LayerChoice`` and ``Scope``.

A choice knows no algorithm. While a mutator is attached, each forward pass asks it for an answer (``Answer``): a
decision, so that only what is chosen is computed, or weights of candidates, which are computed and added up.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, ClassVar, TypeVar, cast

import torch
from torch import Tensor, fx, nn

from nasreg.errors import ConfigError, SpaceError, UndecidedError
from nasreg.nn.answers import Answer, computed_candidates
from nasreg.nn.candidates import CandidateDict, ModuleFactory
from nasreg.nn.checkpointing import checkpointed
from nasreg.nn.execution import Execution, add_zero, match_layout, new_mixture, shared_input, to_fast_layout
from nasreg.nn.mixture import Mixture, Part, call_candidate
from nasreg.nn.sites import CandidateSite
from nasreg.specs.base import Spec, parse
from nasreg.specs.choices import LayerChoiceSpec, RepeatSpec, ValueChoiceSpec
from nasreg.specs.space import AnyChoiceSpec

S = TypeVar("S", bound=Spec)

UNCHECKPOINTED_EVERY = 3
"""With activation checkpointing, one of this many choices is not checkpointed."""


class Choice(nn.Module, ABC):
    """Base of all choices.

    Args:
        key: Name of the decision. Choices with the same key share it. By default it is the module's path in the model.

    Attributes:
        has_candidates: Whether it computes candidates, which activation checkpointing may do again.
        keeps_first_key: Whether it has the key of the first place in which modules hold it, also in other scopes.
        may_nest: Whether other choices may be inside of it.
    """

    has_candidates: ClassVar[bool] = True
    keeps_first_key: ClassVar[bool] = False
    may_nest: ClassVar[bool] = False

    def __init__(self, key: str | None = None) -> None:
        super().__init__()
        self.key = key
        self.execution = Execution()
        self._source: Callable[[], Answer] | None = None

    @property
    def label(self) -> str:
        """Class and key, for error messages."""
        return f"{type(self).__name__} {self.key!r}" if self.key else type(self).__name__

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Ask for the answer, and compute the choice accordingly."""
        answer = self.answer()
        if self.execution.checkpoint and self.training and torch.is_grad_enabled():
            return checkpointed(self, partial(self.compute, answer), args, kwargs)
        return self.compute(answer, *args, **kwargs)

    @abstractmethod
    def compute(self, answer: Answer, *args: Any, **kwargs: Any) -> Any:
        """Compute the choice for a given answer."""

    def bind(self, source: Callable[[], Answer] | None) -> None:
        """Set the function that answers in forward passes (None: no one). Mutators call this to attach and detach."""
        self._source = source

    def answer(self) -> Answer:
        """Ask for the answer of this forward pass.

        Raises:
            UndecidedError: No mutator is attached.
        """
        if self._source is None:
            raise UndecidedError(
                f"{self.label} was called, but nothing decides it: attach a mutator to the model"
                " (mutator.attach(model)), search with nasreg.search(model, ...), or make a plain model with"
                " nasreg.nn.freeze(model, architecture)"
            )
        return self._source()

    def __getstate__(self) -> dict[str, Any]:
        # A copied or pickled model is undecided: the mutator belongs to the original.
        return {**self.__dict__, "_source": None}

    @abstractmethod
    def spec(self, key: str, paths: tuple[str, ...]) -> AnyChoiceSpec:
        """Return the description of this choice under its full key."""

    @abstractmethod
    def materialize(self, decision: Any) -> nn.Module:
        """Return the plain module that a decision stands for, with the weights of this choice."""

    def used_modules(self, decision: Any) -> Iterable[nn.Module]:
        """Return the children that a decision computes, of a choice that may contain other choices."""
        return self.children()

    def candidate_modules(self, key: str, path: str) -> Iterator[tuple[CandidateSite, nn.ModuleDict]]:
        """Yield the site of each candidate that is a module, and the dictionary that holds it by its name.

        Args:
            key: Full key of the choice.
            path: Name of the choice among the modules of the model.
        """
        yield from ()


class LayerChoice(Choice):
    """A choice of exactly one of several modules with the same inputs and the same output shape.

    Args:
        candidates: The modules, as a list (named "0", "1", ...) or by name. A factory, which takes no arguments and
            returns a new module, saves the time and memory of those that are not chosen; see ``deferred_candidates``.
        key: Name of the decision; see ``Choice``.

    Raises:
        SpaceError: There is no candidate, a name is empty or contains a dot, or a factory returns no new module.

    Example:
        ``LayerChoice({f"conv{k}": partial(nn.Conv2d, 8, 8, k, padding="same") for k in (3, 5)}, key="conv")``
    """

    def __init__(
        self,
        candidates: Mapping[str, nn.Module | ModuleFactory] | Iterable[nn.Module | ModuleFactory],
        key: str | None = None,
    ) -> None:
        super().__init__(key)
        if not isinstance(candidates, Mapping):
            candidates = {str(number): candidate for number, candidate in enumerate(candidates)}
        self.candidates = CandidateDict(f"LayerChoice {key!r}", candidates)
        if not candidates:
            raise SpaceError(f"LayerChoice {key!r} has no candidates")

    def compute(self, answer: Any, *args: Any, **kwargs: Any) -> Any:
        """Compute the chosen candidate, or the weighted sum of those that have a weight.

        Raises:
            SpaceError: The answer does not fit, outputs of weighted candidates differ in shape, or a candidate alters
                its input in place.
        """
        if isinstance(answer, str):
            return call_candidate(self.label, Part(answer), self.candidates[answer], *args, **kwargs)
        weights, zero = computed_candidates(self.label, tuple(self.candidates), answer)
        if not weights:
            raise SpaceError(f"{self.label} got no weight for any candidate: it needs one at least")
        if len(args) == 1 and not kwargs and isinstance(args[0], Tensor):
            mixture = new_mixture(self.execution, self.label)
            x = shared_input(self.execution, to_fast_layout(self.execution, args[0]))
            for name, weight in weights:
                mixture.add(Part(name), weight, self.candidates[name], x)
            total = cast("Tensor", mixture.result())
            if zero is not None:
                total = add_zero(self.execution, total, zero)
            return match_layout(self.execution, total, args[0])
        mixture = Mixture(self.label)
        for name, weight in weights:
            part = Part(name)
            mixture.add_tensor(part, weight, call_candidate(self.label, part, self.candidates[name], *args, **kwargs))
        return mixture.result() if zero is None else cast("Tensor", mixture.result()) + zero

    def spec(self, key: str, paths: tuple[str, ...]) -> LayerChoiceSpec:
        """Return the description of this choice under its full key."""
        return checked(LayerChoiceSpec, key=key, paths=paths, candidates=tuple(self.candidates))

    def materialize(self, decision: str) -> nn.Module:
        """Return the chosen candidate itself."""
        return self.candidates.built(decision)

    def candidate_modules(self, key: str, path: str) -> Iterator[tuple[CandidateSite, nn.ModuleDict]]:
        """Yield the site of each candidate, and the dictionary that holds it."""
        for name in self.candidates:
            yield CandidateSite(key, path, join_path(path, "candidates", name), name), self.candidates


class Scope(nn.Module):
    """A prefix for the keys of all choices inside a module, which become a group of the search space.

    Two scopes of the same name share their decisions; two of different names do not, even if the modules inside have
    choices with the same keys.

    Args:
        key: The prefix, joined with ``/``.
        module: The module.
    """

    def __init__(self, key: str, module: nn.Module) -> None:
        super().__init__()
        self.key = key
        self.module = module

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Compute the module."""
        return self.module(*args, **kwargs)


def set_execution(model: nn.Module, execution: Execution) -> None:
    """Set how the choices of a model compute weighted sums of candidates; it has no effect on the results.

    With activation checkpointing, one of ``UNCHECKPOINTED_EVERY`` choices, counted from the last, keeps its
    activations: the backward pass starts with the last choice, when memory is at its peak anyway, and the others save
    the time of computing them again.
    """
    choices = [module for module in model.modules() if isinstance(module, Choice) and module.has_candidates]
    for position, choice in enumerate(reversed(choices)):
        checkpoint = execution.checkpoint and position % UNCHECKPOINTED_EVERY != 0
        choice.execution = replace(execution, checkpoint=checkpoint)


def add_all(graph: fx.Graph, nodes: Sequence[fx.Node]) -> fx.Node:
    """Add the sum of ``nodes`` to an fx graph, and return its node."""
    total = nodes[0]
    for node in nodes[1:]:
        total = graph.call_function(torch.add, (total, node))
    return total


def join_path(*names: str) -> str:
    """Return a module path of the names that are not empty."""
    return ".".join(name for name in names if name)


def decided(label: str, spec: ValueChoiceSpec | RepeatSpec, answer: Any) -> Any:
    """Return an answer that must be a decision.

    Raises:
        SpaceError: It is no decision of the choice.
    """
    if isinstance(answer, Tensor | Mapping):
        raise SpaceError(f"{label} got weights: it takes a decision, one of {', '.join(spec.names)}")
    if problem := spec.problem(answer):
        raise SpaceError(f"{label}: {problem}")
    return answer


def checked(model: type[S], **values: Any) -> S:
    """Return a spec with some values.

    Raises:
        SpaceError: The values are invalid.
    """
    try:
        return parse(model, values, "")
    except ConfigError as error:
        raise SpaceError(str(error)) from error
