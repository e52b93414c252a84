"""Measuring a trained network on a test set. Imports torch."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nasreg.data import DatasetConfig, LoadedDataset
from nasreg.data.parts import Part, read_test
from nasreg.device import resolve_device
from nasreg.errors import DataError, UsageError, WeightsError
from nasreg.registry import Registry, default_registry
from nasreg.resolve import OBJECT, dataset_config
from nasreg.retraining.trainer import LAST
from nasreg.saved import NetworkRecipe, load_network, read_recipe
from nasreg.session import load_dataset
from nasreg.specs import Selection
from nasreg.specs.base import parse
from nasreg.trainers.scores import Scores, score


def evaluate(
    weights: str | Path,
    data: Any = None,
    *,
    space: str | None = None,
    dataset_options: Mapping[str, Any] | None = None,
    batch_size: int = 128,
    device: str = "auto",
    registry: Registry | None = None,
) -> Scores:
    """Measure a trained network on the test set of a data set.

    Args:
        weights: A file of weights of a retraining, or its run directory, of which the last epoch counts.
        data: Name of a data set or ``folder:PATH``; a torch ``Dataset``, which is the test set itself; or a
            ``LoadedDataset``. By default that which it was trained on.
        space: ``"package.module:factory"``, where the network is of a space of your own; see ``load_network``.
        dataset_options: Options of the data set.
        batch_size: Images in a batch.
        device: Where.
        registry: Where names are looked up.

    Raises:
        WeightsError: The weights cannot be read.
        ConfigError: The network is of a space of somebody's own, which was not named.
        DataError: The images or classes are others than the network's, or there is no test set.
        NasregError: As ``retrain``.
    """
    registry, path = registry or default_registry(), Path(weights)
    if path.is_dir():
        if not (path / LAST).exists():
            raise WeightsError(f"{path} has no trained weights ({LAST}): train its network with nasreg retrain {path}")
        path = path / LAST
    recipe = read_recipe(path)
    network = load_network(path, space=space, registry=registry)
    place = resolve_device(device)
    loaded, config = _test_data(recipe, data, dataset_options or {}, registry)
    if recipe.dataset is not None:  # what nobody says is as it was in training
        options = recipe.dataset.options
        unsaid = {"image_size", "center_fraction"} & (options.keys() - config.model_fields_set)
        config = config.model_copy(update={name: options[name] for name in unsaid})
    images = read_test(loaded, config, place)
    info = recipe.data.info
    if images.shape != (info.channels, info.height, info.width):
        raise DataError(
            f"the test set has images {images.shape}, but the network is for"
            f" {(info.channels, info.height, info.width)}; set dataset.image_size={info.height}"
        )
    classes = loaded.classes or info.classes
    if tuple(classes) != info.classes or int(images.labels.max()) >= len(info.classes):
        raise DataError(
            f"the test set has other classes than the network: {', '.join(classes[:6])}... instead of"
            f" {', '.join(info.classes[:6])}..."
        )
    mean, std = recipe.data.mean, recipe.data.std
    moments = None if mean is None or std is None else (list(mean), list(std))
    part = Part("test", images, list(range(len(images))), config, 0, moments)
    return score(network.to(place), part, batch_size)


def _test_data(
    recipe: NetworkRecipe, data: Any, options: Mapping[str, Any], registry: Registry
) -> tuple[LoadedDataset, DatasetConfig]:
    if data is not None and not isinstance(data, str):
        loaded = data if isinstance(data, LoadedDataset) else LoadedDataset(data, test=lambda: data)
        return loaded, parse(dataset_config(registry, OBJECT), options, "dataset")
    if data is None:
        if recipe.dataset is None:
            raise UsageError("the weights do not say what they were trained on: name a data set")
        selection = recipe.dataset
    elif data.startswith("folder:"):
        selection = Selection.model_validate({"name": "folder", "path": data.removeprefix("folder:")})
    else:
        selection = Selection(name=data)
    if selection.name.startswith(OBJECT):
        raise UsageError(
            f"the network was trained on data from Python ({selection.name}): name a data set with --dataset"
        )
    merged = {**selection.options, **options}
    config = parse(dataset_config(registry, selection.name), merged, "dataset")
    return load_dataset(registry, selection.name, config), config
