"""How this process was started: alone, or by torchrun as one of several that train one model. Imports no torch.

The variables are those of ``torch.distributed``'s ``env://``, so that any other launcher that sets them is as good.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

from nasreg.errors import UsageError

_NEEDED = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")


@dataclass(frozen=True)
class Launch:
    """The place of this process among several."""

    rank: int
    world_size: int
    local_rank: int
    """Rank among the processes of this machine."""
    local_world_size: int

    @property
    def command(self) -> tuple[str, ...]:
        """The command ``nasreg`` as a user starts it again with as many processes, where torchrun needs no address."""
        if self.local_world_size != self.world_size:
            return ("nasreg",)
        return ("torchrun", "--nproc-per-node", str(self.world_size), "-m", "nasreg")


def launched() -> Launch | None:
    """Return the place of this process among several; None where there is one.

    Raises:
        UsageError: A variable of the environment is malformed.
    """
    if any(name not in os.environ for name in _NEEDED):
        return None
    world_size = _number("WORLD_SIZE")
    if world_size < 2:
        return None
    rank = _number("RANK")
    local = "LOCAL_RANK" in os.environ and "LOCAL_WORLD_SIZE" in os.environ
    place = (_number("LOCAL_RANK"), _number("LOCAL_WORLD_SIZE")) if local else (rank, world_size)
    return Launch(rank, world_size, *place)


def is_first() -> bool:
    """Return whether this process is the one that writes files and prints: the only one, or the one of rank 0."""
    launch = launched()
    return launch is None or launch.rank == 0


def _number(name: str) -> int:
    value = os.environ[name]
    if not value.isdecimal():
        raise UsageError(f"the environment variable {name} is {value!r}: expected a number, as torchrun sets it")
    return int(value)
