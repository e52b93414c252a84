"""The choices of a model, and the description of the search space that they span."""

from __future__ import annotations

from typing import NamedTuple

from torch import nn

from nasreg.errors import SpaceError
from nasreg.nn.choices import Choice, Scope, checked, join_path
from nasreg.specs.space import SearchSpaceSpec

NESTED = (
    "nested choices are not supported, except in the blocks of a Repeat; write the combinations as candidates of one"
    " choice"
)


class NamedChoice(NamedTuple):
    """A choice with its full key, its path in the model, and the keys of the scopes around it."""

    key: str
    path: str
    choice: Choice
    scopes: tuple[str, ...]


def named_choices(model: nn.Module) -> list[NamedChoice]:
    """Return every choice of a model in the order of its definition; a module that occurs repeatedly comes repeatedly.

    Raises:
        SpaceError: A choice is nested in a candidate of another, or one module would have two keys.
    """
    found: list[NamedChoice] = []
    _walk(model, "", (), found, {})
    return found


def _walk(
    module: nn.Module, path: str, scopes: tuple[str, ...], found: list[NamedChoice], first: dict[Choice, NamedChoice]
) -> None:
    if isinstance(module, Choice):
        item = NamedChoice("/".join([*scopes, module.key or path or "choice"]), path, module, scopes)
        known = first.setdefault(module, item)
        if module.keeps_first_key:
            item = known._replace(path=path)
        if known.key != item.key:
            raise SpaceError(f"the choice at {path} is reached under two keys, {known.key!r} and {item.key!r}: copy it")
        found.append(item)
        if not module.may_nest:
            _check_not_nested(item)
            return
    if isinstance(module, Scope):
        scopes = (*scopes, module.key)
    for name, child in module._modules.items():  # named_children() skips a child that has two names
        if child is not None:
            _walk(child, join_path(path, name), scopes, found, first)


def _check_not_nested(item: NamedChoice) -> None:
    for path, inner in item.choice.named_modules():
        if isinstance(inner, Choice) and inner is not item.choice:
            raise SpaceError(
                f"choice {item.key!r} has another choice in a candidate ({join_path(item.path, path)}): {NESTED}"
            )


def extract_space(model: nn.Module) -> SearchSpaceSpec:
    """Return the description of a model's search space.

    Raises:
        SpaceError: The model has no choice, choices of one key differ, or choices are nested.
    """
    paths: dict[str, list[str]] = {}
    first: dict[str, NamedChoice] = {}
    groups: dict[str, dict[str, None]] = {}
    for item in named_choices(model):
        paths.setdefault(item.key, []).append(item.path)
        known = first.setdefault(item.key, item)
        if known.choice is not item.choice and known.choice.spec(item.key, ()) != item.choice.spec(item.key, ()):
            raise SpaceError(
                f"two choices share the key {item.key!r} but not what there is to choose: {known.path} and {item.path}"
            )
        for depth in range(len(item.scopes)):
            groups.setdefault("/".join(item.scopes[: depth + 1]), {})[item.key] = None
    if not first:
        raise SpaceError(
            f"{type(model).__name__} has no choice in it: there is nothing to search."
            " Write a LayerChoice, InputChoice, ValueChoice, Repeat or Cell of nasreg.nn into it"
        )
    choices = tuple(item.choice.spec(key, tuple(paths[key])) for key, item in first.items())
    return checked(SearchSpaceSpec, choices=choices, groups={name: tuple(keys) for name, keys in groups.items()})
