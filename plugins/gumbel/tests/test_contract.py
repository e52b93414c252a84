"""GDAS and SNAS keep nasreg's contract."""

from __future__ import annotations

import pytest

from nasreg.testing import AlgorithmContract


class TestGdas(AlgorithmContract):
    test_the_seed_decides_everything = None  # so does resuming
    test_parameters_change = None

    @pytest.fixture
    def algorithm(self):
        return "gdas"


class TestSnas(AlgorithmContract):
    """What is not the core's own: its trainer is, and its mutator has no state but the alphas."""

    test_an_unknown_option_is_refused = None
    test_the_seed_decides_everything = None
    test_parameters_change = None
    test_interrupted_and_resumed_it_is_the_same_run = None

    @pytest.fixture
    def algorithm(self):
        return "snas"
