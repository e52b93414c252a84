"""Durations, sizes, counts and names as text."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nasreg.specs.formatting import (
    format_bytes,
    format_count,
    format_duration,
    format_number,
    format_percent,
    format_plain,
    plural,
    shorten,
)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 ms"), (0.04, "40 ms"), (0.9996, "1.0 s"), (1.5, "1.5 s"), (59.96, "1 min 0 s"), (200, "3 min 20 s"),
        (3599.6, "1 h 0 min"), (7500, "2 h 5 min"), (86400 * 3 + 4 * 3600, "3 d 4 h"),
    ],
)  # fmt: skip
def test_durations(seconds, text):
    assert format_duration(seconds) == text


@given(st.integers(0, 10**7))
def test_no_unit_of_a_duration_overflows(seconds):
    for number, unit in re.findall(r"(\d+) (min|s|h)\b", format_duration(seconds)):
        assert int(number) < {"s": 60, "min": 60, "h": 24}[unit]


@pytest.mark.parametrize(
    ("number", "text"),
    [(1, "1"), (999_999, "999,999"), (10**6, "~1.0e6"), (4_512_345_678_901, "~4.5e12"), (9_990_000, "~1.0e7")],
)
def test_counts(number, text):
    assert format_count(number) == text


@given(st.integers(10**6, 10**400))
def test_counts_too_large_for_a_float_have_the_right_size(number):
    mantissa, exponent = re.fullmatch(r"~(\d\.\d)e(\d+)", format_count(number)).groups()
    shown = int(mantissa.replace(".", "")) * 10 ** (int(exponent) - 1)
    assert 1000 * abs(shown - number) <= 51 * 10 ** int(exponent)


def test_sizes_shares_and_plurals():
    sizes = [3 * 2**10, 1.5 * 2**20, 812 * 2**20, 1.5 * 2**30]
    assert [format_bytes(size) for size in sizes] == ["3 KiB", "1.5 MiB", "812 MiB", "1.5 GiB"]
    assert format_percent(0.4512) == "45.1%"
    assert (plural(1, "epoch"), plural(2, "epoch"), plural(0, "epoch")) == ("1 epoch", "2 epochs", "0 epochs")
    assert (plural(12_000, "image"), plural(2, "entry", "entries")) == ("12,000 images", "2 entries")


def test_whole_numbers_have_no_point():
    assert [format_plain(value) for value in (3, 3.0, 0.25, float("inf"))] == ["3", "3", "0.250", "inf"]


@pytest.mark.parametrize("value", [1234.567, -999.9999, 0.00099, float("inf"), float("nan")])
def test_a_number_is_short(value):
    assert len(format_number(value)) <= 9


@given(st.text(), st.integers(4, 40))
def test_shortened_text_is_one_line_of_that_length(text, max_length):
    short = shorten(text, max_length)
    assert len(short) <= max_length
    assert short.isprintable()
