"""The images and classes that a network is for: of a run, of a data set, or as a user says. Imports torch."""

from __future__ import annotations

import re
from typing import Any

import torch
from pydantic import Field

from nasreg.data import DatasetConfig, LoadedDataset, SearchData
from nasreg.errors import ConfigError, PluginError, RunDirectoryError
from nasreg.registry import Registry, default_registry
from nasreg.runs import RunDirectory
from nasreg.specs.base import Spec, parse
from nasreg.specs.data import DataInfo

LARGEST_SIDE = 4096
MOST_CLASSES = 100_000


class DataShape(Spec):
    """Shape of the images, the classes, and what the images are normalised with where that is known."""

    info: DataInfo
    mean: tuple[float, ...] | None = Field(default=None, description="of each channel in 0..1, which is subtracted")
    std: tuple[float, ...] | None = Field(default=None, description="of each channel, which is divided by")


def data_shape(
    run: RunDirectory | None = None,
    *,
    dataset: str | None = None,
    config: DatasetConfig | None = None,
    image: str | None = None,
    classes: int | None = None,
    registry: Registry | None = None,
) -> DataShape:
    """Find the images and classes that a network is for.

    Args:
        run: A run; its data set by default.
        dataset: Name of a data set, which is read.
        config: Options of that data set; its defaults where None.
        image: ``"CxHxW"``, channels, height and width in pixels. Without a run or data set ``3x32x32``, as of CIFAR.
        classes: Number of classes. Without a run or data set 10.
        registry: Where names are looked up; by default what is installed.

    Raises:
        ConfigError: ``image`` or ``classes`` is nothing of that kind, or was given beside a data set.
        DataError: The data set cannot be used.
        RunDirectoryError: The run does not say.
        UnknownNameError: There is no such data set.
    """
    if dataset is not None:  # it is stronger than a run
        if image is not None or classes is not None:
            raise ConfigError("a data set has images and classes of its own: give either it, or --image and --classes")
        registry = registry or default_registry()
        chosen: Any = config or registry.dataset(dataset).component.load_config()()
        data = SearchData(load_registered(registry, dataset, chosen), chosen, 0, torch.device("cpu"))
        return parse(DataShape, {"info": data.info, "mean": data.mean, "std": data.std}, "")
    known = _of_run(run) if run is not None else None
    if known is not None and image is None and classes is None:
        return known
    channels, height, width = _image(image) if image is not None else (3, 32, 32)
    if known is not None and image is None:
        channels, height, width = known.info.channels, known.info.height, known.info.width
    if classes is not None and not 2 <= classes <= MOST_CLASSES:
        raise ConfigError(f"classes: {classes} is not right: expected 2 to {MOST_CLASSES}")
    names = known.info.classes if known is not None and classes is None else tuple(map(str, range(classes or 10)))
    return DataShape(info=DataInfo(channels=channels, height=height, width=width, classes=names))


def _of_run(run: RunDirectory) -> DataShape:
    data = run.read_json("data.json")
    try:
        info = {name: data[name] for name in DataInfo.model_fields}
        return parse(DataShape, {"info": info, "mean": data.get("mean"), "std": data.get("std")}, "")
    except (ConfigError, KeyError, TypeError, AttributeError) as error:
        raise RunDirectoryError(f"{run.path / 'data.json'} does not say what the images and classes are") from error


def _image(text: str) -> tuple[int, int, int]:
    found = re.fullmatch(r"(\d{1,4})x(\d{1,4})x(\d{1,4})", text, re.ASCII)
    if not found or not all(1 <= int(part) <= LARGEST_SIDE for part in found.groups()):
        raise ConfigError(
            f"image: {text[:80]!r} is not right: expected CHANNELSxHEIGHTxWIDTH, such as 3x32x32,"
            f" each from 1 to {LARGEST_SIDE}"
        )
    channels, height, width = map(int, found.groups())
    return channels, height, width


def load_registered(registry: Registry, name: str, config: Any) -> LoadedDataset:
    """Load a registered data set.

    Args:
        registry: Where the name is looked up.
        name: Name of the data set.
        config: Its options.

    Raises:
        DataError: It cannot be loaded.
        PluginError: The plugin's code gave something else.
        UnknownNameError: There is no such data set.
    """
    dataset = registry.dataset(name).component.load_factory()(config)
    if not isinstance(dataset, LoadedDataset):
        raise PluginError(f"data set {name!r} gave a {type(dataset).__name__}, not a LoadedDataset")
    return dataset
