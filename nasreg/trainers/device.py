"""The device of a run: finding it, reproducible results on it, and its memory."""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from nasreg.errors import UsageError


def resolve_device(name: str) -> torch.device:
    """Turn ``auto``, ``cpu``, ``cuda``, ``cuda:N`` or ``mps`` into a device that is there.

    Raises:
        UsageError: There is no such device.
    """
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda", torch.cuda.current_device())
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    there = ["auto", "cpu"]
    there += [f"cuda:{number}" for number in range(torch.cuda.device_count())] if torch.cuda.is_available() else []
    there += ["mps"] if torch.backends.mps.is_available() else []
    try:
        device = torch.device("cuda:0" if name == "cuda" else name)
    except RuntimeError:
        device = None
    if device is None or str(device) not in there:
        raise UsageError(f"there is no device {name!r} here; there are: {', '.join(there)} (option --device)")
    return device


@contextmanager
def reproducible(seed: int, device: torch.device, *, deterministic: bool) -> Iterator[None]:
    """Seed torch for the time of a block, and leave its random state and settings as they were.

    Args:
        seed: The seed.
        device: Whose generator is seeded beside the CPU's.
        deterministic: Use only algorithms that give the same bits each time (on CUDA they may be slower).
    """
    before = torch.are_deterministic_algorithms_enabled()
    benchmark = torch.backends.cudnn.benchmark
    devices = [device] if device.type != "cpu" else []
    with torch.random.fork_rng(devices, device_type=device.type if devices else "cuda"):
        torch.manual_seed(seed)
        try:
            if deterministic:
                # cuBLAS reads this when it starts, and torch refuses deterministic matrix products without it.
                os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
                torch.use_deterministic_algorithms(True)
            torch.backends.cudnn.benchmark = not deterministic
            yield
        finally:
            torch.use_deterministic_algorithms(before)
            torch.backends.cudnn.benchmark = benchmark


_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
"""Parameters of glibc's mallopt (malloc.h)."""


@contextmanager
def keeping_freed_memory(device: torch.device) -> Iterator[None]:
    """Keep freed memory in the process for the time of a block, and return it to the system at the end.

    By default glibc returns large freed blocks to the system at once, which has to fill each page with zeros when it is
    allocated again. Where a step allocates gigabytes this is expensive: an exact second derivative took 1.6 times as
    long. The setting holds for the whole process. It has an effect on a CPU with glibc (Linux) only, and none if a
    variable MALLOC_... or GLIBC_TUNABLES is set. Option ``trainer.keep_freed_memory`` turns it off.
    """
    made = any(name.startswith(("MALLOC_", "GLIBC_TUNABLES")) for name in os.environ)
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" and not made else None
    if device.type != "cpu" or mallopt is None:
        yield
        return
    # Older versions of glibc accept at most 32 MiB.
    mallopt(_M_TRIM_THRESHOLD, -1)
    mallopt(_M_MMAP_THRESHOLD, 2**30) or mallopt(_M_MMAP_THRESHOLD, 2**25)
    try:
        yield
    finally:
        # The values that glibc's dynamic threshold reaches in a process that has freed large blocks.
        mallopt(_M_MMAP_THRESHOLD, 2**25)
        mallopt(_M_TRIM_THRESHOLD, 2**26)
        ctypes.CDLL(None).malloc_trim(0)


def random_state(device: torch.device) -> dict[str, torch.Tensor]:
    """Return the state of torch's generators, for a checkpoint."""
    state = {"cpu": torch.get_rng_state()}
    if device.type != "cpu":
        state[device.type] = torch.get_device_module(device).get_rng_state()
    return state


def set_random_state(state: dict[str, torch.Tensor], device: torch.device) -> None:
    """Restore the state that ``random_state`` returned."""
    torch.set_rng_state(state["cpu"])
    if device.type in state and device.type != "cpu":
        torch.get_device_module(device).set_rng_state(state[device.type])


def peak_memory(device: torch.device) -> int | None:
    """Return the peak so far in bytes: of this process on the CPU, of what torch allocated on CUDA, now on MPS.

    None where the system does not tell (Windows).
    """
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    if device.type == "mps":
        return torch.mps.current_allocated_memory()
    if sys.platform == "win32":
        return None
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024  # Linux counts KiB


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error is torch's for a lack of memory; on the CPU it has no class of its own."""
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or (
        isinstance(error, RuntimeError) and "DefaultCPUAllocator" in str(error)
    )
