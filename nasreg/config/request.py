"""What a user asks for, and the run that it is resolved to: the data that ``nasreg.config.resolve`` takes and returns.

Imports no torch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from nasreg.config.sources import DatasetSource, SpaceSource
from nasreg.data.config import DatasetConfig
from nasreg.specs.architecture import Architecture
from nasreg.specs.base import Config
from nasreg.specs.entries import EvaluatorSpec, ExecutorEntry
from nasreg.specs.retrain import RetrainSpec
from nasreg.specs.run import RunSpec


class ArchitectureOrigin(NamedTuple):
    """An architecture to retrain, and what is known of its search."""

    title: str
    """Where it comes from."""
    architecture: Architecture | Callable[[Mapping[str, Any]], Architecture]
    """It, or what returns it for the options of the space, on which the architecture of a genotype depends."""
    options: Mapping[str, Any]
    """Options of the space that it was searched with."""
    dataset: Mapping[str, Any] = {}
    """The data set of the search by name, with the options that decide which images its test split has."""


@dataclass(frozen=True, kw_only=True)
class RunRequest:
    """What a user asks for: one for each run, a search or a retraining.

    Attributes:
        algorithm: Name of the algorithm of a search.
        origin: The architecture of a retraining.
        space: Reference to a space, or its source; the algorithm's default where None.
        dataset: Reference to a data set, ``folder:PATH``, or its source; ``digits`` where None.
        evaluator: Name of the evaluator of a multi-trial algorithm; the algorithm's own where None, else the space's.
        preset: Name of a preset, or of the recipe of a retraining; by default the one that the space names, else that
            which the data set names, else the algorithm's.
        config: A YAML file, or its content: a spec of which any part may be missing.
        settings: ``"KEY=VALUE"``, such as ``"trainer.epochs=50"`` or ``"seed=3"``; VALUE is YAML.
        options: Section (``space``, ``dataset``, ``evaluator``, ``executor``, ``mutator``, ``trainer``) -> its options.
        seed: Seed of everything random.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:N`` or ``mps``.
        workers: Number of trials that are evaluated at the same time.
        executor: Name of an executor; where None ``serial``, and ``processes`` with several workers.
    """

    algorithm: str | None = None
    origin: ArchitectureOrigin | None = None
    space: str | SpaceSource | None = None
    dataset: str | DatasetSource | None = None
    evaluator: str | None = None
    preset: str | None = None
    config: Mapping[str, Any] | str | Path | None = None
    settings: Sequence[str] = ()
    options: Mapping[str, Mapping[str, Any] | None] = field(default_factory=dict)
    seed: int | None = None
    device: str | None = None
    workers: int | None = None
    executor: str | None = None


@dataclass(frozen=True)
class ResolvedRun:
    """A spec in which no option is left open, with the sources and the options that it names."""

    spec: RunSpec | RetrainSpec
    space: SpaceSource
    dataset: DatasetSource
    dataset_config: DatasetConfig
    trainer_config: Config
    mutator_config: Config | None
    """None in a retraining."""
    preset_of_dataset: str | None = None
    """The preset or recipe, if nobody but the data set named it."""
    evaluator: EvaluatorSpec | None = None
    """The evaluator of a multi-trial search; None otherwise."""
    evaluator_config: Config | None = None
    """Its options."""
    executor: ExecutorEntry | None = None
    """The executor of a multi-trial search; None otherwise."""
    executor_config: Config | None = None
    """Its options."""
    preset_is_default: bool = False
    """Whether nobody named the preset or recipe: it is that of the data set, else the default."""
