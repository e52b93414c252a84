"""What trains the controller: REINFORCE with a penalty for skip connections, and Adam in the form of TensorFlow."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

from nasreg.mutators import MovingBaseline, PolicyGradient, Rollouts
from nasreg_enas.policy import EnasPolicy


class TensorflowAdam(torch.optim.Adam):
    """Adam as TensorFlow computes it: ``w -= lr * sqrt(1 - beta2^t) / (1 - beta1^t) * m / (sqrt(v) + epsilon)``.

    This is the form of Kingma and Ba (arXiv 1412.6980) before their section 2.1, in which epsilon is not corrected for
    bias as the square root is. With an epsilon of 1e-3 the two forms differ noticeably.

    Args:
        params: The parameters.
        lr: Learning rate.
        betas: Decay of both averages.
        eps: Epsilon.
    """

    def __init__(self, params: Iterable[nn.Parameter], *, lr: float, betas: tuple[float, float], eps: float) -> None:
        super().__init__(params, lr=lr, betas=(float(betas[0]), float(betas[1])), eps=eps)
        for group in self.param_groups:
            group["epsilon"] = eps
            group["updates"] = 0

    def step(self, closure: Callable[[], float] | None = None) -> Any:
        """Update the parameters."""
        for group in self.param_groups:
            group["updates"] += 1
            group["eps"] = group["epsilon"] / math.sqrt(1 - group["betas"][1] ** group["updates"])
        return super().step(closure)


class EnasLearner(PolicyGradient):
    """REINFORCE, with a penalty that keeps the number of skip connections near a wanted one.

    Args:
        policy: The controller.
        optimizer: An optimiser of its parameters.
        baseline: What rewards are compared with.
        skip_target: The wanted probability of a skip connection.
        skip_weight: Factor of the penalty.
    """

    policy: EnasPolicy

    def __init__(
        self,
        policy: EnasPolicy,
        optimizer: torch.optim.Optimizer,
        baseline: MovingBaseline,
        *,
        skip_target: float,
        skip_weight: float,
    ) -> None:
        super().__init__(policy, optimizer, baseline)
        self.skip_target = skip_target
        self.skip_weight = skip_weight

    def _steps(self, drawn: Rollouts, advantages: Tensor) -> float:
        logits = self.policy.step_logits(drawn.indices)
        now = self.policy.evaluate(drawn.indices, logits)
        gains = now.log_probs * advantages[:, None]
        if self.skip_weight and self.policy.skips:
            penalty = self.skip_weight * self.policy.skip_penalty(logits, self.skip_target)
            gains = torch.cat([gains, -penalty[:, None]], 1)
        return self._step(gains, now.entropies)
