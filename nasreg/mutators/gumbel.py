"""Building blocks of differentiable algorithms that sample candidates with the Gumbel-softmax, soft or hard.

The Gumbel-softmax is that of Jang, Gu, Poole (arXiv 1611.01144) and Maddison, Mnih, Teh (arXiv 1611.00712).
"""

from __future__ import annotations

import torch
from torch import Tensor

from nasreg.mutators.config import GumbelMutatorConfig, Schedule
from nasreg.mutators.differentiable import candidate_rows
from nasreg.mutators.sampling import SamplingMutator
from nasreg.nn.answers import Answer, HardWeights
from nasreg.specs.cell import CellSpec
from nasreg.specs.space import AnyChoiceSpec, SearchSpaceSpec


def annealed(start: float, end: float, epoch: int, epochs: int, schedule: Schedule) -> float:
    """Return the temperature of an epoch: ``start`` in the first, ``end`` in the last.

    Args:
        start: The temperature of the first epoch.
        end: The temperature of the last epoch.
        epoch: The epoch, from 0.
        epochs: The number of epochs; a single one has ``start``.
        schedule: ``linear``: it changes by one difference per epoch; ``exponential``: by one factor.
    """
    share = epoch / max(1, epochs - 1)
    return start + share * (end - start) if schedule == "linear" else start * (end / start) ** share


class GumbelMutator(SamplingMutator):
    """Answers with a sample of the Gumbel-softmax of the architecture parameters: weights of all candidates.

    Architectures are derived from the softmax without noise.

    Args:
        space: The search space, of layer choices and cells.
        config: Options.

    Attributes:
        temperature: The present temperature.
    """

    config: GumbelMutatorConfig

    def __init__(self, space: SearchSpaceSpec, config: GumbelMutatorConfig) -> None:
        super().__init__(space, config)
        self.temperature = config.temperature

    def start_epoch(self, epoch: int, epochs: int) -> None:
        """Set the temperature."""
        config = self.config
        self.temperature = annealed(
            config.temperature, config.temperature_min, epoch, epochs, config.temperature_schedule
        )

    def draw(self, choice: AnyChoiceSpec) -> Answer:
        """Draw an answer to a choice."""
        sample = self.sample(choice)
        return sample if sample.dim() == 1 else candidate_rows(choice, sample)

    def sample(self, choice: AnyChoiceSpec) -> Tensor:
        """Draw from the Gumbel-softmax: a tensor of the shape of the alphas whose rows sum to 1."""
        logits = (self.alpha(choice.key) - self.noise(choice).log()) / self.temperature
        lengths = [len(names) for names in choice.rows]
        if isinstance(choice, CellSpec) and len(set(lengths)) > 1:  # the last columns of a shorter row are unused
            unused = torch.arange(logits.shape[1]) >= torch.tensor(lengths)[:, None]
            logits = logits.masked_fill(unused.to(logits.device), float("-inf"))
        return torch.softmax(logits, -1)

    def noise(self, choice: AnyChoiceSpec) -> Tensor:
        """Draw standard exponential numbers, whose negative logarithms are Gumbel noise: of the shape of the alphas."""
        noise = torch.empty_like(self.alpha(choice.key)).exponential_()
        return noise.clamp_min_(torch.finfo(noise.dtype).tiny)


class HardGumbelMutator(GumbelMutator):
    """Answers with the most probable candidate of the sample, and with the gradient of the sample (straight-through).

    Only that candidate is computed; see ``nasreg.nn.HardWeights``.
    """

    def draw(self, choice: AnyChoiceSpec) -> Answer:
        """Draw an answer to a choice."""
        sample = self.sample(choice)
        drawn = sample.argmax(-1, keepdim=True)
        hard = torch.zeros_like(sample).scatter_(-1, drawn, 1.0) - sample.detach() + sample
        if sample.dim() == 1:
            return HardWeights(choice.rows[0][int(drawn)], hard)
        weights = candidate_rows(choice, hard)
        return [
            HardWeights(names[number], row)
            for names, number, row in zip(choice.rows, drawn[:, 0].tolist(), weights, strict=True)
        ]
