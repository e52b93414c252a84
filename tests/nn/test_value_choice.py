"""Choices of values, arithmetic with them, and layers whose sizes they decide."""

from __future__ import annotations

import copy
import itertools
import pickle
import random

import pytest
import torch
from torch import nn

import nasreg.nn as snn
from nasreg.errors import SpaceError, UndecidedError
from nasreg.mutators import OneShotMutator
from nasreg.nn import (
    LayerChoice,
    Repeat,
    Scope,
    ValueChoice,
    candidate_sites,
    deferred_candidates,
    extract_space,
    freeze,
    named_choices,
    transform_candidates,
)
from nasreg.specs import Config, ValueChoiceSpec


def decide(model, decisions):
    """Bind the choices of a model to decisions."""
    for key, _, choice, _ in named_choices(model):
        choice.bind(lambda key=key: decisions[key])
    return model


def test_a_value_and_what_is_computed_with_it():
    width, depth = ValueChoice([8, 16], key="w"), ValueChoice([1, 2, 3], key="d")
    expressions = [
        (width * 4, lambda w, d: w * 4),
        (4 * width, lambda w, d: 4 * w),
        (width // 3, lambda w, d: w // 3),
        (100 // width, lambda w, d: 100 // w),
        (width + 8, lambda w, d: w + 8),
        (8 + width, lambda w, d: 8 + w),
        (width - 8, lambda w, d: w - 8),
        (100 - width, lambda w, d: 100 - w),
        (width * depth + width // depth - 1, lambda w, d: w * d + w // d - 1),
    ]
    for w, d in itertools.product([8, 16], [1, 2, 3]):
        width.bind(lambda w=w: w)
        depth.bind(lambda d=d: d)
        assert width() == w
        for expression, expected in expressions:
            assert expression() == expected(w, d)


def test_an_undecided_value_says_so():
    with pytest.raises(UndecidedError, match="ValueChoice 'w' was called, but nothing decides it"):
        (ValueChoice([8, 16], key="w") * 2)()


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (torch.ones(2), "'w' got weights: it takes a decision, one of 8, 16"),
        ({"8": torch.ones(())}, "'w' got weights"),
        (9, "9 is not one of 8, 16"),
        (8.0, "8.0 is not one of 8, 16"),
        ("8", "'8' is not one of 8, 16"),
    ],
)
def test_answers_that_are_no_decision(answer, says):
    width = ValueChoice([8, 16], key="w")
    width.bind(lambda: answer)
    with pytest.raises(SpaceError, match=says):
        width()


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: ValueChoice([8, 16]), r"ValueChoice \[8, 16\] needs a key"),
        (lambda: ValueChoice([], key="w"), "values"),
        (lambda: ValueChoice([1, 1], key="w"), "w"),
        (lambda: ValueChoice([True], key="w"), "values"),
        (lambda: ValueChoice(["a", "b"], key="w") * 2, "'w' is one of texts"),
        (lambda: ValueChoice([1, 2], key="w") * "a", "combined with 'a', which is no number"),
        (lambda: 8 // (ValueChoice([1, 2], key="w") - 1), "divided by another that may be 0"),
        (lambda: snn.Conv2d(3, ValueChoice([8, 12], key="w"), 3, groups=3), "may be 8 with groups=3"),
        (
            lambda: snn.Conv2d(ValueChoice([8, 12], key="w"), 8, 3, groups=ValueChoice([4, 8], key="g")),
            "12 with groups=8",
        ),
        (lambda: snn.Conv2d(3, 8, ValueChoice([3, 4], key="k")), "kernel_height may be 3, 4: odd and even"),
        (lambda: snn.Conv2d(3, 8, (3, ValueChoice([3, 4], key="k"))), "kernel_width may be 3, 4: odd and even"),
        (lambda: snn.Conv2d(3, ValueChoice([8.5], key="w"), 3), "out_channels may be 8.5; it must be a whole number"),
        (lambda: snn.Linear(3, ValueChoice(["8"], key="w")), "out_features may be '8'; it must be a whole"),
        (
            lambda: snn.Linear(3, ValueChoice([8], key="w") - 8),
            "out_features may be 0; it must be a whole",
        ),
        (lambda: snn.Conv2d(3, 8, 3, padding=ValueChoice([0, 1], key="p") - 1), "padding_height may be -1; it must be"),
        (lambda: snn.BatchNorm2d("8"), "num_features is '8', not a number or a ValueChoice"),
        (lambda: snn.Linear(3, many(20)), "1,048,576 combinations"),
        (
            lambda: extract_space(nn.Sequential(snn.Linear(3, ValueChoice([1], key="w")), ValueChoice([2], key="w"))),
            "share the key 'w' but not what there is to choose: 0.sizes.out_features and 1",
        ),
        (
            lambda: extract_space(nn.Sequential(LayerChoice([snn.Linear(3, ValueChoice([1, 2], key="w"))], key="a"))),
            "'a' has another choice in a candidate",
        ),
        (lambda: Repeat([nn.ReLU()], [1, 2]), "has 1 blocks, but its largest depth is 2"),
        (lambda: Repeat([nn.ReLU()] * 2, [2, 1]), "increase"),
        (lambda: Repeat([nn.ReLU()] * 2, []), "depths"),
        (lambda: Repeat(["a"], [1]), "block 0 is a str, not an nn.Module"),
        (lambda: Repeat([nn.ReLU()] * 2, [1, 2], heads=[nn.Tanh()]), "has 1 heads for 2 depths"),
        (lambda: Repeat([nn.ReLU()], [1], heads=[3]), "head 0 is a int, not an nn.Module"),
        (lambda: Repeat(lambda index: SHARED, [2]), "same ReLU twice"),
    ],
)
def test_contradictions_are_told_where_they_are_written(make, says):
    with pytest.raises(SpaceError, match=says) as info:
        make()
    assert "\n" not in str(info.value)


SHARED = nn.ReLU()


def many(count):
    """Return a number that depends twice on each of many choices."""
    first = sum((ValueChoice([1, 2], key=f"c{number}") for number in range(count)), start=ValueChoice([1], key="one"))
    return first * first


def test_a_sum_of_many_values_is_a_size():
    values = [ValueChoice([4, 8], key=f"c{number}") for number in range(40)]
    layer = snn.Conv2d(sum(values[1:], start=values[0]), 8, 1)
    assert layer.weight.shape == (8, 320, 1, 1)


def test_a_depthwise_convolution_of_a_sum():
    width = ValueChoice([4, 8], key="a") + ValueChoice([4, 8], key="b")
    assert snn.Conv2d(width, width, 3, groups=width).weight.shape == (16, 1, 3, 3)


class Widths(nn.Module):
    """Every elastic layer, with values that are shared, computed with and in scopes."""

    def __init__(self, **options):
        super().__init__()
        width, kernel, groups = ValueChoice([4, 8], key="width"), ValueChoice([5, 1, 3], key="kernel"), 2
        hidden = width * ValueChoice([1, 2], key="expansion")
        self.scale = ValueChoice([0.5, 2.0], key="scale")
        self.act = ValueChoice(["relu", "tanh"], key="act")
        self.stem = nn.Sequential(
            snn.Conv2d(2, width, kernel, padding=kernel // 2, stride=2, bias=False), snn.BatchNorm2d(width, **options)
        )
        self.block = Scope(
            "block",
            nn.Sequential(
                snn.Conv2d(width, hidden, (1, 1), groups=groups),
                snn.Conv2d(hidden, hidden, (kernel, 3), padding="same", groups=hidden),
                snn.BatchNorm2d(hidden, eps=1e-3, momentum=0.3),
            ),
        )
        self.mode = snn.Conv2d(hidden, 4, kernel, padding=kernel // 2, padding_mode="reflect")
        self.same = snn.Conv2d(4, width, kernel, padding="same", padding_mode="circular", dilation=2)
        self.norm = snn.LayerNorm([width, 4, 4])
        self.last = snn.LayerNorm(width, elementwise_affine=False)
        self.hidden = snn.Linear(width, hidden + 1)
        self.head = snn.Linear(hidden + 1, 3, bias=False)
        self.fixed = snn.Linear(3, 3)

    def forward(self, x):
        x = self.same(self.mode(self.block(self.stem(x)))) * self.scale()
        x = self.last(self.norm(x).mean((2, 3)))
        return self.fixed(self.head(getattr(torch, self.act())(self.hidden(x))))


@pytest.mark.parametrize("mode", ["train", "eval"])
@pytest.mark.parametrize("options", [{}, {"momentum": None}, {"affine": False}, {"track_running_stats": False}])
def test_frozen_layers_are_torchs_own_with_the_slices(mode, options):
    torch.manual_seed(0)
    model = Widths(**options).double().train(mode == "train")
    with torch.no_grad():
        for tensor in (*model.parameters(), *model.buffers()):
            if tensor.is_floating_point():
                tensor.copy_(torch.rand_like(tensor) + 0.1)
    space, x = extract_space(model), torch.randn(3, 2, 8, 8, dtype=torch.float64)
    for width, kernel, expansion in itertools.product([4, 8], [1, 3, 5], [1, 2]):
        decisions = {"width": width, "kernel": kernel, "block/expansion": expansion, "scale": 0.5, "act": "tanh"}
        architecture = space.architecture(decisions)
        frozen = freeze(model, architecture)
        assert not any(type(module).__module__.startswith("nasreg") for module in frozen.modules())
        supernet = decide(copy.deepcopy(model), decisions)
        output, expected = frozen(x), supernet(x)
        torch.testing.assert_close(output, expected)
        after = freeze(supernet, architecture)  # the running statistics that the pass has changed
        for name, tensor in frozen.state_dict().items():
            torch.testing.assert_close(tensor, after.state_dict()[name])
        output.square().sum().backward()
        expected.square().sum().backward()
        edge, hidden = (5 - kernel) // 2, width * expansion + 1
        for name, where in {
            "stem.0": (slice(width), slice(2), *[slice(edge, edge + kernel)] * 2),
            "hidden": (slice(hidden), slice(width)),
        }.items():
            gradient = torch.zeros_like(supernet.get_submodule(name).weight)
            gradient[where] = frozen.get_submodule(name).weight.grad
            torch.testing.assert_close(supernet.get_submodule(name).weight.grad, gradient)


def test_frozen_layers_keep_their_arguments_and_copy_their_weights():
    width = ValueChoice([2, 4], key="width")
    model = nn.ModuleDict(
        {
            "conv": snn.Conv2d(3, width, 3, 2, (1, 0), 2, bias=False, padding_mode="replicate"),
            "depthwise": snn.Conv2d(width, width * 2, 3, padding="same", groups=width),
            "norm": snn.BatchNorm2d(width * 2, 1e-2, None),
        }
    ).eval()
    model["conv"].weight.requires_grad_(requires_grad=False)
    frozen = freeze(model, extract_space(model).architecture({"width": 2}))
    conv, depthwise, norm = frozen["conv"], frozen["depthwise"], frozen["norm"]
    assert [type(layer) for layer in (conv, depthwise, norm)] == [nn.Conv2d, nn.Conv2d, nn.BatchNorm2d]
    assert repr(conv) == (
        "Conv2d(3, 2, kernel_size=(3, 3), stride=(2, 2), padding=(1, 0), dilation=(2, 2), bias=False,"
        " padding_mode=replicate)"
    )
    assert repr(depthwise) == "Conv2d(2, 4, kernel_size=(3, 3), stride=(1, 1), padding=same, groups=2)"
    assert repr(norm) == repr(nn.BatchNorm2d(4, 1e-2, None))
    assert not conv.training
    assert not conv.weight.requires_grad
    assert depthwise.weight.requires_grad
    torch.testing.assert_close(conv.weight, model["conv"].weight[:2])
    with torch.no_grad():
        depthwise.weight.zero_()
    assert model["depthwise"].weight.abs().min() > 0


def test_a_kernel_is_the_centre_of_the_largest():
    model = nn.Sequential(snn.Conv2d(1, 1, ValueChoice([2, 6], key="k"), bias=False))
    frozen = freeze(model, extract_space(model).architecture({"k": 2}))
    assert torch.equal(frozen[0].weight, model[0].weight[:, :, 2:4, 2:4])


def test_a_shared_value_is_one_choice_with_the_key_of_its_first_place():
    width = ValueChoice([4, 8], key="width")
    model = nn.Sequential(
        Scope("a", snn.Conv2d(3, width, 1)), Scope("b", nn.Sequential(snn.Conv2d(width, width * 2, 1))), width
    )
    space = extract_space(model)
    [choice] = space.choices
    assert choice == ValueChoiceSpec(key="a/width", values=(4, 8), paths=choice.paths)
    assert choice.paths == (
        "0.module.sizes.out_channels",
        "1.module.0.sizes.in_channels",
        "1.module.0.sizes.out_channels.left",
        "2",
    )
    assert space.groups == {"a": ("a/width",)}
    frozen = freeze(model, space.architecture({"a/width": 4}))
    assert frozen[1][0].weight.shape == (8, 4, 1, 1)
    assert frozen[2]() == 4


def test_two_values_of_one_key_share_the_decision():
    model = nn.Sequential(*(snn.Linear(3, ValueChoice([2, 3], key="w")) for _ in range(2)))
    assert len(extract_space(model).choices) == 1
    frozen = freeze(model, extract_space(model).architecture({"w": 2}))
    assert [layer.out_features for layer in frozen] == [2, 2]


def test_copies_and_pickles_keep_what_is_shared():
    model = Widths()
    space = extract_space(model)
    architecture = space.sample(random.Random(0))
    x = torch.randn(2, 2, 8, 8)
    expected = freeze(model, architecture)(x)
    for again in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert extract_space(again) == space
        assert len({id(choice) for _, _, choice, _ in named_choices(again)}) == 5
        torch.testing.assert_close(freeze(again, architecture)(x), expected)
    other = Widths()
    other.load_state_dict(model.state_dict())
    frozen = freeze(other, architecture)
    torch.testing.assert_close(pickle.loads(pickle.dumps(frozen))(x), expected)


class Depths(nn.Module):
    """Stacks of blocks that have choices of their own, one of them in a scope, with keys of their paths."""

    def __init__(self):
        super().__init__()
        width = ValueChoice([4, 6], key="width")

        def block(index):
            convs = {f"conv{k}": lambda k=k: nn.Conv2d(4, 4, k, padding=k // 2) for k in (1, 3)}
            return nn.Sequential(
                LayerChoice(convs), snn.Conv2d(4, width, 1), snn.BatchNorm2d(width), nn.ReLU(), snn.Conv2d(width, 4, 1)
            )

        self.stem = nn.Conv2d(2, 4, 1)
        self.a = Repeat(block, [1, 3], key="depth")
        self.b = Scope("b", Repeat(nn.ModuleList([Scope(str(n), block(n)) for n in range(2)]), [0, 1, 2], key="depth"))
        self.nested = Repeat([nn.Sequential(Repeat([nn.Conv2d(4, 4, 1), nn.Tanh()], [1, 2], key="inner"))], [0, 1])

    def forward(self, x):
        return self.nested(self.b(self.a(self.stem(x))))


def test_repeat_is_searched_with_the_choices_in_its_blocks():
    space = extract_space(Depths())
    keys = ["depth", *(f"a.blocks.{n}.0" for n in range(3)), "width", "b/depth"]
    keys += [f"b/{n}/b.module.blocks.{n}.module.0" for n in range(2)]
    keys += ["nested", "inner"]
    assert sorted(choice.key for choice in space.choices) == sorted(keys)
    assert space["depth"].depths == (1, 3)
    assert space.size() == 2 * 2**3 * 2 * 3 * 2**2 * 2 * 2


@pytest.mark.parametrize("mode", ["train", "eval"])
@pytest.mark.parametrize("seed", range(4))
def test_frozen_stacks_agree_with_the_supernet(seed, mode):
    torch.manual_seed(seed)
    model = Depths().double().train(mode == "train")
    architecture = extract_space(model).sample(random.Random(seed))
    x = torch.randn(3, 2, 4, 4, dtype=torch.float64)
    frozen, supernet = freeze(model, architecture), decide(copy.deepcopy(model), architecture.decisions)
    assert not any(type(module).__module__.startswith("nasreg") for module in frozen.modules())
    assert type(frozen.a) is nn.Sequential
    assert len(frozen.a) == architecture.decisions["depth"]
    torch.testing.assert_close(frozen(x), supernet(x))
    expected = freeze(supernet, architecture).state_dict()
    for name, tensor in frozen.state_dict().items():
        torch.testing.assert_close(tensor, expected[name])
    with deferred_candidates():
        built = freeze(Depths(), architecture, in_place=True)
    assert {name: tensor.shape for name, tensor in built.state_dict().items()} == {
        name: tensor.shape for name, tensor in expected.items()
    }


def test_a_mutator_decides_the_choices_in_stacks():
    class Fixed(OneShotMutator):
        def __init__(self, space, fixed):
            super().__init__(space, Config())
            self.fixed = fixed

        def answer(self, choice):
            return self.fixed.decisions[choice.key]

        def architecture(self):
            return self.fixed

    model, x = Depths().eval(), torch.randn(2, 2, 4, 4)
    space = extract_space(model)
    architecture = space.sample(random.Random(1))
    mutator = Fixed(space, architecture)
    mutator.attach(model)
    torch.testing.assert_close(model(x), freeze(model, architecture)(x))
    mutator.detach(model)
    with pytest.raises(UndecidedError):
        model(x)


def test_candidates_in_stacks_are_transformed():
    model, x = Depths().eval(), torch.randn(2, 2, 4, 4)
    sites = [site.path for site, _ in candidate_sites(model)]
    assert len(sites) == 2 * 5
    assert sites[:2] == ["a.blocks.0.0.candidates.conv1", "a.blocks.0.0.candidates.conv3"]
    architecture = extract_space(model).sample(random.Random(0))
    before = freeze(model, architecture)(x)
    handle = transform_candidates(model, lambda site, module: nn.Sequential(module, nn.Sigmoid()))
    assert not torch.equal(freeze(model, architecture)(x), before)
    handle.remove()
    assert torch.equal(freeze(model, architecture)(x), before)


@pytest.mark.parametrize(("answer", "says"), [(torch.ones(2), "got weights"), (2, "2 is not one of the depths 1, 3")])
def test_depths_that_are_no_decision(answer, says):
    stack = Repeat(lambda index: nn.ReLU(), [1, 3], key="depth")
    with pytest.raises(UndecidedError):
        stack(torch.ones(1))
    stack.bind(lambda: answer)
    with pytest.raises(SpaceError, match=says):
        stack(torch.ones(1))


def test_a_stack_has_a_head_for_each_depth_and_strides_may_be_values():
    widths, stride = [2, 3, 5], ValueChoice([1, 2], key="stride")

    def block(index):
        return snn.Conv2d(1 if index == 0 else widths[index - 1], widths[index], 3, stride=stride, padding=1)

    model = nn.Sequential(
        Repeat(block, [1, 3], key="depth", heads=lambda depth: nn.Conv2d(widths[depth - 1], 4, 1)), nn.Flatten()
    )
    x = torch.randn(1, 1, 8, 8)
    for depth, side in ((1, 4), (3, 1)):
        frozen = freeze(model, extract_space(model).architecture({"depth": depth, "stride": 2}))
        assert len(frozen[0]) == depth + 1
        assert frozen[0][0].stride == (2, 2)
        assert frozen(x).shape == (1, 4 * side * side)
