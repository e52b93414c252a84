"""What a step on sampled networks costs, as ratios in one run: ``python benchmarks/sampled_step.py``.

Each row compares one step of GDAS (weights on one batch, architecture parameters on another) with two passes of
training on the same sampled networks with their candidates fixed (``fixed``): optimised, too, and no architecture
parameter has a gradient. ``darts`` is a step of DARTS on the supernet. All start from the same weights and take turns
on the same draws; of each draw the faster of two measurements counts.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

import torch

from nasreg.config.lookup import find_space
from nasreg.mutators import GumbelMutatorConfig, HardGumbelMutator, SoftmaxMutator, SoftmaxMutatorConfig
from nasreg.nn import Answer
from nasreg.registry import default_registry
from nasreg.specs import AnyChoiceSpec, DataInfo
from nasreg.trainers import Batch, BilevelTrainer, BilevelTrainerConfig, StepResult
from nasreg.trainers.device import keeping_freed_memory
from nasreg_gumbel.config import GdasTrainerConfig
from nasreg_gumbel.gdas import GdasTrainer
from search_contexts import search_context


class Size(NamedTuple):
    """Of a search."""

    space: str
    options: dict[str, int]
    batch: int
    side: int


SIZES = {
    "tiny": Size("darts", {"channels": 2, "cells": 1, "nodes": 1}, 4, 8),
    "nasbench201": Size("nasbench201", {"channels": 8, "cells": 1}, 64, 32),
    "darts": Size("darts", {"channels": 8, "cells": 3}, 64, 16),
}


class FixedMutator(HardGumbelMutator):
    """Answers with the drawn candidates, whose weights have no gradient."""

    def draw(self, choice: AnyChoiceSpec) -> Answer:
        """Draw an answer to a choice."""
        drawn: Any = super().draw(choice)
        if isinstance(drawn, list):
            return [replace(each, weights=each.weights.detach()) for each in drawn]
        return replace(drawn, weights=drawn.weights.detach())


class FixedTrainer(BilevelTrainer):
    """Trains the weights on both batches, and changes them on the first."""

    def train_step(self, train: Batch, arch: Batch | None) -> StepResult:
        """Do both passes."""
        result = self.descend(train, max_norm=self.config.grad_clip)
        if arch is not None:
            self.optimizers["weights"].zero_grad()
            loss, _ = self.criterion(self.model(arch[0]), arch[1])
            torch.autograd.backward(loss)
        return result


def make_trainer(size: Size, trainer: Any, config: Any, mutator: Any, mutator_config: Any) -> Any:
    """Make a trainer at the start of a search."""
    info = DataInfo(channels=3, height=size.side, width=size.side, classes=tuple("0123456789"))

    def build(**_: Any) -> torch.nn.Module:
        model: torch.nn.Module = find_space(default_registry(), size.space).build(info, size.options)
        return model

    torch.manual_seed(0)
    context = search_context("gdas", build, lambda space: mutator(space, mutator_config), torch.device("cpu"))
    made = trainer(context, config)
    made.setup()
    made.start_epoch(0)
    made.model.train()
    return made


def measure(size: Size, draws: int) -> dict[str, float]:
    """Return the mean seconds of a step of each trainer."""
    gumbel = GumbelMutatorConfig()
    makers: dict[str, Callable[[], Any]] = {
        "fixed": lambda: make_trainer(size, FixedTrainer, BilevelTrainerConfig(), FixedMutator, gumbel),
        "gdas": lambda: make_trainer(size, GdasTrainer, GdasTrainerConfig(), HardGumbelMutator, gumbel),
        "gdas, clip_with_arch=false": lambda: make_trainer(
            size, GdasTrainer, GdasTrainerConfig(clip_with_arch=False), HardGumbelMutator, gumbel
        ),
        "darts": lambda: make_trainer(
            size, BilevelTrainer, BilevelTrainerConfig(), SoftmaxMutator, SoftmaxMutatorConfig()
        ),
    }
    trainers = {name: make() for name, make in makers.items()}
    generator = torch.Generator().manual_seed(0)
    train, arch = (
        (
            torch.randn(size.batch, 3, size.side, size.side, generator=generator),
            torch.randint(0, 10, (size.batch,), generator=generator),
        )
        for _ in range(2)
    )
    total = dict.fromkeys(trainers, 0.0)
    with keeping_freed_memory(torch.device("cpu")):
        for draw in range(draws + 1):  # the first is to warm up
            best = dict.fromkeys(trainers, float("inf"))
            for _ in range(2):
                for name, trainer in trainers.items():
                    torch.manual_seed(draw)
                    began = time.perf_counter()
                    trainer.train_step(train, arch)
                    best[name] = min(best[name], time.perf_counter() - began)
            if draw:
                total = {name: seconds + best[name] for name, seconds in total.items()}
    return {name: seconds / draws for name, seconds in total.items()}


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", nargs="*", choices=SIZES, default=["nasbench201", "darts"])
    parser.add_argument("--draws", type=int, default=12, help="draws that are measured, after one to warm up")
    options = parser.parse_args()
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads; mean of {options.draws} draws")
    for name in options.sizes:
        found = measure(SIZES[name], options.draws)
        for way, seconds in found.items():
            print(f"{name:14}{way:30}{seconds:9.3f} s{seconds / found['fixed']:8.2f}", flush=True)


if __name__ == "__main__":
    main()
