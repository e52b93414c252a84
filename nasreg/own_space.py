"""A user's own search space, named ``package.module:factory``: a callable ``factory(info, **options)`` giving a module.

Its options are its parameters: values are checked against their annotations, and an unknown option is refused.
"""

from __future__ import annotations

import inspect
import sys
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import PydanticUserError, TypeAdapter, create_model
from pydantic_core import PydanticSerializationError, to_jsonable_python

from nasreg.errors import NasregError, PluginError, SpaceError
from nasreg.specs.base import Config, parse, resolve


class SpaceComponent(NamedTuple):
    """How to build a search space."""

    build: Callable[[Any, Mapping[str, Any]], Any]
    """Called as ``build(info: DataInfo, options)``; gives a ``torch.nn.Module`` with choices."""
    config: type[Config]


def own_space(reference: str) -> SpaceComponent:
    """Import a user's factory and derive its options from its parameters.

    Args:
        reference: ``package.module:factory``; the current directory is importable.

    Raises:
        SpaceError: It cannot be imported, does not take the data's shape first, or a parameter cannot be an option.
    """
    where = f"space {reference!r}"
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        factory = resolve(reference, "space")
    except PluginError as error:
        raise SpaceError(" ".join(str(error).split())) from error.__cause__
    config = _config(factory, where)

    def build(info: Any, options: Mapping[str, Any]) -> Any:
        values = parse(config, options, "space")
        try:
            return factory(info, **{name: getattr(values, name) for name in config.model_fields})
        except NasregError:
            raise
        except Exception as error:
            last = traceback.extract_tb(error.__traceback__)[-1]
            place = f"{last.filename}:{last.lineno}"
            raise SpaceError(f"{where}: {type(error).__name__} at {place}: {' '.join(str(error).split())}") from error

    return SpaceComponent(build, config)


def _config(factory: Any, where: str) -> type[Config]:
    try:
        parameters = list(inspect.signature(factory, eval_str=True).parameters.values())
    except Exception as error:
        raise SpaceError(f"{where} cannot be called: {type(error).__name__}: {' '.join(str(error).split())}") from error
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    if not parameters or parameters[0].kind not in positional:
        raise SpaceError(f"{where} must take the data's shape (a nasreg.specs.DataInfo) as its first parameter")
    fields: dict[str, Any] = {}
    for parameter in parameters[1:]:
        if parameter.kind in (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD):
            continue  # what has no name is no option
        name, annotation = parameter.name, parameter.annotation
        if (
            parameter.kind is inspect.Parameter.POSITIONAL_ONLY
            or name == "name"
            or name[0] == "_"
            or hasattr(Config, name)
        ):
            raise SpaceError(f"{where}: parameter {name!r} cannot be an option: rename it or pass it by keyword")
        default = ... if parameter.default is inspect.Parameter.empty else parameter.default
        if annotation is inspect.Parameter.empty:
            annotation = type(default) if isinstance(default, bool | int | float | str) else Any
        try:
            TypeAdapter(annotation)
            to_jsonable_python(None if default is ... else default)
        except (PydanticUserError, PydanticSerializationError) as error:
            raise SpaceError(
                f"{where}: parameter {name!r} cannot be an option, since a file cannot hold its value:"
                " use numbers, words, lists or mappings"
            ) from error
        fields[name] = (annotation, default)
    model: type[Config] = create_model(
        f"{getattr(factory, '__name__', 'Own').title()}Options", __base__=Config, __module__=__name__, **fields
    )
    return model
