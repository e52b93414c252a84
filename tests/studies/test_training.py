"""A small study with real training: a one-shot algorithm beside random search, retrained; in worker processes, too."""

from __future__ import annotations

import json
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import pytest

import nasreg
from nasreg.runs.directory import RunDirectory
from pages import check
from tiny import DARTS_SPACE

pytestmark = pytest.mark.slow

STUDY = {
    "spaces": [{"name": "darts", **DARTS_SPACE}],
    "datasets": [{"name": "digits", "limit": 60}],
    "evaluators": [{"name": "training", "epochs": 1, "batch_size": 16}],
    "budget": ["2", "1epochs"],
    "settings": ["darts:trainer.batch_size=16"],
    "device": "cpu",
    "retrain": {
        "recipe": "demo",
        "settings": ["space.cells=2", "space.channels=2", "trainer.epochs=1", "dataset.limit=60"],
    },
}


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    out = tmp_path_factory.mktemp("training") / "a"
    return nasreg.compare({"algorithms": ["darts"], "seeds": 1, **STUDY}, out=out, pages=False)


def test_both_families_are_scored_by_the_same_evaluator(study):
    [group] = study.groups
    one_shot, multi_trial = group.runs
    assert (one_shot.label, one_shot.epochs, one_shot.evaluations) == ("darts", 1, 0)
    assert (multi_trial.label, multi_trial.epochs, multi_trial.evaluations) == ("random", 0, 2)
    assert one_shot.evaluator == multi_trial.evaluator
    assert one_shot.judged_on == multi_trial.judged_on == one_shot.data
    assert one_shot.objective.name == multi_trial.objective.name
    score = json.loads((one_shot.path / "score.json").read_text())
    assert score["score"] == one_shot.score
    assert one_shot.scoring_seconds > 0


def test_space_and_data_are_the_same_whatever_the_presets_say(study):
    one_shot, multi_trial = (run.spec for run in study.runs)
    assert one_shot.space == multi_trial.space
    different = {name for name, value in one_shot.dataset.options.items() if multi_trial.dataset.options[name] != value}
    assert different <= {"arch_fraction", "validation_fraction"}


def test_what_is_found_is_retrained_once_and_measured_on_the_test_set(study):
    for run in study.runs:
        place = study.path / "retrained" / run.path.relative_to(study.path / "runs")
        retrained = RunDirectory(place)
        assert retrained.architecture == run.architecture
        assert retrained.status["metrics"]["test_accuracy"] == run.test
        assert retrained.spec.seed == run.seed
        assert run.retrain_seconds > 0
    assert {record["test_mean"] for record in study.table()} == {run.test for run in study.runs}


def test_the_page_says_how_the_families_are_compared(study):
    page = check(study.page, links=True)
    text = " ".join(page.texts["protocol"].split())
    assert "every one-shot search trains one supernet for 1 epochs" in text
    assert "An epoch of a supernet is no evaluation" in text
    assert "measured on the test set once" in text
    assert "test accuracy" in page.texts["problem-1"]
    assert "retraining" in page.texts["problem-1"]


def test_a_score_that_is_missing_is_computed_again(study):
    (study.runs[0].path / "score.json").unlink()
    again = nasreg.compare(study.path)
    assert again.path == study.path
    assert again.runs[0].score == study.runs[0].score


def test_any_executor_computes_the_runs(study, tmp_path):
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        result = nasreg.compare(
            {"algorithms": ["random"], "seeds": 1, **STUDY, "settings": []}, out=tmp_path / "a", executor=pool
        )
    assert result.runs[0].score == study.runs[1].score
    assert result.runs[0].test == study.runs[1].test
