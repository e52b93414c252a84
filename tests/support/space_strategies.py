"""Hypothesis strategies for search spaces of all kinds of choices, used by all property tests."""

from __future__ import annotations

import itertools
import math

from hypothesis import strategies as st

from nasreg.specs import NONE, CellSpec, InputChoiceSpec, LayerChoiceSpec, RepeatSpec, SearchSpaceSpec, ValueChoiceSpec

names = st.text("abcdefgh_123", min_size=1, max_size=6)
keys = st.text("abcxyz/._-09", min_size=1, max_size=8)


@st.composite
def layer_choices(draw, key=None):
    candidates = draw(st.lists(names, min_size=1, max_size=5, unique=True))
    return LayerChoiceSpec(key=key or draw(keys), candidates=tuple(candidates))


@st.composite
def input_choices(draw, key=None):
    n = draw(st.integers(1, 5))
    return InputChoiceSpec(
        key=key or draw(keys),
        candidates=tuple(str(number) for number in range(n)),
        n_chosen=draw(st.none() | st.integers(1, n)),
        reduction=draw(st.sampled_from(["sum", "mean", "concat", "none"])),
    )


@st.composite
def value_choices(draw, key=None):
    values = st.integers() | st.floats(allow_nan=False, allow_infinity=False) | names
    listed = draw(st.lists(values, min_size=1, max_size=5, unique_by=(lambda value: value, str)))
    return ValueChoiceSpec(key=key or draw(keys), values=tuple(listed))


@st.composite
def repeats(draw, key=None):
    depths = draw(st.lists(st.integers(0, 9), min_size=1, max_size=4, unique=True))
    return RepeatSpec(key=key or draw(keys), depths=tuple(sorted(depths)))


@st.composite
def cells(draw, key=None, max_nodes=4, max_candidates=4):
    inputs, nodes, kept = draw(st.integers(1, 3)), draw(st.integers(1, max_nodes)), draw(st.integers(1, 3))
    slots, none_selectable = draw(st.booleans()), draw(st.booleans())
    operations = names.filter(lambda name: name != NONE)
    known = draw(st.lists(operations, min_size=1, max_size=max_candidates, unique=True))
    alike = draw(st.booleans())
    candidates = []
    for node in range(nodes):
        for _ in range(kept if slots else 1):
            sources = inputs + node
            spare = sources - (1 if slots else min(kept, sources))  # edges that may have no operation to choose
            for _ in range(sources):
                some = known if alike else draw(st.lists(st.sampled_from(known), min_size=1, unique=True))
                if spare and draw(st.booleans()) and not alike:
                    some, spare = [], spare - 1
                candidates.append((NONE, *some) if not some or (not alike and draw(st.booleans())) else tuple(some))
    states = inputs + nodes
    loose_ends = draw(st.booleans())
    concat = draw(st.lists(st.integers(0, states - 1), min_size=1, max_size=states, unique=True))
    if loose_ends and states - 1 not in concat:
        concat.append(states - 1)
    return CellSpec(
        key=key or draw(keys),
        inputs=inputs,
        nodes=nodes,
        candidates=tuple(candidates),
        edges_kept=kept,
        repeat_sources=slots,
        none_selectable=none_selectable,
        concat=tuple(concat),
        join=draw(st.sampled_from(["concat", "sum"])),
        loose_ends=loose_ends,
        reduction=draw(st.booleans()),
    )


def choices(key=None, **cell):
    """Draw a choice of any kind, cells most often."""
    other = layer_choices(key) | input_choices(key) | value_choices(key) | repeats(key)
    return st.booleans().flatmap(lambda is_cell: cells(key, **cell) if is_cell else other)


@st.composite
def spaces(draw, max_choices=4, **cell):
    chosen = draw(st.lists(keys, min_size=1, max_size=max_choices, unique=True))
    return SearchSpaceSpec(choices=tuple(draw(choices(key, **cell)) for key in chosen))


def small_spaces(max_size=250):
    """Draw spaces whose architectures can be enumerated."""
    return spaces(max_choices=2, max_nodes=2, max_candidates=2).filter(
        lambda space: math.prod(choice.size() for choice in space.choices) <= max_size
    )


def every_decision(choice):
    """Return every decision of a choice, straight from what its fields mean."""
    if isinstance(choice, LayerChoiceSpec):
        return list(choice.candidates)
    if isinstance(choice, ValueChoiceSpec):
        return list(choice.values)
    if isinstance(choice, RepeatSpec):
        return list(choice.depths)
    if isinstance(choice, InputChoiceSpec):
        n = len(choice.candidates)
        sizes = [choice.n_chosen] if choice.n_chosen is not None else range(choice.min_chosen, n + 1)
        return [chosen for size in sizes for chosen in itertools.combinations(choice.candidates, size)]
    nodes = [list(_every_node(choice, node)) for node in range(choice.nodes)]
    return list(itertools.product(*nodes))


def _every_node(cell, node):
    def edges(slot):
        return [
            (name, source)
            for source in range(cell.inputs + node)
            for name in cell.candidates[cell.edge_number(node, slot, source)]
            if name != NONE or cell.none_selectable
        ]

    if cell.repeat_sources:
        yield from itertools.product(*(edges(slot) for slot in range(cell.edges_kept)))
        return
    for kept in itertools.combinations(edges(0), min(cell.edges_kept, cell.inputs + node)):
        if len({source for _, source in kept}) == len(kept):
            yield kept


def every_architecture(space):
    """Return every architecture of a space."""
    decisions = itertools.product(*map(every_decision, space.choices))
    keys = [choice.key for choice in space.choices]
    return [space.architecture(dict(zip(keys, chosen, strict=True))) for chosen in decisions]
