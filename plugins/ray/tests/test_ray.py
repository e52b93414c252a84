"""Searches and studies on a real Ray cluster of this machine, whose workers are killed."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import pytest

import nasreg
from evaluators import DESCENT, SCRIPTED, Digits
from interrupting import interrupt_trial, notices
from nasreg.cli import main
from nasreg.errors import InterruptedRunError, UsageError
from nasreg.events import TrialProgress
from nasreg.registry import Registry
from nasreg.testing import toy_images

pytestmark = pytest.mark.usefixtures("without_report")

TRAINED = {
    "evaluator_options": {"epochs": 2, "batch_size": 32},
    "space_options": {"blocks": 1, "channels": 2},
    "dataset_options": {"validation_fraction": 0.25},
    "trainer": {"max_trials": 4},
    "seed": 1,
    "device": "cpu",
    "workers": 2,
}


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    """A cluster of two cores, which the searches of this file share."""
    import ray

    from nasreg_ray.cluster import connect
    from nasreg_ray.config import RayConfig

    assert connect(RayConfig(address="local"), 2)
    yield
    ray.shutdown()


@pytest.fixture(scope="module")
def registry() -> Registry:
    found = Registry()
    found.register(SCRIPTED, DESCENT)
    return found


def records(out: Path) -> list[dict]:
    lines = [json.loads(line) for line in (out / "trials.jsonl").read_text().splitlines()]
    return sorted(({k: v for k, v in line.items() if k != "seconds"} for line in lines), key=lambda line: line["trial"])


def marked(folder: Path, *names: str) -> str:
    folder.mkdir()
    for name in names:
        (folder / name).touch()
    return str(folder)


@pytest.mark.slow
@pytest.mark.usefixtures("cluster")
def test_the_result_is_that_of_one_process_and_lost_workers_repeat_their_trials(tmp_path, registry):
    def search(executor, **options):
        nasreg.search(
            Digits,
            toy_images(),
            "descent",
            registry=registry,
            out=tmp_path / executor,
            executor=executor,
            workers=2,
            trainer={"max_trials": 12},
            evaluator="scripted",
            evaluator_options=options,
            seed=1,
            device="cpu",
            callbacks=[notices(messages)],
        )

    messages: list[str] = []
    search("serial")
    assert messages == []
    search("ray", lose=marked(tmp_path / "lost", "3-once"), die=marked(tmp_path / "died", "5-once"))
    assert records(tmp_path / "ray") == records(tmp_path / "serial")
    [message] = messages
    assert "was lost: what it computed is repeated" in message
    spec = nasreg.RunSpec.from_yaml((tmp_path / "ray/run.yaml").read_text())
    assert (spec.executor.name, spec.executor.options["cpus"]) == ("nasreg-ray/ray", 1)
    assert not list((tmp_path / "ray").glob(".nasreg-ray*"))


@pytest.mark.slow
@pytest.mark.usefixtures("cluster")
def test_ctrl_c_saves_checkpoints_and_the_run_resumes_to_the_same_result(tmp_path):
    arguments = ("chain", toy_images(80), "random")
    nasreg.search(*arguments, out=tmp_path / "whole", executor="serial", **TRAINED)
    out, progress = tmp_path / "run", []
    callbacks = [interrupt_trial(2), lambda event: progress.append(event) if isinstance(event, TrialProgress) else None]
    with pytest.raises(InterruptedRunError, match=r"interrupted after \d of 4 trials; resume with: nasreg resume"):
        nasreg.search(*arguments, out=out, executor="ray", callbacks=callbacks, **TRAINED)
    assert progress, "the progress of trials on the cluster"
    nasreg.search(*arguments, out=out, executor="serial", resume=True, **TRAINED)
    assert records(out) == records(tmp_path / "whole")


@pytest.mark.slow
@pytest.mark.usefixtures("cluster")
def test_the_runs_of_a_study(tmp_path, capsys):
    words = ["compare", "random", "--space", "nasbench201", "--seeds", "3", "--budget", "5", "--quiet"]
    assert main([*words, "--out", str(tmp_path / "here")]) == 0
    options = ["--executor", "ray", "--workers", "2", "--set", "executor.cpus=0.5"]
    assert main([*words, "--out", str(tmp_path / "ray"), *options]) == 0, capsys.readouterr().err
    runs = [folder.relative_to(tmp_path / "here") for folder in sorted((tmp_path / "here/runs").rglob("trials.jsonl"))]
    assert len(runs) == 3
    for run in runs:
        assert records(tmp_path / "ray" / run.parent) == records(tmp_path / "here" / run.parent)


@pytest.mark.slow
@pytest.mark.usefixtures("cluster")
def test_versions_are_compared_before_any_trial(tmp_path, monkeypatch):
    metadata = tmp_path / "nasreg_random-9.9.dist-info/METADATA"
    metadata.parent.mkdir()
    metadata.write_text("Metadata-Version: 2.1\nName: nasreg-random\nVersion: 9.9\n")
    monkeypatch.syspath_prepend(tmp_path)
    expected = r"^executor ray: node \S+ has other versions than this process: nasreg-random \S+ \(here 9.9\); install"
    with pytest.raises(UsageError, match=expected):
        nasreg.search("chain", toy_images(80), "random", out=tmp_path / "run", executor="ray", **TRAINED)
    assert not (tmp_path / "run/trials.jsonl").read_text()


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("executor.address=127.0.0.1:1", "there is no Ray cluster at 127.0.0.1:1 (ConnectionRefusedError"),
        ("executor.address=ray://nowhere.invalid:1", "there is no Ray cluster at ray://nowhere.invalid:1 (gaierror"),
        ("executor.address=somewhere", "'somewhere' is no address of a Ray cluster: expected HOST:PORT"),
        ("executor.cpus=0", "executor.cpus: 0 is invalid"),
        ("executor.resources={tpu: -1}", "executor.resources.tpu: -1 is invalid"),
    ],
)
def test_what_is_wrong_with_the_options_is_said_before_anything_is_written(tmp_path, capsys, setting, message):
    out = tmp_path / "run"
    code = main(["run", "random", "--space", "nasbench201", "--executor", "ray", "--set", setting, "--out", str(out)])
    error = capsys.readouterr().err.strip()
    assert code == 2
    assert message in error
    assert "\n" not in error
    assert not out.exists()


def test_the_code_of_the_user_is_sent_with_what_it_imports_from_its_folder(tmp_path, monkeypatch):
    import pickle

    from nasreg_ray.code import user_code

    folder, unpacked = tmp_path / "mine", tmp_path / "unpacked"
    (folder / "my_parts/deep").mkdir(parents=True)
    (folder / "my_model.py").write_text("from my_parts.deep import layers\n\nclass Net:\n    value = layers.VALUE\n")
    (folder / "my_parts/__init__.py").touch()
    (folder / "my_parts/deep/__init__.py").touch()
    (folder / "my_parts/deep/layers.py").write_text("VALUE = 3\n")
    (folder / "my_parts/unused.py").touch()
    (folder / "elsewhere.py").touch()
    monkeypatch.syspath_prepend(folder)
    import my_model  # type: ignore[import-not-found]

    for refers in (pickle.dumps(my_model.Net), pickle.dumps("my_model:Net")):
        code = user_code([refers])
        with zipfile.ZipFile(BytesIO(code.archive)) as archive:
            names = set(archive.namelist())
            archive.extractall(unpacked)
        packages = {f"my_parts/{name}.py" for name in ("__init__", "unused", "deep/__init__", "deep/layers")}
        assert names == {"my_model.py", *packages}
        assert code.script is None
    script = f"import sys; sys.path.append({str(unpacked)!r}); import my_model; print(my_model.Net.value)"
    command = [sys.executable, "-I", "-c", script]
    assert subprocess.run(command, check=True, capture_output=True, text=True).stdout == "3\n"
    installed = user_code([pickle.dumps("nasreg_random.mutator:RandomMutator")])
    assert zipfile.ZipFile(BytesIO(installed.archive)).namelist() == []
