"""Searches from Python: a space, data, an algorithm; the result is a ``SearchResult``. Imports torch.

The command line calls the same functions.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import nn

from nasreg.config.custom_space import space_from_callable, space_from_module
from nasreg.config.lookup import dataset_from_object
from nasreg.config.resolve import ResolvedRun, RunRequest, resolve
from nasreg.config.sources import SpaceSource
from nasreg.data import RunData
from nasreg.engine.execute import Job, draw, execute
from nasreg.errors import UsageError
from nasreg.events import Callback
from nasreg.networks.build import network_of
from nasreg.networks.references import describe_space
from nasreg.nn import extract_space, freeze
from nasreg.registry import Registry, default_registry
from nasreg.runs import files
from nasreg.runs.callbacks import of_kind
from nasreg.runs.directory import RunDirectory
from nasreg.specs import Architecture, RunSpec, SearchSpaceSpec, genotype_text
from nasreg.specs.metrics import metric_spec, recorded_score, split_name
from nasreg.tasks import get_task
from nasreg.trainers.context import SearchContext
from nasreg.trainers.search import SearchTrainer

SpaceLike = str | nn.Module | Callable[..., nn.Module]
"""A search space: a reference, a class or function that builds the model, or the model."""


@dataclass(frozen=True)
class SearchResult:
    """The result of a search."""

    architecture: Architecture
    """The architecture found."""
    space: SearchSpaceSpec
    """The space that it belongs to."""
    history: list[dict[str, Any]]
    """For each epoch, in order: its number from 1, metrics, seconds, diagnostics, strengths, weights."""
    run_dir: Path | None
    """The run directory, if one was asked for."""
    trials: list[dict[str, Any]]
    """For each trial of a multi-trial algorithm, in order: number from 1, score, parameters, seconds, architecture."""
    supernet: nn.Module | None = field(repr=False)
    """The trained supernet of a one-shot algorithm, with its choices undecided again."""
    source: SpaceSource = field(repr=False)
    """Where the space comes from."""
    options: Mapping[str, Any] = field(repr=False)
    """Options of the space in the search."""
    _build: Callable[[], nn.Module] = field(repr=False)

    @property
    def genotype(self) -> str | None:
        """The genotype as the authors' programs write it; None in a space that holds anything but cells."""
        return genotype_text(self.space, self.architecture)

    def model(self, *, keep_weights: bool = False) -> nn.Module:
        """Return the network of the architecture, as a plain module without any class of nasreg.

        Args:
            keep_weights: Take the weights from the supernet. Otherwise the network is built anew, a registered space in
                the form in which its paper retrains it. A model that was given as an object is copied with the weights
                it had before the search.

        Raises:
            UsageError: There are no weights to keep: a multi-trial algorithm has no supernet.
        """
        if not keep_weights:
            return self._build()
        if self.supernet is None:
            raise UsageError("a multi-trial search has no supernet whose weights could be kept: use model()")
        # At the end the supernet may have fewer candidates than the space.
        return freeze(self.supernet, extract_space(self.supernet).architecture(self.architecture.decisions))

    def _repr_html_(self) -> str:
        """Return the HTML that Jupyter shows."""
        from nasreg.report.notebook import result_html

        last = self.history[-1]
        facts = {"epochs": str(len(self.history))}
        if self.trials:
            metric = recorded_score(self.trials[0])
            best = max if metric.higher_is_better else min
            facts["trials"] = str(len(self.trials))
            facts[f"best {metric.title}"] = metric.format(best(trial["score"] for trial in self.trials))
        else:
            suffix = " of the supernet" if last.get("model") == "supernet" else ""
            for name, value in last.items():
                split, metric_name = split_name(name)
                if split in ("validation", "arch") and metric_name != "loss":
                    facts[f"{metric_spec(name).title}{suffix}"] = metric_spec(name).format(value)
        if self.run_dir:
            facts["run directory"] = str(self.run_dir)
        return result_html(self.space, self.architecture, last["strengths"] or None, facts)


def search(
    space: SpaceLike | None = None,
    data: Any = "digits",
    algorithm: str | None = None,
    *,
    preset: str | None = None,
    mutator: Mapping[str, Any] | None = None,
    trainer: Mapping[str, Any] | None = None,
    space_options: Mapping[str, Any] | None = None,
    dataset_options: Mapping[str, Any] | None = None,
    config: Mapping[str, Any] | str | Path | None = None,
    settings: Sequence[str] = (),
    seed: int | None = None,
    device: str | None = None,
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
            ``(train, test)`` of those, or a ``nasreg.data.DatasetBundle``.
        algorithm: Name of an algorithm; ``Registry.default_algorithm`` where None.
        preset: Named set of options to start from.
        mutator: Options of the mutator.
        trainer: Options of the trainer, such as ``{"epochs": 50}``.
        space_options: Options of the space.
        dataset_options: Options of the data set; for objects, those of ``nasreg.data.DatasetConfig``.
        config: A YAML file in the form of a ``run.yaml``, whole or in part, or its content.
        settings: ``"KEY=VALUE"``, such as ``"trainer.epochs=50"``.
        seed: Seed of everything that is random.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:N`` or ``mps``.
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
    request = RunRequest(
        algorithm=registry.default_algorithm if algorithm is None else algorithm,
        space=space_source(space),
        dataset=data if isinstance(data, str) else dataset_from_object(data),
        preset=preset,
        config=config,
        settings=settings,
        options={"mutator": mutator, "trainer": trainer, "space": space_options, "dataset": dataset_options},
        seed=seed,
        device=device,
    )
    return run_search(resolve(registry, request), registry=registry, out=out, resume=resume, callbacks=callbacks)


def space_source(space: SpaceLike | None) -> str | SpaceSource | None:
    """Return the argument ``space`` of ``search`` in the form that a ``RunRequest`` takes.

    Raises:
        UsageError: It is none of the accepted kinds.
        SpaceError: It is a model that cannot be copied, or its parameters cannot be options.
    """
    if space is None or isinstance(space, str):
        return space
    if isinstance(space, nn.Module):
        return space_from_module(space)
    if callable(space):
        return space_from_callable(space)
    raise UsageError(
        f"space: {space!r:.80} is invalid: expected a class or function that builds a model, a model, the name of a"
        " space or 'package.module:name'"
    )


def run_search(
    run: ResolvedRun,
    *,
    registry: Registry,
    out: str | Path | None = None,
    resume: bool = False,
    callbacks: Sequence[Callback] = (),
) -> SearchResult:
    """Execute a resolved search.

    Args:
        run: The resolved search.
        registry: Where names are looked up.
        out: Run directory to make, or with ``resume`` to resume.
        resume: Resume the run in ``out``.
        callbacks: Called with each event.

    Raises:
        NasregError: As ``search``.
    """
    job, records = execute(run, SearchJob, registry=registry, out=out, resume=resume, callbacks=callbacks)
    return job.result(records)


class SearchJob(Job):
    """A search."""

    needs_test_set = False
    trainer: SearchTrainer

    def __init__(self, run: ResolvedRun, registry: Registry, data: RunData, directory: RunDirectory | None) -> None:
        super().__init__(run, registry, data, directory)
        if not isinstance(run.spec, RunSpec):
            raise TypeError("a search needs a RunSpec")
        algorithm = registry.algorithm(run.spec.algorithm)
        source, options = run.space, run.spec.space.options
        self.space = describe_space(source, options, data.info)
        installed = [registry.space(name) for name in registry.spaces()]
        algorithm.check_space(source.reference.title, self.space, source.entry, installed)
        make_mutator = algorithm.mutator.load_factory()
        context = SearchContext(
            spec=run.spec,
            space=self.space,
            data=data,
            task=get_task(run.spec.task),
            device=data.device,
            build_supernet=self._build_supernet,
            build_network=self._build_network,
            make_mutator=lambda space: make_mutator(space, run.mutator_config),
            capabilities={name: options.get(option) for name, option in source.capabilities.items()},
        )
        self.trainer = algorithm.trainer.load_factory()(context, run.trainer_config)

    def _build_supernet(self, **capabilities: Any) -> nn.Module:
        known = self.run.space.capabilities
        changed = {known[name]: value for name, value in capabilities.items()}
        return self.run.space.build(self.info, {**self.run.spec.space.options, **changed})

    def _build_network(self, architecture: Architecture) -> nn.Module:
        options = {**self.run.spec.space.options, **self.run.space.retrain_options}
        return network_of(self.run.space, self.info, options, architecture.decisions)

    def network(self) -> nn.Module:
        """Return the network of the architecture found."""
        return self._build_network(self.trainer.mutator.architecture())

    def end(self, directory: RunDirectory) -> None:
        """Write the architecture, as JSON, as a genotype and as a picture."""
        architecture = self.trainer.mutator.architecture()
        genotype = genotype_text(self.space, architecture)
        if genotype:
            directory.write_text(files.GENOTYPE, genotype + "\n")
        directory.write_text(files.ARCHITECTURE, architecture.to_json())

        def drawing() -> None:
            from nasreg.report import draw_cells

            strengths = self.trainer.mutator.strengths()
            path = directory.path / files.CELLS
            draw_cells(self.space, architecture, path, strengths=strengths, title=self.run.spec.headline)

        draw(self.trainer, directory, drawing)

    def result(self, records: Sequence[Mapping[str, Any]]) -> SearchResult:
        """Return the result, after the search."""
        architecture = self.trainer.mutator.architecture()
        return SearchResult(
            architecture=architecture,
            space=self.space,
            history=of_kind(records, "epoch"),
            trials=of_kind(records, "trial"),
            run_dir=self.directory.path if self.directory else None,
            supernet=self.trainer.supernet(),
            source=self.run.space,
            options=self.run.spec.space.options,
            _build=lambda: self._build_network(architecture),
        )
