"""The structure of the code: nothing loose at the top, and a core that knows no algorithm."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from nasreg.registry.known_packages import known_packages

CORE = Path(__file__).parents[2] / "nasreg"
LOOSE = {"__init__.py", "__main__.py", "errors.py", "events.py", "hookspecs.py", "py.typed"}
# "random" is a word of its own: of Python's module, and of generators in a checkpoint.
ALGORITHMS = sorted({*known_packages()["algorithm"], "spos", "proxyless", "fairdarts", "morphism"} - {"random"})
NAMES = re.compile(
    f"(?<![a-z])({'|'.join(re.escape(name).replace(chr(92) + '-', '[-_]?') for name in ALGORITHMS)})(?![a-z])",
    re.IGNORECASE,
)
FILES = sorted(path for path in CORE.rglob("*.py") if path.relative_to(CORE).parts[0] != "spaces")


def test_nothing_else_lies_loose_at_the_top():
    assert {path.name for path in CORE.iterdir() if path.is_file()} == LOOSE


def test_every_package_says_what_it_is_for():
    paths = list(CORE.glob("*/__init__.py"))
    assert not [str(path) for path in paths if not ast.get_docstring(ast.parse(path.read_text()))]


def words(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Yield every identifier and every text of a module, except docstrings."""
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    docstrings = set()
    for node in ast.walk(tree):
        if isinstance(node, documented):
            for number, statement in enumerate(node.body):
                is_text = isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)
                # the first statement, or a text after an assignment, which documents it
                if is_text and (number == 0 or isinstance(node.body[number - 1], ast.Assign | ast.AnnAssign)):
                    docstrings.add(id(statement.value))
    for node in ast.walk(tree):
        for _, value in ast.iter_fields(node):
            if isinstance(value, str) and id(node) not in docstrings:
                yield getattr(node, "lineno", 0), value


def test_the_core_knows_no_algorithm():
    """Citations in docstrings are welcome; names in code are not."""
    found = [
        f"{path.relative_to(CORE)}, line {line}: {text}"
        for path in FILES
        for line, text in words(ast.parse(path.read_text()))
        if NAMES.search(text)
    ]
    assert not found


def test_the_check_finds_names():
    tree = ast.parse('"""As in DARTS."""\nx = 1\n"""Of DARTS."""\nif space == "darts":\n    pdarts_stage = 1\n')
    assert [text for _, text in words(tree) if NAMES.search(text)] == ["darts", "pdarts_stage"]


PUBLIC = re.search(
    r"The public modules are (.*?): every name", (CORE.parent / "docs/contract.md").read_text(), re.DOTALL
)
PLUGINS = sorted((CORE.parent / "plugins").glob("*/nasreg_*/*.py"))


def imported(tree: ast.Module) -> Iterator[str]:
    """Yield the names of the modules of nasreg and its plugins that a module imports."""
    for node in ast.walk(tree):
        modules = [node.module] if isinstance(node, ast.ImportFrom) else []
        modules += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        yield from (module for module in modules if module and module.startswith("nasreg"))


def test_our_plugins_use_public_names_only():
    """What third parties may rely on is enough for our own."""
    assert PUBLIC is not None
    public = set(re.findall(r"`([\w.]+)`", PUBLIC[1]))
    private = [
        f"{path.parent.name}/{path.name} imports {module}"
        for path in PLUGINS
        for module in imported(ast.parse(path.read_text()))
        if module not in public and module.partition(".")[0] != path.parent.name
    ]
    assert not private
