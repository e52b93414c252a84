"""The algorithms keep nasreg's contract."""

from __future__ import annotations

import pytest

from nasreg.testing import AlgorithmContract


class TestRegularizedEvolution(AlgorithmContract):
    @pytest.fixture
    def algorithm(self):
        return "regularized-evolution"


@pytest.mark.slow
class TestLocalSearch(AlgorithmContract):
    @pytest.fixture
    def algorithm(self):
        return "local-search"


@pytest.mark.slow
class TestNsga2(AlgorithmContract):
    @pytest.fixture
    def algorithm(self):
        return "nsga2"


@pytest.mark.slow
class TestLargeScaleEvolution(AlgorithmContract):
    @pytest.fixture
    def algorithm(self):
        return "large-scale-evolution"
