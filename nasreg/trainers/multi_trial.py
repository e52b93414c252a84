"""The trainer of multi-trial algorithms: propose, evaluate, observe.

Proposals are observed in the order of their ids, and one is made as soon as fewer than ``workers`` are out. So a search
with k workers gives the same result each time, whichever of its trials ends first.

The only state on disk are the records of the trials. A search that is resumed lets a new mutator propose and observe
again what is recorded, in the recorded order, and then continues: nothing is lost, whenever the process died.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass

import torch

from nasreg.errors import InterruptedRunError, TrainingError
from nasreg.events import Notice, RunEnded, SearchStarted, TrialEnded, TrialStarted
from nasreg.executors.base import Outcome
from nasreg.mutators.multi_trial import MultiTrialMutator
from nasreg.runs import files
from nasreg.runs.output import RunOutput
from nasreg.runs.trials import TrialFile, read_record, read_trials
from nasreg.runs.writing import LineFile
from nasreg.specs.metrics import MetricSpec
from nasreg.specs.trial import SIMULATED_SECONDS, Proposal, Trial, TrialStatus
from nasreg.trainers.admission import Admission
from nasreg.trainers.base import Trainer
from nasreg.trainers.config import MultiTrialTrainerConfig
from nasreg.trainers.context import MultiTrialContext
from nasreg.trainers.interrupt import Interruption

POLL_SECONDS = 0.2
"""Time after which a search that waits for its workers looks for a signal."""


@dataclass
class _Pending:
    """A proposal that the mutator has not observed yet."""

    proposal: Proposal
    observed: int
    """Number of trials that had been observed when it was made."""
    costs: Mapping[str, float]
    trial: Trial | None = None
    """None while it is evaluated."""


class MultiTrialTrainer(Trainer):
    """Evaluates what a ``MultiTrialMutator`` proposes, and lets it observe the trials.

    Args:
        context: The search.
        config: Options.

    Attributes:
        mutator: Proposes.
        objectives: What it optimises beside the score.

    Raises:
        ConfigError: No architecture can meet a budget.
        IncompatibleError: Nobody measures an objective.
    """

    context: MultiTrialContext

    def __init__(self, context: MultiTrialContext, config: MultiTrialTrainerConfig) -> None:
        super().__init__(context)
        self.config = config
        self.mutator: MultiTrialMutator = context.make_mutator(context.space)
        self.objectives: tuple[MetricSpec, ...] = tuple(self.mutator.objectives)
        self._admission = Admission(context, config, self.objectives)
        self._pending: deque[_Pending] = deque()
        self._recorded: dict[int, Trial] = {}
        self._latest_recorded = 0
        self._file: TrialFile | None = None
        self._evaluations = 0
        """Proposals that were not rejected."""
        self._ended = 0
        """Those of them whose evaluation has ended."""
        self._seconds = 0.0
        """Time of the trials observed so far, as far as it counts against the budget of time."""
        self._scored = 0
        self._simulated_seconds: float | None = None
        self._failures = 0
        """Trials that failed in a row, in this process."""
        self._finished = False
        """Whether no further proposal is to be made."""
        self._last_failed: Trial | None = None
        self._told_of_replay = False

    @property
    def final_metrics(self) -> Mapping[str, float]:
        """The score of the best trial, by the name of the objective, and what else was measured of it."""
        best = self.mutator.best
        if best is None or best.score is None:
            return {}
        return {self.context.objective.name: best.score.value, **best.metrics}

    @property
    def evaluations(self) -> int:
        """Number of trials observed that have a score."""
        return self._scored

    @property
    def simulated_seconds(self) -> float | None:
        """The sum of the times that trials stand for; None where the evaluator states none."""
        return self._simulated_seconds

    def supernet(self) -> None:
        """Return None: the trials share no weights."""

    def fit(self, output: RunOutput | None = None) -> None:
        """Search to the end, after the recorded trials if there are any.

        Raises:
            InterruptedRunError: Ctrl-C or SIGTERM; the trials are recorded.
            TrainingError: ``max_failures`` trials failed in a row, or all of them.
        """
        self.output = output or RunOutput()
        device = self.context.device
        devices = [device] if device.type != "cpu" else []
        with (
            torch.random.fork_rng(devices, device_type=device.type if devices else "cuda"),
            Interruption("finishing what is running") as interruption,
        ):
            try:
                self._open()
                self._prepare()
                self.mutator.start(self.context.spec.seed)
                self._search(interruption)
            finally:
                self.context.executor.close()
                if self._file is not None:
                    self._file.close()
        self.emit(RunEnded(self.mutator.architecture(), self.run_path, self.final_metrics))

    def _open(self) -> None:
        if self.run is not None:
            path = self.run.path / files.TRIALS
            self._file = TrialFile(path)
            better = self.context.objective.higher_is_better
            fingerprint = self.context.space.fingerprint
            trials = [read_record(each, fingerprint, higher_is_better=better) for each in read_trials(path)]
            self._recorded = {trial.id: trial for trial in trials}
            self._latest_recorded = max(self._recorded, default=0)
        ended = sum(trial.status != "rejected" for trial in self._recorded.values())
        context, spec = self.context, self.context.spec
        best: Trial | None = None
        for trial in self._recorded.values():
            best = trial if trial.is_better_than(best) else best
        facts = (str(context.device), self.config.max_trials, ended, self.run_path, best, context.uses_data)
        self.emit(SearchStarted(spec, context.space, context.objective, *facts, context.trial_epochs))

    def _prepare(self) -> None:
        """Let the evaluator prepare what the trials share."""
        try:
            self.context.prepare()
        except InterruptedRunError as error:
            self._stop(error)

    def _search(self, interruption: Interruption) -> None:
        while True:
            while self._may_propose():
                pending = self._propose()
                if pending is None:
                    break
                self._pending.append(pending)
                self._observe_rejected()
            if not self._pending:
                break
            self._wait_for_first(interruption)
            self._observe()
            self._observe_rejected()
        if self.mutator.best is None:
            raise TrainingError(self._nothing_found())

    # -- proposing -----------------------------------------------------------------------------------------------------

    def _may_propose(self) -> bool:
        number = self.mutator.n_proposed + 1
        may_wait = True
        if number <= self._latest_recorded:
            # As in the search that is resumed, also if that had other workers: a recorded proposal was made when so
            # many trials had been observed, and one that had not ended no later than the next recorded one.
            following = next(n for n in range(number, self._latest_recorded + 1) if n in self._recorded)
            may_wait = self.mutator.n_observed < self._recorded[following].observed
            if following == number or not may_wait:
                return not may_wait
        elif self._finished or self._evaluations >= self.config.max_trials or self._is_out_of_time():
            return False
        return sum(not _is_rejected(pending) for pending in self._pending) < self.context.executor.workers

    def _is_out_of_time(self) -> bool:
        """Return whether the observed trials have used the budget of time up.

        Trials that have ended and are not observed yet do not count: which those are depends on the workers' speed.
        """
        limit = self.config.max_seconds
        return limit is not None and self._seconds >= limit

    def _propose(self) -> _Pending | None:
        number, observed = self.mutator.n_proposed + 1, self.mutator.n_observed
        recorded = self._recorded.get(number)
        proposal = self._next(number, recorded)
        if proposal is None:
            self._finished = self._finished or not self._pending
            return None
        if recorded is not None:
            self._admission.remember(proposal)
            evaluated = recorded.status != "rejected"
            self._evaluations += evaluated
            self._ended += evaluated
            return _Pending(proposal, observed, recorded.costs, recorded)
        reason, costs = self._admission.check(proposal)
        pending = _Pending(proposal, observed, costs)
        if reason is None:
            self._evaluations += 1
            self.emit(TrialStarted(proposal.id))
            self.context.executor.submit(proposal)
        else:
            pending.trial = Trial(proposal, "rejected", reason=reason, costs=costs, observed=observed)
            self._record(pending.trial)
            if ending := self._admission.exhausted():
                self._finished = True
                self.emit(Notice(f"the search ends with what it has: {ending}"))
        return pending

    def _next(self, number: int, recorded: Trial | None) -> Proposal | None:
        """Return the next proposal: a given one, the mutator's, or the recorded one where that differs."""
        initial = self.context.initial
        if number <= len(initial):
            proposal: Proposal | None = Proposal(number, initial[number - 1])
        else:
            proposal = self.mutator.next_proposal()
        if recorded is not None and (proposal is None or proposal != recorded.proposal):
            if not self._told_of_replay:
                self._told_of_replay = True
                self.emit(
                    Notice(
                        f"the algorithm would propose something else now for trial {number} and perhaps later ones than"
                        " what is recorded, which is kept: the result may differ from that of a search that was not"
                        " interrupted"
                    )
                )
            proposal = recorded.proposal
        if proposal is not None:
            self.mutator.add(proposal)
        return proposal

    # -- trials --------------------------------------------------------------------------------------------------------

    def _wait_for_first(self, interruption: Interruption) -> None:
        """Wait until the first of the pending proposals has ended."""
        executor = self.context.executor
        while self._pending[0].trial is None:
            try:
                ended = executor.poll(POLL_SECONDS)
            except InterruptedRunError as error:
                self._stop(error)
            for proposal, outcome in ended:
                self._end(proposal, outcome)
            if interruption.wanted:
                self._stop(None)

    def _end(self, proposal: Proposal, outcome: Outcome) -> None:
        pending = next(each for each in self._pending if each.proposal.id == proposal.id)
        status: TrialStatus = "failed" if outcome.score is None else "done"
        rest = (outcome.score, outcome.reason, outcome.seconds, pending.costs, pending.observed)
        trial = pending.trial = Trial(proposal, status, *rest)
        self._ended += 1
        self._record(trial)
        if self.run is not None:
            if outcome.traceback is not None:
                with closing(LineFile(self.run.path / files.TRIAL_ERRORS)) as file:
                    file.append(f"trial {trial.id}\n{outcome.traceback}".encode())
            for name in (files.CHECKPOINT, files.PREVIOUS_CHECKPOINT):  # they were for resuming this trial
                (self.run.path / files.trial_directory(trial.id) / name).unlink(missing_ok=True)

    def _record(self, trial: Trial) -> None:
        if self._file is not None:
            self._file.append(trial)
        self.emit(TrialEnded(trial, self._ended, self.config.max_trials, self.context.objective))

    def _observe(self) -> None:
        pending = self._pending.popleft()
        trial = pending.trial
        if trial is None:
            raise RuntimeError("a trial is observed that has not ended")
        self._seconds += trial.charged_seconds
        if trial.score is not None:
            self._scored += 1
            simulated = trial.score.metrics.get(SIMULATED_SECONDS.name)
            if simulated is not None:
                self._simulated_seconds = (self._simulated_seconds or 0.0) + simulated
        self.mutator.record(trial)
        if trial.status == "failed":
            self._last_failed = trial
        if trial.id in self._recorded:
            return
        if trial.status == "failed":
            self._failures += 1
            if self._failures >= self.config.max_failures:
                raise TrainingError(self._too_many_failures(trial))
        elif trial.status == "done":
            self._failures = 0

    def _observe_rejected(self) -> None:
        """Observe rejected proposals at once: it is known without an evaluation what becomes of them."""
        while self._pending and _is_rejected(self._pending[0]):
            self._observe()

    # -- endings -------------------------------------------------------------------------------------------------------

    def _stop(self, error: InterruptedRunError | None) -> None:
        for proposal, outcome in self.context.executor.interrupt():
            self._end(proposal, outcome)
        where = f"interrupted after {self._ended} of {self.config.max_trials} trials"
        if self.run is None:
            raise InterruptedRunError(f"{where}; nothing was saved, since there is no run directory") from error
        raise InterruptedRunError(f"{where}; resume with: {self.run.command('resume')}") from error

    def _too_many_failures(self, trial: Trial) -> str:
        return (
            f"{self._failures} trials in a row failed, {self._last_one(trial)}. Mend the cause and resume, or raise"
            " trainer.max_failures"
        )

    def _last_one(self, trial: Trial) -> str:
        seen = f"; see {self.run.path / files.TRIAL_ERRORS}" if self.run is not None else ""
        return f"the last one, trial {trial.id}: {trial.reason}{seen}"

    def _nothing_found(self) -> str:
        if self._last_failed is not None:
            return f"all {self._ended} trials failed, {self._last_one(self._last_failed)}"
        return f"no architecture was evaluated: {self._admission.last_reason or 'the algorithm proposed none'}"


def _is_rejected(pending: _Pending) -> bool:
    return pending.trial is not None and pending.trial.status == "rejected"
