"""FairDARTS keeps nasreg's contract."""

from __future__ import annotations

import pytest

from nasreg.testing import AlgorithmContract


class TestFairDarts(AlgorithmContract):
    @pytest.fixture
    def algorithm(self):
        return "fairdarts"
