"""The search space of NAS-Bench-Graph (Qin et al., arXiv 2206.09166): graph networks of four nodes.

Each node reads the input or one earlier node and has one of nine operations; the outputs of the nodes that no other
reads are joined. The space has no networks: its architectures were trained on graphs, which nasreg has no data for, and
their results are looked up.
"""

from __future__ import annotations

from nasreg.specs import CellSpec, DataInfo, SearchSpaceSpec
from nasreg_nasbenchgraph.architectures import KEY, NODES
from nasreg_nasbenchgraph.config import SpaceConfig


def describe(info: DataInfo, config: SpaceConfig) -> SearchSpaceSpec:
    """Return the choices: the source and the operation of each node."""
    del info  # of images
    edges = NODES * (NODES + 1) // 2
    cell = CellSpec(
        key=KEY,
        inputs=1,
        nodes=NODES,
        candidates=(config.operations,) * edges,
        edges_kept=1,
        concat=tuple(range(1, NODES + 1)),
        loose_ends=True,
    )
    return SearchSpaceSpec(choices=(cell,))
