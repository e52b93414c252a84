"""The space of NASNet cells: published networks, texts, operations, what it refuses."""

from __future__ import annotations

import json
import random

import pytest
import torch

import nasreg
from nasreg.cli import main
from nasreg.config.lookup import find_space
from nasreg.errors import ArchitectureError, ConfigError, SpaceError
from nasreg.networks.references import describe_space
from nasreg.nn.parameters import parameter_count
from nasreg.registry import default_registry
from nasreg.specs import DataInfo
from nasreg_nasnet.config import OPERATIONS
from nasreg_nasnet.notation import format_text, parse_text
from nasreg_nasnet.operations import MAKERS
from nasreg_nasnet.plugin import NASNET_A

PUBLISHED = {"normal_concat": [0, 2, 3, 4, 5, 6], "reduce_concat": [3, 4, 5, 6]}


def info(side, classes):
    return DataInfo(channels=3, height=side, width=side, classes=tuple(map(str, range(classes))))


def parameters(side, classes, recipe, **options):
    """Count the parameters of NASNet-A as a recipe builds it."""
    values = nasreg.describe(recipe, "recipe")["recipe"]["spaces"]["nasnet"]
    with torch.device("meta"):
        return parameter_count(nasreg.build_network("NASNet_A", info(side, classes), {**values, **options}))


@pytest.fixture(scope="module")
def space():
    return describe_space(find_space(default_registry(), "nasnet"), {})


@pytest.mark.slow
def test_nasnet_a_has_the_parameters_of_the_published_networks():
    """Those of timm 1.0.31 and pretrainedmodels 0.7.4 (large), of the latter (mobile); 3.3 M in the paper (CIFAR)."""
    assert parameters(331, 1000, "nasnet-a-large") == 88_753_150
    assert parameters(224, 1000, "nasnet-a-mobile") == 5_289_978
    assert parameters(32, 10, "nasnet-a-cifar") == 3_328_234


def test_only_loose_ends_have_weights():
    small = {"cells": 1, "channels": 4}
    with torch.device("meta"):
        loose = nasreg.build_network("NASNet_A", info(32, 10), small)
        read = nasreg.build_network("NASNet_A", info(32, 10), {**small, **PUBLISHED})
    assert loose.classifier.in_features == 5 * 16
    assert read.classifier.in_features == 6 * 16
    assert [cell.preprocess1[1].in_channels for cell in loose.cells] == [12, 5 * 4, 3 * 8, 5 * 8, 3 * 16]


def test_texts_and_architectures_are_the_same(space):
    for seed in range(200):
        architecture = space.sample(random.Random(seed))
        text = format_text(space, architecture)
        assert space.architecture(parse_text(space, text)) == architecture
    published = space.architecture(parse_text(space, NASNET_A))
    assert format_text(space, published) == NASNET_A
    assert published.decisions["normal"][3] == (("avg_pool_3x3", 0), ("avg_pool_3x3", 0))  # one state twice
    assert space.size() == (13**10 * (2 * 3 * 4 * 5 * 6) ** 2) ** 2


def test_the_text_in_commands(tmp_path, capsys):
    assert main(["show", NASNET_A, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["genotype"] == NASNET_A
    assert main(["show", "NASNet_A", "--out", str(tmp_path / "cell.svg")]) == 0
    assert "sep_conv_7x7" in (tmp_path / "cell.svg").read_text()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (("5x5", "9x9"), r"node 0: 'sep_conv_9x9' from state 1 is not one of"),
        (("('sep_conv_5x5', 1), ", ""), "cell 'normal' has 9 pairs, but 5 nodes need 10"),
        (
            ("normal_concat=[2, ", "normal_concat=["),
            r"concatenates states \[3, 4, 5, 6\], but .* are \[2, 3, 4, 5, 6\]",
        ),
        (("normal=", "usual="), "its parts must be"),
        (("normal", "usual"), "the text has the cells usual, reduce, not normal, reduce"),
        (("[4, 5, 6])", "[4, 5, 6]"), "is not a genotype"),
        (("'avg_pool_3x3', 2", "'avg_pool_3x3', 7"), "node 3 cannot take state 7"),
    ],
)
def test_a_malformed_text_is_one_line(change, says, capsys):
    text = NASNET_A.replace(*change)
    with pytest.raises(ArchitectureError, match=says):
        nasreg.find_architecture(text)
    assert main(["show", text]) == 2
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize("name", OPERATIONS)
def test_operations_give_the_shape_that_is_asked_for(name):
    for c_in, c_out, stride in ((4, 4, 1), (4, 4, 2), (3, 4, 1), (3, 4, 2)):
        for side in (1, 5, 6):
            out = MAKERS[name](c_in, c_out, stride)(torch.randn(2, c_in, side, side))
            assert out.shape == (2, c_out, -(-side // stride), -(-side // stride))


@pytest.mark.parametrize(
    ("options", "error", "says"),
    [
        ({"candidates": ["conv_3x4"]}, ConfigError, r"there is no operation 'conv_3x4'\. Did you mean"),
        ({"normal_concat": [2, 2]}, ConfigError, "normal_concat must name different states below 7"),
        ({"reduce_concat": [9]}, ConfigError, "reduce_concat must name different states below 7"),
        ({"reduce_concat": [0, 6]}, ConfigError, "the inputs of a reduction cell are larger"),
        ({"auxiliary": True}, ConfigError, "auxiliary is for phase='retrain' only"),
        ({"stem": "imagenet"}, SpaceError, "32x32 pixels is too small for the NASNet space with the imagenet stem"),
    ],
)
def test_what_the_space_refuses(options, error, says):
    with pytest.raises(error, match=says) as caught:
        find_space(default_registry(), "nasnet").build(info(32, 10), options)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("side", [5, 8, 33, 65, pytest.param(96, marks=pytest.mark.slow)])
def test_images_of_any_size(side):
    options = {"cells": 1, "channels": 4, "auxiliary": True, "skip_reductions": True}
    options |= {"stem": "imagenet"} if side >= 65 else {}
    network = nasreg.build_network("NASNet_A", info(side, 4), options)
    logits, auxiliary = network(torch.randn(2, 3, side, side))
    assert logits.shape == auxiliary.shape == (2, 4)


@pytest.mark.slow
def test_a_recipe_trains_any_architecture_of_the_space(tmp_path):
    quick = {"epochs": 1, "batch_size": 32}
    result = nasreg.retrain(
        "NASNet_A",
        "digits",
        recipe="nasnet-cifar",
        trainer=quick,
        space_options={"cells": 1, "channels": 2},
        dataset_options={"limit": 64},
        device="cpu",
        out=tmp_path / "run",
    )
    assert result.run_dir == tmp_path / "run"
