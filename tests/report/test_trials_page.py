"""The page of a multi-trial search: its trials, whatever they are scored by, however many there are."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from random import Random
from typing import Any

import pytest

import nasreg
from evaluators import Digits
from nasreg.cli import main
from nasreg.errors import InterruptedRunError, RunDirectoryError, TrainingError
from nasreg.events import SearchStarted, TrialStarted
from nasreg.report import write_report
from nasreg.report.page import graphics
from nasreg.report.page.charts import ScoreDots
from nasreg.runs.trial_summary import summarize_trials
from nasreg.specs.metrics import ACCURACY, MetricSpec
from nasreg.testing import toy_images
from pages import Page, check

COST = MetricSpec(name="cost", title="cost", unit="g", higher_is_better=False)


def records(run_dir: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run_dir / "trials.jsonl").read_text().splitlines()]


def write(path: Path, trials: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(each) + "\n" for each in trials))
    return path


def table(page: Page) -> list[list[str]]:
    """Return the rows of the table of trials, the heading first."""
    html = page.source.partition("Best trials first")[2].partition("</table>")[0]
    return [re.findall(r"<t[hd][^>]*>([^<]*)</t[hd]>", row) for row in re.findall(r"<tr.*</tr>", html)]


def test_trials_are_listed_the_best_first(random):
    page = Page(random / "index.html")
    trials = sorted(records(random), key=lambda trial: -trial["score"])
    heading, *rows = table(page)
    assert heading[:2] == ["trial", "validation accuracy"]
    assert heading[-3:] == ["parameters", "time", ""]
    sizes = [f"{trial['metrics']['parameters']:,}" for trial in trials]
    assert [[row[0], row[1], row[-3]] for row in rows] == [
        [str(trial["trial"]), f"{trial['score']:.1%}", size] for trial, size in zip(trials, sizes, strict=True)
    ]
    losses = [row[heading.index("validation loss")] for row in rows]
    assert losses == [f"{trial['metrics']['validation_loss']:.3f}" for trial in trials]
    assert f"3 trials done, best validation accuracy {trials[0]['score']:.1%}" in page.texts["header"]
    assert "for 3 evaluations" in page.texts["cost"]
    assert "peak memory" in page.texts["cost"]
    assert "evaluator" in page.texts["run"]
    assert "best so far" in page.texts["trials"]
    assert "failed" not in page.texts["trials"]
    assert "supernet" not in page.text
    assert "epoch" not in page.texts["header"] + page.texts["cost"].partition("All options")[0]
    assert page.texts.keys() == {"header", "run", "result", "next", "trials", "cost"}


def test_a_score_that_is_no_accuracy_and_needs_no_data(scripted):
    """Failed trials come last, with the reason; rejected ones are only counted."""
    page = Page(scripted / "index.html")
    trials = records(scripted)
    done = sorted((each for each in trials if each["status"] == "done"), key=lambda each: each["score"])
    failed = [each for each in trials if each["status"] == "failed"]
    rejected = [each for each in trials if each["status"] == "rejected"]
    assert [each["trial"] for each in failed] == [4, 6]
    heading, *rows = table(page)
    assert heading == ["trial", "cost", "parameters", "id", "time", "failed"]
    assert [row[:2] for row in rows[:6]] == [[str(each["trial"]), f"{each['score']:.3f} g"] for each in done]
    assert [row[:2] for row in rows[6:]] == [["4", "-"], ["6", "-"]]
    assert [row[2] for row in rows] == [str(each["metrics"]["parameters"]) for each in [*done, *failed]]
    assert [row[-1] for row in rows] == [""] * 6 + [f"ValueError: trial {number} is told to fail" for number in (4, 6)]
    best = f"best cost {done[0]['score']:.3f} g"
    assert f"6 trials done, 2 failed, {len(rejected)} rejected, {best}" in page.texts["header"]
    assert f"{len(rejected)} rejected: {rejected[0]['reason']} and similar." in page.texts["trials"]
    assert "2 failed: ValueError: trial 4 is told to fail and similar." in page.texts["trials"]
    assert "errors.txt" in page.texts["trials"]
    assert "random on Digits" in page.texts["header"]
    assert "data set" not in page.texts["run"]
    for section in ("header", "run", "result", "next", "trials"):
        assert "%" not in page.texts[section]
        assert "accuracy" not in page.texts[section]


def test_an_interrupted_search_shows_the_best_so_far_and_is_resumed_from_it(tmp_path, registry):
    out, events = tmp_path / "run", []

    def interrupt(event: Any) -> None:
        if isinstance(event, TrialStarted) and event.trial == 4:
            raise InterruptedRunError("enough")

    def search(callback: Any, **more: Any) -> None:
        nasreg.search(
            Digits, toy_images(), "random", trainer={"max_trials": 8}, evaluator="scripted", device="cpu",
            registry=registry, out=out, callbacks=[callback], **more,
        )  # fmt: skip

    with pytest.raises(InterruptedRunError):
        search(interrupt)
    page = check(out / "index.html")
    best = min(records(out), key=lambda trial: trial["score"])
    assert page.state == "state other"
    assert f"3 trials done, best cost {best['score']:.3f} g" in page.texts["header"]
    for key, digit in best["architecture"].items():
        assert f"{key} = {digit}" in page.texts["result"]
    assert "Architecture so far" in page.texts["result"]
    search(events.append, resume=True)
    started = next(event for event in events if isinstance(event, SearchStarted))
    assert (started.ended, started.best.score.value) == (3, best["score"])
    page = check(out / "index.html")
    assert page.state == "state done"
    assert "8 trials done, resumed once" in page.texts["header"]


def test_a_search_whose_trials_all_fail_says_why(tmp_path, registry):
    out = tmp_path / "run"
    with pytest.raises(TrainingError):
        nasreg.search(
            Digits, toy_images(), "random", trainer={"max_trials": 2}, evaluator="scripted", device="cpu",
            evaluator_options={"fail": [1, 2]}, registry=registry, out=out,
        )  # fmt: skip
    page = check(out / "index.html")
    assert "0 trials done, 2 failed" in page.texts["header"]
    assert "There is no architecture before a trial has a score." in page.texts["result"]
    assert [row[-1] for row in table(page)[1:]] == [f"ValueError: trial {number} is told to fail" for number in (1, 2)]
    assert "best so far" not in page.texts["trials"]


def test_show_needs_no_torch(scripted, tmp_path):
    shutil.copytree(scripted, tmp_path / "run")
    code = "import sys; from nasreg.cli import main; sys.exit(main(sys.argv[1:]) or 'torch' in sys.modules)"
    argv = [sys.executable, "-W", "error", "-c", code, "show", "run"]
    shown = subprocess.run(argv, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (shown.returncode, shown.stderr) == (0, "")
    assert shown.stdout.startswith("trials, the best first\n  trial  cost")
    assert shown.stdout.endswith("wrote run/index.html\n")


# -- many trials -------------------------------------------------------------------------------------------------------


def many(run_dir: Path, n: int) -> list[dict[str, Any]]:
    """Return the records of n trials, some of them failed or rejected, in the order in which several workers end."""
    rng, architecture = Random(0), records(run_dir)[0]["architecture"]
    trials = []
    for number in range(1, n + 1):
        trial = {"trial": number, "status": "done", "score": rng.random() * 1000, "metrics": {"id": number}}
        if number % 10 == 3:
            trial = {"trial": number, "status": "failed", "reason": f"ValueError: {rng.random()} <b>"}
        elif number % 10 == 4:
            trial = {"trial": number, "status": "rejected", "reason": f"parameters {number} above 9"}
        trials.append({**trial, "seconds": 0.5, "observed": 0, "architecture": architecture})
    return sorted(trials, key=lambda trial: trial["trial"] + rng.randrange(4))


def test_a_page_of_20_000_trials_is_small(scripted, tmp_path):
    run_dir = Path(shutil.copytree(scripted, tmp_path / "run"))
    trials = many(scripted, 20_000)
    write(run_dir / "trials.jsonl", trials)
    page = check(write_report(run_dir))
    assert len(page.source) < 400_000
    scores = sorted((each["score"], each["trial"]) for each in trials if each["status"] == "done")
    assert [row[:2] for row in table(page)[1:]] == [[str(number), f"{score:.3f} g"] for score, number in scores[:50]]
    assert "16,000 trials done, 2,000 failed, 2,000 rejected" in page.texts["header"]
    assert "2,000 failed: ValueError: 0." in page.texts["trials"]
    assert "The chart shows 2,000 of the 16,000 scores." in page.texts["trials"]
    assert "The table has the best 50 of 18,000 trials." in page.texts["trials"]
    dots = page.source.partition('aria-label="scores of')[2].partition("</svg>")[0].count("<use")
    assert 2200 <= dots < 2300  # with 200 crosses, and the ticks


@pytest.mark.parametrize("objective", [COST, ACCURACY], ids=["lower is better", "higher is better"])
def test_the_chart_keeps_all_that_were_best_so_far(scripted, tmp_path, objective):
    trials = many(scripted, 5000)
    summary = summarize_trials(write(tmp_path / "trials.jsonl", trials), objective, 3)
    best: list[tuple[int, float]] = []
    for each in sorted(trials, key=lambda each: each["trial"]):
        if each["status"] == "done" and (
            not best or ((each["score"] > best[-1][1]) == objective.higher_is_better and each["score"] != best[-1][1])
        ):
            best.append((each["trial"], each["score"]))
    dots = graphics.score_dots(summary)
    assert list(dots.best) == best
    assert set(best) < set(dots.scores)
    assert len(dots.scores) == graphics.MAX_DOTS
    gaps = [after[0] - before[0] for before, after in zip(dots.scores, dots.scores[1:], strict=False)]
    assert max(gaps) <= 6
    assert (dots.scores[0][0], dots.scores[-1][0], dots.last) == (1, 5000, 5000)
    assert summary.best[0]["score"] == best[-1][1]
    assert len(summary.best) == 3


def test_scores_that_rise_all_the_time_are_thinned_too(tmp_path):
    trials = [{"trial": n, "status": "done", "score": n, "seconds": 1, "architecture": {}} for n in range(1, 5001)]
    dots = graphics.score_dots(summarize_trials(write(tmp_path / "trials.jsonl", trials), ACCURACY, 3))
    assert isinstance(dots, ScoreDots)
    assert len(dots.scores) == len(dots.best) == graphics.MAX_DOTS
    assert dots.best[-1] == (5000, 5000)


# -- reasons and damage ------------------------------------------------------------------------------------------------


def failing(*reasons: str) -> list[dict[str, Any]]:
    return [{"trial": n, "status": "failed", "reason": text, "seconds": 1} for n, text in enumerate(reasons, 1)]


@pytest.mark.parametrize(
    ("reasons", "note"),
    [
        (["a", "a"], "2 failed: a"),
        (["size 1,000 is odd", "size 7 is odd"], "2 failed: size 1,000 is odd and similar"),
        (["b", "a 1", "a 2", "a 3"], "4 failed: a 1 and similar (3), b (1)"),
        (["0.1", "1e-05"], "2 failed: 0.1 and similar"),
        ([*"abcdefg", "a"], "8 failed: a (2), b (1), c (1), d (1), e (1), other reasons (2)"),
    ],
)
def test_reasons_are_counted_those_that_differ_in_numbers_as_one(tmp_path, reasons, note):
    assert summarize_trials(write(tmp_path / "trials.jsonl", failing(*reasons)), COST, 5).notes == [note]


def test_a_torn_last_line_is_skipped_only_while_the_search_has_not_ended(scripted, tmp_path):
    run_dir = Path(shutil.copytree(scripted, tmp_path / "run"))
    with (run_dir / "trials.jsonl").open("a") as file:
        file.write('{"trial": 99, "sta')
    with pytest.raises(RunDirectoryError, match=r"trials.jsonl is damaged: the run is done, but the last line"):
        write_report(run_dir)
    status = json.loads((run_dir / "status.json").read_text())
    (run_dir / "status.json").write_text(json.dumps({**status, "state": "interrupted"}))
    assert "6 trials done, 2 failed" in check(write_report(run_dir)).texts["header"]


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("trials.jsonl", "rubbish\n", "line 1 is not the record of a trial: Invalid JSON"),
        ("trials.jsonl", '{"trial": 1, "status": "lost", "seconds": 1}\n', "line 1 is not .* a trial: status: Input"),
        ("trials.jsonl", '{"trial": 1, "status": "done", "seconds": 1}\n', "line 1 is not .*: score does not fit"),
        ("objective.json", '{"objective": {"name": ""}}', "objective.json is damaged"),
    ],
)
def test_a_damaged_file_is_one_line(scripted, tmp_path, capsys, name, content, says):
    run_dir = Path(shutil.copytree(scripted, tmp_path / "run"))
    (run_dir / name).write_text(content)
    with pytest.raises(RunDirectoryError, match=says) as info:
        write_report(run_dir)
    assert "\n" not in str(info.value)
    assert main(["show", str(run_dir)]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_hostile_reasons_and_titles_are_only_text(scripted, tmp_path):
    run_dir = Path(shutil.copytree(scripted, tmp_path / "run"))
    evil = "<script>alert('1')</script>&amp;$x$"
    objective = {**COST.model_dump(), "title": evil, "unit": evil}
    (run_dir / "objective.json").write_text(json.dumps({"objective": objective, "metrics": []}))
    trials = records(scripted)
    for trial in trials:
        trial["metrics"] = {evil: 1.0}
        if "reason" in trial:
            trial["reason"] = evil
    write(run_dir / "trials.jsonl", trials)
    page = check(write_report(run_dir))
    assert page.texts["trials"].count(evil) > 10
    assert page.texts["header"].count(evil) == 2
