"""Building blocks of differentiable algorithms: softmax weights over candidates, and architectures derived from them.

The relaxation and the derivation of cells are those of DARTS (Liu, Simonyan, Yang, arXiv 1806.09055, sections 2.2 and
2.4). Two parts can be added to whatever weights an algorithm gives the candidates: edge normalisation (PC-DARTS,
arXiv 1907.05737, section 3.3) by an option of the mutator, and noise (the random smoothing of SmoothDARTS, Chen and
Hsieh, arXiv 2002.05283, section 3.1) by the trainer.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import cast

import torch
from torch import Tensor, nn

from nasreg.mutators.base import OneShotMutator
from nasreg.mutators.config import SoftmaxMutatorConfig
from nasreg.nn.answers import Answer, CellWeights, HardWeights, Weights
from nasreg.specs.architecture import Architecture, CellDecision, Decision, Edge, InputDecision
from nasreg.specs.cell import CellSpec
from nasreg.specs.choices import InputChoiceSpec, RepeatSpec, ValueChoiceSpec
from nasreg.specs.space import SKIP, AnyChoiceSpec, SearchSpaceSpec


class SoftmaxMutator(OneShotMutator):
    """Holds one architecture parameter (alpha) for each candidate and answers with their softmax.

    - A cell has a matrix ``(edges, candidates)``, ``none`` among them. Per node, or per slot of a node, the edges with
      the largest softmax weight over candidates that can be chosen are kept, and on each its best one: see
      ``derive_cell``.
    - A layer choice has a vector ``(candidates,)``; the largest is chosen. So it is with values and depths; but their
      choices take decisions only, so that an algorithm for them overrides ``answer``.
    - An input choice of n inputs has a vector ``(inputs,)``: its softmax, times n for a sum; the n largest are chosen.
      If any number may be chosen, each input has a sigmoid of its own, and those above one half are chosen. (The paper
      has no input choices; this is the same relaxation applied to them.)

    An algorithm that samples overrides ``candidate_weights``; ``answer`` adds the parts that do not depend on how
    candidates are weighed.

    Args:
        space: The search space.
        config: Options.

    Attributes:
        alphas: The architecture parameters, one tensor per choice, in the order of ``space.choices``.
        betas: With edge normalisation, the parameters ``(edges,)`` of each cell, in the order of ``space.choices``.
    """

    config: SoftmaxMutatorConfig

    def __init__(self, space: SearchSpaceSpec, config: SoftmaxMutatorConfig) -> None:
        super().__init__(space, config)
        self.alphas = nn.ParameterList(
            nn.Parameter(config.init_std * torch.randn(_alpha_shape(choice))) for choice in space.choices
        )
        self._index = {choice.key: number for number, choice in enumerate(space.choices)}
        cells = [choice for choice in space.choices if isinstance(choice, CellSpec) and config.edge_normalization]
        self.betas = nn.ParameterList(nn.Parameter(config.init_std * torch.randn(cell.n_edges)) for cell in cells)
        self._beta_index = {cell.key: number for number, cell in enumerate(cells)}
        self._noise: dict[str, Tensor] = {}

    def alpha(self, key: str) -> nn.Parameter:
        """Return the alphas of a choice: ``(edges, candidates)`` for a cell, else one for each candidate or value.

        On edges with fewer candidates than others, the last columns are unused.
        """
        alpha: nn.Parameter = self.alphas[self._index[key]]
        return alpha

    def beta(self, key: str) -> nn.Parameter | None:
        """Return the parameters ``(edges,)`` of a cell's edges; None without edge normalisation."""
        beta: nn.Parameter | None = self.betas[self._beta_index[key]] if key in self._beta_index else None
        return beta

    def answer(self, choice: AnyChoiceSpec) -> Answer:
        """Return the weights of the candidates with noise, if there is any, and of the edges of a cell, if there are.

        A subclass overrides ``candidate_weights``.
        """
        weights = self._with_noise(choice, self.candidate_weights(choice))
        edges = self.edge_weights(choice)
        return weights if edges is None else CellWeights(cast("Tensor", weights), edges)

    def candidate_weights(self, choice: AnyChoiceSpec) -> Answer:
        """Return the weights of all candidates of a choice; a subclass may return samples of them."""
        return self.probabilities(choice)

    def edge_weights(self, choice: AnyChoiceSpec) -> Tensor | None:
        """Return the weights of a cell's edges, ``(edges,)``; None for other choices, or without edge normalisation.

        Those into a node, or into a slot of a node, add up to 1.
        """
        beta = self.beta(choice.key)
        if beta is None or not isinstance(choice, CellSpec):
            return None
        slots = [(node, slot) for node in range(choice.nodes) for slot in range(choice.slots(node))]
        parts = torch.split(beta, [len(choice.slot_edges(*each)) for each in slots])
        return torch.cat([torch.softmax(part, 0) for part in parts])

    @contextmanager
    def perturbed(self, size: float) -> Iterator[None]:
        """Add noise to all weights of candidates in the forward passes inside this context.

        It is drawn once, uniformly from ``[-size, size]`` for each candidate: the random smoothing of SmoothDARTS. The
        derived architecture and the reports do not depend on it.

        Args:
            size: 0 for no noise; then nothing is drawn.
        """
        if size > 0:
            self._noise = self.draw_noise(size)
        try:
            yield
        finally:
            self._noise = {}

    def draw_noise(self, size: float) -> dict[str, Tensor]:
        """Draw the noise of ``perturbed``: for each choice a tensor of the shape of its alphas."""
        noise = ((choice.key, torch.empty_like(self.alpha(choice.key))) for choice in self.space.choices)
        return {key: values.detach().uniform_(-size, size) for key, values in noise}

    def _with_noise(self, choice: AnyChoiceSpec, weights: Answer) -> Answer:
        noise = self._noise.get(choice.key)
        if noise is None:
            return weights
        if isinstance(choice, CellSpec) and not isinstance(weights, Tensor):
            rows = cast("Sequence[Weights]", weights)
            return [_add(row, own, names) for row, own, names in zip(rows, noise, choice.rows, strict=True)]
        return _add(cast("Weights", weights), noise, choice.rows[0])

    def probabilities(self, choice: AnyChoiceSpec) -> Tensor | list[Tensor]:
        """Return the weights of all candidates of a choice, from which reports and architectures are made."""
        alpha = self.alpha(choice.key)
        if isinstance(choice, InputChoiceSpec):
            weights = torch.sigmoid(alpha) if choice.n_chosen is None else torch.softmax(alpha, -1)
            if choice.reduction == "mean":
                return weights / weights.sum()
            return weights * (choice.n_chosen or 1)
        if isinstance(choice, CellSpec) and len({len(names) for names in choice.candidates}) > 1:
            return [torch.softmax(row, -1) for row in candidate_rows(choice, alpha)]
        return torch.softmax(alpha, -1)

    @torch.no_grad()
    def architecture(self) -> Architecture:
        """Derive the architecture from the alphas."""
        return self.space.architecture({choice.key: self.decide(choice) for choice in self.space.choices})

    def decide(self, choice: AnyChoiceSpec) -> Decision:
        """Derive the decision of a choice."""
        if isinstance(choice, CellSpec):
            return derive_cell(choice, self.rows(choice))
        if isinstance(choice, InputChoiceSpec):
            return self._decide_inputs(choice)
        best = int(self.alpha(choice.key).argmax())
        if isinstance(choice, ValueChoiceSpec):
            return choice.values[best]
        return choice.depths[best] if isinstance(choice, RepeatSpec) else choice.candidates[best]

    def _decide_inputs(self, choice: InputChoiceSpec) -> InputDecision:
        alpha = self.alpha(choice.key).tolist()
        ranked = sorted(range(len(alpha)), key=lambda number: -alpha[number])
        n = choice.n_chosen
        if n is None:
            n = max(choice.min_chosen, sum(value > 0 for value in alpha))
        return tuple(choice.candidates[number] for number in sorted(ranked[:n]))

    @torch.no_grad()
    def weights(self) -> dict[str, list[dict[str, float]]]:
        """Return the weight of every candidate: for a cell a row for each edge, else one row."""
        found = {}
        for choice in self.space.choices:
            weights = self.probabilities(choice)
            rows = [weights] if isinstance(weights, Tensor) and weights.dim() == 1 else weights
            found[choice.key] = [
                dict(zip(names, row.tolist(), strict=True)) for names, row in zip(choice.rows, rows, strict=True)
            ]
        return found

    @torch.no_grad()
    def strengths(self) -> Mapping[str, tuple[float, ...]]:
        """Return the strength of each edge or choice; that of an edge with a weight of its own is multiplied by it."""
        strengths = dict(super().strengths())
        for choice in self.space.choices:
            if (edges := self.edge_weights(choice)) is not None:
                pairs = zip(strengths[choice.key], edges.tolist(), strict=True)
                strengths[choice.key] = tuple(strength * edge for strength, edge in pairs)
        return strengths

    @torch.no_grad()
    def rows(self, choice: CellSpec) -> list[list[float]]:
        """Return the weights that a cell is derived from: a row for each edge, a number for each of its candidates.

        They are the softmax of the alphas, and with edge normalisation that times the weight of the edge.
        """
        edges = self.edge_weights(choice)
        rows = [*self.probabilities(choice)]
        return [(row if edges is None else row * edges[number]).tolist() for number, row in enumerate(rows)]


class SkipCountingMutator(SoftmaxMutator):
    """A softmax mutator that shows how many skip connections each cell keeps, since searches collapse into them."""

    def diagnostics(self, architecture: Architecture) -> Mapping[str, float]:
        """Return the number of skip connections in each cell."""
        counts = count_operation(self.space, architecture, SKIP)
        return {f"{SKIP} in {key}": float(count) for key, (count, _) in counts.items()}

    def warnings(self, architecture: Architecture) -> Sequence[str]:
        """Return a warning for each normal cell that collapses into skip connections."""
        return collapse_warnings(self.space, architecture, SKIP)


def candidate_rows(choice: AnyChoiceSpec, values: Tensor) -> list[Tensor]:
    """Return numbers of the candidates of each row of a choice, without the columns that a shorter row does not use.

    Args:
        choice: The choice; a cell has a row for each edge, any other has one.
        values: A tensor of the shape of the choice's alphas.
    """
    rows = values if values.dim() == 2 else values[None]
    return [row[: len(names)] for row, names in zip(rows.unbind(), choice.rows, strict=True)]


def derive_cell(cell: CellSpec, weights: Sequence[Sequence[float]]) -> CellDecision:
    """Keep the strongest edges of each node, and on each the strongest operation that can be chosen.

    That is any but ``none``, unless ``cell.none_selectable``. With ``repeat_sources`` each slot keeps its strongest
    edge.

    Args:
        cell: The cell.
        weights: Softmax weights per edge, over all of its candidates, ``none`` included.

    Returns:
        The decision; the stronger edge of a node, or of a slot, comes first. Equal ones keep their order.
    """
    return tuple(
        tuple(edge for slot in range(cell.slots(node)) for edge in _strongest_edges(cell, node, slot, weights))
        for node in range(cell.nodes)
    )


def _strongest_edges(cell: CellSpec, node: int, slot: int, weights: Sequence[Sequence[float]]) -> list[Edge]:
    best = []
    for source, edge in enumerate(cell.slot_edges(node, slot)):
        selectable = cell.selectable(edge)
        usable = [
            (weight, name)
            for name, weight in zip(cell.candidates[edge], weights[edge], strict=True)
            if name in selectable
        ]
        if usable:
            strongest = max(usable, key=lambda pair: pair[0])
            best.append((-strongest[0], source, strongest[1]))
    best.sort(key=lambda item: item[0])
    return [(name, source) for _, source, name in best[: cell.kept(node) // cell.slots(node)]]


def count_operation(space: SearchSpaceSpec, architecture: Architecture, operation: str) -> dict[str, tuple[int, int]]:
    """Return how many of the edges that each cell keeps have an operation, and how many edges it keeps, by its key."""
    counts = {}
    for cell in space.choices:
        if isinstance(cell, CellSpec):
            kept = [edge for node in cast("CellDecision", architecture.decisions[cell.key]) for edge in node]
            counts[cell.key] = (sum(name == operation for name, _ in kept), len(kept))
    return counts


def cells_above(space: SearchSpaceSpec, architecture: Architecture, operation: str, limit: int) -> dict[str, int]:
    """Return the normal cells in which more edges than a limit have an operation: how many, by the key of the cell."""
    return {
        key: count
        for key, (count, _) in count_operation(space, architecture, operation).items()
        if count > limit and not cast("CellSpec", space[key]).reduction
    }


def collapse_warnings(space: SearchSpaceSpec, architecture: Architecture, operation: str) -> list[str]:
    """Return a warning for each normal cell in which more than half of the kept edges have one operation.

    With skip connections this is the collapse that arXiv 1904.12760, section 3.3, describes.
    """
    return [
        f"cell {key!r} collapses: {count} of its {kept} edges are {operation}. Such architectures rarely retrain well;"
        " fewer epochs or another seed may help"
        for key, (count, kept) in count_operation(space, architecture, operation).items()
        if 2 * count > kept and not cast("CellSpec", space[key]).reduction
    ]


def _add(weights: Weights, noise: Tensor, names: Sequence[str]) -> Weights:
    """Add noise to the weights of candidates, all of them or some by name; hard ones stay one-hot."""
    if isinstance(weights, HardWeights):
        return weights
    if isinstance(weights, Tensor):
        return weights + noise[..., : weights.shape[-1]]
    return {name: weight + noise[names.index(name)] for name, weight in weights.items()}


def _alpha_shape(choice: AnyChoiceSpec) -> tuple[int, ...]:
    if isinstance(choice, CellSpec):
        return (choice.n_edges, max(len(names) for names in choice.candidates))
    return (len(choice.rows[0]),)
