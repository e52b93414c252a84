"""Writes the package of a new algorithm for its author to change: complete, typed, tested."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from string import Template

from nasreg.errors import ConfigError, UsageError
from nasreg.registry import Registry
from nasreg.specs.algorithm import Family
from nasreg.specs.plugin import PLUGIN_API
from nasreg.specs.version import __version__

MAX_LENGTH = 32
"""Characters of the name of an algorithm."""

_NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
_SUFFIX = ".tmpl"
_TEMPLATES = Path(__file__).parent / "templates"


def new_plugin(name: str, family: Family, out: Path, registry: Registry) -> list[Path]:
    """Write the package ``nasreg-NAME``.

    Args:
        name: Name of the algorithm, such as ``my-algo``.
        family: Family of the algorithm: on one supernet, or of trials.
        out: Folder to make; it may exist and be empty.
        registry: The registry in which the name must be free.

    Returns:
        The files written.

    Raises:
        ConfigError: The name cannot be one, or is taken.
        UsageError: The folder is not empty or cannot be written.
    """
    if not _NAME.fullmatch(name) or len(name) > MAX_LENGTH:
        raise ConfigError(
            f"{name!r} cannot be the name of a plugin: write at most {MAX_LENGTH} lower-case letters, digits and single"
            " hyphens, a letter first, such as 'my-algo'"
        )
    if name.startswith("nasreg-"):
        raise ConfigError(f"leave out 'nasreg-': the package of {name.removeprefix('nasreg-')!r} is called {name!r}")
    if name in registry.algorithms():
        raise ConfigError(f"an algorithm {name!r} is installed already: choose another name")
    names = {
        "name": name,
        "distribution": f"nasreg-{name}",
        "package": f"nasreg_{name.replace('-', '_')}",
        "cls": "".join(word.capitalize() for word in name.split("-")),
        "plugin_api": str(PLUGIN_API),
        "nasreg_version": ".".join(__version__.split(".")[:2]),
    }
    try:
        if out.exists() and any(out.iterdir()):
            raise UsageError(f"{out} is not empty: choose another folder with --out")
        return [file for part in ("common", family) for file in _write(_TEMPLATES / part, out, names)]
    except OSError as error:
        raise UsageError(f"cannot write to {out}: {error.strerror or error}") from error


def _write(template: Path, target: Path, names: dict[str, str]) -> Iterator[Path]:
    if template.is_dir():
        target.mkdir(parents=True, exist_ok=True)
        for inner in sorted(template.iterdir()):
            name = names["package"] if inner.name == "package" else inner.name.removesuffix(_SUFFIX)
            yield from _write(inner, target / name, names)
    else:
        text = Template(template.read_text(encoding="utf-8")).substitute(names)
        target.write_text(text, encoding="utf-8")
        yield target
