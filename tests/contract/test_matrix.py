"""Whatever is installed keeps its contract: every algorithm on every space, every evaluator, every space.

New plugins are tested by being installed. The rest of the contract of algorithms is tested by each plugin's own tests.
"""

from __future__ import annotations

import pytest
from torch import nn

import nasreg
from nasreg.nn import BatchNorm2d, Conv2d, LayerChoice, Linear, Repeat, ValueChoice
from nasreg.specs import DataInfo
from nasreg.testing import AlgorithmContract, EvaluatorContract, SpaceContract

MATRIX = "test_it_runs_on_every_space_that_it_claims"


@pytest.mark.parametrize("name", nasreg.list_algorithms())
class TestAlgorithms(AlgorithmContract):
    @pytest.fixture
    def algorithm(self, name):
        return name


for other in {test for test in dir(AlgorithmContract) if test.startswith("test_")} - {MATRIX}:
    setattr(TestAlgorithms, other, None)


@pytest.mark.parametrize("name", nasreg.list_evaluators())
class TestEvaluators(EvaluatorContract):
    @pytest.fixture
    def evaluator(self, name):
        return name


@pytest.mark.parametrize("name", nasreg.list_spaces())
class TestSpaces(SpaceContract):
    @pytest.fixture
    def space(self, name):
        return name


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
