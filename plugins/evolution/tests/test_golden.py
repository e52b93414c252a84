"""The algorithms agree with the authors' programs, and ``fidelity.py`` sees where they do not."""

from __future__ import annotations

import copy
import importlib
import json
from pathlib import Path

import pytest

GOLDEN = Path(__file__).parent / "golden"
BENCHMARKS = Path(__file__).parents[3] / "benchmarks"
TRACE, SEARCH = GOLDEN / "regularized_evolution_trace.json", GOLDEN / "nb201_search.json"


@pytest.fixture
def fidelity(monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    return importlib.import_module("fidelity")


def failed(checks) -> list[str]:
    return [check.name for check in checks if not check.ok]


def test_regularized_evolution_repeats_the_program(fidelity):
    checks = list(fidelity.checks(TRACE))
    assert len(checks) == 22
    assert failed(checks) == []


def changed_child(trace):
    trace["cycles_trace"][3]["child"] = trace["cycles_trace"][4]["child"]


def changed_parent(trace):
    trace["cycles_trace"][7]["parent_position"] += 1


def changed_value(trace):
    trace["cycles_trace"][5]["child_val"] *= 1 + 1e-6


def changed_population(trace):
    trace["cycles_trace"][2]["population_after"].reverse()


@pytest.mark.parametrize(
    ("change", "name"),
    [
        (changed_child, "traces[0].child"),
        (changed_parent, "traces[0].parent_position"),
        (changed_value, "traces[0].val"),
        (changed_population, "traces[0].population"),
    ],
)
def test_a_trace_that_differs_fails(fidelity, tmp_path, change, name):
    content = json.loads(TRACE.read_text())
    del content["traces"][1:]
    change(content["traces"][0])
    path = tmp_path / "trace.json"
    path.write_text(json.dumps(content))
    assert failed(fidelity.checks(path)) == [name]


def test_other_draws_are_noticed(fidelity, tmp_path):
    content = json.loads(TRACE.read_text())
    trace = content["traces"][0]
    trace["draws"][6 * trace["population"]][0] += 1  # as if the tournament drew from a larger population
    path = tmp_path / "trace.json"
    path.write_text(json.dumps(content))
    with pytest.raises(fidelity.FileError, match=r"nasreg draws below 10 where the program has drawn \(11, "):
        list(fidelity.checks(path))


def shortened(evaluations: int, methods: list[str], dataset: str = "cifar10") -> dict:
    """Return the file with some methods, as far as so many evaluations."""
    content = json.loads(SEARCH.read_text())
    results = content["cifar10"]
    kept = [count for count in content["meta"]["checkpoints"] if count <= evaluations]
    results["methods"] = {name: {str(n): results["methods"][name][str(n)] for n in kept} for name in methods}
    return {"meta": content["meta"], dataset: results}


METHODS = ["regularized_evolution", "local_search_full_nbhd", "local_search_first_improvement_init10"]


@pytest.mark.slow
def test_searches_agree_with_independent_ones(fidelity, tmp_path, capsys):
    path = tmp_path / "search.json"
    path.write_text(json.dumps(shortened(100, [*METHODS, "reinforce_lr0.01"])))
    checks = list(fidelity.checks(path, seeds=30))
    assert failed(checks) == []
    names = [check.name for check in checks]
    assert "cifar10 val_quantiles" in names
    assert "cifar10 random search without replacement, 500 draws: mean, deviation" in names
    assert "cifar10 regularized_evolution 100: best value, standard errors" in names
    told = capsys.readouterr().err
    if not any("reinforce" in name for name in names):
        assert told == "not compared: reinforce_lr0.01, since algorithm 'reinforce' is not installed\n"


@pytest.mark.slow
def test_all_searches_agree_with_independent_ones(fidelity):
    assert failed(fidelity.checks(SEARCH, seeds=10)) == []


def test_another_algorithm_is_noticed(fidelity, tmp_path):
    content = shortened(100, ["regularized_evolution"])
    other = json.loads(SEARCH.read_text())["cifar10"]["methods"]["local_search_first_improvement"]
    content["cifar10"]["methods"]["regularized_evolution"] = {"100": other["100"]}
    content["cifar10"]["exhaustive"]["val_mean"] += 1e-4
    path = tmp_path / "search.json"
    path.write_text(json.dumps(content))
    wrong = failed(fidelity.checks(path, seeds=20))
    assert "cifar10 val_mean" in wrong
    assert "cifar10 regularized_evolution 100: share at the optimum, standard errors" in wrong
    assert "cifar10 regularized_evolution 100: different architectures, standard errors" in wrong


def without(*keys: str):
    def change(content):
        for key in keys[:-1]:
            content = content[key]
        del content[keys[-1]]

    return change


def renamed_method(content):
    content["cifar10"]["methods"]["annealing"] = content["cifar10"]["methods"].pop("random_search")


def renamed_set(content):
    content["svhn"] = content.pop("cifar10")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (without("meta", "seeds"), "seeds: Field required"),
        (without("cifar10", "exhaustive", "val_mean"), "exhaustive.val_mean"),
        (renamed_method, "there is no method 'annealing'"),
        (renamed_set, "'svhn' is no data set of the table; it has cifar10, cifar100, imagenet"),
    ],
)
def test_a_malformed_file_is_one_line(fidelity, tmp_path, change, says):
    content = copy.deepcopy(shortened(10, ["random_search"]))
    change(content)
    path = tmp_path / "search.json"
    path.write_text(json.dumps(content))
    with pytest.raises(fidelity.FileError, match=says) as caught:
        list(fidelity.checks(path, seeds=2))
    assert "\n" not in str(caught.value)
