"""Files in run directories: each knows its run, damage names the way out, and options fit the search."""

from __future__ import annotations

import shlex
import shutil

import pytest

import nasreg
from argv import check_refused
from nasreg.cli import main
from nasreg.errors import ArchitectureError, CheckpointError, NasregError
from nasreg.networks.references import find_architecture
from nasreg.runs import files
from nasreg.runs.directory import RunDirectory


@pytest.fixture
def run(run_dir, tmp_path):
    """A copy of a finished search, in a folder whose name has a space."""
    return shutil.copytree(run_dir, tmp_path / "my runs")


@pytest.mark.parametrize("name", ["architectures/epoch-0001.json", "genotype.txt", "architecture.json", "."])
def test_every_file_of_a_run_knows_its_space(name, run_dir, capsys):
    assert find_architecture(run_dir / name).run.path == run_dir
    assert main(["show", str(run_dir / name)]) == 0
    assert "normal cell" in capsys.readouterr().out


def test_the_architecture_of_a_trial_knows_its_space(tmp_path):
    argv = ["--set", "trainer.max_trials=1", "--set", "evaluator.epochs=1", "--set", "dataset.limit=60"]
    argv += ["--space", "chain", "--set", "space.blocks=1", "--set", "space.channels=2", "--device", "cpu", "-q"]
    assert main(["run", "random", *argv, "--out", str(tmp_path / "run")]) == 0
    trial = tmp_path / "run" / files.trial_directory(1) / files.ARCHITECTURE
    assert find_architecture(trial).options["blocks"] == 1


def test_an_option_that_does_not_apply_is_refused(run_dir, tmp_path, capsys):
    for name in ("genotype.txt", "architectures/epoch-0001.json"):
        check_refused(["show", str(run_dir / name), "--space", "no:Net"], "--space is for an architecture in", capsys)
        check_refused(["show", str(run_dir / name), "--set", "space.nodes=3"], "--set is for --network only", capsys)
    shutil.copy(run_dir / "architecture.json", tmp_path / "lone.json")
    argv = ["show", str(tmp_path / "lone.json"), "--space", "darts"]
    check_refused(argv, "the cell has 4 nodes, the decision 2", capsys)
    options = ["--set", "space.nodes=2", "--set", "space.candidates=[none, skip_connect, sep_conv_3x3]"]
    assert main([*argv, *options]) == 0


# katib#1185
@pytest.mark.parametrize(
    ("command", "options", "needed"),
    [
        ("retrain", ["space.nodes=3"], "--set space.nodes=2"),
        ("export", ["space.cells=1"], "--set space.cells=2"),
        ("profile", ["space.nodes=3", "space.edges_kept=1"], "--set space.nodes=2 --set space.edges_kept=2"),
        ("show", ["space.candidates=[none]"], "--set 'space.candidates=[none, skip_connect, sep_conv_3x3]'"),
        ("profile", ["space.candidates=[max_pool_3x3]", "space.channels=3"], "'space.candidates=[none, skip_connect, "),
    ],
)
def test_an_architecture_that_needs_options_of_its_search_says_which(command, options, needed, run_dir, capsys):
    settings = [part for option in options for part in ("--set", option.replace("[none]", "[none, max_pool_3x3]"))]
    more = ["--network"] if command == "show" else []
    check_refused([command, str(run_dir), *settings, *more], needed, capsys)


def test_an_architecture_of_another_space_is_given_no_advice(run, capsys):
    text = (run / files.ARCHITECTURE).read_text().replace("sep_conv_3x3", "other").replace("skip_connect", "other")
    (run / files.ARCHITECTURE).write_text(text)
    assert main(["retrain", str(run)]) == 2
    assert "so give" not in capsys.readouterr().err


def test_a_damaged_architecture_is_written_again(run, capsys):
    whole = (run / files.ARCHITECTURE).read_text()
    (run / files.ARCHITECTURE).write_text("{")
    assert main(["profile", str(run)]) == 2
    error = capsys.readouterr().err.strip()
    command = shlex.split(error[error.index("nasreg resume") :])
    assert command == ["nasreg", "resume", str(run)]
    assert main([*command[1:], "-q"]) == 0
    assert (run / files.ARCHITECTURE).read_text() == whole


def test_a_damaged_line_of_metrics_leaves_the_page_and_names_what_still_works(run, capsys):
    (run / files.REPORT).write_text("good")
    with (run / files.METRICS).open("a") as file:
        file.write("{damaged\n")
    assert main(["show", str(run)]) == 2
    error = capsys.readouterr().err.strip()
    assert (run / files.REPORT).read_text() == "good"
    assert "Remove that line" in error
    assert main(shlex.split(error[error.index("nasreg show") :])[1:]) == 0


def test_checkpoints_that_cannot_be_read_name_the_way_out(run):
    for name in (files.CHECKPOINT, files.PREVIOUS_CHECKPOINT):
        (run / name).write_bytes(b"damaged")
    RunDirectory(run).set_status("interrupted")
    with pytest.raises(CheckpointError) as raised:
        nasreg.resume(run)
    error = str(raised.value)
    assert "using the previous one" not in error
    assert "resume again: rm " in error
    assert f"; the architecture after its last epoch is {run / 'architectures' / 'epoch-0003.json'}. To start" in error


@pytest.mark.parametrize("call", [nasreg.retrain, nasreg.resume, nasreg.find_architecture])
def test_an_empty_path_is_not_the_current_directory(call):
    with pytest.raises(NasregError, match="is an empty text"):
        call("")
    with pytest.raises(NasregError, match="is an empty text"):
        nasreg.search("chain", out="")


def test_a_file_that_is_no_genotype_says_so(tmp_path):
    (tmp_path / "notes.txt").write_text("nothing")
    with pytest.raises(ArchitectureError, match="is not one Genotype"):
        find_architecture(tmp_path / "notes.txt")
