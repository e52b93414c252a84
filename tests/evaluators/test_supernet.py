"""The evaluator that scores with the weights of a supernet: its own, or that of a finished run."""

from __future__ import annotations

import re
import shutil
import signal

import pytest
import torch

import nasreg
from nasreg.config.lookup import dataset_from_object, find_space
from nasreg.data import DatasetConfig, RunData
from nasreg.errors import ConfigError, IncompatibleError, InterruptedRunError, RunDirectoryError, WeightsError
from nasreg.events import Notice, SupernetProgress
from nasreg.mutators import UniformMutator
from nasreg.networks.references import describe_space
from nasreg.nn import extract_space, freeze, recalibrate_batch_norm
from nasreg.registry import default_registry
from nasreg.runs import files
from nasreg.runs.checkpoint import load_checkpoint
from nasreg.tasks import get_task
from nasreg.testing.contents import differences
from nasreg.testing.small import toy_images
from nasreg.trainers.measure import measure

SPACE = {"cells": 2, "channels": 2, "nodes": 2, "candidates": ["skip_connect", "max_pool_3x3", "sep_conv_3x3"]}
OPTIONS = {"epochs": 2, "batch_size": 16, "lr": 0.1}
DATASET = {"validation_fraction": 0.25}


@pytest.fixture(autouse=True)
def _no_page(without_report):
    """Pages and pictures are tested elsewhere."""


def search(out=None, options=None, data=None, **more):
    arguments = {
        "space": "darts",
        "algorithm": "random",
        "trainer": {"max_trials": 3},
        "evaluator": "supernet",
        "evaluator_options": {**OPTIONS, **(options or {})},
        "space_options": SPACE,
        "dataset_options": DATASET,
        "seed": 1,
        "device": "cpu",
    }
    return nasreg.search(data=toy_images() if data is None else data, out=out, **{**arguments, **more})


@pytest.fixture(scope="module")
def lender(tmp_path_factory):
    """A finished search with a supernet of its own."""
    out = tmp_path_factory.mktemp("lender") / "run"
    search(out)
    return out


def scores(result):
    return [(trial["architecture"], trial["score"]) for trial in result.trials]


def recorded(run):
    return [(trial["architecture"], trial["score"]) for trial in nasreg.runs.directory.RunDirectory(run).trials]


def test_a_score_is_that_of_the_inherited_network_with_statistics_of_its_own(lender):
    data = RunData(
        dataset_from_object(toy_images()).load(DatasetConfig(**DATASET)),
        DatasetConfig(**DATASET),
        1,
        torch.device("cpu"),
    )
    supernet = find_space(default_registry(), "darts").build(data.info, SPACE)
    supernet.load_state_dict(load_checkpoint(lender / files.SUPERNET, torch.device("cpu"))[0]["model"])
    space = extract_space(supernet)
    for decisions, score in recorded(lender):
        network = freeze(supernet, space.architecture(decisions))
        inputs = (x for x, _ in data.splits["train"].batches(batch_size=16, epoch=0))
        recalibrate_batch_norm(network, inputs)
        found = measure(network, data.splits["validation"], get_task("classification"), 16)
        assert score == found["accuracy"]


def test_another_algorithm_borrows_the_supernet_of_a_finished_run(lender, tmp_path):
    result = search(tmp_path / "run", {"run": str(lender)})
    assert scores(result) == recorded(lender)
    assert not (tmp_path / "run" / files.SUPERNET).exists()
    with pytest.raises(ConfigError, match=re.escape(f"used the supernet of another run: give that one, {lender}")):
        search(None, {"run": str(tmp_path / "run")})


def test_the_supernet_of_a_one_shot_algorithm_is_borrowed(tmp_path):
    out, notices = tmp_path / "darts", []
    short = {"trainer": {"epochs": 1, "batch_size": 16}, "space_options": SPACE, "device": "cpu", "out": out}
    nasreg.search("darts", toy_images(), "darts", **short)

    def note(event):
        if isinstance(event, Notice):
            notices.append(event.message)

    result = search(None, {"run": str(out)}, callbacks=[note])
    assert all(trial["score"] is not None for trial in result.trials)
    assert [message for message in notices if "may have seen images of the validation split" in message]


def test_interrupted_while_the_supernet_is_trained_it_resumes_there(lender, tmp_path):
    def interrupt(event):
        if isinstance(event, SupernetProgress) and (event.epoch, event.step) == (2, 2):
            signal.raise_signal(signal.SIGINT)

    out, steps = tmp_path / "run", []

    def note(event):
        if isinstance(event, SupernetProgress):
            steps.append((event.epoch, event.step))

    message = f"interrupted after 0 of 3 trials; resume with: nasreg resume {out}"
    with pytest.raises(InterruptedRunError, match=re.escape(message)):
        search(out, callbacks=[interrupt])
    search(out, resume=True, callbacks=[note])
    assert steps == [(2, 3), (2, 4), (2, 5)]
    assert not differences(lender, out)


def test_runs_that_have_no_fitting_supernet_are_refused_before_anything_is_written(lender, tmp_path):
    unfinished, trained = tmp_path / "unfinished", tmp_path / "trained"
    shutil.copytree(lender, unfinished)
    status = unfinished / files.STATUS
    status.write_text(status.read_text().replace('"done"', '"interrupted"'))
    search(trained, evaluator="training", trainer={"max_trials": 1})
    wide = toy_images(side=10)
    refused = [
        (
            IncompatibleError,
            "is one of space 'darts' with fingerprint",
            lender,
            {"space": "chain", "space_options": {}},
        ),
        (IncompatibleError, "1x8x8 images of 2 classes, and this data set has 1x10x10", lender, {"data": wide}),
        (RunDirectoryError, "has not ended (interrupted): nasreg resume", unfinished, {}),
        (RunDirectoryError, "there is no run directory", tmp_path / "none", {}),
        (ConfigError, "has no supernet: evaluator 'training' trains none", trained, {}),
    ]
    for kind, message, run, more in refused:
        with pytest.raises(kind, match=re.escape(message)) as caught:
            search(tmp_path / "out", {"run": str(run)}, **more)
        assert "\n" not in str(caught.value)
        assert not (tmp_path / "out").exists()
    damaged = tmp_path / "damaged"
    shutil.copytree(lender, damaged)
    state = torch.load(damaged / files.SUPERNET / files.CHECKPOINT, weights_only=True)
    state["model"].popitem()
    torch.save(state, damaged / files.SUPERNET / files.CHECKPOINT)
    with pytest.raises(WeightsError, match="are those of another network than the supernet of this search"):
        search(None, {"run": str(damaged)})
    with pytest.raises(ConfigError, match="with worker processes needs a run directory"):
        search(None, workers=2)


def test_each_path_is_drawn_uniformly_and_kept_until_the_next():
    space = describe_space(find_space(default_registry(), "chain"), {})
    mutator = UniformMutator(space)
    torch.manual_seed(0)
    counts = dict.fromkeys(space["conv0"].candidates, 0)
    for _ in range(600):
        counts[mutator.draw().decisions["conv0"]] += 1
        mutator.resample()
        assert mutator.answer(space["conv0"]) == mutator.architecture().decisions["conv0"]
    assert all(abs(count - 200) < 50 for count in counts.values())


def test_all_pieces_of_a_batch_take_one_path(lender, tmp_path):
    search(tmp_path / "run", {"accumulate": 2})
    one, other = (load_checkpoint(run / files.SUPERNET, torch.device("cpu"))[0] for run in (lender, tmp_path / "run"))
    assert not all(torch.equal(value, other["model"][name]) for name, value in one["model"].items())
    assert torch.equal(one["random"]["cpu"], other["random"]["cpu"]), "each piece drew a path"
