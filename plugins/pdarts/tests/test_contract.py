"""P-DARTS keeps nasreg's contract, also with four stages and gradients accumulated."""

from __future__ import annotations

import pytest

from nasreg.testing import AlgorithmContract


class TestPdarts(AlgorithmContract):
    @pytest.fixture
    def algorithm(self):
        return "pdarts"

    @pytest.fixture
    def trainer_options(self):
        stages = {"added_cells": [0, 0, 1, 2], "kept": [5, 4, 3], "dropout": [0.1, 0.2, 0.4, 0.7]}
        return {**stages, "epochs": 2, "warmup_epochs": 1, "batch_size": 32, "accumulate": 2}
