"""Looks at a search as it would be run, and reports everything that it finds at once. Imports torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from nasreg.config.request import ResolvedRun
from nasreg.config.resolve import resolve
from nasreg.engine.checks.data import CheckedData, Progress, check_data
from nasreg.engine.checks.findings import LEVELS, CheckReport, Findings, SpaceFacts
from nasreg.engine.checks.network import CheckedNetwork, check_exports, check_network
from nasreg.engine.checks.search import check_search
from nasreg.engine.checks.space import check_space
from nasreg.engine.multi_trial_job import MultiTrialJob
from nasreg.engine.search import SpaceLike, search_request
from nasreg.engine.search_job import OneShotJob, SearchJob, search_spec
from nasreg.networks.references import EXAMPLE_INFO, describe_space
from nasreg.registry import Registry, default_registry
from nasreg.specs import DataInfo, SearchSpaceSpec
from nasreg.specs.arguments import checked_arguments
from nasreg.trainers.device import resolve_device


@checked_arguments("space")
def check(
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
    device: str | None = None,
    workers: int | None = None,
    progress: Progress = lambda name, done, total: None,
    registry: Registry | None = None,
) -> CheckReport:
    """Check a search without running it: data, space, networks, and one real step; nothing is written.

    All arguments but ``progress`` are those of ``nasreg.search``, which see.

    Args:
        space: The search space.
        data: The data set.
        algorithm: Name of the algorithm; by default that of ``config``, else ``Registry.default_algorithm``.
        preset: Named set of options to start from.
        mutator: Options of the mutator.
        trainer: Options of the trainer.
        evaluator: Name of the evaluator of a multi-trial algorithm.
        evaluator_options: Options of the evaluator.
        space_options: Options of the space.
        dataset_options: Options of the data set.
        config: A YAML file in the form of a ``run.yaml``, whole or in part, or its content.
        settings: ``"KEY=VALUE"``, such as ``"trainer.epochs=50"``.
        seed: Seed of everything that is random.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:N`` or ``mps``.
        workers: Number of trials of a multi-trial algorithm that are evaluated at the same time.
        progress: Called while images are read: with the name of their set, and how many of how many were read.
        registry: Where names are looked up; by default what is installed.

    Returns:
        The report; ``report.ok`` says whether there is no error.

    Raises:
        UsageError: The request itself is invalid: an unknown name or option, a space that cannot be imported.
        PluginError: The plugin's code cannot be loaded.
    """
    registry = registry or default_registry()
    request = search_request(
        registry,
        space,
        data,
        algorithm,
        config,
        preset=preset,
        evaluator=evaluator,
        settings=settings,
        options={
            "mutator": mutator,
            "trainer": trainer,
            "evaluator": evaluator_options,
            "space": space_options,
            "dataset": dataset_options,
        },
        seed=seed,
        device=device,
        workers=workers,
    )
    return check_run(resolve(registry, request), registry=registry, progress=progress)


def check_run(
    run: ResolvedRun, *, registry: Registry, progress: Progress = lambda name, done, total: None
) -> CheckReport:
    """Check a resolved search; see ``check``.

    Args:
        run: The resolved search.
        registry: Where names are looked up.
        progress: Called while images are read.
    """
    findings = Findings()
    spec = search_spec(run)
    device = torch.device("cpu")
    with findings.attempt("request", "--device", "finding the device"):
        device = resolve_device(spec.device)
    run = replace(run, spec=spec.model_copy(update={"device": str(device)}))
    job_class: type[SearchJob] = OneShotJob if run.evaluator is None else MultiTrialJob
    with findings.attempt("request", spec.algorithm, "comparing algorithm and space"):
        job_class.check(run, registry)

    checked = CheckedData(None, None, EXAMPLE_INFO)
    needs_data = job_class.needs_data(run)
    if needs_data:
        checked = check_data(run, device, findings, progress)
    else:
        findings.add("info", "data", run.dataset.reference.title, "not read: the evaluator needs no data")
    info = checked.info
    if info is None:
        info = EXAMPLE_INFO
        findings.add(
            "info",
            "space",
            run.space.reference.title,
            "checked with images of 3x32x32 and 2 classes, since the data cannot be read: errors about shapes may be"
            " due to that",
        )
    space, model = _build(run, info, findings)
    space_facts, network, search = None, None, None
    needs_network = run.evaluator is None or "network" in run.evaluator.needs
    if space is not None and (model is not None or not (run.space.has_network or needs_network)):
        found: CheckedNetwork | None = None
        if model is not None and (run.evaluator is None or run.evaluator.needs & {"data", "network"}):
            space_facts, found = _check_model(run, space, model, info, device, findings)
        if needs_data and checked.data is None:
            findings.add("info", "search", "step", "not measured, since there are no data: see the errors above")
        else:
            with findings.attempt("search", "step", "the check of a step"):
                steps = not findings.has_error("space", "network")
                usable = {} if found is None else found.architectures
                search = check_search(run, registry, checked.data, findings, architectures=usable, steps=steps)
        if found is not None:  # last, since it takes memory that the peak of the step must not include
            exports: dict[str, bool] = {}
            if not findings.has_error("space", "network"):
                with findings.attempt("network", "export", "the check of exports", level="warning"):
                    exports = check_exports(found.networks, info, findings)
            network = found.facts.model_copy(update={"exports": exports})
    order = sorted(findings.all, key=lambda each: LEVELS.index(each.level))
    return CheckReport(
        title=f"{spec.headline}, device {device}",
        findings=tuple(order),
        data=checked.facts,
        space=space_facts,
        network=network,
        search=search,
    )


def _build(run: ResolvedRun, info: DataInfo, findings: Findings) -> tuple[SearchSpaceSpec | None, nn.Module | None]:
    """Build the supernet, if there is one, as the search would, from the seed of the run."""
    place, options = run.space.reference.title, run.spec.space.options
    space: SearchSpaceSpec | None = None
    model: nn.Module | None = None
    with findings.attempt("space", place, "building the space"):
        space = describe_space(run.space, options, info)
    if space is None or not run.space.has_network:
        return space, None
    with findings.attempt("space", place, "building the supernet"), torch.random.fork_rng():
        torch.manual_seed(run.spec.seed)
        model = run.space.build(info, options)
    return space, model


def _check_model(
    run: ResolvedRun,
    space: SearchSpaceSpec,
    model: nn.Module,
    info: DataInfo,
    device: torch.device,
    findings: Findings,
) -> tuple[SpaceFacts | None, CheckedNetwork | None]:
    space_facts: SpaceFacts | None = None
    network: CheckedNetwork | None = None
    unusable: frozenset[tuple[str, str]] = frozenset()
    place = run.space.reference.title
    with torch.random.fork_rng():
        with findings.attempt("space", place, "the check of the space"):
            found = check_space(run, space, model, info, device, findings)
            space_facts, unusable = found.facts, found.unusable
        with findings.attempt("network", place, "the check of the networks"):
            network = check_network(run, space, model, info, unusable, findings)
    return space_facts, network
