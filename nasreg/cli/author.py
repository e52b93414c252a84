"""The command for authors of plugins: ``new-plugin``. Imports no torch."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from nasreg.cli.lookup import FamilyName
from nasreg.cli.output import Output


def new_plugin(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="Name of the algorithm, such as my-algo", show_default=False)
    ],
    family: Annotated[
        FamilyName, typer.Option(help="one-shot: on a supernet; multi-trial: proposes architectures to train")
    ] = FamilyName.one_shot,
    out: Annotated[Path | None, typer.Option(help="Folder to make. Default: nasreg-NAME", show_default=False)] = None,
) -> None:
    """Write the package of a new algorithm.

    It installs, runs, and passes its own tests as it is.
    """
    from nasreg.registry import default_registry
    from nasreg.scaffold import new_plugin as write

    output = Output()
    folder = out or Path(f"nasreg-{name}")
    for file in write(name, family.value, folder, default_registry()):
        output.line(f"wrote {file}")
    place = folder if folder.is_absolute() else f"./{folder}"
    output.hint(f"next: {shlex.join(['python', '-m', 'pip', 'install', '-e', f'{place}[test]'])} && nasreg run {name}")
