"""The search spaces that come with the core, as the registry gets them. Imports no torch."""

from __future__ import annotations

from nasreg.specs.algorithm import SpaceEntry

SPACES = (
    SpaceEntry(
        name="darts",
        summary="a stack of normal and reduction cells with 8 candidate operations on each edge",
        paper="Liu, Simonyan, Yang: DARTS: Differentiable Architecture Search, https://arxiv.org/abs/1806.09055",
        factory="nasreg.spaces.darts:build",
        config="nasreg.spaces.config:DartsSpaceConfig",
        capabilities={
            "depth": "cells",
            "nodes": "nodes",
            "edge_candidates": "edge_candidates",
            "auxiliary": "auxiliary",
        },
        retrain={"phase": "retrain"},
    ),
    SpaceEntry(
        name="chain",
        summary="a chain of convolutions with a choice of kernel size and of skip connections in each block",
        factory="nasreg.spaces.chain:build",
        config="nasreg.spaces.config:ChainSpaceConfig",
    ),
    SpaceEntry(
        name="elastic-chain",
        summary="a chain of convolution blocks of elastic depth, widths, kernel sizes, strides and skip connections",
        factory="nasreg.spaces.elastic_chain:build",
        config="nasreg.spaces.config:ElasticChainSpaceConfig",
        capabilities={"elastic_chain": "blocks"},
    ),
    SpaceEntry(
        name="mobilenet",
        summary="stages of inverted residual blocks (MobileNetV2, ProxylessNAS, MobileNetV3) of chosen kernel size,"
        " expansion, depth and width",
        paper="Cai, Zhu, Han: ProxylessNAS, https://arxiv.org/abs/1812.00332",
        factory="nasreg.spaces.mobilenet:build",
        config="nasreg.spaces.config:MobileNetSpaceConfig",
        cost="2.2M to 5.1M parameters, 103M to 607M MACs on ImageNet (224 pixels, 1000 classes); form v3: 2.9M to 7.7M,"
        " 69M to 566M",
        retrain={"phase": "retrain"},
    ),
)
