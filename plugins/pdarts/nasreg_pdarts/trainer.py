"""The stages of P-DARTS (Chen, Xie, Wu, Tian, arXiv 1904.12760, sections 3.2 and 3.3).

Each stage searches a deeper supernet, built anew, with fewer candidates on each edge. Its first epochs train weights
only. Dropout after the skip connections of stride 1 keeps them from winning early.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from typing import Any, cast

import torch
from torch import Tensor, nn

from nasreg.draw import draw_candidates
from nasreg.errors import SpaceError
from nasreg.events import StageStarted
from nasreg.nn import Cell, extract_space
from nasreg.specs import NONE, SKIP, CellSpec, genotype_text
from nasreg.trainers import Batch, SearchTask
from nasreg_darts.trainer import BilevelTrainer
from nasreg_pdarts.config import PdartsTrainerConfig
from nasreg_pdarts.mutator import PdartsMutator

Candidates = dict[str, tuple[tuple[str, ...], ...]]
"""Key of a cell -> names of the candidates on each edge."""


def dropout_rate(start: float, epoch: int, epochs: int, warmup: int, decay: float) -> float:
    """Return the dropout of an epoch of a stage, as the authors' program sets it.

    Args:
        start: Rate of the stage.
        epoch: Epoch of the stage, from 0.
        epochs: Epochs of the stage.
        warmup: Those that train weights only.
        decay: Exponent of an epoch after them.
    """
    if epoch < warmup:
        return start * (epochs - epoch - 1) / epochs
    return start * math.exp(-decay * (epoch - warmup))


class PdartsTrainer(BilevelTrainer):
    """Goes through the stages.

    Args:
        task: What to search.
        config: Options.

    Attributes:
        stage: The present stage, from 0.
        candidates: What is left on each edge; None in the first stage, which has all.

    Raises:
        SpaceError: The space at one of the depths has other choices than at the first.
    """

    options: PdartsTrainerConfig
    mutator: PdartsMutator

    def __init__(self, task: SearchTask, config: PdartsTrainerConfig) -> None:
        super().__init__(task, config)
        self.stage = 0
        self.candidates: Candidates | None = None
        self._dropouts: list[nn.Dropout] = []
        for added in config.added_cells:
            with torch.device("meta"):  # no memory, no time
                space = extract_space(task.build(added_depth=added))
            if space.fingerprint != task.space.fingerprint:
                raise SpaceError(
                    f"with {added} cells more the space has other choices than with its own number:"
                    " raise space.cells, so that every kind of cell is there from the first stage on"
                )

    @property
    def epochs(self) -> int:
        """All epochs of all stages."""
        return len(self.options.added_cells) * self.options.epochs

    def setup(self) -> None:
        """Build the supernet of the first stage."""
        self._build_stage(0, None)

    def _build_stage(self, stage: int, candidates: Candidates | None) -> None:
        self.stage, self.candidates = stage, candidates
        added = self.options.added_cells[stage]
        self.model = self.build(added_depth=added, edge_candidates=candidates)
        self._dropouts = [nn.Dropout(0.0) for _ in _skips(self.model)]
        for (edge, name), dropout in zip(list(_skips(self.model)), self._dropouts, strict=True):
            edge[name] = dropout
        self.mutator = self.task.mutator(extract_space(self.model)).to(self.task.device)
        self.mutator.whole = self.task.space
        self.mutator.attach(self.model)
        self.make_optimizers()

    def start_epoch(self, epoch: int) -> None:
        """Enter the next stage where it is time to, and set learning rate and dropout."""
        stage, within = divmod(epoch, self.options.epochs)
        if stage != self.stage:
            self._build_stage(stage, self.mutator.strongest(self.options.kept[stage - 1]))
        if within == 0 and self.position.step == 0:
            self.task.emit(StageStarted(stage, len(self.options.added_cells), epoch, self._summary()))
        super().start_epoch(within)
        options = self.options
        for dropout in self._dropouts:
            dropout.p = dropout_rate(
                options.dropout[stage], within, options.epochs, options.warmup_epochs, options.dropout_decay
            )

    def _summary(self) -> str:
        left = max(len(names) for cell in self._cells() for names in cell.candidates)
        parameters = sum(parameter.numel() for parameter in self.model.parameters())
        return (
            f"{self.options.added_cells[self.stage]} cells added, {left} candidates an edge, {parameters:,} weights,"
            f" dropout {self.options.dropout[self.stage]:g}"
        )

    def _cells(self) -> Iterator[CellSpec]:
        return (choice for choice in self.mutator.space.choices if isinstance(choice, CellSpec))

    def wants_alphas(self, epoch: int) -> bool:
        """Return whether the warm-up of the stage is over."""
        return epoch % self.options.epochs >= self.options.warmup_epochs

    def alpha_gradient(self, train: Batch, valid: Batch) -> list[Tensor]:
        """Return the first-order gradient by the alphas, clipped."""
        gradient = super().alpha_gradient(train, valid)
        norm = torch.linalg.vector_norm(torch.stack([torch.linalg.vector_norm(part) for part in gradient]))
        scale = (self.options.alphas_grad_clip / (norm + 1e-6)).clamp(max=1)  # as torch's clip_grad_norm_ has it
        return [part * scale for part in gradient]

    def end_epoch(self, epoch: int, metrics: Mapping[str, float]) -> None:
        """Keep in the run directory what a stage leaves, and after the last one the cells for every limit on skips."""
        super().end_epoch(epoch, metrics)
        stage, within = divmod(epoch, self.options.epochs)
        run, last = self.task.run, stage + 1 == len(self.options.added_cells)
        if run is None or within + 1 < self.options.epochs:
            return
        left = self._left_of_last_stage() if last else self.mutator.strongest(self.options.kept[stage])
        weights = {key: rows for key, rows in self.mutator.weights().items() if key in left}
        name = f"stages/stage-{stage + 1}"
        run.write_json(f"{name}.json", {"left": left, "weights": weights})
        title = f"after stage {stage + 1} of {len(self.options.added_cells)}"
        draw_candidates(self.task.space, run.path / f"{name}.svg", left=left, weights=weights, title=title)
        if last:
            self._keep_every_limit()

    def _left_of_last_stage(self) -> Candidates:
        """After the last stage ``none`` goes first, and then all but the strongest."""
        left: Candidates = {}
        for cell in self._cells():
            rows = zip(cell.candidates, self.mutator.rows(cell), strict=True)
            left[cell.key] = tuple((max(zip(row, names, strict=True), key=_without_none)[1],) for names, row in rows)
        return left

    def _keep_every_limit(self) -> None:
        assert self.task.run is not None  # noqa: S101  # asked before
        most = max(sum(cell.kept(node) for node in range(cell.nodes)) for cell in self._cells())
        genotypes = {}
        for limit in range(most, -1, -1):
            architecture = self.mutator.restricted(limit)
            self.task.run.write_text(f"max-skips/{limit}.json", architecture.to_json())
            genotypes[str(limit)] = genotype_text(self.task.space, architecture)
        self.task.run.write_text("max-skips/genotypes.json", json.dumps(genotypes, indent=2) + "\n")

    def supernet(self) -> nn.Module | None:
        """Return the supernet of the last stage, with its choices undecided and no dropout in its skip connections."""
        for edge, name in list(_skips(self.model)):
            edge[name] = nn.Identity()
        return super().supernet()

    def state_dict(self) -> dict[str, Any]:
        """Add the present stage."""
        left = None if self.candidates is None else {key: [*map(list, edges)] for key, edges in self.candidates.items()}
        return {**super().state_dict(), "stage": {"number": self.stage, "candidates": left}}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Build the stage that was under way, and go on with it."""
        left = state["stage"]["candidates"]
        candidates = None if left is None else {key: tuple(map(tuple, edges)) for key, edges in left.items()}
        self._build_stage(state["stage"]["number"], cast("Candidates | None", candidates))
        super().load_state_dict(state)


def _without_none(pair: tuple[float, str]) -> float:
    return -1.0 if pair[1] == NONE else pair[0]


def _skips(model: nn.Module) -> Iterator[tuple[nn.ModuleDict, str]]:
    """Find the skip connections of stride 1: those that are the identity, or the dropout in its place."""
    for module in model.modules():
        if isinstance(module, Cell):
            for edge in module.edges:
                assert isinstance(edge, nn.ModuleDict)  # noqa: S101  # a Cell is made of them
                if SKIP in edge and isinstance(edge[SKIP], nn.Identity | nn.Dropout):
                    yield edge, SKIP
