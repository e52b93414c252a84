"""What the core brings keeps its contract; what a plugin brings is tested by the plugin's own tests, once."""

from __future__ import annotations

from pathlib import Path

import pytest
from torch import nn

from nasreg.nn import BatchNorm2d, Conv2d, LayerChoice, Linear, Repeat, ValueChoice
from nasreg.registry import default_registry
from nasreg.registry.records import CORE
from nasreg.specs import DataInfo
from nasreg.testing import EvaluatorContract, SpaceContract

RECORDS = default_registry().plugins()
PLUGINS = Path(__file__).parents[2] / "plugins"
KINDS = ("algorithms", "evaluators", "spaces")


def of_the_core(kind: str) -> list[str]:
    return [name for record in RECORDS if record.distribution == CORE for name in getattr(record, kind)]


def test_the_core_brings_no_algorithm():
    """It would need a class here, as evaluators and spaces have one."""
    assert of_the_core("algorithms") == []


@pytest.mark.parametrize("name", of_the_core("evaluators"))
class TestEvaluators(EvaluatorContract):
    @pytest.fixture
    def evaluator(self, name):
        return name


@pytest.mark.parametrize("name", of_the_core("spaces"))
class TestSpaces(SpaceContract):
    @pytest.fixture
    def space(self, name):
        return name


def test_every_plugin_tests_the_contract_of_what_it_brings():
    """In ``tests/test_contract.py`` of its folder."""
    ours = {path.name: path for path in PLUGINS.iterdir()}
    for record in RECORDS:
        folder = ours.get((record.distribution or "").removeprefix("nasreg-"))
        names = [name for kind in KINDS for name in getattr(record, kind)]
        if folder is not None and names:
            tested = (folder / "tests/test_contract.py").read_text(encoding="utf-8")
            missing = [name for name in names if f'"{name}"' not in tested]
            assert not missing, f"{folder.name}/tests/test_contract.py has no class for {missing}"


class Elastic(nn.Module):
    """Widths, kernel sizes and a depth to choose, beside layers."""

    def __init__(self, info: DataInfo) -> None:
        super().__init__()
        width, kernel = ValueChoice([2, 4], key="width"), ValueChoice([1, 3], key="kernel")
        self.stem = nn.Sequential(Conv2d(info.channels, width, kernel, padding=kernel // 2), BatchNorm2d(width))
        self.blocks = Repeat(lambda index: self.block(width, kernel), [1, 2], key="depth")
        self.head = Linear(width, info.n_classes)

    @staticmethod
    def block(width, kernel):
        conv = Conv2d(width, width, kernel, padding=kernel // 2)
        return nn.Sequential(conv, LayerChoice({"relu": nn.ReLU(), "dropout": nn.Dropout(0.5)}))

    def forward(self, x):
        return self.head(self.blocks(self.stem(x)).mean((2, 3)))


class TestElasticSpace(SpaceContract):
    @pytest.fixture
    def space(self):
        return Elastic
