"""Tasks: trainers ask a task for loss, statistics and metrics, and know none themselves."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

import nasreg
from nasreg.errors import UnknownNameError
from nasreg.nn import LayerChoice
from nasreg.tasks import Classification, get_task
from nasreg.testing import toy_images
from nasreg.trainers import EpochTrainer

TASK = Classification()


def batch(classes: int, n: int = 20) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(classes)
    return torch.randn(n, classes, generator=generator), torch.randint(classes, (n,), generator=generator)


def cross_entropy(logits: Tensor, target: Tensor, smoothing: float = 0.0) -> float:
    """Return the mean cross-entropy, written out."""
    total = 0.0
    for row, label in zip(logits.double().tolist(), target.tolist(), strict=True):
        log_sum = math.log(sum(math.exp(value) for value in row))
        losses = [log_sum - value for value in row]
        total += (1 - smoothing) * losses[label] + smoothing * sum(losses) / len(losses)
    return total / len(target)


def top(logits: Tensor, target: Tensor, k: int) -> float:
    """Return the share of samples whose class is among the k largest logits, written out."""
    ranked = [sorted(range(len(row)), key=row.__getitem__, reverse=True)[:k] for row in logits.tolist()]
    return sum(label in row for row, label in zip(ranked, target.tolist(), strict=True)) / len(target)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("classes", [2, 7])
def test_the_loss_is_the_mean_cross_entropy(classes, smoothing):
    logits, target = batch(classes)
    loss = TASK.loss(logits.requires_grad_(), target, label_smoothing=smoothing)
    assert loss.item() == pytest.approx(cross_entropy(logits, target, smoothing), rel=1e-5)
    (gradient,) = torch.autograd.grad(loss, [logits])
    assert gradient.abs().sum() > 0


@pytest.mark.parametrize("sizes", [[20], [7, 7, 6], [1] * 20])
def test_statistics_of_batches_add_up_to_the_metrics_of_all(sizes):
    logits, target = batch(7)
    sums: dict[str, float] = {}
    for x, y in zip(logits.split(sizes), target.split(sizes), strict=True):
        for name, value in TASK.statistics(x, y, detailed=True).items():
            assert value.dim() == 0
            sums[name] = sums.get(name, 0.0) + value.item()
    metrics = TASK.compute(sums)
    assert list(metrics) == [spec.name for spec in TASK.metrics]
    assert metrics["loss"] == pytest.approx(cross_entropy(logits, target), rel=1e-5)
    assert metrics["accuracy"] == pytest.approx(top(logits, target, 1))
    assert metrics["top5"] == pytest.approx(top(logits, target, 5))


def test_top5_needs_more_than_five_classes_and_a_trained_network():
    assert "correct5" not in TASK.statistics(*batch(5), detailed=True)
    assert "correct5" not in TASK.statistics(*batch(7))
    assert "top5" not in TASK.compute({"count": 2.0, "loss": 1.0, "correct": 1.0})


def test_statistics_are_not_part_of_the_graph():
    logits, target = batch(3)
    assert not any(value.requires_grad for value in TASK.statistics(logits.requires_grad_(), target).values())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_outputs_of_half_precision_are_widened(dtype):
    main, auxiliary = TASK.outputs((torch.ones(2, 3, dtype=dtype), torch.ones(2, 3, dtype=dtype)))
    assert [main.dtype, *(each.dtype for each in auxiliary)] == [torch.float32] * 2


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_outputs_of_full_precision_are_not_copied(dtype):
    logits = torch.ones(2, 3, dtype=dtype)
    for output in (logits, (logits,), [logits]):
        main, auxiliary = TASK.outputs(output)
        assert main is logits
        assert auxiliary == ()


def test_a_task_is_found_by_name():
    assert isinstance(get_task("classification"), Classification)
    assert get_task("classification").objective.name == "accuracy"
    with pytest.raises(UnknownNameError, match=r"there is no task 'clasification'\. Did you mean 'classification'"):
        get_task("clasification")


class WithAuxiliary(nn.Module):
    """Returns logits and those of an auxiliary head in training mode, as many published models do."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = LayerChoice([nn.Conv2d(1, 4, 1), nn.Conv2d(1, 4, 3, padding=1)], key="conv")
        self.head = nn.Linear(4, 2)
        self.auxiliary = nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        features = torch.relu(self.conv(x)).mean((2, 3))
        return (self.head(features), self.auxiliary(features)) if self.training else self.head(features)


def short(algorithm, options):
    """Return the arguments of a search in which the options are those of the training."""
    if algorithm == "random":
        return {"trainer": {"max_trials": 2}, "evaluator_options": options}
    return {"trainer": options}


def last_metrics(result):
    return result.trials[-1]["metrics"] if result.trials else result.history[-1]


@pytest.mark.parametrize(
    ("algorithm", "trainer"),
    [
        ("darts", {"epochs": 2}),
        ("darts", {"epochs": 1, "second_order": True}),
        ("darts", {"epochs": 1, "second_order": True, "hessian_product": "exact"}),
        ("darts", {"epochs": 1, "precision": "bfloat16", "accumulate": 2}),
        ("random", {"epochs": 1}),
    ],
)
def test_models_with_several_outputs_in_training_mode(algorithm, trainer):
    options = {"batch_size": 16, **trainer}
    result = nasreg.search(WithAuxiliary, toy_images(), algorithm, **short(algorithm, options), device="cpu")
    assert math.isfinite(last_metrics(result)["train_loss"])
    assert result.model().eval()(torch.rand(2, 1, 8, 8)).shape == (2, 2)


class Recording(Classification):
    """Classification that records what it is asked for."""

    def __init__(self) -> None:
        self.asked: set[str] = set()

    def loss(self, prediction: Tensor, target: Tensor, *, label_smoothing: float = 0.0) -> Tensor:
        self.asked.add(f"loss with smoothing {label_smoothing:g}")
        return super().loss(prediction, target, label_smoothing=label_smoothing)

    def statistics(self, prediction, target, *, detailed=False):
        self.asked.add(f"{'detailed ' if detailed else ''}statistics")
        return super().statistics(prediction, target, detailed=detailed)

    def compute(self, statistics):
        self.asked.add("compute")
        return {**super().compute(statistics), "marked": 1.0}


@pytest.fixture
def recording(monkeypatch) -> Recording:
    """A task in place of that of each trainer."""
    task = Recording()
    original = EpochTrainer.__init__

    def init(self, context, config):
        original(self, context, config)
        self.task = task

    monkeypatch.setattr(EpochTrainer, "__init__", init)
    return task


@pytest.mark.parametrize(("algorithm", "split"), [("darts", "arch"), ("random", "validation")])
def test_the_trainer_of_a_search_asks_its_task(recording, algorithm, split):
    options = short(algorithm, {"epochs": 1, "batch_size": 16})
    result = nasreg.search(WithAuxiliary, toy_images(), algorithm, **options, device="cpu")
    assert recording.asked == {"loss with smoothing 0", "statistics", "compute"}
    assert (last_metrics(result)["train_marked"], last_metrics(result)[f"{split}_marked"]) == (1.0, 1.0)


def test_the_trainer_of_a_retraining_asks_its_task(recording):
    searched = nasreg.search(WithAuxiliary, toy_images(), trainer={"epochs": 1, "batch_size": 16}, device="cpu")
    recording.asked.clear()
    trainer = {"epochs": 1, "batch_size": 16, "label_smoothing": 0.1}
    result = nasreg.retrain(searched, (toy_images(), toy_images(16)), trainer=trainer, device="cpu")
    assert recording.asked == {"loss with smoothing 0.1", "statistics", "detailed statistics", "compute"}
    assert result.metrics["test_marked"] == 1.0
