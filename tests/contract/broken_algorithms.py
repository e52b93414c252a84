"""An algorithm that keeps the contract, and others that break it in one place each; ``test_kit.py`` runs them."""

from __future__ import annotations

import random

import pytest
import torch
from pydantic import ConfigDict, Field, field_validator

import nasreg
from nasreg.mutators import OneShotMutator
from nasreg.specs import AlgorithmSpec, Config, InputChoiceSpec, MutatorSpec, Preset, TrainerSpec
from nasreg.testing import AlgorithmContract
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

    def rng(self):
        return random.Random(int(torch.randint(2**31, ())))

    def train_step(self, train, arch):
        self.mutator.current = self.mutator.space.sample(self.rng)
        return self.descend(train)


class Unseeded(Trainer):
    def rng(self):
        return random  # Python's own generator, which no seed of nasreg reaches


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


PARTS = {
    "honest": {"primitives": {"layer", "input", "cell"}},
    "unseeded": {"trainer": Unseeded},
    "forgetful": {"mutator": Forgetful},
    "idle": {"trainer": Idle},
    "partial": {"trainer": Partial},
    "foreign": {"mutator": Foreign},
    "narrow": {"mutator": Narrow, "space": "darts", "primitives": {"layer", "input", "cell"}},
    "modest": {"mutator": Narrow, "space": "darts", "primitives": {"layer", "cell"}},
    "lax": {"config": Lax},
    "undescribed": {"config": Undescribed},
    "unstable": {"config": Unstable},
}


def spec(
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


nasreg.register(*(spec(name, **parts) for name, parts in PARTS.items()))


@pytest.mark.parametrize("name", PARTS)
class TestContract(AlgorithmContract):
    @pytest.fixture
    def algorithm(self, name):
        return name
