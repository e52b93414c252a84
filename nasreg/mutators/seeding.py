"""Seeds torch's generators, many times a second."""

from __future__ import annotations

import torch


def seed_torch(seed: int) -> None:
    """Seed the generators of the CPU and of the accelerators in use.

    ``torch.manual_seed`` also notes the seed for a CUDA that is not in use yet, with a traceback that takes a
    millisecond.
    """
    torch.default_generator.manual_seed(seed)
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        torch.cuda.manual_seed_all(seed)
    if torch.backends.mps.is_available():
        torch.mps.manual_seed(seed)
