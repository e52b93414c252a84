"""Parts of other algorithms as options of a differentiable one, in real searches with DARTS."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import nasreg
import tiny
from nasreg.errors import ConfigError, SpaceError
from nasreg.events import EpochEnded, Notice
from nasreg.mutators import SoftmaxMutator, SoftmaxMutatorConfig
from nasreg.nn import extract_space
from nasreg.spaces import darts as spaces_darts
from nasreg.spaces.config import DartsSpaceConfig
from nasreg.specs import DataInfo, RunSpec, Selection
from nasreg.tasks import Classification
from nasreg.testing import toy_images
from nasreg.trainers import BilevelTrainer, BilevelTrainerConfig, OneShotContext
from nasreg.trainers.functional import skip_weight

SPACE = {**tiny.DARTS_SPACE, "channels": 4}


class Events:
    """Keeps the events of a search."""

    def __init__(self) -> None:
        self.notices: list[str] = []
        self.epochs: list[EpochEnded] = []

    def __call__(self, event: Any) -> None:
        if isinstance(event, Notice):
            self.notices.append(event.message)
        elif isinstance(event, EpochEnded):
            self.epochs.append(event)


def search(space: str = "darts", mutator: dict[str, Any] | None = None, **trainer: Any):
    events = Events()
    result = nasreg.search(
        space,
        toy_images(48),
        "darts",
        seed=0,
        device="cpu",
        trainer={"epochs": 3, "batch_size": 16, "arch_lr": 0.1, **trainer},
        mutator=mutator or {},
        space_options=SPACE if space == "darts" else {},
        callbacks=[events],
    )
    return result, events


def weights(events: Events) -> list[Any]:
    return [epoch.weights for epoch in events.epochs]


def test_the_warm_up_trains_weights_only():
    _, events = search(warmup_epochs=2)
    first, second, third = weights(events)
    assert first == second != third


def test_every_part_together_with_the_others():
    result, events = search(
        mutator={"edge_normalization": True},
        partial_channels=2,
        auxiliary_skip=1.0,
        perturbation=0.3,
        max_parameters=1000,
    )
    assert len(events.epochs) == 3
    assert sum(parameter.numel() for parameter in result.model().parameters()) > 0
    with pytest.raises(SpaceError, match="was searched with partial channels"):
        result.model(keep_weights=True)


@pytest.mark.slow
def test_noise_changes_the_search_and_the_seed_decides_it():
    plain, one, other = (weights(search(perturbation=size)[1]) for size in (0.0, 0.3, 0.3))
    assert one == other != plain


@pytest.mark.parametrize("action", ["stop", "freeze"])
def test_a_limit_on_skips_stops_the_search_or_freezes_its_architecture(action):
    space = {**SPACE, "candidates": ["none", "skip_connect"]}  # every edge that is kept is one
    events = Events()
    nasreg.search(
        "darts",
        toy_images(48),
        "darts",
        seed=0,
        device="cpu",
        trainer={"epochs": 3, "batch_size": 16, "skip_limit": 1, "skip_limit_action": action, "warmup_epochs": 1},
        space_options=space,
        callbacks=[events],
    )
    [notice] = [notice for notice in events.notices if "skip_limit" in notice]
    assert "4 skip_connect in cell 'normal', more than skip_limit=1" in notice
    assert len(events.epochs) == (2 if action == "stop" else 3)
    assert weights(events)[0] != weights(events)[1] == weights(events)[-1]


@pytest.mark.slow
def test_a_search_that_a_limit_froze_is_resumed_frozen(tmp_path):
    options = {"epochs": 4, "batch_size": 16, "skip_limit": 0, "skip_limit_action": "freeze"}
    space = {**SPACE, "candidates": ["none", "skip_connect"]}

    def run(out, callbacks=()):
        return nasreg.search(
            "darts",
            "digits",
            "darts",
            seed=0,
            device="cpu",
            trainer=options,
            space_options=space,
            dataset_options={"limit": 60},
            callbacks=callbacks,
            out=out,
        )

    epochs = []

    def stop(event):
        if isinstance(event, EpochEnded):
            epochs.append(event)
            if len(epochs) == 3:
                raise KeyboardInterrupt

    whole = run(tmp_path / "whole")
    with pytest.raises((KeyboardInterrupt, nasreg.NasregError)):
        run(tmp_path / "part", [stop])
    resumed = nasreg.resume(tmp_path / "part")
    assert resumed.history[-1]["weights"] == whole.history[-1]["weights"] == whole.history[0]["weights"]
    assert resumed.architecture == whole.architecture


@pytest.mark.parametrize("part", ["partial_channels", "auxiliary_skip", "skip_limit"])
def test_a_space_without_cells_is_refused(part):
    with pytest.raises(SpaceError, match=r"leave (it|them) out"):
        search("chain", **{part: 2})


def test_a_warm_up_that_never_ends_is_refused():
    with pytest.raises(ConfigError, match="warmup_epochs=3, but there are epochs=3"):
        search(warmup_epochs=3)


@pytest.mark.parametrize(
    ("schedule", "middle"), [("constant", 2.0), ("linear", 1.0), ("cosine", 1.0), ("slow_cosine", 2**0.5)]
)
def test_weights_of_auxiliary_skips(schedule, middle):
    assert skip_weight(schedule, 2.0, 0, 50) == 2.0
    assert skip_weight(schedule, 2.0, 25, 50) == pytest.approx(middle)
    assert BilevelTrainerConfig(auxiliary_skip_schedule=schedule).auxiliary_skip == 0


def test_a_budget_counts_the_parameters_of_the_network_not_those_of_the_parts():
    def build() -> torch.nn.Module:
        info = DataInfo(channels=3, height=8, width=8, classes=("a", "b"))
        return spaces_darts.build(info, DartsSpaceConfig(cells=2, channels=4, nodes=1))

    given = Selection(name="given")
    context = OneShotContext(
        spec=RunSpec(algorithm="darts", space=given, dataset=given, mutator={}, trainer={}),
        space=extract_space(build()),
        data=None,  # nothing is read
        task=Classification(),
        device=torch.device("cpu"),
        build_supernet=build,
        make_mutator=lambda space: SoftmaxMutator(space, SoftmaxMutatorConfig(init_std=0)),
        capabilities={},
    )
    found = []
    for parts in ({}, {"partial_channels": 2, "auxiliary_skip": 1.0}):
        trainer = BilevelTrainer(context, BilevelTrainerConfig(max_parameters=1, **parts))
        trainer.setup()
        found.append((sum(map(torch.numel, trainer.weights.values())), trainer.budget.costs["parameters"]().item()))
    assert found[0][1] == found[1][1]
    assert found[0][0] > found[1][0]
