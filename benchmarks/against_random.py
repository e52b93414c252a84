"""What a search is worth: the network that it finds next to random ones of the same space, trained by the same recipe.

    python benchmarks/against_random.py OUT --dataset digits --retrain dataset.limit=200

searches once, samples architectures of the same space, trains all of them with the same seeds, and prints a table of
their accuracies on the test set. It only runs commands of ``nasreg``. What is finished in OUT is not repeated.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import random
import statistics
import sys
import time
from collections.abc import Iterable
from pathlib import Path

from nasreg.cli import main as nasreg
from nasreg.runs.directory import RunDirectory


def main() -> None:
    """Search, sample, train, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, help="folder of the runs")
    parser.add_argument("--algorithm", default="darts")
    parser.add_argument("--dataset", default="digits", help="name, or folder:PATH; it needs a test set")
    parser.add_argument("--search", nargs="*", default=[], metavar="KEY=VALUE", help="settings of the search")
    parser.add_argument("--retrain", nargs="*", default=[], metavar="KEY=VALUE", help="settings of each training")
    parser.add_argument("--preset", default="demo", help="preset of the search, and recipe of the trainings")
    parser.add_argument("--random", type=int, default=5, help="number of random architectures")
    parser.add_argument("--seeds", type=int, default=1, help="trainings of each architecture")
    options = parser.parse_args()
    common = ["--dataset", options.dataset]
    search = RunDirectory(options.out / "search")
    run(search.path, ["run", options.algorithm, *common, "--preset", options.preset, *settings(options.search)])
    spec = search.spec
    sizes = ("cells", "channels")  # the retraining has its own
    own = [f"space.{name}={json.dumps(value)}" for name, value in spec.space.options.items() if name not in sizes]
    retraining = {
        pair.partition("=")[0]: pair for pair in [*own, *options.retrain]
    }  # those of the user take precedence
    rng = random.Random(0)
    sources = {"searched": search.architecture}
    sources |= {f"random {number + 1}": search.space.sample(rng) for number in range(options.random)}
    accuracies: dict[str, float] = {}
    print(f"{'':12}{'test accuracy':>15}{'of each seed':>24}{'parameters':>12}{'seconds':>10}")
    for name, architecture in sources.items():
        file = options.out / f"{name.replace(' ', '-')}.json"
        file.write_text(architecture.to_json())
        found, seconds = [], 0.0
        for seed in range(options.seeds):
            out = file.with_suffix("") / f"seed-{seed}"
            argv = [
                "retrain",
                str(file),
                "--space",
                spec.space.name,
                "--seed",
                str(seed),
                "--recipe",
                options.preset,
                *common,
            ]
            seconds += run(out, [*argv, *settings(retraining.values())])
            found.append(RunDirectory(out).status["metrics"]["test_accuracy"])
        accuracies[name] = statistics.fmean(found)
        parameters = json.loads((out / "cost.json").read_text())["parameters"]
        each = " ".join(f"{value:.1%}" for value in found)
        print(f"{name:12}{accuracies[name]:15.1%}{each:>24}{parameters:12,}{seconds:10.0f}", flush=True)
    others = [value for name, value in accuracies.items() if name != "searched"]
    spread = f", standard deviation {statistics.stdev(others):.1%}" if len(others) > 1 else ""
    print(
        f"mean of {len(others)} random: {statistics.fmean(others):.1%}{spread}; searched: {accuracies['searched']:.1%}"
    )


def settings(pairs: Iterable[str]) -> list[str]:
    """Return them as arguments of the command line."""
    return [argument for pair in pairs for argument in ("--set", pair)]


def run(out: Path, argv: list[str]) -> float:
    """Run a command that makes a run directory, unless it is there; return its seconds."""
    began = time.perf_counter()
    if not (out / "run.yaml").exists():
        told = io.StringIO()
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(told):
            code = nasreg([*argv, "--out", str(out)])
        if code:
            sys.exit(f"{' '.join(argv)} failed: {told.getvalue()}")
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
