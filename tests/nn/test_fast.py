"""Every way to compute a supernet gives the numbers of the plain sum: outputs, derivatives twice over, buffers."""

from __future__ import annotations

import copy
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import partial

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from nasreg.nn import (
    Cell,
    Choice,
    Execution,
    InputChoice,
    LayerChoice,
    fast_double_backward,
    set_execution,
    skip_grad_for,
)
from nasreg.spaces.config import DARTS_OPERATIONS
from nasreg.spaces.operations import OPERATIONS

WAYS = {
    "optimised": (Execution(min_fused_numel=0), nullcontext),
    "not fused": (Execution(), nullcontext),
    "for the second order": (Execution(), fast_double_backward),
    "for the second order, kept": (Execution(), partial(fast_double_backward, keep_activations=True)),
    "checkpointed": (Execution(min_fused_numel=0, checkpoint=True), nullcontext),
    "for the second order, checkpointed": (Execution(checkpoint=True), fast_double_backward),
    "plain, checkpointed": (Execution(optimized=False, checkpoint=True), nullcontext),
}
PLAIN = (Execution(optimized=False), nullcontext)


class Model(nn.Module):
    """A cell of the DARTS space, a choice of layers of other forms, and a choice of inputs."""

    def __init__(self, operations: list[str], channels: int, stride: int, affine: bool) -> None:
        super().__init__()

        def factory(name: str):
            return lambda source, node: OPERATIONS[name](channels, stride if source < 2 else 1, affine=affine)

        self.cell = Cell(
            {name: factory(name) if name != "none" else None for name in operations}, nodes=2, edges_kept=1, key="cell"
        )
        width = 2 * channels

        def layer(size: int) -> list[nn.Module]:
            convolution = nn.Conv2d(width, width, size, padding=size // 2, groups=2, bias=False)
            return [nn.BatchNorm2d(width), nn.ReLU(), convolution]

        shared = nn.Sequential(*layer(1), nn.BatchNorm2d(width, momentum=0.3))
        self.layer = LayerChoice(
            {
                "before": nn.Sequential(*layer(3)),
                "after": shared,
                "again": shared,
                "tail": nn.Sequential(*layer(5), nn.Hardtanh()),
                "bias": nn.Conv2d(width, width, 1),
                "skip": nn.Identity(),
            },
            key="layer",
        )
        self.inputs = InputChoice(2, key="inputs")
        self.head = nn.Linear(width, 3)

    def forward(self, x: Tensor) -> Tensor:
        """Classify."""
        x = self.cell(x, x.flip(1))
        x = self.inputs([self.layer(x), x])
        return self.head(x.view(len(x), x.shape[1], -1).mean(2))  # a view, as users write it


Way = tuple[Execution, Callable[[], AbstractContextManager[object]]]


def numbers(model: Model, alphas: dict[str, Tensor], x: Tensor, way: Way) -> dict[str, Tensor]:
    """Return all that a way to compute must have in common with the others."""
    execution, context = way
    model = copy.deepcopy(model)
    set_execution(model, execution)
    for name, choice in model.named_children():
        if isinstance(choice, Choice):
            choice.bind(lambda name=name: torch.softmax(alphas[name], -1))
    parameters = {**dict(model.named_parameters()), **{f"alpha {name}": alpha for name, alpha in alphas.items()}}
    found = {"output": model(x)}
    gradients = torch.autograd.grad(found["output"].square().sum(), list(parameters.values()))
    found |= {f"gradient by {name}": each for name, each in zip(parameters, gradients, strict=True)}
    found |= {f"buffer {name}": buffer.clone() for name, buffer in model.named_buffers()}
    with context():
        output = model(x)
    first = torch.autograd.grad(output.square().sum(), list(model.parameters()), create_graph=True)
    along = sum((each * torch.linspace(-1, 1, each.numel(), dtype=x.dtype).view_as(each)).sum() for each in first)
    second = torch.autograd.grad(along, list(parameters.values()), allow_unused=True, materialize_grads=True)
    found |= {f"second derivative by {name}": each for name, each in zip(parameters, second, strict=True)}
    with torch.no_grad():
        found["eval"] = model.eval()(x)
    return {name: each.detach().double() for name, each in found.items()}


@pytest.mark.slow
@settings(max_examples=6)
@given(
    operations=st.lists(st.sampled_from(DARTS_OPERATIONS[1:]), min_size=1, max_size=7, unique=True),
    none=st.booleans(),
    channels=st.sampled_from([2, 4, 8]),
    side=st.integers(4, 9),
    batch=st.integers(2, 5),
    stride=st.sampled_from([1, 2]),
    affine=st.booleans(),
    last=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_every_way_gives_the_same_numbers(operations, none, channels, side, batch, stride, affine, last, seed):
    torch.manual_seed(seed)
    model = Model([*(["none"] if none else []), *operations], channels, stride, affine).double()
    count = len(operations) + none
    sizes = {"cell": (5, count), "layer": (6,), "inputs": (2,)}
    alphas = {name: torch.randn(size, dtype=torch.float64, requires_grad=True) for name, size in sizes.items()}
    x = torch.randn(batch, channels, side, side, dtype=torch.float64)
    x = x.contiguous(memory_format=torch.channels_last) if last else x
    plain = numbers(model, alphas, x, PLAIN)
    for title, way in WAYS.items():
        for name, other in numbers(model, alphas, x, way).items():
            assert torch.allclose(other, plain[name], rtol=1e-9, atol=1e-9), (title, name)


@pytest.mark.parametrize("way", ["optimised", "for the second order, kept"])
def test_chunks_change_nothing(monkeypatch, way):
    from nasreg.nn.fast import passes

    torch.manual_seed(0)
    model = Model(list(DARTS_OPERATIONS), 8, 1, affine=False).double()
    sizes = {"cell": (5, 8), "layer": (6,), "inputs": (2,)}
    alphas = {name: torch.randn(size, dtype=torch.float64, requires_grad=True) for name, size in sizes.items()}
    x = torch.randn(7, 8, 8, 8, dtype=torch.float64)
    whole = numbers(model, alphas, x, WAYS[way])
    monkeypatch.setattr(passes, "CHUNK_BYTES", 2 * 8 * x[0].numel())
    for name, other in numbers(model, alphas, x, WAYS[way]).items():
        assert torch.allclose(other, whole[name], rtol=1e-9, atol=1e-9), name


def test_several_second_derivatives_of_one_sum_in_one_pass_and_again():
    found = []
    for execution in (Execution(optimized=False), Execution(min_fused_numel=0)):
        torch.manual_seed(0)
        choice = LayerChoice([nn.Sequential(nn.Conv2d(2, 2, 1, bias=False), nn.BatchNorm2d(2)), nn.Identity()])
        choice.double().execution = execution
        weights = torch.tensor([0.25, 0.75], requires_grad=True, dtype=torch.float64)
        choice.bind(lambda weights=weights: weights)
        x = torch.randn(3, 2, 4, 4, dtype=torch.float64, requires_grad=True)
        output = choice(x)
        by = [x, weights, *choice.parameters()]
        one, other = (
            torch.autograd.grad(loss, by, create_graph=True) for loss in (output.square().sum(), output.exp().sum())
        )
        product = sum((a.sin() * b).sum() for a, b in zip(one, other, strict=True))
        cotangent = torch.zeros_like(output, requires_grad=True)
        movement = torch.autograd.grad(output, by, cotangent, create_graph=True)
        # How the output moves: nothing else of that second derivative is asked for.
        moved = torch.autograd.grad(sum(each.sum() for each in movement), cotangent, retain_graph=True)
        found.append(
            [*moved, *(each for _ in range(2) for each in torch.autograd.grad(product, by, retain_graph=True))]
        )
    for plain, optimised in zip(*found, strict=True):
        torch.testing.assert_close(optimised, plain, rtol=1e-9, atol=1e-9)


class Layers(nn.Module):
    """Layers outside of choices: fast ones, and others that stay as they are."""

    def __init__(self, affine: bool) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(3, 8, 3, padding=1),
            nn.BatchNorm2d(8, affine=affine),
            nn.Conv2d(8, 8, 3, stride=2, padding=2, dilation=2, groups=8, bias=False),
            nn.ReLU(),
            nn.Conv2d(8, 16, 1, stride=2, bias=False),
            nn.BatchNorm2d(16, affine=affine, track_running_stats=False),
            nn.Conv2d(16, 16, 5, padding="same", groups=16, bias=False),
            nn.BatchNorm2d(16, affine=affine, momentum=0.3),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return numbers."""
        x = self.layers(x)
        return torch.cat([torch.cat([x, x.relu()], 1), x], axis=1).square().mean((2, 3))


@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize("form", [torch.channels_last, torch.contiguous_format])
def test_fast_layers_give_the_same_numbers(affine, form):
    torch.manual_seed(0)
    plain = Layers(affine).double()
    fast = copy.deepcopy(plain)
    x = torch.randn(4, 3, 10, 9, dtype=torch.float64).to(memory_format=form).requires_grad_()
    found = []
    for model, context in ((plain, nullcontext()), (fast, fast_double_backward())):
        by = [x, *model.parameters()]
        with context:
            output = model(x)
        first = torch.autograd.grad(output.exp().sum(), by, create_graph=True)
        second = torch.autograd.grad(sum(each.sin().sum() for each in first), by)
        found.append([output, *first, *second, *model.buffers(), model.eval()(x)])
    for one, other in zip(*found, strict=True):
        assert torch.allclose(one, other, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("last", [nn.BatchNorm2d(2, affine=False), nn.MaxPool2d(3, 1, 1)])
def test_a_third_derivative_is_refused_rather_than_wrong(last):
    torch.manual_seed(0)
    pool = nn.Sequential(nn.AvgPool2d(3, 1, 1), nn.BatchNorm2d(2, affine=False))
    choice = LayerChoice([pool, nn.Sequential(nn.Conv2d(2, 2, 1, bias=False), last)])
    choice.execution = Execution(min_fused_numel=0)
    weights = torch.tensor([0.25, 0.75], requires_grad=True)
    choice.bind(lambda: weights)
    x = torch.randn(3, 2, 4, 4, requires_grad=True)
    found = choice(x).exp().sum()
    for _ in range(2):
        (found,) = torch.autograd.grad(found, x, create_graph=True)
        found = found.exp().sum()
    with pytest.raises(RuntimeError, match="can be differentiated twice, not three times"):
        torch.autograd.grad(found, x)


@pytest.mark.parametrize("execution", [Execution(min_fused_numel=0), Execution(min_fused_numel=0, checkpoint=True)])
def test_gradients_by_parameters_left_out_are_not_computed(execution):
    torch.manual_seed(0)
    choice = LayerChoice([nn.Sequential(nn.Conv2d(2, 2, 1, bias=False), nn.BatchNorm2d(2)), nn.Identity()])
    choice.execution = execution
    weights = torch.tensor([0.25, 0.75], requires_grad=True)
    choice.bind(lambda: weights)
    with skip_grad_for([choice.candidates["0"][0].weight]):
        choice(torch.randn(3, 2, 4, 4)).square().sum().backward()
    assert choice.candidates["0"][0].weight.grad is None
    assert choice.candidates["0"][1].weight.grad is not None
    assert weights.grad is not None


def test_hooks_are_called_and_a_batch_of_one_value_is_refused():
    torch.manual_seed(0)
    called: list[str] = []
    choice = LayerChoice([nn.Sequential(nn.Conv2d(1, 1, 1, bias=False), nn.BatchNorm2d(1)), nn.Identity()])
    choice.bind(lambda: torch.tensor([0.5, 0.5]))
    choice.candidates["0"][0].register_forward_hook(lambda *_: called.append("convolution"))
    choice(torch.randn(2, 1, 2, 2))
    assert called == ["convolution"]
    with pytest.raises(ValueError, match="more than 1 value per channel"):
        choice(torch.randn(1, 1, 1, 1))
