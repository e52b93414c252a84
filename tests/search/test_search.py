"""A whole search from Python: results, run directories, interruption, and what goes wrong."""

from __future__ import annotations

import json
import os
import signal

import pytest
import torch
from torch import nn
from torch.utils.data import Dataset

import nasreg
from nasreg.errors import (
    ConfigError,
    IncompatibleError,
    InterruptedRunError,
    RunDirectoryError,
    SpaceError,
    TrainingError,
    UsageError,
)
from nasreg.events import CheckpointSaved, EpochEnded, MemoryMeasured, Notice, RunEnded, RunStarted, StepEnded
from nasreg.nn import LayerChoice
from nasreg.testing import differences, toy_images
from tiny import DARTS_SPACE, TRAINER, Net


def search(out=None, space=None, data=None, trainer=TRAINER, **more):
    return nasreg.search(space or Net(), data or toy_images(), trainer=trainer, out=out, seed=1, device="cpu", **more)


def test_own_model_and_own_data():
    model = Net()
    result = search(space=model)
    assert set(result.architecture.decisions) == {"conv", "skip"}
    assert len(result.history) == 3
    assert result.history[-1]["validation_accuracy"] > 0.9
    assert result.run_dir is None
    plain = result.model()
    x = torch.randn(2, 1, 8, 8)
    assert plain(x).shape == (2, 2)
    assert not any(type(module).__module__.startswith("nasreg") for module in plain.modules())
    kept = result.model(keep_weights=True)
    assert torch.equal(kept.head.weight, model.head.weight)
    assert not torch.equal(plain.head.weight, model.head.weight)


def test_registered_space_gives_the_network_to_retrain():
    result = search(space="darts", space_options=DARTS_SPACE)
    batch_norms = [m for m in result.model().modules() if isinstance(m, nn.BatchNorm2d)]
    assert batch_norms
    assert all(m.affine for m in batch_norms)
    assert not all(m.affine for m in result.model(keep_weights=True).modules() if isinstance(m, nn.BatchNorm2d))
    assert result.genotype.startswith("Genotype(normal=[")


def test_the_cost_of_the_network_is_kept(tmp_path):
    result = search(tmp_path / "run", space="darts", space_options=DARTS_SPACE)
    cost = json.loads((tmp_path / "run/cost.json").read_text())
    assert cost["parameters"] == sum(parameter.numel() for parameter in result.model().parameters())
    assert cost["macs"] > 0
    assert cost["activation_bytes"] > 0
    assert [each["batch_size"] for each in cost["latency"]] == [1, 16]
    assert f"{cost['parameters']:,} weights" in (tmp_path / "run/index.html").read_text()


def test_the_users_random_state_is_left_alone():
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    search(space="chain", space_options={"blocks": 1, "channels": 2}, trainer={**TRAINER, "epochs": 1})
    assert torch.equal(torch.rand(1), expected)
    assert not torch.are_deterministic_algorithms_enabled()


def test_same_seed_same_run_and_another_seed_another(tmp_path):
    runs = [search(tmp_path / name) for name in "ab"]
    assert not differences(runs[0].run_dir, runs[1].run_dir)
    other = nasreg.search(Net(), toy_images(), trainer=TRAINER, seed=2, device="cpu")
    assert [e["train_loss"] for e in other.history] != [e["train_loss"] for e in runs[0].history]


@pytest.mark.parametrize("workers", [0, 2])
def test_interrupted_anywhere_and_resumed_is_the_same_run(tmp_path, workers):
    options = {"dataset_options": {"workers": workers, "in_memory": "no"}}
    whole = search(tmp_path / "whole", **options)
    stops = iter([(0, 2), (1, 3), (2, 1)])
    stop = next(stops)

    def interrupt(event):
        if isinstance(event, StepEnded) and (event.epoch, event.step) == stop:
            os.kill(os.getpid(), signal.SIGINT)

    for attempt in range(3):
        with pytest.raises(InterruptedRunError, match=r"epoch \d after step \d; go on with: nasreg resume") as info:
            search(tmp_path / "cut", resume=attempt > 0, callbacks=[interrupt], **options)
        assert info.value.exit_code == 130
        assert json.loads((tmp_path / "cut/status.json").read_text())["state"] == "interrupted"
        stop = next(stops, None)
    resumed = search(tmp_path / "cut", resume=True, **options)
    assert not differences(resumed.run_dir, whole.run_dir)
    assert resumed.architecture == whole.architecture
    assert len(resumed.history) == 3


class Died(BaseException):
    pass


@pytest.mark.parametrize("damage", ["truncate", "flip", "empty", "remove", "rubbish"])
def test_a_damaged_checkpoint_is_passed_over_with_a_notice(tmp_path, damage):
    whole = search(tmp_path / "whole")

    def die(event):
        if isinstance(event, StepEnded) and event.epoch == 2:
            raise Died

    with pytest.raises(Died):
        search(tmp_path / "cut", callbacks=[die])
    last = tmp_path / "cut/checkpoint.pt"
    data = bytearray(last.read_bytes())
    if damage == "truncate":
        last.write_bytes(data[: len(data) // 2])
    elif damage == "flip":
        where = data.find(torch.load(last, weights_only=True)["model"]["head.weight"].numpy().tobytes())
        data[where + 5] ^= 1
        last.write_bytes(data)
    elif damage == "empty":
        last.write_bytes(b"")
    elif damage == "rubbish":
        last.write_bytes(b"not a checkpoint")
    else:
        last.unlink()
    notices = []
    resumed = search(
        tmp_path / "cut", resume=True, callbacks=[lambda e: notices.append(e) if isinstance(e, Notice) else None]
    )
    assert not differences(resumed.run_dir, whole.run_dir)
    assert damage == "remove" or "going back to the one before" in notices[0].message


def test_no_readable_checkpoint_is_an_error(tmp_path):
    def die(event):
        if isinstance(event, StepEnded) and event.epoch == 2:
            raise Died

    with pytest.raises(Died):
        search(tmp_path / "run", callbacks=[die])
    for path in (tmp_path / "run").glob("checkpoint*.pt"):
        path.write_bytes(b"")
    with pytest.raises(nasreg.NasregError, match=r"no checkpoint in .* can be read"):
        search(tmp_path / "run", resume=True)


def test_a_run_that_died_before_its_first_checkpoint_starts_again(tmp_path):
    whole = search(tmp_path / "whole")

    def die(event):
        if isinstance(event, StepEnded):
            raise Died

    with pytest.raises(Died):
        search(tmp_path / "cut", callbacks=[die])
    with (tmp_path / "cut/metrics.jsonl").open("a") as file:
        file.write('{"event": "st')  # torn by the death
    resumed = search(tmp_path / "cut", resume=True)
    assert not differences(resumed.run_dir, whole.run_dir)


def test_events_tell_the_story():
    events = []
    search(callbacks=[events.append])
    kinds = [type(event) for event in events if not isinstance(event, StepEnded)]
    assert kinds == [RunStarted, MemoryMeasured, EpochEnded, EpochEnded, EpochEnded, RunEnded]
    assert events[0].steps == 3
    assert sum(isinstance(event, StepEnded) for event in events) == 9
    assert set(events[-1].metrics) == {"train_loss", "train_accuracy", "validation_loss", "validation_accuracy"}


def test_checkpoints_within_an_epoch(tmp_path):
    saved = []
    search(
        tmp_path / "run",
        trainer={**TRAINER, "checkpoint_minutes": 1e-9},
        callbacks=[lambda e: saved.append((e.epoch, e.step)) if isinstance(e, CheckpointSaved) else None],
    )
    assert saved[:4] == [(0, 1), (0, 2), (0, 3), (1, 0)]


def test_the_run_directory_explains_itself(tmp_path):
    result = search(tmp_path / "run", space="darts", space_options=DARTS_SPACE)
    names = {path.name for path in (tmp_path / "run").iterdir()}
    assert names == {
        "run.yaml", "environment.json", "data.json", "space.json", "status.json", "metrics.jsonl", "architectures",
        "checkpoint.pt", "checkpoint.previous.pt", "architecture.json", "genotype.txt", "cells.svg", "lock",
        "cost.json",
        "index.html",
    }  # fmt: skip
    assert nasreg.Architecture.load(tmp_path / "run/architecture.json") == result.architecture
    spec = nasreg.RunSpec.from_yaml((tmp_path / "run/run.yaml").read_text())
    assert spec.space.options["channels"] == 2
    assert spec.trainer["epochs"] == 3
    assert nasreg.RunSpec.from_yaml(spec.to_yaml()) == spec
    last = nasreg.Architecture.load(tmp_path / "run/architectures/epoch-0003.json")
    assert last == result.architecture
    assert json.loads((tmp_path / "run/status.json").read_text())["state"] == "done"


def test_what_cannot_be_resumed(tmp_path):
    search(tmp_path / "run")
    with pytest.raises(RunDirectoryError, match="has finished"):
        search(tmp_path / "run", resume=True)
    with pytest.raises(RunDirectoryError, match="is not empty"):
        search(tmp_path / "run")
    with pytest.raises(RunDirectoryError, match="there is no run directory"):
        search(tmp_path / "none", resume=True)
    (tmp_path / "other").mkdir()
    with pytest.raises(RunDirectoryError, match="is not a run directory"):
        nasreg.resume(tmp_path / "other")


def test_resuming_needs_the_same_options_and_data(tmp_path):
    def die(event):
        if isinstance(event, EpochEnded):
            raise Died

    with pytest.raises(Died):
        search(tmp_path / "run", callbacks=[die])
    with pytest.raises(RunDirectoryError, match=r"other options \(trainer\)"):
        search(tmp_path / "run", resume=True, trainer={**TRAINER, "epochs": 4})
    with pytest.raises(RunDirectoryError, match="is no longer what"):
        search(tmp_path / "run", resume=True, data=toy_images(seed=9))
    with pytest.raises(RunDirectoryError, match="from Python with a data set of its own"):
        nasreg.resume(tmp_path / "run")


class Forbidden(Dataset):
    """A test set that nobody may look at."""

    def __len__(self):
        return 10

    def __getitem__(self, index):
        raise AssertionError("the test set took part in the search")


def test_the_test_set_takes_no_part():
    from nasreg.data import from_torch

    data = from_torch(toy_images())
    loaded = type(data)(**{**vars(data), "test": Forbidden()})
    search(data=loaded)


def test_a_loss_that_is_not_finite(tmp_path):
    with pytest.raises(TrainingError, match=r"loss is (nan|inf) in epoch \d, step \d.*learning rate") as info:
        search(tmp_path / "run", trainer={**TRAINER, "epochs": 20, "weights_lr": 1e30})
    assert info.value.exit_code == 1
    assert json.loads((tmp_path / "run/status.json").read_text())["state"] == "failed"


def test_out_of_memory_says_what_to_lower():
    class Huge(nn.Module):
        def __init__(self):
            super().__init__()
            self.choice = LayerChoice([nn.Linear(64, 2), nn.Linear(64, 2)], key="a")

        def forward(self, x):
            if x.shape[0] > 8:
                torch.empty(2**60)
            return self.choice(x.flatten(1))

    with pytest.raises(TrainingError, match=r"out of memory on cpu with trainer.batch_size=16.*trainer.accumulate=2"):
        search(space=Huge())
    search(space=Huge(), trainer={**TRAINER, "accumulate": 2}, dataset_options={"validation_fraction": 0.1})


@pytest.mark.parametrize("options", [{"precision": "bfloat16"}, {"accumulate": 3}, {"deterministic": False}])
def test_precision_and_accumulation(options):
    assert search(trainer={**TRAINER, **options}).history[-1]["validation_accuracy"] > 0.8


def test_what_the_algorithm_cannot_handle_is_refused_before_anything_is_written(tmp_path):
    with pytest.raises(IncompatibleError, match=r"'darts' cannot handle choice 'skip' \(kind input/concat\)"):
        search(tmp_path / "run", space=Net(reduction="concat"))
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("arguments", "error", "says"),
    [
        ({"algorithm": "dart"}, UsageError, "Did you mean 'darts'"),
        ({"trainer": {"epoch": 3}}, ConfigError, "trainer.epochs"),
        ({"trainer": {"epochs": "many"}}, ConfigError, "trainer.epochs: 'many'"),
        ({"device": "gpu"}, UsageError, "there is no device 'gpu' here; there are: auto, cpu"),
        ({"space": "dart"}, UsageError, "darts"),
        ({"space": nn.Linear(2, 2)}, SpaceError, "no choice in it"),
        ({"data": "digit"}, UsageError, "digits"),
        ({"seed": -1}, ConfigError, "seed"),
        ({"preset": "papers"}, UsageError, "paper"),
        ({"data": 3}, UsageError, "data"),
    ],
)
def test_bad_arguments_give_one_line_and_leave_nothing(tmp_path, arguments, error, says):
    given = {"space": Net(), "data": toy_images(), "trainer": TRAINER, "out": tmp_path / "run", **arguments}
    with pytest.raises(error, match=says) as info:
        nasreg.search(**given)
    assert "\n" not in str(info.value)
    assert not (tmp_path / "run").exists()


def test_space_by_dotted_name():
    result = nasreg.search(
        "tiny:Own", toy_images(), trainer={**TRAINER, "epochs": 1}, space_options={"width": 3}, device="cpu"
    )
    assert result.model().head.in_features == 3
