"""``nasreg export``: each kind of file, read as whoever gets it reads it, computes what the network does."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import onnxruntime
import pytest
import safetensors.torch
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

import nasreg
from nasreg.cli import main
from nasreg.errors import ConfigError, ExportError, NasregError, WeightsError
from nasreg.networks.export import default_path, example_images, export_network
from nasreg.networks.inputs import InputSpec
from nasreg.networks.references import find_architecture
from nasreg.networks.weights import load_network, load_weights, network_manifest
from sources import GENOTYPE, SMALL, SMALL_WORDS, chain_architecture, info, trained
from words import check_refused

FORMATS = ["pt2", "onnx", "safetensors"]
SHAPE_WORDS = ("--image", "3x16x16", "--classes", "5")


def read(path: Path):
    """Return what computes the file's network: images to a list of outputs."""
    if path.suffix == ".onnx":
        session = onnxruntime.InferenceSession(path)
        return lambda images: [torch.from_numpy(each) for each in session.run(None, {"images": images.numpy()})]
    if path.suffix == ".pt2":
        network = torch.export.load(path).module()
    else:
        network = load_network(path.with_name(f"{path.name}.json")).eval()

    def run(images: Tensor) -> list[Tensor]:
        with torch.no_grad():
            output = network(images)
        return [output] if isinstance(output, Tensor) else list(output)

    return run


def check_same(path: Path, network: nn.Module) -> None:
    run = read(path)
    for size in (1, 2, 3, 9):
        images = torch.randn(size, 3, 16, 16)
        with torch.no_grad():
            expected = network(images)
        for ours, theirs in zip([expected] if isinstance(expected, Tensor) else expected, run(images), strict=True):
            torch.testing.assert_close(theirs, ours, rtol=1e-4, atol=1e-4)


@pytest.fixture(scope="module")
def chain(tmp_path_factory) -> Path:
    return chain_architecture(tmp_path_factory.mktemp("chain"))


@pytest.mark.slow
@pytest.mark.parametrize("format_", FORMATS)
@pytest.mark.parametrize("kind", ["auxiliary", "features", "chain"])
def test_a_file_computes_what_the_network_does(tmp_path, chain, kind, format_):
    options = {"blocks": 2, "channels": 4}
    if kind != "chain":
        options = {**SMALL, "auxiliary": kind == "auxiliary", "features_only": kind == "features"}
    source, space = (chain, "chain") if kind == "chain" else (GENOTYPE, "darts")
    network = trained(source, space, **options)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    data = InputSpec(info=info(), mean=(0.1, 0.2, 0.3), std=(1, 1, 1))
    manifest = network_manifest(find_architecture(source, space=space), data, options)
    path = tmp_path / f"network.{format_}"
    for example in (example_images(info()), example_images(info())[:1])[kind != "chain" :]:
        report = export_network(network, example, path, manifest=manifest)
        assert report.files[0] == path
        assert report.absolute <= 1e-4
        assert report.relative <= 1e-4
        assert 1 in report.batch_sizes
        assert len(report.batch_sizes) >= 2
        check_same(path, network)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    beside = [path, tmp_path / "network.safetensors.json"] if format_ == "safetensors" else [path]
    assert sorted(tmp_path.iterdir()) == sorted(beside)


@pytest.mark.slow
@pytest.mark.parametrize("format_", FORMATS)
def test_the_command_takes_weights_and_says_how_near_it_is(tmp_path, monkeypatch, capsys, format_):
    network = trained("DARTS_V2", **SMALL)
    weights = tmp_path / "best.safetensors"
    safetensors.torch.save_file(network.state_dict(), weights, {"epoch": "600"})
    monkeypatch.chdir(tmp_path)
    assert main(["export", "DARTS_V2", *SMALL_WORDS, *SHAPE_WORDS, "--format", format_, "--weights", str(weights)]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert out.startswith(f"weights of {weights}\nwrote DARTS_V2.{format_}\n")
    assert out.splitlines()[-1].startswith("largest difference to torch: ")
    check_same(tmp_path / f"DARTS_V2.{format_}", network)


@pytest.mark.parametrize("name", ["profile", "export"])
def test_help_imports_no_torch(name):
    code = (
        "import sys; from nasreg.cli import main; code = main(sys.argv[1:]);"
        "print([name for name in ('torch', 'onnx', 'safetensors') if name in sys.modules], code, file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code, name, "--help"], capture_output=True, text=True, check=True)
    assert done.stderr == "[] 0\n"


def test_new_weights_are_said_to_be_new(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["export", "DARTS_V2", *SMALL_WORDS, *SHAPE_WORDS, "-o", "new.safetensors"]) == 0
    warning = "nasreg: warning: the network has new weights: give trained ones with --weights\n"
    assert capsys.readouterr().err == warning
    assert sorted(path.name for path in tmp_path.iterdir()) == ["new.safetensors", "new.safetensors.json"]


@pytest.mark.slow
def test_a_retraining_is_exported_with_its_weights(tmp_path, monkeypatch, capsys, retrained):
    monkeypatch.chdir(tmp_path)
    assert main(["export", str(retrained.path), "-o", "network.safetensors", "--json"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    report = json.loads(out)
    assert report["weights"] == str(retrained.path / "last.safetensors")
    assert report["files"] == ["network.safetensors", "network.safetensors.json"]
    images = torch.randn(2, 1, 8, 8)
    expected = load_network(retrained.path / "last.safetensors")(images)
    for name in report["files"]:  # either names the network
        assert torch.equal(load_network(name)(images), expected)


def test_a_run_says_what_the_images_are(tmp_path, monkeypatch, capsys, run_dir):
    monkeypatch.chdir(tmp_path)
    assert main(["export", str(run_dir), "--format", "safetensors"]) == 0
    assert "wrote run.safetensors.json" in capsys.readouterr().out
    saved = json.loads((tmp_path / "run.safetensors.json").read_text())
    data = json.loads((run_dir / "data.json").read_text())
    assert saved["data"]["info"]["classes"] == data["classes"]
    assert (saved["data"]["mean"], saved["data"]["std"]) == (data["mean"], data["std"])
    assert saved["options"]["phase"] == "retrain"
    assert load_network(tmp_path / "run.safetensors.json")(torch.randn(2, 1, 8, 8)).shape == (2, 10)
    assert saved["space"] == "nasreg/darts"
    load_network(tmp_path / "run.safetensors.json", space="darts")  # the short name of the same


def test_default_names(chain, run_dir):
    assert default_path(find_architecture("PDARTS")) == Path("PDARTS.pt2")
    assert default_path(find_architecture(chain, space="chain"), "onnx") == Path("chain.onnx")
    assert default_path(find_architecture(run_dir / "architecture.json")) == Path("run.pt2")
    assert default_path(find_architecture((run_dir / "genotype.txt").read_text())) == Path("the-genotype.pt2")


# -- weights -------------------------------------------------------------------------------------------------------


def test_weights_of_another_network_are_refused_and_change_nothing(tmp_path):
    network, other = trained("DARTS_V2", **SMALL), trained("PDARTS", **{**SMALL, "channels": 6})
    before = {name: value.clone() for name, value in network.state_dict().items()}
    safetensors.torch.save_file(other.state_dict(), tmp_path / "other.safetensors")
    with pytest.raises(WeightsError) as raised:
        load_weights(network, tmp_path / "other.safetensors")
    missing = len(before.keys() - other.state_dict().keys())
    unknown = len(other.state_dict().keys() - before.keys())
    assert f"{missing} are missing: " in str(raised.value)
    assert f"{unknown} are unknown: " in str(raised.value)
    assert "stem0.0.weight (float32 18x3x3x3 instead of float32 12x3x3x3)" in str(raised.value)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


@pytest.mark.parametrize("change", [Tensor.half, Tensor.flatten])
def test_weights_of_another_type_or_shape_are_refused(tmp_path, change):
    network = trained("DARTS_V2", **SMALL)
    tensors = {**network.state_dict(), "classifier.weight": change(network.state_dict()["classifier.weight"])}
    safetensors.torch.save_file(tensors, tmp_path / "other.safetensors")
    with pytest.raises(WeightsError, match=r"1 are of another shape or type: classifier\.weight"):
        load_weights(network, tmp_path / "other.safetensors")


@given(st.binary(max_size=60) | st.binary(max_size=30).map(lambda text: len(text).to_bytes(8, "little") + text))
def test_any_bytes_for_weights_are_refused_in_one_line(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("bytes") / "weights.safetensors"
    path.write_bytes(data)
    with pytest.raises(WeightsError) as raised:
        load_weights(nn.Linear(2, 2), path)
    assert "\n" not in str(raised.value)


def test_weights_that_are_no_numbers_are_not_exported(tmp_path):
    network = trained("DARTS_V2", **SMALL)
    nn.init.constant_(network.classifier.bias, float("nan"))
    (tmp_path / "network.pt2").write_text("mine")
    with pytest.raises(ExportError, match="not finite"):
        export_network(network, example_images(info()), tmp_path / "network.pt2")
    assert [path.read_text() for path in tmp_path.iterdir()] == ["mine"]


# -- networks that cannot be exported ------------------------------------------------------------------------------


class Random(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.mean((2, 3)) * torch.rand(())


class Branching(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.mean((2, 3)) if x.sum() > 0 else x.amax((2, 3))


@pytest.mark.parametrize("format_", ["pt2", "onnx"])
@pytest.mark.parametrize(
    ("network", "says"), [(Random(), "computes something else"), (Branching(), "cannot be exported")]
)
def test_what_cannot_be_exported_is_one_line_and_no_file(tmp_path, network, says, format_):
    with pytest.raises(ExportError, match=says) as raised:
        export_network(network, example_images(info()), tmp_path / f"network.{format_}")
    assert "\n" not in str(raised.value)
    assert raised.value.exit_code == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("package", ["onnx", "onnxruntime", "onnxscript"])
def test_onnx_without_its_packages(tmp_path, monkeypatch, package):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ConfigError, match=r'pip install "nasreg\[onnx\]"'):
        export_network(Random(), example_images(info()), tmp_path / "network.onnx")


def test_safetensors_need_the_manifest_of_their_network(tmp_path):
    network = trained("DARTS_V2", **SMALL)
    path = tmp_path / "network.safetensors"
    with pytest.raises(ConfigError, match="give the manifest of the network"):
        export_network(network, example_images(info()), path)
    other = network_manifest(find_architecture("PDARTS"), InputSpec(info=info()), SMALL)
    with pytest.raises(WeightsError, match="of another network"):
        export_network(network, example_images(info()), path, manifest=other)
    assert list(tmp_path.iterdir()) == []


# -- reading what somebody sent ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def saved(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("saved") / "network.safetensors"
    manifest = network_manifest(find_architecture("DARTS_V2"), InputSpec(info=info()), SMALL)
    export_network(trained("DARTS_V2", **SMALL), example_images(info()), path, manifest=manifest)
    return path.with_name("network.safetensors.json")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"weights": "../network.safetensors"}, "weights: "),
        ({"weights": "none.safetensors"}, "cannot read weights"),
        ({"weights": None}, "does not say where the weights are"),
        ({"space": "os:system"}, "if you trust the file, name the space, too"),
        ({"space": "dats"}, "Did you mean 'darts'"),
        ({"options": {"cells": 4, "channels": 4}}, "of another network"),
        ({"options": {"cels": 4}}, "space.cels"),
        ({"genotype": None}, "either an architecture or a genotype"),
        ({"genotype": "Genotype(1)"}, "not a genotype"),
        ({"data": {}}, "data.info is missing"),
        ({"format": 1}, "format: 1 is invalid"),
        ({"more": 1}, "there is no option 'more'"),
    ],
)
def test_a_changed_manifest_is_refused(tmp_path, saved, change, says):
    (tmp_path / "network.safetensors").write_bytes(saved.with_suffix("").read_bytes())
    path = tmp_path / "changed.json"
    path.write_text(json.dumps({**json.loads(saved.read_text()), **change}))
    with pytest.raises(NasregError) as raised:
        load_network(path)
    assert says in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("text", ["", "[]", "null", "[" * 100_000, '{"format": 2', "\0", '"x"'])
def test_any_other_text_is_no_manifest(tmp_path, text):
    (tmp_path / "network.json").write_text(text)
    with pytest.raises(ConfigError):
        load_network(tmp_path / "network.json")
    with pytest.raises(ConfigError, match="cannot read"):
        load_network(tmp_path / "none.json")


def test_a_space_of_ones_own_is_loaded_where_it_is_named(tmp_path):
    space = nasreg.extract_space(__import__("tiny").Own(info()))
    architecture = space.architecture({space.choices[0].key: "1"})
    source = find_architecture(architecture, space="tiny:Own")
    network = nasreg.build_network(source, info(), {"width": 3})
    path = tmp_path / "own.safetensors"
    manifest = network_manifest(source, InputSpec(info=info()), {"width": 3})
    export_network(network, example_images(info()), path, manifest=manifest)
    with pytest.raises(ConfigError, match="--space tiny:Own, from Python space='tiny:Own'"):
        load_network(tmp_path / "own.safetensors.json")
    again = load_network(tmp_path / "own.safetensors.json", space="tiny:Own")
    images = example_images(info())
    assert torch.equal(again(images), network(images))
    with pytest.raises(ConfigError, match="is of the search space 'tiny:Own', not of 'darts'"):
        load_network(tmp_path / "own.safetensors.json", space="darts")


BAD = [
    (["export"], "argument"),
    (["export", "PDART"], "Did you mean 'PDARTS'"),
    (["export", "PDARTS", "--format", "onix"], "onix"),
    (["export", "PDARTS", "-o", "network.pth"], "there is no format 'pth'. Did you mean 'pt2'"),
    (["export", "PDARTS", "-o", "network.zip"], "there is no format 'zip'. There are: onnx, pt2, safetensors"),
    (["export", "PDARTS", "-o", "network"], "says no format"),
    (["export", "PDARTS", "-o", "network.onnx", "--format", "pt2"], "format pt2 goes into a file with the suffix .pt2"),
    (["export", "PDARTS", "-o", "no/such/network.pt2"], "there is no folder no/such"),
    (["export", "PDARTS", "-o", "x" * 5000 + ".pt2"], "is no name of a file"),
    (["export", "PDARTS", "--image", "3x32"], "expected CHANNELSxHEIGHTxWIDTH"),
    (["export", "PDARTS", "--image", "0x32x32"], "expected CHANNELSxHEIGHTxWIDTH"),
    (["export", "PDARTS", "--image", "\n; rm -rf /"], "expected CHANNELSxHEIGHTxWIDTH"),
    (["export", "PDARTS", "--classes", "-3"], "expected 2 to"),
    (["export", "PDARTS", "--set", "space.cells=0"], "space.cells: 0 is invalid"),
    (["export", "PDARTS", "--set", "mutator.x=1"], "--set mutator has no meaning here"),
    (["export", "PDARTS", "--set", "space.cells"], "expected KEY=VALUE"),
    (["export", "PDARTS", *SMALL_WORDS, "--weights", "none.safetensors"], "cannot read weights none.safetensors"),
    (["export", "PDARTS", *SMALL_WORDS, "--weights", "."], "cannot read weights ."),
]


@pytest.mark.parametrize(
    ("argv", "says"), BAD, ids=lambda value: " ".join(value)[:40] if isinstance(value, list) else value[:20]
)
def test_wrong_usage_is_one_line_and_no_file(tmp_path, monkeypatch, capsys, argv, says):
    monkeypatch.chdir(tmp_path)
    check_refused(argv, says, capsys)
    assert list(tmp_path.iterdir()) == []
