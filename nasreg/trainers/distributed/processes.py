"""The processes that train one model together: what they exchange, and what each of them draws.

There is one, ``Processes()``, unless torchrun has started several (``group``): it exchanges
nothing, costs nothing, and does not import ``torch.distributed``.

Each process computes a part of each batch. What they compute of it, gradients and sums, is added up, so that weights,
architecture parameters and running statistics are the same in all of them after every step.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from torch import Tensor, nn

from nasreg.trainers.device import random_state, resolve_device, set_random_state

if TYPE_CHECKING:
    from nasreg.data.splits import Batch, Rank

T = TypeVar("T")
M = TypeVar("M")


class Processes:
    """The only process, and the base class of several.

    Attributes:
        rank: Number of this process, from 0.
        world_size: Number of processes.
        copies: Number of processes that compute the same part of the batch that is computed at present: one, unless it
            is too small to be divided.
    """

    rank = 0
    world_size = 1
    copies = 1

    @property
    def is_first(self) -> bool:
        """Whether this process is the one that writes files and prints."""
        return self.rank == 0

    @property
    def place(self) -> Rank:
        """The place of this process, by which a split chooses its part of each batch."""
        from nasreg.data.splits import Rank  # torchvision takes longer to import than many a search of a table

        return Rank(self.rank, self.world_size)

    def device(self, name: str) -> torch.device:
        """Return the device of this process; with several GPUs each process has its own.

        Raises:
            UsageError: There is no such device, or there are not enough.
        """
        return resolve_device(name)

    def check_same(self, options: Mapping[str, Any]) -> None:
        """Check that all processes were started with the same options.

        Args:
            options: Option -> value, JSON-able.

        Raises:
            UsageError: They were not.
        """

    def one_after_another(self) -> AbstractContextManager[None]:
        """Return a context that one process of each machine enters before the others, such as to download data."""
        return nullcontext()

    # -- what is added up ----------------------------------------------------------------------------------------------

    def add_up(self, tensors: Sequence[Tensor]) -> None:
        """Replace tensors, in place, by their sums over the processes."""

    def sums(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        """Return the sums of tensors over the processes, without their history where there are several."""
        return list(tensors)

    def total(self, values: Mapping[str, float]) -> dict[str, float]:
        """Return the sums of numbers over the processes; all have the same names."""
        return dict(values)

    def total_of_all(self, values: Mapping[str, float]) -> dict[str, float]:
        """Return the same where a process may lack all of them, since it has computed nothing."""
        return dict(values)

    def any_of(self, *flags: bool) -> tuple[bool, ...]:
        """Return, for each flag, whether it is set in any process."""
        return flags

    def share_statistics(self, model: nn.Module) -> None:
        """Give all processes the same buffers: the mean of the running statistics, and what else rank 0 has."""

    def share_state(self, *modules: nn.Module) -> None:
        """Give all processes the parameters and buffers that rank 0 has."""

    def check_shared(self, where: str, *modules: nn.Module) -> None:
        """Check that parameters are the same in all processes.

        Raises:
            TrainingError: They are not: the trainer changes them in a way that is not added up.
        """

    def data_parallel(self, model: nn.Module, *, find_unused: bool) -> nn.Module:
        """Return what computes a model's output and averages its gradients over the processes in ``backward``.

        Args:
            model: The model.
            find_unused: Look for parameters that an output does not depend on.
        """
        del find_unused
        return model

    def synchronize_batch_norm(self, model: nn.Module) -> None:
        """Let each BatchNorm normalise by the statistics of the whole batch, not of the part of a process."""

    def localize_batch_norm(self, model: nn.Module) -> None:
        """Undo ``synchronize_batch_norm``."""

    # -- what is drawn -------------------------------------------------------------------------------------------------

    def begin(self, seed: int, device: torch.device) -> None:
        """Give each process a random state of its own, from the present one, which is the same in all."""

    def drawing_alike(self) -> AbstractContextManager[None]:
        """Return a context in which all processes draw the same, such as architectures or the weights of a model."""
        return nullcontext()

    # -- checkpoints ---------------------------------------------------------------------------------------------------

    def random_state(self, device: torch.device) -> dict[str, Any]:
        """Return the entries of a checkpoint with the random state of all processes."""
        return {"random": random_state(device)}

    def set_random_state(self, state: Mapping[str, Any], device: torch.device) -> None:
        """Restore the random state from a checkpoint."""
        # Generators live on the CPU, whatever device the tensors were mapped to.
        set_random_state({name: value.cpu() for name, value in state["random"].items()}, device)

    def from_first(self, value: T) -> T:
        """Return the value that rank 0 has."""
        return value

    def checkpoint_device(self, device: torch.device) -> torch.device:
        """Return where rank 0 reads a checkpoint to."""
        return device

    # -- errors --------------------------------------------------------------------------------------------------------

    def lost(self, error: BaseException) -> str | None:
        """Return why another process has ended, if that is what an error is about."""
        del error
        return None


def part_of(batch: Batch) -> tuple[float, int]:
    """Return the weight of a batch's mean in that over all processes, and the number of them that compute it."""
    return getattr(batch, "share", 1.0), getattr(batch, "copies", 1)


def share_draws(mutator: M, processes: Processes) -> M:
    """Let a mutator draw the same answers in all processes; in one it stays as it is."""
    if processes.world_size > 1:
        for name in ("resample", "answer", "draw_noise"):
            if hasattr(mutator, name):
                setattr(mutator, name, _drawing_alike(getattr(mutator, name), processes))
    return mutator


def _drawing_alike(function: Callable[..., T], processes: Processes) -> Callable[..., T]:
    def drawing(*args: Any) -> T:
        with processes.drawing_alike():
            return function(*args)

    return drawing


ONLY = Processes()
"""The process that trains alone."""
