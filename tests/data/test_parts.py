"""Split, batches and augmentation, whatever the data come from."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from torch.utils.data import Dataset, IterableDataset, Subset, TensorDataset

from nasreg.data import DatasetConfig, LoadedDataset, SearchData, from_torch
from nasreg.errors import DataError

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


def make(dataset=None, seed: int = 0, **options) -> SearchData:
    dataset = numbered() if dataset is None else dataset
    loaded = dataset if isinstance(dataset, LoadedDataset) else from_torch(dataset)
    return SearchData(loaded, DatasetConfig(**options), seed, CPU)


def numbers(data: SearchData, part: str) -> list[int]:
    """Which images of ``numbered`` a part has."""
    batches = data.parts[part].batches(batch_size=7, epoch=0, train=False)
    return [round(float((image[0, 0, 0] * data.std[0] + data.mean[0]) * 255)) for x, _ in batches for image in x]


def test_parts_share_no_image_and_have_the_same_share_of_each_class():
    data = make(validation_fraction=0.2, alpha_fraction=0.25)
    parts = {name: numbers(data, name) for name in data.parts}
    assert [len(parts[name]) for name in ("validation", "alphas", "weights")] == [12, 12, 36]
    assert sorted(number for part in parts.values() for number in part) == list(range(60))
    for name, size in (("validation", 4), ("alphas", 4), ("weights", 12)):
        assert data.parts[name].labels.bincount().tolist() == [size] * 3


@given(
    st.lists(st.integers(0, 4), min_size=12, max_size=60),
    st.sampled_from([0.0, 0.1, 0.5, 0.9]),
    st.sampled_from([0.0, 0.25, 0.5]),
    st.integers(0, 3),
)
def test_any_split_is_a_partition_in_which_every_class_is_everywhere(labels, validation, alpha, seed):
    images = torch.arange(len(labels), dtype=torch.uint8)[:, None, None, None].expand(-1, 1, 2, 2)
    dataset = TensorDataset(images, torch.tensor(labels))
    try:
        data = make(dataset, seed, validation_fraction=validation, alpha_fraction=alpha)
    except DataError as error:
        assert min(labels.count(label) for label in set(labels)) < 3 or len(set(labels)) == 1, error
        return
    parts = [part for part in data.parts.values() if len(part)]
    assert sum(map(len, parts)) == len(labels)
    for part in parts:
        assert set(part.labels.tolist()) == set(labels)


def test_the_seed_decides_the_split():
    assert numbers(make(seed=1), "weights") == numbers(make(seed=1), "weights")
    assert numbers(make(seed=1), "weights") != numbers(make(seed=2), "weights")


def test_limit_is_stratified():
    data = make(limit=30)
    assert sum(map(len, data.parts.values())) == 30
    assert data.parts["weights"].labels.bincount().tolist() == [5, 5, 5]
    assert len(make(limit=60).parts["weights"]) == 30


def test_images_are_normalised_with_the_train_sets_own_moments():
    images = torch.randint(0, 256, (400, 3, 5, 5), dtype=torch.uint8)
    data = make(TensorDataset(images, torch.arange(400) % 2), alpha_fraction=0.0)
    x = torch.cat([x for x, _ in data.parts["weights"].batches(batch_size=64, epoch=0, train=False)])
    assert x.dtype == torch.float32
    torch.testing.assert_close(x.mean((0, 2, 3)), torch.zeros(3), atol=1e-5, rtol=0)
    torch.testing.assert_close(x.std((0, 2, 3), correction=0), torch.ones(3), atol=1e-5, rtol=0)


def test_floats_are_taken_as_they_are():
    images = torch.randn(20, 1, 4, 4, dtype=torch.float64)
    data = make(TensorDataset(images, torch.arange(20) % 2), alpha_fraction=0.0)
    x, _ = next(data.parts["weights"].batches(batch_size=20, epoch=0, train=False))
    assert torch.equal(x, images.float())
    assert data.mean is None


def test_an_epoch_has_every_image_once_and_another_order_each_time():
    part = make(alpha_fraction=0.0).parts["weights"]
    epochs = [torch.cat([x for x, _ in part.batches(batch_size=16, epoch=epoch)])[:, 0, 0, 0] for epoch in (0, 1)]
    assert not torch.equal(*epochs)
    assert torch.equal(epochs[0].sort().values, epochs[1].sort().values)
    assert len(epochs[0].unique()) == 60
    assert part.steps(16) == 4


def test_a_last_batch_of_one_image_is_left_out_of_training_only():
    part = make(alpha_fraction=0.0).parts["weights"]
    assert part.steps(59) == 1
    assert [len(y) for _, y in part.batches(batch_size=59, epoch=0)] == [59]
    assert [len(y) for _, y in part.batches(batch_size=59, epoch=0, train=False)] == [59, 1]


def test_more_steps_than_a_pass_go_round_in_a_new_order():
    part = make(alpha_fraction=0.0).parts["weights"]
    x = torch.cat([x for x, _ in part.batches(batch_size=30, epoch=0, steps=5)])[:, 0, 0, 0]
    assert len(x) == 150
    assert len(x[:60].unique()) == len(x[60:120].unique()) == 60
    assert not torch.equal(x[:60], x[60:120])


@pytest.mark.parametrize("how", [{}, {"in_memory": "no"}, {"in_memory": "no", "workers": 2}])
def test_any_position_can_be_gone_on_from(how):
    part = make(crop_padding=2, flip=True, **how).parts["alphas"]
    whole = list(part.batches(batch_size=8, epoch=3, steps=7))
    for start in (0, 1, 5):
        rest = list(part.batches(batch_size=8, epoch=3, start=start, steps=7 - start))
        assert len(rest) == 7 - start
        for (x, y), (x2, y2) in zip(whole[start:], rest, strict=True):
            assert torch.equal(x, x2)
            assert torch.equal(y, y2)


@pytest.mark.parametrize("dataset", [numbered, Own])
def test_batches_do_not_depend_on_who_reads_them(dataset):
    read = [
        list(make(dataset(), crop_padding=1, flip=True, **how).parts["weights"].batches(batch_size=8, epoch=1))
        for how in ({"in_memory": "no"}, {"in_memory": "no", "workers": 2}, {})
    ]
    for other in read[1:]:
        assert all(
            torch.equal(a, b) for one, two in zip(read[0], other, strict=True) for a, b in zip(one, two, strict=True)
        )


def test_loaders_can_be_left_in_the_middle_and_used_again():
    part = make(in_memory="no", workers=1).parts["weights"]
    whole = [y for _, y in part.batches(batch_size=4, epoch=0)]
    unfinished = part.batches(batch_size=4, epoch=0)
    next(unfinished)
    assert all(
        torch.equal(a, b) for a, b in zip(whole, (y for _, y in part.batches(batch_size=4, epoch=0)), strict=True)
    )


def test_a_data_set_that_augments_by_itself_does_so_anew_each_epoch():
    part = make(Own()).parts["weights"]
    values = [
        sorted(torch.cat([x for x, _ in part.batches(batch_size=8, epoch=e)])[:, 0, 0, 0].tolist()) for e in (0, 1)
    ]
    assert [int(value / 3) for value in values[0]] != values[0]
    assert values[0] != values[1]
    held = make(Own(), in_memory="yes").parts["weights"]
    values = [
        sorted(torch.cat([x for x, _ in held.batches(batch_size=8, epoch=e)])[:, 0, 0, 0].tolist()) for e in (0, 1)
    ]
    assert values[0] == values[1]


def test_the_users_generators_are_left_alone():
    def states():
        return random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()

    before = states()
    for how in ({}, {"workers": 1}):
        list(make(Own(), crop_padding=1, flip=True, **how).parts["weights"].batches(batch_size=8, epoch=0))
    assert states() == before


def test_crops_move_each_image_on_its_own_within_the_padding():
    images = torch.zeros(200, 1, 5, 5, dtype=torch.uint8)
    images[:, 0, 2, 2] = 255
    data = make(TensorDataset(images, torch.arange(200) % 2), alpha_fraction=0.0, crop_padding=2)
    x = torch.cat([x for x, _ in data.parts["weights"].batches(batch_size=100, epoch=0)])
    places = (x == x.max()).nonzero()[:, 2:]
    assert len(places) == 200
    assert {tuple(place) for place in places.tolist()} == {(y, x) for y in range(5) for x in range(5)}


def test_flips_mirror_half_of_the_images():
    images = torch.zeros(400, 1, 2, 3, dtype=torch.uint8)
    images[:, 0, :, 0] = 255
    data = make(TensorDataset(images, torch.arange(400) % 2), alpha_fraction=0.0, flip=True)
    x = torch.cat([x for x, _ in data.parts["weights"].batches(batch_size=100, epoch=0)])
    left, right = x[:, 0, :, 0] == x.max(), x[:, 0, :, 2] == x.max()
    assert torch.equal(left.all(1), ~right.any(1))
    assert 150 < int(left.all(1).sum()) < 250


def test_image_size_resizes_and_crops():
    data = make(TensorDataset(torch.zeros(8, 3, 10, 20, dtype=torch.uint8), torch.arange(8) % 2), image_size=6)
    assert (data.info.channels, data.info.height, data.info.width) == (3, 6, 6)


@pytest.mark.parametrize(("mode", "channels"), [("L", 1), ("RGB", 3), ("RGBA", 3), ("P", 3), ("1", 1)])
def test_pictures_of_any_mode(mode, channels):
    dataset = [(Image.new(mode, (7, 5)), label % 2) for label in range(8)]
    info = make(dataset).info
    assert (info.channels, info.height, info.width, info.classes) == (channels, 5, 7, ("0", "1"))


def test_own_validation_set_is_used_whole():
    data = SearchData(from_torch(numbered(), validation=numbered(9)), DatasetConfig(validation_fraction=0.5), 0, CPU)
    assert {name: len(part) for name, part in data.parts.items()} == {"weights": 30, "alphas": 30, "validation": 9}


def test_the_test_set_is_never_read():
    def never():
        raise AssertionError("read")

    make(LoadedDataset(numbered(), test=never))


def test_targets_save_reading_everything():
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


def test_targets_that_lie_are_found_out():
    class Lying(Own):
        targets = tuple((index % 2) ^ (index == 39) for index in range(40))

    with pytest.raises(DataError, match="image 39 has label 1, but 'targets' says 0"):
        make(Lying())
    Lying.targets = tuple((index % 2) ^ (index == 4001) for index in range(6000))  # not among those looked at
    data = make(Lying(6000), alpha_fraction=0.0)
    with pytest.raises(DataError, match="4001 came with label 1 this time"):
        list(data.parts["weights"].batches(batch_size=64, epoch=0))


def test_describe_tells_one_data_set_from_another():
    described = make().describe()
    assert described["parts"] == {"weights": 30, "alphas": 30, "validation": 0}
    assert described == make().describe()
    other = numbered()
    other.tensors[0][5, 0, 0, 0] += 1
    assert make(other).describe()["fingerprint"] != described["fingerprint"]
    other = numbered()
    other.tensors[1][[0, 1]] = other.tensors[1][[1, 0]]
    assert make(other).describe()["fingerprint"] != described["fingerprint"]
    assert make(Own()).describe()["fingerprint"] == make(Own()).describe()["fingerprint"]


class Stream(IterableDataset):
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
    ("dataset", "options", "says"),
    [
        (lambda: from_torch(Stream()), {}, "train data must be a map-style torch Dataset.*not Stream"),
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
        (lambda: [(torch.zeros(SMALL), 0.5)], {}, "image 0 cannot be used: TypeError"),
        (lambda: [torch.zeros(SMALL)], {}, "image 0 cannot be used: ValueError"),
        (lambda: Broken(), {}, "image 3 cannot be used: OSError: broken file"),
        (lambda: Broken(), {"workers": 2}, "image 3 cannot be used: OSError: broken file"),
        (lambda: pairs(*[SMALL] * 7, labels=[0, 0, 0, 0, 0, 0, 1]), {}, "class '1' has only 1 of the images"),
        (lambda: numbered(), {"limit": 61}, "dataset.limit is 61, but the train set has only 60 images"),
        (lambda: from_torch(numbered(), validation=numbered(side=5)), {}, "validation set has images of 5x5"),
        (lambda: from_torch(numbered(), validation=numbered(9, 4)), {}, "validation set: image 3 has label 3"),
    ],
)
def test_what_cannot_be_used_is_told_in_one_line(dataset, options, says):
    with pytest.raises(DataError, match=says) as info:
        make(dataset(), **options)
    assert "\n" not in str(info.value)
