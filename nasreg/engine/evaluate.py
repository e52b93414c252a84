"""Measuring a trained network on a test set. Imports torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from nasreg.config.lookup import dataset_from_object, find_dataset
from nasreg.config.notation import recorded_entry
from nasreg.config.sources import DatasetSource, check_network
from nasreg.data import DatasetBundle, DatasetConfig, from_torch
from nasreg.data.run_data import read_test
from nasreg.data.splits import DataSplit
from nasreg.errors import DataError, UsageError, WeightsError
from nasreg.networks.weights import NetworkManifest, load_network, read_manifest
from nasreg.registry import Registry, default_registry
from nasreg.runs import files
from nasreg.runs.directory import RunDirectory
from nasreg.specs.arguments import checked_arguments
from nasreg.specs.base import parse
from nasreg.specs.formatting import option_text
from nasreg.specs.references import ObjectRef
from nasreg.tasks import get_task
from nasreg.trainers.distributed import joined, present
from nasreg.trainers.measure import measure

_AS_IN_TRAINING = ("image_size", "center_fraction")
"""Options of the data set that the training decides, unless they are given."""


@dataclass(frozen=True)
class Evaluation:
    """Metrics of a network on a test set."""

    metrics: Mapping[str, float]
    """By name, such as ``accuracy``."""
    samples: int
    objective: str = "accuracy"
    """Name of the metric that counts for the task."""


@checked_arguments("space")
@joined()
def evaluate(
    weights: str | Path,
    data: Any = None,
    *,
    space: str | nn.Module | Callable[..., nn.Module] | None = None,
    dataset_options: Mapping[str, Any] | None = None,
    batch_size: int = 128,
    device: str | torch.device = "auto",
    registry: Registry | None = None,
) -> Evaluation:
    """Measure a trained network on the test set of a data set; of several processes (torchrun), each on some batches.

    Args:
        weights: A weight file of a retraining, or its run directory, of which the last epoch counts.
        data: Name of a data set or ``folder:PATH``; a torch ``Dataset``, which is the test set itself; a tuple
            ``(train, test)`` of those; or a ``DatasetBundle``. By default the one that the network was trained on.
        space: Reference to the space, or the class, function or model itself, if the network is of your own code; see
            ``load_network``.
        dataset_options: Options of the data set.
        batch_size: Samples in a batch.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:N`` or ``mps``.
        registry: Where names are looked up.

    Raises:
        WeightsError: The weights cannot be read.
        ConfigError: The network is of the user's own space, which has to be named.
        DataError: The images or classes differ from those of the network, or there is no test set.
        NasregError: As ``retrain``.
    """
    if batch_size < 1:
        raise UsageError(f"evaluate: batch_size={batch_size} is invalid: expected 1 or more")
    registry, path = registry or default_registry(), Path(weights)
    if path.is_dir():
        if not (path / files.LAST_WEIGHTS).exists():
            if (path / files.RUN).is_file():
                check_network(recorded_entry(RunDirectory(path).spec.space.name, registry))
            again = RunDirectory(path).command("retrain")
            raise WeightsError(f"{path} has no trained weights ({files.LAST_WEIGHTS}): train its network with {again}")
        path = path / files.LAST_WEIGHTS
    manifest = read_manifest(path)
    network = load_network(path, space=space, registry=registry)
    processes = present()
    place = processes.device(str(device))
    source, config = _test_data(manifest, data, dataset_options or {}, registry)
    if manifest.dataset is not None:
        options = manifest.dataset.options
        missing = {*_AS_IN_TRAINING} & (options.keys() - config.model_fields_set)
        config = config.model_copy(update={name: options[name] for name in missing})
    with processes.one_after_another():
        bundle = source.load(config)
    images = read_test(bundle, config, place)
    info = manifest.data.info
    if images.shape[0] != info.channels:
        convertible = {1, 3} == {images.shape[0], info.channels} and "grayscale" in source.config.model_fields
        hint = f"; set dataset.grayscale={option_text(info.channels == 1)}" if convertible else ""
        raise DataError(
            f"the test set has images with {images.shape[0]} channels, but the network takes {info.channels}{hint}"
        )
    if images.shape != (info.channels, info.height, info.width):
        raise DataError(
            f"the test set has images of {images.shape[1]}x{images.shape[2]}, but the network takes"
            f" {info.height}x{info.width}; set dataset.image_size={info.height}"
        )
    classes = tuple(bundle.classes or info.classes)
    if classes != info.classes or int(images.labels.max()) >= len(info.classes):
        raise DataError(
            f"the test set has other classes than the network: {', '.join(classes[:6])}... instead of"
            f" {', '.join(info.classes[:6])}..."
        )
    mean, std = manifest.data.mean, manifest.data.std
    moments = None if mean is None or std is None else (list(mean), list(std))
    split = DataSplit("test", images, images.usable, config, 0, moments)
    task = get_task(manifest.task)
    try:
        metrics = measure(network.to(place), split, task, batch_size, detailed=True, processes=processes)
    finally:
        split.close()
    return Evaluation(metrics, len(split), task.objective.name)


def _test_data(
    manifest: NetworkManifest, data: Any, options: Mapping[str, Any], registry: Registry
) -> tuple[DatasetSource, DatasetConfig]:
    if data is not None and not isinstance(data, str):
        bundle = data if isinstance(data, DatasetBundle | tuple) else from_torch(data, data)
        source = dataset_from_object(bundle)
        return source, parse(source.config, options, "dataset")
    given: Mapping[str, Any] = {}
    if data is None:
        if manifest.dataset is None:
            raise UsageError("the weights do not say what they were trained on: name a data set")
        if isinstance(manifest.dataset.reference, ObjectRef):
            raise UsageError(
                f"the network was trained on data from Python ({manifest.dataset.title}): name a data set"
                " with --dataset"
            )
        name, given = manifest.dataset.name, manifest.dataset.options
    elif data.startswith("folder:"):
        name, given = "folder", {"path": data.removeprefix("folder:")}
    else:
        name = data
    source = find_dataset(registry, name)
    return source, parse(source.config, {**given, **options}, "dataset")
