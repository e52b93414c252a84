"""The texts in which people have genotypes: lines of logs, other programs' forms, numbers of numpy, wrapped lines."""

from __future__ import annotations

import json
import warnings

import pytest

from argv import check_refused
from nasreg.cli import main
from nasreg.errors import ArchitectureError
from nasreg.networks.references import find_architecture
from nasreg.specs import genotype_architecture, parse_genotype

CELL = "[('sep_conv_3x3', 0), ('skip_connect', 1), ('dil_conv_3x3', 0), ('sep_conv_5x5', 2)]"
TEXT = f"Genotype(normal={CELL}, normal_concat=range(2, 4), reduce={CELL}, reduce_concat=range(2, 4))"
BY_NODE = "[[('sep_conv_3x3', 0), ('skip_connect', 1)], [('dil_conv_3x3', 0), ('sep_conv_5x5', 2)]]"


@pytest.mark.parametrize(
    "text",
    [
        TEXT.replace(CELL, BY_NODE),  # pt.darts#1
        f"04/24 03:15:11 PM genotype = {TEXT}",
        f"2019-04-24 03:15:11,123 INFO: {TEXT}\n2019-04-24 03:15:12,001 param size = 3.3MB",
        f"# the best of three\nBEST = genotypes.{TEXT}  # 97.2",
        f"from collections import namedtuple\nGenotype = namedtuple('Genotype', 'normal reduce')\nMINE = {TEXT}\n",
        f"'{TEXT}',".replace("('", '("').replace("',", '",'),
        f"\x1b[32m{TEXT}\x1b[0m",
        TEXT.replace(", ", ",\n    "),
        TEXT.replace("(normal", "(  # the cells\n normal"),
        TEXT.replace("skip_connect", "skip_con\n        nect"),
        TEXT.replace(" 2)", " np.int64(2))").replace(" 1)", " numpy.int32(1))"),
        TEXT.replace(" 2)", " tensor(2, device='cuda:0'))"),
        TEXT.replace("range(2, 4)", "list(range(2, 4))"),
        TEXT.replace("range(2, 4)", "array([2, 3])"),
        TEXT.replace("normal=", "").replace("normal_concat=", "").replace("reduce=", "").replace("reduce_concat=", ""),
        f"genotype = {TEXT}\nepoch 2\ngenotype = {TEXT}",
    ],
)
def test_a_genotype_is_read_however_it_is_written(text, tmp_path):
    assert parse_genotype(text) == parse_genotype(TEXT)
    (tmp_path / "search.log").write_text(text)
    assert find_architecture(tmp_path / "search.log").genotype == text


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (f"A = {TEXT}\nB = {TEXT.replace('dil', 'sep')}", "it has 2 different ones (A, B): give one of them"),
        (f"{TEXT}._replace(normal=[])", "after Genotype(...) stands '._replace(normal=[])'"),
        (TEXT[:-1], "its last bracket is missing"),
        (TEXT.replace("normal=", "reduce="), "its parts must be"),
        (TEXT.replace("0)", "0or 1)"), "is not a genotype"),
        (TEXT.replace("0)", "next(2))"), "'next(2)' is no number, text or list"),
    ],
)
def test_what_cannot_be_read_is_refused_with_the_reason(text, says):
    with warnings.catch_warnings(record=True) as shown:
        warnings.simplefilter("always")
        with pytest.raises(ArchitectureError) as raised:
            parse_genotype(text)
    assert says in str(raised.value)
    assert "\n" not in str(raised.value)
    assert not shown


def test_edges_that_are_grouped_by_node_must_fit_each_node():
    from nasreg.networks.references import describe_space, find_space
    from nasreg.registry import default_registry

    space = describe_space(find_space(default_registry(), "darts"), {"nodes": 2})
    right = genotype_architecture(space, TEXT)
    assert genotype_architecture(space, TEXT.replace(CELL, BY_NODE)) == right
    shifted = "[[('sep_conv_3x3', 0)], [('skip_connect', 1), ('dil_conv_3x3', 0), ('sep_conv_5x5', 2)]]"
    with pytest.raises(ArchitectureError, match=r"the nodes of cell 'normal' have 1, 3 edges, .* keeps 2, 2"):
        genotype_architecture(space, TEXT.replace(CELL, shifted))


def test_options_are_used_when_a_genotype_is_resolved(tmp_path, capsys):
    cell = "[('sep_conv_3x3', 0), ('skip_connect', 1), ('dil_conv_3x3', 2)]"
    text = f"Genotype(normal={cell}, normal_concat=range(2, 5), reduce={cell}, reduce_concat=range(2, 5))"
    (tmp_path / "genotype.txt").write_text(text)
    argv = ["--set", "space.edges_kept=1", "--set", "space.nodes=3"]
    assert main(["retrain", str(tmp_path / "genotype.txt"), "--dry-run", "--json", *argv]) == 0
    decisions = json.loads(capsys.readouterr().out)["architecture"]["decisions"]
    assert decisions["normal"] == [[["sep_conv_3x3", 0]], [["skip_connect", 1]], [["dil_conv_3x3", 2]]]


@pytest.mark.parametrize("name", ["last.safetensors", "model.pt", "net.onnx"])
def test_weights_are_no_architecture(name, tmp_path, capsys):
    (tmp_path / name).write_bytes(b"\x80\x00weights")
    for command in ("retrain", "show", "profile", "export"):
        check_refused([command, str(tmp_path / name)], "has the weights of a network, not an architecture", capsys)
