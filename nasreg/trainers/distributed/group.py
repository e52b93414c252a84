"""Several processes that train one model, over ``torch.distributed``: gloo between CPUs, NCCL between GPUs.

DistributedDataParallel is no help for a supernet: it does not work with ``torch.autograd.grad``, cannot be
differentiated twice, and expects every parameter to be used. So gradients are added up here, in flat buckets. Networks
are retrained with it.

A process that fails says why in the store that all can reach, and leaves the group: the others, which wait for it in
some exchange, are told so by an error, and end.
"""

from __future__ import annotations

import contextlib
import inspect
import itertools
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any, TypeVar, cast

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch._C._distributed_c10d import PrefixStore, Store
from torch.distributed.rendezvous import rendezvous
from torch.nn.modules.batchnorm import _NormBase

from nasreg.data.reading import derive_seed
from nasreg.errors import TrainingError, UsageError, one_line
from nasreg.mutators.seeding import seed_torch
from nasreg.runs.launch import Launch
from nasreg.trainers.device import random_state, resolve_device, set_random_state
from nasreg.trainers.distributed import batch_norm
from nasreg.trainers.distributed.processes import Processes
from nasreg.trainers.interrupt import Interruption

T = TypeVar("T")

BUCKET_BYTES = 2**25
"""Approximate size of a bucket of gradients, which are added up at once."""

FAILURE_SECONDS = 3.0
"""Time for which a process waits for the reason why another has ended."""

PRINT_SECONDS = 10.0
"""Time for which another process than rank 0 waits for rank 0 to print an error."""

SEEN_SECONDS = 1.0
"""Time for which rank 0 waits for the others to see that it has printed an error."""

_FAILURE, _PRINTED, _SEEN = "failure", "printed", "seen"

_numbers = itertools.count()
"""A process may do several runs, and joins the others for each: in the same order in all."""


@cache
def _common_store(launch: Launch) -> Store:
    """Return what all processes can reach."""
    store: Store = next(iter(rendezvous("env://", launch.rank, launch.world_size)))[0]
    return store


class ProcessGroup(Processes):
    """Several processes; see ``Processes`` for what they do.

    Args:
        launch: The place of this process.
        store: What all processes can reach, also when one of them has failed.
        group: The group of ``torch.distributed``; None for the default one.
    """

    def __init__(self, launch: Launch, store: Store, group: dist.ProcessGroup | None) -> None:
        self.rank, self.world_size = launch.rank, launch.world_size
        self._launch, self._store, self.group = launch, store, group
        self._device = torch.device("cpu")
        self._shared: dict[str, Tensor] | None = None
        self._drawing_alike = False
        self._buffers: tuple[nn.Module, list[_NormBase], list[Tensor]] | None = None

    @classmethod
    @contextmanager
    def of(cls, launch: Launch) -> Iterator[ProcessGroup]:
        """Join the other processes for the time of a block.

        Raises:
            UsageError: They cannot be reached.
            TrainingError: Another process has ended.
        """
        own = not dist.is_initialized()
        backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() and dist.is_nccl_available() else "gloo"
        try:
            store = PrefixStore(f"nasreg/{next(_numbers)}", _common_store(launch))
            if own:
                dist.init_process_group(backend, store=store, rank=launch.rank, world_size=launch.world_size)
            group = None if own else cast("dist.ProcessGroup", dist.new_group(backend=backend))
        except (RuntimeError, ValueError, OSError) as error:
            raise UsageError(
                f"the {launch.world_size} processes of this run cannot reach each other ({one_line(error)}): check the"
                " address and port that the launcher was given"
            ) from error
        joined = cls(launch, store, group)
        Interruption.silent = launch.rank > 0
        try:
            yield joined
        except BaseException as error:
            if (lost := joined.lost(error)) is not None:
                raise TrainingError(lost) from error
            joined._tell(str(error) or type(error).__name__)
            raise
        finally:
            Interruption.silent = False
            # Whoever waits for this process is told by it.
            dist.destroy_process_group(group)

    def device(self, name: str) -> torch.device:
        """Return the GPU of this process's local rank, or the CPU."""
        kind, _, number = name.partition(":")
        if kind == "auto":
            kind = "cuda" if torch.cuda.is_available() else "cpu"
        if kind == "mps":
            raise UsageError("several processes cannot share the device mps: give --device cpu, or start one process")
        if kind != "cuda":
            return resolve_device(kind)
        if number not in ("", "0"):
            raise UsageError(
                f"--device {name} names one GPU, but {self.world_size} processes were started, which take one each:"
                " give --device cuda, and choose GPUs with CUDA_VISIBLE_DEVICES"
            )
        there, local = torch.cuda.device_count(), self._launch.local_world_size
        if local > there:
            raise UsageError(
                f"{local} processes were started on this machine, which has {there} GPUs: start one for each"
                f" (--nproc-per-node {max(there, 1)}), or give --device cpu"
            )
        torch.cuda.set_device(self._launch.local_rank)
        return resolve_device(f"cuda:{self._launch.local_rank}")

    def check_same(self, options: Mapping[str, Any]) -> None:
        """Check that all processes were started with the same options."""
        of_first, *others = self._gather(dict(options))
        for rank, each in enumerate(others, 1):
            differing = [name for name in sorted({*of_first, *each}) if of_first.get(name) != each.get(name)]
            if differing:
                texts = [f"{name}={each.get(name)} (rank 0: {of_first.get(name)})" for name in differing[:3]]
                raise UsageError(
                    f"the process of rank {rank} was started with other options than that of rank 0:"
                    f" {', '.join(texts)}; start all of them with the same command and the same versions"
                )

    @contextmanager
    def one_after_another(self) -> Iterator[None]:
        """Let the process of local rank 0 of each machine enter a block before the others."""
        first = self._launch.local_rank == 0
        if not first:
            self._barrier()
        yield
        if first:
            self._barrier()

    # -- what is added up ----------------------------------------------------------------------------------------------

    @torch.no_grad()
    def add_up(self, tensors: Sequence[Tensor]) -> None:
        """Replace tensors by their sums over the processes, in flat buckets."""
        self._in_buckets(tensors, lambda flat: dist.all_reduce(flat, group=self.group))

    def sums(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        """Return the sums of tensors over the processes, without their history."""
        copies = [tensor.detach().clone() for tensor in tensors]
        self.add_up(copies)
        return copies

    def total(self, values: Mapping[str, float]) -> dict[str, float]:
        """Return the sums of numbers over the processes."""
        sums = torch.tensor(list(values.values()), dtype=torch.float64)
        dist.all_reduce(sums, group=self.group)
        return dict(zip(values, sums.tolist(), strict=True))

    def total_of_all(self, values: Mapping[str, float]) -> dict[str, float]:
        """Return the sums of numbers over the processes, each of which may lack some."""
        sums: dict[str, float] = {}
        for each in self._gather(dict(values)):
            for name, value in each.items():
                sums[name] = sums.get(name, 0.0) + value
        return sums

    def any_of(self, *flags: bool) -> tuple[bool, ...]:
        """Return, for each flag, whether it is set in any process."""
        found = torch.tensor(flags, dtype=torch.int32)
        dist.all_reduce(found, dist.ReduceOp.MAX, group=self.group)
        return tuple(map(bool, found.tolist()))

    @torch.no_grad()
    def share_statistics(self, model: nn.Module) -> None:
        """Average the running statistics, and copy the other buffers of rank 0."""
        if self._buffers is None or self._buffers[0] is not model:
            norms = [module for module in model.modules() if isinstance(module, _NormBase)]
            of_norms = {id(buffer) for norm in norms for buffer in norm.buffers(recurse=False)}
            others = [buffer for buffer in model.buffers() if id(buffer) not in of_norms]
            self._buffers = model, norms, others
        _, norms, others = self._buffers
        training = [norm for norm in norms if norm.training]
        running = [
            each for norm in training for each in (norm.running_mean, norm.running_var) if isinstance(each, Tensor)
        ]
        if running:
            self.add_up(running)
            torch._foreach_div_(running, self.world_size)
        self._copy_from_first(others)

    def share_state(self, *modules: nn.Module) -> None:
        """Copy the parameters and buffers of rank 0."""
        self._copy_from_first([tensor for module in modules for tensor in (*module.parameters(), *module.buffers())])

    def check_shared(self, where: str, *modules: nn.Module) -> None:
        """Compare the sums of all parameters."""
        sums = [float(each.detach().double().sum()) for module in modules for each in module.parameters()]
        if any(each != sums for each in self._gather(sums)):
            raise TrainingError(
                f"the processes have different parameters {where}: this trainer updates them with gradients that are"
                " not added up over the processes, so that it has to run in one process"
            )

    def data_parallel(self, model: nn.Module, *, find_unused: bool) -> nn.Module:
        """Wrap a model in DistributedDataParallel."""
        kind = nn.parallel.DistributedDataParallel
        known = inspect.signature(kind).parameters
        # Buffers are averaged after each step. Newer versions of torch have another name for the option.
        buffers = "forward_sync_buffers" if "forward_sync_buffers" in known else "broadcast_buffers"
        options: dict[str, Any] = {"find_unused_parameters": find_unused, buffers: False}
        return kind(model, process_group=self.group, **options)

    def synchronize_batch_norm(self, model: nn.Module) -> None:
        """Let each BatchNorm normalise by the statistics of the whole batch."""
        batch_norm.synchronize(model, self)

    def localize_batch_norm(self, model: nn.Module) -> None:
        """Undo ``synchronize_batch_norm``."""
        batch_norm.localize(model)

    # -- what is drawn -------------------------------------------------------------------------------------------------

    def begin(self, seed: int, device: torch.device) -> None:
        """Keep the present random state for what all draw alike, and give this process another."""
        self._device, self._shared = device, random_state(device)
        seed_torch(derive_seed(seed, "rank", self.rank))

    @contextmanager
    def drawing_alike(self) -> Iterator[None]:
        """Draw from the random state that is the same in all processes, for the time of a block."""
        if self._shared is None or self._drawing_alike:
            yield
            return
        own = random_state(self._device)
        set_random_state(self._shared, self._device)
        self._drawing_alike = True
        try:
            yield
        finally:
            self._drawing_alike = False
            self._shared = random_state(self._device)
            set_random_state(own, self._device)

    # -- checkpoints ---------------------------------------------------------------------------------------------------

    def random_state(self, device: torch.device) -> dict[str, Any]:
        """Return the random state that all share and those of each; ``random`` is for one that resumes alone."""
        own = random_state(device)
        return {"random": own, "random_of_ranks": {"shared": self._shared, "own": self._gather(own)}}

    def set_random_state(self, state: Mapping[str, Any], device: torch.device) -> None:
        """Restore them; with another number of processes each gets a new one."""
        of_ranks = state.get("random_of_ranks")
        if of_ranks is not None and len(of_ranks["own"]) == self.world_size:
            self._device, self._shared = device, of_ranks["shared"]
            set_random_state(of_ranks["own"][self.rank], device)
            return
        super().set_random_state(state, device)
        self.begin(int(torch.randint(2**62, ())), device)

    def from_first(self, value: T) -> T:
        """Return the value that rank 0 has."""
        values = [value]
        dist.broadcast_object_list(values, group=self.group, device=torch.device("cpu"))
        return values[0]

    def checkpoint_device(self, device: torch.device) -> torch.device:
        """Return the CPU, from which a checkpoint is sent to the other processes."""
        del device
        return torch.device("cpu")

    # -- errors --------------------------------------------------------------------------------------------------------

    def lost(self, error: BaseException) -> str | None:
        """Return why another process has ended, if that is what broke an exchange with it."""
        if not _is_lost(error):
            return None
        reason = self._read(_FAILURE, FAILURE_SECONDS)
        if reason is not None:
            return f"{reason.removesuffix('.')}."
        return (
            f"one of the {self.world_size} processes of the run has ended without an error of its own: it was killed,"
            " perhaps by the system for lack of memory."
        )

    def _tell(self, reason: str) -> None:
        """Tell the other processes why this one ends; the first to do so counts."""
        with contextlib.suppress(RuntimeError):  # nobody is there any more
            self._store.compare_set(_FAILURE, "", f"rank {self.rank}: {reason}")

    def printed(self) -> None:
        """Tell the other processes that rank 0 has printed the error."""
        others = [f"{_SEEN}/{rank}" for rank in range(1, self.world_size)]
        with contextlib.suppress(RuntimeError):  # some were killed
            self._store.set(_PRINTED, "yes")
            if os.environ.get("TORCHELASTIC_USE_AGENT_STORE") != "True":  # then the store ends with this process
                self._wait(others, SEEN_SECONDS)

    def is_printed(self) -> bool:
        """Return whether rank 0 prints the error soon, so that no other process needs to."""
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGTERM, signal.SIGINT):  # torchrun ends the others as soon as one has ended
                signal.signal(number, signal.SIG_IGN)
        found = self._read(_PRINTED, PRINT_SECONDS) is not None
        with contextlib.suppress(RuntimeError):
            self._store.set(f"{_SEEN}/{self.rank}", "yes")
        return found

    def _read(self, key: str, seconds: float) -> str | None:
        with contextlib.suppress(RuntimeError):  # nobody is there any more
            if self._wait([key], seconds):
                return str(self._store.get(key).decode())
        return None

    def _wait(self, keys: list[str], seconds: float) -> bool:
        """Return whether all keys are set in time. The store's own function prints a warning if they are not."""
        end = time.monotonic() + seconds
        while not self._store.check(keys):
            if time.monotonic() > end:
                return False
            time.sleep(0.02)
        return True

    # -- exchanges -----------------------------------------------------------------------------------------------------

    def _barrier(self) -> None:
        dist.all_reduce(torch.zeros(1), group=self.group)

    def _gather(self, value: T) -> list[T]:
        found: list[Any] = [None] * self.world_size
        dist.all_gather_object(found, value, group=self.group)
        return found

    @torch.no_grad()
    def _copy_from_first(self, tensors: Sequence[Tensor]) -> None:
        self._in_buckets(tensors, lambda flat: dist.broadcast(flat, 0, group=self.group))

    @staticmethod
    def _in_buckets(tensors: Sequence[Tensor], exchange: Callable[[Tensor], object]) -> None:
        for bucket in _buckets(tensors):
            flat = torch.cat([tensor.reshape(-1) for tensor in bucket])
            exchange(flat)
            parts = torch.split(flat, [tensor.numel() for tensor in bucket])
            torch._foreach_copy_(bucket, [part.view(each.shape) for each, part in zip(bucket, parts, strict=True)])


def _buckets(tensors: Sequence[Tensor]) -> Iterator[list[Tensor]]:
    """Yield tensors of one type and device, as many as a bucket holds, in the same way in every process."""
    kinds: dict[tuple[torch.dtype, torch.device], list[Tensor]] = {}
    for tensor in tensors:
        kinds.setdefault((tensor.dtype, tensor.device), []).append(tensor)
    for same in kinds.values():
        bucket: list[Tensor] = []
        size = 0
        for tensor in same:
            bucket.append(tensor)
            size += tensor.numel() * tensor.element_size()
            if size >= BUCKET_BYTES:
                yield bucket
                bucket, size = [], 0
        if bucket:
            yield bucket


def _is_lost(error: BaseException) -> bool:
    """Return whether an error is that of an exchange with a process that has ended."""
    text = str(error)
    broken = "gloo" in text or "Connection" in text or "NCCL" in text
    return isinstance(error, dist.DistError) or (isinstance(error, RuntimeError) and broken)
