"""Results are those of the tables, random search finds what its closed form says, and bad input is one line."""

from __future__ import annotations

import json
import pickle
import random
import statistics
from importlib.util import find_spec
from pathlib import Path

import pytest
from nas_bench_graph.architecture import Arch

import nasreg
from nasreg.cli import main
from nasreg.errors import ArchitectureError, ConfigError, IncompatibleError
from nasreg.evaluators import expected_best_of_random
from nasreg_nasbenchgraph.config import DATASETS
from nasreg_nasbenchgraph.table import architecture_counts, find_table

pytestmark = pytest.mark.usefixtures("without_report")

PROTEINS = {
    "space_options": {"operations": DATASETS["proteins"].operations},
    "evaluator_options": {"dataset": "proteins"},
}


def raw(dataset: str) -> dict:
    """Return the table as the package has it."""
    [folder] = find_spec("nas_bench_graph").submodule_search_locations
    return pickle.loads((Path(folder) / f"light/{dataset}.bench").read_bytes())


def search(out=None, trials=30, trainer=None, **more):
    """Search with the algorithm random."""
    options = {"algorithm": "random", "trainer": {"max_trials": trials, **(trainer or {})}, "device": "cpu", **more}
    return nasreg.search("nasbenchgraph", out=out, **options)


@pytest.mark.parametrize("dataset", DATASETS)
def test_the_tables_are_those_of_the_package(dataset):
    table, content = find_table(dataset), raw(dataset)
    assert set(map(int, table.keys)) == set(content)
    assert len(table) == (2_021 if dataset == "proteins" else 26_206)
    for key in random.Random(0).sample(table.keys, 100):
        row, found = table.row(key), content[int(key)]
        values = {name: column[row] for name, column in table.columns.items()}
        assert (values["validation"], values["test"]) == (found["valid_perf"], found["perf"])
        assert values["latency_ms"] == pytest.approx(1e3 * found["latency"])
        assert values["parameters"] == round(1e6 * found["para"])


@pytest.mark.parametrize(
    ("dataset", "optimum", "its_test", "best_test"),
    [("cora", 0.8193, 0.8263, 0.8313), ("arxiv", 0.7367, 0.7195, 0.7239), ("cs", 0.9213, 0.9059, 0.9126)],
)
def test_published_optima(dataset, optimum, its_test, best_test):
    columns = find_table(dataset).columns
    best = columns["validation"].argmax()
    found = (columns["validation"][best], columns["test"][best], columns["test"].max())
    assert found == pytest.approx((optimum, its_test, best_test), abs=5e-5)


def test_a_search_looks_up_what_the_package_would(tmp_path):
    content = raw("photo")
    result = search(tmp_path / "run", evaluator_options={"dataset": "photo"})
    for trial in result.trials:
        edges = [edge for [edge] in trial["architecture"]["graph"]]
        found = content[Arch([source for _, source in edges], [name for name, _ in edges]).valid_hash()]
        assert trial["score"] == found["valid_perf"]
        metrics = {"test_accuracy": found["perf"], "latency_ms": 1e3 * found["latency"]}
        assert trial["metrics"] == pytest.approx({**metrics, "parameters": round(1e6 * found["para"])})
    assert "Amazon-Photo" in result.objective.title


def test_a_search_ends_with_where_its_result_stands(tmp_path, capsys):
    argv = ["run", "random", "--space", "nasbenchgraph", "--set", "trainer.max_trials=40", "--seed", "3"]
    assert main([*argv, "--out", str(tmp_path / "run"), "--json"]) == 0
    printed = capsys.readouterr()
    found = json.loads(printed.out)
    values = find_table("cora").columns["validation"]
    assert found["facts"]["rank"] == 1 + sum(values > found["best_trial"]["score"])
    assert found["facts"]["optimum"] == pytest.approx(0.8193333, abs=1e-6)
    assert found["facts"]["regret"] == pytest.approx(values.max() - found["best_trial"]["score"])
    assert main(["show", str(tmp_path / "run")]) == 0
    shown = capsys.readouterr().out
    assert f"\n{found['genotype']}\n" in shown
    assert "of 26,206" in shown
    assert "± " in shown


def test_random_search_finds_what_its_closed_form_says():
    seeds, trials = 40, 20
    results = [search(trials=trials, seed=seed, trainer={"duplicates": "evaluate"}) for seed in range(seeds)]
    best = [max(trial["score"] for trial in result.trials) for result in results]
    table = find_table("cora")
    counts = architecture_counts(DATASETS["cora"].operations)[list(map(int, table.keys))]
    expected = expected_best_of_random(table.columns["validation"], trials, weights=counts)
    assert {fact.name: fact.value for fact in results[0].facts}["random_search"] == pytest.approx(expected.mean)
    assert abs(statistics.fmean(best) - expected.mean) < 3 * expected.std / seeds**0.5
    assert statistics.stdev(best) == pytest.approx(expected.std, rel=0.4)


def test_proteins_was_measured_with_five_operations():
    result = search(**PROTEINS)
    assert result.objective.title == "validation ROC-AUC on ogbn-proteins"
    facts = {fact.name: fact for fact in result.facts}
    assert facts["rank"].text.endswith("of 2,021")
    assert facts["optimum"].value == pytest.approx(0.85333, abs=1e-5)
    with pytest.raises(
        ConfigError, match=r"no network with gat, .* trained on ogbn-proteins: set space.operations to \["
    ):
        search(evaluator_options={"dataset": "proteins"})


def test_the_rows_are_those_that_the_space_has():
    result = search(space_options={"operations": ["skip", "gcn"]}, trainer={"duplicates": "evaluate"})
    rows = [key for key in find_table("cora").keys if set(key[1:]) <= set("18")]
    assert result.facts[0].text.endswith(f"of {len(rows)}")


def test_skip_alone_is_in_no_table():
    with pytest.raises(ArchitectureError, match=r"\(Cora\) has no result of Arch\(\[0, 1, 2, 3\], \['skip', "):
        search(trainer={"initial": ["Arch([0, 1, 2, 3], ['skip', 'skip', 'skip', 'skip'])"]})


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"evaluator_options": {"dataset": "corra"}}, r"evaluator.dataset: 'corra' is invalid.*'cora', 'citeseer'"),
        ({"evaluator_options": {"path": "/no/such.bench"}}, "evaluator.path: there is no file /no/such.bench"),
        ({"space_options": {"operations": ["gcn", "gcn"]}}, "an operation is named twice"),
        ({"space_options": {"operations": ["gnn"]}}, r"space.operations.0: 'gnn' is invalid"),
        ({"space_options": {"operations": ["skip"]}}, "there is no network of skip alone"),
    ],
)
def test_options_that_no_table_can_meet(tmp_path, options, says):
    with pytest.raises(ConfigError, match=says) as caught:
        search(tmp_path / "run", **options)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run").exists()


ROW = {"valid_perf": 0.5, "perf": 0.5, "latency": 0.01, "para": 1.0}


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ([1], "it holds no mapping from hashes to results"),
        ({}, "it holds no mapping"),
        ({"1": ROW}, "'1' is no hash of an architecture"),
        ({95000: ROW}, "95000 is no hash"),
        ({-1: ROW}, "-1 is no hash"),
        ({1: 1}, "row 1 does not have valid_perf, perf, latency, para"),
        ({1: {"perf": 0.5}}, "row 1 does not have valid_perf"),
        ({1: {**ROW, "perf": 50}}, "row 1 has 50 in 'perf', which is no number from 0 to 1"),
        ({1: {**ROW, "latency": float("nan")}}, "row 1 has nan in 'latency'"),
        ({1: {**ROW, "para": float("inf")}}, "row 1 has inf in 'para'"),
        ({1: {**ROW, "para": "1"}}, "row 1 has '1' in 'para'"),
    ],
)
def test_a_malformed_table(tmp_path, content, says):
    path = tmp_path / "table.bench"
    path.write_bytes(pickle.dumps(content))
    with pytest.raises(ConfigError, match=r"table\.bench is no table of NAS-Bench-Graph: .*") as caught:
        search(tmp_path / "run", evaluator_options={"path": str(path)})
    assert says in str(caught.value)
    assert not (tmp_path / "run").exists()


def test_no_code_in_a_table_is_run(tmp_path):
    path = tmp_path / "table.bench"
    path.write_bytes(pickle.dumps({1: Path("x")}))
    with pytest.raises(
        ConfigError, match=r"table\.bench cannot be read as a pickle of plain data: .*it would call pathlib"
    ):
        search(evaluator_options={"path": str(path)})


def test_a_table_of_ones_own_need_not_have_every_architecture(tmp_path):
    path = tmp_path / "table.bench"
    path.write_bytes(pickle.dumps({1111: ROW}))
    given = {"evaluator_options": {"path": str(path)}, "trials": 1}
    result = search(trainer={"initial": ["Arch([0, 0, 0, 0], ['gcn', 'gcn', 'gcn', 'gcn'])"]}, **given)
    assert result.facts[0].text == "1 of 1"


def test_another_space_is_refused(tmp_path):
    with pytest.raises(IncompatibleError, match=r"'nasbenchgraph' cannot score architectures of search space 'chain'"):
        nasreg.search("chain", "digits", "random", evaluator="nasbenchgraph", out=tmp_path / "run")


def test_there_is_no_network_to_train(capsys, tmp_path):
    argv = ["retrain", "Arch([0, 1, 2, 1], ['gcn', 'gin', 'fc', 'cheb'])", "--out", str(tmp_path / "run")]
    assert main(argv) == 2
    assert "search space 'nasbenchgraph' has no networks" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
