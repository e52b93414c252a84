"""Architectures of NAS-Bench-Graph: as the authors write them, and the keys that isomorphic ones share. No torch.

An architecture has four nodes. Each reads the input of the network or one earlier node, and has one operation; what no
node reads is the output. ``Arch([0, 1, 2, 1], ['gcn', 'gin', 'fc', 'cheb'])`` names the source of each node, 0 for the
input and 1 for the first node, and its operation: the call that makes one in the package nas-bench-graph.

The key of an architecture is the number of its pattern of sources and those of its operations: ``Arch.valid_hash`` of
that package as five digits. Architectures that compute the same have one key:

- The order of nodes means nothing: an architecture is a tree, the input its root.
- A ``skip`` that nodes read, or alone reads its source, changes nothing, wherever it is; nor does one that passes the
  input of the network to the output. All of these are moved to the front, one after the other, where they stand for
  fewer nodes. What is left is a ``skip`` beside other nodes that read the same source, a residual connection.
"""

from __future__ import annotations

import functools
import itertools
import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple, cast

from nasreg.errors import did_you_mean
from nasreg.specs import Architecture, CellDecision, Decision, SearchSpaceSpec
from nasreg_nasbenchgraph.config import OPERATIONS

NODES = 4
"""Nodes of an architecture beside its input."""

SKIP = "skip"

KEY = "graph"
"""Key of the one choice of the space."""

EXAMPLE = "Arch([0, 1, 2, 1], ['gcn', 'gin', 'fc', 'cheb'])"
"""The example of the authors' documentation."""

PATTERNS = tuple(
    (0, *rest)
    for rest in ((0, 0, 0), (0, 0, 1), (0, 1, 1), (0, 1, 2), (0, 1, 3), (1, 1, 1), (1, 1, 2), (1, 2, 2), (1, 2, 3))
)
"""The sources of the nodes for each tree of five nodes, in the authors' order."""

DIGITS: Mapping[str, str] = {name: str(number) for number, name in enumerate(OPERATIONS)}

Sources = tuple[int, ...]


class Form(NamedTuple):
    """A way to write an architecture with one of ``PATTERNS``."""

    pattern: int
    order: tuple[int, ...]
    """The nodes, from 0, in the order of the pattern."""


@functools.cache
def forms(sources: Sources, skips: tuple[bool, ...]) -> tuple[Form, ...]:
    """Return the ways to write an architecture with one of ``PATTERNS``, which are equally good.

    Args:
        sources: The source of each node: 0 for the input, else the number of a node from 1 on.
        skips: Which of the nodes are ``skip``.
    """
    parents, front = _without_idle_skips(sources, skips)
    # those at the front are a chain, and what has read the input reads the last of them
    after_front = dict(zip(front, [0, *front], strict=False))
    last = front[-1] if front else 0
    parents = {**{node: parent or last for node, parent in parents.items()}, **after_front}
    return tuple(_written(parents))


def _without_idle_skips(sources: Sources, skips: tuple[bool, ...]) -> tuple[dict[int, int], list[int]]:
    """Return the source of each node that does something, without those that do not, and these, nodes from 1 on."""
    parents = dict(enumerate(sources, 1))
    idle = []
    for node in range(1, NODES + 1):  # a source comes before what reads it
        if not skips[node - 1]:
            continue
        parent = parents[node]
        is_read = node in parents.values()
        is_alone = list(parents.values()).count(parent) == 1
        if is_read or is_alone or parent == 0:
            del parents[node]
            idle.append(node)
            parents = {other: parent if source == node else source for other, source in parents.items()}
    return parents, idle


def _written(parents: Mapping[int, int]) -> Iterator[Form]:
    for order in itertools.permutations(range(1, NODES + 1)):
        place = {0: 0, **{node: number for number, node in enumerate(order, 1)}}
        pattern = tuple(place[parents[node]] for node in order)
        if pattern in PATTERNS:
            yield Form(PATTERNS.index(pattern), tuple(node - 1 for node in order))


@functools.lru_cache(maxsize=2**18)
def decision_key(decision: CellDecision) -> str:
    """Return the key of a decision: five digits, those of the smallest of its forms."""
    names = [name for ((name, _),) in decision]
    ways = forms(tuple(source for ((_, source),) in decision), tuple(name == SKIP for name in names))
    digits = [DIGITS[name] for name in names]
    return min(f"{pattern}{''.join([digits[node] for node in order])}" for pattern, order in ways)


def architecture_key(architecture: Architecture) -> str:
    """Return the key of an architecture, which isomorphic ones share."""
    return decision_key(cast("CellDecision", architecture.decisions[KEY]))


def format_architecture(space: SearchSpaceSpec, architecture: Architecture) -> str:
    """Return an architecture as the call that makes it in the package nas-bench-graph."""
    del space
    edges = [edge for (edge,) in cast("CellDecision", architecture.decisions[KEY])]
    return f"Arch({[source for _, source in edges]}, {[name for name, _ in edges]})"


_ARCH = re.compile(r"Arch\(\s*\[([^\[\]]*)\]\s*,\s*\[([^\[\]]*)\]\s*\)")


def parse_architecture(space: SearchSpaceSpec, text: str) -> Mapping[str, Decision]:
    """Return the decisions that a text describes, the inverse of ``format_architecture``.

    Raises:
        ValueError: It is malformed; the message says what is wrong with it.
    """
    del space
    found = _ARCH.fullmatch(text)
    if found is None:
        raise ValueError(f"{text!r:.100} is not Arch([SOURCES], [OPERATIONS])")
    sources, names = ([part.strip() for part in each.split(",")] for each in found.groups())
    for what, given in (("sources", sources), ("operations", names)):
        if len(given) != NODES:
            raise ValueError(f"it has {len(given)} {what} instead of {NODES}")
    return {KEY: tuple((_parse_node(*node),) for node in zip(range(NODES), sources, names, strict=True))}


def _parse_node(number: int, source: str, operation: str) -> tuple[str, int]:
    where = f"node {number + 1}"
    if not re.fullmatch(r"[0-9]", source) or int(source) > number:
        raise ValueError(f"the source of {where}, {source!r:.40}, is not a number from 0 to {number}")
    quoted = re.fullmatch(r"(['\"])(.*)\1", operation)
    if quoted is None:
        raise ValueError(f"the operation of {where}, {operation!r:.40}, is not in quotation marks")
    name = quoted[2]
    if name not in OPERATIONS:
        raise ValueError(f"{where} has the unknown operation {name!r:.40}.{did_you_mean(name, OPERATIONS)}")
    return name, int(source)
