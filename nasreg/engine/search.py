"""Searches from Python: a space, data, an algorithm; the result is a ``SearchResult``. Imports torch.

The command line calls the same functions.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from pathlib import Path
from typing import Any

import torch
from torch import nn

from nasreg.config.lookup import dataset_from_object, space_from_object
from nasreg.config.request import ResolvedRun, RunRequest
from nasreg.config.resolve import chosen_algorithm, resolve
from nasreg.engine.execute import execute
from nasreg.engine.multi_trial_job import MultiTrialJob
from nasreg.engine.search_job import OneShotJob, SearchJob
from nasreg.engine.search_result import SearchResult
from nasreg.errors import UsageError
from nasreg.events import Callback
from nasreg.registry import Registry, default_registry
from nasreg.specs.arguments import checked_arguments

SpaceLike = str | nn.Module | Callable[..., nn.Module]
"""A search space: a reference, a class or function that builds the model, or the model."""


@checked_arguments("space")
def search(
    space: SpaceLike | None = None,
    data: Any = "digits",
    algorithm: str | None = None,
    *,
    preset: str | None = None,
    mutator: Mapping[str, Any] | None = None,
    trainer: Mapping[str, Any] | None = None,
    evaluator: str | None = None,
    evaluator_options: Mapping[str, Any] | None = None,
    space_options: Mapping[str, Any] | None = None,
    dataset_options: Mapping[str, Any] | None = None,
    config: Mapping[str, Any] | str | Path | None = None,
    settings: Sequence[str] = (),
    seed: int | None = None,
    device: str | torch.device | None = None,
    workers: int | None = None,
    executor: str | Executor | None = None,
    executor_options: Mapping[str, Any] | None = None,
    out: str | Path | None = None,
    resume: bool = False,
    callbacks: Sequence[Callback] = (),
    registry: Registry | None = None,
) -> SearchResult:
    """Search for an architecture.

    Args:
        space: A class or function that builds a model with choices in it; the name of a space; or
            ``"package.module:name"`` or ``"folder/file.py:name"`` of such a class or function. Its parameters are the
            options of the space; one named ``info`` receives the shape of the data (``nasreg.specs.DataInfo``). Also a
            model itself, where its present weights matter: it is copied, and only this process can build it. The
            algorithm's default space where None.
        data: Name of a data set, ``"folder:PATH"``, a torch ``Dataset`` of (image ``(C, H, W)``, label), a tuple
            ``(train, test)`` or ``(train, validation, test)`` of those, or a ``nasreg.data.DatasetBundle``.
        algorithm: Name of an algorithm; that of ``config``, else ``Registry.default_algorithm`` where None.
        preset: Named set of options to start from.
        mutator: Options of the mutator.
        trainer: Options of the trainer, such as ``{"epochs": 50}``.
        evaluator: Name of the evaluator of a multi-trial algorithm; the algorithm's own where None.
        evaluator_options: Options of the evaluator, such as ``{"epochs": 5}``.
        space_options: Options of the space.
        dataset_options: Options of the data set; for objects, those of ``nasreg.data.DatasetConfig``.
        config: A YAML file in the form of a ``run.yaml``, whole or in part, or its content.
        settings: ``"KEY=VALUE"``, such as ``"trainer.epochs=50"``.
        seed: Seed of everything that is random.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:N`` or ``mps``.
        workers: Number of trials of a multi-trial algorithm that are evaluated at the same time.
        executor: ``"serial"``, ``"processes"`` (the default with several workers) or another one that is installed, or
            any ``concurrent.futures.Executor`` of processes, which gets ``workers`` trials at once.
        executor_options: Options of the executor that is named.
        out: Run directory to make. Without one nothing is written.
        resume: Resume the run in ``out``. Give the same arguments as for the run that was interrupted; what only
            affects its execution, such as ``device``, may differ.
        callbacks: Called with each event of ``nasreg.events``.
        registry: Where names are looked up; by default what is installed.

    Raises:
        UsageError: The request is invalid; nothing was written. Its subclasses say why.
        TrainingError: Out of memory, or a loss that is not finite.
        InterruptedRunError: Ctrl-C or SIGTERM; with ``out`` the run can be resumed.
        PluginError: The plugin's code could not be loaded.
    """
    registry = registry or default_registry()
    request = search_request(
        registry,
        space,
        data,
        algorithm,
        config,
        preset=preset,
        settings=settings,
        evaluator=evaluator,
        options={
            "mutator": mutator,
            "trainer": trainer,
            "evaluator": evaluator_options,
            "executor": executor_options,
            "space": space_options,
            "dataset": dataset_options,
        },
        seed=seed,
        device=None if device is None else str(device),
        workers=workers,
        executor=executor if isinstance(executor, str) else None,
    )
    pool = None if isinstance(executor, str) else executor
    resolved = resolve(registry, request)
    return run_search(resolved, registry=registry, out=out, resume=resume, callbacks=callbacks, executor=pool)


def search_request(
    registry: Registry,
    space: SpaceLike | None,
    data: Any,
    algorithm: str | None,
    config: Mapping[str, Any] | str | Path | None,
    **more: Any,
) -> RunRequest:
    """Return the request of a search.

    Args:
        registry: Where names are looked up.
        space: As in ``search``.
        data: As in ``search``.
        algorithm: As in ``search``.
        config: As in ``search``.
        **more: Other attributes of the request.

    Raises:
        UsageError: Space or data are none of what is accepted.
    """
    return RunRequest(
        algorithm=chosen_algorithm(registry, algorithm, config),
        config=config,
        space=space if space is None or isinstance(space, str) else space_from_object(space),
        dataset=data if isinstance(data, str) else dataset_from_object(data),
        **more,
    )


def run_search(
    run: ResolvedRun,
    *,
    registry: Registry,
    out: str | Path | None = None,
    resume: bool = False,
    callbacks: Sequence[Callback] = (),
    pictures: bool = True,
    executor: Executor | None = None,
) -> SearchResult:
    """Execute a resolved search.

    Args:
        run: The resolved search.
        registry: Where names are looked up.
        out: Run directory to make, or with ``resume`` to resume.
        resume: Resume the run in ``out``.
        callbacks: Called with each event.
        pictures: Whether to draw pictures and to write the page of the run.
        executor: Evaluates the trials of a multi-trial algorithm, in place of the executor that the spec names.

    Raises:
        NasregError: As ``search``.
    """
    job_class: type[SearchJob] = OneShotJob if run.evaluator is None else MultiTrialJob
    if run.evaluator is None and executor is not None:
        raise UsageError("executor: a one-shot algorithm trains one supernet, in this process")
    options = {} if executor is None else {"executor": executor}
    job, records = execute(
        run,
        job_class,
        registry=registry,
        out=out,
        resume=resume,
        callbacks=callbacks,
        options=options,
        pictures=pictures,
    )
    return job.result(records)
