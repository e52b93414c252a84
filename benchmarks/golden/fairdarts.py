"""One forward and backward pass of FairDARTS, and what it derives: ``fairdarts_step.npz``.

The figures are of xiaomi-automl/FairDARTS; the README beside the file in ``plugins/fairdarts/tests/golden`` says what
is in it. Channels, cells, nodes, classes, operations, images and batches may be any.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from darts_supernets import (
    TOLERANCE,
    Supernet,
    cell,
    error,
    gradient_norms,
    make_trainer,
    on_each_path,
    read_supernet,
)
from golden_files import KEYS, Arrays, Check, differing


def recognises(content: Any) -> bool:
    """Return whether a file is in this format."""
    return isinstance(content, Arrays) and "zero_one_l2" in content


def checks(content: Arrays, path: Path) -> Iterator[Check]:
    """Compare nasreg with a file.

    Raises:
        FileError: Something in it is missing or malformed.
    """
    del path
    return on_each_path(_step, content, read_supernet(content))


def _step(arrays: Arrays, supernet: Supernet, execution: str) -> Iterator[Check]:
    factor = float(arrays.get("aux_loss_weight", ()))
    x, y = arrays.batch("", supernet.info)
    for kind in ("l2", "l1"):
        trainer: Any = make_trainer(
            arrays, supernet, "fairdarts", execution, zero_one=kind, zero_one_weight=factor, warmup_epochs=0
        )
        logits: list[Any] = []
        hook = trainer.model.register_forward_hook(lambda _module, _inputs, output, to=logits: to.append(output))
        found = trainer.gradients((x, y), list(trainer.weights.values()))
        hook.remove()
        yield from (
            gradient_norms(
                arrays, "gradnorm", supernet.operations, dict(zip(trainer.weights, found.values, strict=True))
            )
            if kind == "l2"
            else ()
        )
        yield from _genotypes(arrays, supernet, trainer) if kind == "l2" else ()
        ours = {"logits": logits[0]} if kind == "l2" else {}
        ours |= {f"ce_{kind}": found.loss, f"zero_one_{kind}": trainer.mutator.zero_one_loss(kind)}
        ours[f"loss_{kind}"] = found.loss + trainer.arch_penalty()
        trainer.update_alphas((x, y), (x, y))  # leaves the whole gradient
        ours |= {f"alphas_grad_{key}_{kind}": trainer.mutator.alpha(key).grad for key in KEYS}
        for name, value in ours.items():
            yield Check(name, error(value, arrays.tensor(name, tuple(value.shape))), TOLERANCE)


def _genotypes(arrays: Arrays, supernet: Supernet, trainer: Any) -> Iterator[Check]:
    from nasreg_fairdarts.threshold import dense_cell, sparse_cell

    threshold = float(arrays.get("op_threshold", ()))
    for key in KEYS:
        name = f"genotype_{key}"
        theirs = arrays.get(f"{name}_darts", (None, 2), "i").tolist()
        yield cell(f"{name}_darts", theirs, trainer, key, supernet.operations)
        spec = trainer.mutator.space[key]
        for kind, keep in (("sparse", sparse_cell), ("edge", dense_cell)):
            kept = keep(spec, trainer.mutator.rows(spec), threshold)
            ours = [[supernet.operations.index(each.name), each.node, each.source] for each in kept]
            theirs = _rows(arrays, f"{name}_threshold_{kind}")
            yield Check(f"{name}_threshold_{kind}", differing(ours, theirs), 0)


def _rows(arrays: Arrays, name: str) -> list[list[int]]:
    """Return rows of operation, state that it leads to, and source; there may be none."""
    if name in arrays and arrays.is_empty(name):
        return []
    rows: list[list[int]] = arrays.get(name, (None, 3), "i").tolist()
    return rows
