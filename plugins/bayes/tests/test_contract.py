"""The algorithms keep nasreg's contract, Hyperband also with architectures that a surrogate chooses."""

from __future__ import annotations

import pytest

from nasreg.testing import AlgorithmContract

ONE_BRACKET = 3
"""Trials of the smallest bracket: two architectures, of which one gets the full effort."""


class TestBayesOpt(AlgorithmContract):
    @pytest.fixture
    def algorithm(self):
        return "bayes-opt"

    @pytest.fixture
    def mutator_options(self):
        return {"initial": 2, "candidates": 20}


@pytest.mark.slow
class TestBayesOptForest(TestBayesOpt):
    test_it_runs_on_every_space_that_it_claims = None
    test_interrupted_and_resumed_it_is_the_same_run = None
    test_looking_it_up_imports_no_torch = None

    @pytest.fixture
    def mutator_options(self):
        return {"initial": 2, "candidates": 20, "surrogate": "forest", "acquisition": "thompson"}


class TestHyperband(AlgorithmContract):
    @pytest.fixture
    def algorithm(self):
        return "hyperband"

    @pytest.fixture
    def trainer_options(self):
        return {"max_trials": ONE_BRACKET}

    @pytest.fixture
    def mutator_options(self):
        return {"max_resource": 2, "eta": 2}


@pytest.mark.slow
class TestHyperbandBayes(TestHyperband):
    test_it_runs_on_every_space_that_it_claims = None
    test_interrupted_and_resumed_it_is_the_same_run = None
    test_looking_it_up_imports_no_torch = None

    @pytest.fixture
    def mutator_options(self):
        return {"max_resource": 4, "eta": 2, "sampler": "bayes", "initial": 2, "candidates": 20}


@pytest.mark.slow
class TestSuccessiveHalving(TestHyperband):
    @pytest.fixture
    def algorithm(self):
        return "successive-halving"

    @pytest.fixture
    def mutator_options(self):
        return {"architectures": 2, "eta": 2}
