"""The progress display of a multi-trial search, on a terminal and elsewhere."""

from __future__ import annotations

import io
import re
from pathlib import Path

import pytest
from rich.console import Console

from nasreg.events import RunEnded, SearchStarted, SupernetProgress, TrialEnded, TrialProgress, TrialStarted
from nasreg.runs.progress import PlainProgress, RichProgress
from nasreg.specs import Architecture, LayerChoiceSpec, RunSpec, SearchSpaceSpec
from nasreg.specs.metrics import MetricSpec, metric_spec
from nasreg.specs.trial import Proposal, Score, Trial
from screen import Clock, Screen

SPACE = SearchSpaceSpec(choices=(LayerChoiceSpec(key="layer", candidates=("a", "b", "c")),))
ARCHITECTURE = Architecture(fingerprint="0", decisions={})
ACCURACY = metric_spec("validation_accuracy")
COST = MetricSpec(name="cost", title="cost", unit="g", higher_is_better=False)
SEARCH = RunSpec.model_validate(
    {
        "algorithm": "random", "space": {"name": "cells"}, "dataset": {"name": "digits"}, "mutator": {},
        "trainer": {}, "evaluator": {"name": "training"}, "preset": "demo",
    }
)  # fmt: skip


@pytest.fixture(autouse=True)
def _usual_terminal(monkeypatch):
    monkeypatch.setenv("TERM", "xterm-256color")
    for name in ("NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)


def searching(objective=ACCURACY, trials=20, ended=0, best=None, spec=SEARCH):
    return SearchStarted(spec, SPACE, objective, "cpu", trials, ended, Path("runs/[a]"), best)


class Trials:
    """Sends what a multi-trial trainer sends, and counts trials as it does."""

    def __init__(self, progress, clock, objective=ACCURACY, trials=20, ended=0):
        self.progress, self.clock, self.objective = progress, clock, objective
        self.trials, self.ended, self.id = trials, ended, ended

    def train(self, seconds, epochs=2, steps=5, first=0, until=None):
        """Send the steps of the next trial, one every so many seconds."""
        self.progress(TrialStarted(self.id + 1))
        for step in range(first, epochs * steps if until is None else until):
            self.clock.now += seconds
            self.progress(TrialProgress(self.id + 1, step // steps + 1, epochs, step % steps + 1, steps))

    def end(self, score=None, reason=None, status=None, **costs):
        self.id += 1
        status = status or ("failed" if score is None else "done")
        self.ended += status != "rejected"
        found = None if score is None else Score(score, {}, self.objective.higher_is_better)
        trial = Trial(Proposal(self.id, ARCHITECTURE), status, found, reason, 3.25, costs)
        self.progress(TrialEnded(trial, self.ended, self.trials, self.objective))


def test_a_search_begins_with_what_it_is():
    stream, clock = io.StringIO(), Clock()
    with PlainProgress(stream, clock) as progress:
        progress(searching())
    assert stream.getvalue().splitlines() == [
        "random: space cells, data set digits, preset demo, evaluator training, device cpu",
        "3 architectures, 20 trials",
        "run directory runs/[a]",
    ]
    stream = io.StringIO()
    workers = SEARCH.model_copy(update={"workers": 4, "preset": None})
    PlainProgress(stream, clock)(searching(trials=1, ended=3, spec=workers))
    lines = stream.getvalue().splitlines()
    assert lines[0] == "random: space cells, data set digits, evaluator training, device cpu, 4 workers"
    assert lines[1].endswith(" architectures, 1 trial")
    assert lines[-1] == "resuming after 3 trials"


def test_each_trial_has_a_line_that_says_what_became_of_it():
    stream, clock = io.StringIO(), Clock()
    with PlainProgress(stream, clock) as progress:
        progress(searching())
        trials = Trials(progress, clock)
        trials.end(0.9134, parameters=12345)
        trials.end(0.75, parameters=1)
        clock.now += 1
        trials.end(reason="parameters 9 above 3", status="rejected", parameters=9)
        trials.end(reason="ValueError: broken")
        trials.end(0.92)
    assert stream.getvalue().splitlines()[3:] == [
        "trial 1 (1/20): validation accuracy 91.3% (best so far), 12,345 parameters, 3.2 s",
        "trial 2 (2/20): validation accuracy 75.0%, 1 parameter, 3.2 s",
        "trial 3 (2/20) rejected: parameters 9 above 3",
        "trial 4 (3/20) failed: ValueError: broken",
        "trial 5 (4/20): validation accuracy 92.0% (best so far), 3.2 s",
    ]


def test_a_lower_score_may_be_the_better_one_and_a_resumed_search_knows_its_best():
    stream, clock = io.StringIO(), Clock()
    trial = Trial(Proposal(1, ARCHITECTURE), "done", Score(5.0, {}, higher_is_better=False))
    with PlainProgress(stream, clock) as progress:
        progress(searching(COST, ended=2, best=trial))
        trials = Trials(progress, clock, COST, ended=2)
        assert progress.position() == ["trial 3/20", "best cost 5.000 g"]
        for cost in (6.0, 4.0, 5.0):
            trials.end(cost)
    assert [line.split(", ")[0] for line in stream.getvalue().splitlines()[-3:]] == [
        "trial 3 (3/20): cost 6.000 g",
        "trial 4 (4/20): cost 4.000 g (best so far)",
        "trial 5 (5/20): cost 5.000 g",
    ]


def test_of_many_fast_trials_only_the_best_so_far_and_one_a_second_have_a_line():
    stream, clock = io.StringIO(), Clock()
    with PlainProgress(stream, clock) as progress:
        progress(searching(trials=20_000))
        trials = Trials(progress, clock, trials=20_000)
        for number in range(10_000):
            clock.now += 0.001
            trials.end(0.99 if number == 5000 else 0.5)
            trials.end(reason="it was proposed before", status="rejected")
    lines = stream.getvalue().splitlines()[3:]
    assert lines[0].startswith("trial 1 (1/20000): validation accuracy 50.0% (best so far)")
    assert "trial 10001 (5001/20000): validation accuracy 99.0% (best so far), 3.2 s" in lines
    assert sum("best so far" in line for line in lines) == 2
    assert 100 <= len(lines) <= 115


def test_a_search_of_long_trials_says_every_30_seconds_where_it_is():
    stream, clock = io.StringIO(), Clock()
    with PlainProgress(stream, clock) as progress:
        progress(searching(trials=4))
        trials = Trials(progress, clock, trials=4)
        trials.train(10.0)
        trials.end(0.5)
        trials.train(10.0, until=7)
    lines = [line for line in stream.getvalue().splitlines() if "elapsed" in line]
    assert lines == [
        "trial 1/4, epoch 1/2, 30.0 s elapsed, 6 min 10 s left",
        "trial 1/4, epoch 2/2, 1 min 0 s elapsed, 5 min 40 s left",
        "trial 1/4, epoch 2/2, 1 min 30 s elapsed, 5 min 10 s left",
        "trial 2/4, epoch 1/2, best validation accuracy 50.0%, 2 min 10 s elapsed, 4 min 30 s left",
        "trial 2/4, epoch 2/2, best validation accuracy 50.0%, 2 min 40 s elapsed, 4 min 0 s left",
    ]


def test_the_trials_of_several_workers_count_together():
    clock = Clock()
    progress = PlainProgress(io.StringIO(), clock)
    progress(searching(trials=4, spec=SEARCH.model_copy(update={"workers": 2})))
    for trial, steps in ((1, 3), (2, 2), (1, 5)):
        clock.now += 10.0
        progress(TrialProgress(trial, 1, 1, steps, 10))
    assert progress.position() == ["trial 1/4", "2 running"]
    # Five tenths of a trial and two tenths of another, of which the first two and one were done before.
    assert progress.done == pytest.approx(0.7)
    progress(TrialEnded(Trial(Proposal(2, ARCHITECTURE), "failed", None, "lost"), 1, 4, ACCURACY))
    assert progress.position() == ["trial 2/4", "epoch 1/1", "1 failed"]
    assert progress.done == pytest.approx(1.5)


def test_the_time_left_counts_what_this_process_has_done():
    """Three of ten trials had ended, and nine of ten steps of the fourth were done before."""
    stream, clock = io.StringIO(), Clock()
    progress = PlainProgress(stream, clock)
    progress(searching(trials=10, ended=3))
    trials = Trials(progress, clock, trials=10, ended=3)
    trials.train(6.0, first=9)
    trials.end(0.5)
    assert progress.times() == "6.0 s elapsed, 6 min 0 s left"
    for _ in range(3):
        trials.end(reason="it was proposed before", status="rejected")
    assert progress.times() == "6.0 s elapsed, 6 min 0 s left"


def test_the_bar_of_a_search():
    stream, clock = io.StringIO(), Clock()
    console = Console(file=stream, force_terminal=True, width=120, height=30, highlight=False)
    with RichProgress(console, clock) as progress:
        progress(searching(trials=4))
        trials = Trials(progress, clock, trials=4)
        trials.end(0.5)
        trials.end(reason="ValueError: broken")
        trials.end(reason="it was proposed before", status="rejected")
        trials.train(10.0, until=5)
        screen = Screen(120).feed(stream.getvalue())
        assert screen.lines[-3] == "trial 2 (2/4) failed: ValueError: broken"
        assert screen.lines[-2] == "trial 3/4  epoch 1/2  best validation accuracy 50.0%  1 failed  1 rejected"
        bar, times = re.fullmatch(r"(\S+) (.*)", screen.lines[-1]).groups()
        assert times == "50.0 s elapsed, 30.0 s left"
        assert set(bar) <= set("━╸╺")
        progress(RunEnded(ARCHITECTURE, None, {}))
        after = Screen(120).feed(stream.getvalue())
    assert after.cursor
    assert after.lines == screen.lines[:-2]


def test_a_supernet_that_is_trained_first_has_lines_of_its_own_and_no_share_of_the_time_left():
    stream, clock = io.StringIO(), Clock()
    with PlainProgress(stream, clock) as progress:
        progress(searching(trials=4))
        for step in range(1, 5):
            clock.now += 40
            progress(SupernetProgress((step + 1) // 2, 2, 2 - step % 2, 2, 1.5, {"accuracy": 0.25}))
        trials = Trials(progress, clock, trials=4)
        trials.train(0.5, epochs=1, steps=2)
        trials.end(0.5)
        assert progress.position() == ["trial 2/4", "best validation accuracy 50.0%"]
        assert progress.times() == "2 min 41 s elapsed, 3.0 s left"
    lines = stream.getvalue().splitlines()
    assert "supernet epoch 1/2, step 1/2, train loss 1.500, accuracy 25.0%, 40.0 s elapsed" in lines
    assert [line for line in lines if "/2: " in line] == [
        f"supernet epoch {epoch}/2: train loss 1.500, accuracy 25.0%" for epoch in (1, 2)
    ]
