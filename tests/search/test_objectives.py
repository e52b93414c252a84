"""Searches with several objectives: who measures them, the Pareto front in the result, on disk, printed and drawn."""

from __future__ import annotations

import json

import pytest

import nasreg
from evaluators import SCRIPTED, Digits
from interrupting import Died
from nasreg.cli import main
from nasreg.errors import IncompatibleError, RunDirectoryError
from nasreg.events import TrialEnded
from nasreg.mutators import MultiTrialMutator
from nasreg.registry import Registry
from nasreg.report import draw_front
from nasreg.runs.directory import RunDirectory
from nasreg.runs.front import pareto_front
from nasreg.runs.trial_summary import summarize_trials
from nasreg.specs import AlgorithmSpec, Config, MetricSpec, MutatorSpec, Preset
from nasreg.specs.metrics import ACCURACY
from nasreg.specs.trial import PARAMETERS
from nasreg.testing import toy_images
from pages import Page, check

SPARSITY = MetricSpec(name="sparsity", title="sparsity")


class Wanderer(MultiTrialMutator):
    """Proposes random architectures, and observes the costs that it optimises beside the score."""

    objectives = (PARAMETERS,)

    def setup(self):
        self.costs = []

    def propose(self):
        return self.proposal(self.space.sample(self.rng))

    def observe(self, trial):
        self.costs.append(trial.metrics.get("parameters"))


class Hopeful(Wanderer):
    """Optimises what nobody measures."""

    objectives = (SPARSITY,)


def algorithm(name, mutator):
    return AlgorithmSpec(
        name=name,
        summary="random search with two objectives",
        family="multi-trial",
        primitives=frozenset({"layer"}),
        mutator=MutatorSpec(factory=mutator, config=Config),
        presets={"default": Preset(summary="some trials", trainer={"max_trials": 25})},
        default_preset="default",
        default_space="chain",
        evaluator="scripted",
    )


@pytest.fixture(scope="module")
def registry():
    found = Registry()
    found.register(SCRIPTED, algorithm("wanderer", Wanderer), algorithm("hopeful", Hopeful))
    return found


@pytest.fixture(scope="module")
def search(registry):
    def run(out=None, name="wanderer", **more):
        return nasreg.search(Digits, toy_images(8), name, registry=registry, out=out, seed=1, device="cpu", **more)

    return run


@pytest.fixture(scope="module")
def found(search, tmp_path_factory):
    out = tmp_path_factory.mktemp("front") / "run"
    return search(out)


def dominated(trial, others):
    """Whether another trial costs no more in either objective, and less in one; both are lower is better."""
    own = trial["score"], trial["metrics"]["parameters"]
    pairs = [(other["score"], other["metrics"]["parameters"]) for other in others]
    return any(pair != own and pair[0] <= own[0] and pair[1] <= own[1] for pair in pairs)


def test_the_front_is_what_no_trial_dominates(found):
    wanted = [trial for trial in found.trials if not dominated(trial, found.trials)]
    first = {str(trial["architecture"]): trial for trial in reversed(wanted)}  # the same architecture counts once
    assert sorted(trial["trial"] for trial in found.front) == sorted(trial["trial"] for trial in first.values())
    scores = [trial["score"] for trial in found.front]
    assert scores == sorted(scores)  # lower is better
    assert found.objectives == (PARAMETERS,)
    assert found.architecture.decisions == found.front[0]["architecture"]  # the result is the best score


def test_the_core_measures_a_cost_that_the_evaluator_does_not(found):
    for trial in found.trials:  # a digit is a linear layer from one number to one more than the digit
        assert trial["metrics"]["parameters"] == sum(2 * (int(digit) + 1) for digit in trial["architecture"].values())


def test_the_run_directory_has_the_front(found):
    run = RunDirectory(found.run_dir)
    assert run.objectives == (PARAMETERS,)
    assert run.front == found.front
    files = sorted((found.run_dir / "front").iterdir())
    assert [path.name for path in files] == sorted(f"trial-{trial['trial']:06}.json" for trial in found.front)
    architectures = {path.name: nasreg.Architecture.load(path).decisions for path in files}
    for trial in found.front:
        assert architectures[f"trial-{trial['trial']:06}.json"] == trial["architecture"]
    summary = summarize_trials(found.run_dir / "trials.jsonl", run.objective, 3, run.objectives)
    assert summary.front == found.front
    assert len(summary.points) == len(found.trials)


def test_the_page_has_a_chart_and_a_table_of_the_front(found):
    check(found.run_dir / "index.html")
    page = Page(found.run_dir / "index.html")
    assert "cost over parameters" in page.source
    assert f"{len(found.front)} trials on the Pareto front" in page.source
    table = page.source.partition("Best score first")[2].partition("</table>")[0]
    assert table.count("<tr") == len(found.front) + 1
    assert "<svg" in (found.run_dir / "front.svg").read_text()
    assert f"<td>{len(found.front)} trials</td>" in found._repr_html_()


def test_show_prints_the_front(found, capsys):
    assert main(["show", str(found.run_dir)]) == 0
    out = capsys.readouterr().out
    assert f"Pareto front of cost and parameters: {len(found.front)} of 25 trials" in out
    assert "their architectures are in" in out
    assert main(["show", str(found.run_dir), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["front"] == found.front


def test_a_search_with_one_objective_has_no_front(registry, tmp_path, capsys):
    out = tmp_path / "run"
    result = nasreg.search(
        Digits, toy_images(8), "random", evaluator="scripted", trainer={"max_trials": 3}, registry=registry, out=out
    )
    assert (result.front, result.objectives) == ([], ())
    assert not (out / "front").exists()
    assert main(["show", str(out)]) == 0
    assert "Pareto" not in capsys.readouterr().out
    with pytest.raises(RunDirectoryError, match="has no Pareto front: its search has one objective"):
        draw_front(RunDirectory(out), tmp_path / "front.svg")


def test_what_nobody_measures_is_refused(search, tmp_path):
    with pytest.raises(IncompatibleError) as caught:
        search(tmp_path / "run", "hopeful")
    assert str(caught.value) == (
        "the algorithm optimises 'sparsity', which evaluator 'scripted' does not measure; it can optimise: parameters,"
        " macs, latency_ms"
    )
    assert not (tmp_path / "run").exists()


def test_a_resumed_search_has_the_same_front(found, search, tmp_path):
    def die(event):
        if isinstance(event, TrialEnded) and event.trial.id == 10:
            raise Died

    out = tmp_path / "run"
    with pytest.raises(Died):
        search(out, callbacks=[die])

    def without_times(front):
        return [{name: value for name, value in trial.items() if name != "seconds"} for trial in front]

    assert without_times(search(out, resume=True).front) == without_times(found.front)


def record(trial, score, parameters, **more):
    metrics = {} if parameters is None else {"parameters": parameters}
    return {"trial": trial, "score": score, "metrics": metrics, "architecture": {"a": str(trial)}, **more}


@pytest.mark.parametrize(
    ("records", "front"),
    [
        ([record(1, 0.5, 100), record(2, 0.6, 200), record(3, 0.4, 150)], [2, 1]),
        ([record(1, 0.9, 10, fidelity=0.5), record(2, 0.6, 200), record(3, 0.95, 5, fidelity=0.5)], [2]),
        ([record(1, 0.5, None), record(2, 0.4, 100)], [2]),
        ([record(1, 0.5, float("nan")), {"trial": 2, "status": "failed", "architecture": {}}], []),
        ([record(1, 0.5, 100), record(2, 0.5, 100)], [1, 2]),
        ([record(1, 0.5, 100), {**record(2, 0.5, 100), "architecture": {"a": "1"}}], [1]),
    ],
    ids=["dominated", "fidelity", "a value is missing", "none", "equal", "the same architecture"],
)
def test_what_is_on_the_front(records, front):
    assert [trial["trial"] for trial in pareto_front(records, ACCURACY, [PARAMETERS])] == front
    assert pareto_front(records, ACCURACY, []) == []


def test_a_damaged_file_of_objectives_is_one_line(found, tmp_path):
    path = tmp_path / "objective.json"
    path.write_text(json.dumps({"objective": ACCURACY.model_dump(), "objectives": [{"name": 1}]}))
    with pytest.raises(RunDirectoryError, match=r"objective.json is damaged"):
        _ = RunDirectory(tmp_path).objectives
