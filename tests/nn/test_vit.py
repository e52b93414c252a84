"""The space of vision transformers: published sizes, weight sharing, patches of small images, relative positions."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from nasreg.errors import SpaceError
from nasreg.networks.costs import network_costs
from nasreg.nn import Embedding, ValueChoice, extract_space, freeze
from nasreg.spaces import vit
from nasreg.spaces.config import VitSpaceConfig
from nasreg.specs import DataInfo
from nasreg.specs.base import parse

# Width, ratios and heads of the published architectures, and their number of parameters; the README of the authors'
# program states 5.8M, 22.9M and 53.7M.
PUBLISHED = {
    "tiny": (192, (3.5, 3.5, 3, 3.5, 3, 3, 4, 4, 3.5, 4, 3.5, 4, 3.5), (*(3,) * 10, 4, 3, 3), 5_867_944),
    "small": (
        384,
        (3, 3.5, 3, 3.5, 4, 4, 4, 4, 4, 4, 4, 3.5, 4),
        (6, 6, 5, 7, 5, 5, 5, 6, 6, 7, 7, 6, 7),
        22_891_432,
    ),
    "base": (
        576,
        (3.5, 3.5, 4, 3.5, 4, 3.5, 3.5, 3, 4, 4, 3, 4, 3, 3.5),
        (9, 9, 9, 9, 9, 10, 9, 9, 10, 9, 10, 9, 9, 10),
        53_691_688,
    ),
}
SMALL = {"channels": 24, "blocks": 2, "depths": 2}


def build(height=8, width=None, classes=10, **options):
    info = DataInfo(channels=3, height=height, width=width or height, classes=tuple(map(str, range(classes))))
    return vit.build(info, parse(VitSpaceConfig, options, "space"))


@pytest.mark.slow
@pytest.mark.parametrize("form", PUBLISHED)
def test_published_architectures_have_the_published_sizes(form):
    width, ratios, heads, parameters = PUBLISHED[form]
    with torch.device("meta"):
        supernet = build(224, classes=1000, form=form, ratios=(3.0, 3.5, 4.0))
    depth = len(ratios)
    decisions = {"width": width, "depth": depth}
    for index in range(vit.FORMS[form].blocks):
        at = min(index, depth - 1)
        decisions |= {f"heads{index}": heads[at], f"ratio{index}": float(ratios[at])}
    network = freeze(supernet, extract_space(supernet).architecture(decisions))
    info = DataInfo(channels=3, height=224, width=224, classes=tuple(map(str, range(1000))))
    assert network_costs(network, info, ["parameters"], torch.device("meta"))["parameters"] == parameters


def test_the_space_is_that_of_the_paper():
    with torch.device("meta"):
        space = extract_space(build(224))
    assert (space["width"].values, space["depth"].depths) == ((192, 216, 240), (12, 13, 14))
    assert (space["heads0"].values, space["ratio13"].values) == ((3, 4), (3.5, 4.0))
    assert space.size() == 3 * 3 * 4**14


def test_a_narrow_network_has_the_leading_slices_of_the_widest():
    supernet = build(**SMALL)
    space = extract_space(supernet)
    decisions = {"width": 20, "depth": 1, "heads0": 3, "heads1": 3, "ratio0": 3.5, "ratio1": 3.5}
    network = freeze(supernet, space.architecture(decisions))
    whole, part = supernet.blocks.blocks[0].attention.qkv.weight, network.blocks[0].attention.qkv.weight
    assert part.shape == (3 * 3 * 6, 20)
    assert torch.equal(part, whole[: part.shape[0], : part.shape[1]])
    assert torch.equal(network.positions.weight, supernet.positions.weight[:, :20])
    assert isinstance(network.positions, nn.Embedding)


@pytest.mark.parametrize(("side", "patch"), [(8, 2), (28, 4), (32, 4), (64, 16), (224, 16), (3, 1)])
def test_patches_fit_small_images(side, patch):
    assert build(side, **SMALL).patches.kernel_size == (patch, patch)


def test_images_need_not_be_square():
    supernet = build(8, 12, **SMALL)
    assert supernet.positions.num_embeddings == 1 + 4 * 6
    network = freeze(supernet, extract_space(supernet).architecture(_largest(supernet)))
    assert network(torch.randn(2, 3, 8, 12)).shape == (2, 10)


def _largest(supernet):
    choices = extract_space(supernet).choices
    return {choice.key: choice.depths[-1] if choice.kind == "repeat" else choice.values[-1] for choice in choices}


def test_distances_are_clamped_and_the_first_token_has_none():
    found = vit.distances(torch.tensor([0, 1, 3]), 2)
    assert found.tolist() == [[0, 0, 0, 0], [0, 3, 4, 5], [0, 2, 3, 5], [0, 1, 1, 3]]


def test_attention_is_that_of_its_formula():
    attention = vit.Attention(6, 2, 4, 3)
    x, places = torch.randn(2, 5, 6), torch.randint(0, 8, (5, 5))
    qkv = attention.qkv(x).reshape(2, 5, 2, 4, 3)
    keys, values = (each(places, places) for each in (attention.keys, attention.values))
    expected = torch.zeros(2, 5, 2, 4)
    for image in range(2):
        for head in range(2):
            q, k, v = (qkv[image, :, head, :, part] for part in range(3))
            scores = torch.stack([q[i] @ (k + keys[i]).T / 2 for i in range(5)])
            weights = scores.softmax(1)
            expected[image, :, head] = torch.stack([weights[i] @ (v + values[i]) for i in range(5)])
    torch.testing.assert_close(attention(x, places, places), attention.project(expected.flatten(2)))


def test_an_elastic_embedding_is_looked_up_in_its_slice():
    width = ValueChoice([2, 4], key="width")
    layer = Embedding(5, width)
    width.bind(lambda: 2)
    found = layer(torch.tensor([[0, 4]]))
    assert torch.equal(found, layer.weight[[[0, 4]], :2])
    plain = layer.frozen()
    assert type(plain) is nn.Embedding
    assert (plain.num_embeddings, plain.embedding_dim) == (5, 2)


def test_what_does_not_fit_is_one_line():
    with pytest.raises(
        SpaceError, match=r"an image of 8x8 pixels cannot be divided into patches of 3: set space\.patch"
    ):
        build(patch=3)
    with pytest.raises(SpaceError, match=r"20 times 3\.33 is no whole number"):
        build(widths=(20,), ratios=(3.33,))
