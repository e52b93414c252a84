"""The evaluator keeps nasreg's contract, with measures that need no data and with measures that do."""

from __future__ import annotations

import pytest

from nasreg.testing import EvaluatorContract


class TestWithoutData(EvaluatorContract):
    @pytest.fixture
    def evaluator(self):
        return "zero-cost"


class TestWithImages(EvaluatorContract):
    @pytest.fixture
    def evaluator(self):
        return "zero-cost"

    @pytest.fixture
    def evaluator_options(self):
        metrics = ["fisher", "grad_norm", "jacob_cov", "naswot", "plain", "snip", "parameters", "macs", "zen"]
        return {"measure": "grasp", "metrics": metrics, "batch_size": 6, "zen_repeats": 1, "zen_batch_size": 2}
