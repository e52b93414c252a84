"""Several processes that train one model: the same numbers as one, the same state in all, resumed and ended together.

The processes are forked, with the environment that torchrun gives them; the last test starts torchrun itself.
"""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import nasreg
from forked import Done
from nasreg.nn import LayerChoice
from nasreg.testing import toy_images
from nasreg.trainers.bilevel import BilevelTrainer
from ranks import run_ranks

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("without_drawings")]

ORDERS: dict[str, dict[str, Any]] = {
    "first": {},
    "finite": {"second_order": True},
    "exact": {"second_order": True, "hessian_product": "exact"},
}
CASES = list(itertools.product(ORDERS, ("plain", "optimized"), (False, True)))


class Double(nn.Module):
    """A space in float64, with or without BatchNorm."""

    def __init__(self, norm: bool = False) -> None:
        super().__init__()

        def block(size: int) -> nn.Module:
            layers = [nn.ReLU(), nn.Conv2d(4, 4, size, padding=size // 2, bias=False)]
            return nn.Sequential(*layers, *([nn.BatchNorm2d(4, affine=False)] if norm else []))

        self.stem = nn.Conv2d(1, 4, 3, padding=1)
        self.norm = nn.BatchNorm2d(4) if norm else nn.Identity()
        self.first = LayerChoice({"conv1": block(1), "conv3": block(3)}, key="first")
        self.second = LayerChoice({"conv3": block(3), "pool": nn.AvgPool2d(3, 1, 1)}, key="second")
        self.head = nn.Linear(4, 2)
        self.double()

    def forward(self, x: Tensor) -> Tensor:
        """Classify."""
        x = self.second(self.first(self.norm(self.stem(x.double()))))
        return self.head(x.flatten(2).amax(2))


def search(out: Path | None = None, *, algorithm: str = "darts", norm: bool = False, **more: Any) -> Any:
    """Search on 24 images a split, in batches of 7: the last has 3, too few for two processes to divide."""
    trainer = {"epochs": 1, "batch_size": 7, "lr": 0.1, "arch_lr": 0.05, **more.pop("trainer", {})}
    options = {"space_options": {"norm": norm}, "trainer": trainer, "device": "cpu", "seed": 1, **more}
    return nasreg.search(Double, toy_images(48), algorithm, out=out, **options)


def steps_of_search(**options: Any) -> list[list[Tensor]]:
    """Return the architecture parameters, weights and buffers after each step of a search."""
    steps: list[list[Tensor]] = []
    usual = BilevelTrainer.train_step

    def train_step(self: BilevelTrainer, *batches: Any) -> Any:
        if steps or self.state.step:
            steps.append(state_of(self))
        return usual(self, *batches)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(BilevelTrainer, "train_step", train_step)
        patch.setattr(BilevelTrainer, "final_event", lambda self: steps.append(state_of(self)) or final(self))
        result = search(**options)
    return [*steps, [torch.tensor(value) for value in metrics_of(result)]]


final = BilevelTrainer.final_event


def state_of(trainer: BilevelTrainer) -> list[Tensor]:
    return [each.detach().clone() for each in (*trainer.alphas, *trainer.weights.values(), *trainer.model.buffers())]


def metrics_of(result: Any) -> list[float]:
    return [
        value for name, value in sorted(result.history[-1].items()) if isinstance(value, float) and name != "seconds"
    ]


def all_cases() -> dict[Any, list[list[Tensor]]]:
    torch.set_default_dtype(torch.float64)
    try:
        return {
            (order, execution, norm): steps_of_search(
                norm=norm, trainer={**ORDERS[order], "execution": execution, "sync_batch_norm": norm}
            )
            for order, execution, norm in CASES
        }
    finally:
        torch.set_default_dtype(torch.float32)


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, list[Any]]:
    """What one process computed, and each of two."""
    folder = tmp_path_factory.mktemp("ranks")

    def body(rank: int) -> None:
        torch.save(all_cases(), folder / f"{rank}.pt")

    check(run_ranks(body))
    return all_cases(), [torch.load(folder / f"{rank}.pt") for rank in range(2)]


def check(done: list[Done]) -> None:
    for rank, each in enumerate(done):
        assert each.code == 0, f"rank {rank}\n{each.out}\n{each.err}"


@pytest.mark.parametrize("case", CASES, ids=str)
def test_two_processes_compute_what_one_does(case, compared):
    """With batches of 7 divided into 3 and 4; in the mean over the batch each sample counts the same."""
    alone, ranks = compared
    for mine, first, second in zip(alone[case], ranks[0][case], ranks[1][case], strict=True):
        for one, a, b in zip(mine, first, second, strict=True):
            assert torch.equal(a, b)
            torch.testing.assert_close(a, one, rtol=1e-9, atol=1e-9)
    assert len(alone[case]) == 5  # of an epoch of 4 steps, and its metrics
    assert not torch.equal(alone[case][0][0], alone[case][1][0])
