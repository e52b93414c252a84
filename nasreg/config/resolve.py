"""From what a user asks for to a spec in which no option is left open, of a search and of a retraining.

The layers, weakest first: defaults of the config classes, options that the architecture was searched with (retraining),
preset or recipe, config file, Python arguments, ``--set``. The stronger layer wins. Options of a space or data set
belong to the one that the same layer names: where a stronger layer names another one, they do not apply. Imports no
torch, except what a user's own space imports.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, cast

from nasreg.config.forms import Form, retrain_form, search_form
from nasreg.config.layers import (
    Layer,
    chosen_name,
    config_layer,
    last,
    make_layer,
    merge,
    settings_layer,
    top_level,
)
from nasreg.config.lookup import find_dataset, find_space
from nasreg.config.request import ResolvedRun, RunRequest
from nasreg.config.sources import DatasetSource, SpaceSource
from nasreg.data.config import DatasetConfig
from nasreg.errors import ConfigError, NasregError
from nasreg.registry import Registry
from nasreg.specs.algorithm import Preset
from nasreg.specs.architecture import Architecture
from nasreg.specs.base import Config, parse
from nasreg.specs.entries import EvaluatorSpec, ExecutorEntry, RecipeEntry
from nasreg.specs.references import parse_reference
from nasreg.specs.retrain import RetrainSpec
from nasreg.specs.run import RunSpec
from nasreg.trainers.config import RetrainConfig

DEFAULT_DATASET = "digits"


def chosen_algorithm(registry: Registry, given: str | None, config: Mapping[str, Any] | str | Path | None) -> str:
    """Return the algorithm of a search: the one given, else that of a configuration, else the default one.

    Args:
        registry: Where the default is looked up.
        given: Its name, if there is one.
        config: A YAML file, or its content.

    Raises:
        ConfigError: The configuration cannot be read.
    """
    if given is not None:
        return given
    named = config_layer(config, tuple(RunSpec.model_fields)).values.get("algorithm")
    return registry.default_algorithm if named is None else str(named)


def resolve(registry: Registry, request: RunRequest) -> ResolvedRun:
    """Resolve everything that determines a run.

    Args:
        registry: Where names are looked up.
        request: What the user asks for; exactly one of ``algorithm`` and ``origin`` is given.

    Raises:
        UnknownNameError: There is no such algorithm, space, data set, preset or recipe.
        ConfigError: An option does not exist or has an invalid value; the message says which and where it came from.
        SpaceError: The user's own space cannot be used.
        PluginError: The plugin's config class cannot be loaded.
    """
    form = search_form(registry, request) if request.origin is None else retrain_form(registry, request.origin)
    layers = _layers(registry, request, form)
    asked = last(layers, form.preset_key)
    default_space = form.preset_space(str(asked)) or form.default_space
    space, is_space = _chosen_space(registry, request.space, layers, default_space)
    dataset, is_dataset = _chosen_dataset(registry, request.dataset, layers)
    preferred = dataset.default_preset
    of_space = space.entry.default_preset if asked is None and space.entry is not None else None
    if of_space not in form.presets():
        of_space = None
    own = preferred if asked is None and of_space is None and preferred in form.presets() else None
    preset_name = str((of_space or own or form.default_preset) if asked is None else asked)
    preset = form.preset(preset_name)
    evaluator, evaluator_name, is_evaluator = _chosen_evaluator(registry, layers, form, space)
    layers = [*form.weakest, _preset_layer(form, preset_name, preset, space), *layers]

    classes = {**form.classes, "space": space.config, "dataset": dataset.config}
    if evaluator is not None:
        classes["evaluator"] = evaluator.component.load_config()
    executor, executor_name, is_executor = _chosen_executor(registry, layers, form)
    if executor is not None:
        classes["executor"] = executor.component.load_config()
    chosen: dict[str, Callable[[str], bool]] = {
        "space": is_space,
        "dataset": is_dataset,
        "evaluator": is_evaluator,
        "executor": is_executor,
    }
    configs: dict[str, Config] = {}
    for section, config in classes.items():
        values, sources = merge(layers, section, chosen.get(section, bool))
        configs[section] = parse(config, values, section, sources)
    splits = {*form.splits, *(evaluator.splits_with(configs["evaluator"]) if evaluator is not None else ())}
    dataset_config = cast("DatasetConfig", configs["dataset"]).with_splits(splits, form.title)
    configs["dataset"] = dataset_config

    named = {"space": space.reference.text, "dataset": dataset.reference.text}
    if evaluator is not None:
        named |= {"evaluator": evaluator_name, "executor": executor_name}
    resolved: dict[str, Any] = {**form.fixed, form.preset_key: preset_name}
    for section, options in configs.items():
        dumped = options.model_dump(mode="json")
        resolved[section] = {"name": named[section], **dumped} if section in named else dumped
    if request.origin is not None and not isinstance(request.origin.architecture, Architecture):
        found = request.origin.architecture(configs["space"].model_dump())
        resolved["architecture"] = found.model_dump(mode="json")
        _check_fixed(layers, {"architecture": resolved["architecture"]}, form)
    top, sources = top_level(layers, ("format", "seed", "device", "task", "workers"))
    if evaluator is None and top.get("workers", 1) != 1:
        raise ConfigError(f"{form.title} has no trials: workers and executor are for multi-trial algorithms")
    spec = parse(form.spec, {**resolved, **top}, "", sources)
    mutator = configs.get("mutator")
    return ResolvedRun(
        spec,
        space,
        dataset,
        dataset_config,
        configs["trainer"],
        mutator,
        own,
        evaluator,
        configs.get("evaluator"),
        executor,
        configs.get("executor"),
        asked is None,
    )


def load_resolved(
    registry: Registry,
    spec: RunSpec | RetrainSpec,
    *,
    space: SpaceSource | None = None,
    dataset: DatasetSource | None = None,
    import_path: str | None = None,
) -> ResolvedRun:
    """Return a resolved spec, such as that of a run directory, with its sources and options.

    Args:
        registry: Where names are looked up.
        spec: The spec.
        space: The space, if the caller has it as an object.
        dataset: The data set, if the caller has it as an object.
        import_path: Directory to import the user's own space from, if it is not found otherwise.

    Raises:
        NasregError: As ``resolve``; or the space or data set was a Python object that is not given.
    """
    space = space or find_space(registry, spec.space.name, import_path)
    dataset = dataset or find_dataset(registry, spec.dataset.name)
    parse(space.config, spec.space.options, "space")
    trainer: type[Config] = RetrainConfig
    mutator: Config | None = None
    evaluator: EvaluatorSpec | None = None
    evaluator_config: Config | None = None
    executor: ExecutorEntry | None = None
    executor_config: Config | None = None
    if isinstance(spec, RunSpec):
        if spec.evaluator is not None:
            executor = registry.executor(spec.executor.name)
            executor_config = parse(executor.component.load_config(), spec.executor.options, "executor")
            evaluator = registry.evaluator(spec.evaluator.name)
            evaluator_config = parse(evaluator.component.load_config(), spec.evaluator.options, "evaluator")
        algorithm = registry.algorithm(spec.algorithm)
        trainer = algorithm.trainer.load_config()
        mutator = parse(algorithm.mutator.load_config(), spec.mutator, "mutator")
    return ResolvedRun(
        spec,
        space,
        dataset,
        parse(dataset.config, spec.dataset.options, "dataset"),
        parse(trainer, spec.trainer, "trainer"),
        mutator,
        evaluator=evaluator,
        evaluator_config=evaluator_config,
        executor=executor,
        executor_config=executor_config,
    )


def _layers(registry: Registry, request: RunRequest, form: Form) -> list[Layer]:
    sections = {name: dict(options or {}) for name, options in request.options.items()}
    for name, given in (("space", request.space), ("dataset", request.dataset)):
        if isinstance(given, str):
            sections[name] = {"name": given, **sections.get(name, {})}
    if request.evaluator is not None:
        sections["evaluator"] = {"name": request.evaluator, **sections.get("evaluator", {})}
    if request.executor is not None:
        sections["executor"] = {"name": request.executor, **sections.get("executor", {})}
    plain = {
        form.preset_key: request.preset,
        **{name: getattr(request, name) for name in ("seed", "device", "workers")},
    }
    for name in ("evaluator", "executor"):
        if not sections.get(name):
            sections.pop(name, None)
    plain = {name: value for name, value in plain.items() if value is not None or name in form.known}

    def suggest(name: str) -> str:
        """Return the option of a section that a user has named without its section."""
        found: dict[str, type[Config]] = {**form.classes, "dataset": DatasetConfig}
        with contextlib.suppress(NasregError):
            if form.default_evaluator is not None:
                wanted = request.evaluator or form.default_evaluator
                found["evaluator"] = registry.evaluator(wanted).component.load_config()
            space = request.space or form.default_space or ""
            found["space"] = (find_space(registry, space) if isinstance(space, str) else space).config
        return next((f"{section}.{name}" for section, config in found.items() if name in config.model_fields), "")

    layers = [
        config_layer(request.config, form.known, suggest),
        make_layer("the arguments", {**sections, **plain}, form.known),
        settings_layer(request.settings, form.known, suggest),
    ]
    _check_fixed(layers, form.fixed, form)
    return layers


def _check_fixed(layers: Sequence[Layer], fixed: Mapping[str, Any], form: Form) -> None:
    for layer in layers:
        for key, value in fixed.items():
            other = layer.values.get(key, value)
            if key in ("algorithm", "architecture") and other != value and not _is_short_for(other, value):
                what = f"{key} {other!r}" if isinstance(other, str) else f"another {key}"
                raise ConfigError(f"{layer.source} is for {what}, not for {form.title}")


def _is_short_for(name: Any, qualified: Any) -> bool:
    return isinstance(name, str) and isinstance(qualified, str) and parse_reference(qualified).title == name


def _chosen_space(
    registry: Registry, given: str | SpaceSource | None, layers: Sequence[Layer], default: str | None
) -> tuple[SpaceSource, Callable[[str], bool]]:
    if isinstance(given, SpaceSource):
        names = ("", given.reference.text, given.reference.title)
        other = chosen_name(layers, "space", "")
        if other not in names:
            raise ConfigError(f"the search space is {given.reference.text!r}: space.name cannot be {other!r}")
        return given, lambda name: name in names
    source = find_space(registry, chosen_name(layers, "space", default or ""))
    return source, _is_named(source.reference.text, lambda name: registry.qualified("space", name))


def _chosen_dataset(
    registry: Registry, given: str | DatasetSource | None, layers: Sequence[Layer]
) -> tuple[DatasetSource, Callable[[str], bool]]:
    if isinstance(given, DatasetSource):
        return given, lambda name: name in ("", given.reference.text)
    source = find_dataset(registry, chosen_name(layers, "dataset", DEFAULT_DATASET))
    return source, _is_named(source.reference.text, lambda name: registry.qualified("dataset", name))


def _chosen_evaluator(
    registry: Registry, layers: Sequence[Layer], form: Form, space: SpaceSource
) -> tuple[EvaluatorSpec | None, str, Callable[[str], bool]]:
    """Return the evaluator, its unambiguous name, and the test whether another name means it."""
    if form.default_evaluator is None:
        if any(layer.values.get("evaluator") for layer in layers):
            raise ConfigError(f"{form.title} has no trials: an evaluator is for multi-trial algorithms")
        return None, "", bool
    of_space = space.entry.evaluator if space.entry is not None and not form.names_evaluator else None
    name = chosen_name(layers, "evaluator", of_space or form.default_evaluator)
    qualified = registry.qualified("evaluator", name)
    return (
        registry.evaluator(name),
        qualified,
        _is_named(qualified, lambda each: registry.qualified("evaluator", each)),
    )


def _chosen_executor(
    registry: Registry, layers: Sequence[Layer], form: Form
) -> tuple[ExecutorEntry | None, str, Callable[[str], bool]]:
    """Return the executor, its unambiguous name, and the test whether another name means it."""
    if form.default_evaluator is None:
        given = [layer.values["executor"] for layer in layers if layer.values.get("executor")]
        if any([*each] != ["name"] or parse_reference(each["name"]).title != "serial" for each in given):
            raise ConfigError(f"{form.title} has no trials: workers and executor are for multi-trial algorithms")
        return None, "", bool
    name = chosen_name(layers, "executor", "serial" if last(layers, "workers") in (None, 1) else "processes")
    qualified = registry.qualified("executor", name)
    return (
        registry.executor(name),
        qualified,
        _is_named(qualified, lambda each: registry.qualified("executor", each)),
    )


def _is_named(chosen: str, qualified: Callable[[str], str]) -> Callable[[str], bool]:
    """Return whether a name that a layer gives, if it gives one, is that of the chosen one."""

    def check(name: str) -> bool:
        if name in ("", chosen):
            return True
        try:
            return qualified(name) == chosen
        except NasregError:  # a weaker layer names what is not installed, and a stronger one overrules it
            return False

    return check


def _preset_layer(form: Form, name: str, preset: Preset | RecipeEntry, space: SpaceSource) -> Layer:
    values = preset.model_dump(exclude={"spaces"})
    given: dict[str, Any] = {
        key: values.get(key) for key in ("mutator", "trainer", "dataset", "seed") if key in form.known
    }
    if form.default_evaluator is not None and values.get("evaluator"):
        given["evaluator"] = {"name": form.default_evaluator, **values["evaluator"]}
    own = preset.spaces.get(space.reference.text, preset.spaces.get(space.reference.title))
    return make_layer(f"{form.preset_key} {name!r}", {**given, "space": own}, form.known)


class SpaceAndDataset(NamedTuple):
    """A space and a data set as a user named them, for work that has no algorithm."""

    space: str | None
    space_options: dict[str, Any]
    """As given: whoever builds the space checks them."""
    dataset: DatasetSource | None
    dataset_config: DatasetConfig | None
    """Valid options; None where no data set was named."""


def resolve_space_and_dataset(
    registry: Registry, *, space: str | None = None, dataset: str | None = None, settings: Sequence[str] = ()
) -> SpaceAndDataset:
    """Resolve a space and a data set, of which either may be missing.

    Args:
        registry: Where names are looked up.
        space: Reference to a space.
        dataset: Reference to a data set, or ``folder:PATH``.
        settings: ``"KEY=VALUE"``, such as ``"space.cells=20"``; VALUE is YAML.

    Raises:
        UnknownNameError: There is no such data set.
        ConfigError: An option belongs to neither a space nor a data set, or to a data set that was not named, or has an
            invalid value.
        PluginError: The plugin's config class cannot be loaded.
    """
    known = ("space", "dataset")
    given = {name: {"name": text} for name, text in (("space", space), ("dataset", dataset)) if text is not None}
    layers = [make_layer("the arguments", given, known), settings_layer(settings, tuple(RunSpec.model_fields))]
    for key in layers[1].values:
        if key not in known:
            raise ConfigError(f"--set {key} has no meaning here: only options of space and dataset have one")
    space, dataset = chosen_name(layers, "space", "") or None, chosen_name(layers, "dataset", "") or None
    space_options, _ = merge(layers, "space", lambda name: name in ("", space))
    options, sources = merge(layers, "dataset", lambda name: name in ("", dataset))
    if dataset is None:
        if options:
            raise ConfigError(f"--set dataset.{next(iter(options))} needs a data set: name one with --dataset")
        return SpaceAndDataset(space, space_options, None, None)
    source = find_dataset(registry, dataset)
    return SpaceAndDataset(space, space_options, source, parse(source.config, options, "dataset", sources))
