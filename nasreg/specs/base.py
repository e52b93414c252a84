"""The base classes of all specs and options, and one-line messages of their validation errors. Imports no torch."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal, Self, TypeVar, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, PlainSerializer, ValidationError, WithJsonSchema
from pydantic.config import JsonDict

from nasreg.errors import ConfigError, PluginError, did_you_mean, one_line
from nasreg.specs.invalid_metadata import tolerate_invalid_metadata

tolerate_invalid_metadata()


class Spec(BaseModel):
    """Base of all specs: immutable, and an unknown field is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, defer_build=True)


class CachingSpec(Spec):
    """A spec with ``cached_property``. A copy starts without what was computed, since it may get other fields."""

    def __copy__(self) -> Self:
        return _without_caches(super().__copy__())

    def __deepcopy__(self, memo: dict[int, Any] | None = None) -> Self:
        return _without_caches(super().__deepcopy__(memo))


S = TypeVar("S", bound=Spec)


def _without_caches(spec: S) -> S:
    for name in spec.__dict__.keys() - type(spec).model_fields.keys():
        del spec.__dict__[name]
    return spec


ResumeKind = Literal["result", "extends", "execution"]
"""The meaning of an option for a run that is resumed.

- ``result``: it decides the result; another value is refused. The default.
- ``extends``: a larger value extends the run, also one that has finished.
- ``execution``: it only says how the run is executed; any value will do.
"""

EXTENDS: JsonDict = {"resume": "extends"}
EXECUTION: JsonDict = {"resume": "execution"}
EXECUTION_BITS: JsonDict = {"resume": "execution", "bits": True}
"""For ``Field(json_schema_extra=...)`` of an option: its ``ResumeKind``; the last may change results by rounding."""


class Config(Spec):
    """Base of every set of options: a mutator's, a trainer's, a space's, a data set's.

    Every field has a default and a ``description``; ``nasreg describe`` and the documentation are made from them. A
    field that may change when a run is resumed says so: ``json_schema_extra=EXTENDS`` or ``EXECUTION``.
    """

    @classmethod
    def resume_kind(cls, option: str) -> ResumeKind:
        """Return the kind of an option for a run that is resumed; ``result`` for an unknown option."""
        kind: ResumeKind = cls._resume_extra(option).get("resume", "result")
        return kind

    @classmethod
    def changes_bits(cls, option: str) -> bool:
        """Return whether another value of an ``execution`` option may change results by rounding."""
        return bool(cls._resume_extra(option).get("bits"))

    @classmethod
    def _resume_extra(cls, option: str) -> Mapping[str, Any]:
        field = cls.model_fields.get(option)
        extra = field.json_schema_extra if field is not None else None
        return extra if isinstance(extra, dict) else {}


C = TypeVar("C", bound=BaseModel)


def _check_reference(value: object) -> object:
    if callable(value):
        return value
    if isinstance(value, str):
        module, colon, attribute = value.partition(":")
        names = [*module.split("."), *attribute.split(".")]
        if colon and all(name.isidentifier() for name in names):
            return value
    raise ValueError(f"expected 'package.module:name' or a callable, got {value!r}")


def reference_name(reference: str | Callable[..., Any]) -> str:
    """Return the ``package.module:name`` form of a reference."""
    if isinstance(reference, str):
        return reference
    return f"{reference.__module__}:{reference.__qualname__}"


Reference = Annotated[
    str | Callable[..., Any],
    BeforeValidator(_check_reference),
    PlainSerializer(reference_name, return_type=str),
    WithJsonSchema({"type": "string", "pattern": r"^[\w.]+:[\w.]+$"}),
]
"""Code named by ``"package.module:name"`` and imported on first use, or the object itself (in a notebook or a test)."""


def resolve(reference: str | Callable[..., Any], wanted_by: str) -> Any:
    """Import what a reference names.

    Args:
        reference: ``"package.module:name"``, or an object, which is returned as it is.
        wanted_by: Whose reference it is, for the error.

    Raises:
        PluginError: The module or the name in it does not exist. What goes wrong *inside* the module is not hidden: it
            is the error's cause.
    """
    if not isinstance(reference, str):
        return reference
    module_name, _, path = reference.partition(":")
    try:
        found: Any = importlib.import_module(module_name)
        for name in path.split("."):
            found = getattr(found, name)
    except SystemExit as error:
        raise PluginError(
            f"{wanted_by}: cannot load {reference!r}: it exits when it is imported (exit code {error.code})"
        ) from error
    except Exception as error:
        raise PluginError(f"{wanted_by}: cannot load {reference!r}: {one_line(error)}") from error
    return found


def parse(model: type[C], values: Mapping[str, Any], where: str, sources: Mapping[str, str] | None = None) -> C:
    """Validate ``values`` as ``model``; on failure raise one line with the option, its value and what was expected.

    Args:
        model: The pydantic model.
        values: What to validate.
        where: Prefix of the option names as the user writes them, such as ``"trainer"``; may be empty.
        sources: Where each top-level option came from (``{"epochs": "--set"}``), for the message.

    Raises:
        ConfigError: Always one line; further errors are counted, not lost: each is in the message.
    """
    numbers = values.items() if isinstance(values, Mapping) else ()  # what is no mapping, pydantic refuses below
    for name, value in numbers:
        # YAML reads yes, no, on and off as truth values, and pydantic takes those for 1 and 0.
        if isinstance(value, bool) and name in model.model_fields and _is_number(model.model_fields[name].annotation):
            origin = f" (from {sources[name]})" if sources and name in sources else ""
            option = ".".join(filter(None, [where, name]))
            raise ConfigError(f"{option}: {str(value).lower()} is invalid{origin}: should be a number")
    try:
        return model.model_validate(values)
    except ValidationError as error:
        raise ConfigError("; ".join(_explain(model, item, where, sources or {}) for item in error.errors())) from error


def _is_number(annotation: Any) -> bool:
    kinds = get_args(annotation) or (annotation,)
    return any(kind in (int, float) for kind in kinds) and all(kind in (int, float, type(None)) for kind in kinds)


def _explain(model: type[BaseModel], item: Any, where: str, sources: Mapping[str, str]) -> str:
    location = [str(part) for part in item["loc"]]
    name = ".".join(filter(None, [where, *location])) or "the options"
    source = sources.get(location[0]) if location else None
    origin = f" (from {source})" if source else ""
    if item["type"] == "extra_forbidden":
        known = list(model.model_fields) if len(location) == 1 else []
        hint = did_you_mean(location[-1], [".".join(filter(None, [where, field])) for field in known]) if known else ""
        if known and "Did you mean" not in hint:
            hint = did_you_mean(name, [".".join(filter(None, [where, field])) for field in known])
        return f"there is no option {name!r}{origin}.{hint}"
    if item["type"] == "missing":
        return f"{name} is missing{origin}"
    text = item["msg"].removeprefix("Value error, ").removeprefix("Input ").replace("valid tuple", "list, as in [A, B]")
    if not location and item["type"] == "value_error":  # options that contradict each other: the text names them
        return f"{where}: {text}" if where else text
    return f"{name}: {_short(item['input'])} is invalid{origin}: {text}"


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."
