"""From what a user says (names, a config file, Python arguments, ``--set``) to a RunSpec in which nothing is left open.

The layers, weakest first: defaults of the config classes, preset, config file, Python arguments, ``--set``. Where two
give the same option the stronger wins. Options of a space or data set belong to the one that the same layer names:
where a stronger layer names another one, they do not apply. Imports no torch, except what a user's own space imports.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from nasreg.data.config import DatasetConfig
from nasreg.errors import ConfigError, PluginError, SpaceError, UnknownNameError, did_you_mean
from nasreg.own_space import SpaceComponent, own_space
from nasreg.registry import Registry
from nasreg.specs.algorithm import AlgorithmSpec, Preset
from nasreg.specs.base import Config, parse
from nasreg.specs.run import RunSpec, load_yaml, read_yaml

DEFAULT_DATASET = "digits"
OBJECT = "python:"
"""Prefix of the name of a space or data set that was given as a Python object, and cannot be found by name."""

_SELECTIONS = ("space", "dataset")
_SECTIONS = (*_SELECTIONS, "mutator", "trainer")


class RunConfigs(NamedTuple):
    """The validated options of a run."""

    mutator: Config
    trainer: Config
    dataset: DatasetConfig


class _Layer(NamedTuple):
    source: str
    values: dict[str, Any]
    """As a RunSpec, any part missing; the sections are mappings."""


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
    layers = [_config_layer(config), _layer("the arguments", {**arguments, **plain}), _settings_layer(settings)]
    for layer in layers:
        if layer.values.get("algorithm", algorithm) != algorithm:
            raise ConfigError(f"{layer.source} is for algorithm {layer.values['algorithm']!r}, not for {algorithm!r}")

    space_name = space_object or _chosen(layers, "space", spec.default_space)
    dataset_name = dataset_object or _chosen(layers, "dataset", DEFAULT_DATASET)
    space_class = Config if space_object else space_component(registry, space_name).config
    preset_name = _last(layers, "preset")
    if preset_name is None and not dataset_object:
        preferred = registry.dataset(dataset_name).default_preset
        preset_name = preferred if preferred in spec.presets else None
    if preset_name is None:
        preset_name = spec.default_preset
    layers.insert(0, _preset_layer(spec, preset_name, space_name))

    classes: dict[str, type[Config]] = {
        "space": space_class,
        "dataset": _dataset_config(registry, dataset_name),
        "mutator": spec.mutator.load_config(),
        "trainer": spec.trainer.load_config(),
    }
    chosen = {"space": space_name, "dataset": dataset_name}
    resolved: dict[str, Any] = {"algorithm": algorithm, "preset": preset_name}
    for section, model in classes.items():
        values, sources = _merge(layers, section, chosen.get(section))
        options = parse(model, values, section, sources).model_dump(mode="json")
        resolved[section] = {"name": chosen[section], **options} if section in chosen else options
    top = {
        key: (layer.values[key], layer.source)
        for layer in layers
        for key in ("format", "seed", "device")
        if key in layer.values
    }
    resolved |= {key: value for key, (value, _) in top.items()}
    return parse(RunSpec, resolved, "", {key: source for key, (_, source) in top.items()})


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
    layers = [_layer("the arguments", {"space": space, "dataset": dataset}), _settings_layer(settings)]
    for key in layers[1].values:
        if key not in _SELECTIONS:
            raise ConfigError(f"--set {key} means nothing here: only options of space and dataset do")
    space, dataset = _chosen(layers, "space", "") or None, _chosen(layers, "dataset", "") or None
    space_options, _ = _merge(layers, "space", space)
    options, sources = _merge(layers, "dataset", dataset)
    if dataset is None:
        if options:
            raise ConfigError(f"--set dataset.{next(iter(options))} needs a data set: name one with --dataset")
        return Parts(space, space_options, None, None)
    return Parts(space, space_options, dataset, parse(_dataset_config(registry, dataset), options, "dataset", sources))


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
        parse(_dataset_config(registry, spec.dataset.name), spec.dataset.options, "dataset"),
    )


def _dataset_config(registry: Registry, name: str) -> type[DatasetConfig]:
    if name.startswith(OBJECT):
        return DatasetConfig
    config = registry.dataset(name).component.load_config()
    if not issubclass(config, DatasetConfig):
        raise PluginError(f"data set {name!r}: its options {config.__name__} are no nasreg.data.DatasetConfig")
    return config


def _config_layer(config: Mapping[str, Any] | str | Path | None) -> _Layer:
    if config is None or isinstance(config, Mapping):
        return _layer("config", config or {})
    if not isinstance(config, str | Path):
        raise ConfigError(f"config: {config!r} is not right: expected a YAML file, or what one holds")
    try:
        text = Path(config).read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise ConfigError(f"cannot read config file {config}: {error}") from error
    return _layer(str(config), load_yaml(text, str(config)))


def _layer(source: str, given: Mapping[str, Any]) -> _Layer:
    """Check the shape of a layer; what is None was not said."""
    values: dict[str, Any] = {}
    for key, value in given.items():
        if key not in RunSpec.model_fields:
            hint = did_you_mean(str(key), RunSpec.model_fields)
            raise ConfigError(f"there is no option {key!r} (from {source}).{hint}")
        if value is None:
            continue
        section = _selection(source, value) if key in _SELECTIONS and isinstance(value, str) else value
        if key in _SECTIONS:
            if not isinstance(section, Mapping) or not all(isinstance(name, str) for name in section):
                raise ConfigError(
                    f"{key}: {value!r} is not right (from {source}): expected options by name, such as {key}.X"
                )
            section = dict(section)
            if key in _SELECTIONS and isinstance(section.get("name"), str):
                section |= _selection(source, section["name"])
            elif key in _SELECTIONS and section.pop("name", None) is not None:
                raise ConfigError(f"{key}.name: {value['name']!r} is not right (from {source}): expected a name")
        elif key in ("algorithm", "preset") and not isinstance(value, str):
            raise ConfigError(f"{key}: {value!r} is not right (from {source}): expected a name")
        values[key] = section
    return _Layer(source, values)


def _selection(source: str, name: str) -> dict[str, Any]:
    """Read the short form of a selection: a name, or ``folder:PATH``."""
    if not name.startswith("folder:"):
        return {"name": name}
    path = name.removeprefix("folder:")
    if not path:
        raise ConfigError(f"{name!r} is not right (from {source}): expected folder:PATH")
    try:
        absolute = Path(path).expanduser().absolute()  # a run is resumed from anywhere
    except RuntimeError as error:  # there is no such user, for a path that begins with ~USER
        raise ConfigError(f"{name!r} is not right (from {source}): {error}") from error
    return {"name": "folder", "path": str(absolute)}


def _settings_layer(settings: Sequence[str]) -> _Layer:
    values: dict[str, Any] = {}
    for setting in settings:
        path, equals, text = setting.partition("=")
        keys = path.strip().split(".")
        if not equals or not all(keys):
            raise ConfigError(f"--set {setting!r} is not right: expected KEY=VALUE, such as trainer.epochs=50")
        value = read_yaml(text, f"the value of --set {path}")
        for key in reversed(keys[1:]):
            value = {key: value}
        here = values.get(keys[0])
        if isinstance(here, str):  # space=darts, then space.cells=5
            here = {"name": here}
        if isinstance(value, str) and isinstance(here, Mapping):
            value = {"name": value}
        values[keys[0]] = _merged(here, value)
    return _layer("--set", values)


def _preset_layer(spec: AlgorithmSpec, name: str, space: str) -> _Layer:
    if name not in spec.presets:
        raise UnknownNameError(f"algorithm {spec.name!r} has no preset {name!r}.{did_you_mean(name, spec.presets)}")
    preset: Preset = spec.presets[name]
    parts = {"mutator": preset.mutator, "trainer": preset.trainer, "dataset": preset.dataset, "seed": preset.seed}
    return _layer(f"preset {name!r}", {**parts, "space": preset.spaces.get(space)})


def _last(layers: Sequence[_Layer], key: str) -> Any:
    return next((layer.values[key] for layer in reversed(layers) if key in layer.values), None)


def _chosen(layers: Sequence[_Layer], section: str, default: str) -> str:
    sections = (layer.values.get(section, {}) for layer in reversed(layers))
    return next((options["name"] for options in sections if "name" in options), default)


def _merge(layers: Sequence[_Layer], section: str, chosen: str | None) -> tuple[dict[str, Any], dict[str, str]]:
    """Lay the options of a section over each other; also return where each came from."""
    values: dict[str, Any] = {}
    sources: dict[str, str] = {}
    for layer in layers:
        options = dict(layer.values.get(section, {}))
        if chosen is not None and options.pop("name", chosen) != chosen:
            continue
        values = _merged(values, options)
        sources |= dict.fromkeys(options, layer.source)
    return values, sources


def _merged(weak: Any, strong: Any) -> Any:
    if not (isinstance(weak, Mapping) and isinstance(strong, Mapping)):
        return strong
    try:
        return {**weak, **{key: _merged(weak.get(key), value) for key, value in strong.items()}}
    except RecursionError as error:  # a YAML alias can make a mapping hold itself
        raise ConfigError("options are nested too deep, or hold themselves") from error
