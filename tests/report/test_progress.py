"""The progress display of a run, on a terminal and elsewhere."""

from __future__ import annotations

import io
import os
import pty
import re
import subprocess
import sys
import threading
from dataclasses import dataclass
from pathlib import Path

import pytest
from rich.console import Console

from nasreg.events import (
    CheckpointSaved,
    EpochEnded,
    Event,
    MemoryMeasured,
    Notice,
    RunEnded,
    RunStarted,
    SearchStarted,
    StageStarted,
    StepEnded,
    TrialEnded,
    TrialProgress,
    TrialStarted,
)
from nasreg.runs.progress import PlainProgress, RichProgress, progress_for
from nasreg.specs import Architecture, CellSpec, RunSpec, SearchSpaceSpec
from nasreg.specs.formatting import format_count
from nasreg.specs.metrics import CLASSIFICATION_METRICS, LOSS, MetricSpec, metric_spec
from nasreg.specs.trial import Proposal, Score, Trial

OPS = ("none", "skip_connect", "sep_conv_3x3", "dil_conv_3x3", "max_pool_3x3")
SPACE = SearchSpaceSpec(
    choices=tuple(
        CellSpec(key=key, inputs=2, nodes=4, candidates=(OPS,) * 14, concat=(2, 3, 4, 5))
        for key in ("normal", "reduce")
    )
)
SPEC = RunSpec.model_validate(
    {"algorithm": "darts", "space": {"name": "cells"}, "dataset": {"name": "digits"}, "mutator": {}, "trainer": {}}
)
ARCHITECTURE = Architecture(fingerprint="0", decisions={})
METRICS = {"train_loss": 1.25, "train_accuracy": 0.5, "validation_loss": 1.5, "validation_accuracy": 0.451}


@pytest.fixture(autouse=True)
def _usual_terminal(monkeypatch):
    monkeypatch.setenv("TERM", "xterm-256color")
    for name in ("NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)


class Clock:
    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


def started(
    first_epoch=0, first_step=0, epochs=10, steps=100, run_dir="runs/[a]", space=SPACE, metrics=CLASSIFICATION_METRICS
):
    return RunStarted(
        SPEC, space, metrics, "cuda:0", 1_930_618, epochs, steps, first_epoch, first_step, Path(run_dir), "supernet"
    )


DIAGNOSTICS = {"skip_connect in normal": 2.0, "entropy": 0.25}


def ended(epoch, epochs=10, metrics=METRICS, diagnostics=DIAGNOSTICS, model="supernet"):
    return EpochEnded(epoch, epochs, 12.34, metrics, ARCHITECTURE, diagnostics=diagnostics, model=model)


def step_ended(epoch, step, steps, loss=1.2345, accuracy=0.456):
    return StepEnded(epoch, step, steps, loss, {"accuracy": accuracy})


def play(progress, clock, seconds=1.0, first_epoch=0, first_step=0, epochs=10, steps=100, until=None):
    """Send what a trainer sends, a step every so many seconds."""
    progress(started(first_epoch, first_step, epochs, steps))
    for epoch in range(first_epoch, epochs):
        for step in range(first_step if epoch == first_epoch else 0, steps):
            clock.now += seconds
            progress(step_ended(epoch, step + 1, steps))
            if (epoch, step) == (first_epoch, first_step):
                progress(MemoryMeasured(812 * 2**20, "cuda:0"))
            if (epoch, step + 1) == until:
                return
        progress(ended(epoch, epochs))
        progress(CheckpointSaved(Path("checkpoint.pt"), epoch + 1, 0))
    progress(RunEnded(ARCHITECTURE, None, METRICS))


class Screen:
    """The little of a terminal that the bar uses: what stands where, and whether the cursor is shown."""

    def __init__(self, width):
        self.width, self.rows, self.row, self.column = width, [""], 0, 0
        self.cursor = True

    def feed(self, text):
        for piece in re.findall(r"\x1b\[[?0-9;]*[a-zA-Z]|.|\n|\r", text):
            if piece == "\n":
                self.row, self.column = self.row + 1, 0
            elif piece == "\r":
                self.column = 0
            elif piece in ("\x1b[?25l", "\x1b[?25h"):
                self.cursor = piece.endswith("h")
            elif piece.endswith("A") and piece.startswith("\x1b"):
                self.row -= int(piece[2:-1] or 1)
            elif piece == "\x1b[2K":
                self.rows[self.row] = ""
            elif piece.startswith("\x1b"):
                assert piece.endswith("m"), repr(piece)
            else:
                if self.column == self.width:
                    self.row, self.column = self.row + 1, 0
                    self.grow()
                line = self.rows[self.row].ljust(self.column)
                self.rows[self.row] = line[: self.column] + piece + line[self.column + 1 :]
                self.column += 1
            self.grow()
        return self

    def grow(self):
        self.rows += [""] * (self.row + 1 - len(self.rows))

    @property
    def lines(self):
        return [row.rstrip() for row in self.rows if row.strip()]


def plain(**options):
    stream, clock = io.StringIO(), Clock()
    with PlainProgress(stream, clock) as progress:
        play(progress, clock, **options)
    return stream.getvalue().splitlines()


def rich(width=120, **options):
    """Return the raw output up to the end of play, what was then on the screen, and what is left when all is over."""
    stream, clock = io.StringIO(), Clock()
    console = Console(
        file=stream, force_terminal=True, width=width, height=30, color_system="standard", highlight=False
    )
    with RichProgress(console, clock) as progress:
        play(progress, clock, **options)
        raw = stream.getvalue()
    return raw, Screen(width).feed(raw), Screen(width).feed(stream.getvalue())


def test_plain_begins_with_what_is_run():
    lines = plain()
    assert lines[0] == "darts: space cells, data set digits, device cuda:0"
    architectures = f"~{SPACE.size():.1e} architectures".replace("e+", "e")
    assert lines[1] == f"supernet of 1,930,618 parameters, {architectures}, 10 epochs of 100 steps"
    assert lines[2] == "run directory runs/[a]"
    assert lines[3] == "peak memory 812 MiB (cuda:0)"
    assert not any("resuming" in line for line in lines)


def test_plain_has_a_line_for_each_epoch():
    lines = [line for line in plain(seconds=0.1) if line.startswith("epoch")]
    assert len(lines) == 10
    assert lines[2] == (
        "epoch 3/10 (supernet): train loss 1.250, accuracy 50.0%; validation loss 1.500, accuracy 45.1%; 12.3 s;"
        " skip_connect in normal 2, entropy 0.250"
    )


def test_plain_has_a_line_every_30_seconds_of_a_long_epoch():
    lines = [line for line in plain(epochs=1, until=(0, 95)) if "step " in line]
    # the memory line after 1 s starts the count
    assert [re.search(r"step (\d+)/100", line).group(1) for line in lines] == ["31", "61", "91"]
    assert lines[0] == "epoch 1/1, step 31/100, train loss 1.234, accuracy 45.6%, 31.0 s elapsed, 1 min 9 s left"


def test_a_resumed_run_says_so_and_judges_the_time_left_by_itself():
    # 8.5 of 10 epochs were done before. At 2 s a step the 150 steps left take 300 s.
    lines = plain(seconds=2.0, first_epoch=8, first_step=50, until=(8, 66))
    assert "resuming at epoch 9, step 51" in lines
    assert lines[-1].endswith("32.0 s elapsed, 4 min 28 s left")
    _, screen, _ = rich(seconds=2.0, first_epoch=8, first_step=50, until=(8, 66))
    assert "resuming at epoch 9, step 51" in screen.lines
    assert screen.lines[-1].endswith("32.0 s elapsed, 4 min 28 s left")


def test_validation_counts_in_the_time_left():
    stream, clock = io.StringIO(), Clock()
    progress = PlainProgress(stream, clock)
    progress(started(epochs=2, steps=10))
    clock.now += 60
    progress(step_ended(0, 10, 10))
    clock.now += 60
    progress(ended(0, 2))
    clock.now += 60
    progress(step_ended(1, 5, 10))
    assert stream.getvalue().splitlines()[-1].endswith("3 min 0 s elapsed, 1 min 0 s left")


def test_a_run_resumed_at_its_end():
    stream = io.StringIO()
    progress = PlainProgress(stream)
    progress(started(first_epoch=10))
    progress(RunEnded(ARCHITECTURE, None, METRICS))
    assert stream.getvalue().splitlines()[-1] == "resuming after the last epoch"


@pytest.mark.parametrize("nodes", [1, 2, 60])
def test_any_number_of_architectures_can_be_written(nodes):
    edges = sum(2 + node for node in range(nodes))
    one = CellSpec(key="a", inputs=2, nodes=nodes, candidates=(OPS,) * edges, concat=(2,), edges_kept=60)
    space = SearchSpaceSpec(choices=(one,))
    stream = io.StringIO()
    PlainProgress(stream)(started(space=space))
    shown = re.search(r"parameters, (\S+) architectures", stream.getvalue()).group(1)
    assert shown == format_count(space.size())
    assert (len(str(space.size())) > 308) == (nodes == 60)


def test_metrics_name_their_split_and_others_are_plain_numbers():
    stream = io.StringIO()
    progress = PlainProgress(stream)
    progress(started())
    metrics = {"entropy": 0.12345, "arch_accuracy": 0.5, "train_loss": 2.0, "test_top5": 0.75, "test_loss": 1.0}
    progress(ended(0, metrics=metrics, diagnostics={}, model="network"))
    progress(EpochEnded(1, 10, 1.0, {}, ARCHITECTURE))
    assert stream.getvalue().splitlines()[-2:] == [
        "epoch 1/10: train loss 2.000; arch accuracy 50.0%; test loss 1.000, top-5 accuracy 75.0%; entropy 0.123;"
        " 12.3 s",
        "epoch 2/10: 1.0 s",
    ]


def test_metrics_of_another_task():
    rmse = MetricSpec(name="rmse", title="RMSE", unit="m", higher_is_better=False)
    stream = io.StringIO()
    progress = PlainProgress(stream, Clock())
    progress(started(metrics=(LOSS, rmse)))
    progress(ended(0, metrics={"test_rmse": 0.97, "test_accuracy": 0.5}, diagnostics={}, model="network"))
    progress.step = StepEnded(1, 1, 2, 0.25, {"rmse": 1250.0})
    assert stream.getvalue().splitlines()[-1] == "epoch 1/10: test RMSE 0.970 m, accuracy 0.500; 12.3 s"
    assert progress.position()[2:] == ["train loss 0.250", "RMSE 1250 m"]


def test_one_of_a_thing_is_singular():
    stream = io.StringIO()
    PlainProgress(stream)(started(epochs=1, steps=1))
    assert "1 epoch of 1 step\n" in stream.getvalue()


@dataclass(frozen=True)
class Unknown(Event):
    thing: int = 3


@pytest.mark.parametrize("kind", ["plain", "rich"])
def test_events_in_any_order(kind):
    stream, clock = io.StringIO(), Clock()
    console = Console(file=stream, force_terminal=True, width=80)
    events = [
        Unknown(), Notice("early"), step_ended(0, 1, 3), MemoryMeasured(20 * 2**30, "cpu"), ended(0),
        CheckpointSaved(Path("x"), 1, 0), RunEnded(ARCHITECTURE, None, {}), started(), RunEnded(ARCHITECTURE, None, {}),
        Notice("late"), ended(3),
    ]  # fmt: skip
    with PlainProgress(stream, clock) if kind == "plain" else RichProgress(console, clock) as progress:
        for event in events:
            clock.now += 50
            progress(event)
    text = "\n".join(Screen(80).feed(stream.getvalue()).lines)
    for words in (
        "warning: early",
        "peak memory 20.0 GiB (cpu)",
        "epoch 1/10 (supernet): train",
        "warning: late",
        "epoch 4/10",
    ):
        assert words in text


def test_plain_flushes_each_line_and_has_no_escape_codes(tmp_path):
    path = tmp_path / "log.txt"
    with path.open("w") as stream, progress_for(stream) as progress:
        progress(started())
        assert "run directory runs/[a]\n" in path.read_text()
        progress(Notice("cell 'normal' collapses"))
        assert path.read_text().endswith("warning: cell 'normal' collapses\n")
        play(progress, Clock())
    assert re.fullmatch(r"[\x20-\x7e\n]+", path.read_text())


def test_rich_shows_a_bar_below_the_lines_that_stay():
    _, screen, after = rich(160, seconds=1.0, until=(2, 50))
    assert [line.split(" (")[0] for line in screen.lines[-4:-2]] == ["epoch 1/10", "epoch 2/10"]
    assert screen.lines[-2] == "epoch 3/10  step 50/100  train loss 1.234  accuracy 45.6%"
    bar, times = re.fullmatch(r"(\S+) (.*)", screen.lines[-1]).groups()
    assert times == "4 min 10 s elapsed, 12 min 30 s left"
    assert len(screen.lines[-1]) == 160
    assert set(bar) <= set("━╸╺")
    assert not screen.cursor
    assert after.cursor
    assert after.lines == screen.lines[:-2]


def test_rich_bar_is_as_full_as_the_search():
    for epoch in (0, 4, 9):
        raw, _, _ = rich(until=(epoch, 100))
        last = raw[raw.rindex("\r") :] if "\r" in raw else raw
        colours = re.findall(r"\x1b\[([0-9;]*)m([━╸╺]+)", last)
        total = sum(len(text) for _, text in colours)
        assert len(colours[0][1]) == pytest.approx(total * (epoch + 1) / 10, abs=1)


@pytest.mark.parametrize("width", [30, 60, 80, 200])
def test_no_width_breaks_the_bar(width):
    _, screen, after = rich(width, seconds=7.0, epochs=600, steps=390, until=(0, 390))
    assert len(screen.lines) == len(after.lines) + 2
    assert screen.lines[-2].startswith("epoch 1/600  step 390/390")
    if width >= 60:
        assert screen.lines[-2].endswith("train loss 1.234  accuracy 45.6%")
        assert re.search(r"━ 45 min 30 s elapsed, 18 d 22 h left$", screen.lines[-1])


def test_rich_notices_are_yellow_and_taken_literally():
    stream = io.StringIO()
    console = Console(file=stream, force_terminal=True, width=200, color_system="standard")
    with RichProgress(console, Clock()) as progress:
        progress(started())
        progress(Notice("passed over [red]checkpoint[/red] in /tmp/[a]"))
    assert "\x1b[33mwarning: passed over [red]checkpoint[/red] in /tmp/[a]\x1b[0m" in stream.getvalue()


def test_rich_ends_its_bar_with_the_run():
    stream = io.StringIO()
    clock = Clock()
    console = Console(file=stream, force_terminal=True, width=160)
    with RichProgress(console, clock) as progress:
        play(progress, clock, epochs=2, steps=3)
        screen = Screen(160).feed(stream.getvalue())
        assert screen.cursor
        assert screen.lines[-1].startswith("epoch 2/2 (supernet): train loss")


PROGRAM = """
import sys
from pathlib import Path
from nasreg.events import *
from nasreg.runs.progress import RichProgress, progress_for
from nasreg.specs import RunSpec, SearchSpaceSpec
spec = RunSpec.model_validate(
    {"algorithm": "darts", "space": {"name": "s"}, "dataset": {"name": "d"}, "mutator": {}, "trainer": {}}
)
with progress_for(sys.stdout) as progress:
    assert isinstance(progress, RichProgress)
    progress(RunStarted(spec, SearchSpaceSpec(choices=()), (), "cpu", 10, 2, 5, 0, 0, None))
    progress(StepEnded(0, 1, 5, 1.0, {"accuracy": 0.5}))
    print("a line printed by other code")
    raise {error}
"""


@pytest.mark.parametrize("error", ["RuntimeError('broken')", "KeyboardInterrupt"])
def test_a_terminal_is_restored_after_an_error(error):
    master, slave = pty.openpty()
    environment = {**os.environ, "COLUMNS": "60", "LINES": "20"}
    arguments = [sys.executable, "-c", PROGRAM.replace("{error}", error)]
    with subprocess.Popen(arguments, stdout=slave, stderr=subprocess.PIPE, env=environment, text=True) as process:
        os.close(slave)
        chunks = []

        def read():
            try:
                while chunk := os.read(master, 4096):
                    chunks.append(chunk)
            except OSError:  # how Linux says that the other end is closed
                pass

        reader = threading.Thread(target=read)
        reader.start()
        _, errors = process.communicate()
        reader.join()
    os.close(master)
    assert error.split("(")[0] in errors
    assert process.returncode != 0
    output = b"".join(chunks).decode()
    assert "\x1b[?25l" in output
    screen = Screen(60).feed(output)
    assert screen.cursor
    assert screen.lines[0] == "darts: space s, data set d, device cpu"
    assert screen.lines[-1] == "a line printed by other code"


def test_importing_it_is_light():
    code = "import sys, nasreg.runs.progress; sys.exit(bool({'torch', 'matplotlib', 'rich'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_stage_has_a_line():
    stream = io.StringIO()
    with PlainProgress(stream, Clock()) as progress:
        progress(StageStarted(1, 3, 25, "6 cells added, 5 candidates per edge"))
    assert stream.getvalue() == "stage 2/3: 6 cells added, 5 candidates per edge\n"


# -- multi-trial searches ------------------------------------------------------------------------------------------

ACCURACY = metric_spec("validation_accuracy")
COST = MetricSpec(name="cost", title="cost", unit="g", higher_is_better=False)
SEARCH = RunSpec.model_validate(
    {
        "algorithm": "random", "space": {"name": "cells"}, "dataset": {"name": "digits"}, "mutator": {},
        "trainer": {}, "evaluator": {"name": "training"}, "preset": "demo",
    }
)  # fmt: skip


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
            self.progress(TrialProgress(self.id + 1, step // steps, epochs, step % steps + 1, steps))

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
        f"{format_count(SPACE.size())} architectures, 20 trials",
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
    with PlainProgress(stream, clock) as progress:
        progress(searching(COST, ended=2, best=Score(5.0, {}, higher_is_better=False)))
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
