"""Several processes as torchrun starts them, forked from this one, which has torch imported already."""

from __future__ import annotations

import importlib
import os
import socket
from collections.abc import Callable

import forked


def start_ranks(body: Callable[[int], int | None], world_size: int = 2) -> list[forked.Process]:
    """Start processes with the environment of torchrun.

    Args:
        body: What each does, given its rank; returns its exit code, None for 0.
        world_size: Number of processes.
    """
    importlib.import_module("nasreg.trainers.distributed.group")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]

    def start(rank: int) -> forked.Process:
        def run() -> int:
            os.environ |= {
                "MASTER_ADDR": "127.0.0.1",
                "MASTER_PORT": str(port),
                **dict.fromkeys(("RANK", "LOCAL_RANK"), str(rank)),
                **dict.fromkeys(("WORLD_SIZE", "LOCAL_WORLD_SIZE"), str(world_size)),
            }
            return body(rank) or 0

        return forked.Process(run)

    return [start(rank) for rank in range(world_size)]


def run_ranks(body: Callable[[int], int | None], world_size: int = 2) -> list[forked.Done]:
    """Run them to their end."""
    return [process.wait() for process in start_ranks(body, world_size)]
