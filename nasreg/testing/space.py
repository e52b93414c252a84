"""The contract of a search space as tests: an author derives from one class and names the space."""

from __future__ import annotations

import copy
import random
from collections.abc import Mapping
from typing import Any

import pytest
import torch
from torch import Tensor

import nasreg
from nasreg.config.lookup import space_source
from nasreg.config.sources import SpaceSource
from nasreg.engine.search import SpaceLike
from nasreg.networks.build import network_of
from nasreg.networks.equivalence import check_close, check_equivalence, decided, seeded_output
from nasreg.networks.extremes import Extremes, extreme_architectures
from nasreg.networks.references import describe_space
from nasreg.nn import Execution, deferred_candidates, extract_space, set_execution
from nasreg.registry import default_registry
from nasreg.specs import Architecture, DataInfo, SearchSpaceSpec
from nasreg.specs.entries import SpaceEntry
from nasreg.testing.checks import (
    check_looking_up_imports_no_torch,
    check_options_are_described,
    check_options_survive_json,
    global_random_state,
    shared_by_class,
)
from nasreg.testing.small import small_options

BATCH = 4

_EXTREMES = pytest.StashKey[dict[str, Extremes]]()


class SpaceContract:
    """Tests of one search space. A test class derives from this one and overrides the fixture ``space``.

    It may be any that ``nasreg.search`` takes: a registered name, ``package.module:name``, a class, function or model.
    The tests of a registry entry are skipped for those that have none, and those of networks for a space without any.

    Example:
        >>> class TestMySpace(SpaceContract):
        ...     @pytest.fixture
        ...     def space(self):
        ...         return MyNet
    """

    @pytest.fixture
    def space(self) -> SpaceLike:
        """The space. Override this."""
        raise NotImplementedError("override the fixture 'space': it returns the name of yours, or what builds it")

    @pytest.fixture
    def space_options(self, source: SpaceSource) -> dict[str, Any]:
        """Options that make it small."""
        return {} if source.entry is None else small_options(source.entry.name)

    @pytest.fixture
    def info(self) -> DataInfo:
        """Shape of the images and classes. Override it for a space that takes others."""
        return DataInfo(channels=1, height=8, width=8, classes=("a", "b", "c"))

    @pytest.fixture
    def source(self, space: SpaceLike) -> SpaceSource:
        """Builds it."""
        return space_source(default_registry(), space)

    @pytest.fixture
    def entry(self, source: SpaceSource) -> SpaceEntry:
        """Its entry in the registry."""
        if source.entry is None:
            pytest.skip("it is not registered")
        return source.entry

    @pytest.fixture
    def spec(self, source: SpaceSource, space_options: dict[str, Any], info: DataInfo) -> SearchSpaceSpec:
        """Its choices."""
        return describe_space(source, space_options, info)

    @pytest.fixture
    def architectures(
        self,
        request: pytest.FixtureRequest,
        source: SpaceSource,
        space_options: dict[str, Any],
        info: DataInfo,
        spec: SearchSpaceSpec,
    ) -> dict[str, Architecture]:
        """Title -> architecture: the smallest, the largest, and two others."""
        if not source.has_network:
            pytest.skip("it has no networks")
        known = shared_by_class(request, _EXTREMES)
        given = f"{source.reference.text} {spec.fingerprint} {space_options} {info}"
        if given not in known:
            known[given] = extreme_architectures(source, space_options, spec, info)
        extremes = known[given]
        drawn = {f"random architecture {number}": spec.sample(random.Random(number)) for number in (1, 2)}
        return {"smallest architecture": extremes.smallest, "largest architecture": extremes.largest, **drawn}

    # -- its entry in the registry -------------------------------------------------------------------------------------

    def test_looking_it_up_imports_no_torch(self, entry: SpaceEntry) -> None:
        """In a process of its own, with its plugin alone."""
        check_looking_up_imports_no_torch("space", entry.name)

    def test_its_entry_and_its_options_survive_json(self, entry: SpaceEntry, space_options: dict[str, Any]) -> None:
        """Its options are the same after they were written to ``run.yaml`` and read."""
        assert SpaceEntry.model_validate_json(entry.model_dump_json()).model_dump() == entry.model_dump()
        check_options_survive_json(entry.component, space_options, "space_options")
        check_options_survive_json(entry.component, entry.retrain, "retrain")

    def test_every_option_has_a_default_and_a_description(self, entry: SpaceEntry) -> None:
        """They are what ``nasreg describe`` shows."""
        check_options_are_described("space", nasreg.describe(entry.name, "space")["space"]["options"])

    def test_its_capabilities_name_options(self, entry: SpaceEntry) -> None:
        """A capability is provided by an option that exists."""
        options = entry.component.load_config().model_fields
        missing = {name: option for name, option in entry.capabilities.items() if option not in options}
        assert not missing, "capabilities that name no option"

    def test_its_notation_is_read_as_it_is_written(
        self, entry: SpaceEntry, source: SpaceSource, spec: SearchSpaceSpec
    ) -> None:
        """Its example, with the options that it implies, and the text of random architectures."""
        if entry.notation is None:
            pytest.skip("it has no notation")
        published = describe_space(source, entry.notation.space_options(entry.notation.example))
        example = entry.notation.architecture(published, entry.notation.example)
        for space, architecture in ((published, example), *((spec, spec.sample(random.Random(n))) for n in range(5))):
            text = entry.notation.text(space, architecture)
            if text is not None:
                assert entry.notation.matches(text)
                found = entry.notation.architecture(space, text)
                assert space.canonical(found) == space.canonical(architecture), text

    # -- its choices and networks --------------------------------------------------------------------------------------

    def test_its_choices_are_the_same_each_time(
        self, source: SpaceSource, space_options: dict[str, Any], info: DataInfo, spec: SearchSpaceSpec
    ) -> None:
        """However often it is built, with or without its candidates, and in a file."""
        for number in (1, 2):
            with global_random_state(number):
                if not source.has_network:
                    assert source.describe(info, space_options) == spec
                    continue
                assert extract_space(source.build(info, space_options)) == spec
                with deferred_candidates():
                    assert extract_space(source.build(info, space_options)).fingerprint == spec.fingerprint
        assert SearchSpaceSpec.from_json(spec.to_json()) == spec
        assert SearchSpaceSpec.from_json(spec.to_json()).fingerprint == spec.fingerprint

    @pytest.mark.parametrize("execution", ["optimized", "plain"])
    def test_a_frozen_network_computes_what_the_supernet_computes(
        self,
        source: SpaceSource,
        space_options: dict[str, Any],
        info: DataInfo,
        architectures: dict[str, Architecture],
        execution: str,
    ) -> None:
        """On the path of the architecture, in training and in evaluation; a training pass changes both in the same way.

        A module that asks what kind of module a choice is, or whether something is in a supernet, fails here.
        """
        with global_random_state(1):
            supernet = source.build(info, space_options)
            x = _images(info)
            set_execution(supernet, Execution(optimized=execution == "optimized"))
            for title, architecture in architectures.items():
                try:
                    check_equivalence(supernet, architecture, x)
                except AssertionError as error:
                    raise AssertionError(f"{title}, {error}") from error

    def test_a_network_can_be_copied_and_its_state_saved(
        self,
        source: SpaceSource,
        space_options: dict[str, Any],
        info: DataInfo,
        architectures: dict[str, Architecture],
    ) -> None:
        """A copy computes the same, and so does a network built anew with the state of the first."""
        x = _images(info)
        for number, (title, architecture) in enumerate(architectures.items()):
            with global_random_state(number):
                network, new = (network_of(source, info, space_options, architecture.decisions) for _ in range(2))
                assert not any(type(module).__module__.startswith("nasreg.nn") for module in network.modules())
                seeded_output(network, x, train=True)
                expected = seeded_output(network, x)
                check_close(seeded_output(copy.deepcopy(network), x), expected, f"{title}, copied")
                new.load_state_dict(network.state_dict())
                check_close(seeded_output(new, x), expected, f"{title}, with the state of another")

    def test_its_output_has_a_logit_for_each_class(
        self,
        source: SpaceSource,
        space_options: dict[str, Any],
        info: DataInfo,
        architectures: dict[str, Architecture],
    ) -> None:
        """``(B, classes)``, of the supernet and of networks."""
        with global_random_state(1):
            supernet = source.build(info, space_options)
            for title, architecture in architectures.items():
                with decided(supernet, architecture):
                    _check_logits(seeded_output(supernet, _images(info)), info, f"supernet, {title}")
                network = network_of(source, info, space_options, architecture.decisions)
                _check_logits(seeded_output(network, _images(info)), info, title)

    def test_networks_to_retrain_are_built(
        self,
        source: SpaceSource,
        space_options: dict[str, Any],
        info: DataInfo,
        spec: SearchSpaceSpec,
        architectures: dict[str, Architecture],
    ) -> None:
        """With the options ``retrain`` the decisions are the same; the auxiliary head gives a second pair of logits."""
        options = {**space_options, **source.retrain_options}
        assert describe_space(source, options, info).fingerprint == spec.fingerprint
        variants: list[tuple[Mapping[str, Any], int]] = [({}, 1)]
        if (auxiliary := source.capabilities.get("auxiliary")) is not None:
            variants.append(({auxiliary: True}, 2))
        for title, architecture in architectures.items():
            for more, outputs in variants:
                with global_random_state(1):
                    network = network_of(source, info, {**options, **more}, architecture.decisions)
                    found = seeded_output(network, _images(info), train=True)
                logits = (found,) if isinstance(found, Tensor) else tuple(found)
                assert len(logits) == outputs, f"{title}, options {dict(more)}"
                for each in logits:
                    _check_logits(each, info, f"{title}, to retrain")


def _images(info: DataInfo) -> Tensor:
    return torch.randn(BATCH, info.channels, info.height, info.width, generator=torch.Generator().manual_seed(0))


def _check_logits(logits: Any, info: DataInfo, what: str) -> None:
    assert isinstance(logits, Tensor), f"{what}: {type(logits).__name__} instead of a tensor"
    assert logits.shape == (BATCH, info.n_classes), f"{what}: {tuple(logits.shape)}"
