"""Recipes that networks of the built-in spaces are retrained by. Imports no torch.

Options that a recipe does not name have the defaults of ``nasreg.trainers.RetrainConfig``.
"""

from __future__ import annotations

from nasreg.specs.algorithm import RecipeEntry

_PAPER = "Liu, Simonyan, Yang: DARTS: Differentiable Architecture Search, https://arxiv.org/abs/1806.09055"

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
)
