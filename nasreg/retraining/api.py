"""Retraining from Python: the network of an architecture, trained by a recipe and measured. Imports torch.

The command line calls exactly this.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path
from typing import Any

from torch import nn

from nasreg.api import SearchResult
from nasreg.callbacks import of_kind
from nasreg.data import LoadedDataset, SearchData
from nasreg.device import resolve_device
from nasreg.draw import draw_cells
from nasreg.errors import RunDirectoryError
from nasreg.events import Callback, Notice
from nasreg.networks import NetworkPlan, Source, find_source, plan_network
from nasreg.registry import Registry, default_registry
from nasreg.resolve import OBJECT, dataset_config
from nasreg.retraining.config import RetrainConfig
from nasreg.retraining.resolve import resolve_retrain
from nasreg.retraining.trainer import RetrainTask, RetrainTrainer
from nasreg.runs import RunDirectory
from nasreg.saved import NetworkRecipe, network_recipe, save_network
from nasreg.session import as_dataset, carry_out, claim_directory, load_dataset
from nasreg.shape import DataShape
from nasreg.specs import Architecture, DataInfo, RetrainSpec, genotype_text
from nasreg.specs.base import parse


@dataclass(frozen=True)
class RetrainResult:
    """What a retraining ends with."""

    network: nn.Module = field(repr=False)
    """The trained network of the last epoch, in eval mode and without its auxiliary head, on the device."""
    metrics: dict[str, float]
    """Of the last epoch."""
    history: list[dict[str, Any]]
    """Of each epoch, in order: its number from 1, metrics, seconds."""
    run_dir: Path | None
    """The run directory, where one was asked for; it has the weights of the best and of the last epoch."""


def retrain(
    source: str | Path | Architecture | SearchResult,
    data: Any = None,
    *,
    space: str | None = None,
    preset: str | None = None,
    config: Mapping[str, Any] | str | Path | None = None,
    settings: Sequence[str] = (),
    trainer: Mapping[str, Any] | None = None,
    space_options: Mapping[str, Any] | None = None,
    dataset_options: Mapping[str, Any] | None = None,
    seed: int | None = None,
    device: str | None = None,
    out: str | Path | None = None,
    resume: bool = False,
    callbacks: Sequence[Callback] = (),
    registry: Registry | None = None,
) -> RetrainResult:
    """Train the network of an architecture from the start.

    Args:
        source: A run directory, an ``architecture.json``, the name of a published genotype, the text of a genotype, an
            ``Architecture``, or the result of a search (which is all there is of one over a model of your own).
        data: Name of a data set or ``folder:PATH``, a tuple ``(train, test)`` of torch ``Dataset``s, or a
            ``nasreg.data.LoadedDataset`` with a test set. By default that of the run, else ``digits``.
        space: Name of the space of an architecture that comes alone; by default ``darts``.
        preset: Name of a recipe; by default the one that the data set asks for, else ``cifar``.
        config: A YAML file, or what one holds: a ``run.yaml`` of a retraining, whole or in part.
        settings: ``"KEY=VALUE"``, such as ``"trainer.epochs=50"``.
        trainer: Options of the training, such as ``{"epochs": 50}``.
        space_options: Options of the space: how deep and wide the network is.
        dataset_options: Options of the data set.
        seed: Seed of everything that is random.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:N`` or ``mps``.
        out: Run directory to make. Without one nothing is written.
        resume: Go on with the run in ``out``; give the same arguments.
        callbacks: Called with each event of ``nasreg.events``.
        registry: Where names are looked up; by default what is installed.

    Raises:
        UsageError: What was asked for makes no sense; nothing was written. Its subclasses tell what.
        TrainingError: Out of memory, or a loss that is not finite.
        InterruptedRunError: Ctrl-C or SIGTERM; with ``out`` it can be resumed.
    """
    registry = registry or default_registry()
    spec, model = resolve(
        registry,
        source,
        data,
        space=space,
        preset=preset,
        config=config,
        settings=settings,
        trainer=trainer,
        space_options=space_options,
        dataset_options=dataset_options,
        seed=seed,
        device=device,
    )
    dataset = None if data is None or isinstance(data, str) else as_dataset(data)
    return run(spec, registry=registry, model=model, dataset=dataset, out=out, resume=resume, callbacks=callbacks)


def resolve(
    registry: Registry,
    source: str | Path | Architecture | SearchResult,
    data: Any = None,
    *,
    space: str | None = None,
    **given: Any,
) -> tuple[RetrainSpec, SearchResult | None]:
    """Resolve what ``retrain`` is given; also return the result that the network has to come from, if it has to."""
    if isinstance(source, SearchResult):
        found = Source("the search", f"{OBJECT}{type(source.model()).__name__}", {}, source.architecture, None)
    else:
        found = find_source(source, space=space, registry=registry)
    name = data if isinstance(data, str) else None
    if data is None and found.run is not None and not found.run.spec.dataset.name.startswith(OBJECT):
        selection = found.run.spec.dataset
        name = f"folder:{selection.options['path']}" if selection.name == "folder" else selection.name
    spec = resolve_retrain(
        registry,
        found.title,
        _architecture(found, registry),
        found.space,
        found.options,
        dataset=name,
        dataset_object=None if data is None or isinstance(data, str) else f"{OBJECT}{type(data).__name__}",
        **given,
    )
    return spec, source if isinstance(source, SearchResult) else None


def _architecture(source: Source, registry: Registry) -> Architecture:
    if source.architecture is not None:
        return source.architecture
    # A genotype: which architecture it is does not depend on the images.
    info = DataInfo(channels=3, height=32, width=32, classes=("a", "b"))
    return plan_network(source, info, registry=registry).architecture


def run(
    spec: RetrainSpec,
    *,
    registry: Registry,
    model: SearchResult | None = None,
    dataset: LoadedDataset | None = None,
    out: str | Path | None = None,
    resume: bool = False,
    callbacks: Sequence[Callback] = (),
) -> RetrainResult:
    """Carry out a resolved RetrainSpec.

    Args:
        spec: What to train.
        registry: Where its names are looked up.
        model: The search that the network comes from, where it was over an object.
        dataset: The data set, where it is an object.
        out: Run directory to make, or with ``resume`` to go on with.
        resume: Go on with the run in ``out``.
        callbacks: Called with each event.

    Raises:
        NasregError: As ``retrain``.
    """
    options = parse(RetrainConfig, spec.trainer, "trainer")
    config = parse(dataset_config(registry, spec.dataset.name), spec.dataset.options, "dataset")
    device = resolve_device(spec.device)
    spec = spec.model_copy(update={"device": str(device)})
    directory = None if out is None else claim_directory(Path(out), resume=resume)
    data = SearchData(
        dataset or load_dataset(registry, spec.dataset.name, config), config, spec.seed, device, test=True
    )
    plan, notice = _plan(spec, options, data, registry, model)
    shape = parse(DataShape, {"info": data.info, "mean": data.mean, "std": data.std}, "")
    if model is None:
        recipe = network_recipe(_source(spec), shape, registry=registry)
    else:  # of an object nothing can be built again from a file
        recipe = NetworkRecipe(space=spec.space.name, options={}, architecture=spec.architecture, data=shape)

    def save(name: str, network: nn.Module, metrics: Mapping[str, float]) -> None:
        assert directory is not None  # noqa: S101  # only a trainer with a run calls it
        known = {"dataset": spec.dataset, "metrics": dict(metrics)}
        save_network(directory.path / name, network, recipe.model_copy(update=known))

    task = RetrainTask(
        spec=spec, data=data, device=device, space=plan.space, build=plan.build, save=save, callbacks=list(callbacks)
    )
    trainer = RetrainTrainer(task, options)
    if notice:
        task.emit(Notice(notice))

    @cache
    def network() -> nn.Module:
        return _without_auxiliary(trainer.result, spec, data, registry, model)

    records = carry_out(
        trainer, directory, registry, resume=resume, network=network, begin=partial(_write_architecture, plan)
    )
    path = directory.path if directory else None
    return RetrainResult(network(), trainer.position.metrics, of_kind(records, "epoch"), path)


def _source(spec: RetrainSpec) -> Source:
    return Source(spec.source, spec.space.name, spec.space.options, spec.architecture, None)


def _plan(
    spec: RetrainSpec, options: RetrainConfig, data: SearchData, registry: Registry, model: SearchResult | None
) -> tuple[NetworkPlan, str | None]:
    """Return the network to train, and what the user has to know of it."""
    wanted = options.auxiliary_weight > 0
    if model is not None:
        plan = NetworkPlan(model.space, model.architecture, model.model)
        option = None
    else:
        entry = None if ":" in spec.space.name else registry.space(spec.space.name)
        option = entry.capabilities.get("auxiliary") if entry else None
        plan = plan_network(_source(spec), data.info, {option: True} if option and wanted else {}, registry=registry)
    if wanted and option is None:
        return plan, f"space {spec.space.name!r} has no auxiliary head: trainer.auxiliary_weight is not used"
    return plan, None


def _without_auxiliary(
    trained: nn.Module, spec: RetrainSpec, data: SearchData, registry: Registry, model: SearchResult | None
) -> nn.Module:
    if model is not None:
        return trained.eval()
    network = plan_network(_source(spec), data.info, registry=registry).build()
    wanted = network.state_dict()
    network.load_state_dict({name: value for name, value in trained.state_dict().items() if name in wanted})
    return network.to(next(trained.parameters()).device).eval()


def _write_architecture(plan: NetworkPlan, directory: RunDirectory) -> None:
    draw_cells(plan.space, plan.architecture, directory.path / "cells.svg")
    genotype = genotype_text(plan.space, plan.architecture)
    if genotype:
        directory.write_text("genotype.txt", genotype + "\n")
    directory.write_text("architecture.json", plan.architecture.to_json())


def resume(
    run_dir: str | Path, *, callbacks: Sequence[Callback] = (), registry: Registry | None = None
) -> RetrainResult:
    """Go on with a retraining that was interrupted, as if it had not been.

    Raises:
        RunDirectoryError: It is no retraining, has finished, or was started from Python with an object.
        NasregError: As ``retrain``.
    """
    directory = RunDirectory(run_dir)
    spec = directory.spec
    if not isinstance(spec, RetrainSpec):
        raise RunDirectoryError(f"{directory.path} is a search: go on with it by nasreg.resume")
    if spec.space.name.startswith(OBJECT):
        raise RunDirectoryError(
            f"{directory.path} trains the network of a search that was over an object: go on with it by"
            " nasreg.retrain(..., out=..., resume=True) and the same arguments"
        )
    registry = registry or default_registry()
    return run(spec, registry=registry, out=directory.path, resume=True, callbacks=callbacks)
