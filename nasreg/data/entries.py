"""The data sets that come with the core, as the registry gets them. Imports no torch."""

from __future__ import annotations

from nasreg.specs.entries import DatasetEntry


def _torchvision(name: str, kind: str, summary: str) -> DatasetEntry:
    return DatasetEntry(
        name=name,
        summary=summary,
        factory=f"nasreg.data.vision:{name.replace('-', '_')}",
        config=f"nasreg.data.config:{kind}Config",
    )


DATASETS = (
    DatasetEntry(
        name="digits",
        summary="1,797 handwritten digits of 8x8 pixels that come with scikit-learn: nothing to download",
        factory="nasreg.data.digits:load",
        config="nasreg.data.config:DigitsConfig",
        default_preset="demo",
    ),
    DatasetEntry(
        name="folder",
        summary="images of your own in one folder for each class (folder:PATH)",
        factory="nasreg.data.folder:load",
        config="nasreg.data.config:FolderConfig",
    ),
    _torchvision("cifar10", "Photo", "60,000 photographs of 32x32 pixels in 10 classes"),
    _torchvision("cifar100", "Photo", "60,000 photographs of 32x32 pixels in 100 classes"),
    _torchvision("svhn", "Glyph", "99,289 house numbers of 32x32 pixels in 10 classes"),
    _torchvision("mnist", "Glyph", "70,000 handwritten digits of 28x28 pixels"),
    _torchvision("fashion-mnist", "Glyph", "70,000 pieces of clothing of 28x28 pixels in 10 classes"),
    _torchvision("stl10", "Photo", "13,000 photographs of 96x96 pixels in 10 classes"),
)
