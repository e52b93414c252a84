"""The splits of a data set, and the batches of each.

A batch is a pure function of the seed, the split, the epoch and the position in it: a run that is resumed in the middle
of an epoch gets the very batches that it would have got, whatever reads them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torchvision.transforms.v2 import functional as TF

from nasreg.data.bundle import DatasetBundle
from nasreg.data.config import DatasetConfig
from nasreg.data.reading import SIZE_HINT, BatchReader, ImageSource, SampleRequest, derive_seed, read
from nasreg.errors import DataError
from nasreg.specs.data import DataInfo

Batch = tuple[Tensor, Tensor]
"""Images ``(B, C, H, W)`` in float32 and labels ``(B,)``, on the device."""


class DataSplit:
    """One split of the images.

    Args:
        name: Name of the split; its order of images depends on it.
        images: The images that it is taken from.
        indices: Indices of its images.
        config: How to augment.
        seed: Seed of order and augmentation.
        moments: Mean and standard deviation to normalise with.
    """

    def __init__(
        self,
        name: str,
        images: ImageSource,
        indices: Sequence[int],
        config: DatasetConfig,
        seed: int,
        moments: tuple[list[float], list[float]] | None,
    ) -> None:
        self.name = name
        self.labels = images.labels[torch.tensor(indices, dtype=torch.int64)]
        self._images = images
        self._indices = indices
        self._config = config
        self._seed = seed
        self._moments = moments
        self._reader: BatchReader | None = None

    def __len__(self) -> int:
        return len(self._indices)

    def steps(self, batch_size: int) -> int:
        """Return the number of batches in a pass, without a last one of a single image, which BatchNorm refuses."""
        whole, rest = divmod(len(self), batch_size)
        return max(1, whole + (rest > 1 or (rest == 1 and batch_size == 1)))

    def batches(
        self, *, batch_size: int, epoch: int, start: int = 0, steps: int | None = None, train: bool = True
    ) -> Iterator[Batch]:
        """Yield batches.

        Args:
            batch_size: Images in a batch; the last of a pass may have fewer, or one more, so that none is a single
                image, which a BatchNorm without running statistics refuses.
            epoch: Which epoch: each has an order of its own.
            start: Number of batches of this epoch to leave out.
            steps: Number of batches; where a pass has fewer, another pass in another order follows. By default to the
                end of the pass.
            train: Shuffled and augmented; otherwise every image once, in order and as it is.

        Raises:
            DataError: An image cannot be read.
        """
        if not train:
            starts = range(0, len(self) if batch_size == 1 else max(1, len(self) - 1), batch_size)
            stops = [*starts[1:], len(self)]
            plan = (
                [SampleRequest(i, i) for i in self._indices[at:stop]] for at, stop in zip(starts, stops, strict=True)
            )
            for images, labels in self._read(plan):
                yield self._normalized(images), labels
            return
        stop = start + (self.steps(batch_size) - start if steps is None else steps)
        read_batches = self._read(self._plan(batch_size, epoch, range(start, stop)))
        for step, (images, labels) in zip(range(start, stop), read_batches, strict=True):
            normalized = self._normalized(self._augmented(images, epoch, step))
            if self._config.cutout:
                normalized = cut_out(normalized, self._config.cutout, self._generator("cutout", epoch, step))
            yield normalized, labels

    def _read(self, plan: Any) -> Iterator[tuple[Tensor, Tensor]]:
        if self._reader is None:
            self._reader = self._images.reader()
        return self._reader.batches(plan)

    def close(self) -> None:
        """End the loader processes at once; reading a batch later starts new ones."""
        if self._reader is not None:
            self._reader.close()
            self._reader = None

    def _plan(self, batch_size: int, epoch: int, steps: range) -> Iterator[list[SampleRequest]]:
        per_pass = self.steps(batch_size)
        drawn, order = -1, torch.empty(0)
        for step in steps:
            repeat, within = divmod(step, per_pass)
            if repeat != drawn:
                drawn, order = repeat, torch.randperm(len(self), generator=self._generator("order", epoch, repeat))
            chosen = order[within * batch_size : (within + 1) * batch_size].tolist()
            yield [
                SampleRequest(self._indices[i], self._seed_of("image", epoch, step, k), True)
                for k, i in enumerate(chosen)
            ]

    def _augmented(self, images: Tensor, epoch: int, step: int) -> Tensor:
        padding, flip = self._config.crop_padding, self._config.flip
        generator = self._generator("augmentation", epoch, step)
        if padding:
            height, width = images.shape[2:]
            corners = torch.randint(2 * padding + 1, (len(images), 2), generator=generator).tolist()
            padded = TF.pad(images, [padding])
            images = torch.stack(
                [TF.crop(image, y, x, height, width) for image, (y, x) in zip(padded, corners, strict=True)]
            )
        if flip:
            flipped = torch.rand(len(images), generator=generator) < 0.5
            images = torch.where(flipped.to(images.device)[:, None, None, None], TF.horizontal_flip(images), images)
        return images

    def _normalized(self, images: Tensor) -> Tensor:
        if images.is_floating_point():
            return images
        images = TF.to_dtype(images, torch.float32, scale=True)
        return TF.normalize(images, *self._moments) if self._moments is not None else images

    def _seed_of(self, *what: object) -> int:
        return derive_seed(self._seed, self.name, *what)

    def _generator(self, *what: object) -> torch.Generator:
        return torch.Generator().manual_seed(self._seed_of(*what))


def cut_out(images: Tensor, side: int, generator: torch.Generator) -> Tensor:
    """Set a square of each image to 0 (DeVries and Taylor, arXiv 1708.04552).

    Its centre is anywhere in the image, so that a part of it may lie outside; no transform of torchvision does that.

    Args:
        images: ``(B, C, H, W)``, normalised: 0 is the mean.
        side: Of the square, in pixels.
        generator: Where the places are drawn from.
    """
    masks = []
    for length in images.shape[2:]:
        first = torch.randint(length, (len(images), 1), generator=generator) - side // 2
        places = torch.arange(length)
        masks.append((places >= first) & (places < first + side))
    inside = masks[0][:, None, :, None] & masks[1][:, None, None, :]
    return images.masked_fill(inside.to(images.device), 0.0)


class RunData:
    """A data set as a run uses it: the splits ``train``, ``arch`` and ``validation``, each stratified by class.

    The test set is read only where it is asked for; no search does that.

    Args:
        dataset: The data set.
        config: How to split, read and augment it; a fraction that is None counts as 0.
        seed: Seed of the split, the order and the augmentation.
        device: Where batches go.
        test: Whether to read the split ``test``.

    Attributes:
        info: Shape of the images and the classes.
        splits: ``train``, ``arch`` and ``validation``, of which the last two may be empty, and ``test`` if it was read.
        mean: Mean of each channel in 0..1, which is subtracted; None for floating-point images, which stay as they are.
        std: Standard deviation of each channel, which is divided by.
        device: Where batches go.

    Raises:
        DataError: The data set cannot be used as it is.
    """

    def __init__(
        self, dataset: DatasetBundle, config: DatasetConfig, seed: int, device: torch.device, *, test: bool = False
    ) -> None:
        options = _reading(dataset, config, device)
        train = read(dataset.train, "train", crop_scale=config.crop_scale, color_jitter=config.color_jitter, **options)
        own = read(dataset.validation, "validation", **options) if dataset.validation is not None else None
        classes = dataset.classes or tuple(map(str, range(int(train.labels.max()) + 1)))
        for name, images in (("train", train), ("validation", own)):
            if images is not None:
                _check(name, images, train, classes)
        channels, height, width = train.shape
        self.info = DataInfo(channels=channels, height=height, width=width, classes=classes)
        self.mean: list[float] | None
        self.std: list[float] | None
        self.mean, self.std = train.moments or (None, None)
        self._fingerprint = derive_seed(train.fingerprint, own.fingerprint if own else "")
        self._held = train.held is not None
        self.device = device

        indices = _limited(train.labels, config.limit, classes, derive_seed(seed, "limit"))
        validation_fraction = 0.0 if own else config.validation_fraction or 0.0
        arch_fraction = config.arch_fraction or 0.0
        later = 2 if arch_fraction else 1  # images of a class that the next split needs
        held_out, rest = _split(
            indices, train.labels, validation_fraction, classes, derive_seed(seed, "validation"), leave=later
        )
        arch, weights = _split(rest, train.labels, arch_fraction, classes, derive_seed(seed, "arch"))
        validation = (own, list(range(len(own)))) if own else (train, held_out)
        chosen = {"train": (train, weights), "arch": (train, arch), "validation": validation}
        self.splits = {
            name: DataSplit(name, images, some, config, seed, train.moments) for name, (images, some) in chosen.items()
        }
        if test:
            images = read_test(dataset, config, device)
            _check("test", images, train, classes)
            self.splits["test"] = DataSplit("test", images, list(range(len(images))), config, seed, train.moments)
        if len(self.splits["train"]) < 2:
            raise DataError("fewer than 2 images are left in the train split: lower dataset.arch_fraction")

    def close(self) -> None:
        """End the loader processes of all splits at once; reading a batch later starts new ones."""
        for split in self.splits.values():
            split.close()

    def describe(self) -> dict[str, Any]:
        """Return the description of the data that a run directory holds, JSON-able."""
        return {
            "fingerprint": f"{self._fingerprint:014x}",
            **self.info.model_dump(mode="json"),
            "splits": {name: len(split) for name, split in self.splits.items()},
            "mean": self.mean,
            "std": self.std,
            "in_memory": self._held,
        }


def read_test(dataset: DatasetBundle, config: DatasetConfig, device: torch.device) -> ImageSource:
    """Read the test set.

    Args:
        dataset: The data set.
        config: How to read it.
        device: Where batches go.

    Raises:
        DataError: There is none, or it cannot be read.
    """
    if dataset.test is None:
        raise DataError("the data set has no test set: give it one, as a folder named test or from Python")
    return read(dataset.test(), "test", **_reading(dataset, config, device))


def _reading(dataset: DatasetBundle, config: DatasetConfig, device: torch.device) -> dict[str, Any]:
    return {
        "size": config.image_size,
        "center_fraction": config.center_fraction,
        "in_memory": config.in_memory,
        "raw": dataset.raw,
        "workers": config.workers,
        "device": device,
    }


def _check(name: str, images: ImageSource, train: ImageSource, classes: Sequence[str]) -> None:
    low, high = int(images.labels.min()), int(images.labels.max())
    if low < 0 or high >= len(classes):
        label = low if low < 0 else high
        index = int((images.labels == label).nonzero()[0])
        raise DataError(
            f"the {name} set: image {index} has label {label}, but labels must be 0 to {len(classes) - 1}"
            f" ({len(classes)} classes)"
        )
    if name == "train" and low == high:
        raise DataError(
            f"the train set has images of one class only ({classes[low]!r}): there is nothing to tell apart"
        )
    if (images.shape, images.is_float) != (train.shape, train.is_float):
        raise DataError(f"the {name} set has images of {_size(images)}, the train set of {_size(train)}: {SIZE_HINT}")


def _size(images: ImageSource) -> str:
    channels, height, width = images.shape
    return f"{height}x{width} with {channels} channels{' of floats' if images.is_float else ''}"


def _limited(labels: Tensor, limit: int | None, classes: Sequence[str], seed: int) -> list[int]:
    everything = list(range(len(labels)))
    if limit is None or limit == len(labels):
        return everything
    if limit > len(labels):
        raise DataError(f"dataset.limit is {limit}, but the train set has only {len(labels)} images")
    return _split(everything, labels, limit / len(labels), classes, seed, leave=0)[0]


def _split(
    indices: list[int], labels: Tensor, fraction: float, classes: Sequence[str], seed: int, *, leave: int = 1
) -> tuple[list[int], list[int]]:
    """Split off a share of the indices, the same of each class, leaving at least ``leave`` of each, in order.

    Raises:
        DataError: A class has too few images for that.
    """
    if fraction == 0:
        return [], indices
    generator = torch.Generator().manual_seed(seed)
    of_class: dict[int, list[int]] = {}
    for index in indices:
        of_class.setdefault(int(labels[index]), []).append(index)
    taken: set[int] = set()
    owed = 0.0  # what rounding left over goes to the next class, so that the total is right
    for label, members in sorted(of_class.items()):
        owed += fraction * len(members)
        count = min(max(round(owed), 1), len(members) - leave)
        if count < 1:
            raise DataError(
                f"class {classes[label]!r} has only {len(members)} of the images, too few to be in every split:"
                " give it more (or raise dataset.limit), or leave the class out"
            )
        owed -= count
        order = torch.randperm(len(members), generator=generator)[:count].tolist()
        taken.update(members[i] for i in order)
    return [i for i in indices if i in taken], [i for i in indices if i not in taken]
