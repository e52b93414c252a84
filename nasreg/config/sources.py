"""The sources of search spaces and data sets: how to build or load one, and the class of its options.

A source can be pickled for another process, where it is looked up or imported again. Imports torch only when one is
built or loaded.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nasreg.data.config import DatasetConfig
from nasreg.errors import IncompatibleError, PluginError, SpaceError
from nasreg.specs.base import Config, parse
from nasreg.specs.entries import SpaceEntry
from nasreg.specs.run import Ref

if TYPE_CHECKING:
    from torch import nn

    from nasreg.data import DatasetBundle
    from nasreg.specs.data import DataInfo
    from nasreg.specs.space import SearchSpaceSpec


Rebuild = tuple[Callable[..., Any], tuple[Any, ...]]


@dataclass(frozen=True)
class SpaceSource:
    """A search space that can be built."""

    reference: Ref
    config: type[Config]
    """Class of its options."""
    factory: Callable[[DataInfo, Config], Any]
    """Builds the module with its choices from valid options, or describes the choices of a space without networks."""
    entry: SpaceEntry | None = None
    """The registered entry; None for the user's own space."""
    instance: bool = False
    """Whether it was given as a module, of which every build is a copy with the same weights."""
    import_path: str | None = None
    """Directory that the user's module was imported from; None for any other space."""
    rebuild: Rebuild | None = None
    """The function that made it, and its arguments."""

    def __reduce__(self) -> Rebuild:
        return _rebuild(self.rebuild, self.reference)

    def build(self, info: DataInfo, options: Mapping[str, Any]) -> nn.Module:
        """Build the module with its choices.

        Args:
            info: Shape of the images and the classes.
            options: Options of the space; defaults may be missing.

        Raises:
            ConfigError: An option does not exist or has an invalid value.
            SpaceError: The space cannot be built, or the result is no module that can be searched.
            IncompatibleError: The space has no networks.
        """
        self.check_network()
        from torch import nn

        from nasreg.nn.models import check_model

        module = self.factory(info, parse(self.config, options, "space"))
        if not isinstance(module, nn.Module):
            raise SpaceError(f"space {self.reference.text!r} returned a {type(module).__name__}, not an nn.Module")
        if self.entry is None:
            check_model(module)
        return module

    @property
    def has_network(self) -> bool:
        """Whether its architectures have networks; see ``SpaceEntry.network``."""
        return self.entry is None or self.entry.network

    def check_network(self) -> None:
        """Check that its architectures have networks.

        Raises:
            IncompatibleError: They have none.
        """
        check_network(self.entry)

    def describe(self, info: DataInfo, options: Mapping[str, Any]) -> SearchSpaceSpec:
        """Return the choices of a space without networks; those of any other are extracted from its module.

        Args:
            info: Shape of the images and the classes.
            options: Options of the space; defaults may be missing.

        Raises:
            ConfigError: An option does not exist or has an invalid value.
            PluginError: The factory returns something else.
        """
        from nasreg.specs.space import SearchSpaceSpec

        space = self.factory(info, parse(self.config, options, "space"))
        if not isinstance(space, SearchSpaceSpec):
            raise PluginError(
                f"space {self.reference.text!r} has no networks, so that its factory has to return a SearchSpaceSpec,"
                f" not a {type(space).__name__}"
            )
        return space

    @property
    def builds_anew(self) -> bool:
        """Whether each build is a model that nothing else holds; a user's function may return a module of its file."""
        return self.entry is not None or self.instance

    @property
    def retrain_options(self) -> Mapping[str, Any]:
        """Options that make the space build the network that is retrained."""
        return self.entry.retrain if self.entry else {}

    @property
    def capabilities(self) -> Mapping[str, str]:
        """Name of a capability -> option of the space."""
        return self.entry.capabilities if self.entry else {}


def check_network(entry: SpaceEntry | None) -> None:
    """Check that the architectures of a space have networks.

    Args:
        entry: Its entry in the registry; None for the user's own space.

    Raises:
        IncompatibleError: They have none.
    """
    if entry is not None and not entry.network:
        raise IncompatibleError(f"{entry.without_networks}: none can be trained, measured or exported")


@dataclass(frozen=True)
class DatasetSource:
    """A data set that can be loaded."""

    reference: Ref
    config: type[DatasetConfig]
    """Class of its options."""
    load: Callable[[DatasetConfig], DatasetBundle]
    default_preset: str | None = None
    """Preset that is used with it where none is named."""
    rebuild: Rebuild | None = None
    """The function that made it, and its arguments."""

    def __reduce__(self) -> Rebuild:
        return _rebuild(self.rebuild, self.reference)


def _rebuild(rebuild: Rebuild | None, reference: Ref) -> Rebuild:
    if rebuild is None:
        raise TypeError(f"{reference.text} cannot be sent to another process")
    return rebuild
