"""``nasreg list``, ``describe`` and ``plugins``: what they print, and that they import no torch."""

from __future__ import annotations

import json
import re
import subprocess
import sys

import pytest

import nasreg
from nasreg.cli import main
from nasreg.registry import default_registry
from nasreg.specs import RecipeEntry, RenamedEntry

HEAVY = ("torch", "torchvision", "numpy", "sklearn", "matplotlib", "rich")


@pytest.mark.parametrize(
    "argv",
    [["--help"], ["--version"], ["list"], ["list", "--json"], ["describe", "darts"], ["plugins"], ["run", "--help"]],
    ids=" ".join,
)
def test_nothing_heavy_is_imported(argv):
    code = f"""
import sys
import typer  # old versions import rich
before = set(sys.modules)
from nasreg.cli import main
code = main({argv!r})
print([name for name in {HEAVY!r} if name in sys.modules.keys() - before], code, file=sys.stderr)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr == "[] 0\n"
    assert done.stdout


def test_importing_nasreg_finds_no_plugin_and_imports_no_torch():
    code = (
        "import nasreg, sys; print([n for n in sys.modules if n.split('.')[0] in ('torch', 'pluggy', 'nasreg_darts')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def printed(capsys, *argv: str) -> str:
    assert main(argv) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    return captured.out


def test_list(capsys):
    text = printed(capsys, "list")
    for name in (*nasreg.list_algorithms(), *nasreg.list_spaces(), *nasreg.list_datasets()):
        assert f"\n  {name} " in text
    assert json.loads(printed(capsys, "list", "--json")) == {
        "algorithms": {name: nasreg.get_algorithm(name).summary for name in nasreg.list_algorithms()},
        "spaces": {name: nasreg.get_space(name).summary for name in nasreg.list_spaces()},
        "datasets": {name: nasreg.get_dataset(name).summary for name in nasreg.list_datasets()},
        "evaluators": {name: nasreg.get_evaluator(name).summary for name in nasreg.list_evaluators()},
        "executors": {name: nasreg.get_executor(name).summary for name in nasreg.list_executors()},
        "genotypes": {name: nasreg.get_genotype(name).summary for name in nasreg.list_genotypes()},
        "recipes": {name: nasreg.get_recipe(name).summary for name in nasreg.list_recipes()},
    }
    assert "digits" not in printed(capsys, "list", "algorithms")


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["algorithms", "ran*"], {"algorithms": ["random"]}),
        (["--family", "multi-trial"], {"algorithms": nasreg.list_algorithms("multi-trial")}),
        (
            ["algorithms", "--family", "one-shot", "*darts"],
            {"algorithms": nasreg.list_algorithms("one-shot", "*darts")},
        ),
        (["spaces", "no-*"], {"spaces": []}),
        (
            ["*digit?"],
            {
                "algorithms": [],
                "spaces": [],
                "datasets": ["digits"],
                "evaluators": [],
                "executors": [],
                "genotypes": [],
                "recipes": [],
            },
        ),
    ],
)
def test_lists_can_be_narrowed_down(capsys, words, expected):
    main(["list", *words, "--json"])
    listed = json.loads(capsys.readouterr().out)
    assert {kind: list(entries) for kind, entries in listed.items()} == expected


def test_a_pattern_shows_only_the_kinds_that_match(capsys):
    text = printed(capsys, "list", "*digit?")
    assert text.splitlines()[0] == "datasets"
    assert "algorithms" not in text
    assert main(["list", "no-*"]) == 0
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "nothing installed matches\n")


@pytest.fixture
def own_registry():
    """What a test registers is forgotten after it."""
    default_registry.cache_clear()
    yield default_registry()
    default_registry.cache_clear()


def test_a_recipe_is_described_with_its_values(capsys, own_registry):
    own_registry.register(
        RecipeEntry(
            name="mine",
            summary="short and small",
            trainer={"epochs": 5},
            spaces={"chain": {"blocks": 2}},
            dataset={"cutout": 16},
            seed=3,
        )
    )
    assert re.search(r"^  mine +short and small$", printed(capsys, "list", "recipes"), re.MULTILINE)
    lines = [line.split() for line in printed(capsys, "describe", "mine").splitlines()]
    for line in (["trainer.epochs", "5"], ["spaces.chain.blocks", "2"], ["dataset.cutout", "16"], ["seed", "3"]):
        assert line in lines
    assert ["from", "this", "process"] in lines


@pytest.mark.filterwarnings("always::nasreg.errors.NasregWarning")
def test_an_old_name_is_one_line_on_stderr(capsys, own_registry, monkeypatch):
    monkeypatch.setattr("nasreg.errors._warned", set())
    own_registry.register(RecipeEntry(name="new", summary="s"), RenamedEntry(kind="recipe", old="old", new="new"))
    for err in ("nasreg: warning: recipe 'old' is called 'new' now\n", ""):  # once in a process
        assert main(["describe", "old"]) == 0
        captured = capsys.readouterr()
        assert captured.out.startswith("recipe new\n")
        assert captured.err == err


def test_without_arguments_the_help_is_printed(capsys):
    assert printed(capsys) == printed(capsys, "--help")
    assert len(printed(capsys).splitlines()) > 10


def test_describe(capsys):
    text = printed(capsys, "describe", "darts")
    for part in (
        "1806.09055",
        "preset paper",
        "default preset  paper",
        "trainer.lr",
        "0.025",
        "space darts",
        "space.cells",
        "nasreg-darts",
    ):
        assert part in text
    assert "space.cells" not in printed(capsys, "describe", "darts", "--kind", "algorithm")
    described = json.loads(printed(capsys, "describe", "darts", "--json"))
    assert described == json.loads(json.dumps(nasreg.describe("darts")))
    assert "nothing to download" in printed(capsys, "describe", "digits")
    assert printed(capsys, "describe", "nasreg-darts/darts").startswith("algorithm darts\n")


def test_describe_says_what_an_algorithm_requires(capsys):
    lines = [" ".join(line.split()) for line in printed(capsys, "describe", "pdarts").splitlines()]
    assert "requires a choice of the kind cell, depth, edge_candidates" in lines
    assert "splits arch" in lines
    assert any(
        line.startswith("  provides  ") and "depth" in line
        for line in printed(capsys, "describe", "darts").splitlines()
    )


def test_plugins(capsys):
    text = printed(capsys, "plugins")
    assert "nasreg-darts 0.1.0" in text
    records = {record["name"]: record for record in json.loads(printed(capsys, "plugins", "--json"))}
    assert records["darts"]["algorithms"] == ["darts"]
    assert records["darts"]["api"] == 2
    assert records["darts"]["summary"] in text
    assert printed(capsys, "plugins", "--check")


def test_patterns_and_families(capsys):
    assert printed(capsys, "list", "algorithms", "h*", "-q").split() == ["hill-climbing", "hyperband"]
    assert printed(capsys, "list", "ran*", "--family", "multi-trial", "-q").split() == ["random"]
    assert main(["list", "nothing*"]) == 0
    assert capsys.readouterr() == ("", "nothing installed matches\n")


@pytest.mark.parametrize("kind", ["algorithm", "space", "dataset", "genotype", "recipe"])
def test_every_entry_is_described(capsys, kind):
    registry = default_registry()
    for name in registry.names(kind):
        lines = printed(capsys, "describe", name, "--kind", kind).splitlines()
        assert lines[0] == f"{kind} {name}"
        assert lines[1].split(maxsplit=1) == ["summary", registry.entry(kind, name).summary]
        titles = [number for number, line in enumerate(lines) if line.startswith("options of the ")]
        assert bool(titles) == (kind in ("algorithm", "space", "dataset"))
        for line in lines[titles[0] :] if titles else []:  # an option has its default, its type and its meaning
            parts = [part for part in line.strip().split("  ") if part]
            assert len(parts) == 4 or line.startswith("options of the ") or parts == ["(none)"], line
