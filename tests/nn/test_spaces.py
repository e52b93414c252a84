from __future__ import annotations

import random

import pytest
import torch
from torch import nn

from nasreg.errors import ConfigError, SpaceError
from nasreg.networks import network_blocks
from nasreg.nn import extract_space, freeze
from nasreg.spaces import chain, darts, elastic_chain
from nasreg.spaces.config import ChainSpaceConfig, DartsSpaceConfig, ElasticChainSpaceConfig
from nasreg.specs import DataInfo
from nasreg.specs.base import parse

# Parameters of the published cells in the retrain network of the paper (20 cells, C = 36, CIFAR-10, no auxiliary head).
PUBLISHED = {
    3_169_414: (  # DARTS_V1
        "sep_conv_3x3 1, sep_conv_3x3 0, skip_connect 0, sep_conv_3x3 1,"
        " skip_connect 0, sep_conv_3x3 1, sep_conv_3x3 0, skip_connect 2",
        "max_pool_3x3 0, max_pool_3x3 1, skip_connect 2, max_pool_3x3 0,"
        " max_pool_3x3 0, skip_connect 2, skip_connect 2, avg_pool_3x3 0",
    ),
    3_433_798: (  # PDARTS
        "skip_connect 0, dil_conv_3x3 1, skip_connect 0, sep_conv_3x3 1,"
        " sep_conv_3x3 1, sep_conv_3x3 3, sep_conv_3x3 0, dil_conv_5x5 4",
        "avg_pool_3x3 0, sep_conv_5x5 1, sep_conv_3x3 0, dil_conv_5x5 2,"
        " max_pool_3x3 0, dil_conv_3x3 1, dil_conv_3x3 1, dil_conv_5x5 3",
    ),
}


def info(side=32, channels=3, classes=10):
    return DataInfo(channels=channels, height=side, width=side, classes=tuple(map(str, range(classes))))


def published_cell(text):
    edges = [(name, int(source)) for name, source in (edge.split() for edge in text.split(", "))]
    return tuple(tuple(edges[2 * node : 2 * node + 2]) for node in range(4))


@pytest.mark.slow
@pytest.mark.parametrize("parameters", PUBLISHED)
def test_published_cells_have_the_published_size(parameters):
    supernet = darts.build(info(), DartsSpaceConfig(cells=20, channels=36, phase="retrain"))
    cells = dict(zip(("normal", "reduce"), map(published_cell, PUBLISHED[parameters]), strict=True))
    network = freeze(supernet, extract_space(supernet).architecture(cells))
    assert sum(p.numel() for p in network.parameters()) == parameters


def test_the_space_is_that_of_the_paper():
    space = extract_space(darts.build(info(), DartsSpaceConfig()))
    assert [choice.key for choice in space.choices] == ["normal", "reduce"]
    assert space["normal"].n_edges == 14
    assert space["normal"].paths == (
        "cells.0.cell",
        "cells.1.cell",
        "cells.3.cell",
        "cells.4.cell",
        "cells.6.cell",
        "cells.7.cell",
    )
    assert space["reduce"].paths == ("cells.2.cell", "cells.5.cell")
    assert space["reduce"].reduction
    deeper = extract_space(darts.build(info(), DartsSpaceConfig(cells=20, channels=4, phase="retrain")))
    assert deeper.fingerprint == space.fingerprint


def test_batch_norm_is_affine_only_in_the_stem_during_a_search():
    model = darts.build(info(), DartsSpaceConfig(cells=3, channels=4))
    affine = {name for name, module in model.named_modules() if isinstance(module, nn.BatchNorm2d) and module.affine}
    assert affine == {"stem0.1"}
    pools = [name for name, module in model.named_modules() if isinstance(module, nn.MaxPool2d | nn.AvgPool2d)]
    assert pools
    assert all(isinstance(model.get_submodule(name.rpartition(".")[0])[1], nn.BatchNorm2d) for name in pools)
    retrain = darts.build(info(), DartsSpaceConfig(cells=3, channels=4, phase="retrain"))
    assert all(module.affine for module in retrain.modules() if isinstance(module, nn.BatchNorm2d))


@pytest.mark.parametrize(
    ("side", "cells", "stem", "maps", "reduce"),
    [
        (32, 8, "auto", 8, 2),
        (28, 8, "auto", 7, 2),
        (9, 8, "auto", 3, 2),
        (8, 3, "auto", 2, 2),
        (4, 3, "auto", 2, 1),
        (3, 5, "auto", 2, 1),
        (2, 3, "auto", 2, 0),
        (32, 2, "auto", 16, 1),
        (32, 1, "auto", 32, 0),
        (96, 5, "auto", 3, 2),
        (224, 3, "imagenet", 7, 2),
        (33, 4, "imagenet", 2, 2),
    ],
)
def test_stem_and_reductions_adapt_to_the_image(side, cells, stem, maps, reduce):
    names = ("none", "skip_connect", "max_pool_3x3")
    model = darts.build(info(side), DartsSpaceConfig(cells=cells, channels=4, stem=stem, nodes=2, candidates=names))
    space = extract_space(model)
    reducing = [choice for choice in space.choices if choice.key == "reduce"]
    assert sum(len(choice.paths) for choice in reducing) == reduce
    network = freeze(model, space.sample(random.Random(0)))
    seen = []
    getattr(network.cells, str(cells - 1)).register_forward_hook(lambda module, args, out: seen.append(out.shape))
    assert network(torch.randn(2, 3, side, side)).shape == (2, 10)
    assert seen == [torch.Size((2, 2 * 4 * 2**reduce, maps, maps))]


@pytest.mark.parametrize(
    ("side", "options", "says"),
    [
        (1, {}, "too small for the DARTS space"),
        (8, {"stem": "imagenet"}, "too small for the DARTS space with the imagenet stem"),
        (8, {"reductions": 3}, "too small for 3 reduction cells: 2 at most"),
        (32, {"cells": 2, "reductions": 2}, "2 cells are too few for 2 reduction cells: set space.cells to 3"),
        (128, {"channels": 1}, "channels must be 2"),
    ],
)
def test_what_does_not_fit_is_said(side, options, says):
    with pytest.raises(SpaceError, match=says):
        darts.build(info(side), DartsSpaceConfig(**options))


def test_chain_space():
    model = chain.build(info(8, 1), ChainSpaceConfig(blocks=2, channels=4))
    space = extract_space(model)
    assert [choice.key for choice in space.choices] == ["conv0", "conv1", "skip0", "skip1"]
    assert space.size() == 3 * 3 * 2 * 4
    assert freeze(model, space.sample(random.Random(1)))(torch.randn(2, 1, 8, 8)).shape == (2, 10)


def elastic(**options):
    """Return an elastic chain of three blocks, and its architecture with the given decisions."""
    model = elastic_chain.build(info(9, 1), ElasticChainSpaceConfig(blocks=3, widths=(2, 4), **options))
    space = extract_space(model)
    first = {choice.key: choice.values[0] for choice in space.choices if choice.kind == "value"}
    first |= {choice.key: () for choice in space.choices if choice.kind == "input"}
    return model, lambda **decisions: space.architecture({**first, "depth": 3, **decisions})


def test_an_elastic_chain_has_only_what_is_chosen():
    model, architecture = elastic()
    plain = freeze(model, architecture(depth=2, width0=4, kernel1=5, stride1=2))
    assert plain.chain[0].conv.weight.shape == (4, 1, 1, 1)
    assert plain.chain[1].conv.weight.shape == (2, 4, 5, 5)
    assert plain.chain.head.classifier.in_features == 2
    sizes = [4 * 1 + 2 * 4, 2 * 4 * 25 + 2 * 2, 10 * 2 + 10]
    assert sum(parameter.numel() for parameter in plain.parameters()) == sum(sizes)
    skips = freeze(model, architecture(skips1=("add0",), skips2=("concat0", "add1"), stride1=2, stride2=2))
    names = [name for name, _ in skips.named_parameters() if "skips" in name]
    assert names == [
        "chain.1.skips.add0.project.weight",
        "chain.2.skips.concat0.mix.weight",
        "chain.2.skips.concat0.project.weight",
        "chain.2.skips.add1.project.weight",
    ]
    assert skips(torch.randn(2, 1, 9, 9)).shape == (2, 10)


def test_skip_connections_of_an_elastic_chain():
    """They join between BatchNorm and ReLU; concat is a 1x1 convolution of the concatenation."""
    model, architecture = elastic()
    network = freeze(model, architecture(depth=2, skips1=("add0", "concat0"), width0=4, stride1=2)).eval().chain
    x = torch.randn(2, 1, 9, 9)
    first = network[0].norm(network[0].conv(x)).relu()
    y = network[1].norm(network[1].conv(first))
    y = y + network[1].skips.add0.project(first)
    concat = network[1].skips.concat0
    weight = torch.cat([concat.mix.weight, concat.project.weight], 1)
    y = nn.functional.conv2d(torch.cat([y, first[:, :, ::2, ::2]], 1), weight).relu()
    torch.testing.assert_close(network((x,)), network.head.classifier(y.mean((2, 3))))


def test_the_blocks_of_an_elastic_chain_show_their_connections():
    model, architecture = elastic()
    network = freeze(model, architecture(skips2=("concat0",), width1=4, stride2=2))
    rows = [(block.name, block.inputs, block.shape) for block in network_blocks(network, info(9, 1))]
    assert rows == [
        ("chain.0", ("images",), (2, 9, 9)),
        ("chain.1", ("chain.0",), (4, 9, 9)),
        ("chain.2", ("chain.1", "chain.0"), (2, 5, 5)),
        ("chain.head", ("chain.2",), (10,)),
    ]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kernels": (3, 4)}, "odd"),
        ({"strides": (2, 2)}, "2 is given twice"),
        ({"skips": ("mul",)}, "skips"),
        ({"widths": ()}, "widths"),
    ],
)
def test_invalid_options_of_an_elastic_chain(options, message):
    with pytest.raises(ConfigError, match=message):
        parse(ElasticChainSpaceConfig, options, "space")
