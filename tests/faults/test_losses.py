"""Losses that are not finite, in every phase of every kind of run."""

from __future__ import annotations

import pytest

import nasreg
from fault_models import Net, NotANumber
from nasreg.errors import TrainingError
from nasreg.runs.directory import RunDirectory
from nasreg.testing import toy_images

pytestmark = pytest.mark.usefixtures("without_report")

DIVERGING = {"epochs": 1, "batch_size": 48, "lr": 1e30}
"""One step, after which the weights are no numbers."""
REMEDY = r": start a new run with a lower learning rate \({}.lr\), or check the data"


@pytest.mark.parametrize(
    ("space", "algorithm", "options", "message"),
    [
        (Net, "darts", {}, "the arch loss is nan after epoch 1"),
        (Net, "darts", {"validation_fraction": 0.25}, "the validation loss is nan after epoch 1"),
        (NotANumber, "darts", {}, "the arch loss is nan in epoch 1, step 1"),
        (Net, "random", {}, "all 2 trials failed, the last one, trial .: the validation loss is nan after epoch 1"),
    ],
)
def test_a_search(tmp_path, space, algorithm, options, message):
    arguments = {"trainer": DIVERGING} if algorithm == "darts" else {"trainer": {"max_trials": 2}}
    if algorithm == "random":
        arguments["evaluator_options"] = DIVERGING
    remedy = REMEDY.format("trainer" if algorithm == "darts" else "evaluator")
    with pytest.raises(TrainingError, match=message + remedy) as info:
        nasreg.search(
            space,
            toy_images(48),
            algorithm,
            dataset_options=options,
            device="cpu",
            out=tmp_path / "run",
            **arguments,
        )
    assert info.value.exit_code == 1
    assert RunDirectory(tmp_path / "run").status["state"] == "failed"
    assert not (tmp_path / "run/architecture.json").exists()


@pytest.mark.parametrize(
    ("batch_size", "message"),
    [(48, "the test loss is nan after epoch 1"), (16, "the training loss is nan in epoch 1, step [23]")],
)
def test_a_retraining(tmp_path, batch_size, message):
    found = nasreg.search(Net, toy_images(48), "darts", trainer={"epochs": 1, "batch_size": 16}, device="cpu")
    with pytest.raises(TrainingError, match=message + REMEDY.format("trainer")):
        nasreg.retrain(
            found,
            (toy_images(48), toy_images(8)),
            trainer={**DIVERGING, "batch_size": batch_size},
            device="cpu",
            out=tmp_path / "run",
        )
    assert not (tmp_path / "run/last.safetensors").exists()


def test_second_order_without_a_gradient_of_the_arch_loss(monkeypatch):
    """The step of the central difference is over the norm of a vector that may be zero."""
    from nasreg_darts.trainer import DartsTrainer

    products = []
    original = DartsTrainer.hessian_vector_product

    def product(self, train, vector, training=None):
        found = original(self, train, [part * 0 for part in vector], training)
        products.extend(float(part.abs().max()) for part in found)
        return found

    monkeypatch.setattr(DartsTrainer, "hessian_vector_product", product)
    trainer = {"epochs": 1, "batch_size": 16, "second_order": True}
    nasreg.search(Net, toy_images(48), "darts", trainer=trainer, device="cpu")
    assert products
    assert set(products) == {0.0}
