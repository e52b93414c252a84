"""Outputs, wrappers and layers of a user's own model that do not fit, found before the search."""

from __future__ import annotations

from collections import OrderedDict
from functools import partial
from types import SimpleNamespace
from typing import NamedTuple

import pytest
import torch
from torch import Tensor, nn

import nasreg
from nasreg.errors import SpaceError, WeightsError
from nasreg.events import Notice
from nasreg.networks.weights import load_weights
from nasreg.nn import extract_space, freeze
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


# -- outputs -----------------------------------------------------------------------------------------------------------


class Logits(NamedTuple):
    logits: Tensor
    aux_logits: Tensor | None


OUTPUTS = {
    "pair in training": lambda y, model: (y, y) if model.training else y,
    "list with features": lambda y, model: [y, torch.ones(len(y), 7)],
    "mapping": lambda y, model: {"loss": y.sum(), "logits": y},
    "ordered": lambda y, model: OrderedDict(loss=None, logits=y),
    "object": lambda y, model: SimpleNamespace(logits=y, hidden=None),
    "named": lambda y, model: Logits(y, y if model.training else None),
}


class Returning(Net):
    """Returns its logits in another form."""

    def __init__(self, make, outputs=2):
        super().__init__(outputs=outputs)
        self.make = make

    def forward(self, x):
        return self.make(super().forward(x), self)


# nni#3357
@pytest.mark.parametrize("kind", OUTPUTS)
def test_logits_are_found_in_whatever_the_model_returns(tmp_path, kind):
    space = Returning(OUTPUTS[kind])
    search(space, "random")
    done = retrain(search(space), out=tmp_path / "run")
    found = nasreg.evaluate(tmp_path / "run", toy_images(16, seed=1), space=space)
    assert found.metrics["loss"] == done.metrics["test_loss"]
    assert (tmp_path / "run/cost.json").exists()


WRONG_OUTPUTS = {
    "none": (lambda y, model: None, "returns a NoneType: expected a tensor"),
    "mapping": (lambda y, model: {"out": y, "aux": y}, "returns a dict with 'out', 'aux': expected a tensor"),
    "text": (lambda y, model: ("logits", y), "returns a tuple that begins with a str: expected a tensor"),
    "spatial": (
        lambda y, model: y[..., None, None],
        r"returns logits of shape \(2, 2, 1, 1\) .* need \(2, 2\): flatten it",
    ),
    "no batch": (lambda y, model: y[0], r"returns logits of shape \(2,\)"),
    "whole numbers": (lambda y, model: y.argmax(1)[:, None].expand(-1, 2), "returns int64: expected floating-point"),
    "no gradient": (lambda y, model: y.detach(), "cannot be trained: its output depends on no parameter"),
    "evaluation": (lambda y, model: y if model.training else y[:, :1], r"shape \(2, 1\) .*\(in evaluation mode\)"),
}


# ultralytics#4514
@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("kind", WRONG_OUTPUTS)
def test_outputs_that_do_not_fit_are_found_before_the_search(tmp_path, kind, algorithm):
    make, message = WRONG_OUTPUTS[kind]
    with pytest.raises(SpaceError, match=message) as info:
        search(lambda: Returning(make), algorithm, out=tmp_path / "run")
    assert "\n" not in str(info.value)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("outputs", [1, 3, 10])
def test_another_number_of_outputs_than_classes_is_found_before_the_search(outputs, algorithm):
    message = rf"the model Net returns logits of shape \(2, {outputs}\) .* the 2 classes .* info\.n_classes"
    with pytest.raises(SpaceError, match=message):
        search(lambda: Net(outputs=outputs), algorithm)


def test_a_network_is_checked_before_it_is_retrained_on_other_classes(tmp_path):
    result = search(Net)
    three = torch.utils.data.TensorDataset(torch.rand(24, 1, 8, 8), torch.arange(24) % 3)
    with pytest.raises(
        SpaceError, match=r"shape \(2, 2\) for a batch of 2, but the 3 classes of the data need \(2, 3\)"
    ):
        nasreg.retrain(result, (three, three), out=tmp_path / "run", **SHORT)
    assert not (tmp_path / "run").exists()


def test_auxiliary_outputs_of_a_users_model_count_in_a_retraining():
    result = search(lambda: Returning(OUTPUTS["pair in training"]))
    notices: list[str] = []
    losses = [
        retrain(
            result,
            trainer={"epochs": 1, "auxiliary_weight": weight},
            callbacks=[lambda event: notices.append(event.message) if isinstance(event, Notice) else None],
        ).history[0]["train_loss"]
        for weight in (0.0, 1.0)
    ]
    assert losses[1] > 1.5 * losses[0]
    assert notices == []


# -- layers without a size, wrappers, weights of wrapped networks ------------------------------------------------------


class Lazy(Net):
    def __init__(self):
        super().__init__()
        self.head = nn.LazyLinear(2)


def lazy_candidate() -> Net:
    return Base({"a": conv(), "lazy": nn.Sequential(nn.LazyConv2d(WIDTH, 1), nn.LazyBatchNorm2d())})


# lightning#7546
@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize(
    ("space", "message"),
    [
        (Lazy, r"the model's head is a LazyLinear, .* write nn\.Linear with its size"),
        (Lazy(), r"the model's head is a LazyLinear"),
        (lazy_candidate, r"the model's conv\.candidates\.lazy\.0 is a LazyConv2d, .* write nn\.Conv2d with"),
    ],
    ids=["class", "instance", "candidate"],
)
def test_layers_without_a_size_are_named(space, message, algorithm):
    with pytest.raises(SpaceError, match=message):
        search(space, algorithm)


def part_compiled() -> Net:
    model = Net()
    model.stem = torch.compile(model.stem)
    return model


# timm#2003
@pytest.mark.parametrize(
    ("space", "message"),
    [
        (nn.DataParallel(Net()), r"wrapped in DataParallel: give the model itself \(model\.module\)"),
        (lambda: nn.DataParallel(Net()), r"wrapped in DataParallel"),
        pytest.param(
            "compiled", r"torch\.compile, .* give the model itself \(model\._orig_mod\)", marks=pytest.mark.slow
        ),
        pytest.param(part_compiled, r"the model's stem was made by torch\.compile", marks=pytest.mark.slow),
    ],
    ids=["parallel", "function", "compiled", "part"],
)
def test_a_wrapped_model_is_refused_with_the_way_to_unwrap_it(space, message):
    """The compiler of torch takes seconds to be imported, so that it is used in slow tests only."""
    with pytest.raises(SpaceError, match=message):
        search(torch.compile(Net()) if space == "compiled" else space)


# timm#2003
@pytest.mark.parametrize("prefix", ["module.", "_orig_mod."])
def test_weights_of_a_wrapped_network_name_the_prefix_and_the_remedy(tmp_path, prefix):
    from safetensors.torch import save_file

    network = freeze(Net(), extract_space(Net()).architecture({"conv": "c1"}))
    path = tmp_path / "weights.safetensors"
    save_file({f"{prefix}{name}": value for name, value in network.state_dict().items()}, path)
    message = rf"each name begins with '{prefix}'.*network\.{prefix[:-1]}\.state_dict\(\).*removeprefix\('{prefix}'\)"
    with pytest.raises(WeightsError, match=message):
        load_weights(network, path)


@pytest.mark.parametrize("suffix", [".pt", ".pth", ".bin", ".ckpt"])
def test_weights_in_a_file_of_torch_save_name_the_remedy(tmp_path, suffix):
    network = nn.Linear(2, 2)
    path = tmp_path / f"weights{suffix}"
    torch.save(network.state_dict(), path)
    for attempt in (partial(load_weights, network), nasreg.load_network, nasreg.evaluate):
        with pytest.raises(WeightsError, match=r"is a file of torch\.save.*safetensors\.torch\.save_file\(torch\.load"):
            attempt(path)
