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
