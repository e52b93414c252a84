"""A choice of some of several tensors, which are then joined."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, fx, nn

from nasreg.errors import SpaceError
from nasreg.nn.answers import named_weights
from nasreg.nn.candidates import CandidateDict
from nasreg.nn.choices import Choice, add_all, checked
from nasreg.nn.execution import new_mixture
from nasreg.nn.mixture import Part, call_candidate
from nasreg.specs.architecture import InputDecision
from nasreg.specs.space import InputChoiceSpec, Reduction


class InputChoice(Choice):
    """A choice of some of several inputs, which are then joined.

    Args:
        n_candidates: Number of inputs; ``forward`` then takes a list of that many tensors.
        choose_from: Instead, names of the inputs, such as the keys of the choices that they come from; ``forward`` then
            takes a mapping that has them.
        n_chosen: Number of inputs to choose; None for any number, including none (the output is zeros then).
        reduction: ``sum`` or ``mean`` of the chosen inputs, ``concat`` along dimension 1, or ``none`` for their list.
        adapters: Makes the module that an input goes through where it is chosen, given the name of the input ("0", "1",
            ... of a list). What it returns has the shape of the input. Those of other inputs are neither computed nor
            part of the frozen network: a 1x1 convolution for each, added up, is one of all chosen inputs joined.
        key: Name of the decision; see ``Choice``.

    Raises:
        SpaceError: The arguments contradict each other, or a name cannot be that of a module, or a factory makes no new
            module.
    """

    def __init__(
        self,
        n_candidates: int | None = None,
        *,
        choose_from: Sequence[str] | None = None,
        n_chosen: int | None = 1,
        reduction: Reduction = "sum",
        adapters: Callable[[str], nn.Module] | None = None,
        key: str | None = None,
    ) -> None:
        super().__init__(key)
        if (n_candidates is None) == (choose_from is None):
            raise SpaceError(f"InputChoice {key!r}: give either n_candidates or choose_from")
        self.by_name = choose_from is not None
        self.names = tuple(map(str, choose_from if choose_from is not None else range(n_candidates or 0)))
        self.n_chosen = n_chosen
        self.reduction: Reduction = reduction
        self.spec(key or "input", ())  # reports contradictions here, where they are written
        factories = {} if adapters is None else {name: partial(adapters, name) for name in self.names}
        self.adapters = CandidateDict(f"InputChoice {key!r}", factories)

    def compute(self, answer: Any, inputs: Sequence[Tensor] | Mapping[str, Tensor]) -> Any:
        """Join the chosen inputs, or those that have a weight, each times its weight.

        Args:
            answer: A decision, or weights. Weights take the place of the division in ``mean``.
            inputs: A list of ``n_candidates`` tensors, or a mapping with the names in ``choose_from``. For ``sum`` and
                ``mean`` they have one shape; for ``concat`` they may differ in dimension 1.

        Raises:
            SpaceError: The inputs or the answer do not fit.
        """
        tensors = self._tensors(inputs)
        zeros_like = next(iter(tensors.values()))
        if not isinstance(answer, Tensor | Mapping):
            return _join([self._adapted(name, tensors[name]) for name in answer], self.reduction, zeros_like)
        weights = named_weights(self.label, self.names, answer)
        if self.reduction in {"concat", "none"}:
            weighted = [weight * self._adapted(name, tensors[name]) for name, weight in weights]
            return _join(weighted, self.reduction, zeros_like)
        mixture = new_mixture(self.execution, self.label)
        for name, weight in weights:
            mixture.add_tensor(Part(name), weight, self._adapted(name, tensors[name]))
        total = mixture.result()
        return torch.zeros_like(zeros_like) if total is None else total

    def _adapted(self, name: str, x: Tensor) -> Tensor:
        """Return an input as it is joined."""
        if name not in self.adapters:
            return x
        adapted: Tensor = call_candidate(self.label, Part(name), self.adapters[name], x)
        if adapted.shape != x.shape:
            raise SpaceError(
                f"{self.label}: the adapter of input {name!r} returns {tuple(adapted.shape)} for {tuple(x.shape)}: it"
                " must keep the shape"
            )
        return adapted

    def used_modules(self, decision: InputDecision) -> Iterable[nn.Module]:
        """Return the adapters of the chosen inputs."""
        return [self.adapters[name] for name in decision if name in self.adapters]

    def _tensors(self, inputs: Sequence[Tensor] | Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the inputs by name."""
        if self.by_name:
            if not isinstance(inputs, Mapping) or not set(self.names) <= set(inputs):
                raise SpaceError(f"{self.label} takes a mapping with {', '.join(self.names)}")
            tensors = {name: inputs[name] for name in self.names}
        elif not isinstance(inputs, Sequence) or len(inputs) != len(self.names):
            got = "" if isinstance(inputs, Sequence | Mapping | Tensor) else f", not a {type(inputs).__name__}"
            raise SpaceError(f"{self.label} takes a list of {len(self.names)} tensors{got}")
        else:
            tensors = dict(zip(self.names, inputs, strict=True))
        for name, x in tensors.items():
            if not isinstance(x, Tensor):
                raise SpaceError(f"{self.label}: input {name!r} is a {type(x).__name__}, not a tensor")
        if self.reduction != "none":
            types = {name: x.dtype for name, x in tensors.items()}
            if len(set(types.values())) > 1:
                named = " and ".join(f"{name!r} has {str(kind).removeprefix('torch.')}" for name, kind in types.items())
                raise SpaceError(f"{self.label} cannot {self.reduction} inputs of different types: {named}")
            shapes = {name: _comparable(x.shape, self.reduction) for name, x in tensors.items()}
            (first, expected), *others = shapes.items()
            for name, shape in others:
                if shape != expected:
                    raise SpaceError(
                        f"{self.label} cannot {self.reduction} inputs of different shapes: {first!r} has"
                        f" {tuple(tensors[first].shape)} and {name!r} has {tuple(tensors[name].shape)}"
                    )
        return tensors

    def spec(self, key: str, paths: tuple[str, ...]) -> InputChoiceSpec:
        """Return the description of this choice under its full key."""
        return checked(
            InputChoiceSpec,
            key=key,
            paths=paths,
            candidates=self.names,
            n_chosen=self.n_chosen,
            reduction=self.reduction,
        )

    def materialize(self, decision: InputDecision) -> nn.Module:
        """Return a module that takes the same inputs and joins the chosen ones.

        It raises an ``AssertionError`` for inputs that this choice refuses: where the module is used, nasreg and its
        errors may not be installed.
        """
        graph, root = fx.Graph(), nn.Module()
        inputs = graph.placeholder("inputs")

        def pick(index: Any) -> fx.Node:
            return graph.call_function(operator.getitem, (inputs, index))

        def check(condition: fx.Node, message: str) -> None:
            graph.call_function(torch._assert, (condition, f"{self.label} {message}"))  # fx's assert statement

        if not self.by_name:  # fx traces its modules again to unpickle them, and cannot trace len()
            count, empty = len(self.names), pick(slice(0))
            for index, compare in ((slice(count, None), operator.eq), (slice(count - 1, None), operator.ne)):
                check(graph.call_function(compare, (pick(index), empty)), f"takes a list of {count} tensors")

        places = dict(zip(self.names, self.names if self.by_name else range(len(self.names)), strict=True))
        chosen = [pick(places[name]) for name in decision]
        if self.reduction in {"sum", "mean"}:  # torch.cat compares the shapes itself
            shapes = [graph.call_function(getattr, (node, "shape")) for node in chosen]
            for shape in shapes[1:]:
                equal = graph.call_function(operator.eq, (shape, shapes[0]))
                check(equal, f"cannot {self.reduction} inputs of different shapes")
        if len(self.adapters):
            for position, name in enumerate(decision):
                root.add_module(f"input_{name}", self.adapters.built(name))
                chosen[position] = graph.call_module(f"input_{name}", (chosen[position],))
        output: Any
        if self.reduction == "none":
            output = chosen
        elif not chosen:
            output = graph.call_function(torch.zeros_like, (pick(places[self.names[0]]),))
        elif self.reduction == "concat":
            output = graph.call_function(torch.cat, (chosen, 1))
        else:
            output = add_all(graph, chosen)
            if self.reduction == "mean":
                output = graph.call_function(torch.div, (output, len(chosen)))
        graph.output(output)
        return fx.GraphModule(root, graph)


def _comparable(shape: torch.Size, reduction: Reduction) -> tuple[int, ...]:
    """Return the part of a shape in which inputs must agree."""
    return (*shape[:1], *shape[2:]) if reduction == "concat" else tuple(shape)


def _join(chosen: list[Tensor], reduction: Reduction, zeros_like: Tensor) -> Any:
    if reduction == "none":
        return chosen
    if not chosen:
        return torch.zeros_like(zeros_like)
    if reduction == "concat":
        return torch.cat(chosen, 1)
    total = chosen[0]
    for tensor in chosen[1:]:
        total = total + tensor
    return total / len(chosen) if reduction == "mean" else total
