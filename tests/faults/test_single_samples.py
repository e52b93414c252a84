"""Batches of one sample, which BatchNorm cannot normalise: they come of remainders, and need not."""

from __future__ import annotations

import pytest
import torch

import nasreg
from fault_models import BatchStatistics, Normalised
from nasreg.data import DatasetBundle, DatasetConfig, RunData
from nasreg.errors import ConfigError
from nasreg.testing import toy_images
from nasreg.trainers.advice import number_of_pieces

pytestmark = pytest.mark.usefixtures("without_report")


@pytest.mark.parametrize("space", [Normalised, BatchStatistics])
@pytest.mark.parametrize(
    ("images", "batch_size", "accumulate"),
    [
        (99, 96, 2),  # a last batch of three, in two pieces
        (97, 96, 1),  # a last batch of one
        (40, 8, 8),  # as many pieces as samples
        (41, 8, 3),
        (10, 4, 100),
    ],
)
# fastai#1352
def test_no_retraining_has_a_piece_of_one_sample(space, images, batch_size, accumulate):
    architecture = nasreg.search(space, toy_images(32), "darts", trainer={"epochs": 1, "batch_size": 16}, device="cpu")
    trainer = {"epochs": 1, "batch_size": batch_size, "accumulate": accumulate}
    data = (toy_images(images), toy_images(batch_size + 1))
    assert nasreg.retrain(architecture, data, trainer=trainer, device="cpu").metrics["test_loss"] > 0


@pytest.mark.parametrize("algorithm", ["darts", "random"])
def test_no_search_has_a_piece_of_one_sample(algorithm):
    options = {"epochs": 1, "batch_size": 16, "accumulate": 2}
    arguments = {"trainer": options} if algorithm == "darts" else {"trainer": {"max_trials": 2}}
    if algorithm == "random":
        arguments["evaluator_options"] = options
    # train 35 = 2 * 16 + 3, validation 17 = 2 * 8 + 1
    fractions = {"validation_fraction": 17 / 87, "arch_fraction": 0.5} if algorithm == "darts" else {}
    result = nasreg.search(
        BatchStatistics, toy_images(87), algorithm, dataset_options=fractions, device="cpu", **arguments
    )
    assert all(trial["status"] != "failed" for trial in result.trials)


@pytest.mark.parametrize(
    ("samples", "accumulate", "pieces"), [(3, 2, 1), (4, 2, 2), (1, 4, 1), (96, 5, 5), (7, 7, 3), (8, 1, 1)]
)
def test_pieces_have_two_samples_or_more(samples, accumulate, pieces):
    assert number_of_pieces(samples, accumulate) == pieces


@pytest.mark.parametrize(
    ("batch_size", "sizes"), [(4, [4, 5]), (3, [3, 3, 3]), (8, [9]), (1, [1] * 9), (2, [2, 2, 2, 3])]
)
def test_every_sample_is_measured_once(batch_size, sizes):
    data = RunData(DatasetBundle(toy_images(9)), DatasetConfig(), 0, torch.device("cpu"))
    split = data.splits["train"]
    assert [len(labels) for _, labels in split.batches(batch_size=batch_size, epoch=0, train=False)] == sizes


def test_a_batch_size_of_one_is_said_to_be_too_small():
    with pytest.raises(ConfigError, match=r"trainer.batch_size=1: BatchNorm cannot normalise a batch of one .*new run"):
        nasreg.search(Normalised, toy_images(32), "darts", trainer={"epochs": 1, "batch_size": 1}, device="cpu")
