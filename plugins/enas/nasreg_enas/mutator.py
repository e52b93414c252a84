"""The mutator of ENAS (Pham et al., arXiv 1802.03268): each forward pass computes an architecture of the controller."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor

from nasreg.mutators import OneShotMutator
from nasreg.nn import Answer
from nasreg.specs import AnyChoiceSpec, Architecture, SearchSpaceSpec
from nasreg_enas.config import EnasMutatorConfig
from nasreg_enas.policy import EnasPolicy


class EnasMutator(OneShotMutator):
    """Answers with the decisions of an architecture: one that it holds, else one drawn anew for each forward pass.

    Args:
        space: The search space.
        config: Options.

    Attributes:
        policy: The controller.
        best: The decisions of the architecture that is derived, ``(D,)``.
        figures: What reports show of the controller.
    """

    config: EnasMutatorConfig
    best: Tensor

    def __init__(self, space: SearchSpaceSpec, config: EnasMutatorConfig) -> None:
        super().__init__(space, config)
        self.policy = EnasPolicy(space, config)
        self.policy.requires_grad_(bool(self.policy.open_steps))  # where nothing is decided, nothing is learned
        with torch.no_grad():
            self.register_buffer("best", self.policy.draw(1).indices[0])
        self.figures: dict[str, float] = {}
        self._present = self.architecture()
        self._holds = False

    def resample(self) -> None:
        """Draw an architecture, unless one is held."""
        if not self._holds:
            with torch.no_grad():
                [self._present] = self.policy.architectures(self.policy.draw(1).indices)

    def answer(self, choice: AnyChoiceSpec) -> Answer:
        """Return the decision of the present architecture: only what it consists of is computed."""
        return self._present.decisions[choice.key]

    @contextmanager
    def holding(self, architecture: Architecture) -> Iterator[None]:
        """Answer with one architecture in all forward passes inside of this context."""
        before = self._present, self._holds
        self._present, self._holds = architecture, True
        try:
            yield
        finally:
            self._present, self._holds = before

    def architecture(self) -> Architecture:
        """Return the best of the architectures that were drawn last, as the trainer found."""
        [architecture] = self.policy.architectures(self.best[None])
        return architecture

    def diagnostics(self, architecture: Architecture) -> Mapping[str, float]:
        """Return what the trainer noted of the controller."""
        del architecture
        return self.figures
