"""The process ``nasreg``, which ``python -m nasreg`` is too.

A look-up takes some tenths of a second and leaves hardly any garbage. Searching everything that was imported for
garbage would take a sixth of that time, so the garbage collector is off in look-ups.
"""

import gc
import sys

LOOK_UPS = ("list", "describe", "plugins")


def command() -> int:
    """Run the command line of this process.

    Returns:
        The exit code.
    """
    gc.disable()  # also while modules are imported, which no command does without
    from nasreg.cli import main

    if "".join(sys.argv[1:2]) not in LOOK_UPS:
        gc.enable()
    code = main()
    if "torch" not in sys.modules:
        gc.freeze()  # Python collects once more when it exits, but not what is frozen
    return code


if __name__ == "__main__":
    sys.exit(command())
