"""The architectures of the space ``elastic-chain`` as lists of blocks, and the morphs that lead from one to another.

Each morph has a network that computes the same with other weights (``nasreg_morphism.weights``): Net2DeeperNet and
Net2WiderNet (Chen, Goodfellow, Shlens, arXiv 1511.05641), and skip connections that start as nothing (Elsken, Metzen,
Hutter, arXiv 1711.04528; Jin, Song, Hu, arXiv 1806.10282). Imports no torch.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cache
from typing import NamedTuple, cast

from nasreg.errors import ConfigError, IncompatibleError
from nasreg.specs import Architecture, Decision, InputChoiceSpec, RepeatSpec, SearchSpaceSpec, ValueChoiceSpec
from nasreg_morphism.config import StartConfig


class Skip(NamedTuple):
    """A skip connection that leads to a block."""

    kind: str
    """``add`` or ``concat``."""
    source: int
    """Number of the earlier block."""


@dataclass(frozen=True)
class Block:
    """A block that is computed: Conv-BatchNorm-ReLU, with skip connections before the ReLU."""

    width: int
    kernel: int
    stride: int
    skips: frozenset[Skip] = frozenset()


Chain = tuple[Block, ...]
"""The blocks that are computed, in their order."""


def chain_of(architecture: Architecture) -> Chain:
    """Return the blocks of an architecture of the space ``elastic-chain``."""
    decisions = architecture.decisions
    blocks = []
    for number in range(cast("int", decisions["depth"])):
        width, kernel, stride = (cast("int", decisions[f"{name}{number}"]) for name in ("width", "kernel", "stride"))
        names = cast("tuple[str, ...]", decisions.get(f"skips{number}", ()))
        blocks.append(Block(width, kernel, stride, frozenset(map(_skip, names))))
    return tuple(blocks)


def _skip(name: str) -> Skip:
    kind, number = re.fullmatch(r"(\D+)(\d+)", name).groups()  # type: ignore[union-attr]  # the space made the name
    return Skip(kind, int(number))


class ChainSpace:
    """The space ``elastic-chain`` as morphs see it.

    Args:
        space: The search space.

    Attributes:
        max_blocks: The largest number of blocks.

    Raises:
        IncompatibleError: It is another space.
    """

    def __init__(self, space: SearchSpaceSpec) -> None:
        keys = {choice.key for choice in space.choices}
        depth = space["depth"] if "depth" in keys else None
        if not isinstance(depth, RepeatSpec) or not {"width0", "kernel0", "stride0"} <= keys:
            raise IncompatibleError("network morphism is for the search space 'elastic-chain' only")
        self.space = space
        self.max_blocks = depth.depths[-1]
        self._skips = "skips1" in keys

    def sizes(self, name: str, block: int = 0) -> tuple[int, ...]:
        """Return the values of ``width``, ``kernel`` or ``stride`` that a block may have, in increasing order."""
        choice = cast("ValueChoiceSpec", self.space[f"{name}{block}"])
        return tuple(sorted(cast("tuple[int, ...]", choice.values)))

    def skips(self, block: int) -> list[Skip]:
        """Return the skip connections that may lead to a block."""
        if not self._skips or not block:
            return []
        return [_skip(name) for name in cast("InputChoiceSpec", self.space[f"skips{block}"]).candidates]

    def architecture(self, chain: Chain) -> Architecture:
        """Return the architecture of a chain. Blocks that are left out have their smallest sizes and no connections.

        Raises:
            ArchitectureError: The chain is not in the space.
        """
        decisions: dict[str, Decision] = {"depth": len(chain)}
        for number in range(self.max_blocks):
            block = chain[number] if number < len(chain) else None
            for name in ("width", "kernel", "stride"):
                decisions[f"{name}{number}"] = getattr(block, name) if block else self.sizes(name)[0]
            if self._skips and number:
                chosen = block.skips if block else ()
                names = [f"{skip.kind}{skip.source}" for skip in self.skips(number) if skip in chosen]
                decisions[f"skips{number}"] = tuple(names)
        return self.space.architecture(decisions)

    def start(self, config: StartConfig) -> Chain:
        """Return the chain that a search starts from.

        Raises:
            ConfigError: The options name something that is not in the space.
        """
        kernels, strides = self.sizes("kernel"), self.sizes("stride")
        blocks = config.start_blocks or min(3, self.max_blocks)
        width = config.start_width or self.sizes("width")[0]
        kernel = config.start_kernel or (3 if 3 in kernels else kernels[0])
        stride = config.start_stride or (2 if 2 in strides else strides[0])
        if blocks > self.max_blocks:
            raise ConfigError(
                f"mutator.start_blocks is {blocks}, but the space has {self.max_blocks} at most: set space.blocks"
            )
        chosen = (("width", width), ("kernel", kernel), ("stride", stride))
        for name, value in chosen:
            if value not in self.sizes(name):
                has = ", ".join(map(str, self.sizes(name)))
                raise ConfigError(f"mutator.start_{name} is {value}, but the space has {has}: set space.{name}s")
        if 1 not in strides:
            raise ConfigError("network morphism inserts blocks of stride 1, which the space lacks: set space.strides")
        return tuple(Block(width, kernel, stride if number else strides[0]) for number in range(blocks))

    # -- morphs --------------------------------------------------------------------------------------------------------

    def deeper(self, chain: Chain, rng: random.Random) -> Chain | None:
        """Insert a block of a drawn kernel size after a drawn one, with its width; None if the chain is at its limit.

        Args:
            chain: The chain.
            rng: Generator to draw from.
        """
        if len(chain) >= self.max_blocks:
            return None
        return insert(chain, rng.randrange(len(chain)), rng.choice(self.sizes("kernel")))

    def wider(self, chain: Chain, rng: random.Random) -> Chain | None:
        """Give a drawn block the next larger width; None if all have the largest."""
        widths = self.sizes("width")
        narrow = [number for number, block in enumerate(chain) if block.width < widths[-1]]
        if not narrow:
            return None
        number = rng.choice(narrow)
        larger = next(width for width in widths if width > chain[number].width)
        return _replaced(chain, number, replace(chain[number], width=larger))

    def skip(self, chain: Chain, rng: random.Random) -> Chain | None:
        """Add a drawn skip connection; None if the chain has all of them."""
        missing = [
            (number, skip)
            for number, block in enumerate(chain)
            for skip in self.skips(number)
            if skip not in block.skips
        ]
        if not missing:
            return None
        number, skip = rng.choice(missing)
        return _replaced(chain, number, replace(chain[number], skips=chain[number].skips | {skip}))

    def morph(self, chain: Chain, rng: random.Random) -> Chain | None:
        """Draw one of the three morphs uniformly among those that apply; None if none does."""
        morphs: list[Callable[[Chain, random.Random], Chain | None]] = [self.deeper, self.wider, self.skip]
        for apply in rng.sample(morphs, len(morphs)):
            found = apply(chain, rng)
            if found is not None:
                return found
        return None


def insert(chain: Chain, after: int, kernel: int) -> Chain:
    """Return a chain with a block of stride 1 and the same width after a block; connections keep their ends."""

    def moved(number: int) -> int:
        return number + (number > after)

    kept = [
        replace(block, skips=frozenset(Skip(skip.kind, moved(skip.source)) for skip in block.skips)) for block in chain
    ]
    return (*kept[: after + 1], Block(chain[after].width, kernel, 1), *kept[after + 1 :])


def _replaced(chain: Chain, number: int, block: Block) -> Chain:
    return (*chain[:number], block, *chain[number + 1 :])


# -- from the parent to the child ------------------------------------------------------------------------------------


def aligned(parent: Chain, child: Chain) -> list[int] | None:
    """Return for each block of a parent its number in a child that morphs of the parent lead to.

    The other blocks of the child were inserted. A block has at least the width and the kernel size that it had, and the
    same stride; connections that there were are still there.

    Returns:
        The numbers, increasing from 0; None if no morphs lead to the child.
    """

    def grown(one: Block, other: Block) -> bool:
        return one.width <= other.width and one.kernel <= other.kernel and one.stride == other.stride

    @cache
    def fits(known: int, number: int) -> bool:
        """Whether the blocks of the parent from one on fit those of the child from one on, but for connections."""
        if number == len(child):
            return known == len(parent)
        here = known < len(parent) and grown(parent[known], child[number]) and fits(known + 1, number + 1)
        return here or (known > 0 and inserted(number, known - 1) and fits(known, number + 1))

    def search(numbers: list[int], number: int) -> Iterator[list[int]]:
        known = len(numbers)
        if not fits(known, number):
            return
        if number == len(child):
            yield numbers
            return
        if known < len(parent) and grown(parent[known], child[number]):
            kept = {Skip(skip.kind, numbers[skip.source]) for skip in parent[known].skips}
            if kept <= child[number].skips:
                yield from search([*numbers, number], number + 1)
        if known and inserted(number, known - 1):
            yield from search(numbers, number + 1)

    def inserted(number: int, before: int) -> bool:
        """Whether a block of the child may be inserted after a block of the parent."""
        return child[number].stride == 1 and child[number].width >= parent[before].width

    return next(search([], 0), None)
