"""Data sets that are random by themselves: told from data that have changed."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch
from torch.utils.data import Dataset

import nasreg
import tiny
from nasreg.data import DatasetConfig, RunData, from_torch
from nasreg.errors import InterruptedRunError, RunDirectoryError
from nasreg.events import EpochEnded, Notice

CPU = torch.device("cpu")
TRAINER = {"epochs": 2, "batch_size": 8}


class Noisy(Dataset):
    """Images with noise out of a generator."""

    def __init__(self, draw, n: int = 24, brightness: float = 0.0, flipped: int = 0) -> None:
        self.draw = draw
        self.n = n
        self.brightness = brightness
        self.flipped = flipped

    def __len__(self) -> int:
        return self.n

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        noise = float(self.draw())
        return torch.full((1, 8, 8), index / self.n + self.brightness + noise / 10), index % 2 ^ (index < self.flipped)


def own_numpy():
    return np.random.default_rng(0).random


def own_random():
    return random.Random(0).random


def own_torch():
    generator = torch.Generator().manual_seed(0)
    return lambda: torch.rand((), generator=generator)


def rare():
    """Every other image only is another one than before."""
    generator = np.random.default_rng(0)
    return lambda: generator.random() < 0.5


OWN = [own_numpy, own_random, own_torch, rare]
SEEDED = [lambda: torch.rand(()), random.random, np.random.rand, lambda: 0.0]


# albumentations#2473
@pytest.mark.parametrize("make", OWN)
@pytest.mark.parametrize("options", [{}, {"in_memory": "yes"}, {"workers": 1}])
def test_a_generator_of_the_data_sets_own_is_noticed(make, options):
    data = RunData(from_torch(Noisy(make())), DatasetConfig(**options), 0, CPU)
    [notice] = data.notices
    assert notice.startswith(
        "the train set draws random numbers from a generator of its own, which nasreg cannot seed:"
    )
    assert "cannot be repeated or resumed bit for bit" in notice
    assert data.describe()["repeatable"] is False


@pytest.mark.parametrize("draw", SEEDED)
def test_generators_that_are_seeded_are_not(draw):
    data = RunData(from_torch(Noisy(draw)), DatasetConfig(), 0, CPU)
    assert data.notices == []
    assert data.describe()["repeatable"] is True


def stop(event) -> None:
    if isinstance(event, EpochEnded):
        raise KeyboardInterrupt


@pytest.fixture
def stopped(tmp_path, without_drawings):
    """Return what searches on data until the first epoch, and what resumes that search on other data."""

    def search(data, **options):
        return nasreg.search(tiny.Net, data, trainer=TRAINER, out=tmp_path / "run", **options)

    def begin(data):
        with pytest.raises((KeyboardInterrupt, InterruptedRunError)):
            search(data, callbacks=[stop])
        return lambda other, callbacks=(): search(other, resume=True, callbacks=callbacks)

    return begin


# albumentations#2473
@pytest.mark.parametrize("make", [own_numpy, own_torch])
def test_random_data_can_be_resumed(stopped, make):
    draw = make()
    resume = stopped(Noisy(draw))
    draw()
    notices = []
    result = resume(Noisy(draw), [lambda event: notices.append(event) if isinstance(event, Notice) else None])
    assert len(result.history) == 2
    assert any("generator of its own" in notice.message for notice in notices)


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (lambda: Noisy(own_numpy(), n=26), r"\(its splits had 24 images and have 26\)"),
        (lambda: Noisy(own_numpy(), flipped=3), "restore the same images"),
    ],
)
def test_random_data_with_other_labels_cannot(stopped, other, message):
    resume = stopped(Noisy(own_numpy()))
    with pytest.raises(RunDirectoryError, match=f"the data set 'Noisy' has changed since .*{message}"):
        resume(other())


def test_data_that_are_not_random_and_have_changed_cannot(stopped):
    resume = stopped(Noisy(torch.zeros(()).item))
    with pytest.raises(RunDirectoryError, match=r"has changed since .* \(24 of 24 images that were compared\)"):
        resume(Noisy(torch.zeros(()).item, brightness=0.1))
