"""Data sets by name and from a folder, read from files in their own formats."""

from __future__ import annotations

import gzip
import pickle
import struct
from pathlib import Path

import numpy as np
import pytest
import scipy.io
import torch
import torchvision
from PIL import Image

from nasreg.data import DatasetBundle, RunData
from nasreg.errors import DataError
from nasreg.registry import Registry
from nasreg.specs.base import parse

CPU = torch.device("cpu")
N = 40
DATASETS = Registry(entry_points=False)


def load(name: str, **options) -> tuple[DatasetBundle, RunData]:
    component = DATASETS.dataset(name).component
    config = parse(component.load_config(), options, "dataset").with_splits({"arch"}, "the test")
    bundle = component.load_factory()(config)
    return bundle, RunData(bundle, config, 0, CPU)


def pixels(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


def write_cifar(root: Path, monkeypatch, classes: int) -> None:
    cls = torchvision.datasets.CIFAR10 if classes == 10 else torchvision.datasets.CIFAR100
    folder = root / cls.base_folder
    folder.mkdir(parents=True)
    label_key = "labels" if classes == 10 else "fine_labels"
    for name, _ in cls.train_list + cls.test_list:
        labels = [number % classes for number in range(N if classes == 10 else 5 * classes)]
        (folder / name).write_bytes(pickle.dumps({"data": pixels(len(labels), 3072), label_key: labels}))
    names = [f"class{number}" for number in range(classes)]
    (folder / cls.meta["filename"]).write_bytes(pickle.dumps({cls.meta["key"]: names}))
    monkeypatch.setattr(cls, "train_list", [[name, None] for name, _ in cls.train_list])
    monkeypatch.setattr(cls, "test_list", [[name, None] for name, _ in cls.test_list])
    monkeypatch.setattr(cls, "meta", {**cls.meta, "md5": None})


def write_mnist(root: Path, monkeypatch, cls: type) -> None:
    del monkeypatch
    folder = root / cls.__name__ / "raw"
    folder.mkdir(parents=True)
    for half in ("train", "t10k"):
        images, labels = pixels(N, 28, 28), np.arange(N, dtype=np.uint8) % 10
        (folder / f"{half}-images-idx3-ubyte").write_bytes(struct.pack(">IIII", 2051, N, 28, 28) + images.tobytes())
        (folder / f"{half}-labels-idx1-ubyte").write_bytes(struct.pack(">II", 2049, N) + labels.tobytes())


def write_svhn(root: Path, monkeypatch) -> None:
    root.mkdir(exist_ok=True)
    for half in ("train", "test"):
        labels = np.arange(N)[:, None] % 10 + 1  # in its files a zero is a ten
        scipy.io.savemat(root / f"{half}_32x32.mat", {"X": pixels(32, 32, 3, N), "y": labels})
    splits = {name: [*entry[:2], None] for name, entry in torchvision.datasets.SVHN.split_list.items()}
    monkeypatch.setattr(torchvision.datasets.SVHN, "split_list", splits)


def write_stl10(root: Path, monkeypatch) -> None:
    cls = torchvision.datasets.STL10
    folder = root / cls.base_folder
    folder.mkdir(parents=True)
    for half in ("train", "test"):
        (folder / f"{half}_X.bin").write_bytes(pixels(N, 3, 96, 96).tobytes())
        (folder / f"{half}_y.bin").write_bytes((np.arange(N, dtype=np.uint8) % 10 + 1).tobytes())
    (folder / "unlabeled_X.bin").write_bytes(b"")
    (folder / "fold_indices.txt").write_text("0\n")
    (folder / "class_names.txt").write_text("\n".join(f"class{number}" for number in range(10)))
    for attribute in ("train_list", "test_list"):
        monkeypatch.setattr(cls, attribute, [[name, None] for name, _ in getattr(cls, attribute)])


WRITERS = {
    "cifar10": lambda root, patch: write_cifar(root, patch, 10),
    "cifar100": lambda root, patch: write_cifar(root, patch, 100),
    "mnist": lambda root, patch: write_mnist(root, patch, torchvision.datasets.MNIST),
    "fashion-mnist": lambda root, patch: write_mnist(root, patch, torchvision.datasets.FashionMNIST),
    "svhn": write_svhn,
    "stl10": write_stl10,
}
SHAPES = {"mnist": (1, 28, 28), "fashion-mnist": (1, 28, 28), "stl10": (3, 96, 96)}
TORCHVISION = [name for name in DATASETS.datasets() if name not in ("digits", "folder")]


@pytest.mark.parametrize("download", [True, False])
@pytest.mark.parametrize("name", TORCHVISION)
def test_torchvision_sets_are_read_from_their_files(tmp_path, monkeypatch, name, download):
    WRITERS[name](tmp_path, monkeypatch)  # what is there already is not downloaded
    bundle, data = load(name, root=str(tmp_path), download=download)
    shape = data.info.channels, data.info.height, data.info.width
    assert shape == SHAPES.get(name, (3, 32, 32))
    assert data.info.n_classes == (100 if name == "cifar100" else 10)
    train = {"cifar10": 5 * N, "cifar100": 500}.get(name, N)
    assert len(data.splits["train"]) == len(data.splits["arch"]) == train // 2
    assert len(bundle.test()) == (500 if name == "cifar100" else N)
    x, y = next(data.splits["train"].batches(batch_size=8, epoch=0))
    assert x.shape == (8, *shape)
    assert len(y) == 8


@pytest.mark.parametrize("name", TORCHVISION)
def test_torchvision_sets_that_are_missing(tmp_path, name):
    with pytest.raises(DataError, match=r"cannot read \w+ in .*dataset.root") as info:
        load(name, root=str(tmp_path), download=False)
    assert "\n" not in str(info.value)


def test_a_failed_download(tmp_path, monkeypatch):
    # Nobody listens on port 9 of this machine: a real connection that is refused.
    monkeypatch.setattr(torchvision.datasets.CIFAR10, "url", "http://127.0.0.1:9/cifar.tar.gz")
    with pytest.raises(DataError, match=r"cannot get CIFAR10 into .*refused.*dataset.root=FOLDER"):
        load("cifar10", root=str(tmp_path))


def test_damaged_files_are_refused(tmp_path, monkeypatch):
    write_mnist(tmp_path, monkeypatch, torchvision.datasets.MNIST)
    (tmp_path / "MNIST/raw/train-images-idx3-ubyte").write_bytes(gzip.compress(b"half a file"))
    with pytest.raises(DataError, match="cannot get MNIST into"):
        load("mnist", root=str(tmp_path))


def test_digits():
    bundle, data = load("digits", validation_fraction=0.2)
    assert (data.info.channels, data.info.height, data.info.width) == (1, 8, 8)
    assert data.info.classes == tuple("0123456789")
    assert sum(map(len, data.splits.values())) + len(bundle.test()) == 1797
    assert len(bundle.test()) == 360
    images = bundle.train.tensors[0]
    assert (images.dtype, int(images.min()), int(images.max())) == (torch.uint8, 0, 255)
    train = {image.numpy().tobytes() for image in images}
    assert not train & {image.numpy().tobytes() for image, _ in bundle.test()}


def write_folder(root: Path, classes=("cat", "dog"), n: int = 6, size=(5, 4), mode: str = "RGB") -> Path:
    for number, name in enumerate(classes):
        (root / name).mkdir(parents=True)
        for index in range(n):
            Image.new(mode, size, 40 * number + index).save(root / name / f"{index}.png")
    return root


def test_folder_of_classes(tmp_path):
    _, data = load("folder", path=str(write_folder(tmp_path)))
    assert data.info.classes == ("cat", "dog")
    assert (data.info.channels, data.info.height, data.info.width) == (3, 4, 5)
    assert load("folder", path=str(tmp_path), grayscale=True)[1].info.channels == 1


@pytest.mark.parametrize("name", ["val", "valid", "validation"])
def test_folder_with_splits(tmp_path, name):
    write_folder(tmp_path / "train", ("bird", "cat", "dog"))
    write_folder(tmp_path / name, ("cat", "dog"), n=2)  # labels are those of train
    write_folder(tmp_path / "test", ("dog",), n=3)
    (tmp_path / "train/.cache").mkdir()
    bundle, data = load("folder", path=str(tmp_path), validation_fraction=0.3)
    assert data.info.classes == ("bird", "cat", "dog")
    assert {name: len(split) for name, split in data.splits.items()} == {"train": 9, "arch": 9, "validation": 4}
    assert data.splits["validation"].labels.tolist() == [1, 1, 2, 2]
    assert [label for _, label in bundle.test()] == [2, 2, 2]


def test_folder_is_the_same_in_memory_and_from_disk(tmp_path):
    write_folder(tmp_path)
    read = [
        list(
            load("folder", path=str(tmp_path), crop_padding=1, **how)[1].splits["train"].batches(batch_size=2, epoch=0)
        )
        for how in ({"in_memory": "no"}, {"in_memory": "no", "workers": 1}, {"in_memory": "yes"})
    ]
    for other in read[1:]:
        assert all(torch.equal(a, b) for (a, _), (b, _) in zip(read[0], other, strict=True))


def empty(root: Path) -> None:
    root.mkdir(exist_ok=True)


def without_images(root: Path) -> None:
    write_folder(root)
    (root / "fish").mkdir()


def unreadable(root: Path) -> None:
    write_folder(root)
    (root / "cat/3.png").write_bytes(b"not a picture")


def mixed(root: Path) -> None:
    write_folder(root)
    Image.new("RGB", (9, 9)).save(root / "dog/2.png")


def sixteen_bits(root: Path) -> None:
    write_folder(root)
    Image.fromarray(np.full((4, 5), 3000, dtype=np.uint16)).save(root / "cat/0.png")


def without_train(root: Path) -> None:
    write_folder(root / "test")


def another_class(root: Path) -> None:
    write_folder(root / "train")
    write_folder(root / "val", ("cat", "cow"))


def two_validations(root: Path) -> None:
    for name in ("train", "val", "valid"):
        write_folder(root / name)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda root: root.rmdir(), "there is no folder"),
        (empty, "has no subfolders"),
        (without_images, "no valid file for the classes fish"),
        (unreadable, r"image 3 \(.*cat.3.png\) cannot be used: UnidentifiedImageError"),
        (mixed, r"image 8 \(.*dog.2.png\) .* it is 9x9 .*dataset.image_size=32"),
        (sixteen_bits, r"image 0 \(.*more than 8 bits a channel"),
        (without_train, "subfolder 'test' but none called 'train'"),
        (another_class, "class 'cow' that the train folder lacks"),
        (two_validations, "two validation sets"),
        (lambda root: write_folder(root, ("cat",)), r"one class only \('cat'\)"),
        (lambda root: write_folder(root, n=1), "too few to be in every split"),
    ],
)
def test_unusable_folders_are_refused_in_one_line(tmp_path, make, message):
    make(tmp_path)
    with pytest.raises(DataError, match=message) as info:
        load("folder", path=str(tmp_path))
    assert "\n" not in str(info.value)


def test_image_size_makes_mixed_sizes_usable(tmp_path):
    mixed(tmp_path)
    assert load("folder", path=str(tmp_path), image_size=4)[1].info.height == 4
