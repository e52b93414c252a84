"""Algorithms that keep the contract, and others that break it in one place each; ``test_kit.py`` runs them."""

from __future__ import annotations

import os
import random

import pytest
import torch
from pydantic import ConfigDict, Field, field_validator
from torch import nn

import nasreg
from nasreg.mutators import MultiTrialMutator, OneShotMutator
from nasreg.nn import LayerChoice
from nasreg.specs import AlgorithmSpec, Config, InputChoiceSpec, MutatorSpec, Preset, SpaceEntry, TrainerSpec
from nasreg.testing import AlgorithmContract
from nasreg.testing.stand_ins import DISTANCE, UNIFORM
from nasreg.trainers import OneShotTrainer, OneShotTrainerConfig


class Mutator(OneShotMutator):
    """Holds the architecture that was sampled last."""

    def __init__(self, space, config):
        super().__init__(space, config)
        self.current = space.sample(random.Random(0))

    def answer(self, choice):
        return self.current.decisions[choice.key]

    def architecture(self):
        return self.current

    def get_extra_state(self):
        return self.current.to_json()

    def set_extra_state(self, state):
        self.current = nasreg.Architecture.from_json(state)


class Trainer(OneShotTrainer):
    def setup(self):
        super().setup()
        self.optimizers = {"weights": torch.optim.SGD(self.trained(), lr=0.05)}

    def trained(self):
        return self.model.parameters()

    @property
    def rng(self):
        return random.Random(int(torch.randint(2**31, ())))

    def train_step(self, train, arch):
        self.mutator.current = self.mutator.space.sample(self.rng)
        return self.descend(train)


class Unseeded(Trainer):
    @property
    def rng(self):
        return random.Random(random.getrandbits(32))  # Python's own generator, which no seed of nasreg reaches


class Forgetful(Mutator):
    def get_extra_state(self):
        return ""

    def set_extra_state(self, state):
        pass


class Idle(Trainer):
    def trained(self):
        return [torch.zeros(1, requires_grad=True)]


class Partial(Trainer):
    def trained(self):
        return [value for name, value in self.model.named_parameters() if not name.startswith("stem")]


class Foreign(Mutator):
    def architecture(self):
        return self.current.model_copy(update={"fingerprint": "of another space"})


class Narrow(Mutator):
    def answer(self, choice):
        if isinstance(choice, InputChoiceSpec):
            raise NotImplementedError
        return super().answer(choice)


class Lax(OneShotTrainerConfig):
    model_config = ConfigDict(extra="ignore")


class Undescribed(OneShotTrainerConfig):
    momentum: float = 0.9


class Unstable(OneShotTrainerConfig):
    momentum: float = Field(default=0.5, description="halved each time it is read")

    @field_validator("momentum")
    @classmethod
    def _halve(cls, value: float) -> float:
        return value / 2


class Climber(MultiTrialMutator):
    """Changes the best of the trials it has observed; waits for the first ones."""

    def setup(self):
        self.seen = []
        self.calls = 0

    def propose(self):
        if len(self.seen) < 4:
            return self.proposal(self.space.sample(self.rng)) if self.n_proposed < 4 else self.wait()
        self.calls += 1
        scored = [trial for trial in self.seen if trial.done]
        if not scored or self.calls % 5 == 0:
            return self.proposal(self.space.sample(self.rng))
        parent = max(scored, key=lambda trial: trial.score)
        return self.proposal(self.space.mutate(parent.architecture, self.rng), parent=parent)

    def wait(self):
        return None

    def observe(self, trial):
        self.seen.append(trial)


class Impatient(Climber):
    def wait(self):
        self.calls += 1  # a search that is resumed leaves this call out


class Hasty(Climber):
    def __init__(self, space, config):
        super().__init__(space, config)
        self.first = space.sample(random.Random(int(torch.randint(2**31, ()))))  # before the seed is set

    def propose(self):
        return super().propose() if self.n_proposed else self.proposal(self.first)


class Restless(Climber):
    def propose(self):
        self.rng.seed(os.urandom(8))
        return super().propose()


class Seedless(Climber):
    def propose(self):
        self.rng.seed(self.n_proposed)
        return super().propose()


class Brittle(Climber):
    def observe(self, trial):
        super().observe(trial)
        self.latest = trial.score.value


class Latest(Climber):
    def architecture(self):
        return self._latest.architecture


class Lossy(Climber):
    """Proposes options that are others after JSON."""

    def proposal(self, architecture, **more):
        return super().proposal(architecture, **more, options={"betas": (0.9, 0.99)})


ONE_SHOT = {
    "honest": {},
    "unseeded": {"trainer": Unseeded},
    "forgetful": {"mutator": Forgetful},
    "idle": {"trainer": Idle},
    "partial": {"trainer": Partial},
    "foreign": {"mutator": Foreign},
    "narrow": {"mutator": Narrow, "space": "layers"},
    "modest": {"mutator": Narrow, "space": "layers", "primitives": {"layer"}},
    "lax": {"config": Lax},
    "undescribed": {"config": Undescribed},
    "unstable": {"config": Unstable},
}

MULTI_TRIAL = {
    "climber": {"evaluator": "training"},
    "impatient": {"mutator": Impatient},
    "hasty": {"mutator": Hasty},
    "restless": {"mutator": Restless},
    "seedless": {"mutator": Seedless},
    "brittle": {"mutator": Brittle},
    "latest": {"mutator": Latest},
    "lossy": {"mutator": Lossy},
    "misspelt": {"options": {"no_such_option": 1}},
}


class Layers(nn.Module):
    """A model with choices of layers only."""

    def __init__(self, info, config):
        super().__init__()
        self.stem = nn.Conv2d(info.channels, 2, 3, padding=1)
        self.layer = LayerChoice({f"conv{size}": nn.Conv2d(2, 2, size, padding=size // 2) for size in (1, 3)})
        self.head = nn.Linear(2, info.n_classes)

    def forward(self, x):
        return self.head(torch.relu(self.layer(self.stem(x))).mean((2, 3)))


def one_shot(
    name,
    mutator=Mutator,
    trainer=Trainer,
    config=OneShotTrainerConfig,
    primitives=("layer", "input"),
    space="chain",
):
    return AlgorithmSpec(
        name=name,
        summary="for a test of the kit",
        family="one-shot",
        primitives=frozenset(primitives),
        mutator=MutatorSpec(factory=mutator, config=Config),
        trainer=TrainerSpec(factory=trainer, config=config),
        presets={"only": Preset(summary="the only one", trainer={"momentum": 0.5} if config is Unstable else {})},
        default_preset="only",
        default_space=space,
    )


def multi_trial(name, mutator=Climber, evaluator="quick", options=None):
    return AlgorithmSpec(
        name=name,
        summary="for a test of the kit",
        family="multi-trial",
        primitives=UNIFORM.primitives,
        mutator=MutatorSpec(factory=mutator, config=Config),
        trainer=UNIFORM.trainer,
        presets={"only": Preset(summary="the only one"), "other": Preset(summary="another", evaluator=options or {})},
        default_preset="only",
        default_space="chain",
        evaluator=evaluator,
    )


nasreg.register(
    SpaceEntry(name="layers", summary="for a test of the kit", factory=Layers, config=Config),
    DISTANCE.model_copy(update={"name": "quick"}),
    *(one_shot(name, **parts) for name, parts in ONE_SHOT.items()),
    *(multi_trial(name, **parts) for name, parts in MULTI_TRIAL.items()),
)


@pytest.mark.parametrize("name", [*ONE_SHOT, *MULTI_TRIAL])
class TestContract(AlgorithmContract):
    @pytest.fixture
    def algorithm(self, name):
        return name

    def pytest_generate_tests(self, metafunc):
        if "space" in metafunc.fixturenames:  # the smallest of those installed
            metafunc.parametrize("space", ["chain", "layers"])
