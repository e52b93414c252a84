"""The input of a network: shape of the images, classes, normalisation; of a run, of a data set, or as given."""

from __future__ import annotations

import re

import torch
from pydantic import Field

from nasreg.config.sources import DatasetSource
from nasreg.data import DatasetConfig, RunData
from nasreg.errors import ConfigError, RunDirectoryError
from nasreg.runs import files
from nasreg.runs.directory import RunDirectory
from nasreg.specs.base import Spec, parse
from nasreg.specs.data import DataInfo

MAX_SIDE = 4096
MAX_CLASSES = 100_000


class InputSpec(Spec):
    """Shape of the images, the classes, and the normalisation of the images if it is known."""

    info: DataInfo
    mean: tuple[float, ...] | None = Field(default=None, description="of each channel in 0..1, which is subtracted")
    std: tuple[float, ...] | None = Field(default=None, description="of each channel, which is divided by")


def input_spec(
    run: RunDirectory | None = None,
    *,
    dataset: DatasetSource | None = None,
    config: DatasetConfig | None = None,
    image: str | None = None,
    classes: int | None = None,
) -> InputSpec:
    """Return the input of a network.

    Args:
        run: A run, whose data set is the default.
        dataset: A data set, which is read.
        config: Options of that data set; its defaults where None.
        image: ``"CxHxW"``, channels, height and width in pixels. Without data ``3x32x32``, as in CIFAR.
        classes: Number of classes. Without data 10.

    Raises:
        ConfigError: ``image`` or ``classes`` is invalid, or was given beside a data set.
        DataError: The data set cannot be used.
        RunDirectoryError: The run's data cannot be read.
    """
    if dataset is not None:  # it takes precedence over a run
        if image is not None or classes is not None:
            raise ConfigError("a data set has images and classes of its own: give either it, or --image and --classes")
        chosen = config or dataset.config()
        return input_of(RunData(dataset.load(chosen), chosen, 0, torch.device("cpu")))
    known = _of_run(run) if run is not None else None
    if known is not None and image is None and classes is None:
        return known
    channels, height, width = _image(image) if image is not None else (3, 32, 32)
    if known is not None and image is None:
        channels, height, width = known.info.channels, known.info.height, known.info.width
    if classes is not None and not 2 <= classes <= MAX_CLASSES:
        raise ConfigError(f"classes: {classes} is invalid: expected 2 to {MAX_CLASSES}")
    names = known.info.classes if known is not None and classes is None else tuple(map(str, range(classes or 10)))
    return InputSpec(info=DataInfo(channels=channels, height=height, width=width, classes=names))


def input_of(data: RunData) -> InputSpec:
    """Return the input of a network that is trained on some data."""
    return parse(InputSpec, {"info": data.info, "mean": data.mean, "std": data.std}, "")


def _of_run(run: RunDirectory) -> InputSpec | None:
    """Return the input of a run's network; None for a run that loaded no data."""
    data = run.read_json(files.DATA)
    if data == {"fingerprint": None}:
        return None
    try:
        info = {name: data[name] for name in DataInfo.model_fields}
        return parse(InputSpec, {"info": info, "mean": data.get("mean"), "std": data.get("std")}, "")
    except (ConfigError, KeyError, TypeError, AttributeError) as error:
        raise RunDirectoryError(f"{run.path / files.DATA} does not describe images and classes") from error


def _image(text: str) -> tuple[int, int, int]:
    found = re.fullmatch(r"(\d{1,4})x(\d{1,4})x(\d{1,4})", text, re.ASCII)
    if not found or not all(1 <= int(part) <= MAX_SIDE for part in found.groups()):
        raise ConfigError(
            f"image: {text[:80]!r} is invalid: expected CHANNELSxHEIGHTxWIDTH, such as 3x32x32,"
            f" each from 1 to {MAX_SIDE}"
        )
    channels, height, width = map(int, found.groups())
    return channels, height, width
