"""Architectures as the authors' program writes them: numbers, after the name of the space and a colon. No torch.

``enas-micro: 0 2 0 0 ...`` has for each node of the normal and then of the reduction cell the source and the operation
of both slots. ``enas-macro: 0 3 0 ...`` has for each layer its operation, and then for each state before its input,
from the stem on, whether it is joined with the output.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import count
from typing import Any, cast

from nasreg.specs import Architecture, CellDecision, CellSpec, Decision, LayerChoiceSpec, SearchSpaceSpec
from nasreg_enas.config import MACRO_OPERATIONS, MICRO_OPERATIONS

MICRO, MACRO = "enas-micro:", "enas-macro:"


def _numbers(text: str) -> list[int]:
    _, _, written = text.partition(":")
    words = written.split()
    if wrong := next((word for word in words if not re.fullmatch(r"\d{1,4}", word)), None):
        raise ValueError(f"{wrong[:40]!r} is not a number")
    return list(map(int, words))


def _operation(known: Sequence[str], number: int, where: str) -> str:
    if number >= len(known):
        raise ValueError(f"{where} has operation {number}, but they are numbered from 0 to {len(known) - 1}")
    return known[number]


def micro_options(text: str) -> dict[str, Any]:
    """Return the number of nodes of a text.

    Raises:
        ValueError: No cells have so many numbers.
    """
    n = len(_numbers(text))
    if not n or n % 8:
        raise ValueError(f"it has {n} numbers, but two cells have 8 for each node")
    return {"nodes": n // 8}


def format_micro(space: SearchSpaceSpec, architecture: Architecture) -> str:
    """Return an architecture of cells as text."""
    words = []
    for cell in space.choices:
        for node in cast("CellDecision", architecture.decisions[cell.key]):
            words += [f"{source} {MICRO_OPERATIONS.index(name)}" for name, source in node]
    return f"{MICRO} {' '.join(words)}"


def parse_micro(space: SearchSpaceSpec, text: str) -> Mapping[str, Decision]:
    """Return the decisions that a text describes.

    Raises:
        ValueError: It is malformed, or has another number of nodes than the space.
    """
    numbers, cells = _numbers(text), cast("Sequence[CellSpec]", space.choices)
    expected = sum(4 * cell.nodes for cell in cells)
    if len(numbers) != expected:
        raise ValueError(f"it has {len(numbers)} numbers, but cells of {cells[0].nodes} nodes have {expected}")
    left = iter(numbers)
    decisions: dict[str, Decision] = {}
    for cell in cells:
        nodes = []
        for node in range(cell.nodes):
            pairs = [(next(left), next(left)) for _ in range(2)]
            where = f"node {node} of cell {cell.key!r}"
            nodes.append(tuple((_operation(MICRO_OPERATIONS, name, where), source) for source, name in pairs))
        decisions[cell.key] = tuple(nodes)
    return decisions


def macro_options(text: str) -> dict[str, Any]:
    """Return the number of layers of a text.

    Raises:
        ValueError: No layers have so many numbers.
    """
    n = len(_numbers(text))
    layers = next(layers for layers in count() if layers * (layers + 1) // 2 >= n)
    if not n or layers * (layers + 1) // 2 != n:
        raise ValueError(f"it has {n} numbers, but 1, 2, 3, ... layers have 1, 3, 6, ...")
    return {"layers": layers}


def format_macro(space: SearchSpaceSpec, architecture: Architecture) -> str:
    """Return an architecture of layers as text."""
    words = []
    for choice in space.choices:
        decision = architecture.decisions[choice.key]
        if isinstance(choice, LayerChoiceSpec):
            words.append(str(MACRO_OPERATIONS.index(cast("str", decision))))
        else:
            [names] = choice.rows
            words += [str(int(name in cast("tuple[str, ...]", decision))) for name in names]
    return f"{MACRO} {' '.join(words)}"


def parse_macro(space: SearchSpaceSpec, text: str) -> Mapping[str, Decision]:
    """Return the decisions that a text describes.

    Raises:
        ValueError: It is malformed, or has another number of layers than the space.
    """
    numbers = _numbers(text)
    layers = sum(isinstance(choice, LayerChoiceSpec) for choice in space.choices)
    if len(numbers) != layers * (layers + 1) // 2:
        raise ValueError(f"it has {len(numbers)} numbers, but {layers} layers have {layers * (layers + 1) // 2}")
    left = iter(numbers)
    decisions: dict[str, Decision] = {}
    for choice in space.choices:
        if isinstance(choice, LayerChoiceSpec):
            decisions[choice.key] = _operation(MACRO_OPERATIONS, next(left), f"layer {choice.key.removeprefix('op')}")
            continue
        [names] = choice.rows
        bits = {name: next(left) for name in names}
        if wrong := next((bit for bit in bits.values() if bit > 1), None):
            raise ValueError(
                f"layer {choice.key.removeprefix('skip')} has {wrong} where 0 or 1 stands for a connection"
            )
        decisions[choice.key] = tuple(name for name, bit in bits.items() if bit)
    return decisions
