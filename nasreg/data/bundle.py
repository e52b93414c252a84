"""Data sets as the rest of nasreg takes them: torch ``Dataset`` objects and the names of the classes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from torch.utils.data import Dataset, IterableDataset

from nasreg.errors import DataError


@dataclass(frozen=True)
class DatasetBundle:
    """Images with labels, as the factory of a registered data set returns them.

    Each ``Dataset`` gives ``(image, label)``. An image is a PIL image or a uint8 tensor ``(C, H, W)``, which nasreg
    scales to 0..1 and normalises, or a floating-point tensor ``(C, H, W)``, which it takes as it is.
    """

    train: Dataset[Any]
    """A search learns on this alone."""
    validation: Dataset[Any] | None = None
    """To measure accuracy on; part of ``train`` can be held out instead."""
    test: Callable[[], Dataset[Any]] | None = None
    """Reads the test set. A search never calls it."""
    classes: tuple[str, ...] | None = None
    """Names of the classes by label; counted from the labels where None."""
    raw: bool = False
    """Whether an image is the same each time it is read, so that it may be held in memory."""


def from_torch(
    train: Any, test: Any = None, validation: Any = None, classes: Sequence[str] | None = None
) -> DatasetBundle:
    """Return a data set of torch ``Dataset`` objects.

    Args:
        train: ``Dataset`` of ``(image, label)``; see ``DatasetBundle``. It may augment images itself. If it has an
            attribute ``targets`` with all labels, it need not be read as a whole beforehand.
        test: Test set, for later: a search does not read it.
        validation: Validation set.
        classes: Names of the classes by label.

    Raises:
        DataError: One of them is no map-style ``Dataset``.
    """
    for name, dataset in (("train", train), ("validation", validation), ("test", test)):
        if dataset is None and name != "train":
            continue
        if isinstance(dataset, IterableDataset) or not (
            hasattr(dataset, "__len__") and hasattr(dataset, "__getitem__")
        ):
            raise DataError(
                f"{name} data must be a map-style torch Dataset (with __len__ and __getitem__) of (image, label),"
                f" or the name of a data set, not {type(dataset).__name__}"
            )
    return DatasetBundle(
        train, validation, (lambda: test) if test is not None else None, tuple(classes) if classes else None
    )
