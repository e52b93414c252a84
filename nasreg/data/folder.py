"""``folder:PATH``: images in one folder for each class, as torchvision's ImageFolder has them."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from PIL import Image
from torchvision.datasets import ImageFolder

from nasreg.data.bundle import DatasetBundle
from nasreg.data.config import FolderConfig
from nasreg.errors import DataError

VALIDATION_NAMES = ("val", "valid", "validation")


class _ClassFolders(ImageFolder):  # type: ignore[misc]  # torchvision has no types
    """Images by class; hidden folders are none, and labels can be those of another folder."""

    def __init__(self, root: Path, *, grayscale: bool, labels: dict[str, int] | None = None) -> None:
        self._labels = labels
        super().__init__(
            str(root), loader=partial(_read, mode="L" if grayscale else "RGB"), allow_empty=labels is not None
        )

    def find_classes(self, directory: str) -> tuple[list[str], dict[str, int]]:
        found = sorted(path.name for path in Path(directory).iterdir() if path.is_dir() and path.name[0] != ".")
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
        DataError: It does not exist or has another layout.
    """
    path = Path(config.path).expanduser()
    if not path.is_dir():
        raise DataError(f"there is no folder {path}")
    if not (path / "train").is_dir():
        split = [name for name in (*VALIDATION_NAMES, "test") if (path / name).is_dir()]
        if split:
            raise DataError(f"folder {path} has a subfolder {split[0]!r} but none called 'train'")
        train = _open(path, config)
        return DatasetBundle(train, classes=tuple(train.classes), raw=True)
    train = _open(path / "train", config)
    validation = [path / name for name in VALIDATION_NAMES if (path / name).is_dir()]
    if len(validation) > 1:
        raise DataError(f"folder {path} has two validation sets: {validation[0].name} and {validation[1].name}")
    return DatasetBundle(
        train,
        validation=_open(validation[0], config, train.class_to_idx) if validation else None,
        test=partial(_open, path / "test", config, train.class_to_idx) if (path / "test").is_dir() else None,
        classes=tuple(train.classes),
        raw=True,
    )


def _open(path: Path, config: FolderConfig, labels: dict[str, int] | None = None) -> _ClassFolders:
    try:
        return _ClassFolders(path, grayscale=config.grayscale, labels=labels)
    except OSError as error:
        raise DataError(f"cannot read folder {path}: {error}") from error
