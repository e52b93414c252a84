"""Looks at every image of a data set, whatever is wrong with some of them: ``nasreg check`` reports what it sees."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset

from nasreg.data.config import DatasetConfig
from nasreg.data.loader_processes import begin_loader_process
from nasreg.data.reading import Failure, SampleReader, SampleRequest, started

BATCH = 64
"""Images that are read before progress is reported."""

Shape = tuple[tuple[int, ...], str]
"""Shape ``(C, H, W)`` and type of an image."""


@dataclass(frozen=True)
class Sighting:
    """What is known of one image."""

    index: int
    failure: Failure | None
    """Why it cannot be read."""
    shape: Shape | None = None
    label: int = 0
    low: float = 0.0
    high: float = 0.0


@dataclass
class Survey:
    """What was seen in a data set."""

    name: str
    """``train``, ``validation`` or ``test``."""
    samples: int
    unreadable: dict[str, list[int]] = field(default_factory=dict)
    """Reason -> the images that it holds for."""
    first: dict[str, Failure] = field(default_factory=dict)
    """Reason -> the first of them, which names the file."""
    shapes: dict[Shape, list[int]] = field(default_factory=dict)
    """Shape and type -> the images that have it, of those that can be read."""
    labels: dict[int, int] = field(default_factory=dict)
    """Index of an image that can be read -> its label."""
    low: float = float("inf")
    high: float = float("-inf")

    @property
    def shape(self) -> Shape | None:
        """Shape and type of most images; None if none can be read."""
        return max(self.shapes, key=lambda shape: len(self.shapes[shape]), default=None)

    @property
    def counts(self) -> Counter[int]:
        """Number of images of each label, of those that can be read."""
        return Counter(self.labels.values())

    def add(self, seen: Sighting) -> None:
        """Add what is known of an image."""
        if seen.failure is not None:
            self.unreadable.setdefault(seen.failure.reason, []).append(seen.index)
            self.first.setdefault(seen.failure.reason, seen.failure)
        elif seen.shape is not None:
            self.shapes.setdefault(seen.shape, []).append(seen.index)
            self.labels[seen.index] = seen.label
            self.low, self.high = min(self.low, seen.low), max(self.high, seen.high)


class _Observer(Dataset[Sighting]):
    """Reads images and keeps what is known of each. It goes to the loader processes."""

    def __init__(self, reader: SampleReader, samples: int) -> None:
        self._reader = reader
        self._samples = samples

    def __len__(self) -> int:
        return self._samples

    def __getitem__(self, index: int) -> Sighting:
        found = self._reader[SampleRequest(index, index)]
        if isinstance(found, Failure):
            return Sighting(index, found)
        image, label, _ = found
        shape = tuple(image.shape), str(image.dtype).removeprefix("torch.")
        low, high = (float(value) for value in torch.aminmax(image)) if image.numel() else (0.0, 0.0)
        return Sighting(index, None, shape, label, low, high)


def survey(
    dataset: Dataset[Any],
    name: str,
    config: DatasetConfig,
    progress: Callable[[str, int, int], None] = lambda name, done, total: None,
) -> Survey:
    """Read every image of a data set, and go on where one cannot be read.

    Args:
        dataset: Gives ``(image, label)``.
        name: ``train``, ``validation`` or ``test``.
        config: How images are read, and by how many processes.
        progress: Called with the name, and how many of how many images were read.
    """
    samples = len(dataset)  # type: ignore[arg-type]  # map-style
    found = Survey(name, samples)
    reader = SampleReader(dataset, name, config.image_size, config.center_fraction, config.layout)
    observer = _Observer(reader, samples)
    for batch in _batches(observer, config.workers):
        for seen in batch:
            found.add(seen)
        progress(name, batch[-1].index + 1, samples)
    return found


def _batches(observer: _Observer, workers: int) -> Iterator[list[Sighting]]:
    if len(observer):
        loader = DataLoader(
            observer,
            BATCH,
            num_workers=workers,
            collate_fn=list,
            generator=torch.Generator(),  # or it would draw from the user's
            worker_init_fn=begin_loader_process,
        )
        yield from started(loader)
