"""Random search: distinct proposals, drawn uniformly, the best as the result."""

from __future__ import annotations

import json

import pytest
import torch
from torch import nn

import nasreg
from nasreg.errors import ConfigError, UsageError
from nasreg.events import Notice, TrialEnded
from nasreg.nn import LayerChoice
from nasreg.testing import toy_images

pytestmark = pytest.mark.usefixtures("without_report")

TRAINER = {"max_trials": 4}
SHORT = {"epochs": 2, "batch_size": 32, "lr": 0.1}
SPACE = {"blocks": 2, "channels": 2}
DATA = {"validation_fraction": 0.25}


def search(out=None, space="chain", space_options=SPACE, callbacks=(), **more):
    arguments = {
        "trainer": TRAINER,
        "evaluator_options": SHORT,
        "dataset_options": DATA,
        "seed": 1,
        "device": "cpu",
        **more,
    }
    return nasreg.search(
        space, toy_images(80), "random", out=out, space_options=space_options, callbacks=callbacks, **arguments
    )


def test_the_result_is_the_best_of_distinct_trials(tmp_path):
    ended = []
    result = search(tmp_path / "run", callbacks=[lambda e: ended.append(e) if isinstance(e, TrialEnded) else None])
    assert [(event.trial.id, event.ended, event.max_trials) for event in ended] == [(n, n, 4) for n in range(1, 5)]
    assert len({event.trial.architecture.to_json() for event in ended}) == 4
    best = max(ended, key=lambda event: event.trial.score)
    assert result.architecture == best.trial.architecture
    lines = [json.loads(line) for line in (tmp_path / "run/trials.jsonl").read_text().splitlines()]
    assert result.trials == lines
    assert [line["score"] for line in lines] == [event.trial.score.value for event in ended]
    assert all(line["metrics"]["parameters"] > 0 and line["seconds"] > 0 for line in lines)
    # the score is the accuracy on the validation split after the last epoch of a trial
    for line in lines:
        text = (tmp_path / f"run/trials/{line['trial']:06}/metrics.jsonl").read_text()
        epochs = [each for each in map(json.loads, text.splitlines()) if each["event"] == "epoch"]
        assert len(epochs) == 2
        assert line["score"] == epochs[-1]["validation_accuracy"]
    assert result.objective.title == "validation accuracy"
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
        result = search(space=space, space_options=None, trainer={"max_trials": 3})
        assert {trial["architecture"]["a"] for trial in result.trials if trial["status"] == "done"} == {"0", "1", "2"}
        assert result.model()(torch.rand(2, 1, 8, 8)).shape == (2, 2)
    assert all(torch.equal(a, b) for a, b in zip(before, net.parameters(), strict=True))
    kept = dict(net.named_parameters())  # the network of an instance has the weights that it had before the search
    assert all(
        torch.equal(value, kept[name.replace("conv.", f"conv.candidates.{result.architecture.decisions['a']}.")])
        for name, value in result.model().named_parameters()
    )


def test_a_space_that_is_used_up_ends_the_search_with_what_it_has():
    notices = []
    callbacks = [lambda event: notices.append(event.message) if isinstance(event, Notice) else None]
    result = search(space=Net, space_options=None, callbacks=callbacks)
    assert sum(trial["status"] == "done" for trial in result.trials) == 3
    assert {trial["reason"] for trial in result.trials if trial["status"] == "rejected"} <= {"it was proposed before"}
    assert notices == ["the search ends with what it has: all 3 architectures of the space were proposed"]


def test_an_empty_validation_split_is_refused():
    with pytest.raises(
        ConfigError,
        match=r"the validation split, on which trials are scored, is empty: set dataset.validation_fraction",
    ):
        search(dataset_options={"validation_fraction": 0.0})


def test_accumulated_gradients():
    losses = [
        search(
            trainer={"max_trials": 1}, evaluator_options={**SHORT, "accumulate": n}, space=Net, space_options=None
        ).trials[0]["metrics"]["train_loss"]
        for n in (1, 4)
    ]
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)
