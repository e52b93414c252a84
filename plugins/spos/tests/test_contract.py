"""The algorithm keeps nasreg's contract."""

from __future__ import annotations

import pytest

from nasreg.testing import AlgorithmContract


@pytest.mark.slow
class TestSpos(AlgorithmContract):
    @pytest.fixture
    def algorithm(self):
        return "spos"

    @pytest.fixture
    def mutator_options(self):
        return {"population": 6, "top": 2, "mutations": 2, "crossovers": 2}

    test_it_runs_on_every_space_that_it_claims = None  # tests/contract/test_matrix.py has it for all algorithms
