"""Zero-cost scores of networks of NAS-Bench-201, in float64: all measures of ``nasreg_zerocost`` that have a program.

Scores are in a JSON file ``NAME.json``; the weights, inputs and some intermediate results of each of its networks in
``NAME_INDEX.npz`` beside it, which can also be given alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from golden_files import Arrays, Check, FileError, Strict, differing, named, parsed, read, relative_error

if TYPE_CHECKING:
    from torch import Tensor

    from tiny_network import TinyNetwork

TOLERANCE = 1e-9
GAMMA = 0.01
"""The share of the noise in the Zen-score where a file of arrays is given alone."""
EIGENVALUE_TOLERANCE = 1e-7
"""The program takes eigenvalues of a symmetric matrix as if it were any."""

OfLayers = Literal["grad_norm", "snip", "grasp", "fisher", "plain", "synflow", "synflow_bn"]
Score = OfLayers | Literal["jacob_cov", "naswot_hook_logdet", "zen"]


class Item(Strict):
    """The scores of a network."""

    index: Annotated[int, Field(ge=0)]
    arch_ops: Annotated[list[Annotated[int, Field(ge=0, le=4)]], Field(min_length=6, max_length=6)]
    scores: Annotated[dict[Score, float], Field(min_length=1)]
    layers: list[str]
    per_layer: dict[OfLayers, list[float]]
    zen_mixup_gamma: Annotated[float, Field(gt=0)] = GAMMA


class Scores(Strict):
    """Several networks."""

    op_names: list[str]
    items: Annotated[list[Item], Field(min_length=1)]


def recognises(content: Any) -> bool:
    """Return whether a file is in one of these formats."""
    if isinstance(content, Arrays):
        return "naswot_K" in content
    return isinstance(content, dict) and {"items", "op_names"} <= content.keys()


def checks(content: Any, path: Path) -> Iterator[Check]:
    """Compare nasreg with a file: all scores, or what is in the file of one network.

    Raises:
        FileError: Something in it, or in a file beside it, is missing or malformed.
    """
    return _network_checks(content) if isinstance(content, Arrays) else _score_checks(content, path)


def _network_checks(arrays: Arrays) -> Iterator[Check]:
    network = _Network(arrays)
    yield network.agreement_check()
    yield from network.zen_checks(GAMMA)[1]


def _score_checks(content: Any, path: Path) -> Iterator[Check]:
    from tiny_network import OPERATIONS

    scores = parsed(Scores, content)
    if tuple(scores.op_names) != OPERATIONS:
        raise FileError(f"op_names: expected {', '.join(OPERATIONS)}")
    networks = []
    for item in scores.items:  # before anything is compared
        arrays = read(path.with_name(f"{path.stem}_{item.index}.npz"))
        if not isinstance(arrays, Arrays):
            raise FileError(f"{path.stem}_{item.index}.npz holds no arrays")
        if arrays.get("arch_ops", (6,), "i").tolist() != item.arch_ops:
            raise FileError(f"arch_ops of {path.stem}_{item.index}.npz are not those of item {item.index}")
        networks.append(_Network(arrays))
    for item, network in zip(scores.items, networks, strict=True):
        for check in _item_checks(item, network):
            yield check._replace(name=f"items[{item.index}].{check.name}")


class _Network:
    """A network of the program and the batch that it is scored on.

    Args:
        arrays: Its file.
    """

    def __init__(self, arrays: Arrays) -> None:
        import torch

        from nasreg.specs import DataInfo

        channels = arrays.get("w/stem.0.weight", (None, 3, 3, 3)).shape[0]
        classes = arrays.get("w/classifier.weight", (None, None)).shape[0]
        cells = int(arrays.get("N", (), "i"))
        operations = arrays.get("arch_ops", (6,), "i").tolist()
        if cells < 1 or not all(0 <= operation < 5 for operation in operations):
            raise FileError("N and arch_ops describe no network of NAS-Bench-201")
        height, width = arrays.get("x", (None, 3, None, None)).shape[2:]
        info = DataInfo(channels=3, height=height, width=width, classes=tuple(map(str, range(classes))))
        self.x, self.y = arrays.batch("", info)
        self._size = (channels, cells, classes, operations)
        with torch.device("meta"):
            empty = self._empty()
        shapes = {name: tuple(each.shape) for name, each in empty.state_dict().items()}
        self._state = named(arrays, "w", shapes)
        drawn = {name: tuple(each.shape) for name, each in empty.named_parameters()}
        self._drawn = named(arrays, "zen/w", drawn)
        statistics = {name: shape for name, shape in shapes.items() if ".running_" in name}
        self._after = named(arrays, "zen/after", statistics)
        self._images = [arrays.tensor(f"zen/{name}", tuple(self.x.shape)) for name in ("input", "input2")]
        self._agreement = arrays.tensor("naswot_K", (len(self.x), len(self.x)))

    def _empty(self) -> TinyNetwork:
        from tiny_network import TinyNetwork

        return TinyNetwork(*self._size).double().train()

    def network(self) -> TinyNetwork:
        """Return the network with its weights."""
        network = self._empty()
        network.load_state_dict(self._state)
        return network

    def agreement(self) -> Tensor:
        """Return how many ReLUs agree, as the program counts.

        Its blocks ReLUConvBN have ReLU in their name, too, so that each ReLU but the last, in no block, counts twice.
        """
        from nasreg_zerocost.activations import relu_agreements

        *in_blocks, last = relu_agreements(self.network(), self.x)
        return sum(in_blocks) * 2 + last

    def agreement_check(self) -> Check:
        """Compare the agreement of ReLUs: integers, which have to be equal."""
        return Check("naswot_K", int((self.agreement() != self._agreement).sum()), 0)

    def zen_checks(self, gamma: float) -> tuple[float, list[Check]]:
        """Return the Zen-score with the draws of the program, and compare the running statistics after it."""
        from nasreg_zerocost.zen import zen_of

        network = self.network()
        network.load_state_dict(self._drawn, strict=False)
        value = zen_of(network, *self._images, gamma)
        ours = network.state_dict()
        checks = [
            Check(f"zen/after/{name}", relative_error(ours[name], theirs), TOLERANCE)
            for name, theirs in self._after.items()
        ]
        return value, checks


def _item_checks(item: Item, network: _Network) -> Iterator[Check]:
    import torch

    from nasreg_zerocost import layer_scores, score

    zen, zen_checks = network.zen_checks(item.zen_mixup_gamma)
    whole = {
        "jacob_cov": partial(score, network.network(), "jacob_cov", network.x),
        "naswot_hook_logdet": lambda: float(torch.linalg.slogdet(network.agreement()).logabsdet),
        "zen": lambda: zen,
    }
    first = True
    for name, theirs in item.scores.items():
        tolerance = EIGENVALUE_TOLERANCE if name == "jacob_cov" else TOLERANCE
        if name in whole:
            yield Check(f"scores.{name}", _scalar_error(whole[name](), theirs), tolerance)
            continue
        layers = layer_scores(network.network(), name, network.x, network.y)
        if first:
            yield Check("layers", differing(list(layers), item.layers), 0)
            first = False
        # Shares of both signs add up to much less than they are, such as plain's before BatchNorm.
        scale = _magnitude(network, layers) if name in ("plain", "grasp") else None
        yield Check(f"scores.{name}", _scalar_error(sum(layers.values()), theirs, scale), tolerance)
        if name in item.per_layer:
            expected = torch.tensor(item.per_layer[name], dtype=torch.float64)
            ours = torch.tensor(list(layers.values()), dtype=torch.float64)
            if ours.shape != expected.shape:
                raise FileError(f"items.{item.index}.per_layer.{name}: expected {len(ours)} numbers")
            yield Check(f"per_layer.{name}", relative_error(ours, expected, scale), tolerance)
    yield network.agreement_check()
    yield from zen_checks


def _magnitude(network: _Network, layers: dict[str, float]) -> float:
    from nasreg_zerocost import score

    return max(score(network.network(), "snip", network.x, network.y), *map(abs, layers.values()))


def _scalar_error(ours: float, theirs: float, scale: float | None = None) -> float:
    import torch

    return relative_error(ours, torch.tensor(theirs, dtype=torch.float64), scale)
