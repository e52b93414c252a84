"""Looks at a data set before a run: reads all of it or a sample, finds what is wrong, holds it in memory if wanted."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset, TensorDataset
from torchvision.transforms import v2

from nasreg.data.reading import (
    BatchPlan,
    Failure,
    ImageShape,
    ImageSource,
    Loaded,
    SampleReader,
    SampleRequest,
    collate,
    sample_loader,
    started,
)
from nasreg.data.samples import WithGaps, describe_shape, known_labels
from nasreg.errors import DataError

MAX_HELD_BYTES = 512 * 2**20
"""Bytes of images that ``in_memory: auto`` holds."""

MAX_SAMPLED = 1000
"""Number of images that are read beforehand where not all of them are."""

READ_TWICE = 8
"""Number of images that are read twice, to find a data set that is random by itself."""

BATCH = 64


@dataclass(frozen=True)
class ReadOptions:
    """How to read a part of a data set."""

    part: str
    """``train``, ``validation`` or ``test``, for errors."""
    size: int | None
    """Side in pixels to bring images to."""
    center_fraction: float
    """Share of the shorter side that is left when the centre is cropped for that."""
    layout: str
    """Order of the dimensions of tensors: ``auto``, ``chw`` or ``hwc``."""
    in_memory: str
    """``auto``, ``yes`` or ``no``."""
    raw: bool
    """Whether images are the same each time they are read."""
    skip: bool
    """Whether images that cannot be read are left out."""
    check_all: bool
    """Whether all images are read once."""
    workers: int
    """Loader processes."""
    device: torch.device
    """Where batches are wanted."""
    crop_scale: tuple[float, float] | None = None
    """Smallest and largest share of its area that an image is cropped to at random for training; with this or
    ``color_jitter`` images are not held."""
    color_jitter: tuple[float, float, float, float] | None = None
    """How much brightness, contrast, saturation and hue of images for training change at random."""

    def without_augmentation(self, part: str) -> ReadOptions:
        """Return the options of a part that is not trained on."""
        return replace(self, part=part, crop_scale=None, color_jitter=None)


def find_labels(dataset: Dataset[Any], options: ReadOptions) -> list[int]:
    """Return the labels of a part, -1 for a sample that cannot be read; it is read whole if it does not tell them.

    Raises:
        DataError: As ``read``.
    """
    known = known_labels(dataset)
    if known is not None:
        return known
    n = _length(dataset, options.part)
    labels = [-1] * n
    for loaded in _Scan(dataset, options, range(n)).pass_over(range(n)):
        for index, label in zip(loaded.indices, loaded.labels, strict=True):
            labels[index] = label
    return labels


def read(dataset: Dataset[Any], options: ReadOptions, only: Sequence[int] | None = None) -> ImageSource:
    """Look at a part of a data set, and hold its images in memory where that is wanted.

    Args:
        dataset: Gives ``(image, label)``.
        options: How to read it.
        only: Indices of the samples that belong to the part; all by default.

    Raises:
        DataError: It is empty, a sample cannot be used, images differ in size, or their colours cannot be changed.
    """
    n = _length(dataset, options.part)
    only = range(n) if only is None else only
    raw = options.raw or isinstance(dataset, TensorDataset)
    scan = _Scan(dataset, options, only)
    reader, first = scan.reader, scan.first
    small = n * first.numel() * first.element_size() <= MAX_HELD_BYTES
    same = reader.crop is None and reader.jitter is None
    hold = same and (options.in_memory == "yes" or (options.in_memory == "auto" and raw and small))
    told = None if hold else known_labels(dataset)
    looked_at = only if told is None else _evenly(only, MAX_SAMPLED)
    labels = torch.full((n,), -1, dtype=torch.int64) if told is None else torch.tensor(told)
    held = torch.empty((n, *first.shape), dtype=first.dtype) if hold else None
    stats = _RunningStats(first)
    compared = dict.fromkeys([] if hold else _evenly(only, MAX_SAMPLED), "-" * 8)
    digests: dict[int, str] = {}
    for images, found, indices, _ in scan.pass_over(looked_at):
        if images is None:
            continue
        stats.add(images)
        digests |= {at: _digest(image) for at, image in zip(indices, images, strict=True) if at in compared}
        if held is not None:
            held[indices] = images
        if told is None:
            labels[indices] = torch.tensor(found)
        else:
            _check_labels(found, told, indices, options.part)
    if len(looked_at) < len(only) and (options.skip or options.check_all):
        seen = set(looked_at)
        for _, found, indices, _ in scan.pass_over([index for index in only if index not in seen]):
            _check_labels(found, told or (), indices, options.part)
    scan.finish()
    if isinstance(dataset, WithGaps):
        labels[list(dataset.gaps)] = torch.tensor(list(dataset.gaps.values()))
    usable = [index for index in only if index not in scan.unreadable]
    drawn_from = [index for index in only if index not in scan.unreadable or int(labels[index]) >= 0]
    channels, height, width = first.shape
    return ImageSource(
        labels=labels,
        shape=(channels, height, width),
        is_float=first.is_floating_point(),
        moments=stats.moments(),
        fingerprint=stats.fingerprint(labels[list(only)]),
        structure=_RunningStats(first).fingerprint(labels[list(only)]),
        repeatable=raw or scan.is_repeatable(_evenly(usable, READ_TWICE)),
        samples="".join((compared | digests).values()) or None,
        values=stats.values,
        drawn_from=only if len(drawn_from) == len(only) else drawn_from,
        left_out={index: failure.reason for index, failure in sorted(scan.unreadable.items())},
        held=held.to(options.device) if held is not None else None,
        _reader=reader,
        _workers=options.workers,
        _device=options.device,
    )


def _length(dataset: Any, part: str) -> int:
    n = len(dataset)
    if n == 0:
        raise DataError(f"the {part} set is empty")
    return n


def _evenly(indices: Sequence[int], number: int) -> Sequence[int]:
    return [indices[at] for at in sorted({len(indices) * k // number for k in range(number)})] if indices else []


class _Scan:
    """Reads samples in order, and collects those that cannot be read.

    Args:
        dataset: Gives ``(image, label)``.
        options: How to read it.
        only: The samples of the part, of which the first that can be read decides shape and type.

    Raises:
        DataError: None of them can be used.
    """

    def __init__(self, dataset: Dataset[Any], options: ReadOptions, only: Sequence[int]) -> None:
        self._options = options
        self._n = len(only)
        self._gaps: Collection[int] = dataset.gaps if isinstance(dataset, WithGaps) else ()
        where = f"the {options.part} set: image"
        self.unreadable = {
            index: Failure(index, f"{where} {index}", "it was removed", True, "") for index in self._gaps
        }
        """What cannot be read, by index."""
        self.reader = SampleReader(dataset, options.part, options.size, options.center_fraction, options.layout)
        self.first = self._first(only)
        """The first image."""
        shape, dtype = tuple(self.first.shape), self.first.dtype
        self.reader.expected = ImageShape(shape, dtype)
        if options.crop_scale is not None:
            self.reader.crop = v2.RandomResizedCrop(shape[1:], scale=options.crop_scale)
        if options.color_jitter is not None:
            if dtype.is_floating_point or shape[0] not in (1, 3):
                raise DataError(
                    "dataset.color_jitter is for images of 8 bits with 1 or 3 channels, but the first of the"
                    f" {options.part} set is {describe_shape(shape, dtype)}: set it to null"
                )
            self.reader.jitter = _jitter(options.color_jitter)

    def _first(self, only: Sequence[int]) -> Tensor:
        for index in only:
            loaded = collate([self.reader[SampleRequest(index, index)]])
            self._collect(loaded.failures)
            if loaded.images is not None:
                return loaded.images[0]
        failure = next(iter(self.unreadable.values()))
        raise DataError(
            f"none of the {self._n:,} images of the {self._options.part} set can be read: {failure.message}"
        ) from RuntimeError(failure.traceback)

    def pass_over(self, indices: Sequence[int]) -> Iterator[Loaded]:
        """Yield the samples in batches, seeded: a data set that augments by itself has one fingerprint."""
        plan = [
            [SampleRequest(index, index) for index in indices[start : start + BATCH]]
            for start in range(0, len(indices), BATCH)
        ]
        for loaded in started(sample_loader(self.reader, BatchPlan(plan), self._options.workers, torch.device("cpu"))):
            self._collect(loaded.failures)
            yield loaded

    def _collect(self, failures: Sequence[Failure]) -> None:
        options = self._options
        for failure in failures:
            tolerated = options.skip or options.check_all or failure.sample in self._gaps
            if not (failure.unreadable and tolerated):
                advice = _SKIP_ADVICE if failure.unreadable else ""
                raise DataError(f"{failure.message}{advice}") from RuntimeError(failure.traceback)
            self.unreadable[failure.sample] = failure

    def finish(self) -> None:
        """Refuse images that cannot be read, all of them at once, if they are not to be left out."""
        found = [failure for index, failure in sorted(self.unreadable.items()) if index not in self._gaps]
        if self._options.skip or not found:
            return
        more = f" (and {len(found) - 3:,} more)" if len(found) > 3 else ""
        raise DataError(
            f"{len(found):,} of {self._n:,} images of the {self._options.part} set cannot be read:"
            f" {'; '.join(failure.message for failure in found[:3])}{more}{_SKIP_ADVICE}"
        )

    def is_repeatable(self, indices: Sequence[int]) -> bool:
        """Return whether images are the same when they are read twice with the same seed."""
        for index in indices:
            once, again = (collate([self.reader[SampleRequest(index, index)]]).images for _ in range(2))
            if once is not None and again is not None and not torch.equal(once, again):
                return False
        return True


_SKIP_ADVICE = "; replace or remove it, or leave out what cannot be read with --set dataset.unreadable=skip"


def _jitter(strengths: tuple[float, float, float, float]) -> v2.Compose:
    # On PIL images, as in the papers' programs: nothing there depends on the number of threads.
    return v2.Compose([v2.ToPILImage(), v2.ColorJitter(*strengths), v2.PILToTensor()])


def _check_labels(found: Sequence[int], told: Sequence[int], indices: Sequence[int], part: str) -> None:
    for index, label in zip(indices, found, strict=True):
        if told and told[index] != label:
            raise DataError(
                f"the {part} set: image {index} has label {label}, but 'targets' says {told[index]}: they must agree"
            )


def _digest(image: Tensor) -> str:
    return hashlib.blake2b(image.numpy().tobytes(), digest_size=4).hexdigest()


class _RunningStats:
    """Mean, standard deviation, range and hash of the images that went by."""

    def __init__(self, first: Tensor) -> None:
        self._sums = torch.zeros(2, first.shape[0], dtype=torch.float64)
        self._pixels = 0
        self._float = first.is_floating_point()
        self._hash = hashlib.blake2b(str((tuple(first.shape), first.dtype)).encode(), digest_size=12)
        self.values = (float("inf"), float("-inf"))

    def add(self, images: Tensor) -> None:
        self._hash.update(images.numpy().tobytes())
        self.values = min(self.values[0], float(images.min())), max(self.values[1], float(images.max()))
        if not self._float:
            values = images.double() / 255
            self._sums += torch.stack([values.sum((0, 2, 3)), values.square().sum((0, 2, 3))])
            self._pixels += images.numel() // images.shape[1]

    def moments(self) -> tuple[list[float], list[float]] | None:
        if self._float:
            return None
        mean, square = self._sums / self._pixels
        deviation = (square - mean.square()).clamp(min=0).sqrt()
        deviation[deviation < 1e-6] = 1.0  # a channel that is the same everywhere stays as it is
        return mean.tolist(), deviation.tolist()

    def fingerprint(self, labels: Tensor) -> str:
        self._hash.update(labels.numpy().tobytes())
        return self._hash.hexdigest()


def gaps_of(dataset: Any, part: str, failures: Sequence[Mapping[str, Any]]) -> dict[int, int]:
    """Return the samples that were removed since they could not be read: index -> label.

    Args:
        dataset: The part as it is now.
        part: Its name.
        failures: Samples that an earlier run of this data set could not read: ``part``, ``index``, ``label``, ``path``
            and ``total``, the number of samples in the part.
    """
    here = [each for each in failures if each["part"] == part]
    gaps = {each["index"]: each["label"] for each in here if not (each["path"] and Path(each["path"]).exists())}
    return gaps if here and len(dataset) == here[0]["total"] - len(gaps) else {}
