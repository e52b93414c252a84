"""DARTS, first and second order, keeps nasreg's contract."""

from __future__ import annotations

import pytest

from nasreg.testing import AlgorithmContract, short_options


class TestDarts(AlgorithmContract):
    @pytest.fixture
    def algorithm(self):
        return "darts"


class TestSecondOrder(TestDarts):
    """What an option of the trainer can change."""

    test_looking_it_up_imports_no_torch = None
    test_its_spec_and_every_preset_survive_json = None
    test_every_option_has_a_default_and_a_description = None
    test_an_unknown_option_is_refused = None
    test_it_runs_on_every_space_that_it_claims = None
    test_the_seed_decides_everything = None  # so does resuming

    @pytest.fixture
    def trainer_options(self, algorithm):
        return {**short_options(algorithm), "second_order": True}
