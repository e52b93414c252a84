"""The plan of a study: algorithm x problem x seed, each a resolved run with its directory. Nothing is run here.

All algorithms get the same space, data and evaluator with the same options: those that the first multi-trial algorithm
resolves to. A preset of another algorithm may name other ones, which would compare presets instead of algorithms.
"""

from __future__ import annotations

import random
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from nasreg.config.request import ArchitectureOrigin, ResolvedRun, RunRequest
from nasreg.config.resolve import resolve
from nasreg.config.sources import DatasetSource, SpaceSource
from nasreg.engine.multi_trial_job import MultiTrialJob
from nasreg.engine.search_job import OneShotJob, search_spec
from nasreg.errors import ConfigError, UnknownNameError
from nasreg.networks.references import describe_space
from nasreg.registry import Registry
from nasreg.specs import AlgorithmSpec, RunSpec, Selection
from nasreg.specs.formatting import option_text
from nasreg.specs.study import StudyAlgorithm, StudyRetraining, StudySpec

UNLIMITED_TRIALS = 1_000_000
"""Trials of a search whose budget is a time."""

_FRACTIONS = ("arch_fraction", "validation_fraction")
"""Options of the data that depend on the splits that an algorithm needs."""


@dataclass(frozen=True)
class Problem:
    """What is searched: a space, data and an evaluator with their options."""

    name: str
    """Name of its folder."""
    title: str
    space: Selection | None
    dataset: Selection | None
    evaluator: Selection | None
    settings: tuple[str, ...] = ()
    """KEY=VALUE."""


@dataclass(frozen=True)
class PlannedRun:
    """A run of a study."""

    problem: Problem
    algorithm: StudyAlgorithm
    seed: int
    run: ResolvedRun
    scoring: ResolvedRun | None
    """Of a one-shot search: a search whose evaluator scores what it finds; None where there is none to be had."""

    @property
    def folder(self) -> str:
        """Path of the run below the folders of the runs and of the retrainings."""
        return f"{self.problem.name}/{slug(self.algorithm.title)}/seed-{self.seed}"

    @property
    def title(self) -> str:
        """The run for people."""
        return f"{self.algorithm.title} on {self.problem.title}, seed {self.seed}"


@dataclass(frozen=True)
class Plan:
    """The runs of a study, in the order in which they are computed: all algorithms of a seed before the next seed."""

    spec: StudySpec
    """With random search among its algorithms."""
    problems: tuple[Problem, ...]
    runs: tuple[PlannedRun, ...]
    notices: tuple[str, ...]
    """What a user should know before."""


def slug(text: str) -> str:
    """Return a text as the name of a folder."""
    return re.sub(r"[^\w.]+", "-", text).strip("-.") or "x"


def with_baseline(registry: Registry, spec: StudySpec) -> StudySpec:
    """Return a study with random search among its algorithms, unless it does without.

    Raises:
        UnknownNameError: It is not installed.
    """
    if not spec.baseline:
        return spec
    name = registry.baseline_algorithm
    try:
        baseline = registry.qualified("algorithm", name)
    except UnknownNameError as error:
        raise UnknownNameError(f"{error} A study includes random search; --without-random leaves it out") from error
    if any(registry.qualified("algorithm", each.algorithm) == baseline for each in spec.algorithms):
        return spec
    return spec.model_copy(update={"algorithms": (*spec.algorithms, StudyAlgorithm(algorithm=name))})


def plan_study(
    registry: Registry, spec: StudySpec, space: SpaceSource | None = None, dataset: DatasetSource | None = None
) -> Plan:
    """Return the plan of a study; every name and option is checked.

    Args:
        registry: Where names are looked up.
        spec: The study.
        space: The space, if it is a Python object.
        dataset: The data set, if it is a Python object.

    Raises:
        UnknownNameError: A name that nothing is registered under.
        ConfigError: An option does not exist or has an invalid value.
        IncompatibleError: An algorithm cannot search a space, or an evaluator cannot score it.
    """
    spec = with_baseline(registry, spec)
    _check_labels(registry, spec)
    families = {each.title: registry.algorithm(each.algorithm) for each in spec.algorithms}
    problems = _problems(registry, spec, families, space)
    runs: list[PlannedRun] = []
    notices: list[str] = []
    for problem in problems:
        resolver = _Resolver(registry, spec, problem, families, space, dataset)
        found = {each.title: resolver.resolved(each) for each in spec.algorithms}
        scoring = resolver.reference
        for each in spec.algorithms:
            run = found[each.title]
            (OneShotJob if run.evaluator is None else MultiTrialJob).check(run, registry)
            score = scoring if run.evaluator is None and scoring is not None and scoring.evaluator is not None else None
            runs += [
                PlannedRun(problem, each, seed, _seeded(run, seed), None if score is None else _seeded(score, seed))
                for seed in spec.seeds
            ]
        if spec.retrain is not None:
            _check_retraining(registry, spec.retrain, next(iter(found.values())))
        notices += resolver.notices
    order = {seed: place for place, seed in enumerate(spec.seeds)}
    runs.sort(key=lambda each: order[each.seed])
    return Plan(spec, tuple(problems), tuple(runs), tuple(dict.fromkeys(notices)))


def _seeded(run: ResolvedRun, seed: int) -> ResolvedRun:
    return replace(run, spec=run.spec.model_copy(update={"seed": seed}))


def _check_labels(registry: Registry, spec: StudySpec) -> None:
    titles = [each.title for each in spec.algorithms]
    folders: dict[str, str] = {}
    for title in titles:
        other = folders.setdefault(slug(title).lower(), title)
        if other != title:
            raise ConfigError(f"algorithms: the labels {other!r} and {title!r} would share a folder: change one")
    for each in spec.algorithms:
        registry.algorithm(each.algorithm)
        if ":" in each.label:
            raise ConfigError(f"algorithms: the label {each.label!r} has a colon, which --set LABEL:KEY=VALUE needs")
    for setting in spec.settings:
        label = _scope(setting)
        if label is not None and label not in titles:
            raise ConfigError(f"--set {setting}: no algorithm of the study is called {label!r}: {', '.join(titles)}")


def _scope(setting: str) -> str | None:
    """Return the label of the algorithm that a setting is for, or None for all."""
    label, colon, _ = setting.partition("=")[0].rpartition(":")
    return label if colon else None


def _problems(
    registry: Registry, spec: StudySpec, families: Mapping[str, AlgorithmSpec], space: SpaceSource | None
) -> list[Problem]:
    """Return every space with every data set, evaluator and varied option, each under a name of its own."""
    variants: list[tuple[str, ...]] = [()]
    for name, values in spec.vary.items():
        variants = [(*known, f"{name}={option_text(value)}") for known in variants for value in values]
    found: list[Problem] = []
    for each in spec.spaces or (None,):
        for dataset in spec.datasets or (None,):
            for evaluator in spec.evaluators or (None,):
                for settings in variants:
                    default = next(iter(families.values())).default_space
                    parts = [space.reference.title if space is not None else each.title if each else default]
                    parts += [dataset.title] if dataset is not None else []
                    parts += [evaluator.title] if evaluator is not None else []
                    parts += [setting.partition("=")[2] for setting in settings]
                    found.append(Problem("", ", ".join(parts), each, dataset, evaluator, settings))
    titles = [problem.title for problem in found]
    named = []
    for number, problem in enumerate(found, start=1):
        title = problem.title if titles.count(problem.title) == 1 else f"{problem.title} ({number})"
        named.append(replace(problem, title=title, name=slug(title)))
    return named


class _Resolver:
    """Resolves the runs of a problem, all with the space, data and evaluator of the first multi-trial algorithm.

    Attributes:
        reference: That algorithm's run; None where there is none and random search is not installed.
        notices: What a user should know before.
    """

    def __init__(
        self,
        registry: Registry,
        spec: StudySpec,
        problem: Problem,
        families: Mapping[str, AlgorithmSpec],
        space: SpaceSource | None,
        dataset: DatasetSource | None,
    ) -> None:
        self._registry, self._spec, self._problem = registry, spec, problem
        self._families = families
        self._space, self._dataset = space, dataset
        self._common: dict[str, dict[str, Any]] = {}
        self.notices: list[str] = []
        first = next((each for each in spec.algorithms if families[each.title].family == "multi-trial"), None)
        if first is None:
            with_trials = StudyAlgorithm(algorithm=registry.baseline_algorithm)
            try:
                family = registry.algorithm(with_trials.algorithm)
            except UnknownNameError:
                self.reference: ResolvedRun | None = None
                self.notices.append("what one-shot searches find is not scored: random search is not installed")
                first, reference = spec.algorithms[0], self._resolve(spec.algorithms[0], families)
                self._common = self._protocol(search_spec(reference))
                return
            # It only scores what the others find: the budget is not its own.
            self.reference = self._resolve(with_trials, {with_trials.title: family}, budgeted=False)
        else:
            self.reference = self._resolve(first, families)
        self._common = self._protocol(search_spec(self.reference))

    def resolved(self, algorithm: StudyAlgorithm) -> ResolvedRun:
        """Return the run of an algorithm under the common protocol."""
        return self._resolve(algorithm, self._families)

    def _protocol(self, spec: RunSpec) -> dict[str, dict[str, Any]]:
        asked = self._problem.dataset.options if self._problem.dataset is not None else {}
        data = {name: value for name, value in spec.dataset.options.items() if name not in _FRACTIONS}
        common = {
            "space": {"name": spec.space.name, **spec.space.options},
            "dataset": {"name": spec.dataset.name, **data, **asked},
        }
        if spec.evaluator is not None:
            common["evaluator"] = {"name": spec.evaluator.name, **spec.evaluator.options}
        if self._space is not None:
            del common["space"]["name"]
        if self._dataset is not None:
            del common["dataset"]["name"]
        return common

    def _resolve(
        self, algorithm: StudyAlgorithm, families: Mapping[str, AlgorithmSpec], *, budgeted: bool = True
    ) -> ResolvedRun:
        spec, problem = self._spec, self._problem
        family = families[algorithm.title]
        one_shot = family.family == "one-shot"
        given = {"space": problem.space, "dataset": problem.dataset, "evaluator": problem.evaluator}
        options: dict[str, dict[str, Any]] = {
            name: {"name": selection.name, **selection.options}
            for name, selection in given.items()
            if selection is not None
        }
        options |= self._common
        if one_shot:
            options.pop("evaluator", None)
        settings = [*problem.settings, *(each for each in spec.settings if _scope(each) is None)]
        if one_shot:
            settings = [each for each in settings if not each.startswith(("evaluator.", "evaluator="))]
        settings += [
            each.partition("=")[0].rpartition(":")[2] + "=" + each.partition("=")[2]
            for each in spec.settings
            if _scope(each) == algorithm.title
        ]

        def request(trainer: Mapping[str, Any]) -> RunRequest:
            return RunRequest(
                algorithm=algorithm.algorithm,
                space=self._space,
                dataset=self._dataset,
                preset=algorithm.preset,
                settings=settings,
                options={**options, "mutator": algorithm.mutator, "trainer": {**trainer, **algorithm.trainer}},
                seed=spec.seeds[0],
                device=spec.device,
            )

        run = resolve(self._registry, request(self._budget(one_shot) if budgeted else {}))
        budget = spec.budget
        if budgeted and not one_shot and budget.epochs and not (budget.evaluations or budget.seconds):
            run = resolve(self._registry, request({"max_trials": _trials_of_epochs(run, budget.epochs)}))
        return run

    def _budget(self, one_shot: bool) -> dict[str, Any]:
        budget = self._spec.budget
        if one_shot:
            return {} if budget.epochs is None else {"epochs": budget.epochs}
        found: dict[str, Any] = {}
        if budget.seconds is not None:
            found |= {"max_seconds": budget.seconds, "max_trials": UNLIMITED_TRIALS}
        if budget.evaluations is not None:
            found["max_trials"] = budget.evaluations
        return found


def _trials_of_epochs(run: ResolvedRun, epochs: int) -> int:
    """Return how many trainings of an evaluator take a number of epochs in all."""
    each = getattr(run.evaluator_config, "epochs", None)
    if each is None or run.evaluator is None:
        name = run.evaluator.name if run.evaluator is not None else ""
        raise ConfigError(
            f"budget: evaluator {name!r} trains for no epochs: give a number of evaluations, too, such as 100"
        )
    if epochs < each:
        raise ConfigError(f"budget: {epochs} epochs are less than one evaluation, which takes {each}")
    return int(epochs // each)


def _check_retraining(registry: Registry, retrain: StudyRetraining, run: ResolvedRun) -> None:
    """Check recipe and options of the retraining, as far as that is possible before anything is found."""
    if retrain.recipe is not None:
        registry.recipe(retrain.recipe)
    if run.space.entry is None:
        return
    space = describe_space(run.space, run.spec.space.options)
    origin = ArchitectureOrigin("the study", space.sample(random.Random(0)), run.spec.space.options)
    resolve(
        registry,
        RunRequest(
            origin=origin,
            space=run.space,
            dataset=run.dataset,
            preset=retrain.recipe,
            settings=retrain.settings,
        ),
    )
