"""What a step costs that two processes do together: ``python benchmarks/scale_torchrun.py``.

It starts itself by torchrun with one process and the whole batch, and with two processes of one thread each and half of
the batch each, and prints for each the time of a step, and of what it consists:

- ``step``: the shortest of the measured steps, of the architecture parameters and of the weights;
- ``half batch``: the same by one process that has half of the batch and exchanges nothing;
- ``exchange``: their difference: what adding up gradients, statistics and sums, and waiting for the other, take.

Where there are fewer idle cores than processes, the processes share them, and the figures mean nothing.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

SIZES: dict[str, dict[str, Any]] = {
    "tiny": {"space": {"cells": 2, "channels": 2, "nodes": 2}, "batch_size": 8},
    "small": {"space": {"cells": 3, "channels": 8}, "batch_size": 64},
}


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=list(SIZES), default="small")
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--sync", action="store_true", help="with synchronised BatchNorm")
    parser.add_argument("--file", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.file is not None:
        measure(options.size, options.steps, options.file, whole="WHOLE" in os.environ, sync=options.sync)
        return
    print_table(*torchrun_step(options.size, options.steps, sync=options.sync))


def torchrun_step(size: str, steps: int, *, sync: bool = False) -> tuple[float, float, float]:
    """Return the seconds of a step: of one process, of one with half of the batch, and of two with half each."""
    return (
        _started(size, steps, 1, whole=True),
        _started(size, steps, 1, whole=False),
        _started(size, steps, 2, whole=True, sync=sync),
    )


def print_table(one: float, half: float, two: float) -> None:
    """Print the times, as ratios to that of one process, too."""
    print(f"{'':24}{'ms':>8}{'ratio':>8}")
    rows = [("step, one process", one), ("half batch, one process", half), ("step, two processes", two)]
    for name, seconds in [*rows, ("exchange", two - half)]:
        print(f"{name:24}{1000 * seconds:8.1f}{seconds / one:8.2f}")


def _started(size: str, steps: int, processes: int, *, whole: bool, sync: bool = False) -> float:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "seconds.json"
        launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
        given = ["--size", size, "--steps", str(steps), "--file", str(file), *(["--sync"] if sync else [])]
        variables = {**os.environ, "OMP_NUM_THREADS": "1", **({"WHOLE": "1"} if whole else {})}
        subprocess.run([*launcher, __file__, *given], env=variables, check=True, capture_output=True)
        return float(json.loads(file.read_text()))


def measure(size: str, steps: int, file: Path, *, whole: bool, sync: bool) -> None:
    """Search, and write the shortest time between two steps; in the processes that torchrun starts."""
    import torch
    from torch.utils.data import TensorDataset

    import nasreg
    from nasreg.events import Event, StepEnded

    settings = SIZES[size]
    batch = settings["batch_size"] // (1 if whole else 2)
    images = torch.rand(2 * batch * (steps + 1), 3, 16, 16, generator=torch.Generator().manual_seed(0))
    times: list[float] = []

    def note(event: Event) -> None:
        if isinstance(event, StepEnded):
            times.append(time.perf_counter())

    nasreg.search(
        "darts",
        TensorDataset(images, torch.arange(len(images)) % 10),
        "darts",
        space_options=settings["space"],
        trainer={"epochs": 1, "batch_size": batch, "sync_batch_norm": sync},
        device="cpu",
        callbacks=[note],
    )
    if os.environ["RANK"] == "0":
        file.write_text(json.dumps(min(after - before for before, after in itertools.pairwise(times))))


if __name__ == "__main__":
    main()
