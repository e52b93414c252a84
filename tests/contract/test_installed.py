"""Every installed algorithm keeps the contract, and runs on every installed space or is refused beforehand.

New plugins and spaces are tested by being installed.
"""

from __future__ import annotations

import pytest

import nasreg
from nasreg.testing import AlgorithmContract


@pytest.mark.parametrize("name", nasreg.list_algorithms())
class TestInstalled(AlgorithmContract):
    @pytest.fixture
    def algorithm(self, name):
        return name
