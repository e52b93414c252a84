"""Metrics and their text: a percentage where the metric is a share, a plain number everywhere else."""

from __future__ import annotations

import math

import pytest

from nasreg.specs.metrics import (
    ACCURACY,
    CLASSIFICATION_METRICS,
    LOSS,
    TOP5,
    MetricSpec,
    metric_spec,
    split_name,
)

COST = MetricSpec(name="cost", title="cost")


@pytest.mark.parametrize(
    ("metric", "value", "text"),
    [
        (ACCURACY, 0.97, "97.0%"),
        (TOP5, 1.0, "100.0%"),
        (LOSS, 0.663, "0.663"),
        (LOSS, 2.0, "2.000"),
        (COST, -208600.0, "-208600"),
        (COST, 1.5e-5, "1.5e-05"),
        (COST, 0.0, "0.000"),
        (COST, 1e20, "1e+20"),
        (MetricSpec(name="latency", title="latency", unit="ms", higher_is_better=False), 1.25, "1.250 ms"),
        (ACCURACY, None, "not finite"),
        (LOSS, math.nan, "not finite"),
        (LOSS, -math.inf, "not finite"),
    ],
)
def test_values_are_printed_in_their_unit(metric, value, text):
    assert metric.format(value) == text


def test_values_are_sorted_the_best_first():
    values = [0.5, None, 0.25, math.nan, 0.75]
    assert sorted(values, key=ACCURACY.sort_key)[:3] == [0.75, 0.5, 0.25]
    assert sorted(values, key=LOSS.sort_key)[:3] == [0.25, 0.5, 0.75]


def test_names_say_the_split():
    assert split_name("validation_accuracy") == ("validation", "accuracy")
    assert split_name("arch_top5") == ("arch", "top5")
    assert split_name("entropy") == (None, "entropy")
    assert split_name("class_iou") == (None, "class_iou")
    assert split_name("test") == (None, "test")
    assert split_name("train_") == (None, "train_")


def test_specs_are_found_by_name():
    found = metric_spec("validation_accuracy")
    assert (found.title, found.unit, found.higher_is_better) == ("validation accuracy", "%", True)
    assert metric_spec("loss") == LOSS
    assert not metric_spec("test_loss").higher_is_better
    assert metric_spec("test_top5").title == "test top-5 accuracy"
    assert metric_spec("synflow") == MetricSpec(name="synflow", title="synflow")
    assert metric_spec("test_mean_iou").title == "test mean iou"
    assert metric_spec("accuracy", metrics=()).format(0.5) == "0.500"
    rmse = MetricSpec(name="rmse", title="RMSE", unit="m", higher_is_better=False)
    assert metric_spec("test_rmse", [rmse]).format(0.5) == "0.500 m"


def test_the_metrics_of_classification_are_frozen_and_distinct():
    assert len({spec.name for spec in CLASSIFICATION_METRICS}) == len(CLASSIFICATION_METRICS)
    with pytest.raises(ValueError, match="frozen"):
        LOSS.title = "other"
