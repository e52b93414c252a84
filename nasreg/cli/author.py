"""The command for authors of plugins: ``new-plugin``. Imports no torch."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated

import typer


class FamilyName(str, Enum):
    """What an algorithm can be written as."""

    one_shot = "one-shot"
    multi_trial = "multi-trial"


def new_plugin(
    name: Annotated[str, typer.Argument(help="Name of the algorithm, such as my-algo", show_default=False)],
    family: Annotated[
        FamilyName, typer.Option(help="one-shot: on a supernet; multi-trial: proposes architectures to train")
    ] = FamilyName.one_shot,
    out: Annotated[Path | None, typer.Option(help="Folder to make. Default: nasreg-NAME", show_default=False)] = None,
) -> None:
    """Write the package of a new algorithm: it installs, runs, and passes its own tests as it is."""
    from nasreg.registry import default_registry
    from nasreg.scaffold import new_plugin as write

    folder = out or Path(f"nasreg-{name}")
    for file in write(name, family.value, folder, default_registry()):
        typer.echo(f"wrote {file}")
    place = folder if folder.is_absolute() else f"./{folder}"
    typer.echo(f'next: python -m pip install -e "{place}[test]" && nasreg run {name}')
