"""Multi-trial searches: what is proposed, what is evaluated, what fails, where it is computed, and what is recorded."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.utils.data import Dataset

import nasreg
from evaluators import DESCENT, SCRIPTED, Digits
from interrupting import Died, notices
from nasreg.cli.output import Output
from nasreg.cli.trials import print_trials
from nasreg.errors import (
    ConfigError,
    IncompatibleError,
    InterruptedRunError,
    NasregError,
    RunDirectoryError,
    TrainingError,
    UsageError,
)
from nasreg.evaluators import Evaluator
from nasreg.events import TrialEnded
from nasreg.mutators import MultiTrialMutator
from nasreg.nn import LayerChoice
from nasreg.registry import Registry
from nasreg.runs.directory import RunDirectory
from nasreg.runs.progress import PlainProgress
from nasreg.runs.trial_summary import summarize_trials
from nasreg.specs import Config, EvaluatorConfig, EvaluatorSpec, MetricSpec, MutatorSpec
from nasreg.testing import toy_images

pytestmark = pytest.mark.usefixtures("without_report")

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def registry() -> Registry:
    found = Registry()
    found.register(SCRIPTED, DESCENT)
    return found


class Forbidden(Dataset):
    """Data that nobody may read."""

    def __len__(self):
        return 10

    def __getitem__(self, index):
        raise AssertionError("it was read")


@pytest.fixture
def search(registry):
    def run(out=None, algorithm="descent", trials=12, trainer=None, space=Digits, data=None, **more):
        options = {"evaluator": "scripted", "seed": 1, "device": "cpu", **more}
        return nasreg.search(
            space,
            data or Forbidden(),
            algorithm,
            trainer={"max_trials": trials, **(trainer or {})},
            registry=registry,
            out=out,
            **options,
        )

    return run


def records(run: Path) -> list[dict]:
    """Return the records of a run by id, without clock times."""
    lines = [json.loads(line) for line in (run / "trials.jsonl").read_text().splitlines()]
    return sorted(({**line, "seconds": None} for line in lines), key=lambda line: line["trial"])


# -- proposals and scores ----------------------------------------------------------------------------------------------


def test_a_score_has_a_name_a_unit_and_a_direction_and_no_data_are_read(tmp_path, search):
    events = []
    result = search(tmp_path / "run", callbacks=[events.append])
    scores = [trial["score"] for trial in result.trials]
    assert min(scores) == sum(map(int, result.architecture.decisions.values())) < scores[0]
    ended = [event for event in events if isinstance(event, TrialEnded)]
    assert ended[0].objective.format(ended[0].trial.score.value).endswith(" g")
    assert max(event.trial.score for event in ended).value == min(scores)
    assert RunDirectory(tmp_path / "run").status["metrics"]["cost"] == min(scores)
    assert result.history == []
    parents = {trial["trial"]: trial.get("parent") for trial in result.trials}
    assert parents[1] is None
    assert all(parents[n] < n for n in range(3, 13))
    assert not (tmp_path / "run/trials").exists()


def test_everything_known_is_checked_before_data_are_loaded(registry, search):
    tied = SCRIPTED.model_copy(update={"name": "tied", "spaces": ("nasbench",)})
    other = Registry()
    other.register(tied, DESCENT, SCRIPTED)
    with pytest.raises(IncompatibleError, match="cannot score architectures of search space 'chain'; it scores those"):
        nasreg.search("chain", Forbidden(), "descent", evaluator="tied", registry=other)
    halving = DESCENT.model_copy(update={"name": "halving", "fidelity": True})
    other.register(halving)
    with pytest.raises(IncompatibleError, match=r"'halving' evaluates with a share .* evaluator 'scripted' cannot"):
        nasreg.search(Digits, Forbidden(), "halving", registry=other)
    with pytest.raises(IncompatibleError, match=r"cannot handle choice 'v' \(kind value\)"):
        search(space=Valued)
    with pytest.raises(UsageError, match=r"there is no evaluator 'script'. Did you mean 'scripted'"):
        search(evaluator="script")
    with pytest.raises(ConfigError, match=r"there is no option 'evaluator.sleeep'"):
        search(evaluator_options={"sleeep": 1})
    for options in ({"workers": 2}, {"evaluator": "training"}):
        with pytest.raises(ConfigError, match=r"algorithm 'darts' has no trials"):
            nasreg.search(Digits, Forbidden(), "darts", **options)


class Valued(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nasreg.nn.Linear(1, nasreg.nn.ValueChoice([1, 2], key="v"))

    def forward(self, x):
        return self.layer(x)


# -- what is put around every algorithm --------------------------------------------------------------------------------


def test_budgets_reject_before_an_evaluation_and_the_mutator_observes_it(tmp_path, search):
    result = search(tmp_path / "run", "random", 8, {"max_parameters": 30})  # a digit d has 2 (d + 1) parameters
    sizes = {trial["trial"]: sum(2 * (int(d) + 1) for d in trial["architecture"].values()) for trial in result.trials}
    for trial in result.trials:
        assert trial["status"] == ("done" if sizes[trial["trial"]] <= 30 else "rejected")
        assert trial["metrics"]["parameters"] == sizes[trial["trial"]]
    rejected = [trial for trial in result.trials if trial["status"] == "rejected"]
    assert rejected
    assert rejected[0]["reason"] == f"parameters {sizes[rejected[0]['trial']]} above 30"
    assert sum(trial["status"] == "done" for trial in result.trials) == 8
    half = search(tmp_path / "half", "random", 8, {"max_parameters": "50%"})  # the largest has 60
    assert records(tmp_path / "half") == records(tmp_path / "run")
    assert half.architecture == result.architecture


@pytest.mark.parametrize("share", [False, True])
def test_a_budget_of_multiply_accumulates(share, search):
    # A digit d takes d + 1 multiply-accumulates; the largest architecture 30.
    trials = search(None, "random", 8, {"max_macs": "50%" if share else 15}).trials
    for trial in trials:
        macs = sum(int(digit) + 1 for digit in trial["architecture"].values())
        assert trial["metrics"]["macs"] == macs
        assert trial["status"] == ("done" if macs <= 15 else "rejected")
        assert share or macs <= 15 or trial["reason"] == f"MACs {macs} above 15"
    assert {trial["status"] for trial in trials} == {"done", "rejected"}


def test_a_budget_of_latency(search):
    with pytest.raises(TrainingError, match=r"no architecture was evaluated: latency [\d.e-]+ ms above 1e-09 ms"):
        search(None, "random", 8, {"max_latency_ms": 1e-9, "max_rejected": 3})
    trials = search(None, "random", 2, {"max_latency_ms": 1e6}).trials
    assert all(trial["status"] == "done" and trial["metrics"]["latency_ms"] > 0 for trial in trials)


class Rungs(MultiTrialMutator):
    """Evaluates given architectures with a given fidelity each."""

    PLAN = (("111", 0.5), ("999", 1.0), ("222", 0.5), ("777", 1.0), ("888", 1.0))

    def propose(self):
        if self.n_proposed == len(self.PLAN):
            return None
        digits, fidelity = self.PLAN[self.n_proposed]
        decisions = {f"digit{place}": digit for place, digit in enumerate(digits)}
        return self.proposal(self.space.architecture(decisions), fidelity=fidelity)


def test_the_best_trial_is_one_of_the_highest_fidelity(registry, search, tmp_path, capsys):
    registry.register(
        DESCENT.model_copy(
            update={
                "name": "rungs",
                "fidelity": True,
                "evaluator": "partial",
                "mutator": MutatorSpec(factory=Rungs, config=Config),
            }
        ),
        SCRIPTED.model_copy(update={"name": "partial", "fidelity": True}),
    )
    told = []

    def best(event):
        if isinstance(event, TrialEnded):
            told.append(progress.position()[1])

    with PlainProgress(io.StringIO(), time.monotonic) as progress:
        result = search(tmp_path / "run", "rungs", evaluator=None, callbacks=[progress, best])
    assert told == ["best cost 3.000 g", *["best cost 27.000 g"] * 2, *["best cost 21.000 g"] * 2]
    assert set(result.architecture.decisions.values()) == {"7"}  # the lowest cost, 3, took half of the effort
    summary = summarize_trials(tmp_path / "run/trials.jsonl", result.objective, 9)
    assert [each["trial"] for each in summary.best] == [4, 5, 2, 1, 3]
    assert [each.trial for each in summary.so_far_best()] == [1, 2, 4]
    print_trials(Output(), RunDirectory(tmp_path / "run"))
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert [row[:4] for row in rows[1:3]] == [["trial", "fidelity", "cost", "time"], ["4", "100.0%", "21.000", "g"]]


def test_a_budget_that_nothing_meets(tmp_path, search):
    with pytest.raises(
        ConfigError, match=r"trainer.max_parameters: no architecture has 5 parameters or fewer; the smallest has 6"
    ):
        search(tmp_path / "run", "random", 8, {"max_parameters": 5})
    assert not (tmp_path / "run").exists()
    messages: list[str] = []
    options = {"max_parameters": 6, "max_rejected": 50}
    result = search(None, "random", 8, options, space_options={"options": 2}, callbacks=[notices(messages)])
    assert [trial["status"] for trial in result.trials].count("done") == 1
    assert messages == ["the search ends with what it has: all 8 architectures of the space were proposed"]
    with pytest.raises(TrainingError, match=r"no architecture was evaluated: parameters \d+ above 6"):
        search(None, "random", 8, {"max_parameters": 6, "max_rejected": 5})


@pytest.mark.parametrize(
    ("value", "message"), [("half", "share of the largest"), (0, "above 0"), ("0%", "share"), (True, "above 0")]
)
def test_a_malformed_budget(search, value, message):
    with pytest.raises(ConfigError, match=rf"trainer.max_macs.*{message}"):
        search(trainer={"max_macs": value})


def test_a_filter_and_given_architectures(tmp_path, search):
    given = search(tmp_path / "given", trials=2)
    options = {"filter": "evaluators:refuse", "initial": [str(tmp_path / "given"), given.architecture]}
    result = search(tmp_path / "run", "random", 6, {**options, "duplicates": "reject"})
    first, second, *rest = result.trials
    assert first["architecture"] == second["architecture"] == dict(given.architecture.decisions)
    assert second["reason"] == "it was proposed before"
    for trial in rest:
        odd = int(trial["architecture"]["digit0"]) % 2
        assert trial["status"] == ("rejected" if odd else "done")
        assert not odd or trial["reason"] == "filter evaluators:refuse refused it"
    with pytest.raises(UsageError, match=r"evaluators:nothing.*nothing"):
        search(trainer={"filter": "evaluators:nothing"})
    with pytest.raises(UsageError, match=r"there is no run directory or file .*missing/run"):
        search(trainer={"initial": ["missing/run"]})


# -- failures ----------------------------------------------------------------------------------------------------------


def test_a_trial_that_fails_is_a_result(tmp_path, search):
    out = tmp_path / "run"
    result = search(out, trials=8, evaluator_options={"fail": [2, 5]})
    failed = [trial for trial in result.trials if trial["status"] == "failed"]
    assert [trial["trial"] for trial in failed] == [2, 5]
    assert failed[0]["reason"] == "ValueError: trial 2 is told to fail"
    assert "score" not in failed[0]
    assert "told to fail" in (out / "errors.txt").read_text()
    assert len(result.trials) == 8
    more = search(out, trials=10, evaluator_options={"fail": [2, 5]}, resume=True)
    assert [trial["trial"] for trial in more.trials if trial["status"] == "failed"] == [2, 5]
    assert len(more.trials) == 10


def test_failures_in_a_row_end_the_search_and_resuming_tries_on(tmp_path, search):
    options = {"trials": 8, "trainer": {"max_failures": 3}, "evaluator_options": {"fail": [3, 4, 5]}}
    with pytest.raises(TrainingError, match=r"3 trials in a row failed, the last one, trial 5: ValueError: trial 5 .*"):
        search(tmp_path / "run", **options)
    assert RunDirectory(tmp_path / "run").status["state"] == "failed"
    assert len(search(tmp_path / "run", resume=True, **options).trials) == 8
    with pytest.raises(TrainingError, match=r"all 2 trials failed, the last one, trial 2: ValueError: trial 2"):
        search(trials=2, evaluator_options={"fail": [1, 2]})


class Fragile(nn.Module):
    """Raises an error with one of its candidates."""

    def __init__(self):
        super().__init__()
        self.choice = LayerChoice({"good": nn.Linear(64, 2), "bad": nn.Linear(32, 2)}, key="a")

    def forward(self, x):
        return self.choice(x.flatten(1))


def test_a_users_model_that_fails_fails_its_trial_alone(search):
    options = {"evaluator": "training", "evaluator_options": {"epochs": 1, "batch_size": 16}}
    result = search(space=Fragile, data=toy_images(), algorithm="random", trials=2, **options)
    by_choice = {trial["architecture"]["a"]: trial for trial in result.trials if trial["status"] != "rejected"}
    assert by_choice["good"]["status"] == "done"
    assert by_choice["bad"]["reason"].startswith("RuntimeError: mat1 and mat2")
    assert result.architecture.decisions == {"a": "good"}


# -- records and resuming ----------------------------------------------------------------------------------------------


def die_after(trial):
    def die(event):
        if isinstance(event, TrialEnded) and event.trial.id == trial:
            raise Died

    return die


@pytest.mark.parametrize("workers", [1, 3])
def test_a_search_that_dies_anywhere_resumes_to_the_same_records(tmp_path, search, workers):
    options = {"evaluator_options": {"fail": [4]}, "trainer": {"max_parameters": 45}, "workers": workers}
    whole = search(tmp_path / "whole", executor="serial", **options)
    out = tmp_path / "run"
    for attempt, trial in enumerate((1, 2, 6, 11)):
        with pytest.raises(Died):
            search(out, executor="serial", resume=attempt > 0, callbacks=[die_after(trial)], **options)
    with (out / "trials.jsonl").open("ab") as file:
        file.write(b'{"trial": 99, "sta')  # the line that the process died in
    resumed = search(out, executor="serial", resume=True, **options)
    assert records(out) == records(tmp_path / "whole")
    assert resumed.architecture == whole.architecture


def test_another_number_of_workers_keeps_the_records(tmp_path, search):
    out = tmp_path / "run"
    with pytest.raises(Died):
        search(out, workers=3, executor="serial", callbacks=[die_after(7)])
    before = records(out)
    messages: list[str] = []
    search(out, workers=1, resume=True, callbacks=[notices(messages)])
    after = records(out)
    assert [line for line in after if line["trial"] in {each["trial"] for each in before}] == before
    assert len(after) == 12
    assert messages == ["resumed with workers=1 (was 3): the result may differ by rounding"]


class Restless(DESCENT.mutator.factory):  # type: ignore[name-defined,misc]
    """Draws from a generator that nothing seeds."""

    def propose(self):
        self.rng.seed(os.urandom(8))
        return super().propose()


def test_a_mutator_that_is_not_deterministic_is_noticed_and_keeps_the_records(tmp_path, search):
    other = Registry()
    mutator = DESCENT.mutator.model_copy(update={"factory": Restless})
    other.register(SCRIPTED, DESCENT.model_copy(update={"name": "restless", "mutator": mutator}))
    out = tmp_path / "run"
    options = {"registry": other, "out": out, "device": "cpu"}
    nasreg.search(Digits, Forbidden(), "restless", trainer={"max_trials": 5}, **options)
    before, messages = records(out), []
    more = {"trainer": {"max_trials": 7}, "resume": True, "callbacks": [notices(messages)]}
    nasreg.search(Digits, Forbidden(), "restless", **options, **more)
    assert records(out)[:5] == before
    assert len(messages) == 1
    assert "would propose something else now for trial" in messages[0]


def test_a_damaged_line_is_named(tmp_path, search):
    search(tmp_path / "run", trials=2)
    path = tmp_path / "run/trials.jsonl"
    path.write_text("rubbish\n" + path.read_text())
    with pytest.raises(RunDirectoryError, match=r"trials.jsonl, line 1 is not JSON"):
        search(tmp_path / "run", trials=4, resume=True)


# -- executors ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def in_one_process(tmp_path_factory, registry) -> list[dict]:
    """The records of a search with two workers, in one process."""
    out = tmp_path_factory.mktemp("serial") / "run"
    options = {"trainer": {"max_trials": 12}, "evaluator": "scripted", "seed": 1, "device": "cpu"}
    nasreg.search(Digits, Forbidden(), "descent", registry=registry, out=out, workers=2, executor="serial", **options)
    return records(out)


@pytest.mark.slow
def test_worker_processes_give_the_same_records_and_one_that_dies_is_replaced(tmp_path, search, in_one_process):
    deaths = tmp_path / "deaths"
    deaths.mkdir()
    (deaths / "3-once").touch()
    for n in range(3):
        (deaths / f"6-{n}").touch()
    result = search(tmp_path / "run", workers=2, trials=5, data=toy_images())
    assert records(tmp_path / "run") == in_one_process[:5]
    assert result.run_dir is not None
    result = search(tmp_path / "dying", workers=2, evaluator_options={"die": str(deaths)}, data=toy_images())
    found = records(tmp_path / "dying")
    assert [line["status"] for line in found] == ["done"] * 5 + ["failed"] + ["done"] * 6
    assert found[5]["reason"] == "its worker process died, 2 times (killed, or out of memory)"
    assert found[:5] == in_one_process[:5]


@pytest.mark.slow
def test_any_executor_of_processes(search, tmp_path, in_one_process):
    with ProcessPoolExecutor(2, get_context("spawn")) as pool:
        search(tmp_path / "run", workers=2, executor=pool, data=toy_images())
    assert records(tmp_path / "run") == in_one_process
    with ThreadPoolExecutor(2) as threads, pytest.raises(UsageError, match="threads of one process share"):
        search(executor=threads, data=toy_images())


def test_what_cannot_be_sent_to_workers_is_said(search):
    class Local(Digits):
        pass

    with pytest.raises(UsageError, match=r"cannot be sent to worker processes .*top level of a module"):
        search(space=Local, workers=2, data=toy_images())


KILLED = """
import sys
import nasreg
from evaluators import DESCENT, SCRIPTED, Digits
from nasreg.events import TrialProgress
from nasreg.testing import toy_images

if __name__ == "__main__":
    nasreg.register(SCRIPTED, DESCENT)
    resume, trained = len(sys.argv) > 2, set()
    nasreg.search(
        "chain", "digits", "random", out=sys.argv[1], resume=resume, workers=2, device="cpu",
        callbacks=[lambda event: trained.add(event.trial) if isinstance(event, TrialProgress) else None],
        trainer={"max_trials": 6}, evaluator_options={"epochs": 2, "batch_size": 64},
        space_options={"blocks": 1, "channels": 2}, dataset_options={"limit": 200}, seed=3,
    )
    assert resume or len(trained) == 6, "the progress of worker processes"
"""


def processes_of(run: Path) -> list[int]:
    """Return the worker processes of a script."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            text = (entry / "environ").read_bytes()
        except OSError:
            continue
        if f"RUN_OF_TEST={run}".encode() in text:
            found.append(int(entry.name))
    return found


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="looks for processes in /proc")
def test_killed_interrupted_and_terminated_with_two_workers_nothing_is_lost(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(KILLED)

    def start(run: Path, *more: str) -> subprocess.Popen[bytes]:
        path = os.pathsep.join([str(ROOT / "tests/support"), *sys.path])
        environment = {**os.environ, "PYTHONPATH": path, "RUN_OF_TEST": str(run)}
        with (tmp_path / "stderr").open("w") as stderr:
            return subprocess.Popen([sys.executable, str(script), str(run), *more], env=environment, stderr=stderr)

    assert start(tmp_path / "whole").wait() == 0, (tmp_path / "stderr").read_text()
    run = tmp_path / "run"
    lines = 0
    for attempt, number in enumerate((signal.SIGKILL, signal.SIGINT, signal.SIGKILL, signal.SIGTERM)):
        process = start(run, *(["resume"] if attempt else []))
        deadline = time.monotonic() + 120
        while process.poll() is None and time.monotonic() < deadline:
            found = (run / "trials.jsonl").read_bytes().count(b"\n") if (run / "trials.jsonl").exists() else 0
            if found > lines or (attempt and list(run.glob("trials/*/checkpoint.pt"))):
                break
            time.sleep(0.02)
        process.send_signal(number)
        process.wait(60)
        # A worker that was still starting, which takes seconds, ends as soon as it has started.
        gone = time.monotonic() + 60
        while (left := processes_of(run)) and time.monotonic() < gone:
            time.sleep(0.05)
        assert left == [], "a worker outlived the search"
        kept = (run / "trials.jsonl").read_bytes().count(b"\n")
        assert kept >= lines, "records were lost"
        lines = kept
    if RunDirectory(run).status["state"] != "done":
        assert start(run, "resume").wait() == 0, (tmp_path / "stderr").read_text()
    assert records(run) == records(tmp_path / "whole")
    for trial in (tmp_path / "whole/trials").iterdir():
        twin = run / "trials" / trial.name
        assert sorted(path.name for path in trial.iterdir()) == sorted(path.name for path in twin.iterdir())


# -- the evaluator that trains -----------------------------------------------------------------------------------------


class Watched(Fragile):
    """Two candidates of the same shape."""

    def __init__(self):
        super().__init__()
        self.choice = LayerChoice({"one": nn.Linear(64, 2), "two": nn.Linear(64, 2)}, key="a")


def test_weights_are_inherited_from_the_parent_and_kept(tmp_path, search):
    seen = {}
    still = {"epochs": 1, "batch_size": 16, "lr": 1e-30}  # weights stay what they are at the start

    options = {"evaluator": "training", "evaluator_options": {**still, "inherit_weights": True}}
    result = search(tmp_path / "run", space=Watched, data=toy_images(), trials=4, **options)
    for trial in result.trials:
        weights = torch.load(tmp_path / f"run/trials/{trial['trial']:06}/weights.pt", weights_only=True)
        seen[trial["trial"]] = weights
    for trial in result.trials[1:]:
        for name, value in seen[trial["trial"]].items():
            assert torch.equal(value, seen[trial["parent"]][name])
    in_memory = search(None, space=Watched, data=toy_images(), trials=4, **options)
    assert [trial["score"] for trial in in_memory.trials] == [trial["score"] for trial in result.trials]
    kept = {**options, "evaluator_options": {**still, "keep_weights": True}}
    search(tmp_path / "fresh", space=Watched, data=toy_images(), trials=2, **kept)
    one, two = (
        torch.load(path, weights_only=True) for path in sorted((tmp_path / "fresh").glob("trials/*/weights.pt"))
    )
    assert not torch.equal(one["choice.weight"], two["choice.weight"])


def test_a_function_makes_the_weights_of_a_child(tmp_path, search):
    still = {"epochs": 1, "batch_size": 16, "lr": 1e-30, "inherit_weights": True}
    options = {"evaluator": "training", "space": Watched, "data": toy_images(), "trials": 3}

    def trials(out, function="evaluators:doubled"):
        return search(out, evaluator_options={**still, "inherit_function": function}, **options).trials

    found = trials(tmp_path / "run")
    weights = {
        trial["trial"]: torch.load(tmp_path / f"run/trials/{trial['trial']:06}/weights.pt", weights_only=True)
        for trial in found
    }
    for trial in found[1:]:
        for name, value in weights[trial["trial"]].items():
            assert torch.equal(value, 2 * weights[trial["parent"]][name])
    assert [trial["score"] for trial in trials(None)] == [trial["score"] for trial in found]
    for function, message in {
        "evaluators:tripled": "evaluator.inherit_function: cannot load 'evaluators:tripled'",
        "evaluators:SCRIPTED": "'evaluators:SCRIPTED' is not a function",
        "doubled": "evaluator.inherit_function",
    }.items():
        with pytest.raises(NasregError, match=message) as caught:
            trials(None, function)
        assert "\n" not in str(caught.value)


def test_a_trial_resumes_in_its_middle(tmp_path, search):
    from interrupting import interrupt_trial

    options = {
        "evaluator": "training",
        "evaluator_options": {"epochs": 3, "batch_size": 16},
        "space": Fragile,
        "data": toy_images(),
        "algorithm": "random",
        "trials": 2,
    }
    search(tmp_path / "whole", **options)
    with pytest.raises(InterruptedRunError, match=r"interrupted after 1 of 2 trials; resume with: nasreg resume"):
        search(tmp_path / "run", callbacks=[interrupt_trial(2, step=2)], **options)
    if list((tmp_path / "run").glob("trials/*/checkpoint.pt")):
        assert RunDirectory(tmp_path / "run").status["state"] == "interrupted"
    search(tmp_path / "run", resume=True, **options)
    assert records(tmp_path / "run") == records(tmp_path / "whole")


@pytest.mark.slow
def test_a_script_without_a_guard_says_what_is_missing(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(KILLED.replace('if __name__ == "__main__":', "if True:"))
    path = os.pathsep.join([str(ROOT / "tests/support"), *sys.path])
    argv = [sys.executable, str(script), str(tmp_path / "run")]
    done = subprocess.run(argv, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "below: if __name__ == '__main__':" in done.stderr.splitlines()[-1]


class CountingConfig(EvaluatorConfig):
    unused: tuple[str, ...] = ()

    @property
    def unneeded(self):
        return frozenset(self.unused)


class Counting(Evaluator):
    """Scores everything by the number of images to validate on; -1 without data."""

    objective = MetricSpec(name="images", title="images")

    def evaluate(self, proposal):
        return self.score(-1 if self.context.data is None else len(self.context.data.splits["validation"]))


def test_what_an_evaluator_needs_can_depend_on_its_options(registry, search):
    counting = {"name": "counting", "summary": "counts images", "factory": Counting, "config": CountingConfig}
    registry.register(EvaluatorSpec(**counting, needs=frozenset({"data"}), splits=frozenset({"validation"})))
    try:
        for unused, images in ((("data", "validation"), -1), (("validation",), 0), ((), 19)):
            data = Forbidden() if "data" in unused else toy_images()
            options = {"unused": unused}
            result = search(trials=1, space="chain", data=data, evaluator="counting", evaluator_options=options)
            assert [trial["score"] for trial in result.trials] == [images]
    finally:
        registry.unregister("counting")
