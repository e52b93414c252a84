"""DrNAS keeps nasreg's contract, here in two stages, in the second of which candidates are wider."""

from __future__ import annotations

import pytest

from nasreg.testing import AlgorithmContract, short_options


class TestDrnas(AlgorithmContract):
    test_an_unknown_option_is_refused = None
    test_the_seed_decides_everything = None  # so does resuming
    test_parameters_change = None

    @pytest.fixture
    def algorithm(self):
        return "drnas"

    @pytest.fixture
    def trainer_options(self, algorithm):
        return {**short_options(algorithm), "warmup_epochs": 0, "kept": [3]}
