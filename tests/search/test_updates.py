"""All gradients of a training reach their optimisers through ``EpochTrainer.update``."""

from __future__ import annotations

from collections import Counter

import pytest
import torch
from torch.optim.optimizer import register_optimizer_step_post_hook

import nasreg
from nasreg.events import Event, StepEnded, TrialProgress
from nasreg.testing import toy_images
from nasreg.trainers import EpochTrainer

CELLS = {"cells": 3, "channels": 2, "nodes": 2, "candidates": ["none", "skip_connect", "max_pool_3x3"]}
STAGES = {"warmup_epochs": 1, "added_cells": [0, 1], "kept": [2], "dropout": [0.1, 0.1]}


class Recorder:
    """Records the updates of a trainer and the steps of all optimisers, and compares them after each step."""

    def __init__(self) -> None:
        self.updates: list[tuple[str, torch.optim.Optimizer]] = []
        self.steps: list[torch.optim.Optimizer] = []
        self.inside = False
        self.by_step: list[Counter[str]] = []

    def __call__(self, event: Event) -> None:
        if not isinstance(event, StepEnded | TrialProgress):
            return
        assert self.steps == [optimizer for _, optimizer in self.updates]
        self.by_step.append(Counter(name for name, _ in self.updates))
        self.updates.clear()
        self.steps.clear()


@pytest.fixture
def recorder(monkeypatch):
    found = Recorder()
    original = EpochTrainer.update

    def update(self, optimizer, parameters, gradients=None, *, max_norm=None):
        parameters = list(parameters)
        held = {id(p) for group in self.optimizers[optimizer].param_groups for p in group["params"]}
        assert {id(parameter) for parameter in parameters} == held
        if gradients is not None:
            gradients = list(gradients)
            assert [g.shape for g in gradients] == [p.shape for p in parameters]
        found.updates.append((optimizer, self.optimizers[optimizer]))
        found.inside = True
        original(self, optimizer, parameters, gradients, max_norm=max_norm)
        found.inside = False

    def stepped(optimizer, args, kwargs):
        del args, kwargs
        assert found.inside, "an optimiser stepped outside of update"
        found.steps.append(optimizer)

    monkeypatch.setattr(EpochTrainer, "update", update)
    handle = register_optimizer_step_post_hook(stepped)
    yield found
    handle.remove()


BOTH, WEIGHTS = Counter({"arch": 1, "weights": 1}), Counter({"weights": 1})


@pytest.mark.parametrize(
    ("algorithm", "trainer", "expected"),
    [
        ("darts", {"epochs": 2}, [BOTH] * 4),
        ("darts", {"epochs": 1, "accumulate": 2, "arch_grad_clip": 1.0}, [BOTH] * 2),
        ("darts", {"epochs": 1, "max_parameters": 100}, [BOTH] * 2),
        ("darts", {"epochs": 1, "second_order": True}, [BOTH] * 2),
        ("darts", {"epochs": 1, "second_order": True, "hessian_product": "exact"}, [BOTH] * 2),
        ("pdarts", {"epochs": 2, **STAGES}, ([WEIGHTS] * 2 + [BOTH] * 2) * 2),
        ("random", {"epochs": 1, "accumulate": 2}, [WEIGHTS] * 8),
    ],
    ids=["first order", "accumulated", "budget", "second order", "exact second order", "stages", "trials"],
)
def test_each_step_of_a_search_updates_through_one_method(recorder, algorithm, trainer, expected):
    options = {"batch_size": 8, **trainer}
    data = toy_images(32 if algorithm != "random" else 40)
    given = {"trainer": options}
    if algorithm == "random":
        given = {"trainer": {"max_trials": 2}, "evaluator_options": options}
    nasreg.search("darts", data, algorithm, space_options=CELLS, device="cpu", callbacks=[recorder], **given)
    assert recorder.by_step == expected
    assert recorder.updates == []
    assert recorder.steps == []


def test_each_step_of_a_retraining_updates_through_one_method(recorder):
    nasreg.retrain(
        "DARTS_V2",
        (toy_images(16, side=32), toy_images(4, side=32)),
        space_options={"cells": 3, "channels": 2},
        trainer={"epochs": 1, "batch_size": 8, "accumulate": 2, "ema": 0.9},
        device="cpu",
        callbacks=[recorder],
    )
    assert recorder.by_step == [WEIGHTS] * 2
