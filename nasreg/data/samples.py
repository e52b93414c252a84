"""What a sample is: its image as a tensor, its label as a number; and what to do about samples of another form."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset, Subset
from torchvision.transforms.v2 import functional as TF

MAX_COLOURS = 4
"""Largest number of channels of a photograph."""

_IMAGE_KEYS = ("image", "img", "pixel_values", "images", "x", "input", "data")
_LABEL_KEYS = ("label", "labels", "y", "target", "targets", "class", "class_id", "category")


class InvalidSampleError(ValueError):
    """A sample that nasreg itself finds wrong."""


def to_pair(sample: Any) -> tuple[Any, Any]:
    """Return image and label of a sample.

    Raises:
        InvalidSampleError: It is no pair; the text says how to adapt the data set.
    """
    if isinstance(sample, tuple | list) and len(sample) == 2:
        return sample[0], sample[1]
    if isinstance(sample, Mapping):
        keys = ", ".join(repr(key) for key in sample)
        image, label = (_likely(sample, names) for names in (_IMAGE_KEYS, _LABEL_KEYS))
        parts = f"each[{image}], each[{label}]"
        found = f"a dictionary with the keys {keys}"
    elif isinstance(sample, tuple | list):
        parts = "each[0], each[1]"
        found = f"a {type(sample).__name__} of {len(sample)} ({', '.join(type(each).__name__ for each in sample)})"
    else:
        parts = "each.IMAGE, each.LABEL"
        found = type(sample).__name__
    raise InvalidSampleError(
        f"a sample must be a pair (image, label), not {found}: adapt the data set with"
        f" nasreg.data.from_torch(data, sample=lambda each: ({parts}))"
    )


def _likely(sample: Mapping[Any, Any], names: Sequence[str]) -> str:
    known = {str(key).lower(): key for key in sample}
    return next((repr(known[name]) for name in names if name in known), "KEY")


def to_tensor(image: Any, layout: str = "auto") -> Tensor:
    """Return an image as a tensor ``(C, H, W)`` of uint8 or float32.

    Args:
        image: A PIL image or a tensor.
        layout: Order of a tensor's dimensions: ``chw``, ``hwc``, or ``auto`` for the former where it is plausible.

    Raises:
        InvalidSampleError: It is no image.
    """
    if isinstance(image, Image.Image):
        return _from_pil(image)
    if isinstance(image, np.ndarray):
        # The advice fits the usual form of an array.
        make = "torch.from_numpy(image)" + ("[None]" if image.ndim == 2 else "")
        make += ".permute(2, 0, 1)" if image.ndim == 3 and looks_channels_last(image.shape) else ""
        raise InvalidSampleError(
            f"an image must be a tensor (C, H, W) or a PIL image, not ndarray of shape {image.shape}: convert it, with"
            f" {make}"
        )
    if not isinstance(image, Tensor):
        raise InvalidSampleError(
            f"an image must be a tensor (C, H, W) or a PIL image, not {type(image).__name__}{_elsewhere(image)}"
        )
    _check_shape(tuple(image.shape), layout)
    tensor: Tensor = image.permute(2, 0, 1) if layout == "hwc" else image
    if tensor.is_floating_point():
        tensor = tensor.float()
        if not torch.isfinite(tensor).all():
            raise InvalidSampleError("it has values that are not finite")
    elif tensor.dtype != torch.uint8:
        raise InvalidSampleError(
            f"an image must be of uint8 or floating point, not {image.dtype}: convert it, with image.to(torch.uint8)"
            " for values from 0 to 255"
        )
    return tensor


def _from_pil(image: Image.Image) -> Tensor:
    if image.mode in ("1", "LA", "P", "PA", "RGBA", "CMYK", "YCbCr", "HSV", "LAB"):
        image = image.convert("L" if image.mode in ("1", "LA") else "RGB")
    if image.mode not in ("L", "RGB"):
        raise InvalidSampleError(f"mode {image.mode} is not supported: convert the image to L or RGB")
    tensor: Tensor = TF.pil_to_tensor(image)
    return tensor


def _elsewhere(image: object) -> str:
    return ": give (image, label), not (label, image)" if isinstance(image, int) else ""


def _check_shape(shape: tuple[int, ...], layout: str) -> None:
    if len(shape) != 3 or 0 in shape:
        hint = {2: ": add the channels, with image[None]", 4: ": take one image, such as image[0]"}
        advice = hint.get(len(shape), "") if 0 not in shape else ""
        raise InvalidSampleError(f"an image must be a tensor (C, H, W), not {shape}{advice}")
    if layout == "auto" and looks_channels_last(shape):
        raise InvalidSampleError(
            f"its shape {shape} looks like height, width, channels, but an image must be (C, H, W): set"
            " dataset.layout=hwc, or chw if the first number is that of the channels"
        )


def looks_channels_last(shape: Sequence[int]) -> bool:
    """Return whether a shape looks like height, width, channels: few channels behind, or a square before them."""
    first, second, last = shape
    few = last <= MAX_COLOURS < min(first, second)
    return few or (first == second > last and first > MAX_COLOURS)


def to_label(label: Any) -> int:
    """Return a label as a number.

    Raises:
        InvalidSampleError: It is no whole number; the text says how to convert it.
    """
    try:
        number = operator.index(label.item() if isinstance(label, np.ndarray) and label.size == 1 else label)
    except TypeError:
        raise InvalidSampleError(_label_advice(label)) from None
    if abs(number) >= 2**62:
        raise InvalidSampleError(f"its label is {number}: number the classes from 0")
    return number


def _label_advice(label: Any) -> str:
    values = label
    if isinstance(label, Tensor | np.ndarray | np.generic):
        values = label.tolist()
    if isinstance(values, list | tuple) and len(values) == 1:
        values = values[0]
    if isinstance(values, float):
        return f"its label is {values:g}, a floating-point number: give a whole one, the number of the class, as an int"
    if isinstance(values, list | tuple) and values and all(isinstance(each, int | float) for each in values):
        if sorted(values) == [0] * (len(values) - 1) + [1]:
            return (
                f"its label is one-hot ({len(values)} numbers): give the number of the class, such as"
                f" {values.index(1)}, which is its argmax"
            )
        return (
            f"its label is a list of {len(values)} numbers: give one whole number, that of the class (an image has one"
            " class)"
        )
    if isinstance(values, str):
        return f"its label is the text {values!r:.40}: number the classes from 0, and name them with classes=[...]"
    return f"its label is {type(label).__name__}: give a whole number, that of the class"


class WithGaps(Dataset[Any]):
    """A data set from which samples were removed, with the indices that it had before.

    Args:
        dataset: What is left.
        gaps: Index of a removed sample -> its label.
    """

    def __init__(self, dataset: Any, gaps: Mapping[int, int]) -> None:
        self.dataset = dataset
        self.gaps = dict(gaps)
        n = len(dataset) + len(gaps)
        rest = iter(range(len(dataset)))
        self.indices = [-1 if index in self.gaps else next(rest) for index in range(n)]

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, index: int) -> Any:
        if index in self.gaps:
            raise FileNotFoundError("it was removed")
        return self.dataset[self.indices[index]]


def known_labels(dataset: Any) -> list[int] | None:
    """Return the labels that a data set tells by itself; each is compared with what comes with the image later."""
    if isinstance(dataset, WithGaps):
        known = known_labels(dataset.dataset)
        if known is None:
            return None
        return [dataset.gaps[at] if at in dataset.gaps else known[index] for at, index in enumerate(dataset.indices)]
    if isinstance(dataset, Subset):
        known = known_labels(dataset.dataset)
        return [known[index] for index in dataset.indices] if known is not None else None
    if getattr(dataset, "target_transform", None) is not None:
        return None
    return _whole(getattr(dataset, "targets", getattr(dataset, "labels", None)), len(dataset))


def _whole(told: Any, n: int) -> list[int] | None:
    if not isinstance(told, Iterable):
        return None
    try:
        labels = [operator.index(label) for label in told]
    except TypeError:
        return None
    return labels if len(labels) == n else None


def path_of(dataset: Any, index: int) -> str | None:
    """Return the path of a sample's file, where the data set tells it as torchvision's folders do."""
    if isinstance(dataset, Subset | WithGaps):
        below = dataset.indices[index]
        return path_of(dataset.dataset, below) if below >= 0 else None
    samples = getattr(dataset, "samples", None)
    return str(samples[index][0]) if isinstance(samples, list) else None


def describe_shape(shape: Sequence[int], dtype: torch.dtype) -> str:
    """Return the size of an image for people."""
    channels, height, width = shape
    kind = "" if dtype == torch.uint8 else f" of {dtype}".replace("torch.", "")
    return f"{height}x{width} with {channels} channel{'s' if channels != 1 else ''}{kind}"
