"""Files that are no images, that cannot be read, or that break in the middle of a run."""

from __future__ import annotations

import contextlib
import io
import json
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
from PIL import Image
from torch.utils.data import Dataset

import nasreg
import tiny
from nasreg.cli import main
from nasreg.config.lookup import find_dataset
from nasreg.data import DatasetConfig, RunData, from_torch
from nasreg.errors import DataError, SampleError, TrainingError
from nasreg.events import TrialEnded
from nasreg.registry import Registry
from nasreg.specs.base import parse

CPU = torch.device("cpu")
REGISTRY = Registry(entry_points=False)
BROKEN = b"not a picture"
CHAIN = (
    *("--space", "chain", "--set", "space.blocks=1", "--set", "space.channels=2", "--device", "cpu"),
    *("--set", "trainer.epochs=1", "--set", "trainer.batch_size=8", "--set", "dataset.crop_padding=0"),
)


class Done(NamedTuple):
    """What a command ended with, and all that it printed."""

    code: int
    text: str


def command(*argv: object) -> Done:
    """Run a command in this process."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
        code = main(list(map(str, argv)))
    return Done(code, out.getvalue())


def write(root: Path, n: int = 8, classes=("cat", "dog"), size: int = 4) -> Path:
    for number, name in enumerate(classes):
        (root / name).mkdir(parents=True)
        for index in range(n):
            Image.new("L", (size, size), (100 * number + index) % 256).save(root / name / f"{index:04}.png")
    return root


def load(root: Path, test: bool = False, **options) -> RunData:
    source = find_dataset(REGISTRY, "folder")
    config = parse(source.config, {"path": str(root), "grayscale": True, **options}, "dataset")
    return RunData(source.load(config), config, 0, CPU, test=test)


@pytest.mark.parametrize(
    "name",
    ["._0001.png", "__MACOSX/0.png", "cat/._0001.png", "cat/.ipynb_checkpoints/0-checkpoint.png", "cat/__MACOSX/0.png",
     ".DS_Store", "cat/.DS_Store", "cat/Thumbs.db", "@eaDir/0.png", "dog/@eaDir/0.png", ".thumbnails/0.png"],
)  # fmt: skip
def test_hidden_files_and_those_of_a_system_are_no_images_and_no_classes(tmp_path, name):
    write(tmp_path)
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_bytes(BROKEN)
    data = load(tmp_path)
    assert (data.info.classes, len(data.splits["train"])) == (("cat", "dog"), 16)


def test_an_archive_of_a_mac_with_splits(tmp_path):
    write(tmp_path / "train")
    write(tmp_path / "val")
    for name in ("__MACOSX", "train/__MACOSX", "val/__MACOSX"):
        (tmp_path / name).mkdir()
    assert load(tmp_path).info.classes == ("cat", "dog")


@pytest.mark.parametrize("name", ["Train", "training", "Test", "testing", "VAL", "dev"])
def test_folders_of_splits_by_another_name_are_no_classes(tmp_path, name):
    write(tmp_path / name)
    write(tmp_path / "other")
    with pytest.raises(DataError, match=rf"subfolder '{name}' with subfolders of its own.*call the splits 'train'"):
        load(tmp_path)


# Pillow#4807
@pytest.mark.parametrize("in_memory", ["yes", "no"])
def test_what_cannot_be_read_is_left_out_and_counted(tmp_path, in_memory):
    write(tmp_path)
    for name in ("cat/0000.png", "dog/0003.png"):  # the first image, which decides the shape of the others
        (tmp_path / name).write_bytes(BROKEN)
    truncated = tmp_path / "dog/0007.png"
    truncated.write_bytes(truncated.read_bytes()[:-30])
    data = load(tmp_path, unreadable="skip", in_memory=in_memory, arch_fraction=0.5, validation_fraction=0.3)
    assert sum(map(len, data.splits.values())) == 13
    for split in data.splits.values():
        assert sum(len(y) for _, y in split.batches(batch_size=4, epoch=0, train=False)) == len(split)
    [notice] = data.notices
    assert notice.startswith("3 of 16 images of the train set cannot be read and are left out: ")
    left_out = data.describe()["left_out"]["train"]
    assert [(each["index"], Path(each["path"]).name) for each in left_out] == [
        (0, "0000.png"), (11, "0003.png"), (15, "0007.png")
    ]  # fmt: skip
    assert all(each["reason"] in notice for each in left_out)
    whole = load(tmp_path, unreadable="skip", in_memory=in_memory)
    assert whole.describe()["fingerprint"] == data.describe()["fingerprint"]


def test_parts_that_are_not_trained_on_are_left_out_of_too(tmp_path):
    for part in ("train", "val", "test"):
        write(tmp_path / part)
        (tmp_path / part / "dog/0003.png").write_bytes(BROKEN)
    data = load(tmp_path, test=True, unreadable="skip")
    assert {name: len(split) for name, split in data.splits.items()} == {
        "train": 15, "arch": 0, "validation": 15, "test": 15
    }  # fmt: skip
    assert list(data.describe()["left_out"]) == ["train", "validation", "test"]
    assert len(data.notices) == 3


class Listed(Dataset):
    """A user's own data set, of which some samples cannot be read."""

    def __init__(self, broken=(), n: int = 24) -> None:
        self.n = n
        self.broken = broken

    def __len__(self) -> int:
        return self.n

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        if index in self.broken:
            raise OSError(f"file {index} is truncated")
        return torch.full((1, 4, 4), index, dtype=torch.uint8), index % 2


@pytest.mark.parametrize("workers", [0, 2])
def test_any_data_set_can_be_left_out_of(workers):
    config = DatasetConfig(unreadable="skip", workers=workers, test_fraction=0.25)
    data = RunData(from_torch(Listed({0, 5, 6})), config, 0, CPU, test=True)
    assert len(data.splits["train"]) + len(data.splits["test"]) == 21
    assert [each["index"] for each in data.describe()["left_out"]["train"]] == [0, 5, 6]


def test_nothing_that_can_be_read():
    with pytest.raises(DataError, match=r"none of the 24 images of the train set can be read: .*file 0 is truncated"):
        RunData(from_torch(Listed(range(24))), DatasetConfig(unreadable="skip"), 0, CPU)


def test_a_wrong_size_is_not_left_out(tmp_path):
    write(tmp_path)
    Image.new("L", (9, 9)).save(tmp_path / "dog/0003.png")
    with pytest.raises(DataError, match=r"image 11 .*it is 9x9 with 1 channel, but the first is 4x4"):
        load(tmp_path, unreadable="skip")


# Pillow#4807
def test_all_images_can_be_checked_beforehand(tmp_path, monkeypatch):
    monkeypatch.setattr("nasreg.data.scan.MAX_SAMPLED", 20)
    write(tmp_path, 12)
    broken = [tmp_path / "cat" / f"{index:04}.png" for index in (5, 11)]  # which are not among the sampled
    broken += [tmp_path / "dog" / f"{index:04}.png" for index in (5, 11)]
    for file in broken:
        file.write_bytes(BROKEN)
    load(tmp_path, in_memory="no")
    with pytest.raises(DataError) as info:
        load(tmp_path, in_memory="no", check_all=True)
    assert str(info.value).startswith("4 of 24 images of the train set cannot be read: the train set: image 5 (")
    assert str(info.value).endswith("(and 1 more); replace or remove it, or leave out what cannot be read with"
                                    " --set dataset.unreadable=skip")  # fmt: skip


def test_an_image_that_breaks_in_the_middle_of_an_epoch_is_no_wrong_usage():
    samples = Listed()
    split = RunData(from_torch(samples), DatasetConfig(), 0, CPU).splits["train"]
    samples.broken = {7}
    with pytest.raises(SampleError, match=r"the train set: image 7 cannot be used: OSError: file 7.*resume") as info:
        list(split.batches(batch_size=4, epoch=0))
    assert isinstance(info.value, DataError | TrainingError)
    assert (info.value.exit_code, info.value.index, info.value.label, info.value.total) == (1, 7, 1, 24)


@pytest.fixture(scope="module")
def failed(tmp_path_factory, without_drawings):
    """A folder of images, of which one that is not looked at beforehand ended a search."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("nasreg.data.scan.MAX_SAMPLED", 40)  # forked processes have it, too
        yield _fail(tmp_path_factory)


def _fail(tmp_path_factory):
    root = tmp_path_factory.mktemp("broken")
    images = write(root / "images", 24)
    (images / "cat/0011.png").write_bytes(BROKEN)
    argv = ("run", "darts", "--dataset", f"folder:{images}", *CHAIN, "--set", "dataset.in_memory=no")
    return root, command(*argv, "--set", "dataset.grayscale=true", "--out", root / "run")


def test_a_broken_file_ends_the_run_with_exit_code_1(failed):
    root, done = failed
    assert done.code == 1
    assert "image 11 (" in done.text
    assert "replace or remove it and resume the run, or leave it out with --set dataset.unreadable=skip" in done.text
    status = json.loads((root / "run/status.json").read_text())
    assert status["state"] == "failed"
    path = str(root / "images/cat/0011.png")
    assert status["unreadable"] == [{"part": "train", "index": 11, "label": 0, "total": 48, "path": path}]


@pytest.mark.usefixtures("without_drawings")
@pytest.mark.parametrize("how", ["replaced", "removed", "left out"])
def test_the_run_is_resumed_after_the_file_is(failed, tmp_path, how):
    root, _ = failed
    run = tmp_path / "run"
    run.mkdir()
    for file in (root / "run").iterdir():
        if file.is_file():
            (run / file.name).write_bytes(file.read_bytes())
    broken = root / "images/cat/0011.png"
    if how == "replaced":
        Image.new("L", (4, 4), 11).save(broken)
    elif how == "removed":
        broken.unlink()
    try:
        more = ("--set", "dataset.unreadable=skip") if how == "left out" else ()
        done = command("resume", run, *more)
    finally:
        broken.write_bytes(BROKEN)
    assert done.code == 0, done.text
    assert json.loads((run / "status.json").read_text())["state"] == "done"
    assert ("1 of 48 images of the train set cannot be read and are left out" in done.text) == (how != "replaced")


def test_other_data_are_still_refused(failed, tmp_path):
    root, _ = failed
    run = tmp_path / "run"
    run.mkdir()
    for file in (root / "run").iterdir():
        if file.is_file():
            (run / file.name).write_bytes(file.read_bytes())
    broken, other = root / "images/cat/0011.png", root / "images/dog/0011.png"
    before = other.read_bytes()
    Image.new("L", (4, 4), 11).save(broken)
    other.unlink()
    try:
        done = command("resume", run)
    finally:
        other.write_bytes(before)
        broken.write_bytes(BROKEN)
    assert done.code == 2
    assert "the data set 'folder' has changed since" in done.text


@pytest.mark.usefixtures("without_drawings")
def test_an_image_that_breaks_ends_a_search_of_trials_which_can_be_resumed(tmp_path):
    samples = Listed()
    samples.targets = [index % 2 for index in range(24)]

    def search(**more):
        options = {"evaluator_options": {"epochs": 1, "batch_size": 8}, "trainer": {"max_trials": 2}, "device": "cpu"}
        return nasreg.search(tiny.Net, samples, "random", out=tmp_path / "run", **options, **more)

    def breaks(event) -> None:
        if isinstance(event, TrialEnded):
            samples.broken = {7}

    with pytest.raises(SampleError, match="image 7 cannot be used"):
        search(callbacks=[breaks])
    samples.broken = ()
    result = search(resume=True)
    assert [trial["status"] for trial in result.trials if trial["status"] != "rejected"] == ["done", "done"]
