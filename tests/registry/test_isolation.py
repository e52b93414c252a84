"""What is wrong with one installed plugin affects no other: wheels in a real environment, asked by the real command."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import forked
from nasreg.cli import main
from plugin_cases import DAMAGED, FAILING, HOOK, WORKING
from plugin_venv import ROOT, build, unpack, write_plugin

pytestmark = pytest.mark.slow


@pytest.fixture(scope="session")
def records(venv) -> dict[str, dict]:
    """Name of the plugin -> its record; of two with one name the last."""
    return {record["name"]: record for record in venv.json("plugins")}


CHECK = """
from nasreg.cli import main
main(["plugins", "--check", "--json"])
print("----")
main(["plugins", "--check"])
"""


@pytest.fixture(scope="session")
def check(venv) -> tuple[list[dict], list[str]]:
    """What ``nasreg plugins --check`` prints: its JSON, and its lines for people."""
    records, text = venv.run_python(CHECK).stdout.split("----\n")
    return json.loads(records), text.splitlines()


@pytest.fixture(scope="session")
def checked(check) -> list[dict]:
    return check[0]


@pytest.mark.parametrize("name", FAILING)
def test_what_fails_is_left_out_and_shown(records, name):
    record = records[name]
    assert record["status"] == "failed"
    assert FAILING[name][1] in record["error"]
    assert "\n" not in record["error"]
    assert (record["distribution"], record["version"]) == (f"nasreg-{name}", "1.0")
    assert not record["algorithms"] + record["spaces"] + record["datasets"]
    assert Path(record["file"]).name == f"nasreg_{name.replace('-', '_')}.py"
    assert "Traceback" in record["traceback"]


# importlib_metadata#523, llm#1280, setuptools#4480
@pytest.mark.parametrize("name", DAMAGED)
def test_a_damaged_distribution_is_shown_with_its_path(venv, records, name):
    _, shown, says = DAMAGED[name]
    record = records[shown]
    assert record["status"] == "failed"
    assert says in record["error"]
    assert "\n" not in record["error"]
    assert (record["distribution"], record["version"]) == (f"nasreg-{name}", "1.0")
    assert not record["algorithms"]
    assert record["metadata"] == str(venv.site / f"nasreg_{name.replace('-', '_')}-1.0.dist-info")


def test_a_version_that_an_upgrade_left_behind_is_shown(venv):
    good = {record["version"]: record for record in venv.json("plugins") if record["distribution"] == "nasreg-good"}
    assert good["1.0"]["algorithms"] == ["good"]
    assert good["0.9"]["error"] == "version 1.0 is in the same folder, too: reinstall nasreg-good"
    assert Path(good["0.9"]["metadata"]).name == "nasreg_good-0.9.dist-info"


def test_the_other_plugins_are_loaded(venv, records):
    listed = venv.json("list", "algorithms")["algorithms"]
    expected = {"darts", "good", "printing", "slow", "unresolved", "one", "two", "found-twice", "new-name", "stated"}
    expected |= {"config-prints", "config-exits", "interrupted", "odd", "byte-order-mark", "utf-16", "elsewhere"}
    assert expected | {f"many{n}" for n in range(3000)} == set(listed)
    assert set(venv.json("list")["spaces"]) == {"darts", "chain", "elastic-chain", "shufflenet", "vit"}
    working = {name for name, record in records.items() if record["status"] == "ok"}
    assert working == {"nasreg", "darts", "twin", *WORKING}
    shown = {shown for _, shown, _ in DAMAGED.values()}
    assert {name for name, record in records.items() if record["status"] == "failed"} == {*FAILING, *shown}


def test_summary_and_homepage_come_from_the_plugin_or_its_distribution(venv, records):
    assert records["prints"]["summary"] == "the plugin prints"
    assert records["prints"]["homepage"] == "https://example.org/prints"
    assert records["stated"]["summary"] == "a summary of its own"
    assert records["stated"]["homepage"] == "https://example.org/own"
    described = venv.run("describe", "stated").stdout
    assert "a summary of its own" in described
    assert "https://example.org/own" in described


def test_a_search_runs_beside_them(venv, tmp_path):
    settings = ["trainer.epochs=1", "space.blocks=1", "space.channels=2", "dataset.limit=100"]
    words = [word for setting in settings for word in ("--set", setting)]
    done = venv.run("run", "darts", "--space", "chain", *words, "--out", tmp_path / "run")
    assert done.returncode == 0, done.stderr


def test_python_works_beside_them(venv):
    code = "import nasreg; print('good' in nasreg.list_algorithms(), nasreg.get_algorithm('darts').name, nasreg.freeze)"
    done = venv.run_python(code)
    assert done.stdout.startswith("True darts <function freeze"), done.stderr


def test_people_are_told_what_failed_and_how_to_silence_it(venv):
    done = venv.run("plugins")
    assert done.returncode == 0
    assert "silence it with NASREG_DISABLE=syntax-error" in done.stdout
    assert "nasreg_syntax_error.py) is left out" in done.stdout
    assert "nasreg_no_metadata-1.0.dist-info) is left out" in done.stdout
    assert "slow: it took 1." in done.stdout
    assert "Traceback" not in done.stdout
    assert "see where it failed with: nasreg plugins --traceback" in done.stdout
    assert venv.run("plugins", "--traceback").stdout.count("Traceback") >= len(FAILING)


def test_check_imports_what_specs_name(venv, checked):
    problems = {record["name"]: record["problems"] for record in checked}
    assert problems["unresolved"] == [
        "algorithm 'unresolved': factory: cannot load 'nasreg_nowhere.trainer:Trainer':"
        " ModuleNotFoundError: No module named 'nasreg_nowhere'"
    ]
    assert problems["stated"] == []
    assert problems["config-exits"] == [
        "algorithm 'config-exits': config: cannot load 'nasreg_config_exits:Config':"
        " it exits when it is imported (exit code 0)"
    ]
    done = venv.run("run", "unresolved", "--space", "darts")
    assert done.returncode == 1
    assert "cannot load 'nasreg_nowhere.trainer:Trainer'" in done.stderr
    assert not (venv.folder / "runs").exists()


def test_what_a_plugin_prints_goes_to_stderr(venv):
    done = venv.run("list", "--json")
    assert "hello from import" not in done.stdout
    assert "hello from import" in done.stderr
    assert "and from the hook" in done.stderr


def test_what_a_config_class_prints_goes_to_stderr(venv):
    done = venv.run("describe", "config-prints", "--json")
    assert json.loads(done.stdout)["algorithm"]["name"] == "config-prints"
    assert "hello from config" in done.stderr


def test_a_config_class_that_exits_is_an_error(venv):
    done = venv.run("describe", "config-exits")
    assert (done.returncode, done.stdout) == (1, "")
    assert "config: cannot load 'nasreg_config_exits:Config': it exits when it is imported (exit code 0)" in done.stderr
    done = venv.run("run", "config-exits")
    assert done.returncode == 1
    assert "exit code 0" in done.stderr.splitlines()[-1]


def test_an_interrupted_look_up_can_be_made_again(venv):
    done = venv.run("list", env={"INTERRUPT": "1"})
    assert (done.returncode, done.stdout, done.stderr.splitlines()[-1]) == (130, "", "nasreg: error: interrupted")
    code = """
import nasreg
try:
    nasreg.list_algorithms()
except KeyboardInterrupt:
    print({"darts", "interrupted", "two"} <= set(nasreg.list_algorithms()))
"""
    assert venv.run_python(code, env={"INTERRUPT": "1"}).stdout.splitlines()[-1] == "True"


def test_two_that_claim_one_name_have_it_by_their_qualified_names_only(venv, records):
    assert records["clash-one"]["algorithms"] == ["one"]
    other = "plugin 'clash-two' (nasreg-clash-two 1.0)"
    assert records["clash-one"]["clashes"] == [f"algorithm 'contested' is claimed by {other} too"]
    done = venv.run("describe", "contested")
    assert done.returncode == 1
    assert "plugin 'clash-one' (nasreg-clash-one 1.0) and plugin 'clash-two' (nasreg-clash-two 1.0)" in done.stderr
    assert "write nasreg-clash-one/contested or nasreg-clash-two/contested" in done.stderr
    for one in ("one", "two"):
        described = venv.json("describe", f"nasreg_clash_{one}/contested")["algorithm"]
        assert described["distribution"] == f"nasreg-clash-{one}"
        assert described["qualified"] == f"nasreg-clash-{one}/contested"
    assert venv.run("describe", "contested", env={"NASREG_DISABLE": "clash-two"}).returncode == 0


def test_two_distributions_with_one_entry_point_name_are_told_apart(venv, checked):
    problems = {record["distribution"]: record["problems"] for record in checked}
    assert problems["nasreg-twin-a"] == ["algorithm 'twin' is claimed by plugin 'twin' (nasreg-twin-b 1.0) too"]
    assert "algorithm 'twin' is claimed by plugin 'twin' (nasreg-twin-a 1.0) too" in problems["nasreg-twin-b"]
    for variable, value in (
        ("NASREG_DISABLE", "nasreg_twin_b"),
        ("NASREG_DISABLE", "nasreg-twin-b/twin"),
        ("NASREG_PLUGINS", "nasreg-twin-a"),
    ):
        described = venv.json("describe", "twin", env={variable: value})
        assert described["algorithm"]["distribution"] == "nasreg-twin-a"
    assert "twin" not in venv.json("list", env={"NASREG_DISABLE": "twin"})["algorithms"]


def test_a_renamed_entry_is_found_with_a_warning_and_not_listed(venv):
    done = venv.run("describe", "old-name", "--json", env={"NASREG_PLUGINS": "renamed,darts"})
    assert json.loads(done.stdout)["algorithm"]["name"] == "new-name"
    assert done.stderr == "nasreg: warning: algorithm 'old-name' is called 'new-name' now\n"
    assert set(venv.json("list", "*-name")["algorithms"]) == {"new-name"}


def test_asking_for_what_a_failed_plugin_had_names_the_failure(venv):
    done = venv.run("run", "syntax")
    assert done.returncode == 2
    assert "there is no algorithm 'syntax'" in done.stderr
    assert "plugin 'syntax-error' (nasreg-syntax-error 1.0)" in done.stderr
    assert done.stderr.splitlines()[-1].startswith("nasreg: error: ")


def test_allow_list_and_deny_list(venv):
    listed = venv.json("list", "algorithms", env={"NASREG_PLUGINS": "darts, nasreg-prints/prints"})["algorithms"]
    assert set(listed) == {"darts", "printing"}
    listed = venv.json("list", "algorithms", env={"NASREG_PLUGINS": ""})["algorithms"]
    assert listed == {}
    listed = venv.json("list", "algorithms", env={"NASREG_DISABLE": "darts,many"})["algorithms"]
    assert "darts" not in listed
    assert "good" in listed
    disabled = {"NASREG_DISABLE": "darts,dash-value,nasreg-no-entry"}
    done = venv.run("run", "darts", env=disabled)
    assert "Disabled by NASREG_PLUGINS or NASREG_DISABLE: plugin 'darts'" in done.stderr
    status = {record["name"]: record["status"] for record in venv.json("plugins", env=disabled)}
    assert (status["dash-value"], status["nasreg-no-entry"]) == ("disabled", "disabled")


def test_an_absent_plugin_in_a_list(venv):  # mngr#2438
    said = "names 'dart', which is no installed plugin. Did you mean 'darts'?"
    done = venv.run("list", "algorithms", env={"NASREG_PLUGINS": "dart"})
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"nasreg: error: NASREG_PLUGINS {said}\n"
    done = venv.run("list", "algorithms", "d*", env={"NASREG_PLUGINS": "darts", "NASREG_DISABLE": "dart"})
    assert done.returncode == 0
    assert done.stdout.splitlines()[0] == "algorithms"
    assert done.stderr == f"nasreg: warning: NASREG_DISABLE {said}\n"


def test_a_plugin_that_was_uninstalled_is_named_by_its_run(tmp_path):
    """It is in a folder that is on the path of one process only."""

    def nasreg(*words: str, path: list[str]) -> forked.Done:
        def run() -> int:
            sys.path[:0] = path
            return main(list(words))

        return forked.call(run, cwd=tmp_path)

    source = HOOK + "return [spec('leaving')]"
    folder = unpack(build(write_plugin(tmp_path / "src", "leaving", source), tmp_path), tmp_path / "installed")
    settings = ["space.cells=1", "space.channels=2", "dataset.limit=100"]
    words = [word for setting in settings for word in ("--set", setting)]
    forked.check(nasreg("run", "leaving", *words, "--out", "done", path=[str(folder)]))
    shutil.rmtree(folder)
    (tmp_path / "done/status.json").write_text('{"state": "interrupted", "resumed": 0}')
    done = nasreg("resume", "done", path=[])
    assert done.code == 2
    assert "there is no algorithm 'nasreg-leaving/leaving'" in done.err
    assert "nasreg-leaving 1.0" in done.err
    forked.check(nasreg("show", "done", path=[]))


def test_nasreg_runs_from_a_source_tree_without_metadata(plain_venv, tmp_path):  # huggingface_hub#4720
    """As ``PYTHONPATH=checkout python -m nasreg`` where it was never installed."""
    shared = f"{ROOT}{os.pathsep}{plain_venv.folder / 'shared'}"
    done = subprocess.run(
        [
            plain_venv.python,
            "-S",
            "-m",
            "nasreg",
            "plugins",
            "--json",
        ],  # -S: without the site-packages of the environment
        env={**plain_venv.environment(), "PYTHONPATH": shared},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    (core,) = json.loads(done.stdout)
    assert (core["status"], core["version"]) == ("ok", "0.2.0")


def test_the_documentation_says_what_is_printed(check):
    """Each row of the table in docs/contract.md: the plugin is named, and what is said of it."""
    rows = re.findall(r"^\| .* \| `([^`]+)` \| `(.*)` \|$", (ROOT / "docs/contract.md").read_text(), re.MULTILINE)
    shown = {name for name, _ in rows}
    assert {shown for _, shown, _ in DAMAGED.values()} | set(FAILING) - {"cause-of-itself", "no-exception"} <= shown
    _, printed = check
    for name, told in rows:
        about = [line for line in printed if re.match(rf"(  {name} |plugin '{name}' )", line)]
        assert any(told in line for line in about), (name, told, about)
