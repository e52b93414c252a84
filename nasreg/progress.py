"""Progress of a search for people: ``RichProgress`` on a terminal, ``PlainProgress`` in a pipe or a file.

Both are callbacks (see ``nasreg.events``) and contexts. Imports no torch, and rich only for a terminal.
"""

from __future__ import annotations

import math
import time
from abc import abstractmethod
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from datetime import timedelta
from types import TracebackType
from typing import TYPE_CHECKING, TextIO

from nasreg.events import (
    Callback,
    EpochEnded,
    Event,
    MemoryMeasured,
    Notice,
    RunEnded,
    RunStarted,
    StageStarted,
    StepEnded,
    TrialEnded,
)
from nasreg.specs.run import RunSpec

if TYPE_CHECKING:
    from rich.console import Console, Group

PLAIN_SECONDS = 30.0
"""Within an epoch ``PlainProgress`` writes a line at most this often."""

REFRESH_SECONDS = 0.1
"""``RichProgress`` redraws its bar at most this often."""

_PARTS = ("train", "validation", "test")
_KNOWN = tuple(f"{part}_{what}" for part in _PARTS for what in ("loss", "accuracy", "top5"))


def progress_for(stream: TextIO) -> AbstractContextManager[Callback]:
    """Return the progress display that suits a stream.

    Args:
        stream: Where to show it.

    Returns:
        A context whose value is the callback: ``RichProgress`` for a terminal, otherwise ``PlainProgress``.
    """
    if not stream.isatty():
        return PlainProgress(stream)
    from rich.console import Console

    return RichProgress(Console(file=stream, highlight=False))


class _Progress:
    """What both displays know of the run: how far it is, since when, and how it is put into words.

    Attributes:
        started: When this process sent ``RunStarted``, and None before.
        done: Epochs done, the one under way in part.
        step: The last step of the epoch under way.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self.clock = clock
        self.started: float | None = None
        self.first = self.done = 0.0
        self.epochs = 0
        self.step: StepEnded | None = None

    def __call__(self, event: Event) -> None:
        """Show an event; those of other kinds are ignored."""
        match event:
            case RunStarted():
                self.started, self.epochs, self.step = self.clock(), event.epochs, None
                self.first = self.done = event.first_epoch + event.first_step / max(event.steps, 1)
                for line in _start_lines(event):
                    self.say(line)
            case StepEnded():
                self.done, self.step = event.epoch + event.step / max(event.steps, 1), event
            case EpochEnded():
                self.done, self.epochs, self.step = event.epoch + 1.0, event.epochs, None
                self.say(_epoch_line(event))
            case StageStarted():
                self.say(f"stage {event.stage + 1}/{event.stages}: {event.summary}")
            case TrialEnded():
                self.say(
                    f"trial {event.trial + 1}/{event.trials}: score {event.score:.1%}, {event.parameters:,} weights,"
                    f" {event.seconds:.1f} s"
                )
            case MemoryMeasured():
                self.say(f"peak memory {_bytes(event.peak_bytes)} ({event.device})")
            case Notice():
                self.say(f"warning: {event.message}", warning=True)
            case _:
                return
        self.show()

    @abstractmethod
    def say(self, line: str, *, warning: bool = False) -> None:
        """Write a line that stays."""

    @abstractmethod
    def show(self) -> None:
        """Show how far the run is."""

    def where(self) -> str:
        """Return ``epoch 3/50  step 12/100  loss 1.234  accuracy 45.1%``, as far as it is known."""
        if self.step is None:
            return f"epoch {min(int(self.done) + 1, self.epochs)}/{self.epochs}"
        step = self.step
        return (
            f"epoch {step.epoch + 1}/{self.epochs or '?'}  step {step.step}/{step.steps}"
            f"  loss {step.loss:.3f}  accuracy {step.accuracy:.1%}"
        )

    def times(self) -> str:
        """Return ``0:12:33 elapsed, 1:02:03 left``, judged by what this process has done and not an earlier one."""
        if self.started is None:
            return ""
        elapsed = self.clock() - self.started
        done = self.done - self.first
        left = _duration(elapsed / done * (self.epochs - self.done)) if done > 0 else "-:--:--"
        return f"{_duration(elapsed)} elapsed, {left} left"


class PlainProgress(_Progress, AbstractContextManager[Callback]):
    """Plain lines, each flushed, so that ``tee`` and log files have them at once: no colours, nothing overwritten.

    Args:
        stream: Where to write.
        clock: Seconds from any point in time.
    """

    def __init__(self, stream: TextIO, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(clock)
        self.stream = stream
        self._said = clock()

    def __enter__(self) -> PlainProgress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Nothing to restore: every line is out already."""

    def say(self, line: str, *, warning: bool = False) -> None:
        """Write a line."""
        self.stream.write(f"{line}\n")
        self.stream.flush()
        self._said = self.clock()

    def show(self) -> None:
        """Write where the run is, where nothing has been written for long."""
        if self.step is not None and self.clock() - self._said >= PLAIN_SECONDS:
            self.say(", ".join(filter(None, [self.where().replace("  ", ", "), self.times()])))


class RichProgress(_Progress, AbstractContextManager[Callback]):
    """A bar over the whole search that moves below the lines that stay. It goes at the end, however the run ends.

    Args:
        console: Where to show it.
        clock: Seconds from any point in time.
    """

    def __init__(self, console: Console, clock: Callable[[], float] = time.monotonic) -> None:
        from rich.live import Live

        super().__init__(clock)
        self.console = console
        self._refreshed = -math.inf
        # Without rich's own thread, which would redraw by itself: data loaders fork, and a forked lock is never freed.
        self._live = Live(get_renderable=self._render, console=console, auto_refresh=False, transient=True)

    def __enter__(self) -> RichProgress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._live.stop()

    def __call__(self, event: Event) -> None:
        """Show an event; those of other kinds are ignored."""
        super().__call__(event)
        if isinstance(event, RunEnded):
            self.started = None
            self._live.stop()

    def say(self, line: str, *, warning: bool = False) -> None:
        """Write a line above the bar."""
        from rich.text import Text

        self.console.print(Text(line, style="yellow" if warning else ""))

    def show(self) -> None:
        """Move the bar."""
        if self.started is None:
            return
        self._live.start()
        if self.clock() - self._refreshed >= REFRESH_SECONDS:
            self._refreshed = self.clock()
            self._live.refresh()

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
        return Group(Text(self.where(), no_wrap=True, overflow="ellipsis"), bar)


def _start_lines(event: RunStarted) -> list[str]:
    spec = event.spec
    architectures = f"{_count(event.space.size())} architectures, " if isinstance(spec, RunSpec) else ""
    lines = [
        f"{spec.title}, device {event.device}",
        f"{event.parameters:,} weights, {architectures}{event.epochs} epochs of {event.steps} steps",
    ]
    if event.run_dir is not None:
        lines.append(f"run directory {event.run_dir}")
    if event.first_epoch >= event.epochs:
        lines.append("resuming after the last epoch")
    elif event.first_epoch or event.first_step:
        lines.append(f"resuming at epoch {event.first_epoch + 1}, step {event.first_step + 1}")
    return lines


def _epoch_line(event: EpochEnded) -> str:
    metrics = event.metrics
    parts = [*(_part(name, metrics) for name in _PARTS), f"{event.seconds:.1f} s"]
    parts += [f"{name} {value:.4g}" for name, value in metrics.items() if name not in _KNOWN]
    parts.append("skips " + ", ".join(f"{key} {count}" for key, count in event.skips.items()) if event.skips else "")
    return f"epoch {event.epoch + 1}/{event.epochs}: {'; '.join(filter(None, parts))}"


def _part(name: str, metrics: Mapping[str, float]) -> str:
    loss, accuracy, top5 = (metrics.get(f"{name}_{what}") for what in ("loss", "accuracy", "top5"))
    words = [
        f"loss {loss:.3f}" if loss is not None else "",
        f"accuracy {accuracy:.1%}" if accuracy is not None else "",
        f"top-5 {top5:.1%}" if top5 is not None else "",
    ]
    return f"{name} {', '.join(filter(None, words))}" if any(words) else ""


def _count(number: int) -> str:
    """Return a number in few digits: ``1,234`` or ``~1.2e9``, also where it is too large for a float."""
    if number < 1_000_000:
        return f"{number:,}"
    exponent = math.floor(math.log10(number))
    mantissa = f"{10 ** (math.log10(number) - exponent):.1f}"
    return f"~1.0e{exponent + 1}" if mantissa == "10.0" else f"~{mantissa}e{exponent}"


def _bytes(number: int) -> str:
    return f"{number / 2**20:.0f} MiB" if number < 10 * 2**30 else f"{number / 2**30:.1f} GiB"


def _duration(seconds: float) -> str:
    return str(timedelta(seconds=round(seconds)))
