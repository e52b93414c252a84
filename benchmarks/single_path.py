"""What a step along a drawn path costs, next to training one network: ``python benchmarks/single_path.py``.

Each row compares three steps, in one process and by turns: the network of an architecture alone, the same path of the
supernet, and a path that is drawn anew each time. Seconds are the shortest of all rounds, of processor time; the last
step varies with what is drawn, so that it is the mean over the rounds, next to the mean of the networks drawn.
"""

from __future__ import annotations

import argparse
import random
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from nasreg.config.lookup import find_space
from nasreg.mutators import UniformMutator
from nasreg.nn import extract_space, freeze
from nasreg.registry import default_registry
from nasreg.specs import DataInfo
from nasreg.tasks import Classification
from nasreg.trainers import Batch, SinglePathTrainer, SinglePathTrainerConfig
from nasreg.trainers.device import keeping_freed_memory
from nasreg.trainers.functional import trainable_parameters, weight_optimizer
from search_contexts import search_context

CASES: dict[str, dict[str, Any]] = {
    "shufflenet": {},
    "darts": {"cells": 8, "channels": 16},
    "nasbench201": {"cells": 1},
    "vit": {"channels": 96, "blocks": 6},
}


def fixed_step(network: nn.Module, config: SinglePathTrainerConfig, batch: Batch) -> Callable[[], None]:
    """Return a step of one network, written as anybody would."""
    weights = list(trainable_parameters(network).values())
    optimizer = weight_optimizer(
        config.optimizer, weights, lr=config.lr, momentum=config.momentum, weight_decay=config.weight_decay
    )
    task, (x, y) = Classification(), batch
    network.train()

    def step() -> None:
        optimizer.zero_grad()
        prediction = network(x)
        loss = task.loss(prediction, y)
        torch.autograd.backward(loss)
        loss.item()
        task.statistics(prediction, y)
        if config.grad_clip is not None:
            nn.utils.clip_grad_norm_(weights, config.grad_clip)
        optimizer.step()

    return step


def seconds(step: Callable[[], Any]) -> float:
    """Return the processor time of a call."""
    began = time.process_time()
    step()
    return time.process_time() - began


def compare(
    space: str, options: dict[str, Any], side: int, size: int, rounds: int
) -> tuple[float, float, float, float]:
    """Return the seconds of a step of a network, of its path, of drawn networks, and of drawn paths."""
    info = DataInfo(channels=3, height=side, width=side, classes=tuple("0123456789"))
    source = find_space(default_registry(), space)
    torch.manual_seed(0)
    config = SinglePathTrainerConfig()
    context = search_context(
        "single-path", lambda **_: source.build(info, options), UniformMutator, torch.device("cpu")
    )
    trainer = SinglePathTrainer(context, config)
    trainer.setup()
    trainer.model.train()
    batch = (torch.randn(size, 3, side, side), torch.randint(0, 10, (size,)))
    found = extract_space(trainer.model)
    architecture = found.sample(random.Random(0))

    def alone(path: Any) -> Callable[[], None]:
        supernet = source.build(info, options)
        return fixed_step(freeze(supernet, path), config, batch)

    def along(path: Any) -> Callable[[], Any]:
        def step() -> None:
            trainer.mutator.draw()
            trainer.mutator.take(path)
            trainer.descend(batch, max_norm=config.grad_clip)

        return step

    one, same = alone(architecture), along(architecture)
    drawn = [found.sample(random.Random(number)) for number in range(1, rounds + 1)]
    times: list[list[float]] = [[], [], [], []]
    with keeping_freed_memory(torch.device("cpu")):
        for step in (one, same):
            step()
        for path in drawn:
            other, another = alone(path), along(path)
            for step in (other, another):
                step()
            for row, step in zip(times, (one, same, other, another), strict=True):
                row.append(min(seconds(step) for _ in range(2)))
    return min(times[0]), min(times[1]), statistics.fmean(times[2]), statistics.fmean(times[3])


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--spaces", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--side", type=int, default=32, help="of the images, in pixels")
    parser.add_argument("--batch", type=int, default=32, help="images in a step")
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    print(f"batch {arguments.batch}, {arguments.side}x{arguments.side}, {torch.get_num_threads()} threads")
    print(f"{'space':<12}  {'network':>8}  {'path':>8}  {'ratio':>5}  {'networks':>8}  {'paths':>8}  {'ratio':>5}")
    for space in arguments.spaces:
        one, same, others, drawn = compare(space, CASES[space], arguments.side, arguments.batch, arguments.rounds)
        fixed, random_paths = f"{one:8.3f}  {same:8.3f}", f"{others:8.3f}  {drawn:8.3f}"
        print(f"{space:<12}  {fixed}  {same / one:5.2f}  {random_paths}  {drawn / others:5.2f}")


if __name__ == "__main__":
    main()
