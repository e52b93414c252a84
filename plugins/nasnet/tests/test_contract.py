"""The algorithms and the space keep nasreg's contract."""

from __future__ import annotations

import pytest

from nasreg.testing import AlgorithmContract, SpaceContract


class TestNasnet(AlgorithmContract):
    @pytest.fixture
    def algorithm(self):
        return "nasnet"


class TestReinforce(AlgorithmContract):
    @pytest.fixture
    def algorithm(self):
        return "reinforce"


class TestSpace(SpaceContract):
    @pytest.fixture
    def space(self):
        return "nasnet"

    @pytest.fixture
    def space_options(self):
        operations = ("skip_connect", "conv_1x7_7x1", "dil_conv_3x3", "avg_pool_3x3", "max_pool_5x5", "sep_conv_3x3")
        return {"cells": 1, "channels": 2, "nodes": 2, "candidates": operations}
