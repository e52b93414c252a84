"""Search spaces and architectures as data: sampling, sizes, fingerprints, JSON, genotypes."""

from __future__ import annotations

import json
import random
from collections import Counter

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from nasreg.errors import ArchitectureError, NasregError, SpaceError
from nasreg.specs import (
    NONE,
    Architecture,
    CellSpec,
    InputChoiceSpec,
    LayerChoiceSpec,
    RepeatSpec,
    SearchSpaceSpec,
    ValueChoiceSpec,
    genotype_architecture,
    genotype_text,
    json_schema,
)
from space_strategies import choices, every_decision, spaces

OPS = (NONE, "max_pool_3x3", "skip_connect", "sep_conv_3x3")


def darts_cell(key="normal", ops=OPS, **more):
    return CellSpec(key=key, inputs=2, nodes=4, candidates=(ops,) * 14, concat=(2, 3, 4, 5), **more)


def slots_cell(**more):
    fields = {"inputs": 2, "nodes": 2, "candidates": (("a", "b"),) * 10, "concat": (2, 3), "repeat_sources": True}
    return CellSpec(key="slots", **{**fields, **more})


@given(spaces(), st.integers())
def test_sampled_architectures_are_valid_and_survive_json(space, seed):
    architecture = space.sample(random.Random(seed))
    space.validate(architecture)
    assert Architecture.from_json(architecture.to_json()) == architecture
    again = SearchSpaceSpec.from_json(space.to_json())
    assert again == space
    assert again.fingerprint == space.fingerprint
    assert again.sample(random.Random(seed)) == architecture


SPACE_SCHEMA, ARCHITECTURE_SCHEMA = (
    jsonschema.Draft202012Validator(json_schema(what)) for what in ("search-space", "architecture")
)


@given(spaces())
def test_json_fits_the_published_schema(space):
    SPACE_SCHEMA.validate(json.loads(space.to_json()))
    ARCHITECTURE_SCHEMA.validate(json.loads(space.sample(random.Random(0)).to_json()))


@given(spaces(), st.randoms(use_true_random=False))
def test_the_fingerprint_depends_on_the_decisions_alone(space, rng):
    shuffled = list(space.choices)
    rng.shuffle(shuffled)
    moved = tuple(choice.model_copy(update={"paths": ("somewhere.else",)}) for choice in shuffled)
    other = SearchSpaceSpec(choices=moved, groups={"g": (moved[0].key,)})
    assert other.fingerprint == space.fingerprint


def test_fingerprint_is_the_same_on_every_machine():
    assert SearchSpaceSpec(choices=(darts_cell(), darts_cell("reduce"))).fingerprint == "cbad8c3eb0e4b62ba1e72802"


@given(choices(max_nodes=2, max_candidates=2).filter(lambda choice: choice.size() < 2000))
def test_size_counts_the_decisions(choice):
    decisions = every_decision(choice)
    assert choice.size() == len(decisions) == len(set(decisions))
    assert all(choice.problem(decision) is None for decision in decisions)


def test_size_of_the_darts_space():
    cell = darts_cell(ops=(NONE, *"abcdefg"))
    # Liu et al., appendix: the product over nodes of (k + 1) k / 2 * 7^2, for each of the two cells.
    assert cell.size() == 1 * 3 * 6 * 10 * 7**8
    assert SearchSpaceSpec(choices=(cell, darts_cell("reduce"))).size() == cell.size() * 180 * 3**8


def test_sampling_is_uniform_even_where_edges_differ():
    cell = CellSpec(
        key="c", inputs=3, nodes=1, candidates=(("a",), ("a", "b", NONE), ("a", "b", "c")), concat=(3,), edges_kept=2
    )
    rng = random.Random(0)
    counts = Counter(cell.sample(rng) for _ in range(11_000))
    assert set(counts) == set(every_decision(cell))
    assert len(counts) == 11
    assert all(850 < count < 1150 for count in counts.values())


def test_an_architecture_of_another_space_is_refused_with_the_keys_that_differ():
    one = SearchSpaceSpec(
        choices=(LayerChoiceSpec(key="a", candidates=("x", "y")), LayerChoiceSpec(key="b", candidates=("x",)))
    )
    other = SearchSpaceSpec(
        choices=(LayerChoiceSpec(key="a", candidates=("z",)), LayerChoiceSpec(key="c", candidates=("x",)))
    )
    with pytest.raises(ArchitectureError) as info:
        other.validate(one.sample(random.Random(0)))
    for part in ("'b' is no choice", "'c' is missing", "'a':"):
        assert part in str(info.value)
    assert "\n" not in str(info.value)


def test_another_fingerprint_is_refused_where_the_decisions_fit():
    small = SearchSpaceSpec(choices=(LayerChoiceSpec(key="a", candidates=("x",)),))
    large = SearchSpaceSpec(choices=(LayerChoiceSpec(key="a", candidates=("x", "y")),))
    with pytest.raises(ArchitectureError, match="other candidates or limits on 'a'"):
        large.validate(small.sample(random.Random(0)))


@pytest.mark.parametrize(
    ("decision", "message"),
    [
        ("sep_conv_3x3", "not a list of edges"),
        ((), "has 4 nodes, the decision 0"),
        (
            ((("skip_connect", 0), ("skip_connect", 0)),) + ((("skip_connect", 0), ("skip_connect", 1)),) * 3,
            "different",
        ),
        (((("none", 0), ("skip_connect", 1)),) + ((("skip_connect", 0), ("skip_connect", 1)),) * 3, "'none'"),
        (((("skip_connect", 0), ("skip_connect", 2)),) + ((("skip_connect", 0), ("skip_connect", 1)),) * 3, "state 2"),
        (
            ((("conv", 0), ("skip_connect", 1)),) + ((("skip_connect", 0), ("skip_connect", 1)),) * 3,
            "'conv' from state 0",
        ),
    ],
)
def test_impossible_cells_are_refused(decision, message):
    space = SearchSpaceSpec(choices=(darts_cell(),))
    with pytest.raises(ArchitectureError, match=message):
        space.architecture({"normal": decision})


@pytest.mark.parametrize(
    ("decision", "message"),
    [
        ("0", "not a list of input names"),
        (("7",), "'7' is not one"),
        (("0", "0"), "twice"),
        ((), "2 inputs must be chosen"),
    ],
)
def test_impossible_inputs_are_refused(decision, message):
    space = SearchSpaceSpec(choices=(InputChoiceSpec(key="i", candidates=("0", "1", "2"), n_chosen=2),))
    with pytest.raises(ArchitectureError, match=message):
        space.architecture({"i": decision})


VALUES = (1, 2.0, "3", 10**30, "wide")


@given(st.sampled_from([*VALUES, True, 1.0, 2, 3, "1", "2.0", 3.0, None]))
def test_values_are_told_apart_by_their_type(value):
    space = SearchSpaceSpec(choices=(ValueChoiceSpec(key="v", values=VALUES),))
    if any(value == known and type(value) is type(known) for known in VALUES):
        architecture = space.architecture({"v": value})
        again = Architecture.from_json(architecture.to_json()).decisions["v"]
        assert (again, type(again)) == (value, type(value))
        assert f"<th>v</th><td style='text-align:left'>{value}</td>" in architecture._repr_html_()
    else:
        with pytest.raises(ArchitectureError, match="'v'") as info:
            space.architecture({"v": value})
        assert "\n" not in str(info.value)


@pytest.mark.parametrize("depth", [1, 2.0, "2", True, (), ("2",)])
def test_impossible_depths_are_refused(depth):
    space = SearchSpaceSpec(choices=(RepeatSpec(key="r", depths=(0, 2)),))
    assert space.architecture({"r": 2}).decisions == {"r": 2}
    with pytest.raises(ArchitectureError, match="'r'"):
        space.architecture({"r": depth})


@pytest.mark.parametrize(
    ("decision", "message"),
    [
        (((("a", 0),), (("a", 0), ("a", 1))), "node 0 must keep 2 edges, not"),
        (((("a", 0), ("c", 0)), (("a", 0), ("a", 1))), "'c' from state 0"),
        (((("a", 0), ("a", 2)), (("a", 0), ("a", 1))), "state 2"),
        (1, "not a list of edges"),
    ],
)
def test_impossible_slots_are_refused(decision, message):
    space = SearchSpaceSpec(choices=(slots_cell(),))
    with pytest.raises(ArchitectureError, match=message):
        space.architecture({"slots": decision})


def test_the_edges_of_slots_are_numbered_by_node_slot_and_source():
    cell = slots_cell()
    assert cell.n_edges == 10
    assert [list(cell.edges_into(node)) for node in (0, 1)] == [[0, 1, 2, 3], [4, 5, 6, 7, 8, 9]]
    assert cell.edge_ends[:5] == ((0, 0, 0), (0, 0, 1), (0, 1, 0), (0, 1, 1), (1, 0, 0))
    assert [cell.edge_number(*ends) for ends in cell.edge_ends] == list(range(10))
    default = darts_cell()
    assert [default.edge_number(node, slot, source) for node, slot, source in default.edge_ends] == list(range(14))
    assert default.edge_number(2, 1, 3) == default.edges_into(2)[3]  # the slot means nothing


def test_loose_ends_leave_out_what_a_node_reads():
    decision = ((("a", 0), ("b", 0)), (("a", 2), (NONE, 1)))
    names = (("a", "b", NONE),) * 10
    cell = slots_cell(concat=(3, 0, 1, 2), candidates=names, none_selectable=True)
    assert cell.output_states(decision) == (3, 0, 1, 2)
    assert cell.model_copy(update={"loose_ends": True}).output_states(decision) == (3, 1)


@pytest.mark.parametrize("form", [{"repeat_sources": True}, {"loose_ends": True}])
def test_only_cells_of_the_default_form_have_genotypes(form):
    cell = CellSpec(key="c", inputs=1, nodes=1, candidates=(("a",),), edges_kept=1, concat=(1,))
    text = "Genotype(c=[('a', 0)], c_concat=[1])"
    default = SearchSpaceSpec(choices=(cell,))
    assert (
        genotype_text(default, genotype_architecture(default, text)) == "Genotype(c=[('a', 0)], c_concat=range(1, 2))"
    )
    space = SearchSpaceSpec(choices=(cell.model_copy(update=form),))
    assert genotype_text(space, space.sample(random.Random(0))) is None
    with pytest.raises(ArchitectureError, match="no cell of the search space with that key can have a genotype"):
        genotype_architecture(space, text)


@pytest.mark.parametrize(
    "make",
    [
        lambda: LayerChoiceSpec(key="a", candidates=()),
        lambda: LayerChoiceSpec(key="a", candidates=("x", "x")),
        lambda: LayerChoiceSpec(key="a b", candidates=("x",)),
        lambda: InputChoiceSpec(key="a", candidates=("0",), n_chosen=2),
        lambda: CellSpec(key="a", inputs=2, nodes=1, candidates=(("x",),), concat=(2,)),
        lambda: CellSpec(key="a", inputs=2, nodes=1, candidates=(("x",), (NONE,)), concat=(2,)),
        lambda: CellSpec(key="a", inputs=2, nodes=1, candidates=(("x",), ("x",)), concat=(3,)),
        lambda: SearchSpaceSpec(choices=(darts_cell(), darts_cell())),
        lambda: ValueChoiceSpec(key="a", values=()),
        lambda: ValueChoiceSpec(key="a", values=(True,)),
        lambda: ValueChoiceSpec(key="a", values=(1, 1.0)),
        lambda: ValueChoiceSpec(key="a", values=(1, "1")),
        lambda: ValueChoiceSpec(key="a", values=(float("nan"),)),
        lambda: RepeatSpec(key="a", depths=()),
        lambda: RepeatSpec(key="a", depths=(2, 1)),
        lambda: RepeatSpec(key="a", depths=(-1, 1)),
        lambda: RepeatSpec(key="a", depths=(1.0,)),
        lambda: slots_cell(candidates=(("a",),) * 4),  # one slot only
        lambda: slots_cell(candidates=(("a",), ("a",), (NONE,), (NONE,), *(("a",),) * 6)),
        lambda: slots_cell(loose_ends=True, concat=(2,)),
    ],
)
def test_contradictions_are_refused(make):
    with pytest.raises(ValidationError):
        make()


@settings(max_examples=200)
@given(
    st.text()
    | st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(["format", "fingerprint", "decisions", "choices", "x"]), inner, max_size=4
            )
        ),
        max_leaves=8,
    ).map(json.dumps)
)
def test_malformed_files_give_one_line(text):
    for read in (Architecture.from_json, SearchSpaceSpec.from_json):
        try:
            read(text, "the file")
        except NasregError as error:
            assert "\n" not in str(error)
            assert "the file" in str(error)


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(ArchitectureError, match="cannot read"):
        Architecture.load(tmp_path / "missing.json")
    (tmp_path / "binary.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ArchitectureError, match="cannot read"):
        Architecture.load(tmp_path / "binary.json")
    with pytest.raises(SpaceError):
        SearchSpaceSpec.from_json("{}")


def test_a_genotype_has_the_form_of_the_authors_programs():
    space = SearchSpaceSpec(choices=(darts_cell(), darts_cell("reduce", reduction=True)))
    architecture = space.sample(random.Random(3))
    text = genotype_text(space, architecture)
    assert text.startswith("Genotype(normal=[('")
    assert "normal_concat=range(2, 6), reduce=[(" in text
    mixed = SearchSpaceSpec(choices=(darts_cell(), LayerChoiceSpec(key="l", candidates=("x",))))
    assert genotype_text(mixed, mixed.sample(random.Random(0))) is None
