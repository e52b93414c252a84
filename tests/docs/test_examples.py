"""The examples run, are as short as they are said to be, and the algorithms among them do what their papers say."""

from __future__ import annotations

import csv
import importlib.util
import json
import math
import signal
import sys
from collections import Counter
from pathlib import Path
from statistics import mean
from types import ModuleType

import pytest
import torch
from torch import nn
from torch.utils.data import Dataset

import forked
import nasreg
from interrupting import Died, interrupt_at
from nasreg.errors import IncompatibleError, InterruptedRunError
from nasreg.events import TrialEnded
from nasreg.mutators import SoftmaxMutatorConfig
from nasreg.nn import LayerChoice, candidate_sites
from nasreg.registry import Registry
from nasreg.specs import DataInfo
from nasreg.testing import differences, toy_images

ROOT = Path(__file__).parents[2] / "examples"
EXAMPLES = sorted(ROOT.rglob("*.py"))
PLUGINS = sorted(path.stem for path in (ROOT / "plugins").glob("*.py"))
TRAINING = {"epochs": 1, "batch_size": 16}


@pytest.mark.slow
@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.name)
def test_example_runs(example, tmp_path):
    assert forked.check(forked.script(example, cwd=tmp_path)).out
    assert not any(tmp_path.iterdir())


def test_own_model_and_data_take_less_than_20_lines():
    lines = next(path for path in EXAMPLES if path.name == "own_model.py").read_text().splitlines()
    code = [line for line in lines if line.strip() and not line.startswith(("import ", "from ", '"""', "print("))]
    assert len(code) < 20


# -- the plugins -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def plugins():
    """The modules in examples/plugins, by name."""
    return {name: load(name) for name in PLUGINS}


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"example_{name}", ROOT / f"plugins/{name}.py")
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)  # pydantic looks annotations up there
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def registry(plugins):
    found = Registry()
    found.register(*plugins.values())
    return found


@pytest.fixture(scope="module")
def table(plugins, tmp_path_factory):
    path = tmp_path_factory.mktemp("table") / "table.csv"
    plugins["table_lookup"].write_table(path)
    return path


@pytest.fixture
def seeded():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


class Forbidden(Dataset):
    """Data that nobody may read."""

    def __len__(self):
        return 10

    def __getitem__(self, index):
        raise AssertionError("it was read")


@pytest.fixture
def look_up(registry, table):
    """Searches on the table."""

    def run(algorithm, trials, out=None, **more):
        return nasreg.search(
            "five-layers",
            Forbidden(),
            algorithm,
            evaluator="five-layers-table",
            evaluator_options={"path": str(table)},
            trainer={"max_trials": trials},
            registry=registry,
            out=out,
            seed=1,
            **more,
        )

    return run


@pytest.fixture
def train(registry):
    """Searches with real training."""

    def run(algorithm, out=None, space="chain", evaluator_options=TRAINING, **more):
        small = {"blocks": 2, "channels": 2} if space == "chain" else None
        return nasreg.search(
            space,
            toy_images(64),
            algorithm,
            evaluator_options=evaluator_options,
            space_options=small,
            dataset_options={"validation_fraction": 0.25},
            registry=registry,
            out=out,
            seed=1,
            device="cpu",
            **more,
        )

    return run


def records(run: Path) -> list[dict]:
    """Return the records of the trials of a run in the order in which they were written, without clock times."""
    return [{**json.loads(line), "seconds": None} for line in (run / "trials.jsonl").read_text().splitlines()]


CASES = {
    "regularized_evolution": ("aging-evolution", {"mutator": {"population": 3, "sample": 2}}),
    "reinforce": ("gru-controller", {}),
    "table_lookup": ("random", {}),
    "synflow": ("random", {"evaluator": "synflow", "evaluator_options": None}),
    "successive_halving": ("halving", {}),
    "hill_climbing": ("stochastic-hill-climbing", {}),
}
ON_THE_TABLE = ("regularized_evolution", "reinforce", "table_lookup")


def test_every_multi_trial_example_is_among_the_cases():
    assert {*CASES, "gdas"} == set(PLUGINS)


@pytest.mark.usefixtures("without_report")
@pytest.mark.parametrize("name", CASES)
def test_interrupted_and_resumed_it_has_the_same_trials(name, look_up, train, tmp_path):
    """Once by SIGINT, once as by the death of the process, while the mutator has a state."""
    algorithm, options = CASES[name]

    def search(out, **more):
        if name in ON_THE_TABLE:
            return look_up(algorithm, 8, tmp_path / out, **options, **more)
        return train(algorithm, tmp_path / out, trainer={"max_trials": 8}, **options, **more)

    def at(trial, act):
        return [lambda event: act() if isinstance(event, TrialEnded) and event.trial.id == trial else None]

    def die():
        raise Died

    search("whole")
    with pytest.raises(InterruptedRunError):
        search("cut", callbacks=at(3, lambda: signal.raise_signal(signal.SIGINT)))
    with pytest.raises(Died):
        search("cut", callbacks=at(6, die), resume=True)
    assert len(records(tmp_path / "cut")) == 6
    search("cut", resume=True)
    assert records(tmp_path / "cut") == records(tmp_path / "whole")
    assert len(records(tmp_path / "whole")) >= 8


def test_the_oldest_member_dies_and_scores_rise(look_up):
    trials = look_up("aging-evolution", 150, mutator={"population": 20, "sample": 5}).trials
    assert [trial["trial"] for trial in trials if "parent" not in trial] == list(range(1, 21))
    assert all(trial["parent"] >= trial["trial"] - 20 for trial in trials[20:])
    decisions = [trial["architecture"] for trial in trials]
    for trial in trials[20:]:
        ours, parents = decisions[trial["trial"] - 1], decisions[trial["parent"] - 1]
        assert sum(ours[key] != parents[key] for key in ours) == 1
    scores = [trial["score"] for trial in trials]
    assert max(scores) > max(scores[:20])
    assert mean(scores[-20:]) > mean(scores[:20]) + 0.03


def test_the_controller_learns(look_up):
    scores = [trial["score"] for trial in look_up("gru-controller", 300, mutator={"lr": 0.03}).trials]
    assert mean(scores[-50:]) > mean(scores[:50]) + 0.03


@pytest.mark.usefixtures("seeded")
@torch.no_grad()
def test_a_controller_draws_what_it_is_told_with_the_same_probability(plugins):
    """Drawn or given, an episode is the same; its probabilities are those of a distribution over all architectures."""
    space = nasreg.extract_space(nn.ModuleList([LayerChoice([nn.ReLU(), nn.Tanh()], key=key) for key in "ab"]))
    controller = plugins["reinforce"].Controller(space, 4)
    drawn = controller()
    told = controller(drawn.indices)
    assert told.indices == drawn.indices
    assert torch.equal(told.log_probability, drawn.log_probability)
    total = sum(controller([a, b]).log_probability.exp() for a in range(2) for b in range(2))
    assert float(total) == pytest.approx(1)


def test_a_table_gives_its_own_values_and_no_data_are_read(look_up, table, registry):
    one, same = (look_up("random", 50).trials for _ in range(2))
    assert [{**trial, "seconds": 0} for trial in one] == [{**trial, "seconds": 0} for trial in same]
    with table.open() as file:
        rows = {tuple(row[f"layer{number}"] for number in range(5)): row for row in csv.DictReader(file)}
    assert len(rows) == 4**5
    done = [trial for trial in one if trial["status"] == "done"]
    assert len(done) == 50
    for trial in done:
        row = rows[tuple(trial["architecture"].values())]
        assert (trial["score"], trial["metrics"]) == (
            float(row["score"]),
            {"training_seconds": float(row["seconds"])},
        )
    with pytest.raises(IncompatibleError, match="it scores those of: five-layers"):
        nasreg.search("chain", Forbidden(), "random", evaluator="five-layers-table", registry=registry)


def test_synflow_is_the_flow_of_each_layer(plugins):
    """Without biases every layer passes the whole flow R on (2006.05467, theorem 1), so that 2 layers have 2 R."""
    network = nn.Sequential(nn.Conv2d(1, 3, 2, bias=False), nn.ReLU(), nn.Flatten(), nn.Linear(27, 2, bias=False))
    per_channel = network[0].weight.detach().double().abs().sum((1, 2, 3))
    flow = (network[3].weight.detach().double().abs().sum(0) * per_channel.repeat_interleave(9)).sum()
    info = DataInfo(channels=1, height=4, width=4, classes=("a", "b"))
    score = plugins["synflow"].synflow(network, info, torch.device("cpu"))
    assert score == pytest.approx(math.log(2 * float(flow)))


def test_synflow_grows_with_the_width(registry):
    scores = []
    for channels in (2, 8):
        result = nasreg.search(
            "chain",
            toy_images(16),
            "random",
            evaluator="synflow",
            trainer={"max_trials": 5},
            space_options={"channels": channels},
            registry=registry,
            seed=1,
        )
        scores.append({str(trial["architecture"]): trial.get("score", 0) for trial in result.trials})
    narrow, wide = scores
    assert narrow.keys() == wide.keys()
    assert all(wide[key] > narrow[key] for key in narrow)


@pytest.mark.usefixtures("without_report")
def test_successive_halving_has_rungs(train, tmp_path):
    trials = train("halving", tmp_path / "run", evaluator_options={**TRAINING, "epochs": 4}).trials
    assert [trial.get("fidelity", 1) for trial in trials] == [0.25] * 6 + [0.5] * 3 + [1]
    for rung, following in ((trials[:6], trials[6:9]), (trials[6:9], trials[9:])):
        best = sorted(rung, key=lambda trial: (-trial["score"], trial["trial"]))[: len(following)]
        assert [trial["parent"] for trial in following] == [trial["trial"] for trial in best]
    for trial in trials[6:]:
        assert trial["architecture"] == trials[trial["parent"] - 1]["architecture"]
    epochs = []
    for trial in trials:
        lines = (tmp_path / f"run/trials/{trial['trial']:06}/metrics.jsonl").read_text().splitlines()
        epochs.append(Counter(json.loads(line)["event"] for line in lines)["epoch"])
    assert epochs == [1] * 6 + [2] * 3 + [4]


@pytest.mark.usefixtures("without_report")
def test_hill_climbing_starts_from_the_weights_of_the_best(train, tmp_path):
    # A learning rate too small to change a weight leaves each as it was at the start.
    options = {**TRAINING, "lr": 1e-30, "weight_decay": 0}
    short = {"evaluator_options": options, "trainer": {"max_trials": 5}}
    trials = train("stochastic-hill-climbing", tmp_path / "run", **short).trials
    best = trials[0]
    for trial in trials[1:]:
        assert trial["parent"] == best["trial"]
        child, parent = weights(tmp_path / "run", trial), weights(tmp_path / "run", best)
        shared = [name for name in child if name in parent and child[name].shape == parent[name].shape]
        assert len(shared) >= 4
        assert all(torch.allclose(child[name], parent[name], rtol=0, atol=1e-20) for name in shared)
        best = max(best, trial, key=lambda each: each["score"])


def weights(run: Path, trial: dict) -> dict[str, torch.Tensor]:
    """Return the weights at the end of a trial, without the statistics of BatchNorm."""
    found = torch.load(run / f"trials/{trial['trial']:06}/weights.pt", weights_only=True)
    return {name: value for name, value in found.items() if name.endswith(("weight", "bias"))}


# -- GDAS --------------------------------------------------------------------------------------------------------------


class Planted(nn.Module):
    """Only one of the layers lets the brightness of an image through; the other has more parameters."""

    def __init__(self):
        super().__init__()
        blind = nn.Sequential(nn.Conv2d(1, 4, 7, padding=3), nn.Hardtanh(0, 0.0001))
        self.layer = LayerChoice({"blind": blind, "seeing": nn.Conv2d(1, 4, 1)}, key="layer")
        self.head = nn.Linear(4, 2)

    def forward(self, x):
        return self.head(self.layer(x).mean((2, 3)))


@pytest.mark.usefixtures("seeded")
def test_gdas_computes_one_candidate_of_each_edge(plugins):
    info = DataInfo(channels=1, height=8, width=8, classes=("dark", "bright"))
    entry = nasreg.get_space("darts")
    config = entry.component.load_config()(cells=2, channels=2, nodes=2, candidates=["max_pool_3x3", "skip_connect"])
    model = entry.component.load_factory()(info, config)
    mutator = plugins["gdas"].GdasMutator(nasreg.extract_space(model), SoftmaxMutatorConfig())
    mutator.attach(model)
    computed: Counter[tuple[str, int | None]] = Counter()
    for site, module in candidate_sites(model):
        module.register_forward_hook(lambda *_, place=(site.choice_path, site.edge): computed.update([place]))
    output = model(torch.rand(2, 1, 8, 8))
    edges = {(site.choice_path, site.edge) for site, _ in candidate_sites(model)}
    assert computed == dict.fromkeys(edges, 1)
    for choice in mutator.space.choices:
        for edge in mutator.answer(choice):
            assert [weight.item() for weight in edge.values()] == pytest.approx([1])
    gradients = torch.autograd.grad(output.square().sum(), list(mutator.parameters()))
    assert all(gradient.abs().sum() > 0 for gradient in gradients)
    drawn = [[list(edge) for edge in mutator.answer(choice)] for choice in mutator.space.choices]
    model(torch.rand(2, 1, 8, 8))
    assert drawn != [[list(edge) for edge in mutator.answer(choice)] for choice in mutator.space.choices]


def test_gdas_finds_the_candidate_that_works(train):
    options = {"epochs": 20, "batch_size": 16, "lr": 0.03, "arch_lr": 0.1}
    result = train("gdas", space=Planted, evaluator_options=None, trainer=options)
    assert result.architecture.decisions == {"layer": "seeing"}
    rows = [epoch["weights"]["layer"][0]["seeing"] for epoch in result.history]
    assert rows[-1] > 0.9 > rows[0]


def test_gdas_keeps_a_budget_in_expectation(train):
    options = {"epochs": 5, "batch_size": 16, "arch_lr": 0.3, "max_parameters": 20, "budget_weight": 100.0}
    result = train("gdas", space=Planted, evaluator_options=None, trainer=options)
    weights = result.history[-1]["weights"]["layer"][0]
    assert weights["seeing"] > 0.9  # it has 8 parameters, the other one 200, the head 10


@pytest.mark.usefixtures("without_report")
def test_gdas_resumes_exactly(train, tmp_path):
    def search(out, **more):
        options = {"epochs": 2, "batch_size": 16}
        return train("gdas", tmp_path / out, Planted, evaluator_options=None, trainer=options, **more)

    search("whole")
    with pytest.raises(InterruptedRunError):
        search("cut", callbacks=[interrupt_at(2)])
    search("cut", resume=True)
    assert not differences(tmp_path / "whole", tmp_path / "cut")
