"""``digits``: the handwritten digits that come with scikit-learn (Alpaydin and Kaynak, UCI repository, 1998)."""

from __future__ import annotations

import torch
from torch.utils.data import TensorDataset

from nasreg.data.bundle import DatasetBundle
from nasreg.data.config import DigitsConfig
from nasreg.errors import ConfigError


def load(config: DigitsConfig) -> DatasetBundle:
    """Return the 1,797 images ``(1, 8, 8)``; the same fifth of each digit is always the test set.

    Raises:
        ConfigError: scikit-learn is not installed.
    """
    del config  # its options are common to all data sets
    try:
        from sklearn.datasets import load_digits
        from sklearn.model_selection import train_test_split
    except ImportError as error:
        raise ConfigError("the data set 'digits' needs a package: pip install \"nasreg[digits]\"") from error
    digits = load_digits()
    pixels = torch.from_numpy(digits.images) * (255 / 16)  # they are counts from 0 to 16
    images = pixels.round().to(torch.uint8).unsqueeze(1)
    labels = torch.from_numpy(digits.target)
    train, test = train_test_split(range(len(labels)), test_size=0.2, random_state=0, stratify=digits.target)

    def part(indices: list[int]) -> TensorDataset:
        return TensorDataset(images[indices], labels[indices])

    return DatasetBundle(part(train), test=lambda: part(test), classes=tuple(map(str, digits.target_names)), raw=True)
