"""The evaluator that scores a proposal with the weights of a supernet (Guo et al., arXiv 1904.00420, section 3.4).

Along the path of an architecture the BatchNorm statistics of the supernet are computed anew on images of the train
split, and the path is measured on the validation split. The supernet is trained before the first trial, along paths
that are drawn uniformly, in ``supernet/`` of the run directory with checkpoints of its own; or it is that of a finished
run, whichever algorithm trained it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from nasreg.errors import ConfigError, IncompatibleError, RunDirectoryError, WeightsError, one_line
from nasreg.evaluators.base import Evaluator, EvaluatorContext
from nasreg.evaluators.config import SupernetEvaluatorConfig
from nasreg.events import Event, MemoryMeasured, Notice, StepEnded, SupernetProgress
from nasreg.mutators.uniform import UniformMutator
from nasreg.nn import Execution, recalibrate_batch_norm
from nasreg.nn.recalibrate import running_norms
from nasreg.runs import files
from nasreg.runs.callbacks import JsonLines
from nasreg.runs.checkpoint import load_checkpoint
from nasreg.runs.directory import RunDirectory
from nasreg.runs.output import RunOutput
from nasreg.specs.formatting import plural
from nasreg.specs.metrics import MetricSpec, metric_spec
from nasreg.specs.run import RunSpec
from nasreg.specs.trial import Proposal, Score
from nasreg.trainers.context import OneShotContext
from nasreg.trainers.measure import measure
from nasreg.trainers.one_shot import execute_as
from nasreg.trainers.single_path import SinglePathTrainer

if TYPE_CHECKING:
    from nasreg.data import RunData


class SupernetEvaluator(Evaluator):
    """Scores each proposal with the weights of a supernet, and BatchNorm statistics of its own.

    Raises:
        ConfigError: The validation split is empty, worker processes have no run directory to find the supernet in, or
            ``run`` has no supernet.
        IncompatibleError: The supernet of ``run`` is one of another space, or of other data.
        RunDirectoryError: ``run`` is no finished run.
    """

    config: SupernetEvaluatorConfig

    def __init__(self, context: EvaluatorContext, config: SupernetEvaluatorConfig) -> None:
        super().__init__(context, config)
        self._supernet: nn.Module | None = None
        self._paths = UniformMutator(context.space)
        if not len(self._data.splits["validation"]):
            raise ConfigError(
                "the validation split, on which trials are scored, is empty: set dataset.validation_fraction"
            )
        if config.run is not None:
            self._check_lender(RunDirectory(config.run))
        elif context.directory is None and context.spec.executor != "serial":
            raise ConfigError(
                "evaluator 'supernet' with worker processes needs a run directory, where they find the supernet"
            )

    @property
    def _data(self) -> RunData:
        if self.context.data is None:
            raise ConfigError("evaluator 'supernet' needs data")
        return self.context.data

    @property
    def objective(self) -> MetricSpec:
        """The objective of the task on the validation split."""
        return metric_spec(f"validation_{self.context.task.objective.name}", self.context.task.metrics)

    @property
    def metrics(self) -> Sequence[MetricSpec]:
        """The other metrics on the validation split."""
        found = (
            metric_spec(f"validation_{each.name}", self.context.task.metrics) for each in self.context.task.metrics
        )
        return [metric for metric in found if metric.name != self.objective.name]

    @property
    def trial_epochs(self) -> None:
        """None: a trial trains nothing."""
        return

    # -- the supernet --------------------------------------------------------------------------------------------------

    def prepare(self) -> None:
        """Train the supernet, from its last checkpoint if it has one; a supernet of another run is only read.

        Raises:
            InterruptedRunError: A signal; a checkpoint was written.
            TrainingError: Out of memory, or a loss that is not finite.
        """
        if self.config.run is not None:
            self._warn_of_splits(RunDirectory(self.config.run))
        elif self._supernet is None:
            self._use(self._trained() or self._train())

    def setup(self) -> None:
        """Read the supernet, unless this process has trained it.

        Raises:
            WeightsError: The weights are those of another network.
        """
        if self.config.run is None:
            self.prepare()
        else:
            self._borrow(RunDirectory(self.config.run))

    def _use(self, supernet: nn.Module) -> None:
        device = self.context.device
        self._paths.attach(supernet)
        self._supernet = supernet.to(device)
        execute_as(Execution(optimized=self.config.execution == "optimized"), supernet, device)

    @property
    def _folder(self) -> Path | None:
        """The folder of the supernet that the search itself trains."""
        return None if self.context.directory is None else self.context.directory.path / files.SUPERNET

    def _trained(self) -> nn.Module | None:
        """Return the supernet of this search if its training has ended."""
        state = None if self._folder is None else load_checkpoint(self._folder, torch.device("cpu"))[0]
        if state is None or state["loop"]["epoch"] < self.config.epochs:
            return None
        return self._with_weights(self.context.build_supernet(None), state["model"], str(self._folder))

    def _train(self) -> nn.Module:
        context = self.context
        trainer = SinglePathTrainer(
            OneShotContext(
                spec=context.spec,
                space=context.space,
                task=context.task,
                device=context.device,
                data=self._data,
                build_supernet=lambda **capabilities: context.build_supernet(None),
                make_mutator=UniformMutator,
                capabilities={},
            ),
            self.config,
        )
        with self._output() as output:
            trainer.fit(output)
        supernet = trainer.supernet()
        if supernet is None:
            raise TypeError("a trainer along single paths trains a supernet")
        return supernet

    @contextlib.contextmanager
    def _output(self) -> Iterator[RunOutput]:
        def progress(event: Event) -> None:
            if isinstance(event, StepEnded):
                position = (event.epoch, self.config.epochs, event.step, event.steps)
                self.context.emit(SupernetProgress(*position, event.loss, event.metrics))
            elif isinstance(event, MemoryMeasured | Notice):
                self.context.emit(event)

        if self._folder is None:
            yield RunOutput(callbacks=[progress])
            return
        directory = RunDirectory(self._folder)
        with directory.lock(), JsonLines(directory.path / files.METRICS) as metrics:
            yield RunOutput(directory, metrics, [metrics, progress])

    # -- the supernet of another run -----------------------------------------------------------------------------------

    def _check_lender(self, run: RunDirectory) -> None:
        spec, state = run.spec, run.status["state"]
        if not isinstance(spec, RunSpec):
            raise ConfigError(f"evaluator.run: {run.path} is a retraining, which has no supernet: give a search")
        lender = None if spec.evaluator is None else spec.evaluator.options.get("run")
        if isinstance(lender, str):
            raise ConfigError(f"evaluator.run: {run.path} used the supernet of another run: give that one, {lender}")
        if spec.evaluator is not None and not (run.path / files.SUPERNET).is_dir():
            raise ConfigError(
                f"evaluator.run: {run.path} has no supernet: evaluator {spec.evaluator.title!r} trains none"
            )
        if state != "done":
            raise RunDirectoryError(f"evaluator.run: {run.path} has not ended ({state}): {run.command('resume')}")
        mine, own = self.context.spec.space, run.space.fingerprint
        if own != self.context.space.fingerprint or spec.space.name != mine.name:
            raise IncompatibleError(
                f"evaluator.run: the supernet of {run.path} is one of space {spec.space.title!r} with fingerprint"
                f" {own}, and this search is on {mine.title!r} with {self.context.space.fingerprint}: search the same"
                " space with the same choices"
            )
        there, here = (_shape(each) for each in (run.read_object(files.DATA), self._data.info.model_dump()))
        if there != here:
            raise IncompatibleError(
                f"evaluator.run: the supernet of {run.path} is one for {there}, and this data set has {here}"
            )

    def _warn_of_splits(self, run: RunDirectory) -> None:
        """Tell the user if the supernet of another run may have been trained on images of the validation split."""
        there, here = run.spec, self.context.spec
        if (there.seed, there.dataset) != (here.seed, here.dataset):
            self.context.emit(
                Notice(
                    f"the supernet of {run.path} was trained with another seed or other options of the data set, so"
                    " that it may have seen images of the validation split, whose scores are then too good"
                )
            )

    def _borrow(self, run: RunDirectory) -> None:
        spec = run.spec
        folder = run.path / files.SUPERNET if isinstance(spec, RunSpec) and spec.evaluator is not None else run.path
        state = load_checkpoint(folder, torch.device("cpu"))[0]
        if state is None:
            raise WeightsError(f"evaluator.run: {folder} has no checkpoint, which has the weights of the supernet")
        self._use(self._with_weights(self.context.build_supernet(spec.space.options), state["model"], str(run.path)))

    def _with_weights(self, supernet: nn.Module, weights: Mapping[str, Any], source: str) -> nn.Module:
        try:
            supernet.load_state_dict(weights)
        except RuntimeError as error:
            raise WeightsError(
                f"the weights in {source} are those of another network than the supernet of this search"
                f" ({one_line(error)[:200]})"
            ) from error
        return supernet

    # -- scores --------------------------------------------------------------------------------------------------------

    def evaluate(self, proposal: Proposal) -> Score:
        """Measure the path of a proposal in the supernet, which computes what its network does."""
        if self._supernet is None:
            raise RuntimeError("setup() was not called")
        context, data = self.context, self._data
        self._paths.take(proposal.architecture)
        try:
            if running_norms(self._supernet):
                self._recalibrate(self._supernet)
            validation = data.splits["validation"]
            found = measure(self._supernet, validation, context.task, self.config.batch_size, self._autocast)
        finally:
            if context.spec.executor != "serial":
                data.close()
        metrics = {f"validation_{name}": value for name, value in found.items()}
        return self.score(metrics.pop(self.objective.name), **metrics)

    def _recalibrate(self, supernet: nn.Module) -> None:
        split = self._data.splits["train"]
        size = min(self.config.batch_size, self.config.recalibration_images)
        steps = min(split.steps(size), max(1, self.config.recalibration_images // size))
        batches = split.batches(batch_size=size, epoch=0, steps=steps)
        with self._autocast():
            recalibrate_batch_norm(supernet, (inputs for inputs, _ in batches))

    def _autocast(self) -> contextlib.AbstractContextManager[Any]:
        enabled = self.config.precision == "bfloat16"
        return torch.autocast(self.context.device.type, torch.bfloat16, enabled=enabled)

    def close(self) -> None:
        """End the processes that load the data."""
        if self.context.data is not None:
            self.context.data.close()


def _shape(info: Mapping[str, Any]) -> str:
    """Return a text for what a supernet needs to know of the data."""
    size = f"{info['channels']}x{info['height']}x{info['width']}"
    return f"{size} images of {plural(len(info['classes']), 'class', 'classes')}"
