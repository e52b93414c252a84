"""A model of a user's own: its seed, its frozen, pretrained and tied parts, and what is kept of it."""

from __future__ import annotations

import math
import sys
import threading
import warnings
from types import SimpleNamespace

import pytest
import torch
from torch import nn
from torchvision.ops import StochasticDepth

import nasreg
from nasreg.cli import main
from nasreg.errors import NasregError, RunDirectoryError, SpaceError
from nasreg.nn import extract_space
from nasreg.runs.directory import RunDirectory
from nasreg.specs import DataInfo
from nasreg.testing import toy_images
from own_models import WIDTH, Base, Net, conv, retrain, search

INFO = DataInfo(channels=1, height=8, width=8, classes=("0", "1"))
ALGORITHMS = ("darts", "random")
SHORT = {"trainer": {"epochs": 1, "batch_size": 16}, "device": "cpu"}

pytestmark = pytest.mark.usefixtures("without_report")


def loss(result) -> float:
    """Return the training loss of a search."""
    return result.history[0]["train_loss"] if result.history else result.trials[0]["metrics"]["train_loss"]


# -- seeds, frozen and pretrained parts --------------------------------------------------------------------------------


# darts#32, nni#2356
@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("kind", ["class", "function", "instance"])
def test_the_same_seed_gives_the_same_search_however_often_and_whatever_was_drawn_before(kind, algorithm):
    instance = Net()
    space = {"class": Net, "function": lambda: Net(), "instance": instance}[kind]
    losses = []
    for drawn in range(3):
        torch.manual_seed(drawn)
        losses.append(loss(search(space, algorithm, seed=1)))
    assert losses[0] == losses[1] == losses[2]
    assert loss(search(space, algorithm, seed=2)) != losses[0]


class Frozen(Net):
    """A backbone that is frozen, with statistics in layers with and without parameters; and a weight of 7."""

    def __init__(self):
        super().__init__()
        self.backbone = nn.Sequential(nn.Conv2d(1, 1, 1), nn.BatchNorm2d(1), nn.BatchNorm2d(1, affine=False))
        nn.init.constant_(self.backbone[0].weight, 7.0)
        self.backbone.requires_grad_(False)

    def forward(self, x):
        return super().forward(self.backbone(x))


# lightly#1438
@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("instance", [False, True], ids=["class", "instance"])
def test_frozen_parts_keep_their_values_and_statistics(algorithm, instance):
    result = search(Frozen() if instance else Frozen, algorithm)
    networks = [result.model(), retrain(result).network]
    if algorithm == "darts":
        networks += [result.supernet, result.model(keep_weights=True)]
    for network in networks:
        convolution, *norms = network.backbone
        assert convolution.weight.item() == 7.0
        assert not convolution.weight.requires_grad
        for norm in norms:
            assert (norm.running_mean.item(), norm.running_var.item(), norm.num_batches_tracked.item()) == (0, 1, 0)


class Attending(Net):
    """Layers of torch without reset_parameters(), a parameter of the model itself, and its own initial values."""

    def __init__(self):
        super().__init__()
        self.token = nn.Parameter(torch.full((1, 1, WIDTH), 0.5))
        self.attention = nn.MultiheadAttention(WIDTH, 2, batch_first=True)
        self.mix = nn.utils.parametrizations.weight_norm(nn.Linear(WIDTH, WIDTH))
        nn.init.constant_(self.head.bias, 3.0)

    def features(self, x):
        tokens = super().features(x).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.token.expand(len(tokens), -1, -1), tokens], 1)
        return self.mix(self.attention(tokens, tokens, tokens)[0][:, 0])[..., None, None]


# pytorch#107909
@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("instance", [False, True], ids=["class", "instance"])
def test_any_layers_and_initial_values_are_those_of_the_users_code(algorithm, instance):
    result = search(Attending() if instance else Attending, algorithm)
    network = result.model()
    assert network.token.unique().tolist() == [0.5]
    assert network.head.bias.tolist() == [3.0, 3.0]
    assert math.isfinite(retrain(result, trainer={"epochs": 1, "ema": 0.9}).metrics["test_loss"])


class Tied(Net):
    """A layer with two names, and a weight in two layers."""

    def __init__(self):
        super().__init__()
        self.first = conv()
        self.second = self.first
        self.other = nn.Linear(WIDTH, 2)
        self.other.weight = self.head.weight

    def forward(self, x):
        y = self.second(self.first(self.features(self.stem(x)))).mean((2, 3))
        return self.head(y) + self.other(y)


# trl#5150
@pytest.mark.parametrize("instance", [False, True], ids=["class", "instance"])
def test_tied_parts_are_retrained_saved_loaded_and_measured(tmp_path, instance):
    space = Tied() if instance else Tied
    done = retrain(search(space), out=tmp_path / "run")
    assert done.network.first is done.network.second
    assert done.network.head.weight is done.network.other.weight
    found = nasreg.evaluate(tmp_path / "run", toy_images(16, seed=1), space=space)
    assert found.metrics["loss"] == done.metrics["test_loss"]


class Dropping(Net):
    """Drops paths at rates of its own."""

    def __init__(self):
        super().__init__()
        self.paths = nn.ModuleList(StochasticDepth(p, "row") for p in (0.05, 0.3))

    def features(self, x):
        for path in self.paths:
            x = path(self.conv(x)) + x
        return x


# darts#42
def test_the_rates_of_a_users_own_drop_path_stay(tmp_path):
    result = search(Dropping)
    done = retrain(result, trainer={"epochs": 2, "drop_path": 0.2})
    for network in (result.model(), done.network):
        assert [path.p for path in network.paths] == [0.05, 0.3]


# -- what is kept ------------------------------------------------------------------------------------------------------


class Keeping(Net):
    """Keeps a tensor of its last training pass."""

    def features(self, x):
        y = super().features(x)
        if self.training:
            self.kept = [y]
        return y


def old_weight_norm() -> Net:
    model = Net()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        model.head = nn.utils.weight_norm(model.head)
    return model


# pytorch#28594
@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("space", [Keeping, Keeping(), old_weight_norm], ids=["class", "object", "older weight norm"])
def test_tensors_of_a_computation_in_a_model_do_not_cost_the_result(tmp_path, space, algorithm):
    result = search(space, algorithm, out=tmp_path / "run")
    assert RunDirectory(tmp_path / "run").status["state"] == "done"
    assert (tmp_path / "run/cost.json").exists()
    assert result.model()(torch.rand(2, 1, 8, 8)).shape == (2, 2)
    if algorithm == "darts":
        kept = result.model(keep_weights=True)
        assert torch.equal(kept.stem.weight, result.supernet.stem.weight)
    retrain(result, trainer={"epochs": 1, "ema": 0.9}, out=tmp_path / "again")


class Locked(Net):
    def __init__(self):
        super().__init__()
        self.lock = threading.Lock()


class State(Net):
    def get_extra_state(self):
        return {"made": SimpleNamespace()}

    def set_extra_state(self, state):
        pass


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize(
    ("space", "message"),
    [
        (Locked, r"the model Locked cannot be copied, .*lock.* outside of the model"),
        (Locked(), r"the model Locked cannot be copied .*lock.*: give the class or a function that builds it"),
        (old_weight_norm(), r"the model Net cannot be copied .*: give the class or a function that builds it"),
        (State, r"a checkpoint cannot hold model._extra_state.made, a SimpleNamespace: "),
    ],
    ids=["class", "object", "older weight norm", "state"],
)
def test_a_model_that_cannot_be_copied_or_saved_is_found_before_the_search(tmp_path, space, message, algorithm):
    with pytest.raises(SpaceError, match=message) as info:
        search(space, algorithm, out=tmp_path / "run")
    assert "\n" not in str(info.value)
    assert not (tmp_path / "run").exists()


# -- a run over a Python object ----------------------------------------------------------------------------------------


# nni#4918
@pytest.mark.slow
def test_after_a_search_over_an_object_everything_can_be_done_where_the_space_is_named(tmp_path, capsys):
    run, again = tmp_path / "own", tmp_path / "again"
    search(Net(), out=run)
    for attempt in (
        lambda: nasreg.retrain(run, toy_images()),
        lambda: nasreg.find_architecture(run),
        lambda: nasreg.build_network(run, INFO),
    ):
        with pytest.raises(RunDirectoryError, match=r"given as an object \(Net\).*--space package\.module:NAME"):
            attempt()
    for space in (Net, Net(), "own_models:Net"):
        assert nasreg.find_architecture(run, space=space).architecture == RunDirectory(run).architecture
    done = nasreg.retrain(run, (toy_images(32), toy_images(16, seed=1)), space=Net, out=again, **SHORT)
    found = nasreg.evaluate(again, toy_images(16, seed=1), space="own_models:Net")
    assert found.metrics["loss"] == done.metrics["test_loss"]
    loaded = nasreg.load_network(again / "last.safetensors", space=Net)
    assert torch.equal(loaded.stem.weight, done.network.stem.weight)
    export = ["export", str(run), "--space", "own_models:Net", "-o", str(tmp_path / "own.pt2"), "--json"]
    for argv in (["show", str(run)], ["profile", str(run), "--space", "own_models:Net", "-q"], export):
        assert main(argv) == 0, capsys.readouterr().err
    with pytest.raises(NasregError, match="conv"):
        nasreg.find_architecture(run, space=Other).resolve(extract_space(Other()))


class Other(Base):
    def __init__(self):
        super().__init__({"x": conv(), "y": conv(3)})


# -- edits of the code -------------------------------------------------------------------------------------------------

CODE = """
import torch
from torch import nn
from nasreg.nn import LayerChoice

class Net(nn.Module):
    def __init__(self, info):
        super().__init__()
        self.conv = LayerChoice({candidates}, key="conv")
        self.head = nn.Linear(4, info.n_classes)

    def forward(self, x):
        return self.head(torch.relu(self.conv(x)).mean((2, 3)))
"""
FIRST = "[nn.Conv2d(1, 4, 3, padding=1), nn.Conv2d(1, 4, 3, padding=2, dilation=2)]"
EDITS = {
    "order of a list": "[nn.Conv2d(1, 4, 3, padding=2, dilation=2), nn.Conv2d(1, 4, 3, padding=1)]",
    "one candidate": "[nn.Conv2d(1, 4, 3, padding=1), nn.Conv2d(1, 4, 3, padding=3, dilation=3)]",
    "names": "{'b': nn.Conv2d(1, 4, 3, padding=1), 'a': nn.Conv2d(1, 4, 1)}",
    "one more": FIRST.replace("]", ", nn.Conv2d(1, 4, 1)]"),
}


# ray#14667
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_run_is_not_resumed_after_its_candidates_were_edited(tmp_path, monkeypatch, algorithm):
    monkeypatch.setattr(sys, "dont_write_bytecode", True)  # edits follow each other within a second
    code, run = tmp_path / "space.py", tmp_path / "run"
    code.write_text(CODE.replace("{candidates}", FIRST))
    search(f"{code}:Net", algorithm, out=run)
    RunDirectory(run).set_status("interrupted")
    for name, candidates in EDITS.items():
        code.write_text(CODE.replace("{candidates}", candidates))
        with pytest.raises(RunDirectoryError, match=r"has.*since .* was started|than when .* was started") as info:
            search(f"{code}:Net", algorithm, out=run, resume=True)
        assert "conv" in str(info.value), name
    code.write_text(CODE.replace("{candidates}", FIRST))
    search(f"{code}:Net", algorithm, out=run, resume=True)
