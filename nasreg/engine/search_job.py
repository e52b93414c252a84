"""The execution of a search of either family, and of a one-shot search. Imports torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from nasreg.config.notation import architecture_text
from nasreg.config.request import ResolvedRun
from nasreg.data.config import TEST_FRACTION_HINT
from nasreg.engine.execute import Job, draw
from nasreg.engine.search_result import SearchResult
from nasreg.errors import ConfigError, SpaceError
from nasreg.networks.block_costs import measure_blocks
from nasreg.networks.build import network_of_search
from nasreg.networks.dry_run import check_supernet
from nasreg.networks.references import describe_space
from nasreg.networks.structure import model_structure
from nasreg.registry import Registry
from nasreg.runs import files
from nasreg.runs.callbacks import of_kind
from nasreg.runs.directory import RunDirectory
from nasreg.specs import AlgorithmSpec, Architecture, Fact, MetricSpec, RunSpec, SearchSpaceSpec
from nasreg.specs.base import resolve as resolve_reference
from nasreg.specs.formatting import plural
from nasreg.specs.references import ObjectRef
from nasreg.tasks import get_task
from nasreg.trainers import MultiTrialTrainer, OneShotContext, OneShotTrainer

if TYPE_CHECKING:
    from nasreg.data import RunData


class SearchJob(Job):
    """A search, of either family."""

    needs_test_set = False
    trainer: OneShotTrainer | MultiTrialTrainer

    def __init__(
        self, run: ResolvedRun, registry: Registry, data: RunData | None, directory: RunDirectory | None
    ) -> None:
        super().__init__(run, registry, data, directory)
        self.spec = search_spec(run)
        self.algorithm = registry.algorithm(self.spec.algorithm)
        self.space = describe_space(run.space, self.spec.space.options, self.info)
        self._check_space(run, registry, self.algorithm, self.space)
        # Data from Python are given to the retraining anew, and may have a test set then.
        if data is not None and not data.has_test and not isinstance(run.dataset.reference, ObjectRef):
            self.notices.append(
                f"data set {run.spec.dataset.title!r} has no test set, so that the network found cannot be measured"
                f" after its retraining: {TEST_FRACTION_HINT}"
            )
        if run.space.entry is None and directory is not None:
            self.structure = model_structure(run.space, self.spec.space.options, self.info)
        if run.space.entry is None and data is not None:  # registered spaces are tested where they are written
            self.notices += self._check_model(data.device)

    def _check_model(self, device: torch.device) -> Sequence[str]:
        """Check the model of a user's own space, and return notices about it."""
        options, task, weighted = self.spec.space.options, get_task(self.spec.task), self.run.evaluator is None
        return check_supernet(self.run.space, options, self.info, task, device, weighted=weighted)

    @staticmethod
    def _check_space(run: ResolvedRun, registry: Registry, algorithm: AlgorithmSpec, space: SearchSpaceSpec) -> None:
        installed = [registry.space(name) for name in registry.spaces()]
        title = run.space.reference.title
        algorithm.check_space(title, space, run.space.entry, installed)
        if space.size() == 1:
            raise SpaceError(
                f"search space {title!r} has a single architecture, so that there is nothing to search: give a choice"
                " more candidates"
            )

    @classmethod
    def check(cls, run: ResolvedRun, registry: Registry) -> None:
        """Check that the algorithm can search the space, as far as that does not depend on the images."""
        spec = search_spec(run)
        algorithm = registry.algorithm(spec.algorithm)
        installed = [registry.space(name) for name in registry.spaces()]
        algorithm.check_capabilities(run.space.reference.title, run.space.entry, installed)
        if run.space.entry is not None:
            # A user's own space may be written for the images alone, and is checked when they are known.
            cls._check_space(run, registry, algorithm, describe_space(run.space, spec.space.options))

    def network(self) -> nn.Module:
        """Return the network of the architecture found."""
        return self.build_network(self.trainer.mutator.architecture())

    def build_network(self, architecture: Architecture) -> nn.Module:
        """Build the network of an architecture, with new weights, in the form in which the space is retrained."""
        return network_of_search(self.run.space, self.info, self.spec.space.options, architecture)

    def end(self, directory: RunDirectory) -> None:
        """Write the architecture, as JSON, as a genotype and as a picture."""
        architecture = self.trainer.mutator.architecture()
        genotype = architecture_text(self.space, architecture, self.run.space.entry)
        if genotype:
            directory.write_text(files.GENOTYPE, genotype + "\n")
        directory.write_text(files.ARCHITECTURE, architecture.to_json())

        def drawing() -> None:
            from nasreg.report import draw_cells

            strengths = self.trainer.mutator.strengths()
            path = directory.path / files.CELLS
            title = self.spec.headline_of(uses_data=self.data is not None)
            draw_cells(self.space, architecture, path, strengths=strengths, title=title)

        draw(self, directory, drawing)

    @property
    def objective(self) -> MetricSpec | None:
        """The metric that trials are scored by, in a search that has trials."""
        return None

    @property
    def objectives(self) -> tuple[MetricSpec, ...]:
        """What a multi-trial algorithm optimises beside the score."""
        return ()

    @property
    def facts(self) -> tuple[Fact, ...]:
        """What the evaluator knows of the result, in a search that has trials."""
        return ()

    def result(self, records: Sequence[Mapping[str, Any]]) -> SearchResult:
        """Return the result, after the search."""
        architecture = self.trainer.mutator.architecture()
        return SearchResult(
            architecture=architecture,
            space=self.space,
            history=of_kind(records, "epoch"),
            trials=of_kind(records, "trial"),
            objective=self.objective,
            objectives=self.objectives,
            facts=self.facts,
            run_dir=self.directory.path if self.directory else None,
            supernet=self.trainer.supernet(),
            source=self.run.space,
            options=self.spec.space.options,
            _build=lambda: self.build_network(architecture),
        )


def search_spec(run: ResolvedRun) -> RunSpec:
    """Return the spec of a run that is a search."""
    if not isinstance(run.spec, RunSpec):
        raise TypeError("a search needs a RunSpec")
    return run.spec


class OneShotJob(SearchJob):
    """A search on one supernet."""

    trainer: OneShotTrainer

    def __init__(
        self, run: ResolvedRun, registry: Registry, data: RunData | None, directory: RunDirectory | None
    ) -> None:
        super().__init__(run, registry, data, directory)
        source, options = run.space, self.spec.space.options
        make_mutator = self.algorithm.mutator.load_factory()
        context = OneShotContext(
            spec=self.spec,
            space=self.space,
            data=self.images,
            task=get_task(self.spec.task),
            device=self.images.device,
            build_supernet=self._build_supernet,
            make_mutator=lambda space: make_mutator(space, run.mutator_config),
            capabilities={name: options.get(option) for name, option in source.capabilities.items()},
            measure_blocks=lambda model, names: measure_blocks(model, self.info, names, device=self.images.device),
            **self._diagnostics(),
        )
        self.trainer = self.algorithm.trainer.load_factory()(context, run.trainer_config)
        epochs = range(self.trainer.epochs)
        if "arch" in self.algorithm.splits and not any(map(self.trainer.needs_arch_batch, epochs)):
            raise ConfigError(
                f"algorithm {self.algorithm.name!r} would learn the architecture in none of its"
                f" {plural(len(epochs), 'epoch')}, with these options: raise trainer.epochs, or shorten its warm-up"
            )

    def _diagnostics(self) -> dict[str, Any]:
        """Return the argument of the context with the figures that the space has of its architectures."""
        entry = self.run.space.entry
        if entry is None or entry.diagnostics is None:
            return {}
        return {"diagnostics": resolve_reference(entry.diagnostics, f"space {entry.name!r}")(self.spec, self.space)}

    def _build_supernet(self, **capabilities: Any) -> nn.Module:
        known = self.run.space.capabilities
        changed = {known[name]: value for name, value in capabilities.items()}
        return self.run.space.build(self.info, {**self.spec.space.options, **changed})

    def measure_result(self) -> dict[str, Any]:
        """Measure what the network found reaches with the weights of the supernet."""
        found = self.trainer.measure_network()
        if found is None:
            return {}
        self.trainer.emit(found)
        values = {"supernet": found.supernet, "inherited": found.inherited, "recalibrated": found.recalibrated}
        return {"network": {"metric": found.metric.name, **values}}

    def result(self, records: Sequence[Mapping[str, Any]]) -> SearchResult:
        """Return the result, which can recalibrate the network that it takes out of the supernet."""
        return replace(super().result(records), _recalibrate=self.trainer.recalibrate)

    @property
    def step_samples(self) -> int:
        """Number of samples in a piece of a step."""
        return -(-self.trainer.config.batch_size // self.trainer.config.accumulate)
