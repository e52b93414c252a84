"""Checks that the arguments of a public function are of the kinds that its annotations say."""

from __future__ import annotations

import functools
import inspect
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ParamSpec, TypeVar

from nasreg.errors import UsageError

P = ParamSpec("P")
R = TypeVar("R")


def checked_arguments(*others: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Make a function refuse arguments of another kind than annotated.

    Args:
        others: Names of parameters that the function checks itself.

    Returns:
        A decorator. The function raises a ``UsageError`` that names the argument, its value and what was expected.
    """

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        signature = inspect.signature(function)

        @functools.cache
        def kinds() -> dict[str, Any]:
            hints = typing.get_type_hints(function)
            return {name: hints[name] for name in signature.parameters if name not in others}

        @functools.wraps(function)
        def checked(*args: P.args, **kwargs: P.kwargs) -> R:
            for name, value in signature.bind(*args, **kwargs).arguments.items():
                if name in kinds() and not _fits(value, kinds()[name]):
                    expected = str(signature.parameters[name].annotation).replace(" | ", " or ")
                    raise UsageError(
                        f"{function.__name__}: {name}={_short(value)} is invalid: expected {expected},"
                        f" not {type(value).__name__}"
                    )
            return function(*args, **kwargs)

        return checked

    return decorate


def _fits(value: Any, kind: Any) -> bool:
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if kind is Any:
        return True
    if origin in (types.UnionType, typing.Union):
        return any(_fits(value, each) for each in arguments)
    if origin is Callable:
        return callable(value)
    if origin is Sequence:
        items = not isinstance(value, str | bytes) and isinstance(value, Sequence)
        return items and all(_fits(each, arguments[0]) for each in value)
    if origin is Mapping:
        return isinstance(value, Mapping) and all(_fits(each, arguments[0]) for each in value)
    if origin is typing.Literal:
        return value in arguments
    if kind in (int, float):
        accepted = typing.SupportsIndex if kind is int else int | float
        return isinstance(value, accepted) and not isinstance(value, bool)
    return isinstance(value, kind)


def _short(value: object) -> str:
    text = " ".join(repr(value).split())
    return text if len(text) <= 60 else text[:57] + "..."
