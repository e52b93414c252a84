"""A budget of parameters for a search by gradient descent: the expected number, and the penalty of an excess.

The papers have no budget. The penalty is the usual one of differentiable searches under a constraint: the expected cost
under the softmax of the alphas (as in ProxylessNAS, arXiv 1812.00332, section 3.2, for latency), as far as it exceeds
the budget, relative to the budget.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from nasreg.mutators.differentiable import SoftmaxMutator
from nasreg.nn import candidate_sites
from nasreg.nn.parameters import parameter_count
from nasreg.specs.space import CellSpec, LayerChoiceSpec


class ParameterBudget:
    """The number of parameters of each candidate of a supernet, and the budget for their expected sum.

    Args:
        model: The supernet.
        mutator: The mutator, whose architecture parameters weigh the candidates.
        max_parameters: The budget, in parameters of the architecture's network at the size of the search.
    """

    def __init__(self, model: nn.Module, mutator: SoftmaxMutator, max_parameters: int) -> None:
        self.max_parameters = max_parameters
        self._mutator = mutator
        self._costs: dict[str, list[Tensor]] = {}
        device = next(model.parameters()).device
        inside: set[int] = set()
        for site, module in candidate_sites(model):
            spec = mutator.space[site.key]
            if isinstance(spec, CellSpec) and site.edge is not None and site.node is not None:
                rows, names = spec.candidates, spec.candidates[site.edge]
                share = spec.kept(site.node) / len(spec.edges_into(site.node))
            elif isinstance(spec, LayerChoiceSpec):
                rows, names, share = (spec.candidates,), spec.candidates, 1.0
            else:
                continue
            if site.key not in self._costs:
                self._costs[site.key] = [torch.zeros(len(row), device=device) for row in rows]
            self._costs[site.key][site.edge or 0][names.index(site.candidate)] += share * parameter_count(module)
            inside.update(map(id, module.parameters()))
        self.fixed = sum(parameter.numel() for parameter in model.parameters() if id(parameter) not in inside)
        """Parameters that every architecture has."""

    def expected(self) -> Tensor:
        """Return the expected number of parameters, a scalar that can be differentiated by the architecture parameters.

        A node of a cell keeps some of its edges: each counts in proportion.
        """
        total = torch.zeros(()) + self.fixed
        for key, costs in self._costs.items():
            weights = self._mutator.probabilities(self._mutator.space[key])
            rows = [weights] if isinstance(weights, Tensor) and weights.dim() == 1 else list(weights)
            for row, cost in zip(rows, costs, strict=True):
                total = total.to(row.device) + (row * cost).sum()
        return total

    def penalty(self) -> Tensor:
        """Return the relative excess of the expectation over the budget, or 0."""
        return torch.relu(self.expected() / self.max_parameters - 1)
