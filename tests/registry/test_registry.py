"""Looking things up, and registering them in process."""

from __future__ import annotations

import types

import pytest

import nasreg
from nasreg.errors import PluginError, UnknownNameError
from nasreg.hookspecs import hookimpl
from nasreg.registry import Registry, default_registry
from nasreg.specs import AlgorithmSpec, DatasetEntry, MutatorSpec, Preset, SpaceEntry, TrainerSpec


def algorithm(name: str = "mine", **changes) -> AlgorithmSpec:
    values = {
        "name": name,
        "summary": "mine",
        "plugin_api": 1,
        "family": "one-shot",
        "primitives": {"cell"},
        "mutator": MutatorSpec(factory="a:b", config="nasreg.specs:Config"),
        "trainer": TrainerSpec(factory="a:b", config="nasreg.trainers:OneShotTrainerConfig"),
        "presets": {"p": Preset(summary="p")},
        "default_preset": "p",
    }
    return AlgorithmSpec(**{**values, **changes})


def space(name: str = "mine") -> SpaceEntry:
    return SpaceEntry(name=name, summary="mine", factory="a:b", config="nasreg.spaces.config:ChainSpaceConfig")


@pytest.fixture
def registry() -> Registry:
    return Registry(entry_points=False)


def test_core_entries_are_there_and_no_plugin(registry):
    assert registry.algorithms() == []
    assert registry.spaces() == ["chain", "darts"]
    assert {"digits", "folder", "cifar10", "cifar100", "svhn", "mnist", "fashion-mnist", "stl10"} == set(
        registry.datasets()
    )
    (core,) = registry.plugins()
    assert (core.name, core.status, core.version) == ("nasreg", "ok", nasreg.__version__)


def test_installed_plugins_are_found():
    assert "darts" in nasreg.list_algorithms()
    assert nasreg.get_algorithm("darts").family == "one-shot"
    assert nasreg.get_space("chain").name in nasreg.list_spaces()
    assert nasreg.get_dataset("digits").name in nasreg.list_datasets()
    assert nasreg.describe("darts", "algorithm")["algorithm"]["distribution"] == "nasreg-darts"


def test_registries_are_isolated(registry):
    registry.register(algorithm())
    assert registry.algorithm("mine").summary == "mine"
    with pytest.raises(UnknownNameError):
        Registry(entry_points=False).algorithm("mine")
    with pytest.raises(UnknownNameError):
        default_registry().algorithm("mine")


def test_registering_is_all_or_nothing(registry):
    with pytest.raises(PluginError, match="search space 'darts' is already registered by plugin 'nasreg'"):
        registry.register(algorithm(), space("darts"))
    with pytest.raises(PluginError, match="cannot register 7"):
        registry.register(algorithm(), 7)
    with pytest.raises(PluginError, match="'mine' is there twice"):
        registry.register(algorithm(), algorithm())
    with pytest.raises(PluginError, match="plugin_api 3"):
        registry.register(algorithm(plugin_api=3))
    assert registry.algorithms() == []
    registry.register(algorithm(), space(), DatasetEntry(name="mine", summary="s", factory="a:b", config="a:b"))
    assert [registry.algorithm("mine").name, registry.space("mine").name, registry.dataset("mine").name] == ["mine"] * 3
    with pytest.raises(PluginError, match="already registered by this process"):
        registry.register(algorithm())


def test_unregistering_makes_room_again(registry):
    registry.register(algorithm())
    registry.unregister("mine")
    registry.register(algorithm(summary="another"))
    assert registry.algorithm("mine").summary == "another"
    for names in (["darts"], ["mine", "darts"]):
        with pytest.raises(UnknownNameError, match="'darts' was not registered in this process"):
            registry.unregister(*names)
    assert registry.algorithms() == ["mine"]


def test_a_plugin_module_can_be_registered_whole(registry):
    module = types.ModuleType("a_plugin")

    @hookimpl
    def nasreg_algorithms():
        return [algorithm("one"), algorithm("two")]

    module.nasreg_algorithms = nasreg_algorithms
    registry.register(module)
    assert registry.algorithms() == ["one", "two"]
    with pytest.raises(PluginError, match="no function is marked"):
        registry.register(types.ModuleType("another"))


def test_what_a_notebook_registers_is_shown(registry):
    registry.register(algorithm())
    record = registry.plugins()[-1]
    assert (record.name, record.algorithms) == ("(in process)", ("mine",))


@pytest.mark.parametrize(
    ("kind", "name", "says"),
    [
        ("algorithm", "mime", "there is no algorithm 'mime'. Did you mean 'mine'?"),
        ("space", "dart", "there is no search space 'dart'. Did you mean 'darts'?"),
        ("dataset", "digit", "there is no data set 'digit'. Did you mean 'digits'?"),
        ("algorithm", "chain", "there is no algorithm 'chain' (it is a search space). There are: mine."),
    ],
)
def test_unknown_names_get_the_nearest(registry, kind, name, says):
    registry.register(algorithm())
    with pytest.raises(UnknownNameError) as info:
        getattr(registry, kind)(name)
    assert str(info.value) == says


def test_describe_tells_every_option(registry):
    for kind in ("space", "dataset"):
        for name in getattr(registry, f"{kind}s")():
            described = registry.describe(name, kind)[kind]
            assert described["summary"]
            for option in described["options"]:
                assert option["type"]
                assert option["description"], (name, option["name"])
    for name in nasreg.list_algorithms():
        described = nasreg.describe(name, "algorithm")["algorithm"]
        for option in described["mutator"]["options"] + described["trainer"]["options"]:
            assert option["type"]
            assert option["description"], (name, option["name"])
    cells = {option["name"]: option for option in registry.describe("darts")["space"]["options"]}["cells"]
    assert (cells["type"], cells["default"], cells["constraints"]) == ("int", 8, [">= 1", "<= 200"])
    with pytest.raises(UnknownNameError, match="nothing is called 'dart'"):
        registry.describe("dart")


def test_one_name_can_be_several_things(registry):
    registry.register(algorithm("darts"))
    assert set(registry.describe("darts")) == {"algorithm", "space"}
    assert set(registry.describe("darts", "space")) == {"space"}


def test_check_imports_everything(registry):
    assert registry.check() == {}
    registry.register(algorithm())
    assert registry.check() == {
        "this process": ["algorithm 'mine': factory: cannot load 'a:b': ModuleNotFoundError: No module named 'a'"] * 2
    }


@pytest.mark.parametrize(
    "changes",
    [
        {"name": "Not A Name"},
        {"default_preset": "other"},
        {"primitives": {"cells"}},
        {"presets": {}},
        {"mutator": {"factory": "not a reference", "config": "a:b"}},
        {"more": 1},
    ],
)
def test_a_spec_that_contradicts_itself_cannot_be_made(changes):
    with pytest.raises(ValueError, match=next(iter(changes))):
        algorithm(**changes)


def test_all_names_of_the_package_work_whatever_was_imported_before():
    import nasreg.api
    import nasreg.descriptions
    import nasreg.resolve

    for name in nasreg.__all__:
        assert callable(getattr(nasreg, name)), name
    with pytest.raises(AttributeError, match="nothing"):
        nasreg.nothing  # noqa: B018
