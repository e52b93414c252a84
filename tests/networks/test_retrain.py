"""Retraining: recipes, what is kept, interruption, repeats, evaluation, and what goes wrong."""

from __future__ import annotations

import dataclasses
import functools
import json
import shutil
import signal

import pytest
import torch
from torch.utils.data import TensorDataset
from torchvision.ops import StochasticDepth

import nasreg
from nasreg.cli import main
from nasreg.data import from_torch
from nasreg.engine.retrain import resolve_retrain, run_retrain
from nasreg.engine.runs import repeat, resume, resume_repeats
from nasreg.errors import ConfigError, DataError, InterruptedRunError, RunDirectoryError, UsageError, WeightsError
from nasreg.events import EpochEnded, Notice, StepEnded
from nasreg.networks.build import plan_network
from nasreg.networks.weights import read_manifest
from nasreg.nn import extract_space
from nasreg.registry import default_registry
from nasreg.specs import DataInfo
from nasreg.testing import differences, short_options, toy_images
from nasreg.trainers.retraining import RetrainTrainer, learning_rate
from tiny import Net, Own
from words import check_refused

pytestmark = pytest.mark.usefixtures("without_report")

TINY = {"cells": 3, "channels": 4}
GENOTYPE = (
    "Genotype(normal=[('sep_conv_3x3', 0), ('sep_conv_3x3', 1), ('sep_conv_3x3', 0), ('skip_connect', 1)],"
    " normal_concat=range(2, 4),"
    " reduce=[('max_pool_3x3', 0), ('max_pool_3x3', 1), ('skip_connect', 2), ('max_pool_3x3', 1)],"
    " reduce_concat=range(2, 4))"
)
"""Of cells half as large as those of the papers, whose search space is built in a third of the time."""
TRAINER = {"epochs": 3, "batch_size": 16, "lr": 0.1}


def data():
    return from_torch(toy_images(48), test=toy_images(32, seed=1))


def train(out=None, source=GENOTYPE, dataset=None, trainer=TRAINER, **more):
    arguments = {"space_options": TINY, "seed": 1, "device": "cpu", "recipe": "demo", **more}
    return nasreg.retrain(source, dataset or data(), trainer=trainer, out=out, **arguments)


@pytest.fixture
def seen(monkeypatch):
    """The trainer, for looking into while it runs."""
    found = []
    original = RetrainTrainer.setup

    def setup(self):
        found.append(self)
        original(self)

    monkeypatch.setattr(RetrainTrainer, "setup", setup)
    return found


@functools.cache
def architecture():
    """Return one of the space darts, which need not be built for each resolution of options."""
    return plan_network("PDARTS", DataInfo(channels=3, height=32, width=32, classes=("a", "b"))).architecture


def resolved(dataset, **options):
    return resolve_retrain(default_registry(), architecture(), dataset, space="darts", **options)


def test_the_default_recipe_is_that_of_darts():
    spec = resolved("cifar10").spec
    assert spec.recipe == "cifar"
    assert spec.trainer == {
        "batch_size": 96,
        "accumulate": 1,
        "precision": "float32",
        "deterministic": True,
        "checkpoint_minutes": 10.0,
        "keep_freed_memory": True,
        "sync_batch_norm": False,
        "epochs": 600,
        "lr": 0.025,
        "lr_min": 0.0,
        "optimizer": "sgd",
        "schedule": "cosine",
        "lr_decay": 0.97,
        "momentum": 0.9,
        "weight_decay": 3e-4,
        "grad_clip": 5.0,
        "label_smoothing": 0.0,
        "drop_path": 0.2,
        "auxiliary_weight": 0.4,
        "ema": 0.0,
        "channels_last": False,
    }
    assert (spec.space.name, spec.dataset.name) == ("nasreg/darts", "nasreg/cifar10")
    assert (spec.space.options["cells"], spec.space.options["channels"]) == (20, 36)
    options = spec.dataset.options
    assert (options["cutout"], options["crop_padding"], options["flip"]) == (16, 4, True)
    assert (options["arch_fraction"], options["validation_fraction"]) == (0, 0)
    pdarts = resolved("cifar10", recipe="cifar-pdarts").spec
    assert pdarts.trainer == {**spec.trainer, "batch_size": 128, "drop_path": 0.3}
    imagenet = resolved("cifar10", recipe="imagenet").spec
    changed = {"epochs": 250, "batch_size": 128, "lr": 0.1, "weight_decay": 3e-5, "label_smoothing": 0.1}
    assert imagenet.trainer == {**spec.trainer, **changed, "schedule": "exponential", "drop_path": 0.0}
    assert (imagenet.space.options["cells"], imagenet.space.options["channels"]) == (14, 48)
    recipe = {"image_size": 224, "crop_scale": [0.08, 1.0], "color_jitter": [0.4, 0.4, 0.4, 0.2], "flip": True}
    changed = {**recipe, "center_fraction": 224 / 256, "crop_padding": 0, "cutout": 0}
    assert imagenet.dataset.options == {**options, **changed}
    assert resolved("cifar10", recipe="imagenet-pdarts").spec.dataset == imagenet.dataset


def test_a_data_set_names_the_recipe_where_the_user_does_not():
    found = resolved("digits")
    assert (found.spec.recipe, found.preset_of_dataset) == ("demo", "demo")
    found = resolved("digits", recipe="demo")
    assert (found.spec.recipe, found.preset_of_dataset) == ("demo", None)


@pytest.mark.parametrize("word", ["yes", "no", "auto"])
def test_words_that_yaml_takes_for_truth_values(word):
    spec = resolved("digits", settings=[f"dataset.in_memory={word}"]).spec
    assert spec.dataset.options["in_memory"] == word
    assert nasreg.RetrainSpec.from_yaml(spec.to_yaml()) == spec


def test_learning_rates():
    def rates(schedule, *epochs):
        return [learning_rate(schedule, 1.0, 0.0, epoch, 10, decay=0.97) for epoch in epochs]

    assert rates("constant", 0, 9) == [1.0, 1.0]
    assert rates("cosine", 0, 5) == pytest.approx([1.0, 0.5])
    assert rates("linear", 0, 5, 9) == pytest.approx([1.0, 0.5, 0.1])
    assert rates("exponential", 0, 2) == pytest.approx([1.0, 0.97**2])


@pytest.fixture(scope="module")
def toy_run(tmp_path_factory):
    """A retraining on toy images, and its result."""
    path = tmp_path_factory.mktemp("toy") / "run"
    return path, train(path, "DARTS_V2")


def test_it_learns_and_keeps_what_it_takes_to_use_the_network(toy_run):
    path, result = toy_run
    assert result.metrics["test_accuracy"] > 0.9
    assert len(result.history) == 3
    assert [set(line) >= {"train_loss", "test_accuracy", "test_loss"} for line in result.history] == [True] * 3
    network = nasreg.load_network(path / "last.safetensors")
    manifest = read_manifest(path / "last.safetensors")
    x = torch.randn(2, 1, 8, 8)
    assert torch.equal(network(x), result.network(x))
    assert manifest.metrics["test_accuracy"] == result.metrics["test_accuracy"]
    assert (manifest.data.info.classes, manifest.options["channels"]) == (("0", "1"), 4)
    best = max(line["test_accuracy"] for line in result.history)
    assert read_manifest(path / "best.safetensors").metrics["test_accuracy"] == best
    found = nasreg.evaluate(path, toy_images(32, seed=1))
    assert found.samples == 32
    assert found.metrics["accuracy"] == result.metrics["test_accuracy"]
    assert found.metrics["loss"] == pytest.approx(result.metrics["test_loss"])
    for name in ("architecture.json", "genotype.txt", "cells.svg", "space.json", "run.yaml", "environment.json"):
        assert (path / name).exists()
    assert nasreg.RetrainSpec.from_yaml((path / "run.yaml").read_text()).source == "DARTS_V2"


def test_drop_path_rises_and_the_rate_falls(seen):
    rates = []

    def watch(event):
        if isinstance(event, StepEnded) and event.step == 1:
            model = seen[0].model
            drops = {module.p for module in model.modules() if isinstance(module, StochasticDepth)}
            rates.append((sorted(drops), seen[0].optimizers["weights"].param_groups[0]["lr"]))

    train(trainer={**TRAINER, "drop_path": 0.3}, callbacks=[watch])
    assert [drops for drops, _ in rates] == [[0.0], pytest.approx([0.1]), pytest.approx([0.2])]
    assert [rate for _, rate in rates] == pytest.approx([0.1, 0.075, 0.025])


@pytest.mark.slow
def test_the_loss_has_that_of_the_auxiliary_head_in_it():
    options = {"epochs": 1, "batch_size": 48, "drop_path": 0.0}
    losses = [
        train(trainer={**TRAINER, **options, "auxiliary_weight": weight}).history[0]["train_loss"]
        for weight in (0.2, 0.4, 0.8)
    ]
    assert losses[2] - losses[1] == pytest.approx(2 * (losses[1] - losses[0]), rel=1e-3)
    assert losses[1] > losses[0] + 0.05


VARIANTS = {
    "average": {"ema": 0.9, "label_smoothing": 0.1, "channels_last": True},
    "pieces": {"accumulate": 2},
    "mixed": {"precision": "bfloat16", "auxiliary_weight": 0.0},
}
AUGMENTED = {"cutout": 3, "crop_padding": 1, "flip": True}
AUGMENTATIONS = {"pieces": {"crop_scale": [0.3, 1.0], "flip": True}}


@pytest.mark.slow
@pytest.mark.parametrize("name", VARIANTS)
def test_interrupted_and_resumed_it_is_the_same_run(tmp_path, name):
    trainer = {**TRAINER, "drop_path": 0.2, **VARIANTS[name]}
    augmented = {**AUGMENTATIONS.get(name, AUGMENTED), "validation_fraction": 0.25}
    options = {"trainer": trainer, "dataset_options": augmented}
    whole = train(tmp_path / "whole", **options)
    for number, stop in enumerate([(1, 1), (2, 2), (3, 1)]):

        def interrupt(event, stop=stop):
            if isinstance(event, StepEnded) and (event.epoch, event.step) == stop:
                signal.raise_signal(signal.SIGINT)

        with pytest.raises(InterruptedRunError):
            train(tmp_path / "cut", callbacks=[interrupt], resume=number > 0, **options)
    resumed = train(tmp_path / "cut", resume=True, **options)
    assert not differences(tmp_path / "whole", tmp_path / "cut")
    for file in ("last.safetensors", "best.safetensors"):
        assert (tmp_path / "whole" / file).read_bytes() == (tmp_path / "cut" / file).read_bytes()
    assert resumed.metrics == whole.metrics


def test_the_average_is_what_is_measured_and_kept(tmp_path, seen):
    result = train(tmp_path / "run", trainer={**TRAINER, "ema": 0.9})
    trained = dict(seen[0].model.named_parameters())
    averaged = dict(result.network.named_parameters())
    assert not any(torch.equal(trained[name], value) for name, value in averaged.items())
    found = nasreg.evaluate(tmp_path / "run", toy_images(32, seed=1))
    assert found.metrics["accuracy"] == result.metrics["test_accuracy"]


def test_images_are_brought_to_size_for_an_evaluation_as_in_training(tmp_path):
    dataset = from_torch(toy_images(48, side=12), test=toy_images(32, side=12, seed=1))
    options = {"image_size": 8, "center_fraction": 0.8, "crop_scale": [0.3, 1.0]}
    result = train(tmp_path / "run", dataset=dataset, trainer={**TRAINER, "epochs": 1}, dataset_options=options)
    images = toy_images(32, side=12, seed=1)
    loss = nasreg.evaluate(tmp_path / "run", images).metrics["loss"]
    assert loss == pytest.approx(result.metrics["test_loss"])
    given = nasreg.evaluate(tmp_path / "run", images, dataset_options={"center_fraction": 1.0})
    assert given.metrics["loss"] != loss


def test_a_run_is_retrained_on_its_own_data_and_space(searched, retrained, tmp_path, capsys):
    assert retrained.err.splitlines()[0] == (
        f"retrain {searched.path}: space darts, data set digits, recipe demo, device cpu"
    )
    assert main(["evaluate", str(retrained.path / "best.safetensors"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["samples"] == 360
    assert main(["show", str(retrained.path)]) == 0
    assert "node 1 = " in capsys.readouterr().out
    assert main(["resume", str(retrained.path)]) == 2
    again = ["retrain", str(searched.path), "--config", str(retrained.path / "run.yaml")]
    assert main([*again, "--out", str(tmp_path / "again")]) == 0
    assert not differences(retrained.path, tmp_path / "again")
    assert "\ntest accuracy " in capsys.readouterr().out


@pytest.mark.slow
def test_repeats_give_mean_and_deviation_and_are_resumed_after_an_interruption(tmp_path, capsys):
    options = {"trainer": {"epochs": 2, "batch_size": 32}, "space": TINY, "dataset": {"limit": 80}}
    whole = resolve_retrain(default_registry(), GENOTYPE, "digits", options=options, device="cpu")
    ended = []

    def interrupt(event):
        ended.append(event) if isinstance(event, EpochEnded) else None
        if isinstance(event, StepEnded) and len(ended) == 3:
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(InterruptedRunError):
        repeat(whole, [0, 5], tmp_path / "runs", callbacks=[interrupt])
    assert main(["resume", str(tmp_path / "runs")]) == 0
    assert "mean" in capsys.readouterr().out
    result = resume_repeats(tmp_path / "runs")
    one = dataclasses.replace(whole, spec=whole.spec.model_copy(update={"seed": 5}))
    alone = run_retrain(one, registry=default_registry())
    assert result.seeds == (0, 5)
    assert result.scores[1] == alone.metrics["test_accuracy"]
    assert result.mean == pytest.approx(sum(result.scores) / 2)
    assert result.std == pytest.approx(abs(result.scores[0] - result.scores[1]) / 2**0.5)
    summary = json.loads((tmp_path / "runs/summary.json").read_text())
    assert (summary["mean"], summary["std"]) == (result.mean, result.std)
    with pytest.raises(RunDirectoryError, match="with other options"):
        repeat(whole, [0, 6], tmp_path / "runs")
    for seeds in ([], [1, 1]):
        with pytest.raises(UsageError, match="seeds must be different numbers"):
            repeat(whole, seeds, tmp_path / "none")


def test_other_spaces_retrain_too():
    notices = []
    options = {"trainer": {"max_trials": 1}, "evaluator_options": {"epochs": 1}}
    found = nasreg.search("chain", toy_images(48), "random", device="cpu", **options)
    arguments = {"space": "chain", "space_options": {}, "trainer": {**TRAINER, "epochs": 8}}
    result = train(
        source=found.architecture,
        callbacks=[lambda event: notices.append(event.message) if isinstance(event, Notice) else None],
        **arguments,
    )
    assert result.metrics["test_accuracy"] > 0.9
    assert notices == ["space 'chain' has no auxiliary head: trainer.auxiliary_weight has no effect"]


def test_the_network_of_a_users_own_model(tmp_path):
    found = nasreg.search(Net(), toy_images(48), "darts", trainer=short_options("darts"), device="cpu")
    result = train(tmp_path / "run", source=found, space_options=None)
    assert result.metrics["test_accuracy"] > 0.9
    with pytest.raises(RunDirectoryError, match="has finished"):
        train(tmp_path / "run", source=found, space_options=None, resume=True)


def test_a_finished_retraining_is_not_resumed_or_overwritten(toy_run, retrained):
    path, _ = toy_run
    with pytest.raises(RunDirectoryError, match="has finished"):
        resume(retrained.path)
    with pytest.raises(RunDirectoryError, match="has finished"):
        train(path, "DARTS_V2", resume=True)
    with pytest.raises(RunDirectoryError, match="started from Python with a data set given as an object"):
        resume(path)
    with pytest.raises(RunDirectoryError, match="is not empty"):
        train(path, "DARTS_V2")


@pytest.mark.parametrize(
    ("arguments", "error", "says"),
    [
        ({"trainer": {"epoch": 1}}, ConfigError, "Did you mean 'trainer.epochs'"),
        ({"recipe": "cifarr"}, LookupError, "there is no recipe 'cifarr'. Did you mean 'cifar'"),
        ({"dataset": from_torch(toy_images(48))}, DataError, "has no test set"),
        (
            {"dataset": from_torch(toy_images(48), test=toy_images(8, side=6))},
            DataError,
            "the test set has images of 6x6",
        ),
        ({"settings": ["space.name=chain"]}, ConfigError, "'nasreg/darts': space.name cannot be 'chain'"),
        ({"settings": ["algorithm=darts"]}, ConfigError, "there is no option 'algorithm'"),
        ({"seed": -1}, ConfigError, "seed"),
    ],
)
def test_what_is_wrong_is_said_before_anything_is_written(tmp_path, arguments, error, says):
    with pytest.raises(error, match=says):
        train(tmp_path / "run", **arguments)
    assert not (tmp_path / "run").exists()


def test_what_cannot_be_evaluated(toy_run, tmp_path):
    path, _ = toy_run
    weights = path / "last.safetensors"
    with pytest.raises(UsageError, match="was trained on data from Python"):
        nasreg.evaluate(weights)
    with pytest.raises(DataError, match=r"has images of 6x6, but the network takes 8x8; set dataset\.image_size=8"):
        nasreg.evaluate(weights, toy_images(8, side=6))
    with pytest.raises(DataError, match="has images with 3 channels, but the network takes 1"):
        nasreg.evaluate(weights, TensorDataset(torch.randn(4, 3, 8, 8), torch.arange(4) % 2))
    with pytest.raises(DataError, match="other classes"):
        nasreg.evaluate(weights, "digits")
    with pytest.raises(DataError, match="other classes"):
        nasreg.evaluate(weights, TensorDataset(torch.randn(4, 1, 8, 8), torch.arange(4)))
    with pytest.raises(WeightsError, match="cannot read"):
        nasreg.evaluate(tmp_path / "none.safetensors")
    with pytest.raises(WeightsError, match="train its network with nasreg retrain"):
        nasreg.evaluate(tmp_path)
    content = weights.read_bytes()
    for name, damaged in {"cut": content[: len(content) // 2], "rubbish": b"\xff" * 100, "empty": b""}.items():
        (tmp_path / f"{name}.safetensors").write_bytes(damaged)
        with pytest.raises(WeightsError, match="cannot read"):
            nasreg.evaluate(tmp_path / f"{name}.safetensors")


def test_a_network_of_a_space_of_ones_own_is_measured_where_the_space_is_named(tmp_path, capsys):
    info = DataInfo(channels=1, height=8, width=8, classes=tuple("0123456789"))
    architecture = tmp_path / "own.json"
    architecture.write_text(extract_space(Own(info)).architecture({"conv": "1"}).to_json())
    run, alone = str(tmp_path / "run"), str(tmp_path / "alone.safetensors")
    settings = ["--set", "trainer.epochs=1", "--set", "dataset.limit=40", "--set", "space.width=2"]
    assert main(["retrain", str(architecture), "--space", "tiny:Own", *settings, "--out", run]) == 0
    assert capsys.readouterr().err.endswith(f"next: nasreg evaluate {run}\n")
    assert main(["evaluate", run, "--json"]) == 0  # the run directory says whose code it is
    assert json.loads(capsys.readouterr().out)["samples"] == 360
    shutil.copy(tmp_path / "run/last.safetensors", alone)
    check_refused(["evaluate", alone], "if you trust the file, name the space, too (--space tiny:Own", capsys)
    for path in (run, alone):
        check_refused(["evaluate", path, "--space", "darts"], "of the search space 'tiny:Own', not of 'darts'", capsys)
    for path in (run, alone):
        assert main(["evaluate", path, "--space", "tiny:Own", "-q"]) == 0
    first, second = capsys.readouterr().out.split()
    assert first == second


def test_cutout_blanks_squares_that_may_reach_over_the_border():
    from nasreg.data.splits import cut_out

    images = torch.ones(2000, 1, 8, 8)
    blank = cut_out(images, 4, torch.Generator().manual_seed(0)) == 0
    areas = blank.sum((1, 2, 3))
    assert (int(areas.max()), int(areas.min())) == (16, 4)
    assert torch.equal(images, torch.ones(2000, 1, 8, 8))
    # a centre at pixel c blanks c - 2 to c + 1: with 8 centres pixel 0 is blank for c in 0..2, pixel 4 for 3..6
    share = blank.float().mean(0)[0]
    assert float(share[0, 0]) == pytest.approx((3 / 8) ** 2, abs=0.03)
    assert float(share[4, 4]) == pytest.approx((4 / 8) ** 2, abs=0.03)
