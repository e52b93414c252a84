"""Data sets as the rest of nasreg takes them: torch ``Dataset`` objects and the names of the classes."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset

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
    """To measure accuracy on, or with ``arch_from: validation`` to learn the architecture on; part of ``train`` can be
    held out instead."""
    test: Callable[[], Dataset[Any]] | None = None
    """Reads the test set. A search never calls it."""
    classes: tuple[str, ...] | None = None
    """Names of the classes by label; counted from the labels where None."""
    raw: bool = False
    """Whether an image is the same each time it is read, so that it may be held in memory."""
    groups: Mapping[str, Sequence[Hashable]] | None = None
    """Part (``train``, ``validation``, ``test``) -> the group of each of its samples, such as a patient: no group is in
    two splits."""

    def __post_init__(self) -> None:
        """Check the groups.

        Raises:
            DataError: Their number is not that of the samples, or a group is in two parts.
        """
        parts: dict[str, Any] = {"train": self.train, "validation": self.validation, "test": self.test}
        seen: dict[Hashable, str] = {}
        for name, groups in (self.groups or {}).items():
            if parts.get(name) is None:
                raise DataError(f"groups are given for {name!r}, which is no part of the data set")
            if name != "test" and len(groups) != len(parts[name]):
                raise DataError(
                    f"groups has {len(groups)} entries, but the {name} set has {len(parts[name])} samples: give one for"
                    " each"
                )
            for group in dict.fromkeys(groups):
                if seen.setdefault(group, name) != name:
                    raise DataError(
                        f"group {group!r} is in the {seen[group]} set and in the {name} set: put all of it into one of"
                        " them"
                    )


def from_torch(
    train: Any,
    test: Any = None,
    validation: Any = None,
    classes: Sequence[str] | None = None,
    *,
    sample: Callable[[Any], tuple[Any, Any]] | None = None,
    groups: Sequence[Hashable] | Mapping[str, Sequence[Hashable]] | None = None,
) -> DatasetBundle:
    """Return a data set of torch ``Dataset`` objects.

    Args:
        train: ``Dataset`` of ``(image, label)``; see ``DatasetBundle``. It may augment images itself. If it has an
            attribute ``targets`` with all labels, it need not be read as a whole beforehand.
        test: Test set, for later: a search does not read it.
        validation: Validation set.
        classes: Names of the classes by label.
        sample: Makes ``(image, label)`` of a sample of another form, such as
            ``lambda each: (each["image"], each["label"])``.
        groups: The group of each sample of ``train``, such as a patient: no group is in two splits. Also a mapping from
            ``train``, ``validation`` and ``test`` to the groups of their samples.

    Raises:
        DataError: One of them is no map-style ``Dataset``, or ``groups`` does not fit.
    """
    parts = {"train": train, "validation": validation, "test": test}
    for name, dataset in parts.items():
        if dataset is not None or name == "train":
            _check_dataset(name, dataset)
    if sample is not None:
        parts = {name: None if each is None else _Adapted(each, sample) for name, each in parts.items()}
    if groups is not None and not isinstance(groups, Mapping):
        groups = {"train": groups}
    own_test = parts["test"]
    return DatasetBundle(
        parts["train"],
        parts["validation"],
        (lambda: own_test) if own_test is not None else None,
        tuple(classes) if classes else None,
        groups=groups,
    )


def from_tuple(parts: tuple[Any, ...]) -> DatasetBundle:
    """Return a data set of ``(train, test)`` or ``(train, validation, test)``.

    Raises:
        DataError: It is another tuple, or one of them is no map-style ``Dataset``.
    """
    if len(parts) == 2:
        if all(isinstance(each, Tensor | np.ndarray | list) for each in parts) and _is_array(parts[0]):
            raise DataError(
                f"data must be torch Datasets, not a pair of {_kind(parts[0])} and {_kind(parts[1])}: make one with"
                f" torch.utils.data.TensorDataset({_as_tensor(parts[0], 'images')}, {_as_tensor(parts[1], 'labels')})"
            )
        return from_torch(*parts)
    if len(parts) == 3:
        train, validation, test = parts
        return from_torch(train, test, validation)
    raise DataError(
        "data must be a tuple of two or three Datasets, (train, test) or (train, validation, test), not of"
        f" {len(parts)}"
    )


class _Adapted(Dataset[Any]):
    """A data set whose samples a function brings into the form ``(image, label)``."""

    def __init__(self, dataset: Any, sample: Callable[[Any], tuple[Any, Any]]) -> None:
        self.dataset = dataset
        self.sample = sample

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> Any:
        return self.sample(self.dataset[index])


def _is_array(value: Any) -> bool:
    return isinstance(value, Tensor | np.ndarray)


def _kind(value: Any) -> str:
    kind = "tensor" if isinstance(value, Tensor) else "array" if isinstance(value, np.ndarray) else type(value).__name__
    return f"{kind} {tuple(value.shape)}" if _is_array(value) else kind


def _as_tensor(value: Any, name: str) -> str:
    if isinstance(value, Tensor):
        return name
    return f"torch.from_numpy({name})" if isinstance(value, np.ndarray) else f"torch.tensor({name})"


def _check_dataset(name: str, dataset: Any) -> None:
    form = "a map-style torch Dataset (with __len__ and __getitem__) of (image, label), or the name of a data set"
    advice = ""
    if isinstance(dataset, type):
        found, advice = f"the class {dataset.__name__}", ": give an instance of it"
    elif isinstance(dataset, Mapping):
        found = f"a dictionary with the keys {', '.join(map(repr, dataset))}"
        advice = ": give its parts, with nasreg.data.from_torch(train, test, validation)"
    elif _is_array(dataset):
        found = f"{'a' if isinstance(dataset, Tensor) else 'an'} {_kind(dataset)}"
        advice = ": make one of images and labels, with torch.utils.data.TensorDataset(images, labels)"
    elif isinstance(dataset, tuple):
        found = f"a tuple of {len(dataset)}"
        if dataset and all(map(_is_array, dataset)):
            advice = ": make a Dataset of it, with torch.utils.data.TensorDataset(images, labels)"
    elif isinstance(dataset, DataLoader):
        found, advice = "DataLoader", ": give its data set, loader.dataset"
    elif (
        isinstance(dataset, IterableDataset | str | bytes)
        or not hasattr(dataset, "__len__")
        or not hasattr(dataset, "__getitem__")
    ):
        found = type(dataset).__name__
    else:
        return
    raise DataError(f"{name} data must be {form}, not {found}{advice}")
