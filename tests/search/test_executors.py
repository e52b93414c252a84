"""Executors as entries of the registry, and foreign ones: the same result, options, and tasks that are lost."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import Executor, Future
from pathlib import Path

import pytest
from pydantic import Field

import nasreg
from evaluators import DESCENT, SCRIPTED, Digits
from interrupting import notices
from nasreg.cli import main
from nasreg.errors import ConfigError, PluginError, TrainingError, UnknownNameError, UsageError
from nasreg.events import Notice
from nasreg.executors import SerialExecutor
from nasreg.registry import Registry, default_registry
from nasreg.specs import Config, ExecutorEntry, RunSpec

pytestmark = pytest.mark.usefixtures("without_report")


class BackwardsConfig(Config):
    """An option."""

    note: str = Field(default="", description="a notice that the executor sends")


class Backwards(SerialExecutor):
    """Does the task that was submitted last."""

    def __init__(self, work, config: BackwardsConfig) -> None:
        super().__init__(work, config)
        if config.note:
            self._note = lambda: work.receive(Notice(f"{config.note}, {work.directory.name}, {work.distributions}"))
        else:
            self._note = lambda: None

    def poll(self, timeout: float):
        self._note()
        self._waiting.reverse()
        found = super().poll(timeout)
        self._waiting.reverse()
        return found


BACKWARDS = ExecutorEntry(name="backwards", summary="the last first", factory=Backwards, config=BackwardsConfig)
NONE = ExecutorEntry(name="none", summary="makes no executor", factory=lambda work, config: "none")


@pytest.fixture(scope="module")
def registry() -> Registry:
    found = Registry()
    found.register(SCRIPTED, DESCENT, BACKWARDS, NONE)
    return found


@pytest.fixture
def search(registry):
    def run(out: Path | None = None, **more):
        options = {"evaluator": "scripted", "trainer": {"max_trials": 8}, "seed": 1, "device": "cpu", "workers": 3}
        return nasreg.search(Digits, "digits", "descent", registry=registry, out=out, **{**options, **more})

    return run


@pytest.fixture(scope="module")
def expected(registry) -> list[object]:
    options = {"evaluator": "scripted", "trainer": {"max_trials": 8}, "seed": 1, "device": "cpu", "workers": 3}
    return scores(nasreg.search(Digits, "digits", "descent", registry=registry, executor="serial", **options))


def scores(result) -> list[object]:
    return sorted((trial["trial"], trial["score"], trial["observed"]) for trial in result.trials)


def test_an_executor_of_a_plugin_gives_the_same_result_and_is_recorded(search, tmp_path, expected):
    messages: list[str] = []
    options = {"executor": "backwards", "executor_options": {"note": "hello"}}
    assert scores(search(tmp_path / "run", callbacks=[notices(messages)], **options)) == expected
    assert set(messages) == {"hello, run, ()"}
    spec = RunSpec.from_yaml((tmp_path / "run/run.yaml").read_text())
    assert (spec.executor.name, spec.executor.options) == ("backwards", {"note": "hello"})


def test_it_can_be_changed_when_the_run_is_resumed(search, tmp_path):
    more = {"trainer": {"max_trials": 9}, "resume": True}
    messages: list[str] = []
    search(tmp_path / "run", executor="backwards")
    search(tmp_path / "run", executor="serial", callbacks=[notices(messages)], **more)
    assert messages == ["resumed with executor=serial (was backwards): the result may differ by rounding"]
    assert RunSpec.from_yaml((tmp_path / "run/run.yaml").read_text()).executor.title == "serial"


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"executor": "backward"}, UnknownNameError, r"there is no executor 'backward'. Did you mean 'backwards'"),
        ({"executor": "none"}, PluginError, r"executor 'none' is a str, not a nasreg.executors.TaskExecutor"),
        (
            {"executor": "backwards", "executor_options": {"nothing": 1}},
            ConfigError,
            r"no option 'executor.nothing'.*'executor.note'",
        ),
        (
            {"executor": "serial", "settings": ["executor.note=x"]},
            ConfigError,
            r"there is no option 'executor.note' \(from --set\)",
        ),
    ],
)
def test_what_is_wrong_with_it_is_said_before_anything_is_written(search, tmp_path, options, error, message):
    with pytest.raises(error, match=message):
        search(tmp_path / "run", **options)
    assert not (tmp_path / "run").exists()


def test_one_shot_algorithms_have_none(tmp_path):
    with pytest.raises(ConfigError, match="has no trials: workers and executor are for multi-trial algorithms"):
        nasreg.search("chain", "digits", "darts", executor="processes")
    spec = tmp_path / "run.yaml"
    spec.write_text("executor: {name: nasreg/serial}\n")  # as in the run.yaml of any search
    assert main(["run", "darts", "--config", str(spec), "--dry-run", "--quiet"]) == 0


@pytest.fixture
def registered() -> Iterator[None]:
    default_registry().register(BACKWARDS)
    yield
    default_registry().unregister("backwards")


@pytest.mark.slow
@pytest.mark.usefixtures("registered")
def test_studies_have_the_same_executors(tmp_path, capsys):
    out = str(tmp_path / "study")
    words = ["compare", "random", "--space", "nasbench201", "--seeds", "2", "--budget", "2", "--out", out]
    assert main([*words, "--executor", "backwards", "--set", "executor.note=from the executor"]) == 0
    printed = capsys.readouterr()
    assert "from the executor, study, ('nasreg-nasbench201', 'nasreg-random')" in printed.err
    assert len(json.loads((tmp_path / "study/results.json").read_text())["runs"]) == 2
    assert "executor" not in (tmp_path / "study/study.yaml").read_text()
    assert main([*words, "--executor", "backward"]) == main(["resume", out, "--executor", "backward"]) == 2
    assert capsys.readouterr().err.count("there is no executor 'backward'. Did you mean 'backwards'?") == 2


class Losing(Executor):
    """Computes in this process, and loses tasks as a cluster may."""

    def __init__(self, *lost: int, takes: int = 1000) -> None:
        self.lost, self.takes, self.submitted = set(lost), takes, 0

    def submit(self, function, /, *args, **kwargs):
        self.submitted += 1
        if self.submitted > self.takes:
            raise RuntimeError("closed")
        future: Future = Future()
        if self.submitted in self.lost:
            future.set_exception(OSError("the node is gone"))
        else:
            future.set_result(function(*args, **kwargs))
        return future


def test_a_task_that_a_foreign_executor_loses_is_submitted_once_more(search, expected):
    assert scores(search(executor=Losing(2, 5))) == expected
    result = search(executor=Losing(1, 2), workers=1)
    assert result.trials[0]["reason"] == "the executor lost it, 2 times (OSError: the node is gone)"
    with pytest.raises(TrainingError, match=r"executor: the Losing takes no tasks any more \(RuntimeError: closed\)"):
        search(executor=Losing(takes=2))
    with pytest.raises(UsageError, match="executor=3 is invalid: expected str or Executor or None"):
        search(executor=3)
