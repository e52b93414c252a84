"""What is printed at the start of a run besides its progress: its preset, and how long it will take."""

from __future__ import annotations

import time
from collections.abc import Callable

from nasreg.cli.output import Output
from nasreg.events import EpochEnded, Event, RunStarted, SearchStarted, StepEnded, TrialEnded
from nasreg.specs.formatting import format_duration

ESTIMATE_STEPS = 10
ESTIMATE_SECONDS = 5.0
"""The time is estimated after so many steps or so many seconds, whichever is the earlier; the first step warms up."""


class FirstLines:
    """Prints the preset of a run, if it is to be said, and soon after the first step an estimate of the time.

    Args:
        output: Prints it.
        preset: The line about the preset.
        clock: Returns seconds from any point in time.
    """

    def __init__(self, output: Output, preset: str | None, clock: Callable[[], float] = time.monotonic) -> None:
        self._output = output
        self._preset = preset
        self._clock = clock
        self._estimated = False
        self._steps = 0
        self._warmed_up = 0.0
        self._workers = 1
        self._epochs = 0

    def __call__(self, event: Event) -> None:
        """Print what an event makes known."""
        if isinstance(event, RunStarted | SearchStarted):
            if self._preset is not None:
                self._output.line(self._preset)
            self._preset = None
            self._estimated, self._steps = False, 0
            if isinstance(event, RunStarted):
                self._epochs = event.epochs
            else:
                self._workers = event.spec.workers
        elif isinstance(event, StepEnded):
            self._step(event)
        elif isinstance(event, EpochEnded):
            self._estimate(event.seconds, event.epochs - event.epoch, "an epoch")
        elif isinstance(event, TrialEnded) and event.trial.status == "done":
            self._estimate(event.trial.seconds / self._workers, event.max_trials - event.ended, "a trial")

    def _step(self, event: StepEnded) -> None:
        self._steps += 1
        if self._steps == 1:
            self._warmed_up = self._clock()
            return
        seconds, measured = self._clock() - self._warmed_up, self._steps - 1
        if measured >= ESTIMATE_STEPS or seconds >= ESTIMATE_SECONDS:
            left = (self._epochs - event.epoch + 1) * event.steps - event.step
            self._estimate(seconds / measured, left, "a step, without validation")

    def _estimate(self, seconds: float, left: int, unit: str) -> None:
        if not self._estimated and left > 0:
            duration = format_duration(seconds * left)
            self._output.line(f"about {duration} left, at {format_duration(seconds)} {unit}")
        self._estimated = True
