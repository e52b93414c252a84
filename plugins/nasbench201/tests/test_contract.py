"""The evaluator and the space keep nasreg's contract."""

from __future__ import annotations

import pytest

from nasreg.testing import EvaluatorContract, SpaceContract


class TestEvaluator(EvaluatorContract):
    @pytest.fixture
    def evaluator(self):
        return "nasbench201"

    @pytest.fixture
    def evaluator_options(self):
        return {"dataset": "cifar100", "seed": "random"}


class TestSpace(SpaceContract):
    @pytest.fixture
    def space(self):
        return "nasbench201"

    @pytest.fixture
    def space_options(self):
        return {"cells": 1, "channels": 2}
