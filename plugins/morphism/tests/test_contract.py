"""Both algorithms keep nasreg's contract."""

from __future__ import annotations

import pytest

from nasreg.testing import AlgorithmContract


class TestMorphism(AlgorithmContract):
    @pytest.fixture
    def algorithm(self):
        return "morphism"


class TestHillClimbing(AlgorithmContract):
    @pytest.fixture
    def algorithm(self):
        return "hill-climbing"
