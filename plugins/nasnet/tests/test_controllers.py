"""The algorithms: what they learn from, in which order, and what they refuse."""

from __future__ import annotations

import pytest
import torch

import nasreg
from nasreg.cli import main
from nasreg.config.lookup import find_space
from nasreg.mutators import PolicyGradient, Ppo, RecurrentPolicy, TabularPolicy
from nasreg.networks.references import describe_space
from nasreg.registry import default_registry
from nasreg.specs import Proposal, Score, Trial
from nasreg_nasnet.config import NasnetConfig, ReinforceConfig
from nasreg_nasnet.mutator import ControllerMutator


@pytest.fixture(scope="module")
def space():
    return describe_space(find_space(default_registry(), "chain"), {"blocks": 2, "channels": 2})


def made(space, config):
    mutator = ControllerMutator(space, config)
    mutator.start(1)
    return mutator


def parameters(mutator):
    return torch.cat([each.detach().flatten().clone() for each in mutator.policy.parameters()])


def scored(proposal, value=1.0, *, higher=True):
    return Trial(proposal, "done", Score(value, {}, higher))


@pytest.mark.parametrize(
    ("config", "policy", "learner"),
    [
        (NasnetConfig(), RecurrentPolicy, Ppo),
        (NasnetConfig(update="reinforce"), RecurrentPolicy, PolicyGradient),
        (NasnetConfig(policy="tabular"), TabularPolicy, Ppo),
        (ReinforceConfig(), TabularPolicy, PolicyGradient),
        (ReinforceConfig(policy="recurrent"), RecurrentPolicy, PolicyGradient),
    ],
)
def test_policies_and_updates_combine(space, config, policy, learner):
    mutator = made(space, config.model_copy(update={"children": 2, "lr": 0.1}))
    assert (type(mutator.policy), type(mutator.learner)) == (policy, learner)
    start = parameters(mutator)
    for number, changes in ((1, False), (2, True), (3, False), (4, True)):
        before = parameters(mutator)
        mutator.record(scored(mutator.next_proposal(), float(number)))
        assert torch.equal(parameters(mutator), before) != changes
    assert not torch.equal(parameters(mutator), start)
    large = parameters(mutator) if policy is RecurrentPolicy else None
    assert large is None or float(start.abs().max()) <= 0.1


def test_only_scores_of_its_own_architectures_teach(space):
    mutator = made(space, ReinforceConfig(baseline_order="after", baseline_bias_correction=False))
    mutator.record(scored(mutator.next_proposal()))  # the first reward is the baseline
    before = parameters(mutator)
    failed, rejected, changed = (mutator.next_proposal() for _ in range(3))
    mutator.record(Trial(failed, "failed", reason="no"))
    mutator.record(Trial(rejected, "rejected", reason="no"))
    other = next(each for each in space.neighbours(changed.architecture))
    mutator.record(scored(Proposal(changed.id, other), 5.0))  # a record that was changed
    given = mutator.proposal(other)
    mutator.add(given)  # of the user
    mutator.record(scored(given, 5.0))
    assert torch.equal(parameters(mutator), before)
    mutator.record(scored(mutator.next_proposal(), 5.0))
    assert not torch.equal(parameters(mutator), before)


def test_lower_is_better_where_the_score_says_so(space):
    found = {}
    for higher in (True, False):
        mutator = made(space, ReinforceConfig(lr=0.3, children=8))
        for _ in range(160):
            proposal = mutator.next_proposal()
            value = float(proposal.architecture.decisions[space.choices[0].key] == space.choices[0].candidates[0])
            mutator.record(scored(proposal, value, higher=higher))
        [first, *_] = mutator.policy.theta.detach().softmax(-1)[:, 0].tolist()
        found[higher] = first
    assert found[True] > 0.8
    assert found[False] < 0.2


@pytest.mark.parametrize("algorithm", ["nasnet", "reinforce"])
def test_it_finds_more_in_the_table_than_random_search(algorithm):
    pytest.importorskip("nasreg_nasbench201")
    means = {}
    for name in (algorithm, "random"):
        options = {"max_trials": 150}
        searches = [
            nasreg.search("nasbench201", "digits", name, preset="nasbench201", trainer=options, seed=seed, device="cpu")
            for seed in (1, 2)
        ]
        means[name] = sum(trial["score"] for each in searches for trial in each.trials[-50:]) / 100
    assert means[algorithm] > means["random"] + 0.02  # it draws better architectures in the end


@pytest.mark.parametrize(
    ("setting", "says"),
    [
        ("mutator.children=0", "mutator.children: 0 is invalid (from --set): should be greater than or equal to 1"),
        ("mutator.baseline_decay=1", "mutator.baseline_decay: 1 is invalid (from --set): should be less than 1"),
        ("mutator.policy=transformer", "should be 'recurrent' or 'tabular'"),
        ("mutator.clip=1.5", "mutator.clip: 1.5 is invalid (from --set): should be less than 1"),
    ],
)
def test_bad_options_are_one_line(setting, says, capsys, tmp_path):
    assert main(["run", "nasnet", "--set", setting, "--out", str(tmp_path / "run")]) == 2
    error = capsys.readouterr().err
    assert says in error
    assert error.count("\n") == 1
    assert not (tmp_path / "run").exists()


def test_several_workers_and_the_resumed_search_are_the_same(tmp_path):
    """With more children than fit between the workers, so that updates happen while proposals are out."""
    pytest.importorskip("nasreg_nasbench201")

    def run(out, **more):
        trainer = {"max_trials": more.pop("trials", 60)}
        return nasreg.search(
            "nasbench201",
            "digits",
            "nasnet",
            preset="nasbench201",
            mutator={"children": 7},
            trainer=trainer,
            seed=3,
            device="cpu",
            out=out,
            workers=3,
            executor="serial",
            **more,
        )

    whole = run(tmp_path / "whole")
    run(tmp_path / "cut", trials=25)
    longer = run(tmp_path / "cut", resume=True)
    for one, other in zip(whole.trials, longer.trials, strict=True):
        assert (one["trial"], one["architecture"], one["score"]) == (
            other["trial"],
            other["architecture"],
            other["score"],
        )
