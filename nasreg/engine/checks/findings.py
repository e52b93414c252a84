"""What a check finds: findings with a level and a place, and the facts that it reports. Imports no torch."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

from pydantic import Field

from nasreg.errors import NasregError, one_line
from nasreg.specs import Architecture, Spec

Level = Literal["error", "warning", "info"]
Section = Literal["request", "data", "space", "network", "search"]

LEVELS: tuple[Level, ...] = ("error", "warning", "info")


class Finding(Spec):
    """Something that a user should know before the search."""

    level: Level = Field(description="error: the search would fail or mean nothing; warning; info")
    section: Section = Field(description="what was checked")
    place: str = Field(description="where: a set of images, a choice and its candidate, an option")
    message: str = Field(description="what was found, and what to do")


class Findings:
    """Collects findings; the same finding is kept once."""

    def __init__(self) -> None:
        self.all: list[Finding] = []

    def add(self, level: Level, section: Section, place: str, message: str) -> None:
        """Add a finding, unless one with the same message is there already."""
        text = " ".join(message.split())
        if not any(each.message == text and each.place in (place, "") for each in self.all):
            self.all.append(Finding(level=level, section=section, place=place, message=text))

    def has(self, section: Section) -> bool:
        """Return whether there is a finding in a section."""
        return any(each.section == section for each in self.all)

    def has_error(self, *sections: Section) -> bool:
        """Return whether there is an error, in certain sections or in any."""
        return any(each.level == "error" and (not sections or each.section in sections) for each in self.all)

    @contextmanager
    def attempt(self, section: Section, place: str, what: str, level: Level = "error") -> Iterator[None]:
        """Turn an error in a block into a finding, so that other checks go their way.

        Args:
            section: What is checked.
            place: Where.
            what: What is attempted; it begins the message of an error that is not one of nasreg's.
            level: The level of the finding.
        """
        try:
            yield
        except Exception as error:  # noqa: BLE001  # it may come from code of the user; the finding says so
            text = one_line(error)
            self.add(level, section, place, text if isinstance(error, NasregError) else f"{what} failed: {text}")


class ImagesFacts(Spec):
    """The images of the train, validation or test set."""

    name: str = Field(description="train, validation or test")
    samples: int = Field(description="number of images")
    unusable: int = Field(description="number of images that cannot be read, or whose label or shape is invalid")
    shape: tuple[int, ...] | None = Field(description="channels, height and width of most images")
    dtype: str | None = Field(description="type of their values")
    low: float | None = Field(description="smallest value in any image")
    high: float | None = Field(description="largest value in any image")
    classes: dict[str, int] = Field(description="number of images of each class")


class DataFacts(Spec):
    """The data of the search."""

    images: tuple[ImagesFacts, ...] = Field(description="of each set of the data set")
    splits: dict[str, int] = Field(description="number of images in each split that the search uses")
    test_set: bool = Field(description="whether there is a test set, which retraining needs")


class CandidateFacts(Spec):
    """A candidate at one place of the space."""

    choice: str = Field(description="key of its choice")
    candidate: str = Field(description="its name")
    path: str = Field(description="its place in the model")
    shape: tuple[int, ...] | None = Field(description="shape of its output for one image; null if it has none")
    dtype: str | None = Field(description="type of its output")
    parameters: int = Field(description="number of parameters")
    macs: int | None = Field(description="multiply-accumulates of one image; null if it failed")


class ArchitectureFacts(Spec):
    """The cost of the smallest or the largest architecture."""

    which: str = Field(description="smallest or largest")
    parameters: int = Field(description="number of parameters")
    macs: int | None = Field(description="multiply-accumulates of one image; null if a candidate fails")
    architecture: Architecture = Field(description="the architecture")


class BudgetFacts(Spec):
    """A budget of the search."""

    option: str = Field(description="the option that sets it")
    limit: float = Field(description="the budget; a share is a number by now")
    reachable: bool | None = Field(
        description="whether an architecture meets it; null if none of those that were measured does, but another might"
    )
    share: float | None = Field(description="share of random architectures that meets it; null if not measured")
    samples: int = Field(description="number of random architectures that were measured")


class SpaceFacts(Spec):
    """The search space."""

    n_choices: int = Field(description="number of choices")
    n_architectures: int = Field(description="number of architectures")
    candidates: tuple[CandidateFacts, ...] = Field(description="each candidate at each of its places")
    architectures: tuple[ArchitectureFacts, ...] = Field(description="the smallest and the largest")
    budgets: tuple[BudgetFacts, ...] = Field(description="the budgets of the search")


class NetworkFacts(Spec):
    """What can be done with the supernet and the networks of architectures; null where it was not tried."""

    output: tuple[int, ...] | None = Field(description="shape of the output for a batch of two images")
    freezes: bool | None = Field(description="whether frozen networks compute what the supernet computes")
    copies: bool | None = Field(description="whether the supernet can be copied")
    saves: bool | None = Field(description="whether weights can be saved, read by the safe loader, and set again")
    exports: dict[str, bool] = Field(description="format -> whether networks can be exported to it")


class StepFacts(Spec):
    """The time of one step, and the memory of the process with it."""

    what: str = Field(description="what was measured")
    seconds: float = Field(description="duration in seconds")
    peak_bytes: int | None = Field(description="peak memory: of the process on the CPU, of torch on accelerators")
    device: str = Field(description="the device")


class SearchFacts(Spec):
    """An estimate of the search."""

    step: StepFacts | None = Field(description="what was measured; null if nothing could be")
    plan: str = Field(description="what the search consists of, such as epochs and steps")
    seconds: float | None = Field(description="estimate of the whole search, in seconds")


class CheckReport(Spec):
    """Everything that a check found."""

    title: str = Field(description="algorithm, space, data set and preset")
    findings: tuple[Finding, ...] = Field(description="all findings, errors first")
    data: DataFacts | None = Field(description="the data; null if they cannot be loaded, or are not needed")
    space: SpaceFacts | None = Field(description="the search space; null if it cannot be built")
    network: NetworkFacts | None = Field(description="supernet and networks; null if there are none")
    search: SearchFacts | None = Field(description="time and memory; null if the search could not be set up")

    @property
    def ok(self) -> bool:
        """Whether there is no error."""
        return self.count("error") == 0

    def count(self, level: Level) -> int:
        """Return the number of findings of a level."""
        return sum(each.level == level for each in self.findings)
