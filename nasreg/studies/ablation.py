"""Ablations: an algorithm as it is, and with one option off or changed at a time. Imports no torch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from nasreg.config.request import RunRequest
from nasreg.config.resolve import resolve
from nasreg.errors import ConfigError, did_you_mean
from nasreg.registry import Registry
from nasreg.specs.formatting import option_text
from nasreg.specs.references import reference_title
from nasreg.specs.run import read_yaml
from nasreg.specs.study import StudyAlgorithm

SECTIONS = ("mutator", "trainer")


def ablations(
    registry: Registry,
    algorithm: str,
    changes: Sequence[str],
    *,
    preset: str | None = None,
    space: str | None = None,
    dataset: str | None = None,
) -> tuple[StudyAlgorithm, ...]:
    """Return an algorithm, and its variants with one change each.

    Args:
        registry: Where names are looked up.
        algorithm: Name of the algorithm.
        changes: ``KEY=VALUE`` or ``KEY=[A, B]`` of an option of mutator or trainer, such as ``mutator.sample=[2, 5]``;
            ``KEY,KEY`` turns options off that are on, and on that are off.
        preset: The preset that all start from; by default that of space or data set, else the algorithm's own.
        space: Name of the space; by default the algorithm's own.
        dataset: Name of the data set; by default digits.

    Raises:
        UnknownNameError: There is no such algorithm.
        ConfigError: There is no such option, or it is no switch and has no value.
    """
    spec = registry.algorithm(algorithm)
    configs = {"mutator": spec.mutator.load_config(), "trainer": spec.trainer.load_config()}
    title = reference_title(algorithm)
    request = RunRequest(algorithm=algorithm, preset=preset, space=space, dataset=dataset)
    before = resolve(registry, request).spec.model_dump(mode="json")
    found = [StudyAlgorithm(algorithm=algorithm, label=title, preset=preset)]
    each_change = [one for text in changes for one in ([text] if "=" in text else text.split(","))]
    for change in each_change:
        key, equals, text = change.partition("=")
        section, _, name = key.strip().partition(".")
        config = configs.get(section)
        if config is None or name not in config.model_fields:
            known = [f"{each}.{option}" for each, options in configs.items() for option in options.model_fields]
            raise ConfigError(f"algorithm {title!r} has no option {key.strip()!r}.{did_you_mean(key.strip(), known)}")
        values: list[Any]
        if equals:
            value = read_yaml(text, f"the value of {key}")
            values = value if isinstance(value, list) else [value]
        else:
            values = [not _switch(before[section].get(name), key)]
        for value in values:
            label = f"{name}={option_text(value)}"
            found.append(
                StudyAlgorithm.model_validate(
                    {"algorithm": algorithm, "label": label, "preset": preset, section: {name: value}}
                )
            )
    labels = [each.label for each in found]
    twice = next((label for label in labels if labels.count(label) > 1), None)
    if twice is not None:
        raise ConfigError(f"the change {twice} is given twice: give it once")
    return tuple(found)


def _switch(value: Any, key: str) -> bool:
    """Return whether an option that is on or off is on."""
    if not isinstance(value, bool):
        raise ConfigError(f"{key} is {option_text(value)}, which cannot be turned off: give a value, as in {key}=VALUE")
    return value
