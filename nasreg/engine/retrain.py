"""Retraining from Python: the network of an architecture, trained by a recipe and measured. Imports torch.

The command line calls the same functions.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import nn

from nasreg.config.lookup import dataset_from_object
from nasreg.config.notation import architecture_text
from nasreg.config.request import ArchitectureOrigin, ResolvedRun, RunRequest
from nasreg.config.resolve import resolve
from nasreg.data import RunData
from nasreg.engine.execute import Job, draw, execute
from nasreg.engine.resume import architecture_damage
from nasreg.engine.search_result import SearchResult
from nasreg.errors import UsageError
from nasreg.events import Callback
from nasreg.networks.build import build_network, plan_network
from nasreg.networks.dry_run import check_network
from nasreg.networks.inputs import input_of, input_spec
from nasreg.networks.references import EXAMPLE_INFO, ArchitectureRef, find_architecture
from nasreg.networks.weights import network_manifest, save_network
from nasreg.registry import Registry, default_registry
from nasreg.runs import files
from nasreg.runs.callbacks import of_kind
from nasreg.runs.directory import RunDirectory
from nasreg.specs import Architecture, RetrainSpec
from nasreg.specs.arguments import checked_arguments
from nasreg.specs.references import ObjectRef, RegisteredRef
from nasreg.tasks import get_task
from nasreg.trainers.config import RetrainConfig
from nasreg.trainers.context import RetrainContext
from nasreg.trainers.distributed import present
from nasreg.trainers.retraining import RetrainTrainer

_SAME_TEST_SPLIT = ("test_fraction", "group_pattern", "unreadable")
"""Options of the data set that decide which images the search has held out for testing."""


@dataclass(frozen=True)
class RetrainResult:
    """The result of a retraining."""

    network: nn.Module = field(repr=False)
    """The trained network of the last epoch, in eval mode and without its auxiliary head, on the device."""
    metrics: dict[str, float]
    """Of the last epoch."""
    history: list[dict[str, Any]]
    """For each epoch, in order: its number from 1, metrics, seconds."""
    run_dir: Path | None
    """The run directory, if one was asked for; it has the weights of the best and of the last epoch."""


@checked_arguments("space")
def retrain(
    source: str | Path | Architecture | SearchResult,
    data: Any = None,
    *,
    space: str | nn.Module | Callable[..., nn.Module] | None = None,
    recipe: str | None = None,
    config: Mapping[str, Any] | str | Path | None = None,
    settings: Sequence[str] = (),
    trainer: Mapping[str, Any] | None = None,
    space_options: Mapping[str, Any] | None = None,
    dataset_options: Mapping[str, Any] | None = None,
    seed: int | None = None,
    device: str | torch.device | None = None,
    out: str | Path | None = None,
    resume: bool = False,
    callbacks: Sequence[Callback] = (),
    registry: Registry | None = None,
) -> RetrainResult:
    """Train the network of an architecture from scratch.

    Args:
        source: A run directory, an ``architecture.json``, the name of a published genotype, the text of a genotype, an
            ``Architecture``, or the result of a search.
        data: Name of a data set or ``folder:PATH``, a tuple ``(train, test)`` or ``(train, validation, test)`` of torch
            ``Dataset``s, or a ``nasreg.data.DatasetBundle`` with a test set. By default that of the run, else
            ``digits``.
        space: Reference to the space of an architecture that is not in a run, or the class, function or model itself.
            Also for a run whose space was a Python object.
        recipe: Name of a recipe; by default the one that the data set names, else ``cifar``.
        config: A YAML file in the form of a retraining's ``run.yaml``, whole or in part, or its content.
        settings: ``"KEY=VALUE"``, such as ``"trainer.epochs=50"``.
        trainer: Options of the training, such as ``{"epochs": 50}``.
        space_options: Options of the space: how deep and wide the network is.
        dataset_options: Options of the data set.
        seed: Seed of everything that is random.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:N`` or ``mps``.
        out: Run directory to make. Without one nothing is written.
        resume: Resume the run in ``out``; give the same arguments.
        callbacks: Called with each event of ``nasreg.events``.
        registry: Where names are looked up; by default what is installed.

    Raises:
        UsageError: The request is invalid; nothing was written. Its subclasses say why.
        TrainingError: Out of memory, or a loss that is not finite.
        InterruptedRunError: Ctrl-C or SIGTERM; with ``out`` the run can be resumed.
    """
    registry = registry or default_registry()
    options = {"trainer": trainer, "space": space_options, "dataset": dataset_options}
    run = resolve_retrain(
        registry,
        source,
        data,
        space=space,
        recipe=recipe,
        config=config,
        settings=settings,
        options=options,
        seed=seed,
        device=None if device is None else str(device),
    )
    return run_retrain(run, registry=registry, out=out, resume=resume, callbacks=callbacks)


def resolve_retrain(
    registry: Registry,
    source: str | Path | Architecture | SearchResult,
    data: Any = None,
    *,
    space: str | nn.Module | Callable[..., nn.Module] | None = None,
    recipe: str | None = None,
    config: Mapping[str, Any] | str | Path | None = None,
    settings: Sequence[str] = (),
    options: Mapping[str, Mapping[str, Any] | None] | None = None,
    seed: int | None = None,
    device: str | None = None,
) -> ResolvedRun:
    """Resolve the arguments of ``retrain``."""
    if isinstance(source, SearchResult):
        if space is not None:
            raise UsageError("space: the result of a search has its space: leave it out")
        found = ArchitectureRef("the search", source.source, source.options, source.architecture, None)
    else:
        found = find_architecture(source, space=space, registry=registry)
    found.space.check_network()
    held_out: dict[str, Any] = {}
    if data is None and found.run is not None:
        selection = found.run.spec.dataset
        if not isinstance(selection.reference, ObjectRef):
            if selection.options.get("test_fraction"):
                names = (name for name in _SAME_TEST_SPLIT if name in selection.options)
                held_out = {"name": selection.name, **{name: selection.options[name] for name in names}}
            folder = isinstance(selection.reference, RegisteredRef) and selection.reference.name == "folder"
            data = f"folder:{selection.options['path']}" if folder else selection.name

    def decide(values: Mapping[str, Any]) -> Architecture:
        return plan_network(found, EXAMPLE_INFO, values, registry=registry).architecture

    request = RunRequest(
        origin=ArchitectureOrigin(found.title, found.architecture or decide, found.options, held_out),
        space=found.space,
        dataset=data if data is None or isinstance(data, str) else dataset_from_object(data),
        preset=recipe,
        config=config,
        settings=settings,
        options=options or {},
        seed=seed,
        device=device,
    )
    run = resolve(registry, request)
    _check_fits(found, run)
    return run


def retraining_of(
    registry: Registry,
    search: ResolvedRun,
    directory: RunDirectory,
    *,
    recipe: str | None = None,
    settings: Sequence[str] = (),
) -> ResolvedRun:
    """Return the retraining of what a search has found, on the same data, with its seed and on its device.

    Args:
        registry: Where names are looked up.
        search: The search.
        directory: Its run directory.
        recipe: Name of a recipe; by default the one that the data set names.
        settings: ``"KEY=VALUE"``, such as ``"trainer.epochs=50"``.

    Raises:
        NasregError: As ``retrain``; or the search has not ended.
    """
    spec = search.spec
    config = search.dataset.config
    same = {
        name: value
        for name, value in spec.dataset.options.items()
        if name in _SAME_TEST_SPLIT or config.resume_kind(name) == "execution"  # such as the path of a folder
    }
    origin = ArchitectureOrigin(
        str(directory.path), directory.architecture, spec.space.options, {"name": spec.dataset.name, **same}
    )
    request = RunRequest(
        origin=origin,
        space=search.space,
        dataset=search.dataset,
        preset=recipe,
        settings=settings,
        seed=spec.seed,
        device=spec.device,
    )
    return resolve(registry, request)


def _check_fits(found: ArchitectureRef, run: ResolvedRun) -> None:
    """Check an architecture in the space with the options of its retraining, which may differ from those of its search.

    A user's own space may be written for the images of its run alone; without a run it is checked with the data.

    Raises:
        ArchitectureError: It needs other options; the message says which.
    """
    info = EXAMPLE_INFO if found.space.entry is not None else input_spec(found.run).info if found.run else None
    options = run.spec.space.options
    if info is not None and any(options.get(name, old) != old for name, old in found.options.items()):
        plan_network(found, info, options)


def run_retrain(
    run: ResolvedRun,
    *,
    registry: Registry,
    out: str | Path | None = None,
    resume: bool = False,
    callbacks: Sequence[Callback] = (),
    pictures: bool = True,
) -> RetrainResult:
    """Execute a resolved retraining.

    Args:
        run: The resolved retraining.
        registry: Where names are looked up.
        out: Run directory to make, or with ``resume`` to resume.
        resume: Resume the run in ``out``.
        callbacks: Called with each event.
        pictures: Whether to draw pictures and to write the page of the run.

    Raises:
        NasregError: As ``retrain``.
    """
    job, records = execute(
        run, RetrainJob, registry=registry, out=out, resume=resume, callbacks=callbacks, pictures=pictures
    )
    path = job.directory.path if job.directory else None
    return RetrainResult(job.network(), job.trainer.state.metrics, of_kind(records, "epoch"), path)


class RetrainJob(Job):
    """A retraining."""

    needs_test_set = True
    in_several_processes = True
    trainer: RetrainTrainer

    def __init__(
        self, run: ResolvedRun, registry: Registry, data: RunData | None, directory: RunDirectory | None
    ) -> None:
        super().__init__(run, registry, data, directory)
        images = self.images
        if not isinstance(run.spec, RetrainSpec) or not isinstance(run.trainer_config, RetrainConfig):
            raise TypeError("a retraining needs a RetrainSpec")
        spec, config = run.spec, run.trainer_config
        self.ref = ArchitectureRef(spec.source, run.space, spec.space.options, spec.architecture, None)
        auxiliary = run.space.capabilities.get("auxiliary")
        wanted = config.auxiliary_weight > 0
        self.plan = plan_network(self.ref, self.info, {auxiliary: True} if auxiliary and wanted else {})
        own_heads = 0
        if run.space.entry is None:
            with torch.random.fork_rng():
                own_heads = check_network(self.plan.build(), self.info, get_task(spec.task), images.device)
        if wanted and auxiliary is None and not own_heads:
            self.notices.append(
                f"space {run.space.reference.title!r} has no auxiliary head: trainer.auxiliary_weight has no effect"
            )
        manifest = network_manifest(self.ref, input_of(images))

        def save(name: str, network: nn.Module, metrics: Mapping[str, float]) -> None:
            if directory is not None:
                known = {"dataset": spec.dataset, "task": spec.task, "metrics": dict(metrics)}
                save_network(directory.path / name, network, manifest.model_copy(update=known))

        context = RetrainContext(
            spec=spec,
            space=self.plan.space,
            data=images,
            processes=present(),
            task=get_task(spec.task),
            device=images.device,
            build_network=self.plan.build,
            save_network=save if directory is not None else None,
        )
        self.trainer = RetrainTrainer(context, config)

    @property
    def step_samples(self) -> int:
        """Number of samples in a piece of a step."""
        return -(-self.trainer.config.batch_size // self.trainer.config.accumulate)

    @cached_property
    def _network(self) -> nn.Module:
        trained = self.trainer.result
        network = build_network(self.ref, self.info)
        wanted = network.state_dict()
        network.load_state_dict({name: value for name, value in trained.state_dict().items() if name in wanted})
        return network.to(self.images.device).eval()

    def network(self) -> nn.Module:
        """Return the trained network without its auxiliary head, in eval mode."""
        return self._network

    def begin(self, directory: RunDirectory) -> None:
        """Write the architecture, which is known from the start."""
        self.end(directory)

    def end(self, directory: RunDirectory) -> None:
        """Write the architecture, as JSON, as a genotype and as a picture, again where a resumed run has lost it."""
        if architecture_damage(directory) is None:
            return
        plan = self.plan
        genotype = architecture_text(plan.space, plan.architecture, self.run.space.entry)
        if genotype:
            directory.write_text(files.GENOTYPE, genotype + "\n")
        directory.write_text(files.ARCHITECTURE, plan.architecture.to_json())

        def drawing() -> None:
            from nasreg.report import draw_cells

            draw_cells(plan.space, plan.architecture, directory.path / files.CELLS)

        draw(self, directory, drawing)
