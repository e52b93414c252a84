"""Random search keeps nasreg's contract, also with trials of other length and gradients accumulated."""

from __future__ import annotations

import pytest

from nasreg.testing import AlgorithmContract


class TestRandom(AlgorithmContract):
    @pytest.fixture
    def algorithm(self):
        return "random"

    @pytest.fixture
    def trainer_options(self):
        return {"trials": 3, "epochs": 3, "batch_size": 32, "accumulate": 2}
