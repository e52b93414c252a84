"""Several processes that train one model: the same numbers as one, the same state in all, resumed and ended together.

The processes are forked, with the environment that torchrun gives them; the last test starts torchrun itself.
"""

from __future__ import annotations

import itertools
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import nasreg
from forked import Done
from interrupting import interrupt_at
from nasreg.cli import main
from nasreg.errors import InterruptedRunError, TrainingError, UsageError
from nasreg.events import StepEnded
from nasreg.nn import LayerChoice
from nasreg.testing import toy_images
from nasreg.trainers.bilevel import BilevelTrainer
from nasreg.trainers.distributed import joined
from ranks import run_ranks
from tiny_runs import RETRAIN, SEARCH

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("without_drawings")]

SHORT = SEARCH[:10] + SEARCH[-2:]
"""Those options without those of the trainer."""

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


RETRAININGS: dict[str, dict[str, Any]] = {
    "plain": {"accumulate": 2},
    "norm": {"sync_batch_norm": True, "ema": 0.9},
}


def retrained() -> dict[str, list[Tensor]]:
    """Return the weights of networks that were trained, and their metrics."""
    found = {}
    architecture = {"first": "conv3", "second": "conv3"}
    for name, trainer in RETRAININGS.items():
        space = nasreg.nn.extract_space(Double())
        result = nasreg.retrain(
            space.architecture(architecture),
            (toy_images(30), toy_images(20, seed=1)),
            space=Double,
            space_options={"norm": name == "norm"},
            dataset_options={"cutout": 0},  # which would leave nothing of so small an image
            trainer={"epochs": 1, "batch_size": 7, "lr": 0.1, "auxiliary_weight": 0, "drop_path": 0, **trainer},
            device="cpu",
        )
        found[name] = [*result.network.state_dict().values(), *map(torch.tensor, metrics_of(result))]
    return found


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, list[Any]]:
    """What one process computed, and each of two."""
    folder = tmp_path_factory.mktemp("ranks")

    def body(rank: int) -> None:
        torch.save((all_cases(), retrained()), folder / f"{rank}.pt")

    check(run_ranks(body))
    return (all_cases(), retrained()), [torch.load(folder / f"{rank}.pt") for rank in range(2)]


def check(done: list[Done]) -> None:
    for rank, each in enumerate(done):
        assert each.code == 0, f"rank {rank}\n{each.out}\n{each.err}"


@pytest.mark.parametrize("case", CASES, ids=str)
def test_two_processes_compute_what_one_does(case, compared):
    """With batches of 7 divided into 3 and 4; in the mean over the batch each sample counts the same."""
    (alone, _), ranks = compared
    ranks = [found for found, _ in ranks]
    for mine, first, second in zip(alone[case], ranks[0][case], ranks[1][case], strict=True):
        for one, a, b in zip(mine, first, second, strict=True):
            assert torch.equal(a, b)
            torch.testing.assert_close(a, one, rtol=1e-9, atol=1e-9)
    assert len(alone[case]) == 5  # of an epoch of 4 steps, and its metrics
    assert not torch.equal(alone[case][0][0], alone[case][1][0])


@pytest.mark.parametrize("name", RETRAININGS)
def test_a_retraining_of_two_processes_is_that_of_one(name, compared):
    """By DistributedDataParallel, with batches in pieces, or with a mean of the weights and synchronised BatchNorm."""
    (_, alone), ranks = compared
    for one, *both in zip(alone[name], *(found[name] for _, found in ranks), strict=True):
        assert torch.equal(*both)
        torch.testing.assert_close(both[0], one, rtol=1e-9, atol=1e-9)


class Dropping(nn.Module):
    """A space with dropout and BatchNorm: each process draws its own masks."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = LayerChoice({f"conv{size}": nn.Conv2d(1, 4, size, padding=size // 2) for size in (1, 3)}, key="c")
        self.rest = nn.Sequential(nn.BatchNorm2d(4), nn.Dropout(0.5), nn.Flatten(), nn.Linear(256, 2))

    def forward(self, x: Tensor) -> Tensor:
        """Classify."""
        return self.rest(self.conv(x))


def dropping(out: Path | None, **more: Any) -> Any:
    trainer = {"epochs": 2, "batch_size": 8, "arch_lr": 0.05}
    return nasreg.search(Dropping, toy_images(48), "darts", trainer=trainer, device="cpu", out=out, seed=3, **more)


def failing_at(step: int) -> Any:
    def fail(event: Any) -> None:
        if isinstance(event, StepEnded) and event.step == step:
            raise RuntimeError("no room")

    return fail


def raises(kind: type[Exception], text: str, act: Any) -> None:
    with pytest.raises(kind, match=text):
        act()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What two processes do one after the other, in one go: joining and leaving takes no time, forking does."""
    folder = tmp_path_factory.mktemp("runs")

    def body(rank: int) -> None:
        dropping(folder / "whole")
        # Rank 1 alone is interrupted: both end after the same step, and resume.
        stop = [interrupt_at(2, 2)] if rank == 1 else []
        raises(InterruptedRunError, "epoch 2 after step 2", lambda: dropping(folder / "cut", callbacks=stop))
        dropping(folder / "cut", resume=True)
        raises(UsageError, r"rank 1 .* seed=1 \(rank 0: 0\)", lambda: search(algorithm="darts", seed=rank))
        raises(UsageError, "one by one", lambda: nasreg.search(Dropping, toy_images(48), "random", device="cpu"))
        fail = [failing_at(2)] if rank == 1 else []
        kind, reason = (RuntimeError, "^no room") if rank == 1 else (TrainingError, "^rank 1: no room")
        raises(kind, reason, lambda: dropping(None, callbacks=fail))
        with joined() as processes:
            torch.manual_seed(0)
            processes.begin(0, torch.device("cpu"))
            with processes.drawing_alike():
                alike = torch.rand(3).tolist()
            torch.save((alike, torch.rand(3).tolist()), folder / f"drawn-{rank}.pt")

    check(run_ranks(body))
    return folder


def checkpoint(run: Path) -> dict[str, Any]:
    return torch.load(run / "checkpoint.pt", weights_only=True)


def equal(a: Any, b: Any) -> bool:
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(equal(a[name], b[name]) for name in a if name not in ("seconds", "loop"))
    if isinstance(a, list):
        return len(a) == len(b) and all(map(equal, a, b))
    return torch.equal(a, b) if isinstance(a, Tensor) else a == b


def test_it_resumes_to_the_bit(folder):
    """The random state of each process is in the checkpoint, and so its dropout."""
    whole, cut = (checkpoint(folder / name) for name in ("whole", "cut"))
    own = whole["random_of_ranks"]["own"]
    assert len(own) == 2
    assert not torch.equal(own[0]["cpu"], own[1]["cpu"])
    for state in (whole, cut):
        del state["metrics_position"]
    assert equal(whole, cut)


def test_architectures_are_drawn_alike_and_all_else_is_not(folder):
    (first, own), (second, other) = (torch.load(folder / f"drawn-{rank}.pt") for rank in range(2))
    assert first == second
    assert own != other


def test_a_killed_process_ends_the_others_and_the_run_is_resumed(folder, tmp_path):
    """By the command line, where rank 0 prints; then one process resumes what two began."""
    run = tmp_path / "run"

    def body(rank: int) -> int:
        if rank == 1:
            usual = BilevelTrainer.train_step

            def train_step(self: BilevelTrainer, *batches: Any) -> Any:
                if (self.state.epoch, self.state.step) == (1, 1):
                    os.kill(os.getpid(), signal.SIGKILL)
                return usual(self, *batches)

            BilevelTrainer.train_step = train_step
        return main(["run", "darts", *SEARCH, "--out", str(run)])

    first, second = run_ranks(body)
    assert second.code == -signal.SIGKILL
    assert first.code == 1
    command = f"torchrun --nproc-per-node 2 -m nasreg resume {run}"
    assert first.err.splitlines()[-1] == (
        "nasreg: error: one of the 2 processes of the run has ended without an error of its own: it was killed, perhaps"
        f" by the system for lack of memory. Resume with: {command}"
    )
    assert re.search(r"2 processes, .* every batch of 16 samples \(trainer.batch_size\)", first.out)
    result = nasreg.resume(run)
    assert [each["epoch"] for each in result.history] == [1, 2, 3]


@pytest.fixture(scope="module")
def commands(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> tuple[Path, list[list[Done]]]:
    """P-DARTS, a retraining of what it finds, its evaluation and wrong commands, by two processes each."""
    folder = tmp_path_factory.mktemp("commands")
    pdarts = ["trainer.added_cells=[0,1]", "trainer.kept=[2]", "trainer.dropout=[0.3,0.5]", "trainer.warmup_epochs=0"]
    stages = [word for setting in (*pdarts, "trainer.epochs=1", "trainer.batch_size=16") for word in ("--set", setting)]
    calls = [
        ["run", "pdarts", *SHORT, *stages, "--out", str(folder / "search")],
        ["retrain", str(folder / "search"), *RETRAIN, "--out", str(folder / "retraining")],
        ["evaluate", str(folder / "retraining"), "--quiet", "--device", "cpu"],
        ["list", "algorithms"],
        ["retrain", "DARTS_V1", "--seeds", "0,1", "--out", str(folder / "seeds")],
    ]
    return folder, [run_ranks(lambda rank, argv=argv: main(argv)) for argv in calls]


def test_commands_of_two_processes(commands, capsys):
    folder, (search, retraining, evaluation, listing, seeds) = commands
    for done in (search, retraining, evaluation):
        check(done)
        assert done[1].out == done[1].err == ""
    assert (folder / "search/stages/stage-2.json").exists()
    assert main(["evaluate", str(folder / "retraining"), "--quiet", "--device", "cpu"]) == 0
    assert capsys.readouterr().out == evaluation[0].out
    for done, message in (
        (listing, "nasreg list works in one process, but 2 were started: call it without torchrun"),
        (seeds, "torchrun does one run at a time: start it for each seed (--seed), or give several without it"),
    ):
        assert [each.code for each in done] == [2, 2]
        assert [each.err for each in done] == [f"nasreg: error: {message}\n", ""]


def test_ctrl_c_to_torchrun_ends_all(tmp_path):
    """The one test with torchrun itself, which takes seconds to start."""
    run, program = (
        tmp_path / "run",
        [str(Path(sys.executable).parent / "torchrun"), "--nproc-per-node", "2", "-m", "nasreg"],
    )
    process = subprocess.Popen(
        [*program, "run", "darts", *SHORT, "--set", "trainer.epochs=60", "--out", str(run)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 240
    while not (run / "metrics.jsonl").exists() or '"epoch"' not in (run / "metrics.jsonl").read_text():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=120)
    told = [line for line in errors.splitlines() if line.startswith("nasreg: ")]
    assert len(told) == 1
    assert re.fullmatch(
        rf"nasreg: error: interrupted in epoch \d+ after step \d+; resume with: torchrun .* resume {run}", told[0]
    )
    assert '"state": "interrupted"' in (run / "status.json").read_text()
