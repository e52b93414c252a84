"""Forward and backward passes of DARTS- at some epochs, and its schedules: ``darts_minus_step.npz``.

The figures are of Meituan-AutoML/DARTS-; the README beside the file in ``plugins/darts-minus/tests/golden`` says what
is in it. Channels, cells, nodes, classes, images, batches and epochs may be any.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from darts_supernets import (
    TOLERANCE,
    Supernet,
    error,
    genotype,
    gradient_norms,
    make_trainer,
    on_each_path,
    read_supernet,
)
from golden_files import KEYS, Arrays, Check, FileError
from nasreg.trainers.config import SkipSchedule

SCHEDULES: tuple[SkipSchedule, ...] = ("linear", "cosine", "slow_cosine")


def recognises(content: Any) -> bool:
    """Return whether a file is in this format."""
    return isinstance(content, Arrays) and "schedule_slow_cosine" in content


def checks(content: Arrays, path: Path) -> Iterator[Check]:
    """Compare nasreg with a file.

    Raises:
        FileError: Something in it is missing or malformed.
    """
    del path
    supernet = read_supernet(content)

    from nasreg.trainers.functional import skip_weight

    base, epochs = _schedule(content)
    linear = content.tensor("schedule_linear", (None,))
    for name in SCHEDULES:
        theirs = content.tensor(f"schedule_{name}", (len(linear),))
        # The program's scheduler is a singleton: whichever kind is asked for, a process has the one that it made first.
        kind = "linear" if theirs.equal(linear) else name
        ours = [skip_weight(kind, base, epoch, epochs) for epoch in range(len(theirs))]
        yield Check(f"schedule_{name}", error(ours, theirs), TOLERANCE)
    yield from on_each_path(_cases, content, supernet)


def _schedule(arrays: Arrays) -> tuple[float, int]:
    epochs = int(arrays.get("schedule_T_max", (), "i"))
    if not 1 <= epochs <= 100_000:
        raise FileError(f"schedule_T_max={epochs} is no number of epochs")
    return float(arrays.get("schedule_base", ())), epochs


def _cases(arrays: Arrays, supernet: Supernet, execution: str) -> Iterator[Check]:
    base, _ = _schedule(arrays)
    trainer = make_trainer(arrays, supernet, "darts-minus", execution, auxiliary_skip=base)
    skips = trainer.skips
    if skips is None:
        raise FileError("schedule_base is 0: there is no auxiliary skip connection")

    import torch

    x, y = arrays.batch("", supernet.info)
    epochs = arrays.get("epochs", (None,), "i").tolist()
    betas = arrays.tensor("beta", (len(epochs),))
    alphas = [trainer.mutator.alpha(key) for key in KEYS]
    logits: list[torch.Tensor] = []
    trainer.model.register_forward_hook(lambda _module, _inputs, output: logits.append(output))
    for case, epoch in enumerate(epochs):
        if epoch < 0:  # the program's weight after the search
            skips.weight = 0.0
        else:
            trainer.start_epoch(epoch)
        yield Check(f"beta[{case}]", error(skips.weight, betas[case], 1.0), TOLERANCE)
        found = trainer.gradients((x, y), [*alphas, *trainer.weights.values()])
        ours = {f"logits{case}": logits.pop(), f"loss{case}": found.loss}
        ours |= {f"alphas_grad_{key}{case}": value for key, value in zip(KEYS, found.values, strict=False)}
        for name, value in ours.items():
            yield Check(name, error(value, arrays.tensor(name, tuple(value.shape))), TOLERANCE)
        weights = dict(zip(trainer.weights, found.values[2:], strict=True))
        yield from gradient_norms(arrays, f"gradnorm{case}", supernet.operations, weights)
    yield from genotype(arrays, "genotype", trainer, supernet.operations)
