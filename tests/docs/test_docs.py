"""The documentation is true: what it lists is all there is, and every command and block of code in it runs."""

from __future__ import annotations

import ast
import importlib.util
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import jsonschema
import pytest
import yaml

import forked
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


def test_the_reference_is_up_to_date():
    """Every command, option, hook, event and error is in it; python docs/make_reference.py writes it."""
    for path, text in _make_reference().files().items():
        assert (ROOT / "docs" / path).read_text(encoding="utf-8") == text, path


def test_the_table_of_algorithms_is_up_to_date():
    """Python docs/make_reference.py writes it; benchmarks/algorithms.py measures what is in it."""
    assert (ROOT / "README.md").read_text(encoding="utf-8") == _make_reference().readme()


def test_the_commands_in_the_table_of_algorithms_exist(capsys):
    records = json.loads((ROOT / "docs/algorithms.json").read_text(encoding="utf-8"))
    for record in records.values():
        assert main([*shlex.split(record["command"])[1:], "--dry-run"]) == 0
    capsys.readouterr()


def test_every_option_has_a_description():
    rows = re.findall(r"^\| `([\w.]+)` \|.*\| ([^|]*) \|$", (ROOT / "docs/reference.md").read_text(), re.MULTILINE)
    assert len(rows) > 50
    assert not [option for option, meaning in rows if not meaning.strip()]


def test_links_lead_somewhere():
    broken = [
        f"{name(document)}: {target}"
        for document in DOCUMENTS
        for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", document.read_text(encoding="utf-8"))
        if not target.startswith("https://") and not (document.parent / target).exists()
    ]
    assert not broken


def environment() -> dict[str, str]:
    folder = str(Path(sys.executable).parent)
    return {**os.environ, "PATH": f"{folder}{os.pathsep}{os.environ['PATH']}"}


def lines(text: str) -> list[str]:
    return [line for line in text.replace("\\\n", " ").splitlines() if line.strip()]


def nasreg_command(line: str) -> tuple[list[str], int] | None:
    """Return the arguments of a line that runs nasreg, and the exit code it says; None where the shell is needed."""
    line, _, code = line.partition(" || test $? -eq ")
    words = shlex.split(line, comments=True)
    return (words[1:], int(code or 0)) if words[0] == "nasreg" and not {"||", "&&", "|", ">"} & set(words) else None


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
        variables, own_venv = {**venv.environment(), "PYTEST_ADDOPTS": "-W error"}, True
    names = {"__name__": "__main__"}
    for number, (language, text) in enumerate(blocks(document)):
        if "-m venv" in text:
            continue  # README's first two commands set up an environment: the last test and .ci/run run them
        if language == "python":
            exec(compile(text, f"{name(document)}, block {number}", "exec"), names)  # noqa: S102  # our own documents
        elif language == "bash":
            for part in [text] if own_venv else lines(text):
                if own_venv or (command := nasreg_command(part)) is None:
                    words = ["bash", "-euo", "pipefail", "-c", part]
                    done = subprocess.run(words, env=variables, capture_output=True, text=True, check=False)
                    assert done.returncode == 0, f"block {number}:\n{part}\n{done.stdout}\n{done.stderr}"
                else:
                    argv, code = command
                    ran = forked.nasreg(*argv)
                    assert ran.code == code, f"block {number}: {part}\n{ran.out}\n{ran.err}"
        else:
            assert language == "toml", f"block {number} has no language that is run"
            assert text.startswith("[project.entry-points.nasreg]")


def test_contributing_names_the_commands_of_ci():
    ci = (ROOT / ".ci/run").read_text()
    for line in blocks(ROOT / "CONTRIBUTING.md")[0].text.splitlines():
        assert f".venv/bin/{line}" in ci


@pytest.mark.slow
def test_readmes_first_command_sets_up_and_searches_to_the_end(tmp_path):
    """In a copy of the project, with pip taking torch and the like from the present environment; in fewer epochs."""
    ignore = shutil.ignore_patterns(".*", "build", "dist", "__pycache__")
    shutil.copytree(ROOT, tmp_path / "nasreg", ignore=ignore)
    command = blocks(ROOT / "README.md")[0].text.rstrip()
    assert command.endswith(" --out runs/first")
    shared = {"PYTHONPATH": next(path for path in sys.path if path.endswith("site-packages"))}
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", f"{command} --set trainer.epochs=3"],
        cwd=tmp_path / "nasreg",
        env={**os.environ, **shared},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    run_dir = tmp_path / "nasreg/runs/first"
    last = json.loads((run_dir / "metrics.jsonl").read_text().splitlines()[-1])
    assert last["validation_accuracy"] > 0.5  # of ten classes
    assert (run_dir / "cells.svg").read_text().startswith("<?xml")
    assert json.loads((run_dir / "environment.json").read_text())["command"][0] == ".venv/bin/nasreg"
    for file, schema in (("architecture.json", "architecture"), ("space.json", "search-space"), ("run.yaml", "run")):
        jsonschema.validate(yaml.safe_load((run_dir / file).read_text()), json_schema(schema))


def test_messages_of_the_page_on_what_goes_wrong_exist():
    """Of each quoted message, the parts between names and numbers are in a text of the code."""
    texts = [
        node.value
        for path in (ROOT / "nasreg").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    ]
    page = (ROOT / "docs/troubleshooting.md").read_text(encoding="utf-8")
    quoted = [
        part.strip()
        for line in page.splitlines()
        if line.startswith("| ")
        for message in re.findall(r"`([^`]+)`", line.split("|")[1])
        if " " in message
        for part in message.split("…")
        if part.strip()
    ]
    assert len(quoted) > 20
    assert [part for part in quoted if not any(part in text for text in texts)] == []
