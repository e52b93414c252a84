"""Reads a torch ``Dataset``: every sample is checked, and comes out the same whichever process reads it.

A set whose images are the same each time is read once and held as one tensor; any other is read again for each batch,
by loader processes where they are wanted. Both give the same batches. Random crops out of the whole image, and changes
of its colours, are made while reading: they depend on the seed of the sample alone.
"""

from __future__ import annotations

import hashlib
import pickle
import random
import traceback
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms.v2 import functional as TF

from nasreg.data.loader_processes import begin_loader_process, starting_loader_processes
from nasreg.data.samples import InvalidSampleError, describe_shape, path_of, to_label, to_pair, to_tensor
from nasreg.errors import DataError, SampleError, one_line

SIZE_HINT = "bring all to one size with --set dataset.image_size=32 (or another)"


class SampleRequest(NamedTuple):
    """Which sample to read, and how."""

    sample: int
    """Index in the data set."""
    seed: int
    """Seed of whatever is random in reading it."""
    augment: bool = False
    """Whether to apply random crops and colours, if the options ask for them."""


class Failure(NamedTuple):
    """A sample that cannot be used. An exception of a loader process would arrive with its traceback in its message."""

    sample: int
    """Index of the sample."""
    where: str
    """The sample, for people."""
    reason: str
    unreadable: bool
    """Whether the data set itself could not give it."""
    traceback: str

    @property
    def message(self) -> str:
        """What is wrong, in one line."""
        return f"{self.where} cannot be used: {self.reason}"


class Loaded(NamedTuple):
    """The samples of a batch."""

    images: Tensor | None
    """``(B, C, H, W)``; None where no sample can be used."""
    labels: list[int]
    indices: list[int]
    failures: list[Failure]


class ImageShape(NamedTuple):
    """Shape and type that all images have."""

    shape: tuple[int, ...]
    dtype: torch.dtype


def derive_seed(*parts: object) -> int:
    """Return a seed that depends on all parts, in the same way on every machine."""
    return int.from_bytes(hashlib.blake2b("/".join(map(str, parts)).encode(), digest_size=7).digest(), "big")


class SampleReader(Dataset[Any]):
    """Reads checked samples: image, label, index. It goes to the loader processes.

    Args:
        dataset: Gives ``(image, label)``.
        part: Which part of the data it is, such as ``train``, for errors.
        size: Side in pixels to bring images to.
        center_fraction: Share of the shorter side that is left when the centre is cropped for that.
        layout: Order of the dimensions of tensors.
    """

    def __init__(self, dataset: Dataset[Any], part: str, size: int | None, center_fraction: float, layout: str) -> None:
        self.dataset = dataset
        self.part = part
        self.size = size
        self.center_fraction = center_fraction
        self.layout = layout
        self.expected: ImageShape | None = None
        self.crop: Callable[[Tensor], Tensor] | None = None
        self.jitter: Callable[[Tensor], Tensor] | None = None

    def __getitem__(self, request: SampleRequest) -> tuple[Tensor, int, int] | Failure:
        return self.__getitems__([request])[0]

    def __getitems__(self, requests: Sequence[SampleRequest]) -> list[tuple[Tensor, int, int] | Failure]:
        """Return the samples of a batch. The random state is kept once for all: it takes longer than a small image."""
        with _random_state_kept():
            return [self._read(request) for request in requests]

    def _read(self, request: SampleRequest) -> tuple[Tensor, int, int] | Failure:
        index = request.sample
        unreadable = True
        try:
            _seed(request.seed)
            sample = self.dataset[index]
            unreadable = False
            image, label = to_pair(sample)
            tensor = to_tensor(image, self.layout)
            if request.augment and self.crop is not None:
                tensor = self.crop(tensor)
            elif self.size is not None:
                tensor = _center(tensor, self.size, self.center_fraction)
            _check_alike(tensor, self.expected)
            if request.augment and self.jitter is not None:
                tensor = self.jitter(tensor)
            return tensor.contiguous(), to_label(label), index
        except Exception as error:  # noqa: BLE001  # the user's own code: it is reported in full
            reason = str(error) if isinstance(error, InvalidSampleError) else one_line(error)
            path = path_of(self.dataset, index)
            where = f"the {self.part} set: image {index}{f' ({path})' if path else ''}"
            return Failure(index, where, " ".join(reason.split()), unreadable, traceback.format_exc())


def _check_alike(image: Tensor, expected: ImageShape | None) -> None:
    if expected is not None and (image.shape, image.dtype) != expected:
        found, first = describe_shape(image.shape, image.dtype), describe_shape(*expected)
        raise InvalidSampleError(f"it is {found}, but the first is {first}; {SIZE_HINT}")


def collate(samples: list[tuple[Tensor, int, int] | Failure]) -> Loaded:
    """Return the samples of a batch."""
    good: list[tuple[Tensor, int, int]] = []
    failures: list[Failure] = []
    for sample in samples:
        if isinstance(sample, Failure):
            failures.append(sample)
        else:
            good.append(sample)
    images = torch.stack([image for image, _, _ in good]) if good else None
    return Loaded(images, [label for _, label, _ in good], [index for _, _, index in good], failures)


def _seed(seed: int) -> None:
    """Seed all that an augmentation may draw from."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.default_generator.manual_seed(seed)


@contextmanager
def _random_state_kept() -> Iterator[None]:
    """Leave all that an augmentation may draw from as it was."""
    before = random.getstate(), np.random.get_state(), torch.get_rng_state()
    try:
        yield
    finally:
        random.setstate(before[0])
        np.random.set_state(before[1])
        torch.set_rng_state(before[2])


def _center(image: Tensor, size: int, fraction: float) -> Tensor:
    cropped: Tensor = TF.center_crop(TF.resize(image, [round(size / fraction)], antialias=True), [size, size])
    return cropped


@dataclass
class ImageSource:
    """The images of a data set, or how to read them."""

    labels: Tensor
    """``(n,)``, int64; -1 where none is known."""
    shape: tuple[int, int, int]
    """Channels, height, width."""
    is_float: bool
    moments: tuple[list[float], list[float]] | None
    """Mean and standard deviation of each channel in 0..1; None for floating-point images."""
    fingerprint: str
    structure: str
    """The same of shape and labels alone."""
    repeatable: bool
    """Whether an image is the same each time that it is read with the same seed."""
    samples: str | None
    """Hash of each image that was looked at, where not all are held in memory: 8 digits each, '-' for none."""
    values: tuple[float, float]
    """The smallest and the largest value of the images that were looked at."""
    drawn_from: Sequence[int]
    """The samples that splits are drawn from: those whose label is known."""
    left_out: Mapping[int, str]
    """Index of a sample that is in no split, since it cannot be read -> why."""
    held: Tensor | None
    """``(n, C, H, W)`` where they are held in memory."""
    _reader: SampleReader
    _workers: int
    _device: torch.device

    def __len__(self) -> int:
        return len(self.labels)

    def reader(self) -> BatchReader:
        """Return a reader of batches; each reader has loader processes of its own."""
        return BatchReader(self, self._reader, self._workers, self._device)

    @property
    def usable(self) -> list[int]:
        """The samples that can be read."""
        return [index for index in self.drawn_from if index not in self.left_out]

    @property
    def part(self) -> str:
        """The part of the data set: ``train``, ``validation`` or ``test``."""
        return self._reader.part

    def path(self, index: int) -> str | None:
        """Return the path of a sample's file, if the data set tells it."""
        return path_of(self._reader.dataset, index)


class BatchReader:
    """Reads batches of images, one after the other."""

    def __init__(self, images: ImageSource, reader: SampleReader, workers: int, device: torch.device) -> None:
        self._images = images
        self._part = reader.part
        self._device = device
        self._plan = BatchPlan()
        self._loader = None if images.held is not None else sample_loader(reader, self._plan, workers, device)
        # The only reference to the loader's iterator, whose processes end when it goes: see ``close``.
        self._iterator: Iterator[Loaded] | None = None

    def batches(self, plan: Iterable[list[SampleRequest]]) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield images ``(B, C, H, W)`` as they are stored and labels ``(B,)``, on the device.

        Args:
            plan: The samples of each batch.

        Raises:
            SampleError: A sample cannot be read, differs in shape or type from the others, or has another label than
                before.
        """
        images = self._images
        if images.held is not None:
            for requests in plan:
                chosen = torch.tensor([request.sample for request in requests])
                yield images.held[chosen.to(images.held.device)], images.labels[chosen].to(self._device)
            return
        self._plan.batches = plan
        self._iterator = started(self._loader) if self._loader is not None else None
        while (loaded := self._next()) is not None:
            batch, labels, indices, failures = loaded
            if failures or batch is None:
                raise self._error(failures[0])
            expected = images.labels[indices]
            if labels != expected.tolist():
                wrong = next(i for i, label in enumerate(labels) if label != int(expected[i]))
                raise self._sample_error(
                    f"the {self._part} set: image {indices[wrong]} came with label {labels[wrong]} this time, but with"
                    f" {int(expected[wrong])} before: labels must not change, and 'targets' must hold the same ones",
                    indices[wrong],
                )
            yield batch.to(self._device, non_blocking=True), expected.to(self._device)

    def _next(self) -> Loaded | None:
        return next(self._iterator, None) if self._iterator is not None else None

    def _error(self, failure: Failure) -> SampleError:
        advice = "mend it and resume the run"
        if failure.unreadable:
            advice = "replace or remove it and resume the run, or leave it out with --set dataset.unreadable=skip"
        error = self._sample_error(f"{failure.message}; {advice}", failure.sample)
        error.__cause__ = RuntimeError(failure.traceback)
        return error

    def _sample_error(self, message: str, index: int) -> SampleError:
        labels, path = self._images.labels, self._images.path(index)
        return SampleError(message, self._part, index, int(labels[index]), len(labels), path)

    def close(self) -> None:
        """End the loader processes at once.

        After an error the traceback may keep the generator of ``batches`` alive for long. It does not hold the loader's
        iterator, though, so that this is its end: torch then stops the processes in order. Left to the garbage
        collector, torch may wait 5 seconds for each of them.
        """
        self._iterator = self._loader = None


class BatchPlan:
    """The batches that a loader reads next; its processes stay alive when it changes."""

    def __init__(self, batches: Iterable[list[SampleRequest]] = ()) -> None:
        self.batches = batches

    def __iter__(self) -> Iterator[list[SampleRequest]]:
        return iter(self.batches)


def sample_loader(reader: SampleReader, plan: BatchPlan, workers: int, device: torch.device) -> DataLoader[Any]:
    """Return a loader of the batches of a plan."""
    return DataLoader(
        reader,
        batch_sampler=plan,
        collate_fn=collate,
        num_workers=workers,
        persistent_workers=workers > 0,
        pin_memory=device.type == "cuda",
        generator=torch.Generator(),  # or it would draw from the user's
        worker_init_fn=begin_loader_process,
    )


def started(loader: DataLoader[Any]) -> Iterator[Any]:
    """Return the iterator of a loader, whose processes are started unless they run already.

    Raises:
        DataError: The data set cannot be sent to them.
    """
    try:
        with starting_loader_processes(), warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Got pickle error")  # the error below says it in one line
            return iter(loader)
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise DataError(
            f"the data set cannot be sent to loader processes ({one_line(error)}): define its class and functions at"
            " the top level of a module, or set dataset.workers=0"
        ) from error
