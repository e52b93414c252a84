"""Divides samples into splits: the same share of each class in each, and no group in two of them."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Hashable, Sequence

import torch
from torch import Tensor

from nasreg.errors import DataError


def limited(indices: list[int], labels: Tensor, limit: int | None, classes: Sequence[str], seed: int) -> list[int]:
    """Return so many of the indices, the same share of each class.

    Raises:
        DataError: There are fewer.
    """
    if limit is None or limit == len(indices):
        return indices
    if limit > len(indices):
        raise DataError(f"dataset.limit is {limit}, but the train set has only {len(indices)} images")
    return divide(indices, labels, limit / len(indices), classes, seed, leave=0)[0]


def divide(
    indices: list[int],
    labels: Tensor,
    fraction: float,
    classes: Sequence[str],
    seed: int,
    *,
    leave: int = 1,
    groups: Sequence[Hashable] | None = None,
) -> tuple[list[int], list[int]]:
    """Split off a share of the indices, about the same of each class, in order.

    Args:
        indices: What to divide.
        labels: The label of each sample of the data set.
        fraction: The share.
        classes: Names of the classes, for errors.
        seed: Decides which.
        leave: Number of images (with groups: of groups) of each class that stay at least.
        groups: The group of each sample of the data set; no group is divided.

    Raises:
        DataError: A class has too few images or groups for that.
    """
    if fraction == 0:
        return [], indices
    generator = torch.Generator().manual_seed(seed)
    if groups is not None:
        taken = _whole_groups(indices, labels, fraction, classes, generator, leave, groups)
    else:
        taken = _single(indices, labels, fraction, classes, generator, leave)
    return [i for i in indices if i in taken], [i for i in indices if i not in taken]


def _single(
    indices: list[int], labels: Tensor, fraction: float, classes: Sequence[str], generator: torch.Generator, leave: int
) -> set[int]:
    of_class: dict[int, list[int]] = {}
    for index in indices:
        of_class.setdefault(int(labels[index]), []).append(index)
    taken: set[int] = set()
    owed = 0.0  # what rounding left over goes to the next class, so that the total is right
    for label, members in sorted(of_class.items()):
        owed += fraction * len(members)
        count = min(max(round(owed), 1), len(members) - leave)
        if count < 1:
            raise DataError(
                f"class {classes[label]!r} has only {len(members)} of the images, too few to be in every split:"
                " give it more (or raise dataset.limit), or leave the class out"
            )
        owed -= count
        order = torch.randperm(len(members), generator=generator)[:count].tolist()
        taken.update(members[i] for i in order)
    return taken


def _whole_groups(
    indices: list[int],
    labels: Tensor,
    fraction: float,
    classes: Sequence[str],
    generator: torch.Generator,
    leave: int,
    groups: Sequence[Hashable],
) -> set[int]:
    """Choose groups, the largest first, so that the number of images of each class comes near to its share.

    First each class, the rarest first, gets the group that fits best; then any group that brings the numbers nearer.
    """
    members: dict[Hashable, list[int]] = defaultdict(list)
    for index in indices:
        members[groups[index]].append(index)
    counts = {group: Counter(labels[some].tolist()) for group, some in members.items()}
    wanted = {label: fraction * n for label, n in Counter(labels[indices].tolist()).items()}
    left = {label: sum(label in count for count in counts.values()) for label in wanted}
    names = list(members)
    shuffled = [names[i] for i in torch.randperm(len(names), generator=generator).tolist()]
    shuffled.sort(key=lambda group: -len(members[group]))
    chosen: list[Hashable] = []
    missing = dict(wanted)

    def gain(group: Hashable) -> float:
        """Return by how much the squared distance to the wanted numbers shrinks."""
        return float(sum(missing[label] ** 2 - (missing[label] - n) ** 2 for label, n in counts[group].items()))

    def possible(group: Hashable) -> bool:
        return group not in taken and all(left[label] > leave for label in counts[group])

    def take(group: Hashable) -> None:
        taken.add(group)
        chosen.append(group)
        for label, n in counts[group].items():
            missing[label] -= n
            left[label] -= 1

    taken: set[Hashable] = set()
    for label in sorted(wanted, key=lambda label: (left[label], label)):
        if any(label in counts[group] for group in chosen):
            continue
        fitting = [group for group in shuffled if label in counts[group] and possible(group)]
        if not fitting:
            raise DataError(
                f"class {classes[label]!r} is in {left[label]} of the groups, too few to be in every split: give it"
                " more groups, or leave the class out"
            )
        take(max(fitting, key=gain))
    for group in shuffled:
        if possible(group) and gain(group) > 0:
            take(group)
    return {index for group in chosen for index in members[group]}
