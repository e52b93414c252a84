"""Samples, labels, shapes and values that are not what they seem: named in one line, with the way to mend them."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

import nasreg
import tiny
from nasreg.config.lookup import dataset_from_object
from nasreg.data import DatasetConfig, RunData, from_torch
from nasreg.errors import DataError
from nasreg.events import Notice

CPU = torch.device("cpu")
GREY = (1, 6, 6)


def make(data, **options) -> RunData:
    """Return data as a run takes them from Python."""
    config = DatasetConfig(**options)
    return RunData(dataset_from_object(data).load(config), config, 0, CPU)


def refused(data, **options) -> str:
    """Return why data are refused, in one line."""
    with pytest.raises(DataError) as info:
        make(data, **options)
    assert "\n" not in str(info.value)
    return str(info.value)


def images(*shape: int, n: int = 12, dtype=torch.uint8) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (n, *shape), generator=generator).to(dtype)


def labelled(labels) -> TensorDataset:
    return TensorDataset(images(*GREY, n=len(labels)), torch.as_tensor(labels))


# autokeras#56
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
@pytest.mark.parametrize("shape", [(32, 32, 3), (28, 28, 1), (20, 24, 3), (9, 8, 4), (16, 16, 2), (16, 16, 13)])
def test_a_shape_that_looks_like_height_width_channels_is_asked_about(shape, dtype):
    data = TensorDataset(images(*shape, dtype=dtype), torch.arange(12) % 2)
    assert f"image 0 cannot be used: its shape {shape} looks like height, width, channels" in refused(data)
    height, width, channels = shape
    info = make(data, layout="hwc").info
    assert (info.channels, info.height, info.width) == (channels, height, width)
    info = make(data, layout="chw").info
    assert (info.channels, info.height, info.width) == shape


@pytest.mark.parametrize("shape", [(3, 32, 32), (1, 5, 3), (3, 6, 3), (4, 4, 4), (13, 16, 16), (64, 8, 8), (2, 9, 4)])
def test_other_shapes_are_channels_height_width(shape):
    info = make(TensorDataset(images(*shape), torch.arange(12) % 2)).info
    assert (info.channels, info.height, info.width) == shape


# pytorch_geometric#441
@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([1, 2], "no image of the train set has label 0: it has 2 of 3 classes; labels are numbers from 0 to 2"),
        ([0, 7], "no image of the train set has label 1, 2, 3, 4, 5, ...: it has 2 of 8 classes"),
        ([0, 1, 3], "no image of the train set has label 2: it has 3 of 4 classes"),
    ],
)
def test_labels_without_an_image_are_named(labels, message):
    [notice] = make(labelled(labels * 4)).notices
    assert notice.startswith(message)
    assert make(labelled([0, 1, 2] * 4)).notices == []


def test_named_classes_without_an_image_are_named():
    [notice] = make(from_torch(labelled([0, 1] * 4), classes=["cat", "dog", "cow"])).notices
    assert notice.startswith("no image of the train set has label 2 (cow): it has 2 of 3 classes")


@pytest.mark.parametrize("largest", [1000, 10**6, 2 * 10**9, 2**40])
def test_labels_that_number_no_classes_are_refused(largest):
    message = refused(labelled([0, largest] * 4))
    assert message.startswith(f"the train set has 2 different labels, but they go up to {largest:,}")
    assert "torch.unique(labels, return_inverse=True)[1]" in message
    assert "number the classes from 0" in refused([(image, 2**70) for image in images(*GREY)])


@pytest.mark.parametrize(
    ("label", "message"),
    [
        (torch.tensor([0, 1, 0]), "its label is one-hot (3 numbers): give the number of the class, such as 1"),
        (np.array([0.0, 0.0, 1.0]), "its label is one-hot (3 numbers): give the number of the class, such as 2"),
        ([1, 0], "its label is one-hot (2 numbers)"),
        (torch.tensor([0.2, 0.8]), "its label is a list of 2 numbers: give one whole number"),
        (torch.tensor([1, 1, 0]), "its label is a list of 3 numbers"),
        (1.0, "its label is 1, a floating-point number: give a whole one"),
        (torch.tensor(0.5), "its label is 0.5, a floating-point number"),
        (torch.tensor([1.0]), "its label is 1, a floating-point number"),
        (np.float32(2), "its label is 2, a floating-point number"),
        ("cat", "its label is the text 'cat': number the classes from 0, and name them with classes="),
        (None, "its label is NoneType: give a whole number"),
    ],
)
def test_labels_of_another_kind_say_how_to_convert_them(label, message):
    assert f"image 0 cannot be used: {message}" in refused([(image, label) for image in images(*GREY)])


def test_one_hot_targets_are_refused_as_the_labels_of_images_are():
    data = TensorDataset(images(*GREY), torch.eye(2)[torch.arange(12) % 2])
    data.targets = data.tensors[1]
    assert "its label is one-hot (2 numbers)" in refused(data)


@pytest.mark.parametrize("label", [1, True, np.int64(1), np.array([1]), torch.tensor(1), torch.tensor([1])])
def test_whole_numbers_of_any_kind_are_labels(label):
    data = make([(image, label if index % 2 else 0) for index, image in enumerate(images(*GREY))])
    assert sorted(data.splits["train"].labels.unique().tolist()) == [0, 1]


# pytorch_geometric#441
@pytest.mark.parametrize(
    ("scale", "words"),
    [(1.0, "values from 0 to 255"), (255.0, "values from 0 to 65025"), (-1.0, "values from -255 to 0")],
)
def test_floating_point_values_that_no_normalised_image_has_are_named(scale, words):
    pixels = images(*GREY).float() * scale
    pixels[0, 0, 0, :2] = torch.tensor([0.0, 255.0 * scale])
    [notice] = make(TensorDataset(pixels, torch.arange(12) % 2)).notices
    assert notice.startswith(f"the floating-point images of the train set have {words} and are used as they are")
    assert make(TensorDataset(pixels / (255 * abs(scale)), torch.arange(12) % 2)).notices == []


def test_images_without_content_are_named():
    rounded = (images(*GREY) / 256).to(torch.uint8)  # from 0 to 1 before
    [notice] = make(TensorDataset(rounded, torch.arange(12) % 2)).notices
    assert notice == "all pixels of the train set have the same value (0)"


def test_a_search_says_what_is_noticed_about_the_data():
    notices = []
    pixels = images(1, 8, 8, n=16).float()
    nasreg.search(
        tiny.Net(classes=3),
        TensorDataset(pixels, torch.arange(16) % 2 + 1),
        trainer={"epochs": 1, "batch_size": 4},
        callbacks=[lambda event: notices.append(event.message) if isinstance(event, Notice) else None],
    )
    assert [text.split(":")[0][:48] for text in notices if "train set" in text] == [
        "the floating-point images of the train set have ",
        "no image of the train set has label 0",
    ]


# lightly#1279
@pytest.mark.parametrize(
    ("sample", "message"),
    [
        ({"image": 0, "label": 1}, "a dictionary with the keys 'image', 'label'"),
        ({"image": 0, "label": 1}, "sample=lambda each: (each['image'], each['label'])"),
        ({"img": 0, "fine_label": 1, "y": 2}, "sample=lambda each: (each['img'], each['y'])"),
        ({"Image": 0, "what": 1}, "sample=lambda each: (each['Image'], each[KEY])"),
        ((0, 1, 2), "a tuple of 3 (int, int, int): adapt the data set with nasreg.data.from_torch(data, sample="),
        ([0], "a list of 1 (int)"),
        (SimpleNamespace(x=0), "not SimpleNamespace: adapt"),
        (7, "not int: adapt"),
    ],
)
def test_samples_of_another_form_say_how_to_adapt_them(sample, message):
    text = refused([sample] * 12)
    assert "image 0 cannot be used: a sample must be a pair (image, label), not " in text
    assert message in text


def test_a_function_adapts_samples():
    data = [{"image": image, "label": index % 2, "id": index} for index, image in enumerate(images(*GREY))]
    bundle = from_torch(data, data, data, sample=lambda each: (each["image"], each["label"]))
    found = RunData(bundle, DatasetConfig(), 0, CPU, test=True)
    assert {name: len(split) for name, split in found.splits.items()} == {
        "train": 12, "arch": 0, "validation": 12, "test": 12
    }  # fmt: skip


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.zeros((8, 8, 3)), "ndarray of shape (8, 8, 3): convert it, with torch.from_numpy(image).permute(2, 0, 1)"),
        (np.zeros((8, 8)), "ndarray of shape (8, 8): convert it, with torch.from_numpy(image)[None]"),
        (torch.zeros(8, 8), "not (8, 8): add the channels, with image[None]"),
        (torch.zeros(1, 1, 8, 8), "not (1, 1, 8, 8): take one image"),
        (torch.zeros(1, 8, 8, dtype=torch.int64), "not torch.int64: convert it, with image.to(torch.uint8)"),
        (3, "not int: give (image, label), not (label, image)"),
    ],
)
def test_images_of_another_form_say_how_to_convert_them(image, message):
    assert message in refused([(image, 0)] * 12)


X, Y = np.zeros((12, 1, 6, 6), np.float32), np.arange(12) % 2


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ((X, Y), "not a pair of array (12, 1, 6, 6) and array (12,): make one with torch.utils.data.TensorDataset("
         "torch.from_numpy(images), torch.from_numpy(labels))"),
        ((torch.from_numpy(X), torch.from_numpy(Y)), "TensorDataset(images, labels)"),
        ((torch.from_numpy(X), list(Y)), "TensorDataset(images, torch.tensor(labels))"),
        (((X, Y), (X, Y)), "train data must be a map-style torch Dataset .*not a tuple of 2: make a Dataset of it"),
        (X, "not an array (12, 1, 6, 6): make one of images and labels, with torch.utils.data.TensorDataset"),
        (torch.from_numpy(X), "not a tensor (12, 1, 6, 6): make one of images and labels"),
        ({"train": [], "test": []}, "not a dictionary with the keys 'train', 'test': give its parts"),
        (TensorDataset, "not the class TensorDataset: give an instance of it"),
        (DataLoader(TensorDataset(torch.from_numpy(X))), "not DataLoader: give its data set, loader.dataset"),
        ((1, 2), "train data must be .*not int"),
        ((), "a tuple of two or three Datasets, (train, test) or (train, validation, test), not of 0"),
        (([], [], [], []), "not of 4"),
    ],
)  # fmt: skip
def test_data_of_another_form_say_what_to_make_of_them(data, message):
    with pytest.raises(DataError) as info:
        nasreg.search(tiny.Net, data)
    for part in message.split(".*"):
        assert part in str(info.value)
    assert "\n" not in str(info.value)
