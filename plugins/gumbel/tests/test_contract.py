"""GDAS and SNAS keep nasreg's contract."""

from __future__ import annotations

import pytest

from nasreg.testing import AlgorithmContract


class TestGdas(AlgorithmContract):
    @pytest.fixture
    def algorithm(self):
        return "gdas"


class TestSnas(AlgorithmContract):
    @pytest.fixture
    def algorithm(self):
        return "snas"
