"""The part of an algorithm's contract that is for multi-trial algorithms: proposals, workers, failures, resuming.

These searches have many trials and train nothing: the score is that of ``nasreg.testing.stand_ins``. They leave out
what surrounds a search, such as its report.
"""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any, Protocol

import pytest

from nasreg.config.request import RunRequest
from nasreg.config.resolve import resolve
from nasreg.engine.multi_trial_job import MultiTrialJob
from nasreg.events import Callback, Event, Notice, RunEnded, SearchStarted, TrialEnded
from nasreg.registry import default_registry
from nasreg.runs import files
from nasreg.runs.directory import RunDirectory
from nasreg.runs.output import RunOutput
from nasreg.runs.trials import best_first, read_trials
from nasreg.specs import AlgorithmSpec, Architecture, SearchSpaceSpec
from nasreg.testing.checks import global_random_state
from nasreg.testing.small import small_options
from nasreg.testing.stand_ins import DISTANCE, FILTER, DistanceEvaluator, stand_ins

Trials = list[dict[str, Any]]


class QuickSearch(Protocol):
    """Runs a search without training."""

    def __call__(
        self,
        out: Path,
        *,
        seed: int = 1,
        workers: int = 1,
        trainer: dict[str, Any] | None = None,
        failing: int = 0,
        callbacks: tuple[Callback, ...] = (),
    ) -> Trials:
        """Run it, from where it ended if ``out`` exists.

        Args:
            out: Folder of the records.
            seed: Seed of the search.
            workers: Number of proposals that are out at once, in one process.
            trainer: More options of the trainer.
            failing: Of so many trials one fails; 0 for none.
            callbacks: Called with each event.

        Returns:
            The records of its trials, without times.
        """


class MultiTrialTests:
    """Tests of a multi-trial algorithm; they are skipped for any other. ``AlgorithmContract`` has them."""

    @pytest.fixture
    def n_trials(self) -> int:
        """Number of trials of a search without training. Override it where the algorithm begins to learn later."""
        return 24

    @pytest.fixture
    def multi_trial(self, spec: AlgorithmSpec) -> None:
        """Skip a test that is for multi-trial algorithms only."""
        if spec.family != "multi-trial":
            pytest.skip("a one-shot algorithm has no trials")

    @pytest.fixture
    def quick_search(
        self, spec: AlgorithmSpec, trainer_options: dict[str, Any], mutator_options: dict[str, Any], n_trials: int
    ) -> QuickSearch:
        """Runs a search without training, each with another state of the global generators of random numbers."""
        numbers = itertools.count()

        def run(
            out: Path,
            *,
            seed: int = 1,
            workers: int = 1,
            trainer: dict[str, Any] | None = None,
            failing: int = 0,
            callbacks: tuple[Callback, ...] = (),
        ) -> Trials:
            request = RunRequest(
                algorithm=spec.name,
                preset="demo" if "demo" in spec.presets else None,
                evaluator=DISTANCE.name,
                options={
                    "space": small_options(spec.default_space),
                    "mutator": mutator_options,
                    "trainer": {**trainer_options, "max_trials": n_trials, **(trainer or {})},
                    "evaluator": {"failing": failing},
                },
                seed=seed,
                device="cpu",
                workers=workers,
                executor="serial",
            )
            registry = default_registry()
            out.mkdir(exist_ok=True)
            directory = RunDirectory(out)
            with stand_ins(), global_random_state(next(numbers)):
                job = MultiTrialJob(resolve(registry, request), registry, None, directory)
                job.trainer.fit(RunOutput(directory, callbacks=callbacks))
            records = read_trials(out / files.TRIALS)
            return [{name: value for name, value in record.items() if name != "seconds"} for record in records]

        return run

    @pytest.mark.usefixtures("multi_trial")
    def test_its_result_is_the_best_of_what_it_proposed(
        self, quick_search: QuickSearch, tmp_path: Path, n_trials: int
    ) -> None:
        """Every trial is of an architecture of the space, has its own id, and an earlier trial as a parent."""
        spaces: list[SearchSpaceSpec] = []
        results: list[Architecture] = []

        def note(event: Event) -> None:
            if isinstance(event, SearchStarted):
                spaces.append(event.space)
            elif isinstance(event, RunEnded):
                results.append(event.architecture)

        trials = quick_search(tmp_path / "run", callbacks=(note,))
        _check_records(trials, spaces[0], n_trials)
        best = best_first(trials, DistanceEvaluator.objective)[0]
        assert results[-1] == spaces[0].architecture(best["architecture"]), "the result is not the best trial"

    @pytest.mark.usefixtures("multi_trial")
    def test_with_several_workers_each_search_is_the_same(self, quick_search: QuickSearch, tmp_path: Path) -> None:
        """It proposes before it has observed every earlier trial, and gives the same trials each time."""
        trials = quick_search(tmp_path / "one", workers=3)
        assert quick_search(tmp_path / "same", workers=3) == trials

    @pytest.mark.usefixtures("multi_trial")
    @pytest.mark.parametrize("workers", [1, 3])
    def test_killed_anywhere_and_resumed_it_is_the_same_search(
        self, quick_search: QuickSearch, tmp_path: Path, workers: int
    ) -> None:
        """A new mutator that observes the recorded trials proposes what the killed one would have proposed.

        With several workers ``propose`` may return None to observe more trials first. A search that is resumed leaves
        such calls out, so that they must not change anything.
        """
        whole = quick_search(tmp_path / "whole", workers=workers)
        notices: list[str] = []

        def note(event: Event) -> None:
            if isinstance(event, Notice):
                notices.append(event.message)

        ends = [trial["trial"] for trial in whole if trial["status"] != "rejected"]
        for end in sorted({ends[0], ends[len(ends) // 3], ends[len(ends) // 2], *ends[-2:-1]}):

            def kill(event: Event, end: int = end) -> None:
                if isinstance(event, TrialEnded) and event.trial.id == end:
                    raise _KilledError

            with pytest.raises(_KilledError):
                quick_search(tmp_path / "cut", workers=workers, callbacks=(note, kill))
        resumed = quick_search(tmp_path / "cut", workers=workers, callbacks=(note,))
        assert not [message for message in notices if "would propose something else" in message]
        assert resumed == whole

    @pytest.mark.usefixtures("multi_trial")
    def test_it_copes_with_failed_and_rejected_trials(
        self, quick_search: QuickSearch, tmp_path: Path, n_trials: int
    ) -> None:
        """Every third trial fails, and proposals are rejected by a budget and a filter: they have no score."""
        limits = {"max_parameters": "90%", "filter": FILTER}
        spaces: list[SearchSpaceSpec] = []

        def note(event: Event) -> None:
            if isinstance(event, SearchStarted):
                spaces.append(event.space)

        trials = quick_search(tmp_path / "run", trainer=limits, failing=3, callbacks=(note,))
        statuses = {trial["status"] for trial in trials}
        assert statuses == {"done", "failed", "rejected"}, "there is nothing to cope with: raise n_trials"
        _check_records(trials, spaces[0], n_trials)


class _KilledError(BaseException):
    """Ends a search as the death of the process would: nothing catches it."""


def _check_records(trials: Trials, space: SearchSpaceSpec, n_trials: int) -> None:
    assert [trial["trial"] for trial in trials] == list(range(1, len(trials) + 1))
    assert 0 < sum(trial["status"] != "rejected" for trial in trials) <= n_trials
    for trial in trials:
        space.architecture(trial["architecture"])
        assert trial["observed"] < trial["trial"]
        assert trial.get("parent", 0) <= trial["observed"], "a parent is a trial that was observed"
