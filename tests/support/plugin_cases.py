"""Plugins that fail, plugins that only look as if they would, and distributions whose metadata are damaged."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

from plugin_venv import IMPORTS, SPEC

HOOK = SPEC + "\n@hookimpl\ndef nasreg_algorithms():\n    "
RENAMED = HOOK + "return [spec('new-name')]\n@hookimpl\ndef nasreg_renamed():\n    return "


def with_api(api: str) -> str:
    """Return the source of a plugin with an algorithm that states a version of the contract."""
    return HOOK.replace("PluginInfo(api=2)", api) + "return [spec('stated')]"


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
        with_api("PluginInfo(api=3, a_field_of_the_future=1)"),
        "written for version 3 of the plugin contract, but nasreg 0.2.0 supports 2: upgrade nasreg",
    ),
    "too-old": (with_api("PluginInfo(api=1)"), "supports 2: upgrade the plugin"),
    "no-api": (
        IMPORTS + "\n@hookimpl\ndef nasreg_algorithms():\n    raise RuntimeError('an old spec')",
        "the plugin states no version of the plugin contract (no hook nasreg_plugin): upgrade the plugin",
    ),
    "no-plugin-info": (with_api("{'api': 2}"), "(nasreg_plugin returned dict)"),
    "twice-one-name": (HOOK + "return [spec('same'), spec('same')]", "algorithm 'same' is there twice"),
    "bad-name": (HOOK + "return [spec('Not A Name')]", "String should match pattern"),
    "takes-cores-name": (
        SPEC + "\n@hookimpl\ndef nasreg_spaces():\n"
        "    return [SpaceEntry(name='darts', summary='x', factory='a:b', config='a:b')]",
        "search space 'darts' belongs to nasreg itself",
    ),
    "renamed-to-nothing": (
        RENAMED + "[RenamedEntry(kind='algorithm', old='old-name', new='nothing')]",
        "algorithm 'old-name' is renamed to 'nothing', which the plugin does not provide",
    ),
    "renamed-and-kept": (
        RENAMED + "[RenamedEntry(kind='algorithm', old='new-name', new='other')]",
        "algorithm 'new-name' cannot be renamed to 'other': it still exists",
    ),
    "renamed-cores-name": (
        SPEC + "\n@hookimpl\ndef nasreg_spaces():\n"
        "    return [SpaceEntry(name='mine', summary='x', factory='a:b', config='a:b')]\n"
        "@hookimpl\ndef nasreg_renamed():\n    return [RenamedEntry(kind='space', old='chain', new='mine')]",
        "search space 'chain' belongs to nasreg itself",
    ),
}
"""Name -> source of the plugin, and what is said of it."""

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
    "renamed": RENAMED + "[RenamedEntry(kind='algorithm', old='old-name', new='new-name')]",
    "stated": HOOK.replace("api=2", "api=2, summary='a summary of its own', homepage='https://example.org/own'")
    + "return [spec('stated')]",
    "odd name!": HOOK + "return [spec('odd')]",
    "byte-order-mark": HOOK + "return [spec('byte-order-mark')]",
    "utf-16": HOOK + "return [spec('utf-16')]",
    "elsewhere": HOOK + "return [spec('elsewhere')]",
}
"""Name of the entry point -> source of the plugin."""


def entry_points(text: bytes) -> Callable[[Path], object]:
    """Return what replaces the entry points of a distribution."""
    return lambda info: (info / "entry_points.txt").write_bytes(text)


def metadata(text: str) -> Callable[[Path], object]:
    """Return what replaces the METADATA of a distribution."""
    return lambda info: (info / "METADATA").write_text(text)


def _unreadable(info: Path) -> None:
    (info / "entry_points.txt").unlink()
    (info / "entry_points.txt").mkdir()


DAMAGED: dict[str, tuple[Callable[[Path], object], str, str]] = {
    "dash-value": (
        entry_points(b"[nasreg]\ndash-value = nasreg-dash.plugin\n"),
        "dash-value",
        "the entry point 'dash-value' has the invalid value 'nasreg-dash.plugin': expected 'package.module'",
    ),
    "empty-value": (entry_points(b"[nasreg]\nempty-value =\n"), "empty-value", "has the invalid value ''"),
    "no-entry": (
        entry_points(b"[nasreg]\nthis is no entry\n"),
        "nasreg-no-entry",
        "line 2 of its entry_points.txt is no entry point: 'this is no entry'",
    ),
    "latin-1": (
        entry_points("[nasreg]\ngröße = nasreg_latin_1\n".encode("latin-1")),
        "nasreg-latin-1",
        "line 2 of its entry_points.txt is no entry point: 'gr",
    ),
    "with-comma": (entry_points(b"[nasreg]\na, b = nasreg_with_comma\n"), "nasreg-with-comma", "is no entry point"),
    "unreadable": (_unreadable, "nasreg-unreadable", "its entry_points.txt cannot be read: Is a directory"),
    "no-metadata": (
        lambda info: (info / "METADATA").unlink(),
        "no-metadata",
        "it has no METADATA: reinstall nasreg-no-metadata",
    ),
    "no-name": (metadata("Metadata-Version: 2.1\nVersion: 1.0\n"), "no-name", "its METADATA has no Name"),
    "no-version": (metadata("Name: nasreg-no-version\n"), "no-version", "its METADATA has no Version"),
    "empty-metadata": (metadata(""), "empty-metadata", "its METADATA has no Name and no Version"),
}
"""Name -> how its ``.dist-info`` is damaged after the installation, the name it is shown by, and what is said of it."""


def damage(site: Path) -> None:
    """Do to an environment what broken packages, interrupted upgrades and other people's tools do."""
    for name, (change, _, _) in DAMAGED.items():
        change(site / f"nasreg_{name.replace('-', '_')}-1.0.dist-info")
    for name, text in (
        ("byte_order_mark", "[nasreg]\nbyte-order-mark = nasreg_byte_order_mark\n".encode("utf-8-sig")),
        ("utf_16", "[nasreg]\nutf-16 = nasreg_utf_16\n".encode("utf-16")),
        ("elsewhere", "[console_scripts]\nno entry\ngröße\n[nasreg]\nelsewhere = nasreg_elsewhere\n".encode("latin-1")),
    ):
        entry_points(text)(site / f"nasreg_{name}-1.0.dist-info")
    # what has nothing to do with nasreg, and stops importlib.metadata.entry_points
    for name, text in (("unrelated", b"[console_scripts]\nthis is no entry\n"), ("umlaut", b"[x]\ngr\xfc\xdfe = a\n")):
        info = site / f"{name}-1.0.dist-info"
        info.mkdir()
        metadata(f"Name: {name}\nVersion: 1.0\n")(info)
        entry_points(text)(info)
    (site / "nameless.dist-info").mkdir()
    (site / "a_file-1.0.dist-info").write_text("no folder")
    (site / "nasreg_a_file-1.0.egg-info").write_text("Name: nasreg-a-file\n")
    # what an upgrade leaves behind where it is interrupted
    old = site / "nasreg_good-0.9.dist-info"
    shutil.copytree(site / "nasreg_good-1.0.dist-info", old)
    metadata("Metadata-Version: 2.1\nName: nasreg-good\nVersion: 0.9\n")(old)
    shutil.copytree(old, site / "~asreg_good-0.9.dist-info")
