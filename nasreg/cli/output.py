"""The one object that prints: text for people, JSON for programs, bare values for scripts.

Results go to stdout, and so does the progress of a run, unless stdout holds JSON; warnings, hints and errors go to
stderr. When the reader of a pipe goes away, as in ``nasreg run darts | head``, the command continues without output.
"""

from __future__ import annotations

import contextlib
import io
import json
import math
import os
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TextIO, cast

if TYPE_CHECKING:
    from nasreg.events import Callback, Event


class Output:
    """Prints what a command reports.

    Args:
        as_json: Print the result as one JSON document; progress goes to stderr.
        quiet: Print no progress, no hints, and of the result only its bare values.
    """

    def __init__(self, *, as_json: bool = False, quiet: bool = False) -> None:
        self.as_json = as_json
        self.quiet = quiet

    def result(self, data: Callable[[], Any], text: Callable[[], None], brief: Sequence[object] = ()) -> None:
        """Print a result, in one of three forms.

        Args:
            data: Returns it as JSON-able data.
            text: Prints it for people, with ``line`` and ``table``.
            brief: Its bare values for ``--quiet``, one to a line: a run directory, files, names.
        """
        if self.as_json:
            _write(sys.stdout, json.dumps(_finite(data()), indent=2, allow_nan=False))
        elif self.quiet:
            for value in brief:
                _write(sys.stdout, str(value))
        else:
            text()

    def line(self, text: str = "") -> None:
        """Print a line of text for people."""
        if not (self.as_json or self.quiet):
            _write(sys.stdout, text)

    def table(self, title: str, rows: Sequence[tuple[str, ...]]) -> None:
        """Print rows under a title, the columns aligned; coloured and folded on a terminal, plain in a pipe."""
        if self.as_json or self.quiet:
            return
        if sys.stdout.isatty():
            _rich_table(title, rows)
            return
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        self.line(title)
        for row in rows:
            cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
            self.line(f"  {'  '.join(cells)}".rstrip())

    def hint(self, text: str) -> None:
        """Print what to do next, to stderr."""
        if not self.quiet:
            _write(sys.stderr, text)

    @staticmethod
    def warning(message: str) -> None:
        """Print a warning, to stderr."""
        _write(sys.stderr, f"nasreg: warning: {' '.join(message.split())}")

    @staticmethod
    def error(message: str) -> None:
        """Print an error, to stderr."""
        _write(sys.stderr, f"nasreg: error: {' '.join(message.split())}")

    @staticmethod
    def traceback() -> None:
        """Print the traceback of the error that is being handled, to stderr."""
        _write(sys.stderr, traceback.format_exc().rstrip())

    @staticmethod
    def flush() -> None:
        """Write what others, such as typer with a page of help, have left in the buffer of stdout."""
        try:
            sys.stdout.flush()
        except BrokenPipeError:
            _discard(sys.stdout)

    @contextlib.contextmanager
    def progress(self) -> Iterator[list[Callback]]:
        """Return a context whose value are the callbacks that show the progress of a run, and its warnings."""
        if self.quiet:
            yield [self._warn]
            return
        from nasreg.runs.progress import progress_for

        stream = sys.stderr if self.as_json else sys.stdout
        lasting = stream if stream.isatty() else cast("TextIO", _LastingStream(stream))
        with progress_for(lasting, warn=self.warning) as callback:
            yield [callback]

    @contextlib.contextmanager
    def counting(self) -> Iterator[Callable[[str, int, int], None]]:
        """Return a context whose value shows on a terminal how far several pieces of work are.

        It is called with the name of one, and how much of how much is done.
        """
        if self.quiet or not sys.stderr.isatty():
            yield lambda name, done, total: None
            return
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with Progress(*columns, console=Console(file=sys.stderr), transient=True) as bars:
            tasks: dict[str, TaskID] = {}

            def count(name: str, done: int, total: int) -> None:
                if name not in tasks:
                    tasks[name] = bars.add_task(f"reading the {name} set", total=total)
                bars.update(tasks[name], completed=done)

            yield count

    def _warn(self, event: Event) -> None:
        from nasreg.events import Notice

        if isinstance(event, Notice):
            self.warning(event.message)


class _LastingStream(io.TextIOBase):
    """A pipe or file that outlasts its reader.

    Args:
        stream: Where to write.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write text at once."""
        _write(self._stream, text, end="")
        return len(text)


def _discard(stream: TextIO) -> None:
    """Send what is written to a stream from now on nowhere, what it has buffered included."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, stream.fileno())
    os.close(null)


def _write(stream: TextIO, text: str, end: str = "\n") -> None:
    try:
        try:
            stream.write(text + end)
        except UnicodeEncodeError:  # such as an umlaut in a path, where the locale is plain ASCII
            encoding = stream.encoding or "utf-8"
            stream.write(text.encode(encoding, "backslashreplace").decode(encoding) + end)
        stream.flush()
    except BrokenPipeError:
        _discard(stream)


def _finite(value: Any) -> Any:
    """Return data with null for each number that is not finite, which JSON cannot hold."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: _finite(inner) for key, inner in value.items()}
    return [_finite(inner) for inner in value] if isinstance(value, list | tuple) else value


def _rich_table(title: str, rows: Sequence[tuple[str, ...]]) -> None:
    # rich costs a quarter of the start-up time, and in a pipe it would fold lines at 80 columns
    from rich.console import Console
    from rich.padding import Padding
    from rich.table import Table
    from rich.text import Text

    grid = Table.grid(padding=(0, 2))
    last = len(rows[0]) - 1
    for number in range(last + 1):
        grid.add_column(style="cyan" if number == 0 else "", overflow="fold", ratio=1 if number == last else None)
    for row in rows:
        grid.add_row(*map(Text, row))
    console = Console(highlight=False)
    console.print(Text(title, style="bold"))
    console.print(Padding(grid, (0, 0, 0, 2)))
