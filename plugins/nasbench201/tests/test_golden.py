"""nasreg agrees with the authors' program, and ``fidelity.py`` sees where it does not."""

from __future__ import annotations

import importlib
import json
from pathlib import Path

import numpy as np
import pytest

HERE = Path(__file__).parent
GOLDEN = sorted(path for path in (HERE / "golden").iterdir() if path.suffix in (".npz", ".json"))
BENCHMARKS = HERE.parents[2] / "benchmarks"


@pytest.fixture
def fidelity(monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    return importlib.import_module("fidelity")


@pytest.mark.slow
@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_every_figure_agrees(fidelity, path):
    checks = list(fidelity.checks(path))
    assert len(checks) > 50
    assert [check for check in checks if not check.ok] == []


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_figures_agree(fidelity, path, tmp_path):
    if path.suffix == ".json":
        (tmp_path / path.name).write_text(json.dumps(shortened(json.loads(path.read_text()))))
        path = tmp_path / path.name
    assert [check for check in fidelity.checks(path) if not check.ok] == []


def shortened(content: dict) -> dict:
    """Leave out most of the networks and examples."""
    return {name: value[:2] if name in ("networks", "examples") else value for name, value in content.items()}


def altered(path: Path, target: Path, name: str) -> Path:
    """Write the file with one of its numbers changed a little."""
    if path.suffix == ".npz":
        with np.load(path) as file:
            arrays = dict(file)
        arrays[name] = arrays[name] * (1 + 1e-6)
        np.savez(target.with_suffix(".npz"), **arrays)
        return target.with_suffix(".npz")
    content = shortened(json.loads(path.read_text()))
    *keys, last = name.split("/")
    place = content
    for key in keys:
        place = place[int(key)] if isinstance(place, list) else place[key]
    place[last] = place[last] + 1 if isinstance(place[last], int) else place[last][::-1]
    target.with_suffix(".json").write_text(json.dumps(content))
    return target.with_suffix(".json")


@pytest.mark.parametrize(
    ("file", "name", "check"),
    [
        ("nb201_network.npz", "logits_eval", "logits_eval"),
        ("nb201_network.npz", "grad/cells.0.layers.0.op.1.weight", "grad/cells.0.layers.0.op.1.weight"),
        ("nb201_network.npz", "after/stem.1.running_var", "after/stem.1.running_var"),
        ("nb201_darts_step.npz", "alpha_grad", "alpha_grad"),
        ("nb201_darts_step.npz", "step/after_norm/stem.0.weight", "step/after_norm/stem.0.weight"),
        ("nb201_networks.json", "networks/1/classes/100/params", "all_skip, 100 classes: params"),
        ("nb201_symmetry.json", "examples/0/unique_zero_true", "examples[0].unique_zero_true"),
        ("nb201_symmetry.json", "num_connected", "num_connected"),
    ],
)
def test_a_figure_that_differs_fails(fidelity, tmp_path, file, name, check):
    path = altered(HERE / "golden" / file, tmp_path / "altered", name)
    assert check in [found.name for found in fidelity.checks(path) if not found.ok]


@pytest.mark.parametrize(
    ("file", "drop", "says"),
    [
        ("nb201_network.npz", "w/stem.0.weight", "it lacks the array w/stem.0.weight"),
        ("nb201_network.npz", "arch", "it lacks the array arch"),
        ("nb201_darts_step.npz", "step/arch_x", "it lacks the array step/arch_x"),
    ],
)
def test_a_file_that_lacks_something(fidelity, tmp_path, file, drop, says):
    with np.load(HERE / "golden" / file) as content:
        np.savez(tmp_path / "less.npz", **{name: content[name] for name in content.files if name != drop})
    with pytest.raises(fidelity.FileError, match=says):
        list(fidelity.checks(tmp_path / "less.npz"))
