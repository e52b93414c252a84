"""P-DARTS keeps nasreg's contract, here with two stages and gradients accumulated."""

from __future__ import annotations

import pytest

from nasreg.testing import AlgorithmContract, short_options


class TestPdarts(AlgorithmContract):
    @pytest.fixture
    def algorithm(self):
        return "pdarts"

    @pytest.fixture
    def trainer_options(self, algorithm):
        stages = {"added_cells": [0, 1], "kept": [4], "dropout": [0.1, 0.4]}
        return {**short_options(algorithm), **stages, "batch_size": 32, "accumulate": 2}
