"""The command ``nasreg compare``: every option, what it prints, its exit codes, and ``nasreg resume`` of a study."""

from __future__ import annotations

import csv
import io
import json
import os
import signal
import time

import pytest
import yaml

from forked import check, nasreg, start

pytestmark = pytest.mark.slow

TABLE = ("--space", "nasbench201", "--budget", "5")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Return a folder with a study of a table, and what its command printed."""
    path = tmp_path_factory.mktemp("command")
    done = check(nasreg("compare", "local-search", *TABLE, "--seeds", "2", "--out", "study", cwd=path))
    (path / "out.txt").write_text(done.out)
    (path / "err.txt").write_text(done.err)
    return path


def test_what_it_prints(folder):
    lines = (folder / "out.txt").read_text().splitlines()
    assert lines[0] == "study study: local-search, random; 4 runs"
    assert lines[1].startswith("1 of 4  local-search on nasbench201, seed 0  ")
    assert "nasbench201: validation accuracy on CIFAR-10" in lines
    assert any(line.split()[:3] == ["algorithm", "runs", "mean"] for line in lines)
    assert "2 seeds; these are too few to tell" in lines[-2]
    assert lines[-1] == "wrote study/index.html"
    assert (folder / "err.txt").read_text() == "next: nasreg compare study --seeds 4\n"


def test_tables_as_files(folder):
    files = ("--csv", "runs.csv", "--latex", "table.tex", "--markdown", "table.md")
    check(nasreg("compare", "study", *files, cwd=folder))
    rows = list(csv.DictReader(io.StringIO((folder / "runs.csv").read_text())))
    assert [(row["algorithm"], row["seed"]) for row in rows][:2] == [("local-search", "0"), ("random", "0")]
    assert all(0 < float(row["regret"]) < 1 and float(row["simulated_seconds"]) > 1000 for row in rows)
    assert (folder / "table.tex").read_text().startswith(r"\begin{table}")
    assert "| algorithm | runs |" in (folder / "table.md").read_text()
    bad = nasreg("compare", "study", "--csv", "nowhere/runs.csv", cwd=folder)
    assert bad.code == 2
    assert "cannot write nowhere/runs.csv: No such file" in bad.err


def test_json_and_quiet(folder):
    found = json.loads(check(nasreg("compare", "study", "--json", cwd=folder)).out)
    assert {each["algorithm"] for each in found["table"]} == {"local-search", "random"}
    assert found["files"] == ["study/index.html"]
    assert len(found["runs"]) == 4
    assert check(nasreg("compare", "study", "-q", cwd=folder)).out == "study\n"


def test_dry_run_writes_nothing(folder):
    done = check(nasreg("compare", "random", *TABLE, "--seeds", "3,5", "--dry-run", cwd=folder))
    found = yaml.safe_load(done.out)
    assert found["seeds"] == [3, 5]
    assert found["budget"] == {"evaluations": 5}
    assert "2 runs, 2 of them to be computed" in done.out
    assert not (folder / "studies").exists()


def test_options_reach_the_study(folder):
    argv = (
        *("compare", "random", "--space", "nasbench201", "--dataset", "digits", "--evaluator", "nasbench201"),
        *("--vary", "evaluator.dataset=[cifar10, cifar100]", "--seeds", "1", "--budget", "3", "--budget", "2epochs"),
        *("--preset", "nasbench201", "--set", "evaluator.seed=0", "--set", "random:trainer.duplicates=reject"),
        *("--retrain", "demo", "--retrain-set", "trainer.epochs=1", "--title", "T", "--device", "cpu", "--dry-run"),
        *("--workers", "2", "--no-pages", "--json"),
    )
    found = json.loads(check(nasreg(*argv, cwd=folder)).out)
    study = found["study"]
    assert study["algorithms"][0]["preset"] == "nasbench201"
    assert study["vary"] == {"evaluator.dataset": ["cifar10", "cifar100"]}
    assert study["settings"] == ["evaluator.seed=0", "random:trainer.duplicates=reject"]
    assert study["retrain"] == {"recipe": "demo", "settings": ["trainer.epochs=1"]}
    assert (study["budget"]["evaluations"], study["budget"]["epochs"]) == (3, 2)
    assert (study["title"], study["device"], found["missing"]) == ("T", "cpu", 2)


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (("darst",), "there is no algorithm 'darst'. Did you mean 'darts'"),
        (("random", "--seeds", "x"), "--seeds 'x' is invalid: expected how many"),
        (("random", "--budget", "5h"), "budget: '5h' is invalid"),
        (("random", "--vary", "evaluator.seed=3"), "--vary 'evaluator.seed=3' is invalid: expected KEY=[A, B]"),
        (("random", "--retrain-set", "trainer.epochs=1"), "--retrain-set needs --retrain RECIPE"),
        (("random", "--preset", "papre"), "no algorithm of the study has a preset 'papre'"),
        (("study.yaml",), "cannot read the study study.yaml"),
        (("study/runs", "--seeds", "3"), "seeds has no meaning for runs that exist"),
        (("study/runs", "random"), "study/runs is a directory and random is none"),
        (("random", "--title", ""), "--title is empty"),
    ],
)
def test_wrong_usage_is_one_line(folder, argv, message):
    done = nasreg("compare", *argv, cwd=folder)
    assert done.code == 2
    assert message in done.err
    assert len(done.err.strip().splitlines()) == 1


def test_runs_that_exist(folder):
    runs = [f"study/runs/nasbench201/random/seed-{seed}" for seed in (0, 1)]
    done = check(nasreg("compare", *runs, cwd=folder))
    assert "there is no other to compare" in done.out
    assert "wrote" not in done.out


@pytest.mark.slow
def test_interrupted_and_resumed(folder):
    argv = ("compare", "local-search", "--space", "nasbench201", "--budget", "300", "--seeds", "60")
    process = start(*argv, "--out", "long", cwd=folder)
    while not list((folder / "long").glob("runs/*/*/seed-5/architecture.json")):
        assert process.poll() is None
        time.sleep(0.02)
    process.send(signal.SIGINT)
    done = process.wait()
    assert done.code == 130
    assert done.err.splitlines()[-1].startswith("nasreg: error: interrupted after ")
    assert done.err.endswith(f"of 120 runs; resume with: nasreg resume {folder / 'long'}\n")
    (folder / "long/study.yaml").write_text((folder / "long/study.yaml").read_text().replace("seeds: 60", "seeds: 8"))
    resumed = check(nasreg("resume", "long", cwd=folder))
    assert "16 of 16" in resumed.out
    refused = nasreg("resume", "long", "--set", "trainer.max_trials=3", cwd=folder)
    assert (refused.code, "is a study" in refused.err) == (2, True)


@pytest.mark.slow
def test_workers_give_the_same_results(folder):
    argv = ("compare", "local-search", *TABLE, "--seeds", "2", "--workers", "2", "--out", "parallel")
    check(nasreg(*argv, cwd=folder))
    results = [json.loads((folder / name / "results.json").read_text())["runs"] for name in ("study", "parallel")]
    assert [each["architecture"] for each in results[0]] == [each["architecture"] for each in results[1]]
    assert os.listdir(folder / "study/runs") == os.listdir(folder / "parallel/runs")


def test_an_ablation_changes_one_option_at_a_time(folder):
    argv = ("ablate", "regularized-evolution", "--set", "mutator.sample=[1, 2]", "--set", "trainer.duplicates=reject")
    common = ("--common", "mutator.population=4", "--common", "evaluator.seed=0")
    refused = nasreg(*argv, *common, *TABLE, "--dry-run", cwd=folder)
    assert refused.code == 2  # random search has no population
    common = ("--common", "evaluator.seed=0")
    found = json.loads(check(nasreg(*argv, *common, *TABLE, "--seeds", "1", "--dry-run", "--json", cwd=folder)).out)
    study = found["study"]
    assert study["title"] == "Ablation of regularized-evolution"
    assert [(each["label"], each["mutator"], each["trainer"]) for each in study["algorithms"]] == [
        ("regularized-evolution", {}, {}),
        ("sample=1", {"sample": 1}, {}),
        ("sample=2", {"sample": 2}, {}),
        ("duplicates=reject", {}, {"duplicates": "reject"}),
        ("", {}, {}),
    ]
    assert found["missing"] == 5


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (("--set", "mutator.sample"), "mutator.sample is 3, which cannot be turned off: give a value"),
        (("--set", "mutator.sampel=3"), "has no option 'mutator.sampel'. Did you mean 'mutator.sample'"),
        (("--set", "mutator.sample=2", "--set", "mutator.sample=[2]"), "the change sample=2 is given twice"),
        ((), "Missing option '--set'"),
    ],
)
def test_ablations_that_are_none(folder, argv, message):
    done = nasreg("ablate", "regularized-evolution", *argv, *TABLE, cwd=folder)
    assert done.code == 2
    assert message in done.err


def test_switches_are_turned_off_and_on(registry):
    from nasreg.specs import AlgorithmSpec, Config, MutatorSpec, Preset
    from nasreg.studies.ablation import ablations

    class Switches(Config):
        aging: bool = True
        greedy: bool = False

    spec = AlgorithmSpec(
        name="switches", summary="s", family="multi-trial", primitives=frozenset({"layer"}),
        mutator=MutatorSpec(factory=Config, config=Switches), presets={"default": Preset(summary="s")},
        default_preset="default", default_space="chain",
    )  # fmt: skip
    mine = type(registry)()
    mine.register(spec)
    found = ablations(mine, "switches", ["mutator.aging,mutator.greedy"])
    assert [each.label for each in found] == ["switches", "aging=false", "greedy=true"]
    assert found[1].mutator == {"aging": False}
