"""Distributions of every kind and state on ``sys.path``, without installing them: what the registry makes of them."""

from __future__ import annotations

import sys
import zipfile
from pathlib import Path

import pytest

from nasreg.registry import PluginRecord, Registry
from plugin_venv import SPEC

SOURCE = SPEC + "\n@hookimpl\ndef nasreg_algorithms():\n    return [spec('{name}')]\n"
METADATA = "Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"


def distribution(folder: Path, name: str, version: str = "1.0", kind: str = "dist-info", more: str = "") -> Path:
    """Leave what an installer leaves of ``nasreg-NAME``: a module and a folder of metadata; return the latter."""
    module = f"nasreg_{name.replace('-', '_')}"
    folder.mkdir(exist_ok=True)
    (folder / f"{module}.py").write_text(SOURCE.replace("{name}", name))
    info = folder / f"{module}-{version}.{kind}"
    info.mkdir()
    file = "METADATA" if kind == "dist-info" else "PKG-INFO"
    (info / file).write_text(METADATA.format(name=f"nasreg-{name}", version=version) + more)
    (info / "entry_points.txt").write_text(f"[nasreg]\n{name} = {module}\n")
    return info


@pytest.fixture
def site(tmp_path, monkeypatch) -> Path:
    """A folder on the path, the first one."""
    monkeypatch.syspath_prepend(tmp_path / "site")
    return tmp_path / "site"


def records(name: str) -> list[PluginRecord]:
    return [record for record in Registry().plugins() if record.distribution == name]


@pytest.mark.parametrize("kind", ["dist-info", "egg-info"])
def test_every_kind_of_installation_is_found(site, kind):
    distribution(site, f"kind-{kind}", kind=kind)
    (record,) = records(f"nasreg-kind-{kind}")
    assert (record.status, record.version, record.algorithms) == ("ok", "1.0", (f"kind-{kind}",))


def test_a_plugin_in_an_archive_is_found(site, tmp_path, monkeypatch):
    distribution(site, "zipped")
    archive = tmp_path / "plugins.zip"
    with zipfile.ZipFile(archive, "w") as file:
        for path in site.rglob("*"):
            file.write(path, path.relative_to(site))
            if path.is_file():
                path.unlink()
    monkeypatch.syspath_prepend(archive)
    (record,) = records("nasreg-zipped")
    assert (record.status, record.algorithms) == ("ok", ("zipped",))


@pytest.mark.parametrize(
    ("value", "status"),
    [
        ("nasreg_value", "ok"),
        ("nasreg_value [an-extra]", "ok"),
        ("  nasreg_value  ", "ok"),
        ("nasreg_value:plugins", "failed"),  # there is no such object in the module
        ("nasreg_value:", "failed"),
        ("nasreg-value", "failed"),
        ("nasreg_value.", "failed"),
        (".nasreg_value", "failed"),
        ("nasreg_value; import os", "failed"),
        ("import", "failed"),
    ],
)
def test_values_of_entry_points(site, value, status):
    (distribution(site, "value") / "entry_points.txt").write_text(f"[nasreg]\nvalue = {value}\n")
    (record,) = records("nasreg-value")
    assert record.status == status, record.error


def test_an_entry_point_can_name_an_object_with_the_hooks(site):
    info = distribution(site, "object")
    (site / "nasreg_object.py").rename(site / "nasreg_hooks.py")
    (site / "nasreg_object.py").write_text("import nasreg_hooks\nclass Outer:\n    hooks = nasreg_hooks\n")
    (info / "entry_points.txt").write_text("[nasreg]\nobject = nasreg_object:Outer.hooks\n")
    (record,) = records("nasreg-object")
    assert (record.status, record.module) == ("ok", "nasreg_object:Outer.hooks")
    assert Path(record.file or "").name == "nasreg_hooks.py"


def test_several_lines_are_read_one_by_one(site):
    info = distribution(site, "lines")
    lines = ["[console_scripts]", "broken", "[ nasreg ]", "# a comment", "; another", "", "lines=nasreg_lines", "what?"]
    (info / "entry_points.txt").write_text("\r\n".join(lines))
    found = {record.name: (record.status, record.error) for record in records("nasreg-lines")}
    assert found == {
        "lines": ("ok", None),
        "nasreg-lines": ("failed", "line 8 of its entry_points.txt is no entry point: 'what?'"),
    }


def test_control_characters_in_a_name_do_not_reach_the_terminal(site):
    (distribution(site, "control") / "entry_points.txt").write_bytes(b"[nasreg]\n\x1b[31mred = nasreg_control\n")
    (record,) = records("nasreg-control")
    assert (record.name, record.status) == ("nasreg-control", "failed")
    assert "\x1b" not in (record.error or "")


def test_metadata_are_read_as_they_are_written(site):
    more = (
        "Summary: one line\n  that goes on\nProject-URL: Bug Tracker, https://example.org/bugs\n"
        "Project-URL: Home Page, https://example.org/home\n\nSummary: of the readme\n"
    )
    distribution(site, "described", more=more)
    (record,) = records("nasreg-described")
    assert (record.summary, record.homepage) == ("one line that goes on", "https://example.org/home")


def test_the_first_folder_on_the_path_counts(site, tmp_path, monkeypatch):
    distribution(site, "twice", version="1.0")
    distribution(tmp_path / "first", "twice", version="0.5")
    monkeypatch.syspath_prepend(tmp_path / "first")
    monkeypatch.syspath_prepend(tmp_path / "first")
    (record,) = records("nasreg-twice")
    assert (record.version, record.status) == ("0.5", "ok")


@pytest.mark.parametrize(
    ("older", "newer"), [("0.9", "0.10"), ("1.0rc1", "1.0"), ("1.0", "1.0.1"), ("1.0", "1.0.post1"), ("0.9", "1.0b2")]
)
def test_of_two_versions_in_one_folder_the_newest_counts(site, older, newer):
    for version in (newer, older):
        distribution(site, "versions", version=version)
    found = {record.version: record.status for record in records("nasreg-versions")}
    assert found == {newer: "ok", older: "failed"}


def test_a_damaged_distribution_beside_a_whole_one_does_not_win(site):
    distribution(site, "half", version="1.0")
    (distribution(site, "half", version="2.0") / "METADATA").unlink()
    found = {record.version: (record.status, record.algorithms) for record in records("nasreg-half")}
    assert found == {"1.0": ("ok", ("half",)), "2.0": ("failed", ())}


def test_folders_that_are_not_there_and_finders_that_raise_are_passed_over(site, tmp_path, monkeypatch):
    distribution(site, "beside")
    (tmp_path / "damaged.zip").write_bytes(b"PK no archive")
    for path in (tmp_path / "not here", tmp_path / "damaged.zip", site / "nasreg_beside.py"):
        monkeypatch.syspath_prepend(path)

    class Raising:
        @staticmethod
        def find_spec(*_):
            return None

        @staticmethod
        def find_distributions(context):
            raise OSError("a finder of another tool")

    monkeypatch.setattr("sys.meta_path", [Raising, *sys.meta_path])
    (record,) = records("nasreg-beside")
    assert record.status == "ok"


def test_refresh_finds_what_is_installed_meanwhile_and_loses_what_is_not(site):
    registry = Registry()
    assert "late" not in registry.algorithms()
    info = distribution(site, "late")
    assert "late" not in registry.algorithms()
    registry.refresh()
    assert registry.qualified("algorithm", "late") == "nasreg-late/late"
    for path in info.iterdir():
        path.unlink()
    info.rmdir()
    registry.refresh()
    assert "late" not in registry.algorithms()


def test_refresh_imports_a_plugin_anew_that_had_failed(site):
    distribution(site, "mended")
    source = (site / "nasreg_mended.py").read_text()
    (site / "nasreg_mended.py").write_text(source.replace("return [spec", "return 7, [spec"))
    registry = Registry()
    assert "mended" not in registry.algorithms()
    (site / "nasreg_mended.py").write_text(source + "\n# another size, so that no byte code is taken for it\n")
    registry.refresh()
    assert "mended" in registry.algorithms()
