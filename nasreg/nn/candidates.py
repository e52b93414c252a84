"""The candidate modules of a choice by name, given as modules or as factories, which need not be called at once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar

from torch import nn

from nasreg.errors import SpaceError

ModuleFactory = Callable[[], nn.Module]
"""Makes a new module at each call."""

_deferred = ContextVar("deferred_candidates", default=False)


@contextmanager
def deferred_candidates() -> Iterator[None]:
    """Build models inside this context without the candidates that are given as factories.

    ``freeze(model, architecture, in_place=True)`` then builds those that are chosen, and no others. The search space of
    such a model is that of the whole model, but it cannot be called. A factory sets the initial weights of its module
    itself: code that goes through the modules of the model does not see what is built later.

    Example:
        ``with deferred_candidates(): network = freeze(Net(), architecture, in_place=True)``
    """
    token = _deferred.set(True)
    try:
        yield
    finally:
        _deferred.reset(token)


def is_deferred() -> bool:
    """Return whether factories are left uncalled at present."""
    return _deferred.get()


class CandidateDict(nn.ModuleDict):
    """Candidates by name.

    Args:
        choice: Name of the choice, for error messages.
        candidates: The modules, or factories of them, by name.

    Raises:
        SpaceError: A name is invalid, or something is neither a module nor a factory of new modules.
    """

    def __init__(self, choice: str, candidates: Mapping[str, nn.Module | ModuleFactory]) -> None:
        super().__init__()
        self._choice = choice
        self.names = tuple(candidates)
        """Names of all candidates in their order, also of those that are not built yet."""
        self._factories: dict[str, ModuleFactory] = {}
        made: list[nn.Module] = []
        for name, given in candidates.items():
            if not name or "." in name or hasattr(self, name):
                raise SpaceError(f"{choice}: torch cannot hold a module named {name!r}; choose another, without dots")
            if isinstance(given, nn.Module):
                self[name] = given
            elif callable(given):
                self._factories[name] = given
                if not is_deferred():
                    made.append(self.built(name))
            else:
                kind = type(given).__name__
                raise SpaceError(f"{choice}: candidate {name!r} is a {kind}, not an nn.Module or its factory")
        check_made_anew(choice, made)

    def built(self, name: str) -> nn.Module:
        """Return a candidate, which is built now if it is not yet.

        Raises:
            SpaceError: Its factory does not return a module.
        """
        if name in self._factories:
            module = self._factories[name]()
            if not isinstance(module, nn.Module):
                kind = type(module).__name__
                raise SpaceError(f"{self._choice}: the factory of {name!r} returned a {kind}, not an nn.Module")
            del self._factories[name]
            self[name] = module
        return self[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, key: str) -> nn.Module:
        if key in self._factories:
            raise SpaceError(
                f"{self._choice}: candidate {key!r} is not built, since the model was built within"
                " deferred_candidates(): only freeze(model, architecture, in_place=True) builds what is chosen"
            )
        return super().__getitem__(key)


def check_made_anew(choice: str, modules: Iterable[nn.Module]) -> None:
    """Check that no two factories of a choice returned one module, whose weights the candidates would share.

    Raises:
        SpaceError: They did.
    """
    seen: set[int] = set()
    for module in modules:
        if id(module) in seen:
            raise SpaceError(
                f"{choice}: a factory returned the same {type(module).__name__} twice: make a new module at each call"
            )
        seen.add(id(module))
