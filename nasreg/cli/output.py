"""The one object that prints: text for people, JSON for programs, bare values for scripts.

Results go to stdout, and so does the progress of a run, unless stdout holds JSON; warnings, hints and errors go to
stderr. When the reader of a pipe goes away, as in ``nasreg run darts | head``, or the terminal is closed, the command
continues without output. Where a result cannot be written, as on a full disk, it fails; a run is not ended by that.
"""

from __future__ import annotations

import contextlib
import errno
import io
import json
import os
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, TextIO, cast

from nasreg.errors import StorageError
from nasreg.specs.finite import finite

if TYPE_CHECKING:
    from nasreg.events import Callback, Event

_UNREAD = (errno.EPIPE, errno.EIO)
"""A pipe whose reader is gone, and a terminal that is closed."""


class Output:
    """Prints what a command reports.

    Args:
        as_json: Print the result as one JSON document; progress goes to stderr.
        quiet: Print no progress, no hints, and of the result only its bare values.
    """

    silent: ClassVar[bool] = False
    """Whether nothing is printed: of several processes, one prints."""

    def __init__(self, *, as_json: bool = False, quiet: bool = False) -> None:
        self.as_json = as_json
        self.quiet = quiet
        self._running = False

    def result(self, data: Callable[[], Any], text: Callable[[], None], brief: Sequence[object] = ()) -> None:
        """Print a result, in one of three forms.

        Args:
            data: Returns it as JSON-able data.
            text: Prints it for people, with ``line`` and ``table``.
            brief: Its bare values for ``--quiet``, one to a line: a run directory, files, names.
        """
        if self.silent:
            return
        if self.as_json:
            _write(sys.stdout, json.dumps(finite(data()), indent=2, allow_nan=False))
        elif self.quiet:
            for value in brief:
                _write(sys.stdout, str(value))
        else:
            text()

    def line(self, text: str = "") -> None:
        """Print a line of text for people."""
        if not (self.as_json or self.quiet or self.silent):
            if self._running:
                _LastingStream(sys.stdout).write(text + "\n")
            else:
                _write(sys.stdout, text)

    def table(self, title: str, rows: Sequence[tuple[str, ...]]) -> None:
        """Print rows under a title, the columns aligned; coloured and folded on a terminal, plain in a pipe."""
        if self.as_json or self.quiet or self.silent:
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
        if not (self.quiet or self.silent):
            _complain(text)

    @staticmethod
    def warning(message: str) -> None:
        """Print a warning, to stderr."""
        if not Output.silent:
            _complain(f"nasreg: warning: {' '.join(message.split())}")

    @staticmethod
    def error(message: str) -> None:
        """Print an error, to stderr."""
        _complain(f"nasreg: error: {' '.join(message.split())}")

    @staticmethod
    def traceback() -> None:
        """Print the traceback of the error that is being handled, to stderr."""
        _complain(traceback.format_exc().rstrip())

    @staticmethod
    def flush() -> None:
        """Write what others, such as typer with a page of help, have left in the buffer of stdout."""
        with _reporting(sys.stdout):
            sys.stdout.flush()

    @contextlib.contextmanager
    def progress(self) -> Iterator[list[Callback]]:
        """Return a context whose value are the callbacks that show the progress of a run, and its warnings."""
        if self.quiet or self.silent:
            yield [self._warn]
            return
        from nasreg.runs.progress import progress_for

        stream = sys.stderr if self.as_json else sys.stdout
        with progress_for(cast("TextIO", _LastingStream(stream)), warn=self.warning) as callback:
            self._running = True
            try:
                yield [callback]
            finally:
                self._running = False

    @contextlib.contextmanager
    def counting(self, title: str | None = None) -> Iterator[Callable[[str, int, int], None]]:
        """Return a context whose value shows on a terminal how far several pieces of work are.

        It is called with the name of one, and how much of how much is done.

        Args:
            title: What is done; by default the set of that name is read.
        """
        if self.quiet or self.silent or not sys.stderr.isatty():
            yield lambda name, done, total: None
            return
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with Progress(*columns, console=Console(file=sys.stderr), transient=True) as bars:
            tasks: dict[str, TaskID] = {}

            def count(name: str, done: int, total: int) -> None:
                if name not in tasks:
                    tasks[name] = bars.add_task(title or f"reading the {name} set", total=total)
                bars.update(tasks[name], completed=done)

            yield count

    def _warn(self, event: Event) -> None:
        from nasreg.events import Notice

        if isinstance(event, Notice):
            self.warning(event.message)


class _LastingStream(io.TextIOBase):
    """A terminal, pipe or file that a run survives: once it cannot be written, it is written no more.

    Args:
        stream: Where to write.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    @property
    def encoding(self) -> str:  # type: ignore[override]  # read-only here
        """The encoding of the stream, by which rich chooses its characters."""
        return self._stream.encoding

    def isatty(self) -> bool:
        """Return whether it is a terminal."""
        return self._stream.isatty()

    def fileno(self) -> int:
        """Return the number of the file, by which rich finds the size of a terminal."""
        return self._stream.fileno()

    def write(self, text: str) -> int:
        """Write text at once."""
        try:
            _write(self._stream, text, end="")
        except StorageError as error:
            Output.warning(f"{error}: the run continues without this output")
        return len(text)


def _discard(stream: TextIO) -> None:
    """Send what is written to a stream from now on nowhere, what it has buffered included."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, stream.fileno())
    os.close(null)


@contextlib.contextmanager
def _reporting(stream: TextIO) -> Iterator[None]:
    """Return a context for writing to a stream, which is written no more after an error.

    Raises:
        StorageError: It cannot be written, and not because nobody reads it any more.
    """
    try:
        yield
    except OSError as error:
        _discard(stream)
        if error.errno not in _UNREAD:
            name = "stderr" if stream is sys.stderr else "stdout"
            raise StorageError(f"cannot write to {name}: {error.strerror or error}", error.errno) from error


def _write(stream: TextIO, text: str, end: str = "\n") -> None:
    with _reporting(stream):
        try:
            stream.write(text + end)
        except UnicodeEncodeError:  # such as an umlaut in a path, where the locale is plain ASCII
            encoding = stream.encoding or "utf-8"
            stream.write(text.encode(encoding, "backslashreplace").decode(encoding) + end)
        stream.flush()


def _complain(text: str) -> None:
    """Write to stderr; there is nowhere to say that this is impossible."""
    with contextlib.suppress(StorageError):
        _write(sys.stderr, text)


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
