"""Comparisons from Python and for the command line: a new study, one to be extended or resumed, runs that exist."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from nasreg.config.lookup import dataset_from_object, space_from_object
from nasreg.config.sources import DatasetSource, SpaceSource
from nasreg.errors import ConfigError, RunDirectoryError, TrainingError, UsageError
from nasreg.events import Callback
from nasreg.registry import Registry, default_registry
from nasreg.report.drawing.canvas import default_style
from nasreg.runs import files
from nasreg.specs.arguments import checked_arguments
from nasreg.specs.base import parse
from nasreg.specs.references import OBJECT
from nasreg.specs.study import StudyBudget, StudySpec
from nasreg.studies.collection import collect_runs, collect_study
from nasreg.studies.directory import PAGE, RESULTS, StudyDirectory, algorithms_of, extended, is_study
from nasreg.studies.execution import StudyProgress, Workers, compute_all, study_workers
from nasreg.studies.packages import require_study_packages
from nasreg.studies.planning import Plan, plan_study, slug, with_baseline
from nasreg.studies.result import StudyResult
from nasreg.studies.tasks import missing_tasks

STUDIES = "studies"
"""Folder of new studies."""


@dataclass(frozen=True)
class Execution:
    """How the runs of a study are computed."""

    workers: Workers | Executor
    """Where they are computed."""
    pages: bool | None = None
    """Whether each run gets a page and pictures of its own; None: those that train."""
    callbacks: Sequence[Callback] = ()
    tell: Callable[[StudyProgress], None] = lambda progress: None


@checked_arguments("space", "data", "budget", "algorithms")
def compare(
    algorithms: Sequence[str | Mapping[str, Any]] | str | Path | Mapping[str, Any],
    space: Any = None,
    data: Any = None,
    *,
    evaluator: str | Mapping[str, Any] | Sequence[str | Mapping[str, Any]] | None = None,
    vary: Mapping[str, Sequence[Any]] | None = None,
    seeds: int | Sequence[int] | None = None,
    budget: int | str | Sequence[str] | Mapping[str, Any] | StudyBudget | None = None,
    random: bool = True,
    settings: Sequence[str] = (),
    retrain: str | Mapping[str, Any] | None = None,
    title: str = "",
    device: str | None = None,
    out: str | Path | None = None,
    workers: int = 1,
    executor: str | Executor | None = None,
    executor_options: Mapping[str, Any] | None = None,
    pages: bool | None = None,
    callbacks: Sequence[Callback] = (),
    registry: Registry | None = None,
) -> StudyResult:
    """Compare algorithms side by side: every one with the same space, data, evaluator, budget and seeds.

    What has finished in the directory of the study is kept, what was interrupted is resumed, and algorithms, seeds and
    problems that are new are computed.

    Args:
        algorithms: Names, or mappings with ``algorithm``, ``label``, ``preset``, ``mutator``, ``trainer``; or a study
            file, its content, or run directories that exist, which are compared as they are.
        space: Names of search spaces, or a class or function that builds the model; by default that of the first
            algorithm.
        data: Names of data sets or ``folder:PATH``, or a data set as ``nasreg.search`` takes it.
        evaluator: Names of evaluators, or mappings with ``name`` and options.
        vary: Option -> values, each of which is a problem of its own, such as
            ``{"evaluator.dataset": ["cifar10", "cifar100"]}``.
        seeds: Number of seeds from 0, or the seeds; 10 where None.
        budget: Evaluations such as ``100``, seconds such as ``"12000s"``, epochs of one-shot searches such as
            ``"50epochs"``, or several of these.
        random: Whether random search is compared, too.
        settings: ``"KEY=VALUE"`` for all searches, or ``"LABEL:KEY=VALUE"`` for one algorithm.
        retrain: Recipe by which what each search finds is retrained and measured on the test set, or a mapping with
            ``recipe`` and ``settings``.
        title: Heading of the page.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:N`` or ``mps``.
        out: Directory of the study; by default one in ``studies/`` whose name follows from what is compared.
        workers: Runs that are computed at the same time, each in a process of its own.
        executor: Name of the executor that computes the runs, by default ``"processes"`` with several workers; or any
            ``concurrent.futures.Executor`` of processes.
        executor_options: Options of the executor that is named.
        pages: Whether each run gets a page and pictures of its own; by default those that train.
        callbacks: Called with each event of the runs that are computed in this process.
        registry: Where names are looked up; by default what is installed.

    Raises:
        UsageError: A name or option is invalid; nothing was run. Its subclasses say why.
        TrainingError: Runs failed; the others have finished, and the page shows them.
        InterruptedRunError: Ctrl-C or SIGTERM; the same call resumes.
    """
    registry = registry or default_registry()
    source, dataset = _object_sources(space, data)
    given: dict[str, Any] = {
        "title": title or None,
        "spaces": source.reference.text if source is not None else space,
        "datasets": dataset.reference.text if dataset is not None else data,
        "evaluators": evaluator,
        "vary": vary,
        "seeds": seeds,
        "budget": budget.model_dump() if isinstance(budget, StudyBudget) else budget,
        "settings": tuple(settings) or None,
        "retrain": retrain,
        "device": device,
        "baseline": None if random else False,
    }
    given = {name: value for name, value in given.items() if value is not None}
    if (paths := run_paths(algorithms)) is not None:
        if given:
            raise UsageError(f"{next(iter(given))} has no meaning for runs that exist: give their directories alone")
        return compare_runs(paths, out=out)
    spec = study_spec(algorithms, given)
    if executor is None or isinstance(executor, str):
        place: Workers | Executor = study_workers(registry, workers, executor, executor_options)
    else:
        place = executor
    execution = Execution(place, pages, callbacks)
    out = out if out is not None else own_directory(algorithms)
    return run_study(registry, spec, out, execution, space=source, dataset=dataset)


def own_directory(algorithms: Any) -> Path | None:
    """Return the directory of the study that is named in place of algorithms, or None."""
    texts = [algorithms] if isinstance(algorithms, str | Path) else algorithms
    if isinstance(texts, Mapping) or len(texts) != 1 or not isinstance(texts[0], str | Path):
        return None
    return Path(texts[0]) if is_study(Path(texts[0])) else None


def _object_sources(space: Any, data: Any) -> tuple[SpaceSource | None, DatasetSource | None]:
    """Return space and data set where they are Python objects, not names."""

    def is_named(value: Any) -> bool:
        if isinstance(value, str | Mapping) or value is None:
            return True
        return isinstance(value, list | tuple) and all(isinstance(each, str | Mapping) for each in value)

    source = None if is_named(space) else space_from_object(space)
    return source, None if is_named(data) else dataset_from_object(data)


def run_paths(algorithms: Any) -> list[Path] | None:
    """Return the run directories that are named in place of algorithms, or None.

    Raises:
        UsageError: Some are directories, and others are not.
    """
    texts = [algorithms] if isinstance(algorithms, str | Path) else algorithms
    if isinstance(texts, Mapping) or not texts or not all(isinstance(each, str | Path) for each in texts):
        return None
    found = [Path(each) for each in texts]
    directories = [each for each in found if each.is_dir()]
    if not directories:
        return None
    others = [str(each) for each in found if not each.is_dir()]
    if others:
        raise UsageError(
            f"{directories[0]} is a directory and {others[0]} is none: compare algorithms or run directories"
        )
    if len(found) == 1 and is_study(found[0]):
        return None
    return found


def study_spec(algorithms: Any, given: Mapping[str, Any]) -> StudySpec:
    """Return the study that arguments describe.

    Args:
        algorithms: Names or mappings, a study file, its content, or the directory of a study.
        given: Other fields of the study; they win over those of a file.

    Raises:
        ConfigError: They are invalid.
    """
    if isinstance(algorithms, Mapping):
        return parse(StudySpec, {**algorithms, **given}, "")
    texts = [algorithms] if isinstance(algorithms, str | Path) else list(algorithms)
    if len(texts) == 1 and isinstance(texts[0], str | Path):
        path = Path(texts[0])
        if path.is_dir():
            return parse(
                StudySpec, {**StudyDirectory(path).spec.model_dump(mode="json", exclude_unset=True), **given}, ""
            )
        if path.suffix in (".yaml", ".yml"):
            try:
                text = path.read_text(encoding="utf-8")
            except (OSError, UnicodeDecodeError) as error:
                raise ConfigError(f"cannot read the study {path}: {error}") from error
            found = StudySpec.from_yaml(text, str(path))
            return parse(StudySpec, {**found.model_dump(mode="json", exclude_unset=True), **given}, "")
    missing = next((each for each in texts if isinstance(each, Path)), None)
    if missing is not None:
        raise RunDirectoryError(f"there is no run directory {missing}")
    names = tuple(each for each in texts if isinstance(each, str))
    if len(names) == len(texts):
        return parse(StudySpec, {"algorithms": algorithms_of(names), **given}, "")
    return parse(StudySpec, {"algorithms": texts, **given}, "")


def default_directory(registry: Registry, spec: StudySpec) -> Path:
    """Return the directory of a study that names none: the same for the same problems, budget and options.

    So the same arguments resume a study, and more algorithms or seeds extend it.
    """
    parts = spec.model_dump(mode="json", exclude={"algorithms", "seeds", "title", "baseline", "device"})
    digest = hashlib.blake2b(json.dumps(parts, sort_keys=True).encode(), digest_size=4).hexdigest()
    named = [*spec.spaces, *spec.datasets]
    if not named:
        parts = {"space": registry.algorithm(spec.algorithms[0].algorithm).default_space}
        name = parts["space"]
    else:
        name = "-".join(each.title for each in named)
    return Path(STUDIES) / f"{slug(name)[:60]}-{digest}"


def prepare(
    registry: Registry,
    spec: StudySpec,
    out: str | Path | None,
    *,
    space: SpaceSource | None = None,
    dataset: DatasetSource | None = None,
) -> tuple[StudyDirectory, Plan]:
    """Return directory and plan of a study, after every check that is possible before anything runs.

    Raises:
        UsageError: A name or option is invalid, or the directory holds something else.
    """
    require_study_packages()
    for what, given, names in (("space", space, spec.spaces), ("data set", dataset, spec.datasets)):
        named = next((each.title for each in names if each.name.startswith(OBJECT)), None)
        if named is not None and given is None:
            raise RunDirectoryError(
                f"this study was started from Python with a {what} given as an object ({named}): resume it with"
                " nasreg.compare(..., out=...) and the same arguments"
            )
    spec = with_baseline(registry, spec)
    directory = StudyDirectory(default_directory(registry, spec) if out is None else out)
    if directory.exists:
        spec = extended(directory.spec, spec, directory.path)
    else:
        directory.check_free()
    return directory, plan_study(registry, spec, space, dataset)


def run_study(
    registry: Registry,
    spec: StudySpec,
    out: str | Path | None,
    execution: Execution,
    *,
    space: SpaceSource | None = None,
    dataset: DatasetSource | None = None,
) -> StudyResult:
    """Compute what is missing of a study, and write its page.

    Raises:
        NasregError: As ``compare``.
    """
    directory, plan = prepare(registry, spec, out, space=space, dataset=dataset)
    return run_plan(registry, directory, plan, execution)


def run_plan(registry: Registry, directory: StudyDirectory, plan: Plan, execution: Execution) -> StudyResult:
    """Compute what is missing of a planned study, and write its page.

    Raises:
        NasregError: As ``compare``.
    """
    with directory.lock() as notice:
        tasks = missing_tasks(plan, directory, pictures=execution.pages)
        directory.write_spec(plan.spec)
        failed = compute_all(
            tasks,
            len(plan.runs),
            directory,
            registry=registry,
            workers=execution.workers,
            callbacks=execution.callbacks,
            tell=execution.tell,
        )
        notices = [*plan.notices, *([notice] if notice else [])]
        result = StudyResult(collect_study(plan, directory), plan.spec, directory.path, notices=notices)
        result = _written(result, directory)
    if failed:
        first = failed[0]
        raise TrainingError(
            f"{len(failed)} of {len(plan.runs)} runs failed, the first: {first.title}: {first.reason}. The page shows"
            f" the others; mend the cause and repeat these with: {directory.command('resume')}"
        )
    return result


def compare_runs(paths: Sequence[Path], out: str | Path | None = None) -> StudyResult:
    """Compare runs that exist, and write the page.

    Args:
        paths: Run directories, or folders that have some in them.
        out: Directory of the page; without one none is written.

    Raises:
        RunDirectoryError: A path is no run, or a file of a run is damaged.
    """
    require_study_packages()
    result = StudyResult(collect_runs(paths))
    if out is None:
        return result
    directory = StudyDirectory(out)
    if (directory.path / files.RUN).exists() or directory.exists:
        raise RunDirectoryError(f"{directory.path} is a run or a study: choose another directory with --out")
    with directory.lock():
        return _written(replace(result, path=directory.path), directory)


def _written(result: StudyResult, directory: StudyDirectory) -> StudyResult:
    """Write records and page."""
    from nasreg.studies.page.html import render_study

    records = {"runs": result.records(), "table": result.table(), "comparisons": result.comparisons()}
    directory.write_json(RESULTS, {"summary": result.summary, **records})
    with default_style():
        text = render_study(result, directory)
    return replace(result, page=directory.write_text(PAGE, text))
