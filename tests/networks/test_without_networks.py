"""Spaces without networks: a table scores their architectures, and what needs a network is refused with one line."""

from __future__ import annotations

import itertools
import json

import pytest
from pydantic import Field

import nasreg
from nasreg.cli import main
from nasreg.errors import IncompatibleError, PluginError
from nasreg.evaluators import Table, TableEvaluator
from nasreg.registry import Registry, default_registry
from nasreg.specs import Config, DataInfo, EvaluatorSpec, LayerChoiceSpec, MetricSpec, SearchSpaceSpec, SpaceEntry
from nasreg.testing import SpaceContract
from nasreg.testing.stand_ins import UNIFORM

INFO = DataInfo(channels=1, height=8, width=8, classes=("a", "b"))

REFUSAL = "search space 'molecules' has no networks, only architectures to look up in a table"

ATOMS = ("carbon", "oxygen", "silicon")


class MoleculeConfig(Config):
    """Options of the space."""

    sites: int = Field(default=2, description="number of sites")


def describe(info, config):
    del info
    return SearchSpaceSpec(
        choices=tuple(LayerChoiceSpec(key=f"site{n}", candidates=ATOMS) for n in range(config.sites))
    )


class Energies(TableEvaluator):
    objective = MetricSpec(name="energy", title="energy", higher_is_better=False)

    def read_table(self):
        keys = ["-".join(each) for each in itertools.product(ATOMS, repeat=2)]
        return Table(keys, {"energy": range(len(keys))})

    def key(self, architecture):
        return "-".join(architecture.decisions.values())


SPACE = SpaceEntry(
    name="molecules",
    summary="two atoms",
    factory=describe,
    config=MoleculeConfig,
    network=False,
    evaluator="energies",
)
EVALUATOR = EvaluatorSpec(name="energies", summary="a table", factory=Energies, spaces=("molecules",))


@pytest.fixture(autouse=True, scope="module")
def _registered():
    entries = (SPACE, EVALUATOR, UNIFORM)
    default_registry().register(*entries)
    yield
    default_registry().unregister(*(entry.name for entry in entries))


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory):
    return tmp_path_factory.mktemp("molecules") / "run"


@pytest.fixture(scope="module")
def result(run_dir):
    trainer = {"max_trials": 30, "duplicates": "reject"}
    return nasreg.search("molecules", algorithm=UNIFORM.name, trainer=trainer, out=run_dir, device="cpu")


def test_a_table_is_searched(result):
    assert result.architecture.decisions == {"site0": "carbon", "site1": "carbon"}
    assert {fact.name: fact.value for fact in result.facts}["regret"] == 0
    assert len([trial for trial in result.trials if trial["status"] == "done"]) == 9


def test_what_comes_next_is_no_retraining(result, run_dir, tmp_path, capsys):
    argv = [
        "run",
        UNIFORM.name,
        "--space",
        "molecules",
        "--set",
        "trainer.max_trials=2",
        "--out",
        str(tmp_path / "run"),
    ]
    assert main(argv) == 0
    printed = capsys.readouterr()
    assert "retrain" not in printed.out + printed.err
    assert main(["show", str(run_dir)]) == 0
    assert "carbon" in capsys.readouterr().out
    assert "nasreg retrain" not in (run_dir / "index.html").read_text()


@pytest.mark.parametrize(
    "argv",
    [
        ["retrain", "RUN", "--out", "OUT"],
        ["retrain", "RUN/architecture.json", "--out", "OUT"],
        ["evaluate", "RUN"],
        ["profile", "RUN"],
        ["profile", "RUN/architecture.json"],
        ["profile", "--space", "molecules"],
        ["profile", "--space", "molecules", "--candidates"],
        ["export", "RUN", "-o", "OUT"],
        ["run", UNIFORM.name, "--space", "molecules", "--set", "trainer.max_parameters=50%", "--out", "OUT"],
    ],
)
def test_what_needs_a_network_is_refused(result, run_dir, tmp_path, capsys, argv):
    given = [part.replace("RUN", str(run_dir)).replace("OUT", str(tmp_path / "out.pt2")) for part in argv]
    assert main(given) == 2
    says = capsys.readouterr().err
    assert says == f"nasreg: error: {REFUSAL}: none can be trained, measured or exported\n"
    assert not (tmp_path / "out.pt2").exists()


def test_from_python(result):
    for use in (
        lambda: nasreg.retrain(result, "digits"),
        lambda: nasreg.build_network(result.architecture, INFO),
        lambda: result.model(),
    ):
        with pytest.raises(IncompatibleError, match=REFUSAL):
            use()


def test_algorithms_and_evaluators_that_need_networks_are_refused(tmp_path):
    with pytest.raises(IncompatibleError, match=f"'training' needs .*, but {REFUSAL}: choose --evaluator energies"):
        nasreg.search("molecules", algorithm=UNIFORM.name, evaluator="training", out=tmp_path / "run")
    with pytest.raises(IncompatibleError, match=f"'darts' trains a supernet, but {REFUSAL}: choose a multi-trial"):
        nasreg.search("molecules", algorithm="darts", out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_the_check_before_a_search(capsys):
    assert main(["check", UNIFORM.name, "--space", "molecules"]) == 0
    assert "one evaluation of the random architecture" in capsys.readouterr().out
    for argv, says in (
        ([UNIFORM.name, "--evaluator", "training"], "evaluator 'training' needs the network of each architecture"),
        ([UNIFORM.name, "--set", "trainer.max_macs=50%"], REFUSAL),
        (["darts"], "algorithm 'darts' trains a supernet"),
    ):
        assert main(["check", *argv, "--space", "molecules", "-q"]) == 2
        found = [line for line in capsys.readouterr().out.splitlines() if "error" in line]
        assert len(found) == 1
        assert says in found[0]


def test_describe_says_so(capsys):
    assert main(["describe", "molecules"]) == 0
    assert "none: architectures are only looked up" in capsys.readouterr().out
    assert main(["describe", "molecules", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["space"]["network"] is False


def test_a_factory_that_returns_something_else():
    broken = SPACE.model_copy(update={"factory": lambda info, config: None})
    registry = Registry()
    registry.register(broken, EVALUATOR, UNIFORM)
    with pytest.raises(PluginError, match="its factory has to return a SearchSpaceSpec, not a NoneType"):
        nasreg.search("molecules", algorithm=UNIFORM.name, registry=registry)


class TestContract(SpaceContract):
    @pytest.fixture
    def space(self):
        return "molecules"

    test_looking_it_up_imports_no_torch = None  # it is in no plugin
