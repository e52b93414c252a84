"""What DrNAS samples, drops and widens, and its options."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import nasreg
from interrupting import interrupt_at
from nasreg.errors import ConfigError, InterruptedRunError
from nasreg.events import StageStarted
from nasreg.mutators import SoftmaxMutatorConfig
from nasreg.spaces.operations import OPERATIONS
from nasreg.specs import CellSpec, LayerChoiceSpec, SearchSpaceSpec
from nasreg.testing import differences, toy_images
from nasreg_drnas.mutator import DrnasMutator
from nasreg_drnas.widen import expansions

LAYER = LayerChoiceSpec(key="layer", candidates=("x", "y", "z"))
CELL = CellSpec(
    key="cell", inputs=2, nodes=1, edges_kept=1, candidates=(("none", "p", "q", "r"), ("p", "q")), concat=(2,)
)


@pytest.fixture
def mutator():
    torch.manual_seed(0)
    mutator = DrnasMutator(SearchSpaceSpec(choices=(LAYER, CELL)), SoftmaxMutatorConfig()).double()
    mutator.alpha("layer").data = torch.tensor([0.5, -0.5, 0.0]).double()
    mutator.alpha("cell").data = torch.tensor([[0.1, 0.5, -0.2, 0.3], [0.2, 0.3, 9.0, 9.0]]).double()
    return mutator


def test_weights_are_dirichlet_samples_with_the_mean_of_the_concentration(mutator):
    mutator.resample()
    draws = []
    for _ in range(2000):
        mutator.resample()
        draws.append(mutator.answer(LAYER).detach())
    concentration = mutator.concentration(LAYER).detach()
    torch.testing.assert_close(concentration, torch.tensor([1.5, 0.606530659, 1.0]).double())
    mean = torch.stack(draws).mean(0)
    torch.testing.assert_close(mean, concentration / concentration.sum(), atol=0.03, rtol=0)
    rows = mutator.answer(CELL)
    assert mutator.answer(CELL) is rows
    assert [list(row) for row in rows] == [["none", "p", "q", "r"], ["p", "q"]]
    assert [sum(row.values()).item() for row in rows] == pytest.approx([1, 1])
    gradient = torch.autograd.grad(rows[1]["q"], mutator.alpha("cell"))[0]
    assert (gradient[1, :2] != 0).all()
    assert (gradient[0] == 0).all()
    assert (gradient[1, 2:] == 0).all()


def test_what_is_dropped_stays_dropped(mutator):
    mutator.prune(3)
    mutator.alpha("layer").data -= 5.0  # below the 0 of what will be dropped
    mutator.alpha("cell").data[0, 2] = 100.0  # of what was dropped
    mutator.prune(2)
    assert mutator.mask(CELL).tolist() == [[False, True, False, True], [True, True, False, False]]
    assert mutator.mask(LAYER).tolist() == [True, False, True]
    mutator.resample()
    assert [list(row) for row in mutator.answer(CELL)] == [["p", "r"], ["p", "q"]]
    assert [list(row) for row in mutator.weights()["cell"]] == [["p", "r"], ["p", "q"]]
    assert mutator.architecture().decisions == {"layer": "x", "cell": ((("p", 0),),)}
    again = DrnasMutator(mutator.space, SoftmaxMutatorConfig()).double()
    again.load_state_dict(mutator.state_dict())
    assert torch.equal(again.mask(CELL), mutator.mask(CELL))


@pytest.mark.parametrize("name", ["sep_conv_3x3", "dil_conv_3x3", "max_pool_3x3", "skip_connect"])
@pytest.mark.parametrize("stride", [1, 2])
def test_a_wider_candidate_begins_with_the_channels_that_it_had(name, stride):
    """On an image whose further channels are zeros, the first channels are what they were."""
    torch.manual_seed(0)
    narrow, wide = (OPERATIONS[name](channels, stride, affine=False).eval() for channels in (2, 6))
    for layer in narrow.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.running_mean.normal_()
            layer.running_var.uniform_(1, 2)
    expand = dict(expansions(narrow, wide))
    state = {key: expand.get(key, torch.clone)(value) for key, value in narrow.state_dict().items()}
    wide.load_state_dict(state)
    assert set(expand) == {key for key, value in state.items() if value.shape != narrow.state_dict()[key].shape}
    for key, value in state.items():
        kept = value
        for dim, size in enumerate(narrow.state_dict()[key].shape):
            kept = kept.narrow(dim, 0, size) if key != "bn.running_mean" else kept
        if "bn." not in key or stride == 1:
            torch.testing.assert_close(kept, narrow.state_dict()[key])
    if name == "skip_connect" and stride == 2:  # BatchNorm goes with the channels of both convolutions
        for before, after in ((0, 0), (1, 3)):
            torch.testing.assert_close(wide.bn.running_mean[after], narrow.bn.running_mean[before])
            assert wide.bn.running_mean[after : after + 3].unique().tolist() == [narrow.bn.running_mean[before].item()]


def search(out, **options):
    return nasreg.search(
        "darts",
        toy_images(),
        "drnas",
        preset="demo",
        space_options={
            "cells": 1,
            "channels": 4,
            "nodes": 1,
            "candidates": ["none", "skip_connect", "sep_conv_3x3", "max_pool_3x3"],
        },
        trainer={
            "epochs": 4,
            "batch_size": 16,
            "warmup_epochs": 1,
            "kept": [2],
            "stage_partial_channels": [4, 2],
            "kl_weight": 1e-3,
            "arch_weight_decay": 0.0,
        },
        seed=0,
        device="cpu",
        out=out,
        **options,
    )


@pytest.mark.slow
@pytest.mark.usefixtures("without_report")
def test_stages_and_their_resumption(tmp_path):
    events = []
    result = search(tmp_path / "whole", callbacks=[events.append])
    stages = [event for event in events if isinstance(event, StageStarted)]
    assert [(stage.stage, stage.stages, stage.epoch) for stage in stages] == [(1, 2, 1), (2, 2, 3)]
    assert "4 candidates per edge, 1/4 of the channels" in stages[0].summary
    assert "2 candidates per edge, 1/2 of the channels" in stages[1].summary
    sizes = [{len(row) for row in epoch["weights"]["normal"]} for epoch in result.history]
    assert sizes == [{4}, {4}, {2}, {2}]
    for number, epoch in enumerate((2, 4)):  # the last step of a stage, and within the next
        with pytest.raises(InterruptedRunError):
            search(tmp_path / "cut", callbacks=[interrupt_at(epoch)], resume=number > 0)
    search(tmp_path / "cut", resume=True)
    assert not differences(tmp_path / "whole", tmp_path / "cut")


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"kept": [4], "epochs": 9}, r"trainer: kept=\[4\] makes 2 stages of one length, but epochs=9 does not divide"),
        ({"kept": [4], "epochs": 4, "warmup_epochs": 2}, "warmup_epochs=2, but a stage has 2 epochs"),
        ({"kept": [4, 4], "epochs": 9}, r"kept=\[4, 4\] must fall"),
        ({"stage_partial_channels": [4, 2]}, "must have a number for each of the 1 stages"),
        ({"kept": [4], "stage_partial_channels": [2, 4]}, "must not rise"),
        ({"kept": [4], "stage_partial_channels": [4, 2], "partial_channels": 2}, "exclude each other"),
    ],
)
def test_options_that_contradict_each_other(options, says, tmp_path):
    with pytest.raises(ConfigError, match=says) as caught:
        nasreg.search(
            "darts", toy_images(), "drnas", preset="nasbench201", trainer=options, out=tmp_path / "run", device="cpu"
        )
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run").exists()
