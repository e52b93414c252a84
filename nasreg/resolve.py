"""From what a user says (names, a config file, Python arguments, ``--set``) to a RunSpec in which nothing is left open.

The layers, weakest first: defaults of the config classes, preset, config file, Python arguments, ``--set``. Where two
give the same option the stronger wins. Options of a space or data set belong to the one that the same layer names:
where a stronger layer names another one, they do not apply. Imports no torch, except what a user's own space imports.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from nasreg.data.config import DatasetConfig
from nasreg.errors import ConfigError, PluginError, SpaceError, UnknownNameError, did_you_mean
from nasreg.layers import (
    SELECTIONS,
    Layer,
    chosen_name,
    combine,
    config_layer,
    last,
    make_layer,
    merge,
    settings_layer,
)
from nasreg.own_space import SpaceComponent, own_space
from nasreg.registry import Registry
from nasreg.specs.algorithm import AlgorithmSpec, Preset
from nasreg.specs.base import Config, parse
from nasreg.specs.run import RunSpec

DEFAULT_DATASET = "digits"
OBJECT = "python:"
"""Prefix of the name of a space or data set that was given as a Python object, and cannot be found by name."""


class RunConfigs(NamedTuple):
    """The validated options of a run."""

    mutator: Config
    trainer: Config
    dataset: DatasetConfig


def resolve_run(
    registry: Registry,
    algorithm: str,
    *,
    space: str | None = None,
    dataset: str | None = None,
    preset: str | None = None,
    config: Mapping[str, Any] | str | Path | None = None,
    settings: Sequence[str] = (),
    seed: int | None = None,
    device: str | None = None,
    mutator: Mapping[str, Any] | None = None,
    trainer: Mapping[str, Any] | None = None,
    space_options: Mapping[str, Any] | None = None,
    dataset_options: Mapping[str, Any] | None = None,
    space_object: str | None = None,
    dataset_object: str | None = None,
) -> RunSpec:
    """Resolve all that determines a run.

    Args:
        registry: Where names are looked up.
        algorithm: Name of the algorithm.
        space: Name of a registered space, or ``package.module:factory``; the algorithm's default where None.
        dataset: Name of a registered data set, or ``folder:PATH``; ``digits`` where None.
        preset: Name of a preset; by default the one the data set asks for, else the algorithm's default.
        config: A YAML file, or what one holds: a RunSpec of which any part may be missing.
        settings: ``"KEY=VALUE"``, such as ``"trainer.epochs=50"`` or ``"seed=3"``; VALUE is YAML.
        seed: Seed of everything random.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:N`` or ``mps``.
        mutator: Options of the mutator.
        trainer: Options of the trainer.
        space_options: Options of the space.
        dataset_options: Options of the data set.
        space_object: ``python:`` and a label, where the space is an object and not found by name; it has no options.
        dataset_object: The same for a data set; its options are those of ``nasreg.data.DatasetConfig``.

    Returns:
        A RunSpec with every option present, as its validated, JSON-able value.

    Raises:
        UnknownNameError: There is no such algorithm, space, data set or preset.
        ConfigError: An option does not exist or cannot take its value; says which and where it came from.
        SpaceError: ``package.module:factory`` cannot be used.
        PluginError: The plugin's config class cannot be loaded.
    """
    spec = registry.algorithm(algorithm)
    arguments = {
        "space": {"name": space, **(space_options or {})},
        "dataset": {"name": dataset, **(dataset_options or {})},
    }
    plain = {"preset": preset, "seed": seed, "device": device, "mutator": mutator, "trainer": trainer}
    layers = [config_layer(config), make_layer("the arguments", {**arguments, **plain}), settings_layer(settings)]
    for layer in layers:
        if layer.values.get("algorithm", algorithm) != algorithm:
            raise ConfigError(f"{layer.source} is for algorithm {layer.values['algorithm']!r}, not for {algorithm!r}")

    space_name = space_object or chosen_name(layers, "space", spec.default_space)
    dataset_name = dataset_object or chosen_name(layers, "dataset", DEFAULT_DATASET)
    space_class = Config if space_object else space_component(registry, space_name).config
    preset_name = last(layers, "preset")
    if preset_name is None and not dataset_object:
        preferred = registry.dataset(dataset_name).default_preset
        preset_name = preferred if preferred in spec.presets else None
    if preset_name is None:
        preset_name = spec.default_preset
    layers.insert(0, _preset_layer(spec, preset_name, space_name))

    classes: dict[str, type[Config]] = {
        "space": space_class,
        "dataset": dataset_config(registry, dataset_name),
        "mutator": spec.mutator.load_config(),
        "trainer": spec.trainer.load_config(),
    }
    chosen = {"space": space_name, "dataset": dataset_name}
    return combine(RunSpec, layers, classes, chosen, {"algorithm": algorithm, "preset": preset_name})


class Parts(NamedTuple):
    """A space and a data set as a user named them, for work that has no algorithm."""

    space: str | None
    space_options: dict[str, Any]
    """As given: whoever builds the space checks them."""
    dataset: str | None
    dataset_config: DatasetConfig | None
    """Checked; None where no data set was named."""


def resolve_parts(
    registry: Registry, *, space: str | None = None, dataset: str | None = None, settings: Sequence[str] = ()
) -> Parts:
    """Resolve a space and a data set, of which either may be missing.

    Args:
        registry: Where names are looked up.
        space: Name of a registered space, or ``package.module:factory``.
        dataset: Name of a registered data set, or ``folder:PATH``.
        settings: ``"KEY=VALUE"``, such as ``"space.cells=20"``; VALUE is YAML.

    Raises:
        UnknownNameError: There is no such data set.
        ConfigError: An option of something else than a space or data set, of a data set that was not named, or one that
            cannot take its value.
        PluginError: The plugin's config class cannot be loaded.
    """
    layers = [make_layer("the arguments", {"space": space, "dataset": dataset}), settings_layer(settings)]
    for key in layers[1].values:
        if key not in SELECTIONS:
            raise ConfigError(f"--set {key} means nothing here: only options of space and dataset do")
    space, dataset = chosen_name(layers, "space", "") or None, chosen_name(layers, "dataset", "") or None
    space_options, _ = merge(layers, "space", space)
    options, sources = merge(layers, "dataset", dataset)
    if dataset is None:
        if options:
            raise ConfigError(f"--set dataset.{next(iter(options))} needs a data set: name one with --dataset")
        return Parts(space, space_options, None, None)
    return Parts(space, space_options, dataset, parse(dataset_config(registry, dataset), options, "dataset", sources))


def space_component(registry: Registry, name: str) -> SpaceComponent:
    """Return how to build a space, registered or a user's own, and the class of its options.

    Args:
        registry: Where the name is looked up.
        name: Name of a registered space, or ``package.module:factory``, called as ``factory(info, **options)``; the
            current directory is importable.

    Raises:
        UnknownNameError: There is no such space.
        SpaceError: The user's factory cannot be imported, its parameters cannot be options, or the space was an object.
        PluginError: The plugin's config class cannot be loaded.
    """
    if name.startswith(OBJECT):
        raise SpaceError(f"space {name!r} was given as a Python object: give the same object again")
    if ":" in name:
        return own_space(name)
    component = registry.space(name).component
    config = component.load_config()

    def build(info: Any, options: Mapping[str, Any]) -> Any:
        return component.load_factory()(info, parse(config, options, "space"))

    return SpaceComponent(build, config)


def configs(registry: Registry, spec: RunSpec) -> RunConfigs:
    """Return the options of the mutator, the trainer and the data set of a resolved run as config objects.

    Raises:
        UnknownNameError: The algorithm or the data set is not installed here.
        ConfigError: An option does not exist or cannot take its value.
    """
    algorithm = registry.algorithm(spec.algorithm)
    return RunConfigs(
        parse(algorithm.mutator.load_config(), spec.mutator, "mutator"),
        parse(algorithm.trainer.load_config(), spec.trainer, "trainer"),
        parse(dataset_config(registry, spec.dataset.name), spec.dataset.options, "dataset"),
    )


def dataset_config(registry: Registry, name: str) -> type[DatasetConfig]:
    """Return the class of a data set's options; that of one given as an object is ``DatasetConfig``.

    Raises:
        UnknownNameError: There is no such data set.
        PluginError: Its class cannot be loaded, or is no ``DatasetConfig``.
    """
    if name.startswith(OBJECT):
        return DatasetConfig
    config = registry.dataset(name).component.load_config()
    if not issubclass(config, DatasetConfig):
        raise PluginError(f"data set {name!r}: its options {config.__name__} are no nasreg.data.DatasetConfig")
    return config


def _preset_layer(spec: AlgorithmSpec, name: str, space: str) -> Layer:
    if name not in spec.presets:
        raise UnknownNameError(f"algorithm {spec.name!r} has no preset {name!r}.{did_you_mean(name, spec.presets)}")
    return preset_layer(name, spec.presets[name], space)


def preset_layer(name: str, preset: Preset, space: str, known: Collection[str] = tuple(RunSpec.model_fields)) -> Layer:
    """Return what a preset says, where the space is that one."""
    parts = {"mutator": preset.mutator, "trainer": preset.trainer, "dataset": preset.dataset, "seed": preset.seed}
    given = {**parts, "space": preset.spaces.get(space)}
    return make_layer(f"preset {name!r}", {key: value for key, value in given.items() if key in known}, known)
