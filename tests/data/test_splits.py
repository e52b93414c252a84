"""The splits of a data set, their batches and augmentation, for every kind of ``Dataset``."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from torch.utils.data import Dataset, IterableDataset, Subset, TensorDataset

from nasreg.data import DatasetBundle, DatasetConfig, DataSplit, RunData, from_torch
from nasreg.data.splits import Rank
from nasreg.errors import ConfigError, DataError
from nasreg.testing import toy_images

CPU = torch.device("cpu")


def numbered(n: int = 60, classes: int = 3, side: int = 4) -> TensorDataset:
    """Image number i is all i."""
    images = torch.arange(n, dtype=torch.uint8)[:, None, None, None].expand(n, 2, side, side).clone()
    return TensorDataset(images, torch.arange(n) % classes)


class Own(Dataset):
    """A user's own data set, which augments by itself with whatever is random."""

    def __init__(self, n: int = 40, noise: bool = True) -> None:
        self.n = n
        self.noise = noise

    def __len__(self) -> int:
        return self.n

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        drawn = torch.rand(()) + random.random() + float(np.random.rand()) if self.noise else 0
        return torch.full((1, 4, 4), float(index)) + drawn, index % 2


def make(dataset=None, seed: int = 0, **options) -> RunData:
    dataset = numbered() if dataset is None else dataset
    bundle = dataset if isinstance(dataset, DatasetBundle) else from_torch(dataset)
    return RunData(bundle, DatasetConfig(**{"arch_fraction": 0.5, **options}), seed, CPU)


def train_split(dataset=None, **options) -> DataSplit:
    """Return the train split, which by default has every image."""
    return make(dataset, **{"arch_fraction": 0.0, **options}).splits["train"]


def numbers(data: RunData, split: str) -> list[int]:
    """Return which images of ``numbered`` a split has."""
    batches = data.splits[split].batches(batch_size=7, epoch=0, train=False)
    return [round(float((image[0, 0, 0] * data.std[0] + data.mean[0]) * 255)) for x, _ in batches for image in x]


@pytest.mark.parametrize(
    ("needed", "given", "expected"),
    [
        ((), {}, (0.0, 0.0)),
        (("arch",), {}, (0.5, 0.0)),
        (("validation",), {}, (0.0, 0.2)),
        (("arch", "validation"), {}, (0.5, 0.2)),
        (("arch",), {"arch_fraction": 0.25, "validation_fraction": 0.1}, (0.25, 0.1)),
        (("validation",), {"arch_fraction": 0.0, "validation_fraction": 0.0}, (0.0, 0.0)),
        ((), {"arch_fraction": 0.0, "validation_fraction": 0.3}, (0.0, 0.3)),
    ],
)
def test_fractions_default_to_what_the_user_of_the_data_needs(needed, given, expected):
    config = DatasetConfig(limit=8, **given)
    found = config.with_splits(needed, "the test")
    assert (found.arch_fraction, found.validation_fraction) == expected
    assert (found.limit, config.arch_fraction) == (8, given.get("arch_fraction"))
    assert found.with_splits(needed, "the test") == found


@pytest.mark.parametrize(
    ("needed", "fraction", "message"),
    [
        (("arch",), 0.0, "dataset.arch_fraction is 0, but the test learns the architecture on the arch split: set it"),
        (("validation",), 0.5, "dataset.arch_fraction is 0.5, but the test uses no arch split: leave it out"),
        ((), 0.1, "dataset.arch_fraction is 0.1, but the test uses no arch split"),
    ],
)
def test_an_arch_fraction_that_contradicts_the_need_is_refused(needed, fraction, message):
    with pytest.raises(ConfigError, match=message):
        DatasetConfig(arch_fraction=fraction).with_splits(needed, "the test")


def test_splits_share_no_image_and_have_the_same_share_of_each_class():
    data = make(validation_fraction=0.2, arch_fraction=0.25)
    found = {name: numbers(data, name) for name in data.splits}
    assert {name: len(some) for name, some in found.items()} == {"train": 36, "arch": 12, "validation": 12}
    assert sorted(number for some in found.values() for number in some) == list(range(60))
    for name, size in (("validation", 4), ("arch", 4), ("train", 12)):
        assert data.splits[name].labels.bincount().tolist() == [size] * 3


def test_fractions_that_are_not_set_make_no_split():
    data = RunData(from_torch(numbered()), DatasetConfig(), 0, CPU)
    assert {name: len(split) for name, split in data.splits.items()} == {"train": 60, "arch": 0, "validation": 0}


def test_the_test_split_is_read_whole_where_it_is_asked_for():
    bundle = DatasetBundle(numbered(), test=lambda: numbered(9))
    data = RunData(bundle, DatasetConfig(), 0, CPU, test=True)
    assert len(data.splits["test"]) == 9
    assert numbers(data, "test") == list(range(9))
    assert data.describe()["splits"] == {"train": 60, "arch": 0, "validation": 0, "test": 9}
    with pytest.raises(DataError, match="the data set has no test set: give it one"):
        RunData(from_torch(numbered()), DatasetConfig(), 0, CPU, test=True)
    with pytest.raises(DataError, match="the test set: image 3 has label 3, but labels must be 0 to 2"):
        RunData(from_torch(numbered(), numbered(9, classes=4)), DatasetConfig(), 0, CPU, test=True)


@given(
    st.lists(st.integers(0, 4), min_size=12, max_size=60),
    st.sampled_from([0.0, 0.1, 0.5, 0.9]),
    st.sampled_from([0.0, 0.25, 0.5]),
    st.integers(0, 3),
)
def test_the_splits_are_a_partition_with_every_class_in_each(labels, validation, arch, seed):
    images = torch.arange(len(labels), dtype=torch.uint8)[:, None, None, None].expand(-1, 1, 2, 2)
    dataset = TensorDataset(images, torch.tensor(labels))
    try:
        data = make(dataset, seed, validation_fraction=validation, arch_fraction=arch)
    except DataError as error:
        assert min(labels.count(label) for label in set(labels)) < 3 or len(set(labels)) == 1, error
        return
    splits = [split for split in data.splits.values() if len(split)]
    assert sum(map(len, splits)) == len(labels)
    for split in splits:
        assert set(split.labels.tolist()) == set(labels)


def test_the_seed_decides_the_splits():
    assert numbers(make(seed=1), "train") == numbers(make(seed=1), "train")
    assert numbers(make(seed=1), "train") != numbers(make(seed=2), "train")


def test_limit_is_stratified():
    data = make(limit=30)
    assert sum(map(len, data.splits.values())) == 30
    assert data.splits["train"].labels.bincount().tolist() == [5, 5, 5]
    assert len(make(limit=60).splits["train"]) == 30


def test_images_are_normalised_with_the_train_sets_own_moments():
    images = torch.randint(0, 256, (400, 3, 5, 5), dtype=torch.uint8)
    data = make(TensorDataset(images, torch.arange(400) % 2), arch_fraction=0.0)
    x = torch.cat([x for x, _ in data.splits["train"].batches(batch_size=64, epoch=0, train=False)])
    assert x.dtype == torch.float32
    torch.testing.assert_close(x.mean((0, 2, 3)), torch.zeros(3), atol=1e-5, rtol=0)
    torch.testing.assert_close(x.std((0, 2, 3), correction=0), torch.ones(3), atol=1e-5, rtol=0)


def test_floating_point_images_are_not_changed():
    images = torch.randn(20, 1, 4, 4, dtype=torch.float64)
    data = make(TensorDataset(images, torch.arange(20) % 2), arch_fraction=0.0)
    x, _ = next(data.splits["train"].batches(batch_size=20, epoch=0, train=False))
    assert torch.equal(x, images.float())
    assert data.mean is None


def test_an_epoch_has_every_image_once_and_another_order_each_time():
    split = train_split()
    epochs = [torch.cat([x for x, _ in split.batches(batch_size=16, epoch=epoch)])[:, 0, 0, 0] for epoch in (0, 1)]
    assert not torch.equal(*epochs)
    assert torch.equal(epochs[0].sort().values, epochs[1].sort().values)
    assert len(epochs[0].unique()) == 60
    assert split.steps(16) == 4


def test_a_last_batch_of_one_image_is_left_out_of_training_only():
    split = train_split()
    assert split.steps(59) == 1
    assert [len(y) for _, y in split.batches(batch_size=59, epoch=0)] == [59]
    assert [len(y) for _, y in split.batches(batch_size=59, epoch=0, train=False)] == [60]


def test_more_steps_than_a_pass_begin_another_pass_in_another_order():
    split = train_split()
    x = torch.cat([x for x, _ in split.batches(batch_size=30, epoch=0, steps=5)])[:, 0, 0, 0]
    assert len(x) == 150
    assert len(x[:60].unique()) == len(x[60:120].unique()) == 60
    assert not torch.equal(x[:60], x[60:120])


@pytest.mark.parametrize("how", [{}, {"in_memory": "no"}, {"in_memory": "no", "workers": 2}])
def test_an_epoch_can_be_resumed_at_any_step(how):
    split = make(crop_padding=2, flip=True, **how).splits["arch"]
    whole = list(split.batches(batch_size=8, epoch=3, steps=7))
    for start in (0, 1, 5):
        rest = list(split.batches(batch_size=8, epoch=3, start=start, steps=7 - start))
        assert len(rest) == 7 - start
        for (x, y), (x2, y2) in zip(whole[start:], rest, strict=True):
            assert torch.equal(x, x2)
            assert torch.equal(y, y2)


@pytest.mark.parametrize("dataset", [numbered, Own])
def test_batches_are_the_same_in_memory_and_with_any_number_of_workers(dataset):
    read = [
        list(make(dataset(), crop_padding=1, flip=True, **how).splits["train"].batches(batch_size=8, epoch=1))
        for how in ({"in_memory": "no"}, {"in_memory": "no", "workers": 2}, {})
    ]
    for other in read[1:]:
        assert all(
            torch.equal(a, b) for one, two in zip(read[0], other, strict=True) for a, b in zip(one, two, strict=True)
        )


def test_an_epoch_can_be_abandoned_and_read_again():
    split = make(in_memory="no", workers=1).splits["train"]
    whole = [y for _, y in split.batches(batch_size=4, epoch=0)]
    unfinished = split.batches(batch_size=4, epoch=0)
    next(unfinished)
    assert all(
        torch.equal(a, b) for a, b in zip(whole, (y for _, y in split.batches(batch_size=4, epoch=0)), strict=True)
    )


def test_a_data_set_that_augments_by_itself_differs_in_each_epoch():
    split = make(Own()).splits["train"]
    values = [
        sorted(torch.cat([x for x, _ in split.batches(batch_size=8, epoch=e)])[:, 0, 0, 0].tolist()) for e in (0, 1)
    ]
    assert [int(value / 3) for value in values[0]] != values[0]
    assert values[0] != values[1]
    held = make(Own(), in_memory="yes").splits["train"]
    values = [
        sorted(torch.cat([x for x, _ in held.batches(batch_size=8, epoch=e)])[:, 0, 0, 0].tolist()) for e in (0, 1)
    ]
    assert values[0] == values[1]


def test_the_generators_of_the_user_are_unchanged():
    def states():
        return random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()

    before = states()
    for how in ({}, {"workers": 1}):
        list(make(Own(), crop_padding=1, flip=True, **how).splits["train"].batches(batch_size=8, epoch=0))
    assert states() == before


def test_crops_move_each_image_on_its_own_within_the_padding():
    images = torch.zeros(500, 1, 5, 5, dtype=torch.uint8)
    images[:, 0, 2, 2] = 255
    data = make(TensorDataset(images, torch.arange(500) % 2), arch_fraction=0.0, crop_padding=2)
    x = torch.cat([x for x, _ in data.splits["train"].batches(batch_size=100, epoch=0)])
    places = (x == x.max()).nonzero()[:, 2:]
    assert len(places) == 500
    assert {tuple(place) for place in places.tolist()} == {(y, x) for y in range(5) for x in range(5)}


def test_flips_mirror_half_of_the_images():
    images = torch.zeros(400, 1, 2, 3, dtype=torch.uint8)
    images[:, 0, :, 0] = 255
    data = make(TensorDataset(images, torch.arange(400) % 2), arch_fraction=0.0, flip=True)
    x = torch.cat([x for x, _ in data.splits["train"].batches(batch_size=100, epoch=0)])
    left, right = x[:, 0, :, 0] == x.max(), x[:, 0, :, 2] == x.max()
    assert torch.equal(left.all(1), ~right.any(1))
    assert 150 < int(left.all(1).sum()) < 250


def test_image_size_resizes_and_crops():
    data = make(TensorDataset(torch.zeros(8, 3, 10, 20, dtype=torch.uint8), torch.arange(8) % 2), image_size=6)
    assert (data.info.channels, data.info.height, data.info.width) == (3, 6, 6)


@pytest.mark.parametrize(("mode", "channels"), [("L", 1), ("RGB", 3), ("RGBA", 3), ("P", 3), ("1", 1)])
def test_pil_images_of_each_mode(mode, channels):
    dataset = [(Image.new(mode, (7, 5)), label % 2) for label in range(8)]
    info = make(dataset).info
    assert (info.channels, info.height, info.width, info.classes) == (channels, 5, 7, ("0", "1"))


def test_a_separate_validation_set_is_used_whole():
    data = make(from_torch(numbered(), validation=numbered(9)), validation_fraction=0.5)
    assert {name: len(split) for name, split in data.splits.items()} == {"train": 30, "arch": 30, "validation": 9}


def test_the_test_set_is_never_read():
    def never():
        raise AssertionError("read")

    make(DatasetBundle(numbered(), test=never))


def test_with_targets_only_a_sample_of_the_images_is_read_beforehand():
    class Counting(Own):
        read = 0
        targets = tuple(index % 2 for index in range(5000))

        def __getitem__(self, index):
            type(self).read += 1
            return super().__getitem__(index)

    make(Counting(5000))
    assert Counting.read < 1100
    make(Subset(Counting(5000), range(1000, 4000)))
    assert Counting.read < 2200


def test_targets_that_contradict_the_labels_are_refused():
    class Contradicting(Own):
        targets = tuple((index % 2) ^ (index == 39) for index in range(40))

    with pytest.raises(DataError, match="image 39 has label 1, but 'targets' says 0"):
        make(Contradicting())
    Contradicting.targets = tuple((index % 2) ^ (index == 1995) for index in range(2000))  # odd ones are not read
    data = make(Contradicting(2000), arch_fraction=0.0)
    with pytest.raises(DataError, match="1995 came with label 1 this time, but with 0 before"):
        list(data.splits["train"].batches(batch_size=64, epoch=0, train=False))


def test_the_description_identifies_the_data_set():
    described = make().describe()
    assert described["splits"] == {"train": 30, "arch": 30, "validation": 0}
    assert described == make().describe()
    other = numbered()
    other.tensors[0][5, 0, 0, 0] += 1
    assert make(other).describe()["fingerprint"] != described["fingerprint"]
    other = numbered()
    other.tensors[1][[0, 1]] = other.tensors[1][[1, 0]]
    assert make(other).describe()["fingerprint"] != described["fingerprint"]
    assert make(Own()).describe()["fingerprint"] == make(Own()).describe()["fingerprint"]


class Unindexed(IterableDataset):
    def __iter__(self):
        return iter(())


class Broken(Own):
    def __getitem__(self, index):
        if index == 3:
            raise OSError("broken\nfile")
        return super().__getitem__(index)


def pairs(*shapes, labels=(0, 1)):
    return [(torch.zeros(*shape), labels[number % len(labels)]) for number, shape in enumerate(shapes)]


SMALL = (1, 4, 4)


@pytest.mark.parametrize(
    ("dataset", "options", "message"),
    [
        (lambda: from_torch(Unindexed()), {}, "train data must be a map-style torch Dataset.*not Unindexed"),
        (lambda: from_torch(7), {}, "train data must be .*not int"),
        (list, {}, "the train set is empty"),
        (lambda: pairs(*[SMALL] * 6, labels=[0]), {}, "of one class only"),
        (lambda: pairs(*[SMALL] * 6, labels=[0, -1]), {}, "image 1 has label -1, but labels must be 0 to 0"),
        (lambda: from_torch(numbered(), classes=["a", "b"]), {}, "image 2 has label 2, but labels must be 0 to 1"),
        (lambda: pairs(SMALL, SMALL, (1, 4, 5), SMALL), {}, "image 2 .*it is 4x5 with 1 channel.*dataset.image_size"),
        (lambda: pairs(SMALL, (3, 4, 4)), {"image_size": 4}, "image 1 .*3 channels"),
        (lambda: pairs((4, 4)), {}, r"image 0 .* must be a tensor \(C, H, W\), not \(4, 4\)"),
        (lambda: [(np.zeros((4, 4, 1)), 0)], {}, "image 0 .*a tensor .* or a PIL image, not ndarray"),
        (lambda: [(torch.zeros(1, 4, 4, dtype=torch.int64), 0)], {}, "must be of uint8 or floating point"),
        (lambda: [(torch.full(SMALL, float("nan")), 0)], {}, "values that are not finite"),
        (lambda: [(torch.zeros(SMALL), 0.5)], {}, "image 0 cannot be used: its label is 0.5, a floating-point number"),
        (lambda: [torch.zeros(SMALL)], {}, "image 0 cannot be used: a sample must be a pair .* not Tensor"),
        (lambda: Broken(), {}, "image 3 cannot be used: OSError: broken file"),
        (lambda: Broken(), {"workers": 2}, "image 3 cannot be used: OSError: broken file"),
        (lambda: pairs(*[SMALL] * 7, labels=[0, 0, 0, 0, 0, 0, 1]), {}, "class '1' has only 1 of the images"),
        (lambda: numbered(), {"limit": 61}, "dataset.limit is 61, but the train set has only 60 images"),
        (lambda: from_torch(numbered(), validation=numbered(side=5)), {}, "validation set has images of 5x5"),
        (lambda: from_torch(numbered(), validation=numbered(9, 4)), {}, "validation set: image 3 has label 3"),
    ],
)
def test_unusable_data_are_refused_in_one_line(dataset, options, message):
    with pytest.raises(DataError, match=message) as info:
        make(dataset(), **options)
    assert "\n" not in str(info.value)


def test_parts_of_a_batch_are_those_of_the_whole_one():
    """Order and augmentation do not depend on the number of processes; a batch too small to divide is in all parts."""
    split = make(toy_images(23), crop_padding=1, flip=True, cutout=3, arch_fraction=0).splits["train"]
    assert len(split) == 23
    whole = [*split.batches(batch_size=10, epoch=1)]
    parts = [[*split.batches(batch_size=10, epoch=1, place=Rank(rank, 2))] for rank in range(2)]
    for (images, labels), *both in zip(whole[:2], *(each[:2] for each in parts), strict=True):
        assert torch.equal(torch.cat([part[0] for part in both]), images)
        assert torch.equal(torch.cat([part[1] for part in both]), labels)
        assert [(part.share, part.copies) for part in both] == [(0.5, 1)] * 2
    for part in (each[2] for each in parts):
        assert torch.equal(part[0], whole[2][0])
        assert (part.share, part.copies) == (0.5, 2)
    measured = [[*split.batches(batch_size=10, epoch=0, train=False, place=Rank(rank, 2))] for rank in range(2)]
    assert [[len(labels) for _, labels in each] for each in measured] == [[10, 3], [10]]
