"""Hypothesis strategies for search spaces, used by all property tests."""

from __future__ import annotations

from hypothesis import strategies as st

from nasreg.specs import NONE, CellSpec, InputChoiceSpec, LayerChoiceSpec, SearchSpaceSpec

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
def cells(draw, key=None, max_nodes=4):
    inputs, nodes = draw(st.integers(1, 3)), draw(st.integers(1, max_nodes))
    edges = sum(inputs + node for node in range(nodes))
    usable = st.lists(names.filter(lambda name: name != NONE), min_size=1, max_size=4, unique=True)
    candidates = []
    for _ in range(edges):
        listed = draw(usable)
        candidates.append(tuple([NONE, *listed] if draw(st.booleans()) else listed))
    states = inputs + nodes
    concat = draw(st.lists(st.integers(0, states - 1), min_size=1, max_size=states, unique=True))
    return CellSpec(
        key=key or draw(keys),
        inputs=inputs,
        nodes=nodes,
        candidates=tuple(candidates),
        edges_kept=draw(st.integers(1, 3)),
        concat=tuple(concat),
        reduction=draw(st.booleans()),
    )


@st.composite
def spaces(draw):
    chosen = draw(st.lists(keys, min_size=1, max_size=4, unique=True))
    return SearchSpaceSpec(
        choices=tuple(draw(st.one_of(layer_choices(key), input_choices(key), cells(key))) for key in chosen)
    )
