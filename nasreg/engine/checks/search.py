"""The check of the search itself: one real step, and an estimate of the whole. Imports torch."""

from __future__ import annotations

import copy
import random
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch

from nasreg.config.request import ResolvedRun
from nasreg.config.sources import SpaceSource
from nasreg.data import RunData
from nasreg.engine.checks.findings import Findings, SearchFacts, StepFacts
from nasreg.engine.multi_trial_job import MultiTrialJob
from nasreg.engine.search_job import OneShotJob, SearchJob, search_spec
from nasreg.errors import TrainingError
from nasreg.evaluators import TrainingEvaluator
from nasreg.evaluators.outcome import evaluate_proposal
from nasreg.networks.extremes import extreme_architectures
from nasreg.registry import Registry
from nasreg.runs.directory import RunDirectory
from nasreg.runs.safe_state import check_state
from nasreg.specs import Architecture, Config
from nasreg.specs.formatting import plural
from nasreg.specs.run import Selection
from nasreg.specs.trial import COSTS, Proposal
from nasreg.trainers import EpochTrainer, MultiTrialTrainerConfig
from nasreg.trainers.base import Trainer
from nasreg.trainers.device import peak_memory
from nasreg.trainers.rehearsal import Rehearsal, rehearse


class _OneShotJob(OneShotJob):
    """A search whose model was checked before."""

    def _check_model(self, device: torch.device) -> Sequence[str]:
        del device
        return ()


class _MultiTrialJob(MultiTrialJob):
    """The same of a multi-trial search."""

    def _check_model(self, device: torch.device) -> Sequence[str]:
        del device
        return ()


def check_search(
    run: ResolvedRun,
    registry: Registry,
    data: RunData | None,
    findings: Findings,
    *,
    architectures: Mapping[str, Architecture],
    steps: bool,
) -> SearchFacts | None:
    """Set a search up as it would be, and do one real step of it; what is wrong becomes findings.

    Args:
        run: The search; its device is final.
        registry: Where names are looked up.
        data: The data, if the search needs them.
        findings: Where findings are added.
        architectures: Title -> architecture that can be evaluated, the largest first.
        steps: Whether to do a step; not where it is known that it cannot be done.
    """
    # One after the other here: a check starts no processes. What the user's function builds is never touched.
    spec = run.spec.model_copy(update={"workers": 1, "executor": Selection(name="serial")})
    config = run.trainer_config
    if isinstance(config, MultiTrialTrainerConfig):  # budgets were compared before
        config = config.model_copy(update={f"max_{cost.name}": None for cost in COSTS})
    copied = replace(run, spec=spec, space=_copying(run.space), trainer_config=config)
    if run.evaluator is not None:
        copied = replace(copied, executor=registry.executor("serial"), executor_config=Config())
    job_class: type[SearchJob] = _OneShotJob if run.evaluator is None else _MultiTrialJob
    job: SearchJob | None = None
    with tempfile.TemporaryDirectory() as folder:  # an evaluator may keep weights there
        with findings.attempt("search", search_spec(run).algorithm, "setting the search up"):
            job = job_class(copied, registry, data, RunDirectory(folder))
        if job is None:
            return None
        try:
            if not steps:
                findings.add("info", "search", "step", "not measured, since it would fail with the errors above")
                return None
            if isinstance(job, MultiTrialJob):
                return _multi_trial(job, architectures, search_spec(run).workers, findings)
            return _one_shot(job.trainer, findings)
        finally:
            job.close()


def _copying(source: SpaceSource) -> SpaceSource:
    """Return a source of which each build is a copy, also where a function of the user returns one and the same."""
    if source.builds_anew:
        return source
    return replace(source, factory=lambda info, options: copy.deepcopy(source.factory(info, options)))


def _one_shot(trainer: Trainer, findings: Findings) -> SearchFacts | None:
    if not isinstance(trainer, EpochTrainer):
        findings.add("info", "search", "step", "the trainer of this algorithm does no steps that could be measured")
        return None
    what = f"one step of the supernet on {plural(trainer.config.batch_size, 'image')}"
    measured = _rehearsed(trainer, what, findings)
    if measured is None:
        return None
    rehearsal, step = measured
    with findings.attempt("search", "checkpoint", "checking the state of the training"):
        check_state(trainer.state_dict())
    return SearchFacts(step=step, plan=_epochs(rehearsal), seconds=rehearsal.total_seconds)


def _multi_trial(
    job: MultiTrialJob, architectures: Mapping[str, Architecture], workers: int, findings: Findings
) -> SearchFacts | None:
    config, evaluator, device = job.trainer.config, job.evaluator, job.trainer.context.device
    trials = plural(config.max_trials, "trial")
    at_once = f", {workers} at the same time" if workers > 1 else ""
    title, architecture = next(iter(architectures.items()), (None, None))
    with findings.attempt("search", "evaluator", f"evaluating the {title or 'largest architecture'}"):
        if not job.run.space.has_network:
            title, architecture = "random architecture", job.space.sample(random.Random(job.spec.seed))
        elif title is None or architecture is None:
            title = "largest architecture"
            architecture = extreme_architectures(job.run.space, job.spec.space.options, job.space, job.info).largest
        proposal = Proposal(1, architecture)
        if isinstance(evaluator, TrainingEvaluator):
            what = f"one step of the {title} on {plural(evaluator.config.batch_size, 'image')}"
            measured = _rehearsed(evaluator.make_trainer(proposal), what, findings)
            if measured is None:
                return None
            rehearsal, step = measured
            seconds = rehearsal.total_seconds * config.max_trials / workers
            return SearchFacts(step=step, plan=f"{trials} of {_epochs(rehearsal)}{at_once}", seconds=seconds)
        evaluator.setup()
        began = time.perf_counter()
        outcome = evaluate_proposal(evaluator, proposal)
        duration = time.perf_counter() - began
        if outcome.score is None:
            raise TrainingError(f"the {title} cannot be evaluated: {outcome.reason}")
        step = StepFacts(
            what=f"one evaluation of the {title}",
            seconds=duration,
            peak_bytes=peak_memory(device),
            device=str(device),
        )
        return SearchFacts(step=step, plan=f"{trials}{at_once}", seconds=duration * config.max_trials / workers)
    return None


def _rehearsed(trainer: EpochTrainer, what: str, findings: Findings) -> tuple[Rehearsal, StepFacts] | None:
    measured: Rehearsal | None = None
    with findings.attempt("search", "step", "one step"):
        measured = rehearse(trainer)
    if measured is None:
        return None
    for problem in measured.problems:
        findings.add("warning", "search", "step", problem)
    step = StepFacts(
        what=what,
        seconds=measured.step_seconds,
        peak_bytes=measured.peak_bytes,
        device=str(trainer.context.device),
    )
    return measured, step


def _epochs(measured: Rehearsal) -> str:
    return f"{plural(measured.epochs, 'epoch')} of {plural(measured.steps, 'step')}"
