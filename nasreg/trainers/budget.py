"""Budgets of a search by gradient descent: the expected cost of the network, and the penalty of an excess.

DARTS and its kin have no budget. The penalty is the usual one of differentiable searches under a constraint: the
expected cost under the softmax of the alphas, a sum of weight times cost over the blocks (ProxylessNAS, arXiv
1812.00332, section 3.2, for latency), as far as it exceeds the budget, relative to the budget.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import torch
from torch import Tensor, nn

from nasreg.mutators.differentiable import SoftmaxMutator
from nasreg.nn import candidate_sites
from nasreg.nn.parameters import parameter_count
from nasreg.specs.cost_table import BlockCost, CostTable, Row
from nasreg.specs.space import CellSpec, LayerChoiceSpec, SearchSpaceSpec
from nasreg.specs.trial import PARAMETERS


class ExpectedCost:
    """The expected cost of the network that a mutator with a softmax over the options of each choice draws.

    Args:
        blocks: The costs of the blocks.
        cost: Name of the cost.
        mutator: The mutator, whose probabilities weigh the options.
        device: Device of its parameters.
    """

    def __init__(self, blocks: Collection[BlockCost], cost: str, mutator: SoftmaxMutator, device: torch.device) -> None:
        self._mutator = mutator
        self.fixed = sum(block.costs[cost][0] for block in blocks if not block.decisions)
        """The cost of what every architecture has."""
        merged: dict[tuple[tuple[Row, ...], tuple[tuple[str, ...], ...]], Tensor] = {}
        for block in blocks:
            if block.decisions:
                costs = torch.tensor(block.costs[cost], dtype=torch.float64)
                place = (block.decisions, block.options)
                merged[place] = merged[place] + costs if place in merged else costs
        self._terms = [
            (
                costs.reshape([len(names) for names in options]).to(device, torch.get_default_dtype()),
                [self._selection(row, names).to(device) for row, names in zip(decisions, options, strict=True)],
                decisions,
            )
            for (decisions, options), costs in merged.items()
        ]

    def _selection(self, row: Row, names: Sequence[str]) -> Tensor:
        """Return the matrix that takes the weights of a row to those of some of its options.

        A node of a cell keeps some of its edges: each counts in proportion. An option that the mutator's space has no
        more has no weight.
        """
        key, number = row
        spec = self._mutator.space[key]
        share = 1.0
        if isinstance(spec, CellSpec):
            node = spec.edge_ends[number][0]
            share = spec.kept(node) / len(spec.edges_into(node))
        return torch.tensor([[share * float(name == option) for option in spec.rows[number]] for name in names])

    def __call__(self, weights: Mapping[str, Tensor | Sequence[Tensor]] | None = None) -> Tensor:
        """Return the expected cost, a scalar that can be differentiated by the architecture parameters.

        Args:
            weights: Key of a choice -> weights of its options, for a cell those of each edge; by default the mutator's
                probabilities. With a 1 for each sampled option it is the cost of the sampled network.
        """
        known = dict(weights or {})
        total = torch.zeros(()) + self.fixed
        for costs, selections, decisions in self._terms:
            value = costs
            for (key, number), selection in reversed(list(zip(decisions, selections, strict=True))):
                if key not in known:
                    known[key] = self._mutator.probabilities(self._mutator.space[key])
                found = known[key]
                row = found if isinstance(found, Tensor) and found.dim() == 1 else found[number]
                value = value.to(row.dtype) @ (selection.to(row.dtype) @ row)
            total = total.to(value.device, value.dtype) + value
        return total


class Budget:
    """Upper limits of expected costs.

    Args:
        costs: The expected costs by name.
        limits: The limit of each.
    """

    def __init__(self, costs: Mapping[str, ExpectedCost], limits: Mapping[str, float]) -> None:
        self.costs = costs
        self.limits = limits

    def penalty(self) -> Tensor:
        """Return the sum of the relative excesses of the expectations over the limits; 0 where none is exceeded."""
        excesses = [torch.relu(self.costs[name]() / limit - 1) for name, limit in self.limits.items()]
        return torch.stack(excesses).sum()


def parameter_costs(model: nn.Module, space: SearchSpaceSpec) -> tuple[BlockCost, ...]:
    """Return the numbers of parameters of the candidates of a supernet, and of the rest, which is fixed.

    Args:
        model: The supernet.
        space: Its space.
    """
    counts: dict[tuple[str, Row], dict[str, float]] = {}
    inside: set[int] = set()
    for site, module in candidate_sites(model):
        if isinstance(space[site.key], CellSpec | LayerChoiceSpec):
            place = (site.choice_path, (site.key, site.edge or 0))
            counts.setdefault(place, {})[site.candidate] = parameter_count(module)
            inside.update(map(id, module.parameters()))
    fixed = sum(parameter.numel() for parameter in model.parameters() if id(parameter) not in inside)
    blocks = [
        BlockCost(path=path, decisions=(row,), options=(tuple(each),), costs={PARAMETERS.name: tuple(each.values())})
        for (path, row), each in counts.items()
    ]
    return (BlockCost(path="", costs={PARAMETERS.name: (fixed,)}), *blocks)


def expected_costs(
    names: Collection[str], model: nn.Module, mutator: SoftmaxMutator, table: CostTable | None, device: torch.device
) -> dict[str, ExpectedCost]:
    """Return the expected costs of a search by their names.

    Args:
        names: Which of ``parameters``, ``macs`` and ``latency_ms``.
        model: The supernet.
        mutator: Its mutator.
        table: The table of the other costs than the number of parameters; None if there are none.
        device: Device of the architecture parameters.
    """
    found = {}
    for name in names:
        blocks = parameter_costs(model, mutator.space) if name == PARAMETERS.name or table is None else table.blocks
        found[name] = ExpectedCost(blocks, name, mutator, device)
    return found
