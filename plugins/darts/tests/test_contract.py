"""DARTS of the second order keeps nasreg's contract; that of the first is tested with all installed algorithms."""

from __future__ import annotations

import pytest

from nasreg.testing import AlgorithmContract


class TestSecondOrder(AlgorithmContract):
    @pytest.fixture
    def algorithm(self):
        return "darts"

    @pytest.fixture
    def trainer_options(self):
        return {"epochs": 2, "batch_size": 16, "second_order": True}
