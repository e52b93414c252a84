"""An evaluator that keeps the contract, and others that break it in one place each; ``test_kit.py`` runs them."""

from __future__ import annotations

import random

import pytest
from pydantic import ConfigDict, Field

import nasreg
from nasreg.evaluators import Evaluator
from nasreg.specs import Config, EvaluatorSpec, MetricSpec, Score
from nasreg.testing import EvaluatorContract

PROCESSES = "test_worker_processes_give_the_same_scores"


class Count(Evaluator):
    """Scores an architecture by the length of its decisions."""

    objective = MetricSpec(name="length", title="length", higher_is_better=False)

    def evaluate(self, proposal):
        return self.score(len(str(proposal.architecture.decisions)))


class Drifting(Count):
    calls = 0

    def evaluate(self, proposal):
        self.calls += 1
        return self.score(self.calls)


class Noisy(Count):
    def evaluate(self, proposal):
        return self.score(random.random())  # Python's own generator, which no seed of nasreg reaches


class Reversed(Count):
    def evaluate(self, proposal):
        return Score(1.0)


class Building(Count):
    def evaluate(self, proposal):
        return self.score(sum(1 for _ in self.context.build_network(proposal.architecture).parameters()))


class Narrow(Count):
    def evaluate(self, proposal):
        if "normal" in proposal.architecture.decisions:
            raise ValueError("only chains have a score")
        return self.score(1)


class Lax(Config):
    model_config = ConfigDict(extra="ignore")


class Undescribed(Config):
    factor: float = Field(default=1.0)


PARTS = {
    "count": {},
    "drifting": {"factory": Drifting},
    "noisy": {"factory": Noisy},
    "reversed": {"factory": Reversed},
    "building": {"factory": Building, "spaces": ("chain",)},
    "lacking": {"factory": Narrow},
    "confined": {"factory": Narrow, "spaces": ("chain",)},
    "lenient": {"config": Lax},
    "unexplained": {"config": Undescribed},
}


def local():
    class Local(Count):
        """A class that no other process can import."""

    return Local


def spec(name, factory=Count, config=Config, **more):
    return EvaluatorSpec(name=name, summary="for a test of the kit", factory=factory, config=config, **more)


nasreg.register(*(spec(name, **parts) for name, parts in PARTS.items()), spec("local", factory=local()))


class ContractOnTwoSpaces(EvaluatorContract):
    def pytest_generate_tests(self, metafunc):
        if "claimed_space" in metafunc.fixturenames:  # a chain and cells, not all that are installed
            metafunc.parametrize("claimed_space", ["chain", "darts"])


@pytest.mark.parametrize("name", PARTS)
class TestContract(ContractOnTwoSpaces):
    @pytest.fixture
    def evaluator(self, name):
        return name


setattr(TestContract, PROCESSES, None)  # worker processes take their time to start


@pytest.mark.parametrize("name", ["local"])
class TestLocal(ContractOnTwoSpaces):
    @pytest.fixture
    def evaluator(self, name):
        return name
