"""Describes an entry of the registry without running it, above all its options. JSON-able data, no torch."""

from __future__ import annotations

import types
import typing
from collections.abc import Iterable
from typing import Annotated, Any, Literal

from pydantic_core import to_jsonable_python

from nasreg.registry.records import Entry
from nasreg.specs.algorithm import AlgorithmSpec
from nasreg.specs.base import Config
from nasreg.specs.entries import DatasetEntry, EvaluatorSpec, ExecutorEntry, SpaceEntry

_CONSTRAINTS = {
    "gt": "> {}",
    "ge": ">= {}",
    "lt": "< {}",
    "le": "<= {}",
    "multiple_of": "multiple of {}",
    "min_length": "length >= {}",
    "max_length": "length <= {}",
    "pattern": "matches {}",
}


def describe_entry(entry: Entry) -> dict[str, Any]:
    """Return the fields of an entry and, in place of each config class, every option of it.

    Raises:
        PluginError: A config class cannot be loaded.
    """
    described: dict[str, Any] = entry.model_dump(mode="json")
    if isinstance(entry, AlgorithmSpec):
        described["default_evaluator"] = entry.default_evaluator
        for part, component in (("mutator", entry.mutator), ("trainer", entry.trainer)):
            described[part]["options"] = describe_options(component.load_config())
    elif isinstance(entry, SpaceEntry | DatasetEntry | EvaluatorSpec | ExecutorEntry):
        described["options"] = describe_options(entry.component.load_config())
    return described


def describe_options(config: type[Config]) -> list[dict[str, Any]]:
    """Return name, type, default, constraints and description of each option, in the order of the class."""
    return [
        {
            "name": name,
            "type": type_text(field.annotation),
            "required": field.is_required(),
            "default": None
            if field.is_required()
            else to_jsonable_python(field.get_default(call_default_factory=True)),
            "constraints": _constraints(field.metadata),
            "description": field.description or "",
        }
        for name, field in config.model_fields.items()
    ]


def type_text(annotation: Any) -> str:
    """Return a type as a user reads it: ``int``, ``'first' | 'second'``, ``list of str``, ``(float, float)``."""
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if annotation is None or annotation is types.NoneType:
        return "null"
    if annotation is Any:
        return "any"
    if origin is Annotated:
        limits = _constraints(arguments[1:])
        return type_text(arguments[0]) + (f" ({', '.join(limits)})" if limits else "")
    if origin is Literal:
        return " | ".join(repr(argument) for argument in arguments)
    if origin in (typing.Union, types.UnionType):
        return " | ".join(type_text(argument) for argument in arguments)
    if isinstance(origin, type) and arguments:
        if issubclass(origin, tuple) and arguments[-1] is not Ellipsis:
            return f"({', '.join(type_text(argument) for argument in arguments)})"
        if len(arguments) == 2 and not issubclass(origin, tuple):
            return f"mapping of {type_text(arguments[0])} to {type_text(arguments[1])}"
        return f"list of {type_text(arguments[0])}"
    return str(getattr(annotation, "__name__", annotation)).lower()


def _constraints(metadata: Iterable[Any]) -> list[str]:
    found: list[str] = []
    for item in metadata:
        limits = ((text, getattr(item, name, None)) for name, text in _CONSTRAINTS.items())
        found += [text.format(limit) for text, limit in limits if limit is not None]
        found += _constraints(getattr(item, "metadata", ()))  # a Field inside Annotated keeps its limits there
    return found
