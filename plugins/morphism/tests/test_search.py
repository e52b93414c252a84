"""Searches by network morphism: what is proposed, where its weights come from, and invalid input."""

from __future__ import annotations

import json

import pytest
import torch

import nasreg
from nasreg.errors import NasregError
from nasreg.evaluators import Evaluator
from nasreg.registry import Registry
from nasreg.specs import Architecture, DataInfo, EvaluatorSpec, MetricSpec
from nasreg.testing import toy_images
from nasreg_morphism.chain import Block, aligned, chain_of

pytestmark = pytest.mark.usefixtures("without_report")

SPACE = {"blocks": 3, "widths": (2, 4), "kernels": (1, 3)}
INFO = DataInfo(channels=1, height=8, width=8, classes=("0", "1"))
SHORT = {"epochs": 1, "batch_size": 32, "lr": 0.05}


class Wanted(Evaluator):
    """Scores how near a network is to one of four blocks of width 8, the last with a connection from the first."""

    objective = MetricSpec(name="nearness", title="nearness")

    def evaluate(self, proposal):
        chain = chain_of(proposal.architecture)
        found = -abs(len(chain) - 4) + sum(block.width == 8 for block in chain[:4]) / 4
        return self.score(found + any(skip.source == 0 for skip in chain[-1].skips))


@pytest.fixture(scope="module")
def registry():
    found = Registry()
    found.register(EvaluatorSpec(name="wanted", summary="a made-up score", factory=Wanted))
    return found


def search(algorithm, out=None, **more):
    arguments = {"space_options": SPACE, "evaluator_options": SHORT, "device": "cpu", "seed": 3, **more}
    return nasreg.search("elastic-chain", toy_images(80), algorithm, out=out, **arguments)


def chains(result):
    """Return the chain of each trial by its id."""
    fingerprint = result.architecture.fingerprint
    return {
        trial["trial"]: chain_of(
            Architecture.model_validate({"fingerprint": fingerprint, "decisions": trial["architecture"]})
        )
        for trial in result.trials
    }


@pytest.fixture(scope="module")
def quick(registry):
    def run(algorithm, trials, **mutator):
        return nasreg.search(
            "elastic-chain",
            algorithm=algorithm,
            evaluator="wanted",
            space_options={"blocks": 5, "widths": (2, 4, 8), "kernels": (1, 3)},
            mutator=mutator,
            trainer={"max_trials": trials},
            seed=1,
            registry=registry,
        )

    return run


@pytest.mark.parametrize("kernel", ["embedding", "program"])
def test_morphism_proposes_new_morphs_of_trained_networks(quick, kernel):
    result = quick("morphism", 14, kernel=kernel)
    found = chains(result)
    assert found[1] == (Block(2, 3, 1), Block(2, 3, 2), Block(2, 3, 2))
    assert len(set(found.values())) == 14
    for trial in result.trials[1:]:
        assert trial["parent"] < trial["trial"]
        assert aligned(found[trial["parent"]], found[trial["trial"]]) is not None
    scores = [trial["score"] for trial in result.trials]
    assert max(scores) >= scores[0] + 1


def test_hill_climbing_moves_to_the_best_of_each_step(quick):
    result = quick("hill-climbing", 1 + 4 * 5, neighbours=5, morphs=2)
    found, best = chains(result), result.trials[0]
    for start in range(1, 21, 5):
        step = result.trials[start : start + 5]
        assert {trial["parent"] for trial in step} == {best["trial"]}
        assert found[step[0]["trial"]] == found[best["trial"]]
        assert all(aligned(found[best["trial"]], found[trial["trial"]]) is not None for trial in step)
        best = max(step, key=lambda trial: trial["score"])
    assert best["score"] > result.trials[0]["score"]


def test_a_child_starts_from_the_function_of_its_parent(tmp_path):
    """With the largest depth no morph is deeper: in training mode the child computes what its parent computes."""
    options = {**SHORT, "lr": 1e-30, "batch_size": 64}
    result = search(
        "hill-climbing", tmp_path / "run", mutator={"neighbours": 3, "morphs": 2}, trainer={"max_trials": 4},
        evaluator_options=options,
    )  # fmt: skip
    x = torch.randn(16, 1, 8, 8)

    def network(trial):
        folder = tmp_path / f"run/trials/{trial:06}"
        architecture = Architecture.load(folder / "architecture.json")
        source = nasreg.find_architecture(architecture, space="elastic-chain")
        found = nasreg.build_network(source, INFO, SPACE)
        found.load_state_dict(torch.load(folder / "weights.pt", weights_only=True))
        return found.train()

    found = chains(result)
    assert any(found[trial] != found[1] for trial in (3, 4))
    for trial in (2, 3, 4):
        torch.testing.assert_close(network(trial)(x), network(1)(x), rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_worker_processes_inherit_as_well(tmp_path):
    options = {"trainer": {"max_trials": 5}, "workers": 2}
    processes = search("hill-climbing", tmp_path / "processes", **options)
    serial = search("hill-climbing", tmp_path / "serial", executor="serial", **options)
    assert [trial["score"] for trial in processes.trials] == [trial["score"] for trial in serial.trials]
    assert chains(processes) == chains(serial)
    assert any("parent" in trial for trial in serial.trials)


@pytest.mark.parametrize("algorithm", ["morphism", "hill-climbing"])
def test_given_networks_are_the_start(tmp_path, algorithm):
    first = search("random", tmp_path / "first", trainer={"max_trials": 1})
    text = json.dumps(first.architecture.model_dump(mode="json"))
    result = search(algorithm, trainer={"max_trials": 3, "initial": [text]}, mutator={"start_blocks": 2})
    assert result.trials[1]["parent"] == 1
    assert chains(result)[1] == chain_of(first.architecture)


@pytest.mark.parametrize(
    ("algorithm", "options", "message"),
    [
        ("morphism", {"mutator": {"start_width": 3}}, "mutator.start_width is 3, but the space has 2, 4"),
        ("hill-climbing", {"mutator": {"start_blocks": 4}}, "mutator.start_blocks is 4, but the space has 3 at most"),
        ("morphism", {"space_options": {**SPACE, "strides": (2,)}}, "blocks of stride 1, which the space lacks"),
        ("morphism", {"mutator": {"min_temperature": 1.0}}, "min_temperature 1.0 is not below temperature 1.0"),
        ("hill-climbing", {"mutator": {"neighbours": 1}}, "neighbours"),
        ("morphism", {"mutator": {"kernel": "rbf"}}, "mutator.kernel"),
        ("morphism", {"space": "chain", "space_options": {}}, "requires of a space: elastic_chain"),
        ("morphism", {"evaluator_options": {"inherit_function": "nasreg_morphism.weights:nothing"}}, "nothing"),
        ("morphism", {"evaluator_options": {"inherit_function": "weights"}}, "evaluator.inherit_function"),
    ],
)
def test_invalid_input_is_one_line_before_the_search(tmp_path, algorithm, options, message):
    arguments = {"space": "elastic-chain", "space_options": SPACE, "device": "cpu", **options}
    space = arguments.pop("space")
    with pytest.raises(NasregError, match=message) as caught:
        nasreg.search(space, toy_images(), algorithm, out=tmp_path / "run", **arguments)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run/trials").exists()
