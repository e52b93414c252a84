"""The extremes of a space are those of all its architectures, and ``nasreg profile --space`` reports what they cost."""

from __future__ import annotations

import json
from functools import partial

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import Field
from torch import nn

import nasreg
from argv import check_refused
from nasreg.cli import main
from nasreg.config.lookup import find_space, space_from_entry, space_from_object
from nasreg.config.sources import SpaceSource
from nasreg.errors import ConfigError, SpaceError, UsageError
from nasreg.networks.build import network_of
from nasreg.networks.extremes import extreme_architectures
from nasreg.nn import (
    BatchNorm2d,
    Cell,
    Conv2d,
    LayerChoice,
    Linear,
    Repeat,
    Scope,
    ValueChoice,
    extract_space,
    parameter_count,
)
from nasreg.registry import default_registry
from nasreg.specs import NONE, Config, DataInfo, SpaceEntry
from nasreg.specs.references import parse_reference
from space_strategies import every_architecture
from tiny import Net, Own

INFO = DataInfo(channels=1, height=8, width=8, classes=("a", "b"))


def counts_and_extremes(space, **options):
    """Return the number of parameters of every architecture, and those of the three extremes."""
    if isinstance(space, str):
        space = find_space(default_registry(), space)
    source = space if isinstance(space, SpaceSource) else space_from_object(space)
    spec = extract_space(source.build(INFO, options))
    values = {**options, **source.retrain_options}

    def count(architecture):
        return parameter_count(network_of(source, INFO, values, architecture.decisions))

    return [count(each) for each in every_architecture(spec)], [
        count(each) for each in extreme_architectures(source, options, spec, INFO)
    ]


def check_extremes(space, **options):
    counts, (smallest, middle, largest) = counts_and_extremes(space, **options)
    assert (smallest, largest) == (min(counts), max(counts))
    assert smallest <= middle <= largest
    return counts


def conv(size: int, channels: int = 2) -> nn.Module:
    return nn.Conv2d(channels, channels, size, padding="same")


class Chosen(nn.Sequential):
    """Two places share a decision, in which the larger candidate of one is the smaller of the other; one is alone."""

    def __init__(self):
        super().__init__(
            LayerChoice({"a": conv(1), "b": conv(5), "c": conv(3)}, key="shared"),
            LayerChoice({"a": conv(7), "b": conv(1), "c": conv(5)}, key="shared"),
            LayerChoice({"x": nn.Identity(), "y": partial(conv, 3)}, key="alone"),
        )


class Deep(nn.Module):
    """Blocks share a decision; the larger candidate of the first block is the smaller of all blocks together."""

    def __init__(self):
        super().__init__()
        inner = Repeat([LayerChoice([conv(1), conv(3)], key="inner")], depths=[0, 1], key="inner_depth")
        self.stack = Repeat(
            [
                LayerChoice({"a": conv(3), "b": conv(1)}, key="operation"),
                LayerChoice({"a": conv(1), "b": conv(7)}, key="operation"),
                inner,
            ],
            depths=[1, 2, 3],
            key="depth",
        )
        self.after = LayerChoice([conv(1), conv(3)], key="operation_after")


class Wide(nn.Module):
    """Sizes that values decide: shared by layers, multiplied, in a scope, and against their order (``groups``)."""

    def __init__(self):
        super().__init__()
        width, ratio = ValueChoice([8, 4], key="width"), ValueChoice([1, 3], key="ratio")
        groups, kernel = ValueChoice([4, 1, 2], key="groups"), ValueChoice([1, 3], key="kernel")
        self.expand = Conv2d(1, width * ratio, kernel, padding=kernel // 2)
        self.norm = BatchNorm2d(width * ratio)
        self.project = Conv2d(width * ratio, width, 1, groups=groups)
        self.scoped = Scope("tail", Linear(width, ValueChoice([2, 3], key="features")))
        self.activation = ValueChoice(["relu", "gelu"], key="activation")


class Opposed(nn.Module):
    """A larger ``a`` makes one layer larger and another smaller, and which of them counts depends on ``b``."""

    def __init__(self):
        super().__init__()
        a, b = ValueChoice([1, 4, 9], key="a"), ValueChoice([1, 5, 8], key="b")
        self.up = Linear(a, b)
        self.down = Linear(10 - a, 9 - b)
        self.stack = Repeat([Linear(a * 3, 1), Linear(20, 10 - a), Linear(b, b)], depths=[0, 2, 3], key="depth")


class Saddle(nn.Module):
    """From the largest ``a`` and ``b``, no single change leads to the most parameters, which has the smallest ``b``."""

    def __init__(self):
        super().__init__()
        a, b = ValueChoice([1, 9], key="a"), ValueChoice([1, 8], key="b")
        self.one = Linear(12 - a, b, bias=False)
        self.other = Linear(a, 12 - b, bias=False)


class Cells(nn.Module):
    """Two cells share a decision; on the edges from their input the larger operation of one is the smaller of both."""

    def __init__(self, none_selectable: bool = False, repeat_sources: bool = False, edges_kept: int = 1):
        super().__init__()
        n_edges = (1 + 2) * (edges_kept if repeat_sources else 1)
        names = [["skip", "small", NONE], ["large", NONE], ["small", "skip", "large"]]

        def operation(sizes, source, node):
            return conv(sizes[min(source, 1)])

        for number, small in enumerate(((1, 1), (5, 1))):
            cell = Cell(
                {
                    "skip": lambda source, node: nn.Identity(),
                    "small": partial(operation, small),
                    "large": partial(operation, (3, 3)),
                    NONE: None,
                },
                inputs=1,
                nodes=2,
                edges_kept=edges_kept,
                edge_candidates=[names[edge % 3] for edge in range(n_edges)],
                none_selectable=none_selectable,
                repeat_sources=repeat_sources,
                key="cell",
            )
            self.add_module(f"cell{number}", cell)


@pytest.mark.parametrize("space", [Chosen, Net, Deep, Wide, Opposed, Saddle, Own])
def test_extremes_are_those_of_all_architectures(space):
    counts = check_extremes(space)
    assert len(set(counts)) > 1


@pytest.mark.parametrize("edges_kept", [1, 2])
@pytest.mark.parametrize("repeat_sources", [False, True])
@pytest.mark.parametrize("none_selectable", [False, True])
def test_extremes_of_cells(none_selectable, repeat_sources, edges_kept):
    form = {"none_selectable": none_selectable, "repeat_sources": repeat_sources, "edges_kept": edges_kept}
    assert len(set(check_extremes(Cells, **form))) > 3


class FormConfig(Config):
    retrained: bool = Field(default=False, description="whether it is built to be retrained")


def test_extremes_are_of_the_form_that_is_retrained():
    """The candidate that is the larger one in a search is the smaller one then."""

    def build(info, config):
        return nn.Sequential(LayerChoice([conv(1), conv(3)] if config.retrained else [conv(3), conv(1)], key="conv"))

    entry = SpaceEntry(name="f", summary="two forms", factory=build, config=FormConfig, retrain={"retrained": True})
    check_extremes(space_from_entry(entry, parse_reference("f")))


@pytest.mark.slow
def test_extremes_of_registered_spaces():
    operations = ["none", "skip_connect", "max_pool_3x3", "sep_conv_3x3"]
    check_extremes("darts", cells=1, channels=2, nodes=1, candidates=operations, reductions=0)
    check_extremes("chain", blocks=2, channels=2)
    check_extremes("elastic-chain", blocks=2, widths=(3, 1, 2), kernels=(1, 3), strides=(1,))


class Drawn(nn.Module):
    """Linear layers between sizes that are sums, differences and quotients of values."""

    def __init__(self, values, layers):
        super().__init__()
        choices = [ValueChoice(each, key=f"v{number}") for number, each in enumerate(values)]
        forms = [
            lambda one, two: one,
            lambda one, two: one * two,
            lambda one, two: one + two,
            lambda one, two: 12 - one,
            lambda one, two: one // 2 + 1,
        ]
        self.layers = nn.ModuleList(
            Linear(*(forms[form](choices[one % len(choices)], choices[two % len(choices)]) for form, one, two in ends))
            for ends in layers
        )
        self.choices = nn.ModuleList(choices)


size = st.tuples(st.integers(0, 4), st.integers(0, 2), st.integers(0, 2))


@settings(max_examples=30)
@given(
    st.lists(st.lists(st.integers(1, 9), min_size=1, max_size=3, unique=True), min_size=1, max_size=3),
    st.lists(st.tuples(size, size), min_size=1, max_size=3),
)
def test_extremes_of_any_sizes(values, layers):
    check_extremes(Drawn(values, layers))


class Many(nn.Module):
    """More combinations of widths than are tried; a larger one always means more parameters."""

    def __init__(self):
        super().__init__()
        widths = [ValueChoice([4, 2, 8], key=f"width{number}") for number in range(12)]
        self.layers = nn.ModuleList(map(Linear, [1, *widths], [*widths, 2]))


def test_extremes_where_there_are_too_many_combinations_to_try():
    source = space_from_object(Many)
    extremes = extreme_architectures(source, {}, extract_space(Many()), INFO)
    assert set(extremes.smallest.decisions.values()) == {2}
    assert set(extremes.middle.decisions.values()) == {4}
    assert set(extremes.largest.decisions.values()) == {8}


def test_a_model_that_the_users_function_holds_is_left_as_it_is():
    held = Wide()
    extreme_architectures(space_from_object(lambda: held), {}, extract_space(held), INFO)
    with pytest.raises(nasreg.NasregError, match="nothing decides it"):
        held.project(torch.zeros(1, 8, 4, 4))


def test_a_profile_of_a_registered_space():
    found = nasreg.profile_space("chain", INFO, {"blocks": 1, "channels": 4})
    # the stem and the classifier, and a convolution of 1x1 or 5x5 with its BatchNorm
    assert found.largest.parameters - found.smallest.parameters == 4 * 4 * (25 - 1)
    assert found.largest.macs - found.smallest.macs == 4 * 4 * (25 - 1) * 64
    assert found.middle.architecture.decisions["conv0"] == "conv3x3"
    assert 0 < found.smallest.latency_ms < 1000
    assert (found.n_decisions, found.n_architectures) == (2, 6)
    assert (found.space, found.image, found.device) == ("chain", (1, 8, 8), "cpu")
    assert (found.budgets, found.samples, found.share) == ({}, 0, None)


def test_budgets_of_a_users_own_class():
    """Its architectures are two: a convolution of 1x1 and one of 3x3."""
    small, large = sorted(counts_and_extremes(Own)[0])
    profile = partial(nasreg.profile_space, Own, INFO, samples=40)
    found = profile(max_parameters=small, max_macs="100%", max_latency_ms=1e6)
    assert (found.smallest.parameters, found.largest.parameters) == (small, large)
    assert found.budgets["parameters"].limit == small
    assert found.budgets["parameters"].reachable is True
    assert 0 < found.budgets["parameters"].share < 1
    assert found.budgets["macs"].limit == found.largest.macs
    assert found.budgets["macs"].share == 1
    assert found.share == found.budgets["parameters"].share
    assert (found.budgets["latency_ms"].reachable, found.budgets["latency_ms"].share) == (True, None)
    assert profile(max_parameters=small).budgets["parameters"].share == found.share
    too_few = profile(max_parameters=small - 1, max_macs=1, max_latency_ms=1e-9)
    assert {name: each.reachable for name, each in too_few.budgets.items()} == {
        "parameters": False,
        "macs": None,
        "latency_ms": None,
    }
    assert too_few.share == 0


def test_a_profile_needs_no_samples_for_a_latency_and_changes_nothing():
    model, random = Net(), torch.get_rng_state()
    found = nasreg.profile_space(model, INFO, max_latency_ms="50%")
    assert found.samples == 0
    assert found.budgets["latency_ms"].limit == found.largest.latency_ms / 2
    assert torch.equal(torch.get_rng_state(), random)
    assert model.training


@pytest.mark.parametrize("budget", ["half", "0%", "-5%", 0, -1, float("nan"), float("inf"), "50"])
def test_a_malformed_budget_is_refused(budget):
    with pytest.raises(ConfigError, match=r"^max_macs: .* is invalid: expected a number above 0, or a share"):
        nasreg.profile_space(Own, INFO, max_macs=budget)
    with pytest.raises(UsageError, match=r"^profile_space: max_macs=True is invalid: expected float or str or None"):
        nasreg.profile_space(Own, INFO, max_macs=True)


def test_what_is_no_space_is_refused():
    with pytest.raises(UsageError, match="expected a class or function"):
        nasreg.profile_space(3, INFO)
    with pytest.raises(SpaceError, match="no choice in it"):
        nasreg.profile_space(nn.Conv2d(1, 2, 3), INFO)
    with pytest.raises(SpaceError, match=r"cannot compute images of 3x8x8: RuntimeError: "):
        nasreg.profile_space(Net(), INFO.model_copy(update={"channels": 3}))
    with pytest.raises(ConfigError, match="samples: 0 is invalid"):
        nasreg.profile_space(Own, INFO, samples=0)


CHAIN = ["profile", "--space", "chain", "--image", "1x8x8", "--set", "space.blocks=1", "--set", "space.channels=4"]
CHAIN_OPTIONS = {"blocks": 1, "channels": 4}


def profile_of(argv, capsys):
    """Return what ``nasreg profile`` prints."""
    assert main(argv) == 0
    text, errors = capsys.readouterr()
    assert errors == ""
    return text


def test_a_table_of_a_space(capsys):
    lines = profile_of(CHAIN, capsys).splitlines()
    assert lines[0].startswith("chain on images of 1x8x8, on cpu with ")
    assert lines[1].split() == ["architecture", "parameters", "MACs", "latency"]
    found = nasreg.profile_space("chain", INFO.model_copy(update={"classes": tuple("0123456789")}), CHAIN_OPTIONS)
    for line, cost in zip(lines[2:5], (found.smallest, found.middle, found.largest), strict=True):
        assert line.split()[1:3] == [f"{cost.parameters:,}", f"{cost.macs:,}"]
    assert lines[5:] == ["6 architectures, each of 2 elementary decisions"]
    sizes = [found.smallest.parameters, found.middle.parameters, found.largest.parameters]
    assert list(map(int, profile_of([*CHAIN, "--quiet"], capsys).split())) == sizes


def test_a_table_of_budgets(capsys):
    budgets = ["--max-parameters", "100%", "--max-macs", "1", "--max-latency-ms", "1e6"]
    rows = [line.split("  ") for line in profile_of([*CHAIN, *budgets], capsys).splitlines()[7:]]
    cells = [[cell.strip() for cell in row if cell] for row in rows]
    assert cells[0] == ["budget", "at most", "can be met", "of 100 random architectures"]
    assert cells[1][0] == "parameters"
    assert cells[1][2:] == ["yes", "100%"]
    assert cells[2] == ["MACs", "1", "perhaps: none that was measured meets it", "0%"]
    assert cells[3] == ["latency", "1,000,000.000 ms", "yes", "not measured"]
    assert cells[4] == ["both", "0%"]
    assert "  parameters  1        no          0%" in profile_of([*CHAIN, "--max-parameters", "1"], capsys)
    assert "random" not in profile_of([*CHAIN, "--max-latency-ms", "50%"], capsys)


def test_a_users_own_class_as_json(capsys, tmp_path):
    argv = ["profile", "--space", "tiny:Own", "--image", "1x8x8", "--classes", "2", "--json"]
    found = json.loads(profile_of([*argv, "--max-parameters", "50%"], capsys))
    expected = nasreg.profile_space(Own, INFO, max_parameters="50%")
    assert found["budgets"] == {"parameters": expected.budgets["parameters"].model_dump()}
    assert found["largest"]["architecture"] == expected.largest.architecture.model_dump(mode="json")
    path = tmp_path / "largest.json"
    path.write_text(json.dumps(found["largest"]["architecture"]))
    network = ["profile", str(path), "--space", "tiny:Own", "--image", "1x8x8", "--classes", "2", "--quiet"]
    assert int(profile_of(network, capsys)) == expected.largest.parameters


def test_a_space_on_the_images_of_a_data_set(capsys):
    found = json.loads(profile_of(["profile", "--space", "tiny:Own", "--dataset", "digits", "--json"], capsys))
    assert found["image"] == [1, 8, 8]
    assert found["smallest"]["parameters"] == 2 * 4 + 5 * 10


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        (["--space", "chian"], "Did you mean 'chain'"),
        (["--space", "tiny:Owner"], "tiny:Owner"),
        (["--space", "darts", "--image", "3x1x1"], "too small for the DARTS space"),
        (["--space", "tiny:Net"], "cannot compute images of 3x32x32: RuntimeError"),
        (["--space", "chain", "--max-macs", "half"], "max_macs: 'half' is invalid"),
        (["--space", "chain", "--max-parameters", "0"], "max_parameters: 0.0 is invalid"),
        (["--space", "chain", "--batch", "3"], "--batch has no meaning"),
        (["--space", "chain", "--candidates", "--max-macs", "9"], "without --candidates"),
        (["DARTS_V2", "--max-latency-ms", "9"], "without SOURCE"),
        (["DARTS_V2", "--candidates"], "no SOURCE"),
        (["--candidates"], "give a SOURCE, or --space"),
    ],
)
def test_wrong_usage_is_one_line(argv, says, capsys):
    check_refused(["profile", *argv], says, capsys)
