"""Random search: distinct proposals, scores on the validation split, the best as the result."""

from __future__ import annotations

import json

import pytest
import torch
from torch import nn

import nasreg
from nasreg.errors import ConfigError, TrainingError, UsageError
from nasreg.events import TrialEnded
from nasreg.nn import LayerChoice
from nasreg.testing import toy_images

pytestmark = pytest.mark.usefixtures("without_report")

TRAINER = {"trials": 4, "epochs": 2, "batch_size": 32, "lr": 0.1}
SPACE = {"blocks": 2, "channels": 2}
DATA = {"validation_fraction": 0.25}


def search(out=None, space="chain", space_options=SPACE, callbacks=(), **more):
    arguments = {"trainer": TRAINER, "dataset_options": DATA, "seed": 1, "device": "cpu", **more}
    return nasreg.search(
        space, toy_images(80), "random", out=out, space_options=space_options, callbacks=callbacks, **arguments
    )


def test_the_result_is_the_best_of_distinct_trials(tmp_path):
    ended = []
    result = search(tmp_path / "run", callbacks=[lambda e: ended.append(e) if isinstance(e, TrialEnded) else None])
    assert [(event.trial, event.trials) for event in ended] == [(n, 4) for n in range(4)]
    assert len({event.architecture.to_json() for event in ended}) == 4
    best = max(ended, key=lambda event: event.score)
    assert result.architecture == best.architecture
    assert [trial["trial"] for trial in result.trials] == [1, 2, 3, 4]
    assert [trial["score"] for trial in result.trials] == [event.score for event in ended]
    assert all(trial["parameters"] > 0 and trial["seconds"] > 0 for trial in result.trials)
    assert len(result.history) == 8
    lines = [json.loads(line) for line in (tmp_path / "run/metrics.jsonl").read_text().splitlines()]
    assert [line["trial"] for line in lines if line["event"] == "trial"] == [1, 2, 3, 4]
    # the score is the accuracy on the validation split after the last epoch of a trial
    assert [event.score for event in ended] == [epoch["validation_accuracy"] for epoch in result.history[1::2]]
    assert result.model()(torch.rand(2, 1, 8, 8)).shape == (2, 2)
    with pytest.raises(UsageError, match="no supernet"):
        result.model(keep_weights=True)


def test_without_a_run_directory():
    result = search()
    assert result.run_dir is None
    assert len(result.trials) == 4
    assert search().architecture == result.architecture
    assert [t["architecture"] for t in search(seed=2).trials] != [t["architecture"] for t in result.trials]


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = LayerChoice([nn.Conv2d(1, 2, k, padding=k // 2) for k in (1, 3, 5)], key="a")

    def forward(self, x):
        return self.conv(x).flatten(2).amax(2)


def test_a_class_is_built_anew_for_each_trial_and_an_instance_copied():
    net = Net()
    before = [parameter.detach().clone() for parameter in net.parameters()]
    for space in (Net, net):
        result = search(space=space, space_options=None, trainer={**TRAINER, "trials": 3})
        assert {trial["architecture"]["decisions"]["a"] for trial in result.trials} == {"0", "1", "2"}
        assert result.model()(torch.rand(2, 1, 8, 8)).shape == (2, 2)
    assert all(torch.equal(a, b) for a, b in zip(before, net.parameters(), strict=True))
    kept = dict(net.named_parameters())  # the network of an instance has the weights that it had before the search
    assert all(
        torch.equal(value, kept[name.replace("conv.", f"conv.candidates.{result.architecture.decisions['a']}.")])
        for name, value in result.model().named_parameters()
    )


def test_more_trials_than_architectures_are_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"trainer.trials is 4, but the space has only 3 architectures"):
        search(tmp_path / "run", space=Net, space_options=None)
    assert not (tmp_path / "run").exists()


def test_an_empty_validation_split_is_refused():
    with pytest.raises(
        ConfigError,
        match=r"the validation split, on which trials are scored, is empty: set dataset.validation_fraction",
    ):
        search(dataset_options={"validation_fraction": 0.0})


def test_accumulated_gradients():
    losses = [
        search(trainer={**TRAINER, "trials": 1, "accumulate": accumulate}, space=Net, space_options=None).history
        for accumulate in (1, 4)
    ]
    assert losses[0][-1]["train_loss"] == pytest.approx(losses[1][-1]["train_loss"], rel=1e-4)


def test_a_budget_of_parameters(tmp_path):
    sizes = [trial["parameters"] for trial in search().trials]
    budget = sorted(sizes)[1]
    result = search(tmp_path / "run", trainer={**TRAINER, "max_parameters": budget})
    assert len(result.trials) == 4
    assert max(trial["parameters"] for trial in result.trials) <= budget
    with pytest.raises(
        TrainingError, match=r"none of 100 architectures .* has at most 1 parameters .* raise trainer.max"
    ):
        search(trainer={**TRAINER, "max_parameters": 1})
