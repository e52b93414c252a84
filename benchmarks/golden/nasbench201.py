"""NAS-Bench-201: the final network, and search steps of the supernet; ``nasbench201_counts`` compares what is counted.

The figures are of D-X-Y/AutoDL-Projects; the README beside the files in ``plugins/nasbench201/tests/golden`` says what
is in them. Channels, cells, classes, images and batches may be any.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from golden_files import Arrays, Check, FileError, differing, relative_error

if TYPE_CHECKING:
    from torch import Tensor, nn

    from nasreg.specs import DataInfo

TOLERANCE = 1e-9
FLOOR = 0.1
"""Numbers below this part of the largest of their array are compared with that part."""

SPACE = "nasbench201"


def recognises(content: Any) -> bool:
    """Return whether a file is in one of these formats."""
    if not isinstance(content, Arrays) or "naswot_K" in content:  # zero-cost scores of such a network
        return False
    return "C" in content and ("arch_ops" in content or _is_supernet(content))


def checks(content: Arrays, path: Path) -> Iterator[Check]:
    """Compare nasreg with a file.

    Raises:
        FileError: Something in it is missing or malformed.
    """
    del path
    return _network(content) if "arch_ops" in content else _search_steps(content)


def _is_supernet(arrays: Arrays) -> bool:
    # the files of other algorithms in this space have draws beside the alphas
    names = arrays.names
    return {"alphas", "weights_softmax", "step/base_x"} <= names and not any("noise" in name for name in names)


def error(ours: Any, theirs: Tensor, scale: float | None = None) -> float:
    """Return the largest error, relative to each number or a tenth of the largest of them.

    Args:
        ours: What nasreg computed.
        theirs: What is in the file.
        scale: The size to compare with in place of the largest number.
    """
    return relative_error(ours, theirs, scale, FLOOR)


def read_sizes(arrays: Arrays) -> tuple[DataInfo, dict[str, int]]:
    """Return the shape of the images and the options of the space."""
    from nasreg.specs import DataInfo

    channels, cells, classes = (int(arrays.get(name, (), "i")) for name in ("C", "N", "num_classes"))
    if not (1 <= channels <= 10_000 and 1 <= cells <= 1000 and 2 <= classes <= 100_000):
        raise FileError(f"C={channels}, N={cells}, num_classes={classes} are no sizes of a network")
    _, depth, height, width = arrays.get("x", (None, None, None, None)).shape
    info = DataInfo(channels=depth, height=height, width=width, classes=tuple(map(str, range(classes))))
    return info, {"channels": channels, "cells": cells}


def load_weights(module: nn.Module, names: Mapping[str, str], arrays: Arrays) -> None:
    """Set weights and statistics of a module to those of the file.

    Args:
        module: The module.
        names: Its names -> those of the file.
        arrays: The file.
    """
    import torch

    state = module.state_dict()
    loaded = {name: arrays.tensor(f"w/{names[name]}", state[name].shape).to(state[name].dtype) for name in state}
    if unknown := sorted(arrays.below("w") - set(names.values())):
        raise FileError(f"w/{unknown[0]} belongs to no weight of such a network")
    with torch.no_grad():
        module.load_state_dict(loaded)


def _program_name(name: str) -> str:
    """Translate the name of a weight into the authors' program's."""
    from nasreg_nasbench201.strings import EDGES, OPERATIONS

    def kept(found: re.Match[str]) -> str:
        return f".layers.{EDGES.index((int(found[1]), int(found[2])))}.op."

    def candidate(found: re.Match[str]) -> str:
        node, source = EDGES[int(found[1])]
        return f".edges.{node + 1}<-{source}.{OPERATIONS.index(found[2])}.op."

    name = re.sub(r"\.node(\d)_from(\d)\.", kept, name)
    name = re.sub(r"\.edges\.(\d)\.(\w+)\.(?=\d)", candidate, name)
    return re.sub(r"(conv_[ab])\.", r"\1.op.", name)


def program_names(module: nn.Module) -> dict[str, str]:
    """Return the names of a module's weights and statistics, each with that of the authors' program."""
    return {name: _program_name(name) for name in module.state_dict()}


# The final network


def _network(arrays: Arrays) -> Iterator[Check]:
    info, options = read_sizes(arrays)

    import torch
    import torch.nn.functional as F

    import nasreg
    from nasreg_nasbench201.strings import OPERATIONS, all_keys, key_string

    text = str(arrays.get("arch", (), "U"))
    network = nasreg.build_network(text, info, options).double()
    names = program_names(network)
    load_weights(network, names, arrays)
    x, y = arrays.batch("", info)
    classes, width = info.n_classes, 4 * options["channels"]
    theirs = {
        "features_train": arrays.tensor("features_train", (len(x), width)),
        **{name: arrays.tensor(name, (len(x), classes)) for name in ("logits_train", "logits_eval")},
        **{name: arrays.tensor(name, ()) for name in ("loss", "loss_eval")},
    }
    key = "".join(map(str, arrays.get("arch_ops", (6,), "i").tolist()))
    yield Check("arch_ops", int(key not in all_keys() or key_string(key) != text or len(OPERATIONS) != 5), 0)

    features: list[Tensor] = []
    hook = network.get_submodule("classifier").register_forward_pre_hook(lambda _, given: features.append(given[0]))
    logits = network(x)
    hook.remove()
    loss = F.cross_entropy(logits, y)
    parameters = dict(network.named_parameters())
    gradients = torch.autograd.grad(loss, list(parameters.values()), allow_unused=True, materialize_grads=True)
    after = {name: value for name, value in network.named_buffers() if not name.endswith("num_batches_tracked")}
    buffers = {name: value.clone() for name, value in after.items()}
    evaluated = network.eval()(x)
    ours = {
        "features_train": features[0],
        "logits_train": logits,
        "loss": loss,
        "logits_eval": evaluated,
        "loss_eval": F.cross_entropy(evaluated, y),
    }
    for name, value in ours.items():
        yield Check(name, error(value, theirs[name]), TOLERANCE)
    for name, value in buffers.items():
        yield Check(f"after/{names[name]}", error(value, arrays.tensor(f"after/{names[name]}", value.shape)), TOLERANCE)
    yield from gradient_checks(arrays, names, parameters, gradients, whole=True)


def gradient_checks(
    arrays: Arrays,
    names: Mapping[str, str],
    parameters: Mapping[str, Tensor],
    gradients: Sequence[Tensor],
    *,
    whole: bool,
    group: str = "gradnorm",
) -> Iterator[Check]:
    """Compare the gradients by the weights: their norms, and with ``whole`` each number.

    Args:
        arrays: The file.
        names: Names of the parameters -> those of the file.
        parameters: By name.
        gradients: In the same order.
        whole: Whether the file has the gradients beside their norms.
        group: What the names of the norms begin with.
    """
    import torch

    total = arrays.tensor(f"{group}_total", ())
    norms = torch.stack([each.norm() for each in gradients])
    yield Check(f"{group}_total", error(norms.norm(), total), TOLERANCE)
    for name, gradient in zip(parameters, gradients, strict=True):
        program = names[name]
        if whole:
            theirs = arrays.tensor(f"grad/{program}", gradient.shape)
            scale = max(float(theirs.abs().max()), 1e-12 * float(total))
            yield Check(f"grad/{program}", error(gradient, theirs, scale), TOLERANCE)
        norm = arrays.tensor(f"{group}/{program}", ())
        yield Check(f"{group}/{program}", error(gradient.norm(), norm, float(total)), TOLERANCE)


# One search step of the supernet


def _search_steps(arrays: Arrays) -> Iterator[Check]:
    """Check both paths of execution: the optimised one, and plainly."""
    yield from _search_step(arrays, optimized=True)
    for check in _search_step(arrays, optimized=False):
        yield check._replace(name=f"plain: {check.name}")


def _search_step(arrays: Arrays, *, optimized: bool) -> Iterator[Check]:
    info, options = read_sizes(arrays)

    import torch
    import torch.nn.functional as F

    from nasreg.config.lookup import find_space
    from nasreg.mutators import SoftmaxMutator, SoftmaxMutatorConfig
    from nasreg.nn import Execution, extract_space, set_execution
    from nasreg.registry import default_registry
    from nasreg_nasbench201.strings import CELL, architecture_key, format_string

    supernet = find_space(default_registry(), SPACE).build(info, options).double()
    set_execution(supernet, Execution(optimized=optimized, min_fused_numel=0))
    names = program_names(supernet)
    load_weights(supernet, names, arrays)
    space = extract_space(supernet)
    mutator = SoftmaxMutator(space, SoftmaxMutatorConfig()).double()
    alpha = mutator.alpha(CELL)
    with torch.no_grad():
        alpha.copy_(arrays.tensor("alphas", tuple(alpha.shape)))
    mutator.attach(supernet)
    x, y = arrays.batch("", info)
    width = 4 * options["channels"]
    theirs = {
        "weights_softmax": arrays.tensor("weights_softmax", tuple(alpha.shape)),
        "features": arrays.tensor("features", (len(x), width)),
        "logits": arrays.tensor("logits", (len(x), info.n_classes)),
        "loss": arrays.tensor("loss", ()),
        "alpha_grad": arrays.tensor("alpha_grad", tuple(alpha.shape)),
    }
    start = {name: value.clone() for name, value in supernet.state_dict().items()}
    features: list[Tensor] = []
    hook = supernet.get_submodule("classifier").register_forward_pre_hook(lambda _, given: features.append(given[0]))
    logits = supernet(x)
    hook.remove()
    loss = F.cross_entropy(logits, y)
    parameters = dict(supernet.named_parameters())
    found = torch.autograd.grad(loss, [alpha, *parameters.values()], allow_unused=True, materialize_grads=True)
    weights = torch.as_tensor(mutator.probabilities(space[CELL]))
    ours = {
        "weights_softmax": weights,
        "features": features[0],
        "logits": logits,
        "loss": loss,
        "alpha_grad": found[0],
    }
    for name, value in ours.items():
        yield Check(name, error(value, theirs[name]), TOLERANCE)
    yield from gradient_checks(arrays, names, parameters, found[1:], whole=False)
    architecture = mutator.architecture()
    text = str(arrays.get("genotype", (), "U"))
    yield Check("genotype", int(format_string(space, architecture) != text), 0)
    digits = list(map(int, architecture_key(architecture)))
    yield Check("genotype_ops", differing(digits, arrays.get("genotype_ops", (6,), "i").tolist()), 0)

    supernet.load_state_dict(start)
    yield from _iterations(arrays, info, supernet, alpha, names)


def _iterations(
    arrays: Arrays, info: DataInfo, supernet: nn.Module, alpha: Tensor, names: Mapping[str, str]
) -> Iterator[Check]:
    """Repeat the program's steps: of the weights on one batch, then of the alphas on another."""
    import torch
    import torch.nn.functional as F

    n_steps, n_samples = arrays.get("step/base_y", (None, None), "i").shape
    parameters = dict(supernet.named_parameters())
    rates = arrays.get("step/lr", (n_steps,))
    weights = torch.optim.SGD(parameters.values(), lr=0.025, momentum=0.9, weight_decay=5e-4, nesterov=True)
    alphas = torch.optim.Adam([alpha], lr=3e-4, betas=(0.5, 0.999), weight_decay=1e-3)
    shape = (n_steps, n_samples, info.channels, info.height, info.width)
    batches = {}
    for part in ("base", "arch"):
        labels = torch.from_numpy(arrays.get(f"step/{part}_y", (n_steps, n_samples), "i").astype("int64"))
        if int(labels.min()) < 0 or int(labels.max()) >= info.n_classes:
            raise FileError(f"step/{part}_y has labels beyond {info.n_classes} classes")
        batches[part] = arrays.tensor(f"step/{part}_x", shape), labels
    of_classifier = tuple(parameters["classifier.weight"].shape)
    theirs = {
        "base_loss": arrays.tensor("step/base_loss", (n_steps,)),
        "total_norm_before_clip": arrays.tensor("step/total_norm_before_clip", (n_steps,)),
        "arch_loss": arrays.tensor("step/arch_loss", (n_steps,)),
        "alpha_grad": arrays.tensor("step/alpha_grad", (n_steps, *alpha.shape)),
        "alphas_after": arrays.tensor("step/alphas_after", (n_steps, *alpha.shape)),
        "classifier_weight_after": arrays.tensor("step/classifier_weight_after", (n_steps, *of_classifier)),
    }
    for step in range(n_steps):
        ours: dict[str, Any] = {}
        weights.param_groups[0]["lr"] = float(rates[step])
        x, y = (each[step] for each in batches["base"])
        weights.zero_grad()
        ours["base_loss"] = F.cross_entropy(supernet(x), y)
        ours["base_loss"].backward()
        # in the program the alphas are parameters of the network: their gradient counts, with that of the step before
        ours["total_norm_before_clip"] = torch.nn.utils.clip_grad_norm_([*parameters.values(), alpha], 5)
        weights.step()
        x, y = (each[step] for each in batches["arch"])
        alphas.zero_grad()
        ours["arch_loss"] = F.cross_entropy(supernet(x), y)
        ours["arch_loss"].backward()
        ours["alpha_grad"] = alpha.grad
        alphas.step()
        ours["alphas_after"] = alpha
        ours["classifier_weight_after"] = parameters["classifier.weight"]
        for name, value in ours.items():
            yield Check(f"step/{name}[{step}]", error(value, theirs[name][step]), 10 * TOLERANCE)
    state = {names[name]: value for name, value in supernet.state_dict().items()}
    for group, of in (("after", lambda value: value), ("after_norm", torch.Tensor.norm), ("after_buffer", lambda v: v)):
        for name in sorted(arrays.below(f"step/{group}")):
            if name not in state:
                raise FileError(f"step/{group}/{name} belongs to no weight of such a network")
            value = of(state[name])
            found = arrays.tensor(f"step/{group}/{name}", tuple(value.shape))
            yield Check(f"step/{group}/{name}", error(value, found), 10 * TOLERANCE)
