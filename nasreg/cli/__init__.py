"""The command line: puts the groups of commands together, and turns every error into one line and an exit code.

Each group of commands is a file. It imports what it needs inside its commands, never torch at the top, so that
``nasreg --help`` is instant. Nothing prints but ``nasreg.cli.output.Output``.
"""

from __future__ import annotations

import contextlib
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Annotated, Any

import typer

from nasreg import __version__
from nasreg.cli import author, check, compare, lookup, network, resume, retrain, run, show
from nasreg.cli.command import Command
from nasreg.cli.output import Output
from nasreg.cli.processes import command_processes, error_printed, prints_error
from nasreg.errors import NasregError, NasregWarning, StorageError

INTERRUPTED = 130

_TyperError: Any = next(base for base in typer.BadParameter.__mro__ if base.__name__ == "ClickException")
"""Base class of typer's errors of usage: that of click or, in newer versions, of the copy of click inside typer."""

_COMMANDS: dict[str, Callable[..., None]] = {
    command.__name__.rstrip("_").replace("_", "-"): command
    for command in (
        *(run.run, check.check, resume.resume, show.show),
        *(compare.compare, compare.ablate),
        *(retrain.retrain, retrain.evaluate, network.profile, network.export),
        *(lookup.list_, lookup.describe, lookup.plugins),
        author.new_plugin,
    )
}


def build_app(only: str | None = None) -> typer.Typer:
    """Return the application.

    Args:
        only: The one command that it is built for; with all commands by default.
    """
    app = typer.Typer(
        name="nasreg",
        help="Search neural architectures: a registry of NAS algorithms for PyTorch.",
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
        context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    )
    app.callback()(_options)
    for name, command in _COMMANDS.items():
        if only in (None, name):
            app.command(name, cls=Command)(command)
    return app


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; without arguments it prints the help.

    Args:
        arguments: The arguments after ``nasreg``; those of the process by default.

    Returns:
        The exit code: 0 done, 1 the work failed, 2 wrong usage, 130 interrupted.
    """
    argv = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in argv  # it may stand anywhere, and must be known before anything can fail
    argv = [argument for argument in argv if argument != "--debug"] or ["--help"]
    # typer inspects each command that it is given, which takes a tenth of the time of a look-up
    only = argv[0] if argv[0] in _COMMANDS else None
    with _own_warnings():
        try:
            with command_processes(argv):
                code = typer.main.get_command(build_app(only)).main(argv, prog_name="nasreg", standalone_mode=False)
            Output.flush()
        except NasregError as error:
            return _fail(str(error), error.exit_code, debug)
        except _TyperError as error:
            return _fail(error.format_message(), 2, debug)
        except (KeyboardInterrupt, typer.Abort):
            return _fail("interrupted", INTERRUPTED, debug)
        except BrokenPipeError:  # somebody else printed
            Output.flush()
            return 0
        except OSError as error:
            if error.filename is None:  # perhaps somebody else could not print
                try:
                    Output.flush()
                except StorageError as unwritten:
                    return _fail(str(unwritten), unwritten.exit_code, debug)
            where = f"{error.filename}: " if error.filename else ""
            return _fail(f"{where}{error.strerror or error}", 2 if error.filename else 1, debug)
        except SystemExit as error:
            if isinstance(error.__context__, BrokenPipeError):  # typer does this when it prints help to a closed pipe
                return 0
            return _fail(f"code of a plugin or of your own exits (exit code {error.code}), which it must not", 1, debug)
        except Exception as error:  # noqa: BLE001  # the last line of defence, for a bug of ours or of a plugin
            hint = "" if debug else " (run again with --debug to see where)"
            return _fail(f"unexpected error: {type(error).__name__}: {error}{hint}", 1, debug)
    if code == INTERRUPTED:  # some versions of typer make this of a KeyboardInterrupt
        return _fail("interrupted", INTERRUPTED, debug=False)
    return code if isinstance(code, int) else 0


@contextlib.contextmanager
def _own_warnings() -> Iterator[None]:
    """Print warnings meant for users as one line; all others are left to Python."""
    with warnings.catch_warnings():
        warnings.simplefilter("always", NasregWarning)
        usual = warnings.showwarning

        def show(message: Warning | str, category: type[Warning], *more: Any, **named: Any) -> None:
            if issubclass(category, NasregWarning):
                Output.warning(str(message))
            else:
                usual(message, category, *more, **named)

        warnings.showwarning = show
        yield


def _show_version(wanted: bool) -> None:
    if wanted:
        Output().line(f"nasreg {__version__}")
        raise typer.Exit


def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help="Show the traceback of an error. May stand after the command.")
    ] = False,
) -> None:
    del version, debug  # the first has shown itself by now, the second is read by main


def _fail(message: str, code: int, debug: bool) -> int:
    if prints_error():
        if debug:
            Output.traceback()
        Output.error(message)
        error_printed()
    return code
