"""Which zero-cost score ranks architectures as their training does: ``python benchmarks/zero_cost.py``.

Random architectures of NAS-Bench-201 get all measures of ``nasreg_zerocost``, on small networks, and their accuracy
from the table. A line for each measure: Spearman's correlation between both over the architectures, its absolute value,
and over how many it was computed; the number of parameters and of multiply-accumulates are what a score has to beat.

The images are those of ``--dataset``, which may be others than those that the table is about (``--table``): the digits
need no download. Published figures take CIFAR's own images and networks of 16 channels and five cells a stage.
"""

from __future__ import annotations

import argparse
import math
import tempfile
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from scipy.stats import spearmanr

import nasreg
from nasreg_zerocost import MEASURES

BASELINES = ("parameters", "macs")


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--architectures", type=int, default=300, help="how many are drawn")
    parser.add_argument("--table", default="cifar10", help="data set of the accuracies")
    parser.add_argument("--dataset", default="digits", help="data set of the images")
    parser.add_argument("--image-size", type=int, default=16, help="side of the images, in pixels")
    parser.add_argument("--channels", type=int, default=8, help="channels of the first stage")
    parser.add_argument("--cells", type=int, default=1, help="cells in each of the three stages")
    parser.add_argument("--batch", type=int, default=32, help="images")
    parser.add_argument("--seed", type=int, default=0, help="seed of architectures, weights and batch")
    options = parser.parse_args()

    accuracies = {key(trial): trial["score"] for trial in trials(options, "nasbench201", {"dataset": options.table})}
    names = [name for name in MEASURES if name != "grad_norm"]
    zero_cost = {"measure": "grad_norm", "metrics": names, "batch_size": options.batch, "zen_repeats": 2}
    measured: dict[str, dict[str, float]] = {name: {} for name in MEASURES}
    for trial in trials(options, "zero-cost", zero_cost):
        for name, value in {**trial["metrics"], "grad_norm": trial["score"]}.items():
            if value is not None and math.isfinite(value):
                measured[name][key(trial)] = value
    networks = (
        f"{options.channels} channels, {options.cells} cells a stage, {options.batch} images of {options.dataset}"
    )
    print(f"{options.architectures} architectures of NAS-Bench-201, accuracy on {options.table}; {networks}")
    print(f"{'measure':<12} {'Spearman':>9} {'absolute':>9} {'of':>5}")
    correlations = {name: correlation(values, accuracies) for name, values in measured.items()}
    for name, value in sorted(correlations.items(), key=lambda item: -abs(item[1])):
        mark = "  baseline" if name in BASELINES else ""
        print(f"{name:<12} {value:>9.3f} {abs(value):>9.3f} {len(measured[name]):>5}{mark}")


def trials(options: argparse.Namespace, evaluator: str, evaluator_options: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the trials of a random search, which proposes the same whatever evaluates it."""
    with tempfile.TemporaryDirectory() as folder:
        result = nasreg.search(
            "nasbench201",
            options.dataset,
            "random",
            trainer={"max_trials": options.architectures},
            evaluator=evaluator,
            evaluator_options=evaluator_options,
            space_options={"channels": options.channels, "cells": options.cells},
            dataset_options={"image_size": options.image_size, "crop_padding": 0},
            seed=options.seed,
            device="cpu",
            out=Path(folder) / "run",
        )
    found = cast("list[dict[str, Any]]", result.trials)
    return [trial for trial in found if trial["status"] == "done"]


def key(trial: Mapping[str, Any]) -> str:
    """Return what names the architecture of a trial."""
    return repr(trial["architecture"])


def correlation(values: Mapping[str, float], accuracies: Mapping[str, float]) -> float:
    """Return Spearman's rank correlation over the architectures that have both; 0 where one is constant."""
    common = [each for each in values if each in accuracies]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a constant has no correlation
        found = float(spearmanr([values[each] for each in common], [accuracies[each] for each in common]).statistic)
    return 0.0 if math.isnan(found) else found


if __name__ == "__main__":
    main()
