"""A budget of weights for a search by gradient descent: how many are expected, and what is too many costs.

The papers have no budget. The penalty is the usual one of differentiable searches under a constraint: the expected cost
under the softmax of the alphas (as in ProxylessNAS, arXiv 1812.00332, section 3.2, for latency), as far as it exceeds
the budget, relative to the budget.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from nasreg.nn import Cell, LayerChoice
from nasreg.nn.extract import named_choices
from nasreg_darts.mutator import DartsMutator


class ParameterBudget:
    """Knows how many weights each candidate of a supernet has.

    Args:
        model: The supernet.
        mutator: Whose alphas decide.
        most: The budget, in weights of the architecture's network at the size of the search.
    """

    def __init__(self, model: nn.Module, mutator: DartsMutator, most: int) -> None:
        self.most = most
        self._mutator = mutator
        self._costs: dict[str, list[Tensor]] = {}
        inside = 0
        device = next(model.parameters()).device
        for key, _, choice, _ in named_choices(model):
            inside += _count(choice)
            if isinstance(choice, LayerChoice):
                rows = [[float(_count(module)) for module in choice.candidates.values()]]
            elif isinstance(choice, Cell):
                rows = _cell_rows(choice, key)
            else:
                continue
            costs = [torch.tensor(row, device=device) for row in rows]
            before = self._costs.get(key)
            self._costs[key] = [a + b for a, b in zip(before, costs, strict=True)] if before else costs
        self.fixed = _count(model) - inside
        """Weights that every architecture has."""

    def expected(self) -> Tensor:
        """Return the expected number of weights, a scalar that can be differentiated by the alphas.

        A node of a cell keeps some of its edges: each counts with the share that is kept.
        """
        total = torch.zeros(()) + self.fixed
        for key, costs in self._costs.items():
            answer = self._mutator.answer(self._mutator.space[key])
            rows = [answer] if isinstance(answer, Tensor) and answer.dim() == 1 else list(answer)
            for row, cost in zip(rows, costs, strict=True):
                total = total.to(row.device) + (row * cost).sum()
        return total

    def penalty(self) -> Tensor:
        """Return by which share of the budget the expectation exceeds it, or 0."""
        return torch.relu(self.expected() / self.most - 1)


def _cell_rows(choice: Cell, key: str) -> list[list[float]]:
    spec = choice.spec(key, ())
    rows: list[list[float]] = [[] for _ in range(spec.n_edges)]
    for node in range(spec.nodes):
        edges = spec.edges_into(node)
        for edge in edges:
            modules = cast("nn.ModuleDict", choice.edges[edge])
            share = spec.kept(node) / len(edges)
            rows[edge] = [share * _count(modules[name]) if name in modules else 0.0 for name in spec.candidates[edge]]
    return rows


def _count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())
