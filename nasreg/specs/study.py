"""A study: which searches are compared, under which common protocol. Imports no torch.

``study.yaml`` holds it, in the directory of a study and as what a user writes. Short forms are read, too: a name in
place of a mapping, a number of seeds, a budget as text.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, field_validator, model_validator

from nasreg.errors import ConfigError
from nasreg.specs.base import Spec, parse
from nasreg.specs.references import reference_title
from nasreg.specs.run import Selection, dump_yaml, load_yaml

MAX_SEEDS = 10_000

Seed = Annotated[int, Field(ge=0, lt=2**32)]

_BUDGET = re.compile(r"(\d+(?:\.\d+)?(?:[eE]\d+)?)\s*([a-z]*)")
_UNITS = {
    **dict.fromkeys(("", "evaluation", "evaluations", "trial", "trials"), "evaluations"),
    **dict.fromkeys(("s", "sec", "second", "seconds"), "seconds"),
    **dict.fromkeys(("e", "epoch", "epochs"), "epochs"),
}


def _named(value: Any) -> Any:
    return {"name": value} if isinstance(value, str) else value


Named = Annotated[Selection, BeforeValidator(_named)]
"""A space, data set or evaluator: a name, or a mapping with a name and options."""


class StudyBudget(Spec):
    """What each search may spend. What is not given is that of the algorithm's preset."""

    evaluations: int | None = Field(default=None, ge=1, description="architectures that a multi-trial search evaluates")
    seconds: float | None = Field(
        default=None,
        gt=0,
        description="time that the trials of a multi-trial search take in all; the simulated time of a table",
    )
    epochs: int | None = Field(
        default=None,
        ge=1,
        description="epochs of a one-shot search; without evaluations and seconds, a multi-trial search trains as many"
        " architectures as this gives epochs for",
    )

    @property
    def text(self) -> str:
        """The budget for people, such as ``100 evaluations, 50 epochs``."""
        given = [(self.evaluations, "evaluations"), (self.seconds, "s"), (self.epochs, "epochs")]
        return ", ".join(f"{value:,g} {unit}" for value, unit in given if value is not None)


def parse_budget(texts: Iterable[str]) -> StudyBudget:
    """Return the budget of texts such as ``100``, ``12000s`` and ``50epochs``.

    Raises:
        ConfigError: A text is something else, or two of them say the same.
    """
    found: dict[str, Any] = {}
    for text in texts:
        match = _BUDGET.fullmatch(text.strip().lower())
        kind = _UNITS.get(match[2]) if match else None
        if match is None or kind is None:
            raise ConfigError(
                f"budget: {text!r} is invalid: expected a number of evaluations such as 100, of seconds such as"
                " 12000s, or of epochs such as 50epochs"
            )
        if kind in found:
            raise ConfigError(f"budget: {kind} are given twice: give them once")
        number = float(match[1])
        if kind != "seconds" and number != int(number):
            raise ConfigError(f"budget: {text!r} is invalid: {kind} are whole numbers")
        found[kind] = number if kind == "seconds" else int(number)
    return parse(StudyBudget, found, "budget")


def _budget(value: Any) -> Any:
    if isinstance(value, bool):
        return value
    if isinstance(value, str | int | float):
        value = [value]
    if isinstance(value, list | tuple) and all(isinstance(each, str | int | float) for each in value):
        return parse_budget(str(each) for each in value)
    return value


def _seeds(value: Any) -> Any:
    if isinstance(value, int) and not isinstance(value, bool):
        if not 1 <= value <= MAX_SEEDS:
            raise ValueError(f"a number of seeds is between 1 and {MAX_SEEDS:,}")
        return tuple(range(value))
    return value


class StudyAlgorithm(Spec):
    """An algorithm in a study: with its own options, and the label under which it is shown."""

    algorithm: str = Field(min_length=1, description="DISTRIBUTION/NAME or NAME of the algorithm")
    label: str = Field(
        default="", max_length=60, description="name in tables and figures; by default that of the algorithm"
    )
    preset: str | None = Field(default=None, description="preset that the options start from")
    mutator: dict[str, Any] = Field(default_factory=dict, description="options of the mutator")
    trainer: dict[str, Any] = Field(default_factory=dict, description="options of the trainer")

    @model_validator(mode="before")
    @classmethod
    def _short(cls, value: Any) -> Any:
        return {"algorithm": value} if isinstance(value, str) else value

    @field_validator("label")
    @classmethod
    def _printable(cls, value: str) -> str:
        if not value.isprintable() or value != value.strip():
            raise ValueError("a label is one line of text")
        return value

    @property
    def title(self) -> str:
        """The label, else the name of the algorithm."""
        return self.label or reference_title(self.algorithm)


class StudyRetraining(Spec):
    """How what the searches find is retrained, in the same way for all, and measured on the test set at the end."""

    recipe: str | None = Field(default=None, description="recipe; by default the one that the data set names")
    settings: tuple[str, ...] = Field(default=(), description="KEY=VALUE, such as trainer.epochs=50")

    @model_validator(mode="before")
    @classmethod
    def _short(cls, value: Any) -> Any:
        return {"recipe": value} if isinstance(value, str) else value


class StudySpec(Spec):
    """Everything that determines a study. ``study.yaml`` in its directory holds it."""

    format: Literal[1] = Field(default=1, description="version of this file format")
    kind: Literal["study"] = Field(default="study", description="what the file is")
    title: str = Field(default="", max_length=200, description="heading of the page")
    algorithms: tuple[StudyAlgorithm, ...] = Field(min_length=1, description="algorithms, by name or with options")
    spaces: tuple[Named, ...] = Field(
        default=(), description="search spaces; by default that of the first multi-trial algorithm"
    )
    datasets: tuple[Named, ...] = Field(default=(), description="data sets; by default digits")
    evaluators: tuple[Named, ...] = Field(
        default=(), description="evaluators, the same for all algorithms; by default that of the space, else training"
    )
    vary: dict[str, tuple[Any, ...]] = Field(
        default_factory=dict,
        description="option -> values, each of which is a problem of its own, such as evaluator.dataset: [cifar10,"
        " cifar100]",
    )
    seeds: Annotated[tuple[Seed, ...], BeforeValidator(_seeds)] = Field(
        default=tuple(range(10)), min_length=1, max_length=MAX_SEEDS, description="number of seeds from 0, or a list"
    )
    budget: Annotated[StudyBudget, BeforeValidator(_budget)] = Field(
        default=StudyBudget(), description="evaluations, such as 100; seconds, such as 12000s; epochs, such as 50epochs"
    )
    baseline: bool = Field(default=True, description="whether random search is compared, too, with the same budget")
    settings: tuple[str, ...] = Field(
        default=(),
        description="KEY=VALUE for all searches, such as evaluator.epochs=5, or LABEL:KEY=VALUE for one algorithm",
    )
    retrain: StudyRetraining | None = Field(
        default=None, description="recipe by which what each search finds is retrained; null: not at all"
    )
    device: str | None = Field(default=None, description="auto, cpu, cuda, cuda:N or mps")

    @field_validator("algorithms", "spaces", "datasets", "evaluators", "seeds", mode="before")
    @classmethod
    def _one_is_a_list(cls, value: Any, info: Any) -> Any:
        return [value] if isinstance(value, str | dict) and info.field_name != "seeds" else value

    @field_validator("seeds")
    @classmethod
    def _different(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        if len(set(value)) != len(value):
            raise ValueError("seeds are different numbers")
        return value

    @field_validator("vary")
    @classmethod
    def _has_values(cls, value: dict[str, tuple[Any, ...]]) -> dict[str, tuple[Any, ...]]:
        for name, values in value.items():
            if not values:
                raise ValueError(f"{name} has no values")
        return value

    @model_validator(mode="after")
    def _labels_differ(self) -> StudySpec:
        titles = [each.title for each in self.algorithms]
        twice = next((title for title in titles if titles.count(title) > 1), None)
        if twice is not None:
            raise ValueError(f"algorithms: two are called {twice!r}: give one of them a label")
        return self

    def to_yaml(self) -> str:
        """Return the YAML text, without what has its default."""
        values = self.model_dump(mode="json", exclude_defaults=True)
        seeds = list(self.seeds)
        named = {"format": self.format, "kind": self.kind, **values}
        return dump_yaml({**named, "seeds": len(seeds) if seeds == list(range(len(seeds))) else seeds})

    @classmethod
    def from_yaml(cls, text: str, source: str = "study.yaml") -> StudySpec:
        """Read YAML (safe: no code).

        Raises:
            ConfigError: The text is malformed.
        """
        values = load_yaml(text, source)
        return parse(cls, values, "", dict.fromkeys(cls.model_fields, source))
