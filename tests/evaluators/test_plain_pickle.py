"""Pickles of plain data are read, and nothing in them is run."""

from __future__ import annotations

import collections
import pickle
from pathlib import Path

import numpy as np
import pytest

from nasreg.errors import ConfigError
from nasreg.evaluators import NUMPY_SCALARS, load_plain_pickle


def written(path: Path, content: object, protocol: int = 4) -> Path:
    path.write_bytes(pickle.dumps(content, protocol))
    return path


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_plain_containers_and_numbers(tmp_path, protocol):
    content = {"a": [1, 2.5, None, True], (1, 2): {"b": "text"}, 2**70: [[], {}]}
    assert load_plain_pickle(written(tmp_path / "p", content, protocol)) == content


class Attack:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


@pytest.mark.parametrize("allowed", [None, NUMPY_SCALARS])
def test_code_is_refused_and_not_run(tmp_path, allowed):
    path = written(tmp_path / "p", {"a": Attack(tmp_path / "evil")})
    with pytest.raises(ConfigError, match=r"/p cannot be read as a pickle of plain data: .*it would call"):
        load_plain_pickle(path, allowed)
    assert not (tmp_path / "evil").exists()


def test_scalars_of_numpy(tmp_path):
    content = {"f": np.float64(0.1), "g": np.float32(0.5), "i": np.int64(-3), "b": np.bool_(True)}
    path = written(tmp_path / "p", content, 3)
    with pytest.raises(ConfigError, match=r"it would call numpy"):
        load_plain_pickle(path)
    found = load_plain_pickle(path, NUMPY_SCALARS)
    assert found == {"f": 0.1, "g": 0.5, "i": -3, "b": True}
    assert {type(value) for value in found.values()} == {float, int, bool}
    objects = written(tmp_path / "o", np.array([object], dtype=object)[0:1].dtype, 3)
    with pytest.raises(ConfigError, match="numbers of the unknown type 'O8'"):
        load_plain_pickle(objects, NUMPY_SCALARS)


@pytest.mark.parametrize("content", [b"", b"rubbish", pickle.dumps({"a": [1] * 100})[:-5], b"\x80\x04P1\n."])
def test_what_is_no_pickle(tmp_path, content):
    (tmp_path / "p").write_bytes(content)
    with pytest.raises(ConfigError, match=r"/p cannot be read as a pickle of plain data: ") as caught:
        load_plain_pickle(tmp_path / "p")
    assert "\n" not in str(caught.value)


def test_a_file_that_is_missing(tmp_path):
    with pytest.raises(ConfigError, match=r"cannot read .*/p: No such file"):
        load_plain_pickle(tmp_path / "p")


def test_other_classes_only_where_they_are_named(tmp_path):
    path = written(tmp_path / "p", collections.OrderedDict(a=1))
    with pytest.raises(ConfigError, match=r"collections\.OrderedDict"):
        load_plain_pickle(path)
    assert load_plain_pickle(path, {"collections:OrderedDict": dict}) == {"a": 1}
