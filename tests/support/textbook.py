"""DARTS and P-DARTS written down plainly, without nasreg: what fidelity.py can be tried on at any size.

Modules and arrays have the names of the authors' programs. Nothing here is fast.
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

OPERATIONS = ["none", "max_pool_3x3", "avg_pool_3x3", "skip_connect"]
OPERATIONS += ["sep_conv_3x3", "sep_conv_5x5", "dil_conv_3x3", "dil_conv_5x5"]
KEYS = ("normal", "reduce")


class Ops(nn.Module):
    """A sequence of modules that the programs call ``op``."""

    def __init__(self, *modules: nn.Module) -> None:
        super().__init__()
        self.op = nn.Sequential(*modules)

    def forward(self, x: Tensor) -> Tensor:
        return self.op(x)


class FactorizedReduce(nn.Module):
    def __init__(self, c_in: int, c_out: int, affine: bool) -> None:
        super().__init__()
        self.conv_1 = nn.Conv2d(c_in, c_out // 2, 1, stride=2, bias=False)
        self.conv_2 = nn.Conv2d(c_in, c_out // 2, 1, stride=2, bias=False)
        self.bn = nn.BatchNorm2d(c_out, affine=affine)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(x)
        return self.bn(torch.cat([self.conv_1(x), self.conv_2(x[:, :, 1:, 1:])], 1))


class Zero(nn.Module):
    def __init__(self, stride: int) -> None:
        super().__init__()
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        return 0 * x[:, :, :: self.stride, :: self.stride]


def relu_conv_bn(c_in: int, c_out: int, affine: bool) -> Ops:
    return Ops(nn.ReLU(), nn.Conv2d(c_in, c_out, 1, bias=False), nn.BatchNorm2d(c_out, affine=affine))


def operation(name: str, c: int, stride: int, affine: bool) -> nn.Module:
    if name == "none":
        return Zero(stride)
    if name == "skip_connect":
        return nn.Identity() if stride == 1 else FactorizedReduce(c, c, affine)
    if name.endswith("pool_3x3"):
        pool = nn.MaxPool2d(3, stride, 1) if "max" in name else nn.AvgPool2d(3, stride, 1, count_include_pad=False)
        return pool if affine else nn.Sequential(pool, nn.BatchNorm2d(c, affine=False))
    k, dilation = int(name[-1]), 2 if name.startswith("dil") else 1

    def part(stride: int) -> list[nn.Module]:
        depthwise = nn.Conv2d(c, c, k, stride, dilation * (k // 2), dilation, groups=c, bias=False)
        return [nn.ReLU(), depthwise, nn.Conv2d(c, c, 1, bias=False), nn.BatchNorm2d(c, affine=affine)]

    return Ops(*part(stride), *(part(1) if dilation == 1 else []))


class MixedOp(nn.Module):
    def __init__(self, c: int, stride: int) -> None:
        super().__init__()
        self._ops = nn.ModuleList(operation(name, c, stride, affine=False) for name in OPERATIONS)

    def forward(self, x: Tensor, weights: Tensor) -> Tensor:
        return sum(w * op(x) for w, op in zip(weights, self._ops, strict=True))


class Cell(nn.Module):
    """With a genotype the operations of that, else a mixture on each of 14 edges."""

    def __init__(
        self, c_pp: int, c_p: int, c: int, reduction: bool, before: bool, genotype: list[tuple[str, int]] | None
    ) -> None:
        super().__init__()
        affine = genotype is not None
        self.preprocess0 = FactorizedReduce(c_pp, c, affine) if before else relu_conv_bn(c_pp, c, affine)
        self.preprocess1 = relu_conv_bn(c_p, c, affine)
        self.genotype, self.reduction = genotype, reduction
        if genotype is None:
            sources = [source for node in range(4) for source in range(2 + node)]
            self._ops = nn.ModuleList(MixedOp(c, 2 if reduction and source < 2 else 1) for source in sources)
        else:
            self._ops = nn.ModuleList(
                operation(name, c, 2 if reduction and source < 2 else 1, affine=True) for name, source in genotype
            )

    def forward(self, s0: Tensor, s1: Tensor, weights: Tensor | None) -> Tensor:
        states = [self.preprocess0(s0), self.preprocess1(s1)]
        edge = 0
        for node in range(4):
            if self.genotype is None:
                total = sum(self._ops[edge + j](state, weights[edge + j]) for j, state in enumerate(states))
                edge += 2 + node
            else:
                total = sum(self._ops[j](states[self.genotype[j][1]]) for j in (2 * node, 2 * node + 1))
            states.append(total)
        return torch.cat(states[2:], 1)


class AuxiliaryHead(nn.Module):
    def __init__(self, c: int, classes: int) -> None:
        super().__init__()
        pool, pixel = nn.AvgPool2d(5, 3, 0, count_include_pad=False), nn.Conv2d(c, 128, 1, bias=False)
        last = nn.Conv2d(128, 768, 2, bias=False)
        self.features = nn.Sequential(
            nn.ReLU(), pool, pixel, nn.BatchNorm2d(128), nn.ReLU(), last, nn.BatchNorm2d(768), nn.ReLU()
        )
        self.classifier = nn.Linear(768, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.features(x).flatten(1))


class Network(nn.Module):
    """The supernet, or with genotypes (normal, reduce) the network to retrain."""

    def __init__(
        self, c: int, cells: int, classes: int, genotypes: dict[str, Any] | None = None, auxiliary: bool = False
    ) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 3 * c, 3, padding=1, bias=False), nn.BatchNorm2d(3 * c))
        c_pp = c_p = 3 * c
        before, self.cells = False, nn.ModuleList()
        for number in range(cells):
            reduction = number in (cells // 3, 2 * cells // 3)
            c *= 2 if reduction else 1
            genotype = genotypes["reduce" if reduction else "normal"] if genotypes else None
            self.cells.append(Cell(c_pp, c_p, c, reduction, before, genotype))
            c_pp, c_p, before = c_p, 4 * c, reduction
            if auxiliary and number == 2 * cells // 3:
                self.auxiliary_head = AuxiliaryHead(c_p, classes)
        self.classifier = nn.Linear(c_p, classes)

    def forward(self, x: Tensor, alphas: dict[str, Tensor] | None = None) -> Any:
        s0 = s1 = self.stem(x)
        auxiliary = None
        for number, cell in enumerate(self.cells):
            weights = alphas["reduce" if cell.reduction else "normal"].softmax(-1) if alphas else None
            s0, s1 = s1, cell(s0, s1, weights)
            if hasattr(self, "auxiliary_head") and number == 2 * len(self.cells) // 3:
                auxiliary = self.auxiliary_head(s1)
        logits = self.classifier(s1.mean((2, 3)))
        return logits if auxiliary is None else (logits, auxiliary)


def derive(weights: np.ndarray) -> list[list[Any]]:
    """Derive a cell as DARTS does, from softmax weights ``(14, 8)``."""
    kept, edge = [], 0
    for node in range(4):
        rows = [(max(weights[edge + j][1:]), j) for j in range(2 + node)]
        for _, j in sorted(rows, key=lambda row: -row[0])[:2]:
            kept.append([OPERATIONS[1 + int(np.argmax(weights[edge + j][1:]))], j])
        edge += 2 + node
    return kept


def search_step(*, c: int, cells: int, classes: int, side: int, batch: int, seed: int) -> dict[str, np.ndarray]:
    """Return what a file of a search step holds."""
    torch.manual_seed(seed)
    model = Network(c, cells, classes)
    w = {name: (each + 0.01 * torch.randn_like(each)).detach() for name, each in model.named_parameters()}
    m = {name: 0.02 * torch.randn_like(each) for name, each in w.items()}
    alphas = {key: 0.5 * torch.randn(14, 8) for key in KEYS}
    x = {part: torch.randn(batch, 3, side, side) for part in ("train", "valid")}
    y = {part: torch.randint(classes, (batch,)) for part in x}
    given = {**{f"weight/{n}": each for n, each in w.items()}, **{f"momentum/{n}": each for n, each in m.items()}}
    given |= {f"alpha_{key}": alpha for key, alpha in alphas.items()}
    given |= {f"{part}_x": each for part, each in x.items()} | {f"{part}_y": each for part, each in y.items()}

    model = model.double()
    w = {name: each.double().requires_grad_() for name, each in w.items()}
    m = {name: each.double() for name, each in m.items()}
    a = {key: alpha.double().requires_grad_() for key, alpha in alphas.items()}
    x = {part: each.double() for part, each in x.items()}

    def loss(part: str, weights: dict[str, Tensor]) -> Tensor:
        return F.cross_entropy(functional_call(model, weights, (x[part], a)), y[part])

    def by(value: Tensor, where: dict[str, Tensor], **options: bool) -> dict[str, Tensor]:
        return dict(zip(where, torch.autograd.grad(value, list(where.values()), **options), strict=True))

    found: dict[str, Any] = {"train_logits": functional_call(model, w, (x["train"], a))}
    found |= {f"{part}_loss": loss(part, w) for part in x}
    first = by(loss("valid", w), a)
    gradient = by(loss("train", w), w, create_graph=True)
    # The unrolled loss as one graph, through the gradient of the first step.
    unrolled = {n: w[n] - 0.025 * (0.9 * m[n] + gradient[n] + 3e-4 * w[n]) for n in w}
    found["unrolled_valid_loss"] = loss("valid", unrolled)
    exact = by(found["unrolled_valid_loss"], a)
    leaves = {n: each.detach().requires_grad_() for n, each in unrolled.items()}
    both = by(loss("valid", leaves), {**leaves, **a})
    v = {n: both[n] for n in w}
    step = 0.01 / torch.cat([each.flatten() for each in v.values()]).norm()
    plus, minus = (by(loss("train", {n: w[n].detach() + sign * step * v[n] for n in w}), a) for sign in (1, -1))
    gradient = {n: each.detach() for n, each in gradient.items()}
    norm = torch.cat([each.flatten() for each in gradient.values()]).norm()
    for key in KEYS:
        found[f"first_order_{key}"] = first[key]
        found[f"second_order_exact_{key}"] = exact[key]
        found[f"second_order_fd_{key}"] = both[key] - 0.025 * (plus[key] - minus[key]) / (2 * step)
        g = first[key] + 1e-3 * a[key]  # Adam's first step: the moments are corrected to g and its square
        found[f"alpha_after_adam_{key}"] = a[key] - 3e-4 * g / (g.abs() + 1e-8)
    found["grad_norm_before_clip"] = norm
    for name in w:
        clipped = gradient[name] * min(1.0, 5 / (float(norm) + 1e-6))
        after = w[name] - 0.025 * (0.9 * m[name] + clipped + 3e-4 * w[name])
        found |= {f"weight_after_sum/{name}": after.sum(), f"weight_after_norm/{name}": after.norm()}
    genotype = {key: derive(a[key].softmax(-1).detach().numpy()) for key in KEYS}
    genotype |= {f"{key}_concat": [2, 3, 4, 5] for key in KEYS}
    arrays = {name: each.detach().numpy() for name, each in {**given, **found}.items()}
    return {**arrays, "genotype": np.array(json.dumps(genotype))}


DARTS_V2 = {
    "normal": [
        *(("sep_conv_3x3", 0), ("sep_conv_3x3", 1), ("sep_conv_3x3", 0), ("sep_conv_3x3", 1)),
        *(("sep_conv_3x3", 1), ("skip_connect", 0), ("skip_connect", 0), ("dil_conv_3x3", 2)),
    ],
    "reduce": [
        *(("max_pool_3x3", 0), ("max_pool_3x3", 1), ("skip_connect", 2), ("max_pool_3x3", 1)),
        *(("max_pool_3x3", 0), ("skip_connect", 2), ("skip_connect", 2), ("max_pool_3x3", 1)),
    ],
}


def retrain_step(
    *, c: int, cells: int, classes: int, sides: tuple[int, int], batch: int, auxiliary: bool, seed: int
) -> dict[str, np.ndarray]:
    """Return what a file of a step of the network of DARTS_V2 holds."""
    torch.manual_seed(seed)
    model = Network(c, cells, classes, DARTS_V2, auxiliary)
    with torch.no_grad():
        for each in model.parameters():
            each.add_(0.05 * torch.randn_like(each))
    x, y = torch.randn(batch, 3, *sides), torch.randint(classes, (batch,))
    found: dict[str, Tensor] = {f"weight/{name}": each.clone() for name, each in model.named_parameters()}
    found |= {"x": x, "y": y}
    output = model.double()(x.double())
    logits = output[0] if auxiliary else output
    loss = F.cross_entropy(logits, y)
    if auxiliary:
        found["train_aux_logits"] = output[1]
        loss = loss + 0.4 * F.cross_entropy(output[1], y)
    loss.backward()
    found |= {"train_logits": logits, "train_loss": loss}
    found |= {f"grad_norm/{name}": each.grad.norm() for name, each in model.named_parameters()}
    evaluated = model.eval()(x.double())
    found["eval_logits_after_one_forward"] = evaluated[0] if auxiliary else evaluated
    return {name: each.detach().numpy() for name, each in found.items()}


def counts(*, c: int, cells: int, classes: int, side: int) -> dict[str, int]:
    """Return what a file of counts holds of the network of DARTS_V2."""
    model = Network(c, cells, classes, DARTS_V2, auxiliary=True).eval()
    total = sum(each.numel() for each in model.parameters())
    head = sum(each.numel() for each in model.auxiliary_head.parameters())
    del model.auxiliary_head
    macs = 0

    def add(module: nn.Module, _: Any, output: Tensor) -> None:
        nonlocal macs  # each number of the output is a sum over a row of the weight
        macs += output.numel() * module.weight[0].numel()

    for module in model.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            module.register_forward_hook(add)
    model(torch.zeros(1, 3, side, side))
    return {"params_total": total, "params_without_aux": total - head, "macs": macs}


def dropping(*, cases: int, kept: tuple[int, ...], limits: tuple[int, ...], seed: int) -> dict[str, Any]:
    """Return what a file of P-DARTS holds, for runs of ``len(kept) + 1`` stages."""
    rng = np.random.default_rng(seed)
    return {"primitives": OPERATIONS, "cases": [_dropping(rng, (*kept, 1), limits) for _ in range(cases)]}


def _dropping(rng: np.random.Generator, kept: tuple[int, ...], limits: tuple[int, ...]) -> dict[str, Any]:
    left = {key: [list(OPERATIONS) for _ in range(14)] for key in KEYS}
    stages, weights = [], {}
    for number, n in enumerate(kept):
        last = number == len(kept) - 1
        stage: dict[str, Any] = {}
        for key in KEYS:
            alphas = [rng.standard_normal(len(names)).tolist() for names in left[key]]
            stage |= {f"alpha_{key}": alphas, f"candidates_{key}": [list(names) for names in left[key]]}
            softmax = [np.exp(row) / np.exp(row).sum() for row in alphas]
            weights[key] = [dict(zip(*pair, strict=True)) for pair in zip(left[key], softmax, strict=True)]
            left[key] = [_drop(row, n, last) for row in weights[key]]
            stage[f"kept_{key}"] = left[key]
        stages.append(stage)
    normal, reduce = (_derive(weights[key]) for key in KEYS)
    limited = {}
    for most in limits:
        rows = [dict(row) for row in weights["normal"]]
        while len(skips := _skips(cell := _derive(rows))) > most:
            rows[min(skips, key=lambda edge: rows[edge]["skip_connect"])]["skip_connect"] = 0.0
        limited[str(most)] = {"normal": cell, "reduce": reduce}
    return {
        "stages": stages,
        "genotype_unrestricted": {"normal": normal, "reduce": reduce},
        "genotype_by_max_skips": limited,
    }


def _skips(cell: list[list[Any]]) -> list[int]:
    """Return the edges with a skip connection; two are kept for each node, which has 2, 3, 4, 5 of them."""
    return [(0, 2, 5, 9)[n // 2] + source for n, (name, source) in enumerate(cell) if name == "skip_connect"]


def _drop(row: dict[str, float], n: int, last: bool) -> list[str]:
    names = [name for name in row if not (last and name == "none")]
    for name in sorted(names, key=row.__getitem__)[: len(names) - n]:
        names.remove(name)
    return names


def _derive(rows: list[dict[str, float]]) -> list[list[Any]]:
    """Rank edges by their largest weight with that of ``none`` set to 0; of two, the one of the lower source first."""
    cell: list[list[Any]] = []
    for node, start in enumerate((0, 2, 5, 9)):
        best = {j: max((w, name) for name, w in rows[start + j].items() if name != "none") for j in range(2 + node)}
        cell += [[best[j][1], j] for j in sorted(sorted(best, key=best.__getitem__)[-2:])]
    return cell
