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
    SearchSpaceSpec,
    genotype_text,
    json_schema,
)
from space_strategies import choices, every_decision, spaces

OPS = (NONE, "max_pool_3x3", "skip_connect", "sep_conv_3x3")


def darts_cell(key="normal", ops=OPS, **more):
    return CellSpec(key=key, inputs=2, nodes=4, candidates=(ops,) * 14, concat=(2, 3, 4, 5), **more)


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
