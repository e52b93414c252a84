"""``folder:PATH``: images in one folder for each class, as torchvision's ImageFolder has them."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from PIL import Image
from torchvision.datasets import ImageFolder
from torchvision.datasets.folder import IMG_EXTENSIONS

from nasreg.data.bundle import DatasetBundle
from nasreg.data.config import FolderConfig
from nasreg.errors import DataError

VALIDATION_NAMES = ("val", "valid", "validation")

SYSTEM_FOLDERS = ("__macosx", "@eadir", "$recycle.bin", "system volume information", "lost+found", "__pycache__")
"""Folders that operating systems, archives and servers put beside one's own."""

_SPLIT_NAMES = ("train", "training", "trainset", *VALIDATION_NAMES, "valset", "dev", "test", "testing", "testset")


def _is_own(name: str) -> bool:
    """Return whether a file or folder is the user's: not hidden, nor of the system."""
    return name[0] != "." and name.lower() not in SYSTEM_FOLDERS


def _is_image(path: str, root: Path) -> bool:
    parts = Path(path).relative_to(root).parts
    return all(map(_is_own, parts)) and path.lower().endswith(IMG_EXTENSIONS)


def _folders(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir() if path.is_dir() and _is_own(path.name))


class _ClassFolders(ImageFolder):  # type: ignore[misc]  # torchvision has no types
    """Images by class; hidden files and folders are none, and labels can be those of another folder."""

    def __init__(self, root: Path, *, grayscale: bool, labels: dict[str, int] | None = None) -> None:
        self._labels = labels
        super().__init__(
            str(root),
            loader=partial(_read, mode="L" if grayscale else "RGB"),
            is_valid_file=partial(_is_image, root=root),
            allow_empty=labels is not None,
        )

    def find_classes(self, directory: str) -> tuple[list[str], dict[str, int]]:
        found = _folders(Path(directory))
        if self._labels is None:
            if not found:
                raise DataError(
                    f"folder {directory} has no subfolders: put the images of each class into one of their own"
                )
            return found, {name: label for label, name in enumerate(found)}
        unknown = [name for name in found if name not in self._labels]
        if unknown:
            raise DataError(f"folder {directory} has a class {unknown[0]!r} that the train folder lacks")
        return list(self._labels), self._labels


def _read(path: str, mode: str) -> Image.Image:
    with Image.open(path) as image:
        if image.mode.startswith(("I", "F")):  # converting would clip nearly all of it to white
            raise ValueError(f"it has more than 8 bits a channel (mode {image.mode}): convert it to 8 bits")
        return image.convert(mode)


def load(config: FolderConfig) -> DatasetBundle:
    """Read the folder.

    Raises:
        DataError: It does not exist or has another layout, or an image has no group.
    """
    path = Path(config.path).expanduser()
    if not path.is_dir():
        raise DataError(f"there is no folder {path}")
    names = _subfolders(path)
    if "train" not in names:
        _check_no_split(path, names)
        train = _open(path, config)
        return DatasetBundle(train, classes=tuple(train.classes), raw=True, groups=_groups(config, train=train))
    train = _open(path / "train", config)
    validation = [path / name for name in VALIDATION_NAMES if name in names]
    if len(validation) > 1:
        raise DataError(f"folder {path} has two validation sets: {validation[0].name} and {validation[1].name}")
    own = _open(validation[0], config, train.class_to_idx) if validation else None
    test: Callable[[], _ClassFolders] | None = None
    if "test" in names:
        test = partial(_open, path / "test", config, train.class_to_idx)
    return DatasetBundle(
        train,
        validation=own,
        test=test,
        classes=tuple(train.classes),
        raw=True,
        groups=_groups(config, train=train, validation=own, test=test() if test and config.group_pattern else None),
    )


def _subfolders(path: Path) -> list[str]:
    try:
        return _folders(path)
    except OSError as error:
        raise DataError(f"cannot read folder {path}: {error}") from error


def _check_no_split(path: Path, names: Sequence[str]) -> None:
    """Refuse a folder of splits that are called otherwise: they are no classes."""
    split = [name for name in names if name in (*VALIDATION_NAMES, "test")]
    if split:
        raise DataError(f"folder {path} has a subfolder {split[0]!r} but none called 'train'")
    split = [name for name in names if name.lower() in _SPLIT_NAMES and _subfolders(path / name)]
    if split:
        raise DataError(
            f"folder {path} has a subfolder {split[0]!r} with subfolders of its own, which looks like a split: call the"
            " splits 'train', 'val' and 'test'"
        )


def _open(path: Path, config: FolderConfig, labels: dict[str, int] | None = None) -> _ClassFolders:
    try:
        return _ClassFolders(path, grayscale=config.grayscale, labels=labels)
    except OSError as error:
        raise DataError(f"cannot read folder {path}: {error}") from error


def _groups(config: FolderConfig, **parts: _ClassFolders | None) -> dict[str, list[str]] | None:
    """Return the group of each image, which the pattern finds in its path below the folder of its class."""
    if config.group_pattern is None:
        return None
    pattern = re.compile(config.group_pattern)
    found: dict[str, list[str]] = {}
    for name, part in parts.items():
        if part is None:
            continue
        found[name] = []
        for file, label in part.samples:
            place = Path(file).relative_to(Path(part.root) / part.classes[label]).as_posix()
            match = pattern.search(place)
            if match is None:
                raise DataError(f"dataset.group_pattern {config.group_pattern!r} finds no group in {place!r} ({file})")
            found[name].append(match[pattern.groups] or "")
    return found
