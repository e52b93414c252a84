"""Random search keeps nasreg's contract, here with gradients accumulated."""

from __future__ import annotations

import pytest

from nasreg.testing import AlgorithmContract, short_evaluator_options


class TestRandom(AlgorithmContract):
    @pytest.fixture
    def algorithm(self):
        return "random"

    @pytest.fixture
    def evaluator_options(self, spec):
        return {**short_evaluator_options(spec.default_evaluator), "batch_size": 32, "accumulate": 2}
