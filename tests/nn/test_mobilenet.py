"""The mobile space: published networks are members of it, it fits images of any size, and what it refuses."""

from __future__ import annotations

import random
from functools import partial

import pytest
import torch
from torch import nn

import nasreg
from nasreg.errors import ConfigError, SpaceError
from nasreg.networks.equivalence import check_equivalence
from nasreg.networks.profile import count_macs
from nasreg.nn import deferred_candidates, extract_space, freeze, parameter_count
from nasreg.report.drawing.cells import cells_figure
from nasreg.spaces.config import MobileNetSpaceConfig
from nasreg.spaces.mobilenet import build, divisible
from nasreg.specs import DataInfo
from nasreg.specs.base import parse

IMAGENET = DataInfo(channels=3, height=224, width=224, classes=tuple(map(str, range(1000))))
SKIP = "skip"


def blocks(*stages):
    """Return the candidates of each block; the stages of one have one block, all others four."""
    return [name for stage in stages for name in [*stage, *[SKIP] * (4 - len(stage) if len(stage) > 1 else 0)]]


# Options, candidates of the blocks, parameters and multiply-accumulates: of ProxylessNAS those of imgclsmob, which has
# the authors' networks; of MobileNetV2 and V3 those of torchvision (arXiv 1801.04381: 3.4M and 300M; arXiv 1905.02244:
# 5.4M and 219M).
PUBLISHED = {
    "ProxylessNAS (mobile)": (
        {"widths": [[32], [40], [80], [96], [192], [320]]},
        blocks(
            ["k5_e3", "k3_e3"],
            ["k7_e3", "k3_e3", "k5_e3", "k5_e3"],
            ["k7_e6", "k5_e3", "k5_e3", "k5_e3"],
            ["k5_e6", "k5_e3", "k5_e3", "k5_e3"],
            ["k7_e6", "k7_e6", "k7_e3", "k7_e3"],
            ["k7_e6"],
        ),
        4_080_512,
        320_427_584,
    ),
    "ProxylessNAS (GPU)": (
        {"channels": 40, "widths": [[32], [56], [112], [128], [256], [432]], "head": 1728},
        [
            *["k5_e3", SKIP, SKIP, SKIP],
            *["k7_e3", SKIP, SKIP, "k3_e3"],
            *["k7_e6", SKIP, SKIP, "k5_e3"],
            *["k5_e6", SKIP, "k3_e3", "k5_e3"],
            *["k7_e6", "k7_e6", "k7_e6", "k5_e6"],
            "k7_e6",
        ],
        7_119_848,
        None,
    ),
    "MobileNetV2": (
        {"widths": [[24], [32], [64], [96], [160], [320]]},
        blocks(*(["k3_e6"] * number for number in (2, 3, 4, 3, 3, 1))),
        3_504_872,
        300_774_272,
    ),
    "MobileNetV3-Large": (
        {"form": "v3", "expansions": [2.3, 2.5, 3, 4, 6]},
        blocks(
            ["k3_e4", "k3_e3"],
            ["k5_e3"] * 3,
            ["k3_e6", "k3_e2_5", "k3_e2_3", "k3_e2_3"],
            ["k3_e6"] * 2,
            ["k5_e6"] * 3,
        ),
        5_483_032,
        216_589_760,
    ),
}


@pytest.mark.parametrize("title", PUBLISHED)
def test_published_networks_are_members(title):
    options, names, parameters, macs = PUBLISHED[title]
    with torch.device("meta"), deferred_candidates():
        model = build(IMAGENET, parse(MobileNetSpaceConfig, options, ""))
        space = extract_space(model)
        decisions = dict(zip((choice.key for choice in space.choices), names, strict=True))
        network = freeze(model, space.architecture(decisions), in_place=True).eval()
        assert parameter_count(network) == parameters
        if macs is not None:
            assert count_macs(partial(network, torch.zeros(1, 3, 224, 224))) == macs


def test_mobilenet_v2_is_a_member_of_the_elastic_form_too():
    widths = [[16, 24], [32], [64], [96], [160], [320]]
    with torch.device("meta"):
        model = build(IMAGENET, MobileNetSpaceConfig(choices="elastic", widths=widths))
        space = extract_space(model)
        decisions = {
            choice.key: 3 if "kernel" in choice.key else 6 for choice in space.choices if "block" in choice.key
        }
        depths = {f"stage{stage}/depth": depth for stage, depth in enumerate((2, 3, 4, 3, 3), 1)}
        network = freeze(model, space.architecture({**decisions, **depths, "stage1/width": 24}))
    assert parameter_count(network) == 3_504_872


@pytest.mark.parametrize("choices", ["layers", "elastic"])
@pytest.mark.parametrize("form", ["v2", "v3"])
def test_a_frozen_network_computes_what_the_supernet_computes(form, choices):
    torch.manual_seed(0)
    info = DataInfo(channels=1, height=8, width=8, classes=("a", "b"))
    options = MobileNetSpaceConfig(form=form, choices=choices, channels=8, stages=2, blocks=2, head=16)
    model = build(info, options)
    space = extract_space(model)
    for seed in range(3):
        check_equivalence(model, space.sample(random.Random(seed)), torch.randn(4, 1, 8, 8))


@pytest.mark.parametrize(
    ("side", "reductions", "smallest"), [(8, None, 4), (8, 2, 2), (28, None, 4), (32, None, 4), (224, None, 7)]
)
def test_strides_fit_the_image(side, reductions, smallest):
    info = DataInfo(channels=1, height=side, width=side, classes=("a", "b"))
    with torch.device("meta"):
        model = build(info, MobileNetSpaceConfig(channels=8, blocks=1, kernels=(3,), reductions=reductions))
        names = {choice.key: "k3_e3" for choice in extract_space(model).choices}
        network = freeze(model, extract_space(model).architecture(names))
        features = nn.Sequential(network.stem, network.first, network.stages)
        assert features(torch.zeros(2, 1, side, side)).shape[2:] == (smallest, smallest)


def test_each_stage_is_drawn():
    info = DataInfo(channels=1, height=8, width=8, classes=("a", "b"))
    space = extract_space(build(info, MobileNetSpaceConfig(channels=8, stages=2, blocks=3)))
    figure = cells_figure(space, space.sample(random.Random(0)))
    gids = {artist.get_gid() for artist in figure.findobj() if artist.get_gid()}
    assert {f"stage{stage}/block/{block}" for stage in (1, 2) for block in (0, 1, 2)} <= gids


def test_retraining_may_drop_paths():
    info = DataInfo(channels=1, height=8, width=8, classes=("a", "b"))
    model = build(info, MobileNetSpaceConfig(channels=8, stages=1, blocks=2, phase="retrain", dropout=0.2))
    kinds = [type(module).__name__ for module in model.modules()]
    assert kinds.count("StochasticDepth") == 7  # of the fixed block, and of the candidates of a second block
    assert "Dropout" in kinds
    assert nasreg.get_recipe("mobilenet").spaces["mobilenet"] == {}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"stages": 6, "form": "v3"}, "form v3 has 5 stages, not 6"),
        ({"widths": [[8]]}, "widths: expected those of 6 stages, got 1"),
        ({"widths": [[8, 16]], "stages": 1}, "a stage of layers has one width"),
        ({"choices": "elastic", "expansions": [2.5]}, "those of choices='elastic' are whole numbers"),
        ({"kernels": [2]}, "kernel sizes must be odd"),
        ({"expansions": [3, 3]}, "3.0 is given twice"),
        ({"choices": "elastic", "widths": [[8, 8]], "stages": 1}, "8 is given twice"),
    ],
)
def test_options_that_do_not_fit(options, message):
    with pytest.raises(ConfigError, match=message):
        parse(MobileNetSpaceConfig, options, "")


def test_too_many_reductions():
    info = DataInfo(channels=1, height=8, width=8, classes=("a", "b"))
    with pytest.raises(SpaceError, match=r"space.reductions=2: the 1 stages of form v2 have 1 with a stride at most"):
        build(info, MobileNetSpaceConfig(stages=1, reductions=2))


def test_widths_are_multiples_of_eight():
    assert [divisible(width) for width in (1, 8, 11, 12, 19.2, 72, 68)] == [8, 8, 16, 16, 24, 72, 72]
