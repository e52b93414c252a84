"""Splits of the user's own: a validation set for the choices, groups, and a share for testing where there is no set."""

from __future__ import annotations

import contextlib
import io
import json
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torch.utils.data import TensorDataset

import nasreg
import tiny
from nasreg.cli import main
from nasreg.config.lookup import dataset_from_object, find_dataset
from nasreg.data import DatasetBundle, DatasetConfig, RunData, from_torch
from nasreg.errors import ConfigError, DataError
from nasreg.events import Notice
from nasreg.registry import Registry
from nasreg.specs.base import parse

CPU = torch.device("cpu")
REGISTRY = Registry(entry_points=False)
ONE_EPOCH = {"epochs": 1, "batch_size": 8}


def numbered(n: int = 40, first: int = 0, classes: int = 2) -> TensorDataset:
    """Image number i is all i."""
    images = torch.arange(first, first + n, dtype=torch.uint8)[:, None, None, None].expand(n, 1, 8, 8).clone()
    return TensorDataset(images, torch.arange(n) % classes)


def make(data, seed: int = 0, test: bool = False, **options) -> RunData:
    return RunData(dataset_from_object(data).load(DatasetConfig()), DatasetConfig(**options), seed, CPU, test=test)


def numbers(data: RunData, split: str) -> set[int]:
    """Return which images of ``numbered`` a split has."""
    read = data.splits[split].batches(batch_size=8, epoch=0, train=False)
    return {round(float((image[0, 0, 0] * data.std[0] + data.mean[0]) * 255)) for x, _ in read for image in x}


def sizes(data: RunData) -> dict[str, int]:
    return {name: len(split) for name, split in data.splits.items()}


# nni#3956
@pytest.mark.parametrize(
    "data",
    [
        (numbered(), numbered(10, 100), numbered(6, 200)),
        DatasetBundle(numbered(), numbered(10, 100), lambda: numbered(6, 200)),
        from_torch(numbered(), numbered(6, 200), numbered(10, 100)),
    ],
)
def test_choices_are_learned_on_a_validation_set_of_the_users(data):
    found = make(data, arch_from="validation")
    assert sizes(found) == {"train": 40, "arch": 10, "validation": 0}
    assert numbers(found, "arch") == set(range(100, 110))
    assert numbers(make(data, test=True), "test") == set(range(200, 206))
    held_out = make(data, arch_from="validation", validation_fraction=0.25)
    assert sizes(held_out) == {"train": 30, "arch": 10, "validation": 10}
    assert numbers(held_out, "validation") < set(range(40))
    assert sizes(make(data, arch_fraction=0.5)) == {"train": 20, "arch": 20, "validation": 10}


# nni#3956
def test_a_search_learns_its_choices_on_it():
    result = nasreg.search(
        tiny.Net,
        (numbered(), numbered(10, 100), None),
        dataset_options={"arch_from": "validation"},
        trainer=ONE_EPOCH,
    )
    [epoch] = result.history
    assert "arch_accuracy" in epoch
    assert "validation_accuracy" not in epoch


@pytest.mark.parametrize(
    ("algorithm", "options", "message"),
    [
        ("random", {"arch_from": "validation"}, "dataset.arch_from is validation, but algorithm 'random' uses no arch"),
        ("darts", {"arch_from": "validation", "arch_fraction": 0.3}, "arch_fraction is 0.3, but dataset.arch_from is"),
        (
            "darts",
            {"arch_from": "validation"},
            "the data set has no validation set: give it one, as a folder named val",
        ),
        ("darts", {"test_fraction": 0.2}, "test_fraction is 0.2, but the data set has a test set of its own"),
    ],
)
def test_contradictions_are_refused(algorithm, options, message):
    with pytest.raises((ConfigError, DataError), match=message):
        nasreg.search(tiny.Net, (numbered(), numbered(6)), algorithm, dataset_options=options)


GROUPS = [f"patient{index // 4}" for index in range(40)]


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_no_group_is_in_two_splits(seed):
    bundle = from_torch(numbered(), groups=GROUPS)
    data = make(bundle, seed, True, arch_fraction=0.4, validation_fraction=0.2, test_fraction=0.2)
    found = [numbers(data, name) for name in data.splits]
    assert sorted(number for some in found for number in some) == list(range(40))
    patients = [{GROUPS[number] for number in some} for some in found]
    assert sum(map(len, patients)) == 10
    counts = {"train": len(patients[0]), "arch": len(patients[1]), "validation": len(patients[2])}
    assert data.describe()["groups"] == counts
    assert min(map(len, patients)) > 0


@settings(max_examples=30)
@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 9)), min_size=8, max_size=60), st.integers(0, 3))
def test_groups_of_any_size_are_kept_together_with_every_class_in_each_split(samples, seed):
    labels, groups = zip(*samples, strict=True)
    images = torch.arange(len(labels), dtype=torch.uint8)[:, None, None, None].expand(-1, 1, 2, 2).clone()
    bundle = from_torch(TensorDataset(images, torch.tensor(labels)), groups=groups)
    try:
        data = make(bundle, seed, arch_fraction=0.5)
    except DataError:
        of_class = [{group for label, group in samples if label == each} for each in set(labels)]
        assert len(of_class) == 1 or len(set(groups)) < 4 or min(map(len, of_class)) < 4
        return
    found = {name: numbers(data, name) for name in ("train", "arch")}
    assert not {groups[i] for i in found["train"]} & {groups[i] for i in found["arch"]}
    for split in ("train", "arch"):
        assert set(data.splits[split].labels.tolist()) == set(labels)


@pytest.mark.parametrize(
    ("groups", "message"),
    [
        (GROUPS[:-1], "groups has 39 entries, but the train set has 40 samples: give one for each"),
        ({"valid": GROUPS}, "groups are given for 'valid', which is no part of the data set"),
        ({"train": GROUPS, "validation": ["patient3"] * 10}, "group 'patient3' is in the train set and in"),
        (["one"] * 40, "class '0' is in 1 of the groups, too few to be in every split"),
    ],
)  # fmt: skip
def test_groups_that_cannot_be_kept_together_are_refused(groups, message):
    with pytest.raises(DataError, match=message):
        make(from_torch(numbered(), None, numbered(10, 100), groups=groups), arch_fraction=0.5)


def write(root: Path, n: int = 12) -> Path:
    for number, name in enumerate(("cat", "dog")):
        (root / name).mkdir(parents=True)
        for index in range(n):
            Image.new("L", (8, 8), 100 * number + index).save(root / name / f"p{index // 2:02}_{index}.png")
    return root


def load(root: Path, test: bool = False, **options) -> RunData:
    source = find_dataset(REGISTRY, "folder")
    config = parse(source.config, {"path": str(root), "grayscale": True, **options}, "dataset")
    return RunData(source.load(config), config, 0, CPU, test=test)


def test_groups_of_a_folder_are_in_the_names_of_its_files(tmp_path):
    write(tmp_path)
    data = load(tmp_path, True, group_pattern=r"^(p\d+)_", arch_fraction=0.4, test_fraction=0.2)
    found = [{number % 100 // 2 for number in numbers(data, name)} for name in data.splits]
    assert sum(map(len, found)) == len(set.union(*found)) == 6
    with pytest.raises(DataError, match=r"dataset.group_pattern 'x\+' finds no group in 'p00_0.png' \(.*p00_0.png\)"):
        load(tmp_path, group_pattern="x+")
    for pattern in ("(p", "(p)(q)"):
        with pytest.raises(ConfigError, match=r"dataset.group_pattern: .* is invalid"):
            load(tmp_path, group_pattern=pattern)


def test_a_group_of_a_folder_that_is_in_two_of_its_parts_is_refused(tmp_path):
    for part in ("train", "val", "test"):
        write(tmp_path / part, 4)
    with pytest.raises(DataError, match="group 'p00' is in the train set and in the validation set"):
        load(tmp_path, group_pattern=r"^(p\d+)_")
    data = load(tmp_path, arch_from="validation")
    assert sizes(data) == {"train": 8, "arch": 8, "validation": 0}


def test_the_share_for_testing_is_the_same_for_every_seed_and_split():
    first, second = (
        make(numbered(), seed, True, test_fraction=0.2, arch_fraction=fraction)
        for seed, fraction in ((0, 0.5), (7, 0.0))
    )
    assert numbers(first, "test") == numbers(second, "test")
    assert first.splits["test"].labels.bincount().tolist() == [4, 4]
    for data in (first, second):
        assert numbers(data, "train") | numbers(data, "arch") == set(range(40)) - numbers(data, "test")
    assert sizes(make(numbered(), test_fraction=0.2)) == {"train": 32, "arch": 0, "validation": 0}


def test_the_share_for_testing_has_no_part_in_the_normalisation():
    data = make(numbered(), 0, True, test_fraction=0.5)
    mean = sum(numbers(data, "train")) / 20 / 255
    assert data.mean == [pytest.approx(mean)]


def command(*argv: object) -> str:
    """Run a command in this process, and return all that it printed."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
        assert main(list(map(str, argv))) == 0, out.getvalue()
    return out.getvalue()


@pytest.mark.slow
@pytest.mark.usefixtures("without_drawings")
def test_a_folder_without_a_test_set_from_the_search_to_the_evaluation(tmp_path):
    folder = write(tmp_path / "images")
    run, again = tmp_path / "run", tmp_path / "retraining"
    options = ("--set", "dataset.grayscale=true", "--device", "cpu", "--set", "trainer.epochs=1")
    search = ("run", "darts", "--dataset", f"folder:{folder}", "--space", "chain", "--set", "space.blocks=1", *options)
    search = (*search, "--set", "space.channels=2", "--set", "trainer.batch_size=4")
    text = command(*search, "--out", tmp_path / "without")
    assert "data set 'folder' has no test set" in text
    assert "hold out a share of its images with --set dataset.test_fraction=0.2" in text
    text = command(*search, "--set", "dataset.test_fraction=0.25", "--out", run)
    assert "test set" not in text
    command("retrain", run, *options, "--set", "trainer.batch_size=4", "--seed", "5", "--out", again)
    splits = [json.loads((path / "data.json").read_text())["splits"] for path in (run, again)]
    assert splits[1]["test"] == 6
    assert sum(splits[0].values()) == sum(splits[1].values()) - 6 == 18
    assert "on 6 test samples" in command("evaluate", again, "--device", "cpu")


def test_data_from_python_need_no_test_set_for_a_search():
    notices = []
    nasreg.search(tiny.Net, numbered(), trainer=ONE_EPOCH, callbacks=[lambda event: notices.append(event)])
    assert not [event for event in notices if isinstance(event, Notice)]
