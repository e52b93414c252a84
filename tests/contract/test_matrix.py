"""Every installed algorithm on every installed space: it runs and its architectures train, or it is refused beforehand.

New plugins and spaces are tested by being installed. The rest of the contract is tested by each plugin's own tests.
"""

from __future__ import annotations

import pytest

import nasreg
from nasreg.testing import AlgorithmContract

MATRIX = "test_it_runs_on_every_space_that_it_claims"


@pytest.mark.parametrize("name", nasreg.list_algorithms())
class TestMatrix(AlgorithmContract):
    @pytest.fixture
    def algorithm(self, name):
        return name


for other in {test for test in dir(AlgorithmContract) if test.startswith("test_")} - {MATRIX}:
    setattr(TestMatrix, other, None)
