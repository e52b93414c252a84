"""``nasreg profile`` and what it is made of: counts are exact, and nothing is changed by being measured."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import nasreg
from nasreg.cli import main
from nasreg.config.lookup import find_dataset
from nasreg.errors import ConfigError, NasregError, SpaceError
from nasreg.networks.build import build_network
from nasreg.networks.inputs import input_spec
from nasreg.networks.profile import candidate_costs, mean_costs, profile_network
from nasreg.networks.references import find_architecture
from nasreg.nn import extract_space, freeze
from nasreg.registry import default_registry
from nasreg.spaces.config import DartsSpaceConfig
from nasreg.spaces.darts import build
from nasreg.specs import DataInfo
from sources import SMALL, SMALL_WORDS, chain_architecture, chain_model, info
from tiny import Net, Own
from words import check_refused

SIZES = json.loads((Path(__file__).with_name("golden") / "eval_networks.json").read_text())


@pytest.fixture(scope="module")
def sources(tmp_path_factory, run_dir) -> dict[str, list[str]]:
    """Each kind of source, with the arguments that it needs beside it."""
    folder, run = tmp_path_factory.mktemp("sources"), run_dir
    (folder / "cells.json").write_text((run / "architecture.json").read_text())
    small = "--set", "space.nodes=2", "--set", "space.candidates=[none, skip_connect, sep_conv_3x3]"
    return {
        "name": ["DARTS_V2", *SMALL_WORDS],
        "genotype": [(run / "genotype.txt").read_text(), *SMALL_WORDS],
        "run": [str(run)],
        "architecture of a run": [str(run / "architecture.json")],
        "architecture of cells": [str(folder / "cells.json"), "--space", "darts", *small, *SMALL_WORDS],
        "architecture of a chain": [str(chain_architecture(folder)), "--space", "chain", "--set", "space.blocks=2"],
    }


@pytest.mark.slow
def test_counts_are_the_authors():
    whole = DataInfo(channels=3, height=32, width=32, classes=tuple(map(str, range(10))))
    case = next(case for case in SIZES if case.startswith("DARTS_V2 cifar10 C36 L20"))
    network = build_network("DARTS_V2", whole, {"cells": 20, "channels": 36})
    found = profile_network(network, whole, batch_size=2, rounds=1)
    assert (found.parameters, found.macs) == (SIZES[case]["params_without_aux"], SIZES[case]["macs"])
    assert found.image == (3, 32, 32)
    assert [latency.batch_size for latency in found.latency] == [1, 2]


def test_activations_are_what_is_saved_for_the_backward_pass():
    """Images and what ReLU gives; Flatten makes a view of the latter, and the linear layer saves that."""
    network = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 16 * 16, 5))
    for size in (2, 6):
        found = profile_network(network, info(), batch_size=size, rounds=1)
        assert found.activation_bytes == 4 * size * (3 + 4) * 16 * 16
        assert found.macs == 3 * 4 * 9 * 16 * 16 + 4 * 16 * 16 * 5
        assert found.parameters == 3 * 4 * 9 + 4 + 4 * 16 * 16 * 5 + 5


def test_a_network_is_left_as_it_is():
    network = build_network("DARTS_V2", info(), SMALL)
    before, random = copy.deepcopy(network.state_dict()), torch.get_rng_state()
    profile_network(network, info(), batch_size=2, rounds=1)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert torch.equal(torch.get_rng_state(), random)
    assert network.training
    assert all(parameter.grad is None for parameter in network.parameters())


def test_a_network_with_two_outputs():
    network = build_network("DARTS_V2", info(), {**SMALL, "auxiliary": True})
    assert profile_network(network, info(), batch_size=2, rounds=1).macs > 0


def macs_and_parameters(model, architecture) -> tuple[int, int]:
    found = profile_network(freeze(model, architecture), info(), batch_size=2, rounds=1)
    return found.macs, found.parameters


def test_costs_of_a_chains_candidates_add_up():
    model = chain_model()
    space, costs = extract_space(model), candidate_costs(model, info(), rounds=1)
    assert list(costs) == ["conv0", "conv1"]
    means = mean_costs(costs)
    for size in (1, 3, 5):
        mean = means["conv1"][f"conv{size}x{size}"]
        assert (mean.places, mean.parameters, mean.macs) == (1, 16 * size**2 + 8, 16 * size**2 * 16 * 16)
        assert mean.latency_ms > 0
    decisions = {"conv0": "conv3x3", "conv1": "conv1x1", "skip0": ("0",), "skip1": ()}
    first = macs_and_parameters(model, space.architecture(decisions))
    second = macs_and_parameters(model, space.architecture({**decisions, "conv0": "conv5x5"}))
    three, five = means["conv0"]["conv3x3"], means["conv0"]["conv5x5"]
    assert (second[0] - first[0], second[1] - first[1]) == (five.macs - three.macs, five.parameters - three.parameters)


def test_costs_of_cells_are_of_each_edge_of_each_cell():
    config = DartsSpaceConfig(cells=3, channels=4, nodes=2, candidates=("none", "skip_connect", "sep_conv_3x3"))
    model = build(info(), config)
    costs = candidate_costs("darts", info(), config.model_dump(), rounds=1)
    assert {key: len(each) for key, each in costs.items()} == {"normal": 5 * 2, "reduce": 2 * 5 * 2}
    by_path = {cost.path: cost for each in costs.values() for cost in each}
    modules = dict(model.named_modules())
    for path, cost in by_path.items():
        assert cost.parameters == sum(parameter.numel() for parameter in modules[path].parameters())
    space = extract_space(model)
    skips = {choice.key: [[["skip_connect", 0], ["skip_connect", 1]]] * 2 for choice in space.choices}
    normal = {**skips, "normal": [[["skip_connect", 0], ["sep_conv_3x3", 1]], *skips["normal"][1:]]}
    before, after = (macs_and_parameters(model, space.architecture(_tuples(each)))[0] for each in (skips, normal))
    changed = [cost for path, cost in by_path.items() if path.startswith("cells.0") and ".edges.1." in path]
    macs = {cost.candidate: cost.macs for cost in changed}
    assert after - before == macs["sep_conv_3x3"] - macs["skip_connect"]


def _tuples(decisions):
    return {key: tuple(tuple(map(tuple, node)) for node in nodes) for key, nodes in decisions.items()}


def test_costs_of_a_users_model_which_stays_as_it_is():
    model = Net()
    digits = DataInfo(channels=1, height=8, width=8, classes=("a", "b"))
    costs = candidate_costs(model, digits, batch_size=3, rounds=1)
    assert [(cost.path, cost.candidate, cost.macs) for cost in costs["conv"]] == [
        ("conv.candidates.conv1", "conv1", 4 * 64),
        ("conv.candidates.conv3", "conv3", 9 * 4 * 64),
    ]
    assert costs["conv"][0].latency.batch_size == 3
    assert model.training
    with pytest.raises(NasregError, match="nothing decides it"):
        model(torch.randn(1, 1, 8, 8))


def test_costs_of_a_class_are_those_of_its_model():
    digits = DataInfo(channels=1, height=8, width=8, classes=("a", "b"))
    assert [cost.macs for cost in candidate_costs(Own, digits, {"width": 2}, rounds=1)["conv"]] == [2 * 64, 18 * 64]


def test_what_has_no_choice_has_no_costs():
    with pytest.raises(SpaceError, match="no choice in it"):
        candidate_costs(nn.Conv2d(3, 4, 1), info())


def test_images_that_a_model_cannot_compute_are_refused():
    with pytest.raises(SpaceError, match=r"cannot compute images of 3x16x16: RuntimeError: "):
        candidate_costs(Net(), info())
    with pytest.raises(SpaceError, match=r"cannot compute images of 3x16x16: RuntimeError: "):
        profile_network(nn.Conv2d(1, 2, 3), info())


def test_a_run_says_what_the_images_are(run_dir):
    run = find_architecture(run_dir).run
    shape = input_spec(run)
    assert (shape.info.channels, shape.info.height, shape.info.n_classes) == (1, 8, 10)
    assert shape.mean is not None
    other = input_spec(run, image="3x20x24")
    assert (other.info.width, other.info.n_classes, other.mean) == (24, 10, None)
    assert input_spec(run, classes=3).info == shape.info.model_copy(update={"classes": ("0", "1", "2")})
    assert input_spec().info.height == 32
    assert input_spec(dataset=find_dataset(default_registry(), "digits")).mean == shape.mean


@pytest.mark.parametrize(
    "kind",
    ["name", "genotype", "run", "architecture of a run", "architecture of cells", "architecture of a chain"],
)
def test_every_kind_of_source(capsys, sources, kind):
    assert main(["profile", *sources[kind], "--batch", "2", "--json"]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    found = json.loads(captured.out)
    assert found["parameters"] > 0
    assert found["image"] == ([1, 8, 8] if "run" in kind else [3, 32, 32])


def test_tables_for_people(capsys):
    argv = ["profile", "DARTS_V2", *SMALL_WORDS, "--image", "3x16x16", "--classes", "5", "--batch", "2"]
    assert main(argv) == 0
    text, errors = capsys.readouterr()
    assert errors == ""
    assert text.startswith("DARTS_V2 on images of 3x16x16, on cpu with ")
    network = build_network("DARTS_V2", info(), SMALL)
    parameters = sum(parameter.numel() for parameter in network.parameters())
    assert f"\n  parameters   {parameters:,}\n" in text
    assert main([*argv, "--quiet"]) == 0
    assert capsys.readouterr().out == f"{parameters}\n"
    for part in ("for one image", "KiB to train on a batch of 2", "ms for 1 image (", "ms for 2 images ("):
        assert part in text


def test_tables_of_a_space(capsys):
    argv = ["profile", "--space", "chain", "--candidates", "--image", "1x8x8", "--set", "space.blocks=1"]
    assert main(argv) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "conv0: means"
    assert lines[1].split() == ["candidate", "places", "parameters", "MACs", "latency"]
    assert lines[3].split()[:4] == ["conv3x3", "1", "2,336", "147,456"]
    assert len({len(line) for line in lines[1:]}) == 1
    assert main([*argv, "--json"]) == 0
    costs = json.loads(capsys.readouterr().out)
    assert [cost["candidate"] for cost in costs["conv0"]] == ["conv1x1", "conv3x3", "conv5x5"]
    assert main([*argv, "--quiet"]) == 0
    assert capsys.readouterr().out.split() == [str(cost["parameters"]) for cost in costs["conv0"]]


BAD = [
    (["profile"], "give a SOURCE, or --space"),
    (["profile", "PDART"], "Did you mean 'PDARTS'"),
    (["profile", "--space", "chian"], "Did you mean 'chain'"),
    (["profile", "DARTS_V2", "--space", "chain"], "of the search space 'nasreg/darts', not of 'chain'"),
    (["profile", "DARTS_V2", "--dataset", "digit"], "Did you mean 'digits'"),
    (["profile", "DARTS_V2", "--dataset", "digits", "--image", "3x8x8"], "images and classes of its own"),
    (["profile", "DARTS_V2", "--dataset", "folder:/no/such"], "there is no folder /no/such"),
    (["profile", "DARTS_V2", "--set", "space.cels=3"], "Did you mean 'space.cells'"),
    (["profile", "DARTS_V2", "--set", "trainer.epochs=3"], "--set trainer has no meaning here"),
    (["profile", "DARTS_V2", "--set", "dataset.limit=10"], "needs a data set"),
    (["profile", "DARTS_V2", "--dataset", "digits", "--set", "dataset.limt=10"], "Did you mean 'dataset.limit'"),
    (["profile", "DARTS_V2", "--classes", "1"], "expected 2 to"),
    (["profile", "DARTS_V2", "--batch", "1"], "batch_size: 1 is invalid"),
    (["profile", "--space", "chain", "--candidates", "--batch", "0"], "batch_size: 0 is invalid"),
    (["profile", "DARTS_V2", "--device", "cuda:99"], "no device 'cuda:99'"),
    (["profile", "DARTS_V2", "--image", "3x1x1"], "too small for the DARTS space"),
    (["profile", "no/such/architecture.json"], "cannot read architecture"),
    (["profile", "a" * 5000], "there is no genotype"),
    (["profile", "DARTS_V2", "--set", "dataset=digits", "--set", "dataset.limit=no"], "dataset.limit: False"),
    (["profile", "."], "is not a run directory"),
    (["profile", "Genotype(" * 500], "not a genotype"),
    (["profile", "Genotype(normal=__import__('os').abort())"], "not a genotype"),
    (["profile", "nul\0"], "nul"),
    (["profile", "../../etc/passwd\nx"], "there is no run directory or file"),
    (["profile", "--space", "python:Net"], "given as an object"),
]


@pytest.mark.parametrize(
    ("argv", "says"), BAD, ids=lambda value: " ".join(value)[:40] if isinstance(value, list) else value[:20]
)
def test_wrong_usage_is_one_line(tmp_path, monkeypatch, capsys, argv, says):
    monkeypatch.chdir(tmp_path)
    check_refused(argv, says, capsys)


@given(st.text(max_size=20) | st.from_regex(r"-?\d{1,6}x-?\d{1,6}x-?\d{1,6}", fullmatch=True))
def test_any_text_for_the_shape_of_an_image_is_right_or_refused(text):
    try:
        found = input_spec(image=text).info
    except ConfigError as error:
        assert "\n" not in str(error)
    else:
        numbers = tuple(map(int, text.split("x")))
        assert numbers == (found.channels, found.height, found.width)
        assert all(1 <= number <= 4096 for number in numbers)


def test_out_of_memory_says_what_was_too_much(capsys):
    argv = ["--image", "1x4096x4096", "--set", "space.blocks=1", "--batch", str(10**7)]
    assert main(["profile", "--space", "chain", "--candidates", *argv]) == 1
    assert "out of memory on cpu with 10000000 images of 1x4096x4096" in capsys.readouterr().err


def test_names_of_the_api():
    assert nasreg.profile_network is profile_network
    assert nasreg.build_network is build_network
    assert nasreg.find_architecture is find_architecture
    assert nasreg.candidate_costs is candidate_costs
