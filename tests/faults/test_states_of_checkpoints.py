"""States that no checkpoint can hold are refused before the first step, and the first checkpoint is read back."""

from __future__ import annotations

from functools import partial

import pytest
import torch

import nasreg
from fault_models import STATES, Forgetful, Net, with_head, with_state
from interrupting import Died, die_at
from nasreg.errors import CheckpointError, SpaceError
from nasreg.registry import Registry
from nasreg.runs import checkpoint
from nasreg.specs import Config, SpaceEntry
from nasreg.testing import toy_images

pytestmark = pytest.mark.usefixtures("without_report")

SHORT = {"epochs": 2, "batch_size": 16}
REFUSED = [name for name in STATES if name not in ("plain", "set", "dtype")]


def search(space, out=None, **more):
    return nasreg.search(space, toy_images(32), "darts", trainer=SHORT, device="cpu", out=out, **more)


# transformers#34631
@pytest.mark.parametrize("name", REFUSED)
def test_a_state_that_the_safe_loader_refuses(tmp_path, name):
    kind = type(STATES[name]).__name__
    message = (
        rf"a checkpoint cannot hold model.head._extra_state.inner.0, a {kind}: .* in state_dict and get_extra_state"
    )
    with pytest.raises(SpaceError, match=message) as info:
        search(partial(with_state, name), tmp_path / "run")
    assert "\n" not in str(info.value)
    assert not (tmp_path / "run").exists()
    registry = Registry()  # a space of a plugin is computed only when it is trained
    factory = partial(with_state, name)
    registry.register(SpaceEntry(name="own", summary="own", factory=lambda info, config: factory(), config=Config))
    with pytest.raises(CheckpointError, match=message):
        search("own", tmp_path / "plugin", registry=registry)
    assert not list((tmp_path / "plugin").glob("checkpoint*"))
    assert len(search("own", registry=registry).history) == 2  # nothing is kept without a run directory


@pytest.mark.parametrize("name", [name for name in STATES if name not in REFUSED])
def test_a_state_that_can_be_read_back_is_resumed(tmp_path, name):
    space = partial(with_state, name)
    with pytest.raises(Died):
        search(space, tmp_path / "run", callbacks=[die_at(2)])
    assert len(search(space, tmp_path / "run", resume=True).history) == 2


def test_a_state_that_the_model_cannot_load_again(tmp_path):
    with pytest.raises(
        CheckpointError, match=r"the model cannot load its own state, .* \(RuntimeError: .*set_extra_stat"
    ):
        search(partial(with_head, Forgetful(4, 2)), tmp_path / "run")


def test_the_first_checkpoint_is_read_back(tmp_path, monkeypatch):
    written = checkpoint.atomic_write

    def truncating(path):
        return written(path.with_name("elsewhere") if path.suffix == ".new" else path)

    (tmp_path / "checkpoint.pt.new").touch()
    monkeypatch.setattr(checkpoint, "atomic_write", truncating)
    path = checkpoint.save_checkpoint(tmp_path, {"a": torch.ones(1)})
    with pytest.raises(CheckpointError, match=rf"checkpoint {path} cannot be read .*although it was just written"):
        checkpoint.read_back(path)


def test_a_weight_file_that_cannot_hold_the_network_is_refused_before_the_retraining(tmp_path):
    found = search(partial(with_state, "plain"))
    with pytest.raises(SpaceError, match=r"a weight file cannot hold head._extra_state of the network"):
        nasreg.retrain(found, (toy_images(32), toy_images(8)), trainer=SHORT, device="cpu", out=tmp_path / "run")
    assert nasreg.retrain(found, (toy_images(32), toy_images(8)), trainer=SHORT, device="cpu").metrics["test_loss"] > 0


def test_a_model_without_extra_state_is_not_affected(tmp_path):
    assert len(search(Net, tmp_path / "run").history) == 2
