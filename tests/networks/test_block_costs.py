"""Costs of blocks predict those of whole networks, and their expectation is the mean over architectures."""

from __future__ import annotations

import json
import random
from functools import partial

import pytest
import torch
from torch import nn

import nasreg
from argv import check_refused
from nasreg.cli import main
from nasreg.errors import ConfigError, SpaceError
from nasreg.mutators import SoftmaxMutator, SoftmaxMutatorConfig
from nasreg.networks.block_costs import measure_blocks
from nasreg.networks.costs import network_costs
from nasreg.nn import BatchNorm2d, Cell, Conv2d, LayerChoice, Linear, Repeat, Scope, ValueChoice, extract_space, freeze
from nasreg.spaces import darts, elastic_chain, mobilenet
from nasreg.spaces.config import DartsSpaceConfig, ElasticChainSpaceConfig, MobileNetSpaceConfig
from nasreg.specs import DataInfo
from nasreg.specs.cost_table import BlockCost, CostTable
from nasreg.testing import toy_images
from nasreg.trainers import ExpectedCost
from space_strategies import every_architecture

INFO = DataInfo(channels=1, height=8, width=8, classes=("a", "b"))
COUNTED = ("parameters", "macs")
CPU = torch.device("cpu")


class Mixed(nn.Module):
    """A stride and widths, a stack with a layer choice in it, and a block used twice."""

    def __init__(self) -> None:
        super().__init__()
        width = ValueChoice([2, 4], key="width")
        self.stem = Conv2d(1, width, 3, stride=ValueChoice([1, 2], key="stride"), padding=1)
        self.stack = Repeat(lambda _: self.block(width), [1, 2, 3], key="depth")
        self.twice = LayerChoice({"pool": nn.AvgPool2d(3, 1, 1), "conv": nn.Conv2d(1, 1, 3, padding=1)}, key="twice")
        self.head = Scope("head", Linear(width, 2))

    @staticmethod
    def block(width):
        kernel = ValueChoice([1, 3], key="kernel")
        conv = Conv2d(width, width, kernel, padding=kernel // 2)
        return nn.Sequential(conv, BatchNorm2d(width), LayerChoice({"relu": nn.ReLU(), "tanh": nn.Tanh()}, key="act"))

    def forward(self, x):
        x = self.stack(self.stem(self.twice(self.twice(x))))
        return self.head(x.mean((2, 3)))


MODELS = {
    "mixed": Mixed,
    "darts": lambda: darts.build(INFO, DartsSpaceConfig(cells=3, channels=2, nodes=2)),
    "layers": lambda: mobilenet.build(INFO, MobileNetSpaceConfig(channels=8, stages=2, blocks=2)),
    "elastic": lambda: mobilenet.build(
        INFO, MobileNetSpaceConfig(choices="elastic", form="v3", channels=8, stages=2, blocks=2, kernels=(3, 5))
    ),
    "chain": lambda: elastic_chain.build(INFO, ElasticChainSpaceConfig(blocks=2, skips=())),
}


@pytest.mark.parametrize(
    "title", ["mixed", "layers", *(pytest.param(title, marks=pytest.mark.slow) for title in ("darts", "elastic"))]
)
def test_parameters_and_macs_of_whole_networks_are_the_sums(title):
    model = MODELS[title]()
    space, table = extract_space(model), measure_blocks(model, INFO, COUNTED)
    for seed in range(6):
        architecture = space.sample(random.Random(seed))
        found = network_costs(freeze(model, architecture), INFO, COUNTED, CPU)
        assert {name: table.predict(name, space, architecture) for name in COUNTED} == found
    assert CostTable.model_validate_json(table.model_dump_json()) == table


class Layers(nn.Sequential):
    def __init__(self) -> None:
        convs = {f"conv{size}": partial(nn.Conv2d, 1, 1, size, padding=size // 2) for size in (1, 3, 5)}
        super().__init__(
            LayerChoice(convs, key="a"),
            LayerChoice({**convs, "skip": nn.Identity}, key="b"),
            nn.Conv2d(1, 2, 1),
            nn.Flatten(),
            nn.Linear(128, 2),
        )


class AllEdges(nn.Module):
    """A cell that keeps every edge, so that edges are independent."""

    def __init__(self) -> None:
        super().__init__()
        convs = {f"conv{size}": lambda *_, k=size: nn.Conv2d(1, 1, k, padding=k // 2) for size in (1, 3)}
        operations = {"none": None, **convs, "skip": lambda *_: nn.Identity()}
        self.cell = Cell(operations, inputs=1, nodes=2, edges_kept=2, none_selectable=True, key="cell")
        self.head = nn.Linear(128, 2)

    def forward(self, x):
        return self.head(self.cell(x).flatten(1))


@pytest.mark.parametrize("model", [Layers, AllEdges])
def test_the_expected_cost_is_the_mean_over_the_architectures(model):
    torch.manual_seed(0)
    supernet = model()
    space, table = extract_space(supernet), measure_blocks(supernet, INFO, COUNTED)
    mutator = SoftmaxMutator(space, SoftmaxMutatorConfig(init_std=1.0)).double()
    expected = ExpectedCost(table.blocks, "macs", mutator, CPU)
    mean = torch.zeros((), dtype=torch.float64)
    for architecture in every_architecture(space):
        probability = torch.ones((), dtype=torch.float64)
        for choice in space.choices:
            rows = mutator.probabilities(choice)
            decision = architecture.decisions[choice.key]
            if choice.key == "cell":
                edges = [(edge, op) for node, kept in enumerate(decision) for slot, (op, source) in enumerate(kept)
                         for edge in [choice.edge_number(node, slot, source)]]  # fmt: skip
                for edge, operation in edges:
                    probability = probability * rows[edge][choice.candidates[edge].index(operation)]
            else:
                probability = probability * rows[choice.candidates.index(decision)]
        mean = mean + probability * table.predict("macs", space, architecture)
    assert expected().item() == pytest.approx(mean.item(), rel=1e-9)
    gradients = [torch.autograd.grad(value, mutator.alphas[0], retain_graph=True)[0] for value in (expected(), mean)]
    torch.testing.assert_close(*gradients, rtol=1e-6, atol=1e-6)


def test_what_has_no_table_is_refused():
    with pytest.raises(SpaceError, match=r"Repeat 'depth' has a head for each depth"):
        measure_blocks(MODELS["chain"](), INFO)
    strides = [ValueChoice([1, 2], key=f"stride{number}") for number in range(10)]
    deep = nn.Sequential(*(Conv2d(1, 1, 3, stride=stride, padding=1) for stride in strides), nn.Flatten())
    with pytest.raises(SpaceError, match=r"depends on 'stride0', .* which have 1,024 combinations; at most 512"):
        measure_blocks(deep, DataInfo(channels=1, height=64, width=64, classes=("a", "b")), COUNTED)


def test_a_block_has_a_cost_for_each_combination():
    with pytest.raises(ValueError, match="block 'x' has not one cost for each of the 2 combinations"):
        BlockCost(path="x", decisions=(("a", 0),), options=(("one", "two"),), costs={"macs": (1.0,)})


@pytest.mark.usefixtures("without_report")
@pytest.mark.parametrize("limit", ["max_macs", "max_latency_ms"])
def test_a_search_within_a_budget_finds_a_cheaper_architecture(tmp_path, limit):
    options = {"epochs": 3, "batch_size": 16, "arch_lr": 0.3, limit: 1e-3, "budget_weight": 1000.0}
    result = nasreg.search(Layers, toy_images(64), "darts", out=tmp_path / "run", seed=0, trainer=options, device="cpu")
    assert (tmp_path / "run/block_costs.json").is_file() == (limit == "max_latency_ms")
    if limit == "max_macs":
        assert result.architecture.decisions == {"a": "conv1", "b": "skip"}


@pytest.mark.slow
@pytest.mark.usefixtures("without_report")
def test_an_interrupted_search_keeps_the_latencies_that_it_has_measured(tmp_path):
    trainer = {"epochs": 2, "batch_size": 16, "max_latency_ms": 1e-3}
    nasreg.search(Layers, toy_images(64), "darts", out=tmp_path / "run", seed=0, trainer=trainer, device="cpu")
    file = tmp_path / "run/block_costs.json"
    again = nasreg.search(
        Layers, toy_images(64), "darts", seed=0, trainer={**trainer, "block_costs": str(file)}, device="cpu"
    )
    first = [json.loads(line) for line in (tmp_path / "run/metrics.jsonl").read_text().splitlines()]
    last = [line for line in first if line["event"] == "epoch"][-1]
    assert last["arch_loss"] == again.history[-1]["arch_loss"]
    other = {**trainer, "block_costs": str(file)}
    with pytest.raises(ConfigError, match=r"block_costs.json has no table with latency_ms of this space"):
        nasreg.search(Mixed3, toy_images(64), "darts", seed=0, trainer=other, device="cpu")


class Mixed3(nn.Sequential):
    def __init__(self) -> None:
        super().__init__(LayerChoice([nn.Conv2d(1, 1, 1), nn.Identity()], key="c"), nn.Flatten(), nn.Linear(64, 2))


def test_a_table_fits_a_supernet_of_the_same_sizes_alone():
    tables = [
        measure_blocks(
            mobilenet.build(INFO, MobileNetSpaceConfig(channels=8, stages=1, blocks=1, head=head)), INFO, names
        )
        for head, names in ((16, COUNTED), (16, ("macs",)), (24, COUNTED))
    ]
    assert tables[0].fits(tables[1])
    assert not tables[0].fits(tables[2])


@pytest.mark.slow
def test_the_command(capsys):
    argv = ["profile", "--space", "chain", "--blocks", "--image", "1x8x8", "--set", "space.blocks=2"]
    assert main(argv) == 0
    text = capsys.readouterr().out
    assert "whole networks, measured and predicted as the sum of their blocks" in text
    assert main([*argv, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [block["path"] for block in found["table"]["blocks"]] == ["stem", "convs.0", "convs.1", "classifier"]
    for each in found["predictions"]:
        assert {name: each["predicted"][name] for name in COUNTED} == {name: each["measured"][name] for name in COUNTED}
        assert each["predicted"]["latency_ms"] > 0
    check_refused(["profile", "--space", "chain", "--blocks", "--candidates"], "give one of them", capsys)
    check_refused(["profile", "--space", "chain", "--blocks", "--max-macs", "5"], "without --blocks", capsys)
