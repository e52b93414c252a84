"""Full disks, limits of file sizes and damaged files: what is lost is named, and with it the way out."""

from __future__ import annotations

import errno
import json
import resource
import shutil
from pathlib import Path

import pytest
import torch

import forked
from nasreg.cli import main
from nasreg.errors import StorageError
from nasreg.runs import writing
from nasreg.runs.checkpoint import load_checkpoint, save_checkpoint
from nasreg.runs.trials import TrialFile
from nasreg.runs.writing import LineFile
from tiny_runs import SEARCH

CPU = torch.device("cpu")


def limited(size: int, *argv: object) -> forked.Done:
    """Run a command that may write no file larger than so many bytes."""

    def run() -> int:
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
        code = main(list(map(str, argv)))
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        return code

    return forked.call(run)


def state(run: Path) -> str:
    return json.loads((run / "status.json").read_text())["state"]


@pytest.fixture
def without_pages(monkeypatch):
    """They are drawn for seconds."""
    monkeypatch.setattr("nasreg.engine.execute.write_report", lambda *args, **options: None)
    monkeypatch.setattr("nasreg.report.draw_cells", lambda *args, **options: None)


def copy(searched, tmp_path: Path) -> Path:
    return Path(shutil.copytree(searched.path, tmp_path / "run"))


def only_line(text: str) -> str:
    (line,) = [line for line in text.splitlines() if line.startswith("nasreg: error: ")]
    return line.removeprefix("nasreg: error: ")


def test_a_run_that_cannot_write_has_failed_and_can_be_resumed(searched, tmp_path, without_pages):  # SimpleTuner#2353
    """The message names the file, the reason, what to do and how to resume."""
    run = tmp_path / "run"
    done = limited(40_000, "run", "darts", *SEARCH, "--out", run)
    assert done.code == 1
    assert only_line(done.err) == (
        f"cannot write {run}/checkpoint.pt.new: File too large; the limit of file sizes is too low for it: raise it"
        f" (ulimit -f unlimited); then resume with: nasreg resume {run}"
    )
    assert state(run) == "failed"
    assert not list(run.rglob("*.part"))
    assert main(["resume", str(run), "-q"]) == 0
    assert (run / "architecture.json").read_bytes() == (searched.path / "architecture.json").read_bytes()


class Disk:
    """A disk that holds so many bytes of files in a folder."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.free = 0
        real = writing._RawFile.write

        def write(file, data):
            used = sum(path.stat().st_size for path in folder.iterdir())
            if used + len(data) > self.size:
                file.failed = OSError(errno.ENOSPC, "No space left on device")
                raise file.failed
            return real(file, data)

        self.size = 0
        monkeypatch.setattr(writing._RawFile, "write", write)


def test_a_third_checkpoint_that_does_not_fit_takes_the_place_of_the_oldest(tmp_path, monkeypatch):  # SimpleTuner#2353
    disk = Disk(tmp_path, monkeypatch)
    disk.size = 100_000
    for epoch in range(2):
        save_checkpoint(tmp_path, {"epoch": epoch, "weights": torch.zeros(5000)})
    size = (tmp_path / "checkpoint.pt").stat().st_size
    disk.size = int(2.5 * size)
    save_checkpoint(tmp_path, {"epoch": 2, "weights": torch.zeros(5000)})
    assert load_checkpoint(tmp_path, CPU)[0]["epoch"] == 2
    assert torch.load(tmp_path / "checkpoint.previous.pt", weights_only=True)["epoch"] == 1
    (tmp_path / "checkpoint.pt").write_bytes(b"damaged" * 3000)  # then the older one is the last that is whole
    save_checkpoint(tmp_path, {"epoch": 3, "weights": torch.zeros(5000)})
    assert torch.load(tmp_path / "checkpoint.previous.pt", weights_only=True)["epoch"] == 1
    disk.size = size // 2
    with pytest.raises(StorageError, match="No space left on device; free some space on its disk"):
        save_checkpoint(tmp_path, {"epoch": 4, "weights": torch.zeros(5000)})
    assert load_checkpoint(tmp_path, CPU)[0]["epoch"] == 3
    assert not list(tmp_path.glob(".*"))


def test_a_line_is_written_whole_or_not_at_all(tmp_path):  # SimpleTuner#2353
    """Of a metric or a trial, whatever the file holds already."""
    path = tmp_path / "lines"
    file = LineFile(path)
    file.append(b"first")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (10, limits[1]))
        with pytest.raises(StorageError, match=r"cannot write .*lines: File too large"):
            file.append(b"second")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    file.close()
    assert path.read_bytes() == b"first\n"
    TrialFile(path).close()


@pytest.mark.parametrize("argv", [("show", "-o", "out.svg"), ("show", "-o", "out.png"), ("show",)], ids=" ".join)
def test_a_file_that_does_not_fit_is_named(searched, tmp_path, argv):  # SimpleTuner#2353
    """And what was there before stays."""
    run = copy(searched, tmp_path)
    page = (run / "index.html").read_bytes()
    command, *options = [argv[0], run, *argv[1:]]
    options = [tmp_path / each if str(each).startswith("out.") else each for each in options]
    done = limited(5000, command, *options)
    assert done.code == 1
    wanted = options[-1] if len(argv) > 1 else run / "index.html"
    assert only_line(done.err).startswith(f"cannot write {wanted}: File too large; the limit of file sizes"), done.err
    assert (run / "index.html").read_bytes() == page
    assert not list(tmp_path.glob("*out*"))


# -- damaged files of a run ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("damage", ["rubbish", "half", "empty", "removed", "first epochs"])
def test_a_page_is_kept_where_the_metrics_are_damaged(searched, tmp_path, capsys, damage):
    run = copy(searched, tmp_path)
    page, metrics = (run / "index.html").read_bytes(), run / "metrics.jsonl"
    content = metrics.read_bytes()
    if damage == "removed":
        metrics.unlink()
    else:
        lines = content.splitlines(keepends=True)
        changed = {
            "rubbish": b"\xff\n" + content,
            "half": content[: len(content) // 2],
            "empty": b"",
            "first epochs": b"".join(lines[: len(lines) // 2]),
        }
        metrics.write_bytes(changed[damage])
    assert main(["show", str(run)]) == 2
    assert str(metrics) in only_line(capsys.readouterr().err)
    assert (run / "index.html").read_bytes() == page


@pytest.mark.parametrize("damage", ["", "{", "[]", '{"fingerprint": "x", "decisions": {}}', None])
def test_a_lost_architecture_is_written_again(searched, tmp_path, capsys, without_pages, damage):
    """The checkpoint has it: the message names the command, and that works on a finished run."""
    run = copy(searched, tmp_path)
    path = run / "architecture.json"
    before = path.read_bytes()
    path.unlink() if damage is None else path.write_text(damage)
    assert main(["show", str(run)]) == 2  # with the page that there is
    advice = only_line(capsys.readouterr().err)
    assert damage == '{"fingerprint": "x", "decisions": {}}' or advice.endswith(f": nasreg resume {run}"), advice
    if damage in ("", "[]"):
        return
    assert main(["resume", str(run)]) == 0
    assert "its result is written again" in capsys.readouterr().err
    assert path.read_bytes() == before
    assert main(["resume", str(run)]) == 2
    assert "has finished" in capsys.readouterr().err


def test_a_retraining_writes_its_lost_architecture_again(retrained, tmp_path, without_pages):
    run = copy(retrained, tmp_path)
    path = run / "architecture.json"
    before = path.read_bytes()
    path.write_text("rubbish")
    assert main(["resume", str(run), "-q"]) == 0
    assert path.read_bytes() == before


def test_without_a_whole_checkpoint_the_run_can_start_again(searched, tmp_path, capsys, without_pages):
    """The message promises no older one, and the command in it helps."""
    run = copy(searched, tmp_path)
    before = (run / "architecture.json").read_bytes()
    checkpoints = [run / "checkpoint.previous.pt", run / "checkpoint.pt"]
    for path in checkpoints:
        path.write_bytes(b"PK rubbish")
    (run / "architecture.json").unlink()
    assert main(["resume", str(run), "-q"]) == 1
    said = only_line(capsys.readouterr().err)
    assert "using the previous one" not in said
    assert said.endswith(
        "To start from the beginning, remove them and resume again: rm " + " ".join(map(str, sorted(checkpoints)))
    )
    for path in checkpoints:
        path.unlink()
    assert main(["resume", str(run), "-q"]) == 0
    assert (run / "architecture.json").read_bytes() == before
