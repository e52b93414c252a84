"""Tables of results: looking up, what counts as time, the facts at the end, and what is refused first."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys

import numpy as np
import pytest

import nasreg
from evaluators import DESCENT, SCRIPTED, Digits
from nasreg.cli import main
from nasreg.errors import ArchitectureError, ConfigError, RunDirectoryError
from nasreg.evaluators import Table, TableEvaluator, expected_best_of_random
from nasreg.registry import Registry
from nasreg.runs.directory import RunDirectory
from nasreg.specs import Config, EvaluatorSpec, MetricSpec
from nasreg.specs.trial import SIMULATED_SECONDS
from nasreg.testing import toy_images

pytestmark = pytest.mark.usefixtures("without_report")

ALL = ["".join(digits) for digits in itertools.product("0123456789", repeat=2)]


class LookupConfig(Config):
    missing: tuple[str, ...] = ()
    column: str = "cost"


class Lookup(TableEvaluator):
    """A table of two digits: their sum, lower is better, and ten seconds for each unit of it."""

    config: LookupConfig
    metrics = (SIMULATED_SECONDS, MetricSpec(name="size", title="size"))
    seconds_column = "seconds"

    @property
    def objective(self) -> MetricSpec:
        return MetricSpec(name=self.config.column, title="cost", higher_is_better=False)

    def read_table(self) -> Table:
        keys = [key for key in ALL if key not in self.config.missing]
        sums = [sum(map(int, key)) for key in keys]
        return Table(keys, {"cost": sums, "seconds": [10 * each for each in sums], "size": range(len(keys))})

    def key(self, architecture) -> str:
        return "".join(str(architecture.decisions[f"digit{place}"]) for place in range(2))


LOOKUP = EvaluatorSpec(name="lookup", summary="adds two digits up", factory=Lookup, config=LookupConfig)


@pytest.fixture(scope="module")
def registry() -> Registry:
    found = Registry()
    found.register(SCRIPTED, DESCENT, LOOKUP)
    return found


@pytest.fixture
def search(registry):
    def run(out=None, trainer=None, **more):
        return nasreg.search(
            Digits,
            toy_images(10),
            "descent",
            evaluator=more.pop("evaluator", "lookup"),
            space_options={"choices": 2},
            trainer={"max_trials": 6, **(trainer or {})},
            registry=registry,
            out=out,
            seed=1,
            device="cpu",
            **more,
        )

    return run


def test_scores_metrics_and_time_are_those_of_the_table(search):
    result = search()
    for trial in result.trials:
        key = "".join(trial["architecture"].values())
        assert trial["score"] == sum(map(int, key))
        assert trial["metrics"] == {"size": ALL.index(key), "simulated_seconds": 10 * trial["score"]}


def test_facts_at_the_end(search, tmp_path):
    result = search(tmp_path / "run")
    best = min(trial["score"] for trial in result.trials)
    facts = {fact.name: fact for fact in result.facts}
    sums = [sum(map(int, key)) for key in ALL]
    assert facts["rank"].value == 1 + sum(each < best for each in sums)
    assert facts["rank"].text == f"{facts['rank'].value} of 100"
    assert (facts["optimum"].value, facts["regret"].value) == (0, best)
    expected = expected_best_of_random(sums, 6, higher_is_better=False)
    assert facts["random_search"].value == expected.mean
    assert facts["random_search"].text.endswith("with 6 evaluations")
    assert facts["simulated_seconds"].value == 10 * sum(trial["score"] for trial in result.trials)
    assert RunDirectory(tmp_path / "run").facts == result.facts
    assert not (tmp_path / "run/cost.json").exists()  # no network was built


def test_facts_are_shown_by_show_and_the_report(search, tmp_path, capsys):
    from nasreg.report import write_report

    search(tmp_path / "run")
    assert "rank in the table" in write_report(tmp_path / "run").read_text()
    assert main(["show", str(tmp_path / "run")]) == 0
    assert "  regret " in capsys.readouterr().out
    assert main(["show", str(tmp_path / "run"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["facts"]["optimum"] == 0
    (tmp_path / "run/facts.json").write_text("[1]")
    with pytest.raises(RunDirectoryError, match=r"facts\.json is damaged"):
        _ = RunDirectory(tmp_path / "run").facts


@pytest.mark.parametrize("workers", [1, 2])
def test_simulated_time_ends_the_search_and_a_larger_budget_extends_it(search, tmp_path, workers):
    more = {"workers": workers, "executor": "serial"}
    whole = search(trainer={"max_trials": 40, "max_seconds": 600}, **more)
    seconds = list(itertools.accumulate(trial["metrics"]["simulated_seconds"] for trial in whole.trials))
    assert seconds[-1] >= 600 > seconds[-1 - workers]
    short = search(tmp_path / "run", trainer={"max_trials": 40, "max_seconds": 300}, **more)
    assert len(short.trials) < len(whole.trials)
    with pytest.raises(RunDirectoryError, match=r"max_seconds=200\.0 \(was 300\.0\)"):
        search(tmp_path / "run", trainer={"max_trials": 40, "max_seconds": 200}, resume=True, **more)
    longer = search(tmp_path / "run", trainer={"max_trials": 40, "max_seconds": 600}, resume=True, **more)
    assert [trial["architecture"] for trial in longer.trials] == [trial["architecture"] for trial in whole.trials]
    endless = search(tmp_path / "run", trainer={"max_trials": 40}, resume=True, **more)
    assert len(endless.trials) == 40


def test_the_time_that_trials_take_counts_where_no_other_is_stated(search):
    result = search(
        trainer={"max_trials": 1000, "max_seconds": 0.2}, evaluator="scripted", evaluator_options={"sleep": 0.05}
    )
    assert 2 <= len(result.trials) <= 4
    assert result.facts == ()


def test_an_architecture_outside_the_table(search, tmp_path):
    space = nasreg.extract_space(Digits(2))
    outside = space.architecture({"digit0": "3", "digit1": "4"})
    options = {"evaluator_options": {"missing": ["34"]}}
    with pytest.raises(ArchitectureError, match="the table has no result of 34"):
        search(tmp_path / "run", trainer={"initial": [outside]}, **options)
    assert not (tmp_path / "run").exists()
    inside = space.architecture({"digit0": "0", "digit1": "0"})
    result = search(trainer={"initial": [inside]}, evaluator_options={"missing": [key for key in ALL if key[0] != "0"]})
    failed = [trial for trial in result.trials if trial["status"] == "failed"]
    assert failed  # the algorithm may propose what the table does not have
    assert all(trial["reason"].startswith("the table has no result of ") for trial in failed)
    assert result.facts[0].text == "1 of 10"


def test_a_column_that_is_missing(search):
    with pytest.raises(ConfigError, match=r"the table lacks the column 'speed'; it has cost, seconds, size"):
        search(evaluator_options={"column": "speed"})
    with pytest.raises(ConfigError, match="the table has no row with cost"):
        search(evaluator_options={"missing": ALL})


def test_a_table_survives_its_file(tmp_path):
    table = Table(["a", "b"], {"x": [1.5, float("nan")], "y": [2, 3]})
    with (tmp_path / "t.npz").open("wb") as file:
        table.save(file)
    loaded = Table.load(tmp_path / "t.npz")
    assert loaded.keys == table.keys
    assert all(np.array_equal(loaded.columns[name], table.columns[name], equal_nan=True) for name in ("x", "y"))
    assert (loaded.row("b"), loaded.row("c")) == (1, None)
    (tmp_path / "t.npz").write_bytes(b"rubbish")
    with pytest.raises(ConfigError, match=r"t\.npz is damaged \(.*\): delete it"):
        Table.load(tmp_path / "t.npz")


@pytest.mark.parametrize(
    ("keys", "columns", "says"),
    [(["a", "a"], {}, "two rows 'a'"), (["a"], {"x": [1, 2]}, r"column 'x' has shape \(2,\)")],
)
def test_a_table_that_contradicts_itself(keys, columns, says):
    with pytest.raises(ValueError, match=says):
        Table(keys, columns)


@pytest.mark.parametrize("replacement", [True, False])
@pytest.mark.parametrize("higher", [True, False])
def test_the_best_of_random_draws_in_closed_form(replacement, higher):
    values = [3.0, 1.0, 4.0, 1.0, 5.0]
    choose = itertools.product if replacement else lambda each, repeat: itertools.permutations(each, repeat)
    best = [(max if higher else min)(drawn) for drawn in choose(values, repeat=3)]
    found = expected_best_of_random(values, 3, higher_is_better=higher, replacement=replacement)
    assert found.mean == pytest.approx(np.mean(best))
    assert found.std == pytest.approx(np.std(best))
    assert found.probability_of_optimum == pytest.approx(np.mean([each == (5 if higher else 1) for each in best]))


def test_rows_that_are_drawn_more_often():
    values, counts = [3.0, 1.0, 4.0], np.array([1, 2, 3])
    drawn = expected_best_of_random(np.repeat(values, counts), 2, higher_is_better=False)
    assert expected_best_of_random(values, 2, higher_is_better=False, weights=counts)[:] == pytest.approx(drawn[:])


def test_no_draws():
    with pytest.raises(ValueError, match="a value and a draw"):
        expected_best_of_random([1.0], 0)
    with pytest.raises(ValueError, match="weights need draws with replacement"):
        expected_best_of_random([1.0], 1, replacement=False, weights=np.ones(1))
    with pytest.raises(ValueError, match="one for each value"):
        expected_best_of_random([1.0], 1, weights=np.ones(2))


def test_the_baseline_knows_how_many_architectures_share_a_row():
    """Pairs of digits share the row of their sum."""

    class Sums(Lookup):
        architectures_column = "architectures"

        def read_table(self):
            counts = [sum(sum(map(int, key)) == total for key in ALL) for total in range(19)]
            columns = {name: range(19) for name in ("cost", "seconds", "size")}
            return Table([str(total) for total in range(19)], {**columns, "architectures": counts})

        def key(self, architecture):
            return str(sum(map(int, super().key(architecture))))

    registry = Registry()
    registry.register(DESCENT, EvaluatorSpec(name="sums", summary="adds up", factory=Sums, config=LookupConfig))
    more = {"evaluator": "sums", "space_options": {"choices": 2}, "registry": registry, "device": "cpu"}
    result = nasreg.search(Digits, toy_images(10), "descent", trainer={"max_trials": 6}, **more)
    facts = {fact.name: fact for fact in result.facts}
    assert facts["rank"].text.endswith(" of 19")
    sums = [sum(map(int, key)) for key in ALL]
    assert facts["random_search"].value == pytest.approx(expected_best_of_random(sums, 6, higher_is_better=False).mean)


def test_reading_imports_no_torch():
    code = (
        "import sys, nasreg.runs.cache; from nasreg.evaluators import load_plain_pickle, expected_best_of_random;"
        " sys.exit('torch' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
