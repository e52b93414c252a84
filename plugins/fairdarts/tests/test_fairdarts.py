"""FairDARTS: its figures, its thresholds, its loss, and what a run records."""

from __future__ import annotations

import importlib
import itertools
import json
from pathlib import Path

import numpy as np
import pytest
import torch

import nasreg
from nasreg.specs import CellSpec, SearchSpaceSpec
from nasreg.testing import toy_images
from nasreg_fairdarts.config import FairDartsMutatorConfig
from nasreg_fairdarts.mutator import FairDartsMutator
from nasreg_fairdarts.threshold import dense_cell, sparse_cell

HERE = Path(__file__).parent
GOLDEN = HERE / "golden" / "fairdarts_step.npz"
BENCHMARKS = HERE.parents[2] / "benchmarks"


@pytest.fixture
def fidelity(monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    return importlib.import_module("fidelity")


@pytest.mark.slow
def test_figures_agree(fidelity):
    checks = list(fidelity.checks(GOLDEN))
    assert len(checks) > 1500
    assert [check for check in checks if not check.ok] == []


@pytest.mark.slow
def test_figures_that_differ_fail(fidelity, tmp_path):
    with np.load(GOLDEN) as content:
        arrays = dict(content)
    arrays["alphas_grad_reduce_l1"] = arrays["alphas_grad_reduce_l1"] * (1 + 1e-6)
    arrays["genotype_normal_threshold_edge"] = arrays["genotype_normal_threshold_edge"][::-1]
    np.savez(tmp_path / "altered.npz", **arrays)
    plain = itertools.takewhile(lambda check: check.name.startswith("plain"), fidelity.checks(tmp_path / "altered.npz"))
    failed = {check.name.removeprefix("plain: ") for check in plain if not check.ok}
    assert failed == {"alphas_grad_reduce_l1", "genotype_normal_threshold_edge"}


def test_a_file_that_lacks_something(fidelity, tmp_path):
    with np.load(GOLDEN) as content:
        np.savez(tmp_path / "less.npz", **{name: content[name] for name in content.files if name != "op_names"})
    with pytest.raises(fidelity.FileError, match="it lacks the array op_names"):
        list(fidelity.checks(tmp_path / "less.npz"))


def cell(*, none: bool = False) -> CellSpec:
    names = ("none", "p", "q") if none else ("p", "q")
    return CellSpec(key="cell", inputs=2, nodes=1, candidates=(names,) * 2, concat=(2,), none_selectable=none)


def test_thresholds():
    weights = [[0.9, 0.95], [0.2, 0.86]]
    assert sparse_cell(cell(), weights, 0.85) == [("q", 2, 0), ("q", 2, 1)]
    assert sparse_cell(cell(), weights, 0.9) == [("q", 2, 0)]
    assert dense_cell(cell(), weights, 0.85) == [("p", 2, 0), ("q", 2, 0), ("q", 2, 1)]
    assert dense_cell(cell(), weights, 0.99) == []


@pytest.mark.parametrize("none", [False, True])
def test_none_takes_the_place_of_weak_operations_where_it_can_be_chosen(none):
    space = SearchSpaceSpec(choices=(cell(none=none),))
    mutator = FairDartsMutator(space, FairDartsMutatorConfig(threshold=0.9))
    weights = torch.tensor([[0.1, 0.2, 0.95], [0.3, 0.8, 0.5]])[:, 0 if none else 1 :]
    mutator.alpha("cell").data = torch.logit(weights)
    architecture = mutator.architecture()
    assert architecture.decisions["cell"] == ((("q", 0), ("none" if none else "p", 1)),)
    assert mutator.diagnostics(architecture)["above threshold in cell"] == 1


@pytest.mark.parametrize(
    ("kind", "wanted"), [("l2", -(0.16 + 0.04 + 0.09 + 0.01) / 4), ("l1", -(0.4 + 0.2 + 0.3 + 0.1) / 4)]
)
def test_the_zero_one_loss_counts_every_weight_once(kind, wanted):
    mutator = FairDartsMutator(SearchSpaceSpec(choices=(cell(),)), FairDartsMutatorConfig())
    mutator.alpha("cell").data = torch.logit(torch.tensor([[0.9, 0.3], [0.2, 0.6]]))
    assert mutator.zero_one_loss(kind).item() == pytest.approx(wanted)


@pytest.mark.usefixtures("without_report")
def test_the_loss_drives_weights_apart_and_a_run_records_what_reaches_the_threshold(tmp_path):
    result = nasreg.search(
        "darts",
        toy_images(),
        "fairdarts",
        preset="demo",
        trainer={"epochs": 1, "batch_size": 8, "arch_lr": 0.5, "zero_one_weight": 1000.0},
        mutator={"init_std": 1.0, "threshold": 0.7},
        space_options={"cells": 1, "channels": 2, "nodes": 2, "candidates": ["skip_connect", "max_pool_3x3"]},
        out=tmp_path / "run",
        seed=0,
        device="cpu",
    )
    weights = [weight for row in result.history[-1]["weights"]["normal"] for weight in row.values()]
    assert all(min(weight, 1 - weight) < 0.2 for weight in weights)
    record = json.loads((tmp_path / "run" / "threshold.json").read_text())
    assert record["threshold"] == 0.7
    kept = {tuple(row) for row in record["threshold_edge"]["normal"]}
    assert len(kept) == sum(weight >= 0.7 for weight in weights)
    assert {tuple(row) for row in record["threshold_sparse"]["normal"]} <= kept
