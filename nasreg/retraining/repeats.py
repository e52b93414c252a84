"""One retraining with several seeds: mean and standard deviation, never the best of them. Imports torch."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from nasreg.errors import RunDirectoryError, UsageError
from nasreg.events import Callback
from nasreg.registry import Registry, default_registry
from nasreg.retraining import REPEATS
from nasreg.retraining.api import RetrainResult, run
from nasreg.runs import RunDirectory
from nasreg.specs import RetrainSpec

SUMMARY = "summary.json"


@dataclass(frozen=True)
class RepeatedResult:
    """What the same retraining with several seeds ends with."""

    seeds: tuple[int, ...]
    accuracies: tuple[float, ...]
    """Test accuracy of the last epoch, by seed."""
    run_dir: Path

    @property
    def mean(self) -> float:
        """Mean of the accuracies."""
        return statistics.fmean(self.accuracies)

    @property
    def std(self) -> float:
        """Standard deviation of the accuracies (of a sample: n - 1); 0 for a single one."""
        return statistics.stdev(self.accuracies) if len(self.accuracies) > 1 else 0.0


def repeat(
    spec: RetrainSpec,
    seeds: Sequence[int],
    out: str | Path,
    *,
    registry: Registry | None = None,
    callbacks: Sequence[Callback] = (),
    told: Callable[[int, RetrainResult], None] | None = None,
) -> RepeatedResult:
    """Carry out one RetrainSpec with several seeds, one after the other, each in a run directory ``seed-N`` of its own.

    What is done already in ``out`` is not done again, and what was interrupted goes on.

    Args:
        spec: What to train; its own seed does not count.
        seeds: The seeds.
        out: Directory of the runs.
        registry: Where names are looked up.
        callbacks: Called with each event of each run.
        told: Called with each seed and its result.

    Raises:
        RunDirectoryError: ``out`` holds something else.
        NasregError: As ``retrain``.
    """
    if len(set(seeds)) != len(seeds) or not seeds:
        raise UsageError(f"seeds must be different numbers, one at least, not {', '.join(map(str, seeds)) or 'none'}")
    registry, folder = registry or default_registry(), Path(out).absolute()
    directory = RunDirectory(folder)
    wanted = {"seeds": list(seeds), "run": spec.model_copy(update={"seed": 0}).model_dump(mode="json")}
    if not (folder / REPEATS).exists():
        directory.check_free()
        folder.mkdir(parents=True, exist_ok=True)
        directory.write_json(REPEATS, wanted)
    elif directory.read_json(REPEATS) != wanted:
        raise RunDirectoryError(f"{folder} repeats a retraining with other options: choose another with --out")
    accuracies = []
    for seed in seeds:
        place = folder / f"seed-{seed}"
        begun = (place / "run.yaml").exists()
        if not begun or RunDirectory(place).status["state"] != "done":
            one = spec.model_copy(update={"seed": seed})
            result = run(one, registry=registry, out=place, resume=begun, callbacks=callbacks)
            if told:
                told(seed, result)
        accuracies.append(float(RunDirectory(place).status["metrics"]["test_accuracy"]))
    repeated = RepeatedResult(tuple(seeds), tuple(accuracies), folder)
    summary = {"seeds": list(seeds), "test_accuracy": accuracies, "mean": repeated.mean, "std": repeated.std}
    directory.write_json(SUMMARY, summary)
    return repeated


def resume_repeats(
    out: str | Path,
    *,
    registry: Registry | None = None,
    callbacks: Sequence[Callback] = (),
    told: Callable[[int, RetrainResult], None] | None = None,
) -> RepeatedResult:
    """Go on with what ``repeat`` began; takes and raises as it does."""
    found = RunDirectory(out).read_json(REPEATS)
    spec = RetrainSpec.model_validate(found["run"])
    return repeat(spec, found["seeds"], out, registry=registry, callbacks=callbacks, told=told)
