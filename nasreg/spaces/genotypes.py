"""Published architectures of the built-in spaces that no plugin provides yet. Imports no torch."""

from __future__ import annotations

from nasreg.specs.entries import GenotypeEntry

_PC_DARTS = (
    "Xu, Xie, Zhang, Chen, Qi, Tian, Xiong: PC-DARTS: Partial Channel Connections for Memory-Efficient Architecture"
    " Search, https://arxiv.org/abs/1907.05737"
)

GENOTYPES = (
    GenotypeEntry(
        name="PC_DARTS_cifar",
        summary="found by PC-DARTS on CIFAR-10",
        paper=_PC_DARTS,
        space="darts",
        genotype="Genotype("
        "normal=[('sep_conv_3x3', 1), ('skip_connect', 0), ('sep_conv_3x3', 0), ('dil_conv_3x3', 1),"
        " ('sep_conv_5x5', 0), ('sep_conv_3x3', 1), ('avg_pool_3x3', 0), ('dil_conv_3x3', 1)],"
        " normal_concat=range(2, 6),"
        " reduce=[('sep_conv_5x5', 1), ('max_pool_3x3', 0), ('sep_conv_5x5', 1), ('sep_conv_5x5', 2),"
        " ('sep_conv_3x3', 0), ('sep_conv_3x3', 3), ('sep_conv_3x3', 1), ('sep_conv_3x3', 2)],"
        " reduce_concat=range(2, 6))",
    ),
    GenotypeEntry(
        name="PC_DARTS_image",
        summary="found by PC-DARTS on ImageNet",
        paper=_PC_DARTS,
        space="darts",
        genotype="Genotype("
        "normal=[('skip_connect', 1), ('sep_conv_3x3', 0), ('sep_conv_3x3', 0), ('skip_connect', 1),"
        " ('sep_conv_3x3', 1), ('sep_conv_3x3', 3), ('sep_conv_3x3', 1), ('dil_conv_5x5', 4)],"
        " normal_concat=range(2, 6),"
        " reduce=[('sep_conv_3x3', 0), ('skip_connect', 1), ('dil_conv_5x5', 2), ('max_pool_3x3', 1),"
        " ('sep_conv_3x3', 2), ('sep_conv_3x3', 1), ('sep_conv_5x5', 0), ('sep_conv_3x3', 3)],"
        " reduce_concat=range(2, 6))",
    ),
    GenotypeEntry(
        name="SPOS",
        summary="found by Single Path One-Shot on ImageNet: 323M multiply-accumulates",
        paper="Guo, Zhang, Mu, Heng, Liu, Wei, Sun: Single Path One-Shot Neural Architecture Search with Uniform"
        " Sampling, https://arxiv.org/abs/1904.00420, as in the authors' program",
        space="shufflenet",
        genotype="shufflenet(2, 1, 0, 1, 2, 0, 2, 0, 2, 0, 2, 3, 0, 0, 0, 0, 3, 2, 3, 3)",
    ),
)
