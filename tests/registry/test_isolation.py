"""What is wrong with one installed plugin harms no other: wheels in a real environment, asked by the real command."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

from plugin_venv import ROOT, SPEC, PluginVenv, build, write_plugin

pytestmark = pytest.mark.slow

HOOK = SPEC + "\n@hookimpl\ndef nasreg_algorithms():\n    "

FAILING = {
    "import-error": ("import nasreg_has_no_such_module", "ModuleNotFoundError: No module named 'nasreg_has_no_such"),
    "missing-dependency": ("def f():\n    import a_library_not_here\nf()", "No module named 'a_library_not_here'"),
    "syntax-error": ("def broken(:\n", "SyntaxError"),
    "raises-at-import": ("1 / 0", "ZeroDivisionError: division by zero"),
    "wrapped-error": (
        "try:\n    1 / 0\nexcept ZeroDivisionError as e:\n    raise RuntimeError('wrapper') from e",
        "ZeroDivisionError",
    ),
    "cause-of-itself": ("try:\n    1 / 0\nexcept ZeroDivisionError as e:\n    raise e from e", "ZeroDivisionError"),
    "unprintable": (
        "class Odd(Exception):\n    def __str__(self):\n        raise RuntimeError\nraise Odd",
        "Odd: (its message cannot be shown)",
    ),
    "no-exception": ("class Panic(BaseException):\n    pass\nraise Panic('of its own')", "Panic: of its own"),
    "exits": ("import sys\nsys.exit(3)", "SystemExit: 3"),
    "hook-raises": (HOOK + "raise RuntimeError('in the hook')", "RuntimeError: in the hook"),
    "rubbish": (HOOK + "return 7", "nasreg_algorithms must return a list of AlgorithmSpec, but it returned int"),
    "rubbish-inside": (HOOK + "return [spec('a'), 'darts']", "'darts' is none"),
    "returns-nothing": (HOOK + "pass", "it returned None"),
    "half-way": (HOOK + "yield spec('half')\n    raise RuntimeError('half-way')", "RuntimeError: half-way"),
    "endless": (HOOK + "one = spec('a')\n    while True:\n        yield one", "more than 10000"),
    "misspelt": (SPEC + "\n@hookimpl\ndef nasreg_algoritms():\n    return []", "Did you mean 'nasreg_algorithms'"),
    "unknown-argument": (
        SPEC + "\n@hookimpl\ndef nasreg_algorithms(config):\n    return []",
        "Argument(s) {'config'} are declared in the hookimpl but can not be found in the hookspec",
    ),
    "no-hook": ("x = 1", "no function is marked with @nasreg.hookspecs.hookimpl"),
    "too-new": (
        HOOK + "return [spec('new', plugin_api=2)]",
        "plugin_api 2, but nasreg 0.1.0 has 1: upgrade nasreg",
    ),
    "too-old": (HOOK + "return [spec('old', plugin_api=0)]", "upgrade the plugin"),
    "no-api": (HOOK + "return [spec('none', plugin_api=None)]", "plugin_api"),
    "twice-one-name": (HOOK + "return [spec('same'), spec('same')]", "algorithm 'same' is there twice"),
    "bad-name": (HOOK + "return [spec('Not A Name')]", "String should match pattern"),
    "takes-cores-name": (
        "from nasreg.hookspecs import hookimpl\nfrom nasreg.specs import SpaceEntry\n@hookimpl\n"
        "def nasreg_spaces():\n    return [SpaceEntry(name='darts', summary='x', factory='a:b', config='a:b')]",
        "search space 'darts' belongs to nasreg itself",
    ),
}

WORKING = {
    "good": HOOK + "return [spec('good')]",
    "many": HOOK + "return (spec(f'many{n}') for n in range(3000))",
    "prints": "print('hello from import')\n" + HOOK + "print('and from the hook')\n    return [spec('printing')]",
    "slow": "import time\ntime.sleep(1.1)\n" + HOOK + "return [spec('slow')]",
    "unresolved": HOOK + "return [spec('unresolved', factory='nasreg_nowhere.trainer:Trainer')]",
    "config-prints": "def __getattr__(name):\n    if name != 'Config':\n        raise AttributeError(name)\n"
    "    print('hello from config')\n    from nasreg_darts.config import DartsTrainerConfig\n"
    "    return DartsTrainerConfig\n" + HOOK + "return [spec('config-prints', config='nasreg_config_prints:Config')]",
    "config-exits": "import sys\ndef __getattr__(name):\n    if name != 'Config':\n        raise AttributeError(name)\n"
    "    sys.exit(0)\n" + HOOK + "return [spec('config-exits', config='nasreg_config_exits:Config')]",
    "interrupted": "import os\nif os.environ.pop('INTERRUPT', None):\n    raise KeyboardInterrupt\n"
    + HOOK
    + "return [spec('interrupted')]",
    "clash-one": HOOK + "return [spec('contested'), spec('one')]",
    "clash-two": HOOK + "return [spec('contested', factory='nasreg_darts.mutator:DartsMutator'), spec('two')]",
    "found-twice": HOOK + "return [spec('found-twice')]",
}


@pytest.fixture(scope="session")
def wheels(tmp_path_factory) -> dict[str, Path]:
    """The wheels of nasreg, nasreg-darts and all plugins of these tests."""
    folder = tmp_path_factory.mktemp("wheels")
    sources = {name: source for name, (source, _) in FAILING.items()} | WORKING
    built = {name: build(write_plugin(folder / "src" / name, name, source), folder) for name, source in sources.items()}
    return {**built, "core": build(ROOT, folder), "darts": build(ROOT / "plugins/darts", folder)}


@pytest.fixture(scope="session")
def venv(wheels, tmp_path_factory) -> PluginVenv:
    """Everything at once in one environment."""
    made = PluginVenv(tmp_path_factory.mktemp("venv"))
    made.install(*wheels.values())
    # the same distribution once more, from a second folder on the path
    second = made.folder / "second"
    second.mkdir()
    (made.site / "second.pth").write_text(f"{second}\n")
    for path in made.site.glob("nasreg_found_twice*"):
        (second / path.name).symlink_to(path)
    return made


@pytest.fixture(scope="session")
def records(venv) -> dict[str, dict]:
    return {record["name"]: record for record in venv.json("plugins")}


@pytest.mark.parametrize("name", FAILING)
def test_what_fails_is_left_out_and_told(venv, records, name):
    record = records[name]
    assert record["status"] == "failed"
    assert FAILING[name][1] in record["error"]
    assert "\n" not in record["error"]
    assert (record["distribution"], record["version"]) == (f"nasreg-{name}", "1.0")
    assert not record["algorithms"] + record["spaces"] + record["datasets"]
    assert Path(record["file"]).name == f"nasreg_{name.replace('-', '_')}.py"
    assert "Traceback" in record["traceback"]


def test_the_others_go_on(venv, records):
    listed = venv.json("list", "algorithms")["algorithms"]
    expected = {"darts", "good", "printing", "slow", "unresolved", "one", "two", "found-twice"}
    expected |= {"config-prints", "config-exits", "interrupted"}
    assert expected | {f"many{n}" for n in range(3000)} == set(listed)
    assert set(venv.json("list")["spaces"]) == {"darts", "chain"}
    assert {name for name, record in records.items() if record["status"] == "ok"} == {"nasreg", "darts", *WORKING}


def test_search_goes_on(venv, tmp_path):
    settings = ["trainer.epochs=1", "space.blocks=1", "space.channels=2", "dataset.limit=100"]
    words = [word for setting in settings for word in ("--set", setting)]
    done = venv.run("run", "good", "--space", "chain", *words, "--out", tmp_path / "run")
    assert done.returncode == 2  # its spec says that it handles no input choice
    assert "cannot handle choice 'skip0'" in done.stderr
    done = venv.run("run", "darts", "--space", "chain", *words, "--out", tmp_path / "run")
    assert done.returncode == 0, done.stderr


def test_python_goes_on(venv):
    code = "import nasreg; print('good' in nasreg.list_algorithms(), nasreg.get_algorithm('darts').name)"
    done = subprocess.run([venv.python, "-c", code], capture_output=True, text=True, check=True, cwd=venv.folder)
    assert done.stdout.strip() == "True darts"


def test_people_are_told_what_failed_and_how_to_silence_it(venv):
    done = venv.run("plugins")
    assert done.returncode == 0
    assert "silence it with NASREG_DISABLE=syntax-error" in done.stdout
    assert "nasreg_syntax_error.py) is left out" in done.stdout
    assert "Traceback" not in done.stdout
    assert "see where it failed with: nasreg plugins --traceback" in done.stdout
    with_traceback = venv.run("plugins", "--traceback").stdout
    assert with_traceback.count("Traceback") >= len(FAILING)
    assert venv.run("plugins", "--check").returncode == 1


def test_check_imports_what_specs_name(venv):
    checked = {record["name"]: record["problems"] for record in venv.json("plugins", "--check")}
    assert checked["unresolved"] == [
        "algorithm 'unresolved': factory: cannot load 'nasreg_nowhere.trainer:Trainer':"
        " ModuleNotFoundError: No module named 'nasreg_nowhere'"
    ]
    assert checked["good"] == []
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
    assert venv.json("describe", "config-prints")["algorithm"]["name"] == "config-prints"
    assert "hello from config" in venv.run("describe", "config-prints", "--json").stderr


def test_a_config_class_that_exits_is_an_error(venv):
    checked = {record["name"]: record["problems"] for record in venv.json("plugins", "--check")}
    assert checked["config-exits"] == [
        "algorithm 'config-exits': config: cannot load 'nasreg_config_exits:Config':"
        " it exits when it is imported (exit code 0)"
    ]
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
    words = [venv.python, "-c", code]
    env = {**os.environ, "INTERRUPT": "1"}
    done = subprocess.run(words, capture_output=True, text=True, check=True, cwd=venv.folder, env=env)
    assert done.stdout.strip() == "True"


def test_slow_plugins_are_named(venv, records):
    assert records["slow"]["seconds"] > 1
    assert "slow: it took 1." in venv.run("plugins").stdout


def test_two_that_claim_one_name_both_lose_it_and_keep_the_rest(venv, records):
    assert records["clash-one"]["algorithms"] == ["one"]
    other = "plugin 'clash-two' (nasreg-clash-two 1.0)"
    assert records["clash-one"]["clashes"] == [f"algorithm 'contested' is claimed by {other} too"]
    done = venv.run("describe", "contested")
    assert done.returncode == 1
    assert "plugin 'clash-one' (nasreg-clash-one 1.0) and plugin 'clash-two' (nasreg-clash-two 1.0)" in done.stderr
    done = venv.run("describe", "contested", env={"NASREG_DISABLE": "clash-two"})
    assert done.returncode == 0


def test_two_distributions_with_one_entry_point_name_are_told_apart(wheels, tmp_path):
    made = PluginVenv(tmp_path / "venv")
    made.install(wheels["core"], wheels["darts"])
    for name, factory in (("twin-a", "DartsTrainer"), ("twin-b", "Other")):
        source = HOOK + f"return [spec('twin', factory='nasreg_darts.trainer:{factory}')]"
        made.install(build(write_plugin(tmp_path / name, name, source, entry_point="twin"), tmp_path))
    problems = {record["distribution"]: record["problems"] for record in made.json("plugins", "--check")}
    assert problems["nasreg-twin-a"] == ["algorithm 'twin' is claimed by plugin 'twin' (nasreg-twin-b 1.0) too"]
    assert problems["nasreg-twin-b"] == ["algorithm 'twin' is claimed by plugin 'twin' (nasreg-twin-a 1.0) too"]
    for variable, value in (("NASREG_DISABLE", "nasreg_twin_b"), ("NASREG_PLUGINS", "nasreg-twin-a")):
        described = made.json("describe", "twin", env={variable: value})
        assert described["algorithm"]["distribution"] == "nasreg-twin-a"
    assert "twin" not in made.json("list", env={"NASREG_DISABLE": "twin"})["algorithms"]


def test_asking_for_what_a_failed_plugin_had_names_the_failure(venv):
    done = venv.run("run", "syntax")
    assert done.returncode == 2
    assert "there is no algorithm 'syntax'" in done.stderr
    assert "plugin 'syntax-error' (nasreg-syntax-error 1.0)" in done.stderr
    assert done.stderr.splitlines()[-1].startswith("nasreg: error: ")


def test_allow_list_and_deny_list(venv):
    listed = venv.json("list", "algorithms", env={"NASREG_PLUGINS": "darts, good"})["algorithms"]
    assert set(listed) == {"darts", "good"}
    listed = venv.json("list", "algorithms", env={"NASREG_PLUGINS": ""})["algorithms"]
    assert listed == {}
    listed = venv.json("list", "algorithms", env={"NASREG_DISABLE": "darts,many"})["algorithms"]
    assert "darts" not in listed
    assert "good" in listed
    done = venv.run("run", "darts", env={"NASREG_DISABLE": "darts"})
    assert "Disabled by NASREG_PLUGINS or NASREG_DISABLE: plugin 'darts'" in done.stderr
    for variable in ("NASREG_PLUGINS", "NASREG_DISABLE"):
        done = venv.run("list", env={variable: "dart"})
        assert (done.returncode, done.stdout) == (2, "")
        assert f"{variable} names 'dart', which is no installed plugin. Did you mean 'darts'?" in done.stderr


def test_a_plugin_that_was_uninstalled_is_named_by_its_run(wheels, tmp_path):
    made = PluginVenv(tmp_path / "venv")
    made.install(wheels["core"], wheels["darts"])
    settings = ["trainer.epochs=1", "space.cells=1", "space.channels=2", "dataset.limit=100"]
    words = [word for setting in settings for word in ("--set", setting)]
    assert made.run("run", "darts", *words, "--out", "done").returncode == 0
    made.uninstall("nasreg-darts")
    (tmp_path / "venv/done/status.json").write_text('{"state": "interrupted", "resumed": 0}')
    done = made.run("resume", "done")
    assert done.returncode == 2
    assert "there is no algorithm 'darts'" in done.stderr
    assert "nasreg-darts 0.1.0" in done.stderr
    assert made.run("show", "done").returncode == 0
    assert made.json("list", "algorithms")["algorithms"] == {}


def test_the_documentation_says_what_is_printed(venv):
    """Each row of the table in docs/contract.md: the plugin is named, and what is said of it."""
    rows = re.findall(r"^\| .* \| `([\w-]+)` \| `(.*)` \|$", (ROOT / "docs/contract.md").read_text(), re.MULTILINE)
    assert len(rows) > 20
    printed = venv.run("plugins", "--check").stdout.splitlines()
    for name, told in rows:
        about = [line for line in printed if re.match(rf"(  {name} |plugin '{name}' )", line)]
        assert any(told in line for line in about), (name, told, about)
