"""The evaluation of proposals, in this process or in others: loads the data and makes the evaluator. Imports torch."""

from __future__ import annotations

import hashlib
import os
import pickle
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from nasreg.config.sources import DatasetSource, SpaceSource
from nasreg.errors import PluginError, UsageError, one_line
from nasreg.evaluators.base import Evaluator, EvaluatorContext
from nasreg.evaluators.outcome import evaluate_proposal
from nasreg.events import Event, TrialProgress
from nasreg.executors import FuturesExecutor, Outcome, ProcessExecutor, SerialExecutor, TrialExecutor
from nasreg.executors.processes import send_to_main_process
from nasreg.networks.build import network_of_search
from nasreg.networks.references import EXAMPLE_INFO
from nasreg.runs.directory import RunDirectory
from nasreg.specs import Architecture, DataInfo, RunSpec, SearchSpaceSpec
from nasreg.specs.algorithm import EvaluatorSpec
from nasreg.specs.base import Config, parse
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
            raise UsageError(
                f"the space or data cannot be sent to worker processes ({one_line(error)}): define their classes and"
                " functions at the top level of a module, or use one worker"
            ) from error


def make_executor(plan: EvaluationPlan, evaluator: Evaluator, executor: Executor | None = None) -> TrialExecutor:
    """Make the executor that a search asks for.

    Args:
        plan: What other processes need.
        evaluator: The evaluator of this process.
        executor: An executor of the caller, in place of the one that the spec names.

    Raises:
        UsageError: The search cannot be distributed, or there are too few devices.
    """
    workers = plan.spec.workers
    if executor is not None:
        return FuturesExecutor(executor, _RemoteEvaluation(plan.pickled(), plan.spec.device), workers)
    if plan.spec.executor == "serial":
        return SerialExecutor(_LocalEvaluation(evaluator), workers)
    devices = _devices(evaluator.context.device, workers)
    return ProcessExecutor(_Start(plan.pickled()), _evaluate_here, devices, evaluator.context.emit)


def _devices(device: torch.device, workers: int) -> Sequence[str]:
    """Return the device of each worker: with several GPUs one each, in turn."""
    if device.type != "cuda":
        return [str(device)] * workers
    return [f"cuda:{number % torch.cuda.device_count()}" for number in range(workers)]


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


def _prepared(pickled: bytes, device: str, emit: Callable[[Event], None] = lambda event: None) -> _LocalEvaluation:
    digest = hashlib.blake2b(pickled).digest()
    if digest not in _evaluators:
        Interruption.silent = True
        try:
            plan: EvaluationPlan = pickle.loads(pickled)  # noqa: S301  # our own, from the main process
        except Exception as error:
            raise UsageError(
                f"a worker process cannot find the space or data ({one_line(error)}): define their classes and"
                " functions in a module, not in a notebook or an interactive session"
            ) from error
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

    def __call__(self, device: str) -> None:
        threads = os.environ.get("OMP_NUM_THREADS")
        if threads is not None:
            torch.set_num_threads(int(threads))
        _started.append(_prepared(self.pickled, device, _Sender()))


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
