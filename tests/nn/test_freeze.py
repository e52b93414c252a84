"""A frozen network computes what the supernet computes on that path: for every space, mode, execution and answer."""

from __future__ import annotations

import copy
import random

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from nasreg import nn as elastic
from nasreg.nn import (
    Cell,
    Execution,
    InputChoice,
    LayerChoice,
    Repeat,
    Scope,
    ValueChoice,
    extract_space,
    freeze,
    named_choices,
    set_execution,
)
from nasreg.spaces import chain, darts, elastic_chain
from nasreg.spaces.config import ChainSpaceConfig, DartsSpaceConfig, ElasticChainSpaceConfig
from nasreg.specs import CellSpec, DataInfo, InputChoiceSpec, RepeatSpec, ValueChoiceSpec

EXECUTIONS = (Execution(optimized=False), Execution(), Execution(min_fused_numel=0, checkpoint=True))
INFO = DataInfo(channels=2, height=8, width=8, classes=("a", "b"))


class AllKinds(nn.Module):
    """Every kind of choice, with shared keys, scopes, shared modules and candidates of other classes."""

    def __init__(self, reduction="sum"):
        super().__init__()
        shared = nn.Sequential(nn.Conv2d(4, 4, 1, bias=False), nn.BatchNorm2d(4))
        candidates = {"shared": shared, "skip": nn.Identity(), "wide": nn.Conv2d(4, 4, 3, padding=1)}
        self.stem = nn.Conv2d(2, 4, 1)
        self.layer = LayerChoice({**candidates, "again": shared}, key="layer")
        self.scopes = nn.Sequential(*(Scope(name, LayerChoice([nn.ReLU(), nn.Tanh()], key="act")) for name in "ab"))
        self.inputs = InputChoice(3, n_chosen=2 if reduction == "concat" else None, reduction=reduction, key="inputs")
        self.named = InputChoice(choose_from=["x", "y"], reduction="none", key="named")
        width = 8 if reduction == "concat" else 4

        def conv(source, node):
            return nn.Sequential(nn.ReLU(), nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width))

        makers = {"none": None, "conv": conv, "skip": lambda source, node: nn.Identity()}
        self.cells = nn.ModuleList(
            Cell(makers, inputs=1, nodes=2, edges_kept=1, concat=[1, 2], key="cell") for _ in range(2)
        )
        self.head = nn.Linear(2 * width, 2)

    def forward(self, x):
        x = self.stem(x)
        y = self.scopes(self.layer(x))
        x = self.inputs([x, y, x * y])
        [x] = self.named({"x": x, "y": x.flip(1)})
        return self.head(sum(cell(x) for cell in self.cells).mean((2, 3)))


class Stacks(nn.Module):
    """Values, elastic layers, and stacks of blocks with all the other kinds of choices in them."""

    def __init__(self):
        super().__init__()
        width, kernel = ValueChoice([4, 6, 2], key="width"), ValueChoice([3, 1, 5], key="kernel")

        def op(name):
            if name == "skip":
                return nn.Identity()
            return nn.Sequential(nn.ReLU(), nn.Conv2d(4, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4))

        def cell(**options):
            makers = {"none": None, **{name: lambda s, n, name=name: op(name) for name in ("conv", "skip")}}
            return Cell(makers, inputs=1, nodes=2, join="sum", **options)

        def block(index):
            return nn.Sequential(
                LayerChoice({"conv": lambda: op("conv"), "tanh": nn.Tanh}),
                Both(),
                cell(repeat_sources=True, loose_ends=True) if index else cell(none_selectable=True, edges_kept=1),
                elastic.Conv2d(4, 2 * width, kernel, padding=kernel // 2, groups=2),
                elastic.BatchNorm2d(2 * width),
                nn.ReLU(),
                elastic.Conv2d(2 * width, 4, 1),
            )

        self.stem = nn.Conv2d(2, 4, 1)
        self.shared = Repeat(block, [0, 1, 2], key="depth")
        self.scoped = Scope("second", Repeat([Scope("inner", block(1)), nn.Tanh()], [1, 2], key="depth"))
        self.scale = ValueChoice([0.5, 2], key="scale")
        self.norm, self.head = elastic.LayerNorm(width), elastic.Linear(width, 2)
        self.last = elastic.Conv2d(4, width, 1)

    def forward(self, x):
        x = self.last(self.scoped(self.shared(self.stem(x)))) * self.scale()
        return self.head(self.norm(x.mean((2, 3))))


class Both(nn.Module):
    """A choice of inputs."""

    def __init__(self):
        super().__init__()
        self.inputs = InputChoice(2, n_chosen=None, reduction="mean")

    def forward(self, x):
        return self.inputs([x, x.flip(1)])


class Extreme(random.Random):
    """Draws the first of all options, or the last."""

    def __init__(self, *, last):
        super().__init__(0)
        self.last = last

    def randrange(self, start, stop=None, step=1):
        options = range(start) if stop is None else range(start, stop, step)
        return options[-1 if self.last else 0]

    def choice(self, seq):
        return seq[-1 if self.last else 0]

    def sample(self, population, k, *, counts=None):
        return list(population)[-k:] if self.last else list(population)[:k]


SPACES = {
    "darts": lambda: darts.build(INFO, DartsSpaceConfig(cells=2, channels=2, nodes=2)),
    "darts, retrain": lambda: darts.build(INFO, DartsSpaceConfig(cells=2, channels=2, nodes=2, phase="retrain")),
    "chain": lambda: chain.build(INFO, ChainSpaceConfig(blocks=2, channels=4)),
    "elastic-chain": lambda: elastic_chain.build(INFO, ElasticChainSpaceConfig(blocks=3, widths=(3, 2))),
    "all kinds, sum": AllKinds,
    "all kinds, mean": lambda: AllKinds("mean"),
    "all kinds, concat": lambda: AllKinds("concat"),
    "stacks": Stacks,
}


def one_weights(spec, decision):
    """Return weights that mean a decision: only what is chosen has one."""
    one = torch.ones((), dtype=torch.float64)
    if isinstance(spec, ValueChoiceSpec | RepeatSpec):
        return decision  # they take no weights
    if isinstance(spec, CellSpec):
        weights = [{} for _ in range(spec.n_edges)]
        for node, kept in enumerate(decision):
            for slot, (operation, source) in enumerate(kept):
                weights[spec.edge_number(node, slot, source)][operation] = one
        return weights
    if isinstance(spec, InputChoiceSpec):
        share = max(1, len(decision)) if spec.reduction == "mean" else 1
        return dict.fromkeys(decision, one / share)
    return {decision: one}


def decided(model, architecture, *, weighted, execution):
    """Return a copy of a model whose choices answer with an architecture."""
    model = copy.deepcopy(model)
    set_execution(model, execution)
    for key, _, choice, _ in named_choices(model):
        decision = architecture.decisions[key]
        answer = one_weights(choice.spec(key, ()), decision) if weighted else decision
        choice.bind(lambda answer=answer: answer)
    return model


@pytest.mark.slow
@pytest.mark.parametrize("title", SPACES)
@settings(max_examples=3)
@given(
    seed=st.integers(0, 10**6),
    mode=st.sampled_from(["train", "eval"]),
    which=st.sampled_from(["first", "last", "random"]),
)
def test_frozen_network_and_supernet_agree(title, seed, mode, which):
    torch.manual_seed(seed)
    model = SPACES[title]().double().train(mode == "train")
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_()
    architecture = extract_space(model).sample(
        random.Random(seed) if which == "random" else Extreme(last=which == "last")
    )
    x = torch.randn(3, 2, 8, 8, dtype=torch.float64)
    frozen = freeze(model, architecture)
    assert not any(type(module).__module__.startswith("nasreg") for module in frozen.modules())
    results = []
    torch.manual_seed(0)
    network = [frozen(x), *frozen.buffers()]
    own = {id(parameter) for parameter in frozen.parameters()}
    assert not own & {id(parameter) for parameter in model.parameters()}
    gradient = stem_gradient(network[0], frozen)
    for execution in EXECUTIONS:
        for weighted in (False, True):
            torch.manual_seed(0)
            supernet = decided(model, architecture, weighted=weighted, execution=execution)
            output = supernet(x)
            # Frozen after the pass, the path has its running statistics.
            buffers = freeze(supernet, architecture).buffers()
            results.append([output, *buffers, *stem_gradient(output, supernet)])
    for result in results:
        for one, other in zip(result, [*network, *gradient], strict=True):
            torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-9)


def stem_gradient(output, model):
    """Return the gradient of the stem's first parameter, which the whole path has a part in."""
    stems = ("stem", "chain.0", "chain.blocks.0")
    parameter = next(parameter for name, parameter in model.named_parameters() if name.startswith(stems))
    found = torch.autograd.grad(output.square().sum(), parameter, allow_unused=True, materialize_grads=True)
    # an elastic stem is larger than the frozen one, with a gradient of 0 in what is not used
    return [gradient.flatten()[gradient.flatten() != 0] for gradient in found]
