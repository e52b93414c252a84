"""How far nasreg is from the figures of the authors' programs: ``python benchmarks/fidelity.py FILE``.

FILE holds inputs, weights and results of a program, in one of these forms, which are told apart by what is in them:

- one search step of DARTS (``.npz``), on every path of execution that the trainer offers;
- one training step of the network to retrain of DARTS_V2 (``.npz``);
- parameters and multiply-accumulates of networks to retrain (``.json``);
- what a module of the folder ``golden`` reads, such as the files of P-DARTS, NAS-Bench-201 and zero-cost scores.

The README beside each file in the folders ``golden`` of the tests says what is in it. Sizes are read off the weights:
channels, cells, nodes, classes, images and batches may be any. nasreg computes the same in float64, and each quantity
gets a line: its relative error, the tolerance, and ``ok`` or ``FAILED``. Exit code: 0 where all agree, 1 where one does
not, 2 where the file is none of these or lacks something.
"""

from __future__ import annotations

import argparse
import importlib
import pkgutil
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, cast, get_args

import golden
from golden_files import (
    KEYS,
    Arrays,
    Check,
    Counts,
    FileError,
    cell_nodes,
    differing,
    edges_of,
    named,
    network_size,
    parsed,
    program_name,
    program_name_of_kept,
    read,
    read_genotype,
    relative_error,
)
from nasreg.errors import NasregError, UsageError

if TYPE_CHECKING:
    from torch import Tensor, nn

    from nasreg.specs import CellSpec, SearchSpaceSpec
    from nasreg_darts.trainer import DartsTrainer

SEEDS = 200
"""Searches of each method, where means over searches are compared."""

TOLERANCE = 1e-9
FINITE_DIFFERENCE_TOLERANCE = 1e-3
"""The program's central difference is noisy at the kinks of ReLU and max-pooling."""


def main() -> None:
    """Print a line for each quantity."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path, metavar="FILE")
    parser.add_argument(
        "--seeds", type=int, default=SEEDS, metavar="N", help=f"searches of each method, where they are run ({SEEDS})"
    )
    args = parser.parse_args()
    path: Path = args.file
    if args.seeds < 2:
        parser.error("--seeds: a mean with a standard error needs 2 searches at least")
    count = failed = 0
    try:
        for check in checks(path, args.seeds):
            count += 1
            failed += not check.ok
            verdict = "ok" if check.ok else "FAILED"
            print(f"{check.name:<64} error {check.error:7.1e}  tolerance {check.tolerance:5.0e}  {verdict}", flush=True)
    except FileError as error:
        print(f"{path}: {error}", file=sys.stderr)
        sys.exit(2)
    except NasregError as error:  # such as a loss that is not finite, where the program's is
        sys.exit(f"{path}: nasreg failed: {error}")
    print(f"{failed} of {count} quantities FAILED" if failed else f"all {count} quantities agree")
    sys.exit(1 if failed else 0)


def checks(path: Path, seeds: int = SEEDS) -> Iterator[Check]:
    """Compare nasreg with a file, quantity by quantity.

    Args:
        path: The file.
        seeds: Number of searches of each method, for a file with means over searches.

    Raises:
        FileError: The file cannot be read, is in none of the forms, or something in it is missing or malformed.
    """
    content = read(path)
    try:
        for reader in readers():
            if reader.recognises(content):
                searches = {"seeds": seeds} if getattr(reader, "RUNS_SEARCHES", False) else {}
                yield from reader.checks(content, path, **searches)
                return
        if isinstance(content, Arrays):
            if any(name in content for name in ("alpha_normal", "alpha_reduce", "train_x", "valid_x")):
                yield from _search_step(content)
            elif "weight/classifier.weight" in content or {"x", "y"} & content.names:
                yield from _retrain_step(content)
            else:
                raise FileError("no array of it is of a search step of DARTS or of a network to retrain")
        elif isinstance(content, dict) and any(isinstance(each, dict) and "macs" in each for each in content.values()):
            yield from _counting(parsed(dict[str, Counts], content))
        else:
            raise FileError('it has neither "cases" of P-DARTS nor parameters and "macs" of networks')
    except (UsageError, ImportError) as error:  # such as: fewer cells than nasreg can build, a plugin that is missing
        raise FileError(str(error)) from error


def readers() -> Iterator[Any]:
    """Yield the modules of the folder ``golden``, one for each program whose files have formats of their own."""
    for module in pkgutil.iter_modules(golden.__path__):
        yield importlib.import_module(f"golden.{module.name}")


# One search step of DARTS


class SearchStep(NamedTuple):
    """What a file says of a search step."""

    build: Callable[..., nn.Module]
    """Builds the supernet."""
    space: SearchSpaceSpec
    weights: dict[str, Tensor]
    momenta: dict[str, Tensor]
    alphas: dict[str, Tensor]
    train: tuple[Tensor, Tensor]
    valid: tuple[Tensor, Tensor]
    results: dict[str, Tensor]
    """Of the program, by name."""
    genotype: dict[str, list[Any]]


def _search_step(arrays: Arrays) -> Iterator[Check]:
    step = _read_search_step(arrays)

    from nasreg_darts.config import DartsTrainerConfig

    execution = DartsTrainerConfig.model_fields.get("execution")
    for path in get_args(execution.annotation) if execution else ("default",):
        for check in _search_step_on(step, {"execution": path} if execution else {}):
            yield check._replace(name=f"{path}: {check.name}")


def _read_search_step(arrays: Arrays) -> SearchStep:
    from nasreg.spaces.config import DARTS_OPERATIONS

    size = network_size(arrays, "train_x")
    shape = arrays.get("alpha_normal", (None, len(DARTS_OPERATIONS))).shape
    options = {**size.options, "nodes": cell_nodes(shape[0], "alpha_normal")}

    from nasreg.config.lookup import find_space
    from nasreg.nn import extract_space
    from nasreg.registry import default_registry

    def build(**_: Any) -> nn.Module:
        model: nn.Module = find_space(default_registry(), "darts").build(size.info, options)
        return model.double()

    supernet = build()
    shapes = {program_name(name): each.shape for name, each in supernet.named_parameters()}
    train, valid = (arrays.batch(f"{part}_", size.info) for part in ("train", "valid"))
    results = {"train_logits": arrays.tensor("train_logits", (len(train[0]), size.info.n_classes))}
    for name in ("train_loss", "valid_loss", "unrolled_valid_loss", "grad_norm_before_clip"):
        results[name] = arrays.tensor(name, ())
    for kind in ("first_order", "second_order_exact", "second_order_fd", "alpha_after_adam"):
        results |= {f"{kind}_{key}": arrays.tensor(f"{kind}_{key}", shape) for key in KEYS}
    for group in ("weight_after_sum", "weight_after_norm"):
        scalars = named(arrays, group, dict.fromkeys(shapes, ()))
        results |= {f"{group}/{name}": value for name, value in scalars.items()}
    return SearchStep(
        build=build,
        space=extract_space(supernet),
        weights=named(arrays, "weight", shapes),
        momenta=named(arrays, "momentum", shapes),
        alphas={key: arrays.tensor(f"alpha_{key}", shape) for key in KEYS},
        train=train,
        valid=valid,
        results=results,
        genotype=read_genotype(arrays),
    )


def _search_step_on(step: SearchStep, options: dict[str, Any]) -> Iterator[Check]:
    """Check all of a search step with some options of the trainer."""
    import torch

    def check(name: str, ours: Tensor, tolerance: float = TOLERANCE, scale: float | None = None) -> Check:
        return Check(name, relative_error(ours, step.results[name], scale), tolerance)

    train, valid = step.train, step.valid
    trainer = _trainer(step, options)
    for key in KEYS:
        ours = edges_of(trainer.mutator.decide(step.space[key]))  # in the program's order, which no architecture has
        yield Check(f"genotype.{key}", differing(ours, step.genotype[key]), 0)
        concat = cast("CellSpec", step.space[key]).concat
        yield Check(f"genotype.{key}_concat", differing(concat, step.genotype[f"{key}_concat"]), 0)
    yield check("train_logits", trainer.model(train[0]))
    gradients = trainer.gradients(train, list(trainer.weights.values()))
    yield check("train_loss", gradients.loss)
    yield check("grad_norm_before_clip", torch.stack([each.norm() for each in gradients.values]).norm())
    yield check("valid_loss", trainer.gradients(valid, trainer.alphas).loss)
    unrolled = trainer.unrolled_weights(train)
    yield check("unrolled_valid_loss", trainer.gradients(valid, trainer.alphas, unrolled).loss)
    second = {**options, "second_order": True}
    for name, settings, tolerance in (
        ("first_order", options, TOLERANCE),
        ("second_order_exact", {**second, "hessian_product": "exact"}, TOLERANCE),
        ("second_order_fd", {**second, "hessian_product": "finite_difference"}, FINITE_DIFFERENCE_TOLERANCE),
    ):
        for key, gradient in zip(KEYS, _trainer(step, settings).arch_gradient(train, valid), strict=True):
            yield check(f"{name}_{key}", gradient, tolerance)
    trainer.train_step(train, valid)
    for key in KEYS:
        yield check(f"alpha_after_adam_{key}", trainer.mutator.alpha(key))
    trainer = _trainer(step, options)  # the program's step of the weights is at the alphas of the start
    trainer.train_step(train, None)
    after = {program_name(name): each.detach() for name, each in trainer.model.named_parameters()}
    for name, weight in after.items():
        yield check(f"weight_after_sum/{name}", weight.sum(), scale=float(weight.abs().sum()))
        yield check(f"weight_after_norm/{name}", weight.norm())


def _trainer(step: SearchStep, options: Mapping[str, Any]) -> DartsTrainer:
    """Return a trainer at the start of the step."""
    import torch

    from nasreg.mutators import SoftmaxMutatorConfig
    from nasreg_darts.config import DartsTrainerConfig
    from nasreg_darts.mutator import DartsMutator
    from nasreg_darts.trainer import DartsTrainer
    from search_contexts import search_context

    def mutator(space: SearchSpaceSpec) -> DartsMutator:
        return DartsMutator(space, SoftmaxMutatorConfig()).double()

    context = search_context("darts", step.build, mutator, torch.device("cpu"))
    trainer = DartsTrainer(context, DartsTrainerConfig(**options))
    trainer.setup()
    trainer.start_epoch(0)
    with torch.no_grad():
        for name, weight in trainer.weights.items():
            weight.copy_(step.weights[program_name(name)])
            momentum = step.momenta[program_name(name)].clone()
            trainer.optimizers["weights"].state[weight]["momentum_buffer"] = momentum
        for key, alpha in step.alphas.items():
            trainer.mutator.alpha(key).copy_(alpha)
    return trainer


# One training step of the network to retrain


def _retrain_step(arrays: Arrays) -> Iterator[Check]:
    size = network_size(arrays, "x")
    classes = size.info.n_classes
    auxiliary = any(name.startswith("auxiliary_head.") for name in arrays.below("weight"))

    import torch
    import torch.nn.functional as F

    import nasreg
    from nasreg.specs import parse_genotype

    options = {**size.options, "auxiliary": auxiliary}
    network = nasreg.build_network("DARTS_V2", size.info, options).double()
    cells = parse_genotype(nasreg.get_genotype("DARTS_V2").genotype)
    sources = {key: [source for _, source in cell.edges] for key, cell in cells.items()}
    parameters = {
        program_name_of_kept(name, sources, size.reductions): each for name, each in network.named_parameters()
    }
    weights = named(arrays, "weight", {name: tuple(each.shape) for name, each in parameters.items()})
    norms = named(arrays, "grad_norm", dict.fromkeys(parameters, ()))
    x, y = arrays.batch("", size.info)
    wanted = ["train_logits", *(["train_aux_logits"] if auxiliary else []), "eval_logits_after_one_forward"]
    theirs = {name: arrays.tensor(name, (len(x), classes)) for name in wanted}
    theirs["train_loss"] = arrays.tensor("train_loss", ())

    for name, weight in weights.items():
        parameters[name].data.copy_(weight)
    output = network(x)
    logits, of_head = output if auxiliary else (output, None)
    loss = F.cross_entropy(logits, y)
    found = {"train_logits": logits}
    if of_head is not None:
        found["train_aux_logits"] = of_head
        loss = loss + 0.4 * F.cross_entropy(of_head, y)
    gradients = torch.autograd.grad(loss, list(parameters.values()))
    evaluated = network.eval()(x)
    found |= {"train_loss": loss, "eval_logits_after_one_forward": evaluated[0] if auxiliary else evaluated}
    for name, value in found.items():
        yield Check(name, relative_error(value, theirs[name]), TOLERANCE)
    largest = float(max(norms.values()))
    for name, gradient in zip(parameters, gradients, strict=True):
        yield Check(f"grad_norm/{name}", relative_error(gradient.norm(), norms[name], largest), TOLERANCE)


# What networks cost

CLASSES = {"cifar10": (10, 32), "cifar100": (100, 32), "imagenet": (1000, 224)}
"""Data set -> classes and pixels a side."""


def _counting(content: Mapping[str, Counts]) -> Iterator[Check]:
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    import nasreg
    from nasreg.nn.parameters import parameter_count
    from nasreg.specs import DataInfo

    networks = {}
    for case in content:
        found = re.fullmatch(r"(\S+) (\w+) C(\d{1,6}) L(\d{1,6})( aux)?", case)
        if not found or found[2] not in CLASSES:
            raise FileError(f"{case!r} is not 'NAME DATASET C# L# aux' with a data set of {', '.join(CLASSES)}")
        nasreg.get_genotype(found[1])  # only names: the rest of what build_network takes may be a path
        networks[case] = found
    for case, found in networks.items():
        classes, side = CLASSES[found[2]]
        info = DataInfo(channels=3, height=side, width=side, classes=tuple(map(str, range(classes))))
        options = {"cells": int(found[4]), "channels": int(found[3]), "auxiliary": bool(found[5])}
        with torch.device("meta"):  # neither memory nor time for what is only counted
            network = nasreg.build_network(found[1], info, options).eval()
            with FlopCounterMode(display=False) as counter:
                network(torch.empty(1, 3, side, side))
        total, head, flops = parameter_count(network), 0, counter.get_total_flops()
        if options["auxiliary"]:
            head = parameter_count(network.get_submodule("auxiliary_head"))
            flops -= sum(counter.get_flop_counts()["DartsNetwork.auxiliary_head"].values())
        ours = {"params_total": total, "params_without_aux": total - head, "macs": flops // 2}
        for name, value in ours.items():
            theirs = getattr(content[case], name)
            yield Check(f"{case}: {name}", abs(value - theirs) / theirs, 0)


if __name__ == "__main__":
    main()
