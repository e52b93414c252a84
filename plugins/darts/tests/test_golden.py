"""One DARTS search step against figures of the authors' program, in float64 (see golden/README.md)."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from nasreg.mutators import SoftmaxMutatorConfig
from nasreg.nn import extract_space
from nasreg.spaces.config import DARTS_OPERATIONS, DartsSpaceConfig
from nasreg.spaces.darts import build
from nasreg.specs import DataInfo, RunSpec, Selection
from nasreg.tasks import Classification
from nasreg.trainers import OneShotContext
from nasreg_darts.config import DartsTrainerConfig
from nasreg_darts.mutator import DartsMutator
from nasreg_darts.trainer import DartsTrainer

GOLDEN = dict(np.load(Path(__file__).parent / "golden" / "darts_step.npz"))
CELLS = {0: "normal", 1: "reduce", 2: "reduce"}


def our_name(name: str) -> str:
    """Translate a parameter name of the authors' program into ours."""
    name = (
        name.replace("stem.", "stem0.")
        .replace(".preprocess0.op.", ".preprocess0.")
        .replace(".preprocess1.op.", ".preprocess1.")
    )

    def operation(match: re.Match[str]) -> str:
        edge, candidate = match.groups()
        return f".cell.edges.{edge}.{DARTS_OPERATIONS[int(candidate)]}"

    name = re.sub(r"\._ops\.(\d+)\._ops\.(\d+)", operation, name)
    return re.sub(r"(\.\w+_\dx\d)\.op\.", r"\1.", name)


WEIGHTS = {our_name(name[7:]): name for name in GOLDEN if name.startswith("weight/")}
MOMENTA = {our_name(name[9:]): name for name in GOLDEN if name.startswith("momentum/")}


def batch(name: str) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.from_numpy(GOLDEN[f"{name}_x"]).double(), torch.from_numpy(GOLDEN[f"{name}_y"])


def network() -> torch.nn.Module:
    info = DataInfo(channels=3, height=16, width=16, classes=tuple("0123456789"))
    return build(info, DartsSpaceConfig(cells=3, channels=4)).double()


def make_trainer(**options: object) -> DartsTrainer:
    context = OneShotContext(
        spec=RunSpec(
            algorithm="darts", space=Selection(name="darts"), dataset=Selection(name="golden"), mutator={}, trainer={}
        ),
        space=extract_space(network()),
        data=None,  # type: ignore[arg-type]  # the batches are given
        task=Classification(),
        build_supernet=network,
        make_mutator=lambda space: DartsMutator(space, SoftmaxMutatorConfig()).double(),
        capabilities={},
        device=torch.device("cpu"),
    )
    trainer = DartsTrainer(context, DartsTrainerConfig(**options))
    trainer.setup()
    trainer.start_epoch(0)
    weights = {ours: torch.from_numpy(GOLDEN[theirs]).double() for ours, theirs in WEIGHTS.items()}
    missing, unexpected = trainer.model.load_state_dict(weights, strict=False)
    assert not unexpected
    assert all(".running_" in name or "num_batches" in name for name in missing), missing
    for key in ("normal", "reduce"):
        trainer.mutator.alpha(key).data = torch.from_numpy(GOLDEN[f"alpha_{key}"]).double()
    for name, weight in trainer.weights.items():
        buffer = torch.from_numpy(GOLDEN[MOMENTA[name]]).double()
        trainer.optimizers["weights"].state[weight]["momentum_buffer"] = buffer
    return trainer


def error(ours: torch.Tensor | float, name: str) -> float:
    theirs = torch.as_tensor(GOLDEN[name]).double()
    return float(torch.linalg.vector_norm(torch.as_tensor(ours).detach() - theirs) / torch.linalg.vector_norm(theirs))


def test_logits_and_losses():
    trainer = make_trainer()
    x, y = batch("train")
    logits = trainer.model(x)
    assert error(logits, "train_logits") < 1e-9
    assert error(F.cross_entropy(logits, y), "train_loss") < 1e-9
    x, y = batch("valid")
    assert error(F.cross_entropy(trainer.model(x), y), "valid_loss") < 1e-9


@pytest.mark.parametrize(
    ("options", "name", "tolerance"),
    [
        ({}, "first_order", 1e-9),
        pytest.param(
            {"second_order": True, "hessian_product": "exact"}, "second_order_exact", 1e-9, marks=pytest.mark.slow
        ),
        pytest.param(
            {"second_order": True, "hessian_product": "finite_difference"},
            "second_order_fd",
            1e-3,
            marks=pytest.mark.slow,
        ),
    ],
)
def test_alpha_gradient(options, name, tolerance):
    trainer = make_trainer(**options)
    before = {n: w.detach().clone() for n, w in trainer.weights.items()}
    normal, reduce = trainer.arch_gradient(batch("train"), batch("valid"))
    assert error(normal, f"{name}_normal") < tolerance
    assert error(reduce, f"{name}_reduce") < tolerance
    assert all(torch.equal(before[n], w) for n, w in trainer.weights.items())
    assert all(w.grad is None for w in trainer.weights.values())


def test_unrolled_validation_loss():
    trainer = make_trainer(second_order=True)
    x, y = batch("valid")
    unrolled = trainer.unrolled_weights(batch("train"))
    logits = torch.func.functional_call(trainer.model, unrolled, (x,))
    assert error(F.cross_entropy(logits, y), "unrolled_valid_loss") < 1e-9


def test_step_moves_alphas_and_weights_as_the_program_does():
    trainer = make_trainer()
    trainer.train_step(batch("train"), batch("valid"))
    for key in ("normal", "reduce"):
        assert error(trainer.mutator.alpha(key), f"alpha_after_adam_{key}") < 1e-9


def test_weight_step():
    trainer = make_trainer()
    trainer.train_step(batch("train"), None)
    ours = trainer.model.state_dict()
    assert len(WEIGHTS) == len(list(trainer.model.parameters()))
    for name, theirs in WEIGHTS.items():
        weight, original = ours[name], theirs.removeprefix("weight/")
        assert float(weight.sum()) == pytest.approx(float(GOLDEN[f"weight_after_sum/{original}"]), rel=1e-9, abs=1e-12)
        assert float(weight.norm()) == pytest.approx(float(GOLDEN[f"weight_after_norm/{original}"]), rel=1e-9)


def test_gradient_norm_before_clipping():
    trainer = make_trainer(grad_clip=1e9)
    trainer.train_step(batch("train"), None)
    norms = torch.stack([weight.grad.norm() for weight in trainer.weights.values()])
    assert error(norms.norm(), "grad_norm_before_clip") < 1e-9


def test_genotype():
    trainer = make_trainer()
    golden = json.loads(str(GOLDEN["genotype"]))
    for key in ("normal", "reduce"):
        edges = [list(edge) for node in trainer.mutator.decide(trainer.mutator.space[key]) for edge in node]
        assert edges == golden[key]
        assert list(extract_space(trainer.model)[key].concat) == golden[f"{key}_concat"]
