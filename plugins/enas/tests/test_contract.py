"""The algorithm and both spaces keep nasreg's contract."""

from __future__ import annotations

import pytest

from nasreg.testing import AlgorithmContract, SpaceContract


class TestEnas(AlgorithmContract):
    @pytest.fixture
    def algorithm(self):
        return "enas"

    @pytest.fixture
    def trainer_options(self):
        return {"epochs": 2, "batch_size": 16, "controller_steps": 2, "aggregate": 2, "samples": 2}


class TestMicro(SpaceContract):
    @pytest.fixture
    def space(self):
        return "enas-micro"

    @pytest.fixture
    def space_options(self):
        return {"cells": 1, "channels": 2, "nodes": 2}


class TestMacro(SpaceContract):
    @pytest.fixture
    def space(self):
        return "enas-macro"
