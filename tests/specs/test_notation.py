"""A space's own text form of architectures, and its own evaluator and diagnostics: general, by data in its entry."""

from __future__ import annotations

import json

import pytest

import nasreg
from evaluators import DESCENT, SCRIPTED, Digits
from nasreg.cli import main
from nasreg.config.request import RunRequest
from nasreg.config.resolve import resolve
from nasreg.errors import ArchitectureError, ConfigError, UsageError
from nasreg.registry import default_registry
from nasreg.specs import Config, Notation, SpaceEntry

pytestmark = pytest.mark.usefixtures("without_report")


def build(info, config):
    del info, config
    return Digits()


def write(space, architecture):
    del space
    return "#" + "".join(architecture.decisions.values())


def read(space, text):
    digits = text.removeprefix("#")
    if len(digits) != len(space.choices):
        raise ValueError(f"it has {len(digits)} digits instead of {len(space.choices)}")
    return {f"digit{place}": digit for place, digit in enumerate(digits)}


NOTED = SpaceEntry(
    name="noted",
    summary="three digits",
    factory=build,
    config=Config,
    notation=Notation(prefix="#", example="#012", formatter=write, parser=read),
    evaluator="scripted",
    default_preset="demo",
)


@pytest.fixture(autouse=True)
def registered():
    registry = default_registry()
    registry.register(NOTED, SCRIPTED, DESCENT)
    yield registry
    registry.unregister(NOTED.name, SCRIPTED.name, DESCENT.name)


@pytest.mark.parametrize("space", [None, "noted"])
def test_a_text_is_an_architecture_wherever_one_is_taken(space, tmp_path, capsys):
    found = nasreg.find_architecture(" #407\n", space=space)
    assert found.resolve(nasreg.extract_space(Digits())).decisions == {"digit0": "4", "digit1": "0", "digit2": "7"}
    (tmp_path / "a.txt").write_text("#407\n")
    for source in ("#407", str(tmp_path / "a.txt")):
        assert main(["show", source, *(["--space", space] if space else [])]) == 0
        assert capsys.readouterr().out.endswith("\n#407\n")
    result = nasreg.search(
        "noted", algorithm="descent", trainer={"max_trials": 2, "initial": ["#407"]}, device="cpu", out=tmp_path / "run"
    )
    assert result.trials[0]["architecture"] == {"digit0": "4", "digit1": "0", "digit2": "7"}
    assert (tmp_path / "run/genotype.txt").read_text() == f"{result.genotype}\n"
    assert result.genotype.startswith("#")
    assert main(["show", str(tmp_path / "run"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["genotype"] == result.genotype
    assert result.genotype in result._repr_html_()


def test_the_result_of_a_search_is_printed_in_it(tmp_path, capsys):
    argv = ["run", "descent", "--space", "noted", "--set", "trainer.max_trials=2", "--device", "cpu"]
    assert main([*argv, "--out", str(tmp_path / "run")]) == 0
    assert f"\n{(tmp_path / 'run/genotype.txt').read_text()}" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("#40", r"#40: it has 2 digits instead of 3; expected a text such as #012"),
        ("#4x7", r"'digit1': 'x' is not one of"),
        ("#" + "4" * 30_000, "it is longer than 20000 characters"),
    ],
)
def test_a_malformed_text(text, says):
    with pytest.raises(ArchitectureError, match=says):
        nasreg.find_architecture(text)


def test_a_text_of_another_space():
    with pytest.raises(ConfigError, match="#407 is not in a notation of the search space 'nasreg/chain'"):
        nasreg.find_architecture("#407", space="chain")
    other = NOTED.model_copy(update={"name": "noted2"})
    default_registry().register(other)
    try:
        with pytest.raises(UsageError, match=r"several search spaces: name one with --space .*: noted, noted2"):
            nasreg.find_architecture("#407")
    finally:
        default_registry().unregister("noted2")


def test_the_evaluator_of_a_space_is_the_default_where_the_algorithm_names_none(registered):
    def chosen(**request) -> str:
        run = resolve(registered, RunRequest(**{"algorithm": "random", "space": "noted", **request}))
        assert run.evaluator is not None
        assert run.spec.evaluator is not None
        assert run.spec.evaluator.title == run.evaluator.name
        return run.evaluator.name

    assert chosen() == "scripted"
    assert chosen(preset="demo") == "scripted"  # whose options are those of the algorithm's own evaluator
    assert chosen(evaluator="training") == "training"
    assert chosen(settings=["evaluator=training"]) == "training"
    assert chosen(space="chain") == "training"
    own = DESCENT.model_copy(update={"name": "descent2", "evaluator": "training"})
    registered.register(own)
    try:
        assert chosen(algorithm="descent2") == "training"
    finally:
        registered.unregister("descent2")


def test_the_preset_of_a_space_is_the_default_where_the_algorithm_has_it(registered):
    def chosen(**request) -> tuple[str | None, str | None]:
        run = resolve(
            registered, RunRequest(**{"algorithm": "random", "space": "noted", "dataset": "mnist", **request})
        )
        return run.spec.preset, run.preset_of_dataset

    assert chosen() == ("demo", None)
    assert chosen(preset="default") == ("default", None)
    assert chosen(algorithm="descent") == ("default", None)  # it has no demo
    assert chosen(space="chain") == ("default", None)
    assert chosen(space="chain", dataset="digits") == ("demo", "demo")


def test_check_imports_what_the_entry_names(registered):
    notation = Notation(prefix="!", example="!", formatter="no.module:f", parser=read)
    broken = NOTED.model_copy(update={"name": "broken", "notation": notation, "diagnostics": "json:nothing"})
    registered.register(broken)
    try:
        found = registered.check()["this process"]
    finally:
        registered.unregister("broken")
    assert found[0].startswith("search space 'broken': cannot load 'no.module:f': ModuleNotFoundError")
    assert found[1].startswith("search space 'broken': cannot load 'json:nothing'")
