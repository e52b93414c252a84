"""The records of a run: JSON Lines that survive a kill, and TensorBoard files that survive a resume."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from nasreg.cli import main
from nasreg.errors import RunDirectoryError
from nasreg.events import EpochEnded, RunEnded, RunStarted, SearchStarted, StageStarted, StepEnded, TrialEnded
from nasreg.runs.callbacks import JsonLines, TensorBoard, read_metrics
from nasreg.specs import Architecture, RunSpec, SearchSpaceSpec, Selection
from nasreg.specs.metrics import ACCURACY
from nasreg.specs.trial import Proposal, Score, Trial, TrialStatus

ARCHITECTURE = Architecture(fingerprint="f", decisions={"a": "b"})


def step(epoch: int, number: int, loss: float = 1.0) -> StepEnded:
    return StepEnded(epoch=epoch, step=number, steps=2, loss=loss, metrics={"accuracy": 0.5})


def epoch(number: int) -> EpochEnded:
    return EpochEnded(
        epoch=number, epochs=2, seconds=1.5, metrics={"train_loss": 0.5}, architecture=ARCHITECTURE,
        strengths={"normal": (0.25, 0.5)}, diagnostics={"skip_connect in normal": 1.0},
        model="supernet", weights={"normal": [{"a": 0.123456}, {"a": 0.5, "b": 0.25}]},
    )  # fmt: skip


def trial(number: int, score: float | None) -> TrialEnded:
    found = None if score is None else Score(score)
    status: TrialStatus = "failed" if score is None else "done"
    return TrialEnded(Trial(Proposal(number, ARCHITECTURE), status, found), number, 9, ACCURACY)


def searching(ended: int = 0) -> SearchStarted:
    empty = Selection(name="x")
    spec = RunSpec(algorithm="a", space=empty, dataset=empty, evaluator=empty, mutator={}, trainer={})
    return SearchStarted(spec, SearchSpaceSpec(choices=()), ACCURACY, "cpu", 9, ended, None)


def started(first_epoch: int = 1) -> RunStarted:
    empty = Selection(name="x")
    spec = RunSpec(algorithm="a", space=empty, dataset=empty, mutator={}, trainer={})
    return RunStarted(
        spec=spec, space=SearchSpaceSpec(choices=()), metrics=(), device="cpu", parameters=1, epochs=2, steps=2,
        first_epoch=first_epoch, first_step=1, run_dir=None,
    )  # fmt: skip


def test_a_line_for_each_step_epoch_and_stage(tmp_path):
    with JsonLines(tmp_path / "m.jsonl") as lines:
        lines(started())
        lines(StageStarted(1, 3, 1, "all candidates"))
        lines(step(1, 1, float("nan")))
        lines(epoch(1))
        lines(trial(1, 0.75))
    assert read_metrics(tmp_path / "m.jsonl") == [
        {"event": "stage", "stage": 1, "epoch": 1, "summary": "all candidates"},
        {"event": "step", "epoch": 1, "step": 1, "loss": None, "accuracy": 0.5},
        {
            "event": "epoch",
            "epoch": 1,
            "train_loss": 0.5,
            "seconds": 1.5,
            "model": "supernet",
            "diagnostics": {"skip_connect in normal": 1.0},
            "strengths": {"normal": [0.25, 0.5]},
            "weights": {"normal": [{"a": 0.1235}, {"a": 0.5, "b": 0.25}]},
        },
    ]


def test_lines_after_the_last_checkpoint_are_written_again(tmp_path):
    path = tmp_path / "m.jsonl"
    with JsonLines(path) as lines:
        lines(step(1, 1))
        position = lines.position()
        lines(step(1, 2))
    path.write_bytes(path.read_bytes() + b'{"event": "st')  # cut short by a kill
    assert [line["step"] for line in read_metrics(path)] == [1, 2]
    with JsonLines(path) as lines:
        lines.truncate(position)
        lines(step(1, 2, 7.0))
    assert [line["loss"] for line in read_metrics(path)] == [1.0, 7.0]
    with JsonLines(path) as lines, pytest.raises(RunDirectoryError, match="lost lines since the last checkpoint"):
        lines.truncate(10_000)


def test_files_that_cannot_be_used(tmp_path):
    (tmp_path / "m.jsonl").write_text('{"a": 1}\nrubbish\n')
    with pytest.raises(RunDirectoryError, match="line 2 is not JSON"):
        read_metrics(tmp_path / "m.jsonl")
    with pytest.raises(RunDirectoryError, match="cannot read"):
        read_metrics(tmp_path / "none.jsonl")
    with pytest.raises(RunDirectoryError, match="cannot write"):
        JsonLines(tmp_path / "no/folder.jsonl")


def scalars(folder: Path) -> dict[str, list[tuple[int, float]]]:
    read = EventAccumulator(str(folder))
    read.Reload()
    return {tag: [(event.step, event.value) for event in read.Scalars(tag)] for tag in read.Tags()["scalars"]}


def test_tensorboard_has_each_step_once_also_after_a_resume(tmp_path):
    board = TensorBoard(tmp_path)
    for event in (started(), step(1, 1), step(1, 2), epoch(1), step(2, 1, 5.0)):
        board(event)
    board._writer.close()  # the process died here, after the checkpoint of the first epoch
    board = TensorBoard(tmp_path)
    for event in (started(first_epoch=2), step(2, 1, 6.0), step(2, 2), epoch(2), RunEnded(ARCHITECTURE, None, {})):
        board(event)
    found = scalars(tmp_path)
    assert found["step/loss"] == [(1, 1.0), (2, 1.0), (3, 6.0), (4, 1.0)]
    assert found["epoch/train_loss"] == [(2, 0.5), (4, 0.5)]
    assert found["strength/normal/1"] == [(2, 0.5), (4, 0.5)]
    assert found["step/accuracy"] == [(step, 0.5) for step in (1, 2, 3, 4)]
    assert found["diagnostics/skip_connect_in_normal"] == [(2, 1.0), (4, 1.0)]


def test_tensorboard_has_the_score_of_each_trial_once_also_after_a_resume(tmp_path):
    board = TensorBoard(tmp_path)
    for event in (searching(), trial(1, 0.25), trial(2, None), trial(3, 0.75)):
        board(event)
    board._writer.close()
    board = TensorBoard(tmp_path)
    for event in (searching(2), trial(3, 0.5), RunEnded(ARCHITECTURE, None, {})):
        board(event)
    assert scalars(tmp_path) == {"trial/accuracy": [(1, 0.25), (3, 0.5)]}


def test_without_tensorboard_it_says_what_to_install(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    assert main(["run", "darts", "--tensorboard", "--out", str(tmp_path / "run")]) == 2
    line = 'nasreg: error: TensorBoard files need a package: pip install "nasreg[tensorboard]"\n'
    assert capsys.readouterr().err == line
    assert not (tmp_path / "run").exists()


def test_lines_are_json_by_any_reader(tmp_path):
    with JsonLines(tmp_path / "m.jsonl") as lines:
        lines(step(1, 1, float("inf")))
    assert json.loads((tmp_path / "m.jsonl").read_text(), parse_constant=pytest.fail)["loss"] is None
