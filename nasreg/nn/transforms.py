"""Replacing candidates of a model, and wrapping the mixed operations on the edges of its cells."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from torch import nn

from nasreg.errors import SpaceError
from nasreg.nn.cell import Cell
from nasreg.nn.extract import named_choices
from nasreg.nn.sites import CandidateSite, EdgeSite


class TransformHandle:
    """The means to undo a transform.

    Args:
        changes: For each change, the dictionary of modules, the name in it, the module before (None: there was none)
            and the module now.
    """

    def __init__(self, changes: list[tuple[nn.ModuleDict, str, nn.Module | None, nn.Module]]) -> None:
        self._changes = changes

    def remove(self) -> None:
        """Put the modules back that were there before. A second call does nothing.

        Raises:
            SpaceError: A later transform is still in place.
        """
        if any(modules[name] is not now for modules, name, _, now in self._changes):
            raise SpaceError("this transform was transformed again: remove the later transform first")
        for modules, name, before, _ in self._changes:
            if before is None:
                del modules[name]
            else:
                modules[name] = before
        self._changes = []


def candidate_sites(model: nn.Module) -> Iterator[tuple[CandidateSite, nn.Module]]:
    """Yield every candidate of a model that is a module, with its site, in the order of the model.

    A choice that occurs several times in the model comes once. Choices of inputs have no modules, nor has ``none``.
    """
    for site, modules in _candidates(model):
        yield site, modules[site.candidate]


def _candidates(model: nn.Module) -> Iterator[tuple[CandidateSite, nn.ModuleDict]]:
    seen: set[int] = set()
    for key, path, choice, _ in named_choices(model):
        if id(choice) not in seen:
            seen.add(id(choice))
            yield from choice.candidate_modules(key, path)


def transform_candidates(
    model: nn.Module, transform: Callable[[CandidateSite, nn.Module], nn.Module]
) -> TransformHandle:
    """Replace candidates of a model.

    The supernet computes the new modules, and ``freeze`` keeps those that are chosen. An optimizer has to be made, or
    told of their parameters, after this call.

    Args:
        model: A model with choices.
        transform: Called with each candidate and its site; returns the module to use, which may be the same or contain
            it.

    Returns:
        A handle; its ``remove()`` puts the old modules back.

    Raises:
        SpaceError: ``transform`` returned something else than a module.

    Example:
        ``transform_candidates(model, lambda site, module: nn.Sequential(module, nn.Dropout(0.1)))``
    """
    changes: list[tuple[nn.ModuleDict, str, nn.Module | None, nn.Module]] = []
    for site, modules in _candidates(model):
        before = modules[site.candidate]
        now = _checked(transform(site, before), site.path)
        if now is not before:
            changes.append((modules, site.candidate, before, now))
    for modules, name, _, now in changes:
        modules[name] = now
    return TransformHandle(changes)


def transform_edges(model: nn.Module, transform: Callable[[EdgeSite], nn.Module | None]) -> TransformHandle:
    """Wrap the mixed operations on the edges of a model's cells.

    The wrapping module computes the edge: its ``forward(x, mixed)`` gets the state that the edge starts from, and a
    function that applies the mixed operation (the weighted sum of the edge's candidates, or the chosen one) to a
    tensor. That is what partial channel connections need (PC-DARTS, arXiv 1907.05737): some channels go through
    ``mixed``, the others around it. If all weight is on ``none``, ``mixed`` returns zeros. ``freeze`` keeps the
    wrapping modules of the edges that are chosen.

    Args:
        model: A model with cells.
        transform: Called with the site of each edge; returns the wrapping module, or None to leave the edge as it is.

    Returns:
        A handle; its ``remove()`` unwraps the edges.

    Raises:
        SpaceError: An edge is wrapped already, or ``transform`` returned something else than a module.
    """
    changes: list[tuple[nn.ModuleDict, str, nn.Module | None, nn.Module]] = []
    seen: set[int] = set()
    for key, path, choice, _ in named_choices(model):
        if not isinstance(choice, Cell) or id(choice) in seen:
            continue
        seen.add(id(choice))
        for site in choice.edge_sites(key, path):
            wrapper = transform(site)
            if wrapper is None:
                continue
            place = f"edge {site.edge} of {path or key}"
            if choice.transform_of(site.edge) is not None:
                raise SpaceError(f"{place} has a transform already: remove that first")
            changes.append((choice.edge_transforms, str(site.edge), None, _checked(wrapper, place)))
    for modules, name, _, now in changes:
        modules[name] = now
    return TransformHandle(changes)


def _checked(module: object, place: str) -> nn.Module:
    if not isinstance(module, nn.Module):
        raise SpaceError(f"the transform of {place} returned a {type(module).__name__}, not an nn.Module")
    return module
