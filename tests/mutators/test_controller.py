"""Policies over the steps of a space: what they draw, its probability, and that rewards train them."""

from __future__ import annotations

import math
from collections import Counter

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from nasreg.mutators.controller import (
    RecurrentPolicy,
    SequentialPolicy,
    TabularPolicy,
    bounded,
    invert,
    log_softmax,
)
from nasreg.mutators.policy_gradient import MovingBaseline, PolicyGradient, Ppo
from nasreg.specs import CellSpec, InputChoiceSpec, LayerChoiceSpec, SearchSpaceSpec, ValueChoiceSpec

LAYERS = SearchSpaceSpec(
    choices=(
        LayerChoiceSpec(key="a", candidates=("x", "y", "z")),
        LayerChoiceSpec(key="only", candidates=("x",)),
        ValueChoiceSpec(key="b", values=(1, 2)),
    )
)
CELL = SearchSpaceSpec(  # sources ascend, so that the options of a step depend on those before
    choices=(
        CellSpec(key="cell", inputs=2, nodes=2, candidates=(("none", "p", "q"),) * 5, concat=(2, 3)),
        InputChoiceSpec(key="in", candidates=("0", "1"), n_chosen=None, reduction="concat"),
    )
)
ONE = SearchSpaceSpec(choices=(LayerChoiceSpec(key="only", candidates=("x",)),))
SPACES = {"layers": LAYERS, "cell": CELL}


def policies(space):
    torch.manual_seed(0)
    tabular, recurrent = TabularPolicy(space, init_std=1.0), RecurrentPolicy(space, hidden=8, init_range=1.0).double()
    return {"tabular": tabular, "recurrent": recurrent}


def every_path(space):
    paths = [()]
    for _ in range(space.n_decisions):
        paths = [(*path, index) for path in paths for index in space.allowed(path)]
    return paths


@pytest.mark.parametrize("kind", ["tabular", "recurrent"])
@pytest.mark.parametrize("title", SPACES)
def test_probabilities_of_all_architectures_add_up_to_one(title, kind):
    space = SPACES[title]
    policy = policies(space)[kind]
    architectures = [space.architecture_of(path) for path in every_path(space)]
    assert len(architectures) == space.size()
    assert policy.independent == (title == "layers")
    indices = policy.indices(architectures)
    assert policy.architectures(indices) == architectures
    found = policy(indices)
    assert found.log_probs.shape == found.entropies.shape == indices.shape == (space.size(), len(policy.open_steps))
    probabilities = found.log_probs.sum(1).exp()
    torch.testing.assert_close(probabilities.sum(), torch.tensor(1.0, dtype=torch.float64))
    # the entropy of the whole is the mean of the sum of the entropies of the steps
    whole = -(probabilities * found.log_probs.sum(1)).sum()
    torch.testing.assert_close((probabilities * found.entropies.sum(1)).sum(), whole)


@pytest.mark.parametrize("kind", ["tabular", "recurrent"])
@pytest.mark.parametrize("title", SPACES)
def test_what_is_drawn_has_the_probability_that_is_computed(title, kind):
    space, n = SPACES[title], 4000
    policy = policies(space)[kind]
    with torch.no_grad():
        drawn = policy.draw(n)
        again = policy(drawn.indices)
        for one, other in zip(drawn, again, strict=True):
            torch.testing.assert_close(one, other)
        counts = Counter(map(tuple, drawn.indices.tolist()))
        everything = policy.indices([space.architecture_of(path) for path in every_path(space)])
        expected = dict(zip(map(tuple, everything.tolist()), policy(everything).log_probs.sum(1).exp(), strict=True))
    assert set(counts) <= set(expected)
    for indices, probability in expected.items():
        p = float(probability)
        assert abs(counts[indices] / n - p) < 5 * math.sqrt(p * (1 - p) / n) + 2 / n
    torch.manual_seed(3)
    one = policy.draw(5).indices
    torch.manual_seed(3)
    assert torch.equal(policy.draw(5).indices, one)


def test_uniform_numbers_are_inverted():
    logs = torch.tensor([[0.2, 0.3, 0.5], [0.0, 1.0, 0.0], [0.5, 0.5, 0.0]]).log()
    below = 1 - 2**-53
    uniforms = torch.tensor([[0.0, 0.0, 0.0], [0.1999, 0.5, 0.5], [below, below, below]], dtype=torch.float64)
    assert invert(logs, uniforms).tolist() == [[0, 1, 0], [0, 1, 1], [2, 1, 1]]


def test_a_space_of_one_architecture():
    for policy in policies(ONE).values():
        drawn = policy.draw(3)
        assert policy.architectures(drawn.indices) == [ONE.architecture({"only": "x"})] * 3
        assert policy(drawn.indices).log_probs.shape == (3, 0)
        optimizer = torch.optim.Adam(policy.parameters())
        assert PolicyGradient(policy, optimizer, MovingBaseline(0.9)).update(drawn, [1.0, 2.0, 3.0]).loss == 0.0


def test_bounds_of_logits():
    logits = torch.tensor([-100.0, 0.5, 100.0])
    assert bounded(logits) is logits
    torch.testing.assert_close(bounded(logits, 5.0), logits / 5)
    torch.testing.assert_close(bounded(logits, 5.0, 2.5), 2.5 * torch.tanh(logits / 5))
    policy = RecurrentPolicy(LAYERS, init_range=30.0, tanh_constant=1.5)
    assert policy.draw(20).log_probs.min() > math.log(math.exp(-1.5) / (math.exp(-1.5) + 2 * math.exp(1.5)))


def test_a_policy_of_ones_own_with_another_state():
    """As the controller of ENAS: the logits of a step depend on what was decided, by attention and a bias."""

    class Own(SequentialPolicy):
        def __init__(self, space):
            super().__init__(space)
            self.bias = nn.Parameter(torch.zeros(3))

        def start(self, n):
            return [torch.zeros(n, dtype=torch.int64)]

        def logits(self, place, state):
            count = self.n_options[self.open_steps[place]]
            return self.bias[:count] + torch.stack(state).sum(0)[:, None] * torch.arange(count)

        def take(self, place, indices, state):
            return [*state, indices]

    policy = Own(LAYERS)
    drawn = policy.draw(50)
    given_y = drawn.indices[:, 0] == 1
    expected = log_softmax(torch.tensor([0.0, 1.0]))[0][drawn.indices[given_y, 1]]
    torch.testing.assert_close(drawn.log_probs[given_y, 1], expected)


@pytest.mark.parametrize(
    ("options", "advantages", "value"),
    [
        ({}, [0.0, 2.0, 2.6], 1.92),
        ({"order": "before"}, [0.0, 1.6, 2.08], 1.92),  # smaller by the factor of the decay
        ({"start": 0.0, "order": "before"}, [0.8, 2.24, 2.592], 1.408),  # ENAS
        ({"bias_correction": True, "order": "before"}, [0.0, 0.8889, 1.1148], 2.8852),  # NATS-Bench
    ],
)
def test_moving_baselines(options, advantages, value):
    baseline = MovingBaseline(0.8, **options)
    found = [baseline.advantage(reward) for reward in (1.0, 3.0, 4.0)]
    assert found == pytest.approx(advantages, abs=1e-4)
    assert baseline.value == pytest.approx(value, abs=1e-4)


def test_reinforce_is_the_gradient_of_the_expected_reward():
    """Over all architectures, weighted by their probabilities, minus the entropy's."""
    policy = policies(CELL)["recurrent"]
    paths = policy.indices([CELL.architecture_of(path) for path in every_path(CELL)])
    rewards = torch.linspace(-1, 1, len(paths), dtype=torch.float64)

    def objective():
        found = policy(paths)
        probabilities = found.log_probs.sum(1).exp()
        return (probabilities * rewards).sum() - 0.1 * (probabilities * found.log_probs.sum(1)).sum()

    wanted = torch.autograd.grad(-objective(), list(policy.parameters()))
    with torch.no_grad():
        before = objective()
        drawn = policy.draw(4000)
    row = {tuple(path): reward for path, reward in zip(paths.tolist(), rewards.tolist(), strict=True)}
    optimizer = torch.optim.SGD(policy.parameters(), lr=0.05)
    learner = PolicyGradient(policy, optimizer, MovingBaseline(0.0, start=0.0), entropy_weight=0.1)
    learner.baseline.advantage = lambda reward: reward  # without a baseline
    learner.update(drawn, [row[tuple(path)] for path in drawn.indices.tolist()])
    found = torch.cat([each.grad.flatten() for each in policy.parameters()])
    expected = torch.cat([each.flatten() for each in wanted])
    # the entropies of the steps are those of the paths drawn, so that their part is the same in expectation
    assert F.cosine_similarity(found, expected, dim=0) > 0.9
    assert objective() > before


@pytest.mark.parametrize("learner", [PolicyGradient, Ppo])
@pytest.mark.parametrize("kind", ["tabular", "recurrent"])
@pytest.mark.parametrize("title", SPACES)
def test_rewards_train(title, kind, learner):
    space = SPACES[title]
    policy = policies(space)[kind]
    best = policy.indices([space.architecture_of(every_path(space)[-1])])
    optimizer = torch.optim.Adam(policy.parameters(), lr=0.3)
    trained = learner(policy, optimizer, MovingBaseline(0.9))
    for _ in range(25):
        with torch.no_grad():
            drawn = policy.draw(20)
        trained.update(drawn, (drawn.indices == best).double().mean(1).tolist())
    assert (policy.draw(200).indices == best).double().mean() > 0.85


def test_ppo_stops_where_the_ratio_is_clipped():
    policy = TabularPolicy(LAYERS, init_std=0.0)
    with torch.no_grad():
        drawn = policy.draw(1)
    optimizer = torch.optim.SGD(policy.parameters(), lr=1.0)
    Ppo(policy, optimizer, MovingBaseline(0.9, start=0.0), clip=0.2, epochs=50).update(drawn, [1.0])
    ratio = (policy(drawn.indices).log_probs - drawn.log_probs).exp()
    assert ratio.min() > 1.2  # by one step further than the clip
    assert ratio.max() < 2
    once = TabularPolicy(LAYERS, init_std=0.0)
    Ppo(once, torch.optim.SGD(once.parameters(), lr=1.0), MovingBaseline(0.9, start=0.0), epochs=1).update(drawn, [1.0])
    assert torch.equal(once.theta, policy.theta)  # nothing moved after the first step, which was beyond the clip
