"""Values that YAML or pydantic would take for another number than the one that was meant."""

from __future__ import annotations

import pytest

from nasreg.cli import main
from nasreg.config.request import RunRequest
from nasreg.config.resolve import resolve
from nasreg.errors import ConfigError
from nasreg.registry import default_registry


@pytest.mark.parametrize(
    "setting",
    ["trainer.batch_size=yes", "trainer.epochs=true", "trainer.lr=on", "dataset.limit=no", "dataset.test_fraction=off"],
)
def test_truth_values_are_no_numbers(setting):
    option, _, word = setting.partition("=")
    meant = str(word in ("yes", "true", "on")).lower()
    with pytest.raises(ConfigError, match=rf"^{option}: {meant} is invalid \(from --set\): should be a number$"):
        resolve(default_registry(), RunRequest(algorithm="darts", settings=[setting]))
    section, name = option.split(".")
    with pytest.raises(ConfigError, match=rf"^{option}: {meant} is invalid \(from the arguments\)"):
        resolve(default_registry(), RunRequest(algorithm="darts", options={section: {name: meant == "true"}}))


def test_options_that_are_truth_values_take_them():
    run = resolve(default_registry(), RunRequest(algorithm="darts", settings=["dataset.flip=yes", "seed=010"]))
    assert (run.dataset_config.flip, run.spec.seed) == (True, 10)


@pytest.mark.parametrize("seeds", ["-1", "0,4294967296"])
def test_seeds_out_of_range_are_refused_before_anything_is_written(tmp_path, capsys, seeds):
    argv = ["retrain", "DARTS_V2", "--set", "space.cells=3", "--set", "space.channels=4", f"--seeds={seeds}"]
    assert main([*argv, "--out", str(tmp_path / "runs")]) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith(f"nasreg: error: seed: {seeds.split(',')[-1]} is invalid: should be ")
    assert not (tmp_path / "runs").exists()
