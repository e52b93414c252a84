"""What differs between a search and a retraining when they are resolved: spec, presets, defaults, classes of options.

Imports no torch.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from nasreg.config.layers import Layer, make_layer
from nasreg.config.request import ArchitectureOrigin, RunRequest
from nasreg.errors import ConfigError, UnknownNameError, did_you_mean
from nasreg.registry import Registry
from nasreg.specs.algorithm import Preset
from nasreg.specs.architecture import Architecture
from nasreg.specs.base import Config
from nasreg.specs.entries import RecipeEntry
from nasreg.specs.retrain import RetrainSpec
from nasreg.specs.run import RunSpec
from nasreg.trainers.config import RetrainConfig

DEFAULT_RECIPE = "cifar"


@dataclass(frozen=True)
class Form:
    """What a search or a retraining is resolved with."""

    spec: type[RunSpec] | type[RetrainSpec]
    title: str
    preset_key: str
    presets: Callable[[], Collection[str]]
    preset: Callable[[str], Preset | RecipeEntry]
    default_preset: str
    preset_space: Callable[[str], str | None]
    """The space that a preset is for, if the user names that preset and no space."""
    default_space: str | None
    classes: Mapping[str, type[Config]]
    splits: Collection[str]
    default_evaluator: str | None
    """None where there are no trials."""
    names_evaluator: bool
    """Whether it is the algorithm's own, which counts for more than that of the space."""
    fixed: Mapping[str, Any]
    """What is known beside the layers."""
    weakest: Sequence[Layer] = ()

    @property
    def known(self) -> tuple[str, ...]:
        """The sections and options that a layer may have."""
        return tuple(self.spec.model_fields)


def search_form(registry: Registry, request: RunRequest) -> Form:
    """Return what a search is resolved with.

    Raises:
        ConfigError: The request names no algorithm.
        UnknownNameError: There is no such algorithm.
        PluginError: A config class of the algorithm cannot be loaded.
    """
    if request.algorithm is None:
        raise ConfigError("no algorithm is given")
    algorithm = registry.algorithm(request.algorithm)

    def preset(name: str) -> Preset:
        if name not in algorithm.presets:
            hint = did_you_mean(name, algorithm.presets)
            raise UnknownNameError(f"algorithm {algorithm.name!r} has no preset {name!r}.{hint}")
        return algorithm.presets[name]

    return Form(
        spec=RunSpec,
        title=f"algorithm {algorithm.name!r}",
        preset_key="preset",
        presets=lambda: algorithm.presets,
        preset=preset,
        default_preset=algorithm.default_preset,
        preset_space=lambda name: algorithm.presets[name].space if name in algorithm.presets else None,
        default_space=algorithm.default_space,
        classes={"mutator": algorithm.mutator.load_config(), "trainer": algorithm.trainer.load_config()},
        splits=algorithm.splits,
        default_evaluator=algorithm.default_evaluator,
        names_evaluator=algorithm.evaluator is not None,
        fixed={"algorithm": registry.qualified("algorithm", request.algorithm)},
    )


def retrain_form(registry: Registry, origin: ArchitectureOrigin) -> Form:
    """Return what a retraining is resolved with."""
    fixed: dict[str, Any] = {"source": origin.title}
    if isinstance(origin.architecture, Architecture):
        fixed["architecture"] = origin.architecture.model_dump(mode="json")
    return Form(
        spec=RetrainSpec,
        title="a retraining",
        preset_key="recipe",
        presets=registry.recipes,
        preset=registry.recipe,
        default_preset=DEFAULT_RECIPE,
        preset_space=lambda name: None,
        default_space=None,
        classes={"trainer": RetrainConfig},
        splits=(),
        default_evaluator=None,
        names_evaluator=False,
        fixed=fixed,
        weakest=[
            make_layer(
                origin.title, {"space": origin.options, "dataset": origin.dataset}, tuple(RetrainSpec.model_fields)
            )
        ],
    )
