"""How the results of searches and retrainings are reported. Imports no torch that the run has not imported."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from nasreg.cli.output import Output
from nasreg.cli.paths import shell_command, short
from nasreg.cli.start import FirstLines
from nasreg.cli.trials import print_trials
from nasreg.events import Callback
from nasreg.runs import files
from nasreg.runs.directory import RunDirectory
from nasreg.runs.trial_summary import count_trials
from nasreg.runs.trials import best_first
from nasreg.specs.metrics import metric_spec
from nasreg.specs.run import RunSpec

if TYPE_CHECKING:
    from nasreg.config.request import ResolvedRun
    from nasreg.engine.retrain import RetrainResult
    from nasreg.engine.runs import RepeatedResult
    from nasreg.engine.search_result import SearchResult


def report_spec(output: Output, run: ResolvedRun) -> None:
    """Print all options of a run that is not executed, as YAML, whatever the mode but JSON."""
    text = run.spec.to_yaml().rstrip()
    output.result(lambda: run.spec.model_dump(mode="json"), lambda: output.line(text), [text])


def first_lines(output: Output, run: ResolvedRun, others: str) -> Callback:
    """Return what says the preset or recipe of a run where nobody named it, and how long the run will take.

    Args:
        output: Prints it.
        run: The run.
        others: How to choose another preset or recipe.
    """
    spec = run.spec
    kind, chosen = ("preset", spec.preset) if isinstance(spec, RunSpec) else ("recipe", spec.recipe)
    purpose = f" for data set {spec.dataset.title}" if run.preset_of_dataset else ""
    named = f"{kind} {chosen}, the default{purpose}; others: {others}; all options: --dry-run"
    return FirstLines(output, named if run.preset_is_default else None)


def report_search(output: Output, result: SearchResult) -> None:
    """Print the result of a search."""
    from nasreg.report import describe_architecture

    path = result.run_dir or Path()
    written = [path / name for name in (files.ARCHITECTURE, files.GENOTYPE, files.CELLS, files.FRONT, files.REPORT)]

    def data() -> object:
        return {
            "run_dir": str(path),
            "architecture": result.architecture.model_dump(mode="json"),
            "genotype": result.genotype,
            "trials": None if result.objective is None else count_trials(result.trials),
            "best_trial": None if result.objective is None else best_first(result.trials, result.objective)[0],
            "front": result.front,
            "facts": {fact.name: fact.value for fact in result.facts},
            "last_epoch": {
                name: value
                for name, value in (result.history[-1] if result.history else {}).items()
                if isinstance(value, int | float) or name == "model"  # whose metrics they are
            },
        }

    def text() -> None:
        if result.objective is not None:
            output.line()
            print_trials(output, RunDirectory(path))
        output.line(f"\n{describe_architecture(result.space, result.architecture)}\n")
        entry = result.source.entry
        if entry is not None and entry.notation is not None:
            output.line(f"{result.genotype}\n")
        if result.facts:
            output.table("result", [(fact.title, fact.text) for fact in result.facts])
            output.line()
        if result.history and result.history[-1].get("model") == "supernet":
            output.line("the metrics of the epochs are those of the supernet; retrain the architecture for its own")
        for file in written:
            if file.exists():
                output.line(f"wrote {short(file)}")

    output.result(data, text, [short(path)])
    if result.source.has_network:
        output.hint(f"next: {shell_command('retrain', path)}")


def report_retrain(output: Output, result: RetrainResult | RepeatedResult) -> None:
    """Print the result of a retraining, or of a repeated one."""
    from nasreg.engine.retrain import RetrainResult

    if isinstance(result, RetrainResult):
        _report_one(output, result)
    else:
        _report_repeated(output, result)


def _report_one(output: Output, result: RetrainResult) -> None:
    path = result.run_dir or Path()

    def text() -> None:
        for name, value in result.metrics.items():
            if name.startswith("test_") and not name.endswith("_loss"):
                spec = metric_spec(name)
                output.line(f"\n{spec.title} {spec.format(value)} after the last epoch")
                break
        for name in (files.LAST_WEIGHTS, files.BEST_WEIGHTS, files.REPORT):
            if (path / name).exists():
                output.line(f"wrote {short(path / name)}")

    output.result(lambda: {"run_dir": str(path), "metrics": result.metrics}, text, [short(path)])
    output.hint(f"next: {shell_command('evaluate', path)}")


def _report_repeated(output: Output, result: RepeatedResult) -> None:
    spec = metric_spec(result.metric)

    def data() -> object:
        scores = dict(zip(map(str, result.seeds), result.scores, strict=True))
        return {"run_dir": str(result.run_dir), result.metric: scores, "mean": result.mean, "std": result.std}

    def text() -> None:
        rows = [(f"seed {seed}", spec.format(value)) for seed, value in zip(result.seeds, result.scores, strict=True)]
        if result.std is not None:
            rows.append(("mean", f"{spec.format(result.mean)} ± {spec.format(result.std)}"))
        output.line()
        output.table(f"{spec.title} after the last epoch", rows)
        output.line(f"wrote {short(result.run_dir / files.SUMMARY)}")

    output.result(data, text, [short(result.run_dir)])
