"""Loader processes end with the run that started them, however it ends."""

from __future__ import annotations

import multiprocessing

import pytest

import nasreg
from interrupting import Died, die_at, interrupt_at
from nasreg.errors import InterruptedRunError
from nasreg.events import EpochEnded
from nasreg.testing import toy_images
from tiny import Net


def search(**more) -> nasreg.SearchResult:
    return nasreg.search(
        Net,
        toy_images(48),
        trainer={"epochs": 2, "batch_size": 8},
        dataset_options={"workers": 2, "in_memory": "no"},
        device="cpu",
        **more,
    )


class CallbackError(Exception):
    pass


def fail_at_the_end_of_an_epoch(event):
    if isinstance(event, EpochEnded):  # when the loaders of all splits are there
        raise CallbackError


@pytest.mark.parametrize(
    ("callback", "error", "processes"),
    [
        (die_at(1, 2), Died, 4),
        (fail_at_the_end_of_an_epoch, CallbackError, 4),
        (interrupt_at(2, 2), InterruptedRunError, 4),
    ],
    ids=["death in an epoch", "error after an epoch", "SIGINT"],
)
def test_no_loader_process_outlives_an_interrupted_run(callback, error, processes):
    running = []

    def count(event):
        del event
        running.append(len(multiprocessing.active_children()))

    with pytest.raises(error) as info:
        search(callbacks=[count, callback])
    assert multiprocessing.active_children() == []  # while the exception, and with it each frame, is alive
    assert info.value.__traceback__ is not None
    assert max(running) == processes  # two for each of train and arch


def test_no_loader_process_outlives_a_finished_run():
    result = search()
    assert multiprocessing.active_children() == []
    assert len(result.history) == 2
