"""A data set as a run uses it: divided into splits, checked, described. See ``RunData``."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch.utils.data import Dataset

from nasreg.data.bundle import DatasetBundle
from nasreg.data.config import TEST_FRACTION_HINT, DatasetConfig
from nasreg.data.divide import divide, limited
from nasreg.data.labels import check_part, class_names, notices
from nasreg.data.reading import ImageSource, derive_seed
from nasreg.data.samples import WithGaps
from nasreg.data.scan import ReadOptions, find_labels, gaps_of, read
from nasreg.data.splits import DataSplit
from nasreg.errors import DataError
from nasreg.specs.data import DataInfo


class RunData:
    """A data set as a run uses it: the splits ``train``, ``arch`` and ``validation``, each stratified by class.

    The test set is read only where it is asked for; no search does that.

    Args:
        dataset: The data set.
        config: How to split, read and augment it; a fraction that is None counts as 0.
        seed: Seed of the split, the order and the augmentation.
        device: Where batches go.
        test: Whether to read the split ``test``.
        failures: Samples that the run could not read before it was resumed, see ``gaps_of``.

    Attributes:
        info: Shape of the images and the classes.
        splits: ``train``, ``arch`` and ``validation``, of which the last two may be empty, and ``test`` if it was read.
        mean: Mean of each channel in 0..1, which is subtracted; None for floating-point images, which stay as they are.
        std: Standard deviation of each channel, which is divided by.
        device: Where batches go.
        has_test: Whether there is a test set, read or not.
        notices: What a user should know about the data, each in one line.

    Raises:
        DataError: The data set cannot be used as it is.
    """

    def __init__(
        self,
        dataset: DatasetBundle,
        config: DatasetConfig,
        seed: int,
        device: torch.device,
        *,
        test: bool = False,
        failures: Sequence[Mapping[str, Any]] = (),
    ) -> None:
        dataset = _fill_gaps(dataset, failures)
        options = replace(
            _reading(dataset, config, device), crop_scale=config.crop_scale, color_jitter=config.color_jitter
        )
        held_out, only = _hold_out_test(dataset, config, options)
        train = read(dataset.train, options, only)
        own = None
        if dataset.validation is not None:
            own = read(dataset.validation, options.without_augmentation("validation"))
        classes = dataset.classes or class_names(train.labels)
        self._parts = {"train": train} | ({"validation": own} if own else {})
        for name, images in self._parts.items():
            check_part(name, images, train, classes)
        channels, height, width = train.shape
        self.info = DataInfo(channels=channels, height=height, width=width, classes=classes)
        self.mean: list[float] | None
        self.std: list[float] | None
        self.mean, self.std = train.moments or (None, None)
        self.device = device
        self.has_test = dataset.test is not None or held_out is not None
        self.notices = [each for name, images in self._parts.items() for each in notices(name, images, classes)]

        groups = (dataset.groups or {}).get("train")
        chosen = self._divide(train, own, config, seed, classes, groups)
        self.splits = {
            name: DataSplit(name, images, [i for i in some if i not in images.left_out], config, seed, train.moments)
            for name, (images, some) in chosen.items()
        }
        if test:
            images = read_test(dataset, config, device, held_out)
            check_part("test", images, train, classes)
            self._parts["test"] = images
            self.notices += notices("test", images, classes)
            self.splits["test"] = DataSplit("test", images, images.usable, config, seed, train.moments)
        if len(self.splits["train"]) < 2:
            raise DataError("fewer than 2 images are left in the train split: lower dataset.arch_fraction")
        self._groups = _groups_in(dataset.groups, chosen)

    @staticmethod
    def _divide(
        train: ImageSource,
        own: ImageSource | None,
        config: DatasetConfig,
        seed: int,
        classes: Sequence[str],
        groups: Sequence[Hashable] | None,
    ) -> dict[str, tuple[ImageSource, list[int]]]:
        indices = limited(list(train.drawn_from), train.labels, config.limit, classes, derive_seed(seed, "limit"))
        separate = config.arch_from == "validation"
        if separate and own is None:
            raise DataError(
                "dataset.arch_from is validation, but the data set has no validation set: give it one, as a folder"
                " named val or from Python"
            )
        validation_fraction = 0.0 if own and not separate else config.validation_fraction or 0.0
        arch_fraction = config.arch_fraction or 0.0
        later = 2 if arch_fraction else 1  # images of a class that the next split needs
        validation, rest = divide(
            indices,
            train.labels,
            validation_fraction,
            classes,
            derive_seed(seed, "validation"),
            leave=later,
            groups=groups,
        )
        arch, weights = divide(rest, train.labels, arch_fraction, classes, derive_seed(seed, "arch"), groups=groups)
        brought = (own, list(own.drawn_from)) if own else None
        return {
            "train": (train, weights),
            "arch": brought if brought and separate else (train, arch),
            "validation": brought if brought and not separate else (train, validation),
        }

    def close(self) -> None:
        """End the loader processes of all splits at once; reading a batch later starts new ones."""
        for split in self.splits.values():
            split.close()

    def describe(self) -> dict[str, Any]:
        """Return the description of the data that a run directory holds, JSON-able."""
        learned = [images for name, images in self._parts.items() if name != "test"]  # which decides nothing
        left_out = {
            name: [
                {"index": index, "path": images.path(index), "reason": reason}
                for index, reason in images.left_out.items()
            ]
            for name, images in self._parts.items()
            if images.left_out
        }
        return {
            "fingerprint": _joined([images.fingerprint for images in learned]),
            "structure": _joined([images.structure for images in learned]),
            "repeatable": all(images.repeatable for images in learned),
            "samples": {images.part: images.samples for images in learned if images.samples},
            **self.info.model_dump(mode="json"),
            "splits": {name: len(split) for name, split in self.splits.items()},
            **({"groups": self._groups} if self._groups else {}),
            **({"left_out": left_out} if left_out else {}),
            "mean": self.mean,
            "std": self.std,
            "in_memory": self._parts["train"].held is not None,
        }


def read_test(
    dataset: DatasetBundle, config: DatasetConfig, device: torch.device, held_out: Sequence[int] | None = None
) -> ImageSource:
    """Read the test set, or the share of the train set that is held out for testing.

    Args:
        dataset: The data set.
        config: How to read it.
        device: Where batches go.
        held_out: Indices of that share, if the caller knows it.

    Raises:
        DataError: There is none, or it cannot be read.
    """
    options = replace(_reading(dataset, config, device), part="test")
    if held_out is None:
        held_out, _ = _hold_out_test(dataset, config, options)
    if held_out is not None:
        return read(dataset.train, options, held_out)
    if dataset.test is None:
        raise DataError(
            "the data set has no test set: give it one, as a folder named test or from Python, or"
            f" {TEST_FRACTION_HINT}, in the search as well as here"
        )
    return read(dataset.test(), options)


def _reading(dataset: DatasetBundle, config: DatasetConfig, device: torch.device) -> ReadOptions:
    return ReadOptions(
        part="train",
        size=config.image_size,
        center_fraction=config.center_fraction,
        layout=config.layout,
        in_memory=config.in_memory,
        raw=dataset.raw,
        skip=config.unreadable == "skip",
        check_all=config.check_all,
        workers=config.workers,
        device=device,
    )


def _joined(fingerprints: list[str]) -> str:
    train, validation = (*fingerprints, "")[:2]
    return f"{derive_seed(train, validation):014x}"


def _fill_gaps(dataset: DatasetBundle, failures: Sequence[Mapping[str, Any]]) -> DatasetBundle:
    """Return the data set with the indices that it had before samples were removed that could not be read."""
    if dataset.groups is not None:  # that of a removed sample is not known
        return dataset
    own = dataset.validation
    return replace(
        dataset,
        train=_with_gaps(dataset.train, "train", failures),
        validation=None if own is None else _with_gaps(own, "validation", failures),
    )


def _with_gaps(samples: Dataset[Any], part: str, failures: Sequence[Mapping[str, Any]]) -> Dataset[Any]:
    gaps = gaps_of(samples, part, failures)
    return WithGaps(samples, gaps) if gaps else samples


def _hold_out_test(
    dataset: DatasetBundle, config: DatasetConfig, options: ReadOptions
) -> tuple[list[int] | None, list[int] | None]:
    """Return the samples of the train set that are held out for testing, and the others; None where none are."""
    if not config.test_fraction:
        return None, None
    if dataset.test is not None:
        raise DataError(
            f"dataset.test_fraction is {config.test_fraction:g}, but the data set has a test set of its own: leave the"
            " option out"
        )
    labels = torch.tensor(find_labels(dataset.train, options))
    known = (labels >= 0).nonzero().flatten().tolist()
    classes = dataset.classes or class_names(labels)
    if known and int(labels.max()) >= len(classes):
        return None, None  # which the check of the train set explains
    groups = (dataset.groups or {}).get("train")
    held_out, _ = divide(known, labels, config.test_fraction, classes, derive_seed("test"), leave=2, groups=groups)
    return held_out, sorted({*range(len(labels))} - {*held_out})  # with what cannot be read: it is counted there


def _groups_in(
    groups: Mapping[str, Sequence[Hashable]] | None, chosen: Mapping[str, tuple[ImageSource, list[int]]]
) -> dict[str, int]:
    """Return the number of groups in each split."""
    found = {}
    for name, (images, some) in chosen.items():
        known = (groups or {}).get(images.part)
        if known is not None:
            found[name] = len({known[index] for index in some})
    return found
