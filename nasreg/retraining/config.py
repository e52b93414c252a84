"""Options of retraining, and the recipes of the papers as presets. Imports no torch."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from nasreg.specs.algorithm import Preset
from nasreg.trainers.config import LoopConfig


class RetrainConfig(LoopConfig):
    """Options of retraining; the defaults are the recipe of DARTS for CIFAR (arXiv 1806.09055)."""

    epochs: int = Field(default=600, ge=1, description="passes over the train set")
    batch_size: int = Field(default=96, ge=1, description="images in a step")
    lr: float = Field(default=0.025, gt=0, description="learning rate at the start (SGD)")
    lr_min: float = Field(default=0.0, ge=0, description="learning rate that schedule cosine or linear ends at")
    schedule: Literal["cosine", "linear", "exponential"] = Field(
        default="cosine", description="how the learning rate falls from epoch to epoch"
    )
    lr_decay: float = Field(default=0.97, gt=0, le=1, description="factor of each epoch, of schedule exponential")
    momentum: float = Field(default=0.9, ge=0, lt=1, description="momentum of SGD")
    weight_decay: float = Field(default=3e-4, ge=0, description="weight decay")
    grad_clip: float = Field(default=5.0, gt=0, description="largest norm of the gradient")
    label_smoothing: float = Field(default=0.0, ge=0, lt=1, description="label smoothing of the loss")
    drop_path: float = Field(
        default=0.2,
        ge=0,
        lt=1,
        description="largest rate at which an image skips an operation; it rises from 0 with the epochs",
    )
    auxiliary_weight: float = Field(
        default=0.4, ge=0, description="weight of the auxiliary head's loss; 0 for no such head"
    )
    ema: float = Field(
        default=0.0,
        ge=0,
        lt=1,
        description="decay of an average of the weights over the steps, which is what is measured and kept; 0 for none",
    )
    channels_last: bool = Field(default=False, description="memory format that is faster on many devices")


_CIFAR = {"alpha_fraction": 0.0, "cutout": 16}
_IMAGENET = {
    "alpha_fraction": 0.0,
    "image_size": 224,
    "center_fraction": 224 / 256,
    "crop_scale": [0.08, 1.0],
    "color_jitter": [0.4, 0.4, 0.4, 0.2],
    "crop_padding": 0,
    "flip": True,
}
_IMAGENET_TRAINER = {"epochs": 250, "lr": 0.1, "weight_decay": 3e-5, "label_smoothing": 0.1, "drop_path": 0.0}

PRESETS = {
    "cifar": Preset(
        summary="the recipe of DARTS for CIFAR: 600 epochs, 20 cells, 36 channels, cutout, drop-path 0.2",
        spaces={"darts": {"cells": 20, "channels": 36}},
        dataset=_CIFAR,
    ),
    "cifar-pdarts": Preset(
        summary="the recipe of P-DARTS for CIFAR: the same with batches of 128 and drop-path 0.3",
        trainer={"batch_size": 128, "drop_path": 0.3},
        spaces={"darts": {"cells": 20, "channels": 36}},
        dataset=_CIFAR,
    ),
    "imagenet": Preset(
        summary="the recipe of DARTS for ImageNet: 250 epochs, 14 cells, 48 channels, images of 224 pixels",
        trainer={**_IMAGENET_TRAINER, "batch_size": 128, "schedule": "exponential"},
        spaces={"darts": {"cells": 14, "channels": 48}},
        dataset=_IMAGENET,
    ),
    "imagenet-pdarts": Preset(
        summary="the recipe of P-DARTS for ImageNet: the same with batches of 256 and a linear schedule",
        trainer={**_IMAGENET_TRAINER, "batch_size": 256, "schedule": "linear"},
        spaces={"darts": {"cells": 14, "channels": 48}},
        dataset=_IMAGENET,
    ),
    "demo": Preset(
        summary="a real training of a small network that ends within two minutes on two CPU cores",
        trainer={"epochs": 25, "batch_size": 64, "lr": 0.1, "drop_path": 0.1},
        spaces={"darts": {"cells": 5, "channels": 12}, "chain": {"channels": 16}},
        dataset={"alpha_fraction": 0.0},
    ),
}
"""Name -> recipe. What each says of a space holds for architectures of that space; others take the trainer's part."""

DEFAULT_PRESET = "cifar"
