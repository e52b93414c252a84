"""Executes a resolved run, a search or a retraining, from loading the data to the report. Imports torch."""

from __future__ import annotations

import contextlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

import torch
from torch import nn

from nasreg.config.request import ResolvedRun
from nasreg.engine.environment import environment_notices, environment_of
from nasreg.engine.resume import check_resumable
from nasreg.errors import InterruptedRunError, SampleError, StorageError, UsageError, one_line
from nasreg.events import Callback, EpochEnded, Event, MemoryMeasured, Notice, TrialEnded
from nasreg.networks.profile import profile_network
from nasreg.networks.references import EXAMPLE_INFO
from nasreg.registry import Registry
from nasreg.report import missing_packages, write_report
from nasreg.runs import files
from nasreg.runs.callbacks import JsonLines, read_metrics, record
from nasreg.runs.directory import RunDirectory
from nasreg.runs.output import RunOutput
from nasreg.runs.writing import storage_error
from nasreg.specs import DataInfo
from nasreg.specs.version import __version__
from nasreg.trainers.base import Trainer
from nasreg.trainers.distributed import Processes, joined, present
from nasreg.trainers.interrupt import ending_in_order

if TYPE_CHECKING:
    from nasreg.data import RunData

INTERRUPTED = InterruptedRunError.exit_code

MAX_COST_BATCH = 64
COST_SECONDS = 0.02
"""Minimum time for which a latency is measured at the end of a run; ``nasreg profile`` measures for longer."""


class Job(ABC):
    """The steps of an execution that differ between a search and a retraining.

    Args:
        run: The resolved run; its device is final.
        registry: Where names are looked up.
        data: The data.
        directory: The run directory, if there is one.

    Attributes:
        trainer: Does the training.
        notices: Notices for the user, sent before the training.
        structure: Digests of the parts of a user's own model, which are compared when the run is resumed.
        pictures: Whether pictures are drawn and the page is written.
    """

    needs_test_set: ClassVar[bool]
    """Whether the test set is read."""
    in_several_processes: ClassVar[bool] = False
    """Whether several processes, started by torchrun, can do it together."""
    trainer: Trainer

    def __init__(
        self, run: ResolvedRun, registry: Registry, data: RunData | None, directory: RunDirectory | None
    ) -> None:
        self.run = run
        self.registry = registry
        self.data = data
        self.directory = directory
        self.notices: list[str] = []
        self.structure: dict[str, str] = {}
        self.pictures = True

    @classmethod  # noqa: B027  # nothing to check is a good default
    def check(cls, run: ResolvedRun, registry: Registry) -> None:
        """Check what can be known before the data are loaded.

        Raises:
            UsageError: The request cannot be executed.
        """

    @classmethod
    def needs_data(cls, run: ResolvedRun) -> bool:
        """Return whether the data are loaded."""
        del run
        return True

    @classmethod
    def measures_cost(cls, run: ResolvedRun) -> bool:
        """Return whether the cost of the network is measured at the end."""
        del run
        return True

    @property
    def info(self) -> DataInfo:
        """Shape of the images and the classes; where no data are loaded those of CIFAR-10."""
        return EXAMPLE_INFO if self.data is None else self.data.info

    @property
    def images(self) -> RunData:
        """The data of a run that loads them."""
        if self.data is None:
            raise TypeError("this run loads no data")
        return self.data

    @property
    @abstractmethod
    def step_samples(self) -> int:
        """Number of samples that fit into memory at once, since the network was trained on so many."""

    @abstractmethod
    def network(self) -> nn.Module:
        """Return, after the training, the network whose cost is measured."""

    def begin(self, directory: RunDirectory) -> None:  # noqa: B027
        """Write the files of a new run that other kinds of runs do not have."""

    def end(self, directory: RunDirectory) -> None:  # noqa: B027
        """Write the result."""

    def measure_result(self) -> dict[str, Any]:
        """Measure what is worth knowing of a finished run, report it, and return it for its status."""
        return {}

    def close(self) -> None:  # noqa: B027
        """Free what the run holds, however it ended."""


J = TypeVar("J", bound=Job)


@ending_in_order()
@joined()
def execute(
    run: ResolvedRun,
    job_class: type[J],
    *,
    registry: Registry,
    out: str | Path | None = None,
    resume: bool = False,
    callbacks: Sequence[Callback] = (),
    options: Mapping[str, Any] | None = None,
    pictures: bool = True,
) -> tuple[J, list[dict[str, Any]]]:
    """Execute a resolved run; with a run directory, write everything there, from the first file to the report.

    Args:
        run: The resolved run.
        job_class: The kind of run.
        registry: Where names are looked up.
        out: Run directory to make, or with ``resume`` to resume.
        resume: Resume the run in ``out``.
        callbacks: Called with each event.
        options: More arguments of ``job_class``.
        pictures: Whether to draw pictures and to write the page of the run.

    Returns:
        The finished job, and ``callbacks.record`` of every epoch and trial, in order, also of those before the run was
        resumed.

    Raises:
        NasregError: As ``Trainer.fit``, or the run is invalid or cannot be resumed.
    """
    if resume and out is None:
        raise UsageError("resume: there is nothing to resume without out, the run directory")
    # Everything that can be wrong with a request is found before anything is written.
    processes = present()
    device = _check_processes(processes, run, job_class, resume=resume)
    spec = run.spec.model_copy(update={"device": str(device)})
    run = replace(run, spec=spec)
    directory = RunDirectory(out) if out is not None and processes.is_first else None
    if directory is not None and resume:
        check_resumable(directory, run)
    elif directory is not None:
        directory.check_free()
    job_class.check(run, registry)
    data = None
    if job_class.needs_data(run):
        from nasreg.data import RunData  # torchvision takes longer to import than many a search of a table

        with processes.one_after_another():
            bundle = run.dataset.load(run.dataset_config)
        failures = RunDirectory(out).unreadable if out is not None and resume else []
        needs_test = job_class.needs_test_set
        data = RunData(bundle, run.dataset_config, spec.seed, device, test=needs_test, failures=failures)
    job = job_class(run, registry, data, directory, **(options or {}))
    job.pictures = pictures
    job.notices += [] if data is None else data.notices
    described = {"fingerprint": None} if data is None else data.describe()
    if directory is None:
        records: list[dict[str, Any]] = []
        _fit(job, RunOutput(callbacks=[*callbacks, partial(_remember, records)]))
        if processes.is_first:
            _measure_result(job)
        return job, records
    with directory.lock() as notice:
        job.notices += [notice] if notice else []
        if resume:
            changes = check_resumable(directory, run)  # again: another process may have resumed it since then
            changes.apply(directory, job.trainer.context.space, described, job.structure)
            job.notices += changes.notices
        else:
            directory.create(spec, job.trainer.context.space, described, partial(_begin, job, directory))
        with _recording(job, directory, registry, callbacks) as output:
            _fit(job, output)
            job.end(directory)
        directory.set_status("done", error=None, metrics=job.trainer.final_metrics)
        measured = _measure_result(job)
        if measured:
            directory.set_status("done", **measured)
        if job_class.measures_cost(run):
            _measure_cost(job, directory, job.step_samples)
        _report(job, directory)
    trials = [{"event": "trial", **each} for each in directory.trials]
    return job, [*read_metrics(directory.path / files.METRICS), *trials]


def _check_processes(processes: Processes, run: ResolvedRun, job_class: type[Job], *, resume: bool) -> torch.device:
    """Check that several processes can do a run together, with the same options; return the device of this one.

    Raises:
        UsageError: They cannot, or there is no such device.
    """
    if processes.world_size > 1 and not job_class.in_several_processes:
        raise UsageError(
            f"this search evaluates its trials one by one, which {processes.world_size} processes of torchrun cannot do"
            f" together: start it without torchrun, with --workers {processes.world_size}"
        )
    device = processes.device(run.spec.device)
    options: dict[str, Any] = {"resume": resume, "nasreg": __version__, "torch": torch.__version__}
    for name, value in run.spec.model_dump(mode="json", exclude={"device"}).items():
        options |= {f"{name}.{key}": each for key, each in value.items()} if isinstance(value, dict) else {name: value}
    processes.check_same(options)
    return device


def _begin(job: Job, directory: RunDirectory) -> None:
    if job.structure:
        directory.write_json(files.STRUCTURE, job.structure)
    job.begin(directory)


def _fit(job: Job, output: RunOutput) -> None:
    for notice in job.notices:
        output.emit(Notice(notice))
    try:
        job.trainer.fit(output)
    finally:
        job.close()


def _remember(records: list[dict[str, Any]], event: Event) -> None:
    if isinstance(event, EpochEnded | TrialEnded):
        records.append(record(event))


@contextlib.contextmanager
def _recording(
    job: Job, directory: RunDirectory, registry: Registry, callbacks: Sequence[Callback]
) -> Iterator[RunOutput]:
    """Record how the run in a locked directory proceeds, whatever happens in the block."""
    environment = environment_of(job.run, registry)
    resumed = (directory.path / files.ENVIRONMENT).exists()
    if resumed:
        before = directory.read_object(files.ENVIRONMENT)
        job.notices += environment_notices(before, environment)
    else:
        directory.write_json(files.ENVIRONMENT, environment)
    directory.set_status("running", resumed=directory.status["resumed"] + resumed)
    with JsonLines(directory.path / files.METRICS) as metrics:
        recorded: list[Callback] = [metrics, partial(_record_memory, directory), *callbacks]
        try:
            yield RunOutput(directory, metrics, recorded)
        except BaseException as error:
            stopped = isinstance(error, KeyboardInterrupt) or getattr(error, "exit_code", 1) == INTERRUPTED
            directory.set_final_status("interrupted" if stopped else "failed", str(error) or type(error).__name__)
            _record_unreadable(directory, error)
            if unwritten := _unwritten(directory, error):
                raise StorageError(f"{unwritten}; then resume with: {directory.command('resume')}") from error
            if isinstance(error, Exception):  # not after the second Ctrl-C, which asks for an immediate end
                _report(job, directory)
            raise


def _record_unreadable(directory: RunDirectory, error: BaseException) -> None:
    """Record a sample that cannot be read: the run can be resumed after its file was removed."""
    if isinstance(error, SampleError):
        failure = {name: getattr(error, name) for name in ("part", "index", "label", "total", "path")}
        directory.set_status(directory.status["state"], unreadable=[*directory.unreadable, failure])


def _unwritten(directory: RunDirectory, error: BaseException) -> StorageError | None:
    """Return the error that says which file of the run could not be written, if that is what ended it."""
    if isinstance(error, StorageError):
        return error
    if isinstance(error, OSError) and error.filename and Path(str(error.filename)).is_relative_to(directory.path):
        return storage_error(Path(str(error.filename)), error)
    return None


def _record_memory(directory: RunDirectory, event: Event) -> None:
    """Record the peak memory in the status: it belongs to the process, and not to what the seed decides."""
    if isinstance(event, MemoryMeasured):
        status = directory.status
        directory.set_status(status["state"], peak_bytes=max(event.peak_bytes, status.get("peak_bytes", 0)))


def _measure_result(job: Job) -> dict[str, Any]:
    """Measure the result; a failure is reported and does not lose it."""
    try:
        return job.measure_result()
    except Exception as error:  # noqa: BLE001  # it may be the module of a user; the result is complete without
        job.trainer.emit(Notice(f"the network found could not be measured ({one_line(error)})"))
        return {}


def _measure_cost(job: Job, directory: RunDirectory, batch_size: int) -> None:
    """Measure the cost of the network and save it; a failure is reported and does not lose the result.

    The network was trained on ``batch_size`` samples at once, so that there is memory for them.
    """
    size = max(2, min(batch_size, MAX_COST_BATCH))
    try:
        device = str(job.trainer.context.device)
        found = profile_network(job.network(), job.info, device=device, batch_size=size, rounds=3, seconds=COST_SECONDS)
        directory.write_json(files.COST, found.model_dump(mode="json"))
    except Exception as error:  # noqa: BLE001  # it may be the module of a user; the result is complete without
        job.trainer.emit(Notice(f"the cost of the network could not be measured ({one_line(error)})"))


def _report(job: Job, directory: RunDirectory) -> None:
    """Write the page of a run; a failure is reported and does not hide how the run itself ended."""
    if not job.pictures:
        return
    trainer = job.trainer
    again = f"write it with: {directory.command('show')}"
    missing = missing_packages()
    if missing:
        packages = " and ".join(missing)
        trainer.emit(Notice(f'no report: it needs {packages} (pip install "nasreg[report]"); {again}'))
        return
    try:
        write_report(directory.path, metrics=trainer.task.metrics)
    except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001  # see above
        trainer.emit(Notice(f"no report was written ({one_line(error)}); {again}"))


def draw(job: Job, directory: RunDirectory, drawing: Callable[[], object]) -> None:
    """Draw a picture of a run if the packages for it are installed; a failure does not lose the result."""
    if not job.pictures or missing_packages():
        return  # the report says so
    try:
        drawing()
    except Exception as error:  # noqa: BLE001  # the result is complete without a picture
        again = directory.command("show", "-o", "cells.svg")
        job.trainer.emit(Notice(f"a picture could not be drawn ({one_line(error)}): draw it with: {again}"))
