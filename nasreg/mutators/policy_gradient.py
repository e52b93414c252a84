"""What trains a policy by the scores of the architectures that it drew: REINFORCE and PPO, with a moving baseline.

Williams: Simple statistical gradient-following algorithms (1992), as used by Zoph and Le, arXiv 1611.01578; Schulman et
al.: Proximal Policy Optimization Algorithms, arXiv 1707.06347. All decisions of an architecture have one reward.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from nasreg.mutators.controller import Policy, Rollouts


class MovingBaseline:
    """The exponential moving average of rewards, which a reward is compared with.

    Args:
        decay: Weight of the past.
        order: ``after``: a reward is compared with those before it. ``before``: it is averaged first, so that it is
            compared with itself, too, which makes the advantage smaller by the factor ``decay`` (ENAS, NATS-Bench).
        start: The average before the first reward; None for the first reward itself.
        bias_correction: Start at 0 and divide by the sum of the weights, as Adam does; ``start`` is not used.

    Attributes:
        value: The average; None where there is none yet.
    """

    def __init__(
        self,
        decay: float,
        *,
        order: Literal["before", "after"] = "after",
        start: float | None = None,
        bias_correction: bool = False,
    ) -> None:
        self.decay = decay
        self.order = order
        self.bias_correction = bias_correction
        self.value = None if bias_correction else start
        self._sum = self._weight = 0.0

    def advantage(self, reward: float) -> float:
        """Return by how much a reward is above the baseline, and average it."""
        before = reward if self.value is None else self.value
        if self.bias_correction:
            self._sum = self.decay * self._sum + (1 - self.decay) * reward
            self._weight = self.decay * self._weight + (1 - self.decay)
            self.value = self._sum / self._weight
        else:
            self.value = self.decay * before + (1 - self.decay) * reward
        return reward - (self.value if self.order == "before" else before)


class Update(NamedTuple):
    """What an update of a policy was made of."""

    loss: float
    """The loss, before the first step."""
    advantages: tuple[float, ...]
    """Reward minus baseline of each architecture."""


class PolicyLearner(ABC):
    """Base of what trains a policy.

    Args:
        policy: The policy.
        optimizer: An optimiser of its parameters.
        baseline: What rewards are compared with.
        entropy_weight: Factor of the entropy of the decisions, which is added to what is maximised.
    """

    def __init__(
        self,
        policy: Policy,
        optimizer: torch.optim.Optimizer,
        baseline: MovingBaseline,
        entropy_weight: float = 0.0,
    ) -> None:
        self.policy = policy
        self.optimizer = optimizer
        self.baseline = baseline
        self.entropy_weight = entropy_weight

    def update(self, drawn: Rollouts, rewards: Sequence[float]) -> Update:
        """Learn from architectures that the policy drew, and from their rewards, in the order in which they came.

        Args:
            drawn: The architectures, with the log-probabilities that they were drawn with.
            rewards: The reward of each; greater is better.
        """
        advantages = tuple(map(self.baseline.advantage, rewards))
        if not self.policy.open_steps:  # there is nothing to decide
            return Update(0.0, advantages)
        return Update(self._steps(drawn, torch.tensor(advantages, dtype=drawn.log_probs.dtype)), advantages)

    @abstractmethod
    def _steps(self, drawn: Rollouts, advantages: Tensor) -> float:
        """Take one or more steps, and return the first loss."""

    def _step(self, gains: Tensor, entropies: Tensor) -> float:
        """Take a step that raises the sum over decisions, the mean over architectures, of ``(B, D)`` gains."""
        total = gains + self.entropy_weight * entropies if self.entropy_weight else gains
        loss = -total.sum() / len(gains)
        self.optimizer.zero_grad()
        torch.autograd.backward(loss)
        self.optimizer.step()
        return loss.item()


class PolicyGradient(PolicyLearner):
    """One step along the gradient of log-probability times advantage (REINFORCE)."""

    def _steps(self, drawn: Rollouts, advantages: Tensor) -> float:
        now = self.policy(drawn.indices)
        return self._step(now.log_probs * advantages[:, None], now.entropies)


class Ppo(PolicyLearner):
    """Several steps on the same architectures, in which no decision gains by moving far from how it was drawn.

    The gain of a decision is ``min(r * A, clip(r, 1 - clip, 1 + clip) * A)``, where r is its probability over the one
    that it was drawn with, and A the advantage (equation 7 of the paper).

    Args:
        policy: See ``PolicyLearner``.
        optimizer: See ``PolicyLearner``.
        baseline: See ``PolicyLearner``.
        entropy_weight: See ``PolicyLearner``.
        clip: How far from 1 the ratio counts.
        epochs: Number of steps.
    """

    def __init__(
        self,
        policy: Policy,
        optimizer: torch.optim.Optimizer,
        baseline: MovingBaseline,
        entropy_weight: float = 0.0,
        *,
        clip: float = 0.2,
        epochs: int = 4,
    ) -> None:
        super().__init__(policy, optimizer, baseline, entropy_weight)
        self.clip = clip
        self.epochs = epochs

    def _steps(self, drawn: Rollouts, advantages: Tensor) -> float:
        losses = []
        for _ in range(self.epochs):
            now = self.policy(drawn.indices)
            ratio = (now.log_probs - drawn.log_probs).exp()
            clipped = ratio.clamp(1 - self.clip, 1 + self.clip)
            weight = advantages[:, None]
            losses.append(self._step(torch.minimum(ratio * weight, clipped * weight), now.entropies))
        return losses[0]
