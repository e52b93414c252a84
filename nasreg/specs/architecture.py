"""An architecture: a decision for each choice of a search space, and the fingerprint of that space. No torch."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, StrictFloat, StrictInt, ValidationError

from nasreg.errors import ArchitectureError
from nasreg.specs.base import Spec

Edge = tuple[str, StrictInt]
"""One kept edge of a cell: the operation on it and the number of the state it comes from."""

CellDecision = tuple[tuple[Edge, ...], ...]
"""The kept edges of each node of a cell. States are numbered inputs first, then nodes."""

InputDecision = tuple[str, ...]
"""The names of the chosen inputs."""

Decision = str | StrictInt | StrictFloat | InputDecision | CellDecision
"""A decision of any kind of choice. Text and numbers keep their types: 1, 1.0 and "1" differ, and True is refused."""


class Architecture(Spec):
    """The result of a search: readable JSON, valid for every model with the same search space.

    Example:
        ``{"format": 1, "fingerprint": "6f0c...", "decisions": {"conv1": "conv5x5", "skip": ["0"]}}``
    """

    format: Literal[1] = Field(default=1, description="version of this file format")
    fingerprint: str = Field(description="fingerprint of the search space that the decisions belong to")
    decisions: dict[str, Decision] = Field(
        description="key of a choice -> candidate name (layer), names of the inputs (input), the value "
        "(value), the depth (repeat), or per node a list of [operation, source state] (cell)"
    )

    def to_json(self) -> str:
        """Return the JSON text, one decision to a line."""
        import json

        head = f'{{\n  "format": {self.format},\n  "fingerprint": {json.dumps(self.fingerprint)},\n  "decisions": {{'
        lines = [f"\n    {json.dumps(key)}: {json.dumps(value)}" for key, value in self.decisions.items()]
        return head + ",".join(lines) + "\n  }\n}\n"

    def _repr_html_(self) -> str:
        """Return the decisions as an HTML table for Jupyter; a drawing would need the search space, too."""
        from html import escape

        rows = []
        for key, decision in self.decisions.items():
            lines = decision if isinstance(decision, tuple) else (str(decision),)
            texts = [line if isinstance(line, str) else _node_text(line) for line in lines]
            cell = "<br>".join(map(escape, texts)) or "(none)"
            rows.append(f"<tr><th>{escape(key)}</th><td style='text-align:left'>{cell}</td></tr>")
        caption = f"architecture of search space {escape(self.fingerprint)}"
        return f"<table><caption>{caption}</caption>{''.join(rows)}</table>"

    @classmethod
    def from_json(cls, text: str, source: str = "architecture") -> Architecture:
        """Read JSON text.

        Args:
            text: What ``to_json`` writes.
            source: Where the text is from, for the error.

        Raises:
            ArchitectureError: The text is not the JSON of an architecture. Whether it fits a space is a separate
                question: see ``SearchSpaceSpec.validate``.
        """
        try:
            return cls.model_validate_json(text)
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(str(part) for part in first["loc"] if not _is_type_name(part)) or "the file"
            raise ArchitectureError(f"{source} is not an architecture: {place}: {first['msg']}") from error

    @classmethod
    def load(cls, path: str | Path) -> Architecture:
        """Read an ``architecture.json``.

        Raises:
            ArchitectureError: The file cannot be read or is not an architecture.
        """
        try:
            text = Path(path).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ArchitectureError(f"cannot read architecture {path}: {error}") from error
        return cls.from_json(text, str(path))


def _node_text(edges: tuple[Edge, ...]) -> str:
    return " + ".join(f"{operation} ({state})" for operation, state in edges)


def _is_type_name(part: object) -> bool:
    return isinstance(part, str) and (part == "str" or "[" in part)
