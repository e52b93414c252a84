"""A whole search from Python: results, events, run directories, splits, and one line for every mistake."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.utils.data import Dataset

import nasreg
from nasreg.data import DatasetBundle
from nasreg.engine.search import SearchResult
from nasreg.errors import ConfigError, DataError, IncompatibleError, SpaceError, TrainingError, UsageError
from nasreg.events import EpochEnded, Event, MemoryMeasured, NetworkMeasured, RunEnded, RunStarted, StepEnded
from nasreg.nn import LayerChoice
from nasreg.runs.directory import RunDirectory
from nasreg.testing import differences, toy_images
from tiny import DARTS_SPACE, TRAINER, Net

ONE_EPOCH = {**TRAINER, "epochs": 1}
RANDOM = {"max_trials": 2}
SHORT = {"epochs": 1, "batch_size": 16}


def search(out=None, space=None, data=None, trainer=TRAINER, **more):
    return nasreg.search(space or Net(), data or toy_images(), trainer=trainer, out=out, seed=1, device="cpu", **more)


@pytest.fixture(scope="module")
def cells(tmp_path_factory) -> SearchResult:
    """A search of cells with a run directory."""
    return search(tmp_path_factory.mktemp("cells") / "run", space="darts", space_options=DARTS_SPACE)


@pytest.fixture(scope="module")
def own(tmp_path_factory) -> tuple[SearchResult, list[Event]]:
    """A search of a user's own model on the user's own data, with its events."""
    events: list[Event] = []
    return search(tmp_path_factory.mktemp("own") / "run", callbacks=[events.append]), events


def test_own_model_and_own_data(own):
    result, _ = own
    assert set(result.architecture.decisions) == {"conv", "skip"}
    assert [epoch["epoch"] for epoch in result.history] == [1, 2, 3]
    assert result.history[-1]["arch_accuracy"] > 0.9
    plain = result.model()
    assert plain(torch.randn(2, 1, 8, 8)).shape == (2, 2)
    assert not any(type(module).__module__.startswith("nasreg") for module in plain.modules())
    kept = result.model(keep_weights=True)
    assert torch.equal(kept.head.weight, result.supernet.head.weight)
    assert not torch.equal(kept.head.weight, plain.head.weight)


def test_without_a_run_directory_nothing_is_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert search(trainer=ONE_EPOCH).run_dir is None
    assert list(tmp_path.iterdir()) == []


def test_a_registered_space_gives_the_network_to_retrain(cells):
    affine = [module.affine for module in cells.model().modules() if isinstance(module, nn.BatchNorm2d)]
    assert affine
    assert all(affine)
    kept = cells.model(keep_weights=True)
    assert not all(module.affine for module in kept.modules() if isinstance(module, nn.BatchNorm2d))
    assert cells.genotype.startswith("Genotype(normal=[")


def test_the_cost_of_the_network_is_recorded(cells):
    cost = json.loads((cells.run_dir / "cost.json").read_text())
    assert cost["parameters"] == sum(parameter.numel() for parameter in cells.model().parameters())
    assert cost["macs"] > 0
    assert cost["activation_bytes"] > 0
    assert [each["batch_size"] for each in cost["latency"]] == [1, 16]
    assert f"{cost['parameters']:,} parameters" in (cells.run_dir / "index.html").read_text()


def test_the_run_directory_explains_itself(cells):
    assert {path.name for path in cells.run_dir.iterdir()} == {
        "run.yaml", "environment.json", "data.json", "space.json", "status.json", "metrics.jsonl", "architectures",
        "checkpoint.pt", "checkpoint.previous.pt", "architecture.json", "genotype.txt", "cells.svg", "lock",
        "cost.json", "index.html", "options.json",
    }  # fmt: skip
    assert nasreg.Architecture.load(cells.run_dir / "architecture.json") == cells.architecture
    assert nasreg.Architecture.load(cells.run_dir / "architectures/epoch-0003.json") == cells.architecture
    spec = nasreg.RunSpec.from_yaml((cells.run_dir / "run.yaml").read_text())
    assert (spec.space.options["channels"], spec.trainer["epochs"]) == (2, 3)
    assert (spec.algorithm, spec.space.name, spec.device) == ("nasreg-darts/darts", "nasreg/darts", "cpu")
    assert nasreg.RunSpec.from_yaml(spec.to_yaml()) == spec
    status = RunDirectory(cells.run_dir).status
    assert (status["state"], status["resumed"], status["error"]) == ("done", 0, None)
    assert status["metrics"]["arch_accuracy"] == cells.history[-1]["arch_accuracy"]


def test_the_events_of_a_search(own):
    _, events = own
    kinds = [type(event) for event in events if not isinstance(event, StepEnded)]
    kinds = [kind for kind in kinds if kind.__name__ != "CheckpointSaved"]
    assert kinds == [RunStarted, MemoryMeasured, EpochEnded, EpochEnded, EpochEnded, RunEnded, NetworkMeasured]
    assert (events[0].steps, events[0].model) == (3, "supernet")
    assert sum(isinstance(event, StepEnded) for event in events) == 9
    ended = next(event for event in events if isinstance(event, RunEnded))
    assert set(ended.metrics) == {"train_loss", "train_accuracy", "arch_loss", "arch_accuracy"}


# -- splits ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("algorithm", "options", "fractions", "splits", "measured"),
    [
        ("darts", {"trainer": ONE_EPOCH}, (0.5, 0.0), {"train": 48, "arch": 48, "validation": 0}, "arch"),
        (
            "random",
            {"trainer": RANDOM, "evaluator_options": SHORT},
            (0.0, 0.2),
            {"train": 77, "arch": 0, "validation": 19},
            "validation",
        ),
    ],
)
def test_the_splits_of_an_algorithm(tmp_path, algorithm, options, fractions, splits, measured):
    search(tmp_path / "run", space=Net, algorithm=algorithm, **options)
    run = RunDirectory(tmp_path / "run")
    used = run.spec.dataset.options
    assert (used["arch_fraction"], used["validation_fraction"]) == fractions
    assert run.read_json("data.json")["splits"] == splits
    names = {"train_loss", "train_accuracy", f"{measured}_loss", f"{measured}_accuracy"}
    assert set(run.status["metrics"]) - {"parameters"} == names


def test_a_validation_split_is_measured_on_where_there_is_one():
    result = search(trainer=ONE_EPOCH, dataset_options={"validation_fraction": 0.25})
    assert {name for name in result.history[-1] if name.endswith("accuracy")} == {
        "train_accuracy",
        "validation_accuracy",
    }


@pytest.mark.parametrize(
    ("algorithm", "fraction", "message"),
    [
        ("darts", 0.0, r"dataset.arch_fraction is 0, but algorithm 'darts' learns the architecture on the arch split"),
        ("random", 0.5, r"dataset.arch_fraction is 0.5, but algorithm 'random' uses no arch split: leave it out"),
    ],
)
def test_splits_that_do_not_fit_the_algorithm_are_refused_before_anything_is_read(
    tmp_path, algorithm, fraction, message
):
    given = {"algorithm": algorithm, "trainer": None, "dataset_options": {"arch_fraction": fraction}}
    with pytest.raises(ConfigError, match=message):
        search(tmp_path / "run", data=Forbidden(), **given)
    assert not (tmp_path / "run").exists()


class Forbidden(Dataset):
    """Data that nobody may read."""

    def __len__(self):
        return 10

    def __getitem__(self, index):
        raise AssertionError("it was read")


def test_the_test_set_is_not_read():
    def forbidden():
        raise AssertionError("it was opened")

    search(data=DatasetBundle(toy_images(), test=forbidden), trainer=ONE_EPOCH)


# -- reproducibility ---------------------------------------------------------------------------------------------------


def test_the_random_state_of_the_user_is_unchanged():
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    search(space="chain", space_options={"blocks": 1, "channels": 2}, trainer=ONE_EPOCH)
    assert torch.equal(torch.rand(1), expected)
    assert not torch.are_deterministic_algorithms_enabled()


def test_the_same_seed_gives_the_same_run_and_another_seed_another(tmp_path, own):
    result, _ = own
    assert not differences(search(tmp_path / "run").run_dir, result.run_dir)
    other = nasreg.search(Net(), toy_images(), trainer=ONE_EPOCH, seed=2, device="cpu")
    assert other.history[0]["train_loss"] != result.history[0]["train_loss"]


# -- what goes wrong ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("algorithm", ["darts", "random"])
def test_a_loss_that_is_not_finite(tmp_path, algorithm):
    diverging = {**SHORT, "epochs": 20, "lr": 1e30}
    options = {"trainer": RANDOM, "evaluator_options": diverging} if algorithm == "random" else {"trainer": diverging}
    with pytest.raises(TrainingError, match=r"loss is (nan|inf) in epoch \d, step \d.*learning rate") as info:
        search(tmp_path / "run", space=Net, algorithm=algorithm, **options)
    assert info.value.exit_code == 1
    assert RunDirectory(tmp_path / "run").status["state"] == "failed"


class Huge(nn.Module):
    """Needs more memory than there is for more than eight images."""

    def __init__(self):
        super().__init__()
        self.choice = LayerChoice([nn.Linear(64, 2), nn.Linear(64, 2)], key="a")

    def forward(self, x):
        if x.shape[0] > 8:
            torch.empty(2**60)
        return self.choice(x.flatten(1))


def test_out_of_memory_says_what_to_lower(tmp_path):
    run = tmp_path / "run"
    advice = rf"out of memory on cpu with trainer.batch_size=16: .*: nasreg resume {run} --set trainer.accumulate=2"
    with pytest.raises(TrainingError, match=advice):
        search(run, space=Huge, trainer=ONE_EPOCH)
    assert len(search(run, space=Huge, trainer={**ONE_EPOCH, "accumulate": 2}, resume=True).history) == 1


@pytest.mark.parametrize("options", [{"precision": "bfloat16"}, {"accumulate": 3}, {"deterministic": False}])
def test_precision_and_accumulation(options):
    assert search(trainer={**TRAINER, **options}).history[-1]["arch_accuracy"] > 0.8


def test_choices_that_the_algorithm_cannot_handle_are_refused_before_anything_is_written(tmp_path):
    with pytest.raises(IncompatibleError, match=r"'darts' cannot handle choice 'skip' \(kind input/concat\)"):
        search(tmp_path / "run", space=Net, space_options={"reduction": "concat"})
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"algorithm": "dart"}, UsageError, "Did you mean 'darts'"),
        ({"algorithm": ""}, UsageError, "there is no algorithm ''"),
        ({"trainer": {"epoch": 3}}, ConfigError, "trainer.epochs"),
        ({"trainer": {"epochs": "many"}}, ConfigError, "trainer.epochs: 'many'"),
        ({"space_options": {"reduction": "sum"}}, ConfigError, "there is no option 'space.reduction'"),
        ({"device": "gpu"}, UsageError, "there is no device 'gpu' here; there are: auto, cpu"),
        ({"space": "dart"}, UsageError, "darts"),
        ({"space": ""}, ConfigError, "'' is no reference"),
        ({"space": nn.Linear(2, 2)}, SpaceError, "no choice in it"),
        ({"space": nn.Linear}, ConfigError, "space.in_features is missing; space.out_features is missing"),
        ({"space": 5}, UsageError, "space: 5 is invalid: expected a class or function that builds a model"),
        ({"space": ["darts"]}, UsageError, r"space: \['darts'\] is invalid: expected a class or function"),
        ({"data": "digit"}, UsageError, "digits"),
        ({"data": 3}, DataError, "train data must be a map-style torch Dataset .* not int"),
        ({"data": None}, DataError, "train data must be a map-style torch Dataset .* not NoneType"),
        ({"seed": -1}, ConfigError, "seed"),
        ({"preset": "papers"}, UsageError, "paper"),
        ({"preset": ""}, UsageError, "has no preset ''"),
    ],
)
def test_invalid_arguments_give_one_line_and_leave_nothing(tmp_path, arguments, error, message):
    given = {"space": Net(), "data": toy_images(), "trainer": TRAINER, "out": tmp_path / "run", **arguments}
    with pytest.raises(error, match=message) as info:
        nasreg.search(**given)
    assert "\n" not in str(info.value)
    assert not (tmp_path / "run").exists()


def test_a_run_directory_inside_a_file_is_refused(tmp_path):
    file = Path(tmp_path / "file")
    file.touch()
    with pytest.raises(UsageError, match=r"cannot make .*file/run in .*file"):
        search(file / "run", data=Forbidden())
