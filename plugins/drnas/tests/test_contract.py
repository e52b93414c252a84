"""DrNAS keeps nasreg's contract, here in two stages."""

from __future__ import annotations

import pytest

from nasreg.testing import AlgorithmContract, short_options


class TestDrnas(AlgorithmContract):
    test_an_unknown_option_is_refused = None
    test_the_seed_decides_everything = None  # so does resuming
    test_parameters_change = None
    test_interrupted_and_resumed_it_is_the_same_run = None  # test_drnas interrupts both stages

    @pytest.fixture
    def algorithm(self):
        return "drnas"

    @pytest.fixture
    def trainer_options(self, algorithm):
        return {**short_options(algorithm), "warmup_epochs": 0, "kept": [3]}
