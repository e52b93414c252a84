"""All measures against figures of the authors' programs, in float64, by the reader of ``benchmarks/fidelity.py``."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import get_args

import pytest

from nasreg_zerocost.catalog import MEASURES, MeasureName

GOLDEN = Path(__file__).parent / "golden"


@pytest.fixture
def reader(monkeypatch):
    monkeypatch.syspath_prepend(Path(__file__).parents[3] / "benchmarks")
    return importlib.import_module("golden.zerocost")


def test_scores_are_those_of_the_programs(reader):
    content = json.loads((GOLDEN / "zerocost.json").read_text())
    checks = list(reader.checks(content, GOLDEN / "zerocost.json"))
    assert [check for check in checks if not check.ok] == []
    assert all(check.tolerance <= 1e-9 for check in checks if not check.name.endswith("jacob_cov"))
    names = {check.name for check in checks}
    for item in content["items"]:
        assert {f"items[{item['index']}].scores.{name}" for name in item["scores"]} <= names
        assert {f"items[{item['index']}].per_layer.{name}" for name in item["per_layer"]} <= names
        assert {f"items[{item['index']}].{name}" for name in ("layers", "naswot_K")} <= names


def test_every_measure_with_a_program_has_a_figure(reader):
    names = {name for each in get_args(reader.Score) for name in get_args(each) or [each]}
    programs = {name.removesuffix("_hook_logdet") for name in names}
    assert programs == set(MEASURES) - {"parameters", "macs"}
    assert set(get_args(MeasureName)) == set(MEASURES)
