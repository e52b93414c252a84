"""What every command does with an invalid command line: exit code 2, one line on stderr, nothing on stdout."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from nasreg.cli import main


def check_refused(argv: Sequence[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Check that a command refuses its arguments with a message."""
    assert main(list(argv)) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("nasreg: error: ")
    assert captured.err.count("\n") == 1
    assert message.lower() in captured.err.lower()
