"""Data sets of the benchmark, and the options of the space and of the evaluator. Imports no torch."""

from __future__ import annotations

from typing import Literal, NamedTuple, get_args

from pydantic import Field, field_validator

from nasreg.specs import Config

Operation = Literal["gat", "gcn", "gin", "cheb", "sage", "arma", "graph", "fc", "skip"]

OPERATIONS: tuple[Operation, ...] = get_args(Operation)
"""The operations of a node, in the authors' order."""

Name = Literal["cora", "citeseer", "pubmed", "cs", "physics", "photo", "computers", "arxiv", "proteins"]


class GraphData(NamedTuple):
    """A data set of the benchmark."""

    title: str
    metric: tuple[str, str] = ("accuracy", "accuracy")
    """Name and title of what the networks were measured by."""
    operations: tuple[Operation, ...] = OPERATIONS
    """The operations that networks were trained with."""


DATASETS: dict[Name, GraphData] = {
    "cora": GraphData("Cora"),
    "citeseer": GraphData("CiteSeer"),
    "pubmed": GraphData("PubMed"),
    "cs": GraphData("Coauthor-CS"),
    "physics": GraphData("Coauthor-Physics"),
    "photo": GraphData("Amazon-Photo"),
    "computers": GraphData("Amazon-Computers"),
    "arxiv": GraphData("ogbn-arxiv"),
    "proteins": GraphData("ogbn-proteins", ("roc_auc", "ROC-AUC"), ("gcn", "sage", "arma", "fc", "skip")),
}
"""The data sets, by the name of their file in the package nas-bench-graph."""


class SpaceConfig(Config):
    """Options of the space of NAS-Bench-Graph."""

    operations: tuple[Operation, ...] = Field(
        default=OPERATIONS,
        description="operations that a node may have; networks for the data set proteins were trained with gcn, sage,"
        " arma, fc and skip only",
    )

    @field_validator("operations")
    @classmethod
    def _in_order(cls, value: tuple[Operation, ...]) -> tuple[Operation, ...]:
        if len(set(value)) != len(value):
            raise ValueError("an operation is named twice")
        if not set(value) - {"skip"}:
            raise ValueError("there is no network of skip alone")
        return tuple(name for name in OPERATIONS if name in value)


class EvaluatorConfig(Config):
    """Options of the evaluator that looks results up."""

    dataset: Name = Field(default="cora", description="graph data set that the architectures were trained on")
    path: str | None = Field(
        default=None,
        description="table to read, a .bench file of the form of those in the package nas-bench-graph; by default that"
        " of the data set in the package",
    )
