"""Search with a controller: it draws architectures, and their scores train it.

NASNet (Zoph, Vasudevan, Shlens, Le, arXiv 1707.07012, section 3.3 and appendix A.1): a recurrent controller of one LSTM
layer, trained by PPO on 20 children at a time, with a moving average of the rewards as the baseline. REINFORCE (Zoph,
Le, arXiv 1611.01578), without recurrence as in NATS-Bench (Dong et al., arXiv 2009.00437).

What differs from the papers: the controller decides the steps of whatever space it searches, and a step with one option
is none. PPO's clip and number of steps, of which recipes of NASNet say nothing, are common ones. An architecture that
failed, was rejected, or was not drawn by the controller teaches it nothing, nor do those after the last full batch.
"""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

import torch
from torch import Tensor

from nasreg.mutators import (
    MovingBaseline,
    MultiTrialMutator,
    Policy,
    PolicyGradient,
    PolicyLearner,
    Ppo,
    RecurrentPolicy,
    Rollouts,
    TabularPolicy,
)
from nasreg.specs import Architecture, Proposal, Trial
from nasreg_nasnet.config import ControllerConfig, NasnetConfig


class Child(NamedTuple):
    """An architecture that the controller drew."""

    architecture: Architecture
    indices: Tensor
    """Its decisions, ``(D,)``."""
    log_probs: Tensor
    """With what log-probabilities they were drawn, ``(D,)``."""
    entropies: Tensor


class ControllerMutator(MultiTrialMutator):
    """Draws architectures from a policy, and updates it after so many scores.

    Attributes:
        policy: The policy.
        learner: Trains it.
    """

    config: ControllerConfig
    policy: Policy
    learner: PolicyLearner

    def setup(self) -> None:
        """Make the policy and what trains it."""
        config = self.config
        self.policy = (
            TabularPolicy(self.space, init_std=config.init_std)
            if config.policy == "tabular"
            else RecurrentPolicy(
                self.space,
                hidden=config.hidden,
                init_range=config.init_range,
                temperature=config.temperature,
                tanh_constant=config.tanh_constant,
            )
        )
        optimizer = torch.optim.Adam(self.policy.parameters(), lr=config.lr)
        baseline = MovingBaseline(
            config.baseline_decay, order=config.baseline_order, bias_correction=config.baseline_bias_correction
        )
        self.learner = (
            Ppo(self.policy, optimizer, baseline, config.entropy, clip=config.clip, epochs=config.ppo_epochs)
            if isinstance(config, NasnetConfig) and config.update == "ppo"
            else PolicyGradient(self.policy, optimizer, baseline, config.entropy)
        )
        self._drawn: deque[Child] = deque()
        self._proposed: dict[int, Child] = {}
        self._batch: list[Child] = []
        self._rewards: list[float] = []

    def propose(self) -> Proposal:
        """Return an architecture drawn from the policy; as many as an update takes are drawn at a time."""
        if not self._drawn:
            self._draw()
        child = self._drawn.popleft()
        proposal = self.proposal(child.architecture)
        self._proposed[proposal.id] = child
        return proposal

    @torch.no_grad()
    def _draw(self) -> None:
        drawn = self.policy.draw(self.config.children)
        self._drawn.extend(map(Child, self.policy.architectures(drawn.indices), *drawn))

    def observe(self, trial: Trial) -> None:
        """Learn from a scored architecture that the policy drew, once there are enough of them."""
        child = self._proposed.pop(trial.id, None)
        if trial.score is None or child is None or child.architecture != trial.architecture:
            return
        self._batch.append(child)
        value = trial.score.value if trial.score.higher_is_better else -trial.score.value
        self._rewards.append(self.config.reward_scale * value)
        if len(self._batch) == self.config.children:
            _, *columns = zip(*self._batch, strict=True)
            self.learner.update(Rollouts(*map(torch.stack, columns)), self._rewards)
            self._batch, self._rewards = [], []
            self._drawn.clear()  # the next ones are drawn from the new policy
