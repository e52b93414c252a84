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
from torch import nn

from nasreg.errors import SpaceError
from nasreg.events import StageStarted
from nasreg.nn import CandidateSite, TransformHandle, extract_space, parameter_count, transform_candidates
from nasreg.report import draw_candidates, missing_packages
from nasreg.runs import RunDirectory
from nasreg.specs import NONE, SKIP, CellSpec, genotype_text
from nasreg.trainers import BilevelTrainer, OneShotContext
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
        warmup: Epochs at its start that train weights only.
        decay: Exponent per epoch after them.
    """
    if epoch < warmup:
        return start * (epochs - epoch - 1) / epochs
    return start * math.exp(-decay * (epoch - warmup))


class PdartsTrainer(BilevelTrainer):
    """Runs the stages.

    Args:
        context: The search.
        config: Options.

    Attributes:
        stage: The present stage, from 0.
        candidates: The candidates left on each edge; None in the first stage, which has all.

    Raises:
        SpaceError: The space has no depth or one without effect, or at one of the depths other choices than at the
            first.
    """

    config: PdartsTrainerConfig
    mutator: PdartsMutator

    def __init__(self, context: OneShotContext, config: PdartsTrainerConfig) -> None:
        super().__init__(context, config)
        self.stage = 0
        self.candidates: Candidates | None = None
        self._dropouts: list[nn.Dropout] = []
        self._transform: TransformHandle | None = None
        title = context.spec.space.title
        sizes = {}
        for added in config.added_cells:
            with torch.device("meta"):  # no memory, no time
                model = context.build_supernet(depth=self._depth(added))
            sizes[added] = (parameter_count(model), len([*model.modules()]))
            space = extract_space(model)
            if space.fingerprint != context.space.fingerprint:
                raise SpaceError(
                    f"the space {title!r} has other choices when {added} cells are added: start from a larger depth, so"
                    " that every kind of cell is there from the first stage on"
                )
        if len(set(sizes.values())) < len(sizes):
            raise SpaceError(
                f"the space {title!r} is of the same size with {' and '.join(map(str, sizes))} cells added: its depth"
                " has no effect, and P-DARTS needs deeper supernets"
            )

    def _depth(self, added: int) -> int:
        depth = self.context.capabilities["depth"]
        if isinstance(depth, bool) or not isinstance(depth, int):
            raise SpaceError(
                f"the depth of space {self.context.spec.space.title!r} is {depth!r}, but P-DARTS adds cells to a number"
                " of them: set it"
            )
        return depth + added

    @property
    def epochs(self) -> int:
        """All epochs of all stages."""
        return len(self.config.added_cells) * self.config.epochs

    def setup(self) -> None:
        """Build the supernet of the first stage."""
        self._build_stage(0, None)

    def _build_stage(self, stage: int, candidates: Candidates | None) -> None:
        self.stage, self.candidates = stage, candidates
        changed: dict[str, Any] = {} if candidates is None else {"edge_candidates": candidates}
        self.model = self.build(depth=self._depth(self.config.added_cells[stage]), **changed)
        self._dropouts, self._transform = _add_dropout(self.model)
        space = extract_space(self.model)
        for key, edges in (candidates or {}).items():
            if cast("CellSpec", space[key]).candidates != edges:
                raise SpaceError(
                    f"the space {self.context.spec.space.title!r} does not keep to the candidates on the edges of cell"
                    f" {key!r} that it is given (edge_candidates)"
                )
        self.mutator = self.context.make_mutator(space).to(self.context.device)
        self.mutator.full_space = self.context.space
        self.mutator.attach(self.model)
        self.make_optimizers()

    def start_epoch(self, epoch: int) -> None:
        """Enter the next stage when its first epoch begins, and set learning rate and dropout."""
        stage, within = divmod(epoch, self.config.epochs)
        if stage != self.stage:
            self._build_stage(stage, self.mutator.strongest(self.config.kept[stage - 1]))
        if within == 0 and self.state.step == 0:
            self.emit(StageStarted(stage + 1, len(self.config.added_cells), epoch + 1, self._summary()))
        super().start_epoch(within)
        config = self.config
        for dropout in self._dropouts:
            dropout.p = dropout_rate(
                config.dropout[stage], within, config.epochs, config.warmup_epochs, config.dropout_decay
            )

    def _summary(self) -> str:
        left = max(len(names) for cell in self._cells() for names in cell.candidates)
        return (
            f"{self.config.added_cells[self.stage]} cells added, {left} candidates per edge,"
            f" {parameter_count(self.model):,} parameters, dropout {self.config.dropout[self.stage]:g}"
        )

    def _cells(self) -> Iterator[CellSpec]:
        return (choice for choice in self.mutator.space.choices if isinstance(choice, CellSpec))

    def end_epoch(self, epoch: int, metrics: Mapping[str, float]) -> None:
        """Record the candidates that a stage leaves, and after the last one the cells for every limit on skips."""
        super().end_epoch(epoch, metrics)
        stage, within = divmod(epoch, self.config.epochs)
        if self.run is not None and within + 1 == self.config.epochs:
            self._record_stage(self.run, stage)

    def _record_stage(self, run: RunDirectory, stage: int) -> None:
        last = stage + 1 == len(self.config.added_cells)
        left = self._left_of_last_stage() if last else self.mutator.strongest(self.config.kept[stage])
        weights = {key: rows for key, rows in self.mutator.weights().items() if key in left}
        name = f"stages/stage-{stage + 1}"
        run.write_json(f"{name}.json", {"left": left, "weights": weights})
        title = f"after stage {stage + 1} of {len(self.config.added_cells)}"
        if not missing_packages():
            draw_candidates(self.context.space, run.path / f"{name}.svg", remaining=left, weights=weights, title=title)
        if last:
            self._record_every_limit(run)

    def _left_of_last_stage(self) -> Candidates:
        """Return the strongest candidate of each edge other than ``none``."""
        left: Candidates = {}
        for cell in self._cells():
            rows = zip(cell.candidates, self.mutator.rows(cell), strict=True)
            left[cell.key] = tuple((max(zip(row, names, strict=True), key=_without_none)[1],) for names, row in rows)
        return left

    def _record_every_limit(self, run: RunDirectory) -> None:
        max_edges = max(sum(cell.kept(node) for node in range(cell.nodes)) for cell in self._cells())
        genotypes = {}
        for limit in range(max_edges, -1, -1):
            architecture = self.mutator.restricted(limit)
            run.write_text(f"max-skips/{limit}.json", architecture.to_json())
            genotypes[str(limit)] = genotype_text(self.context.space, architecture)
        run.write_text("max-skips/genotypes.json", json.dumps(genotypes, indent=2) + "\n")

    def supernet(self) -> nn.Module | None:
        """Return the supernet of the last stage, with its choices undecided and no dropout in its skip connections."""
        if self._transform is not None:
            self._transform.remove()
        return super().supernet()

    def state_dict(self) -> dict[str, Any]:
        """Add the present stage."""
        left = None if self.candidates is None else {key: [*map(list, edges)] for key, edges in self.candidates.items()}
        return {**super().state_dict(), "stage": {"number": self.stage, "candidates": left}}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Build the stage that was interrupted, and restore it."""
        left = state["stage"]["candidates"]
        candidates = None if left is None else {key: tuple(map(tuple, edges)) for key, edges in left.items()}
        self._build_stage(state["stage"]["number"], cast("Candidates | None", candidates))
        super().load_state_dict(state)


def _without_none(pair: tuple[float, str]) -> float:
    return -1.0 if pair[1] == NONE else pair[0]


def _add_dropout(model: nn.Module) -> tuple[list[nn.Dropout], TransformHandle]:
    """Replace the skip connections of stride 1, which are the identity, by dropout."""
    dropouts: list[nn.Dropout] = []

    def transform(site: CandidateSite, module: nn.Module) -> nn.Module:
        if site.edge is None or site.candidate != SKIP or not isinstance(module, nn.Identity):
            return module
        dropouts.append(nn.Dropout(0.0))
        return dropouts[-1]

    return dropouts, transform_candidates(model, transform)
