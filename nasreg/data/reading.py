"""Reads a torch ``Dataset``: every sample is checked, and comes out the same whichever process reads it.

A set whose images are the same each time is read once and held as one tensor; any other is read again for each batch,
by loader processes where they are wanted. Both give the same batches. Random crops out of the whole image, and changes
of its colours, are made while reading: they depend on the seed of the sample alone.
"""

from __future__ import annotations

import hashlib
import operator
import pickle
import random
import traceback
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Subset, TensorDataset
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as TF

from nasreg.data.loader_processes import begin_loader_process, starting_loader_processes
from nasreg.errors import DataError, one_line

MAX_HELD_BYTES = 512 * 2**20
"""Bytes of images that ``in_memory: auto`` holds."""

SIZE_HINT = "bring all to one size with --set dataset.image_size=32 (or another)"

MAX_SAMPLED = 1000
"""Number of images that are read beforehand where not all of them are."""


class SampleRequest(NamedTuple):
    """Which sample to read, and how."""

    sample: int
    """Index in the data set."""
    seed: int
    """Seed of whatever is random in reading it."""
    augment: bool = False
    """Whether to apply random crops and colours, if the options ask for them."""


_Sample = tuple[Tensor, int, int]
"""Image, label, index."""

_Loaded = tuple[Tensor, list[int], list[int]]
"""Images ``(B, C, H, W)``, labels, indices."""


class _SampleError(ValueError):
    """A sample that nasreg itself finds wrong."""


class _Failure(NamedTuple):
    """An error in a loader process; an exception would arrive with its traceback in its message."""

    message: str
    traceback: str


class _Shape(NamedTuple):
    shape: tuple[int, ...]
    dtype: torch.dtype


def derive_seed(*parts: object) -> int:
    """Return a seed that depends on all parts, in the same way on every machine."""
    return int.from_bytes(hashlib.blake2b("/".join(map(str, parts)).encode(), digest_size=7).digest(), "big")


class _Reader(Dataset[Any]):
    """Reads checked samples. It goes to the loader processes."""

    def __init__(self, dataset: Dataset[Any], name: str, size: int | None, center_fraction: float) -> None:
        self.dataset = dataset
        self.name = name
        self.size = size
        self.center_fraction = center_fraction
        self.expected: _Shape | None = None
        self.crop: Callable[[Tensor], Tensor] | None = None
        self.jitter: Callable[[Tensor], Tensor] | None = None

    def __getitem__(self, request: SampleRequest) -> _Sample | _Failure:
        index = request.sample
        try:
            with _seeded(request.seed):
                image, label = self.dataset[index]
                tensor = _to_tensor(image)
                if request.augment and self.crop is not None:
                    tensor = self.crop(tensor)
                elif self.size is not None:
                    tensor = _center(tensor, self.size, self.center_fraction)
                _check_alike(tensor, self.expected)
                if request.augment and self.jitter is not None:
                    tensor = self.jitter(tensor)
            return tensor.contiguous(), operator.index(label), index
        except Exception as error:  # noqa: BLE001  # the user's own code: it is reported in full
            reason = str(error) if isinstance(error, _SampleError) else one_line(error)
            where = f"the {self.name} set: image {index}{_path_of(self.dataset, index)}"
            return _Failure(f"{where} cannot be used: {' '.join(reason.split())}", traceback.format_exc())


def _check_alike(image: Tensor, expected: _Shape | None) -> None:
    if expected is not None and (image.shape, image.dtype) != expected:
        raise _SampleError(f"it is {_describe(image)}, but the first is {_describe(expected)}; {SIZE_HINT}")


def _collate(samples: list[_Sample | _Failure]) -> _Loaded | _Failure:
    good: list[_Sample] = []
    for sample in samples:
        if isinstance(sample, _Failure):
            return sample
        good.append(sample)
    images, labels, indices = zip(*good, strict=True)
    return torch.stack(images), list(labels), list(indices)


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Seed all that an augmentation may draw from, and leave it as it was."""
    before = random.getstate(), np.random.get_state(), torch.get_rng_state()
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.default_generator.manual_seed(seed)
    try:
        yield
    finally:
        random.setstate(before[0])
        np.random.set_state(before[1])
        torch.set_rng_state(before[2])


def _to_tensor(image: Any) -> Tensor:
    if isinstance(image, Image.Image):
        if image.mode in ("1", "LA", "P", "PA", "RGBA", "CMYK", "YCbCr", "HSV", "LAB"):
            image = image.convert("L" if image.mode in ("1", "LA") else "RGB")
        if image.mode not in ("L", "RGB"):
            raise _SampleError(f"mode {image.mode} is not supported: convert the image to L or RGB")
        image = TF.pil_to_tensor(image)
    if not isinstance(image, Tensor):
        raise _SampleError(f"an image must be a tensor (C, H, W) or a PIL image, not {type(image).__name__}")
    if image.dim() != 3 or not image.numel():
        raise _SampleError(f"an image must be a tensor (C, H, W), not {tuple(image.shape)}")
    if image.is_floating_point():
        image = image.float()
        if not torch.isfinite(image).all():
            raise _SampleError("it has values that are not finite")
    elif image.dtype != torch.uint8:
        raise _SampleError(f"an image must be of uint8 or floating point, not {image.dtype}")
    tensor: Tensor = image
    return tensor


def _center(image: Tensor, size: int, fraction: float) -> Tensor:
    cropped: Tensor = TF.center_crop(TF.resize(image, [round(size / fraction)], antialias=True), [size, size])
    return cropped


def _jitter(strengths: tuple[float, float, float, float]) -> Callable[[Tensor], Tensor]:
    # On PIL images, as in the papers' programs: nothing there depends on the number of threads.
    changed: Callable[[Tensor], Tensor] = v2.Compose([v2.ToPILImage(), v2.ColorJitter(*strengths), v2.PILToTensor()])
    return changed


def _describe(image: Tensor | _Shape) -> str:
    channels, height, width = image.shape
    kind = "" if image.dtype == torch.uint8 else f" of {image.dtype}".replace("torch.", "")
    return f"{height}x{width} with {channels} channel{'s' if channels != 1 else ''}{kind}"


def _path_of(dataset: Any, index: int) -> str:
    samples = getattr(dataset, "samples", None)
    return f" ({samples[index][0]})" if isinstance(samples, list) else ""


def _known_labels(dataset: Any) -> list[int] | None:
    """Return the labels that a data set tells by itself; each is compared with what comes with the image later."""
    if isinstance(dataset, Subset):
        known = _known_labels(dataset.dataset)
        return [known[index] for index in dataset.indices] if known is not None else None
    if getattr(dataset, "target_transform", None) is not None:
        return None
    told = getattr(dataset, "targets", getattr(dataset, "labels", None))
    try:
        labels = [operator.index(label) for label in told] if told is not None else None
    except TypeError:
        return None
    return labels if labels is not None and len(labels) == len(dataset) else None


@dataclass
class ImageSource:
    """The images of a data set, or how to read them."""

    labels: Tensor
    """``(n,)``, int64."""
    shape: tuple[int, int, int]
    """Channels, height, width."""
    is_float: bool
    moments: tuple[list[float], list[float]] | None
    """Mean and standard deviation of each channel in 0..1; None for floating-point images."""
    fingerprint: str
    held: Tensor | None
    """``(n, C, H, W)`` where they are held in memory."""
    _reader: _Reader
    _workers: int
    _device: torch.device

    def __len__(self) -> int:
        return len(self.labels)

    def reader(self) -> BatchReader:
        """Return a reader of batches; each reader has loader processes of its own."""
        return BatchReader(self, self._reader, self._workers, self._device)


class BatchReader:
    """Reads batches of images, one after the other."""

    def __init__(self, images: ImageSource, reader: _Reader, workers: int, device: torch.device) -> None:
        self._images = images
        self._device = device
        self._plan = _Plan()
        self._loader = None if images.held is not None else _loader(reader, self._plan, workers, device)
        # The only reference to the loader's iterator, whose processes end when it goes: see ``close``.
        self._iterator: Iterator[_Loaded | _Failure] | None = None

    def batches(self, plan: Iterable[list[SampleRequest]]) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield images ``(B, C, H, W)`` as they are stored and labels ``(B,)``, on the device.

        Args:
            plan: The samples of each batch.

        Raises:
            DataError: A sample cannot be read, or differs in shape or type from the others.
        """
        images = self._images
        if images.held is not None:
            for requests in plan:
                chosen = torch.tensor([request.sample for request in requests])
                yield images.held[chosen.to(images.held.device)], images.labels[chosen].to(self._device)
            return
        self._plan.batches = plan
        self._iterator = _started(self._loader) if self._loader is not None else None
        while (loaded := self._next()) is not None:
            batch, labels, indices = loaded
            expected = images.labels[indices]
            if labels != expected.tolist():
                wrong = next(i for i, label in enumerate(labels) if label != int(expected[i]))
                raise DataError(
                    f"image {indices[wrong]} came with label {labels[wrong]} this time, but with"
                    f" {int(expected[wrong])} before: labels must not change, and 'targets' must hold the same ones"
                )
            yield batch.to(self._device, non_blocking=True), expected.to(self._device)

    def _next(self) -> _Loaded | None:
        loaded = next(self._iterator, None) if self._iterator is not None else None
        return None if loaded is None else _checked(loaded)

    def close(self) -> None:
        """End the loader processes at once.

        After an error the traceback may keep the generator of ``batches`` alive for long. It does not hold the loader's
        iterator, though, so that this is its end: torch then stops the processes in order. Left to the garbage
        collector, torch may wait 5 seconds for each of them.
        """
        self._iterator = self._loader = None


class _Plan:
    """The batches that a loader reads next; its processes stay alive when it changes."""

    def __init__(self, batches: Iterable[list[SampleRequest]] = ()) -> None:
        self.batches = batches

    def __iter__(self) -> Iterator[list[SampleRequest]]:
        return iter(self.batches)


def _loader(reader: _Reader, plan: _Plan, workers: int, device: torch.device) -> DataLoader[Any]:
    return DataLoader(
        reader,
        batch_sampler=plan,
        collate_fn=_collate,
        num_workers=workers,
        persistent_workers=workers > 0,
        pin_memory=device.type == "cuda",
        generator=torch.Generator(),  # or it would draw from the user's
        worker_init_fn=begin_loader_process,
    )


def _started(loader: DataLoader[Any]) -> Iterator[_Loaded | _Failure]:
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


def _checked(result: _Loaded | _Failure) -> _Loaded:
    if isinstance(result, _Failure):
        raise DataError(result.message) from RuntimeError(result.traceback)
    return result


def read(
    dataset: Dataset[Any],
    name: str,
    *,
    size: int | None,
    center_fraction: float,
    in_memory: str,
    raw: bool,
    workers: int,
    device: torch.device,
    crop_scale: tuple[float, float] | None = None,
    color_jitter: tuple[float, float, float, float] | None = None,
) -> ImageSource:
    """Look at a data set, and hold its images in memory where that is wanted.

    Args:
        dataset: Gives ``(image, label)``.
        name: ``train`` or ``validation``, for errors.
        size: Side in pixels to bring images to.
        center_fraction: Share of the shorter side that is left when the centre is cropped for that.
        in_memory: ``auto``, ``yes`` or ``no``.
        raw: Whether images are the same each time they are read.
        workers: Loader processes.
        device: Where batches are wanted.
        crop_scale: Least and largest share of its area that an image is cropped to at random for training; with this
            or ``color_jitter`` images are not held.
        color_jitter: How much brightness, contrast, saturation and hue of images for training change at random.

    Raises:
        DataError: It is empty, a sample cannot be read, images differ in size, or their colours cannot be changed.
    """
    n = len(dataset)  # type: ignore[arg-type]  # map-style
    if n == 0:
        raise DataError(f"the {name} set is empty")
    raw = raw or isinstance(dataset, TensorDataset)
    reader = _Reader(dataset, name, size, center_fraction)
    first, _, _ = _checked(_collate([reader[SampleRequest(0, 0)]]))
    reader.expected = _Shape(tuple(first.shape[1:]), first.dtype)
    if crop_scale is not None:
        reader.crop = v2.RandomResizedCrop(first.shape[2:], scale=crop_scale)
    if color_jitter is not None:
        if first.is_floating_point() or first.shape[1] not in (1, 3):
            raise DataError(
                "dataset.color_jitter is for images of 8 bits with 1 or 3 channels, but the first of the"
                f" {name} set is {_describe(first[0])}: set it to null"
            )
        reader.jitter = _jitter(color_jitter)
    small = n * first.numel() * first.element_size() <= MAX_HELD_BYTES
    same = reader.crop is None and reader.jitter is None
    hold = same and (in_memory == "yes" or (in_memory == "auto" and raw and small))
    labels = None if hold else _known_labels(dataset)
    looked_at = range(n) if labels is None else sorted({n * number // MAX_SAMPLED for number in range(MAX_SAMPLED)})
    # Seeded, so that a data set that augments by itself has one fingerprint.
    plan = [
        [SampleRequest(index, index) for index in looked_at[start : start + 64]]
        for start in range(0, len(looked_at), 64)
    ]
    held = torch.empty((n, *first.shape[1:]), dtype=first.dtype) if hold else None
    tally = _RunningStats(first)
    found: list[int] = []
    for images, some, _ in map(_checked, _started(_loader(reader, _Plan(plan), workers, torch.device("cpu")))):
        tally.add(images)
        if held is not None:
            held[len(found) : len(found) + len(images)] = images
        found += some
    _check_labels(found, labels, looked_at, name)
    all_labels = torch.tensor(found if labels is None else labels)
    channels, height, width = first.shape[1:]
    return ImageSource(
        labels=all_labels,
        shape=(channels, height, width),
        is_float=first.is_floating_point(),
        moments=tally.moments(),
        fingerprint=tally.fingerprint(all_labels),
        held=held.to(device) if held is not None else None,
        _reader=reader,
        _workers=workers,
        _device=device,
    )


def _check_labels(found: Sequence[int], told: list[int] | None, looked_at: Sequence[int], name: str) -> None:
    for index, label in zip(looked_at, found, strict=True):
        if told is not None and told[index] != label:
            raise DataError(
                f"the {name} set: image {index} has label {label}, but 'targets' says {told[index]}: they must agree"
            )


class _RunningStats:
    """Mean, standard deviation and hash of the images that went by."""

    def __init__(self, first: Tensor) -> None:
        self._sums = torch.zeros(2, first.shape[1], dtype=torch.float64)
        self._pixels = 0
        self._float = first.is_floating_point()
        self._hash = hashlib.blake2b(str((tuple(first.shape[1:]), first.dtype)).encode(), digest_size=12)

    def add(self, images: Tensor) -> None:
        self._hash.update(images.numpy().tobytes())
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
