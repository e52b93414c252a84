"""What a trial of a multi-trial search costs beside its training: ``python benchmarks/trials.py``.

It measures, each as a ratio in one run:

- building the network of an architecture, next to building the supernet and freezing a copy of it: time and the memory
  of new tensors;
- trials per second of an evaluator that computes nothing, and of each algorithm on the table of NAS-Bench-201 where it
  is installed, with and without records on disk; next to them syne-tune, where it is installed, which records none.

What several workers gain is measured by ``benchmarks/scale.py``.
"""

from __future__ import annotations

import argparse
import random
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from torch import nn
from torch.profiler import ProfilerActivity, profile

import nasreg
from nasreg.config.lookup import find_space
from nasreg.evaluators import Evaluator
from nasreg.events import Event, TrialEnded
from nasreg.networks.build import network_of
from nasreg.nn import extract_space, freeze
from nasreg.registry import default_registry
from nasreg.specs import DataInfo, EvaluatorSpec, MetricSpec, Proposal, Score

INFO = DataInfo(channels=3, height=32, width=32, classes=tuple("0123456789"))

SPACES = (
    ("darts", {"cells": 8, "channels": 16}),
    ("darts", {"cells": 20, "channels": 36}),
    ("chain", {"blocks": 8, "channels": 64}),
)
SMALL = (("darts", {"cells": 3, "channels": 2}),)


TABLE = "nasbench201"
ALGORITHMS = ("regularized-evolution", "local-search", "large-scale-evolution", "nsga2")
"""Algorithms that are measured on the table where they are installed; each has a preset for it."""


class Nothing(Evaluator):
    """Computes nothing."""

    objective = MetricSpec(name="number", title="number")

    def evaluate(self, proposal: Proposal) -> Score:
        """Return a number that depends on the id."""
        return self.score(proposal.id % 97)


def main() -> None:
    """Measure and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5, help="networks that are built in each way")
    parser.add_argument("--small", action="store_true", help="use small spaces, to see that it runs")
    parser.add_argument("--trials", type=int, default=5000, help="trials of the evaluator that computes nothing")
    args = parser.parse_args()
    building(args.rounds, SMALL if args.small else SPACES)
    rates(args.trials)


def building(rounds: int, spaces: Sequence[tuple[str, dict[str, int]]]) -> None:
    """Compare the two ways to build the network of an architecture."""
    print(f"{'building a network, median of ' + str(rounds):40}  supernet    network  ratio      memory  ratio")
    for name, options in spaces:
        source = find_space(default_registry(), name)
        space = extract_space(source.build(INFO, options))
        architectures = [space.sample(random.Random(n)) for n in range(rounds)]

        def whole(architecture: nasreg.Architecture) -> nn.Module:
            return freeze(source.build(INFO, options), architecture)  # noqa: B023  # it is called in this pass

        def alone(architecture: nasreg.Architecture) -> nn.Module:
            return network_of(source, INFO, options, architecture.decisions)  # noqa: B023

        times = [[seconds(way, each) for way in (whole, alone)] for each in architectures]
        before, after = (statistics.median(column) for column in zip(*times, strict=True))
        memory = [allocated(way, architectures[0]) for way in (whole, alone)]
        title = ", ".join([name, *(f"{key} {value}" for key, value in options.items())])
        print(
            f"{title:40}  {before * 1e3:5.0f} ms   {after * 1e3:5.0f} ms   {after / before:.2f}"
            f"  {memory[1] / 2**20:6.1f} MiB   {memory[1] / memory[0]:.2f}"
        )


def seconds(way: Callable[[nasreg.Architecture], nn.Module], architecture: nasreg.Architecture) -> float:
    """Return the time that a network takes to build."""
    began = time.perf_counter()
    way(architecture)
    return time.perf_counter() - began


def allocated(way: Callable[[nasreg.Architecture], nn.Module], architecture: nasreg.Architecture) -> int:
    """Return the bytes of all tensors that are allocated to build a network."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiled:
        way(architecture)
    return sum(max(0, event.self_cpu_memory_usage) for event in profiled.key_averages())


def rates(trials: int) -> None:
    """Measure the trials per second of an evaluator that computes nothing, and of one that looks results up."""
    nasreg.register(EvaluatorSpec(name="nothing", summary="computes nothing", factory=Nothing))
    cases: list[tuple[str, str, str, dict[str, Any]]] = [("evaluator that computes nothing", "darts", "random", {})]
    for title, space in (("NAS-Bench-201", TABLE), ("NAS-Bench-Graph", "nasbenchgraph")):
        if space in nasreg.list_spaces():
            cases.append((f"table of {title}, random", space, "random", {}))
    if TABLE in nasreg.list_spaces():
        cases += [(f"table of NAS-Bench-201, {name}", TABLE, name, options) for name, options in table_algorithms()]
    with tempfile.TemporaryDirectory() as folder:
        for number, (title, space, algorithm, mutator) in enumerate(cases):
            evaluator = "nothing" if space == "darts" else space
            for place, out in (("in memory", None), ("with records on disk", Path(folder) / str(number))):
                print_rate(f"{title}, {place}", trial_rate(space, evaluator, algorithm, mutator, trials, out))
    if TABLE in nasreg.list_spaces():
        peers(trials)


def print_rate(title: str, rate: float) -> None:
    """Print a line."""
    print(f"{title:55}  {rate:7,.0f} trials per second")


def table_algorithms() -> list[tuple[str, dict[str, Any]]]:
    """Return those of ``ALGORITHMS`` that are installed, with the options of their mutators for the table."""
    algorithms = [nasreg.get_algorithm(name) for name in ALGORITHMS if name in nasreg.list_algorithms()]
    return [(each.name, each.presets[TABLE].mutator) for each in algorithms]


def peers(trials: int) -> None:
    """Measure regularized evolution of syne-tune on the same table, if it is installed: ask, look up, tell."""
    try:
        from syne_tune.config_space import choice
        from syne_tune.optimizer.baselines import REA
        from syne_tune.optimizer.schedulers.ask_tell_scheduler import AskTellScheduler
    except ImportError:
        print("syne-tune is not installed: nothing to compare with (pip install syne-tune)")
        return
    from nasreg_nasbench201.table import find_table

    table = find_table("cifar10", 200, None)
    accuracies = dict(zip(table.keys, table.columns["accuracy"].tolist(), strict=True))
    space = {f"edge{number}": choice(list("01234")) for number in range(6)}
    scheduler = AskTellScheduler(REA(space, "accuracy", do_minimize=False, population_size=10, sample_size=3))

    def evaluate() -> None:
        trial = scheduler.ask()
        scheduler.tell(trial, {"accuracy": accuracies["".join(trial.config[name] for name in space)]})

    evaluate()
    began = time.perf_counter()
    for _ in range(trials - 1):
        evaluate()
    print_rate("table of NAS-Bench-201, syne-tune's REA, in memory", (trials - 1) / (time.perf_counter() - began))


def trial_rate(
    space: str, evaluator: str, algorithm: str, mutator: dict[str, Any], trials: int, out: Path | None
) -> float:
    """Return the trials per second of a search, from the end of the first to the end of the last."""
    ended: list[float] = []

    def note(event: Event) -> None:
        if isinstance(event, TrialEnded):
            ended.append(time.perf_counter())

    options: dict[str, Any] = {"max_trials": trials, "duplicates": "evaluate"}
    nasreg.search(
        space,
        "digits",
        algorithm,
        mutator=mutator,
        evaluator=evaluator,
        trainer=options,
        device="cpu",
        out=out,
        callbacks=[note],
    )
    return (trials - 1) / (ended[-1] - ended[0])


if __name__ == "__main__":
    main()
