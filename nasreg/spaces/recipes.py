"""Recipes that networks of the built-in spaces are retrained by. Imports no torch.

Options that a recipe does not name have the defaults of ``nasreg.trainers.RetrainConfig``.
"""

from __future__ import annotations

from typing import Any

from nasreg.specs.entries import RecipeEntry

_PAPER = "Liu, Simonyan, Yang: DARTS: Differentiable Architecture Search, https://arxiv.org/abs/1806.09055"

_IMAGENET: dict[str, Any] = {
    "image_size": 224,
    "center_fraction": 224 / 256,
    "crop_scale": [0.08, 1.0],
    "crop_padding": 0,
    "flip": True,
}

RECIPES = (
    RecipeEntry(
        name="cifar",
        summary="the recipe of DARTS for CIFAR: 600 epochs, 20 cells, 36 channels, cutout, drop-path 0.2",
        paper=_PAPER,
        spaces={"darts": {"cells": 20, "channels": 36}},
        dataset={"cutout": 16},
    ),
    RecipeEntry(
        name="imagenet",
        summary="the recipe of DARTS for ImageNet: 250 epochs, 14 cells, 48 channels, images of 224 pixels",
        paper=_PAPER,
        trainer={
            "epochs": 250,
            "lr": 0.1,
            "weight_decay": 3e-5,
            "label_smoothing": 0.1,
            "drop_path": 0.0,
            "batch_size": 128,
            "schedule": "exponential",
        },
        spaces={"darts": {"cells": 14, "channels": 48}},
        dataset={**_IMAGENET, "color_jitter": [0.4, 0.4, 0.4, 0.2]},
    ),
    RecipeEntry(
        name="mobilenet",
        summary="the recipe of ProxylessNAS for ImageNet: 300 epochs, batches of 256, images of 224 pixels",
        paper="Cai, Zhu, Han: ProxylessNAS, https://arxiv.org/abs/1812.00332",
        trainer={
            "epochs": 300,
            "lr": 0.05,
            "weight_decay": 4e-5,
            "label_smoothing": 0.1,
            "drop_path": 0.0,
            "batch_size": 256,
        },
        spaces={"mobilenet": {}},
        dataset={
            "image_size": 224,
            "center_fraction": 224 / 256,
            "crop_scale": [0.08, 1.0],
            "color_jitter": [0.4, 0.4, 0.4, 0.2],
            "crop_padding": 0,
            "flip": True,
        },
    ),
    RecipeEntry(
        name="demo",
        summary="a real training of a small network that ends within two minutes on two CPU cores",
        trainer={"epochs": 25, "batch_size": 64, "lr": 0.1, "drop_path": 0.1},
        spaces={"darts": {"cells": 5, "channels": 12}, "chain": {"channels": 16}, "mobilenet": {"channels": 16}},
    ),
    RecipeEntry(
        name="imagenet-shufflenet",
        summary="the recipe of Single Path One-Shot for ImageNet: 240 epochs, batches of 1024, images of 224 pixels",
        paper="Guo, Zhang, Mu, Heng, Liu, Wei, Sun: Single Path One-Shot Neural Architecture Search with Uniform"
        " Sampling, https://arxiv.org/abs/1904.00420",
        trainer={
            "epochs": 240,
            "batch_size": 1024,
            "lr": 0.5,
            "schedule": "linear",
            "weight_decay": 4e-5,
            "label_smoothing": 0.1,
            "drop_path": 0.0,
        },
        dataset={**_IMAGENET, "color_jitter": [0.4, 0.4, 0.4, 0.0]},
    ),
    RecipeEntry(
        name="imagenet-vit",
        summary="the recipe of AutoFormer for ImageNet without mixup, random erasing and warm-up: 500 epochs of AdamW,"
        " images of 224 pixels",
        paper="Chen, Peng, Fu, Ling: AutoFormer: Searching Transformers for Visual Recognition,"
        " https://arxiv.org/abs/2107.00651",
        trainer={
            "epochs": 500,
            "batch_size": 1024,
            "optimizer": "adamw",
            "lr": 1e-3,
            "lr_min": 1e-5,
            "weight_decay": 0.05,
            "label_smoothing": 0.1,
            "drop_path": 0.1,
        },
        dataset=_IMAGENET,
    ),
)
