"""A mutator resamples once per forward pass, however the model is called."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch
from torch import nn

from nasreg.mutators import OneShotMutator
from nasreg.nn import Execution, LayerChoice, extract_space, freeze, functional_call_tied, set_execution
from nasreg.specs import Config


class Sampling(OneShotMutator):
    """Samples one candidate per forward pass, and notes its calls."""

    def __init__(self, space):
        super().__init__(space, Config())
        self.calls = []

    def resample(self):
        self.calls.append("resample")
        self.chosen = str(int(torch.randint(2, ())))

    def answer(self, choice):
        self.calls.append("answer")
        return {self.chosen: torch.ones((), requires_grad=True)}

    def architecture(self):
        return self.space.architecture({choice.key: "0" for choice in self.space.choices})


def make():
    def layer():
        convolution = nn.Sequential(nn.ReLU(), nn.Conv2d(2, 2, 1, bias=False), nn.BatchNorm2d(2))
        return LayerChoice([convolution, nn.Conv2d(2, 2, 3, padding=1)])

    model = nn.Sequential(nn.Conv2d(2, 2, 1), layer(), layer(), layer(), layer())
    mutator = Sampling(extract_space(model))
    mutator.attach(model)
    return model, mutator


@pytest.mark.parametrize("checkpoint", [False, True])
@pytest.mark.parametrize("optimized", [False, True])
def test_once_per_forward_pass(checkpoint, optimized):
    model, mutator = make()
    set_execution(model, Execution(optimized=optimized, checkpoint=checkpoint, min_fused_numel=0))
    x = torch.randn(3, 2, 4, 4)
    model(x).sum().backward()
    assert mutator.calls == ["resample", *["answer"] * 4]
    tensors = {name: parameter.detach() for name, parameter in model.named_parameters()}
    functional_call_tied(model, tensors, x)
    assert mutator.calls == 2 * ["resample", *["answer"] * 4]
    with torch.no_grad():
        model.eval()(x)
    assert mutator.calls.count("resample") == 3


def test_attached_twice_or_by_another_it_is_once():
    model, first = make()
    first.attach(model)
    model(torch.ones(3, 2, 4, 4))
    assert first.calls.count("resample") == 1
    second = Sampling(first.space)
    second.attach(model)
    model(torch.ones(3, 2, 4, 4))
    assert (first.calls.count("resample"), second.calls.count("resample")) == (1, 1)
    second.detach(model)
    assert not model._forward_pre_hooks


def test_copies_and_frozen_networks_have_no_mutator():
    model, mutator = make()
    for copied in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        other = Sampling(mutator.space)
        other.attach(copied)
        copied(torch.ones(3, 2, 4, 4))
        assert not mutator.calls
        assert other.calls.count("resample") == 1
    frozen = freeze(model, mutator.architecture())
    frozen(torch.ones(3, 2, 4, 4))
    assert not frozen._forward_pre_hooks
    assert not mutator.calls
