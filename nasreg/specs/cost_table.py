"""A table of the costs of the blocks of a search space, from which the cost of a network is predicted as their sum.

Imports no torch.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import cast

from pydantic import Field, model_validator

from nasreg.specs.architecture import Architecture, CellDecision
from nasreg.specs.base import Spec
from nasreg.specs.cell import CellSpec
from nasreg.specs.choices import InputChoiceSpec
from nasreg.specs.space import SearchSpaceSpec
from nasreg.specs.trial import LATENCY

Row = tuple[str, int]
"""Key of a choice, and the number of an edge for a cell, else 0."""


class BlockCost(Spec):
    """The costs of a block at one place of a supernet, for each combination of the decisions that it depends on."""

    path: str = Field(description="the place in the model; that of the choice for the candidates of a layer choice")
    decisions: tuple[Row, ...] = Field(
        default=(),
        description="what its costs depend on: key of a choice, and number of an edge for a cell, else 0;"
        " none for a block that every architecture has",
    )
    options: tuple[tuple[str, ...], ...] = Field(
        default=(),
        description="the options of each decision for which the block is computed; with any other it costs nothing",
    )
    costs: dict[str, tuple[float, ...]] = Field(
        description="name of a cost -> a number for each combination of the options, the last one changing fastest"
    )

    @model_validator(mode="after")
    def _complete(self) -> BlockCost:
        number = math.prod(map(len, self.options))
        if len(self.options) != len(self.decisions) or any(len(each) != number for each in self.costs.values()):
            raise ValueError(
                f"block {self.path!r} has not one cost for each of the {number} combinations of its options"
            )
        return self

    def predict(self, cost: str, chosen: Mapping[Row, str]) -> float:
        """Return the cost for some decisions, 0 if the block is not computed.

        Args:
            cost: Name of the cost.
            chosen: The option that is chosen for each decision; edges that are not kept are left out.
        """
        index = 0
        for row, names in zip(self.decisions, self.options, strict=True):
            if chosen.get(row) not in names:
                return 0.0
            index = index * len(names) + names.index(chosen[row])
        return self.costs[cost][index]


class CostTable(Spec):
    """The costs of all blocks of a search space, as they were measured."""

    image: tuple[int, int, int] = Field(description="channels, height and width of an image")
    batch_size: int = Field(description="images in the batch whose latency was measured")
    device: str = Field(description="device of the measurement")
    threads: int = Field(description="threads of torch on the CPU")
    blocks: tuple[BlockCost, ...] = Field(description="the blocks in the order of the model")

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the costs that it has."""
        return tuple(self.blocks[0].costs) if self.blocks else ()

    def predict(self, cost: str, space: SearchSpaceSpec, architecture: Architecture) -> float:
        """Return the predicted cost of the network of an architecture: the sum over its blocks.

        Args:
            cost: Name of the cost: ``parameters``, ``macs`` of one image, or ``latency_ms`` of a batch.
            space: The space.
            architecture: The architecture.
        """
        chosen = chosen_options(space, architecture)
        return sum(block.predict(cost, chosen) for block in self.blocks)

    def fits(self, other: CostTable) -> bool:
        """Return whether another table is of the same supernet.

        It has the same blocks with the same options, for the same images, and the same costs but for latencies.
        """
        counted = [name for name in self.names if name in other.names and name != LATENCY.name]
        return self._structure(counted) == other._structure(counted)

    def _structure(self, counted: Sequence[str]) -> tuple[object, ...]:
        blocks = (
            (each.path, each.decisions, each.options, [each.costs[name] for name in counted]) for each in self.blocks
        )
        return self.image, list(blocks)


def chosen_options(space: SearchSpaceSpec, architecture: Architecture) -> dict[Row, str]:
    """Return the option that an architecture chooses for each decision, as text.

    Edges that it does not keep are left out, and so are choices of inputs, which compute nothing.
    """
    chosen: dict[Row, str] = {}
    for choice in space.choices:
        decision = architecture.decisions[choice.key]
        if isinstance(choice, CellSpec):
            for node, kept in enumerate(cast("CellDecision", decision)):
                for slot, (operation, source) in enumerate(kept):
                    chosen[choice.key, choice.edge_number(node, slot, source)] = operation
        elif not isinstance(choice, InputChoiceSpec):
            chosen[choice.key, 0] = str(decision)
    return chosen
