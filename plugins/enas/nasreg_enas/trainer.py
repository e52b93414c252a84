"""The search of ENAS (Pham et al., arXiv 1802.03268, section 2.2): two phases in turn, and derivation by sampling.

In an epoch each batch of the train split trains the weights of one architecture that the controller draws. Then come
the steps of the controller: the reward of an architecture is its accuracy on one batch of the arch split, with the
shared weights, plus a multiple of the entropy of its decisions; REINFORCE with a moving baseline learns from several at
a time. After each epoch some architectures are drawn, and the best of them on one batch is the one that is derived.

What differs from the authors' program: dropout is off in the reward. The running statistics of BatchNorm are those of
the training, and are used in no measurement of the search: it takes those of the batch, as the program does for cells.
Weights that a step does not use have no weight decay and no momentum in it. The program means to clip gradients at 5
and does not, so that ``grad_clip`` is off by default.
"""

from __future__ import annotations

import random
from typing import Any

import torch

from nasreg.mutators import MovingBaseline, Rollouts
from nasreg.nn import batch_statistics, running_norms
from nasreg.specs import Architecture
from nasreg.trainers import Batch, OneShotContext, OneShotTrainer, StepResult, cosine_rate, trainable_parameters
from nasreg_enas.config import EnasTrainerConfig
from nasreg_enas.learner import EnasLearner, TensorflowAdam
from nasreg_enas.mutator import EnasMutator


class EnasTrainer(OneShotTrainer):
    """Trains shared weights and controller in turn.

    Args:
        context: The search.
        config: Options.

    Attributes:
        learner: Trains the controller.
    """

    config: EnasTrainerConfig
    mutator: EnasMutator
    learner: EnasLearner

    def __init__(self, context: OneShotContext, config: EnasTrainerConfig) -> None:
        super().__init__(context, config)
        self._of_epoch: list[Architecture] = []
        """The architecture of each step on the train split, of the present epoch."""
        self._drawn: Rollouts | None = None
        """The architectures that the next update of the controller learns from."""
        self._rewards: list[float] = []
        self._sums: dict[str, float] = {}
        """Sums over the rewards of an epoch."""

    def setup(self) -> None:
        """Build the supernet, the controller, which stays on the CPU, and both optimisers."""
        super().setup()
        config = self.config
        self.mutator.cpu()
        self._norms = running_norms(self.model)
        policy = self.mutator.policy
        controller = TensorflowAdam(
            policy.parameters(), lr=config.controller_lr, betas=config.controller_betas, eps=config.controller_epsilon
        )
        self.optimizers = {
            "weights": torch.optim.SGD(
                trainable_parameters(self.model).values(),
                lr=config.lr,
                momentum=config.momentum,
                weight_decay=config.weight_decay,
                nesterov=True,
            ),
            "controller": controller,
        }
        baseline = MovingBaseline(config.baseline_decay, order="before", start=0.0)
        self.learner = EnasLearner(
            policy, controller, baseline, skip_target=config.skip_target, skip_weight=config.skip_weight
        )

    # -- the shared weights --------------------------------------------------------------------------------------------

    def start_epoch(self, epoch: int) -> None:
        """Set the learning rate of the weights, and draw the architecture of each of the steps that train them.

        They are drawn all at once, since the controller does not change before the last of these steps.
        """
        self.optimizers["weights"].param_groups[0]["lr"] = restarted_cosine(self.config, epoch)
        policy = self.mutator.policy
        seed = random.Random(f"{self.context.spec.seed}, epoch {epoch}").getrandbits(63)
        generator = torch.Generator().manual_seed(seed)
        steps = self.context.data.splits["train"].steps(self.config.batch_size)
        uniforms = torch.rand(steps, len(policy.open_steps), dtype=torch.float64, generator=generator)
        with torch.no_grad():
            self._of_epoch = policy.architectures(policy.sample(uniforms).indices)

    def train_step(self, train: Batch, arch: Batch | None) -> StepResult:
        """Update the weights of one architecture."""
        del arch
        with self.mutator.holding(self._of_epoch[self.state.step]):
            return self.descend(train, max_norm=self.config.grad_clip)

    # -- the controller ------------------------------------------------------------------------------------------------

    def arch_steps(self, epoch: int) -> int:
        """Return the number of rewards after each epoch."""
        del epoch
        return self.config.controller_steps * self.config.aggregate

    def arch_step(self, arch: Batch) -> None:
        """Find the reward of an architecture; after the last of several the controller learns from them."""
        policy = self.mutator.policy
        with torch.no_grad():
            if self._drawn is None:
                self._drawn = policy.draw(self.config.aggregate)
            number = len(self._rewards)
            drawn = Rollouts(*(each[number : number + 1] for each in self._drawn))
            [architecture] = policy.architectures(drawn.indices)
            entropy = float(policy.entropy(drawn))
        score = self.score(architecture, arch)
        self._rewards.append(score + self.config.entropy_weight * entropy)
        skips = sum(int(drawn.indices[0, places].sum()) for places in policy.skips)
        self._note(rewards=1, score=score, entropy=entropy, skips=skips)
        if len(self._rewards) == self.config.aggregate:
            self.learner.update(self._drawn, self._rewards)
            self._drawn, self._rewards = None, []

    @torch.no_grad()
    def score(self, architecture: Architecture, batch: Batch) -> float:
        """Return the objective of an architecture on a batch, with the shared weights; greater is better.

        Args:
            architecture: The architecture.
            batch: Inputs ``(B, C, H, W)`` and targets.
        """
        if self.model.training:
            self.model.eval()
        sums: dict[str, float] = {}
        with self.mutator.holding(architecture), batch_statistics(self._norms):
            for x, y, _ in self.pieces(batch):
                with self.autocast():
                    output = self.model(x)
                prediction, _ = self.task.outputs(output)
                for name, value in self.task.statistics(prediction, y).items():
                    sums[name] = sums.get(name, 0.0) + float(value)
        objective = self.task.objective
        reached = self.task.compute(sums)[objective.name]
        return reached if objective.higher_is_better else -reached

    def _note(self, **values: float) -> None:
        for name, value in values.items():
            self._sums[name] = self._sums.get(name, 0.0) + value

    # -- after an epoch ------------------------------------------------------------------------------------------------

    def measure(self) -> dict[str, float]:
        """Derive the architecture, and measure the supernet on its path, with the statistics of each batch."""
        self.derive()
        self._report()
        with self.mutator.holding(self.mutator.architecture()), batch_statistics(self._norms):
            return super().measure()

    def derive(self) -> None:
        """Draw some architectures, and keep the best one on a batch of the arch split."""
        policy, epoch = self.mutator.policy, self.state.epoch
        with torch.no_grad():
            drawn = policy.draw(self.config.samples).indices
        batches = self.context.data.splits["arch"].batches(
            batch_size=self.config.batch_size, epoch=epoch, start=self.arch_steps(epoch), steps=1
        )
        batch = next(batches)
        scores = [self.score(architecture, batch) for architecture in policy.architectures(drawn)]
        self.mutator.best.copy_(drawn[scores.index(max(scores))])

    def _report(self) -> None:
        count = self._sums.get("rewards", 0.0)
        if count:
            figures = {name: self._sums[name] / count for name in ("score", "entropy")}
            self.mutator.figures = {"mean score": figures["score"], "controller entropy": figures["entropy"]}
            if possible := sum(map(len, self.mutator.policy.skips)):
                self.mutator.figures["share of skips"] = self._sums["skips"] / count / possible
        self._sums = {}

    # -- checkpoints ---------------------------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """Add what the controller is to learn from next."""
        drawn = None if self._drawn is None else list(self._drawn)
        enas = {"drawn": drawn, "rewards": self._rewards, "sums": self._sums, "baseline": self.learner.baseline.value}
        return {**super().state_dict(), "enas": enas}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what ``state_dict`` returned."""
        super().load_state_dict(state)
        enas = state["enas"]
        self._drawn = None if enas["drawn"] is None else Rollouts(*(each.cpu() for each in enas["drawn"]))
        self._rewards, self._sums = list(enas["rewards"]), dict(enas["sums"])
        self.learner.baseline.value = enas["baseline"]


def restarted_cosine(config: EnasTrainerConfig, epoch: int) -> float:
    """Return the learning rate of an epoch: cosines, each longer than the one before (arXiv 1608.03983)."""
    length = config.restart or config.epochs
    while config.restart and epoch >= length:
        epoch -= length
        length *= config.restart_factor
    return cosine_rate(config.lr, config.lr_min, epoch, length)
