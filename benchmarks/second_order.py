"""How noisy the finite difference of DARTS is, next to the exact product: ``python benchmarks/second_order.py``.

The second order of DARTS (arXiv 1806.09055, equation 7) is the validation gradient by the alphas at the weights after a
virtual step, less the learning rate times a product: the mixed second derivative of the training loss, times the
validation gradient by the weights. The paper takes the product by a central difference (equation 8) whose step is
``finite_difference_step`` over the norm of the vector. Two things make it noisy:

- Rounding. The two sides differ little, and their difference is divided by a small step. That grows as the step
  shrinks, and is not there in float64.
- Kinks. The gradient by the alphas jumps wherever a ReLU switches on or off, or another pixel becomes the largest of a
  max-pool. Between the two sides many do, and every jump is divided by the step. That is there in float64 as well.

A search with the second order runs on real images by a preset of DARTS. Before it and after some of its epochs, the
first batches of the epoch that would come next are taken, and nothing is moved. For each pair of them there is one
vector, which all products share. They are compared with the exact product in float64 of a supernet that is computed the
plain way. The figures are means over the pairs. In float64 a step can be so small that it crosses no kink: then the
finite difference is the exact product, which shows that both compute the same.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

import nasreg
from nasreg.data import RunData, digits, folder
from nasreg.data.config import DigitsConfig, FolderConfig
from nasreg.mutators import SoftmaxMutatorConfig
from nasreg.nn import set_execution
from nasreg.spaces.config import DartsSpaceConfig
from nasreg.spaces.darts import build
from nasreg.specs import DataInfo
from nasreg.trainers import Batch
from nasreg_darts.config import DartsTrainerConfig
from nasreg_darts.mutator import DartsMutator
from nasreg_darts.trainer import DartsTrainer
from search_contexts import search_context

PRESETS = nasreg.get_algorithm("darts").presets
CPU = torch.device("cpu")


def make_trainer(info: DataInfo, space: DartsSpaceConfig, **options: Any) -> DartsTrainer:
    """Make a trainer of the second order, at the start of a search."""
    network = partial(build, info, space)
    context = search_context(
        "darts", lambda **_: network(), lambda found: DartsMutator(found, SoftmaxMutatorConfig()), CPU
    )
    trainer = DartsTrainer(context, DartsTrainerConfig(**{**options, "second_order": True}))
    torch.manual_seed(0)
    trainer.setup()
    trainer.model.train()
    return trainer


def train(trainer: DartsTrainer, data: RunData, epoch: int) -> None:
    """Train for an epoch."""
    trainer.start_epoch(epoch)
    for pair in batches(trainer, data, epoch, None):
        trainer.train_step(*pair)


def batches(trainer: DartsTrainer, data: RunData, epoch: int, steps: int | None) -> list[tuple[Batch, Batch]]:
    """Return the pairs of batches that an epoch begins with; all of them, where no number is given."""
    size = trainer.config.batch_size
    steps = data.splits["train"].steps(size) if steps is None else steps
    passes = (data.splits[name].batches(batch_size=size, epoch=epoch, steps=steps) for name in ("train", "arch"))
    return list(zip(*passes, strict=True))


class Products:
    """Computes at the weights and alphas of a search, in another precision, and moves nothing.

    Args:
        trainer: Of the same sizes as the search's.
        dtype: The precision.
    """

    def __init__(self, trainer: DartsTrainer, dtype: torch.dtype) -> None:
        self.trainer, self.dtype = trainer, dtype
        trainer.model.to(dtype)
        trainer.mutator.to(dtype)

    def follow(self, search: DartsTrainer, epoch: int) -> None:
        """Take weights, alphas and momentum as they are before an epoch."""
        self.trainer.load_state_dict(search.state_dict())
        self.trainer.start_epoch(epoch)

    def _configure(self, **options: Any) -> None:
        self.trainer.config = self.trainer.config.model_copy(update=options)
        set_execution(self.trainer.model, self.trainer.execution())

    def _batch(self, batch: Batch) -> Batch:
        return batch[0].to(self.dtype), batch[1]

    def first_order(self, pair: tuple[Batch, Batch]) -> Tensor:
        """Return the gradient of the first order by the alphas."""
        self._configure(second_order=False)
        found = self.trainer.arch_gradient(*map(self._batch, pair))
        self._configure(second_order=True)
        return _flat(found)

    def unrolled(self, pair: tuple[Batch, Batch]) -> tuple[Tensor, list[Tensor]]:
        """Return the validation gradient at the weights after the virtual step: by the alphas, and by the weights."""
        self._configure(hessian_product="finite_difference")
        training, validation = map(self._batch, pair)
        weights = self.trainer.unrolled_weights(training)
        alphas = self.trainer.alphas
        both = self.trainer.gradients(validation, [*alphas, *weights.values()], weights).values
        return _flat(both[: len(alphas)]), both[len(alphas) :]

    def product(self, pair: tuple[Batch, Batch], vector: Sequence[Tensor], step: float | None) -> Tensor:
        """Return the product with a vector by a finite difference of that step; without one, exactly."""
        if step is None:
            self._configure(hessian_product="exact")
        else:
            self._configure(hessian_product="finite_difference", finite_difference_step=step)
        along = [part.to(self.dtype) for part in vector]
        return _flat(self.trainer.hessian_vector_product(self._batch(pair[0]), along)).double()


def _flat(tensors: Sequence[Tensor]) -> Tensor:
    return torch.cat([tensor.detach().reshape(-1) for tensor in tensors])


class Way(NamedTuple):
    """A way to take the product."""

    precision: str
    """Which of the ``Products``."""
    step: float | None
    """Of the finite difference; None: exactly."""

    def __str__(self) -> str:
        return f"{self.precision}, {'exact' if self.step is None else f'step {self.step:g}'}"


Tables = dict[str, dict[str, float]]
"""Title of a table -> title of a row -> what was measured at one point of a search."""


def measure(products: Mapping[str, Products], pair: tuple[Batch, Batch], ways: Sequence[Way]) -> Tables:
    """Compare all ways on a pair of batches."""
    reference = products["float64"]
    rate = reference.trainer.optimizers["weights"].param_groups[0]["lr"]
    first, vector = reference.unrolled(pair)
    exact = reference.product(pair, vector, None)
    whole = first - rate * exact
    found = {str(way): products[way.precision].product(pair, vector, way.step) for way in ways}
    missed = {way: float((each - exact).norm()) for way, each in found.items()}
    second = rate * float(exact.norm())
    return {
        "the gradient by the alphas": {
            "norm of the first term": float(first.norm()),
            "norm of the second term": second,
            "second over first": second / float(first.norm()),
            "cosine of first and second order": _cosine(reference.first_order(pair), whole),
        },
        "error of the product, relative": {way: each / float(exact.norm()) for way, each in missed.items()},
        "cosine with the exact product": {way: _cosine(each, exact) for way, each in found.items()},
        "error of the gradient, relative": {way: rate * each / float(whole.norm()) for way, each in missed.items()},
    }


def _cosine(a: Tensor, b: Tensor) -> float:
    return float(torch.dot(a, b) / (a.norm() * b.norm()))


def show(points: Mapping[int, Sequence[Tables]]) -> None:
    """Print the means at each point, by the number of epochs before it."""
    for title, table in next(iter(points.values()))[0].items():
        print(f"\n{title + ', after epochs':44}" + "".join(f"{epoch:10}" for epoch in points))
        for row in table:
            means = [statistics.fmean(each[title][row] for each in found) for found in points.values()]
            print(f"{row:44}" + "".join(f"{mean:10.3g}" for mean in means))


def load(path: Path | None, side: int, options: Mapping[str, Any]) -> RunData:
    """Read the images: those of a folder, or the digits."""
    if path is None:
        config = DigitsConfig(**options).with_splits({"arch"}, "the search")
        return RunData(digits.load(config), config, 0, CPU)
    own = FolderConfig(path=str(path), image_size=side, **options).with_splits({"arch"}, "the search")
    return RunData(folder.load(own), own, 0, CPU)


def main() -> None:
    """Search, measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", choices=PRESETS, default="demo", help="of DARTS; paper takes many times as long")
    parser.add_argument("--folder", type=Path, help="images of your own, one folder for each class, not the digits")
    parser.add_argument("--side", type=int, default=32, help="pixels a side that those are brought to")
    parser.add_argument("--after", nargs="+", type=int, default=[0, 1, 4, 8], help="epochs after which to measure")
    parser.add_argument("--pairs", type=int, default=6, help="pairs of batches at each point")
    parser.add_argument(
        "--steps", nargs="*", type=float, default=[1, 0.1, 0.01, 0.001], help="finite_difference_step, in float32"
    )
    parser.add_argument("--double-steps", nargs="*", type=float, default=[0.01, 1e-8], help="the same in float64")
    for name in ("cells", "channels", "nodes", "batch-size"):
        parser.add_argument(f"--{name}", type=int, help="by default that of the preset")
    options = parser.parse_args()
    preset = PRESETS[options.preset]
    sizes = {name: size for name in ("cells", "channels", "nodes") if (size := getattr(options, name)) is not None}
    space = DartsSpaceConfig(**{**preset.spaces["darts"], **sizes})
    batch = {} if options.batch_size is None else {"batch_size": options.batch_size}
    data = load(options.folder, options.side, preset.dataset)
    make = partial(make_trainer, data.info, space, **{**preset.trainer, **batch})
    search = make()
    products = {
        "float32": Products(make(), torch.float32),
        "float64": Products(make(execution="plain"), torch.float64),  # others are compared with its exact product
    }
    ways = [Way("float32", None), *(Way("float32", step) for step in options.steps)]
    ways += [Way("float64", step) for step in options.double_steps]
    print(
        f"torch {torch.__version__}, {torch.get_num_threads()} threads; images {data.info.channels}x{data.info.height}"
        f"x{data.info.width}, {space.cells} cells, C={space.channels}, {space.nodes} nodes, batches of"
        f" {search.config.batch_size}, learning rate {search.config.lr:g};"
        f" means over {options.pairs} pairs of batches"
    )
    points: dict[int, list[Tables]] = {}
    for epoch in range(max(options.after) + 1):
        if epoch in options.after:
            for each in products.values():
                each.follow(search, epoch)
            points[epoch] = [measure(products, pair, ways) for pair in batches(search, data, epoch, options.pairs)]
        if epoch < max(options.after):
            train(search, data, epoch)
    show(points)


if __name__ == "__main__":
    main()
