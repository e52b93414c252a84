"""The search spaces that come with the core, as the registry gets them. Imports no torch."""

from __future__ import annotations

from nasreg.specs.entries import SpaceEntry
from nasreg.specs.notation import Notation

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
        name="shufflenet",
        summary="ShuffleNetV2 with a choice of kernel 3, 5 or 7 or an Xception-like branch in each of 20 blocks",
        paper="Guo, Zhang, Mu, Heng, Liu, Wei, Sun: Single Path One-Shot Neural Architecture Search with Uniform"
        " Sampling, https://arxiv.org/abs/1904.00420",
        factory="nasreg.spaces.shufflenet:build",
        config="nasreg.spaces.config:ShuffleNetSpaceConfig",
        retrain={"phase": "retrain"},
        notation=Notation(
            prefix="shufflenet(",
            example="shufflenet(2, 1, 0, 1, 2, 0, 2, 0, 2, 0, 2, 3, 0, 0, 0, 0, 3, 2, 3, 3)",
            formatter="nasreg.spaces.shufflenet_notation:format_numbers",
            parser="nasreg.spaces.shufflenet_notation:parse_numbers",
        ),
    ),
    SpaceEntry(
        name="vit",
        summary="vision transformers of elastic depth, embedding width, heads and MLP ratios",
        paper="Chen, Peng, Fu, Ling: AutoFormer: Searching Transformers for Visual Recognition,"
        " https://arxiv.org/abs/2107.00651",
        factory="nasreg.spaces.vit:build",
        config="nasreg.spaces.config:VitSpaceConfig",
        retrain={"phase": "retrain"},
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
