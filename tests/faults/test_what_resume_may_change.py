"""What a message advises for a run that has failed, its resumption accepts; and what it may not change."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest
import torch
from torch import nn

import nasreg
from fault_models import Nondeterministic, Normalised
from interrupting import Died, die_at
from nasreg.cli import main
from nasreg.engine.retrain import resolve_retrain
from nasreg.engine.runs import repeat
from nasreg.errors import RunDirectoryError, SpaceError, TrainingError
from nasreg.registry import Registry, default_registry
from nasreg.runs.directory import RunDirectory
from nasreg.spaces.darts import pool_to_2x2
from nasreg.specs import Config, SpaceEntry
from nasreg.testing import toy_images

pytestmark = pytest.mark.usefixtures("without_report")

SHORT = {"epochs": 1, "batch_size": 16}


class Large(Normalised):
    """Needs more memory than there is for more than eight images."""

    limit = 8

    def features(self, x):
        if len(x) > self.limit:
            torch.empty(2**60)
        return super().features(x)


def search(space, out=None, trainer=SHORT, **more):
    return nasreg.search(space, toy_images(70), "darts", trainer=trainer, device="cpu", out=out, **more)


def advised(error: Exception) -> list[str]:
    """Return the arguments after the run directory in the command that a message ends with."""
    command = shlex.split(str(error).rpartition(": ")[2])
    assert command[:2] == ["nasreg", "resume"]
    assert command[3] == "--set"
    return command[4:]


# quark0/darts#98, SlowFast#481
@pytest.mark.parametrize("space", [Large, Nondeterministic])
def test_what_an_error_advises_the_run_accepts(tmp_path, space):
    with pytest.raises(TrainingError) as info:
        search(space, tmp_path / "run")
    name, _, value = advised(info.value)[0].removeprefix("trainer.").partition("=")
    changed = {**SHORT, name: json.loads(value)}
    assert len(search(space, tmp_path / "run", changed, resume=True).history) == 1


def test_a_batch_that_cannot_be_made_smaller_is_not_to_be_split_further(tmp_path):
    class Larger(Large):
        limit = 1

    with pytest.raises(SpaceError, match=r"the model Larger needs more memory than there is on cpu with 2 images"):
        search(Larger, tmp_path / "own")
    registry = Registry()
    registry.register(SpaceEntry(name="larger", summary="own", factory=lambda info, config: Larger(), config=Config))
    with pytest.raises(TrainingError, match=r"trainer.batch_size=8: lower it in a new run$"):
        search("larger", tmp_path / "run", {**SHORT, "batch_size": 8, "accumulate": 4}, registry=registry)


def test_what_a_trial_advises_is_an_option_of_the_evaluator(tmp_path):
    evaluator = {"trainer": {"max_trials": 2}, "evaluator_options": SHORT, "device": "cpu"}
    for space, message in (
        (Large, r"with evaluator.batch_size=16: lower it in .*in pieces: --set evaluator.accumulate=2"),
        (Nondeterministic, r"put_ has no deterministic implementation .*: --set evaluator.deterministic=false"),
    ):
        with pytest.raises(TrainingError, match=message):
            nasreg.search(space, toy_images(70), "random", out=tmp_path / space.__name__, **evaluator)


@pytest.fixture(scope="module")
def repeated(tmp_path_factory) -> Path:
    """A retraining with two seeds, which died in the first and was started on a device that is not here."""
    found = nasreg.search("tiny:Own", "digits", "darts", trainer=SHORT, dataset_options={"limit": 40}, device="cpu")
    options = {"trainer": {**SHORT, "epochs": 2}, "dataset": {"limit": 40}}
    run = resolve_retrain(default_registry(), found, "digits", options=options, device="cpu")
    out = tmp_path_factory.mktemp("repeated") / "runs"
    with pytest.raises(Died):
        repeat(run, [0, 1], out, callbacks=[die_at(2)])
    for path in (out / "repeats.json", out / "seed-0/run.yaml"):
        text = path.read_text()
        path.write_text(text.replace('"device": "cpu"', '"device": "cuda:7"').replace("device: cpu", "device: cuda:7"))
    return out


def test_a_repeated_retraining_is_resumed_on_another_device_with_other_options(repeated, capsys):
    argv = ["resume", str(repeated), "-q"]
    assert main(argv) == 2
    assert "there is no device 'cuda:7' here" in capsys.readouterr().err
    assert main([*argv, "--device", "cpu", "--set", "trainer.lr=0.3"]) == 2
    assert "trainer.lr=0.3 (was 0.1). Resume it with the same ones" in capsys.readouterr().err
    assert main([*argv, "--device", "cpu", "--set", "trainer.accumulate=2"]) == 0
    for seed in (0, 1):
        spec = RunDirectory(repeated / f"seed-{seed}").spec
        assert (spec.device, spec.trainer["accumulate"]) == ("cpu", 2)
    assert main([*argv]) == 0


@pytest.mark.parametrize(
    "settings", [["trainer.epochs=3"], ["trainer.arch_lr=1"], ["dataset.arch_fraction=0.3"], ["mutator.init_std=1"]]
)
def test_what_decides_the_result_may_not_change(tmp_path_factory, settings):
    out = tmp_path_factory.getbasetemp() / "decided"
    if not out.exists():
        with pytest.raises(Died):
            nasreg.search(
                "tiny:Own",
                "digits",
                "darts",
                trainer={**SHORT, "epochs": 2},
                dataset_options={"limit": 40},
                device="cpu",
                out=out,
                callbacks=[die_at(2)],
            )
    with pytest.raises(RunDirectoryError, match=r"which decide its result: .*\(was .*\). Resume it with the same ones"):
        nasreg.resume(out, settings=settings)


# pytorch#50198
@pytest.mark.parametrize("sides", [(1, 1), (1, 4), (2, 2), (3, 3), (4, 4), (7, 5), (12, 12)])
def test_the_pooling_of_the_auxiliary_head_is_the_adaptive_one(sides):
    images = torch.rand(2, 3, *sides, dtype=torch.float64, requires_grad=True)
    ours, torchs = pool_to_2x2(sides)(images), nn.AdaptiveAvgPool2d(2)(images)
    assert torch.allclose(ours, torchs)
    factors = torch.rand_like(ours)
    assert torch.allclose(*(torch.autograd.grad((each * factors).sum(), images)[0] for each in (ours, torchs)))
