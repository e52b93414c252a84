"""Modules on the way of states and inputs that are joined, and what takes a single loose end."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from torch import nn

from nasreg.errors import SpaceError
from nasreg.networks.equivalence import check_equivalence
from nasreg.nn import (
    AfterLooseEnds,
    Cell,
    InputChoice,
    UnlessOneLooseEnd,
    batch_statistics,
    deferred_candidates,
    extract_space,
    freeze,
    running_norms,
)


def conv(channels: int, stride: int = 1) -> nn.Module:
    return nn.Conv2d(channels, channels, 1, stride, bias=False)


class Halved(nn.Module):
    """A reduction cell whose inputs may be loose ends, and a layer that takes its output."""

    def __init__(self, *, drop_zeros: bool = True) -> None:
        super().__init__()
        halve = partial(conv, 2, 2)
        self.cell = Cell(
            {"conv": lambda source, node: conv(2, 2 if source < 2 else 1)},
            nodes=2,
            concat=range(4),
            repeat_sources=True,
            loose_ends=True,
            drop_zeros=drop_zeros,
            output_adapters={0: halve, 1: halve},
            key="cell",
        )
        self.out = AfterLooseEnds(self.cell, nn.Conv2d(8, 2, 1)) if drop_zeros else nn.Conv2d(8, 2, 1)
        self.last = UnlessOneLooseEnd(self.cell, self.out) if drop_zeros else self.out

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(self.cell(x, x + 1)).mean((2, 3))


def edges(*sources: int) -> dict[str, object]:
    named = [("conv", source) for source in sources]
    return {"cell": (tuple(named[:2]), tuple(named[2:]))}


@pytest.mark.parametrize("drop_zeros", [True, False])
@pytest.mark.parametrize("sources", [(0, 0, 0, 0), (0, 0, 1, 2), (1, 1, 2, 2), (0, 1, 0, 1)])
def test_a_state_goes_through_its_adapter_only_as_a_loose_end(sources, drop_zeros):
    torch.manual_seed(0)
    model = Halved(drop_zeros=drop_zeros)
    architecture = extract_space(model).architecture(edges(*sources))
    check_equivalence(model, architecture, torch.randn(2, 2, 8, 8))
    frozen = freeze(model, architecture)
    halved = {name for name, _ in frozen.cell.named_children() if name.startswith("output")}
    assert halved == {f"output{state}" for state in {0, 1} - set(sources)}
    with deferred_candidates():
        built_later = freeze(Halved(drop_zeros=drop_zeros), architecture, in_place=True)
    assert [name for name, _ in built_later.named_parameters()] == [name for name, _ in frozen.named_parameters()]
    built_later(torch.randn(2, 2, 8, 8))


def test_one_loose_end_is_passed_on():
    model = Halved()
    space = extract_space(model)
    assert isinstance(freeze(model, space.architecture(edges(0, 1, 2, 2))).last, nn.Identity)
    several = freeze(model, space.architecture(edges(0, 0, 0, 0))).last
    assert isinstance(several, nn.Conv2d)
    assert several.in_channels == 6


def test_an_adapter_of_a_state_that_is_not_joined_is_refused():
    with pytest.raises(SpaceError, match=r"Cell 'c': there is an output adapter for state 0, which is not in concat"):
        Cell({"conv": lambda source, node: conv(2)}, key="c", output_adapters={0: partial(conv, 2)})


class Added(nn.Module):
    """Inputs that are convolved where they are chosen."""

    def __init__(self, adapters=lambda name: conv(2), reduction="sum") -> None:
        super().__init__()
        self.choice = InputChoice(3, n_chosen=None, reduction=reduction, adapters=adapters, key="inputs")

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.choice([x, x + 1, x * x]).mean((2, 3))


@pytest.mark.parametrize("reduction", ["sum", "mean", "concat"])
@pytest.mark.parametrize("chosen", [("1",), ("0", "2")])
def test_only_chosen_inputs_are_adapted(chosen, reduction):
    torch.manual_seed(0)
    model = Added(reduction=reduction)
    architecture = extract_space(model).architecture({"inputs": chosen})
    check_equivalence(model, architecture, torch.randn(2, 2, 4, 4))
    assert {name for name, _ in freeze(model, architecture).choice.named_children()} == {f"input_{n}" for n in chosen}
    with deferred_candidates():
        model = Added(reduction=reduction)
        assert not list(model.parameters())
        assert len(list(freeze(model, architecture, in_place=True).parameters())) == len(chosen)


def test_weights_multiply_what_adapters_return():
    torch.manual_seed(0)
    choice = Added().choice
    x = torch.randn(2, 2, 4, 4)
    found = choice.compute({"0": torch.tensor(0.5), "2": torch.tensor(2.0)}, [x, x, x])
    torch.testing.assert_close(found, 0.5 * choice.adapters["0"](x) + 2 * choice.adapters["2"](x))


def test_an_adapter_that_changes_the_shape_is_refused():
    choice = Added(lambda name: conv(2, 2)).choice
    x = torch.randn(2, 2, 4, 4)
    with pytest.raises(SpaceError, match=r"the adapter of input '1' returns \(2, 2, 2, 2\) for \(2, 2, 4, 4\)"):
        choice.compute(("1",), [x, x, x])


def test_statistics_of_the_batch_in_evaluation_mode():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(2, 2, 1), nn.BatchNorm2d(2), nn.Dropout(0.5)).eval()
    x = torch.randn(4, 2, 3, 3) * 3 + 1
    state = {name: value.clone() for name, value in model.state_dict().items()}
    with batch_statistics(running_norms(model)):
        y = model(x)
    torch.testing.assert_close(y.mean((0, 2, 3)), torch.zeros(2), atol=1e-5, rtol=0)
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
    assert not torch.allclose(model(x), y)
