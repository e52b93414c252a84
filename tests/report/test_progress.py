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
    StageStarted,
    StepEnded,
)
from nasreg.runs.progress import PlainProgress, RichProgress, progress_for
from nasreg.specs import Architecture, CellSpec, RunSpec, SearchSpaceSpec
from nasreg.specs.formatting import format_count
from nasreg.specs.metrics import CLASSIFICATION_METRICS, LOSS, MetricSpec
from screen import Clock, Screen

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


def started(
    first_epoch=1, first_step=1, epochs=10, steps=100, run_dir="runs/[a]", space=SPACE, metrics=CLASSIFICATION_METRICS
):
    return RunStarted(
        SPEC, space, metrics, "cuda:0", 1_930_618, epochs, steps, first_epoch, first_step, Path(run_dir), "supernet"
    )


DIAGNOSTICS = {"skip_connect in normal": 2.0, "entropy": 0.25}


def ended(epoch, epochs=10, metrics=METRICS, diagnostics=DIAGNOSTICS, model="supernet"):
    return EpochEnded(epoch, epochs, 12.34, metrics, ARCHITECTURE, diagnostics=diagnostics, model=model)


def step_ended(epoch, step, steps, loss=1.2345, accuracy=0.456):
    return StepEnded(epoch, step, steps, loss, {"accuracy": accuracy})


def play(progress, clock, seconds=1.0, first_epoch=1, first_step=1, epochs=10, steps=100, until=None):
    """Send what a trainer sends, a step every so many seconds."""
    progress(started(first_epoch, first_step, epochs, steps))
    for epoch in range(first_epoch, epochs + 1):
        for step in range(first_step if epoch == first_epoch else 1, steps + 1):
            clock.now += seconds
            progress(step_ended(epoch, step, steps))
            if (epoch, step) == (first_epoch, first_step):
                progress(MemoryMeasured(812 * 2**20, "cuda:0"))
            if (epoch, step) == until:
                return
        progress(ended(epoch, epochs))
        progress(CheckpointSaved(Path("checkpoint.pt"), epoch + 1, 1))
    progress(RunEnded(ARCHITECTURE, None, METRICS))


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
    lines = [line for line in plain(epochs=1, until=(1, 95)) if "step " in line]
    # the memory line after 1 s starts the count
    assert [re.search(r"step (\d+)/100", line).group(1) for line in lines] == ["31", "61", "91"]
    assert lines[0] == "epoch 1/1, step 31/100, train loss 1.234, accuracy 45.6%, 31.0 s elapsed, 1 min 9 s left"


def test_a_resumed_run_says_so_and_judges_the_time_left_by_itself():
    # 8.5 of 10 epochs were done before. At 2 s a step the 150 steps left take 300 s.
    lines = plain(seconds=2.0, first_epoch=9, first_step=51, until=(9, 66))
    assert "resuming at epoch 9, step 51" in lines
    assert lines[-1].endswith("32.0 s elapsed, 4 min 28 s left")
    _, screen, _ = rich(seconds=2.0, first_epoch=9, first_step=51, until=(9, 66))
    assert "resuming at epoch 9, step 51" in screen.lines
    assert screen.lines[-1].endswith("32.0 s elapsed, 4 min 28 s left")


def test_validation_counts_in_the_time_left():
    stream, clock = io.StringIO(), Clock()
    progress = PlainProgress(stream, clock)
    progress(started(epochs=2, steps=10))
    clock.now += 60
    progress(step_ended(1, 10, 10))
    clock.now += 60
    progress(ended(1, 2))
    clock.now += 60
    progress(step_ended(2, 5, 10))
    assert stream.getvalue().splitlines()[-1].endswith("3 min 0 s elapsed, 1 min 0 s left")


def test_a_run_resumed_at_its_end():
    stream = io.StringIO()
    progress = PlainProgress(stream)
    progress(started(first_epoch=11))
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
    progress(ended(1, metrics=metrics, diagnostics={}, model="network"))
    progress(EpochEnded(2, 10, 1.0, {}, ARCHITECTURE))
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
    progress(ended(1, metrics={"test_rmse": 0.97, "test_accuracy": 0.5}, diagnostics={}, model="network"))
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
        Unknown(), Notice("early"), step_ended(1, 1, 3), MemoryMeasured(20 * 2**30, "cpu"), ended(1),
        CheckpointSaved(Path("x"), 2, 1), RunEnded(ARCHITECTURE, None, {}), started(), RunEnded(ARCHITECTURE, None, {}),
        Notice("late"), ended(4),
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
    _, screen, after = rich(160, seconds=1.0, until=(3, 50))
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
    for epoch in (1, 5, 10):
        raw, _, _ = rich(until=(epoch, 100))
        last = raw[raw.rindex("\r") :] if "\r" in raw else raw
        colours = re.findall(r"\x1b\[([0-9;]*)m([━╸╺]+)", last)
        total = sum(len(text) for _, text in colours)
        assert len(colours[0][1]) == pytest.approx(total * epoch / 10, abs=1)


@pytest.mark.parametrize("width", [30, 60, 80, 200])
def test_no_width_breaks_the_bar(width):
    _, screen, after = rich(width, seconds=7.0, epochs=600, steps=390, until=(1, 390))
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
    progress(RunStarted(spec, SearchSpaceSpec(choices=()), (), "cpu", 10, 2, 5, 1, 1, None))
    progress(StepEnded(1, 1, 5, 1.0, {"accuracy": 0.5}))
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
        progress(StageStarted(2, 3, 26, "6 cells added, 5 candidates per edge"))
    assert stream.getvalue() == "stage 2/3: 6 cells added, 5 candidates per edge\n"
