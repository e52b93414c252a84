"""Checks what a part of a data set has: labels, classes, shapes, values; and what a user should know about it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch

from nasreg.data.reading import SIZE_HINT, ImageSource
from nasreg.data.samples import describe_shape
from nasreg.errors import DataError

MAX_MISSING = 100
"""Number of labels without an image, above which labels that are mostly missing are no numbers of classes."""

MAX_FLOAT = 16.0
"""Largest magnitude of the values of normalised images."""

SHOWN = 5


def class_names(labels: torch.Tensor) -> tuple[str, ...]:
    """Return names of the classes that are counted from the labels of the train set.

    Raises:
        DataError: A label is negative, or they are no numbers of classes.
    """
    known = {label for label in labels.tolist() if label >= 0}
    n = max(known, default=0) + 1
    missing = n - len(known)
    if missing > MAX_MISSING and missing > len(known):
        raise DataError(
            f"the train set has {len(known):,} different labels, but they go up to {n - 1:,}, which makes {n:,}"
            " classes: number the classes from 0 without gaps, such as with"
            " torch.unique(labels, return_inverse=True)[1]"
        )
    return tuple(map(str, range(n)))


def check_part(part: str, images: ImageSource, train: ImageSource, classes: Sequence[str]) -> None:
    """Check labels and shape of a part of the data.

    Raises:
        DataError: A label is no class, the train set has one class only, or the images are not like those of the train
            set.
    """
    used = list(images.drawn_from)
    labels = images.labels[used]
    low, high = int(labels.min()), int(labels.max())
    if low < 0 or high >= len(classes):
        label = low if low < 0 else high
        index = used[int((labels == label).nonzero()[0])]
        raise DataError(
            f"the {part} set: image {index} has label {label}, but labels must be 0 to {len(classes) - 1}"
            f" ({len(classes)} classes)"
        )
    if part == "train" and low == high:
        raise DataError(
            f"the train set has images of one class only ({classes[low]!r}): there is nothing to tell apart"
        )
    if (images.shape, images.is_float) != (train.shape, train.is_float):
        found, expected = (
            describe_shape(each.shape, torch.float32 if each.is_float else torch.uint8) for each in (images, train)
        )
        raise DataError(f"the {part} set has images of {found}, the train set of {expected}: {SIZE_HINT}")


def notices(part: str, images: ImageSource, classes: Sequence[str]) -> Iterator[str]:
    """Yield what a user should know about a part of the data, each in one line."""
    low, high = (value + 0.0 for value in images.values)  # without the sign of -0
    if images.left_out:
        some = [
            f"{images.path(index) or f'image {index}'} ({reason})"
            for index, reason in list(images.left_out.items())[:SHOWN]
        ]
        more = ", ..." if len(images.left_out) > SHOWN else ""
        yield (
            f"{len(images.left_out):,} of {len(images):,} images of the {part} set cannot be read and are left out:"
            f" {', '.join(some)}{more}"
        )
    if not images.repeatable:
        yield (
            f"the {part} set draws random numbers from a generator of its own, which nasreg cannot seed: the run cannot"
            " be repeated or resumed bit for bit; draw from torch, numpy.random or random, without a generator"
        )
    if low == high:
        yield f"all pixels of the {part} set have the same value ({low:g})"
    elif images.is_float and max(-low, high) > MAX_FLOAT:
        yield (
            f"the floating-point images of the {part} set have values from {low:g} to {high:g} and are used as they"
            " are: normalise them, or give values from 0 to 255 as uint8, which are normalised here"
        )
    if part == "train":
        present = set(images.labels[images.usable].tolist())
        missing = [label for label in range(len(classes)) if label not in present]
        if missing:
            some = [str(i) if classes[i] == str(i) else f"{i} ({classes[i]})" for i in missing[:SHOWN]]
            more = ", ..." if len(missing) > SHOWN else ""
            yield (
                f"no image of the train set has label {', '.join(some)}{more}: it has {len(present)} of {len(classes)}"
                f" classes; labels are numbers from 0 to {len(classes) - 1}"
            )
