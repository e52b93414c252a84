"""How commands read, run and report studies. Imports no torch until it is used."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nasreg.cli.output import Output
from nasreg.cli.paths import shell_command, short

if TYPE_CHECKING:
    from nasreg.events import Event
    from nasreg.studies.directory import StudyDirectory
    from nasreg.studies.planning import Plan
    from nasreg.studies.result import StudyResult

MAX_LINES = 60
"""Runs that have a line each; of more runs every so many has one."""


def run_study(
    output: Output,
    spec: Any,
    out: Path | None,
    execution: Mapping[str, Any],
    files: Mapping[str, Path | None],
    *,
    dry_run: bool = False,
) -> None:
    """Compute what is missing of a study, and report it.

    Args:
        output: Prints it.
        spec: The study.
        out: Its directory; None for one whose name follows from the study.
        execution: Arguments of ``Execution``.
        files: Format -> the file to write the tables to.
        dry_run: Print the study, and run nothing.
    """
    from nasreg.registry import default_registry
    from nasreg.studies import api

    registry = default_registry()
    directory, plan = api.prepare(registry, spec, out)
    if dry_run:
        _report_plan(output, directory, plan)
        return
    with _progress(output, directory, plan) as (tell, note):
        how = api.Execution(**execution, callbacks=[note], tell=tell)
        result = api.run_plan(registry, directory, plan, how)
    report_study(output, result, files)


def resume_study(output: Output, path: Path, execution: Mapping[str, Any]) -> None:
    """Compute what is missing of the study in a directory, and report it.

    Args:
        output: Prints it.
        path: Directory of the study.
        execution: Arguments of ``Execution``.
    """
    from nasreg.studies.directory import StudyDirectory

    run_study(output, StudyDirectory(path).spec, path, execution, {})


def read_varied(texts: list[str] | None) -> dict[str, Any] | None:
    """Return the values of ``--vary``: option -> its values.

    Raises:
        ConfigError: One is not KEY=[A, B], or is given twice.
    """
    from nasreg.errors import ConfigError
    from nasreg.specs.run import read_yaml

    found: dict[str, Any] = {}
    for text in texts or []:
        name, equals, value = text.partition("=")
        values = read_yaml(value, f"the value of --vary {name}") if equals and value.strip() else None
        if not isinstance(values, list):
            raise ConfigError(f"--vary {text!r} is invalid: expected KEY=[A, B], such as evaluator.seed=[0, 1]")
        if name.strip() in found:
            raise ConfigError(f"--vary {name.strip()} is given twice: give it once")
        found[name.strip()] = values
    return found or None


def read_seeds(text: str) -> Any:
    """Return the value of ``--seeds``: how many, or several.

    Raises:
        ConfigError: It is neither.
    """
    from nasreg.errors import ConfigError

    try:
        numbers = [int(number) for number in text.split(",") if number.strip()]
    except ValueError as error:
        raise ConfigError(f"--seeds {text!r} is invalid: expected how many, or several such as 3,5,8") from error
    return numbers if "," in text else numbers[0]


def read_retraining(recipe: str | None, settings: list[str] | None) -> dict[str, Any] | None:
    """Return the retraining that ``--retrain`` and ``--retrain-set`` ask for.

    Raises:
        UsageError: There are settings without a recipe.
    """
    from nasreg.errors import UsageError

    if recipe is None and settings:
        raise UsageError("--retrain-set needs --retrain RECIPE")
    return None if recipe is None else {"recipe": recipe, "settings": tuple(settings or ())}


def with_preset(spec: Any, preset: str) -> Any:
    """Return a study in which the algorithms that have a preset start from it."""
    from nasreg.errors import UnknownNameError
    from nasreg.registry import default_registry

    registry = default_registry()
    chosen = [
        each.model_copy(update={"preset": preset})
        if each.preset is None and preset in registry.algorithm(each.algorithm).presets
        else each
        for each in spec.algorithms
    ]
    if not any(each.preset == preset for each in chosen):
        raise UnknownNameError(f"no algorithm of the study has a preset {preset!r}")
    return spec.model_copy(update={"algorithms": tuple(chosen)})


def read_workers(workers: int, executor: str | None, settings: list[str] | None) -> tuple[Any, list[str] | None]:
    """Return where the runs of a study are computed, and the settings that are for the runs.

    Args:
        workers: Number of runs at the same time.
        executor: Name of an executor.
        settings: Those of ``--set``, of which ``executor`` and ``executor.KEY`` say where the runs are computed.

    Raises:
        UsageError: There is no such executor, or an option of it is invalid.
    """
    from nasreg.config.layers import settings_layer
    from nasreg.registry import default_registry
    from nasreg.studies.execution import study_workers

    own = [text for text in settings or [] if text.partition("=")[0].strip().partition(".")[0] == "executor"]
    of_runs = [text for text in settings or [] if text not in own] or None
    given = settings_layer(own, ("executor",)).values.get("executor", {})
    name = given.pop("name", None)
    return study_workers(default_registry(), workers, executor or name, given), of_runs


@contextlib.contextmanager
def _progress(output: Output, directory: StudyDirectory, plan: Plan) -> Iterator[tuple[Any, Any]]:
    """Return a context whose value shows how far a study is, and the notices of its runs, each once."""
    from nasreg.events import Notice
    from nasreg.specs.formatting import format_duration, plural
    from nasreg.studies.execution import StudyProgress

    labels = ", ".join(each.title for each in plan.spec.algorithms)
    output.line(f"study {short(directory.path)}: {labels}; {plural(len(plan.runs), 'run')}")
    for notice in plan.notices:
        output.warning(notice)
    told: set[str] = set()

    def note(event: Event) -> None:
        if isinstance(event, Notice) and event.message not in told:
            told.add(event.message)
            output.warning(event.message)

    step = max(1, len(plan.runs) // MAX_LINES)
    with output.counting("runs") as count:
        count("runs", 0, len(plan.runs))

        def tell(progress: StudyProgress) -> None:
            count("runs", progress.done, progress.total)
            ended = progress.ended
            if ended.state == "failed":
                output.warning(f"{ended.title} failed: {ended.reason}")
            elif progress.done % step == 0 or progress.done == progress.total:
                time = format_duration(ended.seconds)
                output.line(f"{progress.done} of {progress.total}  {ended.title}  {time}")

        yield tell, note


def _report_plan(output: Output, directory: StudyDirectory, plan: Plan) -> None:
    from nasreg.specs.formatting import plural
    from nasreg.studies.tasks import missing_tasks

    missing = missing_tasks(plan, directory, pictures=None)
    text = plan.spec.to_yaml().rstrip()

    def data() -> object:
        return {
            "study_dir": str(directory.path),
            "study": plan.spec.model_dump(mode="json"),
            "runs": [each.folder for each in plan.runs],
            "missing": len(missing),
        }

    def lines() -> None:
        output.line(text)
        output.line(
            f"# {short(directory.path)}: {plural(len(plan.runs), 'run')}, {len(missing)} of them to be computed"
        )

    output.result(data, lines, [text])


def report_study(output: Output, result: StudyResult, files: Mapping[str, Path | None]) -> None:
    """Print tables and summary of a comparison, and write the tables to files.

    Args:
        output: Prints.
        result: The comparison.
        files: Format -> the file to write the tables to.

    Raises:
        ConfigError: A file cannot be written.
    """
    from nasreg.studies.tables import summary_rows

    written = [result.page] if result.page is not None else []
    for name, path in files.items():
        if path is not None:
            _write(path, getattr(result, f"to_{name}")())
            written.append(path)
    names = [short(path) for path in written]

    def data() -> object:
        return {
            "study_dir": None if result.path is None else str(result.path),
            "summary": result.summary,
            "table": result.table(),
            "comparisons": result.comparisons(),
            "runs": result.records(),
            "files": names,
        }

    def text() -> None:
        for group in result.groups:
            rows = summary_rows(group)
            if len(rows) > 1:
                output.line()
                output.table(f"{group.title}: {group.objective.title}", [tuple(row) for row in rows])
        output.line(f"\n{result.summary}")
        for group in result.groups:
            for difference in group.differences:
                output.line(f"not the same on {group.title}: {difference.text}")
        for name in names:
            output.line(f"wrote {name}")

    output.result(data, text, [short(result.path)] if result.path is not None else names)
    if result.path is not None and result.spec is not None:
        output.hint(f"next: {shell_command('compare', result.path, '--seeds', str(2 * len(result.spec.seeds)))}")


def _write(path: Path, text: str) -> None:
    from nasreg.errors import ConfigError

    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"cannot write {path}: {error.strerror or error}") from error
