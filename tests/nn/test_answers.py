"""Sparse weights, weights of edges, and nodes that nothing enters, in both executions and with two derivatives."""

from __future__ import annotations

import copy
from collections import Counter
from contextlib import nullcontext

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from nasreg.errors import SpaceError
from nasreg.nn import (
    Cell,
    CellWeights,
    Execution,
    HardWeights,
    InputChoice,
    LayerChoice,
    fast_double_backward,
    set_execution,
    transform_edges,
)
from nasreg.spaces.operations import OPERATIONS

NAMES = ("none", "max_pool_3x3", "skip_connect", "sep_conv_3x3", "dil_conv_3x3")
EXECUTIONS = (Execution(optimized=False), Execution(), Execution(min_fused_numel=0))


def make_cell(names=NAMES, channels=4, stride=1, **options):
    def factory(name):
        return lambda source, node: OPERATIONS[name](channels, stride if source < 2 else 1, affine=True)

    return Cell({name: factory(name) if name != "none" else None for name in names}, nodes=2, key="cell", **options)


def count_calls(model):
    """Count the calls of each candidate; the keys of a cell's are ``edge.name``."""
    calls = Counter()
    for path, module in model.named_modules():
        parent, _, name = path.rpartition(".")
        if isinstance(model.get_submodule(parent) if parent else None, nn.ModuleDict):
            place = f"{parent.rpartition('.')[2]}.{name}"
            module.register_forward_pre_hook(lambda *_, place=place: calls.update([place]))
    return calls


def derivatives(output, by):
    """Return output, first and second derivatives."""
    output = output + 0 * sum(each.sum() for each in by)  # of nothing, if nothing was computed
    first = torch.autograd.grad(output.square().sum(), by, create_graph=True, allow_unused=True, materialize_grads=True)
    along = sum((each * torch.linspace(-1, 1, each.numel()).double().view_as(each)).sum() for each in first)
    second = torch.autograd.grad(along, by, allow_unused=True, materialize_grads=True)
    return [output, *first, *second]


def assert_close(found, wanted):
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-9)


def test_only_named_candidates_of_a_layer_are_computed():
    choice = LayerChoice({name: nn.Linear(2, 2) for name in "abc"}, key="c").double()
    x, weight = torch.randn(3, 2).double(), torch.tensor(0.3, dtype=torch.float64, requires_grad=True)
    calls = count_calls(choice)
    choice.bind(lambda: {"c": weight, "a": 2 * weight})
    for execution in EXECUTIONS:
        choice.execution = execution
        calls.clear()
        output = choice(x)
        assert calls == {"candidates.a": 1, "candidates.c": 1}
        a, c = (choice.candidates[name](x) for name in "ac")
        torch.testing.assert_close(output, 0.3 * c + 0.6 * a)
        torch.testing.assert_close(torch.autograd.grad(output.sum(), weight)[0], (c + 2 * a).sum())


@pytest.mark.slow
@settings(max_examples=10)
@given(
    data=st.data(),
    stride=st.sampled_from([1, 2]),
    mode=st.sampled_from(["train", "eval"]),
    by_edge=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_sparse_answers_of_a_cell_are_dense_ones_with_zeros(data, stride, mode, by_edge, seed):
    torch.manual_seed(seed)
    cell = make_cell(stride=stride).double()
    cell.train(mode == "train")
    x = torch.randn(2, 2, 4, 5, 6, dtype=torch.float64)
    weights = torch.randn(5, len(NAMES), dtype=torch.float64, requires_grad=True)
    edges = torch.randn(5, dtype=torch.float64, requires_grad=True) if by_edge else None
    dense = data.draw(st.sets(st.integers(0, 4)))  # these edges have weights of all candidates
    named = [data.draw(st.sets(st.sampled_from(NAMES))) for _ in range(5)]
    mask = torch.tensor([[edge in dense or name in named[edge] for name in NAMES] for edge in range(5)])
    by = [weights, *([edges] if by_edge else []), *cell.parameters()]
    reference = copy.deepcopy(cell)
    reference.execution = EXECUTIONS[0]
    factors = torch.ones(5, 1).double() if edges is None else edges[:, None]
    reference.bind(lambda: weights * mask * factors)
    wanted = derivatives(reference(*x), [*by[: 1 + by_edge], *reference.parameters()])
    answer = [
        weights[edge]
        if edge in dense
        else {name: weights[edge, place] for place, name in enumerate(NAMES) if name in named[edge]}
        for edge in range(5)
    ]
    for execution in EXECUTIONS:
        model = copy.deepcopy(cell)
        model.execution = execution
        model.bind(lambda: CellWeights(answer, edges) if by_edge else answer)
        for context in (nullcontext(), fast_double_backward()):
            model.load_state_dict(cell.state_dict())
            with context:
                output = model(*x)
            assert_close(derivatives(output, [*by[: 1 + by_edge], *model.parameters()]), wanted)
        calls = count_calls(model)
        model(*x)
        computed = {f"{edge}.{name}" for edge in range(5) for name in NAMES[1:] if mask[edge, NAMES.index(name)]}
        assert set(calls) == computed


@pytest.mark.parametrize("execution", EXECUTIONS)
@pytest.mark.parametrize("stride", [1, 2])
def test_a_node_that_nothing_enters_is_zeros_of_the_right_shape(execution, stride):
    cell = make_cell(stride=stride)
    cell.execution = execution
    buffers = {name: buffer.clone() for name, buffer in cell.named_buffers()}
    one = torch.tensor(1.0)
    cell.bind(lambda: [{}, {"none": one}, {}, {}, {"none": one}])
    output = cell(*torch.randn(2, 3, 4, 6, 5))
    assert torch.equal(output, torch.zeros(3, 8, *((6, 5) if stride == 1 else (3, 3))))
    assert all(torch.equal(buffer, buffers[name]) for name, buffer in cell.named_buffers())
    skip = NAMES.index("skip_connect")
    cell.bind(lambda: [{}, {}, {}, {}, torch.eye(5)[skip]])
    assert cell(*torch.randn(2, 3, 4, 6, 5)).abs().sum() == 0  # node 1 takes node 0


def hard_weights(weights, chosen):
    """Return one-hot weights with the gradient of ``weights``, for the candidate number ``chosen`` of each row."""
    onehot = nn.functional.one_hot(torch.tensor(chosen), weights.shape[-1]).to(weights.dtype)
    return onehot - weights.detach() + weights


class Half(nn.Module):
    """Passes half of the channels around the mixed operation."""

    def forward(self, x, mixed):
        return torch.cat([mixed(x[:, :2]), x[:, 2:]], 1)


@pytest.mark.parametrize("form", ["edges", "by edge", "transformed"])
def test_hard_weights_compute_one_candidate_and_give_all_weights_a_gradient(form):
    """The others' weights are added as numbers: GDAS, arXiv 1910.04465."""
    torch.manual_seed(0)
    cell = make_cell(channels=2 if form == "transformed" else 4).double()
    if form == "transformed":
        transform_edges(cell, lambda _: Half())
    x = torch.randn(2, 2, 4, 5, 6, dtype=torch.float64)
    weights = torch.rand(5, 5, dtype=torch.float64, requires_grad=True)
    strengths = torch.rand(5, dtype=torch.float64, requires_grad=True)
    chosen = [0, 3, 1, 0, 2]  # none, too
    hard = hard_weights(weights, chosen)
    names = [NAMES[number] for number in chosen]

    def reference(model):
        def edge(number, state):
            def mixed(part):
                others = sum(hard[number, other] for other in range(5) if other != chosen[number])
                if names[number] == "none":
                    return 0 * part + others
                return hard[number, chosen[number]] * model.edges[number][names[number]](part) + others

            output = Half()(state, mixed) if form == "transformed" else mixed(state)
            return strengths[number] * output if form == "by edge" else output

        first = edge(0, x[0]) + edge(1, x[1])
        return torch.cat([first, edge(2, x[0]) + edge(3, x[1]) + edge(4, first)], 1)

    by = [weights, strengths, *cell.parameters()]
    wanted = derivatives(reference(cell), by)
    answer = [HardWeights(name, row) for name, row in zip(names, hard, strict=True)]
    for execution in EXECUTIONS:
        set_execution(cell, execution)
        calls = count_calls(cell)
        cell.bind(lambda: CellWeights(answer, strengths) if form == "by edge" else answer)
        assert_close(derivatives(cell(*x), by), wanted)
        if form != "transformed":  # the shape of a transformed edge's zeros is computed once
            assert calls == {f"{edge}.{name}": 1 for edge, name in enumerate(names) if name != "none"}
        with torch.no_grad():
            constant = [HardWeights(name, row.detach()) for name, row in zip(names, hard, strict=True)]
            cell.bind(lambda answer=constant: CellWeights(answer, strengths) if form == "by edge" else answer)
            torch.testing.assert_close(cell(*x), wanted[0].detach())


@pytest.mark.parametrize("arguments", [1, 2])
def test_hard_weights_of_a_layer(arguments):
    class Add(nn.Linear):
        def forward(self, *given):
            return super().forward(sum(given))

    choice = LayerChoice({name: Add(2, 2) for name in "abc"}, key="c").double()
    x = torch.randn(arguments, 3, 2).double()
    weights = torch.rand(3, dtype=torch.float64, requires_grad=True)
    hard = hard_weights(weights, 1)
    wanted = derivatives(hard[1] * choice.candidates["b"](*x) + hard[0] + hard[2], [weights])
    choice.bind(lambda: HardWeights("b", hard))
    for execution in EXECUTIONS:
        choice.execution = execution
        calls = count_calls(choice)
        assert_close(derivatives(choice(*x), [weights]), wanted)
        assert calls == {"candidates.b": 1}


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        ({"d": torch.ones(())}, "got a weight for 'd', which is not one of a, b, c"),
        ({}, "got no weight"),
        (HardWeights("d", torch.ones(3)), "got a weight for 'd', which is not one of a, b, c"),
        (HardWeights("a", torch.ones(4)), r"has 3 candidates, but got weights of shape \(4,\)"),
        (torch.ones(2), r"has 3 candidates, but got weights of shape \(2,\)"),
    ],
)
def test_answers_that_do_not_fit_a_layer(answer, says):
    choice = LayerChoice({name: nn.Linear(2, 2) for name in "abc"}, key="c")
    choice.bind(lambda: answer)
    with pytest.raises(SpaceError, match=f"^LayerChoice 'c' {says}"):
        choice(torch.ones(1, 2))


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (torch.ones(4, 5), "has 5 edges, but got weights for 4"),
        (CellWeights(torch.ones(5, 5), torch.ones(4)), "5 edges, but got edge weights of shape"),
        ([{"nope": torch.ones(())}] * 5, "weight for 'nope'"),
        ([HardWeights("nope", torch.ones(5))] * 5, "weight for 'nope'"),
    ],
)
def test_answers_that_do_not_fit_a_cell(answer, says):
    cell = make_cell()
    cell.bind(lambda: answer)
    with pytest.raises(SpaceError, match=f"^Cell 'cell' .*{says}"):
        cell(*torch.ones(2, 1, 4, 4, 4))


@pytest.mark.parametrize("execution", EXECUTIONS)
@pytest.mark.parametrize("reduction", ["sum", "mean", "concat", "none"])
def test_named_inputs(execution, reduction):
    choice = InputChoice(3, n_chosen=None, reduction=reduction, key="i")
    choice.execution = execution
    x = list(torch.randn(3, 2, 4, 3, 3))
    choice.bind(lambda: {"2": torch.tensor(0.5), "0": torch.tensor(2.0)})
    output = choice(x)
    parts = [2 * x[0], 0.5 * x[2]]
    if reduction == "none":
        assert_close(output, parts)
    else:
        torch.testing.assert_close(output, torch.cat(parts, 1) if reduction == "concat" else sum(parts))
    if reduction in {"sum", "mean"}:
        choice.bind(dict)
        assert torch.equal(choice(x), torch.zeros_like(x[0]))


ANSWERS = [("0",), torch.ones(2), {"1": torch.ones(())}]


@pytest.mark.parametrize("execution", EXECUTIONS)
@pytest.mark.parametrize("answer", ANSWERS)
@pytest.mark.parametrize("reduction", ["sum", "mean", "concat"])
def test_inputs_that_do_not_fit_are_refused_for_every_answer(execution, answer, reduction):
    choice = InputChoice(2, n_chosen=None, reduction=reduction, key="i")
    choice.execution = execution
    choice.bind(lambda: answer)
    x = torch.ones(2, 4, 3, 3)
    with pytest.raises(SpaceError, match=r"^InputChoice 'i' takes a list of 2 tensors$"):
        choice([x, x, x])
    with pytest.raises(SpaceError, match=rf"^InputChoice 'i' cannot {reduction} inputs of different shapes: '0' has"):
        choice([x, x[..., :2]])
    frozen = choice.materialize(("0", "1"))
    with pytest.raises(AssertionError, match="InputChoice 'i' takes a list of 2 tensors"):
        frozen([x, x, x])
    with pytest.raises(AssertionError, match="InputChoice 'i' takes a list of 2 tensors"):
        frozen([x])
    with pytest.raises((AssertionError, RuntimeError), match=r"inputs of different shapes|Sizes of tensors must match"):
        frozen([x, x[..., :2]])


@pytest.mark.parametrize("execution", EXECUTIONS)
@pytest.mark.parametrize(
    ("other", "shape"),
    [
        (nn.AdaptiveAvgPool2d(1), r"\(2, 4, 1, 1\)"),
        (nn.Conv2d(4, 1, 1, bias=False), r"\(2, 1, 6, 6\)"),
        (nn.Sequential(nn.Conv2d(4, 4, 1, stride=2, bias=False), nn.BatchNorm2d(4)), r"\(2, 4, 3, 3\)"),
    ],
)
def test_outputs_of_different_shapes_are_refused(execution, other, shape):
    choice = LayerChoice({"conv": nn.Conv2d(4, 4, 1, bias=False), "other": other}, key="c")
    choice.execution = execution
    choice.bind(lambda: torch.ones(2))
    with pytest.raises(
        SpaceError, match=rf"^LayerChoice 'c': .*'conv' returns \(2, 4, 6, 6\) and 'other' returns {shape}"
    ):
        choice(torch.randn(2, 4, 6, 6))


@pytest.mark.parametrize("execution", EXECUTIONS)
def test_an_output_of_another_shape_in_a_cell_is_named_with_its_edge(execution):
    makers = {"skip": lambda source, node: nn.Identity(), "pool": lambda source, node: nn.AdaptiveAvgPool2d(1 + source)}
    cell = Cell(makers, nodes=1, key="c")
    cell.execution = execution
    cell.bind(lambda: torch.ones(2, 2))
    says = "'skip' on the edge from state 0 to node 0 returns .* and 'pool' on the edge from state 0 to node 0 returns"
    with pytest.raises(SpaceError, match=says):
        cell(*torch.randn(2, 2, 4, 6, 6))


def test_an_output_that_is_no_tensor_is_refused():
    choice = LayerChoice({"lstm": nn.LSTM(3, 3), "linear": nn.Linear(3, 3)}, key="c")
    choice.bind(lambda: torch.ones(2))
    with pytest.raises(SpaceError, match="LayerChoice 'c': candidate 'lstm' returns a tuple, not a tensor"):
        choice(torch.randn(2, 3))


class Doubles(nn.Module):
    def forward(self, x):
        return x.mul_(2)


@pytest.mark.parametrize("execution", EXECUTIONS)
@pytest.mark.parametrize("answer", ["weights", "decision", "named"])
@pytest.mark.parametrize(
    "candidate",
    [
        nn.Sequential(nn.ReLU(inplace=True), nn.Conv2d(4, 4, 1, bias=False), nn.BatchNorm2d(4)),
        nn.Sequential(nn.Identity(), nn.Hardtanh(inplace=True)),
        nn.Sequential(nn.Dropout().eval(), nn.ReLU(inplace=True)),
        Doubles(),
    ],
)
def test_a_candidate_that_alters_its_input_is_named(execution, answer, candidate):
    choice = LayerChoice({"conv": nn.Conv2d(4, 4, 1), "bad": candidate}, key="c")
    choice.execution = execution
    answers = {"weights": torch.ones(2), "decision": "bad", "named": {"bad": torch.ones(())}}
    choice.bind(lambda: answers[answer])
    with pytest.raises(
        SpaceError, match=r"^LayerChoice 'c': candidate 'bad' alters its input in place.*nn\.ReLU\(inplace"
    ):
        choice(torch.randn(2, 4, 6, 6))


@pytest.mark.parametrize("execution", EXECUTIONS)
def test_a_candidate_may_alter_what_it_has_computed_itself(execution):
    torch.manual_seed(0)

    def pool(*after):
        return nn.Sequential(nn.MaxPool2d(3, 1, 1), nn.Identity(), *after)

    candidates = {
        "pool": pool(),
        "relu": pool(nn.ReLU(inplace=True), nn.Conv2d(4, 4, 1, bias=False)),
        "clip": pool(nn.Hardtanh(-0.1, 0.1, inplace=True)),
        "conv": nn.Sequential(nn.Conv2d(4, 4, 1, bias=False), nn.BatchNorm2d(4), nn.ReLU(inplace=True)),
        "again": pool(nn.Conv2d(4, 4, 3, padding=1)),
    }
    choice = LayerChoice(candidates, key="c")
    choice.execution = execution
    choice.bind(lambda: torch.linspace(1, 2, 5))
    x = torch.randn(2, 4, 6, 6, requires_grad=True)
    output = choice(x)
    wanted = sum(
        weight * module(x) for weight, module in zip(torch.linspace(1, 2, 5), candidates.values(), strict=True)
    )
    torch.testing.assert_close(output, wanted)
    torch.testing.assert_close(
        torch.autograd.grad(output.square().sum(), x),
        torch.autograd.grad(wanted.square().sum(), x),
        rtol=1e-4,
        atol=1e-4,
    )


def test_a_model_may_append_to_a_list_of_inputs_after_the_choice_with_checkpoints():
    class Growing(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear, self.choice, self.last = nn.Linear(2, 2), InputChoice(1), InputChoice(1)

        def forward(self, x):
            states = [self.linear(x)]
            states.append(self.choice(states))
            return self.last([states[1] + states[0]])

    model = Growing()
    set_execution(model, Execution(checkpoint=True))
    for choice in (model.choice, model.last):
        choice.bind(lambda: torch.ones(1))
    model(torch.ones(1, 2)).sum().backward()
    assert model.linear.weight.grad is not None
