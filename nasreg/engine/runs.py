"""Resuming and repeating runs of either kind. Imports torch."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from nasreg.config.request import ResolvedRun
from nasreg.config.resolve import load_resolved
from nasreg.engine.resume import changed_run, check_execution_only, resumed_run
from nasreg.engine.retrain import RetrainResult, run_retrain
from nasreg.engine.search import run_search
from nasreg.engine.search_result import SearchResult
from nasreg.errors import RunDirectoryError, UnknownNameError, UsageError
from nasreg.events import Callback
from nasreg.registry import Registry, default_registry
from nasreg.runs import files
from nasreg.runs.directory import RunDirectory
from nasreg.runs.launch import launched
from nasreg.specs import RetrainSpec, RunSpec
from nasreg.specs.arguments import checked_arguments
from nasreg.specs.base import parse
from nasreg.tasks import get_task


@checked_arguments()
def resume(
    run_dir: str | Path,
    *,
    settings: Sequence[str] = (),
    device: str | torch.device | None = None,
    workers: int | None = None,
    callbacks: Sequence[Callback] = (),
    registry: Registry | None = None,
) -> SearchResult | RetrainResult:
    """Resume an interrupted run, a search or a retraining, as if it had not been interrupted.

    Args:
        run_dir: The run directory.
        settings: ``"KEY=VALUE"`` of options that only affect how the run is executed, such as
            ``"trainer.accumulate=2"``, or that extend it, such as ``"trainer.max_trials=40"``.
        device: Another device.
        workers: Another number of trials that are evaluated at the same time.
        callbacks: Called with each event.
        registry: Where names are looked up; by default what is installed.

    Raises:
        RunDirectoryError: It is no run, has finished, is in use, was started from Python with an object, or an option
            that decides its result would change.
        NasregError: As ``search`` and ``retrain``.
    """
    registry = registry or default_registry()
    directory = RunDirectory(run_dir)
    try:
        run = resumed_run(registry, directory, settings, None if device is None else str(device), workers)
    except UnknownNameError as error:
        versions = directory.read_object(files.ENVIRONMENT).get("versions", {})
        before = ", ".join(f"{name} {version}" for name, version in versions.items())
        raise UnknownNameError(f"{error} The run was made with: {before}.") from error
    execute = run_retrain if isinstance(run.spec, RetrainSpec) else run_search
    return execute(run, registry=registry, out=directory.path, resume=True, callbacks=callbacks)


@dataclass(frozen=True)
class RepeatedResult:
    """The result of a retraining that was repeated with several seeds."""

    seeds: tuple[int, ...]
    scores: tuple[float, ...]
    """Value of the objective on the test set after the last epoch, by seed."""
    metric: str
    """Name of that metric, such as ``test_accuracy``."""
    run_dir: Path

    @property
    def mean(self) -> float:
        """Mean of the scores."""
        return statistics.fmean(self.scores)

    @property
    def std(self) -> float | None:
        """Sample standard deviation of the scores (n - 1); None for a single seed."""
        return statistics.stdev(self.scores) if len(self.scores) > 1 else None


def repeat(
    run: ResolvedRun,
    seeds: Sequence[int],
    out: str | Path,
    *,
    registry: Registry | None = None,
    callbacks: Sequence[Callback] = (),
    on_result: Callable[[int, RetrainResult], None] | None = None,
) -> RepeatedResult:
    """Execute one retraining with several seeds, one after the other, each in a run directory ``seed-N`` of its own.

    Finished runs in ``out`` are not repeated, and interrupted ones are resumed.

    Args:
        run: The retraining; its own seed does not matter.
        seeds: The seeds.
        out: Directory of the runs.
        registry: Where names are looked up.
        callbacks: Called with each event of each run.
        on_result: Called with each seed and its result.

    Raises:
        ConfigError: A seed is out of range.
        RunDirectoryError: ``out`` holds something else.
        NasregError: As ``retrain``.
    """
    if len(set(seeds)) != len(seeds) or not seeds:
        raise UsageError(f"seeds must be different numbers, at least one, not {', '.join(map(str, seeds)) or 'none'}")
    if launched() is not None:
        raise UsageError("torchrun does one run at a time: start it for each seed (--seed), or give several without it")
    registry, folder = registry or default_registry(), Path(out).absolute()
    specs = {seed: _with_seed(run.spec, seed) for seed in seeds}
    directory = RunDirectory(folder)
    request = {"seeds": list(seeds), "run": run.spec.model_copy(update={"seed": 0}).model_dump(mode="json")}
    if not (folder / files.REPEATS).exists():
        directory.check_free()
    with directory.lock():
        if not (folder / files.REPEATS).exists():
            directory.check_still_free()
            directory.write_json(files.REPEATS, request)
        elif directory.read_json(files.REPEATS) != request:
            raise RunDirectoryError(f"{folder} repeats a retraining with other options: choose another with --out")
        return _repeat(run, specs, directory, registry, callbacks, on_result)


def _repeat(
    run: ResolvedRun,
    specs: Mapping[int, RunSpec | RetrainSpec],
    directory: RunDirectory,
    registry: Registry,
    callbacks: Sequence[Callback],
    on_result: Callable[[int, RetrainResult], None] | None,
) -> RepeatedResult:
    """Execute what is missing of a repeated retraining, whose directory is locked."""
    folder = directory.path
    metric, scores = f"test_{get_task(run.spec.task).objective.name}", []
    for seed, spec in specs.items():
        place = folder / files.seed_directory(seed)
        begun = (place / files.RUN).exists()
        if not begun or RunDirectory(place).status["state"] != "done":
            one = replace(run, spec=spec)
            result = run_retrain(one, registry=registry, out=place, resume=begun, callbacks=callbacks)
            if on_result:
                on_result(seed, result)
        scores.append(float(RunDirectory(place).status["metrics"][metric]))
    repeated = RepeatedResult(tuple(specs), tuple(scores), metric, folder)
    summary = {"seeds": list(specs), metric: scores, "mean": repeated.mean, "std": repeated.std}
    directory.write_json(files.SUMMARY, summary)
    return repeated


def _with_seed(spec: RunSpec | RetrainSpec, seed: int) -> RunSpec | RetrainSpec:
    return parse(type(spec), {**spec.model_dump(mode="json"), "seed": seed}, "")


def resume_repeats(
    out: str | Path,
    *,
    settings: Sequence[str] = (),
    device: str | None = None,
    registry: Registry | None = None,
    callbacks: Sequence[Callback] = (),
    on_result: Callable[[int, RetrainResult], None] | None = None,
) -> RepeatedResult:
    """Resume what ``repeat`` began.

    Args:
        out: Directory of the runs.
        settings: ``"KEY=VALUE"`` of options that only say how runs are executed, such as ``"trainer.accumulate=2"``;
            they hold for the rest of them.
        device: Another device.
        registry: Where names are looked up.
        callbacks: Called with each event of each run.
        on_result: Called with each seed and its result.

    Raises:
        RunDirectoryError: An option that decides the result would change.
        NasregError: As ``repeat``.
    """
    registry, directory = registry or default_registry(), RunDirectory(out)
    found = directory.read_object(files.REPEATS, "run", "seeds")
    before = RetrainSpec.model_validate(found["run"])
    run = changed_run(registry, load_resolved(registry, before), settings, device, path=directory.path)
    check_execution_only(before, run, directory.path)
    with directory.lock():
        directory.write_json(files.REPEATS, {**found, "run": run.spec.model_dump(mode="json")})
    return repeat(run, found["seeds"], out, registry=registry, callbacks=callbacks, on_result=on_result)
