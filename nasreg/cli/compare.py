"""The commands that compare algorithms: ``compare`` and ``ablate``. They import no torch until they are used."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from nasreg.cli import options
from nasreg.cli.output import Output
from nasreg.cli.study import (
    read_retraining,
    read_seeds,
    read_varied,
    read_workers,
    report_study,
    run_study,
    with_preset,
)

Spaces = Annotated[
    list[str] | None,
    typer.Option(help="Search space; may be repeated. Default: the first algorithm's own", show_default=False),
]
Datasets = Annotated[
    list[str] | None,
    typer.Option(help="Data set, or folder:PATH; may be repeated. Default: digits", show_default=False),
]
Evaluators = Annotated[
    list[str] | None,
    typer.Option(
        help="Evaluator of all algorithms; may be repeated. Default: that of the space, else training",
        show_default=False,
    ),
]
Vary = Annotated[
    list[str] | None,
    typer.Option(
        metavar="KEY=[A, B]",
        help="Compare with each of these values of an option, such as evaluator.dataset=[cifar10, cifar100]; may be"
        " repeated",
        show_default=False,
    ),
]
Seeds = Annotated[
    str | None,
    typer.Option(metavar="N", help="Number of seeds from 0, or a list such as 3,5,8. Default: 10", show_default=False),
]
Budget = Annotated[
    list[str] | None,
    typer.Option(
        metavar="N|Ns|Nepochs",
        help="Evaluations (100), seconds, simulated on a table (12000s), or epochs of one-shot searches (50epochs);"
        " may be repeated. Default: that of each preset",
        show_default=False,
    ),
]
Set = Annotated[
    list[str] | None,
    options.settings("Set an option of all searches, or with ALGORITHM:KEY=VALUE of one algorithm"),
]
Title = Annotated[str | None, typer.Option(help="Heading of the page", show_default=False)]
Workers = Annotated[
    int, typer.Option(min=1, help="Runs that are computed at the same time, each in a process of its own")
]
Out = Annotated[
    Path | None,
    typer.Option(
        help="Directory of the study. Default: one in studies/, the same for the same comparison",
        show_default=False,
    ),
]
Csv = Annotated[Path | None, typer.Option(help="Write a row for each run to this file", show_default=False)]
Latex = Annotated[Path | None, typer.Option(help="Write the tables to this file in LaTeX", show_default=False)]
Markdown = Annotated[Path | None, typer.Option(help="Write the tables to this file in Markdown", show_default=False)]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Print the study as YAML and what it would run, and run nothing.")
]


def compare(
    what: Annotated[
        list[str],
        typer.Argument(
            metavar="WHAT...",
            help="Names of algorithms; or a study file; or the directory of a study; or run directories that exist",
            show_default=False,
        ),
    ],
    space: Spaces = None,
    dataset: Datasets = None,
    evaluator: Evaluators = None,
    vary: Vary = None,
    seeds: Seeds = None,
    budget: Budget = None,
    preset: Annotated[
        str | None, typer.Option(help="Preset of the algorithms that have it", show_default=False)
    ] = None,
    without_random: Annotated[
        bool, typer.Option("--without-random", help="Do not compare random search, too.")
    ] = False,
    set_: Set = None,
    retrain: Annotated[
        str | None,
        typer.Option(
            metavar="RECIPE",
            help="Retrain what each search finds by this recipe, and measure it on the test set",
            show_default=False,
        ),
    ] = None,
    retrain_set: Annotated[
        list[str] | None,
        typer.Option(
            "--retrain-set",
            metavar="KEY=VALUE",
            help="Set an option of the retraining, such as trainer.epochs=50; may be repeated",
            show_default=False,
        ),
    ] = None,
    title: Title = None,
    device: options.Device = None,
    workers: Workers = 1,
    executor: options.StudyExecutor = None,
    pages: Annotated[
        bool | None,
        typer.Option(
            "--pages/--no-pages",
            help="Write a page and pictures of each run, too. Default: of runs that train",
            show_default=False,
        ),
    ] = None,
    out: Out = None,
    csv: Csv = None,
    latex: Latex = None,
    markdown: Markdown = None,
    dry_run: DryRun = False,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Compare algorithms side by side: the same space, data, evaluator, budget and seeds for all.

    Finished runs are kept and interrupted ones resumed: the same command resumes, and more algorithms, seeds or data
    sets extend the study.
    """
    from nasreg.errors import UsageError
    from nasreg.studies import api

    output = Output(as_json=as_json, quiet=quiet)
    place, of_runs = read_workers(workers, executor, set_)
    given = _given(space, dataset, evaluator, vary, seeds, budget, of_runs, title, device)
    if retraining := read_retraining(retrain, retrain_set):
        given["retrain"] = retraining
    if without_random:
        given["baseline"] = False
    files = {"csv": csv, "latex": latex, "markdown": markdown}
    if (paths := api.run_paths(what)) is not None:
        if given or preset:
            name = next(iter(given), "preset")
            raise UsageError(f"{name} has no meaning for runs that exist: leave it out")
        result = api.compare_runs(paths, out)
        report_study(output, result, files)
        return
    spec = api.study_spec(what, given)
    if preset is not None:
        spec = with_preset(spec, preset)
    out = out if out is not None else api.own_directory(what)
    run_study(output, spec, out, {"workers": place, "pages": pages}, files, dry_run=dry_run)


def ablate(
    algorithm: Annotated[
        str,
        typer.Argument(metavar="ALGORITHM", help="Name of the algorithm", show_default=False),
    ],
    set_: Annotated[
        list[str],
        typer.Option(
            "--set",
            metavar="KEY,KEY|KEY=VALUE",
            help="Options of mutator or trainer that one variant each has otherwise: KEY,KEY to turn them off,"
            " KEY=VALUE, KEY=[A, B] for several variants; may be repeated",
            show_default=False,
        ),
    ],
    space: Spaces = None,
    dataset: Datasets = None,
    evaluator: Evaluators = None,
    vary: Vary = None,
    seeds: Seeds = None,
    budget: Budget = None,
    preset: options.Preset = None,
    common: Annotated[
        list[str] | None,
        typer.Option(
            "--common",
            metavar="KEY=VALUE",
            help="Set an option of all searches, such as evaluator.epochs=5; may be repeated",
            show_default=False,
        ),
    ] = None,
    title: Title = None,
    device: options.Device = None,
    workers: Workers = 1,
    executor: options.StudyExecutor = None,
    out: Out = None,
    csv: Csv = None,
    latex: Latex = None,
    markdown: Markdown = None,
    dry_run: DryRun = False,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Compare an algorithm with itself, one option off or changed at a time.

    The result is a study as that of nasreg compare, random search included.
    """
    from nasreg.registry import default_registry
    from nasreg.specs.formatting import shorten
    from nasreg.studies import api
    from nasreg.studies.ablation import ablations

    output = Output(as_json=as_json, quiet=quiet)
    place, of_runs = read_workers(workers, executor, common)
    title = title or f"Ablation of {shorten(algorithm, 60)}"
    given = _given(space, dataset, evaluator, vary, seeds, budget, of_runs, title, device)
    given["algorithms"] = ablations(
        default_registry(),
        algorithm,
        set_,
        preset=preset,
        space=space[0] if space else None,
        dataset=dataset[0] if dataset else None,
    )
    spec = api.study_spec(given, {})
    run_study(
        output, spec, out, {"workers": place}, {"csv": csv, "latex": latex, "markdown": markdown}, dry_run=dry_run
    )


def _given(
    space: list[str] | None,
    dataset: list[str] | None,
    evaluator: list[str] | None,
    vary: list[str] | None,
    seeds: str | None,
    budget: list[str] | None,
    settings: list[str] | None,
    title: str | None,
    device: str | None,
) -> dict[str, Any]:
    """Return the parts of a study that the options of a command give, by their names in a study file."""
    given: dict[str, Any] = {
        "spaces": space,
        "datasets": dataset,
        "evaluators": evaluator,
        "vary": read_varied(vary),
        "seeds": None if seeds is None else read_seeds(seeds),
        "budget": budget,
        "settings": settings,
        "title": title,
        "device": device,
    }
    return {name: value for name, value in given.items() if value}
