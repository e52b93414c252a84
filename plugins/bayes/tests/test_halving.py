"""Successive halving and Hyperband: the brackets of the paper, who enters the next rung, failures, small spaces."""

from __future__ import annotations

from itertools import pairwise
from statistics import fmean

import pytest
from torch import nn

from nasreg.errors import ConfigError
from nasreg.nn import LayerChoice
from nasreg_bayes.brackets import hyperband_brackets

EIGHT = {"architectures": 8, "eta": 2}


def rungs(trials):
    """Return the trials of each rung, one after the other."""
    found = []
    for trial in trials:
        fidelity = trial.get("fidelity", 1.0)
        if not found or found[-1][0].get("fidelity", 1.0) != fidelity:
            found.append([])
        found[-1].append(trial)
    return found


def test_the_brackets_are_those_of_the_paper():
    """Table 1 of arXiv 1603.06560: R = 81, eta = 3, n and r of each rung for s = 4, ... 0."""
    table = [
        [(81, 1), (27, 3), (9, 9), (3, 27), (1, 81)],
        [(34, 3), (11, 9), (3, 27), (1, 81)],
        [(15, 9), (5, 27), (1, 81)],
        [(8, 27), (2, 81)],
        [(5, 81)],
    ]
    brackets = hyperband_brackets(81, 3)
    assert [[(rung.size, pytest.approx(rung.fidelity * 81)) for rung in bracket] for bracket in brackets] == table
    assert all(bracket[-1].fidelity == 1 for bracket in hyperband_brackets(1000, 3))
    assert hyperband_brackets(1, 3) == (((1, 1.0),),)


def test_the_best_enter_the_next_rung(search):
    result = search("successive-halving", 15, mutator=EIGHT, evaluator_options={"noise": 2.0})
    steps = rungs(result.trials)
    assert [(len(step), step[0].get("fidelity", 1.0)) for step in steps] == [(8, 0.125), (4, 0.25), (2, 0.5), (1, 1.0)]
    for rung, following in pairwise(steps):
        best = sorted(rung, key=lambda trial: (trial["score"], trial["trial"]))[: len(following)]
        assert [trial["parent"] for trial in following] == [trial["trial"] for trial in best]
        assert [trial["architecture"] for trial in following] == [trial["architecture"] for trial in best]
    assert result.architecture.decisions == result.trials[-1]["architecture"]
    assert len({str(trial["architecture"]) for trial in steps[0]}) == 8


def test_several_workers_and_more_brackets(search):
    result = search("successive-halving", 40, mutator=EIGHT, workers=3, executor="serial")
    assert [len(step) for step in rungs(result.trials)] == [8, 4, 2, 1, 8, 4, 2, 1, 8, 2]


def test_fewer_rungs_leave_several_architectures_with_full_effort(search):
    trials = search("successive-halving", 12, mutator={**EIGHT, "rungs": 2}).trials
    assert [(len(step), step[0].get("fidelity", 1.0)) for step in rungs(trials)] == [(8, 0.5), (4, 1.0)]


def test_hyperband_goes_through_its_brackets_again_and_again(search):
    trials = search("hyperband", 28, mutator={"max_resource": 4, "eta": 2}).trials
    once = [(4, 0.25), (2, 0.5), (1, 1.0), (3, 0.5), (1, 1.0), (3, 1.0)]
    assert [trial.get("fidelity", 1.0) for trial in trials] == [f for n, f in once for _ in range(n)] * 2


def test_what_fails_enters_no_rung_and_what_is_rejected_is_replaced(search):
    trainer = {"max_failures": 50}
    failing = {"failing": True}
    trials = search("successive-halving", 15, mutator=EIGHT, evaluator_options=failing, trainer=trainer).trials
    failed = {trial["trial"] for trial in trials if trial["status"] == "failed"}
    assert failed
    assert not failed & {trial.get("parent") for trial in trials}
    limits = {"max_parameters": "40%"}
    trials = search("successive-halving", 15, mutator=EIGHT, trainer=limits, space_options={"channels": 4}).trials
    assert any(trial["status"] == "rejected" for trial in trials)
    assert [len(step) for step in rungs([t for t in trials if t["status"] != "rejected"])] == [8, 4, 2, 1]


def test_a_rung_in_which_all_fail_ends_its_bracket(search):
    options = {"all_fail_below": 0.2}
    mutator = {"max_resource": 8, "eta": 2}
    trials = search("hyperband", 20, mutator=mutator, evaluator_options=options, trainer={"max_failures": 9}).trials
    assert [(len(step), step[0]["status"]) for step in rungs(trials)][:3] == [(8, "failed"), (6, "done"), (3, "done")]


class Few(nn.Module):
    """A space of four architectures."""

    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList([LayerChoice([nn.Identity(), nn.ReLU()], key=key) for key in "ab"])
        self.head = nn.Linear(1, 2)

    def forward(self, x):
        for layer in self.layers:
            x = layer(x)
        return self.head(x.mean((2, 3)))


def test_a_space_smaller_than_a_rung(search):
    trials = search("successive-halving", 11, Few, mutator=EIGHT).trials
    assert [len(step) for step in rungs(trials)] == [4, 4, 2, 1]
    trials = search("successive-halving", 11, Few, mutator=EIGHT, trainer={"duplicates": "reject"}).trials
    assert [len(step) for step in rungs([t for t in trials if t["status"] == "done"])] == [4, 4, 2, 1]


def test_the_surrogate_finds_better_architectures_than_chance(search):
    mutator = {"max_resource": 9, "eta": 3, "initial": 5}
    means = {}
    for sampler in ("random", "bayes"):
        trials = search("hyperband", 60, mutator={**mutator, "sampler": sampler}).trials
        new = [trial["score"] for trial in trials if "parent" not in trial]
        means[sampler] = fmean(new[-15:])
    assert means["bayes"] < means["random"] - 0.5


def test_too_few_trials_for_one_with_full_effort_are_refused(search, tmp_path):
    with pytest.raises(ConfigError) as caught:
        search("successive-halving", 14, mutator=EIGHT, out=tmp_path / "run")
    assert str(caught.value) == (
        "trainer.max_trials=14 ends the search before any architecture is evaluated with full effort: the first bracket"
        " (8 at 0.125, 4 at 0.25, 2 at 0.5, 1 at 1) takes 15 trials; set trainer.max_trials=15 or more"
    )
    assert not (tmp_path / "run").exists()


def test_too_many_rungs_are_one_line(search):
    with pytest.raises(ConfigError) as caught:
        search("successive-halving", 14, mutator={**EIGHT, "rungs": 5})
    assert str(caught.value) == (
        "mutator: rungs=5 is too many: with eta=2 there are 4 rungs from architectures=8 to one"
    )
