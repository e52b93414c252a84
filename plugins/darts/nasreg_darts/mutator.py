"""The alphas of DARTS: a softmax over the candidates of every choice (arXiv 1806.09055, sections 2.2 and 2.4)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from nasreg.mutators import OneShotMutator
from nasreg.specs import (
    NONE,
    Architecture,
    CellDecision,
    CellSpec,
    Decision,
    InputChoiceSpec,
    InputDecision,
    LayerChoiceSpec,
    SearchSpaceSpec,
)
from nasreg_darts.config import DartsMutatorConfig

AnyChoice = LayerChoiceSpec | InputChoiceSpec | CellSpec


class DartsMutator(OneShotMutator):
    """Holds one alpha for each candidate and answers with their softmax.

    - A cell has a matrix ``(edges, candidates)``, ``none`` among them. Per node the edges with the largest softmax
      weight over candidates other than ``none`` are kept, and on each its best candidate other than ``none``.
    - A layer choice has a vector ``(candidates,)``; the largest is chosen.
    - An input choice of n inputs has a vector ``(inputs,)``: its softmax, times n for a sum; the n largest are chosen.
      Where any number may be chosen, each input has a sigmoid of its own, and those above one half are chosen. (The
      paper has no input choices; this is the same relaxation carried over to them.)

    Args:
        space: The search space.
        config: Options.

    Attributes:
        alphas: Key of a choice -> parameter, in the order of ``space.choices``.
    """

    config: DartsMutatorConfig

    def __init__(self, space: SearchSpaceSpec, config: DartsMutatorConfig) -> None:
        super().__init__(space, config)
        self.alphas = nn.ParameterList(
            nn.Parameter(config.init_std * torch.randn(_alpha_shape(choice))) for choice in space.choices
        )
        self._index = {choice.key: number for number, choice in enumerate(space.choices)}

    def alpha(self, key: str) -> nn.Parameter:
        """Return the alphas of a choice: ``(edges, candidates)`` for a cell, else ``(candidates,)``.

        On edges with fewer candidates than others, the last columns are not used.
        """
        alpha: nn.Parameter = self.alphas[self._index[key]]
        return alpha

    def answer(self, choice: AnyChoice) -> Tensor | list[Tensor]:
        """Return the weights of the mixture."""
        alpha = self.alpha(choice.key)
        if isinstance(choice, InputChoiceSpec):
            weights = torch.sigmoid(alpha) if choice.n_chosen is None else torch.softmax(alpha, -1)
            if choice.reduction == "mean":
                return weights / weights.sum()
            return weights * (choice.n_chosen or 1)
        if isinstance(choice, CellSpec) and len({len(names) for names in choice.candidates}) > 1:
            return [torch.softmax(row[: len(names)], -1) for row, names in zip(alpha, choice.candidates, strict=True)]
        return torch.softmax(alpha, -1)

    @torch.no_grad()
    def architecture(self) -> Architecture:
        """Derive the architecture from the alphas (arXiv 1806.09055, section 2.4)."""
        return self.space.architecture({choice.key: self.decide(choice) for choice in self.space.choices})

    def decide(self, choice: AnyChoice) -> Decision:
        """Return what is derived for a choice."""
        if isinstance(choice, CellSpec):
            return derive_cell(choice, self.rows(choice))
        if isinstance(choice, LayerChoiceSpec):
            return choice.candidates[int(self.alpha(choice.key).argmax())]
        return self._decide_inputs(choice)

    def _decide_inputs(self, choice: InputChoiceSpec) -> InputDecision:
        alpha = self.alpha(choice.key).tolist()
        ranked = sorted(range(len(alpha)), key=lambda number: -alpha[number])
        n = choice.n_chosen if choice.n_chosen is not None else max(choice.least, sum(value > 0 for value in alpha))
        return tuple(choice.candidates[number] for number in sorted(ranked[:n]))

    @torch.no_grad()
    def weights(self) -> dict[str, list[dict[str, float]]]:
        """Return the weights of the mixture: for a cell a row for each edge, else one row."""
        found = {}
        for choice in self.space.choices:
            if isinstance(choice, CellSpec):
                named = zip(choice.candidates, self.rows(choice), strict=True)
            else:
                answer = self.answer(choice)
                assert isinstance(answer, Tensor)  # noqa: S101  # only cells answer with a list
                named = zip([choice.candidates], [answer.tolist()], strict=True)
            found[choice.key] = [dict(zip(names, row, strict=True)) for names, row in named]
        return found

    def rows(self, choice: CellSpec) -> list[list[float]]:
        """Return the softmax weights of a cell: a row for each edge, a number for each of its candidates."""
        return [row.tolist() for row in self.answer(choice)]


def derive_cell(cell: CellSpec, weights: Sequence[Sequence[float]]) -> CellDecision:
    """Keep the strongest edges of each node, and on each the strongest operation other than ``none``.

    Args:
        cell: The cell.
        weights: Softmax weights per edge, over all of its candidates, ``none`` included.

    Returns:
        The decision; within a node the stronger edge comes first. Equal ones keep their order.
    """
    decision = []
    for node in range(cell.nodes):
        best = []
        for source, edge in enumerate(cell.edges_into(node)):
            usable = [
                (weight, name)
                for name, weight in zip(cell.candidates[edge], weights[edge], strict=True)
                if name != NONE
            ]
            if usable:
                strongest = max(usable, key=lambda pair: pair[0])
                best.append((-strongest[0], source, strongest[1]))
        best.sort(key=lambda item: item[0])
        decision.append(tuple((name, source) for _, source, name in best[: cell.kept(node)]))
    return tuple(decision)


def _alpha_shape(choice: AnyChoice) -> tuple[int, ...]:
    if isinstance(choice, CellSpec):
        return (choice.n_edges, max(len(names) for names in choice.candidates))
    return (len(choice.candidates),)
