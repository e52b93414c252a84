"""Options in layers: defaults, preset, config file, arguments, ``--set``; where two give one option the stronger wins.

What is here knows the sections of a spec (``space``, ``dataset``, ``mutator``, ``trainer``) and not what they are for.
Imports no torch.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from nasreg.errors import ConfigError, did_you_mean
from nasreg.specs.base import Config, Spec, parse
from nasreg.specs.run import RunSpec, load_yaml, read_yaml

C = TypeVar("C", bound=Spec)

SELECTIONS = ("space", "dataset")
_SECTIONS = (*SELECTIONS, "mutator", "trainer")


class Layer(NamedTuple):
    """What one source of options says."""

    source: str
    values: dict[str, Any]
    """As a RunSpec, any part missing; the sections are mappings."""


_RUN = tuple(RunSpec.model_fields)


def config_layer(config: Mapping[str, Any] | str | Path | None, known: Collection[str] = _RUN) -> Layer:
    """Read a config file, or take what one holds.

    Raises:
        ConfigError: It cannot be read, or has what is no option.
    """
    if config is None or isinstance(config, Mapping):
        return make_layer("config", config or {}, known)
    if not isinstance(config, str | Path):
        raise ConfigError(f"config: {config!r} is not right: expected a YAML file, or what one holds")
    try:
        text = Path(config).read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise ConfigError(f"cannot read config file {config}: {error}") from error
    return make_layer(str(config), load_yaml(text, str(config)), known)


def make_layer(source: str, given: Mapping[str, Any], known: Collection[str] = _RUN) -> Layer:
    """Check the shape of a layer; what is None was not said.

    Args:
        source: Who says it, for errors.
        given: Options by section.
        known: Names of the sections and other options that there are.

    Raises:
        ConfigError: There is no such option, or a section is none.
    """
    values: dict[str, Any] = {}
    for key, value in given.items():
        if key not in known:
            hint = did_you_mean(str(key), known)
            raise ConfigError(f"there is no option {key!r} (from {source}).{hint}")
        if value is None:
            continue
        section = _selection(source, value) if key in SELECTIONS and isinstance(value, str) else value
        if key in _SECTIONS:
            if not isinstance(section, Mapping) or not all(isinstance(name, str) for name in section):
                raise ConfigError(
                    f"{key}: {value!r} is not right (from {source}): expected options by name, such as {key}.X"
                )
            section = dict(section)
            if key in SELECTIONS and isinstance(section.get("name"), str):
                section |= _selection(source, section["name"])
            elif key in SELECTIONS and section.pop("name", None) is not None:
                raise ConfigError(f"{key}.name: {value['name']!r} is not right (from {source}): expected a name")
        elif key in ("algorithm", "preset") and not isinstance(value, str):
            raise ConfigError(f"{key}: {value!r} is not right (from {source}): expected a name")
        values[key] = section
    return Layer(source, values)


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


def settings_layer(settings: Sequence[str], known: Collection[str] = _RUN) -> Layer:
    """Read what ``--set`` was given.

    Raises:
        ConfigError: It is not KEY=VALUE, or there is no such option.
    """
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
    return make_layer("--set", values, known)


def last(layers: Sequence[Layer], key: str) -> Any:
    """Return what the strongest layer says of a key, or None."""
    return next((layer.values[key] for layer in reversed(layers) if key in layer.values), None)


def chosen_name(layers: Sequence[Layer], section: str, default: str) -> str:
    """Return the name of the space or data set that the strongest layer chooses."""
    sections = (layer.values.get(section, {}) for layer in reversed(layers))
    return next((options["name"] for options in sections if "name" in options), default)


def merge(layers: Sequence[Layer], section: str, chosen: str | None) -> tuple[dict[str, Any], dict[str, str]]:
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


def combine(
    model: type[C],
    layers: Sequence[Layer],
    classes: Mapping[str, type[Config]],
    chosen: Mapping[str, str],
    given: Mapping[str, Any],
) -> C:
    """Lay the layers over each other and validate what comes out.

    Args:
        model: The spec to make.
        layers: The weakest first.
        classes: Section -> the class of its options.
        chosen: Section -> name of the space or data set that it is about.
        given: What is known beside the layers.

    Raises:
        ConfigError: An option does not exist or cannot take its value; says which and where it came from.
    """
    resolved = dict(given)
    for section, config in classes.items():
        values, sources = merge(layers, section, chosen.get(section))
        options = parse(config, values, section, sources).model_dump(mode="json")
        resolved[section] = {"name": chosen[section], **options} if section in chosen else options
    top = {
        key: (layer.values[key], layer.source)
        for layer in layers
        for key in ("format", "seed", "device")
        if key in layer.values
    }
    resolved |= {key: value for key, (value, _) in top.items()}
    return parse(model, resolved, "", {key: source for key, (_, source) in top.items()})
