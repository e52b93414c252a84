"""The documentation is true: what it lists is all there is, and every command and block of code in it runs."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import warnings
from pathlib import Path
from typing import NamedTuple

import jsonschema
import pytest
import yaml

from nasreg.cli import main
from nasreg.registry import default_registry
from nasreg.specs import json_schema
from plugin_venv import ROOT, PluginVenv, build

DOCUMENTS = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    *sorted(path for path in (ROOT / "docs").glob("*.md") if path.name != "reference.md"),
    *sorted(ROOT.glob("plugins/*/README.md")),
]
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


class Block(NamedTuple):
    language: str
    text: str


def blocks(document: Path) -> list[Block]:
    return [Block(*match.groups()) for match in BLOCK.finditer(document.read_text(encoding="utf-8"))]


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def _make_reference():
    spec = importlib.util.spec_from_file_location("make_reference", ROOT / "docs/make_reference.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("path", sorted(_make_reference().files()))
def test_the_reference_is_up_to_date(path):
    """Every command, option, hook, event and error is in it; python docs/make_reference.py writes it."""
    assert (ROOT / "docs" / path).read_text(encoding="utf-8") == _make_reference().files()[path]


def test_every_option_has_a_description():
    rows = re.findall(r"^\| `([\w.]+)` \|.*\| ([^|]*) \|$", (ROOT / "docs/reference.md").read_text(), re.MULTILINE)
    assert len(rows) > 50
    assert not [option for option, meaning in rows if not meaning.strip()]


@pytest.mark.parametrize("document", DOCUMENTS, ids=name)
def test_links_lead_somewhere(document):
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", document.read_text(encoding="utf-8")):
        if not target.startswith("https://"):
            assert (document.parent / target).exists(), target


def environment() -> dict[str, str]:
    folder = str(Path(sys.executable).parent)
    return {**os.environ, "PATH": f"{folder}{os.pathsep}{os.environ['PATH']}"}


def nasreg_commands(text: str) -> list[list[str]] | None:
    """Return the arguments of each line of a block that runs nasreg only, without anything of the shell."""
    lines = [shlex.split(line, comments=True) for line in text.replace("\\\n", " ").splitlines()]
    plain = all(line[0] == "nasreg" and not {"||", "&&", "|", ">"} & set(line) for line in lines if line)
    return [line[1:] for line in lines if line] if plain else None


def run_nasreg(argv: list[str], printed: Path) -> int:
    """Run a command in a forked process, which has torch already, and return its exit code."""
    sys.stdout.flush()
    sys.stderr.flush()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # newer Pythons warn when a process with threads forks
        child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    with printed.open("w", encoding="utf-8") as file:
        sys.stdin, sys.stdout, sys.stderr = open(os.devnull, encoding="utf-8"), file, file  # noqa: SIM115
        default_registry.cache_clear()  # what Python blocks registered was in another process
        code = 1
        try:
            code = main(argv)
        finally:
            file.flush()
            os._exit(code)


@pytest.fixture
def own_registry():
    """What a document registers is forgotten after it."""
    default_registry.cache_clear()
    yield
    default_registry.cache_clear()


@pytest.mark.slow
@pytest.mark.usefixtures("own_registry")
@pytest.mark.parametrize("document", [path for path in DOCUMENTS if path.name != "CONTRIBUTING.md"], ids=name)
def test_blocks_run(document, tmp_path, monkeypatch):
    """In order, in one folder; the Python blocks of a document share their names."""
    monkeypatch.chdir(tmp_path)
    variables, own_venv = environment(), False
    if "pip install" in "".join(text for _, text in blocks(document) if "-m venv" not in text):
        venv = PluginVenv(tmp_path / "venv")  # what a document installs harms no other
        venv.install(build(ROOT, tmp_path))
        variables, own_venv = venv.environment(), True
    names = {"__name__": "__main__"}
    for number, (language, text) in enumerate(blocks(document)):
        if "-m venv" in text:
            continue  # README's first two commands set up an environment: the last test and .ci/run run them
        if language == "python":
            exec(compile(text, f"{name(document)}, block {number}", "exec"), names)  # noqa: S102  # our own documents
        elif language == "bash" and not own_venv and (commands := nasreg_commands(text)) is not None:
            for argv in commands:
                printed = tmp_path / "printed.txt"
                assert run_nasreg(argv, printed) == 0, (
                    f"block {number}: nasreg {shlex.join(argv)}\n{printed.read_text()}"
                )
        elif language == "bash":
            words = ["bash", "-euo", "pipefail", "-c", text]
            done = subprocess.run(words, env=variables, capture_output=True, text=True, check=False)
            assert done.returncode == 0, f"block {number}:\n{text}\n{done.stdout}\n{done.stderr}"
        else:
            assert language == "toml", f"block {number} has no language that is run"
            assert text.startswith("[project.entry-points.nasreg]")


def test_contributing_names_the_commands_of_ci():
    ci = (ROOT / ".ci/run").read_text()
    for line in blocks(ROOT / "CONTRIBUTING.md")[0].text.splitlines():
        assert f".venv/bin/{line}" in ci


@pytest.mark.slow
def test_readmes_first_command_sets_up_and_searches_to_the_end(tmp_path):
    """In a copy of the project, with pip taking torch and the like from the present environment."""
    ignore = shutil.ignore_patterns(".*", "build", "dist", "__pycache__")
    shutil.copytree(ROOT, tmp_path / "nasreg", ignore=ignore)
    command = blocks(ROOT / "README.md")[0].text
    shared = {"PYTHONPATH": next(path for path in sys.path if path.endswith("site-packages"))}
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", command],
        cwd=tmp_path / "nasreg",
        env={**os.environ, **shared},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    run_dir = tmp_path / "nasreg/runs/first"
    last = json.loads((run_dir / "metrics.jsonl").read_text().splitlines()[-1])
    assert last["validation_accuracy"] > 0.9
    assert (run_dir / "cells.svg").read_text().startswith("<?xml")
    assert json.loads((run_dir / "environment.json").read_text())["command"][0] == ".venv/bin/nasreg"
    for file, schema in (("architecture.json", "architecture"), ("space.json", "search-space"), ("run.yaml", "run")):
        jsonschema.validate(yaml.safe_load((run_dir / file).read_text()), json_schema(schema))
