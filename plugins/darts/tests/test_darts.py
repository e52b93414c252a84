"""DARTS: the options of the paper, what each step updates, and the architecture that is derived."""

from __future__ import annotations

import math
import random
from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.utils.data import TensorDataset

import nasreg
from nasreg.config.request import RunRequest
from nasreg.config.resolve import resolve
from nasreg.mutators import SoftmaxMutatorConfig, derive_cell
from nasreg.nn import Execution, InputChoice, LayerChoice, extract_space, set_execution
from nasreg.registry import Registry
from nasreg.spaces.config import DartsSpaceConfig
from nasreg.spaces.darts import build
from nasreg.specs import NONE, CellSpec, DataInfo, InputChoiceSpec, LayerChoiceSpec, RunSpec, SearchSpaceSpec, Selection
from nasreg.tasks import Classification
from nasreg.testing import toy_images
from nasreg.trainers import OneShotContext
from nasreg_darts.config import DartsTrainerConfig
from nasreg_darts.mutator import DartsMutator
from nasreg_darts.trainer import DartsTrainer

CPU = torch.device("cpu")
INFO = DataInfo(channels=1, height=8, width=8, classes=("a", "b", "c"))
CANDIDATES = ["none", "skip_connect", "sep_conv_3x3", "sep_conv_5x5"]


class Smooth(nn.Module):
    """Layer and input choices without a kink, so that finite differences are accurate."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = LayerChoice({"one": nn.Conv2d(1, 3, 1), "three": nn.Conv2d(1, 3, 3, padding=1)}, key="conv")
        self.bn = nn.BatchNorm2d(3)
        self.skip = InputChoice(2, n_chosen=None, key="skip")
        self.pick = InputChoice(3, n_chosen=2, reduction="mean", key="pick")
        self.head = nn.Linear(3, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        a = self.bn(self.conv(x))
        b = self.skip([a, torch.tanh(a)])
        return self.head(self.pick([a, b, a * b]).mean((2, 3)))


def make_trainer(model: Callable[[], nn.Module] = lambda: Smooth().double(), **options: object) -> DartsTrainer:
    torch.manual_seed(0)
    context = OneShotContext(
        spec=RunSpec(
            algorithm="darts", space=Selection(name="own"), dataset=Selection(name="own"), mutator={}, trainer={}
        ),
        space=extract_space(model()),
        data=None,  # type: ignore[arg-type]  # the batches are given
        task=Classification(),
        device=CPU,
        build_supernet=model,
        make_mutator=lambda space: DartsMutator(space, SoftmaxMutatorConfig(init_std=0.5)).double(),
        capabilities={},
    )
    trainer = DartsTrainer(context, DartsTrainerConfig(**options))
    trainer.setup()
    trainer.start_epoch(0)
    return trainer


def batch(seed: int, n: int = 12) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(n, 1, 5, 5, generator=generator, dtype=torch.float64), torch.arange(n) % 3


def state(module: nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in module.state_dict().items()}


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(value, other[name]) for name, value in one.items())


def resolved(**options: str) -> RunSpec:
    spec = resolve(Registry(), RunRequest(algorithm="darts", **options)).spec
    assert isinstance(spec, RunSpec)
    return spec


def test_preset_paper_is_the_authors_command_line():
    spec = resolved(preset="paper", dataset="cifar10")
    assert spec.trainer == {
        "epochs": 50,
        "batch_size": 64,
        "accumulate": 1,
        "precision": "float32",
        "deterministic": True,
        "checkpoint_minutes": 10.0,
        "keep_freed_memory": True,
        "sync_batch_norm": False,
        "execution": "optimized",
        "activation_checkpointing": False,
        "lr": 0.025,
        "lr_min": 0.001,
        "momentum": 0.9,
        "weight_decay": 3e-4,
        "grad_clip": 5.0,
        "arch_lr": 3e-4,
        "arch_betas": [0.5, 0.999],
        "arch_weight_decay": 1e-3,
        "arch_grad_clip": None,
        "max_parameters": None,
        "max_macs": None,
        "max_latency_ms": None,
        "block_costs": None,
        "budget_weight": 1.0,
        "nesterov": False,
        "warmup_epochs": 0,
        "partial_channels": 1,
        "auxiliary_skip": 0.0,
        "auxiliary_skip_schedule": "linear",
        "perturbation": 0.0,
        "skip_limit": None,
        "skip_limit_action": "stop",
        "second_order": False,
        "hessian_product": "finite_difference",
        "finite_difference_step": 0.01,
    }
    assert spec.mutator == {"init_std": 1e-3, "edge_normalization": False}
    assert spec.seed == 2
    space = spec.space.options
    assert (space["cells"], space["channels"], space["nodes"], space["edges_kept"]) == (8, 16, 4, 2)
    assert len(space["candidates"]) == 8
    data = spec.dataset.options
    assert (data["arch_fraction"], data["validation_fraction"], data["crop_padding"], data["flip"]) == (
        0.5,
        0,
        4,
        True,
    )
    second = resolved(preset="paper-second-order", dataset="cifar10")
    assert second.trainer == {**spec.trainer, "second_order": True}
    assert resolved(dataset="cifar10").preset == "paper"
    assert resolved().preset == "demo"


def test_architecture_parameters_are_not_among_the_weights():
    trainer = make_trainer()
    held = {id(parameter) for parameter in trainer.model.parameters()}
    assert not held & {id(alpha) for alpha in trainer.alphas}
    assert {id(p) for p in trainer.optimizers["weights"].param_groups[0]["params"]} == held
    assert {id(p) for p in trainer.optimizers["arch"].param_groups[0]["params"]} == {id(a) for a in trainer.alphas}


@pytest.mark.parametrize("second_order", [False, True])
def test_each_update_changes_only_its_own_parameters(second_order):
    trainer = make_trainer(second_order=second_order)
    trainer.train_step(batch(0), batch(1))  # so that there is momentum
    for parameter in trainer.model.parameters():
        parameter.grad = None
    weights, alphas = state(trainer.model), state(trainer.mutator)
    trainer.arch_gradient(batch(2), batch(3))
    assert all(parameter.grad is None for parameter in trainer.model.parameters())
    moved = state(trainer.model)
    parameters = {name: value for name, value in weights.items() if "running" not in name and "num_batches" not in name}
    assert same(parameters, moved)
    trainer.train_step(batch(4), None)
    assert same(alphas, state(trainer.mutator))
    assert not same(parameters, state(trainer.model))


def test_the_extra_passes_of_the_second_order_do_not_change_batchnorm():
    trainer = make_trainer(second_order=True)
    before = state(trainer.model)
    trainer.arch_gradient(batch(0), batch(1))
    assert same(before, state(trainer.model))


@pytest.mark.slow
@pytest.mark.parametrize("options", [{}, {"second_order": True}, {"second_order": True, "hessian_product": "exact"}])
def test_the_gradient_does_not_depend_on_how_the_supernet_is_computed(options):
    config = DartsSpaceConfig(cells=3, channels=4, nodes=2)
    info = DataInfo(channels=3, height=8, width=8, classes=("a", "b", "c"))
    generator = torch.Generator().manual_seed(0)

    def batch() -> tuple[torch.Tensor, torch.Tensor]:
        images = torch.randn(6, 3, 8, 8, generator=generator, dtype=torch.float64)
        return images, torch.randint(0, 3, (6,), generator=generator)

    batches = batch(), batch()
    found = {}
    for execution in (
        Execution(optimized=False),
        Execution(),
        Execution(min_fused_numel=0),
        Execution(checkpoint=True),
        Execution(min_fused_numel=0, checkpoint=True),
        Execution(optimized=False, checkpoint=True),
    ):
        trainer = make_trainer(lambda: build(info, config).double(), lr=0.5, **options)
        set_execution(trainer.model, execution)
        trainer.model.memory_format = torch.channels_last if execution.optimized else None
        trainer.model.train()
        trainer.start_epoch(0)
        found[execution] = torch.cat([each.flatten() for each in trainer.arch_gradient(*batches)])
    plain = found.pop(Execution(optimized=False))
    for execution, gradient in found.items():
        exact = options.get("hessian_product") == "exact" or not options
        # A finite difference divides rounding by its step.
        torch.testing.assert_close(gradient, plain, rtol=1e-9 if exact else 1e-6, atol=1e-11, msg=str(execution))


@pytest.mark.parametrize("accumulate", [1, 3])
def test_finite_difference_and_exact_product_agree_where_nothing_has_a_kink(accumulate):
    gradients = {}
    for product in ("exact", "finite_difference"):
        trainer = make_trainer(
            second_order=True,
            hessian_product=product,
            finite_difference_step=1e-3,
            accumulate=accumulate,
            lr=1.0,
        )
        gradients[product] = torch.cat([g.flatten() for g in trainer.arch_gradient(batch(0), batch(1))])
    first = torch.cat([g.flatten() for g in make_trainer().arch_gradient(batch(0), batch(1))])
    torch.testing.assert_close(gradients["exact"], gradients["finite_difference"], rtol=1e-4, atol=1e-8)
    assert not torch.allclose(gradients["exact"], first, rtol=1e-2)


def test_second_order_is_the_derivative_of_the_loss_after_one_step():
    """The unrolled gradient against a numeric derivative of Lval(w'(alpha), alpha) itself."""
    trainer = make_trainer(second_order=True, hessian_product="exact", lr=0.5)
    train, valid = batch(0), batch(1)
    trainer.train_step(train, None)
    gradient = trainer.arch_gradient(train, valid)

    def loss() -> float:
        unrolled = trainer.unrolled_weights(train)
        logits = torch.func.functional_call(
            trainer.model, {**unrolled, **dict(trainer.model.named_buffers())}, (valid[0],)
        )
        return nn.functional.cross_entropy(logits, valid[1]).item()

    for alpha, by_alpha in zip(trainer.alphas, gradient, strict=True):
        for index in range(alpha.numel()):
            sides = []
            for sign in (1, -1):
                alpha.data.view(-1)[index] += sign * 1e-5
                sides.append(loss())
                alpha.data.view(-1)[index] -= sign * 1e-5
            assert float(by_alpha.view(-1)[index]) == pytest.approx((sides[0] - sides[1]) / 2e-5, rel=1e-4, abs=1e-8)


def test_learning_rate_is_a_cosine_over_the_epochs():
    trainer = make_trainer(epochs=50)
    rates = []
    for epoch in range(50):
        trainer.start_epoch(epoch)
        rates.append(trainer.optimizers["weights"].param_groups[0]["lr"])
    assert rates[0] == 0.025
    assert rates[25] == pytest.approx(0.013)
    assert rates[49] == pytest.approx(0.001 + 0.012 * (1 + math.cos(math.pi * 49 / 50)))
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(
        torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.025), 50, eta_min=0.001
    )
    assert rates[10] == pytest.approx(schedule.base_lrs[0] * 0.96 * (1 + math.cos(math.pi * 0.2)) / 2 + 0.001)


def test_accumulated_gradients_are_those_of_the_whole_batch_without_batchnorm():
    gradients = []
    for accumulate in (1, 2, 5):
        trainer = make_trainer(accumulate=accumulate)
        trainer.model.bn = nn.Identity()
        gradients.append(torch.cat([g.flatten() for g in trainer.arch_gradient(batch(0), batch(1))]))
    for other in gradients[1:]:
        torch.testing.assert_close(other, gradients[0])


@given(st.integers(0, 10**6), st.integers(1, 3), st.integers(1, 4), st.integers(1, 3))
def test_derived_cells_keep_the_strongest_edges_and_never_none(seed, inputs, nodes, kept):
    rng = random.Random(seed)
    edges = sum(inputs + node for node in range(nodes))
    candidates = tuple(tuple([NONE, "a", "b", "c"][rng.randrange(2) :][: rng.randrange(2, 4)]) for _ in range(edges))
    cell = CellSpec(
        key="cell", inputs=inputs, nodes=nodes, candidates=candidates, edges_kept=kept, concat=(inputs + nodes - 1,)
    )
    weights = [[rng.random() for _ in names] for names in candidates]
    decision = derive_cell(cell, weights)
    assert cell.problem(decision) is None
    for node, edges_kept in enumerate(decision):
        best = {}
        for source, edge in enumerate(cell.edges_into(node)):
            best[source] = max(
                (weight, name) for name, weight in zip(candidates[edge], weights[edge], strict=True) if name != NONE
            )
        chosen = {source for _, source in edges_kept}
        assert all(best[source][1] == operation for operation, source in edges_kept)
        left_out = [weight for source, (weight, _) in best.items() if source not in chosen]
        strengths = [best[source][0] for _, source in edges_kept]
        assert strengths == sorted(strengths, reverse=True)
        assert all(weight <= min(strengths) for weight in left_out)


def test_decisions_of_layer_and_input_choices():
    space = SearchSpaceSpec(
        choices=(
            LayerChoiceSpec(key="layer", candidates=("a", "b", "c")),
            InputChoiceSpec(key="one", candidates=("0", "1", "2"), n_chosen=1),
            InputChoiceSpec(key="two", candidates=("0", "1", "2"), n_chosen=2),
            InputChoiceSpec(key="any", candidates=("0", "1", "2"), n_chosen=None),
        )
    )
    mutator = DartsMutator(space, SoftmaxMutatorConfig())
    for key in ("layer", "one", "two", "any"):
        mutator.alpha(key).data = torch.tensor([0.1, -0.2, 0.3])
    assert mutator.architecture().decisions == {"layer": "c", "one": ("2",), "two": ("0", "2"), "any": ("0", "2")}
    assert mutator.answer(space["two"]).sum().item() == pytest.approx(2)
    torch.testing.assert_close(mutator.answer(space["any"]), torch.sigmoid(torch.tensor([0.1, -0.2, 0.3])))
    mutator.alpha("any").data.fill_(-1)
    assert mutator.architecture().decisions["any"] == ()


def test_a_search_finds_what_matters():
    """Only the 3x3 convolution can tell the classes apart; a real search must find it."""

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = LayerChoice({"blind": nn.Conv2d(1, 4, 1), "sees": nn.Conv2d(1, 4, 3, padding=1)}, key="conv")
            self.head = nn.Linear(4, 2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.head(torch.relu(self.conv(x)).mean((2, 3)))

    torch.manual_seed(1)
    n = 256
    x = torch.zeros(n, 1, 8, 8)
    stripes = torch.arange(8) % 2 * 2.0 - 1
    x[0::2] += stripes[:, None]
    x[1::2] += stripes[None, :]  # rows or columns: the same pixels in another place
    data = TensorDataset(x * torch.where(torch.rand(n, 1, 1, 1) < 0.5, 1.0, -1.0), torch.arange(n) % 2)
    result = nasreg.search(
        Net, data, "darts", seed=0, trainer={"epochs": 15, "batch_size": 32, "lr": 0.2, "arch_lr": 0.03}
    )
    assert result.architecture.decisions["conv"] == "sees"
    assert result.history[-1]["arch_accuracy"] > 0.95


def test_a_budget_limits_the_expected_number_of_parameters():
    trainer = make_trainer(max_parameters=10, budget_weight=1000.0, arch_lr=0.3)
    assert trainer.budget is not None
    fixed = 2 * 3 + 4 * 3  # BatchNorm and the head
    one, three = 3 * 1 + 3, 3 * 9 + 3
    share = torch.softmax(trainer.mutator.alpha("conv"), 0).detach()
    expected = trainer.budget.costs["parameters"]
    assert expected.fixed == fixed
    assert expected().item() == pytest.approx(fixed + float(share[0]) * one + float(share[1]) * three)
    for step in range(10):
        trainer.train_step(batch(step), batch(step + 1))
    assert trainer.mutator.architecture().decisions["conv"] == "one"
    assert expected().item() < fixed + 0.6 * one + 0.4 * three


@pytest.mark.slow
def test_a_search_of_cells_within_a_budget_finds_smaller_ones():
    sizes = []
    for budget in ({}, {"max_parameters": 1, "budget_weight": 0.1}):
        result = nasreg.search(
            "darts",
            toy_images(64),
            "darts",
            seed=0,
            trainer={"epochs": 4, "batch_size": 16, "arch_lr": 0.1, **budget},
            space_options={"cells": 3, "channels": 4, "nodes": 2, "candidates": CANDIDATES},
            device="cpu",
        )
        sizes.append(sum(parameter.numel() for parameter in result.model().parameters()))
    assert sizes[1] < sizes[0]
