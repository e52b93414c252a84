"""The execution of a multi-trial search. Imports torch."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from concurrent.futures import Executor
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

from nasreg.config.custom_space import import_code
from nasreg.config.request import ResolvedRun
from nasreg.engine.evaluation import EvaluationPlan, make_executor
from nasreg.engine.execute import draw
from nasreg.engine.search_job import SearchJob, search_spec
from nasreg.errors import ConfigError, IncompatibleError, PluginError
from nasreg.events import Event
from nasreg.networks.costs import network_costs
from nasreg.networks.extremes import extreme_architectures
from nasreg.networks.references import find_architecture
from nasreg.registry import Registry
from nasreg.runs import files
from nasreg.runs.directory import RunDirectory
from nasreg.specs import Architecture, EvaluatorSpec, Fact, MetricSpec
from nasreg.specs.formatting import format_duration
from nasreg.specs.references import CodeRef, parse_reference
from nasreg.specs.trial import COSTS, SIMULATED_SECONDS
from nasreg.tasks import get_task
from nasreg.trainers import MultiTrialContext, MultiTrialTrainer, MultiTrialTrainerConfig
from nasreg.trainers.device import resolve_device

if TYPE_CHECKING:
    from nasreg.data import RunData


class MultiTrialJob(SearchJob):
    """A search that evaluates architectures one by one.

    Args:
        run: The resolved run; its device is final.
        registry: Where names are looked up.
        data: The data, if the evaluator needs them.
        directory: The run directory, if there is one.
        executor: Evaluates the trials, in place of the executor that the spec names.
    """

    trainer: MultiTrialTrainer

    def __init__(
        self,
        run: ResolvedRun,
        registry: Registry,
        data: RunData | None,
        directory: RunDirectory | None,
        executor: Executor | None = None,
    ) -> None:
        super().__init__(run, registry, data, directory)
        spec, evaluator_spec = self.spec, _evaluator(run)
        device = resolve_device(spec.device)
        config = run.trainer_config
        if not isinstance(config, MultiTrialTrainerConfig):
            raise PluginError(
                f"algorithm {self.algorithm.name!r}: the options of its trainer are no MultiTrialTrainerConfig"
            )
        path = directory.path if directory is not None else None
        plan = EvaluationPlan(spec, evaluator_spec, run.space, run.dataset, self.space, path)
        self.evaluator = plan.make_evaluator(device, data, self._emit)
        make_mutator = self.algorithm.mutator.load_factory()
        context = MultiTrialContext(
            spec=spec,
            space=self.space,
            task=get_task(spec.task),
            device=device,
            make_mutator=lambda space: make_mutator(space, run.mutator_config),
            executor=make_executor(plan, self.evaluator, executor),
            objective=self.evaluator.objective,
            metrics=tuple(self.evaluator.metrics),
            measure_costs=self._measure_costs,
            extreme_costs=self._extreme_costs,
            initial=tuple(self._initial(text) for text in config.initial),
            accept=_filter(config.filter, run.space.import_path),
            uses_data=data is not None,
            trial_epochs=self.evaluator.trial_epochs,
            prepare=self.evaluator.prepare,
        )
        self.trainer = self.algorithm.trainer.load_factory()(context, config)

    def _emit(self, event: Event) -> None:
        self.trainer.emit(event)

    @classmethod
    def check(cls, run: ResolvedRun, registry: Registry) -> None:
        """Check also that the evaluator can score the space, with a share of its effort if the algorithm wants that.

        Where there are budgets, the architectures of the space need networks.
        """
        evaluator, algorithm = _evaluator(run), registry.algorithm(search_spec(run).algorithm)
        evaluator.check_space(run.space.reference.title, run.space.entry)
        if algorithm.fidelity and not evaluator.fidelity:
            raise IncompatibleError(
                f"algorithm {algorithm.name!r} evaluates with a share of the full effort, which evaluator"
                f" {evaluator.name!r} cannot do: choose another with --evaluator"
            )
        if any(getattr(run.trainer_config, f"max_{cost.name}", None) is not None for cost in COSTS):
            run.space.check_network()
        super().check(run, registry)

    @classmethod
    def needs_data(cls, run: ResolvedRun) -> bool:
        """Return whether the evaluator needs the data with these options."""
        return run.evaluator_config is not None and "data" in _evaluator(run).needs_with(run.evaluator_config)

    @classmethod
    def measures_cost(cls, run: ResolvedRun) -> bool:
        """Return whether networks are used at all: a search that only looks results up builds none to measure it."""
        return bool(_evaluator(run).needs)

    def _measure_costs(self, architecture: Architecture, names: Collection[str]) -> Mapping[str, float]:
        return network_costs(self.build_network(architecture), self.info, names, self.trainer.context.device)

    def _extreme_costs(self, which: Literal["smallest", "largest"], names: Collection[str]) -> Mapping[str, float]:
        device = resolve_device(self.spec.device)
        architectures = extreme_architectures(self.run.space, self.spec.space.options, self.space, self.info)
        return network_costs(self.build_network(getattr(architectures, which)), self.info, names, device)

    def _initial(self, text: str) -> Architecture:
        architecture = self._read_architecture(text)
        self.evaluator.check(architecture)
        return architecture

    def _read_architecture(self, text: str) -> Architecture:
        if text.lstrip().startswith("{"):
            architecture = Architecture.from_json(text, "trainer.initial")
            self.space.validate(architecture)
            return architecture
        found = find_architecture(text, space=self.run.space.reference.text, registry=self.registry)
        return found.resolve(self.space)

    @property
    def objective(self) -> MetricSpec:
        """The metric that the trials are scored by."""
        return self.evaluator.objective

    @property
    def objectives(self) -> tuple[MetricSpec, ...]:
        """What the algorithm optimises beside the score."""
        return self.trainer.objectives

    @property
    def step_samples(self) -> int:
        """Number of samples in a step of the evaluator, if it trains."""
        config = self.evaluator.config
        return -(-getattr(config, "batch_size", 2) // getattr(config, "accumulate", 1))

    def begin(self, directory: RunDirectory) -> None:
        """Write what the trials are scored by."""
        metrics = [metric.model_dump(mode="json") for metric in self.evaluator.metrics]
        objectives = [metric.model_dump(mode="json") for metric in self.trainer.objectives]
        directory.write_json(
            files.OBJECTIVE,
            {"objective": self.objective.model_dump(mode="json"), "metrics": metrics, "objectives": objectives},
        )

    @cached_property
    def facts(self) -> tuple[Fact, ...]:
        """The facts that the evaluator knows of the result, after the search."""
        best = self.trainer.mutator.best
        if best is None:
            return ()
        simulated = self.trainer.simulated_seconds
        time = () if simulated is None else (_simulated_time(simulated),)
        return (*self.evaluator.facts(best, self.trainer.evaluations), *time)

    def end(self, directory: RunDirectory) -> None:
        """Write also the facts, if there are any."""
        super().end(directory)
        if self.facts:
            directory.write_json(files.FACTS, [fact.model_dump(mode="json") for fact in self.facts])
        if self.objectives:
            self._write_front(directory)

    def _write_front(self, directory: RunDirectory) -> None:
        """Write the architectures of the Pareto front, and a picture of it."""
        for record in directory.front:
            architecture = self.space.architecture(record["architecture"])
            directory.write_text(files.front_architecture(record["trial"]), architecture.to_json())

        def drawing() -> None:
            from nasreg.report import draw_front

            draw_front(directory, directory.path / files.FRONT)

        draw(self, directory, drawing)

    def close(self) -> None:
        """Free what the evaluator holds."""
        self.evaluator.close()


def _simulated_time(seconds: float) -> Fact:
    metric = SIMULATED_SECONDS
    text = f"{metric.format(seconds)} ({format_duration(seconds)})"
    return Fact(name=metric.name, title=metric.title, value=seconds, text=text)


def _evaluator(run: ResolvedRun) -> EvaluatorSpec:
    if run.evaluator is None:
        raise TypeError("a multi-trial search needs an evaluator")
    return run.evaluator


def _filter(text: str | None, import_path: str | None) -> Callable[[Architecture], Any] | None:
    if text is None:
        return None
    reference = parse_reference(text)
    if not isinstance(reference, CodeRef):
        raise ConfigError(f"trainer.filter: {text!r} is invalid: expected package.module:name or folder/file.py:name")
    found = import_code(reference, f"filter {text!r}", import_path)
    if not callable(found):
        raise ConfigError(f"trainer.filter: {text!r} is a {type(found).__name__}, not a function")
    accept: Callable[[Architecture], Any] = found
    return accept
