"""Everything that determines a run, resolved: the same RunSpec gives the same run. Imports no torch."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Literal, TypeVar

import yaml
from pydantic import ConfigDict, Field

from nasreg.errors import ConfigError
from nasreg.specs.base import Spec, parse
from nasreg.specs.references import CodeRef, ObjectRef, RegisteredRef, parse_reference, reference_title

R = TypeVar("R", bound="RunFile")

Ref = RegisteredRef | CodeRef | ObjectRef

_FIRST = ("format", "kind", "task", "algorithm", "preset", "source", "recipe")
"""Fields that come first in a ``run.yaml``."""


class Selection(Spec):
    """A space, data set, evaluator or executor by reference, with its options beside it."""

    model_config = ConfigDict(extra="allow", frozen=True)

    name: str = Field(
        min_length=1,
        description="DISTRIBUTION/NAME or NAME in the registry, package.module:name or folder/file.py:name",
    )

    @property
    def reference(self) -> Ref:
        """The reference in ``name``.

        Raises:
            ConfigError: It is malformed.
        """
        return parse_reference(self.name)

    @property
    def title(self) -> str:
        """A short name for people."""
        return reference_title(self.name)

    @property
    def options(self) -> dict[str, Any]:
        """All entries except the name."""
        return dict(self.model_extra or {})


class RunFile(Spec):
    """The content of a ``run.yaml``: everything that determines a run, resolved; searches and retrainings extend it."""

    format: Literal[2] = Field(default=2, description="version of this file format")
    task: str = Field(default="classification", description="name of the task")
    space: Selection = Field(description="search space and its options")
    dataset: Selection = Field(description="data set and its options")
    trainer: dict[str, Any] = Field(description="options of the trainer")
    seed: int = Field(default=0, ge=0, lt=2**32, description="seed of everything that is random")
    device: str = Field(default="auto", description="auto, cpu, cuda, cuda:N or mps")

    def to_yaml(self) -> str:
        """Return the YAML text, with what the run is at the top."""
        values = self.model_dump(mode="json")
        return dump_yaml({name: values[name] for name in (*_FIRST, *values) if name in values})

    @classmethod
    def from_yaml(cls: type[R], text: str, source: str = "run.yaml") -> R:
        """Read the text that ``to_yaml`` writes (safe YAML: no code).

        Raises:
            ConfigError: The text is malformed.
        """
        return parse(cls, load_yaml(text, source), "", dict.fromkeys(cls.model_fields, source))


class RunSpec(RunFile):
    """Everything that determines a search. ``run.yaml`` in the run directory holds it, no default left out."""

    kind: Literal["search"] = Field(default="search", description="search, or retrain for a retraining")
    algorithm: str = Field(description="DISTRIBUTION/NAME or NAME of the algorithm")
    preset: str | None = Field(default=None, description="preset that the options started from")
    mutator: dict[str, Any] = Field(description="options of the mutator")
    evaluator: Selection | None = Field(
        default=None, description="evaluator of a multi-trial algorithm and its options; null for a one-shot one"
    )
    executor: Selection = Field(
        default=Selection(name="serial"),
        description="executor, which says where trials are evaluated, and its options",
    )
    workers: int = Field(default=1, ge=1, le=1024, description="number of trials that are evaluated at the same time")

    @property
    def algorithm_title(self) -> str:
        """The name of the algorithm without its distribution."""
        return reference_title(self.algorithm)

    @property
    def headline(self) -> str:
        """A heading for a run that uses data."""
        return self.headline_of(uses_data=True)

    @property
    def title(self) -> str:
        """A run that uses data in one line."""
        return self.title_of(uses_data=True)

    def headline_of(self, *, uses_data: bool) -> str:
        """Return a heading for the run; one whose evaluator needs no data is on its space."""
        return f"{self.algorithm_title} on {(self.dataset if uses_data else self.space).title}"

    def title_of(self, *, uses_data: bool) -> str:
        """Return the run in one line; the data set is left out where none is loaded."""
        dataset = f", data set {self.dataset.title}" if uses_data else ""
        return f"{self.algorithm_title}: space {self.space.title}{dataset}"


class _DuplicateKeyError(ValueError):
    """A key that stands twice in a mapping."""


class _Loader(yaml.SafeLoader):
    """Reads safe YAML with the numbers of YAML 1.2, and refuses a key that stands twice in a mapping."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Construct a mapping after a check of its keys."""
        seen: set[Any] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.value != "<<":
                if key.value in seen:
                    raise _DuplicateKeyError(f"key {key.value!r} stands twice, again in line {key.start_mark.line + 1}")
                seen.add(key.value)
        return super().construct_mapping(node, deep)

    def construct_decimal(self, node: yaml.ScalarNode) -> int:
        """Construct a whole number: ``010`` is ten."""
        return int(node.value, 0 if node.value[1:2] in ("x", "o") else 10)


class _Dumper(yaml.SafeDumper):
    """Writes what ``_Loader`` reads."""


_INT = r"^(?:[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+)$"
_FLOAT = r"^(?:[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$"
_NUMBERS = ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float")
_TEXTS = ("tag:yaml.org,2002:timestamp", "tag:yaml.org,2002:value")
"""What YAML 1.2 reads as text: a date, and ``=``."""


def _use_numbers_of_yaml_1_2() -> None:
    """In YAML 1.1, which PyYAML follows, 010 is eight, 1:30 is ninety, and 1e-3 is text."""
    for each in (_Loader, _Dumper):
        each.yaml_implicit_resolvers = {
            first: [(tag, regexp) for tag, regexp in pairs if tag not in (*_NUMBERS, *_TEXTS)]
            for first, pairs in each.yaml_implicit_resolvers.items()
        }
        for tag, pattern in zip(_NUMBERS, (_INT, _FLOAT), strict=True):
            each.add_implicit_resolver(tag, re.compile(pattern), list("-+.0123456789"))
    _Loader.add_constructor(_NUMBERS[0], _Loader.construct_decimal)


_use_numbers_of_yaml_1_2()


def dump_yaml(values: Mapping[str, Any]) -> str:
    """Return values as YAML that ``load_yaml`` reads, in their order."""
    return str(yaml.dump(dict(values), Dumper=_Dumper, sort_keys=False, allow_unicode=True))


def load_yaml(text: str, source: str) -> dict[str, Any]:
    """Read a YAML mapping.

    Raises:
        ConfigError: The text is not YAML, or not a mapping with text for keys.
    """
    values = read_yaml(text, source)
    if not isinstance(values, dict) or not all(isinstance(key, str) for key in values):
        raise ConfigError(f"{source} must be a mapping of option names to values")
    return values


def read_yaml(text: str, source: str) -> Any:
    """Read YAML of any kind (safe YAML: no code).

    Raises:
        ConfigError: The text is not YAML, or a key stands twice in a mapping.
    """
    try:
        return yaml.load(text, _Loader)  # noqa: S506  # it is a SafeLoader
    except _DuplicateKeyError as error:
        raise ConfigError(f"{source}: {error}") from error
    except (yaml.YAMLError, ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
        # PyYAML lets the errors of its own code out where a tag and its value do not fit, or where lists nest too deep
        raise ConfigError(f"{source} is not YAML: {' '.join(str(error).split())}") from error
