"""The decisions that a dry run tries, and what the outputs of all candidates of a choice must have in common."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from torch import Tensor
from torch.utils import _pytree as pytree

from nasreg.specs import Decision, InputChoiceSpec, LayerChoiceSpec, RepeatSpec, SearchSpaceSpec, ValueChoiceSpec


def first_decisions(space: SearchSpaceSpec) -> dict[str, Decision]:
    """Return decisions by key of an architecture that computes as much as possible."""
    decisions: dict[str, Decision] = dict(space.sample(random.Random(0)).decisions)
    for choice in space.choices:
        if isinstance(choice, RepeatSpec):
            decisions[choice.key] = choice.depths[-1]
        elif isinstance(choice, LayerChoiceSpec):
            decisions[choice.key] = choice.candidates[0]
        elif isinstance(choice, ValueChoiceSpec):
            decisions[choice.key] = choice.values[0]
        elif isinstance(choice, InputChoiceSpec):
            decisions[choice.key] = choice.candidates[: choice.n_chosen]
    return decisions


def last_decisions(space: SearchSpaceSpec) -> dict[str, Decision]:
    """Return the last value and the smallest depth of each choice of those."""
    values: dict[str, Decision] = {
        each.key: each.values[-1] for each in space.choices if isinstance(each, ValueChoiceSpec)
    }
    return values | {each.key: each.depths[0] for each in space.choices if isinstance(each, RepeatSpec)}


def alternatives(space: SearchSpaceSpec, decisions: Mapping[str, Decision]) -> Iterator[tuple[str, Decision]]:
    """Yield the key and the decision of each value, depth and number of inputs that the first pass does not have."""
    for choice in space.choices:
        domain: Iterable[Decision] = ()
        if isinstance(choice, ValueChoiceSpec):
            domain = choice.values
        elif isinstance(choice, RepeatSpec):
            domain = choice.depths
        elif isinstance(choice, InputChoiceSpec):
            names, n = choice.candidates, choice.n_chosen
            if n is None:
                domain = [names[:number] for number in range(choice.min_chosen, len(names) + 1)]
            else:
                domain = [names[start : start + n] for start in range(len(names) - n + 1)]
        yield from ((choice.key, decision) for decision in domain if decision != decisions[choice.key])


class Kind(NamedTuple):
    """What the outputs of all candidates must have in common."""

    structure: str
    leaves: tuple[str, ...]

    @classmethod
    def of(cls, output: Any) -> Kind:
        """Return the kind of an output."""
        leaves, structure = pytree.tree_flatten(output)
        texts = (
            f"{tuple(leaf.shape)} of {str(leaf.dtype).removeprefix('torch.')}"
            if isinstance(leaf, Tensor)
            else type(leaf).__name__
            for leaf in leaves
        )
        return cls("" if isinstance(output, Tensor) else str(structure), tuple(texts))

    def __str__(self) -> str:
        if not self.structure:
            return self.leaves[0]
        return f"{len(self.leaves)} values ({', '.join(self.leaves)})"
