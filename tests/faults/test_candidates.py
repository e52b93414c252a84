"""Candidates of a user's own model that fail, work in place or return something else than the others.

They are found by one pass before the first step, by one-shot and multi-trial searches alike, and named with their
choice.
"""

from __future__ import annotations

import re

import pytest
import torch
from torch import Tensor, nn

from nasreg.errors import SpaceError
from nasreg.events import Notice
from nasreg.nn import Conv2d, InputChoice, LayerChoice, Repeat, ValueChoice, freeze
from nasreg.specs import Architecture
from own_models import WIDTH, Base, Net, conv, search

ALGORITHMS = ("darts", "random")

pytestmark = pytest.mark.usefixtures("without_report")


class Calls(nn.Module):
    """A function of one tensor as a module with weights."""

    def __init__(self, function):
        super().__init__()
        self.conv = conv()
        self.function = function

    def forward(self, x: Tensor):
        """Convolve, and call the function on the input and the output."""
        return self.function(x, self.conv)


def refused(space, algorithm, message, tmp_path):
    with pytest.raises(SpaceError, match=message) as info:
        search(space, algorithm, out=tmp_path / "run")
    assert "\n" not in str(info.value)
    assert not (tmp_path / "run").exists()


# inplace_abn#40
IN_PLACE = {
    "relu": lambda: nn.Sequential(nn.ReLU(inplace=True), conv()),
    "dropout": lambda: nn.Sequential(nn.Dropout(0.3, inplace=True), conv()),
    "hardswish alone": lambda: nn.Hardswish(inplace=True),
    "function": lambda: Calls(lambda x, layer: layer(nn.functional.relu_(x))),
    "operator": lambda: Calls(lambda x, layer: layer(x.add_(1))),
    "view": lambda: Calls(lambda x, layer: layer(x.flatten(2).mul_(2).view_as(x))),
    "afterwards": lambda: Calls(lambda x, layer: (layer(x), x.zero_())[0]),
}


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("kind", IN_PLACE)
def test_a_candidate_that_works_in_place_is_named(tmp_path, kind, algorithm):
    message = r"LayerChoice 'conv': candidate 'bad' alters its input in place"
    refused(lambda: Base({"good": conv(3), "bad": IN_PLACE[kind]()}), algorithm, message, tmp_path)


class OfList(Base):
    """Passes a list of tensors to its choice."""

    def __init__(self):
        def bad(xs, layer):
            xs[0].relu_()
            return layer(xs[0] + xs[1])

        super().__init__({"good": Calls(lambda xs, layer: layer(xs[0] + xs[1])), "bad": Calls(bad)})

    def features(self, x):
        return self.conv([x, x + 1])


def test_a_candidate_that_alters_a_tensor_in_a_list_is_named(tmp_path):
    refused(OfList, "darts", r"candidate 'bad' alters its input in place", tmp_path)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_in_place_layers_behind_the_first_one_of_a_candidate_are_no_fault(algorithm):
    search(lambda: Base({"a": conv(), "b": nn.Sequential(nn.BatchNorm2d(WIDTH), nn.ReLU(inplace=True))}), algorithm)


class Joined(Base):
    """A choice that may pass on its input, and an activation behind it."""

    def __init__(self, choice="layer", inplace=True, reads_again=True):
        super().__init__({"skip": nn.Identity(), "c3": conv(3)})
        self.inputs = InputChoice(2, n_chosen=1, key="inputs") if choice == "input" else None
        self.act = nn.ReLU(inplace=inplace)
        self.reads_again = reads_again

    def features(self, x):
        y = self.act(self.conv(x) if self.inputs is None else self.inputs([x, self.stem.weight.sum() + x]))
        return y + 2 * x if self.reads_again else y


@pytest.mark.parametrize("choice", ["layer", "input"])
def test_a_choice_that_passes_on_an_input_which_the_model_then_alters_is_named(tmp_path, choice):
    key = {"layer": "conv", "input": "inputs"}[choice]
    refused(lambda: Joined(choice), "darts", rf"choice '{key}': the model alters its output in place", tmp_path)


@pytest.mark.parametrize("options", [{"inplace": False}, {"reads_again": False}], ids=str)
@pytest.mark.parametrize("choice", ["layer", "input"])
def test_an_input_that_is_passed_on_and_not_altered_or_not_read_again_is_no_fault(choice, options):
    search(lambda: Joined(choice, **options))


class Sizes(Net):
    """Blocks that work in place, and layers of elastic size."""

    def __init__(self):
        super().__init__()
        width = ValueChoice([4, 8], key="width")
        self.conv = nn.Sequential(Conv2d(WIDTH, width, 1), nn.ReLU(inplace=True), Conv2d(width, WIDTH, 1))
        self.stack = Repeat(lambda index: nn.Sequential(nn.ReLU(inplace=True), conv()), depths=[0, 1, 2], key="depth")

    def features(self, x):
        return self.stack(self.conv(x)) + x


@pytest.mark.parametrize("width", [4, 8])
@pytest.mark.parametrize("depth", [0, 1, 2])
def test_values_and_depths_compute_the_same_frozen_where_blocks_work_in_place(width, depth):
    from nasreg.nn import extract_space, named_choices

    model, x = Sizes(), torch.randn(2, 1, 8, 8)
    architecture: Architecture = extract_space(model).architecture({"width": width, "depth": depth})
    frozen = freeze(model, architecture)
    for key, _, choice, _ in named_choices(model):
        choice.bind(lambda key=key: architecture.decisions[key])
    torch.testing.assert_close(model(x), frozen(x))


# nni#4542, nni#4671
DIFFERENT = {
    "one pixel": lambda: nn.Sequential(conv(), nn.AdaptiveAvgPool2d(1)),
    "width": lambda: nn.Conv2d(WIDTH, 4, 1),
    "one channel": lambda: nn.Conv2d(WIDTH, 1, 1),
    "stride": lambda: conv(stride=2),
    "type": lambda: Calls(lambda x, layer: layer(x).double()),
    "tuple": lambda: Calls(lambda x, layer: (layer(x), x)),
    "flat": lambda: Calls(lambda x, layer: layer(x).flatten(2)),
}


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("kind", DIFFERENT)
def test_a_candidate_that_returns_something_else_is_named(tmp_path, kind, algorithm):
    message = r"LayerChoice 'conv': all candidates must return the same shape and type, but 'good' returns \(2, 8, 8,"
    message += r" 8\) of float32 and 'bad' returns "
    refused(lambda: Base({"good": conv(3), "bad": DIFFERENT[kind]()}), algorithm, message, tmp_path)


FAILING = {
    "channels": (lambda: nn.Conv2d(3, WIDTH, 1), "RuntimeError: Given groups=1"),
    "type": (lambda: conv().double(), "RuntimeError: Input type"),
    "lstm": (lambda: nn.LSTM(WIDTH, WIDTH), "ValueError: LSTM"),
    "own error": (lambda: Calls(lambda x, layer: {}["missing"]), r"KeyError: 'missing' \(.*test_candidates.py:\d+\)"),
    "signature": (lambda: nn.MultiheadAttention(WIDTH, 2), "TypeError: .*missing 2 required"),
}


@pytest.mark.parametrize("kind", FAILING)
def test_a_candidate_that_fails_is_named(tmp_path, kind):
    make, error = FAILING[kind]
    refused(
        lambda: Base({"bad": make(), "good": conv(3)}),
        "darts",
        rf"LayerChoice 'conv': candidate 'bad' fails: {error}",
        tmp_path,
    )


def test_candidates_that_fail_let_only_their_own_trials_fail_and_are_named_before(tmp_path):
    notices: list[str] = []
    result = search(
        lambda: Base({"bad": nn.Conv2d(3, WIDTH, 1), "good": conv(3)}),
        "random",
        callbacks=[lambda event: notices.append(event.message) if isinstance(event, Notice) else None],
    )
    assert result.architecture.decisions == {"conv": "good"}
    assert re.match(r"trials with it will fail: LayerChoice 'conv': candidate 'bad' fails", notices[0])
    both = {"bad": nn.Conv2d(3, WIDTH, 1), "worse": nn.Conv2d(5, WIDTH, 1)}
    refused(lambda: Base(both), "random", r"candidate 'bad' fails: .*\(and 1 more of this kind\)", tmp_path)


class Inputs(Net):
    """A choice of two inputs."""

    def __init__(self, second, number=2, **options):
        super().__init__()
        self.inputs = InputChoice(2, key="inputs", **options)
        self.second = second
        self.number = number

    def features(self, x):
        return self.inputs([x, self.second(x), x][: self.number])


INPUTS = {
    "three": ({"second": torch.relu, "number": 3}, "takes a list of 2 tensors"),
    "one": ({"second": torch.relu, "number": 1}, "takes a list of 2 tensors"),
    "size": ({"second": lambda x: x[..., ::2]}, "cannot sum inputs of different shapes: '0' has"),
    "broadcast": ({"second": lambda x: x.mean((2, 3), keepdim=True)}, "cannot sum inputs of different shapes"),
    "type": ({"second": lambda x: x.double()}, "of different types: '0' has float32 and '1' has float64"),
    "none": ({"second": lambda x: None}, "input '1' is a NoneType, not a tensor"),
    "concat": ({"second": lambda x: x[..., 1:], "reduction": "concat"}, "cannot concat inputs of different shapes"),
}


@pytest.mark.parametrize(
    ("kind", "algorithm"),
    [(kind, name) for kind in INPUTS for name in ALGORITHMS if (kind, name) != ("concat", "darts")],
)
def test_inputs_that_do_not_fit_their_choice_are_named(tmp_path, kind, algorithm):
    options, message = INPUTS[kind]
    refused(lambda: Inputs(**options), algorithm, f"InputChoice 'inputs'.* {message}", tmp_path)


def test_values_and_depths_that_fail_are_named(tmp_path):
    class Wide(Net):
        def __init__(self):
            super().__init__()
            width = ValueChoice([4, 8], key="width")
            self.conv = nn.Sequential(Conv2d(WIDTH, width, 1), conv())

    notices: list[str] = []
    search(
        Wide, "random", callbacks=[lambda event: notices.append(event.message) if isinstance(event, Notice) else None]
    )
    assert "the model Wide fails on images of 1x8x8 with 'width' = 4: RuntimeError" in notices[0]


def test_choices_that_share_a_key_and_models_of_many_choices_are_checked_once():
    class Shared(Net):
        def __init__(self):
            super().__init__()
            self.more = nn.ModuleList(
                LayerChoice({"c1": nn.Identity(), "c3": conv(3)}, key=f"more{index}") for index in range(3)
            )

        def features(self, x):
            for choice in self.more:
                x = choice(x)
            return self.conv(self.conv(x))

    search(Shared)
