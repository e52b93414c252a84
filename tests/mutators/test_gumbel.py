"""Samples of the Gumbel-softmax, soft and hard, and the schedule of their temperature."""

from __future__ import annotations

from collections import Counter

import pytest
import torch

from nasreg.errors import ConfigError
from nasreg.mutators import GumbelMutator, GumbelMutatorConfig, HardGumbelMutator
from nasreg.mutators.gumbel import annealed
from nasreg.nn import HardWeights
from nasreg.specs import CellSpec, LayerChoiceSpec, SearchSpaceSpec
from nasreg.specs.base import parse

LAYER = LayerChoiceSpec(key="layer", candidates=("x", "y", "z"))
CELL = CellSpec(key="cell", inputs=2, nodes=1, edges_kept=1, candidates=(("none", "p", "q"), ("p", "q")), concat=(2,))
SPACE = SearchSpaceSpec(choices=(LAYER, CELL))


def make(kind, temperature=1.0, **alphas):
    torch.manual_seed(0)
    mutator = kind(SPACE, GumbelMutatorConfig(temperature=temperature)).double()
    for key, alpha in alphas.items():
        mutator.alpha(key).data = torch.tensor(alpha, dtype=torch.float64)
    mutator.resample()
    return mutator


def test_temperatures_fall_linearly_or_by_a_factor():
    assert [annealed(10, 0.1, epoch, 4, "linear") for epoch in range(4)] == pytest.approx([10, 6.7, 3.4, 0.1])
    assert [annealed(8, 1, epoch, 4, "exponential") for epoch in range(4)] == pytest.approx([8, 4, 2, 1])
    assert annealed(10, 0.1, 0, 1, "linear") == 10
    mutator = make(GumbelMutator, 10.0)
    mutator.start_epoch(9, 10)
    assert mutator.temperature == pytest.approx(0.1)


def test_a_temperature_that_would_rise_is_refused():
    with pytest.raises(ConfigError, match="temperature_min=2 is above temperature=1, where it starts") as caught:
        parse(GumbelMutatorConfig, {"temperature": 1.0, "temperature_min": 2.0}, "mutator")
    assert "\n" not in str(caught.value)


def test_soft_samples_are_those_of_the_formula():
    mutator = make(GumbelMutator, 0.5, layer=[1.0, 0.0, -1.0])
    noise = torch.tensor([0.5, 2.0, 0.1], dtype=torch.float64)
    mutator.noise = lambda _: noise
    wanted = torch.nn.functional.softmax((torch.tensor([1.0, 0.0, -1.0]).double() - noise.log()) / 0.5, 0)
    torch.testing.assert_close(mutator.answer(LAYER), wanted)


@pytest.mark.parametrize("kind", [GumbelMutator, HardGumbelMutator])
def test_a_pass_has_one_sample_and_the_next_another(kind):
    mutator = make(kind)
    for choice in (LAYER, CELL):
        first = mutator.answer(choice)
        assert mutator.answer(choice) is first
    soft = mutator.sample(LAYER)
    mutator.resample()
    assert mutator.answer(LAYER) is not first
    assert not torch.equal(mutator.sample(LAYER), soft)


@pytest.mark.parametrize("kind", [GumbelMutator, HardGumbelMutator])
def test_rows_of_different_length(kind):
    """Unused alphas have no effect and no gradient, however large."""
    mutator = make(kind, cell=[[0.0, 1.0, 2.0], [0.0, 1.0, 100.0]])
    answer = mutator.answer(CELL)
    rows = [each.weights if isinstance(each, HardWeights) else each for each in answer]
    assert [len(row) for row in rows] == [3, 2]
    assert [row.sum().item() for row in rows] == pytest.approx([1, 1])
    gradient = torch.autograd.grad((rows[0][1] + rows[1][1]).square(), mutator.alpha("cell"))[0]
    assert torch.isfinite(gradient).all()
    assert gradient[1, 2] == 0
    assert (gradient[1, :2] != 0).all()


def test_hard_samples_have_the_probabilities_of_the_softmax_and_the_gradient_of_the_soft_sample():
    mutator = make(HardGumbelMutator, 0.7, layer=[1.0, 0.0, -1.0])
    drawn = Counter()
    for _ in range(1000):
        mutator.resample()
        drawn[mutator.answer(LAYER).candidate] += 1
    for name, probability in zip(LAYER.candidates, torch.tensor([1.0, 0.0, -1.0]).softmax(0).tolist(), strict=True):
        assert drawn[name] / 1000 == pytest.approx(probability, abs=0.06)
    noise = mutator.noise(LAYER)
    mutator.noise = lambda _: noise
    mutator.resample()
    answer, soft = mutator.answer(LAYER), mutator.sample(LAYER)
    index = LAYER.candidates.index(answer.candidate)
    assert index == int(soft.argmax())
    assert answer.weights.tolist() == pytest.approx([float(number == index) for number in range(3)])
    for number in range(3):
        ours, theirs = (
            torch.autograd.grad(row[number], mutator.alpha("layer"), retain_graph=True)[0]
            for row in (answer.weights, soft)
        )
        torch.testing.assert_close(ours, theirs)


def test_architectures_come_from_the_softmax_without_noise():
    mutator = make(HardGumbelMutator, layer=[0.0, 3.0, 0.0], cell=[[9.0, 1.0, 0.0], [0.0, 2.0, 50.0]])
    assert mutator.architecture().decisions == {"layer": "y", "cell": ((("q", 1),),)}
    assert mutator.weights()["cell"][1].keys() == {"p", "q"}
