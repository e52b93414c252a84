"""Several processes of one command, started by torchrun: which commands they can do, and which of them prints."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from nasreg.cli.output import Output
from nasreg.errors import UsageError
from nasreg.runs.launch import launched

_COMMANDS = ("run", "retrain", "resume", "evaluate")
"""Commands that several processes can do together."""

_joined: list[Any] = []
"""The processes that this one has joined: ``nasreg.trainers.distributed.Processes``, which imports torch."""


@contextmanager
def command_processes(argv: Sequence[str]) -> Iterator[None]:
    """Join the other processes of a command, of which that of rank 0 prints; nothing happens where there is one.

    Args:
        argv: The arguments after ``nasreg``.

    Raises:
        UsageError: The command is for one process.
    """
    _joined.clear()
    launch = launched()
    if launch is None:
        yield
        return
    from nasreg.trainers.distributed import joined

    Output.silent = launch.rank > 0
    with joined() as processes:
        _joined.append(processes)
        if argv[0] not in _COMMANDS:
            raise UsageError(
                f"nasreg {argv[0]} works in one process, but {launch.world_size} were started: call it without torchrun"
            )
        yield


def prints_error() -> bool:
    """Return whether this process prints the error that has ended it: rank 0 does, and another if rank 0 cannot."""
    if not _joined or not Output.silent:
        return True
    return not _joined[0].is_printed()


def error_printed() -> None:
    """Tell the other processes that the error is printed."""
    if _joined and not Output.silent:
        _joined[0].printed()
