"""Drawings and descriptions of architectures: readable and true for every architecture."""

from __future__ import annotations

import itertools
import os
import random
import re
import subprocess
import sys
import xml.etree.ElementTree as ET

import matplotlib as mpl
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.image import imread
from matplotlib.patches import FancyBboxPatch, PathPatch
from matplotlib.text import Text

from nasreg.errors import ArchitectureError, ConfigError
from nasreg.networks.blocks import Block
from nasreg.nn import extract_space
from nasreg.report import cells_figure, describe_architecture, draw_candidates, draw_cells, draw_network
from nasreg.report.describe import edge_title
from nasreg.report.drawing import canvas
from nasreg.report.drawing.chain import chain_blocks
from nasreg.report.drawing.layout import lay_out_cell
from nasreg.report.drawing.network import block_rows
from nasreg.spaces import chain, elastic_chain
from nasreg.spaces.config import ChainSpaceConfig, ElasticChainSpaceConfig
from nasreg.specs import (
    NONE,
    CellSpec,
    DataInfo,
    InputChoiceSpec,
    LayerChoiceSpec,
    RepeatSpec,
    SearchSpaceSpec,
    ValueChoiceSpec,
)
from space_strategies import spaces

OPS = (
    "none", "max_pool_3x3", "avg_pool_3x3", "skip_connect", "sep_conv_3x3", "sep_conv_5x5", "dil_conv_3x3",
    "dil_conv_5x5",
)  # fmt: skip
SVG = "{http://www.w3.org/2000/svg}"


def cell(key="normal", inputs=2, nodes=4, concat=None, **more):
    edges = sum(inputs + node for node in range(nodes))
    concat = tuple(range(inputs, inputs + nodes)) if concat is None else concat
    return CellSpec(key=key, inputs=inputs, nodes=nodes, candidates=(OPS,) * edges, concat=concat, **more)


DARTS = SearchSpaceSpec(choices=(cell(), cell("reduce", reduction=True)))
CHAIN = SearchSpaceSpec(
    choices=(
        LayerChoiceSpec(key="conv", candidates=("conv3x3", "conv5x5")),
        InputChoiceSpec(key="blocks.1.skip", candidates=("a", "b", "c"), n_chosen=2),
        InputChoiceSpec(key="s", candidates=("a", "b"), n_chosen=None),
    )
)
KNOWN = DARTS.architecture(
    {
        "normal": (
            (("sep_conv_3x3", 0), ("skip_connect", 1)),
            (("dil_conv_5x5", 2), ("max_pool_3x3", 0)),
            (("sep_conv_5x5", 1), ("sep_conv_3x3", 3)),
            (("avg_pool_3x3", 0), ("skip_connect", 4)),
        ),
        "reduce": ((("max_pool_3x3", 0), ("max_pool_3x3", 1)),) * 4,
    }
)


def strengths(space, seed):
    rng = random.Random(seed)
    cells = [choice for choice in space.choices if isinstance(choice, CellSpec)]
    return {choice.key: [rng.random() for _ in range(choice.n_edges)] for choice in cells}


def parts(figure):
    """Extents in pixels of all boxes, texts and lines; boxes and lines by gid."""
    boxes = {patch.get_gid(): patch.get_window_extent() for patch in figure.findobj(FancyBboxPatch)}
    texts = [(text.get_text(), text.get_window_extent()) for text in figure.findobj(Text) if text.get_text()]
    lines = {}
    for patch in figure.findobj(PathPatch):
        (corners,) = patch.get_path().transformed(patch.get_transform()).to_polygons(closed_only=False)
        along = np.linspace(0, len(corners) - 1, 40 * len(corners))
        lines[patch.get_gid()] = np.column_stack(
            [np.interp(along, np.arange(len(corners)), corners[:, axis]) for axis in (0, 1)]
        )
    return boxes, texts, lines


def inside(points, box, margin):
    x, y = points.T
    left, right = box.x0 + margin, box.x1 - margin
    low, high = box.y0 + margin, box.y1 - margin
    return bool(((left < x) & (x < right) & (low < y) & (y < high)).any())


def contains(outer, inner):
    return outer.x0 <= inner.x0 and outer.y0 <= inner.y0 and outer.x1 >= inner.x1 and outer.y1 >= inner.y1


def check_untwisted(lines, way):
    """Lines that share their source (way 1) or target (-1) keep their order up to the next column, 44 points away."""
    ends = {gid: (gid.rpartition("/line/")[0], gid.rpartition("/line/")[2].split("-")[:2][::way][0]) for gid in lines}
    for (one, a), (other, b) in itertools.combinations(lines.items(), 2):
        if ends[one] == ends[other]:
            near, far = (
                [np.interp(points[::way][0, 0] + way * away, *points.T) for points in (a, b)] for away in (0, 44 / 0.72)
            )
            assert (near[0] < near[1]) == (far[0] < far[1]), (one, other)


def check_readable(figure):
    boxes, texts, lines = parts(figure)
    page = figure.bbox
    for (one, a), (other, b) in itertools.combinations(boxes.items(), 2):
        assert not a.overlaps(b), (one, other)
    for (one, a), (other, b) in itertools.combinations(texts, 2):
        assert not a.overlaps(b), (one, other)
    for name, extent in texts:
        assert contains(page, extent), name
        around = [box for box in boxes.values() if box.overlaps(extent)]
        assert len(around) <= 1, name
        assert all(contains(box, extent) for box in around), name
        if not around:
            assert not any(inside(points, extent, 0) for points in lines.values()), name
    for gid, points in lines.items():
        key, _, edge = gid.rpartition("/line/")
        for name, box in boxes.items():
            if name != f"{key}/label/{edge}":
                assert not inside(points, box, 0.5), (gid, name)
        source, target = (boxes[f"{key}/state/{state}"] for state in edge.split("-")[:2])
        assert source.x1 == pytest.approx(points[0, 0], abs=0.1)
        assert source.y0 < points[0, 1] < source.y1
        assert 0 < target.x0 - points[-1, 0] < 6  # the head of the arrow
        assert target.y0 < points[-1, 1] < target.y1
    check_untwisted(lines, 1)
    check_untwisted(lines, -1)
    return boxes, texts, lines


def check_true(space, architecture, extents):
    """The drawing, by its ``parts``, shows the architecture's edges, each with its operation, and no others."""
    boxes, texts, lines = extents
    for choice in space.choices:
        decision = architecture.decisions[choice.key]
        if not isinstance(choice, CellSpec):
            number = next((str(block.number) for block in chain_blocks(space) if choice in block.choices), None)
            assert (number or choice.key) in [name for name, _ in texts]
            continue
        output = choice.inputs + choice.nodes
        edges = {
            f"{source}-{choice.inputs + node}" + (f"-{slot}" if choice.repeat_sources else ""): name
            for node, kept in enumerate(decision)
            for slot, (name, source) in enumerate(kept)
        }
        drawn = [gid.removeprefix(f"{choice.key}/line/") for gid in lines if gid.startswith(f"{choice.key}/line/")]
        read = {source for kept in decision for name, source in kept if name != NONE} if choice.loose_ends else ()
        joined = [state for state in choice.concat if state not in read]
        assert sorted(drawn) == sorted([*edges, *(f"{state}-{output}" for state in joined)])
        for ends, name in edges.items():
            box = boxes[f"{choice.key}/label/{ends}"]
            assert name in [text for text, extent in texts if contains(box, extent)]
        assert all(f"{choice.key}/state/{state}" in boxes for state in range(output + 1))


@pytest.mark.parametrize("seed", range(12))
def test_nothing_lies_on_anything_else(seed):
    architecture = DARTS.sample(random.Random(seed))
    figure = cells_figure(
        DARTS, architecture, strengths=strengths(DARTS, seed) if seed % 2 else None, title="darts on digits"
    )
    check_true(DARTS, architecture, check_readable(figure))


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("inputs", [1, 2, 3])
def test_other_cells_are_readable_too(seed, inputs):
    rng = random.Random(seed)
    nodes = rng.randint(1, 6)
    concat = tuple(sorted(rng.sample(range(inputs + nodes), rng.randint(1, inputs + nodes))))
    choice = cell("c/1", inputs, nodes, concat, edges_kept=rng.randint(1, 4), reduction=seed % 2 == 0)
    space = SearchSpaceSpec(choices=(choice, *CHAIN.choices))
    architecture = space.sample(rng)
    figure = cells_figure(space, architecture, strengths=strengths(space, seed))
    check_true(space, architecture, check_readable(figure))


@settings(max_examples=12)
@given(spaces(), st.integers())
def test_any_space_can_be_drawn_and_described(space, seed):
    architecture = space.sample(random.Random(seed))
    figure = cells_figure(space, architecture)
    check_true(space, architecture, check_readable(figure))
    words = describe_architecture(space, architecture)
    assert all(choice.key in words for choice in space.choices if choice.key not in ("normal", "reduce"))


def test_long_edges_side_by_side_and_past_three_nodes():
    chain = tuple((("sep_conv_3x3", node + 1), ("skip_connect", 0)) for node in range(4))
    twins = ((("skip_connect", 0), ("sep_conv_5x5", 1)), *((("dil_conv_3x3", 0), ("max_pool_3x3", 1)),) * 3)
    architecture = DARTS.architecture({"normal": chain, "reduce": twins})
    figure = cells_figure(DARTS, architecture, strengths=strengths(DARTS, 0))
    check_true(DARTS, architecture, check_readable(figure))


def test_states_without_a_way_to_the_output_are_set_off():
    space = SearchSpaceSpec(choices=(cell(concat=(2,)),))
    architecture = space.architecture({"normal": ((("sep_conv_3x3", 0), ("sep_conv_3x3", 1)),) * 4})
    dashed = {
        patch.get_gid()
        for patch in cells_figure(space, architecture).findobj(FancyBboxPatch)
        if patch.get_linestyle() != "solid"
    }
    assert dashed == {"normal/state/3", "normal/state/4", "normal/state/5", "legend/unused"}


def test_svg_has_its_text_as_text(tmp_path):
    path = draw_cells(DARTS, KNOWN, tmp_path / "cells.svg", strengths=strengths(DARTS, 3), title="darts & co <1>")
    assert path == tmp_path / "cells.svg"
    tree = ET.parse(path)  # noqa: S314  # our own file
    texts = ["".join(element.itertext()).strip() for element in tree.iter(f"{SVG}text")]
    kept = [name for decision in KNOWN.decisions.values() for node in decision for name, _ in node]
    assert all(texts.count(name) == kept.count(name) for name in kept)
    assert {"darts & co <1>", "normal cell", "reduction cell", "0", "1", "2", "3"} <= set(texts)
    assert {"skip connection", "pooling", "separable convolution", "dilated convolution"} <= set(texts)
    edge = DARTS["normal"].edges_into(3)[4]
    assert f"{strengths(DARTS, 3)['normal'][edge]:.2f}" in texts
    assert "c_{k-2}" in path.read_text()


def test_png_is_light_and_large_enough_to_read(tmp_path):
    image = imread(draw_cells(DARTS, KNOWN, str(tmp_path / "cells.PNG")))
    height, width = image.shape[:2]
    assert width > 1000
    assert height > 500
    assert (image[0, 0] == 1).all()
    assert image.mean() > 0.8


def test_a_png_has_a_largest_side(tmp_path, monkeypatch):
    """With the real limit, below that of matplotlib, a cell would need some forty nodes in a row."""
    assert canvas.MAX_PIXELS < 2**16
    monkeypatch.setattr(canvas, "MAX_PIXELS", 3000)
    space = SearchSpaceSpec(choices=(cell(nodes=8, edges_kept=1),))
    chain = tuple((("sep_conv_3x3", node + 1),) for node in range(8))
    image = imread(draw_cells(space, space.architecture({"normal": chain}), tmp_path / "cells.png"))
    assert max(image.shape) == pytest.approx(3000, abs=1)


def test_equal_calls_write_equal_bytes_whatever_the_users_style(tmp_path):
    suffixes = ("svg", "png")
    first = [draw_cells(DARTS, KNOWN, tmp_path / f"a.{suffix}").read_bytes() for suffix in suffixes]
    style = {"font.size": 30, "svg.fonttype": "path", "axes.facecolor": "black", "savefig.dpi": 10}
    with mpl.rc_context(style):
        second = [draw_cells(DARTS, KNOWN, tmp_path / f"b.{suffix}").read_bytes() for suffix in suffixes]
        assert {name: mpl.rcParams[name] for name in style} == style
    code = (
        "import sys\nfrom nasreg.report import draw_cells\nfrom nasreg.specs import Architecture, SearchSpaceSpec\n"
        "space, architecture, *paths = sys.argv[1:]\n"
        "for path in paths:\n"
        "    draw_cells(SearchSpaceSpec.from_json(space), Architecture.from_json(architecture), path)\n"
        "assert not {'torch', 'matplotlib.pyplot'} & set(sys.modules)"
    )
    others = [tmp_path / f"c.{suffix}" for suffix in suffixes]
    environment = {**os.environ, "PYTHONHASHSEED": "7"}
    arguments = [sys.executable, "-c", code, DARTS.to_json(), KNOWN.to_json(), *map(str, others)]
    subprocess.run(arguments, check=True, env=environment)
    assert first == second == [other.read_bytes() for other in others]


def test_importing_it_is_light():
    code = """
import sys
import nasreg.report

for name in nasreg.report.__all__:
    getattr(nasreg.report, name)
sys.exit(bool({"torch", "matplotlib", "numpy", "jinja2"} & set(sys.modules)))
"""
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_choices_other_than_cells_are_a_table():
    architecture = CHAIN.architecture({"conv": "conv5x5", "blocks.1.skip": ("a", "c"), "s": ()})
    _, texts, lines = check_readable(cells_figure(CHAIN, architecture))
    rows = {}
    for text, extent in texts:
        rows.setdefault(round(extent.y0 + extent.y1) // 20, []).append(text)
    assert {"conv", "conv5x5", "blocks.1.skip", "a, c", "s", "(none)"} <= {text for text, _ in texts}
    assert not lines


def test_long_names_and_many_choices_stay_readable():
    space = SearchSpaceSpec(
        choices=(
            *(LayerChoiceSpec(key=f"features.{n}.{'block' * 12}", candidates=("$x$ " * 40, "b")) for n in range(45)),
            CellSpec(key="k" * 200, inputs=1, nodes=1, candidates=(("operation $\\frac" * 9,),), concat=(1,)),
        )
    )
    check_readable(cells_figure(space, space.sample(random.Random(0)), title="word " * 60))


def test_the_description_of_cells():
    assert describe_architecture(DARTS, KNOWN) == (
        "normal cell\n"
        "  node 0 = sep_conv_3x3(c_{k-2}) + skip_connect(c_{k-1})\n"
        "  node 1 = dil_conv_5x5(node 0)  + max_pool_3x3(c_{k-2})\n"
        "  node 2 = sep_conv_5x5(c_{k-1}) + sep_conv_3x3(node 1)\n"
        "  node 3 = avg_pool_3x3(c_{k-2}) + skip_connect(node 2)\n"
        "  c_{k}  = concat(node 0, node 1, node 2, node 3)\n"
        "\n"
        "reduction cell\n"
        "  node 0 = max_pool_3x3(c_{k-2}) + max_pool_3x3(c_{k-1})\n"
        "  node 1 = max_pool_3x3(c_{k-2}) + max_pool_3x3(c_{k-1})\n"
        "  node 2 = max_pool_3x3(c_{k-2}) + max_pool_3x3(c_{k-1})\n"
        "  node 3 = max_pool_3x3(c_{k-2}) + max_pool_3x3(c_{k-1})\n"
        "  c_{k}  = concat(node 0, node 1, node 2, node 3)"
    )


SLOTS = SearchSpaceSpec(
    choices=(
        CellSpec(
            key="normal",
            inputs=2,
            nodes=2,
            candidates=(("conv", "skip"),) * 10,
            repeat_sources=True,
            loose_ends=True,
            join="sum",
            concat=(0, 1, 2, 3),
        ),
        ValueChoiceSpec(key="width", values=(16, 1.5, "wide")),
        RepeatSpec(key="depth", depths=(1, 2)),
    )
)


def test_the_description_of_slots_loose_ends_values_and_depths():
    decision = ((("conv", 1), ("skip", 1)), (("conv", 1), ("conv", 1)))
    architecture = SLOTS.architecture({"normal": decision, "width": 1.5, "depth": 2})
    assert describe_architecture(SLOTS, architecture) == (
        "normal cell\n"
        "  node 0 = conv(c_{k-1}) + skip(c_{k-1})\n"
        "  node 1 = conv(c_{k-1}) + conv(c_{k-1})\n"
        "  c_{k}  = sum(c_{k-2}, node 0, node 1)\n"
        "\n"
        "width = 1.5\n"
        "depth = 2"
    )
    assert edge_title(SLOTS["normal"], 5) == "c_{k-1} to node 1, slot 0"


def test_slots_that_read_one_state_are_drawn_side_by_side():
    for seed in range(10):
        architecture = SLOTS.sample(random.Random(seed))
        strengths_of = strengths(SLOTS, seed)
        check_true(SLOTS, architecture, check_readable(cells_figure(SLOTS, architecture, strengths=strengths_of)))


def test_an_edge_that_none_cuts_is_no_path_to_the_output():
    space = SearchSpaceSpec(choices=(cell(nodes=2, concat=(3,), edges_kept=3, none_selectable=True),))
    decision = (((NONE, 0), ("skip_connect", 1)), ((NONE, 0), ("skip_connect", 1), (NONE, 2)))
    layout = lay_out_cell(space["normal"], space.architecture({"normal": decision}).decisions["normal"], None)
    assert layout.used == {1, 3, 4}


def test_the_description_of_layers_and_inputs():
    architecture = CHAIN.architecture({"conv": "conv5x5", "blocks.1.skip": ("a", "c"), "s": ()})
    assert describe_architecture(CHAIN, architecture) == (
        "conv          = conv5x5\n"
        "blocks.1.skip = a, c\n"
        "s             = (none)"
    )  # fmt: skip


def test_what_cannot_be_drawn_is_said_in_one_line(tmp_path):
    with pytest.raises(ConfigError, match=r"cells\.pdf: the name must end in \.svg or \.png"):
        draw_cells(DARTS, KNOWN, tmp_path / "cells.pdf")
    with pytest.raises(ConfigError, match=r"there is no folder .*nowhere"):
        draw_cells(DARTS, KNOWN, tmp_path / "nowhere/cells.svg")
    with pytest.raises(ConfigError, match=r"strengths of cell 'normal' must be 14 numbers, one per edge, not 3"):
        draw_cells(DARTS, KNOWN, tmp_path / "cells.svg", strengths={"normal": [1, 2, 3]})
    with pytest.raises(ArchitectureError, match="does not belong to this search space"):
        draw_cells(CHAIN, KNOWN, tmp_path / "cells.svg")
    with pytest.raises(ArchitectureError, match="does not belong to this search space"):
        describe_architecture(CHAIN, KNOWN)
    assert list(tmp_path.iterdir()) == []


def test_candidates_that_are_left_are_filled_and_the_others_are_not(tmp_path):
    left = {key: [OPS[1:3] if edge % 2 else OPS[3:] for edge in range(14)] for key in ("normal", "reduce")}
    weights = {key: [dict.fromkeys(OPS, 0.125)] * 14 for key in left}
    path = draw_candidates(DARTS, tmp_path / "left.svg", remaining=left, weights=weights, title="after stage 1")
    gids = set(re.findall(r'id="([^"]+)"', path.read_text()))
    for key, edges in left.items():
        for edge, names in enumerate(edges):
            assert {name for name in OPS if f"{key}/{edge}/{name}/1" in gids} == set(names)
            assert {name for name in OPS if f"{key}/{edge}/{name}/0" in gids} == set(OPS) - set(names)
    again = draw_candidates(DARTS, tmp_path / "again.svg", remaining=left, weights=weights, title="after stage 1")
    assert path.read_bytes() == again.read_bytes()
    with pytest.raises(ConfigError, match="must end in"):
        draw_candidates(DARTS, tmp_path / "left.pdf", remaining=left)


def test_a_network_is_a_row_and_a_bar_for_each_block(tmp_path):
    blocks = [
        Block("stem", ("images",), (16, 8, 8), 400), Block("cells.0", ("stem", "stem"), (16, 8, 8), 1600),
        Block("classifier", ("cells.0",), (10,), 0),
    ]  # fmt: skip
    path = draw_network(blocks, tmp_path / "network.svg", title="tiny")
    tree = ET.parse(path)  # noqa: S314  # our own file
    texts = {"".join(element.itertext()).strip() for element in tree.iter(f"{SVG}text")}
    assert {"block", "inputs", "output", "parameters", "stem, stem", "16x8x8", "1,600", "tiny"} <= texts
    gids = re.findall(r'id="(parameters/[^"]+)"', path.read_text())
    assert gids == [f"parameters/{block.name}" for block in blocks]
    assert block_rows(blocks)[0] == ("stem", "images", "16x8x8", "400")
    draw_network([], tmp_path / "empty.png")


def test_a_drawing_that_cannot_be_written_is_one_line(tmp_path):
    (tmp_path / "cells.svg").mkdir()
    with pytest.raises(ConfigError, match=r"cannot write .*cells\.svg: .*directory"):
        draw_cells(DARTS, KNOWN, tmp_path / "cells.svg")
    assert [path.name for path in tmp_path.iterdir()] == ["cells.svg"]


def test_stacks_are_drawn_with_their_depth_decisions_and_connections(tmp_path):
    info = DataInfo(channels=1, height=8, width=8, classes=("a", "b"))
    space = extract_space(elastic_chain.build(info, ElasticChainSpaceConfig(blocks=4, widths=(3, 5))))
    chosen = {"depth": 3, "skips1": ("add0",), "skips2": ("concat0", "add1"), "skips3": ("add0",), "width3": 5}
    values = {choice.key: choice.values[0] for choice in space.choices if isinstance(choice, ValueChoiceSpec)}
    architecture = space.architecture({**values, **chosen, "width1": 5, "kernel2": 3})
    figure = cells_figure(space, architecture)
    boxes, texts, lines = parts(figure)
    assert [gid for gid in boxes if "/block/" in gid] == [f"depth/block/{number}" for number in range(3)]
    assert {gid for gid in lines if "/connection/" in gid} == {
        "depth/connection/add/0-1", "depth/connection/add/1-2", "depth/connection/concat/0-2",
    }  # fmt: skip
    words = [text for text, _ in texts]
    assert words[0] == "depth = 3 of 4"
    assert {"add", "concat", "width 5", "kernel 3", "stride 1"} <= set(words)
    assert len(words) == 3 + 3 * 4  # and nothing of the block that is left out
    for text, extent in texts:
        assert contains(figure.bbox, extent), text
    for points in lines.values():
        assert not any(inside(points, box, 0.5) for box in boxes.values())
    assert "width3" not in describe_architecture(space, architecture)
    draw_cells(space, architecture, tmp_path / "chain.svg")


def test_a_chain_has_a_row_for_each_block_and_a_mark_for_each_state(tmp_path):
    info = DataInfo(channels=1, height=8, width=8, classes=("a", "b"))
    space = extract_space(chain.build(info, ChainSpaceConfig(blocks=4, channels=2)))
    architecture = space.sample(random.Random(3))
    text = draw_cells(space, architecture, tmp_path / "chain.svg").read_text()
    for choice in space.choices:
        decision = architecture.decisions[choice.key]
        if isinstance(choice, InputChoiceSpec):
            for name in choice.candidates:
                assert f'id="{choice.key}/{name}/{int(name in decision)}"' in text
        else:
            assert f">{decision}<" in text
    image = imread(draw_cells(space, architecture, tmp_path / "chain.png"))
    assert image.shape[0] < image.shape[1] * 2
