"""What every command does with words that are wrong: exit code 2, one line on stderr, nothing on stdout."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from nasreg.cli import main


def check_refused(words: Sequence[str], says: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Check that a command refuses its words, and says so."""
    assert main(list(words)) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("nasreg: error: ")
    assert captured.err.count("\n") == 1
    assert says.lower() in captured.err.lower()
