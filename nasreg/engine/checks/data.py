"""The check of the data: every image is read; labels, classes, values, splits. Imports torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch.utils.data import Dataset, Subset

from nasreg.config.request import ResolvedRun
from nasreg.data import DatasetBundle, RunData
from nasreg.data.config import TEST_FRACTION_HINT
from nasreg.data.labels import class_names
from nasreg.data.reading import SIZE_HINT
from nasreg.data.survey import Survey, survey
from nasreg.engine.checks.findings import DataFacts, Findings, ImagesFacts
from nasreg.specs import DataInfo
from nasreg.specs.formatting import plural

MAX_LISTED = 5
"""Images, labels or classes that a message lists."""

MAX_IMBALANCE = 10
"""Ratio of the largest class to the smallest above which there is a warning."""

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class CheckedData:
    """The data, as far as they can be used."""

    facts: DataFacts | None
    data: RunData | None
    """Of the images that can be used; None if there are too few, or if they contradict each other."""
    info: DataInfo | None
    """Shape of most images, and the classes; None if nothing can be read."""


def check_data(run: ResolvedRun, device: torch.device, findings: Findings, progress: Progress) -> CheckedData:
    """Check the data of a search; what is wrong becomes findings.

    Args:
        run: The search.
        device: Where batches go.
        findings: Where findings are added.
        progress: Called with the name of a set, and how many of how many images were read.
    """
    bundle: DatasetBundle | None = None
    with findings.attempt("data", run.dataset.reference.title, "loading the data set"):
        bundle = run.dataset.load(run.dataset_config)
    if bundle is None:
        return CheckedData(None, None, None)
    sets: dict[str, Callable[[], Dataset[Any] | None]] = {
        "train": lambda: bundle.train,
        "validation": lambda: bundle.validation,
        "test": lambda: None if bundle.test is None else bundle.test(),
    }
    surveys: dict[str, Survey] = {}
    for name, get in sets.items():
        with findings.attempt("data", f"{name} set", "reading it"):
            dataset = get()
            if dataset is not None:
                surveys[name] = survey(dataset, name, run.dataset_config, progress)
    test_set = bundle.test is not None or run.dataset_config.test_fraction > 0
    if not test_set:
        findings.add(
            "warning",
            "data",
            "test set",
            "there is none, and retraining the architecture needs one: give it one, as a folder named test or from"
            f" Python, or {TEST_FRACTION_HINT}",
        )
    skip = run.dataset_config.unreadable == "skip"
    train = surveys.get("train")
    if train is None or train.shape is None:
        if train is not None:
            _report_unreadable(train, findings, skip=skip)
        return CheckedData(_facts(surveys, None, (), test_set=test_set), None, None)
    classes = _classes(bundle, train, findings)
    usable = {name: _check_set(each, train, classes, findings, skip=skip) for name, each in surveys.items()}
    data: RunData | None = None
    if classes:
        good = _usable(bundle, usable, classes)
        with findings.attempt("data", "splits", "splitting the data"):
            data = RunData(good, run.dataset_config, run.spec.seed, device)
            for notice in data.notices:
                findings.add("warning", "data", "images", notice)
    shape, _ = train.shape
    info: DataInfo | None = None
    with findings.attempt("data", "train set", "describing the images"):
        info = data.info if data is not None else _info(shape, classes or tuple(map(str, sorted(train.counts))))
    return CheckedData(_facts(surveys, data, classes, test_set=test_set), data, info)


def _info(shape: tuple[int, ...], classes: Sequence[str]) -> DataInfo:
    if len(classes) < 2:  # the finding is there already; a network can be built all the same
        classes = (*classes, "another")
    channels, height, width = shape
    return DataInfo(channels=channels, height=height, width=width, classes=tuple(classes[:1000]))


def _usable(bundle: DatasetBundle, indices: Mapping[str, Sequence[int]], classes: tuple[str, ...]) -> DatasetBundle:
    """Return a data set without the images that cannot be used."""
    parts: dict[str, Any] = {"train": bundle.train, "validation": bundle.validation}
    groups = dict(bundle.groups or {})
    for name, dataset in parts.items():
        if dataset is not None and len(indices[name]) < len(dataset):
            parts[name] = Subset(dataset, list(indices[name]))
            if name in groups:
                groups[name] = [groups[name][index] for index in indices[name]]
    return replace(bundle, **parts, classes=classes, groups=groups or None)


def _classes(bundle: DatasetBundle, train: Survey, findings: Findings) -> tuple[str, ...]:
    """Return the names of the classes; none if the labels are not those of classes."""
    if bundle.classes is not None:
        return tuple(bundle.classes)
    with findings.attempt("data", "train set", "counting the classes"):
        return class_names(torch.tensor(list(train.counts)))
    return ()


def _check_set(found: Survey, train: Survey, classes: Sequence[str], findings: Findings, *, skip: bool) -> list[int]:
    """Report what is wrong with a set of images, and return the indices of those that can be used."""
    place = f"{found.name} set"
    if not found.samples:
        findings.add("error", "data", place, "it is empty")
    _report_unreadable(found, findings, skip=skip)
    _check_shapes(found, train, findings)
    _check_values(found, findings)
    if classes:
        _check_labels(found, classes, findings)
    alike = found.shapes.get(train.shape, []) if train.shape is not None else []
    return sorted(index for index in alike if 0 <= found.labels[index] < len(classes))


def _report_unreadable(found: Survey, findings: Findings, *, skip: bool) -> None:
    for reason, indices in found.unreadable.items():
        first = found.first[reason]
        others = f". The same holds for {_listed(indices[1:], 'other image')}" if len(indices) > 1 else ""
        left_out = skip and first.unreadable
        advice = "; replace or remove it, or leave it out with --set dataset.unreadable=skip"
        remedy = "; it is left out" if left_out else advice if first.unreadable else ""
        findings.add(
            "warning" if left_out else "error", "data", f"{found.name} set", f"{first.message}{remedy}{others}"
        )


def _check_shapes(found: Survey, train: Survey, findings: Findings) -> None:
    place = f"{found.name} set"
    expected = train.shape
    for shape, indices in found.shapes.items():
        if shape != expected and expected is not None:
            usual = "most images" if found is train else "the train set"
            findings.add(
                "error",
                "data",
                place,
                f"{_listed(indices, 'image')} of {_shape_text(shape)}, but {usual} of {_shape_text(expected)};"
                f" {SIZE_HINT}",
            )


def _check_values(found: Survey, findings: Findings) -> None:
    """Check the range of images of 8 bits; ``RunData.notices`` say what is odd about others."""
    if found.shape is not None and found.shape[1] == "uint8" and 0 < found.high <= 1:
        findings.add(
            "warning",
            "data",
            f"{found.name} set",
            f"images of uint8 have values from {found.low:.0f} to {found.high:.0f} only, out of 0 to 255",
        )


def _check_labels(found: Survey, classes: Sequence[str], findings: Findings) -> None:
    place, counts = f"{found.name} set", found.counts
    outside = {label: count for label, count in sorted(counts.items()) if not 0 <= label < len(classes)}
    if outside:
        first = next(index for index, label in found.labels.items() if label in outside)
        findings.add(
            "error",
            "data",
            place,
            f"{_listed(list(outside), 'label')} of {plural(sum(outside.values()), 'image')}, such as image {first}, but"
            f" labels must be 0 to {len(classes) - 1} ({plural(len(classes), 'class', 'classes')})",
        )
    present = {classes[label]: count for label, count in counts.items() if 0 <= label < len(classes)}
    if found.name == "train" and len(present) > 1 and max(present.values()) > MAX_IMBALANCE * min(present.values()):
        most, least = max(present, key=present.__getitem__), min(present, key=present.__getitem__)
        findings.add(
            "warning",
            "data",
            place,
            f"{plural(present[most], 'image')} of class {most!r}, but {present[least]:,} of class {least!r}: who always"
            f" answers {most!r} has an accuracy of {present[most] / sum(present.values()):.0%}",
        )


def _facts(surveys: Mapping[str, Survey], data: RunData | None, classes: Sequence[str], *, test_set: bool) -> DataFacts:
    splits = {} if data is None else {name: len(split) for name, split in data.splits.items() if len(split)}
    images = []
    for name, found in surveys.items():
        known, counts = found.shape, found.counts
        alike = found.shapes.get(surveys["train"].shape, []) if "train" in surveys and surveys["train"].shape else []
        good = sum(not classes or 0 <= found.labels[index] < len(classes) for index in alike)
        images.append(
            ImagesFacts(
                name=name,
                samples=found.samples,
                unusable=found.samples - good,
                shape=known[0] if known else None,
                dtype=known[1] if known else None,
                low=found.low if known else None,
                high=found.high if known else None,
                classes={each: counts[label] for label, each in enumerate(classes)}
                or {str(label): count for label, count in sorted(counts.items())},
            )
        )
    return DataFacts(images=tuple(images), splits=splits, test_set=test_set)


def _shape_text(shape: tuple[tuple[int, ...], str]) -> str:
    channels, height, width = shape[0]
    kind = "" if shape[1] == "uint8" else f" of {shape[1]}"
    return f"{height}x{width} with {plural(channels, 'channel')}{kind}"


def _listed(values: Sequence[object], noun: str, nouns: str | None = None) -> str:
    """Return a count with the first values in parentheses: ``7 images (3, 9, 12, 40, 41, ...)``."""
    shown = ", ".join(map(str, values[:MAX_LISTED])) + (", ..." if len(values) > MAX_LISTED else "")
    return f"{plural(len(values), noun, nouns)} ({shown})"
