"""The architectures of a space with the fewest and the most parameters, and one between them. Imports torch.

Depths and inputs come first: more of them never have fewer parameters. With these the number of parameters is a sum of
terms: one for each layer choice and for each node of a cell, over all places that share the decision, which are
independent of each other, and one for each layer of elastic size, which depends on the values that it reads. Values
that a layer reads together are decided together.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, Literal, NamedTuple, TypeVar

import torch
from torch import nn

from nasreg.config.sources import SpaceSource
from nasreg.nn import Choice, ValueChoice, named_choices
from nasreg.nn.copying import copy_module
from nasreg.nn.elastic import ElasticLayer
from nasreg.specs import (
    NONE,
    AnyChoiceSpec,
    Architecture,
    CellSpec,
    DataInfo,
    Decision,
    InputChoiceSpec,
    LayerChoiceSpec,
    RepeatSpec,
    SearchSpaceSpec,
    ValueChoiceSpec,
)

MAX_COMBINATIONS = 4096
"""Of values that are decided together; where there are more, they are improved one after the other."""

Which = Literal["smallest", "middle", "largest"]

T = TypeVar("T")
Value = float | str


class Extremes(NamedTuple):
    """Architectures of a space by number of parameters."""

    smallest: Architecture
    middle: Architecture
    largest: Architecture


def extreme_architectures(
    source: SpaceSource, options: Mapping[str, Any], space: SearchSpaceSpec, info: DataInfo
) -> Extremes:
    """Return the architectures with the fewest and the most parameters, and one in the middle of each choice.

    Networks are counted in the form in which the space is retrained, as the trials of a search are. The extremes are
    exact, with two exceptions: parameters that several choices share are counted for each of them, and of values that
    layers read together in more than ``MAX_COMBINATIONS`` combinations, no other value of one choice is better, which
    need not be the extreme where a larger value does not always mean more parameters. Choices of inputs come before the
    sizes, too: the smallest architecture has the fewest inputs and the largest the most.

    Args:
        source: The space.
        options: Its options.
        space: Its choices.
        info: Shape of the images and the classes.

    Raises:
        NasregError: As ``SpaceSource.build``.
    """
    device = "meta" if source.entry else "cpu"  # the user's own code may not be written for meta
    with torch.random.fork_rng(), torch.device(device):
        model = source.build(info, {**options, **source.retrain_options})
    if not source.builds_anew:
        model = copy_module(model)
    return Extremes(
        _architecture(model, space, "smallest"),
        _architecture(model, space, "middle"),
        _architecture(model, space, "largest"),
    )


def _architecture(model: nn.Module, space: SearchSpaceSpec, which: Which) -> Architecture:
    keys: dict[nn.Module, str] = {choice: key for key, _, choice, _ in named_choices(model)}
    first: dict[str, Decision] = {}
    for choice in space.choices:
        if isinstance(choice, RepeatSpec):
            first[choice.key] = _at(choice.depths, which)
        elif isinstance(choice, InputChoiceSpec):
            most = len(choice.candidates) if choice.n_chosen is None else choice.n_chosen
            first[choice.key] = choice.candidates[: _at(range(choice.min_chosen, most + 1), which)]
    used = list(_used(model, {module: first[key] for module, key in keys.items() if key in first}, set()))
    sizes = _sizes(used, keys)
    values = _values(used, keys, space, which)

    def decision(choice: AnyChoiceSpec) -> Decision:
        match choice:
            case LayerChoiceSpec():
                return _at(sorted(choice.candidates, key=lambda name: sizes.get((choice.key, 0, name), 0)), which)
            case ValueChoiceSpec():
                return values[choice.key]
            case InputChoiceSpec() | RepeatSpec():
                return first[choice.key]
            case CellSpec():
                return tuple(_node(choice, node, sizes, which) for node in range(choice.nodes))

    return space.architecture({choice.key: decision(choice) for choice in space.choices})


def _at(ordered: Sequence[T], which: Which) -> T:
    last = len(ordered) - 1
    return ordered[{"smallest": 0, "middle": last // 2, "largest": last}[which]]


def _used(module: nn.Module, decisions: Mapping[nn.Module, Decision], seen: set[nn.Module]) -> Iterator[nn.Module]:
    """Yield each module once, without those that the decisions leave out."""
    if module in seen:
        return
    seen.add(module)
    yield module
    children: Iterable[nn.Module] = module.children()
    if isinstance(module, Choice) and module in decisions:
        children = module.used_modules(decisions[module])
    for child in children:
        yield from _used(child, decisions, seen)


_Sizes = Mapping[tuple[str, int, str], int]
"""Key of a choice, number of the edge (0 for a layer) and name of a candidate -> number of its parameters."""


def _sizes(used: Sequence[nn.Module], keys: Mapping[nn.Module, str]) -> _Sizes:
    found: dict[tuple[str, int, str], set[nn.Parameter]] = {}
    for module in used:
        if isinstance(module, Choice):
            for site, modules in module.candidate_modules(keys[module], ""):
                place = (site.key, site.edge or 0, site.candidate)
                found.setdefault(place, set()).update(modules[site.candidate].parameters())
    return {place: sum(parameter.numel() for parameter in each) for place, each in found.items()}


def _node(cell: CellSpec, node: int, sizes: _Sizes, which: Which) -> tuple[tuple[str, int], ...]:
    """Return the edges that a node keeps: on each the candidate of the wanted size, of all edges those of that size."""

    def size(edge: int, name: str) -> int:
        return 0 if name == NONE else sizes.get((cell.key, edge, name), 0)

    kept: list[tuple[str, int]] = []
    for slot in range(cell.slots(node)):
        found: list[tuple[int, str, int]] = []
        for source, edge in enumerate(cell.slot_edges(node, slot)):
            if names := cell.selectable(edge):
                by_size = sorted((size(edge, name), position) for position, name in enumerate(names))
                smallest, position = _at(by_size, which)
                found.append((smallest, names[position], source))
        found.sort(key=lambda each: each[0])
        number = 1 if cell.repeat_sources else cell.kept(node)
        first = _at(range(len(found) - number + 1), which)
        chosen = found[first : first + number]
        kept += sorted(((name, source) for _, name, source in chosen), key=lambda each: each[1])
    return tuple(kept)


def _values(
    used: Sequence[nn.Module], keys: Mapping[nn.Module, str], space: SearchSpaceSpec, which: Which
) -> dict[str, Value]:
    """Return the value of each choice of a value."""
    domains = {choice.key: _ordered(choice.values) for choice in space.choices if isinstance(choice, ValueChoiceSpec)}
    values = {key: _at(domain, which) for key, domain in domains.items()}
    if which == "middle":
        return values
    current = dict(values)  # what the layers read
    for module, key in keys.items():
        if isinstance(module, ValueChoice):
            module.bind(partial(current.__getitem__, key))
    terms = [_Term(layer, keys, current) for layer in used if isinstance(layer, ElasticLayer)]
    sign = 1 if which == "smallest" else -1
    for group in _groups(terms):
        own = [term for term in terms if group.intersection(term.keys)]

        def cost(changed: Mapping[str, Value], own: Sequence[_Term] = own) -> int:
            current.update(changed)
            return sign * sum(term.parameters() for term in own)

        # the first of equal ones is taken: the smaller value in the smallest architecture, the larger in the largest
        values.update(_best({key: domains[key][::sign] for key in domains if key in group}, cost))
    return values


def _ordered(values: Sequence[Value]) -> tuple[Value, ...]:
    numbers = [value for value in values if not isinstance(value, str)]
    return tuple(sorted(numbers)) if len(numbers) == len(values) else tuple(values)


class _Term:
    """The number of parameters of a layer of elastic size.

    Args:
        layer: The layer.
        keys: The key of each choice.
        current: Key of a choice -> the value that the layer reads.
    """

    def __init__(self, layer: ElasticLayer, keys: Mapping[nn.Module, str], current: Mapping[str, Value]) -> None:
        self.keys = tuple({keys[module]: None for module in layer.modules() if module in keys})
        self._layer = layer
        self._current = current
        self._known: dict[tuple[Value, ...], int] = {}

    def parameters(self) -> int:
        """Return the number for the current values."""
        read = tuple(self._current[key] for key in self.keys)
        if read not in self._known:
            slices = self._layer.slices(self._layer.sizes())
            self._known[read] = sum(
                tensor.numel()
                for name, tensor in slices.items()
                if tensor is not None and isinstance(getattr(self._layer, name), nn.Parameter)
            )
        return self._known[read]


def _groups(terms: Sequence[_Term]) -> list[set[str]]:
    """Return the keys that terms depend on, those together that a term connects."""
    groups: list[set[str]] = []
    for term in terms:
        touched = [group for group in groups if group.intersection(term.keys)]
        groups = [group for group in groups if group not in touched]
        groups.append(set(term.keys).union(*touched))
    return [group for group in groups if group]


def _best(domains: Mapping[str, Sequence[Value]], cost: Callable[[Mapping[str, Value]], int]) -> Mapping[str, Value]:
    """Return the values of the lowest cost; where there are too many to try, values none of which alone can improve."""
    if math.prod(map(len, domains.values())) <= MAX_COMBINATIONS:
        combinations = (dict(zip(domains, each, strict=True)) for each in itertools.product(*domains.values()))
        return min(combinations, key=cost)
    values = {key: domain[0] for key, domain in domains.items()}
    while True:
        before = dict(values)
        for key, domain in domains.items():
            values = min(({**values, key: value} for value in domain), key=cost)
        if values == before:
            return values
