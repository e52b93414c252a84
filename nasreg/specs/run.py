"""Everything that determines a run, resolved: the same RunSpec gives the same run. Imports no torch."""

from __future__ import annotations

from typing import Any, Literal, TypeVar

import yaml
from pydantic import ConfigDict, Field

from nasreg.errors import ConfigError
from nasreg.specs.base import Spec, parse

R = TypeVar("R", bound="RunFile")


class Selection(Spec):
    """A registered space or data set by name, with its options beside the name."""

    model_config = ConfigDict(extra="allow", frozen=True)

    name: str = Field(min_length=1, description="name in the registry, or package.module:factory")

    @property
    def options(self) -> dict[str, Any]:
        """All but the name."""
        return dict(self.model_extra or {})


class RunFile(Spec):
    """What a ``run.yaml`` holds; a search and a retraining each say what that is."""

    def to_yaml(self) -> str:
        """Return the YAML text."""
        return str(yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False, allow_unicode=True))

    @classmethod
    def from_yaml(cls: type[R], text: str, source: str = "run.yaml") -> R:
        """Read what ``to_yaml`` writes (safe YAML: no code).

        Raises:
            ConfigError: The text is something else.
        """
        return parse(cls, load_yaml(text, source), "", dict.fromkeys(cls.model_fields, source))


class RunSpec(RunFile):
    """Everything that determines a run. ``run.yaml`` in the run directory holds it, with no default left out."""

    format: Literal[1] = Field(default=1, description="version of this file format")
    algorithm: str = Field(description="name of the algorithm")
    preset: str | None = Field(default=None, description="preset that the options started from")
    space: Selection = Field(description="search space and its options")
    dataset: Selection = Field(description="data set and its options")
    mutator: dict[str, Any] = Field(description="options of the mutator")
    trainer: dict[str, Any] = Field(description="options of the trainer")
    seed: int = Field(default=0, ge=0, lt=2**32, description="seed of everything that is random")
    device: str = Field(default="auto", description="auto, cpu, cuda, cuda:N or mps")

    @property
    def headline(self) -> str:
        """What it is, for a heading."""
        return f"{self.algorithm} on {self.dataset.name}"

    @property
    def title(self) -> str:
        """What it is, in a few words."""
        return f"{self.algorithm}: space {self.space.name}, data set {self.dataset.name}"


def load_yaml(text: str, source: str) -> dict[str, Any]:
    """Read a YAML mapping.

    Raises:
        ConfigError: The text is not YAML, or not a mapping with words for keys.
    """
    values = read_yaml(text, source)
    if not isinstance(values, dict) or not all(isinstance(key, str) for key in values):
        raise ConfigError(f"{source} must be a mapping of option names to values")
    return values


def read_yaml(text: str, source: str) -> Any:
    """Read YAML of any kind (safe YAML: no code).

    Raises:
        ConfigError: The text is not YAML.
    """
    try:
        return yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
        # PyYAML lets the errors of its own code out where a tag and its value do not fit, or where lists nest too deep
        raise ConfigError(f"{source} is not YAML: {' '.join(str(error).split())}") from error
