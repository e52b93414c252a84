"""The binary gates of ProxylessNAS (Cai, Zhu, Han, arXiv 1812.00332, sections 3.1 and 3.2.1).

A gate is 1 for the path that is computed and 0 for the others. The gradient of an architecture parameter is that of the
gates through the softmax of the sampled paths, as if each gate were its probability: with g_j the gradient of gate j,
d alpha_i = sum_j g_j p_j (delta_ij - p_i), equation 4.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from nasreg.mutators import SoftmaxMutator, SoftmaxMutatorConfig, candidate_rows
from nasreg.specs import AnyChoiceSpec, CellSpec, Decision, SearchSpaceSpec

Mode = Literal["path", "two", "full", "best"]
"""What a forward pass computes: a sampled path; the gates of two sampled paths, or of all; the most probable path."""

Gates = dict[str, Tensor]
"""The candidates that are computed, with their gates."""


class Draw(NamedTuple):
    """What was sampled for a row of candidates: of a layer choice, or of an edge of a cell."""

    paths: Tensor
    """Numbers of the candidates whose gates count, ``(2,)`` or ``(n,)``."""
    active: int
    """The place among them of the one that is open."""


class ProxylessMutator(SoftmaxMutator):
    """Answers with binary gates.

    Args:
        space: The search space.
        config: Options.

    Attributes:
        mode: How the next forward pass chooses paths.
        draws: What was sampled last: key of a choice -> a draw for each of its rows.
    """

    def __init__(self, space: SearchSpaceSpec, config: SoftmaxMutatorConfig) -> None:
        super().__init__(space, config)
        self.mode: Mode = "path"
        self.draws: dict[str, list[Draw]] = {}
        self._held = False

    @contextmanager
    def one_sample(self, mode: Mode) -> Iterator[None]:
        """Sample now, and compute all forward passes inside this context with that, such as the pieces of a batch.

        Args:
            mode: How paths are chosen.
        """
        before, self.mode = self.mode, mode
        self.resample()
        self._held = True
        try:
            yield
        finally:
            self.mode, self._held = before, False

    def resample(self) -> None:
        """Sample the paths of a forward pass; all modules with the key of a choice take the same ones."""
        if not self._held:
            self.draws = {choice.key: [self.draw(row) for row in self.logits(choice)] for choice in self.space.choices}

    @torch.no_grad()
    def draw(self, logits: Tensor) -> Draw:
        """Sample paths of a row by the mode.

        Args:
            logits: Architecture parameters of its candidates, ``(n,)``.
        """
        probabilities = torch.softmax(logits, -1)
        if self.mode == "two" and len(probabilities) > 1:
            paths = torch.multinomial(probabilities, 2)
            return Draw(paths, int(torch.multinomial(torch.softmax(logits[paths], -1), 1)))
        return Draw(torch.arange(len(probabilities)), int(torch.multinomial(probabilities, 1)))

    def answer(self, choice: AnyChoiceSpec) -> Gates | list[Gates] | Decision:
        """Return the gates of the sampled paths, or the most probable decision."""
        if self.mode == "best":
            return self.decide(choice)
        rows = zip(choice.rows, self.logits(choice), self.draws[choice.key], strict=True)
        found = [self.gates(*row) for row in rows]
        return found if isinstance(choice, CellSpec) else found[0]

    def gates(self, names: Sequence[str], logits: Tensor, draw: Draw) -> Gates:
        """Return the gates of the candidates of a row that are computed.

        Args:
            names: Its candidates.
            logits: Their architecture parameters, ``(n,)``.
            draw: What was sampled.
        """
        paths: list[int] = draw.paths.tolist()
        if self.mode == "path":
            return {names[paths[draw.active]]: torch.ones((), dtype=logits.dtype, device=logits.device)}
        probabilities = torch.softmax(logits[draw.paths], -1)
        binary = torch.nn.functional.one_hot(torch.tensor(draw.active), len(paths)).to(probabilities)
        gates = binary + probabilities - probabilities.detach()
        return dict(zip((names[path] for path in paths), gates, strict=True))

    def logits(self, choice: AnyChoiceSpec) -> list[Tensor]:
        """Return the architecture parameters of each row of a choice, a number for each candidate."""
        return candidate_rows(choice, self.alpha(choice.key))

    def opened(self) -> list[tuple[str, int, str]]:
        """Return the sampled path: key of a choice, number of the row, and name of the candidate that is open."""
        return [
            (choice.key, number, names[int(draw.paths[draw.active])])
            for choice in self.space.choices
            for number, (names, draw) in enumerate(zip(choice.rows, self.draws[choice.key], strict=True))
        ]

    def log_probability(self) -> Tensor:
        """Return the logarithm of the probability of the sampled path, a scalar."""
        return torch.stack(
            [
                torch.log_softmax(row, -1)[draw.paths[draw.active]]
                for choice in self.space.choices
                for row, draw in zip(self.logits(choice), self.draws[choice.key], strict=True)
            ]
        ).sum()

    def sampled(self) -> dict[str, list[Tensor]]:
        """Return the sampled path as weights: key of a choice -> for each of its rows a 1 at the open candidate."""
        return {
            choice.key: [
                torch.nn.functional.one_hot(draw.paths[draw.active], len(row)).to(row)
                for row, draw in zip(self.logits(choice), self.draws[choice.key], strict=True)
            ]
            for choice in self.space.choices
        }

    @torch.no_grad()
    def rescale(self, before: Sequence[Tensor]) -> None:
        """Shift the parameters of two sampled paths so that the probabilities of the others are not changed by them.

        Args:
            before: The architecture parameters before the step.
        """
        for choice, old in zip(self.space.choices, before, strict=True):
            new = self.alpha(choice.key)
            for number, draw in enumerate(self.draws[choice.key]):
                row, old_row = (new, old) if new.dim() == 1 else (new[number], old[number])
                if len(draw.paths) == 2:
                    change = torch.logsumexp(row[draw.paths], -1) - torch.logsumexp(old_row[draw.paths], -1)
                    row[draw.paths] -= change
