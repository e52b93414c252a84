"""Search from Python: a model or a named space, data, an algorithm; what comes back is a ``SearchResult``.

The command line calls exactly this. Importing this module imports torch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from nasreg.callbacks import of_kind
from nasreg.data import LoadedDataset, SearchData
from nasreg.device import resolve_device
from nasreg.draw import draw_cells
from nasreg.errors import RunDirectoryError, SpaceError, UnknownNameError, UsageError
from nasreg.events import Callback
from nasreg.nn import extract_space, freeze
from nasreg.registry import Registry, default_registry
from nasreg.resolve import OBJECT, configs, resolve_run, space_component
from nasreg.runs import RunDirectory
from nasreg.session import as_dataset, carry_out, claim_directory, load_dataset, object_advice
from nasreg.specs import Architecture, DataInfo, RetrainSpec, RunSpec, SearchSpaceSpec, SpaceEntry, genotype_text
from nasreg.trainers import SearchTask, SearchTrainer
from nasreg.trainers.task import Build, EdgeCandidates


@dataclass(frozen=True)
class SearchResult:
    """What a search ends with."""

    architecture: Architecture
    """The architecture found."""
    space: SearchSpaceSpec
    """The space that it belongs to."""
    history: list[dict[str, Any]]
    """Of each epoch, in order: its number from 1, metrics, seconds, skips, strengths, weights."""
    run_dir: Path | None
    """The run directory, where one was asked for."""
    trials: list[dict[str, Any]]
    """Of each trial of a multi-trial algorithm, in order: number from 1, score, parameters, seconds, architecture."""
    supernet: nn.Module | None = field(repr=False)
    """The trained supernet of a one-shot algorithm, with its choices undecided again."""
    _build: Build = field(repr=False)
    _is_object: bool = field(repr=False)

    @property
    def genotype(self) -> str | None:
        """The genotype in the text form of the authors' programs; None for spaces of other things than cells."""
        return genotype_text(self.space, self.architecture)

    def _repr_html_(self) -> str:
        """Show it in Jupyter."""
        from nasreg.draw.notebook import result_html

        last = self.history[-1]
        facts = {"epochs": str(len(self.history))} | ({"trials": str(len(self.trials))} if self.trials else {})
        if self.trials:
            facts["best score"] = f"{max(trial['score'] for trial in self.trials):.1%}"
        elif last["validation_accuracy"] is not None:
            facts["validation accuracy"] = f"{last['validation_accuracy']:.1%}"
        if self.run_dir:
            facts["run directory"] = str(self.run_dir)
        return result_html(self.space, self.architecture, last["strengths"] or None, facts)

    def model(self, *, keep_weights: bool = False) -> nn.Module:
        """Return the network that was found, as a plain module in which nothing of nasreg is left.

        Args:
            keep_weights: Take the weights from the supernet. Otherwise they start anew, and a registered space builds
                the network in the form that its paper retrains.

        Raises:
            SpaceError: A module of a user's own model has parameters but no ``reset_parameters``, with which it could
                start anew.
            UsageError: There are no weights to keep: a multi-trial algorithm has no supernet.
        """
        if not keep_weights:
            # What is built anew has new weights; a user's own model is there already.
            return freeze(self._build(retrain=True), self.architecture, keep_weights=not self._is_object)
        if self.supernet is None:
            raise UsageError("a multi-trial search has no supernet whose weights could be kept: use model()")
        # In the end the supernet may have fewer candidates than the space.
        return freeze(self.supernet, extract_space(self.supernet).architecture(self.architecture.decisions))


def search(
    space: nn.Module | str | None = None,
    data: Any = "digits",
    algorithm: str = "darts",
    *,
    preset: str | None = None,
    mutator: Mapping[str, Any] | None = None,
    trainer: Mapping[str, Any] | None = None,
    space_options: Mapping[str, Any] | None = None,
    dataset_options: Mapping[str, Any] | None = None,
    seed: int | None = None,
    device: str | None = None,
    out: str | Path | None = None,
    resume: bool = False,
    callbacks: Sequence[Callback] = (),
    registry: Registry | None = None,
) -> SearchResult:
    """Search for an architecture.

    Args:
        space: A model with choices in it (it is trained in place as the supernet), the name of a space, or
            ``"package.module:factory"``; the algorithm's default space where None.
        data: Name of a data set, ``"folder:PATH"``, a torch ``Dataset`` of (image ``(C, H, W)``, label), a tuple
            ``(train, test)`` of those, or a ``nasreg.data.LoadedDataset``.
        algorithm: Name of an algorithm.
        preset: Named set of options to start from.
        mutator: Options of the mutator.
        trainer: Options of the trainer, such as ``{"epochs": 50}``.
        space_options: Options of the space, where it is given by name.
        dataset_options: Options of the data set; for objects, those of ``nasreg.data.DatasetConfig``.
        seed: Seed of everything that is random.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:N`` or ``mps``.
        out: Run directory to make. Without one nothing is written.
        resume: Go on with the run in ``out``. Give the same arguments as for the run that was interrupted.
        callbacks: Called with each event of ``nasreg.events``.
        registry: Where names are looked up; by default what is installed.

    Returns:
        The result.

    Raises:
        UsageError: What was asked for makes no sense; nothing was written. Its subclasses tell what.
        TrainingError: Out of memory, or a loss that is not finite.
        InterruptedRunError: Ctrl-C or SIGTERM; with ``out`` it can be resumed.
        PluginError: The plugin's code could not be loaded.
    """
    registry = registry or default_registry()
    named_space = space if isinstance(space, str) else None
    named_data = data if isinstance(data, str) else None
    spec = resolve_run(
        registry,
        algorithm,
        space=named_space,
        dataset=named_data,
        preset=preset,
        mutator=mutator,
        trainer=trainer,
        space_options=space_options,
        dataset_options=dataset_options,
        seed=seed,
        device=device,
        space_object=f"{OBJECT}{type(space).__name__}" if isinstance(space, nn.Module) else None,
        dataset_object=None if named_data else f"{OBJECT}{type(data).__name__}",
    )
    return run(
        spec,
        registry=registry,
        model=space if isinstance(space, nn.Module) else None,
        dataset=None if named_data else as_dataset(data),
        out=out,
        resume=resume,
        callbacks=callbacks,
    )


def run(
    spec: RunSpec,
    *,
    registry: Registry,
    model: nn.Module | None = None,
    dataset: LoadedDataset | None = None,
    out: str | Path | None = None,
    resume: bool = False,
    callbacks: Sequence[Callback] = (),
) -> SearchResult:
    """Carry out a resolved RunSpec.

    Args:
        spec: What to run.
        registry: Where its names are looked up.
        model: The model, where it is an object.
        dataset: The data set, where it is an object.
        out: Run directory to make, or with ``resume`` to go on with.
        resume: Go on with the run in ``out``.
        callbacks: Called with each event.

    Raises:
        NasregError: As ``search``.
    """
    # Everything that can be wrong with what was asked for is found out before anything is written.
    algorithm = registry.algorithm(spec.algorithm)
    mutator_config, trainer_config, dataset_config = configs(registry, spec)
    device = resolve_device(spec.device)
    spec = spec.model_copy(update={"device": str(device)})
    directory = None if out is None else claim_directory(Path(out), resume=resume)
    data = SearchData(
        dataset or load_dataset(registry, spec.dataset.name, dataset_config), dataset_config, spec.seed, device
    )
    entry = None if ":" in spec.space.name else registry.space(spec.space.name)  # an own space has a colon
    build = _builder(registry, spec, data.info, model, entry)
    with torch.random.fork_rng():
        space = extract_space(build())
    algorithm.check_space(spec.space.name, space, entry)
    make_mutator = algorithm.mutator.load_factory()
    task = SearchTask(
        spec=spec,
        space=space,
        build=build,
        mutator=lambda space: make_mutator(space, mutator_config),
        data=data,
        device=device,
        callbacks=list(callbacks),
    )
    trainer: SearchTrainer = algorithm.trainer.load_factory()(task, trainer_config)

    records = carry_out(
        trainer,
        directory,
        registry,
        resume=resume,
        network=lambda: freeze(build(retrain=True), trainer.mutator.architecture()),
        end=partial(_write_result, trainer, space),
    )
    return SearchResult(
        architecture=trainer.mutator.architecture(),
        space=space,
        history=of_kind(records, "epoch"),
        trials=of_kind(records, "trial"),
        run_dir=directory.path if directory else None,
        supernet=trainer.supernet(),
        _build=build,
        _is_object=model is not None,
    )


def resume(
    run_dir: str | Path, *, callbacks: Sequence[Callback] = (), registry: Registry | None = None
) -> SearchResult:
    """Go on with a run that was interrupted, as if it had not been.

    Args:
        run_dir: The run directory.
        callbacks: Called with each event.
        registry: Where names are looked up; by default what is installed.

    Raises:
        RunDirectoryError: It is no run, has finished, is still going on, or was started from Python with an object.
        NasregError: As ``search``.
    """
    directory = RunDirectory(run_dir)
    spec = directory.spec
    if isinstance(spec, RetrainSpec):
        raise RunDirectoryError(f"{directory.path} is a retraining: use nasreg.retraining.api.resume")
    try:
        return run(spec, registry=registry or default_registry(), out=directory.path, resume=True, callbacks=callbacks)
    except UnknownNameError as error:
        versions = directory.read_json("environment.json").get("versions", {})
        before = ", ".join(f"{name} {version}" for name, version in versions.items())
        raise UnknownNameError(f"{error} The run was made with: {before}.") from error


def _builder(
    registry: Registry, spec: RunSpec, info: DataInfo, model: nn.Module | None, entry: SpaceEntry | None
) -> Build:
    """Return what builds the model; for an object it is the object each time."""
    name = spec.space.name
    if model is None and name.startswith(OBJECT):
        raise RunDirectoryError(object_advice("model", name))
    component = space_component(registry, name) if model is None else None

    def build(
        *, retrain: bool = False, added_depth: int = 0, edge_candidates: EdgeCandidates | None = None
    ) -> nn.Module:
        if component is None:
            assert model is not None  # noqa: S101  # one of the two is there
            return model
        options = spec.space.options
        if entry is not None:
            options |= entry.retrain if retrain else {}
            if added_depth:
                options[entry.capabilities["depth"]] += added_depth
            if edge_candidates is not None:
                options[entry.capabilities["edge_candidates"]] = edge_candidates
        module = component.build(info, options)
        if not isinstance(module, nn.Module):
            raise SpaceError(f"space {name!r} gave a {type(module).__name__}, not an nn.Module")
        return module

    return build


def _write_result(trainer: SearchTrainer, space: SearchSpaceSpec, directory: RunDirectory) -> None:
    architecture = trainer.mutator.architecture()
    strengths = trainer.mutator.strengths()
    title = f"{trainer.task.spec.algorithm} on {trainer.task.spec.dataset.name}"
    draw_cells(space, architecture, directory.path / "cells.svg", strengths=strengths, title=title)
    genotype = genotype_text(space, architecture)
    if genotype:
        directory.write_text("genotype.txt", genotype + "\n")
    directory.write_text("architecture.json", architecture.to_json())
