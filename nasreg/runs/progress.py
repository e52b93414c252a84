"""The progress display of a run: ``RichProgress`` on a terminal, ``PlainProgress`` in a pipe or a file.

Both are callbacks (see ``nasreg.events``) and context managers. Imports no torch, and rich only for a terminal.
"""

from __future__ import annotations

import math
import time
from abc import abstractmethod
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from types import TracebackType
from typing import TYPE_CHECKING, Literal, TextIO

from nasreg.events import (
    Callback,
    EpochEnded,
    Event,
    MemoryMeasured,
    NetworkMeasured,
    Notice,
    RunEnded,
    RunStarted,
    SearchStarted,
    StageStarted,
    StepEnded,
    SupernetProgress,
    TrialEnded,
    TrialProgress,
)
from nasreg.runs.progress_lines import epoch_line, network_line, search_lines, start_lines, trial_line
from nasreg.specs.formatting import format_bytes, format_duration
from nasreg.specs.metrics import MetricSpec, metric_spec, task_metrics
from nasreg.specs.trial import Trial, TrialStatus

if TYPE_CHECKING:
    from rich.console import Console, Group

PLAIN_SECONDS = 30.0
"""Within an epoch ``PlainProgress`` writes a line at most this often."""

TRIAL_LINES = 100
"""So many trials have a line each."""

TRIAL_SECONDS = 1.0
"""After them, and always for rejected proposals, there is a line at most this often; the best so far has always one."""

REFRESH_SECONDS = 0.1
"""``RichProgress`` redraws its bar at most this often."""


def progress_for(
    stream: TextIO,
    warn: Callable[[str], None] | None = None,
) -> AbstractContextManager[Callback]:
    """Return the progress display for a stream.

    Args:
        stream: The stream to write to.
        warn: Prints a warning elsewhere; by default they go to the stream, too.

    Returns:
        A context manager whose value is the callback: ``RichProgress`` for a terminal, otherwise ``PlainProgress``.
    """
    if not stream.isatty():
        return PlainProgress(stream, warn=warn)
    from rich.console import Console

    return RichProgress(Console(file=stream, highlight=False), warn=warn)


class _Progress:
    """The common part of both displays: the position in the run, the time, and the text of each event.

    Attributes:
        started: Time at which this process started the run; None before.
        unit: What the position counts: epochs, or the trials of a multi-trial search.
        epochs: How many of them there are.
        done: How many of them are done, with the fraction of the current one.
        step: The last step of the current epoch.
    """

    def __init__(self, clock: Callable[[], float], warn: Callable[[str], None] | None) -> None:
        self.clock = clock
        self.metrics: Sequence[MetricSpec] = ()
        self.warn = warn
        self.started: float | None = None
        self.first = self.done = 0.0
        self.epochs = 0
        self.step: StepEnded | None = None
        self.unit: Literal["epoch", "trial"] = "epoch"
        self.ended = 0
        self.running: dict[int, TrialProgress] = {}
        self.supernet: SupernetProgress | None = None
        """The last step of a supernet that is trained before the trials."""
        self.began: float | None = None
        """Time at which what is counted began, where that is later than the start."""
        self.best: Trial | None = None
        self.objective: MetricSpec | None = None
        self.counts: Counter[TrialStatus] = Counter()
        self._trial_lines = 0
        self._said_trial = -math.inf

    def __call__(self, event: Event) -> None:
        """Show an event; kinds that have no text are ignored."""
        match event:
            case RunStarted():
                self.started, self.epochs, self.step = self.clock(), event.epochs, None
                self.metrics = event.metrics
                self.first = self.done = event.first_epoch - 1 + (event.first_step - 1) / max(event.steps, 1)
                for line in start_lines(event):
                    self.say(line)
            case StepEnded():
                self.done, self.step = event.epoch - 1 + event.step / max(event.steps, 1), event
            case EpochEnded():
                self.done, self.epochs, self.step = float(event.epoch), event.epochs, None
                self.say(epoch_line(event, self.metrics))
            case StageStarted():
                self.say(f"stage {event.stage}/{event.stages}: {event.summary}")
            case SearchStarted():
                self.started, self.epochs, self.step = self.clock(), event.max_trials, None
                self.unit = "trial"
                self.first = self.done = self.ended = event.ended
                self.best, self.objective = event.best, event.objective
                self.metrics = task_metrics(event.spec.task)
                for line in search_lines(event):
                    self.say(line)
            case SupernetProgress():
                self._train_supernet(event)
            case TrialProgress():
                if event.trial not in self.running:  # resumed in the middle, it ends the sooner
                    self.first += _share_of_trial(event, event.step - 1)
                self.running[event.trial] = event
                self._count_trials(self.ended)
            case TrialEnded():
                self.running.pop(event.trial.id, None)
                self._count_trials(event.ended)
                self._end_trial(event)
            case MemoryMeasured():
                self.say(f"peak memory {format_bytes(event.peak_bytes)} ({event.device})")
            case NetworkMeasured():
                self.say(network_line(event))
            case Notice():
                if self.warn is None:
                    self.say(f"warning: {event.message}", warning=True)
                else:
                    self.hide()
                    self.warn(event.message)
            case _:
                return
        self.show()

    @abstractmethod
    def say(self, line: str, *, warning: bool = False) -> None:
        """Write a permanent line."""

    @abstractmethod
    def show(self) -> None:
        """Show the position in the run."""

    def hide(self) -> None:
        """Hide the position until it is shown again, since something else is printed."""

    def _train_supernet(self, event: SupernetProgress) -> None:
        """Note a step of the supernet, and write a line for each epoch; the time that is left counts from its end."""
        self.supernet = event
        if event.step == event.steps:
            self.say(f"supernet epoch {event.epoch}/{event.epochs}: {', '.join(self._training_texts(event))}")
            if event.epoch == event.epochs:
                self.supernet, self.began = None, self.clock()

    def _training_texts(self, step: StepEnded | SupernetProgress) -> list[str]:
        """Return ``["train loss 1.234", "accuracy 45.1%"]``."""
        values = {"loss": step.loss, **step.metrics}
        specs = [metric_spec(name, self.metrics) for name in values]
        first, *others = (
            f"{spec.title} {spec.format(value)}" for spec, value in zip(specs, values.values(), strict=True)
        )
        return [f"train {first}", *others]

    def _count_trials(self, ended: int) -> None:
        """Count the trials that have ended, and the shares of those that run: each below 1 until it has ended."""
        self.ended = ended
        self.done = ended + sum(min(_share_of_trial(each, each.step), 0.999) for each in self.running.values())

    def _end_trial(self, event: TrialEnded) -> None:
        """Count a trial, and write its line unless it is one of too many."""
        trial = event.trial
        self.counts[trial.status] += 1
        is_best = trial.is_better_than(self.best)
        if is_best:
            self.best = trial
        now = self.clock()
        is_listed = trial.status != "rejected" and self._trial_lines < TRIAL_LINES
        if is_best or is_listed or now - self._said_trial >= TRIAL_SECONDS:
            self._trial_lines += trial.status != "rejected"
            self._said_trial = now
            self.say(trial_line(event, is_best=is_best))

    def position(self) -> list[str]:
        """Return the position in the run.

        Such as ``["epoch 3/50", "step 12/100", "train loss 1.234", "accuracy 45.1%"]``, or in a multi-trial search
        ``["trial 3/50", "epoch 2/20", "best validation accuracy 91.3%", "1 failed"]``.
        """
        if self.supernet is not None:
            event = self.supernet
            where = [f"supernet epoch {event.epoch}/{event.epochs}", f"step {event.step}/{event.steps}"]
            return where + self._training_texts(event)
        if self.unit == "trial":
            texts = [f"trial {min(self.ended + 1, self.epochs)}/{self.epochs}"]
            if len(self.running) == 1:
                trial = next(iter(self.running.values()))
                texts.append(f"epoch {trial.epoch}/{trial.epochs}")
            elif self.running:
                texts.append(f"{len(self.running)} running")
            score = None if self.best is None else self.best.score
            if score is not None and self.objective is not None:
                texts.append(f"best {self.objective.title} {self.objective.format(score.value)}")
            return texts + [f"{self.counts[each]:,} {each}" for each in ("failed", "rejected") if self.counts[each]]
        if self.step is None:
            return [f"epoch {min(int(self.done) + 1, self.epochs)}/{self.epochs}"]
        step = self.step
        epoch = f"epoch {step.epoch}/{self.epochs or '?'}"
        return [epoch, f"step {step.step}/{step.steps}", *self._training_texts(step)]

    def times(self) -> str:
        """Return ``12 min 33 s elapsed, 1 h 2 min left``, estimated from the steps of this process only."""
        if self.started is None:
            return ""
        now = self.clock()
        done, counted = self.done - self.first, now - (self.began or self.started)
        left = f", {format_duration(counted / done * (self.epochs - self.done))} left" if done > 0 else ""
        return f"{format_duration(now - self.started)} elapsed{left}"


class PlainProgress(_Progress, AbstractContextManager[Callback]):
    """Writes plain lines, each flushed at once for ``tee`` and log files: no colours, nothing overwritten.

    Args:
        stream: The stream to write to.
        clock: Returns seconds from any point in time.
        warn: See ``progress_for``.
    """

    def __init__(
        self,
        stream: TextIO,
        clock: Callable[[], float] = time.monotonic,
        warn: Callable[[str], None] | None = None,
    ) -> None:
        super().__init__(clock, warn)
        self.stream = stream
        self._said = clock()

    def __enter__(self) -> PlainProgress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Do nothing: every line has been written."""

    def say(self, line: str, *, warning: bool = False) -> None:
        """Write a line."""
        self.stream.write(f"{line}\n")
        self.stream.flush()
        self._said = self.clock()

    def show(self) -> None:
        """Write the position in the run if nothing has been written for a while."""
        if (
            self.step is not None or self.running or self.supernet is not None
        ) and self.clock() - self._said >= PLAIN_SECONDS:
            self.say(", ".join(filter(None, [*self.position(), self.times()])))


class RichProgress(_Progress, AbstractContextManager[Callback]):
    """Shows a bar over the whole run below the permanent lines; it is removed at the end, however the run ends.

    Args:
        console: The terminal.
        clock: Returns seconds from any point in time.
        warn: See ``progress_for``.
    """

    def __init__(
        self,
        console: Console,
        clock: Callable[[], float] = time.monotonic,
        warn: Callable[[str], None] | None = None,
    ) -> None:
        from rich.live import Live

        super().__init__(clock, warn)
        self.console = console
        self._refreshed = -math.inf
        # Without rich's refresh thread: data loaders fork, and a lock held at that moment would never be released.
        self._live = Live(get_renderable=self._render, console=console, auto_refresh=False, transient=True)

    def __enter__(self) -> RichProgress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._live.stop()

    def __call__(self, event: Event) -> None:
        """Show an event; kinds that have no text are ignored."""
        super().__call__(event)
        if isinstance(event, RunEnded):
            self.started = None
            self._live.stop()

    def say(self, line: str, *, warning: bool = False) -> None:
        """Write a line above the bar."""
        from rich.text import Text

        self.console.print(Text(line, style="yellow" if warning else ""))

    def show(self) -> None:
        """Update the bar."""
        if self.started is None:
            return
        self._live.start()
        if self.clock() - self._refreshed >= REFRESH_SECONDS:
            self._refreshed = self.clock()
            self._live.refresh()

    def hide(self) -> None:
        """Remove the bar."""
        self._live.stop()

    def _render(self) -> Group:
        from rich.console import Group
        from rich.progress_bar import ProgressBar
        from rich.table import Table
        from rich.text import Text

        bar = Table.grid(padding=(0, 1), expand=True)
        bar.add_column(ratio=1)
        bar.add_column(justify="right", no_wrap=True)
        bar.add_row(ProgressBar(total=max(self.epochs, 1), completed=self.done), self.times())
        # Two lines, so that both fit on a terminal of 60 columns.
        return Group(Text("  ".join(self.position()), no_wrap=True, overflow="ellipsis"), bar)


def _share_of_trial(event: TrialProgress, step: int) -> float:
    """Return the share of a trial's training that is done after a step of the current epoch."""
    return (event.epoch - 1 + step / max(event.steps, 1)) / event.epochs
