"""References: every form parses to what it means and back; what has no form is one clear line."""

from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nasreg.errors import ConfigError
from nasreg.specs.references import CodeRef, ObjectRef, RegisteredRef, parse_reference

IDENTIFIERS = st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,8}", fullmatch=True)
DOTTED = st.lists(IDENTIFIERS, min_size=1, max_size=3).map(".".join)
NAMES = st.from_regex(r"[a-zA-Z0-9][a-zA-Z0-9_.-]{0,12}", fullmatch=True).filter(lambda name: name[-3:] != ".py")
DISTRIBUTIONS = st.from_regex(r"[a-z0-9]([a-z0-9._-]{0,12}[a-z0-9])?", fullmatch=True)
FOLDERS = st.sampled_from(["", "folder/", "../a b/", "/root/", "C:\\models\\", "ä/"])
MODULES = DOTTED.filter(lambda module: module != "python" and module[-3:] != ".py")
REFERENCES = st.one_of(
    st.builds(RegisteredRef, NAMES, st.none() | DISTRIBUTIONS),
    st.builds(lambda module, attribute: CodeRef(module, None, attribute), MODULES, DOTTED),
    st.builds(lambda folder, stem, name: CodeRef(None, f"{folder}{stem}.py", name), FOLDERS, IDENTIFIERS, DOTTED),
    st.builds(ObjectRef, IDENTIFIERS),
)


@given(REFERENCES)
def test_the_text_of_a_reference_is_parsed_to_the_reference(reference):
    assert parse_reference(reference.text) == reference
    assert reference.title
    assert reference.title in reference.text


@given(st.text())
def test_any_text_is_a_reference_with_that_text_or_refused_in_one_line(text):
    try:
        reference = parse_reference(text)
    except ConfigError as error:
        assert len(str(error).splitlines()) == 1
        assert repr(text) in str(error)
    else:
        assert reference.text == text


@pytest.mark.parametrize(
    ("text", "expected", "title"),
    [
        ("darts", RegisteredRef("darts"), "darts"),
        ("PC_DARTS_cifar", RegisteredRef("PC_DARTS_cifar"), "PC_DARTS_cifar"),
        ("nasreg-darts/darts", RegisteredRef("darts", "nasreg-darts"), "darts"),
        ("my.models:Net", CodeRef("my.models", None, "Net"), "Net"),
        ("my.models:Nets.small", CodeRef("my.models", None, "Nets.small"), "small"),
        ("folder/file.py:Net", CodeRef(None, "folder/file.py", "Net"), "Net"),
        ("file.py:Net", CodeRef(None, "file.py", "Net"), "Net"),
        ("C:\\a b\\file.py:Net", CodeRef(None, "C:\\a b\\file.py", "Net"), "Net"),
        ("python:TensorDataset", ObjectRef("TensorDataset"), "TensorDataset"),
    ],
)
def test_each_form(text, expected, title):
    assert parse_reference(text) == expected
    assert (expected.text, expected.title) == (text, title)


@pytest.mark.parametrize(
    "text",
    [
        "", " ", "a b", "a/b/c", "/a", "a/", ":", "a:", ":a", "a:b c", "1a:b", "a.:b", "python:", "python:a:b", "a\nb",
        "folder:./photos", " x.py:Net", "a\n.py:Net", "python:x.py:Net", "-/a",
    ],
)  # fmt: skip
def test_malformed_text_is_one_line_that_says_what_is_expected(text):
    with pytest.raises(ConfigError, match="is no reference: expected a registered name, DISTRIBUTION/NAME") as info:
        parse_reference(text)
    assert "\n" not in str(info.value)


def test_a_file_without_a_name_in_it_is_refused():
    with pytest.raises(ConfigError, match=r"'net\.py' is a file: name the class or function in it, as in net\.py:NAME"):
        parse_reference("net.py")


def test_a_code_reference_has_a_module_or_a_file():
    for module, path in ((None, None), ("a", "a.py")):
        with pytest.raises(ConfigError, match="needs either a module or a file"):
            CodeRef(module, path, "Net")


def test_importing_specs_of_this_kind_is_light():
    modules = "nasreg.specs.references, nasreg.specs.metrics, nasreg.specs.formatting"
    code = f"import sys, {modules}; sys.exit(bool({{'torch', 'matplotlib', 'numpy'}} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
