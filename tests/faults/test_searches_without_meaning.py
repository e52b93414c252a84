"""Searches whose result would be lost or would mean nothing."""

from __future__ import annotations

import json
from functools import partial

import pytest
import torch
from torch import nn

import fault_models
import nasreg
from fault_models import Net
from interrupting import notices
from nasreg.cli import main
from nasreg.errors import ConfigError, IncompatibleError, SpaceError, TrainingError
from nasreg.mutators import SoftmaxMutator, SoftmaxMutatorConfig
from nasreg.nn import LayerChoice
from nasreg.registry import Registry
from nasreg.spaces.config import DartsSpaceConfig
from nasreg.spaces.darts import build as build_darts
from nasreg.specs import AlgorithmSpec, Config, MutatorSpec, Preset, SpaceEntry, TrainerSpec
from nasreg.testing import toy_images
from nasreg.trainers import BilevelTrainer, BilevelTrainerConfig
from tiny import DARTS_SPACE

pytestmark = pytest.mark.usefixtures("without_report")

SHORT = {"epochs": 1, "batch_size": 16}


def search(space=Net, algorithm="darts", trainer=None, **more):
    if algorithm == "random":
        more = {"evaluator_options": SHORT, **more}
        trainer = trainer or {"max_trials": 3}
    return nasreg.search(space, toy_images(48), algorithm, trainer=trainer or SHORT, device="cpu", **more)


# -- the result is not lost --------------------------------------------------------------------------------------------


# keras-tuner#704, optuna#2864
@pytest.mark.parametrize(("space", "reason"), [("Raising", "ValueError: no such thing"), ("NotANumber", "loss is nan")])
def test_a_candidate_that_fails_fails_its_trial_and_no_other(tmp_path, space, reason):
    result = search(getattr(fault_models, space), "random", seed=1, out=tmp_path / "run")
    trials = {trial["architecture"]["conv"]: trial for trial in result.trials if trial["status"] != "rejected"}
    assert {name: trial["status"] for name, trial in trials.items()} == {"c1": "done", "c3": "done", "bad": "failed"}
    assert reason in trials["bad"]["reason"]
    assert result.architecture.decisions["conv"] in ("c1", "c3")


# keras-tuner#989
def test_a_budget_that_few_architectures_meet_ends_the_search_with_what_it_has():
    messages: list[str] = []
    trainer = {"max_trials": 3, "max_parameters": 20}  # 18 with c1, 50 with c3
    result = search(Net, "random", trainer, callbacks=[notices(messages)])
    assert [trial["status"] for trial in result.trials].count("done") == 1
    assert result.architecture.decisions == {"conv": "c1"}
    assert messages == ["the search ends with what it has: all 2 architectures of the space were proposed"]


# -- nothing can be learned --------------------------------------------------------------------------------------------


class Late(BilevelTrainer):
    """Learns nothing in its first ten epochs."""

    def needs_arch_batch(self, epoch):
        return epoch >= 10


class Slow(BilevelTrainer):
    """Has a learning rate of 0 for its architecture parameters."""

    def start_epoch(self, epoch):
        super().start_epoch(epoch)
        self.optimizers["arch"].param_groups[0]["lr"] = 0.0


def registry_with(trainer) -> Registry:
    registry = Registry()
    registry.register(
        AlgorithmSpec(
            name="other",
            summary="an algorithm of another plugin",
            family="one-shot",
            primitives=frozenset({"layer"}),
            splits=frozenset({"arch"}),
            mutator=MutatorSpec(factory=SoftmaxMutator, config=SoftmaxMutatorConfig),
            trainer=TrainerSpec(factory=trainer, config=BilevelTrainerConfig),
            presets={"paper": Preset(summary="defaults")},
            default_preset="paper",
            default_space="chain",
        )
    )
    return registry


# nni#4585, PC-DARTS#50
@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (
            {"space": "darts", "algorithm": "pdarts", "trainer": {"epochs": 2}},
            ConfigError,
            "trainer: warmup_epochs=10, but a stage has epochs=2: no architecture parameter would be learned",
        ),
        (
            {"dataset_options": {"arch_fraction": 0}},
            ConfigError,
            "dataset.arch_fraction is 0, but algorithm 'darts' learns the architecture on the arch split",
        ),
        ({"trainer": {**SHORT, "arch_lr": 0}}, ConfigError, "trainer.arch_lr: 0 is invalid"),
        (
            {"algorithm": "other", "registry": Late, "trainer": {**SHORT, "epochs": 10}},
            ConfigError,
            "algorithm 'other' would learn the architecture in none of its 10 epochs, with these options: raise",
        ),
        ({"space": fault_models.Single}, SpaceError, "search space '.*Single' has a single architecture"),
        ({"space": fault_models.Single, "algorithm": "random"}, SpaceError, "has a single architecture, so that there"),
        ({"space": "chain", "space_options": {"blocks": 0}}, ConfigError, "space.blocks"),
        ({"space": partial(nn.Linear, 64, 2)}, SpaceError, "Linear has no choice in it: there is nothing to search"),
        (
            {"space": fault_models.Frozen},
            SpaceError,
            "the model Frozen cannot be trained: its output depends on no parameter",
        ),
        (
            {"space": fault_models.Detached},
            SpaceError,
            "the model Detached cannot be trained: its output depends on no parameter",
        ),
        ({"space": fault_models.Unused}, SpaceError, "the model Unused uses none of its choices when it is called"),
    ],
)
def test_a_search_in_which_nothing_can_be_learned_is_refused(tmp_path, arguments, error, message):
    given = {**arguments, "registry": registry_with(arguments.get("registry", Late))}
    with pytest.raises(error, match=message) as info:
        search(out=tmp_path / "run", **given)
    assert "\n" not in str(info.value)
    computed = (fault_models.Unused,)  # seen when the model is computed
    assert (tmp_path / "run").exists() == (arguments.get("space") in computed)


@pytest.mark.parametrize("arguments", [{"trainer": {"arch_lr": 1e-30}}, {"algorithm": "other"}], ids=["tiny", "zero"])
def test_architecture_parameters_that_never_change_are_an_error(arguments):
    messages: list[str] = []
    trainer = {**SHORT, "epochs": 2, **arguments.get("trainer", {})}
    with pytest.raises(TrainingError, match="no architecture parameter changed in the whole search") as info:
        search(**{**arguments, "trainer": trainer}, registry=registry_with(Slow), callbacks=[notices(messages)])
    assert info.value.exit_code == 1
    assert messages == ["no architecture parameter changed in epoch 1: check their learning rate"]


def test_a_choice_that_is_not_used_is_told():
    class Two(Net):
        def __init__(self):
            super().__init__()
            self.forgotten = LayerChoice({"a": nn.ReLU(), "b": nn.Tanh()}, key="forgotten")

    messages: list[str] = []
    search(Two, callbacks=[notices(messages)])
    assert messages == [
        "the model did not use 'forgotten' in epoch 1: what is decided there means nothing if it never does"
    ]


# -- a space that an algorithm cannot search ---------------------------------------------------------------------------


class Options(Config):
    """Options of a space that P-DARTS cannot search."""

    depth: int | None = None
    edge_candidates: dict[str, list[list[str]]] | None = None


@pytest.fixture
def layers() -> Registry:
    registry = Registry()
    capabilities = {"depth": "depth", "edge_candidates": "edge_candidates"}
    registry.register(
        SpaceEntry(
            name="layers",
            summary="no cell",
            factory=lambda info, config: Net(),
            config=Options,
            capabilities=capabilities,
        )
    )
    return registry


def test_pdarts_says_that_it_requires_a_cell(tmp_path, layers, capsys):
    trainer = {"epochs": 2, "warmup_epochs": 1}
    with pytest.raises(IncompatibleError, match="'pdarts' requires a choice of the kind cell, which search space 'lay"):
        search("layers", "pdarts", trainer, registry=layers, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()
    assert layers.describe("pdarts")["algorithm"]["requires_choices"] == ["cell"]
    assert main(["describe", "pdarts"]) == 0
    assert "requires a choice of the kind cell, depth, edge_candidates" in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize(
    ("ignored", "options", "message"),
    [
        ("depth", {"depth": 3}, "is of the same size with 0 and 1 cells added: its depth has no effect"),
        ("edge_candidates", {"depth": 3}, "does not keep to the candidates on the edges of cell 'normal'"),
        (None, {}, "the depth of space 'cells' is None, but P-DARTS adds cells to a number of them"),
    ],
)
def test_pdarts_says_what_a_space_of_cells_does_not_do(ignored, options, message):
    def build(info, config):
        values = {"cells": config.depth or 3, "edge_candidates": config.edge_candidates}
        values |= {"cells": 3} if ignored == "depth" else {}
        values |= {"edge_candidates": None} if ignored == "edge_candidates" else {}
        return build_darts(info, DartsSpaceConfig(**{**DARTS_SPACE, **values}))

    registry = Registry()
    capabilities = {"depth": "depth", "edge_candidates": "edge_candidates"}
    registry.register(
        SpaceEntry(name="cells", summary="cells", factory=build, config=Options, capabilities=capabilities)
    )
    trainer = {"epochs": 2, "batch_size": 16, "warmup_epochs": 1, "added_cells": [0, 1], "kept": [2], "dropout": [0, 0]}
    with pytest.raises(SpaceError, match=message):
        search("cells", "pdarts", trainer, registry=registry, space_options=options)


# -- what metrics are measured on --------------------------------------------------------------------------------------


# darts#3, pdarts#7
@pytest.mark.parametrize(("fraction", "split"), [(0, "arch"), (0.25, "validation")])
def test_metrics_are_named_after_the_split_that_they_are_measured_on(fraction, split):
    result = search(dataset_options={"validation_fraction": fraction})
    measured = {name for name in result.history[-1] if name.endswith("_accuracy")}
    assert measured == {"train_accuracy", f"{split}_accuracy"}
    assert f"{split} accuracy of the supernet" in result._repr_html_()


def test_metrics_of_the_train_split_are_those_of_the_training(tmp_path):
    class Joint(BilevelTrainer):
        """Learns both on the train split."""

        def train_step(self, train, arch):
            assert arch is None
            return super().train_step(train, train)

    registry = registry_with(Joint)
    spec = registry.algorithm("other").model_copy(update={"name": "joint", "splits": frozenset()})
    registry.register(spec)
    result = search(Net, "joint", registry=registry, out=tmp_path / "run")
    lines = [json.loads(line) for line in (tmp_path / "run/metrics.jsonl").read_text().splitlines()]
    last_step = [line for line in lines if line["event"] == "step"][-1]
    assert result.history[-1]["train_loss"] == last_step["loss"]
    assert not any(name.startswith(("arch", "validation")) for name in result.history[-1])
    assert torch.isfinite(result.supernet.head.weight).all()
