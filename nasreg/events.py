"""The events of a run, as data for callbacks: progress displays, metrics files, TensorBoard, the user's own. No torch.

A callback is any callable that takes an event; it ignores the kinds of events that it has no use for. Epochs, steps,
stages and trials count from 1 in every event, as in ``metrics.jsonl`` and in what is printed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from nasreg.specs.architecture import Architecture
from nasreg.specs.metrics import MetricSpec
from nasreg.specs.retrain import RetrainSpec
from nasreg.specs.run import RunSpec
from nasreg.specs.space import SearchSpaceSpec
from nasreg.specs.trial import Trial

TrainedModel = Literal["supernet", "network"]
"""What is trained and measured: a supernet, whose metrics are not those of the architecture found, or one network."""


@dataclass(frozen=True)
class Event:
    """Base of all events."""


@dataclass(frozen=True)
class RunStarted(Event):
    """Sent once, after everything is built and before the first step."""

    spec: RunSpec | RetrainSpec
    space: SearchSpaceSpec
    metrics: tuple[MetricSpec, ...]
    """The metrics of the task; any other recorded metric is a plain number."""
    device: str
    parameters: int
    """Number of parameters of the trained model."""
    epochs: int
    steps: int
    """Steps per epoch."""
    first_epoch: int
    """The epoch of the first step; above 1 where a run is resumed, ``epochs + 1`` if the last epoch has ended."""
    first_step: int
    """The number of the first step in its epoch; above 1 where a run is resumed within an epoch."""
    run_dir: Path | None
    model: TrainedModel = "network"
    """The kind of model that is trained."""
    auxiliary_parameters: int = 0
    """Number of the parameters that belong to an auxiliary head, which the trained network does not keep."""


@dataclass(frozen=True)
class StepEnded(Event):
    """Sent after each step. ``loss`` and ``metrics`` are means over the epoch so far, on the training split."""

    epoch: int
    step: int
    steps: int
    loss: float
    metrics: Mapping[str, float] = field(default_factory=dict)
    """Name of a metric, without a split, -> value, such as ``{"accuracy": 0.5}``."""


@dataclass(frozen=True)
class MemoryMeasured(Event):
    """Sent after the first step: the peak so far, of the process (CPU) or of what torch allocated (accelerators)."""

    peak_bytes: int
    device: str


@dataclass(frozen=True)
class EpochEnded(Event):
    """Sent after each epoch, validation included."""

    epoch: int
    epochs: int
    seconds: float
    metrics: Mapping[str, float]
    """``{split}_{metric}`` -> value, such as ``train_loss`` or ``validation_accuracy``, and what the trainer adds."""
    architecture: Architecture
    """The architecture that would be derived now."""
    strengths: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    """Key of a choice -> strength that the algorithm gives each edge (cell) or its best candidate (layer, input)."""
    diagnostics: Mapping[str, float] = field(default_factory=dict)
    """Name -> number that an algorithm wants watched, such as ``"skip_connect in normal": 3``."""
    weights: Mapping[str, Sequence[Mapping[str, float]]] = field(default_factory=dict)
    """Key of a choice -> rows of candidate name -> weight: for a cell a row for each edge, else one row."""
    model: TrainedModel = "network"
    """The kind of model that was measured."""


@dataclass(frozen=True)
class StageStarted(Event):
    """Sent before the first step of each stage, by algorithms that have stages."""

    stage: int
    stages: int
    epoch: int
    summary: str
    """What changes with this stage, in a few words."""


@dataclass(frozen=True)
class SearchStarted(Event):
    """Sent once by a multi-trial search, before the first proposal."""

    spec: RunSpec
    space: SearchSpaceSpec
    objective: MetricSpec
    """The metric that trials are scored by."""
    device: str
    max_trials: int
    ended: int
    """Number of trials that have ended; above 0 where a search is resumed."""
    run_dir: Path | None
    best: Trial | None = None
    """The best of those trials."""
    uses_data: bool = True
    """Whether a data set is loaded: an evaluator may need none."""
    trial_epochs: int | None = None
    """Epochs that the network of a trial is trained for, or of the training that a table has the results of."""


@dataclass(frozen=True)
class SupernetProgress(Event):
    """Sent after each step while an evaluator trains the supernet that it scores with, before the first trial.

    ``loss`` and ``metrics`` are as in ``StepEnded``.
    """

    epoch: int
    epochs: int
    step: int
    steps: int
    loss: float
    metrics: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class TrialStarted(Event):
    """Sent when the evaluation of a trial begins."""

    trial: int


@dataclass(frozen=True)
class TrialProgress(Event):
    """Sent while a trial trains: after each step in this process, less often by a worker process."""

    trial: int
    epoch: int
    epochs: int
    step: int
    steps: int


@dataclass(frozen=True)
class TrialEnded(Event):
    """Sent when a trial is done, has failed or is rejected; with several workers not in the order of ids."""

    trial: Trial
    ended: int
    """Number of trials that were evaluated so far, without those rejected."""
    max_trials: int
    objective: MetricSpec
    """The metric that the score is."""


@dataclass(frozen=True)
class Notice(Event):
    """Sent with a message that the user should see, such as that a damaged checkpoint was skipped."""

    message: str


@dataclass(frozen=True)
class CheckpointSaved(Event):
    """Sent after a checkpoint is completely on disk."""

    path: Path
    epoch: int
    """The epoch of the next step."""
    step: int
    """The number of the next step in that epoch."""


@dataclass(frozen=True)
class NetworkMeasured(Event):
    """Sent after a one-shot search: what the network found reaches with the weights of the supernet, untrained."""

    metric: MetricSpec
    """The metric, named ``{split}_{metric}``."""
    supernet: float
    """Its value for the supernet."""
    inherited: float
    """Its value for the network with the supernet's weights."""
    recalibrated: float | None
    """The same after its BatchNorm statistics were renewed on the train split; None if it has none."""


@dataclass(frozen=True)
class RunEnded(Event):
    """Sent once, at the end."""

    architecture: Architecture
    run_dir: Path | None
    metrics: Mapping[str, float]


Callback = Callable[[Event], None]
