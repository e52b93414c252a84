"""Looking things up, and registering them in process."""

from __future__ import annotations

import types

import pytest

import nasreg
from nasreg import errors
from nasreg.errors import ConfigError, IncompatibleError, NasregWarning, PluginError, UnknownNameError
from nasreg.hookspecs import hookimpl
from nasreg.registry import Registry, default_registry
from nasreg.registry.discovery import check_api
from nasreg.specs import (
    PLUGIN_API,
    AlgorithmSpec,
    CellSpec,
    DatasetEntry,
    GenotypeEntry,
    InputChoiceSpec,
    MutatorSpec,
    PluginInfo,
    Preset,
    RecipeEntry,
    RenamedEntry,
    RepeatSpec,
    SearchSpaceSpec,
    SpaceEntry,
    TrainerSpec,
    ValueChoiceSpec,
)


def algorithm(name: str = "mine", **changes) -> AlgorithmSpec:
    values = {
        "name": name,
        "summary": "mine",
        "family": "one-shot",
        "primitives": {"cell"},
        "mutator": MutatorSpec(factory="a:b", config="nasreg.specs:Config"),
        "trainer": TrainerSpec(factory="a:b", config="nasreg.trainers:OneShotTrainerConfig"),
        "presets": {"p": Preset(summary="p")},
        "default_preset": "p",
        "default_space": "chain",
    }
    return AlgorithmSpec(**{**values, **changes})


def space(name: str = "mine", **changes) -> SpaceEntry:
    config = "nasreg.spaces.config:ChainSpaceConfig"
    return SpaceEntry(name=name, summary="mine", factory="a:b", config=config, **changes)


@pytest.fixture
def registry() -> Registry:
    return Registry(entry_points=False)


CELL = CellSpec(key="c", inputs=1, nodes=1, candidates=(("x", "none"),), edges_kept=1, concat=(1,))
CHOICES = {
    "input/mean": InputChoiceSpec(key="c", candidates=("a",), reduction="mean"),
    "value": ValueChoiceSpec(key="c", values=(1,)),
    "repeat": RepeatSpec(key="c", depths=(1,)),
    "cell": CELL.model_copy(update={"none_selectable": True}),
    "cell/slots": CELL.model_copy(update={"repeat_sources": True}),
    "cell/loose-ends": CELL.model_copy(update={"repeat_sources": True, "loose_ends": True}),
}


@pytest.mark.parametrize("kind", CHOICES)
def test_an_algorithm_handles_the_kinds_of_choices_that_it_lists(kind):
    space = SearchSpaceSpec(choices=(CHOICES[kind],))
    others = {"layer", "input/sum", "value", "repeat", "cell", "cell/slots", "cell/loose-ends"} - {kind}
    with pytest.raises(IncompatibleError, match=rf"'mine' cannot handle choice 'c' \(kind {kind}\)"):
        algorithm(primitives=others).check_space("s", space, None)
    algorithm(primitives={kind}).check_space("s", space, None)
    if kind.startswith("input"):
        algorithm(primitives={"input"}).check_space("s", space, None)


def test_core_entries_are_there_and_no_plugin(registry):
    assert registry.algorithms() == []
    assert registry.spaces() == ["chain", "darts", "elastic-chain", "shufflenet", "vit"]
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
    def nasreg_plugin():
        return PluginInfo(api=PLUGIN_API)

    @hookimpl
    def nasreg_algorithms():
        return [algorithm("one"), algorithm("two")]

    module.nasreg_algorithms = nasreg_algorithms
    with pytest.raises(PluginError, match="states no version of the plugin contract"):
        registry.register(module)
    module.nasreg_plugin = nasreg_plugin
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


RECIPE = RecipeEntry(
    name="mine",
    summary="a recipe",
    paper="https://example.org",
    seed=3,
    trainer={"epochs": 5},
    spaces={"chain": {"blocks": 2}},
    dataset={"cutout": 16},
)


def test_recipes_are_entries_like_any_other(registry):
    before = registry.recipes()
    registry.register(RECIPE)
    assert registry.recipes() == sorted([*before, "mine"])
    assert registry.recipe("mine") is RECIPE
    described = registry.describe("mine")["recipe"]
    assert described["trainer"] == {"epochs": 5}
    assert described["spaces"] == {"chain": {"blocks": 2}}
    assert registry.plugins()[-1].recipes == ("mine",)
    assert registry.check() == {}
    assert nasreg.list_recipes() == default_registry().recipes()
    with pytest.raises(UnknownNameError, match="there is no recipe 'mine'"):
        nasreg.get_recipe("mine")


def test_lists_can_be_narrowed_down(registry):
    registry.register(algorithm("pc-one"), algorithm("pc-two", family="multi-trial"), algorithm("other"))
    assert registry.algorithms(family="multi-trial") == ["pc-two"]
    assert registry.algorithms(pattern="pc-*") == ["pc-one", "pc-two"]
    assert registry.algorithms("one-shot", "PC-*") == ["pc-one"]
    assert registry.datasets("cifar*") == ["cifar10", "cifar100"]
    assert registry.genotypes("pc_darts_*") == ["PC_DARTS_cifar", "PC_DARTS_image"]
    assert nasreg.list_algorithms(family="multi-trial") == default_registry().algorithms("multi-trial")


def test_qualified_names_are_accepted_and_given(registry):
    assert registry.dataset("nasreg/digits") is registry.dataset("digits")
    assert registry.qualified("dataset", "digits") == "nasreg/digits"
    assert registry.qualified("dataset", "NASREG/digits") == "nasreg/digits"
    assert set(registry.describe("nasreg/darts")) == {"space"}
    assert nasreg.get_algorithm("nasreg_darts/darts") is nasreg.get_algorithm("darts")
    registry.register(algorithm())
    assert registry.qualified("algorithm", "mine") == "mine"
    for name in ("nasreg/mine", "nasreg-other/digits", "/digits", "nasreg/", "a/b/digits"):
        with pytest.raises(UnknownNameError):
            registry.qualified("dataset", name)
    with pytest.raises(UnknownNameError, match="The distribution 'nasreg-other' is not installed"):
        registry.space("nasreg-other/mine")


def test_an_old_name_finds_the_entry_with_one_warning(registry, monkeypatch):
    monkeypatch.setattr(errors, "_warned", set())
    registry.register(algorithm("new"), RenamedEntry(kind="algorithm", old="old", new="new"))
    with pytest.warns(NasregWarning, match="algorithm 'old' is called 'new' now"):
        assert registry.algorithm("old").name == "new"
    assert registry.qualified("algorithm", "old") == "new"  # filterwarnings = error: a second one would raise
    assert registry.algorithms() == ["new"]
    assert set(registry.describe("old")) == {"algorithm"}
    with pytest.raises(PluginError, match="algorithm 'old' is already registered"):
        registry.register(algorithm("old"))
    registry.unregister("new")
    with pytest.raises(UnknownNameError, match="there is no algorithm 'old'"):
        registry.algorithm("old")
    registry.unregister("old")
    registry.register(algorithm("old"))
    assert registry.algorithm("old").name == "old"


@pytest.mark.parametrize(
    ("entries", "says"),
    [
        ([RenamedEntry(kind="algorithm", old="old", new="new")], "which the plugin does not provide"),
        ([algorithm("a"), algorithm("b"), RenamedEntry(kind="algorithm", old="a", new="b")], "it still exists"),
        ([space("new"), RenamedEntry(kind="algorithm", old="old", new="new")], "which the plugin does not provide"),
        (
            [
                algorithm("c"),
                RenamedEntry(kind="algorithm", old="a", new="b"),
                RenamedEntry(kind="algorithm", old="b", new="c"),
            ],
            "'a' is renamed to 'b', which the plugin does not provide",
        ),
    ],
)
def test_a_rename_must_lead_from_a_free_name_to_an_entry(registry, entries, says):
    with pytest.raises(PluginError, match=says):
        registry.register(*entries)
    with pytest.raises(ValueError, match="renamed to itself"):
        RenamedEntry(kind="algorithm", old="a", new="a")


def test_what_is_not_installed_is_answered_with_the_package(registry):
    for lookup in (lambda: registry.algorithm("enas"), lambda: registry.describe("enas")):
        with pytest.raises(UnknownNameError, match="Install it with: pip install nasreg-enas"):
            lookup()
    with pytest.raises(UnknownNameError, match="pip install nasreg-nasbench201"):
        registry.space("nasreg-nasbench201/nasbench201")
    with pytest.raises(UnknownNameError, match="Install it with: pip install nasreg-evolution") as info:
        registry.algorithm("regularised-evolution")
    assert "Did you mean 'regularized-evolution'?" in str(info.value)
    with pytest.raises(UnknownNameError) as info:
        nasreg.get_space("darts-no")  # its package is installed
    assert "pip install" not in str(info.value)


def test_refresh_keeps_what_was_registered_and_survives_a_wrong_variable(registry, monkeypatch):
    registry = Registry()
    registry.refresh()
    registry.register(algorithm(), RECIPE)
    registry.refresh()
    assert registry.algorithm("mine").name == registry.recipe("mine").name
    assert registry.plugins()[-1].algorithms == ("mine",)
    monkeypatch.setenv("NASREG_PLUGINS", "not-here")
    with pytest.raises(ConfigError, match="NASREG_PLUGINS names 'not-here'"):
        registry.refresh()
    assert "darts" in registry.algorithms()
    monkeypatch.setenv("NASREG_PLUGINS", "")
    registry.refresh()
    assert registry.algorithms() == ["mine"]
    nasreg.refresh()
    monkeypatch.undo()
    nasreg.refresh()


@pytest.mark.parametrize(
    ("api", "says"),
    [
        (3, None),
        (5, None),
        (2, "version 2 of the plugin contract, but nasreg .* supports 3 to 5: upgrade the plugin"),
        (6, "version 6 of the plugin contract, but nasreg .* supports 3 to 5: upgrade nasreg"),
    ],
)
def test_a_range_of_contract_versions_is_supported(api, says):
    if says is None:
        check_api(api, oldest=3, newest=5)
    else:
        with pytest.raises(PluginError, match=says):
            check_api(api, oldest=3, newest=5)


def test_capabilities_are_open_names(registry):
    able = space("able", capabilities={"weight-sharing": "shared", "depth": "blocks"})
    wants = algorithm(requires={"weight-sharing"})
    nothing = SearchSpaceSpec(choices=())
    wants.check_space("able", nothing, able)
    with pytest.raises(IncompatibleError) as info:
        wants.check_space("chain", nothing, registry.space("chain"), [able, registry.space("chain")])
    assert str(info.value) == (
        "algorithm 'mine' requires of a space: weight-sharing; search space 'chain' does not have weight-sharing."
        " Installed spaces that have all of it: able"
    )
    with pytest.raises(IncompatibleError, match="No installed space has it"):
        wants.check_space("my_module:Net", nothing, None)
    with pytest.raises(ValueError, match="capabilities"):
        space(capabilities={"Not A Name": "x"})


def test_sets_of_a_spec_are_written_in_one_order():
    spec = algorithm(primitives={"layer", "cell", "input"}, splits={"validation", "arch"}, requires={"b", "a"})
    written = spec.model_dump(mode="json")
    assert (written["primitives"], written["splits"], written["requires"]) == (
        ["cell", "input", "layer"],
        ["arch", "validation"],
        ["a", "b"],
    )


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
        {"splits": {"test"}},
        {"requires": {"Not A Name"}},
        {"default_space": ""},
        {"more": 1},
    ],
)
def test_a_spec_that_contradicts_itself_cannot_be_made(changes):
    with pytest.raises(ValueError, match=next(iter(changes))):
        algorithm(**changes)


def test_a_space_has_to_be_named():
    with pytest.raises(ValueError, match="space"):
        GenotypeEntry(name="G", summary="s", genotype="Genotype()")
    values = algorithm().model_dump()
    del values["default_space"]
    with pytest.raises(ValueError, match="default_space"):
        AlgorithmSpec(**values)


def test_all_names_of_the_package_work_whatever_was_imported_before():
    import nasreg.config.resolve
    import nasreg.engine.search
    import nasreg.registry.descriptions

    for name in nasreg.__all__:
        assert callable(getattr(nasreg, name)) or name == "__version__", name
    with pytest.raises(AttributeError, match="nothing"):
        nasreg.nothing  # noqa: B018
