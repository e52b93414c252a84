"""From what a user says to a RetrainSpec in which nothing is left open. Imports no torch, unless an own space does.

The layers, weakest first: defaults, the options that the architecture was searched with, preset, config file, Python
arguments, ``--set``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from nasreg.errors import ConfigError, UnknownNameError, did_you_mean
from nasreg.layers import chosen_name, combine, config_layer, last, make_layer, settings_layer
from nasreg.registry import Registry
from nasreg.resolve import DEFAULT_DATASET, OBJECT, dataset_config, preset_layer, space_component
from nasreg.retraining.config import DEFAULT_PRESET, PRESETS, RetrainConfig
from nasreg.specs.architecture import Architecture
from nasreg.specs.base import Config
from nasreg.specs.retrain import RetrainSpec

_KNOWN = tuple(RetrainSpec.model_fields)


def resolve_retrain(
    registry: Registry,
    source: str,
    architecture: Architecture,
    space: str,
    searched_with: Mapping[str, Any],
    *,
    dataset: str | None = None,
    preset: str | None = None,
    config: Mapping[str, Any] | str | Path | None = None,
    settings: Sequence[str] = (),
    seed: int | None = None,
    device: str | None = None,
    trainer: Mapping[str, Any] | None = None,
    space_options: Mapping[str, Any] | None = None,
    dataset_options: Mapping[str, Any] | None = None,
    dataset_object: str | None = None,
) -> RetrainSpec:
    """Resolve all that determines a retraining.

    Args:
        registry: Where names are looked up.
        source: Where the architecture is from, in a few words.
        architecture: What to train.
        space: Name of its space; one that begins with ``python:`` has no options.
        searched_with: Options of the space that it was searched with.
        dataset: Name of a registered data set, or ``folder:PATH``; ``digits`` where None.
        preset: Name of a recipe; by default the one the data set asks for, else ``cifar``.
        config: A YAML file, or what one holds: a RetrainSpec of which any part may be missing.
        settings: ``"KEY=VALUE"``, such as ``"trainer.epochs=50"`` or ``"space.channels=36"``.
        seed: Seed of everything random.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:N`` or ``mps``.
        trainer: Options of the training.
        space_options: Options of the space.
        dataset_options: Options of the data set.
        dataset_object: ``python:`` and a label, where the data set is an object.

    Raises:
        UnknownNameError: There is no such space, data set or preset.
        ConfigError: An option does not exist or cannot take its value; says which and where it came from.
    """
    given = {
        "preset": preset,
        "seed": seed,
        "device": device,
        "trainer": trainer,
        "space": {**(space_options or {})},
        "dataset": {"name": dataset, **(dataset_options or {})},
    }
    layers = [
        config_layer(config, _KNOWN),
        make_layer("the arguments", given, _KNOWN),
        settings_layer(settings, _KNOWN),
    ]
    for layer in layers:
        other = layer.values.get("architecture", architecture.model_dump(mode="json"))
        if other != architecture.model_dump(mode="json"):
            raise ConfigError(f"{layer.source} is for another architecture than {source}")
    if chosen_name(layers, "space", space) != space:
        raise ConfigError(f"the architecture is of the search space {space!r}: space.name cannot be another")
    dataset_name = dataset_object or chosen_name(layers, "dataset", DEFAULT_DATASET)
    preset_name = last(layers, "preset")
    if preset_name is None:
        preferred = None if dataset_object else registry.dataset(dataset_name).default_preset
        preset_name = preferred if preferred in PRESETS else DEFAULT_PRESET
    if preset_name not in PRESETS:
        raise UnknownNameError(f"retrain has no preset {preset_name!r}.{did_you_mean(preset_name, PRESETS)}")
    layers = [
        make_layer(source, {"space": searched_with}, _KNOWN),
        preset_layer(preset_name, PRESETS[preset_name], space, _KNOWN),
        *layers,
    ]
    classes: dict[str, type[Config]] = {
        "space": Config if space.startswith(OBJECT) else space_component(registry, space).config,
        "dataset": dataset_config(registry, dataset_name),
        "trainer": RetrainConfig,
    }
    known = {"source": source, "architecture": architecture.model_dump(mode="json"), "preset": preset_name}
    return combine(RetrainSpec, layers, classes, {"space": space, "dataset": dataset_name}, known)
