"""NAS-Bench-201: the final network, what networks cost, one search step of the supernet, and isomorphic strings.

The figures are of D-X-Y/AutoDL-Projects; the README beside the files in ``plugins/nasbench201/tests/golden`` says what
is in them. Channels, cells, classes, images and batches may be any.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from golden_files import Arrays, Check, FileError, differing, parsed, relative_error

if TYPE_CHECKING:
    from torch import Tensor, nn

    from nasreg.specs import DataInfo

TOLERANCE = 1e-9
FLOOR = 0.1
"""Numbers below this part of the largest of their array are compared with that part."""

SPACE = "nasbench201"

_Positive = Annotated[int, Field(ge=1, le=10_000)]


class _Form(BaseModel):
    model_config = ConfigDict(strict=True, allow_inf_nan=False)


class Costs(_Form):
    """What a network costs with some number of classes; the sizes of the images are in the names of the others."""

    model_config = ConfigDict(strict=True, extra="allow", allow_inf_nan=False)
    params: int
    authors_param_MB: float | None = None  # noqa: N815  # as in the file


class NetworkCosts(_Form):
    """What an architecture's networks cost."""

    name: str
    arch: str
    classes: dict[str, Costs]


class Networks(_Form):
    """``nb201_networks.json``."""

    C: _Positive
    N: _Positive
    networks: Annotated[list[NetworkCosts], Field(min_length=1)]


class Example(_Form):
    """An architecture and its unique strings."""

    model_config = ConfigDict(strict=True, extra="allow")
    key: str
    str_: str = Field(alias="str")
    unique_zero_true: str
    unique_zero_false: str
    unique_zero_none: str
    connected: bool
    class_representative_key: str


class Symmetry(_Form):
    """``nb201_symmetry.json``; what it counts by rules other than the authors' is not compared."""

    num_strings: int
    num_unique_consider_zero_true: int
    num_unique_consider_zero_false: int
    num_unique_consider_zero_none: int
    num_disconnected_input_output: int
    num_connected: int
    num_distinct_unique_str_among_disconnected: int
    class_size_histogram_consider_zero_true: dict[int, int]
    edges_in_digit_order: list[tuple[int, int]]
    ops_in_digit_order: list[str]
    examples: list[Example]
    pairs_same_class: list[tuple[str, str, int, int, int]]
    sha256_of_representative_keys_joined_by_comma: str | None = None


def recognises(content: Any) -> bool:
    """Return whether a file is in one of these formats."""
    if isinstance(content, Arrays):
        if "naswot_K" in content:  # zero-cost scores of such a network
            return False
        return "C" in content and ("arch_ops" in content or _is_supernet(content))
    if not isinstance(content, dict):
        return False
    return "num_unique_consider_zero_true" in content or {"C", "N", "networks"} <= content.keys()


def checks(content: Any, path: Path) -> Iterator[Check]:
    """Compare nasreg with a file.

    Raises:
        FileError: Something in it is missing or malformed.
    """
    del path
    if isinstance(content, Arrays):
        return _network(content) if "arch_ops" in content else _search_steps(content)
    if "networks" in content:
        return _costs(parsed(Networks, content))
    return _symmetry(parsed(Symmetry, content))


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


# What networks cost


def _costs(content: Networks) -> Iterator[Check]:
    for network in content.networks:
        for classes, costs in network.classes.items():
            if not re.fullmatch(r"[2-9]|[1-9]\d{1,5}", classes):
                raise FileError(f"{network.name}: {classes!r} is no number of classes")
            for name, error_ in _cost_errors(content, network.arch, int(classes), costs):
                yield Check(f"{network.name}, {classes} classes: {name}", error_, 0)


def _cost_errors(content: Networks, arch: str, classes: int, costs: Costs) -> Iterator[tuple[str, float]]:
    from nasreg.nn.parameters import parameter_count

    def relative(ours: float, theirs: Any) -> float:
        if type(theirs) not in (int, float) or not theirs:
            raise FileError(f"{arch}: {theirs!r} is no cost")
        return abs(ours - theirs) / abs(theirs)

    network = _meta_network(content.C, content.N, arch, classes)
    parameters = parameter_count(network)
    yield "params", relative(parameters, costs.params)
    if costs.authors_param_MB is not None:
        yield "authors_param_MB", relative(parameters / 1e6, costs.authors_param_MB)
    macs: dict[int, int] = {}
    for name, theirs in (costs.model_extra or {}).items():
        found = re.fullmatch(r"(macs_conv_linear|authors_flops_M)_(\d{1,4})x\2", name)
        if not found:
            raise FileError(f"{arch}: there is no cost {name!r}")
        side = int(found[2])
        if side not in macs:
            macs[side] = _macs(network, side)
        # the program's own count has the bias of the classifier, too
        ours = macs[side] if found[1] == "macs_conv_linear" else (macs[side] + classes) / 1e6
        yield name, relative(ours, theirs)


def _meta_network(channels: int, cells: int, arch: str, classes: int) -> nn.Module:
    import torch

    import nasreg
    from nasreg.specs import DataInfo

    info = DataInfo(channels=3, height=32, width=32, classes=tuple(map(str, range(classes))))
    with torch.device("meta"):  # neither memory nor time for what is only counted
        return nasreg.build_network(arch, info, {"channels": channels, "cells": cells}).eval()


def _macs(network: nn.Module, side: int) -> int:
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter:
        network(torch.empty(1, 3, side, side, device="meta"))
    return int(counter.get_total_flops()) // 2


# Isomorphic architectures


_PARAMETERS = {"params_cifar10": 10, "params_cifar100": 100, "params_imagenet16_120": 120}
"""Name of a number of parameters -> number of classes."""


def _symmetry(content: Symmetry) -> Iterator[Check]:
    from nasreg.nn.parameters import parameter_count
    from nasreg_nasbench201.strings import (
        EDGES,
        OPERATIONS,
        all_keys,
        is_connected,
        isomorphism_classes,
        key_string,
        unique_string,
    )

    keys = all_keys()
    for name, zeros in (("true", True), ("false", False), ("none", None)):
        theirs = getattr(content, f"num_unique_consider_zero_{name}")
        ours = len({unique_string(key, zeros=zeros) for key in keys})
        yield Check(f"num_unique_consider_zero_{name}", abs(ours - theirs), 0)
    disconnected = [key for key in keys if not is_connected(key)]
    counts = {
        "num_strings": len(keys),
        "num_disconnected_input_output": len(disconnected),
        "num_connected": len(keys) - len(disconnected),
        "num_distinct_unique_str_among_disconnected": len(set(map(unique_string, disconnected))),
    }
    for name, count in counts.items():
        yield Check(name, abs(count - getattr(content, name)), 0)
    classes = isomorphism_classes()
    sizes = Counter(Counter(classes.values()).values())
    name = "class_size_histogram_consider_zero_true"
    yield Check(name, int(dict(sizes) != content.class_size_histogram_consider_zero_true), 0)
    edges = [(source, node + 1) for node, source in EDGES]
    yield Check("edges_in_digit_order", differing(edges, content.edges_in_digit_order), 0)
    yield Check("ops_in_digit_order", differing(OPERATIONS, content.ops_in_digit_order), 0)
    for number, example in enumerate(content.examples):
        key, place = example.key, f"examples[{number}]"
        if key not in classes:
            raise FileError(f"{place}: {key!r} is no key of an architecture")
        ours = {
            "str_": key_string(key),
            "unique_zero_true": unique_string(key),
            "unique_zero_false": unique_string(key, zeros=False),
            "unique_zero_none": unique_string(key, zeros=None),
            "connected": is_connected(key),
            "class_representative_key": classes[key],
        }
        for name, value in ours.items():
            yield Check(f"{place}.{name.rstrip('_')}", int(value != getattr(example, name)), 0)
        counts = {name: value for name, value in (example.model_extra or {}).items() if name in _PARAMETERS}
        without = parameter_count(_meta_network(16, 5, key_string(key), 2)) - 2 * 65 if counts else 0
        for name, theirs in counts.items():  # the classifier has 64 weights and a bias for each class
            yield Check(f"{place}.{name}", int(without + 65 * _PARAMETERS[name] != theirs), 0)
    for number, (one, other, *same) in enumerate(content.pairs_same_class):
        if not {one, other} <= classes.keys():
            raise FileError(f"pairs_same_class[{number}] has a key of no architecture")
        ours = [int(unique_string(one, zeros=z) == unique_string(other, zeros=z)) for z in (True, False, None)]
        yield Check(f"pairs_same_class[{number}]", differing(ours, same), 0)
    if content.sha256_of_representative_keys_joined_by_comma is not None:
        digest = hashlib.sha256(",".join(classes[key] for key in keys).encode()).hexdigest()
        differs = digest != content.sha256_of_representative_keys_joined_by_comma
        yield Check("sha256_of_representative_keys_joined_by_comma", int(differs), 0)
