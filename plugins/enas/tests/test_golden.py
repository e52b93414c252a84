"""Controllers and networks agree with the authors' program, and ``fidelity.py`` sees where they do not."""

from __future__ import annotations

import importlib
import json
from pathlib import Path

import numpy as np
import pytest

HERE = Path(__file__).parent
FILES = ("enas_controller_micro.npz", "enas_controller_macro.npz")


@pytest.fixture
def fidelity(monkeypatch):
    monkeypatch.syspath_prepend(HERE.parents[2] / "benchmarks")
    return importlib.import_module("fidelity")


@pytest.mark.parametrize(("name", "count"), [(FILES[0], 70), (FILES[1], 60), ("enas_networks.json", 87)])
def test_every_figure_agrees(fidelity, name, count):
    checks = list(fidelity.checks(HERE / "golden" / name))
    assert [check for check in checks if not check.ok] == []
    assert len(checks) == count


@pytest.mark.parametrize("name", FILES)
def test_a_figure_that_differs_fails(fidelity, name, tmp_path):
    arrays = dict(np.load(HERE / "golden" / name))
    case = next(iter(arrays)).partition("/")[0]
    wrong = ("logits_step0/005", "loss", "entropy_per_step0", "grad_step0/controller/emb/w")
    for each in wrong:
        arrays[f"{case}/{each}"] = arrays[f"{case}/{each}"] * (1 + 1e-6)
    np.savez(tmp_path / "x.npz", **arrays)
    failed = {check.name.partition(".")[2] for check in fidelity.checks(tmp_path / "x.npz") if not check.ok}
    assert failed == {*wrong, "loss[0]", "loss[1]", "loss[2]"} - {"loss"}


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"arcs": np.full((3, 40), 9)}, "arcs has numbers of no operation, no state"),
        ({"arcs": np.zeros((3, 39), dtype=int)}, r"arcs has shape \(3, 39\)"),
        ({"cfg/lstm_size": np.array(32.0)}, r"w0/.* has shape"),
        ({"cfg/num_cells": np.array(2.5)}, "cfg/num_cells is 2.5, expected a whole number"),
        ({"cfg/l2_reg": np.array(0.1)}, "cfg has an l2_reg"),
        ({"w0/controller/x": np.zeros(1)}, "w0/controller/x belongs to no weight"),
        ({"grad_step0/controller/x": np.zeros(1)}, "grad_step0/controller/x belongs to no weight"),
    ],
)
def test_a_malformed_file(fidelity, tmp_path, changes, says):
    arrays = dict(np.load(HERE / "golden" / FILES[0]))
    np.savez(tmp_path / "x.npz", **{**arrays, **{f"script_wide/{name}": value for name, value in changes.items()}})
    with pytest.raises(fidelity.FileError, match=says):
        list(fidelity.checks(tmp_path / "x.npz"))


def test_networks_of_other_numbers(fidelity, tmp_path):
    networks = json.loads((HERE / "golden/enas_networks.json").read_text())
    networks["micro_final"]["counts"]["by_top_scope"]["layer_3"] += 1
    (tmp_path / "x.json").write_text(json.dumps({"a": networks["micro_final"]}))
    assert [check.name for check in fidelity.checks(tmp_path / "x.json") if not check.ok] == ["a.by_top_scope.layer_3"]
    networks["micro_final"]["arc"][0] = 7
    (tmp_path / "x.json").write_text(json.dumps({"a": networks["micro_final"]}))
    with pytest.raises(fidelity.FileError, match=r"arc: .*node 0 cannot take state 7"):
        list(fidelity.checks(tmp_path / "x.json"))
