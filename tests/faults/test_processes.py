"""Other processes: two that want one directory, file systems without locks, signals to a whole job, closed outputs."""

from __future__ import annotations

import errno
import json
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

import forked
import nasreg
from interrupting import Died, die_at, notices
from nasreg.cli import main
from nasreg.cli.paths import run_directory
from nasreg.errors import DataError, InterruptedRunError, RunDirectoryError, TrainingError
from nasreg.events import RunEnded, StepEnded
from nasreg.runs.directory import RunDirectory
from nasreg.testing import toy_images
from nasreg.trainers.interrupt import Interruption, ending_in_order
from tiny import Net

pytestmark = pytest.mark.usefixtures("without_report")


def search(out: Path | None, *, epochs: int = 1, data=None, lr: float = 0.1, **more) -> nasreg.SearchResult:
    trainer = {"epochs": epochs, "batch_size": 16, "lr": lr}
    return nasreg.search(Net, data or toy_images(48), trainer=trainer, device="cpu", out=out, **more)


@pytest.fixture(scope="module")
def cut(tmp_path_factory) -> Path:
    """A search of two epochs that died in the second."""
    out = tmp_path_factory.mktemp("cut") / "run"
    with pytest.raises(Died):
        search(out, epochs=2, data=Meanwhile(), callbacks=[die_at(2)])
    return out


def copy(run: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(run, tmp_path / "run"))


# -- locks ---------------------------------------------------------------------------------------------------------


def refuse_locks(monkeypatch, number: int) -> None:
    def lockf(file, operation):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("fcntl.lockf", lockf)


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EIO])
def test_a_file_system_without_locks_is_no_refusal(tmp_path, monkeypatch, number):  # optuna#1300
    refuse_locks(monkeypatch, number)
    messages: list[str] = []
    result = search(tmp_path / "run", callbacks=[notices(messages)])
    assert result.run_dir == tmp_path / "run"
    assert messages == [
        f"the file system of {tmp_path / 'run'} has no locks ({os.strerror(number)}): make sure that no other process"
        " works on this run"
    ]


@pytest.mark.parametrize("number", [errno.EACCES, errno.EAGAIN])
def test_a_lock_that_another_process_holds_is(tmp_path, monkeypatch, number):  # optuna#1300
    refuse_locks(monkeypatch, number)
    with pytest.raises(RunDirectoryError, match="is in use by another process"):
        search(tmp_path / "run")


def test_threads_of_a_process_exclude_each_other(tmp_path):
    """The locks of the operating system are those of a process."""
    directory = RunDirectory(tmp_path / "run")
    with directory.lock(), pytest.raises(RunDirectoryError, match="in use by another thread"):
        RunDirectory(tmp_path / "x" / ".." / "run").lock().__enter__()
    with directory.lock() as notice:
        assert notice is None


# -- races ---------------------------------------------------------------------------------------------------------


def test_directories_made_at_the_same_time_are_different(tmp_path, monkeypatch):  # hydra#2925
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("time.strftime", lambda form: "now")
    barrier, made = threading.Barrier(8), []

    def make() -> None:
        barrier.wait()
        with run_directory(None, "random-digits") as path:
            (path / "file").write_text("")
            made.append(path.name)

    threads = [threading.Thread(target=make) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(made) == ["random-digits-now", *(f"random-digits-now-{n}" for n in range(2, 9))]


class Meanwhile:
    """Data with which something else happens while they are read."""

    def __init__(self, act=None) -> None:
        self.images, self.act = toy_images(48), act

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int):
        act, self.act = self.act, None
        if act is not None:
            act()
        return self.images[index]


@pytest.mark.parametrize("other", ["a search", "a repeated retraining", "a file"])
def test_a_directory_that_is_used_meanwhile_is_left_alone(tmp_path, other):
    out = tmp_path / "run"

    def act() -> None:
        if other == "a search":
            search(out, seed=2)
        else:
            out.mkdir()
            (out / ("repeats.json" if other == "a repeated retraining" else "notes.txt")).write_text("{}")

    with pytest.raises(RunDirectoryError, match=r"another run was made in .* meanwhile: choose another with --out"):
        search(out, seed=1, data=Meanwhile(act))
    if other == "a search":
        assert RunDirectory(out).spec.seed == 2
        assert RunDirectory(out).status["state"] == "done"
    else:
        assert not (out / "run.yaml").exists()


def test_a_run_that_is_resumed_meanwhile_is_not_resumed_again(cut, tmp_path):
    out = copy(cut, tmp_path)
    data = Meanwhile(lambda: search(out, epochs=2, data=Meanwhile(), resume=True))
    with pytest.raises(RunDirectoryError, match="has finished"):
        search(out, epochs=2, resume=True, data=data)
    assert RunDirectory(out).status["resumed"] == 1


def test_a_retraining_does_not_mix_with_another(searched, tmp_path):
    out = tmp_path / "run"
    source = json.loads((searched.path / "architecture.json").read_text())
    assert source
    options = {
        "trainer": {"epochs": 1, "batch_size": 16},
        "space_options": {"cells": 3, "channels": 2},
        "device": "cpu",
    }
    test = toy_images(48)

    def act() -> None:
        out.mkdir()
        (out / "run.yaml").write_text("of another run")

    with pytest.raises(RunDirectoryError, match="another run was made"):
        nasreg.retrain(searched.path, (Meanwhile(act), test), out=out, **options)
    assert (out / "run.yaml").read_text() == "of another run"


# -- run.yaml edited by hand -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def cut_digits(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("edited") / "run"
    trainer = {"epochs": 1, "batch_size": 16, "checkpoint_minutes": 1e-9}
    options = {"trainer": trainer, "dataset_options": {"limit": 64}, "seed": 1, "device": "cpu"}
    with pytest.raises(Died):
        nasreg.search("tiny:Own", "digits", "darts", callbacks=[die_at(1)], out=out, **options)
    return out


@pytest.mark.parametrize(
    ("edit", "says"),
    [
        (("seed: 1", "seed: 2"), "seed=2 (was 1)"),
        (("batch_size: 16", "batch_size: 8"), "trainer.batch_size=8 (was 16)"),
        (("limit: 64", "limit: 63"), "dataset.limit=63 (was 64)"),
        (("width: 4", "width: 8"), "space.width=8 (was 4)"),
    ],
)
def test_an_edited_option_that_decides_the_result_is_refused(cut_digits, tmp_path, capsys, edit, says):
    run = copy(cut_digits, tmp_path)
    text = (run / "run.yaml").read_text()
    assert edit[0] in text
    (run / "run.yaml").write_text(text.replace(*edit))
    assert main(["resume", str(run)]) == 2
    error = capsys.readouterr().err
    assert f"started with other options, which decide its result: {says}. {run}/run.yaml was edited: undo that" in error


@pytest.mark.parametrize("name", ["data.json", "environment.json", "options.json", "status.json"])
@pytest.mark.parametrize("content", ["", "[]", "null", "{"])
def test_a_damaged_file_of_a_run_is_named(cut_digits, tmp_path, capsys, name, content):
    run = copy(cut_digits, tmp_path)
    (run / name).write_text(content)
    assert main(["resume", str(run), "-q"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("nasreg: error: ")
    assert f"{run / name} is" in error


def test_an_edited_option_of_the_execution_is_a_change_like_any_other(cut_digits, tmp_path, capsys):
    run = copy(cut_digits, tmp_path)
    text = (run / "run.yaml").read_text()
    (run / "run.yaml").write_text(text.replace("accumulate: 1", "accumulate: 2"))
    assert main(["resume", str(run), "-q"]) == 0
    assert "resumed with trainer.accumulate=2 (was 1)" in capsys.readouterr().err
    assert RunDirectory(run).status["changes"] == [{"trainer.accumulate": [1, 2]}]


# -- signals -------------------------------------------------------------------------------------------------------


def use_start_method(monkeypatch, method: str) -> None:
    """Start processes in one way, for the time of a test."""
    default = multiprocessing.context._default_context
    monkeypatch.setattr(default, "_actual_context", multiprocessing.get_context(method))


@pytest.mark.parametrize(
    ("method", "number"),
    [
        ("fork", signal.SIGTERM),
        ("fork", signal.SIGINT),
        ("fork", signal.SIGHUP),
        pytest.param("forkserver", signal.SIGTERM, marks=pytest.mark.slow),  # the default of Python 3.14
    ],
)
def test_a_signal_to_the_whole_job_ends_it_in_order(tmp_path, monkeypatch, capfd, method, number):  # allennlp#5378
    """Loader processes do not die of it and say nothing; there is a checkpoint, and no process is left."""
    use_start_method(monkeypatch, method)
    loaders: list[int] = []
    if signal.getsignal(number) is signal.SIG_IGN:  # SIGHUP under nohup
        signal.signal(number, signal.SIG_DFL)

    def send(event) -> None:
        if isinstance(event, StepEnded) and (event.epoch, event.step) == (1, 1):
            loaders.extend(child.pid for child in multiprocessing.active_children())
            # by another process, since that of their parent ends them
            subprocess.run(["kill", f"-{number.value}", *map(str, loaders), str(os.getpid())], check=True)

    with pytest.raises(InterruptedRunError, match=r"interrupted in epoch \d after step \d; resume with: nasreg resume"):
        search(tmp_path / "run", epochs=2, dataset_options={"workers": 1, "in_memory": "no"}, callbacks=[send])
    assert len(loaders) == 2  # of the splits train and arch
    assert multiprocessing.active_children() == []
    status = RunDirectory(tmp_path / "run").status
    assert status["state"] == "interrupted"
    assert (tmp_path / "run/checkpoint.pt").exists()
    assert capfd.readouterr().err == "\nfinishing this step to save a checkpoint; press again to stop at once\n"


def test_a_loader_process_that_dies_is_a_line(tmp_path):  # allennlp#5378
    def kill(event) -> None:
        if isinstance(event, StepEnded):
            for child in multiprocessing.active_children():
                child.kill()
                child.join()

    with pytest.raises(TrainingError, match=r"a process that loads images died \(.*\): .* Resume with: nasreg resume"):
        search(tmp_path / "run", epochs=9, dataset_options={"workers": 1, "in_memory": "no"}, callbacks=[kill])
    assert RunDirectory(tmp_path / "run").status["state"] == "failed"


def test_a_loader_process_still_ends_by_its_parent(tmp_path):
    def terminate(event) -> None:
        if isinstance(event, StepEnded):
            for child in multiprocessing.active_children():
                child.terminate()
                child.join(20)
                assert child.exitcode == 1

    with pytest.raises(TrainingError, match="a process that loads images died"):
        search(None, epochs=9, dataset_options={"workers": 1, "in_memory": "no"}, callbacks=[terminate])


def test_only_a_second_ctrl_c_ends_a_step():
    """``timeout`` and some schedulers send SIGTERM twice."""
    with Interruption() as interruption:
        signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGTERM)
        assert interruption.wanted
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)


def test_a_signal_before_and_after_the_training_is_an_interruption(tmp_path):
    """SIGTERM would end the process without a word; here it leaves a state behind."""

    def end(event) -> None:
        if isinstance(event, RunEnded):
            signal.raise_signal(signal.SIGTERM)

    with pytest.raises(KeyboardInterrupt):
        search(tmp_path / "run", callbacks=[end])
    assert RunDirectory(tmp_path / "run").status["state"] == "interrupted"
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


def test_nohup_and_handlers_of_the_user_stay():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with ending_in_order(), Interruption() as interruption:
            signal.raise_signal(signal.SIGHUP)
            assert not interruption.wanted
    finally:
        signal.signal(signal.SIGHUP, before)


# -- outputs that nobody reads or that are full ----------------------------------------------------------------------

RUN = ("run", "random", "--space", "tiny:Own", "--set", "dataset.limit=64", "--set", "trainer.max_trials=1")
RUN = (*RUN, "--set", "evaluator.epochs=1", "--device", "cpu", "--out")


def printing_to(target: str, numbers: tuple[int, ...], *argv: object) -> forked.Done:
    """Run a command whose files of these numbers are a full disk, or a pipe that nobody reads."""

    def run() -> int:
        if target == "pipe":
            read, write = os.pipe()
            os.close(read)
        else:
            write = os.open("/dev/full", os.O_WRONLY)
        for number in numbers:
            os.dup2(write, number)
        return main(list(map(str, argv)))

    return forked.call(run)


@pytest.mark.parametrize(
    ("target", "numbers", "options"),
    [
        ("pipe", (1,), ()),
        ("pipe", (1, 2), ("--json",)),
        ("/dev/full", (1,), ()),
        ("/dev/full", (1, 2), ("--quiet",)),
    ],
)
def test_a_run_outlasts_its_output(tmp_path, target, numbers, options):
    done = printing_to(target, numbers, *RUN, tmp_path / "run", *options)
    assert RunDirectory(tmp_path / "run").status["state"] == "done"
    if numbers == (1,):
        assert done.code == 0, done.err
        full = "nasreg: warning: cannot write to stdout: No space left on device: the run continues without this output"
        assert (full in done.err) == (target != "pipe")
        assert done.err.count("warning: cannot") <= 1


LOOK_UPS = [("list", "algorithms"), ("describe", "darts", "--json"), ("plugins",), ("--help",), ("--version",)]


@pytest.mark.parametrize("argv", LOOK_UPS, ids=" ".join)
def test_a_result_that_cannot_be_printed(argv):
    """Nobody reads it: fine. The disk is full: one line, and the exit code says it."""
    assert printing_to("pipe", (1,), *argv) == (0, "", "")
    assert printing_to("pipe", (1, 2), *argv).code == 0
    full = printing_to("/dev/full", (1,), *argv)
    assert full == (1, "", "nasreg: error: cannot write to stdout: No space left on device\n")
    assert printing_to("/dev/full", (1, 2), *argv).code == 1


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&- >&- 2>&-"])
def test_outputs_that_are_closed(tmp_path, closed):
    """Python has no sys.stdout then, and the next file that is opened would get its number."""
    done = subprocess.run(
        ["bash", "-c", f"{sys.executable} -m nasreg list spaces '[cd]*' -q {closed}"],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        env={**os.environ, "NASREG_DISABLE": "not-here"},
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == ("" if ">&-" in closed.split() else "chain\ndarts\n")


def test_data_that_cannot_be_sent_to_loader_processes(monkeypatch):
    """As with the start method of Python 3.14, and of macOS and Windows."""
    use_start_method(monkeypatch, "spawn")
    data = Meanwhile(lambda: None)
    data.local = lambda: None
    with pytest.raises(DataError, match=r"cannot be sent to loader processes \(.*\): .* or set dataset.workers=0"):
        search(None, data=data, dataset_options={"workers": 1})
