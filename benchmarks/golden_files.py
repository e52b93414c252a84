"""What is in the files that ``fidelity.py`` compares with, read without trusting them; sizes come from the weights."""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Mapping, Sequence
from itertools import pairwise, zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple, cast

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

# torch and nasreg are imported where they are needed: what is no such file is told at once
if TYPE_CHECKING:
    from torch import Tensor

    from nasreg.specs import CellDecision, DataInfo, Decision

Edge = tuple[str, int]
KEYS = ("normal", "reduce")


class FileError(Exception):
    """The file is in none of the forms, or lacks something; the message is one line."""


class Check(NamedTuple):
    """One quantity: how far nasreg is from the file."""

    name: str
    error: float
    """The largest relative error of its numbers; of what must be equal, the number (or part) that is not."""
    tolerance: float

    @property
    def ok(self) -> bool:
        """Whether they agree; an error that is no number does not."""
        return self.error <= self.tolerance


FLOOR = 1e-3
"""Numbers below this part of the largest of their array are compared with that part: they are rounded as it is."""


def relative_error(ours: Any, theirs: Tensor, scale: float | None = None, floor: float = FLOOR) -> float:
    """Return the largest relative error.

    Args:
        ours: What nasreg computed.
        theirs: What is in the file.
        scale: How large the numbers are that it was added up from, where it may be much smaller itself.
        floor: Part of the scale, or of the largest number, that smaller numbers are compared with.
    """
    import torch

    difference = (torch.as_tensor(ours, dtype=theirs.dtype).detach() - theirs).abs()
    least = floor * (float(theirs.abs().max()) if scale is None else scale)
    return float(torch.where(difference == 0, 0.0, difference / theirs.abs().clamp(min=least)).max())


def differing(ours: Sequence[Any], theirs: Sequence[Any]) -> int:
    """Return the number of places in which two sequences differ."""
    return sum(a != b for a, b in zip_longest(ours, theirs))


class Arrays:
    """The arrays of a ``.npz``. Nothing in it is ever unpickled.

    Args:
        arrays: By name.
    """

    def __init__(self, arrays: Mapping[str, np.ndarray[Any, Any]]) -> None:
        self._arrays = arrays
        self.names = frozenset(arrays)

    def __contains__(self, name: str) -> bool:
        return name in self.names

    def below(self, group: str) -> set[str]:
        """Return the names after ``group/``."""
        return {name.removeprefix(f"{group}/") for name in self.names if name.startswith(f"{group}/")}

    def is_empty(self, name: str) -> bool:
        """Return whether an array has no numbers."""
        return self._arrays[name].size == 0

    def group(self, group: str) -> Arrays:
        """Return the arrays after ``group/``, under the names that ``below`` returns."""
        return Arrays({name: self._arrays[f"{group}/{name}"] for name in self.below(group)})

    def get(self, name: str, shape: Sequence[int | None], kind: str = "f") -> np.ndarray[Any, Any]:
        """Return an array.

        Args:
            name: Its name.
            shape: What it must be; None for any size of 1 and more.
            kind: ``f``: finite numbers; ``i``: integers; ``U``: text.

        Raises:
            FileError: It is not there, or something else.
        """
        if name not in self:
            raise FileError(f"it lacks the array {name}")
        array = self._arrays[name]
        fits = len(array.shape) == len(shape) and all(
            size == wanted if wanted is not None else size > 0 for size, wanted in zip(array.shape, shape, strict=False)
        )
        if not fits:
            wanted = ", ".join("any" if size is None else str(size) for size in shape)
            raise FileError(f"{name} has shape {array.shape}, expected ({wanted})")
        if array.dtype.kind not in {"f": "fiu", "i": "iu", "U": "U"}[kind]:
            what = {"f": "numbers", "i": "integers", "U": "text"}[kind]
            raise FileError(f"{name} has type {array.dtype}, expected {what}")
        if kind == "f" and not np.isfinite(array).all():
            raise FileError(f"{name} has numbers that are not finite")
        return array

    def flags(self, name: str, shape: Sequence[int]) -> np.ndarray[Any, Any]:
        """Return an array of booleans.

        Raises:
            FileError: It is not there, or something else.
        """
        if name not in self:
            raise FileError(f"it lacks the array {name}")
        array = self._arrays[name]
        if array.shape != tuple(shape) or array.dtype.kind != "b":
            raise FileError(f"{name} has shape {array.shape} and type {array.dtype}, expected {tuple(shape)} and bool")
        return array

    def tensor(self, name: str, shape: Sequence[int | None]) -> Tensor:
        """Return an array of numbers in float64; see ``get``."""
        import torch

        return torch.from_numpy(self.get(name, shape).astype(np.float64))

    def batch(self, prefix: str, info: DataInfo) -> tuple[Tensor, Tensor]:
        """Return the images and labels ``x`` and ``y`` with a prefix.

        Raises:
            FileError: They do not fit each other or the network.
        """
        import torch

        x = self.tensor(f"{prefix}x", (None, info.channels, info.height, info.width))
        y = self.get(f"{prefix}y", (len(x),), "i").astype(np.int64)
        if y.min() < 0 or y.max() >= info.n_classes:
            raise FileError(f"{prefix}y has labels from {y.min()} to {y.max()} for {info.n_classes} classes")
        return x, torch.from_numpy(y)


def read(path: Path) -> Any:
    """Return the arrays of a ``.npz``, or what is in a JSON file.

    Raises:
        FileError: It can be read as neither.
    """
    try:
        if zipfile.is_zipfile(path):
            with np.load(path, allow_pickle=False) as file:
                arrays = {name: file[name] for name in file.files}
            return Arrays({name: array for name, array in arrays.items() if isinstance(array, np.ndarray)})
        return json.loads(path.read_bytes())
    except Exception as error:  # whatever zipfile, zlib, numpy and json raise for what is broken
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise FileError(f"it cannot be read as .npz or JSON: {reason}") from error


class Strict(BaseModel):
    """What is in a JSON file: of exactly these types, and finite."""

    model_config = ConfigDict(strict=True, allow_inf_nan=False)


class Counts(Strict):
    """What a network costs."""

    params_total: Annotated[int, Field(ge=1)]
    params_without_aux: Annotated[int, Field(ge=1)]
    macs: Annotated[int, Field(ge=1)]


def parsed(form: Any, content: Any) -> Any:
    """Return the content of a JSON file in the form of a type.

    Raises:
        FileError: It has another form.
    """
    try:
        return TypeAdapter(form).validate_json(json.dumps(content))  # as JSON, where a list can be a tuple
    except ValidationError as error:
        first = error.errors()[0]
        raise FileError(f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from error


class Size(NamedTuple):
    """What the weights say of a network."""

    info: DataInfo
    options: dict[str, Any]
    """Those of the space ``darts``."""
    reductions: tuple[int, ...]
    """The cells whose channels are twice those of the one before."""


def network_size(arrays: Arrays, images: str) -> Size:
    """Find out the size of a network.

    Args:
        arrays: With its weights.
        images: Name of an array of images.

    Raises:
        FileError: The weights that say it are missing or malformed.
    """
    stem = arrays.get("weight/stem.0.weight", (None, None, 3, 3)).shape
    if stem[0] % 3:
        raise FileError(f"weight/stem.0.weight has {stem[0]} channels, expected three times those of a cell")
    classes = arrays.get("weight/classifier.weight", (None, None)).shape[0]
    _, _, height, width = arrays.get(images, (None, stem[1], None, None)).shape
    numbers = [int(found[1]) for name in arrays.names if (found := re.match(r"weight/cells\.(\d{1,6})\.", name))]
    widths = tuple(
        arrays.get(f"weight/cells.{number}.preprocess1.op.1.weight", (None, None, 1, 1)).shape[0]
        for number in range(max(numbers, default=0) + 1)
    )
    channels = stem[0] // 3
    reductions = tuple(n for n, (before, now) in enumerate(pairwise((channels, *widths))) if now == 2 * before)

    from nasreg.specs import DataInfo

    info = DataInfo(channels=stem[1], height=height, width=width, classes=tuple(map(str, range(classes))))
    options = {"cells": len(widths), "channels": channels, "reductions": len(reductions), "stem": "cifar"}
    return Size(info, options, reductions)


def program_name(name: str) -> str:
    """Translate the name of a parameter of a supernet into the authors' program's."""
    from nasreg.spaces.config import DARTS_OPERATIONS

    def candidate(found: re.Match[str]) -> str:
        return f"._ops.{found[1]}._ops.{DARTS_OPERATIONS.index(found[2])}."

    name = re.sub(r"^stem0\.", "stem.", name)
    name = re.sub(r"\.cell\.edges\.(\d+)\.(\w+)\.", candidate, name)
    # Its sequences are called op.
    return re.sub(r"(preprocess[01]|_ops\.\d+)\.(?=\d+\.\w+$)", r"\1.op.", name)


def program_name_of_kept(name: str, sources: Mapping[str, Sequence[int]], reductions: Sequence[int]) -> str:
    """Translate the name of a parameter of a network to retrain; ``sources`` are those of the kept edges."""
    if found := re.match(r"cells\.(\d+)\.cell\.node(\d+)_from(\d+)\.0\.", name):
        number, node, source = map(int, found.groups())
        of_cell = sources["reduce" if number in reductions else "normal"]
        kept = next(n for n, each in enumerate(of_cell) if (n // 2, each) == (node, source))
        name = f"cells.{number}._ops.{kept}.{name[found.end() :]}"
    name = re.sub(r"^auxiliary_head\.9\.", "auxiliary_head.classifier.", name)
    name = re.sub(r"^auxiliary_head\.(?=\d)", "auxiliary_head.features.", name)
    return program_name(name)


def named(arrays: Arrays, group: str, wanted: Mapping[str, Sequence[int]]) -> dict[str, Tensor]:
    """Return the arrays of a group, which has these and no others."""
    found = {name: arrays.tensor(f"{group}/{name}", shape) for name, shape in wanted.items()}
    if unknown := sorted(arrays.below(group) - set(wanted)):
        raise FileError(f"{group}/{unknown[0]} belongs to no parameter of such a network")
    return found


def cell_nodes(edges: int, what: str) -> int:
    """Return how many nodes a cell with two inputs and so many edges has."""
    found = next(n for n in range(1, edges + 1) if n * (n + 3) // 2 >= edges)
    if found * (found + 3) // 2 != edges:
        raise FileError(f"{what} has {edges} edges; cells with two inputs have 2, 5, 9, 14, ...")
    return found


def read_genotype(arrays: Arrays) -> dict[str, list[Any]]:
    """Return the edges and the concatenated states of both cells.

    Raises:
        FileError: They are missing or malformed.
    """
    try:
        found = json.loads(str(arrays.get("genotype", (), "U")))
    except (ValueError, RecursionError) as error:
        raise FileError(f"genotype is not JSON: {error}") from error
    for name in (*KEYS, *(f"{key}_concat" for key in KEYS)):
        if not isinstance(found, dict) or not isinstance(found.get(name), list):
            raise FileError(f"genotype has no list {name!r}")
    return cast("dict[str, list[Any]]", found)


def edges_of(decision: Decision) -> list[list[Any]]:
    """Return operation and source of each edge that a decision of a cell keeps."""
    return [list(edge) for node in cast("CellDecision", decision) for edge in node]
