"""Images per second of the loaders, next to what a search step consumes: ``python benchmarks/data.py``.

The step is one of first order of DARTS: a batch to learn the alphas on, then one to learn the weights on. The loaders
are read as a search reads them, both parts in step with each other, for whole epochs. They read JPEG files that are
made for it, or those of ``--folder``, as a folder held in memory, as the same folder read anew each time, and as a
``Dataset`` of somebody's own that has its images as tensors; and ``digits``, whose images are smaller, and its steps
quicker. Loaders and steps are measured in turn; the table has the median of a loader, and the fastest of the steps,
which asks most of it. Without loader processes a loader works while no step does: at a ratio of 4, it makes a search
take a quarter longer.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import interpolate
from torch.utils.data import Dataset

from nasreg.data import RunData, digits, folder, from_torch
from nasreg.data.config import DatasetConfig, DigitsConfig, FolderConfig
from nasreg.mutators import SoftmaxMutatorConfig
from nasreg.spaces.config import DartsSpaceConfig
from nasreg.spaces.darts import build
from nasreg.specs import DataInfo
from nasreg.trainers.device import resolve_device
from nasreg_darts.config import DartsTrainerConfig
from nasreg_darts.mutator import DartsMutator
from nasreg_darts.trainer import DartsTrainer
from search_contexts import search_context

SIDE = 32
CLASSES = 10
SMALL, PAPER = {"cells": 3, "channels": 4}, {"cells": 8, "channels": 16}
PLAIN: dict[str, Any] = {"crop_padding": 0, "flip": False, "cutout": 0}
AUGMENTED: dict[str, Any] = {"crop_padding": 4, "flip": True, "cutout": 16}


class Own(Dataset[tuple[Tensor, int]]):
    """A data set of somebody's own: its images are tensors in memory, which nasreg does not know."""

    def __init__(self, n: int) -> None:
        self.images = smooth_images(n)
        self.targets = [number % CLASSES for number in range(n)]

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self.images[index], self.targets[index]


@dataclass
class Loader:
    """A way to read images, and how fast it was in each round."""

    title: str
    augmented: bool
    data: RunData
    rates: list[float] = field(default_factory=list)

    def measure(self, batch_size: int, epoch: int) -> None:
        """Read an epoch as a search does."""
        train, arch = (self.data.splits[name] for name in ("train", "arch"))
        steps = train.steps(batch_size)
        seen, last = 0, torch.zeros(())
        began = time.perf_counter()
        passes = (split.batches(batch_size=batch_size, epoch=epoch, steps=steps) for split in (train, arch))
        for both in zip(*passes, strict=True):
            seen += sum(len(labels) for _, labels in both)
            last = both[1][0]
        float(last.sum())  # waits for a device that works on its own
        self.rates.append(seen / (time.perf_counter() - began))


@dataclass
class Step:
    """A search step on images of one shape, and how many images it consumed in a second."""

    trainer: DartsTrainer
    batches: list[tuple[Tensor, Tensor]]
    rates: list[float] = field(default_factory=list)

    def measure(self) -> None:
        """Do a step."""
        began = time.perf_counter()
        self.trainer.train_step(*self.batches)
        float(next(self.trainer.model.parameters()).detach().sum())  # waits for a device that works on its own
        self.rates.append(sum(len(labels) for _, labels in self.batches) / (time.perf_counter() - began))


def smooth_images(n: int) -> Tensor:
    """Return random images ``(n, 3, 32, 32)`` in uint8 that have no sharp edges, as photographs hardly have."""
    coarse = torch.rand(n, 3, 5, 5, generator=torch.Generator().manual_seed(0))
    return (255 * interpolate(coarse, size=SIDE, mode="bicubic").clamp(0, 1)).to(torch.uint8)


def write_folder(path: Path, n: int) -> None:
    """Write JPEG files, a folder for each class."""
    for label in range(CLASSES):
        (path / f"class-{label}").mkdir()
    for number, image in enumerate(smooth_images(n)):
        picture = Image.fromarray(image.permute(1, 2, 0).numpy())
        picture.save(path / f"class-{number % CLASSES}" / f"{number:06}.jpg", quality=90)


def loaders(path: Path, n: int, workers: int, device: torch.device) -> list[Loader]:
    """Return all of them, each without and with augmentation."""
    found: list[Loader] = []
    own = from_torch(Own(n))
    for augmented, options in ((False, PLAIN), (True, AUGMENTED)):

        def add(title: str, dataset: Any, config: DatasetConfig, augmented: bool = augmented) -> None:
            data = RunData(dataset, config.with_splits({"arch"}, "the search"), 0, device)
            found.append(Loader(title, augmented, data))

        read = partial(FolderConfig, path=str(path), image_size=SIDE, **options)
        held = read(in_memory="yes")
        add("folder, held in memory", folder.load(held), held)
        for processes in (0, workers):
            streamed = read(in_memory="no", workers=processes)
            add(f"folder, streamed, {processes} workers", folder.load(streamed), streamed)
            add(f"Dataset, {processes} workers", own, DatasetConfig(workers=processes, **options))
        smaller = {**options, "crop_padding": options["crop_padding"] // 4, "cutout": options["cutout"] // 4}
        small = DigitsConfig(**smaller)
        add("digits", digits.load(small), small)
    return sorted(found, key=lambda loader: loader.title)


def search_step(info: DataInfo, options: dict[str, int], batch_size: int, device: torch.device) -> Step:
    """Make a supernet of the DARTS space, and batches for it."""
    network = partial(build, info, DartsSpaceConfig(**options))
    context = search_context(
        "darts", lambda **_: network(), lambda space: DartsMutator(space, SoftmaxMutatorConfig()), device
    )
    trainer = DartsTrainer(context, DartsTrainerConfig(batch_size=batch_size))
    trainer.setup()
    trainer.start_epoch(0)
    trainer.model.train()
    images = torch.randn(2, batch_size, info.channels, info.height, info.width, device=device)
    labels = torch.randint(info.n_classes, (2, batch_size), device=device)
    return Step(trainer, list(zip(images, labels, strict=True)))


def show(found: list[Loader], steps: dict[str, Step]) -> None:
    """Print the tables, and which loaders are too slow."""
    print(f"\n{'a search step on':32}{'ms':>10}{'images/s':>12}")
    for shape, step in steps.items():
        rate = max(step.rates)
        milliseconds = 1000 * sum(len(labels) for _, labels in step.batches) / rate
        print(f"{shape:32}{milliseconds:10.1f}{rate:12,.0f}")
    print(f"\n{'loader':32}{'augmented':>10}{'images/s':>12}{'ratio to the step':>20}")
    slow = []
    for loader in found:
        rate = statistics.median(loader.rates)
        ratio = rate / max(steps[shape_of(loader.data.info)].rates)
        augmented = "yes" if loader.augmented else "no"
        print(f"{loader.title:32}{augmented:>10}{rate:12,.0f}{ratio:20.1f}")
        if ratio < 1:
            slow.append(f"{loader.title}{', augmented' if loader.augmented else ''}")
    print(f"\nslower than the step: {'; '.join(slow) or 'none'}")


def shape_of(info: DataInfo) -> str:
    """Return the shape of an image as text."""
    return f"{info.channels}x{info.height}x{info.width}"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--paper", action="store_true", help="8 cells of 16 channels instead of 3 of 4")
    parser.add_argument("--folder", type=Path, help="images of your own, one folder for each class")
    parser.add_argument("--images", type=int, default=4000, help="number of images that are made")
    parser.add_argument("--batch", type=int, default=64, help="images in each of the two batches of a step")
    parser.add_argument("--workers", type=int, default=2, help="loader processes of each of the two parts")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--device", default="cpu", help="auto, cpu, cuda, cuda:N or mps")
    options = parser.parse_args()
    device = resolve_device(options.device)
    size = PAPER if options.paper else SMALL
    with tempfile.TemporaryDirectory() as temporary:
        if options.folder is None:
            write_folder(Path(temporary), options.images)
        found = loaders(options.folder or Path(temporary), options.images, options.workers, device)
        infos = {shape_of(loader.data.info): loader.data.info for loader in found}
        steps = {shape: search_step(info, size, options.batch, device) for shape, info in infos.items()}
        for step in steps.values():
            step.measure()  # warms up
            step.rates.clear()
        for loader in found:
            loader.measure(options.batch, 0)  # starts the loader processes
            loader.rates.clear()
        for number in range(options.rounds):
            for step in steps.values():
                step.measure()
            for loader in found:
                loader.measure(options.batch, number + 1)
    print(
        f"first order of DARTS, {size['cells']} cells of {size['channels']} channels, batches of {options.batch},"
        f" on {device} with {torch.get_num_threads()} threads; {options.rounds} rounds"
    )
    show(found, steps)


if __name__ == "__main__":
    main()
