"""One forward and backward pass of PC-DARTS: ``pcdarts_step.npz``.

The figures are of yuhuixu1993/PC-DARTS; the README beside the file in ``plugins/pcdarts/tests/golden`` says what is in
it. Channels, cells, nodes, classes, images and batches may be any, and so may the share of the channels.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from darts_supernets import (
    TOLERANCE,
    Supernet,
    cell,
    concatenated,
    error,
    genotype,
    gradient_norms,
    make_trainer,
    on_each_path,
    read_supernet,
)
from golden_files import KEYS, Arrays, Check, FileError, differing


def recognises(content: Any) -> bool:
    """Return whether a file is in this format."""
    return isinstance(content, Arrays) and "betas_normal" in content


def checks(content: Arrays, path: Path) -> Iterator[Check]:
    """Compare nasreg with a file.

    Raises:
        FileError: Something in it is missing or malformed.
    """
    del path
    return on_each_path(_step, content, read_supernet(content))


def _parts(arrays: Arrays, supernet: Supernet) -> int:
    """Return K, which the weights of a convolution say."""
    number = next((n for n, name in enumerate(supernet.operations) if "conv_" in name), None)
    if number is None:
        raise FileError("op_names has no convolution, whose weights would say how many channels it has")
    narrow = arrays.get(f"w/cells.0._ops.0._ops.{number}.op.1.weight", (None, 1, None, None)).shape[0]
    return int(supernet.options["channels"]) // int(narrow)


def _step(arrays: Arrays, supernet: Supernet, execution: str) -> Iterator[Check]:
    trainer = make_trainer(
        arrays, supernet, "pcdarts", execution, partial_channels=_parts(arrays, supernet), warmup_epochs=0
    )

    import torch

    x, y = arrays.batch("", supernet.info)
    mutator, operations = trainer.mutator, supernet.operations
    betas = {key: mutator.beta(key) for key in KEYS}
    by = [*(mutator.alpha(key) for key in KEYS), *betas.values(), *trainer.weights.values()]
    logits: list[torch.Tensor] = []
    hook = trainer.model.register_forward_hook(lambda _module, _inputs, output: logits.append(output))
    found = trainer.gradients((x, y), by)
    with torch.no_grad():
        trainer.model.eval()(x)
    hook.remove()
    gradients = dict(
        zip([f"grad/{kind}_{key}" for kind in ("alphas", "betas") for key in KEYS], found.values, strict=False)
    )
    ours = {"logits": logits[0], "loss": found.loss, "logits_eval": logits[1], **gradients}
    for key in KEYS:
        ours[f"op_weights_{key}"] = torch.as_tensor(mutator.probabilities(mutator.space[key]))
        ours[f"edge_weights_{key}"] = torch.as_tensor(mutator.edge_weights(mutator.space[key]))
    for name, value in ours.items():
        yield Check(name, error(value, arrays.tensor(name, tuple(value.shape))), TOLERANCE)
    weights = dict(zip(trainer.weights, found.values[4:], strict=True))
    yield from gradient_norms(arrays, "gradnorm", operations, weights)
    yield from genotype(arrays, "genotype", trainer, operations)
    concat = arrays.get("genotype_concat", (None,), "i").tolist()
    yield Check("genotype_concat", max(differing(concatenated(trainer, key), concat) for key in KEYS), 0)

    shape = (None, 2, *supernet.shape)
    alphas = arrays.tensor("more/alphas", shape)
    more = arrays.tensor("more/betas", (len(alphas), 2, supernet.edges))
    theirs = {key: arrays.get(f"more/genotype_{key}", (len(alphas), None, 2), "i").tolist() for key in KEYS}
    for number, (alpha_pair, beta_pair) in enumerate(zip(alphas, more, strict=True)):
        for key, alpha, values in zip(KEYS, alpha_pair, beta_pair, strict=True):
            beta = betas[key]
            if beta is not None:
                mutator.alpha(key).data.copy_(alpha)
                beta.data.copy_(values)
            yield cell(f"more/genotype_{key}[{number}]", theirs[key][number], trainer, key, operations)
