"""Networks of published genotypes are those of the authors' programs: sizes exactly, figures to 1e-9."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch.utils.flop_counter import FlopCounterMode

from nasreg.networks import build_network
from nasreg.specs import DataInfo

GOLDEN = Path(__file__).with_name("golden")
SIZES = json.loads((GOLDEN / "eval_networks.json").read_text())
CLASSES = {"cifar10": (10, 32), "cifar100": (100, 32), "imagenet": (1000, 224)}


def info(data: str) -> DataInfo:
    classes, side = CLASSES[data]
    return DataInfo(channels=3, height=side, width=side, classes=tuple(map(str, range(classes))))


@pytest.mark.parametrize("case", SIZES)
def test_parameters_and_multiply_accumulates_are_the_authors(case):
    name, data, width, depth, _ = case.split()
    size = {"cells": int(depth[1:]), "channels": int(width[1:])}
    side = CLASSES[data][1]
    with torch.device("meta"):
        network = build_network(name, info(data), {**size, "auxiliary": True}).eval()
        with FlopCounterMode(display=False) as counter:
            network(torch.empty(1, 3, side, side))
    total, head = (sum(p.numel() for p in module.parameters()) for module in (network, network.auxiliary_head))
    of_head = sum(counter.get_flop_counts()["DartsNetwork.auxiliary_head"].values())
    found = {
        "params_total": total,
        "params_without_aux": total - head,
        "macs": (counter.get_total_flops() - of_head) // 2,
    }
    assert found == SIZES[case]


def _ours(name: str) -> str:
    """Translate a name of the authors' program; see golden/README.md."""
    part, _, rest = name.partition(".")
    if part == "stem":
        return f"stem0.{rest}"
    if part == "classifier":
        return name
    if part == "auxiliary_head":
        kind, _, rest = rest.partition(".")
        return f"auxiliary_head.9.{rest}" if kind == "classifier" else f"auxiliary_head.{rest}"
    number, _, rest = rest.partition(".")
    if rest.startswith("preprocess"):
        return f"cells.{number}.{rest.replace('.op.', '.')}"
    _, operation, rest = rest.split(".", 2)
    source = DARTS_V2["reduce" if int(number) in (2, 4) else "normal"][int(operation)]
    place = f"cells.{number}.cell.node{int(operation) // 2}_from{source}.0."
    return place + (rest.removeprefix("op."))


DARTS_V2 = {"normal": [0, 1, 0, 1, 1, 0, 0, 2], "reduce": [0, 1, 2, 1, 0, 2, 2, 1]}
"""The sources of its operations."""


def test_a_step_of_the_retrain_network_agrees():
    golden = np.load(GOLDEN / "eval_network.npz")
    options = {"cells": 6, "channels": 4, "auxiliary": True}
    network = build_network("DARTS_V2", info("cifar10"), options).double()
    parameters = dict(network.named_parameters())
    names = [name.removeprefix("weight/") for name in golden if name.startswith("weight/")]
    assert {_ours(name) for name in names} == set(parameters)
    with torch.no_grad():
        for name in names:
            parameters[_ours(name)].copy_(torch.from_numpy(golden[f"weight/{name}"]))
    x, y = torch.from_numpy(golden["x"]).double(), torch.from_numpy(golden["y"])
    logits, auxiliary = network(x)
    loss = F.cross_entropy(logits, y) + 0.4 * F.cross_entropy(auxiliary, y)
    loss.backward()
    found = {"train_logits": logits, "train_aux_logits": auxiliary, "train_loss": loss}
    found |= {f"grad_norm/{name}": parameters[_ours(name)].grad.norm() for name in names}
    found["eval_logits_after_one_forward"] = network.eval()(x)[0]
    checked = 0
    for name, value in found.items():
        np.testing.assert_allclose(value.detach().numpy(), golden[name], rtol=1e-9, atol=1e-12, err_msg=name)
        checked += 1
    assert checked == len([name for name in golden if not name.startswith("weight/")]) - 2  # x and y
