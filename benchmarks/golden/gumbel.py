"""GDAS and SNAS on the supernet of NAS-Bench-201, with the draws of the file: single passes, and steps of GDAS.

The figures are of D-X-Y/AutoDL-Projects (GDAS) and xiangning-chen/DrNAS (SNAS); the README beside the files in
``plugins/gumbel/tests/golden`` says what is in them. Channels, cells, classes, images, batches and the number of passes
and steps may be any. Both paths of execution are compared.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from golden.nasbench201 import (
    SPACE,
    TOLERANCE,
    error,
    gradient_checks,
    load_weights,
    program_names,
    read_sizes,
)
from golden_files import Arrays, Check, FileError, differing

if TYPE_CHECKING:
    from torch import Tensor, nn

    from nasreg.specs import DataInfo

STEP_TOLERANCE = 1e-8


def recognises(content: Any) -> bool:
    """Return whether a file is of GDAS or SNAS."""
    return isinstance(content, Arrays) and {"exp_noise", "tau", "alphas"} <= content.names


def checks(content: Arrays, path: Path) -> Iterator[Check]:
    """Compare nasreg with a file.

    Raises:
        FileError: Something in it is missing or malformed.
    """
    from nasreg.trainers import BilevelTrainerConfig

    del path
    for execution in get_args(BilevelTrainerConfig.model_fields["execution"].annotation):
        for check in _gdas(content, execution) if "choice" in content else _snas(content, execution):
            yield check._replace(name=f"{execution}: {check.name}")


def build_supernet(
    info: DataInfo, options: dict[str, int], execution: str, *, statistics: bool = False, parts: int = 1
) -> nn.Module:
    """Return the supernet of NAS-Bench-201 in float64.

    Args:
        info: Of the images.
        options: Of the space.
        execution: How it computes.
        statistics: Whether BatchNorm in its cells has running statistics, and convolutions no bias, as in the program
            of DrNAS.
        parts: K of partial channels; 1 for all channels.
    """
    from torch import nn

    from nasreg.config.lookup import find_space
    from nasreg.nn import CandidateSite, Execution, set_execution, transform_candidates, use_partial_channels
    from nasreg.registry import default_registry

    supernet = find_space(default_registry(), SPACE).build(info, options)

    def with_statistics(_: CandidateSite, module: nn.Module) -> nn.Module:
        if not isinstance(module, nn.Sequential):
            return module
        relu, conv, norm = module
        without_bias = nn.Conv2d(
            conv.in_channels, conv.out_channels, conv.kernel_size, padding=conv.padding, bias=False
        )
        return nn.Sequential(relu, without_bias, nn.BatchNorm2d(norm.num_features, affine=False))

    if statistics:
        transform_candidates(supernet, with_statistics)
    use_partial_channels(supernet, parts)
    set_execution(supernet, Execution(optimized=execution == "optimized", min_fused_numel=0))
    return supernet.double()


def make_mutator(mutator_class: Any, config: Any, supernet: nn.Module, arrays: Arrays) -> Any:
    """Return a mutator in float64 with the alphas of the file, attached to the supernet."""
    import torch

    from nasreg.nn import extract_space
    from nasreg_nasbench201.strings import CELL

    mutator = mutator_class(extract_space(supernet), config).double()
    alpha = mutator.alpha(CELL)
    with torch.no_grad():
        alpha.copy_(arrays.tensor("alphas", tuple(alpha.shape)))
    mutator.attach(supernet)
    return mutator


def give(mutator: Any, name: str, draws: Sequence[Tensor | Callable[..., Tensor]]) -> None:
    """Let a method of a mutator that draws return what is given, in this order, or what a function given returns."""
    given = iter(draws)

    def draw(*arguments: Any) -> Tensor:
        found = next(given)
        return found(*arguments) if callable(found) and not hasattr(found, "shape") else found

    setattr(mutator, name, draw)


# GDAS


def _gdas(arrays: Arrays, execution: str) -> Iterator[Check]:
    info, options = read_sizes(arrays)

    import torch
    import torch.nn.functional as F

    from nasreg.mutators import GumbelMutatorConfig, HardGumbelMutator
    from nasreg_nasbench201.strings import CELL, architecture_key, format_string

    supernet = build_supernet(info, options, execution)
    names = program_names(supernet)
    load_weights(supernet, names, arrays)
    mutator = make_mutator(HardGumbelMutator, GumbelMutatorConfig(), supernet, arrays)
    alpha, cell = mutator.alpha(CELL), mutator.space[CELL]
    x, y = arrays.batch("", info)
    temperatures = arrays.get("tau", (None,)).tolist()
    shape = (len(temperatures), *alpha.shape)
    draws, probs, hard, alpha_grads = (
        arrays.tensor(name, shape) for name in ("exp_noise", "probs", "hardwts", "alpha_grad")
    )
    choices = arrays.get("choice", shape[:2], "i")
    logits = arrays.tensor("logits", (len(temperatures), len(x), info.n_classes))
    losses = arrays.tensor("loss", (len(temperatures),))
    parameters = dict(supernet.named_parameters())
    for k, temperature in enumerate(temperatures):
        mutator.temperature = temperature
        give(mutator, "noise", [draws[k], draws[k]])
        yield Check(f"probs[{k}]", error(mutator.sample(cell), probs[k]), TOLERANCE)
        found = supernet(x)
        answer = mutator.answer(cell)
        drawn = [cell.candidates[edge].index(each.candidate) for edge, each in enumerate(answer)]
        yield Check(f"choice[{k}]", differing(drawn, choices[k].tolist()), 0)
        yield Check(f"hardwts[{k}]", error(torch.stack([each.weights for each in answer]), hard[k]), TOLERANCE)
        loss = F.cross_entropy(found, y)
        yield Check(f"logits[{k}]", error(found, logits[k]), TOLERANCE)
        yield Check(f"loss[{k}]", error(loss, losses[k]), TOLERANCE)
        grads = torch.autograd.grad(loss, [alpha, *parameters.values()], allow_unused=True, materialize_grads=True)
        yield Check(f"alpha_grad[{k}]", error(grads[0], alpha_grads[k]), TOLERANCE)
        yield from gradient_checks(arrays, names, parameters, grads[1:], whole=False, group=f"gradnorm{k}")
    architecture = mutator.architecture()
    text = str(arrays.get("genotype", (), "U"))
    yield Check("genotype", int(format_string(mutator.space, architecture) != text), 0)
    digits = list(map(int, architecture_key(architecture)))
    yield Check("genotype_ops", differing(digits, arrays.get("genotype_ops", (6,), "i").tolist()), 0)
    yield from _steps(arrays, info, options, execution)


def _steps(arrays: Arrays, info: DataInfo, options: dict[str, int], execution: str) -> Iterator[Check]:
    """Repeat the program's steps, in which weights that were not drawn stay as they are, with the trainer."""
    import torch

    from nasreg.mutators import GumbelMutatorConfig, HardGumbelMutator
    from nasreg.trainers import Gradients
    from nasreg_gumbel.config import GdasTrainerConfig
    from nasreg_gumbel.gdas import GdasTrainer
    from nasreg_nasbench201.strings import CELL
    from search_contexts import search_context

    class Recording(GdasTrainer):
        """Keeps what the file has of each step."""

        def gradients(self, *args: Any) -> Gradients:
            found = super().gradients(*args)
            self.found = {"arch_loss": found.loss, "alpha_grad": found.values[0]}
            return found

        def update(self, optimizer: str, parameters: Any, gradients: Any = None, **more: Any) -> None:
            if optimizer == "weights":
                grads = [each.grad for each in parameters if each.grad is not None]
                self.norm = torch.stack([each.norm() for each in grads]).norm()
            super().update(optimizer, parameters, gradients, **more)

    n_steps, n_samples = arrays.get("step/base_y", (None, None), "i").shape
    context = search_context(
        "gdas",
        lambda: build_supernet(info, options, execution),
        lambda space: HardGumbelMutator(space, GumbelMutatorConfig()).double(),
        torch.device("cpu"),
    )
    trainer = Recording(context, GdasTrainerConfig(execution=execution))
    trainer.setup()
    trainer.start_epoch(0)
    supernet, mutator = trainer.model, trainer.mutator
    names = program_names(supernet)
    load_weights(supernet, names, arrays)
    alpha, classifier = mutator.alpha(CELL), supernet.get_parameter("classifier.weight")
    with torch.no_grad():
        alpha.copy_(arrays.tensor("alphas", tuple(alpha.shape)))
    mutator.temperature = float(arrays.get("step/tau", ()))
    give(mutator, "noise", list(arrays.tensor("step/exp_noise", (n_steps, 2, *alpha.shape)).flatten(0, 1)))
    rates = arrays.get("step/lr", (n_steps,)).tolist()
    shape = (n_steps, n_samples, info.channels, info.height, info.width)
    batches = {part: (arrays.tensor(f"step/{part}_x", shape), _labels(arrays, part, info)) for part in ("base", "arch")}
    theirs = {
        "base_loss": arrays.tensor("step/base_loss", (n_steps,)),
        "total_norm_before_clip": arrays.tensor("step/total_norm_before_clip", (n_steps,)),
        "arch_loss": arrays.tensor("step/arch_loss", (n_steps,)),
        "alpha_grad": arrays.tensor("step/alpha_grad", (n_steps, *alpha.shape)),
        "alphas_after": arrays.tensor("step/alphas_after", (n_steps, *alpha.shape)),
        "classifier_weight_after": arrays.tensor("step/classifier_weight_after", (n_steps, *classifier.shape)),
    }
    for step in range(n_steps):
        trainer.optimizers["weights"].param_groups[0]["lr"] = rates[step]
        base, arch = ((x[step], y[step]) for x, y in batches.values())
        result = trainer.train_step(base, arch)
        ours = {
            "base_loss": result.loss,
            "total_norm_before_clip": trainer.norm,
            **trainer.found,
            "alphas_after": alpha,
            "classifier_weight_after": classifier,
        }
        for name, value in ours.items():
            yield Check(f"step/{name}[{step}]", error(value, theirs[name][step]), STEP_TOLERANCE)
    state = {names[name]: value for name, value in supernet.state_dict().items()}
    for group, of in (("after", lambda value: value), ("after_norm", torch.Tensor.norm), ("after_buffer", lambda v: v)):
        for name in sorted(arrays.below(f"step/{group}")):
            if name not in state:
                raise FileError(f"step/{group}/{name} belongs to no weight of such a network")
            value = of(state[name])
            found = arrays.tensor(f"step/{group}/{name}", tuple(value.shape))
            yield Check(f"step/{group}/{name}", error(value, found), STEP_TOLERANCE)


def _labels(arrays: Arrays, part: str, info: DataInfo) -> Tensor:
    import torch

    labels = torch.from_numpy(arrays.get(f"step/{part}_y", (None, None), "i").astype("int64"))
    if int(labels.min()) < 0 or int(labels.max()) >= info.n_classes:
        raise FileError(f"step/{part}_y has labels beyond {info.n_classes} classes")
    return labels


# SNAS


def _snas(arrays: Arrays, execution: str) -> Iterator[Check]:
    info, options = read_sizes(arrays)

    import torch
    import torch.nn.functional as F

    from nasreg.mutators import GumbelMutator, GumbelMutatorConfig
    from nasreg_nasbench201.strings import CELL, architecture_key

    supernet = build_supernet(info, options, execution, statistics=True)
    names = program_names(supernet)
    load_weights(supernet, names, arrays)
    mutator = make_mutator(GumbelMutator, GumbelMutatorConfig(), supernet, arrays)
    alpha, cell = mutator.alpha(CELL), mutator.space[CELL]
    x, y = arrays.batch("", info)
    temperatures = arrays.get("tau", (None,)).tolist()
    shape = (len(temperatures), *alpha.shape)
    draws, weights, alpha_grads = (arrays.tensor(name, shape) for name in ("exp_noise", "weights", "alpha_grad"))
    logits = arrays.tensor("logits", (len(temperatures), len(x), info.n_classes))
    losses = arrays.tensor("loss", (len(temperatures),))
    parameters = dict(supernet.named_parameters())
    for k, temperature in enumerate(temperatures):
        mutator.temperature = temperature
        give(mutator, "noise", [draws[k]])
        found = supernet(x)
        loss = F.cross_entropy(found, y)
        yield Check(f"weights[{k}]", error(torch.stack(mutator.answer(cell)), weights[k]), TOLERANCE)
        yield Check(f"logits[{k}]", error(found, logits[k]), TOLERANCE)
        yield Check(f"loss[{k}]", error(loss, losses[k]), TOLERANCE)
        grads = torch.autograd.grad(loss, [alpha, *parameters.values()], allow_unused=True, materialize_grads=True)
        yield Check(f"alpha_grad[{k}]", error(grads[0], alpha_grads[k]), TOLERANCE)
        yield from gradient_checks(arrays, names, parameters, grads[1:], whole=False, group=f"gradnorm{k}")
    digits = list(map(int, architecture_key(mutator.architecture())))
    yield Check("genotype_ops", differing(digits, arrays.get("genotype_ops", (6,), "i").tolist()), 0)
