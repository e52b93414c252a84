"""DrNAS on the supernet of NAS-Bench-201 with the draws of the file: ``drnas_sample.npz``, ``drnas_partial.npz``.

The figures are of xiangning-chen/DrNAS; the README beside the files in ``plugins/drnas/tests/golden`` says what is in
them. Channels, their share, cells, classes, images, batches and the number of passes may be any. Both paths of
execution are compared.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from golden.gumbel import build_supernet, give, make_mutator
from golden.nasbench201 import TOLERANCE, error, gradient_checks, load_weights, program_names, read_sizes
from golden_files import Arrays, Check, FileError, differing

if TYPE_CHECKING:
    from torch import Tensor


def recognises(content: Any) -> bool:
    """Return whether a file is of DrNAS."""
    return isinstance(content, Arrays) and "concentration" in content


def checks(content: Arrays, path: Path) -> Iterator[Check]:
    """Compare nasreg with a file.

    Raises:
        FileError: Something in it is missing or malformed.
    """
    from nasreg.trainers import BilevelTrainerConfig

    del path
    for execution in get_args(BilevelTrainerConfig.model_fields["execution"].annotation):
        for check in _passes(content, execution):
            yield check._replace(name=f"{execution}: {check.name}")


def _passes(arrays: Arrays, execution: str) -> Iterator[Check]:
    info, options = read_sizes(arrays)
    parts = int(arrays.get("k", (), "i"))
    if parts < 1 or options["channels"] % parts:
        raise FileError(f"k={parts} does not divide C={options['channels']}")

    import torch
    import torch.nn.functional as F

    from nasreg.mutators import SoftmaxMutatorConfig
    from nasreg_drnas.mutator import DrnasMutator
    from nasreg_nasbench201.strings import CELL, architecture_key

    supernet = build_supernet(info, options, execution, statistics=True, parts=parts)
    names = program_names(supernet)
    load_weights(supernet, names, arrays)
    mutator = make_mutator(DrnasMutator, SoftmaxMutatorConfig(), supernet, arrays)
    alpha, cell = mutator.alpha(CELL), mutator.space[CELL]
    shape = tuple(alpha.shape)
    concentration = mutator.concentration(cell)
    yield Check("concentration", error(concentration, arrays.tensor("concentration", shape)), TOLERANCE)
    divergence = float(arrays.get("reg_scale", ())) * mutator.divergence()
    yield Check("kl_reg", error(divergence, arrays.tensor("kl_reg", ())), TOLERANCE)
    by_alpha = torch.autograd.grad(divergence, alpha)[0]
    yield Check("kl_reg_grad", error(by_alpha, arrays.tensor("kl_reg_grad", shape)), TOLERANCE)
    digits = list(map(int, architecture_key(mutator.architecture())))
    yield Check("genotype_ops", differing(digits, arrays.get("genotype_ops", (6,), "i").tolist()), 0)

    x, y = arrays.batch("", info)
    samples = arrays.tensor("sample", (None, *shape))
    parameters = dict(supernet.named_parameters())
    for k, sample in enumerate(samples):
        give(mutator, "sample", [lambda at, sample=sample: drawn(at, sample)])
        logits = supernet(x)
        ce = F.cross_entropy(logits, y)
        weights = mutator.candidate_weights(cell)
        by = [weights, alpha, *parameters.values()]
        found = torch.autograd.grad(ce, by, allow_unused=True, materialize_grads=True)
        ours = {
            "logits": logits,
            "ce": ce,
            "loss": ce + divergence,
            "weights_grad": found[0],
            "alpha_grad_ce": found[1],
            "alpha_grad_kl": found[1] + by_alpha,
        }
        for name, value in ours.items():
            theirs = arrays.tensor(name, (len(samples), *value.shape))[k]
            yield Check(f"{name}[{k}]", error(value, theirs), TOLERANCE)
        yield from gradient_checks(arrays, names, parameters, found[2:], whole=False, group=f"gradnorm{k}")
    yield from _pruning(arrays, mutator)


def _pruning(arrays: Arrays, mutator: Any) -> Iterator[Check]:
    import torch

    from nasreg_nasbench201.strings import CELL

    alpha, cell = mutator.alpha(CELL), mutator.space[CELL]
    shape = tuple(alpha.shape)

    def theirs(name: str) -> Tensor:
        return arrays.tensor(f"prune/{name}", shape)

    with torch.no_grad():
        alpha.copy_(theirs("alphas_before"))
    mutator.prune(int(arrays.get("prune/num_keep", (), "i")))
    mask = arrays.flags("prune/mask", shape)
    yield Check("prune/mask", differing(mutator.mask(cell).flatten().tolist(), mask.flatten().tolist()), 0)
    yield Check("prune/alphas_after", error(alpha, theirs("alphas_after")), TOLERANCE)
    softmax = torch.stack([*mutator.probabilities(cell)])
    yield Check("prune/weights_softmax", error(softmax, theirs("weights_softmax")), TOLERANCE)
    give(mutator, "sample", [lambda at, row=row: drawn(at, row) for row in theirs("sample_raw")])
    mutator.resample()
    weights = torch.stack(
        [
            torch.stack([row.get(name, torch.zeros((), dtype=alpha.dtype)) for name in names])
            for row, names in zip(mutator.candidate_weights(cell), cell.candidates, strict=True)
        ]
    )
    yield Check("prune/weights", error(weights, theirs("weights")), TOLERANCE)
    gradient = torch.autograd.grad((weights * theirs("cotangent")).sum(), alpha)[0]
    yield Check("prune/alpha_grad", error(gradient, theirs("alpha_grad")), TOLERANCE)


def drawn(concentration: Tensor, sample: Tensor) -> Tensor:
    """Return a sample that was drawn already, with torch's gradient of a draw from a Dirichlet distribution."""
    import torch
    from torch.distributions.dirichlet import _Dirichlet_backward

    class Drawn(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, concentration: Tensor) -> Tensor:
            ctx.save_for_backward(concentration)
            return sample.clone()

        @staticmethod
        def backward(ctx: Any, grad: Tensor) -> Any:
            return _Dirichlet_backward(sample, *ctx.saved_tensors, grad)

    return Drawn.apply(concentration)
