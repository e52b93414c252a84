"""The command that resumes either kind of run: ``resume``. Imports no torch until it is used."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nasreg.cli import options
from nasreg.cli.output import Output
from nasreg.cli.run import tensorboard_callbacks
from nasreg.cli.study import read_workers, resume_study

if TYPE_CHECKING:
    from nasreg.engine.retrain import RetrainResult
    from nasreg.engine.runs import RepeatedResult
    from nasreg.engine.search_result import SearchResult
    from nasreg.events import Callback


def resume(
    run_dir: Annotated[
        Path,
        typer.Argument(
            metavar="RUN_DIR",
            help="Directory of a run that was interrupted, or that is to be extended; or of a study",
            show_default=False,
        ),
    ],
    set_: Annotated[
        list[str] | None,
        options.settings(
            "Change an option that does not decide the result, such as trainer.accumulate=2, or that extends the run,"
            " such as trainer.max_trials=40"
        ),
    ] = None,
    device: Annotated[
        str | None,
        typer.Option(help="auto, cpu, cuda, cuda:N or mps. Default: the one that it began on", show_default=False),
    ] = None,
    workers: options.Workers = None,
    executor: options.Executor = None,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Resume a search, a retraining or a study.

    It continues from its last checkpoint and ends as if it had not been interrupted.
    """
    from nasreg.cli.results import report_retrain, report_search
    from nasreg.cli.start import FirstLines
    from nasreg.engine import runs
    from nasreg.engine.search_result import SearchResult
    from nasreg.errors import UsageError
    from nasreg.runs import files

    output = Output(as_json=as_json, quiet=quiet)
    settings = [*(set_ or []), *([] if executor is None else [f"executor={executor}"])]
    if (run_dir / files.STUDY).is_file():
        place, of_runs = read_workers(workers or 1, executor, set_)
        if of_runs or device:
            raise UsageError(f"{run_dir} is a study: --set and --device are for a single run")
        resume_study(output, run_dir, {"workers": place})
        return
    result: SearchResult | RetrainResult | RepeatedResult
    with output.progress() as progress:
        callbacks: list[Callback] = [FirstLines(output, None), *progress]
        if (run_dir / files.REPEATS).is_file():
            if workers:
                raise UsageError("a retraining has no trials: --workers is for multi-trial algorithms")
            result = runs.resume_repeats(run_dir, settings=settings, device=device, callbacks=callbacks)
        else:
            boards: list[Callback] = tensorboard_callbacks(run_dir) if (run_dir / files.TENSORBOARD).is_dir() else []
            result = runs.resume(
                run_dir, settings=settings, device=device, workers=workers, callbacks=[*callbacks, *boards]
            )
    if isinstance(result, SearchResult):
        report_search(output, result)
        return
    report_retrain(output, result)
