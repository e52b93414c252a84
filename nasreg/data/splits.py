"""A split of a data set, and its batches.

A batch is a pure function of the seed, the split, the epoch and the position in it: a run that is resumed in the middle
of an epoch gets the very batches that it would have got, whatever reads them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torchvision.transforms.v2 import functional as TF

from nasreg.data.config import DatasetConfig
from nasreg.data.reading import BatchReader, ImageSource, SampleRequest, derive_seed

Batch = tuple[Tensor, Tensor]
"""Images ``(B, C, H, W)`` in float32 and labels ``(B,)``, on the device."""


class Rank(NamedTuple):
    """The place of a process among those that train one model together."""

    rank: int = 0
    world_size: int = 1


ALONE = Rank()
"""The place of a process that trains a model alone."""


class BatchPart(tuple[Tensor, Tensor]):
    """The part of a batch that one of several processes computes; it is a ``Batch``.

    Attributes:
        share: Weight of its mean in the mean over the batch.
        copies: Number of processes that compute the same samples.
    """

    share: float
    copies: int

    def __new__(cls, images: Tensor, labels: Tensor, share: float, copies: int) -> BatchPart:
        """Make the part of its images and labels."""
        part = super().__new__(cls, (images, labels))
        part.share, part.copies = share, copies
        return part


class _Slice(NamedTuple):
    """The samples of a batch that a process computes."""

    start: int
    stop: int
    total: int
    copies: int

    @classmethod
    def of(cls, total: int, place: Rank) -> _Slice:
        """Return that of a process: none has a single sample, which BatchNorm could not normalise.

        A batch that is too small for that is computed as a whole by each process.
        """
        rank, world_size = place
        if total < 2 * world_size:
            return cls(0, total, total, world_size)
        return cls(total * rank // world_size, total * (rank + 1) // world_size, total, 1)

    def cut(self, drawn: Tensor) -> Tensor:
        """Return what was drawn for the samples of the slice; it was drawn for each sample of the batch."""
        return drawn[self.start : self.stop]

    def batch(self, images: Tensor, labels: Tensor, place: Rank) -> Batch:
        """Return the batch of one process, or the part of one of several."""
        if place.world_size == 1:
            return images, labels
        share = 1 / self.copies if self.copies > 1 else (self.stop - self.start) / self.total
        return BatchPart(images, labels, share, self.copies)


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
        self,
        *,
        batch_size: int,
        epoch: int,
        start: int = 0,
        steps: int | None = None,
        train: bool = True,
        place: Rank = ALONE,
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
            place: Of several processes, which one: it gets a part of each batch (``BatchPart``), in the order and with
                the augmentation that the whole has; not for training, some of the batches.

        Raises:
            SampleError: An image cannot be used.
        """
        if not train:
            # A single last image joins the batch before.
            end = len(self) - (batch_size > 1 and len(self) > 1)
            starts = range(0, end, batch_size)[place.rank :: place.world_size]
            plan = (
                [SampleRequest(i, i) for i in self._indices[at : at + batch_size if at + batch_size < end else None]]
                for at in starts
            )
            for images, labels in self._read(plan):
                yield self._normalized(images), labels
            return
        stop = start + (self.steps(batch_size) - start if steps is None else steps)
        read_batches = self._read(self._plan(batch_size, epoch, range(start, stop), place))
        for step, (images, labels) in zip(range(start, stop), read_batches, strict=True):
            part = self._slice(batch_size, step, place)
            normalized = self._normalized(self._augmented(images, epoch, step, part))
            if self._config.cutout:
                generator = self._generator("cutout", epoch, step)
                normalized = cut_out(normalized, self._config.cutout, generator, part)
            yield part.batch(normalized, labels, place)

    def _slice(self, batch_size: int, step: int, place: Rank) -> _Slice:
        within = step % self.steps(batch_size)
        return _Slice.of(min(batch_size, len(self) - within * batch_size), place)

    def _read(self, plan: Any) -> Iterator[tuple[Tensor, Tensor]]:
        if self._reader is None:
            self._reader = self._images.reader()
        return self._reader.batches(plan)

    def close(self) -> None:
        """End the loader processes at once; reading a batch later starts new ones."""
        if self._reader is not None:
            self._reader.close()
            self._reader = None

    def _plan(self, batch_size: int, epoch: int, steps: range, place: Rank) -> Iterator[list[SampleRequest]]:
        per_pass = self.steps(batch_size)
        drawn, order = -1, torch.empty(0)
        for step in steps:
            repeat, within = divmod(step, per_pass)
            if repeat != drawn:
                drawn, order = repeat, torch.randperm(len(self), generator=self._generator("order", epoch, repeat))
            chosen = order[within * batch_size : (within + 1) * batch_size]
            part = self._slice(batch_size, step, place)
            yield [
                SampleRequest(self._indices[i], self._seed_of("image", epoch, step, k), True)
                for k, i in enumerate(part.cut(chosen).tolist(), part.start)
            ]

    def _augmented(self, images: Tensor, epoch: int, step: int, part: _Slice) -> Tensor:
        padding, flip = self._config.crop_padding, self._config.flip
        generator = self._generator("augmentation", epoch, step)
        if padding:
            height, width = images.shape[2:]
            corners = part.cut(torch.randint(2 * padding + 1, (part.total, 2), generator=generator)).tolist()
            padded = TF.pad(images, [padding])
            images = torch.stack(
                [TF.crop(image, y, x, height, width) for image, (y, x) in zip(padded, corners, strict=True)]
            )
        if flip:
            flipped = part.cut(torch.rand(part.total, generator=generator)) < 0.5
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


def cut_out(images: Tensor, side: int, generator: torch.Generator, part: _Slice | None = None) -> Tensor:
    """Set a square of each image to 0 (DeVries and Taylor, arXiv 1708.04552).

    Its centre is anywhere in the image, so that a part of it may lie outside; no transform of torchvision does that.

    Args:
        images: ``(B, C, H, W)``, normalised: 0 is the mean.
        side: Of the square, in pixels.
        generator: Where the places are drawn from.
        part: The part of a batch that the images are; all of it by default.
    """
    part = part or _Slice(0, len(images), len(images), 1)
    masks = []
    for length in images.shape[2:]:
        first = part.cut(torch.randint(length, (part.total, 1), generator=generator)) - side // 2
        places = torch.arange(length)
        masks.append((places >= first) & (places < first + side))
    inside = masks[0][:, None, :, None] & masks[1][:, None, None, :]
    return images.masked_fill(inside.to(images.device), 0.0)
