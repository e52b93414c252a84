"""A study is ordinary runs under one protocol: it resumes, is extended, and refuses what would not be comparable."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

import nasreg
from nasreg.errors import (
    ConfigError,
    IncompatibleError,
    InterruptedRunError,
    RunDirectoryError,
    TrainingError,
    UnknownNameError,
    UsageError,
)
from nasreg.events import TrialEnded
from nasreg.registry import Registry, default_registry
from nasreg.runs.directory import RunDirectory
from nasreg.specs.study import StudySpec, parse_budget
from nasreg.studies.directory import StudyDirectory
from nasreg.studies.planning import plan_study


def runs(path: Path) -> dict[str, Path]:
    """Return the run directories of a study by their folders."""
    return {str(each.parent.relative_to(path / "runs")): each.parent for each in path.rglob("run.yaml")}


def written(path: Path) -> dict[str, int]:
    """Return when the file of trials of each run was written last."""
    return {name: (run / "trials.jsonl").stat().st_mtime_ns for name, run in runs(path).items()}


def trials(run: Path) -> list[dict]:
    """Return the trials of a run, without times."""
    return [{**each, "seconds": 0} for each in RunDirectory(run).trials]


@pytest.fixture
def copy(study, tmp_path):
    """Return a copy of the study, to be changed."""
    return Path(shutil.copytree(study.path, tmp_path / "copy"))


def test_random_search_is_in_with_as_many_evaluations_and_the_same_seeds(study):
    records = study.records()
    assert {each["algorithm"] for each in records} == {"descent", "random"}
    for name in ("descent", "random"):
        mine = [each for each in records if each["algorithm"] == name]
        assert [each["seed"] for each in mine] == [0, 1, 2, 3]
        assert {each["evaluations"] for each in mine} == {6}


def test_each_run_is_an_ordinary_run_without_a_page(study):
    for run in runs(study.path).values():
        assert RunDirectory(run).status["state"] == "done"
        assert not (run / "index.html").exists()
        assert RunDirectory(run).architecture is not None
    spec = RunDirectory(runs(study.path)["Digits-scripted/random/seed-2"]).spec
    assert (spec.algorithm, spec.seed, spec.trainer["max_trials"]) == ("nasreg-random/random", 2, 6)


@pytest.mark.usefixtures("without_page")
def test_a_run_of_a_study_equals_the_same_search_alone(study, registry):
    options = {"trainer": {"max_trials": 6}, "seed": 1, "evaluator": "scripted", "registry": registry}
    alone = nasreg.search("evaluators:Digits", algorithm="descent", **options)
    [mine] = [each for each in study.runs if each.label == "descent" and each.seed == 1]
    assert mine.architecture == alone.architecture


@pytest.mark.usefixtures("without_page")
def test_pages_of_runs_on_request(sums, tmp_path):
    result = sums(["descent"], tmp_path / "a", seeds=1, random=False, pages=True)
    assert (result.runs[0].path / "index.html").exists()


@pytest.mark.usefixtures("without_page")
def test_without_random(sums, tmp_path):
    assert {run.label for run in sums(["descent"], tmp_path / "a", seeds=1, random=False).runs} == {"descent"}


def test_a_finished_study_computes_nothing_and_writes_the_same_page(study, sums, copy):
    before = written(copy)
    again = sums(["descent"], copy)
    assert written(copy) == before
    assert again.table() == study.table()
    page = (copy / "index.html").read_text()
    assert page.replace(str(copy), str(study.path)) == study.page.read_text()


@pytest.mark.usefixtures("without_page")
def test_more_algorithms_and_seeds_compute_only_these(sums, copy):
    before = written(copy)
    extended = sums([{"algorithm": "descent", "label": "again"}], copy, seeds=[3, 7])
    after = written(copy)
    assert {name: after[name] for name in before} == before
    assert len(after) == 3 * 5
    assert {run.seed for run in extended.runs} == {0, 1, 2, 3, 7}
    assert StudyDirectory(copy).spec.seeds == (0, 1, 2, 3, 7)


@pytest.mark.usefixtures("without_page")
def test_what_is_not_given_stays_as_it_is(sums, copy):
    result = sums([{"algorithm": "random", "label": "more"}], copy, budget=None, seeds=None)
    assert {run.evaluations for run in result.runs} == {6}
    assert len(result.runs) == 3 * 4


@pytest.mark.usefixtures("without_page")
def test_a_larger_budget_extends_all_runs(sums, copy):
    before = {name: trials(run) for name, run in runs(copy).items()}
    result = sums(["descent"], copy, budget=9)
    assert {run.evaluations for run in result.runs} == {9}
    for name, run in runs(copy).items():
        assert trials(run)[:6] == before[name]


@pytest.mark.usefixtures("without_page")
def test_a_run_that_was_killed_is_resumed_to_the_same_result(study, sums, copy):
    name = "Digits-scripted/descent/seed-2"
    run, whole = runs(copy)[name], trials(runs(study.path)[name])
    lines = (run / "trials.jsonl").read_text().splitlines(keepends=True)
    (run / "trials.jsonl").write_text("".join(lines[:3]) + lines[3][:20])
    (run / "architecture.json").unlink()
    RunDirectory(run).set_status("running")
    shutil.rmtree(runs(copy)["Digits-scripted/random/seed-0"])
    sums(["descent"], copy)
    assert trials(run) == whole
    assert RunDirectory(run).status["resumed"] == 1
    assert (copy / "runs/Digits-scripted/random/seed-0/architecture.json").exists()


@pytest.mark.usefixtures("without_page")
def test_ctrl_c_and_the_same_call_again(study, sums, tmp_path):
    seen = []

    def interrupt(event):
        if isinstance(event, TrialEnded):
            seen.append(event)
            if len(seen) == 16:
                raise KeyboardInterrupt

    out = tmp_path / "a"
    with pytest.raises(InterruptedRunError, match=r"interrupted after 2 of 8 runs; resume with: nasreg resume .*/a"):
        sums(["descent"], out, callbacks=[interrupt])
    assert not (out / "index.html").exists()
    result = sums(["descent"], out)
    assert [each["score"] for each in result.records()] == [each["score"] for each in study.records()]


def test_a_run_that_fails_ends_no_other(sums, tmp_path):
    evaluator = {"name": "scripted", "fail": list(range(1, 7))}
    with pytest.raises(
        TrainingError, match="2 of 2 runs failed, the first: descent on Digits, scripted, seed 0: all 6"
    ):
        sums(["descent"], tmp_path / "a", evaluator=evaluator, seeds=1, settings=["trainer.max_failures=9"])
    page = (tmp_path / "a/index.html").read_text()
    assert "Runs that failed" in page
    assert "random on Digits, scripted, seed 0" in page


@pytest.mark.usefixtures("without_page")
def test_failed_trials_are_counted(sums, tmp_path):
    result = sums(["descent"], tmp_path / "a", evaluator={"name": "scripted", "fail": [2]}, seeds=2)
    assert {record["failed"] for record in result.table()} == {2}


@pytest.mark.usefixtures("without_page")
def test_a_time_as_budget(sums, tmp_path):
    evaluator = {"name": "scripted", "sleep": 0.01}
    result = sums(["descent"], tmp_path / "a", evaluator=evaluator, seeds=1, budget="0.05s")
    assert all(2 <= run.evaluations <= 6 for run in result.runs)
    assert all(run.seconds >= 0.05 for run in result.runs)


@pytest.mark.usefixtures("without_page")
def test_varied_options_are_problems_of_their_own(sums, tmp_path):
    result = sums(["descent"], tmp_path / "a", seeds=2, vary={"space.choices": [2, 3], "evaluator.sleep": [0.0]})
    assert [group.title for group in result.groups] == ["Digits, scripted, 2, 0.0", "Digits, scripted, 3, 0.0"]
    assert {len(run.space.choices) for run in result.groups[0].runs} == {2}


def test_a_study_file_has_options_and_labels_of_its_own(sums, registry, tmp_path):
    file = tmp_path / "study.yaml"
    file.write_text(
        "title: Sums\n"
        "algorithms:\n"
        "  - {algorithm: descent, label: short descent, trainer: {max_trials: 3}}\n"
        "  - descent\n"
        "spaces: [{name: 'evaluators:Digits', choices: 2}]\n"
        "evaluators: scripted\n"
        "seeds: [5, 6]\n"
        "budget: 4\n"
        "settings: ['random:trainer.duplicates=reject']\n"
    )
    result = nasreg.compare(file, registry=registry, out=tmp_path / "a")
    assert [(run.label, run.evaluations) for run in result.runs[:3]] == [
        ("short descent", 3),
        ("descent", 4),
        ("random", 4),
    ]
    assert result.runs[2].spec.trainer["duplicates"] == "reject"
    assert result.runs[1].spec.trainer["duplicates"] == "evaluate"
    [difference] = result.groups[0].differences
    assert difference.text == "max_trials: 3 (short descent); 4 (descent, random)"
    assert "<h1>Sums</h1>" in result.page.read_text()
    assert StudySpec.from_yaml((tmp_path / "a/study.yaml").read_text()) == result.spec


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ({"algorithms": ["descend"]}, UnknownNameError, "no algorithm 'descend'. Did you mean 'descent'"),
        ({"space": "evaluators:Digit"}, nasreg.NasregError, "Digit"),
        ({"evaluator": "scripte"}, UnknownNameError, "Did you mean 'scripted'"),
        ({"evaluator": {"name": "scripted", "fial": []}}, ConfigError, "no option 'evaluator.fial'"),
        ({"algorithms": [{"algorithm": "descent", "trainer": {"trials": 3}}]}, ConfigError, "trainer.trials"),
        ({"algorithms": [{"algorithm": "descent", "lable": "x"}]}, ConfigError, "lable"),
        ({"algorithms": ["descent", "descent"]}, ConfigError, "'descent' is given twice"),
        ({"algorithms": ["descent", {"algorithm": "random", "label": "descent"}]}, ConfigError, "two are called"),
        ({"algorithms": ["random", {"algorithm": "random", "label": "Random!"}]}, ConfigError, "would share a folder"),
        ({"settings": ["descnet:trainer.max_trials=3"]}, ConfigError, "no algorithm of the study is called 'descnet'"),
        ({"settings": ["trainer.max_trails=3"]}, ConfigError, "max_trails"),
        ({"vary": {"evaluator.slep": [1]}}, ConfigError, "evaluator.slep"),
        ({"vary": {"evaluator.sleep": []}}, ConfigError, "evaluator.sleep has no values"),
        ({"seeds": 0}, ConfigError, "number of seeds"),
        ({"seeds": [1, 1]}, ConfigError, "seeds are different numbers"),
        ({"seeds": [-1]}, ConfigError, "seeds"),
        ({"budget": "10 minutes"}, ConfigError, "budget: '10 minutes' is invalid"),
        ({"budget": "0"}, ConfigError, "evaluations"),
        ({"budget": "50epochs"}, ConfigError, "evaluator 'scripted' trains for no epochs"),
        ({"retrain": "cifra"}, UnknownNameError, "Did you mean 'cifar"),
        ({"algorithms": ["darts"], "space": "nasbench201", "evaluator": "zero-cots"}, UnknownNameError, "zero-cost"),
        ({"algorithms": ["pdarts"], "space": "nasbench201", "evaluator": None}, IncompatibleError, "pdarts"),
        ({"data": "digit"}, UnknownNameError, "Did you mean 'digits'"),
    ],
)
@pytest.mark.usefixtures("without_page")
def test_what_is_invalid_is_found_before_anything_is_run(sums, tmp_path, given, error, message):
    given = dict(given)
    with pytest.raises(error) as caught:
        sums(given.pop("algorithms", ["descent"]), tmp_path / "a", **given)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "a").exists()


@pytest.mark.usefixtures("without_page")
def test_other_options_of_a_study_are_refused(sums, copy):
    before = written(copy)
    for given, message in [
        ({"budget": 3}, "trainer.max_trials=3"),
        ({"algorithms": [{"algorithm": "descent", "trainer": {"max_failures": 9}}]}, "give this one another label"),
        ({"settings": ["evaluator.sleep=0.001"]}, "other settings"),
        ({"device": "cpu"}, "other device"),
    ]:
        with pytest.raises(RunDirectoryError, match=message):
            sums(given.pop("algorithms", ["descent"]), copy, **given)
    assert written(copy) == before


@pytest.mark.usefixtures("without_page")
def test_a_directory_with_something_else_is_refused(sums, tmp_path):
    (tmp_path / "notes.txt").touch()
    with pytest.raises(RunDirectoryError, match="not empty"):
        sums(["descent"], tmp_path)


@pytest.mark.usefixtures("without_page")
def test_a_study_in_use_is_refused(sums, copy):
    with StudyDirectory(copy).lock(), pytest.raises(RunDirectoryError, match="in use"):
        sums(["descent"], copy)


def test_random_search_that_is_not_installed(monkeypatch, tmp_path):
    monkeypatch.setenv("NASREG_DISABLE", "random")
    with pytest.raises(UnknownNameError, match="A study includes random search; --without-random leaves it out"):
        nasreg.compare(["descent"], out=tmp_path / "a", registry=Registry())


@pytest.mark.usefixtures("without_page")
def test_missing_packages_are_named_before_anything_is_run(sums, tmp_path, monkeypatch):
    monkeypatch.setattr("nasreg.studies.packages.PACKAGES", ("scipy", "no_such_package"))
    with pytest.raises(ConfigError, match=r'a study needs no_such_package: pip install "nasreg\[compare\]"'):
        sums(["descent"], tmp_path / "a")
    assert not (tmp_path / "a").exists()


@pytest.mark.usefixtures("without_page")
def test_the_directory_follows_from_what_is_compared(registry, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    given = {"space": "evaluators:Digits", "evaluator": "scripted", "budget": 2, "registry": registry}
    first = nasreg.compare("descent", seeds=1, **given).path
    assert nasreg.compare(["descent", {"algorithm": "descent", "label": "b"}], seeds=2, **given).path == first
    assert nasreg.compare("descent", seeds=1, **{**given, "budget": 3}).path != first


@pytest.mark.parametrize(
    ("texts", "found"),
    [
        (["100"], {"evaluations": 100}),
        (["1e3 evaluations"], {"evaluations": 1000}),
        (["12000s", "40 epochs"], {"seconds": 12000.0, "epochs": 40}),
        (["0.5 seconds"], {"seconds": 0.5}),
    ],
)
def test_budgets(texts, found):
    assert parse_budget(texts).model_dump(exclude_none=True) == found


@pytest.mark.parametrize(
    ("texts", "message"),
    [(["1.5"], "whole numbers"), (["3", "4"], "given twice"), (["-3"], "invalid"), (["fast"], "invalid")],
)
def test_budgets_that_are_none(texts, message):
    with pytest.raises(ConfigError, match=message):
        parse_budget(texts)


def test_runs_that_exist_are_compared_without_writing(study, tmp_path):
    before = {path: path.stat().st_mtime_ns for path in study.path.rglob("*")}
    result = nasreg.compare([study.path / "runs/Digits-scripted/descent", study.path / "runs/Digits-scripted/random"])
    assert result.page is None
    assert {path: path.stat().st_mtime_ns for path in study.path.rglob("*")} == before
    [group] = result.groups
    assert [(each["algorithm"], each["mean"]) for each in result.table()] == [
        (each["algorithm"], each["mean"]) for each in study.table()
    ]
    assert nasreg.compare([study.path / "runs"], out=tmp_path / "page").page.exists()
    assert group.labels == ["descent", "random"]


@pytest.mark.usefixtures("without_page")
def test_runs_of_other_data_or_space_are_never_pooled(study, sums, tmp_path):
    other = sums(["descent"], tmp_path / "a", seeds=1, settings=["space.choices=2"])
    result = nasreg.compare([study.path / "runs", other.path / "runs"])
    assert len(result.groups) == 2
    assert [len(group.runs) for group in result.groups] == [8, 2]
    assert [group.title.partition(":")[0] for group in result.groups] == [
        "Digits, part 1 of 2",
        "Digits, part 2 of 2",
    ]
    records = [json.loads(json.dumps(each)) for each in result.records()]
    assert len({each["problem"] for each in records}) == 2


@pytest.mark.usefixtures("without_page")
def test_an_algorithm_with_other_options_is_another_row(study, sums, tmp_path):
    other = sums(["random"], tmp_path / "a", seeds=1, budget=3)
    [group] = nasreg.compare([study.path / "runs", other.path / "runs"]).groups
    assert group.labels == ["descent", "random (max_trials=6)", "random (max_trials=3)"]


@pytest.mark.usefixtures("without_page")
def test_runs_of_one_seed_twice_are_named(study, copy):
    [group] = nasreg.compare([study.path / "runs", copy / "runs"]).groups
    assert "2 runs of seed 0 (descent, random)" in [each.text for each in group.differences][-1]


def test_options_have_no_meaning_for_runs_that_exist(study, tmp_path):
    with pytest.raises(UsageError, match="seeds has no meaning for runs that exist"):
        nasreg.compare([study.path / "runs"], seeds=3)
    with pytest.raises(UsageError, match="is a directory and descent is none"):
        nasreg.compare([str(study.path / "runs"), "descent"])
    with pytest.raises(RunDirectoryError, match="there is no run directory"):
        nasreg.compare([study.path / "nothing"])
    (tmp_path / "empty").mkdir()
    with pytest.raises(RunDirectoryError, match="has none in it"):
        nasreg.compare([tmp_path / "empty"])


def test_records_tables_and_figures(study):
    pandas = pytest.importorskip("pandas")
    frame = study.to_pandas()
    assert isinstance(frame, pandas.DataFrame)
    assert len(frame) == 8
    assert study.to_csv().splitlines()[0].startswith("problem,algorithm,seed,state,metric,score")
    assert len(study.to_csv().splitlines()) == 9
    assert study.to_markdown().count("\n| ") == 4
    assert r"\begin{tabular}{lrrrrr}" in study.to_latex()
    for chart in ("evaluations", "seconds", "scores", "ranks"):
        assert study.figure(chart).axes
    with pytest.raises(
        ConfigError, match="has no chart 'critical-difference'; it has evaluations, seconds, scores, ranks"
    ):
        study.figure("critical-difference")
    with pytest.raises(UnknownNameError, match=r"no problem 'Digit'. There are: Digits, scripted"):
        study.group("Digit")
    assert "<table>" in study._repr_html_()


def test_results_are_a_file_too(study):
    found = json.loads((study.path / "results.json").read_text())
    assert found["summary"] == study.summary
    assert len(found["runs"]) == 8
    assert [each["algorithm"] for each in found["table"]] == ["descent", "random"]


def test_the_budget_of_one_shot_searches_is_not_that_of_the_evaluator_that_scores_them():
    spec = StudySpec.model_validate(
        {
            "algorithms": ["darts"],
            "spaces": "nasbench201",
            "datasets": "digits",
            "evaluators": "nasbench201",
            "seeds": 1,
            "budget": "2epochs",
            "baseline": False,
        }
    )
    (planned,) = plan_study(default_registry(), spec).runs
    assert planned.run.trainer_config.epochs == 2
    assert planned.scoring is not None
