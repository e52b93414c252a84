"""A choice of how many blocks of a stack are computed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from typing import Any

from torch import nn

from nasreg.errors import SpaceError
from nasreg.nn.candidates import check_made_anew
from nasreg.nn.choices import Choice, checked, decided
from nasreg.specs.choices import RepeatSpec


class Repeat(Choice):
    """A stack of blocks of which the first ones are computed: a choice of depth.

    Its blocks and heads may contain other choices. Those in blocks that are left out are decided, too, without effect.

    Args:
        blocks: The blocks, as many as the largest depth, or a function that makes block number ``index``:
            ``factory(index)``. Each takes what the one before returns.
        depths: The possible numbers of blocks, increasing; 0 passes the input on.
        key: Name of the decision; see ``Choice``.
        heads: For each depth the module that takes what its last block returns, or a function that makes it:
            ``heads(depth)``. Blocks may then differ in what they return, such as in their number of channels.

    Raises:
        SpaceError: The depths do not increase, there are too few or too many blocks or heads, or something is no new
            module.

    Example:
        ``Repeat(lambda index: Block(16), depths=[2, 3, 4], key="depth")``
    """

    has_candidates = False
    may_nest = True

    def __init__(
        self,
        blocks: Iterable[nn.Module] | Callable[[int], nn.Module],
        depths: Sequence[int],
        key: str | None = None,
        *,
        heads: Iterable[nn.Module] | Callable[[int], nn.Module] | None = None,
    ) -> None:
        super().__init__(key)
        self._spec = checked(RepeatSpec, key=key or "repeat", depths=tuple(depths))
        largest = self._spec.depths[-1]
        self.blocks = self._made("block", blocks, range(largest))
        if len(self.blocks) != largest:
            raise SpaceError(f"Repeat {key!r} has {len(self.blocks)} blocks, but its largest depth is {largest}")
        self.heads: nn.ModuleList | None = None
        if heads is not None:
            self.heads = self._made("head", heads, self._spec.depths)
            if len(self.heads) != len(self._spec.depths):
                raise SpaceError(f"Repeat {key!r} has {len(self.heads)} heads for {len(self._spec.depths)} depths")

    def _made(
        self, what: str, given: Iterable[nn.Module] | Callable[[int], nn.Module], numbers: Iterable[int]
    ) -> nn.ModuleList:
        by_factory = not isinstance(given, Iterable)  # a ModuleList can be called, too
        made = list(given) if isinstance(given, Iterable) else [given(number) for number in numbers]
        for index, module in enumerate(made):
            if not isinstance(module, nn.Module):
                kind = type(module).__name__
                raise SpaceError(f"Repeat {self.key!r}: {what} {index} is a {kind}, not an nn.Module")
        if by_factory:
            check_made_anew(f"Repeat {self.key!r}", made)
        return nn.ModuleList(made)

    def forward(self, x: Any) -> Any:
        """Compute the first blocks, one after the other."""
        return self.compute(self.answer(), x)

    def compute(self, answer: Any, x: Any) -> Any:
        """Compute as many blocks as the answer says, and the head of that depth.

        Raises:
            SpaceError: The answer is not one of the depths.
        """
        for module in self.used_modules(decided(self.label, self._spec, answer)):
            x = module(x)
        return x

    def used_modules(self, decision: int) -> list[nn.Module]:
        """Return the first blocks, and the head of this depth if there are heads."""
        blocks = list(islice(self.blocks, decision))
        return blocks if self.heads is None else [*blocks, self.heads[self._spec.depths.index(decision)]]

    def spec(self, key: str, paths: tuple[str, ...]) -> RepeatSpec:
        """Return the description of this choice under its full key."""
        return checked(RepeatSpec, key=key, paths=paths, depths=self._spec.depths)

    def materialize(self, decision: int) -> nn.Module:
        """Return the first blocks, followed by the head of this depth, named ``head``, if there are heads."""
        plain = nn.Sequential(*self.blocks[:decision])
        if self.heads is not None:
            plain.add_module("head", self.heads[self._spec.depths.index(decision)])
        return plain
