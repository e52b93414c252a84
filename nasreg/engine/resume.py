"""The changes that are allowed when a run is resumed.

An option decides the result (another value is refused), extends the run, or only says how the run is executed; its
config class declares which (``nasreg.specs.base.ResumeKind``). The data and the search space must be the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nasreg.config.layers import settings_layer
from nasreg.config.request import ResolvedRun
from nasreg.config.resolve import load_resolved
from nasreg.config.sources import DatasetSource, SpaceSource
from nasreg.data.identity import changed_data
from nasreg.errors import ArchitectureError, ConfigError, RunDirectoryError
from nasreg.registry import CORE, Registry
from nasreg.runs import files
from nasreg.runs.directory import RunDirectory
from nasreg.specs import Architecture, RetrainSpec, RunSpec, SearchSpaceSpec
from nasreg.specs.base import Config, ResumeKind, parse
from nasreg.specs.references import reference_title
from nasreg.specs.space import AnyChoiceSpec

_SECTIONS = ("trainer", "mutator", "evaluator", "dataset", "space")
_NAMED = ("evaluator", "dataset", "space")

_EXECUTION = ("device", "workers", "executor")
"""Options of no section that only say how a run is executed; all of them may move bits."""


@dataclass(frozen=True)
class Changes:
    """Options of a resumed run that differ from those it was started with."""

    run: ResolvedRun
    values: Mapping[str, tuple[Any, Any]] = field(default_factory=dict)
    """Option -> its value before and now."""
    notices: tuple[str, ...] = ()

    def apply(
        self, directory: RunDirectory, space: SearchSpaceSpec, data: Mapping[str, Any], structure: Mapping[str, str]
    ) -> None:
        """Check space and data of the run, which is locked, and record the changes in its directory.

        Raises:
            RunDirectoryError: The space or the data differ.
        """
        _check_space(directory, space)
        _check_structure(directory, structure)
        reason = changed_data(directory.read_object(files.DATA, "fingerprint"), data)
        if reason is not None:
            raise RunDirectoryError(
                f"the data set {self.run.spec.dataset.title!r} has changed since {directory.path} was started{reason}:"
                " restore the same images, or start a new run"
            )
        if self.values:
            status = directory.status
            history = [*status.get("changes", []), {name: list(pair) for name, pair in self.values.items()}]
            directory.set_status(status["state"], changes=history)
            directory.write_spec(self.run.spec)


def resumed_run(
    registry: Registry,
    directory: RunDirectory,
    settings: Sequence[str] = (),
    device: str | None = None,
    workers: int | None = None,
    *,
    space: SpaceSource | None = None,
    dataset: DatasetSource | None = None,
) -> ResolvedRun:
    """Return the run in a directory with changed options.

    Args:
        registry: Where names are looked up.
        directory: The run directory.
        settings: ``"KEY=VALUE"``, such as ``"trainer.accumulate=2"``.
        device: Another device.
        workers: Another number of workers.
        space: The space, if it was a Python object.
        dataset: The data set, if it was a Python object.

    Raises:
        ConfigError: An option does not exist or has an invalid value.
        NasregError: As ``load_resolved``.
    """
    run = load_resolved(registry, directory.spec, space=space, dataset=dataset, import_path=directory.import_path)
    return changed_run(registry, run, settings, device, workers, path=directory.path, import_path=directory.import_path)


def changed_run(
    registry: Registry,
    run: ResolvedRun,
    settings: Sequence[str],
    device: str | None,
    workers: int | None = None,
    *,
    path: Path,
    import_path: str | None = None,
) -> ResolvedRun:
    """Return a run with changed options; takes and raises as ``resumed_run``."""
    spec = run.spec
    layer = settings_layer(settings, tuple(type(spec).model_fields))
    update: dict[str, Any] = {} if device is None else {"device": device}
    if workers is not None:
        if run.evaluator is None:
            raise ConfigError(f"{path} has no trials: --workers is for multi-trial algorithms")
        update["workers"] = workers
        of_this_machine = isinstance(spec, RunSpec) and spec.executor.title in ("serial", "processes")
        if of_this_machine:  # any other does as many trials at once as it is given
            update["executor"] = {"name": f"{CORE}/{'serial' if workers == 1 else 'processes'}"}
    for key, value in layer.values.items():
        if key == "executor":
            update[key] = _changed_executor(registry, run, value, layer.source, path)
        elif key in _SECTIONS:
            before = spec.model_dump(mode="json")[key]
            if before is None:
                raise ConfigError(f"{path} has no trials: an evaluator is for multi-trial algorithms")
            config = _configs(run)[key]
            options = {name: old for name, old in before.items() if not (key in _NAMED and name == "name")}
            parsed = parse(config, {**options, **value}, key, dict.fromkeys(value, layer.source))
            named = {"name": before["name"]} if key in _NAMED else {}
            update[key] = {**named, **parsed.model_dump(mode="json")}
        else:
            update[key] = value
    if not update:
        return run
    changed = parse(type(spec), {**spec.model_dump(mode="json"), **update}, "", dict.fromkeys(update, layer.source))
    return load_resolved(registry, changed, space=run.space, dataset=run.dataset, import_path=import_path)


def _changed_executor(
    registry: Registry, run: ResolvedRun, value: Mapping[str, Any], source: str, path: Path
) -> dict[str, Any]:
    """Return the executor of a run after a change: another one, or other options of the same."""
    if run.executor is None or not isinstance(run.spec, RunSpec):
        raise ConfigError(f"{path} has no trials: an executor is for multi-trial algorithms")
    before = run.spec.executor
    name = registry.qualified("executor", value.get("name", before.name))
    kept = before.options if registry.qualified("executor", before.name) == name else {}
    given = {key: each for key, each in value.items() if key != "name"}
    config = registry.executor(name).component.load_config()
    parsed = parse(config, {**kept, **given}, "executor", dict.fromkeys(given, source))
    return {"name": name, **parsed.model_dump(mode="json")}


def check_execution_only(before: RunSpec | RetrainSpec, run: ResolvedRun, path: Path) -> None:
    """Check that only options differ that say how runs are executed.

    Args:
        before: The spec that the runs in a directory were started with.
        run: The run with changed options.
        path: The directory, for the error.

    Raises:
        RunDirectoryError: Another option differs.
    """
    values = _differences(before.model_dump(mode="json"), run.spec.model_dump(mode="json"))
    refused = [name for name in values if _kind(run, name) != "execution"]
    if refused:
        raise RunDirectoryError(_refusal(path, [_change_text(name, *values[name]) for name in refused]))


def is_complete(directory: RunDirectory, run: ResolvedRun) -> bool:
    """Return whether the run in a directory has finished, with the options of ``run`` as far as they decide its result.

    Args:
        directory: The run directory.
        run: The run that is wanted there.

    Raises:
        RunDirectoryError: The directory is no run, or an option that decides the result differs.
    """
    values = _differences(directory.written_options, run.spec.model_dump(mode="json"))
    refused, extended = [], False
    for name, (old, new) in values.items():
        kind = _kind(run, name)
        if kind == "result" or (kind == "extends" and not _is_larger(new, old)):
            refused.append(_change_text(name, old, new))
        extended = extended or kind == "extends"
    if refused:
        raise RunDirectoryError(_refusal(directory.path, refused))
    return directory.status["state"] == "done" and not extended and architecture_damage(directory) is None


def check_resumable(directory: RunDirectory, run: ResolvedRun) -> Changes:
    """Check that a run can be resumed with these options, and return what they change.

    Raises:
        RunDirectoryError: The directory is no run, the run has finished and nothing extends it, or an option that
            decides the result differs.
    """
    before, now = directory.written_options, run.spec.model_dump(mode="json")
    values = _differences(before, now)
    refused, extended, rounded = [], [], []
    for name, (old, new) in values.items():
        section, _, option = name.partition(".")
        config = _configs(run).get(section)
        kind = _kind(run, name)
        text = _change_text(name, old, new)
        if kind == "result" or (kind == "extends" and not _is_larger(new, old)):
            refused.append(text)
        elif kind == "extends":
            extended.append(text)
        elif name in _EXECUTION or (config and config.changes_bits(option)):
            rounded.append(text)
    if refused:
        edited = _differences(before, directory.spec.model_dump(mode="json"))
        why = f" {directory.path / files.RUN} was edited: undo that." if edited else ""
        raise RunDirectoryError(_refusal(directory.path, refused, why))
    notices = [f"resumed with {', '.join(rounded)}: the result may differ by rounding"] if rounded else []
    if directory.status["state"] == "done" and not extended:
        if problem := architecture_damage(directory):
            return Changes(run, values, (*notices, f"{problem}: its result is written again"))
        result = directory.path / files.ARCHITECTURE
        more = [
            f"{section}.{name}"
            for section, config in _configs(run).items()
            for name in _extending(config)
            if now[section].get(name) is not None  # what has no limit cannot be extended
        ]
        hint = f"; a larger {' or '.join(more)} extends it" if more else ""
        raise RunDirectoryError(f"{directory.path} has finished: its result is {result}{hint}")
    return Changes(run, values, tuple(notices))


def _is_larger(new: Any, old: Any) -> bool:
    """Return whether a limit is larger than it was; None is no limit."""
    return old is not None and (new is None or new > old)


def _kind(run: ResolvedRun, name: str) -> ResumeKind:
    """Return the kind of an option, by its name as a user writes it."""
    if name in _EXECUTION:
        return "execution"
    section, _, option = name.partition(".")
    config = _configs(run).get(section)
    return config.resume_kind(option.partition(".")[0]) if config else "result"


def _refusal(path: Path, changes: Sequence[str], why: str = "") -> str:
    return (
        f"{path} was started with other options, which decide its result: {', '.join(changes)}.{why} Resume it with"
        " the same ones, or start a new run"
    )


def _change_text(name: str, old: Any, new: Any) -> str:
    if name == "executor" and isinstance(old, Mapping) and isinstance(new, Mapping):
        if old["name"] == new["name"]:
            return ", ".join(_change_text(f"executor.{key}", *pair) for key, pair in _differences(old, new).items())
        old, new = reference_title(old["name"]), reference_title(new["name"])
    return f"{name}={_text(new)} (was {_text(old)})"


def architecture_damage(directory: RunDirectory) -> str | None:
    """Return what is wrong with the file of the architecture of a run, or None."""
    path = directory.path / files.ARCHITECTURE
    if not path.exists():
        return f"{path} is missing"
    try:
        directory.space.validate(Architecture.load(path))
    except ArchitectureError:
        return f"{path} is damaged"
    return None


def _configs(run: ResolvedRun) -> dict[str, type[Config]]:
    found = {"trainer": type(run.trainer_config), "dataset": type(run.dataset_config), "space": run.space.config}
    if run.evaluator is not None:
        found["evaluator"] = run.evaluator.component.load_config()
    return found | ({"mutator": type(run.mutator_config)} if run.mutator_config is not None else {})


def _extending(config: type[Config]) -> list[str]:
    return [name for name in config.model_fields if config.resume_kind(name) == "extends"]


def _differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Return the options that differ, by their name as a user writes it, with both values."""
    found: dict[str, tuple[Any, Any]] = {}
    for key in sorted({*before, *now}):
        old, new = before.get(key), now.get(key)
        if key in _SECTIONS and isinstance(old, Mapping) and isinstance(new, Mapping):
            for name in sorted({*old, *new}):
                if old.get(name) != new.get(name):
                    found[f"{key}.{name}"] = (old.get(name), new.get(name))
        elif old != new:
            found[key] = (old, new)
    return found


def _text(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _check_space(directory: RunDirectory, space: SearchSpaceSpec) -> None:
    """Compare the space with that of the run, order of choices and candidates included: parameters follow it."""
    before = directory.space
    if [choice.identity() for choice in before.choices] == [choice.identity() for choice in space.choices]:
        return
    old, new = ({choice.key: choice for choice in each.choices} for each in (before, space))
    differing = [key for key in dict.fromkeys([*old, *new]) if _identity(old.get(key)) != _identity(new.get(key))]
    what = ", ".join(differing[:3]) or "their order"
    raise RunDirectoryError(
        f"the search space has other choices or candidates than when {directory.path} was started ({what}):"
        " restore its code, or start a new run"
    )


def _check_structure(directory: RunDirectory, structure: Mapping[str, str]) -> None:
    """Compare the candidates with those of the run, which may have another code under the same names."""
    if not structure or not (directory.path / files.STRUCTURE).exists():
        return
    before = directory.read_json(files.STRUCTURE)
    differing = [name for name in dict.fromkeys([*before, *structure]) if before.get(name) != structure.get(name)]
    if differing:
        candidates = [name for name in differing if name.startswith("candidate")] or differing
        raise RunDirectoryError(
            f"the code of the search space has changed since {directory.path} was started"
            f" ({', '.join(candidates[:3])}): restore it, or start a new run"
        )


def _identity(choice: AnyChoiceSpec | None) -> object:
    return choice.identity() if choice is not None else None
