"""The mixed weights of DrNAS (Chen et al., arXiv 2006.10355, section 3): samples of a Dirichlet distribution.

Each edge, and each layer choice, has a Dirichlet distribution with the concentration elu(alpha) + 1. Gradients go
through its samples by implicit reparametrisation, as torch has it. After pruning, the samples of the candidates that
are left are normalised to 1.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.distributions import Dirichlet, kl_divergence

from nasreg.mutators import SamplingMutator, SkipCountingMutator, SoftmaxMutatorConfig, candidate_rows
from nasreg.nn import Answer
from nasreg.specs import AnyChoiceSpec, CellSpec, Decision, LayerChoiceSpec, SearchSpaceSpec


class DrnasMutator(SkipCountingMutator, SamplingMutator):
    """Answers with samples of Dirichlet distributions.

    Architectures are derived from the softmax of the alphas of the candidates that are left, as in the program.

    Args:
        space: The search space, of layer choices and cells.
        config: Options.
    """

    config: SoftmaxMutatorConfig

    def __init__(self, space: SearchSpaceSpec, config: SoftmaxMutatorConfig) -> None:
        super().__init__(space, config)
        for number, choice in enumerate(space.choices):
            self.register_buffer(f"mask{number}", _candidates(choice, self.alpha(choice.key)))

    def mask(self, choice: AnyChoiceSpec) -> Tensor:
        """Return which candidates are left: a boolean tensor of the shape of the alphas."""
        return self.get_buffer(f"mask{self.space.choices.index(self.space[choice.key])}")

    def concentration(self, choice: AnyChoiceSpec) -> Tensor:
        """Return the parameters of the Dirichlet distributions, of the shape of the alphas."""
        concentration: Tensor = F.elu(self.alpha(choice.key)) + 1
        return concentration

    def draw(self, choice: AnyChoiceSpec) -> Answer:
        """Draw the weights of the candidates that are left."""
        rows = candidate_rows(choice, self.concentration(choice))
        names = choice.rows
        masks = [mask.tolist() for mask in candidate_rows(choice, self.mask(choice))]
        if all(map(all, masks)) and len(set(map(len, names))) == 1:  # all at once
            sample = self.sample(torch.stack(rows))
            return sample if isinstance(choice, CellSpec) else sample[0]
        answer = []
        for row, mask, each in zip(rows, masks, names, strict=True):
            sample = self.sample(row)
            left = sample[mask]
            weights = left / left.sum()
            kept = [name for name, stays in zip(each, mask, strict=True) if stays]
            answer.append(dict(zip(kept, weights.unbind(), strict=True)))
        return answer if isinstance(choice, CellSpec) else answer[0]

    def sample(self, concentration: Tensor) -> Tensor:
        """Draw from Dirichlet distributions ``(..., candidates)``, with gradients for the concentration."""
        sample: Tensor = Dirichlet(concentration).rsample()
        return sample

    def divergence(self) -> Tensor:
        """Return the Kullback-Leibler divergence to the flat Dirichlet distribution, summed over all distributions."""
        rows = [row for each in self.space.choices for row in candidate_rows(each, self.concentration(each))]
        divergences = [kl_divergence(Dirichlet(row), Dirichlet(torch.ones_like(row))) for row in rows]
        return torch.stack(divergences).sum()

    @torch.no_grad()
    def prune(self, n: int) -> None:
        """Keep the ``n`` candidates of each edge and choice with the largest alphas; the alphas of others become 0."""
        for choice in self.space.choices:
            alpha, mask = self.alpha(choice.key), self.mask(choice)
            ranked = alpha.masked_fill(~mask, float("-inf"))
            best = ranked.topk(min(n, alpha.shape[-1]), -1).indices
            mask &= torch.zeros_like(mask).scatter(-1, best, value=True)
            alpha.mul_(mask)

    def probabilities(self, choice: AnyChoiceSpec) -> Tensor | list[Tensor]:
        """Return the softmax of the alphas over the candidates that are left, 0 for others."""
        weights = torch.softmax(self.alpha(choice.key).masked_fill(~self.mask(choice), float("-inf")), -1)
        return candidate_rows(choice, weights) if isinstance(choice, CellSpec) else weights

    def decide(self, choice: AnyChoiceSpec) -> Decision:
        """Derive the decision of a choice."""
        if isinstance(choice, LayerChoiceSpec):
            return choice.candidates[int(torch.as_tensor(self.probabilities(choice)).argmax())]
        return super().decide(choice)

    def weights(self) -> dict[str, list[dict[str, float]]]:
        """Return the weight of every candidate that is left: for a cell a row for each edge, else one row."""
        return {
            key: [{name: weight for name, weight in row.items() if weight > 0} for row in rows]
            for key, rows in super().weights().items()
        }


def _candidates(choice: AnyChoiceSpec, alpha: Tensor) -> Tensor:
    """Return which of the columns of the alphas are candidates; on an edge with fewer than others the last are not."""
    mask = torch.ones_like(alpha, dtype=torch.bool)
    for row, names in zip(mask if mask.dim() == 2 else mask[None], choice.rows, strict=True):
        row[len(names) :] = False
    return mask
