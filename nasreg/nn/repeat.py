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

    It is the only choice that may contain others. Those in blocks that are left out are decided, too, without effect.

    Args:
        blocks: The blocks, as many as the largest depth, or a function that makes block number ``index``:
            ``factory(index)``. Each takes what the one before returns.
        depths: The possible numbers of blocks, increasing; 0 passes the input on.
        key: Name of the decision; see ``Choice``.

    Raises:
        SpaceError: The depths do not increase, there are too few or too many blocks, or something is no new module.

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
    ) -> None:
        super().__init__(key)
        self._spec = checked(RepeatSpec, key=key or "repeat", depths=tuple(depths))
        largest = self._spec.depths[-1]
        by_factory = not isinstance(blocks, Iterable)  # a ModuleList can be called, too
        made = list(blocks) if isinstance(blocks, Iterable) else [blocks(index) for index in range(largest)]
        for index, block in enumerate(made):
            if not isinstance(block, nn.Module):
                raise SpaceError(f"Repeat {key!r}: block {index} is a {type(block).__name__}, not an nn.Module")
        if by_factory:
            check_made_anew(f"Repeat {key!r}", made)
        if len(made) != largest:
            raise SpaceError(f"Repeat {key!r} has {len(made)} blocks, but its largest depth is {largest}")
        self.blocks = nn.ModuleList(made)

    def forward(self, x: Any) -> Any:
        """Compute the first blocks, one after the other."""
        return self.compute(self.answer(), x)

    def compute(self, answer: Any, x: Any) -> Any:
        """Compute as many blocks as the answer says.

        Raises:
            SpaceError: The answer is not one of the depths.
        """
        for block in islice(self.blocks, decided(self.label, self._spec, answer)):
            x = block(x)
        return x

    def spec(self, key: str, paths: tuple[str, ...]) -> RepeatSpec:
        """Return the description of this choice under its full key."""
        return checked(RepeatSpec, key=key, paths=paths, depths=self._spec.depths)

    def materialize(self, decision: int) -> nn.Module:
        """Return the first blocks."""
        return nn.Sequential(*self.blocks[:decision])
