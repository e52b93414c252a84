"""torchvision's classification data sets by name, with download."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torchvision
from torch.utils.data import Dataset

from nasreg.data.bundle import DatasetBundle
from nasreg.data.config import GlyphConfig
from nasreg.errors import DataError, one_line


def _load(name: str, config: GlyphConfig, *, by_split: bool = False) -> DatasetBundle:
    train = _open(name, config, train=True, by_split=by_split)
    classes = getattr(train, "classes", None)
    return DatasetBundle(
        train,
        test=partial(_open, name, config, train=False, by_split=by_split),
        classes=tuple(map(str, classes if classes is not None else range(10))),  # only SVHN has none
        raw=True,
    )


def _open(name: str, config: GlyphConfig, *, train: bool, by_split: bool) -> Dataset[Any]:
    root = Path(config.root).expanduser()
    half = "train" if train else "test"
    which = {"split": half} if by_split else {"train": train}
    try:
        if config.download:
            root.mkdir(parents=True, exist_ok=True)
        dataset: Dataset[Any] = getattr(torchvision.datasets, name)(root, download=config.download, **which)
    except Exception as error:  # damaged files make torchvision raise any of them
        reason = one_line(error)[:200]
        if config.download:
            raise DataError(
                f"cannot get {name} into {root}: {reason}. Without a connection, put its files there"
                " (or elsewhere, with --set dataset.root=FOLDER)"
            ) from error
        raise DataError(
            f"cannot read {name} in {root}: {reason}. Set dataset.root to the folder that has it,"
            " or dataset.download=true"
        ) from error
    return dataset


cifar10: Callable[[GlyphConfig], DatasetBundle] = partial(_load, "CIFAR10")
cifar100: Callable[[GlyphConfig], DatasetBundle] = partial(_load, "CIFAR100")
mnist: Callable[[GlyphConfig], DatasetBundle] = partial(_load, "MNIST")
fashion_mnist: Callable[[GlyphConfig], DatasetBundle] = partial(_load, "FashionMNIST")
svhn: Callable[[GlyphConfig], DatasetBundle] = partial(_load, "SVHN", by_split=True)
stl10: Callable[[GlyphConfig], DatasetBundle] = partial(_load, "STL10", by_split=True)
