"""The choices a user writes into a model: ``LayerChoice``, ``InputChoice``, ``Scope`` (``Cell`` has a file of its own).

A choice knows no algorithm. While a mutator is attached, each forward pass asks for an answer, which is either a
decision (only what is chosen is computed) or a vector of weights (every candidate is computed and mixed).
"""

from __future__ import annotations

import operator
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from typing import Any, TypeVar, cast

import torch
from torch import Tensor, fx, nn
from torch.autograd import forward_ad
from torch.utils.checkpoint import checkpoint

from nasreg.errors import ConfigError, SpaceError, UndecidedError
from nasreg.nn.functional import call_with
from nasreg.nn.layers import FastLayers, active
from nasreg.nn.mixture import Execution, Mixture, Source, as_format, fast_format
from nasreg.specs.architecture import Decision, InputDecision
from nasreg.specs.base import Spec, parse
from nasreg.specs.space import CellSpec, InputChoiceSpec, LayerChoiceSpec, Reduction

S = TypeVar("S", bound=Spec)

KEPT_OF = 3
"""With activation checkpoints, one of so many choices has none."""

Answer = Tensor | Sequence[Tensor] | Decision
"""What a mutator answers: a decision, weights of the candidates (layer, input), or weights per edge (cell)."""


class Choice(nn.Module, ABC):
    """Base of all choices.

    Args:
        key: Name of the decision. Choices with the same key share it. Without a key the place in the model is the name.
    """

    def __init__(self, key: str | None = None) -> None:
        super().__init__()
        self.key = key
        self.execution = Execution()
        self._source: Callable[[], Answer] | None = None

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Ask for the answer, and compute what it says."""
        answer = self.answer()
        if self.execution.checkpoint and self.training and torch.is_grad_enabled():
            return _checkpointed(self, answer, args, kwargs)
        return self.compute(answer, *args, **kwargs)

    @abstractmethod
    def compute(self, answer: Answer, *args: Any, **kwargs: Any) -> Any:
        """Compute what an answer says."""

    def bind(self, source: Callable[[], Answer] | None) -> None:
        """Set who is asked in the forward pass (None: nobody). Mutators call this when they attach and detach."""
        self._source = source

    def answer(self) -> Answer:
        """Ask for the answer of this forward pass.

        Raises:
            UndecidedError: No mutator is attached.
        """
        if self._source is None:
            name = f" {self.key!r}" if self.key else ""
            raise UndecidedError(
                f"{type(self).__name__}{name} was called, but nothing decides it: attach a mutator to the model"
                " (mutator.attach(model)), search with nasreg.search(model, ...), or make a plain model with"
                " nasreg.nn.freeze(model, architecture)"
            )
        return self._source()

    def __getstate__(self) -> dict[str, Any]:
        # A copied or pickled model starts with nobody to ask: the mutator belongs to the original.
        return {**self.__dict__, "_source": None}

    @abstractmethod
    def spec(self, key: str, paths: tuple[str, ...]) -> LayerChoiceSpec | InputChoiceSpec | CellSpec:
        """Describe this choice under its full key."""

    @abstractmethod
    def frozen(self, decision: Any) -> nn.Module:
        """Return the plain module that computes what was decided, with the weights of this choice."""


class LayerChoice(Choice):
    """Exactly one of several modules with the same inputs and the same output shape.

    Args:
        candidates: The modules, in a list (named "0", "1", ...) or by name.
        key: Name of the decision; see ``Choice``.

    Raises:
        SpaceError: There is no candidate, or a name has a dot or is empty.

    Example:
        ``LayerChoice({"conv3": nn.Conv2d(8, 8, 3, padding=1), "conv5": nn.Conv2d(8, 8, 5, padding=2)}, key="conv")``
    """

    def __init__(self, candidates: Mapping[str, nn.Module] | Iterable[nn.Module], key: str | None = None) -> None:
        super().__init__(key)
        if not isinstance(candidates, Mapping):
            candidates = {str(number): module for number, module in enumerate(candidates)}
        self.candidates = module_dict(candidates, f"LayerChoice {key!r}")

    def compute(self, answer: Answer, *args: Any, **kwargs: Any) -> Any:
        """Compute the chosen candidate, or the weighted sum of all."""
        if isinstance(answer, str):
            return self.candidates[answer](*args, **kwargs)
        weights = cast("Tensor", answer)
        if len(args) != 1 or kwargs or not isinstance(args[0], Tensor) or not is_optimized(self.execution):
            return mix(weights, (module(*args, **kwargs) for module in self.candidates.values()))
        mixture, source = Mixture(self.execution), Source(fast_format(args[0]))
        for weight, module in zip(weights.unbind(), self.candidates.values(), strict=True):
            mixture.add(weight, module, source)
        return as_format(mixture.total, args[0])

    def spec(self, key: str, paths: tuple[str, ...]) -> LayerChoiceSpec:
        """Describe this choice under its full key."""
        return checked(LayerChoiceSpec, key=key, paths=paths, candidates=tuple(self.candidates))

    def frozen(self, decision: str) -> nn.Module:
        """Return the chosen candidate itself."""
        return self.candidates[decision]


class InputChoice(Choice):
    """Some of several inputs, joined.

    Args:
        n_candidates: Number of inputs; ``forward`` then takes a list of so many tensors.
        choose_from: Names of the inputs instead, such as the keys of the choices that they come from; ``forward`` then
            takes a mapping that has them.
        n_chosen: How many are chosen; None for any number, also none of them (which gives zeros).
        reduction: ``sum`` or ``mean`` of the chosen, ``concat`` along dimension 1, or ``none`` for their list.
        key: Name of the decision; see ``Choice``.

    Raises:
        SpaceError: The arguments contradict each other.
    """

    def __init__(
        self,
        n_candidates: int | None = None,
        *,
        choose_from: Sequence[str] | None = None,
        n_chosen: int | None = 1,
        reduction: Reduction = "sum",
        key: str | None = None,
    ) -> None:
        super().__init__(key)
        if (n_candidates is None) == (choose_from is None):
            raise SpaceError(f"InputChoice {key!r}: give either n_candidates or choose_from")
        self.by_name = choose_from is not None
        self.names = tuple(map(str, choose_from if choose_from is not None else range(n_candidates or 0)))
        self.n_chosen = n_chosen
        self.reduction: Reduction = reduction
        self.spec(key or "input", ())  # what contradicts itself is told where it is written

    def compute(self, answer: Answer, inputs: Sequence[Tensor] | Mapping[str, Tensor]) -> Any:
        """Join the chosen inputs, or the weighted sum of all.

        Args:
            answer: What says which.
            inputs: A list of ``n_candidates`` tensors, or a mapping with the names in ``choose_from``. For ``sum`` and
                ``mean`` they have one shape; for ``concat`` they may differ in dimension 1.

        Raises:
            SpaceError: Other inputs than declared.
        """
        tensors = self._tensors(inputs)
        if isinstance(answer, Tensor):
            return self._mixed(answer, tensors)
        decision = cast("InputDecision", answer)
        return _join([tensors[name] for name in decision], self.reduction, next(iter(tensors.values())))

    def _mixed(self, weights: Tensor, tensors: Mapping[str, Tensor]) -> Tensor:
        if not is_optimized(self.execution):
            return mix(weights, tensors.values())
        mixture = Mixture(self.execution)
        for weight, tensor in zip(weights.unbind(), tensors.values(), strict=True):
            mixture.add_tensor(weight, tensor)
        return mixture.total

    def _tensors(self, inputs: Sequence[Tensor] | Mapping[str, Tensor]) -> dict[str, Tensor]:
        what = f"InputChoice {self.key or ''!r}"
        if self.by_name:
            if not isinstance(inputs, Mapping) or not set(self.names) <= set(inputs):
                raise SpaceError(f"{what} takes a mapping with {', '.join(self.names)}")
            return {name: inputs[name] for name in self.names}
        if isinstance(inputs, Mapping | Tensor) or len(inputs) != len(self.names):
            raise SpaceError(f"{what} takes a list of {len(self.names)} tensors")
        return dict(zip(self.names, inputs, strict=True))

    def spec(self, key: str, paths: tuple[str, ...]) -> InputChoiceSpec:
        """Describe this choice under its full key."""
        return checked(
            InputChoiceSpec,
            key=key,
            paths=paths,
            candidates=self.names,
            n_chosen=self.n_chosen,
            reduction=self.reduction,
        )

    def frozen(self, decision: InputDecision) -> nn.Module:
        """Return a module that takes the same inputs and joins those that were chosen."""
        graph = fx.Graph()
        inputs = graph.placeholder("inputs")

        def pick(name: str) -> fx.Node:
            index = name if self.by_name else self.names.index(name)
            return graph.call_function(operator.getitem, (inputs, index))

        chosen = [pick(name) for name in decision]
        output: Any
        if self.reduction == "none":
            output = chosen
        elif not chosen:
            output = graph.call_function(torch.zeros_like, (pick(self.names[0]),))
        elif self.reduction == "concat":
            output = graph.call_function(torch.cat, (chosen, 1))
        else:
            output = add_all(graph, chosen)
            if self.reduction == "mean":
                output = graph.call_function(torch.div, (output, len(chosen)))
        graph.output(output)
        return fx.GraphModule(nn.Module(), graph)


class Scope(nn.Module):
    """Gives the keys of all choices inside a module a prefix, and makes them a group of the search space.

    Two scopes of the same name share their decisions; two of different names do not, although the modules inside are
    written with the same keys.

    Args:
        key: The prefix, joined with ``/``.
        module: What is computed.
    """

    def __init__(self, key: str, module: nn.Module) -> None:
        super().__init__()
        self.key = key
        self.module = module

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Compute the module."""
        return self.module(*args, **kwargs)


def mix(weights: Tensor, outputs: Iterable[Tensor]) -> Tensor:
    """Return the sum of ``outputs``, each times its weight (a mixed operation: DARTS, arXiv 1806.09055, equation 2).

    Args:
        weights: ``(n,)``.
        outputs: n tensors of one shape.
    """
    total: Tensor | None = None
    for weight, output in zip(weights.unbind(), outputs, strict=True):
        part = weight * output
        total = part if total is None else total + part
    assert total is not None  # noqa: S101  # every choice has at least one candidate
    return total


def set_execution(model: nn.Module, execution: Execution) -> None:
    """Say how the choices of a model compute weighted sums of candidates; it has no effect on the results.

    With checkpoints, one choice of ``KEPT_OF``, the last among them, keeps its activations all the same: the backward
    pass begins with the last, when as much memory is taken anyway, and the others pay for the time it would take.
    """
    choices = [module for module in model.modules() if isinstance(module, Choice)]
    for place, choice in enumerate(reversed(choices)):
        choice.execution = replace(execution, checkpoint=execution.checkpoint and place % KEPT_OF != 0)


def is_optimized(execution: Execution) -> bool:
    """Return whether to compute in the optimised way, which cannot be compiled or transformed by functorch."""
    transformed = torch._C._are_functorch_transforms_active() or forward_ad._current_level >= 0
    return execution.optimized and not transformed and not torch.compiler.is_compiling()


def _checkpointed(choice: Choice, answer: Answer, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Compute a choice so that only its inputs are kept for the backward pass."""
    # In the backward pass the parameters may be others (``call_with``), and the buffers must not change again.
    whole = _Compute(choice)
    state, buffers = dict(whole.named_parameters()), dict(whole.named_buffers())
    calls, fast = 0, active()

    def compute(*args: Any, **kwargs: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 1:
            return choice.compute(answer, *args, **kwargs)
        copies = {name: buffer.clone() for name, buffer in buffers.items()}
        with FastLayers(keep=fast.keep) if fast else nullcontext():
            return call_with(whole, {**state, **copies}, answer, *args, **kwargs)

    return checkpoint(compute, *args, use_reentrant=False, **kwargs)


class _Compute(nn.Module):
    """Makes ``Choice.compute`` the forward pass, for ``call_with``."""

    def __init__(self, choice: Choice) -> None:
        super().__init__()
        self.choice = choice

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return self.choice.compute(*args, **kwargs)


def _join(chosen: list[Tensor], reduction: Reduction, like: Tensor) -> Any:
    if reduction == "none":
        return chosen
    if not chosen:
        return torch.zeros_like(like)
    if reduction == "concat":
        return torch.cat(chosen, 1)
    total = chosen[0]
    for tensor in chosen[1:]:
        total = total + tensor
    return total / len(chosen) if reduction == "mean" else total


def add_all(graph: fx.Graph, nodes: Sequence[fx.Node]) -> fx.Node:
    """Write the sum of ``nodes`` into an fx graph."""
    total = nodes[0]
    for node in nodes[1:]:
        total = graph.call_function(torch.add, (total, node))
    return total


def module_dict(modules: Mapping[str, nn.Module], what: str) -> nn.ModuleDict:
    """Make a ``ModuleDict``, with errors that name the choice.

    Raises:
        SpaceError: A name that torch cannot hold, or no module.
    """
    for name, module in modules.items():
        if not name or "." in name or hasattr(nn.ModuleDict, name):
            raise SpaceError(f"{what}: torch cannot hold a module named {name!r}; choose another name, without dots")
        if not isinstance(module, nn.Module):
            raise SpaceError(f"{what}: candidate {name!r} is a {type(module).__name__}, not an nn.Module")
    if not modules:
        raise SpaceError(f"{what} has no candidates")
    return nn.ModuleDict(modules)


def checked(model: type[S], **values: Any) -> S:
    """Make a spec; what contradicts itself is a ``SpaceError``."""
    try:
        return parse(model, values, "")
    except ConfigError as error:
        raise SpaceError(str(error)) from error
