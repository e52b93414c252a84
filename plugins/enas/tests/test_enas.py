"""The search: its phases, what the controller learns from, what it finds, what it refuses."""

from __future__ import annotations

import json
import math

import pytest
import torch

import nasreg
from nasreg.cli import main
from nasreg.config.lookup import find_space
from nasreg.events import EpochEnded, RunStarted, StepEnded
from nasreg.mutators import MovingBaseline
from nasreg.networks.references import describe_space
from nasreg.nn import extract_space
from nasreg.nn.parameters import parameter_count
from nasreg.registry import default_registry
from nasreg.specs import DataInfo
from nasreg_enas.config import EnasMutatorConfig, EnasTrainerConfig, MacroConfig, MicroConfig
from nasreg_enas.learner import EnasLearner, TensorflowAdam
from nasreg_enas.macro import build as build_macro
from nasreg_enas.micro import build as build_micro
from nasreg_enas.mutator import EnasMutator
from nasreg_enas.plugin import MACRO, MICRO
from nasreg_enas.policy import EnasPolicy
from nasreg_enas.trainer import restarted_cosine

INFO = DataInfo(channels=1, height=8, width=8, classes=("a", "b", "c"))


def described(name, **options):
    return describe_space(find_space(default_registry(), name), options)


@pytest.fixture(scope="module")
def search(tmp_path_factory):
    """A short search, with its events."""
    events = []
    result = nasreg.search(
        "enas-macro",
        "digits",
        "enas",
        trainer={"epochs": 2, "batch_size": 16, "controller_steps": 2, "aggregate": 3, "samples": 4},
        space_options={"layers": 3, "channels": 2},
        dataset_options={"limit": 100},
        callbacks=[events.append],
        device="cpu",
        seed=1,
        out=tmp_path_factory.mktemp("search") / "run",
    )
    return result, events


def test_each_epoch_has_two_phases(search):
    _, events = search
    [started] = [each for each in events if isinstance(each, RunStarted)]
    steps = [each for each in events if isinstance(each, StepEnded)]
    assert started.steps == steps[0].steps == len(steps) / 2
    of_controller = [each for each in steps if each.epoch == 1][-6:]
    assert len({each.loss for each in of_controller}) == 1  # no weight is trained: it is what the train split had
    assert len({each.loss for each in steps}) == len(steps) - 2 * 6


def test_the_architecture_is_one_that_was_drawn_and_reports_say_what_the_controller_does(search):
    result, events = search
    ended = [each for each in events if isinstance(each, EpochEnded)]
    for each in ended:
        assert set(each.diagnostics) == {"mean score", "controller entropy", "share of skips"}
        assert 0 <= each.diagnostics["share of skips"] <= 1
    assert ended[-1].architecture == result.architecture
    assert result.genotype.startswith("enas-macro: ")


@pytest.mark.parametrize(
    ("space", "places"),
    [
        (lambda: described("enas-micro", nodes=2), 16),
        (lambda: described("enas-macro", layers=4), 10),
        (lambda: described("darts", nodes=2), 12),  # each second node has sources to choose
        (lambda: described("nasbench201"), 6),
        (lambda: described("chain", blocks=3), 9),
        (lambda: described("elastic-chain", blocks=2), None),
    ],
)
def test_a_controller_decides_the_steps_of_any_space(space, places):
    space = space()
    policy = EnasPolicy(space, EnasMutatorConfig())
    assert places is None or len(policy.open_steps) == places
    with torch.no_grad():
        drawn = policy.draw(5)
        again = policy(drawn.indices)
    torch.testing.assert_close(again.log_probs, drawn.log_probs)
    for architecture in policy.architectures(drawn.indices):
        space.validate(architecture)
    loss = policy(drawn.indices).log_probs.sum()
    torch.autograd.backward(loss)
    assert all(p.grad is not None for p in policy.softmaxes.parameters())


def test_the_controller_learns_what_is_rewarded():
    space = described("enas-macro", layers=3)
    torch.manual_seed(0)
    policy = EnasPolicy(space, EnasMutatorConfig(learned_bias=None, tanh_constant=2.5, op_tanh_reduce=1))
    adam = TensorflowAdam(policy.parameters(), lr=0.02, betas=(0, 0.999), eps=1e-3)
    learner = EnasLearner(policy, adam, MovingBaseline(0.9, order="before", start=0.0), skip_target=0.4, skip_weight=0)
    first = space.choices[0]

    def share():
        with torch.no_grad():
            drawn = policy.architectures(policy.draw(200).indices)
        return sum(each.decisions[first.key] == first.candidates[2] for each in drawn) / 200

    before = share()
    for _ in range(25):
        drawn = policy.draw(10)
        found = policy.architectures(drawn.indices)
        learner.update(drawn, [float(each.decisions[first.key] == first.candidates[2]) for each in found])
    assert share() > before + 0.3


def test_the_penalty_moves_the_share_of_skips():
    space = described("enas-macro", layers=6)
    shares = {}
    for target in (0.1, 0.9):
        torch.manual_seed(0)
        policy = EnasPolicy(space, EnasMutatorConfig(learned_bias=None, tanh_constant=2.5))
        adam = TensorflowAdam(policy.parameters(), lr=0.02, betas=(0, 0.999), eps=1e-3)
        baseline = MovingBaseline(0.9, order="before", start=0.0)
        learner = EnasLearner(policy, adam, baseline, skip_target=target, skip_weight=0.8)
        for _ in range(15):
            learner.update(policy.draw(10), [0.0] * 10)
        places = [place for each in policy.skips for place in each]
        shares[target] = float(policy.draw(100).indices[:, places].double().mean())
    assert shares[0.1] < 0.35
    assert shares[0.9] > 0.65


def test_operations_are_favoured_by_both_biases():
    space = described("enas-micro")
    policy = EnasPolicy(space, EnasMutatorConfig())
    [softmax] = policy.softmaxes
    assert softmax.bias.tolist() == [10, 10, 0, 0, 0]
    assert softmax.fixed.tolist() == [0.25, 0.25, -0.25, -0.25, -0.25]
    with torch.no_grad():
        logits = policy.step_logits(policy.draw(1).indices)
    places = [place for place, number in enumerate(policy.open_steps) if space.steps[number].kind == "operation"]
    bound = 1.1 / 2.5
    for place in places:
        shift = softmax.fixed if place < len(logits) / 2 else 0  # the normal cell comes first
        assert float((logits[place] - shift).abs().max()) <= bound


def test_adam_is_that_of_tensorflow():
    weight = torch.nn.Parameter(torch.tensor([1.0, -2.0], dtype=torch.float64))
    adam = TensorflowAdam([weight], lr=0.1, betas=(0, 0.9), eps=0.5)
    expected, v = weight.detach().clone(), torch.zeros(2, dtype=torch.float64)
    for step, gradient in enumerate(([1.0, 3.0], [-2.0, 0.5], [0.1, 0.0]), 1):
        weight.grad = torch.tensor(gradient, dtype=torch.float64)
        adam.step()
        v = 0.9 * v + 0.1 * weight.grad**2
        expected -= 0.1 * math.sqrt(1 - 0.9**step) * weight.grad / (v.sqrt() + 0.5)
        torch.testing.assert_close(weight.detach(), expected, rtol=1e-12, atol=0)


def test_cosines_restart_ever_later():
    config = EnasTrainerConfig()
    rates = [restarted_cosine(config, epoch) for epoch in range(70)]
    assert [epoch for epoch, rate in enumerate(rates) if rate == config.lr] == [0, 10, 30]
    assert restarted_cosine(EnasTrainerConfig(restart=None), 75) == pytest.approx((0.05 + 5e-4) / 2)


@pytest.mark.parametrize(
    ("build", "config"),
    [(build_micro, MicroConfig(cells=1, channels=2, nodes=2)), (build_macro, MacroConfig(layers=4, channels=2))],
)
def test_only_the_sampled_path_is_computed(build, config):
    model = build(INFO, config)
    mutator = EnasMutator(extract_space(model), EnasMutatorConfig())
    mutator.attach(model)
    x = torch.randn(4, 1, 8, 8)
    with mutator.holding(mutator.architecture()):
        torch.autograd.backward(model(x).sum())
    used = sum(p.numel() for p in model.parameters() if p.grad is not None)  # with zeros of joins that are left out
    network = nasreg.nn.freeze(model, mutator.architecture())
    assert used <= 1.3 * parameter_count(network) < parameter_count(model)


@pytest.mark.parametrize(("text", "options"), [(MICRO, {"nodes": 5}), (MACRO, {"layers": 24})])
def test_published_texts_have_the_options_of_their_space(text, options):
    found = nasreg.find_architecture(text)
    assert dict(found.options) == options
    assert (
        found.space.entry.notation.text(
            described(found.space.reference.name, **options),
            found.resolve(described(found.space.reference.name, **options)),
        )
        == text
    )


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("enas-micro: 0 1 0", "it has 3 numbers, but two cells have 8 for each node"),
        ("enas-micro: 0 1 0 x 0 1 0 1", "'x' is not a number"),
        ("enas-micro: 0 7 0 1 0 1 0 1", "node 0 of cell 'normal' has operation 7"),
        ("enas-micro: 9 1 0 1 0 1 0 1", "node 0 cannot take state 9"),
        ("enas-macro: 0 1", "it has 2 numbers"),
        ("enas-macro: 0 1 2", "layer 2 has 2 where 0 or 1 stands for a connection"),
        ("enas-macro: 0 6 1", "layer 2 has operation 6"),
    ],
)
def test_a_malformed_text_is_one_line(text, says, capsys):
    assert main(["show", text]) == 2
    error = capsys.readouterr().err
    assert says in error
    assert error.count("\n") == 1


def test_pictures_of_both_spaces(tmp_path, capsys):
    for name in ("ENAS_micro", "ENAS_macro"):
        assert main(["show", name, "--out", str(tmp_path / f"{name}.svg")]) == 0
        assert (tmp_path / f"{name}.svg").stat().st_size < 400_000
    capsys.readouterr()
    assert main(["show", "ENAS_macro", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["genotype"] == MACRO


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        (["--set", "trainer.lr_min=1"], "lr_min 1 must not be above lr"),
        (["--set", "trainer.aggregate=0"], "trainer.aggregate: 0 is invalid"),
        (["--set", "trainer.skip_target=1"], "trainer.skip_target: 1 is invalid"),
        (["--set", "space.candidates=[conv_9x9]"], "there is no operation 'conv_9x9'"),
        (["--set", "dataset.arch_fraction=0"], "dataset.arch_fraction is 0, but"),
    ],
)
def test_bad_options_are_one_line(argv, says, tmp_path, capsys):
    assert main(["run", "enas", *argv, "--out", str(tmp_path / "run")]) == 2
    error = capsys.readouterr().err
    assert says in error
    assert error.count("\n") == 1
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["enas-micro", "enas-macro"])
def test_recipes_train_any_architecture_of_their_space(name, tmp_path):
    small = {"enas-micro": {"cells": 1, "channels": 4}, "enas-macro": {"channels": 2}}[name]
    result = nasreg.retrain(
        MICRO if name == "enas-micro" else "enas-macro: 5 4 1 3 0 1",
        "digits",
        recipe=name,
        trainer={"epochs": 1, "batch_size": 32},
        space_options=small,
        dataset_options={"limit": 64},
        device="cpu",
        out=tmp_path / "run",
    )
    assert result.run_dir == tmp_path / "run"
