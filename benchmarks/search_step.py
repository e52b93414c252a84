"""What a search step costs, as ratios in one run: ``python benchmarks/search_step.py``.

Each row compares one step (alphas and weights) of three trainers, in one process and by turns: the textbook way, in
which each candidate is computed for itself and the step of the alphas takes all gradients; the optimised way; and that
with activation checkpointing. They start from the same weights; the last column is the loss of the last step, which is
the same but for rounding, and in P-DARTS for dropout. The peak of memory is that of two steps in a fresh process, above
what it had before.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from nasreg.mutators import SoftmaxMutatorConfig
from nasreg.spaces.config import DartsSpaceConfig
from nasreg.spaces.darts import build
from nasreg.specs import DataInfo
from nasreg.trainers import Batch, BilevelTrainer, Gradients
from nasreg.trainers.device import keeping_freed_memory
from nasreg_darts.config import DartsTrainerConfig
from nasreg_darts.mutator import DartsMutator
from nasreg_darts.trainer import DartsTrainer
from nasreg_pdarts.config import PdartsMutatorConfig, PdartsTrainerConfig
from nasreg_pdarts.mutator import PdartsMutator
from nasreg_pdarts.trainer import PdartsTrainer
from search_contexts import search_context

EPOCHS = 25


class Size(NamedTuple):
    """Of a search."""

    cells: int
    channels: int
    batch: int
    side: int

    def __str__(self) -> str:
        return f"{self.cells} cells, C={self.channels}, batch {self.batch}, {self.side}x{self.side}"


TINY, SMALL, PAPER = Size(3, 2, 4, 8), Size(3, 8, 64, 16), Size(8, 16, 64, 32)
PAPER_PDARTS = Size(5, 16, 96, 32)


class _Textbook(BilevelTrainer):
    """Takes all gradients in each pass, as a backward() of the loss does."""

    def gradients(self, batch: Batch, by: Sequence[Tensor], weights: Mapping[str, Tensor] | None = None) -> Gradients:
        """Return those asked for."""
        everything = [*by, *({*self.weights.values(), *self.alphas} - {*by})]
        found = super().gradients(batch, everything, weights)
        return found._replace(values=found.values[: len(by)])


class TextbookDarts(_Textbook, DartsTrainer):
    """DARTS the textbook way."""


class TextbookPdarts(_Textbook, PdartsTrainer):
    """P-DARTS the textbook way."""


def make_trainer(
    size: Size,
    device: torch.device,
    *,
    textbook: bool,
    stage: int | None,
    edge_normalization: bool = False,
    **options: Any,
) -> Any:
    """Make a trainer in the middle of a search.

    Args:
        size: Of the supernet and the images.
        device: Where.
        textbook: Compute in the textbook way.
        stage: Of P-DARTS, from 0; None for DARTS.
        edge_normalization: Option of the mutator of DARTS.
        options: Of the trainer.
    """
    info = DataInfo(channels=3, height=size.side, width=size.side, classes=tuple("0123456789"))
    config = DartsSpaceConfig(cells=size.cells, channels=size.channels)

    def model(*, depth: int = size.cells, edge_candidates: Any = None) -> torch.nn.Module:
        return build(info, config.model_copy(update={"cells": depth, "edge_candidates": edge_candidates}))

    torch.manual_seed(0)
    one = stage is None
    mutator: Callable[[Any], Any] = (
        (lambda space: DartsMutator(space, SoftmaxMutatorConfig(edge_normalization=edge_normalization)))
        if one
        else (lambda space: PdartsMutator(space, PdartsMutatorConfig()))
    )
    context = search_context("darts" if one else "pdarts", model, mutator, device, depth=size.cells)
    options = {"execution": "plain" if textbook else "optimized", "epochs": EPOCHS, **options}
    trainer: Any
    if one:
        trainer = (TextbookDarts if textbook else DartsTrainer)(context, DartsTrainerConfig(**options))
    else:
        trainer = (TextbookPdarts if textbook else PdartsTrainer)(context, PdartsTrainerConfig(**options))
    trainer.setup()
    trainer.start_epoch((stage or 0) * EPOCHS)
    trainer.model.train()
    return trainer


def batches(size: Size, device: torch.device) -> tuple[Batch, Batch]:
    """Make the two batches of a step."""
    generator = torch.Generator().manual_seed(0)

    def batch() -> Batch:
        images = torch.randn(size.batch, 3, size.side, size.side, generator=generator)
        return images.to(device), torch.randint(0, 10, (size.batch,), generator=generator).to(device)

    return batch(), batch()


def peak_memory(case: Case, size: Size, device: torch.device, way: str) -> int:
    """Return the most memory that two steps take at once, in bytes; it is meant for a process of its own."""
    trainer = make_trainer(size, device, stage=case.stage, **case.options, **WAYS[way])
    given = batches(size, device)
    before = torch.cuda.memory_allocated(device) if device.type == "cuda" else _status("VmRSS")
    with keeping_freed_memory(device):
        for _ in range(2):
            trainer.train_step(*given)
    after = torch.cuda.max_memory_allocated(device) if device.type == "cuda" else _status("VmHWM")
    return int(after - before)


def _status(name: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(name))


class Measured(NamedTuple):
    """Of a way to compute a step: median of the seconds, and the loss of the last step."""

    seconds: float
    loss: float


def measure(trainers: Mapping[str, Any], size: Size, device: torch.device, rounds: int) -> dict[str, Measured]:
    """Do steps of all trainers by turns."""
    train, valid = batches(size, device)
    seconds: dict[str, list[float]] = {name: [] for name in trainers}
    losses: dict[str, float] = {}
    with keeping_freed_memory(device):
        for turn in range(rounds + 1):  # the first is to warm up
            for name, trainer in trainers.items():
                began = time.perf_counter()
                losses[name] = trainer.train_step(train, valid)[0]  # a number: it waits for the device
                if turn:
                    seconds[name].append(time.perf_counter() - began)
    return {name: Measured(statistics.median(each), losses[name]) for name, each in seconds.items()}


class Case(NamedTuple):
    """A kind of step."""

    title: str
    stage: int | None
    options: dict[str, Any]


CASES = {
    "first": Case("DARTS, first order", None, {}),
    "difference": Case("DARTS, second order, finite difference", None, {"second_order": True}),
    "exact": Case("DARTS, second order, exact", None, {"second_order": True, "hessian_product": "exact"}),
    "stage1": Case("P-DARTS, stage 1", 0, {}),
    "stage2": Case("P-DARTS, stage 2", 1, {}),
    "stage3": Case("P-DARTS, stage 3", 2, {}),
}

WAYS: dict[str, dict[str, Any]] = {
    "textbook": {"textbook": True},
    "optimised": {"textbook": False},
    "checkpointed": {"textbook": False, "activation_checkpointing": True},
    "partial": {"textbook": False, "partial_channels": 4, "edge_normalization": True},
}
"""``partial`` is another computation, that of PC-DARTS: ``--cases first --ways optimised partial`` compares them."""


def compare(case: Case, size: Size, device: torch.device, rounds: int, ways: Sequence[str]) -> None:
    """Print the rows of a case."""
    trainers = {name: make_trainer(size, device, stage=case.stage, **case.options, **WAYS[name]) for name in ways}
    found = measure(trainers, size, device, rounds)
    peaks: dict[str, int] = {}
    processes = get_context("forkserver")
    processes.set_forkserver_preload(["__main__"])  # each fresh process has torch already, and has computed nothing
    for name in ways:
        with ProcessPoolExecutor(1, mp_context=processes) as fresh:
            peaks[name] = fresh.submit(peak_memory, case, size, device, name).result()
    base, base_peak = found[ways[0]], peaks[ways[0]]
    for name, row in found.items():
        images = 2 * size.batch / row.seconds
        print(
            f"{case.title:40} {size!s:40} {name:13}{row.seconds:9.3f}{base.seconds / row.seconds:8.2f}"
            f"{peaks[name] / 2**20:10.0f}{peaks[name] / base_peak:8.2f}{images:10.0f}{row.loss:10.5f}",
            flush=True,
        )


def products(size: Size, device: torch.device, rounds: int) -> None:
    """Print what the product of the second order takes: by two more passes each way, and exactly.

    The exact one uses what the virtual step leaves, so that what that takes longer than alone counts to it.
    """
    options = {"textbook": False, "stage": None, "second_order": True}
    difference = make_trainer(size, device, hessian_product="finite_difference", **options)
    exact = make_trainer(size, device, hessian_product="exact", **options)
    train, _ = batches(size, device)
    weights = difference.weights
    vector = [torch.ones_like(weight) for weight in weights.values()]
    seconds: dict[str, list[float]] = {"difference": [], "exact": []}

    def timed(compute: Callable[[], Any]) -> tuple[float, Any]:
        began = time.perf_counter()
        found = compute()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        return time.perf_counter() - began, found

    with keeping_freed_memory(device):
        for _ in range(rounds + 1):  # the first is to warm up
            plain, _ = timed(lambda: difference.gradients(train, list(weights.values()), weights))
            passes, _ = timed(lambda: difference.hessian_vector_product(train, vector))
            graph, training = timed(lambda: exact.differentiable_gradients(train))
            product, _ = timed(lambda training=training: exact.hessian_vector_product(train, vector, training))
            del training
            seconds["difference"].append(passes)
            seconds["exact"].append(product + graph - plain)
    first, second = (statistics.median(each[1:]) for each in seconds.values())
    print(f"{size!s:40} finite difference{first:9.3f}, exact{second:9.3f}, ratio{second / first:6.2f}", flush=True)


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", nargs="*", choices=CASES, default=list(CASES))
    parser.add_argument("--sizes", nargs="*", choices=["tiny", "small", "paper"], default=["small", "paper"])
    parser.add_argument(
        "--ways", nargs="*", choices=WAYS, default=list(WAYS)[:3], help="the first is what others are compared with"
    )
    parser.add_argument("--grow", action="store_true", help="instead show how the first order grows with the size")
    parser.add_argument("--products", action="store_true", help="instead compare the two products of the second order")
    parser.add_argument("--rounds", type=int, default=3, help="steps of each that are measured, after one to warm up")
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    device = torch.device(options.device)
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, {device}; median of {options.rounds} steps")
    sizes = {"tiny": TINY, "small": SMALL, "paper": PAPER}
    if options.products:
        for size in options.sizes:
            products(sizes[size], device, options.rounds)
        return
    print(f"{'':81} {'way':13}{'seconds':>9}{'faster':>8}{'peak MiB':>10}{'share':>8}{'images/s':>10}{'loss':>10}")
    if options.grow:
        small = Size(4, 8, 32, 32)
        for field in ("cells", "channels", "batch"):
            for factor in (1, 2, 4):
                size = small._replace(**{field: factor * getattr(small, field)})
                compare(CASES["first"], size, device, options.rounds, options.ways)
        return
    for name in options.cases:
        sizes["paper"] = PAPER if CASES[name].stage is None else PAPER_PDARTS
        for size in options.sizes:
            compare(CASES[name], sizes[size], device, options.rounds, options.ways)


if __name__ == "__main__":
    main()
