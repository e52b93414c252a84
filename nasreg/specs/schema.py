"""The published JSON Schemas of the files that others may read or write; ``docs/schemas`` holds them."""

from __future__ import annotations

from typing import Any

from nasreg.specs.architecture import Architecture
from nasreg.specs.base import Spec
from nasreg.specs.retrain import RetrainSpec
from nasreg.specs.run import RunSpec
from nasreg.specs.space import SearchSpaceSpec
from nasreg.specs.study import StudySpec

SCHEMAS: dict[str, type[Spec]] = {
    "architecture": Architecture,
    "search-space": SearchSpaceSpec,
    "run": RunSpec,
    "retrain": RetrainSpec,
    "study": StudySpec,
}


def json_schema(name: str) -> dict[str, Any]:
    """Return the JSON Schema (2020-12) of ``architecture``, ``search-space``, ``run``, ``retrain`` or ``study``.

    Raises:
        KeyError: There is no schema of that name.
    """
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **SCHEMAS[name].model_json_schema()}
