"""Callbacks that end a run before its time, as a signal or the death of the process would."""

from __future__ import annotations

import signal
from collections.abc import Callable

from nasreg.events import Event, Notice, StepEnded, TrialProgress


class Died(BaseException):
    """Ends a run as the death of the process would: nothing catches it, and no checkpoint is written for it."""


def die_at(epoch: int, step: int = 1) -> Callable[[Event], None]:
    """Return a callback that raises ``Died`` after a step; both count from 1."""

    def die(event: Event) -> None:
        if isinstance(event, StepEnded) and (event.epoch, event.step) == (epoch, step):
            raise Died

    return die


def interrupt_at(epoch: int, step: int = 1) -> Callable[[Event], None]:
    """Return a callback that sends this process SIGINT after a step."""

    def interrupt(event: Event) -> None:
        if isinstance(event, StepEnded) and (event.epoch, event.step) == (epoch, step):
            signal.raise_signal(signal.SIGINT)

    return interrupt


def interrupt_trial(trial: int, step: int = 1) -> Callable[[Event], None]:
    """Return a callback that sends this process SIGINT after a step of the first epoch of a trial."""

    def interrupt(event: Event) -> None:
        if isinstance(event, TrialProgress) and (event.trial, event.epoch, event.step) == (trial, 1, step):
            signal.raise_signal(signal.SIGINT)

    return interrupt


def notices(into: list[str]) -> Callable[[Event], None]:
    """Return a callback that collects the messages of notices."""

    def note(event: Event) -> None:
        if isinstance(event, Notice):
            into.append(event.message)

    return note
