"""The loop of every training: epochs, steps, validation, checkpoints, events.

One-shot searches, the trials of multi-trial searches, and retrainings fill it in.

Everything that decides what comes next is in the checkpoint or a pure function of the seed and the loop's state, so
that a resumed run continues bit for bit.
"""

from __future__ import annotations

import time
from abc import abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, ClassVar

from torch import nn

from nasreg.data.loader_processes import lost_loader
from nasreg.errors import CheckpointError, InterruptedRunError, TrainingError
from nasreg.events import CheckpointSaved, Event, MemoryMeasured, Notice, RunStarted, StepEnded, TrainedModel
from nasreg.nn.parameters import auxiliary_parameter_count, parameter_count
from nasreg.runs.checkpoint import load_checkpoint, read_back, save_checkpoint
from nasreg.runs.output import RunOutput
from nasreg.runs.safe_state import check_loadable, check_state
from nasreg.trainers.advice import piece_size
from nasreg.trainers.config import TrainerConfig
from nasreg.trainers.context import DataContext
from nasreg.trainers.device import keeping_freed_memory, peak_memory, reproducible
from nasreg.trainers.distributed import ONLY, part_of
from nasreg.trainers.functional import set_training_mode
from nasreg.trainers.interrupt import Interruption
from nasreg.trainers.measure import measure
from nasreg.trainers.steps import LoopState, StepResult, StepTrainer

if TYPE_CHECKING:
    from nasreg.data import Batch


class EpochTrainer(StepTrainer):
    """Trains a model, epoch by epoch, in a way that can be interrupted anywhere.

    Args:
        context: The run.
        config: Options.

    Attributes:
        finished: Whether the run ends after the present epoch; set in ``end_epoch``.
    """

    trained_model: ClassVar[TrainedModel] = "network"
    """The kind of model that is trained and measured."""

    def __init__(self, context: DataContext, config: TrainerConfig) -> None:
        super().__init__(context, config)
        self.finished = False
        self._read_back = False
        """Whether a checkpoint of this process was read back."""

    @property
    @abstractmethod
    def epochs(self) -> int:
        """All epochs of the run."""

    @abstractmethod
    def setup(self) -> None:
        """Make the model, the optimisers, and in a search the mutator. Called once, with torch's generators seeded."""

    def start_epoch(self, epoch: int) -> None:  # nothing to do is a good default
        """Set learning rates; called before the first step of an epoch, also when it is resumed in its middle.

        Args:
            epoch: The epoch, counted from 0 as in the formulas of schedules; events count from 1.
        """

    def needs_arch_batch(self, epoch: int) -> bool:
        """Return whether an epoch takes batches of the arch split: in each ``train_step``, or in ``arch_steps``.

        It depends on the options and the epoch alone: before the run begins it is asked whether any epoch does.

        Args:
            epoch: The epoch, counted from 0 as in the formulas of schedules; events count from 1.
        """
        del epoch
        return True

    def arch_steps(self, epoch: int) -> int:
        """Return how many steps on the arch split follow those on the train split in an epoch; none by default.

        An epoch that has some is in two phases: each ``train_step`` gets a batch of the train split alone, then each
        ``arch_step`` one of the arch split. It depends on the options and the epoch alone.

        Args:
            epoch: The epoch, counted from 0 as in the formulas of schedules; events count from 1.
        """
        del epoch
        return 0

    def arch_step(self, arch: Batch) -> None:
        """Do one of the ``arch_steps``.

        Args:
            arch: A batch of the arch split.
        """
        raise NotImplementedError(f"{type(self).__name__} has arch_steps, but no arch_step")

    def pairs_batches(self, epoch: int) -> bool:
        """Return whether each ``train_step`` of an epoch, counted from 0, gets a batch of the arch split, too."""
        return len(self.context.data.splits["arch"]) > 0 and self.needs_arch_batch(epoch) and not self.arch_steps(epoch)

    @abstractmethod
    def train_step(self, train: Batch, arch: Batch | None) -> StepResult:
        """Do one step.

        Args:
            train: A batch of the train split.
            arch: A batch of the arch split; None if that split is empty or not needed.

        Returns:
            Mean loss and statistics of the train batch.
        """

    def end_epoch(self, epoch: int, metrics: Mapping[str, float]) -> None:
        """Called after each epoch, when it was measured and before its checkpoint.

        Args:
            epoch: The epoch, counted from 0 as in the formulas of schedules; events count from 1.
            metrics: What was measured, by name.
        """

    @abstractmethod
    def report_epoch(self, metrics: dict[str, float], seconds: float) -> None:
        """Send ``EpochEnded``, after ``end_epoch``."""

    @abstractmethod
    def final_event(self) -> Event:
        """Return the event that reports the result."""

    def fit(self, output: RunOutput | None = None) -> None:
        """Train to the end, starting from the last checkpoint if the run directory has one.

        Args:
            output: Where results go.

        Raises:
            InterruptedRunError: Ctrl-C or SIGTERM; a checkpoint was written.
            TrainingError: Out of memory, or a loss that is not finite.
            CheckpointError: No checkpoint can be read, or none could be read back.
        """
        self.output = output or RunOutput()
        context, config = self.context, self.config
        seeded = reproducible(context.spec.seed, context.device, deterministic=config.deterministic)
        memory = keeping_freed_memory(context.device) if config.keep_freed_memory else nullcontext()
        with memory, seeded, Interruption() as interruption:
            try:
                self.setup()
                self.processes.share_state(*self.trained_modules())
                self.processes.begin(context.spec.seed, context.device)
                self._restore()
                self._run(interruption)
            except Exception as error:
                explained = self.advice.explain(error)
                if explained is not None:
                    raise explained from error
                if lost := lost_loader(error) or self.processes.lost(error):
                    again = f" Resume with: {self.run.command('resume')}" if self.run else ""
                    raise TrainingError(f"{lost}{again}") from error
                raise
            finally:
                context.data.close()
        self.processes = ONLY  # what follows, one process does
        self.emit(self.final_event())

    def trained_modules(self) -> list[nn.Module]:
        """Return the modules that training changes, which are the same in all processes."""
        return [self.model]

    @property
    def final_metrics(self) -> Mapping[str, float]:
        """The metrics of the last epoch."""
        return self.state.metrics

    def _run(self, interruption: Interruption) -> None:
        steps = self.context.data.splits["train"].steps(self.config.batch_size)
        self.emit(
            RunStarted(
                spec=self.context.spec,
                space=self.context.space,
                metrics=tuple(self.task.metrics),
                device=str(self.context.device),
                parameters=parameter_count(self.model),
                epochs=self.epochs,
                steps=steps + self.arch_steps(self.state.epoch),
                first_epoch=self.state.epoch + 1,
                first_step=self.state.step + 1,
                run_dir=self.run_path,
                model=self.trained_model,
                auxiliary_parameters=auxiliary_parameter_count(self.model),
                processes=self.processes.world_size,
            )
        )
        measured = False
        saved = time.monotonic()
        while self._unfinished():
            began = time.monotonic() - self.state.seconds
            self._start_epoch()
            set_training_mode(self.model)
            total = steps + self.arch_steps(self.state.epoch)
            for train, arch in self._batches(steps):
                if train is not None:
                    self._step(train, arch, total)
                elif arch is not None:
                    self._arch_step(arch, total)
                self.state.seconds = time.monotonic() - began
                if not measured:
                    measured = True
                    self._measure_memory()
                due = time.monotonic() - saved > 60 * self.config.checkpoint_minutes
                interrupted, due = self.processes.any_of(interruption.wanted, due)
                if interrupted:
                    self._interrupted()
                if due:
                    self._save()
                    saved = time.monotonic()
            self._end_epoch(began)
            saved = time.monotonic()
            if any(self.processes.any_of(interruption.wanted)) and self._unfinished():
                self._interrupted()

    def _start_epoch(self) -> None:
        model = self.model
        with self.processes.drawing_alike():
            self.start_epoch(self.state.epoch)
        if self.model is not model:
            self.processes.share_state(*self.trained_modules())

    def _unfinished(self) -> bool:
        return self.state.epoch < self.epochs and not self.finished

    def _batches(self, steps: int) -> Iterator[tuple[Batch | None, Batch | None]]:
        """Yield what is left of an epoch: ``steps`` batches of the train split, then those of ``arch_steps``."""
        splits, epoch, done = self.context.data.splits, self.state.epoch, self.state.step

        def batches(split: str, start: int, stop: int) -> Iterator[Batch]:
            size = self.config.batch_size
            place = self.processes.place
            return splits[split].batches(batch_size=size, epoch=epoch, start=start, steps=stop - start, place=place)

        if done < steps:
            train = batches("train", done, steps)
            if self.pairs_batches(epoch):
                yield from zip(train, batches("arch", done, steps), strict=True)
            else:
                yield from ((batch, None) for batch in train)
        if after := self.arch_steps(epoch):
            yield from ((None, batch) for batch in batches("arch", max(done - steps, 0), after))

    def _step(self, train: Batch, arch: Batch | None, steps: int) -> None:
        result = self.train_step(train, arch)
        self.processes.share_statistics(self.model)
        state = self.state
        state.step += 1
        _, copies = part_of(train)
        found = self.processes.total({name: float(value) / copies for name, value in result.statistics.items()})
        found["loss"] = result.loss * found["count"]  # with all terms that were differentiated
        state.statistics = {name: state.statistics.get(name, 0.0) + value for name, value in found.items()}
        self._report_step(steps)

    def _arch_step(self, arch: Batch, steps: int) -> None:
        self.arch_step(arch)
        self.state.step += 1
        self._report_step(steps)  # the statistics of the train split stay as they are

    def _report_step(self, steps: int) -> None:
        state = self.state
        metrics = self.task.compute(state.statistics)
        loss = metrics.pop("loss")
        self.emit(StepEnded(epoch=state.epoch + 1, step=state.step, steps=steps, loss=loss, metrics=metrics))

    def _measure_memory(self) -> None:
        peak = peak_memory(self.context.device)
        if peak is not None:
            self.emit(MemoryMeasured(peak, str(self.context.device)))

    def _end_epoch(self, began: float) -> None:
        ended = self.state
        metrics = {f"train_{name}": value for name, value in self.task.compute(ended.statistics).items()}
        measured = self.measure()
        self.advice.check_measured(measured, self.model, f"after epoch {ended.epoch + 1}")
        metrics |= measured
        self.processes.check_shared(f"after epoch {ended.epoch + 1}", *self.trained_modules())
        with self.processes.drawing_alike():
            self.end_epoch(ended.epoch, metrics)
            self.report_epoch(metrics, time.monotonic() - began)
        self.state = LoopState(epoch=ended.epoch + 1, metrics=metrics)
        self._save()

    def measure(self) -> dict[str, float]:
        """Return the metrics that are measured after an epoch, named ``SPLIT_METRIC``, such as ``arch_accuracy``.

        By default on the validation split, or on the arch split if nothing is held out for validation. If there is
        neither, nothing is measured: metrics named after the train split are always those of the training itself.
        """
        splits = self.context.data.splits
        split = next((name for name in ("validation", "arch") if len(splits[name])), None)
        return {} if split is None else self.measure_split(self.model, split)

    def measure_split(self, model: nn.Module, split: str, *, detailed: bool = False) -> dict[str, float]:
        """Return the metrics of a model on a split, named ``SPLIT_METRIC``."""
        samples = self.context.data.splits[split]
        size = -(-piece_size(self.config) // self.processes.world_size)
        found = measure(model, samples, self.task, size, self.autocast, detailed=detailed, processes=self.processes)
        return {f"{split}_{name}": value for name, value in found.items()}

    # -- checkpoints ---------------------------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """Return everything that training changes, except the loop's state and torch's generators."""
        return {
            "model": self.model.state_dict(),
            "optimizers": {name: optimizer.state_dict() for name, optimizer in self.optimizers.items()},
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what ``state_dict`` returned."""
        self.model.load_state_dict(state["model"])
        for name, optimizer in self.optimizers.items():
            optimizer.load_state_dict(state["optimizers"][name])

    def _save(self) -> None:
        drawn = self.processes.random_state(self.context.device)
        if self.run is None:
            return
        state = {
            **self.state_dict(),
            **drawn,
            "loop": asdict(self.state),
            "finished": self.finished,
            "metrics_position": self.output.metrics.position() if self.output.metrics else 0,
        }
        path = save_checkpoint(self.run.path, state)
        if not self._read_back:
            read_back(path)
            self._read_back = True
        self.emit(CheckpointSaved(path, self.state.epoch + 1, self.state.step + 1))

    def _restore(self) -> None:
        state = self.processes.from_first(self._last_state())
        metrics_position = 0
        if state is not None:
            try:
                self.load_state_dict(state)
                self.state = LoopState(**state["loop"])
                self.finished = state["finished"]
                metrics_position = state["metrics_position"]
                self.processes.set_random_state(state, self.context.device)
            except (KeyError, TypeError, ValueError, RuntimeError) as error:
                where = f"in {self.run_path}" if self.run else "of rank 0"
                raise CheckpointError(
                    f"the checkpoint {where} is not of this run ({' '.join(str(error).split())[:200]})"
                ) from error
        if self.output.metrics:
            self.output.metrics.truncate(metrics_position)

    def _last_state(self) -> dict[str, Any] | None:
        """Read the last checkpoint; None if there is none, or no run directory."""
        if self.run is None:
            return None
        state, problems = load_checkpoint(self.run.path, self.processes.checkpoint_device(self.context.device))
        for problem in problems:
            self.emit(Notice(problem))
        if state is None:
            check_state(self.state_dict())
            check_loadable(self.model)
        return state

    def _interrupted(self) -> None:
        self._save()
        where = f"in epoch {self.state.epoch + 1} after step {self.state.step}"
        if self.run is None:
            raise InterruptedRunError(f"interrupted {where}; nothing was saved, since there is no run directory")
        raise InterruptedRunError(f"interrupted {where}; resume with: {self.run.command('resume')}")
