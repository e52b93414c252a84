"""From the options that a user gives to a resolved spec: the layers, their order, and one line for every mistake."""

from __future__ import annotations

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from nasreg.config.lookup import find_space
from nasreg.config.request import RunRequest
from nasreg.config.resolve import resolve as resolve_request
from nasreg.errors import ConfigError, NasregError, RunDirectoryError, SpaceError, UnknownNameError, UsageError
from nasreg.registry import Registry
from nasreg.specs import DataInfo, RunSpec

REGISTRY = Registry()


def resolve(algorithm: str = "darts", **asked) -> RunSpec:
    options = {name: asked.pop(name) for name in ("trainer", "mutator") if name in asked}
    return resolve_request(REGISTRY, RunRequest(algorithm=algorithm, options=options, **asked)).spec


def test_a_resolved_spec_has_every_option():
    spec = resolve()
    assert (spec.algorithm, spec.space.name, spec.dataset.name) == (
        "nasreg-darts/darts",
        "nasreg/darts",
        "nasreg/digits",
    )
    assert (spec.preset, spec.task, spec.device) == ("demo", "classification", "auto")
    described = REGISTRY.describe("darts")
    assert set(spec.trainer) == {option["name"] for option in described["algorithm"]["trainer"]["options"]}
    assert set(spec.space.options) == {option["name"] for option in described["space"]["options"]}


def test_each_layer_overrides_the_one_before(tmp_path):
    config = tmp_path / "config.yaml"
    config.write_text("trainer: {epochs: 7, batch_size: 7, lr: 7}\nseed: 7\n")
    default = resolve(preset="paper")
    assert (default.trainer["epochs"], default.seed) == (50, 2)
    spec = resolve(preset="paper", config=config)
    assert (spec.trainer["epochs"], spec.trainer["arch_lr"], spec.seed) == (7, 3e-4, 7)
    spec = resolve(preset="paper", config=config, trainer={"epochs": 8, "batch_size": 8}, seed=8)
    assert (spec.trainer["epochs"], spec.trainer["lr"], spec.seed) == (8, 7, 8)
    spec = resolve(
        config=config, trainer={"epochs": 8, "batch_size": 8}, settings=["trainer.epochs=9", "seed=9"], seed=8
    )
    assert (spec.trainer["epochs"], spec.trainer["batch_size"], spec.trainer["lr"], spec.seed) == (9, 8, 7, 9)


def test_the_data_set_chooses_the_preset_unless_one_is_named():
    assert resolve(dataset="digits").preset == "demo"
    assert resolve(dataset="cifar10").preset == "paper"
    assert resolve(dataset="digits", preset="paper").preset == "paper"
    assert resolve(settings=["preset=paper-second-order"]).trainer["second_order"] is True


@pytest.mark.parametrize(
    ("algorithm", "preset", "expected"),
    [
        ("darts", "paper", (0.5, 0.0)),
        ("darts", "demo", (0.5, 0.2)),
        ("pdarts", "paper", (0.5, 0.0)),
        ("random", "default", (0.0, 0.2)),
    ],
)
def test_the_splits_of_an_algorithm_decide_the_fractions(algorithm, preset, expected):
    spec = resolve(algorithm, preset=preset)
    options = spec.dataset.options
    assert (options["arch_fraction"], options["validation_fraction"]) == expected
    assert resolve(algorithm, config=yaml.safe_load(spec.to_yaml())) == spec


def test_a_preset_that_is_named_chooses_the_space_unless_one_is_named():
    assert resolve("random", preset="nasbench201").space.name == "nasreg-nasbench201/nasbench201"
    assert resolve("random", settings=["preset=nasbench201"]).space.name == "nasreg-nasbench201/nasbench201"
    assert resolve("random", preset="nasbench201", space="chain").space.name == "nasreg/chain"
    assert resolve("random", preset="demo").space.name == "nasreg/darts"


def test_options_of_a_preset_belong_to_its_space():
    assert resolve().space.options["cells"] == 3
    assert resolve(space="chain").space.options["blocks"] == 3


def test_options_apply_to_the_space_they_were_given_for():
    config = {"space": {"name": "chain", "blocks": 9}}
    assert resolve(config=config).space.options["blocks"] == 9
    assert resolve(config=config, space="darts").space.name == "nasreg/darts"
    assert resolve(settings=["space=chain", "space.blocks=2"]).space.options["blocks"] == 2
    assert resolve(config={"space": "chain"}).space.name == "nasreg/chain"


def test_settings_are_yaml():
    spec = resolve(
        settings=["space.candidates=[none, skip_connect]", "space.reductions=null", "trainer.second_order=yes"]
    )
    assert spec.space.options["candidates"] == ["none", "skip_connect"]
    assert spec.space.options["reductions"] is None
    assert spec.trainer["second_order"] is True


def test_folder_paths_are_made_absolute(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert resolve(dataset="folder:pictures").dataset.options["path"] == str(tmp_path / "pictures")
    assert resolve(config={"dataset": "folder:pictures"}).dataset.options["path"] == str(tmp_path / "pictures")


@pytest.mark.parametrize(
    "asked",
    [
        {},
        {"preset": "paper", "dataset": "cifar10"},
        {"space": "chain", "seed": 5},
        {"dataset": "folder:x", "device": "cpu"},
    ],
)
def test_a_resolved_run_survives_yaml_and_resolves_to_itself(asked):
    spec = resolve(**asked)
    assert RunSpec.from_yaml(spec.to_yaml()) == spec
    assert resolve(config=yaml.safe_load(spec.to_yaml())) == spec


@pytest.mark.parametrize(
    ("asked", "error", "message"),
    [
        ({"preset": "papr"}, UnknownNameError, "algorithm 'darts' has no preset 'papr'. Did you mean 'paper'"),
        ({"space": "chian"}, UnknownNameError, "Did you mean 'chain'?"),
        ({"dataset": "cifar"}, UnknownNameError, "Did you mean 'cifar10'"),
        ({"dataset": "folder:"}, ConfigError, "expected folder:PATH"),
        ({"dataset": "folder"}, ConfigError, "dataset.path is missing"),
        ({"trainer": {"epoch": 1}}, ConfigError, "'trainer.epoch' (from the arguments). Did you mean 'trainer.epochs'"),
        ({"settings": ["trainer.epochs=0"]}, ConfigError, "trainer.epochs: 0 is invalid (from --set)"),
        ({"settings": ["trainer.epochs"]}, ConfigError, "expected KEY=VALUE"),
        ({"settings": ["=3"]}, ConfigError, "expected KEY=VALUE"),
        ({"settings": ["epochs=3"]}, ConfigError, "there is no option 'epochs' (from --set)"),
        ({"settings": ["seed=x"]}, ConfigError, "seed: 'x' is invalid (from --set)"),
        ({"settings": ["trainer=3"]}, ConfigError, "trainer: 3 is invalid"),
        ({"settings": ["trainer.epochs=[1"]}, ConfigError, "the value of --set trainer.epochs is not YAML"),
        ({"settings": ["space.candidates=[conv]"]}, ConfigError, "there is no operation 'conv'"),
        (
            {"config": {"algorithm": "pdarts"}},
            ConfigError,
            "config is for algorithm 'pdarts', not for algorithm 'darts'",
        ),
        ({"config": {"trainer": [1]}}, ConfigError, "expected options by name"),
        ({"config": {"space": {"name": 3}}}, ConfigError, "space.name: 3 is invalid"),
        ({"config": {7: 1}}, ConfigError, "there is no option 7 (from config)"),
        ({"config": [1]}, ConfigError, "config: [1] is invalid"),
        ({"preset": ""}, UnknownNameError, "has no preset ''"),
        ({"algorithm": ""}, UnknownNameError, "there is no algorithm ''"),
        ({"space": ""}, ConfigError, "'' is no reference: expected a registered name"),
        ({"dataset": ""}, ConfigError, "'' is no reference: expected a registered name"),
        ({"dataset": "tiny:Net"}, UsageError, "code cannot be given as a data set"),
        ({"space": "python:Net"}, RunDirectoryError, "a model given as an object (Net)"),
        ({"settings": ["dataset.arch_fraction=0"]}, ConfigError, "arch_fraction is 0, but algorithm 'darts' learns"),
        (
            {"algorithm": "random", "settings": ["dataset.arch_fraction=0.5"]},
            ConfigError,
            "dataset.arch_fraction is 0.5, but algorithm 'random' uses no arch split: leave it out",
        ),
        ({"dataset": "folder:~no-such-user/x"}, ConfigError, "home directory"),
        ({"settings": ["trainer=&a {epochs: *a}"] * 2}, ConfigError, "nested too deeply, or contain themselves"),
        ({"settings": ["trainer" + 2000 * ".x" + "=1"] * 2}, ConfigError, "nested too deeply"),
        ({"config": "/no/such/file"}, ConfigError, "cannot read config file /no/such/file"),
        ({"seed": -1}, ConfigError, "seed: -1 is invalid (from the arguments)"),
        ({"space": "no.such:thing"}, SpaceError, "No module named 'no'"),
        ({"space": "math:nothing"}, SpaceError, "has no attribute 'nothing'"),
        ({"space": "math:pi"}, SpaceError, "cannot be called"),
    ],
)  # fmt: skip
def test_a_mistake_is_refused_in_one_line_that_names_its_source(asked, error, message):
    with pytest.raises(error) as info:
        resolve(**asked)
    assert message in str(info.value)
    assert "\n" not in str(info.value)


OWN = """
import torch
from nasreg.nn import LayerChoice

def plain(info, width: int = 4, kernels: list[int] = [1, 3], *, deep: bool = False):
    return LayerChoice([torch.nn.Conv2d(info.channels, width, k) for k in kernels], key="a")

def untyped(info, width=4): ...
def without(): ...
def unwritable(info, thing=object()): ...
def raising(info): return [][1]
"""


def test_the_parameters_of_a_users_function_are_the_options_of_the_space(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own_space_of_a_test.py").write_text(OWN)
    where = "own_space_of_a_test"
    spec = resolve(space=f"{where}:plain", settings=["space.width=8"])
    assert spec.space.options == {"width": 8, "kernels": [1, 3], "deep": False}
    info = DataInfo(channels=1, height=8, width=8, classes=("a", "b"))
    module = find_space(REGISTRY, f"{where}:plain").build(info, spec.space.options)
    assert module.candidates["1"].out_channels == 8
    for asked, message in (
        ({"settings": ["space.width=wide"]}, "space.width: 'wide' is invalid"),
        ({"settings": ["space.widht=3"]}, "Did you mean 'space.width'"),
    ):
        with pytest.raises(ConfigError, match=message):
            resolve(space=f"{where}:plain", **asked)
    with pytest.raises(ConfigError, match=r"space.width"):
        resolve(space=f"{where}:untyped", settings=["space.width=wide"])
    assert resolve(space=f"{where}:without").space.options == {}
    with pytest.raises(SpaceError, match="'thing' cannot be an option"):
        resolve(space=f"{where}:unwritable")
    with pytest.raises(SpaceError, match=r"IndexError at .*own_space_of_a_test.py:11: list index out of range"):
        find_space(REGISTRY, f"{where}:raising").build(info, {})


keys = st.sampled_from(
    [
        "trainer",
        "space",
        "dataset",
        "mutator",
        "epochs",
        "cells",
        "name",
        "seed",
        "preset",
        "device",
        "algorithm",
        "x",
        "",
    ]
)
values = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.floats(allow_nan=True) | keys | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys | st.text(max_size=6), inner, max_size=3),
    max_leaves=10,
)


def one_line_or_a_spec(**asked) -> None:
    try:
        spec = resolve(**asked)
    except NasregError as error:
        assert str(error).strip()
        assert "\n" not in str(error)
    else:
        assert RunSpec.from_yaml(spec.to_yaml()) == spec


@given(st.lists(st.text(max_size=12) | st.builds("{}.{}={}".format, keys, keys, values), max_size=3))
@example(["trainer.epochs=!!python/object:os.system"])
def test_any_setting(settings):
    one_line_or_a_spec(settings=settings)


@given(st.dictionaries(keys, values, max_size=4))
def test_any_config(config):
    one_line_or_a_spec(config=config)


@given(text=st.text(max_size=60) | st.builds(yaml.safe_dump, st.dictionaries(keys, values, max_size=3)))
def test_any_config_file(tmp_path_factory, text):
    path = tmp_path_factory.mktemp("config") / "config.yaml"
    path.write_text(text, encoding="utf-8")
    one_line_or_a_spec(config=path)


@given(st.binary(max_size=30))
def test_any_bytes_for_a_config_file(tmp_path_factory, raw):
    path = tmp_path_factory.mktemp("config") / "config.yaml"
    path.write_bytes(raw)
    one_line_or_a_spec(config=path)
