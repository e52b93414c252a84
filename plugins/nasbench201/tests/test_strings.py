"""Published strings, keys, and which architectures compute the same."""

from __future__ import annotations

import json
import random

import pytest
import torch

import nasreg
from nasreg.cli import main
from nasreg.config.lookup import find_space
from nasreg.errors import ArchitectureError
from nasreg.networks.references import describe_space
from nasreg.registry import default_registry
from nasreg.specs import DataInfo
from nasreg_nasbench201.strings import (
    EXAMPLE,
    all_keys,
    architecture_key,
    format_string,
    isomorphism_classes,
    key_decision,
    key_string,
    parse_string,
    unique_string,
)

INFO = DataInfo(channels=1, height=8, width=8, classes=("a", "b"))
SMALL = {"cells": 1, "channels": 2}


@pytest.fixture(scope="module")
def space():
    return describe_space(find_space(default_registry(), "nasbench201"), {})


def test_strings_keys_and_architectures_are_the_same_15625_things(space):
    keys = all_keys()
    assert len(keys) == len(set(keys)) == space.size() == 15_625
    for key in random.Random(0).sample(keys, 500):
        text = key_string(key)
        architecture = space.architecture(parse_string(space, text))
        assert format_string(space, architecture) == text
        assert architecture_key(architecture) == key
        assert architecture.decisions["cell"] == key_decision(key)
    sampled = {architecture_key(space.sample(random.Random(seed))) for seed in range(300)}
    assert len(sampled) > 290


def test_the_order_of_edges_does_not_matter(space):
    nodes = ((("none", 0),), (("skip_connect", 1), ("none", 0)), (("none", 2), ("nor_conv_1x1", 0), ("none", 1)))
    architecture = space.architecture({"cell": nodes})
    assert format_string(space, architecture) == "|none~0|+|none~0|skip_connect~1|+|nor_conv_1x1~0|none~1|none~2|"
    assert architecture_key(architecture) == "001200"
    swapped = "|none~0|+|skip_connect~1|none~0|+|none~2|nor_conv_1x1~0|none~1|"
    assert space.architecture(parse_string(space, swapped)) == space.canonical(architecture)


def test_an_architecture_by_its_string_in_every_command(tmp_path, capsys):
    quick = ["--set", "space.cells=1", "--set", "space.channels=2", "--device", "cpu"]
    assert main(["show", EXAMPLE]) == 0
    assert capsys.readouterr().out.endswith(f"\n{EXAMPLE}\n")
    assert main(["show", EXAMPLE, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["genotype"] == EXAMPLE
    (tmp_path / "a.txt").write_text(f"{EXAMPLE}\n")
    assert main(["profile", str(tmp_path / "a.txt"), *quick, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["parameters"] > 1_000
    training = ["--set", "trainer.epochs=1", "--set", "dataset.limit=64", "--set", "trainer.batch_size=32"]
    assert main(["retrain", EXAMPLE, *quick, *training, "--out", str(tmp_path / "run"), "-q"]) == 0
    assert (tmp_path / "run/genotype.txt").read_text() == f"{EXAMPLE}\n"
    assert main(["evaluate", str(tmp_path / "run"), "-q"]) == 0


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("|none~0|", "the string has 1 nodes instead of 3"),
        (
            "|none~0|+|none~0|none~1|+|none~0|none~1|none~2",
            r"node 3 of the string, .* does not begin and end with '\|'",
        ),
        ("|none~0|+|none~0|none|+|none~0|none~1|none~2|", r"node 2 .* has 'none', which is not OPERATION~SOURCE"),
        ("|none~0|+|none~0|none~0|+|none~0|none~1|none~2|", r"node 2 .* does not have one edge from each of ~0, ~1"),
        ("|none~0|+|none~0|none~1|+|none~0|none~1|none~3|", r"node 3 .* one edge from each of ~0, ~1, ~2"),
        ("|nor_conv~0|+|none~0|none~1|+|none~0|none~1|none~2|", r"the unknown operation 'nor_conv'\. Did you mean"),
        ("||+||+||", r"node 1 .* has '', which is not OPERATION~SOURCE"),
        ("|" * 30_000, "longer than"),
    ],
)
def test_a_malformed_string_is_one_line(text, says, capsys):
    with pytest.raises(ArchitectureError, match=says) as caught:
        nasreg.find_architecture(text)
    assert "\n" not in str(caught.value)
    assert "expected a text such as |nor_conv_3x3~0|" in str(caught.value)
    assert main(["show", text]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_malformed_keys():
    for key in ("", "12345", "0123456", "012345", "abcdef"):
        with pytest.raises(ValueError, match="is not six digits from 0 to 4"):
            key_decision(key)


def test_architectures_of_one_class_compute_the_same():
    classes = isomorphism_classes()
    assert len(set(classes.values())) == 6466
    torch.manual_seed(0)
    x = torch.randn(2, 1, 8, 8, dtype=torch.float64)
    rng = random.Random(1)
    by_class: dict[str, list[str]] = {}
    for key, first in classes.items():
        by_class.setdefault(first, []).append(key)
    several = [keys for keys in by_class.values() if len(keys) > 1 and unique_string(keys[0]) != "#"]
    for keys in rng.sample(several, 4):
        one, other = rng.sample(keys, 2)
        outputs = [outputs_of(key, x) for key in (one, other)]
        torch.testing.assert_close(*outputs, msg=f"{one} {other}")


def outputs_of(key, x):
    """Compute the network of a key with weights that depend on the shape of each convolution only."""
    network = nasreg.build_network(key_string(key), INFO, SMALL).double().eval()
    for module in network.modules():
        if isinstance(module, torch.nn.Conv2d | torch.nn.Linear):
            generator = torch.Generator().manual_seed(sum(module.weight.shape))
            module.weight.data.copy_(torch.randn(module.weight.shape, generator=generator, dtype=torch.float64))
    network.classifier.bias.data.zero_()
    return network(x)
