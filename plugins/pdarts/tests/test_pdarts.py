"""The stages of a P-DARTS search: their supernets, what each step updates, and the files of a stage."""

from __future__ import annotations

import json
from contextlib import contextmanager
from dataclasses import dataclass

import pytest
import torch
from torch import nn

import nasreg
from nasreg.config.request import RunRequest
from nasreg.config.resolve import resolve
from nasreg.errors import ConfigError, IncompatibleError, SpaceError
from nasreg.events import EpochEnded, StageStarted, StepEnded
from nasreg.nn import Cell, LayerChoice
from nasreg.registry import Registry
from nasreg.testing import toy_images
from nasreg_pdarts import trainer as trainer_module

pytestmark = pytest.mark.usefixtures("without_report")

SPACE = {
    "cells": 3,
    "channels": 2,
    "nodes": 2,
    "candidates": ["none", "max_pool_3x3", "avg_pool_3x3", "skip_connect", "dil_conv_3x3"],
}
TRAINER = {
    "epochs": 2,
    "batch_size": 16,
    "warmup_epochs": 1,
    "added_cells": [0, 1, 2],
    "kept": [4, 3],
    "dropout": [0.1, 0.4, 0.7],
    "arch_lr": 0.1,
}


def search(out=None, callbacks=(), **more):
    arguments = {"space_options": SPACE, "trainer": TRAINER, "seed": 1, "device": "cpu", **more}
    return nasreg.search("darts", toy_images(80), "pdarts", out=out, callbacks=callbacks, **arguments)


@contextmanager
def watched():
    """Give the trainer of a search, as the only one of a list, for looking into it while it runs."""
    found = []
    original = trainer_module.PdartsTrainer.setup

    def setup(self):
        found.append(self)
        original(self)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trainer_module.PdartsTrainer, "setup", setup)
        yield found


@pytest.fixture
def seen():
    with watched() as found:
        yield found


@dataclass
class Searched:
    """What was seen of one search at its default options, by what is looked at."""

    result: nasreg.SearchResult
    stages: list
    epochs: list
    alphas: list
    dropout_of_edges: list


@pytest.fixture(scope="module")
def searched(tmp_path_factory, without_report):
    stages, epochs, alphas, edges = [], [], [], []

    def watch(event):
        trainer = found[0]
        if isinstance(event, StageStarted):
            stages.append(event)
        if isinstance(event, EpochEnded | StageStarted):
            alphas.append([alpha.detach().clone() for alpha in trainer.alphas])
        if isinstance(event, StepEnded) and event.step == 1:
            cells = [module for module in trainer.model.modules() if isinstance(module, Cell)]
            left = {len(names) for cell in trainer.mutator.space.choices for names in cell.candidates}
            dropouts = {module.p for module in trainer.model.modules() if isinstance(module, nn.Dropout)}
            rate = trainer.optimizers["weights"].param_groups[0]["lr"]
            epochs.append((trainer.stage, len(cells), left, dropouts, rate, trainer.model))
            if event.epoch == 1:
                for cell in cells:
                    for number, edge in enumerate(cell.edges):
                        reduces = cell.spec("k", ()).reduction and number not in (4,)  # edge 4 comes from a node
                        edges.append((isinstance(edge["skip_connect"], nn.Dropout), not reduces))

    with watched() as found:
        result = search(tmp_path_factory.mktemp("pdarts") / "run", callbacks=[watch])
    return Searched(result, stages, epochs, alphas, edges)


def resolved(preset):
    return resolve(Registry(), RunRequest(algorithm="pdarts", preset=preset, dataset="cifar10")).spec


def test_preset_paper_is_the_authors_command_line():
    spec = resolved("paper")
    assert spec.trainer == {
        "epochs": 25,
        "batch_size": 96,
        "accumulate": 1,
        "precision": "float32",
        "deterministic": True,
        "checkpoint_minutes": 10.0,
        "keep_freed_memory": True,
        "sync_batch_norm": False,
        "execution": "optimized",
        "activation_checkpointing": False,
        "lr": 0.025,
        "lr_min": 0.0,
        "momentum": 0.9,
        "weight_decay": 3e-4,
        "grad_clip": 5.0,
        "arch_lr": 6e-4,
        "arch_betas": [0.5, 0.999],
        "arch_weight_decay": 1e-3,
        "max_parameters": None,
        "max_macs": None,
        "max_latency_ms": None,
        "block_costs": None,
        "budget_weight": 1.0,
        "nesterov": False,
        "partial_channels": 1,
        "auxiliary_skip": 0.0,
        "auxiliary_skip_schedule": "linear",
        "perturbation": 0.0,
        "skip_limit": None,
        "skip_limit_action": "stop",
        "arch_grad_clip": 5.0,
        "warmup_epochs": 10,
        "added_cells": [0, 6, 12],
        "kept": [5, 3],
        "dropout": [0.1, 0.4, 0.7],
        "dropout_decay": 0.2,
    }
    assert spec.mutator == {"init_std": 1e-3, "edge_normalization": False, "max_skips": 2}
    assert (spec.space.options["cells"], spec.space.options["channels"]) == (5, 16)
    for preset, dropout in (("paper-cifar10", [0.0, 0.4, 0.7]), ("paper-cifar100", [0.1, 0.2, 0.3])):
        other = resolved(preset)
        assert other.trainer == {**spec.trainer, "dropout": dropout}


def test_each_stage_is_deeper_with_fewer_candidates_and_newly_initialised(searched):
    stages, epochs = searched.stages, searched.epochs
    assert [(event.stage, event.stages, event.epoch) for event in stages] == [(1, 3, 1), (2, 3, 3), (3, 3, 5)]
    assert "5 candidates per edge" in stages[0].summary
    assert [epoch[:3] for epoch in epochs] == [(s, 3 + s, {(5, 4, 3)[s]}) for s in (0, 0, 1, 1, 2, 2)]
    # p0 * (2 - 0 - 1) / 2 while only weights train, then p0
    expected = [{0.05}, {0.1}, {0.2}, {0.4}, {0.35}, {0.7}]
    assert [sorted(epoch[3]) for epoch in epochs] == [pytest.approx(sorted(rates)) for rates in expected]
    assert [epoch[4] for epoch in epochs] == pytest.approx([0.025, 0.0125] * 3)
    assert len({id(epoch[5]) for epoch in epochs}) == 3


def test_warm_up_trains_weights_only(searched):
    alphas = searched.alphas
    for start, warm, end in zip(alphas[::3], alphas[1::3], alphas[2::3], strict=True):
        assert all(torch.equal(a, b) for a, b in zip(start, warm, strict=True))
        assert not any(torch.equal(a, b) for a, b in zip(warm, end, strict=True))


def test_the_gradient_of_the_architecture_parameters_is_clipped(seen):
    norms = []

    def watch(event):
        if isinstance(event, StepEnded) and seen[0].alphas[0].grad is not None:
            norms.append(float(torch.stack([alpha.grad.norm() for alpha in seen[0].alphas]).norm()))

    search(callbacks=[watch], trainer={**TRAINER, "arch_grad_clip": 1e-4})
    assert norms
    assert max(norms) <= 1e-4 * 1.0001


def test_dropout_is_after_skips_of_stride_one_only(searched):
    assert {expected for _, expected in searched.dropout_of_edges} == {True, False}
    assert all(found == expected for found, expected in searched.dropout_of_edges)
    network = searched.result.model(keep_weights=True)
    assert not any(isinstance(module, nn.Dropout) for module in network.modules())


def test_the_files_of_the_stages_in_the_run_directory(searched):
    result = searched.result
    run = result.run_dir
    for stage, left in ((1, 4), (2, 3), (3, 1)):
        kept = json.loads((run / f"stages/stage-{stage}.json").read_text())
        assert {len(names) for edges in kept["left"].values() for names in edges} == {left}
        assert (run / f"stages/stage-{stage}.svg").read_text().startswith("<?xml")
        for key, rows in kept["weights"].items():
            for names, row in zip(kept["left"][key], rows, strict=True):
                assert sum(row.values()) == pytest.approx(1, abs=1e-5)
                dropped = [weight for name, weight in row.items() if name not in names and name != "none"]
                assert max(dropped, default=0) <= min(row[name] for name in names)
    genotypes = json.loads((run / "max-skips/genotypes.json").read_text())
    assert list(genotypes) == ["4", "3", "2", "1", "0"]
    for limit in genotypes:
        architecture = nasreg.Architecture.load(run / f"max-skips/{limit}.json")
        result.space.validate(architecture)
    assert nasreg.Architecture.load(run / "max-skips/2.json") == result.architecture
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [line["stage"] for line in lines if line["event"] == "stage"] == [1, 2, 3]
    assert result.genotype.startswith("Genotype(normal=[")
    assert result.model()(torch.rand(2, 1, 8, 8)).shape == (2, 2)


class Own(nn.Module):
    def __init__(self):
        super().__init__()
        self.choice = LayerChoice([nn.Conv2d(1, 2, 1), nn.Conv2d(1, 2, 3, padding=1)], key="a")

    def forward(self, x):
        return self.choice(x).mean((2, 3))


@pytest.mark.parametrize("space", ["chain", Own])
def test_a_space_that_cannot_grow_is_refused_before_anything_is_written(tmp_path, space):
    with pytest.raises(IncompatibleError, match="requires of a space: depth, edge_candidates"):
        nasreg.search(space, toy_images(80), "pdarts", out=tmp_path / "run", trainer=TRAINER)
    assert not (tmp_path / "run").exists()


def test_too_shallow_a_first_stage_is_refused(tmp_path):
    with pytest.raises(SpaceError, match=r"has other choices when 1 cells are added: start from a larger depth"):
        search(tmp_path / "run", space_options={**SPACE, "cells": 1})
    assert not (tmp_path / "run").exists()


def test_options_of_the_stages_must_have_the_same_length():
    with pytest.raises(ConfigError, match="3 stages, so that dropout must have 3 values and kept 2, not 3 and 1"):
        search(trainer={**TRAINER, "kept": [4]})
    stages = []
    one = {**TRAINER, "added_cells": [0], "kept": [], "dropout": [0.0]}
    search(trainer=one, callbacks=[lambda event: stages.append(event) if isinstance(event, StageStarted) else None])
    assert len(stages) == 1


@pytest.mark.slow
def test_a_search_within_a_budget_finds_smaller_cells():
    candidates = ["none", "skip_connect", "sep_conv_3x3", "sep_conv_5x5"]
    trainer = {**TRAINER, "epochs": 4, "added_cells": [0], "kept": [], "dropout": [0.0]}
    sizes = []
    for budget in ({}, {"max_parameters": 1, "budget_weight": 0.1}):
        space = {**SPACE, "channels": 4, "candidates": candidates}
        result = search(trainer={**trainer, **budget}, space_options=space, seed=0)
        sizes.append(sum(parameter.numel() for parameter in result.model().parameters()))
    assert sizes[1] < sizes[0]


@pytest.mark.slow
def test_the_blocks_of_each_stage_are_measured(tmp_path):
    search(tmp_path / "run", trainer={**TRAINER, "max_latency_ms": 0.1})
    tables = json.loads((tmp_path / "run/block_costs.json").read_text())
    edges = [[block for block in table["blocks"] if block["decisions"]] for table in tables]
    assert len(tables) == len(TRAINER["added_cells"])
    assert len(edges[0]) < len(edges[-1])  # of more cells
    assert len(edges[0][0]["options"][0]) > len(edges[-1][0]["options"][0])
