"""The text form of a search space's architectures, where the field writes them in one of its own. Imports no torch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from pydantic import Field

from nasreg.errors import ArchitectureError
from nasreg.specs.architecture import Architecture, Decision
from nasreg.specs.base import Reference, Spec, resolve

if TYPE_CHECKING:
    from nasreg.specs.space import SearchSpaceSpec

MAX_LENGTH = 20_000
"""Characters of the longest text that is read."""


class Notation(Spec):
    """The text form in which the architectures of a space are published, such as the strings of NAS-Bench-201.

    It is data that names two functions by string; they are imported when a text is read or written.
    """

    prefix: str = Field(min_length=1, description="beginning of every such text, by which it is recognised")
    example: str = Field(min_length=1, description="one such text, for errors and documentation")
    formatter: Reference = Field(
        description="'package.module:name' of a function (space: SearchSpaceSpec, architecture) -> text, or None where"
        " the notation cannot express it"
    )
    parser: Reference = Field(
        description="'package.module:name' of a function (space: SearchSpaceSpec, text) -> decisions by key; it raises"
        " ValueError with what is wrong"
    )

    options: Reference | None = Field(
        default=None,
        description="'package.module:name' of a function (text) -> options of the space that the text belongs to, such"
        " as its number of layers, where the default ones need not fit; it raises ValueError with what is wrong",
    )

    def matches(self, text: str) -> bool:
        """Return whether a text is meant to be in this notation; it may be malformed."""
        return text.lstrip().startswith(self.prefix)

    def text(self, space: SearchSpaceSpec, architecture: Architecture) -> str | None:
        """Return an architecture as text, or None where the notation cannot express it.

        Raises:
            PluginError: The function does not exist or its module fails to import.
        """
        written: str | None = resolve(self.formatter, "notation")(space, architecture)
        return written

    def space_options(self, text: str, source: str = "the architecture") -> dict[str, Any]:
        """Return the options of the space that a text belongs to; those that are not named have their defaults.

        Args:
            text: The text; white space around it does not matter.
            source: Where it is from, for the error.

        Raises:
            ArchitectureError: It is malformed.
            PluginError: The function does not exist or its module fails to import.
        """
        if self.options is None:
            return {}
        find = resolve(self.options, "notation")
        with self._reading(text, source):
            return dict(find(text.strip()))

    @contextmanager
    def _reading(self, text: str, source: str) -> Iterator[None]:
        try:
            if len(text) > MAX_LENGTH:
                raise ValueError(f"it is longer than {MAX_LENGTH} characters")  # noqa: TRY301  # as the parser's
            yield
        except ValueError as error:  # an ArchitectureError is one
            raise ArchitectureError(f"{source}: {error}; expected a text such as {self.example}") from error

    def architecture(self, space: SearchSpaceSpec, text: str, source: str = "the architecture") -> Architecture:
        """Return the architecture that a text describes.

        Args:
            space: The search space.
            text: The text; white space around it does not matter.
            source: Where it is from, for the error.

        Raises:
            ArchitectureError: It is malformed, or no architecture of this space.
            PluginError: The function does not exist or its module fails to import.
        """
        parser = resolve(self.parser, "notation")
        with self._reading(text, source):
            decisions: Mapping[str, Decision] = parser(space, text.strip())
        return space.architecture(decisions)
