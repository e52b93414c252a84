"""Options that several commands have, each written once. Imports no torch."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

SOURCE_HELP = "Run directory, architecture.json, name of a published genotype, or the text of one"


def settings(help_text: str) -> Any:
    """Return the option ``--set KEY=VALUE``.

    Args:
        help_text: What can be set; that it may be repeated is added.
    """
    return typer.Option("--set", metavar="KEY=VALUE", help=f"{help_text}; may be repeated", show_default=False)


Source = Annotated[str, typer.Argument(metavar="SOURCE", help=SOURCE_HELP, show_default=False)]
Space = Annotated[
    str | None,
    typer.Option(
        help="Search space: a name, package.module:name or folder/file.py:name. Default: the algorithm's own",
        show_default=False,
    ),
]
SourceSpace = Annotated[
    str | None,
    typer.Option(help="Space of an architecture that is in no run. Default: the one that it fits", show_default=False),
]
Dataset = Annotated[
    str | None, typer.Option(help="Data set: a name, or folder:PATH. Default: digits", show_default=False)
]
SourceDataset = Annotated[
    str | None, typer.Option(help="Data set: a name, or folder:PATH. Default: that of the run", show_default=False)
]
Image = Annotated[
    str | None,
    typer.Option(metavar="CxHxW", help="Shape of the images instead. Default: 3x32x32", show_default=False),
]
Classes = Annotated[int | None, typer.Option(help="Number of classes instead. Default: 10", show_default=False)]
Evaluator = Annotated[
    str | None,
    typer.Option(
        help="What scores the proposals of a multi-trial algorithm; see: nasreg list evaluators. Default: the"
        " algorithm's own",
        show_default=False,
    ),
]
Preset = Annotated[
    str | None,
    typer.Option(
        help="Named set of options; see: nasreg describe ALGORITHM. Default: the one that the data set names, else"
        " the algorithm's own",
        show_default=False,
    ),
]
Config = Annotated[
    Path | None, typer.Option(help="YAML file in the form of a run.yaml, whole or in part", show_default=False)
]
Set = Annotated[list[str] | None, settings("Set one option, such as trainer.epochs=50 or space.cells=20")]
NetworkSet = Annotated[list[str] | None, settings("Set one option of the space or data set, such as space.cells=20")]
Seed = Annotated[
    int | None,
    typer.Option(help="Seed of everything that is random. Default: the preset's, else 0", show_default=False),
]
Device = Annotated[str | None, typer.Option(help="auto, cpu, cuda, cuda:N or mps. Default: auto", show_default=False)]
MeasureDevice = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:N or mps")]
Out = Annotated[
    Path | None, typer.Option(help="Run directory to make. Default: a new one in runs/", show_default=False)
]
Tensorboard = Annotated[bool, typer.Option("--tensorboard", help="Write TensorBoard files into the run, too.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Print all options as YAML, and run nothing.")]
Json = Annotated[bool, typer.Option("--json", help="Print the result as one JSON document.")]
Quiet = Annotated[
    bool,
    typer.Option(
        "--quiet", "-q", help="Print no progress, no hints, and of the result only the run directory, files or names."
    ),
]
Executor = Annotated[
    str | None,
    typer.Option(
        help="Where trials are evaluated; see: nasreg list executors. Default: serial, or processes with several"
        " workers",
        show_default=False,
    ),
]
StudyExecutor = Annotated[
    str | None,
    typer.Option(
        help="Where the runs are computed; see: nasreg list executors. Its options are settings executor.KEY=VALUE."
        " Default: serial, or processes with several workers",
        show_default=False,
    ),
]
Workers = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="Trials of a multi-trial algorithm that are evaluated at the same time. Default: 1",
        show_default=False,
    ),
]
