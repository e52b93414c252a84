"""DrNAS keeps nasreg's contract, here in two stages."""

from __future__ import annotations

import pytest

from nasreg.testing import AlgorithmContract, short_options


class TestDrnas(AlgorithmContract):
    @pytest.fixture
    def algorithm(self):
        return "drnas"

    @pytest.fixture
    def trainer_options(self, algorithm):
        return {**short_options(algorithm), "warmup_epochs": 0, "kept": [3]}
