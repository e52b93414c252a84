"""The evaluator and the space keep nasreg's contract."""

from __future__ import annotations

import pytest

from nasreg.testing import EvaluatorContract, SpaceContract


class TestEvaluator(EvaluatorContract):
    @pytest.fixture
    def evaluator(self):
        return "nasbenchgraph"

    @pytest.fixture
    def evaluator_options(self):
        return {"dataset": "arxiv"}


class TestSpace(SpaceContract):
    @pytest.fixture
    def space(self):
        return "nasbenchgraph"
