"""What searches do with architectures: draw, change, cross, compare, encode, decide by steps."""

from __future__ import annotations

import itertools
import math
import random
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nasreg.errors import ArchitectureError
from nasreg.specs import (
    NONE,
    Architecture,
    CellSpec,
    InputChoiceSpec,
    LayerChoiceSpec,
    RepeatSpec,
    SearchSpaceSpec,
    ValueChoiceSpec,
)
from space_strategies import every_architecture, small_spaces, spaces

seeds = st.integers(0, 2**32)


def darts_cell(key, ops=(NONE, "pool", "skip", "conv", "dil"), **more):
    return CellSpec(key=key, inputs=2, nodes=4, candidates=(ops,) * 14, concat=(2, 3, 4, 5), **more)


def uneven(ops, **more):
    """A cell of one node whose edges have these operations."""
    inputs = len(ops) // more.get("edges_kept", 1) if more.get("repeat_sources") else len(ops)
    return CellSpec(key="cell", inputs=inputs, nodes=1, candidates=ops, concat=(inputs,), **more)


DARTS = SearchSpaceSpec(choices=(darts_cell("normal"), darts_cell("reduce", reduction=True)))
TINY = {
    "layer": LayerChoiceSpec(key="c", candidates=("a", "b", "c")),
    "value": ValueChoiceSpec(key="c", values=(1, 2.0, "3")),
    "repeat": RepeatSpec(key="c", depths=(0, 2, 3)),
    "one of the inputs": InputChoiceSpec(key="c", candidates=("a", "b", "c")),
    "two inputs": InputChoiceSpec(key="c", candidates=("a", "b", "c", "d"), n_chosen=2),
    "any inputs": InputChoiceSpec(key="c", candidates=("a", "b", "c"), n_chosen=None),
    "any inputs joined": InputChoiceSpec(key="c", candidates=("a", "b", "c"), n_chosen=None, reduction="concat"),
    "cell": uneven((("a",), ("a", "b", NONE), ("a", "b", "c")), edges_kept=2),
    "cell with none": uneven((("a", NONE), ("a", "b", NONE)), none_selectable=True),
    "slots": uneven((("a",), ("a", "b", NONE), ("a", "b"), ("c",)), edges_kept=2, repeat_sources=True),
}


@pytest.fixture(params=TINY)
def tiny(request):
    return SearchSpaceSpec(choices=(TINY[request.param],))


def differ_by_one_change(choice, one, other):
    """Return whether one elementary change makes ``one`` into ``other``, both in canonical order."""
    if isinstance(choice, InputChoiceSpec):
        n_changed = len(set(one) ^ set(other))
        return n_changed == (1 if choice.n_chosen is None else 2)
    if not isinstance(choice, CellSpec):
        return one != other
    nodes = [node for node in range(choice.nodes) if one[node] != other[node]]
    if len(nodes) != 1:
        return False
    before, after = list(enumerate(one[nodes[0]])), list(enumerate(other[nodes[0]]))
    if not choice.repeat_sources:  # which edge is at which place means nothing
        before, after = [(0, edge) for _, edge in before], [(0, edge) for _, edge in after]
    gone, new = [edge for edge in before if edge not in after], [edge for edge in after if edge not in before]
    if len(gone) != 1:
        return False
    (_, (operation, source)), (slot, (new_operation, new_source)) = gone[0], new[0]
    possible = choice.selectable(choice.edge_number(nodes[0], slot, new_source))
    return source == new_source or operation == new_operation or operation not in possible


def differ_by_one_decision(space, one, other):
    changed = [choice for choice in space.choices if one.decisions[choice.key] != other.decisions[choice.key]]
    return len(changed) == 1 and differ_by_one_change(
        changed[0], one.decisions[changed[0].key], other.decisions[changed[0].key]
    )


def test_each_kind_by_enumeration(tiny):
    check_neighbours(tiny)
    check_encodings(tiny)
    check_steps(tiny)


@settings(max_examples=60)
@given(small_spaces(80))
def test_neighbours_are_all_that_one_change_reaches(space):
    check_neighbours(space)


def check_neighbours(space):
    everything = every_architecture(space)
    for one in everything[::7]:
        found = list(space.neighbours(one))
        assert [other for other in everything if differ_by_one_decision(space, one, other)] == [
            other for other in everything if other in found
        ]
        assert len({other.to_json() for other in found}) == len(found)
        assert one not in found


@settings(max_examples=40)
@given(small_spaces(120))
def test_every_architecture_is_reached_by_changes(space):
    start = space.sample(random.Random(0))
    reached, waiting = {start.to_json()}, [start]
    while waiting:
        for other in space.neighbours(waiting.pop()):
            if other.to_json() not in reached:
                reached.add(other.to_json())
                waiting.append(other)
    assert len(reached) == space.size()


@given(spaces(), seeds)
def test_changes_and_children_are_of_the_space(space, seed):
    rng = random.Random(seed)
    one, other = space.sample(rng), space.sample(rng)
    child = space.crossover(one, other, rng)
    space.validate(child)
    for key, decision in child.decisions.items():
        parents = one.decisions[key], other.decisions[key]
        if isinstance(space[key], CellSpec):
            assert all(node in pair for node, *pair in zip(decision, *parents, strict=True))
        else:
            assert decision in parents
    if space.size() > 1:
        changed = space.mutate(one, rng)
        space.validate(changed)
        assert changed in list(space.neighbours(one))
    else:
        with pytest.raises(ArchitectureError, match="only one possibility"):
            space.mutate(one, rng)


def test_mutate_draws_every_neighbour(tiny):
    rng = random.Random(0)
    for one in every_architecture(tiny):
        drawn = {tiny.mutate(one, rng).to_json() for _ in range(200)}
        assert drawn == {other.to_json() for other in tiny.neighbours(one)}


def test_mutate_draws_the_decision_that_changes_uniformly():
    few = LayerChoiceSpec(key="few", candidates=("a", "b"))
    many = ValueChoiceSpec(key="many", values=tuple(range(20)))
    fixed = RepeatSpec(key="fixed", depths=(3,))
    cell = uneven((("a", "b"), ("a", "b")), edges_kept=1)  # an operation and a source
    space, rng = SearchSpaceSpec(choices=(few, fixed, many, cell)), random.Random(0)
    one = space.sample(rng)
    changes = Counter(
        next(key for key in one.decisions if other.decisions[key] != one.decisions[key])
        for other in (space.mutate(one, rng) for _ in range(4000))
    )
    assert set(changes) == {"few", "many", "cell"}
    assert 900 < changes["few"] < 1100
    assert 900 < changes["many"] < 1100
    assert 1900 < changes["cell"] < 2100


@given(spaces(), seeds)
def test_a_mutation_by_part_is_a_neighbour(space, seed):
    rng = random.Random(seed)
    one = space.sample(rng)
    if space.size() > 1:
        assert space.mutate(one, rng, by_part=True) in list(space.neighbours(one))
    else:
        with pytest.raises(ArchitectureError, match="only one possibility"):
            space.mutate(one, rng, by_part=True)


def test_a_mutation_by_part_draws_the_choice_first_and_in_a_cell_the_node():
    operations = ("a", "b", "c")
    few, fixed = LayerChoiceSpec(key="few", candidates=("a", "b")), RepeatSpec(key="fixed", depths=(3,))
    cell = CellSpec(key="cell", inputs=1, nodes=3, candidates=(operations,) * 6, edges_kept=3, concat=(3,))
    space, rng = SearchSpaceSpec(choices=(few, fixed, cell)), random.Random(0)
    one = space.sample(rng)
    changes = Counter()
    for other in (space.mutate(one, rng, by_part=True) for _ in range(6000)):
        if other.decisions["few"] != one.decisions["few"]:
            changes["few"] += 1
        else:
            pairs = zip(one.decisions["cell"], other.decisions["cell"], strict=True)
            changes[next(node for node, (before, after) in enumerate(pairs) if before != after)] += 1
    assert set(changes) == {"few", 0, 1, 2}
    assert 2850 < changes["few"] < 3150
    assert all(900 < changes[node] < 1100 for node in range(3))  # though they have one, two and three edges


def test_choices_in_blocks_beyond_the_depth_have_no_effect():
    depth = RepeatSpec(key="depth", depths=(1, 3), paths=("stack",))
    inner = [LayerChoiceSpec(key=f"b{n}", candidates=("a", "b"), paths=(f"stack.blocks.{n}.op",)) for n in range(3)]
    shared = ValueChoiceSpec(key="width", values=(1, 2), paths=("stack.blocks.2.conv.size", "stack.blocks.0.conv.size"))
    head = ValueChoiceSpec(key="head", values=(1, 2), paths=("stack.heads.1.size",))
    free = ValueChoiceSpec(key="free", values=(1, 2))
    space = SearchSpaceSpec(choices=(depth, *inner, shared, head, free))
    one = space.sample(random.Random(0))

    def keys(depth):
        architecture = space.architecture({**one.decisions, "depth": depth})
        return [choice.key for choice in space.choices_in_effect(architecture)]

    assert keys(1) == ["depth", "b0", "width", "free"]
    assert keys(3) == ["depth", "b0", "b1", "b2", "width", "head", "free"]
    with pytest.raises(ArchitectureError):
        space.choices_in_effect(one.model_copy(update={"decisions": {}}))


def test_a_child_can_have_any_mixture_of_nodes():
    rng = random.Random(0)
    one, other = DARTS.sample(rng), DARTS.sample(rng)
    nodes = [
        [(key, node, kept) for key, decision in each.decisions.items() for node, kept in enumerate(decision)]
        for each in (one, other)
    ]
    differing = [a for a, b in zip(*nodes, strict=True) if a != b]
    assert len(differing) > 5
    masks = set()
    for _ in range(16 * 2 ** len(differing)):
        child = DARTS.crossover(one, other, rng)
        masks.add(tuple(child.decisions[key][node] == kept for key, node, kept in differing))
    assert len(masks) == 2 ** len(differing)


def test_all_slots_of_a_node_come_from_one_parent():
    space, rng = SearchSpaceSpec(choices=(TINY["slots"],)), random.Random(0)
    one, other = (space.architecture({"cell": (edges,)}) for edges in ((("a", 0), ("a", 0)), (("b", 1), ("c", 1))))
    children = {space.crossover(one, other, rng).to_json() for _ in range(100)}
    assert children == {one.to_json(), other.to_json()}


def test_sample_is_uniform(tiny):
    rng = random.Random(0)
    everything, draws = every_architecture(tiny), 400
    counts = Counter(tiny.sample(rng).to_json() for _ in range(draws * len(everything)))
    assert set(counts) == {each.to_json() for each in everything}
    chi_square = sum((count - draws) ** 2 / draws for count in counts.values())
    freedom = len(everything) - 1
    assert chi_square < freedom + 4 * math.sqrt(2 * freedom)


@settings(max_examples=40)
@given(small_spaces(120))
def test_encodings_have_one_length_and_differ(space):
    check_encodings(space)


def check_encodings(space):
    codes = [space.encode(each) for each in every_architecture(space)]
    assert {len(code) for code in codes} == {space.encoding_size}
    assert len(set(codes)) == space.size()
    assert set().union(*codes) <= {0.0, 1.0}


def test_the_encoding_of_each_kind():
    space = SearchSpaceSpec(
        choices=(
            LayerChoiceSpec(key="l", candidates=("a", "b")),
            ValueChoiceSpec(key="v", values=(8, 16, 32)),
            InputChoiceSpec(key="i", candidates=("0", "1", "2"), n_chosen=None),
            uneven((("a", "b", NONE), ("a", "b", NONE)), edges_kept=1),
        )
    )
    one = space.architecture({"l": "b", "v": 8, "i": ("0", "2"), "cell": ((("b", 1),),)})
    assert space.encode(one) == (0, 1, 1, 0, 0, 1, 0, 1, 0, 0, 0, 1)
    with_none = SearchSpaceSpec(choices=(uneven((("a", NONE), ("a", NONE)), none_selectable=True),))
    assert with_none.encode(with_none.architecture({"cell": (((NONE, 0), ("a", 1)),)})) == (0, 1, 1, 0)
    slots = SearchSpaceSpec(choices=(uneven((("a", "b"),) * 4, edges_kept=2, repeat_sources=True),))
    same_twice = slots.architecture({"cell": ((("a", 1), ("b", 1)),)})
    assert slots.encode(same_twice) == (0, 0, 1, 0, 0, 0, 0, 1)


@given(spaces(max_choices=3), seeds)
def test_distance_is_a_metric(space, seed):
    rng = random.Random(seed)
    one, other, third = (space.sample(rng) for _ in range(3))
    assert (space.distance(one, other) == 0) == (one == other)
    assert space.distance(one, other) == space.distance(other, one)
    assert space.distance(one, third) <= space.distance(one, other) + space.distance(other, third)
    assert space.distance(one, other) <= space.n_decisions


def is_even(space):
    """Return whether all edges of each cell have the same candidates."""
    return all(len(set(choice.candidates)) == 1 for choice in space.choices if isinstance(choice, CellSpec))


@given(spaces(max_choices=2), seeds)
def test_neighbours_are_one_apart_and_symmetric_where_edges_are_alike(space, seed):
    one = space.sample(random.Random(seed))
    for other in itertools.islice(space.neighbours(one), 20):
        if is_even(space):
            assert space.distance(one, other) == 1
            assert one in list(space.neighbours(other))
        else:
            assert space.distance(one, other) in {1, 2}


def test_a_source_that_changes_the_operation_need_not_give_it_back():
    space = SearchSpaceSpec(choices=(uneven((("a", "b"), ("b",)), edges_kept=1),))
    one, other = (space.architecture({"cell": ((edge,),)}) for edge in (("a", 0), ("b", 1)))
    assert other in list(space.neighbours(one))
    assert one not in list(space.neighbours(other))
    assert space.distance(one, other) == 2


@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 3)), min_size=4, max_size=4), st.permutations(range(4))
)
def test_distance_of_nodes_pairs_edges_as_cheaply_as_possible(labels, sources):
    space = SearchSpaceSpec(choices=(uneven((("a", "b", "c"),) * 4, edges_kept=2),))
    left = [(labels[n][0], sources[n]) for n in (0, 1)]
    right = [(labels[n][0], labels[n][1]) for n in (2, 3)]
    if right[0][1] == right[1][1]:
        right[1] = right[1][0], (right[1][1] + 1) % 4
    cheapest = min(
        sum((a != c) + (b != d) for (a, b), (c, d) in zip(left, order, strict=True))
        for order in itertools.permutations(right)
    )
    one, other = (space.architecture({"cell": (tuple(edges),)}) for edges in (left, right))
    assert space.distance(one, other) == cheapest


def every_path(space, taken=()):
    if len(taken) == space.n_decisions:
        yield taken
        return
    for index in space.allowed(taken):
        yield from every_path(space, (*taken, index))


@settings(max_examples=60)
@given(small_spaces(120))
def test_steps_and_architectures_are_one_to_one(space):
    check_steps(space)


def check_steps(space):
    paths = list(every_path(space))
    found = [space.architecture_of(path) for path in paths]
    assert len(found) == space.size()
    assert len({each.to_json() for each in found}) == len(found)
    for path, each in zip(paths, found, strict=True):
        space.validate(each)
        assert space.indices_of(each) == path
    for number, step in enumerate(space.steps):  # every option is taken by an architecture
        assert {path[number] for path in paths} == set(range(len(step.options)))


@given(spaces(), seeds)
def test_steps_say_what_they_decide(space, seed):
    one = space.sample(random.Random(seed))
    indices = space.indices_of(one)
    assert space.n_decisions == len(indices) == len(space.steps)
    assert len({(step.key, step.name) for step in space.steps}) == len(space.steps)
    for choice in space.choices:
        steps = [
            (step, step.options[index])
            for step, index in zip(space.steps, indices, strict=True)
            if step.key == choice.key
        ]
        decision = one.decisions[choice.key]
        if isinstance(choice, CellSpec):
            for node, kept in enumerate(decision):
                own = [
                    (step.name, step.kind, option) for step, option in steps if step.name.startswith(f"node {node},")
                ]
                sources = [(f"node {node}, source {n}", "source", str(source)) for n, (_, source) in enumerate(kept)]
                names = [(f"node {node}, operation {n}", "operation", name) for n, (name, _) in enumerate(kept)]
                assert own == sources + names
        elif isinstance(choice, InputChoiceSpec):
            assert {step.kind for step, _ in steps} == {"input"}
            if choice.n_chosen is None:
                assert [option for _, option in steps] == [
                    "yes" if name in decision else "no" for name in choice.candidates
                ]
            else:
                assert tuple(option for _, option in steps) == decision
        else:
            kind = "depth" if isinstance(choice, RepeatSpec) else choice.kind
            assert [(step.kind, option) for step, option in steps] == [(kind, str(decision))]


def test_steps_of_the_darts_space():
    first = DARTS.steps[:4]
    assert [step.name for step in first] == [
        "node 0, source 0", "node 0, source 1", "node 0, operation 0", "node 0, operation 1",
    ]  # fmt: skip
    assert [step.options for step in DARTS.steps[4:6]] == [("0", "1"), ("1", "2")]
    assert first[2].options == ("pool", "skip", "conv", "dil")
    assert DARTS.n_decisions == 32
    assert DARTS.allowed([0, 0, 3, 3, 1]) == (1,)  # after state 1 only state 2


def shuffle(choice, decision, rng):
    if isinstance(choice, InputChoiceSpec):
        return tuple(rng.sample(decision, len(decision)))
    if isinstance(choice, CellSpec) and not choice.repeat_sources:
        return tuple(tuple(rng.sample(kept, len(kept))) for kept in decision)
    return decision


@given(spaces(), seeds)
def test_the_order_of_inputs_and_edges_means_nothing(space, seed):
    rng = random.Random(seed)
    one = space.sample(rng)
    shuffled = {key: shuffle(space[key], decision, rng) for key, decision in one.decisions.items()}
    other = Architecture(fingerprint=space.fingerprint, decisions=shuffled)
    space.validate(other)
    assert space.architecture(shuffled) == other
    assert space.canonical(other) == one
    assert space.encode(other) == space.encode(one)
    assert space.distance(one, other) == 0
    assert space.indices_of(other) == space.indices_of(one)
    assert list(space.neighbours(other)) == list(space.neighbours(one))
    assert space.crossover(one, other, rng) == one


@pytest.mark.parametrize(
    ("indices", "message"),
    [
        ([0] * 31, "32 steps, but 31 indices"),
        ([1, *[0] * 31], r"step 0 \(node 0, source 0 of 'normal'\): index 1 is not one of 0"),
        ([0, 0, 4, *[0] * 29], "operation 0 of 'normal'.*index 4 is not one of 0, 1, 2, 3"),
        ([0, 0, 0, 0, 1, 0, *[0] * 26], "node 1, source 1 of 'normal'.*index 0 is not one of 1"),
    ],
)
def test_impossible_indices_are_refused(indices, message):
    with pytest.raises(ArchitectureError, match=message):
        DARTS.architecture_of(indices)


def test_allowed_refuses_what_cannot_be_followed():
    with pytest.raises(ArchitectureError, match=r"node 0, operation 0.*source 1: index 7 is not one of 0"):
        DARTS.allowed([0, 7])
    with pytest.raises(ArchitectureError, match="32 indices are given already"):
        DARTS.allowed([0] * 32)


def test_architectures_of_other_spaces_are_refused(tiny):
    stranger = SearchSpaceSpec(choices=(LayerChoiceSpec(key="x", candidates=("y",)),)).sample(random.Random(0))
    own = tiny.sample(random.Random(0))
    for use in (
        lambda: tiny.mutate(stranger, random.Random(0)),
        lambda: tiny.neighbours(stranger),
        lambda: tiny.crossover(own, stranger, random.Random(0)),
        lambda: tiny.encode(stranger),
        lambda: tiny.distance(own, stranger),
        lambda: tiny.indices_of(stranger),
        lambda: tiny.canonical(stranger),
    ):
        with pytest.raises(ArchitectureError, match="'x' is no choice of the space"):
            use()


@given(spaces(), seeds)
def test_choices_do_the_same_as_their_space(space, seed):
    rng = random.Random(seed)
    one, other = space.sample(rng), space.sample(rng)
    pairs = [(choice, one.decisions[choice.key], other.decisions[choice.key]) for choice in space.choices]
    assert sum(choice.distance(a, b) for choice, a, b in pairs) == space.distance(one, other)
    assert tuple(x for choice, a, _ in pairs for x in choice.encode(a)) == space.encode(one)
    assert sum(choice.encoding_size for choice in space.choices) == space.encoding_size
    for choice, a, b in pairs:
        assert choice.problem(choice.sample(rng)) is None
        assert choice.problem(choice.crossover(a, b, rng)) is None
        if choice.size() > 1:
            assert choice.mutate(a, rng) in list(choice.neighbours(a))


def test_a_changed_copy_of_a_spec_forgets_what_was_computed():
    space = SearchSpaceSpec(choices=(TINY["layer"],))
    before = space.fingerprint, space.size(), space.steps
    other = space.model_copy(update={"choices": (TINY["repeat"], LayerChoiceSpec(key="l", candidates=("a", "b")))})
    assert other.fingerprint != before[0]
    assert (other.size(), other.n_decisions) == (6, 2)
    assert space.model_copy(deep=True, update={"choices": other.choices}).fingerprint == other.fingerprint
    assert other["l"].candidates == ("a", "b")
    assert SearchSpaceSpec(choices=space.choices) == space
