"""The evaluation of proposals, in this process or in others: loads the data and makes the evaluator. Imports torch."""

from __future__ import annotations

import hashlib
import pickle
import time
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from nasreg.config.request import ResolvedRun
from nasreg.config.sources import DatasetSource, SpaceSource
from nasreg.engine.workers import (
    cannot_find,
    cannot_send,
    chosen_executor,
    distributions,
    use_threads_of_worker,
    worker_devices,
)
from nasreg.errors import PluginError, UsageError
from nasreg.evaluators.base import Evaluator, EvaluatorContext
from nasreg.evaluators.outcome import evaluate_proposal
from nasreg.events import Event, TrialProgress
from nasreg.executors import FuturesExecutor, Outcome, PackedWork, TrialExecutor, Work, send_to_main_process
from nasreg.networks.build import network_of_search
from nasreg.networks.references import EXAMPLE_INFO
from nasreg.runs.directory import RunDirectory
from nasreg.specs import Architecture, DataInfo, RunSpec, SearchSpaceSpec
from nasreg.specs.base import Config, parse
from nasreg.specs.entries import EvaluatorSpec
from nasreg.specs.trial import Proposal
from nasreg.tasks import get_task
from nasreg.trainers.device import resolve_device
from nasreg.trainers.interrupt import Interruption

if TYPE_CHECKING:
    from nasreg.data import RunData

PROGRESS_SECONDS = 0.5
"""A worker process sends the progress of its trial at most this often."""


@dataclass(frozen=True)
class EvaluationPlan:
    """Everything that another process needs to evaluate proposals of a search; it can be pickled."""

    spec: RunSpec
    evaluator: EvaluatorSpec
    space_source: SpaceSource
    dataset_source: DatasetSource
    space: SearchSpaceSpec
    directory: Path | None

    def network(self, architecture: Architecture, info: DataInfo) -> torch.nn.Module:
        """Build the network of an architecture, in the form in which the space is retrained."""
        return network_of_search(self.space_source, info, self.spec.space.options, architecture)

    def evaluator_config(self) -> Config:
        """Return the options of the evaluator.

        Raises:
            PluginError: Their class cannot be loaded.
        """
        selection = self.spec.evaluator
        options = selection.options if selection is not None else {}
        return parse(self.evaluator.component.load_config(), options, "evaluator")

    def make_evaluator(
        self, device: torch.device, data: RunData | None, emit: Callable[[Event], None] = lambda event: None
    ) -> Evaluator:
        """Make the evaluator of this process.

        Raises:
            PluginError: Its code cannot be loaded, or is no evaluator.
            ConfigError: It cannot work with these options.
        """
        info = EXAMPLE_INFO if data is None else data.info
        context = EvaluatorContext(
            spec=self.spec,
            space=self.space,
            task=get_task(self.spec.task),
            device=device,
            info=info,
            data=data,
            build_network=lambda architecture: self.network(architecture, info),
            build_supernet=lambda options: self.space_source.build(info, options or self.spec.space.options),
            directory=None if self.directory is None else RunDirectory(self.directory),
            emit=emit,
        )
        found = self.evaluator.component.load_factory()(context, self.evaluator_config())
        if not isinstance(found, Evaluator):
            kind = type(found).__name__
            raise PluginError(f"evaluator {self.evaluator.name!r} is a {kind}, not a nasreg.evaluators.Evaluator")
        return found

    def load_data(self, device: torch.device) -> RunData | None:
        """Load the data if the evaluator needs them with these options."""
        if "data" not in self.evaluator.needs_with(self.evaluator_config()):
            return None
        from nasreg.data import RunData  # torchvision takes longer to import than many a search of a table

        config = parse(self.dataset_source.config, self.spec.dataset.options, "dataset")
        failures = [] if self.directory is None else RunDirectory(self.directory).unreadable
        return RunData(self.dataset_source.load(config), config, self.spec.seed, device, failures=failures)

    def pickled(self) -> bytes:
        """Return the plan for another process.

        Raises:
            UsageError: It contains what no other process can find, such as a function defined in another function.
        """
        try:
            return pickle.dumps(self)
        except Exception as error:
            raise UsageError(cannot_send(error)) from error


def make_executor(
    run: ResolvedRun, plan: EvaluationPlan, evaluator: Evaluator, executor: Executor | None = None
) -> TrialExecutor:
    """Make the executor that a search asks for.

    Args:
        run: The search.
        plan: What other processes need.
        evaluator: The evaluator of this process.
        executor: An executor of the caller, in place of the one that the spec names.

    Raises:
        UsageError: The search cannot be distributed, or there are too few devices.
    """
    workers = plan.spec.workers
    if executor is not None:
        evaluation = _RemoteEvaluation(plan.pickled(), plan.spec.device)
        return FuturesExecutor(executor, evaluation, workers, _lost)

    def pack() -> PackedWork[Proposal, Outcome]:
        pickled = plan.pickled()
        return PackedWork(_Start(pickled), _evaluate_here, (pickled,))

    work: Work[Proposal, Outcome] = Work(
        devices=worker_devices(evaluator.context.device, workers),
        here=_LocalEvaluation(evaluator),
        pack=pack,
        lost=_lost,
        receive=evaluator.context.emit,
        directory=plan.directory,
        distributions=distributions(run),
    )
    return chosen_executor(run.executor, run.executor_config, work)


def _lost(reason: str) -> Outcome:
    return Outcome(None, reason)


class _LocalEvaluation:
    """Evaluates proposals in this process, where the evaluator is prepared with the first."""

    def __init__(self, evaluator: Evaluator) -> None:
        self._evaluator = evaluator
        self._ready = False

    def __call__(self, proposal: Proposal) -> Outcome:
        if not self._ready:
            self._evaluator.setup()
            self._ready = True
        return evaluate_proposal(self._evaluator, proposal)


_evaluators: dict[bytes, _LocalEvaluation] = {}
"""Digest of a plan -> its evaluator in this process."""
_started: list[_LocalEvaluation] = []


def _prepared(
    pickled: bytes, device: str, emit: Callable[[Event], None] = lambda event: None, *, shared: bool = True
) -> _LocalEvaluation:
    digest = hashlib.blake2b(pickled).digest()
    if digest not in _evaluators:
        Interruption.silent = True
        try:
            plan: EvaluationPlan = pickle.loads(pickled)  # noqa: S301  # our own, from the main process
        except Exception as error:
            raise UsageError(cannot_find(error)) from error
        if not shared:  # the directory is on another machine
            plan = replace(plan, directory=None)
        place = resolve_device(device)
        _evaluators[digest] = _LocalEvaluation(plan.make_evaluator(place, plan.load_data(place), emit))
    return _evaluators[digest]


class _Sender:
    """Sends the events of a worker process to the search; of the progress of a trial only some."""

    def __init__(self) -> None:
        self._trial = 0
        self._sent = 0.0

    def __call__(self, event: Event) -> None:
        if isinstance(event, TrialProgress):
            now = time.monotonic()
            if event.trial == self._trial and now - self._sent < PROGRESS_SECONDS:
                return
            self._trial, self._sent = event.trial, now
        send_to_main_process(event)


@dataclass(frozen=True)
class _Start:
    """Prepares a worker process."""

    pickled: bytes

    def __call__(self, device: str, *, shared: bool = True) -> None:
        use_threads_of_worker()
        _started.append(_prepared(self.pickled, device, _Sender(), shared=shared))


def _evaluate_here(proposal: Proposal) -> Outcome:
    """Evaluate a proposal in a process that ``_Start`` has prepared."""
    return _started[0](proposal)


@dataclass(frozen=True)
class _RemoteEvaluation:
    """Evaluates proposals in any process, each of which makes the evaluator once."""

    pickled: bytes
    device: str

    def __call__(self, proposal: Proposal) -> Outcome:
        return _prepared(self.pickled, self.device)(proposal)
