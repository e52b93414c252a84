"""NAS-Bench-201: parameters and multiply-accumulates of networks, and the classes of isomorphic architectures.

The figures are of D-X-Y/AutoDL-Projects; the README beside the files in ``plugins/nasbench201/tests/golden`` says what
is in them. Channels, cells and numbers of classes may be any.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from golden_files import Check, FileError, differing, parsed

if TYPE_CHECKING:
    from torch import nn

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
    if not isinstance(content, dict):
        return False
    return "num_unique_consider_zero_true" in content or {"C", "N", "networks"} <= content.keys()


def checks(content: Any, path: Path) -> Iterator[Check]:
    """Compare nasreg with a file.

    Raises:
        FileError: Something in it is missing or malformed.
    """
    del path
    if "networks" in content:
        return _costs(parsed(Networks, content))
    return _symmetry(parsed(Symmetry, content))


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
