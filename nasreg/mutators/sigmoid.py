"""A building block of differentiable algorithms whose candidates do not compete: each has a sigmoid of its own.

It is the relaxation of FairDARTS (Chu, Zhou, Zhang, Li, arXiv 1911.12126, section 4.1).
"""

from __future__ import annotations

import torch
from torch import Tensor

from nasreg.mutators.differentiable import SoftmaxMutator, candidate_rows
from nasreg.specs.cell import CellSpec
from nasreg.specs.choices import InputChoiceSpec
from nasreg.specs.space import AnyChoiceSpec


class SigmoidMutator(SoftmaxMutator):
    """Answers with the sigmoid of each architecture parameter, and derives architectures from them.

    Choices of inputs are those of ``SoftmaxMutator``.
    """

    def probabilities(self, choice: AnyChoiceSpec) -> Tensor | list[Tensor]:
        """Return the weights of all candidates of a choice, each between 0 and 1."""
        if isinstance(choice, InputChoiceSpec):
            return super().probabilities(choice)
        weights = torch.sigmoid(self.alpha(choice.key))
        if isinstance(choice, CellSpec) and len({len(names) for names in choice.candidates}) > 1:
            return candidate_rows(choice, weights)
        return weights
