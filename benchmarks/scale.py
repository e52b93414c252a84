"""What several workers gain, what executors cost, and how studies grow: ``python benchmarks/scale.py``.

Parts, all of them unless ``--parts`` names some:

- ``workers``: the wall time of a search that trains, with several workers of each executor next to one process;
- ``executors``: what a trial costs beside its evaluation, by an evaluator that computes nothing, on each executor;
- ``study``: ``nasreg compare`` on the table of NAS-Bench-201, with fewer and more seeds and trials, each in a process
  of its own: seconds of CPU, what of them a run takes, and the peak of memory.

Ray (``nasreg-ray``) and dask are measured where they are installed.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import logging
import multiprocessing
import resource
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor
from pathlib import Path
from typing import Any

import nasreg
from nasreg.evaluators import Evaluator
from nasreg.events import Event, TrialEnded
from nasreg.specs import EvaluatorSpec, MetricSpec, Proposal, Score

PARTS = ("workers", "executors", "study")
TABLE = "nasbench201"
ALGORITHMS = ("local-search", "nsga2", "regularized-evolution")
"""Compared with random search, which is always included."""


class Nothing(Evaluator):
    """Computes nothing."""

    objective = MetricSpec(name="number", title="number")

    def evaluate(self, proposal: Proposal) -> Score:
        """Return a number that depends on the id."""
        return self.score(proposal.id % 97)


def main() -> None:
    """Measure and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS, help="what to measure")
    parser.add_argument("--executors", nargs="+", default=None, help="executors, those that are installed by default")
    parser.add_argument("--workers", type=int, default=2, help="number of workers")
    parser.add_argument("--trainings", type=int, default=8, help="trials of the search that trains")
    parser.add_argument("--epochs", type=int, default=6, help="epochs of such a trial")
    parser.add_argument("--cells", type=int, default=4, help="cells of its networks")
    parser.add_argument("--channels", type=int, default=8, help="channels of their first cell")
    parser.add_argument("--trials", type=int, default=1000, help="trials of the evaluator that computes nothing")
    parser.add_argument("--algorithms", nargs="*", default=ALGORITHMS, help="algorithms of the study, beside random")
    parser.add_argument("--seeds", type=int, default=100, help="seeds of the largest study")
    parser.add_argument("--budget", type=int, default=100, help="trials of each of its runs")
    parser.add_argument("--sizes", type=int, default=4, help="sizes of the study that are measured, smaller ones first")
    args = parser.parse_args()
    executors = installed() if args.executors is None else args.executors
    if "workers" in args.parts:
        space = {"cells": args.cells, "channels": args.channels}
        workers(executors, args.workers, args.trainings, args.epochs, space)
    if "executors" in args.parts:
        costs(executors, args.workers, args.trials)
    if "study" in args.parts:
        studies(args.algorithms, args.seeds, args.budget, args.sizes)


def installed() -> list[str]:
    """Return the executors that are installed."""
    dask = ["dask"] if importlib.util.find_spec("distributed") is not None else []
    return ["serial", *(name for name in nasreg.list_executors() if name != "serial"), *dask]


@contextlib.contextmanager
def opened(name: str, workers: int) -> Iterator[tuple[str | Executor, dict[str, Any]]]:
    """Return an executor and its options for ``nasreg.search``; a cluster ends with the context."""
    if name == "ray":
        yield name, {"address": "local"}
    elif name == "dask":
        from dask.distributed import Client, LocalCluster

        logging.getLogger("distributed").setLevel(logging.ERROR)
        with (
            LocalCluster(n_workers=workers, threads_per_worker=1, dashboard_address=None) as cluster,
            Client(cluster) as client,
        ):
            yield client.get_executor(), {}
    else:
        yield name, {}


def workers(executors: Sequence[str], number: int, trials: int, epochs: int, space: dict[str, int]) -> None:
    """Compare the wall time of a search with several workers with that of one process, start-up included."""
    print(f"{f'{trials} trials of {epochs} epochs':30}  workers  seconds  ratio")
    base = None
    for name in ["serial", *(each for each in executors if each != "serial")]:
        count = 1 if name == "serial" else number
        with tempfile.TemporaryDirectory() as folder:
            began = time.perf_counter()
            with opened(name, count) as (executor, options):
                nasreg.search(
                    "darts",
                    "digits",
                    "random",
                    trainer={"max_trials": trials},
                    evaluator_options={"epochs": epochs, "batch_size": 64},
                    space_options=space,
                    workers=count,
                    executor=executor,
                    executor_options=options,
                    device="cpu",
                    out=Path(folder) / "run",
                )
            seconds = time.perf_counter() - began
        base = base or seconds
        print(f"{name:30}  {count:7}  {seconds:7.1f}  {seconds / base:5.2f}", flush=True)


def costs(executors: Sequence[str], number: int, trials: int) -> None:
    """Measure what a trial costs on each executor, from the end of the tenth of the trials to that of the last."""
    spec = EvaluatorSpec(name="nothing", summary="computes nothing", factory=Nothing)
    nasreg.register(spec)
    print(f"\n{'a trial that computes nothing':30}  workers  milliseconds")
    for name in executors:
        ended: list[float] = []

        def note(event: Event, into: Callable[[float], None] = ended.append) -> None:
            if isinstance(event, TrialEnded):
                into(time.perf_counter())

        with opened(name, number) as (executor, options):
            nasreg.search(
                "chain",
                algorithm="random",
                evaluator=spec.name,
                trainer={"max_trials": trials, "duplicates": "evaluate"},
                workers=number,
                executor=executor,
                executor_options=options,
                device="cpu",
                callbacks=[note],
            )
        first = len(ended) // 10
        milliseconds = (ended[-1] - ended[first]) / (len(ended) - 1 - first) * 1e3
        print(f"{name:30}  {number:7}  {milliseconds:12.2f}", flush=True)


def studies(algorithms: Sequence[str], seeds: int, budget: int, sizes: int) -> None:
    """Measure studies of several sizes, each in a process of its own."""
    title = f"random, {', '.join(algorithms)}"
    print(f"\n{title:55}  seeds  trials  runs  CPU s  ms/run  peak MiB")
    few = max(1, seeds // 4)
    found = dict.fromkeys([(few, budget), (max(1, seeds // 2), budget), (seeds, budget), (few, 4 * budget)])
    for some, trials in list(found)[:sizes]:
        processes = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(1, processes) as fresh:
            first, rest, runs, peak = fresh.submit(study, tuple(algorithms), some, trials).result()
        print(
            f"{'':{max(55, len(title))}}  {some:5}  {trials:6}  {runs:4}  {first + rest:5.1f}  {rest / runs * 1e3:6.1f}"
            f"  {peak / 2**20:8.0f}",
            flush=True,
        )


def study(algorithms: tuple[str, ...], seeds: int, budget: int) -> tuple[float, float, int, int]:
    """Compute a study of one seed, then of all.

    Returns:
        CPU seconds of the first, those of the others, number of the other runs, peak of the memory in bytes.
    """
    with tempfile.TemporaryDirectory() as folder:
        began = time.process_time()
        options: dict[str, Any] = {"budget": budget, "out": Path(folder) / "study"}
        nasreg.compare(list(algorithms), TABLE, seeds=1, **options)
        middle = time.process_time()
        result = nasreg.compare(list(algorithms), TABLE, seeds=seeds, **options)
        end = time.process_time()
    runs = max(1, len(result.runs) - len(algorithms) - 1)
    return middle - began, end - middle, runs, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


if __name__ == "__main__":
    main()
