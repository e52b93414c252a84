"""Supernets of the DARTS space in the authors' programs of DARTS and its kin, as trainers of nasreg with their weights.

For the files whose weights are under ``w/`` and whose edges, operations and sizes are ``alphas_normal``, ``op_names``,
``C``, ``layers`` and ``num_classes``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from golden_files import KEYS, Arrays, Check, FileError, cell_nodes, differing, relative_error
from search_contexts import search_context

if TYPE_CHECKING:
    from torch import Tensor, nn

    from nasreg.specs import CellSpec, DataInfo
    from nasreg.trainers import BilevelTrainer

TOLERANCE = 1e-9
FLOOR = 0.1
"""Numbers below this part of the largest of their array are compared with that part."""

EXECUTIONS: dict[str, dict[str, Any]] = {
    "plain": {"optimized": False},
    "optimized": {},
    "fused": {"min_fused_numel": 0},
}
"""Ways to compute a supernet; ``fused`` is the optimised way with large images."""


class Supernet(NamedTuple):
    """What a file says of a supernet."""

    info: DataInfo
    options: dict[str, Any]
    """Those of the space ``darts``."""
    edges: int
    operations: tuple[str, ...]

    @property
    def shape(self) -> tuple[int, int]:
        """Shape of the alphas of a cell."""
        return self.edges, len(self.operations)


def read_supernet(arrays: Arrays) -> Supernet:
    """Return what a file says of its supernet.

    Raises:
        FileError: Something is missing or malformed.
    """
    channels, cells, classes = (int(arrays.get(name, (), "i")) for name in ("C", "layers", "num_classes"))
    if not (1 <= channels <= 10_000 and 1 <= cells <= 1000 and 2 <= classes <= 100_000):
        raise FileError(f"C={channels}, layers={cells}, num_classes={classes} are no sizes of a network")
    _, depth, height, width = arrays.get("x", (None, None, None, None)).shape
    operations = tuple(map(str, arrays.get("op_names", (None,), "U").tolist()))
    edges = arrays.get("alphas_normal", (None, len(operations))).shape[0]

    from nasreg.specs import DataInfo

    info = DataInfo(channels=depth, height=height, width=width, classes=tuple(map(str, range(classes))))
    options = {
        "cells": cells,
        "channels": channels,
        "nodes": cell_nodes(edges, "alphas_normal"),
        "reductions": 2,
        "stem": "cifar",
        "candidates": list(operations),
    }
    return Supernet(info, options, edges, operations)


def make_trainer(arrays: Arrays, supernet: Supernet, algorithm: str, execution: str, **options: Any) -> BilevelTrainer:
    """Return the trainer of an algorithm with weights, statistics and architecture parameters of a file.

    Args:
        arrays: The file.
        supernet: What it says of its supernet.
        algorithm: Name of the algorithm.
        execution: One of ``EXECUTIONS``.
        options: Of the trainer.
    """
    import torch

    from nasreg.config.lookup import find_space
    from nasreg.nn import Execution, set_execution
    from nasreg.registry import default_registry

    registry = default_registry()
    spec = registry.algorithm(algorithm)

    def build(**_: Any) -> nn.Module:
        model: nn.Module = find_space(registry, "darts").build(supernet.info, supernet.options)
        return model.double()

    def make_mutator(space: Any) -> Any:
        return spec.mutator.load_factory()(space, spec.mutator.load_config()()).double()

    context = search_context(algorithm, build, make_mutator, torch.device("cpu"))
    config = spec.trainer.load_config()(epochs=50, **options)
    trainer: BilevelTrainer = spec.trainer.load_factory()(context, config)
    trainer.setup()
    set_execution(trainer.model, Execution(**EXECUTIONS[execution]))
    trainer.model.train()
    state = trainer.model.state_dict()
    names = {name: program_name(name, supernet.operations) for name in state}
    loaded = {name: arrays.tensor(f"w/{names[name]}", each.shape).to(each.dtype) for name, each in state.items()}
    if unknown := sorted(arrays.below("w") - set(names.values())):
        raise FileError(f"w/{unknown[0]} belongs to no weight of such a network")
    trainer.model.load_state_dict(loaded)
    with torch.no_grad():
        for key in KEYS:
            trainer.mutator.alpha(key).copy_(arrays.tensor(f"alphas_{key}", supernet.shape))
            beta = trainer.mutator.beta(key)
            if beta is not None:
                beta.copy_(arrays.tensor(f"betas_{key}", (supernet.edges,)))
    return trainer


def program_name(name: str, operations: Sequence[str]) -> str:
    """Translate the name of a weight or a statistic into the authors' programs'."""

    def candidate(found: re.Match[str]) -> str:
        number, rest = operations.index(found[2]), found[3]
        sequence = "op." if "conv_" in found[2] else ""
        return f"._ops.{found[1]}._ops.{number}.{sequence}{rest}"

    name = re.sub(r"^stem0\.", "stem.", name)
    name = re.sub(r"\.cell\.edges\.(\d+)\.(\w+)\.(.*)$", candidate, name)
    name = re.sub(r"\.cell\.auxiliary_skips\.(\d+)\.", r"._ops.\1.auxiliary_op.", name)
    return re.sub(r"(preprocess[01])\.(?=\d)", r"\1.op.", name)


def error(ours: Any, theirs: Tensor, scale: float | None = None) -> float:
    """Return the largest error, relative to each number or a tenth of the largest of them, or of a scale."""
    return relative_error(ours, theirs, scale, FLOOR)


def gradient_norms(
    arrays: Arrays, group: str, operations: Sequence[str], gradients: Mapping[str, Tensor]
) -> Iterator[Check]:
    """Compare the norms of the gradients by the weights, and that of all.

    Args:
        arrays: The file.
        group: Where in it the norms are.
        operations: Names of the operations, in the order of the file.
        gradients: By our name of the weight.
    """
    import torch

    total = arrays.tensor(f"{group}_total", ())
    yield Check(
        f"{group}_total", error(torch.stack([each.norm() for each in gradients.values()]).norm(), total), TOLERANCE
    )
    for name, gradient in gradients.items():
        program = f"{group}/{program_name(name, operations)}"
        yield Check(program, error(gradient.norm(), arrays.tensor(program, ()), float(total)), TOLERANCE)


def genotype(arrays: Arrays, name: str, trainer: BilevelTrainer, operations: Sequence[str]) -> Iterator[Check]:
    """Compare the derived cells with ``NAME_normal`` and ``NAME_reduce``: rows of operation and source.

    Args:
        arrays: The file.
        name: The beginning of both names.
        trainer: Its mutator derives the cells.
        operations: Names of the operations, in the order of the file.
    """
    for key in KEYS:
        yield cell(f"{name}_{key}", arrays.get(f"{name}_{key}", (None, 2), "i").tolist(), trainer, key, operations)


def cell(name: str, theirs: Any, trainer: BilevelTrainer, key: str, operations: Sequence[str]) -> Check:
    """Compare a derived cell with rows of operation and source."""
    decision: Any = trainer.mutator.decide(trainer.mutator.space[key])
    ours = [[operations.index(operation), source] for node in decision for operation, source in node]
    return Check(name, differing(ours, theirs), 0)


def concatenated(trainer: BilevelTrainer, key: str) -> tuple[int, ...]:
    """Return the states that make the output of a cell."""
    spec: CellSpec | Any = trainer.mutator.space[key]
    return tuple(spec.concat)


def on_each_path(
    checks: Callable[[Arrays, Supernet, str], Iterator[Check]], arrays: Arrays, supernet: Supernet
) -> Iterator[Check]:
    """Yield the checks of every way to compute a supernet."""
    for execution in EXECUTIONS:
        for check in checks(arrays, supernet, execution):
            yield check._replace(name=f"{execution}: {check.name}")
