"""What each algorithm finds: runs its command with several seeds, and records the results for README's table.

    python benchmarks/algorithms.py [NAME ...]

A multi-trial algorithm with the preset ``nasbench201`` makes 100 evaluations on the table of NAS-Bench-201 with each of
100 seeds; any other runs its demo on digits with 3 seeds. What is found with a supernet is retrained with the recipe
``demo`` and measured on the test set. Times are those of the processor, which other programs hardly move.

The records are in docs/algorithms.json; ``python docs/make_reference.py`` writes the table.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nasreg
from nasreg.registry import default_registry
from nasreg.runs.trials import best_first

RECORDS = Path(__file__).parents[1] / "docs/algorithms.json"

EVALUATIONS, TABLE_SEEDS, DEMO_SEEDS = 100, 100, 3


def on_table(name: str, seed: int) -> float:
    """Return the best validation accuracy of a search on the table."""
    result = nasreg.search(None, algorithm=name, preset="nasbench201", trainer={"max_trials": EVALUATIONS}, seed=seed)
    return best(result)


def demo_of_trials(name: str, seed: int) -> float:
    """Return the best validation accuracy of the demo of a multi-trial algorithm."""
    return best(nasreg.search(None, algorithm=name, preset="demo", seed=seed, device="cpu"))


def demo_of_supernet(name: str, seed: int) -> float:
    """Return the test accuracy of the network that a demo finds with a supernet, after its retraining."""
    with tempfile.TemporaryDirectory() as folder:
        found = Path(folder) / "search"
        nasreg.search(None, algorithm=name, preset="demo", seed=seed, device="cpu", out=found)
        trained = nasreg.retrain(found, recipe="demo", seed=seed, device="cpu", out=Path(folder) / "network")
    return trained.metrics["test_accuracy"]


def best(result: nasreg.SearchResult) -> float:
    """Return the score of the best trial."""
    if result.objective is None:
        raise TypeError("a one-shot search has no trials")
    return float(best_first(result.trials, result.objective)[0]["score"])


def measure(name: str) -> dict[str, Any]:
    """Return the record of an algorithm."""
    spec = default_registry().algorithm(name)
    measured: Callable[[str, int], float]
    if spec.family == "one-shot" or spec.evaluator == "supernet":
        command, metric, seeds, measured = f"nasreg run {name}", "digits, retrained: test", DEMO_SEEDS, demo_of_supernet
    elif "nasbench201" in spec.presets:
        command = f"nasreg run {name} --preset nasbench201 --set trainer.max_trials={EVALUATIONS}"
        metric, seeds, measured = "NAS-Bench-201, CIFAR-10: validation", TABLE_SEEDS, on_table
    else:
        command, metric, seeds, measured = f"nasreg run {name}", "digits: validation", DEMO_SEEDS, demo_of_trials
    values, seconds = [], []
    for seed in range(seeds):
        began = time.process_time()
        values.append(measured(name, seed))
        seconds.append(time.process_time() - began)
    return {
        "command": command,
        "metric": metric,
        "seeds": seeds,
        "mean": round(statistics.fmean(values), 6),
        "standard_error": round(statistics.stdev(values) / seeds**0.5, 6),
        "cpu_seconds": float(f"{statistics.median(seconds):.2g}"),
    }


def main() -> None:
    """Measure the algorithms that are named, or all, and record the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help="algorithms; by default all that are installed")
    wanted = parser.parse_args().names or nasreg.list_algorithms()
    for name in wanted:
        record = measure(name)
        print(f"{name:24}{record}", flush=True)
        records = {**json.loads(RECORDS.read_text(encoding="utf-8")), name: record}
        RECORDS.write_text(json.dumps(dict(sorted(records.items())), indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
