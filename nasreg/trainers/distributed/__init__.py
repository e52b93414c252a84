"""Training of one model by several processes, which torchrun starts.

``processes`` says what they exchange, and does nothing where there is one; ``group`` does it for several, and imports
``torch.distributed``; ``batch_norm`` is BatchNorm over all of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from nasreg.runs.launch import launched
from nasreg.trainers.distributed.processes import ONLY, Processes, part_of, share_draws

__all__ = ["ONLY", "Processes", "joined", "part_of", "present", "share_draws"]

_joined: list[Processes] = []


def present() -> Processes:
    """Return the processes that this one has joined; where there are no others, the only one."""
    return _joined[-1] if _joined else ONLY


@contextmanager
def joined() -> Iterator[Processes]:
    """Join the processes that torchrun has started, for the time of a block.

    Raises:
        UsageError: They cannot be reached.
        TrainingError: One of them has ended.
    """
    launch = None if _joined else launched()
    if launch is None:
        yield present()
        return
    from nasreg.trainers.distributed.group import ProcessGroup

    with ProcessGroup.of(launch) as group:
        _joined.append(group)
        try:
            yield group
        finally:
            _joined.pop()
