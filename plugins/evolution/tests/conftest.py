"""One cache for the tests of the process, so that the table is converted once; spaces and searches for them."""

from __future__ import annotations

import os

import pytest

import nasreg
from nasreg.config.lookup import find_space
from nasreg.networks.references import describe_space
from nasreg.registry import default_registry
from nasreg.specs import Score, Trial


@pytest.fixture(scope="session", autouse=True)
def cache(tmp_path_factory):
    before = os.environ.get("NASREG_CACHE")
    os.environ["NASREG_CACHE"] = str(tmp_path_factory.getbasetemp() / "nasreg-cache")
    yield
    if before is None:
        del os.environ["NASREG_CACHE"]
    else:
        os.environ["NASREG_CACHE"] = before


@pytest.fixture(scope="session")
def make():
    """Makes an algorithm's mutator for a registered space, and starts it."""

    def make(mutator, config, space="nasbench201", space_options=None, seed=0):
        made = mutator(describe_space(find_space(default_registry(), space), space_options or {}), config)
        made.start(seed)
        return made

    return make


@pytest.fixture(scope="session")
def step():
    """Lets a mutator propose, and observe the trial."""

    def step(mutator, value=0.0, status="done", **metrics):
        proposal = mutator.next_proposal()
        score = Score(value, metrics) if status == "done" else None
        trial = Trial(proposal, status, score, observed=mutator.n_observed)
        mutator.record(trial)
        return trial

    return step


@pytest.fixture(scope="session")
def search_table():
    """Searches the table of NAS-Bench-201."""

    def search(algorithm, trials, trainer=None, **more):
        arguments = {"trainer": {"max_trials": trials, **(trainer or {})}, "seed": 1, "device": "cpu", **more}
        return nasreg.search("nasbench201", algorithm=algorithm, **arguments)

    return search
