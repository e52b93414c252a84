"""Options in layers: defaults, preset, config file, arguments, ``--set``; the stronger layer wins.

This module knows the names of the sections of a spec (``space``, ``dataset``, ``evaluator``, ``executor``,
``mutator``, ``trainer``), not their meaning. Imports no torch.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from nasreg.errors import ConfigError, did_you_mean
from nasreg.specs.run import load_yaml, read_yaml

SELECTIONS = ("space", "dataset", "evaluator", "executor")
_SECTIONS = (*SELECTIONS, "mutator", "trainer")


class Layer(NamedTuple):
    """The options of one source."""

    source: str
    values: dict[str, Any]
    """In the form of a spec, any part missing; the sections are mappings."""


def config_layer(
    config: Mapping[str, Any] | str | Path | None,
    known: Collection[str],
    suggest: Callable[[str], str] | None = None,
) -> Layer:
    """Return the layer of a config file, given as a path or as its content; see ``make_layer``.

    Raises:
        ConfigError: It cannot be read, or has an unknown option.
    """
    if config is None or isinstance(config, Mapping):
        return make_layer("config", config or {}, known, suggest)
    if not isinstance(config, str | Path):
        raise ConfigError(f"config: {config!r} is invalid: expected the path of a YAML file, or its content")
    try:
        text = Path(config).read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise ConfigError(f"cannot read config file {config}: {reason}") from error
    return make_layer(str(config), load_yaml(text, str(config)), known, suggest)


def make_layer(
    source: str, given: Mapping[str, Any], known: Collection[str], suggest: Callable[[str], str] | None = None
) -> Layer:
    """Return a layer after checking its form; a value of None counts as not given.

    Args:
        source: Where the options come from, for errors.
        given: Options by section.
        known: Names of the sections and of the other options.
        suggest: Returns, for an unknown name, the full name of the option that is meant, or an empty text.

    Raises:
        ConfigError: An option is unknown, or a section is no mapping.
    """
    values: dict[str, Any] = {}
    for key, value in given.items():
        if key not in known:
            meant = suggest(str(key)) if suggest else ""
            hint = f" Did you mean {meant!r}?" if meant else did_you_mean(str(key), known)
            raise ConfigError(f"there is no option {key!r} (from {source}).{hint}")
        if value is None:
            continue
        section = _selection(source, value) if key in SELECTIONS and isinstance(value, str) else value
        if key in _SECTIONS:
            if not isinstance(section, Mapping) or not all(isinstance(name, str) for name in section):
                raise ConfigError(
                    f"{key}: {value!r} is invalid (from {source}): expected options by name, such as {key}.X"
                )
            section = dict(section)
            if key in SELECTIONS and isinstance(section.get("name"), str):
                section |= _selection(source, section["name"])
            elif key in SELECTIONS and section.pop("name", None) is not None:
                raise ConfigError(f"{key}.name: {value['name']!r} is invalid (from {source}): expected a name")
        elif key in ("algorithm", "preset", "recipe") and not isinstance(value, str):
            raise ConfigError(f"{key}: {value!r} is invalid (from {source}): expected a name")
        values[key] = section
    return Layer(source, values)


def _selection(source: str, name: str) -> dict[str, Any]:
    """Read the short form of a selection: a name, or ``folder:PATH``."""
    if not name.startswith("folder:"):
        return {"name": name}
    path = name.removeprefix("folder:")
    if not path:
        raise ConfigError(f"{name!r} is invalid (from {source}): expected folder:PATH")
    try:
        absolute = Path(path).expanduser().absolute()  # a run is resumed from anywhere
    except RuntimeError as error:  # there is no such user, for a path that begins with ~USER
        raise ConfigError(f"{name!r} is invalid (from {source}): {error}") from error
    return {"name": "folder", "path": str(absolute)}


def settings_layer(
    settings: Sequence[str], known: Collection[str], suggest: Callable[[str], str] | None = None
) -> Layer:
    """Return the layer of the values of ``--set``; see ``make_layer``.

    Raises:
        ConfigError: One is not KEY=VALUE, its option is unknown, or it is set twice.
    """
    values: dict[str, Any] = {}
    seen: set[tuple[str, ...]] = set()
    for setting in settings:
        path, equals, text = setting.partition("=")
        keys = path.strip().split(".")
        if not equals or not all(keys):
            raise ConfigError(f"--set {setting!r} is invalid: expected KEY=VALUE, such as trainer.epochs=50")
        if not text.strip():
            raise ConfigError(f"--set {setting} has no value: give one, such as null, or leave it out")
        value = read_yaml(text, f"the value of --set {path}")
        options = _options(tuple(keys), value)
        for key in reversed(keys[1:]):
            value = {key: value}
        here = values.get(keys[0])
        if isinstance(here, str):  # space=darts, then space.cells=5
            here = {"name": here}
        if isinstance(value, str) and isinstance(here, Mapping):
            value = {"name": value}
        values[keys[0]] = _merged(here, value)
        for option in options:
            if option in seen:
                raise ConfigError(f"--set {'.'.join(option)} is given twice: give it once")
            seen.add(option)
    return make_layer("--set", values, known, suggest)


def _options(keys: tuple[str, ...], value: Any) -> list[tuple[str, ...]]:
    """Return the options that a setting sets: one, or those of a section that is given as a mapping."""
    if len(keys) == 1 and keys[0] in _SECTIONS and isinstance(value, Mapping):
        return [(*keys, str(name)) for name in value]
    return [(*keys, "name") if len(keys) == 1 and keys[0] in SELECTIONS else keys]


def last(layers: Sequence[Layer], key: str) -> Any:
    """Return the value of a key in the strongest layer that has it, or None."""
    return next((layer.values[key] for layer in reversed(layers) if key in layer.values), None)


def chosen_name(layers: Sequence[Layer], section: str, default: str) -> str:
    """Return the name of the space, data set, evaluator or executor that the strongest layer chooses."""
    sections = (layer.values.get(section, {}) for layer in reversed(layers))
    return next((options["name"] for options in sections if "name" in options), default)


def merge(
    layers: Sequence[Layer], section: str, is_chosen: Callable[[str], bool]
) -> tuple[dict[str, Any], dict[str, str]]:
    """Merge the options of a section; also return the source of each.

    Args:
        layers: The weakest first.
        section: Name of the section.
        is_chosen: Whether a name that a layer gives for a space or data set is that of the chosen one; the options of
            another one do not apply.
    """
    values: dict[str, Any] = {}
    sources: dict[str, str] = {}
    for layer in layers:
        options = dict(layer.values.get(section, {}))
        if section in SELECTIONS and not is_chosen(options.pop("name", "")):
            continue
        values = _merged(values, options)
        sources |= dict.fromkeys(options, layer.source)
    return values, sources


def _merged(weak: Any, strong: Any) -> Any:
    if not (isinstance(weak, Mapping) and isinstance(strong, Mapping)):
        return strong
    try:
        return {**weak, **{key: _merged(weak.get(key), value) for key, value in strong.items()}}
    except RecursionError as error:  # a YAML alias can make a mapping contain itself
        raise ConfigError("options are nested too deeply, or contain themselves") from error


def top_level(layers: Sequence[Layer], keys: Sequence[str]) -> tuple[dict[str, Any], dict[str, str]]:
    """Return the options that belong to no section, and the source of each."""
    found = {key: (layer.values[key], layer.source) for layer in layers for key in keys if key in layer.values}
    return {key: value for key, (value, _) in found.items()}, {key: source for key, (_, source) in found.items()}
