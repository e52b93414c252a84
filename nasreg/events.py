"""What happens during a search, as data for callbacks: progress, metrics, TensorBoard, a user's own. No torch.

A callback is any callable that takes an event; events it does not care for it ignores.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from nasreg.specs.architecture import Architecture
from nasreg.specs.retrain import RetrainSpec
from nasreg.specs.run import RunSpec
from nasreg.specs.space import SearchSpaceSpec


@dataclass(frozen=True)
class Event:
    """Base of all events."""


@dataclass(frozen=True)
class RunStarted(Event):
    """Sent once, after everything is built and before the first step."""

    spec: RunSpec | RetrainSpec
    space: SearchSpaceSpec
    device: str
    parameters: int
    """Weights of what is trained, in numbers."""
    epochs: int
    steps: int
    """Steps of an epoch."""
    first_epoch: int
    """Above 0 where a run is resumed."""
    first_step: int
    run_dir: Path | None


@dataclass(frozen=True)
class StepEnded(Event):
    """Sent after each step. ``loss`` and ``accuracy`` are means over the epoch so far, on the weights' half."""

    epoch: int
    step: int
    steps: int
    loss: float
    accuracy: float


@dataclass(frozen=True)
class MemoryMeasured(Event):
    """Sent after the first step: the peak so far, of the process (CPU) or of what torch allocated (accelerators)."""

    peak_bytes: int
    device: str


@dataclass(frozen=True)
class EpochEnded(Event):
    """Sent after each epoch, validation included. Epochs count from 0."""

    epoch: int
    epochs: int
    seconds: float
    metrics: Mapping[str, float]
    """``train_loss``, ``train_accuracy``, ``validation_loss``, ``validation_accuracy``, and what the trainer adds."""
    architecture: Architecture
    """What would be derived now."""
    strengths: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    """Key of a choice -> how strong the algorithm holds each edge (cell) or its best candidate (layer, input) to be."""
    skips: Mapping[str, int] = field(default_factory=dict)
    """Key of a cell -> number of skip_connect kept."""
    weights: Mapping[str, Sequence[Mapping[str, float]]] = field(default_factory=dict)
    """Key of a choice -> rows of candidate name -> weight: for a cell a row for each edge, else one row."""


@dataclass(frozen=True)
class StageStarted(Event):
    """Sent before the first step of each stage, by algorithms that have stages. Stages count from 0."""

    stage: int
    stages: int
    epoch: int
    summary: str
    """What is different in it, in a few words."""


@dataclass(frozen=True)
class TrialEnded(Event):
    """Sent after each trial of a multi-trial algorithm. Trials count from 0."""

    trial: int
    trials: int
    architecture: Architecture
    score: float
    parameters: int
    """Weights of its network, in numbers."""
    seconds: float
    """Training time."""


@dataclass(frozen=True)
class Notice(Event):
    """Something that the user should see: a collapse into skips, a checkpoint that had to be passed over."""

    message: str


@dataclass(frozen=True)
class CheckpointSaved(Event):
    """Sent after a checkpoint is wholly on disk."""

    path: Path
    epoch: int
    step: int


@dataclass(frozen=True)
class RunEnded(Event):
    """Sent once, at the end."""

    architecture: Architecture
    run_dir: Path | None
    metrics: Mapping[str, float]


Callback = Callable[[Event], None]
