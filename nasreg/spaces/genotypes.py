"""Published architectures of the DARTS space, as the authors' programs give them. Imports no torch."""

from __future__ import annotations

from nasreg.specs.algorithm import GenotypeEntry

_DARTS = "Liu, Simonyan, Yang: DARTS: Differentiable Architecture Search, https://arxiv.org/abs/1806.09055"
_PDARTS = (
    "Chen, Xie, Wu, Tian: Progressive Differentiable Architecture Search: Bridging the Depth Gap between Search and"
    " Evaluation, https://arxiv.org/abs/1904.12760"
)
_PC_DARTS = (
    "Xu, Xie, Zhang, Chen, Qi, Tian, Xiong: PC-DARTS: Partial Channel Connections for Memory-Efficient Architecture"
    " Search, https://arxiv.org/abs/1907.05737"
)

GENOTYPES = (
    GenotypeEntry(
        name="DARTS_V1",
        summary="found by DARTS of first order on CIFAR-10",
        paper=_DARTS,
        genotype="Genotype("
        "normal=[('sep_conv_3x3', 1), ('sep_conv_3x3', 0), ('skip_connect', 0), ('sep_conv_3x3', 1),"
        " ('skip_connect', 0), ('sep_conv_3x3', 1), ('sep_conv_3x3', 0), ('skip_connect', 2)],"
        " normal_concat=range(2, 6),"
        " reduce=[('max_pool_3x3', 0), ('max_pool_3x3', 1), ('skip_connect', 2), ('max_pool_3x3', 0),"
        " ('max_pool_3x3', 0), ('skip_connect', 2), ('skip_connect', 2), ('avg_pool_3x3', 0)],"
        " reduce_concat=range(2, 6))",
    ),
    GenotypeEntry(
        name="DARTS_V2",
        summary="found by DARTS of second order on CIFAR-10",
        paper=_DARTS,
        genotype="Genotype("
        "normal=[('sep_conv_3x3', 0), ('sep_conv_3x3', 1), ('sep_conv_3x3', 0), ('sep_conv_3x3', 1),"
        " ('sep_conv_3x3', 1), ('skip_connect', 0), ('skip_connect', 0), ('dil_conv_3x3', 2)],"
        " normal_concat=range(2, 6),"
        " reduce=[('max_pool_3x3', 0), ('max_pool_3x3', 1), ('skip_connect', 2), ('max_pool_3x3', 1),"
        " ('max_pool_3x3', 0), ('skip_connect', 2), ('skip_connect', 2), ('max_pool_3x3', 1)],"
        " reduce_concat=range(2, 6))",
    ),
    GenotypeEntry(
        name="PDARTS",
        summary="found by P-DARTS on CIFAR-10",
        paper=_PDARTS,
        genotype="Genotype("
        "normal=[('skip_connect', 0), ('dil_conv_3x3', 1), ('skip_connect', 0), ('sep_conv_3x3', 1),"
        " ('sep_conv_3x3', 1), ('sep_conv_3x3', 3), ('sep_conv_3x3', 0), ('dil_conv_5x5', 4)],"
        " normal_concat=range(2, 6),"
        " reduce=[('avg_pool_3x3', 0), ('sep_conv_5x5', 1), ('sep_conv_3x3', 0), ('dil_conv_5x5', 2),"
        " ('max_pool_3x3', 0), ('dil_conv_3x3', 1), ('dil_conv_3x3', 1), ('dil_conv_5x5', 3)],"
        " reduce_concat=range(2, 6))",
    ),
    GenotypeEntry(
        name="PC_DARTS_cifar",
        summary="found by PC-DARTS on CIFAR-10",
        paper=_PC_DARTS,
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
        genotype="Genotype("
        "normal=[('skip_connect', 1), ('sep_conv_3x3', 0), ('sep_conv_3x3', 0), ('skip_connect', 1),"
        " ('sep_conv_3x3', 1), ('sep_conv_3x3', 3), ('sep_conv_3x3', 1), ('dil_conv_5x5', 4)],"
        " normal_concat=range(2, 6),"
        " reduce=[('sep_conv_3x3', 0), ('skip_connect', 1), ('dil_conv_5x5', 2), ('max_pool_3x3', 1),"
        " ('sep_conv_3x3', 2), ('sep_conv_3x3', 1), ('sep_conv_5x5', 0), ('sep_conv_3x3', 3)],"
        " reduce_concat=range(2, 6))",
    ),
)
