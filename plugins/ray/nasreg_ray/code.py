"""The user's own code that the workers need: which modules the work refers to, and their sources in an archive.

A node may have the same files under the same paths, such as on this machine or on a shared file system; then they are
used from there. Only sources are sent: no data, no compiled modules, and no package that is installed here, which has
to be installed on the nodes, too. Imports no torch.
"""

from __future__ import annotations

import io
import pickletools
import sys
import sysconfig
import zipfile
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType
from typing import Any

from nasreg.errors import UsageError

MAX_BYTES = 20 * 2**20
"""Code that is larger is refused."""


@dataclass(frozen=True)
class UserCode:
    """The code of the user."""

    archive: bytes
    """A zip file."""
    paths: tuple[str, ...]
    """Directories that this process imports from."""
    script: str | None
    """The script that this process runs, if the work refers to it."""

    def message(self) -> dict[str, Any]:
        """Return it in the form that the agents read."""
        return {"archive": self.archive, "paths": self.paths, "script": self.script}


def user_code(pickles: Iterable[bytes]) -> UserCode:
    """Return the code that pickles refer to.

    Args:
        pickles: What the workers will load.

    Raises:
        UsageError: It is too large.
    """
    names = {text for pickled in pickles for text in _texts(pickled)}
    script = _script() if "__main__" in names else None
    files: dict[str, Path] = {} if script is None else {script.name: script}
    modules = [sys.modules[name.partition(".")[0]] for name in names if name.partition(".")[0] in sys.modules]
    installed = _installed()
    roots = {root for module in modules if (root := _root(module, installed)) is not None}
    for module in list(sys.modules.values()):  # what those modules import from their own folders, too
        root = _root(module, installed)
        if root is not None and root in roots:
            files |= _sources(module, root)
    size = sum(path.stat().st_size for path in files.values())
    if size > MAX_BYTES:
        folders = ", ".join(str(root) for root in sorted(roots))
        raise UsageError(
            f"executor ray: the code in {folders} has {size // 2**20} MB, too much to send it: install it on the nodes"
        )
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, path in sorted(files.items()):
            archive.write(path, name)
    paths = tuple(str(Path(path).absolute()) for path in dict.fromkeys(sys.path))
    return UserCode(buffer.getvalue(), paths, None if script is None else str(script))


def _texts(pickled: bytes) -> Iterator[str]:
    """Yield what may be the name of a module in a pickle, also before the name of a class: ``module:Class``."""
    for _, argument, _ in pickletools.genops(pickled):
        if isinstance(argument, str):
            yield argument.partition(":")[0].partition(" ")[0]


def _script() -> Path | None:
    main = sys.modules["__main__"]
    file = getattr(main, "__file__", None)
    return Path(file).absolute() if file is not None and getattr(main, "__spec__", None) is None else None


def _root(module: ModuleType, installed: Collection[str]) -> Path | None:
    """Return the folder that a module of the user was imported from; None for one that is installed.

    Args:
        module: The module.
        installed: What ``_installed`` returns.
    """
    name, file = getattr(module, "__name__", None), getattr(module, "__file__", None)
    if not isinstance(name, str) or not isinstance(file, str) or not file.endswith(".py"):
        return None
    top = name.partition(".")[0]
    path = Path(file).absolute()
    if top == "__main__" or any(path.is_relative_to(folder) for folder in _INSTALLED) or top in installed:
        return None
    folder = path.parent
    for _ in range(name.count(".") + (path.name == "__init__.py")):
        folder = folder.parent
    return folder


_INSTALLED = [Path(sysconfig.get_path(name)) for name in ("stdlib", "platstdlib", "purelib", "platlib")] + [
    Path(path) for path in sys.path if Path(path).name in ("site-packages", "dist-packages")
]


def _installed() -> set[str]:
    """Return the packages of nasreg and its plugins, which may be installed in editable form."""
    plugins = [point.value.partition(":")[0].partition(".")[0] for point in entry_points(group="nasreg")]
    return {"nasreg", "nasreg_ray", *plugins}


def _sources(module: ModuleType, root: Path) -> dict[str, Path]:
    """Return name in the archive -> file of a module that was imported from a folder; of a package all of it."""
    top = root / module.__name__.partition(".")[0]
    if not top.is_dir():
        path = Path(str(module.__file__)).absolute()
        return {str(path.relative_to(root)): path}
    return {str(path.relative_to(root)): path for path in top.rglob("*.py")}
