"""The smallest, the middle and the largest architecture of a space, and the costs of a network. Imports torch.

Sizes are numbers of parameters: of each candidate, wherever the space has it. That of a network is their sum, if
candidates do not depend on each other, so that the extremes are exact for choices of layers and cells. Where a number
decides sizes, the smallest is taken to give the smallest network.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from functools import partial
from typing import Any, Literal, NamedTuple

import torch
from torch import nn

from nasreg.config.sources import SpaceSource
from nasreg.networks.profile import CANDIDATE_SECONDS, count_macs, measure_latency
from nasreg.nn import candidate_sites
from nasreg.nn.parameters import parameter_count
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

LATENCY_ROUNDS = 10

Which = Literal["smallest", "middle", "largest"]

_Sizes = Mapping[tuple[str, int, str], int]
"""Key of a choice, number of the edge (0 for a layer) and name of a candidate -> number of its parameters."""


class Extremes(NamedTuple):
    """Architectures of a space by size."""

    smallest: Architecture
    middle: Architecture
    largest: Architecture


def extreme_architectures(
    source: SpaceSource, options: Mapping[str, Any], space: SearchSpaceSpec, info: DataInfo
) -> Extremes:
    """Return the architectures with the fewest and the most parameters, and one in the middle of each choice.

    Args:
        source: The space.
        options: Its options.
        space: Its choices.
        info: Shape of the images and the classes.
    """
    device = "meta" if source.entry else "cpu"
    with torch.random.fork_rng(), torch.device(device):
        model = source.build(info, options)
    sizes: dict[tuple[str, int, str], int] = {}
    for site, module in candidate_sites(model):
        place = (site.key, site.edge or 0, site.candidate)
        sizes[place] = sizes.get(place, 0) + parameter_count(module)

    def architecture(which: Which) -> Architecture:
        return space.architecture({choice.key: _decision(choice, sizes, which) for choice in space.choices})

    return Extremes(architecture("smallest"), architecture("middle"), architecture("largest"))


def _decision(choice: AnyChoiceSpec, sizes: _Sizes, which: Which) -> Decision:
    match choice:
        case LayerChoiceSpec():
            ordered = sorted(choice.candidates, key=lambda name: sizes.get((choice.key, 0, name), 0))
            return ordered[_place(len(ordered), which)]
        case ValueChoiceSpec():
            numbers = [value for value in choice.values if not isinstance(value, str)]
            ordered_values = sorted(numbers) if len(numbers) == len(choice.values) else list(choice.values)
            return ordered_values[_place(len(ordered_values), which)]
        case RepeatSpec():
            return choice.depths[_place(len(choice.depths), which)]
        case InputChoiceSpec():
            fewest = choice.min_chosen
            most = len(choice.candidates) if choice.n_chosen is None else choice.n_chosen
            return choice.candidates[
                : (fewest, (fewest + most) // 2, most)[("smallest", "middle", "largest").index(which)]
            ]
        case CellSpec():
            return tuple(_node(choice, node, sizes, which) for node in range(choice.nodes))


def _node(cell: CellSpec, node: int, sizes: _Sizes, which: Which) -> tuple[tuple[str, int], ...]:
    """Return the edges that a node keeps: on each the candidate of the wanted size, of all edges those of that size."""

    def size(edge: int, name: str) -> int:
        return 0 if name == NONE else sizes.get((cell.key, edge, name), 0)

    kept: list[tuple[str, int]] = []
    for slot in range(cell.slots(node)):
        found: list[tuple[int, str, int]] = []
        for source, edge in enumerate(cell.slot_edges(node, slot)):
            names = sorted(cell.selectable(edge), key=lambda name: size(edge, name))  # used at once
            if names:
                name = names[_place(len(names), which)]
                found.append((size(edge, name), name, source))
        found.sort(key=lambda each: each[0])
        number = 1 if cell.repeat_sources else cell.kept(node)
        first = {"smallest": 0, "middle": (len(found) - number) // 2, "largest": len(found) - number}[which]
        chosen = found[first : first + number]
        kept += sorted(((name, source) for _, name, source in chosen), key=lambda each: each[1])
    return tuple(kept)


def _place(n: int, which: Which) -> int:
    return {"smallest": 0, "middle": (n - 1) // 2, "largest": n - 1}[which]


def network_costs(
    network: nn.Module, info: DataInfo, names: Collection[str], device: torch.device
) -> dict[str, int | float]:
    """Measure costs of a network.

    Args:
        network: Takes ``(B, C, H, W)`` images; its mode is changed.
        info: Shape of the images.
        names: Which of ``parameters``, ``macs`` and ``latency_ms``; the last two are of one image.
        device: Where the latency is measured.
    """
    found: dict[str, int | float] = {}
    if "parameters" in names:
        found["parameters"] = parameter_count(network)
    if "macs" in names or "latency_ms" in names:
        network = network.to(device).eval()
        call = partial(network, torch.zeros(1, info.channels, info.height, info.width, device=device))
        if "macs" in names:
            found["macs"] = count_macs(call)
        if "latency_ms" in names:
            found["latency_ms"] = measure_latency(call, 1, device, LATENCY_ROUNDS, CANDIDATE_SECONDS).median_ms
    return found
