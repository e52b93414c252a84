"""The execution of a search of either family, and of a one-shot search. Imports torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn

from nasreg.config.resolve import ResolvedRun
from nasreg.data import RunData
from nasreg.engine.execute import Job, draw
from nasreg.engine.search_result import SearchResult
from nasreg.networks.build import network_of_search
from nasreg.networks.dry_run import check_supernet
from nasreg.networks.references import describe_space
from nasreg.networks.structure import model_structure
from nasreg.registry import Registry
from nasreg.runs import files
from nasreg.runs.callbacks import of_kind
from nasreg.runs.directory import RunDirectory
from nasreg.specs import AlgorithmSpec, Architecture, MetricSpec, RunSpec, SearchSpaceSpec, genotype_text
from nasreg.tasks import get_task
from nasreg.trainers import MultiTrialTrainer, OneShotContext, OneShotTrainer


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
        algorithm.check_space(run.space.reference.title, space, run.space.entry, installed)

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
        genotype = genotype_text(self.space, architecture)
        if genotype:
            directory.write_text(files.GENOTYPE, genotype + "\n")
        directory.write_text(files.ARCHITECTURE, architecture.to_json())

        def drawing() -> None:
            from nasreg.report import draw_cells

            strengths = self.trainer.mutator.strengths()
            path = directory.path / files.CELLS
            draw_cells(self.space, architecture, path, strengths=strengths, title=self.spec.headline)

        draw(self.trainer, directory, drawing)

    @property
    def objective(self) -> MetricSpec | None:
        """The metric that trials are scored by, in a search that has trials."""
        return None

    def result(self, records: Sequence[Mapping[str, Any]]) -> SearchResult:
        """Return the result, after the search."""
        architecture = self.trainer.mutator.architecture()
        return SearchResult(
            architecture=architecture,
            space=self.space,
            history=of_kind(records, "epoch"),
            trials=of_kind(records, "trial"),
            objective=self.objective,
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
        )
        self.trainer = self.algorithm.trainer.load_factory()(context, run.trainer_config)

    def _build_supernet(self, **capabilities: Any) -> nn.Module:
        known = self.run.space.capabilities
        changed = {known[name]: value for name, value in capabilities.items()}
        return self.run.space.build(self.info, {**self.spec.space.options, **changed})

    @property
    def step_samples(self) -> int:
        """Number of samples in a piece of a step."""
        return -(-self.trainer.config.batch_size // self.trainer.config.accumulate)
