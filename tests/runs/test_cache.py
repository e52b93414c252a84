"""Files that were made of others: made once, made again when the source changes, never half."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from nasreg.errors import ConfigError
from nasreg.runs.cache import cache_folder, cached_file


@pytest.fixture
def source(tmp_path, monkeypatch):
    monkeypatch.setenv("NASREG_CACHE", str(tmp_path / "cache"))
    (tmp_path / "source").write_text("one")
    return tmp_path / "source"


def test_made_once_and_again_when_the_source_changes(source):
    made = []

    def write(file):
        made.append(source.read_text())
        file.write(source.read_bytes())

    first = cached_file(source, "copy-1.txt", write)
    assert cached_file(source, "copy-1.txt", write) == first
    assert first.name.endswith("-copy-1.txt")
    assert first.read_text() == "one"
    source.write_text("another")
    assert cached_file(source, "copy-1.txt", write).read_text() == "another"
    assert cached_file(source, "copy-2.txt", write).name.endswith("-copy-2.txt")
    assert made == ["one", "another", "another"]


def test_after_an_error_nothing_is_left(source, tmp_path):
    def fail(file):
        file.write(b"half")
        raise ValueError("no table")

    with pytest.raises(ValueError, match="no table"):
        cached_file(source, "x", fail)
    assert list((tmp_path / "cache").iterdir()) == []


def test_what_cannot_be_read_or_written(source, tmp_path, monkeypatch):
    with pytest.raises(ConfigError, match=r"cannot read .*/missing: No such file"):
        cached_file(tmp_path / "missing", "x", lambda file: None)
    monkeypatch.setenv("NASREG_CACHE", str(source / "below-a-file"))
    with pytest.raises(ConfigError, match="set NASREG_CACHE to a folder that can be written"):
        cached_file(source, "x", lambda file: None)


def test_the_folder(monkeypatch):
    monkeypatch.setenv("NASREG_CACHE", "somewhere")
    assert cache_folder() == Path.cwd() / "somewhere"
    monkeypatch.delenv("NASREG_CACHE")
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setenv("XDG_CACHE_HOME", "/xdg")
    assert cache_folder() == Path("/xdg/nasreg")
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", "/home/me")
    assert cache_folder() == Path("/home/me/.cache/nasreg")
    assert os.environ["HOME"] == "/home/me"
