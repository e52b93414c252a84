"""Interrupted runs: checkpoints, resuming to the bit, and what may change when a run is resumed."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import pytest
import torch

import nasreg
from interrupting import Died, die_at, interrupt_at, interrupt_trial, notices
from nasreg.data import DatasetConfig
from nasreg.errors import CheckpointError, InterruptedRunError, RunDirectoryError
from nasreg.evaluators import TrainingEvaluatorConfig
from nasreg.events import CheckpointSaved
from nasreg.runs.directory import RunDirectory
from nasreg.testing import differences, toy_images
from nasreg.trainers import MultiTrialTrainerConfig
from tiny import TRAINER, Net

pytestmark = pytest.mark.usefixtures("without_report")

DIGITS = {"limit": 40}
RANDOM = {"max_trials": 2}
SHORT = {"epochs": 1, "batch_size": 16}


def search(out: Path, trainer=TRAINER, data=None, **more):
    return nasreg.search(Net, data or toy_images(), trainer=trainer, out=out, seed=1, device="cpu", **more)


def search_digits(out: Path | None = None, algorithm: str = "darts", trainer=None, **more):
    options = {"epochs": 2, "batch_size": 16} if algorithm == "darts" else RANDOM
    return nasreg.search(
        "chain",
        "digits",
        algorithm,
        space_options={"blocks": 2, "channels": 2},
        dataset_options=DIGITS,
        trainer={**options, **(trainer or {})},
        evaluator_options=None if algorithm == "darts" else SHORT,
        device="cpu",
        out=out,
        **more,
    )


def copy_of(run: Path, folder: Path) -> Path:
    return Path(shutil.copytree(run, folder / "copy"))


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    """A run of three epochs of three steps that was not interrupted."""
    return search(tmp_path_factory.mktemp("whole") / "run").run_dir


@pytest.fixture(scope="module")
def cut(tmp_path_factory) -> Path:
    """The same run, which died in its last epoch and has two checkpoints."""
    out = tmp_path_factory.mktemp("cut") / "run"
    with pytest.raises(Died):
        search(out, callbacks=[die_at(3)])
    return out


@pytest.fixture(scope="module")
def whole_digits(tmp_path_factory) -> Path:
    """A run over registered parts, which any process can resume."""
    return search_digits(tmp_path_factory.mktemp("digits") / "run").run_dir


@pytest.fixture(scope="module")
def cut_digits(tmp_path_factory) -> Path:
    """The same run, which died in its second epoch."""
    out = tmp_path_factory.mktemp("digits") / "run"
    with pytest.raises(Died):
        search_digits(out, callbacks=[die_at(2)])
    return out


@pytest.fixture(scope="module")
def trials(tmp_path_factory) -> Path:
    """A finished random search of two trials."""
    return search_digits(tmp_path_factory.mktemp("random") / "run", "random").run_dir


@pytest.mark.parametrize("workers", [0, pytest.param(2, marks=pytest.mark.slow)])
def test_a_run_interrupted_anywhere_and_resumed_is_the_same_run(tmp_path, whole, workers):
    options = {"dataset_options": {"workers": workers, "in_memory": "no"}}
    out = tmp_path / "run"
    for attempt, stop in enumerate([(1, 2), (2, 3), (3, 1)]):
        with pytest.raises(InterruptedRunError, match=r"in epoch \d after step \d; resume with: nasreg resume") as info:
            search(out, resume=attempt > 0, callbacks=[interrupt_at(*stop)], **options)
        assert info.value.exit_code == 130
        assert RunDirectory(out).status["state"] == "interrupted"
    resumed = search(out, resume=True, **options)
    assert [name for name in differences(out, whole) if name != "data.json"] == []  # which says where images are held
    assert len(resumed.history) == 3
    assert RunDirectory(out).status["resumed"] == 3


@pytest.mark.parametrize("damage", ["truncate", "flip", "empty", "remove", "rubbish"])
def test_a_damaged_checkpoint_is_skipped_with_a_notice(tmp_path, whole, cut, damage):
    run = copy_of(cut, tmp_path)
    last = run / "checkpoint.pt"
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
    messages: list[str] = []
    search(run, resume=True, callbacks=[notices(messages)])
    assert not differences(run, whole)
    assert damage == "remove" or f"checkpoint {last}" in messages[0]
    assert damage == "remove" or messages[0].endswith("using the previous one")


def test_no_readable_checkpoint_is_an_error(tmp_path, cut):
    run = copy_of(cut, tmp_path)
    for path in run.glob("checkpoint*.pt"):
        path.write_bytes(b"")
    with pytest.raises(CheckpointError, match=r"no checkpoint in .* can be read"):
        search(run, resume=True)


def test_a_run_that_died_before_its_first_checkpoint_starts_again(tmp_path, whole):
    out = tmp_path / "run"
    with pytest.raises(Died):
        search(out, callbacks=[die_at(1)])
    with (out / "metrics.jsonl").open("a") as file:
        file.write('{"event": "st')  # cut off by the death of the process
    search(out, resume=True)
    assert not differences(out, whole)


def test_checkpoints_within_an_epoch(tmp_path):
    saved = []

    def note(event):
        if isinstance(event, CheckpointSaved):
            saved.append((event.epoch, event.step))

    search(tmp_path / "run", {**TRAINER, "epochs": 2, "checkpoint_minutes": 1e-9}, callbacks=[note])
    assert saved[:4] == [(1, 2), (1, 3), (1, 4), (2, 1)]


def test_directories_that_cannot_be_resumed(tmp_path, whole):
    with pytest.raises(RunDirectoryError, match=r"has finished: its result is .*architecture.json$"):
        search(whole, resume=True)
    with pytest.raises(RunDirectoryError, match=r"is not empty: choose another .*nasreg show"):
        search(whole)
    with pytest.raises(RunDirectoryError, match="there is no run directory"):
        search(tmp_path / "none", resume=True)
    (tmp_path / "other").mkdir()
    with pytest.raises(RunDirectoryError, match="is not a run directory"):
        nasreg.resume(tmp_path / "other")


def test_a_data_set_given_as_an_object_has_to_be_given_again(cut):
    with pytest.raises(RunDirectoryError, match=r"data set given as an object \(TensorDataset\).*out=.*, resume=True"):
        nasreg.resume(cut)


def test_changed_data_are_refused(cut):
    with pytest.raises(RunDirectoryError, match="the data set 'TensorDataset' has changed since"):
        search(cut, resume=True, data=toy_images(seed=9))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["trainer.epochs=3"], r"trainer.epochs=3 \(was 2\)"),
        (["trainer.lr=0.5", "mutator.init_std=1"], r"mutator.init_std=1.0 \(was 0.001\), trainer.lr=0.5 \(was 0.1\)"),
        (["dataset.arch_fraction=0.25"], r"dataset.arch_fraction=0.25 \(was 0.5\)"),
        (["space.channels=4"], r"space.channels=4 \(was 2\)"),
        (["seed=3"], r"seed=3 \(was 0\)"),
        (
            ["trainer.accumulate=2", "trainer.precision=bfloat16"],
            r"result: trainer.precision=bfloat16 \(was float32\)\.",
        ),
    ],
)
def test_options_that_decide_the_result_are_refused_with_both_values(tmp_path, cut_digits, settings, message):
    run = copy_of(cut_digits, tmp_path)
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    with pytest.raises(
        RunDirectoryError, match=f"was started with other options, which decide its .*{message}"
    ) as info:
        nasreg.resume(run, settings=settings)
    assert "\n" not in str(info.value)
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["trainer.acumulate=2"], "Did you mean 'trainer.accumulate'"),
        (["trainer.accumulate=0"], r"trainer.accumulate: 0 is invalid \(from --set\)"),
        (["device=gpu"], "there is no device 'gpu'"),
    ],
)
def test_invalid_options_of_a_resumed_run(cut_digits, settings, message):
    with pytest.raises(nasreg.NasregError, match=message):
        nasreg.resume(cut_digits, settings=settings)


@pytest.mark.parametrize(
    ("option", "value", "rounding"),
    [
        ("trainer.accumulate", 2, True),
        ("trainer.deterministic", False, True),
        ("trainer.execution", "plain", True),
        ("trainer.checkpoint_minutes", 1.0, False),
        ("trainer.keep_freed_memory", False, False),
        ("dataset.workers", 1, False),
        ("dataset.in_memory", "no", False),
    ],
)
def test_options_of_the_execution_are_accepted_and_recorded(
    tmp_path, whole_digits, cut_digits, option, value, rounding
):
    run = copy_of(cut_digits, tmp_path)
    section, name = option.split(".")
    old = getattr(RunDirectory(run).spec, section)
    before = (old.options if section == "dataset" else old)[name]
    messages: list[str] = []
    nasreg.resume(run, settings=[f"{option}={json.dumps(value)}"], callbacks=[notices(messages)])
    directory = RunDirectory(run)
    assert directory.status["state"] == "done"
    assert directory.status["changes"] == [{option: [before, value]}]
    new = getattr(directory.spec, section)
    assert (new.options if section == "dataset" else new)[name] == value
    expected = f"resumed with {option}={value} (was {before}): the result may differ by rounding"
    assert messages == ([expected] if rounding else [])
    if not rounding:
        assert [name for name in differences(run, whole_digits) if name != "data.json"] == []


def test_changes_of_several_resumptions_are_all_recorded(tmp_path, cut_digits):
    run = copy_of(cut_digits, tmp_path)
    with pytest.raises(InterruptedRunError):
        nasreg.resume(run, settings=["trainer.checkpoint_minutes=2"], callbacks=[interrupt_at(2)])
    nasreg.resume(run, settings=["trainer.checkpoint_minutes=3"])
    first, second = RunDirectory(run).status["changes"]
    assert first == {"trainer.checkpoint_minutes": [10.0, 2.0]}
    assert second == {"trainer.checkpoint_minutes": [2.0, 3.0]}


def test_a_resolved_device_is_no_change(tmp_path, cut_digits):
    run = copy_of(cut_digits, tmp_path)
    messages: list[str] = []
    nasreg.resume(run, device="cpu", callbacks=[notices(messages)])
    assert messages == []
    assert "changes" not in RunDirectory(run).status


def test_the_kind_of_each_option_is_declared():
    assert MultiTrialTrainerConfig.resume_kind("max_trials") == "extends"
    assert TrainingEvaluatorConfig.resume_kind("epochs") == "result"
    assert TrainingEvaluatorConfig.resume_kind("accumulate") == "execution"
    assert TrainingEvaluatorConfig.changes_bits("accumulate")
    assert DatasetConfig.resume_kind("workers") == "execution"
    assert not DatasetConfig.changes_bits("workers")
    assert DatasetConfig.resume_kind("no such option") == "result"


# keras-tuner#234
def test_more_trials_extend_a_finished_search(tmp_path, trials):
    run = copy_of(trials, tmp_path)
    with pytest.raises(RunDirectoryError, match=r"has finished: .*; a larger trainer.max_trials extends it"):
        nasreg.resume(run)
    with pytest.raises(RunDirectoryError, match=r"trainer.max_trials=1 \(was 2\)"):
        nasreg.resume(run, settings=["trainer.max_trials=1"])
    messages: list[str] = []
    extended = nasreg.resume(run, settings=["trainer.max_trials=4"], callbacks=[notices(messages)])
    assert messages == []
    assert [trial["trial"] for trial in extended.trials] == [1, 2, 3, 4]
    assert RunDirectory(run).status["changes"] == [{"trainer.max_trials": [2, 4]}]
    longer = search_digits(tmp_path / "longer", "random", {"max_trials": 4})
    assert not differences(run, longer.run_dir)
    assert extended.architecture == longer.architecture


def test_an_interrupted_search_can_be_extended_and_interrupted_again(tmp_path, trials):
    run = copy_of(trials, tmp_path)
    with pytest.raises(InterruptedRunError):
        nasreg.resume(run, settings=["trainer.max_trials=3"], callbacks=[interrupt_trial(3)])
    nasreg.resume(run)
    assert not differences(run, search_digits(tmp_path / "longer", "random", {"max_trials": 3}).run_dir)


SPACE = """
import torch
from nasreg.nn import LayerChoice

class Net(torch.nn.Module):
    def __init__(self, info):
        super().__init__()
        self.conv = LayerChoice({candidates}, key="conv")
        self.other = LayerChoice({{"a": torch.nn.Identity(), "b": torch.nn.ReLU()}}, key="other")
        self.head = torch.nn.Linear(2, info.n_classes)

    def forward(self, x):
        return self.head(self.other(self.conv(x)).mean((2, 3)))
"""
SMALL, LARGE = '"small": torch.nn.Conv2d(1, 2, 1)', '"large": torch.nn.Conv2d(1, 2, 3, padding=1)'


@pytest.mark.parametrize(
    ("candidates", "allowed"),
    [
        (f"{{{SMALL}, {LARGE}}}", True),
        (f"{{{LARGE}, {SMALL}}}", False),
        (f"{{{SMALL}}}", False),
        (f'{{{SMALL}, {LARGE}, "more": torch.nn.Conv2d(1, 2, 1)}}', False),
    ],
    ids=["same", "swapped", "removed", "added"],
)
def test_changed_candidates_are_refused(tmp_path, monkeypatch, candidates, allowed):
    monkeypatch.setattr(sys, "dont_write_bytecode", True)  # or code of the same size and second would be the same
    path = tmp_path / "space_of_a_resumed_run.py"
    path.write_text(SPACE.format(candidates=f"{{{SMALL}, {LARGE}}}"))
    given = {"trainer": {"epochs": 2, "batch_size": 16}, "dataset_options": DIGITS, "out": tmp_path / "run"}
    with pytest.raises(Died):
        nasreg.search(f"{path}:Net", "digits", "darts", device="cpu", callbacks=[die_at(2)], **given)
    path.write_text(SPACE.format(candidates=candidates))
    if allowed:
        nasreg.resume(tmp_path / "run")
        return
    message = r"the search space has other choices or candidates than when .* was started \(conv\): restore its code"
    with pytest.raises(RunDirectoryError, match=message):
        nasreg.resume(tmp_path / "run")
    assert len((tmp_path / "run/metrics.jsonl").read_text().splitlines()) > 0
