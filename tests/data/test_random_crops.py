"""Random crops of any size, changed colours, and the crop of the centre that accuracy is measured on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import TensorDataset
from torchvision import transforms

from nasreg.data import DatasetConfig, DataSplit, RunData, from_torch
from nasreg.errors import ConfigError, DataError
from nasreg.registry import Registry
from nasreg.specs.base import parse

CPU = torch.device("cpu")
FOLDER = Registry(entry_points=False).dataset("folder").component
CROPS = {"crop_scale": [0.08, 1.0]}
COLORS = {"color_jitter": [0.4, 0.4, 0.4, 0.2]}
PLAIN = {"crop_padding": 0, "flip": False, "arch_fraction": 0.0}
N = 8


@pytest.fixture(scope="module")
def photos(tmp_path_factory) -> Path:
    """Photographs of mixed size in a train and a test folder."""
    root = tmp_path_factory.mktemp("photos")
    random = np.random.default_rng(0)
    for split in ("train", "test"):
        for name in ("cat", "dog"):
            (root / split / name).mkdir(parents=True)
            for index in range(N):
                coarse = Image.fromarray(random.integers(0, 256, (4, 5, 3), dtype=np.uint8))
                size = tuple(random.integers(40, 90, 2).tolist())
                coarse.resize(size, Image.Resampling.BICUBIC).save(root / split / name / f"{index}.jpg", quality=95)
    return root


def load(path: Path, **options) -> RunData:
    config = parse(FOLDER.load_config(), {"path": str(path), "image_size": 24, **PLAIN, **options}, "dataset")
    return RunData(FOLDER.load_factory()(config), config, 0, CPU, test=True)


def held(images: Tensor, **options) -> RunData:
    dataset = TensorDataset(images, torch.arange(len(images)) % 2)
    return RunData(from_torch(dataset), DatasetConfig(arch_fraction=0.0, **options), 0, CPU)


def epoch(split: DataSplit, number: int = 0, **how) -> Tensor:
    return torch.cat([x for x, _ in split.batches(batch_size=4, epoch=number, **how)])


def as_set(images: Tensor) -> set[bytes]:
    return {image.numpy().tobytes() for image in images}


def as_pixels(data: RunData, images: Tensor) -> Tensor:
    """Undo the normalisation."""
    mean, std = (torch.tensor(moments)[:, None, None] for moments in (data.mean, data.std))
    return ((images * std + mean) * 255).round().to(torch.uint8)


@pytest.mark.parametrize("options", [CROPS, COLORS, CROPS | COLORS])
def test_training_images_depend_on_the_epoch_and_not_on_the_number_of_workers(photos, options):
    split = load(photos, **options).splits["train"]
    first, second = epoch(split, 0), epoch(split, 1)
    assert first.shape == second.shape == (2 * N, 3, 24, 24)
    assert len(as_set(first) | as_set(second)) == 4 * N
    read = load(photos, workers=2, **options).splits["train"]
    assert torch.equal(epoch(read, 0), first)
    assert torch.equal(epoch(read, 1), second)


@pytest.mark.parametrize("workers", [0, 2])
def test_an_epoch_can_be_resumed_at_any_step(photos, workers):
    split = load(photos, workers=workers, **CROPS, **COLORS).splits["train"]
    whole = list(split.batches(batch_size=4, epoch=2, steps=6))
    split = load(photos, **CROPS, **COLORS).splits["train"]
    rest = list(split.batches(batch_size=4, epoch=2, start=3, steps=3))
    for (x, y), (x2, y2) in zip(whole[3:], rest, strict=True):
        assert torch.equal(x, x2)
        assert torch.equal(y, y2)


def test_images_for_measuring_are_not_augmented(photos):
    plain = load(photos, validation_fraction=0.25)
    data = load(photos, validation_fraction=0.25, **CROPS, **COLORS)
    trained_on = epoch(data.splits["train"])
    for name in ("train", "validation", "test"):
        expected = epoch(plain.splits[name], train=False)
        assert torch.equal(epoch(data.splits[name], train=False), expected)
        assert not as_set(trained_on) & as_set(expected)
    assert plain.describe() == data.describe() | {"in_memory": True, "samples": {}}


def test_images_of_a_separate_validation_set_are_not_augmented(photos, tmp_path):
    for name, split in (("train", "train"), ("val", "test"), ("test", "test")):
        (tmp_path / name).symlink_to(photos / split)
    data = load(tmp_path, **CROPS, **COLORS)
    expected = epoch(load(photos).splits["test"], train=False)
    assert torch.equal(epoch(data.splits["validation"], train=False), expected)


def test_the_whole_of_a_square_image_is_the_image_resized():
    images = torch.randint(0, 256, (12, 3, 40, 40), dtype=torch.uint8)
    split = held(images, image_size=24, crop_scale=[1.0, 1.0]).splits["train"]
    assert as_set(epoch(split)) == as_set(epoch(split, train=False))


def test_crops_have_the_sizes_and_ratios_of_the_paper():
    # The colour of a pixel is where it was.
    rows, columns = (torch.arange(200, dtype=torch.uint8).expand(200, 200) for _ in range(2))
    image = torch.stack([rows.t(), columns])
    data = held(image.expand(400, -1, -1, -1), image_size=100, crop_scale=[0.25, 0.5])
    ends = as_pixels(data, epoch(data.splits["train"])).double().flatten(2)
    heights, widths = (ends.amax(2) - ends.amin(2) + 1).unbind(1)
    shares, ratios = heights * widths / 200**2, widths / heights
    for values, low, high in ((shares, 0.25, 0.5), (ratios, 3 / 4, 4 / 3)):
        assert float(values.min()) == pytest.approx(low, abs=0.03)
        assert float(values.max()) == pytest.approx(high, abs=0.05)


def test_crops_are_taken_from_the_whole_image():
    images = torch.full((40, 1, 20, 60), 255, dtype=torch.uint8)
    images[:, :, :, 20:40] = 0  # all that is left of it when the centre is cropped
    images[0] = 128
    data = held(images, image_size=10, **CROPS)
    white = as_pixels(data, epoch(data.splits["train"])).amax((1, 2, 3)) == 255
    assert int(white.sum()) > 20
    assert not (as_pixels(data, epoch(data.splits["train"], train=False)) == 255).any()


def test_images_need_no_size_where_all_have_the_same():
    images = torch.rand(12, 2, 10, 14)
    split = held(images, **CROPS).splits["train"]
    assert epoch(split).shape == (12, 2, 10, 14)
    assert torch.equal(epoch(split, train=False), images)
    assert not as_set(epoch(split)) & as_set(images)


def test_the_crop_of_the_centre_is_that_of_torchvision(photos):
    data = load(photos, center_fraction=0.75)
    expected = transforms.Compose([transforms.Resize(32), transforms.CenterCrop(24), transforms.PILToTensor()])
    files = [photos / "test" / name / f"{index}.jpg" for name in ("cat", "dog") for index in range(N)]
    found = as_pixels(data, epoch(data.splits["test"], train=False))
    for path, image in zip(files, found, strict=True):
        with Image.open(path) as file:
            assert (expected(file).int() - image.int()).abs().max() <= 1
    assert not torch.equal(as_pixels(data, epoch(load(photos).splits["test"], train=False)), found)


def test_colors_change_by_no_more_than_asked_for():
    images = torch.full((200, 3, 4, 4), 100, dtype=torch.uint8)
    images[0] = 0  # or there would be no deviation to normalise with
    data = held(images, color_jitter=[0.3, 0.0, 0.0, 0.0])
    values = as_pixels(data, epoch(data.splits["train"]))[:, 0, 0, 0]
    values = values[values > 0].double()
    assert 70 <= float(values.min()) < 75
    assert 125 < float(values.max()) <= 130
    unchanged = held(images, color_jitter=[0.0, 0.0, 0.0, 0.0]).splits["train"]
    assert as_set(epoch(unchanged)) == as_set(epoch(unchanged, train=False))


def test_gray_images_have_their_brightness_changed(photos):
    split = load(photos, grayscale=True, **COLORS).splits["train"]
    assert epoch(split).shape == (2 * N, 1, 24, 24)
    assert not as_set(epoch(split)) & as_set(epoch(split, train=False))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"crop_scale": [0.5, 0.1]}, r"dataset.crop_scale: .* is invalid: the smaller share comes first"),
        ({"crop_scale": [0.0, 1.0]}, r"dataset.crop_scale.0: 0.0 is invalid"),
        ({"color_jitter": [0.4, 0.4, 0.4, 0.6]}, r"dataset.color_jitter.3: 0.6 is invalid"),
        ({"center_fraction": 1.5}, r"dataset.center_fraction: 1.5 is invalid"),
        ({"in_memory": "yes", **CROPS}, r"dataset.in_memory: 'yes' .* with dataset.crop_scale images are read again"),
        (
            {"in_memory": "yes", **COLORS},
            r"dataset.in_memory: 'yes' .* with dataset.color_jitter images are read again",
        ),
    ],
)
def test_invalid_options_are_refused_in_one_line(photos, options, message):
    with pytest.raises(ConfigError, match=message) as info:
        load(photos, **options)
    assert "\n" not in str(info.value)


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (torch.rand(8, 3, 4, 4), "color_jitter is for images of 8 bits .* is 4x4 with 3 channels of float32: set it"),
        (torch.zeros(8, 2, 4, 4, dtype=torch.uint8), "color_jitter is for images .* is 4x4 with 2 channels: set it"),
    ],
)
def test_colour_changes_of_other_images_are_refused(images, message):
    with pytest.raises(DataError, match=message):
        held(images, **COLORS)
