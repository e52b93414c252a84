"""The evaluator in searches: what it records, what it reads, what fails, and what a user can get wrong."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.utils.data import Dataset, TensorDataset

import forked
import nasreg
from nasreg.errors import ConfigError, DataError, TrainingError
from nasreg.events import Notice
from nasreg.nn import LayerChoice
from nasreg.testing import toy_images
from nasreg_zerocost import score

pytestmark = pytest.mark.usefixtures("without_report")

SPACE = {"blocks": 2, "channels": 2}


class Forbidden(Dataset):
    """Data that nobody may read."""

    def __len__(self):
        return 40

    def __getitem__(self, index):
        raise AssertionError("it was read")


def search(options, space="chain", data=None, trials=3, **more):
    arguments = {"space_options": SPACE if space == "chain" else None, "seed": 1, "device": "cpu", **more}
    return nasreg.search(
        space,
        data or toy_images(40),
        "random",
        trainer={"max_trials": trials},
        evaluator="zero-cost",
        evaluator_options=options,
        **arguments,
    )


def test_data_are_read_only_if_a_measure_needs_images():
    options = {"measure": "synflow", "metrics": ["zen", "macs"], "zen_repeats": 1, "zen_batch_size": 2}
    result = search(options, data=Forbidden())
    assert result.objective.title == "SynFlow"
    assert all(trial["score"] > 0 and trial["metrics"]["macs"] > 0 for trial in result.trials)
    for reading in ({"measure": "naswot"}, {"metrics": "snip"}, {"load_data": True}):
        with pytest.raises(DataError, match="it was read"):
            search(reading, data=Forbidden())


def test_networks_are_built_for_the_images_that_are_loaded():
    [cifar], [toy] = (search({"measure": "macs", "load_data": load}, trials=1).trials for load in (False, True))
    assert cifar["architecture"] == toy["architecture"]
    assert cifar["score"] > 16 * toy["score"]  # 3x32x32 and ten classes; 1x8x8 and two


def test_scores_are_those_of_the_network_alone():
    alone = search({"measure": "snip", "batch_size": 8}).trials
    among = search({"measure": "zen", "metrics": ["jacob_cov", "snip", "synflow"], "batch_size": 8, "zen_repeats": 1})
    assert [trial["metrics"]["snip"] for trial in among.trials] == [trial["score"] for trial in alone]
    assert set(among.trials[0]["metrics"]) == {"jacob_cov", "snip", "synflow"}
    assert [trial["score"] for trial in search({"measure": "snip", "batch_size": 8}, seed=2).trials] != [
        trial["score"] for trial in alone
    ]


def test_counts_are_exact():
    trial = search({"measure": "parameters", "metrics": ["macs"], "load_data": True}, trials=1)
    network = trial.model()
    assert trial.trials[0]["score"] == sum(parameter.numel() for parameter in network.parameters())
    assert trial.trials[0]["metrics"]["macs"] == score(network, "macs", torch.zeros(1, 1, 8, 8))


def test_images_can_come_from_the_validation_split():
    options = {"measure": "grad_norm", "batch_size": 8}
    train, validation = (search({**options, "split": split}, trials=1).trials for split in ("train", "validation"))
    assert train[0]["architecture"] == validation[0]["architecture"]
    assert train[0]["score"] != validation[0]["score"]
    message = r"the validation split, which evaluator.split names, is empty: set dataset.validation_fraction"
    with pytest.raises(ConfigError, match=message):
        search({**options, "split": "validation"}, dataset_options={"validation_fraction": 0.0})


class Smooth(nn.Module):
    """Some of its architectures have no ReLU, some no parameter but those of the head."""

    def __init__(self) -> None:
        super().__init__()
        self.choice = LayerChoice({"tanh": nn.Tanh(), "relu": nn.ReLU(), "none": nn.Identity()}, key="a")
        self.head = nn.Linear(1, 2)

    def forward(self, x):
        return self.head(self.choice(x).mean((2, 3)))


def test_a_network_without_such_a_score_is_a_failed_trial():
    noise = TensorDataset(torch.randn(40, 1, 8, 8, generator=torch.Generator().manual_seed(0)), torch.arange(40) % 2)
    trials = search({"measure": "naswot", "metrics": ["grad_norm"]}, Smooth, noise).trials
    by_choice = {trial["architecture"]["a"]: trial for trial in trials if trial["status"] != "rejected"}
    assert by_choice["relu"]["status"] == "done"
    for name in ("tanh", "none"):
        assert by_choice[name]["status"] == "failed"
        assert by_choice[name]["reason"] == "the network has no ReLU: choose another measure"
    assert all(trial["status"] == "done" for trial in search({"measure": "grasp"}, Smooth).trials)


def test_a_further_measure_that_does_not_exist_is_recorded_as_null(tmp_path):
    notices = []
    callbacks = [lambda event: notices.append(event.message) if isinstance(event, Notice) else None]
    options = {"measure": "grad_norm", "metrics": ["naswot", "snip"]}
    trials = search(options, Smooth, out=tmp_path / "run", callbacks=callbacks).trials
    assert {trial["status"] for trial in trials} <= {"done", "rejected"}
    assert [trial["metrics"]["naswot"] for trial in trials if trial["status"] == "done"] == [None, None, None]
    for path in (tmp_path / "run").glob("*.json*"):  # there is no NaN in JSON
        assert "NaN" not in path.read_text(), path
    resumed = search(options, Smooth, trials=4, out=tmp_path / "run", resume=True).trials
    assert resumed[: len(trials)] == trials
    assert all(trial["metrics"]["snip"] > 0 for trial in trials if trial["status"] == "done")
    [notice] = (notice for notice in notices if "naswot" in notice)
    assert notice.startswith("trial 1 has no naswot: ")


class Broken(nn.Module):
    """Its loss is no number."""

    def __init__(self) -> None:
        super().__init__()
        self.choice = LayerChoice({"one": nn.Linear(1, 2), "two": nn.Linear(1, 2, bias=False)}, key="a")

    def forward(self, x):
        return self.choice(x.mean((2, 3)) / 0)


def test_a_score_that_is_not_finite_is_a_failed_trial():
    with pytest.raises(TrainingError, match=r"synflow_bn is inf: the first layer whose share is not finite is choice"):
        search({"measure": "synflow_bn", "metrics": ["snip"]}, Broken)


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        (["evaluator.measure=synflo"], "evaluator.measure: 'synflo' is invalid"),
        (["evaluator.metrics=[snip,snip]"], "'snip' is there twice"),
        (["evaluator.batch_size=1"], "evaluator.batch_size: 1 is invalid"),
        (["evaluator.zen_gamma=0"], "evaluator.zen_gamma: 0 is invalid"),
        (["evaluator.batch=4"], "there is no option 'evaluator.batch'"),
    ],
)
def test_what_is_wrong_is_one_line(settings, told):
    argv = [part for each in settings for part in ("--set", each)]
    code, printed, errors = forked.nasreg("run", "random", "--evaluator", "zero-cost", *argv)
    assert (code, printed) == (2, "")
    assert told in errors
    assert len(errors.splitlines()) == 1


def test_as_a_newcomer_types_it(tmp_path):
    small = ["space.cells=2", "space.channels=2", "space.nodes=1", "trainer.max_trials=3"]
    argv = [part for each in ["evaluator.measure=synflow", *small] for part in ("--set", each)]
    done = forked.nasreg(
        "run", "random", "--space", "darts", "--evaluator", "zero-cost", *argv, "--out", tmp_path / "run"
    )
    assert done.code == 0, done.err
    assert "SynFlow" in done.out
