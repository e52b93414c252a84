"""Random search keeps nasreg's contract, here with gradients accumulated."""

from __future__ import annotations

import pytest

from nasreg.testing import AlgorithmContract, short_options


class TestRandom(AlgorithmContract):
    @pytest.fixture
    def algorithm(self):
        return "random"

    @pytest.fixture
    def trainer_options(self, algorithm):
        return {**short_options(algorithm), "batch_size": 32, "accumulate": 2}
