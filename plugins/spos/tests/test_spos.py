"""Single Path One-Shot: its generations, mutation and crossover, bad options, and both phases in one run."""

from __future__ import annotations

import random
from collections import Counter

import pytest

import nasreg
from nasreg.config.lookup import find_space
from nasreg.config.request import RunRequest
from nasreg.config.resolve import resolve
from nasreg.errors import ConfigError
from nasreg.events import SupernetProgress, TrialEnded
from nasreg.networks.references import describe_space
from nasreg.registry import default_registry
from nasreg.runs import files
from nasreg.specs import Score, Trial
from nasreg.testing.small import small_options, toy_images
from nasreg_spos.config import SposConfig
from nasreg_spos.mutator import Spos


@pytest.fixture(scope="module")
def space():
    return describe_space(find_space(default_registry(), "shufflenet"), {})


@pytest.fixture
def make(space):
    def make(**options):
        mutator = Spos(space, SposConfig(**options))
        mutator.start(0)
        return mutator

    return make


def step(mutator, value=None, status="done"):
    proposal = mutator.next_proposal()
    trial = Trial(proposal, status, None if value is None else Score(value), observed=mutator.n_observed)
    mutator.record(trial)
    return trial


def differing(one, other):
    return sum(one.decisions[key] != other.decisions[key] for key in one.decisions)


def test_generations_are_those_of_the_paper(make):
    mutator = make()
    rng, seen, parents, by_id = random.Random(1), [], [], {}
    for generation in range(3):
        trials = [step(mutator, rng.random()) for _ in range(50)]
        kinds = Counter("random" if trial.proposal.parent is None else "child" for trial in trials)
        assert kinds == ({"random": 50} if generation == 0 else {"child": 50})
        if parents:
            allowed = {trial.id for trial in parents}
            assert {trial.proposal.parent for trial in trials} <= allowed
            mutations = [differing(trial.architecture, by_id[trial.proposal.parent]) for trial in trials[:25]]
            assert sum(mutations) / 25 == pytest.approx(20 * 0.1 * 3 / 4, abs=0.6)  # a redrawn decision may stay
            for child in trials[25:]:
                pool = {(key, value) for trial in parents for key, value in trial.architecture.decisions.items()}
                assert set(child.architecture.decisions.items()) <= pool
        seen += trials
        by_id |= {trial.id: trial.architecture for trial in trials}
        parents = sorted(seen, key=lambda trial: trial.score, reverse=True)[:10]  # of all so far
        assert mutator.parents == parents


def test_rejected_children_are_tried_again_and_then_replaced_by_random_ones(make):
    mutator = make(population=4, top=2, mutations=2, crossovers=1, attempts=3)
    for value in range(4):
        step(mutator, value)
    for _ in range(6):  # all attempts at mutations
        assert step(mutator, status="rejected").proposal.parent is not None
    child, *others = [step(mutator, 0.5) for _ in range(4)]
    assert child.proposal.parent is not None  # the crossover
    assert [trial.proposal.parent for trial in others] == [None] * 3
    assert [trial.score.value for trial in mutator.parents] == [3, 2]
    assert step(mutator, 1).proposal.parent is not None


def test_a_generation_waits_for_its_last_score(make):
    mutator = make(population=3, top=2, mutations=1, crossovers=1)
    proposals = [mutator.next_proposal() for _ in range(3)]
    assert mutator.next_proposal() is None
    for proposal in proposals[:2]:
        mutator.record(Trial(proposal, "done", Score(proposal.id)))
        assert mutator.next_proposal() is None
    mutator.record(Trial(proposals[2], "failed"))
    assert [trial.id for trial in mutator.parents] == [2, 1]
    assert mutator.next_proposal().parent in (1, 2)


@pytest.mark.parametrize("name", ["darts", "elastic-chain"])
def test_mutation_gives_architectures_of_any_space(name):
    space = describe_space(find_space(default_registry(), name), small_options(name))
    mutator = Spos(space, SposConfig(probability=0.5))
    mutator.start(1)
    architecture = space.sample(random.Random(0))
    changed = 0
    for _ in range(20):
        child = mutator.mutate(architecture)
        space.validate(child)
        changed += child != architecture
        architecture = child
    assert changed > 15


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mutations": 30}, "mutations=30 and crossovers=25 are more than population=50"),
        ({"top": 60}, "top=60 is more than population=50"),
    ],
)
def test_options_that_contradict_each_other_are_refused(options, message, tmp_path):
    with pytest.raises(ConfigError, match=message) as caught:
        nasreg.search(algorithm="spos", preset="paper", mutator=options, out=tmp_path / "run")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run").exists()


def test_the_preset_paper_is_the_published_search():
    spec = resolve(default_registry(), RunRequest(algorithm="spos", preset="paper")).spec
    assert spec.mutator == SposConfig().model_dump(mode="json")
    assert spec.trainer["max_trials"] == 20 * 50
    assert spec.trainer["max_macs"] == 330_000_000
    evaluator = spec.evaluator.options
    assert (evaluator["epochs"], evaluator["batch_size"], evaluator["lr"]) == (120, 1024, 0.5)
    assert spec.space.title == "shufflenet"


@pytest.mark.usefixtures("without_report")
def test_one_run_trains_the_supernet_and_searches_within_the_budget(tmp_path):
    events = []
    result = nasreg.search(
        data=toy_images(),
        algorithm="spos",
        mutator={"population": 3, "top": 2, "mutations": 2, "crossovers": 1},
        trainer={"max_trials": 6, "max_macs": "90%"},
        evaluator_options={"epochs": 2, "batch_size": 16},
        space_options={"stages": 2, "blocks": 2, "channels": 4},
        dataset_options={"validation_fraction": 0.25},
        device="cpu",
        out=tmp_path / "run",
        callbacks=[events.append],
    )
    kinds = [type(event) for event in events if isinstance(event, SupernetProgress | TrialEnded)]
    assert kinds.index(TrialEnded) == kinds.count(SupernetProgress) == 2 * 5
    assert (tmp_path / "run" / files.SUPERNET / files.CHECKPOINT).exists()
    assert len([trial for trial in result.trials if trial["status"] == "done"]) == 6
    assert len({str(trial["architecture"]) for trial in result.trials if trial["status"] == "done"}) == 6
