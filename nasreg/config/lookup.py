"""Finds the source of a space or a data set: in the registry, in the user's code, or in a Python object.

Imports torch only when one is built or loaded.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from nasreg.config.custom_space import space_from_callable, space_from_code, space_from_module
from nasreg.config.sources import DatasetSource, SpaceSource
from nasreg.data.config import DatasetConfig
from nasreg.errors import PluginError, RunDirectoryError, UsageError
from nasreg.registry import Registry
from nasreg.specs.entries import DatasetEntry, SpaceEntry
from nasreg.specs.references import CodeRef, ObjectRef, RegisteredRef, parse_reference
from nasreg.specs.run import Ref

if TYPE_CHECKING:
    from torch import nn

    from nasreg.data import DatasetBundle


def find_space(registry: Registry, text: str, import_path: str | None = None) -> SpaceSource:
    """Find a space by reference.

    Args:
        registry: Where names are looked up.
        text: A name, ``package.module:name`` or ``folder/file.py:name``; the current directory is importable.
        import_path: Another directory to import a module from, if it is not found otherwise.

    Raises:
        UnknownNameError: There is no such space.
        SpaceError: The user's code cannot be imported, or its parameters cannot be options.
        RunDirectoryError: The space was a Python object.
        PluginError: The plugin's code cannot be loaded.
    """
    match parse_reference(text):
        case CodeRef() as reference:
            return space_from_code(reference, import_path)
        case ObjectRef() as reference:
            raise RunDirectoryError(_object_advice("model", reference))
        case RegisteredRef():
            return space_from_entry(registry.space(text), parse_reference(registry.qualified("space", text)))


def space_source(registry: Registry, space: str | nn.Module | Callable[..., nn.Module]) -> SpaceSource:
    """Return the source of a space in any form: a reference, a class or function, or a model.

    Raises:
        NasregError: As ``find_space`` and ``space_from_object``.
    """
    return find_space(registry, space) if isinstance(space, str) else space_from_object(space)


def space_from_entry(entry: SpaceEntry, reference: Ref) -> SpaceSource:
    """Return the source of a registered space.

    Raises:
        PluginError: The class of its options cannot be loaded.
    """
    component = entry.component
    return SpaceSource(
        reference,
        component.load_config(),
        lambda info, config: component.load_factory()(info, config),  # noqa: PLW0108  # loaded when it is called
        entry,
        rebuild=(space_from_entry, (entry, reference)),
    )


def space_from_object(space: nn.Module | Callable[..., nn.Module]) -> SpaceSource:
    """Return the source of a space given from Python: a class or function that builds the model, or the model.

    Raises:
        UsageError: It is none of these.
        SpaceError: It is a model that cannot be copied, or its parameters cannot be options.
    """
    from torch import nn

    if isinstance(space, nn.Module):
        return space_from_module(space)
    if callable(space):
        return space_from_callable(space)
    raise UsageError(
        f"space: {space!r:.80} is invalid: expected a class or function that builds a model, a model, the name of a"
        " space or 'package.module:name'"
    )


def find_dataset(registry: Registry, text: str) -> DatasetSource:
    """Find a data set by reference.

    Raises:
        UnknownNameError: There is no such data set.
        UsageError: The reference is to code.
        RunDirectoryError: The data set was a Python object.
        PluginError: The plugin's code cannot be loaded, or its options are no ``DatasetConfig``.
    """
    match parse_reference(text):
        case CodeRef():
            raise UsageError(
                f"data set {text!r}: code cannot be given as a data set; name a registered one or folder:PATH, or pass"
                " a Dataset from Python"
            )
        case ObjectRef() as reference:
            raise RunDirectoryError(_object_advice("data set", reference))
        case RegisteredRef():
            return dataset_from_entry(registry.dataset(text), parse_reference(registry.qualified("dataset", text)))


def dataset_from_entry(entry: DatasetEntry, reference: Ref) -> DatasetSource:
    """Return the source of a registered data set.

    Raises:
        PluginError: The class of its options cannot be loaded, or is no ``DatasetConfig``.
    """
    component = entry.component
    config = component.load_config()
    if not issubclass(config, DatasetConfig):
        raise PluginError(f"data set {entry.name!r}: its options {config.__name__} are no nasreg.data.DatasetConfig")

    def load(options: DatasetConfig) -> DatasetBundle:
        from nasreg.data import DatasetBundle

        loaded = component.load_factory()(options)
        if not isinstance(loaded, DatasetBundle):
            raise PluginError(f"data set {entry.name!r} returned a {type(loaded).__name__}, not a DatasetBundle")
        return loaded

    again = (dataset_from_entry, (entry, reference))
    return DatasetSource(reference, config, load, entry.default_preset, again)


def dataset_from_object(data: Any) -> DatasetSource:
    """Return the source of data given from Python.

    Args:
        data: A torch ``Dataset``, a tuple ``(train, test)`` or ``(train, validation, test)`` of those, or a
            ``DatasetBundle``.

    Raises:
        DataError: It is none of these.
    """
    from nasreg.data import DatasetBundle, from_torch
    from nasreg.data.bundle import from_tuple

    make = from_tuple if type(data) is tuple else from_torch
    bundle = data if isinstance(data, DatasetBundle) else make(data)
    again = (dataset_from_object, (data,))
    return DatasetSource(ObjectRef(type(data).__name__), DatasetConfig, lambda config: bundle, rebuild=again)


def _object_advice(what: str, reference: ObjectRef) -> str:
    again = (
        f"this run was started from Python with a {what} given as an object ({reference.label}): resume it with"
        " nasreg.search(..., out=..., resume=True) or nasreg.retrain(..., out=..., resume=True) and the same arguments"
    )
    if what != "model":
        return again
    return (
        f"{again}; to use its result, name a class or function that builds the model: --space package.module:NAME, from"
        " Python space=..."
    )
