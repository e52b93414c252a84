"""The ShuffleNet space: published sizes, the form of its blocks, small images, its text form."""

from __future__ import annotations

import random

import pytest
import torch

from nasreg.errors import ArchitectureError, ConfigError, SpaceError
from nasreg.networks import build_network
from nasreg.networks.costs import network_costs
from nasreg.networks.equivalence import check_equivalence
from nasreg.nn import deferred_candidates, extract_space, freeze
from nasreg.registry import default_registry
from nasreg.spaces import shufflenet
from nasreg.spaces.config import ShuffleNetSpaceConfig
from nasreg.specs import DataInfo
from nasreg.specs.base import parse

SCALES = tuple(round(0.2 * number, 1) for number in range(1, 11))


def info(side, classes=10):
    return DataInfo(channels=3, height=side, width=side, classes=tuple(map(str, range(classes))))


def build(side=32, **options):
    with deferred_candidates():
        return shufflenet.build(info(side), parse(ShuffleNetSpaceConfig, options, "space"))


@pytest.mark.slow
def test_the_published_architectures_have_the_published_sizes():
    # 3.5M parameters and 323M MACs in the README of the authors' program
    network = build_network("SPOS", info(224, 1000))
    found = network_costs(network, info(224, 1000), ["parameters", "macs"], torch.device("cpu"))
    assert found == {"parameters": 3_558_464, "macs": 322_918_720}


@pytest.mark.slow
def test_with_channels_searched_the_published_architecture_has_the_published_size():
    # 3.4M parameters and 328M MACs: ShuffleNet-Series of the same authors
    blocks = (0, 0, 3, 1, 1, 1, 0, 0, 2, 0, 2, 1, 1, 0, 2, 0, 2, 1, 3, 2)
    widths = (6, 5, 3, 5, 2, 6, 3, 4, 2, 5, 7, 5, 4, 6, 7, 4, 4, 5, 4, 3)
    with deferred_candidates():
        config = ShuffleNetSpaceConfig(phase="retrain", widths=SCALES)
        model = shufflenet.build(info(224, 1000), config)
    space = extract_space(model)
    layers = [choice for choice in space.choices if choice.kind == "layer"]
    values = [choice for choice in space.choices if choice.kind == "value"]
    decisions = {choice.key: shufflenet.CANDIDATES[number] for choice, number in zip(layers, blocks, strict=True)}
    decisions |= {choice.key: choice.values[number] for choice, number in zip(values, widths, strict=True)}
    network = freeze(model, space.architecture(decisions), in_place=True)
    found = network_costs(network, info(224, 1000), ["parameters", "macs"], torch.device("cpu"))
    assert found == {"parameters": 3_432_579, "macs": 327_857_920}


def test_a_block_passes_half_of_its_channels_on_and_mixes_the_halves():
    block = shufflenet.candidate("shuffle_3x3", 8, 8, 4, 1, first=False, affine=True).eval()
    x = torch.randn(2, 8, 5, 5)
    y = block(x)
    assert torch.equal(y[:, :4], x[:, ::2])
    assert y.shape == x.shape
    first = shufflenet.candidate("xception", 8, 20, 10, 2, first=True, affine=True).eval()
    assert first(x).shape == (2, 20, 3, 3)


@pytest.mark.parametrize(
    ("side", "strides"), [(224, [2] * 5), (32, [1, 1, 2, 2, 2]), (8, [1, 1, 1, 1, 2]), (2, [1] * 5)]
)
def test_small_images_are_halved_less_often(side, strides):
    model = build(side, blocks=1, channels=4)
    found = [model.stem[0].stride[0]]
    with deferred_candidates():
        for stage in model.stages:
            found.append(stage.module[0].candidates.built("shuffle_3x3").branch[3].stride[0])
    assert found == strides


def test_widths_are_choices_that_all_candidates_of_a_block_share():
    model = shufflenet.build(info(8), ShuffleNetSpaceConfig(channels=4, stages=1, blocks=2, widths=(0.5, 1.0)))
    space = extract_space(model)
    assert [choice.key for choice in space.choices] == [
        "stage1/block0",
        "stage1/width0",
        "stage1/block1",
        "stage1/width1",
    ]
    assert space["stage1/width0"].values == (4, 8)
    for seed in range(2):
        check_equivalence(model, space.sample(random.Random(seed)), torch.randn(4, 3, 8, 8))
    decisions = {"stage1/block0": "xception", "stage1/block1": "shuffle_5x5", "stage1/width0": 4, "stage1/width1": 8}
    network = freeze(model, space.architecture(decisions))
    sizes = [layer.out_channels for layer in network.modules() if isinstance(layer, torch.nn.Conv2d)]
    assert sizes.count(4) >= 5  # the stem and the inside of the Xception branch
    assert not [module for module in network.modules() if type(module).__module__.startswith("nasreg.")]


def test_what_does_not_fit_is_one_line():
    with pytest.raises(SpaceError, match=r"space.reductions=3 is more than the stem and 1 stages can do: 2 at most"):
        build(stages=1, reductions=3)
    with pytest.raises(ConfigError, match=r"blocks=\[1, 2\] must have a number for each of 4 stages"):
        build(blocks=[1, 2])
    for text, message in (
        ("shufflenet(1, 2)", "it has 2 numbers, and the space 20 choices"),
        (f"shufflenet({', '.join('4' * 20)})", "4 is no candidate of 'stage1/block0': there are 4, from 0"),
        ("shufflenet(one)", "'shufflenet(one)' is not shufflenet(...) of numbers"),
    ):
        notation = default_registry().space("shufflenet").notation
        with pytest.raises(ArchitectureError) as caught:
            notation.architecture(extract_space(build()), text)
        assert message in str(caught.value)
