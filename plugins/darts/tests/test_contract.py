"""DARTS, first and second order, keeps nasreg's contract."""

from __future__ import annotations

import pytest

from nasreg.testing import AlgorithmContract, short_options


class TestDarts(AlgorithmContract):
    @pytest.fixture
    def algorithm(self):
        return "darts"

    @pytest.fixture(params=[False, True], ids=["first-order", "second-order"])
    def trainer_options(self, request, algorithm):
        return {**short_options(algorithm), "second_order": request.param}
