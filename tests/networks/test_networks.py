"""Networks of architectures: from every kind of source, plain modules that train, save, export and give features."""

from __future__ import annotations

import contextlib
import functools
import io
import pickle
import random
import subprocess
import sys
import warnings

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchvision.ops import StochasticDepth

import nasreg
from nasreg.cli import main
from nasreg.errors import ArchitectureError, ConfigError, SpaceError, UnknownNameError, UsageError
from nasreg.networks.build import build_network
from nasreg.networks.references import find_architecture
from nasreg.nn import extract_space, freeze
from nasreg.registry import default_registry
from nasreg.specs import DataInfo, genotype_architecture, genotype_text, parse_genotype

TINY = {"cells": 3, "channels": 4}
INFO = DataInfo(channels=3, height=16, width=16, classes=tuple("abcdefg"))


def supernet(options):
    return nasreg.get_space("darts").component.load_factory()(
        INFO, nasreg.get_space("darts").component.load_config()(**options)
    )


@pytest.mark.parametrize(
    "name", [name for name in nasreg.list_genotypes() if nasreg.get_genotype(name).space == "darts"]
)
def test_published_genotypes(name):
    entry = nasreg.get_genotype(name)
    network = build_network(name, INFO, TINY)
    space = extract_space(supernet(TINY))
    architecture = genotype_architecture(space, entry.genotype)
    published, ours = parse_genotype(entry.genotype), parse_genotype(genotype_text(space, architecture))
    assert ours.keys() == published.keys()
    for key, (edges, concat) in published.items():
        pairs = ours[key].edges
        assert [set(pairs[n : n + 2]) for n in range(0, 8, 2)] == [set(edges[n : n + 2]) for n in range(0, 8, 2)]
        assert ours[key].concat == concat
    assert network(torch.randn(2, 3, 16, 16)).shape == (2, 7)


def test_the_whole_network_is_shown(tmp_path, capsys):
    argv = ["--network", "--set", "space.cells=3", "--set", "space.channels=4", "-o", str(tmp_path / "network.svg")]
    assert main(["show", "PDARTS", *argv]) == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    network = build_network("PDARTS", DataInfo(channels=3, height=32, width=32, classes=tuple("0123456789")), TINY)
    total = sum(parameter.numel() for parameter in network.parameters())
    assert sum(int(row[-1].replace(",", "")) for row in rows[2:-2]) == total
    assert rows[5][:4] == ["cells.1", "stem0,", "cells.0", "32x16x16"]
    assert rows[6][:4] == ["cells.2", "cells.0,", "cells.1", "64x8x8"]
    drawn = (tmp_path / "network.svg").read_text()
    assert all(f'id="parameters/{part}"' in drawn for part in ("stem0", "cells.2", "classifier"))
    assert main(["show", "PDARTS", "--set", "space.cells=3"]) == 2
    assert "--set is for --network only" in capsys.readouterr().err


def test_every_kind_of_source(run_dir):
    text = (run_dir / "genotype.txt").read_text()
    architecture = nasreg.Architecture.load(run_dir / "architecture.json")
    found = [
        find_architecture(run_dir),
        find_architecture(run_dir / "architecture.json"),
        find_architecture(run_dir / "architectures/epoch-0003.json", space="darts"),
        find_architecture(run_dir / "genotype.txt"),
        find_architecture(text),
        find_architecture(f"MINE = {text}"),
    ]
    space = nasreg.SearchSpaceSpec.from_json((run_dir / "space.json").read_text())
    assert all(source.resolve(space).decisions == architecture.decisions for source in found)
    sizes = set()
    for source in found:
        options = {**TINY, "nodes": 2, "candidates": ["none", "skip_connect", "sep_conv_3x3"]}
        sizes.add(sum(parameter.numel() for parameter in build_network(source, INFO, options).parameters()))
    assert len(sizes) == 1


def test_it_is_the_network_that_is_frozen_from_the_supernet():
    """Built from what was chosen alone, it computes the same as the frozen supernet."""
    options = {**TINY, "phase": "retrain"}
    torch.manual_seed(0)
    model = supernet(options)
    architecture = extract_space(model).sample(random.Random(1))
    frozen, built = freeze(model, architecture), build_network(architecture, INFO, TINY)
    built.load_state_dict(frozen.state_dict())
    x = torch.randn(2, 3, 16, 16)
    assert torch.equal(frozen(x), built(x))


@pytest.mark.slow
def test_it_is_a_plain_module_that_works_where_nasreg_is_not(tmp_path):
    network = build_network("DARTS_V2", INFO, TINY).eval()
    assert not any(type(module).__module__.startswith("nasreg") for module in network.modules())
    x = torch.randn(2, 3, 16, 16)
    again = pickle.loads(pickle.dumps(network))
    assert torch.equal(network(x), again(x))
    torch.save((network, x, network(x)), tmp_path / "network.pt")
    code = f"""
import sys
sys.modules["nasreg"] = None
import torch
network, x, y = torch.load({str(tmp_path / "network.pt")!r}, weights_only=False)
print(torch.equal(network(x), y))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "True"


@pytest.mark.parametrize(("options", "side"), [({}, 16), ({"stem": "imagenet"}, 64)])
def test_torch_export(options, side):
    info = DataInfo(channels=3, height=side, width=side, classes=("a", "b"))
    network = build_network("PDARTS", info, {**TINY, **options}).eval()
    x = torch.randn(2, 3, side, side)
    program = torch.export.export(network, (x,), dynamic_shapes=({0: torch.export.Dim("batch")},))
    torch.testing.assert_close(program.module()(x[:1]), network(x[:1]))
    buffer = io.BytesIO()
    torch.export.save(program, buffer)


def test_features_of_each_size():
    network = build_network("DARTS_V1", INFO, {**TINY, "features_only": True})
    maps = network(torch.randn(2, 3, 16, 16))
    assert [tuple(each.shape[1:]) for each in maps] == [(16, 16, 16), (32, 8, 8), (64, 4, 4)]


@pytest.mark.parametrize("side", [4, 5, 8, 13, 28, 32, 48, 100, 224])
def test_the_auxiliary_head_adapts_to_the_size_of_the_images(side):
    info = DataInfo(channels=1, height=side, width=side + 3, classes=("a", "b"))
    network = build_network("PC_DARTS_cifar", info, {**TINY, "auxiliary": True})
    logits, auxiliary = network(torch.randn(2, 1, side, side + 3))
    assert logits.shape == auxiliary.shape == (2, 2)


def test_drop_path_is_everywhere_but_after_skips_of_stride_one():
    network = build_network("PDARTS", INFO, {"cells": 3, "channels": 4})
    drops = [module for module in network.modules() if isinstance(module, StochasticDepth)]
    # 3 cells of 8 operations, without the skips of the normal cell, which are of stride 1
    assert len(drops) == 3 * 8 - 2
    assert {(drop.p, drop.mode) for drop in drops} == {(0.0, "row")}
    for drop in drops:
        drop.p = 0.5
    x = torch.randn(8, 3, 16, 16)
    assert not torch.equal(network(x), network(x))
    network.eval()
    assert torch.equal(network(x), network(x))


@pytest.mark.parametrize(
    ("source", "options", "error", "says"),
    [
        ("DARTS_V3", {}, UnknownNameError, "Did you mean 'DARTS_V2' or 'DARTS_V1'"),
        ("PDARTS", {"cellls": 3}, ConfigError, "Did you mean 'space.cells'"),
        ("PDARTS", {"nodes": 3}, ArchitectureError, "has 8 edges, but the search space keeps 6"),
        ("PDARTS", {"candidates": ["skip_connect"]}, ArchitectureError, "is not one of skip_connect"),
        ("PDARTS", {"reductions": 4}, SpaceError, "too small for 4 reduction cells"),
        ("PDARTS", {"auxiliary": True, "features_only": True}, ConfigError, "exclude each other"),
        ("Genotype(normal=[], normal_concat=range(2, 6))", {}, ArchitectureError, "has 0 edges"),
        ("x" * 5000, {}, UnknownNameError, "no genotype"),
        ("nowhere/architecture.json", {}, ArchitectureError, "cannot read"),
    ],
)
def test_what_is_wrong_is_said(source, options, error, says):
    with pytest.raises(error, match=says):
        build_network(source, INFO, {**TINY, **options})


def test_the_space_of_a_published_genotype_is_known():
    with pytest.raises(UsageError, match="of the search space 'nasreg/darts', not of 'chain'"):
        find_architecture("PDARTS", space="chain")


def test_a_search_has_no_auxiliary_head():
    with pytest.raises(ValueError, match="for phase='retrain' only"):
        supernet({**TINY, "auxiliary": True})


@functools.cache
def space_of(nodes):
    with torch.device("meta"):
        return extract_space(supernet({"cells": 3, "channels": 2, "nodes": nodes}))


@settings(max_examples=30)
@given(seed=st.integers(0, 10**6), nodes=st.integers(1, 5))
def test_genotype_text_and_architecture_are_one(seed, nodes):
    space = space_of(nodes)
    architecture = space.sample(random.Random(seed))
    assert genotype_architecture(space, genotype_text(space, architecture)) == architecture


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Genotype()",
        "Genotype(__import__('os').system('true'))",
        "Genotype(normal=__import__('os').listdir(), normal_concat=range(2, 6))",
        "Genotype(normal=[('a', 0)], normal_concat=range(10**9))",
        "Genotype(normal=[('a', 0)], normal_concat=range(-1, 3))",
        "Genotype(normal=[('a', True)], normal_concat=[2])",
        "Genotype(normal=[('a', 0, 1)], normal_concat=[2])",
        "Genotype(normal=[('a', 0)])",
        "Genotype(**{'normal': []})",
        "os.system('true')",
        "Genotype(normal=[('a', 0)], normal_concat=[2]); import os",
        "(" * 5000,
        "Genotype(\0)",
        "Genotype(normal=" + "[" * 300 + "]" * 300 + ", normal_concat=[2])",
    ],
)
def test_what_is_no_genotype_is_refused_and_never_run(text):
    with pytest.raises(ArchitectureError, match="is not a genotype"):
        parse_genotype(text)


@pytest.mark.parametrize("text", ["Genotype(normal=[('a', 0if)])", r"Genotype(normal=[('\d', 0)], normal_concat=[2])"])
def test_warnings_of_python_about_a_genotype_are_not_shown(text):
    with warnings.catch_warnings(record=True) as shown:
        warnings.simplefilter("always")
        with contextlib.suppress(ArchitectureError):
            parse_genotype(text)
    assert shown == []


@given(st.text(max_size=60))
def test_any_text_is_read_or_refused_in_one_line(text):
    for each in (text, f"Genotype({text})"):
        try:
            parse_genotype(each)
        except ArchitectureError as error:
            assert len(str(error).splitlines()) <= 1 + each.count("\n")


def test_a_published_genotype_that_is_none_is_found_by_check():
    from nasreg.registry import Registry
    from nasreg.specs import GenotypeEntry

    registry = Registry(entry_points=False)
    registry.register(GenotypeEntry(name="Odd", summary="odd", space="darts", genotype="Genotype()"))
    assert "genotype 'Odd' is not a genotype" in registry.check()["this process"][0]
    assert registry.genotype("Odd") is not default_registry()
