"""The process ``nasreg``, which ``python -m nasreg`` is too.

A look-up takes some tenths of a second and leaves hardly any garbage. Searching everything that was imported for
garbage would take a sixth of that time, so the garbage collector is off in look-ups.
"""

import gc
import os
import sys

LOOK_UPS = ("list", "describe", "plugins")


def command() -> int:
    """Run the command line of this process.

    Returns:
        The exit code.
    """
    _open_closed_streams()
    gc.disable()  # also while modules are imported, which no command does without
    from nasreg.cli import main

    if "".join(sys.argv[1:2]) not in LOOK_UPS:
        gc.enable()
    code = main()
    if "torch" not in sys.modules:
        gc.freeze()  # Python collects once more when it exits, but not what is frozen
    return code


def _open_closed_streams() -> None:
    """Open what the caller has closed, as ``nasreg ... >&-`` does: the next file opened would be taken for it."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115  # open as long as the process


if __name__ == "__main__":
    sys.exit(command())
