"""The command line: puts the groups of commands together, and turns every error into one line and an exit code.

Each group of commands is a file. It imports what it needs inside its commands, never torch at the top, so that
``nasreg --help`` is instant.
"""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Callable, Sequence
from typing import Annotated, Any

import typer

from nasreg import __version__
from nasreg.cli import author, lookup, network, retrain, run
from nasreg.errors import NasregError

INTERRUPTED = 130

# typer's errors of usage are click's or those of its own copy of click, depending on the version: this finds them
_CommandLineError: Any = typer.BadParameter.__mro__[2]


_COMMANDS: dict[str, Callable[..., None]] = {
    command.__name__.rstrip("_").replace("_", "-"): command
    for command in (
        *(run.run, run.resume, run.show),
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
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
        context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    )
    app.callback()(_options)
    for name, command in _COMMANDS.items():
        if only in (None, name):
            app.command(name)(command)
    return app


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        arguments: The words after ``nasreg``; those of the process by default.

    Returns:
        The exit code: 0 done, 1 the work failed, 2 the words were wrong, 130 interrupted.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in words  # it may stand anywhere, and must be known before anything can fail
    words = [word for word in words if word != "--debug"]
    # typer looks closely at each command that it is given, which takes a tenth of the time of a look-up
    only = words[0] if words and words[0] in _COMMANDS else None
    try:
        code = typer.main.get_command(build_app(only)).main(words, prog_name="nasreg", standalone_mode=False)
        sys.stdout.flush()
    except NasregError as error:
        return _fail(str(error), error.exit_code, debug)
    except _CommandLineError as error:
        return _fail(error.format_message() or "a command is missing; see: nasreg --help", 2, debug)
    except (KeyboardInterrupt, typer.Abort):
        return _fail("interrupted", INTERRUPTED, debug)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python complains once more when it exits
        return 1
    except SystemExit as error:
        if isinstance(error.__context__, BrokenPipeError):  # this is how typer ends where the reader has gone away
            return 1
        return _fail(f"code of a plugin or of your own exits (exit code {error.code}) where it must not", 1, debug)
    except Exception as error:  # noqa: BLE001  # the last line of defence, for a bug of ours or of a plugin
        hint = "" if debug else " (run again with --debug to see where)"
        return _fail(f"unexpected error: {type(error).__name__}: {error}{hint}", 1, debug)
    if code == INTERRUPTED:  # some versions of typer make this of a KeyboardInterrupt
        return _fail("interrupted", INTERRUPTED, debug=False)
    return code if isinstance(code, int) else 0


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"nasreg {__version__}")
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
    if debug:
        traceback.print_exc()
    print(f"nasreg: error: {' '.join(message.split())}", file=sys.stderr)  # noqa: T201  # typer.echo may fail itself here
    return code
