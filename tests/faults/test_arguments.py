"""Arguments of the Python API of another kind, none of which is dropped silently."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import nasreg
from nasreg.errors import DataError, SpaceError, UsageError
from nasreg.specs import DataInfo
from nasreg.testing import toy_images
from own_models import Net, retrain, search

INFO = DataInfo(channels=1, height=8, width=8, classes=("0", "1"))
ALGORITHMS = ("darts", "random")
SHORT = {"trainer": {"epochs": 1, "batch_size": 16}, "device": "cpu"}

pytestmark = pytest.mark.usefixtures("without_report")


def loss(result) -> float:
    """Return the training loss of a search."""
    return result.history[0]["train_loss"] if result.history else result.trials[0]["metrics"]["train_loss"]


# -- arguments ---------------------------------------------------------------------------------------------------------

WRONG_ARGUMENTS = {
    "settings": "trainer.epochs=1",
    "seed": "1",
    "mutator": [1],
    "trainer": "epochs=1",
    "workers": "2",
    "executor": 5,
    "callbacks": print,
    "out": 5,
    "resume": "yes",
    "registry": 5,
    "algorithm": Net,
    "preset": 3,
    "evaluator": Net,
    "evaluator_options": [("epochs", 1)],
    "space_options": [("width", 1)],
    "dataset_options": "limit=5",
    "config": 4,
    "device": 0,
}


@pytest.mark.parametrize("name", WRONG_ARGUMENTS)
def test_an_argument_of_another_kind_is_refused(name):
    options = {"algorithm": "darts", name: WRONG_ARGUMENTS[name]}
    with pytest.raises(UsageError, match=rf"^search: {name}=.* is invalid: expected .*, not \w+$"):
        nasreg.search(Net, toy_images(), **options)


@pytest.mark.parametrize("space", [5, 2.5, b"darts", [], (Net,), {"space": Net}], ids=repr)
def test_a_space_of_another_kind_is_refused(space):
    for call in (
        lambda: nasreg.search(space, toy_images()),
        lambda: nasreg.find_architecture("DARTS_V2", space=space),
        lambda: nasreg.profile_space(space, INFO),
        lambda: nasreg.candidate_costs(space, INFO),
    ):
        with pytest.raises(UsageError, match=r"space: .* is invalid: expected a class or function"):
            call()


def test_a_class_is_searched_and_what_builds_no_model_is_refused():
    assert search(Net).space.choices[0].key == "conv"
    for space in (int, dict, print, lambda: 5, lambda: Net):
        with pytest.raises(SpaceError):
            search(space)


@pytest.mark.parametrize(
    "data", [5, None, (), {"a": 1}.keys(), Net, toy_images, (toy_images(), 5)], ids=lambda d: str(d)[:9]
)
def test_data_of_another_kind_are_refused(data):
    with pytest.raises(DataError):
        nasreg.search(Net, data, "darts")


@pytest.mark.parametrize(
    "call",
    [
        lambda: nasreg.retrain(5),
        lambda: nasreg.retrain(Net, toy_images()),
        lambda: nasreg.retrain("DARTS_V2", settings="trainer.epochs=1"),
        lambda: nasreg.retrain("DARTS_V2", trainer=3),
        lambda: nasreg.resume(5),
        lambda: nasreg.evaluate(Net()),
        lambda: nasreg.evaluate("x.safetensors", batch_size="8"),
        lambda: nasreg.evaluate("x.safetensors", batch_size=0),
        lambda: nasreg.build_network("DARTS_V2", (1, 8, 8)),
        lambda: nasreg.build_network("DARTS_V2", INFO, ["cells"]),
        lambda: nasreg.build_network(5, INFO),
        lambda: nasreg.find_architecture({"conv": "c1"}),
        lambda: nasreg.load_network(Net()),
        lambda: nasreg.profile_network(Net, INFO),
        lambda: nasreg.profile_network(nn.Flatten(), INFO, batch_size=True),
        lambda: nasreg.profile_space(Net, (1, 8, 8)),
        lambda: nasreg.export_network(nn.Flatten(), (1, 8, 8), "x.pt2"),
        lambda: nasreg.freeze(Net(), {"conv": "c1"}),
        lambda: nasreg.search(Net, toy_images(), "darts", resume=True),
    ],
)
def test_every_function_refuses_arguments_of_another_kind(call):
    with pytest.raises(UsageError) as info:
        call()
    assert "\n" not in str(info.value)


def test_a_device_of_torch_is_taken_and_a_space_beside_a_result_is_not():
    result = search(Net, device=torch.device("cpu"))
    with pytest.raises(UsageError, match="the result of a search has its space"):
        retrain(result, space=Net)
